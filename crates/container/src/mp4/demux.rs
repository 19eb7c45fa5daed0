//! Bytes to tracks and frames.

use super::Error;
use super::buffer::Buffer;
use super::fields::Header;
use super::moof::{self, Sample, Timeline};
use super::moov::{self, SampleEntry, TrackHeader};
use bytes::Bytes;
use media::codec::nal;
use media::codec::source::{self, Source};
use media::{CodecId, Frame, MediaKind, MediaTime, Track, TrackId, TrackParams};
use std::collections::VecDeque;

/// Most tracks of one stream: at once, and counted over all its `moov`s.
pub const MAX_TRACKS: usize = 16;
/// Longest `mdat` with samples, in bytes, since it is held until it is whole: ten seconds of 50 Mbit/s.
pub const MAX_MDAT_LEN: u64 = 64 << 20;
/// Longest `moov` and `moof` in bytes; a `moof` of [`super::MAX_SAMPLES`] with three fields each has
/// room in it.
const MAX_HEAD_LEN: u64 = 1 << 20;

/// What the bytes brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A `moov` tells which kinds of track there are.
    TracksDeclared {
        /// Video of a known codec.
        video: bool,
        /// Audio of a known codec.
        audio: bool,
    },
    /// A track appeared, or what is known about it changed. Comes before the first frame that needs it.
    Track(Track),
    /// A frame of a track that was announced. Within a fragment they come in the order of their decoding times, which are the file's,
    /// unless its composition offsets are negative: then all are earlier by the same time, so that they are not after those of
    /// presentation.
    Frame(Frame),
    /// The stream has something that Tidegate cannot carry. Once for each kind of thing; its frames are counted and left out.
    Unsupported(Unsupported),
    /// Something is broken and was left out; what follows can be read.
    Bad(Error),
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where.
    pub kind: MediaKind,
    /// What, for a log line: `sample entry fLaC`, `encrypted track (encv)`.
    pub what: String,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames delivered.
    pub frames: u64,
    /// Things left out because they are broken: samples, or what a fragment says of them.
    pub bad: u64,
    /// Frames left out because of their codec.
    pub unsupported: u64,
}

/// A push parser for a stream of fragmented MP4, or for an initialization and segments one after the other: give it bytes with
/// [`Self::push`], then take events with [`Self::poll`] until it has none.
///
/// It holds at most one `moov`, `moof` or `mdat` and what was pushed since the last `None`. Frames are slices of what was pushed if
/// their `mdat` came in one piece; else they share one copy of it. Each `moov` replaces the tracks: one with a `track_ID` and a
/// codec that were there before keeps its [`TrackId`]. Boxes that bring no samples (`styp`, `sidx`, `emsg`, `prft` ..) are skipped.
#[derive(Debug, Default)]
pub struct Demuxer {
    buffer: Buffer,
    /// Offset in the stream of the first byte in `buffer`.
    at: u64,
    state: State,
    begun: bool,
    failed: Option<Error>,
    slots: Vec<Slot>,
    /// Tracks that have a number.
    numbered: usize,
    /// What the last `moof` announced and no `mdat` has brought yet.
    announced: Vec<Sample>,
    /// Samples of `mdat`, in order of decoding time.
    due: VecDeque<Sample>,
    mdat: Bytes,
    /// Offset in the stream of `mdat`.
    mdat_at: u64,
    events: VecDeque<Event>,
    counters: Counters,
    reported: Vec<Unsupported>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// A box begins.
    #[default]
    Header,
    /// This many bytes go unread.
    Skip(u64),
    /// The body of an `mdat` of this length, with samples.
    Mdat(usize),
}

#[derive(Debug)]
struct Slot {
    header: TrackHeader,
    /// Decoding time of the next sample in ticks, if its fragment does not tell.
    next: i64,
    /// By how much decoding times are moved to be before presentation times.
    lead: MediaTime,
    /// Decoding time of the last sample, so moved.
    newest: Option<MediaTime>,
    media: Option<Media>,
}

/// A track of a known codec.
#[derive(Debug)]
struct Media {
    source: Source,
    /// Number of the sample entry that `source` has, from 1.
    description: u32,
    /// Bytes of the length of NAL units, where `source` could not learn them because the record has no parameter sets (`avc3`,
    /// `hev1`); else 4.
    length_size: u8,
    /// The track as it was announced last.
    track: Option<Track>,
}

impl Timeline for Slot {
    fn header(&self) -> &TrackHeader {
        &self.header
    }

    fn next(&mut self) -> &mut i64 {
        &mut self.next
    }
}

impl Demuxer {
    /// A demuxer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes to what is to be read. They are held until [`Self::poll`] has used them up, so poll after each push.
    pub fn push(&mut self, bytes: Bytes) {
        if self.failed.is_none() {
            self.buffer.push(bytes);
        }
    }

