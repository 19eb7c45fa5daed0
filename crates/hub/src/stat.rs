//! What is measured of a stream and its tracks.

use media::info::{TrackDetail, TrackInfo};
use media::{Frame, MediaTime, Track, TrackParams};
use std::time::Instant;

/// Whole seconds over which a rate is averaged. Few, so that it follows a change; more than one, so that key frames once a
/// second do not make it jump.
const SECONDS: usize = 3;

/// Bytes per second over the last whole seconds.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    start: Instant,
    /// The second, counted from `start`, that `current` collects.
    second: u64,
    current: u64,
    /// The whole seconds before, newest first.
    past: [u64; SECONDS],
}

impl Rate {
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            second: 0,
            current: 0,
            past: [0; SECONDS],
        }
    }

    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.roll(now);
        self.current += bytes;
    }

    fn roll(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.start).as_secs();
        for _ in 0..second.saturating_sub(self.second).min(SECONDS as u64 + 1) {
            self.past.rotate_right(1);
            self.past[0] = std::mem::take(&mut self.current);
        }
        self.second = self.second.max(second);
    }

    /// Within the first second: what has come so far.
    pub fn per_second(mut self, now: Instant) -> u64 {
        self.roll(now);
        match self.second.min(SECONDS as u64) {
            0 => self.current,
            seconds => self.past.iter().sum::<u64>() / seconds,
        }
    }
}

/// Media time over which the frame rate is measured. Two seconds hold two frames of a 1 fps camera.
const FPS_SPAN: MediaTime = MediaTime::from_millis(2000);

/// Counters of one track.
#[derive(Clone, Copy, Default)]
pub(crate) struct TrackStat {
    frames: u64,
    key_frames: u64,
    first: Option<MediaTime>,
    last: MediaTime,
    /// Frames since `key`, it included.
    gop_frames: u32,
    key: MediaTime,
    gop_size: u32,
    gop_interval: MediaTime,
    fps_from: MediaTime,
    fps_frames: u32,
    fps: Option<f32>,
    /// Packets lost, in per cent. A matter of the publisher, not of the stream.
    pub loss: Option<f32>,
}

impl TrackStat {
    pub fn add(&mut self, frame: &Frame) {
        let dts = frame.dts;
        if self.first.is_none() {
            self.first = Some(dts);
            self.fps_from = dts;
        }
        let span = dts - self.fps_from;
        if span >= FPS_SPAN {
            self.fps = Some((f64::from(self.fps_frames) * 1e6 / span.as_micros() as f64).round() as f32);
        }
        if span >= FPS_SPAN || span < MediaTime::ZERO {
            self.fps_from = dts;
            self.fps_frames = 0;
        }
        self.fps_frames += 1;
        if frame.key {
            if self.key_frames > 0 {
                self.gop_size = self.gop_frames;
                self.gop_interval = dts - self.key;
            }
            self.key_frames += 1;
            self.key = dts;
            self.gop_frames = 0;
        }
        self.gop_frames = self.gop_frames.saturating_add(1);
        self.frames += 1;
        self.last = dts;
    }

    pub fn info(&self, track: &Track) -> TrackInfo {
        let detail = match track.params {
            TrackParams::Video(video) => TrackDetail::Video {
                width: video.width,
                height: video.height,
                fps: self.fps.unwrap_or(video.fps),
                key_frames: self.key_frames,
                gop_size: self.gop_size,
                gop_interval_ms: millis(self.gop_interval),
            },
            TrackParams::Audio(audio) => TrackDetail::Audio {
                sample_rate: audio.sample_rate,
                channels: audio.channels,
                sample_bits: audio.sample_bits,
            },
        };
        TrackInfo {
            codec: track.codec,
            ready: track.ready(),
            frames: self.frames,
            duration_ms: u64::try_from((self.last - self.first.unwrap_or(self.last)).as_millis())
                .unwrap_or(0),
            loss: self.loss,
            detail,
        }
    }
}

fn millis(time: MediaTime) -> u32 {
    time.as_millis().clamp(0, i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::TrackId;
    use std::time::Duration;

    #[test]
    fn a_rate_is_the_mean_of_the_last_whole_seconds_and_decays() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rate = Rate::new(start);
        rate.add(at(100), 500);
        assert_eq!(rate.per_second(at(200)), 500);
        rate.add(at(900), 500);
        assert_eq!(rate.per_second(at(1_000)), 1_000);
        rate.add(at(1_500), 2_000);
        rate.add(at(2_500), 3_000);
        assert_eq!(rate.per_second(at(3_100)), 2_000);
        rate.add(at(3_200), 4_000);
        assert_eq!(rate.per_second(at(4_000)), 3_000);
        assert_eq!(rate.per_second(at(6_999)), 1_333);
        assert_eq!(rate.per_second(at(7_000)), 0);
        assert_eq!(rate.per_second(at(1_000_000)), 0);
    }

    #[test]
    fn frame_rate_and_group_size_are_measured() {
        let mut stat = TrackStat::default();
        for index in 0..120 {
            let dts = MediaTime::from_millis(index * 40);
            let data = Bytes::new();
            stat.add(&Frame {
                track: TrackId(0),
                dts,
                pts: dts,
                key: index % 50 == 0,
                data,
                wire: None,
            });
        }
        let track = Track {
            id: TrackId(0),
            codec: media::CodecId::Vp8,
            config: None,
            params: TrackParams::Video(media::track::VideoParams {
                width: 4,
                height: 2,
                fps: 30.0,
            }),
            wire: None,
        };
        let info = stat.info(&track);
        assert_eq!((info.frames, info.duration_ms), (120, 4_760));
        assert_eq!(
            info.detail,
            TrackDetail::Video {
                width: 4,
                height: 2,
                fps: 25.0,
                key_frames: 3,
                gop_size: 50,
                gop_interval_ms: 2_000
            }
        );
    }
}
