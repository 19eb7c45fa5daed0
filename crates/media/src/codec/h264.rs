//! H.264: the decoder configuration record `avcC` (ISO/IEC 14496-15, 5.3.3.1), parameter sets, key frames.

use super::Error;
use super::bits::BitReader;
use super::nal::{LengthPrefixed, RecordReader, has_recovery_point, put_unit, replace_set};
use crate::track::VideoParams;
use bytes::{BufMut, Bytes, BytesMut};

/// `nal_unit_type` of a coded slice that is not IDR (table 7-1).
pub const NAL_SLICE: u8 = 1;
/// `nal_unit_type` of a coded slice of an IDR picture.
pub const NAL_IDR: u8 = 5;
/// `nal_unit_type` of supplemental enhancement information.
pub const NAL_SEI: u8 = 6;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 8;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 9;

/// `nal_unit_type` of a NAL unit; 0, which is unspecified, if the unit is empty.
pub fn nal_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// What a frame consists of, from one walk over its NAL units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// A slice of an IDR picture.
    pub idr: bool,
    /// A recovery point message, or a first slice that is intra: decoding can start here, if the container says so too.
    pub recovery: bool,
    /// A parameter set.
    pub parameter_sets: bool,
    /// A slice of any kind.
    pub slice: bool,
}

impl Contents {
    /// Walks over `frame`, NAL units with 4-byte lengths; an error if lengths and frame do not fit together.
    pub fn of(frame: &[u8]) -> Result<Self, Error> {
        let mut contents = Self::default();
        for unit in LengthPrefixed::new(frame, 4) {
            let unit = unit?;
            match nal_type(unit) {
                NAL_IDR => (contents.idr, contents.slice) = (true, true),
                NAL_SPS | NAL_PPS => contents.parameter_sets = true,
                NAL_SEI => contents.recovery |= has_recovery_point(&unit[1..]),
                // Data partition A (2) has a slice header too.
                NAL_SLICE | 2 if !contents.slice => {
                    contents.slice = true;
                    contents.recovery |= is_intra(unit);
                }
                _ => {}
            }
        }
        Ok(contents)
    }

    /// Whether decoding can start here. `flagged` is what the container says about the frame; it decides only for pictures that
    /// can be entry points without being IDR (open GOP, intra refresh).
    pub fn is_key(&self, flagged: bool) -> bool {
        self.idr || flagged && self.recovery
    }
}

/// Whether a slice is I or SI (table 7-6).
fn is_intra(slice: &[u8]) -> bool {
    // The two fields take a few bytes; the slice may be long, but only those are read.
    let mut bits = BitReader::rbsp(&slice[1..], "slice header");
    bits.ue()
        .and_then(|_first_mb| bits.ue())
        .is_ok_and(|slice_type| matches!(slice_type, 2 | 4 | 7 | 9))
}

/// An `avcC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `AVCProfileIndication`.
    pub profile: u8,
    /// `profile_compatibility`.
    pub compatibility: u8,
    /// `AVCLevelIndication`.
    pub level: u8,
    /// Bytes of the length field before each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter sets, 1 to 31, each shorter than 64 KiB.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, at most 255, each shorter than 64 KiB.
    pub pps: Vec<Bytes>,
    /// What follows in the record (chroma format and bit depths of the High profiles), as it came.
    pub extension: Bytes,
}

