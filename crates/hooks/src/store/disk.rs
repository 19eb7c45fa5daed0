//! The calls that change something on disk, in one place, so that tests can make each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Changes files. Every call may fail, and a write may have written a part before it does.
pub(super) trait Disk: Send {
    /// A new, empty file for reading and writing, for its owner alone; takes the place of one of that name.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes all of it at this offset.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()>;
    /// Waits until the file's bytes and its length are on the medium.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Waits until the names in a folder are on the medium.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file the name of another, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file; fine if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// Another disk, but nobody waits for the medium.
pub(super) struct Unsynced<D>(pub D);

impl<D: Disk> Disk for Unsynced<D> {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.0.create(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(file, bytes, offset)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.0.set_len(file, len)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
}

/// The operating system's.
pub(super) struct Os;

impl Disk for Os {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        options.open(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
