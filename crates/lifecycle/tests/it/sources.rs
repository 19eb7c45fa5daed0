//! Pulls, ffmpeg sources, rules and pushers.

use crate::bench::*;
use lifecycle::hook::Advice;
use lifecycle::op::{JobState, OpReply, RulePolicy, RuleSource};
use lifecycle::{Event, Op, Settings};
use media::ProtocolOptions;
use std::time::Duration;

const KEY: &str = "__defaultVhost__/live/cam";

fn opened(bench: &mut Bench, ms: u64) {
    bench.job(
        ms,
        |job| Event::PullOpened { job },
        &["open cam", "accept cam", &format!("op1 key {KEY}")],
    );
    bench.ready(ms, "cam", &["register cam rtmp", "+rtmp cam"]);
}

fn refused(job: lifecycle::JobId) -> Event {
    Event::PullEnded {
        job,
        reason: "connection refused".into(),
    }
}

fn exited(job: lifecycle::JobId) -> Event {
    Event::FfmpegExited {
        job,
        reason: "ffmpeg exited with code 1".into(),
    }
}

#[test]
fn a_failed_first_attempt_removes_the_pull_whatever_retry_count_says() {
    let mut bench = Bench::new();
    let mut spec = pull_spec("cam");
    spec.retry_count = Some(3);
    bench.op(0, Op::AddPull(spec), &["pull cam"]);
    bench.job(5, refused, &["op1 error connection refused"]);
    assert_eq!(bench.engine.deadline(), None);
    bench.op(6, Op::DelPull(KEY.into()), &["op2 flag false"]);
}

#[test]
fn waiting_viewers_fail_with_the_source() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(2, "cam", Advice::Keep, &[]);
    bench.op(3, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.job(4, refused, &["op1 error connection refused", "s1 play not found"]);
    bench.play(5, 2, "cam", &["ask on_play s2"]);
    bench.let_play(6, 2, &["ask on_stream_not_found cam"]);
}

#[test]
fn while_the_service_is_still_answering_it_may_try_a_second_source() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.op(2, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.job(3, refused, &["op1 error connection refused"]);
    bench.op(4, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.not_found(5, "cam", Advice::Keep, &[]);
    bench.job(6, refused, &["op2 error connection refused", "s1 play not found"]);
}

#[test]
fn when_the_service_answers_after_its_source_failed_the_viewers_are_told_at_once() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(1, 1, &["ask on_stream_not_found cam"]);
    bench.op(2, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.job(3, refused, &["op1 error connection refused"]);
    bench.not_found(4, "cam", Advice::Keep, &["s1 play not found"]);
}

#[test]
fn force_answers_success_and_tries_on_until_the_retries_are_used_up() {
    let mut bench = Bench::new();
    let mut spec = pull_spec("cam");
    spec.force = true;
    spec.retry_count = Some(3);
    bench.op(0, Op::AddPull(spec), &["pull cam"]);
    bench.job(0, refused, &[&format!("op1 key {KEY}")]);
    bench.tick(2_999, &[]);
    bench.tick(3_000, &["pull cam"]);
    bench.job(3_000, refused, &[]);
    bench.tick(9_000, &["pull cam"]);
    bench.job(9_000, refused, &[]);
    bench.tick(18_000, &["pull cam"]);
    bench.job(18_000, refused, &[]);
    assert_eq!(bench.engine.deadline(), None, "3 retries are 4 attempts");
    bench.op(18_001, Op::ListPulls, &["op2 list"]);
    assert_eq!(bench.last_reply, Some(Ok(OpReply::Pulls(vec![]))));
}

#[test]
fn a_lost_source_is_pulled_again_after_two_seconds_and_tells_the_truth_meanwhile() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    opened(&mut bench, 10);
    bench.watch(20, 2, "cam");
    bench.job(
        1_010,
        |job| Event::PullEnded {
            job,
            reason: "end of file".into(),
        },
        &["-rtmp cam", "remove cam"],
    );
    bench.op(2_000, Op::ListPulls, &["op2 list"]);
    let Some(Ok(OpReply::Pulls(pulls))) = &bench.last_reply else {
        panic!("pulls")
    };
    assert!(
        matches!(&pulls[0].state, JobState::BackingOff { reason, was_live: true, .. } if reason == "end of file")
    );
    assert_eq!((pulls[0].live, pulls[0].losses), (Duration::from_secs(1), 1));
    bench.tick(3_010, &["pull cam"]);
    bench.job(
        3_011,
        |job| Event::PullOpened { job },
        &["open cam", "accept cam"],
    );
}

