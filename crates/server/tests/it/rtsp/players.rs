//! Other clients and other ways: GStreamer, TLS, HTTP tunnels, groups, half-chosen tracks.

use super::wire::Hand;
use super::*;
use std::net::{Ipv4Addr, SocketAddr};
use testkit::certificate::Authority;
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn gst(pipeline: &str) -> Tool {
    Tool::new("gst-launch-1.0")
        .arg("-q")
        .args(pipeline.split_whitespace())
}

async fn gstreamer_publishes(server: &TestServer, url: &str, options: &str) -> Result<()> {
    let source = Fixture::H264Aac.path().await?;
    let publisher = gst(&format!(
        "rtspclientsink name=sink location={url} {options} \
         filesrc location={} ! qtdemux name=demux \
         demux.video_0 ! queue ! h264parse ! sink. \
         demux.audio_0 ! queue ! aacparse ! sink.",
        source.display()
    ));
    let _publisher = publisher.spawn()?;
    online(server, "live", "cam").await;
    let mut found = codecs(Over::Tcp, &server.url_rtsp("live/cam")).await?;
    found.sort();
    assert_eq!(found, ["aac", "h264"]);
    let mut viewer = FlvViewer::ask(server.address("http"), "live/cam").await?.await?;
    assert!(viewer.picture().await?.key);
    Ok(())
}

#[tokio::test]
async fn gstreamer_publishes_over_tcp() -> Result<()> {
    let server = serve("").await?;
    gstreamer_publishes(&server, &server.url_rtsp("live/cam"), "protocols=tcp").await
}

#[tokio::test]
async fn gstreamer_publishes_over_udp() -> Result<()> {
    let server = serve("").await?;
    gstreamer_publishes(&server, &server.url_rtsp("live/cam"), "protocols=udp").await
}

async fn gstreamer_plays(server: &TestServer, url: &str, options: &str) -> Result<()> {
    let _publisher = publish_live(server, "live/cam").await?;
    let out = file(server, "played.h264");
    let player = gst(&format!(
        "rtspsrc location={url} {options} latency=0 name=source \
         source. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! identity eos-after=60 ! filesink location={}",
        out.display()
    ));
    let output = player.run(SOON).await?;
    assert!(output.status.success(), "{output:?}");
    let args = ["-v", "error", "-f", "h264", "-i"];
    let decoded = Tool::ffmpeg()
        .args(args)
        .arg(&out)
        .args(["-f", "framemd5", "-"])
        .run(SOON)
        .await?;
    let frames = decoded
        .stdout_text()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    assert!(frames >= 50, "{frames} pictures");
    Ok(())
}

#[tokio::test]
async fn gstreamer_plays_over_tcp() -> Result<()> {
    let server = serve("").await?;
    gstreamer_plays(&server, &server.url_rtsp("live/cam"), "protocols=tcp").await
}

#[tokio::test]
async fn gstreamer_plays_over_udp() -> Result<()> {
    let server = serve("").await?;
    gstreamer_plays(&server, &server.url_rtsp("live/cam"), "protocols=udp").await
}

#[tokio::test]
async fn gstreamer_plays_through_an_http_tunnel() -> Result<()> {
    let server = serve("").await?;
    // A scheme of GStreamer's own.
    let url = server.url_rtsp("live/cam").replace("rtsp://", "rtsph://");
    gstreamer_plays(&server, &url, "").await
}

/// It publishes with the transport that it chooses by itself, which is UDP.
#[tokio::test]
async fn gstreamer_publishes_and_plays_over_rtsps() -> Result<()> {
    let (_authority, server) = serve_tls().await?;
    let (url, options) = (server.url_rtsps("live/cam"), "tls-validation-flags=0");
    gstreamer_publishes(&server, &url, options).await?;
    offline(&server, "live", "cam").await;
    gstreamer_publishes(&server, &url, &format!("{options} protocols=tcp")).await?;
    offline(&server, "live", "cam").await;
    gstreamer_plays(&server, &url, &format!("{options} protocols=tcp")).await
}

async fn serve_tls() -> Result<(Authority, TestServer)> {
    let authority = Authority::new()?;
    let identity = authority.issue(&["localhost", "127.0.0.1"])?;
    let (certificate, key) = (identity.certificate_file.display(), identity.key_file.display());
    let server = serve(&format!(
        "[http]\ncert_file={certificate}\nkey_file={key}\n[rtsp]\nsslport=8322\n[protocol]\ncontinue_push_ms=0\n"
    ))
    .await?;
    Ok((authority, server))
}

