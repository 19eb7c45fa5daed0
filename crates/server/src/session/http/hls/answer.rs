//! Answers and their bodies.

use super::super::live::cross_origin;
use super::super::response::{self, accepts_gzip};
use super::target::token_of;
use super::{Exchange, Served};
use crate::egress::write_parts;
use crate::files::conditions::{Part, range};
use crate::hls::disk::Listing;
use crate::hls::viewers::{Token, Viewer};
use crate::session::Io;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    HeaderValue, IF_RANGE, RANGE, RETRY_AFTER, SET_COOKIE, VARY,
};
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use hls::Form;
use hls::playlist::Text;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// The cookie that ZLM knows its viewers by.
pub(super) const COOKIE_NAME: &str = "ZLM_HTTP_COOKIE";

impl<S: Io> Exchange<'_, S> {
    pub(super) async fn send_text(&mut self, viewer: &Viewer, text: &Text) -> io::Result<Served> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, PLAYLIST);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        self.set_cookie(&mut headers, viewer.id.token);
        let body = if accepts_gzip(&self.head.headers) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            text.gzip()
        } else {
            text.plain()
        };
        viewer.add_bytes(body.len() as u64);
        self.answer(StatusCode::OK, headers, vec![body.clone()]).await
    }

    pub(super) async fn send_listing(&mut self, viewer: &Viewer, listing: Listing) -> io::Result<Served> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, PLAYLIST);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.set_cookie(&mut headers, viewer.id.token);
        let whole = 0..listing.length;
        self.send_file(viewer, StatusCode::OK, headers, listing.file, whole)
            .await
    }

    /// A file of a recording, or the part of it that is asked for.
    pub(super) async fn send_recorded(
        &mut self,
        viewer: &Viewer,
        form: Form,
        file: Arc<File>,
        length: u64,
    ) -> io::Result<Served> {
        let mut headers = media_headers(form);
        let (status, wanted) = self.wanted(&mut headers, length);
        self.send_file(viewer, status, headers, file, wanted).await
    }

    /// Writes an answer whose body are these bytes of a file, a piece at a time.
    async fn send_file(
        &mut self,
        viewer: &Viewer,
        status: StatusCode,
        mut headers: HeaderMap,
        file: Arc<File>,
        wanted: Range<u64>,
    ) -> io::Result<Served> {
        cross_origin(self.app, self.head, &mut headers);
        let length = wanted.end.saturating_sub(wanted.start);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let idle = self.app.config().http.keep_alive.as_secs();
        let head = response::head(status, &headers, idle, !self.head.keep_alive);
        let mut parts = vec![Bytes::from(head)];
        let end = if self.head.method == Method::HEAD {
            wanted.start
        } else {
            wanted.end
        };
        let stop = self.accepted.registration.stop.clone();
        let mut offset = wanted.start;
        while offset < end {
            let count = usize::try_from(end - offset).map_or(PIECE, |left| left.min(PIECE));
            let file = file.clone();
            let read = self.app.hls.folders.read(move || {
                let mut piece = vec![0; count];
                file.read_exact_at(&mut piece, offset).map(|()| piece)
            });
            let piece = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Served::Over),
                piece = read => piece?,
            };
            parts.push(piece.into());
            write_parts(&mut self.accepted.io, std::mem::take(&mut parts), &stop).await?;
            viewer.add_bytes(count as u64);
            offset += count as u64;
        }
        write_parts(&mut self.accepted.io, parts, &stop).await?;
        Ok(self.served())
    }

    pub(super) async fn send_media(
        &mut self,
        viewer: &Viewer,
        form: Form,
        pieces: Vec<Bytes>,
    ) -> io::Result<Served> {
        let mut headers = media_headers(form);
        let (status, wanted) = self.wanted(&mut headers, length(&pieces));
        let pieces = cut(pieces, wanted);
        viewer.add_bytes(length(&pieces));
        self.answer(status, headers, pieces).await
    }

    /// Which of `length` bytes are asked for.
    fn wanted(&self, headers: &mut HeaderMap, length: u64) -> (StatusCode, Range<u64>) {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        // Media do not change, and have no validator that If-Range could name.
        let text = self.head.text(RANGE);
        let asks = !text.is_empty() && self.head.text(IF_RANGE).is_empty() && self.head.method == Method::GET;
        let part = if asks { range(text, length) } else { Part::Whole };
        match part {
            Part::Range { first, last } => {
                headers.insert(
                    CONTENT_RANGE,
                    text_value(&format!("bytes {first}-{last}/{length}")),
                );
                (StatusCode::PARTIAL_CONTENT, first..last + 1)
            }
            Part::Unsatisfiable => {
                headers.insert(CONTENT_RANGE, text_value(&format!("bytes */{length}")));
                (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
            }
            Part::Whole | Part::NotModified | Part::Failed => (StatusCode::OK, 0..length),
        }
    }

    pub(super) fn set_cookie(&self, headers: &mut HeaderMap, token: Token) {
        let path = self.head.uri.path();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = folder
            .rsplit_once('/')
            .filter(|(_, last)| token_of(last).is_some())
            .map_or(folder, |(folder, _)| folder);
        let secure = if self.accepted.tls { ";Secure" } else { "" };
        let cookie = format!("{COOKIE_NAME}={token};path={folder}/;HttpOnly;SameSite=Lax{secure}");
        if let Ok(mut value) = HeaderValue::from_str(&cookie) {
            value.set_sensitive(true);
            headers.insert(SET_COOKIE, value);
        }
    }

    pub(super) async fn refuse(&mut self, status: StatusCode, text: String) -> io::Result<Served> {
        let mut response = if status == StatusCode::NOT_FOUND {
            self.app.not_found_page()
        } else {
            response::plain(status, text)
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        cross_origin(self.app, self.head, response.headers_mut());
        let keep = self.head.keep_alive;
        let headless = self.head.method == Method::HEAD;
        response::write(self.app, self.accepted, response, !keep, headless).await?;
        Ok(self.served())
    }

    /// Writes an answer; its body in pieces as they are in memory.
    pub(super) async fn answer(
        &mut self,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Vec<Bytes>,
    ) -> io::Result<Served> {
        cross_origin(self.app, self.head, &mut headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length(&body)));
        let idle = self.app.config().http.keep_alive.as_secs();
        let head = response::head(status, &headers, idle, !self.head.keep_alive);
        let mut parts = vec![Bytes::from(head)];
        if self.head.method != Method::HEAD {
            parts.extend(body);
        }
        let stop = self.accepted.registration.stop.clone();
        write_parts(&mut self.accepted.io, parts, &stop).await?;
        Ok(self.served())
    }

    pub(super) fn served(&self) -> Served {
        if self.head.keep_alive {
            Served::Answered
        } else {
            Served::Over
        }
    }
}

