//! News: order, schedule, bounds, and that they are in nobody's way.

use super::script::{Memory, Received, Receiver, Reply, access, key, play, response, settings, yes};
use crate::hook::Hook;
use crate::notify::{Driver, Event, MAX_IN_FLIGHT};
use crate::object::Statistic;
use crate::{Hooks, Settings};
use lifecycle::{Notice, Outcome};
use media::Schema;
use media::info::{MediaInfo, OriginInfo, OriginType};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

const NEWS: [Hook; 5] = [
    Hook::StreamChanged,
    Hook::FlowReport,
    Hook::ServerStarted,
    Hook::ServerExited,
    Hook::ServerKeepalive,
];

pub struct Running {
    pub hooks: Hooks,
    stop: oneshot::Sender<()>,
    driver: JoinHandle<()>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub fn start((hooks, mut driver): (Hooks, Driver)) -> Self {
        let writer = driver.take_store().map(|(writer, flusher)| {
            std::thread::spawn(|| flusher.run());
            std::thread::spawn(|| writer.run())
        });
        let (stop, stopped) = oneshot::channel();
        let driver = tokio::spawn(driver.run(async {
            let _ = stopped.await;
        }));
        Self {
            hooks,
            stop,
            driver,
            writer,
        }
    }

    pub async fn drain(&self, limit: Duration) -> usize {
        self.hooks.drain(Instant::now() + limit).await
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.driver.await.unwrap();
        if let Some(writer) = self.writer {
            writer.join().unwrap();
        }
    }
}

pub fn over(settings: Settings, receiver: &Receiver) -> (Hooks, Driver) {
    Hooks::over(
        settings,
        "Tidegate(test)",
        Memory::of(&[]),
        Memory::of(&[("receiver", receiver)]),
    )
}

fn running(settings: Settings, receiver: &Receiver) -> Running {
    Running::start(over(settings, receiver))
}

pub fn removed(stream: &str, params: &str) -> Event {
    Event::Removed {
        key: key(stream),
        schema: Schema::Rtmp,
        params: params.to_owned(),
    }
}

pub fn report(stream: &str) -> Event {
    Event::FlowReport {
        access: access(stream),
        bytes: 1,
        duration: Duration::ZERO,
        player: true,
    }
}

fn labels(requests: &[Received]) -> Vec<String> {
    let label = |request: &Received| {
        format!(
            "{}:{}",
            request.stream(),
            request.body["params"].as_str().unwrap()
        )
    };
    requests.iter().map(label).collect()
}

pub fn metric(hooks: &Hooks, line: &str) -> bool {
    metrics(hooks).lines().any(|found| found == line)
}

/// A counter by its name and labels; 0 if it has not counted yet.
pub fn counter(hooks: &Hooks, name: &str) -> u64 {
    let text = metrics(hooks);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    lines.next().map_or(0, |value| value.trim().parse().unwrap())
}

