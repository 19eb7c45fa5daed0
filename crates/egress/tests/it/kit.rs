//! A stream whose packets say how long they are, a room with its threads, and viewers over loopback.

use bytes::Bytes;
use egress::{Delivery, Merge, Room, Settings};
use hub::{
    EndReason, GateLimits, Hub, MuxId, Publisher, Reader, ReaderOptions, RingLimits, Stream, StreamConfig,
    TrackPolicy,
};
use media::info::{OriginInfo, OriginType};
use media::mux::Parts;
use media::options::ProtocolOptions;
use media::track::VideoParams;
use media::{CodecId, Frame, MediaTime, Mux, Packet, Schema, StreamKey, Track, TrackId, TrackParams};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest that anything may take here.
pub const SOON: Duration = Duration::from_secs(20);

/// A packet is `length, kind, payload`: four bytes that say how long the rest is, one letter, and the frame.
struct LengthMux;

impl Mux for LengthMux {
    fn set_tracks(&mut self, _: &[Track], _: &mut Vec<Packet>) {}

    fn preamble(&self) -> Vec<Packet> {
        Vec::new()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let length = (frame.data.len() as u32 + 1).to_be_bytes();
        let parts = Parts::from_iter([
            Bytes::copy_from_slice(&length),
            Bytes::new(),
            Bytes::from_static(b"p"),
            frame.data.clone(),
        ]);
        out.push(Packet {
            parts,
            key: frame.key,
            config: false,
            dts: frame.dts,
        });
    }
}

/// What is said between packets, in the same form.
pub fn words(text: &str) -> Bytes {
    let mut words = (text.len() as u32 + 1).to_be_bytes().to_vec();
    words.push(b'w');
    words.extend_from_slice(text.as_bytes());
    words.into()
}

pub struct Bench {
    _hub: Hub,
    pub stream: Arc<Stream>,
    publisher: Publisher,
    start: Instant,
    next: u32,
}

impl Bench {
    pub fn new() -> Self {
        let start = Instant::now();
        let hub = Hub::new(10);
        let options = ProtocolOptions {
            modify_stamp: 0,
            add_mute_audio: false,
            ..ProtocolOptions::default()
        };
        let config = StreamConfig {
            incarnation: 1,
            limits: RingLimits::default(),
            tracks: TrackPolicy::new(&options, GateLimits::default()),
            origin: OriginInfo {
                kind: OriginType::RtmpPush,
                url: String::new(),
                sock: None,
            },
            params: String::new(),
            created_unix: 0,
        };
        let key = StreamKey::on_default_vhost("live", "cam");
        let stream = hub.open(key, config, start).expect("a new name");
        let mut publisher = stream.publisher(None).expect("nobody publishes");
        publisher.tracks_declared(start, true, false);
        publisher.set_track(
            start,
            Track {
                id: TrackId(0),
                codec: CodecId::H264,
                config: Some(Bytes::from_static(b"c")),
                params: TrackParams::Video(VideoParams {
                    width: 16,
                    height: 16,
                    fps: 25.0,
                }),
                wire: None,
            },
        );
        publisher.poll(start).expect("open");
        Self {
            _hub: hub,
            stream,
            publisher,
            start,
            next: 0,
        }
    }

    /// Publishes frames of this length; the first four bytes of each are its number. Number 0 is a key frame, and none after it.
    pub fn publish(&mut self, count: u32, length: usize) {
        for _ in 0..count {
            let mut data = self.next.to_be_bytes().to_vec();
            data.resize(length.max(4), self.next as u8);
            let dts = MediaTime::from_millis(i64::from(self.next));
            let frame = Frame {
                track: TrackId(0),
                dts,
                pts: dts,
                key: self.next == 0,
                data: data.into(),
                wire: None,
            };
            let now = self.start + Duration::from_millis(u64::from(self.next));
            self.publisher.write(now, frame).expect("open");
            self.next += 1;
        }
    }

    pub fn published(&self) -> u32 {
        self.next
    }

