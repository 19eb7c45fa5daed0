//! Section `proxy`: Tidegate's own keys for pulled and pushed streams.

use super::ANY_MS;
use crate::key::{Key, Kind, Reload::Hot};
use std::path::PathBuf;
use std::time::Duration;

/// How pulls, pushes and FFmpeg sources come back after a failure, and whom they trust.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxy {
    /// Shortest pause before another attempt.
    pub retry_min: Duration,
    /// Growth of the pause per failure in a row.
    pub retry_step: Duration,
    /// Longest pause, before jitter.
    pub retry_max: Duration,
    /// Most that jitter adds, in percent of the pause.
    pub jitter_percent: u32,
    /// Certificates of further authorities to trust, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::own(
        "proxy.retry_min_ms",
        "2000",
        Hot,
        Kind::Millis {
            min: 10,
            max: ANY_MS,
            place: Some(|c| &mut c.proxy.retry_min),
        },
        "Shortest pause, in milliseconds, before a lost source or pusher tries again.",
    ),
    Key::own(
        "proxy.retry_step_ms",
        "3000",
        Hot,
        Kind::Millis {
            min: 0,
            max: ANY_MS,
            place: Some(|c| &mut c.proxy.retry_step),
        },
        "How much, in milliseconds, the pause grows with each failure in a row.",
    ),
    Key::own(
        "proxy.retry_max_ms",
        "60000",
        Hot,
        Kind::Millis {
            min: 10,
            max: ANY_MS,
            place: Some(|c| &mut c.proxy.retry_max),
        },
        "Longest pause, in milliseconds.",
    ),
    Key::own(
        "proxy.jitter_percent",
        "20",
        Hot,
        Kind::Count {
            min: 0,
            max: 100,
            place: Some(|c| &mut c.proxy.jitter_percent),
        },
        "Up to this many percent are added to a pause at random, so that many sources do not come back in the same instant.",
    ),
    Key::own(
        "proxy.ca_file",
        "",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.proxy.ca_file)),
        "PEM file with certificates of authorities to trust beside those of the system when a source or destination uses TLS.",
    ),
    Key::own(
        "proxy.insecure",
        "0",
        Hot,
        Kind::Bool(Some(|c| &mut c.proxy.insecure)),
        "Accept any certificate of sources and destinations. Only for tests: anybody on the way can then read and replace the stream.",
    ),
];
