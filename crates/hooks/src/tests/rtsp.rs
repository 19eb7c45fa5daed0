//! Realm and password of RTSP players: answers, failures, switched-off hooks.

use super::script::{Memory, Receiver, Reply, access, response, settings, yes};
use crate::failure::Class;
use crate::rtsp::{NoPassword, Password, RealmAnswer, UNAUTHED_REALM, User};
use crate::{Hook, Hooks, Settings};
use lifecycle::{Access, Protocol};
use media::Schema;
use std::time::Duration;
use tokio::time::Instant;

fn player() -> Access {
    Access {
        schema: Schema::Rtsp,
        protocol: Protocol::Rtsps,
        ..access("cam1")
    }
}

const USER: User<'static> = User {
    name: "user1",
    realm: "zlm_realm",
    plain_needed: false,
};

fn hooks(settings: Settings, receiver: &Receiver) -> Hooks {
    let receivers = Memory::of(&[("receiver", receiver)]);
    Hooks::over(settings, "Tidegate(test)", receivers, Memory::of(&[])).0
}

fn both() -> Settings {
    Settings {
        timeout: Duration::from_secs(3),
        retry: 1,
        retry_delay: Duration::from_secs(1),
        ..settings(&[Hook::RtspRealm, Hook::RtspAuth])
    }
}

async fn realm(reply: Reply) -> RealmAnswer {
    let receiver = Receiver::new(move |_| reply.clone());
    hooks(both(), &receiver).rtsp_realm(&player(), None).await
}

async fn password(reply: Reply) -> Result<Password, NoPassword> {
    let receiver = Receiver::new(move |_| reply.clone());
    hooks(both(), &receiver).rtsp_auth(&player(), &USER, None).await
}

fn is(text: &str, encrypted: bool) -> Result<Password, NoPassword> {
    Ok(Password {
        text: text.to_owned(),
        encrypted,
    })
}

#[tokio::test(start_paused = true)]
async fn the_answer_names_the_realm_or_none() {
    for (answer, expected) in [
        (
            r#"{"code":0,"realm":"zlm_realm"}"#,
            RealmAnswer::Realm("zlm_realm".to_owned()),
        ),
        (r#"{"code":0,"realm":7}"#, RealmAnswer::Realm("7".to_owned())),
        (r#"{"code":0,"realm":""}"#, RealmAnswer::Open),
        (r#"{"code":0,"realm":null}"#, RealmAnswer::Open),
        (r#"{"code":0}"#, RealmAnswer::Open),
    ] {
        assert_eq!(realm(response(200, answer)).await, expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_realm_call_demands_a_realm_that_nobody_can_satisfy() {
    for (reply, class) in [
        (Reply::Hang, Class::Timeout),
        (response(500, ""), Class::Status),
        (response(200, "x"), Class::BadJson),
        (response(200, r#"{"code":1,"realm":"r"}"#), Class::Denied),
        (response(200, r#"{"code":0,"realm":[]}"#), Class::BadMember),
        (response(200, r#"{"code":0,"realm":"a\r\nb"}"#), Class::BadMember),
    ] {
        let got = realm(reply).await;
        assert_eq!(got.realm(), Some(UNAUTHED_REALM));
        assert!(
            matches!(&got, RealmAnswer::Failed(failure) if failure.class == class),
            "{got:?}"
        );
    }
    let receiver = Receiver::new(|_| panic!("asked"));
    let user = User {
        realm: UNAUTHED_REALM,
        ..USER
    };
    let got = hooks(both(), &receiver).rtsp_auth(&player(), &user, None).await;
    assert_eq!(got, Err(NoPassword::RealmFailed));
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_the_password_or_its_digest() {
    for (answer, expected) in [
        (r#"{"code":0,"passwd":"secret"}"#, is("secret", false)),
        (r#"{"code":0,"passwd":"S","encrypted":false}"#, is("S", false)),
        (r#"{"code":0,"passwd":123456}"#, is("123456", false)),
        (
            r#"{"code":0,"passwd":"ABCDEF","encrypted":1}"#,
            is("abcdef", true),
        ),
    ] {
        assert_eq!(password(response(200, answer)).await, expected, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_password_call_is_a_wrong_password() {
    for (reply, class) in [
        (Reply::Hang, Class::Timeout),
        (response(404, ""), Class::Status),
        (response(200, r#"{"code":-1,"passwd":"p"}"#), Class::Denied),
        (response(200, r#"{"code":0,"passwd":{}}"#), Class::BadMember),
        // A service that does not know the user; ZLM takes it for an empty password.
        (yes(), Class::BadMember),
        (
            response(200, r#"{"code":0,"passwd":"p","encrypted":"yes"}"#),
            Class::BadMember,
        ),
    ] {
        let got = password(reply).await;
        assert!(
            matches!(&got, Err(NoPassword::Failed(failure)) if failure.class == class),
            "{got:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_are_off_let_players_in_and_no_password() {
    let receiver = Receiver::new(|_| panic!("asked"));
    let switched_off = Settings {
        enable: false,
        ..both()
    };
    for settings in [settings(&[]), switched_off] {
        let hooks = hooks(settings, &receiver);
        assert_eq!(hooks.rtsp_realm(&player(), None).await, RealmAnswer::Open);
        assert_eq!(
            hooks.rtsp_auth(&player(), &USER, None).await,
            Err(NoPassword::Off)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_within_what_the_player_can_wait() {
    let receiver = Receiver::new(|received| {
        if received.body["hook_index"] == 0 {
            response(500, "")
        } else {
            response(200, r#"{"code":0,"realm":"r"}"#)
        }
    });
    let hooks = hooks(both(), &receiver);
    let started = Instant::now();
    let got = hooks.rtsp_realm(&player(), None).await;
    assert_eq!(
        (got.realm(), started.elapsed()),
        (Some("r"), Duration::from_secs(1))
    );
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].header("tidegate-event"), Some("on_rtsp_realm"));
    assert_eq!(received[0].body["protocol"], "rtsps");
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));

    let receiver = Receiver::new(|_| Reply::Hang);
    let hooks = super::rtsp::hooks(both(), &receiver);
    let started = Instant::now();
    let limit = Duration::from_millis(500);
    let got = hooks.rtsp_auth(&player(), &USER, Some(limit)).await;
    assert!(matches!(got, Err(NoPassword::Failed(_))));
    assert_eq!((started.elapsed(), receiver.received().len()), (limit, 1));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_stands_before_these_questions_too() {
    let receiver = Receiver::new(|_| response(500, ""));
    let hooks = hooks(Settings { retry: 0, ..both() }, &receiver);
    for _ in 0..10 {
        hooks.rtsp_auth(&player(), &USER, None).await.unwrap_err();
    }
    let got = hooks.rtsp_auth(&player(), &USER, None).await;
    assert!(matches!(&got, Err(NoPassword::Failed(failure)) if failure.class == Class::BreakerOpen));
    assert_eq!(receiver.received().len(), 10);
    assert_ne!(hooks.rtsp_realm(&player(), None).await, RealmAnswer::Open);
    assert_eq!(receiver.received().len(), 11, "another URL is another breaker");
}

#[tokio::test(start_paused = true)]
async fn passwords_are_not_shown() {
    let got = password(response(200, r#"{"code":0,"passwd":"sesame"}"#)).await;
    assert!(!format!("{got:?}").contains("sesame"), "{got:?}");
}
