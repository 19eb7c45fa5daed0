//! One HTTP/2 connection to a receiver, shared by the calls that use it.
//!
//! There is no task of its own: whoever waits for an answer drives the connection for all, under a small lock. The connection
//! wakes only the call that has waited longest, the leader, and each call is woken by its own answer; when the leader leaves, it
//! wakes the next one. So an event costs one wake-up however many calls wait, and none of them depends on another one's fate.
//! That a call is polled when it was woken is what it needs, and what tasks and joins do.
//!
//! While nobody waits, the connection is not read; [`Multiplexed::is_open`] catches up before it is used again.

use super::answer::{ERROR_BODY_WAIT, MAX_BODY, MAX_HEAD, Reading, Reply, Timing};
use super::connection::{Fault, io_failure};
use super::dial::BoxStream;
use super::tls::Peer;
use super::watched::{Seen, Watched};
use crate::failure::{Class, Failure, NetworkCode};
use crate::metrics::Open;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{Request, Uri, Version};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::time::{Instant, timeout};

/// Bytes of answers on their way together, beyond which the receiver must wait.
const WINDOW: u32 = 1024 * 1024;

type Driver = client::Connection<Watched, Bytes>;

/// A connection.
pub(crate) struct Multiplexed {
    sender: SendRequest<Bytes>,
    /// `None` once it has ended.
    driver: Mutex<Option<Driver>>,
    waiting: Arc<Waiting>,
    /// No more calls: it seems dead.
    retired: AtomicBool,
    last_used: Mutex<Instant>,
    seen: Seen,
}

impl Multiplexed {
    /// Makes a fresh stream speak HTTP/2.
    pub(crate) async fn start(stream: BoxStream, peer: Option<Peer>, open: Open) -> Result<Self, Failure> {
        let (watched, seen) = Watched::new(stream, peer, open);
        let handshake = client::Builder::new()
            .enable_push(false)
            .max_header_list_size(MAX_HEAD as u32)
            .initial_window_size(MAX_BODY as u32)
            .initial_connection_window_size(WINDOW)
            // How many streams the receiver allows is in its first frame. Until it has come, one call is on its way.
            .initial_max_send_streams(1)
            .handshake(watched);
        let (sender, driver) = handshake
            .await
            .map_err(|error| seen.explain(fault_of(&error, true).failure))?;
        Ok(Self {
            sender,
            driver: Mutex::new(Some(driver)),
            waiting: Arc::default(),
            retired: AtomicBool::new(false),
            last_used: Mutex::new(Instant::now()),
            seen,
        })
    }

    /// Whether another call may use it, as far as can be known without waiting.
    pub(crate) fn is_open(&self) -> bool {
        self.drive();
        let open = || {
            let mut cx = Context::from_waker(Waker::noop());
            // Not ready only while an earlier call of the same handle waits, and this one has none.
            !matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
        };
        let closed = self.retired.load(Ordering::Acquire) || self.waiting.is_closed();
        !closed && self.driver.lock().is_some() && open()
    }

