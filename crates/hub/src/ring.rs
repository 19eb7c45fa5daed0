//! The packets of one container, and the cursors that walk along them.

use crate::limits::RingLimits;
use crate::reader::{Batch, BatchLimits, Next};
use crate::stream::EndReason;
use crate::wait::{Ticket, WaitList};
use media::{MediaTime, Packet};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Packets since the newest key packet, and older ones as long as a reader still needs them and the limits allow.
///
/// Packets are numbered from 0. The *start* is the key packet at which a new reader, or one that fell off, begins: the front
/// of `keys`. Everything before it is kept only for readers that are behind, and goes when the last of them has caught up.
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    /// Number of `entries[0]`.
    first: u64,
    /// Length of all entries.
    bytes: usize,
    /// Key packets at which a reader may begin, the start first. One with video; those of the window without.
    keys: VecDeque<Key>,
    last_dts: MediaTime,
    /// Zero: the start is the newest key packet. Else: the oldest that is at most this much older than the newest packet.
    window: MediaTime,
    limits: RingLimits,
    preamble: Arc<Preamble>,
    /// Configuration packets after the first preamble, with their generation, for readers that missed them.
    updates: VecDeque<(u64, Arc<Packet>)>,
    /// Next packet of each reader by slot; `NOWHERE` for free slots and readers that wait for a key packet.
    cursors: Vec<u64>,
    free: Vec<usize>,
    /// Cursors with `first <= cursor < start`.
    behind: usize,
    any: WaitList,
    key: WaitList,
    pushed: Pushed,
    closed: Option<EndReason>,
    /// Bytes dropped because of the limits since last asked.
    evicted: u64,
}

pub(crate) struct Entry {
    packet: Arc<Packet>,
    /// Decoding time; for configuration that of the packet before.
    dts: MediaTime,
    /// Generation of the configuration in force after this packet.
    generation: u64,
}

struct Key {
    number: u64,
    dts: MediaTime,
    /// What a reader that begins here needs first. Not always the newest preamble: the configuration may have changed since.
    preamble: Arc<Preamble>,
}

/// What a new reader gets first.
#[derive(Default)]
struct Preamble {
    generation: u64,
    packets: Vec<Arc<Packet>>,
}

/// What was appended since readers were last woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pushed {
    Nothing,
    Packets,
    Key,
}

const NOWHERE: u64 = u64::MAX;

/// Some twenty changes of configuration. A reader that misses more within one ring's length watches a publisher that no
/// decoder could follow anyway.
const MAX_UPDATES: usize = 64;

/// Where a reader is. Belongs to the reader, means something to its ring only.
pub(crate) struct Cursor {
    slot: usize,
    position: Position,
    /// Generation of the configuration that the reader has.
    generation: u64,
    greeted: bool,
    ticket: Option<(List, Ticket)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Any,
    Key,
}

enum Position {
    /// Nothing read yet.
    Fresh,
    /// Fell off the ring; this packet was to be the next.
    Lost(u64),
    /// The next packet.
    At(u64),
}

