//! A Tidegate with hooks, a small stream in it, and the receiver of the hooks.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::child;
use crate::clip::Clip;
use crate::plan::Plan;
use crate::product::{Product, Server, Settings};
use crate::publisher::Publisher;
use crate::viewer::Protocol;

/// App and name of the small stream.
pub const SMALL: &str = "live/small";
/// Longest that a start may take; well under a second is usual.
const START: Duration = Duration::from_secs(20);
/// Bytes of each frame of the small stream: a player then costs its verdict and little else.
const FRAME_BYTES: usize = 100;

/// A server with the small stream. Both end with the value.
pub struct Node {
    /// The server.
    pub server: Server,
    publisher: Publisher,
}

impl Node {
    /// Starts it with these keys beside the defaults, `KEY=VALUE`.
    pub async fn start(plan: &Plan, clip: &Arc<Clip>, keys: &[String]) -> Result<Self> {
        let settings = Settings {
            keys: keys.to_vec(),
            ..Settings::default()
        };
        let server = Server::start(plan, Product::Tidegate, &settings).await?;
        let clip = Arc::new(clip.cut(FRAME_BYTES));
        let publisher = Publisher::start(plan, &clip, server.rtmp(), SMALL, Duration::ZERO).await?;
        let mut node = Self { server, publisher };
        // It is there when somebody sees it.
        super::players::play(node.http()?)
            .await
            .context("the small stream")?;
        node.check().await?;
        Ok(node)
    }

    /// Where HTTP is spoken.
    pub fn http(&self) -> Result<SocketAddr> {
        Ok(self.server.target(Protocol::HttpFlv, SMALL)?.address)
    }

    /// A metric, summed over all lines that begin so.
    pub async fn metric(&self, begin: &str) -> Result<f64> {
        let text = self.server.metrics().await?;
        let lines = text.lines().filter(|line| line.starts_with(begin));
        Ok(lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    /// An error if one of both has ended.
    pub async fn check(&mut self) -> Result<()> {
        self.server.check()?;
        self.publisher.check().await
    }

    /// Ends both, which must still run.
    pub async fn stop(mut self) -> Result<()> {
        self.check().await?;
        self.server.stop().await
    }
}

/// `tidegate hook-server`, which allows all. Ends with the value.
pub struct Receiver {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Receiver {
    /// Starts it, on the cores of the load, with these arguments beside its rules.
    pub async fn start(plan: &Plan, arguments: &[&str]) -> Result<Self> {
        const RULES: &str = "listen = \"127.0.0.1:0\"\ndefault = \"allow\"\n";
        let folder = tempfile::tempdir().context("folder for the receiver")?;
        let rules = folder.path().join("rules.toml");
        std::fs::write(&rules, RULES).context("the receiver's rules")?;
        let mut command = child::command(&plan.cores.load, &plan.binary)?;
        command
            .args(["hook-server", "--log", "error", "-c"])
            .arg(&rules)
            .args(arguments);
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .context("start the receiver")?;
        let stdout = process.stdout.take().context("standard output is piped")?;
        let mut line = String::new();
        timeout(START, BufReader::new(stdout).read_line(&mut line))
            .await
            .context("the receiver does not start")?
            .context("read where the receiver listens")?;
        let address = line
            .trim()
            .rsplit_once("http://")
            .and_then(|(_, address)| address.parse().ok())
            .with_context(|| format!("where the receiver listens: {line:?}"))?;
        Ok(Self {
            process,
            address,
            _folder: folder,
        })
    }

    /// The keys that send these hooks to it, and no other hook to anybody.
    pub fn keys(&self, hooks: &[&str]) -> Vec<String> {
        let url = |hook: &&str| format!("hook.{hook}=http://{}/index/hook/{hook}", self.address);
        let enable = std::iter::once("hook.enable=1".to_owned());
        enable.chain(hooks.iter().map(url)).collect()
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        self.process.kill().await.context("end the receiver")
    }
}