    /// When it was last used; none while it is in use.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.waiting.is_empty().then(|| *self.last_used.lock())
    }

    /// A place for one more call, unless the connection is closed.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Call> {
        Some(Call {
            id: self.waiting.enter()?,
            before: self.seen.read(),
            finished: false,
            connection: self.clone(),
        })
    }

    async fn try_exchange(
        &self,
        id: u64,
        request: Request<Bytes>,
        timing: &mut Timing,
    ) -> Result<Reply, Fault> {
        let (request, body) = in_http2(request);
        let mut sender = self.sender.clone();
        self.until(id, |cx| sender.poll_ready(cx))
            .await
            .map_err(|error| fault_of(&error, true))?;
        let (mut response, mut stream) = sender
            .send_request(request, body.is_empty())
            .map_err(|error| fault_of(&error, true))?;
        if !body.is_empty() {
            // Kept until the receiver's window lets it out, and it is small. If another call sent the head meanwhile, the receiver
            // may have answered or reset the request already; the answer tells which.
            let _ = stream.send_data(body, true);
        }
        let response = self
            .until(id, |cx| Pin::new(&mut response).poll(cx))
            .await
            .map_err(|error| fault_of(&error, true))?;
        timing.head_arrived();
        let mut reading = Reading::new(response.status().as_u16(), response.headers());
        if let Some(len) = content_length(&response) {
            reading.announced(len).map_err(answered)?;
        }
        let body = response.into_body();
        if reading.body_counts() {
            self.read_body(id, body, &mut reading).await?;
        } else {
            // However it ends: the status has decided.
            let _ = timeout(ERROR_BODY_WAIT, self.read_body(id, body, &mut reading)).await;
        }
        Ok(reading.finish())
    }

    async fn read_body(&self, id: u64, mut body: RecvStream, reading: &mut Reading) -> Result<(), Fault> {
        while let Some(data) = self.until(id, |cx| body.poll_data(cx)).await {
            let data = data.map_err(|error| fault_of(&error, false))?;
            // A body within the limit fits into the window of its stream; the connection's is for all of them.
            let _ = body.flow_control().release_capacity(data.len());
            if !reading.push(&data).map_err(answered)? {
                break;
            }
        }
        Ok(())
    }

    /// Waits for something, driving the connection.
    async fn until<T>(&self, id: u64, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        poll_fn(|cx| {
            // First, so that an event during the next two lines wakes somebody.
            self.waiting.wait(id, cx.waker());
            self.drive();
            poll(cx)
        })
        .await
    }

    /// Moves the connection on. It wakes the leader when it can move again.
    fn drive(&self) {
        let waker = Waker::from(self.waiting.clone());
        let mut cx = Context::from_waker(&waker);
        let mut driver = self.driver.lock();
        let ended = driver
            .as_mut()
            .is_some_and(|connection| Pin::new(connection).poll(&mut cx).is_ready());
        if ended {
            // How it ended is told to the calls; an idle connection may end as it likes.
            *driver = None;
        }
    }
}

/// The calls that wait.
#[derive(Default)]
struct Waiting(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    next: u64,
    /// In the order in which they came: the first one is the leader.
    by_number: BTreeMap<u64, Option<Waker>>,
    /// No more calls.
    closed: bool,
}

impl Waiting {
    fn enter(&self) -> Option<u64> {
        let mut calls = self.0.lock();
        if calls.closed {
            return None;
        }
        let id = calls.next;
        calls.next += 1;
        calls.by_number.insert(id, None);
        Some(id)
    }

    fn wait(&self, id: u64, waker: &Waker) {
        let mut calls = self.0.lock();
        let place = calls.by_number.entry(id).or_default();
        let old = match place {
            Some(known) if known.will_wake(waker) => None,
            _ => place.replace(waker.clone()),
        };
        drop(calls);
        // Dropping a waker may run code of others, so not under the lock.
        drop(old);
    }

    /// Ends a call; `last_closes`: if it was the only one, no other can begin. Returns how many are left. Whoever leads now is
    /// woken: the one that led may have been woken for an event and not have come to it.
    fn leave(&self, id: u64, last_closes: bool) -> usize {
        let mut calls = self.0.lock();
        let old = calls.by_number.remove(&id);
        let left = calls.by_number.len();
        calls.closed |= last_closes && left == 0;
        drop(calls);
        drop(old);
        self.wake_leader();
        left
    }

    fn wake_leader(&self) {
        let leader = self.0.lock().by_number.values().next().cloned().flatten();
        if let Some(leader) = leader {
            leader.wake();
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().by_number.is_empty()
    }

    fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_leader();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_leader();
    }
}

/// A call on a connection. Dropping it cancels it.
pub(crate) struct Call {
    connection: Arc<Multiplexed>,
    id: u64,
    /// Bytes read before.
    before: u64,
    finished: bool,
}

