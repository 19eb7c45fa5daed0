//! Why a call failed.

use std::fmt;
use std::time::Duration;

/// Kind of failure; the label `result` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The receiver's name has no address.
    Dns,
    /// No TCP connection: refused, unreachable, or not within the limit.
    Connect,
    /// The TLS handshake failed, most often because of the certificate.
    Tls,
    /// No complete answer in time.
    Timeout,
    /// The connection ended before a complete answer.
    Reset,
    /// The answer is not HTTP.
    BadHttp,
    /// A status other than 200.
    Status,
    /// The answer, or its head, is larger than allowed.
    TooLarge,
    /// The answer is no JSON object.
    BadJson,
    /// Member `code` is missing or no integer.
    BadCode,
    /// A member of the answer has a type its reader cannot take.
    BadMember,
    /// The receiver said no: `code` is not 0.
    Denied,
    /// Too many calls at once; the receiver was not asked.
    Overload,
    /// The receiver failed too often; it was not asked.
    BreakerOpen,
    /// The URL in the configuration is none; nobody was asked.
    BadUrl,
    /// The receiver has an address that may not be connected to; nobody was asked.
    Forbidden,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::BadHttp,
        Self::Status,
        Self::TooLarge,
        Self::BadJson,
        Self::BadCode,
        Self::BadMember,
        Self::Denied,
        Self::Overload,
        Self::BreakerOpen,
        Self::BadUrl,
        Self::Forbidden,
    ];

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::BadHttp => "bad_http",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::BadJson => "bad_json",
            Self::BadCode => "bad_code",
            Self::BadMember => "bad_member",
            Self::Denied => "denied",
            Self::Overload => "overload",
            Self::BreakerOpen => "breaker_open",
            Self::BadUrl => "bad_url",
            Self::Forbidden => "forbidden",
        }
    }

    /// Whether the call is made again (hooks.md, section 2): not after a verdict, and not when nobody was asked.
    pub const fn is_retried(self) -> bool {
        match self {
            Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Reset
            | Self::BadHttp
            | Self::Status
            | Self::TooLarge
            | Self::BadJson
            | Self::BadCode => true,
            Self::BadMember
            | Self::Denied
            | Self::Overload
            | Self::BreakerOpen
            | Self::BadUrl
            | Self::Forbidden => false,
        }
    }

    /// What the failure says about the receiver: `Some(true)` it works, `Some(false)` it does not, `None` nothing, because it
    /// was not asked.
    pub(crate) const fn receiver_works(self) -> Option<bool> {
        match self {
            Self::BadMember | Self::Denied => Some(true),
            Self::Overload | Self::BreakerOpen | Self::BadUrl | Self::Forbidden => None,
            Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Reset
            | Self::BadHttp
            | Self::Status
            | Self::TooLarge
            | Self::BadJson
            | Self::BadCode => Some(false),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// ZLM's number of a network failure (hooks.md, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkCode {
    /// End of file.
    Eof = 1,
    /// Time-out.
    Timeout = 2,
    /// Connection refused.
    Refused = 3,
    /// Connection reset.
    Reset = 4,
    /// Name not resolved.
    Dns = 5,
    /// Shut down.
    Shutdown = 6,
    /// Anything else.
    Other = 255,
}

impl NetworkCode {
    /// The words for the peer: they tell the kind, and nothing about the receiver.
    const fn words(self) -> &'static str {
        match self {
            Self::Eof => "end of file",
            Self::Timeout => "timeout",
            Self::Refused => "connection refused",
            Self::Reset => "connection reset",
            Self::Dns => "dns failed",
            Self::Shutdown => "shutdown",
            Self::Other => "other error",
        }
    }
}

/// Longest text of a failure in bytes. It may repeat a part of the answer, and goes into log lines and into messages of protocols
/// with limits of their own (an AMF0 string has 65,535 bytes at most).
pub const MAX_TEXT: usize = 1024;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub class: Class,
    /// The contract's text, sent on to the player or publisher. Names no host, certificate or file.
    pub text: String,
    /// For operators: what happened, with numbers, and what can be done. Holds no credential.
    pub detail: String,
    /// The status of the answer, if that is what is wrong with it.
    pub status: Option<u16>,
    /// When the receiver wants to be asked again, if it said so.
    pub retry_after: Option<Duration>,
    /// How long the receiver lets a refusal be served without asking ([`crate::reply::CACHE_SECONDS`]); zero is not at all.
    pub consent: Duration,
}

impl Failure {
    /// A failure with its text for the peer and its detail for the operator, each cut after [`MAX_TEXT`].
    pub fn new(class: Class, mut text: String, mut detail: String) -> Self {
        for text in [&mut text, &mut detail] {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        Self {
            class,
            text,
            detail,
            status: None,
            retry_after: None,
            consent: Duration::ZERO,
        }
    }

    /// A network failure.
    pub(crate) fn network(class: Class, code: NetworkCode, detail: impl Into<String>) -> Self {
        Self::new(
            class,
            format!("[network err]:{}({})", code as u8, code.words()),
            detail.into(),
        )
    }

    /// The answer has a status that is no success; `wanted` says which are.
    pub(crate) fn status(status: u16, wanted: &str) -> Self {
        let text = format!("[bad http status code]:{status}");
        Self {
            status: Some(status),
            ..Self::new(Class::Status, text, format!("status {status}, wanted {wanted}"))
        }
    }

    /// No answer within the limit.
    pub(crate) fn timeout(limit: Duration) -> Self {
        Self::network(
            Class::Timeout,
            NetworkCode::Timeout,
            format!("no complete answer within {limit:.0?}"),
        )
    }

    /// Too many calls at once.
    pub(crate) fn overload(detail: String) -> Self {
        Self::new(
            Class::Overload,
            "[network err]:255(too many hook calls)".to_owned(),
            detail,
        )
    }

    /// The receiver is not asked for now.
    pub(crate) fn breaker_open() -> Self {
        let detail = "the receiver failed too often and is not asked for now".to_owned();
        Self::new(
            Class::BreakerOpen,
            "[network err]:255(hook receiver is failing)".to_owned(),
            detail,
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.detail)
    }
}
