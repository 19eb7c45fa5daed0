//! What web hooks cost: verdicts for each core, the time that a verdict adds, a receiver that is slow, one that never answers.

mod black_hole;
mod node;
mod players;
mod verdicts;

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::clip::Clip;
use crate::rows::Plan;

pub use black_hole::BlackHole;
pub use verdicts::{Slow, Verdicts};

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
pub async fn measure(plan: &Plan, clip: &Clip) -> Result<Hooks> {
    eprintln!("hooks: verdicts of a receiver that answers at once ...");
    let immediate = verdicts::immediate(plan)
        .await
        .context("hooks, a receiver that answers at once")?;
    eprintln!("hooks: many plays at once, a slow receiver ...");
    let slow = verdicts::slow(plan).await.context("hooks, a slow receiver")?;
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

impl Hooks {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{}{}{}",
            self.immediate.table(),
            self.slow.table(),
            self.black_hole.table()
        );
        text
    }
}
