//! The texts, and what they list.

use crate::bench::*;
use testkit::hls::{Growth, Master, Media};
use tidegate_hls::playlist::{Variant, master};
use tidegate_hls::{Form, Options, Reload, Turn};

const TS: &str = "#EXTM3U
#EXT-X-VERSION:4
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z
#EXTINF:2.00000,
0000002000.ts
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:04.000Z
#EXTINF:2.00000,
0000004000.ts
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:06.000Z
#EXTINF:2.00000,
0000006000.ts
";

const FMP4: &str = "#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z
#EXTINF:2.00000,
0000002000.mp4
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:04.000Z
#EXTINF:2.00000,
0000004000.mp4
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:06.000Z
#EXTINF:2.00000,
0000006000.mp4
";

const LOW_LATENCY: &str = "#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.24000
#EXT-X-PART-INF:PART-TARGET=1.08000
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:02.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"0000002000.0.mp4\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"0000002000.1.mp4\"
#EXTINF:2.00000,
0000002000.mp4
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:04.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"0000004000.0.mp4\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"0000004000.1.mp4\"
#EXTINF:2.00000,
0000004000.mp4
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:06.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"0000006000.0.mp4\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"0000006000.1.mp4\"
#EXTINF:2.00000,
0000006000.mp4
#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:08.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"0000008000.0.mp4\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"0000008000.1.mp4\"
";

/// Nine seconds and one picture.
fn nine_seconds(options: Options) -> Bench {
    let mut bench = Bench::new(options, &[video()]);
    bench.pictures(0, 9 * 25 + 1, (1, 25), 50);
    bench
}

#[test]
fn the_texts_byte_by_byte() {
    let plain = nine_seconds(Options {
        part: None,
        ..options()
    });
    assert_eq!(plain.text(Form::Ts), TS);
    assert_eq!(plain.text(Form::Fmp4), FMP4);
    let low_latency = nine_seconds(Options {
        part: Some(ms(1_000)),
        ..options()
    });
    assert_eq!(low_latency.text(Form::Ts), TS);
    assert_eq!(low_latency.text(Form::Fmp4), LOW_LATENCY);
    for text in [TS, FMP4, LOW_LATENCY] {
        assert_eq!(Media::parse(text).unwrap().check(), []);
    }
    let suffixed = nine_seconds(Options {
        part: None,
        fmp4_suffix: ".m4s".to_owned(),
        ..options()
    });
    assert_eq!(suffixed.text(Form::Fmp4), FMP4.replace("000.mp4", "000.m4s"));
    let ended = plain.end();
    let text = text(&ended, Form::Ts, Reload::default());
    let last = "#EXT-X-PROGRAM-DATE-TIME:2026-11-24T00:00:08.000Z\n#EXTINF:1.04000,\n0000008000.ts\n#EXT-X-ENDLIST\n";
    assert!(text.ends_with(last), "{text}");
}

#[test]
fn a_segment_without_a_key_frame_is_not_called_independent() {
    let options = Options {
        part: None,
        max_segment_bytes: 14 * 50,
        ..options()
    };
    let mut bench = Bench::new(options, &[video()]);
    bench.pictures(0, 300, (1, 25), i64::MAX);
    assert!(!bench.media(Form::Ts).independent);
}

#[test]
fn the_master_playlist_names_the_codecs_that_the_form_carries() {
    let tracks = [video(), audio()];
    let text = master(&Variant {
        uri: "session-0/hls.m3u8",
        tracks: &tracks,
        bandwidth: (2_000, 1_000),
        form: Form::Ts,
    });
    assert_eq!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1000,CODECS=\"avc1.64000d,mp4a.40.2\",\
         RESOLUTION=320x240,FRAME-RATE=25.000\nsession-0/hls.m3u8\n"
    );
    assert_eq!(Master::parse(&text).unwrap().variants.len(), 1);
}

#[test]
fn what_left_the_playlist_can_be_had_for_a_while() {
    let bench = nine_seconds(options());
    let find = |bench: &Bench, name: &str| bench.live.find(tidegate_hls::Name::parse(name, ".mp4").unwrap());
    assert!(matches!(find(&bench, "0000000000.ts"), Turn::Ready(_)));
    let mut bench = bench;
    bench.pictures(226, 100, (1, 25), 50);
    // Six segments: three are listed, two retained.
    assert_eq!(bench.media(Form::Ts).sequence, 3);
    assert!(matches!(find(&bench, "0000000000.ts"), Turn::Missing));
    assert!(matches!(find(&bench, "0000002000.ts"), Turn::Ready(_)));
}

