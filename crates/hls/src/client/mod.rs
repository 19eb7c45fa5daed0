//! Playing HLS from elsewhere, without a socket: playlists and `now` go in, what to fetch next comes out.
//!
//! - [`open`] reads the first playlist: a media playlist begins a [`Session`]; a master playlist names one or two to begin.
//! - [`Session`] follows one media playlist: reloads, segments, keys, initialization sections, in the order in which they are needed.
//! - [`Playout`] takes the frames of one or two sessions, joins their time lines at discontinuities, and gives them back when they
//!   are due: a live source delivers seconds at once.
//!
//! **Rule:** what [`Session::step`] asks for is answered by one of `playlist`, `key`, `map_done`, `segment_done` and `failed`, then
//! `step` is asked again.
//!
//! Standard: draft-ietf-hls-rfc8216bis ("HTTP Live Streaming 2nd Edition"), called RFC 8216bis here. Of the low-latency extension
//! nothing is used, and nothing disturbs: partial segments and hints are passed over.

mod attributes;
mod error;
mod master;
mod playlist;
mod playout;
mod session;
mod step;

pub use error::Error;
pub use master::Choice;
pub use playlist::{
    AudioRendition, ByteRange, Encryption, Kind, MAX_PLAYLIST, MAX_SEGMENTS, Map, Master, Media,
    MediaSegment, Playlist, Variant, parse,
};
pub use playout::{MAX_AHEAD, MAX_BUFFERED, Output, Playout};
pub use session::{Counters, MAX_FAILURES, Opened, Options, Session, open};
pub use step::{Decryption, Fetch, KEY_LEN, Segment, Step, Timeline};
