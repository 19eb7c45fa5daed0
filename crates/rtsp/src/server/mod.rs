//! The server's end of a connection.

mod request;
mod session;

pub use request::{Allowed, Refusal, Request};
pub use session::{
    Config, Description, Event, Output, PlayAnswer, ServerSession, SetupAnswer, SetupRefused, SetupRequest,
    TimeoutReason, TrackStart, Ways,
};
