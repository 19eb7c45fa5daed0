//! Who asks for what.

use media::{Schema, StreamKey};
use std::fmt;
use std::net::SocketAddr;

/// A connection (or HLS viewer), unique while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The transport a request came over, in ZLM's words (hooks.md, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// RTSP.
    Rtsp,
    /// RTSP over TLS.
    Rtsps,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// HLS with MPEG-TS, over HTTP or HTTPS.
    Hls,
    /// HLS with fMP4, over HTTP or HTTPS.
    HlsFmp4,
    /// SRT.
    Srt,
    /// WebRTC.
    Rtc,
    /// RTP (GB28181).
    Rtp,
}

impl Protocol {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Rtsp => "rtsp",
            Self::Rtsps => "rtsps",
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Hls => "hls",
            Self::HlsFmp4 => "hls.fmp4",
            Self::Srt => "srt",
            Self::Rtc => "rtc",
            Self::Rtp => "rtp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The peer of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Session.
    pub session: SessionId,
    /// The session's name for operators and hooks, of the form `12-34`.
    pub id: String,
    /// The peer's address; for HTTP the one of a trusted forwarding header, if configured.
    pub addr: SocketAddr,
}

/// One request to publish or to play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The stream asked for.
    pub key: StreamKey,
    /// The form it is asked for in.
    pub schema: Schema,
    /// The transport.
    pub protocol: Protocol,
    /// Query string after `?`, raw, may hold credentials: not for logs.
    pub params: String,
    /// Who asks.
    pub client: Client,
    /// A player that has proved who it is by RTSP authentication: `on_play` is not asked (hooks.md, section 6). False for all
    /// others, publishers among them.
    pub authenticated: bool,
}

impl Access {
    /// Whether an edge server of a cluster asks for its own viewers: such a request must not make this server ask further
    /// (lifecycle.md, section 3).
    pub fn from_edge(&self) -> bool {
        self.params == "edge=1" || self.params.starts_with("edge=1&")
    }
}
