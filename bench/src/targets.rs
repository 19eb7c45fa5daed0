//! The table of targets, each beside what this run has measured.

use std::fmt::Write as _;

use serde::Serialize;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// CPU-seconds per Gbit, each frame written at once.
    CpuEachFrame,
    /// The same, writes merged.
    CpuMerged,
    /// Viewers per core without stalls.
    ViewersPerCore,
    /// Latency from publisher to player, few viewers.
    Latency,
    /// Memory per viewer.
    ViewerMemory,
    /// Memory per idle publisher.
    PublisherMemory,
    /// CPU per idle publisher.
    PublisherCpu,
    /// From the play request of a missing stream to its first key frame.
    OnDemand,
    /// `on_play` verdicts per second.
    Verdicts,
    /// Process start and idle memory.
    Start,
}

impl Goal {
    /// What it is, and what is to be reached.
    const ALL: [(Self, &str, &str); 10] = [
        (
            Self::CpuEachFrame,
            "CPU-seconds per Gbit, each frame written at once",
            "x1.2 of the floor in every TCP protocol",
        ),
        (
            Self::CpuMerged,
            "CPU-seconds per Gbit, writes merged",
            "a crowded server: x1.2 of the floor at the same merge time (default 40 ms)",
        ),
        (
            Self::ViewersPerCore,
            "viewers per core without stalls (HTTP-FLV, 2 Mbit/s)",
            "4,000",
        ),
        (
            Self::Latency,
            "latency publish to play, p50 / p99, few viewers",
            "0.5 / 3 ms in every protocol",
        ),
        (
            Self::ViewerMemory,
            "memory per viewer, beyond kernel buffers",
            "6 KiB",
        ),
        (
            Self::PublisherMemory,
            "memory per idle publisher (200 of them)",
            "the cached group of pictures plus 64 KiB",
        ),
        (
            Self::PublisherCpu,
            "CPU per idle publisher (200 of them, 2 Mbit/s)",
            "0.08 %",
        ),
        (
            Self::OnDemand,
            "on-demand start: play of a missing stream to first key frame, p50 / p99",
            "3 / 15 ms over RTMP and RTSP",
        ),
        (
            Self::Verdicts,
            "on_play verdicts per second and core, immediate receiver",
            "6,000, sustained",
        ),
        (
            Self::Start,
            "process start to open ports; memory idle",
            "20 ms, 12 MiB",
        ),
    ];
}

/// The table. Figures that this run has not measured are not there.
pub fn table(reached: &[(Goal, String)]) -> String {
    let mut text = String::from("targets and what this run has measured\n");
    for (goal, what, target) in Goal::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{what}\n    target    {target}");
        let mut of = reached.iter().filter(|(of, _)| *of == goal).peekable();
        if of.peek().is_none() {
            let _ = writeln!(text, "    measured  - (not in this run)");
        }
        for (_, figure) in of {
            let _ = writeln!(text, "    measured  {figure}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_there_with_what_was_measured() {
        let reached = [
            (Goal::Latency, "RTMP 0.3 / 2 ms".to_owned()),
            (Goal::Latency, "RTSP 1 / 2 ms".to_owned()),
        ];
        let table = table(&reached);
        assert_eq!(table.matches("    target    ").count(), Goal::ALL.len());
        assert_eq!(table.matches("not in this run").count(), Goal::ALL.len() - 1);
        assert!(table.contains("    measured  RTMP 0.3 / 2 ms\n    measured  RTSP 1 / 2 ms\n"));
    }
}
