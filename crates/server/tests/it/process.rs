//! Starting, stopping, and a crowd with slow members.

use crate::clients::*;
use anyhow::{Context, Result};

use testkit::fixture::Fixture;
use testkit::hook::HookServer;
use testkit::tool::Tool;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};

#[tokio::test]
async fn a_stop_is_orderly_and_told() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let names = [STREAM_HOOKS, &["on_server_exited"]].concat();
    let mut server = serve(&format!("{}[general]\nflowThreshold=0\n", hooks.ini(&names))).await?;
    let publisher = publish_live(&server, "live/cam").await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    let waiting = FlvViewer::ask(server.address("http"), "live/missing").await?;
    hooks.wait_for_call("on_stream_not_found", |_| true, SOON).await;
    assert!(server.stop(SOON).await?.success());
    // The grace period was not waited out.
    assert!(
        !server
            .log()
            .iter()
            .any(|line| line.contains("did not end in time"))
    );
    viewer.read_to_end().await?;
    let _ended = waiting.await;
    publisher.wait(SOON).await?;
    hooks
        .wait_for_call("on_stream_changed", |call| call.body["regist"] == false, SOON)
        .await;
    hooks.wait_for_count("on_flow_report", 2, SOON).await;
    hooks.wait_for_call("on_server_exited", |_| true, SOON).await;
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_key_and_its_holder() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let port = taken.local_addr()?.port();
    let rtmp = format!("rtmp.port={port}");
    let args = [
        "--set",
        &rtmp,
        "--set",
        "http.port=0",
        "--set",
        "general.listen_ip=127.0.0.1",
    ];
    let ended = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(args)
        .spawn()?
        .wait(SOON)
        .await?;
    assert_eq!(ended.status.code(), Some(1));
    let text = ended.stderr.join("\n");
    assert!(
        text.contains(&format!("port {port} (rtmp.port) is in use by")),
        "{text}"
    );
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_viewer_that_never_reads_costs_the_others_nothing() -> Result<()> {
    let server = serve("[general]\nring_max_bytes=1048576\n").await?;
    let file = Fixture::H264Aac.path().await?;
    // Ten times real time and no pause between: the silent viewer's kernel buffers fill quickly.
    let args = ["-nostdin", "-readrate", "10", "-stream_loop", "-1", "-i"];
    let url = server.url_rtmp("live/cam");
    let _publisher = Tool::ffmpeg()
        .args(args)
        .arg(&file)
        .args(["-c", "copy", "-f", "flv", &url])
        .spawn()?;
    online(&server, "live", "cam").await;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut silent = socket.connect(server.address("http")).await?;
    silent
        .write_all(b"GET /live/cam.live.flv HTTP/1.1\r\nHost: a\r\n\r\n")
        .await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    let mut last = viewer.picture().await?;
    // Until the silent one has fallen off the ring, and for a while after.
    let mut after = 0;
    while after < 500 {
        for _ in 0..100 {
            let frame = viewer.picture().await?;
            let step = (frame.dts - last.dts).as_millis();
            assert!(step <= 200, "{:?} after {:?}", frame.dts, last.dts);
            last = frame;
        }
        let metrics = server.get("/metrics").await?.text();
        let bytes = metrics
            .lines()
            .find_map(|line| line.strip_prefix("tidegate_media_in_bytes_total "))
            .context("a metric")?;
        // The kernel holds at most some megabytes for the silent one; well beyond that it is behind the ring.
        if bytes.parse::<f64>()? > 12e6 {
            after += 100;
        }
    }
    drop(silent);
    Ok(())
}

#[tokio::test]
async fn gstreamer_publishes_and_plays() -> Result<()> {
    let server = serve("").await?;
    let url = server.url_rtmp("live/gst");
    let file = Fixture::H264Aac.path().await?;
    let flv = server.folder().join("source.flv");
    Tool::ffmpeg()
        .args(["-v", "error", "-i"])
        .arg(&file)
        .args(["-c", "copy"])
        .arg(&flv)
        .run(SOON)
        .await?;
    let (source, location) = (format!("location={}", flv.display()), format!("location={url}"));
    let publish = [
        "-q",
        "filesrc",
        &source,
        "!",
        "flvdemux",
        "!",
        "h264parse",
        "!",
        "flvmux",
        "streamable=true",
        "!",
    ];
    let publisher = Tool::new("gst-launch-1.0")
        .args(publish)
        .args(["rtmp2sink", &location])
        .spawn()?;
    online(&server, "live", "gst").await;
    let mut viewer = FlvViewer::open(&server, "live/gst").await?;
    assert!(viewer.picture().await?.key);
    let play = [
        "-q",
        "rtmp2src",
        &location,
        "!",
        "flvdemux",
        "!",
        "h264parse",
        "!",
        "fakesink",
        "num-buffers=25",
    ];
    let player = Tool::new("gst-launch-1.0").args(play).spawn()?.wait(SOON).await?;
    assert!(player.status.success(), "{player:?}");
    drop(publisher);
    Ok(())
}
