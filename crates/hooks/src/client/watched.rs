//! A connection's bytes, and what was seen of them.

use super::dial::BoxStream;
use super::tls::Peer;
use crate::failure::Failure;
use crate::metrics::Open;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was seen on a connection. Cloning shares it.
#[derive(Clone)]
pub(super) struct Seen {
    peer: Option<Peer>,
    read: Arc<AtomicU64>,
    /// TLS itself failed. HTTP libraries pass on no more than its text.
    tls_failure: Arc<Mutex<Option<Failure>>>,
}

impl Seen {
    /// Bytes that came so far.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The same failure, better explained.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        let Some(peer) = &self.peer else { return failure };
        let tls = self.tls_failure.lock().clone();
        tls.unwrap_or_else(|| peer.died(failure))
    }
}

/// A stream that is watched, and counted while it is there.
pub(super) struct Watched {
    stream: BoxStream,
    seen: Seen,
    _open: Open,
}

impl Watched {
    pub(super) fn new(stream: BoxStream, peer: Option<Peer>, open: Open) -> (Self, Seen) {
        let seen = Seen {
            peer,
            read: Arc::default(),
            tls_failure: Arc::default(),
        };
        let watched = Self {
            stream,
            seen: seen.clone(),
            _open: open,
        };
        (watched, seen)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.seen.read.fetch_add(read as u64, Ordering::Relaxed);
        if let (Poll::Ready(Err(error)), Some(peer)) = (&result, &self.seen.peer)
            && let Some(failure) = peer.failed(error)
        {
            *self.seen.tls_failure.lock() = Some(failure);
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
