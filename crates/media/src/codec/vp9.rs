//! VP9: the frame header (VP9 bitstream specification, 6.2) and the configuration record `vpcC` (VP codec ISO media file
//! format binding).

use super::Error;
use super::bits::BitReader;
use crate::track::VideoParams;
use bytes::Bytes;

/// What a frame says about itself in its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A frame that depends on others, or one that shows an earlier one again.
    Inter,
    /// A key frame.
    Key(KeyHeader),
}

/// The header of a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    /// Profile, 0..=3.
    pub profile: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// `subsampling_x`.
    pub subsampling_x: bool,
    /// `subsampling_y`.
    pub subsampling_y: bool,
    /// `color_range`.
    pub full_range: bool,
    /// `color_space`.
    pub color_space: u8,
    /// Width in pixels, 1..=65536.
    pub width: u32,
    /// Height in pixels, 1..=65536.
    pub height: u32,
}

impl Header {
    /// Reads the beginning of a frame or superframe.
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(frame, "VP9 frame header");
        let marker = bits.u(2)?;
        if marker != 2 {
            return Err(Error::Value {
                what: "VP9 frame_marker",
                got: marker.into(),
                allowed: "2 (7.2)",
            });
        }
        let profile = bits.u8(1)? | bits.u8(1)? << 1;
        if profile == 3 {
            bits.skip(1)?;
        }
        let show_existing = bits.bit()?;
        if show_existing || bits.bit()? {
            return Ok(Self::Inter);
        }
        bits.skip(2)?; // show_frame, error_resilient_mode
        let sync = bits.u(24)?;
        if sync != SYNC_CODE {
            return Err(Error::Value {
                what: "VP9 frame_sync_code",
                got: sync.into(),
                allowed: "0x498342 (7.2)",
            });
        }
        let bit_depth = match profile {
            0 | 1 => 8,
            _ if bits.bit()? => 12,
            _ => 10,
        };
        let odd_profile = profile & 1 == 1;
        let color_space = bits.u8(3)?;
        let full_range = color_space == RGB || bits.bit()?;
        let (subsampling_x, subsampling_y) = match (color_space == RGB, odd_profile) {
            (true, true) => {
                bits.skip(1)?;
                (false, false)
            }
            (true, false) => {
                return Err(Error::Value {
                    what: "VP9 color_space",
                    got: 7,
                    allowed: "RGB needs profile 1 or 3 (7.2.2)",
                });
            }
            (false, true) => {
                let subsampling = (bits.bit()?, bits.bit()?);
                bits.skip(1)?;
                subsampling
            }
            (false, false) => (true, true),
        };
        let (width, height) = (bits.u(16)? + 1, bits.u(16)? + 1);
        Ok(Self::Key(KeyHeader {
            profile,
            bit_depth,
            subsampling_x,
            subsampling_y,
            full_range,
            color_space,
            width,
            height,
        }))
    }
}

impl KeyHeader {
    /// The picture parameters.
    pub fn params(&self) -> VideoParams {
        VideoParams {
            width: self.width,
            height: self.height,
            fps: 0.0,
        }
    }

    /// The `vpcC` for a stream that comes without one. The level is the lowest that allows pictures of this size.
    pub fn config(&self) -> Config {
        let chroma = match (self.subsampling_x, self.subsampling_y) {
            (true, true) => 1, // 4:2:0, co-located with luma (0,0); left-aligned would be 0
            (true, false) => 2,
            (false, false) => 3,
            // 4:4:0 has no number of its own.
            (false, true) => 3,
        };
        // By table of color_space (7.2.2) to the numbers of ISO/IEC 23091-2.
        let [primaries, transfer, matrix] = match self.color_space {
            1 => [6, 6, 6],
            2 => [1, 1, 1],
            3 => [6, 6, 6],
            4 => [7, 7, 7],
            5 => [9, 14, 9],
            7 => [1, 13, 0],
            _ => [2, 2, 2],
        };
        Config {
            profile: self.profile,
            level: level(self.width, self.height),
            bit_depth: self.bit_depth,
            chroma_subsampling: chroma,
            full_range: self.full_range,
            color: [primaries, transfer, matrix],
        }
    }
}

/// A `vpcC` without the version and flags of its box: VPCodecConfigurationRecord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Profile, 0..=3.
    pub profile: u8,
    /// Level times ten, as 31 for 3.1.
    pub level: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// 0 4:2:0 vertical, 1 4:2:0 co-located, 2 4:2:2, 3 4:4:4.
    pub chroma_subsampling: u8,
    /// `videoFullRangeFlag`.
    pub full_range: bool,
    /// Primaries, transfer characteristics and matrix by ISO/IEC 23091-2.
    pub color: [u8; 3],
}

