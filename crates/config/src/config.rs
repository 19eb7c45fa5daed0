//! The whole configuration: typed sections for the program, text for the API and the file.

use crate::error::{Error, Origin};
use crate::hook_endpoint::HookEndpoint;
use crate::key::Reload;
use crate::keys::{
    self, Api, CMD, CMD_PREFIX, Cluster, Ffmpeg, General, Hls, Hook, Http, Metrics, Multicast, Protocol,
    Proxy, Record, Rtc, Rtmp, Rtp, RtpProxy, Rtsp, Srt,
};
use crate::secret::PUBLISHED_SECRET;
use crate::source::{ResolvedSource, SourceRule};
use crate::store::{Store, Text};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys that get a made-up value when they have none.
pub(crate) const MADE_UP: [&str; 2] = ["api.secret", "general.mediaServerId"];

/// The configuration in force. It never changes; [`Config::set`] and a reload make a new one.
#[derive(Clone, Debug)]
pub struct Config {
    /// Section `api`.
    pub api: Api,
    /// Section `cluster`.
    pub cluster: Cluster,
    /// Section `ffmpeg`.
    pub ffmpeg: Ffmpeg,
    /// Section `general`.
    pub general: General,
    /// Section `hls`.
    pub hls: Hls,
    /// Section `hook`.
    pub hook: Hook,
    /// Section `http`.
    pub http: Http,
    /// Section `metrics`.
    pub metrics: Metrics,
    /// Section `multicast`.
    pub multicast: Multicast,
    /// Section `protocol`.
    pub protocol: Protocol,
    /// Section `proxy`.
    pub proxy: Proxy,
    /// Section `record`.
    pub record: Record,
    /// Section `rtc`.
    pub rtc: Rtc,
    /// Section `rtmp`.
    pub rtmp: Rtmp,
    /// Section `rtp`.
    pub rtp: Rtp,
    /// Section `rtp_proxy`.
    pub rtp_proxy: RtpProxy,
    /// Section `rtsp`.
    pub rtsp: Rtsp,
    /// Section `srt`.
    pub srt: Srt,
    /// The `[[source]]` rules of a TOML file, in their order. The first one that matches counts.
    pub sources: Arc<[SourceRule]>,
    /// The `[[hook_endpoint]]` tables of a TOML file.
    pub hook_endpoints: Arc<[HookEndpoint]>,
    store: Store,
}

/// What a TOML file says in tables rather than keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub sources: Arc<[SourceRule]>,
    pub hook_endpoints: Arc<[HookEndpoint]>,
}

/// The built-in values. The API secret and the server id are empty in it; [`crate::load()`] fills them.
impl Default for Config {
    fn default() -> Self {
        let mut errors = Vec::new();
        let config = Self::build(Store::default(), Tables::default(), &mut errors);
        debug_assert!(errors.is_empty(), "a built-in value is not allowed: {errors:?}");
        config
    }
}

impl Config {
    /// Zero, empty and off everywhere: what the rows of the table are applied to.
    pub(crate) fn blank() -> Self {
        Self {
            api: Api::default(),
            cluster: Cluster::default(),
            ffmpeg: Ffmpeg::default(),
            general: General::default(),
            hls: Hls::default(),
            hook: Hook::default(),
            http: Http::default(),
            metrics: Metrics::default(),
            multicast: Multicast::default(),
            protocol: Protocol::default(),
            proxy: Proxy::default(),
            record: Record::default(),
            rtc: Rtc::default(),
            rtmp: Rtmp::default(),
            rtp: Rtp::default(),
            rtp_proxy: RtpProxy::default(),
            rtsp: Rtsp::default(),
            srt: Srt::default(),
            sources: Arc::default(),
            hook_endpoints: Arc::default(),
            store: Store::default(),
        }
    }

    /// Makes typed values of all texts. Where a text is not allowed, the error is added and the built-in value taken.
    pub(crate) fn build(store: Store, tables: Tables, errors: &mut Vec<Error>) -> Self {
        let mut config = Self::blank();
        config.sources = tables.sources;
        config.hook_endpoints = tables.hook_endpoints;
        for name in store.names() {
            let (Some(key), Some(text)) = (keys::find(name), store.text(name)) else {
                continue;
            };
            let Err(refused) = config.apply(name, text) else {
                continue;
            };
            errors.push(Error::Value {
                origin: store.origin(name),
                key: name.to_owned(),
                value: key.shown(text).into_owned(),
                allowed: refused,
            });
            if name == key.name && key.apply(key.default, &mut config).is_err() {
                debug_assert!(false, "the built-in value of {name} is not allowed");
            }
        }
        config.store = store;
        config
    }

    /// Puts one text into its typed place. On an error nothing changes, and the error says what is allowed.
    fn apply(&mut self, name: &str, text: &str) -> Result<(), String> {
        let Some(key) = keys::find(name) else {
            return Ok(());
        };
        if name.starts_with(CMD_PREFIX) {
            // The row writes the default template; a further one must be checked only.
            key.apply(text, &mut Self::blank()).map_err(|refused| refused.0)?;
        } else {
            key.apply(text, self).map_err(|refused| refused.0)?;
        }
        if name == CMD || name.starts_with(CMD_PREFIX) {
            self.ffmpeg.templates.insert(name.to_owned(), text.to_owned());
        }
        Ok(())
    }

