//! The connections to one receiver, and the bounds on calls to it.

use super::answer::Timing;
use super::connection::Connection;
use super::dial::{Dial, Dialed};
use super::multiplexed::{Call, Multiplexed};
use super::{IDLE_LIMIT, Limits, MAX_IDLE, Route};
use crate::failure::Failure;
use crate::metrics::Connections;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hyper::Version;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A receiver.
pub(super) struct Receiver {
    route: Route,
    pub(super) limits: Limits,
    pub(super) permits: Semaphore,
    waiting: AtomicUsize,
    /// HTTP/1.1 connections that nobody uses, with the generation they were made in.
    idle: Mutex<Vec<(u64, Connection)>>,
    sharing: Mutex<Sharing>,
    connections: Connections,
}

/// What is shared with TLS, where the receiver chooses the version of HTTP.
#[derive(Default)]
struct Sharing {
    /// The HTTP/2 connection and its generation.
    current: Option<(u64, Arc<Multiplexed>)>,
    /// The connection that is being opened for all calls that wait, because it may become an HTTP/2 one. Held by these only, so
    /// it is given up when the last of them leaves.
    opening: Option<(u64, WeakShared<Opening>)>,
    /// The receiver chose HTTP/1.1 the last time, so everybody opens connections of their own.
    http1: bool,
}

type Opening = BoxFuture<'static, Result<Opened, Failure>>;

/// A connection that was opened by or for several calls.
#[derive(Clone)]
struct Opened {
    link: OpenedLink,
    connect: Duration,
    tls: Option<Duration>,
}

#[derive(Clone)]
enum OpenedLink {
    /// For the call that takes it first.
    Http1(Arc<Mutex<Option<Connection>>>),
    Http2(Arc<Multiplexed>),
}

/// A connection for one call.
pub(super) enum Link {
    Http1(Connection),
    Http2(Call),
}

impl Receiver {
    pub(super) fn new(route: Route, limits: Limits, connections: Connections) -> Self {
        Self {
            route,
            limits,
            permits: Semaphore::new(limits.in_flight),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            sharing: Mutex::default(),
            connections,
        }
    }

    /// A connection of this generation: one that is there, else a new one. `fresh`: none of HTTP/1.1 that was idle; all of
    /// them may have died of the same cause.
    pub(super) async fn link(
        self: &Arc<Self>,
        dial: &dyn Dial,
        generation: u64,
        fresh: bool,
        timing: &mut Timing,
    ) -> Result<Link, Failure> {
        timing.reused = true;
        if !fresh && let Some(idle) = self.take_idle(generation).await {
            timing.version = Some(Version::HTTP_11);
            return Ok(Link::Http1(idle));
        }
        let mut opening = if self.route.origin.tls {
            let mut sharing = self.sharing.lock();
            if let Some(call) = sharing.join(generation) {
                timing.version = Some(Version::HTTP_2);
                return Ok(Link::Http2(call));
            }
            sharing.opening(|| self.open(dial, generation), generation)
        } else {
            None
        };
        timing.reused = false;
        loop {
            let opened = match opening.take() {
                Some(opening) => opening.await?,
                None => self.open(dial, generation).await?,
            };
            if let Some(link) = opened.take(timing) {
                return Ok(link);
            }
            // HTTP/1.1, and another call that waited has got it; or HTTP/2, and a call that was cancelled has closed it already.
            // The next one is for this call alone.
        }
    }

    /// Opens a connection and notes what it is.
    fn open(self: &Arc<Self>, dial: &dyn Dial, generation: u64) -> Opening {
        let dialing = dial.dial(&self.route);
        let receiver = self.clone();
        Box::pin(async move {
            let connecting = receiver.connections.begin();
            let opened = match dialing.await {
                Ok(dialed) => start(dialed, &receiver.connections).await,
                Err(failure) => Err(failure),
            };
            connecting.end(opened.as_ref().err().map(|failure| failure.class));
            receiver.sharing.lock().opened(&opened, generation);
            opened
        })
    }

    /// The connection that was used last, if it is still open.
    async fn take_idle(&self, generation: u64) -> Option<Connection> {
        loop {
            let (made_in, mut connection) = self.idle.lock().pop()?;
            let fresh = connection.last_used.elapsed() < IDLE_LIMIT;
            if made_in == generation && fresh && connection.is_open().await {
                return Some(connection);
            }
        }
    }

