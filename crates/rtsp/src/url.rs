//! What a URL says about stream, credentials and track.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::fmt;

/// Port of RTSP without TLS.
pub const DEFAULT_PORT: u16 = 554;

/// Port of RTSP over TLS: the registered one, which ZLM has too (config.md, `rtsp.sslport`).
pub const DEFAULT_TLS_PORT: u16 = 322;

/// A URL to play or to publish to.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl {
    /// `rtsps`.
    pub tls: bool,
    /// Host name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password, decoded, if there were any.
    pub credentials: Option<Credentials>,
    /// Path and query as they were, with `/` in front; only spaces and control characters are percent-encoded. Empty if
    /// the URL ends behind the host.
    pub path_and_query: String,
}

/// User and password of a URL, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub user: String,
    /// Password; may be empty.
    pub password: String,
}

/// Does not show the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Does not show the password.
impl fmt::Debug for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtspUrl({})", self.without_credentials())
    }
}

/// Why a text is no RTSP URL. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another scheme, or none.
    #[error("an RTSP URL begins with rtsp:// or rtsps://")]
    Scheme,
    /// No host.
    #[error("the RTSP URL has no host")]
    Host,
    /// A port that is no number of 1 to 65535.
    #[error("the port of the RTSP URL must be 1..=65535")]
    Port,
}

/// Reads a URL: `rtsp://[user[:password]@]host[:port][/path][?query]`.
///
/// Passwords of cameras hold `@`, `#` and `/`, and users do not encode them. So the last `@` before the path ends the
/// credentials; and if what stands before the first `/` is no host and port, the path begins behind a later `@`. A password
/// with both `@` and `/` cannot be told apart and must be encoded.
pub fn parse(text: &str) -> Result<RtspUrl, Error> {
    let (scheme, rest) = text.trim().split_once("://").ok_or(Error::Scheme)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "rtsp" => false,
        "rtsps" => true,
        _ => return Err(Error::Scheme),
    };
    let mut parts = Parts::of(rest);
    if parts.user_info.is_none()
        && parts.port().is_err()
        && let Some((user_info, rest)) = rest.rsplit_once('@')
    {
        let later = Parts::of(rest);
        if later.port().is_ok() {
            parts = Parts {
                user_info: Some(user_info),
                ..later
            };
        }
    }
    if parts.host.is_empty() {
        return Err(Error::Host);
    }
    let port = match parts.port()? {
        Some(port) => port,
        None if tls => DEFAULT_TLS_PORT,
        None => DEFAULT_PORT,
    };
    let credentials = parts.user_info.filter(|text| !text.is_empty()).map(|text| {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Credentials {
            user: decode(user),
            password: decode(password),
        }
    });
    let mut path_and_query = utf8_percent_encode(parts.path_and_query, BLANKS).to_string();
    if path_and_query.starts_with('?') {
        path_and_query.insert(0, '/');
    }
    Ok(RtspUrl {
        tls,
        host: parts.host.to_owned(),
        port,
        credentials,
        path_and_query,
    })
}

impl RtspUrl {
    /// The URL as it goes into requests: user and password belong into `Authorization` only.
    pub fn without_credentials(&self) -> String {
        self.write(None)
    }

    fn write(&self, credentials: Option<&Credentials>) -> String {
        let (scheme, default) = match self.tls {
            true => ("rtsps", DEFAULT_TLS_PORT),
            false => ("rtsp", DEFAULT_PORT),
        };
        let user_info = credentials.map_or_else(String::new, |Credentials { user, password }| {
            let user = utf8_percent_encode(user, USER_INFO);
            match password.as_str() {
                "" => format!("{user}@"),
                password => format!("{user}:{}@", utf8_percent_encode(password, USER_INFO)),
            }
        });
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let port = match self.port {
            port if port == default => String::new(),
            port => format!(":{port}"),
        };
        format!("{scheme}://{user_info}{host}{port}{}", self.path_and_query)
    }
}

/// With the credentials, encoded: what [`parse`] reads back. Not for logs.
impl fmt::Display for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.write(self.credentials.as_ref()))
    }
}

