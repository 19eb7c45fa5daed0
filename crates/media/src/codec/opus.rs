//! Opus: the identification header `OpusHead` (RFC 7845, section 5.1) and the TOC byte of packets (RFC 6716, section 3.1).

use super::Error;
use crate::track::AudioParams;
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;

/// Opus always decodes to 48 kHz.
pub const SAMPLE_RATE: u32 = 48_000;

/// Longest packet (RFC 6716, section 3.4, R5).
pub const MAX_DURATION: Duration = Duration::from_millis(120);

/// An `OpusHead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Channels, at least 1.
    pub channels: u8,
    /// Samples at 48 kHz that a player drops at the start.
    pub pre_skip: u16,
    /// Sample rate of what was encoded, for information; 0 if not known.
    pub input_rate: u32,
    /// Gain to apply when decoding, in dB times 256.
    pub gain: i16,
    /// Channel mapping family; 0 is mono or stereo.
    pub family: u8,
    /// Stream counts and channel mapping of families other than 0, as they came.
    pub mapping: Bytes,
}

impl Head {
    /// The header for a mono or stereo stream that comes without one.
    pub fn new(channels: u8) -> Self {
        Self {
            channels: channels.clamp(1, 2),
            pre_skip: 0,
            input_rate: SAMPLE_RATE,
            gain: 0,
            family: 0,
            mapping: Bytes::new(),
        }
    }

    /// Reads an `OpusHead`.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let Some((head, rest)) = record.split_first_chunk::<HEAD_LEN>() else {
            return Err(Error::Truncated {
                what: "OpusHead",
                at: 0,
                need: HEAD_LEN,
                got: record.len(),
            });
        };
        let [
            magic @ ..,
            version,
            channels,
            skip0,
            skip1,
            rate0,
            rate1,
            rate2,
            rate3,
            gain0,
            gain1,
            family,
        ] = *head;
        if magic != MAGIC {
            return Err(Error::Missing {
                what: "\"OpusHead\" at the start of the Opus header",
            });
        }
        if version >> 4 != 0 || channels == 0 {
            return Err(Error::Value {
                what: "version and channels of OpusHead",
                got: u64::from(version) << 8 | u64::from(channels),
                allowed: "version below 16, at least one channel (RFC 7845, 5.1)",
            });
        }
        let mapping_len = if family == 0 { 0 } else { 2 + usize::from(channels) };
        let mapping = rest.get(..mapping_len).ok_or(Error::Truncated {
            what: "channel mapping of OpusHead",
            at: HEAD_LEN,
            need: mapping_len,
            got: rest.len(),
        })?;
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([skip0, skip1]),
            input_rate: u32::from_le_bytes([rate0, rate1, rate2, rate3]),
            gain: i16::from_le_bytes([gain0, gain1]),
            family,
            mapping: Bytes::copy_from_slice(mapping),
        })
    }

    /// The header as bytes.
    pub fn build(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD_LEN + self.mapping.len());
        out.put_slice(&MAGIC);
        out.put_slice(&[1, self.channels]);
        out.put_u16_le(self.pre_skip);
        out.put_u32_le(self.input_rate);
        out.put_i16_le(self.gain);
        out.put_u8(self.family);
        out.put_slice(&self.mapping);
        out.freeze()
    }

    /// The sound parameters.
    pub fn params(&self) -> AudioParams {
        AudioParams {
            sample_rate: SAMPLE_RATE,
            channels: self.channels,
            sample_bits: 16,
        }
    }
}

/// Whether the packet is coded as stereo.
pub fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 4 != 0)
}

/// How long a packet sounds; `None` if it is empty or longer than Opus allows.
pub fn duration(packet: &[u8]) -> Option<Duration> {
    let toc = packet.first()?;
    let config = usize::from(toc >> 3);
    let frame_us = match config {
        0..12 => [10_000, 20_000, 40_000, 60_000][config % 4],
        12..16 => [10_000, 20_000][config % 2],
        _ => [2_500, 5_000, 10_000, 20_000][config % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    Some(Duration::from_micros(frame_us * frames)).filter(|duration| *duration <= MAX_DURATION && frames > 0)
}

const MAGIC: [u8; 8] = *b"OpusHead";
/// Bytes of a header of mapping family 0.
const HEAD_LEN: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_header_of_ffmpeg_is_read() {
        let bytes = [&b"OpusHead"[..], &[1, 1, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0]].concat();
        let head = Head::parse(&bytes).unwrap();
        assert_eq!(
            (head.channels, head.pre_skip, head.input_rate, head.family),
            (1, 312, 48_000, 0)
        );
        assert_eq!(head.build(), bytes);
        assert!(Head::parse(&bytes[..18]).is_err());
    }

    #[test]
    fn durations_are_those_of_the_toc_table() {
        let ms = |packet: &[u8]| duration(packet).map(|duration| duration.as_secs_f64() * 1e3);
        assert_eq!(ms(&[0xf8]), Some(20.0)); // CELT fullband 20 ms, one frame
        assert_eq!(ms(&[0x80]), Some(2.5));
        assert_eq!(ms(&[0x18]), Some(60.0)); // SILK narrowband
        assert_eq!(ms(&[0x61]), Some(20.0)); // hybrid 10 ms, two frames
        assert_eq!(ms(&[0xfb, 3]), Some(60.0));
        assert_eq!(ms(&[0xfb, 7]), None); // 140 ms
        assert_eq!((ms(&[]), ms(&[0xfb]), ms(&[0xfb, 0])), (None, None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = duration(&data);
            let record = [&b"OpusHead\x01"[..], &data].concat();
            if let Ok(head) = Head::parse(&record) {
                prop_assert_eq!(Head::parse(&head.build()), Ok(head));
            }
        }
    }
}
