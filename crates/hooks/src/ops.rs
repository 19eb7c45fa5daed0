//! What operators do with endpoints: list, add, change, remove, test, look at deliveries, replay dead letters.
//!
//! Endpoints come from the configuration, or are added here; those are kept in `endpoints.toml` in `hook.store_dir`, in the same
//! form.

use crate::breaker;
use crate::client::UrlSource;
use crate::deliveries::Delivery;
use crate::event::{EventName, unix_ms};
use crate::hook::Hook;
use crate::notify::once;
use crate::sample;
use crate::sent::Sent;
use crate::service::Hooks;
use crate::settings::Settings;
use crate::sign::new_secret;
use crate::store::{Dead, Filter};
use config::hook_endpoint::{self, HookEndpoint, KEYED, MAX_ENDPOINTS};
use config::{Secret, source::Problem};
use serde::Serialize;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the old secrets are still signed with after a rotation.
pub const OLD_SECRETS: Duration = Duration::from_secs(24 * 3600);

/// Most dead letters that one call replays.
pub const MAX_REPLAY: usize = 1000;

/// The file of added endpoints.
const FILE: &str = "endpoints.toml";

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// There is no such endpoint.
    #[error("there is no hook endpoint \"{name}\"; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The name is taken.
    #[error("there is a hook endpoint \"{0}\" already")]
    Taken(String),
    /// There are too many.
    #[error("there are {MAX_ENDPOINTS} hook endpoints already, which is the most")]
    TooMany,
    /// It stands in the configuration, or is the receiver of the keys.
    #[error("the hook endpoint \"{0}\" stands in the configuration: change it there")]
    Configured(String),
    /// A field has a value that it cannot have.
    #[error("{}", problems(.0))]
    Fields(Vec<(String, Problem)>),
    /// There is no event of this name.
    #[error("there is no event \"{0}\"")]
    Event(String),
    /// It needs a store, and there is none.
    #[error("this needs a folder for notifications: set hook.store_dir")]
    NoStore,
    /// The store failed.
    #[error("{0}")]
    Store(String),
}

fn problems(fields: &[(String, Problem)]) -> String {
    let each = fields
        .iter()
        .map(|(field, problem)| format!("{field}: {problem}"));
    each.collect::<Vec<_>>().join("; ")
}

/// An endpoint and how it is doing.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Its name.
    pub name: String,
    /// Where it stands: `keys`, `config` or `api`.
    pub origin: &'static str,
    /// Where it is, credentials hidden. Of the receivers of the keys there is one for each hook: `hooks`.
    pub url: String,
    /// The hooks that are on, of the receivers of the keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<&'static str>,
    /// What it gets; empty: all of Tidegate's own events.
    pub events: Vec<String>,
    /// What it does not get.
    pub except: Vec<String>,
    /// It gets events.
    pub enabled: bool,
    /// Why it was switched off because of its failures; empty if it was not.
    pub disabled: String,
    /// Its events are kept on disk.
    pub durable: bool,
    /// The newest state wins where it is held up.
    pub newest_wins: bool,
    /// Its calls are signed by so many secrets.
    pub secrets: usize,
    /// Its circuit breaker: `closed`, `half_open` or `open`.
    pub breaker: &'static str,
    /// Events that it has not got yet.
    pub waiting: usize,
    /// How long the oldest of them has waited, in milliseconds.
    pub oldest_ms: u64,
    /// How many of them are on disk, so that they outlive the process.
    pub stored: u64,
    /// Bytes that they take there.
    pub stored_bytes: u64,
    /// When it last took an event, in milliseconds since 1970; 0 if never.
    pub last_success_unix_ms: u64,
    /// When it last failed, in milliseconds since 1970; 0 if never.
    pub last_failure_unix_ms: u64,
    /// How.
    pub last_failure: String,
}

/// An attempt by hand.
#[derive(Clone, Debug, Serialize)]
pub struct Tested {
    /// What came of it.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The request; none if it was not made, because the URL is none or there were too many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Sent>,
}

/// A dead letter.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its place; later ones have higher numbers.
    pub position: u64,
    /// `webhook-id`.
    pub id: String,
    /// The event.
    pub event: String,
    /// The stream, as `vhost/app/stream`, or empty.
    pub stream: String,
    /// When it happened, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it was given up.
    pub failed_unix_ms: u64,
    /// Attempts that were made.
    pub attempts: u32,
    /// Kind of the last failure.
    pub class: String,
    /// Status of the last answer; 0 if there was none.
    pub status: u16,
    /// The last failure in words.
    pub detail: String,
    /// The body, without the members that belong to an attempt.
    pub body: String,
}

