//! What of a frame goes into `mdat`.

use bytes::Bytes;
use media::CodecId;
use media::codec::{h264, h265};

/// Appends the payload of a frame in slices of it and returns their length in bytes. Of H.264 and H.265, parameter sets are left
/// out, since `avc1` and `hvc1` have them in the sample entry only (14496-15, 5.4.2.1 and 8.4.1.1.2), and so are access unit
/// delimiters, which a file has no use for, and what pads the frame behind its last NAL unit.
pub(super) fn put(codec: CodecId, data: &Bytes, out: &mut impl Extend<Bytes>) -> usize {
    let left_out: fn(&[u8]) -> bool = match codec {
        CodecId::H264 => |unit| {
            let kind = h264::nal_type(unit);
            matches!(
                kind,
                h264::NAL_SPS | h264::NAL_PPS | h264::NAL_AUD | NAL_SPS_EXTENSION
            )
        },
        CodecId::H265 => |unit| matches!(h265::nal_type(unit), h265::NAL_VPS..=h265::NAL_AUD),
        CodecId::Av1
        | CodecId::Vp8
        | CodecId::Vp9
        | CodecId::Aac
        | CodecId::Opus
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::Mp3
        | CodecId::L16
        | CodecId::Jpeg
        | CodecId::Other(_) => {
            out.extend((!data.is_empty()).then(|| data.clone()));
            return data.len();
        }
    };
    let (mut at, mut kept_from, mut len) = (0, 0, 0);
    let mut keep = |from: usize, to: usize| {
        len += to - from;
        out.extend((from < to).then(|| data.slice(from..to)));
    };
    while let Some(unit) = unit_at(data, at) {
        let next = at + LENGTH_SIZE + unit.len();
        if unit.is_empty() || left_out(unit) {
            keep(kept_from, at);
            kept_from = next;
        }
        at = next;
    }
    keep(kept_from, at);
    len
}

/// The NAL unit whose 4-byte length stands at `at`; `None` where none is whole.
fn unit_at(data: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = data.get(at..)?.split_first_chunk::<LENGTH_SIZE>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Of the length before each NAL unit in canonical frames.
const LENGTH_SIZE: usize = 4;
/// `nal_unit_type` of a sequence parameter set extension (H.264, table 7-1).
const NAL_SPS_EXTENSION: u8 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: CodecId, frame: &'static [u8], expected: &[&[u8]]) {
        let frame = Bytes::from_static(frame);
        let mut out = Vec::new();
        let len = put(codec, &frame, &mut out);
        assert_eq!(out, expected);
        assert_eq!(len, expected.concat().len());
        // Shared, not copied.
        let range = frame.as_ptr_range();
        assert!(out.iter().all(|part| range.contains(&part.as_ptr())));
    }

    #[test]
    fn frames_of_slices_only_stay_whole() {
        let frame = b"\0\0\0\x01\x06\0\0\0\x02\x65\x01";
        check(CodecId::H264, frame, &[frame]);
        check(
            CodecId::H265,
            b"\0\0\0\x03\x26\x01\x07",
            &[b"\0\0\0\x03\x26\x01\x07"],
        );
        check(CodecId::Av1, b"\x12\0\x0a", &[b"\x12\0\x0a"]);
        check(CodecId::Aac, b"", &[]);
    }

    #[test]
    fn parameter_sets_delimiters_and_padding_are_left_out() {
        // Delimiter, SPS, PPS, SEI, slice, PPS, slice, an empty unit, zeros.
        check(
            CodecId::H264,
            b"\0\0\0\x02\x09\xf0\0\0\0\x01\x67\0\0\0\x01\x68\0\0\0\x01\x06\0\0\0\x01\x65\0\0\0\x01\x68\0\0\0\x01\x61\0\0\0\0\0\0",
            &[b"\0\0\0\x01\x06\0\0\0\x01\x65", b"\0\0\0\x01\x61"],
        );
        // VPS, SPS, PPS, delimiter, SEI, slice.
        check(
            CodecId::H265,
            b"\0\0\0\x01\x40\0\0\0\x01\x42\0\0\0\x01\x44\0\0\0\x01\x46\0\0\0\x01\x4e\0\0\0\x01\x26",
            &[b"\0\0\0\x01\x4e\0\0\0\x01\x26"],
        );
        check(CodecId::H264, b"\0\0\0\x01\x67", &[]);
    }

    #[test]
    fn what_is_no_whole_unit_is_left_out() {
        check(
            CodecId::H264,
            b"\0\0\0\x01\x65\xff\xff\xff\xff\x65",
            &[b"\0\0\0\x01\x65"],
        );
    }
}
