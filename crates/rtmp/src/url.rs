//! `rtmp://` and `rtmps://` URLs, read as ZLM reads them: the first path segment is the app, the rest is the stream.

use media::StreamKey;

/// Port of RTMP without TLS.
pub const DEFAULT_PORT: u16 = 1935;

/// Port of RTMP over TLS, as ffmpeg and librtmp have it.
pub const DEFAULT_TLS_PORT: u16 = 443;

/// A URL to pull from or to push to.
///
/// User and password before the host are taken off and not used: they belong to Adobe's challenge authentication, which is
/// not supported. Servers of today want keys in the query string, which stays with the stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpUrl {
    /// `rtmps`.
    pub tls: bool,
    /// Host name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// First segment of the path.
    pub app: String,
    /// The rest of the path, with `?` and parameters if there are any.
    pub stream_with_params: String,
}

/// Why a text is no RTMP URL. The text itself is not repeated: it may hold keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another scheme, or none.
    #[error("an RTMP URL begins with rtmp:// or rtmps://")]
    Scheme,
    /// No host.
    #[error("the RTMP URL has no host")]
    Host,
    /// A port that is no number of 1 to 65535.
    #[error("\"{0}\" is no port: must be 1..=65535")]
    Port(String),
    /// No app or no stream.
    #[error("an RTMP URL has an app and a stream: rtmp://host/app/stream")]
    Path,
}

/// Reads a URL.
pub fn parse(text: &str) -> Result<RtmpUrl, Error> {
    let (scheme, rest) = text.split_once("://").ok_or(Error::Scheme)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "rtmp" => false,
        "rtmps" => true,
        _ => return Err(Error::Scheme),
    };
    let (authority, path_and_params) = split_authority(rest);
    let (host, port) = split_port(authority);
    if host.is_empty() {
        return Err(Error::Host);
    }
    let port = match port {
        None if tls => DEFAULT_TLS_PORT,
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(Error::Port(port.to_owned())),
            Ok(port) => port,
        },
    };
    let (path, params) = path_and_params.split_at(path_and_params.find('?').unwrap_or(path_and_params.len()));
    let (app, stream) = StreamKey::split_path(path);
    if app.is_empty() || stream.is_empty() {
        return Err(Error::Path);
    }
    let stream_with_params = format!("{stream}{params}");
    Ok(RtmpUrl {
        tls,
        host: host.to_owned(),
        port,
        app: app.to_owned(),
        stream_with_params,
    })
}

impl RtmpUrl {
    /// The URL of the app, for `connect`: the port only where it is not the usual one, so that servers with virtual hosts
    /// see a bare host name.
    pub fn tc_url(&self) -> String {
        let (scheme, default) = if self.tls {
            ("rtmps", DEFAULT_TLS_PORT)
        } else {
            ("rtmp", DEFAULT_PORT)
        };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match self.port {
            port if port == default => format!("{scheme}://{host}/{}", self.app),
            port => format!("{scheme}://{host}:{port}/{}", self.app),
        }
    }
}

/// Splits what follows `://` into authority and the rest, which begins with `/` or `?`.
pub(crate) fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// Host and port of an authority, without user and password. An IPv6 address loses its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let address = authority
        .rsplit_once('@')
        .map_or(authority, |(_, address)| address);
    if let Some((host, port)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, port.strip_prefix(':'));
    }
    match address.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tls: bool, host: &str, port: u16, app: &str, stream: &str) -> RtmpUrl {
        RtmpUrl {
            tls,
            host: host.into(),
            port,
            app: app.into(),
            stream_with_params: stream.into(),
        }
    }

    #[test]
    fn the_first_segment_is_the_app_whatever_follows() {
        for (text, expected, tc_url) in [
            (
                "rtmp://h/live/cam",
                url(false, "h", 1935, "live", "cam"),
                "rtmp://h/live",
            ),
            (
                "rtmp://h:19/live/a/b?k=v/w?x",
                url(false, "h", 19, "live", "a/b?k=v/w?x"),
                "rtmp://h:19/live",
            ),
            (
                "rtmps://h/live/cam",
                url(true, "h", 443, "live", "cam"),
                "rtmps://h/live",
            ),
            (
                "RTMP://u:p@h/live/cam",
                url(false, "h", 1935, "live", "cam"),
                "rtmp://h/live",
            ),
            (
                "rtmp://[::1]:7/l/c",
                url(false, "::1", 7, "l", "c"),
                "rtmp://[::1]:7/l",
            ),
            (
                "rtmp://[::1]/l/c",
                url(false, "::1", 1935, "l", "c"),
                "rtmp://[::1]/l",
            ),
        ] {
            let parsed = parse(text).expect(text);
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.tc_url(), tc_url);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, expected) in [
            ("h/live/cam", Error::Scheme),
            ("rtsp://h/live/cam", Error::Scheme),
            ("rtmp:///live/cam", Error::Host),
            ("rtmp://h:0/live/cam", Error::Port("0".into())),
            ("rtmp://h:port/live/cam", Error::Port("port".into())),
            ("rtmp://h/live", Error::Path),
            ("rtmp://h", Error::Path),
            ("rtmp://h?x=/a/b", Error::Path),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
