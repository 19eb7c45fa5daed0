//! A cursor into the packets of one container.

use crate::ring::{Cursor, Ring};
use crate::stream::{EndReason, OnLeave, Stream};
use media::{Packet, Schema};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// In which figures somebody who reads a stream appears (lifecycle.md, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountAs {
    /// A player of this schema.
    Schema(Schema),
    /// In the total only: RTP senders, a recording with `mp4_as_player`.
    TotalOnly,
    /// Nowhere: HLS generators, other recordings.
    Nothing,
}

/// Somebody who is counted as reading a stream, until dropped.
pub struct Counted {
    stream: Arc<Stream>,
    count: CountAs,
}

impl Counted {
    pub(crate) fn new(stream: Arc<Stream>, count: CountAs) -> Self {
        stream.add_readers(count);
        Self { stream, count }
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stream.remove_readers(self.count);
    }
}

/// How much one batch may hold. One packet is always given, however long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Packets.
    pub max_packets: usize,
    /// Bytes after which no further packet is added.
    pub max_bytes: usize,
}

/// What one vectored write takes well.
impl Default for BatchLimits {
    fn default() -> Self {
        // Three parts each and at most 1024 in one writev (IOV_MAX of Linux); 256 KiB is a usual bound of a socket's buffer.
        Self {
            max_packets: 256,
            max_bytes: 256 << 10,
        }
    }
}

impl BatchLimits {
    pub(crate) fn reached_by(self, batch: &Batch) -> bool {
        batch.packets.len() >= self.max_packets || batch.bytes >= self.max_bytes
    }
}

/// Packets to write, in order. Keep one per reader and clear it when it is written.
#[derive(Debug, Default)]
pub struct Batch {
    packets: Vec<Arc<Packet>>,
    bytes: usize,
}

impl Batch {
    /// The packets.
    pub fn packets(&self) -> &[Arc<Packet>] {
        &self.packets
    }

    /// Length in bytes of all packets.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Empties it; its allocation is kept.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
    }

    pub(crate) fn push(&mut self, packet: &Arc<Packet>) {
        self.bytes += packet.len();
        self.packets.push(packet.clone());
    }
}

/// What came with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Packets follow those of the batch before without a gap.
    Packets,
    /// The reader had fallen off the ring. The packets of the batch begin at a key packet, after new decoder configuration
    /// if it changed meanwhile.
    Lagged {
        /// Packets missed.
        skipped: u64,
    },
    /// The stream ended, and everything was read. The batch is empty.
    Ended(EndReason),
}

/// How a reader is counted, paced and missed.
pub struct ReaderOptions {
    /// Where it is counted.
    pub count: CountAs,
    /// Size of its batches.
    pub batch: BatchLimits,
    /// Called when it is dropped.
    pub on_leave: Option<OnLeave>,
}

impl ReaderOptions {
    /// A player of `schema` with batches of default size.
    pub fn player(schema: Schema) -> Self {
        Self {
            count: CountAs::Schema(schema),
            batch: BatchLimits::default(),
            on_leave: None,
        }
    }
}

/// Why there is no reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No track is ready.
    #[error("the stream's tracks are not known yet")]
    NotReady,
    /// It has ended.
    #[error("the stream is closed: {0}")]
    Closed(EndReason),
}

/// A reader of one container of a stream, until dropped.
pub struct Reader {
    /// `None` only while it is being dropped.
    counted: Option<Counted>,
    ring: Arc<Mutex<Ring>>,
    cursor: Cursor,
    limits: BatchLimits,
    on_leave: Option<OnLeave>,
    lags: u64,
    skipped: u64,
}

impl Reader {
    pub(crate) fn new(
        counted: Counted,
        ring: Arc<Mutex<Ring>>,
        cursor: Cursor,
        options: ReaderOptions,
    ) -> Self {
        counted.stream.counters().readers.add(1);
        let ReaderOptions {
            count: _,
            batch,
            on_leave,
        } = options;
        Self {
            counted: Some(counted),
            ring,
            cursor,
            limits: batch,
            on_leave,
            lags: 0,
            skipped: 0,
        }
    }

    fn stream_ref(&self) -> Option<&Arc<Stream>> {
        self.counted.as_ref().map(Counted::stream)
    }

    /// How often it fell off the ring.
    pub fn lags(&self) -> u64 {
        self.lags
    }

    /// Packets missed through that.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Appends to `batch` what is new, up to the reader's limits, or arranges that `context` is woken when there is
    /// something. `batch` must be empty.
    pub fn poll_batch(&mut self, context: &mut Context<'_>, batch: &mut Batch) -> Poll<Next> {
        debug_assert!(batch.is_empty(), "the batch before was not written");
        let mut trash = Vec::new();
        let next = self
            .ring
            .lock()
            .fetch(&mut self.cursor, context.waker(), self.limits, batch, &mut trash);
        drop(trash);
        if let Poll::Ready(Next::Lagged { skipped }) = next {
            self.lags += 1;
            self.skipped += skipped;
            if let Some(stream) = self.stream_ref() {
                stream.counters().lags.add(1);
                stream.counters().packets_lagged.add(skipped);
            }
        }
        next
    }

    /// [`Self::poll_batch`] as a future. Cancel-safe: nothing is taken before it is ready.
    pub async fn next_batch(&mut self, batch: &mut Batch) -> Next {
        poll_fn(|context| self.poll_batch(context, batch)).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut trash = Vec::new();
        let mut ring = self.ring.lock();
        let waker = ring.leave(&mut self.cursor, &mut trash);
        let last = ring.readers() == 0;
        drop(ring);
        drop((waker, trash));
        if let Some(counted) = self.counted.take() {
            if last {
                counted.stream.detach_if_idle(&self.ring);
            }
            counted.stream.counters().readers.sub(1);
        }
        if let Some(on_leave) = self.on_leave.take() {
            on_leave();
        }
    }
}
