//! The notification plane: news that nobody waits for.
//!
//! Telling is never in the way: [`Notifier::send`] writes the bodies down and returns. Each endpoint has an [outlet](outlet) with its
//! own queue, order and bounds. A [`Driver`], one future that the server runs, sends what waits: at most [`MAX_IN_FLIGHT`] at once to an
//! endpoint and [`MAX_IN_ALL`] altogether, in order per stream. A durable endpoint's events are in the store, too, and what memory has
//! no room for is there only; the others' events are lost when all attempts fail, as in ZLM. Either is counted.

mod deliver;
mod driver;
mod event;
mod form;
mod online;
mod outlet;
mod queue;
mod schedule;

pub(crate) use deliver::once;
pub use driver::Driver;
pub use event::Event;
pub use outlet::MAX_IN_FLIGHT;
pub use queue::{MAX_BYTES, MAX_EVENTS};
pub use schedule::DURABLE;

use crate::client::Limits;
use crate::deliveries::Deliveries;
use crate::event::{EventName, Outgoing, State};
use crate::hook::Hook;
use crate::metrics::{Dropped, EndpointState};
use crate::plane::Plane;
use crate::settings::{Extra, Settings};
use crate::spool::{Listener, Opened, Report, Spool, Stored, Work, Writer};
use crate::store::Dead;
use bytes::Bytes;
use config::hook_endpoint::KEYED;
use media::{Schema, StreamKey};
use online::Online;
use outlet::{Lost, Outlet};
use parking_lot::Mutex;
use queue::LaneKey;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Most notifications under way at once, to all endpoints.
pub const MAX_IN_ALL: usize = 500;

/// The driver keeps to its bounds by itself, so no call ever waits for another.
pub(crate) const fn limits(_: &Settings) -> Limits {
    Limits {
        in_flight: MAX_IN_ALL,
        queue: 0,
        wait: Duration::ZERO,
    }
}

/// How an endpoint is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub durable: bool,
    pub disabled: String,
    pub waiting: usize,
    pub oldest: Duration,
    /// Events on disk, and their bytes.
    pub stored: (u64, u64),
    pub last_success: Option<SystemTime>,
    pub last_failure: Option<(SystemTime, String)>,
}

/// Takes news. Cheap to clone.
#[derive(Clone)]
pub struct Notifier(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub plane: Arc<Plane>,
    /// `None` once the driver has ended.
    outlets: Mutex<Option<BTreeMap<Arc<str>, Outlet>>>,
    online: Mutex<Online>,
    /// Where durable endpoints keep their events, if anywhere.
    spool: OnceLock<Spool>,
    /// There may be something to send.
    wake: Notify,
    /// There may be nothing left to send.
    idle: Notify,
}

/// The same event in one of its forms, made when the first endpoint wants it.
struct Form<F> {
    name: EventName,
    wanted: bool,
    make: F,
    made: Option<Arc<Outgoing>>,
}

impl<F: Fn() -> Bytes> Form<F> {
    fn get(&mut self, stream: Option<&StreamKey>, state: Option<State>) -> &Arc<Outgoing> {
        self.made.get_or_insert_with(|| {
            let vhost = stream.map_or("", StreamKey::vhost);
            let mut outgoing = Outgoing::new(self.name, vhost, (self.make)());
            outgoing.stream = stream.cloned();
            outgoing.state = state;
            Arc::new(outgoing)
        })
    }
}

impl Notifier {
    pub(crate) fn new(plane: Arc<Plane>) -> (Self, Driver) {
        let inner = Arc::new(Inner {
            plane,
            outlets: Mutex::new(Some(BTreeMap::new())),
            online: Mutex::default(),
            spool: OnceLock::new(),
            wake: Notify::new(),
            idle: Notify::new(),
        });
        let driver = Driver::new(inner.clone());
        (Self(inner), driver)
    }

    /// Takes an event for every endpoint that wants it. Does not wait. When an endpoint has no room, the oldest of the least
    /// important of its waiting events is dropped and counted.
    pub fn send(&self, event: &Event) {
        let told = match event {
            Event::Registered { info } => {
                let mut online = self.0.online.lock();
                let first = online.came(&info.key, info.schema);
                online.told(&info.key);
                first
            }
            Event::Removed { key, schema, .. } => self.0.online.lock().went(key, *schema),
            Event::FlowReport { .. }
            | Event::RecordTs { .. }
            | Event::ServerStarted { .. }
            | Event::ServerExited
            | Event::Keepalive(_) => true,
        };
        self.tell(event, told);
    }

    /// A stream came in a form of which nothing can be said any more.
    pub(crate) fn came_unseen(&self, key: &StreamKey, schema: Schema) {
        self.0.online.lock().came(key, schema);
    }

