//! What both planes do: one attempt, and the breakers. Each plane has its own client, so its own connections and bounds:
//! notifications cannot starve decisions.

use crate::breaker::{Admission, Breaker, State};
use crate::client::dial::Dial;
use crate::client::{Client, Limits, Reply, Target, Timing};
use crate::deliveries::{self, Deliveries, Delivery};
use crate::event::{EventName, Outgoing, ascii, unix_ms};
use crate::failure::{Class, Failure, NetworkCode};
use crate::metrics::{Metrics, PlaneMetrics};
use crate::reply::{self, Answer};
use crate::report::Reporter;
use crate::sent::Sent;
use crate::settings::{Endpoint, Settings};
use crate::sign::Signer;
use crate::spool::Work;
use bytes::Bytes;
use config::hook_endpoint::KEYED;
use hyper::header::{
    ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    USER_AGENT,
};
use hyper::{Method, Request};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// What the planes share.
pub(crate) struct Shared {
    /// The one place the settings are kept.
    settings: watch::Sender<Arc<Settings>>,
    pub metrics: Metrics,
    pub reporter: Reporter,
    user_agent: HeaderValue,
    /// The next `hook_index` of the receivers of the keys: one counter for all hooks, incremented for each attempt.
    hook_index: AtomicU64,
    /// Their last attempts.
    pub deliveries: Arc<Deliveries>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, user_agent: HeaderValue) -> Self {
        Self {
            settings: watch::Sender::new(Arc::new(settings)),
            metrics: Metrics::default(),
            reporter: Reporter::default(),
            user_agent,
            hook_index: AtomicU64::new(0),
            deliveries: Arc::default(),
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

/// Where an attempt goes, and how.
pub(crate) struct Destination<'a> {
    /// The endpoint's name, in logs and metrics.
    pub name: &'a str,
    pub endpoint: &'a Endpoint,
    pub signer: &'a Signer,
    /// Further headers.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Limit of the attempt.
    pub timeout: Duration,
    /// What counts as a success.
    pub judge: Judge,
    /// The next `hook_index` of this receiver, incremented for each attempt.
    pub hook_index: &'a AtomicU64,
    pub log: &'a Deliveries,
}

/// What counts as a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Status 200 and `code` 0.
    Code,
    /// A status from 200 to 299.
    Status,
}

impl Judge {
    fn judge(self, reply: &Reply) -> Result<Answer, Failure> {
        let result = match self {
            Self::Code => reply::consented(reply::judge(reply.status, &reply.body), reply.consent),
            Self::Status => reply::judge_status(reply.status),
        };
        result.map_err(|failure| Failure {
            retry_after: reply.retry_after,
            ..failure
        })
    }
}

