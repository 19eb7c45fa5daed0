//! `on_server_exited`: the server stops.

use serde::Serialize;

/// The body: nothing but the two members every body gets.
#[derive(Debug, Serialize)]
pub struct ServerExited {}