    /// A stream came in a form that nobody wants to hear of.
    pub(crate) fn came_unheard(&self, key: &StreamKey, schema: Schema) {
        let mut online = self.0.online.lock();
        online.came(key, schema);
        online.told(key);
    }

    /// Whether somebody wants to hear that a stream came in this form.
    pub(crate) fn wants_registration(&self, key: &StreamKey, schema: Schema) -> bool {
        let settings = self.0.plane.shared.settings();
        let changed = EventName::Zlm(Hook::StreamChanged);
        let zlm = settings.is_on(Hook::StreamChanged) || settings.extras_want(changed);
        let own = settings.extras_want(EventName::Own(crate::own::OwnEvent::StreamOnline));
        zlm && settings.reports_changes_in(schema) || own && !self.0.online.lock().is_told(key)
    }

    /// `own`: whether it is to be told in our own form.
    fn tell(&self, event: &Event, own: bool) {
        let settings = self.0.plane.shared.settings();
        let (hook, key) = (event.hook(), event.key());
        let filtered = event
            .filtered_schema()
            .is_some_and(|schema| !settings.reports_changes_in(schema));
        let mut zlm = Form {
            name: hook.into(),
            wanted: !filtered,
            make: || event.zlm(),
            made: None,
        };
        let mut own = Form {
            name: EventName::Own(event.own_name()),
            wanted: own,
            make: || event.own(&settings.media_server_id),
            made: None,
        };
        let keyed = zlm.wanted && settings.is_on(hook);
        let wanted = keyed
            || zlm.wanted && settings.extras_want(zlm.name)
            || own.wanted && settings.extras_want(own.name);
        if !wanted {
            return;
        }
        let form = event.filtered_schema().map(State::Form);
        let online = form.map(|_| State::Online);
        let lane = key.map_or(LaneKey::Server, |key| LaneKey::Stream(key.clone()));
        let metrics = &self.0.plane.shared.metrics;
        let mut outlets = self.0.outlets.lock();
        let Some(outlets) = &mut *outlets else {
            metrics.dropped(KEYED, Dropped::Shutdown, 1);
            return;
        };
        let offer = |outlet: &mut Outlet, outgoing: &Arc<Outgoing>, newest_wins: bool| {
            let lifetime = event::lifetime(outgoing.name, settings.alive_interval);
            let lost = outlet.offer(&lane, event.rank(), outgoing, newest_wins, lifetime);
            let Lost {
                full,
                superseded,
                not_written,
                refused,
            } = lost;
            if refused {
                metrics.store_failed(&outlet.name, Work::Event);
            }
            metrics.dropped(&outlet.name, Dropped::QueueFull, full);
            metrics.dropped(&outlet.name, Dropped::Superseded, superseded);
            metrics.dropped(&outlet.name, Dropped::NotWritten, not_written);
        };
        if keyed && let Some(outlet) = outlets.get_mut(KEYED) {
            offer(outlet, zlm.get(key, form), false);
        }
        for (name, extra) in &settings.extras {
            let Some(outlet) = outlets.get_mut(name) else {
                continue;
            };
            let newest_wins = extra.spec.newest_wins;
            if zlm.wanted && extra.gets(zlm.name) {
                offer(outlet, zlm.get(key, form), newest_wins);
            }
            if own.wanted && extra.gets(own.name) {
                offer(outlet, own.get(key, online), newest_wins);
            }
        }
        self.0.count(outlets);
        self.0.wake.notify_one();
    }

    /// Waits until everything is done with, at most until `deadline`. Returns how many events are left. The driver must be running.
    pub async fn drain(&self, deadline: Instant) -> usize {
        loop {
            let mut idle = pin!(self.0.idle.notified());
            // Registered before looking, so that nothing can happen in between.
            idle.as_mut().enable();
            let left = self.waiting();
            if left == 0 || timeout_at(deadline, idle).await.is_err() {
                return left;
            }
        }
    }

    /// Events that are not done with, those under way included. One event for two endpoints is two.
    pub fn waiting(&self) -> usize {
        let outlets = self.0.outlets.lock();
        let waiting = |outlets: &BTreeMap<_, Outlet>| outlets.values().map(Outlet::waiting).sum();
        outlets.as_ref().map_or(0, waiting)
    }

    /// Ready when everything that is to be kept is on the medium.
    pub(crate) async fn flush(&self) {
        if let Some(spool) = self.0.spool.get() {
            spool.flush().await;
        }
    }

