//! What waits for one endpoint, and how the endpoint is doing. Pure but for the store's handle.

use super::deliver::Lent;
use super::form;
use super::queue::{Job, LaneKey, Next, Queue, Rank};
use crate::deliveries::Deliveries;
use crate::event::{EventName, Outgoing, unix_ms};
use crate::hook::Hook;
use crate::own::OwnEvent;
use crate::spool::{Loaded, Opened, Spool, Stored};
use crate::store;
use media::StreamKey;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Most notifications under way to one endpoint.
pub const MAX_IN_FLIGHT: usize = 64;

/// Successes in a row after which an endpoint that asked for less gets one call more at once.
const RECOVERY: u32 = 20;

/// A stream whose events have been held up for this long may go over to "the newest state wins".
pub const HELD_UP: Duration = Duration::from_secs(30);

/// An endpoint that has only failed for this long is switched off.
pub const HOPELESS: Duration = Duration::from_secs(24 * 3600);

/// When what could not be read from disk is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Events that are read from disk at once: half of what may be in memory.
const PART: usize = super::queue::MAX_EVENTS / 2;
const PART_BYTES: usize = super::queue::MAX_BYTES / 2;

/// Numbers of outlets, and of times that they begin to be kept on disk.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

fn number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// One endpoint.
pub(crate) struct Outlet {
    pub name: Arc<str>,
    /// Which outlet of this name: what is under way for one that is gone means nothing to its successor.
    pub number: u64,
    queue: Queue,
    under_way: usize,
    /// Calls at once that the endpoint takes, as far as is known.
    limit: usize,
    /// Successes since `limit` changed.
    good: u32,
    /// Number of the last event.
    last_seq: u64,
    disk: Option<Disk>,
    failing_since: Option<Instant>,
    pub last_success: Option<SystemTime>,
    pub last_failure: Option<(SystemTime, String)>,
    /// Why it is switched off, if it is.
    pub disabled: Option<String>,
    pub hook_index: Arc<AtomicU64>,
    pub log: Arc<Deliveries>,
}

/// The part that is on disk.
struct Disk {
    spool: Spool,
    /// Which time that the outlet is kept on disk.
    number: u64,
    /// The last event that the store has accepted.
    accepted: u64,
    /// Everything up to this number is in the queue, or done with.
    loaded: u64,
    /// A part is being read.
    reading: bool,
    /// Reading failed; when to try again.
    again: Option<Instant>,
    stored: Arc<Stored>,
    /// Events of the queue that are not on disk, because that failed.
    unwritten: BTreeSet<u64>,
}

/// What is to be read from disk.
pub(super) struct Part {
    pub spool: Spool,
    /// For [`Outlet::loaded`].
    pub number: u64,
    /// Where to begin.
    pub after: u64,
    /// Events at most.
    pub max: usize,
    /// Bytes at most.
    pub bytes: usize,
}

/// What was dropped when an event was offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub full: usize,
    pub superseded: usize,
    pub not_written: usize,
    /// It is not on disk, as it should be, because the disk is too slow.
    pub refused: bool,
}

impl Outlet {
    pub(super) fn new(name: Arc<str>, log: Arc<Deliveries>) -> Self {
        Self {
            name,
            number: number(),
            queue: Queue::default(),
            under_way: 0,
            limit: MAX_IN_FLIGHT,
            good: 0,
            last_seq: 0,
            disk: None,
            failing_since: None,
            last_success: None,
            last_failure: None,
            disabled: None,
            hook_index: Arc::default(),
            log,
        }
    }

    /// From now on its events are kept on disk, after those that are there.
    pub(super) fn keep_on_disk(&mut self, spool: Spool, opened: Opened) {
        self.last_seq = self.last_seq.max(opened.last_seq);
        self.log
            .keep_on_disk(spool.clone(), self.name.clone(), opened.deliveries);
        self.disk = Some(Disk {
            spool,
            number: number(),
            accepted: opened.last_seq,
            loaded: if opened.stored.events() > 0 {
                0
            } else {
                opened.last_seq
            },
            reading: false,
            again: None,
            stored: opened.stored,
            // What waits by now is not there, and has numbers that others on disk may have: done with, it must not take those along.
            unwritten: self.queue.seqs().collect(),
        });
    }

