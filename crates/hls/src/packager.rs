//! Cutting frames into segments and parts.

use crate::live::Live;
use crate::name::stamp;
use crate::segment::{Beginning, Init, Part, Segment, lead};
use crate::{MAX_SEGMENT, Options};
use container::ts;
use media::{Frame, MediaTime, Mux, Packet, Track, TrackId};
use std::sync::Arc;

/// What is new for those who watch a [`Live`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A part was added; also the last one of a segment.
    Part,
    /// A segment was added.
    Segment {
        /// It is the first one.
        first: bool,
    },
    /// Nothing will come any more.
    Ended,
}

/// Told what is new, in the publisher's task: it must be quick and must not block.
pub type OnChange = Box<dyn Fn(Change) + Send>;

/// Cuts the frames of one stream. In the hub it takes the place of a muxer, though it gives no packets: what it makes is in its
/// [`Live`], where viewers come and go as they please. When it is dropped, the live playlist ends.
///
/// **Where segments end.** The time line is divided into slots of `segment` length, and a key frame ends a segment if it is in
/// another slot than the segment's beginning. Slots begin a quarter early, so that key frames at every multiple of
/// the length may be a little early or late. Only the time line decides: servers that began at different moments cut alike.
pub struct Packager {
    live: Arc<Live>,
    on_change: OnChange,
    /// Counts the packets of MPEG-TS as if they were made.
    ts: ts::Muxer,
    init: Option<Arc<Init>>,
    lead: Option<TrackId>,
    /// The leading track is video.
    video: bool,
    /// New tracks, in force from the next key frame on.
    pending: Option<Arc<[Track]>>,
    open: Option<Open>,
    next_sequence: Option<u64>,
    /// Distance of the last two frames of the leading track.
    step: MediaTime,
    last: Option<MediaTime>,
    /// The next segment does not continue the one before.
    discontinuity: bool,
    /// How parts are cut; settled by the frames of the first segment.
    parts: Option<PartLength>,
}

/// How parts are cut.
#[derive(Clone, Copy)]
struct PartLength {
    /// Their length, in whole frames.
    length: MediaTime,
    /// Half the distance of frames: their times are rounded on their way.
    tolerance: MediaTime,
}

/// The segment that is being filled.
struct Open {
    beginning: Beginning,
    parts: Vec<Arc<Part>>,
    part_start: MediaTime,
    part_independent: bool,
    frames: Vec<Frame>,
    payload: usize,
}

impl Packager {
    /// A packager that fills `live`.
    pub fn new(live: Arc<Live>, on_change: OnChange) -> Self {
        let ts = ts::Muxer::new(live.options().ts);
        Self {
            live,
            on_change,
            ts,
            init: None,
            lead: None,
            video: false,
            pending: None,
            open: None,
            next_sequence: None,
            step: MediaTime::ZERO,
            last: None,
            discontinuity: false,
            parts: None,
        }
    }

    fn options(&self) -> &Options {
        self.live.options()
    }

    /// A frame of the leading track: does something end before it?
    fn look(&mut self, frame: &Frame) {
        let time = frame.dts;
        if let Some(last) = self.last
            && time > last
        {
            self.step = time - last;
        }
        self.last = Some(time);
        let Some(open) = &self.open else {
            if frame.key {
                self.begin(frame);
            }
            return;
        };
        let start = open.beginning.start;
        let options = self.options();
        let first = self.video && options.first_gop && !self.live.has_segments();
        let due =
            frame.key && (self.pending.is_some() || first || options.slot_of(time) > options.slot_of(start));
        let over = time - start >= MAX_SEGMENT || open.payload >= options.max_segment_bytes;
        if (due || over) && time > start {
            self.finish(time, Some(time));
            self.begin(frame);
        } else if self.ends_part(time) {
            self.cut_part(time, frame.key);
            (self.on_change)(Change::Part);
        }
    }

    /// Whether the part that is being filled would become too long with a frame of the leading track at this time.
    fn ends_part(&self, time: MediaTime) -> bool {
        let (Some(open), Some(parts)) = (&self.open, self.parts) else {
            return false;
        };
        time - open.part_start + parts.tolerance > parts.length
    }

    /// Settles how parts are cut, and cuts the first segment that way, which nobody could see before it was complete.
    ///
    /// Parts last as many whole frames as come closest to what was asked for, since each part but the last of a segment has to last
    /// at least 85 % of the target (RFC 8216bis, 4.4.4.9). The distance of frames is taken on the average of the segment: single
    /// ones are rounded to milliseconds by RTMP, and servers that began at different moments must agree.
    fn settle_parts(&mut self, end: MediaTime) {
        let (Some(wanted), None) = (self.options().part, self.parts) else {
            return;
        };
        let Some(open) = &mut self.open else { return };
        let lead = self.lead;
        let count = open
            .frames
            .iter()
            .filter(|frame| lead == Some(frame.track))
            .count();
        let span = (end - open.beginning.start).as_micros();
        let step = (span / i64::try_from(count).unwrap_or(i64::MAX).max(1)).max(1);
        // Rates of frames at which the nearest count would hang by a thread (7.5, 12.5 per second at 200 ms) are common ones, so the
        // scales are tipped a little.
        let frames = (wanted.as_micros().saturating_add(step / 20 * 11) / step).max(1);
        let length = frames.saturating_mul(step);
        self.parts = Some(PartLength {
            length: MediaTime::from_micros(length),
            tolerance: MediaTime::from_micros(step / 2),
        });
        // A part may last 85 to 100 % of the target. With 8 % more than whole frames need, there is as much room for late frames
        // as for early ones.
        let target = length.saturating_add(length / 25 * 2);
        // Whole milliseconds: what is said of three times this is three times what is said of this.
        let target = target.saturating_add(999) / 1000 * 1000;
        self.live.set_part_target(MediaTime::from_micros(target));
        for frame in std::mem::take(&mut open.frames) {
            if lead == Some(frame.track) && self.ends_part(frame.dts) {
                self.cut_part(frame.dts, frame.key);
            }
            if let Some(open) = &mut self.open {
                open.frames.push(frame);
            }
        }
    }

