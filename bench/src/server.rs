//! A Tidegate on free ports of the loopback interface, with one publisher.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::child::{self, Usage};
use crate::clip::Clip;
use crate::rows::Plan;

/// App and name of the stream.
pub const STREAM: &str = "live/bench";

/// Longest that a start may take; well under a second is usual.
const START: Duration = Duration::from_secs(20);
/// How often the ready file is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// From the start of the publisher to the first measurement: the server then holds the groups of pictures that it keeps, and
/// its memory no longer grows because of them.
const SETTLE: Duration = Duration::from_secs(6);

/// Ends with the value.
pub struct Server {
    process: Child,
    publisher: Child,
    ports: Ports,
    folder: TempDir,
}

/// Of the ready file.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Ports {
    rtmp: u16,
    rtsp: u16,
    http: u16,
}

impl Server {
    /// Starts it and the publisher, and lets both settle.
    pub async fn start(plan: &Plan, clip: &Clip) -> Result<Self> {
        let folder = tempfile::tempdir().context("folder for the server")?;
        let log = std::fs::File::create(folder.path().join("log")).context("the server's log")?;
        let ready_file = folder.path().join("ready.json");
        let mut command = child::command(&plan.cores.server, &plan.binary)?;
        command
            .args(["--log", "warn", "--free-ports", "--ready-file"])
            .arg(&ready_file)
            // The clip has video alone; a silent track added to it would be other frames than the floor's.
            .args(["--set", "protocol.add_mute_audio=0"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(log);
        let mut process = command.spawn().context("start the server")?;
        let ports = wait_until_ready(&mut process, &ready_file, folder.path()).await?;
        let publisher = clip.publish(
            &plan.cores.load,
            &format!("rtmp://127.0.0.1:{}/{STREAM}", ports.rtmp),
        )?;
        let mut server = Self {
            process,
            publisher,
            ports,
            folder,
        };
        sleep(SETTLE).await;
        server.check()?;
        Ok(server)
    }

    /// Where RTMP is spoken.
    pub fn rtmp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.rtmp).into()
    }

    /// Where RTSP is spoken.
    pub fn rtsp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.rtsp).into()
    }

    /// Where HTTP is spoken.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.http).into()
    }

    /// What it has used.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(&self.process)
    }

    /// Still runs and is still published to.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait().context("look after the server")? {
            bail!(
                "the server ended with {status}; its log:\n{}",
                log_text(self.folder.path())
            );
        }
        if let Some(status) = self.publisher.try_wait().context("look after the publisher")? {
            bail!(
                "the publisher ended with {status}; the server's log:\n{}",
                log_text(self.folder.path())
            );
        }
        Ok(())
    }

    /// Ends both.
    pub async fn stop(mut self) -> Result<()> {
        self.publisher.kill().await.context("end the publisher")?;
        self.process.kill().await.context("end the server")
    }
}

async fn wait_until_ready(process: &mut Child, file: &Path, folder: &Path) -> Result<Ports> {
    let end = Instant::now() + START;
    while Instant::now() < end {
        if let Some(status) = process.try_wait().context("look after the server")? {
            bail!(
                "the server ended with {status} before it was ready; its log:\n{}",
                log_text(folder)
            );
        }
        if let Ok(text) = std::fs::read(file) {
            return serde_json::from_slice(&text).context("the server's ready file");
        }
        sleep(LOOK).await;
    }
    bail!(
        "the server is not ready after {START:?}; its log:\n{}",
        log_text(folder)
    )
}

fn log_text(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_else(|error| error.to_string())
}