    /// From now on they are not. Those that are in memory stay there.
    pub(super) fn keep_in_memory(&mut self) {
        self.log.keep_in_memory();
        self.disk = None;
    }

    pub(super) const fn is_durable(&self) -> bool {
        self.disk.is_some()
    }

    /// Takes an event.
    pub(super) fn offer(
        &mut self,
        lane: &LaneKey,
        rank: Rank,
        outgoing: &Arc<Outgoing>,
        newest_wins: bool,
        lifetime: Duration,
    ) -> Lost {
        let mut lost = Lost::default();
        let superseded = self.superseded(lane, outgoing, newest_wins);
        lost.superseded = superseded.len();
        for seq in superseded {
            self.done(seq);
        }
        self.last_seq += 1;
        let seq = self.last_seq;
        let Some(disk) = &mut self.disk else {
            lost.full = self.queue.push(lane.clone(), rank, outgoing.clone(), seq);
            return lost;
        };
        let up_to_date = disk.loaded >= disk.accepted && !disk.reading;
        let event = form::to_store(seq, lane.to_text(), outgoing, lifetime);
        let kept = disk.spool.append(&self.name, event);
        lost.refused = !kept;
        if kept {
            disk.accepted = seq;
        }
        if up_to_date && self.queue.has_room(outgoing.size()) {
            disk.loaded = seq;
            if !kept {
                disk.unwritten.insert(seq);
            }
            self.queue.push(lane.clone(), rank, outgoing.clone(), seq);
        } else if !kept {
            lost.not_written = 1;
        }
        lost
    }

    /// Numbers of waiting events that this one makes pointless.
    fn superseded(&mut self, lane: &LaneKey, newer: &Outgoing, newest_wins: bool) -> Vec<u64> {
        let alive = |name| {
            matches!(
                name,
                EventName::Zlm(Hook::ServerKeepalive) | EventName::Own(OwnEvent::ServerAlive)
            )
        };
        if alive(newer.name) {
            return self.queue.supersede(lane, |older| older.name == newer.name);
        }
        if !newest_wins || self.queue.held_up(lane, Instant::now()) < HELD_UP {
            return Vec::new();
        }
        let Some(state) = newer.state else {
            return Vec::new();
        };
        self.queue.supersede(lane, |older| older.state == Some(state))
    }

    /// Takes a dead letter back.
    pub(super) fn take_back(&mut self, event: &store::Event, lifetime: Duration) -> bool {
        let (Some(mut outgoing), Some(lane)) = (form::from_store(event), LaneKey::from_text(&event.lane))
        else {
            return false;
        };
        outgoing.stream = lane.stream().cloned();
        // Whoever sends it again wants it to arrive, however old it is.
        (outgoing.born, outgoing.born_unix_ms) = (Instant::now(), unix_ms(SystemTime::now()));
        outgoing.replay = true;
        let rank = rank_of(outgoing.name);
        let lost = self.offer(&lane, rank, &Arc::new(outgoing), false, lifetime);
        lost.full == 0 && lost.not_written == 0
    }

    /// The next event to be sent.
    pub(super) fn take(&mut self, now: Instant) -> Option<Job> {
        if self.under_way >= self.limit || self.disabled.is_some() {
            return None;
        }
        let job = self.queue.take(now)?;
        self.under_way += 1;
        Some(job)
    }

    /// What a call needs.
    pub(super) fn lend(&self) -> Lent {
        Lent {
            name: self.name.clone(),
            number: self.number,
            hook_index: self.hook_index.clone(),
            log: self.log.clone(),
        }
    }

    /// Tells what became of it.
    pub(super) fn finish(&mut self, lane: &LaneKey, seq: u64, next: Next) {
        self.under_way -= 1;
        if next == Next::Done {
            self.done(seq);
        }
        self.queue.finish(lane, next);
    }

    fn done(&mut self, seq: u64) {
        if let Some(disk) = &mut self.disk
            && !disk.unwritten.remove(&seq)
        {
            disk.spool.done(&self.name, seq);
        }
    }

    /// The receiver took an event; `again` after an outage.
    pub(super) fn succeeded(&mut self, again: bool) {
        self.last_success = Some(SystemTime::now());
        self.good += 1;
        if self.limit < MAX_IN_FLIGHT && self.good >= RECOVERY {
            self.limit += 1;
            self.good = 0;
        }
        self.failing_since = None;
        if again {
            // What waits for its next attempt waits for this. Not after single failures: those are about single events.
            self.queue.wake();
        }
    }

