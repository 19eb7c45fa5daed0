//! What the threads of the store do.

use super::{Listener, Loaded, Message, Opened, Report, SYNC_EVERY, Stored, Work};
use crate::deliveries::Delivery;
use crate::store::{self, Dead, DeadLetters, DeliveryLog, Event, Limits, Log, Syncing};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// How often a failing disk is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The folders of dead letters and of attempts within that of an endpoint.
const DEAD: &str = "dead";
const DELIVERIES: &str = "deliveries";

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
    /// Those of endpoints whose log is open.
    deliveries: HashMap<Arc<str>, DeliveryLog>,
    listener: Arc<Mutex<Option<Listener>>>,
    /// Of the [`super::Spool`]: bytes of events, and attempts.
    waiting: (Arc<AtomicUsize>, Arc<AtomicUsize>),
    reported: Option<Instant>,
    /// The last event could not be written.
    failing: bool,
}

/// The work of the second thread: it waits for the medium.
pub struct Flusher {
    waiting: Receiver<(Arc<str>, Syncing)>,
    answers: SyncSender<Message>,
}

impl Flusher {
    pub(super) const fn new(waiting: Receiver<(Arc<str>, Syncing)>, answers: SyncSender<Message>) -> Self {
        Self { waiting, answers }
    }

    /// Waits for what the [`Writer`] has written, until that ends. Blocks: it needs a thread of its own.
    pub fn run(self) {
        for (endpoint, syncing) in self.waiting {
            // The channel has room again at some time, or the other end is gone.
            let _ = self.answers.send(Message::Synced(endpoint, syncing.run()));
        }
    }
}

