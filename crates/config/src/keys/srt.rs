//! Section `srt`.

use super::YEAR_S;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New, Start},
};
use crate::secret::Secret;
use std::time::Duration;

/// SRT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Srt {
    /// Port of SRT (UDP); 0 is off.
    pub port: u16,
    /// Limit without data.
    pub timeout: Duration,
    /// Latency as a multiple of the round-trip time.
    pub latency_mul: u32,
    /// Packets that a receiver keeps.
    pub packet_buffer: u32,
    /// Pass phrase of the encryption; empty is none.
    pub pass_phrase: Secret,
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "srt.port",
        "9000",
        Start,
        Kind::Port(Some(|c| &mut c.srt.port)),
        "UDP port of SRT. 0 is off.",
    ),
    Key::stored(
        "srt.timeoutSec",
        "5",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.srt.timeout),
        },
        "An SRT session over which nothing came for this many seconds is ended.",
    ),
    Key::stored(
        "srt.latencyMul",
        "4",
        New,
        Kind::Count {
            min: 1,
            max: 1000,
            place: Some(|c| &mut c.srt.latency_mul),
        },
        "Latency as a multiple of the round-trip time.",
    ),
    Key::stored(
        "srt.pktBufSize",
        "8192",
        New,
        Kind::Count {
            min: 32,
            max: 1_000_000,
            place: Some(|c| &mut c.srt.packet_buffer),
        },
        "Packets that a receiver keeps for putting them in order.",
    ),
    Key::stored(
        "srt.passPhrase",
        "",
        New,
        Kind::Secret(Some(|c| &mut c.srt.pass_phrase)),
        "Pass phrase of the SRT encryption. Empty: no encryption.",
    )
    .secret(),
];
