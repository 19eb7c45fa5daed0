//! VP8 (RFC 7741).
//!
//! A packet holds a descriptor and a piece of one frame. The descriptor (section 4.2):
//!
//! ```text
//!      0 1 2 3 4 5 6 7
//!     +-+-+-+-+-+-+-+-+
//!     |X|R|N|S|R| PID |  S: a partition starts, PID: which; S with PID 0 starts a frame
//!     +-+-+-+-+-+-+-+-+
//! X:  |I|L|T|K|  RSV  |
//!     +-+-+-+-+-+-+-+-+
//! I:  |M| PictureID   |  with M another byte
//!     +-+-+-+-+-+-+-+-+
//! L:  |   TL0PICIDX   |
//!     +-+-+-+-+-+-+-+-+
//! T/K:|TID|Y| KEYIDX  |
//!     +-+-+-+-+-+-+-+-+
//! ```

use super::{Error, Input, MAX_UNIT_LEN, Sink, State, Unit, bound};
use bytes::Bytes;

/// Puts frames together. A unit is one frame.
#[derive(Debug, Default)]
pub struct Unpacker {
    state: State,
    /// Of the packet before.
    timestamp: i64,
    /// The frame so far. At most [`MAX_UNIT_LEN`].
    data: Vec<u8>,
}

impl Unpacker {
    /// Before the first packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet. Frames that end with it, or ended before it, are appended to `out`.
    ///
    /// # Errors
    ///
    /// The packet is malformed, makes the frame longer than [`MAX_UNIT_LEN`], or is the first of a frame that lacks its beginning.
    /// The frame it belongs to is dropped.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        let result = self.take(input, out);
        if result.is_err() {
            self.skip();
        }
        if input.marker {
            self.flush(out);
        }
        result
    }

    /// Ends the frame at hand, for nothing follows. Not to be called if packets are missing after the last one: a frame without
    /// its end looks like one from a sender that sets no marker.
    pub fn flush(&mut self, out: &mut Vec<Unit>) {
        if self.state == State::Taking && !self.data.is_empty() {
            out.push(Unit {
                timestamp: self.timestamp,
                data: Bytes::copy_from_slice(&self.data),
            });
        }
        self.data.clear();
        self.state = State::Between;
    }

    /// Nothing is held, or what comes is thrown away until the next one begins.
    pub(super) fn is_idle(&self) -> bool {
        self.state != State::Taking
    }

    fn take(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if input.gap && self.state == State::Taking {
            // What is missing may be its end.
            self.skip();
        }
        if input.timestamp != self.timestamp {
            self.flush(out);
            self.timestamp = input.timestamp;
        }
        let (descriptor, piece) = Descriptor::parse(input.payload)?;
        if descriptor.starts_frame {
            // Ends a frame that came without marker.
            self.flush(out);
            self.state = State::Taking;
        }
        match self.state {
            State::Between => return Err(Error::Orphan),
            State::Skipping => return Ok(()),
            State::Taking => {}
        }
        let len = self.data.len() + piece.len();
        bound("bytes", len, MAX_UNIT_LEN)?;
        self.data.extend_from_slice(piece);
        Ok(())
    }

    fn skip(&mut self) {
        self.data.clear();
        self.state = State::Skipping;
    }
}

/// What is needed of a descriptor.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    starts_frame: bool,
}

impl Descriptor {
    /// The descriptor, and what follows it.
    fn parse(payload: &[u8]) -> Result<(Self, &[u8]), Error> {
        let byte = |at: usize| {
            payload.get(at).copied().ok_or(Error::Truncated {
                what: "VP8 payload descriptor",
                need: at + 1,
                got: payload.len(),
            })
        };
        let first = byte(0)?;
        let mut len = 1;
        if first & X != 0 {
            let present = byte(1)?;
            len = 2;
            if present & I != 0 {
                len += if byte(len)? & M != 0 { 2 } else { 1 };
            }
            len += usize::from(present & L != 0);
            len += usize::from(present & (T | K) != 0);
            byte(len - 1)?;
        }
        let descriptor = Self {
            starts_frame: first & S != 0 && first & PID == 0,
        };
        Ok((descriptor, &payload[len..]))
    }
}

/// Cuts frames into packets. Partitions are not told apart: all of a frame counts as the first one, which section 4.4 allows.
#[derive(Debug)]
pub struct Packer {
    picture_id: u16,
}

impl Packer {
    /// `first_picture_id` should be random (section 4.2); its low 15 bits count.
    pub fn new(first_picture_id: u16) -> Self {
        Self {
            picture_id: first_picture_id,
        }
    }

