//! What a receiver said, and how long it took.

use crate::failure::{Class, Failure, NetworkCode};
use crate::reply::CACHE_SECONDS;
use bytes::{Bytes, BytesMut};
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, Version};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Largest answer. Real ones have some hundred bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Largest head of an answer.
pub const MAX_HEAD: usize = 16 * 1024;

/// How much of the body is kept when the status is not 200.
pub const MAX_ERROR_BODY: usize = 4 * 1024;

/// How long such a body is waited for: it is for the operator to read, and the status has decided already.
pub const ERROR_BODY_WAIT: Duration = Duration::from_millis(500);

/// Longest time read from `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Header `Retry-After`, from now; at most a day.
    pub retry_after: Option<Duration>,
    /// Header `Tidegate-Cache-Seconds`: how long a verdict may be served without asking; zero is not at all.
    pub consent: Duration,
    /// The body; if the status is not 200, what came of its first [`MAX_ERROR_BODY`] bytes within [`ERROR_BODY_WAIT`].
    pub body: Bytes,
}

/// How an exchange went, as far as it got: readable also when its future was dropped.
#[derive(Clone, Debug)]
pub struct Timing {
    started: Instant,
    /// Resolving the name and connecting by TCP; none on a connection that was there already. Calls that waited for one
    /// connection all show what it took.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From the start to the head of the answer.
    pub first_byte: Option<Duration>,
    /// From the start to the end, if it has ended ([`Timing::end`]).
    pub total: Option<Duration>,
    /// The connection had been made for another call.
    pub reused: bool,
    /// HTTP version of the connection.
    pub version: Option<Version>,
}

impl Timing {
    /// Begins now.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            connect: None,
            tls: None,
            first_byte: None,
            total: None,
            reused: false,
            version: None,
        }
    }

    /// Ends now.
    pub fn end(&mut self) {
        self.total = Some(self.started.elapsed());
    }

    pub(super) fn head_arrived(&mut self) {
        self.first_byte = Some(self.started.elapsed());
    }
}

/// An answer that is being read.
pub(super) struct Reading {
    status: u16,
    retry_after: Option<Duration>,
    consent: Duration,
    body: BytesMut,
}

impl Reading {
    pub(super) fn new(status: u16, headers: &HeaderMap) -> Self {
        Self {
            status,
            retry_after: retry_after(headers, SystemTime::now()),
            consent: consent(headers),
            body: BytesMut::new(),
        }
    }

    /// Whether the body decides anything.
    pub(super) fn body_counts(&self) -> bool {
        self.status == 200
    }

    /// Refuses a body whose length was announced and is too large.
    pub(super) fn announced(&self, len: u64) -> Result<(), Failure> {
        if self.body_counts() && len > MAX_BODY as u64 {
            return Err(too_large(format!(
                "the answer has {len} bytes, allowed are {MAX_BODY}"
            )));
        }
        Ok(())
    }

    /// Takes a piece of the body; false if no more is wanted.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<bool, Failure> {
        if self.body_counts() {
            if self.body.len() + data.len() > MAX_BODY {
                return Err(too_large(format!("the answer has more than {MAX_BODY} bytes")));
            }
            self.body.extend_from_slice(data);
            return Ok(true);
        }
        let room = MAX_ERROR_BODY - self.body.len();
        self.body.extend_from_slice(&data[..data.len().min(room)]);
        Ok(data.len() <= room)
    }

    pub(super) fn finish(self) -> Reply {
        Reply {
            status: self.status,
            retry_after: self.retry_after,
            consent: self.consent,
            body: self.body.freeze(),
        }
    }
}

pub(super) fn too_large(detail: String) -> Failure {
    Failure::network(Class::TooLarge, NetworkCode::Other, detail)
}

/// A header that is no whole number consents to nothing.
fn consent(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(CACHE_SECONDS)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// Seconds or a date (RFC 9110, section 10.2.3); anything else is as good as none.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is more than the maximum.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            assert_eq!(
                retry_after(&headers, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_body_that_decides_is_whole_and_another_one_is_cut() {
        let mut whole = Reading::new(200, &HeaderMap::new());
        assert_eq!(whole.announced(MAX_BODY as u64), Ok(()));
        assert!(whole.announced(MAX_BODY as u64 + 1).is_err());
        assert_eq!(whole.push(&vec![b'x'; MAX_BODY]), Ok(true));
        assert!(whole.push(b"x").is_err());
        let mut cut = Reading::new(500, &HeaderMap::new());
        assert_eq!(cut.announced(u64::MAX), Ok(()));
        assert_eq!(cut.push(&vec![b'x'; MAX_ERROR_BODY]), Ok(true));
        assert_eq!(cut.push(b"x"), Ok(false));
        assert_eq!(cut.finish().body.len(), MAX_ERROR_BODY);
    }
}
