//! MPEG transport streams (ISO/IEC 13818-1, called "2.4.3" and so on by its clauses in this module).
//!
//! [`Demuxer`] turns bytes into tracks and frames. [`Muxer`] makes a transport stream of frames. Media time 0 is at 1.4 s on its time line, so that times stay positive when
//! pictures are decoded before the first one is shown; clock references are 100 ms before decoding.
//!
//! Mappings: AVC and HEVC (2.14, 2.17), AAC in ADTS (2.12), MPEG audio, Opus by Xiph's mapping, AV1 by "Carriage of AV1 in MPEG-2 TS"
//! of AOM (one PES packet per temporal unit, where the draft wants one per frame: each frame has one time here), G.711 by [`G711`].
//!
//! Why not the crate `libmpegts` (0.8): its multiplexer queues frames and drains packets in the order of their times; here a frame is
//! written at once, by a muxer whose place in the stream can be cloned and advanced without making bytes.

mod assembly;
mod av1;
mod clock;
mod crc;
mod demux;
mod es;
mod framer;
mod mux;
mod opus;
mod packet;
mod payload;
mod pes;
mod psi;
mod read;

pub use demux::{Counters, Demuxer, Event, Unsupported};
pub use es::{G711, carries};
pub use mux::{Muxer, Options};
pub use packet::PACKET_LEN;

/// Most tracks of a program, audio and video together.
pub const MAX_TRACKS: usize = 16;
/// Longest PES packet and access unit that is read, in bytes: several seconds of most streams in one picture.
pub const MAX_PES_LEN: usize = 8 << 20;

/// Ticks of times per second.
const CLOCK: u32 = 90_000;
/// Media time 0 in ticks: 1.4 s, as ffmpeg has it.
const OFFSET: i64 = 126_000;

/// `program_number` of the only program that is written.
const PROGRAM: u16 = 1;
/// PIDs as ZLM has them (codecs.md, section 6).
const PMT_PID: u16 = 0x100;
const VIDEO_PID: u16 = 0x101;
const AUDIO_PID: u16 = 0x102;
/// The first one of further tracks.
const OTHER_PID: u16 = 0x103;
