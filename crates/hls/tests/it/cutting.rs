//! Where segments begin and end.

use crate::bench::*;
use media::MediaTime;
use std::sync::atomic::Ordering;
use tidegate_hls::{Form, Options, Reload, Turn};

fn plain() -> Options {
    Options {
        part: None,
        listed: 100,
        ..options()
    }
}

fn cut(options: Options, keys_ms: &[i64], end_ms: i64) -> Vec<(i64, i64)> {
    let mut bench = Bench::new(options, &[video(), audio()]);
    let mut at = 0;
    while at < end_ms {
        bench.write(&picture(ms(at), keys_ms.contains(&at)));
        at += 40;
    }
    cuts(&bench.end())
}

#[test]
fn key_frames_on_the_grid_end_segments() {
    let keys = [0, 1_000, 2_000, 3_000, 4_000, 5_000];
    assert_eq!(
        cut(plain(), &keys, 6_000),
        [(0, 2_000), (2_000, 2_000), (4_000, 2_000)]
    );
}

#[test]
fn key_frames_may_be_a_little_early_or_late() {
    let keys = [0, 1_960, 4_040, 5_920, 8_200];
    let expected = [
        (0, 1_960),
        (1_960, 2_080),
        (4_040, 1_880),
        (5_920, 2_280),
        (8_200, 800),
    ];
    assert_eq!(cut(plain(), &keys, 9_000), expected);
}

#[test]
fn a_group_of_pictures_longer_than_the_slot_is_one_segment() {
    let keys = [0, 5_000, 10_000];
    assert_eq!(
        cut(plain(), &keys, 12_000),
        [(0, 5_000), (5_000, 5_000), (10_000, 2_000)]
    );
}

#[test]
fn irregular_key_frames_end_the_segment_in_the_next_slot() {
    let keys = [0, 400, 1_200, 3_000, 3_200, 7_000];
    // 1,200 ms is in the slot of 0 ms still, 3,000 ms in the next one, 3,200 ms in that one, too.
    assert_eq!(
        cut(plain(), &keys, 8_000),
        [(0, 3_000), (3_000, 4_000), (7_000, 1_000)]
    );
}

#[test]
fn nothing_is_cut_before_the_first_key_frame() {
    assert_eq!(cut(plain(), &[520, 2_000], 3_000), [(520, 1_480), (2_000, 1_000)]);
}

#[test]
fn without_key_frames_a_segment_ends_after_a_minute() {
    let cuts = cut(plain(), &[0], 61_000);
    assert_eq!(cuts, [(0, 60_000), (60_000, 1_000)]);
    let mut bench = Bench::new(plain(), &[video()]);
    bench.pictures(0, 25 * 61, (1, 25), i64::MAX);
    let media = bench.live.since(0);
    assert!(
        media
            .iter()
            .all(|segment| segment.independent == (segment.start == ms(0)))
    );
}

#[test]
fn without_key_frames_a_segment_ends_at_its_size() {
    let options = Options {
        max_segment_bytes: 14 * 100,
        ..plain()
    };
    assert_eq!(cut(options, &[0], 5_000), [(0, 4_000), (4_000, 1_000)]);
}

#[test]
fn the_first_segment_may_be_one_group_of_pictures() {
    let options = Options {
        first_gop: true,
        ..plain()
    };
    let keys = [0, 400, 800, 1_600, 2_000, 4_000];
    assert_eq!(
        cut(options, &keys, 5_000),
        [(0, 400), (400, 1_200), (1_600, 2_400), (4_000, 1_000)]
    );
}

#[test]
fn sound_alone_is_cut_on_the_grid() {
    let mut bench = Bench::new(plain(), &[audio()]);
    for index in 0..300 {
        bench.write(&sound(MediaTime::from_ticks(index * 1024, 44_100)));
    }
    assert_eq!(bench.cuts(), [(0, 1_509), (1_509, 1_997), (3_506, 1_997)]);
    let last = bench.end().newest().unwrap();
    let off = last.start + last.duration - MediaTime::from_ticks(300 * 1024, 44_100);
    assert!(off.as_micros().abs() < 50, "{off:?}");
}

#[test]
fn new_tracks_begin_with_the_next_key_frame_as_a_discontinuity_with_an_initialization_of_its_own() {
    let mut bench = Bench::new(plain(), &[video(), audio()]);
    bench.pictures(0, 60, (1, 25), 50);
    let mut other = video();
    other.config = other.config.map(|config| {
        let mut config = config.to_vec();
        config[3] = 0x0c;
        config.into()
    });
    bench.set_tracks(&[other, audio()]);
    bench.pictures(60, 100, (1, 25), 50);
    assert_eq!(bench.cuts(), [(0, 2_000), (2_000, 2_000), (4_000, 2_000)]);
    let fmp4 = bench.media(Form::Fmp4);
    assert_eq!(fmp4.check(), []);
    let told: Vec<_> = fmp4
        .segments
        .iter()
        .map(|segment| (segment.discontinuity, segment.map.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            (false, "init.mp4"),
            (false, "init.mp4"),
            (true, "init-0000004000.mp4")
        ]
    );
    assert_ne!(
        bytes(&bench.live, "init.mp4"),
        bytes(&bench.live, "init-0000004000.mp4")
    );
    let ts = bench.media(Form::Ts);
    assert_eq!(
        ts.segments.iter().filter(|segment| segment.discontinuity).count(),
        1
    );
}

