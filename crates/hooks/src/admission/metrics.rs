//! What is counted about decisions that are made here.

use crate::hook::Hook;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StandInLabels {
    event: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    table: &'static str,
}

/// A bounded table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Verdicts that are served without asking.
    Cache = 0,
    /// Verdicts for when the receiver does not answer.
    Last = 1,
    /// Addresses with refused requests.
    Refused = 2,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Last => "last_verdict",
            Self::Refused => "refused_addresses",
        }
    }
}

/// Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct LocalMetrics {
    hits: Family<EventLabel, Counter>,
    entries: Family<TableLabel, Gauge>,
    evictions: Family<TableLabel, Counter>,
    failed_open: Family<StandInLabels, Counter>,
    throttled: Family<EventLabel, Counter>,
    /// The gauge and the counter of each [`Table`].
    tables: [(Gauge, Counter); 3],
}

impl Default for LocalMetrics {
    fn default() -> Self {
        let entries: Family<TableLabel, Gauge> = Family::default();
        let evictions: Family<TableLabel, Counter> = Family::default();
        let tables = [Table::Cache, Table::Last, Table::Refused].map(|table| {
            let label = TableLabel { table: table.name() };
            (
                entries.get_or_create_owned(&label),
                evictions.get_or_create_owned(&label),
            )
        });
        Self {
            hits: Family::default(),
            entries,
            evictions,
            failed_open: Family::default(),
            throttled: Family::default(),
            tables,
        }
    }
}

impl LocalMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "hook_cache_hits",
            "Questions that a kept verdict answered with the receiver's consent, by event",
            self.hits.clone(),
        );
        registry.register(
            "hook_cache_entries",
            "Entries of the bounded tables of the decision plane",
            self.entries.clone(),
        );
        registry.register(
            "hook_cache_evictions",
            "Entries that went before their time because a table was full",
            self.evictions.clone(),
        );
        registry.register(
            "hook_fail_open",
            "Questions that were answered in place of a receiver that did not, by event and kind of answer",
            self.failed_open.clone(),
        );
        registry.register(
            "hook_throttled",
            "Questions that were refused without a call because of the client's address, by event",
            self.throttled.clone(),
        );
    }

    pub(crate) fn hit(&self, hook: Hook) {
        self.hits.get_or_create(&EventLabel { event: hook.name() }).inc();
    }

    /// The state of a table: entries now, and evictions since the start. One caller at a time.
    pub(crate) fn table(&self, table: Table, now: usize, evicted: u64) {
        let (entries, evictions) = &self.tables[table as usize];
        entries.set(i64::try_from(now).unwrap_or(i64::MAX));
        evictions.inc_by(evicted.saturating_sub(evictions.get()));
    }

    pub(crate) fn failed_open(&self, hook: Hook, kind: &'static str) {
        let labels = StandInLabels {
            event: hook.name(),
            kind,
        };
        self.failed_open.get_or_create(&labels).inc();
    }

    pub(crate) fn throttled(&self, hook: Hook) {
        self.throttled
            .get_or_create(&EventLabel { event: hook.name() })
            .inc();
    }
}
