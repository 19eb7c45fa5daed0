//! HTTP Live Streaming (RFC 8216bis), both ends. Pure: no socket, clock, file or task.

pub mod client;
