//! As much of HTTP/1.1 as a viewer needs (RFC 9112).

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::viewer::{SILENCE, read};

/// Far above any head that a server sends, bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Largest answer that is held as a whole, bytes: playlists, metrics.
const MAX_ANSWER: u64 = 16 << 20;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// When the connection ends.
    ToTheEnd,
}

/// Asks for a path. The connection stays open for more.
pub async fn request(io: &mut TcpStream, path: &str) -> Result<()> {
    let host = io.peer_addr().context("who answers")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    timeout(SILENCE, io.write_all(request.as_bytes()))
        .await
        .with_context(|| format!("{path} cannot be asked for within {SILENCE:?}"))?
        .with_context(|| format!("ask for {path}"))
}

/// Takes the head of an answer off, when it is complete.
pub fn take_head(buffer: &mut BytesMut) -> Result<Option<Framing>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = buffer.windows(END.len()).position(|window| window == END) else {
        let held = buffer.len();
        ensure!(held <= MAX_HEAD, "{held} bytes and no end of the answer's head");
        return Ok(None);
    };
    let head = buffer.split_to(end + END.len());
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("http/1.").and_then(|rest| rest.get(2..5));
    ensure!(code == Some("200"), "the answer is {status:?}");
    let mut framing = Framing::ToTheEnd;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match (name, value.trim()) {
            ("transfer-encoding", "chunked") => framing = Framing::Chunked,
            ("content-length", value) if framing != Framing::Chunked => {
                framing = Framing::Length(value.parse().with_context(|| format!("a length of {value:?}"))?);
            }
            _ => {}
        }
    }
    Ok(Some(framing))
}

/// Reads the head of an answer; what follows it stays in the buffer.
pub async fn read_head(io: &mut TcpStream, buffer: &mut BytesMut) -> Result<Framing> {
    loop {
        if let Some(framing) = take_head(buffer)? {
            return Ok(framing);
        }
        read(io, buffer).await?;
    }
}

/// The whole body of an answer on a connection that is kept.
pub async fn get(io: &mut TcpStream, buffer: &mut BytesMut, path: &str) -> Result<BytesMut> {
    request(io, path).await?;
    let framing = read_head(io, buffer).await.context(path.to_owned())?;
    let mut body = BytesMut::new();
    let mut chunks = Chunks::default();
    loop {
        match framing {
            Framing::Length(length) => {
                ensure!(
                    length <= MAX_ANSWER,
                    "{path} has {length} bytes, above {MAX_ANSWER}"
                );
                if buffer.len() as u64 >= length {
                    return Ok(buffer.split_to(length as usize));
                }
            }
            Framing::Chunked => {
                if chunks.take(buffer, &mut body)? {
                    return Ok(body);
                }
                let held = body.len() as u64;
                ensure!(held <= MAX_ANSWER, "{path} has more than {MAX_ANSWER} bytes");
            }
            Framing::ToTheEnd => bail!("the answer to {path} has neither a length nor chunks"),
        }
        read(io, buffer).await?;
    }
}

/// Takes a body out of its chunks (section 7.1).
#[derive(Debug, Default)]
pub struct Chunks {
    /// Of the chunk that has begun, bytes that are to come.
    left: usize,
    /// A chunk's data has ended and its line end is to come.
    closing: bool,
}

impl Chunks {
    /// Moves what has come to `body`; `true` at the end.
    pub fn take(&mut self, buffer: &mut BytesMut, body: &mut BytesMut) -> Result<bool> {
        loop {
            if self.left > 0 {
                let count = self.left.min(buffer.len());
                body.extend_from_slice(&buffer[..count]);
                buffer.advance(count);
                self.left -= count;
                if self.left > 0 {
                    return Ok(false);
                }
                self.closing = true;
            }
            let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") else {
                ensure!(buffer.len() <= MAX_HEAD, "a chunk without a size");
                return Ok(false);
            };
            let line = buffer.split_to(end + 2);
            if std::mem::take(&mut self.closing) {
                ensure!(end == 0, "{end} bytes between a chunk and its end");
                continue;
            }
            let text = String::from_utf8_lossy(&line[..end]);
            let size = text.split(';').next().unwrap_or_default().trim();
            self.left =
                usize::from_str_radix(size, 16).with_context(|| format!("a chunk of {size:?} bytes"))?;
            if self.left == 0 {
                // The last line end, if it is there already: on a kept connection the next answer follows.
                self.closing = true;
                if buffer.starts_with(b"\r\n") {
                    buffer.advance(2);
                }
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_goes_and_the_body_stays() {
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\nServer: x\r\n"[..]);
        assert_eq!(take_head(&mut buffer).expect("valid"), None);
        buffer.extend_from_slice(b"\r\nFLV\x01");
        assert_eq!(take_head(&mut buffer).expect("valid"), Some(Framing::ToTheEnd));
        assert_eq!(buffer, &b"FLV\x01"[..]);
    }

    #[test]
    fn framing_is_what_the_head_says() {
        for (head, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
                Framing::Length(12),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n",
                Framing::Chunked,
            ),
            ("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", Framing::ToTheEnd),
        ] {
            assert_eq!(
                take_head(&mut BytesMut::from(head)).expect("valid"),
                Some(expected),
                "{head}"
            );
        }
    }

    #[test]
    fn refusals_are_errors() {
        for head in [
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert!(take_head(&mut BytesMut::from(head)).is_err(), "{head}");
        }
    }

    #[test]
    fn chunks_may_be_cut_anywhere() {
        let text = b"4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\n\r\n";
        for cut in 0..text.len() {
            let (mut chunks, mut body) = (Chunks::default(), BytesMut::new());
            let mut buffer = BytesMut::from(&text[..cut]);
            let mut ended = chunks.take(&mut buffer, &mut body).expect("valid");
            if !ended {
                buffer.extend_from_slice(&text[cut..]);
                ended = chunks.take(&mut buffer, &mut body).expect("valid");
            }
            assert!(ended, "{cut}");
            assert_eq!(body, &b"abcdefg"[..], "{cut}");
        }
        for wrong in ["4\r\nabcdX\r\n", "xyz\r\n"] {
            let taken = Chunks::default().take(&mut BytesMut::from(wrong), &mut BytesMut::new());
            assert!(taken.is_err(), "{wrong}");
        }
    }
}
