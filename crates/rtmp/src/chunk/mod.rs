//! The chunk stream (RTMP 1.0, section 5.3): messages cut into chunks, and back.
//!
//! ```text
//! basic header   fmt(2 bits) csid(6 bits), or 0 and one byte more, or 1 and two bytes more
//! type 0         timestamp(3) length(3) type id(1) message stream id(4, little endian)
//! type 1         timestamp delta(3) length(3) type id(1)
//! type 2         timestamp delta(3)
//! type 3         nothing
//! extended       timestamp(4), if the 3-byte field was 0xFFFFFF
//! ```

mod clock;
mod reader;
mod writer;

pub use reader::{Limits, Reader, WAIT_IN_PLACE};
pub(crate) use writer::MAX_HEADER_LEN;
pub use writer::{Header, Writer, split};

use bytes::Bytes;

/// Chunk size of both directions until Set Chunk Size, bytes (RTMP 1.0, section 5.4.1).
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Largest message: its length has 24 bits (RTMP 1.0, section 5.3.1.2.1).
pub const MAX_MESSAGE_LEN: usize = 0xFF_FFFF;

/// Largest chunk size that is used. Greater ones are allowed (section 5.4.1) and mean the same, since no message is longer.
pub const MAX_CHUNK_SIZE: u32 = 16 << 20;

/// Value of the 3-byte timestamp field that announces the 4-byte one (RTMP 1.0, section 5.3.1.3).
const EXTENDED: u32 = 0xFF_FFFF;

/// The chunk stream of protocol control messages (RTMP 1.0, section 5.4).
pub const CONTROL_CSID: u32 = 2;

/// Smallest and largest chunk stream id (RTMP 1.0, section 5.3.1.1).
pub const CSID_RANGE: std::ops::RangeInclusive<u32> = 2..=65_599;

/// A reassembled message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Chunk stream it came on.
    pub csid: u32,
    /// Message type id (RTMP 1.0, section 5.3.1.2.5).
    pub type_id: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Milliseconds, extended beyond the 32 bits of the wire.
    pub timestamp_ms: i64,
    /// Payload.
    pub body: Bytes,
}

/// Why a chunk stream cannot be read on. `at` counts bytes from the first byte behind the handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Set Chunk Size with 0 or with its upper bit set.
    #[error(
        "chunk size {got} in the message that ends at byte {at}: must be 1..=0x7FFFFFFF (RTMP 1.0, section 5.4.1)"
    )]
    ChunkSize {
        /// Position.
        at: u64,
        /// The value.
        got: u32,
    },
    /// A protocol control message without its 4 bytes.
    #[error(
        "protocol control message of type {type_id} that ends at byte {at} has {got} bytes, needs 4 (RTMP 1.0, section 5.4)"
    )]
    ControlLength {
        /// Position.
        at: u64,
        /// 1 or 2.
        type_id: u8,
        /// Its length.
        got: usize,
    },
    /// A message longer than `rtmp.max_message_bytes`.
    #[error("message of {got} bytes on chunk stream {csid} at byte {at}: {allowed} are allowed")]
    MessageLength {
        /// Position of the chunk header.
        at: u64,
        /// Chunk stream.
        csid: u32,
        /// Declared length.
        got: usize,
        /// Limit.
        allowed: usize,
    },
    /// More chunk streams than any sender needs.
    #[error("chunk stream {csid} at byte {at} would be the {got}th: {allowed} are allowed")]
    ChunkStreams {
        /// Position of the chunk header.
        at: u64,
        /// The new chunk stream.
        csid: u32,
        /// How many there would be.
        got: usize,
        /// Limit.
        allowed: usize,
    },
    /// More bytes of unfinished messages than allowed.
    #[error("{got} bytes of unfinished messages at byte {at}: {allowed} are allowed")]
    Buffered {
        /// Position of the chunk header.
        at: u64,
        /// Bytes that would be held.
        got: usize,
        /// Limit.
        allowed: usize,
    },
    /// A header of type 2 or 3 that has nothing to refer to.
    #[error(
        "chunk of type {fmt} at byte {at} is the first on chunk stream {csid}: must be type 0 or 1 (RTMP 1.0, section 5.3.1.2)"
    )]
    NothingToRepeat {
        /// Position.
        at: u64,
        /// Chunk stream.
        csid: u32,
        /// Header type.
        fmt: u8,
    },
    /// A message that starts before the one on the same chunk stream has ended.
    #[error(
        "chunk of type {fmt} at byte {at} starts a message on chunk stream {csid} inside another, {got} of {length} bytes read \
         (RTMP 1.0, section 5.3.1.2.4)"
    )]
    InsideMessage {
        /// Position.
        at: u64,
        /// Chunk stream.
        csid: u32,
        /// Header type.
        fmt: u8,
        /// Bytes of the open message so far.
        got: usize,
        /// Its length.
        length: usize,
    },
}
