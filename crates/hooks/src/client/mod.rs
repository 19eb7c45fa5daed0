//! The HTTP client of one plane: connections are kept and shared per receiver, calls in flight are bounded per receiver.
//!
//! HTTP/1.1, because that is what hook services written for ZLM speak. No redirects, no cookies, no proxy from the environment.

pub mod connection;
pub mod dial;
pub mod target;
pub mod tls;

pub use target::{BadUrl, Origin, Target};

use crate::failure::Failure;
use crate::metrics::PlaneMetrics;
use crate::settings::Settings;
use bytes::Bytes;
use connection::{Connection, Reply};
use dial::Dial;
use http_body_util::Full;
use hyper::Request;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tls::Trust;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Most idle connections kept per receiver.
pub const MAX_IDLE: usize = 32;

/// How long an idle connection is kept.
pub const IDLE_LIMIT: Duration = Duration::from_secs(90);

/// Bounds on the calls to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Calls under way.
    pub in_flight: usize,
    /// Calls waiting for one of them to end.
    pub queue: usize,
    /// How long a call may wait.
    pub wait: Duration,
}

/// The client of one plane.
pub(crate) struct Client {
    dial: Box<dyn Dial>,
    receivers: Mutex<Receivers>,
    /// Grows when other receivers are trusted; connections of an older one are not used again.
    generation: AtomicU64,
    metrics: PlaneMetrics,
}

struct Receivers {
    limits: Limits,
    by_origin: HashMap<Origin, Arc<Receiver>>,
}

struct Receiver {
    limits: Limits,
    permits: Semaphore,
    waiting: AtomicUsize,
    idle: Mutex<Vec<(u64, Connection)>>,
}

/// The right to make a call, until dropped.
pub(crate) struct Permit<'a> {
    _permit: SemaphorePermit<'a>,
    _in_flight: Counted<'a>,
}

impl Client {
    pub(crate) fn new(dial: Box<dyn Dial>, limits: Limits, metrics: PlaneMetrics) -> Self {
        let receivers = Mutex::new(Receivers {
            limits,
            by_origin: HashMap::new(),
        });
        Self {
            dial,
            receivers,
            generation: AtomicU64::new(0),
            metrics,
        }
    }

    /// The handle of a receiver, for [`Client::post`].
    pub(crate) fn slot(&self, origin: &Origin) -> Slot {
        let mut receivers = self.receivers.lock();
        let limits = receivers.limits;
        let receiver = receivers.by_origin.entry(origin.clone()).or_insert_with(|| {
            Arc::new(Receiver {
                limits,
                permits: Semaphore::new(limits.in_flight),
                waiting: AtomicUsize::new(0),
                idle: Mutex::default(),
            })
        });
        Slot {
            receiver: receiver.clone(),
        }
    }

    /// Sends a request to a receiver and reads the answer: status and, if that is 200, headers and body. No time limit of its own
    /// besides that for connecting.
    pub(crate) async fn post(
        &self,
        slot: &Slot,
        origin: &Origin,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, Failure> {
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(mut kept) = slot.take_idle(generation).await {
            match kept.exchange(request.clone()).await {
                Ok(answer) => {
                    self.keep(slot, generation, kept).await;
                    return Ok(answer);
                }
                // The receiver closed the connection while it was idle, and our request crossed that: not its failure.
                Err(fault) if fault.unanswered => {}
                Err(fault) => return Err(fault.failure),
            }
        }
        let mut fresh = Connection::start(self.dial.dial(origin).await?).await?;
        let answer = fresh.exchange(request).await.map_err(|fault| fault.failure)?;
        self.keep(slot, generation, fresh).await;
        Ok(answer)
    }

    async fn keep(&self, slot: &Slot, generation: u64, mut connection: Connection) {
        if !connection.is_reusable().await || generation != self.generation.load(Ordering::Acquire) {
            return;
        }
        let mut idle = slot.receiver.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push((generation, connection));
        }
    }

    /// Takes over changed settings: forgets receivers that are no longer configured and, if `trust` is given, connections that were
    /// verified under other rules. Calls under way end under the rules they began with.
    pub(crate) fn apply(&self, settings: &Settings, limits: Limits, trust: Option<&Trust>) {
        if let Some(trust) = trust {
            self.dial.trust(trust);
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        let targets = settings
            .endpoints()
            .filter_map(|endpoint| endpoint.target.as_ref().ok());
        let configured: HashSet<&Origin> = targets.map(|target| &target.origin).collect();
        let mut receivers = self.receivers.lock();
        let same_limits = receivers.limits == limits;
        receivers.limits = limits;
        receivers
            .by_origin
            .retain(|origin, _| same_limits && configured.contains(origin));
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for receiver in self.receivers.lock().by_origin.values() {
            receiver
                .idle
                .lock()
                .retain(|(_, connection)| now.duration_since(connection.last_used) < IDLE_LIMIT);
        }
    }

    /// Waits for the right to make a call, no longer than until `deadline`.
    pub(crate) async fn admit<'a>(
        &'a self,
        slot: &'a Slot,
        deadline: Option<Instant>,
    ) -> Result<Permit<'a>, Failure> {
        let receiver = &slot.receiver;
        let Limits {
            in_flight,
            queue,
            wait,
        } = receiver.limits;
        let permit = match receiver.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = receiver.queue_up(queue, &self.metrics.waiting).ok_or_else(|| {
                    Failure::overload(format!(
                        "{in_flight} calls under way and {queue} waiting, which is the limit"
                    ))
                })?;
                let patience = Instant::now() + wait;
                let patience = deadline.map_or(patience, |deadline| deadline.min(patience));
                match timeout_at(patience, receiver.permits.acquire()).await {
                    Ok(Ok(permit)) => permit,
                    // The semaphore is never closed, so this is the time-out.
                    Ok(Err(_)) | Err(_) => {
                        let detail = format!("{in_flight} calls under way, and none ended in time");
                        return Err(Failure::overload(detail));
                    }
                }
            }
        };
        Ok(Permit {
            _permit: permit,
            _in_flight: Counted::new(&self.metrics.in_flight),
        })
    }
}

/// A receiver's connections and bounds.
pub(crate) struct Slot {
    receiver: Arc<Receiver>,
}

impl Slot {
    /// The connection that was used last, if it is still open.
    async fn take_idle(&self, generation: u64) -> Option<Connection> {
        loop {
            let (made_in, mut connection) = self.receiver.idle.lock().pop()?;
            let fresh = connection.last_used.elapsed() < IDLE_LIMIT;
            if made_in == generation && fresh && connection.is_open().await {
                return Some(connection);
            }
        }
    }
}

impl Receiver {
    fn queue_up<'a>(&'a self, limit: usize, gauge: &'a Gauge) -> Option<Place<'a>> {
        let place = Place {
            waiting: &self.waiting,
            _counted: Counted::new(gauge),
        };
        (self.waiting.fetch_add(1, Ordering::AcqRel) < limit).then_some(place)
    }
}

/// A place in a receiver's queue; left when dropped, also when it was one too many.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    _counted: Counted<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts itself in a gauge while it lives.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
