//! Questions about clients: a service that takes them and never answers, clients that leave meanwhile, and answers without the service.

use crate::clients::*;
use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::hook::{Answer, HookServer};
use testkit::http::{self, Response};
use testkit::server::TestServer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A line of the metrics, without the prefix of their names.
async fn metric(server: &TestServer, name: &str) -> Option<String> {
    let text = server.get("/metrics").await.ok()?.text();
    let name = format!("tidegate_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map(str::to_owned)
}

async fn until(server: &TestServer, name: &str, wanted: &str) {
    server
        .poll(&format!("{name} is {wanted}"), SOON, async |server| {
            (metric(server, name).await.as_deref() == Some(wanted)).then_some(())
        })
        .await;
}

const IN_FLIGHT: &str = "hook_inflight{plane=\"decision\"}";

#[tokio::test]
async fn a_black_hole_fails_new_players_and_costs_live_ones_no_frame() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "[hook]\ntimeoutSec=1\nretry=0\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    let mut last = viewer.picture().await?;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let watching = tokio::spawn(async move {
        let mut pictures = 0;
        while stopped.try_recv().is_err() {
            let frame = viewer.picture().await?;
            // 25 pictures per second with B-frames: a lost one would leave a gap of 80 ms.
            assert!(
                (frame.dts - last.dts).as_millis() <= 45,
                "{:?} after {:?}",
                frame.dts,
                last.dts
            );
            last = frame;
            pictures += 1;
        }
        anyhow::Ok(pictures)
    });

    hooks.set_script(|_| Answer::Never);
    let mut opening = Vec::new();
    for _ in 0..10 {
        opening.push(FlvViewer::ask(server.address("http"), "live/cam").await?);
    }
    for opening in opening {
        let refused = opening.await?;
        assert_eq!(refused.status(), 401);
        let text = refused.refusal().await?;
        assert!(text.starts_with("[network err]:2("), "{text}");
    }
    let url = hooks.url("on_play");
    until(
        &server,
        &format!("hook_breaker_state{{plane=\"decision\",receiver=\"{url}\"}}"),
        "2",
    )
    .await;
    let asked = hooks.received("on_play").len();
    for _ in 0..20 {
        let refused = FlvViewer::open(&server, "live/cam").await?;
        assert_eq!(refused.status(), 401);
    }
    let probes = hooks.received("on_play").len() - asked;
    assert!(
        probes <= 10,
        "{probes} of 20 players were asked about although the breaker is open"
    );
    let open = "hook_requests_total{event=\"on_play\",endpoint=\"zlm\",result=\"breaker_open\"}";
    assert!(metric(&server, open).await.is_some());
    let _ = stop.send(());
    assert!(watching.await?? > 20);
    Ok(())
}

/// A request for `target` whose answer nobody waits for.
async fn request(address: SocketAddr, request: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(request.as_bytes()).await?;
    Ok(socket)
}

#[tokio::test]
async fn when_a_client_leaves_the_question_about_it_is_dropped() -> Result<()> {
    let hooks = HookServer::start(|_| Answer::Never).await?;
    let names = ["on_play", "on_http_access", "on_rtsp_realm"];
    // Longer than the test waits: only dropping the call can end it in time.
    let server = serve(&format!("{}timeoutSec=600\n", hooks.ini(&names))).await?;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let describe = format!(
        "DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        server.url_rtsp("live/cam")
    );
    for (listener, text, hook) in [
        ("http", get("/live/cam.live.flv"), "on_play"),
        ("http", get("/index.html"), "on_http_access"),
        ("rtsp", describe, "on_rtsp_realm"),
    ] {
        let client = request(server.address(listener), &text).await?;
        hooks.wait_for_call(hook, |_| true, SOON).await;
        until(&server, IN_FLIGHT, "1").await;
        drop(client);
        until(&server, IN_FLIGHT, "0").await;
        assert_eq!(hooks.received(hook).len(), 1, "{hook}");
    }
    Ok(())
}

