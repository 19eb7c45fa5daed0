//! HTTP Live Streaming (RFC 8216bis), both ends. Pure: no socket, clock, file or task.
//!
//! - [`client`]: playlists of others, and what to fetch next.
//!
//! The server's end:
//!
//! - [`packager`]: cuts the frames of a stream into segments and parts.
//! - [`live`]: what was cut, as far as it is kept; what viewers ask of it.
//! - [`playlist`]: the texts.
//! - [`name`]: what segments and parts are called.
//! - [`record`]: the names and playlists of recordings, which are files.
//!
//! A [`segment::Segment`] holds *frames*, shared with the stream's other rings. Its bytes are made when the first viewer asks
//! for them, once for each form, MPEG-TS or fMP4. So a stream that nobody watches over HLS costs next to nothing to keep ready,
//! both forms share one cut, and the parts of a low-latency playlist are the pieces of its segments.

pub mod client;
pub mod live;
pub mod name;
pub mod packager;
pub mod playlist;
pub mod record;
pub mod segment;

pub use live::{Live, Reload, Turn};
pub use name::{Form, Name};
pub use packager::{Change, Packager};

use media::MediaTime;

/// How a stream is cut and what of it is kept. Fixed for the life of a [`Live`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length that segments aim at (`hls.segDur`). They end at key frames, so they are longer if those are rare.
    pub segment: MediaTime,
    /// Length that parts aim at (`hls.partDur`); `None` makes none, and the playlist is not a low-latency one.
    pub part: Option<MediaTime>,
    /// Segments in the playlist (`hls.segNum`), at least 1. More are listed while they last less than three target durations.
    pub listed: usize,
    /// Segments that can be had after they left the playlist (`hls.segRetain`).
    pub retained: usize,
    /// The delayed playlist is this many segments behind (`hls.segDelay`); 0 is none.
    pub delay: usize,
    /// The first segment is one group of pictures, however short (`hls.fastRegister`).
    pub first_gop: bool,
    /// Suffix of fMP4 segments with its dot (`hls.fmp4SegExt`).
    pub fmp4_suffix: String,
    /// How G.711 goes into MPEG-TS.
    pub ts: container::ts::Options,
    /// A segment that has grown to so many bytes of payload ends without waiting for a key frame.
    pub max_segment_bytes: usize,
}

impl Options {
    /// The slot of the time line that a time is in; see [`Packager`].
    pub(crate) fn slot_of(&self, time: MediaTime) -> i64 {
        let length = self.segment.as_micros().max(1);
        time.as_micros().saturating_add(length / 4).div_euclid(length)
    }
}

/// A segment that has become so long ends without waiting for a key frame: players need to begin somewhere, and memory is bounded.
pub const MAX_SEGMENT: MediaTime = MediaTime::from_millis(60_000);
