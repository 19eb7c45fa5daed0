//! What is known about a track before its first frame is decoded.

use crate::codec::{CodecId, MediaKind};
use bytes::Bytes;
use std::sync::Arc;

/// Number of a track within its stream, counted from 0 in order of appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u8);

/// A track of a stream. Two tracks with equal fields can be played with one decoder configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its number.
    pub id: TrackId,
    /// Its codec.
    pub codec: CodecId,
    /// The decoder configuration record of the codec, if the codec has one and it is known: `avcC`, `hvcC`, `av1C` or
    /// `vpcC` contents, AudioSpecificConfig, or an Opus identification header (`OpusHead`).
    pub config: Option<Bytes>,
    /// Picture or sound parameters, as far as known.
    pub params: TrackParams,
    /// How its publisher described it: the lines of its media section in SDP (RFC 8866, section 5.14), if it has one. What
    /// [`crate::Frame::wire`] holds is to be read by it.
    pub wire: Option<Arc<str>>,
}

/// Parameters of a track by kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrackParams {
    /// A video track.
    Video(VideoParams),
    /// An audio track.
    Audio(AudioParams),
}

/// Parameters of a video track; 0 means not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VideoParams {
    /// Width in pixels after cropping.
    pub width: u32,
    /// Height in pixels after cropping.
    pub height: u32,
    /// Frames per second as the bit stream declares them; 0.0 if it does not.
    pub fps: f32,
}

/// Parameters of an audio track; 0 means not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioParams {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Bits per sample after decoding.
    pub sample_bits: u8,
}

impl Track {
    /// Video or audio.
    pub const fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// Whether a player can be configured from what is known: the codec's configuration record is there, or the codec
    /// needs none.
    pub const fn ready(&self) -> bool {
        !self.codec.needs_config() || self.config.is_some()
    }

    /// The video parameters, if it is a video track.
    pub const fn video(&self) -> Option<&VideoParams> {
        match &self.params {
            TrackParams::Video(params) => Some(params),
            TrackParams::Audio(_) => None,
        }
    }

    /// The audio parameters, if it is an audio track.
    pub const fn audio(&self) -> Option<&AudioParams> {
        match &self.params {
            TrackParams::Audio(params) => Some(params),
            TrackParams::Video(_) => None,
        }
    }
}
