//! Times: from the 32-bit timestamps of each track to one time line for all tracks of a session.
//!
//! - [`Clock`] counts one track's timestamps on over wraps-around.
//! - [`Sync`] relates them to the sender's wall clock.
//! - [`Align`] does both for all tracks of a session, and makes media times of them.

use std::time::Instant;

use media::MediaTime;

use crate::rtcp::NtpTime;

/// Extends 32-bit timestamps to 64 bits.
///
/// The ticks are absolute: the first timestamp is itself, and the lower 32 bits of the ticks are always the timestamp. Each one
/// is taken to be within 2^31 ticks of the one before, so steps back, as B-frames make, are right, also below the first one (ticks
/// are then negative if it was near 0). Jumps of the sender pass through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    last: Option<i64>,
}

impl Clock {
    /// A clock that has seen no timestamp.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The ticks of a timestamp, which is the newest from now on.
    pub fn ticks(&mut self, timestamp: u32) -> i64 {
        let ticks = self.near(timestamp);
        self.last = Some(ticks);
        ticks
    }

    /// The ticks of a timestamp, without making it the newest.
    pub const fn near(&self, timestamp: u32) -> i64 {
        match self.last {
            None => timestamp as i64,
            Some(last) => nearest(timestamp, last),
        }
    }

    /// The newest ticks.
    pub const fn last(&self) -> Option<i64> {
        self.last
    }
}

/// Relates the ticks of one track to the sender's wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Sync {
    clock_rate: u32,
    report: Option<(NtpTime, i64)>,
}

impl Sync {
    /// No report has come. `clock_rate`: ticks in one second.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            report: None,
        }
    }

    /// Takes the two times of a sender report, the RTP timestamp as ticks ([`Clock::near`]). A sender without a clock says 0 (RFC
    /// 3550, section 6.4.1), which is ignored.
    pub const fn sender_report(&mut self, ntp: NtpTime, ticks: i64) {
        if ntp.0 != 0 {
            self.report = Some((ntp, ticks));
        }
    }

    /// The wall clock time of these ticks by the newest report.
    pub const fn to_ntp(&self, ticks: i64) -> Option<NtpTime> {
        match self.report {
            Some((ntp, at)) => Some(ntp.plus_micros(micros(ticks, at, self.clock_rate))),
            None => None,
        }
    }

    /// The newest report.
    pub const fn report(&self) -> Option<(NtpTime, i64)> {
        self.report
    }
}

/// A track as [`Align`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Ticks in one second.
    pub clock_rate: u32,
    /// Whether others are moved to this one and not the other way: video, since a picture shown at an uneven pace is seen.
    pub leads: bool,
}

/// Puts the tracks of one session on one time line, which begins at 0 with the first packet of any track.
///
/// Where a track is on the time line is decided at its first packet, by the first of these that is known:
///
/// 1. The timestamps that `RTP-Info` names for all tracks are one moment.
/// 2. Sender reports of this track and of one that has begun tell how far they are apart. Some senders, ffmpeg among them, report
///    before they send.
/// 3. Packets that arrive together belong together.
///
/// A track that has begun by arrival is corrected once when the reports of it and of the leading track are there. Later reports
/// correct what the clocks of the sender drift apart: only above 40 ms, since reports of cameras are often wrong by less and nobody
/// notices, and only if two measurements in a row say so.
///
/// A correction is never a step, since a step back breaks the order of the track and a step ahead looks like a fault, which
/// [`media::Stamp`] would undo. Instead the track runs slower or faster for as long as it takes: by half for the first correction,
/// which is over soon; by a hundredth for later ones, which nobody hears. So the times of a track never go back when its ticks do
/// not, and equal ticks have equal times. The leading track is never moved.
///
/// Reports and `RTP-Info` that would put a track more than 10 s from where it arrived are wrong, and ignored.
///
/// Times of a track that begins behind the first one may be somewhat below 0.
#[derive(Debug)]
pub struct Align {
    tracks: Vec<State>,
    /// The newest packet of any track: when it came and where it is.
    newest: Option<(Instant, i64)>,
}

impl Align {
    /// The tracks of a session, which the other methods name by their index. Of several that lead, the first does.
    pub fn new(tracks: &[Track]) -> Self {
        let tracks = tracks.iter().map(|track| State::new(*track)).collect();
        Self { tracks, newest: None }
    }

