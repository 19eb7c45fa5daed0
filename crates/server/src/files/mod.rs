//! Files over HTTP: what is below `http.rootPath` and `http.virtualPath` (urls.md, section 12).
//!
//! - [`path`]: from a URL to a place. `root`: opening there, and nowhere else.
//! - `access`: who may; [`decisions`]: what the hook service said about it before.
//! - `conditions`: what a client has already, or wants of a file. `kind`: media types.
//! - `body`: sending a file in pieces. `listing`: the page of a folder. [`download`]: a file by its path in the file system.

mod access;
mod body;
pub mod conditions;
mod decisions;
mod download;
mod kind;
mod listing;
mod path;
mod root;

use crate::app::App;
use crate::player;
use crate::session::http::{host_of, plain};
use access::Gate;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HOST, HeaderMap, HeaderValue, LAST_MODIFIED, LOCATION, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use body::Reading;
use conditions::{Conditions, Part, Validators};
use config::Config;
use decisions::Decisions;
pub use download::download;
use futures_util::stream;
use hooks::Hook;
use kind::Kind;
use path::{Place, Target};
use root::{Denied, Look, Root};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tracing::debug;

/// Most files and folders that are being sent at once. With a piece of each in memory they take 128 MiB, and far fewer descriptors
/// than the server may open.
const MAX_OPEN: usize = 1024;

/// Most folder pages among them, which are in memory whole.
const MAX_PAGES: usize = 32;

/// Most calls to the file system at once. Each keeps a thread busy; more threads would not make a disk faster, and each costs memory
/// for as long as the server runs.
const MAX_CALLS: usize = 16;

/// The turn of those that call the file system.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CALLS)))
    }
}

impl Turns {
    /// Runs what blocks, when it is its turn. At most [`MAX_OPEN`] wait, and clients that ask for permission.
    ///
    /// # Errors
    ///
    /// It panicked, which was reported where it happened.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Never closed. The turn comes back with the result: then the thread is free again for the next call, which needs no further
        // one. If nobody waits any more, both are dropped when the call is over.
        let turn = self.0.clone().acquire_owned().await.ok();
        let (result, _turn) = spawn_blocking(move || (call(), turn)).await?;
        Ok(result)
    }
}

/// The state of the file server.
#[derive(Debug)]
pub struct Files {
    /// Calls to the file system.
    pub turns: Turns,
    open: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    /// What the hook service decided.
    pub decisions: Decisions,
    /// What happened so far.
    pub counters: Arc<Counters>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            turns: Turns::default(),
            open: Arc::new(Semaphore::new(MAX_OPEN)),
            pages: Arc::new(Semaphore::new(MAX_PAGES)),
            decisions: Decisions::default(),
            counters: Arc::default(),
        }
    }
}

impl Files {
    /// Files and folders that are being sent.
    pub fn open(&self) -> usize {
        let free = self.open.available_permits() + self.pages.available_permits();
        (MAX_OPEN + MAX_PAGES).saturating_sub(free)
    }
}

/// What the file server counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files and folders that were answered with, parts and 304 included.
    pub served: AtomicU64,
    /// Bytes of files that were handed to connections.
    pub bytes: AtomicU64,
    /// Requests for what does not exist.
    pub missing: AtomicU64,
    /// Requests for what is never served: hidden names, broken encodings.
    pub hidden: AtomicU64,
    /// Requests that a symbolic link would have led out of the root.
    pub outside: AtomicU64,
    /// Requests for what the process may not read.
    pub unreadable: AtomicU64,
    /// Requests beyond the bounds on what is sent at once.
    pub busy: AtomicU64,
    /// Requests that the hook service denied, or did not answer for.
    pub denied: AtomicU64,
    /// Requests from outside of `http.allow_ip_range`.
    pub address: AtomicU64,
}

impl Counters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The refusals by reason.
    pub fn refused(&self) -> [(&'static str, u64); 7] {
        [
            ("missing", &self.missing),
            ("hidden", &self.hidden),
            ("outside", &self.outside),
            ("unreadable", &self.unreadable),
            ("busy", &self.busy),
            ("denied", &self.denied),
            ("address", &self.address),
        ]
        .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
    }
}

/// Whether a request needs no permission of its own, because it belongs to something that was permitted already: a viewer of HLS who
/// fetches a segment from the disk (hooks.md, section 6: no `on_http_access` with the cookie of a viewer). There are no such viewers
/// yet, so nothing is excused.
fn excused(_app: &App, _request: &Parts) -> bool {
    false
}

