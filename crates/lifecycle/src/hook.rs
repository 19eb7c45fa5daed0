//! Questions to the web hook service, its answers, and news for it.

use crate::Access;
use media::info::OriginType;
use media::{ProtocolOptions, Schema, StreamKey};
use std::time::Duration;

/// Number of a question. An answer whose ticket is no longer open is ignored, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A question that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// May this publisher publish, and how? (`on_publish`)
    Publish {
        /// The request.
        access: Access,
        /// Kind of origin it would be.
        origin: OriginType,
    },
    /// May this player play? (`on_play`)
    Play {
        /// The request.
        access: Access,
    },
    /// A player waits for a stream that is not there. (`on_stream_not_found`)
    NotFound {
        /// The request of the player that waited first.
        access: Access,
    },
    /// Nobody watches. Shall the stream close? (`on_stream_none_reader`)
    NoneReader {
        /// The stream.
        key: StreamKey,
        /// The schema whose last reader left, or any registered one. A hint only.
        schema: Schema,
        /// The publisher's parameters.
        params: String,
    },
}

impl Ask {
    /// The name of the hook.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "on_publish",
            Self::Play { .. } => "on_play",
            Self::NotFound { .. } => "on_stream_not_found",
            Self::NoneReader { .. } => "on_stream_none_reader",
        }
    }
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `on_publish`: allowed, with the options in force for this stream; or refused, with the text for the publisher.
    Publish(Result<PublishAnswer, String>),
    /// `on_play`: allowed, or refused with the text for the player.
    Play(Result<(), String>),
    /// `on_stream_not_found`: what to do about the waiting players.
    NotFound(Advice),
    /// `on_stream_none_reader`: what to do about the stream.
    NoneReader(Advice),
}

/// An accepted `on_publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishAnswer {
    /// Defaults of the configuration with the overrides of the answer.
    pub options: ProtocolOptions,
    /// Whether a new publisher replaces one that is there; `None` leaves it to the configuration.
    pub takeover: Option<bool>,
}

/// The answer to a question about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// `close: true`.
    Close,
    /// `close: false`, or nothing said.
    Keep,
    /// Not yet: the players may wait this long from now on, at most [`crate::settings::LONGEST_WAIT`]; the unwatched stream is
    /// asked about again after this time (`wait_ms`, an addition to ZLM's answers).
    KeepFor(Duration),
    /// The hook is switched off.
    Unconfigured,
    /// No usable answer, for this reason.
    Failed(String),
}

/// News that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A schema of a stream was registered or removed. (`on_stream_changed`)
    StreamChanged {
        /// The stream.
        key: StreamKey,
        /// Which incarnation of it.
        incarnation: u64,
        /// The schema.
        schema: Schema,
        /// Registered, or removed.
        registered: bool,
        /// The publisher's parameters.
        params: String,
    },
    /// Traffic of a finished session. (`on_flow_report`)
    FlowReport {
        /// The session's request.
        access: Access,
        /// Bytes, both directions.
        bytes: u64,
        /// How long it lasted.
        duration: Duration,
        /// A player, else a publisher.
        player: bool,
    },
}
