//! From bytes to messages.

use super::channels::Channels;
use super::{CONTENT_LENGTH, Headers, Message, Request, Response};
use bytes::{Buf, BytesMut};

/// What a peer may make us hold and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line and header fields together, bytes. Also how many stray bytes in a row are skipped before the connection
    /// is given up.
    pub max_head: usize,
    /// Body of a request or response, bytes.
    pub max_body: usize,
    /// Header fields of one message.
    pub max_headers: usize,
    /// One interleaved packet, bytes. The length field has 16 bits, so 65,535 allows everything.
    pub max_data: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head: 16 * 1024,
            max_body: 64 * 1024,
            max_headers: 100,
            max_data: 65_535,
        }
    }
}

/// Why a connection cannot be read on. Positions count from the first byte of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What came is neither a request, nor a response, nor interleaved data.
    #[error("no RTSP message begins at byte {at}: {start:?}")]
    StartLine {
        /// Where the line begins.
        at: u64,
        /// The first 80 characters of it.
        start: String,
    },
    /// The blank line that ends a head did not come.
    #[error("message head that begins at byte {at} is longer than {allowed} bytes")]
    HeadTooLong {
        /// Where the head begins.
        at: u64,
        /// [`Limits::max_head`].
        allowed: usize,
    },
    /// More header fields than allowed.
    #[error("message head that begins at byte {at} has more than {allowed} header fields")]
    TooManyHeaders {
        /// Where the head begins.
        at: u64,
        /// [`Limits::max_headers`].
        allowed: usize,
    },
    /// A length that is no number.
    #[error("Content-Length {got:?} of the message that begins at byte {at} is no number")]
    ContentLength {
        /// Where the head begins.
        at: u64,
        /// The first 80 characters of the value.
        got: String,
    },
    /// A longer body than allowed.
    #[error("body of {got} bytes in the message that begins at byte {at}: at most {allowed} are allowed")]
    BodyTooLong {
        /// Where the head begins.
        at: u64,
        /// Its Content-Length.
        got: u64,
        /// [`Limits::max_body`].
        allowed: usize,
    },
    /// A longer packet than allowed.
    #[error("interleaved packet of {got} bytes at byte {at}: at most {allowed} are allowed")]
    DataTooLong {
        /// Where its `$` is.
        at: u64,
        /// Its length.
        got: usize,
        /// [`Limits::max_data`].
        allowed: usize,
    },
    /// Too many stray bytes between messages.
    #[error("{skipped} bytes without a message before byte {at}: out of step")]
    OutOfStep {
        /// Where the search ended.
        at: u64,
        /// Bytes skipped in this search.
        skipped: usize,
    },
}

/// Takes messages off a stream of bytes.
///
/// Holds no bytes of its own except the head of a message whose body is still to come. What is in the caller's buffer is
/// at most [`Limits::max_head`], or one body, or one packet with its four bytes, whichever is longer, besides what the
/// caller reads ahead.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// Bytes taken off so far.
    at: u64,
    /// Bytes at the front of the input that are known not to end the head, so that a slow sender costs no rescan.
    scanned: usize,
    /// The first line of the head at the front of the input was looked at and is a start line.
    started: bool,
    /// A head whose body is not here yet.
    pending: Option<Head>,
    /// Channels on which data came while in step. Tell a `$` that begins a packet from one among stray bytes.
    channels: Channels,
    /// Bytes skipped since the last message.
    astray: usize,
    skipped: u64,
}

#[derive(Debug)]
struct Head {
    message: Message,
    /// Length of the body, bytes.
    body: usize,
}

