//! The frame ring: what a container that is attached now needs to begin with a key frame.

use crate::limits::{AUDIO_WINDOW, RingLimits};
use media::{Frame, MediaKind, MediaTime, Track, TrackId};
use std::collections::VecDeque;
use std::sync::Arc;

/// The tracks of a stream at one moment.
pub(crate) type Tracks = Arc<[Track]>;

/// Frames since the newest key frame of the leading video track; without video, those of the last [`AUDIO_WINDOW`].
///
/// A group of pictures that outgrows the limits is of no use without its front, so it is given up as a whole and the
/// next key frame starts anew.
pub(crate) struct Gop {
    limits: RingLimits,
    /// The tracks in force before `items[0]`.
    start: Tracks,
    /// The tracks in force after the last item.
    current: Tracks,
    items: VecDeque<Item>,
    frames: usize,
    bytes: usize,
    last_dts: MediaTime,
    /// The video track whose key frames begin groups: the first one.
    lead: Option<TrackId>,
    /// Frames are kept: there was a key frame, or none is needed.
    open: bool,
}

/// A frame, or new tracks between two frames.
pub(crate) enum Item {
    Frame(Frame),
    Tracks(Tracks),
}

impl Gop {
    pub fn new(limits: RingLimits) -> Self {
        let none: Tracks = Arc::new([]);
        Self {
            limits,
            start: none.clone(),
            current: none,
            items: VecDeque::new(),
            frames: 0,
            bytes: 0,
            last_dts: MediaTime::ZERO,
            lead: None,
            open: false,
        }
    }

    /// The tracks now.
    pub fn tracks(&self) -> &Tracks {
        &self.current
    }

    /// Forgets all frames and begins again with `tracks`.
    pub fn restart(&mut self, tracks: Tracks, trash: &mut Vec<Item>) {
        self.current = tracks;
        self.lead = lead(&self.current);
        self.clear(trash);
    }

    /// The tracks changed between two frames.
    pub fn set_tracks(&mut self, tracks: Tracks, trash: &mut Vec<Item>) {
        if lead(&tracks) != self.lead {
            self.restart(tracks, trash);
            return;
        }
        self.current = tracks.clone();
        if self.items.is_empty() {
            self.start = tracks;
        } else {
            self.items.push_back(Item::Tracks(tracks));
        }
    }

    fn clear(&mut self, trash: &mut Vec<Item>) {
        trash.extend(self.items.drain(..));
        self.start = self.current.clone();
        self.frames = 0;
        self.bytes = 0;
        self.open = self.lead.is_none();
    }

    /// Appends a frame. Returns the bytes that were dropped because of the limits.
    pub fn push(&mut self, frame: Frame, trash: &mut Vec<Item>) -> u64 {
        if frame.key && self.lead == Some(frame.track) {
            self.clear(trash);
            self.open = true;
        }
        if !self.open {
            return 0;
        }
        self.last_dts = frame.dts;
        self.bytes += frame.data.len();
        self.frames += 1;
        self.items.push_back(Item::Frame(frame));
        match self.lead {
            Some(_) if self.over_limits() => {
                let evicted = self.bytes as u64;
                self.clear(trash);
                evicted
            }
            Some(_) => 0,
            None => self.keep_window(trash),
        }
    }

    fn front_dts(&self) -> Option<MediaTime> {
        self.items.iter().find_map(|item| match item {
            Item::Frame(frame) => Some(frame.dts),
            Item::Tracks(_) => None,
        })
    }

    fn over_limits(&self) -> bool {
        let span = self
            .front_dts()
            .map_or(MediaTime::ZERO, |front| self.last_dts - front);
        self.frames > 1 && self.limits.exceeded(self.bytes, span, self.items.len())
    }

    /// Without video every frame can be decoded alone, so the oldest go one by one.
    fn keep_window(&mut self, trash: &mut Vec<Item>) -> u64 {
        let mut evicted = 0;
        loop {
            let too_much = self.over_limits();
            let old = self
                .front_dts()
                .is_some_and(|front| self.last_dts - front > AUDIO_WINDOW);
            if !(too_much || old) {
                return evicted;
            }
            match self.items.pop_front() {
                Some(Item::Frame(frame)) => {
                    self.frames -= 1;
                    self.bytes -= frame.data.len();
                    if !old {
                        evicted += frame.data.len() as u64;
                    }
                    trash.push(Item::Frame(frame));
                }
                Some(Item::Tracks(tracks)) => self.start = tracks,
                None => return evicted,
            }
        }
    }

    /// The tracks to begin with, and what followed.
    pub fn replay(&self) -> (&Tracks, impl Iterator<Item = &Item>) {
        (&self.start, self.items.iter())
    }
}

fn lead(tracks: &[Track]) -> Option<TrackId> {
    tracks
        .iter()
        .find(|track| track.kind() == MediaKind::Video)
        .map(|track| track.id)
}
