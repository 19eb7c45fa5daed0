//! The thread that owns the [store](crate::store), and the handle by which everybody else speaks to it.
//!
//! Nobody who tells an event waits for a disk: messages go over a bounded channel, and one that does not fit is not written, which
//! is counted. The thread only writes, which takes microseconds, so that what was told survives the process; a second one waits for the
//! medium, every [`SYNC_EVERY`], and at once after events about recordings.

use crate::store::{self, Dead, DeadLetters, Dropped, Event, Filter, Limits, Log, Synced, Syncing};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The longest time that what was written may be lost with the machine.
pub const SYNC_EVERY: Duration = Duration::from_millis(100);

/// Messages to the thread that may wait.
const CHANNEL: usize = 20_000;

/// Bytes of bodies that may wait with them.
const CHANNEL_BYTES: usize = 64 * 1024 * 1024;

/// Longest time that opening a log may take: a gigabyte is read in less than a second from a disk that works.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// How often a failing disk is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The folder of dead letters within that of an endpoint.
const DEAD: &str = "dead";

/// What the thread has to say by itself.
#[derive(Debug)]
pub(crate) enum Report {
    /// An event is not on disk.
    NotWritten {
        /// Its number.
        seq: u64,
    },
    /// Events had to go because the disk holds no more of them.
    Dropped(Vec<Dropped>),
    /// Dead letters had to go for the same reason.
    DeadDropped(usize),
}

/// Where reports go: the endpoint's name, and what there is to say.
pub(crate) type Listener = Box<dyn Fn(&str, Report) + Send>;

/// What of an endpoint is on disk, as the thread last saw it. Read without a lock: it changes with each event.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    events: AtomicU64,
    bytes: AtomicU64,
}

impl Stored {
    /// Events that are not done.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    fn set(&self, log: &Log) {
        let usage = log.usage();
        self.events.store(usage.open, Relaxed);
        self.bytes.store(usage.bytes, Relaxed);
    }
}

/// A log that was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    /// The highest number in it.
    pub last_seq: u64,
    /// What is in it.
    pub stored: Arc<Stored>,
}

/// A part of what waits on disk.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub events: Vec<Event>,
    /// Everything up to this number is in `events`, or was in an earlier part, or is not there.
    pub through: u64,
}

/// Some wait for it in a future, some on a thread.
type OpenAnswer = Box<dyn FnOnce(Result<Opened, store::Error>) + Send>;

type Answer<T> = oneshot::Sender<Result<T, store::Error>>;

enum Message {
    Open(Arc<str>, OpenAnswer),
    Close(Arc<str>, bool),
    Append(Arc<str>, Event),
    Done(Arc<str>, u64),
    Dead(Arc<str>, Box<Dead>),
    Read(Arc<str>, u64, usize, usize, Answer<Loaded>),
    ListDead(Arc<str>, u64, usize, Filter, Answer<Vec<(u64, Dead)>>),
    TakeDead(Arc<str>, Vec<String>, Answer<Vec<Dead>>),
    PurgeDead(Arc<str>, Filter, Answer<usize>),
    Flush(oneshot::Sender<()>),
    Synced(Arc<str>, Synced),
    Stop,
}

/// The handle.
#[derive(Clone)]
pub(crate) struct Spool {
    sender: SyncSender<Message>,
    /// Bytes of events that wait in the channel.
    under_way: Arc<AtomicUsize>,
}

