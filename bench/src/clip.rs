//! The test stream: made once, kept below `bench/target`, sent in a loop.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use container::flv;
use tokio::process::Command;
use tokio::time::timeout;

/// Bit rate of the video, bits per second.
const BIT_RATE: u32 = 2_000_000;
/// Frames per second.
const FRAME_RATE: u32 = 25;
/// From key frame to key frame, frames: two seconds.
const GROUP: u32 = 2 * FRAME_RATE;
/// From frame to frame.
pub const FRAME: Duration = Duration::from_millis(1000 / FRAME_RATE as u64);
/// From key frame to key frame, frames, as a count.
pub const GROUP_FRAMES: usize = GROUP as usize;
/// Length, seconds: ten groups of pictures.
const LENGTH: u32 = 10 * GROUP / FRAME_RATE;
/// Longest that its making may take; a few seconds are usual.
const MAKING: Duration = Duration::from_secs(180);
/// How far off the bit rate may be: beyond this the stream is not the one that the figures are said to be for.
const TOLERANCE: f64 = 0.15;

/// A frame as FLV carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Body of the tag.
    pub body: Bytes,
}

impl Frame {
    /// Tag with header and trailing size, bytes.
    pub fn len(&self) -> usize {
        self.body.len() + TAG_OVERHEAD
    }
}

/// The stream.
#[derive(Clone, Debug)]
pub struct Clip {
    /// FLV file.
    pub file: PathBuf,
    /// Body of the tag with the metadata, if there is one.
    pub metadata: Option<Bytes>,
    /// Body of the tag with the decoder's configuration.
    pub sequence_header: Bytes,
    /// Its video frames, [`FRAME`] apart, each [`GROUP_FRAMES`]th a key frame.
    pub frames: Vec<Frame>,
}

impl Clip {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let mut reader = flv::Reader::new();
        reader.push(Bytes::from(bytes));
        let shown = file.display();
        let (mut frames, mut metadata, mut sequence_header) = (Vec::new(), None, None);
        while let Some(tag) = reader.next().with_context(|| format!("read {shown}"))? {
            if is_video_frame(&tag) {
                let due_ms = frames.len() as i64 * FRAME.as_millis() as i64;
                ensure!(
                    tag.timestamp_ms == due_ms
                        && is_key_frame(&tag) == frames.len().is_multiple_of(GROUP_FRAMES),
                    "{shown} has not the frames that it should have; delete it"
                );
                frames.push(Frame { body: tag.body });
            } else if tag.tag_type == flv::TagType::Script {
                metadata = metadata.or(Some(tag.body));
            } else if tag.tag_type == flv::TagType::Video && tag.body.get(1) == Some(&0) {
                sequence_header = sequence_header.or(Some(tag.body));
            }
        }
        ensure!(!frames.is_empty(), "{shown} has no video");
        Ok(Self {
            file: file.to_owned(),
            metadata,
            sequence_header: sequence_header.with_context(|| format!("{shown} has no sequence header"))?,
            frames,
        })
    }

    /// A clip of as many frames, with no more than the first `bytes` of each picture's longest unit. No decoder shows it.
    pub fn cut(&self, bytes: usize) -> Self {
        let frames = self.frames.iter().map(|frame| Frame {
            body: cut(&frame.body, bytes),
        });
        Self {
            frames: frames.collect(),
            ..self.clone()
        }
    }

    /// Time from one loop to the next.
    pub fn length(&self) -> Duration {
        FRAME * self.frames.len() as u32
    }

    /// Of a group of pictures, bytes, in the mean.
    pub fn group_bytes(&self) -> f64 {
        self.bit_rate() / 8.0 * FRAME.as_secs_f64() * f64::from(GROUP)
    }

    /// Bits per second of its frames.
    pub fn bit_rate(&self) -> f64 {
        let bytes: usize = self.frames.iter().map(Frame::len).sum();
        bytes as f64 * 8.0 / self.length().as_secs_f64()
    }
}

/// Cuts a coded picture: its head of five bytes (FLV 10.1, annex E.4.3.1), then units that begin with their lengths, four bytes each.
fn cut(body: &Bytes, bytes: usize) -> Bytes {
    const HEAD: usize = 5;
    let (head, mut rest) = body.split_at(HEAD.min(body.len()));
    let mut longest: &[u8] = &[];
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (unit, after) = more.split_at((u32::from_be_bytes(*length) as usize).min(more.len()));
        if unit.len() > longest.len() {
            longest = unit;
        }
        rest = after;
    }
    let unit = &longest[..longest.len().min(bytes)];
    [head, &(unit.len() as u32).to_be_bytes(), unit].concat().into()
}

/// Header of a tag (11 bytes) and the size behind it (4): FLV 10.1, annex E.
const TAG_OVERHEAD: usize = 15;

/// A coded picture in H.264, not a sequence header or an end (FLV 10.1, annex E.4.3.1).
pub fn is_video_frame(tag: &flv::Tag) -> bool {
    tag.tag_type == flv::TagType::Video && tag.body.len() > 5 && tag.body[0] & 0x0F == 7 && tag.body[1] == 1
}

/// A coded picture in H.264 that can be decoded without others.
pub fn is_key_frame(tag: &flv::Tag) -> bool {
    is_video_frame(tag) && tag.body[0] >> 4 == 1
}

/// The clip, made if this is the first run.
pub async fn ready() -> Result<Clip> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target"));
    let file = folder.join(format!("clip-{BIT_RATE}-{FRAME_RATE}-{GROUP}-{LENGTH}.flv"));
    if !file.exists() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        make(&file).await?;
    }
    let clip = Clip::read(&file)?;
    let off = (clip.bit_rate() / f64::from(BIT_RATE) - 1.0).abs();
    let shown = file.display();
    ensure!(
        off <= TOLERANCE,
        "{shown} has {:.0} bit/s instead of {BIT_RATE}; delete it",
        clip.bit_rate()
    );
    Ok(clip)
}

async fn make(file: &Path) -> Result<()> {
    eprintln!("making the test stream, once ...");
    // Noise, or the encoder would not need the bit rate.
    let source = format!("testsrc2=size=1280x720:rate={FRAME_RATE},noise=alls=12:allf=t");
    let draft = file.with_extension("draft.flv");
    let (rate, group, length) = (BIT_RATE.to_string(), GROUP.to_string(), LENGTH.to_string());
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &source, "-t", &length,
    ]);
    command.args([
        "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0",
    ]);
    command.args([
        "-b:v", &rate, "-minrate", &rate, "-maxrate", &rate, "-bufsize", &rate,
    ]);
    command
        .args([
            "-g",
            &group,
            "-keyint_min",
            &group,
            "-sc_threshold",
            "0",
            "-f",
            "flv",
        ])
        .arg(&draft);
    let running = command.stdin(Stdio::null()).kill_on_drop(true).status();
    let status = timeout(MAKING, running)
        .await
        .context("ffmpeg takes too long")?
        .context("start ffmpeg")?;
    if !status.success() {
        bail!("ffmpeg, making the test stream: {status}");
    }
    std::fs::rename(&draft, file).with_context(|| format!("keep {}", file.display()))
}
