//! The packets of a transport stream (ISO/IEC 13818-1, 2.4.3.2 to 2.4.3.5).

use bytes::{BufMut, BytesMut};

/// Length of a packet in bytes.
pub const PACKET_LEN: usize = 188;
/// First byte of every packet.
pub(super) const SYNC: u8 = 0x47;
/// Bytes behind the header.
pub(super) const BODY_LEN: usize = PACKET_LEN - HEADER_LEN;
/// Packets that only fill the rate.
pub(super) const NULL_PID: u16 = 0x1fff;
const HEADER_LEN: usize = 4;

/// Takes pieces of bytes in order: to write them, or only to count them, so that both follow one code.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

/// Counts.
#[derive(Default)]
pub(super) struct Counter(pub usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// What the first packet of a PES packet says in its adaptation field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adaptation {
    /// The time base starts anew here.
    pub discontinuity: bool,
    /// Decoding can start here.
    pub random_access: bool,
    /// `elementary_stream_priority_indicator`.
    pub priority: bool,
    /// Program clock reference in ticks of 90 kHz; the 27 MHz part is 0.
    pub pcr: Option<i64>,
}

impl Adaptation {
    fn flags(&self) -> u8 {
        u8::from(self.discontinuity) << 7
            | u8::from(self.random_access) << 6
            | u8::from(self.priority) << 5
            | u8::from(self.pcr.is_some()) << 4
    }

    /// Bytes of the field without stuffing; 0 if it can be left out.
    fn len(&self) -> usize {
        match (self.pcr, self.flags()) {
            (Some(_), _) => 8,
            (None, 0) => 0,
            (None, _) => 2,
        }
    }

    /// Packets for `len` bytes, the first of which has this field.
    pub fn packets(&self, len: usize) -> usize {
        1 + len.saturating_sub(BODY_LEN - self.len()).div_ceil(BODY_LEN)
    }

    /// Writes the field in `len` bytes, stuffing included (2.4.3.5). 0 is no field.
    fn put(&self, len: usize, out: &mut BytesMut) {
        let Some(length) = len.checked_sub(1) else { return };
        // At most 183.
        out.put_u8(length as u8);
        if length == 0 {
            return;
        }
        out.put_u8(self.flags());
        let mut written = 2;
        if let Some(pcr) = self.pcr {
            // 33 bits, 6 reserved ones, 9 bits of the 27 MHz part.
            let field = wrap(pcr) << 15 | 0x7e00;
            out.put_slice(&field.to_be_bytes()[2..]);
            written += 6;
        }
        out.put_bytes(0xff, len.saturating_sub(written));
    }
}

/// The 33 bits of a time that are carried.
pub(super) fn wrap(ticks: i64) -> u64 {
    ticks.rem_euclid(1 << 33) as u64
}

/// A packet with an adaptation field alone. Its counter is that of the packet before (2.4.3.3).
pub(super) fn put_adaptation_alone(pid: u16, counter: u8, adaptation: &Adaptation, out: &mut BytesMut) {
    out.put_u8(SYNC);
    out.put_u16(pid);
    out.put_u8(0x20 | counter);
    adaptation.put(BODY_LEN, out);
}

/// Writes packets of one PID for `left` bytes, which have to come.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    pid: u16,
    /// `continuity_counter` of the next packet.
    counter: &'a mut u8,
    /// Of the first packet; `None` once that is written.
    first: Option<Adaptation>,
    left: usize,
    /// Bytes that go into the packet that was begun.
    room: usize,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut BytesMut, pid: u16, counter: &'a mut u8, first: Adaptation, left: usize) -> Self {
        Self {
            out,
            pid,
            counter,
            first: Some(first),
            left,
            room: 0,
        }
    }

    fn begin(&mut self) {
        let (first, start) = match self.first.take() {
            Some(first) => (first, 0x4000),
            None => (Adaptation::default(), 0),
        };
        self.room = self.left.min(BODY_LEN - first.len());
        let field = BODY_LEN - self.room;
        self.out.put_u8(SYNC);
        self.out.put_u16(start | self.pid);
        let control = if field == 0 { 0x10 } else { 0x30 };
        self.out.put_u8(control | *self.counter);
        *self.counter = (*self.counter + 1) & 0xf;
        first.put(field, self.out);
    }
}

impl Sink for Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.room == 0 {
                self.begin();
            }
            let Some((now, next)) = rest.split_at_checked(self.room.min(rest.len())) else {
                return;
            };
            self.out.put_slice(now);
            self.room -= now.len();
            self.left = self.left.saturating_sub(now.len());
            rest = next;
        }
    }
}

