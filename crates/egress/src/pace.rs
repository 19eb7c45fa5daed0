//! When writes are merged: at once while there is time, over a growing while as the worker's time fills up.
//!
//! A write costs the kernel nearly the same whether it carries one small packet or ten, so a crowded worker that waits a little and
//! writes more at a time serves more viewers with the same core. A worker that has time gains nothing from waiting, and its viewers
//! lose.

use std::time::{Duration, Instant};

/// How long writes to one viewer are held back after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// As long as the worker's load says, at most this; zero writes each packet at once.
    Adaptive(Duration),
    /// So long (`general.mergeWriteMS`), whatever the load.
    Fixed(Duration),
}

/// Up to this share of its time a worker writes at once.
const BEGIN: f64 = 0.5;
/// From this share on it merges for the whole time allowed. The rest is room for what comes unevenly.
const FULL: f64 = 0.9;
/// Load is judged over windows of this length: some frames of each stream.
const WINDOW: Duration = Duration::from_millis(100);
/// Share of the newest window in the judgement: it follows within half a second and does not jump.
const NEWEST: f64 = 0.3;
/// Waiting for less is not worth a timer.
const LEAST: Duration = Duration::from_millis(1);

/// The pace of one worker.
#[derive(Debug)]
pub struct Pace {
    busy: f64,
    since: Instant,
    slept: Duration,
}

impl Pace {
    /// An idle worker.
    pub fn new(now: Instant) -> Self {
        Self {
            busy: 0.0,
            since: now,
            slept: Duration::ZERO,
        }
    }

    /// The worker slept until `now`, for so long.
    pub fn slept(&mut self, now: Instant, time: Duration) {
        self.slept += time;
        let window = now.saturating_duration_since(self.since);
        if window < WINDOW {
            return;
        }
        let worked = window.saturating_sub(self.slept);
        let share = worked.as_secs_f64() / window.as_secs_f64();
        // A long sleep is many windows without work.
        let newest = if window > WINDOW * 4 { 1.0 } else { NEWEST };
        self.busy += (share - self.busy) * newest;
        (self.since, self.slept) = (now, Duration::ZERO);
    }

    /// Share of its time that the worker is busy, 0 to 1, of late.
    pub fn busy(&self) -> f64 {
        self.busy
    }

    /// Whether it has been sleeping, as good as all the time.
    pub fn is_idle(&self) -> bool {
        self.busy < 0.001
    }

    /// How long writes to one viewer are held back now.
    pub fn hold(&self, merge: Merge) -> Duration {
        match merge {
            Merge::Fixed(time) => time,
            Merge::Adaptive(most) => {
                let part = ((self.busy - BEGIN) / (FULL - BEGIN)).clamp(0.0, 1.0);
                let time = most.mul_f64(part);
                if time < LEAST { Duration::ZERO } else { time }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Merge = Merge::Adaptive(Duration::from_millis(40));

    /// A worker with viewers of `rate` packets per second each, every write of which costs `cost`. Returns how busy it is and how
    /// long it merges at the end, and the range of the latter over the last second.
    fn run(viewers: u32, rate: f64, cost: Duration) -> (f64, Duration, Duration) {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let (mut low, mut high) = (Duration::MAX, Duration::ZERO);
        let step = Duration::from_millis(10);
        for turn in 1..=1000_u32 {
            let hold = pace.hold(MOST);
            // At most one write in each `hold`.
            let writes = rate.min(if hold.is_zero() {
                f64::INFINITY
            } else {
                1.0 / hold.as_secs_f64()
            });
            let work = cost
                .mul_f64(f64::from(viewers) * writes * step.as_secs_f64())
                .min(step);
            pace.slept(begin + step * turn, step - work);
            if turn > 900 {
                (low, high) = (low.min(hold), high.max(hold));
            }
        }
        (pace.busy(), low, high)
    }

    #[test]
    fn a_worker_with_time_writes_at_once() {
        let (busy, low, high) = run(500, 70.0, Duration::from_micros(5));
        assert!((0.1..0.25).contains(&busy), "{busy}");
        assert_eq!((low, high), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn a_full_worker_merges_and_comes_to_rest() {
        // 1.4 cores of work if each packet were written at once.
        let (busy, low, high) = run(4_000, 70.0, Duration::from_micros(5));
        assert!((0.5..0.9).contains(&busy), "{busy}");
        assert!(
            low > Duration::from_millis(10) && high <= Duration::from_millis(40),
            "{low:?} {high:?}"
        );
        assert!(
            high - low < Duration::from_millis(8),
            "{low:?} to {high:?} is no rest"
        );
    }

    #[test]
    fn an_overloaded_worker_merges_as_long_as_allowed_and_no_longer() {
        let (busy, low, high) = run(40_000, 70.0, Duration::from_micros(5));
        assert!(busy > 0.95, "{busy}");
        assert_eq!(
            (low, high),
            (Duration::from_millis(40), Duration::from_millis(40))
        );
    }

    #[test]
    fn a_pause_ends_merging_at_once() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for turn in 1..=100 {
            pace.slept(begin + WINDOW * turn, Duration::ZERO);
        }
        assert_eq!(pace.hold(MOST), Duration::from_millis(40));
        pace.slept(begin + WINDOW * 120, WINDOW * 20);
        assert_eq!(pace.hold(MOST), Duration::ZERO);
        assert_eq!(
            pace.hold(Merge::Fixed(Duration::from_millis(7))),
            Duration::from_millis(7)
        );
    }
}