impl DeadLetter {
    fn new((position, dead): (u64, Dead)) -> Self {
        Self {
            position,
            id: dead.event.id,
            event: dead.event.event,
            stream: dead.event.lane,
            created_unix_ms: dead.event.created_unix_ms,
            failed_unix_ms: dead.failed_unix_ms,
            attempts: dead.attempts,
            class: dead.class,
            status: dead.status,
            detail: dead.detail,
            body: String::from_utf8_lossy(&dead.event.body).into_owned(),
        }
    }
}

/// Endpoints that were added here, and what the configuration says without them.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub base: Settings,
    pub endpoints: Vec<HookEndpoint>,
    /// Where they are kept, if anywhere.
    pub file: Option<PathBuf>,
}

impl Added {
    /// Those of an earlier run.
    pub(crate) fn load(base: Settings) -> Self {
        let file = base.store.as_ref().map(|(dir, _)| dir.join(FILE));
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let endpoints = match text.map(|text| hook_endpoint::parse(&text)) {
            None => Vec::new(),
            Some(Ok(endpoints)) => endpoints,
            Some(Err(error)) => {
                tracing::error!(
                    error,
                    "hook endpoints that were added cannot be read; they are left out"
                );
                Vec::new()
            }
        };
        Self {
            base,
            endpoints,
            file,
        }
    }

    /// The settings with those that were added.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = self.base.clone();
        for endpoint in &self.endpoints {
            if settings.extras.contains_key(endpoint.name.as_str()) {
                tracing::warn!(
                    endpoint = endpoint.name,
                    "this hook endpoint was added, but the configuration has another one of this name, which counts"
                );
            }
        }
        settings.set_extras(self.endpoints.iter(), UrlSource::Api);
        settings
    }

    /// Changes them, and writes them down if there is a place. What cannot be written is not changed: who asked for it is told
    /// that it failed, and a secret that was made for it is told to nobody.
    fn change(&mut self, change: impl FnOnce(&mut Vec<HookEndpoint>)) -> Result<(), OpsError> {
        let mut changed = self.endpoints.clone();
        change(&mut changed);
        if let Some(file) = &self.file {
            let failed = |error| OpsError::Store(format!("{}: {error}", file.display()));
            write_whole(file, &hook_endpoint::write(&changed)).map_err(failed)?;
        }
        self.endpoints = changed;
        Ok(())
    }
}

/// A file that is there as a whole or as it was. It has secrets: nobody else may read it.
fn write_whole(file: &Path, text: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(new, file)
}

