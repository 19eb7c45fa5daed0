//! Numbers and spellings of origins and codecs on the wire (api.md, section 2; codecs.md, section 1).

use media::info::OriginType;
use media::{CodecId, MediaKind};

/// `originType`.
pub const fn origin_number(origin: OriginType) -> u8 {
    match origin {
        OriginType::Unknown => 0,
        OriginType::RtmpPush => 1,
        OriginType::RtspPush => 2,
        OriginType::RtpPush => 3,
        OriginType::Pull => 4,
        OriginType::FfmpegPull => 5,
        OriginType::Mp4Vod => 6,
        OriginType::DeviceChn => 7,
        OriginType::RtcPush => 8,
        OriginType::SrtPush => 9,
    }
}

/// `originTypeStr`.
pub const fn origin_name(origin: OriginType) -> &'static str {
    match origin {
        OriginType::Unknown => "unknown",
        OriginType::RtmpPush => "rtmp_push",
        OriginType::RtspPush => "rtsp_push",
        OriginType::RtpPush => "rtp_push",
        OriginType::Pull => "pull",
        OriginType::FfmpegPull => "ffmpeg_pull",
        OriginType::Mp4Vod => "mp4_vod",
        OriginType::DeviceChn => "device_chn",
        OriginType::RtcPush => "rtc_push",
        OriginType::SrtPush => "srt_push",
    }
}

/// `codec_id`.
pub const fn codec_id(codec: CodecId) -> i8 {
    match codec {
        CodecId::H264 => 0,
        CodecId::H265 => 1,
        CodecId::Aac => 2,
        CodecId::G711A => 3,
        CodecId::G711U => 4,
        CodecId::Opus => 5,
        CodecId::Vp8 => 7,
        CodecId::Vp9 => 8,
        CodecId::Av1 => 9,
        CodecId::L16 => 6,
        CodecId::Jpeg => 10,
        CodecId::Mp3 => 14,
        CodecId::Other(_) => -1,
    }
}

/// `codec_id_name`.
pub const fn codec_name(codec: CodecId) -> &'static str {
    match codec {
        CodecId::H264 => "H264",
        CodecId::H265 => "H265",
        CodecId::Aac => "mpeg4-generic",
        CodecId::G711A => "PCMA",
        CodecId::G711U => "PCMU",
        CodecId::Opus => "opus",
        CodecId::Vp8 => "VP8",
        CodecId::Vp9 => "VP9",
        CodecId::Av1 => "AV1",
        CodecId::Mp3 => "MP3",
        CodecId::L16 => "L16",
        CodecId::Jpeg => "JPEG",
        CodecId::Other(_) => "invalid",
    }
}

/// `codec_type`: 0 video, 1 audio.
pub const fn codec_type(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Video => 0,
        MediaKind::Audio => 1,
    }
}
