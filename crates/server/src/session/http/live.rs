//! Live FLV, MPEG-TS and fragmented MP4 over HTTP and WebSocket: permission, the stream, and then nothing but vectored writes of shared packets.

use super::head::Head;
use super::{response, ws};
use crate::app::App;
use crate::containers::{self, FLV, FMP4, TS, WS_FLV, WS_FMP4, WS_TS};
use crate::egress::{Pace, WRITE_TIMEOUT, deliver, land, write_all, write_batch};
use crate::link::{Answer, Granted, Guard};
use crate::session::{Accepted, Io};
use crate::sessions::Registration;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use axum::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use egress::{Delivery, Outcome};
use hub::{Batch, EndReason, MuxId, Next, Reader, ReaderOptions};
use lifecycle::{Access, Client, Protocol, Refusal};
use media::{Schema, StreamKey};
use percent_encoding::percent_decode_str;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tracing::debug;

/// What a live URL gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Flv,
    Ts,
    Fmp4,
}

impl Form {
    const ALL: [Self; 3] = [Self::Flv, Self::Ts, Self::Fmp4];

    /// How its URLs end.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Flv => ".live.flv",
            Self::Ts => ".live.ts",
            Self::Fmp4 => ".live.mp4",
        }
    }

    const fn schema(self) -> Schema {
        match self {
            Self::Flv => Schema::Rtmp,
            Self::Ts => Schema::Ts,
            Self::Fmp4 => Schema::Fmp4,
        }
    }

    const fn mux(self, websocket: bool) -> MuxId {
        match (self, websocket) {
            (Self::Flv, false) => FLV,
            (Self::Flv, true) => WS_FLV,
            (Self::Ts, false) => TS,
            (Self::Ts, true) => WS_TS,
            (Self::Fmp4, false) => FMP4,
            (Self::Fmp4, true) => WS_FMP4,
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Flv => "video/x-flv; charset=utf-8",
            Self::Ts => "video/mp2t; charset=utf-8",
            Self::Fmp4 => "video/mp4; charset=utf-8",
        }
    }
}

/// Most bytes that a viewer may send beside its request before it is cut: plain HTTP leaves it nothing to say. Over WebSocket
/// each frame has its own bound, since pings go on for as long as somebody watches.
const MAX_CHATTER: usize = 128 * 1024;

/// A live stream that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// `app/stream`, decoded.
    path: String,
    form: Form,
    websocket: bool,
}

/// A status instead of a stream, with a text for the viewer.
struct Refused(StatusCode, String);

impl Target {
    /// The live stream of a request: `/app/stream.live.flv` and its like, or `/app/stream?schema=rtmp`, `ts`, `fmp4` (urls.md,
    /// section 5).
    pub fn of(head: &Head) -> Option<Self> {
        if head.method != Method::GET {
            return None;
        }
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok()?;
        let mut by_suffix = Form::ALL.iter();
        let by_suffix = by_suffix.find_map(|form| Some((path.strip_suffix(form.suffix())?, *form)));
        let (path, form) = match by_suffix {
            Some(found) => found,
            None => {
                let reserved = path
                    .get(..7)
                    .is_some_and(|start| start.eq_ignore_ascii_case("/index/"));
                if reserved {
                    return None;
                }
                let mut pairs = head.uri.query()?.split('&');
                let wanted = pairs.find_map(|pair| pair.strip_prefix("schema="))?;
                let mut forms = Form::ALL.into_iter();
                (&*path, forms.find(|form| form.schema().as_str() == wanted)?)
            }
        };
        Some(Self {
            path: path.trim_start_matches('/').to_owned(),
            form,
            websocket: head.is_websocket(),
        })
    }
}

/// What a live request led to.
#[expect(
    clippy::large_enum_variant,
    reason = "returned once per request and taken apart at once; a box would be an allocation"
)]
pub enum Opened {
    /// The head of the answer is out; packets follow.
    Viewing(Viewing),
    /// It was refused, and the connection can take another request.
    Refused,
    /// The connection is to be closed.
    Over,
}

