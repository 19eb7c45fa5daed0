//! A web hook service that answers as the test says, and remembers what it was asked.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::certificate::Identity;
use crate::golden::{self, Values};
use crate::http::{self, Headers, RawRequest};
use crate::inbox::Inbox;

/// A hook call as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// The hook's name: the last segment of the path, such as `on_play`.
    pub hook: String,
    /// Path and query.
    pub target: String,
    /// Method, `POST` for a real hook.
    pub method: String,
    /// Header fields as sent.
    pub headers: Headers,
    /// The body as JSON; `Null` when it is not JSON (then see `raw`).
    pub body: Value,
    /// The body's bytes.
    pub raw: Vec<u8>,
    /// When the last byte had arrived.
    pub arrival: Instant,
    /// Counts the connections of this service from 0: equal numbers mean a reused connection.
    pub connection: u64,
}

impl Request {
    /// Panics unless the body is like that of a capture (`on_play.http_flv`) and equal to it but at the places `except`
    /// (see [`golden`]).
    #[track_caller]
    pub fn assert_like_golden(&self, case: &str, except: &[&str]) {
        golden::assert_like(&golden::hook(case), &self.body, Values::Except(except));
    }

    /// `vhost/app/stream` of the body, empty where a member is missing.
    pub fn stream(&self) -> String {
        let member = |name: &str| self.body[name].as_str().unwrap_or_default();
        format!("{}/{}/{}", member("vhost"), member("app"), member("stream"))
    }
}

/// What the service does with a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status 200 with this JSON.
    Json(Value),
    /// This status with a short text that is not JSON.
    Status(u16),
    /// Status 200, `application/json`, with exactly this body, JSON or not.
    Text(String),
    /// Takes the request and never answers; the connection stays open.
    Never,
    /// Takes the request and closes the connection without a byte.
    Close,
    /// The answer behind it, with one more header field: name, value.
    Headed(&'static str, String, Box<Answer>),
    /// The answer behind it, but not before the time has passed.
    After(Duration, Box<Answer>),
    /// The answer behind it, but not before the gate is open.
    Behind(Gate, Box<Answer>),
}

impl Answer {
    /// The plain consent: `{"code": 0, "msg": "success"}`.
    pub fn ok() -> Self {
        Self::Json(json!({"code": 0, "msg": "success"}))
    }

    /// A refusal with `code` -1 and this message.
    pub fn refuse(msg: &str) -> Self {
        Self::Json(json!({"code": -1, "msg": msg}))
    }

    /// This answer with one more header field.
    pub fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        Self::Headed(name, value.into(), Box::new(self))
    }

    /// This answer, given `delay` after the request arrived.
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }

    /// This answer, given once the test opens `gate`. Prefer it to [`Answer::after`]: the test says when, not the clock.
    pub fn behind(self, gate: &Gate) -> Self {
        Self::Behind(gate.clone(), Box::new(self))
    }
}

/// Holds answers back until the test opens it. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets through what waits, and whatever comes later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", if *self.0.borrow() { "open" } else { "closed" })
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

struct Shared {
    script: Mutex<Arc<Script>>,
    received: Inbox<Request>,
    connections: AtomicU64,
    tls: Option<TlsAcceptor>,
}

/// The service, on a free port of 127.0.0.1. Ends when dropped.
pub struct HookServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Accepts and owns all connections; `None` while [`HookServer::down`].
    task: Option<JoinHandle<()>>,
    /// Keeps the port while nobody listens there: the system gives free ones to whoever connects somewhere.
    place: Option<TcpSocket>,
}

