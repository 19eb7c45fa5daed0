//! A Tidegate with hooks, a small stream in it, and the receiver of the hooks.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::child::{self, Usage};
use crate::rows::Plan;

/// App and name of the small stream.
pub const STREAM: &str = "live/small";
/// The API's secret: as long as one must be, known to nobody else's server.
const SECRET: &str = "the-secret-of-the-benchmark-0000";
/// Longest that a start may take; well under a second is usual.
const START: Duration = Duration::from_secs(20);
/// Longest until a stream is there.
const APPEAR: Duration = Duration::from_secs(20);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// The server. Ends with the value.
pub struct Node {
    process: Child,
    /// Where HTTP is spoken.
    pub http: SocketAddr,
    /// Where RTMP is spoken.
    pub rtmp: SocketAddr,
    folder: TempDir,
}

#[derive(Debug, Deserialize)]
struct Ports {
    rtmp: u16,
    http: u16,
}

/// What `isMediaOnline` answers.
#[derive(Debug, Deserialize)]
struct IsOnline {
    online: bool,
}

impl Node {
    /// Starts it with these settings beside the defaults, `section.key=value`.
    pub async fn start(plan: &Plan, settings: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir().context("folder for the server")?;
        let log = std::fs::File::create(folder.path().join("log")).context("the server's log")?;
        let ready = folder.path().join("ready.json");
        let mut command = child::command(&plan.cores.server, &plan.binary)?;
        command
            .args(["--log", "error", "--free-ports", "--ready-file"])
            .arg(&ready)
            .args(["--set", "protocol.add_mute_audio=0"])
            .args(["--set", &format!("api.secret={SECRET}")])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(log);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = command.spawn().context("start the server")?;
        let end = Instant::now() + START;
        let ports: Ports = loop {
            if let Ok(text) = std::fs::read(&ready) {
                break serde_json::from_slice(&text).context("the server's ready file")?;
            }
            let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            if let Some(status) = process.try_wait().context("look after the server")? {
                bail!("the server ended with {status}; its log:\n{}", log());
            }
            ensure!(
                Instant::now() < end,
                "the server is not ready after {START:?}; its log:\n{}",
                log()
            );
            sleep(LOOK).await;
        };
        Ok(Self {
            process,
            http: (Ipv4Addr::LOCALHOST, ports.http).into(),
            rtmp: (Ipv4Addr::LOCALHOST, ports.rtmp).into(),
            folder,
        })
    }

    /// What it has used.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(&self.process)
    }

    /// Publishes a stream of few bits, so that a player costs its verdict and little else, and waits until it is there.
    pub async fn publish_small(&self, plan: &Plan) -> Result<Child> {
        let mut command = child::command(&plan.cores.load, "ffmpeg")?;
        command.args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i"]);
        command.args([
            "testsrc2=size=64x64:rate=5",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ]);
        command.args(["-pix_fmt", "yuv420p", "-g", "5", "-bf", "0", "-f", "flv"]);
        let publisher = command
            .arg(format!("rtmp://{}/{STREAM}", self.rtmp))
            .stdout(Stdio::null())
            .spawn()
            .context("start ffmpeg")?;
        self.wait_for_stream(STREAM).await?;
        Ok(publisher)
    }

    /// Waits until `app/name` is published.
    pub async fn wait_for_stream(&self, stream: &str) -> Result<()> {
        let (app, name) = stream.split_once('/').context("a stream is app/name")?;
        let path = format!(
            "/index/api/isMediaOnline?secret={SECRET}&schema=rtmp&vhost=__defaultVhost__&app={app}&stream={name}"
        );
        let end = Instant::now() + APPEAR;
        while Instant::now() < end {
            let answer = self.get(&path).await?;
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let answer: IsOnline = serde_json::from_str(body).context("the answer of isMediaOnline")?;
            if answer.online {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("{stream} is not there after {APPEAR:?}")
    }

    /// A line of `/metrics`, summed over all lines whose name and labels begin so.
    pub async fn metric(&self, begin: &str) -> Result<f64> {
        let text = self.get("/metrics").await?;
        let lines = text.lines().filter(|line| line.starts_with(begin));
        Ok(lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    async fn get(&self, path: &str) -> Result<String> {
        let mut io = TcpStream::connect(self.http).await.context("connect")?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        io.write_all(request.as_bytes()).await.context("ask the server")?;
        let mut answer = String::new();
        timeout(APPEAR, io.read_to_string(&mut answer))
            .await
            .context("no answer of the server")?
            .context("read the server's answer")?;
        Ok(answer)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait().context("look after the server")? {
            bail!("the server ended with {status}; its log:\n{}", self.log());
        }
        self.process.kill().await.context("end the server")
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

    /// The settings that send these hooks to it, and no other hook to anybody.
    pub fn settings(&self, hooks: &[&str]) -> Vec<String> {
        let url = |hook: &&str| format!("hook.{hook}=http://{}/index/hook/{hook}", self.address);
        let enable = std::iter::once("hook.enable=1".to_owned());
        enable.chain(hooks.iter().map(url)).collect()
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        self.process.kill().await.context("end the receiver")
    }
}
