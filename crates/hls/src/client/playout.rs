//! Frames of a source that come in heaps, given back one after the other when they are due, on one time line.

use super::step::Timeline;
use media::{Frame, MediaKind, MediaTime, Track, TrackId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much media of a lane is kept ahead of its time. Longer than three target durations of the longest that are in use (10 s), which
/// is what a live source names when it is entered.
pub const MAX_AHEAD: Duration = Duration::from_secs(30);

/// How many bytes of a lane are kept ahead of their time: 30 seconds at 8 Mbit/s.
pub const MAX_BUFFERED: usize = 32 << 20;

/// What is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Which kinds of tracks will come.
    TracksDeclared {
        /// Video.
        video: bool,
        /// Audio.
        audio: bool,
    },
    /// A track appeared or has changed.
    Track(Track),
    /// A frame.
    Frame(Frame),
}

/// The frames of a presentation on their way from its lanes: one for each media playlist, so one or two, sound of its own being the
/// second.
///
/// Times go on over a discontinuity: the new time line is shifted so that no track goes back and one of them goes on exactly one
/// frame later. All lanes share the shift of a time line.
#[derive(Debug)]
pub struct Playout {
    lanes: Vec<Lane>,
    queues: Vec<Queue>,
    /// Outputs that wait for nothing.
    ready: VecDeque<Output>,
    /// The shifts of the last time lines, in microseconds.
    shifts: VecDeque<(Line, i64)>,
    /// When a frame of this time is due. `None` before the first one.
    anchor: Option<(Instant, i64)>,
    /// Where the first lane begins. Sound of its own from before that is dropped.
    begin: Option<i64>,
    /// A live source that is further ahead is played a little faster.
    catch_up: Option<Duration>,
    /// The last time given back.
    last: i64,
}

/// A time line, and how often time jumped on it without being announced.
type Line = (Timeline, u32);

#[derive(Debug, Default)]
struct Lane {
    line: Option<Line>,
    /// `None` while the first frames of a time line are looked at.
    shift: Option<i64>,
    held: Vec<Frame>,
    /// What the numbers of the demuxer's tracks are here. `None`: not played.
    ids: Vec<(TrackId, Option<TrackId>)>,
    declared: Option<(bool, bool)>,
    ended: bool,
}

/// One track.
#[derive(Debug)]
struct Queue {
    lane: usize,
    kind: MediaKind,
    /// Which one of its kind in its lane.
    nth: usize,
    items: VecDeque<Item>,
    bytes: usize,
    /// The newest frame: its time, and its distance from the one before. On our time line, in microseconds.
    newest: Option<(i64, i64)>,
}

#[derive(Debug)]
enum Item {
    Track(Track),
    Frame(Frame),
}