impl HookServer {
    /// Starts a service that answers as `script` says.
    pub async fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::start_inner(Arc::new(script), None).await
    }

    /// The same over TLS, showing this certificate.
    pub async fn start_tls(
        identity: &Identity,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start_inner(
            Arc::new(script),
            Some(TlsAcceptor::from(identity.server_config()?)),
        )
        .await
    }

    /// Starts a service that consents to everything.
    pub async fn start_consenting() -> Result<Self> {
        Self::start(|_| Answer::ok()).await
    }

    async fn start_inner(script: Arc<Script>, tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("bind hook service")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            received: Inbox::new(),
            connections: AtomicU64::new(0),
            tls,
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self {
            address,
            shared,
            task: Some(task),
            place: None,
        })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for one hook, `http://127.0.0.1:PORT/index/hook/on_play`. With TLS the host is `localhost`.
    pub fn url(&self, hook: &str) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}/index/hook/{hook}", self.address.port()),
            None => format!("http://{}/index/hook/{hook}", self.address),
        }
    }

    /// A `[hook]` section for `config.ini` that sends these hooks here.
    pub fn ini(&self, hooks: &[&str]) -> String {
        let lines: Vec<_> = hooks
            .iter()
            .map(|hook| format!("{hook}={}\n", self.url(hook)))
            .collect();
        format!("[hook]\nenable=1\n{}", lines.concat())
    }

    /// Answers by another script from the next request on.
    pub fn set_script(&self, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// Closes the port and all connections: the service is down. What was received stays known.
    pub async fn down(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Only after this is the port really closed. The error is the cancellation we asked for.
            let _ = task.await;
            self.place = reserve(self.address).ok();
        }
    }

    /// Listens on the same port again after [`HookServer::down`].
    pub async fn up(&mut self) -> Result<()> {
        if self.task.is_none() {
            let place = match self.place.take() {
                Some(place) => place,
                None => reserve(self.address).context("bind hook service again")?,
            };
            let listener = place.listen(1024).context("listen again")?;
            self.task = Some(tokio::spawn(accept(listener, self.shared.clone())));
        }
        Ok(())
    }

    /// Everything received so far, in order of arrival.
    pub fn all(&self) -> Vec<Request> {
        self.shared.received.all()
    }

    /// The calls of one hook received so far, in order of arrival.
    pub fn received(&self, hook: &str) -> Vec<Request> {
        self.all()
            .into_iter()
            .filter(|request| request.hook == hook)
            .collect()
    }

    /// Waits until `condition` holds for all requests received so far, and returns them. Panics with what was received
    /// when `deadline` has passed.
    pub async fn wait_for(&self, condition: impl Fn(&[Request]) -> bool, deadline: Duration) -> Vec<Request> {
        self.expect("the condition", deadline, |all| {
            condition(all).then(|| all.to_vec())
        })
        .await
    }

    /// Waits for the first call of `hook` that `wanted` is true for. Panics with what was received when `deadline` has
    /// passed.
    pub async fn wait_for_call(
        &self,
        hook: &str,
        wanted: impl Fn(&Request) -> bool,
        deadline: Duration,
    ) -> Request {
        let what = format!("a call of {hook}");
        self.expect(&what, deadline, |all| {
            all.iter()
                .find(|request| request.hook == hook && wanted(request))
                .cloned()
        })
        .await
    }

    /// Waits until `hook` was called `count` times, and returns its calls. Panics with what was received when `deadline`
    /// has passed.
    pub async fn wait_for_count(&self, hook: &str, count: usize, deadline: Duration) -> Vec<Request> {
        let what = format!("{count} call(s) of {hook}");
        self.expect(&what, deadline, |all| {
            let calls: Vec<_> = all
                .iter()
                .filter(|request| request.hook == hook)
                .cloned()
                .collect();
            (calls.len() >= count).then_some(calls)
        })
        .await
    }

    async fn expect<T>(
        &self,
        what: &str,
        deadline: Duration,
        look: impl FnMut(&[Request]) -> Option<T>,
    ) -> T {
        match self.shared.received.wait_for(deadline, look).await {
            Some(found) => found,
            None => {
                let all = self.all();
                let list: Vec<_> = all
                    .iter()
                    .map(|call| format!("  {} {}\n", call.hook, call.body))
                    .collect();
                panic!(
                    "hook service: no {what} within {deadline:?}; received {}:\n{}",
                    all.len(),
                    list.concat()
                )
            }
        }
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Takes a port without listening there, so connections are refused.
fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let place = TcpSocket::new_v4()?;
    // Connections of the last listener may linger.
    place.set_reuseaddr(true)?;
    place.bind(address)?;
    Ok(place)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = shared.clone();
                connections.spawn(async move {
                    match shared.tls.clone() {
                        None => serve(stream, number, &shared).await,
                        Some(tls) => {
                            // A client that does not trust us ends here; the test sees that no call arrived.
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, number, &shared).await;
                            }
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, connection: u64, shared: &Shared) {
    let mut buffer = Vec::new();
    // A request that cannot be read ends the connection, as it would with a real service.
    while let Ok(Some(raw)) = http::read_request(&mut stream, &mut buffer).await {
        let request = request(raw, connection);
        let script = shared
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut answer = script(&request);
        shared.received.push(request);
        let mut more = String::new();
        let (status, kind, body) = loop {
            match answer {
                Answer::Headed(name, value, behind) => {
                    more.push_str(&format!("{name}: {value}\r\n"));
                    answer = *behind;
                }
                Answer::After(delay, behind) => {
                    tokio::time::sleep(delay).await;
                    answer = *behind;
                }
                Answer::Behind(gate, behind) => {
                    gate.opened().await;
                    answer = *behind;
                }
                Answer::Never => std::future::pending().await,
                Answer::Close => return,
                Answer::Json(value) => break (200, "application/json", value.to_string()),
                Answer::Text(body) => break (200, "application/json", body),
                Answer::Status(status) => break (status, "text/plain", format!("status {status}\n")),
            }
        };
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}\r\n",
            body.len()
        );
        if stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())
            .await
            .is_err()
        {
            return;
        }
    }
}

