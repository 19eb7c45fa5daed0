//! Opening: what is in the files, and what is done.

use super::disk::{Disk, Os};
use super::entry::{Entry, Head};
use super::frame::{self, DONE, Damage, FILE_HEAD, FileHead, Scanner, VERSION};
use super::log::{Limits, Log, Segment, segment_path};
use super::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What was found when a log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Events that are not done.
    pub open: u64,
    /// The highest number that was ever stored; 0 if none was.
    pub last_seq: u64,
    /// Bytes cut from the end of the last segment: a record that was not written to its end. What it held was never confirmed
    /// by [`Log::sync`].
    pub torn_bytes: u64,
    /// Stretches of the files that make no sense; at least one record was lost at each.
    pub damaged: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
}

impl<E: Entry> Log<E> {
    /// Opens the log in a folder, which is made if there is none. All segments are read through once; memory is needed for three bits
    /// per event and for one record.
    ///
    /// Damage is passed over and reported; the segments that have any are then written anew without it.
    ///
    /// # Errors
    ///
    /// The folder is in use, or has a file of another version, or the disk refused.
    pub fn open(dir: &Path, limits: Limits) -> Result<(Self, Recovered)> {
        Self::open_with(dir, limits, Box::new(Os))
    }

    pub(super) fn open_with(dir: &Path, limits: Limits, disk: Box<dyn Disk>) -> Result<(Self, Recovered)> {
        make(dir, &*disk)?;
        let lock = lock(dir)?;
        let firsts = segments(dir, &*disk)?;
        // Before anything is changed.
        for &first in &firsts {
            check_version(&segment_path(dir, first))?;
        }
        let mut log = Self::empty(dir, disk, limits, lock);
        let mut recovered = Recovered::default();
        let mut damaged = Vec::new();
        for (index, &first) in firsts.iter().enumerate() {
            let end = firsts.get(index + 1).copied().unwrap_or(u64::MAX);
            let damage = log.scan(first, end, &mut recovered)?;
            if damage.regions > 0 {
                recovered.damaged += damage.regions;
                recovered.damaged_bytes += damage.bytes;
                damaged.push(first);
            }
        }
        recovered.last_seq = log.last_seq;
        for first in damaged {
            if let Some(index) = log.segment_of(first) {
                // If the disk refuses, the damage is only reported again next time.
                let _ = log.rewrite(index, super::compact::Keep::Open, &mut Vec::new());
            }
        }
        log.prune()?;
        recovered.open = log.open;
        Ok((log, recovered))
    }

    /// Takes in the next segment, with the events `first..end`.
    fn scan(&mut self, first: u64, end: u64, recovered: &mut Recovered) -> Result<Damage> {
        let path = segment_path(&self.dir, first);
        let is_last = end == u64::MAX;
        let opened = OpenOptions::new().read(true).write(is_last).open(&path);
        let file = opened.map_err(Error::io("open", &path))?;
        let read = || Error::io("read", &path);
        let len = file.metadata().map_err(read())?.len();
        let mut segment = Segment::new(first);
        self.last_seq = self.last_seq.max(first.saturating_sub(1));
        let mut damage = Damage::default();
        let sound_head = frame::read_file_head(&file).map_err(read())? == FileHead::Known;
        if len >= FILE_HEAD && !sound_head {
            damage.regions += 1;
            damage.bytes += FILE_HEAD;
        }

        let reader = file.try_clone().map_err(read())?;
        let mut scanner = Scanner::new(reader, len);
        let mut next = first.max(1);
        while let Some(record) = scanner.next().map_err(read())? {
            if record.kind == DONE {
                if let Some(seq) = frame::done_seq(record.payload).filter(|seq| *seq < end) {
                    self.last_seq = self.last_seq.max(seq);
                    if seq >= first && self.seqs.close(seq) {
                        segment.open -= 1;
                        segment.open_dear -= u64::from(self.seqs.is_dear(seq));
                        self.open -= 1;
                    } else {
                        self.close(seq);
                    }
                }
                continue;
            }
            let head = Head::read(record.payload).map(|(head, _)| head);
            match head.filter(|head| record.kind == E::KIND && (next..end).contains(&head.seq)) {
                Some(head) => {
                    self.seqs.insert(head.seq, head.dear());
                    self.last_seq = self.last_seq.max(head.seq);
                    self.open += 1;
                    segment.present += 1;
                    segment.open += 1;
                    segment.open_dear += u64::from(head.dear());
                    next = head.seq + 1;
                }
                // Sound, but not of this place: not written here.
                None => {
                    damage.regions += 1;
                    damage.bytes += record.payload.len() as u64;
                }
            }
        }
        let between = scanner.damage();
        damage.regions += between.regions;
        damage.bytes += between.bytes;
        segment.len = len.max(FILE_HEAD);
        // A file that ends within its head has no tail, and is all torn.
        let tail = scanner.tail().or_else(|| (len < FILE_HEAD).then_some(0));
        match tail {
            Some(from) if is_last => {
                recovered.torn_bytes += len - from;
                segment.len = from.max(FILE_HEAD);
                let cut = self.disk.set_len(&file, from);
                cut.map_err(Error::io("cut", &path))?;
            }
            Some(from) => {
                damage.regions += 1;
                damage.bytes += len - from;
            }
            None => {}
        }
        if is_last {
            if !sound_head {
                let written = self.disk.write_at(&file, &frame::file_head(), 0);
                written.map_err(Error::io("write", &path))?;
            }
            self.active = Some(file);
            self.unsynced = true;
            self.dir_unsynced = true;
        }
        self.bytes += segment.len;
        self.segments.push_back(segment);
        Ok(damage)
    }
}

/// Makes a folder with those above it, durably.
fn make(dir: &Path, disk: &dyn Disk) -> Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(Error::io("make", dir))?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        // A relative path of one name is in the folder without a name.
        let parent = if parent == "" { Path::new(".") } else { parent };
        disk.sync_dir(parent).map_err(Error::io("sync", parent))?;
    }
    Ok(())
}

/// Keeps other processes away, until the file is closed.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// The first numbers of the segments in a folder, in order. Files that were being written when a process ended are deleted.
fn segments(dir: &Path, disk: &dyn Disk) -> Result<Vec<u64>> {
    let list = || Error::io("list", dir);
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir).map_err(list())? {
        let path: PathBuf = entry.map_err(list())?.path();
        let first = path.file_stem().and_then(OsStr::to_str).and_then(parse_first);
        match (first, path.extension().and_then(OsStr::to_str)) {
            (Some(first), Some("log")) => firsts.push(first),
            (Some(_), Some("tmp")) => disk.remove(&path).map_err(Error::io("delete", &path))?,
            _ => {}
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Exactly as it is written, so that no two names mean the same.
fn parse_first(stem: &str) -> Option<u64> {
    let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    stem.parse().ok().filter(|first| digits && *first < u64::MAX)
}

fn check_version(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    match frame::read_file_head(&file).map_err(Error::io("read", path))? {
        FileHead::Unknown(got) => Err(Error::Version {
            path: path.to_owned(),
            got,
            known: VERSION,
        }),
        FileHead::Known | FileHead::Damaged => Ok(()),
    }
}
