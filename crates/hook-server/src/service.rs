//! The HTTP side: reading calls within bounds, and answering them.

use crate::call::{Answer, Call, Hook};
use crate::decide::{Decider, Decision};
use crate::journal::{self, NotWritten};
use crate::metrics::{Levels, Metrics};
use crate::once::OncePerSecond;
use crate::rules::Rules;
use crate::signature::Verifier;
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prometheus_client::metrics::gauge::Gauge;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Largest body of a call. `on_server_started` carries the whole configuration, some ten KiB.
pub const MAX_BODY: usize = 1 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a media server may remember an answer, in seconds. Tidegate's own; ZLM passes over it.
const CACHE_SECONDS: HeaderName = HeaderName::from_static("tidegate-cache-seconds");

/// The address of the caller; who serves the router puts it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// How the service behaves apart from its rules.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Most calls answered at once; further ones get status 503.
    pub max_in_flight: usize,
    /// Each answer to a call is held back for this time, to see how a media server lives with it.
    pub answer_delay: Duration,
    /// Calls are read and never answered.
    pub black_hole: bool,
}

/// A hook service. Cloning shares it.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    decider: ArcSwap<Decider>,
    shared: Shared,
    verifier: Verifier,
    unsigned: OncePerSecond,
    behaviour: Behaviour,
    permits: Semaphore,
}

/// What lives on when the rules change.
#[derive(Clone)]
pub(crate) struct Shared {
    pub metrics: Metrics,
    pub opener: crate::open::Opener,
    pub closings: Arc<crate::closing::Closings>,
    pub journal: journal::Sender,
    pub denied: Arc<OncePerSecond>,
    pub unopened: Arc<OncePerSecond>,
}

impl Service {
    /// A service under these rules, and what must be driven while it answers.
    pub fn new(rules: Rules, behaviour: Behaviour) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (journal, writer) = journal::channel();
        let shared = Shared {
            metrics: Metrics::default(),
            opener: crate::open::Opener::default(),
            closings: Arc::default(),
            journal,
            denied: Arc::default(),
            unopened: Arc::default(),
        };
        let inner = Arc::new(Inner {
            decider: ArcSwap::from_pointee(Decider::new(rules, shared.clone())),
            shared,
            verifier: Verifier::default(),
            unsigned: OncePerSecond::default(),
            behaviour,
            permits: Semaphore::new(behaviour.max_in_flight),
        });
        let background = {
            let inner = inner.clone();
            async move {
                let close = |id| {
                    let decider = inner.decider.load_full();
                    async move { decider.close_unwatched(&id).await }
                };
                // Neither ends by itself: the sender lives in `inner`.
                tokio::join!(inner.shared.closings.run(close), writer.run());
            }
        };
        (Self { inner }, background)
    }

    /// Other rules from now on. Calls under way are answered by the old ones.
    pub fn replace(&self, rules: Rules) {
        let decider = Decider::new(rules, self.inner.shared.clone());
        self.inner.decider.store(Arc::new(decider));
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.shared.metrics
    }

    /// The routes: hooks by the last segment of their path, `/metrics`, `/healthz`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route(
                "/healthz",
                get(|| async { json(StatusCode::OK, "{\"status\":\"ok\"}".into()) }),
            )
            .route("/{*path}", post(call).fallback(not_a_call))
            .fallback(not_a_call)
            .with_state(self.inner.clone())
    }
}

