//! Section `metrics`: Tidegate's own keys for its figures.

use crate::key::{Key, Kind, Reload::Hot};

/// Figures for Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Serve `/metrics`.
    pub enable: bool,
}

pub(super) const KEYS: &[Key] = &[Key::own(
    "metrics.enable",
    "1",
    Hot,
    Kind::Bool(Some(|c| &mut c.metrics.enable)),
    "Serve figures for Prometheus under `/metrics`, to the addresses of `http.allow_ip_range`.",
)];
