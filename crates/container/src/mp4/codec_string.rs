//! Names of codecs with their profiles, as `CODECS` in HLS (RFC 8216, 4.3.4.2) and `codecs` in MIME types (RFC 6381) have them.

use super::entry::VP8;
use media::codec::{aac, h264, vp9};
use media::{CodecId, Track};

/// The name of a track's codec with its profile and level, by RFC 6381 and what each codec's binding to this format adds. `None` if
/// MP4 does not carry it, or its decoder configuration is missing or cannot be read.
///
/// MP3 is named as HLS has it, `mp4a.40.34`, and not by the object type of its sample entry (`mp4a.6b`).
pub fn codec_string(track: &Track) -> Option<String> {
    let config = track.config.as_ref();
    match track.codec {
        CodecId::H264 => {
            let config = h264::Config::parse(config?).ok()?;
            let h264::Config {
                profile,
                compatibility,
                level,
                ..
            } = config;
            Some(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
        }
        CodecId::H265 => hvc1(config?),
        CodecId::Av1 => av01(config?),
        CodecId::Vp8 => Some(vp("vp08", &VP8)),
        CodecId::Vp9 => Some(vp("vp09", &vp9::Config::parse(config?).ok()?)),
        CodecId::Aac => {
            let config = aac::Config::parse(config?).ok()?;
            let object_type = match (config.sbr_rate, config.parametric_stereo) {
                (Some(_), true) => 29,
                (Some(_), false) => 5,
                (None, _) => config.object_type,
            };
            Some(format!("mp4a.40.{object_type}"))
        }
        CodecId::Mp3 => Some("mp4a.40.34".to_owned()),
        CodecId::Opus => Some("opus".to_owned()),
        CodecId::G711A => Some("alaw".to_owned()),
        CodecId::G711U => Some("ulaw".to_owned()),
        CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => None,
    }
}

/// From an `hvcC` (14496-15, annex E.3): profile space and profile, compatibility flags in reverse order of bits, tier and level,
/// then the constraint bytes up to the last that is not zero.
fn hvc1(record: &[u8]) -> Option<String> {
    let [_version, profile, c0, c1, c2, c3, constraints @ .., level] = record.first_chunk::<13>()?;
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([*c0, *c1, *c2, *c3]).reverse_bits();
    let mut name = format!("hvc1.{space}{}.{compatibility:X}.{tier}{level}", profile & 0x1f);
    let used = constraints
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        name.push_str(&format!(".{byte:X}"));
    }
    Some(name)
}

/// From an `av1C` (AV1 in ISO base media file format, 5): profile, level and tier, bits. What follows may be left out where it is
/// as usual, and decoders read it from the stream anyway.
fn av01(record: &[u8]) -> Option<String> {
    let [0x81, profile_level, format, _] = record.first_chunk::<4>()? else {
        return None;
    };
    let (profile, level) = (profile_level >> 5, profile_level & 0x1f);
    let tier = if format & 0x80 == 0 { 'M' } else { 'H' };
    let bits = match (format & 0x40 != 0, format & 0x20 != 0) {
        (true, true) => 12,
        (true, false) => 10,
        (false, _) => 8,
    };
    Some(format!("av01.{profile}.{level:02}{tier}.{bits:02}"))
}

/// From a `vpcC` (VP codec in ISO media file format, "codecs parameter string"): profile, level, bits. A level of 0 is not defined;
/// the lowest stands for it.
fn vp(name: &str, config: &vp9::Config) -> String {
    let vp9::Config {
        profile,
        level,
        bit_depth,
        ..
    } = config;
    format!("{name}.{profile:02}.{:02}.{bit_depth:02}", (*level).max(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::{MediaKind, TrackId, TrackParams};

    #[track_caller]
    fn check(codec: CodecId, config: &'static [u8], expected: Option<&str>) {
        let track = Track {
            id: TrackId(0),
            codec,
            config: (!config.is_empty()).then(|| Bytes::from_static(config)),
            params: match codec.kind() {
                MediaKind::Video => TrackParams::Video(Default::default()),
                MediaKind::Audio => TrackParams::Audio(Default::default()),
            },
            wire: None,
        };
        assert_eq!(codec_string(&track).as_deref(), expected);
    }

    #[test]
    fn names_of_video() {
        let avcc = b"\x01\x64\x00\x1f\xff\xe1\0\x01\x67\x01\0\x01\x68";
        check(CodecId::H264, avcc, Some("avc1.64001f"));
        check(CodecId::H264, &avcc[..6], None);
        check(CodecId::H264, b"", None);
        // Main, and Main 10 in the High tier of profile space 1 with two constraint bytes.
        let hvcc = b"\x01\x01\x60\0\0\0\xb0\0\0\0\0\0\x5d";
        check(CodecId::H265, hvcc, Some("hvc1.1.6.L93.B0"));
        let hvcc = b"\x01\x62\x20\0\0\0\xb0\x23\0\0\0\0\x7b";
        check(CodecId::H265, hvcc, Some("hvc1.A2.4.H123.B0.23"));
        check(CodecId::H265, b"\x01\x01", None);
        check(CodecId::Av1, b"\x81\x04\x0c\0", Some("av01.0.04M.08"));
        check(CodecId::Av1, b"\x81\x4d\xf4\0", Some("av01.2.13H.12"));
        check(CodecId::Av1, b"\x81\x4d\x40\0", Some("av01.2.13M.10"));
        check(CodecId::Av1, b"\x01\x4d\x40\0", None);
        check(
            CodecId::Vp9,
            b"\x02\x1f\xa2\x01\x01\x01\0\0",
            Some("vp09.02.31.10"),
        );
        check(CodecId::Vp8, b"", Some("vp08.00.10.08"));
        check(CodecId::Jpeg, b"", None);
    }

    #[test]
    fn names_of_audio() {
        check(CodecId::Aac, b"\x12\x10", Some("mp4a.40.2"));
        // HE-AAC and HE-AAC v2, each with hierarchical signalling.
        check(CodecId::Aac, b"\x2b\x11\x88\0", Some("mp4a.40.5"));
        check(CodecId::Aac, b"\xeb\x09\x88\0", Some("mp4a.40.29"));
        check(CodecId::Aac, b"\x12", None);
        check(CodecId::Mp3, b"", Some("mp4a.40.34"));
        check(CodecId::Opus, b"", Some("opus"));
        check(CodecId::G711A, b"", Some("alaw"));
        check(CodecId::G711U, b"", Some("ulaw"));
        check(CodecId::L16, b"", None);
    }
}
