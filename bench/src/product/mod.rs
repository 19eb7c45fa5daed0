//! The servers that are measured: each on free ports of the loopback interface, in a folder of its own, on the server's core.

mod config;
pub mod floor;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::child::{self, Usage};
use crate::http;
use crate::plan::Plan;
use crate::viewer::{Protocol, Target};

/// App and name of the stream that most parts play.
pub const STREAM: &str = "live/bench";

/// Longest that a start may take; well under a second is usual.
const START: Duration = Duration::from_secs(20);
/// How often we look whether it is ready.
const LOOK: Duration = Duration::from_millis(1);
/// From the start of the publisher to the first measurement: the server then holds all groups of pictures that it keeps (those of
/// HLS are the most), and its memory no longer grows because of them.
const SETTLE: Duration = Duration::from_secs(10);
/// Longest that it may take to read the metrics.
const METRICS: Duration = Duration::from_secs(5);

/// A program that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// The least that any server must do.
    Floor,
    /// This one.
    Tidegate,
    /// nginx with the RTMP module.
    NginxRtmp,
    /// xiu.
    Xiu,
    /// ZLMediaKit.
    Zlm,
    /// SRS.
    Srs,
    /// MediaMTX.
    MediaMtx,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor",
            Self::Tidegate => "Tidegate",
            Self::NginxRtmp => "nginx-rtmp",
            Self::Xiu => "xiu",
            Self::Zlm => "ZLMediaKit",
            Self::Srs => "SRS",
            Self::MediaMtx => "MediaMTX",
        })
    }
}

impl Product {
    /// Those that are others' work.
    pub const PEERS: [Self; 5] = [Self::NginxRtmp, Self::Xiu, Self::Zlm, Self::Srs, Self::MediaMtx];

    /// In which protocols it serves a stream that comes over RTMP.
    pub fn protocols(self) -> Vec<Protocol> {
        let serves = |protocol: &Protocol| self.place(*protocol, STREAM).is_some();
        let all = [[Protocol::Plain].as_slice(), &Protocol::PLAYED].concat();
        all.into_iter().filter(serves).collect()
    }

    /// Port and path of a stream.
    fn place(self, protocol: Protocol, stream: &str) -> Option<(Port, String)> {
        use Protocol::{Hls, HttpFlv, HttpFmp4, HttpTs, Plain, Rtmp, Rtsp};
        Some(match (self, protocol) {
            (Self::Floor, Plain) => (Port::Http, String::new()),
            (Self::Floor, _) | (_, Plain) => return None,
            (_, Rtmp) => (Port::Rtmp, format!("/{stream}")),
            (Self::Tidegate | Self::Zlm | Self::MediaMtx, Rtsp) => (Port::Rtsp, format!("/{stream}")),
            (Self::Tidegate | Self::Zlm, HttpFlv) => (Port::Http, format!("/{stream}.live.flv")),
            (Self::Srs | Self::Xiu, HttpFlv) => (Port::Http, format!("/{stream}.flv")),
            (Self::Tidegate | Self::Zlm, HttpTs) => (Port::Http, format!("/{stream}.live.ts")),
            (Self::Tidegate | Self::Zlm, HttpFmp4) => (Port::Http, format!("/{stream}.live.mp4")),
            (Self::Tidegate | Self::Zlm, Hls) => (Port::Http, format!("/{stream}/hls.m3u8")),
            _ => return None,
        })
    }
}

/// Which of a server's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Rtmp,
    Rtsp,
    Http,
}

/// Where it listens. Also what Tidegate's ready file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct Ports {
    rtmp: u16,
    rtsp: u16,
    http: u16,
}

impl Ports {
    /// Three that nobody uses now. Somebody may take one before the server does; then its start fails and says so.
    fn free() -> Result<Self> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port");
        let all = [listen()?, listen()?, listen()?];
        let port = |listener: &TcpListener| anyhow::Ok(listener.local_addr().context("a free port")?.port());
        Ok(Self {
            rtmp: port(&all[0])?,
            rtsp: port(&all[1])?,
            http: port(&all[2])?,
        })
    }
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Tidegate: keys beside those of the plan, `KEY=VALUE`.
    pub keys: Vec<String>,
    /// Tidegate: a configuration, TOML.
    pub toml: Option<String>,
    /// The floor: its arguments.
    pub floor: Vec<String>,
}

/// Ends with the value.
pub struct Server {
    /// Which.
    pub product: Product,
    process: Child,
    ports: Ports,
    folder: TempDir,
    /// When it was started.
    started: Instant,
    /// From then until it could be used.
    pub ready_after: Duration,
}

impl Server {
    /// Starts it and waits until it listens.
    pub async fn start(plan: &Plan, product: Product, settings: &Settings) -> Result<Self> {
        Self::try_start(plan, product, settings)
            .await
            .with_context(|| format!("start {product}"))
    }

    async fn try_start(plan: &Plan, product: Product, settings: &Settings) -> Result<Self> {
        let program = plan.program(product).context("it was not found")?;
        let folder = tempfile::tempdir().context("folder for the server")?;
        let ready_file = folder.path().join("ready.json");
        let ports = match product {
            Product::Tidegate | Product::Floor => Ports::default(),
            _ => Ports::free()?,
        };
        let arguments = match product {
            Product::Tidegate => tidegate_arguments(plan, settings, folder.path(), &ready_file)?,
            Product::Floor => [&["floor".to_owned()], settings.floor.as_slice()].concat(),
            peer => config::write(peer, ports, &program, folder.path())?,
        };
        let log = std::fs::File::create(folder.path().join("log")).context("the server's log")?;
        let errors = log.try_clone().context("the server's log")?;
        let mut command = child::command(&plan.cores.server, &program)?;
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdout(log)
            .stderr(errors);
        let started = Instant::now();
        let process = command.spawn().context("start the server")?;
        let mut server = Self {
            product,
            process,
            ports,
            folder,
            started,
            ready_after: Duration::ZERO,
        };
        timeout(START, server.wait_until_ready(&ready_file))
            .await
            .with_context(|| format!("not ready after {START:?}; its log:\n{}", server.log_text()))??;
        server.ready_after = started.elapsed();
        Ok(server)
    }

