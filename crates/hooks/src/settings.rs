//! The settings in force. Replaced as a whole when the configuration changes; every key takes effect for the next call.

use crate::client::tls::TlsSettings;
use crate::client::{AddressRules, BadUrl, Route, Target, UrlSource};
use crate::event::EventName;
use crate::hook::Hook;
use crate::own::OwnEvent;
use crate::sign::Signer;
use crate::throttle::Rules;
use config::hook_endpoint::KEYED;
use config::{Config, HookEndpoint, Secret};
use hyper::header::{HeaderName, HeaderValue};
use media::{ProtocolOptions, Schema};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Most extra attempts of one call. ZLM reads a negative `hook.retry` as "for ever"; nobody waits for ever here, and a
/// notification that is tried for ever would block its stream's lane.
pub const MAX_RETRY: u32 = 100;

/// Limit of an attempt when `hook.timeoutSec` is 0 or less: ZLM looks at the clock every 2 s, so that is what 0 means there.
pub const TIMEOUT_OF_ZERO: Duration = Duration::from_secs(2);

/// The longest a configured time can be; keeps sums of them far from overflow.
const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// A configured receiver.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The text of the configuration; may hold credentials: not for logs.
    pub url: Arc<str>,
    /// What it means.
    pub target: Result<Target, BadUrl>,
    /// TLS to it.
    pub tls: Arc<TlsSettings>,
    /// Who named it.
    pub source: UrlSource,
}

impl Endpoint {
    /// How a target of it is reached.
    pub fn route_to(&self, target: &Target) -> Route {
        Route {
            origin: target.origin.clone(),
            tls: self.tls.clone(),
            source: self.source,
        }
    }

    /// How it is reached, if the URL is one.
    pub fn route(&self) -> Option<Route> {
        Some(self.route_to(self.target.as_ref().ok()?))
    }
}

/// A receiver of notifications beside those of the keys.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    pub spec: HookEndpoint,
    pub endpoint: Endpoint,
    pub signer: Signer,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Extra {
    pub(crate) fn new(spec: &HookEndpoint, source: UrlSource, http2: bool) -> Self {
        let header = |(name, value): &(String, Secret)| {
            // The configuration has checked both.
            let mut value = HeaderValue::from_str(value.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        };
        Self {
            endpoint: Endpoint {
                url: spec.url.expose().into(),
                target: Target::parse(spec.url.expose()),
                tls: Arc::new(TlsSettings {
                    keys: format!("hook_endpoint {}", spec.name).into(),
                    ca_file: spec.ca_file.clone(),
                    cert_file: spec.cert_file.clone(),
                    key_file: spec.key_file.clone(),
                    pin_sha256: spec.pin_sha256,
                    insecure: spec.insecure,
                    http2,
                }),
                source,
            },
            signer: Signer::new(&spec.secrets, spec.old_secrets_until),
            headers: spec.headers.iter().filter_map(header).collect(),
            spec: spec.clone(),
        }
    }

    /// Whether it gets an event now.
    pub(crate) fn gets(&self, event: EventName) -> bool {
        self.spec.enabled && self.spec.wants(event.as_str())
    }
}

/// Everything the hooks need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `hook.enable`.
    pub enable: bool,
    /// `general.mediaServerId`, a member of every body.
    pub media_server_id: String,
    /// `hook.timeoutSec`: limit of one attempt.
    pub timeout: Duration,
    /// `hook.retry`: extra attempts.
    pub retry: u32,
    /// `hook.retry_delay`: pause before an extra attempt.
    pub retry_delay: Duration,
    /// `hook.total_deadline_ms`: limit of one question with all its attempts; zero is [`Settings::worst_case`].
    pub total_deadline: Duration,
    /// `hook.max_inflight`: most questions to one receiver that wait for an answer.
    pub max_in_flight: usize,
    /// `hook.queue_len`: most questions to one receiver that wait for their turn.
    pub queue_len: usize,
    /// `hook.cache_max_sec`: the longest time that a verdict is served without asking; zero is off.
    pub cache_max: Duration,
    /// `hook.cache_by_address`: a kept verdict is for the client's address only.
    pub cache_by_address: bool,
    /// `hook.fail_open`: hooks whose questions have an answer although their receiver is away.
    pub fail_open: Vec<Hook>,
    /// `hook.deny_limit`, `hook.deny_window_sec`, `hook.deny_block_sec`.
    pub throttle: Rules,
    /// `hook.alive_interval`: period of the keep-alive hook; zero is off.
    pub alive_interval: Duration,
    /// `hook.stream_changed_schemas`: schemas that raise `on_stream_changed`; empty is all.
    pub stream_changed_schemas: Vec<String>,
    /// `general.maxStreamWaitMS`: nobody waits longer for an answer of `on_stream_not_found`.
    pub max_stream_wait: Duration,
    /// TLS to the receivers of the keys `hook.on_*`, see [`Settings::set_tls`].
    pub tls: Arc<TlsSettings>,
    /// Where receivers may be: `hook.api_url_private`, `hook.api_url_allow`.
    pub addresses: AddressRules,
    /// Section `protocol`: what `on_publish` may override.
    pub publish_defaults: ProtocolOptions,
    /// The URLs, see [`Settings::set_url`].
    pub endpoints: Endpoints,
    /// `hook.signing_secret`.
    pub(crate) signer: Signer,
    /// `hook.durable`: notifications to the receivers of the keys are kept on disk.
    pub durable: bool,
    /// `hook.store_dir` and `hook.store_limit_mb` in bytes; read at the start only.
    pub store: Option<(PathBuf, u64)>,
    /// The other receivers, by name.
    pub(crate) extras: BTreeMap<Arc<str>, Arc<Extra>>,
}

