//! A playlist on disk that grows by an entry at a time.

use hls::record::Header;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes from which on a playlist is appended to instead of being replaced. Below, each state of it takes the place of the one before
/// at once. Above, writing it anew for each segment would cost as much as the media (a day of segments of 2 s is 4 MB), and a reader of
/// the folder may, if it reads in that very moment, see the last line cut off until it reads again.
const APPEND_FROM: u64 = 256 * 1024;

/// Bytes that are copied at once.
const PIECE: usize = 64 * 1024;

/// A playlist as far as it is whole. What is written to the folder later does not change it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The file.
    pub file: Arc<File>,
    /// Its bytes that count.
    pub length: u64,
}

/// A playlist that is being written.
#[derive(Debug)]
pub struct ListFile {
    path: PathBuf,
    header: Header,
    header_length: u64,
    /// What is in the folder under the name.
    listing: Listing,
}

impl ListFile {
    /// Puts a playlist with these entries under this name. Another one of the name is replaced.
    ///
    /// # Errors
    ///
    /// The system's; then nothing has changed.
    pub fn create(path: PathBuf, header: Header, entries: &str) -> io::Result<Self> {
        let head = header.to_string();
        let file = replace(&path, |file| {
            file.write_all(head.as_bytes())?;
            file.write_all(entries.as_bytes())
        })?;
        let header_length = head.len() as u64;
        Ok(Self {
            path,
            header,
            header_length,
            listing: Listing {
                file: Arc::new(file),
                length: header_length + entries.len() as u64,
            },
        })
    }

    /// Its header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The playlist as it is.
    pub fn listing(&self) -> Listing {
        self.listing.clone()
    }

    /// Adds lines, and puts the header in force.
    ///
    /// # Errors
    ///
    /// The system's; then the playlist is as it was before.
    pub fn push(&mut self, header: Header, lines: &str) -> io::Result<()> {
        // Whoever removed it from the folder meanwhile gets it back.
        let there = self.listing.file.metadata()?.nlink() > 0;
        if there && header == self.header && self.listing.length >= APPEND_FROM {
            self.append(lines)
        } else {
            self.rewrite(header, lines)
        }
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        let Listing { file, length } = &mut self.listing;
        if let Err(error) = file.write_all_at(lines.as_bytes(), *length) {
            // A part may have been written.
            file.set_len(*length)?;
            return Err(error);
        }
        *length += lines.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self, header: Header, lines: &str) -> io::Result<()> {
        let head = header.to_string();
        let Listing { file: old, length } = &self.listing;
        let file = replace(&self.path, |file| {
            file.write_all(head.as_bytes())?;
            let mut piece = vec![0; PIECE];
            let mut offset = self.header_length;
            while offset < *length {
                let count = usize::try_from(*length - offset).map_or(PIECE, |left| left.min(PIECE));
                let part = &mut piece[..count];
                old.read_exact_at(part, offset)?;
                file.write_all(part)?;
                offset += count as u64;
            }
            file.write_all(lines.as_bytes())
        })?;
        let header_length = head.len() as u64;
        self.listing = Listing {
            file: Arc::new(file),
            length: length - self.header_length + header_length + lines.len() as u64,
        };
        self.header = header;
        self.header_length = header_length;
        Ok(())
    }
}

/// Writes a file under another, hidden name in the same folder and then gives it its own, so that whoever looks finds the old one or
/// the new one, and each of them whole. The folder is made if it is missing.
///
/// # Errors
///
/// The system's; nothing is left behind then.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".part");
    let hidden = folder.join(hidden);
    let create = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&hidden)
    };
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            create()?
        }
        created => created?,
    };
    let written = write(&mut file).and_then(|()| fs::rename(&hidden, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&hidden);
        return Err(error);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hls::Form;

    const HEADER: Header = Header {
        form: Form::Ts,
        target: 2,
    };

    fn text(listing: &Listing) -> String {
        let mut bytes = vec![0; listing.length as usize];
        listing.file.read_exact_at(&mut bytes, 0).expect("whole");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn it_grows_and_readers_keep_what_they_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/hls.m3u8");
        let mut list = ListFile::create(path.clone(), HEADER, "1\n").expect("created");
        let mut wanted = "1\n".to_owned();
        let mut states = Vec::new();
        let line = format!("{}\n", "x".repeat(5_000));
        for number in 0..100 {
            let longer = if number == 70 { 3 } else { 2 };
            let header = Header {
                target: list.header().target.max(longer),
                ..HEADER
            };
            list.push(header, &line).expect("pushed");
            wanted.push_str(&line);
            let whole = format!("{header}{wanted}");
            assert_eq!(fs::read_to_string(&path).expect("there"), whole);
            states.push((list.listing(), whole));
        }
        assert!(wanted.len() as u64 > APPEND_FROM * 3 / 2);
        for (listing, whole) in states {
            assert_eq!(text(&listing), whole);
        }
        let left: Vec<_> = fs::read_dir(path.parent().expect("a folder"))
            .expect("read")
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn what_was_removed_comes_back_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("live/hls.m3u8");
        let big = format!("{}\n", "x".repeat(APPEND_FROM as usize));
        let mut list = ListFile::create(path.clone(), HEADER, &big).expect("created");
        fs::remove_dir_all(folder.path().join("live")).expect("removed");
        list.push(HEADER, "2\n").expect("pushed");
        assert_eq!(
            fs::read_to_string(&path).expect("there"),
            format!("{HEADER}{big}2\n")
        );
    }

    #[test]
    fn a_failed_file_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        fs::write(&path, "old").expect("written");
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).expect("there"), "old");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }
}