#[tokio::test]
async fn a_question_about_a_stream_is_dropped_when_the_last_player_that_waits_for_it_leaves() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_stream_not_found" => Answer::Never,
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "maxStreamWaitMS=600000\n[hook]\ntimeoutSec=600\n").await?;
    let first = FlvViewer::ask(server.address("http"), "live/cam").await?;
    let second = FlvViewer::ask(server.address("http"), "live/cam").await?;
    hooks.wait_for_count("on_play", 2, SOON).await;
    let parameters = [("vhost", "__defaultVhost__"), ("app", "live"), ("stream", "cam")];
    let waiting = async |count: u64| {
        server
            .poll("they wait", SOON, async |server| {
                let view = server.api("getStreamTimeline", &parameters).await;
                (view["data"]["waiting"] == count).then_some(())
            })
            .await;
    };
    waiting(2).await;
    drop(first);
    waiting(1).await;
    assert_eq!(metric(&server, IN_FLIGHT).await.as_deref(), Some("1"));
    drop(second);
    until(&server, IN_FLIGHT, "0").await;
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_verdict_is_served_again_until_it_is_withdrawn() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_play" => Answer::ok().with_header("Tidegate-Cache-Seconds", "600"),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for _ in 0..5 {
        let mut viewer = FlvViewer::open(&server, "live/cam?token=a").await?;
        assert!(viewer.picture().await?.key);
    }
    assert_eq!(hooks.received("on_play").len(), 1);
    let hits = metric(&server, "hook_cache_hits_total{event=\"on_play\"}").await;
    assert_eq!(hits.as_deref(), Some("4"));
    assert_eq!(FlvViewer::open(&server, "live/cam?token=b").await?.status(), 200);
    assert_eq!(hooks.received("on_play").len(), 2, "another token");

    hooks.set_script(|_| Answer::refuse("no more"));
    let other = [("stream", "other")];
    assert_eq!(server.api("flushHookCache", &other).await["count_flushed"], 0);
    assert_eq!(FlvViewer::open(&server, "live/cam?token=a").await?.status(), 200);
    let stream = [("app", "live"), ("stream", "cam")];
    assert_eq!(server.api("flushHookCache", &stream).await["count_flushed"], 2);
    assert_eq!(FlvViewer::open(&server, "live/cam?token=a").await?.status(), 401);
    Ok(())
}

async fn play_from(server: &TestServer, address: &str) -> Result<Response> {
    let headers = [("X-Forwarded-For", address)];
    http::request(
        server.address("http"),
        "GET",
        "/live/cam.live.flv",
        &headers,
        &[],
        SOON,
    )
    .await
}

#[tokio::test]
async fn an_address_that_is_refused_too_often_is_refused_without_a_call() -> Result<()> {
    let hooks = HookServer::start(|_| Answer::refuse("no")).await?;
    let more = "[http]\nforwarded_ip_header=X-Forwarded-For\n[hook]\ndeny_limit=3\ndeny_block_sec=600\n";
    let server = serve_hooked(&hooks, more).await?;
    for _ in 0..3 {
        assert_eq!(
            play_from(&server, "192.0.2.66").await?.text(),
            "[auth failed]: code:-1 msg:\"no\""
        );
    }
    let blocked = play_from(&server, "192.0.2.66").await?;
    assert_eq!(
        (blocked.status, blocked.text().as_str()),
        (401, "[auth failed]: too many refused requests")
    );
    assert_eq!(hooks.received("on_play").len(), 3);
    play_from(&server, "192.0.2.67").await?;
    assert_eq!(
        hooks.received("on_play").len(),
        4,
        "another address is asked about"
    );
    let throttled = metric(&server, "hook_throttled_total{event=\"on_play\"}").await;
    assert_eq!(throttled.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn by_key_players_are_let_in_while_the_service_is_down() -> Result<()> {
    let mut hooks = HookServer::start(|call| match call.body["params"].as_str() {
        Some("bad") => Answer::refuse("no"),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "[hook]\nretry=0\nfail_open=on_play\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    assert_eq!(FlvViewer::open(&server, "live/cam?bad").await?.status(), 401);
    hooks.down().await;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    assert!(viewer.picture().await?.key);
    assert_eq!(
        FlvViewer::open(&server, "live/cam?bad").await?.status(),
        401,
        "the last word about it"
    );
    let refused = publish(testkit::fixture::Fixture::H264Aac, &server.url_rtmp("live/other"))
        .await?
        .wait(SOON)
        .await?;
    assert!(!refused.status.success(), "publishers are not in the list");
    let kind = |kind: &str| format!("hook_fail_open_total{{event=\"on_play\",kind=\"{kind}\"}}");
    assert_eq!(metric(&server, &kind("default")).await.as_deref(), Some("1"));
    assert_eq!(metric(&server, &kind("last_denied")).await.as_deref(), Some("1"));
    server
        .wait_for_log("hook.fail_open answers", Duration::from_secs(10))
        .await;
    Ok(())
}
