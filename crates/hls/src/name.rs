//! Names of segments, parts and initialization segments.
//!
//! They are times on the stream's own time line, in milliseconds: `0000012000.ts` and `0000012000.mp4` begin at 12 s, `0000012000.3.mp4`
//! is the fourth part of the latter, `init.mp4` and, after a change of the tracks at 20 s, `init-0000020000.mp4` are what they need
//! first. Two servers that carry the same time line therefore call the same media by the same name, whenever either of them began.

use media::MediaTime;
use std::fmt;

/// The container of a playlist's segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// MPEG-TS: `hls.m3u8`.
    Ts,
    /// Fragmented MP4: `hls.fmp4.m3u8`.
    Fmp4,
}

/// Something that a playlist names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// What fMP4 segments need first; of the tracks that were new at this time, in milliseconds. `None`: the first ones.
    Init(Option<u64>),
    /// A segment.
    Segment {
        /// Its container.
        form: Form,
        /// When it begins, in milliseconds.
        start: u64,
    },
    /// A part of an fMP4 segment.
    Part {
        /// When its segment begins, in milliseconds.
        start: u64,
        /// Which part, from 0.
        index: usize,
    },
}

/// The suffix of MPEG-TS segments.
pub const TS_SUFFIX: &str = ".ts";

impl Name {
    /// Reads a file name. `fmp4_suffix` as in [`crate::Options`]. `None`: no playlist names it so.
    pub fn parse(text: &str, fmp4_suffix: &str) -> Option<Self> {
        if let Some(stem) = text.strip_suffix(TS_SUFFIX) {
            return Some(Self::Segment {
                form: Form::Ts,
                start: number(stem)?,
            });
        }
        if text == INIT {
            return Some(Self::Init(None));
        }
        if let Some(stem) = text
            .strip_prefix("init-")
            .and_then(|rest| rest.strip_suffix(".mp4"))
        {
            return Some(Self::Init(Some(number(stem)?)));
        }
        let stem = text.strip_suffix(fmp4_suffix)?;
        match stem.split_once('.') {
            None => Some(Self::Segment {
                form: Form::Fmp4,
                start: number(stem)?,
            }),
            Some((start, index)) => {
                let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
                let canonical = index == "0" || !index.starts_with('0');
                Some(Self::Part {
                    start: number(start)?,
                    index: index.parse().ok().filter(|_| digits && canonical)?,
                })
            }
        }
    }

    /// The name as a playlist has it.
    pub fn text<'a>(&'a self, fmp4_suffix: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match self {
            Self::Init(None) => f.write_str(INIT),
            Self::Init(Some(start)) => write!(f, "init-{start:010}.mp4"),
            Self::Segment {
                form: Form::Ts,
                start,
            } => write!(f, "{start:010}{TS_SUFFIX}"),
            Self::Segment {
                form: Form::Fmp4,
                start,
            } => write!(f, "{start:010}{fmp4_suffix}"),
            Self::Part { start, index } => write!(f, "{start:010}.{index}{fmp4_suffix}"),
        })
    }
}

/// The first initialization segment, as ZLM calls it.
const INIT: &str = "init.mp4";

/// The number that stands for a time in names. Before the beginning of the time line there is nothing to name.
pub fn stamp(time: MediaTime) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(0)
}

/// Ten digits, or more without zeros in front: each time has one name.
fn number(text: &str) -> Option<u64> {
    let digits = text.len() >= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text.len() == 10 || !text.starts_with('0');
    text.parse().ok().filter(|_| digits && canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for suffix in [".mp4", ".m4s"] {
            for name in [
                Name::Init(None),
                Name::Init(Some(20_000)),
                Name::Segment {
                    form: Form::Ts,
                    start: 12_000,
                },
                Name::Segment {
                    form: Form::Fmp4,
                    start: 99_999_999_999,
                },
                Name::Part {
                    start: 12_000,
                    index: 13,
                },
            ] {
                let text = name.text(suffix).to_string();
                assert_eq!(Name::parse(&text, suffix), Some(name), "{text}");
            }
        }
    }

    #[test]
    fn nothing_has_two_names() {
        for text in [
            "12000.ts",
            "00000012000.ts",
            "+000012000.ts",
            "0000012000.mpeg",
            "0000012000..mp4",
            "0000012000.01.mp4",
            "0000012000.-1.mp4",
            "0000012000.1.2.mp4",
            "init-1.mp4",
            "99999999999999999999.ts",
            ".ts",
            "",
        ] {
            assert_eq!(Name::parse(text, ".mp4"), None, "{text}");
        }
    }
}
