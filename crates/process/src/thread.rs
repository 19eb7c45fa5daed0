//! The one thread that forks, reads, signals and reaps.

use std::collections::BTreeSet;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::error::Error;
use crate::guard::{GuardProgram, Link};
use crate::log::{self, Rotating};
use crate::output::Output;
use crate::supervisor::{Child, Exit, Job, POLITE, Shared, Slot, Start, StopWish, spawn_error};
use crate::sys::{self, Life};

/// Where pidfds are missing, ended children are looked for so often.
const LOOK: Duration = Duration::from_millis(50);

/// Read from one child before the others get their turn.
const READ_AT_ONCE: usize = 64 * 1024;

/// Variables with this prefix configure the server, and may hold its secrets; children do not get them.
const OWN_VARIABLES: &str = "TIDEGATE_";

pub(crate) fn spawn(
    shared: Arc<Shared>,
    wake: UnixStream,
    guard: GuardProgram,
    alive: watch::Sender<()>,
) -> io::Result<()> {
    let run = move || {
        // Dropped in this order when the thread ends, also by a panic: first nobody waits for a start, then shutdown returns.
        let _alive = alive;
        let ending = Ending(shared);
        sys::keep_exit_status();
        Thread {
            shared: ending.0.clone(),
            wake,
            guard: Link::new(guard),
            children: Vec::new(),
            adopted: Vec::new(),
        }
        .run();
    };
    // Detached on purpose: `Supervisor::shutdown` waits for its end, and the parent-death signals it is bound to must not
    // fire while a child runs, so it never ends before its children.
    std::thread::Builder::new()
        .name("ffmpeg".to_owned())
        .spawn(run)
        .map(drop)
}

struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

struct Thread {
    shared: Arc<Shared>,
    wake: UnixStream,
    guard: Link,
    children: Vec<Running>,
    /// Groups whose leader was reaped and whose other members were killed and are adopted by us (as process 1): they
    /// become ours to reap.
    adopted: Vec<(u32, Instant)>,
}

/// Killed members of a group are dead within milliseconds; one that hangs in the kernel is given up after this.
const ADOPTION: Duration = Duration::from_secs(10);

struct Running {
    id: String,
    child: std::process::Child,
    pidfd: Option<OwnedFd>,
    /// Closed when all holders of the other end are gone: usually the whole group.
    pipe: Option<PipeReader>,
    output: Output,
    started: Instant,
    ended: Option<Instant>,
    /// It was reaped by something else.
    lost: bool,
    /// We asked for the end, before it ended.
    stopped: bool,
    kill_at: Option<Instant>,
    killed: bool,
    stop: Arc<StopWish>,
    exit: watch::Sender<Option<Exit>>,
    _slot: Slot,
}

impl Thread {
    fn run(mut self) {
        loop {
            while let Some(start) = self.shared.next_start() {
                self.start(start);
            }
            let now = Instant::now();
            if let Some(polite) = self.shared.stop_all().take() {
                self.children
                    .iter_mut()
                    .for_each(|child| child.terminate(polite, now));
            }
            self.adopted
                .retain(|(group, until)| sys::reap_group(*group) && now < *until);
            self.children.iter_mut().for_each(|child| child.turn(now));
            self.bury(now);
            if self.shared.is_closed() && self.children.is_empty() && self.adopted.is_empty() {
                // A start that came in since was refused or is answered by `Ending`.
                return;
            }
            if self.guard.deadline().is_some_and(|at| at <= now) {
                self.guard.keep_alive(now);
            }
            self.wait();
        }
    }

