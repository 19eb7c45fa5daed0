//! The notification plane: news that nobody waits for.
//!
//! Telling is never in the way: [`Notifier::send`] writes the body down and returns. A [`Driver`], one future that the server
//! runs, sends what waits: at most [`MAX_IN_FLIGHT`] at once, in order per stream, with ZLM's one retry after `hook.retry_delay`.
//! An event whose attempts all fail is lost, as in ZLM, and counted; while a receiver's circuit breaker is open, events wait
//! instead.

mod queue;

pub use queue::{MAX_BYTES, MAX_EVENTS};

use crate::body;
use crate::body::flow_report::FlowReport;
use crate::body::record_ts::{RecordTs, RecordedFile};
use crate::body::server_exited::ServerExited;
use crate::body::server_keepalive::ServerKeepalive;
use crate::body::server_started::ServerStarted;
use crate::body::stream_changed::{Registered, Removed};
use crate::client::{IDLE_LIMIT, Limits};
use crate::event::Outgoing;
use crate::hook::Hook;
use crate::metrics::Dropped;
use crate::object::Statistic;
use crate::plane::{Attempt, Plane};
use crate::settings::Settings;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lifecycle::Access;
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use queue::{Job, LaneKey, Next, Queue, Rank};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

/// Most notifications under way at once.
pub const MAX_IN_FLIGHT: usize = 64;

/// The driver keeps to [`MAX_IN_FLIGHT`] by itself, so no call ever waits for another.
pub(crate) const fn limits(_: &Settings) -> Limits {
    Limits {
        in_flight: MAX_IN_FLIGHT,
        queue: 0,
        wait: Duration::ZERO,
    }
}

/// News.
#[derive(Clone, Debug)]
pub enum Event {
    /// A stream was registered in a schema. (`on_stream_changed`)
    Registered {
        /// The stream as it is at this moment.
        info: Box<MediaInfo>,
    },
    /// A stream was removed from a schema. (`on_stream_changed`)
    Removed {
        /// The stream.
        key: StreamKey,
        /// The schema.
        schema: Schema,
        /// The publisher's parameters.
        params: String,
    },
    /// A session ended. (`on_flow_report`)
    FlowReport {
        /// Its request.
        access: Access,
        /// Bytes, both directions.
        bytes: u64,
        /// How long it lasted.
        duration: Duration,
        /// A player, else a publisher.
        player: bool,
    },
    /// A segment of HLS is on disk. (`on_record_ts`)
    RecordTs {
        /// The stream.
        key: StreamKey,
        /// The publisher's parameters.
        params: String,
        /// The file.
        file: Box<RecordedFile>,
    },
    /// The server started. (`on_server_started`)
    ServerStarted {
        /// The whole configuration: `section.key` and value, `api.secret` included.
        config: Vec<(String, String)>,
    },
    /// The server stops. (`on_server_exited`)
    ServerExited,
    /// The server lives. (`on_server_keepalive`)
    Keepalive(Statistic),
}

impl Event {
    /// The hook it is told by.
    pub const fn hook(&self) -> Hook {
        match self {
            Self::Registered { .. } | Self::Removed { .. } => Hook::StreamChanged,
            Self::FlowReport { .. } => Hook::FlowReport,
            Self::RecordTs { .. } => Hook::RecordTs,
            Self::ServerStarted { .. } => Hook::ServerStarted,
            Self::ServerExited => Hook::ServerExited,
            Self::Keepalive(_) => Hook::ServerKeepalive,
        }
    }

    /// The stream it is about.
    fn key(&self) -> Option<&StreamKey> {
        match self {
            Self::Registered { info, .. } => Some(&info.key),
            Self::Removed { key, .. } | Self::RecordTs { key, .. } => Some(key),
            Self::FlowReport { access, .. } => Some(&access.key),
            Self::ServerStarted { .. } | Self::ServerExited | Self::Keepalive(_) => None,
        }
    }

