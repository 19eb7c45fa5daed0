//! One log line per failure and the like, at most one per second for each event and kind.

use crate::event::EventName;
use crate::failure::{Class, Failure};
use crate::hook::Hook;
use crate::throttle::Rules;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Least time between two lines about the same.
const PERIOD: Duration = Duration::from_secs(1);

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Topic {
    Failed(Class),
    /// With the kind of answer that stands in.
    FailedOpen(&'static str),
    Blocked,
}

/// What was logged when. Bounded by the number of hooks times the number of topics.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    last: Mutex<HashMap<(EventName, Topic), (Instant, u64)>>,
}

impl Reporter {
    /// Reports a failed attempt. `receiver` must be free of credentials.
    pub(crate) fn failed(&self, hook: EventName, receiver: &str, attempt: u32, failure: &Failure) {
        let Some(suppressed) = self.admit(hook, Topic::Failed(failure.class), Instant::now()) else {
            return;
        };
        let (class, detail) = (failure.class, &failure.detail);
        match class {
            // A verdict is not a fault.
            Class::Denied => {
                tracing::info!(%hook, receiver, attempt, suppressed, "hook refused: {detail}");
            }
            Class::Dns
            | Class::Connect
            | Class::Tls
            | Class::Timeout
            | Class::Reset
            | Class::BadHttp
            | Class::Status
            | Class::TooLarge
            | Class::BadJson
            | Class::BadCode
            | Class::BadMember
            | Class::Overload
            | Class::BreakerOpen
            | Class::BadUrl
            | Class::Forbidden => {
                tracing::warn!(%hook, receiver, attempt, %class, suppressed, "hook failed: {detail}");
            }
        }
    }

    /// Reports that a question was answered in place of a receiver that did not.
    pub(crate) fn failed_open(&self, hook: Hook, kind: &'static str, failure: &Failure) {
        if let Some(suppressed) = self.admit(hook.into(), Topic::FailedOpen(kind), Instant::now()) {
            let class = failure.class;
            tracing::warn!(%hook, kind, %class, suppressed, "hook failed, and hook.fail_open answers in its place");
        }
    }

    /// Reports that an address is refused for a while.
    pub(crate) fn blocked(&self, hook: Hook, address: IpAddr, rules: &Rules) {
        if let Some(suppressed) = self.admit(hook.into(), Topic::Blocked, Instant::now()) {
            let Rules { limit, block, .. } = rules;
            tracing::warn!(
                %hook,
                %address,
                suppressed,
                "{limit} requests from this address were refused, it is not asked about for {block:?}"
            );
        }
    }

    /// Whether a line may be written now, and how many were left out since the last one.
    fn admit(&self, hook: EventName, topic: Topic, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        let Some((at, suppressed)) = last.get_mut(&(hook, topic)) else {
            last.insert((hook, topic), (now, 0));
            return Some(0);
        };
        if now.saturating_duration_since(*at) < PERIOD {
            *suppressed += 1;
            return None;
        }
        *at = now;
        Some(std::mem::take(suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_failures_is_one_line_per_second_with_a_count() {
        let reporter = Reporter::default();
        let now = Instant::now();
        let admit = |class, after| {
            reporter.admit(
                Hook::Play.into(),
                Topic::Failed(class),
                now + Duration::from_millis(after),
            )
        };
        assert_eq!(admit(Class::Status, 0), Some(0));
        assert_eq!(admit(Class::Status, 10), None);
        assert_eq!(admit(Class::Status, 999), None);
        assert_eq!(admit(Class::Reset, 999), Some(0), "another kind is another line");
        assert_eq!(admit(Class::Status, 1000), Some(2));
    }
}
