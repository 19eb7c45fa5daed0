//! Questions: the failure matrix of hooks.md, section 3, time limits, bounds, the breaker.

use super::script::{
    Memory, Received, Receiver, Reply, access, none_reader, not_found, play, publish, response, settings, yes,
};
use crate::failure::Class;
use crate::{Answered, Hook, Hooks, Settings};
use lifecycle::hook::{Advice, PublishAnswer};
use lifecycle::{Ask, Outcome};
use media::ProtocolOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, advance, timeout};

const ALL: [Hook; 4] = [
    Hook::Publish,
    Hook::Play,
    Hook::StreamNotFound,
    Hook::StreamNoneReader,
];

fn hooks(settings: Settings, receiver: &Receiver) -> Hooks {
    Hooks::over(
        settings,
        "Tidegate(test)",
        Memory::of(&[("receiver", receiver)]),
        Memory::of(&[]),
    )
    .0
}

/// As in the captures of the matrix.
fn matrix_settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(3),
        retry: 1,
        retry_delay: Duration::from_secs(1),
        ..settings(&ALL)
    }
}

async fn ask(reply: Reply, ask: &Ask) -> Answered {
    let receiver = Receiver::new(move |_| reply.clone());
    hooks(matrix_settings(), &receiver).ask(ask, None).await
}

#[track_caller]
fn assert_row(name: &str, got: &Answered, expected: Result<(), &str>, seconds: u64, attempts: u32) {
    let Outcome::Play(verdict) = &got.outcome else {
        panic!("{name}: {got:?}")
    };
    match (verdict, expected) {
        (Ok(()), Ok(())) => {}
        (Err(text), Err(beginning)) if text.starts_with(beginning) => {}
        _ => panic!("{name}: got {verdict:?}, expected {expected:?}"),
    }
    assert_eq!(
        (got.took, got.attempts),
        (Duration::from_secs(seconds), attempts),
        "{name}"
    );
}

fn raw(text: &str) -> Reply {
    Reply::Send(text.as_bytes().to_vec())
}

