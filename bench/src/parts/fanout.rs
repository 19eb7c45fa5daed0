//! What a viewer costs: a fresh server, or the floor, with a number of viewers, watched for some seconds.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::stage::Stage;
use super::window::Window;
use super::{Figures, of_server};
use crate::clip::Clip;
use crate::plan::Plan;
use crate::product::floor::FloorArgs;
use crate::product::{Product, STREAM, Settings};
use crate::targets::Goal;
use crate::viewer::{Audience, Protocol};

/// From the last viewer's first frame to the measurement: the group of pictures that each gets at once is then through.
const WARM_UP: Duration = Duration::from_secs(2);
/// What a row may take besides its measurement; start, settling and joining have shorter bounds of their own.
const BESIDES: Duration = Duration::from_secs(120);
/// Viewers over HLS come in waves; from so many on they are no wave.
const FIRST_ROW_VIEWERS: u32 = 500;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Who serves.
    pub product: Product,
    /// How.
    pub protocol: Protocol,
    /// Of the floor: frames of so many milliseconds are written with one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_ms: Option<u64>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.merge_ms {
            Some(0) => "floor".to_owned(),
            Some(ms) => format!("floor, {ms} ms"),
            None => format!("{} {}", self.product, self.protocol),
        })
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Side by side in each round.
    pub subjects: Vec<Subject>,
    /// Numbers of viewers.
    pub viewers: Vec<u32>,
    /// How often.
    pub rounds: u32,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    subject: Subject,
    #[serde(flatten)]
    window: Window,
    /// Resident memory before the first viewer, bytes.
    resident_bytes_alone: u64,
    /// Growth of resident memory for each viewer, bytes. The allocator takes and returns memory by the MiB at times of its own,
    /// so that only many viewers give a figure that means something.
    resident_bytes_per_viewer: f64,
}

/// The conclusion of all rounds of one row.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    subject: Subject,
    viewers: u32,
    /// The cheapest round.
    cpu_seconds_per_gbit: f64,
    /// That, divided by the cheapest round of each floor with as many viewers: merge time in milliseconds and ratio.
    ratio_to_floor: Vec<(u64, f64)>,
    /// The dearest round divided by the cheapest. Far above 1: the machine was not quiet enough.
    spread: f64,
}

/// All rows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fanout {
    summary: Vec<Summary>,
    rows: Vec<Row>,
    /// Peers that could not be measured, and why.
    failed: Vec<String>,
}

/// Measures all.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>, choice: &Choice) -> Result<Fanout> {
    let mut fanout = Fanout::default();
    // Side by side in time, so that a change in the machine's mood meets all.
    let mut jobs = Vec::new();
    for round in 1..=choice.rounds {
        for &viewers in &choice.viewers {
            jobs.extend(choice.subjects.iter().map(|&subject| (round, viewers, subject)));
        }
    }
    let start = |index: usize| {
        let job = jobs.get(index).copied();
        async move {
            match job {
                Some((_, viewers, subject)) => Some(prepare(plan, clip, subject, viewers).await),
                None => None,
            }
        }
    };
    let mut next = start(0).await;
    for (index, &(round, viewers, subject)) in jobs.iter().enumerate() {
        eprintln!(
            "round {round} of {}: {viewers} viewers, {subject} ...",
            choice.rounds
        );
        let prepared = next.take().context("a row that was prepared")?;
        // The next one settles while this one is measured: an idle server takes about a thousandth of the core.
        next = start(index + 1).await;
        let limit = plan.seconds + BESIDES;
        let row = async { watch(plan, clip, prepared?, subject, viewers).await };
        let row = timeout(limit, row)
            .await
            .with_context(|| format!("not done after {limit:?}"))
            .flatten();
        let label = format!("{viewers} viewers, {subject}");
        fanout
            .rows
            .extend(of_server(subject.product, &label, row, &mut fanout.failed)?);
    }
    fanout.sum_up();
    Ok(fanout)
}

async fn prepare(plan: &Plan, clip: &Arc<Clip>, subject: Subject, viewers: u32) -> Result<Stage> {
    let mut settings = Settings::default();
    if let Some(merge_ms) = subject.merge_ms {
        // It lives while the row before it is measured, too.
        let life = 2 * (plan.seconds + BESIDES);
        settings.floor = FloorArgs::list(clip, viewers, life, merge_ms)?;
    }
    Stage::start(plan, clip, subject.product, &settings).await
}

async fn watch(plan: &Plan, clip: &Clip, mut stage: Stage, subject: Subject, viewers: u32) -> Result<Row> {
    if subject.product != Product::Floor {
        stage.server.settle().await?;
    }
    let alone = stage.server.usage()?;
    let target = stage.server.target(subject.protocol, STREAM)?;
    let mut audience = Audience::new();
    audience.admit(&target, viewers, plan.check_every).await?;
    sleep(WARM_UP).await;
    let window = Window::measure(plan, clip, &mut stage, &mut audience, viewers).await?;
    let grown = stage.server.usage()?.resident_bytes as f64 - alone.resident_bytes as f64;
    drop(audience);
    stage.stop().await?;
    Ok(Row {
        subject,
        window,
        resident_bytes_alone: alone.resident_bytes,
        resident_bytes_per_viewer: grown / f64::from(viewers),
    })
}