fn request(raw: RawRequest, connection: u64) -> Request {
    let path = raw.target.split('?').next().unwrap_or_default();
    Request {
        hook: path.rsplit('/').next().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&raw.body).unwrap_or(Value::Null),
        target: raw.target,
        method: raw.method,
        headers: raw.headers,
        raw: raw.body,
        arrival: Instant::now(),
        connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn call(server: &HookServer, hook: &str, body: &str, deadline: Duration) -> Result<http::Response> {
        let target = format!("/index/hook/{hook}");
        let headers = [("Content-Type", "application/json")];
        http::request(
            server.address(),
            "POST",
            &target,
            &headers,
            body.as_bytes(),
            deadline,
        )
        .await
    }

    #[tokio::test]
    async fn answers_by_script_and_remembers() {
        let server = HookServer::start(|request| match request.hook.as_str() {
            "on_play" => Answer::refuse("no"),
            "on_publish" => Answer::Status(500),
            "on_flow_report" => Answer::Text("not json".into()),
            _ => Answer::ok(),
        })
        .await
        .unwrap();

        let refused = call(&server, "on_play", r#"{"app":"live"}"#, SOON).await.unwrap();
        assert_eq!(refused.json().unwrap(), json!({"code": -1, "msg": "no"}));
        assert_eq!(call(&server, "on_publish", "{}", SOON).await.unwrap().status, 500);
        assert_eq!(
            call(&server, "on_flow_report", "{}", SOON).await.unwrap().text(),
            "not json"
        );
        assert_eq!(
            call(&server, "on_other", "{}", SOON)
                .await
                .unwrap()
                .json()
                .unwrap()["code"],
            0
        );

        let play = server.wait_for_call("on_play", |_| true, SOON).await;
        assert_eq!(
            (play.body, play.method.as_str()),
            (json!({"app": "live"}), "POST")
        );
        assert_eq!(play.headers.get("content-type"), Some("application/json"));
        assert_eq!(server.all().len(), 4);
        assert_eq!(server.received("on_publish").len(), 1);
    }

    #[tokio::test]
    async fn a_closed_connection_is_no_answer() {
        let server = HookServer::start(|_| Answer::Close).await.unwrap();
        let error = call(&server, "on_play", "{}", SOON).await.unwrap_err();
        assert!(
            format!("{error:#}").contains("closed before the end"),
            "{error:#}"
        );
        assert_eq!(server.received("on_play").len(), 1);
    }

    #[tokio::test]
    async fn silence_is_no_answer() {
        let server = HookServer::start(|_| Answer::Never).await.unwrap();
        let error = call(&server, "on_play", "{}", Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(format!("{error:#}").contains("no whole answer"), "{error:#}");
        server.wait_for_count("on_play", 1, SOON).await;
    }

    #[tokio::test]
    async fn a_gate_holds_the_answer_back() {
        let gate = Gate::new();
        let held = gate.clone();
        let server = HookServer::start(move |_| Answer::ok().behind(&held))
            .await
            .unwrap();
        let pending = call(&server, "on_play", "{}", SOON);
        tokio::pin!(pending);
        tokio::select! {
            answer = &mut pending => panic!("answered: {answer:?}"),
            _ = server.wait_for_count("on_play", 1, SOON) => {}
        }
        gate.open();
        assert_eq!(pending.await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn down_refuses_and_up_serves_again_on_the_same_port() {
        let mut server = HookServer::start_consenting().await.unwrap();
        assert_eq!(call(&server, "on_play", "{}", SOON).await.unwrap().status, 200);
        server.down().await;
        let error = call(&server, "on_play", "{}", SOON).await.unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{error:#}");
        server.up().await.unwrap();
        assert_eq!(call(&server, "on_play", "{}", SOON).await.unwrap().status, 200);
        assert_eq!(server.received("on_play").len(), 2);
    }

    #[tokio::test]
    #[should_panic(expected = "no 2 call(s) of on_play within 1ms; received 1:\n  on_play {\"x\":1}")]
    async fn a_missed_deadline_tells_what_came_instead() {
        let server = HookServer::start_consenting().await.unwrap();
        call(&server, "on_play", r#"{"x":1}"#, SOON).await.unwrap();
        server
            .wait_for_count("on_play", 2, Duration::from_millis(1))
            .await;
    }

    #[tokio::test]
    async fn tls_shows_the_certificate_of_the_test_authority() {
        let authority = crate::certificate::Authority::new().unwrap();
        let identity = authority.issue(&["localhost"]).unwrap();
        let server = HookServer::start_tls(&identity, |_| Answer::ok()).await.unwrap();
        let url = server.url("on_play");
        let trusted = crate::tool::Tool::curl()
            .args(["-sS", "--cacert"])
            .arg(authority.file());
        let output = trusted.args(["-d", "{}", &url]).run(SOON).await.unwrap();
        assert!(output.stdout_text().contains("success"), "{output:?}");
        let distrusted = crate::tool::Tool::curl()
            .args(["-sS", "-d", "{}", &url])
            .spawn()
            .unwrap();
        assert!(!distrusted.wait(SOON).await.unwrap().status.success());
        assert_eq!(
            server.all().len(),
            1,
            "the distrusting client's call must not arrive"
        );
    }

    #[tokio::test]
    async fn a_body_is_held_against_its_capture() {
        let server = HookServer::start_consenting().await.unwrap();
        let mut body = golden::hook("on_play.http_flv");
        body["port"] = json!(1);
        call(&server, "on_play", &body.to_string(), SOON).await.unwrap();
        let play = server.wait_for_call("on_play", |_| true, SOON).await;
        play.assert_like_golden("on_play.http_flv", &["port"]);
        assert_eq!(play.stream(), "__defaultVhost__/live/cam1");
    }
}
