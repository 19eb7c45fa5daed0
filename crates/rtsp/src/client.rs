//! The client's end: playing (pull) and publishing (push).

mod answer;
mod description;
mod exchange;
mod serving;
mod session;

pub use session::ClientSession;

use crate::message::{self, Limits};
use crate::url::RtspUrl;
use bytes::Bytes;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Pull or push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// We play: media come to us.
    Play,
    /// We publish: media go out.
    Publish {
        /// The session description for ANNOUNCE. Each media section has an `a=control`.
        sdp: String,
    },
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Interleaved in the RTSP connection.
    Tcp,
    /// Datagrams to ports of ours.
    Udp,
    /// Datagrams to a group. Only for playing; publishing takes [`Self::Udp`] instead.
    Multicast,
}

/// Which kinds of tracks to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracks {
    /// All that the driver chooses.
    All,
    /// Of these, only video.
    Video,
    /// Of these, only audio.
    Audio,
}

/// How the server hears that we are still there (ZLM's `rtsp_beat_type` and `beat_interval_ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Time between two requests. Two thirds of the server's session timeout, if that is shorter.
    pub interval: Duration,
    /// By what.
    pub by: KeepAliveBy,
}

/// What keeps a session alive. Receiver reports are the driver's to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveBy {
    /// Reports and requests.
    Both,
    /// Reports only: the session sends no requests.
    Rtcp,
    /// Requests only.
    Commands,
}

/// Whom to log in as.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// With a password.
    Password {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// With the MD5 over `user:realm:password` in hexadecimal digits (ZLM's `rtsp_pwd_md5`). Good for Digest with MD5 only.
    Ha1Md5 {
        /// User.
        user: String,
        /// The hash.
        ha1: String,
    },
}

/// Does not show the secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Password { user, .. } | Self::Ha1Md5 { user, .. }) = self;
        write!(f, "Login({user:?}, ..)")
    }
}

/// Settings of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What to play, or where to publish.
    pub url: RtspUrl,
    /// Which of both.
    pub role: Role,
    /// What is to carry the packets.
    pub carrier: Carrier,
    /// `protocol_timeout_ms`: from the start (the TCP or TLS connection stands) until the server says that it has begun.
    pub timeout: Duration,
    /// `media_timeout_ms`: a pull without media for so long has failed.
    pub media_timeout: Duration,
    /// How to keep the session alive.
    pub keep_alive: KeepAlive,
    /// `User-Agent`; left out if empty.
    pub user_agent: String,
    /// Instead of the credentials of the URL.
    pub login: Option<Login>,
    /// Which kinds of tracks to play. Publishing sets up all.
    pub tracks: Tracks,
    /// `rtsp_speed`: the `Scale` to play with. `None`: as the server likes.
    pub scale: Option<f64>,
    /// Header fields that go into each request.
    pub headers: Vec<(String, String)>,
    /// What the server may make us hold.
    pub limits: Limits,
}

