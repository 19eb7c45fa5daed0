//! The bodies of the hooks, one module each. Field names and types are the contract (hooks.md, sections 5 and 6).
//!
//! `mediaServerId` and `hook_index` are not here: they belong to an attempt, not to an event, and are added when it is sent.

pub mod flow_report;
pub mod http_access;
pub mod play;
pub mod publish;
pub mod record_mp4;
pub mod record_ts;
pub mod rtp_server_timeout;
pub mod rtsp_auth;
pub mod rtsp_realm;
pub mod send_rtp_stopped;
pub mod server_exited;
pub mod server_keepalive;
pub mod server_started;
pub mod shell_login;
pub mod stream_changed;
pub mod stream_none_reader;
pub mod stream_not_found;

#[cfg(test)]
mod golden;

use bytes::Bytes;
use lifecycle::{Access, Client, Protocol};
use media::{Schema, StreamKey};
use serde::Serialize;
use std::net::IpAddr;

/// A body as JSON text: an object, without the two members that are added to each attempt.
pub fn encode<B: Serialize>(body: &B) -> Bytes {
    // Serializing fails only for maps whose keys are no strings and for types that say so; the bodies are structs and maps of
    // strings.
    Bytes::from(serde_json::to_vec(body).expect("hook bodies are plain structs"))
}

/// Which stream, in which form, over what: the first half of the bodies about a session.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MediaBlock<'a> {
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    schema: &'static str,
    protocol: &'static str,
    params: &'a str,
}

/// Who asks: the second half of the bodies about a session.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ClientBlock<'a> {
    #[serde(serialize_with = "crate::object::address")]
    ip: IpAddr,
    port: u16,
    id: &'a str,
}

impl<'a> MediaBlock<'a> {
    fn new(access: &'a Access, schema: &'static str, protocol: &'static str) -> Self {
        Self {
            vhost: access.key.vhost(),
            app: access.key.app(),
            stream: access.key.stream(),
            schema,
            protocol,
            params: &access.params,
        }
    }

    /// As in `on_play`, `on_publish` and `on_flow_report`, where SRT, WebRTC and RTP are schemas of their own (hooks.md,
    /// section 5).
    fn of_session(access: &'a Access) -> Self {
        let schema = match access.protocol {
            Protocol::Srt | Protocol::Rtc | Protocol::Rtp => access.protocol.as_str(),
            Protocol::Rtmp
            | Protocol::Rtmps
            | Protocol::Rtsp
            | Protocol::Rtsps
            | Protocol::Http
            | Protocol::Https
            | Protocol::Ws
            | Protocol::Wss
            | Protocol::Hls
            | Protocol::HlsFmp4 => access.schema.as_str(),
        };
        Self::new(access, schema, access.protocol.as_str())
    }

    /// As in `on_stream_not_found`, where SRT and WebRTC players are shown as what they read: `ts` and `rtsp`, in both members.
    fn of_missing(access: &'a Access) -> Self {
        let schema = access.schema.as_str();
        let protocol = match access.protocol {
            Protocol::Srt | Protocol::Rtc | Protocol::Rtp => schema,
            Protocol::Rtmp
            | Protocol::Rtmps
            | Protocol::Rtsp
            | Protocol::Rtsps
            | Protocol::Http
            | Protocol::Https
            | Protocol::Ws
            | Protocol::Wss
            | Protocol::Hls
            | Protocol::HlsFmp4 => access.protocol.as_str(),
        };
        Self::new(access, schema, protocol)
    }
}

impl<'a> ClientBlock<'a> {
    /// The peer under its session id.
    fn of(client: &'a Client) -> Self {
        Self {
            ip: client.addr.ip(),
            port: client.addr.port(),
            id: &client.id,
        }
    }

    /// The same for a player.
    fn of_missing(access: &'a Access) -> Self {
        Self::of(&access.client)
    }

    /// The same, but SRT and RTP show the stream's name instead of a session id (observed).
    fn of_session(access: &'a Access) -> Self {
        let id = match access.protocol {
            Protocol::Srt | Protocol::Rtp => access.key.stream(),
            Protocol::Rtmp
            | Protocol::Rtmps
            | Protocol::Rtsp
            | Protocol::Rtsps
            | Protocol::Http
            | Protocol::Https
            | Protocol::Ws
            | Protocol::Wss
            | Protocol::Hls
            | Protocol::HlsFmp4
            | Protocol::Rtc => &access.client.id,
        };
        Self {
            id,
            ..Self::of_missing(access)
        }
    }
}

/// Which stream, in which form: the bodies about a stream.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StreamBlock<'a> {
    schema: &'static str,
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    params: &'a str,
}

impl<'a> StreamBlock<'a> {
    fn new(key: &'a StreamKey, schema: Schema, params: &'a str) -> Self {
        Self {
            schema: schema.as_str(),
            vhost: key.vhost(),
            app: key.app(),
            stream: key.stream(),
            params,
        }
    }
}