#[test]
fn without_reset_players_stay_with_a_stream_whose_source_is_lost() {
    let mut bench = Bench::with(Settings {
        reset_when_replay: false,
        ..Settings::default()
    });
    bench.op(0, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    opened(&mut bench, 10);
    bench.watch(20, 2, "cam");
    bench.job(
        1_000,
        |job| Event::PullEnded {
            job,
            reason: "end of file".into(),
        },
        &[],
    );
    bench.tick(3_000, &["pull cam"]);
    bench.job(
        3_001,
        |job| Event::PullOpened { job },
        &["resume cam", "accept cam resumed"],
    );
    assert_eq!(bench.engine.state_of(&key("cam")), "live");
}

#[test]
fn a_name_that_is_published_cannot_be_pulled() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.op(
        1,
        Op::AddPull(pull_spec("cam")),
        &["op1 error This stream already exists"],
    );
}

#[test]
fn a_publisher_that_was_faster_than_the_pull_keeps_the_name() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.live(1, 1, "cam", ProtocolOptions::default());
    bench.job(
        2,
        |job| Event::PullOpened { job },
        &["stop pull", "op1 error This stream already exists"],
    );
    assert_eq!(bench.engine.state_of(&key("cam")), "unwatched");
}

#[test]
fn a_second_pull_of_a_name_is_refused_and_removal_answers_the_first() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    bench.op(
        1,
        Op::AddPull(pull_spec("cam")),
        &["op2 error This stream already exists"],
    );
    let late = bench.last_job();
    bench.op(
        2,
        Op::DelPull(KEY.into()),
        &["stop pull", "op1 error player proxy close", "op3 flag true"],
    );
    bench.at(3, Event::PullOpened { job: late }, &[]);
    bench.at(4, refused(late), &[]);
    bench.op(5, Op::AddPull(pull_spec("cam")), &["pull cam"]);
}

#[test]
fn removing_a_pull_closes_its_stream() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddPull(pull_spec("cam")), &["pull cam"]);
    opened(&mut bench, 1);
    bench.op(
        2,
        Op::DelPull(KEY.into()),
        &["stop pull", "-rtmp cam", "remove cam", "op2 flag true"],
    );
}

