//! First bytes of tags as ZLM, ffmpeg and OBS send them (codecs.md, section 4), read and written.

use super::{AV1C, AVCC, HVCC, hex, read, tracks_and_frames};
use bytes::Bytes;
use container::flv::{DeclaredCodec, Demuxer, Error, Event, TagType, body};
use media::track::{AudioParams, VideoParams};
use media::{CodecId, Frame, MediaTime, Track, TrackId, TrackParams};

/// Sends a header and a coded frame; returns the track and the frame.
fn demux(tag_type: TagType, header: &str, coded: &str) -> (Track, Frame) {
    let mut demuxer = Demuxer::new();
    let mut events = read(&mut demuxer, tag_type, 0, &hex(header)).unwrap();
    events.extend(read(&mut demuxer, tag_type, 1_000, &hex(coded)).unwrap());
    let (mut tracks, mut frames) = tracks_and_frames(events);
    assert_eq!((tracks.len(), frames.len()), (1, 1));
    (tracks.remove(0), frames.remove(0))
}

/// Reads a header and a frame, and writes them again: the same bytes must come out.
fn check(
    tag_type: TagType,
    enhanced: bool,
    header: &str,
    coded: &str,
    codec: CodecId,
    key: bool,
    cts_ms: i64,
) -> Track {
    let (track, frame) = demux(tag_type, header, coded);
    assert_eq!(
        (track.codec, track.id, frame.track),
        (codec, TrackId(0), TrackId(0))
    );
    assert_eq!(
        (
            frame.dts.as_millis(),
            (frame.pts - frame.dts).as_millis(),
            frame.key
        ),
        (1_000, cts_ms, key)
    );
    let written_header = body::sequence_header(&track, enhanced)
        .map(|body| body.to_vec())
        .unwrap_or_default();
    assert_eq!(written_header, hex(header));
    let head = body::frame_head(&frame, &track, enhanced);
    assert_eq!([&head[..], &frame.data].concat(), hex(coded));
    track
}

#[test]
fn h264() {
    let header = format!("17 00 000000 {AVCC}");
    let track = check(
        TagType::Video,
        true,
        &header,
        "17 01 000085 00000002 6588",
        CodecId::H264,
        true,
        0x85,
    );
    assert_eq!(
        track.video(),
        Some(&VideoParams {
            width: 1920,
            height: 1080,
            fps: 25.0
        })
    );
    check(
        TagType::Video,
        false,
        &header,
        "27 01 00010b 00000003 419a24",
        CodecId::H264,
        false,
        0x10b,
    );
    check(
        TagType::Video,
        false,
        &header,
        "27 01 fffff6 00000003 419a24",
        CodecId::H264,
        false,
        -10,
    );
}

#[test]
fn h265_enhanced() {
    let header = format!("90 68766331 {HVCC}");
    let track = check(
        TagType::Video,
        true,
        &header,
        "91 68766331 00014e 00000003 2601af",
        CodecId::H265,
        true,
        0x14e,
    );
    assert_eq!(
        track.video(),
        Some(&VideoParams {
            width: 322,
            height: 182,
            fps: 30.0
        })
    );
    check(
        TagType::Video,
        true,
        &header,
        "a1 68766331 000000 00000003 0201d0",
        CodecId::H265,
        false,
        0,
    );
    // Without a composition time (CodedFramesX), as ffmpeg writes it where it is 0.
    let (_, frame) = demux(TagType::Video, &header, "93 68766331 00000003 2601af");
    assert_eq!(
        (frame.pts, &frame.data[..]),
        (frame.dts, &hex("00000003 2601af")[..])
    );
}

#[test]
fn h265_domestic() {
    let header = format!("1c 00 000000 {HVCC}");
    check(
        TagType::Video,
        false,
        &header,
        "1c 01 000028 00000003 2601af",
        CodecId::H265,
        true,
        40,
    );
    check(
        TagType::Video,
        false,
        &header,
        "2c 01 000000 00000003 0201d0",
        CodecId::H265,
        false,
        0,
    );
}

#[test]
fn av1_loses_its_temporal_delimiters() {
    let header = format!("90 61763031 {AV1C}");
    let (track, frame) = demux(TagType::Video, &header, "91 61763031 1200 3204 14002218");
    assert_eq!(
        (track.codec, frame.key, &frame.data[..]),
        (CodecId::Av1, true, &hex("3204 14002218")[..])
    );
    check(
        TagType::Video,
        true,
        &header,
        "93 61763031 3204 14002218",
        CodecId::Av1,
        true,
        0,
    );
    check(
        TagType::Video,
        false,
        &format!("1d 00 000000 {AV1C}"),
        "1d 01 000000 3204 14002218",
        CodecId::Av1,
        true,
        0,
    );
}

