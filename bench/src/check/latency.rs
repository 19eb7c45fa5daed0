//! From publisher to viewer: which frame is which, and how long it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Seen;
use crate::clip::FRAME;

/// How long each frame took that came within `from` and `to`. `sent` has the time of each frame from the stream's beginning, of which
/// every `group`-th is a key frame.
///
/// Protocols have time lines of their own. A key frame that arrives is taken for the newest one that was sent by then, which is
/// right as long as it took less than a group of pictures lasts; the others are counted from it.
pub fn latencies(
    sent: &[Instant],
    group: usize,
    seen: &[Seen],
    from: Instant,
    to: Instant,
) -> Result<Vec<Duration>> {
    let live = || seen.iter().filter(|seen| seen.at >= from && seen.at <= to);
    let first_key = live().find(|seen| seen.key).context("no key frame came")?;
    let known = sent.partition_point(|&sent| sent <= first_key.at);
    let newest = known.checked_sub(1).context("a frame came before any was sent")?;
    let number = newest - newest % group;
    let frame_us = FRAME.as_micros() as i64;
    let took = |seen: &Seen| {
        let after = seen.time_us - first_key.time_us;
        let frames = (after + frame_us / 2).div_euclid(frame_us);
        let at = usize::try_from(number as i64 + frames)
            .ok()
            .and_then(|at| sent.get(at));
        let sent =
            at.with_context(|| format!("a frame that was never sent: {after} us after a key frame"))?;
        let took = seen.at.checked_duration_since(*sent);
        took.with_context(|| format!("a frame came {:?} before it was sent", *sent - seen.at))
    };
    let latencies: Vec<Duration> = live().map(took).collect::<Result<_>>()?;
    ensure!(!latencies.is_empty(), "no frame came");
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: usize = 50;

    fn sent(begin: Instant, count: u32) -> Vec<Instant> {
        (0..count).map(|number| begin + number * FRAME).collect()
    }

    /// Frames of a stream whose time line begins at 7 s, each `took` after it was sent.
    fn seen(sent: &[Instant], numbers: std::ops::Range<usize>, took: Duration) -> Vec<Seen> {
        numbers
            .map(|number| Seen {
                time_us: 7_000_000 + number as i64 * FRAME.as_micros() as i64,
                key: number % GROUP == 0,
                at: sent[number] + took,
            })
            .collect()
    }

    #[test]
    fn frames_are_told_apart_on_any_time_line() {
        let begin = Instant::now();
        let sent = sent(begin, 200);
        for took in [0, 3, 45, 300, 1900].map(Duration::from_millis) {
            let seen = seen(&sent, 60..150, took);
            let latencies = latencies(&sent, GROUP, &seen, begin, begin + 200 * FRAME).expect("valid");
            assert_eq!(latencies, vec![took; 90]);
        }
    }

    #[test]
    fn only_what_came_in_time_counts() {
        let begin = Instant::now();
        let sent = sent(begin, 200);
        let seen = seen(&sent, 0..200, Duration::ZERO);
        let latencies = latencies(&sent, GROUP, &seen, sent[50], sent[149]).expect("valid");
        assert_eq!(latencies.len(), 100);
    }

    #[test]
    fn what_cannot_be_matched_is_an_error() {
        let begin = Instant::now();
        let sent = sent(begin, 100);
        let (from, to) = (begin, begin + 200 * FRAME);
        assert!(latencies(&sent, GROUP, &[], from, to).is_err());
        let mut wrong = seen(&sent, 50..100, Duration::ZERO);
        wrong[3].time_us += 10_000_000;
        assert!(latencies(&sent, GROUP, &wrong, from, to).is_err());
        let mut early = seen(&sent, 50..100, Duration::ZERO);
        early[3].at -= FRAME;
        assert!(latencies(&sent, GROUP, &early, from, to).is_err());
    }
}
