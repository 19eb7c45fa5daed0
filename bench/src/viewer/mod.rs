//! Viewers: they take what they are sent as fast as it comes. What becomes of it is up to a [`Watcher`].

mod audience;
mod hls;
mod probe;

pub use audience::{Audience, Counts};
pub use probe::{Probe, join};

use std::fmt;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use clap::ValueEnum;
use rtmp::client::{ClientSession, Config, Event, Role};
use rtmp::{Output, url};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::check::{self, Container, Seen};
use crate::http;

/// How a viewer is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Bytes come by themselves: that of the floor.
    Plain,
    /// RTMP.
    Rtmp,
    /// FLV as the body of an HTTP answer.
    HttpFlv,
    /// RTSP, with RTP in the same connection.
    Rtsp,
    /// MPEG-TS as the body of an HTTP answer.
    HttpTs,
    /// Fragmented MP4 as the body of an HTTP answer.
    HttpFmp4,
    /// Playlists and segments, each fetched once.
    Hls,
}

impl Protocol {
    /// Those in which frames come by themselves.
    pub const LIVE: [Self; 5] = [
        Self::Rtmp,
        Self::HttpFlv,
        Self::Rtsp,
        Self::HttpTs,
        Self::HttpFmp4,
    ];
    /// All that players speak.
    pub const PLAYED: [Self; 6] = [
        Self::Rtmp,
        Self::HttpFlv,
        Self::Rtsp,
        Self::HttpTs,
        Self::HttpFmp4,
        Self::Hls,
    ];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Rtmp => "RTMP",
            Self::HttpFlv => "HTTP-FLV",
            Self::Rtsp => "RTSP",
            Self::HttpTs => "HTTP-TS",
            Self::HttpFmp4 => "HTTP-fMP4",
            Self::Hls => "HLS",
        })
    }
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct Target {
    /// How.
    pub protocol: Protocol,
    /// Where the server listens.
    pub address: SocketAddr,
    /// What follows the host in the URL, with its slash.
    pub path: String,
}

/// What becomes of what arrives.
pub trait Watcher: Send {
    /// Bytes of the connection came.
    fn received(&mut self, bytes: usize);

    /// Whether frames are to be looked for. It is asked once; without it [`Self::frame`] is not called, but for the first frame of
    /// protocols that must be parsed anyway.
    fn checks(&self) -> bool;

    /// A frame came.
    fn frame(&mut self, seen: &Seen) -> ControlFlow<()>;

    /// Numbers of packets or fragments say that so many are missing.
    fn missing(&mut self, packets: u64);
}

/// Room kept free in a read buffer: a key frame takes few reads.
const READ_ROOM: usize = 32 * 1024;
/// A viewer that gets nothing for so long has failed; frames are due every 40 ms.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Reads into the free room of `buffer`; the end of the stream is an error.
pub async fn read(io: &mut TcpStream, buffer: &mut BytesMut) -> Result<usize> {
    buffer.reserve(READ_ROOM);
    match timeout(SILENCE, io.read_buf(buffer))
        .await
        .with_context(|| format!("nothing came for {SILENCE:?}"))?
        .context("read")?
    {
        0 => bail!("the server closed the connection"),
        count => Ok(count),
    }
}

/// Watches until the watcher has seen enough.
pub async fn watch(target: &Target, watcher: &mut impl Watcher) -> Result<()> {
    let io = TcpStream::connect(target.address)
        .await
        .context("connect a viewer")?;
    // Requests and acknowledgements are small.
    io.set_nodelay(true).context("no delay")?;
    match target.protocol {
        Protocol::Plain => plain(io, watcher).await,
        Protocol::Rtmp => rtmp(io, target, watcher).await,
        Protocol::Rtsp => rtsp(io, target, watcher).await,
        Protocol::HttpFlv => live(io, target, Container::Flv(check::Flv::default()), watcher).await,
        Protocol::HttpTs => live(io, target, Container::Ts(check::Ts::default()), watcher).await,
        Protocol::HttpFmp4 => live(io, target, Container::Mp4(check::Mp4::default()), watcher).await,
        Protocol::Hls => hls::watch(io, target, watcher).await,
    }
}

/// Counts bytes, for ever.
async fn plain(mut io: TcpStream, watcher: &mut impl Watcher) -> Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let count = read(&mut io, &mut buffer).await?;
        watcher.received(count);
        buffer.clear();
    }
}

