//! What is said of many numbers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// Ranks of a set of times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// Half of them were not longer, milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 were not longer, milliseconds. Of fewer than 100, the longest.
    pub p99_ms: f64,
    /// The longest, milliseconds.
    pub max_ms: f64,
}

impl Times {
    /// Of at least one time.
    pub fn of(mut times: Vec<Duration>) -> Result<Self> {
        times.sort_unstable();
        // Nearest rank: the smallest time that so many percent of all are not above.
        let rank = |percent: usize| {
            let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times
                .get(at)
                .map(|time| time.as_secs_f64() * 1000.0)
                .context("no times")
        };
        Ok(Self {
            count: times.len(),
            p50_ms: rank(50)?,
            p99_ms: rank(99)?,
            max_ms: rank(100)?,
        })
    }

    /// `p50 / p99` for people, milliseconds.
    pub fn short(&self) -> String {
        format!("{:.2} / {:.2} ms", self.p50_ms, self.p99_ms)
    }
}

/// The power of `x` that `y` grows with: the slope of the line through the logarithms (least squares). 1: proportional; 0: the same
/// for all `x`.
pub fn log_log_slope(points: &[(f64, f64)]) -> Result<f64> {
    ensure!(points.len() >= 2, "{} points have no slope", points.len());
    ensure!(
        points.iter().all(|&(x, y)| x > 0.0 && y > 0.0),
        "a point that is not above 0 has no logarithm"
    );
    let count = points.len() as f64;
    let logs = || points.iter().map(|&(x, y)| (x.ln(), y.ln()));
    let (sum_x, sum_y) = logs().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x, sum.1 + y));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let over: f64 = logs().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = logs().map(|(x, _)| (x - mean_x).powi(2)).sum();
    ensure!(under > 0.0, "points above each other have no slope");
    Ok(over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_times_that_occurred() {
        let times = |count: u64| (1..=count).rev().map(Duration::from_millis).collect::<Vec<_>>();
        let ranks = |count| {
            let times = Times::of(times(count)).expect("some");
            (times.count, times.p50_ms, times.p99_ms, times.max_ms)
        };
        assert_eq!(ranks(200), (200, 100.0, 198.0, 200.0));
        assert_eq!(ranks(50), (50, 25.0, 50.0, 50.0));
        assert_eq!(ranks(1), (1, 1.0, 1.0, 1.0));
        assert!(Times::of(Vec::new()).is_err());
    }

    #[test]
    fn slopes_are_powers() {
        let slope = |power: f64| {
            let points: Vec<(f64, f64)> = [100.0, 200.0, 1000.0, 2000.0]
                .iter()
                .map(|&x: &f64| (x, 3.0 * x.powf(power)))
                .collect();
            log_log_slope(&points).expect("points")
        };
        for power in [0.0, 0.5, 1.0, 2.0] {
            assert!((slope(power) - power).abs() < 1e-9, "{power}");
        }
    }

    #[test]
    fn what_has_no_slope_is_an_error() {
        assert!(log_log_slope(&[(1.0, 1.0)]).is_err());
        assert!(log_log_slope(&[(1.0, 1.0), (1.0, 2.0)]).is_err());
        assert!(log_log_slope(&[(1.0, 1.0), (2.0, 0.0)]).is_err());
    }
}
