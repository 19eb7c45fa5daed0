//! Log lines that strangers can provoke, at most one a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets one through in each second.
pub(crate) struct OncePerSecond {
    since: Instant,
    /// The second of the last one, counted from 1.
    last: AtomicU64,
}

impl Default for OncePerSecond {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl OncePerSecond {
    /// Whether this one may pass.
    pub fn passes(&self) -> bool {
        let second = self.since.elapsed().as_secs() + 1;
        self.last.swap(second, Ordering::Relaxed) != second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_one_line() {
        let once = OncePerSecond::default();
        let passed = (0..1000).filter(|_| once.passes()).count();
        let seconds = once.since.elapsed().as_secs() as usize + 1;
        assert!((1..=seconds).contains(&passed), "{passed} in {seconds}");
    }
}
