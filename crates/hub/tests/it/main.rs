//! The hub through its public door, without runtime, clock or socket.

extern crate tidegate_hub as hub;

mod counts;
mod kit;
mod lag;
mod model;
mod play;
mod publish;
mod threads;
