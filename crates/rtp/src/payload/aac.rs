//! AAC in the form of RFC 3640 (`mpeg4-generic`).
//!
//! ```text
//! +-------------------+-----------+-----+-----------+----------------+---------------+
//! | AU-headers-length | AU-header | ... | AU-header | auxiliary data | access units  |
//! | 16 bits           | an even number of bytes, padded with zeros   | or a fragment |
//! +-------------------+-----------+-----+-----------+----------------+---------------+
//! ```
//!
//! What an AU-header has in it is told by the `fmtp` line of the session description ([`Mode`]). A packet carries whole access
//! units or one fragment of one; a fragment has the size of the whole unit in its header (3.2.1.1), and the marker stands on the
//! last (3.1).
//!
//! Deviations of real senders that are read as they were meant:
//!
//! - MediaMTX before September 2026 (gortsplib, pull request 1150) writes the size of the fragment where that of the unit belongs.
//!   So an unmarked packet with just one unit in it may be a fragment; it is held until the next packet tells.
//! - Encoders that put a whole ADTS frame in place of the access unit: the header is taken off.
//! - "anjvision" cameras (mpv, issue 5669) send ADTS frames without AU-headers: a payload that consists of ADTS frames to its
//!   last byte is cut by them.
//! - AU-headers-length that is not a whole number of AU-headers (in bytes instead of bits, or 0): one AU-header is assumed, and
//!   believed if the size in it is exactly that of the bytes behind it. Every other length is an error.

use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Sink, Unit};
use bytes::{Bytes, BytesMut};
use media::codec::aac::Adts;
use media::codec::bits::BitReader;
use smallvec::{SmallVec, smallvec};

/// What AU-headers consist of (RFC 3640, 4.1). Lengths are in bits, 0 to 32; 0 means that the field is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// `sizeLength`: of AU-size.
    pub size_length: u8,
    /// `indexLength`: of AU-Index, in the first header of a packet.
    pub index_length: u8,
    /// `indexDeltaLength`: of AU-Index-delta, in the other headers.
    pub index_delta_length: u8,
    /// `CTSDeltaLength`.
    pub cts_delta_length: u8,
    /// `DTSDeltaLength`.
    pub dts_delta_length: u8,
    /// `randomAccessIndication`: there is a RAP-flag.
    pub random_access: bool,
    /// `streamStateIndication`: of Stream-state.
    pub stream_state_length: u8,
    /// `auxiliaryDataSizeLength`: of the size before the auxiliary data.
    pub auxiliary_size_length: u8,
    /// `constantSize`: bytes of every access unit, where headers have no size. Above 0.
    pub constant_size: Option<u32>,
    /// `constantDuration`: of every access unit, in ticks. Above 0.
    pub constant_duration: Option<u32>,
}

impl Mode {
    /// AAC-hbr, high bit rate (3.3.6): what nearly everybody sends.
    pub const HBR: Self = Self {
        size_length: 13,
        index_length: 3,
        index_delta_length: 3,
        cts_delta_length: 0,
        dts_delta_length: 0,
        random_access: false,
        stream_state_length: 0,
        auxiliary_size_length: 0,
        constant_size: None,
        constant_duration: None,
    };

    /// AAC-lbr, low bit rate (3.3.5): units of at most 63 bytes.
    pub const LBR: Self = Self {
        size_length: 6,
        index_length: 2,
        index_delta_length: 2,
        ..Self::HBR
    };

