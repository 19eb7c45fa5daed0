//! What both planes do: one attempt, and the breakers. Each plane has its own client, so its own connections and bounds:
//! notifications cannot starve decisions.

use crate::breaker::{Admission, Breaker, State};
use crate::client::dial::Dial;
use crate::client::tls::Trust;
use crate::client::{Client, Limits, Target};
use crate::event::{Outgoing, ascii};
use crate::failure::{Class, Failure, NetworkCode};
use crate::metrics::{Metrics, PlaneMetrics};
use crate::reply::{self, Answer};
use crate::report::Reporter;
use crate::settings::{Endpoint, Settings};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// What the planes share.
pub(crate) struct Shared {
    /// The one place the settings are kept.
    settings: watch::Sender<Arc<Settings>>,
    pub metrics: Metrics,
    pub reporter: Reporter,
    user_agent: HeaderValue,
    /// The next `hook_index`: one counter for all hooks, incremented for each attempt.
    hook_index: AtomicU64,
}

impl Shared {
    pub(crate) fn new(settings: Settings, user_agent: HeaderValue) -> Self {
        Self {
            settings: watch::Sender::new(Arc::new(settings)),
            metrics: Metrics::default(),
            reporter: Reporter::default(),
            user_agent,
            hook_index: AtomicU64::new(0),
        }
    }

    /// The settings in force now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// A view that tells when they change.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// Puts others in force and returns the old ones.
    pub(crate) fn replace(&self, settings: Arc<Settings>) -> Arc<Settings> {
        self.settings.send_replace(settings)
    }
}

/// One plane.
pub(crate) struct Plane {
    name: &'static str,
    pub shared: Arc<Shared>,
    pub metrics: PlaneMetrics,
    limits: fn(&Settings) -> Limits,
    client: Client,
    /// By configured URL.
    breakers: Mutex<HashMap<Arc<str>, Breaker>>,
}

/// One attempt to be made.
pub(crate) struct Attempt<'a> {
    pub settings: &'a Settings,
    pub endpoint: &'a Endpoint,
    pub outgoing: &'a Outgoing,
    /// Counted from 1.
    pub number: u32,
    /// When nobody waits for the answer any more, if somebody waits at all.
    pub deadline: Option<Instant>,
}

impl Plane {
    /// `limits` are read from the settings, again whenever they change.
    pub(crate) fn new(
        name: &'static str,
        shared: Arc<Shared>,
        dial: Box<dyn Dial>,
        limits: fn(&Settings) -> Limits,
    ) -> Self {
        let metrics = shared.metrics.plane(name);
        let client = Client::new(dial, limits(&shared.settings()), metrics.clone());
        Self {
            name,
            shared,
            metrics,
            limits,
            client,
            breakers: Mutex::default(),
        }
    }

    /// Makes one attempt within `hook.timeoutSec`, waiting for its turn not counted.
    pub(crate) async fn attempt(&self, attempt: &Attempt<'_>) -> Result<Answer, Failure> {
        let hook = attempt.outgoing.hook;
        let target = match &attempt.endpoint.target {
            Ok(target) => target,
            Err(error) => {
                let failure = Failure::network(Class::BadUrl, NetworkCode::Other, error.to_string());
                self.shared.metrics.not_attempted(hook, failure.class);
                self.shared.reporter.failed(hook, "", attempt.number, &failure);
                return Err(failure);
            }
        };
        let slot = self.client.slot(&target.origin);
        let permit = self
            .client
            .admit(&slot, attempt.deadline)
            .await
            .inspect_err(|failure| {
                self.shared.metrics.not_attempted(hook, failure.class);
                self.shared
                    .reporter
                    .failed(hook, &target.redacted(), attempt.number, failure);
            })?;
        let started = Instant::now();
        let limit = attempt.settings.attempt_timeout();
        let end = attempt
            .deadline
            .map_or(started + limit, |deadline| deadline.min(started + limit));
        let request = self.request(attempt, target, started);
        let result = match timeout_at(end, self.client.post(&slot, &target.origin, request)).await {
            Ok(Ok(reply)) => {
                let consent = reply.headers.get(reply::CACHE_SECONDS);
                reply::consented(reply::judge(reply.status, &reply.body), consent)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::timeout(end - started)),
        };
        drop(permit);
        let failure = result.as_ref().err();
        self.shared
            .metrics
            .attempt(hook, failure.map(|failure| failure.class), started.elapsed());
        if let Some(failure) = failure {
            self.shared
                .reporter
                .failed(hook, &target.redacted(), attempt.number, failure);
        }
        result
    }

