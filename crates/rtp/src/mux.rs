//! From frames to the packets that RTSP players get: RTP and RTCP, each framed for an interleaved channel.
//!
//! All packets of one frame stand in one piece of memory, made once for all players. A player over TCP gets it in one write;
//! for one over UDP [`frames`] walks along the frames `$`, channel, length, packet (RFC 2326, section 10.12). Track `n` of the
//! description has channel `2n` for RTP and `2n + 1` for RTCP.
//!
//! Sender reports stand before each frame that a player may start at, so every player can relate the tracks from its first
//! packet on, and every few seconds in between.

use crate::demux::CNAME;
use crate::format::Format;
use crate::packet::{HEADER_LEN, Header};
use crate::payload::{Packer, Sink};
use crate::rtcp::{NtpTime, SenderReport};
use crate::sdp;
use bytes::{BufMut, Bytes, BytesMut};
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Packet, Track, TrackId};
use smallvec::smallvec;
use std::sync::Arc;

/// How packets are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest packet of a video track, bytes of RTP (`rtp.videoMtuSize`).
    pub video_mtu: usize,
    /// Longest packet of an audio track, bytes of RTP (`rtp.audioMtuSize`).
    pub audio_mtu: usize,
    /// Parameter sets of H.264 in one packet (`rtp.h264_stap_a`).
    pub stap_a: bool,
    /// Pass the publisher's own packets on where there are any (`rtsp.directProxy`).
    pub direct: bool,
    /// Makes sources and first numbers, which are to be unpredictable (RFC 3550, section 5.1). The same for one stream.
    pub seed: u64,
    /// The wall clock at the stream's media time 0.
    pub epoch: NtpTime,
}

/// The bytes before a packet in an interleaved channel.
pub const FRAME_HEAD: usize = 4;

/// Longest time between two sender reports. Players find each other by the first one already.
const REPORT_INTERVAL: MediaTime = MediaTime::from_millis(5_000);

/// For audio only, where every frame is a start.
const AUDIO_REPORT_INTERVAL: MediaTime = MediaTime::from_millis(1_000);

/// The frames in a piece of memory: channel and packet.
pub fn frames(mut piece: Bytes) -> impl Iterator<Item = (u8, Bytes)> {
    std::iter::from_fn(move || {
        let &[_, channel, high, low] = piece.first_chunk::<FRAME_HEAD>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let end = FRAME_HEAD + len;
        (end <= piece.len()).then(|| {
            let frame = piece.split_to(end);
            (channel, frame.slice(FRAME_HEAD..))
        })
    })
}

/// The source of the packets of the track at `index` of the description.
pub fn ssrc(seed: u64, index: usize) -> u32 {
    // 0 is what unset fields look like.
    (mix(seed, index as u64) as u32).max(1)
}

/// The media sections for the tracks, in the order of their channels.
pub fn describe(tracks: &[Track], direct: bool) -> Vec<sdp::Media> {
    carried(tracks, direct)
        .into_iter()
        .map(|carried| carried.section)
        .collect()
}

/// A track that RTP can carry.
struct Carried<'a> {
    track: &'a Track,
    format: Format,
    section: sdp::Media,
    /// The publisher's packets are passed on.
    passed: bool,
}

/// The tracks that RTP can carry. Their place in the list is that of their channels.
fn carried(tracks: &[Track], direct: bool) -> Vec<Carried<'_>> {
    let mut carried: Vec<Carried<'_>> = Vec::with_capacity(tracks.len());
    for track in tracks {
        if carried.len() == MAX_TRACKS {
            break;
        }
        if let Some((format, section)) = passed(track, direct) {
            carried.push(Carried {
                track,
                format,
                section,
                passed: true,
            });
        } else if let Some(format) = Format::for_track(track, FIRST_DYNAMIC_TYPE + (carried.len() % 32) as u8)
        {
            carried.push(Carried {
                track,
                section: format.media("", None),
                format,
                passed: false,
            });
        }
    }
    name_controls(&mut carried);
    carried
}

/// Two channels each, of 256.
const MAX_TRACKS: usize = 128;

/// Dynamic payload types begin here (RFC 3551, section 3).
const FIRST_DYNAMIC_TYPE: u8 = 96;

fn passed(track: &Track, direct: bool) -> Option<(Format, sdp::Media)> {
    let wire = track
        .wire
        .as_ref()
        .filter(|_| direct || is_passed_only(track.codec))?;
    let mut section = sdp::Media::parse_section(wire).ok()?;
    // The packets get sources of ours.
    section
        .attributes
        .retain(|(name, _)| !matches!(&**name, "ssrc" | "ssrc-group"));
    Some((Format::of(&section)?, section))
}

