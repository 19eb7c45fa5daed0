//! A server with made-up contents, and what is needed to call the API in front of it.

use api::{Download, PeerInfo, Pool, ProbedFrame, Server, SessionView, SetResult, Traffic, WorkerLoad};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Request, StatusCode};
use config::Config;
use hooks::admission::Filter;
use hooks::object::Statistic;
use lifecycle::op::{FfmpegView, JobState, PullView, PushView, TimelineView};
use lifecycle::{JobId, Op, OpError, OpReply, SessionId};
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::ServiceExt;

pub const SECRET: &str = "a-secret-for-tests";

/// The connection that asks.
pub const ASKING: SessionId = SessionId(9999);

/// What the file server would answer.
pub const OTHERWISE: &str = "not for the api";

pub struct Fake {
    pub config: Mutex<Arc<Config>>,
    pub media: Vec<MediaInfo>,
    pub players: Vec<(StreamKey, Schema, SessionView)>,
    pub sessions: Vec<SessionView>,
    pub pulls: Mutex<Vec<PullView>>,
    pub ffmpegs: Mutex<Vec<FfmpegView>>,
    pub pushes: Mutex<Vec<PushView>>,
    pub timeline: Option<TimelineView>,
    /// How the attempts of added sources and pushers end.
    pub outcome: Option<OpError>,
    pub traffic: HashMap<JobId, Traffic>,
    /// Ports of this host that this server listens on.
    pub own_ports: Vec<u16>,
    pub statistic: Statistic,
    pub load: Vec<WorkerLoad>,
    /// What was asked of the engine.
    pub operations: Mutex<Vec<Op>>,
    pub restarts: AtomicU32,
    pub hooks: hooks::Hooks,
    /// Without it the hooks would know that nothing is sent.
    _driver: Mutex<hooks::notify::Driver>,
    /// The filters by which verdicts were withdrawn: vhost, app, stream.
    pub flushed: Mutex<Vec<[Option<String>; 3]>>,
    /// What comes in every stream.
    pub probed: Vec<ProbedFrame>,
    /// Path, name and permission of what was asked for.
    pub downloads: Mutex<Vec<(String, Option<String>, bool)>>,
}

impl Default for Fake {
    fn default() -> Self {
        let (hooks, driver) = hooks::Hooks::new(hooks::Settings::default(), "Tidegate(test)");
        let fake = Self {
            config: Mutex::default(),
            media: Vec::new(),
            players: Vec::new(),
            sessions: Vec::new(),
            pulls: Mutex::default(),
            ffmpegs: Mutex::default(),
            pushes: Mutex::default(),
            timeline: None,
            outcome: None,
            traffic: HashMap::new(),
            own_ports: Vec::new(),
            statistic: Statistic::default(),
            load: Vec::new(),
            operations: Mutex::default(),
            restarts: AtomicU32::new(0),
            hooks,
            _driver: Mutex::new(driver),
            flushed: Mutex::default(),
            probed: Vec::new(),
            downloads: Mutex::default(),
        };
        fake.set("api.secret", SECRET);
        fake
    }
}

impl Fake {
    /// Sets one configuration value.
    pub fn set(&self, key: &str, value: &str) {
        let mut config = self.config.lock();
        let outcome = config.set(&[(key.to_owned(), value.to_owned())]);
        assert_eq!(outcome.rejected, [], "{key} = {value}");
        *config = Arc::new(outcome.config);
    }

    fn published(&self, key: &StreamKey) -> bool {
        self.media.iter().any(|info| info.key == *key)
    }

