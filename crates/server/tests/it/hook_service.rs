//! The hook service: bodies as captured from the reference, and everything that can be wrong with it.

use crate::clients::*;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::certificate::Authority;
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer};
use testkit::server::TestServer;
use testkit::tool::Tool;
use testkit::websocket;

const FAST: &str = "[hook]\nretry_delay=0.1\n";

/// Values that differ from run to run.
const VARYING: &[&str] = &[
    "hook_index",
    "id",
    "port",
    "mediaServerId",
    "stream",
    "params",
    "duration",
    "totalBytes",
];

#[tokio::test]
async fn bodies_are_those_of_the_reference() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let hook_names = [
        STREAM_HOOKS,
        &["on_server_started", "on_server_keepalive", "on_server_exited"],
    ]
    .concat();
    let config = format!(
        "{}alive_interval=1\n[general]\nstreamNoneReaderDelayMS=300\nflowThreshold=0\nmaxStreamWaitMS=500\n",
        hooks.ini(&hook_names)
    );
    let mut server = serve(&config).await?;
    let url = server.url_rtmp("live/cam?token=abc&user=u1");
    let publisher = publish(Fixture::H264Aac, &url).await?;
    online(&server, "live", "cam").await;
    let mut flv = FlvViewer::open(&server, "live/cam?token=p3").await?;
    flv.picture().await?;
    let mut ws =
        websocket::Client::connect(&format!("{}?k=v", server.url_ws_flv("live/cam")), None, SOON).await?;
    ws.read_until(1000, SOON).await?;
    drop((flv, ws));
    let missing = FlvViewer::open(&server, "live/missing?a=1").await?;
    assert_eq!(missing.status(), 404);
    let rtmp = Tool::ffmpeg()
        .args([
            "-v",
            "error",
            "-i",
            &server.url_rtmp("live/gone?x=y"),
            "-f",
            "null",
            "-",
        ])
        .spawn()?;
    assert!(!rtmp.wait(SOON).await?.status.success());

    let call = |hook: &'static str, is: fn(&Value) -> bool| {
        let hooks = &hooks;
        async move { hooks.wait_for_call(hook, move |call| is(&call.body), SOON).await }
    };
    call("on_publish", |_| true)
        .await
        .assert_like_golden("on_publish.rtmp_params", VARYING);
    call("on_play", |body| {
        body["protocol"] == "http" && body["stream"] == "cam"
    })
    .await
    .assert_like_golden("on_play.http_flv", VARYING);
    call("on_play", |body| body["protocol"] == "ws")
        .await
        .assert_like_golden("on_play.ws_flv", VARYING);
    call("on_play", |body| body["protocol"] == "rtmp")
        .await
        .assert_like_golden("on_play.rtmp_params", VARYING);
    let not_found = |body: &Value| body["protocol"] == "http";
    call("on_stream_not_found", not_found)
        .await
        .assert_like_golden("on_stream_not_found.http_flv", VARYING);
    let not_found = |body: &Value| body["protocol"] == "rtmp";
    call("on_stream_not_found", not_found)
        .await
        .assert_like_golden("on_stream_not_found.rtmp", VARYING);
    call("on_stream_none_reader", |_| true)
        .await
        .assert_like_golden("on_stream_none_reader.flv_push", VARYING);
    let changing = [
        VARYING,
        &[
            "createStamp",
            "aliveSecond",
            "bytesSpeed",
            "originSock",
            "originUrl",
            "tracks",
            "readerCount",
            "totalReaderCount",
            "isRecordingHLS",
        ],
    ]
    .concat();
    let registered = call("on_stream_changed", |body| {
        body["regist"] == true && body["schema"] == "rtmp"
    })
    .await;
    registered.assert_like_golden("on_stream_changed.regist_rtmp_rtmp_push", &changing);
    assert_eq!(
        registered.body["originUrl"],
        "rtmp://__defaultVhost__/live/cam?token=abc&user=u1"
    );
    let flow = |body: &Value| body["player"] == true && body["protocol"] == "http";
    call("on_flow_report", flow)
        .await
        .assert_like_golden("on_flow_report.http_flv_player", VARYING);

    publisher.terminate(SOON).await?;
    call("on_stream_changed", |body| {
        body["regist"] == false && body["schema"] == "rtmp"
    })
    .await
    .assert_like_golden("on_stream_changed.unregist_rtmp_rtmp_push", VARYING);
    call("on_flow_report", |body| body["player"] == false)
        .await
        .assert_like_golden("on_flow_report.rtmp_pusher", VARYING);
    call("on_server_keepalive", |_| true).await.assert_like_golden(
        "on_server_keepalive.default",
        &["hook_index", "mediaServerId", "data"],
    );
    assert!(server.stop(SOON).await?.success());
    call("on_server_exited", |_| true)
        .await
        .assert_like_golden("on_server_exited.sigint", &["hook_index", "mediaServerId"]);
    let started = call("on_server_started", |_| true).await;
    assert_eq!(started.body["general.flowThreshold"], "0", "all values are texts");
    assert_eq!(started.headers.get("content-type"), Some("application/json"));
    assert_eq!(started.headers.get("x-vhost"), None);
    assert_eq!(registered.headers.get("x-vhost"), Some("__defaultVhost__"));
    Ok(())
}

async fn refused_with(server: &TestServer, text: &str) -> Result<()> {
    let viewer = FlvViewer::open(server, "live/cam").await?;
    assert_eq!(viewer.status(), 401, "{text}: {}", viewer.head);
    let body = viewer.refusal().await?;
    assert!(body.starts_with(text), "{body:?} should begin with {text:?}");
    Ok(())
}

