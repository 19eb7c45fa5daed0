//! One thread's loop: whose reader has news, one write for each, all at once.

use crate::backend::{self, Alarm, Backend, ROUND, Token, Write};
use crate::delivery::{Flight, Outcome, Wish};
use crate::pace::{Merge, Pace};
use crate::position::Position;
use crate::room::WorkerView;
use bytes::Bytes;
use hub::{Batch, Next};
use media::{MediaTime, Packet};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// How often viewers that take nothing are looked for, while there are some.
const LOOK: Duration = Duration::from_millis(500);

/// How long the load of a worker that has nothing to do any more is remembered.
const FORGET: Duration = Duration::from_secs(1);

/// What all threads see of a worker.
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    alarm: Arc<Alarm>,
    /// The worker sleeps, or is about to after one more look into its inbox.
    asleep: AtomicBool,
    pub stop: AtomicBool,
    ended: AtomicBool,
    viewers: AtomicU32,
    figures: Figures,
}

struct Inbox {
    /// Numbers of those who have news. Bounded by the viewers: each is in it once.
    ready: Vec<u32>,
    new: Vec<New>,
    merge: Merge,
    /// `merge` is news.
    changed: bool,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.new.is_empty() && !self.changed
    }
}

struct New {
    socket: OwnedFd,
    flight: Arc<Flight>,
    tag: Arc<Tag>,
}

#[derive(Default)]
struct Figures {
    backend: Mutex<&'static str>,
    busy: AtomicU64,
    hold_us: AtomicU64,
    writes: AtomicU64,
    blocked: AtomicU64,
    bytes: AtomicU64,
    stalled: AtomicU64,
}

impl Shared {
    pub fn new(alarm: Alarm, merge: Merge) -> Self {
        Self {
            inbox: Mutex::new(Inbox {
                ready: Vec::new(),
                new: Vec::new(),
                merge,
                changed: false,
            }),
            alarm: Arc::new(alarm),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            viewers: AtomicU32::new(0),
            figures: Figures::default(),
        }
    }

    pub fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Relaxed)
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub fn set_merge(&self, merge: Merge) {
        let mut inbox = self.inbox.lock();
        (inbox.merge, inbox.changed) = (merge, true);
        drop(inbox);
        self.wake();
    }

    pub fn give(&self, socket: OwnedFd, flight: Arc<Flight>, tag: Arc<Tag>) {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        let mut inbox = self.inbox.lock();
        if self.has_ended() {
            drop(inbox);
            flight.release(Some(Outcome::Failed(io::ErrorKind::NotConnected.into())));
            return;
        }
        inbox.new.push(New { socket, flight, tag });
        drop(inbox);
        self.wake();
    }

    pub fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.alarm.ring();
        }
    }

    pub fn view(&self) -> WorkerView {
        let figures = &self.figures;
        WorkerView {
            backend: *figures.backend.lock(),
            viewers: self.viewers() as usize,
            busy: f64::from_bits(figures.busy.load(Ordering::Relaxed)),
            hold: Duration::from_micros(figures.hold_us.load(Ordering::Relaxed)),
            writes: figures.writes.load(Ordering::Relaxed),
            blocked: figures.blocked.load(Ordering::Relaxed),
            bytes: figures.bytes.load(Ordering::Relaxed),
            stalled: figures.stalled.load(Ordering::Relaxed),
        }
    }
}

/// Puts a viewer on its worker's list.
pub(crate) struct Tag {
    shared: Arc<Shared>,
    /// Place in the worker's table; [`Self::NOWHERE`] before it has one.
    index: AtomicU32,
    /// It is on the list already.
    listed: AtomicBool,
}

impl Tag {
    const NOWHERE: u32 = u32::MAX;

    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            index: AtomicU32::new(Self::NOWHERE),
            // The worker looks at a new viewer by itself.
            listed: AtomicBool::new(true),
        })
    }

    pub fn wake_worker(&self) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let index = self.index.load(Ordering::Relaxed);
        self.shared.inbox.lock().ready.push(index);
        self.shared.wake();
    }
}

impl Wake for Tag {
    fn wake(self: Arc<Self>) {
        self.wake_worker();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_worker();
    }
}

