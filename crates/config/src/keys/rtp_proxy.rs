//! Section `rtp_proxy`.

use super::YEAR_S;
use crate::address::PortRange;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New, Start},
};
use std::time::Duration;

/// Receiving and sending RTP, as GB28181 devices do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RtpProxy {
    /// The port that many senders share; 0 is off.
    pub port: u16,
    /// Ports for RTP over UDP, in pairs.
    pub port_range: PortRange,
    /// Limit without RTP.
    pub timeout: Duration,
    /// Payload type taken for H.264.
    pub h264_pt: u8,
    /// Payload type taken for H.265.
    pub h265_pt: u8,
    /// Payload type taken for MPEG-PS.
    pub ps_pt: u8,
    /// Payload type taken for Opus.
    pub opus_pt: u8,
    /// Groups of pictures kept for senders.
    pub gop_cache: u32,
    /// Length of a G.711 packet.
    pub g711_packet: Duration,
    /// Receive buffer of UDP sockets in bytes; 0 is the system's own.
    pub udp_recv_buffer: u64,
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "rtp_proxy.port",
        "10000",
        Start,
        Kind::Port(Some(|c| &mut c.rtp_proxy.port)),
        "One UDP and TCP port for many GB28181 senders, which are told apart by their SSRC. 0 is off.",
    ),
    Key::zlm(
        "rtp_proxy.port_range",
        "30000-35000",
        New,
        Kind::PortRange(Some(|c| &mut c.rtp_proxy.port_range)),
        "Ports for RTP over UDP, as `min-max`, at least 36 of them. RTP gets an even one and RTCP the odd one above it.",
    ),
    Key::stored(
        "rtp_proxy.timeoutSec",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.rtp_proxy.timeout),
        },
        "An RTP receiver that gets nothing for this many seconds is ended.",
    ),
    Key::stored(
        "rtp_proxy.dumpDir",
        "",
        Hot,
        Kind::OptionalPath(None),
        "Folder to which ZLMediaKit writes the RTP that it receives.",
    ),
    Key::stored(
        "rtp_proxy.h264_pt",
        "98",
        Hot,
        Kind::Small {
            min: 0,
            max: 127,
            place: Some(|c| &mut c.rtp_proxy.h264_pt),
        },
        "RTP payload type that is taken for H.264.",
    ),
    Key::stored(
        "rtp_proxy.h265_pt",
        "99",
        Hot,
        Kind::Small {
            min: 0,
            max: 127,
            place: Some(|c| &mut c.rtp_proxy.h265_pt),
        },
        "RTP payload type that is taken for H.265.",
    ),
    Key::stored(
        "rtp_proxy.ps_pt",
        "96",
        Hot,
        Kind::Small {
            min: 0,
            max: 127,
            place: Some(|c| &mut c.rtp_proxy.ps_pt),
        },
        "RTP payload type that is taken for MPEG-PS.",
    ),
    Key::stored(
        "rtp_proxy.opus_pt",
        "100",
        Hot,
        Kind::Small {
            min: 0,
            max: 127,
            place: Some(|c| &mut c.rtp_proxy.opus_pt),
        },
        "RTP payload type that is taken for Opus.",
    ),
    Key::stored(
        "rtp_proxy.gop_cache",
        "1",
        New,
        Kind::Count {
            min: 0,
            max: 100,
            place: Some(|c| &mut c.rtp_proxy.gop_cache),
        },
        "Groups of pictures that are kept for RTP senders and event clips.",
    ),
    Key::stored(
        "rtp_proxy.rtp_g711_dur_ms",
        "100",
        New,
        Kind::Millis {
            min: 20,
            max: 180,
            place: Some(|c| &mut c.rtp_proxy.g711_packet),
        },
        "Length of a G.711 packet in milliseconds, 20 to 180 in steps of 20.",
    ),
    Key::zlm(
        "rtp_proxy.udp_recv_socket_buffer",
        "4194304",
        New,
        Kind::Bytes {
            unit: 1,
            min: 0,
            max: 1 << 31,
            place: Some(|c| &mut c.rtp_proxy.udp_recv_buffer),
        },
        "Receive buffer of the UDP sockets for RTP, in bytes. 0 leaves it to the system, which may also give less.",
    ),
    Key::stored(
        "rtp_proxy.merge_frame",
        "1",
        New,
        Kind::Bool(None),
        "Wait for the next frame to tell that one is complete.",
    ),
];
