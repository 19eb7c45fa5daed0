//! What the tests of payload formats have in common.

use super::{Error, Input, Sink, Unit};
use bytes::Bytes;
use media::{Frame, MediaTime, TrackId};
use proptest::prelude::*;

/// A payload on its way from a packer to an unpacker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub timestamp: i64,
    pub marker: bool,
    pub payload: Bytes,
}

/// Collects payloads.
pub struct Packets {
    pub max_payload: usize,
    /// Time of the frame that is packed.
    pub timestamp: i64,
    pub sent: Vec<Sent>,
}

impl Packets {
    pub fn new(max_payload: usize) -> Self {
        Self {
            max_payload,
            timestamp: 0,
            sent: Vec::new(),
        }
    }
}

impl Sink for Packets {
    fn max_payload(&self) -> usize {
        self.max_payload
    }

    fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]) {
        self.sent.push(Sent {
            timestamp: self.timestamp + i64::from(offset),
            marker,
            payload: parts.concat().into(),
        });
    }
}

pub fn frame(data: &[u8]) -> Frame {
    Frame {
        track: TrackId(1),
        dts: MediaTime::ZERO,
        pts: MediaTime::ZERO,
        key: true,
        data: Bytes::copy_from_slice(data),
        wire: None,
    }
}

/// Hands packets to `push`, without those that `lost` names by index.
pub fn deliver(packets: &[Sent], lost: &[usize], mut push: impl FnMut(Input<'_>)) {
    let mut gap = false;
    for (index, packet) in packets.iter().enumerate() {
        if lost.contains(&index) {
            gap = true;
            continue;
        }
        push(Input {
            payload: &packet.payload,
            marker: packet.marker,
            timestamp: packet.timestamp,
            gap: std::mem::take(&mut gap),
        });
    }
}

pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// RTP packets in hexadecimal, with headers of 12 bytes, as payloads.
pub fn capture<'a>(packets: impl IntoIterator<Item = &'a str>) -> Vec<Sent> {
    packets
        .into_iter()
        .map(|packet| {
            let packet = hex(packet);
            Sent {
                timestamp: u32::from_be_bytes(packet[4..8].try_into().unwrap()).into(),
                marker: packet[1] & 0x80 != 0,
                payload: Bytes::copy_from_slice(&packet[12..]),
            }
        })
        .collect()
}

/// Ticks between two frames of [`pack`].
const STEP: i64 = 3000;

/// The packets of frames that are [`STEP`] ticks apart: key frame or not, and data.
pub fn pack<'a>(
    frames: impl IntoIterator<Item = (bool, &'a [u8])>,
    max_payload: usize,
    mut pack: impl FnMut(&Frame, &mut Packets),
) -> Vec<Sent> {
    let mut packets = Packets::new(max_payload);
    for (key, data) in frames {
        pack(&Frame { key, ..frame(data) }, &mut packets);
        packets.timestamp += STEP;
    }
    assert!(packets.sent.iter().all(|sent| sent.payload.len() <= max_payload));
    packets.sent
}

/// What those frames are when all their packets arrive.
pub fn units<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<Unit> {
    let unit = |(index, data): (i64, &[u8])| Unit {
        timestamp: index * STEP,
        data: Bytes::copy_from_slice(data),
    };
    (0..).zip(frames).map(unit).collect()
}

/// Unpacks those packets that `lost` does not name; errors are none of the caller's business. Returns whether the last one is there,
/// so that the unpacker may be flushed.
pub fn unpack(
    packets: &[Sent],
    lost: impl Fn(usize) -> bool,
    mut push: impl FnMut(Input<'_>, &mut Vec<Unit>) -> Result<(), Error>,
) -> (Vec<Unit>, bool) {
    let mut out = Vec::new();
    let missing: Vec<usize> = (0..packets.len()).filter(|&index| lost(index)).collect();
    deliver(packets, &missing, |input| {
        let _ = push(input, &mut out);
    });
    let whole = missing.last().is_none_or(|last| last + 1 < packets.len());
    (out, whole)
}

/// Gives one payload to an unpacker, and returns the units that came of it.
pub fn one(
    payload: &[u8],
    marker: bool,
    timestamp: i64,
    gap: bool,
    push: impl FnOnce(Input<'_>, &mut Vec<Unit>) -> Result<(), Error>,
) -> Result<Vec<Unit>, Error> {
    let (mut out, payload) = (Vec::new(), Bytes::copy_from_slice(payload));
    let input = Input {
        payload: &payload,
        marker,
        timestamp,
        gap,
    };
    push(input, &mut out).map(|()| out)
}

/// Packets of a capture: marker, time, payload.
pub fn captured(packets: &[(bool, i64, &[u8])]) -> Vec<Sent> {
    let sent = |(marker, timestamp, payload): &(bool, i64, &[u8])| Sent {
        timestamp: *timestamp,
        marker: *marker,
        payload: Bytes::copy_from_slice(payload),
    };
    packets.iter().map(sent).collect()
}

/// Without the units that lost a packet.
pub fn without_lost(mut units: Vec<Unit>, packets: &[Sent], lost: &[usize]) -> Vec<Unit> {
    units.retain(|unit| {
        lost.iter()
            .all(|&index| packets[index].timestamp != unit.timestamp)
    });
    units
}

/// Some packets to lose.
pub fn losses() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 1..4)
}

/// Packets with payloads of such bytes, fewer than `max`.
pub fn hostile_packets(byte: impl Strategy<Value = u8>, max: usize) -> impl Strategy<Value = Vec<Sent>> {
    let payload = proptest::collection::vec(byte, 0..max).prop_map(Bytes::from);
    let packet = (any::<bool>(), 0i64..3, payload).prop_map(|(marker, timestamp, payload)| Sent {
        timestamp,
        marker,
        payload,
    });
    proptest::collection::vec(packet, 0..12)
}
