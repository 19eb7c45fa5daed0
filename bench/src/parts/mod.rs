//! What can be measured: each part has a module with its figures.

pub mod churn;
pub mod fanout;
pub mod growth;
pub mod hooks;
pub mod joins;
pub mod latency;
pub mod ondemand;
pub mod publishers;
pub mod slow;
mod stage;
pub mod start;
mod window;

use std::fmt;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::product::Product;
use crate::targets::Goal;

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Part {
    /// Processor time and memory per viewer, beside the floor and the peers.
    Fanout,
    /// How soon a viewer sees a picture.
    Joins,
    /// What streams cost that nobody watches.
    Publishers,
    /// From publisher to viewer, with few viewers and with many.
    Latency,
    /// A stream that is fetched from elsewhere when somebody asks for it.
    OnDemand,
    /// What web hooks cost.
    Hooks,
    /// Start of the process.
    Start,
    /// What viewers that do not keep up cost the others.
    Slow,
    /// How costs grow with viewers and streams.
    Growth,
    /// Viewers and publishers come and go.
    Churn,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value();
        f.pad(name.as_ref().map_or("", |name| name.get_name()))
    }
}

/// What a part has found.
pub trait Figures: Serialize {
    /// For people.
    fn table(&self) -> String;

    /// What makes the figures worth less.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What stands beside the targets.
    fn reached(&self) -> Vec<(Goal, String)> {
        Vec::new()
    }
}

/// What was found of a server. That a peer cannot do it is noted and no failure: `None`.
fn of_server<T>(
    product: Product,
    label: &str,
    found: Result<T>,
    failed: &mut Vec<String>,
) -> Result<Option<T>> {
    match found.with_context(|| label.to_owned()) {
        Ok(found) => Ok(Some(found)),
        Err(error) if Product::PEERS.contains(&product) => {
            failed.push(format!("{error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
