//! Writing answers.

use super::Accepted;
use crate::app::App;
use crate::egress::write_parts;
use crate::session::Io;
use axum::body::{Body, HttpBody};
use axum::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, SERVER,
    TRANSFER_ENCODING,
};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWrite;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
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

/// Whether the client takes gzip (RFC 9110, section 12.5.3). `*` alone is not enough to be sure.
pub fn accepts_gzip(request: &HeaderMap) -> bool {
    request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight
                .trim()
                .strip_prefix("q=")
                .and_then(|q| q.trim().parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
        })
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
/// The connection's, or that of the body; [`io::ErrorKind::ConnectionAborted`] when the session ends while the client takes nothing.
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
    // These have no body. The router gives them the length of that nothing, but clients would take it for the length of what they
    // have (RFC 9110, section 8.6).
    let bodiless = matches!(parts.status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
    match exact {
        _ if bodiless => {
            parts.headers.remove(CONTENT_LENGTH);
        }
        Some(exact) if !length => {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(exact));
        }
        Some(_) | None => {}
    }
    if chunked && !bodiless {
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let head = head(parts.status, &parts.headers, idle, close);
    let mut gathered = Gathered::new(accepted, head.into());
    if headless || bodiless {
        return gathered.write().await;
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
            gathered.add(format!("{:x}\r\n", data.len()).into());
            gathered.add(data);
            gathered.add(Bytes::from_static(b"\r\n"));
        } else {
            gathered.add(data);
        }
        if gathered.length >= GATHER {
            gathered.write().await?;
        }
    }
    if chunked {
        gathered.add(Bytes::from_static(b"0\r\n\r\n"));
    }
    gathered.write().await
}

/// What is to be written next.
struct Gathered<'a, S> {
    io: &'a mut S,
    session: &'a str,
    stop: &'a CancellationToken,
    parts: Vec<Bytes>,
    length: usize,
}

impl<'a, S: AsyncWrite + Unpin> Gathered<'a, S> {
    fn new(accepted: &'a mut Accepted<S>, head: Bytes) -> Self {
        Self {
            io: &mut accepted.io,
            session: &accepted.registration.sock.identifier,
            stop: &accepted.registration.stop,
            length: head.len(),
            parts: vec![head],
        }
    }

    fn add(&mut self, part: Bytes) {
        self.length += part.len();
        self.parts.push(part);
    }

    async fn write(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.length);
        let parts = std::mem::take(&mut self.parts);
        let writing = timeout(PIECE_TIMEOUT, write_parts(self.io, parts, self.stop));
        let result = writing.await.unwrap_or_else(|_| {
            let text = format!("the peer did not take {length} bytes within {PIECE_TIMEOUT:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        });
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::TimedOut
        {
            let session = self.session;
            warn!(session, %error, "the client does not read its answer");
        }
        result.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::WRITE_TIMEOUT;
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::time::{Instant, sleep};

    async fn write_piece(io: &mut DuplexStream) -> io::Result<()> {
        let mut gathered = Gathered {
            io,
            session: "1-2",
            stop: &CancellationToken::new(),
            parts: Vec::new(),
            length: 0,
        };
        gathered.add(Bytes::from_static(&[7; 1000]));
        gathered.write().await
    }

    /// A byte now and then is not nothing, but it must not keep a file open for ever.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_trickles_is_cut() {
        let (mut ours, mut theirs) = tokio::io::duplex(16);
        let started = Instant::now();
        let reading = async {
            let mut taken = 0;
            while theirs.read(&mut [0; 1]).await.is_ok_and(|count| count > 0) {
                taken += 1;
                sleep(WRITE_TIMEOUT / 2).await;
            }
            taken
        };
        let writing = async {
            let result = write_piece(&mut ours).await;
            drop(ours);
            (result, started.elapsed())
        };
        let ((result, took), taken) = tokio::join!(writing, reading);
        assert_eq!(result.expect_err("cut").kind(), io::ErrorKind::TimedOut);
        assert_eq!(took, PIECE_TIMEOUT);
        assert!(taken < 50, "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_earlier() {
        let (mut ours, _theirs) = tokio::io::duplex(16);
        let started = Instant::now();
        let result = write_piece(&mut ours).await;
        assert_eq!(result.expect_err("cut").kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), WRITE_TIMEOUT);
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let accepts = |value| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            accepts_gzip(&headers)
        };
        for yes in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.8"] {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "identity, gzip; q=0.0", "x-gzipped", "*"] {
            assert!(!accepts(no), "{no}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