/// A viewer.
struct Line {
    flight: Arc<Flight>,
    tag: Arc<Tag>,
    waker: Waker,
    socket: OwnedFd,
    generation: u32,
    batch: Batch,
    /// What is said instead of the batch, while there is something to say.
    words: Vec<Arc<Packet>>,
    position: Position,
    /// The socket takes nothing, since.
    blocked: Option<Instant>,
    /// No packets before.
    not_before: Option<Instant>,
}

impl Line {
    fn packets(&self) -> &[Arc<Packet>] {
        if self.words.is_empty() {
            self.batch.packets()
        } else {
            &self.words
        }
    }

    const fn token(&self, index: u32) -> Token {
        ((self.generation as u64) << 32) | index as u64
    }
}

/// What is to be done with a viewer.
enum Turn {
    Nothing,
    Write,
    Release(Option<Outcome>),
}

/// A worker, to be run on a thread of its own.
pub struct Worker {
    shared: Arc<Shared>,
    io_uring: bool,
    patience: Duration,
    lines: Vec<Option<Line>>,
    free: Vec<u32>,
    generation: u32,
    /// Who has something to write.
    due: VecDeque<Token>,
    /// Who may be written to again, and when; in order, because all are held back for the same time.
    held: VecDeque<(Instant, u32, u32)>,
    blocked: usize,
    hold: Duration,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, io_uring: bool, patience: Duration) -> Self {
        Self {
            shared,
            io_uring,
            patience,
            lines: Vec::new(),
            free: Vec::new(),
            generation: 0,
            due: VecDeque::new(),
            held: VecDeque::new(),
            blocked: 0,
            hold: Duration::ZERO,
        }
    }

    /// Serves viewers until the room is dropped.
    ///
    /// # Errors
    ///
    /// The system has no way to wait for sockets.
    pub fn run(mut self) -> io::Result<()> {
        let mut backend = backend::open(&self.shared.alarm, self.io_uring)?;
        *self.shared.figures.backend.lock() = backend.name();
        let mut pace = Pace::new(Instant::now());
        let (mut ready, mut room, mut results) = (Vec::new(), Vec::new(), Vec::new());
        let mut next_look = Instant::now() + LOOK;
        while !self.shared.stop.load(Ordering::Acquire) {
            let merge = self.take_inbox(&mut ready, backend.as_mut());
            let now = Instant::now();
            self.hold = pace.hold(merge);
            self.release_held(now, backend.as_mut());
            while !self.due.is_empty() {
                self.write(backend.as_mut(), &mut results);
            }
            if self.blocked > 0 && now >= next_look {
                self.give_up(now, backend.as_mut());
                next_look = now + LOOK;
            }
            let figures = &self.shared.figures;
            let hold = self.hold.as_micros() as u64;
            figures.hold_us.store(hold, Ordering::Relaxed);
            let slept = self.sleep(backend.as_mut(), &mut room, pace.is_idle())?;
            pace.slept(Instant::now(), slept);
            figures.busy.store(pace.busy().to_bits(), Ordering::Relaxed);
            for token in room.drain(..) {
                self.has_room(token);
            }
        }
        Ok(())
    }

    /// Looks at those who are new or have news. Returns when writes are to be merged.
    fn take_inbox(&mut self, ready: &mut Vec<u32>, backend: &mut dyn Backend) -> Merge {
        let mut inbox = self.shared.inbox.lock();
        std::mem::swap(&mut inbox.ready, ready);
        let new = std::mem::take(&mut inbox.new);
        let merge = inbox.merge;
        inbox.changed = false;
        drop(inbox);
        for new in new {
            let index = self.admit(new);
            self.turn(index, backend);
        }
        for index in ready.drain(..) {
            // Before the look: news that come meanwhile put it on the list again.
            if let Some(Some(line)) = self.lines.get(index as usize) {
                line.tag.listed.store(false, Ordering::Release);
                self.turn(index, backend);
            }
        }
        merge
    }

    fn admit(&mut self, new: New) -> u32 {
        let New { socket, flight, tag } = new;
        self.generation = self.generation.wrapping_add(1);
        let line = Line {
            waker: tag.clone().into(),
            flight,
            tag,
            socket,
            generation: self.generation,
            batch: Batch::default(),
            words: Vec::new(),
            position: Position::default(),
            blocked: None,
            not_before: None,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.lines.push(None);
            (self.lines.len() - 1) as u32
        });
        line.tag.index.store(index, Ordering::Relaxed);
        line.tag.listed.store(false, Ordering::Release);
        self.lines[index as usize] = Some(line);
        index
    }

    /// Looks at a viewer: what to write next, if anything.
    fn turn(&mut self, index: u32, backend: &mut dyn Backend) {
        let Some(Some(line)) = self.lines.get_mut(index as usize) else {
            return;
        };
        match look(line, self.hold) {
            Turn::Nothing => {}
            Turn::Write => self.due.push_back(line.token(index)),
            Turn::Release(outcome) => self.release(index, outcome, backend),
        }
    }

    /// Lets those be written to again whose time has come; all, if nobody is held back any more.
    fn release_held(&mut self, now: Instant, backend: &mut dyn Backend) {
        while let Some(&(time, index, generation)) = self.held.front()
            && (time <= now || self.hold.is_zero())
        {
            self.held.pop_front();
            if let Some(Some(line)) = self.lines.get_mut(index as usize)
                && line.generation == generation
            {
                line.not_before = None;
                self.turn(index, backend);
            }
        }
    }

    /// Writes to as many of those who are due as one round takes.
    fn write(&mut self, backend: &mut dyn Backend, results: &mut Vec<io::Result<usize>>) {
        let mut round = [0; ROUND];
        let mut writes = Vec::with_capacity(self.due.len().min(ROUND));
        for token in self.due.drain(..self.due.len().min(ROUND)) {
            let index = token as u32;
            // Who left since is not there, and somebody else may be in its place.
            if let Some(Some(line)) = self.lines.get(index as usize)
                && line.token(index) == token
            {
                round[writes.len()] = index;
                writes.push(Write {
                    socket: line.socket.as_fd(),
                    packets: line.packets(),
                    position: line.position,
                });
            }
        }
        // Before, so that whoever has got a packet sees its write counted.
        let figures = &self.shared.figures;
        figures.writes.fetch_add(writes.len() as u64, Ordering::Relaxed);
        results.clear();
        backend.write(&writes, results);
        drop(writes);
        let now = Instant::now();
        for (index, result) in round.into_iter().zip(results.drain(..)) {
            self.wrote(index, result, now, backend);
        }
    }

    fn wrote(&mut self, index: u32, result: io::Result<usize>, now: Instant, backend: &mut dyn Backend) {
        let Some(Some(line)) = self.lines.get_mut(index as usize) else {
            return;
        };
        let figures = &self.shared.figures;
        let full = match result {
            // It found no room in the round.
            Ok(0) => false,
            Ok(count) => {
                figures.bytes.fetch_add(count as u64, Ordering::Relaxed);
                line.flight.wrote(count);
                let (before, mut position) = (line.position, line.position);
                position.advance(line.packets(), count);
                line.position = position;
                line.blocked = line.blocked.map(|_| now);
                // Else the rest had no place in one write.
                let offered = || before.rest(line.packets()).take(backend::MAX_PIECES);
                !position.is_end(line.packets()) && count < offered().map(<[u8]>::len).sum()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return self.release(index, Some(Outcome::Failed(error)), backend),
        };
        if line.position.is_end(line.packets()) {
            let said = !line.words.is_empty();
            if said {
                line.words.clear();
            } else {
                line.batch.clear();
            }
            line.position = Position::default();
            self.blocked -= usize::from(line.blocked.take().is_some());
            if !self.hold.is_zero() && !said {
                let time = now + self.hold;
                line.not_before = Some(time);
                self.held.push_back((time, index, line.generation));
            }
            return self.turn(index, backend);
        }
        let token = line.token(index);
        if !full {
            return self.due.push_back(token);
        }
        figures.blocked.fetch_add(1, Ordering::Relaxed);
        if line.blocked.is_none() {
            line.blocked = Some(now);
            self.blocked += 1;
        }
        if let Err(error) = backend.await_room(token, line.socket.as_fd()) {
            self.release(index, Some(Outcome::Failed(error)), backend);
        }
    }

    /// A socket takes bytes again, or is broken: the write will tell.
    fn has_room(&mut self, token: Token) {
        let index = token as u32;
        if let Some(Some(line)) = self.lines.get(index as usize)
            && line.token(index) == token
            && line.blocked.is_some()
        {
            self.due.push_back(token);
        }
    }

    /// Ends those who took nothing for too long.
    fn give_up(&mut self, now: Instant, backend: &mut dyn Backend) {
        let patience = self.patience;
        let stalled = |line: &Line| {
            line.blocked
                .is_some_and(|since| now.saturating_duration_since(since) >= patience)
        };
        let lines = self.lines.iter().enumerate();
        let stalled: Vec<u32> = lines
            .filter(|(_, line)| line.as_ref().is_some_and(stalled))
            .map(|(index, _)| index as u32)
            .collect();
        for index in stalled {
            self.shared.figures.stalled.fetch_add(1, Ordering::Relaxed);
            let error = io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the peer took nothing for {patience:?}"),
            );
            self.release(index, Some(Outcome::Failed(error)), backend);
        }
    }

    fn release(&mut self, index: u32, outcome: Option<Outcome>, backend: &mut dyn Backend) {
        let Some(line) = self.lines[index as usize].take() else {
            return;
        };
        if line.blocked.is_some() {
            self.blocked -= 1;
            backend.forget(line.token(index), line.socket.as_fd());
        }
        self.free.push(index);
        self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
        let Line { flight, socket, .. } = line;
        drop(socket);
        // Last: the session may use the socket from here on.
        flight.release(outcome);
    }

    /// Sleeps until there is something to do. Returns for how long.
    fn sleep(&self, backend: &mut dyn Backend, room: &mut Vec<Token>, idle: bool) -> io::Result<Duration> {
        let now = Instant::now();
        let held = self
            .held
            .front()
            .map(|(time, ..)| time.saturating_duration_since(now));
        let look = (self.blocked > 0).then_some(LOOK);
        // So that a load that is gone is no longer told of.
        let forget = (!idle).then_some(FORGET);
        let mut time = [held, look, forget].into_iter().flatten().min();
        // Whoever adds to the inbox after the look below sees the flag and sets off the alarm.
        self.shared.asleep.store(true, Ordering::SeqCst);
        let inbox = self.shared.inbox.lock();
        let news = !inbox.is_empty() || self.shared.stop.load(Ordering::Acquire);
        drop(inbox);
        if news {
            time = Some(Duration::ZERO);
        }
        backend.sleep(time, room)?;
        self.shared.asleep.store(false, Ordering::SeqCst);
        Ok(now.elapsed())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let ended = || Some(Outcome::Failed(io::Error::other("the server stops")));
        for line in self.lines.drain(..).flatten() {
            line.flight.release(ended());
        }
        let new = std::mem::take(&mut self.shared.inbox.lock().new);
        for new in new {
            new.flight.release(ended());
        }
    }
}

