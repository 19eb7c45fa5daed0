//! Putting the layers together: built-in value < file < environment < command line.

use crate::config::{Config, Tables};
use crate::error::{Error, Errors, Origin, Warning};
use crate::hook_endpoint::HookEndpoint;
use crate::keys::{self, CMD_PREFIX};
use crate::secret::PUBLISHED_SECRET;
use crate::source::SourceRule;
use crate::store::{Store, Text};
use crate::{ini, nearest, toml};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Length of a made-up API secret, as in ZLM.
const SECRET_LEN: usize = 32;

/// Length of a made-up server id, as in ZLM.
const SERVER_ID_LEN: usize = 16;

/// The language of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ZLM's `config.ini`.
    Ini,
    /// Tidegate's own form, which can hold `[[source]]` rules.
    Toml,
}

impl Format {
    /// TOML for `.toml` in any case, INI for everything else.
    pub fn of(path: &Path) -> Self {
        let is_toml = path
            .extension()
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case("toml"));
        if is_toml { Format::Toml } else { Format::Ini }
    }
}

/// A configuration, and what was noticed while it was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not as it was meant. To be logged.
    pub warnings: Vec<Warning>,
    /// The API secret was missing, empty or the published one, and a random one took its place. The caller writes the file
    /// ([`crate::file::write_back`]) and shows the secret once.
    pub secret_replaced: bool,
    /// The file, if there is one.
    pub path: Option<PathBuf>,
}

/// Reads configuration text. `name` is how errors call the file; `env` are all environment variables; `overrides` are keys
/// and values of the command line; `random` makes text of the given length from letters and digits, fit for a secret.
pub fn parse(
    text: &str,
    format: Format,
    name: &str,
    env: impl IntoIterator<Item = (String, String)>,
    overrides: &[(String, String)],
    random: &mut dyn FnMut(usize) -> String,
) -> Result<Loaded, Errors> {
    let mut reading = Reading {
        file: name.into(),
        store: Store::default(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let (rules, endpoints) = reading.file(text, format);
    reading.environment(env);
    reading.command_line(overrides);
    let Reading {
        file,
        store,
        mut errors,
        warnings,
    } = reading;

    let tables = Tables {
        sources: rules.iter().map(|(rule, _)| rule.clone()).collect(),
        hook_endpoints: endpoints.into(),
    };
    let mut config = Config::build(store, tables, &mut errors);
    for (index, (rule, line)) in rules.iter().enumerate() {
        if config.ffmpeg.template(rule.ffmpeg_cmd_key()).is_none() {
            errors.push(Error::Rule {
                origin: Origin::File {
                    file: file.clone(),
                    line: *line,
                },
                number: index + 1,
                field: "ffmpeg_cmd_key".to_owned(),
                problem: crate::source::Problem::NoTemplate {
                    key: rule.ffmpeg_cmd_key().to_owned(),
                },
            });
        }
    }
    check_whole(&config, &mut errors);
    if !errors.is_empty() {
        return Err(Errors { errors, warnings });
    }

    let secret_replaced = !is_usable_secret(config.api.secret.expose());
    if secret_replaced {
        config.make_up("api.secret", random(SECRET_LEN));
    }
    if config.general.media_server_id.is_empty() {
        config.make_up("general.mediaServerId", random(SERVER_ID_LEN));
    }
    Ok(Loaded {
        config,
        warnings,
        secret_replaced,
        path: None,
    })
}

fn is_usable_secret(secret: &str) -> bool {
    !secret.is_empty() && secret != PUBLISHED_SECRET
}

struct Reading {
    file: Arc<str>,
    store: Store,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
}

impl Reading {
    fn file(&mut self, text: &str, format: Format) -> (Vec<(SourceRule, usize)>, Vec<HookEndpoint>) {
        let read = match format {
            Format::Ini => toml::Read {
                pairs: ini::read(text),
                ..toml::Read::default()
            },
            Format::Toml => toml::read(text, &self.file, &mut self.errors),
        };
        let mut first_lines: BTreeMap<String, usize> = BTreeMap::new();
        for pair in read.pairs {
            let origin = Origin::File {
                file: self.file.clone(),
                line: pair.line,
            };
            match first_lines.get(&pair.name) {
                Some(first) => {
                    let (origin, key) = (origin.clone(), pair.name.clone());
                    self.warnings.push(Warning::Twice {
                        origin,
                        key,
                        first: *first,
                    });
                }
                None => {
                    first_lines.insert(pair.name.clone(), pair.line);
                    self.warn_unknown(&pair.name, &origin);
                }
            }
            self.store.read(
                &pair.name,
                Text {
                    text: pair.value,
                    origin,
                },
            );
        }
        (read.rules, read.endpoints)
    }

    fn warn_unknown(&mut self, name: &str, origin: &Origin) {
        if keys::find(name).is_some() || CLIENT_KEYS.contains(&name) {
            return;
        }
        let (origin, key) = (origin.clone(), name.to_owned());
        self.warnings.push(if RETIRED.contains(&name) {
            Warning::Retired { origin, key }
        } else {
            Warning::UnknownKey {
                origin,
                key,
                nearest: nearest::key(name).map(str::to_owned),
            }
        });
    }

    fn environment(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        // Sorted, so that the result does not depend on the order of the environment.
        for (variable, value) in env.into_iter().collect::<BTreeMap<_, _>>() {
            let Some(rest) = strip_prefix_ignoring_case(&variable, ENV_PREFIX) else {
                continue;
            };
            let name = match rest.split_once("__") {
                Some((section, key)) => self.known_name(&format!("{section}.{key}")),
                None if is_service_link(rest, &value) => continue,
                None => None,
            };
            match name {
                // Container set-ups pass on `TIDEGATE_API__SECRET=` when nobody chose one. It must not hide the secret that
                // was made up before and stands in the file.
                Some(name) if name == "api.secret" && !is_usable_secret(value.trim()) => {}
                Some(name) => {
                    let origin = Origin::Env {
                        variable: variable.clone(),
                    };
                    self.store.lay_over(
                        &name,
                        Text {
                            text: value.trim().to_owned(),
                            origin,
                        },
                    );
                }
                None => {
                    let nearest = nearest::key(&rest.replacen("__", ".", 1)).map(variable_of);
                    self.warnings.push(Warning::UnknownVariable { variable, nearest });
                }
            }
        }
    }

    /// The key that is spelled `name` in any case: one of the table, one of the file, or a new template.
    fn known_name(&self, name: &str) -> Option<String> {
        let names = self.store.names();
        let known = names
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name))
            .map(str::to_owned);
        known.or_else(|| {
            let template = strip_prefix_ignoring_case(name, CMD_PREFIX).filter(|rest| !rest.is_empty())?;
            Some(format!("{CMD_PREFIX}{}", template.to_ascii_lowercase()))
        })
    }

    fn command_line(&mut self, overrides: &[(String, String)]) {
        for (name, value) in overrides {
            let origin = Origin::CommandLine;
            if self.store.text(name).is_none() && !name.starts_with(CMD_PREFIX) {
                let nearest = nearest::key(name).map(str::to_owned);
                self.errors.push(Error::UnknownKey {
                    origin,
                    key: name.clone(),
                    nearest,
                });
                continue;
            }
            self.store.lay_over(
                name,
                Text {
                    text: value.trim().to_owned(),
                    origin,
                },
            );
        }
    }
}