    /// The next event; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// The stream cannot be read any further, and each later call says so again.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let event = self.advance();
        if let Err(error) = &event {
            self.failed = Some(error.clone());
            (self.buffer, self.mdat) = Default::default();
        }
        event
    }

    /// The tracks of the last `moov` that were announced.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        let media = self.slots.iter().filter_map(|slot| slot.media.as_ref());
        media.filter_map(|media| media.track.as_ref())
    }

    /// Totals so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn advance(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if let Some(sample) = self.due.pop_front() {
                self.deliver(&sample)?;
                if self.due.is_empty() {
                    self.mdat = Bytes::new();
                }
                continue;
            }
            match self.state {
                State::Header => {
                    if !self.header()? {
                        return Ok(None);
                    }
                }
                State::Skip(left) => {
                    let now = self.buffer.len();
                    let now = usize::try_from(left).map_or(now, |left| left.min(now));
                    self.skip(now);
                    let left = left - now as u64;
                    if left > 0 {
                        self.state = State::Skip(left);
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::Mdat(len) => {
                    if self.buffer.len() < len {
                        return Ok(None);
                    }
                    self.mdat_at = self.at;
                    self.mdat = self.take(len);
                    self.state = State::Header;
                    self.choose();
                }
            }
        }
    }

    /// At the start of a box. Returns whether there was enough to go on.
    fn header(&mut self) -> Result<bool, Error> {
        let Some(Header {
            kind,
            len,
            header_len,
        }) = Header::parse(self.buffer.bytes())
        else {
            return Ok(false);
        };
        if !self.begun && !BEGINNINGS.contains(&&kind) {
            return Err(Error::NotMp4 { got: kind });
        }
        self.begun = true;
        let Some(body_len) = len.checked_sub(header_len as u64) else {
            return Err(Error::BoxSize {
                kind,
                got: len,
                allowed: "at least its header, and not \"to the end\" in a stream that has none",
            });
        };
        let bounded = |max| {
            let whole = usize::try_from(len).ok().filter(|_| len <= max);
            whole.ok_or(Error::TooLarge {
                at: self.at,
                kind,
                got: len,
                max,
            })
        };
        match &kind {
            b"moov" | b"moof" => {
                let len = bounded(MAX_HEAD_LEN)?;
                if self.buffer.len() < len {
                    return Ok(false);
                }
                let at = self.at;
                let whole = self.take(len);
                let body = whole.get(header_len..).unwrap_or_default();
                if kind == *b"moov" {
                    self.moov(body)?;
                } else {
                    self.moof(body, at);
                }
            }
            b"mdat" if !self.announced.is_empty() => {
                let len = bounded(MAX_MDAT_LEN)?;
                self.skip(header_len);
                self.state = State::Mdat(len - header_len);
            }
            _ => {
                self.skip(header_len);
                self.state = State::Skip(body_len);
            }
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> Bytes {
        let bytes = self.buffer.take(count);
        self.at = self.at.saturating_add(bytes.len() as u64);
        bytes
    }

    fn skip(&mut self, count: usize) {
        self.buffer.skip(count);
        self.at = self.at.saturating_add(count as u64);
    }

    fn moov(&mut self, body: &[u8]) -> Result<(), Error> {
        let headers = moov::parse(body, MAX_TRACKS)?;
        self.drop_announced();
        let mut old = std::mem::take(&mut self.slots);
        for header in headers {
            // A track whose first entry is of a known codec is read; the others are reported.
            let media = match header.entries.first() {
                Some(SampleEntry::Known { codec, .. }) => {
                    let same = old.iter_mut().find(|old| {
                        let media = old.media.as_ref();
                        old.header.number == header.number
                            && media.is_some_and(|media| media.source.codec() == *codec)
                    });
                    let kept = same.and_then(|same| same.media.take());
                    let mut media = kept.unwrap_or_else(|| Media::new(*codec));
                    // None of this `moov`'s entries yet.
                    media.description = 0;
                    Some(media)
                }
                Some(SampleEntry::Other(what)) => {
                    self.report(header.kind, what.clone());
                    None
                }
                None => None,
            };
            self.slots.push(Slot {
                header,
                next: 0,
                lead: MediaTime::ZERO,
                newest: None,
                media,
            });
        }
        let has = |kind| {
            let mut slots = self.slots.iter();
            slots.any(|slot| slot.media.is_some() && slot.header.kind == kind)
        };
        let (video, audio) = (has(MediaKind::Video), has(MediaKind::Audio));
        self.events.push_front(Event::TracksDeclared { video, audio });
        for at in 0..self.slots.len() {
            if let Err(error) = self.configure(at, 1) {
                self.bad(1, error);
            }
            self.announce(at)?;
        }
        Ok(())
    }

    fn moof(&mut self, body: &[u8], at: u64) {
        self.drop_announced();
        if let Err(error) = moof::parse(body, at, &mut self.slots, &mut self.announced) {
            self.bad(1, error);
        }
        self.lead();
    }

    /// Moves decoding times so that no frame is decoded after it is shown. Writers that have negative composition offsets in place of
    /// an edit list (CMAF, `cmf2`) count decoding times from the first presentation time on.
    fn lead(&mut self) {
        for sample in &self.announced {
            let late = sample.dts - sample.pts;
            if let Some(slot) = self.slots.get_mut(sample.slot).filter(|_| late <= MAX_LEAD) {
                slot.lead = slot.lead.max(late);
            }
        }
        for sample in &mut self.announced {
            if let Some(slot) = self.slots.get_mut(sample.slot) {
                let moved = sample.dts - slot.lead;
                // Where it is known too late how much they must be moved.
                sample.dts = slot
                    .newest
                    .map_or(moved, |newest| moved.max(newest.min(sample.dts)));
                slot.newest = Some(sample.dts);
            }
        }
    }

    /// Samples that no `mdat` has brought are lost.
    fn drop_announced(&mut self) {
        let count = self.announced.len();
        if count > 0 {
            self.announced.clear();
            let what = "lie outside of its mdat";
            self.bad(count, Error::Outside { count, what });
        }
    }

    /// Takes what `mdat` has of the samples that were announced.
    fn choose(&mut self) {
        let (from, to) = (self.mdat_at, self.mdat_at.saturating_add(self.mdat.len() as u64));
        let inside = |sample: &Sample| {
            let end = sample.at.checked_add(sample.len.into());
            sample.at >= from && end.is_some_and(|end| end <= to)
        };
        let (mut due, rest): (Vec<_>, _) = self.announced.drain(..).partition(inside);
        self.announced = rest;
        // Each byte is of one sample. Else a small `mdat` could be delivered a thousand times.
        let sum: u64 = due.iter().map(|sample| u64::from(sample.len)).sum();
        if sum > self.mdat.len() as u64 {
            let count = due.len();
            let what = "lie on one another";
            self.bad(count, Error::Outside { count, what });
            due.clear();
        }
        if due.is_empty() {
            self.mdat = Bytes::new();
        }
        due.sort_by_key(|sample| sample.dts);
        self.due = due.into();
    }

    fn deliver(&mut self, sample: &Sample) -> Result<(), Error> {
        let from = usize::try_from(sample.at.saturating_sub(self.mdat_at)).unwrap_or(usize::MAX);
        let to = from.saturating_add(sample.len as usize);
        // `choose` has seen to it that it is inside.
        if to > self.mdat.len() {
            return Ok(());
        }
        let data = self.mdat.slice(from..to);
        let frame = match self.read(sample, data) {
            Ok(frame) => frame,
            Err(error) => {
                self.bad(1, error);
                return Ok(());
            }
        };
        let Some(frame) = frame else { return Ok(()) };
        match self.announce(sample.slot)? {
            Some(track) => {
                self.counters.frames = self.counters.frames.saturating_add(1);
                self.events.push_back(Event::Frame(Frame {
                    track,
                    dts: sample.dts,
                    pts: sample.pts,
                    key: frame.key,
                    data: frame.data,
                    wire: None,
                }));
            }
            None => {
                let slot = self.slots.get(sample.slot);
                let codec = slot.and_then(|slot| slot.media.as_ref());
                let codec = codec.map_or("unknown", |media| media.source.codec().name());
                self.bad(1, Error::BeforeConfig { codec });
            }
        }
        Ok(())
    }

    /// Brings a sample into canonical form. `None` if its track or entry is not supported, or nothing is left of it.
    fn read(&mut self, sample: &Sample, data: Bytes) -> Result<Option<source::Ready>, Error> {
        self.configure(sample.slot, sample.description)?;
        let slot = self.slots.get_mut(sample.slot);
        let Some(media) = slot
            .and_then(|slot| slot.media.as_mut())
            .filter(|media| media.description == sample.description)
        else {
            self.counters.unsupported = self.counters.unsupported.saturating_add(1);
            return Ok(None);
        };
        let codec = media.source.codec();
        let data = nal::with_four_byte_lengths(&data, media.length_size).map_err(|source| Error::Codec {
            codec: codec.name(),
            source,
        })?;
        media
            .source
            .frame(data, sample.sync, false)
            .map_err(error_of(codec))
    }

    /// Gives a track's source the configuration of its sample entry with this number, unless it has it. Leaves it as it is if there
    /// is no such entry, or none of its codec.
    fn configure(&mut self, at: usize, description: u32) -> Result<(), Error> {
        let Some(slot) = self.slots.get_mut(at) else {
            return Ok(());
        };
        let Some(media) = slot.media.as_mut() else {
            return Ok(());
        };
        let entry = usize::try_from(description)
            .ok()
            .and_then(|number| number.checked_sub(1));
        let entry = entry.and_then(|index| slot.header.entries.get(index));
        let Some(SampleEntry::Known { codec, config, audio }) =
            entry.filter(|_| media.description != description)
        else {
            return Ok(());
        };
        if *codec != media.source.codec() {
            return Ok(());
        }
        media.description = description;
        media.length_size = 4;
        if audio.sample_rate > 0 {
            media.source.set_audio(*audio);
        }
        let Some(config) = config else { return Ok(()) };
        let taken = media.source.set_config(config);
        match (taken, codec, length_size(*codec, config)) {
            // The parameter sets are in the frames (14496-15, `avc3` and `hev1`).
            (Err(source::Error::Codec(media::codec::Error::Missing { .. })), _, Some(length_size)) => {
                media.length_size = length_size;
                Ok(())
            }
            (taken, codec, _) => taken.map_err(error_of(*codec)),
        }
    }

    /// Announces the track if it is ready and differs from what was announced. Returns its number once it has one.
    fn announce(&mut self, at: usize) -> Result<Option<TrackId>, Error> {
        let numbered = self.numbered;
        let Some(slot) = self.slots.get_mut(at) else {
            return Ok(None);
        };
        let Some(media) = slot.media.as_mut() else {
            return Ok(None);
        };
        let (source, params) = (&media.source, media.source.params());
        let same = |track: &&Track| (track.config.as_ref(), track.params) == (source.config(), params);
        if let Some(track) = media.track.as_ref().filter(same) {
            return Ok(Some(track.id));
        }
        let codec = source.codec();
        // Codecs without a record of their own are known by their frames only.
        let known = match &params {
            TrackParams::Video(video) => codec.needs_config() || video.width > 0,
            TrackParams::Audio(audio) => codec.needs_config() || audio.sample_rate > 0,
        };
        let id = match &media.track {
            Some(track) => track.id,
            // MAX_TRACKS is far below 256.
            None => TrackId(numbered as u8),
        };
        let track = Track {
            id,
            codec,
            config: source.config().cloned(),
            params,
            wire: None,
        };
        if !known || !track.ready() {
            return Ok(None);
        }
        if media.track.is_none() {
            if numbered == MAX_TRACKS {
                return Err(Error::TooManyTracks {
                    got: slot.header.number,
                    max: MAX_TRACKS,
                });
            }
            self.numbered = numbered + 1;
        }
        media.track = Some(track.clone());
        self.events.push_back(Event::Track(track));
        Ok(Some(id))
    }

    fn bad(&mut self, count: usize, error: Error) {
        self.counters.bad = self.counters.bad.saturating_add(count as u64);
        self.events.push_back(Event::Bad(error));
    }

    fn report(&mut self, kind: MediaKind, what: String) {
        let new = Unsupported { kind, what };
        if self.reported.len() < MAX_REPORTS && !self.reported.contains(&new) {
            self.reported.push(new.clone());
            self.events.push_back(Event::Unsupported(new));
        }
    }
}

impl Media {
    fn new(codec: CodecId) -> Self {
        Self {
            source: Source::new(codec),
            description: 0,
            length_size: 4,
            track: None,
        }
    }
}

/// Bytes of the length fields by an `avcC` or `hvcC` that has nothing else to tell.
fn length_size(codec: CodecId, record: &[u8]) -> Option<u8> {
    let at = match codec {
        CodecId::H264 => 4,
        CodecId::H265 => 21,
        _ => return None,
    };
    record.get(at).map(|byte| (byte & 3) + 1)
}

/// The error of a codec in the words of this format.
fn error_of(codec: CodecId) -> impl Fn(source::Error) -> Error {
    let codec = codec.name();
    move |error| match error {
        source::Error::Codec(source) => Error::Codec { codec, source },
        source::Error::BeforeConfig => Error::BeforeConfig { codec },
    }
}

/// What a file, a stream or a segment begins with.
const BEGINNINGS: [&[u8; 4]; 14] = [
    b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"ssix", b"emsg", b"prft", b"free", b"skip", b"wide",
    b"pdin", b"uuid", b"mdat",
];
/// Most by which decoding times are moved. Reordering takes 16 frames at most; an offset beyond this is a mistake.
const MAX_LEAD: MediaTime = MediaTime::from_millis(2_000);
/// Different things reported as unsupported in one stream; after that they are only counted.
const MAX_REPORTS: usize = 16;
