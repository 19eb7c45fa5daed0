//! One publisher's tracks and frames on their way to the stream: admission, timestamp repair, waiting for readiness.

use crate::gate::{Candidate, Declared, Gate, Wait};
use crate::gop::Tracks;
use crate::publisher::Admission;
use crate::silence::{self, Silence};
use crate::stream::TrackPolicy;
use media::stamp::Stamp;
use media::{Frame, MediaKind, MediaTime, Track, TrackId};
use std::collections::VecDeque;
use std::time::Instant;

/// Step from the last frame of the publisher before to the first of this one: one picture at 25 per second. Small, because a
/// gap in the time line stops players that buffer by time (Media Source Extensions), however long the break really was.
const RESUME_STEP: MediaTime = MediaTime::from_millis(40);

/// What one publisher has sent, from its first track to its end.
pub(crate) struct Session {
    policy: TrackPolicy,
    /// Bound of `cache` in bytes; its bound in frames is per track.
    max_cached_bytes: usize,
    tracks: Vec<Known>,
    opened: Option<Instant>,
    declared: Option<Declared>,
    live: bool,
    /// Frames that wait for readiness, in order of arrival.
    cache: VecDeque<Frame>,
    cached_bytes: usize,
    stamp: Stamp,
    resume: Option<Resume>,
    silence: Option<Silence>,
    /// Frames not accepted since last asked.
    dropped: u64,
    /// Jumps of the time line up to when last asked.
    jumps_told: u64,
}

struct Known {
    track: Track,
    added: Instant,
    data: bool,
    cached: usize,
    /// Video that cannot be decoded yet.
    awaiting_key: bool,
}

/// Moves the times of a publisher so that the stream's time line goes on where the one before left it.
#[derive(Clone, Copy)]
struct Resume {
    /// No frame may be before.
    earliest: MediaTime,
    /// What is added to all times; found with the first frame.
    shift: Option<MediaTime>,
}

impl Resume {
    /// Audio and video of a publisher do not begin together: a frame this much before the first one is raised to it. One that
    /// is even earlier belongs to a source whose tracks have clocks of their own, and whose times are kept as sent.
    const UNEVEN_START: MediaTime = MediaTime::from_millis(1000);

    fn apply(&mut self, frame: &mut Frame) {
        let shift = *self
            .shift
            .get_or_insert((self.earliest - frame.dts).max(MediaTime::ZERO));
        frame.dts = frame.dts + shift;
        frame.pts = frame.pts + shift;
        if frame.dts < self.earliest && self.earliest - frame.dts < Self::UNEVEN_START {
            frame.dts = self.earliest;
            frame.pts = frame.pts.max(frame.dts);
        }
    }
}

