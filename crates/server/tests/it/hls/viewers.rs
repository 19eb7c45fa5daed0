//! Who watches: counted once each, told once each, gone when they are gone.

use super::*;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use testkit::fixture::Fixture;
use testkit::hls::Media;
use testkit::hook::{Answer, HookServer, Request};
use testkit::tool::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Segments of a second, so that viewers are known to have left after four.
const SHORT: &str = "[hls]\nsegDur=1\nsegRetain=20\n";

/// Key frames every 0.4 s.
async fn publish_short(server: &TestServer, stream: &str) -> Result<Running> {
    let running = publish(Fixture::H264AacShortGop, &server.url_rtmp(stream)).await?;
    let (app, name) = stream.split_once('/').context("app/stream")?;
    online(server, app, name).await;
    Ok(running)
}

/// A stream that is watched, and the service that hears of it.
async fn stage(more: &str) -> Result<(HookServer, TestServer, Running)> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, &format!("{SHORT}{more}")).await?;
    let publisher = publish_short(&server, "live/cam").await?;
    Ok((hooks, server, publisher))
}

/// curl, a process for each request.
struct Curl {
    base: String,
    /// Cookies are kept in this file.
    jar: Option<PathBuf>,
    interface: &'static str,
}

impl Curl {
    fn new(server: &TestServer) -> Self {
        Self {
            base: server.url_http("").trim_end_matches('/').to_owned(),
            jar: None,
            interface: "127.0.0.1",
        }
    }

    fn with_jar(server: &TestServer, number: usize) -> Self {
        Self {
            jar: Some(server.folder().join(format!("jar-{number}"))),
            ..Self::new(server)
        }
    }

    async fn get(&self, target: &str) -> Result<(u16, String)> {
        let mut curl = Tool::curl().args(["-s", "--interface", self.interface, "-w", "\n%{http_code}"]);
        if let Some(jar) = &self.jar {
            curl = curl.arg("-b").arg(jar).arg("-c").arg(jar);
        }
        let output = curl.arg(format!("{}{target}", self.base)).run(SOON).await?;
        let text = output.stdout_text();
        let (body, status) = text.rsplit_once('\n').context("a status")?;
        Ok((status.parse()?, body.to_owned()))
    }
}

fn of_players(request: &Request) -> bool {
    request.body["player"] == true
}

fn reports(hooks: &HookServer) -> Vec<Request> {
    let mut all = hooks.received("on_flow_report");
    all.retain(of_players);
    all
}

async fn watching(server: &TestServer, schema: &str) -> usize {
    players(server, schema, "live", "cam").await
}

/// They all are there, in every list; they were all asked about once; they leave, are reported once each, and the stream is unwatched.
async fn counted(hooks: &HookServer, server: &TestServer, schema: &str, count: usize) -> Result<()> {
    assert_eq!(hooks.received("on_play").len(), count);
    let parameters = [
        ("schema", schema),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "cam"),
    ];
    let list = server.api("getMediaPlayerList", &parameters).await;
    let players = list["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(players.len(), count, "{list}");
    let media = server.api("getMediaList", &parameters).await;
    assert_eq!(media["data"][0]["readerCount"], count, "{media}");
    assert_eq!(media["data"][0]["totalReaderCount"], count, "{media}");
    let sessions = server.api("getAllSession", &[]).await;
    let sessions = sessions["data"].as_array().cloned().unwrap_or_default();
    for player in &players {
        let found = sessions
            .iter()
            .filter(|session| session["id"] == player["identifier"]);
        assert_eq!(found.count(), 1, "{player}");
    }
    gone(hooks, count).await
}