    /// The timestamp that `RTP-Info` names for a track. Nothing comes of it before all tracks have one.
    ///
    /// # Panics
    ///
    /// There is no such track; as all methods that name one.
    pub fn anchor(&mut self, track: usize, timestamp: u32) {
        self.tracks[track].anchor = Some(timestamp);
        self.correct();
    }

    /// The two times of a track's sender report.
    pub fn report(&mut self, track: usize, ntp: NtpTime, timestamp: u32) {
        let State { clock, sync, .. } = &mut self.tracks[track];
        // Before the first packet it is what the packets are counted on from.
        let ticks = if clock.last().is_some() {
            clock.near(timestamp)
        } else {
            clock.ticks(timestamp)
        };
        sync.sender_report(ntp, ticks);
        self.correct();
    }

    /// The ticks of a timestamp: 64 bits that count on over wraps-around. To be called in the order of the packets.
    pub fn ticks(&mut self, track: usize, timestamp: u32) -> i64 {
        self.tracks[track].clock.ticks(timestamp)
    }

    /// Where ticks are on the time line, for media that came now.
    pub fn media_time(&mut self, now: Instant, track: usize, ticks: i64) -> MediaTime {
        if self.tracks[track].line.is_none() {
            let (time, synced) = self.begin(now, track, ticks);
            let state = &mut self.tracks[track];
            state.line = Some(Line::new(state.track.clock_rate, ticks, time));
            state.synced = synced;
            self.correct();
        }
        let Some(line) = &mut self.tracks[track].line else {
            return MediaTime::ZERO;
        };
        line.newest = line.newest.max(ticks);
        let time = line.time(ticks);
        self.newest = Some((now, time));
        MediaTime::from_micros(time)
    }

    /// [`Self::ticks`] and [`Self::media_time`] in one.
    pub fn time(&mut self, now: Instant, track: usize, timestamp: u32) -> MediaTime {
        let ticks = self.ticks(track, timestamp);
        self.media_time(now, track, ticks)
    }

    /// The sender's wall clock at these ticks, by the newest report.
    pub fn to_ntp(&self, track: usize, ticks: i64) -> Option<NtpTime> {
        self.tracks[track].sync.to_ntp(ticks)
    }

    /// Forgets where a track is, since another source takes over whose timestamps are its own. Its next packet begins the track
    /// anew, by arrival or by a report that comes after this.
    pub fn restart(&mut self, track: usize) {
        let Track { clock_rate, leads } = self.tracks[track].track;
        self.tracks[track] = State::new(Track { clock_rate, leads });
        if leads {
            self.tracks.iter_mut().for_each(|other| other.synced = false);
        }
    }

    /// Where a track begins, and whether that is exact.
    fn begin(&self, now: Instant, track: usize, ticks: i64) -> (i64, bool) {
        let Some((at, time)) = self.newest else {
            return (0, false);
        };
        let elapsed = i64::try_from(now.saturating_duration_since(at).as_micros()).unwrap_or(i64::MAX);
        let arrived = time.saturating_add(elapsed);
        let exact = self
            .leader(Some(track))
            .and_then(|leader| self.exact(leader, track, ticks));
        match exact {
            Some(exact) if is_near(exact, arrived) => (exact, true),
            _ => (arrived, false),
        }
    }

    /// The track that others are measured by: the one that leads, if it has begun, else the first that has.
    fn leader(&self, except: Option<usize>) -> Option<usize> {
        let begun = |index: &usize| Some(*index) != except && self.tracks[*index].line.is_some();
        let leads = |index: &usize| begun(index) && self.tracks[*index].track.leads;
        let mut all = 0..self.tracks.len();
        all.clone().find(leads).or_else(|| all.find(begun))
    }

    /// Where ticks of a track belong, by what the sender said about it and about the leader.
    fn exact(&self, leader: usize, track: usize, ticks: i64) -> Option<i64> {
        let (leader, track) = (&self.tracks[leader], &self.tracks[track]);
        let line = leader.line.as_ref()?;
        let rate = track.track.clock_rate;
        if let Some(((ntp, at), (leader_ntp, leader_at))) = track.sync.report().zip(leader.sync.report()) {
            let moment = line.goal(leader_at).saturating_add(ntp.micros_since(leader_ntp));
            return Some(moment.saturating_add(micros(ticks, at, rate)));
        }
        if self.tracks.iter().any(|track| track.anchor.is_none()) {
            return None;
        }
        let first = track.line.as_ref().map_or(ticks, |line| line.first);
        let moment = line.goal(nearest(leader.anchor?, line.first));
        Some(moment.saturating_add(micros(ticks, nearest(track.anchor?, first), rate)))
    }

