//! Who may play and publish, and streams that open and close because of RTSP players.

use super::wire::{Hand, TCP};
use super::*;
use rtp::rtcp::Rtcp;
use serde_json::json;
use testkit::hook::{Answer, HookServer, Request};
use testkit::server::TestServer;

const WITH_REALM: &[&str] = &[
    "on_publish",
    "on_play",
    "on_rtsp_realm",
    "on_rtsp_auth",
    "on_stream_changed",
    "on_stream_none_reader",
    "on_stream_not_found",
    "on_flow_report",
];

/// A service that knows one user: `alice` with the password `secret`.
fn knows_alice(request: &Request) -> Answer {
    match request.hook.as_str() {
        "on_rtsp_realm" => Answer::Json(json!({"code": 0, "realm": "the cameras"})),
        "on_rtsp_auth" if request.body["user_name"] == "alice" => {
            Answer::Json(json!({"code": 0, "passwd": "secret", "encrypted": false}))
        }
        "on_rtsp_auth" if request.body["user_name"] == "bob" && request.body["must_no_encrypt"] == false => {
            // MD5("bob:the cameras:pw")
            Answer::Json(json!({"code": 0, "encrypted": true, "passwd": md5_hex("bob:the cameras:pw")}))
        }
        "on_rtsp_auth" => Answer::Json(json!({"code": -1, "msg": "nobody"})),
        _ => Answer::ok(),
    }
}

async fn guarded(config: &str) -> Result<(HookServer, TestServer)> {
    let hooks = HookServer::start(knows_alice).await?;
    let server = serve(&format!(
        "{}[general]\nflowThreshold=0\n{config}",
        hooks.ini(WITH_REALM)
    ))
    .await?;
    Ok((hooks, server))
}

async fn plays(url: &str) -> Result<bool> {
    let args = [
        "-v",
        "error",
        "-rtsp_transport",
        "tcp",
        "-i",
        url,
        "-t",
        "0.5",
        "-c",
        "copy",
        "-f",
        "null",
        "-",
    ];
    Ok(Tool::ffmpeg()
        .args(args)
        .spawn()?
        .wait(SOON)
        .await?
        .status
        .success())
}

