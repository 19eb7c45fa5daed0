//! `on_play` with receivers that answer.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::BytesMut;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::node::{Node, Receiver};
use super::players::{self, Crowd};
use crate::clip::Clip;
use crate::http;
use crate::plan::Plan;
use crate::stats::Times;
use crate::viewer;

/// Players that ask at the same time while the rate is measured: more than the server's core can serve at once.
const PLAYERS: u32 = 64;
/// Plays that are measured one after the other.
const IN_TURN: u32 = 1_000;
/// How long the slow receiver takes.
const DELAY_MS: u64 = 10;
/// Players that ask the slow receiver at once.
const AT_ONCE: u32 = 1_000;

/// Plays of a stream with few bits, with `on_play` off and on.
#[derive(Clone, Debug, Serialize)]
pub struct Verdicts {
    /// Without hooks.
    without: Plays,
    /// Each play is asked about: nothing is cached.
    with: Plays,
    /// A call of the receiver by the load itself, over one kept connection: what no server can be below.
    bare_call: Times,
    /// Processor time that a verdict adds to a play in the server, microseconds.
    cpu_us_per_verdict: f64,
    /// Plays with a verdict that a core of the server carries in a second: play and verdict together.
    verdicts_per_core_second: f64,
    /// Time that a verdict adds to a play when nothing else happens, milliseconds: difference of the medians.
    added_p50_ms: f64,
    /// The same of the 99th percentiles.
    added_p99_ms: f64,
}

/// Plays under one condition.
#[derive(Clone, Debug, Serialize)]
struct Plays {
    /// Reached by many players at once, load and receiver on their cores beside the server.
    per_second: f64,
    /// The second half's rate divided by the first's. Clearly below 1: not sustained.
    sustained: f64,
    /// Processor time of the server for each, microseconds.
    cpu_us: f64,
    /// How busy the server's core was.
    core_busy: f64,
    /// One after the other.
    in_turn: Times,
}

/// Measures a receiver that answers at once.
pub async fn immediate(plan: &Plan, clip: &Arc<Clip>) -> Result<Verdicts> {
    let receiver = Receiver::start(plan, &[]).await?;
    let without = plays(plan, clip, &[]).await.context("without hooks")?;
    let keys = receiver.keys(&["on_play"]);
    let with = plays(plan, clip, &keys).await.context("with on_play")?;
    let bare_call = bare_calls(receiver.address)
        .await
        .context("calls without a server")?;
    receiver.stop().await?;
    Ok(Verdicts {
        cpu_us_per_verdict: with.cpu_us - without.cpu_us,
        verdicts_per_core_second: 1e6 / with.cpu_us,
        added_p50_ms: with.in_turn.p50_ms - without.in_turn.p50_ms,
        added_p99_ms: with.in_turn.p99_ms - without.in_turn.p99_ms,
        without,
        with,
        bare_call,
    })
}

async fn plays(plan: &Plan, clip: &Arc<Clip>, keys: &[String]) -> Result<Plays> {
    let node = Node::start(plan, clip, keys).await?;
    let in_turn = players::in_turn(node.http()?, IN_TURN).await?;
    let before = node.server.usage()?;
    let Crowd {
        plays,
        first_half,
        seconds,
    } = players::crowd(node.http()?, PLAYERS, plan.seconds).await?;
    let cpu = node.server.usage()?.cpu_seconds - before.cpu_seconds;
    ensure!(plays > 0, "nobody was let in");
    // And the one that has seen the stream appear.
    let asked = node
        .metric("tidegate_hook_requests_total{event=\"on_play\"")
        .await?;
    let expected = plays + u64::from(IN_TURN) + 1;

    ensure!(
        keys.is_empty() || asked as u64 == expected,
        "{expected} plays and {asked} verdicts: these are not the figures of a verdict for each play"
    );
    node.stop().await?;
    Ok(Plays {
        per_second: plays as f64 / seconds,
        sustained: (plays - first_half) as f64 / first_half.max(1) as f64,
        cpu_us: cpu * 1e6 / plays as f64,
        core_busy: cpu / seconds,
        in_turn,
    })
}

