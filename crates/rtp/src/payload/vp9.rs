//! VP9 (RFC 9628).
//!
//! A packet holds a descriptor and a piece of one layer frame: of the frame of one spatial layer of a picture. The descriptor
//! (section 4.2):
//!
//! ```text
//!      0 1 2 3 4 5 6 7
//!     +-+-+-+-+-+-+-+-+
//!     |I|P|L|F|B|E|V|Z|  P: predicted from other pictures, F: flexible mode, B, E: begin and end of a layer frame
//!     +-+-+-+-+-+-+-+-+
//! I:  |M| PICTURE ID  |  with M another byte
//!     +-+-+-+-+-+-+-+-+
//! L:  | TID |U| SID |D|  SID: spatial layer
//!     +-+-+-+-+-+-+-+-+
//!     |   TL0PICIDX   |  with L, without F
//!     +-+-+-+-+-+-+-+-+
//! P,F:| P_DIFF      |N|  up to 3, as long as N is set
//!     +-+-+-+-+-+-+-+-+
//! V:  | N_S |Y|G|-|-|-|  scalability structure: N_S + 1 sizes if Y, a picture group if G
//!     +-+-+-+-+-+-+-+-+
//! ```

use super::{Error, Input, MAX_UNIT_LEN, Sink, State, Unit, bound};
use bytes::Bytes;
use media::codec::vp9::Header;
use smallvec::SmallVec;

/// Puts pictures together. A unit is what a decoder takes at once: the layer frame, or all layer frames of a picture and behind
/// them the superframe index that tells them apart (VP9 bitstream specification, annex B).
#[derive(Debug, Default)]
pub struct Unpacker {
    state: State,
    /// Of the packet before.
    timestamp: i64,
    /// The layer frames so far. At most [`MAX_UNIT_LEN`] with the index.
    data: Vec<u8>,
    /// Where in `data` layer frames begin. At most [`MAX_LAYERS`].
    begins: SmallVec<[usize; MAX_LAYERS]>,
    /// The last packet had E.
    ended: bool,
}

impl Unpacker {
    /// Before the first packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet. Pictures that end with it, or ended before it, are appended to `out`.
    ///
    /// # Errors
    ///
    /// The packet is malformed, makes the picture larger than [`MAX_UNIT_LEN`] or gives it more layer frames than a superframe can
    /// have, 8, or is the first of a picture that lacks its beginning. The picture it belongs to is dropped.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        let result = self.take(input, out);
        if result.is_err() {
            self.skip();
        }
        if input.marker {
            self.finish(out);
        }
        result
    }

    /// Ends the picture at hand, for nothing follows. It is dropped if the end of its last layer frame has not come.
    pub fn flush(&mut self, out: &mut Vec<Unit>) {
        if !self.ended {
            self.clear();
        }
        self.finish(out);
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
            self.finish(out);
            self.timestamp = input.timestamp;
        } else if input.gap && self.state == State::Between {
            // After the end of a picture comes another time, so this is no beginning.
            self.state = State::Skipping;
        }
        if self.state == State::Skipping {
            return Ok(());
        }
        let (descriptor, piece) = Descriptor::parse(input.payload)?;
        if self.state == State::Between {
            // A gap may have swallowed the layers below.
            if !descriptor.begin || input.gap && descriptor.spatial_layer > 0 {
                return Err(Error::Orphan);
            }
            self.state = State::Taking;
        }
        let len = self.data.len() + piece.len();
        bound("bytes", len + MAX_INDEX_LEN, MAX_UNIT_LEN)?;
        // A layer frame without bytes has no place in an index.
        if descriptor.begin && self.begins.last() != Some(&self.data.len()) {
            if self.begins.len() == MAX_LAYERS {
                return Err(Error::TooBig {
                    what: "layer frames",
                    got: MAX_LAYERS + 1,
                    max: MAX_LAYERS,
                });
            }
            self.begins.push(self.data.len());
        }
        self.data.extend_from_slice(piece);
        self.ended = descriptor.end;
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Unit>) {
        if self.state == State::Taking && !self.data.is_empty() {
            self.add_index();
            out.push(Unit {
                timestamp: self.timestamp,
                data: Bytes::copy_from_slice(&self.data),
            });
        }
        self.clear();
        self.state = State::Between;
    }

    /// Appends the superframe index, if there are several layer frames.
    fn add_index(&mut self) {
        let end = self.data.len();
        if self.begins.last() == Some(&end) {
            self.begins.pop();
        }
        if self.begins.len() < 2 {
            return;
        }
        let ends = self.begins.iter().skip(1).copied().chain([end]);
        let sizes: SmallVec<[usize; MAX_LAYERS]> = self
            .begins
            .iter()
            .zip(ends)
            .map(|(begin, end)| end - begin)
            .collect();
        let size_len = (1..SIZE_LEN_MAX)
            .find(|len| sizes.iter().all(|size| size >> (len * 8) == 0))
            .unwrap_or(SIZE_LEN_MAX);
        let header = SUPERFRAME_MARKER | ((size_len - 1) as u8) << 3 | (sizes.len() - 1) as u8;
        self.data.push(header);
        for size in sizes {
            self.data.extend_from_slice(&size.to_le_bytes()[..size_len]);
        }
        self.data.push(header);
    }

    fn skip(&mut self) {
        self.clear();
        self.state = State::Skipping;
    }

    fn clear(&mut self) {
        self.data.clear();
        self.begins.clear();
        self.ended = false;
    }
}