    /// From the parameters of the `fmtp` line, name and value. Names count without regard to case, of a repeated one the last.
    ///
    /// The lengths follow from `mode` where none of them is given, and are those of AAC-hbr where `mode` is not given either:
    /// that is what ZLMediaKit reads and sends whatever the line says (read in source). Parameters of other kinds are ignored.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ModeError> {
        let mut mode = Self::default();
        let (mut name_of_mode, mut lengths_given) = (None, false);
        for (name, value) in parameters {
            let value = value.trim();
            let length = |name| number(name, value, MAX_FIELD_BITS).map(|bits| bits as u8);
            match name.trim().to_ascii_lowercase().as_str() {
                "mode" => name_of_mode = Some(value),
                "sizelength" => (mode.size_length, lengths_given) = (length("sizeLength")?, true),
                "indexlength" => (mode.index_length, lengths_given) = (length("indexLength")?, true),
                "indexdeltalength" => {
                    (mode.index_delta_length, lengths_given) = (length("indexDeltaLength")?, true);
                }
                "ctsdeltalength" => mode.cts_delta_length = length("CTSDeltaLength")?,
                "dtsdeltalength" => mode.dts_delta_length = length("DTSDeltaLength")?,
                "randomaccessindication" => {
                    mode.random_access = number("randomAccessIndication", value, 1)? == 1;
                }
                "streamstateindication" => mode.stream_state_length = length("streamStateIndication")?,
                "auxiliarydatasizelength" => mode.auxiliary_size_length = length("auxiliaryDataSizeLength")?,
                "constantsize" => {
                    let size = number("constantSize", value, MAX_UNIT_LEN as u32)?;
                    mode.constant_size = Some(size).filter(|size| *size > 0);
                }
                "constantduration" => {
                    let ticks = number("constantDuration", value, u32::MAX)?;
                    mode.constant_duration = Some(ticks).filter(|ticks| *ticks > 0);
                }
                _ => {}
            }
        }
        if !lengths_given && mode.constant_size.is_none() {
            let known = match name_of_mode {
                None => Some(Self::HBR),
                Some(name) if name.eq_ignore_ascii_case("AAC-hbr") => Some(Self::HBR),
                Some(name) if name.eq_ignore_ascii_case("AAC-lbr") => Some(Self::LBR),
                Some(_) => None,
            };
            if let Some(known) = known {
                mode.size_length = known.size_length;
                mode.index_length = known.index_length;
                mode.index_delta_length = known.index_delta_length;
            }
        }
        Ok(mode)
    }

    /// Whether packets have AU-headers-length and AU-headers: not if every AU-header were empty (3.2.1).
    fn has_headers(&self) -> bool {
        let lengths = [
            self.size_length,
            self.index_length,
            self.index_delta_length,
            self.cts_delta_length,
            self.dts_delta_length,
            self.stream_state_length,
        ];
        self.random_access || lengths.iter().any(|bits| *bits > 0)
    }

    /// Reads what stands before the access units.
    fn read(&self, payload: &Bytes) -> Result<Packet, Error> {
        if !self.has_headers() {
            return self.read_bare(payload);
        }
        self.read_headers(payload)
            .or_else(|error| self.read_one_header(payload).ok_or(error))
    }

    /// The AU-header section, as long as AU-headers-length says.
    fn read_headers(&self, payload: &Bytes) -> Result<Packet, Error> {
        let Some((length, section)) = payload.split_first_chunk::<2>() else {
            return Err(Error::Truncated {
                what: "AU-headers-length",
                need: 2,
                got: payload.len(),
            });
        };
        let length = u16::from_be_bytes(*length);
        let section_bits = usize::from(length);
        if section.len() < section_bits.div_ceil(8) {
            return Err(Error::Truncated {
                what: "AU-headers",
                need: section_bits.div_ceil(8),
                got: section.len(),
            });
        }
        let mut bits = BitReader::new(section, "AU-header");
        let mut sizes = SmallVec::new();
        while bits.position() < section_bits {
            sizes.push(self.read_header(&mut bits, sizes.is_empty())?);
            if sizes.len() > MAX_UNIT_PARTS {
                return Err(Error::TooBig {
                    what: "access units in a packet",
                    got: sizes.len(),
                    max: MAX_UNIT_PARTS,
                });
            }
        }
        if bits.position() != section_bits || sizes.is_empty() {
            return Err(Error::Value {
                what: "AU-headers-length",
                got: length.into(),
                allowed: "bits of one or more whole AU-headers (RFC 3640, 3.2.1)",
            });
        }
        let data = self.skip_auxiliary(payload, 2 + section_bits.div_ceil(8))?;
        self.packet(data, sizes)
    }

    /// The rule for a wrong AU-headers-length (see the top of the module).
    fn read_one_header(&self, payload: &Bytes) -> Option<Packet> {
        let mut bits = BitReader::new(payload.get(2..)?, "AU-header");
        let size = self.read_header(&mut bits, true).ok()??;
        let data = self
            .skip_auxiliary(payload, 2 + bits.position().div_ceil(8))
            .ok()?;
        (size == data.len()).then(|| Packet {
            data,
            sizes: smallvec![size],
        })
    }

    /// One AU-header (3.2.1.1): the size of its unit, if it has one. Everything else is of use with interleaving or video only.
    fn read_header(&self, bits: &mut BitReader<'_>, first: bool) -> Result<Option<usize>, Error> {
        let mut field = |length: u8| bits.u(length.into()).map_err(bitstream);
        let size = match self.size_length {
            0 => self.constant_size,
            length => Some(field(length)?),
        };
        if first {
            field(self.index_length)?;
        } else {
            let delta = field(self.index_delta_length)?;
            if delta != 0 {
                return Err(Error::Value {
                    what: "AU-Index-delta",
                    got: delta.into(),
                    allowed: "0: interleaved access units (RFC 3640, 3.2.3.2) are not supported",
                });
            }
        }
        for length in [self.cts_delta_length, self.dts_delta_length] {
            // The flag before the field is there whenever the field can be.
            if length > 0 && field(1)? == 1 {
                field(length)?;
            }
        }
        field(self.random_access.into())?;
        field(self.stream_state_length)?;
        Ok(size.map(|size| size as usize))
    }

    /// What is behind the auxiliary section (3.2.2), which begins at byte `at`.
    fn skip_auxiliary(&self, payload: &Bytes, at: usize) -> Result<Bytes, Error> {
        let section = payload.get(at..).unwrap_or_default();
        let mut skip = 0;
        if self.auxiliary_size_length > 0 {
            let mut bits = BitReader::new(section, "auxiliary-data-size");
            let size = bits.u(self.auxiliary_size_length.into()).map_err(bitstream)?;
            skip = (u64::from(size) + u64::from(self.auxiliary_size_length)).div_ceil(8) as usize;
            if skip > section.len() {
                return Err(Error::Truncated {
                    what: "auxiliary data",
                    need: skip,
                    got: section.len(),
                });
            }
        }
        Ok(payload.slice((at + skip).min(payload.len())..))
    }

    /// A packet without AU-headers: units of constant size, or one unit.
    fn read_bare(&self, payload: &Bytes) -> Result<Packet, Error> {
        let data = self.skip_auxiliary(payload, 0)?;
        let count = match self.constant_size {
            Some(size) => (data.len() / size as usize).max(1),
            None => 1,
        };
        if count > MAX_UNIT_PARTS {
            return Err(Error::TooBig {
                what: "access units in a packet",
                got: count,
                max: MAX_UNIT_PARTS,
            });
        }
        let size = self.constant_size.map(|size| size as usize);
        self.packet(data, smallvec![size; count])
    }

    fn packet(&self, data: Bytes, sizes: SmallVec<[Option<usize>; 8]>) -> Result<Packet, Error> {
        if let [size] = sizes.as_slice() {
            let size = size.unwrap_or(data.len());
            return Ok(Packet {
                data,
                sizes: smallvec![size],
            });
        }
        let sizes: SmallVec<[usize; 8]> = sizes.into_iter().flatten().collect();
        let need = sizes.iter().fold(0, |sum: usize, size| sum.saturating_add(*size));
        // Without sizes there is nothing to cut several units by. Bytes behind the last unit are let pass.
        if sizes.is_empty() || need > data.len() {
            return Err(Error::Truncated {
                what: "several access units",
                need: need.max(1),
                got: data.len(),
            });
        }
        Ok(Packet { data, sizes })
    }
}

