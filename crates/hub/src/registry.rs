//! Which streams exist.

use crate::counters::{Counters, Totals};
use crate::stream::{EndReason, Stream, StreamConfig};
use media::StreamKey;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The name is taken.
    #[error("{key} is open already (incarnation {incarnation})")]
    AlreadyOpen {
        /// The name.
        key: StreamKey,
        /// The stream that has it.
        incarnation: u64,
    },
    /// There are as many streams as allowed.
    #[error("{key} is one stream too many; {max} are allowed")]
    TooMany {
        /// The name.
        key: StreamKey,
        /// Streams allowed.
        max: usize,
    },
}

/// All streams by name. Only the control plane opens and removes them, so that two decisions about one name cannot cross;
/// everybody may look.
pub struct Hub {
    streams: RwLock<HashMap<StreamKey, Arc<Stream>>>,
    max_streams: usize,
    counters: Arc<Counters>,
}

impl Hub {
    /// An empty registry for at most `max_streams` streams.
    pub fn new(max_streams: usize) -> Self {
        Self {
            streams: RwLock::default(),
            max_streams,
            counters: Arc::default(),
        }
    }

    /// Opens a stream. It has no tracks and no publisher yet.
    ///
    /// # Errors
    ///
    /// The name is taken, or there are too many streams.
    pub fn open(&self, key: StreamKey, config: StreamConfig, now: Instant) -> Result<Arc<Stream>, OpenError> {
        let mut streams = self.streams.write();
        let count = streams.len();
        match streams.entry(key) {
            Entry::Occupied(taken) => Err(OpenError::AlreadyOpen {
                key: taken.key().clone(),
                incarnation: taken.get().incarnation(),
            }),
            Entry::Vacant(free) if count >= self.max_streams => Err(OpenError::TooMany {
                key: free.into_key(),
                max: self.max_streams,
            }),
            Entry::Vacant(free) => {
                let stream = Arc::new(Stream::new(
                    free.key().clone(),
                    config,
                    self.counters.clone(),
                    now,
                ));
                free.insert(stream.clone());
                self.counters.streams.add(1);
                Ok(stream)
            }
        }
    }

    /// The stream of that name.
    pub fn get(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        self.streams.read().get(key).cloned()
    }

    /// Frees the name, and closes the stream if it is still open. Nothing happens unless the stream is that incarnation.
    /// Returns the stream.
    pub fn remove(&self, key: &StreamKey, incarnation: u64, reason: EndReason) -> Option<Arc<Stream>> {
        let mut streams = self.streams.write();
        streams
            .get(key)
            .filter(|stream| stream.incarnation() == incarnation)?;
        let stream = streams.remove(key)?;
        drop(streams);
        self.counters.streams.sub(1);
        stream.close(reason);
        Some(stream)
    }

    /// All streams now, in no particular order.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.streams.read().values().cloned().collect()
    }

    /// Number of streams.
    pub fn len(&self) -> usize {
        self.streams.read().len()
    }

    /// Whether there are no streams.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Totals of all streams there ever were.
    pub fn totals(&self) -> Totals {
        self.counters.read()
    }
}
