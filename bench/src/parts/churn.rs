//! Viewers and publishers come and go: does anything stay behind?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Figures;
use super::stage::Stage;
use crate::check::Seen;
use crate::clip::{Clip, FRAME};
use crate::plan::Plan;
use crate::product::{Product, STREAM, Server, Settings};
use crate::publisher::{PATIENCE, Session};
use crate::viewer::{Protocol, Target, Watcher, watch};

/// One in so many who come is a publisher.
const PUBLISHERS: u32 = 5;
/// How long somebody stays, seconds.
const STAY: std::ops::Range<f64> = 0.2..3.0;
/// Longest that it may take after that until a visit has ended.
const LEAVING: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);
/// Visits before the first look: each kind of thing has then been there, and what is made once is made.
const WARM_UP: Duration = Duration::from_secs(10);
/// Longest that what a visitor left may stay: a lost publisher's stream waits for it for 15 s, a segment of HLS stays for 10 s, and a
/// viewer of HLS has left three target durations after its last request.
const DRAIN: Duration = Duration::from_secs(60);
/// How often we look whether it has gone.
const DRAIN_LOOK: Duration = Duration::from_secs(1);
/// Most reasons of failed visits that are kept.
const MAX_REASONS: usize = 10;

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Churn {
    per_second: u32,
    seconds: f64,
    /// Visits that ended as they should.
    visits: u64,
    failed: u64,
    /// Of the first failures.
    reasons: Vec<String>,
    /// Visits that could not begin because too many had not ended.
    put_off: u64,
    looks: Vec<Look>,
}

/// The server at one time.
#[derive(Clone, Debug, Serialize)]
struct Look {
    /// Seconds from the beginning.
    at: f64,
    resident_bytes: u64,
    cpu_seconds: f64,
    threads: u64,
    open_files: u64,
    /// `/metrics`: gauges, those with labels added up.
    gauges: BTreeMap<String, f64>,
}

impl Look {
    async fn at(begin: Instant, server: &Server) -> Result<Self> {
        // Before the connection that reads the metrics.
        let (usage, open_files) = (server.usage()?, server.open_files()?);
        Ok(Self {
            at: begin.elapsed().as_secs_f64(),
            resident_bytes: usage.resident_bytes,
            cpu_seconds: usage.cpu_seconds,
            threads: usage.threads,
            open_files,
            gauges: gauges(&server.metrics().await?),
        })
    }
}

/// The gauges of a Prometheus text, the values with different labels added up.
fn gauges(text: &str) -> BTreeMap<String, f64> {
    let mut gauges = BTreeMap::new();
    let mut kind = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest
                .split_once(' ')
                .filter(|(_, kind)| *kind == "gauge")
                .map(|(name, _)| name);
            continue;
        }
        let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let name = series.split('{').next().unwrap_or_default();
        if let (Some(kind), Ok(value)) = (kind, value.parse::<f64>())
            && kind == name
        {
            *gauges.entry(name.to_owned()).or_insert(0.0) += value;
        }
    }
    gauges
}

/// Lets so many come in each second, for so long.
pub async fn measure(plan: &Plan, clip: &Arc<Clip>, per_second: u32, duration: Duration) -> Result<Churn> {
    let mut stage = Stage::start(plan, clip, Product::Tidegate, &Settings::default()).await?;
    stage.server.settle().await?;
    let mut visits = Visits {
        guests: JoinSet::new(),
        number: 0,
        most: per_second as usize * (STAY.end + LEAVING.as_secs_f64()) as usize,
        done: 0,
        failed: 0,
        put_off: 0,
        reasons: Vec::new(),
    };
    eprintln!("churn: {per_second} come and go in each second, warming up ...");
    visits.run(&stage, clip, per_second, WARM_UP).await?;
    visits.end().await?;
    sleep(DRAIN).await;
    let begin = Instant::now();
    let mut looks = vec![Look::at(begin, &stage.server).await?];
    let mut left = duration;
    while !left.is_zero() {
        let turn = left.min(LOOK);
        left -= turn;
        visits.run(&stage, clip, per_second, turn).await?;
        stage.check().await?;
        let look = Look::at(begin, &stage.server).await?;
        let (mib, minute) = (look.resident_bytes >> 20, look.at / 60.0);
        eprintln!(
            "churn: {minute:.1} minutes, {mib} MiB, {} open files ...",
            look.open_files
        );
        looks.push(look);
    }
    visits.end().await?;
    let seconds = begin.elapsed().as_secs_f64();
    looks.push(drain(begin, &stage.server, &looks[0]).await?);
    stage.stop().await?;
    Ok(Churn {
        per_second,
        seconds,
        visits: visits.done,
        failed: visits.failed,
        reasons: visits.reasons,
        put_off: visits.put_off,
        looks,
    })
}

