//! A transport stream to tracks and frames.

use super::assembly::{Assembly, Continuity, Outcome, Step, Whole};
use super::clock::Clock;
use super::es::{self, Identified};
use super::framer::Framer;
use super::packet::{NULL_PID, Packet};
use super::psi::{self, Assembler, Map, PAT_PID, Refused, Table};
use super::read::{Pes, Reader, Times, Unit};
use super::{MAX_PES_LEN, MAX_TRACKS};
use bytes::Bytes;
use media::codec::source;
use media::track::AudioParams;
use media::{CodecId, Frame, MediaKind, Track, TrackId};
use slot::Slot;
use std::collections::VecDeque;

mod slot;

/// What the stream brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The program says which kinds of track will come.
    TracksDeclared {
        /// Video will come.
        video: bool,
        /// Audio will come.
        audio: bool,
    },
    /// A track appeared, or what is known about it changed. Comes before the first frame that needs it.
    Track(Track),
    /// A frame of a track that was announced. Times are those of the stream, extended beyond 33 bits.
    Frame(Frame),
    /// The sender uses something that Tidegate cannot carry. Once for each; what it carries is left out.
    Unsupported(Unsupported),
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The PID where it is said or carried.
    pub pid: u16,
    /// What, for a log line: `AC-3 (stream type 0x81)`, `program 2 beside program 1`.
    pub what: String,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were read.
    pub packets: u64,
    /// Bytes between packets, where 192 or 204 bytes follow one another or after garbage.
    pub skipped_bytes: u64,
    /// Times that packets did not follow one another any more.
    pub lost_sync: u64,
    /// Packets that are marked as damaged or cannot be read.
    pub damaged: u64,
    /// Steps of the continuity counter, of tables or media, by which something is missing.
    pub gaps: u64,
    /// Tables with a wrong checksum or length.
    pub bad_tables: u64,
    /// Packets, TS or PES, that are scrambled.
    pub scrambled: u64,
    /// PES packets that were not complete, not readable or too long.
    pub bad_pes: u64,
    /// Frames or parts of frames that were not usable.
    pub bad_frames: u64,
    /// Frames that came before anything that says how to decode them.
    pub early_frames: u64,
    /// Frames delivered.
    pub frames: u64,
}

/// Reads a transport stream. After each [`Self::push`], take all events with [`Self::poll`].
///
/// Of several programs the first one whose map has media is read, and the others are reported. Lost packets cost the PES packet they
/// belong to. A PES packet whose length is told is delivered as soon as it is complete, others when the next one begins.
#[derive(Debug, Default)]
pub struct Demuxer {
    framer: Framer,
    association: Tables,
    /// `version` of the association table in force.
    version: Option<u8>,
    /// Programs with the PID of their map.
    programs: Vec<(u16, u16)>,
    /// The PIDs of maps.
    maps: Vec<(u16, Tables)>,
    /// The map of the program that is read.
    chosen: Option<Map>,
    slots: Vec<Slot>,
    clock: Clock,
    out: Output,
    /// Kept for its memory.
    units: Vec<Unit>,
}

/// The sections of one PID.
#[derive(Debug, Default)]
struct Tables {
    continuity: Continuity,
    assembler: Assembler,
}

/// What goes out.
#[derive(Debug, Default)]
struct Output {
    events: VecDeque<Event>,
    counters: Counters,
    reported: Vec<Unsupported>,
    /// Tracks announced so far.
    tracks: u8,
}

impl Demuxer {
    /// A demuxer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes, in pieces of any size.
    pub fn push(&mut self, data: &[u8]) {
        let mut framer = std::mem::take(&mut self.framer);
        framer.push(data, |packet| self.packet(packet));
        self.framer = framer;
    }

    /// The stream ends here, or a segment of it: delivers what waited for more. Packets that follow may be of another place.
    pub fn flush(&mut self) {
        let mut framer = std::mem::take(&mut self.framer);
        framer.flush(|packet| self.packet(packet));
        self.framer = framer;
        for at in 0..self.slots.len() {
            self.end_slot(at);
        }
        for (_, tables) in &mut self.maps {
            *tables = Tables::default();
        }
        self.association = Tables::default();
    }

    /// The next event; `None` when nothing is left until more bytes come.
    pub fn poll(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// The tracks announced so far.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.slots.iter().filter_map(|slot| slot.track.as_ref())
    }

    /// Totals so far.
    pub fn counters(&self) -> Counters {
        let passed = self.framer.counts();
        Counters {
            skipped_bytes: passed.bytes,
            lost_sync: passed.lost,
            ..self.out.counters
        }
    }

    fn packet(&mut self, bytes: &[u8]) {
        count(&mut self.out.counters.packets, 1);
        let Some(packet) = Packet::parse(bytes) else {
            count(&mut self.out.counters.damaged, 1);
            return;
        };
        if packet.pid == NULL_PID {
            return;
        }
        if packet.pid == PAT_PID {
            for section in self.association.push(&packet, &mut self.out.counters) {
                self.section(PAT_PID, &section);
            }
        } else if let Some(at) = self.maps.iter().position(|map| map.0 == packet.pid) {
            let sections = match self.maps.get_mut(at) {
                Some((_, tables)) => tables.push(&packet, &mut self.out.counters),
                None => Vec::new(),
            };
            for section in sections {
                self.section(packet.pid, &section);
            }
        } else if let Some(at) = self.slots.iter().position(|slot| slot.pid == Some(packet.pid)) {
            self.media(at, &packet);
        }
    }