    /// Moves tracks that have begun to where they belong, as far as that is known.
    fn correct(&mut self) {
        let Some(leader) = self.leader(None) else { return };
        for index in (0..self.tracks.len()).filter(|index| *index != leader) {
            let leader_ntp = self.tracks[leader].sync.report().map(|(ntp, _)| ntp);
            let Some(newest) = self.tracks[index].line.as_ref().map(|line| line.newest) else {
                continue;
            };
            if let Some(exact) = self.exact(leader, index, newest) {
                self.tracks[index].correct(exact, leader_ntp);
            }
        }
    }
}

#[derive(Debug)]
struct State {
    track: Track,
    clock: Clock,
    sync: Sync,
    anchor: Option<u32>,
    /// Its place, once it has begun.
    line: Option<Line>,
    /// Its place is by what the sender said, not by arrival.
    synced: bool,
    /// Wall clock times of the reports, of this track and of the leader, that the last measurement of drift used.
    measured: Option<(NtpTime, NtpTime)>,
    /// The last measurement found too much.
    drifted: bool,
}

impl State {
    const fn new(track: Track) -> Self {
        Self {
            track,
            clock: Clock::new(),
            sync: Sync::new(track.clock_rate),
            anchor: None,
            line: None,
            synced: false,
            measured: None,
            drifted: false,
        }
    }

    /// `exact`: where its newest ticks belong.
    fn correct(&mut self, exact: i64, leader_ntp: Option<NtpTime>) {
        let Some(line) = &mut self.line else { return };
        let error = exact.saturating_sub(line.goal(line.newest));
        if !is_near(error, 0) {
            return;
        }
        let reports = self.sync.report().map(|(ntp, _)| ntp).zip(leader_ntp);
        if !self.synced {
            self.synced = true;
            self.measured = reports;
            self.drifted = false;
            if error.abs() > MIN_FIRST_ERROR {
                line.bend(error, FIRST_SLOWNESS);
            }
            return;
        }
        // A wall clock that is set between the report of one track and that of the other is no drift, so a measurement takes a new
        // report of both.
        let Some((ntp, leader_ntp)) = reports else { return };
        if self
            .measured
            .is_some_and(|(old, leader_old)| old == ntp || leader_old == leader_ntp)
        {
            return;
        }
        self.measured = reports;
        let drifts = error.abs() > MIN_DRIFT && !line.bends();
        if drifts && self.drifted {
            line.bend(error, DRIFT_SLOWNESS);
            self.drifted = false;
        } else {
            self.drifted = drifts;
        }
    }
}

/// Ticks of a track to microseconds on the time line.
#[derive(Debug)]
struct Line {
    clock_rate: u32,
    /// The ticks with which the track began.
    first: i64,
    /// The highest ticks so far.
    newest: i64,
    /// These ticks are at `time`.
    ticks: i64,
    time: i64,
    /// What is added to all after `ticks`, evenly until `bend_len` ticks later, in microseconds.
    bend: i64,
    bend_len: i64,
}

impl Line {
    const fn new(clock_rate: u32, ticks: i64, time: i64) -> Self {
        Self {
            clock_rate,
            first: ticks,
            newest: ticks,
            ticks,
            time,
            bend: 0,
            bend_len: 0,
        }
    }

    fn time(&self, ticks: i64) -> i64 {
        let behind = ticks.saturating_sub(self.ticks);
        let bend = if behind >= self.bend_len {
            self.bend
        } else {
            // No overflow: at most `bend`. `bend_len` is not 0, since it is more than `behind`.
            (i128::from(self.bend) * i128::from(behind.max(0)) / i128::from(self.bend_len.max(1))) as i64
        };
        self.straight(ticks).saturating_add(bend)
    }

    /// Where the ticks would be if a correction under way were done.
    const fn goal(&self, ticks: i64) -> i64 {
        self.straight(ticks).saturating_add(self.bend)
    }

