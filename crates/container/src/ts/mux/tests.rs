//! The layout byte by byte, the clock, the tables, and that skipping is writing without bytes.

use super::super::packet;
use super::super::pes::{self, Parsed};
use super::super::psi::Table;
use super::*;
use media::track::{AudioParams, TrackParams, VideoParams};
use proptest::prelude::*;

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);

fn track(id: TrackId, codec: CodecId) -> Track {
    let config: Option<&'static [u8]> = match codec {
        CodecId::H264 => Some(&[
            1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x28, 1, 0, 2, 0x68, 0xeb,
        ]),
        CodecId::Aac => Some(&[0x11, 0x90]),
        CodecId::Av1 => Some(&[0x81, 0, 0, 0, 0x0a, 1, 0x20]),
        _ => None,
    };
    Track {
        id,
        codec,
        config: config.map(Bytes::from_static),
        params: match codec.kind() {
            MediaKind::Video => TrackParams::Video(VideoParams::default()),
            MediaKind::Audio => TrackParams::Audio(AudioParams::default()),
        },
        wire: None,
    }
}

fn frame(track: TrackId, ms: i64, key: bool, data: &[u8]) -> Frame {
    Frame {
        track,
        dts: MediaTime::from_millis(ms),
        pts: MediaTime::from_millis(ms),
        key,
        data: Bytes::copy_from_slice(data),
        wire: None,
    }
}

fn picture(ms: i64, key: bool) -> Frame {
    frame(VIDEO, ms, key, &[0, 0, 0, 2, if key { 0x65 } else { 0x41 }, 9])
}

fn sound(ms: i64) -> Frame {
    frame(AUDIO, ms, true, &[0x21; 300])
}

fn muxer(tracks: &[Track]) -> Muxer {
    let mut muxer = Muxer::new(Options::default());
    muxer.carry(tracks);
    muxer
}

fn both() -> [Track; 2] {
    [track(VIDEO, CodecId::H264), track(AUDIO, CodecId::Aac)]
}

fn write(muxer: &mut Muxer, frame: &Frame) -> Vec<Packet> {
    let mut out = Vec::new();
    muxer.write(frame, &mut out);
    out
}

fn append(muxer: &mut Muxer, frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    muxer.append(frame, &mut out);
    out
}

/// PIDs of packets.
fn pids(bytes: &[u8]) -> Vec<u16> {
    bytes
        .chunks(PACKET_LEN)
        .map(|bytes| packet::Packet::parse(bytes).unwrap().pid)
        .collect()
}

/// Clock references, with whether they stand in a packet of their own.
fn clocks(bytes: &[u8]) -> Vec<(u64, bool)> {
    let clock = |packet: &[u8]| {
        (packet[3] & 0x20 != 0 && packet[4] > 6 && packet[5] & 0x10 != 0).then(|| {
            let mut field = [0; 8];
            field[2..].copy_from_slice(&packet[6..12]);
            (u64::from_be_bytes(field) >> 15, packet[3] & 0x10 == 0)
        })
    };
    bytes.chunks(PACKET_LEN).filter_map(clock).collect()
}

#[test]
fn a_key_frame_byte_by_byte() {
    let mut muxer = muxer(&both());
    let mut key = picture(0, true);
    key.pts = MediaTime::from_millis(40);
    let out = append(&mut muxer, &key);
    let payload = [
        &[0, 0, 1, 0xe0, 0, 13 + 6 + 14 + 6, 0x84, 0xc0, 10][..],
        &[0x31, 0, 0x07, 0xf4, 0x81, 0x11, 0, 0x07, 0xd8, 0x61],
        &[0, 0, 0, 1, 9, 0xf0],
        &[0, 0, 0, 1, 0x67, 0x64, 0, 0x28, 0, 0, 0, 1, 0x68, 0xeb],
        &[0, 0, 0, 1, 0x65, 9],
    ]
    .concat();
    // 1.3 s: 117000 in 33 bits, then reserved ones; stuffing up to the payload.
    let pcr = [0x00, 0x00, 0xe4, 0x84, 0x7e, 0x00];
    let field = 184 - payload.len();
    let mut expected = vec![0x47, 0x41, 1, 0x30, field as u8 - 1, 0x50];
    expected.extend(pcr);
    expected.resize(4 + field, 0xff);
    expected.extend(payload);
    assert_eq!(out[..], expected[..]);
}