#[test]
fn av1_and_vp9_without_a_header_are_announced_from_their_key_frames() {
    let (track, _) = demux(
        TagType::Video,
        "",
        "91 61763031 1200 0a0d200000043d06d4daf92021a004 3204 14002218",
    );
    assert_eq!(track.config.as_deref(), Some(&hex(AV1C)[..]));
    assert_eq!(
        track.video().map(|video| (video.width, video.height)),
        Some((322, 182))
    );
    let (track, frame) = demux(TagType::Video, "", "93 76703039 a2498342e013f00b36143824");
    assert_eq!(track.config.as_deref(), Some(&hex("010b87010d000000")[..])); // RGB
    assert_eq!(
        (track.video().map(|video| video.width), frame.key),
        (Some(320), true)
    );
}

#[test]
fn vp9_with_the_box_header_of_ffmpeg() {
    let (track, _) = demux(
        TagType::Video,
        "90 76703039 01000000 010b870202000000",
        "91 76703039 a2498342e013f00b36143824",
    );
    assert_eq!(track.config.as_deref(), Some(&hex("010b870202000000")[..]));
}

#[test]
fn vp8_in_both_forms() {
    check(
        TagType::Video,
        true,
        "",
        "93 76703038 504200 9d012a 4001 b400 00",
        CodecId::Vp8,
        true,
        0,
    );
    let track = check(
        TagType::Video,
        false,
        "",
        "1e 01 000000 504200 9d012a 4001 b400 00",
        CodecId::Vp8,
        true,
        0,
    );
    assert_eq!(
        track.video(),
        Some(&VideoParams {
            width: 320,
            height: 180,
            fps: 0.0
        })
    );
}

#[test]
fn aac() {
    let track = check(
        TagType::Audio,
        true,
        "af 00 1208",
        "af 01 210049900219",
        CodecId::Aac,
        true,
        0,
    );
    assert_eq!(
        track.audio(),
        Some(&AudioParams {
            sample_rate: 44_100,
            channels: 1,
            sample_bits: 16
        })
    );
    // By FourCC.
    let (track, frame) = demux(TagType::Audio, "90 6d703461 1208", "91 6d703461 2100");
    assert_eq!((track.codec, &frame.data[..]), (CodecId::Aac, &[0x21, 0][..]));
}

#[test]
fn opus() {
    let header = "90 4f707573 4f70757348656164 01 02 3801 80bb0000 0000 00";
    let track = check(
        TagType::Audio,
        true,
        header,
        "91 4f707573 fc1234",
        CodecId::Opus,
        true,
        0,
    );
    assert_eq!(
        track.audio(),
        Some(&AudioParams {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16
        })
    );
    let track = check(TagType::Audio, false, "", "df fc1234", CodecId::Opus, true, 0);
    assert_eq!(track.audio().map(|audio| audio.channels), Some(2));
}

#[test]
fn g711_and_mp3() {
    let track = check(TagType::Audio, true, "", "72 d5d5d5", CodecId::G711A, true, 0);
    assert_eq!(
        track.audio(),
        Some(&AudioParams {
            sample_rate: 8_000,
            channels: 1,
            sample_bits: 16
        })
    );
    check(TagType::Audio, false, "", "82 ffff", CodecId::G711U, true, 0);
    let track = check(
        TagType::Audio,
        true,
        "",
        "2e fffb90c4 0000",
        CodecId::Mp3,
        true,
        0,
    );
    assert_eq!(
        track.audio(),
        Some(&AudioParams {
            sample_rate: 44_100,
            channels: 1,
            sample_bits: 16
        })
    );
    check(
        TagType::Audio,
        true,
        "",
        "2f fffb9064 0000",
        CodecId::Mp3,
        true,
        0,
    );
    // 48 kHz has no bits of its own; 8 kHz has its own format.
    check(
        TagType::Audio,
        true,
        "",
        "22 fffb94c4 0000",
        CodecId::Mp3,
        true,
        0,
    );
    check(
        TagType::Audio,
        true,
        "",
        "e2 ffe348c4 0000",
        CodecId::Mp3,
        true,
        0,
    );
    let (track, _) = demux(TagType::Audio, "", "91 2e6d7033 fffb90c4 0000");
    assert_eq!(track.codec, CodecId::Mp3);
}

#[test]
fn g711_that_is_not_8000_mono_cannot_be_carried() {
    let (mut track, _) = demux(TagType::Audio, "", "72 d5d5d5");
    assert!(body::carries(&track));
    track.params = TrackParams::Audio(AudioParams {
        sample_rate: 16_000,
        channels: 1,
        sample_bits: 16,
    });
    assert!(!body::carries(&track));
    track.params = TrackParams::Audio(AudioParams {
        sample_rate: 8_000,
        channels: 2,
        sample_bits: 16,
    });
    assert!(!body::carries(&track));
}

