//! What a session wants next.

use super::playlist::ByteRange;
use std::time::{Duration, Instant};
use url::Url;

/// Length of an AES-128 key, and of its initialization vector, in bytes.
pub const KEY_LEN: usize = 16;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch the playlist, again or for the first time, and give it to [`super::Session::playlist`].
    Playlist(Url),
    /// Fetch this key and give it to [`super::Session::key`].
    Key(Url),
    /// Fetch an initialization section. It and what follows belong to a new demuxer. Then [`super::Session::map_done`].
    Map(Fetch),
    /// Fetch a segment and give it to the demuxer. Then [`super::Session::segment_done`].
    Segment(Segment),
    /// Nothing before this time.
    Wait(Instant),
    /// The playlist has ended, and all of it was fetched.
    Ended,
}

/// A resource, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Where.
    pub url: Url,
    /// Which bytes; all if there is none.
    pub range: Option<ByteRange>,
    /// How it is decrypted, with AES-128 in CBC mode and PKCS7 padding.
    pub decryption: Option<Decryption>,
}

/// A key and its initialization vector.
#[derive(Clone, PartialEq, Eq)]
pub struct Decryption {
    /// The key.
    pub key: [u8; KEY_LEN],
    /// The initialization vector.
    pub iv: [u8; KEY_LEN],
}

/// Does not show the key.
impl std::fmt::Debug for Decryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decryption").finish_non_exhaustive()
    }
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its bytes.
    pub fetch: Fetch,
    /// Its number.
    pub sequence: u64,
    /// As the playlist says.
    pub duration: Duration,
    /// Which time line its frames are on. Whenever it is not that of the segment before, encoding begins anew: other times, perhaps
    /// other codecs. A segment without an initialization section then belongs to a new demuxer.
    pub timeline: Timeline,
}

/// A time line: between two discontinuities. Equal ones of two sessions of one presentation are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeline {
    /// How often the source began to count anew.
    pub restarts: u32,
    /// Its discontinuity sequence number (RFC 8216bis, section 4.4.3.3).
    pub discontinuities: u64,
}
