//! Small media files, made by ffmpeg once per machine and kept below the target folder.
//!
//! All show ffmpeg's moving test picture (320x240, 25 frames per second) and a 440 Hz tone, and last ten seconds.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::tool::Tool;

/// A file to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fixture {
    /// H.264 with two B-frames and a key frame each 2 s; AAC, stereo, 44.1 kHz.
    H264Aac,
    /// H.264 without B-frames and a key frame each 0.4 s; AAC, stereo, 44.1 kHz.
    H264AacShortGop,
    /// H.264 as in [`Fixture::H264Aac`], without sound.
    H264,
    /// AAC, stereo, 44.1 kHz, without picture.
    Aac,
    /// H.264 and MP3, stereo, 44.1 kHz.
    H264Mp3,
    /// H.264 and G.711 A-law, mono, 8 kHz.
    H264Pcma,
    /// H.265 with B-frames and a key frame each 2 s; AAC, stereo, 44.1 kHz.
    H265Aac,
    /// AV1 with a key frame each 2 s; Opus, stereo, 48 kHz.
    Av1Opus,
    /// VP9 with a key frame each 2 s; Opus, stereo, 48 kHz.
    Vp9Opus,
    /// VP8 with a key frame each 2 s; Opus, stereo, 48 kHz.
    Vp8Opus,
}

const H264: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-bf",
    "2",
    "-g",
    "50",
    "-sc_threshold",
    "0",
];
const H264_SHORT: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-bf",
    "0",
    "-g",
    "10",
    "-sc_threshold",
    "0",
];
const H265: &[&str] = &[
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "bframes=2:b-adapt=0:keyint=50:min-keyint=50:scenecut=0:log-level=error",
    "-tag:v",
    "hvc1",
];
const AV1: &[&str] = &["-c:v", "libsvtav1", "-preset", "12", "-g", "50"];
const VP9: &[&str] = &[
    "-c:v",
    "libvpx-vp9",
    "-deadline",
    "realtime",
    "-cpu-used",
    "8",
    "-g",
    "50",
    "-b:v",
    "500k",
];
const VP8: &[&str] = &[
    "-c:v",
    "libvpx",
    "-deadline",
    "realtime",
    "-cpu-used",
    "8",
    "-g",
    "50",
    "-b:v",
    "500k",
];
const AAC: &[&str] = &["-c:a", "aac", "-ar", "44100", "-ac", "2", "-b:a", "96k"];
const MP3: &[&str] = &["-c:a", "libmp3lame", "-ar", "44100", "-ac", "2", "-b:a", "96k"];
const PCMA: &[&str] = &["-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"];
const OPUS: &[&str] = &["-c:a", "libopus", "-ar", "48000", "-ac", "2", "-b:a", "64k"];

