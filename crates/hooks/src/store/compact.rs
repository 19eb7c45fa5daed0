//! Keeping to the limit: segments are written anew without what is not needed.

use super::entry::{self, Entry, Head};
use super::frame::{self, DONE, FILE_HEAD, Scanner};
use super::log::{Dropped, Log, Segment, segment_path};
use super::{Error, Result};
use std::fs::File;
use std::path::Path;

/// Bytes written at once.
const CHUNK: usize = 256 * 1024;

/// A segment is written anew without loss when at most one in so many of its events is open and it stands behind others that are.
const TIDY_SHARE: u64 = 4;

/// More than what is on disk when no event is: two heads and a mark.
const LEAST: u64 = 64;

/// What stays when a segment is written anew.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Whatever is not done.
    Open,
    /// What is not done and dear.
    Dear,
    /// Nothing.
    Nothing,
}

impl<E: Entry> Log<E> {
    /// Sees to it that so many bytes more are within the limit, for the event of this number.
    pub(super) fn make_room(&mut self, seq: u64, need: u64, dropped: &mut Vec<Dropped>) -> Result<()> {
        let max = self.limits.max_bytes;
        if need + LEAST > max {
            return Err(Error::NoRoom { got: need, max });
        }
        // It may need a new segment.
        let need = need + FILE_HEAD;
        // Each round but the last takes an event from the files, or begins a segment so that the next round can.
        while self.bytes + need > max {
            self.prune()?;
            if self.bytes + need <= max {
                break;
            }
            let last = self.segments.len().saturating_sub(1);
            let sealed = || self.segments.range(..last);
            // First what costs no event and pays; then the events that are not dear, oldest first.
            let half_done =
                sealed().position(|segment| segment.present > 0 && segment.open * 2 <= segment.present);
            let has_spare = |segment: &Segment| segment.open_dear < segment.present;
            let spare = sealed().position(has_spare);
            let active = self.segments.back();
            if let Some(index) = half_done {
                self.rewrite(index, Keep::Open, dropped)?;
            } else if let Some(index) = spare {
                self.rewrite(index, Keep::Dear, dropped)?;
            } else if active.is_some_and(|active| has_spare(active) || last == 0 && active.present > 0) {
                self.roll(seq)?;
            } else if last > 0 {
                self.rewrite(0, Keep::Nothing, dropped)?;
            } else {
                // Only marks are left, of events that are gone.
                self.rewrite_active()?;
                break;
            }
        }
        Ok(())
    }

    /// One event that is tried for hours would keep everything behind it on disk: at each new segment, the oldest one that is
    /// mostly done is written anew. So at most one byte is copied for every four written.
    pub(super) fn tidy(&mut self) {
        let last = self.segments.len().saturating_sub(1);
        let mostly_done =
            |segment: &Segment| segment.present > 0 && segment.open * TIDY_SHARE <= segment.present;
        if let Some(index) = self.segments.range(..last).position(mostly_done) {
            // It is a saving, not a duty: if the disk refuses, all stays as it is.
            let _ = self.rewrite(index, Keep::Open, &mut Vec::new());
        }
    }

    /// Writes the active segment anew, durably.
    pub(super) fn rewrite_active(&mut self) -> Result<()> {
        match self.segments.len().checked_sub(1) {
            Some(last) => self.rewrite(last, Keep::Open, &mut Vec::new()),
            None => Ok(()),
        }
    }

    /// Writes a segment anew with what is to be kept, in place of the old one. Open events that do not stay are added to `dropped`.
    /// A segment that nothing is left of is deleted, but the last one stays.
    ///
    /// Marks stay if the event is in an older segment. In its own segment the event itself goes.
    pub(super) fn rewrite(&mut self, index: usize, keep: Keep, dropped: &mut Vec<Dropped>) -> Result<()> {
        self.clear_leftover()?;
        let path = self.path_of(index);
        let range = self.range_of(index);
        let is_active = index + 1 == self.segments.len();
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let mut scanner = Scanner::new(file, self.segments[index].len);
        let new_path = path.with_extension("tmp");
        let mut copy = Copy::new(&new_path);
        let mut kept: Vec<u64> = Vec::new();
        let mut gone: Vec<Dropped> = Vec::new();
        let copied = (|| {
            while let Some(record) = scanner.next().map_err(Error::io("read", &path))? {
                if record.kind == DONE {
                    let stays = |seq: &u64| {
                        *seq < range.start && self.seqs.is_present(*seq) && !self.seqs.is_open(*seq)
                    };
                    if let Some(seq) = frame::done_seq(record.payload).filter(stays) {
                        frame::put_done(copy.room(self)?, seq);
                    }
                    continue;
                }
                let Some((head, _)) = Head::read(record.payload).filter(|_| record.kind == E::KIND) else {
                    continue;
                };
                let known = range.contains(&head.seq) && self.seqs.is_open(head.seq);
                // A number may stand twice only in a file that was not written here.
                if !known || kept.last().is_some_and(|last| *last >= head.seq) {
                    continue;
                }
                if keep == Keep::Open || keep == Keep::Dear && self.seqs.is_dear(head.seq) {
                    frame::put(copy.room(self)?, E::KIND, |buf| {
                        buf.extend_from_slice(record.payload)
                    });
                    kept.push(head.seq);
                } else if gone.last().is_none_or(|last| last.seq < head.seq) {
                    let entry = entry::decode::<E>(record.payload);
                    gone.push(Dropped {
                        seq: head.seq,
                        event: entry.map(|entry| entry.name().to_owned()).unwrap_or_default(),
                    });
                }
            }
            if is_active && self.last_seq > 0 && !self.seqs.is_open(self.last_seq) {
                // The highest number is to be known after a restart, too.
                frame::put_done(copy.room(self)?, self.last_seq);
            }
            if is_active || !copy.is_empty() {
                copy.finish(self, &path)?;
            }
            Ok(())
        })();
        if let Err(error) = copied {
            if copy.begun() && self.disk.remove(&new_path).is_err() {
                self.leftover = Some(new_path);
            }
            return Err(error);
        }
        let (file, len) = (copy.file, copy.len);
        if let Some(file) = file {
            self.take_over(index, len, &kept, &gone);
            if is_active {
                self.active = Some(file);
                self.unsynced = false;
                self.suspect = false;
                self.dirty_tail = false;
            }
        } else {
            let seen = gone.len() as u64;
            let open = self.segments[index].open;
            self.remove_segment(index)?;
            self.unreadable += open - seen;
        }
        dropped.append(&mut gone);
        Ok(())
    }