impl Ring {
    pub fn new(limits: RingLimits) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            keys: VecDeque::new(),
            last_dts: MediaTime::ZERO,
            window: MediaTime::ZERO,
            limits,
            preamble: Arc::default(),
            updates: VecDeque::new(),
            cursors: Vec::new(),
            free: Vec::new(),
            behind: 0,
            any: WaitList::default(),
            key: WaitList::default(),
            pushed: Pushed::Nothing,
            closed: None,
            evicted: 0,
        }
    }

    /// Number of the packet that will be appended next.
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Replaces what new readers get first, and the window (see the field).
    pub fn set_preamble(&mut self, packets: Vec<Packet>, window: MediaTime) {
        let generation = self.preamble.generation + 1;
        self.preamble = Arc::new(Preamble {
            generation,
            packets: packets.into_iter().map(Arc::new).collect(),
        });
        self.window = window;
    }

    /// Appends a packet. What is no longer needed goes to `trash`, to be freed outside the lock.
    pub fn push(&mut self, packet: Packet, trash: &mut Vec<Entry>) {
        let number = self.next();
        let key = packet.key && !packet.config;
        if !packet.config {
            self.last_dts = packet.dts;
        }
        self.bytes += packet.len();
        self.pushed = self.pushed.max(if key { Pushed::Key } else { Pushed::Packets });
        if key {
            self.keys.push_back(Key {
                number,
                dts: packet.dts,
                preamble: self.preamble.clone(),
            });
        }
        let (packet, generation) = (Arc::new(packet), self.preamble.generation);
        if packet.config {
            self.updates.push_back((generation, packet.clone()));
            if self.updates.len() > MAX_UPDATES {
                self.updates.pop_front();
            }
        }
        self.entries.push_back(Entry {
            packet,
            dts: self.last_dts,
            generation,
        });
        if self.advance_start() | self.keys.is_empty() {
            self.reclaim(trash);
        }
        self.enforce_limits(trash);
    }

    /// Moves the start forward. Returns whether it moved.
    fn advance_start(&mut self) -> bool {
        let before = self.keys.len();
        while let [Some(front), Some(_)] = [self.keys.front(), self.keys.get(1)]
            && (self.window == MediaTime::ZERO || front.dts < self.last_dts - self.window)
        {
            self.keys.pop_front();
        }
        // The first key packet of all is a start too, and ends the rule for rings without one.
        self.keys.len() != before || self.keys.front().is_some_and(|key| key.number + 1 == self.next())
    }

    /// Counts who is behind, and frees what is before the start and before everybody's cursor.
    fn reclaim(&mut self, trash: &mut Vec<Entry>) {
        let start = self.keys.front().map_or(self.next(), |key| key.number);
        self.behind = 0;
        let mut needed = start;
        for &cursor in &self.cursors {
            // Those who fell off need nothing that is older than the start.
            if (self.first..start).contains(&cursor) {
                self.behind += 1;
                needed = needed.min(cursor);
            }
        }
        self.trim_to(needed, trash);
    }

    fn trim_to(&mut self, number: u64, trash: &mut Vec<Entry>) {
        let count = (number.saturating_sub(self.first) as usize).min(self.entries.len());
        if count == 0 {
            return;
        }
        self.bytes -= self
            .entries
            .range(..count)
            .map(|entry| entry.packet.len())
            .sum::<usize>();
        self.first += count as u64;
        trash.extend(self.entries.drain(..count));
    }

    /// Drops from the front until the limits are kept. One packet always stays.
    fn enforce_limits(&mut self, trash: &mut Vec<Entry>) {
        let before = self.first;
        while let (Some(front), true) = (self.entries.front(), self.entries.len() > 1)
            && self
                .limits
                .exceeded(self.bytes, self.last_dts - front.dts, self.entries.len())
        {
            let length = front.packet.len();
            self.bytes -= length;
            self.evicted += length as u64;
            self.first += 1;
            trash.extend(self.entries.pop_front());
        }
        if self.first != before {
            while self.keys.front().is_some_and(|key| key.number < self.first) {
                self.keys.pop_front();
            }
            self.reclaim(trash);
        }
    }

    /// Moves the wakers of those for whom something was appended to `out`.
    pub fn take_wakers(&mut self, out: &mut Vec<Waker>) {
        if self.pushed >= Pushed::Packets {
            self.any.drain_into(out);
        }
        if self.pushed >= Pushed::Key {
            self.key.drain_into(out);
        }
        self.pushed = Pushed::Nothing;
    }

    /// Ends the ring. Readers get what is left, then the reason.
    pub fn close(&mut self, reason: EndReason, out: &mut Vec<Waker>) {
        self.closed.get_or_insert(reason);
        self.any.drain_into(out);
        self.key.drain_into(out);
    }

    /// Bytes dropped because of the limits since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// A new reader.
    pub fn join(&mut self) -> Cursor {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.cursors.push(NOWHERE);
            self.cursors.len() - 1
        });
        Cursor {
            slot,
            position: Position::Fresh,
            generation: 0,
            greeted: false,
            ticket: None,
        }
    }

    /// The end of a reader. Returns its waker, to be dropped outside the lock.
    pub fn leave(&mut self, cursor: &mut Cursor, trash: &mut Vec<Entry>) -> Option<Waker> {
        self.move_cursor(cursor.slot, NOWHERE, trash);
        self.free.push(cursor.slot);
        self.cancel(cursor)
    }

    /// Readers at present.
    pub fn readers(&self) -> usize {
        self.cursors.len() - self.free.len()
    }

    fn move_cursor(&mut self, slot: usize, to: u64, trash: &mut Vec<Entry>) {
        let from = std::mem::replace(&mut self.cursors[slot], to);
        let Some(start) = self.keys.front().map(|key| key.number) else {
            return;
        };
        let needed = self.first..start;
        if needed.contains(&from) && !needed.contains(&to) {
            self.behind -= 1;
            if self.behind == 0 {
                self.trim_to(start, trash);
            }
        }
    }

    fn cancel(&mut self, cursor: &mut Cursor) -> Option<Waker> {
        let (list, ticket) = cursor.ticket.take()?;
        match list {
            List::Any => self.any.cancel(ticket),
            List::Key => self.key.cancel(ticket),
        }
    }

    fn wait<T>(&mut self, cursor: &mut Cursor, list: List, waker: &Waker) -> Poll<T> {
        if cursor.ticket.is_some_and(|(present, _)| present != list) {
            self.cancel(cursor);
        }
        let ticket = cursor.ticket.map(|(_, ticket)| ticket);
        let ticket = match list {
            List::Any => self.any.register(ticket, waker),
            List::Key => self.key.register(ticket, waker),
        };
        cursor.ticket = Some((list, ticket));
        Poll::Pending
    }

    /// Appends the packets from the cursor on to `batch`, as many as `limits` allow, or registers `waker`.
    ///
    /// Check and registration happen under one lock, so no packet can slip in between.
    pub fn fetch(
        &mut self,
        cursor: &mut Cursor,
        waker: &Waker,
        limits: BatchLimits,
        batch: &mut Batch,
        trash: &mut Vec<Entry>,
    ) -> Poll<Next> {
        if !cursor.greeted {
            let preamble = self.keys.front().map_or(&self.preamble, |key| &key.preamble);
            preamble.packets.iter().for_each(|packet| batch.push(packet));
            cursor.greeted = true;
            cursor.generation = preamble.generation;
        }
        if let Position::At(next) = cursor.position
            && next < self.first
        {
            self.cursors[cursor.slot] = NOWHERE;
            cursor.position = Position::Lost(next);
        }
        let mut skipped = None;
        let next = match cursor.position {
            Position::At(next) => next,
            Position::Fresh | Position::Lost(_) => {
                let Some(key) = self.keys.front() else {
                    if !batch.is_empty() {
                        return Poll::Ready(Next::Packets);
                    }
                    return match self.closed {
                        Some(reason) => Poll::Ready(Next::Ended(reason)),
                        None => self.wait(cursor, List::Key, waker),
                    };
                };
                if let Position::Lost(since) = cursor.position {
                    skipped = Some(key.number - since);
                }
                // What attached viewers were told meanwhile, not the preamble: file headers are sent once, and the preamble's
                // times are those of a beginning.
                let missed = cursor.generation + 1..=key.preamble.generation;
                let updates = self
                    .updates
                    .iter()
                    .filter(|(generation, _)| missed.contains(generation));
                updates.for_each(|(_, packet)| batch.push(packet));
                cursor.generation = key.preamble.generation;
                key.number
            }
        };
        let from = (next - self.first) as usize;
        let mut taken = 0;
        for entry in self.entries.range(from..) {
            if !batch.is_empty() && limits.reached_by(batch) {
                break;
            }
            batch.push(&entry.packet);
            cursor.generation = entry.generation;
            taken += 1;
        }
        cursor.position = Position::At(next + taken);
        self.move_cursor(cursor.slot, next + taken, trash);
        match (skipped, self.closed) {
            (Some(skipped), _) => Poll::Ready(Next::Lagged { skipped }),
            (None, _) if !batch.is_empty() => Poll::Ready(Next::Packets),
            (None, Some(reason)) => Poll::Ready(Next::Ended(reason)),
            (None, None) => self.wait(cursor, List::Any, waker),
        }
    }
}