impl Config {
    /// Reads an `avcC`.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let mut reader = RecordReader::new(record, "avcC");
        let [version, profile, compatibility, level, size, count] = reader.array()?;
        if version != 1 {
            return Err(Error::Value {
                what: "avcC version",
                got: version.into(),
                allowed: "only 1 is defined",
            });
        }
        let length_size = (size & 3) + 1;
        if length_size == 3 {
            return Err(Error::Value {
                what: "NAL length size",
                got: 3,
                allowed: "1, 2 or 4 (ISO/IEC 14496-15, 5.3.3.1.2)",
            });
        }
        let sps = (0..count & 0x1f)
            .map(|_| reader.unit())
            .collect::<Result<Vec<_>, _>>()?;
        let count = reader.u8()?;
        let pps = (0..count).map(|_| reader.unit()).collect::<Result<Vec<_>, _>>()?;
        if sps.is_empty() {
            return Err(Error::Missing { what: "SPS in avcC" });
        }
        let extension = Bytes::copy_from_slice(reader.rest());
        Ok(Self {
            profile,
            compatibility,
            level,
            length_size,
            sps,
            pps,
            extension,
        })
    }

    /// Makes a record from the parameter sets of a frame (NAL units with 4-byte lengths); `None` if SPS or PPS is missing.
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let empty = Bytes::new();
        let mut config = Self {
            profile: 0,
            compatibility: 0,
            level: 0,
            length_size: 4,
            sps: Vec::new(),
            pps: Vec::new(),
            extension: empty,
        };
        config.update(frame);
        (!config.sps.is_empty() && !config.pps.is_empty()).then_some(config)
    }

    /// Takes over the parameter sets inside a frame (NAL units with 4-byte lengths): each replaces the one with its number.
    /// Returns whether the record changed.
    pub fn update(&mut self, frame: &[u8]) -> bool {
        let mut new_sps = false;
        let mut changed = false;
        for unit in LengthPrefixed::new(frame, 4).map_while(Result::ok) {
            match nal_type(unit) {
                NAL_SPS => new_sps |= replace_set(&mut self.sps, unit, MAX_SPS, sps_id),
                NAL_PPS => changed |= replace_set(&mut self.pps, unit, MAX_PPS, pps_id),
                _ => {}
            }
        }
        if new_sps {
            self.describe_first_sps();
        }
        changed || new_sps
    }

    /// Profile, level and the fields of the High profiles, from the first SPS.
    fn describe_first_sps(&mut self) {
        let Some(sps) = self.sps.first() else { return };
        if let Some([profile, compatibility, level]) =
            sps.get(1..4).and_then(|bytes| <[u8; 3]>::try_from(bytes).ok())
        {
            (self.profile, self.compatibility, self.level) = (profile, compatibility, level);
        }
        self.extension = match Sps::parse(sps) {
            Ok(sps) if matches!(self.profile, 100 | 110 | 122 | 144) => {
                // No SPS extension NAL units (alpha planes).
                Bytes::copy_from_slice(&[
                    0xfc | sps.chroma_format,
                    0xf8 | (sps.luma_bits - 8),
                    0xf8 | (sps.chroma_bits - 8),
                    0,
                ])
            }
            Ok(_) | Err(_) => Bytes::new(),
        };
    }

    /// The record as bytes.
    pub fn build(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        let (sps, pps) = (
            &self.sps[..self.sps.len().min(MAX_SPS)],
            &self.pps[..self.pps.len().min(MAX_PPS)],
        );
        out.put_slice(&[
            1,
            self.profile,
            self.compatibility,
            self.level,
            0xfc | (self.length_size.clamp(1, 4) - 1),
        ]);
        out.put_u8(0xe0 | sps.len() as u8);
        sps.iter().for_each(|unit| put_unit(unit, &mut out));
        out.put_u8(pps.len() as u8);
        pps.iter().for_each(|unit| put_unit(unit, &mut out));
        out.put_slice(&self.extension);
        out.freeze()
    }

    /// Picture parameters from the first SPS; what cannot be read is 0.
    pub fn params(&self) -> VideoParams {
        self.sps
            .first()
            .and_then(|sps| Sps::parse(sps).ok())
            .map(|sps| sps.params())
            .unwrap_or_default()
    }

    /// [`Sps::reorder`] of the first SPS; `None` if it cannot be read.
    pub fn reorder(&self) -> Option<u8> {
        self.sps.first().and_then(|sps| Sps::parse(sps).ok())?.reorder
    }
}

/// What Tidegate reads of a sequence parameter set (7.3.2.1.1, E.1.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// `level_idc`.
    pub level: u8,
    /// `seq_parameter_set_id`, 0..=31.
    pub id: u32,
    /// `chroma_format_idc`, 0..=3.
    pub chroma_format: u8,
    /// Bits per luma sample, 8..=14.
    pub luma_bits: u8,
    /// Bits per chroma sample, 8..=14.
    pub chroma_bits: u8,
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Frames per second by the timing information; 0.0 without one.
    pub fps: f32,
    /// Most frames that precede one in decoding order and follow it in output order, 0..=16: `max_num_reorder_frames`, or 0
    /// where the stream can have no such frames. `None` if it is not said.
    pub reorder: Option<u8>,
}

