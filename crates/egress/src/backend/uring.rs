//! io_uring: all writes of a round with one system call. The kernel still makes them one after the other, but enters and leaves once.
//!
//! Sockets are written with `MSG_DONTWAIT`, so each write is over when the call that handed it in returns: nothing that it
//! points to has to live longer.
#![allow(
    unsafe_code,
    reason = "the kernel is given addresses; each use says why they are valid"
)]

use super::{Alarm, Backend, MAX_PIECES, ROUND, Token, Write};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// Of the alarm, of a wait that is taken back, and (with a number below) of writes. No socket's, whose lower half is an index far below.
const ALARM: u64 = u64::MAX;
const FORGOTTEN: u64 = u64::MAX - 1;
const WRITES: u64 = u64::MAX - 1 - ROUND as u64;

/// Requests that the kernel is given at once: a round of writes, and waits.
const ENTRIES: u32 = 256;
const _: () = assert!(ENTRIES as usize > ROUND);

/// Pieces of all writes of one round; a write that finds no room left is made short.
const PIECES: usize = 8 * 1024;
const _: () = assert!(PIECES >= MAX_PIECES);

pub(crate) struct Uring {
    ring: IoUring,
    alarm: Arc<Alarm>,
    /// A wait for the alarm is with the kernel.
    armed: bool,
    pieces: Vec<libc::iovec>,
    heads: Vec<libc::msghdr>,
    /// Sockets with room that were told of while writes were waited for.
    room: Vec<Token>,
}

// SAFETY: the addresses in `pieces` and `heads` are written and used within one call of `write`, by one thread; between calls they
// are never read.
unsafe impl Send for Uring {}

impl Uring {
    /// Fails where io_uring is not allowed or too old.
    pub fn new(alarm: Arc<Alarm>) -> io::Result<Self> {
        let quick = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .build(ENTRIES);
        // Before Linux 6.1.
        let ring = quick.or_else(|_| IoUring::new(ENTRIES))?;
        if !ring.params().is_feature_ext_arg() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "io_uring of Linux before 5.11",
            ));
        }
        Ok(Self {
            ring,
            alarm,
            armed: false,
            pieces: Vec::with_capacity(PIECES),
            heads: Vec::with_capacity(ROUND),
            room: Vec::new(),
        })
    }

    /// Hands a request over that points to nothing.
    fn hand_over(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: callers give requests without addresses; the descriptors in them are open now, and the kernel keeps what they
        // stand for.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        self.ring.submit()?;
        // SAFETY: as above.
        unsafe { self.ring.submission().push(entry) }.map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    /// Takes what is done. Writes put their results at their places.
    fn take(&mut self, results: &mut [io::Result<usize>]) -> usize {
        let mut writes = 0;
        for done in self.ring.completion() {
            match done.user_data() {
                ALARM => {
                    self.armed = false;
                    self.alarm.silence();
                }
                FORGOTTEN => {}
                number if number >= WRITES => {
                    writes += 1;
                    if let Some(result) = results.get_mut((number - WRITES) as usize) {
                        *result = result_of(&done);
                    }
                }
                // Also a wait that was taken back: whoever has that token is asked once for nothing.
                token => self.room.push(token),
            }
        }
        writes
    }
}

fn result_of(done: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(done.result()).map_err(|_| io::Error::from_raw_os_error(-done.result()))
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn write(&mut self, writes: &[Write<'_>], results: &mut Vec<io::Result<usize>>) {
        debug_assert!(writes.len() <= ROUND);
        let writes = &writes[..writes.len().min(ROUND)];
        self.pieces.clear();
        self.heads.clear();
        for write in writes {
            let begin = self.pieces.len();
            // Neither array grows beyond what was set aside, so none moves while the kernel has its address.
            let free = PIECES - begin;
            self.pieces
                .extend(write.pieces().take(free).map(|piece| libc::iovec {
                    iov_base: piece.as_ptr().cast_mut().cast(),
                    iov_len: piece.len(),
                }));
            let count = self.pieces.len() - begin;
            // SAFETY: plain numbers and addresses, for all of which zero is valid.
            let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
            head.msg_iov = self.pieces.get_mut(begin).map_or(ptr::null_mut(), ptr::from_mut);
            head.msg_iovlen = count as _;
            self.heads.push(head);
        }
        let first = results.len();
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32;
        let mut handed = 0;
        for (number, (write, head)) in writes.iter().zip(&self.heads).enumerate() {
            results.push(Err(io::ErrorKind::WouldBlock.into()));
            if head.msg_iovlen == 0 {
                // No room for its pieces in this round, or nothing to write.
                results[first + number] = Ok(0);
                continue;
            }
            let entry = opcode::SendMsg::new(Fd(write.socket.as_raw_fd()), head)
                .flags(flags)
                .build()
                .user_data(WRITES + number as u64);
            // SAFETY: the head, its pieces and what they point to are borrowed or owned beyond the end of this function, and
            // the loop below does not leave before the kernel is done with all that were handed over.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                // Full of waits: give them away, then there is room for a round.
                let _ = self.ring.submit();
                // SAFETY: as above.
                if unsafe { self.ring.submission().push(&entry) }.is_err() {
                    continue;
                }
            }
            handed += 1;
        }
        while handed > 0 {
            // An error here is an interruption or a full completion queue; both end when what is done is taken.
            let _ = self.ring.submit_and_wait(handed);
            handed -= self.take(&mut results[first..]);
        }
    }

    fn await_room(&mut self, token: Token, socket: BorrowedFd<'_>) -> io::Result<()> {
        let wait = opcode::PollAdd::new(Fd(socket.as_raw_fd()), libc::POLLOUT as u32);
        self.hand_over(&wait.build().user_data(token))
    }

    fn forget(&mut self, token: Token, _socket: BorrowedFd<'_>) {
        let forget = opcode::PollRemove::new(token).build().user_data(FORGOTTEN);
        // Now, not with the next sleep: the wait keeps the connection open, and its descriptor is closed next.
        let _ = self.hand_over(&forget).and_then(|()| self.ring.submit());
    }

    fn sleep(&mut self, time: Option<Duration>, room: &mut Vec<Token>) -> io::Result<()> {
        if !self.armed {
            let wait = opcode::PollAdd::new(Fd(self.alarm.descriptor().as_raw_fd()), libc::POLLIN as u32);
            self.hand_over(&wait.build().user_data(ALARM))?;
            self.armed = true;
        }
        // Nothing is slept through that is known already.
        let time = if self.room.is_empty() {
            time
        } else {
            Some(Duration::ZERO)
        };
        let waited = match time {
            None => self.ring.submit_and_wait(1),
            Some(time) => {
                let time = Timespec::from(time);
                let args = SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        match waited.map_err(|error| error.raw_os_error()) {
            // ETIME: the time is over. EBUSY: what is done is to be taken first.
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(Some(code)) => return Err(io::Error::from_raw_os_error(code)),
            Err(None) => return Err(io::ErrorKind::Other.into()),
        }
        self.take(&mut []);
        room.append(&mut self.room);
        Ok(())
    }
}