impl Call {
    /// Sends a request and reads the answer.
    pub(crate) async fn exchange(
        mut self,
        request: Request<Bytes>,
        timing: &mut Timing,
    ) -> Result<Reply, Fault> {
        let connection = &self.connection;
        let result = connection.try_exchange(self.id, request, timing).await;
        // What the end of the answer made necessary, such as its cancellation.
        connection.drive();
        *connection.last_used.lock() = Instant::now();
        let result = result.map_err(|fault| Fault {
            failure: connection.seen.explain(fault.failure),
            ..fault
        });
        self.finished = true;
        result
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let connection = &self.connection;
        let left = connection.waiting.leave(self.id, !self.finished);
        if self.finished {
            return;
        }
        // Cancelled, most often for taking too long. Alone on the connection, it closes it, as with HTTP/1.1, because nobody is
        // there to tell the receiver. Otherwise the others do that; but if nothing at all came since it began, the way may be
        // dead, and nobody new shall find out by waiting.
        if left == 0 {
            *connection.driver.lock() = None;
        } else if connection.seen.read() == self.before {
            connection.retired.store(true, Ordering::Release);
        }
    }
}

/// The request as HTTP/2 wants it (RFC 9113, section 8.3.1): the host is part of the URI, and the connection is not spoken of.
fn in_http2(request: Request<Bytes>) -> (Request<()>, Bytes) {
    let (mut head, body) = request.into_parts();
    let mut uri = Uri::builder().scheme("https");
    if let Some(path) = head.uri.path_and_query() {
        uri = uri.path_and_query(path.clone());
    }
    if let Some(host) = head.headers.remove(HOST) {
        uri = uri.authority(host.as_bytes());
    }
    // The host was checked to be a name or an address when the URL was read; if it is nothing to this parser, the request is
    // refused by the library.
    head.uri = uri.build().unwrap_or_default();
    head.headers.remove(CONNECTION);
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.version = Version::HTTP_2;
    (Request::from_parts(head, ()), body)
}

fn content_length(response: &hyper::Response<RecvStream>) -> Option<u64> {
    response
        .headers()
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn answered(failure: Failure) -> Fault {
    Fault {
        failure,
        unanswered: false,
        unprocessed: false,
    }
}

/// What an error means; `unanswered` if no part of the answer has come.
fn fault_of(error: &h2::Error, unanswered: bool) -> Fault {
    let broken = |code, detail: String| Failure::network(Class::Reset, code, detail);
    let bad = |detail: String| Failure::network(Class::BadHttp, NetworkCode::Other, detail);
    if let Some(io) = error.get_io() {
        let failure = io_failure(io);
        let died = failure.class == Class::Reset;
        return Fault {
            failure,
            unanswered: unanswered && died,
            unprocessed: false,
        };
    }
    let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
    let from_receiver = error.is_remote();
    let failure = if from_receiver && error.is_go_away() {
        broken(
            NetworkCode::Eof,
            format!("the receiver closes the connection ({reason:?}) and does not take the request"),
        )
    } else if from_receiver {
        broken(
            NetworkCode::Reset,
            format!("the receiver reset the request ({reason:?})"),
        )
    } else if unanswered && error.is_reset() && reason == Reason::PROTOCOL_ERROR {
        super::answer::too_large(format!(
            "the head of the answer has more than {MAX_HEAD} bytes, or is malformed"
        ))
    } else {
        bad(format!("the answer is not HTTP/2: {error}"))
    };
    // After GOAWAY, errors concern streams beyond the last one that the receiver takes (RFC 9113, sections 6.8 and 8.7).
    let unprocessed = unanswered && from_receiver && (error.is_go_away() || reason == Reason::REFUSED_STREAM);
    Fault {
        failure,
        unanswered: false,
        unprocessed,
    }
}
