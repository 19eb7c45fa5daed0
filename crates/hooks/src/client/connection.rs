//! One HTTP/1.1 connection to a receiver, driven by the call that uses it: no task of its own, so dropping the call closes it.

use super::answer::{ERROR_BODY_WAIT, MAX_HEAD, Reading, Reply, Timing, too_large};
use super::dial::BoxStream;
use super::tls::Peer;
use super::watched::{Seen, Watched};
use crate::failure::{Class, Failure, NetworkCode};
use crate::metrics::Open;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::time::{Instant, timeout};

type Driver = http1::Connection<TokioIo<Watched>, Full<Bytes>>;

/// A connection, in use or idle.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<Driver>>>,
    seen: Seen,
    /// When it was last used.
    pub(crate) last_used: Instant,
}

/// Why an exchange failed.
pub(crate) struct Fault {
    pub(crate) failure: Failure,
    /// The connection died before any byte of an answer. If it was an old one, the receiver may simply have closed it meanwhile.
    pub(crate) unanswered: bool,
    /// The receiver says that it has not looked at the request.
    pub(crate) unprocessed: bool,
}

impl Connection {
    /// Makes a fresh stream speak HTTP.
    pub(crate) async fn start(stream: BoxStream, peer: Option<Peer>, open: Open) -> Result<Self, Failure> {
        let (watched, seen) = Watched::new(stream, peer, open);
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(watched))
            .await
            .map_err(|error| seen.explain(failure_of(&error)))?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
            seen,
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

    /// Sends a request and reads the answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Bytes>,
        timing: &mut Timing,
    ) -> Result<Reply, Fault> {
        let before = self.seen.read();
        let result = self.try_exchange(request.map(Full::new), timing).await;
        self.last_used = Instant::now();
        result.map_err(|failure| {
            let failure = self.seen.explain(failure);
            let died = matches!(failure.class, Class::Reset);
            Fault {
                failure,
                unanswered: died && self.seen.read() == before,
                unprocessed: false,
            }
        })
    }

    async fn try_exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        timing: &mut Timing,
    ) -> Result<Reply, Failure> {
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
        timing.head_arrived();
        let mut reading = Reading::new(response.status().as_u16(), response.headers());
        let body = response.into_body();
        if reading.body_counts() {
            self.read_body(body, &mut reading).await?;
        } else {
            // However it ends: the status has decided.
            let _ = timeout(ERROR_BODY_WAIT, self.read_body(body, &mut reading)).await;
        }
        Ok(reading.finish())
    }

    async fn read_body(&mut self, mut body: Incoming, reading: &mut Reading) -> Result<(), Failure> {
        reading.announced(body.size_hint().lower())?;
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
                None => return Ok(()),
                Some(Err(error)) => return Err(failure_of(&error)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if !reading.push(&data)? {
                        return Ok(());
                    }
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

/// A connection that broke.
pub(super) fn io_failure(error: &io::Error) -> Failure {
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
