//! What web hooks cost: verdicts for each core, the time that a verdict adds, a receiver that is slow, one that never answers.

mod black_hole;
mod node;
mod players;
mod verdicts;

use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Figures;
use crate::clip::Clip;
use crate::plan::Plan;
use crate::targets::Goal;

use black_hole::BlackHole;
use verdicts::{Slow, Verdicts};

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Hooks {
    /// With a receiver that answers at once.
    pub immediate: Verdicts,
    /// With a receiver that takes its time.
    pub slow: Slow,
    /// With a receiver that never answers.
    pub black_hole: BlackHole,
}

/// Measures all of them.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>) -> Result<Hooks> {
    eprintln!("hooks: verdicts of a receiver that answers at once ...");
    let immediate = verdicts::immediate(plan, clip)
        .await
        .context("hooks, a receiver that answers at once")?;
    eprintln!("hooks: many plays at once, a slow receiver ...");
    let slow = verdicts::slow(plan, clip)
        .await
        .context("hooks, a slow receiver")?;
    eprintln!("hooks: a receiver that never answers ...");
    let black_hole = black_hole::measure(plan, clip)
        .await
        .context("hooks, a receiver that never answers")?;
    Ok(Hooks {
        immediate,
        slow,
        black_hole,
    })
}

impl Figures for Hooks {
    fn table(&self) -> String {
        [self.immediate.table(), self.slow.table(), self.black_hole.table()].concat()
    }

    fn reached(&self) -> Vec<(Goal, String)> {
        vec![(Goal::Verdicts, self.immediate.reached())]
    }
}
