//! The head of a request.

use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{Method, StatusCode, Uri, Version};
use bytes::{Bytes, BytesMut};

/// Most headers of a request; browsers send about 20.
const MAX_HEADERS: usize = 100;

/// Request line and headers of one request.
#[derive(Debug)]
pub struct Head {
    /// Method.
    pub method: Method,
    /// Target, in origin form.
    pub uri: Uri,
    /// Version.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// Whether the client allows another request on this connection.
    pub keep_alive: bool,
    /// The head as it came.
    pub sent: SentHead,
}

/// A head as it came: names of headers in the client's spelling, which hook services see. An extension of each request.
#[derive(Clone, Debug)]
pub struct SentHead(Bytes);

impl SentHead {
    /// Names and values of the headers; values that are no text are left out.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        // It was parsed once already.
        if request.parse(&self.0).is_err() {
            return Vec::new();
        }
        let headers = request.headers.iter();
        headers
            .filter_map(|header| Some((header.name, std::str::from_utf8(header.value).ok()?)))
            .collect()
    }
}

/// Why a head is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Too many bytes.
    #[error("the head of the request is longer than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Too many headers.
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// Not HTTP/1.x.
    #[error("this is not an HTTP/1.1 request: {0}")]
    Syntax(httparse::Error),
    /// A method that is not a token.
    #[error("the method is not valid")]
    Method,
    /// A target that is not a path.
    #[error("the request target is not a valid path")]
    Target,
    /// Lengths that contradict each other or are no numbers (RFC 9112, section 6.3).
    #[error("the length of the body is not clear")]
    Length,
}

impl HeadError {
    /// The status to answer with.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Syntax(_) | Self::Method | Self::Target | Self::Length => StatusCode::BAD_REQUEST,
        }
    }
}

impl Head {
    /// Takes a head from the front of `buffer`; `None` while it is not whole.
    pub fn parse(buffer: &mut BytesMut) -> Result<Option<Self>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            Err(error) => return Err(HeadError::Syntax(error)),
        };
        let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes())
            .map_err(|_| HeadError::Method)?;
        let uri = target(request.path.unwrap_or_default())?;
        let version = if request.version == Some(0) {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        let mut map = HeaderMap::with_capacity(request.headers.len());
        for header in request.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| HeadError::Syntax(httparse::Error::HeaderName))?;
            let value = HeaderValue::from_bytes(header.value)
                .map_err(|_| HeadError::Syntax(httparse::Error::HeaderValue))?;
            map.append(name, value);
        }
        let close = has_token(&map, CONNECTION, "close");
        let keep = has_token(&map, CONNECTION, "keep-alive");
        let keep_alive = !close && (version == Version::HTTP_11 || keep);
        let head = Self {
            method,
            uri,
            version,
            headers: map,
            keep_alive,
            sent: SentHead(buffer.split_to(length).freeze()),
        };
        head.check_length()?;
        Ok(Some(head))
    }

    /// Whether the client wants to speak WebSocket (RFC 6455, section 4.1).
    pub fn is_websocket(&self) -> bool {
        self.method == Method::GET
            && has_token(&self.headers, UPGRADE, "websocket")
            && has_token(&self.headers, CONNECTION, "upgrade")
    }

    /// Whether the body comes in chunks.
    pub fn is_chunked(&self) -> bool {
        self.headers.contains_key(TRANSFER_ENCODING)
    }

    /// The declared length of the body.
    pub fn body_length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Whether the client waits for leave to send the body.
    pub fn expects_continue(&self) -> bool {
        has_token(&self.headers, EXPECT, "100-continue")
    }

    /// A header as text; empty if absent or not text.
    pub fn text(&self, name: impl axum::http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The host the client asked, without its port.
    pub fn host(&self) -> &str {
        host_of(self.text(HOST))
    }

    /// Two lengths, a length that is no number, or a length beside chunks are how requests are smuggled past proxies.
    fn check_length(&self) -> Result<(), HeadError> {
        let lengths = self.headers.get_all(CONTENT_LENGTH).iter().count();
        let chunked = self.headers.get_all(TRANSFER_ENCODING).iter().count();
        let clear = match (lengths, chunked) {
            (0, 0) => true,
            (1, 0) => self.body_length().is_some(),
            (0, 1) => self.text(TRANSFER_ENCODING).eq_ignore_ascii_case("chunked"),
            _ => false,
        };
        if clear { Ok(()) } else { Err(HeadError::Length) }
    }
}

