//! The HTTP client of one plane: connections are kept and shared per receiver, calls in flight are bounded per receiver.
//!
//! HTTP/1.1, because that is what hook services written for ZLM speak, and HTTP/2 where the receiver chooses it over TLS. No
//! redirects, no cookies, no proxy from the environment.
//!
//! - [`target`], [`address`]: where a URL points, and whether it may.
//! - [`dial`], [`tls`]: opening connections. `receiver`: keeping and sharing them.
//! - [`connection`], `multiplexed`: one connection of HTTP/1.1, or of HTTP/2. [`answer`]: what comes back.

pub mod address;
pub mod answer;
pub mod connection;
pub mod dial;
mod multiplexed;
mod receiver;
pub mod target;
pub mod tls;
mod watched;

pub use address::{AddressRules, UrlSource};
pub use answer::{Reply, Timing};
pub use target::{BadUrl, Origin, Target};

use crate::failure::Failure;
use crate::metrics::PlaneMetrics;
use crate::settings::Settings;
use bytes::Bytes;
use connection::Fault;
use dial::Dial;
use hyper::Request;
use parking_lot::Mutex;
use receiver::{Counted, Link, Receiver};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tls::TlsSettings;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// Most idle connections kept per receiver.
pub const MAX_IDLE: usize = 32;

/// How long an idle connection is kept.
pub const IDLE_LIMIT: Duration = Duration::from_secs(90);

/// How a receiver is reached. Endpoints with the same route share connections and bounds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The server.
    pub origin: Origin,
    /// Whom it must prove to be, and who Tidegate is to it.
    pub tls: Arc<TlsSettings>,
    /// Who named it, so where it may be.
    pub source: UrlSource,
}

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
    /// Grows when files are read again or other addresses are allowed; connections of an older one are not used again.
    generation: AtomicU64,
    metrics: PlaneMetrics,
}

struct Receivers {
    limits: Limits,
    by_route: HashMap<Route, Arc<Receiver>>,
}

/// The right to make a call, until dropped.
pub(crate) struct Permit<'a> {
    _permit: SemaphorePermit<'a>,
    _in_flight: Counted<'a>,
}

/// A receiver's connections and bounds.
pub(crate) struct Slot {
    receiver: Arc<Receiver>,
}

impl Client {
    pub(crate) fn new(dial: Box<dyn Dial>, limits: Limits, metrics: PlaneMetrics) -> Self {
        let receivers = Mutex::new(Receivers {
            limits,
            by_route: HashMap::new(),
        });
        Self {
            dial,
            receivers,
            generation: AtomicU64::new(0),
            metrics,
        }
    }

    /// The handle of a receiver, for [`Client::post`].
    pub(crate) fn slot(&self, route: Route) -> Slot {
        let mut receivers = self.receivers.lock();
        let limits = receivers.limits;
        let receiver = receivers.by_route.entry(route).or_insert_with_key(|route| {
            let connections = self.metrics.connections.clone();
            Arc::new(Receiver::new(route.clone(), limits, connections))
        });
        Slot {
            receiver: receiver.clone(),
        }
    }

    /// Sends a request to a receiver and reads the answer. No time limit of its own besides those for connecting and for a body
    /// that does not matter. `timing` tells how far it got, also if the future is dropped.
    pub(crate) async fn post(
        &self,
        slot: &Slot,
        request: Request<Bytes>,
        timing: &mut Timing,
    ) -> Result<Reply, Failure> {
        match self.exchange(slot, request.clone(), false, timing).await? {
            Ok(reply) => Ok(reply),
            // The receiver closed the connection while it was idle, and our request crossed that; or it said that it did not
            // take it. Not its failure.
            Err(fault) if fault.unprocessed || (fault.unanswered && timing.reused) => {
                let again = self.exchange(slot, request, true, timing).await?;
                again.map_err(|fault| fault.failure)
            }
            Err(fault) => Err(fault.failure),
        }
    }

    async fn exchange(
        &self,
        slot: &Slot,
        request: Request<Bytes>,
        fresh: bool,
        timing: &mut Timing,
    ) -> Result<Result<Reply, Fault>, Failure> {
        let generation = self.generation.load(Ordering::Acquire);
        let receiver = &slot.receiver;
        Ok(
            match receiver.link(&*self.dial, generation, fresh, timing).await? {
                Link::Http1(mut connection) => {
                    let result = connection.exchange(request, timing).await;
                    if result.is_ok() && generation == self.generation.load(Ordering::Acquire) {
                        receiver.keep(generation, connection).await;
                    }
                    result
                }
                Link::Http2(call) => call.exchange(request, timing).await,
            },
        )
    }

    /// Takes over changed settings: forgets receivers that are no longer configured and, if `reload`, connections that were
    /// verified under other rules. Calls under way end under the rules they began with.
    pub(crate) fn apply(&self, settings: &Settings, limits: Limits, reload: bool) {
        if reload {
            self.dial.apply(&settings.addresses);
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        let configured: HashSet<Route> = settings
            .endpoints()
            .filter_map(|endpoint| endpoint.route())
            .collect();
        let mut receivers = self.receivers.lock();
        let same_limits = receivers.limits == limits;
        receivers.limits = limits;
        receivers
            .by_route
            .retain(|route, _| same_limits && configured.contains(route));
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for receiver in self.receivers.lock().by_route.values() {
            receiver.sweep(now);
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
