//! What comes out is what went in: every frame's bytes and presentation times, over every transport, passed on or repacked.

use super::*;
use testkit::framehash::{self, Kind, assert_shown};
use std::time::Duration;

/// Publishers pace a file so that it is over in a few seconds, and slow enough to be a live stream.
const PACE: &str = "4";

/// RTP counts 90,000 or more ticks per second, the files at the ends milliseconds: each may round by one.
const ROUNDING: Duration = Duration::from_micros(2_500);

const DIRECT: &str = "[rtsp]\ndirectProxy=1\n";
const REPACKED: &str = "[rtsp]\ndirectProxy=0\n";

/// What may stand in the stream or in the header only: parameter sets, SEI, delimiters.
fn filter(fixture: Fixture, kind: Kind) -> &'static str {
    match (fixture, kind) {
        (Fixture::H265Aac, Kind::Video) => "filter_units=remove_types=32-35|39-40",
        (Fixture::Av1Opus, Kind::Video) => "filter_units=remove_types=1-2|15",
        (Fixture::Vp9Opus, Kind::Video) | (_, Kind::Audio) => "null",
        (_, Kind::Video) => "filter_units=remove_types=6-9",
    }
}

/// How each fixture's frames are counted: the first video, or audio, frames of a live stream may be missed by a player that
/// needs a key frame and by ffmpeg's own probing.
async fn compare(fixture: Fixture, published: &Path, played: &Path, kinds: &[Kind]) -> Result<()> {
    for kind in kinds {
        let filter = filter(fixture, *kind);
        let before = framehash::of_filtered_file(published, *kind, filter).await?;
        let after = framehash::of_filtered_file(played, *kind, filter).await?;
        assert_shown(&before, &after, before.len() - 10, ROUNDING);
    }
    Ok(())
}

async fn publish_once(file: &Path, format: &[&str], url: &str) -> Result<()> {
    let ended = Tool::ffmpeg_new()?
        .args(["-nostdin", "-v", "error", "-readrate", PACE, "-i"])
        .arg(file)
        .args(["-map", "0", "-c", "copy", "-strict", "experimental"])
        .args(format)
        .arg(url)
        .run(SOON)
        .await?;
    assert!(ended.status.success(), "{ended:?}");
    Ok(())
}

/// Players wait before the publisher comes, so that they get the stream from its first frame.
async fn waiting(server: &TestServer, count: u64) {
    let parameters = [("vhost", "__defaultVhost__"), ("app", "live"), ("stream", "cam")];
    server
        .poll("all players wait", SOON, async |server| {
            let view = server.api("getStreamTimeline", &parameters).await;
            (view["data"]["waiting"] == count).then_some(())
        })
        .await;
}

async fn through(fixture: Fixture, config: &str, publish: Over, players: &[Over], kinds: &[Kind]) -> Result<()> {
    let server = serve(config).await?;
    let source = fixture.path().await?;
    let mut running = Vec::new();
    for (number, over) in players.iter().enumerate() {
        let file = file(&server, &format!("{number}.mkv"));
        let url = over.url(&server, "live/cam");
        running.push((record_rtsp(Tool::ffmpeg_new()?, *over, &url, &[], &file)?, file));
    }
    waiting(&server, players.len() as u64).await;
    let format = ["-f", "rtsp", "-rtsp_transport", publish.name()];
    publish_once(&source, &format, &publish.url(&server, "live/cam")).await?;
    for (player, file) in running {
        let output = player.wait(SOON).await?;
        assert!(output.status.success(), "{output:?}");
        compare(fixture, &source, &file, kinds).await?;
    }
    Ok(())
}

const BOTH: &[Kind] = &[Kind::Video, Kind::Audio];

#[tokio::test]
async fn h264_with_b_frames_over_tcp_passed_on() -> Result<()> {
    through(Fixture::H264Aac, DIRECT, Over::Tcp, &[Over::Tcp, Over::Udp, Over::Http], BOTH).await
}

#[tokio::test]
async fn h264_with_b_frames_over_tcp_repacked() -> Result<()> {
    through(Fixture::H264Aac, REPACKED, Over::Tcp, &[Over::Tcp, Over::Udp], BOTH).await
}

#[tokio::test]
async fn h264_with_b_frames_over_udp() -> Result<()> {
    through(Fixture::H264Aac, DIRECT, Over::Udp, &[Over::Tcp, Over::Udp], BOTH).await?;
    through(Fixture::H264Aac, REPACKED, Over::Udp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn h265_and_aac() -> Result<()> {
    through(Fixture::H265Aac, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::H265Aac, REPACKED, Over::Tcp, &[Over::Tcp, Over::Udp], BOTH).await
}

#[tokio::test]
async fn h264_and_g711() -> Result<()> {
    through(Fixture::H264Pcma, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn h264_and_mp3() -> Result<()> {
    through(Fixture::H264Mp3, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::H264Mp3, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn vp9_and_opus() -> Result<()> {
    through(Fixture::Vp9Opus, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::Vp9Opus, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn av1_and_opus() -> Result<()> {
    through(Fixture::Av1Opus, DIRECT, Over::Tcp, &[Over::Tcp], BOTH).await?;
    through(Fixture::Av1Opus, REPACKED, Over::Tcp, &[Over::Tcp], BOTH).await
}

#[tokio::test]
async fn audio_only() -> Result<()> {
    through(Fixture::Aac, REPACKED, Over::Tcp, &[Over::Tcp, Over::Udp], &[Kind::Audio]).await
}

/// From RTSP to RTMP and HTTP-FLV.
#[tokio::test]
async fn rtsp_to_rtmp_and_flv() -> Result<()> {
    let server = serve("").await?;
    let source = Fixture::H264Aac.path().await?;
    let mut running = Vec::new();
    for (url, name) in [
        (server.url_rtmp("live/cam"), "rtmp.mkv"),
        (server.url_flv("live/cam"), "flv.mkv"),
    ] {
        let file = file(&server, name);
        let args = ["-nostdin", "-v", "error", "-i", &url, "-map", "0", "-c", "copy"];
        running.push((Tool::ffmpeg().args(args).arg(&file).spawn()?, file));
    }
    waiting(&server, 2).await;
    let format = ["-f", "rtsp", "-rtsp_transport", "tcp"];
    publish_once(&source, &format, &server.url_rtsp("live/cam")).await?;
    for (player, file) in running {
        player.wait(SOON).await?;
        compare(Fixture::H264Aac, &source, &file, BOTH).await?;
    }
    Ok(())
}

/// From RTMP to RTSP.
#[tokio::test]
async fn rtmp_to_rtsp() -> Result<()> {
    let server = serve("").await?;
    let source = Fixture::H264Aac.path().await?;
    let mut running = Vec::new();
    for over in [Over::Tcp, Over::Udp] {
        let file = file(&server, &format!("{over:?}.mkv"));
        let url = over.url(&server, "live/cam");
        running.push((record_rtsp(Tool::ffmpeg(), over, &url, &[], &file)?, file));
    }
    waiting(&server, 2).await;
    publish_once(&source, &["-f", "flv"], &server.url_rtmp("live/cam")).await?;
    for (player, file) in running {
        player.wait(SOON).await?;
        compare(Fixture::H264Aac, &source, &file, BOTH).await?;
    }
    Ok(())
}
