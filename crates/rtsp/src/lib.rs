//! RTSP 1.0 (RFC 2326), both sides, without a socket: bytes and `now` go in, bytes and events come out.
//!
//! **Drain rule:** after every input, take `poll_output` until it is empty; then wait for the next input or the deadline.
//!
//! - [`message`]: requests, responses and interleaved data on the wire.
//! - [`transport`]: the `Transport` header.
//! - [`auth`]: Basic and Digest, both sides.
//! - [`url`]: what a URL says about stream, credentials and track.
//! - [`tunnel`]: RTSP inside HTTP.
//! - [`server`], [`client`]: the two ends of a session.

pub mod auth;
pub mod client;
pub mod message;
pub mod server;
pub mod transport;
pub mod tunnel;
pub mod url;
