//! The hooks as the server sees them.

use crate::admission::{Filter, Local};
use crate::client::dial::{Dial, Network};
use crate::decide::{self, Answered, Decisions};
use crate::event::ascii;
use crate::files::{self, Permission, Visit};
use crate::hook::Hook;
use crate::keepalive;
use crate::metrics::Metrics;
use crate::notify::{self, Driver, Event, Notifier};
use crate::ops::Added;
use crate::plane::{Plane, Shared};
use crate::rtsp::{self, NoPassword, Password, RealmAnswer, User};
use crate::settings::Settings;
use crate::spool::Spool;
use hyper::header::HeaderValue;
use lifecycle::{Access, Ask, Notice};
use media::info::MediaInfo;
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The header `User-Agent`, in the form of ZLM's.
pub fn user_agent(commit: &str, commit_date: &str, branch: &str, build_time: &str) -> String {
    format!("Tidegate(git hash:{commit}/{commit_date},branch:{branch},build time:{build_time})")
}

/// Both planes. Cheap to clone.
#[derive(Clone)]
pub struct Hooks {
    pub(crate) shared: Arc<Shared>,
    decisions: Arc<Decisions>,
    pub(crate) notifications: Arc<Plane>,
    pub(crate) notifier: Notifier,
    /// Endpoints that were added while the server ran.
    pub(crate) added: Arc<Mutex<Added>>,
}

impl Hooks {
    /// The hooks, and the driver of the notification plane, which the server must run.
    pub fn new(settings: Settings, user_agent: &str) -> (Self, Driver) {
        warn_if_insecure(&settings);
        let dial = || Box::new(Network::new(settings.addresses.clone()));
        let (decisions, notifications) = (dial(), dial());
        Self::over(settings, user_agent, decisions, notifications)
    }

    pub(crate) fn over(
        settings: Settings,
        user_agent: &str,
        decisions: Box<dyn Dial>,
        notifications: Box<dyn Dial>,
    ) -> (Self, Driver) {
        let added = Added::load(settings);
        let settings = added.settings();
        let user_agent = HeaderValue::from_str(user_agent).unwrap_or_else(|_| ascii("Tidegate"));
        let shared = Arc::new(Shared::new(settings, user_agent));
        let decisions = Arc::new(Decisions {
            plane: Arc::new(Plane::new("decision", shared.clone(), decisions, decide::limits)),
            local: Local::new(shared.metrics.local.clone()),
        });
        let notifications = Arc::new(Plane::new(
            "notification",
            shared.clone(),
            notifications,
            notify::limits,
        ));
        let (notifier, mut driver) = Notifier::new(notifications.clone());
        driver.sweep_also(decisions.plane.clone());
        let settings = shared.settings();
        if let Some((dir, limit)) = &settings.store {
            match Spool::new(dir, *limit) {
                Ok((spool, writer, flusher)) => {
                    notifier.set_spool(spool, &writer);
                    driver.store = Some((writer, flusher));
                }
                Err(error) => tracing::error!(
                    folder = %dir.display(),
                    %error,
                    "hook.store_dir cannot be used; notifications are kept in memory only"
                ),
            }
        }
        notifier.sync(None, &settings, driver.store.as_mut().map(|(writer, _)| writer));
        (
            Self {
                shared,
                decisions,
                notifications,
                notifier,
                added: Arc::new(Mutex::new(added)),
            },
            driver,
        )
    }

    /// Puts other settings in force, from the next call on. Certificates are read again.
    pub fn apply(&self, settings: Settings) {
        self.added.lock().base = settings;
        self.apply_added();
    }

    /// Puts the endpoints that were added in force.
    pub(crate) fn apply_added(&self) {
        let settings = Arc::new(self.added.lock().settings());
        let old = self.shared.replace(settings.clone());
        self.notifier.sync(Some(&old), &settings, None);
        let has_files = settings
            .endpoints()
            .any(|endpoint| endpoint.tls.files().next().is_some());
        let reload = has_files || old.addresses != settings.addresses;
        if old.tls != settings.tls {
            warn_if_insecure(&settings);
        }
        self.decisions.apply(&old, &settings, reload);
        self.notifications.apply(&settings, reload);
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.shared.settings()
    }

    /// Whether a hook is on, so that there is a point in collecting facts for it.
    pub fn is_on(&self, hook: Hook) -> bool {
        self.shared.settings().is_on(hook)
    }

