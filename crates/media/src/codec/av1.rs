//! AV1: OBUs, the sequence header, the configuration record `av1C` (AV1 codec ISO media file format binding, 2.3), key frames.
//!
//! Clauses are those of the AV1 bitstream specification.

use super::Error;
use super::bits::BitReader;
use crate::track::VideoParams;
use bytes::{BufMut, Bytes, BytesMut};

/// `obu_type` of a sequence header (6.2.2).
pub const OBU_SEQUENCE_HEADER: u8 = 1;
/// `obu_type` of a temporal delimiter.
pub const OBU_TEMPORAL_DELIMITER: u8 = 2;
/// `obu_type` of a frame header.
pub const OBU_FRAME_HEADER: u8 = 3;
/// `obu_type` of a frame header with its tile group.
pub const OBU_FRAME: u8 = 6;

/// One OBU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// `obu_type`.
    pub kind: u8,
    /// Header, size and payload.
    pub whole: &'a [u8],
    /// What follows header and size.
    pub payload: &'a [u8],
}

/// Iterates over the OBUs of a temporal unit in the low-overhead format (5.2). An OBU without a size field takes the rest.
/// Ends after the first error.
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Obus<'a> {
    /// Over the whole of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    fn obu(&self) -> Result<Obu<'a>, Error> {
        let rest = &self.data[self.at..];
        let truncated = |what, need, got| Error::Truncated {
            what,
            at: self.at,
            need,
            got,
        };
        let header = rest[0];
        if header & 0x80 != 0 {
            return Err(Error::Value {
                what: "OBU header",
                got: header.into(),
                allowed: "the forbidden bit is 0 (5.3.2)",
            });
        }
        let header_len = if header & 4 != 0 { 2 } else { 1 };
        let body = rest
            .get(header_len..)
            .ok_or(truncated("OBU header", header_len, rest.len()))?;
        let (size_len, len) = if header & 2 != 0 {
            let (size_len, len) = leb128(body).ok_or(truncated("OBU size", 1, 0))?;
            (size_len, usize::try_from(len).unwrap_or(usize::MAX))
        } else {
            (0, body.len())
        };
        let payload = body[size_len..]
            .get(..len)
            .ok_or(truncated("OBU", len, body.len() - size_len))?;
        let whole = &rest[..header_len + size_len + len];
        Ok(Obu {
            kind: header >> 3 & 0xf,
            whole,
            payload,
        })
    }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.data.len() {
            return None;
        }
        let obu = self.obu();
        self.at = obu
            .as_ref()
            .map_or(self.data.len(), |obu| self.at + obu.whole.len());
        Some(obu)
    }
}

/// Bytes used and value of a `leb128()` (4.10.5), at most 32 bits.
fn leb128(data: &[u8]) -> Option<(usize, u32)> {
    let mut value = 0u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (index * 7);
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok().map(|value| (index + 1, value));
        }
    }
    None
}

/// What a temporal unit consists of, from one walk over its OBUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents<'a> {
    /// The first frame is a shown key frame, so decoding can start here.
    pub key: bool,
    /// The first sequence header.
    pub sequence_header: Option<Obu<'a>>,
    /// Temporal delimiters: how many there are.
    pub delimiters: usize,
    /// Length in bytes of the delimiters before everything else.
    pub leading_delimiters_len: usize,
}

impl<'a> Contents<'a> {
    /// Walks over a temporal unit; an error if sizes and unit do not fit together.
    pub fn of(unit: &'a [u8]) -> Result<Self, Error> {
        let mut contents = Self::default();
        let (mut frame_seen, mut only_delimiters) = (false, true);
        for obu in Obus::new(unit) {
            let obu = obu?;
            match obu.kind {
                OBU_TEMPORAL_DELIMITER => {
                    contents.delimiters += 1;
                    if only_delimiters {
                        contents.leading_delimiters_len += obu.whole.len();
                    }
                    continue;
                }
                OBU_SEQUENCE_HEADER => contents.sequence_header = contents.sequence_header.or(Some(obu)),
                OBU_FRAME_HEADER | OBU_FRAME if !frame_seen => {
                    frame_seen = true;
                    contents.key = is_shown_key_frame(obu.payload);
                }
                _ => {}
            }
            only_delimiters = false;
        }
        Ok(contents)
    }
}

