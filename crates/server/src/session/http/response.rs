//! Writing answers.

use super::Accepted;
use crate::app::App;
use crate::egress::{WRITE_TIMEOUT, write_all};
use crate::session::Io;
use axum::body::{Body, HttpBody};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, SERVER, TRANSFER_ENCODING,
};
use axum::http::{Response, StatusCode};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use tracing::warn;

/// What `Server` says.
pub const SERVER_NAME: &str = concat!("Tidegate/", env!("CARGO_PKG_VERSION"));

/// A short plain text.
pub fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Whether the answer itself ends the connection.
pub fn wants_close(response: &Response<Body>) -> bool {
    response
        .headers()
        .get(CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// The head of an answer as bytes, with what every answer carries.
pub fn head(status: StatusCode, headers: &HeaderMap, idle_secs: u64, close: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in headers {
        if *name != CONNECTION {
            line(&mut out, name.as_str(), value.as_bytes());
        }
    }
    if !headers.contains_key(DATE) {
        line(
            &mut out,
            "Date",
            httpdate::fmt_http_date(SystemTime::now()).as_bytes(),
        );
    }
    if !headers.contains_key(SERVER) {
        line(&mut out, "Server", SERVER_NAME.as_bytes());
    }
    if close {
        line(&mut out, "Connection", b"close");
    } else {
        line(&mut out, "Connection", b"keep-alive");
        line(
            &mut out,
            "Keep-Alive",
            format!("timeout={idle_secs}, max=100").as_bytes(),
        );
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Bytes that are gathered before they are written. Small answers leave in one write with their head.
const GATHER: usize = 64 * 1024;

/// How long a client may take for one piece of a body, of up to some 100 KB, beside the limit for taking nothing at all. It stops
/// those who hold on to an open file by taking a byte now and then.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);

/// Writes an answer of the router, piece by piece as its body gives them.
///
/// # Errors
///
/// The connection's, or that of the body.
pub async fn write<S: Io>(
    app: &App,
    accepted: &mut Accepted<S>,
    response: Response<Body>,
    close: bool,
    headless: bool,
) -> io::Result<()> {
    let (mut parts, mut body) = response.into_parts();
    let idle = app.config().http.keep_alive.as_secs();
    let length = parts.headers.contains_key(CONTENT_LENGTH);
    let exact = body.size_hint().exact();
    let chunked = !length && exact.is_none();
    // These have no body, and a length would be that of the answer to another request (RFC 9110, section 8.6).
    let bodiless = matches!(parts.status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
    match exact {
        Some(exact) if !length && !bodiless => {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(exact));
        }
        Some(_) | None => {}
    }
    if chunked {
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut out = head(parts.status, &parts.headers, idle, close);
    if headless || bodiless {
        return write_all(&mut accepted.io, &out, WRITE_TIMEOUT).await;
    }
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let data = match frame.map_err(io::Error::other)?.into_data() {
            Ok(data) => data,
            Err(_trailers) => continue,
        };
        if data.is_empty() {
            continue;
        }
        if chunked {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        }
        let large = out.is_empty() && data.len() >= GATHER;
        if large {
            write_piece(accepted, &data).await?;
        } else {
            out.extend_from_slice(&data);
        }
        if chunked {
            out.extend_from_slice(b"\r\n");
        }
        if out.len() >= GATHER {
            write_piece(accepted, &out).await?;
            out.clear();
        }
    }
    if chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    write_piece(accepted, &out).await
}

async fn write_piece<S: Io>(accepted: &mut Accepted<S>, bytes: &[u8]) -> io::Result<()> {
    let writing = timeout(PIECE_TIMEOUT, write_all(&mut accepted.io, bytes, WRITE_TIMEOUT));
    let result = writing.await.unwrap_or_else(|_| {
        let text = format!(
            "the peer did not take {} bytes within {PIECE_TIMEOUT:?}",
            bytes.len()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    });
    if let Err(error) = &result
        && error.kind() == io::ErrorKind::TimedOut
    {
        let session = &accepted.registration.sock.identifier;
        warn!(%session, %error, "the client does not read its answer");
    }
    result
}