    /// Sleeps until something happens or is due.
    fn wait(&mut self) {
        let mut deadline = self.guard.deadline();
        let mut sooner = |at: Instant| deadline = Some(deadline.map_or(at, |other| other.min(at)));
        let now = Instant::now();
        let mut fds = vec![sys::readable(self.wake.as_raw_fd())];
        let guard_fd = self.guard.fd();
        fds.extend(guard_fd.map(sys::broken));
        for child in &self.children {
            fds.extend(child.pipe.as_ref().map(|pipe| sys::readable(pipe.as_raw_fd())));
            // After its end a pidfd stays readable; then only the pipe or the deadline counts.
            if child.ended.is_none() {
                match &child.pidfd {
                    Some(fd) => fds.push(sys::readable(fd.as_raw_fd())),
                    None => sooner(now + LOOK),
                }
            }
            if !child.killed || child.ended.is_some() {
                child.kill_at.into_iter().for_each(&mut sooner);
            }
        }
        if !self.adopted.is_empty() {
            sooner(now + LOOK);
        }
        if let Err(error) = sys::poll(&mut fds, deadline.map(|at| at.saturating_duration_since(now))) {
            // Only out of memory is left as a reason. The children are looked at anyway, at a bearable pace.
            tracing::error!(%error, "cannot wait for ffmpeg processes");
            #[expect(clippy::disallowed_methods, reason = "waiting for events is what just failed")]
            std::thread::sleep(LOOK);
        }
        if fds[0].revents != 0 {
            let mut bytes = [0; 64];
            while matches!((&self.wake).read(&mut bytes), Ok(n) if n > 0) {}
        }
        if guard_fd.is_some() && fds[1].revents != 0 {
            self.guard.lost(Instant::now());
        }
    }

    fn start(&mut self, start: Start) {
        let Start { job, slot, answer } = start;
        let shared = slot.shared().clone();
        let started = if self.shared.is_closed() {
            Err(Error::Closed)
        } else if self.children.iter().any(|child| child.id == job.id) {
            Err(Error::AlreadyRunning { id: job.id })
        } else {
            Ok(job)
        };
        // A slot that is not used is given back before the answer goes out, here or in `spawn`.
        let started = match started {
            Ok(job) => self.spawn(job, slot),
            Err(error) => {
                drop(slot);
                Err(error)
            }
        };
        let handle = started.map(|running| {
            let handle = Child {
                pid: running.child.id(),
                stop: running.stop.clone(),
                exit: running.exit.subscribe(),
                shared,
            };
            self.children.push(running);
            handle
        });
        // If nobody waits for the answer any more, the handle is dropped here, which stops the child.
        let _handed_over = answer.send(handle);
    }

    fn spawn(&mut self, job: Job, slot: Slot) -> Result<Running, Error> {
        self.guard.keep_alive(Instant::now());
        let program = job.argv.program();
        let (reader, writer) = io::pipe().map_err(Error::Setup)?;
        sys::set_nonblocking(reader.as_fd()).map_err(Error::Setup)?;
        let mut command = Command::new(program);
        command.args(job.argv.arguments()).stdin(Stdio::null());
        command
            .stderr(writer.try_clone().map_err(Error::Setup)?)
            .stdout(writer);
        // ffmpeg colours its messages where it believes in a terminal; they go to a file.
        command.env("AV_LOG_FORCE_NOCOLOR", "1");
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OWN_VARIABLES))
        {
            command.env_remove(name);
        }
        sys::prepare_child(&mut command, self.guard.fd());
        let spawned = command.spawn();
        let now = Instant::now();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                self.guard.start_failed(now);
                return Err(spawn_error(program, error));
            }
        };
        // Our copies of the writing end must go, or the end of the output would never be seen.
        drop(command);
        let pid = child.id();
        self.guard.register(pid, now);
        let mut output = Output::new(self.open_log(&job));
        output.note(&format!(
            "{} [{pid}] {}",
            log::timestamp(SystemTime::now()),
            job.argv
        ));
        tracing::info!(id = %job.id, pid, command = %job.argv, "ffmpeg started");
        Ok(Running {
            id: job.id,
            pidfd: sys::pidfd(pid),
            child,
            pipe: Some(reader),
            output,
            started: now,
            ended: None,
            lost: false,
            stopped: false,
            kill_at: None,
            killed: false,
            stop: Arc::default(),
            exit: watch::Sender::new(None),
            _slot: slot,
        })
    }

    /// A log that cannot be written must not keep the stream from starting.
    fn open_log(&self, job: &Job) -> Option<Rotating> {
        let policy = job.log.as_ref()?;
        let path = policy.file(&job.id);
        let opened = Rotating::open(path.clone(), policy.max_bytes);
        let mut keep: BTreeSet<PathBuf> = self
            .children
            .iter()
            .filter_map(|child| Some(child.output.log()?.path().to_owned()))
            .collect();
        keep.insert(path.clone());
        if let Err(error) = policy.prune(SystemTime::now(), &keep) {
            tracing::debug!(%error, "cannot remove old ffmpeg logs");
        }
        match opened {
            Ok(log) => Some(log),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot write the ffmpeg log (key ffmpeg.log)");
                None
            }
        }
    }

    /// Reaps children that are over, with the rest of their groups, and tells whoever waits.
    fn bury(&mut self, now: Instant) {
        let (over, children) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(|child| child.is_over(now));
        self.children = children;
        let over: Vec<Running> = over;
        for child in over {
            let group = child.child.id();
            // In this order: while the leader is unreaped, the number is taken and no stranger can be hit.
            child.signal(libc::SIGKILL);
            self.guard.unregister(group, now);
            child.reap(now);
            if sys::reap_group(group) {
                self.adopted.push((group, now + ADOPTION));
            }
        }
    }
}