#[tokio::test]
async fn digest_lets_in_who_knows_the_password() -> Result<()> {
    let (hooks, server) = guarded("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = |user: &str| server.url_rtsp("live/cam").replace("//", &format!("//{user}@"));
    assert!(plays(&url("alice:secret")).await?);
    assert!(plays(&url("bob:pw")).await?, "a password kept as its hash");
    for user in ["alice:wrong", "mallory:secret", "bob:secret"] {
        assert!(!plays(&url(user)).await?, "{user}");
    }
    assert!(!plays(&server.url_rtsp("live/cam")).await?, "without a password");
    assert!(
        hooks.received("on_play").is_empty(),
        "authentication stands in its place"
    );
    let call = hooks.received("on_rtsp_auth").remove(0);
    assert_eq!(
        (
            &call.body["user_name"],
            &call.body["realm"],
            &call.body["must_no_encrypt"]
        ),
        (&json!("alice"), &json!("the cameras"), &json!(false))
    );
    Ok(())
}

#[tokio::test]
async fn basic_is_used_where_it_is_asked_for() -> Result<()> {
    let (hooks, server) = guarded("[rtsp]\nauthBasic=1\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = |user: &str| server.url_rtsp("live/cam").replace("//", &format!("//{user}@"));
    assert!(plays(&url("alice:secret")).await?);
    assert!(!plays(&url("alice:wrong")).await?);
    assert_eq!(hooks.received("on_rtsp_auth")[0].body["must_no_encrypt"], true);
    Ok(())
}

#[tokio::test]
async fn a_challenge_names_both_algorithms_and_a_wrong_answer_ends_the_connection() -> Result<()> {
    let (_hooks, server) = guarded("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    let challenged = hand.ask("DESCRIBE", &url, &[]).await?;
    assert_eq!(challenged.status, 401);
    let challenges = challenged.headers("WWW-Authenticate");
    assert!(
        challenges
            .iter()
            .all(|challenge| challenge.starts_with("Digest realm=\"the cameras\"")),
        "{challenges:?}"
    );
    assert!(
        challenges.iter().any(|challenge| challenge.contains("SHA-256")),
        "{challenges:?}"
    );
    let nonce = challenges[0]
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a nonce");
    let wrong = format!(
        "Authorization: Digest username=\"alice\", realm=\"the cameras\", nonce=\"{nonce}\", uri=\"{url}\", response=\"{}\"",
        "0".repeat(32)
    );
    assert_eq!(hand.ask("DESCRIBE", &url, &[&wrong]).await?.status, 401);
    assert!(hand.closed().await?);
    Ok(())
}

/// The service is down: nobody gets in by RTSP authentication, whatever the password.
#[tokio::test]
async fn a_failed_question_for_the_realm_locks_the_door() -> Result<()> {
    let mut hooks = HookServer::start(knows_alice).await?;
    let more = "retry=0\ntimeoutSec=1\n";
    let server = serve(&format!(
        "{}{more}",
        hooks.ini(&["on_rtsp_realm", "on_rtsp_auth"])
    ))
    .await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    hooks.down().await;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    let challenged = hand.ask("DESCRIBE", &url, &[]).await?;
    assert_eq!(challenged.status, 401);
    assert!(challenged.headers("WWW-Authenticate")[0].contains("unAuthedRealm"));
    assert!(!plays(&url.replace("//", "//alice:secret@")).await?);
    Ok(())
}

fn closing(request: &Request) -> Answer {
    match request.hook.as_str() {
        "on_stream_none_reader" => Answer::Json(json!({"code": 0, "close": true})),
        _ => Answer::ok(),
    }
}

/// Fifty players on a missing stream: one hook, one session on the camera, and everybody plays.
#[tokio::test]
async fn fifty_players_of_a_missing_stream_cause_one_hook_and_one_session_on_the_camera() -> Result<()> {
    let (camera, _publisher) = camera("").await?;
    let hooks = HookServer::start(closing).await?;
    let server = serve_hooked(&hooks, "").await?;
    let url = server.url_rtsp("live/cam");
    let mut hands = Vec::new();
    for _ in 0..50 {
        let mut hand = Hand::connect(&server).await?;
        hand.send("DESCRIBE", &url, &[], "").await?;
        hands.push(hand);
    }
    hooks.wait_for_count("on_play", 50, SOON).await;
    let source = camera.url_rtsp("live/source");
    let answer = server.api("addStreamProxy", &proxy("live", "cam", &source)).await;
    assert_eq!(answer["code"], 0, "{answer}");
    for hand in &mut hands {
        assert_eq!(hand.reply().await?.status, 200);
        let described = hand.ask("SETUP", &format!("{url}/streamid=0"), &[TCP]).await?;
        assert_eq!(described.status, 200);
        assert_eq!(hand.ask("PLAY", &url, &[]).await?.status, 200);
    }
    for hand in &mut hands {
        while hand.packet().await?.0 != 0 {}
    }
    assert_eq!(players(&server, "rtsp", "live", "cam").await, 50);
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    assert_eq!(players(&camera, "rtsp", "live", "source").await, 1);
    drop(hands);
    let asked = hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    assert_eq!(asked.body["schema"], "rtsp");
    offline(&server, "live", "cam").await;
    camera
        .poll("the camera is left alone", SOON, async |camera| {
            (players(camera, "rtsp", "live", "source").await == 0).then_some(())
        })
        .await;
    Ok(())
}

/// As the README has it: a pattern of names, and no hook service.
#[tokio::test]
async fn a_rule_opens_a_camera_for_whoever_watches() -> Result<()> {
    let (camera, _publisher) = camera("").await?;
    let rule = format!(
        "[[source]]\npattern = \"cam/(?<name>[a-z]+)\"\nurl = \"{}/${{name}}\"\nclose_after = 0.3\n",
        camera.url_rtsp("live")
    );
    let server = tidegate().toml(rule).start().await?;
    let mut viewer = FlvViewer::open(&server, "cam/source").await?;
    assert!(viewer.picture().await?.key);
    drop(viewer);
    offline(&server, "cam", "source").await;
    camera
        .poll("the camera is left alone", SOON, async |camera| {
            (players(camera, "rtsp", "live", "source").await == 0).then_some(())
        })
        .await;
    Ok(())
}

/// A camera that reboots: the pull finds it again, and a player that waits gets pictures.
#[tokio::test]
async fn a_camera_that_disappears_is_found_again() -> Result<()> {
    let (camera, publisher) = camera("").await?;
    let server = serve("[proxy]\nretry_min_ms=100\nretry_step_ms=100\n").await?;
    let source = camera.url_rtsp("live/source");
    let answer = server.api("addStreamProxy", &proxy("live", "cam", &source)).await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&server, "live", "cam").await;
    publisher.terminate(SOON).await?;
    offline(&server, "live", "cam").await;
    let _again = publish_rtsp_live(&camera, "live/source", Over::Tcp).await?;
    online(&server, "live", "cam").await;
    assert_eq!(
        codecs(Over::Tcp, &server.url_rtsp("live/cam")).await?,
        ["h264", "aac"]
    );
    Ok(())
}

/// A publisher whose connection breaks may come back; its players stay and see pictures again.
#[tokio::test]
async fn a_publisher_that_comes_back_keeps_its_players() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "[protocol]\ncontinue_push_ms=10000\n").await?;
    let publisher = publish_rtsp_live(&server, "live/cam", Over::Tcp).await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::playing(&server, &url, "streamid=0").await?;
    publisher.kill().await?;
    let parameters = [("schema", "rtsp"), ("app", "live"), ("stream", "cam")];
    server
        .poll("the stream is kept for its publisher", SOON, async |server| {
            let list = server.api("getMediaList", &parameters).await;
            (list["data"][0]["originTypeStr"] == "unknown").then_some(())
        })
        .await;
    let _again = publish_rtsp(Fixture::H264Aac, Over::Tcp, &url).await?;
    hooks.wait_for_count("on_publish", 2, SOON).await;
    server
        .poll("the publisher is back", SOON, async |server| {
            let list = server.api("getMediaList", &parameters).await;
            (list["data"][0]["originTypeStr"] == "rtsp_push").then_some(())
        })
        .await;
    // Sequence numbers go on over the change of the publisher.
    let mut last: Option<u16> = None;
    let mut seen = 0;
    while seen < 200 {
        let (channel, packet) = hand.packet().await?;
        if channel != 0 {
            continue;
        }
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        if let Some(last) = last {
            assert_eq!(sequence, last.wrapping_add(1));
        }
        last = Some(sequence);
        seen += 1;
    }
    Ok(())
}

