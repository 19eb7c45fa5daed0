//! With real encoders and readers.

use super::{demux, live, segments};
use bytes::Bytes;
use container::{flv, mp4};
use media::codec::vp8;
use media::{CodecId, Frame, MediaKind, MediaTime, Track, TrackId, TrackParams};
use std::path::{Path, PathBuf};
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

/// Track and frames of the VP8 in a media file, by way of IVF, which counts in milliseconds here.
async fn read_vp8(file: &Path, folder: &Path) -> (Track, Vec<Frame>) {
    let copy = folder.join("copy.ivf");
    let tool = Tool::ffmpeg_new().unwrap().args(["-v", "error", "-i"]).arg(file);
    let tool = tool.args(["-map", "0:v", "-c", "copy", "-f", "ivf"]).arg(&copy);
    tool.run(SOON).await.unwrap();
    let mut rest = &std::fs::read(copy).unwrap()[..];
    let number = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
    let (rate, scale) = (number(&rest[16..]), number(&rest[20..]));
    rest = &rest[32..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(12);
        let (data, tail) = tail.split_at(number(head) as usize);
        rest = tail;
        let time = MediaTime::from_ticks(i64::from(number(&head[4..]) * scale), rate);
        frames.push(Frame {
            track: TrackId(7),
            dts: time,
            pts: time,
            key: vp8::is_key(data),
            data: Bytes::copy_from_slice(data),
            wire: None,
        });
    }
    let track = Track {
        id: TrackId(7),
        codec: CodecId::Vp8,
        config: None,
        params: TrackParams::Video(vp8::params(&frames[0].data).unwrap()),
        wire: None,
    };
    (track, frames)
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
        let published = framehash::of_file(original, kind_of(track)).await.unwrap();
        let played = framehash::of_file(file, kind_of(track)).await.unwrap();
        let start = framehash::assert_run(&published, &played, published.len(), MILLISECOND_ROUNDING);
        assert_eq!((start, played.len()), (0, published.len()));
        assert_times(&played, 0, track, frames);
    }
}

fn kind_of(track: &Track) -> Kind {
    match track.kind() {
        MediaKind::Video => Kind::Video,
        MediaKind::Audio => Kind::Audio,
    }
}

/// The frames of a track among `ours` are those that ffmpeg sees, and at the same times, but all `moved` by these microseconds.
#[track_caller]
fn assert_times(seen: &[framehash::Frame], moved: i64, track: &Track, ours: &[Frame]) {
    let ours: Vec<_> = ours.iter().filter(|frame| frame.track == track.id).collect();
    assert_eq!(seen.len(), ours.len());
    for (seen, ours) in seen.iter().zip(ours) {
        let dts = ours.dts.as_micros() - seen.dts_us - moved;
        let offset = (ours.pts - ours.dts).as_micros() - seen.pts_offset_us;
        // Half a tick of 8 kHz, the slowest clock, and the rounding of the comparison.
        assert!(
            dts.abs() <= 64 && offset.abs() <= 64,
            "ours {:?} {:?}, seen {seen:?}",
            ours.dts,
            ours.pts
        );
    }
}

/// What is expected of a fixture, in the live form and in segments.
async fn check(fixture: Fixture, expected: &[CodecId]) {
    let original = fixture.path().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (tracks, frames) = read(&original, folder.path()).await;
    check_frames(&original, folder.path(), expected, tracks, frames).await;
}

