//! Requests, responses and interleaved data (RFC 2326, sections 4, 6, 7 and 10.12).

use bytes::{Bytes, BytesMut};

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

#[allow(dead_code)]
type Buffer = BytesMut;
