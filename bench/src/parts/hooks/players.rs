//! Players that ask for the small stream, take the head of the answer, and leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::node::SMALL;
use crate::http;
use crate::stats::Times;

/// Longest that one play may take.
const PLAY: Duration = Duration::from_secs(20);

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
    http::request(&mut io, &format!("/{SMALL}.live.flv")).await?;
    http::read_head(&mut io, &mut BytesMut::new()).await?;
    Ok(io)
}

/// Plays one after the other.
pub async fn in_turn(server: SocketAddr, count: u32) -> Result<Times> {
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(play(server).await?);
    }
    Times::of(times)
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
pub async fn at_once(server: SocketAddr, players: u32) -> Result<Times> {
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
    Times::of(answered.into_iter().map(|(time, _)| time).collect())
}
