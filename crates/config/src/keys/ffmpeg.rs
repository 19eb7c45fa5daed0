//! Section `ffmpeg`.

use super::YEAR_S;
use crate::key::{Key, Kind, Reload::Hot};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The FFmpeg program and how it is called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ffmpeg {
    /// The program.
    pub bin: PathBuf,
    /// The template that is used when no other is named: program, source, destination.
    pub cmd: String,
    /// All templates by their full key, `ffmpeg.cmd` among them.
    pub templates: BTreeMap<String, String>,
    /// The template of getSnap: program, source, destination.
    pub snap: String,
    /// Log file of the child processes.
    pub log: Option<PathBuf>,
    /// Healthy sources are restarted after this time; zero is never.
    pub restart: Duration,
    /// Most child processes at the same time.
    pub max_processes: u32,
    /// A log file is rotated at this size, in bytes.
    pub log_max_bytes: u64,
}

impl Ffmpeg {
    /// The template that stands under `key` (`ffmpeg.cmd_NAME`), or the default one when `key` is empty.
    pub fn template(&self, key: &str) -> Option<&str> {
        if key.is_empty() {
            Some(&self.cmd)
        } else {
            self.templates.get(key).map(String::as_str)
        }
    }
}

/// The key of the default template.
pub(crate) const CMD: &str = "ffmpeg.cmd";

/// What the keys of all further templates begin with.
pub(crate) const CMD_PREFIX: &str = "ffmpeg.cmd_";

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "ffmpeg.bin",
        "/usr/bin/ffmpeg",
        Hot,
        Kind::Path(Some(|c| &mut c.ffmpeg.bin)),
        "The FFmpeg program. A name without `/` is looked up in `PATH`. It cannot be changed through the API.",
    )
    .file_only(),
    Key::zlm(
        CMD,
        "%s -re -i %s -c:a aac -strict -2 -ar 44100 -ab 48k -c:v libx264 -f flv %s",
        Hot,
        Kind::Template(Some(|c| &mut c.ffmpeg.cmd)),
        "Command line of addFFmpegSource and of `ffmpeg://` rules; the three `%s` are program, source and destination. Further templates can be added under `ffmpeg.cmd_NAME` and are chosen with `ffmpeg_cmd_key`. No shell is involved.",
    ),
    Key::stored(
        "ffmpeg.snap",
        "%s -i %s -y -f mjpeg -frames:v 1 -an %s",
        Hot,
        Kind::Template(Some(|c| &mut c.ffmpeg.snap)),
        "Command line of getSnap; the three `%s` are program, source and destination. It cannot be changed through the API.",
    )
    .file_only(),
    Key::zlm(
        "ffmpeg.log",
        "./ffmpeg/ffmpeg.log",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.ffmpeg.log)),
        "File for what the FFmpeg processes print; the process id is added to the name. Empty: it is thrown away.",
    ),
    Key::zlm(
        "ffmpeg.restart_sec",
        "0",
        Hot,
        Kind::Seconds { min: 0.0, max: YEAR_S, place: Some(|c| &mut c.ffmpeg.restart) },
        "Restart healthy FFmpeg sources after this many seconds. 0 is never.",
    ),
    Key::own(
        "ffmpeg.max_processes",
        "64",
        Hot,
        Kind::Count { min: 0, max: 10_000, place: Some(|c| &mut c.ffmpeg.max_processes) },
        "Most FFmpeg processes at the same time; a source beyond it fails with a message that names this key.",
    ),
    Key::own(
        "ffmpeg.log_max_bytes",
        "10485760",
        Hot,
        Kind::Bytes { unit: 1, min: 4096, max: 1 << 40, place: Some(|c| &mut c.ffmpeg.log_max_bytes) },
        "Size, in bytes, at which the log of an FFmpeg process is rotated; one older file is kept.",
    ),
];
