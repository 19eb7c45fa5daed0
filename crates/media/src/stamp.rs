//! Timestamp repair (`protocol.modify_stamp`).
//!
//! ZLM's rules (codecs.md, section 11) are: a step above 300 ms or backwards becomes the last step, a composition time above
//! 500 ms becomes 0, audio more than 300 ms away from video is moved to it, DTS never decreases. Applied to the letter they
//! damage good streams: one frame per second plays 25 times too fast, B-frames at 5 frames per second lose their order, and
//! audio that comes in bundles is moved to and fro. Here the same rules act only on evidence of a fault, so that the time
//! differences of a well-behaved stream come out exactly as they went in:
//!
//! - A long step is a jump only if neither the clock of arrival nor the rhythm of the track explains it.
//! - All tracks share one offset between the sender's time line and ours, also after a jump that all of them make; so audio and
//!   video stay as the sender has them. Audio is moved only when it stays away from video for a while.
//! - A small step backwards is raised to the last DTS and the time line goes on; only a large one starts a new offset.

use crate::{Frame, MediaKind, MediaTime, Track, TrackId};
use std::time::Instant;

/// `protocol.modify_stamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0: times as sent, except that DTS never decreases.
    Keep,
    /// 1: DTS is the time of arrival, from 0.
    Arrival,
    /// 2: times as sent, from 0, with jumps repaired.
    Relative,
}

impl Mode {
    /// From the number in the configuration.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Keep),
            1 => Some(Self::Arrival),
            2 => Some(Self::Relative),
            _ => None,
        }
    }
}

/// Repairs the times of one stream, all tracks together.
#[derive(Debug)]
pub struct Stamp {
    mode: Mode,
    /// Arrival of the first frame.
    origin: Option<Instant>,
    /// Newest arrival, in microseconds since `origin`.
    wall: i64,
    /// What a new track, or one that jumps, tries first: the newest offset of the stream, in microseconds.
    offset: Option<i64>,
    /// At most one for each track number, so 256.
    lines: Vec<Line>,
    window: Window,
    jumps: u64,
    clamps: u64,
}

/// The time line of one track. Microseconds everywhere.
#[derive(Debug)]
struct Line {
    id: TrackId,
    kind: Option<MediaKind>,
    /// The last frame; `None` until there was one.
    last: Option<Last>,
    /// Ours minus the sender's.
    offset: i64,
    /// How far below `last.out` the track may be without a new offset: set when audio is moved back, until it has caught up.
    hold: i64,
    /// The last two steps of the sender, newest first.
    steps: [Option<i64>; 2],
    /// Steps so far, up to [`LEARNING`].
    learned: u8,
    /// Largest `out - wall`: how far ahead of the clock of arrival the track has been. Sinks slowly, so that a sender's slow
    /// clock is not taken for a growing delay.
    max_lead: i64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sent: i64,
    out: i64,
    wall: i64,
}

/// How far audio has been from video since `from`.
#[derive(Debug, Default)]
struct Window {
    /// Our audio time at which it began.
    from: Option<i64>,
    min: i64,
    max: i64,
    video_frames: u32,
}

