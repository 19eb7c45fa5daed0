//! H.265 (RFC 7798).
//!
//! Received are single NAL units, aggregation packets and fragmentation units, without decoding order numbers: a session with
//! `sprop-max-don-diff` above 0 is not supported. PACI packets are errors. The rules for the ends of units, and for what cameras do
//! to them, stand with [`Unpacker`].

use super::nal::{self, Assembler, Role, Shape, Syntax};
use super::{Error, Input, Sink, Unit};
use bytes::Bytes;
use media::Frame;
use media::codec::h265::{Config, NAL_AUD, NAL_PPS, NAL_SPS, NAL_VPS, nal_type};
use media::codec::nal::LengthPrefixed;
use smallvec::SmallVec;

/// Packets to access units: NAL units with 4-byte lengths, without delimiters and filler, with the parameter sets in band.
///
/// - A unit ends at the marker, without waiting for another packet, or when the timestamp changes. A marker before the first slice
///   ends nothing. Parameter sets and prefix SEI behind the last slice belong to the next unit, also if it has another timestamp.
/// - Once a slice shows that a marker stood within a picture, the markers of this sender are ignored. The rest of that picture is a
///   second unit with the same timestamp.
/// - After a gap the unit it fell into is dropped. The next one is taken if its first slice is the first of a picture. Parameter
///   sets and SEI before it may be missing then; slices never are.
/// - A NAL unit in fragments without an end bit is complete when the next one, or the marker, follows without a gap.
#[derive(Debug)]
pub struct Unpacker(Assembler<H265>);

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
    /// NAL units that fit into one packet share it, as an aggregation packet.
    pub aggregate: bool,
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

    /// Sets the `hvcC` whose parameter sets go before every key frame that does not carry its own. One that cannot be read counts
    /// as none.
    pub fn set_config(&mut self, record: &[u8]) {
        self.sets = Config::parse(record).map_or_else(
            |_| Vec::new(),
            |config| [config.vps, config.sps, config.pps].concat(),
        );
    }

    /// Cuts one frame. The marker is on its last packet. A frame without NAL units gives none.
    pub fn pack(&mut self, frame: &Frame, sink: &mut impl Sink) {
        let mut units: SmallVec<[&[u8]; 16]> = LengthPrefixed::new(&frame.data, 4)
            .map_while(Result::ok)
            .filter(|unit| unit.len() >= H265::HEADER_LEN)
            .collect();
        let has = |wanted| units.iter().any(|unit| nal_type(unit) == wanted);
        if frame.key && !units.is_empty() && !(has(NAL_VPS) && has(NAL_SPS) && has(NAL_PPS)) {
            // A delimiter stays first (7.4.2.4.4).
            let at = usize::from(nal_type(units[0]) == NAL_AUD);
            let sets = self.sets.iter().map(|set| &set[..]);
            units.insert_many(at, sets.filter(|set| set.len() >= H265::HEADER_LEN));
        }
        nal::pack::<H265>(&units, self.options.aggregate, sink);
    }
}

#[derive(Debug)]
struct H265;

impl Syntax for H265 {
    const HEADER_LEN: usize = 2;

    fn shape(payload: &[u8]) -> Result<Shape<'_>, Error> {
        match (nal_type(payload), payload) {
            (AP, [_, _, rest @ ..]) => Ok(Shape::Aggregate(rest)),
            (FU, [first, second, header, data @ ..]) => Ok(Shape::Fragment {
                start: header & START != 0,
                end: header & END != 0,
                header: [first & 0x81 | (header & 0x3f) << 1, *second],
                data,
            }),
            (AP | FU, _) => Err(Error::Truncated {
                what: "payload header",
                need: 3,
                got: payload.len(),
            }),
            (PACI, _) => Err(Error::Value {
                what: "H.265 packet type",
                got: PACI.into(),
                allowed: "PACI packets (RFC 7798, 4.4.4) are not supported",
            }),
            _ => Ok(Shape::Single),
        }
    }

    fn role(unit: &[u8]) -> Result<Role, Error> {
        Ok(match nal_type(unit) {
            0..=31 => Role::Slice {
                // first_slice_segment_in_pic_flag (7.3.6.1).
                first: unit.get(2).map(|byte| byte & 0x80 != 0),
            },
            NAL_AUD => Role::Delimiter,
            FILLER => Role::Drop,
            32..=34 | 39 | 41..=44 | 51..=55 => Role::Lead,
            got @ (AP | FU | PACI) => {
                return Err(Error::Value {
                    what: "H.265 NAL unit type",
                    got: got.into(),
                    allowed: "a packet within a packet is not allowed (RFC 7798, 4.4.2 and 4.4.3)",
                });
            }
            // End of sequence, suffix SEI; 62 and 63 carry Dolby Vision.
            _ => Role::Trail,
        })
    }

    fn aggregate(units: &[&[u8]]) -> [u8; 2] {
        // F if one has it, the lowest layer and the lowest temporal identifier (RFC 7798, 4.4.2).
        let headers = || {
            units
                .iter()
                .filter_map(|unit| unit.first_chunk())
                .map(|header| u16::from_be_bytes(*header))
        };
        let forbidden = headers().fold(0, |all, header| all | header & 0x8000);
        let layer = headers().map(|header| header & 0x01f8).min().unwrap_or(0);
        let temporal = headers().map(|header| header & 7).min().unwrap_or(1);
        (forbidden | u16::from(AP) << 9 | layer | temporal).to_be_bytes()
    }

    fn fragment(unit: &[u8], start: bool, end: bool) -> [u8; 3] {
        let [first, second] = unit.first_chunk().copied().unwrap_or_default();
        let mut flags = 0;
        if start {
            flags |= START;
        }
        if end {
            flags |= END;
        }
        [first & 0x81 | FU << 1, second, flags | first >> 1 & 0x3f]
    }
}

/// `nal_unit_type` of filler data (table 7-1).
const FILLER: u8 = 38;
/// Aggregation packet (RFC 7798, 4.4.2).
const AP: u8 = 48;
/// Fragmentation unit (RFC 7798, 4.4.3).
const FU: u8 = 49;
/// Payload content information (RFC 7798, 4.4.4).
const PACI: u8 = 50;
/// Start and end bit of a fragment header.
const START: u8 = 0x80;
const END: u8 = 0x40;
