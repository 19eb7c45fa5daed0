//! The data plane: streams by name, one publisher each, any number of readers.
//!
//! ```text
//! Publisher::write(frame) -> repair, gate, frame ring -> each attached Mux once -> one packet ring per container
//!                                                                     Reader::next_batch: shared packets since my cursor
//! ```
//!
//! - [`registry`]: [`Hub`], which streams exist. Opened and removed by the control plane only.
//! - [`stream`]: [`Stream`], what its publisher and its readers share.
//! - [`publisher`]: the exclusive writer; [`gate`]: when its tracks are known well enough to let viewers in.
//! - [`reader`]: a cursor into the packets of one container.
//! - [`limits`]: the bounds of rings and waits.
//! - [`counters`]: process-wide totals.
//!
//! The hub knows frames and packets, not protocols: a container is a [`MuxId`] chosen by the caller and a `dyn Mux`. It has
//! no runtime, no clock and no task: `now` is a parameter and readers are woken through [`std::task::Waker`].
//!
//! # Rules
//!
//! - A publisher is never slowed by a reader. It holds a container's lock only while it appends.
//! - Everything cached is bounded by [`RingLimits`]. A reader that falls off its ring goes on at the newest key packet.
//! - Locks are taken in one order, stream before packet ring, and nobody is woken or called back under a lock.
//! - A reader that does not ask is not woken: a writer that merges packets for a while costs the publisher nothing.

pub mod counters;
pub mod gate;
pub mod limits;
pub mod publisher;
pub mod reader;
pub mod registry;
pub mod stream;

mod core;
mod gop;
mod ring;
mod session;
mod silence;
mod stat;
mod wait;

pub use counters::Totals;
pub use gate::GateLimits;
pub use limits::RingLimits;
pub use publisher::{Admission, Progress, PublishError, Publisher};
pub use reader::{Batch, BatchLimits, CountAs, Counted, Next, ReadError, Reader, ReaderOptions};
pub use registry::{Hub, OpenError};
pub use stream::{Closed, EndReason, Ended, MuxId, OnLeave, Stream, StreamConfig, TrackPolicy};
