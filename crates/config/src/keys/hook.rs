//! Section `hook`.

use super::{ANY_MS, YEAR_S};
use crate::address::IpRanges;
use crate::fingerprint::Fingerprint;
use crate::key::{
    Key, Kind, Place,
    Reload::{self, Hot, Start},
};
use crate::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// The web hooks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hook {
    /// Master switch.
    pub enable: bool,
    /// Receiver of `on_flow_report`; none is off. So with all of them.
    pub on_flow_report: Option<String>,
    /// Receiver of `on_http_access`.
    pub on_http_access: Option<String>,
    /// Receiver of `on_play`.
    pub on_play: Option<String>,
    /// Receiver of `on_publish`.
    pub on_publish: Option<String>,
    /// Receiver of `on_record_mp4`.
    pub on_record_mp4: Option<String>,
    /// Receiver of `on_record_ts`.
    pub on_record_ts: Option<String>,
    /// Receiver of `on_rtp_server_timeout`.
    pub on_rtp_server_timeout: Option<String>,
    /// Receiver of `on_rtsp_auth`.
    pub on_rtsp_auth: Option<String>,
    /// Receiver of `on_rtsp_realm`.
    pub on_rtsp_realm: Option<String>,
    /// Receiver of `on_send_rtp_stopped`.
    pub on_send_rtp_stopped: Option<String>,
    /// Receiver of `on_server_exited`.
    pub on_server_exited: Option<String>,
    /// Receiver of `on_server_keepalive`.
    pub on_server_keepalive: Option<String>,
    /// Receiver of `on_server_started`.
    pub on_server_started: Option<String>,
    /// Receiver of `on_shell_login`.
    pub on_shell_login: Option<String>,
    /// Receiver of `on_stream_changed`.
    pub on_stream_changed: Option<String>,
    /// Receiver of `on_stream_none_reader`.
    pub on_stream_none_reader: Option<String>,
    /// Receiver of `on_stream_not_found`.
    pub on_stream_not_found: Option<String>,
    /// Period of `on_server_keepalive`; zero is off.
    pub alive_interval: Duration,
    /// Schemas that `on_stream_changed` reports; an empty list is all.
    pub stream_changed_schemas: Vec<String>,
    /// Limit of one attempt.
    pub timeout: Duration,
    /// Attempts after the first one failed.
    pub retry: u32,
    /// Pause before each further attempt.
    pub retry_delay: Duration,
    /// Certificates of further authorities to trust, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Tidegate's certificate, shown to receivers that ask for one, in PEM.
    pub cert_file: Option<PathBuf>,
    /// The private key of `cert_file`, in PEM; none: it is in the same file.
    pub key_file: Option<PathBuf>,
    /// The one certificate that a receiver may have.
    pub pin_sha256: Option<Fingerprint>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Secrets that sign calls, `whsec_` and base64; the newest first.
    pub secrets: Vec<Secret>,
    /// Notifications are kept on disk until they are delivered or too old.
    pub durable: bool,
    /// Folder for what is kept on disk; none is nothing.
    pub store_dir: Option<PathBuf>,
    /// Most that one receiver's notifications take there, in MiB.
    pub store_limit_mb: u32,
    /// Offer HTTP/2 to receivers that use TLS.
    pub http2: bool,
    /// URLs that were set over the API may lead to any address but link-local ones and metadata services, not only to public
    /// ones.
    pub api_url_private: bool,
    /// Addresses that URLs set over the API may lead to whatever `api_url_private` says.
    pub api_url_allow: IpRanges,
    /// Limit of all attempts together as configured; zero stands for the sum of the single limits. See
    /// [`Hook::total_deadline`].
    pub total_deadline: Duration,
    /// One `on_stream_not_found` per waiting player.
    pub not_found_per_player: bool,
    /// Pause before a failed `on_stream_none_reader` is asked again as configured; zero stands for
    /// `general.streamNoneReaderDelayMS`. See [`Hook::none_reader_retry`].
    pub none_reader_retry: Duration,
    /// Most calls that wait for an answer at the same time.
    pub max_inflight: u32,
    /// Most calls that wait for their turn.
    pub queue_len: u32,
    /// The longest time that a verdict is served without asking; zero is off.
    pub cache_max: Duration,
    /// A kept verdict is for the client's address only.
    pub cache_by_address: bool,
    /// Names of hooks whose questions are answered although their receiver is away.
    pub fail_open: Vec<String>,
    /// Refusals within the window after which an address is refused without a call; 0 is off.
    pub deny_limit: u32,
    /// The window.
    pub deny_window: Duration,
    /// How long an address is refused without a call.
    pub deny_block: Duration,
}

