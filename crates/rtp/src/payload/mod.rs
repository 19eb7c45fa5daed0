//! Payload formats: how frames of a codec are cut into packets, and put together again. One module each, both directions side by
//! side, so that they round-trip.
//!
//! **Unpacking.** An [`Unpacker`] takes the packets of one source in order and gives [`Unit`]s in the canonical form of
//! [`media::Frame`]. It decides where a unit ends: at the marker, or when the timestamp changes. After a gap the unit that lost
//! packets is dropped whole; the next one is taken, whatever it needs. A malformed packet is an error that costs its unit, and
//! nothing else. What an unpacker holds is bounded by [`MAX_UNIT_LEN`] and [`MAX_UNIT_PARTS`].
//!
//! **Packing.** A [`Packer`] takes frames in canonical form and hands payloads to a [`Sink`], which puts headers before them.

pub mod aac;
pub mod av1;
pub mod h264;
pub mod h265;
pub mod latm;
pub mod mpa;
mod nal;
pub mod simple;
pub mod vp8;
pub mod vp9;

use bytes::Bytes;

/// Longest frame that is put together, in bytes. The largest known key frames of 8K cameras are below 8 MiB.
pub const MAX_UNIT_LEN: usize = 16 << 20;

/// Most pieces (NAL units, OBUs, fragments) of one frame.
pub const MAX_UNIT_PARTS: usize = 4096;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The payload ends inside a structure.
    #[error("{what}: {need} bytes needed, {got} there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        got: usize,
    },
    /// A field has a value that the format does not define, or that is not supported.
    #[error("{what} is {got}: {allowed}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The rule, with its clause.
        allowed: &'static str,
    },
    /// A fragment that continues nothing: the one that begins the unit was lost.
    #[error("a fragment without its beginning")]
    Orphan,
    /// A frame that is longer, or has more parts, than any sender needs.
    #[error("{what} of a frame: {got}, at most {max} are put together")]
    TooBig {
        /// Bytes or parts.
        what: &'static str,
        /// So many.
        got: usize,
        /// The bound.
        max: usize,
    },
}

/// The next packet of a source, as an unpacker sees it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The payload.
    pub payload: &'a Bytes,
    /// The marker bit.
    pub marker: bool,
    /// Presentation time in ticks of the format's clock, extended to 64 bits.
    pub timestamp: i64,
    /// Packets directly before this one are missing for good.
    pub gap: bool,
}

/// A complete access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Presentation time in ticks of the format's clock.
    pub timestamp: i64,
    /// In the canonical form of [`media::Frame::data`].
    pub data: Bytes,
}

/// Where the payloads of one frame go.
pub trait Sink {
    /// Most bytes of one payload. At least 100.
    fn max_payload(&self) -> usize;

    /// Ends a packet. Its payload is `parts`, one after another; its time is that of the frame plus `offset` ticks.
    fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]);
}