impl Fanout {
    fn sum_up(&mut self) {
        let mut summary: Vec<Summary> = Vec::new();
        for row in &self.rows {
            let known = |known: &Summary| (known.subject, known.viewers) == (row.subject, row.window.viewers);
            if !summary.iter().any(known) {
                summary.push(self.summary_of(row.subject, row.window.viewers));
            }
        }
        self.summary = summary;
    }

    fn summary_of(&self, subject: Subject, viewers: u32) -> Summary {
        let of = move |row: &&Row| (row.subject, row.window.viewers) == (subject, viewers);
        let costs = || {
            self.rows
                .iter()
                .filter(of)
                .map(|row| row.window.cpu_seconds_per_gbit)
        };
        let cost = costs().fold(f64::INFINITY, f64::min);
        Summary {
            subject,
            viewers,
            cpu_seconds_per_gbit: cost,
            ratio_to_floor: self
                .floors(viewers)
                .into_iter()
                .map(|(merge_ms, floor)| (merge_ms, cost / floor))
                .filter(|(_, ratio)| ratio.is_finite())
                .collect(),
            spread: costs().fold(0.0, f64::max) / cost,
        }
    }

    /// Merge time and cheapest round of each floor.
    fn floors(&self, viewers: u32) -> Vec<(u64, f64)> {
        let mut floors: Vec<(u64, f64)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.window.viewers == viewers) {
            let Some(merge_ms) = row.subject.merge_ms else {
                continue;
            };
            let cost = row.window.cpu_seconds_per_gbit;
            match floors.iter_mut().find(|(known, _)| *known == merge_ms) {
                Some((_, least)) => *least = least.min(cost),
                None => floors.push((merge_ms, cost)),
            }
        }
        floors
    }

    /// The rows of one product.
    fn of(&self, product: Product) -> impl Iterator<Item = &Summary> {
        self.summary
            .iter()
            .filter(move |row| row.subject.product == product)
    }
}

