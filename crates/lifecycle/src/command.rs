//! What is to be done.

use crate::op::{FfmpegSpec, PullSpec, PushSpec};
use crate::{Ask, JobId, Notice, OpError, OpId, OpReply, SessionId, Ticket};
use media::info::OriginType;
use media::{ProtocolOptions, Schema, StreamKey};

/// A decision of the engine, to be carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask the hook service; exactly one [`crate::Event::Reply`] with this ticket must follow, unless it is cancelled.
    Ask {
        /// Number of the question.
        ticket: Ticket,
        /// The question.
        ask: Ask,
    },
    /// Nobody waits for this answer any more.
    Cancel(Ticket),
    /// Tell the hook service.
    Notify(Notice),
    /// Tell a session what was decided.
    Verdict {
        /// Session.
        session: SessionId,
        /// The decision.
        verdict: Verdict,
    },
    /// Open a stream in the hub, before the verdict or the acceptance that follows.
    Open(Opening),
    /// The publisher of an orphaned stream is back: give it the stream as it is.
    Resume {
        /// Stream.
        key: StreamKey,
        /// Incarnation that goes on.
        incarnation: u64,
        /// Who feeds it now.
        feeder: Feeder,
        /// Kind of origin.
        origin: OriginType,
    },
    /// The publisher is lost; the stream is kept for it. Its origin is unknown until it returns.
    Orphan {
        /// Stream.
        key: StreamKey,
        /// Incarnation.
        incarnation: u64,
    },
    /// The stream is fed by an ffmpeg that we started.
    AdoptFfmpeg {
        /// Stream.
        key: StreamKey,
        /// Incarnation.
        incarnation: u64,
        /// What ffmpeg reads.
        src_url: String,
        /// Start an HLS recording.
        enable_hls: bool,
        /// Start an MP4 recording.
        enable_mp4: bool,
    },
    /// The stream is registered, or in one schema more: list it in these, and no others.
    Register {
        /// Stream.
        key: StreamKey,
        /// Incarnation.
        incarnation: u64,
        /// Schemas.
        schemas: Vec<Schema>,
    },
    /// Remove a stream from the hub and end its readers.
    Remove {
        /// Stream.
        key: StreamKey,
        /// Incarnation.
        incarnation: u64,
        /// Why, in kind.
        cause: Cause,
        /// Why, in words.
        reason: String,
    },
    /// Cut a session.
    Kick {
        /// Session.
        session: SessionId,
        /// Why.
        reason: String,
    },
    /// Connect to a source.
    StartPull {
        /// Number of the attempt.
        job: JobId,
        /// The source.
        spec: Box<PullSpec>,
    },
    /// The opened source may feed the stream.
    AcceptPull {
        /// Number of the attempt.
        job: JobId,
        /// The stream.
        grant: PublishGrant,
    },
    /// Disconnect from a source.
    StopPull(JobId),
    /// Run ffmpeg.
    StartFfmpeg {
        /// Number of the attempt.
        job: JobId,
        /// The source.
        spec: Box<FfmpegSpec>,
    },
    /// End an ffmpeg process and all it started. [`crate::Event::FfmpegExited`] follows when it is reaped.
    StopFfmpeg(JobId),
    /// Send a stream on.
    StartPush {
        /// Number of the attempt.
        job: JobId,
        /// What and where to.
        spec: Box<PushSpec>,
        /// Incarnation of the stream.
        incarnation: u64,
    },
    /// Stop sending.
    StopPush(JobId),
    /// Answer an operator.
    Finish {
        /// Number of the request.
        op: OpId,
        /// The answer.
        result: Result<OpReply, OpError>,
    },
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its publisher said goodbye.
    Unpublished,
    /// Its publisher or source was lost.
    OriginLost,
    /// Nobody watched it.
    Unwatched,
    /// An operator, or a change of the configuration, closed it or took its source away.
    Operator,
    /// Another publisher took its name.
    Replaced,
    /// The server stops.
    Shutdown,
}

/// A stream to be opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Name.
    pub key: StreamKey,
    /// Unique number of this opening.
    pub incarnation: u64,
    /// Who feeds it.
    pub feeder: Feeder,
    /// Kind of origin.
    pub origin: OriginType,
    /// The publisher's parameters.
    pub params: String,
    /// Schemas it will be offered in.
    pub schemas: Vec<Schema>,
    /// How it is treated.
    pub options: ProtocolOptions,
}

/// Who feeds a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feeder {
    /// A session that publishes.
    Session(SessionId),
    /// A pull.
    Pull(JobId),
}

/// The answer to a request of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To a publisher.
    Publish(Result<PublishGrant, Refusal>),
    /// To a player.
    Play(Result<PlayGrant, Refusal>),
}

/// The right to feed a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishGrant {
    /// The stream, under the name it is registered with.
    pub key: StreamKey,
    /// Incarnation.
    pub incarnation: u64,
    /// An orphaned stream goes on.
    pub resumed: bool,
}

/// The right to read a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayGrant {
    /// The stream.
    pub key: StreamKey,
    /// Incarnation.
    pub incarnation: u64,
}

/// Why a session does not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The hook said no, or did not answer; the text is for the peer.
    Denied(String),
    /// There is no such stream; the reason is for logs.
    NotFound(String),
    /// Another publisher has the name.
    Taken,
    /// A bound was reached; the reason is for logs.
    Overload(String),
}
