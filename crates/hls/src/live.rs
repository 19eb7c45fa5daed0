//! What was cut of a stream, as far as it is kept, and what viewers ask of it.

use crate::name::{Form, Name, stamp};
use crate::playlist::{self, Text};
use crate::segment::{Init, Part, Segment};
use crate::{MAX_SEGMENT, Options};
use bytes::Bytes;
use media::{MediaTime, Track};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The segments of one stream. Filled by its [`crate::Packager`], asked by any number of viewers.
///
/// Nothing here waits: what is not there yet is answered with [`Turn::Wait`], to be asked again after the next
/// [`crate::Change`].
#[derive(Debug)]
pub struct Live {
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Complete ones, the oldest first.
    pub segments: VecDeque<Arc<Segment>>,
    /// The one that is being filled.
    pub open: Option<OpenSegment>,
    /// Of the newest tracks.
    pub init: Option<Arc<Init>>,
    /// `EXT-X-TARGETDURATION` in seconds; 0 before the first segment.
    pub target: u64,
    /// `PART-TARGET`, once parts are cut.
    pub part_target: Option<MediaTime>,
    /// The first segment of the playlist, and that of the delayed one, by number. They never go back, even when the target
    /// duration grows and with it the least length of playlists (RFC 8216bis, 6.2.2).
    pub first: u64,
    pub first_delayed: u64,
    /// Discontinuities before the first segment that is kept.
    pub discontinuities: u64,
    pub ended: bool,
    /// Somebody watches, who may still want what left the playlist.
    watched: bool,
    /// Unix time of media time 0, in milliseconds.
    pub epoch: Option<i64>,
    /// Where the newest part or segment ends.
    edge: Option<MediaTime>,
    /// Bits per second of the heaviest segment so far.
    peak: u64,
    /// Texts of the present state.
    texts: Vec<(playlist::Kind, Arc<Text>)>,
}

/// What is listed of the segment that is being filled.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    /// When it begins, as in its name.
    pub start: u64,
    pub sequence: u64,
    pub parts: Vec<Arc<Part>>,
}

/// A request for a playlist (RFC 8216bis, section 6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// `_HLS_msn`: not before this segment is listed.
    pub sequence: Option<u64>,
    /// `_HLS_part`: not before this part of it is listed.
    pub part: Option<u64>,
    /// `_HLS_skip`: leave out what the player knows.
    pub skip: bool,
    /// The delayed playlist.
    pub delayed: bool,
}

/// An answer, or the advice to ask again after the next change.
#[derive(Clone, Debug)]
pub enum Turn<T> {
    /// Here it is.
    Ready(T),
    /// Not yet.
    Wait,
    /// There is no such thing, and none will come.
    Missing,
    /// What was asked for makes no sense (400); why.
    Invalid(&'static str),
}

impl Live {
    /// A stream of which nothing was cut yet.
    pub fn new(options: Options) -> Arc<Self> {
        let options = Options {
            listed: options.listed.max(1),
            ..options
        };
        Arc::new(Self {
            options,
            state: Mutex::default(),
        })
    }

    /// How it is cut and kept.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether nothing will come any more.
    pub fn ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Whether a segment is complete.
    pub fn has_segments(&self) -> bool {
        !self.state.lock().segments.is_empty()
    }

    /// Says whether somebody watches. While nobody does, segments are let go as soon as they leave the playlist.
    pub fn set_watched(&self, watched: bool) {
        self.state.lock().watched = watched;
    }

    /// The newest complete segment.
    pub fn newest(&self) -> Option<Arc<Segment>> {
        self.state.lock().segments.back().cloned()
    }

    /// The number of the oldest complete segment that is kept.
    pub fn oldest(&self) -> Option<u64> {
        self.state.lock().segments.front().map(|segment| segment.sequence)
    }

