//! The result, for people and for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::clip::Clip;
use crate::machine::{Cores, Machine};
use crate::parts::{Figures, Part};
use crate::plan::Plan;
use crate::targets::{self, Goal};

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
    /// Keys that were set in each Tidegate.
    keys: Vec<String>,
    /// Other servers that were found, with their programs.
    peers: Vec<String>,
    machine: Machine,
    cores: Cores,
    /// Of the video as FLV carries it, bits per second.
    stream_bit_rate: f64,
    /// What stands beside the targets.
    reached: Vec<(Goal, String)>,
    /// The figures of each part, by its name.
    parts: Map<String, Value>,
    /// What makes the figures worth less.
    notes: Vec<String>,
    /// Parts that did not come to their end, and why.
    failed: Vec<String>,
    #[serde(skip)]
    tables: Vec<(Part, String)>,
    #[serde(skip)]
    file_name: String,
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
        let mut notes = Vec::new();
        if !plan.cores.apart {
            notes.push("one core for server and load together".to_owned());
        }
        if machine.load_before[0] > QUIET {
            notes.push(format!(
                "noisy: {:.2} processes were using this machine before the run; quote ratios, not times",
                machine.load_before[0]
            ));
        }
        Ok(Self {
            date: format!("{day} {hour:02}:{minute:02}"),
            server,
            commit,
            keys: plan.keys.clone(),
            peers: plan.peers.iter().map(|(peer, _)| peer.to_string()).collect(),
            machine,
            cores: plan.cores.clone(),
            stream_bit_rate: clip.bit_rate(),
            reached: Vec::new(),
            parts: Map::new(),
            notes,
            failed: Vec::new(),
            tables: Vec::new(),
            file_name: format!("{day}-{hour:02}{minute:02}.json"),
        })
    }

    /// Takes what a part has found.
    pub fn add(&mut self, part: Part, figures: &impl Figures) -> Result<()> {
        let value =
            serde_json::to_value(figures).with_context(|| format!("the figures of {part} as JSON"))?;
        self.parts.insert(part.to_string(), value);
        self.tables.push((part, figures.table()));
        self.notes.extend(figures.notes());
        self.reached.extend(figures.reached());
        Ok(())
    }

    /// A part did not come to its end.
    pub fn add_failure(&mut self, part: Part, error: &anyhow::Error) {
        self.failed.push(format!("{part}: {error:#}"));
    }

    /// An error that names the parts that failed.
    pub fn outcome(&self) -> Result<()> {
        anyhow::ensure!(
            self.failed.is_empty(),
            "parts have failed:\n{}",
            self.failed.join("\n")
        );
        Ok(())
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let machine = &self.machine;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n{}, {} on {} ({} cores), {}; server on core {:?}, load on {:?}; {:.2} Mbit/s per viewer",
            self.date,
            self.server,
            machine.cpu_model,
            machine.cores,
            machine.kernel,
            self.cores.server,
            self.cores.load,
            self.stream_bit_rate / 1e6
        );
        for (part, table) in &self.tables {
            let _ = write!(text, "\n== {part}\n\n{table}");
        }
        let _ = write!(text, "\n== {}", targets::table(&self.reached));
        let notes = self.notes.iter().map(|note| ("note", note));
        let failures = self.failed.iter().map(|failure| ("FAILED", failure));
        for (kind, line) in notes.chain(failures) {
            let _ = write!(text, "\n{kind}: {line}");
        }
        text.push('\n');
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