#[test]
fn other_codecs_are_reported_once_and_counted() {
    let mut demuxer = Demuxer::new();
    let bodies = [
        (TagType::Video, "22 0000"),
        (TagType::Video, "91 76766331 00"),
        (TagType::Audio, "90 664c6143 00"),
        (TagType::Audio, "91 61632d33 00"),
        (TagType::Audio, "b2 00"),
        (TagType::Video, "95 61763031 00"),
    ];
    let mut reported = Vec::new();
    for _ in 0..3 {
        for (tag_type, body) in bodies {
            for event in read(&mut demuxer, tag_type, 0, &hex(body)).unwrap() {
                let Event::Unsupported(unsupported) = event else {
                    panic!("unexpected {event:?}")
                };
                reported.push(unsupported.what);
            }
        }
    }
    let expected = [
        "codec id 2",
        "codec vvc1",
        "codec fLaC",
        "codec ac-3",
        "codec id 11",
        "MPEG-2 TS sequence start",
    ];
    assert_eq!(reported, expected);
    assert_eq!((demuxer.counters().unsupported, demuxer.counters().bad), (18, 0));
}

#[test]
fn nothing_happens_for_ends_commands_and_empty_bodies() {
    let mut demuxer = Demuxer::new();
    for body in [
        "17 02 000000",
        "57 00",
        "d2 68766331",
        "92 68766331",
        "94 68766331 02",
        "",
        "17 01 000000",
    ] {
        assert_eq!(
            read(&mut demuxer, TagType::Video, 0, &hex(body)),
            Ok(vec![]),
            "{body}"
        );
    }
    for body in ["92 4f707573", "94 4f707573 010203", "af 01", "72"] {
        assert_eq!(
            read(&mut demuxer, TagType::Audio, 0, &hex(body)),
            Ok(vec![]),
            "{body}"
        );
    }
    assert_eq!(demuxer.counters().bad, 0);
}

#[test]
fn a_frame_before_its_configuration_is_an_error_and_the_stream_goes_on() {
    let mut demuxer = Demuxer::new();
    let early = read(
        &mut demuxer,
        TagType::Video,
        0,
        &hex("17 01 000000 00000002 6588"),
    );
    assert_eq!(early, Err(Error::FrameBeforeConfig { codec: "H.264" }));
    assert_eq!(demuxer.counters().bad, 1);
    read(
        &mut demuxer,
        TagType::Video,
        0,
        &hex(&format!("17 00 000000 {AVCC}")),
    )
    .unwrap();
    assert_eq!(
        read(
            &mut demuxer,
            TagType::Video,
            0,
            &hex("17 01 000000 00000002 6588")
        )
        .unwrap()
        .len(),
        1
    );
}

#[test]
fn parameter_sets_inside_frames_make_and_change_the_configuration() {
    let sps = "0000001b 67640028acd940780227e5c044000003000400000300c83c60c658";
    let pps = "00000006 68ebe3cb22c0";
    let mut demuxer = Demuxer::new();
    let first = read(
        &mut demuxer,
        TagType::Video,
        0,
        &hex(&format!("17 01 000000 {sps} {pps} 00000002 6588")),
    )
    .unwrap();
    let (tracks, frames) = tracks_and_frames(first);
    assert_eq!(tracks[0].config.as_deref(), Some(&hex(AVCC)[..]));
    assert_eq!(frames.len(), 1);
    // The same sets again: nothing new. Another level: a new configuration, before the frame.
    let again = read(
        &mut demuxer,
        TagType::Video,
        40,
        &hex(&format!("17 01 000000 {sps} {pps} 00000002 6588")),
    )
    .unwrap();
    assert_eq!(again.len(), 1);
    let other = sps.replace("67640028", "67640029");
    let changed = read(
        &mut demuxer,
        TagType::Video,
        80,
        &hex(&format!("17 01 000000 {other} 00000002 6588")),
    )
    .unwrap();
    let [Event::Track(track), Event::Frame(_)] = &changed[..] else {
        panic!("unexpected {changed:?}")
    };
    assert_eq!(
        (track.id, track.config.as_deref().map(|config| config[3])),
        (TrackId(0), Some(0x29))
    );
}