/// A viewer that is being served. It holds nothing of its request any more: there may be thousands, for hours.
pub struct Viewing {
    reader: Reader,
    guard: Guard,
    websocket: bool,
    pace: Pace,
}

/// Asks whether a live request may be served, waits for the stream, and answers.
///
/// # Errors
///
/// The connection's.
pub async fn open<S: Io>(
    app: &Arc<App>,
    accepted: &mut Accepted<S>,
    head: &Head,
    target: Target,
    buffer: &mut BytesMut,
) -> io::Result<Opened> {
    let key_of_websocket = head.text("sec-websocket-key").trim().to_owned();
    if target.websocket && (key_of_websocket.is_empty() || head.text("sec-websocket-version").trim() != "13")
    {
        let text = "a WebSocket request needs Sec-WebSocket-Key and Sec-WebSocket-Version: 13".to_owned();
        return refuse(app, accepted, head, StatusCode::BAD_REQUEST, text).await;
    }
    let access = access(app, accepted, head, &target);
    debug!(stream = %access.key, session = %access.client.id, "play requested over {}", access.protocol);
    let rule = app.rule_for(&access.key, &access.params);
    let mut pending = app.link.ask_play(access, rule);
    let answer = tokio::select! {
        biased;
        () = accepted.registration.stop.cancelled() => {
            pending.guard.ends(true, "closed by the server");
            return Ok(Opened::Over);
        }
        answer = pending.answer() => answer,
        gone = chatter(&mut accepted.io, buffer) => {
            pending.guard.ends(true, "the viewer left while waiting");
            return gone.map(|()| Opened::Over);
        }
    };
    let (mux, schema) = (target.form.mux(target.websocket), target.form.schema());
    let (reader, granted) = match attach(app, answer, mux, schema) {
        Ok(attached) => attached,
        Err(Refused(status, text)) => {
            pending.guard.ends(true, "refused");
            drop(pending);
            return refuse(app, accepted, head, status, text).await;
        }
    };
    accepted.registration.plays(&granted.key, schema);
    let headers = if target.websocket {
        upgrade_head(&key_of_websocket, head.text("sec-websocket-protocol"))
    } else {
        body_head(app, head, target.form)
    };
    write_all(&mut accepted.io, &headers, WRITE_TIMEOUT).await?;
    pending.guard.add_bytes(headers.len() as u64);
    Ok(Opened::Viewing(Viewing {
        reader,
        guard: pending.guard,
        websocket: target.websocket,
        pace: Pace::new(app.config().general.merge_write),
    }))
}

/// Sends packets until somebody ends it.
///
/// # Errors
///
/// The connection's.
pub async fn play<S: Io>(app: &App, accepted: &mut Accepted<S>, viewing: Viewing) -> io::Result<()> {
    let Viewing {
        reader,
        guard,
        websocket,
        pace,
    } = viewing;
    match deliver(&app.egress, &accepted.io, reader) {
        Ok(delivery) => watch(accepted, delivery, guard, websocket).await,
        // Its task is larger, and there are few of them: over TLS.
        Err(reader) => Box::pin(send(accepted, reader, guard, websocket, pace)).await,
    }
}