impl Spool {
    /// Makes the folder, and the thread's work for it.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub(crate) fn new(dir: &Path, max_bytes: u64) -> Result<(Self, Writer, Flusher), std::io::Error> {
        std::fs::create_dir_all(dir)?;
        let (sender, receiver) = mpsc::sync_channel(CHANNEL);
        let (jobs, waiting) = mpsc::channel();
        let flusher = Flusher {
            waiting,
            answers: sender.clone(),
        };
        let under_way = Arc::<AtomicUsize>::default();
        let writer = Writer {
            receiver,
            jobs,
            dir: dir.to_owned(),
            limits: Limits::new(max_bytes),
            logs: HashMap::new(),
            dead: HashMap::new(),
            dead_unsynced: false,
            listener: Arc::default(),
            under_way: under_way.clone(),
            reported: None,
        };
        Ok((Self { sender, under_way }, writer, flusher))
    }

    /// Keeps an event. False if it cannot be kept, because the disk is too slow.
    pub(crate) fn append(&self, endpoint: &Arc<str>, event: Event) -> bool {
        let size = event.body.len();
        if self.under_way.fetch_add(size, Relaxed) + size > CHANNEL_BYTES {
            self.under_way.fetch_sub(size, Relaxed);
            return false;
        }
        let sent = self
            .sender
            .try_send(Message::Append(endpoint.clone(), event))
            .is_ok();
        if !sent {
            self.under_way.fetch_sub(size, Relaxed);
        }
        sent
    }

    /// An event is done with. A mark that is lost makes it come again after a restart, which is allowed.
    pub(crate) fn done(&self, endpoint: &Arc<str>, seq: u64) {
        let _ = self.sender.try_send(Message::Done(endpoint.clone(), seq));
    }

    /// Puts an event aside. False if that cannot be done.
    pub(crate) fn dead(&self, endpoint: &Arc<str>, dead: Dead) -> bool {
        self.sender
            .try_send(Message::Dead(endpoint.clone(), Box::new(dead)))
            .is_ok()
    }

    /// Opens the log of an endpoint.
    pub(crate) fn open(&self, endpoint: &Arc<str>) -> Pending<Opened> {
        self.ask(|answer| {
            let answer = |opened| {
                // Nobody may be waiting any more.
                let _ = answer.send(opened);
            };
            Message::Open(endpoint.clone(), Box::new(answer))
        })
    }

    /// The same for those who are not in a future: a change of the configuration, which may take as long as opening a folder.
    ///
    /// # Errors
    ///
    /// Why it is not open, in words.
    pub(crate) fn open_blocking(&self, endpoint: &Arc<str>) -> Result<Opened, String> {
        let (answer, opened) = mpsc::sync_channel(1);
        let answer = move |result| {
            let _ = answer.try_send(result);
        };
        let _ = self
            .sender
            .try_send(Message::Open(endpoint.clone(), Box::new(answer)));
        flatten(opened.recv_timeout(OPEN_WITHIN).ok())
    }

    /// Closes it; with `purge` everything in it is deleted.
    pub(crate) fn close(&self, endpoint: &Arc<str>, purge: bool) {
        let _ = self.sender.try_send(Message::Close(endpoint.clone(), purge));
    }

    /// The next events with numbers above `after`.
    pub(crate) fn read(&self, endpoint: &Arc<str>, after: u64, max: usize, bytes: usize) -> Pending<Loaded> {
        self.ask(|answer| Message::Read(endpoint.clone(), after, max, bytes, answer))
    }

    /// Dead letters behind a position, with their positions.
    pub(crate) fn list_dead(
        &self,
        endpoint: &Arc<str>,
        after: u64,
        max: usize,
        filter: Filter,
    ) -> Pending<Vec<(u64, Dead)>> {
        self.ask(|answer| Message::ListDead(endpoint.clone(), after, max, filter, answer))
    }

    /// Takes dead letters out, by id.
    pub(crate) fn take_dead(&self, endpoint: &Arc<str>, ids: Vec<String>) -> Pending<Vec<Dead>> {
        self.ask(|answer| Message::TakeDead(endpoint.clone(), ids, answer))
    }

    /// Deletes dead letters; how many.
    pub(crate) fn purge_dead(&self, endpoint: &Arc<str>, filter: Filter) -> Pending<usize> {
        self.ask(|answer| Message::PurgeDead(endpoint.clone(), filter, answer))
    }

    /// Ready when everything that was sent before is on the medium.
    pub(crate) async fn flush(&self) {
        let (answer, done) = oneshot::channel();
        if self.sender.try_send(Message::Flush(answer)).is_ok() {
            let _ = done.await;
        }
    }

    /// Ends the thread when it has done what was sent before.
    pub(crate) fn stop(&self) {
        let _ = self.sender.try_send(Message::Stop);
    }

    fn ask<T>(&self, message: impl FnOnce(Answer<T>) -> Message) -> Pending<T> {
        let (answer, pending) = oneshot::channel();
        // One that cannot be sent drops its answer, which the asker hears.
        let _ = self.sender.try_send(message(answer));
        Pending(pending)
    }
}