impl Running {
    /// One look at everything that may have happened.
    fn turn(&mut self, now: Instant) {
        if let Some(polite) = self.stop.take() {
            self.terminate(polite, now);
        }
        let life = if self.ended.is_none() {
            sys::life(self.child.id())
        } else {
            Life::Running
        };
        if life != Life::Running {
            self.ended = Some(now);
            self.lost = life == Life::Lost;
            // What is left of its group (the ffmpeg of a wrapper script that was killed) must end too, before anybody may
            // start another: two of them would publish the same stream.
            if self.kill_at.is_none() {
                self.signal(libc::SIGTERM);
                self.kill_at = Some(now + POLITE);
            }
        }
        self.read(now);
        if !self.killed && self.kill_at.is_some_and(|at| at <= now) {
            self.killed = true;
            self.signal(libc::SIGKILL);
        }
    }

    /// To the whole group, as long as its number is surely its own.
    fn signal(&self, signal: i32) {
        if !self.lost {
            sys::signal_group(self.child.id(), signal);
        }
    }

    fn terminate(&mut self, polite: Duration, now: Instant) {
        let at = now + polite;
        if self.kill_at.is_none() {
            self.stopped = self.ended.is_none();
            self.signal(libc::SIGTERM);
            // A stopped process acts on SIGTERM only when it runs again.
            self.signal(libc::SIGCONT);
        }
        self.kill_at = Some(self.kill_at.map_or(at, |other| other.min(at)));
    }

    fn read(&mut self, now: Instant) {
        let mut buffer = [0; 8192];
        let mut left = READ_AT_ONCE;
        while left > 0
            && let Some(pipe) = &mut self.pipe
        {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    self.output.read(&buffer[..n], now);
                    left = left.saturating_sub(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// The leader has ended, and the others have too or had their time.
    fn is_over(&self, now: Instant) -> bool {
        self.ended.is_some() && (self.pipe.is_none() || self.kill_at.is_some_and(|at| at <= now))
    }

    fn reap(mut self, now: Instant) {
        // It has ended, so this does not wait. An error means that something else has reaped it.
        let status = self.child.wait().ok();
        self.read(now);
        self.output.finish(now);
        let exit = Exit {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            stopped: self.stopped,
            tail: self.output.tail(),
            ran_for: self.ended.unwrap_or(now).duration_since(self.started),
        };
        let pid = self.child.id();
        self.output
            .note(&format!("{} [{pid}] {exit}", log::timestamp(SystemTime::now())));
        let seconds = exit.ran_for.as_secs();
        if self.stopped || exit.success() {
            tracing::info!(id = %self.id, pid, seconds, %exit, "ffmpeg ended");
        } else {
            tracing::warn!(id = %self.id, pid, seconds, %exit, "ffmpeg ended");
        }
        // Everything is given back first: whoever is told may start the next one at once.
        drop((self.pidfd, self.pipe, self.output, self.child, self._slot));
        self.exit.send_replace(Some(exit));
    }
}
