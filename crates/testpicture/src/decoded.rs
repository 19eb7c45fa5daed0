//! The proof is another decoder: ffmpeg must decode every picture without a complaint, to exactly what was drawn.

use std::path::Path;
use std::process::{Command, Output};

use crate::{TestPicture, canvas, encoder, silence};

fn ffmpeg(arguments: &[&str], file: &Path, output: &[&str]) -> Output {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-xerror"])
        .args(arguments)
        .arg("-i")
        .arg(file)
        .args(output);
    let output = command.output().expect("ffmpeg is needed for this test");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{} {complaints}",
        output.status
    );
    output
}

/// Annex B of `frames` pictures; the wall clock starts at 23:59:58.
fn annex_b(width: u32, height: u32, frames: u64) -> Vec<u8> {
    let mut picture = TestPicture::new(width, height, 25).unwrap();
    let mut out = Vec::new();
    for n in 0..frames {
        let coded = picture.frame(n, 86_398_000 + n * 40);
        if coded.key {
            for set in [picture.sps(), picture.pps()] {
                out.extend([0, 0, 0, 1]);
                out.extend(set);
            }
        }
        out.extend([0, 0, 0, 1]);
        out.extend(&coded.data[4..]);
    }
    out
}

fn decode(width: u32, height: u32, frames: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.h264");
    std::fs::write(&file, annex_b(width, height, frames)).unwrap();
    let strict = ["-err_detect", "explode", "-f", "h264"];
    let decoded = ffmpeg(
        &strict,
        &file,
        &[
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
            "-fps_mode",
            "passthrough",
            "-",
        ],
    )
    .stdout;
    assert_eq!(
        decoded.len(),
        (width * height * 3 / 2) as usize * frames as usize,
        "{width}x{height}"
    );
    decoded
}

#[test]
fn ffmpeg_decodes_every_picture() {
    for (width, height, frames) in [
        (640, 360, 110),
        (320, 240, 60),
        (322, 242, 5),
        (1280, 720, 10),
        (1920, 1080, 3),
    ] {
        decode(width, height, frames);
    }
}

/// A frame coded as a difference must look exactly like the same frame coded as IDR: nothing drifts.
#[test]
fn pictures_do_not_drift() {
    let size = 640 * 360 * 3 / 2;
    let chained = decode(640, 360, 50);
    let folder = tempfile::tempdir().unwrap();
    for n in [1, 13, 49] {
        let mut picture = TestPicture::new(640, 360, 25).unwrap();
        let coded = picture.frame(n, 86_398_000 + n * 40);
        assert!(coded.key);
        let mut stream = Vec::new();
        for unit in [&picture.sps()[..], &picture.pps()[..], &coded.data[4..]] {
            stream.extend([0, 0, 0, 1]);
            stream.extend(unit);
        }
        let file = folder.path().join("one.h264");
        std::fs::write(&file, stream).unwrap();
        let alone = ffmpeg(
            &["-f", "h264"],
            &file,
            &["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"],
        )
        .stdout;
        let from = size * n as usize;
        assert!(chained[from..from + size] == alone, "frame {n}");
    }
}

/// Drawn values come back: a bar, the black bar, and the background.
#[test]
fn colours_are_exact() {
    let decoded = decode(640, 360, 2);
    let second = &decoded[640 * 360 * 3 / 2..];
    let pixel = |x: usize, y: usize| {
        let chroma = 640 * 360 + y / 2 * 320 + x / 2;
        (second[y * 640 + x], second[chroma], second[chroma + 320 * 180])
    };
    assert_eq!(pixel(40, 10), (184, 128, 128), "white, 75 %");
    assert_eq!(pixel(600, 10), (16, 128, 128), "black");
    let (y, cb, cr) = pixel(440, 10); // red: 51, 109, 212 before luma is rounded
    assert_eq!((y, cb, cr), (48, 109, 212));
    assert_eq!(pixel(4, 120), (40, 128, 128), "background");
}