#[test]
fn a_rule_opens_a_stream_for_its_first_viewer_and_closes_it_after_the_last_without_any_hook() {
    let mut bench = Bench::new();
    let mut spec = pull_spec("cam");
    spec.rule = on_demand(5_000);
    bench.play_by_rule(0, 1, "cam", RuleSource::Pull(spec), &["ask on_play s1"]);
    bench.let_play(1, 1, &["pull cam"]);
    bench.job(2, |job| Event::PullOpened { job }, &["open cam", "accept cam"]);
    bench.ready(3, "cam", &["register cam rtmp", "+rtmp cam", "s1 play ok"]);
    bench.ended(10_000, 1, true, &[]);
    bench.tick(14_999, &[]);
    bench.tick(15_000, &["stop pull", "-rtmp cam", "remove cam"]);
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn a_rule_source_that_fails_fails_its_viewers_until_the_pause_is_over() {
    let mut bench = Bench::new();
    let mut spec = pull_spec("cam");
    spec.rule = on_demand(5_000);
    let rule = || RuleSource::Pull(spec.clone());
    bench.play_by_rule(0, 1, "cam", rule(), &["ask on_play s1"]);
    bench.let_play(0, 1, &["pull cam"]);
    bench.job(100, refused, &["s1 play not found"]);
    bench.play_by_rule(200, 2, "cam", rule(), &["ask on_play s2"]);
    bench.let_play(200, 2, &["s2 play not found"]);
    bench.tick(3_100, &[]);
    bench.play_by_rule(3_200, 3, "cam", rule(), &["ask on_play s3"]);
    bench.let_play(3_200, 3, &["pull cam"]);
}

#[test]
fn the_next_origin_is_tried_at_once_and_viewers_fail_after_the_last() {
    let mut bench = Bench::new();
    let mut spec = pull_spec("cam");
    spec.rule = on_demand(5_000);
    spec.alternatives = vec!["rtmp://second/live/1".into()];
    let rule = || RuleSource::Pull(spec.clone());
    bench.play_by_rule(0, 1, "cam", rule(), &["ask on_play s1"]);
    bench.let_play(0, 1, &["pull cam"]);
    bench.play_by_rule(1, 2, "cam", rule(), &["ask on_play s2"]);
    bench.let_play(1, 2, &[]);
    bench.job(2, refused, &["pull cam"]);
    bench.job(3, refused, &["s1 play not found", "s2 play not found"]);
    // The pause is over: a new wish starts again, and the second one has the stream now.
    bench.play_by_rule(5_000, 3, "cam", rule(), &["ask on_play s3"]);
    bench.let_play(5_000, 3, &["pull cam"]);
    bench.job(5_001, refused, &["pull cam"]);
    bench.job(
        5_002,
        |job| Event::PullOpened { job },
        &["open cam", "accept cam"],
    );
}

#[test]
fn a_rule_that_is_not_on_demand_runs_unwatched_and_ends_with_the_rule() {
    let mut bench = Bench::new();
    let mut spec = pull_spec("cam");
    spec.rule = Some(RulePolicy {
        on_demand: false,
        close_after: Duration::from_secs(1),
    });
    bench.at(
        0,
        Event::StaticRules(vec![RuleSource::Pull(spec.clone())]),
        &["pull cam"],
    );
    bench.job(1, |job| Event::PullOpened { job }, &["open cam", "accept cam"]);
    bench.ready(2, "cam", &["register cam rtmp", "+rtmp cam"]);
    bench.tick(60_000, &[]);
    bench.at(60_001, Event::StaticRules(vec![RuleSource::Pull(spec)]), &[]);
    bench.at(
        60_002,
        Event::StaticRules(vec![]),
        &["stop pull", "-rtmp cam", "remove cam"],
    );
}

#[test]
fn an_ffmpeg_source_is_answered_when_its_stream_is_registered_and_adopted() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddFfmpeg(ffmpeg_spec("cam")), &["ffmpeg md5-cam"]);
    bench.publish(500, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        501,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.ready(
        600,
        "cam",
        &["register cam rtmp", "+rtmp cam", "op1 key md5-cam", "adopt cam"],
    );
    bench.op(700, Op::AddFfmpeg(ffmpeg_spec("cam")), &["op2 key md5-cam"]);
    bench.op(
        800,
        Op::DelFfmpeg("md5-cam".into()),
        &[
            "stop ffmpeg",
            "kick s1",
            "-rtmp cam",
            "remove cam",
            "op3 flag true",
        ],
    );
}

#[test]
fn an_ffmpeg_that_ends_before_its_stream_appears_is_reported_at_once() {
    let mut bench = Bench::new();
    bench.play(0, 1, "cam", &["ask on_play s1"]);
    bench.let_play(0, 1, &["ask on_stream_not_found cam"]);
    bench.not_found(0, "cam", Advice::Keep, &[]);
    bench.op(1, Op::AddFfmpeg(ffmpeg_spec("cam")), &["ffmpeg md5-cam"]);
    bench.job(
        300,
        exited,
        &["op1 error ffmpeg exited with code 1", "s1 play not found"],
    );
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn an_ffmpeg_that_hangs_is_reported_at_its_timeout_and_stopped() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddFfmpeg(ffmpeg_spec("cam")), &["ffmpeg md5-cam"]);
    bench.tick(9_999, &[]);
    bench.tick(10_000, &["stop ffmpeg", "op1 error timed out"]);
    bench.op(10_001, Op::ListFfmpegs, &["op2 list"]);
    assert_eq!(bench.last_reply, Some(Ok(OpReply::Ffmpegs(vec![]))));
}

#[test]
fn a_killed_ffmpeg_is_started_again_and_its_viewers_stay() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddFfmpeg(ffmpeg_spec("cam")), &["ffmpeg md5-cam"]);
    bench.publish(1, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        2,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.ready(
        3,
        "cam",
        &["register cam rtmp", "+rtmp cam", "op1 key md5-cam", "adopt cam"],
    );
    bench.watch(4, 2, "cam");
    bench.job(1_000, exited, &[]);
    bench.ended(1_001, 1, false, &["orphan cam"]);
    bench.tick(3_000, &["ffmpeg md5-cam"]);
    bench.publish(3_500, 3, "cam", &["ask on_publish s3"]);
    let back = ["resume cam", "adopt cam", "s3 publish resumed"];
    bench.reply(3_501, "on_publish s3", allow(ProtocolOptions::default()), &back);
    bench.tick(60_000, &[]);
    assert_eq!(bench.engine.state_of(&key("cam")), "live");
}

