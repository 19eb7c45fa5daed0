//! Section `rtsp`.

use super::YEAR_S;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New, Start},
};
use std::time::Duration;

/// RTSP and RTSPS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rtsp {
    /// Port of RTSP; 0 is off.
    pub port: u16,
    /// Port of RTSPS; 0 is off.
    pub ssl_port: u16,
    /// Basic instead of Digest authentication.
    pub auth_basic: bool,
    /// Limit for the handshake.
    pub handshake: Duration,
    /// Limit without data.
    pub keep_alive: Duration,
    /// The packets of an RTSP source reach RTSP players unchanged, and a push is offered as RTSP even if its options say otherwise.
    pub direct_proxy: bool,
    /// The transport that players must ask for.
    pub transport: RtspTransport,
}

/// A transport of RTSP media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtspTransport {
    /// Whatever the other side asks for.
    #[default]
    Any,
    /// Interleaved in the RTSP connection.
    Tcp,
    /// UDP to one receiver.
    Udp,
    /// UDP to a group.
    Multicast,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "rtsp.port",
        "8554",
        Start,
        Kind::Port(Some(|c| &mut c.rtsp.port)),
        "Port of RTSP. 0 is off.",
    ),
    Key::zlm(
        "rtsp.sslport",
        "8322",
        Start,
        Kind::Port(Some(|c| &mut c.rtsp.ssl_port)),
        "Port of RTSPS. 0 is off. It stays closed as long as `http.cert_file` is empty.",
    ),
    Key::zlm(
        "rtsp.authBasic",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.rtsp.auth_basic)),
        "Ask players for Basic instead of Digest authentication.",
    ),
    Key::zlm(
        "rtsp.handshakeSecond",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.rtsp.handshake),
        },
        "Limit for an RTSP session to start playing or publishing, in seconds.",
    ),
    Key::zlm(
        "rtsp.keepAliveSecond",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.rtsp.keep_alive),
        },
        "An RTSP session over which nothing came for this many seconds is ended.",
    ),
    Key::zlm(
        "rtsp.directProxy",
        "1",
        New,
        Kind::Bool(Some(|c| &mut c.rtsp.direct_proxy)),
        "Forward the RTP packets of an RTSP source unchanged to RTSP players. An RTSP push is then offered as RTSP even if `enable_rtsp` is off for it.",
    ),
    Key::stored(
        "rtsp.lowLatency",
        "0",
        Hot,
        Kind::Bool(None),
        "Send each RTP packet at once. Tidegate writes a frame as soon as it is complete, all of it in one call.",
    ),
    Key::zlm(
        "rtsp.rtpTransportType",
        "-1",
        Hot,
        Kind::Choice(&[
            ("-1", |c| c.rtsp.transport = RtspTransport::Any),
            ("0", |c| c.rtsp.transport = RtspTransport::Tcp),
            ("1", |c| c.rtsp.transport = RtspTransport::Udp),
            ("2", |c| c.rtsp.transport = RtspTransport::Multicast),
        ]),
        "Transport that players must ask for: -1 any, 0 TCP, 1 UDP, 2 multicast. Others are answered with 461.",
    ),
];