#[tokio::test]
async fn a_service_that_answers_wrongly_denies_and_live_viewers_see_nothing_of_it() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, &format!("{FAST}timeoutSec=1\n")).await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    let watching = tokio::spawn(async move {
        let mut last = viewer.picture().await?;
        for _ in 0..150 {
            let frame = viewer.picture().await?;
            // 25 pictures per second with B-frames: a lost one would leave a gap of 80 ms.
            assert!(
                (frame.dts - last.dts).as_millis() <= 45,
                "{:?} after {:?}",
                frame.dts,
                last.dts
            );
            last = frame;
        }
        anyhow::Ok(())
    });
    hooks.set_script(|_| Answer::Status(500));
    refused_with(&server, "[bad http status code]:500").await?;
    hooks.set_script(|_| Answer::Text("not json".into()));
    refused_with(&server, "[parse json failed]:").await?;
    hooks.set_script(|_| Answer::Json(json!({})));
    refused_with(&server, "[json code]:code not int:null").await?;
    hooks.set_script(|_| Answer::Json(json!([])));
    refused_with(&server, "[parse json failed]:").await?;
    hooks.set_script(|_| Answer::Close);
    refused_with(&server, "[network err]:").await?;
    hooks.set_script(|_| Answer::Never);
    let began = Instant::now();
    refused_with(&server, "[network err]:2(").await?;
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "two attempts of one second"
    );
    hooks.set_script(|_| Answer::refuse("denied"));
    refused_with(&server, "[auth failed]: code:-1 msg:\"denied\"").await?;
    hooks.set_script(|_| Answer::ok());
    assert_eq!(FlvViewer::open(&server, "live/cam").await?.status(), 200);
    watching.await??;
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_down_refuses_publishers_and_lets_players_wait() -> Result<()> {
    let mut hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, &format!("maxStreamWaitMS=800\n{FAST}on_play=\n")).await?;
    hooks.down().await;
    let refused = publish(Fixture::H264Aac, &server.url_rtmp("live/cam"))
        .await?
        .wait(SOON)
        .await?;
    assert!(!refused.status.success());
    let began = Instant::now();
    let waited = FlvViewer::open(&server, "live/cam").await?;
    assert_eq!(waited.status(), 404);
    assert!(
        began.elapsed() >= Duration::from_millis(800),
        "{:?}",
        began.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn certificates_of_the_service_are_verified() -> Result<()> {
    let authority = Authority::new()?;
    let identity = authority.issue(&["localhost"])?;
    let hooks = HookServer::start_tls(&identity, |_| Answer::ok()).await?;
    let url = hooks.url("on_play");
    let base = format!("[hook]\nenable=1\non_play={url}\nretry_delay=0.1\n");
    let server = serve(&base).await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    refused_with(&server, "[network err]:").await?;
    let ca = authority.file();
    let ca = ca.to_str().unwrap_or_default();
    assert_eq!(
        server.api("setServerConfig", &[("hook.ca_file", ca)]).await["changed"],
        1
    );
    assert_eq!(FlvViewer::open(&server, "live/cam").await?.status(), 200);
    assert_eq!(
        server
            .api("setServerConfig", &[("hook.ca_file", ""), ("hook.insecure", "1")])
            .await["changed"],
        2
    );
    assert_eq!(FlvViewer::open(&server, "live/cam").await?.status(), 200);
    Ok(())
}

async fn published_with(answer: Value) -> Result<(HookServer, TestServer, testkit::tool::Running)> {
    let hooks = HookServer::start(move |call| match call.hook.as_str() {
        "on_publish" => Answer::Json(answer.clone()),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "").await?;
    let publisher = publish(Fixture::H264Aac, &server.url_rtmp("live/cam")).await?;
    hooks
        .wait_for_call("on_stream_changed", |call| call.body["regist"] == true, SOON)
        .await;
    Ok((hooks, server, publisher))
}

async fn codecs(server: &TestServer, stream: &str) -> Vec<Value> {
    let parameters = [
        ("schema", "rtmp"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", stream),
    ];
    let info = server.api("getMediaInfo", &parameters).await;
    info["tracks"]
        .as_array()
        .map(|tracks| {
            tracks
                .iter()
                .map(|track| track["codec_id_name"].clone())
                .collect()
        })
        .unwrap_or_default()
}

#[tokio::test]
async fn the_answer_of_on_publish_overrides_options() -> Result<()> {
    let (_hooks, server, _publisher) = published_with(json!({"code": 0, "enable_audio": false})).await?;
    assert_eq!(codecs(&server, "cam").await, ["H264"]);

    let (_hooks, server, _publisher) = published_with(json!({"code": 0, "stream_replace": "other"})).await?;
    assert!(is_online(&server, "live", "other").await);
    assert!(!is_online(&server, "live", "cam").await);

    let (hooks, server, publisher) = published_with(json!({"code": 0, "continue_push_ms": 0})).await?;
    publisher.kill().await?;
    hooks
        .wait_for_call("on_stream_changed", |call| call.body["regist"] == false, SOON)
        .await;
    offline(&server, "live", "cam").await;
    Ok(())
}

#[tokio::test]
async fn duplicate_publishers_may_take_over_if_the_service_says_so() -> Result<()> {
    let (hooks, server, first) = published_with(json!({"code": 0, "duplicate_publish": "takeover"})).await?;
    let _second = publish(Fixture::H264Aac, &server.url_rtmp("live/cam")).await?;
    assert!(!first.wait(SOON).await?.status.success(), "the first one is cut");
    hooks.wait_for_count("on_stream_changed", 3, SOON).await;
    assert!(is_online(&server, "live", "cam").await);
    Ok(())
}
