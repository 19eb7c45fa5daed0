//! H.265: the decoder configuration record `hvcC` (ISO/IEC 14496-15, 8.3.3.1), parameter sets, key frames.

use super::Error;
use super::bits::BitReader;
use super::nal::{LengthPrefixed, RecordReader, has_recovery_point, put_unit, replace_set};
use crate::track::VideoParams;
use bytes::{BufMut, Bytes, BytesMut};

/// `nal_unit_type` of a video parameter set (table 7-1).
pub const NAL_VPS: u8 = 32;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 33;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 34;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 35;
/// `nal_unit_type` of supplemental enhancement information before the picture.
pub const NAL_PREFIX_SEI: u8 = 39;

/// `nal_unit_type` of a NAL unit; 63, which is unspecified, if the unit is empty.
pub fn nal_type(unit: &[u8]) -> u8 {
    unit.first().map_or(63, |byte| byte >> 1 & 0x3f)
}

/// What a frame consists of, from one walk over its NAL units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// A slice of an intra random access point picture: BLA, IDR, CRA (types 16 to 21).
    pub irap: bool,
    /// A recovery point message: decoding can start here, if the container says so too.
    pub recovery: bool,
    /// A parameter set.
    pub parameter_sets: bool,
}

impl Contents {
    /// Walks over `frame`, NAL units with 4-byte lengths; an error if lengths and frame do not fit together.
    pub fn of(frame: &[u8]) -> Result<Self, Error> {
        let mut contents = Self::default();
        for unit in LengthPrefixed::new(frame, 4) {
            let unit = unit?;
            match nal_type(unit) {
                16..=21 => contents.irap = true,
                NAL_VPS | NAL_SPS | NAL_PPS => contents.parameter_sets = true,
                NAL_PREFIX_SEI => contents.recovery |= has_recovery_point(unit.get(2..).unwrap_or_default()),
                _ => {}
            }
        }
        Ok(contents)
    }

    /// Whether decoding can start here. `flagged` is what the container says about the frame; it decides only for gradual
    /// refresh, which has no IRAP pictures.
    pub fn is_key(&self, flagged: bool) -> bool {
        self.irap || flagged && self.recovery
    }
}

/// An `hvcC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The first 22 bytes: version, profile, tier, level, formats, layers. The length size in it is not used.
    head: [u8; HEAD_LEN],
    /// Bytes of the length field before each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// Video parameter sets.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
    /// SEI messages for the whole stream, by type of NAL unit, as they came.
    sei: Vec<(u8, Bytes)>,
}

