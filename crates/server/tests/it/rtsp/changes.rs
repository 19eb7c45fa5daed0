//! What changes while a connection or a stream lives: stream, transport, configuration, and the end.

use super::wire::{Hand, TCP};
use super::*;
use serde_json::json;
use std::net::Ipv4Addr;
use testkit::hook::{Answer, HookServer};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const GROUP: &str = "Transport: RTP/AVP;multicast";

/// Each stream has a realm of its own, or none: what is known of one does not open another.
#[tokio::test]
async fn authentication_is_for_one_stream() -> Result<()> {
    let hooks = HookServer::start(|request| match request.hook.as_str() {
        "on_rtsp_realm" if request.body["stream"] == "open" => Answer::Json(json!({"code": 0, "realm": ""})),
        "on_rtsp_realm" => Answer::Json(json!({"code": 0, "realm": request.body["stream"]})),
        "on_rtsp_auth" => Answer::Json(json!({"code": 0, "passwd": "secret"})),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve(&hooks.ini(&["on_rtsp_realm", "on_rtsp_auth"])).await?;
    let _open = publish_live(&server, "live/open").await?;
    let _shut = publish_live(&server, "live/shut").await?;
    let _safe = publish_live(&server, "live/safe").await?;
    let mut hand = Hand::connect(&server).await?;
    let mut nonces = Vec::new();
    for (stream, realm) in [
        ("open", None),
        ("shut", Some("shut")),
        ("safe", Some("safe")),
        ("open", None),
    ] {
        let url = server.url_rtsp(&format!("live/{stream}"));
        let reply = hand.ask("DESCRIBE", &url, &[]).await?;
        assert_eq!(reply.status, if realm.is_some() { 401 } else { 200 }, "{stream}");
        for challenge in reply.headers("WWW-Authenticate") {
            let realm = realm.unwrap_or_default();
            assert!(challenge.contains(&format!("realm=\"{realm}\"")), "{challenge}");
        }
        if let Some(challenge) = reply.header("WWW-Authenticate") {
            let nonce = challenge.split("nonce=").nth(1).unwrap_or_default();
            nonces.push(nonce.split(',').next().unwrap_or_default().to_owned());
        }
    }
    assert_ne!(nonces[0], nonces[1], "an answer for one is none for the other");
    Ok(())
}

/// A service that knows the MD5 only cannot judge SHA-256: the client is asked again, for MD5.
#[tokio::test]
async fn a_password_known_as_md5_is_asked_for_as_md5() -> Result<()> {
    let hooks = HookServer::start(|request| match request.hook.as_str() {
        "on_rtsp_realm" => Answer::Json(json!({"code": 0, "realm": "r"})),
        "on_rtsp_auth" => Answer::Json(json!({"code": 0, "encrypted": true, "passwd": md5_hex("bob:r:pw")})),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve(&hooks.ini(&["on_rtsp_realm", "on_rtsp_auth"])).await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    let offered = hand.ask("DESCRIBE", &url, &[]).await?;
    let nonce = |challenge: &str| {
        let rest = challenge.split("nonce=\"").nth(1).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let first = offered.headers("WWW-Authenticate")[0];
    assert!(first.contains("SHA-256"), "{first}");
    let answer = format!(
        "Authorization: Digest username=\"bob\", realm=\"r\", nonce=\"{}\", uri=\"{url}\", algorithm=SHA-256, qop=auth, \
         nc=00000001, cnonce=\"c\", response=\"{}\"",
        nonce(first),
        "a".repeat(64)
    );
    let again = hand.ask("DESCRIBE", &url, &[&answer]).await?;
    let challenges = again.headers("WWW-Authenticate");
    assert_eq!((again.status, challenges.len()), (401, 1), "{challenges:?}");
    assert!(
        !challenges[0].contains("SHA-256") && challenges[0].contains("stale=true"),
        "{challenges:?}"
    );
    let nonce = nonce(challenges[0]);
    let (ha1, ha2) = (md5_hex("bob:r:pw"), md5_hex(&format!("DESCRIBE:{url}")));
    let response = md5_hex(&format!("{ha1}:{nonce}:{ha2}"));
    let answer = format!(
        "Authorization: Digest username=\"bob\", realm=\"r\", nonce=\"{nonce}\", uri=\"{url}\", response=\"{response}\""
    );
    assert_eq!(hand.ask("DESCRIBE", &url, &[&answer]).await?.status, 200);
    Ok(())
}

/// A track that is not asked for is not waited for.
#[tokio::test]
async fn a_pull_of_one_kind_is_a_stream_of_one_track() -> Result<()> {
    let (camera, _publisher) = camera("").await?;
    let server = serve(
        "[general]\nwait_track_ready_ms=600000\nwait_add_track_ms=600000\n[protocol]\nadd_mute_audio=0\n",
    )
    .await?;
    let source = camera.url_rtsp("live/source");
    for (play_track, codec) in [("1", "h264"), ("2", "aac")] {
        let mut parameters = proxy("live", codec, &source);
        parameters.push(("play_track", play_track));
        let answer = server.api("addStreamProxy", &parameters).await;
        assert_eq!(answer["code"], 0, "{answer}");
        online(&server, "live", codec).await;
        let url = server.url_rtsp(&format!("live/{codec}"));
        assert_eq!(codecs(Over::Tcp, &url).await?, [codec]);
    }
    Ok(())
}

/// A publisher may announce more than it sets up.
#[tokio::test]
async fn a_publisher_that_sets_up_one_track_is_a_stream_of_one_track() -> Result<()> {
    let server = serve("[general]\nwait_track_ready_ms=600000\nwait_add_track_ms=600000\n").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
        m=audio 0 RTP/AVP 8\r\na=control:streamid=1\r\n";
    hand.send("ANNOUNCE", &url, &[], sdp).await?;
    assert_eq!(hand.reply().await?.status, 200);
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record";
    let track = format!("{url}/streamid=1");
    assert_eq!(hand.ask("SETUP", &track, &[transport]).await?.status, 200);
    assert_eq!(hand.ask("RECORD", &url, &[]).await?.status, 200);
    for turn in 0..50_u32 {
        let mut packet = vec![b'$', 2, 0, 12 + 160, 0x80, 8];
        packet.extend((turn as u16).to_be_bytes());
        packet.extend((turn * 160).to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend([0xd5; 160]);
        hand.write(&packet).await?;
    }
    online(&server, "live", "cam").await;
    assert_eq!(codecs(Over::Tcp, &url).await?, ["pcm_alaw"]);
    Ok(())
}

/// Who holds a stream without reading it learns of its end, too.
#[tokio::test]
async fn players_that_do_not_read_are_told_the_end() -> Result<()> {
    let server = serve("[multicast]\naddrMin=239.77.1.1\naddrMax=239.77.1.9\n").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let track = format!("{url}/trackID=0");
    let mut described = Hand::connect(&server).await?;
    let mut paused = Hand::connect(&server).await?;
    let mut group = Hand::connect(&server).await?;
    let mut joined = Hand::connect(&server).await?;
    for (hand, transport) in [
        (&mut described, None),
        (&mut paused, Some(TCP)),
        (&mut group, Some(GROUP)),
        (&mut joined, Some(GROUP)),
    ] {
        assert_eq!(hand.ask("DESCRIBE", &url, &[]).await?.status, 200);
        if let Some(transport) = transport {
            assert_eq!(hand.ask("SETUP", &track, &[transport]).await?.status, 200);
        }
    }
    for hand in [&mut paused, &mut group] {
        assert_eq!(hand.ask("PLAY", &url, &[]).await?.status, 200);
    }
    assert_eq!(paused.ask("PAUSE", &url, &[]).await?.status, 200);
    let parameters = [("app", "live"), ("stream", "cam"), ("force", "1")];
    server.api("close_streams", &parameters).await;
    for hand in [described, paused, group, joined].iter_mut() {
        assert!(hand.closed().await?);
    }
    Ok(())
}

/// A player whom UDP does not reach takes TCP instead, as ffmpeg does: it pauses, sets up anew and goes on.
#[tokio::test]
async fn a_player_may_change_its_transport() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let url = server.url_rtsp("live/cam");
    let mut hand = Hand::connect(&server).await?;
    hand.ask("DESCRIBE", &url, &[]).await?;
    let mut sockets = Vec::new();
    for track in 0..2 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = socket.local_addr()?.port();
        let transport = format!("Transport: RTP/AVP;unicast;client_port={port}-{}", port ^ 1);
        let url = format!("{url}/trackID={track}");
        assert_eq!(hand.ask("SETUP", &url, &[&transport]).await?.status, 200);
        sockets.push(socket);
    }
    assert_eq!(hand.ask("PLAY", &url, &[]).await?.status, 200);
    let mut datagram = [0; 2048];
    for socket in &sockets {
        timeout(SOON, socket.recv(&mut datagram)).await??;
    }
    assert_eq!(hand.ask("PAUSE", &url, &[]).await?.status, 200);
    for track in 0..2 {
        let url = format!("{url}/trackID={track}");
        let reply = hand.ask("SETUP", &url, &[TCP]).await?;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(hand.ask("PLAY", &url, &[]).await?.status, 200);
    let mut channels = std::collections::BTreeSet::new();
    while !(channels.contains(&0) && channels.contains(&2)) {
        channels.insert(hand.packet().await?.0);
    }
    Ok(())
}

/// What a stream's players are told and sent is settled when it opens; a new configuration is for the next stream.
#[tokio::test]
async fn direct_proxy_may_be_switched_while_streams_live() -> Result<()> {
    let server = serve("[rtsp]\ndirectProxy=1\n").await?;
    let _before = publish_rtsp_live(&server, "live/before", Over::Tcp).await?;
    let answer = server.api("setServerConfig", &[("rtsp.directProxy", "0")]).await;
    assert_eq!(
        (&answer["code"], &answer["changed"]),
        (&json!(0), &json!(1)),
        "{answer}"
    );
    let _after = publish_rtsp_live(&server, "live/after", Over::Tcp).await?;
    for (stream, control) in [("live/before", "streamid=0"), ("live/after", "trackID=0")] {
        let url = server.url_rtsp(stream);
        let described = Hand::connect(&server).await?.ask("DESCRIBE", &url, &[]).await?;
        assert!(described.body.contains(control), "{stream}: {}", described.body);
        assert_eq!(codecs(Over::Tcp, &url).await?, ["h264", "aac"], "{stream}");
    }
    Ok(())
}
