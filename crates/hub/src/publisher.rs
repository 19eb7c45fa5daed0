//! The exclusive writer of a stream.

use crate::core::Effects;
use crate::gate::Wait;
use crate::session::Session;
use crate::stream::{Closed, EndReason, OnLeave, Stream};
use media::{Frame, Track, TrackId};
use std::sync::Arc;
use std::time::Instant;

/// Why nobody can publish to a stream now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is a publisher already.
    #[error("the stream has a publisher")]
    Busy,
    /// The stream has ended.
    #[error("the stream is closed: {0}")]
    Closed(EndReason),
}

/// How far a publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Tracks are still waited for.
    Waiting,
    /// Told once: from now on its tracks are offered, and readers may come.
    Ready,
    /// As told before.
    Live,
}

/// What became of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new.
    Added,
    /// It replaces the track of the same number.
    Changed,
    /// It was known.
    Unchanged,
    /// Its frames will be dropped: audio is switched off (`protocol.enable_audio`).
    AudioDisabled,
    /// Its frames will be dropped: there are as many tracks as allowed.
    TooMany {
        /// Tracks allowed (`max_track`).
        max: u8,
    },
}

/// The right to write to a stream, until dropped. The stream outlives it: readers stay, and the next publisher goes on where
/// this one stopped, with its own list of tracks.
pub struct Publisher {
    stream: Arc<Stream>,
    session: Session,
    out: Vec<Frame>,
    /// Reported and not yet told to the stream; one entry per track.
    losses: Vec<(TrackId, f32)>,
    effects: Effects,
    on_leave: Option<OnLeave>,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>, session: Session, on_leave: Option<OnLeave>) -> Self {
        Self {
            stream,
            session,
            out: Vec::new(),
            losses: Vec::new(),
            effects: Effects::default(),
            on_leave,
        }
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Says which kinds of tracks will come, so that nothing else is waited for. May be corrected later.
    pub fn tracks_declared(&mut self, now: Instant, video: bool, audio: bool) {
        self.session.declare(now, video, audio);
    }

    /// Adds a track, or replaces the one of the same number. Call [`Self::poll`] or write afterwards: readiness is decided
    /// there.
    pub fn set_track(&mut self, now: Instant, track: Track) -> Admission {
        let admission = self.session.set_track(now, track);
        let news = matches!(admission, Admission::Added | Admission::Changed);
        if news && self.session.is_live() {
            let tracks = self.session.offered();
            let mut core = self.stream.core().lock();
            if core.closed.is_none() {
                core.set_tracks(tracks, &mut self.effects);
            }
            drop(core);
            self.effects.settle(self.stream.counters());
        }
        admission
    }

    /// Says how many packets of a track were lost among those its source has sent so far. Shown from the next call that writes or
    /// polls on. A track that was not added is passed over.
    pub fn set_loss(&mut self, track: TrackId, lost: u64, expected: u64) {
        if expected == 0 || !self.session.has_track(track) {
            return;
        }
        let loss = (lost.min(expected) as f64 * 100.0 / expected as f64) as f32;
        match self.losses.iter_mut().find(|(id, _)| *id == track) {
            Some((_, known)) => *known = loss,
            None => self.losses.push((track, loss)),
        }
    }

    /// Publishes one frame.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn write(&mut self, now: Instant, frame: Frame) -> Result<Progress, Closed> {
        self.write_all(now, [frame])
    }

    /// Publishes frames that came together. Readers are woken once for all of them, which is cheaper than once for each.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn write_all(
        &mut self,
        now: Instant,
        frames: impl IntoIterator<Item = Frame>,
    ) -> Result<Progress, Closed> {
        for frame in frames {
            self.session.accept(now, frame, &mut self.out);
        }
        self.poll(now)
    }

    /// Decides whether waiting for tracks is over; to be called at [`Self::next_deadline`] and after
    /// [`Self::set_track`]. Writing does it too.
    ///
    /// # Errors
    ///
    /// The stream was closed.
    pub fn poll(&mut self, now: Instant) -> Result<Progress, Closed> {
        let counters = self.stream.counters();
        let mut offered = None;
        if !self.session.is_live() {
            let over = match self.session.wait() {
                Wait::Over => true,
                Wait::Until(time) => now >= time,
                Wait::FirstTrack => false,
            };
            if over {
                offered = Some(self.session.offered());
                self.session.go_live(&mut self.out);
            }
        }
        counters.frames_dropped.add(self.session.take_dropped());
        counters.time_jumps.add(self.session.take_jumps());
        let mut core = self.stream.core().lock();
        if let Some(reason) = core.closed {
            self.out.clear();
            return Err(Closed(reason));
        }
        let progress = match offered {
            Some(tracks) => {
                core.go_live(tracks, &mut self.effects);
                Progress::Ready
            }
            None if self.session.is_live() => Progress::Live,
            None => return Ok(Progress::Waiting),
        };
        core.set_losses(&mut self.losses);
        if !self.out.is_empty() {
            let (frames, bytes) = core.publish(now, &mut self.out, &mut self.effects);
            counters.frames_in.add(frames);
            counters.bytes_in.add(bytes);
        }
        drop(core);
        self.effects.settle(counters);
        Ok(progress)
    }

    /// When [`Self::poll`] must be called if nothing is written before. In the past if it is due already.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.session.is_live() {
            return None;
        }
        match self.session.wait() {
            Wait::Until(time) => Some(time),
            Wait::Over => self.session.opened(),
            Wait::FirstTrack => None,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.core().lock().leased = false;
        if let Some(on_leave) = self.on_leave.take() {
            on_leave();
        }
    }
}
