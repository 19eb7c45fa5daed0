//! What viewers that do not keep up cost the others.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::Figures;
use super::latency::Probes;
use super::stage::Stage;
use super::window::Window;
use crate::clip::Clip;
use crate::http;
use crate::plan::Plan;
use crate::product::{Product, STREAM, Settings};
use crate::stats::Times;
use crate::viewer::{Audience, Protocol, Target};

/// Those that read a little, and those that never read.
const OF_EACH: u32 = 10;
/// How much the former read in a second, bytes.
const TRICKLE: u64 = 1000;
/// How often they read.
const SIP: Duration = Duration::from_millis(100);
/// From the last viewer's first frame, or the coming of the slow ones, to the measurement: by then their sockets are full.
const WARM_UP: Duration = Duration::from_secs(3);

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Slow {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    /// Viewers that do not keep up, when the time began and when it was over: the server may end them.
    slow: (usize, usize),
    /// The others.
    window: Window,
    /// The others' latency.
    latency: Times,
}

/// Measures with so many others: without slow ones, with them, and without again.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>, viewers: u32) -> Result<Slow> {
    let mut stage = Stage::start(plan, clip, Product::Tidegate, &Settings::default()).await?;
    stage.server.settle().await?;
    let target = stage.server.target(Protocol::HttpFlv, STREAM)?;
    let mut audience = Audience::new();
    audience.admit(&target, viewers, plan.check_every).await?;
    let mut probes = Probes::start(plan, &stage, &[Protocol::HttpFlv]).await?;
    let mut slow = Slow::default();
    for with_slow in [false, true, false] {
        let mut laggards = JoinSet::new();
        for number in 0..if with_slow { 2 * OF_EACH } else { 0 } {
            laggards.spawn(lag(target.clone(), number < OF_EACH));
        }
        sleep(WARM_UP).await;
        let before = left(&mut laggards)?;
        let from = Instant::now();
        let window = Window::measure(plan, clip, &mut stage, &mut audience, viewers).await?;
        let latency = probes.together(&stage, from, Instant::now()).await?;
        slow.rows.push(Row {
            slow: (before, left(&mut laggards)?),
            window,
            latency,
        });
    }
    drop((probes, audience));
    stage.stop().await?;
    Ok(slow)
}

/// How many are still there.
fn left(laggards: &mut JoinSet<Result<()>>) -> Result<usize> {
    while let Some(ended) = laggards.try_join_next() {
        ended.context("a slow viewer")?.context("a slow viewer")?;
    }
    Ok(laggards.len())
}

/// Reads hardly anything, or nothing, until the server ends it.
async fn lag(target: Target, reads: bool) -> Result<()> {
    let mut io = TcpStream::connect(target.address).await.context("connect")?;
    http::request(&mut io, &target.path).await?;
    let sip = TRICKLE * SIP.as_millis() as u64 / 1000;
    let mut buffer = vec![0; sip as usize];
    let mut tick = interval(SIP);
    loop {
        tick.tick().await;
        // That the server ends it is what it should do at some time.
        if reads && !matches!(io.read(&mut buffer).await, Ok(1..)) {
            return Ok(());
        }
    }
}

impl Figures for Slow {
    fn table(&self) -> String {
        let mut text =
            String::from("viewers  slow and dead  CPU s/Gbit  delivered  latency p50 / p99  missing\n");
        for row in &self.rows {
            let slow = match row.slow {
                (before, after) if before == after => before.to_string(),
                (before, after) => format!("{before}, then {after}"),
            };
            let _ = writeln!(
                text,
                "{:>7} {slow:>14} {:>11.4} {:>8.1} % {:>18} {:>8} {}",
                row.window.viewers,
                row.window.cpu_seconds_per_gbit,
                row.window.delivered_share * 100.0,
                row.latency.short(),
                row.window.missing_frames + row.window.missing_packets,
                row.window.mark()
            );
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let label = |row: &Row| format!("{} viewers beside {} slow ones", row.window.viewers, row.slow.0);
        self.rows
            .iter()
            .flat_map(|row| row.window.notes(&label(row)))
            .collect()
    }
}