/// First bits of `uncompressed_header()` (5.9.2): show_existing_frame 0, frame_type 0 (key), show_frame 1. In a stream with the
/// reduced header for still pictures other fields stand there; such a stream is one picture.
fn is_shown_key_frame(header: &[u8]) -> bool {
    header.first().is_some_and(|byte| byte >> 4 == 0b0001)
}

/// Takes the temporal delimiters out of a temporal unit: containers do not store them. Copies only if one stands behind other
/// OBUs.
pub fn without_delimiters(unit: &Bytes, contents: &Contents<'_>) -> Bytes {
    let rest = unit.slice(contents.leading_delimiters_len.min(unit.len())..);
    let mut obus = Obus::new(&rest).map_while(Result::ok);
    if contents.delimiters == 0 || obus.all(|obu| obu.kind != OBU_TEMPORAL_DELIMITER) {
        return rest;
    }
    let mut out = BytesMut::with_capacity(rest.len());
    for obu in Obus::new(&rest).map_while(Result::ok) {
        if obu.kind != OBU_TEMPORAL_DELIMITER {
            out.put_slice(obu.whole);
        }
    }
    out.freeze()
}

/// What Tidegate reads of a sequence header (5.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequenceHeader {
    /// `seq_profile`, 0..=2.
    pub profile: u8,
    /// `seq_level_idx[0]`.
    pub level: u8,
    /// `seq_tier[0]`.
    pub tier: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// `mono_chrome`.
    pub monochrome: bool,
    /// `subsampling_x`.
    pub subsampling_x: bool,
    /// `subsampling_y`.
    pub subsampling_y: bool,
    /// `chroma_sample_position`.
    pub chroma_sample_position: u8,
    /// `max_frame_width_minus_1` + 1.
    pub width: u32,
    /// `max_frame_height_minus_1` + 1.
    pub height: u32,
    /// Frames per second by the timing information; 0.0 without one.
    pub fps: f32,
}

impl SequenceHeader {
    /// Reads the payload of an OBU of type 1.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(payload, "AV1 sequence header");
        let profile = bits.u8(3)?;
        if profile > 2 {
            return Err(Error::Value {
                what: "seq_profile",
                got: profile.into(),
                allowed: "0 to 2 (6.4.1)",
            });
        }
        bits.skip(1)?; // still_picture
        let reduced = bits.bit()?;
        let (mut level, mut tier, mut fps) = (0, 0, 0.0);
        if reduced {
            level = bits.u8(5)?;
        } else {
            let mut delay_bits = None;
            if bits.bit()? {
                fps = timing_info(&mut bits)?;
                if bits.bit()? {
                    delay_bits = Some(bits.u(5)? + 1);
                    bits.skip(32 + 5 + 5)?;
                }
            }
            let initial_delay = bits.bit()?;
            for point in 0..=bits.u(5)? {
                bits.skip(12)?; // operating_point_idc
                let point_level = bits.u8(5)?;
                let point_tier = if point_level > 7 { bits.u8(1)? } else { 0 };
                if point == 0 {
                    (level, tier) = (point_level, point_tier);
                }
                if let Some(delay_bits) = delay_bits
                    && bits.bit()?
                {
                    bits.skip(2 * delay_bits + 1)?;
                }
                if initial_delay && bits.bit()? {
                    bits.skip(4)?;
                }
            }
        }
        let (width_bits, height_bits) = (bits.u(4)? + 1, bits.u(4)? + 1);
        let (width, height) = (bits.u(width_bits)? + 1, bits.u(height_bits)? + 1);
        if !reduced && bits.bit()? {
            bits.skip(7)?; // frame id lengths
        }
        bits.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
        if !reduced {
            bits.skip(4)?; // compound and motion tools
            let order_hint = bits.bit()?;
            bits.skip(if order_hint { 2 } else { 0 })?;
            // seq_choose_screen_content_tools, else the flag itself; then the same for integer motion vectors.
            if bits.bit()? || bits.bit()? {
                let choose_integer = bits.bit()?;
                bits.skip(if choose_integer { 0 } else { 1 })?;
            }
            bits.skip(if order_hint { 3 } else { 0 })?;
        }
        bits.skip(3)?; // enable_superres, enable_cdef, enable_restoration
        let header = Self {
            profile,
            level,
            tier,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_sample_position: 0,
            width,
            height,
            fps,
        };
        header.with_color_config(&mut bits)
    }

    /// `color_config()` (5.5.2).
    fn with_color_config(mut self, bits: &mut BitReader<'_>) -> Result<Self, Error> {
        const BT_709: u32 = 1;
        const SRGB: u32 = 13;
        const IDENTITY: u32 = 0;
        let high = bits.bit()?;
        self.bit_depth = match (self.profile, high) {
            (2, true) if bits.bit()? => 12,
            (_, true) => 10,
            (_, false) => 8,
        };
        self.monochrome = self.profile != 1 && bits.bit()?;
        let description = if bits.bit()? {
            (bits.u(8)?, bits.u(8)?, bits.u(8)?)
        } else {
            (2, 2, 2)
        };
        if self.monochrome {
            return Ok(self);
        }
        if description == (BT_709, SRGB, IDENTITY) {
            (self.subsampling_x, self.subsampling_y) = (false, false);
            return Ok(self);
        }
        bits.skip(1)?; // color_range
        (self.subsampling_x, self.subsampling_y) = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.bit_depth == 12 => {
                let x = bits.bit()?;
                (x, x && bits.bit()?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_sample_position = bits.u8(2)?;
        }
        Ok(self)
    }

    /// The picture parameters.
    pub fn params(&self) -> VideoParams {
        VideoParams {
            width: self.width,
            height: self.height,
            fps: self.fps,
        }
    }
}

