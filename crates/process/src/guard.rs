//! The guard: one tiny process per server that ends all children's process groups when the server is gone.
//!
//! It is the server's own executable, started with a hidden argument, and reads lines from a pipe on its standard input:
//!
//! | Line | Sent by | Meaning |
//! | --- | --- | --- |
//! | `?N` | the forked child, before it runs its program | group N is about to exist |
//! | `+N` | the server | group N exists |
//! | `!` | the server | the child announced last failed to start |
//! | `-N` | the server, before it reaps the leader | group N is over |
//!
//! When the pipe ends, the server is gone, for whatever reason. Then SIGTERM goes to each registered group, after
//! [`POLITE`] SIGKILL, and the guard exits.
//!
//! A number is never signalled after its group was over, since the server unregisters it while the ended leader is still
//! unreaped. If the server dies while leaders live, their groups are looked at every [`LOOK`] and dropped as soon as they
//! are empty.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::supervisor::{HARD_MAX_PROCESSES, POLITE};
use crate::sys;

/// The hidden argument: `main` calls [`run_guard`] first thing when it is the program's first.
pub const GUARD_ARGUMENT: &str = "__guard";

/// Pause between two looks at groups that were asked to end.
const LOOK: Duration = Duration::from_millis(20);

/// Pause before a guard that died is started again: first, doubled each time, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A guard that lived this long was fine; the next pause is the first again.
const SETTLED: Duration = Duration::from_secs(60);

/// How to start the guard.
#[derive(Debug, Clone)]
pub struct GuardProgram {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments; they must lead to [`run_guard`].
    pub arguments: Vec<OsString>,
}

impl GuardProgram {
    /// This very executable with [`GUARD_ARGUMENT`], even if its file was replaced or removed meanwhile (an upgrade).
    pub fn this_executable() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![GUARD_ARGUMENT.into()],
        }
    }
}

/// The guard's whole life. Starts no thread and no runtime; call it before anything else in `main`.
pub fn run_guard() -> ! {
    sys::become_guard();
    // Do not keep the server's directory (perhaps a mount) busy.
    let _stay_where_we_are = std::env::set_current_dir("/");
    let mut groups = Groups::default();
    let mut buffer = [0; 1024];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => groups.read(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    end_groups(groups.all());
    std::process::exit(0)
}

/// SIGTERM, then SIGKILL to those that are still there after [`POLITE`].
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells a stranger when a group becomes empty"
)]
fn end_groups(mut groups: BTreeSet<u32>) {
    for group in &groups {
        sys::signal_group(*group, libc::SIGTERM);
        // A stopped process acts on SIGTERM only when it runs again.
        sys::signal_group(*group, libc::SIGCONT);
    }
    let deadline = Instant::now() + POLITE;
    loop {
        groups.retain(|group| sys::signal_group(*group, 0));
        if groups.is_empty() || Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(LOOK);
    }
    for group in &groups {
        sys::signal_group(*group, libc::SIGKILL);
    }
}

/// What the guard knows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    registered: BTreeSet<u32>,
    /// From `?N` until `+N` or `!`. One is enough: the server starts one child at a time.
    announced: Option<u32>,
    line: Vec<u8>,
}

impl Groups {
    /// Twice the most children: a bound against a broken writer, never reached by the server.
    const MAX: usize = 2 * HARD_MAX_PROCESSES;

    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.take_line();
            } else if self.line.len() < 16 {
                self.line.push(*byte);
            }
        }
    }

    fn take_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Some((sign, number)) = line.split_first() else {
            return;
        };
        let number = std::str::from_utf8(number)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|n| *n > 1);
        match (sign, number) {
            (b'?', Some(_)) => self.announced = number,
            (b'!', _) => self.announced = None,
            (b'+', Some(n)) => {
                self.announced = self.announced.filter(|announced| *announced != n);
                if self.registered.len() < Self::MAX {
                    self.registered.insert(n);
                }
            }
            (b'-', Some(n)) => {
                self.registered.remove(&n);
            }
            _ => {} // not from our server; nothing to do about it
        }
    }

    fn all(mut self) -> BTreeSet<u32> {
        self.registered.extend(self.announced);
        self.registered
    }
}

/// The server's side: starts the guard, keeps it informed, starts it again when it dies.
pub(crate) struct Link {
    program: GuardProgram,
    registered: BTreeSet<u32>,
    guard: Option<(Child, PipeWriter, Instant)>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Link {
    pub(crate) fn new(program: GuardProgram) -> Self {
        Self {
            program,
            registered: BTreeSet::new(),
            guard: None,
            retry_at: None,
            pause: RETRY.0,
        }
    }

    /// The pipe's writing end: for the forked child, and to be watched for the guard's death.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.guard.as_ref().map(|(_, pipe, _)| pipe.as_raw_fd())
    }