    fn section(&mut self, pid: u16, section: &Bytes) {
        match (psi::parse(section), pid) {
            (
                Ok(Table::Association {
                    version,
                    section,
                    programs,
                }),
                PAT_PID,
            ) => self.associate(version, section, &programs),
            (Ok(Table::Map(map)), pid) if self.programs.contains(&(map.program, pid)) => self.map(pid, map),
            (Err(Refused::Bad), _) => count(&mut self.out.counters.bad_tables, 1),
            (Ok(_) | Err(Refused::Other), _) => {}
        }
    }

    /// Takes (part of) an association table.
    fn associate(&mut self, version: u8, (number, last): (u8, u8), programs: &[(u16, u16)]) {
        if self.version != Some(version) || (number, last) == (0, 0) {
            if self.version == Some(version) && self.programs == programs {
                return;
            }
            self.programs.clear();
            self.version = Some(version);
        }
        for program in programs {
            if !self.programs.contains(program) && self.programs.len() < MAX_PROGRAMS {
                self.programs.push(*program);
            }
        }
        let listed = &self.programs;
        self.maps
            .retain(|map| listed.iter().any(|program| program.1 == map.0));
        for (_, pid) in &self.programs {
            if self.maps.iter().all(|map| map.0 != *pid) {
                self.maps.push((*pid, Tables::default()));
            }
        }
        // The rest of the list is still to come if it has several parts.
        let gone = self
            .chosen
            .as_ref()
            .is_some_and(|chosen| self.programs.iter().all(|program| program.0 != chosen.program));
        if gone && last == 0 {
            self.chosen = None;
            for at in 0..self.slots.len() {
                self.close_slot(at);
            }
        }
    }

    /// Takes the map of a program.
    fn map(&mut self, pid: u16, map: Map) {
        if self.chosen.as_ref() == Some(&map) {
            return;
        }
        let hdmv = es::is_hdmv(&map.descriptors);
        let streams: Vec<_> = map
            .streams
            .iter()
            .map(|stream| {
                (
                    stream.pid,
                    es::identify(stream.stream_type, &stream.descriptors, hdmv),
                )
            })
            .collect();
        let has = |kind| {
            streams
                .iter()
                .any(|(_, stream)| matches!(stream, Identified::Known { codec, .. } if codec.kind() == kind))
        };
        let (video, audio) = (has(MediaKind::Video), has(MediaKind::Audio));
        match &self.chosen {
            Some(chosen) if chosen.program != map.program => {
                if video || audio {
                    let what = format!("program {} beside program {}", map.program, chosen.program);
                    self.out.unsupported(Unsupported { pid, what });
                }
                return;
            }
            Some(_) => {}
            None if video || audio => {}
            None => {
                self.report(streams);
                return;
            }
        }
        self.out.events.push_back(Event::TracksDeclared { video, audio });
        for at in 0..self.slots.len() {
            let kept = self.slots.get(at).is_some_and(|slot| {
                streams.iter().any(|(pid, stream)| {
                    matches!(stream, Identified::Known { codec, .. } if slot.is(*pid, *codec))
                })
            });
            if !kept {
                self.close_slot(at);
            }
        }
        for (pid, stream) in &streams {
            if let Identified::Known { codec, config, audio } = stream {
                self.open_slot(*pid, *codec, config.as_ref(), *audio);
            }
        }
        self.report(streams);
        self.chosen = Some(map);
    }

    fn report(&mut self, streams: Vec<(u16, Identified)>) {
        for (pid, stream) in streams {
            if let Identified::Unknown(what) = stream {
                self.out.unsupported(Unsupported { pid, what });
            }
        }
    }

    /// Finds or makes the place of a stream. One that has lost its PID or codec is the same track with a new start.
    fn open_slot(&mut self, pid: u16, codec: CodecId, config: Option<&Bytes>, audio: Option<AudioParams>) {
        let open = self.slots.iter().position(|slot| slot.is(pid, codec));
        let free = |exact: bool| {
            self.slots.iter().position(|slot| {
                let codecs = (slot.source.codec(), codec);
                slot.pid.is_none() && codecs.0.kind() == codecs.1.kind() && (!exact || codecs.0 == codecs.1)
            })
        };
        let at = match open.or_else(|| free(true)).or_else(|| free(false)) {
            Some(at) => at,
            None if self.slots.len() < MAX_TRACKS => {
                self.slots.push(Slot::new(codec));
                self.slots.len() - 1
            }
            None => {
                let what = format!("more than {MAX_TRACKS} tracks");
                self.out.unsupported(Unsupported { pid, what });
                return;
            }
        };
        if let Some(slot) = self.slots.get_mut(at) {
            if open.is_none() {
                slot.open(pid, codec);
            }
            slot.describe(config, audio);
        }
    }