#[test]
fn closing_the_stream_of_an_ffmpeg_source_ends_the_process() {
    let mut bench = Bench::new();
    bench.op(0, Op::AddFfmpeg(ffmpeg_spec("cam")), &["ffmpeg md5-cam"]);
    bench.publish(1, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        2,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.ready(
        3,
        "cam",
        &["register cam rtmp", "+rtmp cam", "op1 key md5-cam", "adopt cam"],
    );
    bench.tick(20_003, &["ask on_stream_none_reader cam"]);
    bench.none_reader(
        20_004,
        "cam",
        Advice::Close,
        &["kick s1", "stop ffmpeg", "-rtmp cam", "remove cam"],
    );
    bench.job(20_005, exited, &[]);
    assert_eq!(bench.engine.deadline(), None);
}

#[test]
fn periodic_restart_waits_for_the_old_process_to_be_reaped() {
    let mut bench = Bench::with(Settings {
        ffmpeg_restart: Duration::from_secs(12),
        ..Settings::default()
    });
    bench.op(0, Op::AddFfmpeg(ffmpeg_spec("cam")), &["ffmpeg md5-cam"]);
    bench.publish(1, 1, "cam", &["ask on_publish s1"]);
    bench.reply(
        2,
        "on_publish s1",
        allow(ProtocolOptions::default()),
        &["open cam", "s1 publish ok"],
    );
    bench.ready(
        3,
        "cam",
        &["register cam rtmp", "+rtmp cam", "op1 key md5-cam", "adopt cam"],
    );
    bench.watch(4, 2, "cam");
    bench.tick(12_003, &["stop ffmpeg"]);
    bench.job(12_100, exited, &["ffmpeg md5-cam"]);
}

#[test]
fn a_pusher_needs_its_stream_counts_as_a_reader_and_ends_with_it() {
    let mut bench = Bench::new();
    bench.op(
        0,
        Op::AddPush(push_spec("cam")),
        &["op1 error can not find the source stream"],
    );
    bench.live(1, 1, "cam", ProtocolOptions::default());
    bench.op(2, Op::AddPush(push_spec("cam")), &["push cam"]);
    bench.job(
        3,
        |job| Event::PushStarted { job },
        &[&format!("op2 key rtmp/{KEY}/x")],
    );
    bench.op(
        4,
        Op::AddPush(push_spec("cam")),
        &[&format!("op3 key rtmp/{KEY}/x")],
    );
    bench.tick(100_000, &[]);
    bench.ended(100_001, 1, true, &["-rtmp cam", "remove cam", "stop push"]);
    bench.op(100_002, Op::DelPush(format!("rtmp/{KEY}/x")), &["op4 flag false"]);
}

#[test]
fn a_pusher_that_cannot_start_is_removed_and_one_that_was_up_tries_again() {
    let mut bench = Bench::new();
    bench.live(0, 1, "cam", ProtocolOptions::default());
    bench.op(1, Op::AddPush(push_spec("cam")), &["push cam"]);
    let taken = |job| Event::PushEnded {
        job,
        reason: "NetStream.Publish.BadName".into(),
    };
    bench.job(2, taken, &["op1 error NetStream.Publish.BadName"]);
    bench.op(3, Op::AddPush(push_spec("cam")), &["push cam"]);
    bench.job(
        4,
        |job| Event::PushStarted { job },
        &[&format!("op2 key rtmp/{KEY}/x")],
    );
    bench.job(
        5,
        |job| Event::PushEnded {
            job,
            reason: "reset".into(),
        },
        &[],
    );
    bench.tick(2_005, &["push cam"]);
    bench.job(2_006, |job| Event::PushStarted { job }, &[]);
    bench.op(
        2_007,
        Op::DelPush(format!("rtmp/{KEY}/x")),
        &["stop push", "op3 flag true"],
    );
}