    /// Makes the outlets fit the settings. `writer` is the store's, before its thread runs.
    pub(crate) fn sync(&self, old: Option<&Settings>, settings: &Settings, mut writer: Option<&mut Writer>) {
        let keyed = (Arc::<str>::from(KEYED), None);
        let extras = settings
            .extras
            .iter()
            .map(|(name, extra)| (name.clone(), Some(extra)));
        let mut wanted: BTreeMap<Arc<str>, Option<&Arc<Extra>>> = extras.collect();
        wanted.insert(keyed.0, keyed.1);

        let mut opened = BTreeMap::new();
        for (name, extra) in &wanted {
            let durable = extra.map_or(settings.durable, |extra| extra.spec.durable);
            let is = self
                .0
                .with_outlet(name, |outlet| outlet.is_durable())
                .unwrap_or(false);
            if durable && !is {
                // Outside the lock: it reads what is there.
                match self.0.open(name, writer.as_deref_mut()) {
                    Ok(pair) => {
                        opened.insert(name.clone(), pair);
                    }
                    Err(error) => {
                        self.0.plane.shared.metrics.store_failed(name, Work::Open);
                        tracing::error!(
                            endpoint = &**name,
                            error,
                            "notifications of this endpoint cannot be kept on disk; they are kept in memory only until that works"
                        );
                    }
                }
            }
        }
        let mut outlets = self.0.outlets.lock();
        let Some(outlets) = &mut *outlets else { return };
        let metrics = &self.0.plane.shared.metrics;
        outlets.retain(|name, outlet| {
            let stays = wanted.contains_key(name);
            if !stays {
                metrics.dropped(name, Dropped::Removed, outlet.clear());
                metrics.forget_endpoint(name);
                if let Some(spool) = outlet.spool() {
                    spool.close(name, false);
                }
            }
            stays
        });
        for (name, extra) in wanted {
            let outlet = outlets.entry(name.clone()).or_insert_with(|| {
                // The receivers of the keys have one log for questions and news.
                let keyed = &*name == KEYED;
                let log = keyed.then(|| self.0.plane.shared.deliveries.clone());
                Outlet::new(name.clone(), log.unwrap_or_default())
            });
            let durable = extra.map_or(settings.durable, |extra| extra.spec.durable);
            if let Some((spool, opened)) = opened.remove(&name) {
                outlet.keep_on_disk(spool, opened);
            } else if !durable && let Some(spool) = outlet.spool() {
                outlet.keep_in_memory();
                spool.close(&name, false);
            }
            let before = old.and_then(|old| old.extras.get(&name));
            let changed = |extra: &Arc<Extra>| before.is_some_and(|before| before.spec != extra.spec);
            if outlet.disabled.is_some() && extra.is_some_and(changed) {
                outlet.enable();
            }
        }
        self.0.wake.notify_one();
    }

    /// Sets the store.
    pub(crate) fn set_spool(&self, spool: Spool, writer: &Writer) {
        let inner = Arc::downgrade(&self.0);
        let listener: Listener = Box::new(move |name, report| {
            if let Some(inner) = inner.upgrade() {
                inner.reported(name, report);
            }
        });
        *writer.listener().lock() = Some(listener);
        let _ = self.0.spool.set(spool);
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn spool(&self) -> Option<&Spool> {
        self.0.spool.get()
    }

    /// How an endpoint is doing.
    pub(crate) fn health(&self, name: &str) -> Health {
        let now = Instant::now();
        let health = |outlet: &mut Outlet| Health {
            durable: outlet.is_durable(),
            disabled: outlet.disabled.clone().unwrap_or_default(),
            waiting: outlet.waiting(),
            oldest: outlet
                .oldest()
                .map_or(Duration::ZERO, |born| now.saturating_duration_since(born)),
            stored: outlet
                .stored()
                .map_or((0, 0), |stored| (stored.events(), stored.bytes())),
            last_success: outlet.last_success,
            last_failure: outlet.last_failure.clone(),
        };
        self.0.with_outlet(name, health).unwrap_or_default()
    }

    /// The last attempts to an endpoint.
    pub(crate) fn log(&self, name: &str) -> Arc<Deliveries> {
        let log = self.0.with_outlet(name, |outlet| outlet.log.clone());
        log.unwrap_or_default()
    }

    /// Switches an endpoint on again.
    pub(crate) fn enable(&self, name: &str) {
        self.0.with_outlet(name, Outlet::enable);
        self.0.wake();
    }

    /// Sends dead letters again; returns how many.
    pub(crate) fn replay(&self, name: &str, letters: Vec<Dead>) -> usize {
        let alive = self.0.plane.shared.settings().alive_interval;
        let taken = self.0.with_outlet(name, |outlet| {
            let taken = letters.iter().filter(|letter| {
                let name = EventName::parse(&letter.event.event);
                let lives = name.map_or(Duration::ZERO, |name| event::lifetime(name, alive));
                outlet.take_back(&letter.event, lives)
            });
            taken.count()
        });
        self.0.wake();
        taken.unwrap_or(0)
    }

    /// Deletes what is kept of an endpoint that is gone.
    pub(crate) fn purge(&self, name: &Arc<str>) {
        if let Some(spool) = self.0.spool.get() {
            spool.close(name, true);
        }
    }

    /// Renews the gauges of each endpoint.
    pub(crate) fn refresh_metrics(&self) {
        let outlets = self.0.outlets.lock();
        let now = Instant::now();
        for outlet in outlets.iter().flat_map(BTreeMap::values) {
            let age = outlet.oldest().map(|born| now.saturating_duration_since(born));
            self.0.plane.shared.metrics.endpoint(
                &outlet.name,
                EndpointState {
                    waiting: outlet.waiting(),
                    age: age.map_or(0, |age| age.as_secs()),
                    stored: outlet.stored().map_or(0, Stored::bytes),
                    disabled: outlet.disabled.is_some(),
                },
            );
        }
    }
}

impl Inner {
    /// Does something with the outlet of an endpoint, if there is one.
    pub(crate) fn with_outlet<R>(&self, name: &str, act: impl FnOnce(&mut Outlet) -> R) -> Option<R> {
        let mut outlets = self.outlets.lock();
        outlets.as_mut()?.get_mut(name).map(act)
    }