/// Keys of older ZLM releases that users still have in their files (config.md, section 4).
const RETIRED: [&str; 12] = [
    "hls.filePath",
    "hook.access_file_except_hls",
    "hook.admin_params",
    "http.maxReqCount",
    "record.filePath",
    "record.fileSecond",
    "rtmp.modifyStamp",
    "rtp.clearCount",
    "rtp.cycleMS",
    "rtp.maxRtpCount",
    "rtp_proxy.checkSource",
    "shell.shell",
];

/// What clients keep in the file for themselves: WVP's suffix of transcoded streams.
const CLIENT_KEYS: [&str; 1] = ["transcode.suffix"];

const ENV_PREFIX: &str = "TIDEGATE_";

/// How the environment spells a key.
fn variable_of(name: &str) -> String {
    format!("{ENV_PREFIX}{}", name.replacen('.', "__", 1).to_ascii_uppercase())
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Kubernetes and Docker links put variables such as `TIDEGATE_PORT_1935_TCP_ADDR` and `TIDEGATE_SERVICE_HOST` into every
/// container when a service is called `tidegate`. They are not meant for us.
fn is_service_link(rest: &str, value: &str) -> bool {
    let is_port = |text: &str| text == "PORT" || text.ends_with("_PORT") || text.contains("PORT_");
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let of_port = ["_TCP_", "_UDP_", "_SCTP_"]
        .iter()
        .any(|protocol| rest.contains(protocol));
    rest.ends_with("SERVICE_HOST") || rest.contains("SERVICE_PORT") || (is_port(rest) && (is_url || of_port))
}

/// What no key shows by itself.
pub(crate) fn check_whole(config: &Config, errors: &mut Vec<Error>) {
    check_certificate(config, errors);
    check_ports(config, errors);
    check_groups(config, errors);
}

fn check_certificate(config: &Config, errors: &mut Vec<Error>) {
    let (cert, key) = ("http.cert_file", "http.key_file");
    let half = match (&config.http.cert_file, &config.http.key_file) {
        (Some(_), None) => Some((cert, key)),
        (None, Some(_)) => Some((key, cert)),
        (Some(_), Some(_)) | (None, None) => None,
    };
    if let Some((key, missing)) = half {
        errors.push(Error::Half {
            origin: config.origin(key),
            key,
            missing,
        });
    }
}

/// Listeners of one protocol family that name the same port would only fail later, with a worse message.
fn check_ports(config: &Config, errors: &mut Vec<Error>) {
    // Without a certificate the TLS ports stay closed, so whatever they are is no trouble.
    let tls = |port| if config.http.cert_file.is_some() { port } else { 0 };
    let ports = [
        ("http.port", config.http.port),
        ("http.sslport", tls(config.http.ssl_port)),
        ("rtmp.port", config.rtmp.port),
        ("rtmp.sslport", tls(config.rtmp.ssl_port)),
        ("rtsp.port", config.rtsp.port),
        ("rtsp.sslport", tls(config.rtsp.ssl_port)),
    ];
    for (index, &(first, port)) in ports.iter().enumerate() {
        for &(second, other) in &ports[index + 1..] {
            if port != 0 && port == other {
                let (first_origin, second_origin) = (config.origin(first), config.origin(second));
                errors.push(Error::PortTwice {
                    port,
                    first,
                    first_origin,
                    second,
                    second_origin,
                });
            }
        }
    }
}

fn check_groups(config: &Config, errors: &mut Vec<Error>) {
    let (first, last) = (config.multicast.first, config.multicast.last);
    if last < first {
        let (first_key, last_key) = ("multicast.addrMin", "multicast.addrMax");
        errors.push(Error::Backwards {
            first_origin: config.origin(first_key),
            first_key,
            first,
            last_origin: config.origin(last_key),
            last_key,
            last,
        });
    }
}
