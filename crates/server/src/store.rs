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
    /// Held while the configuration is changed and all parts are told, so that changes follow one another.
    seen: Mutex<Seen>,
    /// The certificate of the TLS ports, if there are any.
    certificate: Option<Certificate>,
}

/// What is known of the configuration file.
#[derive(Default)]
struct Seen {
    /// As it was read or written last.
    known: Option<Stamp>,
    /// As the last look found it.
    looked: Option<Stamp>,
}

/// When a file was changed, and its length.
type Stamp = (SystemTime, u64);

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
    match read(path, overrides) {
        Err(errors) if errors.is_missing_file() => {
            let Some(path) = path else { return Err(errors) };
            config::create_default(path, &mut random_text)?;
            // Its secret is made up, and nobody has seen it.
            read(Some(path), overrides).map(|loaded| Loaded {
                secret_replaced: true,
                ..loaded
            })
        }
        loaded => loaded,
    }
}

fn read(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Loaded, Errors> {
    let env = std::env::vars_os()
        .filter(|(name, _)| name != LOG_VARIABLE)
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(path, env, overrides, &mut random_text)
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
        let seen = Mutex::new(Seen {
            known: path.as_deref().and_then(stamp),
            looked: None,
        });
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

    /// Whether the file has changed since it was read or written last. To be asked now and then: only what two looks find
    /// alike counts, because a file that is being written is valid at every line, and one that is being replaced is missing.
    pub fn file_has_changed(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let now = stamp(path);
        let mut seen = self.seen.lock();
        let before = std::mem::replace(&mut seen.looked, now);
        now.is_some() && now == before && now != seen.known
    }

    /// Reads the file again and lets `tell` tell everyone. What is wrong, and a file that is gone, leave the old configuration in
    /// force.
    fn reload(&self, tell: impl FnOnce(&Replaced)) -> Result<(), Errors> {
        let mut seen = self.seen.lock();
        if let Some(path) = &self.path {
            seen.known = stamp(path);
        }
        let Loaded {
            mut config, warnings, ..
        } = read(self.path.as_deref(), &self.overrides)?;
        for warning in &warnings {
            warn!("{warning}");
        }
        let old = self.config();
        // What the file does not say was made up at the start and is known to clients by now.
        config.keep_made_up(&old);
        let new = Arc::new(config);
        self.current.store(new.clone());
        tell(&Replaced { old, new });
        Ok(())
    }

    /// Applies changes of the API, writes the file, and lets `tell` tell everyone.
    fn change(&self, changes: &[(String, String)], tell: impl FnOnce(&Replaced)) -> SetResult {
        let mut seen = self.seen.lock();
        let old = self.config();
        let outcome = old.set(changes);
        let result = SetResult {
            changed: outcome.changed,
            rejected: outcome.rejected,
        };
        if outcome.changed == 0 {
            return result;
        }
        let new = Arc::new(outcome.config);
        if let Some(path) = &self.path {
            // What somebody wrote to the file since it was read is kept there, and still has to be read.
            let fresh = stamp(path) == seen.known;
            match config::write_back(path, &new) {
                Ok(()) if fresh => seen.known = stamp(path),
                Ok(()) => {}
                Err(error) => error!(%error, "the change is in force, but could not be written to the file"),
            }
        }
        self.current.store(new.clone());
        tell(&Replaced { old, new });
        result
    }
}

impl App {
    /// Reads the configuration file and the certificate again.
    pub fn reload(&self) {
        if let Err(errors) = self.store.reload(|replaced| self.config_replaced(replaced)) {
            error!("the configuration was not reloaded; the old one stays in force\n{errors}");
        }
        self.refresh_certificate();
    }

    /// `setServerConfig`.
    pub async fn change_config(&self, changes: &[(String, String)]) -> SetResult {
        self.store
            .change(changes, |replaced| self.config_replaced(replaced))
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

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn store(text: &str) -> (tempfile::TempDir, PathBuf, ConfigStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.ini");
        fs::write(&path, format!("[api]\nsecret=0123456789\n{text}")).expect("written");
        let loaded = load(Some(&path), &[]).expect("valid");
        let store = ConfigStore::new(loaded, Vec::new()).expect("no certificate");
        (folder, path, store)
    }

    fn append(path: &Path, text: &str) {
        let old = fs::read_to_string(path).expect("read");
        fs::write(path, old + text).expect("written");
    }

    #[test]
    fn a_change_counts_when_two_looks_find_it_alike() {
        let (_folder, path, store) = store("");
        assert!(!store.file_has_changed() && !store.file_has_changed());
        append(&path, "[hook]\n");
        assert!(!store.file_has_changed(), "it may be half written");
        append(&path, "retry=2\n");
        assert!(!store.file_has_changed(), "and it was");
        assert!(store.file_has_changed());
        store.reload(|_| {}).expect("valid");
        assert!(!store.file_has_changed());
        assert_eq!(store.config().text("hook.retry"), Some("2"));
    }

    #[test]
    fn what_an_operator_wrote_just_before_the_api_did_is_read_too() {
        let (_folder, path, store) = store("");
        append(&path, "[hook]\nretry=2\n");
        let set = store.change(&[("hook.timeoutSec".into(), "3".into())], |_| {});
        assert_eq!(set.changed, 1);
        assert!(!store.file_has_changed());
        assert!(store.file_has_changed());
        store.reload(|_| {}).expect("valid");
        let config = store.config();
        assert_eq!(
            (config.text("hook.retry"), config.text("hook.timeoutSec")),
            (Some("2"), Some("3"))
        );
    }

    #[test]
    fn a_file_that_is_gone_changes_nothing() {
        let (_folder, path, store) = store("[hook]\nretry=2\n");
        fs::remove_file(&path).expect("removed");
        assert!(store.reload(|_| panic!("nothing to tell")).is_err());
        assert!(!path.exists());
        assert_eq!(store.config().text("hook.retry"), Some("2"));
    }
}
