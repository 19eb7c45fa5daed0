//! RTP: packets, reports, session descriptions, and how each codec is cut into packets and put together again. Pure: no socket,
//! clock or task; `now` is a parameter.
//!
//! Receiving, from bytes to frames:
//!
//! ```text
//! packet::Packet -> reorder::Reorder (order, gaps) -> clock::Clock (64-bit time) -> payload::Unpacker -> payload::Unit
//!                   report::Receiver (loss, jitter: what a receiver report says)
//! ```
//!
//! Sending: [`payload::Packer`] cuts a frame into payloads, a [`payload::Sink`] makes packets of them.
//!
//! - [`packet`], [`rtcp`]: RFC 3550 on the wire.
//! - [`reorder`], [`report`], [`clock`]: one source as it is received.
//! - [`source`]: all of that together, for what one track receives.
//! - [`order`]: decoding times from presentation times, which are all that RTP carries.
//! - [`sdp`], [`mod@format`]: descriptions of sessions, and what a media section means for a track.
//! - [`payload`]: one module each for the payload formats.
//! - [`demux`], [`mux`]: all of that together, between the packets of a session and the frames of a stream.

pub mod clock;
pub mod demux;
pub mod format;
pub mod mux;
pub mod order;
pub mod packet;
pub mod payload;
pub mod reorder;
pub mod report;
pub mod rtcp;
pub mod sdp;
pub mod source;

pub use packet::{Header, Packet};