/// What follows `://`, cut into its parts.
struct Parts<'a> {
    user_info: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    path_and_query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (authority, path_and_query) = split_authority(rest);
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let (host, port) = if let Some((host, port)) = address
            .strip_prefix('[')
            .and_then(|address| address.split_once(']'))
        {
            (host, port.strip_prefix(':'))
        } else if let Some((host, port)) = address.split_once(':') {
            (host, Some(port))
        } else {
            (address, None)
        };
        Self {
            user_info,
            host,
            port,
            path_and_query,
        }
    }

    fn port(&self) -> Result<Option<u16>, Error> {
        match self.port.map(str::parse) {
            None => Ok(None),
            Some(Ok(0) | Err(_)) => Err(Error::Port),
            Some(Ok(port)) => Ok(Some(port)),
        }
    }
}

/// Which stream a request means (urls.md, section 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPath {
    /// Host as the client wrote it, without port; empty if the URL has none. Names the virtual host.
    pub host: String,
    /// First segment of the path; may be empty.
    pub app: String,
    /// All other segments, without a `/` at the end (a Content-Base has one and clients send it back); may be empty.
    pub stream: String,
    /// Text behind the first `?`; may be empty. Goes unparsed to the hooks.
    pub params: String,
}

/// Reads the URI of a request, for a server: a URL, a path, or `*`, which names no stream. Nothing is decoded, since names
/// are compared as they are.
pub fn request_path(uri: &str) -> RequestPath {
    let (host, path_and_query) = match uri.split_once("://") {
        Some((_, rest)) => {
            let parts = Parts::of(rest);
            (parts.host, parts.path_and_query)
        }
        None if uri == "*" => ("", ""),
        None => ("", uri),
    };
    let (path, params) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/');
    let (app, stream) = path.split_once('/').unwrap_or((path, ""));
    RequestPath {
        host: host.to_owned(),
        app: app.to_owned(),
        stream: stream.to_owned(),
        params: params.to_owned(),
    }
}

/// For a server: which track the URI of a SETUP means, as the control name behind `base` (the Content-Base of the description,
/// or the URI of an ANNOUNCE). Empty: the whole presentation. `None`: the URI is not of this presentation.
///
/// Scheme, host and port count for nothing: behind address translation the client knows us by others. If the base has a
/// query, ffmpeg puts the control behind it (`/live/a?key=1/trackID=0`), others before it (`/live/a/trackID=0?key=1`), and
/// some leave the query out.
pub fn track<'a>(base: &str, uri: &'a str) -> Option<&'a str> {
    let (base, uri) = (path_of(base), path_of(uri));
    let (base_path, base_query) = base.split_once('?').unwrap_or((base, ""));
    if !base_query.is_empty()
        && let Some(control) = behind(base.trim_end_matches('/'), uri)
    {
        return Some(control);
    }
    let rest = uri.strip_prefix(base_path.trim_end_matches('/'))?;
    match rest.split_once('?') {
        // The query may be another one than that of the base, with slashes of its own: the control is behind the last.
        Some(("" | "/", query)) => Some(query.rsplit_once('/').map_or("", |(_, control)| control)),
        Some((control, _)) => behind("", control),
        None => behind("", rest),
    }
}

/// For a client: the URL of a track or presentation, from the `a=control` attribute of a description and the base it is
/// relative to (RFC 2326, section C.1.1).
///
/// Not as RFC 3986 joins: real servers want the control behind the whole base, the query included, with one `/` between.
/// ffmpeg, live555 and retina do so, and cameras with `rtsp://cam/live?x=y` as base count on it.
pub fn join(base: &str, control: &str) -> String {
    let control = control.trim();
    if control.is_empty() || control == "*" {
        return base.to_owned();
    }
    let scheme = control.split("://").next().unwrap_or_default();
    if scheme.len() < control.len()
        && ["rtsp", "rtsps"]
            .iter()
            .any(|own| scheme.eq_ignore_ascii_case(own))
    {
        return control.to_owned();
    }
    let slash = match base.ends_with('/') || control.starts_with('/') {
        true => "",
        false => "/",
    };
    let control = match base.ends_with('/') {
        true => control.trim_start_matches('/'),
        false => control,
    };
    format!("{base}{slash}{control}")
}