impl Sps {
    /// Reads a NAL unit of type 7.
    pub fn parse(unit: &[u8]) -> Result<Self, Error> {
        let payload = unit.get(1..).unwrap_or_default();
        let mut bits = BitReader::rbsp(payload, "H.264 SPS");
        let profile = bits.u8(8)?;
        let intra_only = bits.u8(8)? & CONSTRAINT_SET3 != 0;
        let level = bits.u8(8)?;
        let id = limited(bits.ue()?, 31, "seq_parameter_set_id")?;
        let (mut chroma_format, mut luma_bits, mut chroma_bits) = (1, 8, 8);
        let mut separate_planes = false;
        if matches!(
            profile,
            100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
        ) {
            chroma_format = limited(bits.ue()?, 3, "chroma_format_idc")? as u8;
            if chroma_format == 3 {
                separate_planes = bits.bit()?;
            }
            luma_bits = 8 + limited(bits.ue()?, 6, "bit_depth_luma_minus8")? as u8;
            chroma_bits = 8 + limited(bits.ue()?, 6, "bit_depth_chroma_minus8")? as u8;
            bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
            if bits.bit()? {
                for index in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if bits.bit()? {
                        skip_scaling_list(&mut bits, if index < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.ue()?; // log2_max_frame_num_minus4
        let order_count_type = bits.ue()?;
        match order_count_type {
            0 => {
                bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                bits.skip(1)?; // delta_pic_order_always_zero_flag
                bits.se()?;
                bits.se()?;
                for _ in 0..limited(bits.ue()?, 255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                    bits.se()?;
                }
            }
            _ => {}
        }
        bits.ue()?; // max_num_ref_frames
        bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = limited(bits.ue()?, MAX_SIDE_MBS - 1, "pic_width_in_mbs_minus1")? + 1;
        let height_units = limited(bits.ue()?, MAX_SIDE_MBS - 1, "pic_height_in_map_units_minus1")? + 1;
        let frames_only = bits.bit()?;
        if !frames_only {
            bits.skip(1)?; // mb_adaptive_frame_field_flag
        }
        bits.skip(1)?; // direct_8x8_inference_flag
        let mut crop = [0; 4]; // left, right, top, bottom
        if bits.bit()? {
            for offset in &mut crop {
                *offset = limited(bits.ue()?, MAX_SIDE_MBS * 16, "frame_crop_offset")?;
            }
        }
        // CropUnitX and CropUnitY (7-19 to 7-22). With separate planes ChromaArrayType is 0.
        let chroma_array = if separate_planes { 0 } else { chroma_format };
        let crop_x = if matches!(chroma_array, 1 | 2) { 2 } else { 1 };
        let field = if frames_only { 1 } else { 2 };
        let crop_y = if chroma_array == 1 { 2 } else { 1 } * field;
        // A VUI that ends too early costs only what follows in it; such senders exist, and the picture size stands before it.
        let mut vui = Vui::default();
        if bits.bit().unwrap_or(false) {
            let _ended = vui.read(&mut bits);
        }
        // Output order is decoding order with type 2 (8.2.1.3), without B slices (A.2.1, Baseline), and in the Intra profiles,
        // which are others with constraint_set3_flag, and 44 (E.2.1, max_num_reorder_frames).
        let intra = profile == 44 || intra_only && matches!(profile, 86 | 100 | 110 | 122 | 244);
        let ordered = order_count_type == 2 || profile == BASELINE || intra;
        Ok(Self {
            profile,
            level,
            id,
            chroma_format,
            luma_bits,
            chroma_bits,
            width: (width_mbs * 16).saturating_sub((crop[0] + crop[1]) * crop_x),
            height: (height_units * 16 * field).saturating_sub((crop[2] + crop[3]) * crop_y),
            fps: vui.fps,
            reorder: if ordered { Some(0) } else { vui.reorder },
        })
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

/// What is read of the VUI (E.1.1).
#[derive(Default)]
struct Vui {
    fps: f32,
    reorder: Option<u8>,
}

impl Vui {
    /// Reads to the end; what stands before an error is kept.
    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
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
        if bits.bit()? {
            let units = bits.u(32)?;
            let scale = bits.u(32)?;
            // The clock counts fields (E.2.1).
            self.fps = super::frame_rate(u64::from(scale), u64::from(units) * 2);
            bits.skip(1)?; // fixed_frame_rate_flag
        }
        let nal_hrd = bits.bit()?;
        if nal_hrd {
            skip_hrd(bits)?;
        }
        let vcl_hrd = bits.bit()?;
        if vcl_hrd {
            skip_hrd(bits)?;
        }
        if nal_hrd || vcl_hrd {
            bits.skip(1)?; // low_delay_hrd_flag
        }
        bits.skip(1)?; // pic_struct_present_flag
        if bits.bit()? {
            bits.skip(1)?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                bits.ue()?; // bytes and bits of a picture, lengths of motion vectors
            }
            let reorder = limited(bits.ue()?, MAX_DPB_FRAMES, "max_num_reorder_frames")?;
            self.reorder = Some(reorder as u8);
        }
        Ok(())
    }
}

/// `hrd_parameters()` (E.1.2).
fn skip_hrd(bits: &mut BitReader<'_>) -> Result<(), Error> {
    let buffers = limited(bits.ue()?, 31, "cpb_cnt_minus1")? + 1;
    bits.skip(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..buffers {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(20) // lengths of delays and of the time offset
}

fn skip_scaling_list(bits: &mut BitReader<'_>, size: u32) -> Result<(), Error> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(bits.se()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

fn limited(got: u32, max: u32, what: &'static str) -> Result<u32, Error> {
    if got > max {
        return Err(Error::Value {
            what,
            got: got.into(),
            allowed: "beyond the range of H.264, 7.4.2.1.1",
        });
    }
    Ok(got)
}

fn sps_id(unit: &[u8]) -> Option<u32> {
    let mut bits = BitReader::rbsp(unit.get(4..)?, "H.264 SPS");
    bits.ue().ok().filter(|id| *id <= 31)
}

fn pps_id(unit: &[u8]) -> Option<u32> {
    let mut bits = BitReader::rbsp(unit.get(1..)?, "H.264 PPS");
    bits.ue().ok().filter(|id| *id <= 255)
}

/// The count field of a record has 5 bits.
const MAX_SPS: usize = 31;
/// The count field of a record has 8 bits.
const MAX_PPS: usize = 255;
/// Longest side in macroblocks. Level 6.2 ends at 1055; this is 65,536 pixels.
const MAX_SIDE_MBS: u32 = 4096;
/// `profile_idc` of the Baseline profile (A.2.1).
const BASELINE: u8 = 66;
/// `constraint_set3_flag` among the constraint flags (7.3.2.1.1).
const CONSTRAINT_SET3: u8 = 0x10;
/// MaxDpbFrames never exceeds it (A.3.1).
const MAX_DPB_FRAMES: u32 = 16;
/// `aspect_ratio_idc` with explicit width and height.
const EXTENDED_SAR: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `libx264 -profile:v high`, 1920x1080 (cropped from 1088), 25 fps.
    const HIGH_1080: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
        0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    fn frame(units: &[&[u8]]) -> BytesMut {
        let mut frame = BytesMut::new();
        units
            .iter()
            .for_each(|unit| super::super::nal::put(unit, &mut frame));
        frame
    }

    #[test]
    fn size_after_cropping_and_frame_rate_come_from_the_sps() {
        let sps = Sps::parse(HIGH_1080).unwrap();
        assert_eq!((sps.width, sps.height, sps.fps), (1920, 1080, 25.0));
        assert_eq!(
            (sps.profile, sps.level, sps.id, sps.chroma_format, sps.luma_bits),
            (100, 40, 0, 1, 8)
        );
    }

    #[test]
    fn the_reordering_depth_comes_from_the_vui_or_the_kind_of_stream() {
        // `libx264 -bf 2` with a pyramid, `-bf 0`, and `-profile:v baseline`, 320x180 at 25 fps.
        let pyramid = [
            0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
            0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
        ];
        let without = [
            0x67, 0x64, 0x00, 0x0c, 0xac, 0xb2, 0x02, 0x83, 0x3f, 0x3e, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00,
            0x20, 0x00, 0x00, 0x06, 0x41, 0xe2, 0x85, 0x49,
        ];
        let baseline = [
            0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
            0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
        ];
        let read = |unit: &[u8]| Sps::parse(unit).map(|sps| (sps.width, sps.height, sps.fps, sps.reorder));
        assert_eq!(read(&pyramid), Ok((320, 180, 25.0, Some(2))));
        assert_eq!(read(&without), Ok((320, 180, 25.0, Some(0))));
        assert_eq!(read(&baseline), Ok((320, 180, 25.0, Some(0))));
        // The VUI cut before the bitstream restriction costs nothing that stands before it.
        assert_eq!(read(&pyramid[..22]), Ok((320, 180, 25.0, None)));
        // Baseline and picture order count type 2 say it without a VUI.
        assert_eq!(read(&baseline[..9]), Ok((320, 180, 0.0, Some(0))));
        assert_eq!(
            Config::from_frame(&frame(&[&pyramid, PPS])).unwrap().reorder(),
            Some(2)
        );
    }

    #[test]
    fn a_record_is_made_from_the_parameter_sets_of_a_frame_and_read_back() {
        let config = Config::from_frame(&frame(&[HIGH_1080, PPS, &[0x65, 0x88]])).unwrap();
        assert_eq!((config.profile, config.level, config.length_size), (100, 40, 4));
        let record = config.build();
        assert_eq!(record[..6], [1, 0x64, 0, 0x28, 0xff, 0xe1]);
        assert_eq!(record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(Config::parse(&record), Ok(config.clone()));
        assert_eq!(
            config.params(),
            VideoParams {
                width: 1920,
                height: 1080,
                fps: 25.0
            }
        );
    }

    #[test]
    fn sets_inside_frames_change_the_record_only_when_they_differ() {
        let mut config = Config::from_frame(&frame(&[HIGH_1080, PPS])).unwrap();
        assert!(!config.update(&frame(&[HIGH_1080, PPS, &[0x65, 0x88]])));
        let mut other = HIGH_1080.to_vec();
        other[3] = 0x29;
        assert!(config.update(&frame(&[&other, PPS])));
        assert_eq!((config.level, config.sps.len()), (0x29, 1));
        // A PPS with number 1 (ue 010) is a further one.
        assert!(config.update(&frame(&[&[0x68, 0b0101_1111]])));
        assert_eq!(config.pps.len(), 2);
    }

    #[test]
    fn key_frames_are_idr_or_flagged_entry_points() {
        let contents = |units: &[&[u8]]| Contents::of(&frame(units)).unwrap();
        assert!(contents(&[&[0x65, 0x88]]).is_key(false));
        // first_mb 0, slice_type 7 (I): 1 0001000.
        let intra = contents(&[&[0x41, 0b1000_1000, 0x80]]);
        assert!(intra.is_key(true) && !intra.is_key(false));
        // slice_type 5 (P): 1 00110.
        assert!(!contents(&[&[0x41, 0b1001_1000, 0x80]]).is_key(true));
        assert!(contents(&[&[0x06, 6, 1, 0xc4, 0x80], &[0x41, 0b1001_1000]]).is_key(true));
        assert!(Contents::of(&[0, 0, 0, 9, 0x65]).is_err());
    }

    #[test]
    fn broken_records_are_refused() {
        assert!(Config::parse(&[]).is_err());
        assert!(Config::parse(&[0, 0x64, 0, 0x28, 0xff, 0xe1, 0, 0]).is_err());
        assert_eq!(
            Config::parse(&[1, 0x64, 0, 0x28, 0xff, 0xe0, 0]),
            Err(Error::Missing { what: "SPS in avcC" })
        );
        assert!(Config::parse(&[1, 0x64, 0, 0x28, 0xfe, 0xe1, 0, 1, 0x67, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(config) = Config::parse(&data) {
                config.params();
                prop_assert_eq!(Config::parse(&config.build()), Ok(config));
            }
            let _ = Sps::parse(&data);
            let _ = Contents::of(&data);
            let _ = Config::from_frame(&data);
        }

        #[test]
        fn a_damaged_sps_does_no_harm(at in 1usize..27, byte: u8) {
            let mut unit = HIGH_1080.to_vec();
            unit[at] = byte;
            let mut config = Config::from_frame(&frame(&[HIGH_1080, PPS])).unwrap();
            config.update(&frame(&[&unit]));
            config.params();
        }
    }
}
