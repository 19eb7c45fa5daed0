//! HLS and HTTP-TS that are pulled: from files that ffmpeg made, and from an ffmpeg that makes them.

mod faults;
mod live;
mod vod;

use crate::clients::*;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use testkit::fixture::Fixture;
use testkit::framehash::{self, Frame, Kind, assert_run};
use testkit::origin::Origin;
use testkit::server::TestServer;
use testkit::tool::{Running, Tool};
use tokio::time::{interval, timeout};

/// MPEG-TS counts 90,000 ticks per second and FLV milliseconds: each may round by one.
pub const ROUNDING: Duration = Duration::from_micros(2_500);

/// Media in seconds that the tests put into playlists: they are played in real time.
pub const LENGTH: usize = 4;

/// An origin with a folder of its own.
pub struct Site {
    pub origin: Origin,
    folder: TempDir,
}

impl Site {
    pub async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            origin: Origin::start(folder.path()).await?,
            folder,
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An ffmpeg that packages the first seconds of a file.
    pub async fn package(&self, fixture: Fixture, format: &[&str]) -> Result<()> {
        let length = LENGTH.to_string();
        Tool::ffmpeg_new()?
            .args(["-nostdin", "-v", "error", "-i"])
            .arg(fixture.path().await?)
            .args(["-t", &length, "-c", "copy"])
            .args(format)
            .current_dir(self.folder.path())
            .run(SOON)
            .await?;
        Ok(())
    }
}

/// The parameters of addStreamProxy for a source that is not tried again.
pub fn once<'a>(url: &'a str, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    let mut parameters = proxy("live", "cam", url);
    parameters.push(("retry_count", "0"));
    parameters.extend_from_slice(more);
    parameters
}

/// A viewer who asks before the stream is there, and so gets it from its first frame.
pub async fn player(server: &TestServer) -> Result<(Running, PathBuf)> {
    let file = server.folder().join("played.flv");
    let curl = Tool::curl()
        .args(["-s", "-o"])
        .arg(&file)
        .arg(server.url_flv("live/cam"))
        .spawn()?;
    let parameters = [("vhost", "__defaultVhost__"), ("app", "live"), ("stream", "cam")];
    server
        .poll("a player waits", SOON, async |server| {
            let view = server.api("getStreamTimeline", &parameters).await;
            (view["data"]["waiting"] == 1).then_some(())
        })
        .await;
    Ok((curl, file))
}

/// Pulls a source to its end, and returns what a player got.
pub async fn pulled(server: &TestServer, url: &str, more: &[(&'static str, &str)]) -> Result<PathBuf> {
    let (player, file) = player(server).await?;
    let answer = server.api("addStreamProxy", &once(url, more)).await;
    assert_eq!(answer["code"], 0, "{answer}; {:?}", server.log());
    player.wait(SOON).await?;
    Ok(file)
}

/// The frames of a file without what may stand in the stream or in the header only: parameter sets, SEI, delimiters.
pub async fn frames(file: &Path, kind: Kind) -> Result<Vec<Frame>> {
    let filter = match kind {
        Kind::Video => "h264_mp4toannexb,filter_units=remove_types=6-9",
        Kind::Audio => "null",
    };
    framehash::of_filtered_file(file, kind, filter).await
}

/// Frames that are in a number of seconds, less a few at the end.
pub fn nearly(kind: Kind, seconds: usize) -> usize {
    match kind {
        Kind::Video => 25 * seconds - 3,
        Kind::Audio => 43 * seconds - 8,
    }
}

/// What was played is the beginning of a fixture, to the last frames.
pub async fn compare(fixture: Fixture, played: &Path, kinds: &[Kind]) -> Result<()> {
    for kind in kinds {
        let before = frames(&fixture.path().await?, *kind).await?;
        let after = frames(played, *kind).await?;
        let start = assert_run(&before, &after, nearly(*kind, LENGTH), ROUNDING);
        assert!(start <= 1, "{kind:?} starts at frame {start}");
    }
    Ok(())
}

/// The entry of the pull in listStreamProxy.
pub async fn entry(server: &TestServer) -> Option<Value> {
    let list = server.api("listStreamProxy", &[]).await;
    list["data"].as_array().and_then(|list| list.first()).cloned()
}

/// Waits until the pull is in this state, and returns why.
pub async fn in_state(server: &TestServer, state: &str) -> String {
    server
        .poll(state, SOON, async |server| {
            let entry = entry(server).await?;
            (entry["state"] == state).then(|| entry["status_str"].as_str().unwrap_or_default().to_owned())
        })
        .await
}

/// Waits until a packager's playlist names so many segments.
pub async fn packaged(playlist: &Path, segments: usize) -> Result<()> {
    let look = async {
        let mut look = interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let text = std::fs::read_to_string(playlist).unwrap_or_default();
            if text.matches("#EXTINF").count() >= segments {
                return;
            }
        }
    };
    timeout(SOON, look).await.context("no playlist came")
}
