//! Files and folders below a root, opened so that neither `..` nor a symbolic link leads out of it.
//!
//! The kernel does it (`openat2` with `RESOLVE_BENEATH`, Linux 5.6): checking a path first and opening it then could be raced.
//! Where there is no such call, links are not followed at all. Not `ServeDir` of tower-http: it follows links anywhere and blocks on
//! pipes. Not cap-std: the same call with a file system interface around it that nothing here would use.

use super::path::{Place, hidden};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pages that stand for their folder, the first that exists.
pub const INDEX: [&str; 2] = ["index.html", "index.htm"];

/// How often a path is resolved again when folders are moved meanwhile (`EAGAIN` of `openat2`).
const MAX_RACES: usize = 8;

/// Why there is nothing to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is nothing of this name, or it is neither a file nor a folder.
    #[error("there is no such file")]
    Missing,
    /// A link leads out of the root.
    #[error("a link leads out of the root")]
    Outside,
    /// The process may not read it, or reading failed.
    #[error("the file cannot be read: {0}")]
    Unreadable(Errno),
    /// The process has no descriptor left.
    #[error("too many files are open")]
    Busy,
}

impl From<Errno> for Denied {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO | Errno::INVAL => {
                Self::Missing
            }
            Errno::XDEV => Self::Outside,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Busy,
            other => Self::Unreadable(other),
        }
    }
}

/// What is known of a file before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub len: u64,
    /// Seconds since 1970 and nanoseconds, as the file system has it.
    pub modified: (i64, u32),
    /// Its number in the file system.
    pub inode: u64,
}

