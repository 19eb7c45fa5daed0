//! What the hub itself costs per reader and packet: wake, poll, lock, share. No socket is written.
//!
//! `cargo bench -p tidegate-hub`. A plain queue of ready tasks, one task per reader, stands for the runtime; the publisher
//! writes frames one at a time and goes on when all readers have read, as a live stream does.

extern crate tidegate_hub as hub;

use bytes::Bytes;
use hub::{
    Batch, GateLimits, Hub, MuxId, Next, Progress, Reader, ReaderOptions, RingLimits, Stream, StreamConfig,
    TrackPolicy,
};
use media::info::{OriginInfo, OriginType};
use media::mux::Parts;
use media::options::ProtocolOptions;
use media::track::VideoParams;
use media::{CodecId, Frame, MediaTime, Mux, Packet, Schema, StreamKey, Track, TrackId, TrackParams};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

const FRAMES: u64 = 2_000;
const FRAMES_PER_GOP: u64 = 50;

/// A head and the payload, as an FLV tag has.
struct HeadMux;

impl Mux for HeadMux {
    fn set_tracks(&mut self, _: &[Track], _: &mut Vec<Packet>) {}

    fn preamble(&self) -> Vec<Packet> {
        Vec::new()
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        let parts = Parts::from_iter([
            Bytes::from_static(&[0; 16]),
            frame.data.clone(),
            Bytes::from_static(&[0; 4]),
        ]);
        out.push(Packet {
            parts,
            key: frame.key,
            config: false,
            dts: frame.dts,
        });
    }
}

/// Indices of ready tasks.
type Queue = Mutex<Vec<usize>>;

struct Task {
    index: usize,
    queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.lock().push(self.index);
        }
    }
}

/// One worker's readers.
struct Worker {
    tasks: Vec<(Arc<Task>, Waker, Reader, Batch)>,
    queue: Arc<Queue>,
    ready: Vec<usize>,
}

impl Worker {
    fn new(stream: &Arc<Stream>, readers: usize) -> Self {
        let queue = Arc::<Queue>::default();
        let task = |index| {
            let task = Arc::new(Task {
                index,
                queued: AtomicBool::new(false),
                queue: queue.clone(),
            });
            let mut options = ReaderOptions::player(Schema::Rtmp);
            options.batch.max_packets = 1;
            let reader = stream.reader(MuxId(0), options, || Box::new(HeadMux)).unwrap();
            (task.clone(), Waker::from(task), reader, Batch::default())
        };
        Self {
            tasks: (0..readers).map(task).collect(),
            queue,
            ready: (0..readers).collect(),
        }
    }

    /// Polls all that is ready. Returns the packets read.
    fn turn(&mut self) -> u64 {
        let mut packets = 0;
        for index in self.ready.drain(..) {
            let (task, waker, reader, batch) = &mut self.tasks[index];
            task.queued.store(false, Ordering::Release);
            let mut context = Context::from_waker(waker);
            while let Poll::Ready(next) = reader.poll_batch(&mut context, batch) {
                assert_eq!(next, Next::Packets);
                packets += batch.packets().len() as u64;
                batch.clear();
            }
        }
        packets
    }

    fn take_ready(&mut self) {
        std::mem::swap(&mut *self.queue.lock(), &mut self.ready);
    }
}

fn frame(index: u64, payload: &Bytes) -> Frame {
    let dts = MediaTime::from_millis(index as i64 * 40);
    Frame {
        track: TrackId(0),
        dts,
        pts: dts,
        key: index.is_multiple_of(FRAMES_PER_GOP),
        data: payload.clone(),
        wire: None,
    }
}

fn stream() -> (Hub, Arc<Stream>, hub::Publisher) {
    let now = Instant::now();
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
            kind: OriginType::Unknown,
            url: String::new(),
            sock: None,
        },
        params: String::new(),
        created_unix: 0,
    };
    let hub = Hub::new(1);
    let stream = hub
        .open(StreamKey::on_default_vhost("live", "bench"), config, now)
        .unwrap();
    let mut publisher = stream.publisher(None).unwrap();
    let params = TrackParams::Video(VideoParams {
        width: 1280,
        height: 720,
        fps: 25.0,
    });
    publisher.tracks_declared(now, true, false);
    publisher.set_track(
        now,
        Track {
            id: TrackId(0),
            codec: CodecId::Vp8,
            config: None,
            params,
            wire: None,
        },
    );
    assert_eq!(publisher.poll(now), Ok(Progress::Ready));
    (hub, stream, publisher)
}

/// Publisher and readers take turns on one thread: the cost without contention.
fn alone(readers: usize) {
    let (hub, stream, mut publisher) = stream();
    let mut worker = Worker::new(&stream, readers);
    worker.turn();
    let payload = Bytes::from(vec![0; 10_000]);
    let (mut writing, mut read) = (Duration::ZERO, 0);
    let begin = Instant::now();
    for index in 0..FRAMES {
        let now = Instant::now();
        publisher.write(now, frame(index, &payload)).unwrap();
        writing += now.elapsed();
        worker.take_ready();
        read += worker.turn();
    }
    assert_eq!(read, FRAMES * readers as u64);
    report(&hub, readers, begin.elapsed(), writing);
}

/// Threads that read one ring at the same time, packet by packet, with nobody writing: what its lock costs when all want it.
fn contended(readers: usize, threads: usize) {
    let (_hub, stream, mut publisher) = stream();
    let payload = Bytes::from(vec![0; 10_000]);
    let mut workers: Vec<_> = (0..threads)
        .map(|_| Worker::new(&stream, readers / threads))
        .collect();
    let mut reading = Duration::ZERO;
    for gop in 0..FRAMES / FRAMES_PER_GOP {
        for index in 0..FRAMES_PER_GOP {
            publisher
                .write(Instant::now(), frame(gop * FRAMES_PER_GOP + index, &payload))
                .unwrap();
        }
        let start = Barrier::new(threads);
        reading += std::thread::scope(|scope| {
            let threads = workers.iter_mut().map(|worker| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let begin = Instant::now();
                    worker.ready = (0..worker.tasks.len()).collect();
                    assert_eq!(worker.turn(), FRAMES_PER_GOP * worker.tasks.len() as u64);
                    begin.elapsed()
                })
            });
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .max()
                .unwrap_or_default()
        });
    }
    let per = reading.as_nanos() as f64 / (FRAMES * readers as u64) as f64;
    println!(
        "{readers:>5} readers on {threads} threads, one packet per poll: {per:>6.0} ns per reader and packet"
    );
}

fn report(hub: &Hub, readers: usize, total: Duration, writing: Duration) {
    let per = |time: Duration| time.as_nanos() as f64 / (FRAMES * readers as u64) as f64;
    println!(
        "{readers:>5} readers: {:>6.0} ns per reader and packet, {:>6.0} ns of it in the publisher's write; {} wakes",
        per(total),
        per(writing),
        hub.totals().wakes,
    );
}

fn main() {
    for readers in [1, 100, 1_000, 4_000] {
        alone(readers);
    }
    for threads in [1, 2] {
        contended(1_000, threads);
    }
}
