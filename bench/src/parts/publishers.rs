//! What streams cost that nobody watches.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use super::{Figures, of_server};
use crate::clip::{Clip, FRAME};
use crate::plan::Plan;
use crate::product::{Product, Server, Settings};
use crate::publisher::Publisher;
use crate::targets::Goal;

/// From the last publisher to the measurement: the server then holds all groups of pictures that it keeps for each.
const SETTLE: Duration = Duration::from_secs(14);
/// From the start to the first look at the memory.
const QUIET: Duration = Duration::from_secs(1);
/// A measurement takes so long at least: an idle publisher uses about a thousandth of a core.
const LEAST: Duration = Duration::from_secs(10);
/// The number of publishers that the targets are about.
const TARGET_COUNT: u32 = 200;

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Publishers {
    /// Of one group of pictures, bytes.
    group_bytes: f64,
    rows: Vec<Row>,
    /// Peers that could not be measured, and why.
    failed: Vec<String>,
}

/// Of a number of publishers.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    product: Product,
    /// What is special about the server.
    variant: &'static str,
    /// How many.
    pub publishers: u32,
    seconds: f64,
    /// Processor time that the server used, seconds.
    cpu_seconds: f64,
    /// Part of a core for each.
    pub core_per_publisher: f64,
    /// For each 10^9 bits taken in.
    cpu_seconds_per_gbit: f64,
    /// Growth of resident memory for each, bytes.
    pub resident_bytes_per_publisher: f64,
}

/// Ways to run a server.
fn variants(product: Product) -> Vec<(&'static str, Settings)> {
    let mut variants = vec![("", Settings::default())];
    if product == Product::Tidegate {
        // HLS keeps several groups of pictures ready; the target is about one.
        let settings = Settings {
            keys: vec!["protocol.hls_demand=1".to_owned()],
            ..Settings::default()
        };
        variants.push(("HLS on demand", settings));
    }
    variants
}

/// Measures Tidegate with each number of publishers, its variants and other servers with the greatest one.
pub async fn measure(
    plan: &Plan,
    clip: &Arc<Clip>,
    products: &[Product],
    counts: &[u32],
) -> Result<Publishers> {
    let mut publishers = Publishers {
        group_bytes: clip.group_bytes(),
        rows: Vec::new(),
        failed: Vec::new(),
    };
    let most = counts.iter().copied().max();
    for &count in counts {
        for &product in products {
            for (variant, settings) in variants(product) {
                // The usual Tidegate with each number; what it is compared with at the greatest one.
                if (product != Product::Tidegate || !variant.is_empty()) && Some(count) != most {
                    continue;
                }
                let label = format!("{count} publishers, {product} {variant}");
                eprintln!("{label} ...");
                let row = one(plan, clip, product, variant, &settings, count).await;
                let row = of_server(product, &label, row, &mut publishers.failed)?;
                publishers.rows.extend(row);
            }
        }
    }
    Ok(publishers)
}

/// Measures one row.
pub async fn one(
    plan: &Plan,
    clip: &Arc<Clip>,
    product: Product,
    variant: &'static str,
    settings: &Settings,
    count: u32,
) -> Result<Row> {
    let mut server = Server::start(plan, product, settings).await?;
    sleep(QUIET).await;
    let alone = server.usage()?;
    let mut all = Vec::new();
    for number in 0..count {
        // Cameras do not send in the same instant; nor do their key frames come together.
        let phase = FRAME.mul_f64(rand::random::<f64>());
        all.push(Publisher::start(plan, clip, server.rtmp(), &format!("live/p{number}"), phase).await?);
    }
    sleep(SETTLE).await;
    let (begin, before) = (Instant::now(), server.usage()?);
    sleep(plan.seconds.max(LEAST)).await;
    let (seconds, after) = (begin.elapsed().as_secs_f64(), server.usage()?);
    for publisher in &mut all {
        publisher.check().await?;
    }
    server.check()?;
    drop(all);
    server.stop().await?;
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let of = f64::from(count);
    Ok(Row {
        product,
        variant,
        publishers: count,
        seconds,
        cpu_seconds,
        core_per_publisher: cpu_seconds / seconds / of,
        cpu_seconds_per_gbit: cpu_seconds / (clip.bit_rate() * seconds * of / 1e9),
        resident_bytes_per_publisher: (after.resident_bytes as f64 - alone.resident_bytes as f64) / of,
    })
}

impl Figures for Publishers {
    fn table(&self) -> String {
        let mut text =
            String::from("                          publishers  % of core each  CPU s/Gbit in    KiB each\n");
        for row in &self.rows {
            let subject = format!("{} {}", row.product, row.variant);
            let _ = writeln!(
                text,
                "{subject:<25} {:>10} {:>15.4} {:>14.4} {:>11.1}",
                row.publishers,
                row.core_per_publisher * 100.0,
                row.cpu_seconds_per_gbit,
                row.resident_bytes_per_publisher / 1024.0
            );
        }
        let _ = writeln!(
            text,
            "a group of pictures has {:.0} KiB",
            self.group_bytes / 1024.0
        );
        text
    }

    fn notes(&self) -> Vec<String> {
        self.failed.clone()
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        let mut reached = Vec::new();
        for row in self.rows.iter().filter(|row| row.publishers == TARGET_COUNT) {
            let subject = match row.variant {
                "" => row.product.to_string(),
                variant => format!("{}, {variant}", row.product),
            };
            let kib = row.resident_bytes_per_publisher / 1024.0;
            let beyond = kib - self.group_bytes / 1024.0;
            reached.push((
                Goal::PublisherMemory,
                format!("{subject}: {kib:.0} KiB (a group of pictures and {beyond:.0} KiB)"),
            ));
            let percent = row.core_per_publisher * 100.0;
            reached.push((Goal::PublisherCpu, format!("{subject}: {percent:.3} %")));
        }
        reached
    }
}
