//! Requests, responses and interleaved data (RFC 2326, sections 4, 6, 7 and 10.12).

pub(crate) mod channels;
mod parser;

pub use parser::{Error, Limits, Parser};

use bytes::{BufMut, Bytes, BytesMut};

/// The header fields of a message, in order. Names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// The values of all fields of this name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Adds a field behind the others, whether there is one of this name or not.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Makes this the only field of its name, in the place of the first one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let place = self.0.iter().position(|(own, _)| own.eq_ignore_ascii_case(&name));
        self.0.retain(|(own, _)| !own.eq_ignore_ascii_case(&name));
        // Fields before the first of this name stay, so the place is within the list.
        let place = place.unwrap_or(self.0.len());
        self.0.insert(place, (name, value.into()));
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn last_value(&mut self) -> Option<&mut String> {
        self.0.last_mut().map(|(_, value)| value)
    }

    /// All fields, with the length of the body if there is one, and the blank line.
    fn write(&self, body: &Bytes, out: &mut BytesMut) {
        for (name, value) in self.iter() {
            // A length that is not that of the body would let the reader lose its place.
            if !name.eq_ignore_ascii_case(CONTENT_LENGTH) {
                put_field(out, name, value);
            }
        }
        if !body.is_empty() {
            put_field(out, CONTENT_LENGTH, &body.len().to_string());
        }
        out.put_slice(b"\r\n");
        out.put_slice(body);
    }
}

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

impl Request {
    /// A request of `RTSP/1.0` without header fields and body.
    pub fn new(method: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            uri: uri.into(),
            version: VERSION.to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same with one more header field.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with a body. Its length is written by [`Self::write`].
    pub fn with_body(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.headers.set(CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// Appends the request as it goes over the wire. Control characters in any text become spaces, so that no text can
    /// add a line of its own.
    pub fn write(&self, out: &mut BytesMut) {
        put_text(out, &self.method);
        out.put_u8(b' ');
        put_text(out, &self.uri);
        out.put_u8(b' ');
        put_text(out, &self.version);
        out.put_slice(b"\r\n");
        self.headers.write(&self.body, out);
    }
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

impl Response {
    /// A response without header fields and body.
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The same with one more header field.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with a body. Its length is written by [`Self::write`].
    pub fn with_body(mut self, content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        self.headers.set(CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// Appends the response as it goes over the wire, with the version `RTSP/1.0`. Control characters in any text become
    /// spaces, so that no text can add a line of its own.
    pub fn write(&self, out: &mut BytesMut) {
        put_text(out, VERSION);
        out.put_u8(b' ');
        put_text(out, &self.status.to_string());
        out.put_u8(b' ');
        put_text(out, &self.reason);
        out.put_slice(b"\r\n");
        self.headers.write(&self.body, out);
    }
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

/// What goes before a packet of `len` bytes on an interleaved channel (section 10.12).
pub fn data_head(channel: u8, len: u16) -> [u8; 4] {
    let [high, low] = len.to_be_bytes();
    [b'$', channel, high, low]
}

/// Appends a packet as interleaved data. One longer than 65,535 bytes is left out: its length has no place.
pub fn interleave(channel: u8, packet: &[u8], out: &mut BytesMut) {
    if let Ok(len) = u16::try_from(packet.len()) {
        out.put_slice(&data_head(channel, len));
        out.put_slice(packet);
    }
}

fn put_field(out: &mut BytesMut, name: &str, value: &str) {
    put_text(out, name);
    out.put_slice(b": ");
    put_text(out, value);
    out.put_slice(b"\r\n");
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().map(|byte| match byte {
        b'\t' => byte,
        0..=0x1F | 0x7F => b' ',
        _ => byte,
    }));
}

/// The only version of RTSP that is spoken here.
pub const VERSION: &str = "RTSP/1.0";

const CONTENT_LENGTH: &str = "Content-Length";
const CONTENT_TYPE: &str = "Content-Type";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: &Request) -> String {
        let mut out = BytesMut::new();
        request.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn header_names_compare_without_case_and_keep_their_order() {
        let mut headers = Headers::new();
        headers.push("CSeq", "1");
        headers.push("WWW-Authenticate", "Digest a");
        headers.push("Www-authenticate", "Basic b");
        assert_eq!(headers.get("cseq"), Some("1"));
        assert_eq!(
            headers.get_all("www-authenticate").collect::<Vec<_>>(),
            ["Digest a", "Basic b"]
        );
        headers.set("WWW-AUTHENTICATE", "none");
        headers.set("Session", "9");
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(
            all,
            [("CSeq", "1"), ("WWW-AUTHENTICATE", "none"), ("Session", "9")]
        );
    }

    #[test]
    fn a_body_brings_its_length_and_a_wrong_one_is_not_sent() {
        let request = Request::new("ANNOUNCE", "rtsp://h/live/a")
            .with("CSeq", "2")
            .with("content-length", "999")
            .with_body("application/sdp", "v=0\r\n");
        assert_eq!(
            written(&request),
            "ANNOUNCE rtsp://h/live/a RTSP/1.0\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
        );
    }

    #[test]
    fn no_text_can_add_a_line() {
        let request = Request::new("PLAY", "rtsp://h/a\r\nX: y")
            .with("User-Agent\n", "me\r\nAuthorization: x\0")
            .with("CSeq", "1");
        let text = written(&request);
        assert_eq!(text.matches('\n').count(), 4, "{text:?}");
        assert!(
            !text.contains("\nX:") && !text.contains("\nAuthorization"),
            "{text:?}"
        );
    }

    #[test]
    fn the_head_of_interleaved_data() {
        assert_eq!(data_head(3, 0x0102), [b'$', 3, 1, 2]);
    }
}
