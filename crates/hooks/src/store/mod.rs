//! The notification plane's store: events that outlive the process, and events that were given up.
//!
//! A [`Log`] is a folder of append-only segments, and *is* the queue of one endpoint: an event is appended, read, sent, marked as
//! done; after a restart it yields what is not done. [`DeadLetters`] keeps what failed for good, for people to look at, replay or
//! purge, and [`DeliveryLog`] the last attempts, in the same format.
//!
//! - `frame`: records and how they are found again in a damaged file. `entry`: what is in them.
//! - `log`: append, done, sync. `recover`: opening. `read`: reading in order. `compact`: keeping to the limit.
//! - `seqs`: what is known of each event in memory. `disk`: the calls that write. `dead`: dead letters. `deliveries`: attempts.
//!
//! Everything here blocks and is meant for one thread that owns it. A folder belongs to one process at a time.
//!
//! # Promises
//!
//! What [`Log::append`] has taken survives the end of the process, and after [`Log::sync`] the end of the machine. An event may come
//! twice, after damage or a crash at a bad moment; it is lost only by damage to its own record or by the limit, and either is
//! counted. Bodies can hold secrets (`on_server_started` does), so files and folders are for their owner alone.

mod compact;
mod dead;
mod deliveries;
mod disk;
mod entry;
mod frame;
mod log;
mod read;
mod recover;
mod seqs;

#[cfg(test)]
mod tests;

pub use dead::{DEAD_LIMITS, Dead, DeadLetters, Filter, MAX_DEAD};
pub use deliveries::{DELIVERY_LIMITS, DeliveryLog};
pub use entry::{Entry, Event, MAX_BODY, MAX_TEXT};
pub use log::{Dropped, Limits, Log, Synced, Syncing, Usage};
pub use recover::Recovered;

use std::io;
use std::path::{Path, PathBuf};

/// Why the store did not do what it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused: disk full, no permission, a defect. The store stays usable; the next call tries again.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process, or another part of this one, has the folder open.
    #[error("the hook store {} is in use by another process", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A file of another version of the format. Nothing was changed.
    #[error("{}: version {got} of the hook store; this server reads version {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        got: u32,
        /// What is understood.
        known: u32,
    },
    /// A member of an event is longer than the format allows.
    #[error("{field} of {got} bytes: at most {max} are stored")]
    TooLong {
        /// The member.
        field: &'static str,
        /// Its bytes.
        got: usize,
        /// What is allowed.
        max: usize,
    },
    /// Events must be appended in the order of their numbers.
    #[error("event number {got} after {last}: numbers must rise")]
    Order {
        /// The event's number.
        got: u64,
        /// The highest that was ever stored.
        last: u64,
    },
    /// The event alone is larger than the whole store may be.
    #[error("an event of {got} bytes: the store may hold {max} in all")]
    NoRoom {
        /// Bytes of its record.
        got: u64,
        /// [`Limits::max_bytes`].
        max: u64,
    },
}

impl Error {
    /// For `map_err`: names what was tried on what.
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// What most calls here return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
