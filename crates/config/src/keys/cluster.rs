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
    /// Requests of edge servers for absent streams are asked about and wait.
    pub origin_on_demand: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "cluster.origin_url",
        "",
        Hot,
        Kind::List {
            separator: ';',
            place: Some(|c| &mut c.cluster.origin_urls),
        },
        "Origin servers for absent streams: URLs with `;` between them, each with two `%s` for app and stream.",
    ),
    Key::zlm(
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
    Key::zlm(
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
    Key::own(
        "cluster.origin_on_demand",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.cluster.origin_on_demand)),
        "On an origin server: an edge server that asks for an absent stream raises `on_stream_not_found` and waits, like any player. ZLMediaKit refuses it at once (0), so that streams behind an edge cannot open on demand. The edge waits `cluster.timeout_sec`.",
    ),
];
