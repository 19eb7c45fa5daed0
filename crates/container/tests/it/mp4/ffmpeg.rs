//! With real encoders and readers.

use super::{live, segments};
use bytes::Bytes;
use container::flv;
use media::{CodecId, Frame, MediaKind, Track};
use std::path::Path;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::framehash::{self, Kind, MILLISECOND_ROUNDING};
use testkit::tool::Tool;

const SOON: Duration = Duration::from_secs(60);

/// Tracks and frames of a media file, by way of FLV, which rounds times to milliseconds.
async fn read(file: &Path, folder: &Path) -> (Vec<Track>, Vec<Frame>) {
    let copy = folder.join("copy.flv");
    let tool = Tool::ffmpeg_new().unwrap().args(["-v", "error", "-i"]).arg(file);
    let tool = tool.args(["-map", "0", "-c", "copy", "-f", "flv"]).arg(&copy);
    tool.run(SOON).await.unwrap();
    let (mut reader, mut demuxer) = (flv::Reader::new(), flv::Demuxer::new());
    let mut frames = Vec::new();
    reader.push(Bytes::from(std::fs::read(copy).unwrap()));
    while let Some(tag) = reader.next().unwrap() {
        demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body).unwrap();
        while let Some(event) = demuxer.poll() {
            if let flv::Event::Frame(frame) = event {
                frames.push(frame);
            }
        }
    }
    (demuxer.tracks().cloned().collect(), frames)
}

/// Both versions of ffmpeg read and decode the file without a word.
async fn assert_clean(file: &Path) {
    for tool in [Tool::ffmpeg(), Tool::ffmpeg_new().unwrap()] {
        let tool = tool
            .args(["-v", "warning", "-i"])
            .arg(file)
            .args(["-map", "0", "-f", "null", "-"]);
        let mut output = tool.run(SOON).await.unwrap();
        // Of one or two channels of PCM in any container, FLV too, ffmpeg says how it numbers them.
        output
            .stderr
            .retain(|line| !line.contains("Guessed Channel Layout"));
        assert_eq!(output.stderr, Vec::<String>::new(), "{}", output.command);
    }
}

/// ffmpeg finds the frames of `original` in `file`, all of them, and each at the time that the muxer was given.
async fn assert_same(original: &Path, file: &Path, tracks: &[Track], frames: &[Frame]) {
    for track in tracks {
        let kind = match track.kind() {
            MediaKind::Video => Kind::Video,
            MediaKind::Audio => Kind::Audio,
        };
        let published = framehash::of_file(original, kind).await.unwrap();
        let played = framehash::of_file(file, kind).await.unwrap();
        let start = framehash::assert_run(&published, &played, published.len(), MILLISECOND_ROUNDING);
        assert_eq!((start, played.len()), (0, published.len()));
        let given = frames.iter().filter(|frame| frame.track == track.id);
        for (given, played) in given.zip(&played) {
            let dts = given.dts.as_micros() - played.dts_us;
            let offset = (given.pts - given.dts).as_micros() - played.pts_offset_us;
            // Half a tick of 8 kHz, the slowest clock, and the rounding of the comparison.
            assert!(dts.abs() <= 64 && offset.abs() <= 64, "{given:?} {played:?}");
        }
    }
}

/// What is expected of a fixture, in the live form and in segments.
async fn check(fixture: Fixture, expected: &[CodecId]) {
    let original = fixture.path().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (tracks, frames) = read(&original, folder.path()).await;
    let mut codecs: Vec<_> = tracks.iter().map(|track| track.codec).collect();
    codecs.sort();
    assert_eq!(codecs, expected);
    let file = folder.path().join("out.mp4");
    for bytes in [live(&tracks, &frames), segments(&tracks, &frames, 40).concat()] {
        std::fs::write(&file, bytes).unwrap();
        assert_same(&original, &file, &tracks, &frames).await;
        assert_clean(&file).await;
    }
}

#[tokio::test]
async fn h264_with_b_frames_and_aac() {
    check(Fixture::H264Aac, &[CodecId::H264, CodecId::Aac]).await;
}

#[tokio::test]
async fn h264_without_b_frames_and_aac() {
    check(Fixture::H264AacShortGop, &[CodecId::H264, CodecId::Aac]).await;
}

#[tokio::test]
async fn h264_alone() {
    check(Fixture::H264, &[CodecId::H264]).await;
}

#[tokio::test]
async fn aac_alone() {
    check(Fixture::Aac, &[CodecId::Aac]).await;
}

#[tokio::test]
async fn h264_and_mp3() {
    check(Fixture::H264Mp3, &[CodecId::H264, CodecId::Mp3]).await;
}

#[tokio::test]
async fn h264_and_g711() {
    check(Fixture::H264Pcma, &[CodecId::H264, CodecId::G711A]).await;
}

#[tokio::test]
async fn h265_with_b_frames_and_aac() {
    check(Fixture::H265Aac, &[CodecId::H265, CodecId::Aac]).await;
}

#[tokio::test]
async fn av1_and_opus() {
    check(Fixture::Av1Opus, &[CodecId::Av1, CodecId::Opus]).await;
}

#[tokio::test]
async fn vp9_and_opus() {
    check(Fixture::Vp9Opus, &[CodecId::Vp9, CodecId::Opus]).await;
}