impl Config {
    /// Reads an `hvcC`.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let mut reader = RecordReader::new(record, "hvcC");
        let head: [u8; HEAD_LEN] = reader.array()?;
        // Version 0 was written by encoders that followed a draft; the layout is the same.
        if head[0] > 1 {
            return Err(Error::Value {
                what: "hvcC version",
                got: head[0].into(),
                allowed: "only 1 is defined",
            });
        }
        let length_size = (head[LENGTH_SIZE_AT] & 3) + 1;
        if length_size == 3 {
            return Err(Error::Value {
                what: "NAL length size",
                got: 3,
                allowed: "1, 2 or 4 (ISO/IEC 14496-15, 8.3.3.1.3)",
            });
        }
        let (vps, sps, pps, sei) = Default::default();
        let mut config = Self {
            head,
            length_size,
            vps,
            sps,
            pps,
            sei,
        };
        let mut units = 0usize;
        for _ in 0..reader.u8()? {
            let nal_type = reader.u8()? & 0x3f;
            for _ in 0..reader.u16()? {
                units += 1;
                if units > MAX_SETS {
                    return Err(Error::Value {
                        what: "NAL units in hvcC",
                        got: units as u64,
                        allowed: "at most 256",
                    });
                }
                let unit = reader.unit()?;
                match nal_type {
                    NAL_VPS => config.vps.push(unit),
                    NAL_SPS => config.sps.push(unit),
                    NAL_PPS => config.pps.push(unit),
                    other => config.sei.push((other, unit)),
                }
            }
        }
        if config.sps.is_empty() {
            return Err(Error::Missing { what: "SPS in hvcC" });
        }
        Ok(config)
    }

    /// Makes a record from the parameter sets of a frame (NAL units with 4-byte lengths); `None` if one of VPS, SPS and PPS is
    /// missing or the SPS cannot be read.
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let (vps, sps, pps, sei) = Default::default();
        let mut config = Self {
            head: [0; HEAD_LEN],
            length_size: 4,
            vps,
            sps,
            pps,
            sei,
        };
        config.update(frame);
        let whole = !config.vps.is_empty() && !config.pps.is_empty() && config.head[0] == 1;
        whole.then_some(config)
    }

    /// Takes over the parameter sets inside a frame (NAL units with 4-byte lengths): each replaces the one with its number.
    /// Returns whether the record changed.
    pub fn update(&mut self, frame: &[u8]) -> bool {
        let (mut changed, mut new_sps) = (false, false);
        for unit in LengthPrefixed::new(frame, 4).map_while(Result::ok) {
            match nal_type(unit) {
                NAL_VPS => changed |= replace_set(&mut self.vps, unit, MAX_VPS, vps_id),
                NAL_SPS => new_sps |= replace_set(&mut self.sps, unit, MAX_SPS, sps_id),
                NAL_PPS => changed |= replace_set(&mut self.pps, unit, MAX_PPS, pps_id),
                _ => {}
            }
        }
        if new_sps && let Some(sps) = self.sps.first().and_then(|sps| Sps::parse(sps).ok()) {
            self.head = sps.record_head();
        }
        changed || new_sps
    }

    /// SEI messages for the whole stream that stand before a picture, such as those about its colours, as NAL units.
    pub fn prefix_sei(&self) -> impl Iterator<Item = &Bytes> {
        self.sei
            .iter()
            .filter(|(nal_type, _)| *nal_type == NAL_PREFIX_SEI)
            .map(|(_, unit)| unit)
    }

    /// The record as bytes.
    pub fn build(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128);
        let mut head = self.head;
        head[0] = 1;
        head[LENGTH_SIZE_AT] = head[LENGTH_SIZE_AT] & !3 | (self.length_size.clamp(1, 4) - 1);
        out.put_slice(&head);
        let sets = [(NAL_VPS, &self.vps), (NAL_SPS, &self.sps), (NAL_PPS, &self.pps)];
        // Their count has 8 bits.
        let sei = &self.sei[..self.sei.len().min(usize::from(u8::MAX) - sets.len())];
        let arrays = sets.iter().filter(|(_, sets)| !sets.is_empty()).count() + sei.len();
        out.put_u8(arrays as u8);
        for (nal_type, sets) in sets.into_iter().filter(|(_, sets)| !sets.is_empty()) {
            out.put_u8(nal_type); // array_completeness 0: the frames may hold sets too
            out.put_u16(sets.len() as u16);
            sets.iter().for_each(|unit| put_unit(unit, &mut out));
        }
        for (nal_type, unit) in sei {
            out.put_u8(*nal_type);
            out.put_u16(1);
            put_unit(unit, &mut out);
        }
        out.freeze()
    }

    /// Picture parameters from the first SPS; what cannot be read is 0.
    pub fn params(&self) -> VideoParams {
        let Some(sps) = self.sps.first().and_then(|sps| Sps::parse(sps).ok()) else {
            return VideoParams::default();
        };
        VideoParams {
            width: sps.width,
            height: sps.height,
            fps: sps.fps,
        }
    }

    /// [`Sps::reorder`] of the first SPS; `None` if it cannot be read.
    pub fn reorder(&self) -> Option<u8> {
        self.sps.first().and_then(|sps| Sps::parse(sps).ok())?.reorder
    }
}

