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
    /// Segments that the delayed playlist is behind; 0 is none.
    pub delay: u32,
    /// Target length of the parts of a low-latency playlist; zero makes none.
    pub part: Duration,
    /// The first answer to a viewer is a master playlist that leads to a playlist of its own.
    pub session_playlist: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
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
    Key::zlm(
        "hls.segNum",
        "3",
        New,
        Kind::Count {
            min: 0,
            max: 100_000,
            place: Some(|c| &mut c.hls.segments),
        },
        "Segments in the playlist; more are listed while they last less than three target durations, as players may rely on (RFC 8216). 0 keeps all of them, which is a recording: files below `protocol.hls_save_path`, which `hls.m3u8` in the folder of the stream lists from its beginning, for viewers too. It is complete, with its last line, when the stream has ended; when the stream comes back, a new list takes its place, and the files stay.",
    ),
    Key::zlm(
        "hls.segKeep",
        "0",
        New,
        Kind::Bool(Some(|c| &mut c.hls.keep)),
        "Write every segment of the live playlist to a file below `protocol.hls_save_path`, too, and keep it, with a `vod.m3u8` (or `vod.fmp4.m3u8`) in the folder of each hour. Viewers are served from memory as without it. Without effect when `hls.segNum` is 0.",
    ),
    Key::zlm(
        "hls.segDelay",
        "0",
        Hot,
        Kind::Count {
            min: 0,
            max: 100_000,
            place: Some(|c| &mut c.hls.delay),
        },
        "Offer a second playlist, `hls_delay.m3u8` and `hls_delay.fmp4.m3u8`, that is this many segments behind. 0 is off.",
    ),
    Key::zlm(
        "hls.segRetain",
        "5",
        Hot,
        Kind::Count {
            min: 0,
            max: 100_000,
            place: Some(|c| &mut c.hls.retain),
        },
        "Segments that viewers can still fetch after they left the playlist. They are kept in memory while somebody watches.",
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
    Key::zlm(
        "hls.broadcastRecordTs",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hls.broadcast_record_ts)),
        "Send `on_record_ts` for every segment. If no files are kept (`hls.segNum` above 0, `hls.segKeep` 0), this writes them, so that there is something to fetch: each is deleted when its segment left the playlist and `hls.segRetain`, the last ones `hls.deleteDelaySec` after the end of the stream, or when the server stops.",
    ),
    Key::zlm(
        "hls.deleteDelaySec",
        "10",
        Hot,
        Kind::Seconds {
            min: 0.0,
            max: YEAR_S,
            place: Some(|c| &mut c.hls.delete_delay),
        },
        "How long, in seconds, the viewers of a stream that has ended can still fetch its last playlist and segments, and how long the files stay that `hls.broadcastRecordTs` alone has written.",
    ),
    Key::zlm(
        "hls.fastRegister",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.hls.fast_register)),
        "Make the first segment one group of pictures long, so that HLS is ready sooner.",
    ),
    Key::zlm(
        "hls.fmp4SegExt",
        ".mp4",
        New,
        Kind::Text(Some(|c| &mut c.hls.fmp4_suffix)),
        "Suffix of fragmented MP4 segments, `.mp4` or `.m4s`. Anything else counts as `.mp4`.",
    ),
    Key::own(
        "hls.partDur",
        "0.2",
        New,
        Kind::Seconds {
            min: 0.0,
            max: 5.0,
            place: Some(|c| &mut c.hls.part),
        },
        "Length, in seconds, that the parts of Low-Latency HLS aim at; whole frames are used. It makes the fMP4 playlist (`protocol.enable_hls_fmp4`) a low-latency one: players are about three parts behind instead of three segments. 0 is off. Without effect when `hls.segNum` is 0.",
    ),
    Key::own(
        "hls.sessionPlaylist",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.hls.session_playlist)),
        "Answer the first request of a viewer with a master playlist, which names the codecs and leads to a playlist of the viewer's own, so that viewers without cookies are told apart. 0: answer with the media playlist at once, as ZLMediaKit does; viewers without cookies are told apart by their address then.",
    ),
];
