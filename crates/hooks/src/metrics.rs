//! What the hooks count.

use crate::admission::LocalMetrics;
use crate::breaker::State;
use crate::event::EventName;
use crate::failure::Class;
use crate::spool::Work;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Seconds: from a receiver on the same machine to one that lets an attempt run into the default limit of 10 s.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    event: &'static str,
    endpoint: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaneLabel {
    plane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConnectionLabels {
    plane: &'static str,
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConnectLabels {
    plane: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkLabels {
    endpoint: String,
    work: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BreakerLabels {
    plane: &'static str,
    receiver: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    endpoint: String,
    reason: &'static str,
}

/// Why a notification was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue was full.
    QueueFull,
    /// A newer one says the same (keep-alive).
    Superseded,
    /// The hook was switched off while it waited.
    SwitchedOff,
    /// The server stopped.
    Shutdown,
    /// All attempts failed.
    Failed,
    /// It was too old.
    Expired,
    /// What was kept on disk took more room than allowed.
    DiskFull,
    /// It could not be written to disk, and there was no room for it elsewhere.
    NotWritten,
    /// The endpoint was removed while it waited.
    Removed,
    /// What was kept on disk of it could not be read back.
    Damaged,
}

impl Dropped {
    const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Superseded => "superseded",
            Self::SwitchedOff => "switched_off",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::DiskFull => "disk_full",
            Self::NotWritten => "not_written",
            Self::Removed => "removed",
            Self::Damaged => "damaged",
        }
    }
}

/// Counters, gauges and one histogram. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<EventLabel, Histogram, fn() -> Histogram>,
    queue_length: Family<PlaneLabel, Gauge>,
    in_flight: Family<PlaneLabel, Gauge>,
    connections: Family<ConnectionLabels, Gauge>,
    connects: Family<ConnectLabels, Counter>,
    breaker_state: Family<BreakerLabels, Gauge>,
    dropped: Family<DropLabels, Counter>,
    dead_letters: Family<EndpointLabel, Counter>,
    waiting: Family<EndpointLabel, Gauge>,
    age: Family<EndpointLabel, Gauge>,
    stored: Family<EndpointLabel, Gauge>,
    store_failures: Family<WorkLabels, Counter>,
    disabled: Family<EndpointLabel, Gauge>,
    pub(crate) local: LocalMetrics,
}

/// What an endpoint's queue shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndpointState {
    /// Notifications that are not done with, in memory and on disk.
    pub waiting: usize,
    /// Age of the oldest, in seconds.
    pub age: u64,
    /// Bytes on disk.
    pub stored: u64,
    /// It is switched off because of its failures.
    pub disabled: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            queue_length: Family::default(),
            in_flight: Family::default(),
            connections: Family::default(),
            connects: Family::default(),
            breaker_state: Family::default(),
            dropped: Family::default(),
            dead_letters: Family::default(),
            waiting: Family::default(),
            age: Family::default(),
            stored: Family::default(),
            store_failures: Family::default(),
            disabled: Family::default(),
            local: LocalMetrics::default(),
        }
    }
}

/// The gauges of one plane.
#[derive(Clone, Debug)]
pub(crate) struct PlaneMetrics {
    pub(crate) waiting: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Connections,
}

/// Counts the connections of a plane.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    http1: Gauge,
    http2: Gauge,
    plane: &'static str,
    connects: Family<ConnectLabels, Counter>,
}

/// A connection that is there, until dropped.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A connection that is being made. Dropped, it was given up.
pub(crate) struct Connecting<'a> {
    connections: &'a Connections,
    result: &'static str,
}

impl Connections {
    /// One is there.
    pub(crate) fn open(&self, http2: bool) -> Open {
        let gauge = if http2 { &self.http2 } else { &self.http1 };
        gauge.inc();
        Open(gauge.clone())
    }

    /// One is begun.
    pub(crate) const fn begin(&self) -> Connecting<'_> {
        Connecting {
            connections: self,
            result: "given_up",
        }
    }
}

impl Connecting<'_> {
    /// It was made, or failed.
    pub(crate) fn end(mut self, class: Option<Class>) {
        self.result = class.map_or("ok", Class::name);
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let labels = ConnectLabels {
            plane: self.connections.plane,
            result: self.result,
        };
        self.connections.connects.get_or_create(&labels).inc();
    }
}

