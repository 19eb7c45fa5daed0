//! FLV, and the payload format of RTMP's audio, video and data messages, which is the body of an FLV tag.
//!
//! Reading: [`Reader`] turns bytes of a file or an HTTP body into [`Tag`]s; [`Demuxer`] turns tag bodies, also those of RTMP
//! messages, into tracks and frames. Writing: [`Muxer`] makes an FLV stream of frames; [`body`] and [`metadata`] make what
//! goes into a tag, for RTMP too.
//!
//! Standards: Adobe FLV 10.1 annex E, Enhanced RTMP v2 (`FourCC`s, multitrack, ModEx), and the codec ids that Chinese
//! encoders and CDNs agreed on before it (12 H.265, 13 AV1, 14 VP8, 15 VP9; audio 13 Opus).

mod audio;
pub mod body;
mod demux;
mod error;
mod fourcc;
pub mod metadata;
mod mux;
mod packet;
mod reader;
mod tag;
mod video;

pub use demux::{Counters, Demuxer, Event, MAX_TRACKS, Unsupported};
pub use error::Error;
pub use fourcc::{codec_of_fourcc, fourcc_of};
pub use metadata::{DeclaredCodec, Metadata};
pub use mux::{Carried, Muxer, Options};
pub use reader::{Header, Reader};
pub use tag::{MAX_BODY_LEN, Tag, TagType};
