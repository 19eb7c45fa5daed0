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
        Ok(Self {
            layer,
            sample_rate: [44_100, 48_000, 32_000][rate] >> shift,
            channels: if b3 >> 6 == 3 { 1 } else { 2 },
            samples,
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

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..6)) {
            let _ = Header::parse(&data);
        }
    }
}