/// The last look: when everything is gone that was not there at first, or the time for it is over.
async fn drain(begin: Instant, server: &Server, first: &Look) -> Result<Look> {
    let end = Instant::now() + DRAIN;
    loop {
        let look = Look::at(begin, server).await?;
        let more = |name: &str| look.gauges.get(name) > first.gauges.get(name);
        let gone = !SHOWN.iter().any(|name| more(name)) && look.open_files <= first.open_files;
        if gone || Instant::now() >= end {
            return Ok(look);
        }
        sleep(DRAIN_LOOK).await;
    }
}

struct Visits {
    guests: JoinSet<Result<()>>,
    number: u64,
    /// Most at the same time.
    most: usize,
    done: u64,
    failed: u64,
    put_off: u64,
    reasons: Vec<String>,
}

impl Visits {
    async fn run(&mut self, stage: &Stage, clip: &Arc<Clip>, per_second: u32, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut tick = interval(Duration::from_secs(1) / per_second);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while Instant::now() < end {
            tick.tick().await;
            self.reap()?;
            if self.guests.len() >= self.most {
                self.put_off += 1;
                continue;
            }
            self.number += 1;
            let stay = Duration::from_secs_f64(rand::random_range(STAY));
            if rand::random_range(0..PUBLISHERS) == 0 {
                let stream = format!("churn/p{}", self.number);
                let (clip, server) = (clip.clone(), stage.server.rtmp());
                let polite = rand::random();
                let visit = async move { publish(&clip, server, &stream, stay, polite).await };
                self.guests.spawn(within(stay, visit));
            } else {
                let protocol = Protocol::PLAYED[rand::random_range(0..Protocol::PLAYED.len())];
                let target = stage.server.target(protocol, STREAM)?;
                self.guests.spawn(within(stay, view(target, stay)));
            }
        }
        Ok(())
    }

    /// Waits until nobody is left.
    async fn end(&mut self) -> Result<()> {
        let all = async {
            while !self.guests.is_empty() {
                let ended = self.guests.join_next().await;
                self.note(ended.context("a visit")?)?;
            }
            anyhow::Ok(())
        };
        let limit = LEAVING + Duration::from_secs_f64(STAY.end);
        timeout(limit, all)
            .await
            .with_context(|| format!("somebody stays after {limit:?}"))?
    }

    fn reap(&mut self) -> Result<()> {
        while let Some(ended) = self.guests.try_join_next() {
            self.note(ended)?;
        }
        Ok(())
    }

    fn note(&mut self, ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
        match ended.context("a visit")? {
            Ok(()) => self.done += 1,
            Err(error) => {
                self.failed += 1;
                if self.reasons.len() < MAX_REASONS {
                    self.reasons.push(format!("{error:#}"));
                }
            }
        }
        Ok(())
    }
}

async fn within(stay: Duration, visit: impl Future<Output = Result<()>>) -> Result<()> {
    let limit = stay + LEAVING;
    timeout(limit, visit)
        .await
        .with_context(|| format!("a visit of {stay:?} has not ended after {limit:?}"))?
}

/// Publishes for a while. Then says goodbye, or is gone.
async fn publish(
    clip: &Clip,
    server: std::net::SocketAddr,
    stream: &str,
    stay: Duration,
    polite: bool,
) -> Result<()> {
    use container::flv::TagType;
    let context = || format!("publish {stream}");
    let mut io = timeout(PATIENCE, TcpStream::connect(server))
        .await
        .with_context(context)??;
    let mut session = Session::open(&mut io, server, stream)
        .await
        .with_context(context)?;
    session.media(TagType::Video, 0, &clip.sequence_header)?;
    let begin = Instant::now();
    for (number, frame) in (0_u32..).zip(&clip.frames) {
        let due = FRAME * number;
        if due > stay {
            break;
        }
        session
            .listen_until(&mut io, begin + due)
            .await
            .with_context(context)?;
        session.media(TagType::Video, due.as_millis() as u32, &frame.body)?;
        session.flush(&mut io).await.with_context(context)?;
    }
    if polite {
        session.close(&mut io).await.with_context(context)?;
    }
    Ok(())
}