    fn try_operate(&self, op: Op) -> Result<OpReply, OpError> {
        match op {
            Op::AddPull(spec) => {
                if self.published(&spec.key) || self.pulls.lock().iter().any(|pull| pull.spec.key == spec.key)
                {
                    return Err(OpError::Exists);
                }
                let key = spec.key.to_string();
                let state = self.attempt(spec.force)?;
                let (live, losses, failures, job) = (Duration::ZERO, 0, 0, None);
                self.pulls.lock().push(PullView {
                    spec,
                    state,
                    live,
                    losses,
                    failures,
                    job,
                });
                Ok(OpReply::Key(key))
            }
            Op::DelPull(key) => Ok(OpReply::Flag(remove(&mut self.pulls.lock(), |view| {
                view.spec.key.to_string() == key
            }))),
            Op::ListPulls => Ok(OpReply::Pulls(self.pulls.lock().clone())),
            Op::AddFfmpeg(spec) => {
                let key = spec.key.clone();
                let state = self.attempt(false)?;
                self.ffmpegs.lock().push(FfmpegView {
                    spec,
                    state,
                    restarts: 0,
                    job: None,
                });
                Ok(OpReply::Key(key))
            }
            Op::DelFfmpeg(key) => Ok(OpReply::Flag(remove(&mut self.ffmpegs.lock(), |view| {
                view.spec.key == key
            }))),
            Op::ListFfmpegs => Ok(OpReply::Ffmpegs(self.ffmpegs.lock().clone())),
            Op::AddPush(spec) => {
                let key = spec.key.clone();
                if !self.published(&spec.stream) {
                    return Err(OpError::SourceNotFound);
                }
                if self.pushes.lock().iter().any(|push| push.spec.key == key) {
                    return Ok(OpReply::Key(key));
                }
                let state = self.attempt(false)?;
                self.pushes.lock().push(PushView {
                    spec,
                    state,
                    live: Duration::ZERO,
                    losses: 0,
                    job: None,
                });
                Ok(OpReply::Key(key))
            }
            Op::DelPush(key) => Ok(OpReply::Flag(remove(&mut self.pushes.lock(), |view| {
                view.spec.key == key
            }))),
            Op::ListPushes => Ok(OpReply::Pushes(self.pushes.lock().clone())),
            Op::CloseStream { key, force } => {
                let info = self
                    .media
                    .iter()
                    .find(|info| info.key == key)
                    .ok_or(OpError::NotFound)?;
                if info.total_readers > 0 && !force {
                    return Err(OpError::Watched {
                        readers: info.total_readers as usize,
                    });
                }
                Ok(OpReply::Done)
            }
            Op::Kick(_) => Ok(OpReply::Done),
            Op::Timeline(key) => {
                let view = self.timeline.clone().filter(|view| view.key == key);
                view.map(OpReply::Timeline).ok_or(OpError::NotFound)
            }
            Op::Counts => unreachable!("the API does not ask for this"),
        }
    }

    /// As the engine does: a failed first attempt is final unless it is forced.
    fn attempt(&self, force: bool) -> Result<JobState, OpError> {
        match &self.outcome {
            None => Ok(JobState::Live),
            Some(_) if force => Ok(JobState::Connecting),
            Some(error) => Err(error.clone()),
        }
    }
}

fn remove<T>(from: &mut Vec<T>, is: impl Fn(&T) -> bool) -> bool {
    let before = from.len();
    from.retain(|item| !is(item));
    from.len() < before
}

#[async_trait]
impl Server for Fake {
    async fn operate(&self, op: Op) -> Result<OpReply, OpError> {
        self.operations.lock().push(op.clone());
        self.try_operate(op)
    }

