//! What is decided without a call: kept verdicts, standing in for a receiver that is away, addresses that are blocked.

use super::script::{
    Memory, Receiver, Reply, access, kept, key, none_reader, publish, response, settings, yes,
};
use crate::admission::Filter;
use crate::failure::Class;
use crate::files::{Decision, Permission, Visit};
use crate::rtsp::{NoPassword, RealmAnswer, User};
use crate::throttle::Rules;
use crate::{Answered, Hook, Hooks, Settings};
use lifecycle::hook::PublishAnswer;
use lifecycle::{Access, Ask, Client, Outcome, Protocol, SessionId};
use media::ProtocolOptions;
use media::info::OriginType;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::advance;

/// A receiver whose answer can be changed.
#[derive(Clone)]
struct Mood(Arc<Mutex<Reply>>);

impl Mood {
    fn set(&self, reply: Reply) {
        *self.0.lock() = reply;
    }
}

fn scripted(settings: Settings, reply: Reply) -> (Hooks, Receiver, Mood) {
    let mood = Mood(Arc::new(Mutex::new(reply)));
    let now = mood.clone();
    let receiver = Receiver::new(move |_| now.0.lock().clone());
    let memory = Memory::of(&[("receiver", &receiver)]);
    let hooks = Hooks::over(settings, "Tidegate(test)", memory, Memory::of(&[])).0;
    (hooks, receiver, mood)
}

fn once(hooks: &[Hook]) -> Settings {
    Settings {
        retry: 0,
        ..settings(hooks)
    }
}

/// A player on another connection each time.
fn player(address: &str, change: impl FnOnce(&mut Access)) -> Ask {
    let mut access = access("cam1");
    access.client.addr = format!("{address}:{}", 1024 + rand::random::<u16>() / 2)
        .parse()
        .expect("an address");
    change(&mut access);
    Ask::Play { access }
}

fn someone() -> Ask {
    player("192.0.2.1", |_| {})
}

async fn allowed(hooks: &Hooks, ask: &Ask) -> bool {
    match hooks.ask(ask, None).await.outcome {
        Outcome::Play(verdict) => verdict.is_ok(),
        Outcome::Publish(verdict) => verdict.is_ok(),
        other => panic!("{other:?}"),
    }
}

