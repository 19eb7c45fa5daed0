//! Segments and parts: frames, and the bytes that are made of them when somebody asks.

use crate::name::{Form, Name, stamp};
use bytes::{Bytes, BytesMut};
use container::{mp4, ts};
use media::{Frame, MediaTime, Track, TrackId};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The tracks that segments are made of, and what fMP4 players need of them first.
#[derive(Debug)]
pub struct Init {
    /// What playlists call it.
    pub name: Name,
    /// The tracks.
    pub tracks: Arc<[Track]>,
    bytes: OnceLock<Option<Bytes>>,
}

impl Init {
    /// Of these tracks, in force from `since` on; `None` for the first ones of a stream.
    pub fn new(since: Option<MediaTime>, tracks: Arc<[Track]>) -> Self {
        Self {
            name: Name::Init(since.map(stamp)),
            tracks,
            bytes: OnceLock::new(),
        }
    }

    /// The initialization segment; `None` if MP4 can carry none of the tracks.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.bytes.get_or_init(|| mp4::init(&self.tracks)).as_ref()
    }
}

/// A piece of a segment, as low-latency players fetch it. A segment without low latency is one part.
#[derive(Debug)]
pub struct Part {
    /// Decoding time of its first frame of the leading track.
    pub start: MediaTime,
    /// Up to the beginning of the next part.
    pub duration: MediaTime,
    /// It begins with a key frame.
    pub independent: bool,
    frames: Vec<Frame>,
    payload: usize,
    init: Arc<Init>,
    fmp4: OnceLock<Arc<[Bytes]>>,
}

impl Part {
    pub(crate) fn new(
        start: MediaTime,
        end: MediaTime,
        independent: bool,
        frames: Vec<Frame>,
        init: Arc<Init>,
    ) -> Self {
        Self {
            start,
            duration: end - start,
            independent,
            payload: frames.iter().map(|frame| frame.data.len()).sum(),
            frames,
            init,
            fmp4: OnceLock::new(),
        }
    }

    /// Its bytes in fMP4, in pieces to be written one after the other: the frames themselves are not copied.
    pub fn fmp4(&self) -> &Arc<[Bytes]> {
        self.fmp4.get_or_init(|| {
            let by_track: Vec<(&Track, Vec<&Frame>)> = self
                .init
                .tracks
                .iter()
                .map(|track| (track, self.of_track(track.id)))
                .filter(|(_, frames)| !frames.is_empty())
                .collect();
            let runs: Vec<mp4::Run<'_>> = by_track
                .iter()
                .map(|(track, frames)| mp4::Run {
                    track,
                    frames,
                    end: self.end_of(track, frames),
                })
                .collect();
            let mut out = Vec::with_capacity(1 + self.frames.len());
            // Numbers of fragments grow along the time line; taken from it, they are the same on every server.
            mp4::fragment(sequence(self.start), &runs, &mut out);
            out.into()
        })
    }

    fn of_track(&self, id: TrackId) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.track == id).collect()
    }

    /// When the frame after the last one is due: for the leading track the part's end, for others as far as can be told.
    fn end_of(&self, track: &Track, frames: &[&Frame]) -> MediaTime {
        let leads = self.init.lead() == Some(track.id);
        let last = frames.last().map_or(self.start, |frame| frame.dts);
        if leads {
            return (self.start + self.duration).max(last);
        }
        let by_content = frames
            .last()
            .and_then(|frame| mp4::duration_by_content(track, frame));
        let before = frames.len().checked_sub(2).and_then(|index| frames.get(index));
        let by_times = || before.map_or(MediaTime::ZERO, |frame| last - frame.dts);
        last + by_content.unwrap_or_else(by_times)
    }

    /// Bytes of payload.
    pub fn payload(&self) -> usize {
        self.payload
    }
}

impl Init {
    /// The track that segments are cut by: the first video track, or else the first one.
    pub fn lead(&self) -> Option<TrackId> {
        lead(&self.tracks)
    }
}