/// One that lasts longer makes the target duration grow, and the least length of the playlist with it. What is gone does not come back.
#[test]
fn the_media_sequence_never_goes_back() {
    let mut bench = Bench::new(
        Options {
            retained: 10,
            ..options()
        },
        &[video()],
    );
    let mut previous: Option<Media> = None;
    let keys = [0, 2, 4, 6, 8, 10, 15, 22, 24, 26, 28, 30, 32];
    for index in 0..25 * 34 {
        bench.write(&picture(
            ms(index * 40),
            index % 25 == 0 && keys.contains(&(index / 25)),
        ));
        for form in [Form::Ts] {
            let Turn::Ready(text) = bench.live.playlist(form, Reload::default()) else {
                continue;
            };
            let media = Media::parse(std::str::from_utf8(text.plain()).unwrap()).unwrap();
            assert_eq!(media.check(), []);
            if let Some(previous) = &previous {
                assert_eq!(media.check_after(previous, Growth::Allowed), [], "{index}");
            }
            previous = Some(media);
        }
    }
    let media = previous.unwrap();
    assert!(media.target == 7 && media.duration() >= 21_000_000, "{media:?}");
}

#[test]
fn the_delayed_playlist_is_so_many_segments_behind_and_ends_with_the_stream() {
    let options = Options {
        delay: 2,
        retained: 0,
        ..options()
    };
    let delayed = Reload {
        delayed: true,
        ..Reload::default()
    };
    let mut bench = Bench::new(options, &[video()]);
    bench.pictures(0, 101, (1, 25), 50);
    assert!(matches!(bench.live.playlist(Form::Ts, delayed), Turn::Wait));
    let mut previous: Option<Media> = None;
    for second in 4..40 {
        bench.pictures(second * 25 + 1, 25, (1, 25), 50);
        let Turn::Ready(text) = bench.live.playlist(Form::Fmp4, delayed) else {
            continue;
        };
        let media = Media::parse(std::str::from_utf8(text.plain()).unwrap()).unwrap();
        assert_eq!(media.check(), []);
        assert_eq!(media.part_target, None);
        let newest = bench.live.newest().unwrap().sequence;
        assert_eq!(media.next_sequence(), newest - 1);
        for segment in &media.segments {
            assert!(!bytes(&bench.live, &segment.uri).is_empty());
        }
        if let Some(previous) = &previous {
            assert_eq!(media.check_after(previous, Growth::Never), []);
        }
        previous = Some(media);
    }
    let live = bench.end();
    let ended = Media::parse(&text(&live, Form::Fmp4, delayed)).unwrap();
    assert!(ended.ended);
    assert_eq!(ended.check_after(&previous.unwrap(), Growth::Never), []);
}

#[test]
fn a_delta_update_leaves_out_what_is_old_and_says_the_same() {
    let mut bench = Bench::new(
        Options {
            listed: 12,
            ..options()
        },
        &[video()],
    );
    bench.pictures(0, 25 * 40 + 10, (1, 25), 50);
    let before = bench.media(Form::Fmp4);
    bench.pictures(25 * 40 + 10, 25, (1, 25), 50);
    let whole = bench.media(Form::Fmp4);
    let skip = Reload {
        skip: true,
        ..Reload::default()
    };
    let update = Media::parse(&text(&bench.live, Form::Fmp4, skip)).unwrap();
    assert_eq!(update.check(), []);
    assert_eq!((update.version, update.skipped), (9, 6));
    let merged = before.merge(&update).unwrap();
    let mut expected = whole.clone();
    // A delta update is of another version, and what it skips may list parts that are not listed any more.
    expected.version = 9;
    let strip = |media: &mut Media| {
        let skipped = media.segments.iter_mut().take(6);
        skipped.for_each(|segment| segment.parts.clear());
    };
    let mut merged = merged;
    strip(&mut merged);
    strip(&mut expected);
    assert_eq!(merged, expected);
}

#[test]
fn the_compressed_text_is_the_text() {
    use std::io::Read;
    let bench = nine_seconds(options());
    let text = ready(bench.live.playlist(Form::Fmp4, Reload::default()));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&text.gzip()[..])
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(plain, &text.plain()[..]);
}
