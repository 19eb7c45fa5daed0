//! Frames to a transport stream.

use super::es::{self, G711, Named};
use super::packet::{Adaptation, Counter, NULL_PID, PACKET_LEN, Sink, Writer, put_adaptation_alone};
use super::payload::Form;
use super::pes::Head;
use super::psi::{self, Map, PAT_PID, Stream};
use super::{AUDIO_PID, CLOCK, MAX_TRACKS, OFFSET, OTHER_PID, PMT_PID, PROGRAM, VIDEO_PID};
use bytes::{Bytes, BytesMut};
use media::mux::Parts;
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Packet, Track, TrackId};
use std::sync::Arc;

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// How G.711 is carried.
    pub g711: G711,
}

impl Options {
    /// Whether tracks of a codec are carried.
    pub const fn carries(&self, codec: CodecId) -> bool {
        es::carries_with(codec, self.g711)
    }
}

/// Writes a transport stream of one program.
///
/// A frame is one PES packet, written at once. What the bytes of a frame depend on besides the frame is small: counters and the time
/// of the last clock reference. So a clone remembers a place in the stream, and the bytes of what came after it can be made later,
/// or never: [`Self::skip`] advances a muxer over a frame as [`Self::append`] does, without making them.
///
/// As a [`Mux`] it writes tables before each key frame of the first video track and after half a second without; without video, the
/// packets with tables are the key packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Muxer {
    options: Options,
    program: Arc<Program>,
    /// `continuity_counter`s of the tables' next packets.
    pat_counter: u8,
    pmt_counter: u8,
    /// In the order of `program.streams`.
    states: Vec<State>,
    /// Counters of streams that went, so that a PID that comes back goes on counting.
    gone: Vec<(u16, u8)>,
    /// Tables of this version were written.
    tables_seen: bool,
    /// The last clock reference, in ticks.
    pcr: Option<i64>,
    /// Decoding time of the frame before which tables were written last. `None`: before the next one.
    tables_at: Option<i64>,
    dropped: u64,
}

/// What does not change from frame to frame, shared by all clones.
#[derive(Debug, PartialEq)]
struct Program {
    pat: Bytes,
    pmt: Bytes,
    version: u8,
    streams: Vec<Carried>,
    /// Index of the stream whose packets hold the clock references: the first one of video, else the first.
    clock: usize,
    video: bool,
}

/// A track that is carried.
#[derive(Debug, PartialEq)]
struct Carried {
    track: TrackId,
    pid: u16,
    stream_id: u8,
    kind: MediaKind,
    av1: bool,
    named: Named,
    form: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    /// `continuity_counter` of the next packet.
    counter: u8,
    /// Decoding time of the newest frame, in ticks.
    newest: Option<i64>,
    /// What `newest` was when the last clock reference was written.
    newest_at_pcr: Option<i64>,
}

/// How a frame is written. Both [`Muxer::append`] and [`Muxer::skip`] follow it.
struct Layout {
    /// Index of its stream.
    at: usize,
    dts: i64,
    head: Head,
    payload_len: usize,
    adaptation: Adaptation,
    /// A clock reference in a packet of its own, before the frame.
    alone: Option<i64>,
}

impl Layout {
    fn pes_len(&self) -> usize {
        self.head.as_slice().len() + self.payload_len
    }

    fn packets(&self) -> usize {
        usize::from(self.alone.is_some()) + self.pes_packets()
    }

    fn pes_packets(&self) -> usize {
        self.adaptation.packets(self.pes_len())
    }
}

