//! Requests, responses and interleaved data (RFC 2326, sections 4, 6, 7 and 10.12).
//!
//! Reading is tolerant where real senders are sloppy, and bounded everywhere; writing is strict.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The header fields of a message, in order. Names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As sent; methods are case sensitive.
    pub method: String,
    /// As sent: an absolute URL, `*`, or (HTTP tunnels, sloppy clients) a path.
    pub uri: String,
    /// `RTSP/1.0`, or `HTTP/1.0`, `HTTP/1.1` for the two requests of a tunnel.
    pub version: String,
    /// Header fields.
    pub headers: Headers,
    /// Body; empty if there is none.
    pub body: Bytes,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100..=999.
    pub status: u16,
    /// Reason phrase; may be empty.
    pub reason: String,
    /// Header fields.
    pub headers: Headers,
    /// Body; empty if there is none.
    pub body: Bytes,
}

/// Whatever comes over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
    /// Interleaved data: `$`, channel, length, data (section 10.12). The data is a slice of what was read.
    Data {
        /// Channel.
        channel: u8,
        /// An RTP or RTCP packet.
        data: Bytes,
    },
}

/// Why bytes are not RTSP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The head of a message has no end.
    #[error("a message head of more than {max} bytes")]
    Head {
        /// The bound.
        max: usize,
    },
    /// Too many header fields.
    #[error("more than {max} header fields")]
    Headers {
        /// The bound.
        max: usize,
    },
    /// A body that is too long.
    #[error("a body of {got} bytes: at most {max} are taken")]
    Body {
        /// `Content-Length`.
        got: u64,
        /// The bound.
        max: usize,
    },
    /// `Content-Length` is no number.
    #[error("Content-Length {0:?} is no number")]
    Length(String),
    /// Interleaved data that is too long.
    #[error("interleaved data of {got} bytes on channel {channel}: at most {max} are taken")]
    Data {
        /// Channel.
        channel: u8,
        /// Declared length.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// The first line is neither a request nor a status.
    #[error("{0:?} is neither a request line nor a status line")]
    FirstLine(String),
    /// Bytes between two messages that begin none.
    #[error("{0} bytes that begin no message")]
    Stray(u64),
}

/// Bounds of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message before its body.
    pub max_head: usize,
    /// Bytes of a body. Descriptions of many tracks are a few KiB.
    pub max_body: usize,
    /// Header fields of a message.
    pub max_headers: usize,
    /// Bytes of interleaved data; its length field has 16 bits.
    pub max_data: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head: 16 << 10,
            max_body: 64 << 10,
            max_headers: 100,
            max_data: 65_535,
        }
    }
}

impl Headers {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The values of all fields of this name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Appends a field. Line ends in it become blanks, so that no field can smuggle in another.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push((clean(name), clean(value)));
    }

    /// Replaces all fields of this name by one.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self.push(name, value);
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn clean(text: &str) -> String {
    text.replace(['\r', '\n', '\0'], " ")
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, uri: &str) -> Self {
        Self {
            method: method.to_owned(),
            uri: uri.to_owned(),
            version: VERSION.to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same with one field more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with a body.
    pub fn with_body(mut self, content_type: &str, body: Bytes) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body;
        self
    }

    /// Appends the message.
    pub fn write(&self, out: &mut BytesMut) {
        let line = format!(
            "{} {} {}",
            clean(&self.method),
            clean(&self.uri),
            clean(&self.version)
        );
        write(&line, &self.headers, &self.body, out);
    }
}

impl Response {
    /// A response without headers and body.
    pub fn new(status: u16, reason: &str) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same with one field more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with a body.
    pub fn with_body(mut self, content_type: &str, body: Bytes) -> Self {
        self.headers.set("Content-Type", content_type);
        self.body = body;
        self
    }

    /// Appends the message.
    pub fn write(&self, out: &mut BytesMut) {
        let line = format!("{VERSION} {} {}", self.status, clean(&self.reason));
        write(&line, &self.headers, &self.body, out);
    }
}

