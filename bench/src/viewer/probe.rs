//! Single viewers whose times are noted.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Target, Watcher, watch};
use crate::check::{Continuity, Seen};
use crate::plan::Plan;

/// Longest that one join may take: several groups of pictures.
const JOIN: Duration = Duration::from_secs(10);
/// How often we look whether a probe gets frames.
const LOOK: Duration = Duration::from_millis(20);

/// A viewer that notes each frame. It leaves with the value.
pub struct Probe {
    task: JoinHandle<Result<()>>,
    notes: Arc<Mutex<Notes>>,
}

/// What it has noted.
#[derive(Debug, Default)]
struct Notes {
    seen: Vec<Seen>,
    missing: u64,
}

impl Probe {
    /// Waits for its first frame.
    pub async fn start(plan: &Plan, target: &Target) -> Result<Self> {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let mut noting = Noting {
            notes: notes.clone(),
            continuity: Continuity::default(),
        };
        let watched = target.clone();
        let task = plan
            .precise
            .spawn(async move { watch(&watched, &mut noting).await });
        let mut probe = Self { task, notes };
        timeout(JOIN, async {
            while probe.notes().seen.is_empty() {
                probe.check().await?;
                sleep(LOOK).await;
            }
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("a viewer over {} gets no frame within {JOIN:?}", target.protocol))?
        .with_context(|| format!("a viewer over {}", target.protocol))?;
        Ok(probe)
    }

    /// All frames so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.notes().seen.clone()
    }

    /// Frames, packets and fragments that are missing so far.
    pub fn missing(&self) -> u64 {
        self.notes().missing
    }

    /// An error if it has ended.
    pub async fn check(&mut self) -> Result<()> {
        if !self.task.is_finished() {
            return Ok(());
        }
        match (&mut self.task).await.context("a viewer")? {
            Ok(()) => bail!("a viewer has ended"),
            Err(error) => Err(error.context("a viewer ended")),
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Noting {
    notes: Arc<Mutex<Notes>>,
    continuity: Continuity,
}

impl Watcher for Noting {
    fn received(&mut self, _: usize) {}

    fn checks(&self) -> bool {
        true
    }

    fn frame(&mut self, seen: &Seen) -> ControlFlow<()> {
        let missing = self.continuity.step(seen).missing;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.seen.push(*seen);
        notes.missing += missing;
        ControlFlow::Continue(())
    }

    fn missing(&mut self, packets: u64) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).missing += packets;
    }
}

/// Times of a join, from before the TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    /// To the first byte that the server sent.
    pub first_byte: Duration,
    /// To the last byte of the first key frame.
    pub key_frame: Duration,
}

/// Joins, and leaves with the first key frame.
pub async fn join(plan: &Plan, target: &Target) -> Result<Join> {
    let target = target.clone();
    let mut joining = plan.precise.spawn(async move {
        let mut watcher = Joining {
            begin: Instant::now(),
            first_byte: None,
            key_frame: None,
        };
        watch(&target, &mut watcher).await?;
        Ok(Join {
            first_byte: watcher.first_byte.context("no byte came")?,
            key_frame: watcher.key_frame.context("no key frame came")?,
        })
    });
    match timeout(JOIN, &mut joining).await {
        Ok(joined) => joined.context("a viewer")?,
        Err(_) => {
            joining.abort();
            bail!("no key frame after {JOIN:?}")
        }
    }
}

struct Joining {
    begin: Instant,
    first_byte: Option<Duration>,
    key_frame: Option<Duration>,
}

impl Watcher for Joining {
    fn received(&mut self, _: usize) {
        self.first_byte.get_or_insert_with(|| self.begin.elapsed());
    }

    fn checks(&self) -> bool {
        true
    }

    fn frame(&mut self, seen: &Seen) -> ControlFlow<()> {
        if !seen.key {
            return ControlFlow::Continue(());
        }
        self.key_frame = Some(seen.at.saturating_duration_since(self.begin));
        ControlFlow::Break(())
    }

    fn missing(&mut self, _: u64) {}
}