    pub fn reader(&self) -> Reader {
        let options = ReaderOptions::player(Schema::Rtmp);
        self.stream
            .reader(MuxId(1), options, || Box::new(LengthMux))
            .expect("live")
    }

    pub fn close(&self) {
        self.stream.close(EndReason::Closed);
    }
}

/// A room whose workers run.
pub struct Running {
    pub room: Option<Room>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub fn new(io_uring: bool, patience: Duration, merge: Merge) -> Self {
        let settings = Settings {
            threads: 2,
            io_uring,
            patience,
            merge,
        };
        let (room, workers) = Room::new(settings).expect("descriptors");
        let threads = workers
            .into_iter()
            .map(|worker| std::thread::spawn(move || worker.run()))
            .collect();
        Self {
            room: Some(room),
            threads,
        }
    }

    pub fn room(&self) -> &Room {
        self.room.as_ref().expect("running")
    }

    /// A viewer that is served.
    pub fn viewer(&self, reader: Reader) -> Viewer {
        self.viewer_with(reader, false)
    }

    /// One whose sockets hold few bytes.
    pub fn small_viewer(&self, reader: Reader) -> Viewer {
        self.viewer_with(reader, true)
    }

    fn viewer_with(&self, reader: Reader, small: bool) -> Viewer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let theirs = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (ours, _) = listener.accept().expect("connected");
        ours.set_nonblocking(true).expect("a socket");
        if small {
            socket2::SockRef::from(&ours)
                .set_send_buffer_size(4 << 10)
                .expect("a socket");
            // Not as small, or TCP sends a byte now and then.
            socket2::SockRef::from(&theirs)
                .set_recv_buffer_size(32 << 10)
                .expect("a socket");
        }
        theirs.set_read_timeout(Some(SOON)).expect("a socket");
        let delivery = match self.room().deliver(ours.as_fd(), reader) {
            Ok(delivery) => delivery,
            Err((_, error)) => panic!("{error}"),
        };
        Viewer {
            delivery: Some(delivery),
            ours,
            theirs,
        }
    }

    /// Ends it, and its threads without an error.
    pub fn stop(mut self) {
        self.room = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic").expect("no error");
        }
    }
}

pub struct Viewer {
    pub delivery: Option<Delivery>,
    pub ours: TcpStream,
    pub theirs: TcpStream,
}

impl Viewer {
    pub fn delivery(&mut self) -> &mut Delivery {
        self.delivery.as_mut().expect("served")
    }

    /// The next packet or words.
    pub fn next(&mut self) -> Got {
        let mut length = [0; 4];
        if let Err(error) = self.theirs.read_exact(&mut length) {
            return Got::End(error.kind());
        }
        let mut rest = vec![0; u32::from_be_bytes(length) as usize];
        self.theirs.read_exact(&mut rest).expect("a packet is whole");
        let (kind, payload) = rest.split_first().expect("a kind");
        match kind {
            b'w' => Got::Words(String::from_utf8(payload.to_vec()).expect("text")),
            b'p' => {
                let (number, filling) = payload.split_at(4);
                let number = u32::from_be_bytes(number.try_into().expect("four bytes"));
                assert!(
                    filling.iter().all(|byte| *byte == number as u8),
                    "packet {number} is not as it was published"
                );
                Got::Packet(number)
            }
            other => panic!("a packet of kind {other}: the framing is lost"),
        }
    }

    /// Reads so many packets, which must be these numbers in order, and returns the words between them.
    pub fn expect_packets(&mut self, numbers: std::ops::Range<u32>) -> Vec<String> {
        let mut said = Vec::new();
        for number in numbers {
            loop {
                match self.next() {
                    Got::Packet(got) => {
                        assert_eq!(got, number);
                        break;
                    }
                    Got::Words(text) => said.push(text),
                    Got::End(error) => panic!("the connection ended before packet {number}: {error}"),
                }
            }
        }
        said
    }
}

/// What a viewer got.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Packet(u32),
    Words(String),
    End(std::io::ErrorKind),
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(SOON, future).await.expect("in time") })
}
