//! From publisher to viewer: with nobody else, and while the core fills up with viewers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::stage::Stage;
use super::window::Window;
use super::{Figures, of_server};
use crate::check::latencies;
use crate::clip::{Clip, GROUP_FRAMES};
use crate::plan::Plan;
use crate::product::{Product, STREAM, Settings};
use crate::stats::Times;
use crate::targets::Goal;
use crate::viewer::{Audience, Probe, Protocol, Target};

/// Viewers in each protocol whose times are noted. The last of them joins behind all others: servers may serve viewers in the order
/// of their coming.
const PROBES: u32 = 2;
/// From the last viewer's first frame to the measurement.
const WARM_UP: Duration = Duration::from_secs(3);
/// With so few viewers it is few: the probes alone.
const FEW: u32 = 0;

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Latency {
    rows: Vec<Row>,
    /// Peers that could not be measured, and why.
    failed: Vec<String>,
}

/// With a number of viewers.
#[derive(Clone, Debug, Serialize)]
struct Row {
    product: Product,
    /// Viewers over HTTP-FLV beside the probes.
    viewers: u32,
    /// What these cost, with the probes; absent without any.
    window: Option<Window>,
    protocols: Vec<ByProtocol>,
}

#[derive(Clone, Debug, Serialize)]
struct ByProtocol {
    protocol: Protocol,
    /// From just before the publisher writes a frame until its last byte has come.
    times: Times,
    /// Frames and packets that did not come.
    missing: u64,
}

/// Measures these servers with few viewers, and Tidegate with each of these numbers.
pub async fn measure(
    plan: &Plan,
    clip: &Arc<Clip>,
    products: &[Product],
    viewers: &[u32],
) -> Result<Latency> {
    let mut latency = Latency::default();
    for &product in products {
        let counts = if product == Product::Tidegate {
            viewers
        } else {
            &[]
        };
        let rows = one(plan, clip, product, counts).await;
        let label = format!("latency of {product}");
        let rows = of_server(product, &label, rows, &mut latency.failed)?;
        latency.rows.extend(rows.into_iter().flatten());
    }
    Ok(latency)
}

async fn one(plan: &Plan, clip: &Arc<Clip>, product: Product, viewers: &[u32]) -> Result<Vec<Row>> {
    let mut stage = Stage::start(plan, clip, product, &Settings::default()).await?;
    stage.server.settle().await?;
    let mut probes = Probes::start(plan, &stage, &Protocol::LIVE).await?;
    let mut rows = Vec::new();
    let mut audience = Audience::new();
    let mut present = 0;
    let mut counts = viewers.to_vec();
    counts.sort_unstable();
    for &count in [FEW].iter().chain(&counts) {
        eprintln!("{product}, latency with {count} viewers ...");
        if count > present {
            let target = stage.server.target(Protocol::HttpFlv, STREAM)?;
            audience.admit(&target, count - present, plan.check_every).await?;
            present = count;
            probes.renew_last(plan).await?;
        }
        sleep(WARM_UP).await;
        let from = Instant::now();
        let window = Window::measure(plan, clip, &mut stage, &mut audience, count).await?;
        rows.push(Row {
            product,
            viewers: count,
            window: (count > 0).then_some(window),
            protocols: probes.measured(&stage, from, Instant::now()).await?,
        });
    }
    drop((probes, audience));
    stage.stop().await?;
    Ok(rows)
}

/// Viewers whose times are noted.
pub struct Probes(Vec<(Target, Vec<Probe>)>);

impl Probes {
    /// In those of the protocols that the server speaks.
    pub async fn start(plan: &Plan, stage: &Stage, protocols: &[Protocol]) -> Result<Self> {
        let mut probes = Vec::new();
        for &protocol in protocols {
            let Ok(target) = stage.server.target(protocol, STREAM) else {
                continue;
            };
            let mut of = Vec::new();
            for _ in 0..PROBES {
                of.push(Probe::start(plan, &target).await?);
            }
            probes.push((target, of));
        }
        Ok(Self(probes))
    }

    /// Lets the last one of each protocol leave and join again.
    async fn renew_last(&mut self, plan: &Plan) -> Result<()> {
        for (target, probes) in &mut self.0 {
            probes.pop();
            probes.push(Probe::start(plan, target).await?);
        }
        Ok(())
    }

    /// What came between two times.
    async fn measured(&mut self, stage: &Stage, from: Instant, to: Instant) -> Result<Vec<ByProtocol>> {
        let mut measured = Vec::new();
        for (target, probes) in &mut self.0 {
            let protocol = target.protocol;
            let (times, missing) = times(stage, probes, from, to)
                .await
                .with_context(|| protocol.to_string())?;
            measured.push(ByProtocol {
                protocol,
                times,
                missing,
            });
        }
        Ok(measured)
    }

    /// What came between two times, in all protocols together.
    pub async fn together(&mut self, stage: &Stage, from: Instant, to: Instant) -> Result<Times> {
        let all = self.0.iter_mut().flat_map(|(_, probes)| probes.iter_mut());
        Ok(times(stage, all, from, to).await?.0)
    }
}

async fn times(
    stage: &Stage,
    probes: impl IntoIterator<Item = &mut Probe>,
    from: Instant,
    to: Instant,
) -> Result<(Times, u64)> {
    let publisher = stage.publisher.as_ref().context("a publisher")?;
    let (mut all, mut missing) = (Vec::new(), 0);
    for probe in probes {
        probe.check().await?;
        missing += probe.missing();
        let seen = probe.seen();
        // Asked for after the frames, so that each of them is in it.
        all.extend(latencies(&publisher.sent(), GROUP_FRAMES, &seen, from, to)?);
    }
    Ok((Times::of(all)?, missing))
}

impl Figures for Latency {
    fn table(&self) -> String {
        let mut text = String::from("p50 / p99                 viewers  core busy  CPU s/Gbit");
        for protocol in Protocol::LIVE {
            let _ = write!(text, " {protocol:>18}");
        }
        text.push('\n');
        for row in &self.rows {
            let _ = write!(text, "{:<25} {:>7}", row.product, row.viewers);
            let _ = match &row.window {
                Some(window) => write!(
                    text,
                    " {:>8.1} % {:>11.4}",
                    window.core_busy() * 100.0,
                    window.cpu_seconds_per_gbit
                ),
                None => write!(text, " {:>10} {:>11}", "-", "-"),
            };
            for protocol in Protocol::LIVE {
                let of = row.protocols.iter().find(|of| of.protocol == protocol);
                let times = of.map_or_else(|| "-".to_owned(), |of| of.times.short());
                let _ = write!(text, " {times:>18}");
            }
            text.push('\n');
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.failed.clone();
        for row in &self.rows {
            let label = format!("latency of {} with {} viewers", row.product, row.viewers);
            for of in row.protocols.iter().filter(|of| of.missing > 0) {
                notes.push(format!(
                    "{label}: {} frames or packets are missing over {}",
                    of.missing, of.protocol
                ));
            }
            if let Some(window) = &row.window {
                notes.extend(window.notes(&label));
            }
        }
        notes
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        let mut reached = Vec::new();
        for row in self.rows.iter().filter(|row| row.viewers == FEW) {
            let times: Vec<String> = row
                .protocols
                .iter()
                .map(|of| format!("{} {}", of.protocol, of.times.short()))
                .collect();
            reached.push((Goal::Latency, format!("{}: {}", row.product, times.join(", "))));
        }
        reached
    }
}
