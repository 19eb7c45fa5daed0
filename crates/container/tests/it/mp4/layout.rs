//! What is written, byte by byte.

use super::super::round_trip::track;
use bytes::Bytes;
use container::mp4::{self, Muxer, Run};
use media::{CodecId, Frame, MediaTime, Mux, Packet, Track, TrackId};

/// A line per box: its depth, its type, and what is in it in hexadecimal groups of four bytes.
fn dump(data: &[u8], depth: usize, out: &mut String) {
    let mut rest = data;
    while !rest.is_empty() {
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (whole, next) = rest.split_at(len);
        rest = next;
        let (kind, body) = (std::str::from_utf8(&whole[4..8]).unwrap(), &whole[8..]);
        out.push_str(&format!("{}{kind}", " ".repeat(depth)));
        let parent = [
            "moov", "trak", "mdia", "minf", "dinf", "stbl", "mvex", "moof", "traf",
        ]
        .contains(&kind);
        if !parent {
            for group in body.chunks(4) {
                let digits: String = group.iter().map(|byte| format!("{byte:02x}")).collect();
                out.push_str(&format!(" {digits}"));
            }
        }
        out.push('\n');
        if parent {
            dump(body, depth + 1, out);
        }
    }
}

#[track_caller]
fn check(data: &[u8], expected: &str) {
    let mut text = String::new();
    dump(data, 0, &mut text);
    let expected: String = expected.lines().map(|line| format!("{line}\n")).collect();
    assert!(text == expected, "written:\n{text}\nexpected:\n{expected}");
}

const MATRIX: &str = "00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000";

#[test]
fn an_initialization_of_one_track() {
    let audio = Track {
        id: TrackId(2),
        ..track(CodecId::Aac)
    };
    check(
        &mp4::init(&[audio]).unwrap(),
        &format!(
            "\
ftyp 69736f36 00000000 69736f36 6d703431 636d6663
moov
 mvhd 00000000 00000000 00000000 000003e8 00000000 00010000 01000000 00000000 00000000 {MATRIX} \
00000000 00000000 00000000 00000000 00000000 00000000 00000004
 trak
  tkhd 00000003 00000000 00000000 00000003 00000000 00000000 00000000 00000000 00000000 01000000 {MATRIX} \
00000000 00000000
  mdia
   mdhd 00000000 00000000 00000000 0000bb80 00000000 55c40000
   hdlr 00000000 00000000 736f756e 00000000 00000000 00000000 61756469 6f00
   minf
    smhd 00000000 00000000
    dinf
     dref 00000000 00000001 0000000c 75726c20 00000001
    stbl
     stsd 00000000 00000001 00000057 6d703461 00000000 00000001 00000000 00000000 00020010 00000000 bb800000 \
00000033 65736473 00000000 03808080 22000000 04808080 14401500 00000000 00000000 00000580 80800211 90068080 800102
     stts 00000000 00000000
     stsc 00000000 00000000
     stsz 00000000 00000000 00000000
     stco 00000000 00000000
 mvex
  trex 00000000 00000003 00000001 00000000 00000000 00000000"
        ),
    );
}

#[test]
fn a_track_of_video_has_a_size_and_tracks_keep_their_order() {
    let vp8 = track(CodecId::Vp8);
    let alaw = track(CodecId::G711A);
    let init = mp4::init(&[alaw, track(CodecId::Vp9), vp8]).unwrap();
    let mut text = String::new();
    dump(&init, 0, &mut text);
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    // Without the brand of a lone CMAF track.
    assert_eq!(lines[0], "ftyp 69736f36 00000000 69736f36 6d703431");
    let entries: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("stsd "))
        .collect();
    assert!(
        entries[0]
            .starts_with("00000000 00000001 00000024 616c6177 00000000 00000001 00000000 00000000 00010010")
    );
    assert!(entries[1].contains(" 76703039 ") && entries[2].contains(" 76703038 "));
    // 320x180 at 72 dpi, one frame, no name, 24 bits; then vpcC: 8 bits, 4:2:0, colours not said.
    assert!(entries[2].ends_with(
        "014000b4 00480000 00480000 00000000 00010000 00000000 00000000 00000000 00000000 00000000 00000000 \
         00000000 00000018 ffff0000 00147670 63430100 00000000 82020202 0000"
    ), "{}", entries[2]);
    let tkhd = lines.iter().rfind(|line| line.starts_with("tkhd"));
    assert!(tkhd.unwrap().ends_with("40000000 01400000 00b40000"));
}

