//! RTP (RFC 3550) with H.264 (RFC 6184).

use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;

use super::Seen;

/// The clock of video, Hz (RFC 6184, section 8.2.1).
const CLOCK: i64 = 90_000;

/// The packets of one track.
#[derive(Debug, Default)]
pub struct Rtp {
    sequence: Option<u16>,
    /// Beyond its 32 bits.
    timestamp: Option<i64>,
    key: bool,
    missing: u64,
}

impl Rtp {
    /// The next packet; gives the frame that it ends.
    pub fn push(&mut self, at: Instant, packet: Bytes) -> Result<Option<Seen>> {
        let packet = rtp::Packet::parse(packet).context("an RTP packet")?;
        let header = packet.header();
        if let Some(last) = self.sequence.replace(header.sequence) {
            self.missing += u64::from(header.sequence.wrapping_sub(last).wrapping_sub(1));
        }
        let timestamp = match self.timestamp {
            None => i64::from(header.timestamp),
            // The shorter way from the last one.
            Some(last) => last + i64::from(header.timestamp.wrapping_sub(last as u32) as i32),
        };
        self.timestamp = Some(timestamp);
        self.key |= has_key_picture(packet.payload());
        let ended = header.marker.then(|| Seen {
            time_us: timestamp * 1_000_000 / CLOCK,
            key: std::mem::take(&mut self.key),
            at,
        });
        Ok(ended)
    }

    /// Packets that were missing in the numbers, so far.
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

/// Whether it begins, or has, an IDR picture: NAL unit type 5, alone, in STAP-A (24) or at the begin of FU-A (28).
fn has_key_picture(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    match payload {
        [head, ..] if head & 0x1F == IDR => true,
        [head, fu, ..] if head & 0x1F == 28 => fu & 0x80 != 0 && fu & 0x1F == IDR,
        [head, rest @ ..] if head & 0x1F == 24 => {
            let mut rest = rest;
            while let [high, low, units @ ..] = rest {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                if units.first().is_some_and(|head| head & 0x1F == IDR) {
                    return true;
                }
                rest = units.get(len..).unwrap_or_default();
            }
            false
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Bytes {
        let mut packet = vec![0x80, 96 | (u8::from(marker) << 7)];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend(payload);
        packet.into()
    }

    #[test]
    fn a_frame_ends_with_its_marker_and_times_go_beyond_32_bits() {
        let (at, mut rtp) = (Instant::now(), Rtp::default());
        let mut push = |sequence, timestamp, marker, payload: &[u8]| {
            let seen = rtp
                .push(at, packet(sequence, timestamp, marker, payload))
                .expect("valid");
            seen.map(|seen| (seen.time_us, seen.key))
        };
        let begin = u32::MAX - 1799;
        let begin_us = i64::from(begin) * 1_000_000 / 90_000;
        assert_eq!(
            push(65_534, begin, false, &[0x78, 0, 1, 0x67, 0, 2, 0x68, 0]),
            None
        );
        assert_eq!(push(65_535, begin, false, &[0x7C, 0x85, 1]), None);
        assert_eq!(push(0, begin, true, &[0x7C, 0x45, 1]), Some((begin_us, true)));
        assert_eq!(push(1, 1800, true, &[0x61, 1]), Some((begin_us + 40_000, false)));
        assert_eq!(rtp.missing(), 0);
    }

    #[test]
    fn numbers_that_are_left_out_are_counted() {
        let (at, mut rtp) = (Instant::now(), Rtp::default());
        for sequence in [1, 2, 5, 6] {
            rtp.push(at, packet(sequence, 0, false, &[0x61, 1]))
                .expect("valid");
        }
        assert_eq!(rtp.missing(), 2);
        assert!(rtp.push(at, Bytes::from_static(b"short")).is_err());
    }
}
