//! The REST API under `/index/api/`, as ZLMediaKit offers it. Pure HTTP logic: no socket, no task.
//!
//! - [`routes`]: the whole API on one page.
//! - `dispatch`: from a request to a handler and back: methods, body, permission.
//! - [`args`]: parameters. `auth`, `login`: who may call. [`reply`], `cors`: what is answered.
//! - [`outside`]: what the API needs from the server around it.
//! - `handlers`: the endpoints, by topic. [`describe`]: what they take and return; `openapi`: the same as a document.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod args;
mod auth;
mod cors;
pub mod describe;
mod dispatch;
mod handlers;
mod login;
mod openapi;
pub mod outside;
pub mod reply;
pub mod routes;

pub use auth::Permission;
pub use cors::{allow as allow_origin, preflight};
pub use dispatch::router;
pub use handlers::hooks::FIELDS as HOOK_ENDPOINT_FIELDS;
pub use outside::{
    Download, PeerInfo, Pool, ProbedFrame, Server, SessionKind, SessionView, SetResult, Traffic, Transport,
    WorkerLoad,
};
