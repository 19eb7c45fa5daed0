//! What is decided here, without asking: kept verdicts, and addresses that are refused for a while.

use super::metrics::{LocalMetrics, Table};
use crate::failure::{Class, Failure};
use crate::hook::Hook;
use crate::report::Reporter;
use crate::settings::Settings;
use crate::throttle::{self, Throttle};
use crate::verdicts::{Bounds, Question, Verdict, Verdicts};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest time that a consent is served without asking, whatever the receiver or `hook.cache_max_sec` say.
pub const MAX_CACHED: Duration = Duration::from_secs(600);

/// The same for a refusal.
pub const MAX_CACHED_DENIAL: Duration = Duration::from_secs(5);

/// How old a verdict may be that stands in for a receiver that does not answer.
pub const MAX_LAST: Duration = Duration::from_secs(300);

/// The state.
#[derive(Debug)]
pub(crate) struct Local {
    tables: Mutex<Tables>,
    metrics: LocalMetrics,
}

#[derive(Debug)]
struct Tables {
    /// Served without asking, with the receiver's consent.
    cache: Verdicts,
    /// The last verdicts, for when the receiver does not answer.
    last: Verdicts,
    throttle: Throttle,
    /// URLs whose last call that was made failed because nobody is there. Of configured ones only.
    away: HashSet<Arc<str>>,
}

/// State of the tables when a question went out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generations {
    cache: u64,
    last: u64,
}

/// Which verdicts are withdrawn; an absent part fits all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Virtual host.
    pub vhost: Option<&'a str>,
    /// Application.
    pub app: Option<&'a str>,
    /// Stream.
    pub stream: Option<&'a str>,
}

impl Filter<'_> {
    /// Verdicts about files are of no stream, so only an empty filter fits them.
    fn fits(&self, question: &Question) -> bool {
        let Some(key) = &question.stream else {
            return *self == Self::default();
        };
        [
            (self.vhost, key.vhost()),
            (self.app, key.app()),
            (self.stream, key.stream()),
        ]
        .iter()
        .all(|(wanted, is)| wanted.is_none_or(|wanted| wanted == *is))
    }
}

/// How a question is answered in place of a receiver that does not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StandIn {
    /// By what it said last about the same.
    Last(Verdict),
    /// As if the hook were off.
    Default,
}

impl StandIn {
    /// The label `kind` of the metric.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Last(verdict) if verdict.is_denial() => "last_denied",
            Self::Last(_) => "last_allowed",
            Self::Default => "default",
        }
    }
}

impl Local {
    pub(crate) fn new(metrics: LocalMetrics) -> Self {
        Self {
            tables: Mutex::new(Tables {
                cache: Verdicts::new(Bounds::DEFAULT),
                last: Verdicts::new(Bounds::DEFAULT),
                throttle: Throttle::new(throttle::MAX_ADDRESSES),
                away: HashSet::new(),
            }),
            metrics,
        }
    }

    /// To be asked for before a question goes out.
    pub(crate) fn generations(&self) -> Generations {
        let tables = self.tables.lock();
        Generations {
            cache: tables.cache.generation(),
            last: tables.last.generation(),
        }
    }

    /// A verdict that may be served without asking.
    pub(crate) fn cached(&self, question: &Question) -> Option<Verdict> {
        let mut tables = self.tables.lock();
        let found = tables.cache.find(Instant::now(), question).cloned();
        self.measure(&tables);
        if found.is_some() {
            self.metrics.hit(question.hook);
        }
        found
    }

    /// The refusal for a client whose address is blocked.
    pub(crate) fn blocked(&self, settings: &Settings, hook: Hook, address: IpAddr) -> Option<Failure> {
        if settings.throttle.limit == 0 {
            return None;
        }
        let blocked = self.tables.lock().throttle.is_blocked(Instant::now(), address);
        blocked.then(|| {
            self.metrics.throttled(hook);
            Failure::new(
                Class::Denied,
                "[auth failed]: too many refused requests".to_owned(),
                "refused here: too many requests from this address were refused before".to_owned(),
            )
        })
    }

    /// Takes notice of a verdict. `consent` is how long the receiver lets it be served.
    pub(crate) fn said(
        &self,
        settings: &Settings,
        generations: Generations,
        question: Question,
        verdict: &Verdict,
        consent: Duration,
    ) {
        let now = Instant::now();
        let hook = question.hook;
        let mut tables = self.tables.lock();
        if settings.fails_open(hook) {
            tables
                .last
                .keep(now, generations.last, question.clone(), verdict.clone(), MAX_LAST);
        }
        if settings.caches(hook) {
            let cap = if verdict.is_denial() {
                MAX_CACHED_DENIAL
            } else {
                MAX_CACHED
            };
            let time = consent.min(cap).min(settings.cache_max);
            tables
                .cache
                .keep(now, generations.cache, question, verdict.clone(), time);
        }
        self.measure(&tables);
    }

