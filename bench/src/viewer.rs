//! Viewers: they take what they are sent as fast as it comes, and count it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use rtmp::client::{ClientSession, Config, Event, Role};
use rtmp::{Output, url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::server::STREAM;

/// How a viewer is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes come by themselves.
    Plain,
    /// FLV as the body of an HTTP answer.
    HttpFlv,
    /// RTMP.
    Rtmp,
    /// RTSP over TCP.
    Rtsp,
}

/// Room kept free in a read buffer: a key frame takes few reads.
const READ_ROOM: usize = 32 * 1024;
/// A viewer that gets nothing for so long has failed; frames are due every 40 ms.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest that it may take until all viewers get frames.
const JOIN: Duration = Duration::from_secs(60);
/// How often we look whether they do.
const LOOK: Duration = Duration::from_millis(20);

/// Of all viewers together.
#[derive(Debug, Default)]
struct Tally {
    bytes: AtomicU64,
    joined: AtomicU32,
}

/// Many viewers. They leave with the value.
pub struct Audience {
    tally: Arc<Tally>,
    viewers: JoinSet<Result<Infallible>>,
}

impl Audience {
    /// Connects this many and waits until each gets frames.
    pub async fn gather(kind: Kind, server: SocketAddr, count: u32) -> Result<Self> {
        let mut audience = Self {
            tally: Arc::default(),
            viewers: JoinSet::new(),
        };
        timeout(JOIN, async {
            for _ in 0..count {
                let io = TcpStream::connect(server).await.context("connect a viewer")?;
                audience.viewers.spawn(view(kind, io, audience.tally.clone()));
            }
            let mut look = interval(LOOK);
            while audience.tally.joined.load(Ordering::Relaxed) < count {
                audience.check()?;
                look.tick().await;
            }
            anyhow::Ok(())
        })
        .await
        .with_context(|| {
            let joined = audience.tally.joined.load(Ordering::Relaxed);
            format!("{joined} of {count} viewers get frames after {JOIN:?}")
        })??;
        Ok(audience)
    }

    /// What all of them have received, bytes.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes.load(Ordering::Relaxed)
    }

    /// An error if one of them has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.viewers.try_join_next() {
            None => Ok(()),
            Some(ended) => match ended.context("a viewer")? {
                Ok(never) => match never {},
                Err(error) => Err(error.context("a viewer ended")),
            },
        }
    }
}

async fn view(kind: Kind, io: TcpStream, tally: Arc<Tally>) -> Result<Infallible> {
    match kind {
        Kind::Plain => plain(io, &tally).await,
        Kind::HttpFlv => http_flv(io, &tally).await,
        Kind::Rtmp => rtmp(io, &tally).await,
        Kind::Rtsp => rtsp(io, &tally).await,
    }
}

/// Reads into the free room of `buffer`; the end of the stream is an error.
pub async fn read(io: &mut TcpStream, buffer: &mut BytesMut) -> Result<usize> {
    buffer.reserve(READ_ROOM);
    match timeout(SILENCE, io.read_buf(buffer))
        .await
        .with_context(|| format!("nothing came for {SILENCE:?}"))??
    {
        0 => bail!("the server closed the connection"),
        count => Ok(count),
    }
}

