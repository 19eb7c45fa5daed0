//! Streams and muxers that are there because somebody asks.

use super::*;
use serde_json::json;
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer};
use testkit::http;

/// Waits for on_stream_changed of a schema.
async fn changed(hooks: &HookServer, schema: &str, regist: bool) -> testkit::hook::Request {
    hooks
        .wait_for_call(
            "on_stream_changed",
            |call| call.body["schema"] == schema && call.body["regist"] == regist,
            SOON,
        )
        .await
}

#[tokio::test]
async fn players_of_all_kinds_wait_together_for_one_answer() -> Result<()> {
    let camera = serve("").await?;
    let _publisher = publish_live(&camera, "live/source").await?;
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, BOTH).await?;
    let address = server.address("http");
    let mut opening = Vec::new();
    for index in 0..10 {
        let form = if index % 2 == 0 { Form::Ts } else { Form::Fmp4 };
        let path = form.path("live/cam");
        opening.push(tokio::spawn(async move { Player::open_at(address, &path).await }));
    }
    let flv = FlvViewer::ask(address, "live/cam").await?;
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
    let ts = server.url_http("live/cam.live.ts");
    let ts = Tool::ffmpeg()
        .args([
            "-v", "error", "-i", &ts, "-t", "1", "-c", "copy", "-f", "null", "-",
        ])
        .spawn()?;
    hooks.wait_for_count("on_play", 13, SOON).await;
    let source = camera.url_rtmp("live/source");
    let answer = server.api("addStreamProxy", &proxy("live", "cam", &source)).await;
    assert_eq!(answer["code"], 0, "{answer}");
    for player in opening {
        let player = player.await??;
        let media = player.playlist("").await?;
        let newest = &media.segments[media.segments.len() - 1];
        assert!(player.fetch(&newest.uri).await?.len() > 1000);
    }
    assert!(flv.await?.picture().await?.key);
    for player in [rtmp, ts] {
        let ended = player.wait(SOON).await?;
        assert!(ended.status.success(), "{ended:?}");
    }
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    assert_eq!(players(&camera, "rtmp", "live", "source").await, 1, "one pull");
    Ok(())
}

#[tokio::test]
async fn an_ffmpeg_source_opens_for_an_hls_player() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "[hls]\nsegDur=1\n").await?;
    let address = server.address("http");
    let opening = tokio::spawn(async move { Player::open_at(address, &Form::Ts.path("live/cam")).await });
    hooks.wait_for_call("on_stream_not_found", |_| true, SOON).await;
    let camera = serve("").await?;
    let _publisher = publish_live(&camera, "live/source").await?;
    let (source, destination) = (camera.url_rtmp("live/source"), server.url_rtmp("live/cam"));
    let parameters = [
        ("src_url", source.as_str()),
        ("dst_url", destination.as_str()),
        ("timeout_ms", "20000"),
        ("enable_hls", "1"),
        ("enable_mp4", "0"),
    ];
    let answer = server.api("addFFmpegSource", &parameters).await;
    assert_eq!(answer["code"], 0, "{answer}");
    let player = opening.await??;
    assert!(!player.playlist("").await?.segments.is_empty());
    Ok(())
}

#[tokio::test]
async fn who_asks_for_what_does_not_come_is_told_in_time() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_stream_not_found" if call.body["stream"] == "none" => {
            Answer::Json(json!({"code": 0, "close": true}))
        }
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, &format!("maxStreamWaitMS=1000\n{BOTH}")).await?;
    for (form, stream) in [
        (Form::Ts, "live/none"),
        (Form::Fmp4, "live/none"),
        (Form::Ts, "live/other"),
    ] {
        let answer = server.get(&form.path(stream)).await?;
        assert_eq!(answer.status, 404, "{stream}");
    }
    let schemas: Vec<_> = hooks
        .received("on_stream_not_found")
        .iter()
        .map(|call| (call.body["schema"].clone(), call.body["protocol"].clone()))
        .collect();
    let expected = ["hls", "hls.fmp4", "hls"].map(|name| (json!(name), json!(name)));
    assert_eq!(schemas, expected);
    Ok(())
}

#[tokio::test]
async fn a_form_that_is_off_is_missing_at_once() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "maxStreamWaitMS=60000\n[protocol]\nenable_hls=0\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for form in [Form::Ts, Form::Fmp4] {
        let answer = server.get(&form.path("live/cam")).await?;
        assert_eq!(answer.status, 404, "{form:?}");
    }
    Ok(())
}

