//! RTSP URLs: where to connect and as whom, which stream, which track.

use percent_encoding::percent_decode_str;
use std::fmt;

/// A URL to connect to. Not for logs before [`Url::without_credentials`].
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// RTSPS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password, decoded.
    pub credentials: Option<(String, String)>,
    /// Path and query as written, with the slash before them; may be empty.
    pub path: String,
    /// A port was written.
    has_port: bool,
}

/// What is wrong with a URL. No text shows credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither RTSP nor RTSPS.
    #[error("the URL must begin with rtsp:// or rtsps://")]
    Scheme,
    /// No host.
    #[error("the URL has no host")]
    Host,
    /// The port is none.
    #[error("the port of the URL must be a number from 1 to 65535")]
    Port,
    /// Characters that would end a line of a request.
    #[error("the URL holds control characters")]
    Control,
    /// Beyond all sense.
    #[error("the URL is longer than 4096 bytes")]
    Long,
}

const MAX_LEN: usize = 4096;

impl Url {
    /// Reads a URL. Passwords may hold `@`, `:`, `/` and `#` as they are, as people write them for cameras: the last `@` before the
    /// first slash that follows a host counts.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(Error::Control);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Error::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtsp" => false,
            "rtsps" => true,
            _ => return Err(Error::Scheme),
        };
        let (credentials, rest) = split_credentials(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err(Error::Host);
        }
        let credentials = credentials.map(|text| {
            let (user, password) = text.split_once(':').unwrap_or((text, ""));
            let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            (decode(user), decode(password))
        });
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 322 } else { 554 }),
            has_port: port.is_some(),
            credentials,
            path: path.to_owned(),
        })
    }

    /// As requests and logs may show it.
    pub fn without_credentials(&self) -> String {
        let scheme = if self.tls { "rtsps" } else { "rtsp" };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let port = if self.has_port {
            format!(":{}", self.port)
        } else {
            String::new()
        };
        format!("{scheme}://{host}{port}{}", self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_credentials())
    }
}

fn split_credentials(rest: &str) -> (Option<&str>, &str) {
    // Of several `@`, the last one with a host and nothing else between it and the next slash.
    let is_host = |text: &str| {
        let end = text.find(['/', '?']).unwrap_or(text.len());
        let host = &text[..end];
        !host.is_empty() && !host.contains(['@', '#', ' ']) && split_port(host).is_ok()
    };
    let query = rest.find('?').unwrap_or(rest.len());
    let mut at = rest[..query].rfind('@');
    while let Some(position) = at {
        if is_host(&rest[position + 1..]) {
            return (Some(&rest[..position]), &rest[position + 1..]);
        }
        at = rest[..position].rfind('@');
    }
    (None, rest)
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Error> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(Error::Port)
    };
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(Error::Host)?;
        return match rest.strip_prefix(':') {
            Some(text) => Ok((host, Some(port(text)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(Error::Port),
        };
    }
    match authority.split_once(':') {
        None => Ok((authority, None)),
        Some((host, "")) => Ok((host, None)),
        Some((host, text)) => Ok((host, Some(port(text)?))),
    }
}

/// Which stream a request asks for (urls.md, section 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPath {
    /// Host as written, without port.
    pub host: String,
    /// First segment, decoded.
    pub app: String,
    /// The other segments, decoded, joined with `/`.
    pub stream: String,
    /// Query without `?`, as written.
    pub params: String,
}

