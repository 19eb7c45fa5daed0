//! The result, for people and for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;
use time::OffsetDateTime;

use crate::clip::Clip;
use crate::hooks::Hooks;
use crate::joins::Joins;
use crate::machine::{Cores, Machine};
use crate::rows::{Plan, Row, Subject};

/// Above this the load is taken to have slowed the run, as a part of its cores.
const BUSY: f64 = 0.9;
/// Below this part of the stream the server is taken not to have kept up. The bit rate of the clip is not the same in each part.
const COMPLETE: f64 = 0.95;
/// Less processor time than this, seconds, is too few ticks of the kernel's clock (10 ms as a rule) to be divided.
const ENOUGH: f64 = 0.2;
/// More waiting processes than this before the run, and others are using the machine.
const QUIET: f64 = 0.5;

/// One run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it began, UTC.
    date: String,
    /// What the server says of its version.
    server: String,
    /// The checkout's commit, with `-dirty` if it was changed; absent outside git.
    commit: Option<String>,
    machine: Machine,
    cores: Cores,
    /// Of the video as FLV carries it, bits per second.
    stream_bit_rate: f64,
    summary: Vec<Summary>,
    rows: Vec<Row>,
    joins: Option<Joins>,
    hooks: Option<Hooks>,
    /// What makes the figures worth less.
    warnings: Vec<String>,
    #[serde(skip)]
    file_name: String,
}

/// The conclusion of all rounds of one row.
#[derive(Debug, Serialize)]
struct Summary {
    subject: Subject,
    viewers: u32,
    /// The cheapest round.
    cpu_seconds_per_gbit: f64,
    /// That, divided by the cheapest round of the floor with as many viewers.
    ratio_to_floor: Option<f64>,
    /// The dearest round divided by the cheapest. Far above 1: the machine was not quiet enough.
    spread: Option<f64>,
}

impl Report {
    /// Without figures yet.
    pub fn new(plan: &Plan, clip: &Clip) -> Result<Self> {
        let server =
            output(Command::new(&plan.binary).arg("--version")).context("ask the server's version")?;
        let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let commit =
            output(Command::new("git").args(["-C", checkout, "describe", "--always", "--dirty"])).ok();
        let machine = Machine::describe()?;
        let now = OffsetDateTime::now_utc();
        let (day, hour, minute) = (now.date(), now.hour(), now.minute());
        let mut warnings = Vec::new();
        if !plan.cores.apart {
            warnings.push("one core for server and load together".to_owned());
        }
        if machine.load_before[0] > QUIET {
            warnings.push(format!(
                "noisy: {:.2} processes were using this machine before the run; quote ratios, not times",
                machine.load_before[0]
            ));
        }
        Ok(Self {
            date: format!("{day} {hour:02}:{minute:02}"),
            server,
            commit,
            machine,
            cores: plan.cores.clone(),
            stream_bit_rate: clip.bit_rate(),
            summary: Vec::new(),
            rows: Vec::new(),
            joins: None,
            hooks: None,
            warnings,
            file_name: format!("{day}-{hour:02}{minute:02}.json"),
        })
    }

    /// Adds a row.
    pub fn add_row(&mut self, row: Row) {
        let label = format!("{} viewers, {}", row.viewers, row.subject);
        if row.cpu_seconds < ENOUGH {
            let used = row.cpu_seconds;
            self.warnings.push(format!(
                "{label}: {used:.2} s of processor time are too little to be precise"
            ));
        }
        if row.load_busy > BUSY {
            self.warnings.push(format!(
                "{label}: the load was {:.0} % busy",
                row.load_busy * 100.0
            ));
        }
        if row.delivered_share < COMPLETE {
            let percent = row.delivered_share * 100.0;
            self.warnings
                .push(format!("{label}: only {percent:.1} % of the stream arrived"));
        }
        self.rows.push(row);
    }

    /// Draws the conclusion of all rows.
    pub fn sum_up(&mut self) {
        self.summary.clear();
        for row in &self.rows {
            let known = |known: &Summary| (known.subject, known.viewers) == (row.subject, row.viewers);
            if !self.summary.iter().any(known) {
                self.summary.push(self.summary_of(row.subject, row.viewers));
            }
        }
    }

    fn summary_of(&self, subject: Subject, viewers: u32) -> Summary {
        let costs = |subject| {
            let rows = self
                .rows
                .iter()
                .filter(move |row| (row.subject, row.viewers) == (subject, viewers));
            rows.map(|row| row.cpu_seconds_per_gbit)
        };
        let least = |subject| costs(subject).fold(f64::INFINITY, f64::min);
        let cost = least(subject);
        Summary {
            subject,
            viewers,
            cpu_seconds_per_gbit: cost,
            // A floor of zero ticks (few viewers, a short run) is no divisor.
            ratio_to_floor: Some(cost / least(Subject::Floor)).filter(|ratio| ratio.is_finite()),
            spread: Some(costs(subject).fold(0.0, f64::max) / cost).filter(|spread| spread.is_finite()),
        }
    }

    /// Sets the times of the joins.
    pub fn set_joins(&mut self, joins: Joins) {
        self.joins = Some(joins);
    }

    /// Sets what web hooks cost.
    pub fn set_hooks(&mut self, hooks: Hooks) {
        self.hooks = Some(hooks);
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let machine = &self.machine;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n{}, {} on {} ({} cores), {}; server on core {:?}, load on {:?}; {:.2} Mbit/s per viewer\n",
            self.date,
            self.server,
            machine.cpu_model,
            machine.cores,
            machine.kernel,
            self.cores.server,
            self.cores.load,
            self.stream_bit_rate / 1e6
        );
        let _ = writeln!(
            text,
            "           viewers  CPU s/Gbit  core busy  KiB/viewer  delivered  load busy"
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<10} {:>7} {:>11.4} {:>8.1} % {:>11.1} {:>8.1} % {:>8.1} %",
                row.subject,
                row.viewers,
                row.cpu_seconds_per_gbit,
                row.cpu_seconds / row.seconds * 100.0,
                row.resident_bytes_per_viewer / 1024.0,
                row.delivered_share * 100.0,
                row.load_busy * 100.0
            );
        }
        let _ = writeln!(
            text,
            "\ncheapest   viewers  CPU s/Gbit  x floor  dearest/cheapest"
        );
        for row in &self.summary {
            let ratio =
                |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = writeln!(
                text,
                "{:<10} {:>7} {:>11.4} {:>8} {:>17}",
                row.subject,
                row.viewers,
                row.cpu_seconds_per_gbit,
                ratio(row.ratio_to_floor),
                ratio(row.spread)
            );
        }
        if let Some(joins) = &self.joins {
            let Joins {
                count,
                first_byte,
                first_key_frame,
            } = joins;
            let _ = writeln!(
                text,
                "\n{count} HTTP-FLV joins: first byte p50 {:.2} ms, p99 {:.2} ms; first key frame p50 {:.2} ms, p99 {:.2} ms",
                first_byte.p50_ms, first_byte.p99_ms, first_key_frame.p50_ms, first_key_frame.p99_ms
            );
        }
        if let Some(hooks) = &self.hooks {
            text.push_str(&hooks.table());
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "note: {warning}");
        }
        text
    }

    /// For programs: writes it into this folder.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let file = folder.join(&self.file_name);
        let mut text = serde_json::to_vec_pretty(self).context("the result as JSON")?;
        text.push(b'\n');
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        Ok(file)
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "it ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