impl Fixture {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::H264Aac,
        Self::H264AacShortGop,
        Self::H264,
        Self::Aac,
        Self::H264Mp3,
        Self::H264Pcma,
        Self::H265Aac,
        Self::Av1Opus,
        Self::Vp9Opus,
        Self::Vp8Opus,
    ];

    /// Name and extension, and how to make it.
    fn recipe(self) -> (&'static str, &'static str, Vec<&'static str>) {
        let (name, extension, video, audio): (_, _, &[&str], &[&str]) = match self {
            Self::H264Aac => ("h264_aac", "mp4", H264, AAC),
            Self::H264AacShortGop => ("h264_aac_short_gop", "mp4", H264_SHORT, AAC),
            Self::H264 => ("h264", "mp4", H264, &["-an"]),
            Self::Aac => ("aac", "mp4", &["-vn"], AAC),
            Self::H264Mp3 => ("h264_mp3", "mp4", H264, MP3),
            // MP4 has no entry for A-law that all readers agree on.
            Self::H264Pcma => ("h264_pcma", "flv", H264, PCMA),
            Self::H265Aac => ("h265_aac", "mp4", H265, AAC),
            Self::Av1Opus => ("av1_opus", "mp4", AV1, OPUS),
            Self::Vp9Opus => ("vp9_opus", "mp4", VP9, OPUS),
            Self::Vp8Opus => ("vp8_opus", "mkv", VP8, OPUS),
        };
        (name, extension, [video, audio].concat())
    }

    /// The file, made now if it is not there yet. Processes that want the same file at once make it once.
    pub async fn path(self) -> Result<PathBuf> {
        let (name, extension, codecs) = self.recipe();
        let mut arguments = vec!["-v", "error"];
        arguments.extend(["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=10"]);
        arguments.extend([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=10",
        ]);
        arguments.extend(codecs);
        arguments.extend(["-pix_fmt", "yuv420p", "-threads", "2"]);

        // The recipe is part of the name, so that a changed one makes a new file.
        let mut hasher = DefaultHasher::new();
        arguments.hash(&mut hasher);
        let folder = target_folder()?.join("fixtures");
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let path = folder.join(format!("{name}-{:016x}.{extension}", hasher.finish()));
        if path.exists() {
            return Ok(path);
        }

        let lock_path = path.with_extension("lock");
        let lock = tokio::task::spawn_blocking(move || -> Result<File> {
            let lock = File::create(&lock_path).with_context(|| format!("create {}", lock_path.display()))?;
            lock.lock()
                .with_context(|| format!("lock {}", lock_path.display()))?;
            Ok(lock)
        });
        // Held until the end of this function; the system releases it if we die.
        let _lock = lock.await.context("lock a fixture")??;
        if !path.exists() {
            let unfinished = folder.join(format!("{name}-unfinished-{}.{extension}", std::process::id()));
            let tool = Tool::ffmpeg().args(arguments).arg(&unfinished);
            tool.run(Duration::from_secs(100))
                .await
                .with_context(|| format!("make fixture {name}"))?;
            std::fs::rename(&unfinished, &path).context("put a fixture in place")?;
        }
        Ok(path)
    }
}

/// The folder that cargo builds in. This test's program is `TARGET/PROFILE/deps/NAME`.
fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("path of this program")?;
    let deps = program.ancestors().find(|folder| folder.ends_with("deps"));
    let target = deps.and_then(Path::parent).and_then(Path::parent);
    target
        .map(Path::to_path_buf)
        .with_context(|| format!("{} is not below a target folder", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framehash::{self, Kind};

    async fn check(fixture: Fixture, video_frames: usize, audio_at_least: usize, reordered: bool) {
        let path = fixture.path().await.unwrap();
        assert_eq!(path, fixture.path().await.unwrap());
        if video_frames > 0 {
            let video = framehash::of_file(&path, Kind::Video).await.unwrap();
            assert_eq!(video.len(), video_frames);
            let offsets = video.iter().map(|frame| frame.pts_offset_us);
            assert_eq!(offsets.clone().min() != offsets.max(), reordered, "B-frames");
        }
        if audio_at_least > 0 {
            let audio = framehash::of_file(&path, Kind::Audio).await.unwrap();
            assert!(audio.len() >= audio_at_least, "{}", audio.len());
        }
    }

    #[tokio::test]
    async fn h264_aac() {
        check(Fixture::H264Aac, 250, 430, true).await;
    }

    #[tokio::test]
    async fn h264_aac_short_gop() {
        check(Fixture::H264AacShortGop, 250, 430, false).await;
    }

    #[tokio::test]
    async fn h264() {
        check(Fixture::H264, 250, 0, true).await;
    }

    #[tokio::test]
    async fn aac() {
        check(Fixture::Aac, 0, 430, false).await;
    }

    #[tokio::test]
    async fn h264_mp3() {
        check(Fixture::H264Mp3, 250, 380, true).await;
    }

    #[tokio::test]
    async fn h264_pcma() {
        check(Fixture::H264Pcma, 250, 70, true).await;
    }

    #[tokio::test]
    async fn h265_aac() {
        check(Fixture::H265Aac, 250, 430, true).await;
    }

    #[tokio::test]
    async fn av1_opus() {
        check(Fixture::Av1Opus, 250, 500, false).await;
    }

    #[tokio::test]
    async fn vp9_opus() {
        check(Fixture::Vp9Opus, 250, 500, false).await;
    }
}
