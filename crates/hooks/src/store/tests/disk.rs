//! A disk whose calls fail now and then.

use crate::store::disk::{Disk, Os};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Cheap to clone; the clones fail together.
#[derive(Clone, Default)]
pub(super) struct Faulty(Arc<State>);

#[derive(Default)]
struct State {
    /// Of 256 calls, so many fail.
    share: AtomicU64,
    seed: AtomicU64,
    failed: AtomicU64,
    /// No file can grow.
    full: AtomicBool,
}

impl Faulty {
    pub fn new(seed: u64) -> Self {
        let faulty = Self::default();
        faulty.0.seed.store(seed, Relaxed);
        faulty
    }

    /// From now on, of 256 calls so many fail.
    pub fn fail(&self, share: u64) {
        self.0.share.store(share, Relaxed);
    }

    /// From now on no file is made and none grows.
    pub fn fill(&self, full: bool) {
        self.0.full.store(full, Relaxed);
    }

    fn room(&self, needed: bool) -> io::Result<()> {
        if needed && self.0.full.load(Relaxed) {
            self.0.failed.fetch_add(1, Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Calls that have failed so far.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Relaxed)
    }

    fn call(&self) -> io::Result<()> {
        // Knuth's constants for a linear congruential generator; the high bits are the good ones.
        let next = self
            .0
            .seed
            .load(Relaxed)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0.seed.store(next, Relaxed);
        if next >> 56 < self.0.share.load(Relaxed) {
            self.0.failed.fetch_add(1, Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call()?;
        self.room(true)?;
        Os.create(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.room(offset + bytes.len() as u64 > file.metadata()?.len())?;
        if let Err(error) = self.call() {
            Os.write_at(file, &bytes[..bytes.len() * 2 / 3], offset)?;
            return Err(error);
        }
        Os.write_at(file, bytes, offset)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.call()?;
        Os.set_len(file, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.call()?;
        Os.sync(file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        Os.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        Os.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        Os.remove(path)
    }
}