impl Muxer {
    /// A muxer without tracks.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            program: Arc::new(Program::new(Vec::new(), 0)),
            pat_counter: 0,
            pmt_counter: 0,
            states: Vec::new(),
            gone: Vec::new(),
            tables_seen: false,
            pcr: None,
            tables_at: None,
            dropped: 0,
        }
    }

    /// Sets the tracks, as [`Mux::set_tracks`] does, which has nothing to say to viewers: they get the new tables before the next
    /// frame. Tracks that cannot be carried are left out, and so is what exceeds [`MAX_TRACKS`].
    ///
    /// The first video track has PID 0x101, the first one of audio 0x102, others follow from 0x103 on.
    pub fn carry(&mut self, tracks: &[Track]) {
        let streams = carried(tracks, self.options.g711);
        // Tables grow a version when what they say changes; parameter sets are not in them.
        let same = streams.len() == self.program.streams.len()
            && streams
                .iter()
                .zip(&self.program.streams)
                .all(|(new, old)| (new.pid, &new.named) == (old.pid, &old.named));
        let version = if !same && self.tables_seen {
            (self.program.version + 1) & 0x1f
        } else {
            self.program.version
        };
        let old = self
            .program
            .streams
            .iter()
            .map(|stream| stream.pid)
            .zip(&self.states);
        for (pid, state) in old {
            self.gone.retain(|gone| gone.0 != pid);
            self.gone.push((pid, state.counter));
        }
        let states = streams.iter().map(|stream| {
            let kept = self.program.streams.iter().position(|old| old.pid == stream.pid);
            let counter = self.gone.iter().find(|gone| gone.0 == stream.pid);
            State {
                counter: counter.map_or(0, |gone| gone.1),
                ..kept
                    .and_then(|at| self.states.get(at))
                    .copied()
                    .unwrap_or_default()
            }
        });
        self.states = states.collect();
        self.gone
            .retain(|gone| streams.iter().all(|stream| stream.pid != gone.0));
        if !same {
            (self.tables_seen, self.tables_at) = (false, None);
        }
        self.program = Arc::new(Program::new(streams, version));
    }

    /// The tracks that are carried, in the order of the table.
    pub fn carried(&self) -> impl Iterator<Item = TrackId> {
        self.program.streams.iter().map(|stream| stream.track)
    }

    /// Whether a viewer may start at this frame, if tables stand before it: a key frame of the first video track, or without video
    /// any frame that is carried.
    pub fn starts_at(&self, frame: &Frame) -> bool {
        let at = self.index(frame);
        if self.program.video {
            frame.key && at == Some(self.program.clock)
        } else {
            at.is_some()
        }
    }

    /// Frames of carried tracks that were left out because they are empty or too long for what TS puts before them: AAC of 8 KiB and
    /// other sound of 64 KiB.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends PAT and PMT.
    pub fn tables(&mut self, out: &mut BytesMut) {
        out.reserve(self.table_packets() * PACKET_LEN);
        psi::put(&self.program.pat, PAT_PID, &mut self.pat_counter, out);
        psi::put(&self.program.pmt, PMT_PID, &mut self.pmt_counter, out);
        self.tables_seen = true;
    }

    /// Advances as [`Self::tables`] does.
    pub fn skip_tables(&mut self) {
        advance(&mut self.pat_counter, psi::packets(&self.program.pat));
        advance(&mut self.pmt_counter, psi::packets(&self.program.pmt));
        self.tables_seen = true;
    }

    /// Packets that [`Self::tables`] appends, of [`PACKET_LEN`] bytes each.
    pub fn table_packets(&self) -> usize {
        psi::packets(&self.program.pat) + psi::packets(&self.program.pmt)
    }

    /// Appends a frame without tables. Nothing if its track is not carried or it cannot be written ([`Self::dropped`]).
    pub fn append(&mut self, frame: &Frame, out: &mut BytesMut) {
        match self.layout(frame) {
            Some(layout) => self.put(frame, &layout, out),
            None => self.drop(frame),
        }
    }

    /// Advances as [`Self::append`] does.
    pub fn skip(&mut self, frame: &Frame) {
        match self.layout(frame) {
            Some(layout) => {
                let packets = layout.pes_packets();
                if let Some(state) = self.states.get_mut(layout.at) {
                    advance(&mut state.counter, packets);
                }
                self.advance_clock(&layout);
            }
            None => self.drop(frame),
        }
    }

    /// Packets that [`Self::append`] would append for a frame now, of [`PACKET_LEN`] bytes each.
    pub fn packets(&self, frame: &Frame) -> usize {
        self.layout(frame).map_or(0, |layout| layout.packets())
    }

    fn index(&self, frame: &Frame) -> Option<usize> {
        self.program
            .streams
            .iter()
            .position(|stream| stream.track == frame.track)
    }

    fn layout(&self, frame: &Frame) -> Option<Layout> {
        let at = self.index(frame)?;
        let (stream, state) = (self.program.streams.get(at)?, self.states.get(at)?);
        let mut counter = Counter::default();
        if !stream.form.put(frame, &mut counter) {
            return None;
        }
        let dts = ticks(frame.dts);
        // A picture that is shown before it is decoded is a mistake that decoders take badly.
        let pts = ticks(frame.pts).max(dts);
        let video = stream.kind == MediaKind::Video;
        let head = Head::new(stream.stream_id, video, pts, dts, counter.0)?;
        let mut layout = Layout {
            at,
            dts,
            head,
            payload_len: counter.0,
            adaptation: Adaptation {
                random_access: frame.key && (video || !self.program.video),
                priority: frame.key && stream.av1,
                ..Adaptation::default()
            },
            alone: None,
        };
        self.place_clock(state, &mut layout);
        Some(layout)
    }

    /// Decides whether a clock reference goes with the frame.
    ///
    /// Every frame of the clock's own stream has one, unless it is no key frame and the last is younger than 20 ms. Where its frames are rare (cameras of
    /// few pictures per second, video that pauses) the others bring one in a packet of its own after 70 ms of their own time; so
    /// the 100 ms of the standard (2.7.2) are kept, and streams that run ahead of one another do not push the clock.
    fn place_clock(&self, state: &State, layout: &mut Layout) {
        let value = layout.dts.saturating_sub(PCR_LEAD);
        let Some(last) = self.pcr else {
            if layout.at == self.program.clock {
                layout.adaptation.pcr = Some(value);
            } else {
                layout.alone = Some(value);
            }
            return;
        };
        if layout.at != self.program.clock {
            let since = state
                .newest_at_pcr
                .map_or(0, |then| layout.dts.saturating_sub(then));
            layout.alone = (since >= MAX_PCR_INTERVAL).then(|| last.saturating_add(since));
        } else if value < last.saturating_sub(MAX_PCR_STEP_BACK) {
            layout.adaptation.pcr = Some(value);
            layout.adaptation.discontinuity = true;
        } else {
            // Who begins at a key frame should not have to wait for the clock.
            let soonest = match self.program.video && layout.adaptation.random_access {
                true => 1,
                false => MIN_PCR_INTERVAL,
            };
            layout.adaptation.pcr = (value >= last.saturating_add(soonest)).then_some(value);
        }
    }

    fn put(&mut self, frame: &Frame, layout: &Layout, out: &mut BytesMut) {
        out.reserve(layout.packets() * PACKET_LEN);
        if let (Some(pcr), Some(stream), Some(state)) = (
            layout.alone,
            self.program.streams.get(self.program.clock),
            self.states.get(self.program.clock),
        ) {
            let adaptation = Adaptation {
                pcr: Some(pcr),
                ..Adaptation::default()
            };
            put_adaptation_alone(stream.pid, state.counter.wrapping_sub(1) & 0xf, &adaptation, out);
        }
        if let (Some(stream), Some(state)) = (
            self.program.streams.get(layout.at),
            self.states.get_mut(layout.at),
        ) {
            let len = layout.pes_len();
            let mut writer = Writer::new(out, stream.pid, &mut state.counter, layout.adaptation, len);
            writer.put(layout.head.as_slice());
            stream.form.put(frame, &mut writer);
        }
        self.advance_clock(layout);
    }

    fn advance_clock(&mut self, layout: &Layout) {
        if let Some(state) = self.states.get_mut(layout.at) {
            state.newest = Some(layout.dts);
            // Time that went back, or that was not known at the last reference, counts from here.
            let then = state.newest_at_pcr.unwrap_or(layout.dts);
            state.newest_at_pcr = Some(then.min(layout.dts));
        }
        if let Some(pcr) = layout.alone.or(layout.adaptation.pcr) {
            self.pcr = Some(pcr);
            for state in &mut self.states {
                state.newest_at_pcr = state.newest;
            }
        }
    }

    /// Counts a frame that is left out, if its track is carried.
    fn drop(&mut self, frame: &Frame) {
        if self.index(frame).is_some() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn tables_due(&self, layout: &Layout, starts: bool) -> bool {
        match self.tables_at {
            Some(then) => {
                // Streams may be a little behind one another.
                let since = layout.dts.saturating_sub(then).saturating_abs();
                self.program.video && starts || since >= TABLES_INTERVAL
            }
            None => true,
        }
    }
}