    /// Hands the packets of a frame to `sink`. None, if it is empty.
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let [id_high, id_low] = (self.picture_id | LONG_ID).to_be_bytes();
        self.picture_id = self.picture_id.wrapping_add(1);
        let room = sink.max_payload().saturating_sub(HEAD_LEN).max(1);
        let mut pieces = frame.data.chunks(room).enumerate().peekable();
        while let Some((index, piece)) = pieces.next() {
            // N stays 0: whether others refer to the frame is not known.
            let start = if index == 0 { S } else { 0 };
            let head: [u8; HEAD_LEN] = [X | start, I, id_high, id_low];
            sink.packet(pieces.peek().is_none(), 0, &[&head, piece]);
        }
    }
}

/// Bytes of the descriptors that are written.
const HEAD_LEN: usize = 4;
/// M: a picture id of 15 bits.
const LONG_ID: u16 = 0x8000;

const X: u8 = 0x80;
const S: u8 = 0x10;
const PID: u8 = 0x07;
const I: u8 = 0x80;
const L: u8 = 0x40;
const T: u8 = 0x20;
const K: u8 = 0x10;
const M: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::testing::{self, Sent, captured, hostile_packets, losses, without_lost};
    use proptest::prelude::*;

    /// The packets of frames that are 3000 ticks apart.
    fn pack(frames: &[Vec<u8>], max: usize) -> Vec<Sent> {
        let mut packer = Packer::new(0x7fff);
        let frames = frames.iter().map(|data| (false, &data[..]));
        testing::pack(frames, max, |frame, sink| packer.pack(frame, sink))
    }

    fn unpack(packets: &[Sent], lost: impl Fn(usize) -> bool) -> Vec<Unit> {
        let mut unpacker = Unpacker::new();
        let (mut units, whole) = testing::unpack(packets, lost, |input, out| unpacker.push(input, out));
        if whole {
            unpacker.flush(&mut units);
        }
        units
    }

    fn units(frames: &[Vec<u8>]) -> Vec<Unit> {
        testing::units(frames.iter().map(|data| &data[..]))
    }

    fn push(
        unpacker: &mut Unpacker,
        payload: &[u8],
        marker: bool,
        timestamp: i64,
        gap: bool,
    ) -> Result<Vec<Unit>, Error> {
        testing::one(payload, marker, timestamp, gap, |input, out| {
            unpacker.push(input, out)
        })
    }

    /// Payloads of FFmpeg 5.1 (`libvpx`, 16x16, `pkt_size=72`): a key frame in two packets, an inter frame in one.
    const CAPTURE: [(bool, i64, &[u8]); 3] = [
        (
            false,
            0,
            &[
                0x90, 0x80, 0x80, 0x00, 0x30, 0x03, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00, 0x08,
                0x47, 0x08, 0x85, 0x85, 0x88, 0x85, 0x84, 0x88, 0x3b, 0x02, 0x02, 0x75, 0x37, 0xff, 0x87,
                0xe6, 0x01, 0x32, 0x18, 0x9a, 0x0e, 0xc5, 0x2c, 0x00, 0xfe, 0x39, 0xc7, 0x1e, 0x21, 0xe9,
                0xd0, 0x81, 0x48, 0x4e, 0xde, 0xcb, 0x91, 0x42, 0xe2, 0xfb, 0xf1, 0xf7, 0x7d, 0x91, 0xdc,
            ],
        ),
        (
            true,
            0,
            &[
                0x80, 0x80, 0x80, 0x00, 0xb2, 0xcb, 0xc3, 0xc7, 0x33, 0x7a, 0xcd, 0x12, 0x3c, 0x4f, 0x14,
                0x40, 0x95, 0xe7, 0x82, 0x40, 0x30, 0x88, 0x4f, 0xda, 0xad, 0xaa, 0x14, 0x00,
            ],
        ),
        (
            true,
            3600,
            &[
                0x90, 0x80, 0x80, 0x01, 0xd1, 0x01, 0x00, 0x21, 0x11, 0xd8, 0x00, 0x18, 0x00, 0x18, 0x58,
                0x2f, 0xf4, 0x02, 0x90, 0x54, 0x00, 0x00,
            ],
        ),
    ];

    #[test]
    fn packets_of_ffmpeg_are_put_together() {
        let packets = captured(&CAPTURE);
        let units = unpack(&packets, |_| false);
        assert_eq!(units.len(), 2);
        let size = media::codec::vp8::params(&units[0].data).unwrap();
        assert_eq!((size.width, size.height), (16, 16));
        assert_eq!(units[0].data, [&CAPTURE[0].2[4..], &CAPTURE[1].2[4..]].concat());
        assert_eq!(
            (units[1].timestamp, &units[1].data[..]),
            (3600, &CAPTURE[2].2[4..])
        );
    }

    #[test]
    fn every_form_of_the_descriptor_is_read() {
        // RFC 7741, section 4.2.
        let forms: [&[u8]; 8] = [
            &[0x90, 0x80, 0x11],
            &[0x10],
            &[0x90, 0x80, 0x92, 0x34],
            &[0x90, 0x00],
            &[0x90, 0xc0, 0x11, 7],
            &[0x90, 0xe0, 0x80, 1, 7, 0x40],
            &[0x90, 0x10, 0x1f],
            &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff],
        ];
        for form in forms {
            let packet = [form, b"frame"].concat();
            let units = push(&mut Unpacker::new(), &packet, true, 5, false).unwrap();
            assert_eq!(units[0].data, &b"frame"[..], "{form:02x?}");
            for cut in 0..form.len() {
                let error = push(&mut Unpacker::new(), &form[..cut], true, 5, false).unwrap_err();
                assert!(
                    matches!(error, Error::Truncated { .. }),
                    "{form:02x?} cut to {cut}"
                );
            }
        }
    }

    #[test]
    fn a_frame_without_marker_ends_with_its_timestamp() {
        let mut unpacker = Unpacker::new();
        assert_eq!(push(&mut unpacker, b"\x10ab", false, 1, false), Ok(vec![]));
        assert_eq!(push(&mut unpacker, b"\x00cd", false, 1, false), Ok(vec![]));
        let units = push(&mut unpacker, b"\x10ef", false, 2, false).unwrap();
        assert_eq!((units[0].timestamp, &units[0].data[..]), (1, &b"abcd"[..]));
        // After a gap the end of the frame may be missing.
        assert_eq!(push(&mut unpacker, b"\x10gh", false, 3, true), Ok(vec![]));
        let mut out = Vec::new();
        unpacker.flush(&mut out);
        assert_eq!(out[0].data, &b"gh"[..]);
    }

    #[test]
    fn a_frame_without_beginning_is_an_error_once() {
        let mut unpacker = Unpacker::new();
        assert_eq!(
            push(&mut unpacker, b"\x00ab", false, 1, false),
            Err(Error::Orphan)
        );
        // The start of a partition other than the first starts no frame.
        assert_eq!(push(&mut unpacker, b"\x11ab", false, 1, false), Ok(vec![]));
        assert_eq!(push(&mut unpacker, b"\x00ab", true, 1, false), Ok(vec![]));
        assert_eq!(push(&mut unpacker, b"\x10ab", true, 2, false).unwrap().len(), 1);
    }

    #[test]
    fn a_frame_that_never_ends_is_dropped() {
        let mut unpacker = Unpacker::new();
        let piece = vec![0; 1 << 20];
        push(&mut unpacker, &[&[0x10], &piece[..]].concat(), false, 1, false).unwrap();
        let more = [&[0], &piece[..]].concat();
        let errors = (0..40).filter(|_| push(&mut unpacker, &more, false, 1, false).is_err());
        assert_eq!(errors.count(), 1);
        assert!(unpacker.data.is_empty());
    }

    #[test]
    fn picture_ids_count_frames_and_wrap() {
        let packets = pack(&[vec![1; 200], vec![2]], 104);
        let heads: Vec<&[u8]> = packets.iter().map(|sent| &sent.payload[..4]).collect();
        assert_eq!(
            heads,
            [
                &[0x90, 0x80, 0xff, 0xff],
                &[0x80, 0x80, 0xff, 0xff],
                &[0x90, 0x80, 0x80, 0x00]
            ]
        );
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let frame = (1usize..20_000, any::<u8>())
            .prop_map(|(len, seed)| (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect());
        proptest::collection::vec(frame, 1..6)
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(frames in frames(), max in 100usize..1500) {
            prop_assert_eq!(unpack(&pack(&frames, max), |_| false), units(&frames));
        }

        #[test]
        fn loss_leaves_whole_frames_only(frames in frames(), max in 100usize..1500, lost in losses()) {
            let packets = pack(&frames, max);
            let lost: Vec<_> = lost.iter().map(|index| index.index(packets.len())).collect();
            let expected = without_lost(units(&frames), &packets, &lost);
            prop_assert_eq!(unpack(&packets, |index| lost.contains(&index)), expected);
        }

        #[test]
        fn any_packets_can_be_unpacked(packets in hostile_packets(any::<u8>(), 12), lost in any::<u16>()) {
            let len: usize = packets.iter().map(|sent| sent.payload.len()).sum();
            let units = unpack(&packets, |index| lost >> index & 1 != 0);
            prop_assert!(units.iter().map(|unit| unit.data.len()).sum::<usize>() <= len);
        }
    }
}
