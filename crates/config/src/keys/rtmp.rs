//! Section `rtmp`.

use super::YEAR_S;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New, Start},
};
use std::time::Duration;

/// RTMP and RTMPS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rtmp {
    /// Port of RTMP; 0 is off.
    pub port: u16,
    /// Port of RTMPS; 0 is off.
    pub ssl_port: u16,
    /// Limit for the handshake.
    pub handshake: Duration,
    /// Limit without data.
    pub keep_alive: Duration,
    /// A push is offered as RTMP even if its options say otherwise.
    pub direct_proxy: bool,
    /// Write H.265, Opus, VP8, VP9 and AV1 as Enhanced RTMP.
    pub enhanced: bool,
    /// Size of the chunks that are written, in bytes.
    pub chunk_size: u32,
    /// Largest message that is accepted, in bytes.
    pub max_message_bytes: u32,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "rtmp.port",
        "1935",
        Start,
        Kind::Port(Some(|c| &mut c.rtmp.port)),
        "Port of RTMP. 0 is off.",
    ),
    Key::zlm(
        "rtmp.sslport",
        "19350",
        Start,
        Kind::Port(Some(|c| &mut c.rtmp.ssl_port)),
        "Port of RTMPS. 0 is off. It stays closed as long as `http.cert_file` is empty.",
    ),
    Key::zlm(
        "rtmp.handshakeSecond",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.rtmp.handshake),
        },
        "Limit for the RTMP handshake, in seconds.",
    ),
    Key::zlm(
        "rtmp.keepAliveSecond",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.rtmp.keep_alive),
        },
        "An RTMP session over which nothing came for this many seconds is ended.",
    ),
    Key::zlm(
        "rtmp.directProxy",
        "1",
        New,
        Kind::Bool(Some(|c| &mut c.rtmp.direct_proxy)),
        "An RTMP push is offered as RTMP even if `enable_rtmp` is off for it.",
    ),
    Key::zlm(
        "rtmp.enhanced",
        "1",
        New,
        Kind::Bool(Some(|c| &mut c.rtmp.enhanced)),
        "Write H.265, Opus, VP8, VP9 and AV1 as Enhanced RTMP. With 0 the older codec numbers that Chinese players know are used.",
    ),
    Key::own(
        "rtmp.chunk_size",
        "60000",
        Start,
        Kind::Count {
            min: 128,
            max: 16_777_215,
            place: Some(|c| &mut c.rtmp.chunk_size),
        },
        "Size of the chunks that the server writes, in bytes.",
    ),
    Key::own(
        "rtmp.max_message_bytes",
        "16777216",
        New,
        Kind::Count {
            min: 65_536,
            max: 16_777_216,
            place: Some(|c| &mut c.rtmp.max_message_bytes),
        },
        "Largest RTMP message that is accepted, in bytes; a session that sends a larger one is ended.",
    ),
];
