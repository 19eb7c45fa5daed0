//! What waits to be told: lanes that keep the order of each stream, within bounds. Pure.

use crate::event::Outgoing;
use media::StreamKey;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most events that are not done with, those under way included.
pub const MAX_EVENTS: usize = 10_000;

/// Most bytes of them.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What shares an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LaneKey {
    /// Events about the server.
    Server,
    /// Events about one stream.
    Stream(StreamKey),
}

/// How dear an event is: when there is no room, the oldest of the least dear ones goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Another one follows, or nobody acts upon it at once.
    Spare,
    /// Receivers keep a list by it.
    State,
    /// Never dropped for room.
    Critical,
}

/// What is to become of the event of a lane that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is done with.
    Done,
    /// The attempt failed; another one follows.
    Retry {
        /// When.
        at: Instant,
    },
    /// There was no attempt that the schedule counts.
    Postpone {
        /// When to look again.
        at: Instant,
        /// There was one all the same.
        tried: bool,
    },
}

/// An event to be sent.
#[derive(Debug)]
pub(crate) struct Job {
    pub lane: LaneKey,
    pub outgoing: Arc<Outgoing>,
    /// Attempts that failed, as the schedule counts.
    pub failures: u32,
    /// All that were made.
    pub attempts: u32,
    /// Number of the event among those of the endpoint.
    pub seq: u64,
}

/// The waiting events.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose first event may be sent, longest waiting first.
    ready: VecDeque<LaneKey>,
    /// Lanes that wait for a point in time.
    timers: BTreeMap<(Instant, u64), LaneKey>,
    /// Events that may be dropped for room, by rank and age.
    spare: BTreeMap<(Rank, u64), LaneKey>,
    events: usize,
    bytes: usize,
    /// Number of the next event, or of the next timer.
    next: u64,
}

#[derive(Debug, Default)]
struct Lane {
    items: VecDeque<Item>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// In `ready`.
    #[default]
    Ready,
    /// In `timers`, under this key.
    Waiting((Instant, u64)),
    /// Its first event is under way.
    Busy,
}

#[derive(Debug)]
struct Item {
    number: u64,
    rank: Rank,
    outgoing: Arc<Outgoing>,
    failures: u32,
    attempts: u32,
    seq: u64,
}

impl Queue {
    /// Events that are not done with.
    pub(crate) const fn len(&self) -> usize {
        self.events
    }

    /// Whether there is room for an event of this size, without another one having to go.
    pub(crate) const fn has_room(&self, size: usize) -> bool {
        self.events < MAX_EVENTS && self.bytes + size <= MAX_BYTES
    }

    /// Bytes of them.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an event to its lane. Returns how many events had to go for it, itself perhaps among them.
    pub(crate) fn push(&mut self, key: LaneKey, rank: Rank, outgoing: Arc<Outgoing>, seq: u64) -> usize {
        self.push_tried(key, rank, outgoing, seq, 0)
    }

    /// The same with an event for which attempts were made before.
    pub(crate) fn push_tried(
        &mut self,
        key: LaneKey,
        rank: Rank,
        outgoing: Arc<Outgoing>,
        seq: u64,
        attempts: u32,
    ) -> usize {
        let size = outgoing.size();
        let mut dropped = 0;
        while !self.has_room(size) {
            dropped += 1;
            // An event never displaces a dearer one.
            match self.spare.first_key_value() {
                Some((&(worst, number), lane)) if worst <= rank => {
                    let lane = lane.clone();
                    self.remove(&lane, number);
                }
                Some(_) | None => return dropped,
            }
        }
        let number = self.number();
        self.events += 1;
        self.bytes += size;
        if rank < Rank::Critical {
            self.spare.insert((rank, number), key.clone());
        }
        let item = Item {
            number,
            rank,
            outgoing,
            failures: 0,
            attempts,
            seq,
        };
        match self.lanes.get_mut(&key) {
            Some(lane) => lane.items.push_back(item),
            None => {
                self.lanes.insert(
                    key.clone(),
                    Lane {
                        items: VecDeque::from([item]),
                        state: State::Ready,
                    },
                );
                self.ready.push_back(key);
            }
        }
        dropped
    }

    /// Removes events that wait in a lane, because a newer one says the same. Returns their numbers. The one that was tried before
    /// stays: by it is known how long the lane has been held up.
    pub(crate) fn supersede(&mut self, key: &LaneKey, says_less: impl Fn(&Outgoing) -> bool) -> Vec<u64> {
        let Some(lane) = self.lanes.get(key) else {
            return Vec::new();
        };
        let tried = lane.items.front().is_some_and(|item| item.attempts > 0);
        let stays = usize::from(tried || matches!(lane.state, State::Busy));
        let waiting = lane
            .items
            .iter()
            .skip(stays)
            .filter(|item| says_less(&item.outgoing));
        let (numbers, seqs): (Vec<u64>, Vec<u64>) = waiting.map(|item| (item.number, item.seq)).unzip();
        for number in &numbers {
            self.remove(key, *number);
        }
        seqs
    }

