//! The few system calls that std does not offer, each behind a safe function. The only unsafe code of the crate.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Highest signal number of Linux (`SIGRTMAX`).
const LAST_SIGNAL: c_int = 64;

/// Descriptors above this are not looked at where `close_range` is missing (Linux before 5.11, or forbidden by a
/// container's filter), because closing a million numbers one by one would take longer than the start itself.
const CLOSE_LIMIT: c_int = 65_536;

/// One descriptor to wait for, see [`poll`].
pub(crate) type PollFd = libc::pollfd;

/// Waits for readable data (or the other side's end).
pub(crate) fn readable(fd: RawFd) -> PollFd {
    PollFd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// Waits only for the other side's end; for the writing end of a pipe.
pub(crate) fn broken(fd: RawFd) -> PollFd {
    PollFd {
        fd,
        events: 0,
        revents: 0,
    }
}

/// Waits until one of `fds` has something or `timeout` is over. An interruption by a signal counts as "nothing".
pub(crate) fn poll(fds: &mut [PollFd], timeout: Option<Duration>) -> io::Result<()> {
    let millis = timeout.map_or(-1, |t| {
        // Round up: waking before a deadline would only make the caller wait again, in a busy loop.
        let millis = t.as_nanos().div_ceil(1_000_000);
        c_int::try_from(millis).unwrap_or(c_int::MAX)
    });
    // SAFETY: the pointer and the length describe one live, exclusively borrowed slice of pollfd.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, millis) };
    if n < 0 {
        let error = io::Error::last_os_error();
        fds.iter_mut().for_each(|fd| fd.revents = 0);
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(())
        } else {
            Err(error)
        };
    }
    Ok(())
}

/// A descriptor that becomes readable when the process ends. `None` on kernels before 5.3, or where a filter forbids it.
pub(crate) fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: no pointers; the flags are 0; close-on-exec is always set on the result.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What [`life`] sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Still there.
    Running,
    /// Ended and not reaped: its number stays taken, so its process group can still be signalled safely.
    Ended,
    /// Not our child any more: something else in this process reaped it, and its number may belong to a stranger.
    Lost,
}

/// Looks at our child `pid` without reaping it.
pub(crate) fn life(pid: u32) -> Life {
    // SAFETY: an all-zero siginfo_t is a valid value of this plain C struct.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a live siginfo_t that the call may write.
    let answer = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags) };
    if answer != 0 {
        return if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) {
            Life::Lost
        } else {
            Life::Running
        };
    }
    // SAFETY: waitid succeeded, so si_pid is either set or still zero ("nothing to report").
    if unsafe { info.si_pid() } == 0 {
        Life::Running
    } else {
        Life::Ended
    }
}

/// Reaps members of a group that were adopted by us (we are process 1 of a container, or a subreaper). True while some of
/// them still live; false when there are none (always, for a process that adopts nobody).
pub(crate) fn reap_group(pgid: u32) -> bool {
    let Some(pgid) = group(pgid) else { return false };
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live int that the call may write.
        match unsafe { libc::waitpid(-pgid, &mut status, libc::WNOHANG) } {
            0 => return true,
            reaped if reaped > 0 => continue,
            _ => return false,
        }
    }
}

/// Sends `signal` to each member of the group; false when no such group exists.
pub(crate) fn signal_group(pgid: u32, signal: c_int) -> bool {
    let Some(pgid) = group(pgid) else { return false };
    // SAFETY: no pointers; kill() itself has no memory effects.
    let sent = unsafe { libc::kill(-pgid, signal) } == 0;
    sent || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// 0 would mean our own group and 1 everybody.
fn group(pgid: u32) -> Option<libc::pid_t> {
    libc::pid_t::try_from(pgid).ok().filter(|pgid| *pgid > 1)
}

/// A read or write on `fd` never waits.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers; `fd` is open as long as it is borrowed.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A parent may have left SIGCHLD ignored; then the kernel reaps children itself and their exit status is lost. A handler
/// that is already installed stays.
pub(crate) fn keep_exit_status() {
    // SAFETY: an all-zero sigaction is a valid value of this plain C struct; the call only reads the current one into it.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let ignored = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut current) } == 0
        && current.sa_sigaction == libc::SIG_IGN;
    if ignored {
        // SAFETY: the default disposition has no handler that could run.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
}

/// For the guard: signals that a terminal or a service manager sends to many processes at once must not end it.
const TERMINATION: [c_int; 6] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGTSTP,
];

/// Makes the guard deaf to [`TERMINATION`], and gives it a name in `ps`.
pub(crate) fn become_guard() {
    for signal in TERMINATION {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: PR_SET_NAME reads at most 16 bytes of the NUL-terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"tidegate-guard".as_ptr()) };
}

