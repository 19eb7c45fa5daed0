//! RTSP: players that were let in by password, publishers and their own schema, readers that leave.

use crate::bench::*;
use lifecycle::hook::{Advice, PublishAnswer};
use lifecycle::{Access, Ask, Command, Event, Op, Outcome, Settings};
use media::info::OriginType;
use media::{ProtocolOptions, Schema};
use std::time::Duration;

/// A server that makes both schemas.
fn bench() -> Bench {
    Bench::with(settings())
}

fn settings() -> Settings {
    Settings {
        schemas: &[Schema::Rtsp, Schema::Rtmp],
        ..Settings::default()
    }
}

fn proven(session: u64, stream: &str) -> Event {
    Event::PlayRequested {
        access: Access {
            authenticated: true,
            ..rtsp(session, stream)
        },
        rule: None,
    }
}

fn plays(session: u64, stream: &str) -> Event {
    Event::PlayRequested {
        access: rtsp(session, stream),
        rule: None,
    }
}

fn publishes(session: u64, stream: &str) -> Event {
    Event::PublishRequested {
        access: rtsp(session, stream),
        origin: OriginType::RtspPush,
    }
}

/// A stream that an RTSP publisher announced.
fn announced(bench: &mut Bench, ms: u64, session: u64, stream: &str, options: ProtocolOptions) {
    let question = format!("on_publish s{session}");
    bench.at(ms, publishes(session, stream), &[&format!("ask {question}")]);
    let open = [format!("open {stream}"), format!("s{session} publish ok")];
    bench.reply(ms, &question, allow(options), &[&open[0], &open[1]]);
}

fn live(bench: &mut Bench, ms: u64, session: u64, stream: &str) {
    announced(bench, ms, session, stream, ProtocolOptions::default());
    bench.ready(ms, stream, &["register cam rtsp,rtmp", "+rtsp cam", "+rtmp cam"]);
}

#[test]
fn a_player_that_knows_the_password_is_not_asked_about() {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    bench.at(1, proven(2, "cam"), &["s2 play ok"]);
    assert_eq!(bench.engine.state_of(&key("cam")), "live");
    bench.at(2, plays(3, "cam"), &["ask on_play s3"]);
}

#[test]
fn a_player_that_knows_the_password_waits_for_a_missing_stream_like_any_other() {
    let mut bench = bench();
    bench.at(0, proven(1, "cam"), &["ask on_stream_not_found cam"]);
    bench.not_found(1, "cam", Advice::Close, &["s1 play not found"]);
    bench.ended(2, 1, true, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "missing");

    bench.at(10, proven(2, "cam"), &["ask on_stream_not_found cam"]);
    bench.not_found(11, "cam", Advice::Keep, &[]);
    announced(&mut bench, 12, 3, "cam", ProtocolOptions::default());
    let released = ["register cam rtsp,rtmp", "+rtsp cam", "+rtmp cam", "s2 play ok"];
    bench.ready(13, "cam", &released);

    bench.at(20, proven(4, "gone"), &["ask on_stream_not_found gone"]);
    bench.ended(21, 4, false, &["cancel on_stream_not_found gone"]);
    assert_eq!(bench.engine.state_of(&key("gone")), "missing");
}

#[test]
fn a_player_that_knows_the_password_is_refused_when_the_server_stops() {
    let mut bench = bench();
    bench.at(0, Event::Shutdown, &[]);
    bench.at(1, proven(1, "cam"), &["s1 play overload"]);
}

#[test]
fn a_stream_without_rtsp_is_not_found_over_rtsp() {
    let mut bench = bench();
    let options = ProtocolOptions {
        enable_rtsp: false,
        ..ProtocolOptions::default()
    };
    bench.publish(0, 1, "cam", &["ask on_publish s1"]);
    bench.reply(0, "on_publish s1", allow(options), &["open cam", "s1 publish ok"]);
    bench.ready(0, "cam", &["register cam rtmp", "+rtmp cam"]);
    bench.at(1, proven(2, "cam"), &["s2 play not found"]);
}

#[test]
fn a_push_keeps_its_own_schema_whatever_its_options_say() {
    let neither = ProtocolOptions {
        enable_rtsp: false,
        enable_rtmp: false,
        ..ProtocolOptions::default()
    };
    let mut bench = bench();
    announced(&mut bench, 0, 1, "cam", neither.clone());
    bench.ready(1, "cam", &["register cam rtsp", "+rtsp cam"]);

    let mut bench = Bench::with(Settings {
        rtsp_direct_proxy: false,
        ..settings()
    });
    announced(&mut bench, 0, 1, "cam", neither);
    bench.ready(1, "cam", &["register cam "]);
}

#[test]
fn teardown_ends_the_stream_at_once_and_a_broken_connection_does_not() {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    bench.ended(1_000, 1, true, &["-rtsp cam", "-rtmp cam", "remove cam"]);

    live(&mut bench, 2_000, 2, "cam");
    bench.at(2_500, proven(3, "cam"), &["s3 play ok"]);
    bench.ended(3_000, 2, false, &["orphan cam"]);
    bench.at(4_000, publishes(4, "cam"), &["ask on_publish s4"]);
    bench.reply(
        4_000,
        "on_publish s4",
        allow(ProtocolOptions::default()),
        &["resume cam", "s4 publish resumed"],
    );
    bench.ended(5_000, 4, false, &["orphan cam"]);
    bench.tick(19_999, &[]);
    bench.tick(20_000, &["-rtsp cam", "-rtmp cam", "remove cam"]);
}

