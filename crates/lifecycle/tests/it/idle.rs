//! Streams that nobody watches.

use crate::bench::*;
use lifecycle::hook::Advice;
use lifecycle::{Event, Op, OpReply, Outcome, Settings};
use media::ProtocolOptions;
use std::time::Duration;

fn delay(ms: u64) -> Settings {
    let delay = Duration::from_millis(ms);
    Settings {
        none_reader_delay: delay,
        none_reader_retry: delay,
        ..Settings::default()
    }
}

#[test]
fn none_reader_is_asked_once_after_the_delay() {
    let mut bench = Bench::with(delay(20_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.watch(1_000, 2, "cam");
    bench.ended(5_000, 2, true, &[]);
    bench.tick(24_999, &[]);
    bench.tick(25_000, &["ask on_stream_none_reader cam"]);
    bench.none_reader(
        25_200,
        "cam",
        Advice::Close,
        &["kick s1", "-rtmp cam", "remove cam"],
    );
    bench.ended(25_300, 1, false, &[]);
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn a_stream_that_was_never_watched_is_asked_about_once_too() {
    let mut bench = Bench::with(delay(500));
    bench.live(100, 1, "cam", ProtocolOptions::default());
    bench.tick(599, &[]);
    bench.tick(600, &["ask on_stream_none_reader cam"]);
    bench.none_reader(610, "cam", Advice::Keep, &[]);
    assert_eq!(
        bench.engine.deadline(),
        None,
        "an answered question is not repeated"
    );
}

#[test]
fn keep_is_final_until_a_reader_came_and_left() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
    bench.none_reader(1_001, "cam", Advice::Keep, &[]);
    bench.watch(5_000, 2, "cam");
    bench.ended(6_000, 2, true, &[]);
    bench.tick(7_000, &["ask on_stream_none_reader cam"]);
}

#[test]
fn a_returning_viewer_restarts_the_delay_in_full() {
    let mut bench = Bench::with(delay(4_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.watch(3_999, 2, "cam");
    bench.ended(5_000, 2, true, &[]);
    bench.tick(8_999, &[]);
    bench.tick(9_000, &["ask on_stream_none_reader cam"]);
}

#[test]
fn a_viewer_that_plays_before_the_answer_wins_over_it() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
    bench.play(1_500, 2, "cam", &["ask on_play s2"]);
    bench.let_play(1_501, 2, &["s2 play ok", "cancel on_stream_none_reader cam"]);
    bench.none_reader(1_600, "cam", Advice::Close, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "live");
}

#[test]
fn a_viewer_whose_permission_is_still_being_asked_wins_over_the_answer_too() {
    // The race that closes the stream under the viewer in the reference (W1): the answer comes before the permission.
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
    bench.play(1_900, 2, "cam", &["ask on_play s2"]);
    bench.none_reader(4_000, "cam", Advice::Close, &[]);
    bench.let_play(5_900, 2, &["s2 play ok"]);
}

#[test]
fn one_millisecond_before_the_answer_is_early_enough_and_one_after_is_a_new_start() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
    bench.play(2_999, 2, "cam", &["ask on_play s2"]);
    bench.none_reader(3_000, "cam", Advice::Close, &[]);
    bench.let_play(3_001, 2, &["s2 play ok"]);
    // It leaves again: the delay runs in full, and this time it comes back too late.
    bench.ended(4_000, 2, true, &[]);
    bench.tick(4_999, &[]);
    bench.tick(5_000, &["ask on_stream_none_reader cam"]);
    bench.none_reader(
        6_000,
        "cam",
        Advice::Close,
        &["kick s1", "-rtmp cam", "remove cam"],
    );
    bench.play(6_001, 3, "cam", &["ask on_play s3"]);
    bench.let_play(6_002, 3, &["ask on_stream_not_found cam"]);
    bench.ended(6_003, 1, true, &[]);
    bench.publish(6_004, 4, "cam", &["ask on_publish s4"]);
    let allowed = allow(ProtocolOptions::default());
    bench.reply(6_005, "on_publish s4", allowed, &["open cam", "s4 publish ok"]);
    bench.ready(6_006, "cam", &["register cam rtmp", "+rtmp cam", "s3 play ok"]);
}

#[test]
fn the_question_waits_for_a_permission_that_is_being_asked() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.play(900, 2, "cam", &["ask on_play s2"]);
    bench.tick(1_000, &[]);
    bench.reply(
        3_000,
        "on_play s2",
        Outcome::Play(Err("no".into())),
        &["s2 play denied", "ask on_stream_none_reader cam"],
    );
}

#[test]
fn denied_viewers_do_not_keep_a_stream_open() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    for n in 0..9 {
        let session = 10 + n;
        bench.play(n * 100, session, "cam", &[&format!("ask on_play s{session}")]);
        let denied = Outcome::Play(Err("no".into()));
        bench.reply(
            n * 100 + 50,
            &format!("on_play s{session}"),
            denied,
            &[&format!("s{session} play denied")],
        );
    }
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
}