    const fn straight(&self, ticks: i64) -> i64 {
        self.time
            .saturating_add(micros(ticks, self.ticks, self.clock_rate))
    }

    const fn bends(&self) -> bool {
        self.newest.saturating_sub(self.ticks) < self.bend_len
    }

    /// From the newest ticks on, moves by `error` microseconds more. It takes `slowness` times as long.
    fn bend(&mut self, error: i64, slowness: i64) {
        let time = self.time(self.newest);
        let left = self.goal(self.newest).saturating_sub(time);
        self.time = time;
        self.ticks = self.newest;
        self.bend = error.saturating_add(left);
        let span = MediaTime::from_micros(self.bend.saturating_abs().saturating_mul(slowness));
        self.bend_len = span.as_ticks(self.clock_rate);
    }
}

/// The ticks closest to `ticks` that have this timestamp.
const fn nearest(timestamp: u32, ticks: i64) -> i64 {
    ticks.saturating_add(timestamp.wrapping_sub(ticks as u32) as i32 as i64)
}

const fn micros(ticks: i64, since: i64, clock_rate: u32) -> i64 {
    MediaTime::from_ticks(ticks.saturating_sub(since), clock_rate).as_micros()
}

const fn is_near(time: i64, other: i64) -> bool {
    time.saturating_sub(other).saturating_abs() <= MAX_ERROR
}

// Microseconds.

/// What the sender says is wrong if it is further from arrival than this: no network and no start of a stream takes as long.
const MAX_ERROR: i64 = 10_000_000;

/// Not worth a correction: less than what reports are exact to.
const MIN_FIRST_ERROR: i64 = 2_000;

/// Sound that is 45 ms early is noticed (ITU-R BT.1359).
const MIN_DRIFT: i64 = 40_000;

// How many times its own length a correction takes: 2 is half or one and a half times the speed.