/// What a call costs without a media server.
async fn bare_calls(receiver: SocketAddr) -> Result<Times> {
    // The members of `on_play` that a receiver decides by.
    let body = "{\"app\":\"live\",\"id\":\"1\",\"ip\":\"127.0.0.1\",\"mediaServerId\":\"bench\",\"params\":\"\",\"port\":1,\
                \"schema\":\"rtmp\",\"stream\":\"small\",\"vhost\":\"__defaultVhost__\"}";
    let request = format!(
        "POST /index/hook/on_play HTTP/1.1\r\nHost: {receiver}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut io = TcpStream::connect(receiver)
        .await
        .context("connect to the receiver")?;
    io.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    let mut times = Vec::new();
    for _ in 0..IN_TURN {
        let begin = Instant::now();
        io.write_all(request.as_bytes())
            .await
            .context("call the receiver")?;
        http::read_head(&mut io, &mut buffer).await?;
        // The receiver sends its few bytes with the head.
        while !buffer.ends_with(b"}") {
            viewer::read(&mut io, &mut buffer).await?;
        }
        buffer.clear();
        times.push(begin.elapsed());
    }
    Times::of(times)
}

impl Verdicts {
    /// What stands beside the target.
    pub fn reached(&self) -> String {
        format!(
            "{:.0} (second half of the time at {:.2} of the first; {:.0} reached with the load beside it)",
            self.verdicts_per_core_second, self.with.sustained, self.with.per_second
        )
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text =
            "on_play      plays/s  2nd/1st half  CPU us/play  core busy  one by one p50 / p99 ms\n"
                .to_owned();
        for (name, plays) in [("without", &self.without), ("with", &self.with)] {
            let (busy, times) = (plays.core_busy * 100.0, plays.in_turn);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name:<10} {:>9.0} {:>13.2} {:>12.1} {busy:>8.1} % {:>13.3} / {:.3}",
                plays.per_second, plays.sustained, plays.cpu_us, times.p50_ms, times.p99_ms
            );
        }
        let _ = writeln!(
            text,
            "a verdict: {:.1} us of processor time, {:.0} plays with one per second and core; adds p50 {:.3} ms, p99 {:.3} ms; \
             a bare call of the receiver: p50 {:.3} ms, p99 {:.3} ms",
            self.cpu_us_per_verdict,
            self.verdicts_per_core_second,
            self.added_p50_ms,
            self.added_p99_ms,
            self.bare_call.p50_ms,
            self.bare_call.p99_ms
        );
        text
    }
}

/// Many plays at once, each asked about, and a receiver that takes its time.
#[derive(Clone, Debug, Serialize)]
pub struct Slow {
    /// Of the receiver, milliseconds.
    delay_ms: u64,
    /// Plays that were asked for at once; all were let in.
    plays: u32,
    /// The same without a hook: from asking to being let in.
    without: Times,
    /// With it.
    with: Times,
    /// The longest divided by the receiver's time.
    longest_in_delays: f64,
}

/// Measures a slow receiver.
pub async fn slow(plan: &Plan, clip: &Arc<Clip>) -> Result<Slow> {
    let receiver = Receiver::start(plan, &["--answer-delay-ms", &DELAY_MS.to_string()]).await?;
    let without = burst(plan, clip, &[]).await.context("without hooks")?;
    let with = burst(plan, clip, &receiver.keys(&["on_play"]))
        .await
        .context("with on_play")?;
    receiver.stop().await?;
    Ok(Slow {
        delay_ms: DELAY_MS,
        plays: AT_ONCE,
        longest_in_delays: with.max_ms / Duration::from_millis(DELAY_MS).as_secs_f64() / 1000.0,
        without,
        with,
    })
}

async fn burst(plan: &Plan, clip: &Arc<Clip>, keys: &[String]) -> Result<Times> {
    let node = Node::start(plan, clip, keys).await?;
    let ranks = players::at_once(node.http()?, AT_ONCE).await?;
    node.stop().await?;
    Ok(ranks)
}

impl Slow {
    /// For people.
    pub fn table(&self) -> String {
        let Self {
            delay_ms,
            plays,
            without,
            with,
            longest_in_delays,
        } = self;
        format!(
            "{plays} plays at once, a receiver that takes {delay_ms} ms: let in after p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms \
             ({longest_in_delays:.1} x its time); without a hook p50 {:.1} ms, at most {:.1} ms\n",
            with.p50_ms, with.p99_ms, with.max_ms, without.p50_ms, without.max_ms
        )
    }
}
