//! One coded picture or one coded piece of sound.

use crate::{MediaTime, TrackId};
use bytes::Bytes;
use std::sync::Arc;

/// One access unit of a track, in the canonical form of its codec. Cheap to clone: the payload is shared.
///
/// Canonical forms: H.264 and H.265 as length-prefixed NAL units with 4-byte lengths (ISO/IEC 14496-15), AV1 as a
/// temporal unit in the low-overhead format without temporal delimiters, AAC as a raw access unit without ADTS, everything
/// else as the codec's own packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The track it belongs to.
    pub track: TrackId,
    /// Decoding time. Never goes backwards within a track after timestamp repair.
    pub dts: MediaTime,
    /// Presentation time; at or after `dts` for well-formed streams, not enforced.
    pub pts: MediaTime,
    /// Video: decoding can start here (IDR, CRA, AV1 key frame ...). Audio: always `true`.
    pub key: bool,
    /// The payload in canonical form. Empty for a codec that Tidegate does not understand ([`crate::CodecId::Other`]) and for
    /// one that it only passes on ([`crate::CodecId::Jpeg`]).
    pub data: Bytes,
    /// The packets that carried the frame, as its publisher sent them. A muxer of the same protocol may pass them on instead of
    /// making its own.
    pub wire: Option<Wire>,
}

/// The whole RTP packets of one frame, in order (RFC 3550, 5.1).
pub type Wire = Arc<[Bytes]>;