#[tokio::test]
async fn hls_is_registered_with_its_first_segment_and_removed_with_the_stream() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, BOTH).await?;
    let publisher = publish_live(&server, "live/cam").await?;
    changed(&hooks, "rtmp", true).await;
    for schema in ["hls", "hls.fmp4"] {
        let registered = changed(&hooks, schema, true).await;
        assert_eq!(registered.stream(), "__defaultVhost__/live/cam");
        let order: Vec<_> = hooks
            .received("on_stream_changed")
            .iter()
            .map(|call| call.body["schema"].clone())
            .collect();
        let at = |name: &str| order.iter().position(|schema| schema == name);
        assert!(at("ts") < at(schema), "{order:?}");
    }
    publisher.terminate(SOON).await?;
    for schema in ["hls", "hls.fmp4"] {
        changed(&hooks, schema, false).await;
    }
    let all = hooks.received("on_stream_changed");
    for schema in ["hls", "hls.fmp4"] {
        let told: Vec<_> = all
            .iter()
            .filter(|call| call.body["schema"] == schema)
            .map(|call| call.body["regist"].clone())
            .collect();
        assert_eq!(told, [json!(true), json!(false)]);
    }
    Ok(())
}

/// Segments are cut only while somebody watches, and again for the next one.
#[tokio::test]
async fn hls_on_demand_runs_while_it_is_watched() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let config = "[hls]\nsegDur=1\n[protocol]\nhls_demand=1\nenable_hls_fmp4=1\n";
    let server = serve_hooked(&hooks, config).await?;
    let _publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/cam")).await?;
    online(&server, "live", "cam").await;
    let mut flv = FlvViewer::open(&server, "live/cam").await?;
    // Three seconds pass without a segment being cut.
    for _ in 0..75 {
        flv.picture().await?;
    }
    for visit in 0..2 {
        let player = Player::open(&server, "live/cam", Form::Fmp4).await?;
        let media = player.playlist("").await?;
        assert_eq!(media.check(), []);
        assert_eq!(media.segments.len(), 1, "visit {visit}: cut since somebody asked");
        assert!(player.fetch(&media.segments[0].uri).await?.len() > 1000);
        server
            .poll("the viewer left", SOON, async |server| {
                (players(server, "hls.fmp4", "live", "cam").await == 0).then_some(())
            })
            .await;
    }
    assert_eq!(hooks.received("on_stream_not_found").len(), 0);
    Ok(())
}

#[tokio::test]
async fn ts_and_fmp4_on_demand_start_a_second_time() -> Result<()> {
    let server = serve("[protocol]\nts_demand=1\nfmp4_demand=1\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for schema in ["ts", "fmp4"] {
        let suffix = if schema == "ts" { "ts" } else { "mp4" };
        let url = server.url_http(&format!("live/cam.live.{suffix}"));
        for _ in 0..2 {
            let output = Tool::ffmpeg()
                .args(["-v", "error", "-xerror", "-i", &url, "-t", "1", "-f", "null", "-"])
                .run(SOON)
                .await?;
            assert!(output.stderr.is_empty(), "{output:?}");
            server
                .poll("the viewer left", SOON, async |server| {
                    (players(server, schema, "live", "cam").await == 0).then_some(())
                })
                .await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_fast_register_makes_the_first_segment_one_group_of_pictures() -> Result<()> {
    let mut first = Vec::new();
    for fast in [0, 1] {
        let server = serve(&format!("[hls]\nsegDur=3\nfastRegister={fast}\n")).await?;
        let address = server.address("http");
        let opening = tokio::spawn(async move { Player::open_at(address, &Form::Ts.path("live/cam")).await });
        waiting(&server, "live/cam", 1).await;
        let _publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/cam")).await?;
        let media = opening.await??.playlist("").await?;
        first.push(media.segments[0].duration);
    }
    assert!(first[0] > 1_800_000 && first[1] == 400_000, "{first:?}");
    Ok(())
}

/// Nothing comes from the publisher, and the connection is still there.
#[tokio::test]
async fn a_request_for_a_stream_that_stands_still_is_answered() -> Result<()> {
    let server = serve("[protocol]\nhls_demand=1\n[rtmp]\nkeepAliveSecond=120\n").await?;
    let publisher = publish_live(&server, "live/cam").await?;
    let pid = publisher.pid().to_string();
    Tool::new("kill").args(["-STOP", &pid]).run(SOON).await?;
    let player = Player::open(&server, "live/cam", Form::Ts).await?;
    let answer = player.ask("", &[]).await?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.headers.get("retry-after").is_some());
    let metrics = http::request(server.address("http"), "GET", "/metrics", &[], &[], SOON).await?;
    let text = metrics.text();
    assert!(
        text.lines()
            .any(|line| line.starts_with("tidegate_hls") && line.ends_with(" 1")),
        "{text}"
    );
    Ok(())
}
