//! The streams as the page shows them: one entry per stream, with what a browser has to know to choose a way to play it.

use crate::app::App;
use hub::Stream;
use media::info::TrackDetail;
use media::{MediaKind, Schema};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// Most entries, about 300 bytes each. A person doesn't read more; the count of the rest is told, and any stream can be typed.
const MAX_LISTED: usize = 1_000;

/// The list.
#[derive(Serialize)]
pub struct Listing {
    /// Nobody has to sign in for it.
    open: bool,
    streams: Vec<Entry>,
    /// Streams beyond [`MAX_LISTED`].
    left_out: usize,
}

/// One stream. Nothing of its source is told, whose URL may hold a password.
#[derive(Serialize)]
struct Entry {
    vhost: String,
    app: String,
    stream: String,
    /// The forms that it is registered in.
    schemas: Vec<&'static str>,
    tracks: Vec<TrackEntry>,
    /// Of all schemas.
    readers: u32,
    alive_second: u64,
    /// Bytes per second from the source.
    bytes_speed: u64,
}

#[derive(Serialize)]
struct TrackEntry {
    kind: &'static str,
    /// Short name, for people and for the page's table of codecs.
    codec: &'static str,
    /// As `codecs` of a media type (RFC 6381).
    #[serde(skip_serializing_if = "Option::is_none")]
    rfc6381: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<VideoEntry>,
}

#[derive(Serialize)]
struct VideoEntry {
    width: u32,
    height: u32,
    fps: f32,
}

/// The live streams, by name. `open`: everybody gets the list.
pub fn listing(app: &App, open: bool) -> Listing {
    let now = Instant::now();
    let mut streams = app.hub.streams();
    streams.retain(|stream| stream.is_live());
    streams.sort_by(|one, other| one.key().cmp(other.key()));
    let left_out = streams.len().saturating_sub(MAX_LISTED);
    Listing {
        open,
        streams: streams
            .iter()
            .take(MAX_LISTED)
            .map(|stream| entry(app, stream, now))
            .collect(),
        left_out,
    }
}

fn entry(app: &App, stream: &Arc<Stream>, now: Instant) -> Entry {
    let key = stream.key();
    // The counters are those of the stream, whichever schema is asked about.
    let info = stream.info(Schema::Rtmp, now);
    let tracks = stream.tracks();
    Entry {
        vhost: key.vhost().to_owned(),
        app: key.app().to_owned(),
        stream: key.stream().to_owned(),
        schemas: app.registered(stream).into_iter().map(Schema::as_str).collect(),
        tracks: info
            .tracks
            .iter()
            .map(|info| TrackEntry {
                kind: match info.codec.kind() {
                    MediaKind::Video => "video",
                    MediaKind::Audio => "audio",
                },
                codec: info.codec.name(),
                rfc6381: tracks
                    .iter()
                    .find(|track| track.codec == info.codec)
                    .and_then(container::mp4::codec_string),
                video: match info.detail {
                    TrackDetail::Video {
                        width, height, fps, ..
                    } => Some(VideoEntry { width, height, fps }),
                    TrackDetail::Audio { .. } => None,
                },
            })
            .collect(),
        readers: info.total_readers,
        alive_second: info.alive_second,
        bytes_speed: info.bytes_speed,
    }
}
