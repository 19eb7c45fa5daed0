//! `on_rtsp_realm`: does this RTSP player need a user name and a password?

use super::{ClientBlock, MediaBlock};
use lifecycle::Access;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct RtspRealm<'a> {
    #[serde(flatten)]
    media: MediaBlock<'a>,
    #[serde(flatten)]
    client: ClientBlock<'a>,
}

impl<'a> RtspRealm<'a> {
    /// For the first `DESCRIBE` of a player.
    pub fn new(access: &'a Access) -> Self {
        Self {
            media: MediaBlock::of_session(access),
            client: ClientBlock::of_session(access),
        }
    }
}