fn frame(track: u8, micros: i64, shown: i64, key: bool, data: &'static [u8]) -> Frame {
    Frame {
        track: TrackId(track),
        dts: MediaTime::from_micros(micros),
        pts: MediaTime::from_micros(shown),
        key,
        data: Bytes::from_static(data),
        wire: None,
    }
}

const IDR: &[u8] = b"\0\0\0\x02\x65\x88";
const INTER: &[u8] = b"\0\0\0\x03\x41\x9a\x01";

#[test]
fn a_fragment_has_the_columns_that_it_needs() {
    let (video, audio) = (track(CodecId::H264), track(CodecId::G711A));
    // Sizes and composition differ, durations do not, and the first is the only key frame.
    let pictures = [
        frame(0, 1_000_000, 1_040_000, true, IDR),
        frame(0, 1_040_000, 1_120_000, false, INTER),
        frame(0, 1_080_000, 1_080_000, false, INTER),
    ];
    // All alike.
    let sounds = [
        frame(1, 1_000_000, 1_000_000, true, b"abcdefgh"),
        frame(1, 1_001_000, 1_001_000, true, b"ijklmnop"),
    ];
    let (pictures, sounds): (Vec<_>, Vec<_>) = (pictures.iter().collect(), sounds.iter().collect());
    let runs = [
        Run {
            track: &video,
            frames: &pictures,
            end: MediaTime::from_micros(1_120_000),
        },
        Run {
            track: &audio,
            frames: &sounds,
            end: MediaTime::from_micros(1_002_000),
        },
        Run {
            track: &audio,
            frames: &[],
            end: MediaTime::ZERO,
        },
    ];
    let mut out = Vec::new();
    assert_eq!(mp4::fragment(7, &runs, &mut out), 0);
    // Video and audio have the same payloads as given.
    assert_eq!(
        out[1..].concat(),
        [IDR, INTER, INTER, b"abcdefghijklmnop"].concat()
    );
    check(
        &out.concat(),
        "\
moof
 mfhd 00000000 00000007
 traf
  tfhd 00020028 00000001 00000e10 01010000
  tfdt 01000000 00000000 00015f90
  trun 01000a05 00000003 000000d0 02000000 00000006 00000e10 00000007 00001c20 00000007 00000000
 traf
  tfhd 00020038 00000002 00000008 00000008 02000000
  tfdt 01000000 00000000 00001f40
  trun 01000001 00000002 000000e4
mdat 00000002 65880000 0003419a 01000000 03419a01 61626364 65666768 696a6b6c 6d6e6f70",
    );
}

#[test]
fn durations_and_flags_stand_by_sample_where_they_differ() {
    let video = track(CodecId::H264);
    let pictures = [
        frame(0, 0, 0, false, IDR),
        frame(0, 40_000, 40_000, true, IDR),
        frame(0, 70_000, 70_000, false, IDR),
    ];
    let pictures: Vec<_> = pictures.iter().collect();
    let run = Run {
        track: &video,
        frames: &pictures,
        end: MediaTime::from_micros(120_000),
    };
    let mut out = Vec::new();
    mp4::fragment(1, &[run], &mut out);
    check(
        &out.concat(),
        "\
moof
 mfhd 00000000 00000001
 traf
  tfhd 00020010 00000001 00000006
  tfdt 01000000 00000000 00000000
  trun 01000501 00000003 0000007c 00000e10 01010000 00000a8c 02000000 00001194 01010000
mdat 00000002 65880000 00026588 00000002 6588",
    );
}

#[test]
fn times_before_zero_become_zero_and_never_go_back() {
    let video = track(CodecId::H264);
    let pictures = [
        frame(0, -80_000, 0, true, IDR),
        frame(0, -40_000, 40_000, false, IDR),
        frame(0, 40_000, -40_000, false, IDR),
        frame(0, 0, 80_000, false, IDR),
    ];
    let pictures: Vec<_> = pictures.iter().collect();
    let run = Run {
        track: &video,
        frames: &pictures,
        end: MediaTime::ZERO,
    };
    let mut out = Vec::new();
    mp4::fragment(1, &[run], &mut out);
    check(
        &out.concat(),
        "\
moof
 mfhd 00000000 00000001
 traf
  tfhd 00020030 00000001 00000006 01010000
  tfdt 01000000 00000000 00000000
  trun 01000905 00000004 0000008c 02000000 00000000 00000000 00000e10 00000e10 00000000 ffffe3e0 00000000 00000e10
mdat 00000002 65880000 00026588 00000002 65880000 00026588",
    );
}

