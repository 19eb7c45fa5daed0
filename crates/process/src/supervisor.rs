//! The door to the supervising thread: start a child, wait for it, stop it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::command::Argv;
use crate::error::Error;
use crate::guard::GuardProgram;
use crate::log;
use crate::thread;

/// Time between SIGTERM and SIGKILL when nobody says otherwise. ffmpeg needs a moment to write trailers; 2 s as the
/// reference.
pub const POLITE: Duration = Duration::from_secs(2);

/// Longest time between SIGTERM and SIGKILL; longer wishes are cut.
const MAX_POLITE: Duration = Duration::from_secs(60);

/// Most children, whatever the configuration says. Far beyond what one machine can transcode; bounds tables and the guard.
pub const HARD_MAX_PROCESSES: usize = 1024;

/// No stop wanted (in a [`StopWish`]).
const NONE: u64 = u64::MAX;

/// What a [`Supervisor`] is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ffmpeg.max_processes`: most children at a time, 0 to [`HARD_MAX_PROCESSES`].
    pub max_processes: usize,
    /// How to start the guard.
    pub guard: GuardProgram,
}

/// One run of one program.
#[derive(Debug, Clone)]
pub struct Job {
    /// Names the job in errors and logs and its log file. Only one child at a time may have it.
    pub id: String,
    /// What to run.
    pub argv: Argv,
    /// Where its output goes; `None` keeps only the tail in memory (`ffmpeg.log` empty).
    pub log: Option<log::Policy>,
}

/// Starts and watches children. Clones share one thread; when the last clone is gone, the children are stopped.
#[derive(Debug, Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

impl Supervisor {
    /// Starts the supervising thread. The guard is started with the first child.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let (waker, wake) = UnixStream::pair().map_err(Error::Setup)?;
        waker.set_nonblocking(true).map_err(Error::Setup)?;
        wake.set_nonblocking(true).map_err(Error::Setup)?;
        let (alive, ended) = watch::channel(());
        let shared = Arc::new(Shared {
            starts: Mutex::new(VecDeque::new()),
            closed: AtomicBool::new(false),
            stop_all: StopWish::default(),
            max: AtomicUsize::new(settings.max_processes.min(HARD_MAX_PROCESSES)),
            running: AtomicUsize::new(0),
            waker,
            ended,
        });
        thread::spawn(shared.clone(), wake, settings.guard, alive).map_err(Error::Setup)?;
        Ok(Self {
            _owner: Arc::new(Owner(shared.clone())),
            shared,
        })
    }

    /// Changes `ffmpeg.max_processes`. Children that run already stay.
    pub fn set_max_processes(&self, max: usize) {
        self.shared
            .max
            .store(max.min(HARD_MAX_PROCESSES), Ordering::Relaxed);
    }

    /// Children that run now, including those that are being stopped.
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Starts a child. Success means that the program runs (exec has happened), not that it does anything useful. Dropping
    /// this future stops the child.
    pub async fn start(&self, job: Job) -> Result<Child, Error> {
        let slot = Slot::take(&self.shared)?;
        let (answer, started) = oneshot::channel();
        {
            let mut starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock, so that the thread cannot end between this look and the push.
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(Error::Closed);
            }
            starts.push_back(Start { job, slot, answer });
        }
        self.shared.wake();
        started.await.unwrap_or(Err(Error::Closed))
    }

    /// Starts nothing any more, stops all children, and waits until the last one is reaped and the guard has ended.
    pub async fn shutdown(&self, polite: Duration) {
        self.shared.close(polite);
        let mut ended = self.shared.ended.clone();
        // The thread sends nothing: the channel closes when it ends.
        while ended.changed().await.is_ok() {}
    }
}

/// The last of these closes the supervisor.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close(POLITE);
    }
}

/// What the handles and the thread have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Bounded by the slots, so by `max`.
    starts: Mutex<VecDeque<Start>>,
    closed: AtomicBool,
    stop_all: StopWish,
    max: AtomicUsize,
    running: AtomicUsize,
    waker: UnixStream,
    ended: watch::Receiver<()>,
}

impl Shared {
    fn wake(&self) {
        // A full buffer means that the thread is about to wake anyway; a closed one, that it has ended.
        let _full_or_closed = (&self.waker).write(&[1]);
    }

    fn close(&self, polite: Duration) {
        self.stop_all.wish(polite);
        {
            let _starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
        }
        self.wake();
    }

    /// The next wanted start, if any.
    pub(crate) fn next_start(&self) -> Option<Start> {
        self.starts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The thread ends, perhaps by a panic: whoever waits for a start gets [`Error::Closed`].
    pub(crate) fn abandon(&self) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *starts);
        drop(starts);
        drop(waiting);
    }

    pub(crate) fn stop_all(&self) -> &StopWish {
        &self.stop_all
    }
}