/// Any picture of flat blocks comes back exactly, so every code table is right.
#[test]
fn noise_is_coded_exactly() {
    let (columns, rows, frames) = (20, 15, 24);
    let (width, height) = (columns * 16, rows * 16);
    let mut state = 1u32;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); // Numerical Recipes, chapter 7
        (state >> 8) % below
    };
    let canvas = canvas::Canvas::new(columns, rows);
    let mut encoder = encoder::Encoder::new(width as u32, height as u32, 25, canvas);
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    for n in 0..frames {
        // From a few faint dots to a storm: all numbers and sizes of coefficients.
        let dots = [20, 200, 1000, 5000][n % 4];
        let contrast = [1, 3, 10, 31][n / 4 % 4];
        for _ in 0..dots {
            let colour = canvas::Colour {
                y: 8 * random(contrast + 1) as u8,
                cb: (128 + random(contrast * 8) - contrast * 4) as u8,
                cr: (128 + random(contrast * 8) - contrast * 4) as u8,
            };
            let (x, y) = (
                random(columns as u32 * 4) as usize,
                random(rows as u32 * 4) as usize,
            );
            encoder.canvas().fill(x, y, 1, 1, colour);
        }
        let idr = n % 8 == 0;
        let unit = encoder.encode(idr);
        for unit in [&encoder.sps()[..], &encoder.pps()[..], &unit[..]]
            .iter()
            .skip(if idr { 0 } else { 2 })
        {
            stream.extend([0, 0, 0, 1]);
            stream.extend(*unit);
        }
        let canvas = encoder.canvas();
        expected.extend((0..width * height).map(|i| canvas.luma(i % width / 4, i / width / 4) as u8));
        for plane in 0..2 {
            let (width, height) = (width / 2, height / 2);
            expected.extend(
                (0..width * height).map(|i| canvas.chroma(plane, i % width / 4, i / width / 4) as u8),
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("noise.h264");
    std::fs::write(&file, stream).unwrap();
    let strict = ["-err_detect", "explode", "-f", "h264"];
    let decoded = ffmpeg(
        &strict,
        &file,
        &[
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
            "-fps_mode",
            "passthrough",
            "-",
        ],
    )
    .stdout;
    assert_eq!(decoded.len(), expected.len());
    let wrong = decoded
        .iter()
        .zip(&expected)
        .position(|(got, expected)| got != expected);
    assert_eq!(
        wrong.map(|at| (at / (width * height * 3 / 2), at % (width * height * 3 / 2))),
        None,
        "(frame, offset)"
    );
}

/// As a server sends it: decoder configurations and length-prefixed access units, here in FLV (version 10.1, annex E).
#[test]
fn ffmpeg_decodes_both_tracks_from_their_decoder_configurations() {
    let mut picture = TestPicture::new(640, 360, 25).unwrap();
    let silence = silence::aac(44_100, 2).unwrap();
    let mut flv = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    let mut tag = |kind: u8, ms: u32, head: &[u8], body: &[u8]| {
        let length = (head.len() + body.len()) as u32;
        flv.push(kind);
        flv.extend(&length.to_be_bytes()[1..]);
        flv.extend(&ms.to_be_bytes()[1..]);
        flv.extend([0; 4]); // upper byte of the timestamp, StreamID
        flv.extend(head);
        flv.extend(body);
        flv.extend((length + 11).to_be_bytes());
    };
    tag(9, 0, &[0x17, 0, 0, 0, 0], &picture.avcc());
    tag(8, 0, &[0xaf, 0], &silence.config);
    let frames = 60;
    for n in 0..frames {
        let coded = picture.frame(n, n * 40);
        let first = if coded.key { 0x17 } else { 0x27 };
        tag(9, n as u32 * 40, &[first, 1, 0, 0, 0], &coded.data);
        tag(8, n as u32 * 40, &[0xaf, 1], &silence.frame);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.flv");
    std::fs::write(&file, flv).unwrap();
    let strict = ["-err_detect", "explode", "-f", "flv"];
    let decode = |map: &str, format: &str| {
        let output = ["-map", map, "-fps_mode", "passthrough", "-f", format, "-"];
        ffmpeg(&strict, &file, &output).stdout.len()
    };
    assert_eq!(decode("0:v", "rawvideo"), 640 * 360 * 3 / 2 * frames as usize);
    assert_eq!(
        decode("0:a", "s16le"),
        frames as usize * silence::SAMPLES_PER_FRAME as usize * 2 * 2
    );
}

#[test]
fn ffmpeg_decodes_silence() {
    let folder = tempfile::tempdir().unwrap();
    for (rate_index, rate, channels) in [(4u8, 44_100, 2u8), (3, 48_000, 2), (3, 48_000, 1), (11, 8_000, 1)] {
        let silence = silence::aac(rate, channels).unwrap();
        let mut adts = Vec::new();
        for _ in 0..10 {
            // ADTS header without CRC (ISO/IEC 14496-3, 1.A.2.2)
            let length = silence.frame.len() as u16 + 7;
            adts.extend([
                0xff,
                0xf1,
                0x40 | rate_index << 2,
                channels << 6 | (length >> 11) as u8,
            ]);
            adts.extend([(length >> 3) as u8, (length << 5) as u8 | 0x1f, 0xfc]);
            adts.extend(&silence.frame);
        }
        let file = folder.path().join("x.aac");
        std::fs::write(&file, adts).unwrap();
        let strict = ["-err_detect", "explode", "-f", "aac"];
        let samples = ffmpeg(&strict, &file, &["-f", "s16le", "-ar", &rate.to_string(), "-"]).stdout;
        assert_eq!(
            samples.len(),
            10 * silence::SAMPLES_PER_FRAME as usize * usize::from(channels) * 2
        );
        assert!(samples.iter().all(|byte| *byte == 0), "not silent");
    }
}
