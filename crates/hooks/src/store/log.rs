//! A queue that is a folder of files.

use super::disk::Disk;
use super::entry::{self, Entry, Event};
use super::frame::{self, FILE_HEAD};
use super::read::Cursor;
use super::seqs::Seqs;
use super::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much a log may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk, temporary files aside. Marks of what is done may go a little beyond.
    pub max_bytes: u64,
    /// A segment that has reached this is not written to any more. What goes for want of room goes by the segment, so this is
    /// to be a small part of `max_bytes`.
    pub segment_bytes: u64,
}

impl Limits {
    /// Segments of 8 MiB, or of a sixteenth where that is less.
    pub const fn new(max_bytes: u64) -> Self {
        const SEGMENT: u64 = 8 * 1024 * 1024;
        let part = max_bytes / 16;
        Self {
            max_bytes,
            segment_bytes: if part < SEGMENT { part } else { SEGMENT },
        }
    }
}

/// 1 GiB.
impl Default for Limits {
    fn default() -> Self {
        Self::new(1024 * 1024 * 1024)
    }
}

/// An event that was dropped because the log was full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its number.
    pub seq: u64,
    /// Its name, as in `on_stream_changed`.
    pub event: String,
}

/// What a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub bytes: u64,
    /// Events that are not done.
    pub open: u64,
    /// Files.
    pub segments: usize,
    /// Open events that could not be read back since the log was opened, because their bytes on disk had changed. They are lost.
    pub unreadable: u64,
}

/// An append-only log of events in one folder.
///
/// After an error the log is as it was before the call, apart from what the call says, and can be used on.
pub struct Log<E: Entry = Event> {
    pub(super) dir: PathBuf,
    pub(super) disk: Box<dyn Disk>,
    pub(super) limits: Limits,
    /// Held locked.
    pub(super) _lock: File,
    /// In the order of their first numbers. The last one is written to.
    pub(super) segments: VecDeque<Segment>,
    /// The last segment's file; `None` if there is no segment.
    pub(super) active: Option<File>,
    pub(super) seqs: Seqs,
    /// The highest number that was ever stored.
    pub(super) last_seq: u64,
    pub(super) bytes: u64,
    pub(super) open: u64,
    pub(super) unreadable: u64,
    /// The active file may be longer than its segment: a write failed, and so did the cut after it.
    pub(super) dirty_tail: bool,
    /// Counts records that were written.
    pub(super) writes: u64,
    /// The active file has bytes that may not be on the medium.
    pub(super) unsynced: bool,
    /// A sync of the active file failed, so what was written before is not safe: the kernel takes failed pages for clean, so
    /// another sync would succeed without writing them.
    pub(super) suspect: bool,
    /// The folder has names that may not be on the medium.
    pub(super) dir_unsynced: bool,
    /// A file of a failed call that has to go before anything else is written.
    pub(super) leftover: Option<PathBuf>,
    /// Done in memory, not yet on disk. At most the events that are on disk.
    pub(super) unwritten: Vec<u64>,
    /// [`Self::empty_in_place`] was begun and has to be ended before anything else is written.
    pub(super) emptying: bool,
    /// Counts rewritten segments, to notice that a cursor's file is not the one of that name any more.
    pub(super) rewrites: u64,
    pub(super) reader: Option<Cursor<E>>,
    pub(super) oldest: Option<Cursor<E>>,
    /// The oldest open event and its time.
    pub(super) oldest_known: Option<(u64, u64)>,
    buf: Vec<u8>,
}

/// A sync that was begun.
#[derive(Debug)]
pub struct Syncing {
    file: File,
    path: PathBuf,
    first: u64,
    rewritten: u64,
    writes: u64,
}

/// A sync that has ended.
#[derive(Debug)]
pub struct Synced {
    of: Syncing,
    result: std::io::Result<()>,
}

