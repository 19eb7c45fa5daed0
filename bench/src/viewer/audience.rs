//! Many viewers, counted together.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::{Protocol, Target, Watcher, watch};
use crate::check::{Continuity, Seen};

/// Longest that it may take until all viewers get frames.
const JOIN: Duration = Duration::from_secs(60);
/// How often we look whether they do.
const LOOK: Duration = Duration::from_millis(20);
/// Most viewers that join at the same time.
const JOINING: usize = 64;

/// Of all viewers together.
#[derive(Debug, Default)]
struct Tally {
    bytes: AtomicU64,
    joined: AtomicU32,
    frames: AtomicU64,
    missing_frames: AtomicU64,
    missing_packets: AtomicU64,
    /// The measurement has begun.
    measuring: AtomicBool,
    latest_us: AtomicU64,
}

/// What all viewers have received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Bytes of their TCP connections.
    pub bytes: u64,
    /// Frames of those that are checked.
    pub frames: u64,
    /// Frames that these should have received and did not.
    pub missing_frames: u64,
    /// Packets or fragments that these should have received, by their numbers, and did not.
    pub missing_packets: u64,
}

/// They leave with the value.
pub struct Audience {
    tally: Arc<Tally>,
    viewers: JoinSet<Result<()>>,
    doors: Arc<Semaphore>,
    count: u32,
}

impl Audience {
    /// Nobody yet.
    pub fn new() -> Self {
        Self {
            tally: Arc::default(),
            viewers: JoinSet::new(),
            doors: Arc::new(Semaphore::new(JOINING)),
            count: 0,
        }
    }

    /// Connects so many more and waits until each gets frames. One in `check_every`, and the first of all, is checked.
    pub async fn admit(&mut self, target: &Target, more: u32, check_every: u32) -> Result<()> {
        for _ in 0..more {
            let checks = target.protocol != Protocol::Plain && self.count.is_multiple_of(check_every.max(1));
            self.count += 1;
            let (target, doors) = (target.clone(), self.doors.clone());
            let mut member = Member {
                tally: self.tally.clone(),
                checks,
                continuity: Continuity::default(),
                door: None,
                joined: false,
            };
            self.viewers.spawn(async move {
                // The floor begins when all are there.
                if target.protocol != Protocol::Plain {
                    member.door = Some(doors.acquire_owned().await.context("the doors are open")?);
                }
                watch(&target, &mut member).await
            });
        }
        timeout(JOIN, async {
            let mut look = interval(LOOK);
            while self.tally.joined.load(Ordering::Relaxed) < self.count {
                self.check()?;
                look.tick().await;
            }
            anyhow::Ok(())
        })
        .await
        .with_context(|| {
            let joined = self.tally.joined.load(Ordering::Relaxed);
            format!("{joined} of {} viewers get frames after {JOIN:?}", self.count)
        })?
    }

    /// What they have received so far.
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            bytes: get(&self.tally.bytes),
            frames: get(&self.tally.frames),
            missing_frames: get(&self.tally.missing_frames),
            missing_packets: get(&self.tally.missing_packets),
        }
    }

    /// From now on [`Self::latest`] counts.
    pub fn begin(&self) {
        self.tally.latest_us.store(0, Ordering::Relaxed);
        self.tally.measuring.store(true, Ordering::Relaxed);
    }

    /// How much later than the least delayed frame of its viewer a frame came at worst, of those that are checked.
    pub fn latest(&self) -> Duration {
        Duration::from_micros(self.tally.latest_us.load(Ordering::Relaxed))
    }

    /// An error if one of them has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.viewers.try_join_next() {
            None => Ok(()),
            Some(ended) => match ended.context("a viewer")? {
                Ok(()) => bail!("a viewer has ended"),
                Err(error) => Err(error.context("a viewer ended")),
            },
        }
    }
}

/// One of them.
struct Member {
    tally: Arc<Tally>,
    checks: bool,
    continuity: Continuity,
    /// Held until it gets frames.
    door: Option<tokio::sync::OwnedSemaphorePermit>,
    joined: bool,
}

impl Member {
    fn join(&mut self) {
        if !std::mem::replace(&mut self.joined, true) {
            self.door = None;
            self.tally.joined.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// So many bytes without a parser are taken for a frame: more than the answer's head and the heads of a container.
const FIRST_BYTES: usize = 2000;

impl Watcher for Member {
    fn received(&mut self, bytes: usize) {
        self.tally.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if !self.joined && !self.checks && bytes >= FIRST_BYTES {
            self.join();
        }
    }

    fn checks(&self) -> bool {
        self.checks
    }

    fn frame(&mut self, seen: &Seen) -> ControlFlow<()> {
        self.join();
        if self.checks {
            let step = self.continuity.step(seen);
            self.tally.frames.fetch_add(1, Ordering::Relaxed);
            self.tally
                .missing_frames
                .fetch_add(step.missing, Ordering::Relaxed);
            if self.tally.measuring.load(Ordering::Relaxed) {
                let late = step.late.as_micros() as u64;
                self.tally.latest_us.fetch_max(late, Ordering::Relaxed);
            }
        }
        ControlFlow::Continue(())
    }

    fn missing(&mut self, packets: u64) {
        if packets > 0 && self.checks {
            self.tally.missing_packets.fetch_add(packets, Ordering::Relaxed);
        }
    }
}
