//! The API against a running server, and the configuration.

use crate::clients::*;
use anyhow::Result;
use serde_json::{Value, json};
use testkit::hook::HookServer;
use testkit::server::TestServer;
use testkit::tool::Tool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CAM: [(&str, &str); 4] = [
    ("schema", "rtmp"),
    ("vhost", "__defaultVhost__"),
    ("app", "live"),
    ("stream", "cam"),
];

#[tokio::test]
async fn streams_players_and_sessions_are_shown_and_can_be_cut() -> Result<()> {
    let server = serve("").await?;
    let publisher = publish_live(&server, "live/cam").await?;
    let viewer = FlvViewer::open(&server, "live/cam").await?;
    let list = server.api("getMediaList", &CAM).await;
    let media = &list["data"][0];
    assert_eq!(
        (&media["readerCount"], &media["totalReaderCount"]),
        (&json!(1), &json!(1)),
        "{list}"
    );
    let players = server.api("getMediaPlayerList", &CAM).await;
    assert_eq!(players["data"][0]["typeid"], "mediakit::HttpSession", "{players}");
    let id = players["data"][0]["identifier"].as_str().unwrap_or_default();
    assert_eq!(server.api("kick_session", &[("id", id)]).await["code"], 0);
    viewer.read_to_end().await?;
    server
        .poll("nobody plays", SOON, async |server| {
            (crate::clients::players(server, "rtmp", "live", "cam").await == 0).then_some(())
        })
        .await;

    let refused = server.api("kick_session", &[("id", "999-9")]).await;
    assert_eq!(refused["code"], -1, "{refused}");
    let publisher_id = media["originSock"]["identifier"].as_str().unwrap_or_default();
    assert_eq!(
        server.api("kick_session", &[("id", publisher_id)]).await["code"],
        0
    );
    offline(&server, "live", "cam").await;
    assert!(!publisher.wait(SOON).await?.status.success());
    Ok(())
}

#[tokio::test]
async fn a_watched_stream_closes_only_when_forced() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let viewer = FlvViewer::open(&server, "live/cam").await?;
    let refused = server.api("close_stream", &CAM).await;
    assert_eq!(
        (&refused["code"], &refused["result"]),
        (&json!(-1), &json!(-1)),
        "{refused}"
    );
    let closed = server
        .api("close_streams", &[("stream", "cam"), ("force", "1")])
        .await;
    assert_eq!(
        (&closed["count_hit"], &closed["count_closed"]),
        (&json!(4), &json!(4)),
        "one for each schema: {closed}"
    );
    viewer.read_to_end().await?;
    offline(&server, "live", "cam").await;
    let missing = server.api("close_stream", &CAM).await;
    assert_eq!(missing["code"], -500, "{missing}");
    Ok(())
}

#[tokio::test]
async fn a_probe_lists_the_frames_that_come_while_it_lasts() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let stream = [("vhost", "any"), ("app", "live"), ("stream", "cam")];
    let probe = |ms: &'static str| [&stream[..], &[("probe_ms", ms)]].concat();
    let asked = probe("600");
    let (first, second) = tokio::join!(server.api("addProbe", &asked), server.api("addProbe", &asked));
    for probed in [first, second] {
        let frames = probed["data"].as_array().cloned().unwrap_or_default();
        for kind in ["video", "audio"] {
            let of_kind: Vec<_> = frames
                .iter()
                .filter(|frame| frame["track_type"] == kind)
                .collect();
            assert!(of_kind.len() > 2, "{kind}: {probed}");
            let times: Vec<i64> = of_kind.iter().filter_map(|frame| frame["dts"].as_i64()).collect();
            assert!(times.is_sorted(), "{times:?}");
        }
        // What was cached when the probe began is not among them.
        let came: Vec<u64> = frames
            .iter()
            .filter_map(|frame| frame["recv_stamp"].as_u64())
            .collect();
        assert!(came.is_sorted() && came.last() <= Some(&600), "{came:?}");
        assert!(
            frames.iter().all(|frame| frame["frame_size"].as_u64() > Some(0)
                && frame["pts"].as_i64() >= frame["dts"].as_i64()),
            "{probed}"
        );
    }
    let list = server.api("getMediaList", &CAM).await;
    assert_eq!(list["data"][0]["totalReaderCount"], 0, "a probe is no player");
    let long = server.api("addProbe", &probe("60001")).await;
    assert_eq!(
        (&long["code"], &long["msg"]),
        (
            &json!(-300),
            &json!("\"probe_ms\" is 60001, it must be from 0 to 60000")
        )
    );
    Ok(())
}

