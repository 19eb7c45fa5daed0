//! One attempt to tell an event, and what follows from it.

use super::Inner;
use super::event::lifetime;
use super::form;
use super::outlet::HOPELESS;
use super::queue::{Job, LaneKey, Next};
use super::schedule::{Plan, Verdict, is_too_much};
use crate::deliveries::Deliveries;
use crate::event::{EventName, Outgoing, unix_ms};
use crate::failure::{Class, Failure};
use crate::metrics::Dropped;
use crate::plane::{Attempt, Destination, Judge};
use crate::sent::Sent;
use crate::settings::{Extra, Settings};
use config::hook_endpoint::KEYED;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Limit of an attempt to a durable endpoint that has none of its own: nobody waits, and slow is better than again.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(15);

/// What became of an attempt.
pub(super) struct Delivered {
    name: Arc<str>,
    /// Which outlet of this name.
    outlet: u64,
    lane: LaneKey,
    seq: u64,
    next: Next,
    health: Health,
    lost: Option<Dropped>,
}

/// What an attempt says about the endpoint.
enum Health {
    Unknown,
    /// It works; `again` after an outage.
    Good {
        again: bool,
    },
    Bad {
        too_much: bool,
        why: String,
    },
    Gone,
}

/// What an outlet lends to a call.
pub(super) struct Lent {
    pub name: Arc<str>,
    /// Which outlet of this name.
    pub number: u64,
    pub hook_index: Arc<AtomicU64>,
    pub log: Arc<Deliveries>,
}

impl Inner {
    /// Makes one attempt for an event.
    pub(super) async fn deliver(&self, job: Job, lent: Lent) -> Delivered {
        let Lent {
            name,
            number: outlet,
            hook_index,
            log,
        } = lent;
        let settings = self.plane.shared.settings();
        let done = |lost| Delivered {
            name: name.clone(),
            outlet,
            lane: job.lane.clone(),
            seq: job.seq,
            next: Next::Done,
            health: Health::Unknown,
            lost,
        };
        let durable = settings.is_durable(&name);
        let outgoing = &*job.outgoing;
        let lives = lifetime(outgoing.name, settings.alive_interval);
        if outgoing.age(Instant::now()) > lives {
            return done(Some(Dropped::Expired));
        }
        let Some(way) = Way::find(&settings, &name, outgoing.name) else {
            return done(Some(Dropped::SwitchedOff));
        };
        let to = way.destination(self, &name, (&hook_index, &log));
        let pass = match self.plane.admit(to.endpoint) {
            Ok(pass) => pass,
            Err(at) => {
                return Delivered {
                    next: Next::Postpone { at, tried: false },
                    ..done(None)
                };
            }
        };
        let number = job.attempts.saturating_add(1);
        let attempt = Attempt {
            media_server_id: &settings.media_server_id,
            to,
            outgoing,
            number,
            deadline: None,
            seq: Some(job.seq),
        };
        let result = self.plane.attempt(&attempt).await;
        let probe = pass.probe;
        let Err(failure) = &result else {
            pass.finish(&result);
            return Delivered {
                health: Health::Good { again: probe },
                ..done(None)
            };
        };
        let health = Health::of(failure);
        if pass.probe && failure.class.is_retried() {
            // The breaker opens again; the event waits for the next probe.
            pass.finish(&result);
            return Delivered {
                next: Next::Postpone {
                    at: Instant::now(),
                    tried: true,
                },
                health,
                ..done(None)
            };
        }
        let plan = if durable {
            Plan::Durable
        } else {
            Plan::Compatible {
                retry: settings.retry(),
                pause: settings.retry_pause(),
            }
        };
        match plan.after(failure, job.failures.saturating_add(1), rand::random()) {
            Verdict::NotMade => Delivered {
                next: Next::Postpone {
                    at: Instant::now() + Duration::from_secs(1),
                    tried: false,
                },
                ..done(None)
            },
            Verdict::Retry(pause) => {
                if durable {
                    pass.finish(&result);
                }
                // Of the others the breaker counts events, not attempts.
                Delivered {
                    next: Next::Retry {
                        at: Instant::now() + pause,
                    },
                    health,
                    ..done(None)
                }
            }
            Verdict::Refused => {
                pass.finish(&result);
                Delivered {
                    health: Health::Good { again: probe },
                    ..done(None)
                }
            }
            Verdict::Gone => {
                pass.finish(&result);
                Delivered {
                    next: Next::Postpone {
                        at: Instant::now(),
                        tried: true,
                    },
                    health: Health::Gone,
                    ..done(None)
                }
            }
            Verdict::GiveUp => {
                pass.finish(&result);
                let aside = self.put_aside(&name, &job, failure, number, lives);
                Delivered {
                    health,
                    ..done((!aside).then_some(Dropped::Failed))
                }
            }
        }
    }

    /// Keeps an event as a dead letter, if there is a place for it.
    fn put_aside(
        &self,
        name: &Arc<str>,
        job: &Job,
        failure: &Failure,
        attempts: u32,
        lives: Duration,
    ) -> bool {
        let Some(spool) = self.spool() else {
            return false;
        };
        let event = form::to_store(job.seq, job.lane.to_text(), &job.outgoing, lives);
        let now = unix_ms(SystemTime::now());
        let aside = spool.dead(name, form::to_dead(event, attempts, failure, now));
        if aside {
            self.plane.shared.metrics.dead_letter(name);
        }
        aside
    }

