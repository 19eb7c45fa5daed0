//! Media time: when a frame is decoded and shown, on the stream's own time line.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on a stream's time line, or a span of it, in microseconds; 64 bits, so it never wraps.
///
/// Microseconds with rounding to nearest keep every tick of the clocks in use apart (RTMP 1 kHz, RTP 90 kHz, audio up to
/// 192 kHz), so a time that came from such a clock returns to it unchanged. Wrapping wire counters are extended at the
/// border, before they become a `MediaTime`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The start of the time line.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds; saturates at the ends of the range.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// From `ticks` of a clock of `rate` per second, rounded to nearest. A rate of 0 gives [`Self::ZERO`].
    pub const fn from_ticks(ticks: i64, rate: u32) -> Self {
        Self(scale(ticks, 1_000_000, rate as i64))
    }

    /// In microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// In whole milliseconds, rounded to nearest.
    pub const fn as_millis(self) -> i64 {
        scale(self.0, 1, 1000)
    }

    /// In ticks of a clock of `rate` per second, rounded to nearest.
    pub const fn as_ticks(self, rate: u32) -> i64 {
        scale(self.0, rate as i64, 1_000_000)
    }

    /// As a `Duration`; negative spans give zero.
    pub fn as_duration(self) -> Duration {
        Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }
}

/// `value * mul / div`, rounded to nearest, saturating.
const fn scale(value: i64, mul: i64, div: i64) -> i64 {
    if div == 0 {
        return 0;
    }
    let product = value as i128 * mul as i128;
    let half = div as i128 / 2;
    let rounded = (product + half).div_euclid(div as i128);
    if rounded > i64::MAX as i128 {
        i64::MAX
    } else if rounded < i64::MIN as i128 {
        i64::MIN
    } else {
        rounded as i64
    }
}

impl Add for MediaTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for MediaTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Seconds with six decimals.
impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_the_clocks_in_use_survive_a_round_trip() {
        for rate in [1000, 8000, 11_025, 44_100, 48_000, 90_000, 192_000] {
            for ticks in [-3, -1, 0, 1, 2, 7, 1023, 1024, 123_456_789, 95_443_717_696] {
                assert_eq!(
                    MediaTime::from_ticks(ticks, rate).as_ticks(rate),
                    ticks,
                    "{ticks} at {rate}"
                );
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(MediaTime::from_millis(i64::MAX).as_micros(), i64::MAX);
        assert_eq!(MediaTime::from_ticks(5, 0), MediaTime::ZERO);
        assert_eq!(
            (MediaTime::from_micros(i64::MAX) + MediaTime::from_micros(1)).as_micros(),
            i64::MAX
        );
    }

    #[test]
    fn milliseconds_round_to_nearest() {
        assert_eq!(MediaTime::from_micros(1_499).as_millis(), 1);
        assert_eq!(MediaTime::from_micros(1_500).as_millis(), 2);
        assert_eq!(MediaTime::from_micros(-1_400).as_millis(), -1);
    }
}