#[tokio::test]
async fn proxies_tell_the_truth_about_their_state() -> Result<()> {
    let mut camera = serve("").await?;
    let publisher = publish_live(&camera, "live/source").await?;
    let server = serve("[proxy]\nretry_min_ms=100\nretry_step_ms=100\n").await?;
    let source = camera.url_rtmp("live/source");
    let mut forced = proxy("live", "cam", &source);
    forced.push(("force", "1"));
    assert_eq!(server.api("addStreamProxy", &forced).await["code"], 0);
    online(&server, "live", "cam").await;
    let again = server.api("addStreamProxy", &forced).await;
    assert_eq!(
        (&again["code"], &again["msg"]),
        (&json!(-1), &json!("This stream already exists"))
    );
    let key = [("key", "__defaultVhost__/live/cam")];
    let up = server.api("getProxyInfo", &key).await;
    assert_eq!(
        (&up["data"]["status"], &up["data"]["status_str"]),
        (&json!(0), &json!("playing")),
        "{up}"
    );

    camera.kill().await?;
    drop(publisher);
    let down = server
        .poll("the loss is seen", SOON, async |server| {
            let info = server.api("getProxyInfo", &key).await;
            (info["data"]["status"] == 1 && info["data"]["rePullCount"] == 1).then_some(info)
        })
        .await;
    assert!(
        down["data"]["status_str"]
            .as_str()
            .is_some_and(|text| text.starts_with("play ")),
        "{down}"
    );
    offline(&server, "live", "cam").await;
    let removed = server.api("delStreamProxy", &key).await;
    assert_eq!(
        (&removed["code"], &removed["data"]["flag"]),
        (&json!(0), &json!(true))
    );
    let unsupported = server
        .api("addStreamProxy", &proxy("live", "x", "gopher://a/b"))
        .await;
    assert_eq!(unsupported["code"], -1, "{unsupported}");
    assert_eq!(server.api("listStreamProxy", &[]).await, json!({"code": 0}));
    Ok(())
}

#[tokio::test]
async fn a_pusher_comes_back_when_its_destination_does() -> Result<()> {
    let server = serve("[proxy]\nretry_min_ms=100\nretry_step_ms=100\n").await?;
    let far = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let destination = far.url_rtmp("far/cam");
    let push = [&CAM[..], &[("dst_url", destination.as_str())]].concat();
    let added = server.api("addStreamPusherProxy", &push).await;
    assert_eq!(added["code"], 0, "{added}");
    online(&far, "far", "cam").await;
    let close = [("app", "far"), ("stream", "cam"), ("force", "1")];
    assert_eq!(far.api("close_streams", &close).await["count_hit"], 4);
    server
        .poll("it was published again", SOON, async |server| {
            let list = server.api("listStreamPusherProxy", &[]).await;
            (list["data"][0]["rePublishCount"] == 1 && list["data"][0]["status"] == 0).then_some(())
        })
        .await;
    online(&far, "far", "cam").await;
    let key = added["data"]["key"].as_str().unwrap_or_default();
    assert_eq!(
        server.api("delStreamPusherProxy", &[("key", key)]).await["data"]["flag"],
        true
    );
    offline(&far, "far", "cam").await;
    Ok(())
}

#[tokio::test]
async fn a_management_system_installs_its_hooks_at_run_time_and_the_file_keeps_them() -> Result<()> {
    let server = serve("; a comment\r\n[http]\nport=8080 \n[transcode]\nsuffix=x\n").await?;
    let hooks = HookServer::start_consenting().await?;
    let urls = STREAM_HOOKS
        .iter()
        .map(|hook| (format!("hook.{hook}"), hooks.url(hook)));
    let mut pairs: Vec<(String, String)> = urls.collect();
    pairs.push(("hook.enable".into(), "1".into()));
    pairs.push(("general.streamNoneReaderDelayMS".into(), "300".into()));
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let set = server.api("setServerConfig", &pairs).await;
    assert_eq!((&set["code"], &set["changed"]), (&json!(0), &json!(8)), "{set}");
    let _publisher = publish_live(&server, "live/cam").await?;
    hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    let file = std::fs::read_to_string(server.config_file())?;
    assert!(
        file.contains("; a comment") && file.contains(&hooks.url("on_play")) && file.contains("suffix=x"),
        "{file}"
    );
    let config = server.api("getServerConfig", &[]).await;
    assert_eq!(config["data"][0]["transcode.suffix"], "x");
    assert_eq!(config["data"][0]["general.streamNoneReaderDelayMS"], "300");
    let wrong = server
        .api("setServerConfig", &[("http.keepAliveSecond", "soon")])
        .await;
    assert_eq!(wrong["changed"], 0, "{wrong}");
    assert!(
        wrong["msg"]
            .as_str()
            .is_some_and(|text| text.contains("http.keepAliveSecond")),
        "{wrong}"
    );
    Ok(())
}