/// The configured receivers of all hooks.
#[derive(Clone, Debug, Default)]
pub struct Endpoints([Option<Endpoint>; Hook::ALL.len()]);

impl Default for Settings {
    /// The built-in defaults: hooks are off.
    fn default() -> Self {
        Self {
            enable: false,
            media_server_id: String::new(),
            timeout: Duration::from_secs(10),
            retry: 1,
            retry_delay: Duration::from_secs(3),
            total_deadline: Duration::ZERO,
            max_in_flight: 256,
            queue_len: 1024,
            cache_max: Duration::from_secs(600),
            cache_by_address: true,
            fail_open: Vec::new(),
            throttle: Rules {
                limit: 0,
                window: Duration::from_secs(60),
                block: Duration::from_secs(60),
            },
            alive_interval: Duration::from_secs(30),
            stream_changed_schemas: Schema::ALL.map(|schema| schema.as_str().to_owned()).to_vec(),
            max_stream_wait: Duration::from_secs(15),
            tls: Arc::default(),
            addresses: AddressRules::default(),
            publish_defaults: ProtocolOptions::default(),
            endpoints: Endpoints::default(),
            signer: Signer::default(),
            durable: false,
            store: None,
            extras: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What the configuration says about hooks.
    pub fn from_config(config: &Config) -> Self {
        let hook = &config.hook;
        let mut settings = Self {
            enable: hook.enable,
            media_server_id: config.general.media_server_id.clone(),
            timeout: hook.timeout,
            retry: hook.retry,
            retry_delay: hook.retry_delay,
            total_deadline: hook.total_deadline,
            max_in_flight: hook.max_inflight as usize,
            queue_len: hook.queue_len as usize,
            cache_max: hook.cache_max,
            cache_by_address: hook.cache_by_address,
            fail_open: Hook::ALL
                .into_iter()
                .filter(|one| hook.fail_open.iter().any(|name| name == one.name()))
                .collect(),
            throttle: Rules {
                limit: hook.deny_limit,
                window: hook.deny_window,
                block: hook.deny_block,
            },
            alive_interval: hook.alive_interval,
            stream_changed_schemas: hook.stream_changed_schemas.clone(),
            max_stream_wait: config.general.max_stream_wait,
            tls: Arc::new(TlsSettings {
                keys: "hook".into(),
                ca_file: hook.ca_file.clone(),
                cert_file: hook.cert_file.clone(),
                key_file: hook.key_file.clone(),
                pin_sha256: hook.pin_sha256,
                insecure: hook.insecure,
                http2: hook.http2,
            }),
            addresses: AddressRules {
                api_private: hook.api_url_private,
                api_allow: hook.api_url_allow.clone(),
            },
            publish_defaults: config.protocol.defaults(),
            endpoints: Endpoints::default(),
            signer: Signer::new(&hook.secrets, None),
            durable: hook.durable,
            store: hook
                .store_dir
                .clone()
                .map(|dir| (dir, u64::from(hook.store_limit_mb) * 1024 * 1024)),
            extras: BTreeMap::new(),
        };
        settings.set_extras(config.hook_endpoints.iter(), UrlSource::Operator);
        for hook in Hook::ALL {
            settings.set_url(hook, receiver(&config.hook, hook).unwrap_or_default());
        }
        settings
    }

    /// Sets the URL of a hook; blanks around it are cut, and an empty one switches the hook off. A text that is no URL is kept:
    /// the calls of this hook then fail with a text that says why.
    pub fn set_url(&mut self, hook: Hook, url: &str) {
        let url = url.trim();
        self.endpoints.0[hook.index()] = (!url.is_empty()).then(|| Endpoint {
            url: url.into(),
            target: Target::parse(url),
            tls: self.tls.clone(),
            // What setServerConfig changes is the operator's, too: it stands in the file afterwards.
            source: UrlSource::Operator,
        });
    }

    /// Adds receivers of notifications that `source` named. Of two with one name the first stays.
    pub(crate) fn set_extras<'a>(
        &mut self,
        specs: impl Iterator<Item = &'a HookEndpoint>,
        source: UrlSource,
    ) {
        for spec in specs {
            self.extras
                .entry(spec.name.as_str().into())
                .or_insert_with(|| Arc::new(Extra::new(spec, source, self.tls.http2)));
        }
    }

    /// Whether the events of an endpoint are to be kept on disk.
    pub(crate) fn is_durable(&self, name: &str) -> bool {
        let extra = self.extras.get(name);
        extra.map_or(self.durable && name == KEYED, |extra| extra.spec.durable)
    }

    /// Whether anybody beside the receivers of the keys gets an event.
    pub(crate) fn extras_want(&self, event: EventName) -> bool {
        self.extras.values().any(|extra| extra.gets(event))
    }

    /// Sets TLS to the receivers of the keys `hook.on_*`.
    pub fn set_tls(&mut self, tls: TlsSettings) {
        self.tls = Arc::new(tls);
        for endpoint in self.endpoints.0.iter_mut().flatten() {
            endpoint.tls = self.tls.clone();
        }
    }

    /// Sets who named the URL of a hook, if it has one.
    pub fn set_source(&mut self, hook: Hook, source: UrlSource) {
        if let Some(endpoint) = &mut self.endpoints.0[hook.index()] {
            endpoint.source = source;
        }
    }

    /// Whether a hook is on: `hook.enable` and a URL.
    pub fn is_on(&self, hook: Hook) -> bool {
        self.endpoint(hook).is_some()
    }

    /// The period of the keep-alive hook, if anybody gets it.
    pub fn keepalive_period(&self) -> Option<Duration> {
        let wanted = self.is_on(Hook::ServerKeepalive)
            || self.extras_want(Hook::ServerKeepalive.into())
            || self.extras_want(EventName::Own(OwnEvent::ServerAlive));
        // A period of zero would be a busy loop.
        (wanted && !self.alive_interval.is_zero()).then_some(self.alive_interval)
    }

    /// Whether a change of a stream in this schema is reported.
    pub fn reports_changes_in(&self, schema: Schema) -> bool {
        let listed = &self.stream_changed_schemas;
        listed.is_empty() || listed.iter().any(|name| name == schema.as_str())
    }

    /// The longest a call may take: all attempts and the pauses between them, as in ZLM.
    pub fn worst_case(&self) -> Duration {
        let retry = self.retry();
        let attempts = self.attempt_timeout().saturating_mul(retry + 1);
        attempts.saturating_add(self.retry_pause().saturating_mul(retry))
    }

    /// The longest a question may take.
    pub(crate) fn question_limit(&self) -> Duration {
        if self.total_deadline.is_zero() {
            self.worst_case()
        } else {
            self.total_deadline.min(MAX_TIME)
        }
    }

    /// Whether verdicts of a hook are kept if its receiver lets them. For a publisher the answer can matter too much, and an answer
    /// about a file says by itself for how long it holds.
    pub(crate) fn caches(&self, hook: Hook) -> bool {
        hook == Hook::Play && !self.cache_max.is_zero()
    }

    /// Whether a hook's questions are answered although its receiver is away.
    pub(crate) fn fails_open(&self, hook: Hook) -> bool {
        self.fail_open.contains(&hook)
    }

    /// Whether a verdict that was given under these settings may stand under the others.
    pub(crate) fn asks_like(&self, other: &Self, hook: Hook) -> bool {
        let url = |settings: &Self| settings.endpoint(hook).map(|endpoint| endpoint.url.clone());
        let kept = |settings: &Self| {
            (
                settings.cache_max,
                settings.cache_by_address,
                settings.fails_open(hook),
            )
        };
        url(self) == url(other)
            && self.tls == other.tls
            && self.media_server_id == other.media_server_id
            && kept(self) == kept(other)
            && (hook != Hook::Publish || self.publish_defaults == other.publish_defaults)
    }

    pub(crate) fn endpoint(&self, hook: Hook) -> Option<&Endpoint> {
        self.endpoints.0[hook.index()].as_ref().filter(|_| self.enable)
    }

    /// All receivers, whether or not the hooks are switched on.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let extras = self.extras.values().map(|extra| &extra.endpoint);
        self.endpoints.0.iter().flatten().chain(extras)
    }