/// A wanted start on its way to the thread.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) job: Job,
    pub(crate) slot: Slot,
    pub(crate) answer: oneshot::Sender<Result<Child, Error>>,
}

/// One of `max_processes`; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>) -> Result<Self, Error> {
        let max = shared.max.load(Ordering::Relaxed);
        shared
            .running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running < max).then_some(running + 1)
            })
            .map(|_| Self(shared.clone()))
            .map_err(|running| Error::MaxProcesses { running, max })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// "Stop within so many milliseconds", from any handle to the thread; the most urgent wish wins. A cell instead of a queue:
/// nothing to bound.
#[derive(Debug)]
pub(crate) struct StopWish(AtomicU64);

impl Default for StopWish {
    fn default() -> Self {
        Self(AtomicU64::new(NONE))
    }
}

impl StopWish {
    fn wish(&self, polite: Duration) {
        let millis = polite.min(MAX_POLITE).as_millis() as u64;
        self.0.fetch_min(millis, Ordering::AcqRel);
    }

    /// Takes the wish, so that it acts once.
    pub(crate) fn take(&self) -> Option<Duration> {
        Some(self.0.swap(NONE, Ordering::AcqRel))
            .filter(|millis| *millis != NONE)
            .map(Duration::from_millis)
    }
}

/// A running child. Dropping it stops the child as [`Child::stop`] with [`POLITE`] would, without waiting.
#[derive(Debug)]
pub struct Child {
    pub(crate) pid: u32,
    pub(crate) stop: Arc<StopWish>,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    pub(crate) shared: Arc<Shared>,
}

impl Child {
    /// The process id, which is also the number of the process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end: the child is reaped and no member of its group is left to run on. May be called again, and may be
    /// dropped halfway.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| exit.clone());
        ended.unwrap_or_else(Exit::unknown)
    }

    /// SIGTERM to the whole group; SIGKILL to what is left after `polite` (at most 60 s); waits for the end. Dropping this
    /// future does not take the wish back.
    pub async fn stop(&self, polite: Duration) -> Exit {
        self.ask_to_stop(polite);
        self.wait().await
    }

    /// As [`Child::stop`], without waiting.
    pub fn ask_to_stop(&self, polite: Duration) {
        self.stop.wish(polite);
        self.shared.wake();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.ask_to_stop(POLITE);
    }
}

/// How a child ended. `Display` says it in one line, with the last thing it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, if it exited by itself.
    pub code: Option<i32>,
    /// Number of the signal that ended it, if one did.
    pub signal: Option<i32>,
    /// True if it ended after we had asked it to.
    pub stopped: bool,
    /// The last lines it printed, at most 4 KiB, secrets masked, without progress lines.
    pub tail: String,
    /// From the start of the program to its end.
    pub ran_for: Duration,
}

impl Exit {
    /// The supervising thread is gone, and the children with it.
    fn unknown() -> Self {
        Self {
            code: None,
            signal: None,
            stopped: true,
            tail: String::new(),
            ran_for: Duration::ZERO,
        }
    }

    /// Exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The last line it printed; empty if there was none.
    pub fn last_line(&self) -> &str {
        self.tail.rsplit('\n').next().unwrap_or_default()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "ffmpeg exited with code {code}")?,
            (None, Some(signal)) => write!(f, "ffmpeg was killed by signal {signal}")?,
            (None, None) => f.write_str("ffmpeg ended and its exit status was lost")?,
        }
        match self.last_line() {
            "" => Ok(()),
            line => write!(f, ": {line}"),
        }
    }
}

/// What `Command::spawn` said, in the words of our configuration.
pub(crate) fn spawn_error(program: &std::path::Path, source: io::Error) -> Error {
    let program = program.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { program },
        io::ErrorKind::PermissionDenied => Error::NotExecutable { program },
        _ => Error::Spawn { program, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_in_one_line() {
        let exit = |code, signal, tail: &str| {
            Exit {
                code,
                signal,
                stopped: false,
                tail: tail.to_owned(),
                ran_for: Duration::ZERO,
            }
            .to_string()
        };
        assert_eq!(
            exit(Some(1), None, "a\nb: Connection refused"),
            "ffmpeg exited with code 1: b: Connection refused"
        );
        assert_eq!(exit(None, Some(9), ""), "ffmpeg was killed by signal 9");
        assert_eq!(
            exit(None, None, "x"),
            "ffmpeg ended and its exit status was lost: x"
        );
    }

    #[test]
    fn most_urgent_wish_wins_and_acts_once() {
        let wish = StopWish::default();
        assert_eq!(wish.take(), None);
        wish.wish(Duration::from_secs(5));
        wish.wish(Duration::from_secs(1));
        wish.wish(Duration::from_secs(100_000));
        assert_eq!(wish.take(), Some(Duration::from_secs(1)));
        assert_eq!(wish.take(), None);
        wish.wish(Duration::MAX);
        assert_eq!(wish.take(), Some(MAX_POLITE));
    }
}