    fn config(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    async fn set_config(&self, changes: Vec<(String, String)>) -> SetResult {
        let mut config = self.config.lock();
        let outcome = config.set(&changes);
        *config = Arc::new(outcome.config);
        SetResult {
            changed: outcome.changed,
            rejected: outcome.rejected,
        }
    }

    fn media(&self) -> Vec<MediaInfo> {
        self.media.clone()
    }

    fn media_one(&self, key: &StreamKey, schema: Option<Schema>) -> Option<MediaInfo> {
        let fits = |info: &&MediaInfo| info.key == *key && schema.is_none_or(|schema| info.schema == schema);
        self.media
            .iter()
            .filter(fits)
            .min_by_key(|info| info.schema)
            .cloned()
    }

    fn players(&self, key: &StreamKey, schema: Schema) -> Option<Vec<SessionView>> {
        self.media_one(key, Some(schema))?;
        let fits = |(stream, form, _): &&(StreamKey, Schema, SessionView)| stream == key && *form == schema;
        Some(
            self.players
                .iter()
                .filter(fits)
                .map(|(_, _, view)| view.clone())
                .collect(),
        )
    }

    fn sessions(&self) -> Vec<SessionView> {
        self.sessions.clone()
    }

    fn traffic(&self, job: JobId) -> Traffic {
        self.traffic.get(&job).copied().unwrap_or_default()
    }

    fn is_own_address(&self, host: &str, port: u16) -> bool {
        host == "127.0.0.1" && self.own_ports.contains(&port)
    }

    fn statistic(&self) -> Statistic {
        self.statistic
    }

    async fn load(&self, _: Pool) -> Vec<WorkerLoad> {
        self.load.clone()
    }

    fn hooks(&self) -> &hooks::Hooks {
        &self.hooks
    }

    fn flush_hook_cache(&self, filter: &Filter<'_>) -> usize {
        let parts = [filter.vhost, filter.app, filter.stream].map(|part| part.map(str::to_owned));
        let mut flushed = self.flushed.lock();
        flushed.push(parts);
        flushed.len()
    }

    async fn probe(&self, key: &StreamKey, time: Duration) -> Option<Vec<ProbedFrame>> {
        let in_time = |frame: &&ProbedFrame| frame.at <= time;
        self.published(key)
            .then(|| self.probed.iter().filter(in_time).cloned().collect())
    }

    async fn download(&self, download: Download<'_>) -> axum::http::Response<Body> {
        self.downloads.lock().push((
            download.file_path.to_owned(),
            download.save_name.map(str::to_owned),
            download.permitted,
        ));
        axum::http::Response::new(Body::from("a file"))
    }

    fn restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    pub fn cookies(&self) -> Vec<&str> {
        let all = self.headers.get_all("set-cookie").iter();
        all.map(|value| value.to_str().expect("cookies are text"))
            .collect()
    }

    /// The value of a cookie that was set.
    pub fn cookie(&self, name: &str) -> &str {
        let set = self
            .cookies()
            .into_iter()
            .find_map(|cookie| cookie.strip_prefix(&format!("{name}=")));
        set.and_then(|rest| rest.split(';').next())
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.cookies()))
    }
}

/// The API in front of a server.
pub struct Client {
    pub server: Arc<Fake>,
    router: Router,
    pub peer: PeerInfo,
}

impl Client {
    pub fn new(server: Fake) -> Self {
        let server = Arc::new(server);
        let otherwise = Router::new().fallback(async || (StatusCode::IM_A_TEAPOT, OTHERWISE));
        let peer = PeerInfo {
            peer: "127.0.0.1:5555".parse().expect("address"),
            session: ASKING,
            tls: false,
        };
        Self {
            router: api::router(server.clone(), otherwise),
            server,
            peer,
        }
    }

    /// Sends a request as a well-behaved client does: a body has its length.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() || method == "POST" {
            request = request.header(CONTENT_LENGTH, body.len());
        }
        self.send_raw(request.body(Body::from(body.to_owned())).expect("a request"))
            .await
    }

    pub async fn send_raw(&self, mut request: Request<Body>) -> Response {
        request.extensions_mut().insert(self.peer);
        let path = request.uri().path().to_owned();
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        if let Ok(reply) = serde_json::from_str(&body) {
            crate::described::check(&path, &reply);
        }
        Response {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn get(&self, target: &str) -> Response {
        self.send("GET", target, &[], "").await
    }

    /// Calls an endpoint with the secret. `query` is already encoded.
    pub async fn call(&self, endpoint: &str, query: &str) -> Value {
        let response = self
            .get(&format!("/index/api/{endpoint}?secret={SECRET}&{query}"))
            .await;
        assert_eq!(response.status, StatusCode::OK);
        response.json()
    }
}