/// What Tidegate reads of a sequence parameter set (7.3.2.2.1, E.2.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// The first 12 bytes of `profile_tier_level()`: profile space, tier, profile, compatibility, constraints, level.
    pub profile_tier_level: [u8; 12],
    /// Temporal sub-layers, 1..=7.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_nesting: bool,
    /// `sps_seq_parameter_set_id`, 0..=15.
    pub id: u32,
    /// `chroma_format_idc`, 0..=3.
    pub chroma_format: u8,
    /// Bits per luma sample, 8..=16.
    pub luma_bits: u8,
    /// Bits per chroma sample, 8..=16.
    pub chroma_bits: u8,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Frames per second by the timing information; 0.0 without one.
    pub fps: f32,
    /// Most frames that precede one in decoding order and follow it in output order, 0..=15: `sps_max_num_reorder_pics` of the
    /// highest sub-layer. `None` only if the SPS ends before it.
    pub reorder: Option<u8>,
}

impl Sps {
    /// Reads a NAL unit of type 33.
    pub fn parse(unit: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::rbsp(unit.get(2..).unwrap_or_default(), "H.265 SPS");
        bits.skip(4)?; // sps_video_parameter_set_id
        let max_sub_layers = limited(bits.u(3)?, 6, "sps_max_sub_layers_minus1")?;
        let temporal_nesting = bits.bit()?;
        let profile_tier_level = profile_tier_level(&mut bits, max_sub_layers)?;
        let id = limited(bits.ue()?, 15, "sps_seq_parameter_set_id")?;
        let chroma_format = limited(bits.ue()?, 3, "chroma_format_idc")? as u8;
        let separate_planes = chroma_format == 3 && bits.bit()?;
        let width = limited(bits.ue()?, MAX_SIDE, "pic_width_in_luma_samples")?;
        let height = limited(bits.ue()?, MAX_SIDE, "pic_height_in_luma_samples")?;
        let mut crop = [0; 4]; // left, right, top, bottom
        if bits.bit()? {
            for offset in &mut crop {
                *offset = limited(bits.ue()?, MAX_SIDE, "conf_win_offset")?;
            }
        }
        let luma_bits = 8 + limited(bits.ue()?, 8, "bit_depth_luma_minus8")? as u8;
        let chroma_bits = 8 + limited(bits.ue()?, 8, "bit_depth_chroma_minus8")? as u8;
        // SubWidthC and SubHeightC (table 6-1).
        let crop_x = if matches!(chroma_format, 1 | 2) && !separate_planes {
            2
        } else {
            1
        };
        let crop_y = if chroma_format == 1 && !separate_planes {
            2
        } else {
            1
        };
        // What stands behind is needed for times only.
        let mut rest = Rest::default();
        let _ended = rest.read(&mut bits, max_sub_layers);
        Ok(Self {
            profile_tier_level,
            temporal_layers: max_sub_layers as u8 + 1,
            temporal_nesting,
            id,
            chroma_format,
            luma_bits,
            chroma_bits,
            width: width.saturating_sub((crop[0] + crop[1]) * crop_x),
            height: height.saturating_sub((crop[2] + crop[3]) * crop_y),
            fps: rest.fps,
            reorder: rest.reorder,
        })
    }

    /// The first 22 bytes of an `hvcC` for this SPS: no segmentation or parallelism promised, frame rate not given.
    fn record_head(&self) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[0] = 1;
        head[1..13].copy_from_slice(&self.profile_tier_level);
        head[13..19].copy_from_slice(&[
            0xf0, // min_spatial_segmentation_idc
            0,
            0xfc, // parallelismType
            0xfc | self.chroma_format,
            0xf8 | (self.luma_bits - 8) & 7,
            0xf8 | (self.chroma_bits - 8) & 7,
        ]);
        head[LENGTH_SIZE_AT] = self.temporal_layers << 3 | u8::from(self.temporal_nesting) << 2 | 3;
        head
    }
}

