//! HLS over HTTP: playlists, segments and parts out of memory, recordings from the disk.

use super::head::Head;
use super::live::{access_to, chatter, cross_origin};
use super::response;
use crate::app::App;
use crate::egress::write_parts;
use crate::files::conditions::{Part, range};
use crate::hls::disk::{Listing, finished_on_disk};
use crate::hls::viewers::{Id, Place, Token, Viewer};
use crate::link::Answer;
use crate::metrics::Counters;
use crate::session::{Accepted, Io};
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER, SET_COOKIE, VARY,
};
use axum::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use hls::playlist::{self, Text, Variant};
use hls::record::{self, FilePath};
use hls::{Form, Name, Reload, Turn};
use hub::CountAs;
use lifecycle::{Protocol, Refusal};
use media::{Schema, StreamKey};
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// The cookie that ZLM knows its viewers by.
const COOKIE_NAME: &str = "ZLM_HTTP_COOKIE";

/// Most cookies of a request that are looked at.
const MAX_COOKIES: usize = 8;

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
    Playlist {
        form: Form,
        delayed: bool,
    },
    Media(Name, Form),
    /// A file of a recording.
    File(FilePath, Form),
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
        let path = path.trim_start_matches('/');
        let (folder, file) = path.rsplit_once('/')?;
        let below = path.rmatch_indices('/').nth(2).and_then(|(at, _)| {
            let (file, form) = FilePath::parse(path.get(at + 1..)?, fmp4_suffix)?;
            Some((path.get(..at)?, What::File(file, form)))
        });
        let (folder, what) = match (below, file) {
            (Some(below), _) => below,
            (None, file) => (folder, Self::named(file, fmp4_suffix)?),
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

    /// What is called so in the folder of a stream.
    fn named(file: &str, fmp4_suffix: &str) -> Option<What> {
        let playlist = |form, delayed| What::Playlist { form, delayed };
        Some(match file {
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
        What::File(file, form) => exchange.file(target.token, &file.to_string(), form).await,
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
        let lead_newcomers = self.app.config().hls.session_playlist;
        // Without a token in the path it may be a new visit to a stream that is back.
        let known = self
            .known(token, form, !lead_newcomers)
            .filter(|viewer| token.is_some() || !viewer.ended() || self.app.hub.get(&self.key).is_none());
        let lead = known.is_none() && token.is_none() && lead_newcomers;
        let viewer = match known {
            Some(viewer) => viewer,
            None => {
                let token = token
                    .or_else(|| self.cookies().next())
                    .unwrap_or_else(Token::random);
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

    /// The viewer that makes this request: by its token, by a cookie, or by its address if nothing else can be expected of it.
    fn known(&self, token: Option<Token>, form: Form, by_address: bool) -> Option<Arc<Viewer>> {
        let viewers = &self.app.hls.viewers;
        let address = self.address;
        let by_token = |token| viewers.get(&self.key, &Id { token, address, form });
        if let Some(token) = token {
            return by_token(token);
        }
        let by_cookie = self.cookies().find_map(by_token);
        by_cookie.or_else(|| by_address.then(|| viewers.from_address(&self.key, address, form))?)
    }

    /// The tokens of the request's cookies. There may be several: the file server has a cookie of this name, too, and a client sends
    /// all whose path fits.
    fn cookies(&self) -> impl Iterator<Item = Token> {
        let cookies = self.head.headers.get_all(COOKIE).iter();
        cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(name, value)| (name == COOKIE_NAME).then(|| Token::parse(value))?)
            .take(MAX_COOKIES)
    }

    /// Asks whether a newcomer may watch, and waits for the stream.
    async fn admit(&mut self, token: Token, form: Form) -> io::Result<Admitted> {
        let app = self.app;
        let (schema, protocol) = match form {
            Form::Ts => (Schema::Hls, Protocol::Hls),
            Form::Fmp4 => (Schema::HlsFmp4, Protocol::HlsFmp4),
        };
        if app.sessions.len() >= app.config().general.max_sessions as usize {
            // Viewers take no connection of their own, but they are sessions: one connection must not make any number of them.
            Counters::count(&app.counters.refused);
            let text = "too many sessions (general.max_sessions)".to_owned();
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return self.refuse(status, text).await.map(Admitted::Over);
        }
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
                if status == StatusCode::NOT_FOUND && finished_on_disk(app, &self.key, form).await {
                    // A recording of an earlier life: a file like others.
                    return Ok(Admitted::Over(Served::NotOurs));
                }
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
        if let Some(recording) = viewer.broadcast.recording().filter(|_| !delayed) {
            match self.wait(viewer, || recording.listing(form)).await? {
                Waited::Ready(Some(listing)) => return self.send_listing(viewer, listing).await,
                Waited::Ready(None) => {}
                Waited::Refused(status, text) => return self.refuse(status, text).await,
                Waited::Left => return Ok(Served::Over),
            }
        }
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

    /// There is nothing of the name here. Without a token it may be a file like others.
    async fn nothing(&mut self, token: Option<Token>) -> io::Result<Served> {
        match token {
            Some(_) => self.refuse(StatusCode::NOT_FOUND, String::new()).await,
            None => Ok(Served::NotOurs),
        }
    }

    /// A file of a recording, for a viewer of its playlist.
    async fn file(&mut self, token: Option<Token>, name: &str, form: Form) -> io::Result<Served> {
        let Some(viewer) = self.known(token, form, true) else {
            return self.nothing(token).await;
        };
        let Some(recording) = viewer.broadcast.recording() else {
            return self.nothing(token).await;
        };
        let busy = viewer.busy();
        let path = recording.path(name);
        let served = match self.app.hls.folders.read(move || open(&path)).await {
            Ok((file, length)) => {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, media_type(form));
                // A file of a recording does not change.
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
                self.send_file(&viewer, headers, file, length).await
            }
            Err(_) => self.nothing(token).await,
        };
        drop(busy);
        served
    }

    async fn send_listing(&mut self, viewer: &Viewer, listing: Listing) -> io::Result<Served> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, PLAYLIST);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.set_cookie(&mut headers, viewer.id.token);
        self.send_file(viewer, headers, listing.file, listing.length)
            .await
    }

    /// Writes an answer whose body is the beginning of a file, a piece at a time.
    async fn send_file(
        &mut self,
        viewer: &Viewer,
        mut headers: HeaderMap,
        file: Arc<File>,
        length: u64,
    ) -> io::Result<Served> {
        cross_origin(self.app, self.head, &mut headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let idle = self.app.config().http.keep_alive.as_secs();
        let head = response::head(StatusCode::OK, &headers, idle, !self.head.keep_alive);
        let mut parts = vec![Bytes::from(head)];
        let length = if self.head.method == Method::HEAD {
            0
        } else {
            length
        };
        let stop = self.accepted.registration.stop.clone();
        let mut offset = 0;
        while offset < length {
            let count = usize::try_from(length - offset).map_or(PIECE, |left| left.min(PIECE));
            let file = file.clone();
            let read = self.app.hls.folders.read(move || {
                let mut piece = vec![0; count];
                file.read_exact_at(&mut piece, offset).map(|()| piece)
            });
            let piece = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Served::Over),
                piece = read => piece?,
            };
            parts.push(piece.into());
            write_parts(&mut self.accepted.io, std::mem::take(&mut parts), &stop).await?;
            viewer.add_bytes(count as u64);
            offset += count as u64;
        }
        write_parts(&mut self.accepted.io, parts, &stop).await?;
        Ok(self.served())
    }

    async fn media(&mut self, token: Option<Token>, name: Name, form: Form) -> io::Result<Served> {
        let Some(viewer) = self.known(token, form, true) else {
            return self.nothing(token).await;
        };
        if name == Name::Init(None)
            && let Some(recording) = viewer.broadcast.recording()
            && matches!(recording.listing(form), Turn::Ready(Some(_)))
        {
            // Memory forgets it when the tracks have changed.
            return self.file(token, record::INIT, form).await;
        }
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
        headers.insert(CONTENT_TYPE, media_type(form));
        // A name stands for the same bytes as long as the stream lives; another life of the stream may use it anew.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let length = length(&pieces);
        // A segment does not change, so If-Range needs no look: there is no validator that it could name.
        let wanted = self.head.text(RANGE);
        let asks =
            !wanted.is_empty() && self.head.text(IF_RANGE).is_empty() && self.head.method == Method::GET;
        let part = if asks { range(wanted, length) } else { Part::Whole };
        let (status, pieces) = match part {
            Part::Range { first, last } => {
                let text = format!("bytes {first}-{last}/{length}");
                headers.insert(CONTENT_RANGE, text_value(&text));
                (StatusCode::PARTIAL_CONTENT, cut(pieces, first, last))
            }
            Part::Unsatisfiable => {
                headers.insert(CONTENT_RANGE, text_value(&format!("bytes */{length}")));
                (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new())
            }
            Part::Whole | Part::NotModified | Part::Failed => (StatusCode::OK, pieces),
        };
        viewer.add_bytes(self::length(&pieces));
        self.answer(status, headers, pieces).await
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
                    Counters::count(&self.app.counters.hls_timeouts);
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
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length(&body)));
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

/// Bytes of a file that are read at once, and about what a request holds of it.
const PIECE: usize = 64 * 1024;

fn media_type(form: Form) -> HeaderValue {
    HeaderValue::from_static(match form {
        Form::Ts => "video/mp2t; charset=utf-8",
        Form::Fmp4 => "video/mp4; charset=utf-8",
    })
}

/// Opens a file and looks how long it is. Blocks.
fn open(path: &Path) -> io::Result<(Arc<File>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((Arc::new(file), length))
}

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

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// The bytes from `first` to `last` of what the pieces hold together.
fn cut(pieces: Vec<Bytes>, first: u64, last: u64) -> Vec<Bytes> {
    let mut from = 0;
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = from + piece.len() as u64;
        if end > first && from <= last {
            let begin = first.saturating_sub(from);
            let stop = (last + 1).min(end) - from;
            // Both are within the piece, whose length is a usize.
            kept.push(piece.slice(begin as usize..stop as usize));
        }
        from = end;
    }
    kept
}

