//! Bytes to packets: where they begin, how far they are apart, and where to go on after garbage.

use super::packet::{PACKET_LEN, SYNC};
use bytes::{Buf, BytesMut};

/// Finds packets in bytes that come in pieces of any size.
///
/// Packets of 188 bytes, of 192 (M2TS files: four bytes of time before each) and of 204 (with 16 bytes of error correction behind
/// each) are told apart by the distance of their sync bytes. It holds less than [`MAX_HELD`] bytes between calls.
#[derive(Debug, Default)]
pub(super) struct Framer {
    buffer: BytesMut,
    /// Bytes from one sync byte to the next, once they were found; the buffer begins at one then, or before it.
    stride: Option<usize>,
    /// Bytes of the buffer that belong to the packet before.
    skip: usize,
    counts: Counts,
}

/// What was passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Bytes that belong to no packet.
    pub bytes: u64,
    /// Times that the packets were lost after they had been found.
    pub lost: u64,
}

impl Framer {
    /// Takes bytes, and gives each whole packet to `found`.
    pub fn push(&mut self, data: &[u8], found: impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(data);
        self.read(SYNCS, found);
    }

    /// Nothing follows: gives what is left, for whose place fewer sync bytes have to do, and begins anew.
    pub fn flush(&mut self, found: impl FnMut(&[u8])) {
        self.read(1, found);
        self.counts.bytes = self.counts.bytes.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        (self.stride, self.skip) = (None, 0);
    }

    /// What was passed over so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn read(&mut self, syncs: usize, mut found: impl FnMut(&[u8])) {
        loop {
            let now = self.skip.min(self.buffer.len());
            self.buffer.advance(now);
            self.skip -= now;
            let Some(stride) = self.stride else {
                if !self.search(syncs) {
                    return;
                }
                continue;
            };
            match self.buffer.first() {
                Some(&SYNC) => {
                    let Some(packet) = self.buffer.get(..PACKET_LEN) else {
                        return;
                    };
                    found(packet);
                    self.skip = stride;
                }
                Some(_) => {
                    self.stride = None;
                    self.counts.lost = self.counts.lost.saturating_add(1);
                }
                None => return,
            }
        }
    }

    /// Looks for `syncs` sync bytes at equal distance, and moves to the first. `false`: more bytes are needed.
    fn search(&mut self, syncs: usize) -> bool {
        let (mut at, all) = (0, self.buffer.len());
        let found = loop {
            let Some(next) = self.buffer[at..].iter().position(|byte| *byte == SYNC) else {
                at = all;
                break None;
            };
            at += next;
            // What the last bytes are cannot be said yet.
            let mut open = false;
            let stride = STRIDES.into_iter().find(|stride| {
                let mut seen = 0;
                for nth in 0..syncs.max(1) {
                    match self.buffer.get(at + nth * stride) {
                        Some(&SYNC) => seen += 1,
                        Some(_) => return false,
                        None => open = true,
                    }
                }
                seen >= syncs
            });
            if stride.is_some() || open {
                break stride;
            }
            at += 1;
        };
        self.buffer.advance(at);
        self.counts.bytes = self.counts.bytes.saturating_add(at as u64);
        self.stride = found;
        found.is_some()
    }
}

/// Distances of sync bytes.
const STRIDES: [usize; 3] = [188, 192, 204];
/// As many sync bytes have to stand at equal distance, so that one byte in 16 million positions of random data is mistaken.
const SYNCS: usize = 3;
/// Upper bound of what is held: the bytes in which the place of packets is looked for.
#[cfg(test)]
const MAX_HELD: usize = (SYNCS - 1) * 204 + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(count: u8, before: usize, after: usize) -> Vec<u8> {
        let packet = |nth: u8| {
            let mut packet = vec![0xaa; before];
            packet.push(SYNC);
            packet.resize(before + PACKET_LEN, nth);
            packet.resize(before + PACKET_LEN + after, 0xbb);
            packet
        };
        (0..count).flat_map(packet).collect()
    }

    fn numbers(framer: &mut Framer, stream: &[u8], chunk: usize) -> Vec<u8> {
        let mut found = Vec::new();
        for piece in stream.chunks(chunk) {
            framer.push(piece, |packet| {
                assert_eq!((packet.len(), packet[0]), (PACKET_LEN, SYNC));
                found.push(packet[1]);
            });
            assert!(framer.buffer.len() < MAX_HELD, "{}", framer.buffer.len());
        }
        framer.flush(|packet| found.push(packet[1]));
        found
    }

    #[test]
    fn three_forms_in_pieces_of_any_size() {
        for (before, after) in [(0, 0), (4, 0), (0, 16)] {
            for chunk in [1, 7, 188, 1000, 100_000] {
                let mut framer = Framer::default();
                let found = numbers(&mut framer, &packets(20, before, after), chunk);
                assert_eq!(found, (0..20).collect::<Vec<_>>(), "{before} {after} {chunk}");
                assert_eq!(framer.counts().lost, 0);
                assert_eq!(framer.counts().bytes, before as u64);
            }
        }
    }

    #[test]
    fn garbage_costs_what_it_covers() {
        let mut stream = packets(5, 0, 0);
        stream.extend(b"GGG garbage that begins like packets");
        stream.extend(packets(5, 0, 0));
        let mut framer = Framer::default();
        let expected: Vec<_> = (0..5).chain(0..5).collect();
        let found = numbers(&mut framer, &stream, 50);
        assert!(
            found.len() >= 9 && expected.ends_with(&found[found.len() - 4..]),
            "{found:?}"
        );
        assert!(framer.counts().lost >= 1);
    }

    #[test]
    fn a_short_stream_is_read_at_its_end() {
        assert_eq!(numbers(&mut Framer::default(), &packets(1, 0, 0), 200), [0]);
        assert_eq!(
            numbers(&mut Framer::default(), &packets(2, 0, 0)[..300], 200),
            [0]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_pushed(chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(SYNC), any::<u8>()], 0..400), 0..20)) {
            let mut framer = Framer::default();
            for chunk in &chunks {
                framer.push(chunk, |packet| assert_eq!(packet.len(), PACKET_LEN));
                prop_assert!(framer.buffer.len() < MAX_HELD);
            }
            framer.flush(|packet| assert_eq!(packet.len(), PACKET_LEN));
            prop_assert!(framer.buffer.is_empty());
        }
    }
}
