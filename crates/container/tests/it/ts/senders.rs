//! What real senders write, as the demuxer reads it.

use super::{SOON, frames_of};
use bytes::{Bytes, BytesMut};
use container::ts::{Counters, Demuxer, Event};
use media::codec::nal::{self, LengthPrefixed};
use media::codec::{h264, h265};
use media::{CodecId, Frame, Track, TrackId};
use std::path::Path;
use testkit::fixture::Fixture;
use testkit::tool::Tool;

/// Reads a file in pieces that fit nothing.
fn demux(file: &Path) -> (Vec<Track>, Vec<Frame>, Counters) {
    let (mut demuxer, mut frames) = (Demuxer::new(), Vec::new());
    let bytes = std::fs::read(file).unwrap();
    let pieces = bytes.chunks(7_777).map(Some).chain([None]);
    for piece in pieces {
        match piece {
            Some(piece) => demuxer.push(piece),
            None => demuxer.flush(),
        }
        while let Some(event) = demuxer.poll() {
            match event {
                Event::Frame(frame) => frames.push(frame),
                Event::TracksDeclared { .. } | Event::Track(_) => {}
                Event::Unsupported(unsupported) => panic!("unexpected {unsupported:?}"),
            }
        }
    }
    (demuxer.tracks().cloned().collect(), frames, demuxer.counters())
}

/// A frame without delimiters and parameter sets, which senders put where they like.
fn bare(codec: CodecId, data: &Bytes) -> Bytes {
    let is_picture = |unit: &[u8]| match codec {
        CodecId::H264 => !matches!(
            h264::nal_type(unit),
            h264::NAL_SPS | h264::NAL_PPS | h264::NAL_AUD
        ),
        CodecId::H265 => !(h265::NAL_VPS..=h265::NAL_AUD).contains(&h265::nal_type(unit)),
        _ => true,
    };
    if !matches!(codec, CodecId::H264 | CodecId::H265) {
        return data.clone();
    }
    let mut out = BytesMut::new();
    for unit in LengthPrefixed::new(data, 4)
        .map(Result::unwrap)
        .filter(|unit| is_picture(unit))
    {
        // An encoder's remarks about itself are in the header of one container and in the frames of another.
        if !(codec == CodecId::H265 && h265::nal_type(unit) == h265::NAL_PREFIX_SEI) {
            nal::put(unit, &mut out);
        }
    }
    out.freeze()
}

/// Content, key, decoding and presentation time in milliseconds.
type Seen = (Bytes, bool, i64, i64);

fn of(frames: &[Frame], id: TrackId, codec: CodecId) -> Vec<Seen> {
    let frames = frames.iter().filter(|frame| frame.track == id);
    frames
        .map(|frame| {
            let (dts, pts) = (frame.dts.as_millis(), frame.pts.as_millis());
            (bare(codec, &frame.data), frame.key, dts, pts)
        })
        .collect()
}

/// Times may be rounded once in each container. `cut`: so many frames may be missing at the ends.
fn assert_same(codec: CodecId, read: &[Seen], sent: &[Seen], cut: usize) {
    let from = sent.iter().position(|frame| frame.0 == read[0].0).unwrap();
    let sent = &sent[from..];
    assert!(
        from + sent.len() - read.len() <= cut,
        "{codec:?}: {} of {} from {from}",
        read.len(),
        sent.len()
    );
    let shift = sent[0].2 - read[0].2;
    for (nth, (read, sent)) in read.iter().zip(sent).enumerate() {
        assert!(read.0 == sent.0 && read.1 == sent.1, "frame {nth} of {codec:?}");
        let apart = (read.2 + shift - sent.2)
            .abs()
            .max((read.3 + shift - sent.3).abs());
        assert!(
            apart <= 2,
            "frame {nth} of {codec:?}: {:?} {:?}",
            (read.2, read.3),
            (sent.2, sent.3)
        );
    }
}

