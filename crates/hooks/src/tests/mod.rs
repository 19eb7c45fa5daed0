//! The planes against a scripted receiver: in memory with a paused clock where time matters, over loopback where sockets do.

mod admission;
mod decisions;
mod files;
mod network;
mod notifications;
mod outage;
mod rtsp;
mod script;