impl Parser {
    /// A parser at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            at: 0,
            scanned: 0,
            started: false,
            pending: None,
            channels: Channels::default(),
            astray: 0,
            skipped: 0,
        }
    }

    /// Takes one message off the front of `input`. `None`: more bytes are needed; what came of the message stays in `input`,
    /// except a complete head whose body is to come, which the parser keeps. Between two calls bytes may only be appended to
    /// `input`. After an error the connection cannot be read on.
    ///
    /// Data are a slice of `input` and share its memory.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            if self.pending.is_some() {
                return Ok(self.finish(input));
            }
            match input.first() {
                None => return Ok(None),
                Some(b'$') if self.astray == 0 => return self.data(input),
                // Blank lines before a message: some cameras end bodies with a line end that Content-Length does not count,
                // and retina (0.3.8) reports a server that sends a CRLF before a `$`. RFC 9112, section 2.2, has it too.
                Some(b'\r' | b'\n') => self.take(input, 1),
                Some(_) => match self.place(input) {
                    Place::Head => match self.head(input)? {
                        true => continue,
                        false => return Ok(None),
                    },
                    Place::Data => {
                        self.astray = 0;
                        return self.data(input);
                    }
                    Place::Short => return Ok(None),
                    Place::Stray => self.skip(input)?,
                },
            }
        }
    }

    /// Stray bytes skipped so far, in all.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn data(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        let &[_, channel, high, low, ..] = &input[..] else {
            return Ok(None);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > self.limits.max_data {
            return Err(Error::DataTooLong {
                at: self.at,
                got: len,
                allowed: self.limits.max_data,
            });
        }
        let end = DATA_HEAD + len;
        if input.len() < end {
            return Ok(None);
        }
        let mut data = input.split_to(end).freeze();
        data.advance(DATA_HEAD);
        self.at += end as u64;
        self.channels.insert(channel);
        Ok(Some(Message::Data { channel, data }))
    }

    /// What stands at the front of `input`, which is no line end.
    fn place(&self, input: &[u8]) -> Place {
        if self.astray == 0 {
            return match could_be_head(input) {
                // Before the first packet there is nothing to get out of step with: let the start line fail and say so.
                Place::Stray if self.channels.is_empty() => Place::Head,
                place => place,
            };
        }
        // Among stray bytes only what is very likely right counts: they can be media of any kind.
        match input {
            [b'$'] => Place::Short,
            [b'$', channel, ..] => match self.channels.contains(*channel) {
                true => Place::Data,
                false => Place::Stray,
            },
            _ => STARTS
                .iter()
                .map(|start| match input.len() < start.len() {
                    true if start.as_bytes().starts_with(input) => Place::Short,
                    false if input.starts_with(start.as_bytes()) => Place::Head,
                    _ => Place::Stray,
                })
                .find(|place| !matches!(place, Place::Stray))
                .unwrap_or(Place::Stray),
        }
    }

    /// Goes to the next byte at which a message can begin. `place` judges it.
    fn skip(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        let stray = input
            .iter()
            .skip(1)
            .position(|byte| matches!(byte, b'$' | b'A'..=b'Z'))
            .map_or(input.len(), |at| at + 1);
        self.take(input, stray);
        self.astray += stray;
        self.skipped += stray as u64;
        if self.astray > self.limits.max_head {
            return Err(Error::OutOfStep {
                at: self.at,
                skipped: self.astray,
            });
        }
        Ok(())
    }

    /// Reads a head. `false`: it is not complete.
    fn head(&mut self, input: &mut BytesMut) -> Result<bool, Error> {
        // Before anything else, so that it does not depend on how much has come.
        if !begins_with_a_word(input) {
            return Err(self.bad_start(input));
        }
        let end = self.end_of_head(input)?;
        if end.unwrap_or(input.len()) > self.limits.max_head {
            return Err(Error::HeadTooLong {
                at: self.at,
                allowed: self.limits.max_head,
            });
        }
        let Some(end) = end else {
            return Ok(false);
        };
        let head = input.split_to(end);
        let (mut message, framed) = self.start(&head)?;
        let body = {
            let headers = match &mut message {
                Message::Request(request) => &mut request.headers,
                Message::Response(response) => &mut response.headers,
                Message::Data { .. } => return Ok(false),
            };
            self.fields(&head, headers)?;
            match headers.get(CONTENT_LENGTH) {
                Some(length) if framed => self.content_length(length)?,
                _ => 0,
            }
        };
        self.at += end as u64;
        self.scanned = 0;
        self.started = false;
        self.astray = 0;
        self.pending = Some(Head { message, body });
        Ok(true)
    }

    /// Completes the pending message if its body is here.
    fn finish(&mut self, input: &mut BytesMut) -> Option<Message> {
        let head = self.pending.take()?;
        if input.len() < head.body {
            self.pending = Some(head);
            return None;
        }
        let read = input.split_to(head.body).freeze();
        self.at += head.body as u64;
        let Head { mut message, .. } = head;
        match &mut message {
            Message::Request(Request { body, .. }) | Message::Response(Response { body, .. }) => *body = read,
            Message::Data { .. } => {}
        }
        Some(message)
    }

    /// Where the head ends, behind its blank line. LF alone ends lines too: old cameras and hand-written clients send it
    /// (RFC 9112, section 2.2, asks for it).
    ///
    /// What cannot be a message is refused at its first line, not after the whole head.
    fn end_of_head(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        while let Some(rest) = input.get(self.scanned..) {
            let Some(line_end) = rest.iter().position(|&byte| byte == b'\n') else {
                self.scanned = input.len();
                return Ok(None);
            };
            let line_end = self.scanned + line_end;
            if !self.started {
                self.start(&input[..line_end])?;
                self.started = true;
            }
            match input.get(line_end + 1..) {
                Some([b'\n', ..]) => return Ok(Some(line_end + 2)),
                Some([b'\r', b'\n', ..]) => return Ok(Some(line_end + 3)),
                Some([] | [b'\r']) | None => {
                    self.scanned = line_end;
                    return Ok(None);
                }
                Some(_) => self.scanned = line_end + 1,
            }
        }
        Ok(None)
    }

    /// The message that the first line begins, and whether a Content-Length counts.
    fn start(&self, head: &[u8]) -> Result<(Message, bool), Error> {
        let line = String::from_utf8_lossy(first_line(head));
        let line = line.trim();
        let (first, rest) = line.split_once([' ', '\t']).ok_or_else(|| self.bad_start(head))?;
        let rest = rest.trim_start();
        if first.starts_with("RTSP/") || first.starts_with("HTTP/") {
            // The reason may be missing: some cameras send `RTSP/1.0 200`.
            let (status, reason) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
            let status = match status.parse() {
                Ok(status @ 100..=999) => status,
                _ => return Err(self.bad_start(head)),
            };
            let response = Response::new(status, reason.trim());
            return Ok((Message::Response(response), first.starts_with("RTSP/")));
        }
        // Cut at the last space: ffmpeg sends the URL as the user typed it, with its spaces.
        let (uri, version) = rest
            .rsplit_once([' ', '\t'])
            .ok_or_else(|| self.bad_start(head))?;
        let rtsp = version.starts_with("RTSP/");
        if !(rtsp || version.starts_with("HTTP/1.")) || uri.trim().is_empty() {
            return Err(self.bad_start(head));
        }
        let mut request = Request::new(first, uri.trim());
        request.version = version.to_owned();
        // The POST of a tunnel announces 32,767 bytes or so that never come as a body: RTSP requests in base64 do, without end
        // (QuickTime; ffmpeg and GStreamer do as it did).
        Ok((Message::Request(request), rtsp))
    }

    fn fields(&self, head: &[u8], headers: &mut Headers) -> Result<(), Error> {
        for line in head.split(|&byte| byte == b'\n').skip(1) {
            let line = String::from_utf8_lossy(line);
            let folded = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            if folded {
                // RFC 2326, section 15.1, still allows to fold a value over lines.
                if let Some(value) = headers.last_value() {
                    value.push(' ');
                    value.push_str(line);
                }
                continue;
            }
            // Lines without a colon say nothing that could be used; ffmpeg and live555 pass over them too.
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            // Space before the colon, and behind the value as Longse cameras have it (`CSeq: 1 `), does not belong to either.
            let name = name.trim_end();
            if name.is_empty() {
                continue;
            }
            if headers.len() >= self.limits.max_headers {
                return Err(Error::TooManyHeaders {
                    at: self.at,
                    allowed: self.limits.max_headers,
                });
            }
            headers.push(name, value.trim_start());
        }
        Ok(())
    }

    fn content_length(&self, text: &str) -> Result<usize, Error> {
        let got: u64 = text.parse().map_err(|_| Error::ContentLength {
            at: self.at,
            got: excerpt(text.as_bytes()),
        })?;
        match usize::try_from(got) {
            Ok(length) if length <= self.limits.max_body => Ok(length),
            _ => Err(Error::BodyTooLong {
                at: self.at,
                got,
                allowed: self.limits.max_body,
            }),
        }
    }

    fn bad_start(&self, head: &[u8]) -> Error {
        Error::StartLine {
            at: self.at,
            start: excerpt(first_line(head)),
        }
    }

    fn take(&mut self, input: &mut BytesMut, bytes: usize) {
        input.advance(bytes);
        self.at += bytes as u64;
        self.scanned = 0;
    }
}

