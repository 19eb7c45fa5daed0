//! `on_server_started`: the whole configuration, flat.

use serde::{Serialize, Serializer};

/// The body: keys `section.key`, all values text. Holds `api.secret`, as ZLM's does, so it must not be logged.
pub struct ServerStarted<'a>(&'a [(String, String)]);

impl<'a> ServerStarted<'a> {
    /// For the configuration in force.
    pub const fn new(config: &'a [(String, String)]) -> Self {
        Self(config)
    }
}

impl Serialize for ServerStarted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
