//! One coded picture or one coded piece of sound.

use crate::{MediaTime, TrackId};
use bytes::Bytes;

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
    /// The payload in canonical form.
    pub data: Bytes,
}
