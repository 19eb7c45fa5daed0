//! Containers: bytes to frames and frames to bytes. Pure: no socket, clock, file or task.
//!
//! - [`flv`]: FLV files and streams, and the tag bodies that RTMP carries.
//! - [`mp4`]: fragmented MP4 (CMAF).
//! - [`ts`]: MPEG transport streams.
//! - [`amf0`] and [`amf3`]: the value formats of FLV script tags and RTMP commands.

pub mod amf0;
pub mod amf3;
pub mod flv;
pub mod mp4;
pub mod ts;
