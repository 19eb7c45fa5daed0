//! The thread that owns the [store](crate::store), and the handle by which everybody else speaks to it.
//!
//! Nobody who tells an event waits for a disk: messages go over a bounded channel, and one that does not fit is not written, which
//! is counted. The thread only writes, which takes microseconds, so that what was told survives the process; a second one waits for the
//! medium, every [`SYNC_EVERY`], and at once after events about recordings.

mod writer;

pub use writer::{Flusher, Writer};

use crate::deliveries::Delivery;
use crate::store::{self, Dead, Dropped, Event, Filter, Limits, Log, Synced};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;
use tokio::sync::oneshot;

/// The longest time that what was written may be lost with the machine.
pub const SYNC_EVERY: Duration = Duration::from_millis(100);

/// Messages to the thread that may wait.
const CHANNEL: usize = 20_000;

/// Bytes of bodies that may wait with them.
const CHANNEL_BYTES: usize = 64 * 1024 * 1024;

/// Attempts that may wait in the channel, of some kilobytes at most.
const MAX_DELIVERIES: usize = 2_000;

/// Longest time that opening a log may take: a gigabyte is read in less than a second from a disk that works.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

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
    /// Stretches of the files that made no sense, or events that could not be read back.
    Damaged(u64),
    /// The disk refused something.
    Failed(Work),
}

/// What the store was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Open the endpoint's folder.
    Open,
    /// Keep an event.
    Event,
    /// Mark an event as done.
    Mark,
    /// Keep a dead letter, or delete some.
    DeadLetter,
    /// Wait for the medium.
    Sync,
    /// Read events.
    Read,
    /// Keep an attempt.
    Delivery,
}

impl Work {
    /// The name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Event => "event",
            Self::Mark => "mark",
            Self::DeadLetter => "dead_letter",
            Self::Sync => "sync",
            Self::Read => "read",
            Self::Delivery => "delivery",
        }
    }
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
    /// The last attempts, the oldest first.
    pub deliveries: Vec<Delivery>,
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
    Delivered(Arc<str>, Box<Delivery>),
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
    /// Attempts that wait there.
    deliveries: Arc<AtomicUsize>,
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
        let flusher = Flusher::new(waiting, sender.clone());
        let (under_way, deliveries) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let waiting = (under_way.clone(), deliveries.clone());
        let writer = Writer::new(receiver, jobs, dir, Limits::new(max_bytes), waiting);
        let spool = Self {
            sender,
            under_way,
            deliveries,
        };
        Ok((spool, writer, flusher))
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

    /// Keeps an attempt. False if that cannot be done, because the disk is too slow: events go first.
    pub(crate) fn delivered(&self, endpoint: &Arc<str>, delivery: &Delivery) -> bool {
        let waiting = self.deliveries.fetch_add(1, Relaxed);
        let sent = waiting < MAX_DELIVERIES && {
            let message = Message::Delivered(endpoint.clone(), Box::new(delivery.clone()));
            self.sender.try_send(message).is_ok()
        };
        if !sent {
            self.deliveries.fetch_sub(1, Relaxed);
        }
        sent
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
