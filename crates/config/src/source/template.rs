//! URLs with captures. What is captured was typed by a viewer, so it must not be able to name another server, another port,
//! other credentials, a path outside the one that was written, or an option of FFmpeg:
//!
//! - in the host it must be letters, digits and `-`, beside text of the rule;
//! - in user, password, port and scheme there is no capture;
//! - in path and query everything but unreserved characters is percent-encoded (so `/`, `?`, `&`, `%` and blanks stay inside
//!   their place), and control characters, `..` and path segments of one dot are refused.

use super::pattern::Pattern;
use super::url;
use super::{Problem, Via};

/// Longest URL of a rule in bytes.
const MAX_URL: usize = 4096;

/// What the server pulls itself.
const PULLED: [&str; 6] = ["rtsp", "rtsps", "rtmp", "rtmps", "http", "https"];

/// How the path of an HTTP URL ends that it pulls: HLS, MPEG-TS, FLV.
const SUFFIXES: [&str; 3] = [".m3u8", ".ts", ".flv"];

/// A URL with captures: `$1`, `${1}`, `${name}`.
#[derive(Clone, PartialEq)]
pub struct Template {
    written: String,
    /// How what the URL names is opened: `ffmpeg://` stands before what FFmpeg reads.
    pub via: Via,
    /// Scheme and `://`; empty for a path.
    scheme: String,
    user: String,
    host: Vec<Part>,
    port: String,
    /// Path and query.
    tail: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// The number of a group.
    Capture(usize),
}

/// Credentials can stand in the URL, so they are hidden.
impl std::fmt::Debug for Template {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "Template({})",
            crate::secret::mask_credentials(&self.written)
        )
    }
}

impl Template {
    /// A URL whose captures are groups of `pattern`.
    ///
    /// # Errors
    ///
    /// It is no URL that can be pulled, or a capture stands where it could lead to another server.
    pub fn new(written: &str, pattern: &Pattern) -> Result<Self, Problem> {
        if written.len() > MAX_URL
            || written
                .chars()
                .any(|char| char.is_control() || char.is_whitespace())
        {
            return Err(Problem::Characters);
        }
        let (via, input) = match url::strip_scheme(written, &["ffmpeg"]) {
            Some(input) => (Via::Ffmpeg, input),
            None => (Via::Pull, written),
        };
        let (scheme, rest) = match input.find("://") {
            Some(at) if is_scheme(&input[..at]) => input.split_at(at + 3),
            Some(_) | None if via == Via::Ffmpeg && input.starts_with('/') => ("", input),
            Some(_) | None if via == Via::Ffmpeg => return Err(Problem::FfmpegInput),
            Some(_) | None => return Err(Problem::Scheme),
        };
        let name = scheme.trim_end_matches("://").to_ascii_lowercase();
        if via == Via::Pull && !PULLED.contains(&name.as_str()) {
            return Err(Problem::Scheme);
        }
        if name == "ffmpeg" {
            return Err(Problem::FfmpegInput);
        }
        let (authority, tail) = rest.split_at(if scheme.is_empty() {
            0
        } else {
            url::authority_len(rest)
        });
        let path = &tail[..tail.find(['?', '#']).unwrap_or(tail.len())];
        if path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(Problem::Characters);
        }
        let path = path.to_ascii_lowercase();
        let is_known = SUFFIXES.iter().any(|suffix| path.ends_with(suffix));
        if name.starts_with("http") && via == Via::Pull && !is_known {
            return Err(Problem::Suffix);
        }
        let (user, host, port) = url::split_authority(authority);
        if host.is_empty() && !scheme.is_empty() && name != "file" {
            return Err(Problem::NoHost);
        }
        let host = parts(host, pattern)?;
        let only_captured = host.iter().all(|part| matches!(part, Part::Capture(_)));
        if !host.is_empty() && only_captured {
            return Err(Problem::CaptureInAuthority);
        }
        Ok(Self {
            written: written.to_owned(),
            via,
            scheme: scheme.to_owned(),
            user: fixed(user, pattern)?,
            host,
            port: fixed(port, pattern)?,
            tail: parts(tail, pattern)?,
        })
    }

    /// As it was written. Credentials can stand in it.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    pub(super) const fn has_credentials(&self) -> bool {
        !self.user.is_empty()
    }

    /// Whether credentials have a place at all.
    pub(super) const fn has_host(&self) -> bool {
        !self.host.is_empty()
    }

    /// The URL for these captures, or nothing when one of them may not stand there.
    pub fn fill(&self, captures: &[String]) -> Option<String> {
        let mut url = format!("{}{}", self.scheme, self.user);
        for part in &self.host {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Capture(group) => url.push_str(captures.get(*group).filter(|text| is_label(text))?),
            }
        }
        url.push_str(&self.port);
        let mut tail = String::new();
        for part in &self.tail {
            match part {
                Part::Text(text) => tail.push_str(text),
                Part::Capture(group) => {
                    let text = captures.get(*group).filter(|text| is_harmless(text))?;
                    tail.push_str(&url::encode(text));
                }
            }
        }
        // Dots of two captures, or of one beside text, can add up to a segment of dots.
        let path = &tail[..tail.find(['?', '#']).unwrap_or(tail.len())];
        if path.split('/').any(|segment| segment == "." || segment == "..") {
            return None;
        }
        url.push_str(&tail);
        Some(url)
    }
}

