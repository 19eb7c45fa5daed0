//! One stream: what its publisher and its readers share.

use crate::core::{Core, Effects};
use crate::counters::Counters;
use crate::gate::GateLimits;
use crate::limits::RingLimits;
use crate::publisher::{PublishError, Publisher};
use crate::reader::{CountAs, Counted, ReadError, Reader, ReaderOptions};
use crate::ring::Ring;
use crate::session::Session;
use crate::wait::Ticket;
use media::info::{MediaInfo, OriginInfo};
use media::options::ProtocolOptions;
use media::stamp;
use media::{Mux, Schema, StreamKey, Track};
use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

/// A container, by a number that the caller chooses. The same number means the same bytes for every reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MuxId(pub u8);

/// Called once when a handle is dropped, after the hub has done its part, with no lock held. For whoever must not miss that a
/// reader or publisher left.
pub type OnLeave = Box<dyn FnOnce() + Send>;

/// Why a stream ended; told to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The publisher said goodbye.
    Unpublished,
    /// The publisher or source was lost and did not come back in time.
    OriginLost,
    /// Nobody watched it.
    Unwatched,
    /// An operator closed it.
    Closed,
    /// Another publisher took the name.
    Replaced,
    /// The server stops.
    Shutdown,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpublished => "the publisher ended it",
            Self::OriginLost => "its origin was lost",
            Self::Unwatched => "nobody watched it",
            Self::Closed => "closed by an operator",
            Self::Replaced => "another publisher took its name",
            Self::Shutdown => "the server stops",
        })
    }
}

/// The stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed: {0}")]
pub struct Closed(pub EndReason);

/// How the tracks of a publisher are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackPolicy {
    /// Timestamp repair (`protocol.modify_stamp`).
    pub stamp: stamp::Mode,
    /// Carry audio (`protocol.enable_audio`).
    pub enable_audio: bool,
    /// Give video-only streams a silent track (`protocol.add_mute_audio`); without effect when `enable_audio` is off.
    pub add_mute_audio: bool,
    /// Most tracks of a publisher; further ones are ignored. The silent track does not count.
    pub max_track: u8,
    /// Patience with tracks that are not ready.
    pub gate: GateLimits,
}

impl TrackPolicy {
    /// The policy that a stream's options ask for. A `modify_stamp` that means nothing is the default, 2.
    pub fn new(options: &ProtocolOptions, gate: GateLimits) -> Self {
        Self {
            stamp: stamp::Mode::from_id(options.modify_stamp).unwrap_or(stamp::Mode::Relative),
            enable_audio: options.enable_audio,
            add_mute_audio: options.add_mute_audio,
            max_track: options.max_track,
            gate,
        }
    }
}

/// What a stream is opened with.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Unique in the process over all streams there ever were; makes handles to a former stream of the same name harmless.
    pub incarnation: u64,
    /// Bounds of each ring.
    pub limits: RingLimits,
    /// Treatment of tracks.
    pub tracks: TrackPolicy,
    /// Where it comes from.
    pub origin: OriginInfo,
    /// Query string of the publisher, without `?`.
    pub params: String,
    /// Unix time of opening, in seconds.
    pub created_unix: u64,
}

/// A stream in the registry, or one that was there. Handles keep it alive; what they can do after its end is said at each
/// method.
pub struct Stream {
    key: StreamKey,
    incarnation: u64,
    limits: RingLimits,
    policy: TrackPolicy,
    created_unix: u64,
    opened: Instant,
    about: Mutex<About>,
    readers: ReaderCounts,
    core: Mutex<Core>,
    counters: Arc<Counters>,
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// Facts that only reports need; apart from `core` so that reports do not hold up the publisher.
struct About {
    origin: OriginInfo,
    params: String,
    recording_mp4: bool,
    recording_hls: bool,
}

#[derive(Default)]
struct ReaderCounts {
    by_schema: [AtomicU32; Schema::ALL.len()],
    total: AtomicU32,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, config: StreamConfig, counters: Arc<Counters>, now: Instant) -> Self {
        let StreamConfig {
            incarnation,
            limits,
            tracks,
            origin,
            params,
            created_unix,
        } = config;
        Self {
            key,
            incarnation,
            limits,
            policy: tracks,
            created_unix,
            opened: now,
            about: Mutex::new(About {
                origin,
                params,
                recording_mp4: false,
                recording_hls: false,
            }),
            readers: ReaderCounts::default(),
            core: Mutex::new(Core::new(limits, now)),
            counters,
            kept: OnceLock::new(),
        }
    }