    pub(crate) fn retry(&self) -> u32 {
        self.retry.min(MAX_RETRY)
    }

    pub(crate) fn retry_pause(&self) -> Duration {
        self.retry_delay.min(MAX_TIME)
    }

    pub(crate) fn attempt_timeout(&self) -> Duration {
        if self.timeout.is_zero() {
            TIMEOUT_OF_ZERO
        } else {
            self.timeout.min(MAX_TIME)
        }
    }
}

fn receiver(section: &config::Hook, hook: Hook) -> Option<&str> {
    let url = match hook {
        Hook::FlowReport => &section.on_flow_report,
        Hook::HttpAccess => &section.on_http_access,
        Hook::Play => &section.on_play,
        Hook::Publish => &section.on_publish,
        Hook::RecordMp4 => &section.on_record_mp4,
        Hook::RecordTs => &section.on_record_ts,
        Hook::RtpServerTimeout => &section.on_rtp_server_timeout,
        Hook::RtspAuth => &section.on_rtsp_auth,
        Hook::RtspRealm => &section.on_rtsp_realm,
        Hook::SendRtpStopped => &section.on_send_rtp_stopped,
        Hook::ServerExited => &section.on_server_exited,
        Hook::ServerKeepalive => &section.on_server_keepalive,
        Hook::ServerStarted => &section.on_server_started,
        Hook::ShellLogin => &section.on_shell_login,
        Hook::StreamChanged => &section.on_stream_changed,
        Hook::StreamNoneReader => &section.on_stream_none_reader,
        Hook::StreamNotFound => &section.on_stream_not_found,
    };
    url.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Fingerprint;

    #[test]
    fn every_key_of_the_configuration_arrives() {
        let named = Hook::ALL.map(|hook| (format!("hook.{hook}"), format!("http://h/{hook}")));
        let others = [
            ("hook.enable", "1"),
            ("general.mediaServerId", "id"),
            ("hook.timeoutSec", "2.5"),
            ("hook.retry", "4"),
            ("hook.retry_delay", "0.5"),
            ("hook.total_deadline_ms", "1500"),
            ("hook.max_inflight", "7"),
            ("hook.queue_len", "8"),
            ("hook.cache_max_sec", "11"),
            ("hook.cache_by_address", "0"),
            ("hook.fail_open", "on_play/on_http_access"),
            ("hook.deny_limit", "12"),
            ("hook.deny_window_sec", "13"),
            ("hook.deny_block_sec", "14"),
            ("hook.alive_interval", "9"),
            ("hook.stream_changed_schemas", "hls"),
            ("general.maxStreamWaitMS", "700"),
            ("hook.ca_file", "/etc/ca.pem"),
            ("hook.cert_file", "/etc/client.pem"),
            ("hook.key_file", "/etc/client.key"),
            (
                "hook.pin_sha256",
                "0101010101010101010101010101010101010101010101010101010101010101",
            ),
            ("hook.insecure", "1"),
            ("hook.http2", "0"),
            ("hook.api_url_private", "0"),
            ("hook.api_url_allow", "10.0.0.0/8"),
            ("protocol.enable_mp4", "1"),
        ];
        let others = others.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let changes: Vec<_> = named.into_iter().chain(others).collect();
        let outcome = Config::default().set(&changes);
        assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
        let settings = Settings::from_config(&outcome.config);
        for hook in Hook::ALL {
            let endpoint = settings.endpoint(hook).unwrap_or_else(|| panic!("{hook} is off"));
            assert_eq!(&*endpoint.url, format!("http://h/{hook}"));
        }
        assert_eq!(settings.media_server_id, "id");
        assert_eq!(
            (settings.timeout, settings.retry),
            (Duration::from_millis(2500), 4)
        );
        assert_eq!(settings.retry_delay, Duration::from_millis(500));
        assert_eq!(settings.question_limit(), Duration::from_millis(1500));
        assert_eq!((settings.max_in_flight, settings.queue_len), (7, 8));
        assert_eq!(settings.cache_max, Duration::from_secs(11));
        assert!(!settings.cache_by_address);
        assert_eq!(settings.fail_open, [Hook::HttpAccess, Hook::Play]);
        let (window, block) = (Duration::from_secs(13), Duration::from_secs(14));
        assert_eq!(
            settings.throttle,
            Rules {
                limit: 12,
                window,
                block
            }
        );
        assert_eq!(settings.keepalive_period(), Some(Duration::from_secs(9)));
        assert_eq!(settings.stream_changed_schemas, ["hls"]);
        assert_eq!(settings.max_stream_wait, Duration::from_millis(700));
        assert_eq!(
            *settings.tls,
            TlsSettings {
                keys: "hook".into(),
                ca_file: Some("/etc/ca.pem".into()),
                cert_file: Some("/etc/client.pem".into()),
                key_file: Some("/etc/client.key".into()),
                pin_sha256: Some(Fingerprint([1; 32])),
                insecure: true,
                http2: false,
            }
        );
        assert_eq!(settings.endpoint(Hook::Play).unwrap().tls, settings.tls);
        let addresses = &settings.addresses;
        assert!(!addresses.api_private && addresses.api_allow.lists("10.1.1.1".parse().unwrap()));
        assert!(settings.publish_defaults.enable_mp4);
    }

    #[test]
    fn by_default_no_hook_is_on() {
        let settings = Settings::from_config(&Config::default());
        assert!(Hook::ALL.iter().all(|hook| !settings.is_on(*hook)));
        assert_eq!(settings.worst_case(), Duration::from_secs(23));
        assert_eq!(*settings.tls, TlsSettings::default(), "certificates are verified");
        assert_eq!(settings.addresses, AddressRules::default());
        assert!(
            Schema::ALL
                .iter()
                .all(|schema| settings.reports_changes_in(*schema))
        );
    }

    #[test]
    fn a_hook_needs_the_switch_and_a_url() {
        let mut settings = Settings::default();
        settings.set_url(Hook::Play, " http://127.0.0.1/x ");
        assert!(!settings.is_on(Hook::Play));
        settings.enable = true;
        assert!(settings.is_on(Hook::Play));
        assert!(!settings.is_on(Hook::Publish));
        settings.set_url(Hook::Play, "");
        assert!(!settings.is_on(Hook::Play));
    }

    #[test]
    fn the_worst_case_is_that_of_zlm_and_cannot_overflow() {
        let mut settings = Settings::default();
        assert_eq!(settings.worst_case(), Duration::from_secs(23));
        settings.retry = u32::MAX;
        settings.timeout = Duration::MAX;
        settings.retry_delay = Duration::MAX;
        assert!(settings.worst_case() < Duration::from_secs(3600 * 24 * 365));
    }

    #[test]
    fn an_empty_filter_lets_every_schema_pass() {
        let mut settings = Settings {
            stream_changed_schemas: vec!["hls".to_owned()],
            ..Settings::default()
        };
        assert!(!settings.reports_changes_in(Schema::Rtmp));
        assert!(settings.reports_changes_in(Schema::Hls));
        assert!(!settings.reports_changes_in(Schema::HlsFmp4));
        settings.stream_changed_schemas.clear();
        assert!(settings.reports_changes_in(Schema::HlsFmp4));
    }
}
