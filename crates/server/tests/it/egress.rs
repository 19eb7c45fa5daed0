//! Players over plain TCP are served by the threads that write, whatever the way to the kernel.

use crate::clients::*;
use anyhow::Result;
use testkit::hook::{Answer, HookServer};
use testkit::server::TestServer;
use testkit::tool::Tool;
use testkit::websocket;

/// The sum of a metric over its lines with this label.
async fn metric(server: &TestServer, name: &str, label: &str) -> f64 {
    let text = match server.get("/metrics").await {
        Ok(answer) => answer.text(),
        Err(error) => panic!("{error}"),
    };
    let prefix = format!("tidegate_{name}");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(&prefix) && line.contains(label));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

async fn every_protocol(io_uring: bool) -> Result<()> {
    let server = serve(&format!(
        "[general]\nio_uring={}\negress_threads=2\n",
        u8::from(io_uring)
    ))
    .await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let flv = FlvViewer::open(&server, "live/cam").await?;
    let mut ws = websocket::Client::connect(&server.url_ws_flv("live/cam"), None, SOON).await?;
    assert_eq!(&ws.read_until(20_000, SOON).await?[..3], b"FLV");
    for url in [
        server.url_rtmp("live/cam"),
        server.url_rtsp("live/cam"),
        server.url_flv("live/cam"),
        server.url_http("live/cam.live.ts"),
        server.url_http("live/cam.live.mp4"),
    ] {
        let mut arguments = vec!["-v", "error"];
        if url.starts_with("rtsp:") {
            arguments.extend(["-rtsp_transport", "tcp"]);
        }
        arguments.extend(["-xerror", "-i", &url, "-t", "1", "-map", "0", "-f", "null", "-"]);
        let output = Tool::ffmpeg().args(arguments).run(SOON).await?;
        assert!(output.status.success(), "{url}: {:?}", output.stderr);
    }
    // Both that stay, one on each thread; those who left may still be noticed.
    server
        .poll("two players", SOON, async |server| {
            (metric(server, "egress_players", "").await == 2.0).then_some(())
        })
        .await;
    for thread in ["thread=\"0\"", "thread=\"1\""] {
        assert_eq!(metric(&server, "egress_players", thread).await, 1.0);
    }
    if !io_uring {
        assert_eq!(metric(&server, "egress_players", "backend=\"epoll\"").await, 2.0);
    }
    assert!(metric(&server, "egress_written_bytes_total", "").await > 40_000.0);
    drop((flv, ws));
    server
        .poll("nobody is left", SOON, async |server| {
            (metric(server, "egress_players", "").await == 0.0).then_some(())
        })
        .await;
    Ok(())
}

#[tokio::test]
async fn every_protocol_plays_where_io_uring_is_allowed() -> Result<()> {
    every_protocol(true).await
}

#[tokio::test]
async fn every_protocol_plays_without_io_uring() -> Result<()> {
    every_protocol(false).await
}

#[tokio::test]
async fn merging_can_be_changed_while_players_watch() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    for (value, seconds) in [("250", 0.25), ("0", 0.0)] {
        let set = server
            .api("setServerConfig", &[("general.mergeWriteMS", value)])
            .await;
        assert_eq!(set["changed"], 1, "{set}");
        server
            .poll("all threads merge so", SOON, async |server| {
                let text = server.get("/metrics").await.ok()?.text();
                let mut held = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("tidegate_egress_merge_seconds{"));
                held.all(|line| line.ends_with(&format!("}} {seconds:?}")))
                    .then_some(())
            })
            .await;
        // The stream goes on.
        for _ in 0..30 {
            viewer.picture().await?;
        }
    }
    Ok(())
}

/// Most players go without a word, and what they were sent is what they are charged with.
#[tokio::test]
async fn a_player_that_vanishes_is_charged_with_all_that_it_was_sent() -> Result<()> {
    let hooks = HookServer::start(|_| Answer::ok()).await?;
    let server = serve_hooked(&hooks, "").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for (protocol, url) in [
        ("rtmp", server.url_rtmp("live/cam")),
        ("rtsp", server.url_rtsp("live/cam")),
        ("http", server.url_flv("live/cam")),
    ] {
        let mut arguments = vec!["-v", "error"];
        if protocol == "rtsp" {
            arguments.extend(["-rtsp_transport", "tcp"]);
        }
        arguments.extend([
            "-i",
            &url,
            "-map",
            "0:v",
            "-c",
            "copy",
            "-f",
            "h264",
            "-flush_packets",
            "1",
            "-",
        ]);
        let player = Tool::ffmpeg().args(arguments).spawn()?;
        player.wait_for_stdout(60_000, SOON).await?;
        let output = player.kill().await?;
        let report = hooks
            .wait_for_call(
                "on_flow_report",
                |call| call.body["player"] == true && call.body["protocol"] == protocol,
                SOON,
            )
            .await;
        let charged = report.body["totalBytes"].as_u64().unwrap_or(0);
        assert!(
            charged >= output.stdout.len() as u64 * 9 / 10,
            "{protocol}: {charged} bytes, and the player wrote {}",
            output.stdout.len()
        );
    }
    Ok(())
}
