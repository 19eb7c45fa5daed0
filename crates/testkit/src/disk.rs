//! A disk of a server's own, small enough to be really full.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;
use tokio::process::Command;

use crate::server::TestServer;

/// Mounts a file system for itself alone, and becomes the program that follows: size in bytes, folder, program, arguments.
const MOUNT: &str = "mount -t tmpfs -o \"size=$1,mode=700\" none \"$2\" && shift 2 && exec \"$@\"";

/// Becomes a program whose writes beyond its limit fail, instead of being killed by them.
const IGNORE: &str = "trap '' XFSZ && shift 2 && exec \"$@\"";

/// What takes up the room that is left.
const FILLER: &str = "filler";

/// A folder on a disk of a few bytes, for a server that is started with [`crate::server::Builder::small_disk`].
///
/// Where the system allows it, that is a file system in memory that only this server sees, so it ends with the server. Elsewhere the
/// server's files may have no more than so many bytes each.
pub struct SmallDisk {
    folder: TempDir,
    bytes: u64,
    /// How to call `unshare`; none where it is not allowed.
    unshare: Option<&'static [&'static str]>,
}

impl SmallDisk {
    /// A disk of so many bytes.
    pub async fn new(bytes: u64) -> Result<Self> {
        let mut disk = Self::limited(bytes)?;
        for way in [&["--mount"][..], &["--mount", "--map-root-user"][..]] {
            let mut command = Command::new("unshare");
            command.args(way).args(["sh", "-c", MOUNT, "sh"]);
            command.arg(bytes.to_string()).arg(disk.path()).arg("true");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().await.is_ok_and(|status| status.success()) {
                disk.unshare = Some(way);
                break;
            }
        }
        Ok(disk)
    }

    /// Without a file system of its own, whatever the system allows.
    pub fn limited(bytes: u64) -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir().context("folder for a disk")?,
            bytes,
            unshare: None,
        })
    }

    /// The folder, as the server sees it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What the system says of a write for which there is no room.
    pub fn refusal(&self) -> &'static str {
        match self.unshare {
            Some(_) => "No space left on device",
            None => "File too large",
        }
    }

    /// What the server's command line begins with.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let (way, script) = match self.unshare {
            Some(way) => (["unshare"].iter().chain(way).copied().collect(), MOUNT),
            None => (Vec::new(), IGNORE),
        };
        let words = way.into_iter().chain(["sh", "-c", script, "sh"]);
        let mut prefix: Vec<_> = words.map(str::to_owned).collect();
        prefix.extend([self.bytes.to_string(), self.path().display().to_string()]);
        prefix
    }

    /// Something else takes all the room that is left.
    pub fn fill(&self, server: &TestServer) -> Result<()> {
        if self.unshare.is_none() {
            return limit(server, Some(0));
        }
        // Larger than the disk: it ends where the disk does.
        let wanted = usize::try_from(self.bytes).context("a small disk")?;
        let filled = std::fs::write(self.seen_by(server).join(FILLER), vec![0; wanted]);
        let error = filled.err().context("the disk is larger than it should be")?;
        ensure!(
            error.kind() == std::io::ErrorKind::StorageFull,
            "fill the disk: {error}"
        );
        Ok(())
    }

    /// What [`Self::fill`] took is free again.
    pub fn free(&self, server: &TestServer) -> Result<()> {
        if self.unshare.is_none() {
            return limit(server, Some(self.bytes));
        }
        std::fs::remove_file(self.seen_by(server).join(FILLER)).context("delete what fills the disk")
    }

    /// The folder, for this process.
    fn seen_by(&self, server: &TestServer) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", server.pid()));
        // Absolute as it is, the folder would replace what it is joined to.
        root.join(self.path().strip_prefix("/").unwrap_or(self.path()))
    }
}

/// How long a server's files may be from now on.
fn limit(server: &TestServer, bytes: Option<u64>) -> Result<()> {
    let raw = i32::try_from(server.pid()).context("process id")?;
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Pid::from_raw(raw), Resource::Fsize, limit).context("limit a server's files")?;
    Ok(())
}
