//! What comes out is what went in: every frame's bytes and times, B-frames and audio included.

use crate::clients::*;
use anyhow::Result;
use std::path::{Path, PathBuf};
use testkit::fixture::Fixture;
use testkit::framehash::{self, Kind, MILLISECOND_ROUNDING, assert_run};
use testkit::server::TestServer;
use testkit::tool::{Running, Tool};
use testkit::websocket;

/// Four times real time: fast enough for a test, slow enough to be a live stream.
const PACE: &str = "4";

/// Plays to the end of the stream, as whom. Players ask before the stream is there, so that they get it from its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rtmp,
    HttpFlv,
    WsFlv,
}

struct Player {
    by: By,
    file: PathBuf,
    running: Option<Running>,
    ws: Option<tokio::task::JoinHandle<Result<Vec<u8>>>>,
}

impl Player {
    fn start(by: By, server: &TestServer, stream: &str, ffmpeg: Tool) -> Result<Self> {
        let file = server
            .folder()
            .join(format!("played-{by:?}-{}.flv", stream.replace('/', "-")));
        let mut player = Self {
            by,
            file,
            running: None,
            ws: None,
        };
        match by {
            By::Rtmp => {
                let args = [
                    "-v",
                    "error",
                    "-copyts",
                    "-i",
                    &server.url_rtmp(stream),
                    "-map",
                    "0",
                    "-c",
                    "copy",
                    "-f",
                    "flv",
                ];
                player.running = Some(ffmpeg.args(args).arg(&player.file).spawn()?);
            }
            By::HttpFlv => {
                let curl = Tool::curl()
                    .args(["-s", "-o"])
                    .arg(&player.file)
                    .arg(server.url_flv(stream));
                player.running = Some(curl.spawn()?);
            }
            By::WsFlv => {
                let url = server.url_ws_flv(stream);
                player.ws = Some(tokio::spawn(async move {
                    websocket::Client::connect(&url, None, SOON)
                        .await?
                        .read_to_end(SOON)
                        .await
                }));
            }
        }
        Ok(player)
    }

    /// The file with what was played.
    async fn end(self) -> Result<PathBuf> {
        if let Some(running) = self.running {
            let output = running.wait(SOON).await?;
            // curl reports a body without a length that ends with its connection as what it is: complete.
            assert!(output.status.success(), "{output:?}");
        }
        if let Some(ws) = self.ws {
            std::fs::write(&self.file, ws.await??)?;
        }
        Ok(self.file)
    }
}

async fn waiting(server: &TestServer, stream: &str, count: u64) {
    let (app, name) = stream.split_once('/').expect("app/stream");
    let parameters = [("vhost", "__defaultVhost__"), ("app", app), ("stream", name)];
    server
        .poll("all players wait", SOON, async |server| {
            let view = server.api("getStreamTimeline", &parameters).await;
            (view["data"]["waiting"] == count).then_some(())
        })
        .await;
}

async fn publish_once(ffmpeg: Tool, file: &Path, more: &[&str], url: &str) -> Result<()> {
    let args = ["-nostdin", "-v", "error", "-readrate", PACE, "-i"];
    let ended = ffmpeg
        .args(args)
        .arg(file)
        .args(["-map", "0", "-c", "copy"])
        .args(more)
        .args(["-f", "flv", url]);
    let ended = ended.run(SOON).await?;
    assert!(ended.status.success(), "{ended:?}");
    Ok(())
}

async fn compare(published: &Path, played: &Path, kinds: &[Kind]) -> Result<()> {
    for kind in kinds {
        let before = framehash::of_file(published, *kind).await?;
        let after = framehash::of_file(played, *kind).await?;
        // The last frames of a file may leave ffmpeg after its goodbye.
        let start = assert_run(&before, &after, before.len() - 3, MILLISECOND_ROUNDING);
        assert!(
            start <= 1,
            "{kind:?} of {} starts at frame {start}",
            played.display()
        );
    }
    Ok(())
}

