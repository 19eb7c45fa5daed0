//! Events that were given up, until somebody looks at them.

use super::disk::{Disk, Os};
use super::entry::{self, Entry, Event, Head, MAX_TEXT, Reader};
use super::log::{Dropped, Limits, Log, Usage};
use super::recover::Recovered;
use super::{Error, Result};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// Most dead letters of an endpoint.
pub const MAX_DEAD: usize = 10_000;

/// Most bytes of them.
pub const DEAD_LIMITS: Limits = Limits {
    max_bytes: 100 * 1024 * 1024,
    segment_bytes: 2 * 1024 * 1024,
};

/// Bytes after which a list ends early.
const LIST_BYTES: usize = 16 * 1024 * 1024;

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The event, with its number in the endpoint's [`Log`].
    pub event: Event,
    /// When it was given up, in Unix milliseconds.
    pub failed_unix_ms: u64,
    /// Attempts that were made.
    pub attempts: u32,
    /// Kind of the last failure, as in [`crate::failure::Class::name`].
    pub class: String,
    /// HTTP status of the last answer, 0 if there was none.
    pub status: u16,
    /// The last failure in words. Cut at [`MAX_TEXT`] bytes.
    pub detail: String,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Given up at this time or later, in Unix milliseconds.
    pub from_unix_ms: Option<u64>,
    /// Given up before this time, in Unix milliseconds.
    pub until_unix_ms: Option<u64>,
    /// Events of this name.
    pub event: Option<String>,
}

impl Filter {
    fn takes_time(&self, failed_unix_ms: u64) -> bool {
        self.from_unix_ms.is_none_or(|from| failed_unix_ms >= from)
            && self.until_unix_ms.is_none_or(|until| failed_unix_ms < until)
    }
}

/// The dead letters of an endpoint, in the order in which they were given up. Each has a position, a number that rises and stays.
pub struct DeadLetters {
    log: Log<Stored>,
    /// At most [`MAX_DEAD`].
    index: BTreeMap<u64, Meta>,
}

/// What is known without reading.
#[derive(Clone, Copy)]
struct Meta {
    failed_unix_ms: u64,
    id_hash: u64,
}

impl DeadLetters {
    /// Opens those in a folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// As [`Log::open`].
    pub fn open(dir: &Path) -> Result<(Self, Recovered)> {
        Self::open_with(dir, DEAD_LIMITS, Box::new(Os))
    }

    pub(super) fn open_with(dir: &Path, limits: Limits, disk: Box<dyn Disk>) -> Result<(Self, Recovered)> {
        let (mut log, recovered) = Log::<Stored>::open_with(dir, limits, disk)?;
        let mut index = BTreeMap::new();
        let mut last = 0;
        while let Some(stored) = log.read_open(last, 1, usize::MAX)?.pop() {
            last = stored.position;
            index.insert(last, stored.meta());
        }
        Ok((Self { log, index }, recovered))
    }

    /// Adds one and returns its position. Where there is no room, the oldest give way and are added to `dropped`, by position.
    ///
    /// # Errors
    ///
    /// It is not stored: out of bounds, or the disk refused.
    pub fn push(&mut self, mut dead: Dead, dropped: &mut Vec<Dropped>) -> Result<u64> {
        let cut = dead.detail.floor_char_boundary(MAX_TEXT);
        dead.detail.truncate(cut);
        let position = self.log.last_seq().saturating_add(1);
        let stored = Stored { position, dead };
        let before = dropped.len();
        let appended = self.log.append(&stored, dropped);
        for gone in &dropped[before..] {
            self.index.remove(&gone.seq);
        }
        appended?;
        self.index.insert(position, stored.meta());
        while self.index.len() > MAX_DEAD {
            self.drop_oldest(dropped);
        }
        Ok(position)
    }

    fn drop_oldest(&mut self, dropped: &mut Vec<Dropped>) {
        let Some((&position, _)) = self.index.first_key_value() else {
            return;
        };
        let event = match self.read(position) {
            Ok(Some(stored)) => stored.dead.event.event,
            Ok(None) | Err(_) => String::new(),
        };
        dropped.push(Dropped { seq: position, event });
        self.index.remove(&position);
        // Where the disk refuses, the log writes the mark later.
        let _ = self.log.done(position);
    }