#[test]
fn a_repeated_header_does_not_undo_what_the_frames_have_brought() {
    let header = format!("17 00 000000 {AVCC}");
    let sps = "0000001b 67640029acd940780227e5c044000003000400000300c83c60c658";
    let mut demuxer = Demuxer::new();
    assert_eq!(
        read(&mut demuxer, TagType::Video, 0, &hex(&header))
            .unwrap()
            .len(),
        1
    );
    let frame = hex(&format!("17 01 000000 {sps} 00000002 6588"));
    assert_eq!(read(&mut demuxer, TagType::Video, 0, &frame).unwrap().len(), 2);
    assert_eq!(read(&mut demuxer, TagType::Video, 40, &hex(&header)), Ok(vec![]));
    assert_eq!(read(&mut demuxer, TagType::Video, 40, &frame).unwrap().len(), 1);
}

#[test]
fn length_fields_of_two_bytes_become_four() {
    let header = format!("17 00 000000 {}", AVCC.replacen("ffe1", "fde1", 1));
    let (track, frame) = demux(TagType::Video, &header, "17 01 000000 0002 0930 0002 6588");
    assert_eq!(track.config.as_deref(), Some(&hex(AVCC)[..]));
    assert_eq!(&frame.data[..], hex("00000002 0930 00000002 6588"));
}

#[test]
fn payloads_are_shared_with_the_body() {
    let mut demuxer = Demuxer::new();
    read(
        &mut demuxer,
        TagType::Video,
        0,
        &hex(&format!("17 00 000000 {AVCC}")),
    )
    .unwrap();
    let body = Bytes::from(hex("17 01 000000 00000002 6588"));
    demuxer.tag(TagType::Video, 0, body.clone()).unwrap();
    let Some(Event::Frame(frame)) = demuxer.poll() else {
        panic!("frame expected")
    };
    assert_eq!(frame.data.as_ptr(), body[5..].as_ptr());
}

#[test]
fn metadata_names_codecs_by_number_text_and_fourcc() {
    use container::amf0::{Value, encode};
    let metadata = |video: Value, audio: Value| {
        let mut body = Vec::new();
        encode(&"@setDataFrame".into(), &mut body);
        encode(&"onMetaData".into(), &mut body);
        let members = [
            ("videocodecid", video),
            ("audiocodecid", audio),
            ("width", 1280.0.into()),
            ("framerate", 30.0.into()),
        ];
        encode(&Value::ecma_array(members), &mut body);
        let events = read(&mut Demuxer::new(), TagType::Script, 0, &body).unwrap();
        let [Event::Metadata(metadata), declared] = &events[..] else {
            panic!("unexpected {events:?}")
        };
        assert_eq!(
            (metadata.width, metadata.height, metadata.fps),
            (Some(1280), None, Some(30.0))
        );
        (
            metadata.video_codec.clone(),
            metadata.audio_codec.clone(),
            declared.clone(),
        )
    };
    let known = |codec| Some(DeclaredCodec::Known(codec));
    let both = Event::TracksDeclared {
        video: true,
        audio: true,
    };
    let h264_aac = (known(CodecId::H264), known(CodecId::Aac), both.clone());
    assert_eq!(metadata(7.0.into(), 10.0.into()), h264_aac);
    assert_eq!(metadata("avc1".into(), "mp4a".into()), h264_aac);
    let h265_opus = (known(CodecId::H265), known(CodecId::Opus), both.clone());
    assert_eq!(metadata("hev1".into(), 1_332_770_163.0.into()), h265_opus);
    assert_eq!(metadata(f64::from(0x6876_6331).into(), 13.0.into()), h265_opus);
    assert_eq!(
        metadata(12.0.into(), "fLaC".into()),
        (
            known(CodecId::H265),
            Some(DeclaredCodec::Other("fLaC".into())),
            both
        )
    );
    let video_only = Event::TracksDeclared {
        video: true,
        audio: false,
    };
    assert_eq!(
        metadata(7.0.into(), 0.0.into()),
        (known(CodecId::H264), None, video_only)
    );
}

#[test]
fn times_beyond_32_bits_and_below_zero_are_written_modulo_and_clamped() {
    let frame = |dts_ms| Frame {
        track: TrackId(0),
        dts: MediaTime::from_millis(dts_ms),
        pts: MediaTime::from_millis(dts_ms + 80),
        key: true,
        data: Bytes::new(),
        wire: None,
    };
    assert_eq!(body::timestamp(&frame(0x1_0000_0010)), 0x10);
    assert_eq!(body::timestamp(&frame(-80)), 0);
    // The presentation time stays where it was: 0.
    let (track, _) = demux(
        TagType::Video,
        &format!("17 00 000000 {AVCC}"),
        "17 01 000085 00000002 6588",
    );
    assert_eq!(
        &body::frame_head(&frame(-80), &track, true)[..],
        hex("17 01 000000")
    );
}
