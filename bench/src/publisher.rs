//! Sends the clip in a loop, each frame at its time, over RTMP, and notes when it did.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use container::flv::TagType;
use rtmp::client::{ClientSession, Config, Event, Role};
use rtmp::{Output, url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use crate::clip::{Clip, FRAME};
use crate::plan::Plan;

/// Longest that the server may take until it takes media, and that it may not read.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Room for what the server says.
const READ_ROOM: usize = 4096;

/// Publishes until it is dropped.
pub struct Publisher {
    task: JoinHandle<Result<Infallible>>,
    sent: Arc<Mutex<Vec<Instant>>>,
    stream: String,
}

impl Publisher {
    /// Begins to publish, `phase` after the server was ready for it.
    pub async fn start(
        plan: &Plan,
        clip: &Arc<Clip>,
        server: SocketAddr,
        stream: &str,
        phase: Duration,
    ) -> Result<Self> {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (tell, begun) = oneshot::channel();
        // Not on the runtime of the viewers: where many are served, a publisher would wait for its turn among them.
        let task = plan.precise.spawn(publish(
            clip.clone(),
            server,
            stream.to_owned(),
            phase,
            sent.clone(),
            tell,
        ));
        let mut publisher = Self {
            task,
            sent,
            stream: stream.to_owned(),
        };
        match timeout(PATIENCE, begun).await {
            Ok(Ok(())) => Ok(publisher),
            Ok(Err(_)) => {
                let ended = (&mut publisher.task).await.context("the publisher")?;
                let Err(error) = ended;
                Err(error.context(format!("publish {stream}")))
            }
            Err(_) => bail!("{stream} cannot be published within {PATIENCE:?}"),
        }
    }

    /// When each frame so far was handed to its socket: just before, so that a frame cannot arrive before it.
    pub fn sent(&self) -> Vec<Instant> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An error if it has ended.
    pub async fn check(&mut self) -> Result<()> {
        if !self.task.is_finished() {
            return Ok(());
        }
        let Err(error) = (&mut self.task).await.context("the publisher")?;
        Err(error.context(format!("the publisher of {} ended", self.stream)))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn publish(
    clip: Arc<Clip>,
    server: SocketAddr,
    stream: String,
    phase: Duration,
    sent: Arc<Mutex<Vec<Instant>>>,
    tell: oneshot::Sender<()>,
) -> Result<Infallible> {
    let mut io = TcpStream::connect(server).await.context("connect")?;
    io.set_nodelay(true).context("no delay")?;
    let mut session = Session::open(&mut io, server, &stream).await?;
    let _ = tell.send(());
    if let Some(metadata) = &clip.metadata {
        session.media(TagType::Script, 0, metadata)?;
    }
    session.media(TagType::Video, 0, &clip.sequence_header)?;
    session.flush(&mut io).await?;

    let begin = Instant::now() + phase;
    for number in 0_u32.. {
        session.listen_until(&mut io, begin + FRAME * number).await?;
        let time_ms = number.wrapping_mul(FRAME.as_millis() as u32);
        let frame = &clip.frames[number as usize % clip.frames.len()];
        session.media(TagType::Video, time_ms, &frame.body)?;
        sent.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now());
        session.flush(&mut io).await?;
    }
    bail!("all numbers of frames are used up")
}

/// A session that publishes.
pub struct Session {
    rtmp: ClientSession,
    buffer: BytesMut,
    publishing: bool,
}

impl Session {
    /// Comes to the point where media may be sent.
    pub async fn open(io: &mut TcpStream, server: SocketAddr, stream: &str) -> Result<Self> {
        let url = url::parse(&format!("rtmp://{server}/{stream}"))?;
        let mut session = Self {
            rtmp: ClientSession::new(Config::new(url, Role::Publish), rand::random(), Instant::now()),
            buffer: BytesMut::new(),
            publishing: false,
        };
        session.flush(io).await?;
        timeout(PATIENCE, async {
            while !session.publishing {
                session.buffer.reserve(READ_ROOM);
                let count = io.read_buf(&mut session.buffer).await.context("read")?;
                ensure!(count > 0, "the server closed the connection");
                session.take(io).await?;
            }
            Ok(())
        })
        .await
        .with_context(|| format!("the server does not take media within {PATIENCE:?}"))??;
        Ok(session)
    }

    /// Makes a message; [`Self::flush`] sends it.
    pub fn media(&mut self, kind: TagType, time_ms: u32, body: &Bytes) -> Result<()> {
        let made = self.rtmp.send_media(kind, time_ms, std::slice::from_ref(body));
        ensure!(made, "a message of {} bytes cannot be sent", body.len());
        Ok(())
    }

    /// Sends what was made.
    pub async fn flush(&mut self, io: &mut TcpStream) -> Result<()> {
        while let Some(output) = self.rtmp.poll_output() {
            match output {
                Output::Send(bytes) => timeout(PATIENCE, io.write_all(&bytes))
                    .await
                    .with_context(|| format!("the server does not read for {PATIENCE:?}"))?
                    .context("write")?,
                Output::Event(Event::PublishStarted) => self.publishing = true,
                Output::Event(Event::Failed(failure)) => return Err(failure.into()),
                Output::Event(Event::Ended) | Output::Close => bail!("the server ended the session"),
                Output::Event(
                    Event::Connected | Event::PlayStarted | Event::Media(_) | Event::Metadata(_),
                ) => {}
            }
        }
        Ok(())
    }

    /// Takes what the server says until it is time.
    pub async fn listen_until(&mut self, io: &mut TcpStream, due: Instant) -> Result<()> {
        loop {
            self.buffer.reserve(READ_ROOM);
            let count = tokio::select! {
                biased;
                () = sleep_until(due.into()) => return Ok(()),
                read = io.read_buf(&mut self.buffer) => read.context("read")?,
            };
            ensure!(count > 0, "the server closed the connection");
            self.take(io).await?;
        }
    }

    /// Ends the stream properly.
    pub async fn close(mut self, io: &mut TcpStream) -> Result<()> {
        self.rtmp.close(Instant::now());
        while let Some(output) = self.rtmp.poll_output() {
            if let Output::Send(bytes) = output {
                timeout(PATIENCE, io.write_all(&bytes))
                    .await
                    .context("say goodbye")??;
            }
        }
        io.shutdown().await.context("close")
    }

    async fn take(&mut self, io: &mut TcpStream) -> Result<()> {
        self.rtmp.handle_bytes(Instant::now(), &mut self.buffer)?;
        self.flush(io).await
    }
}
