//! What can be wrong with a playlist or its source.

use super::playlist::{MAX_LIST, MAX_PLAYLIST, MAX_SEGMENTS, MAX_URI};
use super::session::MAX_FAILURES;
use super::step::KEY_LEN;
use std::time::Duration;

/// Why a source cannot be played, or cannot be played on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The text does not begin as playlists do.
    #[error("not an HLS playlist: the first line is not #EXTM3U (RFC 8216bis, section 4.4.1.1)")]
    NotAPlaylist,
    /// The text is too long.
    #[error("a playlist of {got} bytes, allowed are {MAX_PLAYLIST}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// A list in the playlist is too long.
    #[error("more {what} in a playlist than allowed ({})", if *.what == "segments" { MAX_SEGMENTS } else { MAX_LIST })]
    TooMany {
        /// Segments, variants or renditions.
        what: &'static str,
    },
    /// A line says nothing that could be meant.
    #[error("line {line} of the playlist: {tag} {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The tag, or `URI`.
        tag: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A URI is too long.
    #[error("line {line} of the playlist: a URI of {got} bytes, allowed are {MAX_URI}")]
    LongUri {
        /// Its line, from 1.
        line: usize,
        /// Its length.
        got: usize,
    },
    /// The target duration is missing.
    #[error("the media playlist has no EXT-X-TARGETDURATION (RFC 8216bis, section 4.4.3.1)")]
    NoTargetDuration,
    /// A master playlist names a master playlist.
    #[error("a master playlist stands where a media playlist must be")]
    NestedMaster,
    /// No variant can be carried.
    #[error("no variant of the master playlist can be carried; their codecs are: {codecs}")]
    NoVariant {
        /// The codecs of all variants.
        codecs: String,
    },
    /// A URI leads nowhere.
    #[error("{uri:?} in the playlist is not an http or https URL")]
    Url {
        /// The URI, shortened.
        uri: String,
    },
    /// Something that Tidegate does not do.
    #[error("not supported: {what}")]
    Unsupported {
        /// What.
        what: String,
    },
    /// A key has a wrong length.
    #[error("a key of {got} bytes: AES-128 has {KEY_LEN}")]
    KeyLength {
        /// Its length.
        got: usize,
    },
    /// An encrypted initialization section without an initialization vector.
    #[error("EXT-X-MAP is encrypted without an IV (RFC 8216bis, section 4.4.4.5)")]
    MapWithoutIv,
    /// The playlist does not go on.
    #[error("receive hls media timeout: the playlist has named no new segment for {} s", .waited.as_secs())]
    Stalled {
        /// For how long nothing could be fetched.
        waited: Duration,
    },
    /// Playlist, key or initialization section cannot be had.
    #[error("{what}: {reason}")]
    Failed {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// Segments cannot be had, one after the other.
    #[error("{MAX_FAILURES} segments in a row could not be used, the last one: {reason}")]
    Segments {
        /// Why.
        reason: String,
    },
}