impl Meta {
    fn of(stat: &Stat) -> Self {
        // The types of the fields differ between architectures.
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
        Self {
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (
                stat.st_mtime as i64,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            inode: stat.st_ino as u64,
        }
    }

    /// When it was changed; `None` before 1970 and after 9999, which HTTP has no dates for.
    pub fn time(&self) -> Option<SystemTime> {
        const END: u64 = 253_402_300_800;
        let seconds = u64::try_from(self.modified.0)
            .ok()
            .filter(|seconds| *seconds < END)?;
        Some(UNIX_EPOCH + Duration::new(seconds, self.modified.1))
    }
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// A regular file.
    File(Meta),
    /// A folder, and its index page if it has one.
    Folder(Option<&'static str>),
}

/// A name in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// It is a folder.
    pub folder: bool,
    /// The rest.
    pub meta: Meta,
}

/// A folder that nothing leaves.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens the root of a place.
    ///
    /// # Errors
    ///
    /// It is not there, or no folder.
    pub fn open(place: &Place) -> Result<Self, Denied> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Self(rustix::fs::open(&place.root, flags, Mode::empty())?);
        match &place.vhost {
            Some(vhost) => Ok(Self(root.at(Path::new(vhost), flags)?)),
            None => Ok(root),
        }
    }

    /// What a path leads to. Nothing is opened for reading, so devices and pipes are safe to look at.
    ///
    /// # Errors
    ///
    /// It leads to nothing that could be served.
    pub fn look(&self, below: &Path) -> Result<Look, Denied> {
        let found = self.at(below, OFlags::PATH | OFlags::CLOEXEC)?;
        let stat = fstat(&found)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Look::File(Meta::of(&stat))),
            FileType::Directory => {
                Ok(Look::Folder(INDEX.into_iter().find(|name| {
                    matches!(self.look(&below.join(name)), Ok(Look::File(_)))
                })))
            }
            _ => Err(Denied::Missing),
        }
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    ///
    /// It is none, or the process may not read it.
    pub fn read(&self, below: &Path) -> Result<(File, Meta), Denied> {
        // Opening a device for reading may do something already.
        let Look::File(_) = self.look(below)? else {
            return Err(Denied::Missing);
        };
        // Does not wait for a writer, should it have become a pipe.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.at(below, flags)?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Denied::Missing);
        }
        Ok((File::from(file), Meta::of(&stat)))
    }

    /// What is in a folder, in no order: at most `max` entries, and whether there are more. Hidden names, names that are no UTF-8,
    /// and what could not be served are left out.
    ///
    /// # Errors
    ///
    /// It is no folder, or the process may not read it.
    pub fn list(&self, below: &Path, max: usize) -> Result<(Vec<Entry>, bool), Denied> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self.at(below, flags)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if hidden(name) {
                continue;
            }
            let Some((folder, meta)) = self.entry(&folder, below, name) else {
                continue;
            };
            if entries.len() >= max {
                return Ok((entries, true));
            }
            entries.push(Entry {
                name: name.to_owned(),
                folder,
                meta,
            });
        }
        Ok((entries, false))
    }

    fn entry(&self, folder: &OwnedFd, below: &Path, name: &str) -> Option<(bool, Meta)> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = self.at(&below.join(name), OFlags::PATH | OFlags::CLOEXEC).ok()?;
                let stat = fstat(target).ok()?;
                return served(FileType::from_raw_mode(stat.st_mode), &stat);
            }
            kind => kind,
        };
        served(kind, &stat)
    }

    /// Opens below the root.
    fn at(&self, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let below = if below == Path::new("") {
            Path::new(".")
        } else {
            below
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_RACES {
            match openat2(&self.0, below, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // An old kernel, or a container that forbids the call.
                Err(Errno::NOSYS | Errno::PERM) => return walk(&self.0, below, flags),
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

fn served(kind: FileType, stat: &Stat) -> Option<(bool, Meta)> {
    match kind {
        FileType::RegularFile => Some((false, Meta::of(stat))),
        FileType::Directory => Some((true, Meta::of(stat))),
        _ => None,
    }
}

/// Opens below a folder name by name, without following links.
fn walk(root: &OwnedFd, below: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = |at: &OwnedFd, name: &OsStr, flags: OFlags| {
        openat(at.as_fd(), name, flags | OFlags::NOFOLLOW, Mode::empty())
    };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = below.iter().peekable();
    let mut at = step(root, OsStr::new("."), folder)?;
    while let Some(name) = names.next() {
        if name == ".." {
            return Err(Errno::XDEV);
        }
        at = step(&at, name, if names.peek().is_some() { folder } else { flags })?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("www/sub/deep")).expect("made");
        std::fs::create_dir_all(at("www/page")).expect("made");
        std::fs::write(at("www/page/index.htm"), "page").expect("written");
        std::fs::write(at("www/sub/a.txt"), "inside").expect("written");
        std::fs::write(at("www/.hidden"), "hidden").expect("written");
        std::fs::write(at("secret"), "outside").expect("written");
        symlink("sub/a.txt", at("www/link")).expect("linked");
        symlink("../sub", at("www/sub/again")).expect("linked");
        symlink("../secret", at("www/out")).expect("linked");
        symlink("..", at("www/up")).expect("linked");
        symlink("/etc/passwd", at("www/passwd")).expect("linked");
        symlink("loop", at("www/loop")).expect("linked");
        symlink("/proc/self/fd/0", at("www/magic")).expect("linked");
        let fifo = std::process::Command::new("mkfifo").arg(at("www/fifo")).status();
        assert!(fifo.expect("mkfifo runs").success());
        let place = Place {
            root: at("www"),
            vhost: None,
            below: "".into(),
        };
        (folder, Root::open(&place).expect("opened"))
    }

    fn text(root: &Root, path: &str) -> Result<String, Denied> {
        let (mut file, meta) = root.read(Path::new(path))?;
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        assert_eq!(text.len() as u64, meta.len);
        Ok(text)
    }

    #[test]
    fn links_stay_inside() {
        let (_folder, root) = root();
        for inside in ["sub/a.txt", "link", "sub/again/a.txt", "sub/deep/../a.txt"] {
            assert_eq!(text(&root, inside).as_deref(), Ok("inside"), "{inside}");
        }
        for outside in [
            "out",
            "up/secret",
            "passwd",
            "../secret",
            "sub/../../secret",
            "magic",
        ] {
            assert_eq!(text(&root, outside), Err(Denied::Outside), "{outside}");
        }
        for missing in ["none", "loop", "sub", "fifo", "sub/a.txt/x", &"n".repeat(300)] {
            assert_eq!(text(&root, missing), Err(Denied::Missing), "{missing}");
        }
        assert_eq!(root.look(Path::new("sub")), Ok(Look::Folder(None)));
        assert_eq!(root.look(Path::new("page")), Ok(Look::Folder(Some("index.htm"))));
        assert_eq!(root.look(Path::new("up")), Err(Denied::Outside));
    }

    #[test]
    fn without_the_kernels_help_no_link_is_followed() {
        let (_folder, root) = root();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |path: &str| walk(&root.0, Path::new(path), flags).map(|_| ());
        assert_eq!(open("sub/a.txt"), Ok(()));
        assert_eq!(open("."), Ok(()));
        for link in ["link", "out", "passwd", "magic", "loop"] {
            assert_eq!(open(link), Err(Errno::LOOP), "{link}");
        }
        assert_eq!(open("sub/again/a.txt"), Err(Errno::NOTDIR));
        assert_eq!(open("up/secret"), Err(Errno::NOTDIR));
        assert_eq!(open("../secret"), Err(Errno::XDEV));
    }

    #[test]
    fn lists_show_what_can_be_served_and_no_more_than_asked() {
        let (_folder, root) = root();
        let names = |path: &str, max| {
            let (entries, more) = root.list(Path::new(path), max).expect("a folder");
            let mut names: Vec<_> = entries
                .into_iter()
                .map(|entry| (entry.name, entry.folder))
                .collect();
            names.sort();
            (names, more)
        };
        let shown = |name: &str, folder| (name.to_owned(), folder);
        assert_eq!(
            names("", 10),
            (
                vec![shown("link", false), shown("page", true), shown("sub", true)],
                false
            )
        );
        let (some, more) = names("", 2);
        assert_eq!((some.len(), more), (2, true));
        assert!(!names("", 3).1);
        assert_eq!(root.list(Path::new("sub/a.txt"), 9).err(), Some(Denied::Missing));
        assert_eq!(root.list(Path::new("up"), 9).err(), Some(Denied::Outside));
    }

    #[test]
    fn hosts_have_folders_of_their_own() {
        let (folder, _) = root();
        let place = |vhost: &str| Place {
            root: folder.path().join("www"),
            vhost: Some(vhost.to_owned()),
            below: "".into(),
        };
        let root = Root::open(&place("sub")).expect("opened");
        assert_eq!(text(&root, "a.txt").as_deref(), Ok("inside"));
        // Inside the server's root, but not in the host's.
        assert_eq!(text(&root, "again/a.txt"), Err(Denied::Outside));
        assert_eq!(Root::open(&place("none")).err(), Some(Denied::Missing));
        assert_eq!(Root::open(&place("up")).err(), Some(Denied::Outside));
    }

    #[test]
    fn dates_that_http_does_not_have_are_none() {
        let time = |seconds| {
            let meta = Meta {
                len: 0,
                modified: (seconds, 0),
                inode: 0,
            };
            meta.time().map(httpdate::fmt_http_date)
        };
        assert_eq!(time(-1), None);
        assert_eq!(time(i64::MAX), None);
        assert_eq!(time(253_402_300_800), None);
        assert_eq!(
            time(253_402_300_799).as_deref(),
            Some("Fri, 31 Dec 9999 23:59:59 GMT")
        );
    }
}
