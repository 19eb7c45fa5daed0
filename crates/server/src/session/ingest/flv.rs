//! From tag bodies to the hub: what an RTMP publisher, an RTMP pull and an HTTP-FLV pull have in common.

use super::Feed;
use crate::link::{Granted, Link};
use container::flv::{Demuxer, Event as FlvEvent, Tag};
use hub::{Closed, PublishError};
use std::time::Instant;
use tracing::warn;

/// Feeds one stream.
pub struct Ingest {
    feed: Feed,
    demuxer: Demuxer,
}

impl Ingest {
    /// Takes the right to write to a granted stream.
    ///
    /// # Errors
    ///
    /// Somebody else writes to it, or it is closed.
    pub fn new(granted: &Granted, link: Link) -> Result<Self, PublishError> {
        Ok(Self {
            feed: Feed::new(granted, link)?,
            demuxer: Demuxer::new(),
        })
    }

    /// Reads one tag body. Bad media is counted and left out; only the end of the stream is an error.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn tag(&mut self, now: Instant, tag: Tag) -> Result<(), Closed> {
        if let Err(error) = self.demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body) {
            self.feed.bad(&error);
        }
        while let Some(event) = self.demuxer.poll() {
            match event {
                FlvEvent::Frame(frame) => self.feed.frame(frame),
                FlvEvent::Track(track) => self.feed.track(now, track)?,
                FlvEvent::TracksDeclared { video, audio } => self.feed.tracks_declared(now, video, audio),
                FlvEvent::Metadata(_) => {}
                FlvEvent::Unsupported(what) => {
                    warn!(stream = %self.feed.key(), what = what.what, "not supported, left out")
                }
            }
        }
        self.feed.flush(now)
    }

    /// Decides about waiting for tracks when nothing comes.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn poll(&mut self, now: Instant) -> Result<(), Closed> {
        self.feed.poll(now)
    }

    /// When [`Self::poll`] must be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.feed.deadline()
    }
}