/// Closing with bytes unread resets the connection, and the answer may be lost with it.
#[tokio::test]
async fn a_client_that_sends_too_much_is_told_so() -> Result<()> {
    let server = serve("").await?;
    let mut socket = TcpStream::connect(server.address("http")).await?;
    let length = 8_000_000;
    let head = format!("POST /index/api/version HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(&vec![b'x'; length]).await?;
    let mut answer = String::new();
    timeout(SOON, socket.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}

async fn delay_is(server: &TestServer, value: &str) {
    server
        .poll("the new value is in force", SOON, async |server| {
            let config: Value = server.api("getServerConfig", &[]).await;
            (config["data"][0]["general.maxStreamWaitMS"] == value).then_some(())
        })
        .await;
}

#[tokio::test]
async fn the_configuration_is_reloaded_on_signal_and_on_change_of_the_file() -> Result<()> {
    let server = serve("[general]\nmaxStreamWaitMS=1000\n").await?;
    let text = std::fs::read_to_string(server.config_file())?;
    std::fs::write(
        server.config_file(),
        text.replace("maxStreamWaitMS=1000", "maxStreamWaitMS=2000"),
    )?;
    delay_is(&server, "2000").await;
    std::fs::write(
        server.config_file(),
        text.replace("maxStreamWaitMS=1000", "maxStreamWaitMS=3000"),
    )?;
    server.reload()?;
    delay_is(&server, "3000").await;
    std::fs::write(
        server.config_file(),
        text.replace("maxStreamWaitMS=1000", "maxStreamWaitMS=soon"),
    )?;
    server.wait_for_log("the old one stays in force", SOON).await;
    delay_is(&server, "3000").await;
    Ok(())
}

#[tokio::test]
async fn the_environment_overrides_the_file() -> Result<()> {
    let builder = tidegate().config("[general]\nmaxStreamWaitMS=1000\n");
    let server = builder
        .env("TIDEGATE_GENERAL__MAXSTREAMWAITMS", "1234")
        .start()
        .await?;
    delay_is(&server, "1234").await;
    Ok(())
}

#[tokio::test]
async fn check_explains_good_files_and_names_what_is_wrong_in_bad_ones() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let good = folder.path().join("good.ini");
    std::fs::write(
        &good,
        "[general]\nmaxStreamWaitMS=1000\nstreamNoneReaderDelaMS=5\n",
    )?;
    let check = |file: &std::path::Path| {
        Tool::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", "-c"])
            .arg(file)
            .spawn()
    };
    let output = check(&good)?.wait(SOON).await?;
    assert!(output.status.success(), "{output:?}");
    let text = format!("{}{}", output.stdout_text(), output.stderr.join("\n"));
    assert!(
        text.contains("general.maxStreamWaitMS") && text.contains("streamNoneReaderDelayMS"),
        "{text}"
    );
    let bad = folder.path().join("bad.ini");
    std::fs::write(&bad, "[general]\n\nmaxStreamWaitMS=soon\n[rtmp]\nport=99999\n")?;
    let output = check(&bad)?.wait(SOON).await?;
    assert_eq!(output.status.code(), Some(1));
    let text = output.stderr.join("\n");
    for word in [
        "bad.ini:3",
        "general.maxStreamWaitMS",
        "soon",
        "bad.ini:5",
        "rtmp.port",
        "99999",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_request_stops_the_process_after_its_reply() -> Result<()> {
    let mut server = serve("").await?;
    let reply = server.api("restartServer", &[]).await;
    assert_eq!(reply["code"], 0, "{reply}");
    assert!(server.wait(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn metrics_and_the_timeline_tell_what_happened() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    let metrics = server.get("/metrics").await?.text();
    for line in ["tidegate_streams 1", "tidegate_readers 1", "tidegate_players 1"] {
        assert!(
            metrics.lines().any(|got| got == line),
            "{line} is not in {metrics}"
        );
    }
    assert!(metrics.ends_with("# EOF\n"));
    let view = server.api("getStreamTimeline", &CAM[1..]).await;
    let events: Vec<&str> = view["data"]["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["event"].as_str())
        .collect();
    assert_eq!(events, ["published", "registered", "reader_joined"], "{view}");
    assert_eq!(view["data"]["state"], "live");
    Ok(())
}

#[tokio::test]
async fn hostile_requests_harm_nothing() -> Result<()> {
    let server = serve("").await?;
    let long = "a".repeat(100_000);
    let many = "x: y\r\n".repeat(1000);
    let requests: Vec<Vec<u8>> = vec![
        b"\0\0\0\0\0".to_vec(),
        format!("GET /{long} HTTP/1.1\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes(),
        b"POST /index/api/version HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"POST /index/api/version HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"GET /live/%ff%fe.live.flv HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /live/cam.live.flv HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_vec(),
        b"\x03".iter().copied().chain([0xFF; 3072]).collect(),
        [0xFF; 5000].to_vec(),
    ];
    for port in ["http", "rtmp"] {
        for request in &requests {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut socket = tokio::net::TcpStream::connect(server.address(port)).await?;
            let _ = socket.write_all(request).await;
            let _ = socket.shutdown().await;
            let mut rest = Vec::new();
            // Whatever comes, it ends.
            let ended = tokio::time::timeout(SOON, socket.read_to_end(&mut rest)).await;
            assert!(
                ended.is_ok(),
                "{port} does not end {:?}",
                String::from_utf8_lossy(&request[..request.len().min(60)])
            );
        }
    }
    let metrics = server.get("/metrics").await?.text();
    assert!(
        metrics
            .lines()
            .any(|line| line == "tidegate_session_panics_total 0"),
        "{metrics}"
    );
    Ok(())
}
