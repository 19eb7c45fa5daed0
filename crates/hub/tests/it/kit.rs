//! A stream with its publisher, readers that are polled by hand, and a container whose packets can be read by eye.

use bytes::Bytes;
use hub::{
    Batch, BatchLimits, CountAs, EndReason, GateLimits, Hub, MuxId, Next, Progress, Publisher, Reader,
    ReaderOptions, RingLimits, Stream, StreamConfig, TrackPolicy,
};
use media::info::{OriginInfo, OriginType};
use media::mux::Parts;
use media::options::ProtocolOptions;
use media::track::{AudioParams, VideoParams};
use media::{
    CodecId, Frame, MediaKind, MediaTime, Mux, Packet, Schema, StreamKey, Track, TrackId, TrackParams,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub const VIDEO: TrackId = TrackId(0);
pub const AUDIO: TrackId = TrackId(1);

/// Two containers.
pub const A: MuxId = MuxId(1);
pub const B: MuxId = MuxId(2);

/// Packets are `H` (file header), `C0:text` (configuration of track 0), and the frame's own text. The container's head is a
/// part of its own, the payload is the frame's.
pub struct TestMux {
    head: Bytes,
    tracks: Vec<Track>,
}

impl TestMux {
    pub fn boxed(head: &'static str) -> Box<dyn Mux> {
        Box::new(Self {
            head: Bytes::from_static(head.as_bytes()),
            tracks: Vec::new(),
        })
    }

    fn config(&self, track: &Track) -> Packet {
        let text = String::from_utf8_lossy(track.config.as_deref().unwrap_or(b"-")).into_owned();
        let parts = Parts::from_iter([self.head.clone(), Bytes::from(format!("C{}:{text}", track.id.0))]);
        Packet {
            parts,
            key: false,
            config: true,
            dts: MediaTime::ZERO,
        }
    }
}

impl Mux for TestMux {
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>) {
        let changed = tracks.iter().filter(|track| !self.tracks.contains(track));
        out.extend(changed.map(|track| self.config(track)));
        self.tracks = tracks.to_vec();
    }

    fn preamble(&self) -> Vec<Packet> {
        let parts = Parts::from_iter([self.head.clone(), Bytes::from_static(b"H")]);
        let header = Packet {
            parts,
            key: false,
            config: true,
            dts: MediaTime::ZERO,
        };
        std::iter::once(header)
            .chain(self.tracks.iter().map(|track| self.config(track)))
            .collect()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let lead = self.tracks.iter().find(|track| track.kind() == MediaKind::Video);
        let key = frame.key && lead.is_none_or(|lead| lead.id == frame.track);
        let parts = Parts::from_iter([self.head.clone(), frame.data.clone()]);
        out.push(Packet {
            parts,
            key,
            config: false,
            dts: frame.dts,
        });
    }
}

pub fn video(config: Option<&'static str>) -> Track {
    Track {
        id: VIDEO,
        codec: CodecId::H264,
        config: config.map(|text| Bytes::from_static(text.as_bytes())),
        params: TrackParams::Video(VideoParams {
            width: 640,
            height: 360,
            fps: 25.0,
        }),
        wire: None,
    }
}

pub fn audio(config: Option<&'static str>) -> Track {
    Track {
        id: AUDIO,
        codec: CodecId::Aac,
        config: config.map(|text| Bytes::from_static(text.as_bytes())),
        params: TrackParams::Audio(AudioParams {
            sample_rate: 48_000,
            channels: 2,
            sample_bits: 16,
        }),
        wire: None,
    }
}

/// A frame at `millis`; its text begins with `k` for a video key frame, `p` for other video, `a` for audio.
pub fn frame(text: &str, millis: i64) -> Frame {
    let dts = MediaTime::from_millis(millis);
    let is_audio = text.starts_with('a');
    Frame {
        track: if is_audio { AUDIO } else { VIDEO },
        dts,
        pts: dts,
        key: is_audio || text.starts_with('k'),
        data: Bytes::copy_from_slice(text.as_bytes()),
        wire: None,
    }
}

/// Keeps times as sent, adds nothing.
pub fn plain_policy() -> TrackPolicy {
    let options = ProtocolOptions {
        modify_stamp: 0,
        add_mute_audio: false,
        ..ProtocolOptions::default()
    };
    TrackPolicy::new(&options, GateLimits::default())
}