/// An answer of the thread.
pub(crate) struct Pending<T>(oneshot::Receiver<Result<T, store::Error>>);

impl<T> Pending<T> {
    /// Waits for it.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub(crate) async fn get(self) -> Result<T, String> {
        flatten(self.0.await.ok())
    }
}

fn flatten<T>(answer: Option<Result<T, store::Error>>) -> Result<T, String> {
    match answer {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the store of notifications is too busy, or has ended".to_owned()),
    }
}

/// Times in a row that a file cannot be read before it is given up.
const GIVE_UP_AFTER: u32 = 5;

struct OpenLog {
    log: Log,
    /// The highest number that was given to be written.
    seen: u64,
    /// Times in a row that reading failed.
    unread: u32,
    stored: Arc<Stored>,
}

/// The thread's work.
pub struct Writer {
    receiver: Receiver<Message>,
    /// To the second thread.
    jobs: mpsc::Sender<(Arc<str>, Syncing)>,
    dir: PathBuf,
    limits: Limits,
    logs: HashMap<Arc<str>, OpenLog>,
    dead: HashMap<Arc<str>, DeadLetters>,
    dead_unsynced: bool,
    listener: Arc<Mutex<Option<Listener>>>,
    under_way: Arc<AtomicUsize>,
    reported: Option<Instant>,
}

/// The work of the second thread: it waits for the medium.
pub struct Flusher {
    waiting: Receiver<(Arc<str>, Syncing)>,
    answers: SyncSender<Message>,
}

impl Flusher {
    /// Waits for what the [`Writer`] has written, until that ends. Blocks: it needs a thread of its own.
    pub fn run(self) {
        for (endpoint, syncing) in self.waiting {
            // The channel has room again at some time, or the other end is gone.
            let _ = self.answers.send(Message::Synced(endpoint, syncing.run()));
        }
    }
}

impl Writer {
    pub(crate) fn listener(&self) -> Arc<Mutex<Option<Listener>>> {
        self.listener.clone()
    }

    /// Does what it is sent, until it is told to stop. Blocks: it needs a thread of its own.
    pub fn run(mut self) {
        self.serve();
        self.sync();
    }

