//! Bounds, and readers that are too slow.

use crate::kit::*;
use hub::{EndReason, RingLimits};
use std::time::Duration;

#[test]
fn a_slightly_slow_reader_survives_key_frames() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0 p1");
    let mut tap = bench.tap_with(A, small_batches(3));
    assert_eq!(tap.poll(), packets("H C0:v1 k0"));
    bench.write("p2 k3 p4 k5");
    assert_eq!(tap.poll(), packets("p1 p2 k3"));
    assert_eq!(tap.poll(), packets("p4 k5"));
    assert_eq!(bench.hub.totals().lags, 0);
}

#[test]
fn a_reader_that_fell_off_goes_on_at_the_newest_key_packet() {
    let mut bench = Bench::video_only(entries(6));
    bench.write("k0");
    let mut tap = bench.tap(A);
    tap.poll();
    bench.write("p1 p2 p3 k4 p5 p6 k7 p8");
    assert_eq!(tap.poll(), Got::Lagged(6, "k7 p8".into()));
    assert_eq!(tap.poll(), Got::Pending);
    assert_eq!((tap.reader.lags(), tap.reader.skipped()), (1, 6));
    let totals = bench.hub.totals();
    assert_eq!((totals.lags, totals.packets_lagged), (1, 6));
    bench.write("p9");
    assert_eq!(tap.poll(), packets("p9"));
}

#[test]
fn a_reader_that_fell_off_gets_configuration_only_if_it_changed() {
    let mut bench = Bench::video_only(entries(4));
    bench.write("k0");
    let (mut same, mut other) = (bench.tap(A), bench.tap(A));
    same.poll();
    other.poll();
    bench.write("p1 p2 p3 p4 k5");
    assert_eq!(same.poll(), Got::Lagged(4, "k5".into()));
    let now = bench.start;
    bench.publisher().set_track(now, video(Some("v2")));
    bench.write("k6 p7 p8 p9 k10");
    // The file header is sent once.
    assert_eq!(other.poll(), Got::Lagged(10, "C0:v2 k10".into()));
    // The other one read the new configuration in its order and does not need it again.
    let mut fresh = bench.tap(A);
    assert_eq!(fresh.poll(), packets("H C0:v2 k10"));
    assert!(matches!(same.poll(), Got::Lagged(_, texts) if texts == "C0:v2 k10"));
    bench.write("p11 p12 p13 p14 k15");
    assert_eq!(same.poll(), Got::Lagged(4, "k15".into()));
}

#[test]
fn a_group_longer_than_the_limits_leaves_new_viewers_waiting_for_the_next_key_frame() {
    let mut bench = Bench::video_only(entries(4));
    let mut follower = bench.tap(A);
    follower.poll();
    for text in ["k0", "p1", "p2", "p3", "p4", "p5", "p6"] {
        bench.write(text);
        assert_eq!(follower.poll(), packets(text));
    }
    let (mut same, mut other) = (bench.tap(A), bench.tap(B));
    assert_eq!(same.poll(), packets("H C0:v1"));
    assert_eq!(other.poll(), packets("H C0:v1"));
    assert_eq!((same.poll(), other.poll()), (Got::Pending, Got::Pending));
    bench.write("p7");
    assert_eq!((same.wakes(), other.wakes()), (0, 0));
    assert_eq!((same.poll(), other.poll()), (Got::Pending, Got::Pending));
    bench.write("k8");
    assert_eq!((same.wakes(), other.wakes()), (1, 1));
    assert_eq!((same.poll(), other.poll()), (packets("k8"), packets("k8")));
    assert_eq!(follower.poll(), packets("p7 k8"));
}

#[test]
fn a_reader_that_fell_off_within_an_endless_group_waits_for_a_key_frame_and_is_told_all_it_missed() {
    let mut bench = Bench::video_only(entries(3));
    bench.write("k0");
    let mut tap = bench.tap(A);
    tap.poll();
    bench.write("p1 p2 p3 p4 p5");
    assert_eq!(tap.poll(), Got::Pending);
    bench.write("p6");
    assert_eq!(tap.wakes(), 0);
    bench.write("k7 p8");
    assert_eq!(tap.wakes(), 1);
    assert_eq!(tap.poll(), Got::Lagged(6, "k7 p8".into()));
    bench.stream.close(EndReason::Closed);
    assert_eq!(tap.poll(), Got::Ended(EndReason::Closed));
}

#[test]
fn a_lost_reader_of_a_stream_that_ends_without_another_key_frame_ends_too() {
    let mut bench = Bench::video_only(entries(3));
    bench.write("k0");
    let mut tap = bench.tap(A);
    tap.poll();
    bench.write("p1 p2 p3 p4 p5");
    bench.stream.close(EndReason::Closed);
    assert_eq!(tap.poll(), Got::Ended(EndReason::Closed));
}

#[test]
fn without_video_a_reader_that_fell_off_goes_on_within_the_window() {
    let mut bench = Bench::audio_only(RingLimits {
        max_duration: Duration::from_secs(2),
        ..RingLimits::default()
    });
    bench.write("a0");
    let mut tap = bench.tap(A);
    tap.poll();
    let texts: Vec<_> = (1..100).map(|index| format!("a{index}")).collect();
    bench.write(&texts.join(" "));
    assert_eq!(tap.poll(), Got::Lagged(86, texts[86..].join(" ")));
}

#[test]
fn bytes_bound_a_ring_too() {
    let mut bench = Bench::video_only(RingLimits {
        max_bytes: 20,
        ..RingLimits::default()
    });
    bench.write("k0");
    let mut tap = bench.tap(A);
    tap.poll();
    bench.write("p1 p2 p3 p4 p5 p6 p7 k8");
    assert_eq!(tap.poll(), Got::Lagged(7, "k8".into()));
    assert!(bench.hub.totals().bytes_evicted > 0);
}

/// Payloads are freed as soon as nobody needs them: seen through their reference counts.
#[test]
fn old_groups_are_freed_at_the_key_frame_or_when_the_last_slow_reader_caught_up() {
    let mut bench = Bench::video_only(RingLimits::default());
    let start = bench.start;
    let old = frame("k0", 0);
    let payload = old.data.clone();
    bench.publisher().write(start, old).unwrap();
    let (mut quick, mut slow) = (bench.tap(A), bench.tap(A));
    quick.poll();
    quick.batch.clear();
    assert!(!payload.is_unique());
    bench.millis = 40;
    bench.write("k1");
    assert!(
        payload.is_unique(),
        "a reader that has read nothing yet needs nothing old"
    );
    assert_eq!(slow.poll(), packets("H C0:v1 k1"));

    let old = frame("p2", 80);
    let payload = old.data.clone();
    bench.publisher().write(start, old).unwrap();
    bench.millis = 120;
    bench.write("k3 p4");
    quick.poll();
    quick.batch.clear();
    assert!(!payload.is_unique(), "the slow reader still needs it");
    slow.poll();
    slow.batch.clear();
    assert!(payload.is_unique());

    let old = frame("p5", 200);
    let payload = old.data.clone();
    bench.publisher().write(start, old).unwrap();
    quick.poll();
    quick.batch.clear();
    bench.millis = 240;
    bench.write("k6");
    assert!(!payload.is_unique());
    drop(slow);
    assert!(payload.is_unique(), "the last that needed it left");
}
