//! Fragmented MP4, the form of MP4 that can be live: ISO/IEC 14496-12 (boxes), 14496-14 (MPEG-4 audio), 14496-15 (H.264, H.265),
//! 23000-19 (CMAF).
//!
//! Writing: [`init`] makes what a player reads first, [`fragment`] what it reads then; both are functions of what they are given,
//! so two servers make the same segment of the same frames. [`Muxer`] puts them together for a live stream over HTTP, one fragment
//! per frame. [`codec_string`] names a track as playlists and browsers want it. Reading: [`Demuxer`].
//!
//! The boxes are written here: mp4-atom 0.17 and shiguredo_mp4 2026.5 have no entries for G.711, and they take decoder configuration
//! records apart where Tidegate has them ready as bytes.

mod boxes;
mod buffer;
mod codec_string;
mod demux;
mod entry;
mod error;
mod fields;
mod fragment;
mod init;
mod moof;
mod moov;
mod mux;
mod payload;

pub use codec_string::codec_string;
pub use demux::{Counters, Demuxer, Event, MAX_MDAT_LEN, MAX_TRACKS, Unsupported};
pub use entry::carries;
pub use error::Error;
pub use fragment::{MAX_FRAGMENT_LEN, Run, fragment};
pub use init::init;
pub use moof::{MAX_SAMPLE_LEN, MAX_SAMPLES};
pub use mux::Muxer;

use media::{Track, TrackParams};

/// `track_ID` of a track: its number in the stream, counted from 1. So the fragments of a track need not know which other tracks
/// the initialization has.
fn track_number(track: &Track) -> u32 {
    u32::from(track.id.0) + 1
}

/// Ticks per second of a track: 90000 for video, the sample rate for audio.
fn timescale(track: &Track) -> u32 {
    match &track.params {
        TrackParams::Video(_) => VIDEO_TIMESCALE,
        TrackParams::Audio(audio) if audio.sample_rate == 0 => VIDEO_TIMESCALE,
        TrackParams::Audio(audio) => audio.sample_rate,
    }
}

/// Keeps the clocks of RTP and MPEG-TS apart tick by tick, and divides by all usual frame rates.
const VIDEO_TIMESCALE: u32 = 90_000;