#[test]
fn the_same_tracks_again_change_nothing() {
    let mut bench = Bench::new(plain(), &[video(), audio()]);
    bench.pictures(0, 60, (1, 25), 50);
    let mut told_otherwise = video();
    told_otherwise.wire = Some("a=control:x".into());
    bench.set_tracks(&[told_otherwise, audio()]);
    bench.pictures(60, 100, (1, 25), 50);
    assert!(bench.live.since(0).iter().all(|segment| !segment.discontinuity));
}

/// A server that joins later cuts the same stream at the same places, calls the pieces by the same names, and makes the same bytes of
/// them. Continuity counters of MPEG-TS count from a server's own beginning.
#[test]
fn two_servers_that_began_at_different_moments_agree() {
    // 60 pictures per second, with times in milliseconds as RTMP has them.
    let at = |index: i64| ms((index * 1000 + 30) / 60);
    let mut early = Bench::new(options(), &[video()]);
    let mut late = Bench::new(options(), &[video()]);
    for index in 0..60 * 14 {
        let frame = picture(at(index), index % 60 == 0);
        early.write(&frame);
        if index >= 60 * 4 + 7 {
            late.write(&frame);
        }
    }
    let (one, other) = (early.live.since(0), late.live.since(0));
    let mut compared = 0;
    for segment in &one {
        // The first one of the late server is only a part of it.
        let Some(same) = other.iter().find(|other| other.sequence == segment.sequence) else {
            continue;
        };
        if same.start == other[0].start {
            continue;
        }
        assert_eq!(same.start, segment.start);
        assert_eq!(same.parts.len(), segment.parts.len());
        assert_eq!(
            same.bytes(Form::Fmp4).concat(),
            segment.bytes(Form::Fmp4).concat()
        );
        let strip = |bytes: Vec<u8>| -> Vec<u8> {
            bytes
                .chunks(188)
                .flat_map(|packet| [&packet[..3], &packet[4..]].concat())
                .collect()
        };
        assert_eq!(
            strip(same.bytes(Form::Ts).concat()),
            strip(segment.bytes(Form::Ts).concat())
        );
        compared += 1;
    }
    assert!(compared >= 2, "{:?} and {:?}", early.cuts(), late.cuts());
    assert_eq!(bytes(&early.live, "init.mp4"), bytes(&late.live, "init.mp4"));
}

/// Segments are made when somebody asks, in any order; their counters follow each other all the same (ISO/IEC 13818-1, 2.4.3.3).
#[test]
fn continuity_counters_go_on_across_segments() {
    let mut bench = Bench::new(plain(), &[video(), audio()]);
    for index in 0..250 {
        bench.write(&picture(MediaTime::from_ticks(index, 25), index % 25 == 0));
        if index % 2 == 0 {
            bench.write(&sound(MediaTime::from_ticks(index, 25)));
        }
    }
    let segments = bench.live.since(0);
    assert!(segments.len() >= 4);
    // The newest first.
    let made: Vec<Vec<u8>> = segments
        .iter()
        .rev()
        .map(|segment| segment.bytes(Form::Ts).concat())
        .collect();
    let mut counters = std::collections::BTreeMap::new();
    for packet in made.iter().rev().flat_map(|bytes| bytes.chunks(188)) {
        assert_eq!((packet.len(), packet[0]), (188, 0x47));
        if packet[3] & 0x10 == 0 {
            continue; // no payload, does not count
        }
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let counter = packet[3] & 0xf;
        if let Some(last) = counters.insert(pid, counter) {
            assert_eq!(counter, (last + 1) % 16, "PID {pid:#x}");
        }
    }
    assert_eq!(counters.len(), 4, "tables, picture and sound");
}

#[test]
fn what_ended_early_is_still_there_and_nothing_comes_any_more() {
    let mut bench = Bench::new(plain(), &[video()]);
    bench.pictures(0, 10, (1, 25), 50);
    assert!(matches!(
        bench.live.playlist(Form::Ts, Reload::default()),
        Turn::Wait
    ));
    let told = bench.told.clone();
    let live = bench.end();
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert_eq!(cuts(&live), [(0, 400)]);
    assert!(text(&live, Form::Ts, Reload::default()).ends_with("#EXT-X-ENDLIST\n"));
    let nothing = Bench::new(plain(), &[video()]).end();
    assert!(matches!(
        nothing.playlist(Form::Ts, Reload::default()),
        Turn::Missing
    ));
}
