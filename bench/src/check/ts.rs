//! MPEG-TS (ISO/IEC 13818-1).

use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::{Buf, BytesMut};

use super::Seen;

/// Length of a packet, bytes (section 2.4.3.2).
const PACKET: usize = 188;
/// Bits of a time (section 2.4.3.7).
const TIME_BITS: u32 = 33;
/// Highest PID and one more.
const PIDS: usize = 0x2000;
/// The PID of packets that carry nothing.
const NULL_PID: usize = 0x1FFF;

/// A transport stream with one track of video. A frame's end is not marked there; so it is told when the next one begins, with the
/// time at which its last packet came.
#[derive(Debug)]
pub struct Ts {
    /// Continuity counters by PID; 0xFF before the first.
    counters: Vec<u8>,
    missing: u64,
    /// The video's PID.
    video: Option<usize>,
    /// The frame that has begun.
    open: Option<Seen>,
    time: Option<i64>,
}

impl Default for Ts {
    fn default() -> Self {
        Self {
            counters: vec![0xFF; PIDS],
            missing: 0,
            video: None,
            open: None,
            time: None,
        }
    }
}

impl Ts {
    /// See [`super::Container::push`]; a packet that is not whole stays in `bytes`.
    pub fn push(&mut self, at: Instant, bytes: &mut BytesMut, seen: &mut Vec<Seen>) -> Result<()> {
        while bytes.len() >= PACKET {
            self.packet(at, &bytes[..PACKET], seen)?;
            bytes.advance(PACKET);
        }
        Ok(())
    }

    /// The frame that has begun, where it is known that nothing follows, such as at the end of a segment.
    pub fn finish(&mut self) -> Option<Seen> {
        self.open.take()
    }

    /// Packets that were missing in the counters, so far. Modulo 16, because the counters have four bits.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    fn packet(&mut self, at: Instant, packet: &[u8], seen: &mut Vec<Seen>) -> Result<()> {
        ensure!(
            packet[0] == 0x47,
            "a TS packet begins with {:#04x}, not with 0x47",
            packet[0]
        );
        ensure!(packet[1] & 0x80 == 0, "a TS packet that is marked as damaged");
        let pid = usize::from(u16::from_be_bytes([packet[1] & 0x1F, packet[2]]));
        let (adaptation, payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        if pid == NULL_PID || !payload {
            return Ok(());
        }
        let counter = packet[3] & 0x0F;
        let last = std::mem::replace(&mut self.counters[pid], counter);
        // A packet may be sent twice (section 2.4.3.3).
        if last != 0xFF && counter != last {
            self.missing += u64::from(counter.wrapping_sub(last).wrapping_sub(1) & 0x0F);
        }
        let (random_access, payload_at) = match packet[4] {
            _ if !adaptation => (false, 4),
            0 => (false, 5),
            len => (packet[5] & 0x40 != 0, 5 + usize::from(len)),
        };
        ensure!(payload_at <= PACKET, "an adaptation field of {} bytes", packet[4]);
        let payload = &packet[payload_at..];
        let starts = packet[1] & 0x40 != 0;
        if starts && let Some(time) = video_time(payload) {
            self.video = Some(pid);
            seen.extend(self.open.take());
            let time = self.extend(time);
            let time_us = time * 100 / 9;
            let key = random_access;
            self.open = Some(Seen { time_us, key, at });
        } else if self.video == Some(pid)
            && let Some(open) = &mut self.open
        {
            open.at = at;
        }
        Ok(())
    }

    /// The time nearest to the last one that ends with these bits.
    fn extend(&mut self, wire: i64) -> i64 {
        let time = match self.time {
            None => wire,
            Some(last) => {
                let step = (wire - last) & ((1 << TIME_BITS) - 1);
                let back = if step >= 1 << (TIME_BITS - 1) {
                    1 << TIME_BITS
                } else {
                    0
                };
                last + step - back
            }
        };
        self.time = Some(time);
        time
    }
}

/// The decoding time of a PES packet of video, 90 kHz (section 2.4.3.6): DTS if there is one, else PTS.
fn video_time(pes: &[u8]) -> Option<i64> {
    let [0, 0, 1, 0xE0..=0xEF, _, _, _, flags, _, rest @ ..] = pes else {
        return None;
    };
    let time = match flags >> 6 {
        2 => rest.get(..5)?,
        3 => rest.get(5..10)?,
        _ => return None,
    };
    let part = |at: usize| i64::from(time[at]);
    Some(((part(0) >> 1) & 7) << 30 | part(1) << 22 | (part(2) >> 1) << 15 | part(3) << 7 | part(4) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn packet(counter: u8, starts: Option<(u64, bool)>) -> Vec<u8> {
        let mut packet = vec![0x47, 0x01, 0x00, 0x10 | counter];
        if let Some((time, key)) = starts {
            packet[1] |= 0x40;
            packet[3] |= 0x20;
            packet.extend([1, if key { 0x40 } else { 0 }]);
            packet.extend([0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5]);
            let byte = |shift: u32| (time >> shift) as u8;
            packet.extend([
                0x21 | (byte(29) & 0x0E),
                byte(22),
                byte(14) | 1,
                byte(7),
                (byte(0) << 1) | 1,
            ]);
        }
        packet.resize(PACKET, 0xAA);
        packet
    }

    #[test]
    fn a_frame_came_when_its_last_packet_came() {
        let begin = Instant::now();
        let (mut ts, mut seen) = (Ts::default(), Vec::new());
        let first = (1 << TIME_BITS) - 1800;
        let packets = [
            Some((first, true)),
            None,
            Some((1800, false)),
            Some((5400, false)),
        ];
        for (number, starts) in (0..).zip(packets) {
            let mut bytes = BytesMut::from(&packet(number, starts)[..]);
            let at = begin + Duration::from_millis(u64::from(number));
            ts.push(at, &mut bytes, &mut seen).expect("valid");
            assert!(bytes.is_empty());
        }
        let first_us = first as i64 * 100 / 9;
        let found: Vec<_> = seen
            .iter()
            .map(|seen| (seen.time_us, seen.key, (seen.at - begin).as_millis()))
            .collect();
        assert_eq!(found, [(first_us, true, 1), (first_us + 40_000, false, 2)]);
        assert_eq!(ts.missing(), 0);
    }

    #[test]
    fn counters_that_are_left_out_are_counted_and_repeats_are_not() {
        let mut ts = Ts::default();
        for counter in [14, 15, 0, 0, 3] {
            let mut bytes = BytesMut::from(&packet(counter, None)[..]);
            ts.push(Instant::now(), &mut bytes, &mut Vec::new())
                .expect("valid");
        }
        assert_eq!(ts.missing(), 2);
    }

    #[test]
    fn what_is_no_packet_is_an_error_and_half_of_one_waits() {
        let mut bytes = BytesMut::from(&packet(0, None)[..100]);
        let mut ts = Ts::default();
        ts.push(Instant::now(), &mut bytes, &mut Vec::new())
            .expect("valid");
        assert_eq!(bytes.len(), 100);
        let mut wrong = BytesMut::from(&[0x48; PACKET][..]);
        assert!(ts.push(Instant::now(), &mut wrong, &mut Vec::new()).is_err());
        let mut long = packet(0, None);
        long[3] |= 0x20;
        long[4] = 200;
        assert!(
            ts.push(Instant::now(), &mut BytesMut::from(&long[..]), &mut Vec::new())
                .is_err()
        );
    }
}