/// One attempt to be made.
pub(crate) struct Attempt<'a> {
    pub media_server_id: &'a str,
    pub to: Destination<'a>,
    pub outgoing: &'a Outgoing,
    /// Counted from 1.
    pub number: u32,
    /// When nobody waits for the answer any more, if somebody waits at all.
    pub deadline: Option<Instant>,
    /// Number of the event among those for this endpoint, if it is a notification.
    pub seq: Option<u64>,
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

    /// The way to the receiver of a hook, by the keys of the configuration.
    pub(crate) fn keyed<'a>(&'a self, settings: &'a Settings, endpoint: &'a Endpoint) -> Destination<'a> {
        Destination {
            name: KEYED,
            endpoint,
            signer: &settings.signer,
            headers: &[],
            timeout: settings.attempt_timeout(),
            judge: Judge::Code,
            hook_index: &self.shared.hook_index,
            log: &self.shared.deliveries,
        }
    }

    /// Makes one attempt within its time limit, waiting for its turn not counted.
    pub(crate) async fn attempt(&self, attempt: &Attempt<'_>) -> Result<Answer, Failure> {
        self.attempt_shown(attempt, None).await
    }

    /// The same; `shown` becomes the request, if it came to one.
    pub(crate) async fn attempt_shown(
        &self,
        attempt: &Attempt<'_>,
        shown: Option<&mut Option<Sent>>,
    ) -> Result<Answer, Failure> {
        let (event, to) = (attempt.outgoing.name, &attempt.to);
        let target = match &to.endpoint.target {
            Ok(target) => target,
            Err(error) => {
                let failure = Failure::network(Class::BadUrl, NetworkCode::Other, error.to_string());
                self.not_made(attempt, "", &failure);
                return Err(failure);
            }
        };
        let slot = self.client.slot(to.endpoint.route_to(target));
        let permit = self
            .client
            .admit(&slot, attempt.deadline)
            .await
            .inspect_err(|failure| self.not_made(attempt, &target.redacted(), failure))?;
        let started = Instant::now();
        let limit = to.timeout;
        let end = attempt
            .deadline
            .map_or(started + limit, |deadline| deadline.min(started + limit));
        let request = self.request(attempt, target, started);
        let copy = shown.is_some().then(|| request.clone());
        let mut timing = Timing::start();
        let answered = match timeout_at(end, self.client.post(&slot, request, &mut timing)).await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::timeout(end - started)),
        };
        timing.end();
        drop(permit);
        if let (Some(shown), Some(request)) = (shown, copy) {
            *shown = Some(Sent::new(target, &request, &timing));
        }
        let (status, answer) = match &answered {
            Ok(reply) => (reply.status, deliveries::beginning(&reply.body)),
            Err(_) => (0, String::new()),
        };
        let result = answered.and_then(|reply| to.judge.judge(&reply));
        let failure = result.as_ref().err();
        let took = started.elapsed();
        let metrics = &self.shared.metrics;
        metrics.attempt(event, to.name, failure.map(|failure| failure.class), took);
        if let Some(failure) = failure {
            let receiver = target.redacted();
            self.shared
                .reporter
                .failed(event, &receiver, attempt.number, failure);
        }
        self.log(attempt, failure, started, &timing, (status, answer));
        result
    }

    /// An attempt that came to nothing before anybody was asked.
    fn not_made(&self, attempt: &Attempt<'_>, receiver: &str, failure: &Failure) {
        let (event, to) = (attempt.outgoing.name, &attempt.to);
        let metrics = &self.shared.metrics;
        metrics.not_attempted(event, to.name, failure.class);
        self.shared
            .reporter
            .failed(event, receiver, attempt.number, failure);
        let timing = Timing::start();
        self.log(
            attempt,
            Some(failure),
            Instant::now(),
            &timing,
            (0, String::new()),
        );
    }

    fn log(
        &self,
        attempt: &Attempt<'_>,
        failure: Option<&Failure>,
        started: Instant,
        timing: &Timing,
        (status, answer): (u16, String),
    ) {
        let outgoing = attempt.outgoing;
        let took = timing.total.unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let on_disk = attempt.to.log.push(Delivery {
            id: outgoing.id().to_owned(),
            event: outgoing.name,
            stream: outgoing
                .stream
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            attempt: attempt.number,
            replay: outgoing.replay,
            started_unix_ms: unix_ms(SystemTime::now()).saturating_sub(millis(took)),
            queued_ms: millis(started.saturating_duration_since(outgoing.born)),
            connect_ms: timing.connect.map(millis),
            tls_ms: timing.tls.map(millis),
            first_byte_ms: timing.first_byte.map(millis),
            took_ms: millis(took),
            reused: timing.reused,
            status,
            result: failure.map_or(deliveries::OK, |failure| failure.class.name()),
            detail: failure.map_or_else(String::new, |failure| failure.detail.clone()),
            answer,
        });
        if !on_disk {
            self.shared.metrics.store_failed(attempt.to.name, Work::Delivery);
        }
    }

    /// The request, with the headers of the contract first (hooks.md, section 1).
    fn request(&self, attempt: &Attempt<'_>, target: &Target, now: Instant) -> Request<Bytes> {
        let outgoing = attempt.outgoing;
        let to = &attempt.to;
        let hook_index = match outgoing.name {
            EventName::Zlm(_) => to.hook_index.fetch_add(1, Ordering::Relaxed),
            EventName::Own(_) => 0,
        };
        let unix = unix_ms(SystemTime::now()) / 1000;
        let body = outgoing.body(hook_index, attempt.media_server_id);
        let signature = to.signer.sign(outgoing.id(), unix, &body);
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
        headers.insert("tidegate-event", HeaderValue::from_static(outgoing.name.as_str()));
        headers.insert("tidegate-attempt", HeaderValue::from(attempt.number));
        if let Some(deadline) = attempt.deadline {
            let left = deadline.saturating_duration_since(now).as_millis();
            headers.insert(
                "tidegate-deadline-ms",
                HeaderValue::from(u64::try_from(left).unwrap_or(u64::MAX)),
            );
        }
        headers.insert("traceparent", outgoing.traceparent());
        if let Some(signature) = signature {
            headers.insert("webhook-signature", signature);
        }
        if let Some(seq) = attempt.seq {
            headers.insert("tidegate-seq", HeaderValue::from(seq));
        }
        if outgoing.replay {
            headers.insert("tidegate-replay", HeaderValue::from_static("1"));
        }
        for (name, value) in to.headers {
            headers.insert(name, value.clone());
        }
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

    /// The state of a receiver's breaker.
    pub(crate) fn breaker_state(&self, url: &str) -> State {
        let breakers = self.breakers.lock();
        breakers.get(url).map_or(State::Closed, Breaker::state)
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

    /// Takes over changed settings; `reload` if connections were made under rules that may have changed.
    pub(crate) fn apply(&self, settings: &Settings, reload: bool) {
        self.client.apply(settings, (self.limits)(settings), reload);
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