async fn all_players(fixture: Fixture, config: &str, kinds: &[Kind]) -> Result<()> {
    let server = serve(config).await?;
    let file = fixture.path().await?;
    let players = [By::Rtmp, By::HttpFlv, By::WsFlv];
    let players = players.map(|by| Player::start(by, &server, "live/cam", Tool::ffmpeg()));
    waiting(&server, "live/cam", 3).await;
    publish_once(Tool::ffmpeg(), &file, &[], &server.url_rtmp("live/cam")).await?;
    for player in players {
        let player = player?;
        let by = player.by;
        let played = player.end().await?;
        compare(&file, &played, kinds)
            .await
            .map_err(|error| error.context(format!("{by:?}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn h264_with_b_frames_and_aac() -> Result<()> {
    all_players(Fixture::H264Aac, "", &[Kind::Video, Kind::Audio]).await
}

#[tokio::test]
async fn h264_and_mp3() -> Result<()> {
    all_players(Fixture::H264Mp3, "", &[Kind::Video, Kind::Audio]).await
}

#[tokio::test]
async fn h264_and_g711() -> Result<()> {
    all_players(Fixture::H264Pcma, "", &[Kind::Video, Kind::Audio]).await
}

#[tokio::test]
async fn video_only_with_and_without_the_silent_track() -> Result<()> {
    all_players(Fixture::H264, "[protocol]\nadd_mute_audio=0\n", &[Kind::Video]).await?;
    all_players(Fixture::H264, "", &[Kind::Video]).await
}

#[tokio::test]
async fn audio_only() -> Result<()> {
    all_players(Fixture::Aac, "", &[Kind::Audio]).await
}

/// A pull on demand over each protocol, and a push on: three servers in a row change nothing.
#[tokio::test]
async fn pulled_and_pushed_streams() -> Result<()> {
    let (origin, edge, last) = (serve("").await?, serve("").await?, serve("").await?);
    let file = Fixture::H264Aac.path().await?;
    let player = Player::start(By::HttpFlv, &last, "far/cam", Tool::ffmpeg())?;
    waiting(&last, "far/cam", 1).await;
    // The chain stands before the first frame: publishing begins when the last server's player waits.
    let url = origin.url_rtmp("live/cam");
    let publisher = tokio::spawn(async move {
        publish_once(Tool::ffmpeg(), &file, &[], &url)
            .await
            .map(|()| file)
    });
    online(&origin, "live", "cam").await;
    let source = origin.url_rtmp("live/cam");
    let pulled = edge.api("addStreamProxy", &proxy("edge", "cam", &source)).await;
    assert_eq!(pulled["code"], 0, "{pulled}");
    online(&edge, "edge", "cam").await;
    let destination = last.url_rtmp("far/cam");
    let push = [
        ("schema", "rtmp"),
        ("vhost", "__defaultVhost__"),
        ("app", "edge"),
        ("stream", "cam"),
        ("dst_url", destination.as_str()),
    ];
    let pushed = edge.api("addStreamPusherProxy", &push).await;
    assert_eq!(pushed["code"], 0, "{pushed}");
    let file = publisher.await??;
    let played = player.end().await?;
    for kind in [Kind::Video, Kind::Audio] {
        let before = framehash::of_file(&file, kind).await?;
        let after = framehash::of_file(&played, kind).await?;
        assert_run(&before, &after, before.len() / 3, MILLISECOND_ROUNDING);
    }
    Ok(())
}

/// Enhanced RTMP needs a recent ffmpeg at both ends. It leaves temporal delimiters in AV1, which FLV does not carry.
async fn enhanced(fixture: Fixture, filter: &[&str]) -> Result<()> {
    let server = serve("").await?;
    let file = fixture.path().await?;
    let clean = server.folder().join("clean.mkv");
    let cleaned = Tool::ffmpeg_new()?
        .args(["-v", "error", "-i"])
        .arg(&file)
        .args(["-c", "copy"])
        .args(filter)
        .arg(&clean);
    cleaned.run(SOON).await?;
    let mut players = Vec::new();
    for by in [By::Rtmp, By::HttpFlv, By::WsFlv] {
        players.push(Player::start(by, &server, "live/cam", Tool::ffmpeg_new()?)?);
    }
    waiting(&server, "live/cam", 3).await;
    publish_once(Tool::ffmpeg_new()?, &clean, &[], &server.url_rtmp("live/cam")).await?;
    for player in players {
        let by = player.by;
        let played = player.end().await?;
        let again = played.with_extension("mkv");
        let cleaned = Tool::ffmpeg_new()?
            .args(["-v", "error", "-copyts", "-i"])
            .arg(&played)
            .args(["-c", "copy"])
            .args(filter);
        cleaned.arg(&again).run(SOON).await?;
        compare(&clean, &again, &[Kind::Video, Kind::Audio])
            .await
            .map_err(|error| error.context(format!("{by:?}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn h265_and_aac_over_enhanced_rtmp() -> Result<()> {
    enhanced(Fixture::H265Aac, &[]).await
}

#[tokio::test]
async fn av1_and_opus_over_enhanced_rtmp() -> Result<()> {
    enhanced(Fixture::Av1Opus, &["-bsf:v", "av1_metadata=td=remove"]).await
}

#[tokio::test]
async fn vp9_and_opus_over_enhanced_rtmp() -> Result<()> {
    enhanced(Fixture::Vp9Opus, &[]).await
}
