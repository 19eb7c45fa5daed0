//! Section `hls`.

use super::YEAR_S;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New},
};
use std::time::Duration;

/// HLS segments and playlists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hls {
    /// Target length of a segment; it is cut at a key frame.
    pub segment: Duration,
    /// Segments in the playlist; 0 keeps all of them.
    pub segments: u32,
    /// Files are kept although they left the playlist.
    pub keep: bool,
    /// Segments that stay on disk after they left the playlist.
    pub retain: u32,
    /// Send `on_record_ts`.
    pub broadcast_record_ts: bool,
    /// The files of an ended stream are deleted after this time.
    pub delete_delay: Duration,
    /// The first segment is one group of pictures.
    pub fast_register: bool,
    /// Suffix of fragmented MP4 segments.
    pub fmp4_suffix: String,
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "hls.segDur",
        "2",
        New,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.hls.segment),
        },
        "Target length of a segment, in seconds. Segments are cut at key frames.",
    ),
    Key::stored(
        "hls.segNum",
        "3",
        New,
        Kind::Count {
            min: 0,
            max: 100_000,
            place: Some(|c| &mut c.hls.segments),
        },
        "Segments in the playlist. 0 keeps all of them, which is a recording.",
    ),
    Key::stored(
        "hls.segKeep",
        "0",
        New,
        Kind::Bool(Some(|c| &mut c.hls.keep)),
        "Keep the files of a live playlist, with a `vod.m3u8` per folder.",
    ),
    Key::stored(
        "hls.segDelay",
        "0",
        Hot,
        Kind::Count {
            min: 0,
            max: 100_000,
            place: None,
        },
        "Write a second playlist that is this many segments behind. 0 is off.",
    ),
    Key::stored(
        "hls.segRetain",
        "5",
        Hot,
        Kind::Count {
            min: 0,
            max: 100_000,
            place: Some(|c| &mut c.hls.retain),
        },
        "Segments that stay on disk after they left the playlist.",
    ),
    Key::stored(
        "hls.fileBufSize",
        "65536",
        New,
        Kind::Bytes {
            unit: 1,
            min: 0,
            max: 1 << 30,
            place: None,
        },
        "Write buffer of ZLMediaKit for segments, in bytes.",
    ),
    Key::stored(
        "hls.broadcastRecordTs",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hls.broadcast_record_ts)),
        "Send `on_record_ts` for every segment.",
    ),
    Key::stored(
        "hls.deleteDelaySec",
        "10",
        Hot,
        Kind::Seconds {
            min: 0.0,
            max: YEAR_S,
            place: Some(|c| &mut c.hls.delete_delay),
        },
        "The files of an ended live stream are deleted after this many seconds.",
    ),
    Key::stored(
        "hls.fastRegister",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hls.fast_register)),
        "Make the first segment one group of pictures long, so that HLS is ready sooner.",
    ),
    Key::stored(
        "hls.fmp4SegExt",
        ".mp4",
        New,
        Kind::Text(Some(|c| &mut c.hls.fmp4_suffix)),
        "Suffix of fragmented MP4 segments, `.mp4` or `.m4s`.",
    ),
];