const FIRST_SLOWNESS: i64 = 2;
const DRIFT_SLOWNESS: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const VIDEO: usize = 0;
    const AUDIO: usize = 1;
    const RATES: [u32; 2] = [90_000, 48_000];
    /// Wall clock of the sender when both tracks are at `Bench::zero`.
    const NTP: i64 = 1_700_000_000_000_000;

    /// Video and audio whose timestamps were `zero` at one moment. Milliseconds from there everywhere.
    struct Bench {
        start: Instant,
        zero: [u32; 2],
        align: Align,
    }

    impl Bench {
        fn new(zero: [u32; 2]) -> Self {
            let tracks =
                [(RATES[0], true), (RATES[1], false)].map(|(clock_rate, leads)| Track { clock_rate, leads });
            Self {
                start: Instant::now(),
                zero,
                align: Align::new(&tracks),
            }
        }

        fn timestamp(&self, track: usize, millis: i64) -> u32 {
            self.zero[track].wrapping_add((millis * i64::from(RATES[track]) / 1000) as u32)
        }

        /// A sample taken at `millis` arrives at `arrival`: where it is, in milliseconds.
        fn packet(&mut self, track: usize, millis: i64, arrival: u64) -> i64 {
            let timestamp = self.timestamp(track, millis);
            let now = self.start + Duration::from_millis(arrival);
            self.align.time(now, track, timestamp).as_millis()
        }

        /// A report at `millis`, by a wall clock that is `off` ms ahead.
        fn report(&mut self, track: usize, millis: i64, off: i64) {
            let ntp = NtpTime::from_unix_micros(NTP + (millis + off) * 1000);
            let timestamp = self.timestamp(track, millis);
            self.align.report(track, ntp, timestamp);
        }

        fn anchor(&mut self, track: usize, millis: i64) {
            let timestamp = self.timestamp(track, millis);
            self.align.anchor(track, timestamp);
        }

        /// Packets of a track, one each 20 ms without delay. The distances of their times.
        fn run(&mut self, track: usize, from: i64, to: i64) -> Vec<i64> {
            let times: Vec<_> = (from..to)
                .step_by(20)
                .map(|at| self.packet(track, at, at as u64))
                .collect();
            times.windows(2).map(|pair| pair[1] - pair[0]).collect()
        }
    }

    #[test]
    fn without_word_of_the_sender_arrival_decides() {
        let mut bench = Bench::new([u32::MAX - 50_000, 7]);
        assert_eq!(bench.packet(VIDEO, 1000, 3000), 0);
        assert_eq!(bench.packet(VIDEO, 1040, 3040), 40);
        // Sampled with the second picture, but 30 ms longer under way.
        assert_eq!(bench.packet(AUDIO, 1040, 3070), 70);
        assert_eq!(bench.packet(AUDIO, 1060, 3090), 90);
        assert_eq!(bench.packet(VIDEO, 61_000, 63_000), 60_000);
    }

    #[test]
    fn what_rtp_info_says_is_exact_from_the_start() {
        let mut bench = Bench::new([u32::MAX - 50_000, u32::MAX - 10]);
        bench.anchor(VIDEO, 500);
        bench.anchor(AUDIO, 500);
        assert_eq!(bench.packet(VIDEO, 1000, 3000), 0);
        assert_eq!(bench.packet(AUDIO, 950, 4000), -50);
        assert_eq!(bench.packet(AUDIO, 1000, 4000), 0);
        // It comes after the first packets of one track, as a response that data overtakes.
        let mut bench = Bench::new([0, 0]);
        bench.packet(VIDEO, 1000, 3000);
        bench.anchor(AUDIO, 500);
        bench.anchor(VIDEO, 500);
        assert_eq!(bench.packet(AUDIO, 950, 4000), -50);
    }

    #[test]
    fn rtp_info_of_one_track_or_far_from_arrival_is_ignored() {
        let mut bench = Bench::new([0, 0]);
        bench.anchor(VIDEO, 0);
        bench.packet(VIDEO, 1000, 3000);
        assert_eq!(bench.packet(AUDIO, 950, 3100), 100);
        let mut bench = Bench::new([0, 0]);
        bench.anchor(VIDEO, 0);
        bench.anchor(AUDIO, 20_000);
        bench.packet(VIDEO, 1000, 3000);
        assert_eq!(bench.packet(AUDIO, 950, 3100), 100);
    }

    #[test]
    fn reports_before_the_first_packet_are_exact_from_the_start() {
        // Timestamps wrap around between report and packet.
        let mut bench = Bench::new([u32::MAX - 100, u32::MAX - 100]);
        bench.report(VIDEO, 0, 0);
        bench.report(AUDIO, 0, 0);
        // Audio first: what leads is placed by what does not.
        assert_eq!(bench.packet(AUDIO, 1000, 3000), 0);
        assert_eq!(bench.packet(VIDEO, 1040, 3900), 40);
        assert_eq!(bench.packet(AUDIO, 1020, 3900), 20);
    }

    #[test]
    fn reports_correct_arrival_once_without_a_step() {
        for late in [400, -400] {
            let mut bench = Bench::new([5, u32::MAX - 100_000]);
            bench.packet(VIDEO, 1000, 1000);
            // The first sound is off by this, by which all of it is.
            assert_eq!(bench.packet(AUDIO, 1000 + late, 1000), 0);
            bench.report(AUDIO, 1000, 0);
            assert_eq!(bench.packet(AUDIO, 1020 + late, 1020), 20);
            bench.report(VIDEO, 1000, 0);
            // Times never go back, and no step is longer than one and a half packets. Done after 800 ms.
            let steps = bench.run(AUDIO, 1020 + late, 1020 + late + 800);
            assert!(
                steps
                    .iter()
                    .all(|step| (if late < 0 { 10..=10 } else { 30..=30 }).contains(step)),
                "{steps:?}"
            );
            assert_eq!(bench.packet(AUDIO, 2420, 2420), 1420);
            assert_eq!(bench.packet(VIDEO, 2420, 2420), 1420);
        }
    }

    #[test]
    fn less_than_two_milliseconds_are_no_error() {
        let mut bench = Bench::new([5, 6]);
        bench.packet(VIDEO, 1000, 1000);
        assert_eq!(bench.packet(AUDIO, 1002, 1000), 0);
        bench.report(AUDIO, 1000, 0);
        bench.report(VIDEO, 1000, 0);
        assert_eq!(bench.packet(AUDIO, 9000, 9000), 7998);
    }

    #[test]
    fn wrong_reports_are_ignored() {
        let mut bench = Bench::new([5, 6]);
        bench.align.report(VIDEO, NtpTime(0), 7);
        bench.report(AUDIO, 0, 0);
        bench.packet(VIDEO, 1000, 1000);
        assert_eq!(bench.packet(AUDIO, 990, 1000), 0);
        bench.align.report(VIDEO, NtpTime(0), 7);
        // The time since it was switched on, and that of the day.
        bench.report(VIDEO, 1000, 11_000);
        assert_eq!(bench.packet(AUDIO, 1990, 2000), 1000);
        // Right at last.
        bench.report(VIDEO, 2000, 0);
        bench.packet(AUDIO, 2990, 3000);
        assert_eq!(bench.packet(AUDIO, 3990, 4000), 2990);
    }

    #[test]
    fn drift_is_corrected_slowly_when_two_measurements_say_so() {
        let mut bench = Bench::new([5, 6]);
        for track in [VIDEO, AUDIO] {
            bench.report(track, 0, 0);
            assert_eq!(bench.packet(track, 0, 0), 0);
        }
        // 30 ms are not much, and one report may be wrong.
        for (at, off) in [(5000, 30), (10_000, 30), (15_000, 100), (20_000, 0), (25_000, 60)] {
            bench.report(VIDEO, at, 0);
            bench.report(AUDIO, at, off);
            assert_eq!(bench.packet(AUDIO, at, at as u64), at);
        }
        // Reports of one track alone say nothing new.
        bench.report(AUDIO, 26_000, 60);
        bench.report(AUDIO, 27_000, 60);
        assert_eq!(bench.packet(AUDIO, 30_000, 30_000), 30_000);
        bench.report(VIDEO, 30_000, 0);
        bench.report(AUDIO, 30_000, 60);
        assert_eq!(bench.packet(AUDIO, 31_000, 31_000), 31_010);
        assert_eq!(bench.packet(AUDIO, 36_000, 36_000), 36_060);
        assert_eq!(bench.packet(AUDIO, 60_000, 60_000), 60_060);
        // Video stays.
        assert_eq!(bench.packet(VIDEO, 60_000, 60_000), 60_000);
    }

    #[test]
    fn equal_ticks_have_equal_times_and_pictures_go_back() {
        let mut bench = Bench::new([u32::MAX - 4000, 0]);
        let times = [0, 120, 40, 80, 240, 240, 160].map(|at| bench.packet(VIDEO, at, 0));
        assert_eq!(times, [0, 120, 40, 80, 240, 240, 160]);
    }

    #[test]
    fn another_source_of_a_track_begins_where_the_session_is() {
        let mut bench = Bench::new([0, 0]);
        for track in [VIDEO, AUDIO] {
            bench.packet(track, 0, 0);
        }
        bench.packet(AUDIO, 60_000, 60_000);
        bench.align.restart(VIDEO);
        bench.zero[VIDEO] = 3_000_000_000;
        assert_eq!(bench.packet(VIDEO, 0, 60_100), 60_100);
        // Its reports count as the first ones: audio is corrected at once, and at once anew for the next source.
        bench.report(VIDEO, 0, 60_000);
        bench.report(AUDIO, 60_000, 0);
        bench.packet(AUDIO, 60_100, 60_100);
        assert_eq!(bench.packet(AUDIO, 60_140, 60_140), 60_210);
        bench.align.restart(VIDEO);
        bench.zero[VIDEO] = 5;
        assert_eq!(bench.packet(VIDEO, 0, 60_140), 60_210);
        bench.report(VIDEO, 0, 60_140);
        assert_eq!(bench.packet(AUDIO, 60_160, 60_160), 60_230);
    }

    #[test]
    fn a_correction_under_way_changes_nothing_before_it_and_is_not_slowed() {
        let mut bench = Bench::new([5, 6]);
        bench.packet(VIDEO, 5000, 5000);
        assert_eq!(bench.packet(AUDIO, 10_000, 5000), 0);
        assert_eq!(bench.packet(AUDIO, 9900, 5000), -100);
        bench.report(VIDEO, 5000, 0);
        bench.report(AUDIO, 5000, 0);
        assert_eq!([9900, 10_000].map(|at| bench.packet(AUDIO, at, 5000)), [-100, 0]);
        // Measurements that differ while it lasts, 10 s.
        for at in [6000, 7000, 8000] {
            bench.report(VIDEO, at, 0);
            bench.report(AUDIO, at, 60);
            assert_eq!(bench.packet(AUDIO, at + 5000, at as u64), (at - 5000) * 3 / 2);
        }
        assert_eq!(bench.packet(AUDIO, 20_000, 15_000), 15_000);
        assert_eq!(bench.packet(AUDIO, 30_000, 25_000), 25_000);
    }

    #[test]
    fn ticks_count_on_over_wraps() {
        let mut clock = Clock::new();
        let timestamps = [u32::MAX - 1, 3, u32::MAX, 0x7fff_0000, 0xfffe_0000, 5];
        let ticks = timestamps.map(|timestamp| clock.ticks(timestamp));
        let turn = 1i64 << 32;
        let expected = [
            turn - 2,
            turn + 3,
            turn - 1,
            turn + 0x7fff_0000,
            turn + 0xfffe_0000,
            2 * turn + 5,
        ];
        assert_eq!(ticks, expected);
        assert_eq!(clock.near(4), 2 * turn + 4);
        assert_eq!(clock.last(), Some(2 * turn + 5));
        // Before the first one, near 0.
        let mut clock = Clock::new();
        assert_eq!([3, u32::MAX].map(|timestamp| clock.ticks(timestamp)), [3, -1]);
    }

    #[test]
    fn reports_tell_the_wall_clock() {
        let mut sync = Sync::new(90_000);
        assert_eq!(sync.to_ntp(5), None);
        sync.sender_report(NtpTime::from_unix_micros(NTP), 1 << 33);
        sync.sender_report(NtpTime(0), 7);
        let time = sync.to_ntp((1 << 33) - 45_000).unwrap();
        assert_eq!(time.to_unix_micros(), NTP - 500_000);
    }

    proptest! {
        #[test]
        fn a_turn_of_the_timestamps_is_not_seen(
            zero: [u32; 2], jitter in prop::collection::vec(0u64..50, 200), begin in -2000i64..2000, synced: bool,
        ) {
            let mut bench = Bench::new(zero);
            let mut plain = Bench::new([1 << 30, 1 << 30]);
            for bench in [&mut bench, &mut plain] {
                for track in [VIDEO, AUDIO].into_iter().filter(|_| synced) {
                    bench.report(track, begin, 0);
                }
            }
            for (n, jitter) in jitter.iter().enumerate() {
                // Steps of 10 s: several turns of 2^32 ticks.
                let at = begin + n as i64 * 10_000 + 5_000;
                for track in [VIDEO, AUDIO] {
                    let arrival = n as u64 * 10_000 + jitter * (track as u64 + 1);
                    let time = bench.packet(track, at, arrival);
                    prop_assert_eq!(time, plain.packet(track, at, arrival));
                    if synced {
                        prop_assert_eq!(time, n as i64 * 10_000);
                    }
                }
            }
        }

        #[test]
        fn times_do_not_go_back_whatever_the_reports_say(
            steps in prop::collection::vec((0usize..2, 0i64..3000, prop::option::of(-12_000i64..12_000)), 1..100),
        ) {
            let mut bench = Bench::new([1, 2]);
            let mut at = [0i64; 2];
            let mut last = [i64::MIN; 2];
            for (track, step, report) in steps {
                at[track] += step;
                if let Some(off) = report {
                    bench.report(track, at[track], off);
                }
                let time = bench.packet(track, at[track], at[track] as u64);
                prop_assert!(time >= last[track], "{} after {}", time, last[track]);
                last[track] = time;
            }
        }

        #[test]
        fn no_input_breaks_it(
            rates: [u32; 2], steps in prop::collection::vec((0usize..2, 0u8..5, any::<u32>(), any::<u64>()), 1..100),
        ) {
            let tracks = rates.map(|clock_rate| Track { clock_rate, leads: clock_rate % 2 == 0 });
            let mut align = Align::new(&tracks);
            let mut now = Instant::now();
            for (track, what, timestamp, number) in steps {
                now += Duration::from_micros(number >> 24);
                match what {
                    0 => align.anchor(track, timestamp),
                    1 => align.report(track, NtpTime(number), timestamp),
                    2 => { align.media_time(now, track, number as i64); }
                    3 if number % 4 == 0 => align.restart(track),
                    _ => { align.time(now, track, timestamp); }
                }
            }
        }
    }
}