/// Waits while a viewer is served by the threads that write.
async fn watch<S: Io>(
    accepted: &mut Accepted<S>,
    mut delivery: Delivery,
    mut guard: Guard,
    websocket: bool,
) -> io::Result<()> {
    let stop = accepted.registration.stop.clone();
    let mut ear = Ear::new(websocket);
    let farewell = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Farewell::closed(),
            outcome = delivery.ended() => match outcome {
                Outcome::Ended(reason) => break Farewell::of_stream(reason),
                Outcome::Failed(error) => {
                    guard.add_bytes(delivery.bytes());
                    guard.ends(false, error.to_string());
                    // Before the end is told.
                    drop(delivery);
                    return Err(error);
                }
            },
            count = ear.listen(&mut accepted.io) => match ear.understand(count) {
                Ok(reply) => match delivery.say(reply) {
                    Ok(()) => {}
                    Err(too_much) => {
                        let error = io::Error::from(too_much);
                        break Farewell { clean: false, reason: error.to_string(), words: None };
                    }
                },
                Err(farewell) => break farewell,
            }
        }
    };
    guard.ends(farewell.clean, farewell.reason);
    // Whoever said nothing that is to be answered is gone, or is told by the end of the connection.
    let landed = match farewell.words {
        Some(words) => land(&mut delivery, &stop).await.map(|_reader| Some(words)),
        None => Ok(None),
    };
    guard.add_bytes(delivery.bytes());
    // Before the end is told.
    drop(delivery);
    match landed? {
        Some(words) => goodbye(accepted, websocket, &words).await,
        None => Ok(()),
    }
}

/// Serves a viewer from its own task.
async fn send<S: Io>(
    accepted: &mut Accepted<S>,
    mut reader: Reader,
    mut guard: Guard,
    websocket: bool,
    mut pace: Pace,
) -> io::Result<()> {
    let stop = accepted.registration.stop.clone();
    let mut ear = Ear::new(websocket);
    let mut batch = Batch::default();
    let farewell = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Farewell::closed(),
            next = pace.next_batch(&mut reader, &mut batch) => match next {
                Next::Packets | Next::Lagged { .. } => {
                    let written = write_batch(&mut accepted.io, &batch, &stop).await;
                    batch.clear();
                    pace.written();
                    match written {
                        Ok(bytes) => guard.add_bytes(bytes),
                        Err(error) => {
                            guard.ends(false, error.to_string());
                            return Err(error);
                        }
                    }
                }
                Next::Ended(reason) => break Farewell::of_stream(reason),
            },
            count = ear.listen(&mut accepted.io) => match ear.understand(count) {
                Ok(reply) => write_all(&mut accepted.io, &reply, WRITE_TIMEOUT).await?,
                Err(farewell) => break farewell,
            }
        }
    };
    guard.ends(farewell.clean, farewell.reason);
    match farewell.words {
        Some(words) => goodbye(accepted, websocket, &words).await,
        None => Ok(()),
    }
}

/// Why viewing is over.
struct Farewell {
    clean: bool,
    reason: String,
    /// What is still said, over WebSocket.
    words: Option<Bytes>,
}

impl Farewell {
    fn closed() -> Self {
        let reason = "closed by the server";
        Self {
            clean: true,
            reason: reason.to_owned(),
            words: Some(ws::close_frame(1001, reason)),
        }
    }

    fn of_stream(reason: EndReason) -> Self {
        Self {
            clean: true,
            reason: format!("the stream ended: {reason}"),
            words: Some(ws::close_frame(1000, &reason.to_string())),
        }
    }

    fn left() -> Self {
        Self {
            clean: true,
            reason: "the viewer left".to_owned(),
            words: None,
        }
    }
}

/// What a viewer says: nothing over plain HTTP, pings and a goodbye over WebSocket.
struct Ear {
    websocket: bool,
    buffer: BytesMut,
    heard: usize,
}

impl Ear {
    fn new(websocket: bool) -> Self {
        Self {
            websocket,
            buffer: BytesMut::new(),
            heard: 0,
        }
    }

    /// Waits until the viewer says something; 0 if it left. Cancel-safe.
    async fn listen<S: Io>(&mut self, io: &mut S) -> usize {
        io.read_buf(&mut self.buffer).await.unwrap_or(0)
    }