    /// The oldest complete segment whose number is at least `sequence`, as far as they are kept.
    pub fn next(&self, sequence: u64) -> Option<Arc<Segment>> {
        let state = self.state.lock();
        let mut segments = state.segments.iter();
        segments.find(|segment| segment.sequence >= sequence).cloned()
    }

    /// Complete segments whose number is at least `sequence`, as far as they are kept.
    pub fn since(&self, sequence: u64) -> Vec<Arc<Segment>> {
        let state = self.state.lock();
        let newer = |segment: &&Arc<Segment>| segment.sequence >= sequence;
        state.segments.iter().filter(newer).cloned().collect()
    }

    /// `EXT-X-TARGETDURATION`; before the first segment what it will be at least.
    pub fn target_duration(&self) -> Duration {
        Duration::from_secs(self.state.lock().target.max(self.least_target()))
    }

    /// Where the newest part or segment ends on the stream's time line.
    pub fn edge(&self) -> Option<MediaTime> {
        self.state.lock().edge
    }

    fn least_target(&self) -> u64 {
        seconds(self.options.segment)
    }

    /// Tells the wall clock's time, as time since 1970, right after a [`crate::Change`]; from it `EXT-X-PROGRAM-DATE-TIME` is made. A
    /// stream may begin with a burst of what is older, so the earliest beginning that was seen counts, until the
    /// first segment is listed.
    pub fn observe(&self, now: Duration) {
        let mut state = self.state.lock();
        let Some(edge) = state.edge else { return };
        if let Some(newest) = state.segments.back() {
            newest.observe(now);
        }
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let epoch = now.saturating_sub(edge.as_millis());
        match state.epoch {
            Some(known) if known <= epoch || !state.segments.is_empty() => {}
            Some(_) | None => state.epoch = Some(epoch),
        }
    }

    /// The tracks, once they are known.
    pub fn tracks(&self) -> Option<Arc<[Track]>> {
        self.state.lock().init.as_ref().map(|init| init.tracks.clone())
    }

    /// Bits per second: of the heaviest segment so far and on the average of those that are kept. `None` before the first segment.
    pub fn bandwidth(&self) -> Option<(u64, u64)> {
        let state = self.state.lock();
        let all: u64 = state.segments.iter().map(|segment| segment.bandwidth()).sum();
        let count = state.segments.len() as u64;
        (count > 0).then(|| (state.peak, all / count))
    }

    /// The media playlist in one form.
    pub fn playlist(&self, form: Form, reload: Reload) -> Turn<Arc<Text>> {
        let mut state = self.state.lock();
        let Some(last) = state.segments.back().map(|segment| segment.sequence) else {
            return if state.ended { Turn::Missing } else { Turn::Wait };
        };
        let carries = |segment: &Arc<Segment>| match form {
            Form::Ts => segment
                .init
                .tracks
                .iter()
                .any(|track| self.options.ts.carries(track.codec)),
            Form::Fmp4 => segment.init.bytes().is_some(),
        };
        if !state.segments.back().is_some_and(carries) {
            return Turn::Missing;
        }
        let low_latency = self.low_latency(form, &state) && !reload.delayed;
        if reload.delayed && !state.ended && state.segments.len() <= self.options.delay {
            return Turn::Wait;
        }
        if low_latency && !state.ended {
            match (reload.sequence, reload.part) {
                (None, Some(_)) => return Turn::Invalid("_HLS_part needs _HLS_msn"),
                (Some(sequence), _) if sequence > last + 2 => {
                    return Turn::Invalid("_HLS_msn is more than two segments ahead");
                }
                (Some(sequence), Some(part)) if state.far_ahead(sequence, part) => {
                    return Turn::Invalid(
                        "_HLS_part is more than three parts, or three seconds of parts, ahead",
                    );
                }
                (Some(sequence), part) if !state.lists(sequence, part) => return Turn::Wait,
                (Some(_) | None, _) => {}
            }
        }
        let kind = playlist::Kind {
            form,
            low_latency,
            skip: low_latency && reload.skip,
            delayed: reload.delayed,
        };
        if let Some((_, text)) = state.texts.iter().find(|(known, _)| *known == kind) {
            return Turn::Ready(text.clone());
        }
        let text = Arc::new(Text::new(playlist::media(&self.options, &state, kind)));
        state.texts.push((kind, text.clone()));
        Turn::Ready(text)
    }

