//! What the API needs from the server around it: one small trait.

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use config::{Config, Rejected};
use hooks::object::Statistic;
use lifecycle::{JobId, Op, OpError, OpReply, SessionId};
use media::info::{MediaInfo, SockInfo};
use media::{CodecId, MediaTime, Schema, StreamKey, TrackId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Everything outside the API. Methods that are not `async` answer from memory and must not block.
#[async_trait]
pub trait Server: Send + Sync + 'static {
    /// Hands an operation to the engine and waits for its end, up to the time-out in the operation.
    async fn operate(&self, op: Op) -> Result<OpReply, OpError>;

    /// The configuration in force.
    fn config(&self) -> Arc<Config>;

    /// Changes configuration values ([`Config::set`]), saves them and tells everyone concerned. Each key exists and is named
    /// once.
    async fn set_config(&self, changes: Vec<(String, String)>) -> SetResult;

    /// Every registered schema of every stream.
    fn media(&self) -> Vec<MediaInfo>;

    /// One registered schema of a stream; without `schema` the first registered one in the order of [`Schema::ALL`].
    fn media_one(&self, key: &StreamKey, schema: Option<Schema>) -> Option<MediaInfo>;

    /// The players of one schema of a stream; `None` if it is not registered.
    fn players(&self, key: &StreamKey, schema: Schema) -> Option<Vec<SessionView>>;

    /// Every accepted connection, whatever it does.
    fn sessions(&self) -> Vec<SessionView>;

    /// What an attempt to pull or to push has carried, counted from its start; zeros when it is over.
    fn traffic(&self, job: JobId) -> Traffic;

    /// Whether a media URL with this host and port leads back to this server: the host is one of this machine's names or
    /// addresses and the port is one that this server listens on.
    fn is_own_address(&self, host: &str, port: u16) -> bool;

    /// Counts of objects.
    fn statistic(&self) -> Statistic;

    /// Load of the threads that serve connections, or of those for background work. At least one entry.
    async fn load(&self, pool: Pool) -> Vec<WorkerLoad>;

    /// The hooks, for what operators do with their receivers.
    fn hooks(&self) -> &hooks::Hooks;

    /// Withdraws kept verdicts of hooks; returns how many would have been served without asking.
    fn flush_hook_cache(&self, filter: &hooks::admission::Filter<'_>) -> usize;

    /// Watches a stream for some time: its frames in the order in which they came, at most [`MAX_PROBED`]. `None` if it is not
    /// there.
    async fn probe(&self, key: &StreamKey, time: Duration) -> Option<Vec<ProbedFrame>>;

    /// A file of a folder that `api.downloadRoot` names.
    async fn download(&self, download: Download<'_>) -> Response<Body>;

    /// Begins a restart in about one second, after the reply has gone out.
    fn restart(&self);
}

/// Where a request comes from. The server puts it into the extensions of each request.
#[derive(Clone, Copy, Debug)]
pub struct PeerInfo {
    /// The client's end of the connection.
    pub peer: SocketAddr,
    /// The connection, which `kick_sessions` spares.
    pub session: SessionId,
    /// HTTPS.
    pub tls: bool,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its number.
    pub session: SessionId,
    /// Its name for operators and its addresses.
    pub sock: SockInfo,
    /// What speaks on it.
    pub kind: SessionKind,
    /// What carries it.
    pub transport: Transport,
}

/// What speaks on a connection, with TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// RTMP.
    Rtmp,
    /// RTSP.
    Rtsp,
    /// HTTP, WebSocket and what is played over them.
    Http,
    /// RTP.
    Rtp,
    /// SRT.
    Srt,
    /// WebRTC.
    WebRtc,
}

impl SessionKind {
    /// ZLM's name of the class of such a session, its `typeid`.
    pub const fn type_id(self) -> &'static str {
        match self {
            Self::Rtmp => "mediakit::RtmpSession",
            Self::Rtsp => "mediakit::RtspSession",
            Self::Http => "mediakit::HttpSession",
            Self::Rtp => "mediakit::RtpSession",
            Self::Srt => "SRT::SrtSession",
            Self::WebRtc => "mediakit::WebRtcSession",
        }
    }
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a pull or a pusher carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes per second now.
    pub bytes_speed: u64,
    /// Bytes so far.
    pub total_bytes: u64,
}

/// A set of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Threads that serve connections.
    Event,
    /// Threads for background work.
    Work,
}

/// Most frames of one probe, about 200 bytes of reply each: five minutes of video and audio.
pub const MAX_PROBED: usize = 20_000;

/// A frame that came while its stream was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedFrame {
    /// Its codec.
    pub codec: CodecId,
    /// Number of its track.
    pub track: TrackId,
    /// Decoding time.
    pub dts: MediaTime,
    /// Presentation time.
    pub pts: MediaTime,
    /// When it came, counted from the start of the probe.
    pub at: Duration,
    /// Length in bytes.
    pub size: usize,
    /// Video: decoding can start here.
    pub key: bool,
}

/// A file that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// The head of the request, for what of the file the client has already or wants.
    pub request: &'a Parts,
    /// The absolute path of the file.
    pub file_path: &'a str,
    /// The name under which a browser is to save it.
    pub save_name: Option<&'a str>,
    /// The client has the secret or a login. Otherwise it may what it may of other files: the hook `on_http_access` decides, or
    /// the address if there is none.
    pub permitted: bool,
}

/// Load of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Name, such as `event poller 0`.
    pub name: String,
    /// Busy share of the last seconds, percent.
    pub load: u32,
    /// How long a new task waits for its turn, milliseconds.
    pub delay_ms: u64,
    /// Sockets and other descriptors that it serves.
    pub fd_count: u64,
}

/// What became of changes to the configuration.
#[derive(Clone, Debug, Default)]
pub struct SetResult {
    /// Values that are now different.
    pub changed: usize,
    /// Changes that were refused.
    pub rejected: Vec<Rejected>,
}