/// Reads `profile_tier_level(1, max_sub_layers)` (7.3.3) and returns its general part.
fn profile_tier_level(bits: &mut BitReader<'_>, max_sub_layers: u32) -> Result<[u8; 12], Error> {
    let mut general = [0; 12];
    for byte in &mut general {
        *byte = bits.u8(8)?;
    }
    let mut present = [(false, false); 8];
    if max_sub_layers > 0 {
        for layer in &mut present {
            *layer = (bits.bit()?, bits.bit()?);
        }
    }
    for (profile, level) in present.into_iter().take(max_sub_layers as usize) {
        bits.skip(if profile { 88 } else { 0 })?;
        bits.skip(if level { 8 } else { 0 })?;
    }
    Ok(general)
}

/// What is read of the part from `log2_max_pic_order_cnt_lsb_minus4` to the VUI's timing information.
#[derive(Default)]
struct Rest {
    fps: f32,
    reorder: Option<u8>,
}

impl Rest {
    /// Reads as far as it goes; what stands before an error is kept.
    fn read(&mut self, bits: &mut BitReader<'_>, max_sub_layers: u32) -> Result<(), Error> {
        let poc_bits = limited(bits.ue()?, 12, "log2_max_pic_order_cnt_lsb_minus4")? + 4;
        let all_layers = bits.bit()?;
        for _ in if all_layers { 0 } else { max_sub_layers }..=max_sub_layers {
            bits.ue()?; // sps_max_dec_pic_buffering_minus1
            let reorder = limited(bits.ue()?, MAX_REORDER, "sps_max_num_reorder_pics")?;
            bits.ue()?; // sps_max_latency_increase_plus1
            // The last one is that of the highest sub-layer.
            self.reorder = Some(reorder as u8);
        }
        for _ in 0..6 {
            bits.ue()?; // block sizes, transform depths
        }
        if bits.bit()? && bits.bit()? {
            skip_scaling_lists(bits)?;
        }
        bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
        if bits.bit()? {
            bits.skip(8)?; // PCM bit depths
            bits.ue()?;
            bits.ue()?;
            bits.skip(1)?;
        }
        let sets = limited(bits.ue()?, 64, "num_short_term_ref_pic_sets")?;
        let mut pictures = 0;
        for index in 0..sets {
            pictures = skip_ref_pic_set(bits, index, pictures)?;
        }
        if bits.bit()? {
            for _ in 0..limited(bits.ue()?, 32, "num_long_term_ref_pics_sps")? {
                bits.skip(poc_bits + 1)?;
            }
        }
        bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
        if !bits.bit()? {
            return Ok(());
        }
        if bits.bit()? && bits.u(8)? == EXTENDED_SAR {
            bits.skip(32)?;
        }
        if bits.bit()? {
            bits.skip(1)?; // overscan_appropriate_flag
        }
        if bits.bit()? {
            bits.skip(4)?; // video_format, video_full_range_flag
            if bits.bit()? {
                bits.skip(24)?; // colour description
            }
        }
        if bits.bit()? {
            bits.ue()?;
            bits.ue()?; // chroma sample locations
        }
        bits.skip(1)?; // neutral_chroma_indication_flag
        let fields = bits.bit()?;
        bits.skip(1)?; // frame_field_info_present_flag
        if bits.bit()? {
            for _ in 0..4 {
                bits.ue()?; // default display window
            }
        }
        if !bits.bit()? {
            return Ok(());
        }
        let units = bits.u(32)?;
        let scale = bits.u(32)?;
        self.fps = super::frame_rate(scale.into(), u64::from(units) * if fields { 2 } else { 1 });
        Ok(())
    }
}

/// `scaling_list_data()` (7.3.4).
fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Result<(), Error> {
    for size in 0..4 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.bit()? {
                bits.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size > 1 {
                bits.se()?; // scaling_list_dc_coef_minus8
            }
            for _ in 0..64.min(1 << (4 + (size << 1))) {
                bits.se()?;
            }
        }
    }
    Ok(())
}