#[test]
fn a_fragment_has_a_longest_length() {
    let vp8 = track(CodecId::Vp8);
    let data = Bytes::from(vec![1; 32 << 20]);
    let frames: Vec<_> = (0..35)
        .map(|index| Frame {
            data: data.clone(),
            ..frame(0, index * 40_000, index * 40_000, true, b"")
        })
        .collect();
    let frames: Vec<_> = frames.iter().collect();
    let run = Run {
        track: &vp8,
        frames: &frames,
        end: MediaTime::from_millis(1_400),
    };
    let mut out = Vec::new();
    assert_eq!(mp4::fragment(1, &[run, run], &mut out), 3 + 35);
    assert_eq!(
        out.iter().skip(1).map(Bytes::len).sum::<usize>(),
        mp4::MAX_FRAGMENT_LEN
    );
    // Of `mdat`.
    assert!(out[0].ends_with(b"\x40\0\0\x08mdat"));
}

/// The fields of `tfhd` behind the track's number: duration, size, flags.
fn defaults(packet: &Packet) -> [u32; 3] {
    let head = &packet.parts[0];
    let at = head.windows(4).position(|window| window == b"tfhd").unwrap() + 12;
    [0, 4, 8].map(|field| u32::from_be_bytes(head[at + field..at + field + 4].try_into().unwrap()))
}

#[test]
fn a_live_frame_lasts_as_long_as_its_content_or_the_frame_before() {
    let durations = |codec, frames: &[Frame]| {
        let (mut muxer, mut out) = (Muxer::new(), Vec::new());
        muxer.set_tracks(&[track(codec)], &mut out);
        frames.iter().for_each(|frame| muxer.write(frame, &mut out));
        out.iter().map(|packet| defaults(packet)[0]).collect::<Vec<_>>()
    };
    let at = |millis: &[i64], data: &'static [u8]| -> Vec<Frame> {
        millis
            .iter()
            .map(|time| frame(u8::from(data != IDR), time * 1000, time * 1000, true, data))
            .collect()
    };
    // Declared as 25 frames per second; then as before, but not across a gap or a standstill.
    let times = [0, 33, 67, 67, 107, 60_000, 60_040];
    assert_eq!(
        durations(CodecId::H264, &at(&times, IDR)),
        [3600, 2970, 3060, 3600, 3600, 3600, 3600]
    );
    let times = [0, 21, 50];
    assert_eq!(durations(CodecId::Aac, &at(&times, b"\x21a")), [1024; 3]);
    // One frame of 20 ms, two of 10 ms at 48 kHz.
    assert_eq!(durations(CodecId::Opus, &at(&times, b"\xf8a")), [960; 3]);
    assert_eq!(durations(CodecId::Opus, &at(&times, b"\xf1ab")), [960; 3]);
    assert_eq!(durations(CodecId::G711A, &at(&times, &[0xd5; 160])), [160; 3]);
    assert_eq!(
        durations(CodecId::Mp3, &at(&times, b"\xff\xfb\x90\x64")),
        [1152; 3]
    );
    // Nothing to read in it: as the frame before, or 40 ms.
    assert_eq!(durations(CodecId::Mp3, &at(&times, b"?")), [1764, 926, 1279]);
}

#[test]
fn a_live_frame_is_a_fragment() {
    let (mut muxer, mut out) = (Muxer::new(), Vec::new());
    muxer.set_tracks(&[track(CodecId::H264)], &mut out);
    // A delimiter before the slice.
    let data = b"\0\0\0\x02\x09\xf0\0\0\0\x02\x65\x88";
    muxer.write(&frame(0, 1_000_000, 1_080_000, true, data), &mut out);
    // Nothing but a parameter set.
    muxer.write(
        &frame(0, 1_040_000, 1_040_000, false, b"\0\0\0\x01\x68"),
        &mut out,
    );
    muxer.write(&frame(0, 1_040_000, 1_040_000, false, INTER), &mut out);
    let packets: Vec<_> = out.iter().map(|packet| packet.parts.concat()).collect();
    assert_eq!(packets.len(), 2);
    check(
        &packets[0],
        "\
moof
 mfhd 00000000 00000001
 traf
  tfhd 00020038 00000001 00000e10 00000006 02000000
  tfdt 01000000 00000000 00015f90
  trun 01000801 00000001 00000070 00001c20
mdat 00000002 6588",
    );
    check(
        &packets[1],
        "\
moof
 mfhd 00000000 00000002
 traf
  tfhd 00020038 00000001 00000e10 00000007 01010000
  tfdt 01000000 00000000 00016da0
  trun 01000001 00000001 0000006c
mdat 00000003 419a01",
    );
}