fn raw_close(text: &str) -> Reply {
    Reply::Close(text.as_bytes().to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_in_any_form_admits_the_player() {
    for (name, reply) in [
        ("plain", yes()),
        (
            "chunked",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"co\r\n6\r\nde\":0}\r\n0\r\n\r\n",
            ),
        ),
        ("without length", raw_close("HTTP/1.1 200 OK\r\n\r\n{\"code\":0}")),
        ("HTTP/1.0", raw_close("HTTP/1.0 200 OK\r\n\r\n{\"code\":0}")),
        ("mark", response(200, "\u{feff}{\"code\":0}")),
        ("comment", response(200, "/* x */{\"code\":0}")),
        ("trailing comma", response(200, "{\"code\":0,}")),
        ("trailing garbage", response(200, "{\"code\":0} x")),
        ("fraction of zero", response(200, "{\"code\":0.0}")),
        (
            "other content type",
            raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n{\"code\":0}"),
        ),
        (
            "early hints",
            raw("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"code\":0}"),
        ),
    ] {
        assert_row(name, &ask(reply, &play()).await, Ok(()), 0, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_runs_into_the_limit_of_each_attempt() {
    for (name, reply) in [
        ("never answers", Reply::Hang),
        ("only the status line", raw("HTTP/1.1 200 OK\r\n")),
        (
            "less than announced",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":0}"),
        ),
        (
            "a chunk is missing",
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"co\r\n"),
        ),
    ] {
        let got = ask(reply, &play()).await;
        assert_row(name, &got, Err("[network err]:2("), 3 + 1 + 3, 2);
        assert_eq!(got.class(), Some(Class::Timeout), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_is_tried_again_after_the_pause() {
    for (name, reply) in [
        ("closes without answer", raw_close("")),
        ("closes in the head", raw_close("HTTP/1.1 200 OK\r\nContent-Le")),
        (
            "closes in the body",
            raw_close("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":0}"),
        ),
        (
            "closes in a chunk",
            raw_close("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"co"),
        ),
    ] {
        let got = ask(reply, &play()).await;
        assert_row(name, &got, Err("[network err]:1(end of file)"), 1, 2);
        assert_eq!(got.class(), Some(Class::Reset), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_answers_are_tried_again_and_then_refuse() {
    for status in [500, 404, 403, 201, 204, 301, 302, 307, 308] {
        let got = ask(response(status, r#"{"code":0}"#), &play()).await;
        let text = format!("[bad http status code]:{status}");
        assert_row(&text, &got, Err(&text), 1, 2);
        assert_eq!(got.class(), Some(Class::Status));
    }
    for body in ["", "ok", "{'code':0}", "[]", "0", "\"x\"", "true"] {
        let got = ask(response(200, body), &play()).await;
        assert_row(body, &got, Err("[parse json failed]:"), 1, 2);
        assert_eq!(got.class(), Some(Class::BadJson), "{body}");
    }
    for body in [
        "{}",
        "null",
        r#"{"Code":0}"#,
        r#"{"code":"0"}"#,
        r#"{"code":true}"#,
        r#"{"code":0.5}"#,
    ] {
        let got = ask(response(200, body), &play()).await;
        assert_row(body, &got, Err("[json code]:code not int:"), 1, 2);
        assert_eq!(got.class(), Some(Class::BadCode), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_not_asked_for_again() {
    for code in [1, -1] {
        let got = ask(response(200, format!(r#"{{"code":{code},"msg":"no"}}"#)), &play()).await;
        assert_row(
            "denied",
            &got,
            Err(&format!("[auth failed]: code:{code} msg:\"no\"")),
            0,
            1,
        );
        assert_eq!(got.class(), Some(Class::Denied));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_and_what_is_too_large_is_refused_by_name() {
    let long_head = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 10\r\n\r\n{{\"code\":0}}",
        "x".repeat(20_000)
    );
    let long_chunk = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n{}",
        " ".repeat(70_000)
    );
    for (reply, class) in [
        (raw("SSH-2.0-OpenSSH_9.9\r\n\r\n"), Class::BadHttp),
        (
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            Class::BadHttp,
        ),
        (
            raw("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n"),
            Class::TooLarge,
        ),
        (raw(&long_head), Class::TooLarge),
        (raw(&long_chunk), Class::TooLarge),
    ] {
        let got = ask(reply, &play()).await;
        assert_row(class.name(), &got, Err("[network err]:255("), 1, 2);
        assert_eq!(got.class(), Some(class), "{got:?}");
    }
    let largest = format!("{{\"code\":0}}{}", " ".repeat(64 * 1024 - 10));
    assert_row(
        "the largest body",
        &ask(response(200, largest), &play()).await,
        Ok(()),
        0,
        1,
    );
}

#[tokio::test(start_paused = true)]
async fn urls_that_are_none_fail_definitely() {
    for url in ["ftp://receiver/x", "receiver/x", "http://:80/"] {
        let mut settings = matrix_settings();
        settings.set_url(Hook::Play, url);
        let got = hooks(settings, &Receiver::new(|_| yes()))
            .ask(&play(), None)
            .await;
        assert_row(url, &got, Err("[network err]:255("), 0, 0);
        assert_eq!(got.class(), Some(Class::BadUrl), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_failure_denies_publishers_and_players_and_touches_no_stream() {
    for (asked, expected_failed) in [
        (publish(), false),
        (play(), false),
        (not_found(), true),
        (none_reader(), true),
    ] {
        let got = ask(response(500, ""), &asked).await;
        match got.outcome {
            Outcome::Publish(Err(_)) | Outcome::Play(Err(_)) => assert!(!expected_failed),
            Outcome::NotFound(Advice::Failed(_)) | Outcome::NoneReader(Advice::Failed(_)) => {
                assert!(expected_failed)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_are_off_are_not_asked() {
    let defaults = ProtocolOptions {
        enable_mp4: true,
        ..ProtocolOptions::default()
    };
    let expected = [
        Outcome::Publish(Ok(PublishAnswer {
            options: defaults.clone(),
            takeover: None,
        })),
        Outcome::Play(Ok(())),
        Outcome::NotFound(Advice::Unconfigured),
        Outcome::NoneReader(Advice::Unconfigured),
    ];
    let receiver = Receiver::new(|_| panic!("asked"));
    let without_urls = Settings {
        publish_defaults: defaults.clone(),
        ..settings(&[])
    };
    let switched_off = Settings {
        publish_defaults: defaults,
        enable: false,
        ..settings(&ALL)
    };
    for settings in [without_urls, switched_off] {
        let hooks = hooks(settings, &receiver);
        for (asked, expected) in [publish(), play(), not_found(), none_reader()]
            .iter()
            .zip(&expected)
        {
            let got = hooks.ask(asked, None).await;
            assert_eq!((&got.outcome, got.attempts, got.failure), (expected, 0, None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_is_a_boolean_and_nothing_else() {
    for (value, expected) in [
        ("true", Advice::Close),
        ("1", Advice::Close),
        ("false", Advice::Keep),
        ("null", Advice::Keep),
    ] {
        let reply = response(200, format!(r#"{{"code":0,"close":{value}}}"#));
        assert_eq!(
            ask(reply.clone(), &not_found()).await.outcome,
            Outcome::NotFound(expected.clone()),
            "{value}"
        );
        assert_eq!(
            ask(reply, &none_reader()).await.outcome,
            Outcome::NoneReader(expected),
            "{value}"
        );
    }
    let got = ask(response(200, r#"{"code":0,"close":"true"}"#), &none_reader()).await;
    assert!(
        matches!(got.outcome, Outcome::NoneReader(Advice::Failed(_))),
        "{got:?}"
    );
    assert_eq!((got.class(), got.attempts), (Some(Class::BadMember), 1));
    let got = ask(response(200, r#"{"code":-1,"close":true}"#), &not_found()).await;
    assert!(
        matches!(got.outcome, Outcome::NotFound(Advice::Failed(_))),
        "{got:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_on_publish_overrides_options() {
    let answer =
        r#"{"code":0,"msg":"success","enable_hls":"0","stream_replace":"b","duplicate_publish":"takeover"}"#;
    let got = ask(response(200, answer), &publish()).await;
    let options = ProtocolOptions {
        enable_hls: false,
        stream_replace: Some("b".to_owned()),
        ..ProtocolOptions::default()
    };
    assert_eq!(
        got.outcome,
        Outcome::Publish(Ok(PublishAnswer {
            options,
            takeover: Some(true)
        }))
    );
}

#[tokio::test(start_paused = true)]
async fn the_request_is_that_of_the_contract() {
    let receiver = Receiver::new(|_| yes());
    let mut settings = matrix_settings();
    settings.set_url(Hook::Play, "http://user:pass@receiver/index/hook/on_play?a=1");
    hooks(settings, &receiver).ask(&play(), None).await;
    let received = &receiver.received()[0];
    assert_eq!(received.line, "POST /index/hook/on_play?a=1 HTTP/1.1");
    for (name, value) in [
        ("Accept", "*/*"),
        ("Accept-Language", "zh-CN,zh;q=0.8"),
        ("Connection", "keep-alive"),
        ("Content-Type", "application/json"),
        ("Host", "receiver"),
        ("User-Agent", "Tidegate(test)"),
        ("X-Vhost", "__defaultVhost__"),
        ("Authorization", "Basic dXNlcjpwYXNz"),
        ("Tidegate-Event", "on_play"),
        ("Tidegate-Attempt", "1"),
        ("Tidegate-Deadline-Ms", "7000"),
    ] {
        let found: Vec<_> = received
            .headers
            .iter()
            .filter(|(header, _)| header == name)
            .collect();
        assert_eq!(
            found,
            [&(name.to_owned(), value.to_owned())],
            "{name} in {:?}",
            received.headers
        );
    }
    assert!(received.header("webhook-id").unwrap().starts_with("evt_"));
    assert!(
        received
            .header("webhook-timestamp")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 1_700_000_000
    );
    assert_eq!(received.header("traceparent").unwrap().len(), 55);
    let expected = serde_json::json!({
        "app": "live", "hook_index": 0, "id": "3-10", "ip": "127.0.0.1", "mediaServerId": "test-server",
        "params": "token=t", "port": 4000, "protocol": "rtmp", "schema": "rtmp", "stream": "cam1",
        "vhost": "__defaultVhost__",
    });
    assert_eq!(received.body, expected);
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_a_new_number_and_the_old_id() {
    let receiver = Receiver::new(|request| {
        if request.body["hook_index"] == 3 {
            yes()
        } else {
            response(500, "")
        }
    });
    let settings = Settings {
        retry: 3,
        retry_delay: Duration::from_millis(500),
        ..matrix_settings()
    };
    let start = Instant::now();
    let got = hooks(settings, &receiver).ask(&play(), None).await;
    assert_eq!((got.outcome, got.attempts), (Outcome::Play(Ok(())), 4));
    let received = receiver.received();
    let times: Vec<_> = received
        .iter()
        .map(|request| (request.at - start).as_millis())
        .collect();
    assert_eq!(times, [0, 500, 1000, 1500]);
    for (nth, request) in received.iter().enumerate() {
        assert_eq!(request.body["hook_index"], nth);
        assert_eq!(
            request.header("tidegate-attempt"),
            Some((nth + 1).to_string().as_str())
        );
        assert_eq!(request.header("webhook-id"), received[0].header("webhook-id"));
        let trace = |request: &Received| request.header("traceparent").unwrap()[..35].to_owned();
        assert_eq!(trace(request), trace(&received[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_beyond_what_the_peer_can_wait() {
    let hang = Receiver::new(|_| Reply::Hang);
    let got = hooks(matrix_settings(), &hang)
        .ask(&play(), Some(Duration::from_secs(2)))
        .await;
    assert_row("one attempt is cut", &got, Err("[network err]:2("), 2, 1);
    let got = hooks(matrix_settings(), &hang)
        .ask(&play(), Some(Duration::from_secs(5)))
        .await;
    assert_row("the second attempt is cut", &got, Err("[network err]:2("), 5, 2);
    let broken = Receiver::new(|_| response(500, ""));
    let got = hooks(matrix_settings(), &broken)
        .ask(&play(), Some(Duration::from_millis(900)))
        .await;
    assert_row("no pause in vain", &got, Err("[bad http status code]:500"), 0, 1);
    let settings = Settings {
        max_stream_wait: Duration::from_secs(2),
        ..matrix_settings()
    };
    let got = hooks(settings, &hang).ask(&not_found(), None).await;
    assert_eq!(
        (got.took, got.attempts),
        (Duration::from_secs(2), 1),
        "players wait no longer for a stream"
    );
    let settings = Settings {
        total_deadline: Duration::from_secs(1),
        ..matrix_settings()
    };
    let got = hooks(settings, &hang).ask(&play(), None).await;
    assert_row("the configured limit", &got, Err("[network err]:2("), 1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_it_is_dropped() {
    let receiver = Receiver::new(|_| Reply::Hang);
    let hooks = hooks(matrix_settings(), &receiver);
    let asked = play();
    let call = hooks.ask(&asked, None);
    assert!(timeout(Duration::from_millis(10), call).await.is_err());
    receiver.until(|receiver| *receiver.abandoned.lock() == 1).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_are_kept_and_a_closed_one_costs_nothing() {
    let receiver = Receiver::new(|request| match (request.connection, request.nth) {
        // As servers do that close idle connections: the second request crosses the close.
        (1, 3) => raw_close(""),
        _ => yes(),
    });
    let hooks = hooks(
        Settings {
            retry: 0,
            ..matrix_settings()
        },
        &receiver,
    );
    for _ in 0..2 {
        assert_row("kept", &hooks.ask(&play(), None).await, Ok(()), 0, 1);
    }
    assert_eq!(receiver.connections(), 1);
    assert_row("closed meanwhile", &hooks.ask(&play(), None).await, Ok(()), 0, 1);
    assert_eq!((receiver.connections(), receiver.received().len()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_in_an_answer_is_a_failure_even_if_it_was_kept() {
    let receiver = Receiver::new(|request| {
        if request.nth == 1 {
            yes()
        } else {
            raw_close("HTTP/1.1 2")
        }
    });
    let hooks = hooks(
        Settings {
            retry: 0,
            ..matrix_settings()
        },
        &receiver,
    );
    assert_row("first", &hooks.ask(&play(), None).await, Ok(()), 0, 1);
    assert_row(
        "second",
        &hooks.ask(&play(), None).await,
        Err("[network err]:1("),
        0,
        1,
    );
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_long_ago_is_not_used() {
    let receiver = Receiver::new(|_| {
        Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"code\":0}".to_vec())
    });
    let hooks = hooks(
        Settings {
            retry: 0,
            ..matrix_settings()
        },
        &receiver,
    );
    for _ in 0..3 {
        assert_row("each on its own", &hooks.ask(&play(), None).await, Ok(()), 0, 1);
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!((receiver.connections(), receiver.received().len()), (3, 3));
    let receiver = Receiver::new(|_| yes());
    let hooks = super::decisions::hooks(matrix_settings(), &receiver);
    hooks.ask(&play(), None).await;
    advance(Duration::from_secs(91)).await;
    hooks.ask(&play(), None).await;
    assert_eq!(receiver.connections(), 2, "idle for longer than 90 s");
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_bounded_and_the_rest_waits_for_a_second() {
    let receiver = Receiver::new(|_| Reply::Hang);
    let settings = Settings {
        max_in_flight: 2,
        queue_len: 1,
        ..matrix_settings()
    };
    let hooks = hooks(settings, &receiver);
    let asked = play();
    let (_, _, third, fourth) = tokio::join!(
        hooks.ask(&asked, None),
        hooks.ask(&asked, None),
        hooks.ask(&asked, None),
        hooks.ask(&asked, None),
    );
    assert_row("waits in vain", &third, Err("[network err]:255("), 1, 0);
    assert_row("does not even wait", &fourth, Err("[network err]:255("), 0, 0);
    assert_eq!(
        (third.class(), fourth.class()),
        (Some(Class::Overload), Some(Class::Overload))
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_counts_against_the_deadline() {
    let receiver = Receiver::new(|_| Reply::Hang);
    let settings = Settings {
        max_in_flight: 1,
        ..matrix_settings()
    };
    let hooks = hooks(settings, &receiver);
    let asked = play();
    let limit = Duration::from_millis(300);
    let (_, second) = tokio::join!(hooks.ask(&asked, None), hooks.ask(&asked, Some(limit)));
    assert_eq!(
        (second.class(), second.took, second.attempts),
        (Some(Class::Overload), limit, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_larger_than_the_buffers_arrives_whole() {
    let receiver = Receiver::new(|_| yes());
    let mut access = access("cam1");
    access.params = "x".repeat(200_000);
    let got = hooks(matrix_settings(), &receiver)
        .ask(&Ask::Play { access }, None)
        .await;
    assert_row("large", &got, Ok(()), 0, 1);
    assert_eq!(
        receiver.received()[0].body["params"].as_str().map(str::len),
        Some(200_000)
    );
}

#[tokio::test(start_paused = true)]
async fn three_hundred_players_at_once_are_all_answered() {
    let receiver = Receiver::new(|_| yes());
    let hooks = hooks(matrix_settings(), &receiver);
    let asked = play();
    let calls = (0..300).map(|_| hooks.ask(&asked, None));
    let all = futures_util::future::join_all(calls).await;
    assert!(all.iter().all(|got| got.outcome == Outcome::Play(Ok(()))));
    assert_eq!(receiver.received().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn after_ten_failed_calls_nobody_waits_for_the_receiver_until_a_probe_succeeds() {
    let works = Arc::new(AtomicUsize::new(0));
    let works_now = works.clone();
    let receiver = Receiver::new(move |_| {
        if works_now.load(Ordering::SeqCst) == 1 {
            yes()
        } else {
            response(500, "")
        }
    });
    let hooks = hooks(
        Settings {
            retry_delay: Duration::ZERO,
            ..matrix_settings()
        },
        &receiver,
    );
    for call in 0..10 {
        let got = hooks.ask(&play(), None).await;
        assert_row(
            &format!("call {call}"),
            &got,
            Err("[bad http status code]:500"),
            0,
            2,
        );
    }
    let got = hooks.ask(&play(), None).await;
    assert_row("open", &got, Err("[network err]:255("), 0, 0);
    assert_eq!(got.class(), Some(Class::BreakerOpen));
    let other = hooks.ask(&publish(), None).await;
    assert_eq!(other.attempts, 2, "another URL is another breaker");
    advance(Duration::from_secs(5)).await;
    assert_row(
        "the probe is one attempt",
        &hooks.ask(&play(), None).await,
        Err("[bad http status code]:500"),
        0,
        1,
    );
    advance(Duration::from_secs(9)).await;
    assert_row(
        "the pause has doubled",
        &hooks.ask(&play(), None).await,
        Err("[network err]:255("),
        0,
        0,
    );
    advance(Duration::from_secs(1)).await;
    works.store(1, Ordering::SeqCst);
    assert_row("probe", &hooks.ask(&play(), None).await, Ok(()), 0, 1);
    assert_row("closed", &hooks.ask(&play(), None).await, Ok(()), 0, 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_do_not_open_the_breaker() {
    let receiver = Receiver::new(|_| response(200, r#"{"code":-1}"#));
    let hooks = hooks(matrix_settings(), &receiver);
    for _ in 0..50 {
        assert_row(
            "denied",
            &hooks.ask(&play(), None).await,
            Err("[auth failed]"),
            0,
            1,
        );
    }
}

#[tokio::test(start_paused = true)]
async fn changed_settings_count_from_the_next_call_on() {
    let receiver = Receiver::new(|_| yes());
    let hooks = hooks(settings(&[]), &receiver);
    assert_eq!(hooks.ask(&play(), None).await.attempts, 0);
    hooks.apply(settings(&[Hook::Play]));
    assert_eq!(hooks.ask(&play(), None).await.attempts, 1);
    hooks.apply(Settings {
        media_server_id: "other".to_owned(),
        ..settings(&[Hook::Play])
    });
    hooks.ask(&play(), None).await;
    assert_eq!(receiver.received()[1].body["mediaServerId"], "other");
    hooks.apply(Settings {
        enable: false,
        ..settings(&[Hook::Play])
    });
    assert_eq!(hooks.ask(&play(), None).await.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn the_texts_for_peers_do_not_name_the_receiver() {
    for reply in [
        Reply::Hang,
        raw_close(""),
        response(500, ""),
        response(200, "x"),
        raw("x\r\n\r\n"),
    ] {
        let got = ask(
            reply,
            &Ask::Play {
                access: access("cam1"),
            },
        )
        .await;
        let Outcome::Play(Err(text)) = got.outcome else {
            panic!("{got:?}")
        };
        assert!(!text.contains("receiver"), "{text}");
    }
}
