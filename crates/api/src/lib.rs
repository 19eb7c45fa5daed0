//! The REST API under `/index/api/`, as ZLMediaKit offers it. Pure HTTP logic: no socket, no task.
//!
//! - [`routes`]: the whole API on one page.
//! - `dispatch`: from a request to a handler and back: methods, body, permission.
//! - [`args`]: parameters. `auth`, `login`: who may call. [`reply`], `cors`: what is answered.
//! - [`outside`]: what the API needs from the server around it.
//! - `handlers`: the endpoints, by topic.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod args;
mod auth;
mod cors;
mod dispatch;
mod handlers;
mod login;
pub mod outside;
pub mod reply;
pub mod routes;

pub use auth::Permission;
pub use cors::{allow as allow_origin, preflight};
pub use dispatch::router;
pub use outside::{
    PeerInfo, Pool, Server, SessionKind, SessionView, SetResult, Traffic, Transport, WorkerLoad,
};
