//! The writing end of a granted stream: what every way in has in common, whatever it reads frames from.

pub mod container;
pub mod flv;
pub mod rtp;

use crate::link::{Granted, Link};
use hls::client::Output;
use hub::{Admission, Closed, Progress, PublishError, Publisher};
use lifecycle::Event;
use media::{Frame, StreamKey, Track};
use std::time::Instant;
use tracing::{debug, warn};

/// Feeds one stream, until dropped.
pub struct Feed {
    publisher: Publisher,
    key: StreamKey,
    incarnation: u64,
    link: Link,
    frames: Vec<Frame>,
    bad: u64,
    bad_reported: u64,
}

impl Feed {
    /// Takes the right to write to a granted stream.
    ///
    /// # Errors
    ///
    /// Somebody else writes to it, or it is closed.
    pub fn new(granted: &Granted, link: Link) -> Result<Self, PublishError> {
        Ok(Self {
            publisher: granted.stream.publisher(None)?,
            key: granted.key.clone(),
            incarnation: granted.incarnation,
            link,
            frames: Vec::new(),
            bad: 0,
            bad_reported: 0,
        })
    }

    /// The stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// The hub's end.
    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    /// Keeps a frame until [`Self::flush`]: frames that came together wake readers once.
    pub fn frame(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Adds a track or replaces the one of its number, after the frames before it.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn track(&mut self, now: Instant, track: Track) -> Result<(), Closed> {
        self.flush(now)?;
        let codec = track.codec.name();
        match self.publisher.set_track(now, track) {
            Admission::Added | Admission::Changed | Admission::Unchanged => {}
            left_out @ (Admission::AudioDisabled | Admission::TooMany { .. }) => {
                debug!(stream = %self.key, codec, ?left_out, "a track is not carried");
            }
        }
        Ok(())
    }

    /// Says which kinds of tracks will come.
    pub fn tracks_declared(&mut self, now: Instant, video: bool, audio: bool) {
        self.publisher.tracks_declared(now, video, audio);
    }

    /// Takes what a playout gives back, as it is due.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn output(&mut self, now: Instant, output: Output) -> Result<(), Closed> {
        match output {
            Output::Frame(frame) => self.frame(frame),
            Output::Track(track) => self.track(now, track)?,
            Output::TracksDeclared { video, audio } => self.tracks_declared(now, video, audio),
        }
        Ok(())
    }

    /// Publishes the frames that were kept.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn flush(&mut self, now: Instant) -> Result<(), Closed> {
        let progress = self.publisher.write_all(now, self.frames.drain(..))?;
        self.progressed(progress);
        Ok(())
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

    /// Counts media that was left out. Said at 1, 2, 4, 8 ...: a sender of nothing but rubbish must not fill the log.
    pub fn bad(&mut self, error: &dyn std::error::Error) {
        self.bad += 1;
        if self.bad >= self.bad_reported * 2 {
            self.bad_reported = self.bad;
            warn!(stream = %self.key, bad = self.bad, %error, "bad media was left out");
        }
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