impl Hook {
    /// The limit of one call with all its attempts.
    pub fn total_deadline(&self) -> Duration {
        if !self.total_deadline.is_zero() {
            return self.total_deadline;
        }
        let attempts = self.timeout.saturating_mul(self.retry.saturating_add(1));
        attempts.saturating_add(self.retry_delay.saturating_mul(self.retry))
    }

    /// The pause before a failed `on_stream_none_reader` is asked again; `delay` is `general.streamNoneReaderDelayMS`.
    pub const fn none_reader_retry(&self, delay: Duration) -> Duration {
        if self.none_reader_retry.is_zero() {
            delay
        } else {
            self.none_reader_retry
        }
    }
}

/// The receiver of one hook that this version sends.
const fn receiver(
    name: &'static str,
    reload: Reload,
    place: Place<Option<String>>,
    doc: &'static str,
) -> Key {
    Key::zlm(name, "", reload, Kind::HookUrl(place), doc)
}

/// The receiver of a hook that this version does not send yet.
const fn later(name: &'static str, place: Place<Option<String>>, doc: &'static str) -> Key {
    Key::stored(name, "", Hot, Kind::HookUrl(place), doc)
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "hook.enable",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.enable)),
        "Master switch of the web hooks. With 0 no hook is sent and each question gets its default answer.",
    ),
    receiver(
        "hook.on_publish",
        Hot,
        Some(|c| &mut c.hook.on_publish),
        "Asked whether a publisher may publish, and with which options. Empty: everybody may.",
    ),
    receiver(
        "hook.on_play",
        Hot,
        Some(|c| &mut c.hook.on_play),
        "Asked whether a player may play. Empty: everybody may.",
    ),
    receiver(
        "hook.on_stream_not_found",
        Hot,
        Some(|c| &mut c.hook.on_stream_not_found),
        "Told that a player waits for a stream that does not exist, so that the service can start it.",
    ),
    receiver(
        "hook.on_stream_none_reader",
        Hot,
        Some(|c| &mut c.hook.on_stream_none_reader),
        "Asked whether a stream that nobody watches shall be closed. Empty: it stays.",
    ),
    receiver(
        "hook.on_stream_changed",
        Hot,
        Some(|c| &mut c.hook.on_stream_changed),
        "Told that a stream appeared or vanished in one schema.",
    ),
    receiver(
        "hook.on_flow_report",
        Hot,
        Some(|c| &mut c.hook.on_flow_report),
        "Told the traffic of a session that ended, if it had at least `general.flowThreshold`.",
    ),
    receiver(
        "hook.on_server_started",
        Start,
        Some(|c| &mut c.hook.on_server_started),
        "Told once after the start, with the whole configuration.",
    ),
    receiver(
        "hook.on_server_exited",
        Hot,
        Some(|c| &mut c.hook.on_server_exited),
        "Told when the server stops in an orderly way.",
    ),
    receiver(
        "hook.on_server_keepalive",
        Hot,
        Some(|c| &mut c.hook.on_server_keepalive),
        "Told every `hook.alive_interval` that the server lives, with its object counts.",
    ),
    receiver(
        "hook.on_http_access",
        Hot,
        Some(|c| &mut c.hook.on_http_access),
        "Asked whether a client may read a file or a folder over HTTP. Empty: clients inside `http.allow_ip_range` may.",
    ),
    later(
        "hook.on_record_mp4",
        Some(|c| &mut c.hook.on_record_mp4),
        "Told that an MP4 file is complete.",
    ),
    receiver(
        "hook.on_record_ts",
        Hot,
        Some(|c| &mut c.hook.on_record_ts),
        "Told that an HLS segment is on disk, if `hls.broadcastRecordTs` is 1.",
    ),
    later(
        "hook.on_rtp_server_timeout",
        Some(|c| &mut c.hook.on_rtp_server_timeout),
        "Told that a port of openRtpServer got no data.",
    ),
    receiver(
        "hook.on_rtsp_auth",
        Hot,
        Some(|c| &mut c.hook.on_rtsp_auth),
        "Asked for the password of a user of an RTSP player.",
    ),
    receiver(
        "hook.on_rtsp_realm",
        Hot,
        Some(|c| &mut c.hook.on_rtsp_realm),
        "Asked whether an RTSP player needs a user name and a password.",
    ),
    later(
        "hook.on_send_rtp_stopped",
        Some(|c| &mut c.hook.on_send_rtp_stopped),
        "Told that a sender of startSendRtp ended by itself.",
    ),
    later(
        "hook.on_shell_login",
        Some(|c| &mut c.hook.on_shell_login),
        "Asked about logins to the telnet console of ZLMediaKit. Tidegate has none.",
    ),
    Key::zlm(
        "hook.timeoutSec",
        "10",
        Hot,
        Kind::Seconds {
            min: 0.05,
            max: 3600.0,
            place: Some(|c| &mut c.hook.timeout),
        },
        "Limit of one attempt, in seconds.",
    ),
    Key::zlm(
        "hook.retry",
        "1",
        Hot,
        Kind::Count {
            min: 0,
            max: 100,
            place: Some(|c| &mut c.hook.retry),
        },
        "Attempts after the first one failed.",
    ),
    Key::zlm(
        "hook.retry_delay",
        "3.000000",
        Hot,
        Kind::Seconds {
            min: 0.0,
            max: 3600.0,
            place: Some(|c| &mut c.hook.retry_delay),
        },
        "Pause before each further attempt, in seconds.",
    ),
    Key::zlm(
        "hook.alive_interval",
        "10.000000",
        Hot,
        Kind::Seconds {
            min: 0.0,
            max: YEAR_S,
            place: Some(|c| &mut c.hook.alive_interval),
        },
        "Period of `on_server_keepalive`, in seconds; 0 is off. Unlike ZLMediaKit, Tidegate follows a change at once, and starts and stops the timer when the URL or `hook.enable` change.",
    ),
    Key::zlm(
        "hook.stream_changed_schemas",
        "rtsp/rtmp/fmp4/ts/hls/hls.fmp4",
        Hot,
        Kind::List {
            separator: '/',
            place: Some(|c| &mut c.hook.stream_changed_schemas),
        },
        "Schemas that `on_stream_changed` reports, with `/` between them. Empty: all.",
    ),
    Key::own(
        "hook.ca_file",
        "",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.hook.ca_file)),
        "PEM file with certificates of authorities to trust beside those of the system when a receiver uses `https`.",
    ),
    Key::own(
        "hook.cert_file",
        "",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.hook.cert_file)),
        "Certificate that Tidegate shows to receivers that ask for one, with its chain: a PEM file. It is read again when it has changed.",
    ),
    Key::own(
        "hook.key_file",
        "",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.hook.key_file)),
        "Private key of `hook.cert_file`: a PEM file (PKCS#8, PKCS#1 or SEC1). Empty: the key is in the same file.",
    ),
    Key::own(
        "hook.pin_sha256",
        "",
        Hot,
        Kind::Fingerprint(Some(|c| &mut c.hook.pin_sha256)),
        "SHA-256 of the one certificate that receivers may have, as `openssl x509 -noout -fingerprint -sha256` prints it. With it, name, validity and issuer of the certificate do not matter, nor does `hook.insecure`.",
    ),
    Key::own(
        "hook.http2",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.http2)),
        "Offer HTTP/2 to receivers that use `https`; they choose. 0: HTTP/1.1 only.",
    ),
    Key::own(
        "hook.api_url_private",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.api_url_private)),
        "Whether receivers that were added over the API may be at loopback, private, carrier NAT, multicast, documentation and reserved addresses. 0: only at public addresses and those in `hook.api_url_allow`. What counts is the address that the name has at each connection. Link-local addresses and metadata services of clouds are refused for all receivers, whatever this says.",
    ),
    Key::own(
        "hook.api_url_allow",
        "",
        Hot,
        Kind::IpRanges(Some(|c| &mut c.hook.api_url_allow)),
        "Addresses that receivers added over the API may be at though `hook.api_url_private` is 0, with `,` between: single ones, `min-max` or `address/prefix`.",
    ),
    Key::own(
        "hook.insecure",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.insecure)),
        "Accept any certificate of a receiver. Only for tests: anybody on the way can then answer in its place.",
    ),
    Key::own(
        "hook.signing_secret",
        "",
        Hot,
        Kind::HookSecrets(Some(|c| &mut c.hook.secrets)),
        "Signs every call in the header `webhook-signature` (Standard Webhooks, HMAC-SHA256), so that receivers can tell who sent it. `whsec_` and 24 to 64 random bytes in base64, from `tidegate hooks secret`. While a secret is changed, write the new one and the old ones with `,` between them: all sign.",
    )
    .secret(),
    Key::own(
        "hook.durable",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.durable)),
        "1: notifications to the receivers of `hook.on_*` are kept in `hook.store_dir` until they are delivered, in order per stream, over restarts and crashes, and tried for up to 24 h (`on_record_*`: 72 h). 0: as in ZLMediaKit, `hook.retry` attempts and then lost.",
    ),
    Key::own(
        "hook.store_dir",
        "",
        Start,
        Kind::OptionalPath(Some(|c| &mut c.hook.store_dir)),
        "Folder for notifications that wait, for those that could not be delivered (dead letters), and for endpoints that were added by the API. Empty: nothing is written; then nothing can be durable and failed notifications are only counted.",
    ),
    Key::own(
        "hook.store_limit_mb",
        "1024",
        Start,
        Kind::Count {
            min: 16,
            max: 1024 * 1024,
            place: Some(|c| &mut c.hook.store_limit_mb),
        },
        "Most that the waiting notifications of one receiver take in `hook.store_dir`, in MiB. Beyond it the oldest go, those of `on_record_*` last, which is counted.",
    ),
    Key::own(
        "hook.total_deadline_ms",
        "0",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.hook.total_deadline),
        },
        "Limit of one call with all its attempts, in milliseconds. 0 is the sum of the single limits: `timeoutSec * (retry + 1) + retry_delay * retry`.",
    ),
    Key::own(
        "hook.not_found_per_player",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.not_found_per_player)),
        "Send `on_stream_not_found` for each waiting player, as ZLMediaKit does, instead of once per missing stream.",
    ),
    Key::own(
        "hook.none_reader_retry_ms",
        "0",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.hook.none_reader_retry),
        },
        "How long after a failed `on_stream_none_reader` the question is asked again, in milliseconds. 0 is `general.streamNoneReaderDelayMS`.",
    ),
    Key::own(
        "hook.max_inflight",
        "256",
        Hot,
        Kind::Count {
            min: 1,
            max: 65_536,
            place: Some(|c| &mut c.hook.max_inflight),
        },
        "Most questions to one receiver that wait for an answer at the same time. Notices have a bound of their own.",
    ),
    Key::own(
        "hook.queue_len",
        "1024",
        Hot,
        Kind::Count {
            min: 1,
            max: 1_000_000,
            place: Some(|c| &mut c.hook.queue_len),
        },
        "Most questions to one receiver that wait for their turn. Beyond it a question counts as failed, which is counted. Notices have a bound of their own: 10,000 or 64 MiB.",
    ),
    Key::own(
        "hook.cache_max_sec",
        "600",
        Hot,
        Kind::Seconds {
            min: 0.0,
            max: 600.0,
            place: Some(|c| &mut c.hook.cache_max),
        },
        "The longest time that a verdict of `on_play` is served again without asking, in seconds, if the receiver lets it by the header `Tidegate-Cache-Seconds` of its answer; a refusal at most 5 s. 0 is off.",
    ),
    Key::own(
        "hook.cache_by_address",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.hook.cache_by_address)),
        "Serve a kept verdict to the client's address only. With 0 whoever shows the same parameters gets it, a token that was meant for one client too.",
    ),
    Key::own(
        "hook.fail_open",
        "",
        Hot,
        Kind::Words {
            words: &["on_publish", "on_play", "on_http_access"],
            refused: &[(
                "on_rtsp_auth",
                "on_rtsp_auth cannot fail open: without an answer there is no password to compare with",
            )],
            place: Some(|c| &mut c.hook.fail_open),
        },
        "Hooks whose questions are answered although their receiver is away, with `/` or `,` between them: by its last verdict about the same, if that is at most 5 min old, else as if the hook were off. A refusal is never turned into consent. Empty: a receiver that is away lets nobody in.",
    ),
    Key::own(
        "hook.deny_limit",
        "0",
        Hot,
        Kind::Count {
            min: 0,
            max: 1_000_000,
            place: Some(|c| &mut c.hook.deny_limit),
        },
        "Refusals by receivers within `deny_window_sec` after which further requests from the same address (IPv6: the same /64) are refused without asking; 10 is a good value where each client has an address of its own. 0 is off, since many viewers may share one address.",
    ),
    Key::own(
        "hook.deny_window_sec",
        "60",
        Hot,
        Kind::Seconds {
            min: 1.0,
            max: 86_400.0,
            place: Some(|c| &mut c.hook.deny_window),
        },
        "The time within which `hook.deny_limit` refusals are too many, in seconds, counted from the first one.",
    ),
    Key::own(
        "hook.deny_block_sec",
        "60",
        Hot,
        Kind::Seconds {
            min: 1.0,
            max: 86_400.0,
            place: Some(|c| &mut c.hook.deny_block),
        },
        "How long an address with too many refusals is refused without asking, in seconds.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_deadline_is_the_sum_of_the_limits_unless_it_is_set() {
        let mut hook = Hook {
            timeout: Duration::from_secs(10),
            retry: 1,
            retry_delay: Duration::from_secs(3),
            ..Hook::default()
        };
        assert_eq!(hook.total_deadline(), Duration::from_secs(23));
        hook.total_deadline = Duration::from_millis(500);
        assert_eq!(hook.total_deadline(), Duration::from_millis(500));
    }

    #[test]
    fn the_question_about_an_unwatched_stream_is_repeated_after_the_usual_delay_unless_set() {
        let mut hook = Hook::default();
        let delay = Duration::from_secs(20);
        assert_eq!(hook.none_reader_retry(delay), delay);
        hook.none_reader_retry = Duration::from_secs(1);
        assert_eq!(hook.none_reader_retry(delay), Duration::from_secs(1));
    }

    #[test]
    fn only_questions_that_have_a_default_can_fail_open() {
        let set = |text: &str| {
            let outcome = crate::Config::default().set(&[("hook.fail_open".to_owned(), text.to_owned())]);
            let refused: Vec<String> = outcome.rejected.iter().map(ToString::to_string).collect();
            (outcome.config.hook.fail_open, refused.concat())
        };
        for text in [
            "on_play/on_publish",
            "on_play,on_publish",
            " on_play , on_publish/",
        ] {
            assert_eq!(set(text).0, ["on_play", "on_publish"], "{text}");
        }
        assert_eq!(set("").0, [""; 0]);
        let (kept, refused) = set("on_play/on_rtsp_auth");
        assert_eq!(kept, [""; 0]);
        assert!(
            refused.contains("there is no password to compare with"),
            "{refused}"
        );
        for unknown in ["on_Play", "on_rtsp_realm", "on_stream_not_found", "all"] {
            let (_, refused) = set(unknown);
            assert!(
                refused.contains("any of on_publish, on_play, on_http_access"),
                "{refused}"
            );
        }
    }
}
