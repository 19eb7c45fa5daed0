//! `on_stream_not_found`: a player waits for a missing stream.

use super::{ClientBlock, MediaBlock};
use lifecycle::Access;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct StreamNotFound<'a> {
    #[serde(flatten)]
    media: MediaBlock<'a>,
    #[serde(flatten)]
    client: ClientBlock<'a>,
}

impl<'a> StreamNotFound<'a> {
    /// For the player that waited first.
    pub fn new(access: &'a Access) -> Self {
        Self {
            media: MediaBlock::of_missing(access),
            client: ClientBlock::of_missing(access),
        }
    }
}
