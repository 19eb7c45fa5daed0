//! What can happen.

use crate::op::RuleSource;
use crate::{Access, JobId, Op, OpId, Outcome, SessionId, Settings, Ticket};
use media::info::OriginType;
use media::{Schema, StreamKey};
use std::time::Duration;

/// A fact for the engine.
#[derive(Clone, Debug)]
pub enum Event {
    /// The deadline was reached.
    Tick,
    /// A session wants to publish. A session makes one request in its life.
    PublishRequested {
        /// The request.
        access: Access,
        /// The kind of origin it would be.
        origin: OriginType,
    },
    /// A session wants to play.
    PlayRequested {
        /// The request.
        access: Access,
        /// What the rules of the configuration make of the stream's name.
        rule: Option<Box<RuleSource>>,
    },
    /// A session that asked for something is over. Raised exactly once for each, whatever happened.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// How.
        end: SessionEnd,
    },
    /// The tracks of a stream are known: it can be registered.
    Ready {
        /// The stream.
        key: StreamKey,
        /// Which incarnation.
        incarnation: u64,
    },
    /// A schema that a stream is not registered in from the start, since it takes time to make, can be had now: HLS has its
    /// first segment.
    SchemaReady {
        /// The stream.
        key: StreamKey,
        /// Which incarnation.
        incarnation: u64,
        /// The schema.
        schema: Schema,
    },
    /// A question was answered, failed, or ran out of time.
    Reply {
        /// Its number.
        ticket: Ticket,
        /// What came of it.
        outcome: Outcome,
        /// How long it took, attempts included.
        took: Duration,
    },
    /// A pull has opened its source; it now waits for [`crate::Command::AcceptPull`] or to be stopped.
    PullOpened {
        /// The attempt.
        job: JobId,
    },
    /// A pull failed to open, or its source was lost.
    PullEnded {
        /// The attempt.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// An ffmpeg process ended, or could not be started.
    FfmpegExited {
        /// The attempt.
        job: JobId,
        /// Why, for people.
        reason: String,
    },
    /// A pusher was accepted by the remote.
    PushStarted {
        /// The attempt.
        job: JobId,
    },
    /// A pusher failed to start, or lost its remote.
    PushEnded {
        /// The attempt.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// An operator asks for something.
    Op {
        /// Number of the request.
        id: OpId,
        /// The request.
        op: Op,
    },
    /// The rules of the configuration that run without being asked for, all of them. Those that are gone are stopped.
    StaticRules(Vec<RuleSource>),
    /// The configuration changed.
    Settings(Box<Settings>),
    /// The server stops: everything is closed.
    Shutdown,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// The peer said goodbye (RTMP `deleteStream`, RTSP `TEARDOWN`), as opposed to a connection that broke.
    pub clean: bool,
    /// Bytes, both directions.
    pub bytes: u64,
    /// How long it lasted.
    pub duration: Duration,
    /// Why, for people.
    pub reason: String,
}
