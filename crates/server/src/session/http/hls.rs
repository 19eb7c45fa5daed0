//! HLS over HTTP: playlists, segments and parts out of memory.

use super::head::Head;
use super::live::{access_to, chatter, cross_origin};
use super::response;
use crate::app::App;
use crate::egress::write_parts;
use crate::hls::viewers::{Id, Place, Token, Viewer};
use crate::link::Answer;
use crate::session::{Accepted, Io};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap,
    HeaderValue, RETRY_AFTER, SET_COOKIE, VARY,
};
use axum::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use hls::playlist::{self, Text, Variant};
use hls::{Form, Name, Reload, Turn};
use hub::CountAs;
use lifecycle::{Protocol, Refusal};
use media::{Schema, StreamKey};
use percent_encoding::percent_decode_str;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// The cookie that ZLM knows its viewers by.
const COOKIE_NAME: &str = "ZLM_HTTP_COOKIE";

/// What stands before a token in a path.
const SESSION: &str = "session-";

/// What is assumed of a stream of which nothing was measured yet, in bits per second.
const UNKNOWN_BANDWIDTH: u64 = 2_000_000;

/// A request for something of HLS.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// `app/stream`, decoded.
    path: String,
    /// The token in the path.
    token: Option<Token>,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Playlist { form: Form, delayed: bool },
    Media(Name, Form),
}

/// What became of a request.
pub enum Served {
    /// It was answered, and the connection can take another one.
    Answered,
    /// It is for somebody else: a file may have such a name.
    NotOurs,
    /// The connection is to be closed.
    Over,
}

impl Target {
    /// The target of a request: `/app/stream/hls.m3u8` and its like, and what such playlists name (urls.md, section 6).
    pub fn of(head: &Head, fmp4_suffix: &str) -> Option<Self> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return None;
        }
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok()?;
        let (folder, file) = path.trim_start_matches('/').rsplit_once('/')?;
        let playlist = |form, delayed| What::Playlist { form, delayed };
        let what = match file {
            "hls.m3u8" => playlist(Form::Ts, false),
            "hls.fmp4.m3u8" => playlist(Form::Fmp4, false),
            "hls_delay.m3u8" => playlist(Form::Ts, true),
            "hls_delay.fmp4.m3u8" => playlist(Form::Fmp4, true),
            _ => {
                let name = Name::parse(file, fmp4_suffix)?;
                let form = match name {
                    Name::Segment { form, .. } => form,
                    Name::Init(_) | Name::Part { .. } => Form::Fmp4,
                };
                What::Media(name, form)
            }
        };
        let (path, token) = match folder.rsplit_once('/') {
            Some((path, last)) => match last.strip_prefix(SESSION).and_then(Token::parse) {
                Some(token) => (path, Some(token)),
                None => (folder, None),
            },
            None => (folder, None),
        };
        Some(Self {
            path: path.to_owned(),
            token,
            what,
        })
    }
}

/// Answers a request.
///
/// # Errors
///
/// The connection's.
pub async fn serve<S: Io>(
    app: &Arc<App>,
    accepted: &mut Accepted<S>,
    head: &Head,
    target: Target,
    buffer: &mut BytesMut,
) -> io::Result<Served> {
    let params = head.uri.query().unwrap_or_default();
    let vhost = app.vhost(head.host(), params);
    let (app_name, stream) = StreamKey::split_path(&target.path);
    let key = StreamKey::new(&vhost, app_name, stream);
    let address = app
        .client_address(accepted.registration.sock.peer, &head.headers)
        .ip();
    let mut exchange = Exchange {
        app,
        accepted,
        head,
        buffer,
        key,
        address,
    };
    match target.what {
        What::Playlist { form, delayed } => exchange.playlist(target.token, form, delayed).await,
        What::Media(name, form) => exchange.media(target.token, name, form).await,
    }
}

/// One request, and what is needed to answer it.
struct Exchange<'a, S> {
    app: &'a Arc<App>,
    accepted: &'a mut Accepted<S>,
    head: &'a Head,
    buffer: &'a mut BytesMut,
    key: StreamKey,
    address: IpAddr,
}

/// A newcomer was let in, or the request is over.
enum Admitted {
    Viewer(Arc<Viewer>),
    Over(Served),
}

