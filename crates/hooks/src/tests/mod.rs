//! The planes against a scripted receiver: in memory with a paused clock where time matters, over loopback where sockets do.

mod addresses;
mod admission;
mod decisions;
mod endpoints;
mod files;
mod http2;
mod loopback;
mod network;
mod notifications;
mod operations;
mod outage;
mod rtsp;
mod script;
mod tls;