/// They leave by themselves, each reported once with what it was sent, and the stream is unwatched.
async fn gone(hooks: &HookServer, count: usize) -> Result<()> {
    hooks
        .wait_for(
            |all| {
                all.iter()
                    .filter(|call| call.hook == "on_flow_report" && of_players(call))
                    .count()
                    >= count
            },
            SOON,
        )
        .await;
    let last = reports(hooks).last().context("a report")?.arrival;
    hooks
        .wait_for_call("on_stream_none_reader", |call| call.arrival >= last, SOON)
        .await;
    let reports = reports(hooks);
    assert_eq!(reports.len(), count);
    for report in reports {
        ensure!(
            report.body["totalBytes"].as_u64().is_some_and(|bytes| bytes > 0),
            "{}",
            report.body
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_ffmpeg_is_one_viewer() -> Result<()> {
    let (hooks, server, _publisher) = stage("").await?;
    let url = server.url_http("live/cam/hls.m3u8");
    let player = Tool::ffmpeg()
        .args(["-re", "-i", &url, "-t", "4", "-c", "copy", "-f", "null", "-"])
        .spawn()?;
    let played = player.wait(SOON).await?;
    assert!(played.status.success(), "{played:?}");
    counted(&hooks, &server, "hls", 1).await
}

#[tokio::test]
async fn twenty_without_cookies_that_follow_their_urls_are_twenty() -> Result<()> {
    let (hooks, server, _publisher) = stage("[protocol]\nenable_hls_fmp4=1\n").await?;
    let mut known = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let curl = Curl::new(&server);
        let (status, text) = curl.get("/live/cam/hls.fmp4.m3u8").await?;
        assert_eq!(status, 200, "{text}");
        let master = testkit::hls::Master::parse(&text)?;
        let uri = &master.variants[0].uri;
        known.insert(uri.clone());
        let (_, text) = curl.get(&format!("/live/cam/{uri}")).await?;
        let media = Media::parse(&text)?;
        let folder = uri.split('/').next().context("a folder")?;
        let segment = &media.segments[0].uri;
        let (status, _) = curl.get(&format!("/live/cam/{folder}/{segment}")).await?;
        assert_eq!(status, 200);
    }
    assert_eq!(known.len(), 20);
    counted(&hooks, &server, "hls.fmp4", 20).await
}

#[tokio::test]
async fn twenty_with_cookies_are_twenty_however_often_they_ask() -> Result<()> {
    let (hooks, server, _publisher) = stage("").await?;
    for number in 0..20 {
        let curl = Curl::with_jar(&server, number);
        curl.get("/live/cam/hls.m3u8").await?;
        let mut media = Media::default();
        for _ in 0..if number == 0 { 10 } else { 2 } {
            let (status, text) = curl.get("/live/cam/hls.m3u8").await?;
            assert_eq!(status, 200);
            media = Media::parse(&text)?;
        }
        let (status, _) = curl.get(&format!("/live/cam/{}", media.segments[0].uri)).await?;
        assert_eq!(status, 200);
    }
    counted(&hooks, &server, "hls", 20).await
}

#[tokio::test]
async fn without_session_playlists_an_address_is_a_viewer() -> Result<()> {
    let (hooks, server, _publisher) = stage("sessionPlaylist=0\n").await?;
    for interface in ["127.0.0.1", "127.0.0.2"] {
        let curl = Curl {
            interface,
            ..Curl::new(&server)
        };
        for _ in 0..6 {
            let (status, text) = curl.get("/live/cam/hls.m3u8").await?;
            assert_eq!(status, 200);
            let media = Media::parse(&text)?;
            let (status, _) = curl.get(&format!("/live/cam/{}", media.segments[0].uri)).await?;
            assert_eq!(status, 200);
        }
    }
    let addresses: Vec<_> = hooks
        .received("on_play")
        .iter()
        .map(|call| call.body["ip"].clone())
        .collect();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.2"]);
    counted(&hooks, &server, "hls", 2).await
}

#[tokio::test]
async fn a_viewer_that_was_kicked_has_to_ask_again() -> Result<()> {
    let (hooks, server, _publisher) = stage("").await?;
    let player = Player::open(&server, "live/cam", Form::Ts).await?;
    let media = player.playlist("").await?;
    let parameters = [
        ("schema", "hls"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "cam"),
    ];
    // The schema is registered by its first segment, a moment after that can be seen.
    let id = server
        .poll("the player is listed", SOON, async |server| {
            let list = server.api("getMediaPlayerList", &parameters).await;
            list["data"][0]["identifier"].as_str().map(str::to_owned)
        })
        .await;
    assert_eq!(server.api("kick_session", &[("id", &id)]).await["code"], 0);
    hooks.wait_for_call("on_flow_report", of_players, SOON).await;
    assert_eq!(watching(&server, "hls").await, 0);
    assert_eq!(player.ask_for(&media.segments[0].uri).await?.status, 404);
    hooks.set_script(|call| match call.hook.as_str() {
        "on_play" => Answer::refuse("go away"),
        _ => Answer::ok(),
    });
    let refused = player.ask("", &[]).await?;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (401, "[auth failed]: code:-1 msg:\"go away\"")
    );
    hooks.set_script(|_| Answer::ok());
    player.playlist("").await?;
    assert_eq!(hooks.received("on_play").len(), 3);
    assert_eq!(watching(&server, "hls").await, 1);
    Ok(())
}

#[tokio::test]
async fn a_token_is_worth_nothing_at_another_address() -> Result<()> {
    let (hooks, server, _publisher) = stage("").await?;
    let player = Player::open(&server, "live/cam", Form::Ts).await?;
    let media = player.playlist("").await?;
    hooks.set_script(|call| match (call.hook.as_str(), call.body["ip"].as_str()) {
        ("on_play", Some("127.0.0.2")) => Answer::refuse("a thief"),
        _ => Answer::ok(),
    });
    let thief = Curl {
        interface: "127.0.0.2",
        ..Curl::new(&server)
    };
    assert_eq!(
        thief.get(&player.target).await?,
        (401, "[auth failed]: code:-1 msg:\"a thief\"".to_owned())
    );
    let folder = player.target.rsplit_once('/').context("a folder")?.0;
    let (status, _) = thief.get(&format!("{folder}/{}", media.segments[0].uri)).await?;
    assert_eq!(status, 404);
    assert_eq!(player.ask_for(&media.segments[0].uri).await?.status, 200);
    hooks.set_script(|_| Answer::ok());
    assert_eq!(thief.get(&player.target).await?.0, 200);
    assert_eq!(hooks.received("on_play").len(), 3);
    assert_eq!(watching(&server, "hls").await, 2);
    Ok(())
}

#[tokio::test]
async fn without_permission_nobody_sees_anything() -> Result<()> {
    let mut hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_play" => Answer::refuse("not you"),
        _ => Answer::ok(),
    })
    .await?;
    let config = format!("[hook]\nretry=0\n{SHORT}[protocol]\nenable_hls_fmp4=1\n");
    let server = serve_hooked(&hooks, &config).await?;
    let _publisher = publish_short(&server, "live/cam").await?;
    let http = server.address("http");
    for form in [Form::Ts, Form::Fmp4] {
        let answer = client::get(http, &form.path("live/cam"), &[]).await?;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (401, "[auth failed]: code:-1 msg:\"not you\"")
        );
        let call = &hooks.received("on_play")[usize::from(form == Form::Fmp4)];
        assert_eq!(
            (&call.body["schema"], &call.body["protocol"]),
            (&json!(form.schema()), &json!(form.schema()))
        );
    }
    hooks.down().await;
    let answer = client::get(http, &Form::Ts.path("live/cam"), &[]).await?;
    assert_eq!(answer.status, 401, "{}", answer.text());
    hooks.up().await?;
    assert_eq!(watching(&server, "hls").await, 0);
    assert_eq!(reports(&hooks).len(), 0);
    Ok(())
}

