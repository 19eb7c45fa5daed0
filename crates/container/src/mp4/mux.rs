//! Frames to a live stream of fragments.

use super::fragment::{Clock, MAX_FRAGMENT_LEN, MAX_HEAD_OF_ONE, Table, put_head};
use super::{entry::Entry, init, payload, timescale};
use bytes::{Bytes, BytesMut};
use media::codec::{aac, mp3, opus};
use media::mux::Parts;
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Packet, Track, TrackId};

/// Writes MP4 for viewers of a live stream, as HTTP answers and Media Source Extensions take it: the preamble is [`init`], and each
/// frame is a fragment of its own, written at once. Payloads are shared, and heads are cut from an arena.
///
/// How long a frame lasts is known only when the next one comes, so it is said to last as long as its content says (audio), or as
/// long as the one before it did (video). Decoding times are exact, so nothing adds up.
#[derive(Debug, Default)]
pub struct Muxer {
    init: Option<Bytes>,
    carried: Vec<Carried>,
    has_tracks: bool,
    sequence: u32,
    newest_dts: MediaTime,
    arena: BytesMut,
    dropped: u64,
}

#[derive(Debug)]
struct Carried {
    track: Track,
    /// Samples that an access unit of AAC makes at the track's timescale; 0 for other codecs.
    aac_frame_len: u32,
    /// Decoding time of the newest frame.
    newest: Option<MediaTime>,
}

impl Muxer {
    /// A muxer without tracks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Frames of carried tracks that were left out because no fragment can hold them ([`MAX_FRAGMENT_LEN`]).
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a viewer may start at this frame: a key frame of the first video track, or any frame when there is no video.
    fn starts_at(&self, frame: &Frame) -> bool {
        let mut tracks = self.carried.iter().map(|carried| &carried.track);
        match tracks.find(|track| track.kind() == MediaKind::Video) {
            Some(video) => frame.key && frame.track == video.id,
            None => true,
        }
    }

    fn config(&self, dts: MediaTime) -> Option<Packet> {
        self.init.clone().map(|init| Packet {
            parts: Parts::from_iter([init]),
            key: false,
            config: true,
            dts,
        })
    }
}

impl Mux for Muxer {
    /// The first call appends nothing: until then there was no preamble, so nobody can have joined. A changed configuration is a new
    /// `moov` in the stream, as Media Source Extensions have it ("initialization segment received").
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>) {
        let newest = |id: TrackId| {
            let same = self.carried.iter().find(|carried| carried.track.id == id);
            same.and_then(|carried| carried.newest)
        };
        self.carried = tracks
            .iter()
            .filter(|track| Entry::of(track).is_some())
            .map(|track| Carried {
                track: track.clone(),
                aac_frame_len: aac_frame_len(track),
                newest: newest(track.id),
            })
            .collect();
        let init = init(tracks);
        let changed = init != self.init;
        self.init = init;
        if std::mem::replace(&mut self.has_tracks, true) && changed {
            out.extend(self.config(self.newest_dts));
        }
    }

    fn preamble(&self) -> Vec<Packet> {
        self.config(MediaTime::ZERO).into_iter().collect()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let key = self.starts_at(frame);
        let Some(carried) = self
            .carried
            .iter_mut()
            .find(|carried| carried.track.id == frame.track)
        else {
            return;
        };
        if frame.data.len() > MAX_FRAGMENT_LEN {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let codec = carried.track.codec;
        // The head goes first, but its length fields need the payload's.
        let mut parts = Parts::from_iter([Bytes::new()]);
        let size = payload::put(codec, &frame.data, &mut parts);
        if size == 0 {
            return;
        }
        let mut sample = Clock::new(&carried.track).sample(codec, frame, size);
        sample.duration = carried.duration(frame);
        carried.newest = Some(frame.dts);
        let samples = [sample];
        let Some(table) = Table::new(&carried.track, &samples) else {
            return;
        };
        if self.arena.capacity() < MAX_HEAD_OF_ONE {
            self.arena = BytesMut::with_capacity(ARENA_LEN);
        }
        self.sequence = self.sequence.wrapping_add(1);
        put_head(self.sequence, &[table], &mut self.arena);
        parts[0] = self.arena.split().freeze();
        self.newest_dts = frame.dts;
        out.push(Packet {
            parts,
            key,
            config: false,
            dts: frame.dts,
        });
    }
}

impl Carried {
    /// How long a frame is said to last, in ticks.
    fn duration(&self, frame: &Frame) -> u32 {
        let timescale = timescale(&self.track);
        let by_content = match self.track.codec {
            CodecId::Aac => Some(self.aac_frame_len),
            CodecId::Opus => opus::duration(&frame.data).map(|duration| {
                // At most 120 ms.
                MediaTime::from_micros(duration.as_micros() as i64).as_ticks(timescale) as u32
            }),
            CodecId::Mp3 => mp3::Header::parse(&frame.data).ok().map(|header| header.samples),
            CodecId::G711A | CodecId::G711U => {
                let channels = self.track.audio().map_or(1, |audio| audio.channels.max(1));
                u32::try_from(frame.data.len() / usize::from(channels)).ok()
            }
            CodecId::H264
            | CodecId::H265
            | CodecId::Av1
            | CodecId::Vp8
            | CodecId::Vp9
            | CodecId::L16
            | CodecId::Jpeg
            | CodecId::Other(_) => None,
        };
        if let Some(ticks) = by_content.filter(|ticks| *ticks > 0) {
            return ticks;
        }
        let before = self.newest.map(|newest| frame.dts - newest);
        let before = before.filter(|before| *before > MediaTime::ZERO && *before <= LONGEST);
        let ticks = before.unwrap_or_else(|| self.nominal()).as_ticks(timescale);
        // At most LONGEST or a second, at a timescale of 32 bits.
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// How long a frame lasts by what is known of the track.
    fn nominal(&self) -> MediaTime {
        match self.track.video() {
            Some(video) if video.fps >= 1.0 => {
                MediaTime::from_micros((1e6 / f64::from(video.fps)).round() as i64)
            }
            _ => MediaTime::from_millis(40),
        }
    }
}

/// Samples of an access unit of AAC at the rate after spectral band replication, which is the timescale.
fn aac_frame_len(track: &Track) -> u32 {
    if track.codec != CodecId::Aac {
        return 0;
    }
    let Some(config) = track
        .config
        .as_ref()
        .and_then(|config| aac::Config::parse(config).ok())
    else {
        return 0;
    };
    let core = u64::from(config.sample_rate.max(1));
    let samples = u64::from(config.frame_len) * u64::from(timescale(track)) / core;
    u32::try_from(samples).unwrap_or(0)
}

/// A gap in the stream is longer than this; the frame behind it does not last that long.
const LONGEST: MediaTime = MediaTime::from_millis(2_000);
/// About 36 heads; a page, so that a ring that keeps the last packet of an arena keeps little else.
const ARENA_LEN: usize = 4096;