/// `st_ref_pic_set(index)` within an SPS (7.3.7). Takes and returns the number of pictures in a set (NumDeltaPocs).
fn skip_ref_pic_set(bits: &mut BitReader<'_>, index: u32, previous: u32) -> Result<u32, Error> {
    if index > 0 && bits.bit()? {
        bits.skip(1)?; // delta_rps_sign
        bits.ue()?;
        let mut pictures = 0;
        for _ in 0..=previous {
            // Not used by the current picture: use_delta_flag tells whether it stays in the set.
            if bits.bit()? || bits.bit()? {
                pictures += 1;
            }
        }
        return Ok(pictures);
    }
    let negative = limited(bits.ue()?, 16, "num_negative_pics")?;
    let positive = limited(bits.ue()?, 16, "num_positive_pics")?;
    for _ in 0..negative + positive {
        bits.ue()?;
        bits.skip(1)?;
    }
    Ok(negative + positive)
}

fn limited(got: u32, max: u32, what: &'static str) -> Result<u32, Error> {
    if got > max {
        return Err(Error::Value {
            what,
            got: got.into(),
            allowed: "beyond the range of H.265, 7.4.3",
        });
    }
    Ok(got)
}

fn vps_id(unit: &[u8]) -> Option<u32> {
    unit.get(2).map(|byte| u32::from(byte >> 4))
}

fn sps_id(unit: &[u8]) -> Option<u32> {
    Sps::parse(unit).ok().map(|sps| sps.id)
}

fn pps_id(unit: &[u8]) -> Option<u32> {
    BitReader::rbsp(unit.get(2..)?, "H.265 PPS")
        .ue()
        .ok()
        .filter(|id| *id <= 63)
}

