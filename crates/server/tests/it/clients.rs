//! What the modules share: a server, publishers that run on, and viewers that tell what they see.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use container::flv::{Demuxer, Event, Reader};
use media::{Frame, MediaKind};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::hook::HookServer;
use testkit::server::{Builder, TestServer};
use testkit::tool::{Running, Tool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for a busy machine; no test waits that long when all goes well.
pub const SOON: Duration = Duration::from_secs(30);

/// A server to be configured.
pub fn tidegate() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_tidegate"))
}

/// A server with this configuration.
pub async fn serve(config: &str) -> Result<TestServer> {
    tidegate().config(config).start().await
}

/// All hooks that this version raises about streams and sessions.
pub const STREAM_HOOKS: &[&str] = &[
    "on_publish",
    "on_play",
    "on_flow_report",
    "on_stream_changed",
    "on_stream_none_reader",
    "on_stream_not_found",
];

/// A server that calls `hooks` about everything, with short delays and further configuration lines.
pub async fn serve_hooked(hooks: &HookServer, more: &str) -> Result<TestServer> {
    let general = "[general]\nstreamNoneReaderDelayMS=400\nflowThreshold=0\nmediaServerId=test\n";
    serve(&format!("{}{general}{more}", hooks.ini(STREAM_HOOKS))).await
}

/// An ffmpeg that publishes a file again and again in real time until it is dropped.
pub async fn publish(fixture: Fixture, url: &str) -> Result<Running> {
    let file = fixture.path().await?;
    let args = ["-hide_banner", "-nostdin", "-re", "-stream_loop", "-1", "-i"];
    Tool::ffmpeg()
        .args(args)
        .arg(&file)
        .args(["-c", "copy", "-f", "flv", url])
        .spawn()
}

/// Publishes and waits until the stream is registered.
pub async fn publish_live(server: &TestServer, stream: &str) -> Result<Running> {
    let running = publish(Fixture::H264Aac, &server.url_rtmp(stream)).await?;
    let (app, name) = stream.split_once('/').context("app/stream")?;
    online(server, app, name).await;
    Ok(running)
}

/// Waits until a stream is registered.
pub async fn online(server: &TestServer, app: &str, stream: &str) {
    server
        .poll("the stream is online", SOON, async |server| {
            is_online(server, app, stream).await.then_some(())
        })
        .await;
}

/// Waits until a stream is gone.
pub async fn offline(server: &TestServer, app: &str, stream: &str) {
    server
        .poll("the stream is gone", SOON, async |server| {
            (!is_online(server, app, stream).await).then_some(())
        })
        .await;
}

pub async fn is_online(server: &TestServer, app: &str, stream: &str) -> bool {
    let parameters = [
        ("schema", "rtmp"),
        ("vhost", "__defaultVhost__"),
        ("app", app),
        ("stream", stream),
    ];
    server.api("isMediaOnline", &parameters).await["online"] == true
}

/// How many players a stream has: with `rtmp` as schema over RTMP and FLV, with `rtsp` over RTSP.
pub async fn players(server: &TestServer, schema: &str, app: &str, stream: &str) -> usize {
    let parameters = [
        ("schema", schema),
        ("vhost", "__defaultVhost__"),
        ("app", app),
        ("stream", stream),
    ];
    server.api("getMediaPlayerList", &parameters).await["data"]
        .as_array()
        .map_or(0, Vec::len)
}

/// The MD5 of a text, in hexadecimal digits.
pub fn md5_hex(text: &str) -> String {
    use md5::{Digest, Md5};
    Md5::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The parameters of addStreamProxy.
pub fn proxy<'a>(app: &'a str, stream: &'a str, url: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("vhost", "__defaultVhost__"),
        ("app", app),
        ("stream", stream),
        ("url", url),
        ("timeout_sec", "10"),
    ]
}

/// An HTTP-FLV viewer: one request, then frames as they come.
pub struct FlvViewer {
    socket: TcpStream,
    /// Status line and headers.
    pub head: String,
    reader: Reader,
    demuxer: Demuxer,
}

impl FlvViewer {
    /// Asks for a stream and waits for the head of the answer.
    pub async fn open(server: &TestServer, stream: &str) -> Result<Self> {
        Self::open_at(server.address("http"), stream).await
    }

    /// The same for an address.
    pub async fn open_at(address: SocketAddr, stream: &str) -> Result<Self> {
        Self::ask(address, stream).await?.await
    }

    /// Sends the request at once; the returned future waits for the head.
    pub async fn ask(
        address: SocketAddr,
        stream: &str,
    ) -> Result<impl Future<Output = Result<Self>> + use<>> {
        let mut socket = TcpStream::connect(address).await?;
        let (path, query) = stream
            .split_once('?')
            .map_or((stream, String::new()), |(path, query)| {
                (path, format!("?{query}"))
            });
        let request = format!("GET /{path}.live.flv{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        Ok(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                ensure!(head.len() < 8192, "the head has no end");
                head.push(timeout(SOON, socket.read_u8()).await.context("no answer")??);
            }
            let head = String::from_utf8(head)?;
            Ok(Self {
                socket,
                head,
                reader: Reader::new(),
                demuxer: Demuxer::new(),
            })
        })
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    /// The next frame; an error when the stream ends or none comes.
    pub async fn frame(&mut self) -> Result<Frame> {
        loop {
            while let Some(event) = self.demuxer.poll() {
                if let Event::Frame(frame) = event {
                    return Ok(frame);
                }
            }
            if let Some(tag) = self.reader.next()? {
                self.demuxer.tag(tag.tag_type, tag.timestamp_ms, tag.body)?;
                continue;
            }
            let mut bytes = vec![0; 64 * 1024];
            let count = timeout(SOON, self.socket.read(&mut bytes))
                .await
                .context("no frame came")??;
            if count == 0 {
                bail!("the stream ended");
            }
            bytes.truncate(count);
            self.reader.push(Bytes::from(bytes));
        }
    }

    /// The next video frame.
    pub async fn picture(&mut self) -> Result<Frame> {
        loop {
            let frame = self.frame().await?;
            if self.kind(&frame) == Some(MediaKind::Video) {
                return Ok(frame);
            }
        }
    }

    /// Picture or sound.
    pub fn kind(&self, frame: &Frame) -> Option<MediaKind> {
        let mut tracks = self.demuxer.tracks();
        tracks
            .find(|track| track.id == frame.track)
            .map(|track| track.kind())
    }

    /// Reads until the server closes.
    pub async fn read_to_end(mut self) -> Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        while timeout(SOON, self.socket.read(&mut bytes))
            .await
            .context("the stream does not end")??
            > 0
        {}
        Ok(())
    }

    /// The body of a refusal.
    pub async fn refusal(mut self) -> Result<String> {
        let line = self
            .head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-length:"));
        let length: usize = line
            .and_then(|line| line.split_once(':'))
            .context("a length")?
            .1
            .trim()
            .parse()?;
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await?;
        Ok(String::from_utf8(body)?)
    }
}
