//! RTSP with real clients: publishers, players, cameras.

mod changes;
mod client;
mod codecs;
mod integrity;
mod lifecycle;
mod players;
mod sync;
mod wire;

use crate::clients::*;
use anyhow::Result;
use std::path::{Path, PathBuf};
use testkit::fixture::Fixture;
use testkit::server::TestServer;
use testkit::tool::{Running, Tool};

/// How the media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tcp,
    Udp,
    Tls,
    Http,
}

impl Over {
    pub fn url(self, server: &TestServer, stream: &str) -> String {
        match self {
            Self::Tcp | Self::Udp | Self::Http => server.url_rtsp(stream),
            Self::Tls => server.url_rtsps(stream),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp | Self::Tls => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        }
    }
}

/// An ffmpeg that publishes a file again and again in real time until it is dropped.
pub async fn publish_rtsp(fixture: Fixture, over: Over, url: &str) -> Result<Running> {
    let file = fixture.path().await?;
    let args = ["-hide_banner", "-nostdin", "-re", "-stream_loop", "-1", "-i"];
    Tool::ffmpeg()
        .args(args)
        .arg(&file)
        .args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", over.name(), url])
        .spawn()
}

/// Publishes and waits until the stream is registered.
pub async fn publish_rtsp_live(server: &TestServer, stream: &str, over: Over) -> Result<Running> {
    let running = publish_rtsp(Fixture::H264Aac, over, &over.url(server, stream)).await?;
    let (app, name) = stream.split_once('/').expect("app/stream");
    online(server, app, name).await;
    Ok(running)
}

/// A server that has a stream to be pulled, `live/source`, and its publisher.
pub async fn camera(config: &str) -> Result<(TestServer, Running)> {
    let camera = serve(config).await?;
    let publisher = publish_rtsp_live(&camera, "live/source", Over::Tcp).await?;
    Ok((camera, publisher))
}

/// The codecs that ffprobe sees, in the order of the description.
pub async fn codecs(over: Over, url: &str) -> Result<Vec<String>> {
    let args = [
        "-v",
        "error",
        "-rtsp_transport",
        over.name(),
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
    ];
    let output = Tool::ffprobe().args(args).arg(url).run(SOON).await?;
    Ok(output
        .stdout_text()
        .split_whitespace()
        .map(str::to_owned)
        .collect())
}

/// A file in the server's folder.
pub fn file(server: &TestServer, name: &str) -> PathBuf {
    server.folder().join(name)
}
