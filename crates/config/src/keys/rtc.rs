//! Section `rtc`.

use super::YEAR_S;
use crate::key::{
    Key, Kind, Place,
    Reload::{self, Hot, New, Start},
};
use std::time::Duration;

/// WebRTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rtc {
    /// UDP port of all media; 0 is off.
    pub port: u16,
    /// TCP port of all media; 0 is off.
    pub tcp_port: u16,
    /// Limit without data.
    pub timeout: Duration,
    /// Addresses named in candidates; an empty list is the local address.
    pub extern_ips: Vec<String>,
    /// The TCP candidate comes first.
    pub preferred_tcp: bool,
    /// Audio codecs in order of preference.
    pub audio_codecs: Vec<String>,
    /// Video codecs in order of preference.
    pub video_codecs: Vec<String>,
    /// How long packets are kept for sending them again.
    pub rtp_cache: Duration,
    /// How many packets are kept for sending them again.
    pub rtp_cache_packets: u32,
    /// Most packets that are being asked for.
    pub nack_max_packets: u32,
    /// Longest time that a packet is asked for.
    pub nack_max: Duration,
    /// How often a packet is asked for.
    pub nack_max_count: u32,
    /// Pause between questions, as a multiple of the round-trip time.
    pub nack_interval_ratio: f64,
    /// Video packets per question.
    pub nack_packets: u32,
    /// Audio packets per question.
    pub nack_audio_packets: u32,
}

const fn count(
    name: &'static str,
    default: &'static str,
    reload: Reload,
    place: Place<u32>,
    doc: &'static str,
) -> Key {
    Key::stored(
        name,
        default,
        reload,
        Kind::Count {
            min: 0,
            max: u32::MAX,
            place,
        },
        doc,
    )
}