/// What the child does between fork and exec: own group, dies with the thread that forked it, default signals, inherits no
/// descriptor, and tells the guard its number (`?PID`) before it can have any descendant.
pub(crate) fn prepare_child(command: &mut Command, guard: Option<RawFd>) {
    let parent = std::process::id();
    let hook = move || {
        // SAFETY: only async-signal-safe calls, no allocation, no lock: the parent has other threads.
        unsafe {
            if libc::setpgid(0, 0) != 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have gone before the line above. (As process 1 it cannot: then all of the container goes.)
            if libc::getppid() as u32 != parent {
                libc::_exit(127);
            }
            if let Some(fd) = guard {
                let mut line = [0; 16];
                let line = announce(libc::getpid() as u32, &mut line);
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                // A failure is no harm: the parent notices a lost guard, starts another and registers everything again.
                let _written = libc::write(fd, line.as_ptr().cast(), line.len());
            }
            default_signals();
            close_on_exec();
        }
        Ok(())
    };
    // SAFETY: the hook keeps to what is allowed between fork and exec, see above.
    unsafe { command.pre_exec(hook) };
}

/// What the guard does between fork and exec: its own session (so that Ctrl-C never reaches it), inherits no descriptor. It
/// has no parent-death signal: outliving the server is its purpose.
pub(crate) fn prepare_guard(command: &mut Command) {
    let hook = || {
        // SAFETY: only async-signal-safe calls, no allocation, no lock.
        unsafe {
            if libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            default_signals();
            // Here already: ignoring outlives exec, and a SIGTERM may come before the guard's main runs.
            for signal in TERMINATION {
                libc::signal(signal, libc::SIG_IGN);
            }
            close_on_exec();
        }
        Ok(())
    };
    // SAFETY: the hook keeps to what is allowed between fork and exec, see above.
    unsafe { command.pre_exec(hook) };
}

/// SAFETY for callers: async-signal-safe; meant for a forked child, whose signal state is its own.
unsafe fn default_signals() {
    // SAFETY: default dispositions have no handler; numbers that may not be changed give an error that is of no interest;
    // an all-zero sigset_t is valid memory that sigemptyset then initialises.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Marks every descriptor above 2. Rust opens its own so already; a C library may not have. They are marked and not closed,
/// because std's pipe that reports a failed exec is among them.
///
/// SAFETY for callers: async-signal-safe; meant for a forked child, whose descriptor table is its own.
unsafe fn close_on_exec() {
    // SAFETY: no pointers; setting a flag on a number that is not open gives an error that is of no interest.
    unsafe {
        if libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        ) == 0
        {
            return;
        }
        let limit = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, CLOSE_LIMIT.into()) as c_int;
        for fd in 3..limit {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// `?PID\n` without formatting machinery, which might allocate.
fn announce(mut pid: u32, line: &mut [u8; 16]) -> &[u8] {
    let mut at = line.len() - 1;
    line[at] = b'\n';
    loop {
        at -= 1;
        line[at] = b'0' + (pid % 10) as u8;
        pid /= 10;
        if pid == 0 {
            break;
        }
    }
    at -= 1;
    line[at] = b'?';
    &line[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcement_is_question_mark_and_number() {
        for pid in [1, 10, 4_194_304, u32::MAX] {
            assert_eq!(announce(pid, &mut [0; 16]), format!("?{pid}\n").as_bytes());
        }
    }

    #[test]
    fn groups_zero_and_one_are_never_signalled() {
        assert!(!signal_group(0, 0));
        assert!(!signal_group(1, 0));
    }
}
