//! Log files of children: one per job id, bounded in size, number and age.
//!
//! The reference appends the process id to `ffmpeg.log` and keeps all files for ever (contract `lifecycle.md`, W20). Here
//! the job's id takes the place of the process id, so a source that restarts all day still has one file, and the process id
//! stands in the lines.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a child's output goes, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `ffmpeg.log`. The file of a job is this path, a dot, and the job's id.
    pub base: PathBuf,
    /// A file that has reached this size, in bytes, is renamed to end in `.old` (replacing the one before).
    pub max_bytes: u64,
    /// Most jobs whose files are kept; the ones not written to for longest go first.
    pub max_files: usize,
    /// Files not written to for this long are removed.
    pub max_age: Duration,
}

impl Policy {
    /// 1 MiB per file (some 10,000 lines), 64 jobs, 30 days: at most 128 MiB in all.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            max_bytes: 1 << 20,
            max_files: 64,
            max_age: Duration::from_secs(30 * 24 * 3600),
        }
    }

    /// The file of job `id`. Characters that do not belong into a file name become `_`.
    pub fn file(&self, id: &str) -> PathBuf {
        let id: String = id
            .chars()
            .take(100)
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        with_suffix(&self.base, &id)
    }

    /// Removes files of jobs that are too many or too old, but none in `keep` (those of running children). Only names whose id
    /// is an MD5 in hexadecimal, as sources have, count as ours: the folder may be anybody's, and `/etc/resolv` is a base too.
    pub fn prune(&self, now: SystemTime, keep: &BTreeSet<PathBuf>) -> io::Result<()> {
        let folder = match self.base.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        };
        let Some(name) = self.base.file_name().and_then(|name| name.to_str()) else {
            return Ok(());
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let ours = entry
                .file_name()
                .to_str()
                .and_then(|file| file.strip_prefix(name)?.strip_prefix('.'))
                .is_some_and(|id| is_md5(id.strip_suffix(".old").unwrap_or(id)));
            let meta = entry.metadata()?;
            if !ours || !meta.is_file() {
                continue;
            }
            let path = self.base.with_file_name(entry.file_name());
            let job = path
                .to_str()
                .and_then(|path| path.strip_suffix(".old"))
                .map_or(path.clone(), PathBuf::from);
            if !keep.contains(&job) {
                files.push((meta.modified()?, path));
            }
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        // Each job may have its current and its old file.
        let allowed = self.max_files.saturating_sub(keep.len()) * 2;
        for (index, (modified, path)) in files.iter().enumerate() {
            let age = now.duration_since(*modified).unwrap_or_default();
            if index >= allowed || age > self.max_age {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn is_md5(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// An open log file that starts anew when it is full.
#[derive(Debug)]
pub(crate) struct Rotating {
    path: PathBuf,
    max_bytes: u64,
    file: File,
    written: u64,
}

impl Rotating {
    pub(crate) fn open(path: PathBuf, max_bytes: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = open(&path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            path,
            max_bytes,
            file,
            written,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line. Each line is one write, so that a reader never sees half of one.
    pub(crate) fn write_line(&mut self, line: &str) -> io::Result<()> {
        let bytes = line.len() as u64 + 1;
        if self.written > 0 && self.written + bytes > self.max_bytes {
            fs::rename(&self.path, with_suffix(&self.path, "old"))?;
            self.file = open(&self.path)?;
            self.written = 0;
        }
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.written += bytes;
        Ok(())
    }
}

/// For the server's user and group only: lines name cameras and paths. A link in the place of the file is not followed.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// `2026-11-24T06:09:00Z`
pub(crate) fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count, in years that begin on 1 March, so that the leap day is the last day of a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let check =
            |seconds, expected| assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399, "2000-02-28T23:59:59Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_709_251_199, "2024-02-29T23:59:59Z");
        check(1_735_689_600, "2025-01-01T00:00:00Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
    }

    #[test]
    fn rotation_keeps_one_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/ffmpeg.log.a");
        let mut log = Rotating::open(path.clone(), 30).unwrap();
        for n in 0..10 {
            log.write_line(&format!("line {n} ....")).unwrap(); // 12 bytes
        }
        drop(log);
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 8 ....\nline 9 ....\n");
        assert_eq!(
            fs::read_to_string(with_suffix(&path, "old")).unwrap(),
            "line 6 ....\nline 7 ....\n"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        // Opening it again goes on where it was.
        let mut log = Rotating::open(path.clone(), 30).unwrap();
        log.write_line("next").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "line 8 ....\nline 9 ....\nnext\n"
        );
        log.write_line("a line that is longer than the bound of thirty bytes")
            .unwrap();
        log.write_line("after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("precious");
        fs::write(&target, "x").unwrap();
        let link = folder.path().join("log");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(Rotating::open(link, 30).is_err());
    }

    #[test]
    fn file_names_hold_nothing_from_a_path() {
        let policy = Policy::new("./ffmpeg/ffmpeg.log");
        assert_eq!(policy.file("5fa0"), Path::new("./ffmpeg/ffmpeg.log.5fa0"));
        assert_eq!(
            policy.file("../../etc/x"),
            Path::new("./ffmpeg/ffmpeg.log.______etc_x")
        );
    }

    #[test]
    fn pruning_by_number_and_age_spares_running_jobs_and_foreign_files() {
        let folder = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let policy = Policy {
            max_files: 2,
            max_age: Duration::from_secs(1000),
            ..Policy::new(folder.path().join("f.log"))
        };
        // `#x` stands for an id of 32 digits.
        let named = |name: &str| name.replacen('#', &"0".repeat(31), 1);
        let touch = |name: &str, age: u64| {
            let path = folder.path().join(named(name));
            let file = File::create(&path).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
            path
        };
        let running = touch("f.log.#9", 5000);
        touch("f.log.#9.old", 6000);
        for (name, age) in [
            ("f.log.#a", 1),
            ("f.log.#a.old", 2),
            ("f.log.#b", 3),
            ("f.log.#c", 1001),
            ("other.txt", 9000),
        ] {
            touch(name, age);
        }
        touch("f.log", 9000);
        touch("f.log.conf", 9000);
        touch("f.log.x.y", 9000);
        policy.prune(now, &BTreeSet::from([running])).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "f.log",
                "f.log.#9",
                "f.log.#9.old",
                "f.log.#a",
                "f.log.#a.old",
                "f.log.conf",
                "f.log.x.y",
                "other.txt"
            ]
            .map(named)
        );
    }
}