/// `timing_info()` (5.5.3).
fn timing_info(bits: &mut BitReader<'_>) -> Result<f32, Error> {
    let (units, scale) = (bits.u(32)?, bits.u(32)?);
    if !bits.bit()? {
        return Ok(0.0);
    }
    let ticks = u64::from(bits.uvlc()?) + 1;
    Ok(super::frame_rate(scale.into(), u64::from(units) * ticks))
}

/// An `av1C`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The record.
    record: Bytes,
    /// The sequence header of `configOBUs`, if there is one: its payload and what it says.
    header: Option<(Bytes, SequenceHeader)>,
}

impl Config {
    /// Reads an `av1C`.
    pub fn parse(record: &Bytes) -> Result<Self, Error> {
        let Some(head) = record.first_chunk::<HEAD_LEN>() else {
            return Err(Error::Truncated {
                what: "av1C",
                at: 0,
                need: HEAD_LEN,
                got: record.len(),
            });
        };
        if head[0] != 0x81 {
            let allowed = "0x81, marker 1 and version 1 (AV1 in ISOBMFF, 2.3.3)";
            return Err(Error::Value {
                what: "first byte of av1C",
                got: head[0].into(),
                allowed,
            });
        }
        let obu = Obus::new(&record[HEAD_LEN..])
            .map_while(Result::ok)
            .find(|obu| obu.kind == OBU_SEQUENCE_HEADER);
        let header = obu.and_then(|obu| {
            SequenceHeader::parse(obu.payload)
                .ok()
                .map(|header| (record.slice_ref(obu.payload), header))
        });
        Ok(Self {
            record: record.clone(),
            header,
        })
    }

    /// Makes a record from a sequence header.
    pub fn from_sequence_header(obu: &Obu<'_>) -> Result<Self, Error> {
        let header = SequenceHeader::parse(obu.payload)?;
        let mut record = BytesMut::with_capacity(HEAD_LEN + 4 + obu.payload.len());
        record.put_slice(&[
            0x81,
            header.profile << 5 | header.level,
            header.tier << 7
                | u8::from(header.bit_depth > 8) << 6
                | u8::from(header.bit_depth == 12) << 5
                | u8::from(header.monochrome) << 4
                | u8::from(header.subsampling_x) << 3
                | u8::from(header.subsampling_y) << 2
                | header.chroma_sample_position,
            0, // no initial_presentation_delay
        ]);
        // configOBUs have size fields, which the stream's may lack.
        record.put_u8(OBU_SEQUENCE_HEADER << 3 | 2);
        put_leb128(obu.payload.len() as u32, &mut record);
        let at = record.len();
        record.put_slice(obu.payload);
        let record = record.freeze();
        let payload = record.slice(at..);
        Ok(Self {
            record,
            header: Some((payload, header)),
        })
    }