/// Gives each section a control of its own. A publisher's name stays if it can; the others get `trackID=n`.
fn name_controls(carried: &mut [Carried<'_>]) {
    let mut names: Vec<Option<String>> = Vec::with_capacity(carried.len());
    for Carried { section, .. } in &*carried {
        let name = section.control().filter(|name| is_plain(name)).map(str::to_owned);
        let name = name.filter(|_| !names.iter().any(|other| other.as_deref() == section.control()));
        names.push(name);
    }
    for index in 0..carried.len() {
        if names[index].is_none() {
            let free = (index..)
                .map(|number| format!("trackID={number}"))
                .find(|name| !names.iter().flatten().any(|other| other == name));
            if let Some(name) = &free {
                set_control(&mut carried[index].section, name.clone());
            }
            names[index] = free;
        }
    }
}

/// Whether a control can stand behind our own URL, and in the list of `RTP-Info`. A camera's may be absolute, and players have no
/// business there.
fn is_plain(control: &str) -> bool {
    let usable = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '*' | '#' | '"' | ',' | ';');
    !control.is_empty() && control.chars().all(usable)
}

fn set_control(section: &mut sdp::Media, control: String) {
    section.attributes.retain(|(name, _)| name != "control");
    section.attributes.push(("control".to_owned(), Some(control)));
}

/// Codecs of which Tidegate knows the packets only.
pub const fn is_passed_only(codec: CodecId) -> bool {
    matches!(codec, CodecId::Jpeg | CodecId::Other(_))
}

/// One track.
struct Lane {
    track: TrackId,
    kind: MediaKind,
    /// The publisher's description, if its packets are passed on.
    wire: Option<Arc<str>>,
    channel: u8,
    payload_type: u8,
    clock_rate: u32,
    packer: Option<Packer>,
    ssrc: u32,
    sequence: u16,
    /// Added to the ticks of our own packets.
    base: u32,
    /// A moment and its RTP time, of the last frame.
    mapping: Option<(MediaTime, u32)>,
    source: Option<Source>,
    packets: u32,
    octets: u32,
}

/// How the publisher's packets are renumbered, so that players see one sequence over its restarts.
#[derive(Clone, Copy)]
struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

/// Makes packets of one stream.
pub struct Muxer {
    options: Options,
    lanes: Vec<Lane>,
    reported: Option<MediaTime>,
}

impl Muxer {
    /// A muxer that knows no track yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            lanes: Vec::new(),
            reported: None,
        }
    }

    /// Sender reports of the tracks that have a time line, for the moment `time`.
    fn reports(&self, lanes: &[Lane], time: MediaTime, buffer: &mut BytesMut) {
        let ntp = self.options.epoch.plus_micros(time.as_micros());
        let mut scratch = BytesMut::new();
        for lane in lanes {
            let Some(timestamp) = lane.rtp_time(time) else {
                continue;
            };
            let report = SenderReport {
                ssrc: lane.ssrc,
                ntp,
                rtp: timestamp,
                packets: lane.packets,
                octets: lane.octets,
                reports: Vec::new(),
            };
            report.write(CNAME, &mut scratch);
            let report = scratch.split();
            frame_head(lane.channel + 1, report.len(), buffer);
            buffer.put_slice(&report);
        }
    }

    fn lane(&self, index: usize, carried: &Carried<'_>) -> Option<Lane> {
        let (track, format) = (carried.track, &carried.format);
        let mix = |salt: u64| mix(self.options.seed ^ salt, index as u64);
        Some(Lane {
            track: track.id,
            kind: track.kind(),
            wire: track.wire.clone().filter(|_| carried.passed),
            channel: u8::try_from(index * 2).ok()?,
            payload_type: format.payload_type,
            clock_rate: format.clock_rate,
            packer: Packer::new(track, self.options.stap_a, mix(3) as u16),
            ssrc: ssrc(self.options.seed, index),
            sequence: mix(1) as u16,
            base: mix(2) as u32,
            mapping: None,
            source: None,
            packets: 0,
            octets: 0,
        })
    }
}

impl Mux for Muxer {
    fn set_tracks(&mut self, tracks: &[Track], _out: &mut Vec<Packet>) {
        let mut old = std::mem::take(&mut self.lanes);
        for (index, carried) in carried(tracks, self.options.direct).iter().enumerate() {
            let Some(mut lane) = self.lane(index, carried) else {
                continue;
            };
            // The time line and the numbers of a track go on, whatever became of its configuration.
            if let Some(before) = old
                .iter()
                .position(|old| old.channel == lane.channel && old.kind == lane.kind)
            {
                lane.continues(old.swap_remove(before));
            }
            self.lanes.push(lane);
        }
    }

