//! The player page as a person meets it, in a real browser: in the demo, and on a server of one's own.

use crate::chromium::Page;
use crate::clients::{SOON, md5_hex, publish, publish_live, serve, serve_hooked, tidegate};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer, Request};
use testkit::server::TestServer;
use testkit::tool::Tool;

/// A server whose page lists its streams to everybody.
const OPEN: &str = "[http]\nplayerPage=2\n";

/// Opens the page of a server.
async fn open(server: &TestServer, target: &str) -> Result<(Page, tempfile::TempDir)> {
    let profile = tempfile::tempdir()?;
    let page = Page::open(&server.url_http(target), profile.path(), "en").await?;
    Ok((page, profile))
}

#[tokio::test]
async fn the_demos_page_plays_a_stream_that_opens_because_one_clicks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ready = folder.path().join("ready.json");
    let demo = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--free-ports", "--ready-file"])
        .arg(&ready)
        .spawn()?;
    demo.wait_for_stdout("Hook calls, as they come".len(), SOON)
        .await?;
    let ports: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
    let url = format!("http://127.0.0.1:{}/", ports["http"]);
    let mut page = Page::open(&url, &folder.path().join("profile"), "en").await?;
    page.until_text(".tour h2", "opens because you watch").await?;
    page.screenshot("demo").await?;
    for stream in ["demo/rule", "demo/hook"] {
        page.click(&format!(".tour button[data-stream='{stream}']"))
            .await?;
        page.until_text("#state", &format!("Playing {stream}")).await?;
        page.until_playing().await?;
        page.until("/^\\d+ ms$/.test(document.getElementById('first-picture').textContent)")
            .await?;
        page.click("#stop").await?;
        page.until_text("#state", "Stopped").await?;
    }
    assert_eq!(page.problems().await?, [""; 0]);
    drop(page);
    demo.terminate(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn one_signs_in_sees_the_streams_and_plays_one() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam1").await?;
    let (mut page, _profile) = open(&server, "/").await?;

    // Who has not signed in is told nothing.
    page.until("!document.getElementById('sign-in').hidden").await?;
    assert_eq!(
        page.evaluate("document.querySelectorAll('#streams li').length")
            .await?,
        0
    );
    page.screenshot("sign-in").await?;
    page.click("#secret").await?;
    page.type_text("a wrong one").await?;
    page.press("Enter").await?;
    page.until_text("#sign-in-note", "The secret is wrong").await?;
    page.type_text(server.secret()).await?;
    page.press("Enter").await?;
    page.until_text("#streams", "live/cam1").await?;
    assert_eq!(
        page.evaluate("document.getElementById('secret').value").await?,
        ""
    );

    page.click("#streams button[data-stream='live/cam1']").await?;
    page.until_text("#state", "Playing live/cam1").await?;
    page.until_playing().await?;
    page.until_text(
        "#story",
        "HTTP-FLV: the stream has it and the browser plays H.264 + AAC",
    )
    .await?;
    for (figure, form) in [
        ("latency", "^\\d+ ms$"),
        ("first-picture", "^\\d+ ms$"),
        ("resolution", "^\\d+ × \\d+$"),
        ("codec", "^H\\.264 \\+ AAC"),
        ("frames", "^\\d+ decoded, \\d+ dropped$"),
        ("bitrate", "^\\d+ kbit.s$"),
    ] {
        page.until(&format!(
            "/{form}/.test(document.getElementById('{figure}').innerText)"
        ))
        .await?;
    }
    // What the latency is, is said; it follows from what the browser holds.
    let tip = page
        .evaluate("document.getElementById('latency-box').title")
        .await?;
    ensure!(
        tip.as_str().is_some_and(|tip| tip.contains("Not in it: network")),
        "{tip}"
    );
    page.until_text("#streams", "1 watching").await?;
    page.screenshot("playing").await?;
    page.resize(390, 844).await?;
    page.screenshot("phone").await?;
    let wide = page
        .evaluate("document.documentElement.scrollWidth > innerWidth")
        .await?;
    assert_eq!(wide, false, "the page fits a phone");

    page.click("#stop").await?;
    page.until_text("#state", "Stopped").await?;
    page.until_text("#streams", "0 watching").await?;
    page.click("#sign-out").await?;
    page.until("!document.getElementById('sign-in').hidden").await?;
    assert_eq!(
        page.evaluate("document.querySelectorAll('#streams li').length")
            .await?,
        0
    );
    assert_eq!(page.problems().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn everything_comes_from_this_host_and_packed() -> Result<()> {
    let server = serve(OPEN).await?;
    let _publisher = publish_live(&server, "live/cam1").await?;
    let (mut page, _profile) = open(&server, "/?stream=live/cam1").await?;
    page.until_playing().await?;
    // By hand, over WebSocket.
    page.evaluate("(() => { const way = document.getElementById('way'); way.value = 'ws-flv'; way.dispatchEvent(new Event('change')); })()")
        .await?;
    page.until_text("#story", "WebSocket-FLV, chosen by hand").await?;
    page.until_text("#state", "Playing").await?;
    page.until_playing().await?;

    let port = server.port("http");
    let requests = page.requests().await?;
    let ours = [
        format!("http://127.0.0.1:{port}/"),
        format!("ws://127.0.0.1:{port}/"),
    ];
    for url in &requests {
        ensure!(ours.iter().any(|our| url.starts_with(our)), "{url}");
    }
    ensure!(requests.iter().any(|url| url.starts_with("ws:")), "{requests:?}");
    for (path, cache) in [
        ("/?stream=live/cam1", "no-cache"),
        ("/tidegate/page.js", "no-cache"),
        ("/tidegate/mpegts-1.8.2.js", "public, max-age=31536000, immutable"),
    ] {
        let headers = page.answer_headers(&server.url_http(path)).await?;
        assert_eq!(headers["content-encoding"], "gzip", "{path}");
        assert_eq!(headers["cache-control"], cache, "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let policy = headers["content-security-policy"].as_str().context("a policy")?;
        ensure!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
    assert_eq!(page.problems().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_name_is_text_whatever_it_looks_like() -> Result<()> {
    let server = serve(OPEN).await?;
    // ffmpeg cuts URLs at blanks; a slash parts attributes as well.
    let name = "<img/src=x/onerror=document.title='taken'>";
    let _publisher = publish(Fixture::H264Aac, &server.url_rtmp(&format!("live/{name}"))).await?;
    let (mut page, _profile) = open(&server, "/").await?;
    page.until_text("#streams", name).await?;
    page.click("#streams button").await?;
    page.until_text("#state", &format!("Playing live/{name}")).await?;
    page.until_playing().await?;
    assert_eq!(page.evaluate("document.querySelectorAll('img').length").await?, 0);
    assert_eq!(page.evaluate("document.title === 'taken'").await?, false);
    assert_eq!(page.problems().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_typed_stream_is_opened_and_what_is_not_there_is_said() -> Result<()> {
    let origin = serve("").await?;
    let _publisher = publish_live(&origin, "live/cam1").await?;
    let rule = format!(
        "[general]\nmaxStreamWaitMS = 1000\n[[source]]\npattern = \"door/(?<id>.+)\"\nurl = \"{}\"\nclose_after = \"1s\"\n",
        origin.url_rtmp("live/${id}")
    );
    let server = tidegate().toml(rule).start().await?;
    let (mut page, _profile) = open(&server, "/").await?;
    page.click("#name").await?;
    page.type_text("nothing").await?;
    page.press("Enter").await?;
    page.until_text("#state", "A stream has the form app/stream")
        .await?;

    page.evaluate("document.getElementById('name').value = ''")
        .await?;
    page.type_text("door/cam1").await?;
    page.press("Enter").await?;
    page.until_text("#state", "Playing door/cam1").await?;
    page.until_playing().await?;
    assert_eq!(page.evaluate("location.hash").await?, "#door/cam1");

    page.go(&server.url_http("/?stream=live/none")).await?;
    page.until_text("#state", "HTTP-FLV failed: there is no such stream")
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_servers_reason_is_shown() -> Result<()> {
    let refuse = |request: &Request| match request.hook.as_str() {
        "on_play" => Answer::refuse("not for <b>you</b>"),
        _ => Answer::ok(),
    };
    let hooks = HookServer::start(refuse).await?;
    let server = serve_hooked(&hooks, "").await?;
    let _publisher = publish_live(&server, "live/cam1").await?;
    let (mut page, _profile) = open(&server, "/#live/cam1").await?;
    page.until_text("#state", "not for <b>you</b>").await?;
    Ok(())
}

/// The choice of a way, in the browser that will make it, with streams and abilities that are not there.
#[tokio::test]
async fn ways_are_chosen_by_what_stream_and_browser_have() -> Result<()> {
    let server = serve("").await?;
    let (mut page, _profile) = open(&server, "/").await?;
    page.evaluate(
        "import('/tidegate/ways.js').then((ways) => { self.ways = ways; \
         self.all = { mse: () => true, hasMse: true, native: () => true }; \
         self.stream = (schemas, video, audio) => ({ schemas, tracks: [ \
           ...(video ? [{ kind: 'video', codec: video }] : []), ...(audio ? [{ kind: 'audio', codec: audio }] : [])] }); \
         self.order = (stream, able) => ways.waysFor(stream, able).filter((one) => one.possible) \
           .map((one) => one.way.id + (one.sound ? '' : ' (no sound)')).join(', '); })",
    )
    .await?;
    let every = "['rtmp', 'rtsp', 'ts', 'fmp4', 'hls', 'hls.fmp4']";
    let cases = [
        (
            format!("order(stream({every}, 'H.264', 'AAC'), all)"),
            "ll-hls, flv, hls-ts, native-hls, ws-flv, ts, mp4",
        ),
        (
            format!("order(stream({every}, 'H.265', 'AAC'), all)"),
            "ll-hls, flv, native-hls, ws-flv, ts, mp4",
        ),
        (
            format!("order(stream({every}, 'VP9', 'Opus'), all)"),
            "ll-hls, mp4",
        ),
        (format!("order(stream({every}, 'VP8', 'Opus'), all)"), ""),
        // Cameras with telephone sound: the picture at least.
        (
            format!("order(stream({every}, 'H.264', 'G.711 A-law'), all)"),
            "flv (no sound), ws-flv (no sound), ts (no sound)",
        ),
        (
            format!("order(stream({every}, null, 'AAC'), all)"),
            "ll-hls, flv, hls-ts, native-hls, ws-flv, ts, mp4",
        ),
        (
            "order(stream(['rtmp', 'rtsp'], 'H.264', 'AAC'), all)".to_owned(),
            "flv, ws-flv",
        ),
        ("order(stream(['rtsp'], 'H.264', 'AAC'), all)".to_owned(), ""),
        // A browser like Safari on an old iPhone: no Media Source Extensions.
        (
            format!("order(stream({every}, 'H.264', 'AAC'), {{ ...all, mse: () => false, hasMse: false }})"),
            "native-hls, mp4",
        ),
        // A browser like Chromium: no HLS of its own, no H.265.
        (
            format!(
                "order(stream({every}, 'H.265', 'AAC'), {{ ...all, mse: (type) => !type.includes('hvc1'), native: () => false }})"
            ),
            "",
        ),
        (
            "order(null, all)".to_owned(),
            "flv, ll-hls, hls-ts, native-hls, ws-flv, ts, mp4",
        ),
        (
            format!(
                "ways.nextWay(ways.waysFor(stream({every}, 'H.264', 'AAC'), all), ['ll-hls', 'flv']).way.id"
            ),
            "hls-ts",
        ),
        (
            "ways.urlFor({ way: ways.WAYS.find((way) => way.id === 'ws-flv'), suffix: '.live.flv' }, \
              { path: 'live/a b?c/d', query: 'token=1' }, { protocol: 'https:', host: 'h:1' })"
                .to_owned(),
            "wss://h:1/live/a%20b%3Fc/d.live.flv?token=1",
        ),
        (
            "JSON.stringify([' /live/a/b?x=1?2 ', 'live', 'live/', '/', ''].map(ways.parseName))".to_owned(),
            "[{\"path\":\"live/a/b\",\"query\":\"x=1?2\"},null,null,null,null]",
        ),
    ];
    for (script, wanted) in cases {
        assert_eq!(page.evaluate(&script).await?, wanted, "{script}");
    }
    // The exact codec of a stream is what the browser is asked about.
    let exact = "order({ schemas: ['rtmp'], tracks: [{ kind: 'video', codec: 'H.264', rfc6381: 'avc1.7A0029' }] }, \
                 { ...all, mse: (type) => type === 'video/mp4; codecs=\"avc1.640029\"' })";
    assert_eq!(page.evaluate(exact).await?, "");

    let digests = "import('/tidegate/md5.js').then(({ md5 }) => [md5(''), md5('zlmediakit:035c:abc'), md5('ü'.repeat(61))])";
    assert_eq!(
        page.evaluate(digests).await?,
        json!([
            md5_hex(""),
            md5_hex("zlmediakit:035c:abc"),
            md5_hex(&"ü".repeat(61))
        ])
    );
    let words = "import('/tidegate/text.js').then(({ untranslated }) => untranslated())";
    assert_eq!(page.evaluate(words).await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn the_page_speaks_chinese_to_those_who_do() -> Result<()> {
    let server = serve(OPEN).await?;
    let profile = tempfile::tempdir()?;
    let mut page = Page::open(&server.url_http("/"), profile.path(), "zh-CN").await?;
    page.until_text("h1", "播放器").await?;
    assert_eq!(page.evaluate("document.documentElement.lang").await?, "zh-CN");
    page.screenshot("chinese").await?;
    Ok(())
}