impl Syncing {
    /// Waits until what had been written when it began is on the medium. Blocks.
    pub fn run(self) -> Synced {
        let result = self.file.sync_data();
        Synced { of: self, result }
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    /// The lowest number it may hold; its name.
    pub first: u64,
    /// Bytes of the file that count.
    pub len: u64,
    /// Which writing of that file this is.
    pub rewritten: u64,
    /// Events in it.
    pub present: u64,
    /// Those that are not done.
    pub open: u64,
    /// Those of them that are dear.
    pub open_dear: u64,
}

impl Segment {
    pub const fn new(first: u64) -> Self {
        Self {
            first,
            len: FILE_HEAD,
            rewritten: 0,
            present: 0,
            open: 0,
            open_dear: 0,
        }
    }
}

impl<E: Entry> Log<E> {
    pub(super) fn empty(dir: &Path, disk: Box<dyn Disk>, limits: Limits, lock: File) -> Self {
        Self {
            dir: dir.to_owned(),
            disk,
            limits,
            _lock: lock,
            segments: VecDeque::new(),
            active: None,
            seqs: Seqs::default(),
            last_seq: 0,
            bytes: 0,
            open: 0,
            unreadable: 0,
            dirty_tail: false,
            writes: 0,
            unsynced: false,
            suspect: false,
            dir_unsynced: false,
            leftover: None,
            unwritten: Vec::new(),
            emptying: false,
            rewrites: 0,
            reader: None,
            oldest: None,
            oldest_known: None,
            buf: Vec::new(),
        }
    }

    /// Appends an event. It survives the end of the process at once, that of the machine after [`Self::sync`].
    ///
    /// Where there is no room, older events give way and are added to `dropped`, even if the call fails afterwards: those of the
    /// oldest segment that are not dear; only if all that is left is dear, the oldest segment as a whole.
    ///
    /// # Errors
    ///
    /// The event is not stored: it is out of order or out of bounds, or the disk refused.
    pub fn append(&mut self, entry: &E, dropped: &mut Vec<Dropped>) -> Result<()> {
        let seq = entry.seq();
        if seq <= self.last_seq || seq == u64::MAX {
            return Err(Error::Order {
                got: seq,
                last: self.last_seq,
            });
        }
        entry.check()?;
        self.write_unwritten()?;
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        frame::put(&mut buf, E::KIND, |buf| entry::encode(entry, buf));
        let result = self.append_record(seq, &buf, dropped);
        // Large events are rare; one of them is not to hold its memory for ever.
        buf.shrink_to(64 * 1024);
        self.buf = buf;
        result?;
        self.last_seq = seq;
        self.seqs.insert(seq, entry.dear());
        self.open += 1;
        let segment = self.segments.back_mut().expect("just written to");
        segment.present += 1;
        segment.open += 1;
        segment.open_dear += u64::from(entry.dear());
        Ok(())
    }

    fn append_record(&mut self, seq: u64, record: &[u8], dropped: &mut Vec<Dropped>) -> Result<()> {
        let need = record.len() as u64;
        self.make_room(seq, need, dropped)?;
        let full = |segment: &Segment| segment.len + need > self.limits.segment_bytes && segment.first < seq;
        if self.segments.back().is_none_or(full) {
            self.roll(seq)?;
        }
        self.write(record)
    }

    /// Marks an event as done: it does not come back. Nothing happens if it was done already or is not there.
    ///
    /// # Errors
    ///
    /// The disk refused. The event is done for this process, and the mark is written by a later call that succeeds.
    pub fn done(&mut self, seq: u64) -> Result<()> {
        if !self.close(seq) {
            return Ok(());
        }
        self.unwritten.push(seq);
        // A segment that goes takes its marks with it.
        let pruned = self.prune();
        self.write_unwritten()?;
        pruned
    }

    /// Waits until what was written is on the medium.
    ///
    /// # Errors
    ///
    /// Not all of it is, or not for certain; call again.
    pub fn sync(&mut self) -> Result<()> {
        self.write_unwritten()?;
        if self.suspect {
            self.rewrite_active()?;
        }
        self.sync_active()?;
        if self.dir_unsynced {
            let synced = self.disk.sync_dir(&self.dir);
            synced.map_err(Error::io("sync", &self.dir))?;
            self.dir_unsynced = false;
        }
        Ok(())
    }

