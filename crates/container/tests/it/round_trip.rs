//! Mux, read, demux: the same frames.

use super::{AV1C, AVCC, HVCC, VPCC, hex, tracks_and_frames};
use bytes::Bytes;
use container::flv::{Carried, Demuxer, Header, Muxer, Options, Reader, TagType};
use media::codec::opus;
use media::track::{AudioParams, VideoParams};
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Packet, Track, TrackId, TrackParams};
use proptest::prelude::*;

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);

pub(crate) fn track(codec: CodecId) -> Track {
    let video = |width, height, fps| TrackParams::Video(VideoParams { width, height, fps });
    let audio = |sample_rate, channels| {
        TrackParams::Audio(AudioParams {
            sample_rate,
            channels,
            sample_bits: 16,
        })
    };
    let (config, params) = match codec {
        CodecId::H264 => (Some(hex(AVCC)), video(1920, 1080, 25.0)),
        CodecId::H265 => (Some(hex(HVCC)), video(322, 182, 30.0)),
        CodecId::Av1 => (Some(hex(AV1C)), video(322, 182, 24.0)),
        CodecId::Vp8 => (None, video(320, 180, 0.0)),
        CodecId::Vp9 => (Some(hex(VPCC)), video(320, 180, 15.0)),
        CodecId::Aac => (Some(hex("1190")), audio(48_000, 2)),
        CodecId::Opus => (Some(opus::Head::new(2).build().to_vec()), audio(48_000, 2)),
        CodecId::G711A | CodecId::G711U => (None, audio(8_000, 1)),
        CodecId::Mp3 => (None, audio(44_100, 2)),
        CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => unreachable!("not carried in FLV"),
    };
    let id = if codec.kind() == MediaKind::Video {
        VIDEO
    } else {
        AUDIO
    };
    Track {
        id,
        codec,
        config: config.map(Bytes::from),
        params,
        wire: None,
    }
}

/// A payload whose first bytes are what the codec's key frames or other frames begin with.
pub fn payload(codec: CodecId, key: bool, noise: &[u8]) -> Vec<u8> {
    let nal = |header: &[u8]| {
        let unit = [header, noise].concat();
        [&(unit.len() as u32).to_be_bytes(), &unit[..]].concat()
    };
    match (codec, key) {
        (CodecId::H264, true) => nal(&[0x65]),
        (CodecId::H264, false) => nal(&[0x41, 0x9a]),
        (CodecId::H265, true) => nal(&[0x26, 1]),
        (CodecId::H265, false) => nal(&[0x02, 1]),
        (CodecId::Av1, _) => {
            let len = noise.len() as u8 + 1;
            [&[0x32, len, if key { 0x10 } else { 0x30 }], noise].concat()
        }
        (CodecId::Vp8, true) => [&[0x50, 0x42, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0], noise].concat(),
        (CodecId::Vp8, false) => [&[0x51], noise].concat(),
        (CodecId::Vp9, true) => [&hex("a2498342e013f00b36143824"), noise].concat(),
        (CodecId::Vp9, false) => [&[0b1000_0110], noise].concat(),
        (CodecId::Opus, _) => [&[0xfc], noise].concat(),
        (CodecId::Mp3, _) => [&[0xff, 0xfb, 0x90, 0x64], noise].concat(),
        (CodecId::Aac | CodecId::G711A | CodecId::G711U, _) => [&[0x21], noise].concat(),
        (CodecId::L16 | CodecId::Jpeg | CodecId::Other(_), _) => unreachable!("not carried in FLV"),
    }
}

fn bytes(packets: &[Packet]) -> Vec<u8> {
    packets
        .iter()
        .flat_map(|packet| &packet.parts)
        .flat_map(|part| part.iter().copied())
        .collect()
}

/// Reads a whole FLV stream that arrives in chunks of these sizes, over and over.
fn demux(stream: &[u8], chunks: &[usize]) -> (Header, Vec<Track>, Vec<Frame>) {
    let (mut reader, mut demuxer, mut events) = (Reader::new(), Demuxer::new(), Vec::new());
    let mut rest = stream;
    for size in chunks.iter().cycle() {
        let (chunk, next) = rest.split_at((*size).min(rest.len()));
        rest = next;
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(tag) = reader.next().unwrap() {
            demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body).unwrap();
            events.extend(std::iter::from_fn(|| demuxer.poll()));
        }
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(demuxer.counters().bad, 0);
    let (tracks, frames) = tracks_and_frames(events);
    (reader.header().unwrap(), tracks, frames)
}

pub fn video_codec() -> impl Strategy<Value = CodecId> {
    prop::sample::select(vec![
        CodecId::H264,
        CodecId::H265,
        CodecId::Av1,
        CodecId::Vp8,
        CodecId::Vp9,
    ])
}

