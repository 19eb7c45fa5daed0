//! The one future that sends what waits.

use super::deliver::Delivered;
use super::outlet::Outlet;
use super::{Inner, MAX_IN_ALL};
use crate::client::IDLE_LIMIT;
use crate::metrics::Dropped;
use crate::plane::Plane;
use crate::spool::{Flusher, Loaded, Opened, Spool, Writer};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// What the driver waits for.
enum Step {
    Delivered(Delivered),
    Loaded(Arc<str>, u64, Result<Loaded, String>),
    Opened(Arc<str>, Spool, Result<Opened, String>),
}

/// Sends what waits, while [`Driver::run`] runs.
pub struct Driver {
    inner: Arc<Inner>,
    sweep_also: Vec<Arc<Plane>>,
    pub(crate) store: Option<(Writer, Flusher)>,
}

impl Driver {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            sweep_also: Vec::new(),
            store: None,
        }
    }

    /// The idle connections of another plane are looked after, too.
    pub(crate) fn sweep_also(&mut self, plane: Arc<Plane>) {
        self.sweep_also.push(plane);
    }

    /// The store's work, if there is a store: each of the two blocks, so run them on threads of their own, before anything else.
    /// They end with the driver.
    pub fn take_store(&mut self) -> Option<(Writer, Flusher)> {
        self.store.take()
    }

    /// Sends until `stop` is ready. What waits in memory then is given up and counted, and so is what is sent later; call
    /// [`Notifier::drain`] before.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let inner = &*self.inner;
        let mut stop = pin!(stop);
        let mut under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send + '_>>> =
            FuturesUnordered::new();
        let mut sweep = interval(IDLE_LIMIT / 3);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = 0;
        loop {
            let timer = self.start_what_can_be(&under_way, &mut turn);
            let due = async {
                match timer {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stop => break,
                Some(step) = under_way.next() => match step {
                    Step::Delivered(delivered) => inner.delivered(delivered),
                    Step::Loaded(name, number, part) => {
                        let unknown = inner.with_outlet(&name, |outlet| outlet.loaded(number, part));
                        let metrics = &inner.plane.shared.metrics;
                        metrics.dropped(&name, Dropped::SwitchedOff, unknown.unwrap_or(0));
                        let outlets = inner.outlets.lock();
                        if let Some(outlets) = &*outlets {
                            inner.count(outlets);
                        }
                    }
                    Step::Opened(name, spool, opened) => inner.opened(&name, &spool, opened),
                },
                () = inner.wake.notified() => {}
                () = due => {}
                _ = sweep.tick() => {
                    inner.plane.sweep();
                    for plane in &self.sweep_also {
                        plane.sweep();
                    }
                    for (name, spool) in inner.not_on_disk() {
                        under_way.push(Box::pin(async move {
                            let opened = spool.open(&name).get().await;
                            Step::Opened(name, spool, opened)
                        }));
                    }
                }
            }
        }
    }

    /// Starts calls and reads from disk as far as the bounds allow, each endpoint in its turn. Returns when there is more to do.
    fn start_what_can_be<'a>(
        &'a self,
        under_way: &FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send + 'a>>>,
        turn: &mut usize,
    ) -> Option<Instant> {
        let inner = &*self.inner;
        let mut outlets = inner.outlets.lock();
        let outlets = outlets.as_mut()?;
        let now = Instant::now();
        let mut calls: usize = outlets.values().map(Outlet::under_way).sum();
        for (name, outlet) in outlets.iter_mut() {
            if let Some(part) = outlet.wants_part(now) {
                let name = name.clone();
                under_way.push(Box::pin(async move {
                    let read = part.spool.read(&name, part.after, part.max, part.bytes);
                    Step::Loaded(name, part.number, read.get().await)
                }));
            }
        }
        // One call for each endpoint at a time, from another one on each time, so that none has to wait for a busy one.
        let mut order: Vec<&mut Outlet> = outlets.values_mut().collect();
        *turn = (*turn + 1) % order.len().max(1);
        order.rotate_left(*turn);
        while calls < MAX_IN_ALL {
            let before = calls;
            for outlet in &mut order {
                if calls < MAX_IN_ALL
                    && let Some(job) = outlet.take(now)
                {
                    calls += 1;
                    let lent = outlet.lend();
                    under_way.push(Box::pin(async move {
                        Step::Delivered(inner.deliver(job, lent).await)
                    }));
                }
            }
            if calls == before {
                break;
            }
        }
        let timers = outlets.values().filter_map(Outlet::next_timer);
        timers.min().filter(|_| calls < MAX_IN_ALL)
    }
}

/// Whatever ends the driver, nobody is left to believe that events are still sent.
impl Drop for Driver {
    fn drop(&mut self) {
        let outlets = self.inner.outlets.lock().take();
        let metrics = &self.inner.plane.shared.metrics;
        for (name, mut outlet) in outlets.into_iter().flatten() {
            metrics.dropped(&name, Dropped::Shutdown, outlet.clear());
        }
        self.inner.count(&BTreeMap::new());
        if let Some(spool) = self.inner.spool.get() {
            spool.stop();
        }
    }
}
