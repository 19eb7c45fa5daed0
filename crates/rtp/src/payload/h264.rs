//! H.264 (RFC 6184).
//!
//! Received are single NAL units, STAP-A and FU-A, that is packetization modes 0 and 1. The types of the interleaved mode 2 (STAP-B,
//! MTAP, FU-B) are errors. The rules for the ends of units, and for what cameras do to them, stand with
//! [`Unpacker`].

use super::nal::{self, Assembler, Role, Shape, Syntax};
use super::{Error, Input, Sink, Unit};
use bytes::Bytes;
use media::Frame;
use media::codec::h264::{Config, NAL_AUD, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS, nal_type};
use media::codec::nal::LengthPrefixed;
use smallvec::SmallVec;

/// Packets to access units: NAL units with 4-byte lengths, without delimiters and filler, with the parameter sets in band.
///
/// - A unit ends at the marker, without waiting for another packet, or when the timestamp changes. A marker before the first slice
///   ends nothing. Parameter sets and SEI behind the last slice belong to the next unit, also if it has another timestamp.
/// - Once a slice shows that a marker stood within a picture, the markers of this sender are ignored. The rest of that picture is a
///   second unit with the same timestamp.
/// - After a gap the unit it fell into is dropped. The next one is taken if its first slice is the first of a picture. Parameter
///   sets and SEI before it may be missing then; slices never are.
/// - A NAL unit in fragments without an end bit is complete when the next one, or the marker, follows without a gap.
#[derive(Debug)]
pub struct Unpacker(Assembler<H264>);

impl Unpacker {
    /// Ready for a source whose first packets may be missing.
    pub fn new() -> Self {
        Self(Assembler::new())
    }

    /// Takes the next packet; units that it completes are appended to `out`, at most two.
    ///
    /// # Errors
    ///
    /// The packet is malformed or unsupported. That costs the unit it belongs to.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        self.0.push(input, out)
    }

    /// See [`super::Unpacker::dropped`].
    pub(super) const fn dropped(&self) -> bool {
        self.0.dropped()
    }

    /// See [`super::Unpacker::held_back`].
    pub(super) const fn held_back(&self) -> usize {
        self.0.held_back()
    }

    /// Nothing follows: ends the unit that has begun. It is dropped if a fragment of it, or the marker that others of this source
    /// had, is missing.
    pub fn flush(&mut self, out: &mut Vec<Unit>) {
        self.0.flush(out);
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self::new()
    }
}

/// How frames are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// NAL units that fit into one packet share it, as STAP-A (needs packetization mode 1).
    pub stap_a: bool,
}

/// Frames to packets. The payload is never copied.
#[derive(Debug)]
pub struct Packer {
    options: Options,
    sets: Vec<Bytes>,
}

impl Packer {
    /// Without parameter sets.
    pub fn new(options: Options) -> Self {
        let sets = Vec::new();
        Self { options, sets }
    }

    /// Sets the `avcC` whose parameter sets go before every key frame that does not carry its own. One that cannot be read counts
    /// as none.
    pub fn set_config(&mut self, record: &[u8]) {
        self.sets =
            Config::parse(record).map_or_else(|_| Vec::new(), |config| [config.sps, config.pps].concat());
    }

    /// Cuts one frame. The marker is on its last packet. A frame without NAL units gives none.
    pub fn pack(&mut self, frame: &Frame, sink: &mut impl Sink) {
        let mut units: SmallVec<[&[u8]; 16]> = LengthPrefixed::new(&frame.data, 4)
            .map_while(Result::ok)
            .collect();
        let has = |wanted| units.iter().any(|unit| nal_type(unit) == wanted);
        if frame.key && !units.is_empty() && !(has(NAL_SPS) && has(NAL_PPS)) {
            // A delimiter stays first (7.4.1.2.3).
            let at = usize::from(nal_type(units[0]) == NAL_AUD);
            units.insert_many(
                at,
                self.sets.iter().map(|set| &set[..]).filter(|set| !set.is_empty()),
            );
        }
        nal::pack::<H264>(&units, self.options.stap_a, sink);
    }
}

#[derive(Debug)]
struct H264;

impl Syntax for H264 {
    const HEADER_LEN: usize = 1;

    fn shape(payload: &[u8]) -> Result<Shape<'_>, Error> {
        match (nal_type(payload), payload) {
            (STAP_A, [_, rest @ ..]) => Ok(Shape::Aggregate(rest)),
            (FU_A, [indicator, header, data @ ..]) => Ok(Shape::Fragment {
                start: header & START != 0,
                end: header & END != 0,
                header: [indicator & 0xe0 | header & 0x1f, 0],
                data,
            }),
            (FU_A, _) => Err(Error::Truncated {
                what: "FU-A header",
                need: 2,
                got: payload.len(),
            }),
            (got @ (25..=27 | 29), _) => Err(Error::Value {
                what: "H.264 packet type",
                got: got.into(),
                allowed: "interleaved mode (STAP-B, MTAP, FU-B: RFC 6184, 5.2) is not supported",
            }),
            _ => Ok(Shape::Single),
        }
    }

    fn role(unit: &[u8]) -> Result<Role, Error> {
        Ok(match nal_type(unit) {
            NAL_SLICE | 2 | NAL_IDR => Role::Slice {
                // first_mb_in_slice is 0 if its first bit is set (7.3.3, 9.1).
                first: unit.get(1).map(|byte| byte & 0x80 != 0),
            },
            // Data partitions B and C, auxiliary and extension slices.
            3 | 4 | 19..=21 => Role::Slice { first: None },
            NAL_AUD => Role::Delimiter,
            FILLER => Role::Drop,
            6..=8 | 13..=18 => Role::Lead,
            10 | 11 | 22 | 23 => Role::Trail,
            got => {
                return Err(Error::Value {
                    what: "H.264 NAL unit type",
                    got: got.into(),
                    allowed: "1 to 23; a packet within a packet is not allowed (RFC 6184, 5.7 and 5.8)",
                });
            }
        })
    }

    fn aggregate(units: &[&[u8]]) -> [u8; 2] {
        // F if one has it, the highest NRI (RFC 6184, 5.7).
        let headers = || units.iter().filter_map(|unit| unit.first());
        let forbidden = headers().fold(0, |all, header| all | header & 0x80);
        let nri = headers().map(|header| header & 0x60).max().unwrap_or(0);
        [forbidden | nri | STAP_A, 0]
    }

    fn fragment(unit: &[u8], start: bool, end: bool) -> [u8; 3] {
        let header = unit.first().copied().unwrap_or(0);
        let mut flags = 0;
        if start {
            flags |= START;
        }
        if end {
            flags |= END;
        }
        [header & 0xe0 | FU_A, flags | header & 0x1f, 0]
    }
}

/// `nal_unit_type` of filler data (table 7-1).
const FILLER: u8 = 12;
/// Single-time aggregation packet (RFC 6184, 5.7.1).
const STAP_A: u8 = 24;
/// Fragmentation unit (RFC 6184, 5.8).
const FU_A: u8 = 28;
/// Start and end bit of a fragment header.
const START: u8 = 0x80;
const END: u8 = 0x40;
