//! The server's end of a connection.

mod event;
mod granted;
mod request;
mod session;
mod verdict;

pub use event::{Event, Output, SetupRequest, TimeoutReason, Ways};
pub use request::{Allowed, Refusal, Request};
pub use session::{Config, ServerSession};
pub use verdict::{Description, PlayAnswer, SetupAnswer, SetupRefused, TrackStart};
