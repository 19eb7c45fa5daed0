//! The control plane: one engine that owns the state of every stream and decides when it opens and closes.
//!
//! Pure. Facts go in as [`Event`]s with the time at which they happened, decisions come out as [`Command`]s, and one
//! deadline says when to call again. The engine never awaits, reads no clock, knows no JSON, no socket and no hub handle.
//!
//! **Drain rule:** after every [`Engine::handle`], take [`Engine::poll_command`] until it is empty, in order; then wait for
//! the next event or for [`Engine::deadline`], whichever comes first, and hand the latter in as [`Event::Tick`].
//!
//! - [`access`]: who asks for what.
//! - [`hook`]: questions to and news for the web hook service.
//! - [`op`]: what operators ask for, and what they are told.
//! - [`event`], [`command`]: the two sides of the engine.
//! - [`settings`]: the policy in force.
//! - [`timeline`]: what happened to a stream, and why.
//! - [`engine`]: the rules.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod access;
pub mod backoff;
pub mod command;
pub mod engine;
pub mod event;
pub mod hook;
pub mod op;
pub mod settings;
pub mod timeline;
mod timers;

pub use access::{Access, Client, Protocol, SessionId};
pub use command::{Command, PlayGrant, PublishGrant, Refusal, Verdict};
pub use engine::Engine;
pub use event::{Event, SessionEnd};
pub use hook::{Ask, Notice, Outcome, Ticket};
pub use op::{JobId, Op, OpError, OpId, OpReply};
pub use settings::Settings;
