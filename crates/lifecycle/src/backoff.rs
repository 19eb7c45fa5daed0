//! Pauses between attempts: growing, capped, with jitter so that a thousand cameras do not come back in one instant.

use std::time::Duration;

/// The reference waits `max(min, min(step * failures, max))` with 2, 3 and 60 seconds (lifecycle.md, section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Shortest pause.
    pub min: Duration,
    /// Growth per consecutive failure.
    pub step: Duration,
    /// Longest pause, before jitter.
    pub max: Duration,
    /// Most that jitter adds, in percent of the pause.
    pub jitter_percent: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(2),
            step: Duration::from_secs(3),
            max: Duration::from_secs(60),
            jitter_percent: 20,
        }
    }
}

impl Backoff {
    /// The pause after `failures` consecutive failures (0: the first loss after a success). `random` is any 32-bit number.
    pub fn pause(&self, failures: u32, random: u32) -> Duration {
        let base = self.step.saturating_mul(failures).min(self.max).max(self.min);
        let share = u64::from(self.jitter_percent) * u64::from(random) / u64::from(u32::MAX);
        base + base.saturating_mul(u32::try_from(share).unwrap_or(0)) / 100
    }
}

/// A small generator for jitter (xorshift64*). Seeded by the caller, so a test can predict every pause. Not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// From any seed.
    pub const fn new(seed: u64) -> Self {
        // The generator stays at 0 for ever if it starts there.
        Self(if seed == 0 { 0x9E37_79B9_7F4A_7C15 } else { seed })
    }

    /// The next number.
    pub const fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_jitter_the_pauses_are_the_references() {
        let backoff = Backoff {
            jitter_percent: 0,
            ..Backoff::default()
        };
        let pauses: Vec<u64> = [0, 1, 2, 3, 4, 19, 20, 21, u32::MAX]
            .map(|n| backoff.pause(n, 7).as_secs())
            .to_vec();
        assert_eq!(pauses, [2, 3, 6, 9, 12, 57, 60, 60, 60]);
    }

    #[test]
    fn jitter_only_adds_and_stays_below_its_bound() {
        let backoff = Backoff::default();
        let mut jitter = Jitter::new(0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let pause = backoff.pause(2, jitter.next());
            assert!(
                pause >= Duration::from_secs(6) && pause <= Duration::from_millis(7_200),
                "{pause:?}"
            );
            seen.insert(pause);
        }
        assert!(seen.len() > 10, "pauses differ: {}", seen.len());
    }
}
