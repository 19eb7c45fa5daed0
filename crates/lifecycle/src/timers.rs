//! All deadlines of the engine in one ordered set, so that the next one is known without a scan.

use crate::SessionId;
use media::StreamKey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A player stops waiting.
    Wait(SessionId),
    /// A stream has been unwatched for its delay.
    Idle(StreamKey),
    /// A stream gives up its lost publisher.
    Orphan(StreamKey),
    /// A pull tries again.
    PullRetry(StreamKey),
    /// An ffmpeg source must have appeared, tries again, or is restarted.
    Ffmpeg(String),
    /// A pusher tries again.
    PushRetry(String),
}

/// The set of deadlines. Setting one again moves it.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    by_timer: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.clear(&timer);
        self.by_time.insert((at, timer.clone()));
        self.by_timer.insert(timer, at);
    }

    pub fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.by_timer.remove(timer) {
            self.by_time.remove(&(at, timer.clone()));
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }
}
