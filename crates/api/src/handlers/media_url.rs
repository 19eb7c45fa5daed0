//! The parts of a media URL that the API looks at.

use std::net::IpAddr;

/// `scheme://[user[:password]@]host[:port][/path][?query]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaUrl<'a> {
    pub scheme: &'a str,
    /// A name or an address, IPv6 without brackets.
    pub host: &'a str,
    pub port: Option<u16>,
    /// Without the leading `/`.
    pub path: &'a str,
    /// Without `?`.
    pub query: &'a str,
}

impl<'a> MediaUrl<'a> {
    /// `None` if the text is no such URL.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(scheme_char) {
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold '@' (cameras), so the last one counts.
        let address = authority
            .rsplit_once('@')
            .map_or(authority, |(_, address)| address);
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => address
                .split_once(':')
                .map_or((address, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().ok()?),
        };
        (!host.is_empty()).then_some(Self {
            scheme,
            host,
            port,
            path,
            query,
        })
    }

    /// Whether the scheme is one of these, in any case.
    pub fn is(&self, schemes: &[&str]) -> bool {
        schemes
            .iter()
            .any(|scheme| self.scheme.eq_ignore_ascii_case(scheme))
    }

    /// The port, or the usual one of the scheme; 0 if there is none.
    pub fn port_or_usual(&self) -> u16 {
        const USUAL: [(&str, u16); 7] = [
            ("rtmp", 1935),
            ("rtmps", 443),
            ("rtsp", 554),
            ("rtsps", 322),
            ("srt", 9000),
            ("http", 80),
            ("https", 443),
        ];
        let usual = USUAL
            .iter()
            .find(|(scheme, _)| self.is(&[scheme]))
            .map_or(0, |(_, port)| *port);
        self.port.unwrap_or(usual)
    }

    /// The virtual host that a client of this URL asks for, when virtual hosts are on: the parameter `vhost`, else the host
    /// name; `None` is the default one, for addresses and `localhost` (urls.md, section 1).
    pub fn vhost(&self) -> Option<&'a str> {
        let parameter = self.query.split('&').find_map(|pair| pair.strip_prefix("vhost="));
        let name = parameter.filter(|vhost| !vhost.is_empty()).unwrap_or(self.host);
        (!name.eq_ignore_ascii_case("localhost") && name.parse::<IpAddr>().is_err()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parsed =
            MediaUrl::parse("rtmp://user:p@ss@cam.example:1936/live/a/b?vhost=v&x=1").expect("a URL");
        let expected = MediaUrl {
            scheme: "rtmp",
            host: "cam.example",
            port: Some(1936),
            path: "live/a/b",
            query: "vhost=v&x=1",
        };
        assert_eq!(parsed, expected);
        assert_eq!(parsed.vhost(), Some("v"));
        let parsed = MediaUrl::parse("HTTPS://[::1]").expect("a URL");
        assert_eq!(
            (parsed.host, parsed.port, parsed.port_or_usual(), parsed.path),
            ("::1", None, 443, "")
        );
        assert_eq!(parsed.vhost(), None);
        assert_eq!(
            MediaUrl::parse("srt://h?streamid=#!::r=a/b").map(|url| url.path),
            Some("")
        );
    }

    #[test]
    fn what_is_no_url_is_none() {
        for text in [
            "",
            "rtmp",
            "://h",
            "rtmp://",
            "rtmp:///a",
            "rtmp://h:x/a",
            "rtmp://h:70000/a",
            "rtmp://[::1/a",
            "é://h",
        ] {
            assert_eq!(MediaUrl::parse(text), None, "{text}");
        }
    }
}
