//! The tag around a body: type, size, time (FLV 10.1, annex E.4.1).

use bytes::Bytes;

/// Largest body a tag can have: its size field has 24 bits.
pub const MAX_BODY_LEN: usize = 0xFF_FFFF;

/// Length in bytes of the file header, `PreviousTagSize0` not included (annex E.2).
pub(super) const FILE_HEADER_LEN: usize = 9;

/// Length in bytes of the header of a tag.
pub(super) const TAG_HEADER_LEN: usize = 11;

/// Length in bytes of the field after each tag that repeats its size.
pub(super) const PREVIOUS_TAG_SIZE_LEN: usize = 4;

/// What a tag carries. RTMP's message types have the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagType {
    /// 8: audio.
    Audio,
    /// 9: video.
    Video,
    /// 18: AMF0 data, `onMetaData` above all.
    Script,
}

impl TagType {
    /// The number on the wire; also the RTMP message type id.
    pub const fn id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }

    /// From the number on the wire.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// A tag as [`super::Reader`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What the body is.
    pub tag_type: TagType,
    /// Decoding time in milliseconds, extended beyond the 32 bits of the wire.
    pub timestamp_ms: i64,
    /// The body, at most [`MAX_BODY_LEN`] bytes.
    pub body: Bytes,
}

/// The header of a tag: type, body length, time in milliseconds (its upper byte stands last), stream id 0.
pub(super) fn header(tag_type: TagType, body_len: usize, timestamp: u32) -> [u8; TAG_HEADER_LEN] {
    // Callers keep bodies within MAX_BODY_LEN, so the upper byte of the length is 0.
    let [_, len2, len1, len0] = (body_len as u32).to_be_bytes();
    let [time3, time2, time1, time0] = timestamp.to_be_bytes();
    [
        tag_type.id(),
        len2,
        len1,
        len0,
        time2,
        time1,
        time0,
        time3,
        0,
        0,
        0,
    ]
}