impl Figures for Fanout {
    fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "                      viewers  CPU s/Gbit  core busy  KiB/viewer  delivered  latest ms  checked  missing  load busy"
        );
        for row in &self.rows {
            let window = &row.window;
            let _ = writeln!(
                text,
                "{:<21} {:>7} {:>11.4} {:>8.1} % {:>11.1} {:>8.1} % {:>10.0} {:>8} {:>8} {:>8.1} % {}",
                row.subject,
                window.viewers,
                window.cpu_seconds_per_gbit,
                window.core_busy() * 100.0,
                row.resident_bytes_per_viewer / 1024.0,
                window.delivered_share * 100.0,
                window.latest_ms,
                window.checked_frames,
                window.missing_frames + window.missing_packets,
                window.load_busy * 100.0,
                window.mark()
            );
        }
        let mut merges: Vec<u64> = self.rows.iter().filter_map(|row| row.subject.merge_ms).collect();
        merges.sort_unstable();
        merges.dedup();
        let _ = write!(text, "\ncheapest round        viewers  CPU s/Gbit");
        for merge_ms in &merges {
            let head = match merge_ms {
                0 => "x floor".to_owned(),
                ms => format!("x floor {ms} ms"),
            };
            let _ = write!(text, " {head:>14}");
        }
        let _ = writeln!(text, "  dearest/cheapest");
        for row in &self.summary {
            let _ = write!(
                text,
                "{:<21} {:>7} {:>11.4}",
                row.subject, row.viewers, row.cpu_seconds_per_gbit
            );
            for merge_ms in &merges {
                let ratio = row.ratio_to_floor.iter().find(|(known, _)| known == merge_ms);
                let ratio = ratio.map_or_else(|| "-".to_owned(), |(_, ratio)| format!("{ratio:.2}"));
                let _ = write!(text, " {ratio:>14}");
            }
            let _ = writeln!(text, " {:>17.2}", row.spread);
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.failed.clone();
        for row in &self.rows {
            notes.extend(
                row.window
                    .notes(&format!("{} viewers, {}", row.window.viewers, row.subject)),
            );
        }
        notes
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        let mut reached = Vec::new();
        let mut counts: Vec<u32> = self.summary.iter().map(|row| row.viewers).collect();
        counts.sort_unstable();
        counts.dedup();
        for viewers in counts {
            for (merge_ms, floor) in self.floors(viewers) {
                let goal = if merge_ms == 0 {
                    Goal::CpuEachFrame
                } else {
                    Goal::CpuMerged
                };
                let ratios: Vec<String> = self
                    .of(Product::Tidegate)
                    .filter(|row| row.viewers == viewers)
                    .filter_map(|row| {
                        let ratio = row.ratio_to_floor.iter().find(|(known, _)| *known == merge_ms)?.1;
                        Some(format!("{} x{ratio:.2}", row.subject.protocol))
                    })
                    .collect();
                let of_floor = if merge_ms == 0 {
                    "floor".to_owned()
                } else {
                    format!("floor at {merge_ms} ms")
                };
                let mut line = format!("{viewers} viewers: {of_floor} {floor:.3}");
                if !ratios.is_empty() {
                    let _ = write!(line, "; {}", ratios.join(", "));
                }
                if merge_ms == 0 {
                    for row in self.summary.iter().filter(|row| row.viewers == viewers) {
                        if Product::PEERS.contains(&row.subject.product) {
                            let _ = write!(line, "; {} {:.3}", row.subject, row.cpu_seconds_per_gbit);
                        }
                    }
                }
                reached.push((goal, line));
            }
        }
        let smooth = self.rows.iter().filter(|row| {
            (row.subject.product, row.subject.protocol) == (Product::Tidegate, Protocol::HttpFlv)
                && row.window.is_smooth()
        });
        if let Some(most) = smooth.map(|row| row.window.viewers).max() {
            reached.push((
                Goal::ViewersPerCore,
                format!("at least {most} (the most that were tried without a stall)"),
            ));
        }
        let memory = self
            .rows
            .iter()
            .filter(|row| row.window.viewers >= FIRST_ROW_VIEWERS);
        for row in memory.filter(|row| row.subject.product != Product::Floor) {
            let kib = row.resident_bytes_per_viewer / 1024.0;
            reached.push((
                Goal::ViewerMemory,
                format!("{} viewers, {}: {kib:.1} KiB", row.window.viewers, row.subject),
            ));
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(product: Product, merge_ms: Option<u64>, cost: f64, missing_frames: u64) -> Row {
        let protocol = if merge_ms.is_some() {
            Protocol::Plain
        } else {
            Protocol::HttpFlv
        };
        Row {
            subject: Subject {
                product,
                protocol,
                merge_ms,
            },
            window: Window {
                viewers: 500,
                seconds: 10.0,
                delivered_bytes: 1_250_000_000,
                delivered_share: 1.0,
                cpu_seconds: cost * 10.0,
                cpu_seconds_per_gbit: cost,
                checked_frames: 250,
                missing_frames,
                missing_packets: 0,
                latest_ms: 3.0,
                load_busy: 0.2,
            },
            resident_bytes_alone: 20 << 20,
            resident_bytes_per_viewer: 4096.0,
        }
    }

    fn fanout() -> Fanout {
        let mut fanout = Fanout {
            rows: vec![
                row(Product::Floor, Some(0), 0.2, 0),
                row(Product::Floor, Some(40), 0.1, 0),
                row(Product::Tidegate, None, 0.5, 0),
                row(Product::Floor, Some(0), 0.25, 0),
                row(Product::Tidegate, None, 0.3, 2),
                row(Product::Xiu, None, 0.6, 0),
            ],
            ..Fanout::default()
        };
        fanout.sum_up();
        fanout
    }

    #[test]
    fn the_cheapest_rounds_are_compared() {
        let fanout = fanout();
        let tidegate = fanout.of(Product::Tidegate).next().expect("it was measured");
        let ratio = |merge_ms| {
            let found = tidegate
                .ratio_to_floor
                .iter()
                .find(|(known, _)| *known == merge_ms);
            (found.expect("that floor was measured").1 * 100.0).round()
        };
        assert_eq!((ratio(0), ratio(40)), (150.0, 300.0));
        assert_eq!((tidegate.spread * 100.0).round(), 167.0);
    }

    #[test]
    fn gaps_are_marked_and_noted() {
        let fanout = fanout();
        assert_eq!(
            fanout.notes(),
            ["500 viewers, Tidegate HTTP-FLV: 2 frames and 0 packets are missing"]
        );
        assert_eq!(
            fanout.table().lines().filter(|line| line.ends_with('*')).count(),
            1
        );
    }

    #[test]
    fn targets_are_told_with_their_floors_and_peers() {
        let reached = fanout().reached();
        let of = |goal| -> Vec<&str> {
            reached
                .iter()
                .filter(|(of, _)| *of == goal)
                .map(|(_, text)| text.as_str())
                .collect()
        };
        assert_eq!(
            of(Goal::CpuEachFrame),
            ["500 viewers: floor 0.200; HTTP-FLV x1.50; xiu HTTP-FLV 0.600"]
        );
        assert_eq!(
            of(Goal::CpuMerged),
            ["500 viewers: floor at 40 ms 0.100; HTTP-FLV x3.00"]
        );
        assert_eq!(of(Goal::ViewersPerCore).len(), 1);
        assert_eq!(of(Goal::ViewerMemory).len(), 3);
    }
}
