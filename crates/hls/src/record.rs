//! Recordings: what the files of a stream are called, and the playlists that keep everything (urls.md, section 6).
//!
//! Below the folder of a stream, `2026-11-22/13/37-55_0.ts` is the segment that began at 13:37:55 local time as the first one of its
//! recording. `hls.m3u8` beside the folders of the days lists them all, or a `vod.m3u8` in the folder of each hour those of that hour.
//! Such playlists only grow: their header says `EVENT`, and the last line of a complete one is [`END`].

use crate::live::seconds;
use crate::name::{Form, TS_SUFFIX};
use crate::playlist::{Seconds, date};
use media::MediaTime;
use std::fmt;
use std::time::Duration;

/// A point in local time, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Year, four digits.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// Where a file of a recording is, below the folder of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// `YYYY-MM-DD/HH`.
    pub hour: String,
    /// The name in that folder.
    pub name: String,
}

impl FilePath {
    /// A segment that began at `time`; `index` counts the segments of one recording from 0.
    pub fn segment(time: LocalTime, index: u64, suffix: &str) -> Self {
        Self::new(time, format_args!(""), index, suffix)
    }

    /// What the fMP4 segments need first that begin with this one, where it cannot be `init.mp4` in the folder of the stream.
    pub fn init(time: LocalTime, index: u64) -> Self {
        Self::new(time, format_args!("{INIT_PREFIX}"), index, ".mp4")
    }

    fn new(time: LocalTime, prefix: fmt::Arguments<'_>, index: u64, suffix: &str) -> Self {
        let LocalTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = time;
        Self {
            hour: format!("{year:04}-{month:02}-{day:02}/{hour:02}"),
            name: format!("{prefix}{minute:02}-{second:02}_{index}{suffix}"),
        }
    }

    /// Splits a path that is exactly of this form, and tells whose it is. `None`: no recording has such a file. So what is returned
    /// never leads out of the folder that it is looked for in.
    pub fn parse(path: &str, fmp4_suffix: &str) -> Option<(Self, Form)> {
        let (hour, name) = path.rsplit_once('/')?;
        if !fits(hour, b"dddd-dd-dd/dd") {
            return None;
        }
        let (stem, form) = match (name.strip_prefix(INIT_PREFIX), name.strip_suffix(TS_SUFFIX)) {
            (Some(rest), _) => (rest.strip_suffix(".mp4")?, Form::Fmp4),
            (None, Some(stem)) => (stem, Form::Ts),
            (None, None) => (name.strip_suffix(fmp4_suffix)?, Form::Fmp4),
        };
        let (time, index) = stem.split_once('_')?;
        let digits = (1..=20).contains(&index.len()) && index.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !fits(time, b"dd-dd") {
            return None;
        }
        let path = Self {
            hour: hour.to_owned(),
            name: name.to_owned(),
        };
        Some((path, form))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hour, self.name)
    }
}

/// What fMP4 segments need first, in the folder of a stream.
pub const INIT: &str = "init.mp4";

const INIT_PREFIX: &str = "init-";

/// Whether a text has the form of a pattern, in which `d` stands for a digit.
fn fits(text: &str, pattern: &[u8]) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// The first lines of a playlist that keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Container of the segments.
    pub form: Form,
    /// `EXT-X-TARGETDURATION`: seconds, at least the rounded length of every segment.
    pub target: u64,
}

impl Header {
    /// The header of a playlist whose segments aim at `length`.
    pub fn new(form: Form, length: MediaTime) -> Self {
        Self {
            form,
            target: seconds(length),
        }
    }

    /// The header that fits another segment, too.
    #[must_use]
    pub fn with(self, duration: MediaTime) -> Self {
        Self {
            target: self.target.max(seconds(duration)),
            ..self
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.form {
            Form::Ts => 4,
            Form::Fmp4 => 7,
        };
        write!(
            f,
            "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n",
            self.target
        )
    }
}

/// The lines of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// It does not continue the one before.
    pub discontinuity: bool,
    /// What it needs first, if that is another one than that of the segment before.
    pub map: Option<&'a str>,
    /// When it began, as time since 1970.
    pub began: Option<Duration>,
    /// Its length.
    pub duration: MediaTime,
    /// Where it is, relative to the playlist.
    pub uri: &'a str,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.discontinuity {
            f.write_str("#EXT-X-DISCONTINUITY\n")?;
        }
        if let Some(map) = self.map {
            writeln!(f, "#EXT-X-MAP:URI=\"{map}\"")?;
        }
        let mut text = String::new();
        let millis = self.began.and_then(|began| i64::try_from(began.as_millis()).ok());
        date(&mut text, millis, MediaTime::ZERO);
        write!(f, "{text}#EXTINF:{},\n{}\n", Seconds(self.duration), self.uri)
    }
}

