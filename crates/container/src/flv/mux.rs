//! Frames to an FLV stream.

use super::TagType;
use super::body::{self, MAX_HEAD_LEN, tag_type};
use super::metadata;
use super::tag::{MAX_BODY_LEN, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN, header};
use bytes::{BufMut, Bytes, BytesMut};
use media::mux::Parts;
use media::{Frame, MediaKind, MediaTime, Mux, Packet, Track, TrackId};

/// How to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `rtmp.enhanced`: H.265, AV1, VP8, VP9 and Opus with their FourCC; else with the domestic ids.
    pub enhanced: bool,
    /// `server` in the metadata.
    pub server: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            enhanced: true,
            server: "Tidegate".to_owned(),
        }
    }
}

/// The tracks of a stream that FLV and RTMP carry: the first video and the first audio track that [`body::carries`] accepts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    /// Video.
    pub video: Option<Track>,
    /// Audio.
    pub audio: Option<Track>,
}

impl Carried {
    /// Chooses from all tracks of a stream.
    pub fn of(tracks: &[Track]) -> Self {
        let first = |kind| {
            tracks
                .iter()
                .find(|track| track.kind() == kind && body::carries(track))
                .cloned()
        };
        Self {
            video: first(MediaKind::Video),
            audio: first(MediaKind::Audio),
        }
    }

    /// The carried track with that number.
    pub fn track(&self, id: TrackId) -> Option<&Track> {
        self.iter().find(|track| track.id == id)
    }

    /// Video, then audio.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.video.iter().chain(&self.audio)
    }

    /// The tracks whose decoder configuration is not the one that the viewers of `old` have.
    pub fn reconfigured(&self, old: &Self) -> impl Iterator<Item = &Track> {
        let known = |new: &Track| {
            old.iter()
                .any(|old| (old.codec, &old.config) == (new.codec, &new.config))
        };
        self.iter().filter(move |new| !known(new))
    }

    /// Whether a viewer may start at this frame: a video key frame, or any frame when there is no video.
    pub fn starts_at(&self, frame: &Frame) -> bool {
        match &self.video {
            Some(video) => frame.key && frame.track == video.id,
            None => true,
        }
    }
}

/// Writes FLV. Payloads are shared, and the few bytes around them are cut from an arena, so a frame costs no allocation.
#[derive(Debug)]
pub struct Muxer {
    options: Options,
    carried: Carried,
    has_tracks: bool,
    /// Time of the newest frame, for tags of configurations that change between frames.
    newest: u32,
    newest_dts: MediaTime,
    arena: BytesMut,
    dropped: u64,
}

impl Muxer {
    /// A muxer without tracks.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            carried: Carried::default(),
            has_tracks: false,
            newest: 0,
            newest_dts: MediaTime::ZERO,
            arena: BytesMut::new(),
            dropped: 0,
        }
    }

    /// Frames of carried tracks that were left out because no tag can hold them ([`MAX_BODY_LEN`]).
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// File header and `PreviousTagSize0` (annex E.2 and E.3). The flags tell the truth, unlike ZLM's (codecs.md, C11).
    fn file_header(&self) -> Packet {
        let flags = u8::from(self.carried.audio.is_some()) << 2 | u8::from(self.carried.video.is_some());
        let bytes = Bytes::copy_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
        Packet {
            parts: Parts::from_iter([bytes]),
            key: false,
            config: true,
            dts: MediaTime::ZERO,
        }
    }

    fn metadata(&self, timestamp: u32) -> Packet {
        let body = metadata::body(&self.carried, self.options.enhanced, &self.options.server);
        config_packet(TagType::Script, body, timestamp, self.newest_dts)
    }

    fn sequence_header(&self, track: &Track, timestamp: u32) -> Option<Packet> {
        let body =
            body::sequence_header(track, self.options.enhanced).filter(|body| body.len() <= MAX_BODY_LEN)?;
        Some(config_packet(
            tag_type(track.kind()),
            body,
            timestamp,
            self.newest_dts,
        ))
    }
}

impl Mux for Muxer {
    /// The first call appends nothing: until then there was no preamble, so nobody can have joined.
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>) {
        let old = std::mem::replace(&mut self.carried, Carried::of(tracks));
        if std::mem::replace(&mut self.has_tracks, true) && old != self.carried {
            out.push(self.metadata(self.newest));
            for track in self.carried.reconfigured(&old) {
                out.extend(self.sequence_header(track, self.newest));
            }
        }
    }

    /// Times are 0: players take the start of the time line from the first frame.
    fn preamble(&self) -> Vec<Packet> {
        let headers = self
            .carried
            .iter()
            .filter_map(|track| self.sequence_header(track, 0));
        [self.file_header(), self.metadata(0)]
            .into_iter()
            .chain(headers)
            .collect()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let Some(track) = self.carried.track(frame.track) else {
            return;
        };
        let head = body::frame_head(frame, track, self.options.enhanced);
        let body_len = head.len() + frame.data.len();
        if body_len > MAX_BODY_LEN {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let timestamp = body::timestamp(frame);
        self.newest = timestamp;
        self.newest_dts = frame.dts;
        if self.arena.capacity() < MAX_AROUND {
            self.arena = BytesMut::with_capacity(ARENA_LEN);
        }
        self.arena
            .put_slice(&header(tag_type(track.kind()), body_len, timestamp));
        self.arena.put_slice(&head);
        let front = self.arena.split().freeze();
        self.arena.put_u32((TAG_HEADER_LEN + body_len) as u32);
        let trailer = self.arena.split().freeze();
        out.push(Packet {
            parts: Parts::from([front, frame.data.clone(), trailer]),
            key: self.carried.starts_at(frame),
            config: false,
            dts: frame.dts,
        });
    }
}

/// A whole tag in one piece.
fn config_packet(tag_type: TagType, body: Bytes, timestamp: u32, dts: MediaTime) -> Packet {
    let mut bytes = BytesMut::with_capacity(TAG_HEADER_LEN + body.len() + PREVIOUS_TAG_SIZE_LEN);
    bytes.put_slice(&header(tag_type, body.len(), timestamp));
    bytes.put_slice(&body);
    bytes.put_u32((TAG_HEADER_LEN + body.len()) as u32);
    Packet {
        parts: Parts::from_iter([bytes.freeze()]),
        key: false,
        config: true,
        dts,
    }
}

/// Most bytes around one payload.
const MAX_AROUND: usize = TAG_HEADER_LEN + MAX_HEAD_LEN + PREVIOUS_TAG_SIZE_LEN;
/// About 180 packets of heads and trailers; a page, so that a ring that keeps the last packet of an arena keeps little else.
const ARENA_LEN: usize = 4096;
