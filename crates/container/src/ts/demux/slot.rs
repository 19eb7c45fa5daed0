//! One elementary stream on its way to a track.

use super::{
    Assembly, Continuity, Counters, Event, Frame, Output, Reader, Track, TrackId, Unit, count, source,
};
use bytes::Bytes;
use media::CodecId;
use media::codec::source::Source;
use media::track::AudioParams;

/// An elementary stream. Its place stays when the stream goes, for one that comes in its stead.
#[derive(Debug)]
pub(super) struct Slot {
    /// `None` once the stream is gone.
    pub pid: Option<u16>,
    pub continuity: Continuity,
    pub assembly: Assembly,
    pub reader: Reader,
    pub source: Source,
    /// The track as it was announced last.
    pub track: Option<Track>,
}

impl Slot {
    pub fn new(codec: CodecId) -> Self {
        Self {
            pid: None,
            continuity: Continuity::default(),
            assembly: Assembly::new(codec.kind()),
            reader: Reader::new(codec),
            source: Source::new(codec),
            track: None,
        }
    }

    /// Whether it reads such a stream.
    pub fn is(&self, pid: u16, codec: CodecId) -> bool {
        self.pid == Some(pid) && self.source.codec() == codec
    }

    /// Begins to read a stream.
    pub fn open(&mut self, pid: u16, codec: CodecId) {
        *self = Self {
            pid: Some(pid),
            track: self.track.take(),
            ..Self::new(codec)
        };
    }

    /// Takes what the descriptors say.
    pub fn describe(&mut self, config: Option<&Bytes>, audio: Option<AudioParams>) {
        if let Some(audio) = audio {
            self.source.set_audio(audio);
        }
        if let Some(config) = config {
            // Made by us of a descriptor; the frames would tell as well.
            let _readable = self.source.set_config(config);
        }
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.assembly.held() + self.reader.held()
    }

    /// Something is missing here, or there is no room for it.
    pub fn lose(&mut self, counters: &mut Counters) {
        if self.assembly.reset() {
            count(&mut counters.bad_pes, 1);
        }
        count(&mut counters.bad_frames, self.reader.reset());
    }

    /// Turns what the reader brought into a frame, and announces the track when that is due.
    pub fn deliver(&mut self, unit: Unit, out: &mut Output) {
        let ready = match &unit.config {
            Some(config) => self.source.set_config(config),
            None => Ok(()),
        }
        .and_then(|()| self.source.frame(unit.data, unit.random_access, false));
        let ready = match ready {
            Ok(Some(ready)) => ready,
            Ok(None) | Err(source::Error::Codec(_)) => {
                count(&mut out.counters.bad_frames, 1);
                return;
            }
            Err(source::Error::BeforeConfig) => {
                count(&mut out.counters.early_frames, 1);
                return;
            }
        };
        let Some(track) = self.announce(out) else {
            count(&mut out.counters.early_frames, 1);
            return;
        };
        count(&mut out.counters.frames, 1);
        out.events.push_back(Event::Frame(Frame {
            track,
            dts: unit.dts,
            pts: unit.pts,
            key: ready.key,
            data: ready.data,
            wire: None,
        }));
    }

    /// Announces the track if it is known and differs from what was announced. Returns its number once it has one.
    fn announce(&mut self, out: &mut Output) -> Option<TrackId> {
        let id = self.track.as_ref().map_or(TrackId(out.tracks), |track| track.id);
        let known = self.source.track(id)?;
        if self.track.as_ref() != Some(&known) {
            // Below MAX_TRACKS.
            out.tracks += u8::from(self.track.is_none());
            self.track = Some(known.clone());
            out.events.push_back(Event::Track(known));
        }
        Some(id)
    }
}