impl<S: Io> Exchange<'_, S> {
    async fn playlist(&mut self, token: Option<Token>, form: Form, delayed: bool) -> io::Result<Served> {
        if self.head.method == Method::HEAD {
            // Nobody watches by asking for heads.
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, PLAYLIST);
            return self.answer(StatusCode::OK, headers, Vec::new()).await;
        }
        let known = self.known(token, form);
        let lead = known.is_none() && token.is_none() && self.app.config().hls.session_playlist;
        let viewer = match known {
            Some(viewer) => viewer,
            None => {
                let token = token.or(self.cookie()).unwrap_or_else(Token::random);
                match self.admit(token, form).await? {
                    Admitted::Viewer(viewer) => viewer,
                    Admitted::Over(served) => return Ok(served),
                }
            }
        };
        let busy = viewer.busy();
        let served = if lead {
            self.lead(&viewer, delayed).await
        } else {
            self.listing(&viewer, form, delayed).await
        };
        drop(busy);
        served
    }

    /// The viewer that makes this request.
    fn known(&self, token: Option<Token>, form: Form) -> Option<Arc<Viewer>> {
        let viewers = &self.app.hls.viewers;
        let id = |token| Id {
            token,
            address: self.address,
            form,
        };
        if let Some(token) = token {
            return viewers.get(&self.key, &id(token));
        }
        let viewer = match self.cookie() {
            Some(token) => viewers.get(&self.key, &id(token)),
            None if self.app.config().hls.session_playlist => None,
            None => viewers.at_address(&self.key, self.address, form),
        };
        // Without a token in the path it may be a new visit to a stream that is back.
        viewer.filter(|viewer| !viewer.ended() || self.app.hub.get(&self.key).is_none())
    }

    fn cookie(&self) -> Option<Token> {
        let cookies = self.head.headers.get_all(COOKIE).iter();
        cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == COOKIE_NAME).then(|| Token::parse(value))?)
    }

    /// Asks whether a newcomer may watch, and waits for the stream.
    async fn admit(&mut self, token: Token, form: Form) -> io::Result<Admitted> {
        let app = self.app;
        let (schema, protocol) = match form {
            Form::Ts => (Schema::Hls, Protocol::Hls),
            Form::Fmp4 => (Schema::HlsFmp4, Protocol::HlsFmp4),
        };
        let registration = self.accepted.registration.viewer(&app.stop);
        let params = self.params();
        let mut access = access_to(app, &registration, self.head, self.key.clone(), schema, protocol);
        access.params.clone_from(&params);
        let rule = app.rule_for(&access.key, &access.params);
        let mut pending = app.link.ask_play(access, rule);
        let stop = self.accepted.registration.stop.clone();
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => {
                pending.guard.ends(true, "closed by the server");
                return Ok(Admitted::Over(Served::Over));
            }
            () = registration.stop.cancelled() => {
                pending.guard.ends(true, "closed by the server");
                return Ok(Admitted::Over(Served::Over));
            }
            answer = pending.answer() => answer,
            gone = chatter(&mut self.accepted.io, self.buffer) => {
                pending.guard.ends(true, "the viewer left while waiting");
                return gone.map(|()| Admitted::Over(Served::Over));
            }
        };
        let granted = match answer {
            Answer::Play(granted) => Ok(granted),
            Answer::Refused(Refusal::Denied(text)) => Err((StatusCode::UNAUTHORIZED, text)),
            Answer::Refused(Refusal::Overload(text)) => Err((StatusCode::SERVICE_UNAVAILABLE, text)),
            Answer::Refused(Refusal::NotFound(_) | Refusal::Taken) | Answer::Publish(_) => {
                Err((StatusCode::NOT_FOUND, String::new()))
            }
        };
        let joined = granted.and_then(|granted| {
            let uses = app.hls.join(app, &granted.stream);
            uses.map(|uses| (granted, uses))
                .ok_or((StatusCode::NOT_FOUND, String::new()))
        });
        let (granted, uses) = match joined {
            Ok(joined) => joined,
            Err((status, text)) => {
                pending.guard.ends(true, "refused");
                drop(pending);
                return self.refuse(status, text).await.map(Admitted::Over);
            }
        };
        registration.plays(&granted.key, schema);
        let place = Place {
            counted: granted.stream.count(CountAs::Schema(schema)),
            registration,
            guard: pending.guard,
            uses,
        };
        let id = Id {
            token,
            address: self.address,
            form,
        };
        Ok(Admitted::Viewer(app.hls.viewers.admit(app, &self.key, id, place)))
    }

    /// Leads a newcomer to the playlist of its own.
    async fn lead(&mut self, viewer: &Viewer, delayed: bool) -> io::Result<Served> {
        let live = &viewer.broadcast.live;
        let tracks = live
            .tracks()
            .or_else(|| self.app.hub.get(&self.key).map(|stream| stream.tracks()))
            .unwrap_or_default();
        let file = match (viewer.id.form, delayed) {
            (Form::Ts, false) => "hls.m3u8",
            (Form::Ts, true) => "hls_delay.m3u8",
            (Form::Fmp4, false) => "hls.fmp4.m3u8",
            (Form::Fmp4, true) => "hls_delay.fmp4.m3u8",
        };
        let mut uri = format!("{SESSION}{}/{file}", viewer.id.token);
        let params = self.params();
        if !params.is_empty() {
            uri.extend(["?", &params]);
        }
        let measured = self.app.hub.get(&self.key).map_or(0, |stream| {
            stream
                .info(Schema::Hls, Instant::now())
                .bytes_speed
                .saturating_mul(8)
        });
        let assumed = if measured > 0 {
            measured + measured / 4
        } else {
            UNKNOWN_BANDWIDTH
        };
        let text = playlist::master(&Variant {
            uri: &uri,
            tracks: &tracks,
            bandwidth: live.bandwidth().unwrap_or((assumed, assumed)),
            form: viewer.id.form,
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, PLAYLIST);
        headers.insert(CACHE_CONTROL, NO_STORE);
        self.set_cookie(&mut headers, viewer.id.token);
        let sent = text.len() as u64;
        let served = self.answer(StatusCode::OK, headers, vec![text.into()]).await?;
        viewer.add_bytes(sent);
        Ok(served)
    }

    /// The media playlist, when it is as new as was asked for.
    async fn listing(&mut self, viewer: &Viewer, form: Form, delayed: bool) -> io::Result<Served> {
        let reload = match reload(self.head.uri.query().unwrap_or_default(), delayed) {
            Ok(reload) => reload,
            Err(text) => return self.refuse(StatusCode::BAD_REQUEST, text).await,
        };
        let live = viewer.broadcast.live.clone();
        let turn = self.wait(viewer, || live.playlist(form, reload)).await?;
        match turn {
            Waited::Ready(text) => self.send_text(viewer, &text).await,
            Waited::Refused(status, text) => self.refuse(status, text).await,
            Waited::Left => Ok(Served::Over),
        }
    }

    async fn send_text(&mut self, viewer: &Viewer, text: &Text) -> io::Result<Served> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, PLAYLIST);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        self.set_cookie(&mut headers, viewer.id.token);
        let body = if accepts_gzip(&self.head.headers) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            text.gzip()
        } else {
            text.plain()
        };
        viewer.add_bytes(body.len() as u64);
        self.answer(StatusCode::OK, headers, vec![body.clone()]).await
    }

    async fn media(&mut self, token: Option<Token>, name: Name, form: Form) -> io::Result<Served> {
        let viewers = &self.app.hls.viewers;
        let viewer = match token.or_else(|| self.cookie()) {
            Some(token) => viewers.get(
                &self.key,
                &Id {
                    token,
                    address: self.address,
                    form,
                },
            ),
            None => viewers.at_address(&self.key, self.address, form),
        };
        let Some(viewer) = viewer else {
            if token.is_some() {
                return self.refuse(StatusCode::NOT_FOUND, String::new()).await;
            }
            return Ok(Served::NotOurs);
        };
        let busy = viewer.busy();
        let live = viewer.broadcast.live.clone();
        let served = match self.wait(&viewer, || live.find(name)).await? {
            Waited::Ready(pieces) => self.send_media(&viewer, form, pieces).await,
            Waited::Refused(StatusCode::NOT_FOUND, _) if token.is_none() => Ok(Served::NotOurs),
            Waited::Refused(status, text) => self.refuse(status, text).await,
            Waited::Left => Ok(Served::Over),
        };
        drop(busy);
        served
    }

    async fn send_media(&mut self, viewer: &Viewer, form: Form, pieces: Vec<Bytes>) -> io::Result<Served> {
        let mut headers = HeaderMap::new();
        let kind = match form {
            Form::Ts => "video/mp2t; charset=utf-8",
            Form::Fmp4 => "video/mp4; charset=utf-8",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // A name stands for the same bytes as long as the stream lives; another life of the stream may use it anew.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        let length: usize = pieces.iter().map(Bytes::len).sum();
        viewer.add_bytes(length as u64);
        self.answer(StatusCode::OK, headers, pieces).await
    }

    /// Asks again after every change until the answer is there, within the time that a player may be kept waiting.
    async fn wait<T>(&mut self, viewer: &Viewer, ask: impl Fn() -> Turn<T>) -> io::Result<Waited<T>> {
        let mut changes = viewer.broadcast.changes();
        let patience = (viewer.broadcast.live.target_duration() * 3).max(LEAST_WAIT);
        let deadline = tokio::time::Instant::now() + patience;
        let stop = self.accepted.registration.stop.clone();
        loop {
            changes.borrow_and_update();
            match ask() {
                Turn::Ready(answer) => return Ok(Waited::Ready(answer)),
                Turn::Missing => return Ok(Waited::Refused(StatusCode::NOT_FOUND, String::new())),
                Turn::Invalid(why) => return Ok(Waited::Refused(StatusCode::BAD_REQUEST, why.to_owned())),
                Turn::Wait => {}
            }
            let changed = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Waited::Left),
                () = viewer.cut() => return Ok(Waited::Left),
                changed = timeout_at(deadline, changes.changed()) => changed,
                gone = chatter(&mut self.accepted.io, self.buffer) => {
                    gone?;
                    return Ok(Waited::Left);
                }
            };
            match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(Waited::Refused(StatusCode::NOT_FOUND, String::new())),
                Err(_) => {
                    crate::metrics::Counters::count(&self.app.counters.hls_timeouts);
                    let text = "the stream has nothing new".to_owned();
                    return Ok(Waited::Refused(StatusCode::SERVICE_UNAVAILABLE, text));
                }
            }
        }
    }

    /// The query of the request without what is only for the playlist.
    fn params(&self) -> String {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        let own: Vec<&str> = pairs
            .filter(|pair| !pair.is_empty() && !pair.starts_with("_HLS_"))
            .collect();
        own.join("&")
    }

    fn set_cookie(&self, headers: &mut HeaderMap, token: Token) {
        let path = self.head.uri.path();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = folder
            .rsplit_once('/')
            .filter(|(_, last)| {
                last.strip_prefix(SESSION)
                    .is_some_and(|token| Token::parse(token).is_some())
            })
            .map_or(folder, |(folder, _)| folder);
        let secure = if self.accepted.tls { ";Secure" } else { "" };
        let cookie = format!("{COOKIE_NAME}={token};path={folder}/;HttpOnly;SameSite=Lax{secure}");
        if let Ok(mut value) = HeaderValue::from_str(&cookie) {
            value.set_sensitive(true);
            headers.insert(SET_COOKIE, value);
        }
    }

    async fn refuse(&mut self, status: StatusCode, text: String) -> io::Result<Served> {
        let mut response = if status == StatusCode::NOT_FOUND {
            self.app.not_found_page()
        } else {
            response::plain(status, text)
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        cross_origin(self.app, self.head, response.headers_mut());
        let keep = self.head.keep_alive;
        let headless = self.head.method == Method::HEAD;
        response::write(self.app, self.accepted, response, !keep, headless).await?;
        Ok(self.served())
    }

    /// Writes an answer; its body in pieces as they are in memory.
    async fn answer(
        &mut self,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Vec<Bytes>,
    ) -> io::Result<Served> {
        cross_origin(self.app, self.head, &mut headers);
        let length: usize = body.iter().map(Bytes::len).sum();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let idle = self.app.config().http.keep_alive.as_secs();
        let head = response::head(status, &headers, idle, !self.head.keep_alive);
        let mut parts = vec![Bytes::from(head)];
        if self.head.method != Method::HEAD {
            parts.extend(body);
        }
        let stop = self.accepted.registration.stop.clone();
        write_parts(&mut self.accepted.io, parts, &stop).await?;
        Ok(self.served())
    }

    fn served(&self) -> Served {
        if self.head.keep_alive {
            Served::Answered
        } else {
            Served::Over
        }
    }
}

enum Waited<T> {
    Ready(T),
    Refused(StatusCode, String),
    Left,
}

/// How long a player waits for something new at least; a stream's first segment takes as long as its first group of pictures.
const LEAST_WAIT: Duration = Duration::from_secs(15);

const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The delivery directives of a request (RFC 8216bis, section 6.2.5).
fn reload(query: &str, delayed: bool) -> Result<Reload, String> {
    let mut reload = Reload {
        delayed,
        ..Reload::default()
    };
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name} must be a whole number, not {value:?}"))
        };
        match name {
            "_HLS_msn" => reload.sequence = Some(number()?),
            "_HLS_part" => reload.part = Some(number()?),
            "_HLS_skip" if matches!(value, "YES" | "v2") => reload.skip = true,
            "_HLS_skip" => return Err(format!("_HLS_skip must be YES or v2, not {value:?}")),
            _ => {}
        }
    }
    Ok(reload)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            let refused = quality
                .trim()
                .strip_prefix("q=")
                .and_then(|value| value.parse::<f32>().ok())
                .is_some_and(|value| value <= 0.0);
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
}
