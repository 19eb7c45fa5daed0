//! Section `general`.

use super::ANY_MS;
use crate::address::Address;
use crate::key::{
    Key, Kind,
    Reload::{Hot, New, Start},
};
use std::time::Duration;

/// Identity, waiting times and bounds of the whole server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct General {
    /// Virtual hosts are told apart.
    pub enable_vhost: bool,
    /// Sessions with less traffic than this, in bytes, are not reported by `on_flow_report`.
    pub flow_threshold: u64,
    /// How long a player of an absent stream waits for it.
    pub max_stream_wait: Duration,
    /// How long a stream may have no player before `on_stream_none_reader` is sent.
    pub none_reader_delay: Duration,
    /// A pull that reconnects starts its stream anew, and its players end.
    pub reset_when_replay: bool,
    /// How long output is collected before it is written; zero: as [`Self::merge_write_max`] says.
    pub merge_write: Duration,
    /// Longest that a server with much to do collects output.
    pub merge_write_max: Duration,
    /// Threads that write to players; 0 for one each core.
    pub egress_threads: u32,
    /// Use io_uring where the system allows it.
    pub io_uring: bool,
    /// The name of this server in every hook.
    pub media_server_id: String,
    /// Limit for announced tracks to become ready.
    pub wait_track_ready: Duration,
    /// Limit for an announced audio track to carry data.
    pub wait_audio_track_data: Duration,
    /// How long a stream with one track waits for another when nobody said how many there are.
    pub wait_add_track: Duration,
    /// Frames kept per track while a stream waits for its tracks.
    pub unready_frame_cache: u32,
    /// Address on which all ports are opened.
    pub listen_ip: Address,
    /// How long sessions may take to end when the server stops.
    pub grace: Duration,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Most sessions at the same time, of all protocols together.
    pub max_sessions: u32,
    /// Most bytes that the ring of one stream and container holds.
    pub ring_max_bytes: u64,
    /// Most media time that the ring of one stream and container holds.
    pub ring_max: Duration,
    /// What happens to the second publisher of a name.
    pub duplicate_publish: DuplicatePublish,
    /// G.711 in MPEG-TS.
    pub ts_g711: TsG711,
    /// Entries kept in the timeline of one stream.
    pub timeline_len: u32,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What becomes of G.711 in MPEG-TS, which has no standard for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsG711 {
    /// A private stream with a registration descriptor: players that do not know it leave it out.
    #[default]
    Registered,
    /// The private stream types of ZLM, 0x90 and 0x91. Players that do not know them search for long.
    Private,
    /// It is left out.
    Omit,
}

