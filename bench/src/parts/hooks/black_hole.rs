//! A receiver that reads all calls and answers none, while many watch and others come and go.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::time::{interval, sleep};

use super::node::{Node, Receiver};
use super::players;
use crate::clip::{Clip, FRAME};
use crate::plan::Plan;
use crate::product::STREAM;
use crate::publisher::Publisher;
use crate::viewer::{Audience, Protocol};

/// Viewers that watch all the time.
const VIEWERS: u32 = 500;
/// Players that come and go, each of which is news for the receiver, per second.
const PASSERS_BY: u32 = 50;
/// From the last viewer's first frame to the measurement.
const WARM_UP: Duration = Duration::from_secs(3);
/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct BlackHole {
    viewers: u32,
    /// How long each condition was watched, seconds.
    seconds: f64,
    /// Hooks that nobody answers.
    with: Watch,
    /// The same without hooks.
    without: Watch,
    /// Processor time with, divided by without.
    cpu_ratio: f64,
}

/// One condition.
#[derive(Clone, Copy, Debug, Serialize)]
struct Watch {
    /// Video frames that arrived at all viewers.
    frames: u64,
    /// Frames that were not there between two that were.
    lost: u64,
    /// Processor time of the server, seconds.
    cpu_seconds: f64,
    /// Growth of its resident memory in the time, bytes.
    grown_bytes: i64,
    /// Calls of the receiver that ended without an answer.
    failed_calls: f64,
    /// News that wait or were dropped, as `/metrics` says at the end.
    waiting: f64,
}

/// Measures it.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>) -> Result<BlackHole> {
    let receiver = Receiver::start(plan, &["--black-hole"]).await?;
    // All that tell of viewers and streams; a question without answer would refuse the viewers, as it must.
    let mut keys = receiver.keys(&[
        "on_flow_report",
        "on_stream_changed",
        "on_stream_none_reader",
        "on_server_keepalive",
    ]);
    // Calls end soon, and each passer-by is told of.
    keys.extend(
        [
            "hook.timeoutSec=2",
            "general.flowThreshold=0",
            "hook.alive_interval=1",
        ]
        .map(str::to_owned),
    );
    let without = watch(plan, clip, &[]).await.context("without hooks")?;
    let with = watch(plan, clip, &keys).await.context("with hooks")?;
    receiver.stop().await?;
    Ok(BlackHole {
        viewers: VIEWERS,
        seconds: plan.seconds.as_secs_f64(),
        cpu_ratio: with.cpu_seconds / without.cpu_seconds,
        with,
        without,
    })
}

async fn watch(plan: &Plan, clip: &Arc<Clip>, keys: &[String]) -> Result<Watch> {
    let node = Node::start(plan, clip, keys).await?;
    let mut publisher = Publisher::start(plan, clip, node.server.rtmp(), STREAM, Duration::ZERO).await?;
    let target = node.server.target(Protocol::HttpFlv, STREAM)?;
    let mut audience = Audience::new();
    audience.admit(&target, VIEWERS, 1).await?;
    let server = node.http()?;
    let passing = tokio::spawn(async move {
        let mut turn = interval(Duration::from_secs(1) / PASSERS_BY);
        loop {
            turn.tick().await;
            if let Err(error) = players::play(server).await {
                return error;
            }
        }
    });
    sleep(WARM_UP).await;

    let before = node.server.usage()?;
    let counts = audience.counts();
    sleep(plan.seconds).await;
    let after = node.server.usage()?;
    let counts_after = audience.counts();
    audience.check()?;
    publisher.check().await?;
    if passing.is_finished() {
        return Err(passing.await.context("passers-by")?.context("a passer-by"));
    }
    passing.abort();
    drop(audience);
    let frames = counts_after.frames - counts.frames;
    let expected = (plan.seconds.as_secs_f64() / FRAME.as_secs_f64()) as u64 * u64::from(VIEWERS);
    ensure!(
        frames * 10 > expected * 9,
        "{frames} frames of about {expected} arrived: the load or the server did not keep up"
    );
    let failed_calls = node.metric("tidegate_hook_requests_total").await?;
    let waiting = node.metric("tidegate_hook_queue_length").await?;
    node.stop().await?;
    Ok(Watch {
        frames,
        lost: counts_after.missing_frames - counts.missing_frames,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        grown_bytes: after.resident_bytes as i64 - before.resident_bytes as i64,
        failed_calls,
        waiting,
    })
}

impl BlackHole {
    /// For people.
    pub fn table(&self) -> String {
        let Self {
            viewers,
            seconds,
            with,
            without,
            cpu_ratio,
        } = self;
        let grown = |watch: &Watch| watch.grown_bytes as f64 / 1024.0;
        format!(
            "{viewers} viewers for {seconds:.0} s, a receiver that never answers: {} of {} frames lost, memory {:+.0} KiB, {:.0} calls, \
             {:.0} news waiting; without hooks {} lost, {:+.0} KiB; processor time x {cpu_ratio:.2}\n",
            with.lost,
            with.frames + with.lost,
            grown(with),
            with.failed_calls,
            with.waiting,
            without.lost,
            grown(without)
        )
    }
}
