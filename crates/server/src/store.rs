//! The configuration in force, its file, and every way to change it.

use anyhow::anyhow;
use api::SetResult;
use arc_swap::ArcSwap;
use config::{Config, Errors, Loaded};
use parking_lot::Mutex;
use rand::Rng;
use rand::distr::Alphanumeric;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tracing::{error, info, warn};

use crate::app::App;
use crate::cli::LOG_VARIABLE;
use crate::tls::Certificate;

/// The configuration and where it came from.
pub struct ConfigStore {
    current: ArcSwap<Config>,
    path: Option<PathBuf>,
    overrides: Vec<(String, String)>,
    /// The file as it was read or written last. Held while the configuration is changed, so that changes follow one another.
    seen: Mutex<Option<SystemTime>>,
    /// The certificate of the TLS ports, if there are any.
    certificate: Option<Certificate>,
}

/// A configuration that took the place of another.
struct Replaced {
    old: Arc<Config>,
    new: Arc<Config>,
}

/// Random letters and digits from the system's source.
pub fn random_text(length: usize) -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

/// Loads the configuration. A file that does not exist is created with all defaults, as ZLM does.
///
/// # Errors
///
/// Everything that is wrong with it, for people.
pub fn load(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Loaded, Errors> {
    let env = || {
        std::env::vars_os()
            .filter(|(name, _)| name != LOG_VARIABLE)
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    };
    match config::load(path, env(), overrides, &mut random_text) {
        Err(errors) if errors.is_missing_file() => {
            let Some(path) = path else { return Err(errors) };
            config::create_default(path, &mut random_text)?;
            config::load(Some(path), env(), overrides, &mut random_text)
        }
        loaded => loaded,
    }
}

impl ConfigStore {
    /// Keeps what was loaded; a made-up secret is written to the file.
    ///
    /// # Errors
    ///
    /// The certificate cannot be used.
    pub fn new(loaded: Loaded, overrides: Vec<(String, String)>) -> anyhow::Result<Self> {
        let Loaded {
            config,
            path,
            secret_replaced,
            ..
        } = loaded;
        if secret_replaced {
            announce_secret(&config, path.as_deref());
        }
        let certificate = match (&config.http.cert_file, &config.http.key_file) {
            (Some(certificate), Some(key)) => Some(Certificate::load(certificate, key)?),
            _ => None,
        };
        let seen = Mutex::new(path.as_deref().and_then(changed));
        Ok(Self {
            current: ArcSwap::from_pointee(config),
            path,
            overrides,
            seen,
            certificate,
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// The certificate of the TLS ports.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Whether the file has changed since it was read or written last.
    pub fn file_has_changed(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let now = changed(path);
        // A file that is being replaced is missing for a moment: that is no change to act on.
        now.is_some() && now != *self.seen.lock()
    }

    /// Reads the file again. What is wrong leaves the old configuration in force.
    fn reload(&self) -> Result<Replaced, Errors> {
        let mut seen = self.seen.lock();
        if let Some(path) = &self.path {
            *seen = changed(path);
        }
        let Loaded {
            mut config, warnings, ..
        } = load(self.path.as_deref(), &self.overrides)?;
        for warning in &warnings {
            warn!("{warning}");
        }
        let old = self.config();
        // What the file does not say was made up at the start and is known to clients by now.
        config.keep_made_up(&old);
        let new = Arc::new(config);
        self.current.store(new.clone());
        Ok(Replaced { old, new })
    }

    /// Applies changes of the API and writes the file.
    fn change(&self, changes: &[(String, String)]) -> (SetResult, Option<Replaced>) {
        let mut seen = self.seen.lock();
        let old = self.config();
        let outcome = old.set(changes);
        let result = SetResult {
            changed: outcome.changed,
            rejected: outcome.rejected,
        };
        if outcome.changed == 0 {
            return (result, None);
        }
        let new = Arc::new(outcome.config);
        if let Some(path) = &self.path {
            match config::write_back(path, &new) {
                Ok(()) => *seen = changed(path),
                Err(error) => error!(%error, "the change is in force, but could not be written to the file"),
            }
        }
        self.current.store(new.clone());
        (result, Some(Replaced { old, new }))
    }
}

impl App {
    /// Reads the configuration file and the certificate again.
    pub fn reload(&self) {
        match self.store.reload() {
            Ok(replaced) => self.config_replaced(&replaced),
            Err(errors) => error!("the configuration was not reloaded; the old one stays in force\n{errors}"),
        }
        self.refresh_certificate();
    }

    /// `setServerConfig`.
    pub async fn change_config(&self, changes: &[(String, String)]) -> SetResult {
        let (result, replaced) = self.store.change(changes);
        if let Some(replaced) = replaced {
            self.config_replaced(&replaced);
        }
        result
    }

    /// Reads the certificate again if its files have changed.
    pub fn refresh_certificate(&self) {
        let config = self.config();
        if let (Some(current), Some(certificate), Some(key)) = (
            self.store.certificate(),
            &config.http.cert_file,
            &config.http.key_file,
        ) {
            current.refresh(certificate, key);
        }
    }

    /// Tells everyone who holds something made from the configuration.
    fn config_replaced(&self, Replaced { old, new }: &Replaced) {
        let changed = Config::diff(old, new);
        if changed.is_empty() {
            return;
        }
        for key in &changed {
            let effect = key.reload.describe();
            if key.reload.needs_restart() {
                warn!(key = key.name, effect, "changed");
            } else {
                info!(key = key.name, effect, "changed");
            }
        }
        self.hooks.apply(hooks::Settings::from_config(new));
        self.processes
            .set_max_processes(new.ffmpeg.max_processes as usize);
        self.link.config_changed();
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Stores a made-up secret beside the configuration and shows it once. On the terminal only, since logs are kept and shared.
fn announce_secret(config: &Config, path: Option<&Path>) {
    let secret = config.api.secret.expose();
    match path.map(|path| (path, config::write_back(path, config))) {
        Some((path, Ok(()))) => eprintln!("API secret (made up, written to {}): {secret}", path.display()),
        Some((path, Err(error))) => {
            error!(error = %anyhow!(error), "the made-up API secret could not be written to {}", path.display());
            eprintln!("API secret (made up for this run): {secret}");
        }
        None => {
            eprintln!("API secret (made up for this run, since there is no configuration file): {secret}")
        }
    }
}
