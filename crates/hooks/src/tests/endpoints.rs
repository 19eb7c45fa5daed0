//! Several endpoints: what each gets, in which form, signed, and how long it is tried.

use super::notifications::{Running, metric, over, removed, report};
use super::script::{Receiver, access, key, response, settings, yes};
use crate::Settings;
use crate::hook::Hook;
use crate::notify::Event;
use config::{HookEndpoint, Secret};
use media::Schema;
use media::info::{MediaInfo, OriginInfo, OriginType};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub fn endpoint<const N: usize>(name: &str, fields: [(&str, &str); N]) -> HookEndpoint {
    let url = format!("http://receiver/{name}");
    let mut endpoint = HookEndpoint::default();
    endpoint
        .change([("name", name), ("url", &url)].into_iter().chain(fields))
        .unwrap();
    endpoint
}

pub fn with(endpoints: &[HookEndpoint]) -> Settings {
    let mut settings = settings(&[]);
    settings.set_extras(endpoints.iter(), crate::client::UrlSource::Operator);
    settings
}

pub fn registered(stream: &str, schema: Schema) -> Event {
    let info = MediaInfo {
        key: key(stream),
        schema,
        params: "token=t".to_owned(),
        created_unix: 1,
        alive_second: 0,
        bytes_speed: 0,
        total_bytes: 0,
        readers: 0,
        total_readers: 0,
        origin: OriginInfo {
            kind: OriginType::RtmpPush,
            url: String::new(),
            sock: None,
        },
        recording_mp4: false,
        recording_hls: false,
        tracks: Vec::new(),
    };
    Event::Registered { info: Box::new(info) }
}

