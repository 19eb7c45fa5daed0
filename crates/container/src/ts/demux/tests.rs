//! Streams with everything that senders and networks do to them.

use super::super::mux::{Muxer, Options};
use super::super::packet::{Adaptation, PACKET_LEN, Sink, Writer};
use super::super::pes::Head;
use super::super::psi::Stream;
use super::super::{AUDIO_PID, G711, VIDEO_PID};
use super::*;
use bytes::BytesMut;
use media::track::{AudioParams, TrackParams, VideoParams};
use media::{MediaTime, Mux};
use std::collections::BTreeMap;

const SPS: &[u8] = &[
    0x67, 0x64, 0, 0x0a, 0xac, 0x72, 0x84, 0x44, 0x26, 0x84, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xca, 0x3c, 0x48,
    0x96, 0x11, 0x80,
];
const PPS: &[u8] = &[0x68, 0xe8, 0x43, 0x8f, 0x13, 0x21, 0x30];

fn video() -> Track {
    let mut config = vec![1, 0x64, 0, 0x0a, 0xff, 0xe1, 0, SPS.len() as u8];
    config.extend(SPS);
    config.extend([1, 0, PPS.len() as u8]);
    config.extend(PPS);
    config.extend([0xfd, 0xf8, 0xf8, 0]);
    Track {
        id: TrackId(0),
        codec: CodecId::H264,
        config: Some(config.into()),
        params: TrackParams::Video(VideoParams::default()),
        wire: None,
    }
}

fn audio() -> Track {
    Track {
        id: TrackId(1),
        codec: CodecId::Aac,
        config: Some(Bytes::from_static(&[0x11, 0x90])),
        params: TrackParams::Audio(AudioParams {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16,
        }),
        wire: None,
    }
}

fn frame(track: u8, ms: i64, data: &[u8]) -> Frame {
    Frame {
        track: TrackId(track),
        dts: MediaTime::from_millis(ms),
        pts: MediaTime::from_millis(ms),
        key: true,
        data: Bytes::copy_from_slice(data),
        wire: None,
    }
}

fn picture(ms: i64, mark: u8) -> Frame {
    let mut slice = vec![0x65, 0x88];
    slice.resize(600, mark);
    let units = [SPS, PPS, &slice];
    let mut data = Vec::new();
    for unit in units {
        data.extend((unit.len() as u32).to_be_bytes());
        data.extend(unit);
    }
    frame(0, ms, &data)
}

fn sound(ms: i64, mark: u8) -> Frame {
    frame(1, ms, &[mark; 300])
}

/// The packets of frames.
fn packets(tracks: &[Track], frames: &[Frame]) -> Vec<[u8; PACKET_LEN]> {
    let (mut muxer, mut out) = (Muxer::new(Options::default()), Vec::new());
    muxer.carry(tracks);
    frames.iter().for_each(|frame| muxer.write(frame, &mut out));
    let bytes: Vec<u8> = out.iter().flat_map(|packet| packet.parts[0].to_vec()).collect();
    split(&bytes)
}

fn split(bytes: &[u8]) -> Vec<[u8; PACKET_LEN]> {
    bytes
        .chunks(PACKET_LEN)
        .map(|packet| packet.try_into().unwrap())
        .collect()
}

