//! Codecs that files of the other tests do not have: made while they are published.

use super::*;
use testkit::tool::Running;

/// Publishes the usual pictures and sound, coded anew as `coding` says, and waits until the stream is registered.
async fn publish_coded(server: &TestServer, coding: &[&str]) -> Result<Running> {
    let source = Fixture::H264Aac.path().await?;
    let publisher = Tool::ffmpeg()
        .args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(source)
        .args(coding)
        .args([
            "-f",
            "rtsp",
            "-rtsp_transport",
            "tcp",
            &server.url_rtsp("live/cam"),
        ])
        .spawn()?;
    online(server, "live", "cam").await;
    Ok(publisher)
}

/// What players see, with the publisher's packets passed on and with packets of our own.
async fn seen(coding: &[&str], expected: &[&str]) -> Result<()> {
    for direct in [1, 0] {
        let server = serve(&format!(
            "[rtsp]\ndirectProxy={direct}\n[protocol]\nadd_mute_audio=0\n"
        ))
        .await?;
        let _publisher = publish_coded(&server, coding).await?;
        let url = server.url_rtsp("live/cam");
        for over in [Over::Tcp, Over::Udp] {
            assert_eq!(
                codecs(over, &url).await?,
                expected,
                "{coding:?}, directProxy={direct}, {over:?}"
            );
        }
        // And it can be decoded: a second of each track, without a word of complaint.
        let args = [
            "-v",
            "error",
            "-xerror",
            "-rtsp_transport",
            "tcp",
            "-i",
            &url,
            "-t",
            "1",
            "-f",
            "null",
            "-",
        ];
        Tool::ffmpeg().args(args).run(SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn linear_pcm() -> Result<()> {
    seen(&["-c:v", "copy", "-c:a", "pcm_s16be"], &["h264", "pcm_s16be"]).await
}

#[tokio::test]
async fn mu_law_and_a_law_at_other_rates() -> Result<()> {
    seen(
        &["-c:v", "copy", "-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"],
        &["h264", "pcm_mulaw"],
    )
    .await?;
    seen(
        &["-c:v", "copy", "-c:a", "pcm_alaw", "-ar", "16000", "-ac", "1"],
        &["h264", "pcm_alaw"],
    )
    .await
}

#[tokio::test]
async fn motion_jpeg_is_passed_on() -> Result<()> {
    seen(
        &[
            "-an", "-c:v", "mjpeg", "-huffman", "default", "-pix_fmt", "yuvj420p",
        ],
        &["mjpeg"],
    )
    .await
}

#[tokio::test]
async fn a_codec_that_nobody_here_knows_is_passed_on() -> Result<()> {
    seen(
        &["-c:v", "copy", "-c:a", "g722", "-ar", "16000", "-ac", "1"],
        &["h264", "adpcm_g722"],
    )
    .await
}

/// The other tracks of such a stream reach players of other protocols.
#[tokio::test]
async fn what_is_known_reaches_other_protocols() -> Result<()> {
    let server = serve("").await?;
    let coding = ["-c:v", "copy", "-c:a", "g722", "-ar", "16000", "-ac", "1"];
    let _publisher = publish_coded(&server, &coding).await?;
    let mut viewer = FlvViewer::ask(server.address("http"), "live/cam").await?.await?;
    assert!(viewer.picture().await?.key);
    let list = server.api("getMediaList", &[("schema", "rtsp")]).await;
    let tracks = list["data"][0]["tracks"].as_array().expect("tracks");
    let ids: Vec<_> = tracks.iter().map(|track| track["codec_id"].as_i64()).collect();
    assert_eq!(ids, [Some(0), Some(-1)]);
    Ok(())
}

/// AAC in LATM comes in, and goes out as AAC everywhere.
#[tokio::test]
async fn latm() -> Result<()> {
    let server = serve("[rtsp]\ndirectProxy=0\n").await?;
    let _publisher = publish_coded(&server, &["-c", "copy", "-rtpflags", "latm"]).await?;
    assert_eq!(
        codecs(Over::Tcp, &server.url_rtsp("live/cam")).await?,
        ["h264", "aac"]
    );
    let args = [
        "-v",
        "error",
        "-xerror",
        "-i",
        &server.url_flv("live/cam"),
        "-t",
        "1",
        "-map",
        "0:a",
        "-f",
        "null",
        "-",
    ];
    Tool::ffmpeg().args(args).run(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn mpeg_audio_of_layer_two() -> Result<()> {
    seen(&["-c:v", "copy", "-c:a", "mp2"], &["h264", "mp2"]).await
}

/// Over UDP the share of lost packets is told for each track. On loopback nothing is lost, so it is there and zero; that it counts is
/// tested with simulated networks.
#[tokio::test]
async fn loss_is_told_for_udp() -> Result<()> {
    let server = serve("").await?;
    let source = Fixture::H264Aac.path().await?;
    let _publisher = Tool::ffmpeg()
        .args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(source)
        .args([
            "-c",
            "copy",
            "-f",
            "rtsp",
            "-rtsp_transport",
            "udp",
            &server.url_rtsp("live/cam"),
        ])
        .spawn()?;
    online(&server, "live", "cam").await;
    server
        .poll("the loss is known", SOON, async |server| {
            let list = server.api("getMediaList", &[("schema", "rtsp")]).await;
            let tracks = list["data"][0]["tracks"].as_array().cloned().unwrap_or_default();
            let known = |track: &serde_json::Value| track["loss"].as_f64().is_some_and(|loss| loss >= 0.0);
            (tracks.len() == 2 && tracks.iter().all(known)).then_some(())
        })
        .await;
    Ok(())
}
