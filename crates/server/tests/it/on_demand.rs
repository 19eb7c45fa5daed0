//! The main job: streams that open because somebody asks and close because nobody watches.

use crate::clients::*;
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::hook::{Answer, Gate, HookServer};
use testkit::server::TestServer;
use testkit::tool::Tool;
use testkit::websocket;

/// Answers none_reader with close=true and everything else with consent.
fn closing(request: &testkit::hook::Request) -> Answer {
    match request.hook.as_str() {
        "on_stream_none_reader" => Answer::Json(json!({"code": 0, "close": true})),
        _ => Answer::ok(),
    }
}

async fn camera() -> Result<(TestServer, testkit::tool::Running)> {
    let camera = serve("").await?;
    let publisher = publish_live(&camera, "live/source").await?;
    Ok((camera, publisher))
}

async fn players_of(camera: &TestServer) -> usize {
    players(camera, "rtmp", "live", "source").await
}

async fn the_whole_story(source: impl Fn(&TestServer) -> String) -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let hooks = HookServer::start(closing).await?;
    let server = serve_hooked(&hooks, "").await?;

    let opening = FlvViewer::ask(server.address("http"), "live/cam?token=a").await?;
    let asked = hooks.wait_for_call("on_stream_not_found", |_| true, SOON).await;
    assert_eq!(asked.stream(), "__defaultVhost__/live/cam");
    assert_eq!(hooks.received("on_play").len(), 1, "permission first");
    let answer = server
        .api("addStreamProxy", &proxy("live", "cam", &source(&camera)))
        .await;
    assert_eq!(answer["code"], 0, "{answer}");
    assert_eq!(answer["data"]["key"], "__defaultVhost__/live/cam");

    let mut viewer = opening.await?;
    assert_eq!(viewer.status(), 200);
    assert!(viewer.picture().await?.key, "the first picture is a key frame");
    for _ in 0..30 {
        viewer.picture().await?;
    }
    assert_eq!(players_of(&camera).await, 1);
    drop(viewer);

    hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    offline(&server, "live", "cam").await;
    assert_eq!(
        server.api("listStreamProxy", &[]).await,
        json!({"code": 0}),
        "the pull is gone"
    );
    camera
        .poll("the camera's player is gone", SOON, async |camera| {
            (players_of(camera).await == 0).then_some(())
        })
        .await;
    hooks
        .wait_for_call("on_stream_changed", |call| call.body["regist"] == false, SOON)
        .await;
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    assert_eq!(hooks.received("on_stream_none_reader").len(), 1);
    hooks
        .wait_for_call("on_flow_report", |call| call.body["player"] == true, SOON)
        .await;
    Ok(())
}

#[tokio::test]
async fn a_stream_opens_for_its_first_viewer_and_closes_after_the_last_over_rtmp() -> Result<()> {
    the_whole_story(|camera| camera.url_rtmp("live/source")).await
}

#[tokio::test]
async fn a_stream_opens_for_its_first_viewer_and_closes_after_the_last_over_http_flv() -> Result<()> {
    the_whole_story(|camera| {
        camera
            .url_flv("live/source")
            .replace(".live.flv", ".live.flv?from=test.flv")
    })
    .await
}