impl Hooks {
    /// All endpoints, that of the keys first.
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        let settings = self.settings();
        let added = self.added.lock();
        let names = std::iter::once(Arc::from(KEYED)).chain(settings.extras.keys().cloned());
        names
            .map(|name: Arc<str>| self.status(&settings, &added.base, &name))
            .collect()
    }

    /// One endpoint.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn endpoint(&self, name: &str) -> Result<EndpointStatus, OpsError> {
        let name = self.known(name)?;
        let base = &self.added.lock().base;
        Ok(self.status(&self.settings(), base, &name))
    }

    fn status(&self, settings: &Settings, base: &Settings, name: &Arc<str>) -> EndpointStatus {
        let spec = settings.extras.get(name).map(|extra| &extra.spec);
        let origin = match spec {
            None => "keys",
            Some(_) if base.extras.contains_key(name) => "config",
            Some(_) => "api",
        };
        let on = |hook: &Hook| spec.is_none() && settings.is_on(*hook);
        let health = self.notifier.health(name);
        let url = settings.extras.get(name).map(|extra| &extra.endpoint.url);
        let state = url.map_or(breaker::State::Closed, |url| {
            self.notifications.breaker_state(url)
        });
        EndpointStatus {
            name: name.to_string(),
            origin,
            url: spec.map_or_else(String::new, HookEndpoint::shown_url),
            hooks: Hook::ALL.into_iter().filter(on).map(Hook::name).collect(),
            events: spec.map_or_else(Vec::new, |spec| spec.events.clone()),
            except: spec.map_or_else(Vec::new, |spec| spec.except.clone()),
            enabled: spec.map_or(settings.enable, |spec| spec.enabled),
            disabled: health.disabled,
            durable: health.durable,
            newest_wins: spec.is_some_and(|spec| spec.newest_wins),
            secrets: spec.map_or_else(|| settings.signer.len(), |spec| spec.secrets.len()),
            breaker: state.name(),
            waiting: health.waiting,
            oldest_ms: u64::try_from(health.oldest.as_millis()).unwrap_or(u64::MAX),
            stored: health.stored.0,
            stored_bytes: health.stored.1,
            last_success_unix_ms: health.last_success.map_or(0, unix_ms),
            last_failure_unix_ms: health.last_failure.as_ref().map_or(0, |(at, _)| unix_ms(*at)),
            last_failure: health.last_failure.map(|(_, why)| why).unwrap_or_default(),
        }
    }

    fn known(&self, name: &str) -> Result<Arc<str>, OpsError> {
        let settings = self.settings();
        if name == KEYED {
            return Ok(KEYED.into());
        }
        let found = settings.extras.get_key_value(name);
        found.map(|(name, _)| name.clone()).ok_or_else(|| {
            let known = std::iter::once(KEYED).chain(settings.extras.keys().map(|name| &**name));
            OpsError::Unknown {
                name: name.to_owned(),
                known: known.collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// Adds an endpoint with these fields, those of a `[[hook_endpoint]]` table. Without `secret` it gets one, which is returned.
    ///
    /// # Errors
    ///
    /// The name is taken, a field is wrong, or there are too many.
    pub async fn add_endpoint(&self, fields: &[(String, String)]) -> Result<Option<Secret>, OpsError> {
        let mut endpoint = HookEndpoint::default();
        change(&mut endpoint, fields)?;
        let made = endpoint.secrets.is_empty().then(new_secret);
        endpoint.secrets.extend(made.clone());
        self.prepare(&endpoint).await?;
        {
            let mut added = self.added.lock();
            let settings = self.settings();
            if settings.extras.contains_key(endpoint.name.as_str()) {
                return Err(OpsError::Taken(endpoint.name));
            }
            if settings.extras.len() >= MAX_ENDPOINTS {
                return Err(OpsError::TooMany);
            }
            added.change(|endpoints| endpoints.push(endpoint))?;
        }
        self.apply_added();
        Ok(made)
    }

    /// Changes some fields of an endpoint that was added. Whatever it was switched off for, it is on again.
    ///
    /// # Errors
    ///
    /// There is no such endpoint, it stands in the configuration, or a field is wrong.
    pub async fn change_endpoint(&self, name: &str, fields: &[(String, String)]) -> Result<(), OpsError> {
        let mut changed = self.added_one(name)?;
        change(&mut changed, fields)?;
        changed.name = name.to_owned();
        self.prepare(&changed).await?;
        self.put(changed)
    }

    /// Removes an endpoint that was added, with everything that is kept for it.
    ///
    /// # Errors
    ///
    /// There is no such endpoint, or it stands in the configuration.
    pub fn remove_endpoint(&self, name: &str) -> Result<(), OpsError> {
        self.added_one(name)?;
        self.added
            .lock()
            .change(|endpoints| endpoints.retain(|endpoint| endpoint.name != name))?;
        self.apply_added();
        self.notifier.purge(&name.into());
        Ok(())
    }

    /// Gives an endpoint that was added a new secret; the old ones sign for [`OLD_SECRETS`] more.
    ///
    /// # Errors
    ///
    /// There is no such endpoint, or it stands in the configuration.
    pub fn rotate_secret(&self, name: &str) -> Result<Secret, OpsError> {
        let mut endpoint = self.added_one(name)?;
        let new = new_secret();
        // The newest of the old ones is the only one that a receiver can still have.
        endpoint.secrets.truncate(1);
        endpoint.secrets.insert(0, new.clone());
        let until = SystemTime::now() + OLD_SECRETS;
        endpoint.old_secrets_until = Some(unix_ms(until) / 1000);
        self.put(endpoint)?;
        Ok(new)
    }

    /// Switches an endpoint on again that was switched off because of its failures.
    ///
    /// # Errors
    ///
    /// There is no such endpoint.
    pub fn enable_endpoint(&self, name: &str) -> Result<(), OpsError> {
        let name = self.known(name)?;
        self.notifier.enable(&name);
        Ok(())
    }

    /// The last attempts to an endpoint, the newest first; `event` and `result` filter.
    ///
    /// # Errors
    ///
    /// There is no such endpoint.
    pub fn deliveries(
        &self,
        name: &str,
        max: usize,
        event: Option<&str>,
        result: Option<&str>,
    ) -> Result<Vec<Delivery>, OpsError> {
        let name = self.known(name)?;
        let filter = |delivery: &Delivery| {
            event.is_none_or(|event| delivery.event.as_str() == event)
                && result.is_none_or(|result| match result {
                    "failed" => delivery.result != "ok",
                    result => delivery.result == result,
                })
        };
        Ok(self.notifier.log(&name).list(max, filter))
    }

    /// Dead letters of an endpoint behind a position, at most `max`.
    ///
    /// # Errors
    ///
    /// There is no such endpoint, or no store, or it failed.
    pub async fn dead_letters(
        &self,
        name: &str,
        after: u64,
        max: usize,
        filter: Filter,
    ) -> Result<Vec<DeadLetter>, OpsError> {
        let name = self.known(name)?;
        let spool = self.notifier.spool().ok_or(OpsError::NoStore)?;
        let listed = spool.list_dead(&name, after, max, filter).get().await;
        let listed = listed.map_err(OpsError::Store)?;
        Ok(listed.into_iter().map(DeadLetter::new).collect())
    }

    /// Sends dead letters again: those with the ids, or without any those that `filter` takes, at most [`MAX_REPLAY`]. They keep
    /// their ids and carry `Tidegate-Replay: 1`. Returns how many.
    ///
    /// # Errors
    ///
    /// There is no such endpoint, or no store, or it failed.
    pub async fn replay(&self, name: &str, ids: Vec<String>, filter: Filter) -> Result<usize, OpsError> {
        let name = self.known(name)?;
        let spool = self.notifier.spool().ok_or(OpsError::NoStore)?;
        let ids = if ids.is_empty() {
            let listed = spool.list_dead(&name, 0, MAX_REPLAY, filter).get().await;
            let listed = listed.map_err(OpsError::Store)?;
            listed.into_iter().map(|(_, dead)| dead.event.id).collect()
        } else {
            ids
        };
        let taken = spool.take_dead(&name, ids).get().await;
        let taken = taken.map_err(OpsError::Store)?;
        Ok(self.notifier.replay(&name, taken))
    }

    /// Deletes dead letters; returns how many.
    ///
    /// # Errors
    ///
    /// There is no such endpoint, or no store, or it failed.
    pub async fn purge(&self, name: &str, filter: Filter) -> Result<usize, OpsError> {
        let name = self.known(name)?;
        let spool = self.notifier.spool().ok_or(OpsError::NoStore)?;
        spool
            .purge_dead(&name, filter)
            .get()
            .await
            .map_err(OpsError::Store)
    }

    /// Sends an example of an event to an endpoint, once, and returns the request and what came of it. The endpoint of the keys takes questions,
    /// too; nothing follows from their answers.
    ///
    /// # Errors
    ///
    /// There is no such endpoint or event.
    pub async fn test(&self, name: &str, event: &str) -> Result<Tested, OpsError> {
        let name = self.known(name)?;
        let unknown = || OpsError::Event(event.to_owned());
        let event_name = EventName::parse(event).ok_or_else(unknown)?;
        let settings = self.settings();
        let outgoing = sample::outgoing(event_name, &settings.media_server_id).ok_or_else(unknown)?;
        let request = once(self.notifier.inner(), &name, &outgoing).await;
        let id = outgoing.id();
        let found = |delivery: &Delivery| delivery.id == id;
        let listed = self.notifier.log(&name).list(1, found).pop();
        let delivery = listed
            .ok_or_else(|| OpsError::Store(format!("\"{name}\" does not get {event}, or is switched off")))?;
        Ok(Tested { delivery, request })
    }

    fn added_one(&self, name: &str) -> Result<HookEndpoint, OpsError> {
        self.known(name)?;
        let added = self.added.lock();
        let found = added.endpoints.iter().find(|endpoint| endpoint.name == name);
        let shadowed = added.base.extras.contains_key(name);
        found
            .filter(|_| !shadowed)
            .cloned()
            .ok_or_else(|| OpsError::Configured(name.to_owned()))
    }

    fn put(&self, changed: HookEndpoint) -> Result<(), OpsError> {
        {
            let mut added = self.added.lock();
            let mut endpoints = added.endpoints.iter();
            let Some(place) = endpoints.position(|endpoint| endpoint.name == changed.name) else {
                return Err(OpsError::Unknown {
                    name: changed.name,
                    known: String::new(),
                });
            };
            added.change(|endpoints| endpoints[place] = changed)?;
        }
        self.apply_added();
        Ok(())
    }

    /// Opens what the endpoint needs on disk, so that taking it over later does not wait for it.
    async fn prepare(&self, endpoint: &HookEndpoint) -> Result<(), OpsError> {
        if !endpoint.durable {
            return Ok(());
        }
        let spool = self.notifier.spool().ok_or(OpsError::NoStore)?;
        let name = endpoint.name.as_str().into();
        spool.open(&name).get().await.map_err(OpsError::Store)?;
        Ok(())
    }
}

fn change(endpoint: &mut HookEndpoint, fields: &[(String, String)]) -> Result<(), OpsError> {
    let fields = fields.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    endpoint.change(fields).map_err(OpsError::Fields)
}