    /// The receiver failed. True if it has done nothing else for so long that it should be switched off.
    pub(super) fn failed(&mut self, too_much: bool, why: String, now: Instant) -> bool {
        if too_much {
            self.limit = (self.limit / 2).max(1);
            self.good = 0;
        }
        self.last_failure = Some((SystemTime::now(), why));
        let since = *self.failing_since.get_or_insert(now);
        now.saturating_duration_since(since) >= HOPELESS
    }

    /// Switches it on again.
    pub(super) fn enable(&mut self) {
        self.disabled = None;
        self.failing_since = None;
        self.limit = MAX_IN_FLIGHT;
        self.queue.wake();
    }

    /// When a waiting lane becomes ready.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let may = self.under_way < self.limit && self.disabled.is_none();
        let lane = self.queue.next_timer().filter(|_| may);
        let read = self.disk.as_ref().and_then(|disk| disk.again);
        [lane, read].into_iter().flatten().min()
    }

    /// What is to be read from disk now, if anything.
    pub(super) fn wants_part(&mut self, now: Instant) -> Option<Part> {
        let half_empty = self.queue.len() <= PART && self.queue.bytes() <= PART_BYTES;
        let disk = self.disk.as_mut()?;
        let later = disk.again.is_some_and(|at| at > now);
        if disk.reading || later || disk.loaded >= disk.accepted || !half_empty {
            return None;
        }
        disk.reading = true;
        disk.again = None;
        Some(Part {
            spool: disk.spool.clone(),
            number: disk.number,
            after: disk.loaded,
            max: PART,
            bytes: PART_BYTES,
        })
    }

    /// Reads a part from disk.
    pub(super) fn spool(&self) -> Option<Spool> {
        self.disk.as_ref().map(|disk| disk.spool.clone())
    }

    /// Takes what was read. Returns how many events could not be understood.
    pub(super) fn loaded(&mut self, number: u64, part: Result<Loaded, String>) -> usize {
        let Some(disk) = self.disk.as_mut().filter(|disk| disk.number == number) else {
            return 0;
        };
        disk.reading = false;
        let part = match part {
            Ok(part) => part,
            Err(error) => {
                tracing::error!(
                    endpoint = &*self.name,
                    error,
                    "notifications cannot be read from disk"
                );
                disk.again = Some(Instant::now() + READ_AGAIN);
                return 0;
            }
        };
        disk.loaded = part.through.min(disk.accepted).max(disk.loaded);
        let mut unknown = 0;
        let attempts = self.log.attempts();
        for event in part.events {
            match (form::from_store(&event), LaneKey::from_text(&event.lane)) {
                (Some(mut outgoing), Some(lane)) => {
                    outgoing.stream = lane.stream().cloned();
                    let rank = rank_of(outgoing.name);
                    let tried = attempts.get(&event.id).copied().unwrap_or(0);
                    self.queue
                        .push_tried(lane, rank, Arc::new(outgoing), event.seq, tried);
                }
                (_, _) => {
                    unknown += 1;
                    self.done(event.seq);
                }
            }
        }
        unknown
    }

    /// Whether an event is only on disk.
    pub(super) fn is_only_on_disk(&self, seq: u64) -> bool {
        self.disk.as_ref().is_some_and(|disk| seq > disk.loaded)
    }

    /// An event is not on disk. True if it is lost by that; else it is in memory.
    pub(super) fn not_written(&mut self, seq: u64) -> bool {
        let lost = self.is_only_on_disk(seq);
        if !lost && let Some(disk) = &mut self.disk {
            disk.unwritten.insert(seq);
            // It may be done with by now, so what is no more is put out of the list at times.
            if disk.unwritten.len() > 2 * super::queue::MAX_EVENTS {
                let waiting: BTreeSet<u64> = self.queue.seqs().collect();
                disk.unwritten.retain(|seq| waiting.contains(seq));
            }
        }
        lost
    }

    /// Events that are not done with.
    pub(super) fn waiting(&self) -> usize {
        let in_memory = self.queue.len();
        match &self.disk {
            Some(disk) if disk.loaded < disk.accepted => {
                in_memory.max(usize::try_from(disk.stored.events()).unwrap_or(usize::MAX))
            }
            Some(_) | None => in_memory,
        }
    }

    /// What is on disk; `None` if nothing is kept there.
    pub(super) fn stored(&self) -> Option<&Stored> {
        self.disk.as_ref().map(|disk| &*disk.stored)
    }

    /// When the event that has waited longest happened.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.queue.oldest()
    }

    pub(super) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Gives up what is in memory only; how many that were.
    pub(super) fn clear(&mut self) -> usize {
        let only_here = match &self.disk {
            Some(disk) => self
                .queue
                .seqs()
                .filter(|seq| disk.unwritten.contains(seq))
                .count(),
            None => self.queue.len(),
        };
        self.queue.clear();
        self.under_way = 0;
        only_here
    }
}

