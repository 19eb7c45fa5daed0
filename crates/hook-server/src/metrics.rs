//! What is counted, as Prometheus text.

use crate::call::Hook;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// Seconds: from a rule that is looked up to a source that takes as long as it may.
const BUCKETS: [f64; 11] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    hook: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookLabel {
    hook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    call: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Counters, gauges and one histogram. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    duration: Family<HookLabel, Histogram, fn() -> Histogram>,
    refused: Family<ReasonLabel, Counter>,
    api: Family<ApiLabels, Counter>,
    journal: Family<ResultLabel, Counter>,
    reloads: Family<ResultLabel, Counter>,
    /// Calls being answered.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    opening: Gauge,
    closing: Gauge,
    forgotten: Gauge,
    registry: Arc<Registry>,
}

/// What is looked up when the metrics are asked for.
pub struct Levels {
    /// Openings under way.
    pub opening: usize,
    /// Streams that wait for their end.
    pub closing: usize,
    /// Signed messages that were forgotten early.
    pub forgotten: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            calls: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refused: Family::default(),
            api: Family::default(),
            journal: Family::default(),
            reloads: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            opening: Gauge::default(),
            closing: Gauge::default(),
            forgotten: Gauge::default(),
            registry: Arc::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("hook_server");
        registry.register(
            "calls",
            "Hook calls that were answered, by hook and result",
            self.calls.clone(),
        );
        registry.register(
            "call_duration_seconds",
            "Time until the answer, by hook",
            self.duration.clone(),
        );
        registry.register(
            "refused",
            "Requests that were not answered by a rule, by reason",
            self.refused.clone(),
        );
        registry.register(
            "api_calls",
            "Calls to media servers, by call and result",
            self.api.clone(),
        );
        registry.register(
            "journal_events",
            "Events for the journal, by result",
            self.journal.clone(),
        );
        registry.register(
            "reloads",
            "Changes of the rules file, by result",
            self.reloads.clone(),
        );
        registry.register("in_flight", "Calls being answered", self.in_flight.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("sources_opening", "Sources being opened", self.opening.clone());
        registry.register(
            "streams_closing",
            "Streams that will be closed later",
            self.closing.clone(),
        );
        registry.register(
            "replay_memory_overflows",
            "Signed messages that were forgotten while they could still be replayed",
            self.forgotten.clone(),
        );
        registry
    }

    /// A call was answered.
    pub(crate) fn answered(&self, hook: Hook, result: &'static str, took: Duration) {
        let hook = hook.name();
        self.calls.get_or_create(&CallLabels { hook, result }).inc();
        self.duration
            .get_or_create(&HookLabel { hook })
            .observe(took.as_secs_f64());
    }

    /// A request or a connection was turned away.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A call to a media server ended.
    pub(crate) fn api_call(&self, call: &'static str, result: &'static str) {
        self.api.get_or_create(&ApiLabels { call, result }).inc();
    }

    /// An event was written, or not.
    pub(crate) fn journal(&self, result: &'static str) {
        self.journal.get_or_create(&ResultLabel { result }).inc();
    }

    /// The rules file was read again.
    pub fn reload(&self, result: &'static str) {
        self.reloads.get_or_create(&ResultLabel { result }).inc();
    }

    /// All of it.
    pub(crate) fn text(&self, levels: &Levels) -> String {
        let level = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.opening.set(level(levels.opening));
        self.closing.set(level(levels.closing));
        self.forgotten
            .set(i64::try_from(levels.forgotten).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
