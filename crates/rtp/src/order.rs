//! Decoding times from presentation times, which are all that RTP carries.
//!
//! Frames come in decoding order. With a reordering depth of *d* (at most *d* frames precede one in decoding order and follow it
//! in output order), the *k*-th frame is decoded when the (*k* - *d*)-th is shown. In other words: its decoding time is the
//! (*d* + 1)-th latest presentation time of those that came. That needs no count of frames, so lost ones cannot make it drift.

use smallvec::SmallVec;

/// Greatest reordering depth: a decoded picture buffer holds at most 16 frames (H.264, A.3.1; H.265, A.4.2).
pub const MAX_DEPTH: u8 = 16;

/// Gives the frames of one track their decoding times.
///
/// - The depth is the one that was set, or 0. A frame that needs more, because more of the frames before it are shown later, makes
///   it grow; after [`FORGET_AFTER`] frames without need it shrinks again, not below the one that was set.
/// - Before the first frame are thought others, at the distance of frames. It is taken as 1/25 s until a smaller one is seen, so
///   the first decoding times may stand a little too near or far; those behind the first *d* frames are exact.
/// - A presentation time more than [`MAX_STEP_SECS`] away from the latest, or below all of the 17 latest, is a jump of the time
///   line: everything but the distance of frames is forgotten.
///
/// A decoding time is never above the frame's presentation time. It is below the one before only after a jump, and when that
/// cannot be avoided because a frame of yet unknown depth comes: while the depth is learned, and when reception starts with a
/// frame that is not shown first.
#[derive(Clone, Debug)]
pub struct Order {
    /// As set.
    floor: u8,
    /// In use, at most [`MAX_DEPTH`].
    depth: u8,
    /// Greatest depth that a frame of this period needed.
    peak: u8,
    /// Frames of this period.
    frames: u32,
    /// The latest presentation times, the last one first.
    latest: SmallVec<[i64; CAPACITY]>,
    /// Decoding time of the frame before.
    last: Option<i64>,
    /// Shortest distance of frames seen, in ticks.
    distance: i64,
    /// A longer step is a jump. In ticks.
    max_step: i64,
}

impl Order {
    /// `clock_rate` is in ticks per second.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            floor: 0,
            depth: 0,
            peak: 0,
            frames: 0,
            latest: SmallVec::new(),
            last: None,
            distance: i64::from(clock_rate / FIRST_RATE),
            max_step: i64::from(clock_rate) * MAX_STEP_SECS,
        }
    }

    /// Sets the depth that the stream declares, at most [`MAX_DEPTH`]; `None` if it does not: then it is learned. The same as
    /// before changes nothing, so that this may be called for every parameter set.
    pub fn set_depth(&mut self, depth: Option<u8>) {
        let floor = depth.unwrap_or(0).min(MAX_DEPTH);
        if floor != self.floor {
            self.floor = floor;
            self.depth = floor;
            (self.peak, self.frames) = (0, 0);
        }
    }

    /// Takes the presentation time of the next frame in decoding order and returns its decoding time, in the same ticks.
    pub fn push(&mut self, pts: i64) -> i64 {
        if self
            .latest
            .first()
            .is_some_and(|newest| newest.saturating_sub(pts).saturating_abs() > self.max_step)
        {
            self.restart();
        }
        let mut later = self.latest.iter().take_while(|time| **time > pts).count();
        if later == CAPACITY {
            self.restart();
            later = 0;
        }
        self.learn(later as u8);
        self.insert(later, pts);
        let dts = self.at_depth();
        // Growing depth and late beginnings let the rule go back; the time before is as good, if this frame is not shown earlier.
        let dts = self.last.map_or(dts, |last| dts.max(last)).min(pts);
        self.last = Some(dts);
        dts
    }

    fn restart(&mut self) {
        self.latest.clear();
        self.last = None;
        self.depth = self.floor;
        (self.peak, self.frames) = (0, 0);
    }

    /// A frame came behind `later` ones that are shown after it.
    fn learn(&mut self, later: u8) {
        self.peak = self.peak.max(later);
        self.depth = self.depth.max(later);
        self.frames += 1;
        if self.frames >= FORGET_AFTER {
            self.depth = self.floor.max(self.peak);
            (self.peak, self.frames) = (later, 0);
        }
    }

    fn insert(&mut self, at: usize, pts: i64) {
        let later = at.checked_sub(1).and_then(|at| self.latest.get(at));
        let earlier = self.latest.get(at);
        for distance in [
            later.map(|later| later.saturating_sub(pts)),
            earlier.map(|earlier| pts.saturating_sub(*earlier)),
        ] {
            // Frames with equal times say nothing about it.
            if let Some(distance) = distance.filter(|distance| *distance > 0) {
                self.distance = self.distance.min(distance);
            }
        }
        self.latest.truncate(CAPACITY - 1);
        self.latest.insert(at.min(self.latest.len()), pts);
    }

    /// The (depth + 1)-th latest presentation time, continued backwards from the earliest while there are fewer.
    fn at_depth(&self) -> i64 {
        let depth = usize::from(self.depth);
        if let Some(time) = self.latest.get(depth) {
            return *time;
        }
        let missing = (depth + 1).saturating_sub(self.latest.len());
        let earliest = self.latest.last().copied().unwrap_or(0);
        earliest.saturating_sub(self.distance.saturating_mul(missing as i64))
    }
}

