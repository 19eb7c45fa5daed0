//! `on_publish`: may this publisher publish, and how?

use super::{ClientBlock, MediaBlock};
use crate::object::{origin_name, origin_number};
use lifecycle::Access;
use media::info::OriginType;
use serde::Serialize;

/// The body.
#[derive(Debug, Serialize)]
pub struct Publish<'a> {
    #[serde(flatten)]
    media: MediaBlock<'a>,
    #[serde(flatten)]
    client: ClientBlock<'a>,
    #[serde(rename = "originType")]
    origin_type: u8,
    #[serde(rename = "originTypeStr")]
    origin_type_str: &'static str,
}

impl<'a> Publish<'a> {
    /// For a request to publish that would make a stream of this origin.
    pub fn new(access: &'a Access, origin: OriginType) -> Self {
        Self {
            media: MediaBlock::of_session(access),
            client: ClientBlock::of_session(access),
            origin_type: origin_number(origin),
            origin_type_str: origin_name(origin),
        }
    }
}