/// Bytes of a record before its arrays, their count not included.
const HEAD_LEN: usize = 22;
/// Byte with `lengthSizeMinusOne` in its lower two bits.
const LENGTH_SIZE_AT: usize = 21;
/// NAL units accepted in a record: all parameter sets that can be numbered are 96.
const MAX_SETS: usize = 256;
/// `vps_video_parameter_set_id` has 4 bits.
const MAX_VPS: usize = 16;
/// `sps_seq_parameter_set_id` ends at 15.
const MAX_SPS: usize = 16;
/// `pps_pic_parameter_set_id` ends at 63.
const MAX_PPS: usize = 64;
/// Longest side in pixels; level 6.2 ends at 16,888.
const MAX_SIDE: u32 = 65_536;
/// A decoded picture buffer holds at most 16 pictures (A.4.2), and one of them is the picture itself.
const MAX_REORDER: u32 = 15;
/// `aspect_ratio_idc` with explicit width and height.
const EXTENDED_SAR: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `libx265`, 322x182 at 30 fps, as an FLV of FFmpeg 9 carries it (without the SEI unit).
    const VPS: &[u8] = &[
        0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x03, 0x00, 0x3c, 0x95, 0x98, 0x09,
    ];
    const SPS: &[u8] = &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
        0x3c, 0xa0, 0x0a, 0x48, 0x0b, 0x9c, 0x95, 0x96, 0x56, 0x69, 0x24, 0xca, 0xf0, 0x16, 0x80, 0x80, 0x00,
        0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x0f, 0x04,
    ];
    const PPS: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];
    /// What FFmpeg wrote before the arrays.
    const HEAD: [u8; 22] = [
        0x01, 0x01, 0x60, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3c, 0xf0, 0x00, 0xfc, 0xfd,
        0xf8, 0xf8, 0x00, 0x00, 0x0f,
    ];

    fn frame(units: &[&[u8]]) -> BytesMut {
        let mut frame = BytesMut::new();
        units
            .iter()
            .for_each(|unit| super::super::nal::put(unit, &mut frame));
        frame
    }

    #[test]
    fn size_after_cropping_and_frame_rate_come_from_the_sps() {
        let sps = Sps::parse(SPS).unwrap();
        assert_eq!((sps.width, sps.height, sps.fps), (322, 182, 30.0));
        assert_eq!(
            (sps.chroma_format, sps.luma_bits, sps.temporal_layers, sps.id),
            (1, 8, 1, 0)
        );
    }

    #[test]
    fn the_reordering_depth_is_that_of_the_highest_sub_layer() {
        // `libx265` with `bframes=3` (a pyramid is its default) and `bframes=0`, 320x180 at 25 fps.
        let pyramid = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
            0x00, 0x3c, 0xa0, 0x0a, 0x08, 0x0b, 0x9f, 0x79, 0x65, 0x65, 0x92, 0x4c, 0xaf, 0x01, 0x68, 0x08,
            0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x40,
        ];
        let without = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
            0x00, 0x3c, 0xa0, 0x0a, 0x08, 0x0b, 0x9f, 0x79, 0x64, 0xa9, 0x24, 0xca, 0xf0, 0x16, 0x80, 0x80,
            0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x0c, 0x84,
        ];
        let read = |unit: &[u8]| Sps::parse(unit).map(|sps| (sps.width, sps.height, sps.fps, sps.reorder));
        assert_eq!(read(&pyramid), Ok((320, 180, 25.0, Some(2))));
        assert_eq!(read(&without), Ok((320, 180, 25.0, Some(0))));
        // Cut behind the sub-layers, and within them.
        assert_eq!(read(&pyramid[..27]), Ok((320, 180, 0.0, Some(2))));
        assert_eq!(read(&pyramid[..24]), Ok((320, 180, 0.0, None)));
        assert_eq!(
            Config::from_frame(&frame(&[VPS, &pyramid, PPS]))
                .unwrap()
                .reorder(),
            Some(2)
        );
    }

    #[test]
    fn a_record_made_from_parameter_sets_equals_the_encoders() {
        let config = Config::from_frame(&frame(&[VPS, SPS, PPS, &[0x26, 1, 0xaf]])).unwrap();
        let record = config.build();
        assert_eq!(record[..22], HEAD);
        assert_eq!(record[22..26], [3, 0x20, 0, 1]);
        assert_eq!(Config::parse(&record), Ok(config.clone()));
        assert_eq!(
            config.params(),
            VideoParams {
                width: 322,
                height: 182,
                fps: 30.0
            }
        );
        assert!(Config::from_frame(&frame(&[SPS, PPS])).is_none());
    }

    #[test]
    fn sets_inside_frames_change_the_record_only_when_they_differ() {
        let mut config = Config::from_frame(&frame(&[VPS, SPS, PPS])).unwrap();
        assert!(!config.update(&frame(&[VPS, SPS, PPS, &[0x26, 1, 0xaf]])));
        let mut other = SPS.to_vec();
        other[17] = 0x5d; // level 3.1
        assert!(config.update(&frame(&[&other])));
        assert_eq!((config.build()[12], config.sps.len()), (0x5d, 1));
    }

    #[test]
    fn key_frames_are_irap_pictures_or_flagged_recovery_points() {
        let contents = |units: &[&[u8]]| Contents::of(&frame(units)).unwrap();
        for nal_type in 0..64u8 {
            let key = contents(&[&[nal_type << 1, 1, 0x80]]).is_key(true);
            assert_eq!(key, (16..=21).contains(&nal_type), "{nal_type}");
        }
        let gradual = contents(&[&[NAL_PREFIX_SEI << 1, 1, 6, 1, 0x80, 0x80], &[2, 1, 0x80]]);
        assert!(gradual.is_key(true) && !gradual.is_key(false));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..160)) {
            if let Ok(config) = Config::parse(&data) {
                config.params();
                prop_assert!(Config::parse(&config.build()).is_ok());
            }
            let _ = Sps::parse(&data);
            let _ = Contents::of(&data);
            let _ = Config::from_frame(&data);
        }

        #[test]
        fn a_damaged_sps_does_no_harm(at in 2usize..42, byte: u8) {
            let mut unit = SPS.to_vec();
            unit[at] = byte;
            let mut config = Config::from_frame(&frame(&[VPS, SPS, PPS])).unwrap();
            config.update(&frame(&[&unit]));
            config.params();
        }
    }
}