/// `host:port` without the port; IPv6 literals without their brackets.
pub fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

/// The request target in origin form. Absolute targets, which proxies send, are reduced to it. What real clients put into
/// paths without encoding it (blanks cannot come here, but quotes, braces and non-ASCII letters do) is encoded.
fn target(text: &str) -> Result<Uri, HeadError> {
    let text = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => text,
    };
    if let Ok(uri) = text.parse::<Uri>()
        && uri.path().starts_with('/')
    {
        return Ok(uri);
    }
    if !text.starts_with('/') {
        return Err(HeadError::Target);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                encoded.push_str(&format!("%{byte:02X}"))
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded.parse().map_err(|_| HeadError::Target)
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(token))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, HeadError> {
        Head::parse(&mut BytesMut::from(text))
    }

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_the_rest_stays() {
        let whole = "GET /live/cam.live.flv?token=a HTTP/1.1\r\nHost: media.example:8080\r\n\r\nrest";
        for cut in 0..whole.len() - 4 {
            assert!(matches!(parse(&whole[..cut]), Ok(None)), "{cut}");
        }
        let mut buffer = BytesMut::from(whole);
        let head = Head::parse(&mut buffer).expect("valid").expect("whole");
        assert_eq!(
            (head.uri.path(), head.uri.query()),
            ("/live/cam.live.flv", Some("token=a"))
        );
        assert_eq!(head.host(), "media.example");
        assert!(head.keep_alive);
        assert_eq!(&buffer[..], b"rest");
    }

    #[test]
    fn headers_keep_the_spelling_of_the_client() {
        let text = "GET / HTTP/1.1\r\nX-Test: 1\r\nsec-ch-ua: \"a\"\r\nX-Bin: \u{fc}\r\n\r\nGET /";
        let head = parse(text).expect("valid").expect("whole");
        assert_eq!(
            head.sent.headers(),
            [("X-Test", "1"), ("sec-ch-ua", "\"a\""), ("X-Bin", "\u{fc}")]
        );
    }

    #[test]
    fn connections_close_as_the_client_says() {
        let head = |text| parse(text).expect("valid").expect("whole");
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keep_alive);
    }

    #[test]
    fn unclear_lengths_are_refused() {
        for lengths in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Content-Length: -1",
            "Content-Length: x",
            "Transfer-Encoding: gzip, chunked",
        ] {
            assert_eq!(
                parse(&format!("POST / HTTP/1.1\r\n{lengths}\r\n\r\n")).err(),
                Some(HeadError::Length),
                "{lengths}"
            );
        }
    }

    #[test]
    fn targets_of_careless_clients_are_understood_and_others_refused() {
        let path = |text: &str| {
            parse(&format!("GET {text} HTTP/1.1\r\n\r\n")).map(|head| head.map(|head| head.uri.to_string()))
        };
        assert_eq!(path("http://host:80/a?b=c"), Ok(Some("/a?b=c".into())));
        assert_eq!(path("/a/{b}?c=\"d\""), Ok(Some("/a/%7Bb%7D?c=%22d%22".into())));
        assert_eq!(path("*"), Err(HeadError::Target));
        assert_eq!(path("a"), Err(HeadError::Target));
    }

    #[test]
    fn too_many_headers_are_refused() {
        let headers = "a: b\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(
            parse(&format!("GET / HTTP/1.1\r\n{headers}\r\n")).err(),
            Some(HeadError::TooManyHeaders)
        );
    }
}
