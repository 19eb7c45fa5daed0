//! Joining, reading, ending.

use crate::kit::*;
use hub::{EndReason, ReadError, ReaderOptions, RingLimits};
use media::Schema;

#[test]
fn a_viewer_that_joins_within_a_group_begins_at_its_key_frame() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0 p1 p2 k3 p4 p5");
    let mut tap = bench.tap(A);
    assert_eq!(tap.poll(), packets("H C0:v1 k3 p4 p5"));
    assert_eq!(tap.poll(), Got::Pending);
    bench.write("p6");
    assert_eq!(tap.wakes(), 1);
    assert_eq!(tap.poll(), packets("p6"));
}

#[test]
fn a_viewer_before_the_first_key_frame_gets_the_preamble_and_waits() {
    let bench = &mut Bench::new(RingLimits::default(), plain_policy());
    let start = bench.start;
    bench.publisher().tracks_declared(start, true, true);
    bench.publisher().set_track(start, video(Some("v1")));
    bench.publisher().set_track(start, audio(Some("s1")));
    bench.publisher().poll(start).unwrap();
    let mut tap = bench.tap(A);
    assert_eq!(tap.poll(), packets("H C0:v1 C1:s1"));
    assert_eq!(tap.poll(), Got::Pending);
    bench.write("a0 p1 a2");
    assert_eq!(tap.wakes(), 0, "sound without a picture is no reason to wake");
    assert_eq!(tap.poll(), Got::Pending);
    bench.write("k3");
    assert_eq!(tap.wakes(), 1);
    assert_eq!(tap.poll(), packets("k3"));
    bench.write("a4");
    assert_eq!(tap.poll(), packets("a4"));
}

#[test]
fn without_video_a_viewer_begins_half_a_second_back() {
    let mut bench = Bench::audio_only(RingLimits::default());
    let texts: Vec<_> = (0..50).map(|index| format!("a{index}")).collect();
    bench.write(&texts.join(" "));
    let mut tap = bench.tap(A);
    // Frames are 40 ms apart: the newest 500 ms are 13 frames.
    assert_eq!(tap.poll(), packets(&format!("H C1:s1 {}", texts[37..].join(" "))));
    bench.write("a50");
    assert_eq!(tap.poll(), packets("a50"));
    let mut second = bench.tap(A);
    let Got::Packets(texts) = second.poll() else {
        panic!("the second viewer got nothing")
    };
    assert!(texts.starts_with("H C1:s1 a38 a39 "), "{texts}");
}

#[test]
fn readers_before_readiness_and_after_the_end_are_refused() {
    let bench = Bench::new(RingLimits::default(), plain_policy());
    let player = || ReaderOptions::player(Schema::Rtmp);
    let refused = bench.stream.reader(A, player(), || unreachable!()).err();
    assert_eq!(refused, Some(ReadError::NotReady));
    bench.stream.close(EndReason::Closed);
    let refused = bench.stream.reader(A, player(), || unreachable!()).err();
    assert_eq!(refused, Some(ReadError::Closed(EndReason::Closed)));
    assert_eq!(bench.stream.total_readers(), 0);
}

#[test]
fn the_end_wakes_everybody_and_comes_after_the_last_packet() {
    let mut bench = Bench::video_only(RingLimits::default());
    let mut early = bench.tap(A);
    early.poll();
    assert_eq!(early.poll(), Got::Pending);
    bench.write("k0 p1");
    let mut slow = bench.tap_with(A, small_batches(3));
    slow.poll();
    let mut waiting = bench.tap(B);
    waiting.poll();
    assert_eq!(waiting.poll(), Got::Pending);
    early.wakes();
    bench.stream.close(EndReason::Unwatched);
    bench.stream.close(EndReason::Shutdown);
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.poll(), Got::Ended(EndReason::Unwatched));
    assert_eq!(slow.poll(), packets("p1"));
    assert_eq!(slow.poll(), Got::Ended(EndReason::Unwatched));
    assert_eq!(slow.poll(), Got::Ended(EndReason::Unwatched));
    assert_eq!(early.poll(), packets("k0 p1"));
    assert_eq!(early.poll(), Got::Ended(EndReason::Unwatched));
}

#[test]
fn two_containers_share_the_payload() {
    let mut bench = Bench::video_only(RingLimits::default());
    let frame = frame("k0", 0);
    let address = frame.data.as_ptr();
    let now = bench.start;
    bench.publisher().write(now, frame).unwrap();
    let (mut first, mut second) = (bench.tap(A), bench.tap(B));
    first.poll();
    second.poll();
    for (tap, head) in [(&first, "A|"), (&second, "B|")] {
        let packet = tap.batch.packets().last().unwrap();
        assert_eq!(packet.parts[0], head);
        assert_eq!(packet.parts[1].as_ptr(), address);
    }
}

