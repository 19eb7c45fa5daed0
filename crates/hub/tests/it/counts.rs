//! The registry, reader counts, demand, reports.

use crate::kit::*;
use hub::{CountAs, EndReason, Hub, OpenError, ReaderOptions, RingLimits, Totals};
use media::info::{OriginInfo, OriginType, TrackDetail};
use media::{Schema, StreamKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

#[test]
fn a_name_is_held_by_one_stream_and_an_old_handle_cannot_remove_a_new_one() {
    let hub = Hub::new(1);
    let now = Instant::now();
    let key = StreamKey::on_default_vhost("live", "cam");
    let open = |incarnation| {
        let mut config = config(RingLimits::default(), plain_policy());
        config.incarnation = incarnation;
        hub.open(key.clone(), config, now)
    };
    let first = open(7).unwrap();
    assert_eq!(
        open(8).err(),
        Some(OpenError::AlreadyOpen {
            key: key.clone(),
            incarnation: 7
        })
    );
    let other = StreamKey::on_default_vhost("live", "other");
    let refused = hub
        .open(other.clone(), config(RingLimits::default(), plain_policy()), now)
        .err();
    assert_eq!(refused, Some(OpenError::TooMany { key: other, max: 1 }));
    assert!(hub.remove(&key, 7, EndReason::Unpublished).is_some());
    assert_eq!(first.end(), Some(EndReason::Unpublished));
    let second = open(8).unwrap();
    assert!(hub.remove(&key, 7, EndReason::Closed).is_none());
    assert!(hub.get(&key).is_some_and(|stream| Arc::ptr_eq(&stream, &second)));
    assert_eq!((hub.len(), hub.streams().len(), hub.totals().streams), (1, 1, 1));
}

#[test]
fn readers_are_counted_by_schema_and_in_total_until_they_go() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let left = Arc::new(AtomicU32::new(0));
    let seen = left.clone();
    let stream = bench.stream.clone();
    let mut options = ReaderOptions::player(Schema::Rtmp);
    options.on_leave = Some(Box::new(move || {
        seen.store(10 + stream.total_readers(), Ordering::SeqCst)
    }));
    let player = bench.tap_with(A, options);
    let recorder = bench.tap_with(
        B,
        ReaderOptions {
            count: CountAs::Nothing,
            ..ReaderOptions::player(Schema::Rtmp)
        },
    );
    let session = bench.stream.count(CountAs::Schema(Schema::Hls));
    let sender = bench.stream.count(CountAs::TotalOnly);
    let counts = || {
        (
            bench.stream.readers(Schema::Rtmp),
            bench.stream.readers(Schema::Hls),
            bench.stream.total_readers(),
        )
    };
    assert_eq!(counts(), (1, 1, 3));
    assert_eq!(bench.hub.totals().readers, 2);
    drop(player);
    assert_eq!(counts(), (0, 1, 2));
    assert_eq!(left.load(Ordering::SeqCst), 12, "told after it was counted out");
    drop((session, sender, recorder));
    assert_eq!(counts(), (0, 0, 0));
    assert_eq!(bench.hub.totals().readers, 0);
}

#[test]
fn a_container_is_made_while_it_is_read() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    assert!(!bench.stream.is_attached(A));
    let first = bench.tap(A);
    let second = bench.tap(A);
    drop(first);
    assert!(bench.stream.is_attached(A));
    drop(second);
    assert!(!bench.stream.is_attached(A));
    assert_eq!(bench.hub.totals().muxers, 0);
    bench.write("p1");
    assert_eq!(bench.tap(A).poll(), packets("H C0:v1 k0 p1"));
}

#[test]
fn an_eager_container_is_made_without_readers_and_from_the_start() {
    let mut bench = Bench::new(RingLimits::default(), plain_policy());
    bench.stream.attach_eager(A, || TestMux::boxed("A|")).unwrap();
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, false);
    bench.publisher().set_track(start, video(Some("v1")));
    bench.write("k0");
    let mut tap = Tap::new(
        bench
            .stream
            .reader(A, ReaderOptions::player(Schema::Rtmp), || unreachable!())
            .unwrap(),
    );
    assert_eq!(tap.poll(), packets("H C0:v1 k0"));
    drop(tap);
    assert!(bench.stream.is_attached(A));
    bench.stream.detach_eager(A);
    assert!(!bench.stream.is_attached(A));

    let mut tap = bench.tap(B);
    bench.stream.attach_eager(B, || unreachable!()).unwrap();
    bench.stream.detach_eager(B);
    assert!(bench.stream.is_attached(B), "its reader still needs it");
    assert_eq!(tap.poll(), packets("H C0:v1 k0"));
    drop(tap);
    assert!(!bench.stream.is_attached(B));
}

#[test]
fn a_report_tells_what_was_measured() {
    let mut bench = Bench::video_only(RingLimits::default());
    for group in 0..4 {
        bench.write(&format!("k{group}"));
        for _ in 1..25 {
            bench.write("p-");
        }
    }
    let tap = bench.tap(A);
    let nobody = OriginInfo {
        kind: OriginType::Unknown,
        url: String::new(),
        sock: None,
    };
    bench.stream.set_origin(nobody.clone());
    bench.stream.set_recording_mp4(true);
    let info = bench.stream.info(Schema::Rtmp, bench.at(4_000));
    assert_eq!(
        (info.alive_second, info.created_unix, info.params.as_str()),
        (4, 1_700_000_000, "token=1")
    );
    assert_eq!((info.total_bytes, info.bytes_speed), (200, 50));
    assert_eq!((info.readers, info.total_readers), (1, 1));
    assert_eq!(bench.stream.info(Schema::Rtsp, bench.start).readers, 0);
    assert_eq!(
        (info.origin, info.recording_mp4, info.recording_hls),
        (nobody, true, false)
    );
    assert_eq!(info.tracks.len(), 1);
    assert_eq!(
        (
            info.tracks[0].frames,
            info.tracks[0].duration_ms,
            info.tracks[0].ready
        ),
        (100, 3_960, true)
    );
    let expected = TrackDetail::Video {
        width: 640,
        height: 360,
        fps: 25.0,
        key_frames: 4,
        gop_size: 25,
        gop_interval_ms: 1_000,
    };
    assert_eq!(info.tracks[0].detail, expected);
    drop(tap);
}

#[test]
fn nothing_is_left_in_the_gauges_when_all_is_gone() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let taps = [bench.tap(A), bench.tap(B), bench.tap(B)];
    let key = bench.stream.key().clone();
    bench.hub.remove(&key, 1, EndReason::Shutdown);
    assert_eq!(bench.hub.totals().muxers, 0);
    drop(taps);
    bench.publisher = None;
    let totals = bench.hub.totals();
    assert_eq!(
        totals,
        Totals {
            frames_in: 1,
            bytes_in: 2,
            wakes: 0,
            ..Totals::default()
        }
    );
    assert_eq!(Arc::strong_count(&bench.stream), 1);
}
