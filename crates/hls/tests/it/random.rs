//! Any frames, in any order, at any time.

use crate::bench::*;
use media::{Frame, MediaTime};
use proptest::prelude::*;
use testkit::hls::{Growth, Media};
use tidegate_hls::{Form, Options, Reload, Turn};

#[derive(Clone, Debug)]
enum Step {
    /// A picture so many milliseconds after the last one.
    Picture(i64, bool),
    Sound,
    /// The picture's description changes, or the sound comes or goes.
    Tracks(u8, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let picture = (1i64..300, prop::bool::weighted(0.1)).prop_map(|(after, key)| Step::Picture(after, key));
    let step = prop_oneof![
        20 => picture,
        10 => Just(Step::Sound),
        1 => (0u8..3, any::<bool>()).prop_map(|(profile, sound)| Step::Tracks(profile, sound)),
    ];
    prop::collection::vec(step, 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From the first key frame on nothing is lost, segments follow each other without gaps, and playlists keep the rules that do
    /// not depend on a steady rate.
    #[test]
    fn nothing_is_lost(steps in steps(), part_ms in prop::option::of(50i64..500), first_gop: bool) {
        let options = Options {
            part: part_ms.map(ms),
            listed: 1000,
            first_gop,
            ..options()
        };
        let mut bench = Bench::new(options, &[video(), audio()]);
        let (mut now, mut began) = (0, None);
        let mut written: Vec<Frame> = Vec::new();
        let mut changed = false;
        let mut previous: Option<Media> = None;
        for step in &steps {
            let frame = match step {
                Step::Picture(after, key) => {
                    now += after;
                    if *key && began.is_none() {
                        began = Some(now);
                    }
                    picture(ms(now), *key)
                }
                Step::Sound => sound(ms(now)),
                Step::Tracks(profile, sound) => {
                    let mut track = video();
                    track.config = track.config.map(|config| {
                        let mut config = config.to_vec();
                        config[2] = *profile;
                        config.into()
                    });
                    let all = [track, audio()];
                    bench.set_tracks(if *sound { &all } else { &all[..1] });
                    changed = true;
                    continue;
                }
            };
            bench.write(&frame);
            if began.is_some() {
                written.push(frame);
            }
            if let Turn::Ready(text) = bench.live.playlist(Form::Ts, Reload::default()) {
                let media = Media::parse(std::str::from_utf8(text.plain()).unwrap()).unwrap();
                prop_assert_eq!(media.check(), []);
                if let Some(previous) = &previous {
                    prop_assert_eq!(media.check_after(previous, Growth::Allowed), []);
                }
                previous = Some(media);
            }
        }
        let live = bench.end();
        let segments = live.since(0);
        for pair in segments.windows(2) {
            prop_assert_eq!(pair[0].start + pair[0].duration, pair[1].start);
            prop_assert_eq!(pair[0].sequence + 1, pair[1].sequence);
        }
        for segment in &segments {
            let sum = segment.parts.iter().fold(MediaTime::ZERO, |sum, part| sum + part.duration);
            prop_assert_eq!(sum, segment.duration);
            prop_assert!(segment.independent, "there are key frames enough");
            prop_assert!(!segment.bytes(Form::Ts).is_empty() && !segment.bytes(Form::Fmp4).is_empty());
        }
        if let (Some(began), Some(first)) = (began, segments.first()) {
            prop_assert_eq!(first.start, ms(began));
            let kept: usize = segments.iter().map(|segment| segment.payload()).sum();
            let expected: usize = written.iter().map(|frame| frame.data.len()).sum();
            // A single picture at the very end has no length that anybody could know, nor has what came with it.
            let lost = expected - kept;
            prop_assert!(lost == 0 || changed || segments.last().is_some_and(|last| (last.start + last.duration) >= ms(now)), "{} of {} bytes", kept, expected);
        }
    }
}
