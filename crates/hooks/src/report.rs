//! One log line per failure, at most one per second for each event and kind of failure.

use crate::event::EventName;
use crate::failure::{Class, Failure};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Least time between two lines about the same.
const PERIOD: Duration = Duration::from_secs(1);

/// What was logged when. Bounded by the number of events times the number of classes.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    last: Mutex<HashMap<(EventName, Class), (Instant, u64)>>,
}

impl Reporter {
    /// Reports a failed attempt. `receiver` must be free of credentials.
    pub(crate) fn failed(&self, hook: EventName, receiver: &str, attempt: u32, failure: &Failure) {
        let Some(suppressed) = self.admit(hook, failure.class, Instant::now()) else {
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

    /// Whether a line may be written now, and how many were left out since the last one.
    fn admit(&self, hook: EventName, class: Class, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        let Some((at, suppressed)) = last.get_mut(&(hook, class)) else {
            last.insert((hook, class), (now, 0));
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
    use crate::hook::Hook;

    #[test]
    fn a_storm_of_failures_is_one_line_per_second_with_a_count() {
        let reporter = Reporter::default();
        let now = Instant::now();
        let admit =
            |class, after| reporter.admit(Hook::Play.into(), class, now + Duration::from_millis(after));
        assert_eq!(admit(Class::Status, 0), Some(0));
        assert_eq!(admit(Class::Status, 10), None);
        assert_eq!(admit(Class::Status, 999), None);
        assert_eq!(admit(Class::Reset, 999), Some(0), "another kind is another line");
        assert_eq!(admit(Class::Status, 1000), Some(2));
    }
}
