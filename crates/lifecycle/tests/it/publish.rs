//! Publishers: permission, names, loss, return, duplicates.

use crate::bench::*;
use lifecycle::hook::PublishAnswer;
use lifecycle::settings::DuplicatePublish;
use lifecycle::{Event, Op, Outcome, Settings};
use media::ProtocolOptions;
use std::time::Duration;

#[test]
fn nothing_is_opened_before_the_verdict() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        5,
        "on_publish s1",
        Outcome::Publish(Err("denied".into())),
        &["s1 publish denied"],
    );
    bench.ended(6, 1, true, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "missing");
}

#[test]
fn a_broken_publisher_is_waited_for_and_its_return_keeps_the_viewers() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.watch(1, 2, "cam");
    bench.ended(1_000, 1, false, &["orphan cam"]);
    assert_eq!(bench.engine.state_of(&key("cam")), "orphan");
    bench.publish(5_000, 3, "cam", &["ask on_publish s3"]);
    bench.reply(
        5_001,
        "on_publish s3",
        allow(ProtocolOptions::default()),
        &["resume cam", "s3 publish resumed"],
    );
    bench.tick(16_000, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "live");
    bench.ended(20_000, 3, true, &["-rtmp cam", "remove cam"]);
}

#[test]
fn a_publisher_that_does_not_return_is_given_up_in_time() {
    let mut bench = Bench::new();
    let options = ProtocolOptions {
        continue_push: Duration::from_millis(3_000),
        ..ProtocolOptions::default()
    };
    bench.live(0, 1, "cam", options);
    bench.ended(1_000, 1, false, &["orphan cam"]);
    bench.tick(3_999, &[]);
    bench.tick(4_000, &["-rtmp cam", "remove cam"]);
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn a_goodbye_or_no_window_closes_at_once() {
    let mut bench = Bench::new();
    bench.live(0, 1, "a", ProtocolOptions::default());
    bench.ended(1, 1, true, &["-rtmp a", "remove a"]);
    let options = ProtocolOptions {
        continue_push: Duration::ZERO,
        ..ProtocolOptions::default()
    };
    bench.live(2, 2, "b", options);
    bench.ended(3, 2, false, &["-rtmp b", "remove b"]);
}

#[test]
fn a_stream_lost_before_it_was_registered_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        1,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.ended(2, 1, false, &["remove cam"]);
}

#[test]
fn an_orphaned_stream_closes_whole_when_forced() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.ended(1, 1, false, &["orphan cam"]);
    bench.op(
        2,
        Op::CloseStream {
            key: key("cam"),
            force: true,
        },
        &["-rtmp cam", "remove cam", "op1 done"],
    );
    bench.live(3, 2, "cam", ProtocolOptions::default());
}

#[test]
fn the_second_publisher_of_a_name_is_asked_about_and_then_refused() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.publish(1, 2, "cam", &["ask on_publish s2"]);
    bench.reply(
        2,
        "on_publish s2",
        allow(ProtocolOptions::default()),
        &["s2 publish taken"],
    );
    bench.ended(3, 2, true, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "unwatched");
}

#[test]
fn a_name_is_reserved_when_it_is_granted_not_when_media_flows() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.publish(0, 2, "cam", &["ask on_publish s2"]);
    bench.reply(
        1,
        "on_publish s2",
        allow(ProtocolOptions::default()),
        &["open cam", "s2 publish ok"],
    );
    bench.reply(
        2,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["s1 publish taken"],
    );
}

#[test]
fn takeover_by_setting_or_by_answer_replaces_the_first_publisher() {
    let mut bench = Bench::with(Settings {
        duplicate_publish: DuplicatePublish::Takeover,
        ..Settings::default()
    });
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.publish(1, 2, "cam", &["ask on_publish s2"]);
    let taken = ["kick s1", "-rtmp cam", "remove cam", "open cam", "s2 publish ok"];
    bench.reply(2, "on_publish s2", allow(ProtocolOptions::default()), &taken);
    bench.ended(3, 1, false, &[]);

    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.publish(1, 2, "cam", &["ask on_publish s2"]);
    let answer = PublishAnswer {
        options: ProtocolOptions::default(),
        takeover: Some(true),
    };
    bench.reply(2, "on_publish s2", Outcome::Publish(Ok(answer)), &taken);
}

#[test]
fn a_kicked_publisher_has_no_window() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.op(1, Op::Kick(lifecycle::SessionId(1)), &["kick s1", "op1 done"]);
    bench.ended(2, 1, false, &["-rtmp cam", "remove cam"]);
}

#[test]
fn stream_replace_renames_the_stream_before_anything_is_registered() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "a", &["ask on_publish s1"]);
    let options = ProtocolOptions {
        stream_replace: Some("b".into()),
        ..ProtocolOptions::default()
    };
    bench.reply(1, "on_publish s1", allow(options), &["open b", "s1 publish ok"]);
    bench.ready(2, "b", &["register b rtmp", "+rtmp b"]);
    bench.watch(3, 2, "b");
    bench.ended(4, 1, true, &["-rtmp b", "remove b"]);
}

#[test]
fn an_answer_for_a_publisher_that_left_opens_nothing() {
    let mut bench = Bench::new();
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.ended(1, 1, false, &["cancel on_publish s1"]);
    bench.reply(2, "on_publish s1", allow(ProtocolOptions::default()), &[]);
}

#[test]
fn old_news_of_an_earlier_incarnation_is_ignored() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    let old = bench.incarnation;
    bench.ended(1, 1, true, &["-rtmp cam", "remove cam"]);
    bench.publish(2, 2, "cam", &["ask on_publish s2"]);
    bench.reply(
        3,
        "on_publish s2",
        allow(ProtocolOptions::default()),
        &["open cam", "s2 publish ok"],
    );
    bench.at(
        4,
        Event::Ready {
            key: key("cam"),
            incarnation: old,
        },
        &[],
    );
    assert_eq!(bench.engine.state_of(&key("cam")), "starting");
}

#[test]
fn shutdown_removes_everything_and_says_so() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.op(1, Op::AddPull(pull_spec("far")), &["pull far"]);
    bench.play(2, 2, "gone", &["ask on_play s2"]);
    bench.let_play(3, 2, &["ask on_stream_not_found gone"]);
    bench.at(
        4,
        Event::Shutdown,
        &[
            "stop pull",
            "op1 error the server is stopping",
            "kick s1",
            "-rtmp cam",
            "remove cam",
            "s2 play not found",
        ],
    );
    bench.publish(5, 3, "late", &["s3 publish overload"]);
    bench.play(5, 4, "late", &["s4 play overload"]);
}
