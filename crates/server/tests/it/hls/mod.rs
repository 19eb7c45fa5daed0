//! HLS, HTTP-TS and HTTP-fMP4 with real clients.

mod browser;
mod client;
mod demand;
mod integrity;
mod probe;
mod rules;
mod viewers;

use crate::clients::*;
use anyhow::Result;
use client::{Form, Player};
use std::path::Path;
use testkit::server::TestServer;
use testkit::tool::Tool;

/// Both forms of HLS, and nothing else that a test would have to know.
const BOTH: &str = "[protocol]\nenable_hls_fmp4=1\n";

/// Players wait before the publisher comes, so that they get the stream from its first frame.
async fn waiting(server: &TestServer, stream: &str, count: u64) {
    let (app, name) = stream.split_once('/').expect("app/stream");
    let parameters = [("vhost", "__defaultVhost__"), ("app", app), ("stream", name)];
    server
        .poll("all players wait", SOON, async |server| {
            let view = server.api("getStreamTimeline", &parameters).await;
            (view["data"]["waiting"] == count).then_some(())
        })
        .await;
}

/// Publishes a file once, four times as fast as it was made: fast enough for a test, slow enough to be a live stream.
async fn publish_once(ffmpeg: Tool, file: &Path, format: &[&str], url: &str) -> Result<()> {
    let ended = ffmpeg
        .args(["-nostdin", "-v", "error", "-readrate", "4", "-i"])
        .arg(file)
        .args(["-map", "0", "-c", "copy", "-strict", "experimental"])
        .args(format)
        .arg(url)
        .run(SOON)
        .await?;
    assert!(ended.status.success(), "{ended:?}");
    Ok(())
}
