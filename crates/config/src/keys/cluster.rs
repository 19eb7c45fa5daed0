//! Section `cluster`.

use super::YEAR_S;
use crate::key::{Key, Kind, Reload::Hot};
use std::time::Duration;

/// Pulling absent streams from origin servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Origin URLs with two `%s` for app and stream.
    pub origin_urls: Vec<String>,
    /// Total limit of asking the origins.
    pub timeout: Duration,
    /// Retries of the resulting pull.
    pub retry_count: u32,
}

pub(super) const KEYS: &[Key] = &[
    Key::stored(
        "cluster.origin_url",
        "",
        Hot,
        Kind::List {
            separator: ';',
            place: Some(|c| &mut c.cluster.origin_urls),
        },
        "Origin servers for absent streams: URLs with `;` between them, each with two `%s` for app and stream.",
    ),
    Key::stored(
        "cluster.timeout_sec",
        "15",
        Hot,
        Kind::Seconds {
            min: 0.1,
            max: YEAR_S,
            place: Some(|c| &mut c.cluster.timeout),
        },
        "Total limit for pulling from the origins, in seconds; each gets an equal part.",
    ),
    Key::stored(
        "cluster.retry_count",
        "3",
        Hot,
        Kind::Count {
            min: 0,
            max: u32::MAX,
            place: Some(|c| &mut c.cluster.retry_count),
        },
        "Retries of a pull from an origin before it is given up.",
    ),
];