    /// The schema that `hook.stream_changed_schemas` looks at.
    fn filtered_schema(&self) -> Option<Schema> {
        match self {
            Self::Registered { info, .. } => Some(info.schema),
            Self::Removed { schema, .. } => Some(*schema),
            Self::FlowReport { .. }
            | Self::RecordTs { .. }
            | Self::ServerStarted { .. }
            | Self::ServerExited
            | Self::Keepalive(_) => None,
        }
    }

    const fn rank(&self) -> Rank {
        match self {
            // Segments are so many that they would push everything else out.
            Self::Keepalive(_) | Self::FlowReport { .. } | Self::RecordTs { .. } => Rank::Spare,
            Self::Registered { .. } | Self::Removed { .. } => Rank::State,
            Self::ServerStarted { .. } | Self::ServerExited => Rank::Critical,
        }
    }

    fn body(&self) -> Bytes {
        match self {
            Self::Registered { info } => body::encode(&Registered::new(info)),
            Self::Removed { key, schema, params } => body::encode(&Removed::new(key, *schema, params)),
            Self::FlowReport {
                access,
                bytes,
                duration,
                player,
            } => body::encode(&FlowReport::new(access, *bytes, *duration, *player)),
            Self::RecordTs { key, params, file } => body::encode(&RecordTs::new(key, params, file)),
            Self::ServerStarted { config } => body::encode(&ServerStarted::new(config)),
            Self::ServerExited => body::encode(&ServerExited {}),
            Self::Keepalive(statistic) => body::encode(&ServerKeepalive::new(statistic)),
        }
    }
}

/// Takes news. Cheap to clone.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    plane: Arc<Plane>,
    /// `None` once the driver has ended.
    queue: Mutex<Option<Queue>>,
    /// There may be something to send.
    wake: Notify,
    /// There may be nothing left to send.
    idle: Notify,
}

impl Notifier {
    pub(crate) fn new(plane: Arc<Plane>) -> (Self, Driver) {
        let queue = Mutex::new(Some(Queue::default()));
        let inner = Arc::new(Inner {
            plane,
            queue,
            wake: Notify::new(),
            idle: Notify::new(),
        });
        (
            Self(inner.clone()),
            Driver {
                inner,
                sweep_also: Vec::new(),
            },
        )
    }

    /// Takes an event, if its hook is on and the schema is asked for. Does not wait. When there is no room, the oldest of the
    /// least important waiting events is dropped and counted.
    pub fn send(&self, event: &Event) {
        let settings = self.0.plane.shared.settings();
        let hook = event.hook();
        let filtered = event
            .filtered_schema()
            .is_some_and(|schema| !settings.reports_changes_in(schema));
        if !settings.is_on(hook) || filtered {
            return;
        }
        let vhost = event.key().map_or("", StreamKey::vhost);
        let outgoing = Outgoing::new(hook, vhost, event.body());
        let lane = event
            .key()
            .map_or(LaneKey::Server, |key| LaneKey::Stream(key.clone()));
        self.0.with_queue(|inner, queue| {
            let Some(queue) = queue else {
                inner.plane.shared.metrics.dropped(Dropped::Shutdown);
                return;
            };
            if hook == Hook::ServerKeepalive {
                inner.count_dropped(queue.supersede(&lane, hook), Dropped::Superseded);
            }
            inner.count_dropped(queue.push(lane, event.rank(), outgoing), Dropped::QueueFull);
        });
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

    /// Events that are not done with, those under way included.
    pub fn waiting(&self) -> usize {
        self.0.queue.lock().as_ref().map_or(0, Queue::len)
    }
}

impl Inner {
    fn with_queue<R>(&self, act: impl FnOnce(&Self, Option<&mut Queue>) -> R) -> R {
        let mut queue = self.queue.lock();
        let result = act(self, queue.as_mut());
        let left = queue.as_ref().map_or(0, Queue::len);
        self.plane
            .metrics
            .waiting
            .set(i64::try_from(left).unwrap_or(i64::MAX));
        if left == 0 {
            self.idle.notify_waiters();
        }
        result
    }