impl Writer {
    pub(super) fn new(
        receiver: Receiver<Message>,
        jobs: mpsc::Sender<(Arc<str>, Syncing)>,
        dir: &Path,
        limits: Limits,
        waiting: (Arc<AtomicUsize>, Arc<AtomicUsize>),
    ) -> Self {
        Self {
            receiver,
            jobs,
            dir: dir.to_owned(),
            limits,
            logs: HashMap::new(),
            dead: HashMap::new(),
            dead_unsynced: false,
            deliveries: HashMap::new(),
            listener: Arc::default(),
            waiting,
            reported: None,
            failing: false,
        }
    }

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
                        self.check(&endpoint, Work::Sync, ended);
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
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        for (endpoint, error) in errors {
            self.check::<()>(&endpoint, Work::Sync, Err(error));
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
                self.deliveries.remove(&endpoint);
                if purge && let Err(error) = std::fs::remove_dir_all(self.dir.join(&*endpoint)) {
                    let missing = error.kind() == std::io::ErrorKind::NotFound;
                    if !missing {
                        self.complain(&endpoint, &format!("cannot delete what is kept: {error}"));
                    }
                }
            }
            Message::Append(endpoint, event) => return self.append(&endpoint, &event),
            Message::Done(endpoint, seq) => {
                if let Some(open) = self.logs.get_mut(&endpoint) {
                    let result = open.log.done(seq);
                    open.stored.set(&open.log);
                    self.check(&endpoint, Work::Mark, result);
                }
            }
            Message::Dead(endpoint, dead) => self.put_aside(&endpoint, *dead),
            Message::Delivered(endpoint, delivery) => {
                self.waiting.1.fetch_sub(1, Relaxed);
                if let Some(log) = self.deliveries.get_mut(&endpoint) {
                    let result = log.push(*delivery);
                    self.check(&endpoint, Work::Delivery, result);
                }
            }
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
                deliveries: self.last_deliveries(endpoint),
            });
        }
        let folder = self.dir.join(&**endpoint);
        let (log, recovered) = Log::open(&folder, self.limits)?;
        if recovered.damaged > 0 || recovered.torn_bytes > 0 {
            self.report(endpoint, Report::Damaged(recovered.damaged));
            tracing::error!(
                endpoint = &**endpoint,
                folder = %folder.display(),
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
            deliveries: self.last_deliveries(endpoint),
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

    /// What is known of earlier attempts: for people to look at, so nothing fails because of it.
    fn last_deliveries(&mut self, endpoint: &Arc<str>) -> Vec<Delivery> {
        let last = match self.deliveries.get_mut(endpoint) {
            Some(log) => log.last(),
            None => self.open_deliveries(endpoint),
        };
        last.unwrap_or_else(|error| {
            self.check::<()>(endpoint, Work::Delivery, Err(error));
            Vec::new()
        })
    }

    fn open_deliveries(&mut self, endpoint: &Arc<str>) -> Result<Vec<Delivery>, store::Error> {
        let folder = self.dir.join(&**endpoint).join(DELIVERIES);
        let (mut log, recovered) = DeliveryLog::open(&folder)?;
        if recovered.damaged > 0 {
            tracing::warn!(
                endpoint = &**endpoint,
                folder = %folder.display(),
                damaged = recovered.damaged,
                "the log of deliveries was damaged; what could be read was kept"
            );
        }
        let last = log.last()?;
        self.deliveries.insert(endpoint.clone(), log);
        Ok(last)
    }

    fn append(&mut self, endpoint: &Arc<str>, event: &Event) -> bool {
        self.waiting.0.fetch_sub(event.body.len(), Relaxed);
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
        if std::mem::replace(&mut self.failing, result.is_err()) && result.is_ok() {
            tracing::info!(
                endpoint = &**endpoint,
                "notifications can be written to disk again"
            );
        }
        self.check(endpoint, Work::Event, result);
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
        let before = open.log.usage().unreadable;
        let read = open.log.read_open(after, max, bytes);
        if read.is_err() {
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
        } else {
            open.unread = 0;
        }
        let (seen, lost) = (open.seen, open.log.usage().unreadable - before);
        if lost > 0 {
            self.report(endpoint, Report::Damaged(lost));
        }
        if read.is_err() {
            self.report(endpoint, Report::Failed(Work::Read));
        }
        let events = read?;
        // Nothing that comes after the last of them was passed over, unless it was the end.
        let through = events.last().map_or(seen, |event| event.seq);
        Ok(Loaded { events, through })
    }

    fn dead_letters(&mut self, endpoint: &Arc<str>) -> Result<&mut DeadLetters, store::Error> {
        if !self.dead.contains_key(endpoint) {
            let folder = self.dir.join(&**endpoint).join(DEAD);
            let (letters, recovered) = DeadLetters::open(&folder)?;
            if recovered.damaged > 0 {
                self.report(endpoint, Report::Damaged(recovered.damaged));
                tracing::error!(
                    endpoint = &**endpoint,
                    folder = %folder.display(),
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
        self.check(endpoint, Work::DeadLetter, result);
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
        let synced = self
            .logs
            .iter_mut()
            .map(|(endpoint, open)| (endpoint.clone(), open.log.sync()));
        for (endpoint, result) in synced.collect::<Vec<_>>() {
            self.check(&endpoint, Work::Sync, result);
        }
    }

    /// Dead letters are few: no second thread for them.
    fn sync_dead(&mut self) {
        if !std::mem::take(&mut self.dead_unsynced) {
            return;
        }
        let synced = self
            .dead
            .iter_mut()
            .map(|(endpoint, dead)| (endpoint.clone(), dead.sync()));
        for (endpoint, result) in synced.collect::<Vec<_>>() {
            self.check(&endpoint, Work::Sync, result);
        }
    }

    fn report(&self, endpoint: &str, report: Report) {
        if let Some(listener) = &*self.listener.lock() {
            listener(endpoint, report);
        }
    }

    fn check<T>(&mut self, endpoint: &str, work: Work, result: Result<T, store::Error>) {
        if let Err(error) = result {
            self.report(endpoint, Report::Failed(work));
            self.complain(endpoint, &error.to_string());
        }
    }

    /// Says that the disk fails, not too often.
    fn complain(&mut self, endpoint: &str, error: &str) {
        let now = Instant::now();
        if self.reported.is_some_and(|at| now - at < REPORT_EVERY) {
            return;
        }
        self.reported = Some(now);
        tracing::error!(
            endpoint,
            error,
            "the store of notifications: what it cannot keep lives in memory only"
        );
    }
}
