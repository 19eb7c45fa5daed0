use super::*;
use bytes::Bytes;
use media::CodecId;
use media::track::{AudioParams, TrackParams, VideoParams};
use proptest::prelude::*;

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);

/// A playout, a clock in milliseconds, and what came out: when, which track, its decoding time.
struct Bench {
    playout: Playout,
    start: Instant,
    out: Vec<(u64, u8, i64)>,
    others: Vec<Output>,
}

fn track(id: TrackId, kind: MediaKind) -> Track {
    let (codec, params) = match kind {
        MediaKind::Video => (CodecId::H264, TrackParams::Video(VideoParams::default())),
        MediaKind::Audio => (CodecId::Aac, TrackParams::Audio(AudioParams::default())),
    };
    Track {
        id,
        codec,
        config: None,
        params,
        wire: None,
    }
}

fn timeline(discontinuities: u64) -> Timeline {
    Timeline {
        restarts: 0,
        discontinuities,
    }
}

impl Bench {
    fn new(lanes: usize, live_target_s: Option<u64>) -> Self {
        Self {
            playout: Playout::new(lanes, live_target_s.map(Duration::from_secs)),
            start: Instant::now(),
            out: Vec::new(),
            others: Vec::new(),
        }
    }

    /// One lane with picture and sound.
    fn muxed(live_target_s: Option<u64>) -> Self {
        let mut bench = Self::new(1, live_target_s);
        bench.line(0, 0, 0);
        bench.playout.track(0, track(VIDEO, MediaKind::Video));
        bench.playout.track(0, track(AUDIO, MediaKind::Audio));
        bench
    }

