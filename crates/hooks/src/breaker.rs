//! Circuit breaker: a receiver that keeps failing is not asked for a while, so that nobody waits for it in vain. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// This many failures in a row open the breaker.
pub const CONSECUTIVE_FAILURES: u32 = 10;

/// The window in which the share of failures is looked at, in seconds.
const WINDOW_SECONDS: usize = 30;

/// Fewer calls than this within the window say nothing about the share.
const MIN_CALLS: u32 = 20;

/// Pause before the first probe.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The pause doubles with each failed probe, up to this.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long others wait for the outcome of a probe before they look again.
const PROBE_POLL: Duration = Duration::from_secs(1);

/// What a breaker lets through; the value of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Every call.
    Closed = 0,
    /// One probe.
    HalfOpen = 1,
    /// Nothing.
    Open = 2,
}

impl State {
    /// For operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Yes.
    Pass,
    /// Yes, and what comes of it decides about the breaker.
    Probe,
    /// No, ask again at this time.
    Refuse {
        /// When.
        until: Instant,
    },
}

/// The breaker of one receiver in one plane.
#[derive(Debug)]
pub(crate) struct Breaker {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32, window: Box<Window> },
    Open { until: Instant, pause: Duration },
    Probing { pause: Duration },
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Closed {
                failures: 0,
                window: Box::new(Window::new(now)),
            },
        }
    }

    pub(crate) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Probing { .. } => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        }
    }

    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        match self.phase {
            Phase::Closed { .. } => Admission::Pass,
            Phase::Open { until, pause } if now >= until => {
                self.phase = Phase::Probing { pause };
                Admission::Probe
            }
            Phase::Open { until, .. } => Admission::Refuse { until },
            Phase::Probing { .. } => Admission::Refuse {
                until: now + PROBE_POLL,
            },
        }
    }

    /// The outcome of a call that was let through. Those of calls that began before the breaker opened change nothing any more.
    pub(crate) fn record(&mut self, now: Instant, probe: bool, works: bool) {
        match &mut self.phase {
            Phase::Closed { failures, window } => {
                window.add(now, works);
                *failures = if works { 0 } else { *failures + 1 };
                if *failures >= CONSECUTIVE_FAILURES || window.mostly_failed() {
                    self.phase = Phase::Open {
                        until: now + FIRST_PAUSE,
                        pause: FIRST_PAUSE,
                    };
                }
            }
            Phase::Probing { pause } if probe => {
                let pause = (*pause * 2).min(MAX_PAUSE);
                self.phase = if works {
                    Phase::Closed {
                        failures: 0,
                        window: Box::new(Window::new(now)),
                    }
                } else {
                    Phase::Open {
                        until: now + pause,
                        pause,
                    }
                };
            }
            Phase::Probing { .. } | Phase::Open { .. } => {}
        }
    }

    /// A probe was given up before it had an outcome: the next call probes.
    pub(crate) fn abandon_probe(&mut self, now: Instant) {
        if let Phase::Probing { pause } = self.phase {
            self.phase = Phase::Open { until: now, pause };
        }
    }
}

/// Calls of the last [`WINDOW_SECONDS`], one bucket for each second.
#[derive(Debug)]
struct Window {
    start: Instant,
    /// Second of the newest bucket, counted from `start`.
    newest: u64,
    /// Calls and failures.
    buckets: [(u32, u32); WINDOW_SECONDS],
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            start: now,
            newest: 0,
            buckets: [(0, 0); WINDOW_SECONDS],
        }
    }

    fn add(&mut self, now: Instant, works: bool) {
        let second = now.saturating_duration_since(self.start).as_secs();
        let passed = second.saturating_sub(self.newest).min(WINDOW_SECONDS as u64);
        for step in 1..=passed {
            self.buckets[Self::place(self.newest + step)] = (0, 0);
        }
        self.newest = self.newest.max(second);
        let (calls, failures) = &mut self.buckets[Self::place(self.newest)];
        *calls = calls.saturating_add(1);
        *failures = failures.saturating_add(u32::from(!works));
    }

    fn mostly_failed(&self) -> bool {
        let sum = |sum: (u32, u32), bucket: &(u32, u32)| {
            (sum.0.saturating_add(bucket.0), sum.1.saturating_add(bucket.1))
        };
        let (calls, failures) = self.buckets.iter().fold((0, 0), sum);
        calls >= MIN_CALLS && failures > calls / 2
    }

    fn place(second: u64) -> usize {
        (second % WINDOW_SECONDS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn fail(breaker: &mut Breaker, now: Instant, times: u32) {
        for _ in 0..times {
            assert_eq!(breaker.admit(now), Admission::Pass);
            breaker.record(now, false, false);
        }
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_nine_do_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        fail(&mut breaker, now, 9);
        breaker.record(now, false, true);
        fail(&mut breaker, now, 9);
        assert_eq!(breaker.state(), State::Closed);
        fail(&mut breaker, now, 1);
        assert_eq!(
            breaker.admit(now + seconds(4)),
            Admission::Refuse {
                until: now + seconds(5)
            }
        );
    }

    #[test]
    fn more_than_half_of_twenty_calls_within_the_window_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for call in 0..20 {
            breaker.record(now, false, call % 2 == 0);
        }
        assert_eq!(
            breaker.state(),
            State::Closed,
            "exactly half is not more than half"
        );
        breaker.record(now, false, false);
        assert_eq!(breaker.state(), State::Open);
    }

    #[test]
    fn failures_out_of_the_window_are_forgotten() {
        let now = Instant::now();
        for pause in [30, 31, 45, 300] {
            let mut breaker = Breaker::new(now);
            for call in 0..18 {
                breaker.record(now, false, call % 3 == 0);
            }
            breaker.record(now + seconds(pause), false, true);
            fail(&mut breaker, now + seconds(pause), 9);
            assert_eq!(breaker.state(), State::Closed, "after {pause} s");
        }
    }

    #[test]
    fn one_probe_at_a_time_and_the_pause_doubles_up_to_a_minute() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        fail(&mut breaker, now, 10);
        for pause in [5, 10, 20, 40, 60, 60] {
            let until = now + seconds(pause);
            assert_eq!(
                breaker.admit(until - Duration::from_millis(1)),
                Admission::Refuse { until }
            );
            assert_eq!(breaker.admit(until), Admission::Probe);
            assert_eq!(breaker.state(), State::HalfOpen);
            assert!(matches!(breaker.admit(until), Admission::Refuse { .. }));
            breaker.record(until, false, true);
            assert_eq!(
                breaker.state(),
                State::HalfOpen,
                "a late call of before does not decide"
            );
            breaker.record(until, true, false);
            now = until;
        }
        assert_eq!(breaker.admit(now + seconds(60)), Admission::Probe);
        breaker.abandon_probe(now);
        assert_eq!(
            breaker.admit(now + seconds(60)),
            Admission::Probe,
            "an abandoned probe lets the next call probe"
        );
        breaker.record(now, true, true);
        assert_eq!(breaker.state(), State::Closed);
        fail(&mut breaker, now, 9);
        assert_eq!(breaker.state(), State::Closed, "it begins anew");
    }
}
