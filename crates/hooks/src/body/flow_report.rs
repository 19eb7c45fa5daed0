//! `on_flow_report`: traffic of a finished session.

use super::{ClientBlock, MediaBlock};
use lifecycle::Access;
use serde::Serialize;
use std::time::Duration;

/// The body.
///
/// ZLM names the transport of an RTP publisher (`udp`, `tcp`) in `protocol` here; [`Access`] does not carry it yet, so such a
/// session shows `rtp`.
#[derive(Debug, Serialize)]
pub struct FlowReport<'a> {
    #[serde(flatten)]
    media: MediaBlock<'a>,
    #[serde(flatten)]
    client: ClientBlock<'a>,
    #[serde(rename = "totalBytes")]
    total_bytes: u64,
    /// Whole seconds.
    duration: u64,
    player: bool,
}

impl<'a> FlowReport<'a> {
    /// For a session that moved `bytes` in both directions; `player` is false for a publisher.
    pub fn new(access: &'a Access, bytes: u64, duration: Duration, player: bool) -> Self {
        Self {
            media: MediaBlock::of_session(access),
            client: ClientBlock::of_session(access),
            total_bytes: bytes,
            duration: duration.as_secs(),
            player,
        }
    }
}