    /// Takes note of what became of an attempt.
    pub(super) fn delivered(&self, delivered: Delivered) {
        let Delivered {
            name,
            outlet: number,
            lane,
            seq,
            next,
            health,
            lost,
        } = delivered;
        if let Some(lost) = lost {
            self.plane.shared.metrics.dropped(&name, lost, 1);
        }
        let mut outlets = self.outlets.lock();
        let Some(outlets) = &mut *outlets else { return };
        if let Some(outlet) = outlets.get_mut(&name).filter(|outlet| outlet.number == number) {
            match health {
                Health::Unknown => {}
                Health::Good { again } => outlet.succeeded(again),
                Health::Bad { too_much, why } => {
                    let hopeless = outlet.failed(too_much, why, Instant::now());
                    let durable = self.plane.shared.settings().is_durable(&name);
                    if hopeless && durable && &*name != KEYED && outlet.disabled.is_none() {
                        let hours = HOPELESS.as_secs() / 3600;
                        let why = format!("it has only failed for {hours} hours");
                        tracing::error!(
                            endpoint = &*name,
                            why,
                            "hook endpoint switched off; its events are kept"
                        );
                        outlet.disabled = Some(why);
                    }
                }
                Health::Gone => {
                    let why = "it answered 410 (gone)".to_owned();
                    outlet.failed(false, why.clone(), Instant::now());
                    // The receiver of the keys is never switched off for good.
                    if &*name != KEYED && outlet.disabled.is_none() {
                        tracing::error!(
                            endpoint = &*name,
                            why,
                            "hook endpoint switched off; its events are kept"
                        );
                        outlet.disabled = Some(why);
                    }
                }
            }
            outlet.finish(&lane, seq, next);
        }
        self.count(outlets);
    }
}

impl Health {
    fn of(failure: &Failure) -> Self {
        match failure.class {
            Class::Overload | Class::BreakerOpen => Self::Unknown,
            Class::Denied | Class::BadMember => Self::Good { again: false },
            Class::Dns
            | Class::Connect
            | Class::Tls
            | Class::Timeout
            | Class::Reset
            | Class::BadHttp
            | Class::Status
            | Class::TooLarge
            | Class::BadJson
            | Class::BadCode
            | Class::Forbidden
            | Class::BadUrl => Self::Bad {
                too_much: is_too_much(failure),
                why: failure.to_string(),
            },
        }
    }
}

/// Where the events of an endpoint go now.
pub(super) enum Way<'a> {
    Keyed(&'a Settings, &'a crate::settings::Endpoint, bool),
    Extra(&'a Settings, &'a Extra, Judge, bool),
}

impl<'a> Way<'a> {
    /// `None` if the endpoint does not get this event any more.
    pub(super) fn find(settings: &'a Settings, name: &str, event: EventName) -> Option<Self> {
        // What was asked for counts, even if there is no store for it: the receiver answers accordingly.
        let durable = settings.is_durable(name);
        if name == KEYED {
            let EventName::Zlm(hook) = event else { return None };
            // A question that is tried out is judged as it would be if somebody waited.
            let durable = durable && !hook.is_question();
            return Some(Self::Keyed(settings, settings.endpoint(hook)?, durable));
        }
        let extra = settings.extras.get(name)?;
        let judge = match event {
            EventName::Zlm(_) if !durable => Judge::Code,
            EventName::Zlm(_) | EventName::Own(_) => Judge::Status,
        };
        extra
            .spec
            .enabled
            .then_some(Self::Extra(settings, extra, judge, durable))
    }

    pub(super) fn destination(
        &self,
        inner: &'a Inner,
        name: &'a str,
        (hook_index, log): (&'a AtomicU64, &'a Deliveries),
    ) -> Destination<'a> {
        let timeout = |settings: &Settings, durable: bool| {
            if durable {
                DURABLE_TIMEOUT.max(settings.attempt_timeout())
            } else {
                settings.attempt_timeout()
            }
        };
        match *self {
            Self::Keyed(settings, endpoint, durable) => Destination {
                timeout: timeout(settings, durable),
                judge: if durable { Judge::Status } else { Judge::Code },
                ..inner.plane.keyed(settings, endpoint)
            },
            Self::Extra(settings, extra, judge, durable) => Destination {
                name,
                endpoint: &extra.endpoint,
                signer: &extra.signer,
                headers: &extra.headers,
                timeout: extra.spec.timeout.unwrap_or_else(|| timeout(settings, durable)),
                judge,
                hook_index,
                log,
            },
        }
    }
}

/// One attempt by hand: nothing follows from it, and what came of it is in the log of deliveries. Returns the request, if it came to
/// one.
pub(crate) async fn once(inner: &Inner, name: &Arc<str>, outgoing: &Outgoing) -> Option<Sent> {
    let settings = inner.plane.shared.settings();
    let lent = inner.with_outlet(name, |outlet| (outlet.hook_index.clone(), outlet.log.clone()));
    let (hook_index, log) = lent?;
    let way = Way::find(&settings, name, outgoing.name)?;
    let attempt = Attempt {
        media_server_id: &settings.media_server_id,
        to: way.destination(inner, name, (&hook_index, &log)),
        outgoing,
        number: 1,
        deadline: None,
        seq: None,
    };
    // The breaker is not asked: to see what happens is the point.
    let mut sent = None;
    let _ = inner.plane.attempt_shown(&attempt, Some(&mut sent)).await;
    sent
}
