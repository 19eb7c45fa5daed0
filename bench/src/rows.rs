//! One row of the table: a fresh server, or the floor, with a number of viewers, watched for some seconds.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::child::Usage;
use crate::clip::Clip;
use crate::floor::Floor;
use crate::machine::Cores;
use crate::server::Server;
use crate::viewer::{Audience, Kind};

/// What holds for all rows.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's program.
    pub binary: PathBuf,
    /// Who runs where.
    pub cores: Cores,
    /// How long each row is measured.
    pub seconds: Duration,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The least that any server must do.
    Floor,
    /// Tidegate, viewers over HTTP-FLV.
    HttpFlv,
    /// Tidegate, viewers over RTMP.
    Rtmp,
    /// Tidegate, viewers over RTSP and TCP.
    Rtsp,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor",
            Self::HttpFlv => "HTTP-FLV",
            Self::Rtmp => "RTMP",
            Self::Rtsp => "RTSP",
        })
    }
}

/// From the last viewer's first frame to the measurement: the group of pictures that each gets at once is then through.
const WARM_UP: Duration = Duration::from_secs(3);
/// What a row may take besides its measurement; start, settling and joining have shorter bounds of their own.
const BESIDES: Duration = Duration::from_secs(120);

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub subject: Subject,
    /// With how many viewers.
    pub viewers: u32,
    /// For how long, seconds.
    pub seconds: f64,
    /// What all viewers received in that time, bytes of the TCP connections.
    pub delivered_bytes: u64,
    /// That as a part of what the stream has for so many viewers. Clearly below 1: it did not keep up.
    pub delivered_share: f64,
    /// Processor time that the measured process used, seconds.
    pub cpu_seconds: f64,
    /// That for each 10^9 bits delivered.
    pub cpu_seconds_per_gbit: f64,
    /// Resident memory before the first viewer, bytes.
    pub resident_bytes_alone: u64,
    /// Growth of resident memory for each viewer, bytes. The allocator takes and returns memory by the MiB at times of its own,
    /// so that only many viewers give a figure that means something.
    pub resident_bytes_per_viewer: f64,
    /// How busy the load was, as a part of its cores. Near 1: the load was measured, not the server.
    pub load_busy: f64,
}

/// The measured process.
enum Measured {
    Floor(Floor),
    Server(Server),
}

impl Measured {
    fn usage(&self) -> Result<Usage> {
        match self {
            Self::Floor(floor) => floor.usage(),
            Self::Server(server) => server.usage(),
        }
    }

    async fn stop(self) -> Result<()> {
        match self {
            Self::Floor(floor) => floor.stop().await,
            Self::Server(mut server) => {
                server.check()?;
                server.stop().await
            }
        }
    }
}

/// Measures one row.
pub async fn measure(plan: &Plan, clip: &Clip, subject: Subject, viewers: u32) -> Result<Row> {
    let limit = plan.seconds + BESIDES;
    timeout(limit, watch(plan, clip, subject, viewers))
        .await
        .with_context(|| format!("not done after {limit:?}"))
        .flatten()
        .with_context(|| format!("{viewers} viewers, {subject}"))
}

async fn watch(plan: &Plan, clip: &Clip, subject: Subject, viewers: u32) -> Result<Row> {
    let (measured, kind, address): (_, _, SocketAddr) = match subject {
        Subject::Floor => {
            let floor = Floor::start(plan, clip, viewers, plan.seconds + BESIDES).await?;
            let address = (Ipv4Addr::LOCALHOST, floor.port).into();
            (Measured::Floor(floor), Kind::Plain, address)
        }
        Subject::HttpFlv => {
            let server = Server::start(plan, clip).await?;
            let address = server.http();
            (Measured::Server(server), Kind::HttpFlv, address)
        }
        Subject::Rtmp => {
            let server = Server::start(plan, clip).await?;
            let address = server.rtmp();
            (Measured::Server(server), Kind::Rtmp, address)
        }
        Subject::Rtsp => {
            let server = Server::start(plan, clip).await?;
            let address = server.rtsp();
            (Measured::Server(server), Kind::Rtsp, address)
        }
    };
    let alone = measured.usage()?;
    let mut audience = Audience::gather(kind, address, viewers).await?;
    sleep(WARM_UP).await;
    audience.check()?;

    let (begin, bytes, usage, load) = (
        Instant::now(),
        audience.bytes(),
        measured.usage()?,
        Usage::of_load()?,
    );
    sleep(plan.seconds).await;
    let seconds = begin.elapsed().as_secs_f64();
    let delivered_bytes = audience.bytes() - bytes;
    let (usage_after, load_after) = (measured.usage()?, Usage::of_load()?);
    // Who fell silent in between fails here, so that fewer viewers are never taken for cheaper ones.
    audience.check()?;
    drop(audience);
    measured.stop().await?;

    let delivered_bits = delivered_bytes as f64 * 8.0;
    let cpu_seconds = usage_after.cpu_seconds - usage.cpu_seconds;
    let grown = usage_after.resident_bytes as f64 - alone.resident_bytes as f64;
    Ok(Row {
        subject,
        viewers,
        seconds,
        delivered_bytes,
        delivered_share: delivered_bits / (clip.bit_rate() * seconds * f64::from(viewers)),
        cpu_seconds,
        cpu_seconds_per_gbit: cpu_seconds / (delivered_bits / 1e9),
        resident_bytes_alone: alone.resident_bytes,
        resident_bytes_per_viewer: grown / f64::from(viewers),
        load_busy: (load_after.cpu_seconds - load.cpu_seconds) / (seconds * plan.cores.load.len() as f64),
    })
}