    /// What is to be answered, or why it is over.
    fn understand(&mut self, count: usize) -> Result<Bytes, Farewell> {
        if count == 0 {
            return Err(Farewell::left());
        }
        if !self.websocket {
            self.buffer.clear();
            self.heard += count;
            return if self.heard > MAX_CHATTER {
                Err(Farewell {
                    clean: false,
                    reason: "the viewer sends what nobody asked for".to_owned(),
                    words: None,
                })
            } else {
                Ok(Bytes::new())
            };
        }
        let mut replies = BytesMut::new();
        loop {
            match ws::next_frame(&mut self.buffer) {
                Ok(None) => return Ok(replies.freeze()),
                Ok(Some(ws::Incoming::Reply(bytes))) => replies.extend_from_slice(&bytes),
                Ok(Some(ws::Incoming::Close(bytes))) => {
                    replies.extend_from_slice(&bytes);
                    return Err(Farewell {
                        words: Some(replies.freeze()),
                        ..Farewell::left()
                    });
                }
                Err(error) => {
                    let reason = error.to_string();
                    return Err(Farewell {
                        clean: true,
                        words: Some(ws::close_frame(1002, &reason)),
                        reason,
                    });
                }
            }
        }
    }
}

async fn goodbye<S: Io>(accepted: &mut Accepted<S>, websocket: bool, words: &[u8]) -> io::Result<()> {
    if !websocket {
        return Ok(());
    }
    write_all(&mut accepted.io, words, WRITE_TIMEOUT).await
}

fn attach(app: &App, answer: Answer, mux: MuxId, schema: Schema) -> Result<(Reader, Granted), Refused> {
    let missing = || Refused(StatusCode::NOT_FOUND, String::new());
    match answer {
        Answer::Play(granted) => {
            let style = app.style();
            let tracks = granted.stream.tracks();
            if !tracks.is_empty()
                && !tracks
                    .iter()
                    .any(|track| containers::carries(mux, style, track.codec))
            {
                debug!(stream = %granted.key, %schema, "the stream has no track that this container can carry");
                return Err(missing());
            }
            let reader = granted.stream.reader(mux, ReaderOptions::player(schema), || {
                containers::muxer(mux, style)
            });
            reader.map(|reader| (reader, granted)).map_err(|_| missing())
        }
        Answer::Refused(Refusal::Denied(text)) => Err(Refused(StatusCode::UNAUTHORIZED, text)),
        Answer::Refused(Refusal::Overload(text)) => Err(Refused(StatusCode::SERVICE_UNAVAILABLE, text)),
        Answer::Refused(Refusal::NotFound(_) | Refusal::Taken) | Answer::Publish(_) => Err(missing()),
    }
}

