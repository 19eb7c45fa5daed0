//! A hook service that is driven by a rules file: the other side of the hooks and the API.
//!
//! It speaks the contract only (hooks.md, api.md), so it serves any media server that does: it receives hooks and calls the REST
//! API, and knows nothing else of Tidegate.
//!
//! - [`rules`]: the file. `decide`: what it makes of a call. `call`: what calls and answers look like.
//! - [`signature`]: whether a call is genuine.
//! - `open`: opening sources, one call for all who wait. `closing`: streams that are closed later. `api`: the client for both.
//! - [`journal`]: events as lines of JSON.
//! - [`service`]: the routes, within bounds. [`metrics`]: what is counted.
//!
//! Nothing here listens or spawns: the server's command does, and drives what [`Service::new`] returns.

mod api;
mod call;
mod closing;
mod decide;
pub mod journal;
pub mod metrics;
mod once;
mod open;
pub mod rules;
pub mod service;
pub mod signature;

pub use metrics::Metrics;
pub use rules::{BadRules, Rules};
pub use service::{Behaviour, Counted, MAX_BODY, Peer, Service};
