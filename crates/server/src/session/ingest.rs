//! From tag bodies to the hub: what an RTMP publisher, an RTMP pull and an HTTP-FLV pull have in common.

use container::flv::{Demuxer, Event as FlvEvent, Tag};
use hub::{Admission, Closed, Progress, PublishError, Publisher};
use lifecycle::Event;
use media::StreamKey;
use std::time::Instant;
use tracing::{debug, warn};

use crate::link::{Granted, Link};

/// Feeds one stream.
pub struct Ingest {
    publisher: Publisher,
    demuxer: Demuxer,
    key: StreamKey,
    incarnation: u64,
    link: Link,
    frames: Vec<media::Frame>,
    bad_reported: u64,
}

impl Ingest {
    /// Takes the right to write to a granted stream.
    ///
    /// # Errors
    ///
    /// Somebody else writes to it, or it is closed.
    pub fn new(granted: &Granted, link: Link) -> Result<Self, PublishError> {
        Ok(Self {
            publisher: granted.stream.publisher(None)?,
            demuxer: Demuxer::new(),
            key: granted.key.clone(),
            incarnation: granted.incarnation,
            link,
            frames: Vec::new(),
            bad_reported: 0,
        })
    }

    /// Reads one tag body. Bad media is counted and left out; only the end of the stream is an error.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn tag(&mut self, now: Instant, tag: Tag) -> Result<(), Closed> {
        if let Err(error) = self.demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body) {
            let bad = self.demuxer.counters().bad;
            // 1, 2, 4, 8 ...: a sender that sends nothing but rubbish must not fill the log.
            if bad >= self.bad_reported * 2 {
                self.bad_reported = bad.max(1);
                warn!(stream = %self.key, bad, %error, "bad media was left out");
            }
        }
        while let Some(event) = self.demuxer.poll() {
            match event {
                FlvEvent::Frame(frame) => self.frames.push(frame),
                FlvEvent::Track(track) => {
                    self.flush(now)?;
                    let codec = track.codec.name();
                    match self.publisher.set_track(now, track) {
                        Admission::Added | Admission::Changed | Admission::Unchanged => {}
                        left_out @ (Admission::AudioDisabled | Admission::TooMany { .. }) => {
                            debug!(stream = %self.key, codec, ?left_out, "a track is not carried");
                        }
                    }
                }
                FlvEvent::TracksDeclared { video, audio } => {
                    self.publisher.tracks_declared(now, video, audio)
                }
                FlvEvent::Metadata(_) => {}
                FlvEvent::Unsupported(what) => {
                    warn!(stream = %self.key, what = what.what, "not supported, left out")
                }
            }
        }
        self.flush(now)
    }

    /// Decides about waiting for tracks when nothing comes.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn poll(&mut self, now: Instant) -> Result<(), Closed> {
        let progress = self.publisher.poll(now)?;
        self.progressed(progress);
        Ok(())
    }

    /// When [`Self::poll`] must be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.publisher.next_deadline()
    }

    fn flush(&mut self, now: Instant) -> Result<(), Closed> {
        let progress = self.publisher.write_all(now, self.frames.drain(..))?;
        self.progressed(progress);
        Ok(())
    }

    fn progressed(&self, progress: Progress) {
        match progress {
            Progress::Ready => {
                self.link.raise(Event::Ready {
                    key: self.key.clone(),
                    incarnation: self.incarnation,
                });
            }
            Progress::Waiting | Progress::Live => {}
        }
    }
}