impl Stamp {
    /// A repair that has seen nothing.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            origin: None,
            wall: 0,
            offset: None,
            lines: Vec::new(),
            window: Window::default(),
            jumps: 0,
            clamps: 0,
        }
    }

    /// Tells which track is audio and which is video; before the first frame and whenever tracks change. Tracks that were never
    /// told are repaired too, but not moved to each other.
    pub fn set_tracks(&mut self, tracks: &[Track]) {
        for track in tracks {
            let at = self.line(track.id);
            self.lines[at].kind = Some(track.kind());
        }
    }

    /// Repairs the times of a frame that arrived at `now`.
    pub fn repair(&mut self, now: Instant, frame: &mut Frame) {
        let origin = *self.origin.get_or_insert(now);
        let wall = i64::try_from(now.saturating_duration_since(origin).as_micros()).unwrap_or(MAX_TIME);
        self.wall = self.wall.max(wall.min(MAX_TIME));
        let at = self.line(frame.track);
        let sent = frame.dts.as_micros().clamp(-MAX_TIME, MAX_TIME);
        let composition = self.composition(frame, sent);
        let out = match self.mode {
            Mode::Arrival => self.wall,
            Mode::Keep | Mode::Relative => self.place(at, sent),
        };
        // The time line of the picture: not raised with DTS, unless it would be shown before it is decoded.
        let pts = match self.mode {
            Mode::Arrival => out + composition,
            Mode::Keep | Mode::Relative => {
                let untouched = sent + self.lines[at].offset + composition;
                if composition >= 0 {
                    untouched.max(out)
                } else {
                    untouched
                }
            }
        };
        self.lines[at].advance(sent, out, self.wall);
        if self.mode == Mode::Relative {
            self.align(at, out);
        }
        frame.dts = MediaTime::from_micros(out);
        frame.pts = MediaTime::from_micros(pts);
    }

    /// Repairs so far that changed an offset or took away a composition time.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Frames so far whose DTS was raised to that of the frame before.
    pub fn clamps(&self) -> u64 {
        self.clamps
    }

    fn line(&mut self, id: TrackId) -> usize {
        if let Some(at) = self.lines.iter().position(|line| line.id == id) {
            return at;
        }
        self.lines.push(Line::new(id));
        self.lines.len() - 1
    }

    fn composition(&mut self, frame: &Frame, sent: i64) -> i64 {
        let composition = frame.pts.as_micros().saturating_sub(frame.dts.as_micros());
        // `sent` differs from the frame's DTS only outside of all sense.
        if composition.saturating_abs() <= MAX_COMPOSITION && sent == frame.dts.as_micros() {
            return composition;
        }
        if self.mode == Mode::Keep && composition.saturating_abs() <= MAX_TIME {
            return composition;
        }
        self.count_jump();
        0
    }

    /// Our DTS for a frame sent at `sent`, and the track's offset with it.
    fn place(&mut self, at: usize, sent: i64) -> i64 {
        let wall = self.wall;
        let Some(last) = self.lines[at].last else {
            let offset = self.first_offset(sent);
            self.lines[at].offset = offset;
            self.offset = Some(offset);
            return sent + offset;
        };
        let line = &self.lines[at];
        if line.is_jump(self.mode, last, sent, wall) {
            let offset = self.offset_after_jump(at, last, sent);
            let line = &mut self.lines[at];
            (line.offset, line.hold) = (offset, 0);
            line.max_lead = i64::MIN;
            self.offset = Some(offset);
            self.count_jump();
        }
        let line = &mut self.lines[at];
        let out = (sent + line.offset).min(MAX_OUT);
        if out >= last.out {
            line.hold = 0;
            return out;
        }
        self.clamps = self.clamps.saturating_add(1);
        last.out
    }

    /// The offset for the first frame of a track.
    fn first_offset(&mut self, sent: i64) -> i64 {
        if self.mode == Mode::Keep {
            return 0;
        }
        let Some(offset) = self.offset else { return -sent };
        let Some(other) = self
            .lines
            .iter()
            .filter_map(|line| line.last)
            .max_by_key(|last| last.wall)
        else {
            return -sent;
        };
        let expected = other.out + (self.wall - other.wall);
        if (sent + offset - expected).abs() <= MAX_START_DISTANCE {
            return offset;
        }
        // Another clock: start where the other track is.
        self.count_jump();
        expected - sent
    }

    /// The offset for a track that jumps: the one that another track has taken, if the track goes on well with it; else the one
    /// that repeats the last step.
    fn offset_after_jump(&self, at: usize, last: Last, sent: i64) -> i64 {
        let line = &self.lines[at];
        let goes_on = |offset: &i64| {
            let step = sent + offset - last.out;
            -LIMIT <= step && step <= line.longest_step(last, self.wall)
        };
        let others = self.offset.into_iter().chain(
            self.lines
                .iter()
                .filter(|line| line.last.is_some())
                .map(|line| line.offset),
        );
        let shared = others.filter(|offset| *offset != line.offset).find(goes_on);
        shared.unwrap_or(last.out + line.rhythm().unwrap_or(0) - sent)
    }

    /// Moves audio to video when it has stayed away from it.
    fn align(&mut self, at: usize, out: i64) {
        match self.lines[at].kind {
            Some(MediaKind::Video) => self.window.video_frames = self.window.video_frames.saturating_add(1),
            Some(MediaKind::Audio) => {
                let Some((video, rhythm)) = self.lines.iter().find_map(Line::video) else {
                    return;
                };
                // Where video is by now: between its last frame and the next one.
                let latest = video.out + rhythm.max(self.wall - video.wall);
                let distance = if out < video.out {
                    out - video.out
                } else {
                    (out - latest).max(0)
                };
                if let Some(shift) = self.window.add(out, distance) {
                    let line = &mut self.lines[at];
                    line.offset += shift;
                    line.hold = if shift < 0 { -shift } else { 0 };
                    line.max_lead = i64::MIN;
                    self.count_jump();
                }
            }
            None => {}
        }
    }

    fn count_jump(&mut self) {
        self.jumps = self.jumps.saturating_add(1);
    }
}