fn gone(stream: &str, schema: Schema) -> Event {
    Event::Removed {
        key: key(stream),
        schema,
        params: String::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_gets_what_it_wants_in_its_form() {
    let receiver = Receiver::new(|request| {
        if request.line.contains("own") {
            response(204, "")
        } else {
            yes()
        }
    });
    let mut settings = with(&[
        endpoint("own", [("secret", SECRET), ("headers", "X-Token: abc")]),
        endpoint("zlm-form", [("events", "on_stream_changed,stream.offline")]),
        endpoint("off", [("events", "*"), ("enabled", "0")]),
    ]);
    settings.set_url(Hook::StreamChanged, "http://receiver/keyed");
    let running = Running::start(over(settings, &receiver));
    for event in [
        registered("cam", Schema::Rtmp),
        registered("cam", Schema::Ts),
        gone("cam", Schema::Rtmp),
        gone("cam", Schema::Ts),
        report("cam"),
    ] {
        running.hooks.notify(&event);
    }
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    let received = receiver.received();
    let of = |path: &str| -> Vec<_> {
        let to = format!("POST /{path} HTTP/1.1");
        received.iter().filter(|request| request.line == to).collect()
    };
    assert_eq!(of("keyed").len(), 4);
    assert!(of("off").is_empty());

    let own = of("own");
    let types: Vec<_> = own
        .iter()
        .map(|request| request.header("tidegate-event").unwrap())
        .collect();
    assert_eq!(types, ["stream.online", "stream.offline", "session.ended"]);
    for (at, request) in own.iter().enumerate() {
        assert_eq!(request.header("x-token"), Some("abc"));
        assert_eq!(
            request.header("tidegate-seq"),
            Some((at + 1).to_string().as_str())
        );
        assert!(request.header("webhook-signature").unwrap().starts_with("v1,"));
        assert_eq!(request.body["type"], types[at]);
        assert_eq!(request.body["version"], 1);
        assert_eq!(request.body["data"]["stream"], "cam");
        assert!(request.body.get("hook_index").is_none());
    }
    assert_eq!(own[0].body["data"]["origin"], "rtmp_push");
    assert_eq!(own[2].body["data"]["role"], "player");

    let both = of("zlm-form");
    assert_eq!(both.len(), 5);
    assert_eq!(both[0].body["hook_index"], 0, "a counter of its own");
    assert_eq!(both[0].body["regist"], true);
    assert!(both[0].header("webhook-signature").is_none());
    let keyed = of("keyed");
    let last = both
        .iter()
        .find(|request| request.body["type"] == "stream.offline");
    assert!(last.is_some());
    assert_eq!(
        both[0].header("webhook-id"),
        keyed[0].header("webhook-id"),
        "the same event has the same id everywhere"
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_or_fails_is_in_nobodys_way() {
    let receiver = Receiver::new(|request| {
        if request.line.contains("/bad") {
            super::script::Reply::Hang
        } else {
            response(200, "")
        }
    });
    let running = Running::start(over(
        with(&[endpoint("bad", []), endpoint("good", [])]),
        &receiver,
    ));
    for stream in 0..300 {
        running.hooks.notify(&report(&stream.to_string()));
    }
    receiver
        .until(|receiver| {
            let received = receiver.received();
            received
                .iter()
                .filter(|request| request.line.contains("/good"))
                .count()
                == 300
        })
        .await;
    let hanging = receiver.received().len() - 300;
    assert_eq!(hanging, crate::notify::MAX_IN_FLIGHT, "no more than that at once");
}

#[tokio::test(start_paused = true)]
async fn a_durable_endpoint_is_tried_by_its_schedule_and_after_an_outage_at_once() {
    let down = Arc::new(Mutex::new(true));
    let is_down = down.clone();
    let receiver = Receiver::new(move |_| {
        if *is_down.lock() {
            response(500, "")
        } else {
            response(202, "")
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with(&[endpoint("a", [("durable", "1")])]);
    settings.store = Some((folder.path().to_owned(), 16 << 20));
    let running = Running::start(over(settings, &receiver));
    let start = Instant::now();
    running.hooks.notify(&report("x"));
    receiver.until(|receiver| receiver.received().len() == 3).await;
    let tried: Vec<_> = receiver
        .received()
        .iter()
        .map(|request| (request.at - start).as_secs())
        .collect();
    assert!(
        (4..=6).contains(&tried[1]) && (28..=42).contains(&tried[2]),
        "{tried:?}"
    );
    // Ten more streams open the breaker; the end of the outage is noticed by its probe, not by the schedule.
    for stream in 0..10 {
        running.hooks.notify(&report(&stream.to_string()));
    }
    receiver.until(|receiver| receiver.received().len() >= 10).await;
    *down.lock() = false;
    let up = Instant::now();
    assert_eq!(running.drain(Duration::from_secs(3600)).await, 0);
    assert!(up.elapsed() < Duration::from_secs(61), "{:?}", up.elapsed());
    assert!(!metric(&running.hooks, "hook_dropped_total{endpoint=\"a\""));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_is_switched_off_and_keeps_its_events() {
    let receiver = Receiver::new(|_| response(410, ""));
    let folder = tempfile::tempdir().unwrap();
    let mut settings = with(&[endpoint("a", [("durable", "1")])]);
    settings.store = Some((folder.path().to_owned(), 16 << 20));
    let running = Running::start(over(settings.clone(), &receiver));
    running.hooks.notify(&report("x"));
    receiver.until(|receiver| receiver.received().len() == 1).await;
    running.hooks.notify(&report("y"));
    assert_eq!(running.drain(Duration::from_secs(3600)).await, 2);
    assert_eq!(receiver.received().len(), 1);
    assert!(metric(&running.hooks, "hook_endpoint_disabled{endpoint=\"a\"} 1"));
    running.hooks.enable_endpoint("a").unwrap();
    // Both streams are tried once more before it is switched off again.
    receiver.until(|receiver| receiver.received().len() >= 3).await;
    let received = receiver.received();
    let attempts: Vec<_> = received
        .iter()
        .filter(|request| request.header("webhook-id") == received[0].header("webhook-id"))
        .map(|request| request.header("tidegate-attempt").unwrap())
        .collect();
    assert_eq!(attempts, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_endpoint_is_forgotten_and_a_new_one_gets_what_happens_from_now_on() {
    let receiver = Receiver::new(|request| {
        if request.line.contains("/old") {
            response(500, "")
        } else {
            response(200, "")
        }
    });
    let running = Running::start(over(with(&[endpoint("old", [])]), &receiver));
    running.hooks.notify(&report("x"));
    receiver.until(|receiver| receiver.received().len() == 1).await;
    running.hooks.apply(with(&[endpoint("new", [])]));
    assert_eq!(running.drain(Duration::from_secs(1)).await, 0);
    running.hooks.notify(&report("y"));
    assert_eq!(running.drain(Duration::from_secs(1)).await, 0);
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert!(received[1].line.contains("/new"));
    assert!(metric(
        &running.hooks,
        "hook_dropped_total{endpoint=\"old\",reason=\"removed\"} 1"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_endpoint_that_is_gone_means_nothing_to_one_that_came_in_its_place() {
    let receiver = Receiver::new(|request| {
        if request.body["data"]["stream"] == "slow" {
            super::script::Reply::Hang
        } else {
            response(200, "")
        }
    });
    let one = || with(&[endpoint("a", [])]);
    let running = Running::start(over(one(), &receiver));
    running.hooks.notify(&report("slow"));
    receiver.until(|receiver| receiver.received().len() == 1).await;
    running.hooks.apply(with(&[]));
    running.hooks.apply(one());
    running.hooks.notify(&report("x"));
    // Longer than the call that hangs may take.
    assert_eq!(running.drain(Duration::from_secs(30)).await, 0);
    receiver.until(|receiver| *receiver.abandoned.lock() == 1).await;
    running.hooks.notify(&report("y"));
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(receiver.received().len(), 3);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_state_wins_only_after_the_stream_was_held_up() {
    let down = Arc::new(Mutex::new(true));
    let is_down = down.clone();
    let receiver = Receiver::new(move |_| if *is_down.lock() { response(500, "") } else { yes() });
    let mut settings = with(&[endpoint(
        "a",
        [("events", "on_stream_changed"), ("newest_wins", "1")],
    )]);
    settings.retry = 100;
    let running = Running::start(over(settings, &receiver));
    let flap = |times: usize| {
        for _ in 0..times {
            running.hooks.notify(&registered("cam", Schema::Rtmp));
            running.hooks.notify(&removed("cam", ""));
        }
    };
    flap(2);
    assert_eq!(running.drain(Duration::from_secs(31)).await, 4);
    flap(3);
    assert_eq!(
        running.hooks.notifications_waiting(),
        2,
        "the first, which is being tried, and the newest"
    );
    *down.lock() = false;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    let received = receiver.received();
    assert_eq!(received.last().unwrap().body["regist"], false);
}

#[tokio::test(start_paused = true)]
async fn every_own_event_fits_its_schema() {
    let receiver = Receiver::new(|_| response(200, ""));
    let running = Running::start(over(with(&[endpoint("a", [])]), &receiver));
    let mut with_tracks = registered("cam", Schema::Rtmp);
    if let Event::Registered { info } = &mut with_tracks {
        info.tracks = super::script::tracks();
    }
    let file = crate::RecordedFile {
        name: "2026-11-24/12/00-00_0.ts".to_owned(),
        folder: "/srv/www/live/cam".into(),
        size: 7,
        start: Duration::from_millis(1_796_000_000_123),
        length: Duration::from_millis(1999),
    };
    for event in [
        Event::ServerStarted { config: Vec::new() },
        with_tracks,
        Event::RecordTs {
            key: key("cam"),
            params: String::new(),
            file: Box::new(file),
        },
        removed("cam", ""),
        Event::FlowReport {
            access: access("cam"),
            bytes: 1,
            duration: Duration::from_millis(1500),
            player: false,
        },
        Event::Keepalive(crate::object::Statistic::default()),
        Event::ServerExited,
    ] {
        running.hooks.notify(&event);
    }
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    let received = receiver.received();
    for event in crate::own::OwnEvent::ALL {
        let request = received
            .iter()
            .find(|request| request.body["type"] == event.name())
            .unwrap_or_else(|| panic!("{} was not sent", event.name()));
        let schema = serde_json::from_str(event.schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&request.body)
            .map(|error| error.to_string())
            .collect();
        assert!(
            errors.is_empty(),
            "{}: {errors:?}\n{}",
            event.name(),
            request.body
        );
        // What the event has is in its schema, and what the schema asks for cannot be left out.
        let data = request.body["data"].as_object().unwrap();
        let known = schema["properties"]["data"]["properties"].as_object().unwrap();
        for member in data.keys() {
            assert!(
                known.contains_key(member),
                "{}: {member} is not described",
                event.name()
            );
        }
        let mut lacking = request.body.clone();
        lacking["data"].as_object_mut().unwrap().remove("server_id");
        assert!(!validator.is_valid(&lacking));
    }
}

#[test]
fn the_configuration_knows_the_events() {
    use crate::own::OwnEvent;
    assert_eq!(
        config::hook_endpoint::OWN_EVENTS,
        OwnEvent::ALL.map(OwnEvent::name)
    );
    let told: Vec<&str> = Hook::ALL
        .into_iter()
        .filter(|hook| !hook.is_question())
        .map(Hook::name)
        .collect();
    assert_eq!(config::hook_endpoint::ZLM_EVENTS.to_vec(), told);
    let secret = crate::sign::new_secret();
    let text = Secret::expose(&secret);
    assert!(
        HookEndpoint::default()
            .change([("name", "a"), ("url", "http://h"), ("secret", text)])
            .is_ok()
    );
}
