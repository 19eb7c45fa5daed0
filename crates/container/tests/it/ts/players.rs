//! What the muxer writes, as ffmpeg reads it.

use super::{SOON, frames_of};
use container::ts::{Muxer, Options, PACKET_LEN};
use media::{Frame, Mux, Track};
use std::path::Path;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::framehash::{self, Kind};
use testkit::tool::Tool;

/// A whole stream as a viewer gets it.
fn mux(tracks: &[Track], frames: &[Frame]) -> Vec<u8> {
    let (mut muxer, mut packets) = (Muxer::new(Options::default()), Vec::new());
    muxer.set_tracks(tracks, &mut packets);
    frames.iter().for_each(|frame| muxer.write(frame, &mut packets));
    assert_eq!(muxer.dropped(), 0);
    let parts = packets.iter().flat_map(|packet| &packet.parts);
    parts.flat_map(|part| part.to_vec()).collect()
}

/// Clock references in ticks of 90 kHz.
fn clocks(stream: &[u8]) -> Vec<u64> {
    let clock = |packet: &[u8]| {
        (packet[3] & 0x20 != 0 && packet[4] > 6 && packet[5] & 0x10 != 0).then(|| {
            let mut field = [0; 8];
            field[2..].copy_from_slice(&packet[6..12]);
            u64::from_be_bytes(field) >> 15
        })
    };
    stream.chunks(PACKET_LEN).filter_map(clock).collect()
}

/// No program finds anything to complain about.
async fn assert_silent(file: &Path) {
    for ffmpeg in [Tool::ffmpeg(), Tool::ffmpeg_new().unwrap()] {
        let tool = ffmpeg.args(["-v", "warning", "-i"]).arg(file);
        let output = tool
            .args(["-map", "0", "-f", "null", "-"])
            .run(SOON)
            .await
            .unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// Muxes a fixture and compares its frames with those of the input. The filters bring both into one form: without parameter sets,
/// which ffmpeg puts to another place, and delimiters.
async fn check(fixture: Fixture, kinds: &[(Kind, &str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let (input, tracks, frames) = frames_of(fixture, folder.path()).await;
    let output = folder.path().join("out.ts");
    let stream = mux(&tracks, &frames);
    std::fs::write(&output, &stream).unwrap();
    assert_silent(&output).await;
    for (kind, of_input, of_output) in kinds {
        let sent = framehash::of_filtered_file(&input, *kind, of_input)
            .await
            .unwrap();
        let read = framehash::of_filtered_file(&output, *kind, of_output)
            .await
            .unwrap();
        assert_eq!(sent.len(), read.len());
        // Milliseconds are told exactly in 90 kHz; the hashes are told in microseconds, rounded.
        let start = framehash::assert_run(&sent, &read, sent.len(), Duration::from_micros(12));
        assert_eq!(start, 0);
    }
    let clocks = clocks(&stream);
    for pair in clocks.windows(2) {
        assert!(pair[0] < pair[1] && pair[1] - pair[0] <= 9000, "{pair:?}");
    }
    assert!(clocks.len() > 100);
}

const H264: (Kind, &str, &str) = (
    Kind::Video,
    "h264_mp4toannexb,filter_units=remove_types=7-9",
    "filter_units=remove_types=7-9",
);
const H265: (Kind, &str, &str) = (
    Kind::Video,
    "hevc_mp4toannexb,filter_units=remove_types=32-35",
    "filter_units=remove_types=32-35",
);
const AAC: (Kind, &str, &str) = (Kind::Audio, "null", "aac_adtstoasc");
const PLAIN: (Kind, &str, &str) = (Kind::Audio, "null", "null");

#[tokio::test]
async fn h264_with_b_frames_and_aac() {
    check(Fixture::H264Aac, &[H264, AAC]).await;
}

#[tokio::test]
async fn h264_without_b_frames() {
    check(Fixture::H264AacShortGop, &[H264, AAC]).await;
}

#[tokio::test]
async fn h264_alone() {
    check(Fixture::H264, &[H264]).await;
}

#[tokio::test]
async fn aac_alone() {
    check(Fixture::Aac, &[AAC]).await;
}

#[tokio::test]
async fn h264_and_mp3() {
    check(Fixture::H264Mp3, &[H264, PLAIN]).await;
}

#[tokio::test]
async fn h265_with_b_frames() {
    check(Fixture::H265Aac, &[H265, AAC]).await;
}

/// G.711 is a stream that ffmpeg does not know: it says so and plays the picture, without searching for long.
#[tokio::test]
async fn h264_and_g711() {
    let folder = tempfile::tempdir().unwrap();
    let (input, tracks, frames) = frames_of(Fixture::H264Pcma, folder.path()).await;
    let output = folder.path().join("out.ts");
    std::fs::write(&output, mux(&tracks, &frames)).unwrap();
    let sent = framehash::of_filtered_file(&input, Kind::Video, H264.1)
        .await
        .unwrap();
    let read = framehash::of_filtered_file(&output, Kind::Video, H264.2)
        .await
        .unwrap();
    framehash::assert_run(&sent, &read, sent.len(), Duration::from_micros(12));
    let probe = Tool::ffprobe().args([
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name,codec_tag_string,id",
        "-of",
        "csv=p=0",
    ]);
    let probe = probe.arg(&output).run(SOON).await.unwrap();
    assert!(probe.stdout_text().contains("h264"), "{probe:?}");
    assert!(probe.stdout_text().contains("0x102"), "{probe:?}");
}

/// ffmpeg does not read AV1 in TS, so it is a check of the sound beside it, and that it stays calm.
#[tokio::test]
async fn opus_beside_av1() {
    let folder = tempfile::tempdir().unwrap();
    let (input, tracks, frames) = frames_of(Fixture::Av1Opus, folder.path()).await;
    let output = folder.path().join("out.ts");
    std::fs::write(&output, mux(&tracks, &frames)).unwrap();
    let sent = framehash::of_filtered_file(&input, Kind::Audio, "null")
        .await
        .unwrap();
    let read = framehash::of_filtered_file(&output, Kind::Audio, "null")
        .await
        .unwrap();
    assert_eq!(sent.len(), read.len());
    framehash::assert_run(&sent, &read, sent.len(), Duration::from_micros(12));
}
