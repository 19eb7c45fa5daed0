//! What other writers send: entries, length sizes, parameter sets in frames, changes.

use super::super::hex;
use super::super::round_trip::track;
use super::hostile::{full, mdat, moof, traf};
use bytes::Bytes;
use container::mp4::{self, Demuxer, Error, Event, Run};
use media::codec::{h264, opus};
use media::{CodecId, Frame, MediaTime, Track, TrackId};

/// A stream of one track with one frame per fragment.
fn stream(track: &Track, frames: &[&'static [u8]]) -> Vec<u8> {
    let mut out = vec![mp4::init(std::slice::from_ref(track)).unwrap()];
    for (sequence, data) in (0i64..).zip(frames) {
        let frame = Frame {
            track: track.id,
            dts: MediaTime::from_millis(sequence * 40),
            pts: MediaTime::from_millis(sequence * 40),
            key: true,
            data: Bytes::from_static(data),
            wire: None,
        };
        let end = MediaTime::from_millis(sequence * 40 + 40);
        // As another codec, so that nothing is left out of the frame.
        let other = Track {
            codec: CodecId::Vp8,
            ..track.clone()
        };
        let run = Run {
            track: &other,
            frames: &[&frame],
            end,
        };
        mp4::fragment(sequence as u32 + 1, &[run], &mut out);
    }
    out.concat()
}

/// Replaces the only place where `from` stands; the boxes named grow or shrink with it.
fn replaced(mut stream: Vec<u8>, from: &[u8], to: &[u8], around: &[&[u8; 4]]) -> Vec<u8> {
    let find = |stream: &[u8], wanted: &[u8]| {
        let mut places = stream
            .windows(wanted.len())
            .enumerate()
            .filter(|(_, window)| *window == wanted);
        let place = places.next().unwrap().0;
        assert!(places.next().is_none(), "{wanted:?} stands twice");
        place
    };
    let at = find(&stream, from);
    for outer in around {
        let at = find(&stream, *outer) - 4;
        let len =
            u32::from_be_bytes(stream[at..at + 4].try_into().unwrap()) + to.len() as u32 - from.len() as u32;
        stream[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
    stream.splice(at..at + from.len(), to.iter().copied());
    stream
}

/// The boxes around what is in a sample entry.
const ENTRY: [&[u8; 4]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"];

fn around(more: &[&'static [u8; 4]]) -> Vec<&'static [u8; 4]> {
    ENTRY.iter().chain(more).copied().collect()
}

fn events(stream: Vec<u8>) -> Vec<Event> {
    let mut demuxer = Demuxer::new();
    demuxer.push(stream.into());
    std::iter::from_fn(|| demuxer.poll().unwrap()).collect()
}

/// Tracks as they were announced, contents of frames, and what was broken.
fn read(stream: Vec<u8>) -> (Vec<Track>, Vec<Bytes>, Vec<Error>) {
    let (mut tracks, mut frames, mut errors) = (vec![], vec![], vec![]);
    for event in events(stream) {
        match event {
            Event::Track(track) => tracks.push(track),
            Event::Frame(frame) => frames.push(frame.data),
            Event::Bad(error) => errors.push(error),
            Event::TracksDeclared { .. } => {}
            Event::Unsupported(unsupported) => panic!("unexpected {unsupported:?}"),
        }
    }
    (tracks, frames, errors)
}

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0, 0xa0, 0x47, 0xfe, 0x88];

#[test]
fn lengths_of_other_sizes_become_four_bytes() {
    let written = track(CodecId::H264);
    let avcc = written.config.clone().unwrap();
    for (size, unit) in [(0xfc, &b"\x02\x65\x88"[..]), (0xfd, b"\0\x02\x65\x88")] {
        let unit: &'static [u8] = Box::leak(unit.into());
        let other = [&avcc[..4], &[size], &avcc[5..]].concat();
        let stream = replaced(stream(&written, &[unit]), &avcc, &other, &[]);
        let (tracks, frames, errors) = read(stream);
        assert_eq!((tracks[0].config.as_ref(), errors), (Some(&avcc), vec![]));
        assert_eq!(frames, [&b"\0\0\0\x02\x65\x88"[..]]);
    }
}

#[test]
fn parameter_sets_may_be_in_the_frames_alone() {
    let written = track(CodecId::H264);
    let avcc = written.config.clone().unwrap();
    // `avc3`, an `avcC` without any, and lengths of two bytes.
    let empty = hex("01640028 fd e0 00");
    let frame: &'static [u8] = Box::leak(
        [&[0, 10], SPS, &[0, 2, 0x68, 0xce, 0, 2, 0x65, 0x88]]
            .concat()
            .into(),
    );
    let stream = stream(&written, &[b"\0\x02\x41\x9a", frame]);
    let stream = replaced(stream, &avcc, &empty, &around(&[b"avc1", b"avcC"]));
    let stream = replaced(stream, b"avc1", b"avc3", &[]);
    let (tracks, frames, errors) = read(stream);
    assert_eq!(errors, [Error::BeforeConfig { codec: "H.264" }]);
    let config = h264::Config::parse(tracks[0].config.as_ref().unwrap()).unwrap();
    assert_eq!(
        (config.sps, config.pps),
        (
            vec![Bytes::from_static(SPS)],
            vec![Bytes::from_static(&[0x68, 0xce])]
        )
    );
    assert_eq!(frames.len(), 1);
    assert_eq!(
        frames[0],
        [
            &[0, 0, 0, 10],
            SPS,
            &[0, 0, 0, 2, 0x68, 0xce, 0, 0, 0, 2, 0x65, 0x88]
        ]
        .concat()
    );
}

#[test]
fn parameter_sets_in_frames_change_the_track() {
    let frame: &'static [u8] = Box::leak([&[0, 0, 0, 10], SPS, &[0, 0, 0, 2, 0x65, 0x88]].concat().into());
    let (tracks, frames, errors) = read(stream(&track(CodecId::H264), &[b"\0\0\0\x02\x65\x88", frame]));
    assert_eq!((tracks.len(), frames.len(), errors), (2, 2, vec![]));
    assert_eq!(tracks[0].config, track(CodecId::H264).config);
    assert_ne!(tracks[0].config, tracks[1].config);
    assert_eq!(tracks[0].id, tracks[1].id);
}

#[test]
fn a_broken_configuration_is_told_and_other_tracks_go_on() {
    let tracks = [track(CodecId::H264), track(CodecId::G711A)];
    let mut init = mp4::init(&tracks).unwrap().to_vec();
    let at = init.windows(4).position(|window| window == b"avcC").unwrap() + 4;
    init[at] = 9; // version
    let (tracks, _, errors) = read(init);
    assert_eq!(
        tracks.iter().map(|track| track.codec).collect::<Vec<_>>(),
        [CodecId::G711A]
    );
    assert!(
        matches!(errors[..], [Error::Codec { codec: "H.264", .. }]),
        "{errors:?}"
    );
}

#[test]
fn another_moov_replaces_the_tracks() {
    let video = track(CodecId::H264);
    let audio = |codec| Track {
        id: TrackId(1),
        ..track(codec)
    };
    let init = |tracks: &[Track]| mp4::init(tracks).unwrap().to_vec();
    let stream = [
        init(&[video.clone(), audio(CodecId::G711A)]),
        init(&[video.clone(), audio(CodecId::G711A)]),
        init(&[video, audio(CodecId::G711U)]),
    ]
    .concat();
    let mut demuxer = Demuxer::new();
    demuxer.push(stream.into());
    let mut announced = Vec::new();
    let mut declared = 0;
    while let Some(event) = demuxer.poll().unwrap() {
        match event {
            Event::Track(track) => announced.push((track.id.0, track.codec)),
            Event::TracksDeclared {
                video: true,
                audio: true,
            } => declared += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    // What has not changed is not announced again; another codec is another track.
    assert_eq!(
        announced,
        [(0, CodecId::H264), (1, CodecId::G711A), (2, CodecId::G711U)]
    );
    assert_eq!(declared, 3);
    let now: Vec<_> = demuxer.tracks().map(|track| track.id.0).collect();
    assert_eq!(now, [0, 2]);
}

#[test]
fn entries_of_sound_in_other_forms() {
    let aac = track(CodecId::Aac);
    let whole = mp4::init(std::slice::from_ref(&aac)).unwrap().to_vec();
    let config = |stream: Vec<u8>| {
        let (tracks, _, errors) = read(stream);
        assert_eq!(errors, []);
        tracks.first().map(|track| (track.codec, track.config.clone()))
    };
    let expected = Some((CodecId::Aac, aac.config.clone()));
    // QuickTime's entries have more fields before the boxes: 16 bytes in version 1, 36 in version 2.
    let fields = hex("0000000000000000 00020010 00000000 bb800000");
    for (version, more) in [(1, 16), (2, 36)] {
        let longer = [&[0, version], &fields[2..], &vec![0xaa; more]].concat();
        let stream = replaced(whole.clone(), &fields, &longer, &around(&[b"mp4a"]));
        assert_eq!(config(stream), expected);
    }
    // Short lengths, and an `ES_Descriptor` with everything that may be in it.
    let descriptors =
        hex("03808080 22 0000 00 04808080 14 40150000000000000000000000 05808080 02 1190 06808080 01 02");
    let other = hex("03 1e 0000 e0 0001 03 616263 0002 04 11 40150000000000000000000000 05 02 1190 06 01 02");
    let stream = replaced(whole.clone(), &descriptors, &other, &around(&[b"mp4a", b"esds"]));
    assert_eq!(config(stream), expected);
    // MPEG-2 AAC, and MP3, which is announced by its first frame.
    let object = |object: &[u8]| {
        replaced(
            whole.clone(),
            &hex("14401500"),
            &[&[0x14], object, &[0x15, 0]].concat(),
            &[],
        )
    };
    assert_eq!(config(object(&[0x67])), expected);
    assert_eq!(config(object(&[0x69])), None);
    let unsupported = events(object(&[0xa9])).into_iter().find_map(|event| match event {
        Event::Unsupported(unsupported) => Some(unsupported.what),
        _ => None,
    });
    assert_eq!(unsupported.as_deref(), Some("object type 0xa9 in mp4a"));
}

#[test]
fn opus_with_several_streams_keeps_its_mapping() {
    let head = opus::Head {
        channels: 6,
        pre_skip: 312,
        family: 1,
        mapping: Bytes::from_static(&[4, 2, 0, 4, 1, 2, 3, 5]),
        ..opus::Head::new(2)
    };
    let track = Track {
        config: Some(head.build()),
        ..track(CodecId::Opus)
    };
    let (tracks, ..) = read(stream(&track, &[]));
    assert_eq!(tracks[0].config, track.config);
    assert_eq!(tracks[0].audio().unwrap().channels, 6);
}

#[test]
fn a_fragment_may_choose_among_sample_entries() {
    let aac = track(CodecId::Aac);
    let init = mp4::init(std::slice::from_ref(&aac)).unwrap().to_vec();
    let at = init.windows(4).position(|window| window == b"mp4a").unwrap() - 4;
    let first = init[at..at + 0x57].to_vec();
    // The same with 44.1 kHz, and one of another codec.
    let second = replaced(first.clone(), &hex("80021190"), &hex("80021210"), &[]);
    let third = replaced(first.clone(), b"mp4a", b"ulaw", &[]);
    let init = replaced(init, &first, &[&first[..], &second, &third].concat(), &ENTRY);
    let fragment = |description: u32| {
        let moof = moof(|len| {
            let tfhd = full(b"tfhd", 0, 0x02_001a, &[2, description, 1024, 2]);
            vec![traf(&[tfhd, full(b"trun", 0, 1, &[1, len + 8])])]
        });
        [moof, mdat(b"!a")].concat()
    };
    let mut demuxer = Demuxer::new();
    demuxer.push(
        [
            init,
            fragment(1),
            fragment(2),
            fragment(3),
            fragment(4),
            fragment(0),
            fragment(1),
        ]
        .concat()
        .into(),
    );
    let mut configs = Vec::new();
    while let Some(event) = demuxer.poll().unwrap() {
        if let Event::Track(track) = event {
            configs.push(track.config.unwrap());
        }
    }
    assert_eq!(configs, [&[0x11, 0x90][..], &[0x12, 0x10], &[0x11, 0x90]]);
    let counters = demuxer.counters();
    assert_eq!((counters.frames, counters.unsupported, counters.bad), (3, 3, 0));
}
