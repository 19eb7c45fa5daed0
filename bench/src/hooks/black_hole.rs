//! A receiver that reads all calls and answers none, while many watch and others come and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use container::flv;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::node::{Node, Receiver};
use super::players;
use crate::child::Usage;
use crate::clip::{self, Clip};
use crate::rows::Plan;
use crate::viewer;

/// Viewers that watch all the time.
const VIEWERS: u32 = 500;
/// Players that come and go, each of which is news for the receiver, per second.
const PASSERS_BY: u64 = 50;
/// Video frames are so far apart.
const FRAME_MS: i64 = 40;
/// From the last viewer's first frame to the measurement.
const WARM_UP: Duration = Duration::from_secs(3);
/// Longest until all viewers have frames.
const JOIN: Duration = Duration::from_secs(60);

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
pub async fn measure(plan: &Plan, clip: &Clip) -> Result<BlackHole> {
    let receiver = Receiver::start(plan, &["--black-hole"]).await?;
    // All that tell of viewers and streams; a question without answer would refuse the viewers, as it must.
    let mut settings = receiver.settings(&[
        "on_flow_report",
        "on_stream_changed",
        "on_stream_none_reader",
        "on_server_keepalive",
    ]);
    // Calls end soon, and each passer-by is told of.
    settings.extend(
        [
            "hook.timeoutSec=2",
            "general.flowThreshold=0",
            "hook.alive_interval=1",
        ]
        .map(str::to_owned),
    );
    let without = watch(plan, clip, &[]).await.context("without hooks")?;
    let with = watch(plan, clip, &settings).await.context("with hooks")?;
    receiver.stop().await?;
    Ok(BlackHole {
        viewers: VIEWERS,
        seconds: plan.seconds.as_secs_f64(),
        cpu_ratio: with.cpu_seconds / without.cpu_seconds,
        with,
        without,
    })
}

#[derive(Debug, Default)]
struct Tally {
    joined: AtomicU32,
    frames: AtomicU64,
    lost: AtomicU64,
}

async fn watch(plan: &Plan, clip: &Clip, settings: &[String]) -> Result<Watch> {
    let node = Node::start(plan, settings).await?;
    let stream = crate::server::STREAM;
    let _publisher = clip.publish(&plan.cores.load, &format!("rtmp://{}/{stream}", node.rtmp))?;
    node.wait_for_stream(stream).await?;
    let _small = node.publish_small(plan).await?;
    let tally = Arc::new(Tally::default());
    let mut viewers = JoinSet::new();
    for _ in 0..VIEWERS {
        viewers.spawn(view(node.http, tally.clone()));
    }
    timeout(JOIN, async {
        let mut look = interval(Duration::from_millis(20));
        while tally.joined.load(Ordering::Relaxed) < VIEWERS {
            nobody_left(&mut viewers)?;
            look.tick().await;
        }
        anyhow::Ok(())
    })
    .await
    .with_context(|| format!("not all viewers have frames after {JOIN:?}"))??;
    let server = node.http;
    let passing = tokio::spawn(async move {
        let mut turn = interval(Duration::from_secs(1) / PASSERS_BY as u32);
        loop {
            turn.tick().await;
            if let Err(error) = players::play(server).await {
                return error;
            }
        }
    });
    sleep(WARM_UP).await;

    let (frames, lost) = (
        tally.frames.load(Ordering::Relaxed),
        tally.lost.load(Ordering::Relaxed),
    );
    let Usage {
        cpu_seconds,
        resident_bytes,
    } = node.usage()?;
    let begin = Instant::now();
    sleep(plan.seconds).await;
    let after = node.usage()?;
    let frames = tally.frames.load(Ordering::Relaxed) - frames;
    let lost = tally.lost.load(Ordering::Relaxed) - lost;
    nobody_left(&mut viewers)?;
    if passing.is_finished() {
        return Err(passing.await.context("passers-by")?.context("a passer-by"));
    }
    passing.abort();
    let expected = begin.elapsed().as_millis() as u64 / FRAME_MS as u64 * u64::from(VIEWERS);
    ensure!(
        frames * 10 > expected * 9,
        "{frames} frames of about {expected} arrived: the load or the server did not keep up"
    );
    let failed_calls = node.metric("tidegate_hook_requests_total").await?;
    let waiting = node.metric("tidegate_hook_queue_length").await?;
    node.stop().await?;
    Ok(Watch {
        frames,
        lost,
        cpu_seconds: after.cpu_seconds - cpu_seconds,
        grown_bytes: after.resident_bytes as i64 - resident_bytes as i64,
        failed_calls,
        waiting,
    })
}

fn nobody_left(viewers: &mut JoinSet<Result<()>>) -> Result<()> {
    match viewers.try_join_next() {
        None => Ok(()),
        Some(ended) => match ended.context("a viewer")? {
            Ok(()) => bail!("a viewer ended"),
            Err(error) => Err(error.context("a viewer ended")),
        },
    }
}

/// Counts frames, and those that are missing between two.
async fn view(server: SocketAddr, tally: Arc<Tally>) -> Result<()> {
    let mut io = TcpStream::connect(server).await.context("connect a viewer")?;
    viewer::request_flv(&mut io).await?;
    let mut buffer = BytesMut::new();
    while !viewer::take_head(&mut buffer)? {
        viewer::read(&mut io, &mut buffer).await?;
    }
    let mut reader = flv::Reader::new();
    let mut last: Option<i64> = None;
    loop {
        reader.push(buffer.split().freeze());
        while let Some(tag) = reader.next().context("the FLV stream")? {
            if !clip::is_video_frame(&tag) {
                continue;
            }
            let time = tag.timestamp_ms;
            match last {
                None => {
                    tally.joined.fetch_add(1, Ordering::Relaxed);
                }
                Some(last) => {
                    tally.lost.fetch_add(missing(last, time), Ordering::Relaxed);
                }
            }
            tally.frames.fetch_add(1, Ordering::Relaxed);
            last = Some(time);
        }
        viewer::read(&mut io, &mut buffer).await?;
    }
}

/// How many frames are not there between two times.
fn missing(last: i64, time: i64) -> u64 {
    let steps = (time - last + FRAME_MS / 2).div_euclid(FRAME_MS);
    u64::try_from(steps - 1).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_are_not_there_are_counted() {
        assert_eq!(missing(0, 40), 0);
        assert_eq!(missing(0, 41), 0);
        assert_eq!(missing(0, 80), 1);
        assert_eq!(missing(1000, 2000), 24);
        assert_eq!(missing(40, 40), 0);
        assert_eq!(missing(80, 40), 0);
    }
}
