//! Bounds of what a stream keeps.

use media::MediaTime;
use std::time::Duration;

/// How much one ring may hold: the frame ring of a stream (its cached group of pictures) and the packet ring of each attached
/// container. Whichever bound is met first counts. Containers share their payload with the frame ring, so the bytes are
/// counted for each of them but mostly exist once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Payload bytes.
    pub max_bytes: usize,
    /// Media time between the oldest and the newest entry.
    pub max_duration: Duration,
    /// Entries: frames or packets.
    pub max_entries: usize,
}

/// Room for one long group of pictures of an ordinary stream, not for an archive.
impl Default for RingLimits {
    fn default() -> Self {
        Self {
            // 30 s at 8 Mbit/s is 30 MB; above that a group of pictures is too heavy a burst for a joining viewer anyway.
            max_bytes: 32 << 20,
            // Cameras with "smart" codecs place key frames up to 20 s apart; encoders' default of 250 frames is 10 s at 25/s.
            max_duration: Duration::from_secs(30),
            // 30 s of 60 pictures and 100 sounds per second are 4,800; doubled.
            max_entries: 10_000,
        }
    }
}

impl RingLimits {
    /// Whether a ring with these figures is over a bound.
    pub(crate) fn exceeded(&self, bytes: usize, span: MediaTime, entries: usize) -> bool {
        bytes > self.max_bytes || entries > self.max_entries || span.as_duration() > self.max_duration
    }
}

/// How much sound a stream without video keeps for a joining viewer. Every audio frame can be decoded alone, so the newest
/// would do; half a second is what players built on ffmpeg want for probing before they start, and not yet a delay that
/// a listener notices.
pub(crate) const AUDIO_WINDOW: MediaTime = MediaTime::from_millis(500);
