//! The system calls of a worker: many writes at once, and sleeping until something can be done.

mod epoll;
mod uring;

use crate::position::Position;
use media::Packet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use epoll::Epoll;
pub(crate) use uring::Uring;

/// Most pieces of one write. A frame of video over RTMP in chunks of 4 KiB has some dozens.
pub(crate) const MAX_PIECES: usize = 128;

/// Most writes that are handed over at once.
pub(crate) const ROUND: usize = 128;

/// A write to be made.
pub(crate) struct Write<'a> {
    /// A non-blocking socket.
    pub socket: BorrowedFd<'a>,
    pub packets: &'a [Arc<Packet>],
    pub position: Position,
}

impl<'a> Write<'a> {
    fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        self.position.rest(self.packets).take(MAX_PIECES)
    }
}

/// Names a socket that is waited for.
pub(crate) type Token = u64;

/// A way to the kernel.
pub(crate) trait Backend {
    /// What operators call it.
    fn name(&self) -> &'static str;

    /// Makes up to [`ROUND`] writes and appends a result for each, in order: bytes that the socket took, as far as it takes them
    /// without waiting.
    fn write(&mut self, writes: &[Write<'_>], results: &mut Vec<io::Result<usize>>);

    /// Has [`Self::sleep`] tell once when the socket takes bytes again, or is broken. At most one wait for each token.
    fn await_room(&mut self, token: Token, socket: BorrowedFd<'_>) -> io::Result<()>;

    /// Ends a wait. What it was to tell may still come.
    fn forget(&mut self, token: Token, socket: BorrowedFd<'_>);

    /// Sleeps until a socket has room, the alarm was set off, or the time is over. Tokens of sockets with room are appended.
    fn sleep(&mut self, time: Option<Duration>, room: &mut Vec<Token>) -> io::Result<()>;
}

/// Wakes a worker from another thread.
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Sets it off.
    pub fn ring(&self) {
        // It fails when it is set off already, four billion times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}

/// The best that the system allows.
pub(crate) fn open(alarm: &Arc<Alarm>, io_uring: bool) -> io::Result<Box<dyn Backend>> {
    if io_uring {
        match Uring::new(alarm.clone()) {
            Ok(uring) => return Ok(Box::new(uring)),
            Err(error) => tracing::debug!(%error, "no io_uring here; packets are written one by one"),
        }
    }
    Ok(Box::new(Epoll::new(alarm.clone())?))
}