#[test]
fn viewers_of_one_container_share_its_packets() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let (mut first, mut second) = (bench.tap(A), bench.tap(A));
    first.poll();
    second.poll();
    for (one, other) in first.batch.packets().iter().zip(second.batch.packets()) {
        assert!(std::sync::Arc::ptr_eq(one, other));
    }
    assert_eq!(bench.hub.totals().muxers, 1);
}

#[test]
fn new_decoder_configuration_comes_in_order_and_late_viewers_get_the_right_one() {
    let mut bench = Bench::video_only(RingLimits::default());
    let mut tap = bench.tap(A);
    bench.write("k0 p1");
    let now = bench.start;
    bench.publisher().set_track(now, video(Some("v2")));
    // A configuration that changes between key frames: the group began with the old one.
    let mut joined_before = bench.tap(A);
    let mut other_container = bench.tap(B);
    bench.write("p2");
    assert_eq!(tap.poll(), packets("H C0:v1 k0 p1 C0:v2 p2"));
    assert_eq!(joined_before.poll(), packets("H C0:v1 k0 p1 C0:v2 p2"));
    assert_eq!(other_container.poll(), packets("H C0:v1 k0 p1 C0:v2 p2"));
    bench.write("k3");
    let mut late = bench.tap(A);
    assert_eq!(late.poll(), packets("H C0:v2 k3"));
    assert_eq!(tap.poll(), packets("k3"));
}

#[test]
fn configuration_that_changes_before_the_first_key_frame_reaches_a_waiting_viewer() {
    let mut bench = Bench::video_only(RingLimits::default());
    let mut tap = bench.tap(A);
    assert_eq!(tap.poll(), packets("H C0:v1"));
    let now = bench.start;
    bench.publisher().set_track(now, video(Some("v2")));
    bench.write("k0");
    assert_eq!(tap.poll(), packets("C0:v2 k0"));
}

#[test]
fn batches_keep_their_limits_but_always_hold_something() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0 p1 p2 p3 p4");
    let mut tap = bench.tap_with(A, small_batches(3));
    assert_eq!(tap.poll(), packets("H C0:v1 k0"));
    assert_eq!(tap.poll(), packets("p1 p2 p3"));
    assert_eq!(tap.poll(), packets("p4"));
    let mut options = small_batches(100);
    options.batch.max_bytes = 1;
    let mut tap = bench.tap_with(A, options);
    assert_eq!(tap.poll(), packets("H C0:v1"));
    assert_eq!(tap.poll(), packets("k0"));
}

#[test]
fn a_reader_that_does_not_ask_is_not_woken_and_one_that_asks_twice_is_woken_once() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let (mut asking, mut busy) = (bench.tap(A), bench.tap(A));
    asking.poll();
    busy.poll();
    for _ in 0..3 {
        assert_eq!(asking.poll(), Got::Pending);
    }
    bench.write("p1 p2");
    assert_eq!((asking.wakes(), busy.wakes()), (1, 0));
    assert_eq!(bench.hub.totals().wakes, 1);
}

#[test]
fn frames_that_came_together_wake_once() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let mut tap = bench.tap(A);
    tap.poll();
    assert_eq!(tap.poll(), Got::Pending);
    let now = bench.start;
    bench
        .publisher()
        .write_all(now, [frame("p1", 40), frame("p2", 80)])
        .unwrap();
    assert_eq!(tap.wakes(), 1);
    assert_eq!(tap.poll(), packets("p1 p2"));
}

#[test]
fn next_batch_is_poll_batch_as_a_future() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let mut tap = bench.tap(A);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    {
        let future = std::pin::pin!(tap.reader.next_batch(&mut tap.batch));
        assert_eq!(
            future.poll(&mut context),
            std::task::Poll::Ready(hub::Next::Packets)
        );
    }
    assert_eq!(tap.batch.packets().len(), 3);
    assert_eq!(tap.batch.bytes(), "A|H".len() + "A|C0:v1".len() + "A|k0".len());
}

#[test]
fn the_end_can_be_waited_for_without_reading() {
    let mut bench = Bench::video_only(RingLimits::default());
    bench.write("k0");
    let stream = bench.stream.clone();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ended = std::pin::pin!(stream.ended());
    let left = Box::pin(stream.ended());
    assert!(ended.as_mut().poll(&mut context).is_pending());
    drop(left);
    assert_eq!(stream.total_readers(), 0, "it is no reader");
    stream.close(EndReason::Closed);
    assert_eq!(
        ended.as_mut().poll(&mut context),
        std::task::Poll::Ready(EndReason::Closed)
    );
    let late = std::pin::pin!(stream.ended());
    assert_eq!(late.poll(&mut context), std::task::Poll::Ready(EndReason::Closed));
}

#[test]
fn what_is_kept_with_a_stream_is_made_once() {
    let bench = Bench::video_only(RingLimits::default());
    assert_eq!(bench.stream.keep(|| 1_u32), Some(1));
    assert_eq!(bench.stream.keep(|| 2_u32), Some(1));
    assert_eq!(bench.stream.keep(|| "another kind"), None);
}
