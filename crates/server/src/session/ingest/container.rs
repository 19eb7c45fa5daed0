//! From bytes of MPEG-TS or fragmented MP4 to frames: what an HTTP-TS pull and an HLS pull have in common.

use bytes::Bytes;
use container::{mp4, ts};
use media::{Frame, Track};

/// A demuxer of either container.
pub enum Demuxer {
    /// MPEG-TS. On the heap, as the other one: both are large.
    Ts(Box<ts::Demuxer>),
    /// Fragmented MP4.
    Mp4(Box<mp4::Demuxer>),
}

/// What the bytes brought.
pub enum Event {
    /// Which kinds of tracks there are.
    TracksDeclared {
        /// Video.
        video: bool,
        /// Audio.
        audio: bool,
    },
    /// A track appeared or has changed.
    Track(Track),
    /// A frame.
    Frame(Frame),
    /// Something that is left out, for a log line.
    Unsupported(String),
    /// Something broken was left out.
    Bad(mp4::Error),
}

impl Demuxer {
    /// For MPEG-TS.
    pub fn ts() -> Self {
        Self::Ts(Box::default())
    }

    /// For fragmented MP4.
    pub fn mp4() -> Self {
        Self::Mp4(Box::default())
    }

    /// Adds bytes to what is to be read.
    pub fn push(&mut self, bytes: Bytes) {
        match self {
            Self::Ts(demuxer) => demuxer.push(&bytes),
            Self::Mp4(demuxer) => demuxer.push(bytes),
        }
    }

    /// No more bytes follow: what is not sure to be complete is.
    pub fn flush(&mut self) {
        match self {
            Self::Ts(demuxer) => demuxer.flush(),
            // A sample says how long it is.
            Self::Mp4(_) => {}
        }
    }

    /// The next event; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// Nothing more can be read. MPEG-TS can always be read on; it counts what is broken.
    pub fn poll(&mut self) -> Result<Option<Event>, mp4::Error> {
        Ok(match self {
            Self::Ts(demuxer) => demuxer.poll().map(|event| match event {
                ts::Event::TracksDeclared { video, audio } => Event::TracksDeclared { video, audio },
                ts::Event::Track(track) => Event::Track(track),
                ts::Event::Frame(frame) => Event::Frame(frame),
                ts::Event::Unsupported(unsupported) => Event::Unsupported(unsupported.what),
            }),
            Self::Mp4(demuxer) => demuxer.poll()?.map(|event| match event {
                mp4::Event::TracksDeclared { video, audio } => Event::TracksDeclared { video, audio },
                mp4::Event::Track(track) => Event::Track(track),
                mp4::Event::Frame(frame) => Event::Frame(frame),
                mp4::Event::Unsupported(unsupported) => Event::Unsupported(unsupported.what),
                mp4::Event::Bad(error) => Event::Bad(error),
            }),
        })
    }
}
