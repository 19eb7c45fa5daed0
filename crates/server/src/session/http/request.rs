//! Bodies of requests, and requests for the router.

use super::Accepted;
use super::head::Head;
use api::PeerInfo;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line that announces a chunk, with its extensions.
const MAX_CHUNK_LINE: usize = 256;

/// Most bytes of trailers behind a chunked body. They are read and dropped.
const MAX_TRAILERS: usize = 4096;

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than `http.maxReqSize`.
    #[error("the body is longer than {limit} bytes (http.maxReqSize)")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Broken chunks (RFC 9112, section 7.1).
    #[error("the chunks of the body are broken")]
    Chunks,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BodyError {
    /// The status to answer with.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Chunks | Self::Io(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the body that belongs to `head`. A request with neither length nor chunks has none (RFC 9112, section 6.3).
///
/// # Errors
///
/// It is longer than `limit`, broken, or the connection is.
pub async fn read_body<R: AsyncRead + Unpin>(
    io: &mut R,
    buffer: &mut BytesMut,
    head: &Head,
    limit: usize,
) -> Result<Bytes, BodyError> {
    if head.is_chunked() {
        return read_chunks(io, buffer, limit).await;
    }
    let length = head.body_length().unwrap_or(0);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= limit)
        .ok_or(BodyError::TooLarge { limit })?;
    fill(io, buffer, length).await?;
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunks<R: AsyncRead + Unpin>(
    io: &mut R,
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    loop {
        let line = read_line(io, buffer, MAX_CHUNK_LINE).await?;
        let size = line[..]
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let size = std::str::from_utf8(size)
            .ok()
            .filter(|size| !size.is_empty() && size.len() <= 8 && !size.starts_with('+'));
        let size = size
            .and_then(|size| usize::from_str_radix(size, 16).ok())
            .ok_or(BodyError::Chunks)?;
        if size == 0 {
            break;
        }
        if body.len() + size > limit {
            return Err(BodyError::TooLarge { limit });
        }
        fill(io, buffer, size + 2).await?;
        body.extend_from_slice(&buffer[..size]);
        if &buffer[size..size + 2] != b"\r\n" {
            return Err(BodyError::Chunks);
        }
        buffer.advance(size + 2);
    }
    let mut trailers = 0;
    loop {
        let line = read_line(io, buffer, MAX_TRAILERS).await?;
        trailers += line.len();
        if line.is_empty() {
            return Ok(body.freeze());
        }
        if trailers > MAX_TRAILERS {
            return Err(BodyError::Chunks);
        }
    }
}

async fn read_line<R: AsyncRead + Unpin>(
    io: &mut R,
    buffer: &mut BytesMut,
    max: usize,
) -> Result<BytesMut, BodyError> {
    loop {
        if let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") {
            let line = buffer.split_to(end);
            buffer.advance(2);
            return Ok(line);
        }
        if buffer.len() > max {
            return Err(BodyError::Chunks);
        }
        let wanted = buffer.len() + 1;
        fill(io, buffer, wanted).await?;
    }
}

/// Reads until `buffer` holds `length` bytes.
async fn fill<R: AsyncRead + Unpin>(io: &mut R, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
    while buffer.len() < length {
        buffer.reserve((length - buffer.len()).min(16 * 1024));
        if io.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// A request for the router, with what it may know of the connection.
pub fn build<S>(accepted: &Accepted<S>, head: Head, body: Bytes) -> Request<Body> {
    let registration = &accepted.registration;
    let peer = PeerInfo {
        // The API's address filter looks at the socket: a header can say anything.
        peer: registration.sock.peer,
        session: registration.id,
        tls: accepted.tls,
    };
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(head.sent);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(headers: &str, rest: &str, limit: usize) -> Result<(Bytes, BytesMut), BodyError> {
        let mut text = BytesMut::from(&*format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n"));
        let head = Head::parse(&mut text).expect("valid").expect("whole");
        // The first half is in the buffer already, as after a read that took more than the head.
        let (first, mut second) = rest.as_bytes().split_at(rest.len() / 2);
        let mut buffer = BytesMut::from(first);
        let body = read_body(&mut second, &mut buffer, &head, limit).await?;
        buffer.extend_from_slice(second);
        Ok((body, buffer))
    }

    #[tokio::test]
    async fn a_body_of_known_length_is_taken_and_the_next_request_stays() {
        let (body, rest) = body("Content-Length: 5", "helloGET /", 5).await.expect("a body");
        assert_eq!((&body[..], &rest[..]), (&b"hello"[..], &b"GET /"[..]));
    }

    #[tokio::test]
    async fn chunks_are_joined_and_trailers_dropped() {
        let text = "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\nGET /";
        let (body, rest) = body("Transfer-Encoding: chunked", text, 5).await.expect("a body");
        assert_eq!((&body[..], &rest[..]), (&b"abcde"[..], &b"GET /"[..]));
    }

    #[tokio::test]
    async fn bodies_over_the_limit_and_broken_chunks_are_refused() {
        assert!(matches!(
            body("Content-Length: 6", "hello!", 5).await,
            Err(BodyError::TooLarge { limit: 5 })
        ));
        assert!(matches!(
            body("Transfer-Encoding: chunked", "6\r\nhello!\r\n0\r\n\r\n", 5).await,
            Err(BodyError::TooLarge { .. })
        ));
        for broken in ["x\r\n", "-1\r\na\r\n", "2\r\nabc\r\n", "ffffffffff\r\n", "\r\n"] {
            assert!(
                matches!(
                    body("Transfer-Encoding: chunked", broken, 5).await,
                    Err(BodyError::Chunks | BodyError::TooLarge { .. })
                ),
                "{broken:?}"
            );
        }
        assert!(matches!(
            body("Content-Length: 5", "hell", 5).await,
            Err(BodyError::Io(_))
        ));
    }
}