pub fn audio_codec() -> impl Strategy<Value = CodecId> {
    prop::sample::select(vec![
        CodecId::Aac,
        CodecId::Opus,
        CodecId::G711A,
        CodecId::G711U,
        CodecId::Mp3,
    ])
}

/// One frame: of audio or video, step in milliseconds, composition time, key, content.
type Recipe = (bool, u32, i32, bool, Vec<u8>);

fn recipes() -> impl Strategy<Value = Vec<Recipe>> {
    let composition = prop_oneof![Just(0), -500..2_000i32, Just(-0x80_0000), Just(0x7f_ffff)];
    let noise = proptest::collection::vec(any::<u8>(), 1..100);
    proptest::collection::vec(
        (any::<bool>(), 0u32..5_000_000, composition, any::<bool>(), noise),
        1..40,
    )
}

proptest! {
    #[test]
    fn what_is_muxed_is_demuxed(
        video in proptest::option::of(video_codec()),
        audio in proptest::option::of(audio_codec()),
        enhanced: bool,
        start in prop_oneof![Just(0i64), 0..0xffff_ffffi64, Just(0xffff_ff00)],
        recipes in recipes(),
        chunks in proptest::collection::vec(1usize..300, 1..5),
    ) {
        let codecs: Vec<_> = video.into_iter().chain(audio).collect();
        let tracks: Vec<_> = codecs.iter().copied().map(track).collect();
        let mut muxer = Muxer::new(Options { enhanced, ..Options::default() });
        let mut out = Vec::new();
        muxer.set_tracks(&tracks, &mut out);
        prop_assert!(out.is_empty());
        let (mut packets, mut frames, mut now) = (muxer.preamble(), Vec::new(), start);
        for (is_video, step, composition, key, noise) in recipes {
            let Some(codec) = (if is_video { video } else { audio }) else { continue };
            // The first frame of a codec without a header must tell what the header would.
            let first = !frames.iter().any(|frame: &Frame| frame.track == track(codec).id);
            let key = key || first || !is_video;
            let reorders = match codec {
                CodecId::H264 | CodecId::H265 => true,
                CodecId::Av1 | CodecId::Vp8 | CodecId::Vp9 => !enhanced,
                CodecId::Aac
                | CodecId::Opus
                | CodecId::G711A
                | CodecId::G711U
                | CodecId::Mp3
                | CodecId::L16
                | CodecId::Jpeg
                | CodecId::Other(_) => false,
            };
            now += i64::from(step);
            let frame = Frame {
                track: track(codec).id,
                dts: MediaTime::from_millis(now),
                pts: MediaTime::from_millis(now + if reorders { i64::from(composition) } else { 0 }),
                key,
                data: payload(codec, key, &noise).into(), wire: None,
            };
            muxer.write(&frame, &mut packets);
            frames.push(frame);
        }
        let (header, read_tracks, mut read) = demux(&bytes(&packets), &chunks);
        prop_assert_eq!(header, Header { video: video.is_some(), audio: audio.is_some() });
        // Which round of the 32 bits a stream began in cannot be seen.
        let round = MediaTime::from_millis(1 << 32);
        let shift = frames.first().zip(read.first()).map_or(MediaTime::ZERO, |(sent, read)| sent.dts - read.dts);
        prop_assert!(shift == MediaTime::ZERO || shift == round, "{shift:?}");
        let order: Vec<_> = read_tracks.iter().map(|track| track.kind()).collect();
        for frame in &mut read {
            (frame.dts, frame.pts) = (frame.dts + shift, frame.pts + shift);
            // Numbers count in order of appearance.
            let kind = order[usize::from(frame.track.0)];
            frame.track = if kind == MediaKind::Video { VIDEO } else { AUDIO };
        }
        prop_assert_eq!(&read, &frames);
        for mut read in read_tracks {
            let original = track(read.codec);
            read.id = original.id;
            prop_assert_eq!(read, original);
        }
    }
}

#[test]
fn packets_tell_where_a_viewer_may_start() {
    let frame = |track, key| Frame {
        track,
        dts: MediaTime::from_millis(40),
        pts: MediaTime::from_millis(40),
        key,
        data: payload(CodecId::H264, key, &[1]).into(),
        wire: None,
    };
    let starts = |tracks: &[Track]| {
        let (mut muxer, mut out) = (Muxer::new(Options::default()), Vec::new());
        muxer.set_tracks(tracks, &mut out);
        for frame in [frame(VIDEO, true), frame(AUDIO, true), frame(VIDEO, false)] {
            muxer.write(&frame, &mut out);
        }
        assert!(
            out.iter()
                .all(|packet| !packet.config && packet.dts == MediaTime::from_millis(40))
        );
        out.iter().map(|packet| packet.key).collect::<Vec<_>>()
    };
    assert_eq!(
        starts(&[track(CodecId::H264), track(CodecId::Aac)]),
        [true, false, false]
    );
    assert_eq!(starts(&[track(CodecId::Aac)]), [true]);
}

