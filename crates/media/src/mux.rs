//! Frames in, shared packets of one container out.

use crate::{Frame, MediaTime, Track};
use bytes::Bytes;
use smallvec::SmallVec;

/// The pieces of one packet: a head of the container's own and slices of shared payload. Three are enough for an FLV tag
/// (head, payload, trailer) and for an RTMP message of one chunk; longer RTMP messages spill to the heap.
pub type Parts = SmallVec<[Bytes; 3]>;

/// Bytes of one container that belong together: an FLV tag, the chunks of an RTMP message. Made once, sent to every viewer.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What to write, in order.
    pub parts: Parts,
    /// A viewer may start here, after the muxer's preamble.
    pub key: bool,
    /// Decoder configuration or metadata, not a frame.
    pub config: bool,
    /// Decoding time of the frame inside.
    pub dts: MediaTime,
}

impl Packet {
    /// Length in bytes of all parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }
}

/// Turns the frames of one stream into packets of one container. Runs once per container and stream, in the publisher's
/// task: it does no I/O and must not block.
pub trait Mux: Send {
    /// Sets the stream's tracks; called before the first frame and whenever a track or its configuration changes. Packets that
    /// viewers already attached need (new decoder configuration) are appended to `out` with `config` set.
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>);

    /// What a new viewer needs before its first frame: file header, metadata, decoder configurations.
    fn preamble(&self) -> Vec<Packet>;

    /// Appends the packets for one frame to `out`. Frames of tracks that the container cannot carry are left out.
    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>);
}
