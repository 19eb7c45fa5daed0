//! Section `rtp`.

use crate::key::{
    Key, Kind,
    Reload::{Hot, New},
};

/// RTP packets that the server makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rtp {
    /// Largest video packet in bytes.
    pub video_mtu: u32,
    /// Largest audio packet in bytes.
    pub audio_mtu: u32,
    /// Parameter sets of H.264 share a STAP-A packet.
    pub h264_stap_a: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
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
    Key::stored(
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
    Key::stored(
        "rtp.rtpMaxSize",
        "10",
        Hot,
        Kind::Bytes {
            unit: 1024,
            min: 1,
            max: 65_536,
            place: None,
        },
        "A larger RTP packet on TCP means to ZLMediaKit that the framing was lost, in KB.",
    ),
    Key::stored(
        "rtp.lowLatency",
        "0",
        New,
        Kind::Bool(None),
        "Do not wait for the end of a frame before its packets are made.",
    ),
    Key::stored(
        "rtp.h264_stap_a",
        "1",
        New,
        Kind::Bool(Some(|c| &mut c.rtp.h264_stap_a)),
        "Send the parameter sets of H.264 in one STAP-A packet. With 0 each has its own.",
    ),
];