fn pid(packet: &[u8; PACKET_LEN]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

fn polled(demuxer: &mut Demuxer) -> Vec<Event> {
    std::iter::from_fn(|| demuxer.poll()).collect()
}

/// Reads packets to their end.
fn read(packets: &[[u8; PACKET_LEN]]) -> (Vec<Event>, Counters) {
    let mut demuxer = Demuxer::new();
    packets.iter().for_each(|packet| demuxer.push(packet));
    demuxer.flush();
    (polled(&mut demuxer), demuxer.counters())
}

/// Track, presentation time in milliseconds from the 1.4 s of the muxer, and last byte.
fn frames(events: &[Event]) -> Vec<(u8, i64, u8)> {
    let frame = |event: &Event| match event {
        Event::Frame(frame) => Some((
            frame.track.0,
            frame.pts.as_millis() - 1_400,
            frame.data[frame.data.len() - 1],
        )),
        Event::TracksDeclared { .. } | Event::Track(_) | Event::Unsupported(_) => None,
    };
    events.iter().filter_map(frame).collect()
}

/// As [`frames`], without the tracks: these are numbered in order of appearance.
fn marks(events: &[Event]) -> Vec<(i64, u8)> {
    frames(events)
        .into_iter()
        .map(|(_, ms, mark)| (ms, mark))
        .collect()
}

fn unsupported(events: &[Event]) -> Vec<(u16, String)> {
    let unsupported = |event: &Event| match event {
        Event::Unsupported(unsupported) => Some((unsupported.pid, unsupported.what.clone())),
        Event::TracksDeclared { .. } | Event::Track(_) | Event::Frame(_) => None,
    };
    events.iter().filter_map(unsupported).collect()
}

/// A whole stream of two pictures and three sounds.
fn stream() -> Vec<[u8; PACKET_LEN]> {
    let frames = [
        picture(0, 1),
        sound(0, 2),
        sound(21, 3),
        picture(40, 4),
        sound(43, 5),
    ];
    packets(&[video(), audio()], &frames)
}

const ALL: [(i64, u8); 5] = [(0, 1), (0, 2), (21, 3), (40, 4), (43, 5)];

#[test]
fn tracks_are_declared_announced_and_followed_by_their_frames() {
    let (events, counters) = read(&stream());
    assert_eq!(
        events[0],
        Event::TracksDeclared {
            video: true,
            audio: true
        }
    );
    let Event::Track(track) = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (track.id, track.codec, track.config.clone()),
        (TrackId(0), CodecId::H264, video().config)
    );
    assert_eq!(events[3], Event::Track(audio()));
    let numbered = [(0, 0, 1), (1, 0, 2), (1, 21, 3), (0, 40, 4), (1, 43, 5)];
    assert_eq!(frames(&events), numbered);
    assert_eq!(
        counters,
        Counters {
            packets: stream().len() as u64,
            frames: 5,
            ..Counters::default()
        }
    );
}

#[test]
fn a_frame_whose_length_is_told_is_there_with_its_last_packet() {
    let mut demuxer = Demuxer::new();
    let packets = packets(&[video(), audio()], &[picture(0, 1)]);
    let (last, rest) = packets.split_last().unwrap();
    rest.iter().for_each(|packet| demuxer.push(packet));
    assert_eq!(frames(&polled(&mut demuxer)), []);
    demuxer.push(last);
    assert_eq!(frames(&polled(&mut demuxer)), [(0, 0, 1)]);
}

#[test]
fn a_lost_packet_costs_its_frame() {
    let packets = stream();
    for lost in 0..packets.len() {
        let mut left = packets.clone();
        left.remove(lost);
        let (events, counters) = read(&left);
        // Without tables all is lost up to the next ones.
        let missing = if lost < 2 { 3 } else { 1 };
        let whole = pid(&packets[lost]) < VIDEO_PID && lost >= 2;
        let found = marks(&events);
        assert!(found.iter().all(|frame| ALL.contains(frame)), "{lost}: {found:?}");
        if whole {
            assert_eq!(found.len(), 5, "{lost}");
        } else {
            assert!(found.len() + missing >= 5 && found.len() < 5, "{lost}: {found:?}");
        }
        assert!(counters.gaps <= 1);
    }
}

#[test]
fn repeated_packets_are_read_once() {
    let twice: Vec<_> = stream().into_iter().flat_map(|packet| [packet, packet]).collect();
    let (events, counters) = read(&twice);
    assert_eq!((marks(&events), counters.gaps), (ALL.to_vec(), 0));
}