/// What is needed of a descriptor.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    begin: bool,
    end: bool,
    spatial_layer: u8,
}

impl Descriptor {
    /// The descriptor, and what follows it.
    fn parse(payload: &[u8]) -> Result<(Self, &[u8]), Error> {
        let byte = |at: usize| {
            payload.get(at).copied().ok_or(Error::Truncated {
                what: "VP9 payload descriptor",
                need: at + 1,
                got: payload.len(),
            })
        };
        let first = byte(0)?;
        let mut len = 1;
        if first & I != 0 {
            len += if byte(len)? & M != 0 { 2 } else { 1 };
        }
        let mut spatial_layer = 0;
        if first & L != 0 {
            spatial_layer = byte(len)? >> 1 & 7;
            len += if first & F == 0 { 2 } else { 1 };
        }
        if first & P != 0 && first & F != 0 {
            let more = |at: usize| byte(at).map(|diff| diff & 1 != 0);
            let mut diffs = 1;
            while more(len + diffs - 1)? {
                diffs += 1;
                if diffs > MAX_DIFFS {
                    return Err(Error::Value {
                        what: "number of P_DIFF",
                        got: diffs as u64,
                        allowed: "at most 3 (RFC 9628, section 4.2)",
                    });
                }
            }
            len += diffs;
        }
        if first & V != 0 {
            let structure = byte(len)?;
            len += 1;
            if structure & STRUCTURE_Y != 0 {
                len += (usize::from(structure >> 5) + 1) * 4;
            }
            if structure & STRUCTURE_G != 0 {
                let pictures = byte(len)?;
                len += 1;
                for _ in 0..pictures {
                    let references = usize::from(byte(len)? >> 2 & 3);
                    len += 1 + references;
                }
            }
        }
        byte(len - 1)?;
        let descriptor = Self {
            begin: first & B != 0,
            end: first & E != 0,
            spatial_layer,
        };
        Ok((descriptor, &payload[len..]))
    }
}

/// Cuts pictures into packets: in non-flexible mode, as one layer.
///
/// Without layer indices, for FFmpeg up to 9.0 takes TL0PICIDX for the first byte of the frame (observed). libwebrtc drops pictures
/// of this mode that have none (read in source).
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

    /// Hands the packets of a picture to `sink`. None, if it is empty.
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let [id_high, id_low] = (self.picture_id | LONG_ID).to_be_bytes();
        let head: [u8; HEAD_LEN] = [I, id_high, id_low];
        self.picture_id = self.picture_id.wrapping_add(1);

        let header = Header::parse(&frame.data);
        let predicted = match header {
            Ok(Header::Inter) => P,
            Ok(Header::Key(_)) => 0,
            Err(_) if frame.key => 0,
            Err(_) => P,
        };
        let structure = match header {
            Ok(Header::Key(key)) => structure(key.width, key.height),
            _ => None,
        };
        let structure = structure.as_ref().map_or(&[][..], |structure| structure);
        let with_structure = if structure.is_empty() { 0 } else { V };

        let room = sink.max_payload().saturating_sub(HEAD_LEN);
        let mut rest = &frame.data[..];
        let mut begin = true;
        while !rest.is_empty() {
            let structure = if begin { structure } else { &[] };
            let room = room.saturating_sub(structure.len()).max(1);
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            let end = behind.is_empty();
            let mut head = head;
            head[0] |= predicted | if begin { B | with_structure } else { 0 } | if end { E } else { 0 };
            sink.packet(end, 0, &[&head, structure, piece]);
            rest = behind;
            begin = false;
        }
    }
}