/// A parameter of the `fmtp` line that is no number, or one out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} in the fmtp line is {value:?}: a number from 0 to {max} (RFC 3640, 4.1)")]
pub struct ModeError {
    /// The parameter.
    pub name: &'static str,
    /// Its value, at most 32 characters of it.
    pub value: String,
    /// The greatest number allowed.
    pub max: u32,
}

/// Packets to raw access units, without ADTS.
#[derive(Debug)]
pub struct Unpacker {
    mode: Mode,
    /// Of an access unit.
    duration_ticks: u32,
    /// The unit that is being put together.
    partial: Option<Partial>,
    /// The sender's fragments do not tell the size of the unit, so after a gap nothing tells a continuation from a whole unit.
    piecewise: bool,
    /// After a gap: packets of this time are left out, up to the marker.
    skipped: Option<i64>,
}

impl Unpacker {
    /// `frame_ticks` is the duration of an access unit in ticks of the RTP clock, where the mode has no `constantDuration`: 1024
    /// if clock and core coder have the same rate, 960 or 512 if the AudioSpecificConfig says so, the double with SBR and
    /// a clock of the output rate.
    pub fn new(mode: Mode, frame_ticks: u32) -> Self {
        Self {
            mode,
            duration_ticks: mode.constant_duration.unwrap_or(frame_ticks),
            partial: None,
            piecewise: !mode.has_headers() && mode.constant_size.is_none(),
            skipped: None,
        }
    }

