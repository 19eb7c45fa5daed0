//! How costs grow: flat, or is there something that all viewers or all streams go through?

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::Figures;
use super::publishers;
use super::stage::Stage;
use super::window::Window;
use crate::clip::Clip;
use crate::plan::Plan;
use crate::product::{Product, STREAM, Settings};
use crate::stats::log_log_slope;
use crate::targets::Goal;
use crate::viewer::{Audience, Protocol};

/// From the last viewer's first frame to the measurement.
const WARM_UP: Duration = Duration::from_secs(3);
/// Protocols whose viewers are counted up.
const PROTOCOLS: [Protocol; 3] = [Protocol::HttpFlv, Protocol::Rtmp, Protocol::Rtsp];

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Growth {
    viewers: Vec<OfViewers>,
    streams: Vec<publishers::Row>,
    /// Power of the number of streams that the cost per stream grows with; 0 is flat.
    cost_per_stream_slope: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct OfViewers {
    protocol: Protocol,
    windows: Vec<Window>,
    /// Power of the number of viewers that the cost per viewer grows with; 0 is flat.
    cost_per_viewer_slope: Option<f64>,
}

/// Measures each number of viewers, and of streams that nobody watches.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>, viewers: &[u32], streams: &[u32]) -> Result<Growth> {
    let mut growth = Growth::default();
    let mut viewers = viewers.to_vec();
    viewers.sort_unstable();
    for protocol in PROTOCOLS {
        let windows = of_viewers(plan, clip, protocol, &viewers).await;
        let windows = windows.with_context(|| format!("growth over {protocol}"))?;
        let cost = |window: &Window| {
            let each = window.cpu_seconds / window.seconds / f64::from(window.viewers);
            (f64::from(window.viewers), each)
        };
        let points: Vec<_> = windows.iter().map(cost).collect();
        growth.viewers.push(OfViewers {
            protocol,
            windows,
            cost_per_viewer_slope: log_log_slope(&points).ok(),
        });
    }
    for &count in streams {
        eprintln!("growth, {count} streams ...");
        let row = publishers::one(plan, clip, Product::Tidegate, "", &Settings::default(), count).await;
        growth
            .streams
            .push(row.with_context(|| format!("growth, {count} streams"))?);
    }
    let points: Vec<_> = growth
        .streams
        .iter()
        .map(|row| (f64::from(row.publishers), row.core_per_publisher))
        .collect();
    growth.cost_per_stream_slope = log_log_slope(&points).ok();
    Ok(growth)
}

async fn of_viewers(
    plan: &Plan,
    clip: &Arc<Clip>,
    protocol: Protocol,
    counts: &[u32],
) -> Result<Vec<Window>> {
    let mut stage = Stage::start(plan, clip, Product::Tidegate, &Settings::default()).await?;
    stage.server.settle().await?;
    let target = stage.server.target(protocol, STREAM)?;
    let (mut audience, mut present, mut windows) = (Audience::new(), 0, Vec::new());
    for &count in counts {
        eprintln!("growth, {count} viewers over {protocol} ...");
        audience
            .admit(&target, count.saturating_sub(present), plan.check_every)
            .await?;
        present = present.max(count);
        sleep(WARM_UP).await;
        windows.push(Window::measure(plan, clip, &mut stage, &mut audience, present).await?);
    }
    drop(audience);
    stage.stop().await?;
    Ok(windows)
}

fn slope(slope: Option<f64>) -> String {
    slope.map_or_else(|| "-".to_owned(), |slope| format!("{slope:+.3}"))
}

impl Figures for Growth {
    fn table(&self) -> String {
        let mut text = String::from(
            "            viewers  % of core each  CPU s/Gbit  core busy  delivered  latest ms  missing\n",
        );
        for of in &self.viewers {
            for window in &of.windows {
                let _ = writeln!(
                    text,
                    "{:<11} {:>7} {:>15.4} {:>11.4} {:>8.1} % {:>8.1} % {:>10.0} {:>8} {}",
                    of.protocol,
                    window.viewers,
                    window.core_busy() * 100.0 / f64::from(window.viewers),
                    window.cpu_seconds_per_gbit,
                    window.core_busy() * 100.0,
                    window.delivered_share * 100.0,
                    window.latest_ms,
                    window.missing_frames + window.missing_packets,
                    window.mark()
                );
            }
            let _ = writeln!(
                text,
                "{}: log-log slope of the cost per viewer {} (0 is flat)",
                of.protocol,
                slope(of.cost_per_viewer_slope)
            );
        }
        let _ = writeln!(text, "\n            streams  % of core each    KiB each");
        for row in &self.streams {
            let _ = writeln!(
                text,
                "{:<11} {:>7} {:>15.4} {:>11.1}",
                "",
                row.publishers,
                row.core_per_publisher * 100.0,
                row.resident_bytes_per_publisher / 1024.0
            );
        }
        let _ = writeln!(
            text,
            "log-log slope of the cost per stream {} (0 is flat)",
            slope(self.cost_per_stream_slope)
        );
        text
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for of in &self.viewers {
            for window in &of.windows {
                notes.extend(window.notes(&format!(
                    "growth, {} viewers over {}",
                    window.viewers, of.protocol
                )));
            }
        }
        notes
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        let flv = self.viewers.iter().filter(|of| of.protocol == Protocol::HttpFlv);
        let smooth = flv.flat_map(|of| &of.windows).filter(|window| window.is_smooth());
        let most = smooth.map(|window| window.viewers).max();
        let figure = |most| format!("at least {most} (growth: the most that were tried without a stall)");
        most.map(|most| (Goal::ViewersPerCore, figure(most)))
            .into_iter()
            .collect()
    }
}