/// Splits what follows `://` into authority and the rest, which begins with `/` or `?`.
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// Path and query of a URL or path.
fn path_of(uri: &str) -> &str {
    match uri.split_once("://") {
        Some((_, rest)) => split_authority(rest).1,
        None => uri,
    }
}

/// What stands behind `base` and a `/` in `uri`.
fn behind<'a>(base: &str, uri: &'a str) -> Option<&'a str> {
    match uri.strip_prefix(base)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

/// What would break a request line.
const BLANKS: &AsciiSet = &CONTROLS.add(b' ');

/// What would end user or password too early (RFC 3986, section 3.2.1).
const USER_INFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'@')
    .add(b':')
    .add(b'/')
    .add(b'?')
    .add(b'#')
    .add(b'[')
    .add(b']');

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn login(text: &str) -> (String, String, String, String) {
        let url = parse(text).expect(text);
        let credentials = url.credentials.expect(text);
        (
            credentials.user,
            credentials.password,
            url.host,
            url.path_and_query,
        )
    }

    #[test]
    fn urls_of_all_kinds() {
        let url = parse("rtsp://cam/live/1?a=b/c").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.tls), ("cam", 554, false));
        assert_eq!(url.path_and_query, "/live/1?a=b/c");
        let url = parse("RTSPS://[2001:db8::1]:8322/a b").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.tls),
            ("2001:db8::1", 8322, true)
        );
        assert_eq!(url.to_string(), "rtsps://[2001:db8::1]:8322/a%20b");
        assert_eq!(parse("rtsps://h").unwrap().port, 322);
        assert_eq!(parse("rtsp://h?x").unwrap().path_and_query, "/?x");
        assert_eq!(parse("http://h/a"), Err(Error::Scheme));
        assert_eq!(parse("rtsp:///a"), Err(Error::Host));
        assert_eq!(parse("rtsp://h:0/a"), Err(Error::Port));
        assert_eq!(parse("rtsp://h:http/a"), Err(Error::Port));
    }

    #[test]
    fn passwords_of_cameras() {
        let expected = |password: &str| {
            (
                "admin".to_owned(),
                password.to_owned(),
                "10.0.0.9".to_owned(),
                "/h264/ch1/main".to_owned(),
            )
        };
        for (text, password) in [
            ("rtsp://admin:12345@10.0.0.9/h264/ch1/main", "12345"),
            ("rtsp://admin:p%40ss%2Fw@10.0.0.9/h264/ch1/main", "p@ss/w"),
            ("rtsp://admin:p@ss#1:x@10.0.0.9/h264/ch1/main", "p@ss#1:x"),
            ("rtsp://admin:pa/ss?w@10.0.0.9:554/h264/ch1/main", "pa/ss?w"),
            ("rtsp://admin@10.0.0.9/h264/ch1/main", ""),
        ] {
            assert_eq!(login(text), expected(password), "{text}");
        }
        // An `@` of the path is none of the credentials.
        let url = parse("rtsp://10.0.0.9:8554/live/a@b").unwrap();
        assert_eq!(
            (url.credentials.is_none(), url.path_and_query.as_str()),
            (true, "/live/a@b")
        );
    }

    #[test]
    fn requests_and_logs_show_no_password() {
        let url = parse("rtsp://admin:secret@cam:8554/a").unwrap();
        assert_eq!(url.without_credentials(), "rtsp://cam:8554/a");
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(url.to_string(), "rtsp://admin:secret@cam:8554/a");
    }

    #[test]
    fn the_stream_of_a_request() {
        let check = |uri: &str, host: &str, app: &str, stream: &str, params: &str| {
            let expected = RequestPath {
                host: host.to_owned(),
                app: app.to_owned(),
                stream: stream.to_owned(),
                params: params.to_owned(),
            };
            assert_eq!(request_path(uri), expected, "{uri}");
        };
        check(
            "rtsp://h:8554/live/a/b?x=1&y=/2?3",
            "h",
            "live",
            "a/b",
            "x=1&y=/2?3",
        );
        check("rtsp://h/live/a/", "h", "live", "a", "");
        check("rtsp://u:p@[::1]:554/live/a", "::1", "live", "a", "");
        check("/live/a?x", "", "live", "a", "x");
        check("rtsp://h/live", "h", "live", "", "");
        check("rtsp://h", "h", "", "", "");
        check("*", "", "", "", "");
    }

    #[test]
    fn the_track_of_a_setup() {
        let base = "rtsp://10.0.0.1:554/live/a/";
        for (uri, control) in [
            ("rtsp://10.0.0.1:554/live/a/trackID=0", Some("trackID=0")),
            ("rtsp://outside/live/a/trackID=1", Some("trackID=1")),
            ("rtsp://h/live/a?key=x/trackID=1", Some("trackID=1")),
            ("rtsp://h/live/a/trackID=1?key=x/y", Some("trackID=1")),
            ("rtsp://h/live/a/?key=x", Some("")),
            ("rtsp://h/live/a", Some("")),
            ("rtsp://h/live/a/", Some("")),
            ("/live/a/v/1", Some("v/1")),
            ("rtsp://h/live/ab/trackID=0", None),
            ("rtsp://h/other/a", None),
            ("*", None),
        ] {
            assert_eq!(track(base, uri), control, "{uri}");
        }
        let base = "rtsp://h/live/a?key=x/y";
        assert_eq!(
            track(base, "rtsp://h/live/a?key=x/y/streamid=0"),
            Some("streamid=0")
        );
        assert_eq!(track(base, "rtsp://h/live/a?key=x/y"), Some(""));
        assert_eq!(track(base, "rtsp://h/live/a/streamid=0"), Some("streamid=0"));
    }

    #[test]
    fn controls_are_joined_as_cameras_want() {
        for (base, control, url) in [
            ("rtsp://cam/live/", "trackID=1", "rtsp://cam/live/trackID=1"),
            ("rtsp://cam/live", "trackID=1", "rtsp://cam/live/trackID=1"),
            (
                "rtsp://cam/live?x=y",
                "trackID=0",
                "rtsp://cam/live?x=y/trackID=0",
            ),
            ("rtsp://cam/live", "*", "rtsp://cam/live"),
            ("rtsp://cam/live", "", "rtsp://cam/live"),
            ("rtsp://cam/live/", "/video", "rtsp://cam/live/video"),
            ("rtsp://cam/live", "/video", "rtsp://cam/live/video"),
            ("rtsp://cam/live", "RTSP://10.0.0.9/v", "RTSP://10.0.0.9/v"),
            ("rtsp://cam/live", "rtsp", "rtsp://cam/live/rtsp"),
            ("rtsp://cam/live", "a?u=rtsp://b", "rtsp://cam/live/a?u=rtsp://b"),
        ] {
            assert_eq!(join(base, control), url, "{base} and {control}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            tls in any::<bool>(),
            host in prop_oneof!["[a-z0-9.-]{1,20}", Just("2001:db8::1".to_owned())],
            port in 1_u16..,
            login in proptest::option::of(("[^:]{1,10}", ".{0,10}")),
            path in "(/[!-~&&[^ ]]{0,20})?",
        ) {
            let url = RtspUrl {
                tls,
                host,
                port,
                credentials: login.map(|(user, password)| Credentials { user, password }),
                path_and_query: path,
            };
            prop_assert_eq!(parse(&url.to_string()).unwrap(), url);
        }

        #[test]
        fn a_joined_control_is_found_again(
            path in "(/[a-z]{1,5}){1,3}/?",
            control in "[a-zA-Z]{1,8}(=[0-9])?",
        ) {
            let base = format!("rtsp://h:554{path}");
            let uri = join(&base, &control);
            prop_assert_eq!(track(&base, &uri), Some(control.as_str()));
        }

        #[test]
        fn hostile_text_does_no_harm(text in ".{0,100}", other in "(rtsp://)?[a@:/?#\\[\\]*]{0,20}") {
            let _ = parse(&text);
            let _ = parse(&format!("rtsp://{text}"));
            let _ = parse(&other);
            let _ = request_path(&other);
            let _ = track(&other, &text);
            let _ = track(&text, &other);
            let _ = join(&text, &other);
        }
    }
}