    /// Keeps an HTTP/1.1 connection after a call, if it can be used again.
    pub(super) async fn keep(&self, generation: u64, mut connection: Connection) {
        if !connection.is_reusable().await {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push((generation, connection));
        }
    }

    /// Closes connections that were idle for too long, and lets the others answer what the receiver asks of them.
    pub(super) fn sweep(&self, now: Instant) {
        let is_young = |last_used: Instant| now.duration_since(last_used) < IDLE_LIMIT;
        self.idle
            .lock()
            .retain(|(_, connection)| is_young(connection.last_used));
        let mut sharing = self.sharing.lock();
        if let Some((_, shared)) = &sharing.current
            && !(shared.is_open() && shared.idle_since().is_none_or(is_young))
        {
            sharing.current = None;
        }
    }

    /// A place in the queue, if there is one.
    pub(super) fn queue_up<'a>(&'a self, limit: usize, gauge: &'a Gauge) -> Option<Place<'a>> {
        let place = Place {
            waiting: &self.waiting,
            _counted: Counted::new(gauge),
        };
        (self.waiting.fetch_add(1, Ordering::AcqRel) < limit).then_some(place)
    }
}

async fn start(dialed: Dialed, connections: &Connections) -> Result<Opened, Failure> {
    let Dialed {
        stream,
        http2,
        peer,
        connect,
        tls,
    } = dialed;
    let open = connections.open(http2);
    let link = if http2 {
        OpenedLink::Http2(Arc::new(Multiplexed::start(stream, peer, open).await?))
    } else {
        let connection = Connection::start(stream, peer, open).await?;
        OpenedLink::Http1(Arc::new(Mutex::new(Some(connection))))
    };
    Ok(Opened { link, connect, tls })
}

impl Opened {
    fn take(&self, timing: &mut Timing) -> Option<Link> {
        let (link, version) = match &self.link {
            OpenedLink::Http1(connection) => (Link::Http1(connection.lock().take()?), Version::HTTP_11),
            OpenedLink::Http2(shared) => (Link::Http2(shared.join()?), Version::HTTP_2),
        };
        timing.connect = Some(self.connect);
        timing.tls = self.tls;
        timing.version = Some(version);
        Some(link)
    }
}

impl Sharing {
    /// A call on the connection that is there.
    fn join(&mut self, generation: u64) -> Option<Call> {
        let (made_in, shared) = self.current.as_ref()?;
        let usable = *made_in == generation && shared.is_open();
        let call = usable.then(|| shared.join()).flatten();
        if call.is_none() {
            // Calls that still use it hold it.
            self.current = None;
        }
        call
    }

    /// The connection being opened, which is begun if there is none; `None` if there is no point in sharing it.
    fn opening(&mut self, open: impl FnOnce() -> Opening, generation: u64) -> Option<Shared<Opening>> {
        if self.http1 {
            return None;
        }
        let under_way = self
            .opening
            .as_ref()
            .filter(|(begun_in, _)| *begun_in == generation);
        if let Some(opening) = under_way.and_then(|(_, opening)| opening.upgrade()) {
            return Some(opening);
        }
        let opening = open().shared();
        self.opening = opening.downgrade().map(|weak| (generation, weak));
        Some(opening)
    }

    fn opened(&mut self, opened: &Result<Opened, Failure>, generation: u64) {
        if self
            .opening
            .as_ref()
            .is_some_and(|(begun_in, _)| *begun_in == generation)
        {
            self.opening = None;
        }
        match opened {
            Ok(Opened {
                link: OpenedLink::Http2(shared),
                ..
            }) => {
                self.http1 = false;
                self.current = Some((generation, shared.clone()));
            }
            Ok(Opened {
                link: OpenedLink::Http1(_),
                ..
            }) => self.http1 = true,
            Err(_) => {}
        }
    }
}

/// A place in a receiver's queue; left when dropped, also when it was one too many.
pub(super) struct Place<'a> {
    waiting: &'a AtomicUsize,
    _counted: Counted<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts itself in a gauge while it lives.
pub(super) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(super) fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
