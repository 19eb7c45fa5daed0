//! `on_play`: may this player play?

use super::{ClientBlock, MediaBlock};
use lifecycle::Access;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct Play<'a> {
    #[serde(flatten)]
    media: MediaBlock<'a>,
    #[serde(flatten)]
    client: ClientBlock<'a>,
}

impl<'a> Play<'a> {
    /// For a request to play.
    pub fn new(access: &'a Access) -> Self {
        Self {
            media: MediaBlock::of_session(access),
            client: ClientBlock::of_session(access),
        }
    }
}