/// What a byte begins.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The head of a request or response.
    Head,
    /// Interleaved data.
    Data,
    /// Nothing.
    Stray,
    /// Too few bytes to tell.
    Short,
}

/// Whether `input` begins as a start line does: `RTSP/`, `HTTP/`, or a method and a space. Methods are any token in
/// RFC 2326, section 6.1; all that exist are capitals and `_`.
fn could_be_head(input: &[u8]) -> Place {
    let word = input
        .iter()
        .take(MAX_METHOD + 1)
        .take_while(|byte| byte.is_ascii_uppercase() || **byte == b'_')
        .count();
    match input.get(word) {
        None if word <= MAX_METHOD => Place::Short,
        Some(b' ' | b'\t') if (MIN_METHOD..=MAX_METHOD).contains(&word) => Place::Head,
        Some(b'/') if matches!(&input[..word], b"RTSP" | b"HTTP") => Place::Head,
        _ => Place::Stray,
    }
}

/// Whether `input` is, or may become, a word and a space: a method that nobody knows is still one, and is answered.
fn begins_with_a_word(input: &[u8]) -> bool {
    let word = input
        .iter()
        .take(MAX_METHOD + 1)
        .take_while(|byte| byte.is_ascii_graphic())
        .count();
    word <= MAX_METHOD && (word == input.len() || (word > 0 && matches!(input[word], b' ' | b'\t')))
}