#[tokio::test]
async fn rtsps_publishes_and_plays() -> Result<()> {
    let (authority, server) = serve_tls().await?;
    let _publisher = publish_rtsp_live(&server, "live/cam", Over::Tls).await?;
    assert_eq!(
        codecs(Over::Tls, &server.url_rtsps("live/cam")).await?,
        ["h264", "aac"]
    );
    let players = server
        .api(
            "getAllSession",
            &[("local_port", &server.port("rtsps").to_string())],
        )
        .await;
    assert_eq!(players["data"].as_array().map_or(0, Vec::len), 1, "{players}");
    // And pulled over TLS by another one, which does not know the authority.
    let other = serve("").await?;
    let source = server.url_rtsps("live/cam");
    let answer = other.api("addStreamProxy", &proxy("live", "cam", &source)).await;
    assert_eq!(answer["code"], -1, "{answer}");
    let message = answer["msg"].as_str().unwrap_or_default();
    assert!(message.contains("proxy.ca_file"), "{message}");
    let trusting = serve(&format!("[proxy]\nca_file={}\n", authority.file().display())).await?;
    let answer = trusting
        .api("addStreamProxy", &proxy("live", "cam", &source))
        .await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&trusting, "live", "cam").await;
    Ok(())
}

#[tokio::test]
async fn a_player_may_choose_one_track() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    for (over, kind, other) in [("tcp", "audio", "-vn"), ("udp", "video", "-an")] {
        let args = [
            "-v",
            "error",
            "-rtsp_transport",
            over,
            "-allowed_media_types",
            kind,
            "-i",
            &url,
            other,
            "-t",
            "1",
            "-c",
            "copy",
            "-f",
            "framemd5",
            "-",
        ];
        let played = Tool::ffmpeg().args(args).run(SOON).await?;
        assert!(
            played
                .stdout_text()
                .lines()
                .filter(|line| !line.starts_with('#'))
                .count()
                > 10,
            "{played:?}"
        );
    }
    Ok(())
}

/// Two players of a group are served by one sender: one reader of the stream, one copy of each packet.
#[tokio::test]
async fn a_group_is_served_once() -> Result<()> {
    let server = serve("[multicast]\naddrMin=239.77.0.1\naddrMax=239.77.0.9\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hands = Vec::new();
    let mut groups = Vec::new();
    for _ in 0..2 {
        let mut hand = Hand::connect(&server).await?;
        hand.ask("DESCRIBE", &url, &[]).await?;
        let reply = hand
            .ask(
                "SETUP",
                &format!("{url}/trackID=0"),
                &["Transport: RTP/AVP;multicast"],
            )
            .await?;
        let transport = reply.header("Transport").expect("a transport").to_owned();
        let field = |name: &str| {
            let rest = transport.split(&format!("{name}=")).nth(1).unwrap_or_default();
            rest.split(';').next().unwrap_or_default().to_owned()
        };
        assert_eq!(field("ttl"), "64");
        groups.push((field("destination"), field("port")));
        hands.push(hand);
    }
    assert_eq!(groups[0], groups[1]);
    let group: Ipv4Addr = groups[0].0.parse()?;
    let port: u16 = groups[0].1.split('-').next().unwrap_or_default().parse()?;
    let socket = UdpSocket::bind(SocketAddr::new(group.into(), port)).await?;
    socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    for hand in &mut hands {
        assert_eq!(hand.ask("PLAY", &url, &[]).await?.status, 200);
    }
    let mut datagram = [0; 2048];
    let (mut last, mut seen) = (None, 0);
    while seen < 50 {
        let count = timeout(SOON, socket.recv(&mut datagram)).await??;
        assert!(count > 12 && datagram[0] == 0x80);
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        if let Some(last) = last {
            assert_eq!(sequence, u16::wrapping_add(last, 1), "each packet once");
        }
        last = Some(sequence);
        seen += 1;
    }
    let parameters = [("schema", "rtsp"), ("app", "live"), ("stream", "cam")];
    let list = server.api("getMediaList", &parameters).await;
    assert_eq!(list["data"][0]["readerCount"], 1, "one for the whole group");
    drop(hands);
    server
        .poll("the sender ends with its last player", SOON, async |server| {
            let list = server.api("getMediaList", &parameters).await;
            (list["data"][0]["readerCount"] == 0).then_some(())
        })
        .await;
    Ok(())
}