#[test]
fn an_orphaned_stream_is_not_handed_to_a_publisher_of_another_protocol() {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    bench.ended(1_000, 1, false, &["orphan cam"]);
    bench.publish(2_000, 2, "cam", &["ask on_publish s2"]);
    bench.reply(
        2_000,
        "on_publish s2",
        allow(ProtocolOptions::default()),
        &["s2 publish taken"],
    );
    bench.ended(2_001, 2, true, &[]);
    // It still waits for its own publisher.
    bench.at(3_000, publishes(3, "cam"), &["ask on_publish s3"]);
    bench.reply(
        3_000,
        "on_publish s3",
        allow(ProtocolOptions::default()),
        &["resume cam", "s3 publish resumed"],
    );

    // And the other way round.
    bench.publish(4_000, 4, "b", &["ask on_publish s4"]);
    bench.reply(
        4_000,
        "on_publish s4",
        allow(ProtocolOptions::default()),
        &["open b", "s4 publish ok"],
    );
    bench.ready(4_000, "b", &["register b rtsp,rtmp", "+rtsp b", "+rtmp b"]);
    bench.ended(4_001, 4, false, &["orphan b"]);
    bench.at(4_002, publishes(5, "b"), &["ask on_publish s5"]);
    bench.reply(
        4_002,
        "on_publish s5",
        allow(ProtocolOptions::default()),
        &["s5 publish taken"],
    );
}

#[test]
fn a_takeover_of_an_orphaned_stream_by_another_protocol_starts_it_anew() {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    bench.ended(1_000, 1, false, &["orphan cam"]);
    bench.publish(2_000, 2, "cam", &["ask on_publish s2"]);
    let answer = PublishAnswer {
        options: ProtocolOptions::default(),
        takeover: Some(true),
    };
    bench.reply(
        2_000,
        "on_publish s2",
        Outcome::Publish(Ok(answer)),
        &[
            "-rtsp cam",
            "-rtmp cam",
            "remove cam",
            "open cam",
            "s2 publish ok",
        ],
    );
    bench.tick(60_000, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "starting");
}

#[test]
fn the_second_publisher_of_a_name_is_refused_over_any_protocol() {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    bench.at(1, publishes(2, "cam"), &["ask on_publish s2"]);
    bench.reply(
        1,
        "on_publish s2",
        allow(ProtocolOptions::default()),
        &["s2 publish taken"],
    );
    bench.publish(2, 3, "cam", &["ask on_publish s3"]);
    bench.reply(
        2,
        "on_publish s3",
        allow(ProtocolOptions::default()),
        &["s3 publish taken"],
    );
}

/// The schema of the question about an unwatched stream, `last` being the player that leaves last.
#[track_caller]
fn asked_schema(first: Event, last: Event) -> Schema {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    for (session, event) in [(2, first), (3, last)] {
        bench.at(1, event, &[&format!("ask on_play s{session}")]);
        bench.let_play(1, session, &[&format!("s{session} play ok")]);
    }
    bench.ended(2, 2, true, &[]);
    bench.ended(1_000, 3, true, &[]);
    bench.engine.handle(bench.time(21_000), Event::Tick);
    match bench.engine.poll_command() {
        Some(Command::Ask {
            ask: Ask::NoneReader { schema, .. },
            ..
        }) => schema,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_question_about_an_unwatched_stream_names_the_schema_that_was_watched_last() {
    let rtmp = |session| Event::PlayRequested {
        access: access(session, "cam"),
        rule: None,
    };
    assert_eq!(asked_schema(rtmp(2), plays(3, "cam")), Schema::Rtsp);
    assert_eq!(asked_schema(plays(2, "cam"), rtmp(3)), Schema::Rtmp);
}

#[test]
fn an_rtsp_pusher_needs_the_stream_as_rtsp_and_watches_it() {
    let mut bench = bench();
    live(&mut bench, 0, 1, "cam");
    let spec = lifecycle::op::PushSpec {
        schema: Schema::Rtsp,
        dst_url: "rtsp://elsewhere/live/1".into(),
        ..push_spec("cam")
    };
    bench.op(1, Op::AddPush(spec), &["push cam"]);
    bench.job(
        2,
        |job| Event::PushStarted { job },
        &["op1 key rtmp/__defaultVhost__/live/cam/x"],
    );
    bench.tick(60_000, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "live");

    let options = ProtocolOptions {
        enable_rtsp: false,
        continue_push: Duration::ZERO,
        ..ProtocolOptions::default()
    };
    bench.publish(60_001, 2, "b", &["ask on_publish s2"]);
    bench.reply(
        60_001,
        "on_publish s2",
        allow(options),
        &["open b", "s2 publish ok"],
    );
    bench.ready(60_001, "b", &["register b rtmp", "+rtmp b"]);
    let spec = lifecycle::op::PushSpec {
        schema: Schema::Rtsp,
        ..push_spec("b")
    };
    bench.op(
        60_002,
        Op::AddPush(spec),
        &["op2 error can not find the source stream"],
    );
}
