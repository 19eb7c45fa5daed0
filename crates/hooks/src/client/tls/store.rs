//! The TLS configurations in use, made again when their files change.

use super::{SetupError, TlsSettings, client_config};
use parking_lot::Mutex;
use rustls::ClientConfig;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How often the files are looked at, at most; only when a connection is made.
pub(crate) const CHECK_PERIOD: Duration = Duration::from_secs(5);

/// Most configurations kept. More settings than this are not configured at once; if they are, files are read more often.
const MAX_KEPT: usize = 1024;

/// Configurations by settings. Made at the first use: reading the system's roots takes milliseconds that a server without HTTPS
/// hooks can save.
#[derive(Debug, Default)]
pub(crate) struct Store {
    made: Mutex<HashMap<Arc<TlsSettings>, Made>>,
}

#[derive(Debug)]
struct Made {
    config: Arc<ClientConfig>,
    files: Vec<Stamp>,
    checked: Instant,
}

/// When a file was changed, and its length; none if it cannot be read.
type Stamp = Option<(SystemTime, u64)>;

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let stamp = |path: &std::path::Path| {
        let metadata = path.metadata().ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    settings.files().map(stamp).collect()
}

impl Store {
    /// The configuration for these settings. A file that was changed and cannot be used is reported, and the old contents stay
    /// in force: it may be half written.
    pub(crate) fn config(&self, settings: &Arc<TlsSettings>) -> Result<Arc<ClientConfig>, SetupError> {
        let now = Instant::now();
        let mut made = self.made.lock();
        if let Some(old) = made.get_mut(settings) {
            if now.duration_since(old.checked) >= CHECK_PERIOD {
                old.checked = now;
                // Looked at before they are read, so a change in between is seen next time.
                let files = stamps(settings);
                if files != old.files {
                    old.files = files;
                    match client_config(settings) {
                        Ok(config) => {
                            tracing::info!(
                                "the certificates of {}.* for hook receivers were read again",
                                settings.keys
                            );
                            old.config = config;
                        }
                        Err(error) => tracing::warn!("{error}; the old contents stay in force"),
                    }
                }
            }
            return Ok(old.config.clone());
        }
        let files = stamps(settings);
        let config = client_config(settings)?;
        if made.len() >= MAX_KEPT {
            made.clear();
        }
        let new = Made {
            config: config.clone(),
            files,
            checked: now,
        };
        made.insert(settings.clone(), new);
        Ok(config)
    }

    /// Reads all files again at their next use.
    pub(crate) fn forget(&self) {
        self.made.lock().clear();
    }
}
