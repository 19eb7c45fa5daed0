//! What can be wrong with MP4.

use media::codec;

/// Bytes that are not fragmented MP4, or a part of it that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The first box is none that such a stream can begin with.
    #[error("stream begins with a box \"{}\": it is not MP4 (ISO/IEC 14496-12, 4.3)", .got.escape_ascii())]
    NotMp4 {
        /// Its type, or what stands in the place of it.
        got: [u8; 4],
    },
    /// The samples stand in the `moov`, as in a file that was finished before it is read.
    #[error(
        "moov has {samples} samples: this is a progressive file, only fragmented MP4 can be read (14496-12, 8.8)"
    )]
    Progressive {
        /// How many, in the first track that has any.
        samples: u32,
    },
    /// A box that must be read as a whole is too long.
    #[error("byte {at}: box \"{}\" of {got} bytes, allowed are {max}", .kind.escape_ascii())]
    TooLarge {
        /// Offset of the box in the stream.
        at: u64,
        /// Its type.
        kind: [u8; 4],
        /// Its length.
        got: u64,
        /// The limit.
        max: u64,
    },
    /// A box cannot have this size.
    #[error("box \"{}\" claims {got} bytes: {allowed} (14496-12, 4.2)", .kind.escape_ascii())]
    BoxSize {
        /// Its type.
        kind: [u8; 4],
        /// Its size field.
        got: u64,
        /// The rule.
        allowed: &'static str,
    },
    /// A box ends inside a field.
    #[error("{what}: {need} more bytes needed, {got} there")]
    Truncated {
        /// The box or the structure in it.
        what: &'static str,
        /// Bytes the field takes.
        need: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// A box that must be there is not.
    #[error("{what} is missing")]
    Missing {
        /// The box, and where it was expected.
        what: &'static str,
    },
    /// A field has a value that cannot be used.
    #[error("{what} is {got}: {allowed}")]
    Field {
        /// The field.
        what: &'static str,
        /// Its value.
        got: i64,
        /// The rule.
        allowed: &'static str,
    },
    /// There are more tracks than a stream may have, at once or one after the other.
    #[error("track_ID {got} would be one too many, allowed are {max}")]
    TooManyTracks {
        /// The `track_ID` of the first one that is too many.
        got: u32,
        /// The limit.
        max: usize,
    },
    /// A fragment has more samples than it may have.
    #[error("{got} samples in a fragment, allowed are {max}")]
    TooManySamples {
        /// How many.
        got: u64,
        /// The limit.
        max: usize,
    },
    /// A fragment is for a track that no `moov` has announced.
    #[error("fragment of track_ID {got}, which moov does not have")]
    UnknownTrack {
        /// The `track_ID`.
        got: u32,
    },
    /// Samples of a fragment lie outside of its `mdat`, or on one another.
    #[error("{count} samples of a fragment {what}")]
    Outside {
        /// How many.
        count: usize,
        /// What is wrong with them.
        what: &'static str,
    },
    /// A frame came before anything that says how to decode it.
    #[error("{codec} frame before its decoder configuration")]
    BeforeConfig {
        /// Name of the codec.
        codec: &'static str,
    },
    /// A decoder configuration or a frame is broken.
    #[error("{codec}: {source}")]
    Codec {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong.
        source: codec::Error,
    },
}