#[test]
fn damaged_and_scrambled_packets_are_left_out() {
    let mut packets = stream();
    packets[3][1] |= 0x80;
    let (events, counters) = read(&packets);
    assert_eq!(marks(&events), ALL[1..]);
    assert_eq!((counters.damaged, counters.gaps), (1, 1));
    let mut packets = stream();
    let scrambled = packets.iter_mut().filter(|packet| pid(packet) == AUDIO_PID);
    let count = scrambled.map(|packet| packet[3] |= 0x80).count();
    let (events, counters) = read(&packets);
    assert_eq!(marks(&events), [ALL[0], ALL[3]]);
    assert_eq!((counters.scrambled, counters.gaps), (count as u64, 0));
}

#[test]
fn bad_tables_are_not_used() {
    let mut packets = stream();
    packets[1][20] ^= 1;
    let (events, counters) = read(&packets);
    assert_eq!(marks(&events), ALL[3..]);
    assert_eq!(counters.bad_tables, 1);
}

/// Writes PSI and PES by hand.
#[derive(Default)]
struct Sender {
    out: BytesMut,
    counters: BTreeMap<u16, u8>,
}

impl Sender {
    fn section(&mut self, pid: u16, section: &Bytes) {
        psi::put(section, pid, self.counters.entry(pid).or_default(), &mut self.out);
    }

    fn map(&mut self, pid: u16, program: u16, version: u8, streams: &[(u8, u16, &'static [u8])]) {
        let streams = streams.iter().map(|(stream_type, pid, descriptors)| Stream {
            stream_type: *stream_type,
            pid: *pid,
            descriptors: Bytes::from_static(descriptors),
        });
        let map = Map {
            program,
            version,
            pcr_pid: VIDEO_PID,
            descriptors: Bytes::new(),
            streams: streams.collect(),
        };
        self.section(pid, &map.build());
    }

    fn pes(&mut self, pid: u16, adaptation: Adaptation, pes: &[u8]) {
        let counter = self.counters.entry(pid).or_default();
        Writer::new(&mut self.out, pid, counter, adaptation, pes.len()).put(pes);
    }

    /// Sound of a known length at so many ticks.
    fn sound(&mut self, pid: u16, ticks: i64, payload: &[u8]) {
        let head = Head::new(0xc0, false, ticks, ticks, payload.len()).unwrap();
        self.pes(pid, Adaptation::default(), &[head.as_slice(), payload].concat());
    }

    fn read(&self) -> (Vec<Event>, Counters) {
        read(&split(&self.out))
    }
}

fn adts(mark: u8) -> Vec<u8> {
    let config = media::codec::aac::Config::parse(&[0x11, 0x90]).unwrap();
    [
        &media::codec::aac::Adts::header(&config, 9).unwrap()[..],
        &[mark; 9],
    ]
    .concat()
}

fn ms(ms: i64) -> i64 {
    126_000 + 90 * ms
}

#[test]
fn the_first_program_with_media_is_read_and_others_are_named() {
    let mut sender = Sender::default();
    // Three programs in one table of two parts would be the same; the first one has subtitles only.
    let three = [
        &psi::association(5, 0x200)[8..12],
        &psi::association(6, 0x300)[8..12],
        &psi::association(7, 0x400)[8..12],
    ];
    sender.section(0, &psi::section(0, 1, 0, &three.concat()));
    sender.map(0x200, 5, 0, &[(6, 0x201, b"\x59\x08eng\x10\0\x01\0\x02")]);
    sender.map(0x300, 6, 0, &[(0x0f, 0x301, b""), (0x81, 0x302, b"")]);
    sender.map(0x400, 7, 0, &[(0x0f, 0x401, b"")]);
    sender.sound(0x301, ms(0), &adts(1));
    sender.sound(0x401, ms(0), &adts(2));
    sender.map(0x400, 7, 0, &[(0x0f, 0x401, b"")]);
    let (events, _) = sender.read();
    assert_eq!(frames(&events), [(0, 0, 1)]);
    let expected = [
        (0x302, "AC-3 (stream type 0x81)".to_owned()),
        (0x400, "program 7 beside program 6".to_owned()),
    ];
    assert_eq!(unsupported(&events), expected);
    // Once it is gone, another one is read.
    sender.section(0, &psi::section(0, 1, 1, three[2]));
    sender.map(0x400, 7, 0, &[(0x0f, 0x401, b"")]);
    sender.sound(0x401, ms(20), &adts(3));
    assert_eq!(frames(&sender.read().0), [(0, 0, 1), (0, 20, 3)]);
}

#[test]
fn streams_may_move_go_and_come_back() {
    let mut sender = Sender::default();
    sender.section(0, &psi::association(1, 0x100));
    sender.map(0x100, 1, 0, &[(0x0f, 0x101, b"")]);
    sender.sound(0x101, ms(0), &adts(1));
    // Another PID: the same track.
    sender.map(0x100, 1, 1, &[(0x0f, 0x105, b"")]);
    sender.sound(0x105, ms(21), &adts(2));
    sender.sound(0x101, ms(21), &adts(3));
    // Another codec: still the same, with a new start.
    sender.map(0x100, 1, 2, &[(0x90, 0x105, b"")]);
    sender.sound(0x105, ms(42), &[4; 80]);
    // One more.
    sender.map(0x100, 1, 3, &[(0x90, 0x105, b""), (0x0f, 0x106, b"")]);
    sender.sound(0x105, ms(52), &[5; 80]);
    sender.sound(0x106, ms(52), &adts(6));
    let (events, counters) = sender.read();
    assert_eq!(
        frames(&events),
        [(0, 0, 1), (0, 21, 2), (0, 42, 4), (0, 52, 5), (1, 52, 6)]
    );
    let codecs: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Track(track) => Some((track.id.0, track.codec)),
            _ => None,
        })
        .collect();
    assert_eq!(
        codecs,
        [(0, CodecId::Aac), (0, CodecId::G711A), (1, CodecId::Aac)]
    );
    assert_eq!((counters.gaps, counters.bad_frames), (0, 0));
}