    /// When [`Link::keep_alive`] wants to be called again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Before each child, and at [`Link::deadline`]. A server that never runs ffmpeg has no guard.
    pub(crate) fn keep_alive(&mut self, now: Instant) {
        if self.guard.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match self.spawn(now) {
            Ok(()) => self.retry_at = None,
            Err(error) => {
                tracing::error!(%error, "cannot start the guard process: if this server is killed, ffmpeg's descendants may remain");
                self.back_off(now);
            }
        }
    }

    fn spawn(&mut self, now: Instant) -> io::Result<()> {
        let (reader, mut writer) = io::pipe()?;
        sys::set_nonblocking(writer.as_fd())?;
        // Before it starts, so that there is no moment in which a replaced guard knows nothing. The pipe holds 64 KiB, which
        // is several times what the most children need.
        let lines: String = self
            .registered
            .iter()
            .map(|group| format!("+{group}\n"))
            .collect();
        writer.write_all(lines.as_bytes())?;
        let mut command = Command::new(&self.program.program);
        command
            .args(&self.program.arguments)
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.arg0("tidegate");
        sys::prepare_guard(&mut command);
        let child = command.spawn()?;
        tracing::debug!(pid = child.id(), "guard process started");
        self.guard = Some((child, writer, now));
        Ok(())
    }

    /// The group exists.
    pub(crate) fn register(&mut self, group: u32, now: Instant) {
        self.registered.insert(group);
        self.send(&format!("+{group}\n"), now);
    }

    /// The child that announced itself did not get as far as running.
    pub(crate) fn start_failed(&mut self, now: Instant) {
        self.send("!\n", now);
    }

    /// The group is over. To be called while its leader is unreaped.
    pub(crate) fn unregister(&mut self, group: u32, now: Instant) {
        self.registered.remove(&group);
        self.send(&format!("-{group}\n"), now);
    }

    fn send(&mut self, lines: &str, now: Instant) {
        let Some((_, pipe, _)) = &mut self.guard else {
            return;
        };
        // The pipe holds thousands of lines. If it is full, the guard does not work (stopped by someone): replace it.
        if let Err(error) = pipe.write_all(lines.as_bytes()) {
            tracing::debug!(%error, "guard does not read");
            self.lost(now);
        }
    }

    /// The guard is dead, or as good as: ends it, and plans another.
    pub(crate) fn lost(&mut self, now: Instant) {
        let Some((mut child, pipe, since)) = self.guard.take() else {
            return;
        };
        // SIGKILL first: the end of the pipe would make a guard that merely hung kill all our children later.
        let _already_dead = child.kill();
        let status = child.wait();
        drop(pipe);
        tracing::warn!(?status, "the guard process ended and is started again");
        if now.duration_since(since) >= SETTLED {
            self.pause = RETRY.0;
        }
        self.back_off(now);
    }

    fn back_off(&mut self, now: Instant) {
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(RETRY.1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some((mut child, pipe, _)) = self.guard.take() {
            if self.registered.is_empty() {
                // Nothing to guard; no need to wait for it to see the end of the pipe.
                let _already_dead = child.kill();
                let _status = child.wait();
            }
            drop(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &[u32]) {
        for cut in 0..=input.len() {
            let mut groups = Groups::default();
            groups.read(&input.as_bytes()[..cut]);
            groups.read(&input.as_bytes()[cut..]);
            assert_eq!(
                groups.all(),
                expected.iter().copied().collect(),
                "for {input:?} cut at {cut}"
            );
        }
    }

    #[test]
    fn lines_however_they_arrive() {
        check("?12\n+12\n+34\n", &[12, 34]);
        check("?12\n+12\n-12\n", &[]);
        check("+9\n?12\n", &[9, 12]);
        check("+9\n?12\n!\n", &[9]);
        check("?12\n+9\n", &[9, 12]);
        check("+12", &[]);
    }

    #[test]
    fn nonsense_is_ignored() {
        check("+0\n+1\n+-5\n+x\n\n?\n+99999999999999999999999\n+7\n", &[7]);
    }

    #[test]
    fn number_of_groups_is_bounded() {
        let mut groups = Groups::default();
        for n in 2..10_000 {
            groups.read(format!("+{n}\n").as_bytes());
        }
        assert_eq!(groups.registered.len(), Groups::MAX);
    }
}
