//! How soon a viewer sees a picture.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::stage::Stage;
use super::{Figures, of_server};
use crate::clip::Clip;
use crate::plan::Plan;
use crate::product::{Product, STREAM, Settings};
use crate::stats::Times;
use crate::viewer::{Protocol, join};

/// From join to join, also where one takes longer, or joins would wait for one key frame and then begin right behind it. No divisor
/// of the two seconds of a group of pictures, so that joins meet it at all its points.
const PAUSE: Duration = Duration::from_millis(90);

/// The figures, from before the TCP connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Joins {
    rows: Vec<Row>,
    /// Peers that could not be measured, and why.
    failed: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    product: Product,
    protocol: Protocol,
    /// To the first byte that the server sent, whatever it says.
    first_byte: Times,
    /// To the last byte of the first key frame.
    first_key_frame: Times,
}

/// Measures `count` joins in each protocol of these servers.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>, products: &[Product], count: u32) -> Result<Joins> {
    let mut joins = Joins::default();
    for &product in products {
        let rows = one(plan, clip, product, count).await;
        let label = format!("joins of {product}");
        let rows = of_server(product, &label, rows, &mut joins.failed)?;
        joins.rows.extend(rows.into_iter().flatten());
    }
    Ok(joins)
}

async fn one(plan: &Plan, clip: &Arc<Clip>, product: Product, count: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut stage = Stage::start(plan, clip, product, &Settings::default()).await?;
    stage.server.settle().await?;
    for protocol in Protocol::LIVE {
        let Ok(target) = stage.server.target(protocol, STREAM) else {
            continue;
        };
        let (mut tick, mut joining) = (interval(PAUSE), JoinSet::new());
        for _ in 0..count {
            tick.tick().await;
            let (plan, target) = (plan.clone(), target.clone());
            joining.spawn(async move { join(&plan, &target).await });
        }
        let (mut first_byte, mut first_key_frame) = (Vec::new(), Vec::new());
        while let Some(joined) = joining.join_next().await {
            let joined = joined.context("a join")?;
            let joined = joined.with_context(|| protocol.to_string())?;
            first_byte.push(joined.first_byte);
            first_key_frame.push(joined.key_frame);
        }
        rows.push(Row {
            product,
            protocol,
            first_byte: Times::of(first_byte)?,
            first_key_frame: Times::of(first_key_frame)?,
        });
    }
    stage.check().await?;
    stage.stop().await?;
    Ok(rows)
}

impl Figures for Joins {
    fn table(&self) -> String {
        let mut text = String::from("p50 / p99                 joins        first byte   first key frame\n");
        for row in &self.rows {
            let subject = format!("{} {}", row.product, row.protocol);
            let _ = writeln!(
                text,
                "{subject:<24} {:>6} {:>17} {:>17}",
                row.first_key_frame.count,
                row.first_byte.short(),
                row.first_key_frame.short()
            );
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        self.failed.clone()
    }
}
