//! Both ends of a connection, without a socket.

mod client;
mod server;