impl Mux for Muxer {
    fn set_tracks(&mut self, tracks: &[Track], _out: &mut Vec<Packet>) {
        self.carry(tracks);
    }

    /// Nothing: key packets have all that a viewer needs.
    fn preamble(&self) -> Vec<Packet> {
        Vec::new()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let Some(layout) = self.layout(frame) else {
            self.drop(frame);
            return;
        };
        let starts = self.starts_at(frame);
        let tables = self.tables_due(&layout, starts);
        let table_packets = if tables { self.table_packets() } else { 0 };
        let mut bytes = BytesMut::with_capacity((table_packets + layout.packets()) * PACKET_LEN);
        if tables {
            self.tables(&mut bytes);
            self.tables_at = Some(layout.dts);
        }
        self.put(frame, &layout, &mut bytes);
        out.push(Packet {
            parts: Parts::from_iter([bytes.freeze()]),
            key: tables && starts,
            config: false,
            dts: frame.dts,
        });
    }
}

impl Program {
    fn new(streams: Vec<Carried>, version: u8) -> Self {
        let video = streams.iter().position(|stream| stream.kind == MediaKind::Video);
        let clock = video.unwrap_or(0);
        let map = Map {
            program: PROGRAM,
            version,
            pcr_pid: streams.get(clock).map_or(NULL_PID, |stream| stream.pid),
            descriptors: Bytes::new(),
            streams: streams
                .iter()
                .map(|stream| Stream {
                    stream_type: stream.named.stream_type,
                    pid: stream.pid,
                    descriptors: stream.named.descriptors.clone(),
                })
                .collect(),
        };
        Self {
            pat: psi::association(PROGRAM, PMT_PID),
            pmt: map.build(),
            version,
            streams,
            clock,
            video: video.is_some(),
        }
    }
}