/// What comes next for a viewer.
fn look(line: &mut Line, hold: Duration) -> Turn {
    let mut state = line.flight.state.lock();
    if state.wish == Wish::Leave {
        return Turn::Release(None);
    }
    // Something is begun: it is written, or waits for room.
    if !line.words.is_empty() || !line.batch.is_empty() {
        return Turn::Nothing;
    }
    if !state.words.is_empty() {
        line.words.extend(state.take_words().map(packet));
        return Turn::Write;
    }
    if state.wish == Wish::Land {
        return Turn::Release(None);
    }
    // It is asked when its time has come, and costs the publisher no wake-up until then.
    if line.not_before.is_some() && !hold.is_zero() {
        return Turn::Nothing;
    }
    let Some(reader) = &mut state.reader else {
        return Turn::Release(None);
    };
    let mut context = Context::from_waker(&line.waker);
    loop {
        match reader.poll_batch(&mut context, &mut line.batch) {
            Poll::Pending => return Turn::Nothing,
            Poll::Ready(Next::Packets | Next::Lagged { .. }) => {
                line.position.advance(line.batch.packets(), 0);
                if !line.position.is_end(line.batch.packets()) {
                    return Turn::Write;
                }
                // Packets without bytes.
                line.batch.clear();
                line.position = Position::default();
            }
            Poll::Ready(Next::Ended(reason)) => return Turn::Release(Some(Outcome::Ended(reason))),
        }
    }
}

fn packet(words: Bytes) -> Arc<Packet> {
    Arc::new(Packet {
        parts: std::iter::once(words).collect(),
        key: false,
        config: false,
        dts: MediaTime::ZERO,
    })
}
