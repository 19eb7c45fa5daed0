//! Tag bodies to tracks and frames.

use super::packet::{Content, Packet, WireCodec};
use super::{Error, Metadata, TagType, audio, metadata, video};
use bytes::Bytes;
use media::codec::source::{self, Source};
use media::{CodecId, Frame, MediaKind, MediaTime, Track, TrackId, TrackParams};
use std::collections::VecDeque;

/// Most tracks of one stream, audio and video together. Each costs its viewers nothing until it is chosen, but the publisher's
/// memory; the largest known sender (multitrack of OBS) uses 6 + 6.
pub const MAX_TRACKS: usize = 16;

/// What a tag body brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A track appeared, or what is known about it changed. Comes before the first frame that needs it.
    Track(Track),
    /// A frame of a track that was announced.
    Frame(Frame),
    /// `onMetaData`.
    Metadata(Metadata),
    /// The metadata tells which kinds of track will come. Senders are not always right.
    TracksDeclared {
        /// Video will come.
        video: bool,
        /// Audio will come.
        audio: bool,
    },
    /// The sender uses something that Tidegate cannot carry. Once for each kind of thing; its frames are counted and left out.
    Unsupported(Unsupported),
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where.
    pub kind: MediaKind,
    /// What, for a log line: `codec fLaC`, `codec id 4`, `MPEG-2 TS sequence start`.
    pub what: String,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames delivered.
    pub frames: u64,
    /// Tag bodies that were refused with an error, in whole or in part.
    pub bad: u64,
    /// Packets left out because of their codec or form.
    pub unsupported: u64,
}

/// Reads the tag bodies of one stream. After each [`Self::tag`], take all events with [`Self::poll`].
#[derive(Debug, Default)]
pub struct Demuxer {
    slots: Vec<Slot>,
    events: VecDeque<Event>,
    counters: Counters,
    reported: Vec<Unsupported>,
    /// `framerate` of the metadata, for tracks whose bit stream does not declare one.
    declared_fps: Option<f32>,
}

#[derive(Debug)]
struct Slot {
    kind: MediaKind,
    wire_track: u8,
    source: Source,
    /// The track as it was announced last.
    track: Option<Track>,
}

impl Demuxer {
    /// A demuxer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a tag body or RTMP message. `timestamp_ms` is extended beyond 32 bits already. Frames share memory with `body`.
    ///
    /// An error concerns this body only: it is counted, what can be used of the body is delivered, and the next one may be read.
    pub fn tag(&mut self, tag_type: TagType, timestamp_ms: i64, body: Bytes) -> Result<(), Error> {
        // Some encoders send empty messages as a sign of life.
        if body.is_empty() {
            return Ok(());
        }
        let mut first_error = None;
        let parsed = match tag_type {
            TagType::Video => video::parse(&body, &mut |packet| {
                self.packet(timestamp_ms, packet, &mut first_error)
            }),
            TagType::Audio => audio::parse(&body, &mut |packet| {
                self.packet(timestamp_ms, packet, &mut first_error)
            }),
            TagType::Script => self.script(&body),
        };
        let result = parsed.and(first_error.map_or(Ok(()), Err));
        if result.is_err() {
            self.counters.bad = self.counters.bad.saturating_add(1);
        }
        result
    }