    fn preamble(&self) -> Vec<Packet> {
        // Everything is in the description, and in the reports before each key frame.
        Vec::new()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let Some(at) = self.lanes.iter().position(|lane| lane.track == frame.track) else {
            return;
        };
        let lead = self
            .lanes
            .iter()
            .position(|lane| lane.kind == MediaKind::Video)
            .unwrap_or(0);
        let key = frame.key && at == lead;
        let video = self.lanes[lead].kind == MediaKind::Video;
        let mtu = match self.lanes[at].kind {
            MediaKind::Video => self.options.video_mtu,
            MediaKind::Audio => self.options.audio_mtu,
        };
        let first = self.lanes[at].mapping.is_none();
        self.lanes[at].keep_time(frame);
        let interval = if video {
            REPORT_INTERVAL
        } else {
            AUDIO_REPORT_INTERVAL
        };
        let due = match self.reported {
            None => true,
            // Tracks are interleaved, so a step back is none unless it is long.
            Some(last) => (frame.dts - last).max(last - frame.dts) >= interval,
        };
        let reported = if due || key && video {
            self.reported = Some(frame.dts);
            &self.lanes[..]
        } else if first {
            // It had no time that a report could tell, or nobody knew of it.
            &self.lanes[at..=at]
        } else {
            &[]
        };
        let room = self.lanes[at].room(frame, mtu) + reported.len() * REPORT_ROOM;
        let mut buffer = BytesMut::with_capacity(room);
        self.reports(reported, frame.pts, &mut buffer);
        self.lanes[at].write(frame, mtu, &mut buffer);
        if !buffer.is_empty() {
            out.push(Packet {
                parts: smallvec![buffer.freeze()],
                key,
                config: false,
                dts: frame.dts,
            });
        }
    }
}

impl Lane {
    fn continues(&mut self, before: Self) {
        self.sequence = before.sequence;
        self.packets = before.packets;
        self.octets = before.octets;
        if self.clock_rate == before.clock_rate {
            (self.base, self.mapping) = (before.base, before.mapping);
        }
        if self.wire == before.wire {
            self.source = before.source;
        } else if let (None, Some((time, timestamp))) = (&self.wire, self.mapping) {
            // From passed on to packed: the time line goes on.
            self.base = timestamp.wrapping_sub(ticks(time, self.clock_rate));
        }
        // Their picture numbers go on; nothing of the configuration is in them.
        if let (Some(Packer::Vp8(_)), Some(Packer::Vp8(_))) | (Some(Packer::Vp9(_)), Some(Packer::Vp9(_))) =
            (&self.packer, &before.packer)
        {
            self.packer = before.packer;
        }
    }

    /// About how many bytes the packets of a frame take.
    fn room(&self, frame: &Frame, mtu: usize) -> usize {
        match self.passed(frame) {
            Some(packets) => packets.iter().map(|packet| FRAME_HEAD + packet.len()).sum(),
            None => {
                let len = frame.data.len();
                len + (len / payload_room(mtu) + 4) * (FRAME_HEAD + HEADER_LEN + 8)
            }
        }
    }

    /// The RTP time of a moment.
    fn rtp_time(&self, time: MediaTime) -> Option<u32> {
        match (&self.wire, self.mapping) {
            (Some(_), None) => None,
            (Some(_), Some((then, timestamp))) => {
                Some(timestamp.wrapping_add(ticks(time - then, self.clock_rate)))
            }
            (None, _) => Some(self.base.wrapping_add(ticks(time, self.clock_rate))),
        }
    }

