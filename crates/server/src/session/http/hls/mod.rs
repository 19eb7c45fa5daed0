//! HLS over HTTP: playlists, segments and parts out of memory, recordings from the disk.

mod answer;
mod target;

pub use target::Target;

use super::head::Head;
use super::live::{access_to, chatter};
use crate::app::App;
use crate::hls::disk::finished_on_disk;
use crate::hls::viewers::{Id, Place, Token, Viewer};
use crate::link::Answer;
use crate::metrics::Counters;
use crate::session::{Accepted, Io};
use answer::{COOKIE_NAME, NO_STORE, PLAYLIST, open};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap};
use axum::http::{Method, StatusCode};
use bytes::BytesMut;
use hls::playlist::{self, Variant};
use hls::{Form, Name, Turn, record};
use hub::CountAs;
use lifecycle::{Protocol, Refusal};
use media::{Schema, StreamKey};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::{SESSION, What, reload};
use tokio::time::timeout_at;

/// Most cookies of a request that are looked at.
const MAX_COOKIES: usize = 8;

/// What is assumed of a stream of which nothing was measured yet, in bits per second.
const UNKNOWN_BANDWIDTH: u64 = 2_000_000;

/// What became of a request.
pub enum Served {
    /// It was answered, and the connection can take another one.
    Answered,
    /// It is for somebody else: a file may have such a name.
    NotOurs,
    /// The connection is to be closed.
    Over,
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
            .filter(|viewer| token.is_some() || !viewer.ended() || self.app.hub.get(&viewer.key).is_none());
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
        let mut cookies = self.cookies().peekable();
        if cookies.peek().is_some() {
            // Whoever shows a token and is not known by it is somebody else at that address.
            return cookies.find_map(by_token);
        }
        by_address.then(|| viewers.at_address(&self.key, address, form))?
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
            .or_else(|| self.app.hub.get(&viewer.key).map(|stream| stream.tracks()))
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
        let measured = self.app.hub.get(&viewer.key).map_or(0, |stream| {
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
            Ok((file, length)) => self.send_recorded(&viewer, form, file, length).await,
            Err(_) => self.nothing(token).await,
        };
        drop(busy);
        served
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
}

enum Waited<T> {
    Ready(T),
    Refused(StatusCode, String),
    Left,
}

/// How long a player waits for something new at least; a stream's first segment takes as long as its first group of pictures.
const LEAST_WAIT: Duration = Duration::from_secs(15);