/// The last line of a playlist that will not grow any more.
pub const END: &str = "#EXT-X-ENDLIST\n";

/// Reads a playlist that was written here, so that it can go on: its header, and the lines of its segments. `None`: it is of another
/// kind, or was not written to its end.
pub fn resume(text: &str, form: Form) -> Option<(Header, &str)> {
    let target = text
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:"))?;
    let header = Header {
        form,
        target: target.parse().ok()?,
    };
    let entries = text.strip_prefix(header.to_string().as_str())?;
    let entries = entries.strip_suffix(END).unwrap_or(entries);
    (entries.is_empty() || entries.ends_with('\n')).then_some((header, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u8, minute: u8, second: u8) -> LocalTime {
        LocalTime {
            year: 2026,
            month: 11,
            day: 2,
            hour,
            minute,
            second,
        }
    }

    #[test]
    fn files_are_called_as_the_reference_calls_them() {
        let path = FilePath::segment(at(13, 37, 55), 0, ".ts");
        assert_eq!(path.to_string(), "2026-11-02/13/37-55_0.ts");
        let next = FilePath::segment(at(14, 0, 1), 62, ".m4s");
        assert_eq!(
            (next.hour.as_str(), next.name.as_str()),
            ("2026-11-02/14", "00-01_62.m4s")
        );
        let init = FilePath::init(at(4, 5, 6), 7);
        assert_eq!(init.to_string(), "2026-11-02/04/init-05-06_7.mp4");
        for (path, form) in [(path, Form::Ts), (next, Form::Fmp4), (init, Form::Fmp4)] {
            assert_eq!(FilePath::parse(&path.to_string(), ".m4s"), Some((path, form)));
        }
    }

    #[test]
    fn nothing_else_is_a_file_of_a_recording() {
        for path in [
            "",
            "37-55_0.ts",
            "2026-11-02/13/hls.m3u8",
            "2026-11-02/../37-55_0.ts",
            "../../../13/37-55_0.ts",
            "2026-11-02/13/..",
            "2026-11-02/13/37-55_0.ts/..",
            "2026-11-02/13/37-55_.ts",
            "2026-11-02/13/37-55_0.mp4",
            "2026-11-02/13/.37-55_0.ts",
            "2026-11-02/13/init-37-55_0.m4s",
            "2026-11-02/13/37-55_0\0.ts",
            "2026-11-02/13/37-55_000000000000000000000.ts",
            "/2026-11-02/13/37-55_0.ts",
        ] {
            assert_eq!(FilePath::parse(path, ".m4s"), None, "{path}");
        }
    }

    fn entry(uri: &str) -> Entry<'_> {
        Entry {
            discontinuity: false,
            map: None,
            began: None,
            duration: MediaTime::from_millis(1930),
            uri,
        }
    }

    #[test]
    fn a_playlist_is_a_header_and_entries() {
        let header = Header::new(Form::Fmp4, MediaTime::from_millis(2000));
        let first = Entry {
            map: Some(INIT),
            began: Some(Duration::from_millis(1_793_000_000_250)),
            ..entry("a.mp4")
        };
        let second = Entry {
            discontinuity: true,
            ..entry("b.mp4")
        };
        assert_eq!(
            format!("{header}{first}{second}{END}"),
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-10-26T07:33:20.250Z\n#EXTINF:1.93000,\na.mp4\n\
             #EXT-X-DISCONTINUITY\n#EXTINF:1.93000,\nb.mp4\n#EXT-X-ENDLIST\n"
        );
        assert_eq!(header.with(MediaTime::from_millis(4_600)).target, 5);
        assert_eq!(header.with(MediaTime::from_millis(1_000)), header);
    }

    #[test]
    fn only_whole_playlists_go_on() {
        let header = Header::new(Form::Ts, MediaTime::from_millis(2000));
        let entries = entry("a.ts").to_string();
        let text = format!("{header}{entries}");
        assert_eq!(resume(&text, Form::Ts), Some((header, entries.as_str())));
        assert_eq!(
            resume(&format!("{text}{END}"), Form::Ts),
            Some((header, entries.as_str()))
        );
        assert_eq!(resume(&header.to_string(), Form::Ts), Some((header, "")));
        for other in ["", "#EXTM3U\n#EXTINF:2,\na.ts\n", &text[..text.len() - 1]] {
            assert_eq!(resume(other, Form::Ts), None, "{other}");
        }
        assert_eq!(resume(&text, Form::Fmp4), None);
    }
}
