//! One connection, one task: the only code that holds its socket.

pub mod http;
pub mod ingest;
pub mod rtmp;
pub mod rtsp;

use bytes::BytesMut;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{client, server};

/// A connection's bytes, plain or over TLS.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket, if what is written to it is what the peer gets.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Io for TcpStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Io for server::TlsStream<TcpStream> {}

impl Io for client::TlsStream<TcpStream> {}

impl Io for Box<dyn Io> {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        (**self).socket()
    }
}

/// Size of the blocks that media are read into. Frames are slices of them, so a block lives as long as its last frame is
/// cached.
pub const MEDIA_BLOCK: usize = 64 * 1024;

/// Size of the blocks that players' messages are read into: a handshake, then a word now and then.
pub const TALK_BLOCK: usize = 4 * 1024;

/// Size of the blocks that a player's words are read into while it plays: acknowledgements, reports, a goodbye. There may be thousands.
pub const WORD_BLOCK: usize = 512;

/// Gives back what a buffer has beyond what is in it.
pub fn shrink(buffer: &mut BytesMut) {
    *buffer = BytesMut::from(&buffer[..]);
}

/// Makes room for the next read. A new block is begun only when little of the present one is free: a fresh block for every
/// read would be pinned whole by one small frame.
pub fn make_room(buffer: &mut BytesMut, block: usize) {
    if buffer.capacity() - buffer.len() < block / 8 {
        buffer.reserve(block);
    }
}

/// A connection that was accepted.
pub struct Accepted<S> {
    /// Its bytes.
    pub io: S,
    /// Its entry in the registry.
    pub registration: crate::sessions::Registration,
    /// Whether TLS is spoken on it.
    pub tls: bool,
}

/// How long the peer may take to close after we have. Long enough that what we sent last arrives before a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes that are read away meanwhile.
const MAX_LINGER: usize = 16 << 20;

/// Lets the peer read what was sent last: closes our side and waits until it closes its own, for a short time.
pub async fn linger<S: Io>(io: &mut S) {
    let _ = timeout(LINGER, async {
        let _ = io.shutdown().await;
        let mut buffer = vec![0; TALK_BLOCK];
        let mut heard = 0;
        while heard < MAX_LINGER
            && let Ok(count @ 1..) = io.read(&mut buffer).await
        {
            heard += count;
        }
    })
    .await;
}

/// The descriptor of a socket, for the id that operators see.
pub fn descriptor(socket: &TcpStream) -> RawFd {
    std::os::fd::AsRawFd::as_raw_fd(socket)
}
