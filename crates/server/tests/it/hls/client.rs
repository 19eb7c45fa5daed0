//! An HLS player that tells what it was given.

use super::*;
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::hls::{Master, Media};
use testkit::http::{self, Response};

/// Which playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Ts,
    Fmp4,
}

impl Form {
    pub const fn file(self) -> &'static str {
        match self {
            Self::Ts => "hls.m3u8",
            Self::Fmp4 => "hls.fmp4.m3u8",
        }
    }

    pub const fn schema(self) -> &'static str {
        match self {
            Self::Ts => "hls",
            Self::Fmp4 => "hls.fmp4",
        }
    }

    /// The path of the playlist that everybody may ask for.
    pub fn path(self, stream: &str) -> String {
        format!("/{stream}/{}", self.file())
    }
}

/// A player without cookies: it follows the URLs that it is given, each request on a connection of its own.
#[derive(Clone)]
pub struct Player {
    address: SocketAddr,
    /// The path and query of the media playlist.
    pub target: String,
}

impl Player {
    /// Asks for the playlist of a stream, and takes the only variant it is offered.
    pub async fn open(server: &TestServer, stream: &str, form: Form) -> Result<Self> {
        Self::open_at(server.address("http"), &form.path(stream)).await
    }

    pub async fn open_at(address: SocketAddr, target: &str) -> Result<Self> {
        let answer = get(address, target, &[]).await?;
        ensure!(answer.status == 200, "{target}: status {}", answer.status);
        let master = Master::parse(&answer.text())?;
        let [variant] = &master.variants[..] else {
            anyhow::bail!("{} variants", master.variants.len())
        };
        Ok(Self {
            address,
            target: resolve(target, &variant.uri),
        })
    }

    /// Asks for the media playlist with this query in addition.
    pub async fn ask(&self, query: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let joint = if self.target.contains('?') { '&' } else { '?' };
        let target = match query {
            "" => self.target.clone(),
            query => format!("{}{joint}{query}", self.target),
        };
        get(self.address, &target, headers).await
    }

    /// The media playlist.
    pub async fn playlist(&self, query: &str) -> Result<Media> {
        let answer = self.ask(query, &[]).await?;
        ensure!(answer.status == 200, "{query}: status {}", answer.status);
        Media::parse(&answer.text()).with_context(|| answer.text())
    }

    /// Asks for something that the playlist names.
    pub async fn ask_for(&self, uri: &str) -> Result<Response> {
        get(self.address, &resolve(&self.target, uri), &[]).await
    }

    /// Something that the playlist names.
    pub async fn fetch(&self, uri: &str) -> Result<Vec<u8>> {
        let answer = self.ask_for(uri).await?;
        ensure!(answer.status == 200, "{uri}: status {}", answer.status);
        Ok(answer.body)
    }

    /// Plays to the end of the stream: all segments one behind the other, initialization first.
    pub async fn play_to_end(&self) -> Result<Vec<u8>> {
        let mut played = Vec::new();
        let mut next = 0;
        let mut map = None;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let media = self.playlist("").await?;
            for segment in &media.segments {
                if segment.sequence < next {
                    continue;
                }
                ensure!(next == 0 || segment.sequence == next, "segment {next} was missed");
                if segment.map != map {
                    map.clone_from(&segment.map);
                    played.extend(self.fetch(map.as_deref().context("a map")?).await?);
                }
                played.extend(self.fetch(&segment.uri).await?);
                next = segment.sequence + 1;
            }
            if media.ended {
                return Ok(played);
            }
        }
    }
}

/// One GET on a connection of its own.
pub async fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Result<Response> {
    http::request(address, "GET", target, headers, &[], SOON).await
}

/// A reference relative to the path of a playlist.
fn resolve(base: &str, uri: &str) -> String {
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let path = base.split('?').next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{uri}")
}
