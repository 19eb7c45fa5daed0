//! Section `rtp`.

use crate::key::{
    Key, Kind,
    Reload::{Hot, New},
};

/// RTP packets that the server makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rtp {
    /// Largest video packet, RTP header included, in bytes: 200 to 65000.
    pub video_mtu: u32,
    /// Largest audio packet, RTP header included, in bytes: 200 to 65000.
    pub audio_mtu: u32,
    /// Largest packet that is accepted over TCP, in bytes; a larger one means that the framing was lost.
    pub max_bytes: u64,
    /// Parameter sets of H.264 share a STAP-A packet.
    pub h264_stap_a: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "rtp.videoMtuSize",
        "1400",
        New,
        Kind::Count {
            min: 200,
            max: 65_000,
            place: Some(|c| &mut c.rtp.video_mtu),
        },
        "Largest RTP packet of video, in bytes.",
    ),
    Key::zlm(
        "rtp.audioMtuSize",
        "600",
        New,
        Kind::Count {
            min: 200,
            max: 65_000,
            place: Some(|c| &mut c.rtp.audio_mtu),
        },
        "Largest RTP packet of audio, in bytes.",
    ),
    Key::zlm(
        "rtp.rtpMaxSize",
        "10",
        Hot,
        Kind::Bytes {
            unit: 1024,
            min: 1,
            max: 65_536,
            place: Some(|c| &mut c.rtp.max_bytes),
        },
        "Largest RTP packet that is accepted over TCP, in KB. A larger one means that the framing was lost: the session is ended.",
    ),
    Key::stored(
        "rtp.lowLatency",
        "0",
        New,
        Kind::Bool(None),
        "Make packets before the end of a frame is known. Tidegate has the whole frame when it makes packets.",
    ),
    Key::zlm(
        "rtp.h264_stap_a",
        "1",
        New,
        Kind::Bool(Some(|c| &mut c.rtp.h264_stap_a)),
        "Send the parameter sets of H.264 in one STAP-A packet. With 0 each has its own.",
    ),
];