/// A header of digits and signs of our own.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn target(line: &str) -> Option<Target> {
        let mut text = BytesMut::from(&*format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        Target::of(&Head::parse(&mut text).expect("valid").expect("whole"), ".mp4")
    }

    #[test]
    fn playlists_and_what_they_name_are_told_from_other_files() {
        let playlist = |form, delayed| What::Playlist { form, delayed };
        let token = "0123456789abcdef0123456789abcdef";
        for (line, path, known, what) in [
            (
                "GET /live/cam/hls.m3u8?token=1",
                "live/cam",
                false,
                playlist(Form::Ts, false),
            ),
            (
                "GET /live/a%20b/c/hls.fmp4.m3u8",
                "live/a b/c",
                false,
                playlist(Form::Fmp4, false),
            ),
            (
                "HEAD /live/cam/hls_delay.m3u8",
                "live/cam",
                false,
                playlist(Form::Ts, true),
            ),
            (
                &format!("GET /live/cam/session-{token}/hls.m3u8"),
                "live/cam",
                true,
                playlist(Form::Ts, false),
            ),
            (
                &format!("GET /live/cam/session-{token}/0000012000.3.mp4"),
                "live/cam",
                true,
                What::Media(
                    Name::Part {
                        start: 12_000,
                        index: 3,
                    },
                    Form::Fmp4,
                ),
            ),
            // A folder of a recording that happens to be called so.
            (
                "GET /live/session-1/hls.m3u8",
                "live/session-1",
                false,
                playlist(Form::Ts, false),
            ),
        ] {
            let found = target(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(
                (found.path.as_str(), found.token.is_some(), found.what),
                (path, known, what),
                "{line}"
            );
        }
        for line in [
            "GET /hls.m3u8",
            "POST /live/cam/hls.m3u8",
            "GET /live/cam/index.m3u8",
            "GET /live/cam/37-55_0.ts",
            "GET /live/cam.live.ts",
        ] {
            assert_eq!(target(line), None, "{line}");
        }
    }

    #[test]
    fn directives_are_read_and_nonsense_is_named() {
        let wanted = Reload {
            sequence: Some(7),
            part: Some(2),
            skip: true,
            delayed: false,
        };
        assert_eq!(
            reload("a=b&_HLS_msn=7&_HLS_part=2&_HLS_skip=YES", false),
            Ok(wanted)
        );
        assert_eq!(reload("", true).map(|reload| reload.delayed), Ok(true));
        for (query, says) in [
            ("_HLS_msn=-1", "_HLS_msn"),
            ("_HLS_part=x", "_HLS_part"),
            ("_HLS_skip=no", "YES"),
        ] {
            assert!(
                reload(query, false).is_err_and(|text| text.contains(says)),
                "{query}"
            );
        }
    }

    #[test]
    fn a_range_is_cut_across_pieces() {
        let pieces = || {
            vec![
                Bytes::from_static(b"abc"),
                Bytes::from_static(b""),
                Bytes::from_static(b"defg"),
            ]
        };
        let whole = b"abcdefg";
        for first in 0..whole.len() {
            for last in first..whole.len() {
                let found = cut(pieces(), first as u64, last as u64).concat();
                assert_eq!(found, &whole[first..=last], "{first}-{last}");
            }
        }
    }

    #[test]
    fn compression_is_used_when_it_is_accepted() {
        for (value, expected) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
    }

    #[test]
    fn files_of_recordings_are_below_their_stream() {
        let token = Token::random();
        let of = |path: &str| {
            let target = target(&format!("GET {path}"))?;
            let What::File(file, form) = target.what else {
                return None;
            };
            Some((target.path, target.token, file.to_string(), form))
        };
        let file = "2026-11-22/13/37-55_0.ts";
        let wanted = |token, file: &str, form| Some(("live/a/b".to_owned(), token, file.to_owned(), form));
        assert_eq!(of(&format!("/live/a/b/{file}")), wanted(None, file, Form::Ts));
        assert_eq!(
            of(&format!("/live/a/b/session-{token}/{file}")),
            wanted(Some(token), file, Form::Ts)
        );
        let init = "2026-11-22/13/init-37-55_0.mp4";
        assert_eq!(
            of(&format!("/live/a/b/{init}?x=1")),
            wanted(None, init, Form::Fmp4)
        );
        for path in [
            "/2026-11-22/13/37-55_0.ts",
            "/live/a/b/2026-11-22/13/../37-55_0.ts",
            "/live/a/b/2026-11-22/%2e%2e/37-55_0.ts",
            "/live/a/b/2026-11-22/13/%2e%2e%2f37-55_0.ts",
            "/live/a/b/2026-11-22/13/vod.m3u8",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        let playlist = target("GET /live/a/hls.m3u8").expect("a playlist");
        assert_eq!((playlist.path.as_str(), playlist.token), ("live/a", None));
    }
}
