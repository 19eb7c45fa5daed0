//! The last attempts to call a receiver, so that they can be looked at after a restart.

use super::disk::{Disk, Os, Unsynced};
use super::entry::{self, Entry, Head, MAX_TEXT, Reader};
use super::log::{Limits, Log};
use super::recover::Recovered;
use super::{Error, Result};
use crate::deliveries::{Delivery, KEPT, OK};
use crate::event::EventName;
use crate::failure::Class;
use std::collections::VecDeque;
use std::path::Path;

/// Most bytes of them. Beyond it the oldest go, so many at once as stand in a file.
pub const DELIVERY_LIMITS: Limits = Limits {
    max_bytes: 1024 * 1024,
    segment_bytes: 64 * 1024,
};

/// Attempts of one endpoint, in the order in which they ended. They survive the process; nobody waits until they are on the medium.
pub struct DeliveryLog {
    log: Log<Stored>,
}

impl DeliveryLog {
    /// Opens those in a folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// As [`Log::open`].
    pub fn open(dir: &Path) -> Result<(Self, Recovered)> {
        Self::open_with(dir, Box::new(Unsynced(Os)))
    }

    pub(super) fn open_with(dir: &Path, disk: Box<dyn Disk>) -> Result<(Self, Recovered)> {
        let (log, recovered) = Log::open_with(dir, DELIVERY_LIMITS, disk)?;
        Ok((Self { log }, recovered))
    }

    /// Adds one; the oldest give way. Long texts are cut at [`MAX_TEXT`] bytes.
    ///
    /// # Errors
    ///
    /// It is not stored: out of bounds, or the disk refused.
    pub fn push(&mut self, mut delivery: Delivery) -> Result<()> {
        for text in [&mut delivery.detail, &mut delivery.answer] {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        let position = self.log.last_seq().saturating_add(1);
        let stored = Stored { position, delivery };
        // That the oldest go is what it is for.
        self.log.append(&stored, &mut Vec::new())
    }

    /// The last [`KEPT`], the oldest first. Those that this version does not understand are left out.
    ///
    /// # Errors
    ///
    /// A file could not be read.
    pub fn last(&mut self) -> Result<Vec<Delivery>> {
        let mut last = VecDeque::new();
        let mut after = 0;
        loop {
            let read = self.log.read_open(after, KEPT, usize::MAX)?;
            let Some(newest) = read.last() else { break };
            after = newest.position;
            last.extend(read.into_iter().map(|stored| stored.delivery));
            last.drain(..last.len().saturating_sub(KEPT));
        }
        Ok(last.into())
    }
}

/// An attempt at its place.
struct Stored {
    position: u64,
    delivery: Delivery,
}

/// Flags of a record.
const REPLAY: u16 = 1;
const REUSED: u16 = 2;

/// A time that there is none of.
const NONE: u64 = u64::MAX;

impl Entry for Stored {
    const KIND: u8 = 4;

    fn seq(&self) -> u64 {
        self.position
    }

    fn created_unix_ms(&self) -> u64 {
        self.delivery.started_unix_ms
    }

    /// The oldest goes, whatever it is.
    fn dear(&self) -> bool {
        false
    }

    fn name(&self) -> &str {
        self.delivery.event.as_str()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.delivery.bytes()
    }

    fn check(&self) -> Result<(), Error> {
        entry::check("webhook-id", self.delivery.id.len(), MAX_TEXT)?;
        entry::check("the stream", self.delivery.stream.len(), MAX_TEXT)?;
        entry::check("the detail", self.delivery.detail.len(), MAX_TEXT)?;
        entry::check("the answer", self.delivery.answer.len(), MAX_TEXT)
    }

    fn put(&self, buf: &mut Vec<u8>) {
        let delivery = &self.delivery;
        let flag = |set, bit| if set { bit } else { 0 };
        let flags = flag(delivery.replay, REPLAY) | flag(delivery.reused, REUSED);
        buf.extend_from_slice(&flags.to_le_bytes());
        buf.extend_from_slice(&delivery.status.to_le_bytes());
        buf.extend_from_slice(&delivery.attempt.to_le_bytes());
        let times = [
            delivery.queued_ms,
            delivery.took_ms,
            delivery.connect_ms.unwrap_or(NONE),
            delivery.tls_ms.unwrap_or(NONE),
            delivery.first_byte_ms.unwrap_or(NONE),
        ];
        for time in times {
            buf.extend_from_slice(&time.to_le_bytes());
        }
        for text in [
            &delivery.id,
            delivery.event.as_str(),
            &delivery.stream,
            delivery.result,
            &delivery.detail,
            &delivery.answer,
        ] {
            entry::put_text(buf, text);
        }
    }

    fn get(head: Head, rest: &mut Reader<'_>) -> Option<Self> {
        let (flags, status, attempt) = (rest.u16()?, rest.u16()?, rest.u32()?);
        let mut time = || rest.u64();
        let (queued_ms, took_ms) = (time()?, time()?);
        let mut maybe = || Some(time()?).map(|time| Some(time).filter(|time| *time != NONE));
        let (connect_ms, tls_ms, first_byte_ms) = (maybe()?, maybe()?, maybe()?);
        Some(Self {
            position: head.seq,
            delivery: Delivery {
                id: rest.text()?,
                event: EventName::parse(&rest.text()?)?,
                stream: rest.text()?,
                result: match rest.text()? {
                    text if text == OK => OK,
                    text => Class::parse(&text)?.name(),
                },
                detail: rest.text()?,
                answer: rest.text()?,
                attempt,
                replay: flags & REPLAY != 0,
                started_unix_ms: head.created_unix_ms,
                queued_ms,
                connect_ms,
                tls_ms,
                first_byte_ms,
                took_ms,
                reused: flags & REUSED != 0,
                status,
            },
        })
    }
}