async fn plain(mut io: TcpStream, tally: &Tally) -> Result<Infallible> {
    let mut buffer = BytesMut::new();
    let mut joined = false;
    loop {
        let count = read(&mut io, &mut buffer).await?;
        tally.bytes.fetch_add(count as u64, Ordering::Relaxed);
        buffer.clear();
        if !joined {
            joined = true;
            tally.joined.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn http_flv(mut io: TcpStream, tally: &Tally) -> Result<Infallible> {
    let mut buffer = BytesMut::new();
    request_flv(&mut io).await?;
    while !take_head(&mut buffer)? {
        read(&mut io, &mut buffer).await?;
    }
    tally.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
    plain(io, tally).await
}

/// Asks for the stream.
pub async fn request_flv(io: &mut TcpStream) -> Result<()> {
    let request = format!("GET /{STREAM}.live.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    io.write_all(request.as_bytes())
        .await
        .context("ask for the stream")
}

/// Takes the head of an HTTP answer off; `false` if it is not complete.
pub fn take_head(buffer: &mut BytesMut) -> Result<bool> {
    const END: &[u8] = b"\r\n\r\n";
    /// Far above any head that a server sends.
    const MAX_HEAD: usize = 16 * 1024;
    let Some(end) = buffer.windows(END.len()).position(|window| window == END) else {
        ensure!(
            buffer.len() <= MAX_HEAD,
            "{} bytes and no end of the answer's head",
            buffer.len()
        );
        return Ok(false);
    };
    let head = buffer.split_to(end + END.len());
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.starts_with("http/1.1 200"), "the answer is {status:?}");
    ensure!(
        !head.contains("chunked"),
        "the answer comes in chunks, which this benchmark does not read"
    );
    Ok(true)
}

async fn rtmp(mut io: TcpStream, tally: &Tally) -> Result<Infallible> {
    let url = url::parse(&format!("rtmp://{}/{STREAM}", io.peer_addr()?))?;
    let mut session = ClientSession::new(Config::new(url, Role::Play), rand::random(), Instant::now());
    let mut buffer = BytesMut::new();
    let mut joined = false;
    loop {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => timeout(SILENCE, io.write_all(&bytes)).await.context("write")??,
                Output::Event(Event::Media(_)) if !joined => {
                    joined = true;
                    tally.joined.fetch_add(1, Ordering::Relaxed);
                }
                Output::Event(Event::Failed(failure)) => return Err(failure.into()),
                Output::Event(Event::Ended) | Output::Close => bail!("the server ended the stream"),
                Output::Event(
                    Event::Media(_)
                    | Event::Metadata(_)
                    | Event::Connected
                    | Event::PlayStarted
                    | Event::PublishStarted,
                ) => {}
            }
        }
        // In place of the deadlines of the session, which are about a server that cannot be trusted.
        let count = read(&mut io, &mut buffer).await?;
        tally.bytes.fetch_add(count as u64, Ordering::Relaxed);
        session.handle_bytes(Instant::now(), &mut buffer)?;
    }
}

async fn rtsp(mut io: TcpStream, tally: &Tally) -> Result<Infallible> {
    use rtsp::client::{ClientSession, Config, Event, Output, Role, TrackChoice};
    let url = rtsp::url::parse(&format!("rtsp://{}/{STREAM}", io.peer_addr()?))?;
    let mut session = ClientSession::new(Config::new(url, Role::Play), rand::random(), Instant::now());
    let mut buffer = BytesMut::new();
    let mut joined = false;
    loop {
        let now = Instant::now();
        // The signs of life of a player.
        session.handle_timeout(now);
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => timeout(SILENCE, io.write_all(&bytes)).await.context("write")??,
                Output::Event(Event::Described { sdp, .. }) => {
                    let described = rtp::sdp::Session::parse(sdp.as_bytes())?;
                    let choices: Vec<TrackChoice> = described
                        .media
                        .iter()
                        .enumerate()
                        .map(|(index, media)| TrackChoice {
                            index,
                            control: media.control().unwrap_or_default().to_owned(),
                        })
                        .collect();
                    session.choose(now, &choices)?;
                }
                Output::Event(Event::Data { .. }) if !joined => {
                    joined = true;
                    tally.joined.fetch_add(1, Ordering::Relaxed);
                }
                Output::Event(Event::Failed(failure)) => return Err(failure.into()),
                Output::Event(Event::Ended) | Output::Close => bail!("the server ended the stream"),
                Output::Event(_) => {}
            }
        }
        let count = read(&mut io, &mut buffer).await?;
        tally.bytes.fetch_add(count as u64, Ordering::Relaxed);
        session.handle_bytes(Instant::now(), &mut buffer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_goes_and_the_body_stays() {
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\nServer: x\r\n"[..]);
        assert!(!take_head(&mut buffer).expect("valid"));
        buffer.extend_from_slice(b"\r\nFLV\x01");
        assert!(take_head(&mut buffer).expect("valid"));
        assert_eq!(buffer, &b"FLV\x01"[..]);
    }

    #[test]
    fn refusals_and_chunks_are_errors() {
        for head in [
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(take_head(&mut BytesMut::from(head)).is_err(), "{head}");
        }
    }
}
