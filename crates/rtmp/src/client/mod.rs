//! The client's end of a connection: we pull a stream from another server, or push one to it.

mod commands;
mod session;

pub use session::ClientSession;

use crate::CHUNK_SIZE;
use crate::chunk::Limits;
use crate::url::RtmpUrl;
use container::flv::Tag;
use std::fmt;
use std::time::Duration;

/// What a [`ClientSession`] gives its driver.
pub type Output = crate::Output<Event>;

/// Pull or push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We play: media come to us.
    Play,
    /// We publish: media go out with [`ClientSession::send_packet`] or [`ClientSession::send_media`].
    Publish,
}

/// Settings of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What to play, or where to publish.
    pub url: RtmpUrl,
    /// Which of both.
    pub role: Role,
    /// `timeout_sec`: from the start (the TCP or TLS connection stands) until the server says that it has begun.
    pub timeout: Duration,
    /// `media_timeout_ms`: a pull without media for so long has failed.
    pub media_timeout: Duration,
    /// Bytes per chunk that we send. At least 128. Must be that of the [`crate::Muxer`] whose packets are pushed.
    pub chunk_size: u32,
    /// `flashVer`. Some servers choose features by it.
    pub flash_version: String,
    /// What the server may make us hold.
    pub limits: Limits,
}

impl Config {
    /// The usual settings (lifecycle.md, section 10).
    pub fn new(url: RtmpUrl, role: Role) -> Self {
        let flash_version = match role {
            Role::Play => "LNX 9,0,124,2",
            Role::Publish => "FMLE/3.0 (compatible; Tidegate)",
        };
        Self {
            url,
            role,
            timeout: Duration::from_secs(10),
            media_timeout: Duration::from_secs(5),
            chunk_size: CHUNK_SIZE,
            flash_version: flash_version.to_owned(),
            limits: Limits::default(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server accepted `connect`.
    Connected,
    /// Media will come.
    PlayStarted,
    /// Media may be sent.
    PublishStarted,
    /// Audio or video.
    Media(Tag),
    /// `onMetaData`, as the body of a script tag.
    Metadata(Tag),
    /// It did not work, or works no more; [`Output::Close`] follows.
    Failed(Failure),
    /// The server says that the stream has ended; [`Output::Close`] follows.
    Ended,
}

/// How far a session came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for S0, S1 and S2.
    Handshake,
    /// Waiting for the answer to `connect`.
    Connect,
    /// Waiting for the answer to `createStream`.
    CreateStream,
    /// Waiting for the answer to `play` or `publish`.
    Start,
    /// Media flow.
    Started,
}

/// Why a session failed. Displayed as ZLM does: `error NetStream.Publish.BadName`, `play rtmp timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Pull or push.
    pub role: Role,
    /// How far it came.
    pub stage: Stage,
    /// What happened.
    pub reason: FailureReason,
}

/// What happened to a session that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The server's answer. Texts are cut at 1,000 characters.
    Status {
        /// `error`.
        level: String,
        /// `NetStream.Play.StreamNotFound` and so on.
        code: String,
        /// The server's words.
        description: String,
    },
    /// The server accepted a command in a form that cannot be used.
    NoStreamId,
    /// No answer, or no media, in time.
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.role {
            Role::Play => "play",
            Role::Publish => "publish",
        };
        match &self.reason {
            FailureReason::Status { level, code, .. } => write!(f, "{level} {code}"),
            FailureReason::NoStreamId => f.write_str("createStream was answered without a stream id"),
            FailureReason::Timeout if self.stage == Stage::Started => {
                f.write_str("receive rtmp media timeout")
            }
            FailureReason::Timeout => write!(f, "{what} rtmp timeout"),
        }
    }
}

impl std::error::Error for Failure {}
