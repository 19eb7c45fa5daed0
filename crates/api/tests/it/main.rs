//! The API through its outermost door: requests in, responses out, no socket.

extern crate tidegate_api as api;

mod described;
mod fake;
mod golden;
mod operations;
mod rules;