    /// The request, with the headers of the contract first (hooks.md, section 1).
    fn request(&self, attempt: &Attempt<'_>, target: &Target, now: Instant) -> Request<Full<Bytes>> {
        let outgoing = attempt.outgoing;
        let hook_index = self.shared.hook_index.fetch_add(1, Ordering::Relaxed);
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs();
        let body = Full::new(outgoing.body(hook_index, attempt.settings));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        // The target was checked to be visible ASCII that begins with a slash.
        *request.uri_mut() = target.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, ascii(&target.host_header));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("zh-CN,zh;q=0.8"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, self.shared.user_agent.clone());
        if let Some(vhost) = &outgoing.vhost {
            headers.insert("x-vhost", vhost.clone());
        }
        if let Some(authorization) = &target.authorization {
            let mut value = ascii(authorization);
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.insert("webhook-id", outgoing.id.clone());
        headers.insert("webhook-timestamp", HeaderValue::from(unix));
        headers.insert("tidegate-event", HeaderValue::from_static(outgoing.hook.name()));
        headers.insert("tidegate-attempt", HeaderValue::from(attempt.number));
        if let Some(deadline) = attempt.deadline {
            let left = deadline.saturating_duration_since(now).as_millis();
            headers.insert(
                "tidegate-deadline-ms",
                HeaderValue::from(u64::try_from(left).unwrap_or(u64::MAX)),
            );
        }
        headers.insert("traceparent", outgoing.traceparent());
        request
    }

    /// Asks the breaker of a receiver for a call: what to report its outcome to, or when to ask again.
    pub(crate) fn admit<'a>(&'a self, endpoint: &'a Endpoint) -> Result<Pass<'a>, Instant> {
        let now = Instant::now();
        let admission = self.with_breaker(endpoint, now, |breaker| breaker.admit(now));
        match admission {
            Admission::Pass => Ok(Pass {
                plane: self,
                endpoint,
                probe: false,
                open: true,
            }),
            Admission::Probe => Ok(Pass {
                plane: self,
                endpoint,
                probe: true,
                open: true,
            }),
            Admission::Refuse { until } => Err(until),
        }
    }

    fn with_breaker<R>(&self, endpoint: &Endpoint, now: Instant, act: impl FnOnce(&mut Breaker) -> R) -> R {
        let mut breakers = self.breakers.lock();
        let breaker = breakers
            .entry(endpoint.url.clone())
            .or_insert_with(|| Breaker::new(now));
        let before = breaker.state();
        let result = act(breaker);
        let after = breaker.state();
        if before != after {
            self.breaker_changed(endpoint, after);
        }
        result
    }

    fn breaker_changed(&self, endpoint: &Endpoint, state: State) {
        let Ok(target) = &endpoint.target else { return };
        let (plane, receiver) = (self.name, target.redacted());
        self.shared.metrics.breaker(plane, &receiver, state);
        match state {
            State::Open => tracing::warn!(
                plane,
                receiver,
                "hook receiver failed too often, it is not asked for a while"
            ),
            State::HalfOpen => tracing::info!(plane, receiver, "hook receiver is tried again"),
            State::Closed => tracing::info!(plane, receiver, "hook receiver works again"),
        }
    }

    /// Takes over changed settings; `trust` if other receivers are trusted now.
    pub(crate) fn apply(&self, settings: &Settings, trust: Option<&Trust>) {
        self.client.apply(settings, (self.limits)(settings), trust);
        let urls: HashSet<&str> = settings.endpoints().map(|endpoint| &*endpoint.url).collect();
        self.breakers.lock().retain(|url, _| {
            let stays = urls.contains(&**url);
            if !stays && let Ok(target) = Target::parse(url) {
                self.shared.metrics.forget_breaker(self.name, &target.redacted());
            }
            stays
        });
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        self.client.sweep();
    }
}

/// A call that the breaker let through. Dropped without an outcome, it counts for nothing.
pub(crate) struct Pass<'a> {
    plane: &'a Plane,
    endpoint: &'a Endpoint,
    /// The breaker waits for the outcome, so there is one attempt only.
    pub probe: bool,
    open: bool,
}

impl Pass<'_> {
    /// Reports the outcome.
    pub(crate) fn finish<T>(mut self, result: &Result<T, Failure>) {
        let works = match result {
            Ok(_) => Some(true),
            Err(failure) => failure.class.receiver_works(),
        };
        if let Some(works) = works {
            let now = Instant::now();
            self.plane.with_breaker(self.endpoint, now, |breaker| {
                breaker.record(now, self.probe, works)
            });
            self.open = false;
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.open && self.probe {
            let now = Instant::now();
            self.plane
                .with_breaker(self.endpoint, now, |breaker| breaker.abandon_probe(now));
        }
    }
}