    /// Those behind a position, 0 for the first, with their positions: at most `max`, and no more than about 16 MiB. What the filter
    /// passes over is read, if it looks at the name.
    ///
    /// # Errors
    ///
    /// A file could not be read.
    pub fn list(&mut self, after: u64, max: usize, filter: &Filter) -> Result<Vec<(u64, Dead)>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut after = after;
        while found.len() < max && bytes < LIST_BYTES {
            let Some(stored) = self.next_match(after, filter)? else {
                break;
            };
            after = stored.position;
            bytes += stored.size();
            found.push((stored.position, stored.dead));
        }
        Ok(found)
    }

    /// The one with this `webhook-id`; the newest, if the event was given up more than once.
    ///
    /// # Errors
    ///
    /// A file could not be read.
    pub fn get(&mut self, id: &str) -> Result<Option<(u64, Dead)>> {
        for position in self.positions_of(id).into_iter().rev() {
            if let Some(stored) = self.read(position)?.filter(|stored| stored.dead.event.id == id) {
                return Ok(Some((position, stored.dead)));
            }
        }
        Ok(None)
    }

    /// Removes those with these ids, and returns how many that were.
    ///
    /// # Errors
    ///
    /// A file could not be read, or the disk refused to write; some may have been removed.
    pub fn remove<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) -> Result<usize> {
        let mut positions = BTreeMap::new();
        for id in ids {
            positions.extend(self.positions_of(id).into_iter().map(|position| (position, id)));
        }
        let mut removed = 0;
        for (position, id) in positions {
            if self
                .read(position)?
                .is_some_and(|stored| stored.dead.event.id == id)
            {
                self.take(position)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes those that a filter takes, and returns how many that were.
    ///
    /// # Errors
    ///
    /// As [`Self::remove`].
    pub fn purge(&mut self, filter: &Filter) -> Result<usize> {
        let (mut after, mut removed) = (0, 0);
        if filter.event.is_some() {
            while let Some(stored) = self.next_match(after, filter)? {
                after = stored.position;
                self.take(after)?;
                removed += 1;
            }
        } else {
            while let Some(position) = self.next_in_time(after, filter) {
                after = position;
                self.take(after)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Waits until what was written is on the medium.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`].
    pub fn sync(&mut self) -> Result<()> {
        self.log.sync()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What they occupy.
    pub fn usage(&self) -> Usage {
        self.log.usage()
    }

    fn next_in_time(&self, after: u64, filter: &Filter) -> Option<u64> {
        let mut behind = self.index.range(after.saturating_add(1)..);
        let found = behind.find(|(_, meta)| filter.takes_time(meta.failed_unix_ms));
        found.map(|(position, _)| *position)
    }

    fn next_match(&mut self, mut after: u64, filter: &Filter) -> Result<Option<Stored>> {
        while let Some(position) = self.next_in_time(after, filter) {
            after = position;
            let takes = |stored: &Stored| {
                let name = &stored.dead.event.event;
                filter.event.as_ref().is_none_or(|event| event == name)
            };
            if let Some(stored) = self.read(position)?.filter(takes) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Candidates, by hash.
    fn positions_of(&self, id: &str) -> Vec<u64> {
        let wanted = hash(id);
        let found = self.index.iter().filter(|(_, meta)| meta.id_hash == wanted);
        found.map(|(position, _)| *position).collect()
    }

    fn read(&mut self, position: u64) -> Result<Option<Stored>> {
        let read = self.log.read_open(position.saturating_sub(1), 1, usize::MAX)?;
        let found = read.into_iter().find(|stored| stored.position == position);
        if found.is_none() {
            // Its bytes have changed; the log counts it.
            self.index.remove(&position);
        }
        Ok(found)
    }

    fn take(&mut self, position: u64) -> Result<()> {
        self.index.remove(&position);
        self.log.done(position)
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// A dead letter at its position.
struct Stored {
    position: u64,
    dead: Dead,
}

impl Stored {
    fn meta(&self) -> Meta {
        Meta {
            failed_unix_ms: self.dead.failed_unix_ms,
            id_hash: hash(&self.dead.event.id),
        }
    }
}

impl Entry for Stored {
    const KIND: u8 = 3;

    fn seq(&self) -> u64 {
        self.position
    }

    fn created_unix_ms(&self) -> u64 {
        self.dead.failed_unix_ms
    }

    /// The oldest goes, whatever it is.
    fn dear(&self) -> bool {
        false
    }

    fn name(&self) -> &str {
        &self.dead.event.event
    }

    fn size(&self) -> usize {
        self.dead.event.size() + self.dead.class.len() + self.dead.detail.len()
    }

    fn check(&self) -> Result<(), Error> {
        self.dead.event.check()?;
        entry::check("the class", self.dead.class.len(), MAX_TEXT)?;
        entry::check("the detail", self.dead.detail.len(), MAX_TEXT)
    }

    fn put(&self, buf: &mut Vec<u8>) {
        let dead = &self.dead;
        buf.extend_from_slice(&dead.attempts.to_le_bytes());
        buf.extend_from_slice(&dead.status.to_le_bytes());
        entry::put_text(buf, &dead.class);
        entry::put_text(buf, &dead.detail);
        entry::encode(&dead.event, buf);
    }

    fn get(head: Head, rest: &mut Reader<'_>) -> Option<Self> {
        let (attempts, status) = (rest.u32()?, rest.u16()?);
        let (class, detail) = (rest.text()?, rest.text()?);
        Some(Self {
            position: head.seq,
            dead: Dead {
                event: entry::decode(rest.rest())?,
                failed_unix_ms: head.created_unix_ms,
                attempts,
                class,
                status,
                detail,
            },
        })
    }
}
