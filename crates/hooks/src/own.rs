//! Tidegate's own events: `{"type", "timestamp", "version", "data"}` (Standard Webhooks 1.0.0, "Payload structure"). Each type has a
//! JSON Schema in `schemas/`; within a version members are only added.

use crate::body::record_ts::RecordedFile;
use crate::object::Statistic;
use crate::object::names::origin_name;
use bytes::Bytes;
use lifecycle::Access;
use media::StreamKey;
use media::info::{MediaInfo, TrackDetail};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// A type of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnEvent {
    /// A segment of HLS is complete on disk.
    RecordingSegment,
    /// The server lives.
    ServerAlive,
    /// The server started.
    ServerStarted,
    /// The server stops.
    ServerStopping,
    /// A player or a publisher left.
    SessionEnded,
    /// A stream can no longer be played in any form.
    StreamOffline,
    /// A stream can be played in its first form.
    StreamOnline,
}

impl OwnEvent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RecordingSegment,
        Self::ServerAlive,
        Self::ServerStarted,
        Self::ServerStopping,
        Self::SessionEnded,
        Self::StreamOffline,
        Self::StreamOnline,
    ];

    /// The member `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecordingSegment => "recording.segment",
            Self::ServerAlive => "server.alive",
            Self::ServerStarted => "server.started",
            Self::ServerStopping => "server.stopping",
            Self::SessionEnded => "session.ended",
            Self::StreamOffline => "stream.offline",
            Self::StreamOnline => "stream.online",
        }
    }

    /// Its JSON Schema.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::RecordingSegment => include_str!("../schemas/recording.segment.v1.json"),
            Self::ServerAlive => include_str!("../schemas/server.alive.v1.json"),
            Self::ServerStarted => include_str!("../schemas/server.started.v1.json"),
            Self::ServerStopping => include_str!("../schemas/server.stopping.v1.json"),
            Self::SessionEnded => include_str!("../schemas/session.ended.v1.json"),
            Self::StreamOffline => include_str!("../schemas/stream.offline.v1.json"),
            Self::StreamOnline => include_str!("../schemas/stream.online.v1.json"),
        }
    }
}

/// The version of every type so far.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Payload<'a, D> {
    r#type: &'static str,
    timestamp: String,
    version: u32,
    data: Data<'a, D>,
}

#[derive(Serialize)]
struct Data<'a, D> {
    /// `general.mediaServerId`.
    server_id: &'a str,
    #[serde(flatten)]
    more: D,
}

fn payload<D: Serialize>(event: OwnEvent, server_id: &str, more: D) -> Bytes {
    crate::body::encode(&Payload {
        r#type: event.name(),
        timestamp: jiff::Timestamp::now().to_string(),
        version: VERSION,
        data: Data { server_id, more },
    })
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Started {
    software: &'static str,
    software_version: &'static str,
}

#[derive(Serialize)]
struct Name<'a> {
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    /// The publisher's parameters, or the session's.
    params: &'a str,
}

impl<'a> Name<'a> {
    fn new(key: &'a StreamKey, params: &'a str) -> Self {
        Self {
            vhost: key.vhost(),
            app: key.app(),
            stream: key.stream(),
            params,
        }
    }
}

#[derive(Serialize)]
struct Online<'a> {
    #[serde(flatten)]
    name: Name<'a>,
    /// Kind of the source, as in ZLM.
    origin: &'static str,
    tracks: Vec<Track>,
}

#[derive(Serialize)]
struct Track {
    kind: &'static str,
    codec: &'static str,
    #[serde(flatten)]
    detail: Detail,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail {
    Video { width: u32, height: u32, fps: f32 },
    Audio { sample_rate: u32, channels: u32 },
}

#[derive(Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    name: Name<'a>,
    role: &'static str,
    schema: &'static str,
    protocol: &'static str,
    session: &'a str,
    #[serde(serialize_with = "crate::object::address")]
    ip: IpAddr,
    port: u16,
    bytes: u64,
    duration_ms: u64,
}

#[derive(Serialize)]
struct Segment<'a> {
    #[serde(flatten)]
    name: Name<'a>,
    start_unix_ms: u64,
    duration_ms: u64,
    bytes: u64,
    /// In the file system, absolute.
    path: String,
    /// Below the root of the file server.
    url: String,
}

#[derive(Serialize)]
struct Alive {
    streams: u64,
    tcp_sessions: u64,
    udp_sessions: u64,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn online(server_id: &str, info: &MediaInfo) -> Bytes {
    let track = |track: &media::info::TrackInfo| Track {
        kind: match track.codec.kind() {
            media::MediaKind::Video => "video",
            media::MediaKind::Audio => "audio",
        },
        codec: track.codec.name(),
        detail: match track.detail {
            TrackDetail::Video {
                width, height, fps, ..
            } => Detail::Video { width, height, fps },
            TrackDetail::Audio {
                sample_rate,
                channels,
                ..
            } => Detail::Audio {
                sample_rate,
                channels: u32::from(channels),
            },
        },
    };
    let more = Online {
        name: Name::new(&info.key, &info.params),
        origin: origin_name(info.origin.kind),
        tracks: info.tracks.iter().map(track).collect(),
    };
    payload(OwnEvent::StreamOnline, server_id, more)
}

pub(crate) fn offline(server_id: &str, key: &StreamKey, params: &str) -> Bytes {
    payload(OwnEvent::StreamOffline, server_id, Name::new(key, params))
}

pub(crate) fn ended(server_id: &str, access: &Access, bytes: u64, duration: Duration, player: bool) -> Bytes {
    let more = Ended {
        name: Name::new(&access.key, &access.params),
        role: if player { "player" } else { "publisher" },
        schema: access.schema.as_str(),
        protocol: access.protocol.as_str(),
        session: &access.client.id,
        ip: access.client.addr.ip(),
        port: access.client.addr.port(),
        bytes,
        duration_ms: millis(duration),
    };
    payload(OwnEvent::SessionEnded, server_id, more)
}

pub(crate) fn segment(server_id: &str, key: &StreamKey, params: &str, file: &RecordedFile) -> Bytes {
    let more = Segment {
        name: Name::new(key, params),
        start_unix_ms: millis(file.start),
        duration_ms: millis(file.length),
        bytes: file.size,
        path: file.folder.join(&file.name).to_string_lossy().into_owned(),
        url: format!("{}/{}/{}", key.app(), key.stream(), file.name),
    };
    payload(OwnEvent::RecordingSegment, server_id, more)
}

pub(crate) fn started(server_id: &str) -> Bytes {
    let more = Started {
        software: "Tidegate",
        software_version: env!("CARGO_PKG_VERSION"),
    };
    payload(OwnEvent::ServerStarted, server_id, more)
}

pub(crate) fn stopping(server_id: &str) -> Bytes {
    payload(OwnEvent::ServerStopping, server_id, Nothing {})
}

pub(crate) fn alive(server_id: &str, statistic: &Statistic) -> Bytes {
    let more = Alive {
        streams: statistic.multi_media_source_muxer,
        tcp_sessions: statistic.tcp_session,
        udp_sessions: statistic.udp_session,
    };
    payload(OwnEvent::ServerAlive, server_id, more)
}