impl Config {
    /// The usual settings (api.md, section 2.5).
    pub fn new(url: RtspUrl, role: Role) -> Self {
        Self {
            url,
            role,
            carrier: Carrier::Tcp,
            timeout: Duration::from_secs(10),
            media_timeout: Duration::from_secs(5),
            keep_alive: KeepAlive {
                interval: Duration::from_secs(5),
                by: KeepAliveBy::Both,
            },
            user_agent: "Tidegate".to_owned(),
            login: None,
            tracks: Tracks::All,
            scale: None,
            headers: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// What a [`ClientSession`] wants of its driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write these bytes.
    Send(Bytes),
    /// Something happened.
    Event(Event),
    /// Flush and close. The last output.
    Close,
}

impl Output {
    /// The bytes to write, if it is that: of a session that was closed nothing else is of interest.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Send(bytes) => Some(bytes),
            Self::Event(_) | Self::Close => None,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Playing: what the server has. To be answered with [`ClientSession::choose`].
    Described {
        /// The session description. Bytes that are not UTF-8 (names in GBK) are replaced.
        sdp: String,
        /// What its `a=control` are relative to.
        base: String,
    },
    /// Sockets are needed for a track. To be answered with [`ClientSession::sockets`].
    UdpNeeded {
        /// Index of the media section.
        track: usize,
        /// The group to join. `None`: two ports of ours, the first of them even.
        multicast: Option<Multicast>,
    },
    /// The server does not give a track over UDP or to a group (461). [`ClientSession::fall_back`] goes on over TCP;
    /// otherwise close.
    CarrierRefused {
        /// Index of the media section.
        track: usize,
    },
    /// A track is set up.
    SetUp {
        /// Index of the media section.
        track: usize,
        /// Where its packets come from, or go to.
        path: Path,
        /// The SSRC of who sends, if the server said.
        ssrc: Option<u32>,
    },
    /// Media will come, if they have not begun to.
    Playing {
        /// Where each track begins, as far as the server said.
        rtp_info: Vec<RtpInfo>,
        /// `Range` of the answer.
        range: Option<String>,
    },
    /// Media may be sent.
    Recording,
    /// A packet on a channel of one of the tracks. May come before [`Self::Playing`].
    Data {
        /// Channel.
        channel: u8,
        /// RTP or RTCP.
        data: Bytes,
    },
    /// The stream is elsewhere; [`Output::Close`] follows. Follow a few times at most: servers may send us in circles.
    Redirected(String),
    /// It did not work, or works no more; [`Output::Close`] follows.
    Failed(Failure),
    /// The server ended the stream, or the connection while media flowed; [`Output::Close`] follows.
    Ended,
}

/// A track to set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackChoice {
    /// Index of the media section in the description, from 0.
    pub index: usize,
    /// Its `a=control`; empty if it has none.
    pub control: String,
}

/// Sockets of a track, in the order of RTP and RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// These ports are bound.
    Ports(u16, u16),
    /// The group is joined.
    Joined,
}

/// How the packets of a track travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// In the RTSP connection.
    Interleaved {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// As datagrams between us and the server.
    Unicast {
        /// The server's ports of RTP and RTCP. Always there when we publish.
        server: Option<(u16, u16)>,
        /// The server's address. `None`: that of the RTSP connection.
        source: Option<IpAddr>,
    },
    /// As datagrams to a group.
    Multicast(Multicast),
}

/// A group to listen to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// Address of the group.
    pub group: IpAddr,
    /// Port of RTP.
    pub rtp: u16,
    /// Port of RTCP.
    pub rtcp: u16,
    /// How far packets go.
    pub ttl: Option<u8>,
    /// Who sends, if the server said.
    pub source: Option<IpAddr>,
}

/// Where a track begins (RFC 2326, section 12.33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// Index of the media section.
    pub track: usize,
    /// Sequence number of the first packet. 0 and 1 are left out: Hikvision DS-2CD2032-I and Tapo C320WS send them whatever
    /// follows (retina, 0.4.6).
    pub seq: Option<u16>,
    /// RTP time that belongs to the begin of `Range`.
    pub rtptime: Option<u32>,
}

/// Why a session failed. Displayed as ZLM does: `ANNOUNCE:406 Not Acceptable`, `play rtsp timeout`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server refused a request.
    #[error("{method}:{status} {reason}")]
    Status {
        /// The request.
        method: String,
        /// Status code.
        status: u16,
        /// Reason phrase, at most 200 characters.
        reason: String,
    },
    /// No success within [`Config::timeout`].
    #[error("{} rtsp timeout", if *.publish { "publish" } else { "play" })]
    Timeout {
        /// We publish.
        publish: bool,
    },
    /// No media for [`Config::media_timeout`].
    #[error("receive rtp timeout")]
    MediaTimeout,
    /// DESCRIBE was answered without a session description.
    #[error("DESCRIBE was answered with {content_type:?}, not with a session description")]
    NoDescription {
        /// Content-Type of the answer, at most 200 characters.
        content_type: String,
    },
    /// The description has no track to set up.
    #[error("no track to set up")]
    NoTracks,
    /// SETUP was answered with a transport that cannot be used.
    #[error("SETUP was answered with the transport {0:?}")]
    Transport(String),
    /// The server closed the connection before media flowed.
    #[error("connection closed by the server")]
    Closed,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What came cannot be read.
    #[error(transparent)]
    Message(#[from] message::Error),
    /// The driver answered a question that is not open.
    #[error("{0} answers a question that the session has not asked")]
    NotAsked(&'static str),
}
