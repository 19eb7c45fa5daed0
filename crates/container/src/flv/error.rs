//! What can be wrong with FLV.

use crate::amf0;
use media::codec;

/// Bytes that are not FLV, or a tag body whose media cannot be used. After an error from [`super::Reader`] the connection is
/// lost, since tag boundaries are; after one from [`super::Demuxer`] only that tag is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The file does not begin with `FLV`.
    #[error("file begins with {got:02x?}, not with \"FLV\" (FLV 10.1, annex E.2)")]
    Signature {
        /// The first three bytes.
        got: [u8; 3],
    },
    /// The header's length field is impossible.
    #[error("file header claims {got} bytes: must be 9..={max} (FLV 10.1, annex E.2)")]
    DataOffset {
        /// The field.
        got: u32,
        /// What is tolerated.
        max: u32,
    },
    /// The first byte of a tag has its reserved or its encryption bit set, so this is no tag, or none that can be read.
    #[error(
        "byte {at}: tag type byte {got:#04x} has reserved or encryption bits set (FLV 10.1, annex E.4.1)"
    )]
    TagType {
        /// Offset of the tag in the stream.
        at: u64,
        /// The byte.
        got: u8,
    },
    /// A tag is larger than the reader was told to accept.
    #[error("byte {at}: tag body of {got} bytes, allowed are {max}")]
    TagTooLarge {
        /// Offset of the tag in the stream.
        at: u64,
        /// Its body length.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// A tag body ends inside a field.
    #[error("{what}: {need} more bytes needed at byte {at} of the tag body, {got} there")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Offset in the tag body.
        at: usize,
        /// Bytes the field takes.
        need: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// A field has a value that the standard does not define.
    #[error("{what} is {got}: {allowed}")]
    Field {
        /// The field.
        what: &'static str,
        /// Its value.
        got: u32,
        /// The rule.
        allowed: &'static str,
    },
    /// The tag brings one track more than a stream may have.
    #[error("track {got} would be one too many, allowed are {max}")]
    TooManyTracks {
        /// The track's id on the wire.
        got: u8,
        /// The limit.
        max: usize,
    },
    /// A coded frame came before the decoder configuration that it needs.
    #[error("{codec} frame before its sequence header")]
    FrameBeforeConfig {
        /// Name of the codec.
        codec: &'static str,
    },
    /// The bit stream in the tag is broken.
    #[error("{codec}: {source}")]
    Codec {
        /// Name of the codec.
        codec: &'static str,
        /// What is wrong.
        source: codec::Error,
    },
    /// The script data cannot be read.
    #[error("script data: {0}")]
    Script(#[from] amf0::Error),
}