/// See [`Init::lead`].
pub(crate) fn lead(tracks: &[Track]) -> Option<TrackId> {
    let video = tracks.iter().find(|track| track.video().is_some());
    video.or(tracks.first()).map(|track| track.id)
}

/// A number for a fragment that begins then (`mfhd`; ISO/IEC 14496-12, 8.8.5): it grows with time, wrapping after 49 days.
fn sequence(start: MediaTime) -> u32 {
    (stamp(start) & u64::from(u32::MAX)) as u32
}

/// A whole segment.
#[derive(Debug)]
pub struct Segment {
    /// Media sequence number.
    pub sequence: u64,
    /// Decoding time of its first frame of the leading track.
    pub start: MediaTime,
    /// Up to the beginning of the next one.
    pub duration: MediaTime,
    /// It begins with a key frame.
    pub independent: bool,
    /// It does not continue the one before: the tracks changed.
    pub discontinuity: bool,
    /// Its parts, at least one.
    pub parts: Vec<Arc<Part>>,
    /// Its tracks.
    pub init: Arc<Init>,
    /// The state of the MPEG-TS muxer where it begins.
    muxer: ts::Muxer,
    ts: OnceLock<Bytes>,
    /// When it was complete, as time since 1970.
    completed: OnceLock<Duration>,
}

/// Where a segment begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub sequence: u64,
    pub start: MediaTime,
    pub independent: bool,
    pub discontinuity: bool,
    pub init: Arc<Init>,
    pub muxer: ts::Muxer,
}

impl Segment {
    pub(crate) fn new(beginning: Beginning, end: MediaTime, parts: Vec<Arc<Part>>) -> Self {
        let Beginning {
            sequence,
            start,
            independent,
            discontinuity,
            init,
            muxer,
        } = beginning;
        Self {
            sequence,
            start,
            duration: end - start,
            independent,
            discontinuity,
            parts,
            init,
            muxer,
            ts: OnceLock::new(),
            completed: OnceLock::new(),
        }
    }

    /// Tells when it was complete; what was told first counts.
    pub(crate) fn observe(&self, now: Duration) {
        self.completed.get_or_init(|| now);
    }

    /// When it began by the wall clock, as time since 1970: its length before it was complete. Unlike `EXT-X-PROGRAM-DATE-TIME` this
    /// does not drift if the sender's clock does. `None` until [`crate::Live::observe`] was called after it.
    pub fn began(&self) -> Option<Duration> {
        let length = Duration::from_micros(u64::try_from(self.duration.as_micros()).unwrap_or(0));
        self.completed.get().map(|end| end.saturating_sub(length))
    }

    /// Its bytes, in pieces to be written one after the other. Made on the first call.
    pub fn bytes(&self, form: Form) -> Vec<Bytes> {
        match form {
            Form::Ts => vec![self.ts().clone()],
            Form::Fmp4 => self
                .parts
                .iter()
                .flat_map(|part| part.fmp4().iter().cloned())
                .collect(),
        }
    }

    fn ts(&self) -> &Bytes {
        self.ts.get_or_init(|| {
            let mut muxer = self.muxer.clone();
            let mut out = BytesMut::with_capacity(self.payload() + self.payload() / 16 + 4096);
            muxer.tables(&mut out);
            for part in &self.parts {
                for frame in &part.frames {
                    muxer.append(frame, &mut out);
                }
            }
            out.freeze()
        })
    }

    /// Bytes of payload.
    pub fn payload(&self) -> usize {
        self.parts.iter().map(|part| part.payload).sum()
    }

    /// Bits per second, containers included as far as can be told without making the bytes.
    pub fn bandwidth(&self) -> u64 {
        let micros = u64::try_from(self.duration.as_micros()).unwrap_or(0).max(1);
        let frames: usize = self.parts.iter().map(|part| part.frames.len()).sum();
        // MPEG-TS costs 4 bytes in 188 and on average a header and half a packet for each frame; fMP4 less.
        let bytes = self.payload() + self.payload() / 46 + frames * 110;
        let bits = (bytes as u64).saturating_mul(8_000_000);
        bits / micros
    }
}