    /// Takes the next packet. Units may come out even if it is an error.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if input.gap {
            let partial = self.partial.take();
            self.piecewise |=
                partial.is_some_and(|unit| unit.total.is_none() && unit.timestamp == input.timestamp);
            self.skipped = self.piecewise.then_some(input.timestamp);
        }
        if self.skipped == Some(input.timestamp) {
            if input.marker {
                self.skipped = None;
            }
            return Ok(());
        }
        self.skipped = None;
        if self.push_adts(input, out) {
            return Ok(());
        }
        let partial = self.partial.take();
        let packet = self.mode.read(input.payload)?;
        match partial {
            Some(partial) if partial.timestamp == input.timestamp => {
                self.continue_unit(partial, packet, input, out)
            }
            partial => {
                // Senders that never set the marker exist; without a gap, the unit that was held is whole.
                if let Some(held) = partial.filter(|unit| unit.total.is_none()) {
                    emit(out, held.timestamp, held.data.freeze());
                }
                self.begin_units(packet, input, out)
            }
        }
    }

    /// The source ends: what is not complete is dropped.
    pub fn flush(&mut self, _out: &mut Vec<Unit>) {
        self.partial = None;
        self.skipped = None;
    }

    /// A payload of ADTS frames without AU-headers. An AU-headers-length with the bits of an ADTS syncword would be that of
    /// an AU-header section of 8 KiB, so there is no confusion.
    fn push_adts(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> bool {
        let mut frames: SmallVec<[Bytes; 4]> = SmallVec::new();
        let mut rest = input.payload.clone();
        while !rest.is_empty() {
            let Some(header) = Adts::parse(&rest)
                .ok()
                .filter(|header| header.frame_len <= rest.len())
            else {
                return false;
            };
            frames.push(rest.split_to(header.frame_len).slice(header.header_len..));
        }
        if frames.is_empty() {
            return false;
        }
        self.partial = None;
        for (nth, frame) in frames.into_iter().enumerate() {
            emit(out, self.time_of(nth, input.timestamp), frame);
        }
        true
    }

    fn continue_unit(
        &mut self,
        mut partial: Partial,
        packet: Packet,
        input: Input<'_>,
        out: &mut Vec<Unit>,
    ) -> Result<(), Error> {
        let [size] = *packet.sizes else {
            return Err(Error::Value {
                what: "access units in a packet that continues a fragmented one",
                got: packet.sizes.len() as u64,
                allowed: "1 (RFC 3640, 3.2.3)",
            });
        };
        let len = partial.data.len() + packet.data.len();
        match partial.total {
            Some(total) if size != total || len > total => {
                return Err(Error::Value {
                    what: "AU-size of a fragment",
                    got: size as u64,
                    allowed: "the size of the whole access unit, as in its other fragments (RFC 3640, 3.2.1.1)",
                });
            }
            Some(total) if len < total && input.marker => {
                return Err(Error::Truncated {
                    what: "access unit in fragments",
                    need: total,
                    got: len,
                });
            }
            Some(_) => {}
            None if size != packet.data.len() => {
                return Err(Error::Value {
                    what: "AU-size of a fragment",
                    got: size as u64,
                    allowed: "the size of the fragment, as in its other fragments",
                });
            }
            None => self.piecewise = true,
        }
        partial.parts += 1;
        if len > MAX_UNIT_LEN || partial.parts > MAX_UNIT_PARTS {
            let bytes = len > MAX_UNIT_LEN;
            return Err(Error::TooBig {
                what: if bytes { "bytes" } else { "fragments" },
                got: if bytes { len } else { partial.parts },
                max: if bytes { MAX_UNIT_LEN } else { MAX_UNIT_PARTS },
            });
        }
        partial.data.extend_from_slice(&packet.data);
        if partial.total.map_or(input.marker, |total| len == total) {
            emit(out, partial.timestamp, partial.data.freeze());
        } else {
            self.partial = Some(partial);
        }
        Ok(())
    }

    fn begin_units(&mut self, packet: Packet, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        let Packet { mut data, sizes } = packet;
        if let [size] = *sizes
            && (size > data.len() || size == data.len() && !input.marker)
        {
            if size > MAX_UNIT_LEN {
                return Err(Error::TooBig {
                    what: "bytes",
                    got: size,
                    max: MAX_UNIT_LEN,
                });
            }
            if input.marker {
                return Err(Error::Orphan);
            }
            self.partial = Some(Partial {
                timestamp: input.timestamp,
                total: Some(size).filter(|size| *size > data.len()),
                parts: 1,
                data: BytesMut::from(&data[..]),
            });
            return Ok(());
        }
        for (nth, size) in sizes.into_iter().enumerate() {
            let unit = data.split_to(size.min(data.len()));
            emit(out, self.time_of(nth, input.timestamp), unit);
        }
        Ok(())
    }

    fn time_of(&self, nth: usize, first: i64) -> i64 {
        first.saturating_add((nth as i64).saturating_mul(self.duration_ticks.into()))
    }
}

