//! The engine seen from outside: scripts of time, event and expected commands for each rule, and random sequences of events
//! against a small model.

extern crate tidegate_lifecycle as lifecycle;

mod bench;
mod hls;
mod idle;
mod play;
mod publish;
mod random;
mod rtsp;
mod sources;
