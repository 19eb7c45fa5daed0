//! From `connect` and `publish` or `play` to the name of a stream.

use super::Request;
use crate::url::{split_authority, split_port};
use media::StreamKey;
use media::key::MAX_NAME_LEN;

/// Puts app and stream together. Clients differ in where they cut `rtmp://h/live/a/b`, so `tcUrl` and stream name are joined
/// first and cut at the first segment then, as ZLM does (read in source).
pub(super) fn locate(app: &str, tc_url: &str, stream: &str) -> Request {
    let (authority, path) = match tc_url.split_once("://") {
        Some((_, rest)) => split_authority(rest),
        None => ("", ""),
    };
    let without_params = |text: &'_ str| text.find('?').unwrap_or(text.len());
    let mut base = path[..without_params(path)].trim_matches('/');
    if base.is_empty() {
        base = app[..without_params(app)].trim_matches('/');
    }
    let (stream, params) = stream.split_once('?').unwrap_or((stream, ""));
    let path = format!("{base}/{}", extension_last(stream).trim_start_matches('/'));
    let (app, stream) = StreamKey::split_path(&path);
    Request {
        app: app.to_owned(),
        stream: stream.to_owned(),
        params: params.to_owned(),
        vhost_host: split_port(authority).0.to_owned(),
        tc_url: tc_url.to_owned(),
    }
}

impl Request {
    /// Whether both names are short enough to be kept.
    pub(super) fn fits(&self) -> bool {
        self.app.len() <= MAX_NAME_LEN && self.stream.len() <= MAX_NAME_LEN
    }

    /// Whether the names can be published.
    pub(super) fn is_publishable(&self) -> bool {
        self.fits() && !self.app.is_empty() && !self.stream.is_empty()
    }
}

/// `mp4:a` is `a.mp4`: VLC and ffplay move the extension to the front, and some of them leave it at the end as well.
fn extension_last(stream: &str) -> String {
    match stream.split_once(':') {
        None => stream.to_owned(),
        Some((extension, name)) => {
            let has_it = name
                .strip_suffix(extension)
                .is_some_and(|rest| rest.ends_with('.'));
            if has_it {
                name.to_owned()
            } else {
                format!("{name}.{extension}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check((app, tc_url, stream): (&str, &str, &str), expected: (&str, &str, &str, &str)) {
        let got = locate(app, tc_url, stream);
        assert_eq!(
            (
                got.app.as_str(),
                got.stream.as_str(),
                got.params.as_str(),
                got.vhost_host.as_str()
            ),
            expected
        );
        assert_eq!(got.tc_url, tc_url);
    }

    #[test]
    fn parameters_of_the_stream_are_kept_and_those_of_tc_url_are_dropped() {
        check(("live", "rtmp://h/live", "cam"), ("live", "cam", "", "h"));
        check(
            ("live", "rtmp://h:1935/live", "cam?a=1&b=?2"),
            ("live", "cam", "a=1&b=?2", "h"),
        );
        check(("live?k=1", "rtmp://h/live?k=1", "cam"), ("live", "cam", "", "h"));
        check(
            ("live", "rtmp://h/live?x=/a/b", "cam?y"),
            ("live", "cam", "y", "h"),
        );
    }

    #[test]
    fn the_first_segment_is_the_app_wherever_the_client_cuts() {
        check(("live/a", "rtmp://h/live/a", "b"), ("live", "a/b", "", "h"));
        check(("live", "rtmp://h/live", "a/b"), ("live", "a/b", "", "h"));
        check(("live/", "rtmp://h/live/", "/a/b"), ("live", "a/b", "", "h"));
    }

    #[test]
    fn the_prefix_becomes_the_extension() {
        check(
            ("record", "rtmp://h/record", "mp4:a?x=1"),
            ("record", "a.mp4", "x=1", "h"),
        );
        check(
            ("record", "rtmp://h/record", "mp4:a.mp4"),
            ("record", "a.mp4", "", "h"),
        );
        check(
            ("record", "rtmp://h/record", "mp4:live/d/0.mp4"),
            ("record", "live/d/0.mp4", "", "h"),
        );
        check(("live", "rtmp://h/live", "flv:mp4"), ("live", "mp4.flv", "", "h"));
    }

    #[test]
    fn without_a_usable_tc_url_the_app_counts() {
        check(("live", "", "cam"), ("live", "cam", "", ""));
        check(("live?k", "nonsense", "cam"), ("live", "cam", "", ""));
        check(("live", "rtmp://h", "cam"), ("live", "cam", "", "h"));
        check(
            ("live", "rtmp://u:p@[::1]:1935/live", "cam"),
            ("live", "cam", "", "::1"),
        );
    }

    #[test]
    fn what_is_missing_stays_empty() {
        check(("live", "rtmp://h/live", ""), ("live", "", "", "h"));
        check(("", "", ""), ("", "", "", ""));
        assert!(!locate("live", "", "").is_publishable());
        assert!(!locate("live", "", &"x".repeat(MAX_NAME_LEN + 1)).fits());
    }
}
