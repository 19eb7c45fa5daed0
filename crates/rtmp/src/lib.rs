//! RTMP (Adobe RTMP 1.0, Enhanced RTMP): bytes in, bytes and events out. Pure: no socket, clock, file or task.
//!
//! - [`handshake`], [`chunk`], [`message`]: the three layers of the wire.
//! - [`server`]: [`ServerSession`], one connection of a publisher or player to us.
//! - [`client`]: [`ClientSession`], our connection to another server, to pull from it or to push to it.
//! - [`mux`]: frames of a stream to RTMP messages that are cut into chunks once and sent to every player.
//! - [`url`]: `rtmp://` and `rtmps://` URLs.
//!
//! **The drain rule.** After every call that takes `&mut self` (bytes, a verdict, a timeout, the end of the connection), take
//! outputs with `poll_output` until it returns `None`; only then ask `poll_timeout` and wait. Bytes are to be written in
//! the order in which they come out. After [`Output::Close`] there is nothing more to send: flush, close the sending side,
//! and read on until the peer has closed or a short time has passed, so that a reset does not overtake what was sent.
//! The session ignores what comes after that.
//!
//! Time never goes backwards inside a session: an older `now` counts as the newest one so far.

pub mod chunk;
pub mod client;
mod connection;
pub mod handshake;
pub mod message;
pub mod mux;
mod output;
pub mod server;
pub mod url;

pub use client::ClientSession;
pub use mux::Muxer;
pub use output::Output;
pub use server::ServerSession;

/// The message stream that media use: `createStream` answers it (urls.md, section 3).
pub const MEDIA_STREAM_ID: u32 = 1;

/// Chunk size that both ends of Tidegate send with, bytes (urls.md, section 3).
pub const CHUNK_SIZE: u32 = 60_000;

/// Smallest chunk size that Tidegate sends with, bytes: the default of RTMP 1.0, section 5.4.1. A smaller one only costs.
pub const MIN_CHUNK_SIZE: u32 = chunk::DEFAULT_CHUNK_SIZE;

/// Why a session cannot go on. The connection is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// In the handshake.
    #[error("RTMP handshake: {0}")]
    Handshake(#[from] handshake::Error),
    /// In the chunk stream.
    #[error("RTMP chunk stream: {0}")]
    Chunk(#[from] chunk::Error),
    /// In a message.
    #[error("RTMP message that ends at byte {at}: {source}")]
    Message {
        /// Position in the chunk stream, from the first byte behind the handshake.
        at: u64,
        /// What is wrong with it.
        source: message::Error,
    },
    /// The caller answered a question that is not open.
    #[error("a verdict on {verdict} while the session is {state}")]
    Verdict {
        /// `publish` or `play`.
        verdict: &'static str,
        /// The session's state.
        state: &'static str,
    },
}
