//! Section `record`.

use crate::key::{
    Key, Kind,
    Reload::{Hot, New},
};

/// MP4 recordings and their playback.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// App of MP4 playback, and the folder of MP4 recordings.
    pub app_name: String,
    /// The index is moved to the front when a file is done.
    pub fast_start: bool,
    /// Playback starts over at the end.
    pub file_repeat: bool,
    /// Recordings are fragmented MP4.
    pub enable_fmp4: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "record.appName",
        "record",
        Hot,
        Kind::Text(Some(|c| &mut c.record.app_name)),
        "App under which MP4 files are played, and the folder of MP4 recordings.",
    ),
    Key::stored(
        "record.sampleMS",
        "500",
        Hot,
        Kind::Millis {
            min: 0,
            max: 60_000,
            place: None,
        },
        "Pace at which ZLMediaKit reads MP4 files for playback, in milliseconds.",
    ),
    Key::stored(
        "record.fileBufSize",
        "65536",
        New,
        Kind::Bytes {
            unit: 1,
            min: 0,
            max: 1 << 30,
            place: None,
        },
        "Write buffer of ZLMediaKit for recordings, in bytes.",
    ),
    Key::stored(
        "record.fastStart",
        "0",
        New,
        Kind::Bool(Some(|c| &mut c.record.fast_start)),
        "Move the index of an MP4 file to its front when the file is done.",
    ),
    Key::stored(
        "record.fileRepeat",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.record.file_repeat)),
        "Play MP4 files in a loop.",
    ),
    Key::stored(
        "record.enableFmp4",
        "0",
        New,
        Kind::Bool(Some(|c| &mut c.record.enable_fmp4)),
        "Record fragmented MP4, which survives a crash.",
    ),
];
