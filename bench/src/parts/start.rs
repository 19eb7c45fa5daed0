//! Start of the process: until its ports are open, and its memory then.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::sleep;

use super::{Figures, of_server};
use crate::child;
use crate::plan::Plan;
use crate::product::{Product, Server, Settings};
use crate::stats::Times;
use crate::targets::Goal;

/// From the start to the look at the memory.
const QUIET: Duration = Duration::from_secs(1);
/// Starts after which the memory is looked at.
const LOOKS: u32 = 3;
/// A program that does nothing.
const NOTHING: &str = "true";

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    /// What it takes us to start a program that does nothing and to see its end; it is in the other times.
    nothing: Times,
    rows: Vec<Row>,
    /// Peers that could not be measured, and why.
    failed: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    product: Product,
    /// From before the start of the process until it says that its ports are open, or until one can be connected to.
    ready: Times,
    /// Resident memory a second later, bytes; the median.
    resident_bytes: u64,
    threads: u64,
}

/// Starts each of these servers so often.
pub async fn measure(plan: &Plan, products: &[Product], count: u32) -> Result<Start> {
    let mut nothing = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        let mut process = child::command(&plan.cores.server, NOTHING)?
            .spawn()
            .context("start nothing")?;
        let status = process.wait().await.context("the end of nothing")?;
        ensure!(status.success(), "{NOTHING} ended with {status}");
        nothing.push(begin.elapsed());
    }
    let mut start = Start {
        nothing: Times::of(nothing)?,
        rows: Vec::new(),
        failed: Vec::new(),
    };
    for &product in products {
        let row = one(plan, product, count).await;
        let label = format!("starts of {product}");
        start
            .rows
            .extend(of_server(product, &label, row, &mut start.failed)?);
    }
    Ok(start)
}

async fn one(plan: &Plan, product: Product, count: u32) -> Result<Row> {
    let (mut ready, mut resident, mut threads) = (Vec::new(), Vec::new(), 0);
    for number in 0..count {
        let server = Server::start(plan, product, &Settings::default()).await?;
        ready.push(server.ready_after);
        // Few looks at the memory are enough, and each takes a while.
        if number < LOOKS {
            sleep(QUIET).await;
            let usage = server.usage()?;
            resident.push(usage.resident_bytes);
            threads = usage.threads;
        }
        server.stop().await?;
    }
    resident.sort_unstable();
    Ok(Row {
        product,
        ready: Times::of(ready)?,
        resident_bytes: resident
            .get(resident.len() / 2)
            .copied()
            .context("no memory was looked at")?,
        threads,
    })
}

impl Figures for Start {
    fn table(&self) -> String {
        let mut text = String::from("p50 / p99               starts     to open ports   idle MiB  threads\n");
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<23} {:>6} {:>17} {:>10.1} {:>8}",
                row.product,
                row.ready.count,
                row.ready.short(),
                row.resident_bytes as f64 / f64::from(1 << 20),
                row.threads
            );
        }
        let _ = writeln!(
            text,
            "of that, {} are the start of a process that does nothing",
            self.nothing.short()
        );
        text
    }

    fn notes(&self) -> Vec<String> {
        self.failed.clone()
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        let figure = |row: &Row| {
            let mib = row.resident_bytes as f64 / f64::from(1 << 20);
            let figure = format!("{}: {} (p50 / p99), {mib:.1} MiB", row.product, row.ready.short());
            (Goal::Start, figure)
        };
        self.rows.iter().map(figure).collect()
    }
}