fn write(first: &str, headers: &Headers, body: &[u8], out: &mut BytesMut) {
    out.put_slice(first.as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length"))
    {
        for part in [name, ": ", value, "\r\n"] {
            out.put_slice(part.as_bytes());
        }
    }
    if !body.is_empty() {
        out.put_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
}

const VERSION: &str = "RTSP/1.0";

/// Appends a packet as interleaved data (section 10.12). Longer than 65,535 bytes it is left out: the length has 16 bits.
pub fn interleave(channel: u8, packet: &[u8], out: &mut BytesMut) {
    if let Ok(len) = u16::try_from(packet.len()) {
        out.put_slice(&[b'$', channel]);
        out.put_u16(len);
        out.put_slice(packet);
    }
}

/// Bytes before interleaved data.
const DATA_HEAD: usize = 4;

/// Most bytes in a row that begin no message before the connection is given up. Cameras whose buffers run over lose the head of
/// a frame and send its rest.
const MAX_STRAY: u64 = 64 << 10;

/// Takes messages off the front of a buffer.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// Where the search for the end of the head goes on, so that a slow sender does not make it start anew each time.
    scanned: usize,
    skipped: u64,
    /// Stray bytes since the last message.
    stray: u64,
}

impl Parser {
    /// A parser for one direction of a connection.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            scanned: 0,
            skipped: 0,
            stray: 0,
        }
    }

    /// Bytes so far that began no message and were passed over.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes one whole message; `None` leaves what there is until more has come.
    ///
    /// # Errors
    ///
    /// The bytes are no RTSP or beyond a bound. The connection is to be closed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            match input.first() {
                None => return Ok(None),
                Some(b'$') => return self.data(input),
                // Blank lines between messages (RFC 2326 allows them as HTTP does; ffmpeg sends one after a body).
                Some(b'\r' | b'\n') if self.scanned == 0 => input.advance(1),
                Some(byte) if self.scanned == 0 && !byte.is_ascii_uppercase() => self.skip(input)?,
                Some(_) => return self.message(input),
            }
        }
    }

    fn data(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        let Some(&[_, channel, high, low]) = input.first_chunk::<DATA_HEAD>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > self.limits.max_data {
            return Err(Error::Data {
                channel,
                got: len,
                max: self.limits.max_data,
            });
        }
        if input.len() < DATA_HEAD + len {
            input.reserve(DATA_HEAD + len - input.len());
            return Ok(None);
        }
        input.advance(DATA_HEAD);
        self.stray = 0;
        Ok(Some(Message::Data {
            channel,
            data: input.split_to(len).freeze(),
        }))
    }

    /// Passes over bytes that begin nothing, up to what may.
    fn skip(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        let begins = |byte: &u8| *byte == b'$' || byte.is_ascii_uppercase();
        let count = input.iter().position(begins).unwrap_or(input.len());
        input.advance(count);
        self.skipped = self.skipped.saturating_add(count as u64);
        self.stray = self.stray.saturating_add(count as u64);
        if self.stray > MAX_STRAY {
            return Err(Error::Stray(self.stray));
        }
        Ok(())
    }

    fn message(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        let Some(head_len) = self.end_of_head(input) else {
            if input.len() > self.limits.max_head {
                return Err(Error::Head {
                    max: self.limits.max_head,
                });
            }
            return Ok(None);
        };
        if head_len > self.limits.max_head {
            return Err(Error::Head {
                max: self.limits.max_head,
            });
        }
        let text = String::from_utf8_lossy(&input[..head_len]).into_owned();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let first = first.trim_end_matches('\r');
        let headers = self.headers(rest)?;
        let is_http = first
            .rsplit(' ')
            .next()
            .is_some_and(|word| word.starts_with("HTTP/"));
        // The body of a tunnel's POST is the rest of the connection, whatever its length says.
        let body_len = if is_http { 0 } else { self.body_len(&headers)? };
        if input.len() < head_len + body_len {
            return Ok(None);
        }
        self.scanned = 0;
        self.stray = 0;
        input.advance(head_len);
        let body = input.split_to(body_len).freeze();
        first_line(first, headers, body).map(Some)
    }

    /// The length of the head with the empty line that ends it.
    fn end_of_head(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = self.scanned;
        while let Some(line) = input.get(at..)?.iter().position(|byte| *byte == b'\n') {
            let end = at + line + 1;
            let is_empty = matches!(&input[at..end], [b'\n'] | [b'\r', b'\n']);
            if is_empty && at > 0 {
                return Some(end);
            }
            at = end;
            self.scanned = at;
        }
        None
    }

    fn headers(&self, text: &str) -> Result<Headers, Error> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in text.split('\n').map(|line| line.trim_end_matches('\r')) {
            // A folded line goes on with the field before (RFC 2326 follows RFC 822 here).
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = headers.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                continue;
            }
            // Lines without a colon say nothing; some cameras send them.
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            if headers.len() == self.limits.max_headers {
                return Err(Error::Headers {
                    max: self.limits.max_headers,
                });
            }
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Headers(headers))
    }

    fn body_len(&self, headers: &Headers) -> Result<usize, Error> {
        let Some(text) = headers.get("Content-Length") else {
            return Ok(0);
        };
        let got: u64 = text
            .parse()
            .map_err(|_| Error::Length(text.chars().take(32).collect()))?;
        usize::try_from(got)
            .ok()
            .filter(|len| *len <= self.limits.max_body)
            .ok_or(Error::Body {
                got,
                max: self.limits.max_body,
            })
    }
}