    pub(crate) fn spool(&self) -> Option<&Spool> {
        self.spool.get()
    }

    /// There may be something to send.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    fn open(&self, name: &Arc<str>, writer: Option<&mut Writer>) -> Result<(Spool, Opened), String> {
        let spool = self
            .spool
            .get()
            .ok_or("hook.store_dir is not set, or cannot be used")?;
        let opened = match writer {
            Some(writer) => writer.open(name).map_err(|error| error.to_string())?,
            None => spool.open_blocking(name)?,
        };
        Ok((spool.clone(), opened))
    }

    /// Endpoints whose events should be on disk and are not, because that failed.
    fn not_on_disk(&self) -> Vec<(Arc<str>, Spool)> {
        let Some(spool) = self.spool.get() else {
            return Vec::new();
        };
        let settings = self.plane.shared.settings();
        let outlets = self.outlets.lock();
        let outlets = outlets.iter().flat_map(BTreeMap::values);
        outlets
            .filter(|outlet| !outlet.is_durable() && settings.is_durable(&outlet.name))
            .map(|outlet| (outlet.name.clone(), spool.clone()))
            .collect()
    }

    /// What came of trying it again.
    fn opened(&self, name: &Arc<str>, spool: &Spool, opened: Result<Opened, String>) {
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.plane.shared.metrics.store_failed(name, Work::Open);
                tracing::warn!(
                    endpoint = &**name,
                    error,
                    "notifications of this endpoint still cannot be kept on disk"
                );
                return;
            }
        };
        let wanted = self.plane.shared.settings().is_durable(name);
        let used = self.with_outlet(name, |outlet| {
            if wanted && !outlet.is_durable() {
                tracing::info!(endpoint = &**name, "notifications are kept on disk from now on");
                outlet.keep_on_disk(spool.clone(), opened);
            }
            outlet.is_durable()
        });
        if used != Some(true) {
            spool.close(name, false);
        }
        self.wake();
    }

    /// Counts what waits, and tells those who wait for nothing to be left.
    fn count(&self, outlets: &BTreeMap<Arc<str>, Outlet>) {
        let left: usize = outlets.values().map(Outlet::waiting).sum();
        self.plane
            .metrics
            .waiting
            .set(i64::try_from(left).unwrap_or(i64::MAX));
        if left == 0 {
            self.idle.notify_waiters();
        }
    }

    /// What the store has to say.
    fn reported(&self, name: &str, report: Report) {
        let metrics = &self.plane.shared.metrics;
        match report {
            Report::NotWritten { seq } => {
                // Without an outlet nobody has it in memory.
                let lost = self.with_outlet(name, |outlet| outlet.not_written(seq));
                metrics.dropped(name, Dropped::NotWritten, usize::from(lost != Some(false)));
            }
            Report::Dropped(dropped) => {
                let lost = self.with_outlet(name, |outlet| {
                    let lost = dropped.iter().filter(|event| outlet.is_only_on_disk(event.seq));
                    lost.count()
                });
                metrics.dropped(name, Dropped::DiskFull, lost.unwrap_or(dropped.len()));
            }
            Report::DeadDropped(count) => metrics.dropped(name, Dropped::DiskFull, count),
            Report::Damaged(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                metrics.dropped(name, Dropped::Damaged, count);
            }
            Report::Failed(work) => metrics.store_failed(name, work),
        }
    }
}