/// How dear an event is that was read from disk.
fn rank_of(name: EventName) -> Rank {
    match name {
        EventName::Zlm(Hook::StreamChanged)
        | EventName::Own(OwnEvent::StreamOnline | OwnEvent::StreamOffline) => Rank::State,
        EventName::Zlm(Hook::ServerStarted | Hook::ServerExited)
        | EventName::Own(OwnEvent::ServerStarted | OwnEvent::ServerStopping) => Rank::Critical,
        EventName::Zlm(_) | EventName::Own(_) => Rank::Spare,
    }
}

impl LaneKey {
    /// For the store.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Server => String::new(),
            Self::Stream(key) => key.to_string(),
        }
    }

    fn stream(&self) -> Option<&StreamKey> {
        match self {
            Self::Server => None,
            Self::Stream(key) => Some(key),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Server);
        }
        let (vhost, rest) = text.split_once('/')?;
        let (app, stream) = rest.split_once('/')?;
        Some(Self::Stream(StreamKey::new(vhost, app, stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn lane() -> LaneKey {
        LaneKey::Stream(StreamKey::on_default_vhost("live", "a/b"))
    }

    fn event(hook: Hook) -> Arc<Outgoing> {
        Arc::new(Outgoing::new(hook, "", Bytes::from_static(b"{}")))
    }

    fn offer(outlet: &mut Outlet, hook: Hook) -> Lost {
        outlet.offer(&lane(), Rank::State, &event(hook), false, HOPELESS)
    }

    #[test]
    fn lanes_survive_the_store() {
        for key in [lane(), LaneKey::Server] {
            assert_eq!(LaneKey::from_text(&key.to_text()), Some(key));
        }
        assert_eq!(LaneKey::from_text("x"), None);
    }

    #[test]
    fn an_endpoint_that_has_too_much_gets_half_and_recovers_slowly() {
        let mut outlet = Outlet::new("a".into(), Arc::default());
        let now = Instant::now();
        for _ in 0..3 {
            assert!(!outlet.failed(true, String::new(), now));
        }
        assert_eq!(outlet.limit, 8);
        for _ in 0..RECOVERY {
            outlet.succeeded(false);
        }
        assert_eq!(outlet.limit, 9);
        for _ in 0..10 {
            outlet.failed(true, String::new(), now);
        }
        assert_eq!(outlet.limit, 1);
        assert!(
            outlet.failed(false, String::new(), now + HOPELESS),
            "nothing but failures"
        );
    }

    #[test]
    fn the_end_of_an_outage_lets_go_on_what_waits_for_its_next_attempt() {
        let mut outlet = Outlet::new("a".into(), Arc::default());
        let now = Instant::now();
        offer(&mut outlet, Hook::StreamChanged);
        let job = outlet.take(now).unwrap();
        outlet.failed(false, String::new(), now);
        let at = now + Duration::from_secs(600);
        outlet.finish(&job.lane, job.seq, Next::Retry { at });
        assert!(outlet.take(now).is_none());
        outlet.succeeded(false);
        assert!(outlet.take(now).is_none());
        outlet.succeeded(true);
        assert_eq!(outlet.take(now).unwrap().failures, 1);
    }

    #[test]
    fn one_that_is_switched_off_keeps_its_events() {
        let mut outlet = Outlet::new("a".into(), Arc::default());
        let now = Instant::now();
        offer(&mut outlet, Hook::StreamChanged);
        outlet.disabled = Some("gone".to_owned());
        assert!(outlet.take(now).is_none());
        assert_eq!(outlet.waiting(), 1);
        outlet.enable();
        assert!(outlet.take(now).is_some());
    }
}