    fn passed<'a>(&self, frame: &'a Frame) -> Option<&'a [Bytes]> {
        self.wire.as_ref().and(frame.wire.as_deref())
    }

    /// Notes the RTP time of a frame before it is written, so that the report before it is right.
    fn keep_time(&mut self, frame: &Frame) {
        let Some(packets) = self.passed(frame) else {
            let own = self.base.wrapping_add(ticks(frame.pts, self.clock_rate));
            self.mapping = Some((frame.pts, self.rtp_time(frame.pts).unwrap_or(own)));
            return;
        };
        let Some(last) = packets.last().and_then(head) else {
            return;
        };
        let expected = self
            .mapping
            .map(|(then, timestamp)| timestamp.wrapping_add(ticks(frame.pts - then, self.clock_rate)));
        let goes_on = |source: &Source| {
            let now = last.timestamp.wrapping_add(source.timestamp);
            let off = expected.map_or(0, |expected| now.wrapping_sub(expected) as i32);
            source.ssrc == last.ssrc && off.unsigned_abs() <= self.clock_rate.saturating_mul(MAX_JUMP_SECS)
        };
        let source = self.source.filter(goes_on).unwrap_or_else(|| {
            let first = packets.first().and_then(head).unwrap_or(last);
            match expected {
                // The publisher's own numbers, until another one goes on.
                None => Source {
                    ssrc: last.ssrc,
                    sequence: 0,
                    timestamp: 0,
                },
                Some(expected) => Source {
                    ssrc: last.ssrc,
                    sequence: self.sequence.wrapping_sub(first.sequence),
                    timestamp: expected.wrapping_sub(last.timestamp),
                },
            }
        });
        self.source = Some(source);
        self.mapping = Some((frame.pts, last.timestamp.wrapping_add(source.timestamp)));
    }

    fn write(&mut self, frame: &Frame, mtu: usize, buffer: &mut BytesMut) {
        if let (Some(packets), Some(source)) = (self.passed(frame), self.source) {
            for packet in packets {
                self.pass(packet, source, buffer);
            }
            return;
        }
        let Some((_, timestamp)) = self.mapping else {
            return;
        };
        let Some(mut packer) = self.packer.take() else {
            return;
        };
        // The publisher's numbers do not go on behind our own.
        self.source = None;
        let mut writer = Writer {
            max: payload_room(mtu),
            timestamp,
            lane: self,
            buffer,
        };
        packer.pack(frame, &mut writer);
        self.packer = Some(packer);
    }

    /// One packet of the publisher's, with our numbers.
    fn pass(&mut self, packet: &Bytes, source: Source, buffer: &mut BytesMut) {
        let Some(header) = head(packet) else { return };
        let sequence = header.sequence.wrapping_add(source.sequence);
        let timestamp = header.timestamp.wrapping_add(source.timestamp);
        if packet.len() > usize::from(u16::MAX) {
            return;
        }
        frame_head(self.channel, packet.len(), buffer);
        buffer.put_slice(&packet[..2]);
        buffer.put_u16(sequence);
        buffer.put_u32(timestamp);
        buffer.put_u32(self.ssrc);
        buffer.put_slice(&packet[HEADER_LEN..]);
        self.sequence = sequence.wrapping_add(1);
        self.count(packet.len() - HEADER_LEN);
    }

    fn count(&mut self, payload: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
    }
}

/// The timestamps of one source may step by this much more or less than the time does. Some senders begin anew with the same SSRC,
/// and a camera whose clock is set jumps by any time.
const MAX_JUMP_SECS: u32 = 1;

/// Room for a payload in packets of this length.
fn payload_room(mtu: usize) -> usize {
    mtu.min(usize::from(u16::MAX))
        .saturating_sub(HEADER_LEN)
        .max(MIN_PAYLOAD)
}

/// Least room for a payload, whatever the configured packet length.
const MIN_PAYLOAD: usize = 100;

/// Room for a sender report with the name of its source.
const REPORT_ROOM: usize = 64;

struct Writer<'a> {
    lane: &'a mut Lane,
    buffer: &'a mut BytesMut,
    timestamp: u32,
    max: usize,
}

impl Sink for Writer<'_> {
    fn max_payload(&self) -> usize {
        self.max
    }

    fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]) {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        // What cannot be cut may be longer than wished, but not than a frame of an interleaved channel.
        if payload + HEADER_LEN > usize::from(u16::MAX) {
            return;
        }
        frame_head(self.lane.channel, HEADER_LEN + payload, self.buffer);
        Header {
            marker,
            payload_type: self.lane.payload_type,
            sequence: self.lane.sequence,
            timestamp: self.timestamp.wrapping_add(offset),
            ssrc: self.lane.ssrc,
        }
        .write(self.buffer);
        for part in parts {
            self.buffer.put_slice(part);
        }
        self.lane.sequence = self.lane.sequence.wrapping_add(1);
        self.lane.count(payload);
    }
}

/// The caller keeps `len` below 2^16.
fn frame_head(channel: u8, len: usize, buffer: &mut BytesMut) {
    buffer.put_u8(b'$');
    buffer.put_u8(channel);
    buffer.put_u16(len as u16);
}

/// What is renumbered in a packet. All that came were checked then.
#[derive(Clone, Copy)]
struct Head {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

fn head(packet: &Bytes) -> Option<Head> {
    let &[_, _, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = packet.first_chunk::<HEADER_LEN>()?;
    Some(Head {
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
    })
}

/// Modulo 2^32, as RTP counts.
fn ticks(time: MediaTime, clock_rate: u32) -> u32 {
    time.as_ticks(clock_rate) as u32
}

/// SplitMix64: neighbours give unrelated numbers.
fn mix(seed: u64, salt: u64) -> u64 {
    let mut z = seed.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