pub(super) const PLAYLIST: HeaderValue =
    HeaderValue::from_static("application/vnd.apple.mpegurl; charset=utf-8");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Bytes of a file that are read at once, and about what a request holds of it.
const PIECE: usize = 64 * 1024;

/// The headers of a segment, a part, or what they need first.
fn media_headers(form: Form) -> HeaderMap {
    let kind = match form {
        Form::Ts => "video/mp2t; charset=utf-8",
        Form::Fmp4 => "video/mp4; charset=utf-8",
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // A name stands for the same bytes as long as the stream lives; another life of the stream may use it anew.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    headers
}

/// Opens a file and looks how long it is. Blocks.
pub(super) fn open(path: &Path) -> io::Result<(Arc<File>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((Arc::new(file), length))
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// These bytes of what the pieces hold together.
fn cut(pieces: Vec<Bytes>, wanted: Range<u64>) -> Vec<Bytes> {
    let mut from = 0;
    let mut kept = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let end = from + piece.len() as u64;
        let (begin, stop) = (wanted.start.max(from), wanted.end.min(end));
        if begin < stop {
            // Both are within the piece, whose length is a usize.
            kept.push(piece.slice((begin - from) as usize..(stop - from) as usize));
        }
        from = end;
    }
    kept
}

/// A header of digits and signs of our own.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_across_pieces() {
        let pieces = || {
            vec![
                Bytes::from_static(b"abc"),
                Bytes::from_static(b""),
                Bytes::from_static(b"defg"),
            ]
        };
        let whole = b"abcdefg";
        for first in 0..whole.len() {
            for last in first..whole.len() {
                let found = cut(pieces(), first as u64..last as u64 + 1).concat();
                assert_eq!(found, &whole[first..=last], "{first}-{last}");
            }
        }
    }
}
