//! Names of codecs on the wire: FourCC (Enhanced RTMP) and numbers (FLV 10.1 and the domestic ones).

use media::CodecId;

/// The FourCC of a codec in Enhanced RTMP; `None` for G.711, which has none, and for what is not carried.
pub const fn fourcc_of(codec: CodecId) -> Option<[u8; 4]> {
    match codec {
        CodecId::H264 => Some(*b"avc1"),
        CodecId::H265 => Some(*b"hvc1"),
        CodecId::Av1 => Some(*b"av01"),
        CodecId::Vp8 => Some(*b"vp08"),
        CodecId::Vp9 => Some(*b"vp09"),
        CodecId::Aac => Some(*b"mp4a"),
        CodecId::Opus => Some(*b"Opus"),
        CodecId::Mp3 => Some(*b".mp3"),
        CodecId::G711A | CodecId::G711U | CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => None,
    }
}

/// The codec a FourCC names, if Tidegate understands it.
pub const fn codec_of_fourcc(fourcc: [u8; 4]) -> Option<CodecId> {
    match &fourcc {
        b"avc1" => Some(CodecId::H264),
        b"hvc1" | b"hev1" => Some(CodecId::H265),
        b"av01" => Some(CodecId::Av1),
        b"vp08" => Some(CodecId::Vp8),
        b"vp09" => Some(CodecId::Vp9),
        b"mp4a" => Some(CodecId::Aac),
        b"Opus" => Some(CodecId::Opus),
        b".mp3" => Some(CodecId::Mp3),
        _ => None,
    }
}

/// The CodecID of FLV 10.1 (annex E.4.3.1) or the domestic one; for audio the SoundFormat (annex E.4.2.1).
pub(super) const fn classic_id(codec: CodecId) -> u8 {
    match codec {
        CodecId::H264 | CodecId::G711A => 7,
        CodecId::H265 => 12,
        CodecId::Av1 | CodecId::Opus => 13,
        CodecId::Vp8 => 14,
        CodecId::Vp9 => 15,
        CodecId::Aac => 10,
        CodecId::G711U => 8,
        CodecId::Mp3 => 2,
        // Not carried (`body::carries`); 0 is uncompressed audio of an unknown byte order, and no video.
        CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => 0,
    }
}

/// The video codec of a CodecID.
pub(super) const fn video_of_classic_id(id: u8) -> Option<CodecId> {
    match id {
        7 => Some(CodecId::H264),
        12 => Some(CodecId::H265),
        13 => Some(CodecId::Av1),
        14 => Some(CodecId::Vp8),
        15 => Some(CodecId::Vp9),
        _ => None,
    }
}

/// The audio codec of a SoundFormat. 14 is MP3 at 8 kHz.
pub(super) const fn audio_of_classic_id(id: u8) -> Option<CodecId> {
    match id {
        2 | 14 => Some(CodecId::Mp3),
        7 => Some(CodecId::G711A),
        8 => Some(CodecId::G711U),
        10 => Some(CodecId::Aac),
        13 => Some(CodecId::Opus),
        _ => None,
    }
}

/// Whether a codec is written with its FourCC when `rtmp.enhanced` is on. The others stay classic, which every player reads.
pub(super) const fn is_enhanced(codec: CodecId) -> bool {
    match codec {
        CodecId::H265 | CodecId::Av1 | CodecId::Vp8 | CodecId::Vp9 | CodecId::Opus => true,
        CodecId::H264
        | CodecId::Aac
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::Mp3
        | CodecId::L16
        | CodecId::Jpeg
        | CodecId::Other(_) => false,
    }
}
