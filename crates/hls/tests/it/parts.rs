//! Parts: their lengths for the rates that cameras and encoders have.

use crate::bench::*;
use media::MediaTime;
use testkit::hls::{Growth, Media};
use tidegate_hls::{Form, Live, Options, Reload, Turn};

/// Times as RTMP carries them.
fn rounded(time: MediaTime) -> MediaTime {
    ms((time.as_micros() + 500).div_euclid(1000))
}

/// Feeds half a minute and checks each playlist on the way. Returns the target of parts and how many the second segment has.
fn check(step: i64, rate: u32, part_ms: i64, round: bool) -> (MediaTime, usize) {
    let options = Options {
        part: Some(ms(part_ms)),
        listed: 4,
        ..options()
    };
    let mut bench = Bench::new(options, &[video()]);
    let gop = (i64::from(rate) * 2 + step / 2) / step;
    let mut previous: Option<Media> = None;
    for index in 0..gop * 12 {
        let at = MediaTime::from_ticks(index * step, rate);
        let at = if round { rounded(at) } else { at };
        bench.write(&picture(at, index % gop == 0));
        let Turn::Ready(text) = bench.live.playlist(Form::Fmp4, Reload::default()) else {
            continue;
        };
        let media = Media::parse(std::str::from_utf8(text.plain()).unwrap()).unwrap();
        assert_eq!(media.check(), [], "{step}/{rate}:\n{:?}", text.plain());
        if let Some(previous) = &previous {
            assert_eq!(media.check_after(previous, Growth::Never), [], "{step}/{rate}");
        }
        previous = Some(media);
    }
    let media = previous.unwrap();
    let target = MediaTime::from_micros(media.part_target.unwrap());
    (target, media.segments.last().unwrap().parts.len())
}

#[test]
fn parts_are_whole_frames_at_every_rate() {
    // Frames per second, as step and rate, and how many parts a segment of 2 s has.
    for (step, rate, count) in [
        (1001, 24_000, 10),
        (1, 24, 10),
        (1, 25, 10),
        (1001, 30_000, 10),
        (1, 30, 10),
        (1, 50, 10),
        (1001, 60_000, 10),
        (1, 60, 10),
        (1, 15, 10),
        (1, 10, 10),
        (1, 5, 10),
        (2, 25, 9), // 80 ms: three of them are closer than two
        (2, 15, 8), // 133 ms: two
        (1, 1, 2),
    ] {
        for round in [false, true] {
            let (_, parts) = check(step, rate, 200, round);
            assert_eq!(parts, count, "{step}/{rate}, rounded: {round}");
        }
    }
}

#[test]
fn parts_of_any_length_keep_the_rules() {
    for part_ms in [20, 40, 100, 333, 500, 1_000, 1_900] {
        for (step, rate) in [(1001, 24_000), (1, 25), (1001, 30_000), (1, 60)] {
            check(step, rate, part_ms, true);
        }
    }
}

#[test]
fn sound_alone_has_parts() {
    let mut bench = Bench::new(options(), &[audio()]);
    for index in 0..900 {
        bench.write(&sound(MediaTime::from_ticks(index * 1024, 44_100)));
    }
    let media = bench.media(Form::Fmp4);
    assert_eq!(media.check(), []);
    let parts = &media.segments.last().unwrap().parts;
    assert_eq!(parts.len(), 10);
    assert!(parts.iter().all(|part| part.independent));
    assert_eq!(parts[0].duration, 208_980, "nine times 1,024 samples");
}

fn half_a_segment_more() -> Bench {
    let mut bench = Bench::new(options(), &[video()]);
    // Parts are 200 ms: at 10.04 s five of them are complete.
    bench.pictures(0, 226, (1, 25), 50);
    bench
}

fn ask(
    live: &Live,
    sequence: Option<u64>,
    part: Option<u64>,
) -> Turn<std::sync::Arc<tidegate_hls::playlist::Text>> {
    let reload = Reload {
        sequence,
        part,
        ..Reload::default()
    };
    live.playlist(Form::Fmp4, reload)
}

#[test]
fn a_blocking_reload_waits_for_what_was_asked_for_and_no_longer() {
    let mut bench = half_a_segment_more();
    let live = bench.live.clone();
    assert_eq!(bench.media(Form::Fmp4).next_part(), (4, 5));
    for (sequence, part) in [(3, None), (3, Some(9)), (4, Some(0)), (4, Some(4))] {
        assert!(
            matches!(ask(&live, Some(sequence), part), Turn::Ready(_)),
            "{sequence} {part:?}"
        );
    }
    // The part behind the last one of a segment is the first one of the next.
    assert!(matches!(ask(&live, Some(3), Some(10)), Turn::Ready(_)));
    for (sequence, part) in [(4, None), (4, Some(5)), (4, Some(7)), (5, None), (5, Some(0))] {
        assert!(
            matches!(ask(&live, Some(sequence), part), Turn::Wait),
            "{sequence} {part:?}"
        );
    }
    for (sequence, part) in [
        (None, Some(1)),
        (Some(6), None),
        (Some(6), Some(0)),
        (Some(4), Some(40)),
    ] {
        assert!(
            matches!(ask(&live, sequence, part), Turn::Invalid(_)),
            "{sequence:?} {part:?}"
        );
    }
    bench.pictures(226, 5, (1, 25), 50);
    assert!(matches!(ask(&live, Some(4), Some(5)), Turn::Ready(_)));
    bench.pictures(231, 20, (1, 25), 50);
    assert!(matches!(ask(&live, Some(4), None), Turn::Ready(_)));
    // Nothing waits for what will not come.
    let live = bench.end();
    assert!(matches!(ask(&live, Some(9), Some(9)), Turn::Ready(_)));
}

#[test]
fn the_part_that_was_announced_is_waited_for_and_no_other() {
    let mut bench = half_a_segment_more();
    let hint = bench.media(Form::Fmp4).hint.unwrap();
    assert_eq!(hint, "0000008000.5.mp4");
    let find = |bench: &Bench, name: &str| bench.live.find(tidegate_hls::Name::parse(name, ".mp4").unwrap());
    assert!(matches!(find(&bench, &hint), Turn::Wait));
    assert!(matches!(find(&bench, "0000008000.6.mp4"), Turn::Missing));
    assert!(matches!(find(&bench, "0000010000.0.mp4"), Turn::Missing));
    bench.pictures(226, 25, (1, 25), 50);
    let whole = bytes(&bench.live, "0000008000.mp4");
    let parts: Vec<u8> = (0..10)
        .flat_map(|index| bytes(&bench.live, &format!("0000008000.{index}.mp4")))
        .collect();
    assert_eq!(parts, whole, "a segment is its parts");
    // Announced, and the segment ended before it.
    assert!(matches!(find(&bench, "0000008000.10.mp4"), Turn::Missing));
}
