//! Just enough HTTP/1.1 for tests: one request at a time, bodies with a `Content-Length`, `chunked`, or up to the end.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Head and body together; far above anything the server sends in a test, and a stop for a runaway one.
const MAX_MESSAGE: usize = 16 << 20;
/// More header fields than any of our peers sends.
const MAX_HEADERS: usize = 64;

/// Header fields in the order and spelling in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first field of that name, in any letter case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What came back for a request.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// The body, with any transfer coding undone.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            format!(
                "status {} with a body that is not JSON: {}",
                self.status,
                self.text()
            )
        })
    }

    /// The body as text, with anything that is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request on a connection of its own and reads the whole answer.
///
/// `target` is path and query as they go on the wire; `headers` come in addition to `Host`, `Connection: close` and,
/// with a body, `Content-Length`.
pub async fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    deadline: Duration,
) -> Result<Response> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    head.push_str("\r\n");

    let exchange = async {
        let mut stream = TcpStream::connect(to).await.context("connect")?;
        stream.write_all(head.as_bytes()).await.context("send head")?;
        stream.write_all(body).await.context("send body")?;
        read_response(&mut stream, method).await
    };
    timeout(deadline, exchange)
        .await
        .unwrap_or_else(|_| bail!("no whole answer within {deadline:?}"))
        .with_context(|| format!("{method} http://{to}{target}"))
}

/// `name=value` pairs joined to a query or form body, with everything but unreserved characters escaped (RFC 3986,
/// section 2.3).
pub fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
    };
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    pairs.join("&")
}

async fn read_response(stream: &mut TcpStream, method: &str) -> Result<Response> {
    let mut buffer = Vec::new();
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut fields);
        if let httparse::Status::Complete(length) = parsed.parse(&buffer).context("answer's head")? {
            let status = parsed.code.context("answer without a status")?;
            let headers = collect(parsed.headers);
            buffer.drain(..length);
            let body = if method == "HEAD" || status == 204 || status == 304 {
                Vec::new()
            } else {
                read_body(stream, &mut buffer, &headers, true).await?
            };
            return Ok(Response {
                status,
                headers,
                body,
            });
        }
        if read_more(stream, &mut buffer).await? == 0 {
            bail!(
                "connection closed before the end of the answer's head, after {} bytes",
                buffer.len()
            );
        }
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct RawRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Reads the next request of a connection; `None` when the peer has closed it in between. `buffer` keeps what was read
/// beyond the request.
pub(crate) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Option<RawRequest>> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut fields);
        if let httparse::Status::Complete(length) = parsed.parse(buffer).context("request's head")? {
            let method = parsed.method.context("request without a method")?.to_owned();
            let target = parsed.path.context("request without a target")?.to_owned();
            let headers = collect(parsed.headers);
            buffer.drain(..length);
            let body = read_body(stream, buffer, &headers, false).await?;
            return Ok(Some(RawRequest {
                method,
                target,
                headers,
                body,
            }));
        }
        if read_more(stream, buffer).await? == 0 {
            if buffer.is_empty() {
                return Ok(None);
            }
            bail!(
                "connection closed inside a request's head, after {} bytes",
                buffer.len()
            );
        }
    }
}

/// Reads a body by the rules of RFC 9112, section 6.3; one without a length ends with the connection if `until_end`, else
/// is empty.
async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    headers: &Headers,
    until_end: bool,
) -> Result<Vec<u8>> {
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        return read_chunks(stream, buffer).await;
    }
    let Some(length) = headers.get("content-length") else {
        while until_end && read_more(stream, buffer).await? > 0 {}
        return Ok(if until_end {
            std::mem::take(buffer)
        } else {
            Vec::new()
        });
    };
    let length: usize = length
        .trim()
        .parse()
        .with_context(|| format!("Content-Length {length:?}"))?;
    take(stream, buffer, length).await
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(buffer) {
            Ok(httparse::Status::Complete((used, size))) => {
                buffer.drain(..used);
                let size = usize::try_from(size).context("chunk size")?;
                body.extend(take(stream, buffer, size).await?);
                // The line end behind each chunk; behind the last one, the end of an empty trailer section.
                take(stream, buffer, 2).await?;
                if size == 0 {
                    return Ok(body);
                }
            }
            Ok(httparse::Status::Partial) => {
                if read_more(stream, buffer).await? == 0 {
                    bail!(
                        "connection closed inside a chunked body, after {} bytes",
                        body.len()
                    );
                }
            }
            Err(error) => bail!("bad chunk size after {} bytes of body: {error}", body.len()),
        }
    }
}

async fn take(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    if length > MAX_MESSAGE {
        bail!("{length} bytes announced, at most {MAX_MESSAGE} allowed");
    }
    while buffer.len() < length {
        if read_more(stream, buffer).await? == 0 {
            bail!("connection closed after {} of {length} bytes", buffer.len());
        }
    }
    Ok(buffer.drain(..length).collect())
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<usize> {
    if buffer.len() > MAX_MESSAGE {
        bail!("more than {MAX_MESSAGE} bytes");
    }
    Ok(stream.read_buf(buffer).await?)
}

fn collect(fields: &[httparse::Header<'_>]) -> Headers {
    Headers(
        fields
            .iter()
            .map(|field| {
                (
                    field.name.to_owned(),
                    String::from_utf8_lossy(field.value).into_owned(),
                )
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_that_arrive_together_are_read_one_by_one() {
        let mut input: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST /b HTTP/1.1\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n";
        let mut buffer = Vec::new();
        let first = read_request(&mut input, &mut buffer).await.unwrap().unwrap();
        assert_eq!(
            (first.target.as_str(), first.body.as_slice()),
            ("/a", &b"abc"[..])
        );
        let second = read_request(&mut input, &mut buffer).await.unwrap().unwrap();
        assert_eq!(
            (second.target.as_str(), second.body.as_slice()),
            ("/b", &b"xyz"[..])
        );
        assert!(read_request(&mut input, &mut buffer).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_request_cut_short_is_an_error() {
        let mut buffer = Vec::new();
        let mut input: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc";
        let error = read_request(&mut input, &mut buffer).await.unwrap_err();
        assert_eq!(error.to_string(), "connection closed after 3 of 9 bytes");
    }

    #[test]
    fn forms_escape_what_would_be_misread() {
        assert_eq!(
            form(&[("url", "rtmp://a/b?c=1&d"), ("x", "é")]),
            "url=rtmp%3A%2F%2Fa%2Fb%3Fc%3D1%26d&x=%C3%A9"
        );
    }
}