async fn check_frames(
    original: &Path,
    folder: &Path,
    expected: &[CodecId],
    tracks: Vec<Track>,
    frames: Vec<Frame>,
) {
    let mut codecs: Vec<_> = tracks.iter().map(|track| track.codec).collect();
    codecs.sort();
    assert_eq!(codecs, expected);
    let file = folder.join("out.mp4");
    for bytes in [live(&tracks, &frames), segments(&tracks, &frames, 40).concat()] {
        std::fs::write(&file, bytes).unwrap();
        assert_same(original, &file, &tracks, &frames).await;
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

#[tokio::test]
async fn vp8_and_opus() {
    let original = Fixture::Vp8Opus.path().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.mka");
    let tool = Tool::ffmpeg_new()
        .unwrap()
        .args(["-v", "error", "-copyts", "-i"])
        .arg(&original);
    let tool = tool.args(["-map", "0:a", "-c", "copy"]).arg(&sound);
    tool.run(SOON).await.unwrap();
    let (mut tracks, mut frames) = read(&sound, folder.path()).await;
    let (video, pictures) = read_vp8(&original, folder.path()).await;
    tracks.insert(0, video);
    frames.extend(pictures);
    frames.sort_by_key(|frame| frame.dts);
    let expected = [CodecId::Vp8, CodecId::Opus];
    check_frames(&original, folder.path(), &expected, tracks, frames).await;
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// One file with fragments, with these flags.
    Fragments(&'static str),
    /// HLS: an initialization and segments.
    Hls,
}

/// ffmpeg writes a fixture as fragmented MP4; the pieces in order.
async fn written(tool: Tool, original: &Path, folder: &Path, form: Form) -> Vec<PathBuf> {
    let tool = tool.args(["-v", "error", "-i"]).arg(original);
    let tool = tool.args(["-map", "0", "-c", "copy"]).current_dir(folder);
    match form {
        Form::Fragments(flags) => {
            let tool = tool.args(["-movflags", flags, "-f", "mp4", "out.mp4"]);
            tool.run(SOON).await.unwrap();
            vec![folder.join("out.mp4")]
        }
        Form::Hls => {
            let tool = tool.args(["-f", "hls", "-hls_segment_type", "fmp4", "-hls_list_size", "0"]);
            let tool = tool.args([
                "-hls_fmp4_init_filename",
                "init.mp4",
                "-master_pl_name",
                "master.m3u8",
            ]);
            tool.arg("out.m3u8").run(SOON).await.unwrap();
            let playlist = std::fs::read_to_string(folder.join("out.m3u8")).unwrap();
            let pieces = playlist.lines().filter(|line| !line.starts_with('#'));
            std::iter::once("init.mp4")
                .chain(pieces)
                .map(|name| folder.join(name))
                .collect()
        }
    }
}

/// Both versions of ffmpeg write a fixture in all forms, and what is read of it is what went in.
/// Returns how many names of codecs there were to compare.
async fn check_reading(fixture: Fixture, expected: &[CodecId]) -> usize {
    let mut names = 0;
    let original = fixture.path().await.unwrap();
    let forms = [
        Form::Fragments("frag_keyframe+empty_moov+default_base_moof"),
        // Offsets from the start of the file.
        Form::Fragments("frag_keyframe+empty_moov"),
        Form::Fragments("cmaf"),
        Form::Fragments("empty_moov+default_base_moof+frag_every_frame"),
        Form::Hls,
    ];
    for form in forms {
        for tool in [Tool::ffmpeg(), Tool::ffmpeg_new().unwrap()] {
            let folder = tempfile::tempdir().unwrap();
            let pieces = written(tool, &original, folder.path(), form).await;
            let bytes = pieces.iter().flat_map(|piece| std::fs::read(piece).unwrap());
            let stream: Vec<u8> = bytes.collect();
            let (tracks, frames) = demux(&stream, &[1, 1_000, 70_000]);
            let codecs: Vec<_> = tracks.iter().map(|track| track.codec).collect();
            assert_eq!(codecs, expected);
            assert!(
                frames
                    .iter()
                    .any(|frame| frame.track == tracks[0].id && !frame.key)
                    || tracks.len() == 1
            );
            // ffmpeg reads the same of it at the same times, as many frames as there were.
            let reference = folder.path().join("whole.mp4");
            std::fs::write(&reference, &stream).unwrap();
            for track in &tracks {
                let seen = framehash::of_file(&reference, kind_of(track)).await.unwrap();
                // Of negative composition offsets (`cmaf`), ffmpeg makes later presentation times, and we make earlier decoding times.
                let first = frames.iter().find(|frame| frame.track == track.id).unwrap();
                let moved = first.dts.as_micros() - seen[0].dts_us;
                assert!((-80_064..=64).contains(&moved), "{moved}");
                assert_times(&seen, moved, track, &frames);
                let published = framehash::of_file(&original, kind_of(track)).await.unwrap();
                assert_eq!(seen.len(), published.len());
            }
            // What was read is muxed again, and the frames in it are the same. Decoding times in MP4 begin at 0, but those that were
            // read may be below, by an edit list.
            let first = frames.iter().map(|frame| frame.dts).min().unwrap();
            let shifted = |frame: &Frame| Frame {
                dts: frame.dts - first,
                pts: frame.pts - first,
                ..frame.clone()
            };
            let frames: Vec<_> = frames.iter().map(shifted).collect();
            let file = folder.path().join("again.mp4");
            std::fs::write(&file, live(&tracks, &frames)).unwrap();
            assert_same(&reference, &file, &tracks, &frames).await;
            if form == Form::Hls {
                names += assert_names(&folder.path().join("master.m3u8"), &tracks);
            }
        }
    }
    names
}

/// Names of codecs are those of ffmpeg's master playlist, where it has any; returns how many. Not those of H.265: 5.1 writes a fixed
/// text for it.
fn assert_names(playlist: &Path, tracks: &[Track]) -> usize {
    let playlist = std::fs::read_to_string(playlist).unwrap();
    let Some((_, names)) = playlist.split_once("CODECS=\"") else {
        return 0;
    };
    let names = names.split('"').next().unwrap().split(',');
    let pairs = tracks
        .iter()
        .zip(names)
        .filter(|(track, _)| track.codec != CodecId::H265);
    let mut count = 0;
    for (track, name) in pairs {
        assert_eq!(mp4::codec_string(track).as_deref(), Some(name));
        count += 1;
    }
    count
}

#[tokio::test]
async fn h264_and_aac_are_read() {
    let names = check_reading(Fixture::H264Aac, &[CodecId::H264, CodecId::Aac]).await;
    assert!(names >= 2, "{names}");
}

#[tokio::test]
async fn h265_and_aac_are_read() {
    check_reading(Fixture::H265Aac, &[CodecId::H265, CodecId::Aac]).await;
}

#[tokio::test]
async fn av1_and_opus_are_read() {
    let names = check_reading(Fixture::Av1Opus, &[CodecId::Av1, CodecId::Opus]).await;
    assert!(names >= 2, "{names}");
}

#[tokio::test]
async fn vp9_and_opus_are_read() {
    let names = check_reading(Fixture::Vp9Opus, &[CodecId::Vp9, CodecId::Opus]).await;
    assert!(names >= 2, "{names}");
}

#[tokio::test]
async fn h264_and_mp3_are_read() {
    check_reading(Fixture::H264Mp3, &[CodecId::H264, CodecId::Mp3]).await;
}

#[tokio::test]
async fn aac_alone_is_read() {
    check_reading(Fixture::Aac, &[CodecId::Aac]).await;
}

#[tokio::test]
async fn a_finished_file_is_refused_with_the_reason() {
    let original = Fixture::H264Aac.path().await.unwrap();
    let mut demuxer = mp4::Demuxer::new();
    demuxer.push(std::fs::read(original).unwrap().into());
    let error = std::iter::from_fn(|| demuxer.poll().transpose()).find_map(Result::err);
    assert_eq!(error, Some(mp4::Error::Progressive { samples: 250 }));
}