    pub(crate) fn core(&self) -> &Mutex<Core> {
        &self.core
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its name.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// When it was opened; media time 0 is soon after, when its first frame came.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Which of the streams of this name it is.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether readers may come: tracks were ready once, and the stream is not closed.
    pub fn is_live(&self) -> bool {
        let core = self.core.lock();
        core.live && core.closed.is_none()
    }

    /// Why it ended, if it has.
    pub fn end(&self) -> Option<EndReason> {
        self.core.lock().closed
    }

    /// The tracks offered; none before readiness and after the end.
    pub fn tracks(&self) -> Arc<[Track]> {
        self.core.lock().tracks().clone()
    }

    /// The right to write. A second publisher after the first broke off takes the stream as it is: readers stay, times go on,
    /// and its tracks replace the old ones when they are ready.
    ///
    /// # Errors
    ///
    /// Somebody has it, or the stream is closed.
    pub fn publisher(self: &Arc<Self>, on_leave: Option<OnLeave>) -> Result<Publisher, PublishError> {
        let mut core = self.core.lock();
        if let Some(reason) = core.closed {
            return Err(PublishError::Closed(reason));
        }
        if std::mem::replace(&mut core.leased, true) {
            return Err(PublishError::Busy);
        }
        let session = Session::new(self.policy, self.limits.max_bytes, core.last_dts());
        drop(core);
        Ok(Publisher::new(self.clone(), session, on_leave))
    }

    /// Whether there is a publisher.
    pub fn has_publisher(&self) -> bool {
        self.core.lock().leased
    }

    /// A new reader of the container `mux`, which `factory` makes if nobody reads it yet. It gets the container's preamble,
    /// then packets from the newest key packet on. If none is cached, it waits for the next; without video it begins half a
    /// second back.
    ///
    /// `factory` runs under the stream's lock: it must be quick and must not call the hub.
    ///
    /// # Errors
    ///
    /// The stream has no tracks yet, or is closed. In both cases `on_leave` of the options is dropped without being called.
    pub fn reader(
        self: &Arc<Self>,
        mux: MuxId,
        options: ReaderOptions,
        factory: impl FnOnce() -> Box<dyn Mux>,
    ) -> Result<Reader, ReadError> {
        let mut effects = Effects::default();
        let mut core = self.core.lock();
        if let Some(reason) = core.closed {
            return Err(ReadError::Closed(reason));
        }
        if !core.live {
            return Err(ReadError::NotReady);
        }
        let (ring, attached) = core.attach(mux, false, factory, &mut effects);
        let cursor = ring.lock().join();
        drop(core);
        effects.settle(&self.counters);
        self.counters.muxers.add(u64::from(attached));
        let counted = self.count(options.count);
        Ok(Reader::new(counted, ring, cursor, options))
    }

    /// Makes a container whether it is read or not, such as HLS, whose viewers need segments of the past. Allowed before readiness.
    ///
    /// # Errors
    ///
    /// The stream is closed.
    pub fn attach_eager(&self, mux: MuxId, factory: impl FnOnce() -> Box<dyn Mux>) -> Result<(), Closed> {
        let mut effects = Effects::default();
        let mut core = self.core.lock();
        if let Some(reason) = core.closed {
            return Err(Closed(reason));
        }
        let (_, attached) = core.attach(mux, true, factory, &mut effects);
        drop(core);
        effects.settle(&self.counters);
        self.counters.muxers.add(u64::from(attached));
        Ok(())
    }

    /// Takes [`Self::attach_eager`] back: the container goes with its last reader, or now.
    pub fn detach_eager(&self, mux: MuxId) {
        let ring = self.core.lock().make_lazy(mux);
        if let Some(ring) = ring {
            self.detach_if_idle(&ring);
        }
    }

    /// Whether the container is being made.
    pub fn is_attached(&self, mux: MuxId) -> bool {
        self.core.lock().is_attached(mux)
    }

    pub(crate) fn detach_if_idle(&self, ring: &Arc<Mutex<Ring>>) {
        let mux = self.core.lock().detach_if_idle(ring);
        self.counters.muxers.sub(u64::from(mux.is_some()));
    }

    /// Counts somebody who reads the stream by other means than a [`Reader`], an HLS session for instance, until the
    /// returned value is dropped.
    pub fn count(self: &Arc<Self>, count: CountAs) -> Counted {
        Counted::new(self.clone(), count)
    }

    pub(crate) fn add_readers(&self, count: CountAs) {
        if let CountAs::Schema(schema) = count {
            self.readers.by_schema[schema_index(schema)].fetch_add(1, Ordering::Relaxed);
        }
        if count != CountAs::Nothing {
            self.readers.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove_readers(&self, count: CountAs) {
        if let CountAs::Schema(schema) = count {
            self.readers.by_schema[schema_index(schema)].fetch_sub(1, Ordering::Relaxed);
        }
        if count != CountAs::Nothing {
            self.readers.total.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Readers of one schema.
    pub fn readers(&self, schema: Schema) -> u32 {
        self.readers.by_schema[schema_index(schema)].load(Ordering::Relaxed)
    }

    /// Readers of all schemas, and those that count in the total only.
    pub fn total_readers(&self) -> u32 {
        self.readers.total.load(Ordering::Relaxed)
    }

    /// Changes where it comes from: the publisher was lost, or another one came.
    pub fn set_origin(&self, origin: OriginInfo) {
        self.about.lock().origin = origin;
    }

    /// Where it comes from.
    pub fn origin(&self) -> OriginInfo {
        self.about.lock().origin.clone()
    }

    /// Changes the publisher's query string.
    pub fn set_params(&self, params: String) {
        self.about.lock().params = params;
    }

    /// Says whether an MP4 recording runs.
    pub fn set_recording_mp4(&self, running: bool) {
        self.about.lock().recording_mp4 = running;
    }

    /// Says whether the HLS muxer exists.
    pub fn set_recording_hls(&self, running: bool) {
        self.about.lock().recording_hls = running;
    }

    /// A snapshot for reports.
    pub fn info(&self, schema: Schema, now: Instant) -> MediaInfo {
        let core = self.core.lock();
        let (tracks, total_bytes, bytes_speed) =
            (core.track_infos(), core.total_bytes(), core.bytes_per_second(now));
        drop(core);
        let about = self.about.lock();
        MediaInfo {
            key: self.key.clone(),
            schema,
            params: about.params.clone(),
            created_unix: self.created_unix,
            alive_second: now.saturating_duration_since(self.opened).as_secs(),
            bytes_speed,
            total_bytes,
            readers: self.readers(schema),
            total_readers: self.total_readers(),
            origin: about.origin.clone(),
            recording_mp4: about.recording_mp4,
            recording_hls: about.recording_hls,
            tracks,
        }
    }

    /// Waits for the end of the stream: for those who hold it and do not read. Readers learn it from [`crate::Next::Ended`].
    /// Cancel-safe.
    pub fn ended(self: &Arc<Self>) -> Ended {
        Ended {
            stream: self.clone(),
            ticket: None,
        }
    }

    /// Something that the stream's user keeps with it for its life; `make` is called once.
    pub fn keep<T: Clone + Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<T> {
        self.kept.get_or_init(|| Box::new(make())).downcast_ref().cloned()
    }

    /// Ends the stream. Readers get the packets that are left, then [`crate::Next::Ended`]; the publisher's next call fails. The
    /// first reason stays. The name is free only after [`crate::Hub::remove`].
    pub fn close(&self, reason: EndReason) {
        let mut effects = Effects::default();
        let muxers = self.core.lock().close(reason, &mut effects);
        self.counters.muxers.sub(muxers as u64);
        effects.settle(&self.counters);
    }
}

/// See [`Stream::ended`].
pub struct Ended {
    stream: Arc<Stream>,
    ticket: Option<Ticket>,
}

impl Future for Ended {
    type Output = EndReason;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<EndReason> {
        let this = self.get_mut();
        let mut core = this.stream.core.lock();
        match core.closed {
            Some(reason) => Poll::Ready(reason),
            None => {
                this.ticket = Some(core.enders.register(this.ticket, context.waker()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Dropped outside the lock: a waker may own what it wakes.
            let waker = self.stream.core.lock().enders.cancel(ticket);
            drop(waker);
        }
    }
}

/// Place of a schema in [`Schema::ALL`].
const fn schema_index(schema: Schema) -> usize {
    match schema {
        Schema::Rtmp => 0,
        Schema::Rtsp => 1,
        Schema::Ts => 2,
        Schema::Fmp4 => 3,
        Schema::Hls => 4,
        Schema::HlsFmp4 => 5,
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} #{})", self.key, self.incarnation)
    }
}