    /// With nothing open: cuts the last segment down to the highest number, which needs no room on disk. False if there is nothing to
    /// be cut off.
    ///
    /// If the process ends in the middle of it, events may come again and damage may be reported, but no number is given twice.
    pub(super) fn empty_in_place(&mut self) -> Result<bool> {
        self.prune()?;
        self.clear_leftover()?;
        let mut record = Vec::with_capacity(32);
        frame::put_done(&mut record, self.last_seq);
        let len = FILE_HEAD + record.len() as u64;
        let (Some(file), Some(segment)) = (&self.active, self.segments.back_mut()) else {
            return Ok(false);
        };
        if self.open > 0 || segment.len <= len {
            self.emptying = false;
            return Ok(false);
        }
        let path = segment_path(&self.dir, segment.first);
        self.emptying = true;
        let written = self.disk.write_at(file, &record, FILE_HEAD);
        written.map_err(Error::io("write", &path))?;
        let cut = self.disk.set_len(file, len);
        cut.map_err(Error::io("cut", &path))?;
        self.rewrites += 1;
        self.bytes = self.bytes - segment.len + len;
        *segment = Segment {
            rewritten: self.rewrites,
            len,
            ..Segment::new(segment.first)
        };
        self.seqs.forget(segment.first..u64::MAX);
        self.unwritten.clear();
        self.writes += 1;
        self.unsynced = true;
        // All that is left was just written.
        (self.suspect, self.dirty_tail, self.emptying) = (false, false, false);
        Ok(true)
    }

    /// The file of a segment now holds exactly these events, all open; those dropped are gone, any other open one was not found.
    fn take_over(&mut self, index: usize, len: u64, kept: &[u64], gone: &[Dropped]) {
        let range = self.range_of(index);
        for dropped in gone {
            self.close(dropped.seq);
        }
        let mut from = range.start;
        for &seq in kept {
            self.lose(from..seq);
            self.seqs.forget(from..seq);
            from = seq + 1;
        }
        self.lose(from..range.end);
        self.seqs.forget(from..range.end);
        self.rewrites += 1;
        self.dir_unsynced = true;
        let (present, open, open_dear) = self.seqs.count(range);
        let segment = &mut self.segments[index];
        self.bytes = self.bytes - segment.len + len;
        segment.len = len;
        segment.rewritten = self.rewrites;
        (segment.present, segment.open, segment.open_dear) = (present, open, open_dear);
    }
}

/// The new file of a segment, which exists only once there is something to write: a full disk is no obstacle to dropping all.
struct Copy<'a> {
    path: &'a Path,
    file: Option<File>,
    buf: Vec<u8>,
    /// Bytes of the file.
    len: u64,
}

impl<'a> Copy<'a> {
    const fn new(path: &'a Path) -> Self {
        Self {
            path,
            file: None,
            buf: Vec::new(),
            len: 0,
        }
    }

    const fn begun(&self) -> bool {
        self.file.is_some()
    }

    const fn is_empty(&self) -> bool {
        self.buf.is_empty() && self.file.is_none()
    }

    /// Where the next record goes.
    fn room<E: Entry>(&mut self, log: &Log<E>) -> Result<&mut Vec<u8>> {
        if self.is_empty() {
            self.buf.extend_from_slice(&frame::file_head());
        }
        if self.buf.len() >= CHUNK {
            self.flush(log)?;
        }
        Ok(&mut self.buf)
    }

    fn flush<E: Entry>(&mut self, log: &Log<E>) -> Result<()> {
        if self.file.is_none() {
            let created = log.disk.create(self.path);
            self.file = Some(created.map_err(Error::io("create", self.path))?);
        }
        let file = self.file.as_ref().expect("just created");
        let written = log.disk.write_at(file, &self.buf, self.len);
        written.map_err(Error::io("write", self.path))?;
        self.len += self.buf.len() as u64;
        self.buf.clear();
        Ok(())
    }

    /// Puts it in the place of the old one.
    fn finish<E: Entry>(&mut self, log: &Log<E>, path: &Path) -> Result<()> {
        if self.is_empty() {
            self.buf.extend_from_slice(&frame::file_head());
        }
        self.flush(log)?;
        let file = self.file.as_ref().expect("flushed");
        log.disk.sync(file).map_err(Error::io("sync", self.path))?;
        log.disk
            .rename(self.path, path)
            .map_err(Error::io("replace", path))
    }
}