impl Playout {
    /// Nothing yet. `live` is the target duration of a source that is made as we watch.
    pub fn new(lanes: usize, live: Option<Duration>) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            queues: Vec::new(),
            ready: VecDeque::new(),
            shifts: VecDeque::new(),
            anchor: None,
            begin: None,
            catch_up: live.map(|target| target.saturating_mul(MAX_TARGETS).min(MAX_AHEAD)),
            last: i64::MIN,
        }
    }

    /// What follows in the lane comes from a new demuxer.
    pub fn new_demuxer(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.ids.clear();
        }
    }

    /// The frames that follow in the lane are on this time line.
    pub fn timeline(&mut self, now: Instant, lane: usize, timeline: Timeline) {
        let Some(state) = self.lanes.get(lane) else { return };
        if state.line.is_none_or(|(known, _)| known != timeline) {
            self.settle(now, lane);
            self.change_line(lane, (timeline, 0));
        }
    }

    /// Which kinds of tracks will come in the lane.
    pub fn declared(&mut self, lane: usize, video: bool, audio: bool) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.declared = Some((video, audio));
        }
        let declared = || self.lanes.iter().filter_map(|lane| lane.declared);
        let video = declared().any(|(video, _)| video);
        let audio = self.lanes.len() > 1 || declared().any(|(_, audio)| audio);
        self.ready.push_back(Output::TracksDeclared { video, audio });
    }

    /// A track of the lane's demuxer appeared or has changed.
    pub fn track(&mut self, lane: usize, mut track: Track) {
        let Some(id) = self.id_of(lane, &track) else {
            return;
        };
        let Some(queue) = self.queues.get_mut(usize::from(id.0)) else {
            return;
        };
        track.id = id;
        queue.items.push_back(Item::Track(track));
    }

    /// A frame of the lane came.
    pub fn frame(&mut self, now: Instant, lane: usize, mut frame: Frame) {
        let Some(state) = self.lanes.get_mut(lane) else {
            return;
        };
        let known = state.ids.iter().find(|(id, _)| *id == frame.track);
        let Some((_, Some(id))) = known else { return };
        frame.track = *id;
        if self.jumps(lane, &frame) {
            let (timeline, jumps) = self.lanes[lane].line.unwrap_or_default();
            self.change_line(lane, (timeline, jumps.saturating_add(1)));
        }
        let line = self.lanes[lane].line.unwrap_or_default();
        let known = self.lanes[lane].shift;
        let shift = known.or_else(|| self.shared_shift(lane, line, &frame));
        match shift {
            Some(shift) => {
                self.lanes[lane].shift = Some(shift);
                self.release_held(now, lane, shift);
                self.queue(now, frame, shift);
            }
            None => {
                self.lanes[lane].held.push(frame);
                if self.is_settled(lane) {
                    self.settle(now, lane);
                }
            }
        }
    }

    /// Nothing more comes in the lane.
    pub fn ended(&mut self, now: Instant, lane: usize) {
        self.settle(now, lane);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.ended = true;
        }
    }

    /// What is due; `None` until [`Self::deadline`] or the next input.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if let Some(output) = self.ready.pop_front() {
            return Some(output);
        }
        for queue in &mut self.queues {
            if let Some(Item::Track(_)) = queue.items.front()
                && let Some(Item::Track(track)) = queue.items.pop_front()
            {
                return Some(Output::Track(track));
            }
        }
        if self.anchor.is_none() {
            self.start(now)?;
        }
        let at = self.first()?;
        let due = self.due(self.queues[at].head()?)?;
        if due > now {
            return None;
        }
        let queue = &mut self.queues[at];
        let Some(Item::Frame(frame)) = queue.items.pop_front() else {
            return None;
        };
        queue.bytes = queue.bytes.saturating_sub(frame.data.len());
        self.released(frame.dts.as_micros());
        Some(Output::Frame(frame))
    }

    /// When the next frame is due, after [`Self::poll`] gave `None`.
    pub fn deadline(&self) -> Option<Instant> {
        self.due(self.queues[self.first()?].head()?)
    }

    /// Whether the lane may bring more.
    pub fn has_room(&self, lane: usize) -> bool {
        let queues = || self.queues.iter().filter(|queue| queue.lane == lane);
        let bytes: usize = queues().map(|queue| queue.bytes).sum();
        let ahead = self.span(queues());
        bytes < MAX_BUFFERED && ahead < MAX_AHEAD.as_micros()
    }

    /// Whether there was a frame.
    pub fn has_media(&self) -> bool {
        self.queues.iter().any(|queue| queue.newest.is_some())
    }

    /// Whether everything was given back, and nothing more comes.
    pub fn is_over(&self) -> bool {
        let ended = self.lanes.iter().all(|lane| lane.ended && lane.held.is_empty());
        ended && self.ready.is_empty() && self.queues.iter().all(|queue| queue.items.is_empty())
    }

    /// Our number for a track: the same for tracks that have the same place in successive demuxers. Sound that is muxed with the
    /// picture is replaced by sound of its own.
    fn id_of(&mut self, lane: usize, track: &Track) -> Option<TrackId> {
        let kind = track.kind();
        let replaced = self.lanes.len() > 1 && (kind == MediaKind::Audio) != (lane == 1);
        let state = self.lanes.get_mut(lane)?;
        if let Some((_, id)) = state.ids.iter().find(|(id, _)| *id == track.id) {
            return *id;
        }
        let of_kind = |(_, id): &&(TrackId, Option<TrackId>)| {
            let queue = id.and_then(|id| self.queues.get(usize::from(id.0)));
            queue.is_some_and(|queue| queue.kind == kind)
        };
        let nth = state.ids.iter().filter(of_kind).count();
        let place = |queue: &Queue| (queue.lane, queue.kind, queue.nth) == (lane, kind, nth);
        let at = match self.queues.iter().position(place) {
            _ if replaced => None,
            Some(at) => Some(at),
            None if self.queues.len() < MAX_TRACKS => {
                self.queues.push(Queue {
                    lane,
                    kind,
                    nth,
                    items: VecDeque::new(),
                    bytes: 0,
                    newest: None,
                });
                Some(self.queues.len() - 1)
            }
            None => None,
        };
        let id = at.and_then(|at| u8::try_from(at).ok()).map(TrackId);
        if state.ids.len() < MAX_IDS {
            state.ids.push((track.id, id));
        }
        id
    }

    /// Whether time jumps though the source does not say so: an encoder that was started anew behind a packager that went on.
    fn jumps(&self, lane: usize, frame: &Frame) -> bool {
        let Some(shift) = self.lanes.get(lane).and_then(|lane| lane.shift) else {
            return false;
        };
        let newest = self
            .queues
            .get(usize::from(frame.track.0))
            .and_then(|queue| queue.newest);
        newest.is_some_and(|(newest, _)| {
            let step = shifted(frame.dts, shift).saturating_sub(newest);
            !(-MAX_BACK..=MAX_GAP).contains(&step)
        })
    }

    fn change_line(&mut self, lane: usize, line: Line) {
        // Times are as the first time line has them.
        if self.shifts.is_empty() {
            self.shifts.push_back((line, 0));
        }
        if let Some(state) = self.lanes.get_mut(lane) {
            (state.line, state.shift) = (Some(line), None);
        }
    }

    /// The shift that a time line has already. The times of MPEG-TS begin anew every 26.5 hours; a lane that was entered behind that
    /// point, when another was before it, is moved to it.
    fn shared_shift(&self, lane: usize, line: Line, frame: &Frame) -> Option<i64> {
        let shift = find(&self.shifts, line)?;
        let others = self.queues.iter().filter(|queue| queue.lane != lane);
        let newest = others
            .filter_map(|queue| queue.newest)
            .map(|(time, _)| time)
            .max();
        let apart = newest.map_or(0, |newest| shifted(frame.dts, shift).saturating_sub(newest));
        Some(if apart > TS_PERIOD / 2 {
            shift.saturating_sub(TS_PERIOD)
        } else if apart < -TS_PERIOD / 2 {
            shift.saturating_add(TS_PERIOD)
        } else {
            shift
        })
    }

    /// Whether all tracks of before have begun on the new time line, or it is no use to wait for them.
    fn is_settled(&self, lane: usize) -> bool {
        let held = &self.lanes[lane].held;
        let mut known = self
            .queues
            .iter()
            .zip(0u8..)
            .filter(|(queue, _)| queue.lane == lane && queue.newest.is_some());
        let has_begun = |id: u8| held.iter().any(|frame| frame.track == TrackId(id));
        let times = held.iter().map(|frame| frame.dts.as_micros());
        let span = match (times.clone().min(), times.max()) {
            (Some(min), Some(max)) => max.saturating_sub(min),
            _ => 0,
        };
        known.all(|(_, id)| has_begun(id)) || span > MAX_SETTLING || held.len() >= MAX_HELD
    }

    /// Decides about the shift of the lane's time line from the frames that are held.
    fn settle(&mut self, now: Instant, lane: usize) {
        let Some(state) = self.lanes.get(lane) else { return };
        let Some(first) = state.held.first() else { return };
        let line = state.line.unwrap_or_default();
        let shift = match self.shared_shift(lane, line, first) {
            Some(shift) => shift,
            None => {
                let shift = self.joining_shift(lane);
                if self.shifts.len() == MAX_SHIFTS {
                    self.shifts.pop_front();
                }
                self.shifts.push_back((line, shift));
                shift
            }
        };
        self.lanes[lane].shift = Some(shift);
        self.release_held(now, lane, shift);
    }

    /// The shift with which no track of the lane goes back.
    fn joining_shift(&self, lane: usize) -> i64 {
        let held = &self.lanes[lane].held;
        let begin = |id: u8| {
            let times = held.iter().filter(|frame| frame.track == TrackId(id));
            times.map(|frame| frame.dts.as_micros()).min()
        };
        let queues = || {
            self.queues
                .iter()
                .zip(0u8..)
                .filter(|(queue, _)| queue.lane == lane)
        };
        let end = |queue: &Queue| queue.newest.map(|(time, step)| time.saturating_add(step));
        let joins = queues().filter_map(|(queue, id)| Some(end(queue)?.saturating_sub(begin(id)?)));
        // Tracks that were not there before go on where the others have ended; a lane's first, where the others are.
        let ends = queues().filter_map(|(queue, _)| end(queue)).max();
        let begins = held.iter().map(|frame| frame.dts.as_micros()).min();
        let after = ends.zip(begins).map(|(end, begin)| end.saturating_sub(begin));
        let others = self.shifts.back().map(|(_, shift)| *shift);
        joins.max().or(after).or(others).unwrap_or(0)
    }

    fn release_held(&mut self, now: Instant, lane: usize, shift: i64) {
        for frame in std::mem::take(&mut self.lanes[lane].held) {
            self.queue(now, frame, shift);
        }
    }

    fn queue(&mut self, now: Instant, mut frame: Frame, shift: i64) {
        let (dts, pts) = (shifted(frame.dts, shift), shifted(frame.pts, shift));
        let starved = self.queues.iter().all(|queue| queue.items.is_empty());
        if let Some((since, at)) = self.anchor.filter(|_| starved) {
            // It should have been there: from here on everything is that much later.
            let late = self
                .due(dts)
                .map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
            self.anchor = Some((since + late, at));
        }
        let Some(queue) = self.queues.get_mut(usize::from(frame.track.0)) else {
            return;
        };
        if queue.lane != 0 && self.begin.is_some_and(|begin| dts < begin) {
            return;
        }
        (frame.dts, frame.pts) = (MediaTime::from_micros(dts), MediaTime::from_micros(pts));
        let step = match queue.newest {
            Some((before, step)) if dts <= before => step,
            Some((before, _)) => dts.saturating_sub(before).min(MAX_STEP),
            None => 0,
        };
        let newest = queue.newest.map_or(dts, |(before, _)| before.max(dts));
        queue.newest = Some((newest, step));
        queue.bytes = queue.bytes.saturating_add(frame.data.len());
        queue.items.push_back(Item::Frame(frame));
    }

    /// Begins with the first frame of the first lane.
    fn start(&mut self, now: Instant) -> Option<()> {
        let main = self.lanes.first().is_none_or(|lane| lane.ended);
        let heads = self.queues.iter().filter(|queue| main || queue.lane == 0);
        let begin = heads.filter_map(Queue::head).min()?;
        for queue in self.queues.iter_mut().filter(|queue| queue.lane != 0) {
            while let Some(Item::Frame(frame)) = queue.items.front()
                && frame.dts.as_micros() < begin
            {
                queue.bytes = queue.bytes.saturating_sub(frame.data.len());
                queue.items.pop_front();
            }
        }
        (self.anchor, self.begin) = (Some((now, begin)), Some(begin));
        Some(())
    }

    /// The queue with the frame that is due first.
    fn first(&self) -> Option<usize> {
        let heads = self.queues.iter().enumerate();
        let heads = heads.filter_map(|(at, queue)| Some((queue.head()?, at)));
        heads.min().map(|(_, at)| at)
    }

    fn due(&self, time: i64) -> Option<Instant> {
        let (since, at) = self.anchor?;
        let offset = time.saturating_sub(at);
        let length = Duration::from_micros(offset.unsigned_abs()).min(MAX_WAIT);
        if offset < 0 {
            since.checked_sub(length).or(Some(since))
        } else {
            since.checked_add(length)
        }
    }

    fn released(&mut self, time: i64) {
        let step = time.saturating_sub(self.last);
        self.last = self.last.max(time);
        let (Some(catch_up), Some((since, at))) = (self.catch_up, self.anchor) else {
            return;
        };
        if self.span(self.queues.iter()) > catch_up.as_micros() && (0..MAX_STEP).contains(&step) {
            self.anchor = Some((since, at.saturating_add(step / CATCH_UP)));
        }
    }

    /// How much media is kept in these queues, in microseconds.
    fn span<'a>(&self, queues: impl Iterator<Item = &'a Queue> + Clone) -> u128 {
        let oldest = queues.clone().filter_map(Queue::head).min();
        let filled = queues.filter(|queue| queue.head().is_some());
        let newest = filled
            .filter_map(|queue| queue.newest)
            .map(|(time, _)| time)
            .max();
        let span = newest
            .zip(oldest)
            .map(|(newest, oldest)| newest.saturating_sub(oldest));
        span.and_then(|span| u128::try_from(span).ok()).unwrap_or(0)
    }
}