fn metrics(hooks: &Hooks) -> String {
    let mut registry = Registry::default();
    hooks.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_per_stream_while_the_first_fails_and_others_go_ahead() {
    let failed = Mutex::new(HashSet::new());
    let receiver = Receiver::new(move |request| {
        let first = request.stream() == "a" && failed.lock().insert(request.body["params"].to_string());
        if first { response(500, "") } else { yes() }
    });
    let running = running(settings(&NEWS), &receiver);
    for (stream, params) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")] {
        running.hooks.notify(&removed(stream, params));
    }
    let start = Instant::now();
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    let received = receiver.received();
    assert_eq!(labels(&received), ["a:1", "b:1", "b:2", "a:1", "a:2", "a:2"]);
    assert_eq!(received[3].header("webhook-id"), received[0].header("webhook-id"));
    assert_eq!(received[3].header("tidegate-attempt"), Some("2"));
    assert_eq!(received[0].header("tidegate-event"), Some("on_stream_changed"));
    assert_eq!(received[0].header("x-vhost"), Some("__defaultVhost__"));
    let indexes: HashSet<_> = received
        .iter()
        .map(|request| request.body["hook_index"].as_u64())
        .collect();
    assert_eq!(indexes.len(), 6, "each attempt has a number of its own");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_attempts_all_fail_is_lost_and_counted_and_a_refused_one_is_not_tried_again() {
    let receiver = Receiver::new(|request| match request.stream() {
        "lost" => response(500, ""),
        _ => response(200, r#"{"code":-1,"msg":"no"}"#),
    });
    let running = running(
        Settings {
            retry: 2,
            ..settings(&NEWS)
        },
        &receiver,
    );
    running.hooks.notify(&removed("lost", ""));
    running.hooks.notify(&removed("refused", ""));
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(
        labels(&receiver.received()),
        ["lost:", "refused:", "lost:", "lost:"]
    );
    assert!(metric(
        &running.hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"failed\"} 1"
    ));
    assert!(metric(
        &running.hooks,
        "hook_requests_total{event=\"on_stream_changed\",endpoint=\"zlm\",result=\"denied\"} 1"
    ));
    assert!(metric(
        &running.hooks,
        "hook_requests_total{event=\"on_stream_changed\",endpoint=\"zlm\",result=\"status\"} 3"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_receiver_of_news_holds_up_no_decision() {
    let hanging = Receiver::new(|_| Reply::Hang);
    let answering = Receiver::new(|_| yes());
    let mut settings = settings(&NEWS);
    settings.set_url(Hook::Play, "http://receiver/on_play");
    let hooks = Hooks::over(
        settings,
        "Tidegate(test)",
        Memory::of(&[("receiver", &answering)]),
        Memory::of(&[("receiver", &hanging)]),
    );
    let running = Running::start(hooks);
    for stream in 0..1000 {
        running.hooks.notify(&removed(&stream.to_string(), ""));
    }
    hanging
        .until(|hanging| hanging.received().len() == MAX_IN_FLIGHT)
        .await;
    let got = running.hooks.ask(&play(), None).await;
    assert_eq!((got.outcome, got.took), (Outcome::Play(Ok(())), Duration::ZERO));
    tokio::task::yield_now().await;
    assert_eq!(
        hanging.received().len(),
        MAX_IN_FLIGHT,
        "no more than that at once"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_keepalive_waits() {
    let receiver = Receiver::new(|_| yes());
    let (hooks, driver) = over(settings(&NEWS), &receiver);
    for count in 1..=3 {
        hooks.notify(&Event::Keepalive(Statistic {
            socket: count,
            ..Statistic::default()
        }));
    }
    hooks.notify(&Event::ServerExited);
    let running = Running::start((hooks, driver));
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].body["data"]["Socket"], 3);
    assert_eq!(received[0].header("x-vhost"), None);
    assert_eq!(received[1].header("tidegate-event"), Some("on_server_exited"));
    assert_eq!(received[1].body.as_object().unwrap().len(), 2);
    assert!(metric(
        &running.hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"superseded\"} 2"
    ));
}

#[tokio::test(start_paused = true)]
async fn what_is_off_or_filtered_is_not_even_queued() {
    let receiver = Receiver::new(|_| yes());
    let mut settings = settings(&[Hook::StreamChanged]);
    settings.stream_changed_schemas = vec!["rtsp".to_owned(), "hls".to_owned()];
    let (hooks, _driver) = over(settings, &receiver);
    hooks.notify(&removed("a", ""));
    hooks.notify(&report("a"));
    assert_eq!(hooks.notifications_waiting(), 0);
    hooks.notify(&Event::Removed {
        key: key("a"),
        schema: Schema::Hls,
        params: String::new(),
    });
    assert_eq!(hooks.notifications_waiting(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_switched_off_meanwhile_is_not_called() {
    let receiver = Receiver::new(|_| response(500, ""));
    let running = running(settings(&NEWS), &receiver);
    running.hooks.notify(&removed("a", ""));
    receiver.until(|receiver| receiver.received().len() == 1).await;
    running.hooks.apply(settings(&[]));
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(receiver.received().len(), 1);
    assert!(metric(
        &running.hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"switched_off\"} 1"
    ));
}

#[tokio::test(start_paused = true)]
async fn while_a_receiver_keeps_failing_events_wait_for_it_instead_of_being_lost() {
    let down = Arc::new(Mutex::new(true));
    let is_down = down.clone();
    let receiver = Receiver::new(move |_| if *is_down.lock() { response(503, "") } else { yes() });
    let running = running(
        Settings {
            retry: 0,
            ..settings(&NEWS)
        },
        &receiver,
    );
    for stream in 0..10 {
        running.hooks.notify(&removed(&format!("lost{stream}"), ""));
    }
    assert_eq!(running.drain(Duration::from_secs(1)).await, 0);
    running.hooks.notify(&removed("kept", "1"));
    running.hooks.notify(&removed("kept", "2"));
    assert_eq!(running.drain(Duration::from_secs(12)).await, 2);
    assert_eq!(receiver.received().len(), 11, "ten lost, and one probe after 5 s");
    *down.lock() = false;
    assert_eq!(running.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(labels(&receiver.received()[11..]), ["kept:1", "kept:2"]);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_no_longer_than_told_and_what_is_left_is_counted() {
    let receiver = Receiver::new(|_| Reply::Hang);
    let running = running(settings(&NEWS), &receiver);
    running.hooks.notify(&removed("a", "1"));
    running.hooks.notify(&removed("a", "2"));
    let start = Instant::now();
    assert_eq!(running.drain(Duration::from_secs(5)).await, 2);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    let hooks = running.hooks.clone();
    running.stop().await;
    assert!(metric(
        &hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"shutdown\"} 2"
    ));
    assert!(metric(&hooks, "hook_queue_length{plane=\"notification\"} 0"));
    assert!(metric(&hooks, "hook_inflight{plane=\"notification\"} 0"));
    hooks.notify(&removed("a", "3"));
    assert!(metric(
        &hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"shutdown\"} 3"
    ));
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_drops_reports_before_states() {
    let (hooks, _driver) = over(settings(&NEWS), &Receiver::new(|_| yes()));
    hooks.notify(&report("a"));
    for stream in 0..crate::notify::MAX_EVENTS {
        hooks.notify(&removed(&stream.to_string(), ""));
    }
    assert_eq!(hooks.notifications_waiting(), crate::notify::MAX_EVENTS);
    assert!(metric(
        &hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"queue_full\"} 1"
    ));
    hooks.notify(&Event::ServerExited);
    assert_eq!(hooks.notifications_waiting(), crate::notify::MAX_EVENTS);
    assert!(metric(
        &hooks,
        "hook_dropped_total{endpoint=\"zlm\",reason=\"queue_full\"} 2"
    ));
}

#[tokio::test(start_paused = true)]
async fn notices_of_the_engine_become_events() {
    let receiver = Receiver::new(|_| yes());
    let mut settings = settings(&NEWS);
    settings.stream_changed_schemas = vec!["rtmp".to_owned()];
    let running = running(settings, &receiver);
    let info = MediaInfo {
        key: key("cam1"),
        schema: Schema::Rtmp,
        params: String::new(),
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
    let changed = |schema, registered| Notice::StreamChanged {
        key: key("cam1"),
        incarnation: 1,
        schema,
        registered,
        params: String::new(),
    };
    running.hooks.tell(changed(Schema::Ts, true), |_, _| {
        panic!("looked up although it is filtered")
    });
    running.hooks.tell(changed(Schema::Rtmp, true), |_, _| None);
    running.hooks.tell(changed(Schema::Rtmp, true), |_, _| Some(info));
    running.hooks.tell(changed(Schema::Rtmp, false), |_, _| {
        panic!("looked up although it is removed")
    });
    let access = access("cam1");
    let flow = Notice::FlowReport {
        access,
        bytes: 5,
        duration: Duration::from_millis(2999),
        player: false,
    };
    running.hooks.tell(flow, |_, _| None);
    assert_eq!(running.drain(Duration::from_secs(5)).await, 0);
    let bodies: Vec<_> = receiver
        .received()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert_eq!(bodies.len(), 3);
    assert_eq!(
        (&bodies[0]["regist"], &bodies[1]["regist"]),
        (&true.into(), &false.into())
    );
    assert_eq!(
        (&bodies[2]["duration"], &bodies[2]["player"]),
        (&2.into(), &false.into())
    );
}

#[tokio::test(start_paused = true)]
async fn keepalive_follows_the_settings() {
    let (hooks, _driver) = over(settings(&[]), &Receiver::new(|_| yes()));
    let start = Instant::now();
    assert!(
        timeout(Duration::from_secs(3600), hooks.keepalive_due(start))
            .await
            .is_err(),
        "off"
    );
    let on = |seconds| Settings {
        alive_interval: Duration::from_secs(seconds),
        ..settings(&[Hook::ServerKeepalive])
    };
    let waiting = tokio::spawn({
        let hooks = hooks.clone();
        async move {
            hooks.keepalive_due(start).await;
            Instant::now()
        }
    });
    tokio::task::yield_now().await;
    let switched_on = Instant::now();
    hooks.apply(on(30));
    tokio::task::yield_now().await;
    advance(Duration::from_secs(5)).await;
    hooks.apply(on(10));
    assert_eq!(
        waiting.await.unwrap() - switched_on,
        Duration::from_secs(10),
        "re-timed, from the switching on"
    );
    let last = Instant::now();
    hooks.keepalive_due(last).await;
    assert_eq!(last.elapsed(), Duration::from_secs(10));
    hooks.apply(Settings {
        enable: false,
        ..on(10)
    });
    assert!(
        timeout(Duration::from_secs(3600), hooks.keepalive_due(last))
            .await
            .is_err(),
        "off again"
    );
}
