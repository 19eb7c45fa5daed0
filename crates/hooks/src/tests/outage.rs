//! A receiver that takes questions and never answers: who waits, how long, and who does not wait at all.

use super::script::{Memory, Receiver, Reply, access, not_found, play, settings, yes};
use crate::failure::Class;
use crate::{Answered, Hook, Hooks, Settings};
use futures_util::future::join_all;
use lifecycle::{Ask, Outcome};
use prometheus_client::registry::Registry;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const ALL: [Hook; 2] = [Hook::Play, Hook::StreamNotFound];

fn hooks(settings: Settings, receiver: &Receiver) -> Hooks {
    let memory = Memory::of(&[("receiver", receiver)]);
    Hooks::over(settings, "Tidegate(test)", memory, Memory::of(&[])).0
}

fn metric(hooks: &Hooks, name: &str) -> String {
    let mut registry = Registry::default();
    hooks.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is a String");
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found
        .unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
        .trim()
        .to_owned()
}

fn failed(answered: &Answered, class: Class) -> bool {
    answered.class() == Some(class) && matches!(answered.outcome, Outcome::Play(Err(_)))
}

#[tokio::test(start_paused = true)]
async fn of_thirteen_hundred_players_256_are_asked_about_1024_wait_for_a_second_and_the_rest_fails_at_once() {
    let receiver = Receiver::new(|_| Reply::Hang);
    let hooks = hooks(settings(&ALL), &receiver);
    let asked = play();
    let limit = Duration::from_secs(15);
    let all = join_all((0..1300).map(|_| hooks.ask(&asked, Some(limit)))).await;
    let count = |class, took| {
        all.iter()
            .filter(|answered| failed(answered, class) && answered.took == took)
            .count()
    };
    // 10 s, a pause of 3 s, and the second attempt is cut.
    assert_eq!(count(Class::Timeout, limit), 256);
    assert_eq!(count(Class::Overload, Duration::from_secs(1)), 1024);
    assert_eq!(count(Class::Overload, Duration::ZERO), 20);
    assert_eq!(receiver.received().len(), 256 * 2);
    assert_eq!(
        metric(
            &hooks,
            "hook_requests_total{event=\"on_play\",endpoint=\"zlm\",result=\"overload\"}"
        ),
        "1044"
    );
    assert_eq!(metric(&hooks, "hook_inflight{plane=\"decision\"}"), "0");
    assert_eq!(metric(&hooks, "hook_queue_length{plane=\"decision\"}"), "0");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_makes_room_and_is_never_asked_about() {
    let receiver = Receiver::new(|_| Reply::Hang);
    let hooks = hooks(
        Settings {
            max_in_flight: 1,
            queue_len: 1,
            ..settings(&ALL)
        },
        &receiver,
    );
    let asked = play();
    let mut first = Box::pin(hooks.ask(&asked, None));
    assert!(timeout(Duration::from_millis(1), &mut first).await.is_err());
    let mut second = Box::pin(hooks.ask(&asked, None));
    assert!(timeout(Duration::from_millis(1), &mut second).await.is_err());
    assert_eq!(metric(&hooks, "hook_queue_length{plane=\"decision\"}"), "1");
    let crowded = hooks.ask(&asked, None).await;
    assert_eq!(
        (crowded.class(), crowded.took),
        (Some(Class::Overload), Duration::ZERO)
    );
    drop(second);
    assert_eq!(metric(&hooks, "hook_queue_length{plane=\"decision\"}"), "0");
    let mut third = Box::pin(hooks.ask(&asked, None));
    assert!(
        timeout(Duration::from_millis(1), &mut third).await.is_err(),
        "there is a place again"
    );
    drop(first);
    assert!(
        timeout(Duration::from_millis(1), &mut third).await.is_err(),
        "now it is asked about"
    );
    receiver.until(|receiver| receiver.received().len() == 2).await;
    assert_eq!(metric(&hooks, "hook_queue_length{plane=\"decision\"}"), "0");
    drop(third);
    receiver.until(|receiver| *receiver.abandoned.lock() == 2).await;
    assert_eq!(metric(&hooks, "hook_inflight{plane=\"decision\"}"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_the_first_players_their_deadline_and_the_later_ones_nothing() {
    let receiver = Receiver::new(|request| match request.stream() {
        "works" => yes(),
        _ => Reply::Hang,
    });
    let hooks = hooks(
        Settings {
            timeout: Duration::from_secs(2),
            retry: 1,
            retry_delay: Duration::from_secs(1),
            ..settings(&ALL)
        },
        &receiver,
    );
    let asked = play();
    let deadline = Duration::from_secs(5);
    for answered in join_all((0..10).map(|_| hooks.ask(&asked, None))).await {
        assert!(
            failed(&answered, Class::Timeout) && answered.took == deadline,
            "{answered:?}"
        );
    }
    let asked_so_far = receiver.received().len();
    let began = Instant::now();
    for answered in join_all((0..500).map(|_| hooks.ask(&asked, None))).await {
        assert!(
            failed(&answered, Class::BreakerOpen) && answered.took.is_zero(),
            "{answered:?}"
        );
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody has waited");
    assert_eq!(receiver.received().len(), asked_so_far);
    // Another URL of the same service is not concerned, nor does it have to share the bound with calls that hang.
    let works = Ask::NotFound {
        access: access("works"),
    };
    assert_eq!(hooks.ask(&works, None).await.took, Duration::ZERO);
    tokio::time::advance(Duration::from_secs(5)).await;
    let probes = join_all((0..100).map(|_| hooks.ask(&asked, None))).await;
    let waited = probes.iter().filter(|answered| !answered.took.is_zero()).count();
    assert_eq!(waited, 1, "one of them tries, for one attempt");
    assert_eq!(
        probes.iter().map(|answered| answered.took).max(),
        Some(Duration::from_secs(2))
    );
    assert!(hooks.ask(&not_found(), Some(deadline)).await.took <= deadline);
}
