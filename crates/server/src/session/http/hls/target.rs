//! What a request asks for.

use super::super::head::Head;
use crate::hls::viewers::Token;
use axum::http::Method;
use hls::record::FilePath;
use hls::{Form, Name, Reload};
use percent_encoding::percent_decode_str;

/// What stands before a token in a path.
pub(super) const SESSION: &str = "session-";

/// A request for something of HLS.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// `app/stream`, decoded.
    pub(super) path: String,
    /// The token in the path.
    pub(super) token: Option<Token>,
    pub(super) what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    Playlist {
        form: Form,
        delayed: bool,
    },
    Media(Name, Form),
    /// A file of a recording.
    File(FilePath, Form),
}

impl Target {
    /// The target of a request: `/app/stream/hls.m3u8` and its like, and what such playlists name (urls.md, section 6).
    pub fn of(head: &Head, fmp4_suffix: &str) -> Option<Self> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return None;
        }
        let path = percent_decode_str(head.uri.path()).decode_utf8().ok()?;
        let path = path.trim_start_matches('/');
        let (folder, file) = path.rsplit_once('/')?;
        let below = path.rmatch_indices('/').nth(2).and_then(|(at, _)| {
            let (file, form) = FilePath::parse(path.get(at + 1..)?, fmp4_suffix)?;
            Some((path.get(..at)?, What::File(file, form)))
        });
        let (folder, what) = match (below, file) {
            (Some(below), _) => below,
            (None, file) => (folder, Self::named(file, fmp4_suffix)?),
        };
        let (path, token) = match folder.rsplit_once('/') {
            Some((path, last)) => match token_of(last) {
                Some(token) => (path, Some(token)),
                None => (folder, None),
            },
            None => (folder, None),
        };
        Some(Self {
            path: path.to_owned(),
            token,
            what,
        })
    }

    /// What is called so in the folder of a stream.
    fn named(file: &str, fmp4_suffix: &str) -> Option<What> {
        let playlist = |form, delayed| What::Playlist { form, delayed };
        Some(match file {
            "hls.m3u8" => playlist(Form::Ts, false),
            "hls.fmp4.m3u8" => playlist(Form::Fmp4, false),
            "hls_delay.m3u8" => playlist(Form::Ts, true),
            "hls_delay.fmp4.m3u8" => playlist(Form::Fmp4, true),
            _ => {
                let name = Name::parse(file, fmp4_suffix)?;
                let form = match name {
                    Name::Segment { form, .. } => form,
                    Name::Init(_) | Name::Part { .. } => Form::Fmp4,
                };
                What::Media(name, form)
            }
        })
    }
}

/// The token that a folder of a path stands for.
pub(super) fn token_of(folder: &str) -> Option<Token> {
    folder.strip_prefix(SESSION).and_then(Token::parse)
}

/// The delivery directives of a request (RFC 8216bis, section 6.2.5).
pub(super) fn reload(query: &str, delayed: bool) -> Result<Reload, String> {
    let mut reload = Reload {
        delayed,
        ..Reload::default()
    };
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name} must be a whole number, not {value:?}"))
        };
        match name {
            "_HLS_msn" => reload.sequence = Some(number()?),
            "_HLS_part" => reload.part = Some(number()?),
            "_HLS_skip" if matches!(value, "YES" | "v2") => reload.skip = true,
            "_HLS_skip" => return Err(format!("_HLS_skip must be YES or v2, not {value:?}")),
            _ => {}
        }
    }
    Ok(reload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn target(line: &str) -> Option<Target> {
        let mut text = BytesMut::from(&*format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        Target::of(&Head::parse(&mut text).expect("valid").expect("whole"), ".mp4")
    }

    #[test]
    fn playlists_and_what_they_name_are_told_from_other_files() {
        let playlist = |form, delayed| What::Playlist { form, delayed };
        let token = "0123456789abcdef0123456789abcdef";
        for (line, path, known, what) in [
            (
                "GET /live/cam/hls.m3u8?token=1",
                "live/cam",
                false,
                playlist(Form::Ts, false),
            ),
            (
                "GET /live/a%20b/c/hls.fmp4.m3u8",
                "live/a b/c",
                false,
                playlist(Form::Fmp4, false),
            ),
            (
                "HEAD /live/cam/hls_delay.m3u8",
                "live/cam",
                false,
                playlist(Form::Ts, true),
            ),
            (
                &format!("GET /live/cam/session-{token}/hls.m3u8"),
                "live/cam",
                true,
                playlist(Form::Ts, false),
            ),
            (
                &format!("GET /live/cam/session-{token}/0000012000.3.mp4"),
                "live/cam",
                true,
                What::Media(
                    Name::Part {
                        start: 12_000,
                        index: 3,
                    },
                    Form::Fmp4,
                ),
            ),
            // A folder of a recording that happens to be called so.
            (
                "GET /live/session-1/hls.m3u8",
                "live/session-1",
                false,
                playlist(Form::Ts, false),
            ),
        ] {
            let found = target(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(
                (found.path.as_str(), found.token.is_some(), found.what),
                (path, known, what),
                "{line}"
            );
        }
        for line in [
            "GET /hls.m3u8",
            "POST /live/cam/hls.m3u8",
            "GET /live/cam/index.m3u8",
            "GET /live/cam/37-55_0.ts",
            "GET /live/cam.live.ts",
        ] {
            assert_eq!(target(line), None, "{line}");
        }
    }

    #[test]
    fn directives_are_read_and_nonsense_is_named() {
        let wanted = Reload {
            sequence: Some(7),
            part: Some(2),
            skip: true,
            delayed: false,
        };
        assert_eq!(
            reload("a=b&_HLS_msn=7&_HLS_part=2&_HLS_skip=YES", false),
            Ok(wanted)
        );
        assert_eq!(reload("", true).map(|reload| reload.delayed), Ok(true));
        for (query, says) in [
            ("_HLS_msn=-1", "_HLS_msn"),
            ("_HLS_part=x", "_HLS_part"),
            ("_HLS_skip=no", "YES"),
        ] {
            assert!(
                reload(query, false).is_err_and(|text| text.contains(says)),
                "{query}"
            );
        }
    }

    #[test]
    fn files_of_recordings_are_below_their_stream() {
        let token = Token::random();
        let of = |path: &str| {
            let target = target(&format!("GET {path}"))?;
            let What::File(file, form) = target.what else {
                return None;
            };
            Some((target.path, target.token, file.to_string(), form))
        };
        let file = "2026-11-22/13/37-55_0.ts";
        let wanted = |token, file: &str, form| Some(("live/a/b".to_owned(), token, file.to_owned(), form));
        assert_eq!(of(&format!("/live/a/b/{file}")), wanted(None, file, Form::Ts));
        assert_eq!(
            of(&format!("/live/a/b/session-{token}/{file}")),
            wanted(Some(token), file, Form::Ts)
        );
        let init = "2026-11-22/13/init-37-55_0.mp4";
        assert_eq!(
            of(&format!("/live/a/b/{init}?x=1")),
            wanted(None, init, Form::Fmp4)
        );
        for path in [
            "/2026-11-22/13/37-55_0.ts",
            "/live/a/b/2026-11-22/13/../37-55_0.ts",
            "/live/a/b/2026-11-22/%2e%2e/37-55_0.ts",
            "/live/a/b/2026-11-22/13/%2e%2e%2f37-55_0.ts",
            "/live/a/b/2026-11-22/13/vod.m3u8",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        let playlist = target("GET /live/a/hls.m3u8").expect("a playlist");
        assert_eq!((playlist.path.as_str(), playlist.token), ("live/a", None));
    }
}
