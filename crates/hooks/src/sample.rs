//! An example of each event, for trying out a receiver. Recognizable by the stream `test/example`.

use crate::body::{self, http_access::HttpAccess, play::Play, publish::Publish};
use crate::body::{rtsp_auth::RtspAuth, rtsp_realm::RtspRealm};
use crate::body::{stream_none_reader::StreamNoneReader, stream_not_found::StreamNotFound};
use crate::event::{EventName, Outgoing};
use crate::files::Visit;
use crate::hook::Hook;
use crate::notify::Event;
use crate::own::OwnEvent;
use crate::rtsp::User;
use crate::{RecordedFile, object::Statistic};
use bytes::Bytes;
use lifecycle::{Access, Client, Protocol, SessionId};
use media::info::{MediaInfo, OriginInfo, OriginType, TrackDetail, TrackInfo};
use media::{CodecId, Schema, StreamKey};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

fn key() -> StreamKey {
    StreamKey::on_default_vhost("test", "example")
}

fn access() -> Access {
    Access {
        key: key(),
        schema: Schema::Rtmp,
        protocol: Protocol::Rtmp,
        params: "token=example".to_owned(),
        client: Client {
            session: SessionId(0),
            id: "0-0".to_owned(),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000)),
        },
        authenticated: false,
    }
}

fn info() -> MediaInfo {
    MediaInfo {
        key: key(),
        schema: Schema::Rtmp,
        params: "token=example".to_owned(),
        created_unix: 1_796_000_000,
        alive_second: 0,
        bytes_speed: 0,
        total_bytes: 0,
        readers: 0,
        total_readers: 0,
        origin: OriginInfo {
            kind: OriginType::RtmpPush,
            url: "rtmp://__defaultVhost__/test/example".to_owned(),
            sock: None,
        },
        recording_mp4: false,
        recording_hls: false,
        tracks: vec![TrackInfo {
            codec: CodecId::H264,
            ready: true,
            frames: 1,
            duration_ms: 40,
            loss: None,
            detail: TrackDetail::Video {
                width: 1280,
                height: 720,
                fps: 25.0,
                key_frames: 1,
                gop_size: 25,
                gop_interval_ms: 1000,
            },
        }],
    }
}

/// The notification that tells it, if it is one that is raised.
fn event(name: EventName) -> Option<Event> {
    use EventName::{Own, Zlm};
    Some(match name {
        Zlm(Hook::StreamChanged) | Own(OwnEvent::StreamOnline) => Event::Registered {
            info: Box::new(info()),
        },
        Own(OwnEvent::StreamOffline) => Event::Removed {
            key: key(),
            schema: Schema::Rtmp,
            params: String::new(),
        },
        Zlm(Hook::FlowReport) | Own(OwnEvent::SessionEnded) => Event::FlowReport {
            access: access(),
            bytes: 1_234_567,
            duration: Duration::from_secs(60),
            player: true,
        },
        Zlm(Hook::RecordTs) | Own(OwnEvent::RecordingSegment) => Event::RecordTs {
            key: key(),
            params: String::new(),
            file: Box::new(RecordedFile {
                name: "2026-01-01/12/00-00_0.ts".to_owned(),
                folder: "/www/test/example".into(),
                size: 1_234_567,
                start: Duration::from_secs(1_796_000_000),
                length: Duration::from_secs(2),
            }),
        },
        // Not with the real configuration: it has secrets.
        Zlm(Hook::ServerStarted) | Own(OwnEvent::ServerStarted) => Event::ServerStarted {
            config: vec![("general.mediaServerId".to_owned(), "example".to_owned())],
        },
        Zlm(Hook::ServerExited) | Own(OwnEvent::ServerStopping) => Event::ServerExited,
        Zlm(Hook::ServerKeepalive) | Own(OwnEvent::ServerAlive) => Event::Keepalive(Statistic::default()),
        Zlm(_) => return None,
    })
}

/// An example; `None` if there is none of this event.
pub(crate) fn outgoing(name: EventName, server_id: &str) -> Option<Outgoing> {
    let body = body(name, server_id)?;
    let about_none = matches!(
        name,
        EventName::Zlm(Hook::HttpAccess | Hook::ServerStarted | Hook::ServerExited | Hook::ServerKeepalive)
            | EventName::Own(OwnEvent::ServerStarted | OwnEvent::ServerStopping | OwnEvent::ServerAlive)
    );
    Some(if about_none {
        Outgoing::new(name, "", body)
    } else {
        Outgoing::new(name, key().vhost(), body).of(&key())
    })
}

fn body(name: EventName, server_id: &str) -> Option<Bytes> {
    let access = access();
    Some(match name {
        EventName::Zlm(Hook::Play) => body::encode(&Play::new(&access)),
        EventName::Zlm(Hook::Publish) => body::encode(&Publish::new(&access, OriginType::RtmpPush)),
        EventName::Zlm(Hook::StreamNotFound) => body::encode(&StreamNotFound::new(&access)),
        EventName::Zlm(Hook::StreamNoneReader) => {
            body::encode(&StreamNoneReader::new(&access.key, Schema::Rtmp, ""))
        }
        EventName::Zlm(Hook::RtspRealm) => body::encode(&RtspRealm::new(&access)),
        EventName::Zlm(Hook::RtspAuth) => {
            let user = User {
                name: "example",
                realm: "example",
                plain_needed: false,
            };
            body::encode(&RtspAuth::new(&access, &user))
        }
        EventName::Zlm(Hook::HttpAccess) => {
            let visit = Visit {
                client: &access.client,
                path: "/test/example.mp4",
                file_path: "/www/test/example.mp4",
                is_dir: false,
                params: "token=example",
                headers: &[],
            };
            body::encode(&HttpAccess::new(&visit))
        }
        EventName::Zlm(_) => event(name)?.zlm(),
        EventName::Own(_) => event(name)?.own(server_id),
    })
}
