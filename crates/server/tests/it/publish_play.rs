//! Publishing and playing with real clients.

use crate::clients::*;
use anyhow::Result;
use serde_json::json;
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer};
use testkit::tool::Tool;
use testkit::websocket;

#[tokio::test]
async fn what_ffmpeg_publishes_plays_over_rtmp_http_flv_and_ws_flv() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for url in [server.url_rtmp("live/cam"), server.url_flv("live/cam")] {
        let probe = Tool::ffprobe().args([
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
            &url,
        ]);
        let output = probe.run(SOON).await?;
        assert_eq!(
            output.stdout_text().split_whitespace().collect::<Vec<_>>(),
            ["h264", "aac"],
            "{url}"
        );
    }
    let mut ws = websocket::Client::connect(&server.url_ws_flv("live/cam"), None, SOON).await?;
    assert_eq!(&ws.read_until(20_000, SOON).await?[..3], b"FLV");
    Ok(())
}

/// Players keep the connection open through proxies with pings, for as long as somebody watches.
#[tokio::test]
async fn a_websocket_viewer_may_talk_as_long_as_it_likes() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let mut ws = websocket::Client::connect(&server.url_ws_flv("live/cam"), None, SOON).await?;
    for _ in 0..5 {
        ws.send(vec![0; 60_000], SOON).await?;
        ws.ping(SOON).await?;
    }
    Ok(())
}

/// Packets are cut once for all players, so a player must not be told another chunk size than that of the running stream.
#[tokio::test]
async fn a_new_chunk_size_does_not_garble_running_streams() -> Result<()> {
    let server = serve("[rtmp]\nchunk_size=500\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let set = server
        .api("setServerConfig", &[("rtmp.chunk_size", "60000")])
        .await;
    assert_eq!(set["changed"], 1, "{set}");
    let url = server.url_rtmp("live/cam");
    let play = ["-v", "error", "-xerror", "-i", &url, "-t", "1", "-f", "null", "-"];
    let output = Tool::ffmpeg().args(play).run(SOON).await?;
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{:?}",
        output.stderr
    );
    Ok(())
}

#[tokio::test]
async fn a_viewer_starts_at_a_key_frame_wherever_it_comes() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for _ in 0..5 {
        let mut viewer = FlvViewer::open(&server, "live/cam").await?;
        assert!(viewer.picture().await?.key);
        for _ in 0..7 {
            viewer.picture().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_head_of_a_live_answer_is_the_references() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let viewer = FlvViewer::open(&server, "live/cam").await?;
    let head = viewer.head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: video/x-flv; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(head.contains("cache-control: no-store\r\n"), "{head}");
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );
    let options = Tool::curl().args([
        "-s",
        "-i",
        "-X",
        "OPTIONS",
        "-H",
        "Origin: http://a.example",
        &server.url_flv("live/cam"),
    ]);
    let options = options.run(SOON).await?.stdout_text().to_ascii_lowercase();
    assert!(options.starts_with("http/1.1 200"), "{options}");
    assert!(
        options.contains("access-control-allow-origin: http://a.example"),
        "{options}"
    );
    let head = Tool::curl()
        .args(["-s", "-I", &server.url_flv("live/cam")])
        .run(SOON)
        .await?
        .stdout_text();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(())
}

#[tokio::test]
async fn the_second_publisher_is_refused_and_the_first_goes_on() -> Result<()> {
    let server = serve("").await?;
    let _first = publish_live(&server, "live/cam").await?;
    let second = publish(Fixture::H264Aac, &server.url_rtmp("live/cam"))
        .await?
        .wait(SOON)
        .await?;
    assert!(!second.status.success());
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    for _ in 0..30 {
        viewer.picture().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_denied_publisher_is_told_the_status_and_never_that_it_started() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_publish" => Answer::Json(json!({"code": -1, "msg": "no such key"})),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, "").await?;
    let file = Fixture::H264Aac.path().await?;
    let ffmpeg = Tool::ffmpeg().args(["-v", "debug", "-re", "-i"]).arg(&file);
    let ended = ffmpeg
        .args(["-c", "copy", "-f", "flv", &server.url_rtmp("live/cam")])
        .spawn()?
        .wait(SOON)
        .await?;
    let text = ended.stderr.join("\n");
    assert!(!ended.status.success());
    assert!(
        text.contains("[auth failed]: code:-1 msg:\"no such key\""),
        "{text}"
    );
    assert!(!is_online(&server, "live", "cam").await);
    Ok(())
}

#[tokio::test]
async fn a_publisher_that_breaks_and_returns_keeps_its_viewers() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "").await?;
    let first = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    first.kill().await?;
    hooks
        .wait_for_call("on_flow_report", |call| call.body["player"] == false, SOON)
        .await;
    assert!(
        is_online(&server, "live", "cam").await,
        "kept for continue_push_ms"
    );
    let _second = publish(Fixture::H264Aac, &server.url_rtmp("live/cam")).await?;
    hooks.wait_for_count("on_publish", 2, SOON).await;
    let mut last = viewer.picture().await?.dts;
    for _ in 0..120 {
        let frame = viewer.picture().await?;
        assert!(frame.dts >= last, "{:?} after {last:?}", frame.dts);
        last = frame.dts;
    }
    let registered = hooks.received("on_stream_changed");
    let registered = registered.iter().filter(|call| call.body["regist"] == true);
    let mut schemas: Vec<_> = registered.map(|call| call.body["schema"].clone()).collect();
    schemas.sort_by_key(ToString::to_string);
    assert_eq!(schemas, ["fmp4", "hls", "rtmp", "rtsp", "ts"], "it is one stream");
    Ok(())
}

#[tokio::test]
async fn when_the_publisher_says_goodbye_viewers_end_properly() -> Result<()> {
    let server = serve("").await?;
    let file = Fixture::H264Aac.path().await?;
    let url = server.url_rtmp("live/cam");
    let publisher = Tool::ffmpeg()
        .args(["-nostdin", "-re", "-i"])
        .arg(&file)
        .args(["-c", "copy", "-f", "flv", &url])
        .spawn()?;
    online(&server, "live", "cam").await;
    let flv = FlvViewer::open(&server, "live/cam").await?;
    let rtmp = Tool::ffmpeg()
        .args(["-v", "error", "-i", &url, "-c", "copy", "-f", "null", "-"])
        .spawn()?;
    server
        .poll("both viewers play", SOON, async |server| {
            (players(server, "rtmp", "live", "cam").await == 2).then_some(())
        })
        .await;
    publisher.terminate(SOON).await?;
    flv.read_to_end().await?;
    let rtmp = rtmp.wait(SOON).await?;
    assert!(rtmp.status.success(), "{rtmp:?}");
    offline(&server, "live", "cam").await;
    Ok(())
}

#[tokio::test]
async fn merged_writes_lose_nothing() -> Result<()> {
    let server = serve("[general]\nmergeWriteMS=300\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    let mut last = viewer.picture().await?.dts;
    for _ in 0..50 {
        let frame = viewer.picture().await?;
        assert!(
            (frame.dts - last).as_millis() <= 45,
            "{:?} after {last:?}",
            frame.dts
        );
        last = frame.dts;
    }
    let probe = [
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
    ];
    let output = Tool::ffprobe()
        .args(probe)
        .arg(server.url_rtmp("live/cam"))
        .run(SOON)
        .await?;
    assert_eq!(
        output.stdout_text().split_whitespace().collect::<Vec<_>>(),
        ["h264", "aac"]
    );
    Ok(())
}