#[test]
fn payloads_are_shared_and_heads_come_from_one_block() {
    let (mut muxer, mut out) = (Muxer::new(Options::default()), Vec::new());
    muxer.set_tracks(&[track(CodecId::H264)], &mut out);
    let data = Bytes::from(payload(CodecId::H264, true, &[7; 50]));
    let frame = Frame {
        track: VIDEO,
        dts: MediaTime::ZERO,
        pts: MediaTime::ZERO,
        key: true,
        data: data.clone(),
        wire: None,
    };
    muxer.write(&frame, &mut out);
    muxer.write(&frame, &mut out);
    let [first, second] = &out[..] else {
        panic!("two packets expected")
    };
    assert_eq!(first.parts[1].as_ptr(), data.as_ptr());
    assert_eq!(first.parts[0].as_ptr().wrapping_add(16), first.parts[2].as_ptr());
    assert_eq!(first.parts[2].as_ptr().wrapping_add(4), second.parts[0].as_ptr());
}

#[test]
fn a_changed_configuration_reaches_viewers_that_are_there() {
    let (mut muxer, mut out) = (Muxer::new(Options::default()), Vec::new());
    let tracks = [track(CodecId::H264), track(CodecId::Aac)];
    muxer.set_tracks(&tracks, &mut out);
    muxer.set_tracks(&tracks, &mut out);
    assert!(out.is_empty());
    let mut changed = tracks.clone();
    changed[0].config = Some(hex(&AVCC.replacen("640028", "640029", 2)).into());
    muxer.set_tracks(&changed, &mut out);
    // Metadata and the one header that changed.
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|packet| packet.config));
    assert_eq!(out[1].parts[0][11..16], hex("17 00 000000"));
    assert_eq!(muxer.preamble().len(), 4);
}

#[test]
fn only_the_first_track_of_each_kind_is_carried() {
    let mut second = track(CodecId::H265);
    second.id = TrackId(2);
    let mut unready = track(CodecId::H264);
    (unready.id, unready.config) = (TrackId(3), None);
    let carried = Carried::of(&[unready, track(CodecId::Aac), second.clone(), track(CodecId::H264)]);
    assert_eq!(
        (carried.video, carried.audio),
        (Some(second), Some(track(CodecId::Aac)))
    );
}

#[test]
fn a_reader_skips_unknown_tags_and_extends_times_over_the_wrap() {
    let mut stream = b"FLV\x01\x05\0\0\0\x0a?????".to_vec();
    let mut tag = |kind: u8, time: [u8; 4], body: &[u8]| {
        stream.extend([
            kind,
            0,
            0,
            body.len() as u8,
            time[1],
            time[2],
            time[3],
            time[0],
            0,
            0,
            0,
        ]);
        stream.extend(body);
        stream.extend(b"bad!");
    };
    tag(8, [0xff, 0xff, 0xff, 0xf0], b"a");
    tag(15, [0, 0, 0, 0], b"unknown");
    tag(9, [0, 0, 0, 0x10], b"b");
    tag(8, [0xff, 0xff, 0xff, 0xff], b"c");
    let (mut reader, mut tags) = (Reader::new(), Vec::new());
    for byte in stream {
        reader.push(Bytes::copy_from_slice(&[byte]));
        while let Some(tag) = reader.next().unwrap() {
            tags.push((tag.tag_type, tag.timestamp_ms, tag.body));
        }
    }
    let expected = [
        (TagType::Audio, 0xffff_fff0, Bytes::from_static(b"a")),
        (TagType::Video, 0x1_0000_0010, Bytes::from_static(b"b")),
        (TagType::Audio, 0xffff_ffff, Bytes::from_static(b"c")),
    ];
    assert_eq!(tags, expected);
    assert_eq!(
        (reader.skipped(), reader.header()),
        (
            1,
            Some(Header {
                video: true,
                audio: true
            })
        )
    );
}

#[test]
fn headers_at_time_0_do_not_pull_an_old_stream_below_0() {
    let mut reader = Reader::new();
    reader.push(Bytes::from_static(b"FLV\x01\x05\0\0\0\x09\0\0\0\0"));
    for time in [0u32, 0x9000_0000, 0x9000_0028] {
        let [time3, time2, time1, time0] = time.to_be_bytes();
        let tag = [9, 0, 0, 1, time2, time1, time0, time3, 0, 0, 0, 0x57, 0, 0, 0, 12];
        reader.push(Bytes::copy_from_slice(&tag));
        assert_eq!(
            reader.next().unwrap().map(|tag| tag.timestamp_ms),
            Some(i64::from(time))
        );
    }
}