    /// The next event; `None` when nothing is left until the next tag.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The tracks announced so far.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.slots.iter().filter_map(|slot| slot.track.as_ref())
    }

    /// Totals so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn script(&mut self, body: &Bytes) -> Result<(), Error> {
        let Some(metadata) = metadata::parse(body)? else {
            return Ok(());
        };
        self.declared_fps = metadata.fps.or(self.declared_fps);
        let (video, audio) = (metadata.declares_video(), metadata.declares_audio());
        self.events.push_back(Event::Metadata(metadata));
        if video.is_some() || audio.is_some() {
            let (video, audio) = (video.unwrap_or(false), audio.unwrap_or(false));
            self.events.push_back(Event::TracksDeclared { video, audio });
        }
        Ok(())
    }

    /// One packet of a body. Its error does not keep the other tracks from being read.
    fn packet(&mut self, timestamp_ms: i64, packet: Result<Packet, Error>, first_error: &mut Option<Error>) {
        if let Err(error) = packet.and_then(|packet| self.use_packet(timestamp_ms, packet)) {
            first_error.get_or_insert(error);
        }
    }

    fn use_packet(&mut self, timestamp_ms: i64, packet: Packet) -> Result<(), Error> {
        let Packet {
            kind,
            wire_track,
            codec,
            content,
        } = packet;
        let codec = match codec {
            WireCodec::Known(codec) => codec,
            WireCodec::Id(id) => {
                self.unsupported(kind, format!("codec id {id}"));
                return Ok(());
            }
            WireCodec::FourCc(fourcc) => {
                self.unsupported(kind, format!("codec {}", fourcc.escape_ascii()));
                return Ok(());
            }
        };
        match content {
            Content::Config(header) => {
                let at = self.slot(kind, wire_track, codec)?;
                self.slots[at]
                    .source
                    .set_config(&header)
                    .map_err(error_of(codec))?;
                self.announce(at);
            }
            Content::Frame {
                data,
                key,
                composition_ms,
                stereo,
            } => {
                let at = self.slot(kind, wire_track, codec)?;
                if let Some(ready) = self.slots[at]
                    .source
                    .frame(data, key, stereo)
                    .map_err(error_of(codec))?
                {
                    let track = self.announce(at);
                    let Some(track) = track else {
                        return Err(Error::FrameBeforeConfig { codec: codec.name() });
                    };
                    self.counters.frames = self.counters.frames.saturating_add(1);
                    self.events.push_back(Event::Frame(Frame {
                        track,
                        dts: MediaTime::from_millis(timestamp_ms),
                        pts: MediaTime::from_millis(timestamp_ms.saturating_add(composition_ms.into())),
                        key: ready.key,
                        data: ready.data,
                        wire: None,
                    }));
                }
            }
            Content::Unsupported(what) => self.unsupported(kind, what.to_owned()),
            Content::Nothing => {}
        }
        Ok(())
    }

    /// The place of a track in `slots`. Another codec under the same id is the same track with a new start.
    fn slot(&mut self, kind: MediaKind, wire_track: u8, codec: CodecId) -> Result<usize, Error> {
        if let Some(at) = self
            .slots
            .iter()
            .position(|slot| (slot.kind, slot.wire_track) == (kind, wire_track))
        {
            if self.slots[at].source.codec() != codec {
                self.slots[at].source = Source::new(codec);
            }
            return Ok(at);
        }
        if self.slots.len() == MAX_TRACKS {
            return Err(Error::TooManyTracks {
                got: wire_track,
                max: MAX_TRACKS,
            });
        }
        self.slots.push(Slot {
            kind,
            wire_track,
            source: Source::new(codec),
            track: None,
        });
        Ok(self.slots.len() - 1)
    }

    /// Announces the track if it is ready and differs from what was announced. Returns its number once it has one.
    fn announce(&mut self, at: usize) -> Option<TrackId> {
        let next_id = self.tracks().count();
        let slot = &mut self.slots[at];
        let mut params = slot.source.params();
        if let (TrackParams::Video(video), Some(fps)) = (&mut params, self.declared_fps)
            && video.fps == 0.0
        {
            video.fps = fps;
        }
        let same = |track: &&Track| {
            (track.codec, track.config.as_ref(), track.params)
                == (slot.source.codec(), slot.source.config(), params)
        };
        if let Some(track) = slot.track.as_ref().filter(same) {
            return Some(track.id);
        }
        // MAX_TRACKS is far below 256.
        let id = slot
            .track
            .as_ref()
            .map_or(TrackId(next_id as u8), |track| track.id);
        let track = Track {
            id,
            codec: slot.source.codec(),
            config: slot.source.config().cloned(),
            params,
            wire: None,
        };
        // Codecs without a record of their own are known by their frames only.
        let known = match &track.params {
            TrackParams::Video(video) => track.codec.needs_config() || video.width > 0,
            TrackParams::Audio(audio) => track.codec.needs_config() || audio.sample_rate > 0,
        };
        if !known || !track.ready() {
            return None;
        }
        slot.track = Some(track.clone());
        self.events.push_back(Event::Track(track));
        Some(id)
    }

    fn unsupported(&mut self, kind: MediaKind, what: String) {
        self.counters.unsupported = self.counters.unsupported.saturating_add(1);
        let new = Unsupported { kind, what };
        if self.reported.len() < MAX_REPORTS && !self.reported.contains(&new) {
            self.reported.push(new.clone());
            self.events.push_back(Event::Unsupported(new));
        }
    }
}

/// Different things reported as unsupported in one stream; after that they are only counted.
const MAX_REPORTS: usize = 16;

/// The error of a codec in the words of this format.
fn error_of(codec: CodecId) -> impl Fn(source::Error) -> Error {
    let codec = codec.name();
    move |error| match error {
        source::Error::Codec(source) => Error::Codec { codec, source },
        source::Error::BeforeConfig => Error::FrameBeforeConfig { codec },
    }
}