/// Answers `GET` and `HEAD` of what is neither live nor the API: a file, a folder, a built-in page, or 404.
pub async fn respond(app: &App, request: &Parts) -> Response<Body> {
    let mut response = serve(app, request).await;
    api::allow_origin(
        &request.headers,
        app.config().http.allow_cross_domains,
        response.headers_mut(),
    );
    response
}

async fn serve(app: &App, request: &Parts) -> Response<Body> {
    let config = app.config();
    let counters = &app.files.counters;
    let vhost = vhost(app, &config, request);
    let target = Target::of(request.uri.path());
    let place = target
        .as_ref()
        .and_then(|target| Place::of(&config.http, target, vhost.as_deref()));
    let (Some(target), Some(place)) = (target, place) else {
        Counters::count(&counters.hidden);
        return app.not_found_page();
    };
    let host = vhost.as_deref().unwrap_or_default();
    let cookie = match access::check(app, request, &target, &place, host).await {
        Gate::Open(cookie) => cookie,
        Gate::Shut(response) => return response,
    };
    let mut response = permitted(app, request, &config, target, place).await;
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn vhost(app: &App, config: &Config, request: &Parts) -> Option<String> {
    if !config.general.enable_vhost {
        return None;
    }
    let host = request.headers.get(HOST).and_then(|value| value.to_str().ok());
    let query = request.uri.query().unwrap_or_default();
    Some(app.vhost(host_of(host.unwrap_or_default()), query))
}

/// Looks for a permitted target and answers with it.
async fn permitted(
    app: &App,
    request: &Parts,
    config: &Config,
    target: Target,
    place: Place,
) -> Response<Body> {
    let files = &app.files;
    let Ok(slot) = files.open.clone().try_acquire_owned() else {
        return refuse(app, Denied::Busy);
    };
    let page = request.uri.path() == "/" && player::is_page(app, "/");
    let search = Search {
        conditions: Conditions::of(&request.headers),
        get: request.method == Method::GET,
        // A built-in page stands before the contents of a folder.
        list: config.http.dir_menu && !page,
        pages: files.pages.clone(),
        target,
        place,
        slot,
    };
    let found = match files.turns.run(move || search.run()).await {
        Ok(found) => found,
        // A defect; the panic itself was reported where it happened.
        Err(_) => return plain(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    };
    // An answer that depends on who asks is not for shared caches.
    let private = app.hooks.is_on(Hook::HttpAccess);
    match (found, page) {
        (Ok(Found::NoPage) | Err(Denied::Missing), true) => player::respond(app, request).await,
        (Ok(Found::NoPage), false) => refuse(app, Denied::Missing),
        (Ok(Found::Elsewhere(path)), _) => elsewhere(&path, request.uri.query()),
        (Ok(Found::Listing(text, slot)), _) => {
            Counters::count(&files.counters.served);
            listing(text, slot, private)
        }
        (Ok(Found::File(file)), _) => {
            Counters::count(&files.counters.served);
            file.answer(&config.http.char_set, private, files)
        }
        (Err(denied), _) => refuse(app, denied),
    }
}

fn refuse(app: &App, denied: Denied) -> Response<Body> {
    let counters = &app.files.counters;
    let counter = match denied {
        Denied::Missing => &counters.missing,
        Denied::Outside => &counters.outside,
        Denied::Unreadable(_) => &counters.unreadable,
        Denied::Busy => &counters.busy,
    };
    Counters::count(counter);
    if denied != Denied::Missing {
        debug!(%denied, "a file is not served");
    }
    if denied == Denied::Busy {
        let text = "too many files are being sent, try again".to_owned();
        let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    // Why there is nothing is not for clients: it would tell what exists.
    app.not_found_page()
}

/// Sends a client to the path of a folder with `/` at its end, where the relative links of its page work.
fn elsewhere(path: &str, query: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::try_from(format!("{path}{query}"))
        .or_else(|_| HeaderValue::try_from(path))
        .unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn listing(text: String, slot: OwnedSemaphorePermit, private: bool) -> Response<Body> {
    let length = text.len();
    // The slot is given back when the next piece is asked for: a page of more than a piece has been taken by then.
    let page = stream::unfold((Some(text), slot), async |(text, slot)| {
        text.map(|text| (Ok::<_, Infallible>(text), (None, slot)))
    });
    let mut response = Response::new(Body::from_stream(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let control = if private { "private, no-cache" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
    // Whatever a file is called, its name runs no script.
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// One look for a target, with everything that must be known for it. Blocks.
struct Search {
    target: Target,
    place: Place,
    conditions: Conditions,
    get: bool,
    list: bool,
    pages: Arc<Semaphore>,
    slot: OwnedSemaphorePermit,
}

enum Found {
    File(FoundFile),
    Listing(String, OwnedSemaphorePermit),
    /// A folder that is asked for without the `/` at the end of its path.
    Elsewhere(String),
    /// A folder that has no page and is not to be listed.
    NoPage,
}

struct FoundFile {
    kind: Kind,
    validators: Validators,
    len: u64,
    part: Part,
    /// What is to be sent, with its slot; `None` for a head without a body.
    reading: Option<(Reading, OwnedSemaphorePermit)>,
}

impl Search {
    fn run(mut self) -> Result<Found, Denied> {
        let root = Root::open(&self.place)?;
        match root.look(&self.place.below)? {
            Look::File(_) if self.target.folder => Err(Denied::Missing),
            Look::File(_) => self.file(&root),
            Look::Folder(None) if !self.list => Ok(Found::NoPage),
            Look::Folder(_) if !self.target.folder => Ok(Found::Elsewhere(self.target.folder_url())),
            Look::Folder(Some(page)) => {
                self.place.below.push(page);
                self.target = self.target.child(page);
                self.file(&root)
            }
            Look::Folder(None) => {
                let slot = self.pages.try_acquire_owned().map_err(|_| Denied::Busy)?;
                let (entries, more) = root.list(&self.place.below, listing::MAX_ENTRIES)?;
                Ok(Found::Listing(
                    listing::page(&self.target.path(), entries, more),
                    slot,
                ))
            }
        }
    }

    fn file(self, root: &Root) -> Result<Found, Denied> {
        let (file, meta) = root.read(&self.place.below)?;
        let validators = Validators::new(&meta, SystemTime::now());
        let part = self.conditions.judge(&validators, meta.len, self.get);
        let range = match part {
            Part::Whole => Some((0, meta.len)),
            Part::Range { first, last } => Some((first, last - first + 1)),
            Part::NotModified | Part::Failed | Part::Unsatisfiable => None,
        };
        let reading = range
            .filter(|_| self.get)
            .map(|(offset, left)| (Reading { file, offset, left }, self.slot));
        Ok(Found::File(FoundFile {
            kind: kind::of(self.target.name()),
            validators,
            len: meta.len,
            part,
            reading,
        }))
    }
}

impl FoundFile {
    /// The answer. `private`: it depends on who asks, so shared caches may not keep it.
    fn answer(self, charset: &str, private: bool, files: &Files) -> Response<Body> {
        let body = match self.reading {
            Some((reading, slot)) => reading.into_body(slot, files.turns.clone(), files.counters.clone()),
            None => Body::empty(),
        };
        let mut response = Response::new(body);
        let (status, length) = match self.part {
            Part::Whole => (StatusCode::OK, self.len),
            Part::Range { first, last } => (StatusCode::PARTIAL_CONTENT, last - first + 1),
            Part::NotModified => (StatusCode::NOT_MODIFIED, 0),
            Part::Failed => (StatusCode::PRECONDITION_FAILED, 0),
            Part::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0),
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let control = match (private, self.kind.changes) {
            (true, true) => Some("private, no-cache"),
            (true, false) => Some("private"),
            (false, true) => Some("no-cache"),
            (false, false) => None,
        };
        if let Some(control) = control {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
        }
        insert(headers, ETAG, self.validators.tag);
        if let Some(modified) = self.validators.modified {
            insert(headers, LAST_MODIFIED, httpdate::fmt_http_date(modified));
        }
        match self.part {
            Part::Whole => {}
            Part::Range { first, last } => {
                insert(
                    headers,
                    CONTENT_RANGE,
                    format!("bytes {first}-{last}/{}", self.len),
                );
            }
            Part::Unsatisfiable => insert(headers, CONTENT_RANGE, format!("bytes */{}", self.len)),
            Part::NotModified | Part::Failed => {}
        }
        if matches!(self.part, Part::Whole | Part::Range { .. }) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            // What is not known to be a page must not become one by a guess.
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            insert(headers, CONTENT_TYPE, self.kind.content_type(charset));
        }
        response
    }
}

/// Inserts a header of our own making; a charset of the configuration that cannot stand in one leaves it out.
fn insert(headers: &mut HeaderMap, name: axum::http::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
