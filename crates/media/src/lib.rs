//! What a stream is made of: names, time, frames, tracks, codecs. Pure: no socket, clock, file or task.
//!
//! - [`key`]: `vhost/app/stream` and the schemas a stream is offered in.
//! - [`time`]: media time, one 64-bit count of microseconds.
//! - [`codec`]: the codecs Tidegate understands, one module each.
//! - [`track`] and [`frame`]: what a publisher hands to the hub.
//! - [`mux`]: what turns frames into the shared packets of one container.
//! - [`stamp`]: timestamp repair (`protocol.modify_stamp`).
//! - [`options`]: how one stream is treated.
//! - [`info`]: plain snapshots of a stream for the API and the hooks.

pub mod codec;
pub mod frame;
pub mod info;
pub mod key;
pub mod mux;
pub mod options;
pub mod stamp;
pub mod time;
pub mod track;

pub use codec::{CodecId, MediaKind};
pub use frame::Frame;
pub use key::{Schema, StreamKey};
pub use mux::{Mux, Packet};
pub use options::ProtocolOptions;
pub use time::MediaTime;
pub use track::{Track, TrackId, TrackParams};
