//! Behaviour of the crate, seen through its public doors.

extern crate tidegate_rtmp as rtmp;

mod captures;
mod chunks;
mod muxer;
mod pair;
mod peer;
mod server;
