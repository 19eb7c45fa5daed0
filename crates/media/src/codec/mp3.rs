//! MPEG audio: the frame header (ISO/IEC 11172-3, 2.4.1.3; ISO/IEC 13818-3; MPEG-2.5).

use super::Error;
use crate::track::AudioParams;

/// What the first four bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Layer: 1, 2 or 3.
    pub layer: u8,
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples per channel in the frame.
    pub samples: u32,
    /// Bytes of the frame with its header; `None` in free format, where only the next frame tells. At most 2881.
    pub frame_len: Option<usize>,
}

impl Header {
    /// Reads a frame's header.
    pub fn parse(frame: &[u8]) -> Result<Self, Error> {
        let Some(&[b0, b1, b2, b3]) = frame.first_chunk::<4>() else {
            return Err(Error::Truncated {
                what: "MPEG audio header",
                at: 0,
                need: 4,
                got: frame.len(),
            });
        };
        let bad = |what, got: u8, allowed| {
            Err(Error::Value {
                what,
                got: got.into(),
                allowed,
            })
        };
        if b0 != 0xff || b1 & 0xe0 != 0xe0 {
            return bad("MPEG audio sync byte", b0, "11 one bits");
        }
        // 0 MPEG-2.5, 2 MPEG-2, 3 MPEG-1.
        let version = b1 >> 3 & 3;
        let layer = 4 - (b1 >> 1 & 3);
        let rate = usize::from(b2 >> 2 & 3);
        if version == 1 || layer == 4 || rate == 3 || b2 >> 4 == 15 {
            return bad(
                "MPEG audio version, layer, rate or bit rate",
                b1,
                "one of its codes is reserved (2.4.2.3)",
            );
        }
        let shift = match version {
            3 => 0,
            2 => 1,
            _ => 2,
        };
        let samples = match (layer, version) {
            (1, _) => 384,
            (3, 0 | 2) => 576,
            _ => 1152,
        };
        let sample_rate = [44_100, 48_000, 32_000][rate] >> shift;
        let kbits = match (version, layer) {
            (3, 1) => KBITS_1_LAYER_1,
            (3, 2) => KBITS_1_LAYER_2,
            (3, _) => KBITS_1_LAYER_3,
            (_, 1) => KBITS_2_LAYER_1,
            _ => KBITS_2_LAYERS_2_3,
        };
        // The slots of a frame (2.4.3.1): of 4 bytes in layer I, of 1 in the others.
        let slot_len = if layer == 1 { 4 } else { 1 };
        let frame_len = match usize::from(b2 >> 4) {
            0 => None,
            index => {
                let bits_per_second = kbits.get(index - 1).copied().map_or(0, u32::from) * 1000;
                let slots = samples / 8 / slot_len * bits_per_second / sample_rate;
                Some(((slots + u32::from(b2 >> 1 & 1)) * slot_len) as usize)
            }
        };
        Ok(Self {
            layer,
            sample_rate,
            channels: if b3 >> 6 == 3 { 1 } else { 2 },
            samples,
            frame_len,
        })
    }

    /// The sound parameters.
    pub fn params(&self) -> AudioParams {
        AudioParams {
            sample_rate: self.sample_rate,
            channels: self.channels,
            sample_bits: 16,
        }
    }
}

/// Bit rates in kbit/s by index, from 1 (2.4.2.3 of both parts): MPEG-1, then MPEG-2 and 2.5.
const KBITS_1_LAYER_1: [u16; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const KBITS_1_LAYER_2: [u16; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const KBITS_1_LAYER_3: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const KBITS_2_LAYER_1: [u16; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const KBITS_2_LAYERS_2_3: [u16; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_and_channels_of_the_three_versions() {
        let header = |bytes: [u8; 4]| {
            Header::parse(&bytes)
                .map(|header| (header.layer, header.sample_rate, header.channels, header.samples))
        };
        assert_eq!(header([0xff, 0xfb, 0x90, 0x64]), Ok((3, 44_100, 2, 1152)));
        assert_eq!(header([0xff, 0xfb, 0x94, 0xc4]), Ok((3, 48_000, 1, 1152)));
        assert_eq!(header([0xff, 0xf3, 0x40, 0xc4]), Ok((3, 22_050, 1, 576)));
        assert_eq!(header([0xff, 0xe3, 0x48, 0xc4]), Ok((3, 8_000, 1, 576)));
        assert_eq!(header([0xff, 0xfd, 0x90, 0x64]), Ok((2, 44_100, 2, 1152)));
        assert!(header([0xff, 0xeb, 0x90, 0x64]).is_err());
        assert!(header([0xff, 0xfb, 0x9c, 0x64]).is_err());
        assert!(header([0x49, 0x44, 0x33, 0x04]).is_err());
    }

    #[test]
    fn frame_lengths_follow_from_bit_rate_and_padding() {
        let frame_len = |bytes: [u8; 4]| Header::parse(&bytes).unwrap().frame_len;
        assert_eq!(frame_len([0xff, 0xfb, 0x90, 0x64]), Some(417)); // layer III, 128 kbit/s, 44.1 kHz
        assert_eq!(frame_len([0xff, 0xfb, 0x92, 0x64]), Some(418));
        assert_eq!(frame_len([0xff, 0xfd, 0xe4, 0x04]), Some(1152)); // layer II, 384 kbit/s, 48 kHz
        assert_eq!(frame_len([0xff, 0xff, 0xea, 0x04]), Some(676)); // layer I, 448 kbit/s, 32 kHz, padded
        assert_eq!(frame_len([0xff, 0xf3, 0x40, 0xc4]), Some(104)); // MPEG-2, 32 kbit/s, 22.05 kHz
        assert_eq!(frame_len([0xff, 0xe5, 0xea, 0xc4]), Some(2881)); // MPEG-2.5, layer II: the longest
        assert_eq!(frame_len([0xff, 0xfb, 0x00, 0x64]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..6)) {
            let _ = Header::parse(&data);
        }

        #[test]
        fn no_frame_is_shorter_than_its_header_or_longer_than_said(rest in any::<[u8; 3]>()) {
            let frame = [0xff, rest[0], rest[1], rest[2]];
            if let Ok(Header { frame_len: Some(len), .. }) = Header::parse(&frame) {
                prop_assert!((24..=2881).contains(&len), "{}", len);
            }
        }
    }
}