#[test]
fn a_length_that_is_not_told_ends_with_the_next_packet_or_the_stream() {
    let mut sender = Sender::default();
    sender.section(0, &psi::association(1, 0x100));
    sender.map(0x100, 1, 0, &[(0x1b, 0x101, b"")]);
    let start = split(&sender.out);
    let unit = |mark| {
        [
            &[0, 0, 0, 1][..],
            SPS,
            &[0, 0, 0, 1],
            PPS,
            &[0, 0, 0, 1, 0x65, 0x88, mark],
        ]
        .concat()
    };
    for mark in 1..4 {
        let mut pes = Head::new(0xe0, true, ms(40 * i64::from(mark)), ms(0), 9)
            .unwrap()
            .as_slice()
            .to_vec();
        (pes[4], pes[5]) = (0, 0);
        sender.pes(0x101, Adaptation::default(), &[&pes[..], &unit(mark)].concat());
    }
    let mut demuxer = Demuxer::new();
    let mut seen = Vec::new();
    for packet in split(&sender.out) {
        demuxer.push(&packet);
        seen.push(frames(&polled(&mut demuxer)).len());
    }
    assert_eq!(seen[start.len()..], [0, 1, 1]);
    demuxer.flush();
    assert_eq!(frames(&polled(&mut demuxer)), [(0, 120, 3)]);
}

#[test]
fn a_restart_that_is_told_costs_nothing_that_was_whole() {
    let mut sender = Sender::default();
    sender.section(0, &psi::association(1, 0x100));
    sender.map(0x100, 1, 0, &[(0x0f, 0x101, b"")]);
    sender.sound(0x101, ms(0), &adts(1));
    sender.counters.insert(0x101, 9);
    let restart = Adaptation {
        discontinuity: true,
        ..Adaptation::default()
    };
    let head = Head::new(0xc0, false, ms(5_000), ms(5_000), 16).unwrap();
    sender.pes(0x101, restart, &[head.as_slice(), &adts(2)].concat());
    let (events, counters) = sender.read();
    assert_eq!(frames(&events), [(0, 0, 1), (0, 5_000, 2)]);
    assert_eq!((counters.gaps, counters.bad_pes), (0, 0));
}