    /// As [`Self::sync`], but the waiting can be done elsewhere, while the log is written to: run what is returned on another
    /// thread and give the outcome to [`Self::end_sync`]. `None` if there is nothing left to wait for.
    ///
    /// # Errors
    ///
    /// As [`Self::sync`].
    pub fn begin_sync(&mut self) -> Result<Option<Syncing>> {
        if self.suspect || self.dir_unsynced {
            // Rare: after trouble, and when a segment begins.
            self.sync()?;
            return Ok(None);
        }
        self.write_unwritten()?;
        let (Some(file), Some(segment)) = (&self.active, self.segments.back()) else {
            return Ok(None);
        };
        if !self.unsynced {
            return Ok(None);
        }
        let path = segment_path(&self.dir, segment.first);
        let file = file.try_clone().map_err(Error::io("sync", &path))?;
        Ok(Some(Syncing {
            file,
            path,
            first: segment.first,
            rewritten: segment.rewritten,
            writes: self.writes,
        }))
    }

    /// What came of a sync that was begun.
    ///
    /// # Errors
    ///
    /// What was written before it may not be on the medium.
    pub fn end_sync(&mut self, synced: Synced) -> Result<()> {
        let Synced { of, result } = synced;
        let segment = self.segments.back();
        let still = segment.is_some_and(|last| last.first == of.first && last.rewritten == of.rewritten);
        match result {
            Ok(()) => {
                if still && self.writes == of.writes {
                    self.unsynced = false;
                }
                Ok(())
            }
            Err(error) => {
                self.suspect |= still;
                Err(Error::io("sync", &of.path)(error))
            }
        }
    }

    /// Whether [`Self::sync`] has anything to do.
    pub fn needs_sync(&self) -> bool {
        self.unsynced || self.suspect || self.dir_unsynced || !self.unwritten.is_empty()
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.bytes,
            open: self.open,
            segments: self.segments.len(),
            unreadable: self.unreadable,
        }
    }

