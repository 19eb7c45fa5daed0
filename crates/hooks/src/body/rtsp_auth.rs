//! `on_rtsp_auth`: which password does this user have?

use super::{ClientBlock, MediaBlock};
use crate::rtsp::User;
use lifecycle::Access;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct RtspAuth<'a> {
    #[serde(flatten)]
    media: MediaBlock<'a>,
    #[serde(flatten)]
    client: ClientBlock<'a>,
    user_name: &'a str,
    realm: &'a str,
    must_no_encrypt: bool,
}

impl<'a> RtspAuth<'a> {
    /// For a player that answered the challenge.
    pub fn new(access: &'a Access, user: &User<'a>) -> Self {
        Self {
            media: MediaBlock::of_session(access),
            client: ClientBlock::of_session(access),
            user_name: user.name,
            realm: user.realm,
            must_no_encrypt: user.plain_needed,
        }
    }
}
