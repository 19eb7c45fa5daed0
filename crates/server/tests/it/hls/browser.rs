//! What a browser plays: hls.js, and mpegts.js.
//!
//! The page is a file that loads a player, plays one URL, and tells a service of the test's how it went.

use super::*;
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::PathBuf;
use testkit::fixture::Fixture;
use testkit::hook::HookServer;
use testkit::tool::Running;

/// A file below the server's assets, wherever it is.
fn asset(name: &str) -> Result<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match (path.is_dir(), path.file_name()) {
                (true, _) => folders.push(path),
                (false, Some(found)) if found == name => return Ok(path),
                (false, _) => {}
            }
        }
    }
    bail!("no asset {name}")
}

/// Plays for some seconds after the picture has begun to move, then tells. `LATENCY` is how old the picture is that is shown.
const PAGE: &str = r#"<!doctype html><video id="video" muted autoplay></video><script src="file://SCRIPT"></script><script>
const video = document.getElementById('video');
const errors = [];
let latency = () => null;
let player = null;
START
let begun = null;
const timer = setInterval(() => {
  if (video.paused) video.play().catch(error => errors.push(String(error)));
  if (video.currentTime > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 0 && begun === null) begun = video.currentTime;
  const moved = begun === null ? 0 : video.currentTime - begun;
  if (moved < SECONDS) return;
  clearInterval(timer);
  const quality = video.getVideoPlaybackQuality();
  tell({ moved, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames, width: video.videoWidth,
    latency: latency(), errors });
}, 100);
function tell(what) { fetch('RECEIVER', { method: 'POST', mode: 'no-cors', body: JSON.stringify(what) }); }
</script>"#;

const HLS_JS: &str = r"
player = new Hls({ lowLatencyMode: true, enableWorker: false });
player.on(Hls.Events.ERROR, (name, data) => errors.push(data.type + ' ' + data.details + (data.fatal ? ' fatal' : '')));
player.loadSource('URL');
player.attachMedia(video);
latency = () => ({ latency: player.latency, target: player.targetLatency,
  date: player.playingDate ? (Date.now() - player.playingDate.getTime()) / 1000 : null });
";

const MPEGTS_JS: &str = r"
player = mpegts.createPlayer({ type: 'KIND', isLive: true, url: 'URL' }, { enableWorker: false });
player.on(mpegts.Events.ERROR, (type, detail) => errors.push(type + ' ' + detail));
player.attachMediaElement(video);
player.load();
";

/// Opens a page in a browser, and waits for what it tells.
async fn play(name: &str, script: &str, start: &str, seconds: u32) -> Result<Value> {
    let receiver = HookServer::start_consenting().await?;
    let folder = tempfile::tempdir()?;
    let page = PAGE
        .replace("SCRIPT", &asset(script)?.display().to_string())
        .replace("START", start)
        .replace("SECONDS", &seconds.to_string())
        .replace("RECEIVER", &receiver.url("played"));
    let file = folder.path().join("page.html");
    std::fs::write(&file, page)?;
    let profile = folder.path().join("profile");
    let _browser: Running = Tool::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-port=0",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", file.display()))
        .spawn()?;
    let told = receiver.wait_for_call("played", |_| true, SOON).await;
    let told: Value = serde_json::from_slice(&told.raw).context("what the page tells")?;
    println!("{name}: {told}");
    assert_eq!(told["width"], 320, "{name}: {told}");
    let frames = told["frames"].as_f64().context("frames")?;
    assert!(frames >= f64::from(seconds) * 12.0, "{name}: {told}");
    let errors = told["errors"].as_array().context("errors")?;
    assert!(
        !errors
            .iter()
            .any(|error| error.as_str().is_some_and(|text| text.ends_with("fatal"))),
        "{name}: {told}"
    );
    Ok(told)
}

#[tokio::test]
async fn hls_js_plays_both_forms_and_low_latency() -> Result<()> {
    let server = serve(BOTH).await?;
    let _publisher = publish(Fixture::H264Aac, &server.url_rtmp("live/cam")).await?;
    online(&server, "live", "cam").await;
    for (form, seconds) in [(Form::Ts, 2), (Form::Fmp4, 6)] {
        let url = server.url_http(&form.path("live/cam"));
        let told = play(
            form.schema(),
            "hls.light.min.js",
            &HLS_JS.replace("URL", &url),
            seconds,
        )
        .await?;
        if form == Form::Fmp4 {
            // A low-latency player aims at three parts of 0.2 s. Of whole segments it would stay three times two seconds behind.
            let of = |name: &str| told["latency"][name].as_f64().context("a latency");
            assert!(of("target")? < 1.5, "{told}");
            assert!(of("latency")? < 4.0 && of("date")? < 4.0, "{told}");
        }
        assert_eq!(players(&server, form.schema(), "live", "cam").await, 1);
    }
    Ok(())
}

#[tokio::test]
async fn mpegts_js_plays_flv_and_ts_over_http_and_websocket() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish(Fixture::H264Aac, &server.url_rtmp("live/cam")).await?;
    online(&server, "live", "cam").await;
    let http = server.url_http("live/cam.live");
    let ws = http.replacen("http", "ws", 1);
    for base in [http, ws] {
        for (kind, suffix) in [("flv", "flv"), ("mpegts", "ts")] {
            let url = format!("{base}.{suffix}");
            let start = MPEGTS_JS.replace("KIND", kind).replace("URL", &url);
            play(&url, "mpegts.js", &start, 2).await?;
        }
    }
    Ok(())
}