    /// The highest number that was ever stored, 0 if none was. The next event needs a higher one.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The segment that this event would be in.
    pub(super) fn segment_of(&self, seq: u64) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.first <= seq)
            .checked_sub(1)
    }

    /// The numbers that a segment may hold.
    pub(super) fn range_of(&self, index: usize) -> Range<u64> {
        let end = self.segments.get(index + 1).map_or(u64::MAX, |next| next.first);
        self.segments[index].first..end
    }

    pub(super) fn path_of(&self, index: usize) -> PathBuf {
        segment_path(&self.dir, self.segments[index].first)
    }

    /// Marks an event as done in memory. False if it was not open.
    pub(super) fn close(&mut self, seq: u64) -> bool {
        if !self.seqs.close(seq) {
            return false;
        }
        self.open -= 1;
        let index = self.segment_of(seq).expect("open events are in a segment");
        let segment = &mut self.segments[index];
        segment.open -= 1;
        segment.open_dear -= u64::from(self.seqs.is_dear(seq));
        true
    }

    /// Deletes the segments at the front that have nothing open, apart from the last one: that one tells the highest number.
    pub(super) fn prune(&mut self) -> Result<()> {
        while self.segments.len() > 1 && self.segments[0].open == 0 {
            self.remove_segment(0)?;
        }
        Ok(())
    }

    /// Deletes a segment other than the last.
    pub(super) fn remove_segment(&mut self, index: usize) -> Result<()> {
        let path = self.path_of(index);
        let removed = self.disk.remove(&path);
        removed.map_err(Error::io("delete", &path))?;
        self.dir_unsynced = true;
        self.seqs.forget(self.range_of(index));
        let gone = self.segments.remove(index).expect("it was just named");
        self.bytes -= gone.len;
        self.open -= gone.open;
        Ok(())
    }

    /// Begins a new segment; the one before will not change any more but by being rewritten.
    pub(super) fn roll(&mut self, first: u64) -> Result<()> {
        self.clear_leftover()?;
        self.cut_tail()?;
        if self.suspect {
            self.rewrite_active()?;
        }
        self.sync_active()?;
        let path = segment_path(&self.dir, first);
        let created = self.disk.create(&path).and_then(|file| {
            self.disk.write_at(&file, &frame::file_head(), 0)?;
            Ok(file)
        });
        let file = match created {
            Ok(file) => file,
            Err(error) => {
                // In the way of later segments, if it is there.
                self.leftover = Some(path.clone());
                let _ = self.clear_leftover();
                return Err(Error::io("begin", &path)(error));
            }
        };
        self.active = Some(file);
        self.segments.push_back(Segment::new(first));
        // Even if nothing comes to stand there: the segment before is closed to this number.
        self.last_seq = self.last_seq.max(first - 1);
        self.bytes += FILE_HEAD;
        self.unsynced = true;
        self.dir_unsynced = true;
        self.tidy();
        Ok(())
    }

    /// Removes what a failed write has left behind the last record.
    fn cut_tail(&mut self) -> Result<()> {
        if self.dirty_tail {
            let file = self.active.as_ref().expect("it was written to");
            let segment = self.segments.back().expect("it was written to");
            let cut = self.disk.set_len(file, segment.len);
            cut.map_err(Error::io("cut", &segment_path(&self.dir, segment.first)))?;
            self.dirty_tail = false;
        }
        Ok(())
    }

    pub(super) fn clear_leftover(&mut self) -> Result<()> {
        if let Some(path) = &self.leftover {
            self.disk.remove(path).map_err(Error::io("delete", path))?;
            self.leftover = None;
        }
        Ok(())
    }

    /// Adds a record to the active segment.
    fn write(&mut self, record: &[u8]) -> Result<()> {
        self.clear_leftover()?;
        self.cut_tail()?;
        let file = self.active.as_ref().expect("a segment was begun");
        let segment = self.segments.back_mut().expect("a segment was begun");
        let path = segment_path(&self.dir, segment.first);
        if let Err(error) = self.disk.write_at(file, record, segment.len) {
            self.dirty_tail = self.disk.set_len(file, segment.len).is_err();
            return Err(Error::io("write", &path)(error));
        }
        segment.len += record.len() as u64;
        self.bytes += record.len() as u64;
        self.writes += 1;
        self.unsynced = true;
        Ok(())
    }

    fn write_unwritten(&mut self) -> Result<()> {
        if self.emptying {
            self.empty_in_place()?;
        }
        let written = self.write_marks();
        // A disk that is full takes no mark, and what it is full of may be the events that the marks are about.
        if written.is_err() && self.open == 0 && self.empty_in_place().unwrap_or(false) {
            return Ok(());
        }
        written
    }

    fn write_marks(&mut self) -> Result<()> {
        while let Some(&seq) = self.unwritten.last() {
            // Not if its segment is gone.
            if self.seqs.is_present(seq) {
                let next = self.last_seq + 1;
                let full = |last: &Segment| last.len >= self.limits.segment_bytes && last.first < next;
                if self.segments.back().is_some_and(full) {
                    self.roll(next)?;
                }
                let mut record = Vec::with_capacity(32);
                frame::put_done(&mut record, seq);
                self.write(&record)?;
            }
            self.unwritten.pop();
        }
        Ok(())
    }

    fn sync_active(&mut self) -> Result<()> {
        if !self.unsynced {
            return Ok(());
        }
        let file = self.active.as_ref().expect("it was written to");
        let segment = self.segments.back().expect("it was written to");
        let path = segment_path(&self.dir, segment.first);
        self.disk.sync(file).map_err(|error| {
            self.suspect = true;
            Error::io("sync", &path)(error)
        })?;
        self.unsynced = false;
        Ok(())
    }
}

/// Where a segment is.
pub(super) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}