    fn low_latency(&self, form: Form, state: &State) -> bool {
        form == Form::Fmp4 && self.options.part.is_some() && state.part_target.is_some()
    }

    /// What a name stands for, in pieces to be written one after the other. The part that players were told will come next is
    /// worth waiting for.
    pub fn find(&self, name: Name) -> Turn<Vec<Bytes>> {
        let found = match self.state.lock().find(name) {
            Turn::Ready(found) => found,
            Turn::Wait => return Turn::Wait,
            Turn::Missing => return Turn::Missing,
            Turn::Invalid(why) => return Turn::Invalid(why),
        };
        // Made without the lock: the publisher must not wait for a muxer.
        let pieces = match found {
            Found::Init(init) => init.bytes().cloned().into_iter().collect(),
            Found::Segment(segment, form) => segment.bytes(form),
            Found::Part(part) => part.fmp4().to_vec(),
        };
        if pieces.is_empty() {
            return Turn::Missing;
        }
        Turn::Ready(pieces)
    }

    pub(crate) fn set_init(&self, init: Arc<Init>) {
        let mut state = self.state.lock();
        state.init = Some(init);
        state.texts.clear();
    }

    pub(crate) fn set_part_target(&self, target: MediaTime) {
        self.state.lock().part_target = Some(target);
    }

    pub(crate) fn begin(&self, start: u64, sequence: u64) {
        let mut state = self.state.lock();
        state.open = Some(OpenSegment {
            start,
            sequence,
            parts: Vec::new(),
        });
        state.texts.clear();
    }

    pub(crate) fn add_part(&self, part: Arc<Part>) {
        let mut state = self.state.lock();
        state.edge = Some(part.start + part.duration);
        if let Some(open) = &mut state.open {
            open.parts.push(part);
        }
        state.texts.clear();
    }

    /// Adds a complete segment, and lets go of those that are too old. `next`: beginning and number of the one that follows.
    pub(crate) fn add_segment(&self, segment: Arc<Segment>, next: Option<(u64, u64)>) {
        let mut freed = Vec::new();
        let mut state = self.state.lock();
        state.texts.clear();
        state.open = next.map(|(start, sequence)| OpenSegment {
            start,
            sequence,
            parts: Vec::new(),
        });
        // It must not change once it was read. It does only if the publisher's key frames become rarer than they ever were.
        let length = seconds(segment.duration.min(MAX_SEGMENT + MAX_SEGMENT));
        state.target = state.target.max(self.least_target()).max(length);
        state.peak = state.peak.max(segment.bandwidth());
        state.segments.push_back(segment);
        let end = state.segments.len();
        let delayed_end = end.saturating_sub(self.options.delay);
        state.first = state.first.max(state.first_of(end, self.options.listed));
        let first_delayed = state.first_of(delayed_end, self.options.listed);
        state.first_delayed = state.first_delayed.max(first_delayed);
        let oldest = if self.options.delay > 0 {
            state.first.min(state.first_delayed)
        } else {
            state.first
        };
        let listed = state
            .segments
            .iter()
            .filter(|segment| segment.sequence >= oldest)
            .count();
        let retained = if state.watched { self.options.retained } else { 0 };
        let kept = listed + retained;
        while state.segments.len() > kept {
            if let Some(old) = state.segments.pop_front() {
                state.discontinuities += u64::from(old.discontinuity);
                freed.push(old);
            }
        }
        drop(state);
        drop(freed);
    }

    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.texts.clear();
        state.open = None;
        state.ended = true;
    }
}

