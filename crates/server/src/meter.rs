//! How much a connection carries: a total and a speed, written by one task and read by any.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one connection or attempt.
#[derive(Debug)]
pub struct Meter {
    total: AtomicU64,
    window: Mutex<Window>,
}

/// The last whole window, for the speed. Moved on by whoever reads.
#[derive(Debug)]
struct Window {
    since: Instant,
    total: u64,
    speed: u64,
}

/// Speeds are means over at least this long.
const WINDOW: Duration = Duration::from_secs(1);

impl Meter {
    /// A meter at zero.
    pub fn new(now: Instant) -> Self {
        Self {
            total: AtomicU64::new(0),
            window: Mutex::new(Window {
                since: now,
                total: 0,
                speed: 0,
            }),
        }
    }

    /// Counts bytes.
    pub fn add(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes so far.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes per second since the last reading that was at least a second ago.
    pub fn speed(&self, now: Instant) -> u64 {
        let total = self.total();
        let mut window = self.window.lock();
        let passed = now.saturating_duration_since(window.since);
        if passed >= WINDOW {
            let speed = u128::from(total - window.total) * 1000 / passed.as_millis().max(1);
            *window = Window {
                since: now,
                total,
                speed: u64::try_from(speed).unwrap_or(u64::MAX),
            };
        }
        window.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_time_since_the_last_reading() {
        let start = Instant::now();
        let meter = Meter::new(start);
        meter.add(5_000);
        assert_eq!(
            meter.speed(start + Duration::from_millis(500)),
            0,
            "too early to tell"
        );
        assert_eq!(meter.speed(start + Duration::from_secs(2)), 2_500);
        assert_eq!(meter.speed(start + Duration::from_secs(4)), 0);
        assert_eq!(meter.total(), 5_000);
    }
}
