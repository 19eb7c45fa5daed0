//! With real encoders: files of ffmpeg are demuxed and muxed, and ffmpeg finds the same frames at the same times in both.

use bytes::Bytes;
use container::flv::{Demuxer, Event, Muxer, Options, Reader};
use media::codec::aac;
use media::{CodecId, Frame, Mux, Packet, Track};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The system's ffmpeg (5.1 on Debian 12).
const SYSTEM: &str = "ffmpeg";
/// A recent one, which writes and reads enhanced FLV; `scripts/setup.sh test` puts it there.
const RECENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/bin/ffmpeg-new");

const PICTURE: &[&str] = &["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=1.2"];
const SOUND: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "sine=frequency=440:sample_rate=48000:duration=1.2",
];

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(["-hide_banner", "-nostdin", "-y", "-v", "error"])
        .args(args)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot start {program}: {error} (`scripts/setup.sh test` installs it)")
        });
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Encodes picture and sound into an FLV file.
fn encode(folder: &Path, program: &str, picture: bool, codecs: &str) -> PathBuf {
    let file = folder.join("in.flv");
    let mut args = if picture { PICTURE.to_vec() } else { Vec::new() };
    args.extend(SOUND);
    args.extend(codecs.split_whitespace());
    args.extend(["-shortest", "-f", "flv", file.to_str().unwrap()]);
    run(program, &args);
    file
}

/// Demuxes a file and muxes its frames again. Returns the tracks at the end, the frames and the file.
fn remux(input: &Path, output: &Path, enhanced: bool) -> (Vec<Track>, Vec<Frame>) {
    let (mut reader, mut demuxer) = (Reader::new(), Demuxer::new());
    let (mut frames, mut tracks) = (Vec::new(), Vec::new());
    for chunk in std::fs::read(input).unwrap().chunks(4_000) {
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(tag) = reader.next().unwrap() {
            demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body).unwrap();
            while let Some(event) = demuxer.poll() {
                match event {
                    Event::Frame(frame) => frames.push(frame),
                    Event::Track(_) | Event::Metadata(_) | Event::TracksDeclared { .. } => {}
                    Event::Unsupported(unsupported) => panic!("unexpected {unsupported:?}"),
                }
            }
        }
    }
    tracks.extend(demuxer.tracks().cloned());
    assert_eq!((demuxer.counters().bad, demuxer.counters().unsupported), (0, 0));
    let (mut muxer, mut packets) = (
        Muxer::new(Options {
            enhanced,
            ..Options::default()
        }),
        Vec::<Packet>::new(),
    );
    muxer.set_tracks(&tracks, &mut packets);
    packets.extend(muxer.preamble());
    frames.iter().for_each(|frame| muxer.write(frame, &mut packets));
    let bytes: Vec<u8> = packets
        .iter()
        .flat_map(|packet| &packet.parts)
        .flat_map(|part| part.to_vec())
        .collect();
    std::fs::write(output, bytes).unwrap();
    (tracks, frames)
}

/// Time stamps, sizes and MD5 of all packets of a file, as ffmpeg reads them.
fn hashes(program: &str, file: &Path, filter: &[&str]) -> Vec<String> {
    let mut args = vec!["-copyts", "-i", file.to_str().unwrap(), "-map", "0", "-c", "copy"];
    args.extend(filter);
    args.extend(["-f", "framemd5", "-"]);
    let text = String::from_utf8(run(program, &args)).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#') || line.starts_with("#tb"))
        .map(str::to_owned)
        .collect();
    assert!(lines.len() > 20, "{text}");
    lines
}

/// Whole check for one pair of codecs, read back by `reader`.
fn check(
    writer: &str,
    reader: &str,
    codecs: &str,
    expected: &[CodecId],
    enhanced: bool,
    filter: &[&str],
) -> Vec<Frame> {
    let folder = tempfile::tempdir().unwrap();
    let picture = expected[0].kind() == media::MediaKind::Video;
    let input = encode(folder.path(), writer, picture, codecs);
    let output = folder.path().join("out.flv");
    let (tracks, frames) = remux(&input, &output, enhanced);
    let mut found: Vec<_> = tracks.iter().map(|track| track.codec).collect();
    found.sort();
    assert_eq!(found, expected);
    if let Some(video) = tracks.iter().find_map(Track::video) {
        assert_eq!((video.width, video.height, video.fps), (320, 180, 25.0));
    }
    assert_eq!(hashes(reader, &input, filter), hashes(reader, &output, filter));
    frames
}

#[test]
fn h264_with_b_frames_and_aac() {
    let codecs = "-c:v libx264 -pix_fmt yuv420p -bf 3 -g 12 -c:a aac -ac 2";
    let frames = check(SYSTEM, SYSTEM, codecs, &[CodecId::H264, CodecId::Aac], true, &[]);
    assert!(frames.iter().any(|frame| frame.pts > frame.dts));
    assert!(
        frames
            .iter()
            .filter(|frame| frame.track.0 == 0 && frame.key)
            .count()
            >= 2
    );
}

#[test]
fn h264_and_mp3() {
    let codecs = "-c:v libx264 -pix_fmt yuv420p -c:a libmp3lame -ar 44100";
    check(SYSTEM, SYSTEM, codecs, &[CodecId::H264, CodecId::Mp3], false, &[]);
}

#[test]
fn g711_alone() {
    check(
        SYSTEM,
        SYSTEM,
        "-c:a pcm_alaw -ar 8000 -ac 1",
        &[CodecId::G711A],
        true,
        &[],
    );
    check(
        SYSTEM,
        SYSTEM,
        "-c:a pcm_mulaw -ar 8000 -ac 1",
        &[CodecId::G711U],
        false,
        &[],
    );
}

#[test]
fn h265_with_b_frames_enhanced() {
    let codecs = "-c:v libx265 -preset ultrafast -x265-params bframes=3:keyint=12:log-level=error -pix_fmt yuv420p -c:a aac";
    let frames = check(RECENT, RECENT, codecs, &[CodecId::H265, CodecId::Aac], true, &[]);
    assert!(frames.iter().any(|frame| frame.pts > frame.dts));
}

#[test]
fn av1_and_opus_enhanced() {
    // ffmpeg leaves temporal delimiters in FLV; canonical frames have none, so they are taken out on both sides.
    let filter = ["-bsf:v", "av1_metadata=td=remove"];
    let codecs = "-c:v libsvtav1 -preset 12 -g 12 -pix_fmt yuv420p -c:a libopus";
    check(
        RECENT,
        RECENT,
        codecs,
        &[CodecId::Av1, CodecId::Opus],
        true,
        &filter,
    );
}

#[test]
fn vp9_and_opus_enhanced() {
    let codecs = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 12 -pix_fmt yuv420p -c:a libopus";
    check(RECENT, RECENT, codecs, &[CodecId::Vp9, CodecId::Opus], true, &[]);
}

#[test]
fn silence_decodes_to_zeros_without_a_complaint() {
    let silence = aac::silence_8k_mono();
    let config = aac::Config::parse(silence.config).unwrap();
    let header = aac::Adts::header(&config, silence.unit.len()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("silence.aac");
    std::fs::write(&file, [&header[..], silence.unit].concat().repeat(10)).unwrap();
    for program in [SYSTEM, RECENT] {
        let samples = run(
            program,
            &[
                "-xerror",
                "-err_detect",
                "explode",
                "-i",
                file.to_str().unwrap(),
                "-f",
                "s16le",
                "-",
            ],
        );
        assert_eq!(samples.len(), 10 * 1024 * 2);
        assert!(samples.iter().all(|byte| *byte == 0));
    }
}
