//! The web hook contract, outgoing: ZLM's seventeen hooks as far as there are facts for them (hooks.md).
//!
//! - [`admission`]: questions about clients, and which of them are answered without a call: kept verdicts ([`Hooks::withdraw_verdicts`]), blocked
//!   addresses, standing in for a receiver that is away.
//! - [`decide`]: the decision plane, questions that a publisher, a player or a stream waits for ([`Hooks::ask`]).
//! - [`rtsp`]: authentication of RTSP players, asked by their sessions ([`Hooks::rtsp_realm`], [`Hooks::rtsp_auth`]).
//! - [`files`]: access to files, asked by HTTP sessions ([`Hooks::http_access`]).
//! - [`notify`]: the notification plane, news that nobody waits for ([`Hooks::notify`], [`notify::Driver`]).
//! - [`body`], [`object`]: ZLM's field names; `object` is shared with the API.
//! - [`reply`]: how an answer is judged and read.
//! - [`client`]: connections, TLS, time limits. [`breaker`]: receivers that keep failing. [`failure`]: why a call failed.
//! - [`own`]: Tidegate's own events. [`sign`]: signatures. [`store`]: notifications on disk. [`deliveries`]: the last attempts. [`sent`]: a request for
//!   people to look at.
//! - [`settings`], [`metrics`], [`hook`].
//!
//! Nothing here spawns a task or knows the engine: the server drives the futures and carries the outcomes.

pub mod admission;
pub mod body;
pub mod breaker;
pub mod client;
pub mod decide;
pub mod deliveries;
mod event;
pub mod failure;
pub mod files;
pub mod hook;
mod keepalive;
pub mod metrics;
pub mod notify;
pub mod object;
pub mod ops;
pub mod own;
mod plane;
pub mod reply;
mod report;
pub mod rtsp;
mod sample;
pub mod sent;
mod service;
pub mod settings;
pub mod sign;
mod spool;
pub mod store;
pub mod throttle;
mod verdicts;

#[cfg(test)]
mod tests;

pub use body::record_ts::RecordedFile;
pub use decide::Answered;
pub use event::EventName;
pub use hook::Hook;
pub use metrics::Metrics;
pub use notify::{Event, Notifier};
pub use service::{Hooks, user_agent};
pub use settings::Settings;
