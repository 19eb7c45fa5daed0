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

use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Sink, Unit, bound};
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
            bound("access units in a packet", sizes.len(), MAX_UNIT_PARTS)?;
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
        bound("access units in a packet", count, MAX_UNIT_PARTS)?;
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
            bound("bytes", size, MAX_UNIT_LEN)?;
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
#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::testing::{Packets, Sent, capture, deliver, frame, hex};
    use proptest::prelude::*;

    fn unpack(mode: Mode, packets: &[Sent], lost: &[usize]) -> (Vec<Unit>, Vec<Error>) {
        let (mut unpacker, mut out, mut errors) = (Unpacker::new(mode, 1024), Vec::new(), Vec::new());
        deliver(packets, lost, |input| {
            errors.extend(unpacker.push(input, &mut out).err())
        });
        unpacker.flush(&mut out);
        (out, errors)
    }

    fn sent(timestamp: i64, marker: bool, payload: &[&[u8]]) -> Sent {
        Sent {
            timestamp,
            marker,
            payload: payload.concat().into(),
        }
    }

    fn unit(timestamp: i64, data: &[u8]) -> Unit {
        Unit {
            timestamp,
            data: Bytes::copy_from_slice(data),
        }
    }

    /// Packets of AAC-hbr with units of the given bytes, 1024 ticks apart.
    fn pack(units: &[Vec<u8>], max_payload: usize) -> Vec<Sent> {
        let mut packets = Packets::new(max_payload);
        for unit in units {
            Packer::new().pack(&frame(unit), &mut packets);
            packets.timestamp += 1024;
        }
        packets.sent
    }

    /// One AU-header of AAC-hbr, behind its AU-headers-length.
    fn header(size: usize) -> [u8; 4] {
        let [high, low] = ((size as u16) << 3).to_be_bytes();
        [0, 16, high, low]
    }

    #[test]
    fn fragments_of_ffmpeg_are_put_together() {
        let packets = capture(FRAGMENTS_OF_FFMPEG);
        let (units, errors) = unpack(Mode::HBR, &packets, &[]);
        let first = packets[0].timestamp;
        assert_eq!(
            units,
            [unit(first, &hex(UNITS[0])), unit(first + 1024, &hex(UNITS[1]))]
        );
        assert_eq!(errors, []);
        // What FFmpeg makes of the units is what the packer makes.
        let mut packed = Packets::new(68);
        packed.timestamp = first;
        Packer::new().pack(&frame(&hex(UNITS[0])), &mut packed);
        assert_eq!(packed.sent, packets[..3]);
    }

    #[test]
    fn several_units_in_a_packet_are_a_frame_apart() {
        let packet = sent(5, true, &[&[0, 48, 0, 8, 0, 16, 0, 24], &[1, 2, 2, 3, 3, 3]]);
        let (units, errors) = unpack(Mode::HBR, &[packet], &[]);
        assert_eq!(
            units,
            [unit(5, &[1]), unit(1029, &[2, 2]), unit(2053, &[3, 3, 3])]
        );
        assert_eq!(errors, []);
    }

    #[test]
    fn the_fmtp_line_tells_the_headers() {
        let parse = |line: &'static str| Mode::parse(line.split(';').filter_map(|part| part.split_once('=')));
        let line =
            "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexLength=3;INDEXDELTALENGTH=3; config=1190";
        assert_eq!(parse(line), Ok(Mode::HBR));
        assert_eq!(parse("mode=aac-HBR"), Ok(Mode::HBR));
        assert_eq!(parse("mode=AAC-lbr"), Ok(Mode::LBR));
        assert_eq!(parse(""), Ok(Mode::HBR));
        assert_eq!(parse("mode=generic"), Ok(Mode::default()));
        // AMS32 (gortsplib, pull request 118): headers of 13 bits.
        let short = Mode {
            size_length: 13,
            ..Mode::default()
        };
        assert_eq!(parse("mode=AAC-hbr;config=1190;sizeLength=13"), Ok(short));
        let (units, errors) = unpack(short, &[sent(0, true, &[&[0, 13, 0, 16, 7, 7]])], &[]);
        assert_eq!((units, errors), (vec![unit(0, &[7, 7])], vec![]));
        assert_eq!(
            parse("sizeLength=33").unwrap_err().to_string(),
            "sizeLength in the fmtp line is \"33\": a number from 0 to 32 (RFC 3640, 4.1)"
        );
        assert!(parse("mode=AAC-hbr;constantDuration=x").is_err());
    }

    #[test]
    fn every_field_of_a_header_is_stepped_over() {
        let mode = Mode {
            size_length: 8,
            index_length: 2,
            index_delta_length: 2,
            cts_delta_length: 4,
            dts_delta_length: 4,
            random_access: true,
            stream_state_length: 3,
            auxiliary_size_length: 8,
            constant_duration: Some(960),
            ..Mode::default()
        };
        // 2: index, CTS-flag 0, DTS-flag 1 and 4 bits, RAP, 3 bits of state; then 1 with both times: 20 and 24 bits.
        let headers = [
            0b0000_0010,
            0b0001_1010,
            0b1101_0000,
            0b0001_0011,
            0b1101_1111,
            0b0101_0000,
        ];
        let packet = sent(0, true, &[&[0, 44], &headers, &[9, 0xff, 0x80], &[4, 5, 6]]);
        let (units, errors) = unpack(mode, &[packet], &[]);
        assert_eq!(errors, []);
        assert_eq!(units, [unit(0, &[4, 5]), unit(960, &[6])]);
    }

    #[test]
    fn units_of_constant_size_need_no_headers() {
        let mode = Mode {
            constant_size: Some(2),
            ..Mode::default()
        };
        let (units, _) = unpack(mode, &[sent(0, true, &[&[1, 1, 2, 2]])], &[]);
        assert_eq!(units, [unit(0, &[1, 1]), unit(1024, &[2, 2])]);
        let (units, _) = unpack(mode, &[sent(0, false, &[&[1]]), sent(0, true, &[&[2]])], &[]);
        assert_eq!(units, [unit(0, &[1, 2])]);
    }

    #[test]
    fn interleaving_is_refused_by_name() {
        let (units, errors) = unpack(
            Mode::HBR,
            &[sent(0, true, &[&[0, 32, 0, 8, 0, 10], &[1, 2]])],
            &[],
        );
        assert_eq!(units, []);
        assert_eq!(
            errors[0].to_string(),
            "AU-Index-delta is 2: 0: interleaved access units (RFC 3640, 3.2.3.2) are not supported"
        );
    }

    #[test]
    fn deviations_of_real_senders_are_read() {
        // ADTS within the unit; ADTS without AU-headers.
        let adts = [0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 0x21, 0x22];
        let whole = sent(0, true, &[&header(9), &adts]);
        assert_eq!(
            unpack(Mode::HBR, &[whole], &[]),
            (vec![unit(0, &adts[7..])], vec![])
        );
        let bare = sent(0, true, &[&adts, &adts]);
        assert_eq!(
            unpack(Mode::HBR, &[bare], &[]),
            (vec![unit(0, &adts[7..]), unit(1024, &adts[7..])], vec![])
        );
        // AU-headers-length in bytes, or 0: believed if the size fits.
        for length in [0, 2, 20] {
            let right = sent(0, true, &[&[0, length, 0, 16], &[7, 7]]);
            assert_eq!(unpack(Mode::HBR, &[right], &[]), (vec![unit(0, &[7, 7])], vec![]));
            let wrong = sent(0, true, &[&[0, length, 0, 16], &[7, 7, 7]]);
            let (units, errors) = unpack(Mode::HBR, &[wrong], &[]);
            assert_eq!((units.len(), errors.len()), (0, 1), "{length}");
        }
        // Without any marker, each unit comes when the next has begun.
        let unmarked = [1, 2, 3].map(|n| sent(n.into(), false, &[&header(1), &[n]]));
        assert_eq!(
            unpack(Mode::HBR, &unmarked, &[]).0,
            [unit(1, &[1]), unit(2, &[2])]
        );
    }

    /// MediaMTX before September 2026: the AU-size of a fragment is that of the fragment.
    #[test]
    fn fragments_with_sizes_of_their_own_are_put_together_and_lost_whole() {
        let mut packets = Vec::new();
        for n in 0..4u8 {
            let time = i64::from(n) * 1024;
            packets.extend(
                [(1, false), (2, false), (3, true)]
                    .map(|(part, last)| sent(time, last, &[&header(2), &[n, part]])),
            );
        }
        let all: Vec<Unit> = (0..4u8)
            .map(|n| unit(i64::from(n) * 1024, &[n, 1, n, 2, n, 3]))
            .collect();
        assert_eq!(unpack(Mode::HBR, &packets, &[]), (all.clone(), vec![]));
        for lost in 3..12 {
            let (units, _) = unpack(Mode::HBR, &packets, &[lost]);
            assert!(
                units.len() >= 2 && units.iter().all(|unit| all.contains(unit)),
                "{lost}: {units:?}"
            );
        }
    }

    #[test]
    fn a_fragment_without_its_beginning_is_an_orphan() {
        let packets = capture(FRAGMENTS_OF_FFMPEG);
        let (units, errors) = unpack(Mode::HBR, &packets[2..], &[]);
        assert_eq!(errors, [Error::Orphan]);
        assert_eq!(units.len(), 1);
    }

    #[test]
    fn fragments_that_do_not_fit_give_nothing() {
        let of_100 = sent(0, false, &[&header(100), &[1; 60]]);
        for (size, len, what) in [
            (100, 30, "access unit in fragments: 100 bytes needed, 90 there"),
            (100, 41, "AU-size of a fragment is 100"),
            (99, 40, "AU-size of a fragment is 99"),
        ] {
            let last = sent(0, true, &[&header(size), &vec![1; len]]);
            let (units, errors) = unpack(Mode::HBR, &[of_100.clone(), last], &[]);
            assert_eq!(units, []);
            assert!(errors[0].to_string().starts_with(what), "{errors:?}");
        }
    }

    #[test]
    fn a_unit_that_au_size_cannot_tell_is_not_sent() {
        assert_eq!(pack(&[vec![], vec![0; 8192]], 1000), []);
        assert_eq!(pack(&[vec![0; 8191]], 1000).len(), 9);
    }

    proptest! {
        #[test]
        fn units_survive_packing_and_loss_costs_only_whole_ones(
            units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..500), 1..12),
            max_payload in 100usize..300,
            lost in proptest::collection::vec(0usize..30, 0..4),
        ) {
            let packets = pack(&units, max_payload);
            let all: Vec<Unit> = units.iter().enumerate().map(|(n, data)| unit(n as i64 * 1024, data)).collect();
            prop_assert!(packets.iter().all(|sent| sent.payload.len() <= max_payload));
            let (whole, errors) = unpack(Mode::HBR, &packets, &[]);
            prop_assert_eq!(&whole, &all);
            prop_assert_eq!(errors, []);
            let (rest, _) = unpack(Mode::HBR, &packets, &lost);
            prop_assert!(rest.iter().all(|unit| all.contains(unit)));
            // A unit all of whose packets came is there.
            let hurt = |unit: &&Unit| {
                packets.iter().enumerate().any(|(n, sent)| sent.timestamp == unit.timestamp && lost.contains(&n))
            };
            prop_assert_eq!(rest.len(), all.iter().filter(|unit| !hurt(unit)).count());
        }

        #[test]
        fn no_payload_breaks_it(
            lengths in any::<[u8; 7]>(),
            constant_size in proptest::option::of(1u32..5),
            packets in proptest::collection::vec(
                (0i64..3, any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        ) {
            let mode = Mode {
                size_length: lengths[0] % 33,
                index_length: lengths[1] % 33,
                index_delta_length: lengths[2] % 33,
                cts_delta_length: lengths[3] % 33,
                dts_delta_length: lengths[4] % 33,
                random_access: constant_size.is_some(),
                stream_state_length: lengths[5] % 33,
                auxiliary_size_length: lengths[6] % 33,
                constant_size,
                constant_duration: None,
            };
            for mode in [mode, Mode::HBR, Mode::LBR, Mode { constant_size, ..Mode::default() }] {
                let (mut unpacker, mut out) = (Unpacker::new(mode, 1024), Vec::new());
                for (timestamp, marker, gap, payload) in &packets {
                    let payload = &Bytes::copy_from_slice(payload);
                    let _ = unpacker.push(Input { payload, marker: *marker, timestamp: *timestamp, gap: *gap }, &mut out);
                }
                let bytes: usize = packets.iter().map(|packet| packet.3.len()).sum();
                prop_assert!(out.iter().map(|unit| unit.data.len()).sum::<usize>() <= bytes);
            }
        }
    }

    /// FFmpeg 5.1, `-f rtp -pkt_size 80`, AAC LC of 16 kHz: two units in three fragments each.
    const FRAGMENTS_OF_FFMPEG: [&str; 6] = [
        "806108e4f066c4a3f43e852f0010047001224f298c347aa5678f9afbea09b892222441d6baaf56eabb5719e3dc\
         67b1759ec5f03d5bd17ad794f0dca7a17619eace4b414d75e83b67fbf3f835febfc7a1",
        "806108e5f066c4a3f43e852f00100470a69d9e8d92a5927d6ca552954657613618c98c8d2348d24cf33cc0c0c8\
         81818d9b372a2452ca6cd9b96596596596596596596596596596596596596596596596",
        "80e108e6f066c4a3f43e852f001004705965965965965965965965965978",
        "806108e7f066c8a3f43e852f00100460010494da097504bab25d594e9fffa3ffbfe3cdea6b5f9fffd5ffdff5eb\
         8d5b8e7fff27febfcf5ae25deffff1ffe7fe3ceb527012f19ee79e79e7825e4c9fd297",
        "806108e8f066c8a3f43e852f00100460568f29274a98a9de9e77a79de9e77b9a77a7529e4ce73a9e7b9aacfdea\
         39f7e7b3f7d09d27642dbdcdcef4fcef43cef7cbe8f7cbe9f467c8ef3c9f3d957d39f4",
        "80e108e9f066c8a3f43e852f001004608fb746a240c0c0c487320d9f",
    ];

    /// The units in them.
    const UNITS: [&str; 2] = [
        "01224f298c347aa5678f9afbea09b892222441d6baaf56eabb5719e3dc67b1759ec5f03d5bd17ad794f0dca7a1\
         7619eace4b414d75e83b67fbf3f835febfc7a1a69d9e8d92a5927d6ca552954657613618c98c8d2348d24cf33c\
         c0c0c881818d9b372a2452ca6cd9b9659659659659659659659659659659659659659659659659659659659659\
         65965965965978",
        "010494da097504bab25d594e9fffa3ffbfe3cdea6b5f9fffd5ffdff5eb8d5b8e7fff27febfcf5ae25deffff1ff\
         e7fe3ceb527012f19ee79e79e7825e4c9fd297568f29274a98a9de9e77a79de9e77b9a77a7529e4ce73a9e7b9a\
         acfdea39f7e7b3f7d09d27642dbdcdcef4fcef43cef7cbe8f7cbe9f467c8ef3c9f3d957d39f48fb746a240c0c0\
         c487320d9f",
    ];
}
