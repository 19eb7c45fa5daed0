//! A packager that is fed by hand.

use bytes::Bytes;
use media::track::{AudioParams, VideoParams};
use media::{CodecId, Frame, MediaTime, Mux, Track, TrackId, TrackParams};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::hls::Media;
use tidegate_hls::playlist::Text;
use tidegate_hls::{Change, Form, Live, Name, Options, Packager, Reload, Turn};

/// Unix time of media time 0 in these tests: 2026-11-24T00:00:00Z.
pub const EPOCH_MS: i64 = 1_795_478_400_000;

pub const VIDEO: TrackId = TrackId(0);
pub const AUDIO: TrackId = TrackId(1);

pub const fn ms(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

pub fn options() -> Options {
    Options {
        segment: ms(2_000),
        part: Some(ms(200)),
        listed: 3,
        retained: 2,
        delay: 0,
        first_gop: false,
        fmp4_suffix: ".mp4".to_owned(),
        ts: container::ts::Options::default(),
        max_segment_bytes: 1 << 20,
    }
}

/// H.264, as libx264 describes 320x240.
pub fn video() -> Track {
    let config: &[u8] = &[
        1, 0x64, 0, 0x0d, 0xff, 0xe1, 0, 0x19, 0x67, 0x64, 0, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0xfb, 0x01, 0x10,
        0, 0, 3, 0, 0x10, 0, 0, 3, 3, 0x20, 0xf1, 0x42, 0x99, 0x60, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22,
        0xc0,
    ];
    Track {
        id: VIDEO,
        codec: CodecId::H264,
        config: Some(Bytes::from_static(config)),
        params: TrackParams::Video(VideoParams {
            width: 320,
            height: 240,
            fps: 25.0,
        }),
        wire: None,
    }
}

/// AAC, 44.1 kHz, stereo.
pub fn audio() -> Track {
    Track {
        id: AUDIO,
        codec: CodecId::Aac,
        config: Some(Bytes::from_static(&[0x12, 0x10])),
        params: TrackParams::Audio(AudioParams {
            sample_rate: 44_100,
            channels: 2,
            sample_bits: 16,
        }),
        wire: None,
    }
}

/// A picture of a few bytes that are its own.
pub fn picture(dts: MediaTime, key: bool) -> Frame {
    let mut data = vec![0, 0, 0, 10, if key { 0x65 } else { 0x41 }, 0x9a];
    data.extend(dts.as_micros().to_be_bytes());
    Frame {
        track: VIDEO,
        dts,
        pts: dts,
        key,
        data: data.into(),
        wire: None,
    }
}

/// A piece of sound.
pub fn sound(dts: MediaTime) -> Frame {
    Frame {
        track: AUDIO,
        dts,
        pts: dts,
        key: true,
        data: Bytes::copy_from_slice(&dts.as_micros().to_be_bytes()),
        wire: None,
    }
}

/// A packager, and what it made.
pub struct Bench {
    pub live: Arc<Live>,
    packager: Packager,
    /// Segments that were told of.
    pub told: Arc<AtomicUsize>,
}

impl Bench {
    pub fn new(options: Options, tracks: &[Track]) -> Self {
        let live = Live::new(options);
        live.set_watched(true);
        let told = Arc::new(AtomicUsize::new(0));
        let (seen, counted) = (live.clone(), told.clone());
        // The time of day that goes with the end of what was cut: the stream is as old as its media say.
        let on_change = Box::new(move |change| {
            seen.observe(Duration::from_millis(EPOCH_MS as u64) + edge(&seen));
            if matches!(change, Change::Segment { .. }) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut packager = Packager::new(live.clone(), on_change);
        packager.set_tracks(tracks, &mut Vec::new());
        Self { live, packager, told }
    }

    pub fn write(&mut self, frame: &Frame) {
        self.packager.write(frame, &mut Vec::new());
    }

    /// Pictures in this rhythm (in 1/`rate` seconds times `step`), from `start` on, with a key frame every `gop` pictures.
    pub fn pictures(&mut self, start: i64, count: i64, (step, rate): (i64, u32), gop: i64) {
        for index in start..start + count {
            let at = MediaTime::from_ticks(index * step, rate);
            self.write(&picture(at, index % gop == 0));
        }
    }

    pub fn set_tracks(&mut self, tracks: &[Track]) {
        self.packager.set_tracks(tracks, &mut Vec::new());
    }

    /// The stream ends.
    pub fn end(self) -> Arc<Live> {
        drop(self.packager);
        self.live
    }

    /// Start and length of all segments that are kept, in milliseconds.
    pub fn cuts(&self) -> Vec<(i64, i64)> {
        cuts(&self.live)
    }

    pub fn text(&self, form: Form) -> String {
        text(&self.live, form, Reload::default())
    }

    pub fn media(&self, form: Form) -> Media {
        Media::parse(&self.text(form)).unwrap()
    }
}

/// Where what was cut ends.
fn edge(live: &Live) -> Duration {
    live.edge().map_or(Duration::ZERO, MediaTime::as_duration)
}

pub fn cuts(live: &Live) -> Vec<(i64, i64)> {
    let cut = |segment: &Arc<tidegate_hls::segment::Segment>| {
        (segment.start.as_millis(), segment.duration.as_millis())
    };
    live.since(0).iter().map(cut).collect()
}

#[track_caller]
pub fn ready<T: std::fmt::Debug>(turn: Turn<T>) -> T {
    match turn {
        Turn::Ready(found) => found,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn text(live: &Live, form: Form, reload: Reload) -> String {
    let text: Arc<Text> = ready(live.playlist(form, reload));
    String::from_utf8(text.plain().to_vec()).unwrap()
}

/// The bytes of something by its name.
#[track_caller]
pub fn bytes(live: &Live, name: &str) -> Vec<u8> {
    let name = Name::parse(name, ".mp4").unwrap();
    ready(live.find(name)).concat()
}