    fn begin(&mut self, frame: &Frame) {
        if let Some(tracks) = self.pending.take() {
            self.adopt(tracks, Some(frame.dts));
            if self.lead != Some(frame.track) {
                return; // it begins with a frame of the new leading track
            }
        }
        let Some(init) = self.init.clone() else { return };
        let sequence = *self
            .next_sequence
            .get_or_insert_with(|| u64::try_from(self.live.options().slot_of(frame.dts)).unwrap_or(0));
        self.next_sequence = Some(sequence + 1);
        let beginning = Beginning {
            sequence,
            start: frame.dts,
            independent: frame.key,
            discontinuity: std::mem::take(&mut self.discontinuity),
            init,
            muxer: self.ts.clone(),
        };
        self.ts.skip_tables();
        self.live.begin(stamp(frame.dts), sequence);
        self.open = Some(Open {
            beginning,
            parts: Vec::new(),
            part_start: frame.dts,
            part_independent: frame.key,
            frames: Vec::new(),
            payload: 0,
        });
    }

    /// Ends the part that is being filled. `key`: the next one begins with a key frame.
    fn cut_part(&mut self, end: MediaTime, key: bool) {
        let Some(open) = &mut self.open else { return };
        let part = Arc::new(Part::new(
            open.part_start,
            end,
            open.part_independent,
            std::mem::take(&mut open.frames),
            open.beginning.init.clone(),
        ));
        open.parts.push(part.clone());
        open.part_start = end;
        open.part_independent = key;
        self.live.add_part(part);
    }

    /// Ends the segment that is being filled. The next one begins at `next`, if that is known: players are told at once where its
    /// first part will be.
    fn finish(&mut self, end: MediaTime, next: Option<MediaTime>) {
        self.settle_parts(end);
        self.cut_part(end, false);
        if !self.live.has_segments() {
            // The time of day is noted before anybody sees a segment: its date must not change.
            (self.on_change)(Change::Part);
        }
        let Some(open) = self.open.take() else { return };
        let first = !self.live.has_segments();
        let segment = Segment::new(open.beginning, end, open.parts);
        let next = next.map(|start| (stamp(start), segment.sequence + 1));
        self.live.add_segment(Arc::new(segment), next);
        (self.on_change)(Change::Segment { first });
    }

    /// Ends it where its last frame ends.
    fn finish_at_once(&mut self) {
        let Some(open) = &self.open else { return };
        let last = self.last.unwrap_or(open.part_start);
        let end = last + self.step;
        if end > open.part_start {
            self.finish(end, None);
        } else {
            self.open = None;
        }
    }

    /// Puts tracks in force.
    fn adopt(&mut self, tracks: Arc<[Track]>, since: Option<MediaTime>) {
        let mut packets = Vec::new();
        self.ts.set_tracks(&tracks, &mut packets);
        self.lead = lead(&tracks);
        self.video = tracks.iter().any(|track| track.video().is_some());
        self.discontinuity = self.init.is_some();
        let since = since.filter(|_| self.init.is_some());
        let init = Arc::new(Init::new(since, tracks));
        self.live.set_init(init.clone());
        self.init = Some(init);
    }
}

impl Mux for Packager {
    /// New tracks are in force from the next key frame on, unless the leading track is gone, for whose key frame one would wait in
    /// vain.
    fn set_tracks(&mut self, tracks: &[Track], _out: &mut Vec<Packet>) {
        // What a publisher said of its own packets is of no interest here, and must not look like a change.
        let tracks: Arc<[Track]> = tracks
            .iter()
            .map(|track| Track {
                wire: None,
                ..track.clone()
            })
            .collect();
        let same = |init: &Arc<Init>| init.tracks == tracks;
        if self.init.as_ref().is_some_and(same) {
            self.pending = None;
            return;
        }
        let stays = self.open.is_some() && lead(&tracks) == self.lead;
        if stays {
            self.pending = Some(tracks);
            return;
        }
        self.finish_at_once();
        self.pending = None;
        if !tracks.is_empty() {
            let since = self.last.map(|last| last + self.step);
            self.last = None;
            self.adopt(tracks, since);
        }
    }

    fn preamble(&self) -> Vec<Packet> {
        Vec::new()
    }

    fn write(&mut self, frame: &Frame, _out: &mut Vec<Packet>) {
        if self.lead == Some(frame.track) {
            self.look(frame);
        }
        let Some(open) = &mut self.open else { return };
        self.ts.skip(frame);
        open.payload += frame.data.len();
        open.frames.push(Frame {
            wire: None,
            ..frame.clone()
        });
    }
}

impl Drop for Packager {
    fn drop(&mut self) {
        self.finish_at_once();
        self.live.end();
        (self.on_change)(Change::Ended);
    }
}