const fn millis(name: &'static str, default: &'static str, place: Place<Duration>, doc: &'static str) -> Key {
    Key::stored(
        name,
        default,
        Hot,
        Kind::Millis {
            min: 0,
            max: super::ANY_MS,
            place,
        },
        doc,
    )
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "rtc.port",
        "8000",
        Start,
        Kind::Port(Some(|c| &mut c.rtc.port)),
        "UDP port of all WebRTC media. 0 is off.",
    ),
    Key::stored(
        "rtc.tcpPort",
        "8000",
        Start,
        Kind::Port(Some(|c| &mut c.rtc.tcp_port)),
        "TCP port of all WebRTC media. 0 is off.",
    ),
    Key::stored(
        "rtc.timeoutSec",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.rtc.timeout),
        },
        "A WebRTC session over which nothing came for this many seconds is ended.",
    ),
    Key::stored(
        "rtc.externIP",
        "",
        Hot,
        Kind::List {
            separator: ',',
            place: Some(|c| &mut c.rtc.extern_ips),
        },
        "Addresses to name in candidates, with `,` between them; `$NAME` is an environment variable. Empty: the local address.",
    ),
    Key::stored(
        "rtc.interfaces",
        "",
        Hot,
        Kind::List {
            separator: ',',
            place: None,
        },
        "Addresses on which WebRTC sockets are opened, with `,` between them.",
    ),
    Key::stored(
        "rtc.preferred_tcp",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.rtc.preferred_tcp)),
        "Name the TCP candidate first.",
    ),
    Key::stored(
        "rtc.preferredCodecA",
        "PCMA,PCMU,opus,mpeg4-generic",
        New,
        Kind::List {
            separator: ',',
            place: Some(|c| &mut c.rtc.audio_codecs),
        },
        "Audio codecs in order of preference, with `,` between them.",
    ),
    Key::stored(
        "rtc.preferredCodecV",
        "H264,H265,AV1,VP9,VP8",
        New,
        Kind::List {
            separator: ',',
            place: Some(|c| &mut c.rtc.video_codecs),
        },
        "Video codecs in order of preference, with `,` between them.",
    ),
    count(
        "rtc.rembBitRate",
        "0",
        Hot,
        None,
        "Send REMB with this bit rate instead of TWCC. 0 is off.",
    ),
    count(
        "rtc.start_bitrate",
        "0",
        New,
        None,
        "Bit rate that the SDP proposes for the start. 0 is none.",
    ),
    count(
        "rtc.max_bitrate",
        "0",
        New,
        None,
        "Highest bit rate that the SDP proposes. 0 is none.",
    ),
    count(
        "rtc.min_bitrate",
        "0",
        New,
        None,
        "Lowest bit rate that the SDP proposes. 0 is none.",
    ),
    millis(
        "rtc.maxRtpCacheMS",
        "5000",
        Some(|c| &mut c.rtc.rtp_cache),
        "How long packets are kept for sending them again, in milliseconds.",
    ),
    count(
        "rtc.maxRtpCacheSize",
        "2048",
        Hot,
        Some(|c| &mut c.rtc.rtp_cache_packets),
        "How many packets are kept for sending them again.",
    ),
    count(
        "rtc.nackMaxSize",
        "2048",
        Hot,
        Some(|c| &mut c.rtc.nack_max_packets),
        "Most lost packets that are remembered.",
    ),
    millis(
        "rtc.nackMaxMS",
        "3000",
        Some(|c| &mut c.rtc.nack_max),
        "How long a lost packet is asked for, in milliseconds.",
    ),
    count(
        "rtc.nackMaxCount",
        "15",
        Hot,
        Some(|c| &mut c.rtc.nack_max_count),
        "How often a lost packet is asked for.",
    ),
    Key::stored(
        "rtc.nackIntervalRatio",
        "1.000000",
        Hot,
        Kind::Float {
            min: 0.0,
            max: 1000.0,
            place: Some(|c| &mut c.rtc.nack_interval_ratio),
        },
        "Pause before a lost packet is asked for again, as a multiple of the round-trip time.",
    ),
    count(
        "rtc.nackRtpSize",
        "8",
        Hot,
        Some(|c| &mut c.rtc.nack_packets),
        "Lost video packets that are asked for at once.",
    ),
    count(
        "rtc.nackAudioRtpSize",
        "4",
        Hot,
        Some(|c| &mut c.rtc.nack_audio_packets),
        "Lost audio packets that are asked for at once.",
    ),
    Key::stored(
        "rtc.bfilter",
        "0",
        New,
        Kind::Bool(None),
        "Drop B frames, which browsers cannot show in order.",
    ),
    Key::stored(
        "rtc.datachannel_echo",
        "1",
        Hot,
        Kind::Bool(None),
        "Test aid: send data channel messages back.",
    ),
    Key::stored(
        "rtc.signalingPort",
        "3000",
        Start,
        Kind::Port(None),
        "Port of the room signalling of ZLMediaKit. Tidegate has none.",
    ),
    Key::stored(
        "rtc.signalingSslPort",
        "3001",
        Start,
        Kind::Port(None),
        "TLS port of the room signalling of ZLMediaKit. Tidegate has none.",
    ),
    Key::stored(
        "rtc.enableTurn",
        "0",
        Hot,
        Kind::Bool(None),
        "The STUN and TURN server of ZLMediaKit, which is on there with a published password. Tidegate has none.",
    ),
    Key::stored(
        "rtc.icePort",
        "3478",
        Start,
        Kind::Port(None),
        "UDP port of the TURN server of ZLMediaKit.",
    ),
    Key::stored(
        "rtc.iceTcpPort",
        "3478",
        Start,
        Kind::Port(None),
        "TCP port of the TURN server of ZLMediaKit.",
    ),
    Key::stored(
        "rtc.iceUfrag",
        "ZLMediaKit",
        Hot,
        Kind::Text(None),
        "User of the TURN server of ZLMediaKit.",
    ),
    Key::stored(
        "rtc.icePwd",
        "ZLMediaKit",
        Hot,
        Kind::Secret(None),
        "Password of the TURN server of ZLMediaKit.",
    )
    .secret(),
    count(
        "rtc.iceTransportPolicy",
        "0",
        Hot,
        None,
        "Which candidates may be used: 0 all, 1 relayed ones, 2 direct ones.",
    ),
    Key::stored(
        "rtc.port_range",
        "49152-65535",
        Hot,
        Kind::PortRange(None),
        "Ports of the TURN server of ZLMediaKit, as `min-max`.",
    ),
    count(
        "rtc.max_stun_retry",
        "7",
        Hot,
        None,
        "How often a STUN request is sent again.",
    ),
];