impl Metrics {
    /// Makes them known to a registry, as `hook_requests_total`, `hook_duration_seconds`, `hook_queue_length`, `hook_inflight`,
    /// `hook_connections`, `hook_connects_total`, `hook_breaker_state`, `hook_dropped_total` and those of each endpoint, and those of the decisions that are made here: `hook_cache_hits_total`,
    /// `hook_cache_entries`, `hook_cache_evictions_total`, `hook_fail_open_total`, `hook_throttled_total`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "hook_requests",
            "Attempts to call a web hook, by event and result",
            self.requests.clone(),
        );
        registry.register(
            "hook_duration_seconds",
            "Time of one attempt, by event",
            self.duration.clone(),
        );
        registry.register(
            "hook_queue_length",
            "Decisions waiting for a free call, and notifications not yet done with, by plane",
            self.queue_length.clone(),
        );
        registry.register(
            "hook_inflight",
            "Calls under way, by plane",
            self.in_flight.clone(),
        );
        registry.register(
            "hook_connections",
            "Connections to receivers, idle ones included, by plane and version of HTTP",
            self.connections.clone(),
        );
        registry.register(
            "hook_connects",
            "Connections to receivers that were begun, by plane and what came of it",
            self.connects.clone(),
        );
        registry.register(
            "hook_breaker_state",
            "Circuit breaker of a receiver: 0 closed, 1 half-open, 2 open",
            self.breaker_state.clone(),
        );
        registry.register(
            "hook_dropped",
            "Notifications that were not delivered, by endpoint and reason",
            self.dropped.clone(),
        );
        registry.register(
            "hook_dead_letters",
            "Notifications that were put aside because all attempts failed, by endpoint",
            self.dead_letters.clone(),
        );
        registry.register(
            "hook_endpoint_waiting",
            "Notifications that an endpoint has not got yet, in memory and on disk",
            self.waiting.clone(),
        );
        registry.register(
            "hook_queue_age_seconds",
            "Age of the oldest notification that an endpoint has not got yet",
            self.age.clone(),
        );
        registry.register(
            "hook_stored_bytes",
            "Bytes that an endpoint's notifications take on disk",
            self.stored.clone(),
        );
        registry.register(
            "hook_store_failures",
            "What the disk that keeps notifications refused, by endpoint and kind of work",
            self.store_failures.clone(),
        );
        registry.register(
            "hook_endpoint_disabled",
            "1 if an endpoint is switched off because of its failures",
            self.disabled.clone(),
        );
        self.local.register(registry);
    }

    pub(crate) fn plane(&self, plane: &'static str) -> PlaneMetrics {
        let connections = |version| {
            self.connections
                .get_or_create_owned(&ConnectionLabels { plane, version })
        };
        PlaneMetrics {
            connections: Connections {
                http1: connections("1.1"),
                http2: connections("2"),
                plane,
                connects: self.connects.clone(),
            },
            waiting: self.queue_length.get_or_create_owned(&PlaneLabel { plane }),
            in_flight: self.in_flight.get_or_create_owned(&PlaneLabel { plane }),
        }
    }

    pub(crate) fn attempt(&self, event: EventName, endpoint: &str, class: Option<Class>, took: Duration) {
        self.request(event, endpoint, class.map_or("ok", Class::name));
        self.duration
            .get_or_create(&EventLabel {
                event: event.as_str(),
            })
            .observe(took.as_secs_f64());
    }

    /// A call that was not made.
    pub(crate) fn not_attempted(&self, event: EventName, endpoint: &str, class: Class) {
        self.request(event, endpoint, class.name());
    }

    fn request(&self, event: EventName, endpoint: &str, result: &'static str) {
        let labels = RequestLabels {
            event: event.as_str(),
            endpoint: endpoint.to_owned(),
            result,
        };
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn breaker(&self, plane: &'static str, receiver: &str, state: State) {
        let labels = BreakerLabels {
            plane,
            receiver: receiver.to_owned(),
        };
        self.breaker_state.get_or_create(&labels).set(state as i64);
    }

    pub(crate) fn forget_breaker(&self, plane: &'static str, receiver: &str) {
        self.breaker_state.remove(&BreakerLabels {
            plane,
            receiver: receiver.to_owned(),
        });
    }

    pub(crate) fn dropped(&self, endpoint: &str, reason: Dropped, count: usize) {
        if count == 0 {
            return;
        }
        let labels = DropLabels {
            endpoint: endpoint.to_owned(),
            reason: reason.name(),
        };
        self.dropped.get_or_create(&labels).inc_by(count as u64);
    }

    pub(crate) fn store_failed(&self, endpoint: &str, work: Work) {
        let labels = WorkLabels {
            endpoint: endpoint.to_owned(),
            work: work.name(),
        };
        self.store_failures.get_or_create(&labels).inc();
    }

    pub(crate) fn dead_letter(&self, endpoint: &str) {
        let endpoint = endpoint.to_owned();
        self.dead_letters.get_or_create(&EndpointLabel { endpoint }).inc();
    }

    pub(crate) fn endpoint(&self, endpoint: &str, state: EndpointState) {
        let label = EndpointLabel {
            endpoint: endpoint.to_owned(),
        };
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.waiting
            .get_or_create(&label)
            .set(gauge(state.waiting as u64));
        self.age.get_or_create(&label).set(gauge(state.age));
        self.stored.get_or_create(&label).set(gauge(state.stored));
        self.disabled.get_or_create(&label).set(i64::from(state.disabled));
    }

    /// An endpoint is gone.
    pub(crate) fn forget_endpoint(&self, endpoint: &str) {
        let label = EndpointLabel {
            endpoint: endpoint.to_owned(),
        };
        for gauges in [&self.waiting, &self.age, &self.stored, &self.disabled] {
            gauges.remove(&label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;

    #[test]
    fn everything_is_exported_under_its_name() {
        let metrics = Metrics::default();
        metrics.attempt(Hook::Play.into(), "zlm", None, Duration::from_millis(2));
        metrics.attempt(
            Hook::Play.into(),
            "zlm",
            Some(Class::Denied),
            Duration::from_millis(2),
        );
        metrics.plane("decision").in_flight.set(3);
        metrics.breaker("decision", "http://h/p", State::Open);
        metrics.dropped("zlm", Dropped::QueueFull, 1);
        metrics.store_failed("zlm", Work::Event);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "hook_requests_total{event=\"on_play\",endpoint=\"zlm\",result=\"ok\"} 1",
            "hook_requests_total{event=\"on_play\",endpoint=\"zlm\",result=\"denied\"} 1",
            "hook_duration_seconds_count{event=\"on_play\"} 2",
            "hook_queue_length{plane=\"decision\"} 0",
            "hook_inflight{plane=\"decision\"} 3",
            "hook_breaker_state{plane=\"decision\",receiver=\"http://h/p\"} 2",
            "hook_dropped_total{endpoint=\"zlm\",reason=\"queue_full\"} 1",
            "hook_store_failures_total{endpoint=\"zlm\",work=\"event\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