enum Found {
    Init(Arc<Init>),
    Segment(Arc<Segment>, Form),
    Part(Arc<Part>),
}

impl State {
    /// The number of the first segment that a playlist of `least` segments lists if it ends before the one at `end`: more are listed
    /// while the playlist would otherwise be shorter than three target durations (RFC 8216bis, section 6.2.2).
    fn first_of(&self, end: usize, least: usize) -> u64 {
        let target = i64::try_from(self.target)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000);
        let mut length = MediaTime::ZERO;
        let mut first = 0;
        for (count, segment) in self.segments.iter().take(end).rev().enumerate() {
            if count >= least && length.as_micros() >= target.saturating_mul(3) {
                break;
            }
            length = length + segment.duration;
            first = segment.sequence;
        }
        first
    }

    /// Whether a part is farther ahead of the last one than the Advance Part Limit (RFC 8216bis, section 6.2.5.2): three parts, or as
    /// many as last three seconds.
    fn far_ahead(&self, sequence: u64, part: u64) -> bool {
        let Some(target) = self.part_target else {
            return false;
        };
        let Some(open) = self.open.as_ref().filter(|open| open.sequence == sequence) else {
            return false;
        };
        let target = target.as_micros().max(1);
        let limit = u64::try_from(3_000_000 / target)
            .unwrap_or(0)
            .saturating_add(1)
            .max(3);
        part >= (open.parts.len() as u64).saturating_add(limit)
    }

    /// Whether a playlist lists this segment, or this part of it. A part behind the last one of a segment is the first one of the
    /// next.
    fn lists(&self, sequence: u64, part: Option<u64>) -> bool {
        let Some(last) = self.segments.back().map(|segment| segment.sequence) else {
            return false;
        };
        let part = part.and_then(|part| usize::try_from(part).ok());
        if sequence < last {
            return true;
        }
        let open = self.open.as_ref();
        let open_parts = |wanted: u64, index: usize| {
            open.is_some_and(|open| open.sequence == wanted && open.parts.len() > index)
        };
        match part {
            None => sequence == last,
            Some(index) if sequence == last => {
                let count = self.segments.back().map_or(0, |segment| segment.parts.len());
                index < count || open_parts(last + 1, 0)
            }
            Some(index) => open_parts(sequence, index),
        }
    }

    fn find(&self, name: Name) -> Turn<Found> {
        let segment_at = |start: u64| {
            self.segments
                .iter()
                .rev()
                .find(|segment| stamp(segment.start) == start)
        };
        match name {
            Name::Init(_) => {
                let kept = self.segments.iter().map(|segment| &segment.init);
                let mut inits = self.init.iter().chain(kept);
                match inits.find(|init| init.name == name) {
                    Some(init) => Turn::Ready(Found::Init(init.clone())),
                    None => Turn::Missing,
                }
            }
            Name::Segment { form, start } => match segment_at(start) {
                Some(segment) => Turn::Ready(Found::Segment(segment.clone(), form)),
                None => Turn::Missing,
            },
            Name::Part { start, index } => {
                if let Some(segment) = segment_at(start) {
                    return match segment.parts.get(index) {
                        Some(part) => Turn::Ready(Found::Part(part.clone())),
                        None => Turn::Missing,
                    };
                }
                match &self.open {
                    Some(open) if open.start == start => match open.parts.get(index) {
                        Some(part) => Turn::Ready(Found::Part(part.clone())),
                        None if index == open.parts.len() => Turn::Wait,
                        None => Turn::Missing,
                    },
                    Some(_) | None => Turn::Missing,
                }
            }
        }
    }
}

/// Rounded to nearest, at least 1 (RFC 8216bis, section 4.4.3.1).
pub(crate) fn seconds(time: MediaTime) -> u64 {
    u64::try_from((time.as_micros().saturating_add(500_000)) / 1_000_000)
        .unwrap_or(0)
        .max(1)
}