#[tokio::test]
async fn five_hundred_viewers_of_a_missing_stream_cause_one_hook_and_all_play() -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "").await?;
    let mut opening = Vec::new();
    for _ in 0..500 {
        opening.push(FlvViewer::ask(server.address("http"), "live/cam").await?);
    }
    hooks.wait_for_count("on_play", 500, SOON).await;
    let source = camera.url_rtmp("live/source");
    assert_eq!(
        server.api("addStreamProxy", &proxy("live", "cam", &source)).await["code"],
        0
    );
    let mut viewers = Vec::new();
    for opening in opening {
        viewers.push(opening.await?);
    }
    for viewer in &mut viewers {
        assert_eq!(viewer.status(), 200);
        assert!(viewer.picture().await?.key);
    }
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    assert_eq!(players_of(&camera).await, 1, "one pull");
    let metrics = server.get("/metrics").await?.text();
    let coalesced = "tidegate_hook_coalesced_total{event=\"on_stream_not_found\"} 499";
    assert!(metrics.lines().any(|line| line == coalesced), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn viewers_of_different_protocols_wait_together() -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "").await?;
    let rtmp = Tool::ffmpeg()
        .args([
            "-v",
            "error",
            "-i",
            &server.url_rtmp("live/cam"),
            "-t",
            "1",
            "-c",
            "copy",
            "-f",
            "null",
            "-",
        ])
        .spawn()?;
    let flv = FlvViewer::ask(server.address("http"), "live/cam").await?;
    let url = server.url_ws_flv("live/cam");
    let ws = tokio::spawn(async move { websocket::Client::connect(&url, None, SOON).await });
    hooks.wait_for_count("on_play", 3, SOON).await;
    let source = camera.url_rtmp("live/source");
    assert_eq!(
        server.api("addStreamProxy", &proxy("live", "cam", &source)).await["code"],
        0
    );
    assert!(flv.await?.picture().await?.key);
    assert_eq!(&ws.await??.read_until(3, SOON).await?[..3], b"FLV");
    let rtmp = rtmp.wait(SOON).await?;
    assert!(rtmp.status.success(), "{rtmp:?}");
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_source_that_fails_fails_its_viewers_at_once() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "maxStreamWaitMS=60000\n").await?;
    let opening = FlvViewer::ask(server.address("http"), "live/cam").await?;
    hooks.wait_for_call("on_stream_not_found", |_| true, SOON).await;
    let began = Instant::now();
    let answer = server
        .api(
            "addStreamProxy",
            &proxy("live", "cam", "rtmp://127.0.0.1:1/live/none"),
        )
        .await;
    assert_eq!(
        (&answer["code"], &answer["msg"]),
        (&json!(-1), &json!("connection refused"))
    );
    assert_eq!(opening.await?.status(), 404);
    assert!(began.elapsed() < SOON);
    Ok(())
}