    /// Asks. The call ends when the future is dropped. `limit` is how long whoever asks can wait; without it the limit is the
    /// worst case of the configured attempts ([`Settings::worst_case`]).
    pub async fn ask(&self, ask: &Ask, limit: Option<Duration>) -> Answered {
        decide::ask(&self.decisions, ask, limit).await
    }

    /// Whether an RTSP player is asked for a user name and a password, before its `on_play`. Called by the session itself, with
    /// `limit` as in [`Hooks::ask`].
    pub async fn rtsp_realm(&self, access: &Access, limit: Option<Duration>) -> RealmAnswer {
        rtsp::realm(&self.decisions, access, limit).await
    }

    /// The password that a user should know who answered the challenge for a realm. Called by the session itself, with `limit` as
    /// in [`Hooks::ask`]. Who knows it plays with [`Access::authenticated`].
    pub async fn rtsp_auth(
        &self,
        access: &Access,
        user: &User<'_>,
        limit: Option<Duration>,
    ) -> Result<Password, NoPassword> {
        rtsp::auth(&self.decisions, access, user, limit).await
    }

    /// A player of RTSP gave a wrong password, which counts as a refusal of its address (`hook.deny_limit`).
    pub fn wrong_password(&self, access: &Access) {
        let (settings, address) = (self.shared.settings(), access.client.addr.ip());
        self.decisions
            .local
            .refused(&settings, &self.shared.reporter, Hook::RtspAuth, address);
    }

    /// Whether a client may read a file or a folder. Called by the session itself, with `limit` as in [`Hooks::ask`].
    pub async fn http_access(&self, visit: &Visit<'_>, limit: Option<Duration>) -> Permission {
        files::ask(&self.decisions, visit, limit).await
    }

    /// Withdraws kept verdicts, so that the receiver is asked again; returns how many would have been served without asking. Answers to
    /// questions that are under way are not kept either.
    pub fn withdraw_verdicts(&self, filter: &Filter<'_>) -> usize {
        self.decisions.local.withdraw(filter)
    }

    /// Tells. Does not wait.
    pub fn notify(&self, event: &Event) {
        self.notifier.send(event);
    }

    /// Tells what the engine has to tell. `look_up` is called for a registration that will be told; if it finds no such stream,
    /// the stream is gone already and there is nothing to tell but its removal, which follows.
    pub fn tell(&self, notice: Notice, look_up: impl FnOnce(&StreamKey, Schema) -> Option<MediaInfo>) {
        let event = match notice {
            Notice::StreamChanged {
                key,
                schema,
                registered: true,
                ..
            } => {
                if !self.notifier.wants_registration(&key, schema) {
                    self.notifier.came_unheard(&key, schema);
                    return;
                }
                let Some(info) = look_up(&key, schema) else {
                    self.notifier.came_unseen(&key, schema);
                    return;
                };
                Event::Registered { info: Box::new(info) }
            }
            Notice::StreamChanged {
                key,
                schema,
                registered: false,
                params,
                ..
            } => Event::Removed { key, schema, params },
            Notice::FlowReport {
                access,
                bytes,
                duration,
                player,
            } => Event::FlowReport {
                access,
                bytes,
                duration,
                player,
            },
        };
        self.notify(&event);
    }

    /// Notifications that are not done with.
    pub fn notifications_waiting(&self) -> usize {
        self.notifier.waiting()
    }

    /// Waits until all notifications are done with, at most until `deadline`; returns how many are left.
    pub async fn drain(&self, deadline: Instant) -> usize {
        self.notifier.drain(deadline).await
    }

    /// Ends when the next keep-alive is due, `last` being the previous one or the start. Follows changes of the settings.
    pub async fn keepalive_due(&self, last: Instant) {
        keepalive::due(&mut self.shared.watch(), last).await;
    }

    /// Ready when every notification that is to be kept is on the medium.
    pub async fn flush(&self) {
        self.notifier.flush().await;
    }

    /// What is counted, as of now.
    pub fn metrics(&self) -> &Metrics {
        self.notifier.refresh_metrics();
        &self.shared.metrics
    }
}

fn warn_if_insecure(settings: &Settings) {
    if settings.tls.insecure && settings.tls.pin_sha256.is_none() {
        tracing::warn!("hook.insecure=1: certificates of hook receivers are not verified");
    }
}
