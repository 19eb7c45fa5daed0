//! Mux, read, demux: the same frames.

use super::super::round_trip::{audio_codec, payload, track, video_codec};
use super::{bytes, demux, live, segments};
use bytes::Bytes;
use container::mp4::{self, Demuxer, Event, Muxer, Run};
use media::codec::h265;
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Track, TrackId, TrackParams};
use proptest::prelude::*;

/// One frame: of which track, step in microseconds, composition in microseconds, key, content.
type Recipe = (usize, i64, i64, bool, Vec<u8>);

fn recipes() -> impl Strategy<Value = Vec<Recipe>> {
    let step = prop_oneof![Just(0i64), 0..50_000i64, 0..100_000_000i64];
    let composition = prop_oneof![3 => Just(0i64), 1 => 0..2_000_000i64, 1 => Just(20_000_000_000)];
    let noise = proptest::collection::vec(any::<u8>(), 1..100);
    proptest::collection::vec((0usize..4, step, composition, any::<bool>(), noise), 1..40)
}

fn frames(tracks: &[Track], start: i64, recipes: Vec<Recipe>) -> Vec<Frame> {
    let (mut frames, mut now) = (Vec::<Frame>::new(), start);
    for (which, step, composition, key, noise) in recipes {
        let track = &tracks[which % tracks.len()];
        // The first frame of a codec without a header must tell what the header would.
        let first = !frames.iter().any(|frame| frame.track == track.id);
        let key = key || first || track.kind() == MediaKind::Audio;
        now += step;
        frames.push(Frame {
            track: track.id,
            dts: MediaTime::from_micros(now),
            pts: MediaTime::from_micros(now + composition),
            key,
            data: payload(track.codec, key, &noise).into(),
            wire: None,
        });
    }
    frames
}

/// As `track`, with a number of its own.
fn numbered(codecs: impl IntoIterator<Item = CodecId>) -> Vec<Track> {
    (0..)
        .zip(codecs)
        .map(|(id, codec)| Track {
            id: TrackId(id),
            ..track(codec)
        })
        .collect()
}

/// Read tracks tell what the written ones did. Frame rates stand in the bit stream only, and `hvcC` in `hvc1` is marked complete.
fn assert_tracks(read: &[Track], written: &[Track]) {
    for read in read {
        let written = written.iter().find(|track| track.codec == read.codec).unwrap();
        match (read.params, written.params) {
            (TrackParams::Video(read), TrackParams::Video(written)) => {
                assert_eq!((read.width, read.height), (written.width, written.height));
            }
            (read, written) => assert_eq!(read, written),
        }
        match read.codec {
            CodecId::H265 => {
                let parsed = |track: &Track| h265::Config::parse(track.config.as_ref().unwrap()).unwrap();
                assert_eq!(parsed(read), parsed(written));
            }
            _ => assert_eq!(read.config, written.config),
        }
    }
}

