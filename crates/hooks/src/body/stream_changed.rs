//! `on_stream_changed`: a stream was registered or removed in one schema.

use super::StreamBlock;
use crate::object::Media;
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use serde::Serialize;

/// The body of a registration: the media object and `regist: true`.
#[derive(Debug, Serialize)]
pub struct Registered<'a> {
    #[serde(flatten)]
    media: Media<'a>,
    regist: bool,
}

impl<'a> Registered<'a> {
    /// For a stream that was registered.
    pub fn new(info: &'a MediaInfo) -> Self {
        Self {
            media: Media::new(info, true),
            regist: true,
        }
    }
}

/// The body of a removal: names and `regist: false`.
#[derive(Debug, Serialize)]
pub struct Removed<'a> {
    #[serde(flatten)]
    stream: StreamBlock<'a>,
    regist: bool,
}

impl<'a> Removed<'a> {
    /// For a stream that was removed.
    pub fn new(key: &'a StreamKey, schema: Schema, params: &'a str) -> Self {
        Self {
            stream: StreamBlock::new(key, schema, params),
            regist: false,
        }
    }
}