/// A container that never ends, over HTTP.
async fn live(
    mut io: TcpStream,
    target: &Target,
    mut container: Container,
    watcher: &mut impl Watcher,
) -> Result<()> {
    let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
    http::request(&mut io, &target.path).await?;
    watcher.received(read(&mut io, &mut buffer).await?);
    let framing = http::read_head(&mut io, &mut buffer).await?;
    if !watcher.checks() {
        watcher.received(buffer.len());
        return plain(io, watcher).await;
    }
    let (mut chunks, mut body, mut known) = (http::Chunks::default(), BytesMut::new(), 0);
    loop {
        let at = Instant::now();
        match framing {
            http::Framing::Chunked => {
                if chunks.take(&mut buffer, &mut body)? {
                    bail!("the server ended the stream");
                }
                container.push(at, &mut body, &mut seen)?;
            }
            _ => container.push(at, &mut buffer, &mut seen)?,
        }
        let missing = match &container {
            Container::Flv(_) => 0,
            Container::Ts(ts) => ts.missing(),
            Container::Mp4(mp4) => mp4.missing(),
        };
        watcher.missing(missing - std::mem::replace(&mut known, missing));
        for seen in seen.drain(..) {
            if watcher.frame(&seen).is_break() {
                return Ok(());
            }
        }
        watcher.received(read(&mut io, &mut buffer).await?);
    }
}

async fn send(io: &mut TcpStream, bytes: &Bytes) -> Result<()> {
    timeout(SILENCE, io.write_all(bytes))
        .await
        .with_context(|| format!("the server does not read for {SILENCE:?}"))?
        .context("write")
}

async fn rtmp(mut io: TcpStream, target: &Target, watcher: &mut impl Watcher) -> Result<()> {
    let url = url::parse(&format!("rtmp://{}{}", target.address, target.path))?;
    let mut session = ClientSession::new(Config::new(url, Role::Play), rand::random(), Instant::now());
    let mut buffer = BytesMut::new();
    let (checks, mut joined) = (watcher.checks(), false);
    loop {
        let at = Instant::now();
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => send(&mut io, &bytes).await?,
                Output::Event(Event::Media(tag)) if checks || !joined => {
                    if let Some(seen) = check::seen_in_tag(at, &tag) {
                        joined = true;
                        if watcher.frame(&seen).is_break() {
                            return Ok(());
                        }
                    }
                }
                Output::Event(Event::Failed(failure)) => return Err(failure.into()),
                Output::Event(Event::Ended) | Output::Close => bail!("the server ended the stream"),
                Output::Event(_) => {}
            }
        }
        // In place of the deadlines of the session, which are about a server that cannot be trusted.
        watcher.received(read(&mut io, &mut buffer).await?);
        session.handle_bytes(Instant::now(), &mut buffer)?;
    }
}

async fn rtsp(mut io: TcpStream, target: &Target, watcher: &mut impl Watcher) -> Result<()> {
    use rtsp::client::{ClientSession, Config, Event, Output, Role, TrackChoice};
    let url = rtsp::url::parse(&format!("rtsp://{}{}", target.address, target.path))?;
    let mut session = ClientSession::new(Config::new(url, Role::Play), rand::random(), Instant::now());
    let mut buffer = BytesMut::new();
    let (checks, mut joined) = (watcher.checks(), false);
    let (mut packets, mut known) = (check::Rtp::default(), 0);
    loop {
        let now = Instant::now();
        // The signs of life of a player.
        session.handle_timeout(now);
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => send(&mut io, &bytes).await?,
                Output::Event(Event::Described { sdp, .. }) => {
                    let described = rtp::sdp::Session::parse(sdp.as_bytes())?;
                    // Video alone: other tracks have clocks of their own.
                    let video = described
                        .media
                        .iter()
                        .enumerate()
                        .find(|(_, media)| media.kind == rtp::sdp::Kind::Video);
                    let (index, media) = video.context("the description has no video")?;
                    let control = media.control().unwrap_or_default().to_owned();
                    session.choose(now, &[TrackChoice { index, control }])?;
                }
                // Channels with odd numbers carry RTCP.
                Output::Event(Event::Data { channel, data }) if channel % 2 == 0 && (checks || !joined) => {
                    let seen = packets.push(now, data)?;
                    watcher.missing(packets.missing() - std::mem::replace(&mut known, packets.missing()));
                    if let Some(seen) = seen {
                        joined = true;
                        if watcher.frame(&seen).is_break() {
                            return Ok(());
                        }
                    }
                }
                Output::Event(Event::Failed(failure)) => return Err(failure.into()),
                Output::Event(Event::Ended) | Output::Close => bail!("the server ended the stream"),
                Output::Event(_) => {}
            }
        }
        watcher.received(read(&mut io, &mut buffer).await?);
        session.handle_bytes(Instant::now(), &mut buffer)?;
    }
}