    /// The text in force for `name`, as `getServerConfig` shows it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.store.text(name)
    }

    /// Where the value in force for `name` came from.
    pub fn origin(&self, name: &str) -> Origin {
        self.store.origin(name)
    }

    /// Every key with its text in byte order of the names: those of the table and those that only the file has. The API
    /// secret is among them, as it is in `getServerConfig` and `on_server_started` of ZLM.
    pub fn flat(&self) -> impl Iterator<Item = (&str, &str)> {
        self.store
            .names()
            .into_iter()
            .filter_map(|name| Some((name, self.store.text(name)?)))
    }

    /// Applies the parameters of `setServerConfig` (api.md, section 3.1). Names that nobody knows, and those that the API
    /// must not change, are passed over silently. Changes that would leave a configuration that could not be loaded at the next
    /// start (a port twice, half a certificate) are refused together.
    pub fn set(&self, changes: &[(String, String)]) -> SetOutcome {
        let mut outcome = SetOutcome {
            changed: 0,
            config: self.clone(),
            rejected: Vec::new(),
        };
        let mut names = Vec::new();
        for (name, value) in changes {
            let value = value.trim();
            let known = self.store.text(name);
            let file_only = keys::find(name).is_some_and(|key| key.file_only);
            if known.is_none() || file_only || outcome.config.text(name) == Some(value) {
                continue;
            }
            match outcome.config.change(name, value) {
                Ok(()) => {
                    outcome.changed += 1;
                    names.push((name, value));
                }
                Err(allowed) => outcome.rejected.push(Rejected::new(name, value, allowed)),
            }
        }
        let mut errors = Vec::new();
        crate::load::check_whole(&outcome.config, &mut errors);
        if let Some(error) = errors.first() {
            let together = names.into_iter().map(|(name, value)| {
                Rejected::new(name, value, format!("consistent with the rest: {error}"))
            });
            outcome.rejected.extend(together);
            (outcome.changed, outcome.config) = (0, self.clone());
        }
        outcome
    }

    fn change(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.chars().any(char::is_control) {
            // A line break would become further lines of the file, with keys that nobody checked.
            return Err("text without line breaks and other control characters".to_owned());
        }
        if name == "api.secret" && (value.is_empty() || value == PUBLISHED_SECRET) {
            return Err(
                "a secret of its own: not empty, and not the one that ZLMediaKit publishes".to_owned(),
            );
        }
        self.apply(name, value)?;
        self.store.change(
            name,
            Text {
                text: value.to_owned(),
                origin: Origin::Api,
            },
        );
        Ok(())
    }

    /// Replaces a value that was not usable by one made at start.
    pub(crate) fn make_up(&mut self, name: &str, text: String) {
        if self.apply(name, &text).is_ok() {
            self.store.change(
                name,
                Text {
                    text,
                    origin: Origin::Random,
                },
            );
        }
    }

    /// After a reload: takes the secret and the server id that were made up for `old` instead of those just made up, so that
    /// they stay the same as long as the process runs.
    pub fn keep_made_up(&mut self, old: &Self) {
        for name in MADE_UP {
            if self.origin(name) == Origin::Random
                && let Some(text) = old.text(name).filter(|text| !text.is_empty())
            {
                self.make_up(name, text.to_owned());
            }
        }
    }

    /// The source of an absent stream according to the first rule that matches `app/stream`.
    pub fn source_for(&self, app: &str, stream: &str) -> Option<ResolvedSource> {
        self.sources.iter().find_map(|rule| rule.resolve(app, stream))
    }

    /// The keys whose values differ between two configurations, in byte order. Changed `[[source]]` rules appear as `source`, and changed
    /// `[[hook_endpoint]]` tables as `hook_endpoint`.
    pub fn diff(old: &Self, new: &Self) -> Vec<ChangedKey> {
        let names: BTreeSet<&str> = old.store.names().into_iter().chain(new.store.names()).collect();
        let changed = names.into_iter().filter(|name| old.text(name) != new.text(name));
        let mut changed: Vec<_> = changed
            .map(|name| ChangedKey {
                name: name.to_owned(),
                reload: keys::find(name).map_or(Reload::Hot, |key| key.reload),
            })
            .collect();
        let tables = [
            ("source", old.sources != new.sources),
            ("hook_endpoint", old.hook_endpoints != new.hook_endpoints),
        ];
        for (name, _) in tables.into_iter().filter(|(_, differs)| *differs) {
            changed.push(ChangedKey {
                name: name.to_owned(),
                reload: Reload::Hot,
            });
        }
        changed
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }
}

/// What [`Config::set`] did.
#[derive(Clone, Debug)]
pub struct SetOutcome {
    /// How many values are others now.
    pub changed: usize,
    /// The configuration with the changes. To be written to the file when `changed` is not 0.
    pub config: Config,
    /// The changes that were refused; their old values stay.
    pub rejected: Vec<Rejected>,
}

/// A change that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = `{value}` is not allowed; it must be {allowed}")]
pub struct Rejected {
    /// `section.key`.
    pub key: String,
    /// The value as it may be shown.
    pub value: String,
    /// What would be allowed.
    pub allowed: String,
}

impl Rejected {
    fn new(name: &str, value: &str, allowed: String) -> Self {
        let shown = keys::find(name).map_or_else(|| value.to_owned(), |key| key.shown(value).into_owned());
        Self {
            key: name.to_owned(),
            value: shown,
            allowed,
        }
    }
}

/// A key whose value changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedKey {
    /// `section.key`.
    pub name: String,
    /// When the change takes effect.
    pub reload: Reload,
}