/// The one that only waits for something new has not left, nor has the one that reads slowly; the one that makes no request has.
#[tokio::test]
async fn who_waits_or_reads_slowly_does_not_leave() -> Result<()> {
    let (hooks, server, publisher) = stage("[protocol]\nenable_hls_fmp4=1\n").await?;
    let idle = Player::open(&server, "live/cam", Form::Fmp4).await?;
    let waiting = Player::open(&server, "live/cam", Form::Fmp4).await?;
    let slow = Player::open(&server, "live/cam", Form::Fmp4).await?;
    let media = waiting.playlist("").await?;
    idle.playlist("").await?;
    // It asks for more than any buffer on the way holds, and reads nothing.
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut socket = socket.connect(server.address("http")).await?;
    let folder = slow.target.rsplit_once('/').context("a folder")?.0;
    let request = format!(
        "GET {folder}/{} HTTP/1.1\r\nHost: a\r\n\r\n",
        media.segments[0].uri
    );
    socket.write_all(request.repeat(200).as_bytes()).await?;
    socket.read_exact(&mut [0; 12]).await?;
    // Nothing new comes any more, but the stream is kept for its publisher.
    publisher.kill().await?;
    let newest = waiting.playlist("").await?.next_sequence();
    let query = format!("_HLS_msn={}", newest + 1);
    let answer = tokio::spawn(async move { waiting.ask(&query, &[]).await });
    idle.playlist("").await?;
    let left = hooks.wait_for_call("on_flow_report", of_players, SOON).await;
    assert_eq!(watching(&server, "hls.fmp4").await, 2, "{}", left.body);
    assert!(!answer.is_finished());
    // Who is cut while waiting does not get what it waits for.
    let parameters = [
        ("schema", "hls.fmp4"),
        ("app", "live"),
        ("stream", "cam"),
        ("vhost", "__defaultVhost__"),
    ];
    let list = server.api("getMediaPlayerList", &parameters).await;
    for player in list["data"].as_array().context("players")? {
        let id = player["identifier"].as_str().context("an identifier")?;
        assert_eq!(server.api("kick_session", &[("id", id)]).await["code"], 0);
    }
    let error = answer.await?.expect_err("its connection is closed");
    assert!(format!("{error:#}").contains("connection closed"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_stream_is_told_at_once_and_can_be_seen_for_a_while() -> Result<()> {
    let (hooks, server, publisher) = stage("deleteDelaySec=4\n[general]\nmaxStreamWaitMS=500\n").await?;
    let player = Player::open(&server, "live/cam", Form::Ts).await?;
    let jar = Curl::with_jar(&server, 0);
    jar.get("/live/cam/hls.m3u8").await?;
    let before = player.playlist("").await?;
    assert!(!before.ended);
    publisher.terminate(SOON).await?;
    offline(&server, "live", "cam").await;
    hooks.wait_for_count("on_flow_report", 3, SOON).await;
    for _ in 0..5 {
        let ended = player.playlist("").await?;
        assert!(ended.ended, "{ended:?}");
        assert!(!player.fetch(&ended.segments[0].uri).await?.is_empty());
        let (status, text) = jar.get("/live/cam/hls.m3u8").await?;
        assert!(
            status == 200 && text.ends_with("#EXT-X-ENDLIST\n"),
            "{status} {text}"
        );
    }
    assert_eq!(hooks.received("on_stream_not_found").len(), 0);
    assert_eq!(reports(&hooks).len(), 2);

    // The stream comes back: a page that is loaded again sees the new one.
    let _publisher = publish_short(&server, "live/cam").await?;
    let (status, text) = jar.get("/live/cam/hls.m3u8").await?;
    assert!(status == 200 && !text.contains("ENDLIST"), "{status} {text}");
    let (_, text) = jar.get("/live/cam/hls.m3u8").await?;
    assert!(!Media::parse(&text)?.ended);
    assert_eq!(watching(&server, "hls").await, 1);

    // The old one is gone after its time; its player is a newcomer then.
    let asked = hooks.received("on_play").len();
    server
        .poll("the old segments are gone", SOON, async |_| {
            let answer = player.ask_for(&before.segments[0].uri).await.ok()?;
            (answer.status == 404).then_some(())
        })
        .await;
    assert!(!player.playlist("").await?.ended);
    assert_eq!(hooks.received("on_play").len(), asked + 1);
    Ok(())
}

#[tokio::test]
async fn a_watched_stream_is_not_called_unwatched() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_stream_none_reader" => Answer::Json(json!({"code": 0, "close": true})),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, SHORT).await?;
    let opening = {
        let http = server.address("http");
        tokio::spawn(async move { Player::open_at(http, &Form::Ts.path("live/cam")).await })
    };
    waiting(&server, "live/cam", 1).await;
    let _publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/cam")).await?;
    let player = opening.await??;
    // Its requests are a second apart, the delay is 0.4 s.
    let mut sequence = 0;
    server
        .poll("eight segments", SOON, async |_| {
            let media = player.playlist("").await.ok()?;
            sequence = media.next_sequence().max(sequence);
            (media.sequence >= 5).then_some(())
        })
        .await;
    assert_eq!(hooks.received("on_stream_none_reader").len(), 0);
    let none = hooks.wait_for_call("on_stream_none_reader", |_| true, SOON).await;
    assert!(matches!(none.body["schema"], Value::String(_)), "{}", none.body);
    offline(&server, "live", "cam").await;
    Ok(())
}
