//! What media servers send (hooks.md, sections 5 and 6), and what they are answered.

use crate::rules::field::Options;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::IpAddr;

/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// May this publisher publish?
    Publish,
    /// May this player play?
    Play,
    /// A player waits for a missing stream.
    StreamNotFound,
    /// Nobody watches a stream.
    StreamNoneReader,
    /// May this client read this file?
    HttpAccess,
    /// Does this player need a password?
    RtspRealm,
    /// What is the password?
    RtspAuth,
    /// May this user log in?
    ShellLogin,
    /// News that need no answer; the name of the hook.
    News(&'static str),
    /// Events of Tidegate's own, which have no hook of their own.
    Event,
}

/// Hooks that bring news only.
pub const NEWS: [&str; 9] = [
    "on_flow_report",
    "on_record_mp4",
    "on_record_ts",
    "on_rtp_server_timeout",
    "on_send_rtp_stopped",
    "on_server_exited",
    "on_server_keepalive",
    "on_server_started",
    "on_stream_changed",
];

const QUESTIONS: [Hook; 8] = [
    Hook::Publish,
    Hook::Play,
    Hook::StreamNotFound,
    Hook::StreamNoneReader,
    Hook::HttpAccess,
    Hook::RtspRealm,
    Hook::RtspAuth,
    Hook::ShellLogin,
];

impl Hook {
    /// The hook that a URL stands for: the last segment of its path, whatever is before it.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::of_name(path.trim_end_matches('/').rsplit('/').next()?)
    }

    /// The hook of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        let all = QUESTIONS
            .into_iter()
            .chain(NEWS.map(Self::News))
            .chain([Self::Event]);
        all.into_iter().find(|hook| hook.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "on_publish",
            Self::Play => "on_play",
            Self::StreamNotFound => "on_stream_not_found",
            Self::StreamNoneReader => "on_stream_none_reader",
            Self::HttpAccess => "on_http_access",
            Self::RtspRealm => "on_rtsp_realm",
            Self::RtspAuth => "on_rtsp_auth",
            Self::ShellLogin => "on_shell_login",
            Self::News(name) => name,
            Self::Event => "events",
        }
    }
}

/// The members of a body that rules look at. What a hook has not is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Call<'a> {
    /// Which server calls.
    #[serde(borrow, rename = "mediaServerId")]
    pub server: Cow<'a, str>,
    /// Virtual host.
    #[serde(borrow)]
    pub vhost: Cow<'a, str>,
    /// App.
    #[serde(borrow)]
    pub app: Cow<'a, str>,
    /// Stream.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// Transport.
    #[serde(borrow)]
    pub protocol: Cow<'a, str>,
    /// Query string, raw.
    #[serde(borrow)]
    pub params: Cow<'a, str>,
    /// The client's address.
    #[serde(borrow)]
    pub ip: Cow<'a, str>,
    /// Path of a file (on_http_access).
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// User (on_rtsp_auth).
    #[serde(borrow)]
    pub user_name: Cow<'a, str>,
    /// Realm (on_rtsp_auth).
    #[serde(borrow)]
    pub realm: Cow<'a, str>,
    /// The password itself is needed, not a hash of it (on_rtsp_auth).
    pub must_no_encrypt: bool,
}

/// What is wrong with a body.
#[derive(Debug, thiserror::Error)]
pub enum BadCall {
    /// Not even the beginning of an object.
    #[error("the body is not the JSON object of a hook: it does not begin with `{{`")]
    NoObject,
    /// No JSON, or a member of another type.
    #[error("the body is not the JSON object of a hook: {0}")]
    Json(#[from] serde_json::Error),
    /// A member without which there is nothing to decide.
    #[error("the body of {hook} must have a member `{member}` that is not empty")]
    Missing {
        /// The hook.
        hook: &'static str,
        /// The member.
        member: &'static str,
    },
}

impl<'a> Call<'a> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// It is no JSON object, or lacks what its hook must have.
    pub fn parse(hook: Hook, body: &'a [u8]) -> Result<Self, BadCall> {
        // The reader of structs takes a list of their fields as well.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(BadCall::NoObject);
        }
        let call: Self = serde_json::from_slice(body)?;
        let needed: &[(&str, &str)] = match hook {
            Hook::Publish
            | Hook::Play
            | Hook::StreamNotFound
            | Hook::StreamNoneReader
            | Hook::RtspRealm
            | Hook::RtspAuth => &[("app", &call.app), ("stream", &call.stream)],
            Hook::HttpAccess => &[("path", &call.path)],
            Hook::ShellLogin | Hook::News(_) | Hook::Event => &[],
        };
        let member = match needed.iter().find(|(_, value)| value.is_empty()) {
            Some((name, _)) => match *name {
                "app" => "app",
                "stream" => "stream",
                _ => "path",
            },
            None => return Ok(call),
        };
        Err(BadCall::Missing {
            hook: hook.name(),
            member,
        })
    }

    /// `app/stream`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.app, self.stream)
    }

    /// The client's address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip.parse().ok()
    }
}

/// An answer. Members that a hook has not are left out.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Answer<'a> {
    /// 0: yes.
    pub code: i32,
    /// What the client is told if it is not.
    pub msg: Cow<'a, str>,
    /// on_stream_not_found, on_stream_none_reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<bool>,
    /// on_http_access.
    #[serde(flatten)]
    pub file: Option<FileAnswer<'a>>,
    /// on_rtsp_realm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<&'a str>,
    /// on_rtsp_auth.
    #[serde(flatten)]
    pub password: Option<PasswordAnswer<'a>>,
    /// on_publish: protocol options.
    #[serde(flatten)]
    pub options: Option<&'a Options>,
}

/// The members of an answer to on_http_access.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileAnswer<'a> {
    /// Empty: allowed.
    pub err: &'a str,
    /// Where the decision holds.
    pub path: &'a str,
    /// How long it holds, in seconds.
    pub second: u64,
}

/// The members of an answer to on_rtsp_auth.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PasswordAnswer<'a> {
    /// Whether it is an MD5.
    pub encrypted: bool,
    /// Password or MD5.
    pub passwd: &'a str,
}

impl<'a> Answer<'a> {
    /// Consent.
    pub fn success() -> Self {
        Self {
            msg: "success".into(),
            ..Self::default()
        }
    }

    /// No.
    pub fn refusal(msg: impl Into<Cow<'a, str>>) -> Self {
        Self {
            code: -1,
            msg: msg.into(),
            ..Self::default()
        }
    }

    /// Whether the stream, or the wait for it, shall end.
    pub fn closing(close: bool) -> Self {
        Self {
            close: Some(close),
            ..Self::success()
        }
    }
}