impl Config {
    /// Reads a record. FFmpeg puts version and flags of the box before it in FLV; that form is read too.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let body = match record.split_first_chunk::<4>() {
            // As a record this would be one with a bit depth of 0.
            Some(([1, 0, 0, 0], body)) if body.len() >= RECORD_LEN => body,
            _ => record,
        };
        let Some([profile, level, format, color @ .., _, _]) = body.first_chunk::<RECORD_LEN>() else {
            return Err(Error::Truncated {
                what: "vpcC",
                at: 0,
                need: RECORD_LEN,
                got: body.len(),
            });
        };
        let bit_depth = format >> 4;
        if *profile > 3 || !matches!(bit_depth, 8 | 10 | 12) {
            return Err(Error::Value {
                what: "profile and bit depth in vpcC",
                got: u64::from(*profile) << 8 | u64::from(bit_depth),
                allowed: "profile 0 to 3, bit depth 8, 10 or 12",
            });
        }
        Ok(Self {
            profile: *profile,
            level: *level,
            bit_depth,
            chroma_subsampling: format >> 1 & 7,
            full_range: format & 1 != 0,
            color: *color,
        })
    }

    /// The record as bytes.
    pub fn build(&self) -> Bytes {
        let format = self.bit_depth << 4 | (self.chroma_subsampling & 7) << 1 | u8::from(self.full_range);
        let [primaries, transfer, matrix] = self.color;
        Bytes::copy_from_slice(&[
            self.profile,
            self.level,
            format,
            primaries,
            transfer,
            matrix,
            0,
            0,
        ])
    }
}

/// The lowest level whose largest picture and side (VP9 levels, annex A of the specification) suffice.
fn level(width: u32, height: u32) -> u8 {
    const LEVELS: [(u8, u64, u32); 10] = [
        (10, 36_864, 512),
        (11, 73_728, 768),
        (20, 122_880, 960),
        (21, 245_760, 1_344),
        (30, 552_960, 2_048),
        (31, 983_040, 2_752),
        (40, 2_228_224, 4_160),
        (50, 8_912_896, 8_384),
        (60, 35_651_584, 16_832),
        (62, u64::MAX, u32::MAX),
    ];
    let fits = |(_, area, side): &(u8, u64, u32)| {
        u64::from(width) * u64::from(height) <= *area && width.max(height) <= *side
    };
    LEVELS.into_iter().find(fits).map_or(62, |(level, ..)| level)
}

/// Bytes of a record without initialization data, which VP9 does not have.
const RECORD_LEN: usize = 8;
const SYNC_CODE: u32 = 0x49_8342;
/// CS_RGB.
const RGB: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `libvpx-vp9`, 320x180, 4:4:4, as an FLV of FFmpeg 9 carries it.
    const KEY: &[u8] = &[
        0xa2, 0x49, 0x83, 0x42, 0xe0, 0x13, 0xf0, 0x0b, 0x36, 0x14, 0x38, 0x24, 0x1c, 0x18,
    ];
    const BOX: &[u8] = &[1, 0, 0, 0, 1, 0x0b, 0x87, 2, 2, 0, 0, 0];

    #[test]
    fn the_key_frame_of_an_encoder_is_read() {
        let Header::Key(key) = Header::parse(KEY).unwrap() else {
            panic!("key frame expected")
        };
        assert_eq!(
            (key.width, key.height, key.profile, key.bit_depth),
            (320, 180, 1, 8)
        );
        let config = key.config();
        assert_eq!(
            (config.level, config.chroma_subsampling, config.full_range),
            (11, 3, true)
        );
        let record = Config::parse(BOX).unwrap();
        assert_eq!(
            (record.profile, record.level, record.chroma_subsampling),
            (1, 11, 3)
        );
        assert_eq!(Config::parse(&record.build()), Ok(record));
    }

    #[test]
    fn inter_frames_and_repeated_frames_are_no_key_frames() {
        assert_eq!(Header::parse(&[0b1000_0110]), Ok(Header::Inter));
        assert_eq!(Header::parse(&[0b1000_1000]), Ok(Header::Inter));
        assert!(Header::parse(&[]).is_err());
        assert!(Header::parse(&[0b1000_0010, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Header::Key(key)) = Header::parse(&data) {
                prop_assert_eq!(Config::parse(&key.config().build()), Ok(key.config()));
            }
            let _ = Config::parse(&data);
        }
    }
}
