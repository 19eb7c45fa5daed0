//! The driver of one HTTP connection.
//!
//! HTTP/1.1 by hand, with `httparse` for the head: a live stream is an endless body that is written to the socket straight
//! from the shared packets, and no HTTP server crate hands out the socket of a plain `200` answer on a connection that served
//! other requests before (a browser's page and its stream share one). What is not a live stream goes to the router.

mod head;
mod hls;
pub mod live;
mod request;
mod response;
pub mod ws;

pub use head::{SentHead, host_of};
pub use response::{SERVER_NAME, accepts_gzip, plain};

use super::{Accepted, Io, linger};
use crate::app::App;
use crate::egress::{WRITE_TIMEOUT, write_all};
use axum::http::{Method, StatusCode};
use bytes::BytesMut;
use head::{Head, HeadError};
use live::{Opened, Viewing};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

/// Largest head of a request: request line and headers.
const MAX_HEAD: usize = 32 * 1024;

/// How long a client may take to send a whole head or body once it began.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves a connection until it ends.
pub async fn serve<S: Io>(app: Arc<App>, mut accepted: Accepted<S>) {
    let id = accepted.registration.sock.identifier.clone();
    // In a box of its own, which is freed when viewing begins: a viewer's task should cost a cursor, not a request.
    let ended = match Box::pin(requests(&app, &mut accepted)).await {
        Ok(Some(viewing)) => live::play(&app, &mut accepted, viewing).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => {
            let _ = timeout(Duration::from_secs(1), accepted.io.shutdown()).await;
        }
        Err(error) => debug!(session = %id, %error, "HTTP connection ended"),
    }
}

/// Serves requests until the connection ends, or becomes a viewer's.
async fn requests<S: Io>(app: &Arc<App>, accepted: &mut Accepted<S>) -> io::Result<Option<Viewing>> {
    let stop = accepted.registration.stop.clone();
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        let idle = app.config().http.keep_alive;
        let head = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            head = read_head(&mut accepted.io, &mut buffer, idle) => head?,
        };
        let head = match head {
            Some(Ok(head)) => head,
            Some(Err(error)) => return refuse(app, accepted, error.status(), error.to_string()).await,
            None => return Ok(None),
        };
        if let Some(target) = live::Target::of(&head) {
            match live::open(app, accepted, &head, target, &mut buffer).await? {
                Opened::Viewing(viewing) => return Ok(Some(viewing)),
                Opened::Refused => continue,
                Opened::Over => return Ok(None),
            }
        }
        let hls = self::hls::Target::of(&head, app.hls.fmp4_suffix(app));
        if let Some(target) = hls {
            match self::hls::serve(app, accepted, &head, target, &mut buffer).await? {
                self::hls::Served::Answered => continue,
                self::hls::Served::Over => return Ok(None),
                self::hls::Served::NotOurs => {}
            }
        }
        if head.is_websocket() {
            // ZLM answers 101 and closes then; a plain refusal tells the client more.
            let text = "no live stream has this URL".to_owned();
            return refuse(app, accepted, StatusCode::NOT_FOUND, text).await;
        }
        let limit = usize::try_from(app.config().http.max_req_size).unwrap_or(usize::MAX);
        if head.expects_continue() && head.body_length().is_none_or(|length| length <= limit as u64) {
            write_all(&mut accepted.io, b"HTTP/1.1 100 Continue\r\n\r\n", WRITE_TIMEOUT).await?;
        }
        let body = request::read_body(&mut accepted.io, &mut buffer, &head, limit);
        let body = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            body = timeout(REQUEST_TIMEOUT, body) => body,
        };
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(request::BodyError::Io(error))) => return Err(error),
            Ok(Err(error)) => return refuse(app, accepted, error.status(), error.to_string()).await,
            Err(_) => {
                let text = "the body did not come in time".to_owned();
                return refuse(app, accepted, StatusCode::REQUEST_TIMEOUT, text).await;
            }
        };
        let headless = head.method == Method::HEAD;
        let keep_alive = head.keep_alive;
        let mut request = request::build(accepted, head, body);
        let gone = Gone::default();
        request.extensions_mut().insert(gone.clone());
        // It is answered to the end even if the client leaves: what an endpoint of the API began is not left half done.
        let mut answered = pin!(app.router().oneshot(request));
        let response = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                response = &mut answered => match response {
                    Ok(response) => break response,
                    Err(never) => match never {},
                },
                () = left(&mut accepted.io, &mut buffer), if !gone.0.is_cancelled() => gone.0.cancel(),
            }
        };
        let close = !keep_alive || stop.is_cancelled() || response::wants_close(&response);
        response::write(app, accepted, response, close, headless).await?;
        if close {
            return Ok(None);
        }
    }
}

/// Tells whoever answers a request that its client left, or at least closed its side of the connection. In the extensions of each request.
#[derive(Clone, Debug, Default)]
pub struct Gone(CancellationToken);

impl Gone {
    /// Ends when the client has left.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// Ends when the client leaves. What it sends meanwhile (the next request of a pipelining client) is kept; beyond a bound the kernel keeps
/// it, and whether the client leaves is not seen.
async fn left<S: Io>(io: &mut S, buffer: &mut BytesMut) {
    while buffer.len() < MAX_HEAD {
        match io.read_buf(buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    std::future::pending().await
}

/// Ends the connection with a refusal of a request that was not read to its end. What the client still sends is read away for a
/// moment: closing with bytes unread would reset the connection, and the client might never see why.
async fn refuse<S: Io>(
    app: &App,
    accepted: &mut Accepted<S>,
    status: StatusCode,
    text: String,
) -> io::Result<Option<Viewing>> {
    response::write(app, accepted, response::plain(status, text), true, false).await?;
    linger(&mut accepted.io).await;
    Ok(None)
}

/// The next head; `None` when the client closed or said nothing for `idle`.
async fn read_head<S: Io>(
    io: &mut S,
    buffer: &mut BytesMut,
    idle: Duration,
) -> io::Result<Option<Result<Head, HeadError>>> {
    let mut patience = if buffer.is_empty() { idle } else { REQUEST_TIMEOUT };
    let mut deadline = tokio::time::Instant::now() + patience;
    loop {
        match Head::parse(buffer) {
            Ok(Some(head)) => return Ok(Some(Ok(head))),
            Ok(None) if buffer.len() >= MAX_HEAD => {
                return Ok(Some(Err(HeadError::TooLarge { limit: MAX_HEAD })));
            }
            Ok(None) => {}
            Err(error) => return Ok(Some(Err(error))),
        }
        let was_empty = buffer.is_empty();
        match tokio::time::timeout_at(deadline, io.read_buf(buffer)).await {
            Err(_) | Ok(Ok(0)) => return Ok(None),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
        if was_empty {
            // The head has begun: from now on it must come, however slowly it is trickled.
            patience = REQUEST_TIMEOUT;
            deadline = tokio::time::Instant::now() + patience;
        }
    }
}