    /// How long the first event of a lane has waited.
    pub(crate) fn held_up(&self, key: &LaneKey, now: Instant) -> Duration {
        let first = self.lanes.get(key).and_then(|lane| lane.items.front());
        first.map_or(Duration::ZERO, |item| {
            now.saturating_duration_since(item.outgoing.born)
        })
    }

    /// When the event that has waited longest happened.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let firsts = self.lanes.values().filter_map(|lane| lane.items.front());
        firsts.map(|item| item.outgoing.born).min()
    }

    /// All lanes that wait for a point in time may go on now: what they wait for has come.
    pub(crate) fn wake(&mut self) {
        for (_, key) in std::mem::take(&mut self.timers) {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.state = State::Ready;
                self.ready.push_back(key);
            }
        }
    }

    /// The next event to be sent; its lane is busy until [`Queue::finish`].
    pub(crate) fn take(&mut self, now: Instant) -> Option<Job> {
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            let key = timer.remove();
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.state = State::Ready;
                self.ready.push_back(key);
            }
        }
        let key = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&key)?;
        let item = lane.items.front()?;
        lane.state = State::Busy;
        self.spare.remove(&(item.rank, item.number));
        Some(Job {
            outgoing: item.outgoing.clone(),
            failures: item.failures,
            attempts: item.attempts,
            seq: item.seq,
            lane: key,
        })
    }

    /// Tells what is to become of the event of a busy lane.
    pub(crate) fn finish(&mut self, key: &LaneKey, next: Next) {
        let number = self.number();
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let Some(item) = lane.items.front_mut() else {
            return;
        };
        let (first, rank) = (item.number, item.rank);
        let at = match next {
            Next::Done => {
                lane.state = State::Ready;
                self.ready.push_back(key.clone());
                self.remove(key, first);
                return;
            }
            Next::Retry { at } => {
                item.failures += 1;
                item.attempts += 1;
                at
            }
            Next::Postpone { at, tried } => {
                item.attempts += u32::from(tried);
                at
            }
        };
        lane.state = State::Waiting((at, number));
        self.timers.insert((at, number), key.clone());
        if rank < Rank::Critical {
            self.spare.insert((rank, first), key.clone());
        }
    }

    /// When a waiting lane becomes ready.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Numbers of the events that are not done with.
    pub(crate) fn seqs(&self) -> impl Iterator<Item = u64> {
        self.lanes
            .values()
            .flat_map(|lane| &lane.items)
            .map(|item| item.seq)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Removes one event that is not under way, and its lane with the last one.
    fn remove(&mut self, key: &LaneKey, number: u64) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let Ok(position) = lane.items.binary_search_by_key(&number, |item| item.number) else {
            return;
        };
        let Some(item) = lane.items.remove(position) else {
            return;
        };
        self.events -= 1;
        self.bytes -= item.outgoing.size();
        self.spare.remove(&(item.rank, number));
        if lane.items.is_empty() {
            match lane.state {
                State::Ready => self.ready.retain(|ready| ready != key),
                State::Waiting(timer) => {
                    self.timers.remove(&timer);
                }
                State::Busy => {}
            }
            self.lanes.remove(key);
        }
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn lane(name: &str) -> LaneKey {
        LaneKey::Stream(StreamKey::on_default_vhost("live", name))
    }

    fn event(hook: Hook, size: usize) -> Arc<Outgoing> {
        Arc::new(Outgoing::new(hook, "", Bytes::from(vec![b' '; size])))
    }

    fn is(hook: Hook) -> impl Fn(&Outgoing) -> bool {
        move |outgoing| outgoing.name == hook.into()
    }

    fn taken(queue: &mut Queue, now: Instant) -> Vec<LaneKey> {
        std::iter::from_fn(|| queue.take(now))
            .map(|job| job.lane)
            .collect()
    }

    #[test]
    fn lanes_are_independent_and_each_keeps_its_order() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (name, hook) in [
            ("a", Hook::StreamChanged),
            ("a", Hook::FlowReport),
            ("b", Hook::StreamChanged),
        ] {
            queue.push(lane(name), Rank::State, event(hook, 10), 0);
        }
        assert_eq!(
            taken(&mut queue, now),
            [lane("a"), lane("b")],
            "one of each lane at a time"
        );
        let later = now + Duration::from_secs(3);
        queue.finish(&lane("a"), Next::Retry { at: later });
        queue.finish(&lane("b"), Next::Done);
        assert_eq!((queue.len(), queue.next_timer()), (2, Some(later)));
        assert!(
            queue.take(now).is_none(),
            "the second of a lane waits for the first"
        );
        let again = queue.take(later).unwrap();
        assert_eq!(
            (again.outgoing.name, again.failures),
            (Hook::StreamChanged.into(), 1)
        );
        queue.finish(&lane("a"), Next::Done);
        assert_eq!(queue.take(later).unwrap().outgoing.name, Hook::FlowReport.into());
        queue.finish(&lane("a"), Next::Done);
        assert_eq!((queue.len(), queue.bytes, queue.lanes.len()), (0, 0, 0));
    }

    #[test]
    fn when_full_the_oldest_of_the_least_dear_goes_and_what_is_under_way_stays() {
        let now = Instant::now();
        let mut queue = Queue::default();
        assert_eq!(
            queue.push(LaneKey::Server, Rank::Critical, event(Hook::ServerStarted, 1), 0),
            0
        );
        queue.push(lane("first"), Rank::Spare, event(Hook::FlowReport, 1), 0);
        assert_eq!(taken(&mut queue, now).len(), 2);
        queue.push(lane("state"), Rank::State, event(Hook::StreamChanged, 1), 0);
        queue.push(lane("report"), Rank::Spare, event(Hook::FlowReport, 1), 0);
        for _ in queue.len()..MAX_EVENTS {
            assert_eq!(
                queue.push(lane("x"), Rank::State, event(Hook::StreamChanged, 1), 0),
                0
            );
        }
        assert_eq!(
            queue.push(lane("y"), Rank::State, event(Hook::StreamChanged, 1), 0),
            1
        );
        assert!(
            !queue.lanes.contains_key(&lane("report")),
            "the report went first although it was younger"
        );
        assert_eq!(
            queue.push(lane("z"), Rank::Spare, event(Hook::FlowReport, 1), 0),
            1
        );
        assert!(
            !queue.lanes.contains_key(&lane("z")),
            "a report does not displace a state"
        );
        assert_eq!(
            queue.push(LaneKey::Server, Rank::Critical, event(Hook::ServerExited, 1), 0),
            1
        );
        assert!(!queue.lanes.contains_key(&lane("state")), "the oldest state");
        assert!(queue.lanes.contains_key(&lane("first")));
        assert_eq!(queue.len(), MAX_EVENTS);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut queue = Queue::default();
        let half = MAX_BYTES / 2 - 1000;
        for name in ["a", "b"] {
            assert_eq!(
                queue.push(lane(name), Rank::State, event(Hook::StreamChanged, half), 0),
                0
            );
        }
        assert_eq!(
            queue.push(lane("c"), Rank::State, event(Hook::StreamChanged, half), 0),
            1
        );
        assert!(!queue.lanes.contains_key(&lane("a")));
        assert_eq!(
            queue.push(lane("d"), Rank::State, event(Hook::StreamChanged, MAX_BYTES), 0),
            3,
            "too large by itself"
        );
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_newer_keepalive_replaces_those_that_wait() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let push = |queue: &mut Queue| {
            let superseded = queue.supersede(&LaneKey::Server, is(Hook::ServerKeepalive)).len();
            queue.push(LaneKey::Server, Rank::Spare, event(Hook::ServerKeepalive, 1), 0);
            superseded
        };
        assert_eq!(push(&mut queue), 0);
        assert_eq!(push(&mut queue), 1);
        assert!(queue.take(now).is_some());
        assert_eq!(push(&mut queue), 0, "one is under way");
        assert_eq!(push(&mut queue), 1);
        assert_eq!(queue.len(), 2);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(u8, u8),
        Take,
        Finish(u8),
        Supersede(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..4u8, 0..3u8).prop_map(|(lane, rank)| Step::Push(lane, rank)),
            Just(Step::Take),
            (0..3u8).prop_map(Step::Finish),
            (0..4u8).prop_map(Step::Supersede),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever happens, the books agree and nothing is stuck: all that is left can be taken and finished.
        #[test]
        fn the_books_agree(steps in steps()) {
            let start = Instant::now();
            let mut queue = Queue::default();
            let mut busy = Vec::new();
            for (tick, step) in steps.into_iter().enumerate() {
                let now = start + Duration::from_secs(tick as u64);
                match step {
                    Step::Push(name, rank) => {
                        let rank = [Rank::Spare, Rank::State, Rank::Critical][usize::from(rank)];
                        queue.push(lane(&name.to_string()), rank, event(Hook::FlowReport, 5), 0);
                    }
                    Step::Take => busy.extend(queue.take(now).map(|job| job.lane)),
                    Step::Finish(next) if !busy.is_empty() => {
                        let at = now + Duration::from_secs(5);
                        let next = [Next::Done, Next::Retry { at }, Next::Postpone { at, tried: false }][usize::from(next)];
                        queue.finish(&busy.remove(0), next);
                    }
                    Step::Finish(_) => {}
                    Step::Supersede(name) => {
                        queue.supersede(&lane(&name.to_string()), is(Hook::FlowReport));
                    }
                }
                let held: usize = queue.lanes.values().map(|lane| lane.items.len()).sum();
                prop_assert_eq!(held, queue.len());
                prop_assert_eq!(queue.ready.len() + queue.timers.len() + busy.len(), queue.lanes.len());
                prop_assert!(queue.spare.len() <= held);
            }
            for key in busy {
                queue.finish(&key, Next::Done);
            }
            let end = start + Duration::from_secs(1000);
            while let Some(job) = queue.take(end) {
                queue.finish(&job.lane, Next::Done);
            }
            prop_assert_eq!((queue.len(), queue.bytes, queue.spare.len(), queue.timers.len()), (0, 0, 0, 0));
        }
    }
}
