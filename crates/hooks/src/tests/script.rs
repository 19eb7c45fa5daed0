//! A receiver that does as it is told.

use crate::client::dial::{Dial, Dialed, Dialing};
use crate::client::{AddressRules, Route};
use crate::{Hook, Settings};
use lifecycle::{Access, Ask, Client, Protocol, SessionId};
use media::info::{OriginType, TrackDetail, TrackInfo};
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the receiver does about a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these bytes and keeps the connection open.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    Close(Vec<u8>),
    /// Nothing.
    Hang,
}

/// A response with a length.
pub fn response(status: u16, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Reply::Send(bytes)
}

/// A response with status 200 and this value of `Tidegate-Cache-Seconds`.
pub fn kept(body: &str, seconds: &str) -> Reply {
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 X\r\nTidegate-Cache-Seconds: {seconds}\r\nContent-Length: {length}\r\n\r\n");
    Reply::Send([head.as_bytes(), body.as_bytes()].concat())
}

/// `code` 0.
pub fn yes() -> Reply {
    response(200, r#"{"code":0}"#)
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request line.
    pub line: String,
    /// Names as sent.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    /// Number of the connection, from 1.
    pub connection: usize,
    /// Number of the request on its connection, from 1.
    pub nth: usize,
    pub at: Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn stream(&self) -> &str {
        self.body["stream"].as_str().unwrap_or_default()
    }
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

/// The receiver's side.
#[derive(Clone)]
pub struct Receiver {
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
    pub changed: Arc<Notify>,
    /// Connections whose client went away while they hung.
    pub abandoned: Arc<Mutex<usize>>,
}

impl Receiver {
    pub fn new(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            log: Arc::default(),
            connections: Arc::default(),
            changed: Arc::default(),
            abandoned: Arc::default(),
        }
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.log.lock().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock()
    }

    /// Waits until the receiver is in a state.
    pub async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if reached(self) {
                return;
            }
            changed.await;
        }
    }

    /// Serves one connection.
    pub async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let connection = {
            let mut connections = self.connections.lock();
            *connections += 1;
            *connections
        };
        let mut buffer = Vec::new();
        for nth in 1.. {
            let Some((line, headers, body)) = read_request(&mut stream, &mut buffer).await else {
                return;
            };
            let body = serde_json::from_slice(&body).expect("a hook body is JSON");
            let received = Received {
                line,
                headers,
                body,
                connection,
                nth,
                at: Instant::now(),
            };
            let reply = (self.script)(&received);
            self.log.lock().push(received);
            self.changed.notify_waiters();
            match reply {
                Reply::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Reply::Close(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                Reply::Hang => {
                    let mut byte = [0];
                    let _ = stream.read(&mut byte).await;
                    *self.abandoned.lock() += 1;
                    self.changed.notify_waiters();
                    return;
                }
            }
        }
    }
}

type Request = (String, Vec<(String, String)>, Vec<u8>);

async fn read_request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Request> {
    let head_len = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_len].to_vec()).expect("a request head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let header = |line: &str| {
        line.split_once(": ")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "Content-Length")?
        .1
        .parse::<usize>()
        .ok()?;
    while buffer.len() < head_len + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_len + 4..head_len + 4 + length].to_vec();
    buffer.drain(..head_len + 4 + length);
    Some((line, headers, body))
}

/// Reaches receivers in memory, by host name.
#[derive(Default)]
pub struct Memory {
    receivers: HashMap<String, Receiver>,
}

impl Memory {
    pub fn of(receivers: &[(&str, &Receiver)]) -> Box<Self> {
        let receivers = receivers
            .iter()
            .map(|(host, receiver)| ((*host).to_owned(), (*receiver).clone()))
            .collect();
        Box::new(Self { receivers })
    }
}

impl Dial for Memory {
    fn dial(&self, route: &Route) -> Dialing {
        let receiver = self
            .receivers
            .get(&*route.origin.host)
            .unwrap_or_else(|| panic!("no receiver {route:?}"));
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(receiver.clone().serve(theirs));
        Box::pin(async {
            Ok(Dialed {
                stream: Box::new(ours),
                http2: false,
                peer: None,
                connect: Duration::ZERO,
                tls: None,
            })
        })
    }

    fn apply(&self, _: &AddressRules) {}
}

/// Hooks are on, at `http://receiver/<name>` each.
pub fn settings(hooks: &[Hook]) -> Settings {
    let mut settings = Settings {
        enable: true,
        media_server_id: "test-server".to_owned(),
        ..Settings::default()
    };
    for hook in hooks {
        settings.set_url(*hook, &format!("http://receiver/{hook}"));
    }
    settings
}

pub fn key(stream: &str) -> StreamKey {
    StreamKey::on_default_vhost("live", stream)
}

/// One of each kind.
pub fn tracks() -> Vec<TrackInfo> {
    vec![
        TrackInfo {
            codec: media::CodecId::H264,
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
        },
        TrackInfo {
            codec: media::CodecId::Aac,
            ready: true,
            frames: 1,
            duration_ms: 23,
            loss: None,
            detail: TrackDetail::Audio {
                sample_rate: 48000,
                channels: 2,
                sample_bits: 16,
            },
        },
    ]
}

pub fn access(stream: &str) -> Access {
    Access {
        key: key(stream),
        schema: Schema::Rtmp,
        protocol: Protocol::Rtmp,
        params: "token=t".to_owned(),
        client: Client {
            session: SessionId(3),
            id: "3-10".to_owned(),
            addr: "127.0.0.1:4000".parse().unwrap(),
        },
        authenticated: false,
    }
}

pub fn play() -> Ask {
    Ask::Play {
        access: access("cam1"),
    }
}

pub fn publish() -> Ask {
    Ask::Publish {
        access: access("cam1"),
        origin: OriginType::RtmpPush,
    }
}

pub fn not_found() -> Ask {
    Ask::NotFound {
        access: access("cam1"),
    }
}

pub fn none_reader() -> Ask {
    Ask::NoneReader {
        key: key("cam1"),
        schema: Schema::Rtmp,
        params: String::new(),
    }
}