impl Queue {
    /// The time of the next frame.
    fn head(&self) -> Option<i64> {
        match self.items.front()? {
            Item::Frame(frame) => Some(frame.dts.as_micros()),
            Item::Track(_) => self.items.iter().find_map(|item| match item {
                Item::Frame(frame) => Some(frame.dts.as_micros()),
                Item::Track(_) => None,
            }),
        }
    }
}

fn find(shifts: &VecDeque<(Line, i64)>, line: Line) -> Option<i64> {
    shifts
        .iter()
        .find(|(known, _)| *known == line)
        .map(|(_, shift)| *shift)
}

fn shifted(time: MediaTime, shift: i64) -> i64 {
    time.as_micros().saturating_add(shift)
}

/// Tracks of one presentation.
const MAX_TRACKS: usize = 32;
/// Numbers that a demuxer may give to tracks.
const MAX_IDS: usize = 64;
/// Time lines whose shifts are remembered; lanes are seconds apart, not more discontinuities.
const MAX_SHIFTS: usize = 16;
/// Step backwards that is no jump: reordering between packets, which timestamp repair evens out.
const MAX_BACK: i64 = 500_000;
/// Step forward that is no jump. Missing segments leave gaps that are real.
const MAX_GAP: i64 = 30_000_000;
/// Step that can be one frame's duration.
const MAX_STEP: i64 = 10_000_000;
/// After this the times of MPEG-TS begin anew: 2^33 ticks of 90 kHz.
const TS_PERIOD: i64 = 95_443_717_689;
/// How much media of a new time line is looked at for tracks that were there before.
const MAX_SETTLING: i64 = 1_000_000;
/// The same in frames.
const MAX_HELD: usize = 512;
/// Live sources are entered three target durations from their end; a segment comes while one is played.
const MAX_TARGETS: u32 = 5;
/// How much faster a source is played that is too far ahead: by 5 %, which is not seen.
const CATCH_UP: i64 = 20;
/// Longest wait for one frame.
const MAX_WAIT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