#[tokio::test]
async fn close_true_ends_the_wait_and_silence_lasts_max_stream_wait() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_stream_not_found" if call.body["stream"] == "none" => {
            Answer::Json(json!({"code": 0, "close": true}))
        }
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "maxStreamWaitMS=1500\n").await?;
    let refused = FlvViewer::open(&server, "live/none").await?;
    assert_eq!(refused.status(), 404);
    let began = Instant::now();
    let waited = FlvViewer::open(&server, "live/other").await?;
    assert_eq!(waited.status(), 404);
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_viewer_that_returns_before_the_answer_keeps_the_stream() -> Result<()> {
    let gate = Gate::new();
    let held = gate.clone();
    let hooks = HookServer::start(move |call| match call.hook.as_str() {
        "on_stream_none_reader" => Answer::Json(json!({"code": 0, "close": true})).behind(&held),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    gate.open();
    for _ in 0..40 {
        viewer.picture().await?;
    }
    assert!(is_online(&server, "live", "cam").await);
    Ok(())
}

#[tokio::test]
async fn a_viewer_that_returns_after_the_answer_gets_the_stream_anew() -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let hooks = HookServer::start(closing).await?;
    let server = serve_hooked(&hooks, "").await?;
    let source = camera.url_rtmp("live/source");
    for round in 1..=3 {
        let opening = FlvViewer::ask(server.address("http"), "live/cam").await?;
        hooks.wait_for_count("on_stream_not_found", round, SOON).await;
        let added = server.api("addStreamProxy", &proxy("live", "cam", &source)).await;
        assert_eq!(added["code"], 0, "{added}");
        let mut viewer = opening.await?;
        assert!(
            viewer.picture().await?.key,
            "round {round}: it begins with a key frame"
        );
        drop(viewer);
        hooks.wait_for_count("on_stream_none_reader", round, SOON).await;
        // The next one comes as soon as the stream is gone.
        offline(&server, "live", "cam").await;
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_service_is_asked_again_until_it_closes_the_stream() -> Result<()> {
    let mut hooks = HookServer::start(closing).await?;
    let server = serve_hooked(&hooks, "[hook]\nretry=0\n").await?;
    let mut publisher = publish_live(&server, "live/cam").await?;
    hooks.down().await;
    let parameters = [("vhost", "__defaultVhost__"), ("app", "live"), ("stream", "cam")];
    server
        .poll("a question failed", SOON, async |server| {
            let view = server.api("getStreamTimeline", &parameters).await;
            let failed = |entry: &serde_json::Value| entry["event"] == "none_reader_failed";
            view["data"]["entries"]
                .as_array()
                .is_some_and(|entries| entries.iter().any(failed))
                .then_some(())
        })
        .await;
    hooks.up().await?;
    hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    offline(&server, "live", "cam").await;
    publisher = {
        let ended = publisher.wait(SOON).await?;
        assert!(!ended.status.success(), "the publisher was cut");
        publish(testkit::fixture::Fixture::H264Aac, &server.url_rtmp("live/next")).await?
    };
    drop(publisher);
    Ok(())
}

#[tokio::test]
async fn rules_open_and_close_streams_without_any_hook_service() -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let rule = format!(
        "[[source]]\npattern = \"cam/(?<name>[a-z]+)\"\nurl = \"{}/${{name}}\"\nclose_after = 0.3\n",
        camera.url_rtmp("live")
    );
    let server = tidegate().toml(rule).start().await?;
    let mut viewer = FlvViewer::open(&server, "cam/source").await?;
    assert_eq!(viewer.status(), 200);
    assert!(viewer.picture().await?.key);
    drop(viewer);
    offline(&server, "cam", "source").await;
    camera
        .poll("the pull is closed", SOON, async |camera| {
            (players_of(camera).await == 0).then_some(())
        })
        .await;
    Ok(())
}

#[tokio::test]
async fn a_rule_that_is_not_on_demand_is_there_before_anybody_asks() -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let url = camera.url_rtmp("live/source");
    let rule = format!("[[source]]\npattern = \"cam/always\"\nurl = \"{url}\"\non_demand = false\n");
    let server = tidegate().toml(rule).start().await?;
    online(&server, "cam", "always").await;
    Ok(())
}

#[tokio::test]
async fn one_call_per_player_can_be_restored() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "[hook]\nnot_found_per_player=1\n").await?;
    let mut opening = Vec::new();
    for _ in 0..3 {
        opening.push(FlvViewer::ask(server.address("http"), "live/cam").await?);
    }
    hooks.wait_for_count("on_stream_not_found", 3, SOON).await;
    Ok(())
}

#[tokio::test]
async fn auto_close_needs_no_answer() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_publish" => Answer::Json(json!({"code": 0, "auto_close": true})),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    offline(&server, "live", "cam").await;
    Ok(())
}

#[tokio::test]
async fn an_edge_server_pulls_from_its_origins_for_all_who_wait() -> Result<()> {
    let (camera, _publisher) = camera().await?;
    let hooks = HookServer::start_consenting().await?;
    let dead = "rtmp://127.0.0.1:1/%s/%s";
    let origins = format!("[cluster]\norigin_url={dead};{}\n", camera.url_rtmp("%s/%s"));
    let server = serve_hooked(&hooks, &origins).await?;
    let mut opening = Vec::new();
    for _ in 0..5 {
        opening.push(FlvViewer::ask(server.address("http"), "live/source?token=t").await?);
    }
    for opening in opening {
        assert!(opening.await?.picture().await?.key);
    }
    assert_eq!(players_of(&camera).await, 1);
    assert_eq!(
        hooks.received("on_stream_not_found").len(),
        0,
        "the origins decide"
    );
    let missing = FlvViewer::open(&server, "live/missing").await?;
    assert_eq!(missing.status(), 404);
    offline(&server, "live", "source").await;
    assert_eq!(
        hooks.received("on_stream_none_reader").len(),
        0,
        "and an edge closes by itself"
    );
    Ok(())
}
