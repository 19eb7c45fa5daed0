//! Some seconds in which a server and its viewers are watched.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use super::stage::Stage;
use crate::child::Usage;
use crate::clip::Clip;
use crate::plan::Plan;
use crate::viewer::{Audience, Counts};

/// Above this the load is taken to have slowed the run, as a part of its cores.
const BUSY: f64 = 0.9;
/// Below this part of the stream the server is taken not to have kept up. The bit rate of the clip is not the same in each part.
const COMPLETE: f64 = 0.95;
/// Less processor time than this, seconds, is too little to be precise.
const ENOUGH: f64 = 0.02;
/// A viewer that falls behind by more than this has stalled: players hold about as much.
const STALL_MS: f64 = 1000.0;

/// The figures.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Window {
    /// Viewers.
    pub viewers: u32,
    /// How long, seconds.
    pub seconds: f64,
    /// What all viewers received in that time, bytes of the TCP connections.
    pub delivered_bytes: u64,
    /// That as a part of what the stream has for so many viewers. Clearly below 1: it did not keep up.
    pub delivered_share: f64,
    /// Processor time that the measured process used, seconds.
    pub cpu_seconds: f64,
    /// That for each 10^9 bits delivered.
    pub cpu_seconds_per_gbit: f64,
    /// Frames that were checked, since the viewers joined.
    pub checked_frames: u64,
    /// Frames that are missing among them.
    pub missing_frames: u64,
    /// Packets or fragments that are missing by their numbers.
    pub missing_packets: u64,
    /// How much later than the least delayed frame of its viewer a checked frame came at worst, milliseconds.
    pub latest_ms: f64,
    /// How busy the load was, as a part of its cores. Near 1: the load was measured, not the server.
    pub load_busy: f64,
}

impl Window {
    /// Watches for the time of the plan. Who ends or fell silent fails here, so that fewer viewers are never taken for cheaper ones.
    pub async fn measure(
        plan: &Plan,
        clip: &Clip,
        stage: &mut Stage,
        audience: &mut Audience,
        viewers: u32,
    ) -> Result<Self> {
        audience.check()?;
        audience.begin();
        let (begin, counts) = (Instant::now(), audience.counts());
        let (usage, load) = (stage.server.usage()?, Usage::of_load()?);
        sleep(plan.seconds).await;
        let seconds = begin.elapsed().as_secs_f64();
        let Counts {
            bytes,
            frames,
            missing_frames,
            missing_packets,
        } = audience.counts();
        let (usage_after, load_after) = (stage.server.usage()?, Usage::of_load()?);
        audience.check()?;
        stage.check().await?;

        let delivered_bytes = bytes - counts.bytes;
        let delivered_bits = delivered_bytes as f64 * 8.0;
        let cpu_seconds = usage_after.cpu_seconds - usage.cpu_seconds;
        Ok(Self {
            viewers,
            seconds,
            delivered_bytes,
            delivered_share: delivered_bits / (clip.bit_rate() * seconds * f64::from(viewers)),
            cpu_seconds,
            cpu_seconds_per_gbit: cpu_seconds / (delivered_bits / 1e9),
            checked_frames: frames,
            missing_frames,
            missing_packets,
            latest_ms: audience.latest().as_secs_f64() * 1000.0,
            load_busy: (load_after.cpu_seconds - load.cpu_seconds) / (seconds * plan.cores.load.len() as f64),
        })
    }

    /// How busy the server's core was.
    pub fn core_busy(&self) -> f64 {
        self.cpu_seconds / self.seconds
    }

    /// Whether any viewer missed something or fell behind.
    pub fn is_smooth(&self) -> bool {
        self.missing_frames == 0
            && self.missing_packets == 0
            && self.latest_ms < STALL_MS
            && self.delivered_share >= COMPLETE
    }

    /// What makes it worth less.
    pub fn notes(&self, label: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.cpu_seconds < ENOUGH {
            let used = self.cpu_seconds;
            notes.push(format!(
                "{label}: {used:.3} s of processor time are too little to be precise"
            ));
        }
        if self.load_busy > BUSY {
            notes.push(format!(
                "{label}: the load was {:.0} % busy",
                self.load_busy * 100.0
            ));
        }
        if self.delivered_share < COMPLETE {
            let percent = self.delivered_share * 100.0;
            notes.push(format!("{label}: only {percent:.1} % of the stream arrived"));
        }
        if self.missing_frames + self.missing_packets > 0 {
            let (frames, packets) = (self.missing_frames, self.missing_packets);
            notes.push(format!(
                "{label}: {frames} frames and {packets} packets are missing"
            ));
        }
        notes
    }

    /// A star beside rows with gaps.
    pub fn mark(&self) -> &'static str {
        if self.missing_frames + self.missing_packets > 0 {
            "*"
        } else {
            ""
        }
    }
}
