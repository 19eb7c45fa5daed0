//! Both ends of a connection, without a socket.

mod client;
mod pair;
mod server;
