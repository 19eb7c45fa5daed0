//! Access to files: answers, failures, the hook switched off.

use super::script::{Memory, Receiver, Reply, response, settings, yes};
use crate::failure::{Class, MAX_TEXT};
use crate::files::{Decision, MAX_REMEMBERED, Permission, Visit};
use crate::{Hook, Hooks, Settings};
use lifecycle::{Client, SessionId};
use std::time::Duration;

async fn ask(settings: Settings, receiver: &Receiver) -> Permission {
    let receivers = Memory::of(&[("receiver", receiver)]);
    let hooks = Hooks::over(settings, "Tidegate(test)", receivers, Memory::of(&[])).0;
    let client = Client {
        session: SessionId(7),
        id: "7-12".to_owned(),
        addr: "192.0.2.1:5000".parse().expect("an address"),
    };
    let visit = Visit {
        client: &client,
        path: "/record/a.mp4",
        file_path: "/srv/www/record/a.mp4",
        is_dir: false,
        params: "token=%20x",
        headers: &[("X-Test", "first"), ("x-test", "other"), ("X-Test", "last")],
    };
    hooks.http_access(&visit, None).await
}

fn on() -> Settings {
    Settings {
        retry: 0,
        ..settings(&[Hook::HttpAccess])
    }
}

async fn answered(reply: Reply) -> Permission {
    ask(on(), &Receiver::new(move |_| reply.clone())).await
}

fn decided(denied: Option<&str>, scope: &str, seconds: u64) -> Permission {
    Permission::Decided(Decision {
        denied: denied.map(str::to_owned),
        scope: scope.to_owned(),
        remember: Duration::from_secs(seconds),
    })
}

#[tokio::test(start_paused = true)]
async fn the_answer_says_whether_where_and_how_long() {
    for (answer, expected) in [
        (r#"{"code":0}"#, decided(None, "", 0)),
        (
            r#"{"code":0,"err":"","path":"","second":0}"#,
            decided(None, "", 0),
        ),
        (
            r#"{"code":0,"err":null,"path":"/record/","second":60}"#,
            decided(None, "/record/", 60),
        ),
        (
            r#"{"code":0,"err":"pay first","second":60.9}"#,
            decided(Some("pay first"), "", 60),
        ),
        // As in ZLM: a boolean becomes a text, and any text denies.
        (
            r#"{"code":0,"err":false,"second":true}"#,
            decided(Some("false"), "", 1),
        ),
        (r#"{"code":0,"second":-1}"#, decided(None, "", 0)),
        (
            r#"{"code":0,"second":9223372036854775807}"#,
            decided(None, "", MAX_REMEMBERED.as_secs()),
        ),
    ] {
        assert_eq!(answered(response(200, answer)).await, expected, "{answer}");
    }
    let long = format!(r#"{{"code":0,"err":"{}"}}"#, "ü".repeat(MAX_TEXT));
    let Permission::Decided(decision) = answered(response(200, long)).await else {
        panic!("decided");
    };
    assert_eq!(decision.denied.map(|text| text.len()), Some(MAX_TEXT));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_lets_nobody_in() {
    for (reply, class) in [
        (Reply::Hang, Class::Timeout),
        (response(500, ""), Class::Status),
        (response(200, "x"), Class::BadJson),
        (response(200, r#"{"code":-1,"msg":"no"}"#), Class::Denied),
        (response(200, r#"{"code":0,"second":"60"}"#), Class::BadMember),
        (response(200, r#"{"code":0,"err":[]}"#), Class::BadMember),
        (
            response(200, format!(r#"{{"code":0,"path":"/{}"}}"#, "a".repeat(4096))),
            Class::BadMember,
        ),
    ] {
        let got = answered(reply).await;
        assert!(
            matches!(&got, Permission::Failed(failure) if failure.class == class),
            "{class:?}: {got:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_question_has_no_vhost_and_the_last_of_equal_headers() {
    let receiver = Receiver::new(|_| yes());
    assert_eq!(ask(on(), &receiver).await, decided(None, "", 0));
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].header("x-vhost"), None);
    assert_eq!(received[0].header("tidegate-event"), Some("on_http_access"));
    assert_eq!(received[0].body["header.X-Test"], "last");
    assert_eq!(received[0].body["header.x-test"], "other");
    assert_eq!(received[0].body["params"], "token=%20x");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_off_decides_nothing() {
    let receiver = Receiver::new(|_| panic!("asked"));
    assert_eq!(ask(settings(&[]), &receiver).await, Permission::Unasked);
    let off = Settings {
        enable: false,
        ..on()
    };
    assert_eq!(ask(off, &receiver).await, Permission::Unasked);
}
