//! Reading in order, from the files.

use super::entry::{self, Entry, Head};
use super::frame::{FILE_HEAD, Scanner};
use super::log::{Log, segment_path};
use super::{Error, Result};
use std::fs::File;
use std::ops::Range;

/// A place in the log, kept so that going on is cheap.
pub(super) struct Cursor<E> {
    /// The segment.
    first: u64,
    /// Which writing of it.
    rewritten: u64,
    scanner: Scanner,
    /// All events below it were passed.
    next: u64,
    /// Read, but not asked for yet.
    ahead: Option<E>,
}

/// Which of the log's cursors.
#[derive(Clone, Copy)]
enum Place {
    Reader,
    Oldest,
}

impl<E: Entry> Log<E> {
    /// The next events that are not done and have a number above `after`, in order: at most `max_events`, and as many as fit
    /// into about `max_bytes`, but one at least. Cheap where the last call stopped; anywhere else up to one segment is read first.
    ///
    /// Events that cannot be read back are passed over and counted ([`super::Usage::unreadable`]).
    ///
    /// # Errors
    ///
    /// A file could not be read.
    pub fn read_open(&mut self, after: u64, max_events: usize, max_bytes: usize) -> Result<Vec<E>> {
        let mut events = Vec::new();
        let (mut from, mut bytes) = (after.saturating_add(1), 0);
        while events.len() < max_events {
            let Some(event) = self.read_from(Place::Reader, from)? else {
                break;
            };
            bytes += event.size();
            if bytes > max_bytes && !events.is_empty() {
                if let Some(reader) = &mut self.reader {
                    reader.ahead = Some(event);
                }
                break;
            }
            from = event.seq() + 1;
            events.push(event);
        }
        Ok(events)
    }

    /// When the oldest event that is not done came to be, in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// A file could not be read.
    pub fn oldest_open_unix_ms(&mut self) -> Result<Option<u64>> {
        let oldest = self.seqs.next_open(0..u64::MAX);
        if self.oldest_known.map(|(seq, _)| seq) != oldest {
            let event = self.read_from(Place::Oldest, 0)?;
            self.oldest_known = event.map(|event| (event.seq(), event.created_unix_ms()));
        }
        Ok(self.oldest_known.map(|(_, time)| time))
    }

    /// Gives up the open events of one file from the next one behind `after` on, and returns how many. They are counted as
    /// unreadable. For a caller whose [`Self::read_open`] keeps failing there: a bad sector must not stop what is behind it.
    pub fn give_up_file(&mut self, after: u64) -> u64 {
        let Some(seq) = self.seqs.next_open(after.saturating_add(1)..u64::MAX) else {
            return 0;
        };
        let index = self.segment_of(seq).expect("open events are in a segment");
        let before = self.unreadable;
        self.lose(seq..self.range_of(index).end);
        self.unreadable - before
    }

    /// The first open event from this number on.
    fn read_from(&mut self, place: Place, from: u64) -> Result<Option<E>> {
        while let Some(seq) = self.seqs.next_open(from..u64::MAX) {
            let mut cursor = self.cursor(place, seq)?;
            if let Some(event) = cursor.ahead.take().filter(|event| event.seq() == seq) {
                *self.slot(place) = Some(cursor);
                return Ok(Some(event));
            }
            let (found, end) = self.look_for(&mut cursor, seq)?;
            self.lose(seq..end);
            *self.slot(place) = Some(cursor);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads on until an open event from `seq` on, or to the end of the segment. The open events from `seq` to the number
    /// returned with it are not there.
    fn look_for(&self, cursor: &mut Cursor<E>, seq: u64) -> Result<(Option<E>, u64)> {
        let index = self.segment_of(seq).expect("open events are in a segment");
        let range = self.range_of(index);
        loop {
            let read = cursor.scanner.next();
            let record =
                read.map_err(|error| Error::io("read", &segment_path(&self.dir, cursor.first))(error))?;
            let Some(record) = record else {
                cursor.next = range.end;
                return Ok((None, range.end));
            };
            let Some((head, _)) = Head::read(record.payload).filter(|_| record.kind == E::KIND) else {
                continue;
            };
            if head.seq < seq || !range.contains(&head.seq) || !self.seqs.is_open(head.seq) {
                continue;
            }
            cursor.next = head.seq + 1;
            let event = entry::decode::<E>(record.payload);
            let end = head.seq + u64::from(event.is_none());
            return Ok((event, end));
        }
    }

    /// The cursor, at a place in front of this open event.
    fn cursor(&mut self, place: Place, seq: u64) -> Result<Cursor<E>> {
        let index = self.segment_of(seq).expect("open events are in a segment");
        let segment = &self.segments[index];
        let (first, rewritten, len) = (segment.first, segment.rewritten, segment.len);
        let kept = self.slot(place).take().filter(|cursor| {
            let same = cursor.first == first && cursor.rewritten == rewritten;
            let ahead = cursor.ahead.as_ref().is_some_and(|event| event.seq() == seq);
            same && (cursor.next <= seq || ahead)
        });
        if let Some(mut cursor) = kept {
            cursor.scanner.extend(len);
            return Ok(cursor);
        }
        let path = self.path_of(index);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        Ok(Cursor {
            first,
            rewritten,
            scanner: Scanner::new(file, len.max(FILE_HEAD)),
            next: first,
            ahead: None,
        })
    }

    const fn slot(&mut self, place: Place) -> &mut Option<Cursor<E>> {
        match place {
            Place::Reader => &mut self.reader,
            Place::Oldest => &mut self.oldest,
        }
    }

    /// The open events of a range could not be read back.
    pub(super) fn lose(&mut self, range: Range<u64>) {
        while let Some(seq) = self.seqs.next_open(range.clone()) {
            self.close(seq);
            self.unreadable += 1;
        }
    }
}
