//! What operators do with endpoints, and what outlives the process.

use super::endpoints::{endpoint, registered, with};
use super::notifications::{Running, counter, metric, over, removed, report};
use super::script::{Receiver, response, settings, yes};
use crate::hook::Hook;
use crate::ops::{OpsError, Tested};
use crate::store::Filter;
use crate::{EventName, Settings};
use config::HookEndpoint;
use media::Schema;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn stored(folder: &Path, endpoints: &[HookEndpoint]) -> Settings {
    let mut settings = with(endpoints);
    settings.store = Some((folder.to_owned(), 64 << 20));
    settings
}

fn durable() -> HookEndpoint {
    endpoint("a", [("durable", "1"), ("events", "*")])
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    pairs.iter().map(pair).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_not_delivered_comes_after_a_restart_in_order_with_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let down = Receiver::new(|_| response(503, ""));
    let running = Running::start(over(stored(folder.path(), &[durable()]), &down));
    for stream in ["x", "y"] {
        running.hooks.notify(&registered(stream, Schema::Rtmp));
        running.hooks.notify(&removed(stream, ""));
    }
    down.until(|down| down.received().len() >= 2).await;
    let before = running.hooks.notifications_waiting();
    assert_eq!(before, 8, "two forms of each");
    running.stop().await;

    let up = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(stored(folder.path(), &[durable()]), &up));
    running.hooks.notify(&report("x"));
    up.until(|up| up.received().len() == 10).await;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    let received = up.received();
    for stream in ["x", "y"] {
        let events: Vec<_> = received
            .iter()
            .filter(|request| request.stream() == stream || request.body["data"]["stream"] == stream)
            .map(|request| request.header("tidegate-event").unwrap())
            .collect();
        let wanted = [
            "on_stream_changed",
            "stream.online",
            "on_stream_changed",
            "stream.offline",
            "on_flow_report",
            "session.ended",
        ];
        assert_eq!(events, wanted[..events.len()], "{stream}");
    }
    for first in down.received() {
        let again = received
            .iter()
            .find(|request| request.header("webhook-id") == first.header("webhook-id"))
            .expect("it came again");
        assert_eq!(again.header("tidegate-seq"), first.header("tidegate-seq"));
        assert_eq!(
            again.header("traceparent").map(|value| value[..35].to_owned()),
            first.header("traceparent").map(|value| value[..35].to_owned())
        );
    }
    running.stop().await;

    // What was delivered does not come again.
    let last = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(stored(folder.path(), &[durable()]), &last));
    running.hooks.notify(&report("z"));
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(last.received().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn more_than_memory_holds_waits_on_disk_and_nothing_is_lost() {
    const EVENTS: usize = crate::notify::MAX_EVENTS + 5_000;
    let folder = tempfile::tempdir().unwrap();
    let open = Arc::new(Mutex::new(false));
    let is_open = open.clone();
    let receiver = Receiver::new(move |_| {
        if *is_open.lock() {
            response(200, "")
        } else {
            response(500, "")
        }
    });
    let endpoint = endpoint("a", [("durable", "1")]);
    let running = Running::start(over(stored(folder.path(), &[endpoint]), &receiver));
    for number in 0..EVENTS {
        running.hooks.notify(&report(&format!("{number:05}")));
        if number % 2000 == 0 {
            running.hooks.flush().await;
        }
    }
    running.hooks.flush().await;
    assert_eq!(running.hooks.notifications_waiting(), EVENTS);
    *open.lock() = true;
    assert_eq!(running.drain(Duration::from_secs(50)).await, 0);
    let mut streams: Vec<_> = receiver
        .received()
        .iter()
        .map(|request| request.body["data"]["stream"].as_str().unwrap().to_owned())
        .collect();
    streams.sort();
    streams.dedup();
    assert_eq!(streams.len(), EVENTS);
    for reason in ["queue_full", "not_written", "disk_full"] {
        let line = format!("hook_dropped_total{{endpoint=\"a\",reason=\"{reason}\"}} 0");
        assert!(!metric(&running.hooks, &line), "{reason}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_failed_for_good_is_a_dead_letter_and_can_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let status = Arc::new(AtomicUsize::new(404));
    let answer = status.clone();
    let receiver = Receiver::new(move |_| match answer.load(Ordering::Relaxed) {
        200 => yes(),
        status => response(u16::try_from(status).unwrap(), "no such place"),
    });
    let mut settings = stored(folder.path(), &[endpoint("a", [("durable", "1")])]);
    settings.set_url(Hook::FlowReport, "http://receiver/keyed");
    settings.retry = 0;
    let running = Running::start(over(settings, &receiver));
    let hooks = &running.hooks;
    hooks.notify(&report("x"));
    assert_eq!(running.drain(Duration::from_secs(600)).await, 0);
    assert_eq!(
        receiver.received().len(),
        4,
        "three times the durable one, once the other"
    );

    let list = |name: &'static str| hooks.dead_letters(name, 0, 10, Filter::default());
    let letters = list("a").await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, letters[0].status), (3, 404));
    assert_eq!(letters[0].event, "session.ended");
    assert!(letters[0].body.contains("\"stream\":\"x\""));
    assert_eq!(list("zlm").await.unwrap().len(), 1);
    assert!(metric(hooks, "hook_dead_letters_total{endpoint=\"a\"} 1"));
    let failed = hooks.deliveries("a", 10, None, Some("failed")).unwrap();
    assert_eq!((failed.len(), failed[0].attempt, failed[0].status), (3, 3, 404));
    assert_eq!(failed[0].answer, "no such place");

    status.store(200, Ordering::Relaxed);
    assert_eq!(hooks.replay("a", Vec::new(), Filter::default()).await.unwrap(), 1);
    let id = list("zlm").await.unwrap()[0].id.clone();
    assert_eq!(
        hooks
            .replay("zlm", vec![id.clone()], Filter::default())
            .await
            .unwrap(),
        1
    );
    assert_eq!(running.drain(Duration::from_secs(600)).await, 0);
    let received = receiver.received();
    assert_eq!(received.len(), 6);
    for again in &received[4..] {
        assert_eq!(again.header("tidegate-replay"), Some("1"));
    }
    // Two receivers, so in any order.
    let ids = received[4..].iter().map(|again| again.header("webhook-id"));
    let sent = [Some(letters[0].id.as_str()), Some(id.as_str())];
    assert_eq!(ids.collect::<BTreeSet<_>>(), sent.into());
    assert!(list("a").await.unwrap().is_empty());
    assert_eq!(hooks.purge("a", Filter::default()).await.unwrap(), 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_added_changed_rotated_and_removed_and_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::new(|_| response(200, ""));
    let configured = endpoint("fixed", []);
    let start = || {
        Running::start(over(
            stored(folder.path(), std::slice::from_ref(&configured)),
            &receiver,
        ))
    };
    let running = start();
    let hooks = &running.hooks;
    let add = fields(&[
        ("name", "b"),
        ("url", "http://u:p@receiver/b"),
        ("events", "session.*"),
    ]);
    let secret = hooks.add_endpoint(&add).await.unwrap().expect("one is made");
    assert!(matches!(hooks.add_endpoint(&add).await, Err(OpsError::Taken(_))));
    let wrong = hooks
        .add_endpoint(&fields(&[("name", "c"), ("url", "ftp://x")]))
        .await;
    assert!(wrong.unwrap_err().to_string().contains("url: "));
    assert!(matches!(
        hooks.change_endpoint("fixed", &fields(&[("durable", "1")])).await,
        Err(OpsError::Configured(_))
    ));
    let unknown = hooks.rotate_secret("nobody").unwrap_err().to_string();
    assert!(unknown.contains("zlm, b, fixed"), "{unknown}");

    hooks.notify(&report("x"));
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    let status = hooks.endpoint("b").unwrap();
    assert_eq!((status.origin, status.secrets), ("api", 1));
    assert_eq!(status.url, "http://***@receiver/b");
    assert!(status.last_success_unix_ms > 0);
    assert_eq!(hooks.endpoints().len(), 3);

    let new = hooks.rotate_secret("b").unwrap();
    assert_ne!(new, secret);
    hooks
        .change_endpoint("b", &fields(&[("durable", "1")]))
        .await
        .unwrap();
    hooks.notify(&report("y"));
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    let last = receiver.received().pop().unwrap();
    let signatures = |request: &super::script::Received| {
        let header = request.header("webhook-signature").unwrap_or_default();
        header.split(' ').count()
    };
    let to_b: Vec<_> = receiver
        .received()
        .into_iter()
        .filter(|request| request.line.contains("/b"))
        .collect();
    assert_eq!(
        to_b.iter().map(signatures).collect::<Vec<_>>(),
        [1, 2],
        "{last:?}"
    );
    running.stop().await;

    let running = start();
    let status = running.hooks.endpoint("b").unwrap();
    assert!(status.durable && status.secrets == 2);
    assert!(folder.path().join("b").is_dir());
    running.hooks.remove_endpoint("b").unwrap();
    assert!(running.hooks.endpoint("b").is_err());
    running.hooks.flush().await;
    assert!(!folder.path().join("b").exists(), "what was kept for it is gone");
    running.stop().await;
    assert_eq!(start().hooks.endpoints().len(), 2);
}

// Not with a paused clock: it would run ahead while the store's thread is waited for.
#[tokio::test]
async fn attempts_of_durable_endpoints_are_remembered_over_a_restart_and_counted_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || {
        let endpoints = [
            endpoint("a", [("durable", "1")]),
            endpoint("b", [("events", "session.ended")]),
        ];
        stored(folder.path(), &endpoints)
    };
    let down = Receiver::new(|_| response(500, "not now"));
    let running = Running::start(over(settings(), &down));
    running.hooks.notify(&report("x"));
    let log = |running: &Running, name| running.hooks.deliveries(name, 100, None, None).unwrap();
    while log(&running, "a").is_empty() || log(&running, "b").is_empty() {
        tokio::task::yield_now().await;
    }
    let before = log(&running, "a");
    assert_eq!((before.len(), before[0].attempt, before[0].status), (1, 1, 500));
    assert_eq!(before[0].stream, "__defaultVhost__/live/x");
    running.hooks.flush().await;
    running.stop().await;

    let up = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(settings(), &up));
    assert_eq!(log(&running, "a"), before);
    assert_eq!(log(&running, "b"), [], "it is not durable");
    up.until(|up| !up.received().is_empty()).await;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    let call = up.received().remove(0);
    assert_eq!(call.header("tidegate-attempt"), Some("2"));
    assert_eq!(call.header("webhook-id"), Some(before[0].id.as_str()));
    let all = log(&running, "a");
    assert_eq!((all.len(), all[0].result, all[0].attempt), (2, "ok", 2));
    // The receivers of the keys have questions in their log, too.
    assert!(!folder.path().join("zlm").exists());
    running.stop().await;

    let mut keyed = settings();
    keyed.durable = true;
    keyed.set_url(Hook::Play, "http://receiver/on_play");
    let answering = Receiver::new(|_| yes());
    let running = Running::start(over(keyed.clone(), &answering));
    running.hooks.test("zlm", "on_play").await.unwrap();
    running.hooks.flush().await;
    running.stop().await;
    let running = Running::start(over(keyed, &answering));
    let known = log(&running, "zlm");
    assert_eq!((known.len(), known[0].event), (1, EventName::Zlm(Hook::Play)));
    // Kept in memory only, then on disk again: nothing is there twice.
    for durable in [false, true] {
        let mut settings = (*running.hooks.settings()).clone();
        settings.durable = durable;
        // Opening waits for the store's thread.
        let hooks = running.hooks.clone();
        tokio::task::spawn_blocking(move || hooks.apply(settings))
            .await
            .unwrap();
    }
    running.hooks.test("zlm", "on_play").await.unwrap();
    assert_eq!(log(&running, "zlm").len(), 2);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_event_can_be_tried_out() {
    let receiver = Receiver::new(|request| {
        if request.line.contains("on_play") {
            response(200, r#"{"code":-1,"msg":"no"}"#)
        } else {
            yes()
        }
    });
    let mut settings = with(&[endpoint("a", [("events", "*")])]);
    // Questions are judged by their `code` all the same.
    settings.durable = true;
    for hook in Hook::ALL {
        settings.set_url(hook, &format!("http://receiver/{hook}"));
    }
    let running = Running::start(over(settings, &receiver));
    let mut tried = 0;
    for hook in Hook::ALL {
        match running.hooks.test("zlm", hook.name()).await {
            Ok(Tested { delivery, .. }) => {
                tried += 1;
                let result = if hook == Hook::Play { "denied" } else { "ok" };
                assert_eq!((delivery.result, delivery.status), (result, 200), "{hook}");
                assert_eq!(delivery.event, EventName::Zlm(hook));
            }
            Err(error) => assert!(matches!(error, OpsError::Event(_)), "{error}"),
        }
    }
    assert!(tried >= 13, "{tried}");
    for event in crate::own::OwnEvent::ALL {
        let delivery = running.hooks.test("a", event.name()).await.unwrap().delivery;
        assert_eq!(delivery.result, "ok");
    }
    assert!(running.hooks.test("a", "no.such").await.is_err());
    assert!(running.hooks.test("nobody", "stream.online").await.is_err());
    let last = receiver.received().pop().unwrap();
    assert_eq!(last.body["data"]["stream"], "example");
}

#[tokio::test(start_paused = true)]
async fn a_try_shows_the_request_as_it_was_sent_without_its_secrets() {
    let receiver = Receiver::new(|_| yes());
    let fields = [
        ("url", "http://user:pass@receiver/a/b?token=hidden"),
        ("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("headers", "X-Token: hidden"),
    ];
    let settings = with(&[endpoint("a", fields)]);
    let running = Running::start(over(settings, &receiver));
    let shown = running
        .hooks
        .test("a", "stream.online")
        .await
        .unwrap()
        .request
        .unwrap();
    assert_eq!((&*shown.method, &*shown.url), ("POST", "http://receiver/a/b?***"));
    assert_eq!(shown.version, Some("HTTP/1.1"));
    let received = receiver.received().remove(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown.body).unwrap(),
        received.body
    );
    assert_eq!(shown.headers.len(), received.headers.len());
    for (shown, (name, value)) in shown.headers.iter().zip(&received.headers) {
        assert_eq!(&shown.name, name);
        let hidden = ["Authorization", "X-Token"].contains(&&**name);
        assert_eq!(shown.value, if hidden { "***" } else { value }, "{name}");
    }
    for name in [
        "Authorization",
        "X-Token",
        "Webhook-Signature",
        "Content-Length",
        "X-Vhost",
    ] {
        assert!(shown.headers.iter().any(|header| header.name == name), "{name}");
    }
    let text = serde_json::to_string(&shown).unwrap();
    assert!(!text.contains("hidden") && !text.contains("pass"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_used_leaves_the_rest_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let receiver = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(stored(file.path(), &[durable()]), &receiver));
    running.hooks.notify(&report("x"));
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(receiver.received().len(), 2);
    assert!(
        !running.hooks.endpoint("a").unwrap().durable,
        "and it can be seen"
    );
    assert!(matches!(
        running.hooks.dead_letters("a", 0, 1, Filter::default()).await,
        Err(OpsError::NoStore)
    ));
    let _ = settings(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_be_opened_later_is_used_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    // In the place of the endpoint's folder.
    let place = folder.path().join("a");
    std::fs::write(&place, "").unwrap();
    let receiver = Receiver::new(|_| response(200, ""));
    let settings = stored(folder.path(), &[endpoint("a", [("durable", "1")])]);
    let running = Running::start(over(settings, &receiver));
    let durable = || running.hooks.endpoint("a").unwrap().durable;
    running.hooks.notify(&report("early"));
    // At the start, and again after a while.
    let failures = "hook_store_failures_total{endpoint=\"a\",work=\"open\"}";
    while counter(&running.hooks, failures) < 2 {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(!durable());
    std::fs::remove_file(&place).unwrap();
    while !durable() {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    running.hooks.notify(&report("late"));
    running.hooks.flush().await;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(receiver.received().len(), 2);
    let kept = std::fs::read(place.join("00000000000000000002.log")).unwrap();
    let has = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("late") && !has("early"));
    running.stop().await;
}

#[tokio::test]
async fn what_is_in_memory_only_takes_nothing_along_that_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::new(|request| {
        let memory = request.body["data"]["stream"] == "memory";
        response(if memory { 200 } else { 503 }, "")
    });
    let settings = |durable| stored(folder.path(), &[endpoint("a", [("durable", durable)])]);
    let running = Running::start(over(settings("1"), &receiver));
    for _ in 0..3 {
        running.hooks.notify(&report("disk"));
    }
    running.hooks.flush().await;
    running.stop().await;

    // Without a store events have the same numbers again. They are delivered after the store is there, while the others fail.
    let running = Running::start(over(settings("0"), &receiver));
    for _ in 0..3 {
        running.hooks.notify(&report("memory"));
    }
    // Before the driver gets to send anything.
    running.hooks.apply(settings("1"));
    let memory = |request: &super::script::Received| request.body["data"]["stream"] == "memory";
    receiver
        .until(|receiver| {
            receiver
                .received()
                .iter()
                .filter(|request| memory(request))
                .count()
                >= 3
        })
        .await;
    while running.hooks.notifications_waiting() > 3 {
        tokio::task::yield_now().await;
    }
    running.hooks.flush().await;
    running.stop().await;

    let up = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(settings("1"), &up));
    up.until(|up| up.received().len() == 3).await;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(up.received().len(), 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_store_loses_what_was_damaged_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let down = Receiver::new(|_| response(503, ""));
    let endpoint = || endpoint("a", [("durable", "1")]);
    let running = Running::start(over(stored(folder.path(), &[endpoint()]), &down));
    for number in 0..50 {
        running.hooks.notify(&report(&number.to_string()));
    }
    running.hooks.flush().await;
    running.stop().await;
    let segment = std::fs::read_dir(folder.path().join("a"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file() && path.metadata().unwrap().len() > 1000)
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let up = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(stored(folder.path(), &[endpoint()]), &up));
    up.until(|up| up.received().len() == 49).await;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(up.received().len(), 49);
    running.stop().await;
}
