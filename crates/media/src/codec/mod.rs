//! The codecs Tidegate understands, one module each.

pub mod aac;
pub mod av1;
pub mod bits;
mod error;
pub mod g711;
pub mod h264;
pub mod h265;
pub mod mp3;
pub mod nal;
pub mod opus;
pub mod source;
pub mod vp8;
pub mod vp9;

pub use error::Error;

/// Video or audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// A codec. Adding one is a walk along the `match`es that no longer compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodecId {
    /// ITU-T H.264, ISO/IEC 14496-10.
    H264,
    /// ITU-T H.265, ISO/IEC 23008-2.
    H265,
    /// AOMedia AV1.
    Av1,
    /// VP8, RFC 6386.
    Vp8,
    /// VP9.
    Vp9,
    /// AAC, ISO/IEC 14496-3.
    Aac,
    /// Opus, RFC 6716.
    Opus,
    /// G.711 A-law.
    G711A,
    /// G.711 µ-law.
    G711U,
    /// MPEG-1/2 audio layer III.
    Mp3,
    /// Linear PCM, 16 bits, big-endian (RFC 3551, 4.5.11).
    L16,
    /// Motion JPEG (RFC 2435). Passed on from RTP to RTP, not unpacked.
    Jpeg,
    /// A codec that Tidegate does not understand. Passed on from RTP to RTP.
    Other(MediaKind),
}

impl CodecId {
    /// Video or audio.
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::H264 | Self::H265 | Self::Av1 | Self::Vp8 | Self::Vp9 | Self::Jpeg => MediaKind::Video,
            Self::Aac | Self::Opus | Self::G711A | Self::G711U | Self::Mp3 | Self::L16 => MediaKind::Audio,
            Self::Other(kind) => kind,
        }
    }

    /// Whether a decoder needs a configuration record before the first frame. VP8 carries everything in its key frames;
    /// VP9's `vpcC` and Opus' `OpusHead` are derived when a sender leaves them out.
    pub const fn needs_config(self) -> bool {
        match self {
            Self::H264 | Self::H265 | Self::Av1 | Self::Aac => true,
            Self::Vp8
            | Self::Vp9
            | Self::Opus
            | Self::G711A
            | Self::G711U
            | Self::Mp3
            | Self::L16
            | Self::Jpeg
            | Self::Other(_) => false,
        }
    }

    /// The usual short name, for logs and error texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::G711A => "G.711 A-law",
            Self::G711U => "G.711 mu-law",
            Self::Mp3 => "MP3",
            Self::L16 => "L16",
            Self::Jpeg => "JPEG",
            Self::Other(_) => "a codec that is not known here",
        }
    }
}

/// `scale / units` frames per second; 0.0 where that makes no sense, as in streams that write the clock of a container there.
fn frame_rate(scale: u64, units: u64) -> f32 {
    const MAX_FPS: f64 = 1_000.0;
    let fps = scale as f64 / units as f64;
    if units > 0 && fps <= MAX_FPS {
        fps as f32
    } else {
        0.0
    }
}
