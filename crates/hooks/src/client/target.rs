//! Where a hook URL points.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest accepted URL in bytes. The whole head of a request must stay well below what web servers accept (8 KiB).
pub const MAX_URL_LEN: usize = 4096;

/// Why a text is no hook URL. The text itself is not repeated: it may hold credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// No `://`.
    #[error("the hook URL has no scheme; it must begin with http:// or https://")]
    NoScheme,
    /// Another scheme.
    #[error("the scheme of the hook URL is not allowed; it must begin with http:// or https://")]
    Scheme,
    /// No host.
    #[error("the hook URL has no host")]
    NoHost,
    /// A host with a byte that no host name has.
    #[error("the host of the hook URL has a byte that no host name has, at {at}")]
    Host {
        /// Offset within the host.
        at: usize,
    },
    /// The port is not 1..=65535.
    #[error("the port of the hook URL is not 1..=65535")]
    Port,
    /// Longer than [`MAX_URL_LEN`].
    #[error("the hook URL has {got} bytes, allowed are {MAX_URL_LEN}")]
    TooLong {
        /// Bytes.
        got: usize,
    },
}

/// Which server: what connections can be shared between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// HTTPS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
}

/// A hook URL, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The server.
    pub origin: Origin,
    /// Header `Host`: host and port as written.
    pub host_header: String,
    /// Header `Authorization`, if the URL has `user:password@`.
    pub authorization: Option<String>,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Takes a URL apart. Path and query stay as configured; bytes that cannot stand in a request line are percent-encoded.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        if url.len() > MAX_URL_LEN {
            return Err(BadUrl::TooLong { got: url.len() });
        }
        let (scheme, rest) = url.split_once("://").ok_or(BadUrl::NoScheme)?;
        let tls = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err(BadUrl::Scheme);
        };
        let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_len);
        let (userinfo, host_port) = match authority.rsplit_once('@') {
            Some((userinfo, host_port)) => (Some(userinfo), host_port),
            None => (None, authority),
        };
        let (host, port) = split_port(host_port)?;
        let default_port = if tls { 443 } else { 80 };
        check_host(host)?;
        Ok(Self {
            origin: Origin {
                tls,
                host: host.to_ascii_lowercase().into(),
                port: port.unwrap_or(default_port),
            },
            host_header: host_port.to_owned(),
            authorization: userinfo
                .filter(|userinfo| !userinfo.is_empty())
                .map(|userinfo| format!("Basic {}", BASE64_STANDARD.encode(percent_decode(userinfo)))),
            path: encode_path(path),
        })
    }

    /// Scheme, host, port and path: enough to recognise a receiver, without credentials and without the query, which often holds
    /// a token.
    pub fn redacted(&self) -> String {
        let scheme = if self.origin.tls { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{scheme}://{}{path}", self.host_header)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; the host without brackets.
fn split_port(host_port: &str) -> Result<(&str, Option<u16>), BadUrl> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(BadUrl::Host { at: host_port.len() })?;
            (
                host,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or(BadUrl::Port)?)
                },
            )
        }
        None => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    match port {
        None | Some("") => Ok((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => Err(BadUrl::Port),
            Ok(port) => Ok((host, Some(port))),
        },
        Some(_) => Err(BadUrl::Port),
    }
}

/// Names and addresses only: what else stands here would change the meaning of the request's head.
fn check_host(host: &str) -> Result<(), BadUrl> {
    if host.is_empty() {
        return Err(BadUrl::NoHost);
    }
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    match host.bytes().position(|byte| !is_name(byte)) {
        Some(at) => Err(BadUrl::Host { at }),
        None => Ok(()),
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    decoded
}

/// Path and query without fragment, beginning with `/`, in visible ASCII.
fn encode_path(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for byte in path.bytes() {
        if matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~' | b'[' | b']') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(url: &str, tls: bool, host: &str, port: u16, host_header: &str, path: &str) {
        let target = Target::parse(url).expect(url);
        assert_eq!(
            target.origin,
            Origin {
                tls,
                host: host.into(),
                port
            },
            "{url}"
        );
        assert_eq!(
            (target.host_header.as_str(), target.path.as_str()),
            (host_header, path),
            "{url}"
        );
    }

    #[test]
    fn urls_are_taken_apart_as_configured() {
        check(
            "http://10.0.0.1:8081/index/hook/on_play",
            false,
            "10.0.0.1",
            8081,
            "10.0.0.1:8081",
            "/index/hook/on_play",
        );
        check(
            "HTTPS://Hook.Example",
            true,
            "hook.example",
            443,
            "Hook.Example",
            "/",
        );
        check("http://h?a=1&b=%20", false, "h", 80, "h", "/?a=1&b=%20");
        check("http://[::1]:90/x#frag", false, "::1", 90, "[::1]:90", "/x");
        check("http://u:p@h/x y/你", false, "h", 80, "h", "/x%20y/%E4%BD%A0");
    }

    #[test]
    fn userinfo_becomes_basic_authorization_and_is_never_shown() {
        let target = Target::parse("http://Aladdin:open%20sesame@h:1/p?token=t").unwrap();
        assert_eq!(
            target.authorization.as_deref(),
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        assert_eq!(format!("{target:?}"), "http://h:1/p");
    }

    #[test]
    fn what_is_no_hook_url_is_refused_with_the_reason() {
        for (url, error) in [
            ("10.0.0.1/x", BadUrl::NoScheme),
            ("ftp://h/x", BadUrl::Scheme),
            ("http:///x", BadUrl::NoHost),
            ("http://", BadUrl::NoHost),
            ("http://h:0/", BadUrl::Port),
            ("http://h:65536/", BadUrl::Port),
            ("http://h:+1/", BadUrl::Port),
            ("http://[::1]x/", BadUrl::Port),
            ("http://[::1", BadUrl::Host { at: 4 }),
            ("http://a\r\nX/", BadUrl::Host { at: 1 }),
        ] {
            assert_eq!(Target::parse(url), Err(error), "{url}");
        }
        assert!(matches!(
            Target::parse(&format!("http://h/{}", "x".repeat(5000))),
            Err(BadUrl::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn the_request_line_stays_one_line(url in ".{0,60}") {
            if let Ok(target) = Target::parse(&format!("http://{url}")) {
                prop_assert!(target.path.starts_with('/'));
                prop_assert!(target.path.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(target.host_header.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