impl Line {
    fn new(id: TrackId) -> Self {
        Self {
            id,
            kind: None,
            last: None,
            offset: 0,
            hold: 0,
            steps: [None; 2],
            learned: 0,
            max_lead: i64::MIN,
        }
    }

    /// Whether the step to `sent` needs a new offset.
    fn is_jump(&self, mode: Mode, last: Last, sent: i64, wall: i64) -> bool {
        if last.out - (sent + self.offset) > LIMIT + self.hold {
            return true;
        }
        mode == Mode::Relative && sent - last.sent > self.longest_step(last, wall)
    }

    /// The longest step that a frame arriving at `wall` can make without being a jump.
    fn longest_step(&self, last: Last, wall: i64) -> i64 {
        // The sender paused, or what it sent was held up and comes in a burst.
        let behind = if self.max_lead == i64::MIN {
            0
        } else {
            self.max_lead - (last.out - wall)
        };
        let explained = (wall - last.wall).max(behind.min(MAX_BURST));
        // The track is slow: twice its step, because a frame may be missing.
        let slow = self.rhythm().map_or(0, |step| (2 * step).min(MAX_STEP));
        let unknown = if self.learned < LEARNING { MAX_STEP } else { 0 };
        (LIMIT + explained).max(slow).max(unknown)
    }

    /// The usual step: the shorter of the last two, so that a single gap does not count.
    fn rhythm(&self) -> Option<i64> {
        self.steps.into_iter().flatten().min()
    }

    fn advance(&mut self, sent: i64, out: i64, wall: i64) {
        if let Some(last) = self.last {
            let step = sent - last.sent;
            if (0..=MAX_STEP).contains(&step) {
                self.steps = [Some(step), self.steps[0]];
                self.learned = (self.learned + 1).min(LEARNING);
            }
            let sinking = (wall - last.wall) / DRIFT;
            self.max_lead = self.max_lead.saturating_sub(sinking);
        }
        self.max_lead = self.max_lead.max(out - wall);
        self.last = Some(Last { sent, out, wall });
    }

    /// The last frame and the usual step, if this is video.
    fn video(&self) -> Option<(Last, i64)> {
        self.last
            .filter(|_| self.kind == Some(MediaKind::Video))
            .map(|last| (last, self.rhythm().unwrap_or(0)))
    }
}

