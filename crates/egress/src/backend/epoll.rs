//! One `writev` for each write, and epoll: works everywhere.

use super::{Alarm, Backend, MAX_PIECES, Token, Write};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Of the alarm; no socket's.
const ALARM: Token = Token::MAX;

/// Events that are taken at once.
const EVENTS: usize = 256;

pub(crate) struct Epoll {
    epoll: OwnedFd,
    alarm: Arc<Alarm>,
    events: Vec<epoll::Event>,
}

impl Epoll {
    pub fn new(alarm: Arc<Alarm>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            alarm.descriptor(),
            epoll::EventData::new_u64(ALARM),
            epoll::EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            alarm,
            events: Vec::with_capacity(EVENTS),
        })
    }
}

impl Backend for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn write(&mut self, writes: &[Write<'_>], results: &mut Vec<io::Result<usize>>) {
        for write in writes {
            let mut slices = [IoSlice::new(&[]); MAX_PIECES];
            let mut used = 0;
            for (slice, piece) in slices.iter_mut().zip(write.pieces()) {
                *slice = IoSlice::new(piece);
                used += 1;
            }
            // SIGPIPE is ignored by every Rust program.
            results.push(rustix::io::writev(write.socket, &slices[..used]).map_err(io::Error::from));
        }
    }

    fn await_room(&mut self, token: Token, socket: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        let flags = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        match epoll::modify(&self.epoll, socket, data, flags) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, socket, data, flags),
            done => done,
        }
        .map_err(io::Error::from)
    }

    fn forget(&mut self, _token: Token, socket: BorrowedFd<'_>) {
        // The connection outlives this descriptor in its session, so closing would not end it. Most never waited.
        let _ = epoll::delete(&self.epoll, socket);
    }

    fn sleep(&mut self, time: Option<Duration>, room: &mut Vec<Token>) -> io::Result<()> {
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            match event.data.u64() {
                ALARM => self.alarm.silence(),
                token => room.push(token),
            }
        }
        Ok(())
    }
}
