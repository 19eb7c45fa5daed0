//! The settings in force. Replaced as a whole when the configuration changes; every key takes effect for the next call.

use crate::client::tls::Trust;
use crate::client::{BadUrl, Target};
use crate::hook::Hook;
use crate::throttle::Rules;
use config::Config;
use media::{ProtocolOptions, Schema};
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
    /// Which TLS receivers are trusted: `hook.ca_file`, `hook.insecure`.
    pub trust: Trust,
    /// Section `protocol`: what `on_publish` may override.
    pub publish_defaults: ProtocolOptions,
    /// The URLs, see [`Settings::set_url`].
    pub endpoints: Endpoints,
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
            trust: Trust::default(),
            publish_defaults: ProtocolOptions::default(),
            endpoints: Endpoints::default(),
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
            trust: Trust {
                keys: "hook",
                ca_file: hook.ca_file.clone(),
                insecure: hook.insecure,
            },
            publish_defaults: config.protocol.defaults(),
            endpoints: Endpoints::default(),
        };
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
        });
    }

    /// Whether a hook is on: `hook.enable` and a URL.
    pub fn is_on(&self, hook: Hook) -> bool {
        self.endpoint(hook).is_some()
    }

    /// The period of the keep-alive hook, if it is on.
    pub fn keepalive_period(&self) -> Option<Duration> {
        // A period of zero would be a busy loop.
        (self.is_on(Hook::ServerKeepalive) && !self.alive_interval.is_zero()).then_some(self.alive_interval)
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
            && self.trust == other.trust
            && self.media_server_id == other.media_server_id
            && kept(self) == kept(other)
            && (hook != Hook::Publish || self.publish_defaults == other.publish_defaults)
    }

    pub(crate) fn endpoint(&self, hook: Hook) -> Option<&Endpoint> {
        self.endpoints.0[hook.index()].as_ref().filter(|_| self.enable)
    }

    /// All receivers, whether or not the hooks are switched on.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.0.iter().flatten()
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
            ("hook.insecure", "1"),
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
            settings.trust,
            Trust {
                keys: "hook",
                ca_file: Some("/etc/ca.pem".into()),
                insecure: true
            }
        );
        assert!(settings.publish_defaults.enable_mp4);
    }

    #[test]
    fn by_default_no_hook_is_on() {
        let settings = Settings::from_config(&Config::default());
        assert!(Hook::ALL.iter().all(|hook| !settings.is_on(*hook)));
        assert_eq!(settings.worst_case(), Duration::from_secs(23));
        assert_eq!(settings.trust, Trust::default(), "certificates are verified");
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
