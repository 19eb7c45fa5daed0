//! `on_stream_none_reader`: nobody watches.

use super::StreamBlock;
use media::{Schema, StreamKey};
use serde::Serialize;

/// The body. `schema` is a hint; the event is about the stream.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct StreamNoneReader<'a>(StreamBlock<'a>);

impl<'a> StreamNoneReader<'a> {
    /// For a stream with its publisher's parameters.
    pub fn new(key: &'a StreamKey, schema: Schema, params: &'a str) -> Self {
        Self(StreamBlock::new(key, schema, params))
    }
}