/// Video, then audio, each in the order of the tracks.
fn carried(tracks: &[Track], g711: G711) -> Vec<Carried> {
    let mut streams: Vec<Carried> = Vec::new();
    let mut other = OTHER_PID;
    for (kind, first_pid) in [(MediaKind::Video, VIDEO_PID), (MediaKind::Audio, AUDIO_PID)] {
        let mut nth = 0;
        for track in tracks.iter().filter(|track| track.kind() == kind) {
            let (Some(named), Some(form)) = (Named::of(track, g711), Form::of(track)) else {
                continue;
            };
            if streams.len() == MAX_TRACKS {
                break;
            }
            let pid = if nth == 0 {
                first_pid
            } else {
                let pid = other;
                other += 1;
                pid
            };
            streams.push(Carried {
                track: track.id,
                pid,
                stream_id: es::stream_id(&named, kind, nth),
                kind,
                av1: track.codec == CodecId::Av1,
                named,
                form,
            });
            nth += 1;
        }
    }
    streams
}

/// A counter after so many packets with payload.
fn advance(counter: &mut u8, packets: usize) {
    *counter = ((usize::from(*counter) + packets) & 0xf) as u8;
}

/// A time of the stream on the line of the transport stream, in ticks.
fn ticks(time: MediaTime) -> i64 {
    time.as_ticks(CLOCK).saturating_add(OFFSET)
}

/// How much the clock is behind decoding: the time that a player has to receive a frame and the ones of other tracks before it.
const PCR_LEAD: i64 = CLOCK as i64 / 10;
/// Younger references are not followed by another.
const MIN_PCR_INTERVAL: i64 = CLOCK as i64 / 50;
/// After this time other streams bring the clock. At most 100 ms are allowed, and the next frame may come 23 ms later.
const MAX_PCR_INTERVAL: i64 = CLOCK as i64 * 70 / 1000;
/// Steps back beyond this are a new time base; smaller ones are frames out of order between streams.
const MAX_PCR_STEP_BACK: i64 = CLOCK as i64;
/// Tables are repeated at least so often. ETSI TR 101 290 asks for 500 ms.
const TABLES_INTERVAL: i64 = CLOCK as i64 / 2;

#[cfg(test)]
mod tests;