/// Frames of each track in order, and their times to a tick. `slack`: how much a presentation time may be off, in microseconds.
fn assert_frames(read_tracks: &[Track], read: &[Frame], tracks: &[Track], written: &[Frame]) {
    assert_eq!(read.len(), written.len());
    for track in tracks {
        let of = |frames: &[Frame], id| -> Vec<Frame> {
            frames.iter().filter(|frame| frame.track == id).cloned().collect()
        };
        let Some(read_track) = read_tracks.iter().find(|read| read.codec == track.codec) else {
            assert!(of(written, track.id).is_empty());
            continue;
        };
        let (read, written) = (of(read, read_track.id), of(written, track.id));
        assert_eq!(read.len(), written.len());
        let rate = track.audio().map_or(90_000, |audio| i64::from(audio.sample_rate));
        // Half a tick, and rounding to microseconds twice.
        let tick = 500_000 / rate + 2;
        for (read, written) in read.iter().zip(&written) {
            assert_eq!((&read.data, read.key), (&written.data, written.key));
            let near = |a: MediaTime, b: MediaTime| (a - b).as_micros().abs() <= tick;
            assert!(
                near(read.dts, written.dts) && near(read.pts, written.pts),
                "{read:?} {written:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn what_is_muxed_is_demuxed(
        video in proptest::option::of(video_codec()),
        audio in audio_codec(),
        second in proptest::option::of(Just(CodecId::G711U)),
        start in prop_oneof![Just(0i64), 0..1i64 << 50],
        recipes in recipes(),
        len in 1usize..10,
        chunks in proptest::collection::vec(1usize..300, 1..5),
    ) {
        let second = second.filter(|codec| *codec != audio);
        let tracks = numbered(video.into_iter().chain([audio]).chain(second));
        let frames = frames(&tracks, start, recipes);
        let (read_tracks, read) = demux(&live(&tracks, &frames), &chunks);
        assert_tracks(&read_tracks, &tracks);
        assert_frames(&read_tracks, &read, &tracks, &frames);
        // One fragment per frame, so they come as they went.
        prop_assert!(read.iter().map(|frame| &frame.data).eq(frames.iter().map(|frame| &frame.data)));

        let pieces = segments(&tracks, &frames, len);
        prop_assert_eq!(&pieces, &segments(&tracks, &frames, len));
        let (read_tracks, read) = demux(&pieces.concat(), &chunks);
        assert_tracks(&read_tracks, &tracks);
        assert_frames(&read_tracks, &read, &tracks, &frames);
    }
}

fn frame(track: u8, millis: i64, key: bool, data: &'static [u8]) -> Frame {
    Frame {
        track: TrackId(track),
        dts: MediaTime::from_millis(millis),
        pts: MediaTime::from_millis(millis),
        key,
        data: Bytes::from_static(data),
        wire: None,
    }
}

/// A slice of an IDR picture, and of another.
const IDR: &[u8] = b"\0\0\0\x02\x65\x88";
const INTER: &[u8] = b"\0\0\0\x02\x41\x9a";

#[test]
fn frames_of_a_fragment_come_in_the_order_of_their_decoding_times() {
    let tracks = numbered([CodecId::H264, CodecId::G711A]);
    let video = [
        frame(0, 0, true, IDR),
        frame(0, 40, false, INTER),
        frame(0, 80, false, INTER),
    ];
    let audio = [
        frame(1, 10, true, b"aa"),
        frame(1, 40, true, b"bb"),
        frame(1, 70, true, b"cc"),
    ];
    let (video, audio): (Vec<_>, Vec<_>) = (video.iter().collect(), audio.iter().collect());
    let run = |at: usize, frames| Run {
        track: &tracks[at],
        frames,
        end: MediaTime::from_millis(120),
    };
    let mut out = vec![mp4::init(&tracks).unwrap()];
    assert_eq!(mp4::fragment(1, &[run(0, &video), run(1, &audio)], &mut out), 0);
    let (_, read) = demux(&out.concat(), &[usize::MAX]);
    let order: Vec<_> = read
        .iter()
        .map(|frame| (frame.track.0, frame.dts.as_millis()))
        .collect();
    // At equal times in the order of the runs.
    assert_eq!(order, [(0, 0), (1, 10), (0, 40), (1, 40), (1, 70), (0, 80)]);
}

#[test]
fn decoding_times_are_moved_where_composition_offsets_are_negative() {
    let tracks = numbered([CodecId::H264]);
    // Shown at 0, 120, 40, 80 ms, decoded each 40 ms from 0 on: the third 40 ms too late.
    let times = [(0, 0), (40, 120), (80, 40), (120, 80)];
    let sent = times.map(|(dts, pts)| Frame {
        pts: MediaTime::from_millis(pts),
        ..frame(0, dts, dts == 0, if dts == 0 { IDR } else { INTER })
    });
    let list: Vec<_> = sent.iter().collect();
    let run = Run {
        track: &tracks[0],
        frames: &list,
        end: MediaTime::from_millis(160),
    };
    let mut out = vec![mp4::init(&tracks).unwrap()];
    mp4::fragment(1, &[run], &mut out);
    let read = |stream: &[u8]| {
        let (_, frames) = demux(stream, &[usize::MAX]);
        frames
            .iter()
            .map(|frame| (frame.dts.as_millis(), frame.pts.as_millis()))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&out.concat()), [(-40, 0), (0, 120), (40, 40), (80, 80)]);
    // One by one, it is known with the third only; decoding times stand still until then, and never go back.
    assert_eq!(
        read(&live(&tracks, &sent)),
        [(0, 0), (40, 120), (40, 40), (80, 80)]
    );
}

#[test]
fn payloads_are_shared_on_both_ways() {
    let tracks = numbered([CodecId::H264]);
    let sent = frame(0, 0, true, IDR);
    let (mut muxer, mut out) = (Muxer::new(), Vec::new());
    muxer.set_tracks(&tracks, &mut out);
    muxer.write(&sent, &mut out);
    muxer.write(&sent, &mut out);
    let [first, second] = &out[..] else {
        panic!("two packets expected")
    };
    assert_eq!(first.parts[1].as_ptr(), sent.data.as_ptr());
    let head = first.parts[0].as_ptr_range();
    assert_eq!(head.end, second.parts[0].as_ptr());

    let mut stream = muxer.preamble();
    stream.extend(out);
    let stream = Bytes::from(bytes(&stream));
    let mut demuxer = Demuxer::new();
    demuxer.push(stream.clone());
    let mut read = Vec::new();
    while let Some(event) = demuxer.poll().unwrap() {
        if let Event::Frame(frame) = event {
            read.push(frame);
        }
    }
    assert_eq!(read.len(), 2);
    assert!(
        read.iter()
            .all(|frame| stream.as_ptr_range().contains(&frame.data.as_ptr()))
    );
}

#[test]
fn packets_tell_where_a_viewer_may_start() {
    let starts = |codecs: &[CodecId]| {
        let (mut muxer, mut out) = (Muxer::new(), Vec::new());
        muxer.set_tracks(&numbered(codecs.iter().copied()), &mut out);
        for frame in [
            frame(0, 40, true, IDR),
            frame(1, 40, true, b"a"),
            frame(0, 40, false, INTER),
        ] {
            muxer.write(&frame, &mut out);
        }
        assert!(
            out.iter()
                .all(|packet| !packet.config && packet.dts == MediaTime::from_millis(40))
        );
        out.iter().map(|packet| packet.key).collect::<Vec<_>>()
    };
    assert_eq!(starts(&[CodecId::H264, CodecId::Aac]), [true, false, false]);
    assert_eq!(starts(&[CodecId::Aac]), [true, true]);
    assert_eq!(starts(&[CodecId::G711U, CodecId::Aac]), [true; 3]);
}

#[test]
fn a_changed_configuration_is_a_new_moov_and_the_tracks_keep_their_numbers() {
    let tracks = numbered([CodecId::H264, CodecId::Aac]);
    let (mut muxer, mut out) = (Muxer::new(), Vec::new());
    muxer.set_tracks(&tracks, &mut out);
    muxer.set_tracks(&tracks, &mut out);
    assert!(out.is_empty());
    out.extend(muxer.preamble());
    muxer.write(&frame(0, 0, true, IDR), &mut out);
    let mut changed = tracks.clone();
    changed[0].config = Some(super::super::hex(&super::super::AVCC.replacen("640028", "640029", 2)).into());
    muxer.set_tracks(&changed, &mut out);
    assert_eq!((out.len(), out[2].config), (3, true));
    assert_eq!(out[2].parts[..], muxer.preamble()[0].parts[..]);
    muxer.write(&frame(0, 40, true, IDR), &mut out);
    // The decoding time of the frame before is known still: 40 ms at 90 kHz.
    let (_, read) = demux(&bytes(&out), &[7]);
    assert_eq!(read.iter().map(|frame| frame.track.0).collect::<Vec<_>>(), [0, 0]);

    let mut demuxer = Demuxer::new();
    demuxer.push(bytes(&out).into());
    let mut configs = Vec::new();
    while let Some(event) = demuxer.poll().unwrap() {
        if let Event::Track(track) = event {
            configs.push((track.id.0, track.config));
        }
    }
    let of = |track: &Track| (track.id.0, track.config.clone());
    assert_eq!(configs, [of(&tracks[0]), of(&tracks[1]), of(&changed[0])]);
}

#[test]
fn nothing_is_made_of_tracks_that_mp4_does_not_carry() {
    let mut unready = track(CodecId::H264);
    unready.config = None;
    let jpeg = Track {
        codec: CodecId::Jpeg,
        ..unready.clone()
    };
    let tracks = [unready, jpeg];
    assert_eq!(mp4::init(&tracks), None);
    let (mut muxer, mut out) = (Muxer::new(), Vec::new());
    muxer.set_tracks(&tracks, &mut out);
    muxer.write(&frame(0, 0, true, IDR), &mut out);
    assert!(out.is_empty() && muxer.preamble().is_empty());
    let mut out = Vec::new();
    let run = Run {
        track: &tracks[0],
        frames: &[],
        end: MediaTime::ZERO,
    };
    assert_eq!((mp4::fragment(1, &[run], &mut out), out.len()), (0, 0));
}
