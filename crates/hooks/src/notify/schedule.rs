//! What follows a failed attempt. Pure.

use crate::failure::{Class, Failure};
use std::time::Duration;

/// Pauses of a durable endpoint, from the first failed attempt on: about 18 hours, because news of streams age quickly.
pub const DURABLE: [Duration; 8] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
];

/// Attempts after which a status that says that the request itself is wrong is believed.
const BELIEVED_AFTER: u32 = 3;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver refused it, and would again.
    Refused,
    /// No attempt was made; look again later.
    NotMade,
    /// Another attempt follows after this time.
    Retry(Duration),
    /// All attempts failed.
    GiveUp,
    /// The receiver is gone (410): the endpoint is switched off, and the event waits.
    Gone,
}

/// How an endpoint retries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    /// As ZLM: this many times, with this pause.
    Compatible { retry: u32, pause: Duration },
    /// By [`DURABLE`].
    Durable,
}

impl Plan {
    /// What follows the failed attempt with this number, from 1. `jitter` is from 0 to 1.
    pub(super) fn after(self, failure: &Failure, attempt: u32, jitter: f64) -> Verdict {
        if matches!(failure.class, Class::Overload | Class::BreakerOpen) {
            return Verdict::NotMade;
        }
        match self {
            Self::Compatible { .. } if failure.class.receiver_works() == Some(true) => Verdict::Refused,
            Self::Compatible { retry, pause } => {
                if failure.class.is_retried() && attempt <= retry {
                    Verdict::Retry(pause)
                } else {
                    Verdict::GiveUp
                }
            }
            Self::Durable => {
                let hopeless = matches!(failure.status, Some(400 | 401 | 403 | 404 | 413));
                if failure.status == Some(410) {
                    return Verdict::Gone;
                }
                if matches!(failure.class, Class::BadUrl | Class::Forbidden)
                    || hopeless && attempt >= BELIEVED_AFTER
                {
                    return Verdict::GiveUp;
                }
                let index = attempt.saturating_sub(1) as usize;
                let Some(planned) = DURABLE.get(index) else {
                    return Verdict::GiveUp;
                };
                // 20 % up or down, so that receivers that come back are not stormed.
                let planned = planned.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
                let asked = failure.retry_after.unwrap_or(planned);
                Verdict::Retry(asked.clamp(planned, planned * 2))
            }
        }
    }
}

/// Whether a failure says that there was too much at once.
pub(super) const fn is_too_much(failure: &Failure) -> bool {
    matches!(failure.status, Some(429 | 502 | 503 | 504))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure::status(status, "200 to 299")
    }

    #[test]
    fn a_durable_endpoint_is_tried_for_eighteen_hours() {
        let mut total = Duration::ZERO;
        for attempt in 1..=8 {
            let Verdict::Retry(pause) = Plan::Durable.after(&status(500), attempt, 0.5) else {
                panic!("attempt {attempt}");
            };
            total += pause;
        }
        assert!((17..19).contains(&(total.as_secs() / 3600)));
        assert_eq!(Plan::Durable.after(&status(500), 9, 0.5), Verdict::GiveUp);
        let pause = |jitter| Plan::Durable.after(&status(500), 1, jitter);
        assert_eq!(pause(0.0), Verdict::Retry(Duration::from_secs(4)));
        assert_eq!(pause(1.0), Verdict::Retry(Duration::from_secs(6)));
    }

    #[test]
    fn the_receiver_may_ask_for_more_time_within_limits() {
        let asked = |seconds| Failure {
            retry_after: Some(Duration::from_secs(seconds)),
            ..status(503)
        };
        let after = |seconds| Plan::Durable.after(&asked(seconds), 2, 0.5);
        assert_eq!(after(1), Verdict::Retry(Duration::from_secs(30)));
        assert_eq!(after(45), Verdict::Retry(Duration::from_secs(45)));
        assert_eq!(after(4000), Verdict::Retry(Duration::from_secs(60)));
        assert!(is_too_much(&asked(1)) && !is_too_much(&status(500)));
    }

    #[test]
    fn what_cannot_succeed_is_given_up_early() {
        assert_eq!(Plan::Durable.after(&status(410), 1, 0.5), Verdict::Gone);
        for wrong in [400, 401, 403, 404, 413] {
            assert!(matches!(
                Plan::Durable.after(&status(wrong), 2, 0.5),
                Verdict::Retry(_)
            ));
            assert_eq!(Plan::Durable.after(&status(wrong), 3, 0.5), Verdict::GiveUp);
        }
        assert!(matches!(
            Plan::Durable.after(&status(302), 5, 0.5),
            Verdict::Retry(_)
        ));
    }

    #[test]
    fn compatible_is_as_the_reference() {
        let plan = Plan::Compatible {
            retry: 1,
            pause: Duration::from_secs(3),
        };
        assert_eq!(
            plan.after(&status(500), 1, 0.9),
            Verdict::Retry(Duration::from_secs(3))
        );
        assert_eq!(plan.after(&status(500), 2, 0.9), Verdict::GiveUp);
        let denied = Failure::new(Class::Denied, String::new(), String::new());
        assert_eq!(plan.after(&denied, 1, 0.9), Verdict::Refused);
        assert_eq!(plan.after(&Failure::breaker_open(), 1, 0.9), Verdict::NotMade);
    }
}
