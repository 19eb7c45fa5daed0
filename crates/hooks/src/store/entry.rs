//! What is in the records.

use super::{Error, Result};
use bytes::Bytes;

/// Longest body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Longest text, in bytes.
pub const MAX_TEXT: usize = 8 * 1024;

/// A flag of [`Head`].
const DEAR: u8 = 1;

/// Something a log keeps. Its payload begins with a `Head`.
pub trait Entry: Sized + Send {
    /// The kind of its records. `frame::DONE` is taken.
    #[doc(hidden)]
    const KIND: u8;

    /// Its number in the log: above 0, and higher than those before it.
    fn seq(&self) -> u64;

    /// When it came to be, in Unix milliseconds.
    fn created_unix_ms(&self) -> u64;

    /// Others are dropped before it when there is no room.
    fn dear(&self) -> bool;

    /// What is told of it when it is dropped: the name of the event.
    fn name(&self) -> &str;

    /// Bytes that it occupies, about.
    fn size(&self) -> usize;

    /// Whether it is within the bounds of the format.
    fn check(&self) -> Result<()>;

    /// Writes what follows the head.
    #[doc(hidden)]
    fn put(&self, buf: &mut Vec<u8>);

    /// Reads what follows the head.
    #[doc(hidden)]
    fn get(head: Head, rest: &mut Reader<'_>) -> Option<Self>;
}

/// An event that waits to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the log: above 0, and higher than those before it.
    pub seq: u64,
    /// When it happened, in Unix milliseconds.
    pub created_unix_ms: u64,
    /// When it is of no use any more, in Unix milliseconds. Not looked at here.
    pub expires_unix_ms: u64,
    /// It tells of a recording (`on_record_*`): dropped for room only when nothing else is left.
    pub record: bool,
    /// `webhook-id`, the same on every attempt.
    pub id: String,
    /// The event's name, as in `on_stream_changed`.
    pub event: String,
    /// What shares an order with it; opaque here.
    pub lane: String,
    /// `X-VHOST`, or empty.
    pub vhost: String,
    /// The trace id of `traceparent`.
    pub trace: u128,
    /// The body, without the members that belong to an attempt. At most [`MAX_BODY`].
    pub body: Bytes,
}

impl Entry for Event {
    const KIND: u8 = 2;

    fn seq(&self) -> u64 {
        self.seq
    }

    fn created_unix_ms(&self) -> u64 {
        self.created_unix_ms
    }

    fn dear(&self) -> bool {
        self.record
    }

    fn name(&self) -> &str {
        &self.event
    }

    fn size(&self) -> usize {
        let texts = self.id.len() + self.event.len() + self.lane.len() + self.vhost.len();
        size_of::<Self>() + texts + self.body.len()
    }

    fn check(&self) -> Result<()> {
        check("webhook-id", self.id.len(), MAX_TEXT)?;
        check("the event's name", self.event.len(), MAX_TEXT)?;
        check("the lane", self.lane.len(), MAX_TEXT)?;
        check("the virtual host", self.vhost.len(), MAX_TEXT)?;
        check("the body", self.body.len(), MAX_BODY)
    }

    fn put(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(&self.expires_unix_ms.to_le_bytes());
        buf.extend_from_slice(&self.trace.to_le_bytes());
        for text in [&self.id, &self.event, &self.lane, &self.vhost] {
            put_text(buf, text);
        }
        let len = u32::try_from(self.body.len()).expect("checked");
        buf.extend_from_slice(&len.to_le_bytes());
        buf.extend_from_slice(&self.body);
    }

    fn get(head: Head, rest: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            seq: head.seq,
            created_unix_ms: head.created_unix_ms,
            record: head.dear(),
            expires_unix_ms: rest.u64()?,
            trace: rest.u128()?,
            id: rest.text()?,
            event: rest.text()?,
            lane: rest.text()?,
            vhost: rest.text()?,
            body: rest.body()?,
        })
    }
}

/// What every entry's payload begins with, so that a log can be opened without understanding the rest.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub(super) seq: u64,
    pub(super) created_unix_ms: u64,
    flags: u8,
}

impl Head {
    pub(super) const fn dear(self) -> bool {
        self.flags & DEAR != 0
    }

    pub(super) fn read(payload: &[u8]) -> Option<(Self, Reader<'_>)> {
        let mut reader = Reader(payload);
        let head = Self {
            seq: reader.u64()?,
            created_unix_ms: reader.u64()?,
            flags: reader.take(1)?[0],
        };
        Some((head, reader))
    }
}

/// Writes an entry's payload.
pub(super) fn encode(entry: &impl Entry, buf: &mut Vec<u8>) {
    buf.extend_from_slice(&entry.seq().to_le_bytes());
    buf.extend_from_slice(&entry.created_unix_ms().to_le_bytes());
    buf.push(if entry.dear() { DEAR } else { 0 });
    entry.put(buf);
}

/// Reads an entry's payload; `None` if it is none, although its checksum is right.
pub(super) fn decode<E: Entry>(payload: &[u8]) -> Option<E> {
    let (head, mut rest) = Head::read(payload)?;
    E::get(head, &mut rest).filter(|_| rest.0.is_empty())
}

pub(super) fn check(field: &'static str, got: usize, max: usize) -> Result<()> {
    if got > max {
        return Err(Error::TooLong { field, got, max });
    }
    Ok(())
}

pub(super) fn put_text(buf: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("checked");
    buf.extend_from_slice(&len.to_le_bytes());
    buf.extend_from_slice(text.as_bytes());
}

/// What is left of a payload.
#[doc(hidden)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let len = usize::from(self.u16()?);
        let bytes = self.take(len)?;
        str::from_utf8(bytes).ok().map(str::to_owned)
    }

    fn body(&mut self) -> Option<Bytes> {
        let len = self.u32()? as usize;
        self.take(len).map(Bytes::copy_from_slice)
    }
}
