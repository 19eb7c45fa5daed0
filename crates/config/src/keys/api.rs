//! Section `api`.

use crate::key::{Key, Kind, Reload::Hot};
use crate::secret::Secret;
use std::path::PathBuf;

/// The REST API and the folders that it serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Api {
    /// Log requests and replies.
    pub debug: bool,
    /// What callers must know. Never empty once the configuration was loaded.
    pub secret: Secret,
    /// Folder of the pictures of getSnap.
    pub snap_root: PathBuf,
    /// Picture that is sent when a snapshot fails.
    pub default_snap: Option<PathBuf>,
    /// Folders that downloadFile may read.
    pub download_roots: Vec<PathBuf>,
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "api.apiDebug",
        "1",
        Hot,
        Kind::Bool(Some(|c| &mut c.api.debug)),
        "Write each API request to the log: who asked for what, the code of the reply and the time it took. Parameters and bodies are left out, since they hold secrets and credentials.",
    ),
    Key::zlm(
        "api.secret",
        "",
        Hot,
        Kind::Secret(Some(|c| &mut c.api.secret)),
        "The secret that callers of the API must send. If it is missing, empty or the value that ZLMediaKit publishes in its sample file, Tidegate makes a random one at start, writes it to the configuration file and prints it once.",
    )
    .secret(),
    Key::stored(
        "api.snapRoot",
        "./www/snap/",
        Hot,
        Kind::Path(Some(|c| &mut c.api.snap_root)),
        "Folder in which getSnap keeps its pictures.",
    ),
    Key::stored(
        "api.defaultSnap",
        "./www/logo.png",
        Hot,
        Kind::OptionalPath(Some(|c| &mut c.api.default_snap)),
        "Picture that getSnap sends when no snapshot could be made.",
    ),
    Key::stored(
        "api.downloadRoot",
        "./www",
        Hot,
        Kind::Paths(Some(|c| &mut c.api.download_roots)),
        "Folders from which downloadFile may read, with `;` between them.",
    ),
];