    fn serve(&mut self) {
        let mut due: Option<Instant> = None;
        // Syncs that are under way.
        let mut under_way = 0_usize;
        loop {
            let message = match due.filter(|_| under_way == 0) {
                Some(at) => match self
                    .receiver
                    .recv_timeout(at.saturating_duration_since(Instant::now()))
                {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match self.receiver.recv() {
                    Ok(message) => Some(message),
                    Err(mpsc::RecvError) => return,
                },
            };
            let mut at_once = false;
            match message {
                None => {}
                Some(Message::Stop) => return,
                Some(Message::Flush(answer)) => {
                    self.sync();
                    let _ = answer.send(());
                }
                Some(Message::Synced(endpoint, synced)) => {
                    under_way -= 1;
                    if let Some(open) = self.logs.get_mut(&endpoint) {
                        let ended = open.log.end_sync(synced);
                        self.check(ended);
                    }
                }
                Some(message) => at_once = self.handle(message),
            }
            let now = Instant::now();
            if !self.needs_sync() {
                due = None;
            } else if at_once {
                due = Some(now);
            } else {
                due.get_or_insert(now + SYNC_EVERY);
            }
            if under_way == 0 && due.is_some_and(|at| at <= now) {
                under_way = self.begin_sync();
                due = None;
            }
        }
    }

    /// Has the second thread wait for everything that was written; how many waits that are.
    fn begin_sync(&mut self) -> usize {
        self.sync_dead();
        let mut begun = 0;
        let mut errors = Vec::new();
        for (endpoint, open) in &mut self.logs {
            match open.log.begin_sync() {
                Ok(Some(syncing)) => {
                    begun += usize::from(self.jobs.send((endpoint.clone(), syncing)).is_ok())
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        for error in errors {
            self.complain(&error.to_string());
        }
        begun
    }

    /// True if it is to be synced at once.
    fn handle(&mut self, message: Message) -> bool {
        match message {
            Message::Open(endpoint, answer) => {
                answer(self.open(&endpoint));
            }
            Message::Close(endpoint, purge) => {
                self.logs.remove(&endpoint);
                self.dead.remove(&endpoint);
                if purge && let Err(error) = std::fs::remove_dir_all(self.dir.join(&*endpoint)) {
                    let missing = error.kind() == std::io::ErrorKind::NotFound;
                    if !missing {
                        self.complain(&format!("cannot delete the store of {endpoint}: {error}"));
                    }
                }
            }
            Message::Append(endpoint, event) => return self.append(&endpoint, &event),
            Message::Done(endpoint, seq) => {
                if let Some(open) = self.logs.get_mut(&endpoint) {
                    let result = open.log.done(seq);
                    open.stored.set(&open.log);
                    self.check(result);
                }
            }
            Message::Dead(endpoint, dead) => self.put_aside(&endpoint, *dead),
            Message::Read(endpoint, after, max, bytes, answer) => {
                let _ = answer.send(self.read(&endpoint, after, max, bytes));
            }
            Message::ListDead(endpoint, after, max, filter, answer) => {
                let listed = self
                    .dead_letters(&endpoint)
                    .and_then(|dead| dead.list(after, max, &filter));
                let _ = answer.send(listed);
            }
            Message::TakeDead(endpoint, ids, answer) => {
                let _ = answer.send(self.take_dead(&endpoint, &ids));
            }
            Message::PurgeDead(endpoint, filter, answer) => {
                let purged = self.dead_letters(&endpoint).and_then(|dead| dead.purge(&filter));
                self.dead_unsynced = true;
                let _ = answer.send(purged);
            }
            Message::Flush(_) | Message::Synced(..) | Message::Stop => {}
        }
        false
    }

    pub(crate) fn open(&mut self, endpoint: &Arc<str>) -> Result<Opened, store::Error> {
        if let Some(open) = self.logs.get(endpoint) {
            return Ok(Opened {
                last_seq: open.log.last_seq().max(open.seen),
                stored: open.stored.clone(),
            });
        }
        let (log, recovered) = Log::open(&self.dir.join(&**endpoint), self.limits)?;
        if recovered.damaged > 0 || recovered.torn_bytes > 0 {
            tracing::error!(
                endpoint = &**endpoint,
                damaged = recovered.damaged,
                damaged_bytes = recovered.damaged_bytes,
                torn_bytes = recovered.torn_bytes,
                "the store of notifications was damaged; what could be read was kept"
            );
        }
        if recovered.open > 0 {
            tracing::info!(
                endpoint = &**endpoint,
                waiting = recovered.open,
                "notifications of an earlier run are waiting"
            );
        }
        let stored = Arc::<Stored>::default();
        stored.set(&log);
        let seen = recovered.last_seq;
        let opened = Opened {
            last_seq: seen,
            stored: stored.clone(),
        };
        let open = OpenLog {
            log,
            seen,
            unread: 0,
            stored,
        };
        self.logs.insert(endpoint.clone(), open);
        Ok(opened)
    }

    fn append(&mut self, endpoint: &Arc<str>, event: &Event) -> bool {
        self.under_way.fetch_sub(event.body.len(), Relaxed);
        let Some(open) = self.logs.get_mut(endpoint) else {
            self.report(endpoint, Report::NotWritten { seq: event.seq });
            return false;
        };
        open.seen = open.seen.max(event.seq);
        let mut dropped = Vec::new();
        let result = open.log.append(event, &mut dropped);
        open.stored.set(&open.log);
        if !dropped.is_empty() {
            self.report(endpoint, Report::Dropped(dropped));
        }
        if result.is_err() {
            self.report(endpoint, Report::NotWritten { seq: event.seq });
        }
        self.check(result);
        event.record
    }

    fn read(
        &mut self,
        endpoint: &Arc<str>,
        after: u64,
        max: usize,
        bytes: usize,
    ) -> Result<Loaded, store::Error> {
        let Some(open) = self.logs.get_mut(endpoint) else {
            return Ok(Loaded {
                events: Vec::new(),
                through: u64::MAX,
            });
        };
        let events = open.log.read_open(after, max, bytes).inspect_err(|_| {
            open.unread += 1;
            if open.unread >= GIVE_UP_AFTER {
                let lost = open.log.give_up_file(after);
                tracing::error!(
                    endpoint = &**endpoint,
                    lost,
                    "a file of notifications cannot be read and was given up"
                );
                open.unread = 0;
            }
        })?;
        open.unread = 0;
        // Nothing that comes after the last of them was passed over, unless it was the end.
        let through = events.last().map_or(open.seen, |event| event.seq);
        Ok(Loaded { events, through })
    }

    fn dead_letters(&mut self, endpoint: &Arc<str>) -> Result<&mut DeadLetters, store::Error> {
        if !self.dead.contains_key(endpoint) {
            let (letters, recovered) = DeadLetters::open(&self.dir.join(&**endpoint).join(DEAD))?;
            if recovered.damaged > 0 {
                tracing::error!(
                    endpoint = &**endpoint,
                    damaged = recovered.damaged,
                    "dead letters were damaged; what could be read was kept"
                );
            }
            self.dead.insert(endpoint.clone(), letters);
        }
        Ok(self.dead.get_mut(endpoint).expect("it was just put there"))
    }

    fn put_aside(&mut self, endpoint: &Arc<str>, dead: Dead) {
        let mut dropped = Vec::new();
        let result = self
            .dead_letters(endpoint)
            .and_then(|letters| letters.push(dead, &mut dropped));
        self.dead_unsynced = true;
        if !dropped.is_empty() {
            self.report(endpoint, Report::DeadDropped(dropped.len()));
        }
        self.check(result);
    }

    fn take_dead(&mut self, endpoint: &Arc<str>, ids: &[String]) -> Result<Vec<Dead>, store::Error> {
        let letters = self.dead_letters(endpoint)?;
        let mut taken = Vec::new();
        for id in ids {
            if let Some((_, dead)) = letters.get(id)? {
                taken.push(dead);
            }
        }
        letters.remove(taken.iter().map(|dead| dead.event.id.as_str()))?;
        self.dead_unsynced = true;
        Ok(taken)
    }

    fn needs_sync(&self) -> bool {
        self.dead_unsynced || self.logs.values().any(|open| open.log.needs_sync())
    }

    fn sync(&mut self) {
        self.sync_dead();
        let results: Vec<_> = self.logs.values_mut().map(|open| open.log.sync()).collect();
        for result in results {
            self.check(result);
        }
    }

    /// Dead letters are few: no second thread for them.
    fn sync_dead(&mut self) {
        if !std::mem::take(&mut self.dead_unsynced) {
            return;
        }
        let results: Vec<_> = self.dead.values_mut().map(DeadLetters::sync).collect();
        for result in results {
            self.check(result);
        }
    }

    fn report(&self, endpoint: &str, report: Report) {
        if let Some(listener) = &*self.listener.lock() {
            listener(endpoint, report);
        }
    }

    fn check<T>(&mut self, result: Result<T, store::Error>) {
        if let Err(error) = result {
            self.complain(&error.to_string());
        }
    }

    /// Says that the disk fails, not too often.
    fn complain(&mut self, error: &str) {
        let now = Instant::now();
        if self.reported.is_some_and(|at| now - at < REPORT_EVERY) {
            return;
        }
        self.reported = Some(now);
        tracing::error!(
            error,
            "the store of notifications: what it cannot keep lives in memory only"
        );
    }
}
