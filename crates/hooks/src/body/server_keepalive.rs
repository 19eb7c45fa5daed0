//! `on_server_keepalive`: the server lives.

use crate::object::Statistic;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct ServerKeepalive<'a> {
    data: &'a Statistic,
}

impl<'a> ServerKeepalive<'a> {
    /// For the counts of this moment.
    pub const fn new(data: &'a Statistic) -> Self {
        Self { data }
    }
}