pub fn config(limits: RingLimits, tracks: TrackPolicy) -> StreamConfig {
    StreamConfig {
        incarnation: 1,
        limits,
        tracks,
        origin: OriginInfo {
            kind: OriginType::RtmpPush,
            url: "rtmp://test/live/cam".into(),
            sock: None,
        },
        params: "token=1".into(),
        created_unix: 1_700_000_000,
    }
}

pub struct Bench {
    pub hub: Hub,
    pub stream: Arc<Stream>,
    pub publisher: Option<Publisher>,
    pub start: Instant,
    pub millis: i64,
}

impl Bench {
    pub fn new(limits: RingLimits, policy: TrackPolicy) -> Self {
        let start = Instant::now();
        let hub = Hub::new(10);
        let stream = hub
            .open(
                StreamKey::on_default_vhost("live", "cam"),
                config(limits, policy),
                start,
            )
            .unwrap();
        let publisher = Some(stream.publisher(None).unwrap());
        Self {
            hub,
            stream,
            publisher,
            start,
            millis: 0,
        }
    }

    /// A live stream with one video track.
    pub fn video_only(limits: RingLimits) -> Self {
        let mut bench = Self::new(limits, plain_policy());
        let start = bench.start;
        bench.publisher().tracks_declared(start, true, false);
        bench.publisher().set_track(start, video(Some("v1")));
        assert_eq!(bench.publisher().poll(start), Ok(Progress::Ready));
        bench
    }

    /// A live stream with one audio track.
    pub fn audio_only(limits: RingLimits) -> Self {
        let mut bench = Self::new(limits, plain_policy());
        let start = bench.start;
        bench.publisher().tracks_declared(start, false, true);
        bench.publisher().set_track(start, audio(Some("s1")));
        assert_eq!(bench.publisher().poll(start), Ok(Progress::Ready));
        bench
    }

    pub fn publisher(&mut self) -> &mut Publisher {
        self.publisher.as_mut().unwrap()
    }

    pub fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// Writes frames 40 ms apart.
    pub fn write(&mut self, texts: &str) {
        for text in texts.split_whitespace() {
            let frame = frame(text, self.millis);
            let now = self.at(self.millis.unsigned_abs());
            self.millis += 40;
            self.publisher().write(now, frame).unwrap();
        }
    }

    pub fn tap(&self, mux: MuxId) -> Tap {
        self.tap_with(mux, ReaderOptions::player(Schema::Rtmp))
    }

    pub fn tap_with(&self, mux: MuxId, options: ReaderOptions) -> Tap {
        let head = if mux == A { "A|" } else { "B|" };
        Tap::new(self.stream.reader(mux, options, || TestMux::boxed(head)).unwrap())
    }
}

/// Limits that nothing in a test meets by accident, except `max_entries`.
pub fn entries(max_entries: usize) -> RingLimits {
    RingLimits {
        max_entries,
        ..RingLimits::default()
    }
}

pub fn small_batches(max_packets: usize) -> ReaderOptions {
    let batch = BatchLimits {
        max_packets,
        max_bytes: usize::MAX,
    };
    ReaderOptions {
        count: CountAs::Schema(Schema::Rtmp),
        batch,
        on_leave: None,
    }
}

/// What one poll gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Pending,
    Packets(String),
    Lagged(u64, String),
    Ended(EndReason),
}

/// `Packets` in short.
pub fn packets(texts: &str) -> Got {
    Got::Packets(texts.into())
}

#[derive(Default)]
pub struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A reader polled by hand.
pub struct Tap {
    pub reader: Reader,
    pub batch: Batch,
    wakes: Arc<WakeCount>,
}

impl Tap {
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            batch: Batch::default(),
            wakes: Arc::default(),
        }
    }

    pub fn poll(&mut self) -> Got {
        self.batch.clear();
        let waker = Waker::from(self.wakes.clone());
        match self
            .reader
            .poll_batch(&mut Context::from_waker(&waker), &mut self.batch)
        {
            Poll::Pending => {
                assert!(self.batch.is_empty());
                Got::Pending
            }
            Poll::Ready(Next::Packets) => Got::Packets(self.texts()),
            Poll::Ready(Next::Lagged { skipped }) => Got::Lagged(skipped, self.texts()),
            Poll::Ready(Next::Ended(reason)) => {
                assert!(self.batch.is_empty());
                Got::Ended(reason)
            }
        }
    }

    fn texts(&self) -> String {
        let text = |packet: &Arc<Packet>| String::from_utf8_lossy(&packet.parts[1]).into_owned();
        self.batch
            .packets()
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Wake-ups since last asked.
    pub fn wakes(&self) -> usize {
        self.wakes.0.swap(0, Ordering::SeqCst)
    }
}