impl Session {
    /// `resume`: decoding time of the newest frame of the publisher before.
    pub fn new(policy: TrackPolicy, max_cached_bytes: usize, resume: Option<MediaTime>) -> Self {
        Self {
            policy,
            max_cached_bytes,
            tracks: Vec::new(),
            opened: None,
            declared: None,
            live: false,
            cache: VecDeque::new(),
            cached_bytes: 0,
            stamp: Stamp::new(policy.stamp),
            resume: resume.map(|last| Resume {
                earliest: last + RESUME_STEP,
                shift: None,
            }),
            silence: None,
            dropped: 0,
            jumps_told: 0,
        }
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Time of the first track or declaration.
    pub fn opened(&self) -> Option<Instant> {
        self.opened
    }

    pub fn declare(&mut self, now: Instant, video: bool, audio: bool) {
        self.opened.get_or_insert(now);
        let at = self.declared.map_or(now, |declared| declared.at);
        self.declared = Some(Declared { video, audio, at });
    }

    pub fn set_track(&mut self, now: Instant, track: Track) -> Admission {
        if track.kind() == MediaKind::Audio && !self.policy.enable_audio {
            return Admission::AudioDisabled;
        }
        if let Some(known) = self.tracks.iter_mut().find(|known| known.track.id == track.id) {
            if known.track == track {
                return Admission::Unchanged;
            }
            if known.track.codec != track.codec {
                known.awaiting_key = track.kind() == MediaKind::Video;
            }
            self.stamp.set_tracks(std::slice::from_ref(&track));
            known.track = track;
            return Admission::Changed;
        }
        if self.full() || track.id == silence::TRACK {
            return Admission::TooMany {
                max: self.policy.max_track,
            };
        }
        self.stamp.set_tracks(std::slice::from_ref(&track));
        self.opened.get_or_insert(now);
        let awaiting_key = track.kind() == MediaKind::Video;
        self.tracks.push(Known {
            track,
            added: now,
            data: false,
            cached: 0,
            awaiting_key,
        });
        Admission::Added
    }

    pub fn has_track(&self, id: TrackId) -> bool {
        self.tracks.iter().any(|known| known.track.id == id)
    }

    fn full(&self) -> bool {
        self.tracks.len() >= usize::from(self.policy.max_track)
    }

    /// Takes a frame. It is kept, dropped, or appended to `out` to be published.
    pub fn accept(&mut self, now: Instant, mut frame: Frame, out: &mut Vec<Frame>) {
        let Some(known) = self.tracks.iter_mut().find(|known| known.track.id == frame.track) else {
            self.dropped += 1;
            return;
        };
        known.data = true;
        self.stamp.repair(now, &mut frame);
        if let Some(resume) = &mut self.resume {
            resume.apply(&mut frame);
        }
        if self.live {
            self.release(frame, out);
        } else {
            self.keep(frame);
        }
    }

    fn keep(&mut self, frame: Frame) {
        let cached = self
            .tracks
            .iter()
            .find(|known| known.track.id == frame.track)
            .map_or(0, |known| known.cached);
        if cached >= self.policy.gate.cached_frames
            && let Some(oldest) = self.cache.iter().position(|kept| kept.track == frame.track)
        {
            self.forget(oldest);
        }
        self.count(&frame, 1);
        self.cache.push_back(frame);
        while self.cached_bytes > self.max_cached_bytes {
            self.forget(0);
        }
    }

    fn forget(&mut self, index: usize) {
        if let Some(frame) = self.cache.remove(index) {
            self.count(&frame, -1);
            self.dropped += 1;
        }
    }

    fn count(&mut self, frame: &Frame, by: isize) {
        if let Some(known) = self.tracks.iter_mut().find(|known| known.track.id == frame.track) {
            known.cached = known.cached.saturating_add_signed(by);
        }
        self.cached_bytes = self
            .cached_bytes
            .saturating_add_signed(by * frame.data.len() as isize);
    }

    fn release(&mut self, frame: Frame, out: &mut Vec<Frame>) {
        let lead = self
            .tracks
            .iter()
            .find(|known| known.track.kind() == MediaKind::Video && known.track.ready());
        let lead = lead.map(|known| known.track.id);
        let Some(known) = self.tracks.iter_mut().find(|known| known.track.id == frame.track) else {
            return;
        };
        if !known.track.ready() || (known.awaiting_key && !frame.key) {
            self.dropped += 1;
            return;
        }
        known.awaiting_key = false;
        if let Some(silence) = &mut self.silence
            && lead == Some(frame.track)
        {
            silence.fill(frame.dts, out);
        }
        out.push(frame);
    }

    /// What readiness waits for.
    pub fn wait(&self) -> Wait {
        let Some(opened) = self.opened else {
            return Wait::FirstTrack;
        };
        let tracks: Vec<_> = self
            .tracks
            .iter()
            .map(|known| Candidate {
                kind: known.track.kind(),
                ready: known.track.ready(),
                data: known.data,
                added: known.added,
            })
            .collect();
        Gate {
            limits: self.policy.gate,
            declared: self.declared,
            opened,
            tracks: &tracks,
            full: self.full(),
            audio: self.policy.enable_audio,
        }
        .wait()
    }

    /// The tracks to offer: those that are ready, and silence if there is only video.
    pub fn offered(&mut self) -> Tracks {
        let mut tracks: Vec<Track> = self
            .tracks
            .iter()
            .filter(|known| known.track.ready())
            .map(|known| known.track.clone())
            .collect();
        let has = |kind| tracks.iter().any(|track: &Track| track.kind() == kind);
        let wanted = self.policy.add_mute_audio && self.policy.enable_audio;
        if wanted && has(MediaKind::Video) && !has(MediaKind::Audio) {
            self.silence.get_or_insert_default();
            tracks.push(Silence::track());
        } else {
            self.silence = None;
        }
        tracks.into()
    }

    /// Waiting is over: the kept frames are appended to `out`. Call [`Self::offered`] first.
    pub fn go_live(&mut self, out: &mut Vec<Frame>) {
        self.live = true;
        self.cached_bytes = 0;
        for frame in std::mem::take(&mut self.cache) {
            self.release(frame, out);
        }
    }

    /// Jumps of the time line since the last call.
    pub fn take_jumps(&mut self) -> u64 {
        let jumps = self.stamp.jumps();
        jumps - std::mem::replace(&mut self.jumps_told, jumps)
    }

    /// Frames not accepted since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}
