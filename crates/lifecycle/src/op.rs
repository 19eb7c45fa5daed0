//! What operators (and rules) ask of the engine, and what they are told.

use crate::SessionId;
use crate::timeline::Entry;
use media::{ProtocolOptions, Schema, StreamKey};
use std::time::{Duration, Instant};

/// Number of a request of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Number of one attempt to pull, to push or to run ffmpeg. A new attempt has a new number, so news of an old one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// How a source that a rule started is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePolicy {
    /// Started by the first viewer and closed after the last; otherwise it runs as long as the rule stands.
    pub on_demand: bool,
    /// How long it may be unwatched.
    pub close_after: Duration,
}

/// A source that Tidegate connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSpec {
    /// The stream it becomes.
    pub key: StreamKey,
    /// Where it comes from; may hold credentials.
    pub url: String,
    /// Where else it may come from: tried in turn, at once, when an attempt fails before the stream is open.
    pub alternatives: Vec<String>,
    /// Options of the stream.
    pub options: ProtocolOptions,
    /// Consecutive failures after which the source is given up, beyond the first; `None` is never.
    pub retry_count: Option<u32>,
    /// Answer success and keep trying even when the first attempt fails.
    pub force: bool,
    /// Limit for connecting and for the first answer of the remote.
    pub timeout: Duration,
    /// Further parameters for the protocol client (`rtp_type`, `schema` ...), lower-case names.
    pub client_options: Vec<(String, String)>,
    /// Set if a rule of the configuration started it.
    pub rule: Option<RulePolicy>,
}

/// A source that an ffmpeg process pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FfmpegSpec {
    /// MD5 of `dst_url` in hexadecimal, the handle of the source.
    pub key: String,
    /// What ffmpeg reads; may hold credentials.
    pub src_url: String,
    /// Where ffmpeg publishes.
    pub dst_url: String,
    /// The stream that `dst_url` is on this server; `None` if it is another server's.
    pub local: Option<StreamKey>,
    /// Name of the command template in the configuration; empty is `ffmpeg.cmd`.
    pub cmd_key: String,
    /// Limit for the stream to appear (or, for another server, how long the process must live).
    pub timeout: Duration,
    /// Start an HLS recording when the stream appears.
    pub enable_hls: bool,
    /// Start an MP4 recording when the stream appears.
    pub enable_mp4: bool,
    /// Set if a rule of the configuration started it.
    pub rule: Option<RulePolicy>,
}

/// What a rule of the configuration makes of a stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSource {
    /// A pull.
    Pull(PullSpec),
    /// An ffmpeg process.
    Ffmpeg(FfmpegSpec),
}

impl RuleSource {
    /// The stream it becomes, if it becomes one here.
    pub const fn key(&self) -> Option<&StreamKey> {
        match self {
            Self::Pull(spec) => Some(&spec.key),
            Self::Ffmpeg(spec) => spec.local.as_ref(),
        }
    }
}

