//! Players of streams that are there, missing, starting, or not offered.

use crate::bench::*;
use lifecycle::hook::Advice;
use lifecycle::op::OpReply;
use lifecycle::{Event, Op, Outcome, Settings};
use media::{ProtocolOptions, Schema};
use std::time::Duration;

#[test]
fn a_player_of_a_live_stream_plays_after_permission() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.play(10, 2, "cam", &["ask on_play s2"]);
    bench.let_play(12, 2, &["s2 play ok"]);
}

#[test]
fn a_denied_player_never_causes_not_found() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.reply(
        1,
        "on_play s1",
        Outcome::Play(Err("no".into())),
        &["s1 play denied"],
    );
    bench.ended(2, 1, true, &[]);
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn many_players_of_a_missing_stream_ask_once_and_are_released_together() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    for session in 2..=50 {
        bench.play(2, session, "cam", &[&format!("ask on_play s{session}")]);
        bench.let_play(3, session, &[]);
    }
    bench.op(4, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.not_found(5, "cam", Advice::Keep, &[]);
    bench.play(6, 51, "cam", &["ask on_play s51"]);
    bench.let_play(7, 51, &[]);
    bench.job(
        8,
        |job| Event::PullOpened { job },
        &["open cam", "accept cam", "op1 key __defaultVhost__/live/cam"],
    );
    let mut expected = vec!["register cam rtmp".to_owned(), "+rtmp cam".to_owned()];
    expected.extend((1..=51).map(|session| format!("s{session} play ok")));
    bench.ready(9, "cam", &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Ten thousand players that all may play wait for "cam"; the service was asked once.
fn ten_thousand_wait() -> Bench {
    let mut bench = Bench::with(Settings {
        max_waiting: CROWD as usize,
        ..Settings::default()
    });
    for session in 1..=CROWD {
        bench.play(0, session, "cam", &[&format!("ask on_play s{session}")]);
    }
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    for session in 2..=CROWD {
        bench.let_play(1, session, &[]);
    }
    bench
}

const CROWD: u64 = 10_000;

#[test]
fn ten_thousand_players_of_a_missing_stream_are_one_call_and_one_source_and_all_play() {
    let mut bench = ten_thousand_wait();
    bench.op(2, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.not_found(3, "cam", Advice::Keep, &[]);
    bench.job(
        4,
        |job| Event::PullOpened { job },
        &["open cam", "accept cam", "op1 key __defaultVhost__/live/cam"],
    );
    let mut expected = vec!["register cam rtmp".to_owned(), "+rtmp cam".to_owned()];
    expected.extend((1..=CROWD).map(|session| format!("s{session} play ok")));
    bench.ready(5, "cam", &expected.iter().map(String::as_str).collect::<Vec<_>>());
    bench.op(6, Op::Counts, &["op2 list"]);
    let Some(Ok(OpReply::Counts(counts))) = &bench.last_reply else {
        panic!("counts")
    };
    assert_eq!(
        (counts.playing, counts.waiting, counts.pulls),
        (CROWD as usize, 0, 1)
    );
    assert_eq!(counts.not_found_coalesced, CROWD - 1);
}

#[test]
fn ten_thousand_players_of_a_stream_that_there_is_not_are_one_call_and_all_fail() {
    let mut bench = ten_thousand_wait();
    let expected: Vec<_> = (1..=CROWD)
        .map(|session| format!("s{session} play not found"))
        .collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    bench.not_found(3, "cam", Advice::Close, &expected);
    bench.op(6, Op::Counts, &["op1 list"]);
    let Some(Ok(OpReply::Counts(counts))) = &bench.last_reply else {
        panic!("counts")
    };
    assert_eq!((counts.playing, counts.waiting), (0, 0));
    assert_eq!(counts.open_questions, 0);
}

#[test]
fn the_reference_behaviour_of_one_call_per_player_can_be_restored() {
    let mut bench = Bench::with(Settings {
        not_found_per_player: true,
        ..Settings::default()
    });
    for session in 1..=3 {
        bench.play(0, session, "cam", &[&format!("ask on_play s{session}")]);
        bench.let_play(1, session, &["ask on_stream_not_found cam"]);
    }
    // The bench knows the last of the three by name; its answer concerns that player only.
    bench.not_found(2, "cam", Advice::Close, &["s3 play not found"]);
    bench.tick(15_001, &["s1 play not found", "s2 play not found"]);
}

#[test]
fn close_true_fails_all_who_wait_and_the_next_player_is_a_new_question() {
    let mut bench = Bench::new();
    for session in 1..=2 {
        bench.play(0, session, "cam", &[&format!("ask on_play s{session}")]);
    }
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.let_play(1, 2, &[]);
    bench.not_found(
        2,
        "cam",
        Advice::Close,
        &["s1 play not found", "s2 play not found"],
    );
    bench.play(3, 3, "cam", &["ask on_play s3"]);
    bench.let_play(4, 3, &["ask on_stream_not_found cam"]);
}

#[test]
fn without_an_answer_a_player_waits_its_full_time_and_no_longer() {
    let mut bench = Bench::with(Settings {
        max_stream_wait: Duration::from_secs(5),
        ..Settings::default()
    });
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(100, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(200, "cam", Advice::Failed("down".into()), &[]);
    bench.tick(5_099, &[]);
    bench.tick(5_100, &["s1 play not found"]);
    bench.ended(5_101, 1, true, &[]);
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn the_service_may_say_how_long_players_wait() {
    let mut bench = Bench::with(Settings {
        max_stream_wait: Duration::from_secs(5),
        ..Settings::default()
    });
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(0, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(1_000, "cam", Advice::KeepFor(Duration::from_secs(20)), &[]);
    bench.play(2_000, 2, "cam", &["ask on_play s2"]);
    bench.let_play(2_000, 2, &[]);
    bench.tick(20_999, &[]);
    bench.tick(21_000, &["s1 play not found"]);
    bench.tick(22_000, &["s2 play not found"]);
    bench.play(23_000, 3, "cam", &["ask on_play s3"]);
    bench.let_play(23_000, 3, &["ask on_stream_not_found cam"]);
    bench.not_found(23_000, "cam", Advice::Keep, &[]);
    bench.tick(28_000, &["s3 play not found"]);
}

#[test]
fn after_a_failed_call_a_further_player_makes_the_service_be_asked_again_but_not_at_once() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(0, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(10, "cam", Advice::Failed("down".into()), &[]);
    bench.play(500, 2, "cam", &["ask on_play s2"]);
    bench.let_play(500, 2, &[]);
    bench.play(1_010, 3, "cam", &["ask on_play s3"]);
    bench.let_play(1_010, 3, &["ask on_stream_not_found cam"]);
}

#[test]
fn an_answer_does_not_stand_for_players_who_come_much_later() {
    let mut bench = Bench::with(Settings {
        max_stream_wait: Duration::from_secs(5),
        ..Settings::default()
    });
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(0, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(10, "cam", Advice::Keep, &[]);
    bench.play(4_000, 2, "cam", &["ask on_play s2"]);
    bench.let_play(4_000, 2, &[]);
    bench.tick(5_000, &["s1 play not found"]);
    bench.play(6_000, 3, "cam", &["ask on_play s3"]);
    bench.let_play(6_000, 3, &["ask on_stream_not_found cam"]);
}

#[test]
fn when_the_last_waiting_player_leaves_the_question_is_dropped() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.ended(2, 1, true, &["cancel on_stream_not_found cam"]);
    bench.not_found(3, "cam", Advice::Close, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "missing");
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn a_player_that_leaves_while_being_asked_about_cancels_the_call() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.ended(1, 1, true, &["cancel on_play s1"]);
    bench.let_play(2, 1, &[]);
}

#[test]
fn a_schema_that_is_switched_off_is_refused_at_once() {
    let mut bench = Bench::with(Settings {
        rtmp_direct_proxy: false,
        ..Settings::default()
    });
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    let options = ProtocolOptions {
        enable_rtmp: false,
        ..ProtocolOptions::default()
    };
    bench.reply(1, "on_publish s1", allow(options), &["open cam", "s1 publish ok"]);
    bench.ready(2, "cam", &["register cam "]);
    bench.play(3, 2, "cam", &["ask on_play s2"]);
    bench.let_play(4, 2, &["s2 play not found"]);
}

#[test]
fn with_direct_proxy_a_push_keeps_its_own_schema() {
    let mut bench = Bench::new();
    let options = ProtocolOptions {
        enable_rtmp: false,
        ..ProtocolOptions::default()
    };
    bench.live(0, 1, "cam", options);
    bench.watch(1, 2, "cam");
}

#[test]
fn a_player_of_a_schema_this_server_cannot_make_is_told_so_when_the_stream_comes() {
    let mut bench = Bench::new();
    let mut ts = access(1, "cam");
    ts.schema = Schema::Ts;
    bench.at(
        0,
        Event::PlayRequested {
            access: ts,
            rule: None,
        },
        &["ask on_play s1"],
    );
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.publish(2, 9, "cam", &["ask on_publish s9"]);
    bench.reply(
        3,
        "on_publish s9",
        allow(ProtocolOptions::default()),
        &["open cam", "s9 publish ok"],
    );
    bench.ready(4, "cam", &["register cam rtmp", "+rtmp cam", "s1 play not found"]);
}

#[test]
fn a_player_waits_for_a_stream_that_is_starting_without_asking() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        1,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.play(2, 2, "cam", &["ask on_play s2"]);
    bench.let_play(3, 2, &[]);
    bench.ready(4, "cam", &["register cam rtmp", "+rtmp cam", "s2 play ok"]);
}

#[test]
fn when_a_starting_stream_is_lost_the_service_is_asked_about_it() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        1,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.play(2, 2, "cam", &["ask on_play s2"]);
    bench.let_play(3, 2, &[]);
    bench.ended(4, 1, false, &["remove cam", "ask on_stream_not_found cam"]);
}

#[test]
fn an_edge_server_that_asks_for_a_missing_stream_is_answered_at_once() {
    let mut bench = Bench::new();
    let mut edge = access(1, "cam");
    edge.params = "edge=1&token=x".into();
    bench.at(
        0,
        Event::PlayRequested {
            access: edge,
            rule: None,
        },
        &["ask on_play s1"],
    );
    bench.let_play(1, 1, &["s1 play not found"]);
}

#[test]
fn an_origin_may_open_streams_for_its_edges() {
    let mut bench = Bench::with(Settings {
        edge_opens: true,
        ..Settings::default()
    });
    let mut edge = access(1, "cam");
    edge.params = "edge=1".into();
    bench.at(
        0,
        Event::PlayRequested {
            access: edge,
            rule: None,
        },
        &["ask on_play s1"],
    );
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
}

#[test]
fn waiting_players_and_names_are_bounded() {
    let mut bench = Bench::with(Settings {
        max_waiting: 1,
        max_streams: 2,
        ..Settings::default()
    });
    bench.play(0, 1, "a", &["ask on_play s1"]);
    bench.let_play(0, 1, &["ask on_stream_not_found a"]);
    bench.play(0, 2, "a", &["ask on_play s2"]);
    bench.let_play(0, 2, &["s2 play overload"]);
    bench.play(0, 3, "b", &["ask on_play s3"]);
    bench.play(0, 4, "c", &["s4 play overload"]);
    bench.op(0, Op::Counts, &["op1 list"]);
    let Some(Ok(OpReply::Counts(counts))) = &bench.last_reply else {
        panic!("counts")
    };
    assert_eq!(counts.refused_at_limit, 2);
}

#[test]
fn a_readers_traffic_is_reported_from_the_threshold_on() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.watch(1, 2, "cam");
    bench.watch(1, 3, "cam");
    let end = |bytes| lifecycle::SessionEnd {
        clean: true,
        bytes,
        duration: Duration::from_secs(1),
        reason: "left".into(),
    };
    let session = lifecycle::SessionId(2);
    bench.at(
        2,
        Event::SessionEnded {
            session,
            end: end(999),
        },
        &[],
    );
    let session = lifecycle::SessionId(3);
    bench.at(
        3,
        Event::SessionEnded {
            session,
            end: end(1000),
        },
        &["flow s3 1000 player"],
    );
}

#[test]
fn the_timeline_tells_the_story_and_survives_the_stream() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(5, "cam", Advice::Close, &["s1 play not found"]);
    bench.ended(6, 1, true, &[]);
    bench.op(7, Op::Timeline(key("cam")), &["op1 list"]);
    let Some(Ok(OpReply::Timeline(view))) = &bench.last_reply else {
        panic!("a timeline")
    };
    assert_eq!(view.state, "missing");
    let events: Vec<&str> = view.entries.iter().map(|entry| entry.event).collect();
    assert_eq!(
        events,
        [
            "viewer_waits",
            "not_found_asked",
            "not_found_answered",
            "viewers_failed"
        ]
    );
    bench.op(
        8,
        Op::Timeline(key("never")),
        &["op2 error can not find the stream"],
    );
}
