//! A silent AAC track for streams without sound (`protocol.add_mute_audio`; codecs.md, section 10).

use bytes::Bytes;
use media::codec::aac;
use media::{CodecId, Frame, MediaTime, Track, TrackId, TrackParams};

/// Number of the silent track. Publishers count from 0 and have far fewer tracks.
pub(crate) const TRACK: TrackId = TrackId(u8::MAX);

const SILENCE: aac::Silence = aac::silence_8k_mono();

/// Duration of one frame: 128 ms.
const FRAME: MediaTime = MediaTime::from_millis(SILENCE.duration_ms as i64);

/// Most silent frames before one video frame, so that a jump of the video's time does not become a flood.
const MAX_BURST: usize = 16;

/// Paces silent frames by the video's decoding time.
#[derive(Default)]
pub(crate) struct Silence {
    next: Option<MediaTime>,
}

impl Silence {
    /// The track to announce.
    pub fn track() -> Track {
        Track {
            id: TRACK,
            codec: CodecId::Aac,
            config: Some(Bytes::from_static(SILENCE.config)),
            params: TrackParams::Audio(SILENCE.params),
            wire: None,
        }
    }

    /// Appends the silent frames that are due up to a video frame of time `dts`.
    pub fn fill(&mut self, dts: MediaTime, out: &mut Vec<Frame>) {
        let mut next = self.next.unwrap_or(dts);
        // A video clock that went back takes the sound along; one that jumped ahead is not filled up.
        let longest = MediaTime::from_micros(FRAME.as_micros() * MAX_BURST as i64);
        if next - dts > longest || dts - next > longest {
            next = dts;
        }
        while next <= dts {
            out.push(Frame {
                track: TRACK,
                dts: next,
                pts: next,
                key: true,
                data: Bytes::from_static(SILENCE.unit),
                wire: None,
            });
            next = next + FRAME;
        }
        self.next = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(silence: &mut Silence, millis: i64) -> Vec<i64> {
        let mut out = Vec::new();
        silence.fill(MediaTime::from_millis(millis), &mut out);
        out.iter().map(|frame| frame.dts.as_millis()).collect()
    }

    #[test]
    fn one_frame_per_128_ms_of_video() {
        let mut silence = Silence::default();
        assert_eq!(due(&mut silence, 1_000), [1_000]);
        assert_eq!(due(&mut silence, 1_040), []);
        assert_eq!(due(&mut silence, 1_127), []);
        assert_eq!(due(&mut silence, 1_128), [1_128]);
        assert_eq!(due(&mut silence, 1_400), [1_256, 1_384]);
    }

    #[test]
    fn a_jump_of_the_video_is_followed_and_not_filled() {
        let mut silence = Silence::default();
        due(&mut silence, 0);
        assert_eq!(due(&mut silence, 3_600_000), [3_600_000]);
        assert_eq!(due(&mut silence, 40), [40]);
    }
}