/// A stream that is sent on to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSpec {
    /// The handle: `schema/vhost/app/stream/<md5 of dst_url>`.
    pub key: String,
    /// The stream.
    pub stream: StreamKey,
    /// The form it is sent in.
    pub schema: Schema,
    /// Where to; may hold credentials.
    pub dst_url: String,
    /// Consecutive failures after which it is given up, beyond the first, once it was up; `None` is never.
    pub retry_count: Option<u32>,
    /// Limit for connecting and for the remote's consent.
    pub timeout: Duration,
    /// Further parameters for the protocol client, lower-case names.
    pub client_options: Vec<(String, String)>,
}

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Pull a stream. Answered when the first attempt has ended: [`OpReply::Key`].
    AddPull(PullSpec),
    /// Stop pulling the stream of this key (`vhost/app/stream`): [`OpReply::Flag`].
    DelPull(String),
    /// All pulls: [`OpReply::Pulls`].
    ListPulls,
    /// Run an ffmpeg source. Answered when the stream appeared or the attempt ended: [`OpReply::Key`].
    AddFfmpeg(FfmpegSpec),
    /// Stop an ffmpeg source: [`OpReply::Flag`].
    DelFfmpeg(String),
    /// All ffmpeg sources: [`OpReply::Ffmpegs`].
    ListFfmpegs,
    /// Send a stream on. Answered when the first attempt has ended: [`OpReply::Key`].
    AddPush(PushSpec),
    /// Stop sending: [`OpReply::Flag`].
    DelPush(String),
    /// All pushers: [`OpReply::Pushes`].
    ListPushes,
    /// Close a stream in all its schemas: [`OpReply::Done`].
    CloseStream {
        /// Which.
        key: StreamKey,
        /// Even if it is watched.
        force: bool,
    },
    /// Cut a session: [`OpReply::Done`]. The caller knows that it exists.
    Kick(SessionId),
    /// What happened to a stream: [`OpReply::Timeline`].
    Timeline(StreamKey),
    /// Numbers for metrics: [`OpReply::Counts`].
    Counts,
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq)]
pub enum OpReply {
    /// It is done.
    Done,
    /// The handle of what was added.
    Key(String),
    /// Whether what was to be removed existed.
    Flag(bool),
    /// All pulls.
    Pulls(Vec<PullView>),
    /// All ffmpeg sources.
    Ffmpegs(Vec<FfmpegView>),
    /// All pushers.
    Pushes(Vec<PushView>),
    /// A stream's timeline.
    Timeline(TimelineView),
    /// Numbers.
    Counts(Counts),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The name is taken by another source or publisher.
    #[error("This stream already exists")]
    Exists,
    /// No such stream.
    #[error("can not find the stream")]
    NotFound,
    /// The stream to send on is not there.
    #[error("can not find the source stream")]
    SourceNotFound,
    /// The stream is watched and the request did not force.
    #[error("the stream is watched by {readers} readers; use force=1 to close it all the same")]
    Watched {
        /// Readers, waiting players included.
        readers: usize,
    },
    /// The stream did not appear in time.
    #[error("timed out")]
    TimedOut,
    /// The attempt failed; the text of the remote or of the process.
    #[error("{0}")]
    Failed(String),
    /// Removed by another request while it was starting.
    #[error("player proxy close")]
    Removed,
    /// A bound was reached.
    #[error("the limit of {limit} {what} is reached")]
    AtLimit {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// State of a source or of a pusher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Nothing runs and nothing is due.
    Idle,
    /// An attempt is under way.
    Connecting,
    /// Media flows.
    Live,
    /// The last attempt failed or the connection was lost; the next attempt is due.
    BackingOff {
        /// Why.
        reason: String,
        /// Whether it had been live before this loss (`play shutdown`), or the attempt failed (`play failed`).
        was_live: bool,
        /// When the next attempt starts.
        retry_at: Instant,
    },
    /// Given up until somebody asks again.
    Failed {
        /// Why.
        reason: String,
    },
}

impl JobState {
    /// One word, for metrics and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::BackingOff { .. } => "backing_off",
            Self::Failed { .. } => "failed",
        }
    }
}

/// A pull as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct PullView {
    /// Its specification.
    pub spec: PullSpec,
    /// State.
    pub state: JobState,
    /// Time it was live in total.
    pub live: Duration,
    /// Losses after having been live.
    pub losses: u32,
    /// Consecutive failures.
    pub failures: u32,
    /// The current attempt.
    pub job: Option<JobId>,
}

/// An ffmpeg source as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct FfmpegView {
    /// Its specification.
    pub spec: FfmpegSpec,
    /// State.
    pub state: JobState,
    /// Starts of the process after the first one.
    pub restarts: u32,
    /// The current attempt.
    pub job: Option<JobId>,
}

/// A pusher as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct PushView {
    /// Its specification.
    pub spec: PushSpec,
    /// State.
    pub state: JobState,
    /// Time it was live in total.
    pub live: Duration,
    /// Losses after having been live.
    pub losses: u32,
    /// The current attempt.
    pub job: Option<JobId>,
}

/// A stream's timeline with its present state.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineView {
    /// The stream.
    pub key: StreamKey,
    /// One word: `missing`, `wanted`, `starting`, `live`, `unwatched`, `orphan`.
    pub state: &'static str,
    /// Readers, of all protocols.
    pub readers: usize,
    /// Players that wait for the stream.
    pub waiting: usize,
    /// Players whose permission is being asked.
    pub authorizing: usize,
    /// The entries that are kept, oldest first.
    pub entries: Vec<Entry>,
    /// Older entries that are no longer kept.
    pub dropped: u64,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams with an origin.
    pub streams: usize,
    /// Streams kept for a lost publisher.
    pub orphans: usize,
    /// Players that wait.
    pub waiting: usize,
    /// Players that play.
    pub playing: usize,
    /// Pulls.
    pub pulls: usize,
    /// ffmpeg sources.
    pub ffmpegs: usize,
    /// Pushers.
    pub pushes: usize,
    /// Questions without an answer yet.
    pub open_questions: usize,
    /// Requests refused because a bound was reached.
    pub refused_at_limit: u64,
    /// `on_stream_not_found` calls saved because one was under way or answered for the same stream.
    pub not_found_coalesced: u64,
}