async fn metrics(State(inner): State<Arc<Inner>>) -> Response {
    let levels = Levels {
        opening: inner.shared.opener.under_way(),
        closing: inner.shared.closings.len(),
        forgotten: inner.verifier.forgotten_early(),
    };
    let text = inner.shared.metrics.text(&levels);
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn not_a_call(State(inner): State<Arc<Inner>>, method: Method) -> Response {
    let refusal = if method == Method::POST {
        Refusal::NoHook
    } else {
        Refusal::Method
    };
    inner.refuse(&refusal)
}

/// Why a request is not answered by a rule.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("hooks are called with POST")]
    Method,
    #[error("the last part of the path must be the name of a hook, such as /on_play, or `events`")]
    NoHook,
    #[error("more than {MAX_BODY} bytes of body are not read")]
    TooLarge,
    #[error("the body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    Slow,
    #[error("the body broke off")]
    Body,
    #[error("this address may not call")]
    Sender,
    #[error("too many calls at once")]
    Overload,
    #[error(transparent)]
    Unsigned(#[from] crate::signature::Unsigned),
    #[error(transparent)]
    BadCall(#[from] crate::call::BadCall),
    #[error(transparent)]
    Journal(#[from] NotWritten),
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoHook => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Body | Self::BadCall(_) => StatusCode::BAD_REQUEST,
            Self::Sender => StatusCode::FORBIDDEN,
            Self::Unsigned(_) => StatusCode::UNAUTHORIZED,
            Self::Overload | Self::Journal(NotWritten::Full) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Journal(NotWritten::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NoHook => "no_hook",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Body => "broken_body",
            Self::Sender => "sender",
            Self::Overload => "overload",
            Self::Unsigned(crate::signature::Unsigned::Replay) => "replay",
            Self::Unsigned(_) => "unsigned",
            Self::BadCall(_) => "bad_call",
            Self::Journal(_) => "journal",
        }
    }
}

async fn call(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    match inner.answer(request).await {
        Ok(response) => response,
        Err(refusal) => inner.refuse(&refusal),
    }
}

impl Inner {
    fn refuse(&self, refusal: &Refusal) -> Response {
        debug!(%refusal, "refused");
        self.shared.metrics.refused(refusal.reason());
        answer_json(refusal.status(), &Answer::refusal(refusal.to_string()))
    }

    async fn answer(&self, request: Request) -> Result<Response, Refusal> {
        let began = Instant::now();
        let hook = Hook::of_path(request.uri().path()).ok_or(Refusal::NoHook)?;
        let decider = self.decider.load_full();
        let rules = decider.rules();
        if let Some(senders) = &rules.senders {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
            if !senders.contains(peer) {
                return Err(Refusal::Sender);
            }
        }
        let _permit = self.permits.try_acquire().map_err(|_| Refusal::Overload)?;
        let _counted = Counted::new(&self.shared.metrics.in_flight);
        let (head, body) = request.into_parts();
        let body = read(body).await?;
        if self.behaviour.black_hole {
            self.shared.metrics.refused("black_hole");
            std::future::pending::<()>().await;
        }
        if !rules.signing_secrets.0.is_empty() {
            let checked =
                (self.verifier).check(&rules.signing_secrets.0, &head.headers, &body, unix().as_secs());
            if let Err(why) = checked {
                if self.unsigned.passes() {
                    warn!(hook = hook.name(), "refused: {why}");
                }
                return Err(why.into());
            }
        }
        let call = Call::parse(hook, &body)?;
        let Decision {
            answer,
            result,
            cache_sec,
        } = decider.decide(hook, &call, unix().as_secs()).await;
        self.record(&decider, hook, &head.headers, &body).await?;
        if !self.behaviour.answer_delay.is_zero() {
            sleep(self.behaviour.answer_delay).await;
        }
        self.shared.metrics.answered(hook, result, began.elapsed());
        let mut response = answer_json(StatusCode::OK, &answer);
        if cache_sec > 0 {
            response.headers_mut().insert(CACHE_SECONDS, cache_sec.into());
        }
        Ok(response)
    }

    async fn record(
        &self,
        decider: &Decider,
        hook: Hook,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let Some(journal) = decider.journal().filter(|journal| journal.wants(hook)) else {
            return Ok(());
        };
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
        let line = journal::line(hook, id, body, unix().as_millis()).map_err(crate::call::BadCall::from)?;
        let written = self.shared.journal.write(journal, line).await;
        self.shared.metrics.journal(match written {
            Ok(()) => "written",
            Err(NotWritten::Full) => "queue_full",
            Err(NotWritten::Failed) => "failed",
        });
        // The media server hears of it, so that one that tries again does.
        Ok(written?)
    }
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(Refusal::Slow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::Body),
    }
}

fn unix() -> Duration {
    // A clock before 1970 cannot tell whether anything has expired; nothing has, then.
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn answer_json(status: StatusCode, answer: &Answer<'_>) -> Response {
    // Text, numbers and switches can always be written.
    json(status, serde_json::to_vec(answer).unwrap_or_default().into())
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], body).into_response()
}

/// Counts itself in a gauge while it lives.
pub struct Counted(Gauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