/// Frames whose times are kept: as many as the greatest depth reaches back.
const CAPACITY: usize = MAX_DEPTH as usize + 1;
/// Frames per second until a distance is seen.
const FIRST_RATE: u32 = 25;
/// Longest step between frames that belong together, in seconds. Cameras that send a frame every few seconds do not reorder.
pub const MAX_STEP_SECS: i64 = 5;
/// Frames after which a depth that none of them needed is forgotten. A clock that was set back by a few frames looks like
/// reordering, and would keep decoding times apart from presentation times forever.
pub const FORGET_AFTER: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP: i64 = 3_600;

    /// Output positions in decoding order: groups of a picture and those that are shown before it, plain or as a pyramid.
    fn stream(groups: &[(usize, bool)]) -> Vec<i64> {
        let mut out = vec![0];
        let mut shown = 0;
        for (between, pyramid) in groups {
            let last = shown + *between as i64 + 1;
            out.push(last);
            if *pyramid {
                halves(shown, last, &mut out);
            } else {
                out.extend(shown + 1..last);
            }
            shown = last;
        }
        out
    }

    /// The middle first, then both sides.
    fn halves(from: i64, to: i64, out: &mut Vec<i64>) {
        if to - from > 1 {
            let middle = (from + to) / 2;
            out.push(middle);
            halves(from, middle, out);
            halves(middle, to, out);
        }
    }

    /// Most frames that precede one and are shown later.
    fn depth(stream: &[i64]) -> usize {
        (0..stream.len())
            .map(|at| stream[..at].iter().filter(|before| **before > stream[at]).count())
            .max()
            .unwrap_or(0)
    }

    fn groups() -> impl Strategy<Value = Vec<(usize, bool)>> {
        prop::collection::vec((0usize..9, any::<bool>()), 1..40)
    }

    fn run(order: &mut Order, pts: impl IntoIterator<Item = i64>) -> Vec<i64> {
        pts.into_iter().map(|pts| order.push(pts)).collect()
    }

    #[test]
    fn without_reordering_both_times_are_equal() {
        let mut order = Order::new(90_000);
        let times: Vec<i64> = (0..100).map(|frame| frame * 3_003).collect();
        assert_eq!(run(&mut order, times.clone()), times);
    }

    #[test]
    fn a_pyramid_is_decoded_in_equal_steps() {
        let mut order = Order::new(90_000);
        order.set_depth(Some(2));
        // I0 P4 B2 b1 b3 P8 B6 b5 b7.
        let pts = [0, 4, 2, 1, 3, 8, 6, 5, 7].map(|frame| frame * STEP);
        assert_eq!(
            run(&mut order, pts),
            (-2..7).map(|frame| frame * STEP).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_unknown_depth_is_learned_from_the_first_group() {
        let mut order = Order::new(90_000);
        let dts = run(&mut order, [0, 4, 2, 1, 3, 8, 6, 5, 7]);
        assert_eq!(dts, [0, 4, 2, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_jump_restarts_the_time_line() {
        let mut order = Order::new(90_000);
        order.set_depth(Some(1));
        run(&mut order, (0..10).map(|frame| frame * STEP));
        for jump in [90_000_000, -90_000_000] {
            assert_eq!(run(&mut order, [jump, jump + STEP]), [jump - STEP, jump]);
        }
    }

    #[test]
    fn a_clock_set_back_by_some_frames_is_forgotten() {
        let mut order = Order::new(90_000);
        run(&mut order, (0..100).map(|frame| frame * STEP));
        let times = (90..3_000).map(|frame| frame * STEP);
        let dts = run(&mut order, times);
        assert_eq!(dts[0], 90 * STEP);
        assert_eq!(dts[100], (190 - 9) * STEP);
        assert_eq!(dts.last(), Some(&(2_999 * STEP)));
    }

    #[test]
    fn a_start_within_a_group_settles() {
        let mut order = Order::new(90_000);
        order.set_depth(Some(2));
        let pts = [8, 6, 5, 7, 12, 10, 9, 11, 16].map(|frame| frame * STEP);
        let dts = run(&mut order, pts);
        assert!(dts.iter().zip(pts).all(|(dts, pts)| *dts <= pts));
        assert_eq!(dts[3..], [6, 7, 8, 9, 10, 11].map(|frame| frame * STEP));
    }

    proptest! {
        #[test]
        fn declared_depth_gives_equal_steps(groups in groups(), more in 0u8..3, step in 1i64..10_000) {
            let stream = stream(&groups);
            let depth = depth(&stream) as u8 + more;
            let mut order = Order::new(90_000);
            order.set_depth(Some(depth));
            let dts = run(&mut order, stream.iter().map(|at| at * step));
            prop_assert!(dts.is_sorted());
            for (at, (dts, pts)) in dts.iter().zip(&stream).enumerate() {
                prop_assert!(*dts <= pts * step);
                if at >= usize::from(depth) {
                    prop_assert_eq!(*dts, (at as i64 - i64::from(depth)) * step);
                }
            }
        }

        #[test]
        fn learned_depth_gives_equal_steps(groups in groups(), step in 1i64..10_000) {
            // The pattern twice: learned in the first half.
            let once = stream(&groups);
            let twice = stream(&[groups.clone(), groups].concat());
            let depth = depth(&once) as i64;
            let mut order = Order::new(90_000);
            let dts = run(&mut order, twice.iter().map(|at| at * step));
            prop_assert!(dts.iter().zip(&twice).all(|(dts, pts)| *dts <= pts * step));
            for (at, dts) in dts.iter().enumerate().skip(once.len() + depth as usize) {
                prop_assert_eq!(*dts, (at as i64 - depth) * step);
            }
        }

        #[test]
        fn losses_do_not_make_it_drift(groups in groups(), kept in prop::collection::vec(0u8..10, 400)) {
            let stream = stream(&groups);
            let depth = depth(&stream);
            let received: Vec<i64> = stream.iter().zip(kept.iter().cycle()).enumerate()
                .filter(|(at, (_, kept))| *at == 0 || **kept > 0)
                .map(|(_, (at, _))| at * STEP)
                .collect();
            let mut order = Order::new(90_000);
            order.set_depth(Some(depth as u8));
            let dts = run(&mut order, received.iter().copied());
            prop_assert!(dts.is_sorted());
            let mut shown = Vec::new();
            for (dts, pts) in dts.iter().zip(&received) {
                prop_assert!(dts <= pts);
                shown.push(*pts);
                shown.sort_unstable_by(|a, b| b.cmp(a));
                if let Some(expected) = shown.get(depth) {
                    prop_assert_eq!(dts, expected);
                }
            }
        }

        #[test]
        fn no_times_break_it(times in prop::collection::vec(any::<i64>(), 0..100), depth: Option<u8>) {
            let mut order = Order::new(90_000);
            order.set_depth(depth);
            for pts in times {
                prop_assert!(order.push(pts) <= pts);
            }
        }
    }
}
