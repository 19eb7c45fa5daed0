//! ZLM's JSON objects that hooks and API share: the media object with its tracks and its socket, and the statistic.

mod media;
pub(crate) mod names;
mod statistic;

pub(crate) use self::media::address;
pub use self::media::{DetailObject, Media, Socket, TrackObject};
pub use names::{codec_id, codec_name, codec_type, origin_name, origin_number};
pub use statistic::Statistic;
