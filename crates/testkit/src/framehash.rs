//! What frames a file or a stream carries: time, size and MD5 of each, without decoding. Comparing those of a published
//! file with those played back shows that nothing was lost, changed or moved in time.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::tool::Tool;

/// Which stream of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first video stream.
    Video,
    /// The first audio stream.
    Audio,
}

/// One frame as it stands in the container.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Decoding time in microseconds, in the input's own count.
    pub dts_us: i64,
    /// Presentation time less decoding time, in microseconds; more than one value means reordered (B) frames.
    pub pts_offset_us: i64,
    /// Bytes.
    pub size: u64,
    /// MD5 of the bytes, in hexadecimal.
    pub md5: String,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} us (+{} us) {} bytes {}",
            self.dts_us, self.pts_offset_us, self.size, self.md5
        )
    }
}

/// ffmpeg's output arguments that write the frames of one stream to standard output, for [`parse`]. They go behind the
/// input.
pub fn arguments(kind: Kind) -> [&'static str; 7] {
    let map = match kind {
        Kind::Video => "0:v:0",
        Kind::Audio => "0:a:0",
    };
    ["-map", map, "-c", "copy", "-f", "framemd5", "-"]
}

/// The frames of a file, read by the recent ffmpeg, which knows all codecs and containers of these tests.
pub async fn of_file(file: &Path, kind: Kind) -> Result<Vec<Frame>> {
    // Copied time stamps: without this ffmpeg moves those of a file that starts before zero.
    let tool = Tool::ffmpeg_new()?
        .args(["-v", "error", "-copyts", "-i"])
        .arg(file)
        .args(arguments(kind));
    let output = tool.run(Duration::from_secs(60)).await?;
    parse(&output.stdout_text()).with_context(|| format!("frames of {}", file.display()))
}

/// [`arguments`] with a bitstream filter before the hash, for protocols that repeat parameter sets in the stream, and with a file
/// for the output.
pub fn filtered_arguments(kind: Kind, filter: &str, file: &Path) -> Vec<std::ffi::OsString> {
    let [map, which, codec, copy, format, name, _] = arguments(kind);
    let arguments = [map, which, codec, copy, "-bsf", filter, format, name];
    let mut arguments: Vec<_> = arguments.iter().map(std::ffi::OsString::from).collect();
    arguments.push(file.into());
    arguments
}

/// As [`of_file`], with a bitstream filter before the hash.
pub async fn of_filtered_file(file: &Path, kind: Kind, filter: &str) -> Result<Vec<Frame>> {
    let tool = Tool::ffmpeg_new()?
        .args(["-v", "error", "-copyts", "-i"])
        .arg(file)
        .args(filtered_arguments(kind, filter, Path::new("-")));
    let output = tool.run(Duration::from_secs(60)).await?;
    parse(&output.stdout_text()).with_context(|| format!("frames of {}", file.display()))
}

/// Reads what ffmpeg's `framemd5` muxer has written. A frame whose presentation time ffmpeg does not know is left out: that is the
/// first one of each RTSP stream with B-frames, also from ffmpeg to ffmpeg (observed with 5.1 and 9).
pub fn parse(text: &str) -> Result<Vec<Frame>> {
    let mut time_base = None;
    let mut frames = Vec::new();
    for line in text.lines() {
        if let Some(base) = line.strip_prefix("#tb 0:") {
            let (number, of) = base
                .trim()
                .split_once('/')
                .with_context(|| format!("time base {base:?}"))?;
            time_base = Some((number.parse::<i64>()?, of.parse::<i64>()?));
        }
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let [_, dts, pts, _, size, md5, ..] = fields[..] else {
            bail!("not a line of framemd5: {line:?}")
        };
        let (number, of) = time_base.context("a frame before the time base")?;
        let us = |ticks: i64| ticks * number * 1_000_000 / of;
        let (dts, pts): (i64, i64) = (dts.parse().context("dts")?, pts.parse().context("pts")?);
        if pts == i64::MIN {
            continue;
        }
        frames.push(Frame {
            dts_us: us(dts),
            pts_offset_us: us(pts) - us(dts),
            size: size.parse().context("size")?,
            md5: md5.to_owned(),
        });
    }
    Ok(frames)
}

/// RTMP and FLV count whole milliseconds, so that two roundings may differ by one each way.
pub const MILLISECOND_ROUNDING: Duration = Duration::from_micros(1_999);