fn first_line(head: &[u8]) -> &[u8] {
    head.split(|&byte| byte == b'\n').next().unwrap_or_default()
}

fn excerpt(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(MAX_EXCERPT).collect()
}

/// Bytes before the data of a packet: `$`, channel, length.
const DATA_HEAD: usize = 4;

/// Shorter words are no method: `PLAY` is the shortest of RTSP, `GET` of a tunnel.
const MIN_METHOD: usize = 3;

/// `GET_PARAMETER` and `SET_PARAMETER` have 13 letters; vendors add their own.
const MAX_METHOD: usize = 32;

/// Characters of foreign text in an error.
const MAX_EXCERPT: usize = 80;

/// How a message begins that ends a search among stray bytes.
const STARTS: [&str; 12] = [
    "RTSP/1.0 ",
    "OPTIONS ",
    "DESCRIBE ",
    "ANNOUNCE ",
    "SETUP ",
    "PLAY ",
    "PAUSE ",
    "TEARDOWN ",
    "RECORD ",
    "REDIRECT ",
    "GET_PARAMETER ",
    "SET_PARAMETER ",
];

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Message>, Error> {
        let mut parser = Parser::new(Limits::default());
        let mut input = BytesMut::from(bytes);
        let mut messages = Vec::new();
        while let Some(message) = parser.next(&mut input)? {
            messages.push(message);
        }
        Ok(messages)
    }

    fn one(text: &str) -> Message {
        let mut messages = all(text.as_bytes()).expect(text);
        assert_eq!(messages.len(), 1, "{text:?} gives {messages:?}");
        messages.remove(0)
    }

    fn request(text: &str) -> Request {
        match one(text) {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn response(text: &str) -> Response {
        match one(text) {
            Message::Response(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Found by fuzzing: what was refused while it was incomplete was taken when it came at once.
    #[test]
    fn a_method_of_any_length_is_one_however_it_comes() {
        for text in ["O l RTSP/1.0\n\n", "play rtsp://h/a/b RTSP/1.0\r\n\r\n"] {
            let (mut parser, mut input) = (Parser::new(Limits::default()), BytesMut::new());
            let mut got = None;
            for byte in text.bytes() {
                assert_eq!(got, None);
                input.extend_from_slice(&[byte]);
                got = parser.next(&mut input).expect(text);
            }
            assert_eq!(got.expect(text), one(text));
        }
    }

    #[test]
    fn a_request_of_rfc_2326() {
        let request = request(
            "SETUP rtsp://example.com/foo/bar/baz.rm RTSP/1.0\r\nCSeq: 302\r\nTransport: RTP/AVP;unicast;client_port=4588-4589\r\n\r\n",
        );
        assert_eq!(request.method, "SETUP");
        assert_eq!(request.uri, "rtsp://example.com/foo/bar/baz.rm");
        assert_eq!(request.version, "RTSP/1.0");
        assert_eq!(request.headers.get("cseq"), Some("302"));
        assert_eq!(
            request.headers.get("transport"),
            Some("RTP/AVP;unicast;client_port=4588-4589")
        );
    }

    #[test]
    fn a_body_has_the_length_of_its_header() {
        let got = all(
            b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-length: 5\r\n\r\nv=0\r\nRTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n",
        )
        .unwrap();
        let [Message::Response(first), Message::Response(second)] = &got[..] else {
            panic!("{got:?}");
        };
        assert_eq!(first.body, "v=0\r\n");
        assert_eq!(second.headers.get("CSeq"), Some("2"));
    }

    #[test]
    fn sloppy_heads_are_read() {
        // Lines that end with LF, values with space behind them, space before the colon, folded values, a line of no use.
        let got = response(
            "RTSP/1.0 401 Unauthorized\nCSeq: 1 \nServer : Rtsp Server\nWWW-Authenticate: Digest realm=\"a\",\n nonce=\"b\"\nnonsense\nDate:  Fri, Apr 30 2021 20:12:32 GMT\n\n",
        );
        assert_eq!(got.status, 401);
        assert_eq!(got.reason, "Unauthorized");
        assert_eq!(got.headers.get("CSeq"), Some("1"));
        assert_eq!(got.headers.get("Server"), Some("Rtsp Server"));
        assert_eq!(
            got.headers.get("www-authenticate"),
            Some("Digest realm=\"a\", nonce=\"b\"")
        );
        assert_eq!(got.headers.get("Date"), Some("Fri, Apr 30 2021 20:12:32 GMT"));
        assert_eq!(got.headers.iter().count(), 4);
    }

    #[test]
    fn a_reason_phrase_may_be_missing() {
        assert_eq!(response("RTSP/1.0 200\r\n\r\n").status, 200);
        assert_eq!(response("RTSP/1.0 404 \r\n\r\n").reason, "");
    }

    #[test]
    fn a_url_may_hold_spaces() {
        assert_eq!(
            request("DESCRIBE rtsp://h/my cam/1 RTSP/1.0\r\n\r\n").uri,
            "rtsp://h/my cam/1"
        );
    }

    #[test]
    fn blank_lines_between_messages_count_for_nothing() {
        let got = all(b"\r\n\nRTSP/1.0 200 OK\r\n\r\n\r\n$\x01\x00\x02ab\r\n$\x00\x00\x00\n").unwrap();
        assert_eq!(got.len(), 3, "{got:?}");
        assert_eq!(
            got[1],
            Message::Data {
                channel: 1,
                data: Bytes::from_static(b"ab")
            }
        );
    }

    #[test]
    fn the_requests_of_a_tunnel_have_no_body() {
        let text = "POST /live/a HTTP/1.0\r\nx-sessioncookie: 1\r\nContent-Length: 32767\r\n\r\n";
        let got = request(text);
        assert_eq!((got.method.as_str(), got.version.as_str()), ("POST", "HTTP/1.0"));
        let mut input = BytesMut::from(format!("{text}T1BU").as_str());
        Parser::new(Limits::default()).next(&mut input).unwrap().unwrap();
        assert_eq!(input, "T1BU", "what follows is left for the decoder");
    }

    #[test]
    fn data_are_not_copied() {
        let mut input = BytesMut::from(&b"$\x00\x00\x03abc"[..]);
        let place = input[4..].as_ptr();
        let Ok(Some(Message::Data { data, .. })) = Parser::new(Limits::default()).next(&mut input) else {
            panic!("no data");
        };
        assert_eq!(data, "abc");
        assert_eq!(data.as_ptr(), place);
    }

    #[test]
    fn other_protocols_are_refused_with_their_first_bytes() {
        for hostile in [
            &b"\x03\x00\x00\x00"[..],
            b"\x16\x03\x01\x02",
            b"SSH-2.0-x\r\n",
            b"GET / FOO/1.1\r\n",
            b"RTSP/1.0 abc\r\n",
            b"RTSP/1.0 42 x\r\n",
            b"OPTIONS * \r\n",
        ] {
            assert!(
                matches!(all(hostile), Err(Error::StartLine { at: 0, .. })),
                "{:?} gives {:?}",
                String::from_utf8_lossy(hostile),
                all(hostile)
            );
        }
    }

    #[test]
    fn stray_bytes_between_packets_are_skipped_and_counted() {
        let mut parser = Parser::new(Limits::default());
        // A `$` of a channel that was never used is no packet, nor is half a method.
        let mut input = BytesMut::from(
            &b"$\x00\x00\x01a\xFF$\x77\xFF\xFFPLAYER$\x00\x00\x01b?RTSP/1.0 200 OK\r\n\r\n$\x02\x00\x01c"[..],
        );
        let mut got = Vec::new();
        while let Some(message) = parser.next(&mut input).unwrap() {
            got.push(message);
        }
        let kinds: Vec<_> = got
            .iter()
            .map(|message| match message {
                Message::Data { channel, .. } => u16::from(*channel),
                Message::Response(response) => response.status,
                Message::Request(_) => 1000,
            })
            .collect();
        assert_eq!(kinds, [0, 0, 200, 2]);
        assert_eq!(parser.skipped(), 12);
    }

    #[test]
    fn a_stream_without_messages_is_given_up() {
        let mut bytes = b"$\x00\x00\x01a".to_vec();
        bytes.extend(std::iter::repeat_n(0xA5, Limits::default().max_head + 1));
        assert!(matches!(
            all(&bytes),
            Err(Error::OutOfStep { skipped: 16_385, .. })
        ));
    }

    #[test]
    fn limits_hold() {
        let long = format!("OPTIONS * RTSP/1.0\r\nX: {}", "x".repeat(17_000));
        assert!(matches!(all(long.as_bytes()), Err(Error::HeadTooLong { .. })));
        let many = format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "X: y\r\n".repeat(101));
        assert!(matches!(all(many.as_bytes()), Err(Error::TooManyHeaders { .. })));
        let body = b"RTSP/1.0 200 OK\r\nContent-Length: 65537\r\n\r\n";
        assert!(matches!(all(body), Err(Error::BodyTooLong { got: 65_537, .. })));
        let body = b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n";
        assert!(matches!(all(body), Err(Error::ContentLength { .. })));
        let mut parser = Parser::new(Limits {
            max_data: 10,
            ..Limits::default()
        });
        let mut input = BytesMut::from(&b"$\x00\x00\x0B"[..]);
        assert!(matches!(
            parser.next(&mut input),
            Err(Error::DataTooLong { got: 11, .. })
        ));
    }

    fn text() -> impl Strategy<Value = String> {
        "[!-~]([ -~]{0,20}[!-~])?"
    }

    fn message() -> impl Strategy<Value = Message> {
        let headers = proptest::collection::vec(("[A-Za-z-]{1,12}", text()), 0..6)
            .prop_map(|fields| {
                let mut headers = Headers::new();
                for (name, value) in fields {
                    // Written last and by the writer.
                    if !name.eq_ignore_ascii_case(CONTENT_LENGTH) {
                        headers.push(name, value);
                    }
                }
                headers
            })
            .boxed();
        let body = proptest::collection::vec(any::<u8>(), 0..100)
            .prop_map(Bytes::from)
            .boxed();
        prop_oneof![
            (any::<u8>(), body.clone()).prop_map(|(channel, data)| Message::Data { channel, data }),
            (
                "[A-Z_]{3,20}",
                "rtsp://[!-~]{1,30}",
                headers.clone(),
                body.clone()
            )
                .prop_map(|(method, uri, headers, body)| {
                    let mut request = Request::new(method, uri);
                    (request.headers, request.body) = (headers, body);
                    Message::Request(request)
                }),
            (100_u16..=999, text(), headers, body).prop_map(|(status, reason, headers, body)| {
                let mut response = Response::new(status, reason);
                (response.headers, response.body) = (headers, body);
                Message::Response(response)
            }),
        ]
    }

    /// The bytes of `message`, and the message as it is read back: with the length of its body.
    fn written(mut message: Message, out: &mut BytesMut) -> Message {
        match &mut message {
            Message::Data { channel, data } => {
                out.extend(crate::message::data_head(*channel, data.len() as u16));
                out.extend_from_slice(data);
            }
            Message::Request(request) => {
                request.write(out);
                if !request.body.is_empty() {
                    request
                        .headers
                        .push(CONTENT_LENGTH, request.body.len().to_string());
                }
            }
            Message::Response(response) => {
                response.write(out);
                if !response.body.is_empty() {
                    response
                        .headers
                        .push(CONTENT_LENGTH, response.body.len().to_string());
                }
            }
        }
        message
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            messages in proptest::collection::vec(message(), 1..8),
            cut in 1_usize..40,
        ) {
            let mut bytes = BytesMut::new();
            let expected: Vec<_> = messages.into_iter().map(|message| written(message, &mut bytes)).collect();
            let mut parser = Parser::new(Limits::default());
            let mut input = BytesMut::new();
            let mut got = Vec::new();
            for part in bytes.chunks(cut) {
                input.extend_from_slice(part);
                while let Some(message) = parser.next(&mut input).unwrap() {
                    got.push(message);
                }
            }
            prop_assert_eq!(got, expected);
            prop_assert!(input.is_empty());
            prop_assert_eq!(parser.skipped(), 0);
        }

        #[test]
        fn hostile_bytes_do_no_harm(
            start in prop_oneof![
                Just(""),
                Just("$\0\0\0"),
                Just("RTSP/1.0 200 OK\r\n"),
                Just("OPTIONS * RTSP/1.0\r\nContent-Length: 3\r\n\r\n")
            ],
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'$'), Just(b'\n'), Just(b'\r'), Just(0), Just(b' ')], 0..400),
            cut in 1_usize..50,
        ) {
            let limits = Limits { max_head: 100, max_body: 50, max_headers: 3, max_data: 300 };
            let mut parser = Parser::new(limits);
            let mut input = BytesMut::from(start);
            'parts: for part in bytes.chunks(cut) {
                input.extend_from_slice(part);
                loop {
                    match parser.next(&mut input) {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'parts,
                    }
                }
                prop_assert!(input.len() <= 304, "{} bytes are held", input.len());
            }
        }
    }
}