    /// The stream of a slot is over.
    fn close_slot(&mut self, at: usize) {
        self.end_slot(at);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.pid = None;
        }
    }

    /// Delivers what a slot holds back; what follows may be of another place.
    fn end_slot(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        slot.continuity.reset();
        let outcome = slot.assembly.end();
        self.outcome(at, outcome);
        if let Some(slot) = self.slots.get_mut(at) {
            let bad = slot.reader.flush(&mut self.units);
            count(&mut self.out.counters.bad_frames, bad);
        }
        self.deliver(at);
    }

    /// A packet of a stream that is read.
    fn media(&mut self, at: usize, packet: &Packet<'_>) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        let counters = &mut self.out.counters;
        let step = slot.continuity.step(packet);
        let Some(payload) = packet.payload else { return };
        if packet.scrambled {
            count(&mut counters.scrambled, 1);
        }
        match step {
            Step::Repeat => return,
            Step::Gap => {
                count(&mut counters.gaps, 1);
                slot.lose(counters);
            }
            // Nothing is missing before a new beginning.
            Step::Restart if !packet.starts => slot.lose(counters),
            Step::Next | Step::Restart if packet.scrambled => slot.lose(counters),
            Step::Next | Step::Restart => {}
        }
        if packet.scrambled {
            return;
        }
        if packet.starts {
            let outcome = slot.assembly.end();
            self.outcome(at, outcome);
            if let Some(slot) = self.slots.get_mut(at) {
                slot.assembly.begin(packet);
            }
        }
        if let Some(slot) = self.slots.get_mut(at) {
            let outcome = slot.assembly.push(payload);
            self.outcome(at, outcome);
        }
        self.limit(at);
    }

    /// All streams together hold no more than [`MAX_HELD`]; the one that grows beyond it starts anew.
    fn limit(&mut self, at: usize) {
        let total = || self.slots.iter().map(Slot::held).sum::<usize>();
        let large = self
            .slots
            .get(at)
            .is_some_and(|slot| slot.held() > MAX_HELD / MAX_TRACKS);
        if large
            && total() > MAX_HELD
            && let Some(slot) = self.slots.get_mut(at)
        {
            slot.lose(&mut self.out.counters);
        }
    }

    fn outcome(&mut self, at: usize, outcome: Outcome) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        let counters = &mut self.out.counters;
        match outcome {
            Outcome::More => {}
            Outcome::Bad => {
                count(&mut counters.bad_pes, 1);
                count(&mut counters.bad_frames, slot.reader.reset());
            }
            Outcome::Scrambled => {
                count(&mut counters.scrambled, 1);
                count(&mut counters.bad_frames, slot.reader.reset());
            }
            Outcome::Whole(whole) => {
                let pes = pes(whole, &mut self.clock);
                let bad = slot.reader.push(pes, &mut self.units);
                count(&mut counters.bad_frames, bad);
                self.deliver(at);
            }
        }
    }

    /// Turns what a reader brought into tracks and frames.
    fn deliver(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        for unit in self.units.drain(..) {
            slot.deliver(unit, &mut self.out);
        }
    }
}

/// A PES packet with its times on the line of the program.
fn pes(whole: Whole, clock: &mut Clock) -> Pes {
    let Whole {
        head,
        payload,
        random_access,
    } = whole;
    let times = head.pts.map(|pts| {
        let dts = clock.extend(head.dts.unwrap_or(pts));
        // Shown a little after it is decoded, whatever the line has gone through.
        let mut from = *clock;
        let pts = from.extend(pts);
        Times { dts, pts }
    });
    Pes {
        data: payload,
        times,
        bounded: head.payload_len.is_some(),
        random_access,
    }
}

impl Tables {
    /// Takes a packet and gives the sections that are complete with it.
    fn push(&mut self, packet: &Packet<'_>, counters: &mut Counters) -> Vec<Bytes> {
        let mut sections = Vec::new();
        // Some senders never count in their tables; a section that comes again does no harm.
        if self.continuity.step(packet) == Step::Gap {
            count(&mut counters.gaps, 1);
            self.assembler.reset();
        }
        if let Some(payload) = packet.payload.filter(|_| !packet.scrambled) {
            self.assembler
                .push(payload, packet.starts, |section| sections.push(section));
        }
        sections
    }
}

impl Output {
    fn unsupported(&mut self, new: Unsupported) {
        if self.reported.len() < MAX_REPORTS && !self.reported.contains(&new) {
            self.reported.push(new.clone());
            self.events.push_back(Event::Unsupported(new));
        }
    }
}

fn count(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// Most bytes of unfinished PES packets and access units of all streams together: one of the longest and what others need.
const MAX_HELD: usize = 3 * MAX_PES_LEN;
/// Most programs whose maps are looked at. Broadcast multiplexes have about ten.
const MAX_PROGRAMS: usize = 32;
/// Different things reported as unsupported in one stream.
const MAX_REPORTS: usize = 16;

#[cfg(test)]
mod tests;