/// Panics unless `played` is an unbroken run of at least `at_least` frames of `published`: the same bytes, in the same order,
/// at the same distances in time, give or take `tolerance`. Returns where in `published` the run starts.
///
/// The start of `played` may be anywhere, because a viewer may come late; the count of its clock may start anywhere, too.
#[track_caller]
pub fn assert_run(published: &[Frame], played: &[Frame], at_least: usize, tolerance: Duration) -> usize {
    assert!(
        played.len() >= at_least,
        "{} frames played, at least {at_least} expected",
        played.len()
    );
    let longest = (0..published.len())
        .map(|start| {
            let same = published[start..]
                .iter()
                .zip(played)
                .take_while(|(a, b)| (a.size, &a.md5) == (b.size, &b.md5));
            (same.count(), start)
        })
        .max_by_key(|(count, start)| (*count, std::cmp::Reverse(*start)));
    let Some((count, start)) = longest else {
        panic!("nothing was published")
    };
    if count < played.len() {
        panic!(
            "frame {count} of {} is not what was published there (the run starts at frame {start} of {}): \
             published {:?}, played {:?}",
            played.len(),
            published.len(),
            published.get(start + count),
            played[count],
        );
    }
    // At most an hour of media: fits.
    let tolerance = i64::try_from(tolerance.as_micros()).unwrap_or(i64::MAX);
    for (index, (a, b)) in published[start..].iter().zip(played).enumerate() {
        let moved = (b.dts_us - played[0].dts_us) - (a.dts_us - published[start].dts_us);
        let reordered =
            b.pts_offset_us - a.pts_offset_us - (played[0].pts_offset_us - published[start].pts_offset_us);
        assert!(
            moved.abs() <= tolerance && reordered.abs() <= tolerance,
            "frame {index} is off by {moved} us in decoding time and {reordered} us in presentation: \
             published {a:?}, played {b:?}"
        );
    }
    start
}

/// As [`assert_run`], for protocols that carry presentation times only: decoding times are the reader's guess.
#[track_caller]
pub fn assert_shown(published: &[Frame], played: &[Frame], at_least: usize, tolerance: Duration) -> usize {
    let shown = |frames: &[Frame]| -> Vec<Frame> {
        let shown = |frame: &Frame| Frame {
            dts_us: frame.dts_us + frame.pts_offset_us,
            pts_offset_us: 0,
            ..frame.clone()
        };
        frames.iter().map(shown).collect()
    };
    assert_run(&shown(published), &shown(played), at_least, tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#format: frame checksums\n#version: 2\n#hash: MD5\n#extradata 0:  44, abc\n#tb 0: 1/1000\n\
        #media_type 0: video\n#codec_id 0: h264\n\
        0,  -80,    0,  40,  11, aa\n0,  -40,  120,  40,  5, bb, S=1, 8\n0,    0,   40,  40,  6, cc\n";

    fn frames(list: &[(i64, i64, &str)]) -> Vec<Frame> {
        let frame = |&(dts_us, pts_offset_us, md5): &(i64, i64, &str)| Frame {
            dts_us,
            pts_offset_us,
            size: 1,
            md5: md5.into(),
        };
        list.iter().map(frame).collect()
    }

    #[test]
    fn framemd5_is_read() {
        let read = parse(TEXT).unwrap();
        assert_eq!(read.len(), 3);
        let expected = Frame {
            dts_us: -40_000,
            pts_offset_us: 160_000,
            size: 5,
            md5: "bb".into(),
        };
        assert_eq!(read[1], expected);
    }

    #[test]
    fn lines_of_something_else_are_refused() {
        assert!(parse("#tb 0: 1/1000\nhello\n").is_err());
        assert!(
            parse("0, 0, 0, 40, 11, aa\n")
                .unwrap_err()
                .to_string()
                .contains("before the time base")
        );
    }

    #[test]
    fn a_late_viewer_sees_a_run() {
        let published = frames(&[
            (0, 0, "a"),
            (40_000, 80_000, "b"),
            (80_000, 0, "c"),
            (120_000, 0, "d"),
        ]);
        let played = frames(&[(7_000, 80_000, "b"), (46_000, 0, "c")]);
        assert_eq!(assert_run(&published, &played, 2, MILLISECOND_ROUNDING), 1);
    }

    #[test]
    #[should_panic(
        expected = "frame 1 of 2 is not what was published there (the run starts at frame 0 of 3)"
    )]
    fn a_lost_frame_is_found() {
        let published = frames(&[(0, 0, "a"), (40_000, 0, "b"), (80_000, 0, "c")]);
        assert_run(
            &published,
            &frames(&[(0, 0, "a"), (80_000, 0, "c")]),
            1,
            MILLISECOND_ROUNDING,
        );
    }

    #[test]
    #[should_panic(expected = "frame 1 is off by 3000 us")]
    fn a_moved_frame_is_found() {
        let published = frames(&[(0, 0, "a"), (40_000, 0, "b")]);
        assert_run(
            &published,
            &frames(&[(0, 0, "a"), (43_000, 0, "b")]),
            1,
            MILLISECOND_ROUNDING,
        );
    }

    #[test]
    #[should_panic(expected = "frame 1 is off by 0 us in decoding time and -40000 us in presentation")]
    fn lost_reordering_is_found() {
        let published = frames(&[(0, 0, "a"), (40_000, 40_000, "b")]);
        assert_run(
            &published,
            &frames(&[(0, 0, "a"), (40_000, 0, "b")]),
            1,
            MILLISECOND_ROUNDING,
        );
    }
}
