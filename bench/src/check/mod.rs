//! Parsers of what viewers receive: is the framing right, and is no frame missing? No sockets, and no clock: the caller says when
//! the bytes came.

mod flv;
mod latency;
mod mp4;
mod rtp;
mod ts;

pub use flv::{Flv, seen_in_tag};
pub use latency::latencies;
pub use mp4::Mp4;
pub use rtp::Rtp;
pub use ts::Ts;

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::BytesMut;

use crate::clip::FRAME;

/// A frame of video that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Decoding time on the protocol's own time line, which begins anywhere, microseconds.
    pub time_us: i64,
    /// Can be decoded without others.
    pub key: bool,
    /// When its last byte came.
    pub at: Instant,
}

/// A container that comes as one stream of bytes.
#[derive(Debug)]
pub enum Container {
    /// FLV.
    Flv(Flv),
    /// MPEG-TS.
    Ts(Ts),
    /// Fragmented MP4.
    Mp4(Mp4),
}

impl Container {
    /// Takes what has come, leaves nothing, and adds the frames that are complete now. An error is a defect of the framing.
    pub fn push(&mut self, at: Instant, bytes: &mut BytesMut, seen: &mut Vec<Seen>) -> Result<()> {
        match self {
            Self::Flv(flv) => flv.push(at, bytes.split().freeze(), seen),
            Self::Ts(ts) => ts.push(at, bytes, seen),
            Self::Mp4(mp4) => mp4.push(at, bytes, seen),
        }
    }
}

/// Follows the times of frames: each is due one frame's duration after the one before.
#[derive(Debug, Default)]
pub struct Continuity {
    last_us: Option<i64>,
    /// The least delay against the frames' own times so far: that of a frame that was not late at all.
    least_us: Option<i64>,
    origin: Option<Instant>,
}

/// What a frame says about those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Frames that should have come in between, or 1 if the time did not rise as it should.
    pub missing: u64,
    /// How much later it came than the least delayed frame of this viewer.
    pub late: Duration,
}

impl Continuity {
    /// The next frame.
    pub fn step(&mut self, seen: &Seen) -> Step {
        let frame_us = FRAME.as_micros() as i64;
        let missing = self.last_us.replace(seen.time_us).map_or(0, |last| {
            let passed = seen.time_us.saturating_sub(last);
            // Protocols that count in milliseconds, or at 90 kHz, round.
            let frames = passed.saturating_add(frame_us / 2).div_euclid(frame_us);
            match frames {
                1 => 0,
                2.. => frames.unsigned_abs() - 1,
                _ => 1,
            }
        });
        let origin = *self.origin.get_or_insert(seen.at);
        let delay = seen.at.saturating_duration_since(origin).as_micros() as i64 - seen.time_us;
        let least = self.least_us.map_or(delay, |least| least.min(delay));
        self.least_us = Some(least);
        let late = Duration::from_micros((delay - least).unsigned_abs());
        Step { missing, late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(frames: &[(i64, u64)]) -> Vec<(u64, u128)> {
        let begin = Instant::now();
        let mut continuity = Continuity::default();
        let step = |&(time_ms, at_ms): &(i64, u64)| {
            let at = begin + Duration::from_millis(at_ms);
            let step = continuity.step(&Seen {
                time_us: time_ms * 1000,
                key: false,
                at,
            });
            (step.missing, step.late.as_millis())
        };
        frames.iter().map(step).collect()
    }

    #[test]
    fn frames_in_a_row_are_no_gap() {
        // The first three came together, as a cached group of pictures does; the third of them is not late.
        let frames = [
            (1000, 0),
            (1040, 0),
            (1080, 0),
            (1120, 41),
            (1159, 80),
            (1200, 180),
        ];
        let missing: Vec<u64> = steps(&frames).iter().map(|step| step.0).collect();
        assert_eq!(missing, [0; 6]);
        assert_eq!(steps(&frames)[5].1, 60);
    }

    #[test]
    fn what_is_missing_is_counted() {
        let missing = |second: i64| steps(&[(1000, 0), (second, 40)])[1].0;
        assert_eq!(missing(1080), 1);
        assert_eq!(missing(1400), 9);
        assert_eq!(missing(1000), 1);
        assert_eq!(missing(0), 1);
    }
}
