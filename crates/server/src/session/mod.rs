//! One connection, one task: the only code that holds its socket.

pub mod http;
pub mod ingest;
pub mod rtmp;

use std::os::fd::RawFd;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes, plain or over TLS.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// A connection that was accepted.
pub struct Accepted<S> {
    /// Its bytes.
    pub io: S,
    /// Its entry in the registry.
    pub registration: crate::sessions::Registration,
    /// Whether TLS is spoken on it.
    pub tls: bool,
}

/// The descriptor of a socket, for the id that operators see.
pub fn descriptor(socket: &tokio::net::TcpStream) -> RawFd {
    std::os::fd::AsRawFd::as_raw_fd(socket)
}