    /// Takes over the sequence header inside a temporal unit. Returns whether the record changed.
    pub fn update(&mut self, contents: &Contents<'_>) -> bool {
        let Some(obu) = &contents.sequence_header else {
            return false;
        };
        if self
            .header
            .as_ref()
            .is_some_and(|(payload, _)| payload[..] == *obu.payload)
        {
            return false;
        }
        match Self::from_sequence_header(obu) {
            Ok(new) => {
                *self = new;
                true
            }
            Err(_) => false,
        }
    }

    /// The record as bytes.
    pub fn build(&self) -> Bytes {
        self.record.clone()
    }

    /// Picture parameters; 0 if the record has no sequence header.
    pub fn params(&self) -> VideoParams {
        self.header
            .as_ref()
            .map(|(_, header)| header.params())
            .unwrap_or_default()
    }
}

/// Appends a `leb128()` (4.10.5).
pub fn put_leb128(mut value: u32, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Bytes of a record before `configOBUs`.
const HEAD_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `libaom`, 322x182, 4:4:4, 30 fps, as an FLV of FFmpeg 9 carries it.
    const RECORD: &[u8] = &[
        0x81, 0x20, 0x00, 0x00, 0x0a, 0x0d, 0x20, 0, 0, 4, 0x3d, 6, 0xd4, 0xda, 0xf9, 0x20, 0x21, 0xa0, 4,
    ];
    /// The first bytes of its first temporal unit; the frame is cut short and its size made to fit.
    const UNIT: &[u8] = &[
        0x12, 0, 0x0a, 0x0d, 0x20, 0, 0, 4, 0x3d, 6, 0xd4, 0xda, 0xf9, 0x20, 0x21, 0xa0, 4, 0x32, 4, 0x14, 0,
        0x22, 0x18,
    ];

    #[test]
    fn the_record_made_from_the_stream_equals_the_encoders() {
        let contents = Contents::of(UNIT).unwrap();
        assert!(contents.key);
        let config = Config::from_sequence_header(&contents.sequence_header.unwrap()).unwrap();
        assert_eq!(config.build(), RECORD);
        assert_eq!((config.params().width, config.params().height), (322, 182));
        let mut parsed = Config::parse(&Bytes::from_static(RECORD)).unwrap();
        assert_eq!(parsed, config);
        assert!(!parsed.update(&contents));
    }

    #[test]
    fn another_sequence_header_replaces_the_record() {
        let mut unit = UNIT.to_vec();
        unit[9] |= 8; // a bit of max_frame_width_minus_1
        let contents = Contents::of(&unit).unwrap();
        let mut config = Config::parse(&Bytes::from_static(RECORD)).unwrap();
        assert!(config.update(&contents));
        assert_eq!(config.params().width, 324);
        assert!(!config.update(&contents));
    }

    #[test]
    fn temporal_delimiters_are_taken_out_without_a_copy_when_they_lead() {
        let unit = Bytes::from_static(UNIT);
        let stripped = without_delimiters(&unit, &Contents::of(&unit).unwrap());
        assert_eq!(stripped, UNIT[2..]);
        assert_eq!(stripped.as_ptr(), UNIT[2..].as_ptr());
        let twice = Bytes::from([UNIT, UNIT].concat());
        let stripped = without_delimiters(&twice, &Contents::of(&twice).unwrap());
        assert_eq!(stripped, [&UNIT[2..], &UNIT[2..]].concat());
    }

    #[test]
    fn an_obu_without_size_takes_the_rest() {
        let data = [0x0a, 1, 0xaa, 0x30, 0x10, 1, 2];
        let obus: Vec<_> = Obus::new(&data).collect::<Result<_, _>>().unwrap();
        assert_eq!((obus[0].kind, obus[0].payload), (1, &[0xaa][..]));
        assert_eq!((obus[1].kind, obus[1].payload), (6, &[0x10, 1, 2][..]));
        assert!(Contents::of(&[0x0a, 5, 0]).is_err());
        assert!(Contents::of(&[0x8a, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let data = Bytes::from(data);
            if let Ok(contents) = Contents::of(&data) {
                let stripped = without_delimiters(&data, &contents);
                prop_assert_eq!(Contents::of(&stripped).unwrap().delimiters, 0);
                if let Some(obu) = &contents.sequence_header {
                    let _ = Config::from_sequence_header(obu);
                }
            }
            let _ = SequenceHeader::parse(&data);
            let record = Bytes::from([&[0x81, 0, 0, 0], &data[..]].concat());
            let config = Config::parse(&record).unwrap();
            config.params();
        }
    }
}