#[test]
fn a_viewer_after_the_answer_makes_the_stream_start_anew() {
    let mut bench = Bench::with(delay(1_000));
    bench.op(0, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.job(
        1,
        |job| Event::PullOpened { job },
        &["open cam", "accept cam", "op1 key __defaultVhost__/live/cam"],
    );
    bench.ready(2, "cam", &["register cam rtmp", "+rtmp cam"]);
    bench.tick(1_002, &["ask on_stream_none_reader cam"]);
    bench.none_reader(
        1_010,
        "cam",
        Advice::Close,
        &["stop pull", "-rtmp cam", "remove cam"],
    );
    bench.play(1_011, 2, "cam", &["ask on_play s2"]);
    bench.let_play(1_012, 2, &["ask on_stream_not_found cam"]);
    bench.op(1_013, Op::AddPull(pull_spec("cam")), &["pull cam"]);
}

#[test]
fn a_dead_service_is_asked_again_after_the_delay_and_the_stream_is_never_leaked() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    let mut now = 1_000;
    for _ in 0..5 {
        bench.tick(now, &["ask on_stream_none_reader cam"]);
        bench.none_reader(now + 300, "cam", Advice::Failed("refused".into()), &[]);
        bench.tick(now + 1_299, &[]);
        now += 1_300;
    }
    bench.tick(now, &["ask on_stream_none_reader cam"]);
    bench.none_reader(now, "cam", Advice::Close, &["kick s1", "-rtmp cam", "remove cam"]);
}

#[test]
fn a_hook_that_is_switched_on_later_hears_of_streams_that_were_unwatched_before() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
    bench.none_reader(1_000, "cam", Advice::Unconfigured, &[]);
    bench.tick(2_000, &["ask on_stream_none_reader cam"]);
}

#[test]
fn a_hook_that_stays_off_does_not_fill_the_timeline() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    for round in 1..=100 {
        bench.tick(round * 1_000, &["ask on_stream_none_reader cam"]);
        bench.none_reader(round * 1_000, "cam", Advice::Unconfigured, &[]);
    }
    bench.op(
        200_000,
        Op::Timeline(key("cam")),
        &["ask on_stream_none_reader cam", "op1 list"],
    );
    let Some(Ok(OpReply::Timeline(view))) = &bench.last_reply else {
        panic!("a timeline")
    };
    let events: Vec<&str> = view.entries.iter().map(|entry| entry.event).collect();
    assert_eq!(
        events,
        [
            "published",
            "registered",
            "none_reader_asked",
            "none_reader_unconfigured"
        ]
    );
}

#[test]
fn the_service_may_want_to_be_asked_again() {
    let mut bench = Bench::with(delay(1_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.tick(1_000, &["ask on_stream_none_reader cam"]);
    bench.none_reader(1_000, "cam", Advice::KeepFor(Duration::from_secs(60)), &[]);
    bench.tick(60_999, &[]);
    bench.tick(61_000, &["ask on_stream_none_reader cam"]);
}

#[test]
fn auto_close_tells_the_service_and_does_not_wait_for_it() {
    let mut bench = Bench::with(delay(1_000));
    let options = ProtocolOptions {
        auto_close: true,
        ..ProtocolOptions::default()
    };
    bench.live(0, 1, "cam", options);
    bench.tick(
        1_000,
        &[
            "ask on_stream_none_reader cam",
            "kick s1",
            "-rtmp cam",
            "remove cam",
        ],
    );
    bench.none_reader(1_001, "cam", Advice::Keep, &[]);
}

#[test]
fn waiting_players_are_no_readers_but_the_api_respects_them() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.watch(1, 2, "cam");
    let close = |force| Op::CloseStream {
        key: key("cam"),
        force,
    };
    bench.op(
        2,
        close(false),
        &["op1 error the stream is watched by 1 readers; use force=1 to close it all the same"],
    );
    bench.op(
        3,
        close(true),
        &["kick s1", "-rtmp cam", "remove cam", "op2 done"],
    );
    bench.ended(4, 2, true, &[]);
    bench.ended(4, 1, false, &[]);
    bench.op(5, close(true), &["op3 error can not find the stream"]);
}

#[test]
fn new_settings_leave_a_running_delay_as_it_is() {
    let mut bench = Bench::with(delay(6_000));
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.at(100, Event::Settings(Box::new(delay(1_000))), &[]);
    bench.tick(5_999, &[]);
    bench.tick(6_000, &["ask on_stream_none_reader cam"]);
}