/// Access units to packets, in mode AAC-hbr ([`Mode::HBR`]), one unit per packet or in fragments.
#[derive(Debug, Default)]
pub struct Packer(());

impl Packer {
    /// A packer; it has no state.
    pub fn new() -> Self {
        Self(())
    }

    /// Packs an access unit without ADTS. Nothing comes of an empty one, and of one that is longer than the 13 bits of AU-size can
    /// say: 8191 bytes, more than AAC allows for 10 channels (ISO/IEC 14496-3, 4.5.3).
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let unit = &frame.data[..];
        if unit.is_empty() || unit.len() > MAX_HBR_SIZE {
            return;
        }
        let [size_high, size_low] = ((unit.len() as u16) << 3).to_be_bytes();
        let header = [0, 16, size_high, size_low];
        let room = sink.max_payload().saturating_sub(header.len()).max(1);
        let mut fragments = unit.chunks(room).peekable();
        while let Some(fragment) = fragments.next() {
            sink.packet(fragments.peek().is_none(), 0, &[&header, fragment]);
        }
    }
}

/// A packet, its headers read.
struct Packet {
    /// Access units, or a fragment.
    data: Bytes,
    /// Of the units. At least one; the sum of several is within `data`.
    sizes: SmallVec<[usize; 8]>,
}

#[derive(Debug)]
struct Partial {
    timestamp: i64,
    /// Bytes of the whole unit; `None` if its fragments do not tell, or if it may be whole already.
    total: Option<usize>,
    parts: usize,
    data: BytesMut,
}

/// Gives a unit away, without its ADTS header if it has one. A raw access unit cannot begin with the bits of a syncword: they
/// would be an `ID_END` at once.
fn emit(out: &mut Vec<Unit>, timestamp: i64, mut data: Bytes) {
    if let Ok(header) = Adts::parse(&data)
        && header.frame_len == data.len()
    {
        data = data.slice(header.header_len..);
    }
    if !data.is_empty() {
        out.push(Unit { timestamp, data });
    }
}

/// An error of a codec's bit stream as one of a packet.
pub(super) fn bitstream(error: media::codec::Error) -> Error {
    match error {
        media::codec::Error::Truncated { what, need, got, .. } => Error::Truncated { what, need, got },
        media::codec::Error::Value { what, got, allowed } => Error::Value { what, got, allowed },
        media::codec::Error::Missing { what } => Error::Truncated {
            what,
            need: 1,
            got: 0,
        },
    }
}

fn number(name: &'static str, value: &str, max: u32) -> Result<u32, ModeError> {
    let refused = || ModeError {
        name,
        value: value.chars().take(32).collect(),
        max,
    };
    value
        .parse()
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(refused)
}

/// Longest field of an AU-header. RFC 3640 sets no bound for most; times have 32 bits, and so do sizes.
const MAX_FIELD_BITS: u32 = 32;
/// What AU-size of AAC-hbr can say.
const MAX_HBR_SIZE: usize = (1 << 13) - 1;
