//! Players that ask for the small stream, take the head of the answer, and leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::BytesMut;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::node::STREAM;
use crate::viewer;

/// Longest that one play may take.
const PLAY: Duration = Duration::from_secs(20);

/// Ranks of a set of times, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ranks {
    /// Half of them were not longer.
    pub p50_ms: f64,
    /// 99 of 100 were not longer.
    pub p99_ms: f64,
    /// None was longer.
    pub max_ms: f64,
}

impl Ranks {
    /// Of these times.
    pub fn of(mut times: Vec<Duration>) -> Result<Self> {
        times.sort_unstable();
        // Nearest rank: the smallest time that so many percent of all are not above.
        let rank = |percent: usize| {
            let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
            let time = times.get(at).context("no times")?;
            anyhow::Ok(time.as_secs_f64() * 1000.0)
        };
        Ok(Self {
            p50_ms: rank(50)?,
            p99_ms: rank(99)?,
            max_ms: rank(100)?,
        })
    }
}

/// One play, from before the connection to the end of the answer's head: the verdict is then known.
pub async fn play(server: SocketAddr) -> Result<Duration> {
    timeout(PLAY, async {
        let begin = Instant::now();
        let io = TcpStream::connect(server).await.context("connect a player")?;
        admitted(io).await?;
        Ok(begin.elapsed())
    })
    .await
    .with_context(|| format!("no verdict after {PLAY:?}"))?
}

/// Asks over a connection and waits for the answer of success.
async fn admitted(mut io: TcpStream) -> Result<TcpStream> {
    let request = format!("GET /{STREAM}.live.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    io.write_all(request.as_bytes())
        .await
        .context("ask for the stream")?;
    let mut buffer = BytesMut::new();
    while !viewer::take_head(&mut buffer)? {
        viewer::read(&mut io, &mut buffer).await?;
    }
    Ok(io)
}

/// Plays one after the other.
pub async fn in_turn(server: SocketAddr, count: u32) -> Result<Ranks> {
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(play(server).await?);
    }
    Ranks::of(times)
}

/// What many players reached together.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Plays that were let in.
    pub plays: u64,
    /// Those of the first half of the time.
    pub first_half: u64,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// So many players, each asking again as soon as it is answered, for this time.
pub async fn crowd(server: SocketAddr, players: u32, time: Duration) -> Result<Crowd> {
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..players {
        let stop = stop.clone();
        tasks.spawn(async move {
            let (mut plays, mut early) = (0_u64, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                play(server).await?;
                plays += 1;
                early += u64::from(begin.elapsed() < time / 2);
            }
            anyhow::Ok((plays, early))
        });
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let (mut plays, mut first_half) = (0, 0);
    for result in tasks.join_all().await {
        let (all, early) = result?;
        plays += all;
        first_half += early;
    }
    Ok(Crowd {
        plays,
        first_half,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// So many players that are all connected, then ask all at once. The times are from then on.
pub async fn at_once(server: SocketAddr, players: u32) -> Result<Ranks> {
    let mut connections = Vec::new();
    for _ in 0..players {
        connections.push(TcpStream::connect(server).await.context("connect a player")?);
    }
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for io in connections {
        tasks.spawn(async move {
            let io = timeout(PLAY, admitted(io))
                .await
                .context("no verdict in time")??;
            // Stays until all are answered: leaving is another event.
            anyhow::Ok((begin.elapsed(), io))
        });
    }
    let answered: Vec<(Duration, TcpStream)> = tasks.join_all().await.into_iter().collect::<Result<_>>()?;
    Ranks::of(answered.into_iter().map(|(time, _)| time).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_times_that_occurred() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let expected = Ranks {
            p50_ms: 100.0,
            p99_ms: 198.0,
            max_ms: 200.0,
        };
        assert_eq!(Ranks::of(times).expect("some"), expected);
        assert!(Ranks::of(Vec::new()).is_err());
    }
}