/// Watches for a while, or until there was something to see.
async fn view(target: Target, stay: Duration) -> Result<()> {
    let seen = AtomicBool::new(false);
    let mut guest = Guest {
        seen: &seen,
        leaves_at: Instant::now() + stay,
    };
    let mut watching = pin!(watch(&target, &mut guest));
    let watched = match timeout(stay, &mut watching).await {
        Ok(watched) => watched,
        // It leaves at any point, also in the middle of a frame.
        Err(_) if seen.load(Ordering::Relaxed) => return Ok(()),
        Err(_) => watching.await,
    };
    watched.with_context(|| format!("a viewer over {}", target.protocol))
}

struct Guest<'a> {
    seen: &'a AtomicBool,
    leaves_at: Instant,
}

impl Watcher for Guest<'_> {
    fn received(&mut self, _: usize) {}

    fn checks(&self) -> bool {
        true
    }

    fn frame(&mut self, _: &Seen) -> ControlFlow<()> {
        self.seen.store(true, Ordering::Relaxed);
        if Instant::now() < self.leaves_at {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    }

    fn missing(&mut self, _: u64) {}
}

impl Figures for Churn {
    fn table(&self) -> String {
        let mut text = format!(
            "{} per second for {:.0} s: {} visits, {} failed, {} put off\n",
            self.per_second, self.seconds, self.visits, self.failed, self.put_off
        );
        let _ = writeln!(text, "   minute      MiB  threads  open files   CPU s  gauges");
        for look in &self.looks {
            let gauges: Vec<String> = look
                .gauges
                .iter()
                .filter(|(name, _)| SHOWN.iter().any(|shown| name == shown))
                .map(|(name, value)| format!("{} {value}", name.trim_start_matches("tidegate_")))
                .collect();
            let _ = writeln!(
                text,
                "{:>9.1} {:>8.1} {:>8} {:>11} {:>7.1}  {}",
                look.at / 60.0,
                look.resident_bytes as f64 / f64::from(1 << 20),
                look.threads,
                look.open_files,
                look.cpu_seconds,
                gauges.join(", ")
            );
        }
        let _ = writeln!(
            text,
            "(the first look is before, the last one after everybody has left)"
        );
        text
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self
            .reasons
            .iter()
            .map(|reason| format!("churn: {reason}"))
            .collect();
        if let [first, .., last] = self.looks.as_slice() {
            for (name, value) in &last.gauges {
                let before = first.gauges.get(name).copied().unwrap_or(0.0);
                if *value > before && SHOWN.contains(&name.as_str()) {
                    notes.push(format!(
                        "churn: {name} is {value} after everybody has left, and was {before} before"
                    ));
                }
            }
            if last.open_files > first.open_files {
                let (before, after) = (first.open_files, last.open_files);
                notes.push(format!(
                    "churn: {after} files are open after everybody has left, and were {before} before"
                ));
            }
        }
        notes
    }
}

/// Gauges of things that must not stay behind.
const SHOWN: [&str; 11] = [
    "tidegate_streams",
    "tidegate_streams_orphaned",
    "tidegate_players",
    "tidegate_players_waiting",
    "tidegate_readers",
    "tidegate_muxers",
    "tidegate_pulls",
    "tidegate_open_questions",
    "tidegate_sessions",
    "tidegate_hls_viewers",
    "tidegate_ffmpeg_processes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_added_up_and_counters_left_out() {
        let text = "# HELP a_b x y.\n# TYPE a_b gauge\na_b{x=\"1 2\"} 3\na_b{x=\"2\"} 4\n# TYPE c counter\nc_total 9\n# TYPE d gauge\nd 0.5\n# EOF\n";
        let expected = [("a_b".to_owned(), 7.0), ("d".to_owned(), 0.5)];
        assert_eq!(gauges(text), expected.into());
    }

    fn look(streams: f64, open_files: u64) -> Look {
        Look {
            at: 0.0,
            resident_bytes: 1 << 20,
            cpu_seconds: 1.0,
            threads: 5,
            open_files,
            gauges: [("tidegate_streams".to_owned(), streams)].into(),
        }
    }

    fn churn(looks: Vec<Look>) -> Churn {
        Churn {
            per_second: 50,
            seconds: 60.0,
            visits: 3000,
            failed: 0,
            reasons: Vec::new(),
            put_off: 0,
            looks,
        }
    }

    #[test]
    fn what_stays_behind_is_noted() {
        assert_eq!(
            churn(vec![look(1.0, 20), look(30.0, 90), look(1.0, 20)]).notes(),
            [""; 0]
        );
        let notes = churn(vec![look(1.0, 20), look(2.0, 21)]).notes();
        assert_eq!(
            notes,
            [
                "churn: tidegate_streams is 2 after everybody has left, and was 1 before",
                "churn: 21 files are open after everybody has left, and were 20 before"
            ]
        );
    }
}