/// TEARDOWN is a goodbye: nothing is kept.
#[tokio::test]
async fn a_publisher_that_says_goodbye_is_gone_at_once() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "[protocol]\ncontinue_push_ms=60000\n").await?;
    let publisher = publish_rtsp_live(&server, "live/cam", Over::Tcp).await?;
    let list = server.api("getMediaList", &[("schema", "rtsp")]).await;
    let media = &list["data"][0];
    assert_eq!(
        (&media["originTypeStr"], &media["originType"]),
        (&json!("rtsp_push"), &json!(2))
    );
    assert_eq!(media["originUrl"], json!(server.url_rtsp("live/cam")));
    publisher.terminate(SOON).await?;
    offline(&server, "live", "cam").await;
    let report = hooks
        .wait_for_call("on_flow_report", |call| call.body["player"] == false, SOON)
        .await;
    assert!(
        report.body["totalBytes"].as_u64() > Some(1_000),
        "{}",
        report.body
    );
    assert_eq!(report.body["protocol"], "rtsp");
    Ok(())
}

/// A stream that ends tells its RTSP players: a goodbye for each track, then the end of the connection.
#[tokio::test]
async fn players_are_told_the_end() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::playing(&server, &url, "trackID=0").await?;
    let parameters = [("app", "live"), ("stream", "cam"), ("force", "1")];
    server.api("close_streams", &parameters).await;
    loop {
        let (channel, packet) = hand.packet().await?;
        let says_bye = |report: Result<Rtcp, _>| matches!(report, Ok(Rtcp::Bye { .. }));
        if channel == 1 && Rtcp::parse(&packet).any(says_bye) {
            break;
        }
    }
    assert!(hand.closed().await?);
    Ok(())
}

/// A player that is kicked is gone at once, and counted as a player until then.
#[tokio::test]
async fn players_are_listed_and_can_be_cut() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::playing(&server, &url, "trackID=0").await?;
    let parameters = [
        ("schema", "rtsp"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "cam"),
    ];
    let list = server.api("getMediaPlayerList", &parameters).await;
    let player = &list["data"][0];
    assert_eq!(player["typeid"], "mediakit::RtspSession");
    let id = player["identifier"].as_str().expect("an id").to_owned();
    assert_eq!(server.api("kick_session", &[("id", &id)]).await["code"], 0);
    assert!(hand.closed().await?);
    Ok(())
}
