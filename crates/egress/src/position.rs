//! Where in a run of packets the unwritten rest begins.

use media::Packet;
use std::sync::Arc;

/// A place in packets that are being written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    packet: usize,
    part: usize,
    offset: usize,
}

impl Position {
    /// The pieces that are not written yet, in order. Empty parts are left out.
    pub fn rest(self, packets: &[Arc<Packet>]) -> impl Iterator<Item = &[u8]> {
        let from = packets.get(self.packet..).unwrap_or_default();
        let parts = from.iter().enumerate().flat_map(move |(index, packet)| {
            let skip = if index == 0 { self.part } else { 0 };
            packet.parts.get(skip..).unwrap_or_default()
        });
        parts
            .enumerate()
            .map(move |(index, part)| &part[if index == 0 { self.offset } else { 0 }..])
            .filter(|piece| !piece.is_empty())
    }

    /// Moves on by `count` bytes, and past empty parts.
    pub fn advance(&mut self, packets: &[Arc<Packet>], mut count: usize) {
        while let Some(packet) = packets.get(self.packet) {
            while let Some(part) = packet.parts.get(self.part) {
                let rest = part.len() - self.offset;
                if count < rest {
                    self.offset += count;
                    return;
                }
                count -= rest;
                self.part += 1;
                self.offset = 0;
            }
            self.packet += 1;
            self.part = 0;
        }
    }

    /// Whether all is written.
    pub fn is_end(self, packets: &[Arc<Packet>]) -> bool {
        self.packet >= packets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::MediaTime;
    use proptest::prelude::*;

    fn packets(parts: &[Vec<Vec<u8>>]) -> Vec<Arc<Packet>> {
        let packet = |parts: &Vec<Vec<u8>>| {
            Arc::new(Packet {
                parts: parts.iter().cloned().map(Bytes::from).collect(),
                key: true,
                config: false,
                dts: MediaTime::ZERO,
            })
        };
        parts.iter().map(packet).collect()
    }

    proptest! {
        /// Whatever the socket takes at a time, the bytes come out once and in order.
        #[test]
        fn partial_writes_give_the_same_bytes(
            parts in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..4), 0..6),
            steps in prop::collection::vec(1..7_usize, 1..8),
        ) {
            let packets = packets(&parts);
            let whole: Vec<u8> = parts.iter().flatten().flatten().copied().collect();
            let (mut position, mut out, mut step) = (Position::default(), Vec::new(), steps.iter().cycle());
            position.advance(&packets, 0);
            while !position.is_end(&packets) {
                let rest: Vec<u8> = position.rest(&packets).flatten().copied().collect();
                prop_assert_eq!(&rest, &whole[out.len()..]);
                let count = rest.len().min(*step.next().expect("endless"));
                prop_assert!(count > 0, "there is nothing to write, and yet it is not the end");
                out.extend_from_slice(&rest[..count]);
                position.advance(&packets, count);
            }
            prop_assert_eq!(out, whole);
            prop_assert_eq!(position.rest(&packets).count(), 0);
        }
    }
}