/// Reads the URL of a request: absolute, or a path as clients of tunnels send it.
pub fn request_path(uri: &str) -> RequestPath {
    let (front, params) = uri.split_once('?').unwrap_or((uri, ""));
    let (host, path) = match front.split_once("://") {
        Some((_, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let authority = rest[..end].rsplit('@').next().unwrap_or_default();
            let host = split_port(authority).map_or(authority, |(host, _)| host);
            (host, &rest[end..])
        }
        None => ("", front),
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let path = path.trim_matches('/');
    let (app, stream) = path.split_once('/').unwrap_or((path, ""));
    RequestPath {
        host: host.to_owned(),
        app: decode(app),
        stream: decode(stream),
        params: params.to_owned(),
    }
}

/// The URL of a track: `control` below `base` (RFC 2326, appendix C.1.1). An absolute control is the URL, `*` and nothing are the
/// base itself, an absolute path replaces the path, and everything else is appended after a slash, also when the base has a query:
/// cameras like Dahua's describe tracks so.
pub fn join(base: &str, control: &str) -> String {
    let control = control.trim();
    if control.is_empty() || control == "*" {
        return base.to_owned();
    }
    if control.contains("://") {
        return control.to_owned();
    }
    if let Some(path) = control.strip_prefix('/') {
        let host = base.find("://").map_or(0, |at| at + 3);
        let end = base[host..].find(['/', '?']).map_or(base.len(), |at| host + at);
        return format!("{}/{path}", &base[..end]);
    }
    if base.ends_with('/') {
        format!("{base}{control}")
    } else {
        format!("{base}/{control}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, credentials: Option<(&str, &str)>, shown: &str, port: u16) {
        let url = Url::parse(text).unwrap();
        let expected = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(url.credentials, expected, "{text}");
        assert_eq!(
            (url.without_credentials().as_str(), url.port),
            (shown, port),
            "{text}"
        );
    }

    #[test]
    fn urls_as_people_write_them_for_cameras() {
        check("rtsp://10.0.0.7/h264", None, "rtsp://10.0.0.7/h264", 554);
        check("RTSPS://cam", None, "rtsps://cam", 322);
        check(
            "rtsp://a:b@cam:8554/x?y=z@1",
            Some(("a", "b")),
            "rtsp://cam:8554/x?y=z@1",
            8554,
        );
        check(
            "rtsp://admin:p@ss:w/rd@cam/x",
            Some(("admin", "p@ss:w/rd")),
            "rtsp://cam/x",
            554,
        );
        check(
            "rtsp://admin:a%40b%2f@cam/x",
            Some(("admin", "a@b/")),
            "rtsp://cam/x",
            554,
        );
        check(
            "rtsp://admin:#1@[fe80::1]:554/x",
            Some(("admin", "#1")),
            "rtsp://[fe80::1]:554/x",
            554,
        );
        check(
            "rtsp://user@cam?channel=1",
            Some(("user", "")),
            "rtsp://cam?channel=1",
            554,
        );
    }

    #[test]
    fn what_is_no_url_is_told() {
        for (text, error) in [
            ("http://cam/x", Error::Scheme),
            ("rtsp:///x", Error::Host),
            ("rtsp://cam:0/x", Error::Port),
            ("rtsp://cam:x/x", Error::Port),
            ("rtsp://cam/a\r\nb", Error::Control),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            Url::parse(&format!("rtsp://{}", "x".repeat(5000))),
            Err(Error::Long)
        );
    }

    #[test]
    fn streams_are_named_by_the_path() {
        let path = request_path("rtsp://h:554/live/a/b/?token=x");
        assert_eq!(
            (path.host.as_str(), path.app.as_str(), path.stream.as_str()),
            ("h", "live", "a/b")
        );
        assert_eq!(path.params, "token=x");
        assert_eq!(request_path("/live/cam").stream, "cam");
        assert_eq!(request_path("rtsp://[::1]:8554/live/%E6%91%84").stream, "摄");
        assert_eq!(request_path("*").app, "*");
    }

    #[test]
    fn tracks_are_found_below_the_base() {
        for (base, control, url) in [
            ("rtsp://h/live/cam/", "trackID=0", "rtsp://h/live/cam/trackID=0"),
            ("rtsp://h/live/cam", "trackID=0", "rtsp://h/live/cam/trackID=0"),
            (
                "rtsp://h/live?channel=1",
                "trackID=0",
                "rtsp://h/live?channel=1/trackID=0",
            ),
            ("rtsp://h/live", "rtsp://other/t", "rtsp://other/t"),
            ("rtsp://h/live", "*", "rtsp://h/live"),
            ("rtsp://h/live/cam", "/track1", "rtsp://h/track1"),
        ] {
            assert_eq!(join(base, control), url);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text: String) {
            let _ = Url::parse(&text);
            let _ = request_path(&text);
            let _ = join(&text, &text);
        }

        #[test]
        fn credentials_never_show(user in "[a-z@:/#]{1,8}", password in "[a-zA-Z0-9@:/#!]{8,16}") {
            if let Ok(url) = Url::parse(&format!("rtsp://{user}:{password}@camera.lan/x"))
                && url.host == "camera.lan"
            {
                prop_assert_eq!(url.without_credentials(), "rtsp://camera.lan/x");
            }
        }
    }
}
