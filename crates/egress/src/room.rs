//! All workers, and who is given to which.

use crate::backend::Alarm;
use crate::delivery::{Delivery, Flight};
use crate::pace::Merge;
use crate::worker::{Shared, Tag, Worker};
use hub::Reader;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How viewers are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threads; at least one.
    pub threads: usize,
    /// Use io_uring where the system has it and allows it.
    pub io_uring: bool,
    /// How long a viewer may take nothing at all.
    pub patience: Duration,
    /// When writes are merged.
    pub merge: Merge,
}

/// Gives viewers to workers. The workers end when it is dropped.
pub struct Room {
    workers: Vec<Arc<Shared>>,
}

/// What a worker does, for operators.
#[derive(Clone, Copy, Debug)]
pub struct WorkerView {
    /// `io_uring` or `epoll`; empty before it runs.
    pub backend: &'static str,
    /// Viewers that it serves.
    pub viewers: usize,
    /// Share of its time that it is busy, of late: 0 to 1.
    pub busy: f64,
    /// How long writes to a viewer are held back now.
    pub hold: Duration,
    /// Writes so far.
    pub writes: u64,
    /// Of them, those that the socket took only a part of, or nothing.
    pub blocked: u64,
    /// Bytes that sockets took.
    pub bytes: u64,
    /// Viewers given up because they took nothing.
    pub stalled: u64,
}

impl Room {
    /// A room and its workers, each of which is to be run on a thread of its own.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new(settings: Settings) -> io::Result<(Self, Vec<Worker>)> {
        let mut room = Self { workers: Vec::new() };
        let mut workers = Vec::new();
        for _ in 0..settings.threads.max(1) {
            let shared = Arc::new(Shared::new(Alarm::new()?, settings.merge));
            room.workers.push(shared.clone());
            workers.push(Worker::new(shared, settings.io_uring, settings.patience));
        }
        Ok((room, workers))
    }

    /// Gives a viewer to the worker that has the fewest. What the reader has is written to the socket from now on.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or the workers have ended. The reader is given back.
    #[expect(
        clippy::result_large_err,
        reason = "the reader comes back whole; once for each viewer"
    )]
    pub fn deliver(&self, socket: BorrowedFd<'_>, reader: Reader) -> Result<Delivery, (Reader, io::Error)> {
        // Writes go on until the worker has noticed that a session is gone; by then its descriptor may be another connection's.
        let own = match rustix::io::fcntl_dupfd_cloexec(socket, 0) {
            Ok(own) => own,
            Err(error) => return Err((reader, error.into())),
        };
        let fewest = self.workers.iter().min_by_key(|worker| worker.viewers());
        let Some(shared) = fewest.filter(|worker| !worker.has_ended()) else {
            return Err((reader, io::ErrorKind::NotConnected.into()));
        };
        let flight = Arc::new(Flight::new(reader));
        let tag = Tag::new(shared.clone());
        shared.give(own, flight.clone(), tag.clone());
        Ok(Delivery::new(flight, tag))
    }

    /// Changes when writes are merged, for all.
    pub fn set_merge(&self, merge: Merge) {
        for worker in &self.workers {
            worker.set_merge(merge);
        }
    }

    /// Ends the workers, and with them all deliveries.
    pub fn stop(&self) {
        for worker in &self.workers {
            worker.stop.store(true, Ordering::Release);
            worker.wake();
        }
    }

    /// What the workers do.
    pub fn views(&self) -> Vec<WorkerView> {
        self.workers.iter().map(|worker| worker.view()).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.stop();
    }
}
