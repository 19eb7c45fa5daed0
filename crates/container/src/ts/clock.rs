//! Times of 33 bits on an endless line.

/// Extends times, of all streams of a program on one line: each is taken as the one nearest to the time before it, so they may
/// follow one another in any order within 13 hours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock(Option<i64>);

impl Clock {
    /// The place of 33 bits of ticks. The first one is taken as it is.
    pub fn extend(&mut self, wire: u64) -> i64 {
        let wire = (wire & MASK) as i64;
        let extended = match self.0 {
            None => wire,
            Some(last) => {
                let ahead = wire.wrapping_sub(last) & MASK as i64;
                let step = if ahead < HALF { ahead } else { ahead - 2 * HALF };
                // 33 bits at a time: 2^30 steps of half a round would be needed to get to the end.
                last.saturating_add(step)
            }
        };
        self.0 = Some(extended);
        extended
    }
}

const HALF: i64 = 1 << 32;
const MASK: u64 = (1 << 33) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_past_the_last_of_33_bits() {
        let mut clock = Clock::default();
        assert_eq!(clock.extend(MASK - 1), MASK as i64 - 1);
        assert_eq!(clock.extend(1), MASK as i64 + 2);
        // The other stream is a little behind.
        assert_eq!(clock.extend(MASK), MASK as i64);
        assert_eq!(clock.extend(9_000), MASK as i64 + 9_001);
    }

    #[test]
    fn the_first_round_may_be_left_downwards() {
        let mut clock = Clock::default();
        assert_eq!(clock.extend(5), 5);
        assert_eq!(clock.extend(MASK), -1);
        assert_eq!(clock.extend(7), 7);
    }
}