    /// A client was refused by a receiver, or by a kept refusal of it.
    pub(crate) fn refused(&self, settings: &Settings, reporter: &Reporter, hook: Hook, address: IpAddr) {
        let rules = &settings.throttle;
        if rules.limit == 0 {
            return;
        }
        let mut tables = self.tables.lock();
        let blocked = tables.throttle.refused(Instant::now(), address, rules);
        self.measure(&tables);
        drop(tables);
        if blocked {
            reporter.blocked(hook, address, rules);
        }
    }

    /// Takes notice of what came of a call to a URL, whatever it was about.
    pub(crate) fn called<T>(&self, url: &Arc<str>, result: &Result<T, Failure>) {
        let away = match result.as_ref().map_err(silence) {
            Ok(_) | Err(Silence::Answered) => false,
            Err(Silence::Away) => true,
            Err(Silence::NotAsked) => return,
        };
        let away_now = &mut self.tables.lock().away;
        if away {
            away_now.insert(url.clone());
        } else {
            away_now.remove(url);
        }
    }

    /// What stands in for a verdict, after the call failed for this reason.
    pub(crate) fn stand_in(
        &self,
        settings: &Settings,
        question: &Question,
        failure: &Failure,
    ) -> Option<StandIn> {
        let hook = question.hook;
        if !settings.fails_open(hook) {
            return None;
        }
        let url = &settings.endpoint(hook)?.url;
        let mut tables = self.tables.lock();
        let away = match silence(failure) {
            Silence::Answered => return None,
            Silence::Away => true,
            // Why the breaker is open is known from the calls that opened it.
            Silence::NotAsked if failure.class == Class::BreakerOpen => {
                if !tables.away.contains(url) {
                    return None;
                }
                true
            }
            Silence::NotAsked => false,
        };
        let last = tables.last.find(Instant::now(), question).cloned();
        self.measure(&tables);
        last.map(StandIn::Last)
            // Whoever sends enough requests brings about an overload; that must not open the door.
            .or_else(|| away.then_some(StandIn::Default))
            .inspect(|stand_in| self.metrics.failed_open(hook, stand_in.name()))
    }

    /// Withdraws verdicts; returns how many were served without asking.
    pub(crate) fn withdraw(&self, filter: &Filter<'_>) -> usize {
        let mut tables = self.tables.lock();
        let withdrawn = tables.cache.withdraw(|question| filter.fits(question));
        tables.last.withdraw(|question| filter.fits(question));
        self.measure(&tables);
        withdrawn
    }

    /// Forgets what was said under other settings.
    pub(crate) fn apply(&self, old: &Settings, new: &Settings) {
        let mut tables = self.tables.lock();
        for hook in Hook::ALL {
            if !old.asks_like(new, hook) {
                tables.cache.withdraw(|question| question.hook == hook);
                tables.last.withdraw(|question| question.hook == hook);
            }
        }
        tables
            .away
            .retain(|url| new.endpoints().any(|endpoint| endpoint.url == *url));
        if old.throttle != new.throttle {
            tables.throttle.clear();
        }
        self.measure(&tables);
    }

    fn measure(&self, tables: &Tables) {
        let Tables {
            cache,
            last,
            throttle,
            away: _,
        } = tables;
        self.metrics.table(Table::Cache, cache.len(), cache.evicted());
        self.metrics.table(Table::Last, last.len(), last.evicted());
        self.metrics
            .table(Table::Refused, throttle.len(), throttle.evicted());
    }
}

/// What a failure says about whether the receiver has an opinion.
enum Silence {
    /// It may have said no in a way that cannot be read: that is never taken for a yes.
    Answered,
    /// It is not there.
    Away,
    /// It was not asked.
    NotAsked,
}

fn silence(failure: &Failure) -> Silence {
    match failure.class {
        Class::Dns | Class::Connect | Class::Tls | Class::Timeout | Class::Reset => Silence::Away,
        // A gateway says that the service behind it is away. Any other status may be meant as a refusal, or be an error that a
        // client provoked by what it sent.
        Class::Status if matches!(failure.status, Some(502..=504)) => Silence::Away,
        Class::Status
        | Class::BadHttp
        | Class::TooLarge
        | Class::BadJson
        | Class::BadCode
        | Class::BadMember
        | Class::Denied => Silence::Answered,
        // A mistake in the configuration opens nothing.
        Class::BadUrl | Class::Forbidden => Silence::Answered,
        Class::Overload | Class::BreakerOpen => Silence::NotAsked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::StreamKey;

    #[test]
    fn a_filter_fits_by_the_parts_it_names() {
        let question = |stream| Question {
            hook: Hook::Play,
            stream,
            details: "".into(),
            address: None,
        };
        let cam = question(Some(StreamKey::new("v", "live", "cam")));
        let file = question(None);
        let filter = |vhost, app, stream| Filter { vhost, app, stream };
        assert!(filter(None, None, None).fits(&cam) && filter(None, None, None).fits(&file));
        assert!(filter(Some("v"), Some("live"), Some("cam")).fits(&cam));
        assert!(filter(None, Some("live"), None).fits(&cam));
        for other in [
            filter(Some("w"), None, None),
            filter(None, Some("vod"), Some("cam")),
            filter(None, None, Some("cam2")),
        ] {
            assert!(!other.fits(&cam), "{other:?}");
        }
        assert!(!filter(None, Some("live"), None).fits(&file));
    }
}