impl Window {
    /// Adds the distance of an audio frame. Returns by how much audio is to be moved, if the window shows that it must.
    fn add(&mut self, out: i64, distance: i64) -> Option<i64> {
        let Some(from) = self.from else {
            *self = Self {
                from: Some(out),
                min: distance,
                max: distance,
                video_frames: 0,
            };
            return None;
        };
        (self.min, self.max) = (self.min.min(distance), self.max.max(distance));
        if out - from < WINDOW || self.video_frames < 2 {
            return None;
        }
        let shift = if self.min > LIMIT {
            Some(-self.min)
        } else if self.max < -LIMIT {
            Some(-self.max)
        } else {
            None
        };
        *self = Self::default();
        shift
    }
}

/// The contract's limit for steps and for the distance of audio from video.
const LIMIT: i64 = 300_000;
/// Longest composition time taken for meant. H.264 may reorder by 16 frames; that fits down to 1.6 frames per second, and a
/// variable rate with pauses of seconds fits too. ZLM's 500 ms would break both.
const MAX_COMPOSITION: i64 = 10_000_000;
/// Longest step that is taken for the rhythm of a track: one frame in ten seconds.
const MAX_STEP: i64 = 10_000_000;
/// Largest delay that a burst may make up for; more is in no network's buffers.
const MAX_BURST: i64 = 10_000_000;
/// Steps of a track during which nothing is known of its rhythm.
const LEARNING: u8 = 8;
/// Largest distance at which two tracks are taken to have one clock when the second begins. Bundles of audio and slow starts of
/// encoders stay far below, clocks of different origin above.
const MAX_START_DISTANCE: i64 = 10_000_000;
/// How long audio must stay away from video before it is moved.
const WINDOW: i64 = 2_000_000;
/// Share of the elapsed time by which clocks may drift: 1 in 2,000 is ten times what quartz does.
const DRIFT: i64 = 2_000;
/// Times as sent beyond this (36,500 years) are nonsense. With [`MAX_OUT`] it keeps every sum of one sent time, one offset and one
/// composition time within 64 bits.
const MAX_TIME: i64 = 1 << 60;
/// Where our time line ends. A sender gets there only in mode 0 and by jumping between the ends of its own.
const MAX_OUT: i64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecId;
    use crate::track::{AudioParams, TrackParams, VideoParams};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::time::Duration;

    const VIDEO: TrackId = TrackId(0);
    const AUDIO: TrackId = TrackId(1);

    /// A stamp with one video and one audio track, and a clock in milliseconds.
    struct Bench {
        stamp: Stamp,
        start: Instant,
    }

    impl Bench {
        fn new(mode: Mode) -> Self {
            let track = |id, codec, params| Track {
                id,
                codec,
                config: None,
                params,
                wire: None,
            };
            let mut stamp = Stamp::new(mode);
            stamp.set_tracks(&[
                track(VIDEO, CodecId::H264, TrackParams::Video(VideoParams::default())),
                track(AUDIO, CodecId::Aac, TrackParams::Audio(AudioParams::default())),
            ]);
            Self {
                stamp,
                start: Instant::now(),
            }
        }

        /// DTS and PTS in milliseconds after repair.
        fn frame(&mut self, wall_ms: u64, track: TrackId, dts_ms: i64, pts_ms: i64) -> (i64, i64) {
            let (dts, pts) = (MediaTime::from_millis(dts_ms), MediaTime::from_millis(pts_ms));
            let mut frame = Frame {
                track,
                dts,
                pts,
                key: false,
                data: Bytes::new(),
                wire: None,
            };
            self.stamp
                .repair(self.start + Duration::from_millis(wall_ms), &mut frame);
            (frame.dts.as_millis(), frame.pts.as_millis())
        }

        fn dts(&mut self, wall_ms: u64, track: TrackId, dts_ms: i64) -> i64 {
            self.frame(wall_ms, track, dts_ms, dts_ms).0
        }
    }

    #[test]
    fn modes_have_the_numbers_of_the_configuration() {
        assert_eq!(
            [0, 1, 2, 3].map(Mode::from_id),
            [Some(Mode::Keep), Some(Mode::Arrival), Some(Mode::Relative), None]
        );
    }

    #[test]
    fn keep_leaves_good_times_alone() {
        let mut bench = Bench::new(Mode::Keep);
        assert_eq!(bench.frame(0, VIDEO, 5_000, 5_080), (5_000, 5_080));
        assert_eq!(bench.frame(1, VIDEO, 5_040, 5_040), (5_040, 5_040));
        assert_eq!(bench.dts(2, AUDIO, 4_990), 4_990);
        assert_eq!(bench.dts(3, VIDEO, 3_605_040), 3_605_040);
        assert_eq!((bench.stamp.jumps(), bench.stamp.clamps()), (0, 0));
    }

    #[test]
    fn arrival_uses_the_clock_and_keeps_composition_times() {
        let mut bench = Bench::new(Mode::Arrival);
        assert_eq!(bench.frame(100, VIDEO, 77_000, 77_080), (0, 80));
        assert_eq!(bench.frame(145, VIDEO, 1, 1), (45, 45));
        assert_eq!(bench.frame(145, AUDIO, 9, 9), (45, 45));
        assert_eq!(bench.frame(120, AUDIO, 10, 10), (45, 45));
    }

    #[test]
    fn small_steps_backwards_are_raised_and_leave_no_drift() {
        for mode in [Mode::Keep, Mode::Relative] {
            let mut bench = Bench::new(mode);
            let sent = [0, 40, 80, 75, 120, 160];
            let out: Vec<_> = (0..6)
                .map(|at| bench.dts(at * 40, VIDEO, sent[at as usize]))
                .collect();
            assert_eq!(out, [0, 40, 80, 80, 120, 160]);
            assert_eq!((bench.stamp.jumps(), bench.stamp.clamps()), (0, 1));
        }
    }

    #[test]
    fn a_raised_picture_is_shown_at_its_own_time() {
        let mut bench = Bench::new(Mode::Relative);
        bench.frame(0, VIDEO, 0, 80);
        bench.frame(40, VIDEO, 40, 40);
        assert_eq!(bench.frame(80, VIDEO, 20, 120), (40, 120));
        assert_eq!(bench.frame(80, VIDEO, 20, 20), (40, 40));
    }

    /// Both tracks run for `before` frames, then jump by `jump` ms and run on.
    fn check_common_jump(mode: Mode, jump: i64) {
        let mut bench = Bench::new(mode);
        let mut last_video = 0;
        for frame in 0..200i64 {
            let wall = frame as u64 * 40;
            let shift = if frame < 100 { 0 } else { jump };
            let video = bench.dts(wall, VIDEO, 10_000_000 + frame * 40 + shift);
            let audio = bench.dts(wall + 5, AUDIO, 10_000_005 + frame * 40 + shift);
            assert_eq!(audio - video, 5, "frame {frame}");
            assert!(
                frame == 0 || video - last_video == 40,
                "frame {frame}: step {}",
                video - last_video
            );
            last_video = video;
        }
        assert_eq!(bench.stamp.jumps(), 2, "one for each track");
        assert_eq!(bench.stamp.clamps(), 0);
    }

    #[test]
    fn a_jump_of_all_tracks_keeps_audio_and_video_together() {
        check_common_jump(Mode::Relative, 3_600_000);
        check_common_jump(Mode::Relative, 1_000);
        check_common_jump(Mode::Relative, -1_000);
        check_common_jump(Mode::Relative, -10_000_000);
        check_common_jump(Mode::Keep, -10_000_000);
    }

    #[test]
    fn a_pause_in_real_time_is_no_jump() {
        let mut bench = Bench::new(Mode::Relative);
        (0..50).for_each(|frame| _ = bench.dts(frame * 40, VIDEO, frame as i64 * 40));
        assert_eq!(bench.dts(7_000, VIDEO, 7_000), 7_000);
        assert_eq!(bench.dts(7_040, VIDEO, 7_040), 7_040);
        assert_eq!(bench.stamp.jumps(), 0);
    }

    #[test]
    fn a_stall_that_is_made_up_in_a_burst_is_no_jump() {
        let mut bench = Bench::new(Mode::Relative);
        (0..50).for_each(|frame| _ = bench.dts(frame * 40, VIDEO, frame as i64 * 40));
        // Nothing arrives for five seconds, then everything at once, at an irregular rate.
        for dts in [2_000, 2_500, 2_540, 3_400, 4_800, 6_960, 7_000] {
            assert_eq!(bench.dts(7_000, VIDEO, dts), dts);
        }
        assert_eq!(bench.stamp.jumps(), 0);
    }

    #[test]
    fn tracks_with_clocks_of_their_own_start_together() {
        let mut bench = Bench::new(Mode::Relative);
        assert_eq!(bench.dts(0, VIDEO, 86_400_000), 0);
        assert_eq!(bench.dts(20, AUDIO, 0), 20);
        assert_eq!(bench.dts(40, VIDEO, 86_400_040), 40);
        assert_eq!(bench.dts(43, AUDIO, 23), 43);
    }

    /// Runs ten seconds with audio `distance` ms from where video is; returns how far it is at the end, and the jumps.
    fn after_ten_seconds(distance: impl Fn(i64) -> i64) -> (i64, u64) {
        let mut bench = Bench::new(Mode::Relative);
        let mut apart = 0;
        for frame in 0..250i64 {
            let wall = frame as u64 * 40;
            let video = bench.dts(wall, VIDEO, 50_000 + frame * 40);
            let audio = bench.dts(wall, AUDIO, 50_000 + frame * 40 + distance(frame));
            apart = audio - video;
        }
        (apart, bench.stamp.jumps())
    }

    #[test]
    fn audio_that_stays_away_from_video_is_moved_to_it() {
        assert_eq!(after_ten_seconds(|_| -900), (0, 1));
        let (apart, jumps) = after_ten_seconds(|_| 900);
        assert!((0..=40).contains(&apart) && jumps == 1, "{apart} {jumps}");
    }

    #[test]
    fn audio_within_the_limit_or_in_bundles_is_not_moved() {
        assert_eq!(after_ten_seconds(|_| -290), (-290, 0));
        assert_eq!(after_ten_seconds(|_| 290), (290, 0));
        // Bundles of one second.
        let mut bench = Bench::new(Mode::Relative);
        for second in 0..20i64 {
            for frame in 0..50 {
                let dts = second * 1_000 + frame * 20;
                assert_eq!(bench.dts(second as u64 * 1_000, AUDIO, dts), dts);
            }
            for frame in 0..25 {
                let dts = second * 1_000 + frame * 40;
                assert_eq!(
                    bench.dts(second as u64 * 1_000 + frame as u64 * 40, VIDEO, dts),
                    dts
                );
            }
        }
        assert_eq!(bench.stamp.jumps(), 0);
    }

    #[test]
    fn senseless_composition_times_are_dropped() {
        let mut bench = Bench::new(Mode::Relative);
        assert_eq!(bench.frame(0, VIDEO, 0, 8_388_607), (0, 0));
        assert_eq!(bench.frame(0, VIDEO, 40, 2_040), (40, 2_040));
        assert_eq!(bench.stamp.jumps(), 1);
    }

    #[test]
    fn creeping_backwards_does_not_freeze_the_stream() {
        let mut bench = Bench::new(Mode::Relative);
        let out: Vec<_> = (0..100)
            .map(|frame| bench.dts(frame * 40, VIDEO, 1_000_000 - frame as i64 * 100))
            .collect();
        assert!(bench.stamp.jumps() >= 20, "{}", bench.stamp.jumps());
        assert!(out.is_sorted());
    }

    /// One frame of a good stream: arrival, track, DTS, PTS, all in milliseconds.
    type Sent = (u64, TrackId, i64, i64);

    fn good_stream() -> impl Strategy<Value = Vec<Sent>> {
        let video_step = prop_oneof![
            Just(16),
            Just(33),
            Just(40),
            Just(200),
            Just(500),
            Just(1_000),
            Just(5_000)
        ];
        let audio_step = prop_oneof![Just(10), Just(20), Just(23), Just(64), Just(128)];
        let base = prop_oneof![Just(0), 0..10_000_000_000i64];
        // Frames of reordering, audio against video, how arrival goes: all at once, in time, in bursts.
        (
            video_step,
            audio_step,
            base,
            0..4i64,
            -250..250i64,
            0..3u8,
            proptest::collection::vec(0..3i64, 400),
        )
            .prop_map(|(video_step, audio_step, base, depth, apart, arrival, jitter)| {
                let depth = depth.min(MAX_COMPOSITION / 1_000 / video_step);
                let mut frames: Vec<(i64, TrackId, i64)> = Vec::new();
                for at in 0..120 {
                    // A hierarchy of B-frames: one picture of `depth + 1` comes early.
                    let reorder = if at % (depth + 1) == 0 {
                        depth * video_step
                    } else {
                        0
                    };
                    frames.push((at * video_step + jitter[at as usize], VIDEO, reorder));
                }
                let end = 120 * video_step;
                for at in 0..(end / audio_step).min(280) {
                    frames.push((at * audio_step + apart + jitter[120 + at as usize], AUDIO, 0));
                }
                frames.sort_by_key(|(dts, ..)| *dts);
                let arrive = |dts: i64| match arrival {
                    0 => 0,
                    1 => dts + 300,
                    _ => (dts + 300).div_euclid(2_000) * 2_000 + 2_000,
                };
                let sent = |(dts, track, reorder): (i64, TrackId, i64)| {
                    (arrive(dts).max(0) as u64, track, base + dts, base + dts + reorder)
                };
                frames.into_iter().map(sent).collect()
            })
    }

    proptest! {
        #[test]
        fn a_good_stream_keeps_all_differences(frames in good_stream(), keep: bool) {
            let mut bench = Bench::new(if keep { Mode::Keep } else { Mode::Relative });
            let first = if keep { 0 } else { frames[0].2 };
            for (wall, track, dts, pts) in frames {
                prop_assert_eq!(bench.frame(wall, track, dts, pts), (dts - first, pts - first));
            }
            prop_assert_eq!((bench.stamp.jumps(), bench.stamp.clamps()), (0, 0));
        }

        #[test]
        fn no_input_makes_time_go_back_or_run_away(
            mode in prop_oneof![Just(Mode::Keep), Just(Mode::Arrival), Just(Mode::Relative)],
            frames in proptest::collection::vec((
                0u64..1_000,
                0u8..4,
                prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -1_000_000..1_000_000i64],
                prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -1_000_000..1_000_000i64],
            ), 1..200),
        ) {
            let mut bench = Bench::new(mode);
            let mut last = [i64::MIN; 4];
            let mut wall = 0;
            let count = frames.len() as i64;
            for (pause, track, dts, pts) in frames {
                wall += pause;
                let (dts, pts) = (MediaTime::from_micros(dts), MediaTime::from_micros(pts));
                let mut frame = Frame { track: TrackId(track), dts, pts, key: false, data: Bytes::new(), wire: None, };
                bench.stamp.repair(bench.start + Duration::from_millis(wall), &mut frame);
                let out = frame.dts.as_micros();
                prop_assert!(out >= last[usize::from(track)]);
                last[usize::from(track)] = out;
                let bound = match mode {
                    Mode::Keep => MAX_OUT,
                    Mode::Arrival => wall as i64 * 1_000,
                    Mode::Relative => wall as i64 * 1_000 + count * (MAX_STEP + MAX_BURST),
                };
                prop_assert!(out.abs() <= bound, "{} beyond {}", out, bound);
            }
        }
    }
}