fn first_line(line: &str, headers: Headers, body: Bytes) -> Result<Message, Error> {
    let wrong = || Error::FirstLine(line.chars().take(64).collect());
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let first = words.next().ok_or_else(wrong)?;
    if first.starts_with("RTSP/") || first.starts_with("HTTP/") {
        let status: u16 = words
            .next()
            .and_then(|word| word.parse().ok())
            .filter(|status| (100..=999).contains(status))
            .ok_or_else(wrong)?;
        let reason = words.collect::<Vec<_>>().join(" ");
        return Ok(Message::Response(Response {
            status,
            reason,
            headers,
            body,
        }));
    }
    let rest: Vec<&str> = words.collect();
    let [uri @ .., version] = &rest[..] else {
        return Err(wrong());
    };
    let is_version = version.starts_with("RTSP/") || version.starts_with("HTTP/");
    if uri.is_empty() || !is_version || !first.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    Ok(Message::Request(Request {
        method: first.to_owned(),
        // Blanks in URLs are wrong and are sent all the same.
        uri: uri.join(" "),
        version: (*version).to_owned(),
        headers,
        body,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(input: &[u8], step: usize) -> Result<Vec<Message>, Error> {
        let (mut parser, mut buffer, mut messages) =
            (Parser::new(Limits::default()), BytesMut::new(), Vec::new());
        for chunk in input.chunks(step) {
            buffer.extend_from_slice(chunk);
            while let Some(message) = parser.next(&mut buffer)? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    fn one(text: &str) -> Message {
        all(text.as_bytes(), text.len()).expect("a message").remove(0)
    }

    #[test]
    fn what_sloppy_senders_write() {
        let Message::Response(response) =
            one("RTSP/1.0 200\nCSeq : 3\r\nContent-length: 2\nfolded: a\n b\nno colon\n\nhi")
        else {
            panic!("a response");
        };
        assert_eq!(
            (response.status, response.reason.as_str(), &response.body[..]),
            (200, "", &b"hi"[..])
        );
        assert_eq!(
            (response.headers.get("cseq"), response.headers.get("Folded")),
            (Some("3"), Some("a b"))
        );
        let Message::Request(request) = one("\r\n\r\nOPTIONS rtsp://h/a b RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        else {
            panic!("a request");
        };
        assert_eq!(
            (request.method.as_str(), request.uri.as_str()),
            ("OPTIONS", "rtsp://h/a b")
        );
    }

    #[test]
    fn data_and_messages_may_alternate_and_stray_bytes_are_passed_over() {
        let bytes = b"$\x00\x00\x03abcRTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n\x80\x60junk$\x01\x00\x01z";
        let messages = all(bytes, bytes.len()).expect("messages");
        assert_eq!(messages.len(), 3);
        assert_eq!(
            messages[0],
            Message::Data {
                channel: 0,
                data: Bytes::from_static(b"abc")
            }
        );
        assert_eq!(
            messages[2],
            Message::Data {
                channel: 1,
                data: Bytes::from_static(b"z")
            }
        );
    }

    #[test]
    fn a_tunnels_post_has_no_body() {
        let text = "POST /live HTTP/1.0\r\nContent-Length: 32767\r\n\r\nT1BUSU9OUw==";
        assert!(matches!(one(text), Message::Request(request) if request.body.is_empty()));
    }

    #[test]
    fn bounds_are_kept() {
        let endless = vec![b'A'; 20_000];
        assert!(matches!(all(&endless, 1000), Err(Error::Head { .. })));
        let fields = format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert!(matches!(all(fields.as_bytes(), 500), Err(Error::Headers { .. })));
        let body = b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999\r\n\r\n";
        assert!(matches!(
            all(body, 100),
            Err(Error::Body {
                got: 99_999_999_999,
                ..
            })
        ));
        let stray = vec![0; 70_000];
        assert!(matches!(all(&stray, 70_000), Err(Error::Stray(70_000))));
    }

    #[test]
    fn no_field_can_smuggle_in_another() {
        let mut out = BytesMut::new();
        Response::new(401, "No\r\nX: y")
            .with("A", "b\r\nC: d")
            .write(&mut out);
        let Message::Response(response) = one(std::str::from_utf8(&out).expect("text")) else {
            panic!("a response")
        };
        assert_eq!(response.headers.iter().count(), 1);
    }

    fn text() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9;=/. -]{1,20}".prop_map(|text| text.trim().to_owned())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_wherever_it_is_cut(
            method in "[A-Z_]{1,14}", fields in prop::collection::vec(("[A-Za-z-]{1,12}", text()), 0..6),
            body in prop::collection::vec(any::<u8>(), 0..50), data in prop::collection::vec(any::<u8>(), 0..50),
            status in 100u16..1000, step in 1usize..60,
        ) {
            let fields: Vec<_> = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length")).collect();
            let mut request = Request::new(&method, "rtsp://h/live/cam");
            let mut response = Response::new(status, "Some Reason");
            for (name, value) in fields {
                request.headers.push(name, value);
                response.headers.push(name, value);
            }
            (request.body, response.body) = (body.clone().into(), body.into());
            let mut out = BytesMut::new();
            request.write(&mut out);
            out.put_slice(b"$\x07");
            out.put_u16(data.len() as u16);
            out.put_slice(&data);
            response.write(&mut out);
            let strip = |message: Message| match message {
                Message::Request(mut request) => {
                    request.headers.0.retain(|(name, _)| name != "Content-Length");
                    Message::Request(request)
                }
                Message::Response(mut response) => {
                    response.headers.0.retain(|(name, _)| name != "Content-Length");
                    Message::Response(response)
                }
                data => data,
            };
            let messages: Vec<_> = all(&out, step).unwrap().into_iter().map(strip).collect();
            let expected = vec![
                Message::Request(request),
                Message::Data { channel: 7, data: data.into() },
                Message::Response(response),
            ];
            prop_assert_eq!(messages, expected);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..60) {
            let _ = all(&bytes, step);
        }
    }
}