fn text_of(answered: &Answered) -> &str {
    match &answered.outcome {
        Outcome::Play(Err(text)) | Outcome::Publish(Err(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_metrics(hooks: &Hooks, lines: &[&str]) {
    let mut registry = Registry::default();
    hooks.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is a String");
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "{line} is missing in\n{text}"
        );
    }
}

const NO: &str = r#"{"code":-1,"msg":"no"}"#;
const YES: &str = r#"{"code":0}"#;

#[tokio::test(start_paused = true)]
async fn without_consent_every_play_is_asked_about() {
    for header in ["0", "", "-1", "soon", "1.5", "99999999999999999999"] {
        let (hooks, receiver, _) = scripted(settings(&[Hook::Play]), kept(YES, header));
        for _ in 0..3 {
            assert!(allowed(&hooks, &someone()).await);
        }
        assert_eq!(receiver.received().len(), 3, "{header:?}");
    }
    let (hooks, receiver, _) = scripted(settings(&[Hook::Play]), yes());
    allowed(&hooks, &someone()).await;
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn with_consent_the_same_question_is_answered_here_for_so_long() {
    let (hooks, receiver, mood) = scripted(settings(&[Hook::Play]), kept(YES, "30"));
    assert!(allowed(&hooks, &someone()).await);
    mood.set(response(200, NO));
    advance(Duration::from_millis(29_999)).await;
    let got = hooks.ask(&someone(), None).await;
    assert_eq!(
        (got.outcome, got.attempts, got.failure),
        (Outcome::Play(Ok(())), 0, None)
    );
    assert_eq!(receiver.received().len(), 1);
    assert_metrics(
        &hooks,
        &[
            "hook_cache_hits_total{event=\"on_play\"} 1",
            "hook_cache_entries{table=\"cache\"} 1",
            "hook_cache_evictions_total{table=\"cache\"} 0",
        ],
    );
    advance(Duration::from_millis(1)).await;
    assert!(!allowed(&hooks, &someone()).await, "it is over");
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_receiver_says_consents_are_kept_for_ten_minutes_and_refusals_for_five_seconds() {
    let (hooks, receiver, mood) = scripted(settings(&[Hook::Play]), kept(YES, "86400"));
    allowed(&hooks, &someone()).await;
    advance(Duration::from_millis(599_999)).await;
    assert!(allowed(&hooks, &someone()).await);
    assert_eq!(receiver.received().len(), 1);
    mood.set(kept(NO, "86400"));
    advance(Duration::from_millis(1)).await;
    assert!(!allowed(&hooks, &someone()).await);
    advance(Duration::from_millis(4_999)).await;
    let got = hooks.ask(&someone(), None).await;
    assert_eq!(
        (text_of(&got), got.attempts),
        ("[auth failed]: code:-1 msg:\"no\"", 0)
    );
    assert_eq!(receiver.received().len(), 2);
    advance(Duration::from_millis(1)).await;
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_configuration_may_shorten_the_time_and_switch_it_off() {
    let limited = |seconds| Settings {
        cache_max: Duration::from_secs(seconds),
        ..settings(&[Hook::Play])
    };
    let (hooks, receiver, _) = scripted(limited(2), kept(YES, "30"));
    allowed(&hooks, &someone()).await;
    advance(Duration::from_secs(2)).await;
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 2);
    let (hooks, receiver, _) = scripted(limited(0), kept(YES, "30"));
    allowed(&hooks, &someone()).await;
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_one_client_lets_nobody_else_in() {
    let (hooks, receiver, mood) = scripted(settings(&[Hook::Play]), kept(YES, "30"));
    assert!(allowed(&hooks, &someone()).await);
    // The service has seen the token: it is good for no one else.
    mood.set(response(200, NO));
    let others = [
        player("192.0.2.2", |_| {}),
        player("192.0.2.1", |access| access.key = key("cam2")),
        player("192.0.2.1", |access| access.params.push('x')),
        player("192.0.2.1", |access| access.protocol = Protocol::Rtmps),
        player("192.0.2.1", |access| access.schema = media::Schema::Ts),
    ];
    for other in &others {
        assert!(!allowed(&hooks, other).await, "{other:?}");
    }
    assert_eq!(receiver.received().len(), 1 + others.len());
    assert!(allowed(&hooks, &someone()).await, "its own client");
}

#[tokio::test(start_paused = true)]
async fn the_address_may_be_left_out_by_key() {
    let shared = Settings {
        cache_by_address: false,
        ..settings(&[Hook::Play])
    };
    let (hooks, receiver, _) = scripted(shared, kept(YES, "30"));
    allowed(&hooks, &someone()).await;
    assert!(allowed(&hooks, &player("192.0.2.2", |_| {})).await);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_and_publishers_are_never_kept() {
    for body in ["{}", "x"] {
        let (hooks, receiver, mood) = scripted(once(&[Hook::Play]), kept(body, "30"));
        assert!(!allowed(&hooks, &someone()).await);
        mood.set(yes());
        assert!(allowed(&hooks, &someone()).await, "{body}");
        assert_eq!(receiver.received().len(), 2);
    }
    let (hooks, receiver, _) = scripted(once(&[Hook::Publish]), kept(YES, "30"));
    allowed(&hooks, &publish()).await;
    allowed(&hooks, &publish()).await;
    assert_eq!(receiver.received().len(), 2);
    assert_metrics(&hooks, &["hook_cache_entries{table=\"cache\"} 0"]);
}

#[tokio::test(start_paused = true)]
async fn verdicts_can_be_withdrawn() {
    let (hooks, receiver, mood) = scripted(settings(&[Hook::Play]), kept(YES, "300"));
    let cam2 = || player("192.0.2.1", |access| access.key = key("cam2"));
    allowed(&hooks, &someone()).await;
    allowed(&hooks, &cam2()).await;
    let stream = Filter {
        stream: Some("cam1"),
        ..Filter::default()
    };
    assert_eq!(hooks.withdraw_verdicts(&stream), 1);
    mood.set(response(200, NO));
    assert!(!allowed(&hooks, &someone()).await);
    assert!(allowed(&hooks, &cam2()).await, "another stream");
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(hooks.withdraw_verdicts(&Filter::default()), 1);
    assert!(!allowed(&hooks, &cam2()).await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_withdrawal_is_not_kept() {
    // Withdrawn when the question has arrived, and before its answer has.
    let late: Arc<OnceLock<Hooks>> = Arc::default();
    let withdraw = late.clone();
    let receiver = Receiver::new(move |request| {
        if request.nth == 1 {
            let hooks = withdraw.get().expect("set before the question");
            assert_eq!(hooks.withdraw_verdicts(&Filter::default()), 0);
        }
        kept(YES, "300")
    });
    let memory = Memory::of(&[("receiver", &receiver)]);
    let hooks = Hooks::over(settings(&[Hook::Play]), "Tidegate(test)", memory, Memory::of(&[])).0;
    assert!(late.set(hooks.clone()).is_ok());
    assert!(allowed(&hooks, &someone()).await);
    assert!(allowed(&hooks, &someone()).await);
    allowed(&hooks, &someone()).await;
    assert_eq!(
        receiver.received().len(),
        2,
        "it was asked again, and that answer is kept"
    );
}

#[tokio::test(start_paused = true)]
async fn other_settings_of_the_hook_withdraw_its_verdicts_and_unrelated_ones_do_not() {
    let (hooks, receiver, _) = scripted(settings(&[Hook::Play]), kept(YES, "300"));
    allowed(&hooks, &someone()).await;
    hooks.apply(Settings {
        timeout: Duration::from_secs(1),
        ..settings(&[Hook::Play, Hook::StreamChanged])
    });
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 1);
    let mut moved = settings(&[Hook::Play]);
    moved.set_url(Hook::Play, "http://receiver/other");
    hooks.apply(moved.clone());
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 2);
    hooks.apply(Settings {
        enable: false,
        ..moved.clone()
    });
    hooks.apply(moved);
    allowed(&hooks, &someone()).await;
    assert_eq!(receiver.received().len(), 3, "switched off and on again");
}

fn open(hooks: &[Hook]) -> Settings {
    Settings {
        fail_open: hooks.to_vec(),
        ..once(hooks)
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_a_receiver_that_is_away_lets_nobody_in() {
    let (hooks, _, _) = scripted(once(&[Hook::Play, Hook::Publish]), Reply::Close(Vec::new()));
    assert!(!allowed(&hooks, &someone()).await);
    assert!(!allowed(&hooks, &publish()).await);
}

#[tokio::test(start_paused = true)]
async fn by_key_a_receiver_that_is_away_is_stood_in_for_as_if_the_hook_were_off() {
    let (hooks, _, _) = scripted(open(&[Hook::Play, Hook::Publish]), Reply::Close(Vec::new()));
    let got = hooks.ask(&someone(), None).await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())));
    assert_eq!(
        (got.class(), got.attempts),
        (Some(Class::Reset), 1),
        "and why is known"
    );
    let defaults = PublishAnswer {
        options: ProtocolOptions::default(),
        takeover: None,
    };
    assert_eq!(
        hooks.ask(&publish(), None).await.outcome,
        Outcome::Publish(Ok(defaults))
    );
    assert_metrics(
        &hooks,
        &[
            "hook_fail_open_total{event=\"on_play\",kind=\"default\"} 1",
            "hook_fail_open_total{event=\"on_publish\",kind=\"default\"} 1",
        ],
    );
    let (hooks, _, _) = scripted(
        Settings {
            fail_open: vec![Hook::Play],
            ..once(&[Hook::Play, Hook::Publish])
        },
        Reply::Close(Vec::new()),
    );
    assert!(
        !allowed(&hooks, &publish()).await,
        "each event has its own switch"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_verdict_stands_for_five_minutes_a_refusal_too() {
    let (hooks, _, mood) = scripted(open(&[Hook::Play, Hook::Publish]), response(200, NO));
    let bad = || player("192.0.2.66", |_| {});
    assert!(!allowed(&hooks, &bad()).await);
    mood.set(response(200, r#"{"code":0,"enable_hls":false}"#));
    allowed(&hooks, &publish()).await;
    mood.set(Reply::Close(Vec::new()));
    advance(Duration::from_millis(299_999)).await;
    let got = hooks.ask(&bad(), None).await;
    assert_eq!(text_of(&got), "[auth failed]: code:-1 msg:\"no\"");
    let Outcome::Publish(Ok(answer)) = hooks.ask(&publish(), None).await.outcome else {
        panic!("refused")
    };
    assert!(!answer.options.enable_hls, "with the options of the last answer");
    assert_metrics(
        &hooks,
        &[
            "hook_fail_open_total{event=\"on_play\",kind=\"last_denied\"} 1",
            "hook_fail_open_total{event=\"on_publish\",kind=\"last_allowed\"} 1",
        ],
    );
    advance(Duration::from_millis(1)).await;
    assert!(allowed(&hooks, &bad()).await, "that was too long ago");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_never_taken_for_consent() {
    for reply in [
        response(200, NO),
        response(200, ""),
        response(200, r#"{"code":"-1"}"#),
        response(200, "{}"),
        response(401, ""),
        response(403, ""),
        response(302, ""),
        response(500, ""),
    ] {
        let (hooks, receiver, _) = scripted(open(&[Hook::Play]), reply.clone());
        // Also once the breaker is open because of them.
        for call in 0..20 {
            assert!(!allowed(&hooks, &someone()).await, "{call}: {reply:?}");
        }
        assert!(receiver.received().len() >= 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_behind_a_gateway_is_away_when_the_gateway_says_so_and_while_the_breaker_is_open() {
    for status in [502, 503, 504] {
        let (hooks, receiver, _) = scripted(open(&[Hook::Play]), response(status, ""));
        for _ in 0..20 {
            assert!(allowed(&hooks, &someone()).await, "{status}");
        }
        assert_eq!(receiver.received().len(), 10, "then it is not asked any more");
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_of_one_url_share_the_knowledge_why_its_breaker_is_open() {
    let shared = |reply| {
        let mut settings = open(&[Hook::Play]);
        settings.set_url(Hook::StreamNoneReader, "http://receiver/on_play");
        scripted(settings, reply)
    };
    for (reply, let_in) in [(Reply::Close(Vec::new()), true), (response(403, ""), false)] {
        let (hooks, receiver, _) = shared(reply);
        for _ in 0..10 {
            hooks.ask(&none_reader(), None).await;
        }
        let got = hooks.ask(&someone(), None).await;
        assert_eq!(got.class(), Some(Class::BreakerOpen));
        assert_eq!(got.outcome == Outcome::Play(Ok(())), let_in);
        assert_eq!(receiver.received().len(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn an_overload_opens_the_door_only_for_those_who_were_let_in_before() {
    let (hooks, _, mood) = scripted(
        Settings {
            max_in_flight: 1,
            timeout: Duration::from_secs(3),
            ..open(&[Hook::Play])
        },
        yes(),
    );
    assert!(allowed(&hooks, &someone()).await);
    mood.set(Reply::Hang);
    let (stranger, other) = (player("192.0.2.9", |_| {}), player("192.0.2.10", |_| {}));
    let known = someone();
    let (first, refused, let_in) = tokio::join!(
        hooks.ask(&stranger, None),
        hooks.ask(&other, None),
        hooks.ask(&known, None)
    );
    assert_eq!(first.class(), Some(Class::Timeout));
    assert_eq!(first.outcome, Outcome::Play(Ok(())));
    assert_eq!(refused.class(), Some(Class::Overload));
    assert!(matches!(refused.outcome, Outcome::Play(Err(_))));
    assert_eq!(let_in.class(), Some(Class::Overload));
    assert_eq!(let_in.outcome, Outcome::Play(Ok(())));
}

fn client(address: &str) -> Client {
    Client {
        session: SessionId(7),
        id: "7-12".to_owned(),
        addr: format!("{address}:5000").parse().expect("an address"),
    }
}

async fn read(hooks: &Hooks, address: &str, headers: &[(&str, &str)]) -> Permission {
    let client = client(address);
    let visit = Visit {
        client: &client,
        path: "/record/a.mp4",
        file_path: "/srv/www/record/a.mp4",
        is_dir: false,
        params: "token=x",
        headers,
    };
    hooks.http_access(&visit, None).await
}

fn decided(denied: Option<&str>, seconds: u64) -> Permission {
    Permission::Decided(Decision {
        denied: denied.map(str::to_owned),
        scope: String::new(),
        remember: Duration::from_secs(seconds),
    })
}

#[tokio::test(start_paused = true)]
async fn files_fail_open_to_the_last_decision_or_to_the_rule_of_addresses() {
    let answer = r#"{"code":0,"second":600}"#;
    let (hooks, _, mood) = scripted(open(&[Hook::HttpAccess]), response(200, answer));
    assert_eq!(
        read(&hooks, "192.0.2.1", &[("Cookie", "a")]).await,
        decided(None, 600)
    );
    mood.set(response(200, r#"{"code":0,"err":"no","second":600}"#));
    assert_eq!(read(&hooks, "192.0.2.2", &[]).await, decided(Some("no"), 600));
    mood.set(Reply::Close(Vec::new()));
    let again = [("Range", "bytes=0-"), ("Cookie", "a")];
    assert_eq!(
        read(&hooks, "192.0.2.1", &again).await,
        decided(None, 0),
        "for this request"
    );
    assert_eq!(read(&hooks, "192.0.2.2", &[]).await, decided(Some("no"), 0));
    assert_eq!(
        read(&hooks, "192.0.2.1", &[("Cookie", "b")]).await,
        Permission::Unasked
    );
    mood.set(response(200, r#"{"code":0,"err":["no"]}"#));
    let Permission::Failed(failure) = read(&hooks, "192.0.2.1", &again).await else {
        panic!("an unreadable refusal must not let in");
    };
    assert_eq!(failure.class, Class::BadMember);
}

fn throttled(hooks: &[Hook]) -> Settings {
    Settings {
        throttle: Rules {
            limit: 10,
            window: Duration::from_secs(60),
            block: Duration::from_secs(60),
        },
        ..once(hooks)
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_refused_ten_times_is_refused_here_for_a_while_and_nobody_else() {
    let (hooks, receiver, mood) = scripted(throttled(&[Hook::Play]), response(200, NO));
    let bad = || {
        player("192.0.2.66", |access| {
            access.params = format!("token={}", rand::random::<u64>())
        })
    };
    for _ in 0..10 {
        assert!(!allowed(&hooks, &bad()).await);
    }
    mood.set(yes());
    let got = hooks.ask(&bad(), None).await;
    assert_eq!(
        (text_of(&got), got.attempts, got.took),
        ("[auth failed]: too many refused requests", 0, Duration::ZERO)
    );
    assert_eq!(receiver.received().len(), 10);
    assert_metrics(
        &hooks,
        &[
            "hook_throttled_total{event=\"on_play\"} 1",
            "hook_cache_entries{table=\"refused_addresses\"} 1",
        ],
    );
    assert!(allowed(&hooks, &someone()).await);
    advance(Duration::from_secs(60)).await;
    assert!(allowed(&hooks, &bad()).await, "the time is over");
}

#[tokio::test(start_paused = true)]
async fn failures_are_no_refusals_and_by_default_nobody_is_blocked() {
    let (hooks, _, mood) = scripted(throttled(&[Hook::Play]), response(500, ""));
    for _ in 0..9 {
        allowed(&hooks, &someone()).await;
    }
    mood.set(yes());
    for _ in 0..3 {
        assert!(allowed(&hooks, &someone()).await);
    }
    let (hooks, receiver, _) = scripted(once(&[Hook::Play]), response(200, NO));
    for _ in 0..50 {
        allowed(&hooks, &someone()).await;
    }
    assert_eq!(receiver.received().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_all_kinds_count_together_and_block_all_kinds() {
    let all = [
        Hook::Play,
        Hook::Publish,
        Hook::HttpAccess,
        Hook::RtspRealm,
        Hook::RtspAuth,
    ];
    let (hooks, receiver, mood) = scripted(throttled(&all), response(200, NO));
    let player = || player("192.0.2.66", |_| {});
    let Ask::Play { access } = player() else {
        panic!("a player")
    };
    let publisher = Ask::Publish {
        access: access.clone(),
        origin: OriginType::RtmpPush,
    };
    let user = User {
        name: "u",
        realm: "r",
        plain_needed: false,
    };
    for _ in 0..2 {
        allowed(&hooks, &player()).await;
        allowed(&hooks, &publisher).await;
        hooks.rtsp_realm(&access, None).await;
        hooks.rtsp_auth(&access, &user, None).await.unwrap_err();
    }
    mood.set(response(200, r#"{"code":0,"err":"no"}"#));
    assert_eq!(read(&hooks, "192.0.2.66", &[]).await, decided(Some("no"), 0));
    hooks.wrong_password(&access);
    mood.set(yes());
    let asked = receiver.received().len();
    assert_eq!(asked, 9);
    assert!(!allowed(&hooks, &player()).await && !allowed(&hooks, &publisher).await);
    assert!(matches!(
        read(&hooks, "192.0.2.66", &[]).await,
        Permission::Failed(_)
    ));
    assert!(matches!(
        hooks.rtsp_realm(&access, None).await,
        RealmAnswer::Failed(_)
    ));
    assert!(matches!(
        hooks.rtsp_auth(&access, &user, None).await,
        Err(NoPassword::Failed(_))
    ));
    assert_eq!(receiver.received().len(), asked, "nobody was asked");
    assert_metrics(&hooks, &["hook_throttled_total{event=\"on_rtsp_realm\"} 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_local_refusal_is_never_failed_open_and_a_kept_consent_outlives_a_block() {
    let (hooks, _, mood) = scripted(
        Settings {
            fail_open: vec![Hook::Play],
            ..throttled(&[Hook::Play])
        },
        kept(YES, "60"),
    );
    let good = || player("192.0.2.66", |access| access.params = "token=good".to_owned());
    assert!(allowed(&hooks, &good()).await);
    mood.set(response(200, NO));
    for nth in 0..10 {
        let guess = player("192.0.2.66", |access| access.params = format!("token={nth}"));
        assert!(!allowed(&hooks, &guess).await);
    }
    mood.set(Reply::Close(Vec::new()));
    let guess = player("192.0.2.66", |_| {});
    assert_eq!(
        text_of(&hooks.ask(&guess, None).await),
        "[auth failed]: too many refused requests"
    );
    assert!(
        allowed(&hooks, &good()).await,
        "a viewer behind the same address that was let in before"
    );
}

#[tokio::test(start_paused = true)]
async fn questions_about_streams_are_not_concerned() {
    let (hooks, receiver, _) = scripted(
        throttled(&[Hook::StreamNoneReader]),
        kept(r#"{"code":0,"close":true}"#, "60"),
    );
    for _ in 0..3 {
        hooks.ask(&none_reader(), None).await;
    }
    assert_eq!(receiver.received().len(), 3);
}