    fn time(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn line(&mut self, ms: u64, lane: usize, discontinuities: u64) {
        self.playout
            .timeline(self.time(ms), lane, timeline(discontinuities));
    }

    fn frame(&mut self, ms: u64, lane: usize, track: TrackId, dts_ms: i64) {
        let frame = Frame {
            track,
            dts: MediaTime::from_millis(dts_ms),
            pts: MediaTime::from_millis(dts_ms + 80),
            key: true,
            data: Bytes::from_static(b"0123456789"),
            wire: None,
        };
        self.playout.frame(self.time(ms), lane, frame);
    }

    /// A segment of 25 pictures per second and 20 ms sounds, in one go.
    fn segment(&mut self, ms: u64, from_ms: i64, length_ms: i64) {
        for at in 0..length_ms / 40 {
            self.frame(ms, 0, VIDEO, from_ms + at * 40);
            self.frame(ms, 0, AUDIO, from_ms + at * 40 + 5);
            self.frame(ms, 0, AUDIO, from_ms + at * 40 + 25);
        }
    }

    /// Lets time pass and takes what is due, at its time.
    fn run(&mut self, from_ms: u64, to_ms: u64) {
        let mut now = self.time(from_ms);
        loop {
            while let Some(output) = self.playout.poll(now) {
                match output {
                    Output::Frame(frame) => {
                        let ms = now.duration_since(self.start).as_millis();
                        self.out.push((ms as u64, frame.track.0, frame.dts.as_millis()));
                        assert_eq!((frame.pts - frame.dts).as_millis(), 80);
                    }
                    other => self.others.push(other),
                }
            }
            match self.playout.deadline() {
                Some(deadline) if deadline <= self.time(to_ms) => {
                    assert!(deadline > now, "a deadline that has passed");
                    now = deadline;
                }
                _ => return,
            }
        }
    }

    /// Decoding times of one track.
    fn times(&self, id: TrackId) -> Vec<i64> {
        let of_track = self.out.iter().filter(|(_, track, _)| *track == id.0);
        of_track.map(|(_, _, time)| *time).collect()
    }
}

#[test]
fn a_heap_of_frames_comes_out_at_their_pace_in_order() {
    let mut bench = Bench::muxed(Some(2));
    bench.segment(100, 7_000, 2_000);
    bench.segment(150, 9_000, 2_000);
    bench.run(100, 60_000);
    assert_eq!(bench.out.len(), 300);
    for (ms, _, time) in &bench.out {
        assert_eq!(*ms as i64 - 100, time - 7_000);
    }
    assert!(bench.out.is_sorted());
    assert!(matches!(bench.others[..], [Output::Track(_), Output::Track(_)]));
    assert!(!bench.playout.is_over());
    bench.playout.ended(bench.time(60_000), 0);
    assert!(bench.playout.is_over());
}

#[test]
fn what_comes_late_is_played_on_from_when_it_came() {
    let mut bench = Bench::muxed(None);
    bench.segment(0, 0, 1_000);
    bench.run(0, 1_500);
    // Half a second after it was needed.
    bench.segment(1_500, 1_000, 1_000);
    bench.run(1_500, 9_000);
    let video: Vec<_> = bench.out.iter().filter(|(_, track, _)| *track == 0).collect();
    assert_eq!(video[25..27], [&(1_500, 0, 1_000), &(1_540, 0, 1_040)]);
}

#[test]
fn a_live_source_that_is_far_ahead_is_played_faster_and_vod_is_not() {
    for (live, ahead_ms) in [(Some(2), 10_000), (None, 20_000)] {
        let mut bench = Bench::muxed(live);
        bench.segment(0, 0, 20_000);
        bench.run(0, 10_000);
        let last = bench.out.last().expect("frames").2;
        let expected = if live.is_some() {
            10_400..10_550
        } else {
            9_990..10_001
        };
        assert!(expected.contains(&last), "{last} at 10000, {ahead_ms}");
    }
}

#[test]
fn time_goes_on_exactly_over_a_discontinuity() {
    for begin in [500_000, 0, -70_000] {
        let mut bench = Bench::muxed(None);
        bench.segment(0, 10_000, 2_000);
        bench.line(0, 0, 1);
        bench.playout.new_demuxer(0);
        // The new demuxer meets sound first.
        bench.playout.track(0, track(TrackId(0), MediaKind::Audio));
        bench.playout.track(0, track(TrackId(1), MediaKind::Video));
        for at in 0..50 {
            bench.frame(0, 0, TrackId(0), begin + at * 40 + 5);
            bench.frame(0, 0, TrackId(0), begin + at * 40 + 25);
            bench.frame(0, 0, TrackId(1), begin + at * 40);
        }
        bench.run(0, 9_000);
        let expected: Vec<i64> = (0..100).map(|at| 10_000 + at * 40).collect();
        assert_eq!(bench.times(VIDEO), expected);
        let expected: Vec<i64> = (0..200).map(|at| 10_005 + at * 20).collect();
        assert_eq!(bench.times(AUDIO), expected);
    }
}

#[test]
fn no_track_goes_back_when_sound_is_longer_than_the_picture() {
    let mut bench = Bench::muxed(None);
    bench.segment(0, 0, 1_000);
    bench.frame(0, 0, AUDIO, 1_005);
    bench.line(0, 0, 1);
    bench.segment(0, 50_000, 1_000);
    bench.run(0, 9_000);
    assert_eq!(bench.times(AUDIO)[50..53], [1_005, 1_025, 1_045]);
    assert_eq!(
        bench.times(VIDEO)[24..27],
        [960, 1_020, 1_060],
        "the sound is what counts"
    );
}

#[test]
fn a_track_that_does_not_come_back_is_not_waited_for() {
    let mut bench = Bench::muxed(None);
    bench.segment(0, 0, 1_000);
    bench.line(0, 0, 1);
    for at in 0..50 {
        bench.frame(0, 0, VIDEO, 90_000 + at * 40);
    }
    bench.run(0, 9_000);
    assert_eq!(bench.times(VIDEO).len(), 75);
    assert_eq!(bench.times(VIDEO)[24..27], [960, 1_000, 1_040]);
    // Not even to the end.
    bench.line(0, 0, 2);
    bench.frame(9_000, 0, VIDEO, 5);
    bench.playout.ended(bench.time(9_000), 0);
    bench.run(9_000, 20_000);
    assert_eq!(bench.times(VIDEO).last(), Some(&3_000));
    assert!(bench.playout.is_over());
}

#[test]
fn a_jump_that_was_not_announced_is_joined_too() {
    for jump in [-900_000, 3_600_000] {
        let mut bench = Bench::muxed(None);
        bench.segment(0, 1_000_000, 1_000);
        bench.segment(0, 1_001_000 + jump, 1_000);
        bench.run(0, 9_000);
        let expected: Vec<i64> = (0..50).map(|at| 1_000_000 + at * 40).collect();
        assert_eq!(bench.times(VIDEO), expected, "{jump}");
    }
}

#[test]
fn sound_of_its_own_begins_with_the_picture_and_shares_its_shifts() {
    let mut bench = Bench::new(2, None);
    bench.line(0, 1, 0);
    bench.playout.track(1, track(TrackId(0), MediaKind::Audio));
    bench.playout.declared(1, false, true);
    for at in 0..50 {
        bench.frame(0, 1, TrackId(0), 4_000 + at * 20);
    }
    bench.run(0, 3_000);
    assert!(bench.out.is_empty(), "the picture is waited for");
    bench.line(3_000, 0, 0);
    bench.playout.declared(0, true, true);
    bench.playout.track(0, track(TrackId(0), MediaKind::Video));
    // Muxed with the picture, but there is sound of its own.
    bench.playout.track(0, track(TrackId(1), MediaKind::Audio));
    for at in 0..50 {
        bench.frame(3_000, 0, TrackId(0), 6_000 + at * 40);
        bench.frame(3_000, 0, TrackId(1), 6_000 + at * 40);
    }
    bench.run(3_000, 3_000);
    for at in 50..200 {
        bench.frame(3_000, 1, TrackId(0), 4_000 + at * 20);
    }
    bench.line(3_000, 0, 1);
    bench.line(3_000, 1, 1);
    for at in 0..50 {
        bench.frame(3_000, 0, TrackId(0), 90_000 + at * 40);
        bench.frame(3_000, 1, TrackId(0), 90_000 + at * 20);
    }
    bench.run(3_000, 20_000);
    let (audio, video) = (TrackId(0), TrackId(1));
    assert_eq!(
        bench.times(video),
        (0..100).map(|at| 6_000 + at * 40).collect::<Vec<_>>()
    );
    assert_eq!(
        bench.times(audio),
        (0..150).map(|at| 6_000 + at * 20).collect::<Vec<_>>()
    );
    let both = Output::TracksDeclared {
        video: true,
        audio: true,
    };
    assert!(bench.others.contains(&both));
}

#[test]
fn lanes_that_were_entered_around_the_end_of_the_clock_are_together() {
    const PERIOD_MS: i64 = 95_443_718;
    for (picture, sound) in [(PERIOD_MS - 1_000, 500), (500, PERIOD_MS + 700)] {
        for first in [0, 1] {
            let mut bench = Bench::new(2, None);
            for lane in [first, 1 - first] {
                let (kind, from) = match lane {
                    0 => (MediaKind::Video, picture),
                    _ => (MediaKind::Audio, sound),
                };
                bench.line(0, lane, 0);
                bench.playout.track(lane, track(TrackId(0), kind));
                for at in 0..50 {
                    bench.frame(0, lane, TrackId(0), from + at * 40);
                }
            }
            bench.run(0, 9_000);
            assert!(bench.out.len() >= 95, "{} frames", bench.out.len());
            let times = bench.out.iter().map(|(_, _, time)| *time);
            let span = times.clone().max().unwrap_or(0) - times.min().unwrap_or(0);
            assert!(span < 4_000, "{span} ms from {picture} and {sound}");
        }
    }
}

#[test]
fn a_lane_has_room_until_it_is_half_a_minute_ahead() {
    let mut bench = Bench::muxed(None);
    bench.segment(0, 0, 29_000);
    assert!(bench.playout.has_room(0));
    bench.segment(0, 29_000, 2_000);
    assert!(!bench.playout.has_room(0));
    bench.run(0, 5_000);
    assert!(bench.playout.has_room(0));
    let frame = Frame {
        track: VIDEO,
        dts: MediaTime::from_millis(31_000),
        pts: MediaTime::from_millis(31_000),
        key: true,
        data: Bytes::from(vec![0; MAX_BUFFERED]),
        wire: None,
    };
    bench.playout.frame(bench.time(5_000), 0, frame);
    assert!(!bench.playout.has_room(0), "too many bytes");
}

proptest! {
    #[test]
    fn nothing_is_lost_and_every_wait_has_an_end(
        inputs in proptest::collection::vec((
            0u8..20,
            0u8..4,
            prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -100_000_000..100_000_000i64],
        ), 1..200),
    ) {
        let mut playout = Playout::new(1, Some(Duration::from_secs(1)));
        let start = Instant::now();
        let mut now = start;
        playout.timeline(now, 0, Timeline::default());
        for id in 0..4 {
            playout.track(0, track(TrackId(id), if id < 2 { MediaKind::Video } else { MediaKind::Audio }));
        }
        let (mut sent, mut got) = (0, 0);
        let mut discontinuities = 0;
        for (what, id, dts) in inputs {
            now += Duration::from_millis(10);
            if what == 0 {
                discontinuities += 1;
                playout.timeline(now, 0, timeline(discontinuities));
                continue;
            }
            let (dts, pts) = (MediaTime::from_micros(dts), MediaTime::from_micros(dts));
            playout.frame(now, 0, Frame { track: TrackId(id), dts, pts, key: true, data: Bytes::new(), wire: None });
            sent += 1;
            while let Some(output) = playout.poll(now) {
                got += usize::from(matches!(output, Output::Frame(_)));
            }
        }
        playout.ended(now, 0);
        loop {
            while let Some(output) = playout.poll(now) {
                got += usize::from(matches!(output, Output::Frame(_)));
            }
            let Some(deadline) = playout.deadline() else { break };
            prop_assert!(deadline > now && deadline <= now + MAX_WAIT + Duration::from_secs(3600));
            now = deadline;
        }
        prop_assert_eq!(sent, got);
        prop_assert!(playout.is_over());
    }
}
