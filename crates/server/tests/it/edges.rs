//! Edge servers of one origin: what they make of a stream is interchangeable.

use crate::clients::*;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use testkit::fixture::Fixture;
use testkit::server::TestServer;

/// The playlist that a newcomer is led to.
async fn lead(server: &TestServer, stream: &str) -> Result<String> {
    let answer = server.get(&format!("/{stream}/hls.fmp4.m3u8")).await?;
    let text = answer.text();
    let variant = text.lines().find(|line| !line.starts_with('#'));
    Ok(format!("/{stream}/{}", variant.context(text.clone())?))
}

/// The complete segments of a playlist, by name.
async fn segments(server: &TestServer, playlist: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let folder = playlist.rsplit_once('/').context("a folder")?.0;
    let text = server.get(playlist).await?.text();
    let mut found = BTreeMap::new();
    for name in text.lines().filter(|line| line.ends_with(".mp4")) {
        let answer = server.get(&format!("{folder}/{name}")).await?;
        assert_eq!(answer.status, 200, "{name}");
        found.insert(name.to_owned(), answer.body.to_vec());
    }
    Ok(found)
}

#[tokio::test]
async fn segments_have_the_same_names_and_bytes_on_every_edge() -> Result<()> {
    let origin = serve("").await?;
    let _publisher = publish(Fixture::H264AacShortGop, &origin.url_rtmp("live/cam")).await?;
    online(&origin, "live", "cam").await;
    let config = format!(
        "[cluster]\norigin_url={}\n[protocol]\nenable_hls_fmp4=1\n[hls]\nsegDur=1\nsegNum=8\n",
        origin.url_rtmp("%s/%s")
    );
    let early = serve(&config).await?;
    let first = lead(&early, "live/cam").await?;
    // The second edge joins when the first one has a segment already, somewhere between two cuts.
    segments(&early, &first).await?;
    let late = serve(&config).await?;
    let second = lead(&late, "live/cam").await?;
    let mut seen: [BTreeMap<String, Vec<u8>>; 2] = Default::default();
    let shared = late
        .poll(
            "both edges have three segments of the same time",
            SOON,
            async |late| {
                seen[0].extend(segments(&early, &first).await.ok()?);
                seen[1].extend(segments(late, &second).await.ok()?);
                let shared = seen[0].keys().filter(|name| seen[1].contains_key(*name)).count();
                (shared >= 3).then_some(shared)
            },
        )
        .await;
    // The late edge may have begun in the middle of a segment: its first one is its own.
    let begun = seen[1].keys().next().context("a segment")?.clone();
    let common = seen[0].iter().filter(|(name, _)| **name > begun);
    let mut compared = 0;
    for (name, bytes) in common {
        if let Some(other) = seen[1].get(name) {
            assert!(
                bytes == other,
                "{name} differs: {} and {} bytes",
                bytes.len(),
                other.len()
            );
            compared += 1;
        }
    }
    assert!(compared + 1 >= shared, "{compared} of {shared}");
    let names = |index: usize| {
        seen[index]
            .keys()
            .filter(|name| **name > begun)
            .take(2)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(0), names(1));
    Ok(())
}
