//! How soon a viewer sees a picture: joins over HTTP-FLV, one after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::BytesMut;
use container::flv;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::clip::{self, Clip};
use crate::rows::Plan;
use crate::server::Server;
use crate::viewer;

/// Longest that one join may take: several groups of pictures.
const JOIN: Duration = Duration::from_secs(10);
/// Between two joins. No divisor of the two seconds of a group of pictures, so that joins meet it at all its points.
const PAUSE: Duration = Duration::from_millis(90);

/// Two of the ranks of a set of times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// Half of them were not longer, milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 were not longer, milliseconds. Of fewer than 100, the longest.
    pub p99_ms: f64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Result<Self> {
        times.sort_unstable();
        // Nearest rank: the smallest time that so many percent of all are not above.
        let rank = |percent: usize| {
            let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times
                .get(at)
                .map(|time| time.as_secs_f64() * 1000.0)
                .context("no times")
        };
        Ok(Self {
            p50_ms: rank(50)?,
            p99_ms: rank(99)?,
        })
    }
}

/// The figures, from before the TCP connection.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Joins {
    /// How many.
    pub count: u32,
    /// To the first byte of the answer.
    pub first_byte: Times,
    /// To the last byte of the first key frame.
    pub first_key_frame: Times,
}

/// Measures `count` joins.
pub async fn measure(plan: &Plan, clip: &Clip, count: u32) -> Result<Joins> {
    let mut server = Server::start(plan, clip).await?;
    let (mut first_byte, mut first_key_frame) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let (byte, key_frame) = timeout(JOIN, join(&server))
            .await
            .with_context(|| format!("no key frame after {JOIN:?}"))
            .flatten()
            .with_context(|| format!("join {number}"))?;
        first_byte.push(byte);
        first_key_frame.push(key_frame);
        sleep(PAUSE).await;
    }
    server.check()?;
    server.stop().await?;
    Ok(Joins {
        count,
        first_byte: Times::of(first_byte)?,
        first_key_frame: Times::of(first_key_frame)?,
    })
}

async fn join(server: &Server) -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    let mut io = TcpStream::connect(server.http()).await.context("connect")?;
    viewer::request_flv(&mut io).await?;
    let mut buffer = BytesMut::new();
    viewer::read(&mut io, &mut buffer).await?;
    let first_byte = begin.elapsed();
    while !viewer::take_head(&mut buffer)? {
        viewer::read(&mut io, &mut buffer).await?;
    }
    let mut reader = flv::Reader::new();
    loop {
        reader.push(buffer.split().freeze());
        while let Some(tag) = reader.next().context("the FLV stream")? {
            if clip::is_key_frame(&tag) {
                return Ok((first_byte, begin.elapsed()));
            }
        }
        viewer::read(&mut io, &mut buffer).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_times_that_occurred() {
        let times = |count: u64| (1..=count).rev().map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!(
            Times::of(times(200)).expect("some"),
            Times {
                p50_ms: 100.0,
                p99_ms: 198.0
            }
        );
        assert_eq!(
            Times::of(times(50)).expect("some"),
            Times {
                p50_ms: 25.0,
                p99_ms: 50.0
            }
        );
        assert_eq!(
            Times::of(times(1)).expect("some"),
            Times {
                p50_ms: 1.0,
                p99_ms: 1.0
            }
        );
        assert!(Times::of(Vec::new()).is_err());
    }
}