#[test]
fn key_packets_begin_with_tables_and_are_one_piece() {
    let mut muxer = muxer(&both());
    assert!(muxer.preamble().is_empty());
    let [first] = &write(&mut muxer, &picture(0, true))[..] else {
        panic!()
    };
    assert!(first.key && !first.config && first.parts.len() == 1);
    assert_eq!(pids(&first.parts[0]), [0, 0x100, 0x101]);
    assert_eq!(first.parts[0][..PACKET_LEN][..5], [0x47, 0x40, 0, 0x10, 0]);
    let [second] = &write(&mut muxer, &sound(10))[..] else {
        panic!()
    };
    assert!(!second.key);
    assert_eq!(pids(&second.parts[0]), [0x102, 0x102]);
    // Behind the tables' time, too.
    let [third] = &write(&mut muxer, &sound(-10))[..] else {
        panic!()
    };
    assert_eq!(pids(&third.parts[0]), [0x102, 0x102]);
    let [key] = &write(&mut muxer, &picture(40, true))[..] else {
        panic!()
    };
    assert!(key.key);
    assert_eq!(pids(&key.parts[0]), [0, 0x100, 0x101]);
    assert_eq!(key.parts[0][3] & 0xf, 1);
    // Long groups of pictures: tables in between, where nobody can start.
    let [late] = &write(&mut muxer, &picture(540, false))[..] else {
        panic!()
    };
    assert!(!late.key);
    assert_eq!(pids(&late.parts[0]), [0, 0x100, 0x101]);
}

#[test]
fn without_video_viewers_start_each_half_second() {
    let mut muxer = muxer(&[track(AUDIO, CodecId::Aac)]);
    let mut keys = Vec::new();
    for ms in (0..2000).step_by(20) {
        let [packet] = &write(&mut muxer, &sound(ms))[..] else {
            panic!()
        };
        assert_eq!(packet.key, pids(&packet.parts[0])[0] == 0);
        assert_eq!(clocks(&packet.parts[0]), [(90 * (1300 + ms as u64), false)]);
        if packet.key {
            keys.push(ms);
        }
    }
    assert_eq!(keys, [0, 500, 1000, 1500]);
}

#[test]
fn rare_pictures_leave_the_clock_to_the_sound() {
    let mut muxer = muxer(&both());
    let mut out = BytesMut::new();
    muxer.append(&picture(0, true), &mut out);
    // Sound runs 300 ms ahead: the clock does not follow it.
    for ms in (300..1300).step_by(20) {
        muxer.append(&sound(ms), &mut out);
        if ms == 800 {
            muxer.append(&picture(500, false), &mut out);
        }
    }
    let clocks = clocks(&out);
    assert!(clocks.len() > 10);
    for pair in clocks.windows(2) {
        let (a, b) = (pair[0].0, pair[1].0);
        assert!(a < b && b - a <= 9000, "{clocks:?}");
    }
    let last = clocks.last().unwrap().0;
    assert!(last <= 90 * (1300 + 1000), "{last}");
    assert!(clocks.iter().any(|clock| clock.1));
    // Counters do not count packets without payload.
    let counters = |pid| {
        let packets = out
            .chunks(PACKET_LEN)
            .map(|bytes| packet::Packet::parse(bytes).unwrap());
        packets
            .filter(|packet| packet.pid == pid)
            .map(|packet| (packet.counter, packet.payload.is_some()))
            .collect::<Vec<_>>()
    };
    assert_eq!(counters(0x101)[..3], [(0, true), (0, false), (0, false)]);
    assert_eq!(counters(0x101).last().unwrap().0, 1);
    let expected: Vec<_> = (0..100).map(|nth| (nth % 16, true)).collect();
    assert_eq!(counters(0x102), expected);
}

#[test]
fn key_frames_always_bring_the_clock_and_others_not_too_often() {
    let mut muxer = muxer(&both());
    let mut at = |ms, key| !clocks(&append(&mut muxer, &picture(ms, key))).is_empty();
    assert!(at(0, true));
    assert!(!at(10, false) && at(20, false) && at(30, true) && !at(40, false) && at(50, false));
}

#[test]
fn a_clock_that_goes_back_far_is_a_discontinuity() {
    let mut muxer = muxer(&both());
    append(&mut muxer, &picture(60_000, true));
    let out = append(&mut muxer, &picture(59_990, false));
    assert_eq!(clocks(&out), []);
    let out = append(&mut muxer, &picture(0, true));
    assert_eq!(
        (out[5] & 0x80, &clocks(&out)[..]),
        (0x80, &[(117_000, false)][..])
    );
}

#[test]
fn times_before_zero_and_beyond_33_bits_wrap() {
    let mut muxer = muxer(&both());
    let time = |out: &BytesMut| {
        let packet = packet::Packet::parse(&out[..PACKET_LEN]).unwrap();
        let Parsed::Head(head) = pes::parse(packet.payload.unwrap()) else {
            panic!()
        };
        head.pts.unwrap()
    };
    let mut early = picture(0, true);
    (early.dts, early.pts) = (MediaTime::from_millis(-1_300), MediaTime::from_millis(-1_300));
    assert_eq!(time(&append(&mut muxer, &early)), 9_000);
    let wrap_ms = (1i64 << 33) / 90 - 1_400;
    let out = append(&mut muxer, &picture(wrap_ms + 1, true));
    assert!(time(&out) < 180);
    // The ends of the time line do no harm.
    for micros in [i64::MAX, i64::MIN] {
        let mut frame = picture(0, true);
        (frame.dts, frame.pts) = (MediaTime::from_micros(micros), MediaTime::from_micros(micros));
        append(&mut muxer, &frame);
        let mut frame = sound(0);
        (frame.dts, frame.pts) = (MediaTime::from_micros(-micros.saturating_add(1)), MediaTime::ZERO);
        append(&mut muxer, &frame);
    }
}