#[test]
fn times_of_all_streams_go_on_past_33_bits() {
    let wrap_ms = (1i64 << 33) / 90 - 1_400;
    let sent = [
        picture(wrap_ms - 20, 1),
        sound(wrap_ms + 10, 2),
        picture(wrap_ms + 20, 3),
        sound(wrap_ms - 5, 4),
    ];
    let (events, _) = read(&packets(&[video(), audio()], &sent));
    let expected = [
        (0, wrap_ms - 20, 1),
        (1, wrap_ms + 10, 2),
        (0, wrap_ms + 20, 3),
        (1, wrap_ms - 5, 4),
    ];
    assert_eq!(frames(&events), expected);
}

#[test]
fn a_private_form_of_g711_is_read_and_sent() {
    let track = Track {
        codec: CodecId::G711U,
        config: None,
        params: TrackParams::Audio(AudioParams {
            sample_rate: 8_000,
            channels: 1,
            sample_bits: 16,
        }),
        ..audio()
    };
    for g711 in [G711::Private, G711::Registered] {
        let mut muxer = Muxer::new(Options { g711 });
        muxer.carry(std::slice::from_ref(&track));
        let mut out = Vec::new();
        muxer.write(&sound(0, 7), &mut out);
        let (events, _) = read(&split(&out[0].parts[0]));
        let Event::Track(read) = &events[1] else {
            panic!("{events:?}")
        };
        assert_eq!((read.codec, read.params), (track.codec, track.params));
        assert_eq!(frames(&events), [(0, 0, 7)]);
    }
}

#[test]
fn programs_streams_and_reports_are_bounded() {
    let mut sender = Sender::default();
    let programs: Vec<u8> = (1..200u16)
        .flat_map(|n| [n.to_be_bytes(), (0xe200 + n).to_be_bytes()].concat())
        .collect();
    sender.section(0, &psi::section(0, 1, 0, &programs));
    let streams: Vec<_> = (0..60)
        .map(|n| (if n < 40 { 0x0f } else { n }, 0x400 + u16::from(n), &b""[..]))
        .collect();
    sender.map(0x201, 1, 0, &streams);
    for (_, pid, _) in &streams {
        sender.sound(*pid, ms(0), &adts(1));
    }
    let mut demuxer = Demuxer::new();
    demuxer.push(&sender.out);
    let events = polled(&mut demuxer);
    assert_eq!(demuxer.programs.len(), MAX_PROGRAMS);
    assert_eq!(
        (demuxer.tracks().count(), demuxer.slots.len()),
        (MAX_TRACKS, MAX_TRACKS)
    );
    assert_eq!(unsupported(&events).len(), MAX_REPORTS);
}

#[test]
fn what_all_streams_hold_is_bounded() {
    let mut sender = Sender::default();
    sender.section(0, &psi::association(1, 0x100));
    let streams: Vec<_> = (0..16).map(|n| (0x1b, 0x101 + n, &b""[..])).collect();
    sender.map(0x100, 1, 0, &streams);
    let mut demuxer = Demuxer::new();
    demuxer.push(&sender.out);
    // Pictures without end, in all streams at once.
    let mut pes = Head::new(0xe0, true, 0, 0, 9).unwrap().as_slice().to_vec();
    (pes[4], pes[5]) = (0, 0);
    pes.resize(MAX_PES_LEN / 4, 0x55);
    for (_, pid, _) in streams {
        sender.out.clear();
        sender.pes(pid, Adaptation::default(), &pes);
        demuxer.push(&sender.out);
        let held: usize = demuxer.slots.iter().map(Slot::held).sum();
        assert!(held <= MAX_HELD, "{held}");
    }
    assert!(demuxer.counters().bad_pes >= 3);
}