/// Letters, digits and `-`, at least one.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_harmless(text: &str) -> bool {
    !text.contains("..") && !text.chars().any(char::is_control)
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Text in which no capture may stand.
fn fixed(text: &str, pattern: &Pattern) -> Result<String, Problem> {
    let mut fixed = String::new();
    for part in parts(text, pattern)? {
        match part {
            Part::Text(text) => fixed.push_str(&text),
            Part::Capture(_) => return Err(Problem::CaptureInAuthority),
        }
    }
    Ok(fixed)
}

/// Cuts text at `$1`, `${1}` and `${name}`; `$$` is a dollar sign.
fn parts(text: &str, pattern: &Pattern) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            plain.push('$');
            rest = behind;
            continue;
        }
        let name = match rest.strip_prefix('{') {
            Some(inner) => {
                let end = inner.find('}').ok_or(Problem::Dollar)?;
                rest = &inner[end + 1..];
                &inner[..end]
            }
            None => {
                let end = rest.bytes().take_while(u8::is_ascii_digit).count();
                let name = &rest[..end];
                rest = &rest[end..];
                name
            }
        };
        if name.is_empty() {
            return Err(Problem::Dollar);
        }
        let group = pattern.group(name).ok_or_else(|| Problem::NoSuchGroup {
            name: name.to_owned(),
        })?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Capture(group));
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(pattern: &str, url: &str, name: &str) -> Option<String> {
        let pattern = Pattern::new(pattern).unwrap();
        let template = Template::new(url, &pattern).unwrap();
        template.fill(&pattern.captures(name).unwrap())
    }

    #[test]
    fn captures_by_number_and_by_name_are_filled_in() {
        let url = "rtmp://origin/${app}/$2?from=${0}&price=$$5";
        assert_eq!(
            fill("(?<app>[a-z]+)/(.*)", url, "live/cam1").as_deref(),
            Some("rtmp://origin/live/cam1?from=live%2Fcam1&price=$5"),
        );
        assert_eq!(
            fill(
                "live/cam([0-9]+)",
                "ffmpeg://rtsp://cam$1.lan:554/h264",
                "live/cam7"
            )
            .as_deref(),
            Some("rtsp://cam7.lan:554/h264"),
        );
        assert_eq!(
            fill("live/(a)?b", "rtmp://o/x$1", "live/b").as_deref(),
            Some("rtmp://o/x")
        );
    }

    #[test]
    fn what_a_viewer_types_cannot_leave_its_place() {
        for (stream, url) in [
            ("a/b", Some("rtmp://o/live/a%2Fb")),
            ("a?x=1&y#z", Some("rtmp://o/live/a%3Fx%3D1%26y%23z")),
            ("@evil:80/x", Some("rtmp://o/live/%40evil%3A80%2Fx")),
            ("a b -y /etc", Some("rtmp://o/live/a%20b%20-y%20%2Fetc")),
            ("%2e%2e%2f", Some("rtmp://o/live/%252e%252e%252f")),
            ("摄像头", Some("rtmp://o/live/%E6%91%84%E5%83%8F%E5%A4%B4")),
            ("a.b", Some("rtmp://o/live/a.b")),
            (".", None),
            ("..", None),
            ("../x", None),
            ("a\u{0}", None),
            ("a\u{7f}", None),
        ] {
            assert_eq!(
                fill("(?s)x/(.*)", "rtmp://o/live/$1", &format!("x/{stream}")).as_deref(),
                url,
                "{stream:?}"
            );
        }
        assert_eq!(fill("x/(.)(.)", "rtmp://o/$1$2/a", "x/.."), None);
        for host in ["a.b", "a@b", "a:1", "a/b", "", "[::1]"] {
            assert_eq!(
                fill("x/(.*)", "rtmp://cam$1.lan/a", &format!("x/{host}")),
                None,
                "{host}"
            );
        }
    }

    #[test]
    fn urls_that_cannot_be_meant_are_refused_when_the_file_is_read() {
        let pattern = Pattern::new("(?<app>.+)/(.+)").unwrap();
        for (url, problem) in [
            ("srt://cam/1", Problem::Scheme),
            ("cam/1", Problem::Scheme),
            ("$1://cam/1", Problem::Scheme),
            ("http://cam/1.mpd", Problem::Suffix),
            ("http://cam/1?x=.flv", Problem::Suffix),
            ("rtmp:///live", Problem::NoHost),
            ("rtmp://$1/live", Problem::CaptureInAuthority),
            ("rtmp://cam:$1/live", Problem::CaptureInAuthority),
            ("rtmp://u:$1@cam/live", Problem::CaptureInAuthority),
            ("rtmp://cam/$3", Problem::NoSuchGroup { name: "3".to_owned() }),
            (
                "rtmp://cam/${nam}",
                Problem::NoSuchGroup {
                    name: "nam".to_owned(),
                },
            ),
            ("rtmp://cam/$x", Problem::Dollar),
            ("rtmp://cam/${1", Problem::Dollar),
            ("rtmp://cam/../$1", Problem::Characters),
            ("rtmp://cam/a b", Problem::Characters),
            ("ffmpeg://testsrc", Problem::FfmpegInput),
            ("ffmpeg://-i", Problem::FfmpegInput),
            ("ffmpeg://ffmpeg://rtsp://cam/1", Problem::FfmpegInput),
        ] {
            assert_eq!(Template::new(url, &pattern), Err(problem), "{url}");
        }
        for url in [
            "rtmp://cam/$1/${2}",
            "RTMPS://u:p@[::1]:443/live",
            "https://cam/${app}/$2.live.flv?token=1",
            "https://cdn/$2/index.M3U8",
            "http://cam/$2.live.ts",
            "ffmpeg://rtsp://admin:pw@cam/Streaming/Channels/$2",
            "ffmpeg:///srv/media/$2.mp4",
            "ffmpeg://file:///srv/media/$2.mp4",
        ] {
            assert!(Template::new(url, &pattern).is_ok(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn a_filled_url_keeps_its_parts_whatever_is_captured(stream in "\\PC{0,40}|[./@:%a?#&]{0,12}") {
            if let Some(url) = fill("(?s)x/(.*)", "rtmp://u:p@origin:1935/live/$1?key=$1", &format!("x/{stream}")) {
                let rest = url.strip_prefix("rtmp://u:p@origin:1935/live/").unwrap();
                let (path, query) = rest.split_once("?key=").unwrap();
                prop_assert_eq!(path, query);
                prop_assert!(!path.contains(['/', '?', '#', '@', ':', '&', ' ']) && path != ".." && path != ".");
            }
        }
    }
}
