//! RTSP inside HTTP: the connection of a GET carries our bytes, those of POSTs carry the client's, in base64.

use crate::session::Io;
use crate::sessions::Registration;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use rtsp::tunnel::Decoder;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Tunnels that wait for their other half, or run. A cookie is a name that the client chose.
#[derive(Debug, Default)]
pub struct Tunnels(Mutex<HashMap<String, mpsc::Sender<Half>>>);

/// POSTs of one tunnel that have not been read from yet. A client has one at a time.
const MAX_HALVES: usize = 4;

/// Bytes that are read from a POST at once.
const READ: usize = 4 * 1024;

/// The connection of a POST.
pub struct Half {
    /// Its bytes.
    pub io: Box<dyn Io>,
    /// What came after its head.
    pub read: BytesMut,
    /// Keeps it listed while it is used.
    pub registration: Registration,
}

impl std::fmt::Debug for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Half")
    }
}

impl Tunnels {
    /// Opens a tunnel over the connection of a GET. `None` if the cookie is taken.
    pub fn open(self: &Arc<Self>, cookie: &str, io: Box<dyn Io>) -> Option<Tunnel> {
        let (sender, posts) = mpsc::channel(MAX_HALVES);
        let mut tunnels = self.0.lock();
        if tunnels.contains_key(cookie) {
            return None;
        }
        tunnels.insert(cookie.to_owned(), sender);
        Some(Tunnel {
            io,
            posts,
            post: None,
            decoder: Decoder::new(),
            decoded: BytesMut::new(),
            name: Name {
                tunnels: self.clone(),
                cookie: cookie.to_owned(),
            },
        })
    }

    /// Gives the connection of a POST to its tunnel; gives it back if there is none, or if it has too many already.
    pub fn join(&self, cookie: &str, half: Half) -> Result<(), Box<Half>> {
        let Some(sender) = self.0.lock().get(cookie).cloned() else {
            return Err(Box::new(half));
        };
        sender.try_send(half).map_err(|error| match error {
            TrySendError::Full(half) | TrySendError::Closed(half) => Box::new(half),
        })
    }
}

/// The entry of a tunnel, until dropped.
struct Name {
    tunnels: Arc<Tunnels>,
    cookie: String,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.tunnels.0.lock().remove(&self.cookie);
    }
}

/// Both halves as one connection.
pub struct Tunnel {
    io: Box<dyn Io>,
    posts: mpsc::Receiver<Half>,
    post: Option<Half>,
    decoder: Decoder,
    decoded: BytesMut,
    #[expect(dead_code, reason = "held for its end")]
    name: Name,
}

impl Io for Tunnel {}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.decoded.is_empty() {
                let count = this.decoded.len().min(out.remaining());
                out.put_slice(&this.decoded[..count]);
                this.decoded.advance(count);
                return Poll::Ready(Ok(()));
            }
            // The GET says nothing more, but its end is the end of the tunnel.
            if poll_gone(&mut this.io, context)? {
                return Poll::Ready(Ok(()));
            }
            let Some(post) = &mut this.post else {
                this.post = ready!(this.posts.poll_recv(context));
                if this.post.is_none() {
                    return Poll::Ready(Ok(()));
                }
                this.decoder = Decoder::new();
                continue;
            };
            if post.read.is_empty() {
                let mut block = [0; READ];
                let mut read = ReadBuf::new(&mut block);
                match ready!(Pin::new(&mut post.io).poll_read(context, &mut read)) {
                    Ok(()) if !read.filled().is_empty() => post.read.extend_from_slice(read.filled()),
                    // Some clients use a new POST for each request.
                    Ok(()) | Err(_) => {
                        this.post = None;
                        continue;
                    }
                }
            }
            let bytes = post.read.split();
            this.decoder
                .push(&bytes, &mut this.decoded)
                .map_err(io::Error::other)?;
        }
    }
}

/// Whether the peer has closed its side. What it says is read away, at most a little at a time.
fn poll_gone(io: &mut Box<dyn Io>, context: &mut Context<'_>) -> io::Result<bool> {
    let mut probe = [0; 256];
    let mut read = ReadBuf::new(&mut probe);
    while Pin::new(&mut *io).poll_read(context, &mut read)?.is_ready() {
        if read.filled().is_empty() {
            return Ok(true);
        }
        read.clear();
    }
    Ok(false)
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