    async fn wait_until_ready(&mut self, ready_file: &Path) -> Result<()> {
        loop {
            self.check()?;
            match self.product {
                Product::Tidegate => {
                    if let Ok(text) = std::fs::read(ready_file) {
                        self.ports = serde_json::from_slice(&text).context("the server's ready file")?;
                        return Ok(());
                    }
                }
                Product::Floor => {
                    if let Some(port) = self.log_text().strip_suffix('\n') {
                        self.ports.http = port
                            .parse()
                            .with_context(|| format!("the floor's port: {port:?}"))?;
                        return Ok(());
                    }
                }
                _ => {
                    if TcpStream::connect(self.rtmp()).await.is_ok() {
                        return Ok(());
                    }
                }
            }
            sleep(LOOK).await;
        }
    }

    /// A stream over a protocol.
    pub fn target(&self, protocol: Protocol, stream: &str) -> Result<Target> {
        let (port, path) = self
            .product
            .place(protocol, stream)
            .with_context(|| format!("{} does not serve {protocol}", self.product))?;
        let port = match port {
            Port::Rtmp => self.ports.rtmp,
            Port::Rtsp => self.ports.rtsp,
            Port::Http => self.ports.http,
        };
        Ok(Target {
            protocol,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            path,
        })
    }

    /// Where publishers go.
    pub fn rtmp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.rtmp).into()
    }

    /// Where RTSP is spoken.
    pub fn rtsp(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.rtsp).into()
    }

    /// Waits until its memory no longer grows because of the stream that it keeps, which was published right after the start.
    pub async fn settle(&mut self) -> Result<()> {
        sleep_until(self.started + SETTLE).await;
        self.check()
    }

    /// What it has used.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(&self.process).with_context(|| format!("the use of {}", self.product))
    }

    /// Files that it has open.
    pub fn open_files(&self) -> Result<u64> {
        child::open_files(&self.process)
    }

    /// What `/metrics` of a Tidegate says.
    pub async fn metrics(&self) -> Result<String> {
        let text = async {
            let address: SocketAddr = (Ipv4Addr::LOCALHOST, self.ports.http).into();
            let mut io = TcpStream::connect(address).await.context("connect")?;
            http::get(&mut io, &mut BytesMut::new(), "/metrics").await
        };
        let text = timeout(METRICS, text)
            .await
            .with_context(|| format!("no metrics within {METRICS:?}"))?
            .context("read the metrics")?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Still runs.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait().context("look after the server")? {
            bail!(
                "{} ended with {status}; its log:\n{}",
                self.product,
                self.log_text()
            );
        }
        Ok(())
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        self.process.kill().await.context("end the server")
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_else(|error| error.to_string())
    }
}

fn tidegate_arguments(
    plan: &Plan,
    settings: &Settings,
    folder: &Path,
    ready_file: &Path,
) -> Result<Vec<String>> {
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .context("a folder whose name is no text")
    };
    let mut arguments: Vec<String> = ["--log", "warn", "--free-ports", "--ready-file"]
        .map(str::to_owned)
        .into();
    arguments.push(text(ready_file)?);
    if let Some(toml) = &settings.toml {
        let file = folder.join("tidegate.toml");
        std::fs::write(&file, toml).context("the server's configuration")?;
        arguments.extend(["-c".to_owned(), text(&file)?]);
    }
    // The clip has video alone; a silent track added to it would be other frames than the floor's.
    let keys = ["protocol.add_mute_audio=0".to_owned()];
    for key in keys.iter().chain(&plan.keys).chain(&settings.keys) {
        arguments.extend(["--set".to_owned(), key.clone()]);
    }
    Ok(arguments)
}

/// Other servers on this machine: those that `scripts/setup.sh bench` has made, or that the environment names.
pub fn find_peers() -> Result<Vec<(Product, PathBuf)>> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
    let mut found = Vec::new();
    for peer in Product::PEERS {
        let (variable, usual) = match peer {
            Product::NginxRtmp => ("NGINX_BIN", Some("nginx/usr/sbin/nginx")),
            Product::Xiu => ("XIU_BIN", Some("bin/xiu")),
            Product::Zlm => ("ZLM_BIN", None),
            Product::Srs => ("SRS_BIN", None),
            Product::MediaMtx => ("MEDIAMTX_BIN", None),
            Product::Floor | Product::Tidegate => continue,
        };
        let file = match (std::env::var_os(variable), usual) {
            (Some(named), _) if named.is_empty() => continue,
            (Some(named), _) => {
                let named = PathBuf::from(named);
                ensure!(
                    named.is_file(),
                    "{variable} names {}, which is no file",
                    named.display()
                );
                named
            }
            (None, Some(usual)) => tools.join(usual),
            (None, None) => continue,
        };
        if let Ok(file) = file.canonicalize() {
            found.push((peer, file));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_takes_rtmp_and_the_floor_is_plain() {
        for peer in Product::PEERS {
            assert!(peer.protocols().contains(&Protocol::Rtmp), "{peer}");
            assert!(!peer.protocols().contains(&Protocol::Plain), "{peer}");
        }
        assert_eq!(Product::Floor.protocols(), [Protocol::Plain]);
        assert_eq!(Product::Tidegate.protocols(), Protocol::PLAYED);
    }
}