/// Ends when the viewer leaves. What it sends meanwhile (the next request of a pipelining client) is kept, within a bound.
pub(super) async fn chatter<S: Io>(io: &mut S, buffer: &mut BytesMut) -> io::Result<()> {
    loop {
        if buffer.len() > MAX_CHATTER || io.read_buf(buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn refuse<S: Io>(
    app: &App,
    accepted: &mut Accepted<S>,
    head: &Head,
    status: StatusCode,
    text: String,
) -> io::Result<Opened> {
    let mut answer = if status == StatusCode::NOT_FOUND {
        app.not_found_page()
    } else {
        response::plain(status, text)
    };
    cross_origin(app, head, answer.headers_mut());
    let keep = head.keep_alive && !head.is_websocket();
    response::write(app, accepted, answer, !keep, false).await?;
    Ok(if keep { Opened::Refused } else { Opened::Over })
}

fn access<S>(app: &App, accepted: &Accepted<S>, head: &Head, target: &Target) -> Access {
    let params = head.uri.query().unwrap_or_default();
    let vhost = app.vhost(head.host(), params);
    let (app_name, stream) = StreamKey::split_path(&target.path);
    let key = StreamKey::new(&vhost, app_name, stream);
    let protocol = match (target.websocket, accepted.tls) {
        (false, false) => Protocol::Http,
        (false, true) => Protocol::Https,
        (true, false) => Protocol::Ws,
        (true, true) => Protocol::Wss,
    };
    access_to(
        app,
        &accepted.registration,
        head,
        key,
        target.form.schema(),
        protocol,
    )
}

/// What the engine is to know of a request to play.
pub(super) fn access_to(
    app: &App,
    registration: &Registration,
    head: &Head,
    key: StreamKey,
    schema: Schema,
    protocol: Protocol,
) -> Access {
    Access {
        key,
        schema,
        protocol,
        params: head.uri.query().unwrap_or_default().to_owned(),
        client: Client {
            session: registration.id,
            id: registration.sock.identifier.clone(),
            addr: app.client_address(registration.sock.peer, &head.headers),
        },
        authenticated: false,
    }
}

/// The head of a body that ends with the connection (urls.md, section 5).
fn body_head(app: &App, head: &Head, form: Form) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cross_origin(app, head, &mut headers);
    response::head(
        StatusCode::OK,
        &headers,
        app.config().http.keep_alive.as_secs(),
        false,
    )
}

fn upgrade_head(key: &str, protocols: &str) -> Vec<u8> {
    let accept = ws::accept_key(key);
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n"
    );
    // A browser that offered protocols drops the connection unless one of them is chosen (RFC 6455, section 4.1). The messages
    // are the same under every name.
    let first = protocols.split(',').next().unwrap_or_default().trim();
    if !first.is_empty() {
        head += &format!("sec-websocket-protocol: {first}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}

/// Lets pages of other origins read the answer, if the configuration allows it.
pub(super) fn cross_origin(app: &App, head: &Head, headers: &mut HeaderMap) {
    let Some(origin) = head.headers.get("origin") else {
        return;
    };
    if app.config().http.allow_cross_domains {
        headers.insert(
            HeaderName::from_static("access-control-allow-origin"),
            origin.clone(),
        );
        headers.insert(
            HeaderName::from_static("access-control-allow-credentials"),
            HeaderValue::from_static("true"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(request: &str) -> Option<Target> {
        let mut text = BytesMut::from(&*format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        Target::of(&Head::parse(&mut text).expect("valid").expect("whole"))
    }

    fn plain(path: &str) -> Option<Target> {
        Some(Target {
            path: path.into(),
            form: Form::Flv,
            websocket: false,
        })
    }

    #[test]
    fn the_first_offered_websocket_protocol_is_chosen() {
        let head = String::from_utf8(upgrade_head("k", "flv, other")).expect("text");
        assert!(head.contains("\r\nsec-websocket-protocol: flv\r\n"), "{head}");
        assert!(head.ends_with("\r\n\r\n"));
        let head = String::from_utf8(upgrade_head("k", "")).expect("text");
        assert!(!head.contains("protocol:"), "{head}");
    }

    #[test]
    fn live_urls_are_told_from_files_and_the_api() {
        assert_eq!(target("GET /live/cam.live.flv"), plain("live/cam"));
        assert_eq!(
            target("GET /live/a%2Fb%20c.live.flv?token=1"),
            plain("live/a/b c")
        );
        assert_eq!(target("GET /live/cam?a=b&schema=rtmp"), plain("live/cam"));
        for (request, form) in [
            ("GET /live/cam.live.ts", Form::Ts),
            ("GET /live/cam.live.mp4?x", Form::Fmp4),
            ("GET /live/cam?schema=ts", Form::Ts),
            ("GET /live/cam?schema=fmp4", Form::Fmp4),
        ] {
            let found = target(request).map(|target| (target.path, target.form));
            assert_eq!(found, Some(("live/cam".to_owned(), form)), "{request}");
        }
        assert_eq!(target("GET /live/cam?schema=hls"), None);
        assert_eq!(target("GET /live/cam?schema=flv"), None);
        assert_eq!(target("GET /live/cam.flv"), None);
        assert_eq!(target("HEAD /live/cam.live.flv"), None);
        assert_eq!(target("POST /live/cam.live.flv"), None);
        assert_eq!(target("GET /index/api/getMediaList?schema=rtmp"), None);
    }
}
