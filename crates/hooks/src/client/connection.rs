//! One HTTP/1.1 connection to a receiver, driven by the call that uses it: no task of its own, so dropping the call closes it.

use super::dial::BoxStream;
use crate::failure::{Class, Failure, NetworkCode};
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Largest answer. Real ones have some hundred bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Largest head of an answer.
pub const MAX_HEAD: usize = 16 * 1024;

type Driver = http1::Connection<TokioIo<Watched>, Full<Bytes>>;

/// A connection, in use or idle.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<Driver>>>,
    answered: Arc<AtomicBool>,
    /// When it was last used.
    pub(crate) last_used: Instant,
}

/// The answer of a receiver.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Empty unless the status is 200.
    pub(crate) headers: HeaderMap,
    /// Empty unless the status is 200.
    pub(crate) body: Bytes,
}

/// Why an exchange failed.
pub(crate) struct Fault {
    pub(crate) failure: Failure,
    /// The connection died before any byte of an answer. If it was an old one, the receiver may simply have closed it meanwhile.
    pub(crate) unanswered: bool,
}

impl Connection {
    /// Makes a fresh stream speak HTTP.
    pub(crate) async fn start(stream: BoxStream) -> Result<Self, Failure> {
        let answered = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            stream,
            answered: answered.clone(),
        };
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(watched))
            .await
            .map_err(|error| failure_of(&error))?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
            answered,
            last_used: Instant::now(),
        })
    }

    /// Whether the receiver still keeps an idle connection open, as far as can be known without waiting.
    pub(crate) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.driver.is_some() && !self.sender.is_closed())
        })
        .await
    }

    /// Sends a request and reads the whole answer, unless its status is not 200: then the status is all that matters.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Fault> {
        self.answered.store(false, Ordering::Relaxed);
        let result = self.try_exchange(request).await;
        self.last_used = Instant::now();
        result.map_err(|failure| {
            let died = matches!(failure.class, Class::Reset);
            Fault {
                failure,
                unanswered: died && !self.answered.load(Ordering::Relaxed),
            }
        })
    }

    async fn try_exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let response = {
            let mut sending = pin!(self.sender.send_request(request));
            let driver = &mut self.driver;
            poll_fn(|cx| {
                if let Poll::Ready(done) = sending.as_mut().poll(cx) {
                    return Poll::Ready(done);
                }
                // When the driver ends, it has decided what becomes of the request.
                if drive(driver, cx) {
                    sending.as_mut().poll(cx)
                } else {
                    Poll::Pending
                }
            })
            .await
        };
        let response = response.map_err(|error| failure_of(&error))?;
        let status = response.status().as_u16();
        let (headers, body) = if status == 200 {
            (response.headers().clone(), self.read_body(response).await?)
        } else {
            (HeaderMap::new(), Bytes::new())
        };
        Ok(Reply {
            status,
            headers,
            body,
        })
    }

    async fn read_body(&mut self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let mut body = response.into_body();
        let announced = body.size_hint().lower();
        if announced > MAX_BODY as u64 {
            return Err(too_large(format!(
                "the answer has {announced} bytes, allowed are {MAX_BODY}"
            )));
        }
        let mut whole = BytesMut::new();
        loop {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                if drive(&mut self.driver, cx) {
                    Pin::new(&mut body).poll_frame(cx)
                } else {
                    Poll::Pending
                }
            });
            match frame.await {
                None => return Ok(whole.freeze()),
                Some(Err(error)) => return Err(failure_of(&error)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if whole.len() + data.len() > MAX_BODY {
                        return Err(too_large(format!("the answer has more than {MAX_BODY} bytes")));
                    }
                    whole.extend_from_slice(&data);
                }
            }
        }
    }

    /// Whether another request may follow, after an exchange.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.driver.is_some() && self.sender.is_ready())
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }
}

/// Moves a connection on; true if it has just ended.
fn drive(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) -> bool {
    // How it ended is told to the request, if there is one; an idle connection may end as it likes.
    let ended = driver
        .as_mut()
        .is_some_and(|driver| driver.as_mut().poll(cx).is_ready());
    if ended {
        *driver = None;
    }
    ended
}

fn too_large(detail: String) -> Failure {
    Failure::network(Class::TooLarge, NetworkCode::Other, detail)
}

fn failure_of(error: &hyper::Error) -> Failure {
    // hyper has no other way to tell this one from what is no HTTP at all.
    if error.is_parse() && error.to_string().contains("too large") {
        return too_large(format!(
            "the head of the answer has more than {MAX_HEAD} bytes or too many lines"
        ));
    }
    if error.is_parse() {
        return Failure::network(
            Class::BadHttp,
            NetworkCode::Other,
            format!("the answer is not HTTP: {error}"),
        );
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return io_failure(io);
        }
        source = inner.source();
    }
    if error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || error.is_body_write_aborted()
    {
        return Failure::network(
            Class::Reset,
            NetworkCode::Eof,
            "the connection was closed before a complete answer",
        );
    }
    Failure::network(Class::BadHttp, NetworkCode::Other, error.to_string())
}

fn io_failure(error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::UnexpectedEof => NetworkCode::Eof,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => NetworkCode::Reset,
        io::ErrorKind::BrokenPipe => NetworkCode::Shutdown,
        io::ErrorKind::TimedOut => NetworkCode::Timeout,
        // What the chunk reader of hyper says of a malformed body.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            return Failure::network(Class::BadHttp, NetworkCode::Other, error.to_string());
        }
        _ => NetworkCode::Other,
    };
    Failure::network(Class::Reset, code, format!("the connection broke: {error}"))
}

/// A stream that notes whether anything was read.
struct Watched {
    stream: BoxStream,
    answered: Arc<AtomicBool>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.answered.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