/// A scalability structure of one layer. Sizes from 65536 on do not fit.
fn structure(width: u32, height: u32) -> Option<[u8; 5]> {
    let ([w0, w1], [h0, h1]) = (
        u16::try_from(width).ok()?.to_be_bytes(),
        u16::try_from(height).ok()?.to_be_bytes(),
    );
    Some([STRUCTURE_Y, w0, w1, h0, h1])
}

/// Frames of a superframe (annex B), and spatial layers of a picture (3 bits).
const MAX_LAYERS: usize = 8;
/// First bits of a superframe index.
const SUPERFRAME_MARKER: u8 = 0b1100_0000;
/// Most bytes of a size in it.
const SIZE_LEN_MAX: usize = 4;
const MAX_INDEX_LEN: usize = 2 + MAX_LAYERS * SIZE_LEN_MAX;

/// Bytes of the descriptors that are written, without structure.
const HEAD_LEN: usize = 3;
/// M: a picture id of 15 bits.
const LONG_ID: u16 = 0x8000;
const MAX_DIFFS: usize = 3;

const I: u8 = 0x80;
const P: u8 = 0x40;
const L: u8 = 0x20;
const F: u8 = 0x10;
const B: u8 = 0x08;
const E: u8 = 0x04;
const V: u8 = 0x02;
const M: u8 = 0x80;
/// Sizes in a scalability structure.
const STRUCTURE_Y: u8 = 0x10;
/// A picture group in a scalability structure.
const STRUCTURE_G: u8 = 0x08;

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

    /// Packets of pictures of several layers, by hand: no picture id, sizes of pieces up to `max`.
    fn pack_layers(pictures: &[Vec<Vec<u8>>], max: usize) -> Vec<Sent> {
        let mut packets = Vec::new();
        for (index, layers) in pictures.iter().enumerate() {
            for (spatial, layer) in layers.iter().enumerate() {
                let mut pieces = layer.chunks(max).enumerate().peekable();
                while let Some((at, piece)) = pieces.next() {
                    let end = pieces.peek().is_none();
                    let flags = if at == 0 { B } else { 0 } | if end { E } else { 0 };
                    let payload = [&[L | flags, (spatial as u8) << 1, 0], piece].concat();
                    let marker = end && spatial + 1 == layers.len();
                    packets.push(Sent {
                        timestamp: index as i64 * 3000,
                        marker,
                        payload: payload.into(),
                    });
                }
            }
        }
        packets
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

    /// Reads a superframe (annex B): its frames.
    fn split(superframe: &[u8]) -> Vec<&[u8]> {
        let header = *superframe.last().unwrap();
        assert_eq!(header & 0xe0, 0xc0);
        let (size_len, count) = (usize::from(header >> 3 & 3) + 1, usize::from(header & 7) + 1);
        let (mut frames, index) = superframe.split_at(superframe.len() - 2 - size_len * count);
        assert_eq!(index[0], header);
        let mut all = Vec::new();
        for size in index[1..index.len() - 1].chunks(size_len) {
            let size = size
                .iter()
                .rev()
                .fold(0, |size, byte| size << 8 | usize::from(*byte));
            let (frame, behind) = frames.split_at(size);
            all.push(frame);
            frames = behind;
        }
        assert!(frames.is_empty());
        all
    }

    /// Payloads of FFmpeg 5.1 (`libvpx-vp9`, 16x16, `pkt_size=112`): a key frame in three packets, an inter frame in one.
    const CAPTURE: [(bool, i64, &[u8]); 4] = [
        (
            false,
            0,
            &[
                0x08, 0xa2, 0x49, 0x83, 0x42, 0xe0, 0x00, 0xf0, 0x00, 0xf6, 0x08, 0x38, 0x24, 0x1c, 0x19,
                0x40, 0x00, 0x00, 0x20, 0x20, 0x00, 0x74, 0x1e, 0x6f, 0xeb, 0xaf, 0x15, 0x2f, 0x7a, 0x18,
                0x1f, 0xd3, 0xba, 0x80, 0xba, 0x61, 0xf9, 0xbe, 0x93, 0x8b, 0x8d, 0x79, 0xa5, 0x5f, 0x61,
                0x05, 0xf5, 0xff, 0xfc, 0x99, 0xee, 0x36, 0xb3, 0x55, 0x0a, 0x73, 0xcf, 0x3f, 0xf6, 0x9d,
                0xf3, 0x4e, 0xb4, 0xdc, 0x45, 0x92, 0x07, 0x47, 0x22, 0x5f, 0x5f, 0x20, 0xe1, 0xff, 0xdc,
                0x36, 0x92, 0x84, 0x70, 0x6e, 0x26, 0x8a, 0xf0, 0xee, 0x99, 0xfa, 0xaa, 0x70, 0x4a, 0x6f,
                0xdf, 0xf7, 0x48, 0x38, 0x51, 0x67, 0xc0, 0x28, 0x47, 0xd4,
            ],
        ),
        (
            false,
            0,
            &[
                0x00, 0xe4, 0x53, 0x9b, 0x79, 0xeb, 0x96, 0xac, 0xfe, 0x1e, 0x7f, 0x63, 0xb8, 0x10, 0xef,
                0x35, 0x1a, 0x8d, 0x7d, 0x32, 0x6e, 0x17, 0x63, 0x9d, 0xa2, 0xdf, 0x66, 0x4e, 0xf7, 0x90,
                0xfd, 0xc8, 0x89, 0x65, 0x7b, 0x31, 0xf2, 0x4f, 0x58, 0x0e, 0x2d, 0xdb, 0xb8, 0x8b, 0xa0,
                0xf9, 0xc7, 0xc7, 0xd7, 0xfa, 0xca, 0x55, 0x35, 0x94, 0x2b, 0xc3, 0xde, 0xba, 0x3c, 0x05,
                0xac, 0x0e, 0xa9, 0x0f, 0x9a, 0x9c, 0xba, 0x8c, 0xcc, 0x88, 0x3f, 0xd6, 0x14, 0x11, 0x1d,
                0x5d, 0x94, 0xeb, 0x0c, 0x4e, 0xbc, 0xc9, 0x1b, 0xee, 0x23, 0x8b, 0xbc, 0xc3, 0x75, 0xa6,
                0xbb, 0x0f, 0xcf, 0xff, 0xa0, 0x69, 0xc9, 0x5a, 0x27, 0xdb,
            ],
        ),
        (
            true,
            0,
            &[
                0x04, 0x54, 0x39, 0xec, 0x85, 0x20, 0x39, 0x29, 0xff, 0xff, 0x41, 0xd7, 0xbc, 0x3f, 0x56,
                0x20, 0xe8, 0x8f, 0x53, 0xff, 0xd5, 0xef, 0x6f, 0x2f, 0x50, 0x03, 0x2d, 0x5d, 0x97, 0x47,
                0x9f, 0x05, 0xb0, 0xc9, 0x29, 0x46, 0x65, 0xf8, 0x57, 0xff, 0xda, 0xb9, 0x43, 0x31, 0xa7,
                0xff, 0x3c, 0x13, 0xe1, 0xd3, 0xc5, 0x7c, 0x14, 0xbf, 0xcd, 0xcc, 0x16, 0xbf, 0x1f, 0x9b,
                0x26, 0x9c, 0xa1, 0x24, 0xd8, 0xe6, 0x5d, 0x17, 0x5a, 0x34, 0x7d, 0x10,
            ],
        ),
        (
            true,
            3600,
            &[
                0x0c, 0xa6, 0x00, 0x40, 0x92, 0x9c, 0x10, 0x54, 0x00, 0x00, 0x03, 0x20, 0x00, 0x00, 0x42,
                0x40,
            ],
        ),
    ];

    #[test]
    fn packets_of_ffmpeg_are_put_together() {
        let packets = captured(&CAPTURE);
        let units = unpack(&packets, |_| false);
        assert_eq!(units.len(), 2);
        let Ok(Header::Key(key)) = Header::parse(&units[0].data) else {
            panic!("key frame expected")
        };
        assert_eq!((key.width, key.height), (16, 16));
        let whole = [&CAPTURE[0].2[1..], &CAPTURE[1].2[1..], &CAPTURE[2].2[1..]].concat();
        assert_eq!(units[0].data, whole);
        assert_eq!(
            (units[1].timestamp, &units[1].data[..]),
            (3600, &CAPTURE[3].2[1..])
        );
    }

    #[test]
    fn every_form_of_the_descriptor_is_read() {
        // RFC 9628, sections 4.2 and 4.2.1.
        let forms: [&[u8]; 10] = [
            &[B | E],
            &[I | B | E, 0x11],
            &[I | B | E, 0x92, 0x34],
            &[I | P | L | B | E, 0x11, 0x20, 7],           // not flexible
            &[I | L | F | B | E, 0x11, 0x20],              // flexible, not predicted
            &[I | P | F | B | E, 0x11, 2 << 1],            // one difference
            &[I | P | L | F | B | E, 0x80, 1, 0, 3, 5, 6], // three
            &[B | E | V, 0x00],                            // nothing in the structure
            &[B | E | V | 1, 0x30, 0, 160, 0, 90, 1, 64, 0, 180], // two sizes
            &[
                I | B | E | V,
                5,
                0x18,
                0,
                160,
                0,
                90,
                3,
                0x00,
                0x34,
                1,
                0x2c,
                1,
                2,
                3,
            ], // size and a group of three pictures
        ];
        for form in forms {
            let packet = [form, b"frame"].concat();
            let result = push(&mut Unpacker::new(), &packet, true, 5, false);
            assert_eq!(result.unwrap()[0].data, &b"frame"[..], "{form:02x?}");
            for cut in 0..form.len() {
                let error = push(&mut Unpacker::new(), &form[..cut], true, 5, false).unwrap_err();
                assert!(
                    matches!(error, Error::Truncated { .. }),
                    "{form:02x?} cut to {cut}"
                );
            }
        }
        let four = [I | P | F | B, 1, 3, 5, 7, 8, 9];
        let error = push(&mut Unpacker::new(), &four, true, 5, false).unwrap_err();
        assert!(matches!(error, Error::Value { got: 4, .. }));
    }

    #[test]
    fn layers_become_a_superframe() {
        let pictures = [
            vec![b"base".to_vec(), vec![7; 300], b"top".to_vec()],
            vec![b"next".to_vec()],
        ];
        let packets = pack_layers(&pictures, 100);
        let units = unpack(&packets, |_| false);
        assert_eq!(units[0].data[307..], [0xca, 4, 0, 0x2c, 1, 3, 0, 0xca]);
        assert_eq!(split(&units[0].data), pictures[0]);
        assert_eq!(units[1].data, &b"next"[..]);
        assert_eq!(units.len(), 2);
        // Without the base layer, the picture is not whole.
        assert_eq!(unpack(&packets, |index| index == 0).len(), 1);
    }

    #[test]
    fn a_picture_without_marker_ends_with_its_timestamp() {
        let mut unpacker = Unpacker::new();
        assert_eq!(push(&mut unpacker, b"\x08ab", false, 1, false), Ok(vec![]));
        assert_eq!(push(&mut unpacker, b"\x04cd", false, 1, false), Ok(vec![]));
        let units = push(&mut unpacker, b"\x0cef", false, 2, false).unwrap();
        assert_eq!((units[0].timestamp, &units[0].data[..]), (1, &b"abcd"[..]));
        // After a gap the upper layers may be missing.
        assert_eq!(push(&mut unpacker, b"\x08gh", false, 3, true), Ok(vec![]));
        // And at the end, the rest of a frame.
        let mut out = Vec::new();
        unpacker.flush(&mut out);
        assert_eq!(out, []);
        push(&mut unpacker, b"\x0cij", false, 4, false).unwrap();
        unpacker.flush(&mut out);
        assert_eq!(out[0].data, &b"ij"[..]);
    }

    #[test]
    fn a_picture_without_beginning_is_an_error_once() {
        let mut unpacker = Unpacker::new();
        assert_eq!(
            push(&mut unpacker, b"\x00ab", false, 1, false),
            Err(Error::Orphan)
        );
        assert_eq!(push(&mut unpacker, b"\x0cab", true, 1, false), Ok(vec![]));
        assert_eq!(push(&mut unpacker, b"\x0cab", true, 2, false).unwrap().len(), 1);
        // What follows the end of a picture at the same time is no other picture.
        assert_eq!(push(&mut unpacker, b"\x0cab", true, 2, true), Ok(vec![]));
    }

    #[test]
    fn pictures_without_end_are_dropped() {
        let mut unpacker = Unpacker::new();
        let piece = vec![0; 1 << 20];
        push(&mut unpacker, &[&[B], &piece[..]].concat(), false, 1, false).unwrap();
        let more = [&[0], &piece[..]].concat();
        let errors = (0..40).filter(|_| push(&mut unpacker, &more, false, 1, false).is_err());
        assert_eq!(errors.count(), 1);
        assert!(unpacker.data.is_empty());
        let errors = (0..20).map(|_| push(&mut unpacker, b"\x0cx", false, 2, false));
        let errors: Vec<_> = errors.filter_map(Result::err).collect();
        assert!(matches!(errors[..], [Error::TooBig { got: 9, max: 8, .. }]));
        // Empty layer frames count for nothing.
        for _ in 0..20 {
            push(&mut unpacker, b"\x0c", false, 3, false).unwrap();
        }
        assert_eq!(
            push(&mut unpacker, b"\x0cx", true, 3, false).unwrap()[0].data,
            &b"x"[..]
        );
    }

    #[test]
    fn descriptors_tell_what_a_frame_is() {
        // The first bytes of a key frame of 320x180 and of an inter frame.
        let key = [
            &[0xa2, 0x49, 0x83, 0x42, 0xe0, 0x13, 0xf0, 0x0b, 0x36][..],
            &[0; 100],
        ]
        .concat();
        let packets = pack(&[key, vec![0x86, 0, 0]], 100);
        let heads: Vec<&[u8]> = packets.iter().map(|sent| &sent.payload[..3]).collect();
        assert_eq!(
            heads,
            [
                &[I | B | V, 0xff, 0xff],
                &[I | E, 0xff, 0xff],
                &[I | P | B | E, 0x80, 0x00]
            ]
        );
        assert_eq!(packets[0].payload[3..9], [0x10, 1, 64, 0, 180, 0xa2]);
        assert_eq!(structure(65536, 1), None);
    }

    fn frame_data(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        const KEY: [u8; 9] = [0xa2, 0x49, 0x83, 0x42, 0xe0, 0x13, 0xf0, 0x0b, 0x36];
        (len, any::<u8>(), any::<bool>()).prop_map(|(len, seed, key)| {
            let mut data: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
            if key && len > KEY.len() {
                data[..KEY.len()].copy_from_slice(&KEY);
            }
            data
        })
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(frame_data(1..20_000), 1..6)
    }

    /// Pictures of several layers.
    fn pictures() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        proptest::collection::vec(proptest::collection::vec(frame_data(1..400), 1..8), 1..6)
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(frames in frames(), max in 100usize..1500) {
            prop_assert_eq!(unpack(&pack(&frames, max), |_| false), units(&frames));
        }

        #[test]
        fn loss_leaves_whole_pictures_only(frames in frames(), max in 100usize..1500, lost in losses()) {
            let packets = pack(&frames, max);
            let lost: Vec<_> = lost.iter().map(|index| index.index(packets.len())).collect();
            let expected = without_lost(units(&frames), &packets, &lost);
            prop_assert_eq!(unpack(&packets, |index| lost.contains(&index)), expected);
        }

        #[test]
        fn loss_leaves_whole_superframes_only(pictures in pictures(), max in 20usize..200, lost in losses()) {
            let packets = pack_layers(&pictures, max);
            let all = unpack(&packets, |_| false);
            for (unit, picture) in all.iter().zip(&pictures) {
                if picture.len() > 1 {
                    prop_assert_eq!(&split(&unit.data), picture);
                } else {
                    prop_assert_eq!(&unit.data, &picture[0]);
                }
            }
            prop_assert_eq!(all.len(), pictures.len());
            let lost: Vec<_> = lost.iter().map(|index| index.index(packets.len())).collect();
            let expected = without_lost(all, &packets, &lost);
            prop_assert_eq!(unpack(&packets, |index| lost.contains(&index)), expected);
        }

        #[test]
        fn any_packets_can_be_unpacked(packets in hostile_packets(any::<u8>(), 24), lost in any::<u16>()) {
            let len: usize = packets.iter().map(|sent| sent.payload.len()).sum();
            let units = unpack(&packets, |index| lost >> index & 1 != 0);
            let index_len = units.len() * MAX_INDEX_LEN;
            prop_assert!(units.iter().map(|unit| unit.data.len()).sum::<usize>() <= len + index_len);
        }
    }
}
