//! The server's end of a connection: a publisher or a player that came to us.

mod early;
mod name;
mod session;
mod status;

pub use session::ServerSession;

use crate::CHUNK_SIZE;
use crate::chunk::Limits;
use container::flv::Tag;
use std::time::Duration;

/// What a [`ServerSession`] gives its driver.
pub type Output = crate::Output<Event>;

/// Settings of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `rtmp.handshakeSecond`: from the start until publish or play was asked for.
    pub handshake_timeout: Duration,
    /// `rtmp.keepAliveSecond`: a publisher that sends nothing for so long is gone; a player that sends nothing for so long is
    /// pinged.
    pub keepalive_timeout: Duration,
    /// Bytes per chunk that we send. At least 128. Must be that of the [`crate::Muxer`] whose packets are sent beside.
    pub chunk_size: u32,
    /// Window acknowledgement size that we announce, bytes.
    pub window_ack_size: u32,
    /// Peer bandwidth that we announce, bytes.
    pub peer_bandwidth: u32,
    /// What the peer may make us hold.
    pub limits: Limits,
}

impl Default for Config {
    /// ZLM's constants (urls.md, section 3).
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(15),
            keepalive_timeout: Duration::from_secs(15),
            chunk_size: CHUNK_SIZE,
            window_ack_size: 5_000_000,
            peer_bandwidth: 5_000_000,
            limits: Limits::default(),
        }
    }
}

/// What a peer asked for, by ZLM's rules for RTMP URLs (urls.md, sections 1 and 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// First path segment.
    pub app: String,
    /// The other path segments. `mp4:a` was made `a.mp4`.
    pub stream: String,
    /// What followed the first `?` of the stream name, not parsed. Parameters of `tcUrl` are not here.
    pub params: String,
    /// Host of `tcUrl` without port, for virtual hosts; empty if the peer sent none.
    pub vhost_host: String,
    /// `tcUrl` as it was sent; empty if it was not.
    pub tc_url: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer wants to publish. Answer with [`Verdict::Publish`]; until then it is not told that it has started.
    PublishRequested(Request),
    /// The peer wants to play. Answer with [`Verdict::Play`].
    PlayRequested(PlayRequest),
    /// Audio or video of an accepted publisher.
    Media(Tag),
    /// `onMetaData` of an accepted publisher, as the body of a script tag.
    Metadata(Tag),
    /// The publisher, accepted or still waiting, has ended. If it said so, [`Output::Close`] comes a second later, so that it
    /// can close first; go on driving the session.
    Unpublished {
        /// It said so; else it vanished, and may come back (`continue_push_ms`).
        clean: bool,
    },
    /// The player, accepted or still waiting, has ended.
    Stopped {
        /// It said so.
        clean: bool,
    },
    /// The player pauses (`true`) or goes on. It was told that this is so: send it no media while it pauses.
    Paused(bool),
    /// The player of a recording wants to jump. It was told that this happens.
    SeekRequested {
        /// Position in milliseconds from the start.
        position_ms: f64,
    },
    /// The player of a recording wants another speed (ZLM's `onPlayCtrl`). It was told that this happens.
    SpeedRequested(f64),
    /// The session ends because of this; [`Output::Close`] follows.
    TimedOut(TimeoutReason),
}

/// A request to play.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayRequest {
    /// What.
    pub request: Request,
    /// Where to start, as sent: seconds by the standard (RTMP 1.0, section 7.2.2.1); -2, the default, means live or recorded,
    /// -1 means live. ffmpeg sends -2000.
    pub start: f64,
    /// How much to play, as sent; negative, the default, means all.
    pub duration: f64,
}

/// Why the session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReason {
    /// Nothing was asked for yet.
    Handshake,
    /// The publisher is silent.
    Keepalive,
    /// It is time to ping the player.
    Ping,
    /// The peer said goodbye and has not closed the connection.
    Goodbye,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To [`Event::PublishRequested`].
    Publish(PublishVerdict),
    /// To [`Event::PlayRequested`].
    Play(PlayVerdict),
}

/// The answer to a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishVerdict {
    /// It may send.
    Accepted,
    /// It may not; the connection closes.
    Refused {
        /// Why, as a status code.
        code: PublishRefusal,
        /// Why, as text: `Already publishing.`, the hook's answer.
        text: String,
    },
}

/// Status codes for a refused publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishRefusal {
    /// `NetStream.Publish.BadName`: the name is in use.
    BadName,
    /// `NetStream.Publish.BadAuth`: it was denied, or the URL is not usable.
    BadAuth,
}

/// The answer to a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayVerdict {
    /// Media follow. The driver sends the muxer's preamble and packets.
    Accepted,
    /// `NetStream.Play.StreamNotFound`; the connection closes.
    NotFound,
    /// `NetStream.Play.BadAuth` with this text; the connection closes.
    Denied(String),
}

/// What a session has left out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Media messages that nobody may have: sent before the verdict, or by a player.
    pub unwanted_media: u64,
    /// Commands and messages that are not understood or not used.
    pub ignored: u64,
    /// Aggregate messages that broke off.
    pub bad_aggregates: u64,
}