/// What happens when somebody publishes under a name that is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicatePublish {
    /// The newcomer is refused.
    #[default]
    Reject,
    /// The first publisher is disconnected.
    Takeover,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "general.mediaServerId",
        "",
        Hot,
        Kind::Text(Some(|c| &mut c.general.media_server_id)),
        "The name of this server, sent with every hook; services tell their servers apart by it. Without a value of your own it is 16 random characters, new at each start until it stands in the file.",
    ),
    Key::zlm(
        "general.listen_ip",
        "::",
        Start,
        Kind::Address(Some(|c| &mut c.general.listen_ip)),
        "Address on which all ports are opened. `::` is every address, IPv4 and IPv6.",
    ),
    Key::zlm(
        "general.enableVhost",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.general.enable_vhost)),
        "Tell virtual hosts apart, by the URL parameter `vhost` or the host name of the URL. With 0 every stream lives under `__defaultVhost__`.",
    ),
    Key::zlm(
        "general.maxStreamWaitMS",
        "15000",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.general.max_stream_wait),
        },
        "How long, in milliseconds, a player of an absent stream waits for it after `on_stream_not_found` was sent.",
    ),
    Key::zlm(
        "general.streamNoneReaderDelayMS",
        "20000",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.general.none_reader_delay),
        },
        "How long, in milliseconds, a stream may have no player before `on_stream_none_reader` is sent. A timer that runs already keeps its old delay.",
    ),
    Key::zlm(
        "general.resetWhenRePlay",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.general.reset_when_replay)),
        "A pull proxy that reconnects starts its stream anew, so its players end. With 0 it goes on with the old stream and the players stay.",
    ),
    Key::zlm(
        "general.flowThreshold",
        "1024",
        Hot,
        Kind::Bytes {
            unit: 1024,
            min: 0,
            max: 1 << 40,
            place: Some(|c| &mut c.general.flow_threshold),
        },
        "`on_flow_report` is sent only for sessions with at least this much traffic, in KB.",
    ),
    Key::zlm(
        "general.wait_track_ready_ms",
        "10000",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.general.wait_track_ready),
        },
        "Limit, in milliseconds, for the announced tracks of a stream to become ready; those that are not are dropped.",
    ),
    Key::zlm(
        "general.wait_audio_track_data_ms",
        "1000",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.general.wait_audio_track_data),
        },
        "An announced audio track that carries no data for this long, in milliseconds, is dropped.",
    ),
    Key::zlm(
        "general.wait_add_track_ms",
        "3000",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.general.wait_add_track),
        },
        "How long, in milliseconds, a stream with one track waits for another when its publisher did not say how many there are.",
    ),
    Key::zlm(
        "general.unready_frame_cache",
        "100",
        Hot,
        Kind::Count {
            min: 1,
            max: 10_000,
            place: Some(|c| &mut c.general.unready_frame_cache),
        },
        "Frames kept per track while a stream waits for its tracks.",
    ),
    Key::zlm(
        "general.mergeWriteMS",
        "0",
        New,
        Kind::Millis {
            min: 0,
            max: 10_000,
            place: Some(|c| &mut c.general.merge_write),
        },
        "Collect a player's output for this long, in milliseconds, before it is written in one call: fewer calls for more latency. 0 leaves it to the server: each frame at once while it has time, merged as `merge_write_max_ms` allows when it has not.",
    ),
    Key::stored(
        "general.broadcast_player_count_changed",
        "0",
        Hot,
        Kind::Bool(None),
        "An internal event of ZLMediaKit; there is no web hook for it.",
    ),
    Key::stored(
        "general.check_nvidia_dev",
        "1",
        Hot,
        Kind::Bool(None),
        "Belongs to the transcoding builds of ZLMediaKit.",
    ),
    Key::stored(
        "general.enable_ffmpeg_log",
        "0",
        Hot,
        Kind::Bool(None),
        "Belongs to the transcoding builds of ZLMediaKit.",
    ),
    Key::own(
        "general.grace_sec",
        "5",
        Hot,
        Kind::Seconds {
            min: 0.0,
            max: 3600.0,
            place: Some(|c| &mut c.general.grace),
        },
        "How long, in seconds, sessions and hooks may take to end when the server stops; then they are cut off.",
    ),
    Key::own(
        "general.log_format",
        "text",
        Start,
        Kind::Choice(&[
            ("text", |c| c.general.log_format = LogFormat::Text),
            ("json", |c| c.general.log_format = LogFormat::Json),
        ]),
        "Form of the log: `text` for people, `json` for one JSON object per line.",
    ),
    Key::own(
        "general.merge_write_max_ms",
        "40",
        Hot,
        Kind::Millis {
            min: 0,
            max: 1_000,
            place: Some(|c| &mut c.general.merge_write_max),
        },
        "Longest that output to a player is collected, in milliseconds, when the threads that write have little time left and `mergeWriteMS` is 0: from half of their time on it grows with their load. 0 writes each frame at once, whatever the load.",
    ),
    Key::own(
        "general.egress_threads",
        "0",
        Start,
        Kind::Count {
            min: 0,
            max: 1_024,
            place: Some(|c| &mut c.general.egress_threads),
        },
        "Threads that write to players over TCP without TLS. 0 is one for each core that the process may use.",
    ),
    Key::own(
        "general.io_uring",
        "1",
        Start,
        Kind::Bool(Some(|c| &mut c.general.io_uring)),
        "Write to players with io_uring, many with one system call, where the system has and allows it (Linux 5.11; containers often forbid it). Without, or with 0: one `writev` for each.",
    ),
    Key::own(
        "general.max_sessions",
        "20000",
        Hot,
        Kind::Count {
            min: 1,
            max: 10_000_000,
            place: Some(|c| &mut c.general.max_sessions),
        },
        "Most sessions at the same time, of all protocols together. A connection beyond it is closed and counted.",
    ),
    Key::own(
        "general.ring_max_bytes",
        "33554432",
        New,
        Kind::Bytes {
            unit: 1,
            min: 65_536,
            max: 1 << 32,
            place: Some(|c| &mut c.general.ring_max_bytes),
        },
        "Most bytes that one stream keeps per container for its players. A player that falls further behind skips to the newest key frame.",
    ),
    Key::own(
        "general.ring_max_ms",
        "10000",
        New,
        Kind::Millis {
            min: 100,
            max: 600_000,
            place: Some(|c| &mut c.general.ring_max),
        },
        "Most media time, in milliseconds, that one stream keeps per container for its players.",
    ),
    Key::own(
        "general.duplicate_publish",
        "reject",
        Hot,
        Kind::Choice(&[
            ("reject", |c| {
                c.general.duplicate_publish = DuplicatePublish::Reject
            }),
            ("takeover", |c| {
                c.general.duplicate_publish = DuplicatePublish::Takeover
            }),
        ]),
        "What happens when somebody publishes under a name that is taken: `reject` refuses the newcomer as ZLMediaKit does, `takeover` disconnects the first publisher.",
    ),
    Key::own(
        "general.ts_g711",
        "registered",
        Hot,
        Kind::Choice(&[
            ("registered", |c| c.general.ts_g711 = TsG711::Registered),
            ("private", |c| c.general.ts_g711 = TsG711::Private),
            ("omit", |c| c.general.ts_g711 = TsG711::Omit),
        ]),
        "How G.711 goes into MPEG-TS, which has no standard for it: `registered` as a private stream with a registration descriptor, which players that do not know it leave out; `private` with the stream types of ZLMediaKit, 0x90 and 0x91, which ffmpeg searches in vain for a minute; `omit` not at all.",
    ),
    Key::own(
        "general.timeline_len",
        "64",
        Start,
        Kind::Count {
            min: 1,
            max: 10_000,
            place: Some(|c| &mut c.general.timeline_len),
        },
        "Entries kept in the timeline of each stream, which getStreamTimeline shows; the oldest make room.",
    ),
];