/// A packet that was received. Validated once, so that the accessors cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub pid: u16,
    /// `payload_unit_start_indicator`.
    pub starts: bool,
    /// `transport_scrambling_control` is not 0.
    pub scrambled: bool,
    /// `continuity_counter`.
    pub counter: u8,
    /// `discontinuity_indicator`.
    pub discontinuity: bool,
    /// `random_access_indicator`.
    pub random_access: bool,
    /// `None` in a packet with an adaptation field alone.
    pub payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` if it is marked as damaged or cannot be one.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (&[sync, high, low, control], body) = packet.split_first_chunk::<HEADER_LEN>()?;
        if sync != SYNC || high & 0x80 != 0 || body.len() != BODY_LEN {
            return None;
        }
        let (mut flags, mut payload) = (0, body);
        if control & 0x20 != 0 {
            let (len, rest) = body.split_first()?;
            let (field, rest) = rest.split_at_checked(usize::from(*len))?;
            flags = field.first().copied().unwrap_or(0);
            payload = rest;
        }
        let has_payload = control & 0x10 != 0;
        Some(Self {
            pid: u16::from_be_bytes([high & 0x1f, low]),
            starts: high & 0x40 != 0,
            scrambled: control & 0xc0 != 0,
            counter: control & 0xf,
            discontinuity: flags & 0x80 != 0,
            random_access: flags & 0x40 != 0,
            payload: has_payload.then_some(payload),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(len: usize, first: Adaptation) -> BytesMut {
        let (mut out, mut counter) = (BytesMut::new(), 14);
        let mut writer = Writer::new(&mut out, 0x101, &mut counter, first, len);
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        bytes.chunks(7).for_each(|chunk| writer.put(chunk));
        out
    }

    #[test]
    fn stuffing_of_one_and_two_bytes() {
        let one = write(183, Adaptation::default());
        assert_eq!(one[..7], [0x47, 0x41, 0x01, 0x3e, 0, 0, 1]);
        let two = write(182, Adaptation::default());
        assert_eq!(two[..8], [0x47, 0x41, 0x01, 0x3e, 1, 0, 0, 1]);
        let three = write(181, Adaptation::default());
        assert_eq!(three[..8], [0x47, 0x41, 0x01, 0x3e, 2, 0, 0xff, 0]);
        let none = write(184, Adaptation::default());
        assert_eq!(none[..6], [0x47, 0x41, 0x01, 0x1e, 0, 1]);
    }

    #[test]
    fn a_clock_reference_fills_six_bytes() {
        let first = Adaptation {
            random_access: true,
            pcr: Some(0x1_2345_6789),
            ..Adaptation::default()
        };
        let packet = write(176, first);
        assert_eq!(
            packet[..12],
            [0x47, 0x41, 0x01, 0x3e, 7, 0x50, 0x91, 0xa2, 0xb3, 0xc4, 0xfe, 0]
        );
        let mut out = BytesMut::new();
        put_adaptation_alone(0x101, 3, &first, &mut out);
        assert_eq!(out[..6], [0x47, 0x01, 0x01, 0x23, 183, 0x50]);
        assert_eq!((out.len(), out[187]), (PACKET_LEN, 0xff));
        // One tick below zero is the highest number.
        assert_eq!((wrap(-1), wrap(1 << 33)), (0x1_ffff_ffff, 0));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(len in 1usize..1200, discontinuity: bool, random_access: bool, pcr in proptest::option::of(any::<i64>())) {
            let first = Adaptation { discontinuity, random_access, priority: false, pcr };
            let out = write(len, first);
            prop_assert_eq!(out.len(), first.packets(len) * PACKET_LEN);
            let mut payload = Vec::new();
            for (nth, bytes) in out.chunks(PACKET_LEN).enumerate() {
                let packet = Packet::parse(bytes).unwrap();
                prop_assert_eq!((packet.pid, packet.starts, packet.scrambled), (0x101, nth == 0, false));
                prop_assert_eq!(usize::from(packet.counter), (14 + nth) % 16);
                prop_assert_eq!((packet.discontinuity, packet.random_access), (nth == 0 && discontinuity, nth == 0 && random_access));
                payload.extend_from_slice(packet.payload.unwrap());
            }
            prop_assert_eq!(payload, (0..len).map(|at| at as u8).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_can_be_parsed(mut bytes in proptest::collection::vec(any::<u8>(), PACKET_LEN)) {
            bytes[0] = SYNC;
            let _ = Packet::parse(&bytes);
        }
    }
}