/// The file that a sender writes of a fixture has so many of its tracks, with all their frames.
async fn check(fixture: Fixture, expected: usize, cut: usize, sender: impl AsyncFnOnce(&Path, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let (_, tracks, sent) = frames_of(fixture, folder.path()).await;
    let file = folder.path().join("in.ts");
    sender(&fixture.path().await.unwrap(), &file).await;
    let (read_tracks, read, counters) = demux(&file);
    assert_eq!(read_tracks.len(), expected);
    assert_eq!(counters.frames as usize, read.len());
    for read_track in &read_tracks {
        let codec = read_track.codec;
        let track = tracks.iter().find(|track| track.codec == codec).unwrap();
        assert_eq!(read_track.params, track.params);
        assert_same(
            codec,
            &of(&read, read_track.id, codec),
            &of(&sent, track.id, codec),
            cut,
        );
    }
    let bad =
        counters.bad_frames + counters.bad_pes + counters.bad_tables + counters.early_frames + counters.gaps;
    assert_eq!(
        (bad, counters.damaged, counters.lost_sync),
        (0, 0, 0),
        "{counters:?}"
    );
}

async fn check_ffmpeg(fixture: Fixture, expected: usize, ffmpeg: fn() -> Tool, options: &[&str]) {
    check(fixture, expected, 0, async |input, output| {
        let tool = ffmpeg()
            .args(["-v", "error", "-i"])
            .arg(input)
            .args(["-c", "copy"]);
        let tool = tool.args(options).args(["-f", "mpegts"]).arg(output);
        tool.run(SOON).await.unwrap();
    })
    .await;
}

/// `branches` leads from the demuxer `d` to the muxer `m`. The demuxer leaves out sound that the file says is not to be heard.
async fn check_gstreamer(fixture: Fixture, expected: usize, branches: &str) {
    check(fixture, expected, 3, async |input, output| {
        let tool = Tool::new("gst-launch-1.0").args(["-q", "filesrc"]);
        let tool = tool
            .arg(format!("location={}", input.display()))
            .args(["!", "qtdemux", "name=d"]);
        let tool = tool.args(["mpegtsmux", "name=m", "!", "filesink"]);
        let tool = tool
            .arg(format!("location={}", output.display()))
            .args(branches.split(' '));
        tool.run(SOON).await.unwrap();
    })
    .await;
}

fn recent() -> Tool {
    Tool::ffmpeg_new().unwrap()
}

const FIXTURES: [(Fixture, usize); 6] = [
    (Fixture::H264Aac, 2),
    (Fixture::H264AacShortGop, 2),
    (Fixture::H264, 1),
    (Fixture::Aac, 1),
    (Fixture::H264Mp3, 2),
    (Fixture::H265Aac, 2),
];

#[tokio::test]
async fn the_systems_ffmpeg() {
    for (fixture, tracks) in FIXTURES {
        check_ffmpeg(fixture, tracks, Tool::ffmpeg, &[]).await;
    }
    check_ffmpeg(Fixture::Av1Opus, 1, Tool::ffmpeg, &["-vn"]).await;
}

#[tokio::test]
async fn a_recent_ffmpeg() {
    for (fixture, tracks) in FIXTURES {
        check_ffmpeg(fixture, tracks, recent, &[]).await;
    }
    check_ffmpeg(Fixture::Av1Opus, 1, recent, &["-vn"]).await;
}

#[tokio::test]
async fn packets_of_192_bytes() {
    check_ffmpeg(Fixture::H264, 1, Tool::ffmpeg, &["-mpegts_m2ts_mode", "1"]).await;
}

#[tokio::test]
async fn one_frame_of_sound_in_each_pes_packet() {
    check_ffmpeg(Fixture::H264Aac, 2, Tool::ffmpeg, &["-pes_payload_size", "0"]).await;
}

#[tokio::test]
async fn times_that_begin_shortly_before_the_end_of_33_bits() {
    check_ffmpeg(Fixture::H264Aac, 2, Tool::ffmpeg, &["-output_ts_offset", "95440"]).await;
}

#[tokio::test]
async fn gstreamer() {
    let h264 = "d.video_0 ! queue ! h264parse ! m.";
    let aac = "d.audio_0 ! queue ! aacparse ! m.";
    check_gstreamer(Fixture::H264Aac, 2, &format!("{h264} {aac}")).await;
    let mp3 = "d.audio_0 ! queue ! mpegaudioparse ! m.";
    check_gstreamer(Fixture::H264Mp3, 2, &format!("{h264} {mp3}")).await;
    let h265 = "d.video_0 ! queue ! h265parse ! m.";
    check_gstreamer(Fixture::H265Aac, 2, &format!("{h265} {aac}")).await;
    check_gstreamer(Fixture::Av1Opus, 1, "d.audio_0 ! queue ! opusparse ! m.").await;
}