#[test]
fn tables_grow_a_version_only_when_they_change() {
    let version = |muxer: &Muxer| match psi::parse(&muxer.program.pmt) {
        Ok(Table::Map(map)) => (map.version, map.streams.len()),
        other => panic!("{other:?}"),
    };
    let mut muxer = muxer(&both()[..1]);
    muxer.carry(&both());
    assert_eq!(version(&muxer), (0, 2));
    let before = append(&mut muxer, &sound(0));
    muxer.skip_tables();
    // Another picture size is not in the tables.
    let mut larger = both();
    larger[0].config = Some(Bytes::from_static(&[
        1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x29, 1, 0, 2, 0x68, 0xeb,
    ]));
    muxer.carry(&larger);
    assert_eq!(version(&muxer), (0, 2));
    muxer.carry(&larger[..1]);
    assert_eq!(version(&muxer), (1, 1));
    assert_eq!(
        pids(&write(&mut muxer, &picture(20, false))[0].parts[0]),
        [0, 0x100, 0x101]
    );
    // A stream that comes back goes on counting.
    muxer.carry(&both());
    assert_eq!(version(&muxer), (2, 2));
    let counter = before[before.len() - PACKET_LEN + 3] & 0xf;
    assert_eq!(append(&mut muxer, &sound(40))[3] & 0xf, counter + 1);
}

#[test]
fn what_cannot_be_carried_is_left_out() {
    let g711 = track(AUDIO, CodecId::G711A);
    let mut omit = Muxer::new(Options { g711: G711::Omit });
    omit.carry(&[track(VIDEO, CodecId::Vp8), g711.clone()]);
    assert_eq!(omit.carried().count(), 0);
    assert!(write(&mut omit, &sound(0)).is_empty() && omit.packets(&sound(0)) == 0);
    assert_eq!(omit.dropped(), 0);
    let mut muxer = muxer(&[track(VIDEO, CodecId::Vp9), g711]);
    assert_eq!(muxer.carried().collect::<Vec<_>>(), [AUDIO]);
    let long = frame(AUDIO, 0, true, &[0x55; 65_528]);
    assert!(append(&mut muxer, &long).is_empty());
    muxer.skip(&long);
    assert!(write(&mut muxer, &frame(AUDIO, 0, true, &[])).is_empty());
    assert_eq!(muxer.dropped(), 3);
    let many: Vec<_> = (0..40).map(|id| track(TrackId(id), CodecId::Aac)).collect();
    muxer.carry(&many);
    assert_eq!(muxer.carried().count(), MAX_TRACKS);
    let mut pids: Vec<_> = muxer.program.streams.iter().map(|stream| stream.pid).collect();
    assert_eq!(pids[..3], [0x102, 0x103, 0x104]);
    pids.dedup();
    assert_eq!(pids.len(), MAX_TRACKS);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let unit = proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..4, 1 => any::<u8>()], 0..600);
    (
        0u8..5,
        -2_000i64..200_000,
        0i64..300,
        any::<bool>(),
        unit,
        any::<bool>(),
    )
        .prop_map(|(id, ms, composition, key, unit, whole)| {
            // With and without the structure that its codec would have.
            let prefix = match (id, whole) {
                (0, true) => {
                    let mut prefix = (unit.len() as u32 + 1).to_be_bytes().to_vec();
                    prefix.push(0x65);
                    prefix
                }
                (2, true) => vec![0x30, 0x10],
                _ => vec![],
            };
            let mut frame = frame(TrackId(id), ms, key, &[&prefix[..], &unit].concat());
            frame.pts = MediaTime::from_millis(ms + composition);
            frame
        })
}

proptest! {
    /// Skipped or appended, the next bytes are the same.
    #[test]
    fn skipping_is_appending_without_bytes(
        tracks in proptest::sample::subsequence(vec![CodecId::H264, CodecId::Aac, CodecId::Av1, CodecId::Opus, CodecId::G711A], 0..6),
        frames in proptest::collection::vec((any_frame(), any::<bool>()), 1..40),
    ) {
        let all = [CodecId::H264, CodecId::Aac, CodecId::Av1, CodecId::Opus, CodecId::G711A];
        let tracks: Vec<_> = tracks.into_iter().map(|codec| {
            let id = all.iter().position(|known| *known == codec).unwrap();
            track(TrackId(id as u8), codec)
        }).collect();
        let (mut written, mut skipped) = (muxer(&tracks), muxer(&tracks));
        for (frame, tables) in &frames {
            let mut out = BytesMut::new();
            if *tables {
                written.tables(&mut out);
                prop_assert_eq!(out.len(), skipped.table_packets() * PACKET_LEN);
                skipped.skip_tables();
                out.clear();
            }
            let expected = skipped.packets(frame);
            written.append(frame, &mut out);
            skipped.skip(frame);
            prop_assert_eq!(out.len(), expected * PACKET_LEN);
            prop_assert_eq!(&written, &skipped);
            prop_assert!(out.chunks(PACKET_LEN).all(|bytes| packet::Packet::parse(bytes).is_some()));
        }
    }
}