    fn count_dropped(&self, count: usize, reason: Dropped) {
        for _ in 0..count {
            self.plane.shared.metrics.dropped(reason);
        }
    }

    /// Makes one attempt for an event.
    async fn deliver(&self, job: Job) -> (LaneKey, Next) {
        let Job {
            lane,
            outgoing,
            failures,
        } = job;
        let next = self.try_once(&outgoing, failures).await;
        (lane, next)
    }

    async fn try_once(&self, outgoing: &Outgoing, failures: u32) -> Next {
        let metrics = &self.plane.shared.metrics;
        let settings = self.plane.shared.settings();
        let Some(endpoint) = settings.endpoint(outgoing.hook) else {
            metrics.dropped(Dropped::SwitchedOff);
            return Next::Done;
        };
        let pass = match self.plane.admit(endpoint) {
            Ok(pass) => pass,
            Err(at) => return Next::Postpone { at },
        };
        let attempt = Attempt {
            settings: &settings,
            endpoint,
            outgoing,
            number: failures.saturating_add(1),
            deadline: None,
        };
        let result = self.plane.attempt(&attempt).await;
        let Err(failure) = &result else {
            pass.finish(&result);
            return Next::Done;
        };
        if failure.class.is_retried() {
            if pass.probe {
                // The breaker opens again; the event waits for the next probe.
                pass.finish(&result);
                return Next::Postpone { at: Instant::now() };
            }
            if failures < settings.retry() {
                // The breaker counts events, not attempts.
                return Next::Retry {
                    at: Instant::now() + settings.retry_pause(),
                };
            }
        }
        let refused = failure.class.receiver_works() == Some(true);
        pass.finish(&result);
        if !refused {
            metrics.dropped(Dropped::Failed);
        }
        Next::Done
    }
}

/// Sends what waits, while [`Driver::run`] runs.
pub struct Driver {
    inner: Arc<Inner>,
    sweep_also: Vec<Arc<Plane>>,
}

impl Driver {
    /// The idle connections of another plane are looked after, too.
    pub(crate) fn sweep_also(&mut self, plane: Arc<Plane>) {
        self.sweep_also.push(plane);
    }

    /// Sends until `stop` is ready. What waits then is given up and counted, and so is what is sent later; call
    /// [`Notifier::drain`] before.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let inner = &*self.inner;
        let mut stop = pin!(stop);
        let mut under_way = FuturesUnordered::new();
        let mut sweep = interval(IDLE_LIMIT / 3);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let timer = inner.with_queue(|_, queue| {
                let queue = queue?;
                while under_way.len() < MAX_IN_FLIGHT {
                    let Some(job) = queue.take(Instant::now()) else {
                        break;
                    };
                    under_way.push(inner.deliver(job));
                }
                queue.next_timer().filter(|_| under_way.len() < MAX_IN_FLIGHT)
            });
            let due = async {
                match timer {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stop => break,
                Some((lane, next)) = under_way.next() => {
                    inner.with_queue(|_, queue| {
                        if let Some(queue) = queue {
                            queue.finish(&lane, next);
                        }
                    });
                }
                () = inner.wake.notified() => {}
                () = due => {}
                _ = sweep.tick() => {
                    inner.plane.sweep();
                    for plane in &self.sweep_also {
                        plane.sweep();
                    }
                }
            }
        }
    }
}

/// Whatever ends the driver, nobody is left to believe that events are still sent.
impl Drop for Driver {
    fn drop(&mut self) {
        let left = self
            .inner
            .queue
            .lock()
            .take()
            .map_or(0, |mut queue| queue.clear());
        self.inner
            .with_queue(|inner, _| inner.count_dropped(left, Dropped::Shutdown));
    }
}
