//! A disk that is really full, and files that are really damaged.

use super::{SOON, config, count, crowd, seq, serve, stored, waiting};
use crate::clients::{FlvViewer, online, publish, tidegate};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use testkit::disk::SmallDisk;
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer, Request};
use testkit::server::TestServer;

/// Room for about a thousand events.
const DISK: u64 = 1024 * 1024;

/// A counter of the metrics; 0 if it does not stand there yet.
async fn metric(server: &TestServer, name: &str) -> u64 {
    let text = server.get("/metrics").await.expect("metrics").text();
    let name = format!("tidegate_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().expect("a number"))
}

const REFUSED: &str = "hook_store_failures_total{endpoint=\"own\",work=\"event\"}";

/// Which viewer's end a call tells.
fn viewer(call: &Request) -> Option<usize> {
    call.body["data"]["params"]
        .as_str()?
        .strip_prefix("n=")?
        .parse()
        .ok()
}

/// Waits until the end of each of these viewers has come.
async fn all_came(hooks: &HookServer, viewers: Range<usize>) {
    let all = |calls: &[Request]| {
        let came: BTreeSet<_> = calls.iter().filter_map(viewer).collect();
        viewers.clone().all(|viewer| came.contains(&viewer))
    };
    hooks.wait_for(all, SOON).await;
}

async fn a_full_disk(disk: &SmallDisk) -> Result<()> {
    let mut down = HookServer::start(|_| Answer::ok()).await?;
    down.down().await;
    let up = HookServer::start(|_| Answer::ok()).await?;
    let store = disk.path().join("hooks");
    let other = format!(
        "[[hook_endpoint]]\nname = \"other\"\nurl = \"{}\"\nevents = [\"session.ended\"]\n",
        up.url("other")
    );
    let server = tidegate()
        .toml(config(&down, &store, "") + &other)
        .small_disk(disk)
        .start()
        .await?;
    let _publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/a")).await?;
    online(&server, "live", "a").await;
    let mut watching = FlvViewer::open(&server, "live/a").await?;
    watching.picture().await?;

    assert_eq!(crowd(&server, &["a"], 0..20).await, 20);
    let wait_for = async |what: &str, number: u64| {
        server
            .poll(&format!("{number} are {what}"), SOON, async |server| {
                (count(server, what).await >= number).then_some(())
            })
            .await;
    };
    wait_for("stored", 20).await;
    assert_eq!(metric(&server, REFUSED).await, 0);

    // Something else takes the rest of the disk.
    disk.fill(&server)?;
    assert_eq!(crowd(&server, &["a"], 20..40).await, 20);
    wait_for("waiting", 40).await;
    let line = server.wait_for_log(disk.refusal(), SOON).await;
    assert!(line.contains("ERROR"), "{line}");
    assert!(line.contains(&*store.join("own").to_string_lossy()), "{line}");
    server
        .poll("the refusals are counted", SOON, async |server| {
            (metric(server, REFUSED).await > 0).then_some(())
        })
        .await;
    assert!(stored(&server).await < 40);
    // The server goes on: a stream plays, a new viewer gets a picture, news for others arrive.
    watching.picture().await?;
    FlvViewer::open(&server, "live/a").await?.picture().await?;
    all_came(&up, 0..40).await;

    // There is room again, until the waiting events have taken it all themselves.
    disk.free(&server)?;
    let before = stored(&server).await;
    assert_eq!(crowd(&server, &["a"], 40..60).await, 20);
    wait_for("stored", before + 20).await;
    server.wait_for_log("can be written to disk again", SOON).await;
    let refused = metric(&server, REFUSED).await;
    let mut viewers = 60;
    while metric(&server, REFUSED).await == refused {
        assert!(viewers < 5000, "the disk is never full");
        assert_eq!(crowd(&server, &["a"], viewers..viewers + 100).await, 100);
        viewers += 100;
    }
    watching.picture().await?;

    // The receiver is back: it gets everything, for what was not on disk was in memory, and the disk is free.
    down.up().await?;
    all_came(&down, 0..viewers).await;
    server
        .poll("nothing is on disk", SOON, async |server| {
            (stored(server).await == 0 && waiting(server).await == 0).then_some(())
        })
        .await;
    down.down().await;
    assert_eq!(crowd(&server, &["a"], viewers..viewers + 20).await, 20);
    wait_for("stored", 20).await;
    let calls = down.all();
    let numbers: Vec<_> = calls.iter().map(seq).collect();
    assert!(numbers.is_sorted(), "one stream, in order");
    let lost = "hook_dropped_total{endpoint=\"own\",reason=\"not_written\"}";
    assert_eq!(metric(&server, lost).await, 0);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_costs_durability_and_nothing_else() -> Result<()> {
    a_full_disk(&SmallDisk::new(DISK).await?).await
}

/// As where no file system can be mounted for a test.
#[tokio::test]
async fn files_that_cannot_grow_cost_durability_and_nothing_else() -> Result<()> {
    a_full_disk(&SmallDisk::limited(DISK)?).await
}

/// Files of events, in order.
fn segments(store: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(store.join("own"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Viewers whose ends stand in these bytes, and where.
fn viewers_in(bytes: &[u8]) -> Vec<(usize, usize)> {
    const MARK: &[u8] = b"\"params\":\"n=";
    let places = bytes.windows(MARK.len()).enumerate();
    let places = places.filter(|(_, window)| *window == MARK).map(|(at, _)| at);
    let number = |at: usize| {
        let digits = bytes[at + MARK.len()..].split(|byte| *byte == b'"').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    places.filter_map(|at| Some((number(at)?, at))).collect()
}

#[tokio::test]
async fn a_damaged_store_is_reported_and_what_is_sound_arrives() -> Result<()> {
    const VIEWERS: usize = 1300;
    // A long name, so that not so many events fill a file.
    let name: &str = "long-name-".repeat(80).leak();
    let url = format!("live/{name}");
    let mut hooks = HookServer::start(|_| Answer::ok()).await?;
    hooks.down().await;
    let store = tempfile::tempdir()?;
    // Files of 1 MiB, the least that there is.
    let toml = config(&hooks, store.path(), "store_limit_mb = 16\n");
    let mut server = tidegate().toml(toml.clone()).start().await?;
    let publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp(&url)).await?;
    online(&server, "live", name).await;
    assert_eq!(crowd(&server, &[name], 0..VIEWERS).await, VIEWERS);
    server
        .poll("all are on disk", SOON, async |server| {
            (stored(server).await >= VIEWERS as u64).then_some(())
        })
        .await;
    drop(publisher);
    server.stop(SOON).await?;

    let files = segments(store.path())?;
    assert!(files.len() >= 3, "{files:?}");
    // One record in the middle of the first file, and one that begins right before it ends.
    let mut bytes = std::fs::read(&files[0])?;
    let inside = viewers_in(&bytes);
    let (hit, at) = inside[inside.len() / 2];
    bytes[at] ^= 0xFF;
    std::fs::write(&files[0], &bytes)?;
    // The second file ends in the middle, within a record.
    let bytes = std::fs::read(&files[1])?;
    let inside = viewers_in(&bytes);
    let (_, cut) = inside[inside.len() / 2];
    std::fs::write(&files[1], &bytes[..cut])?;
    let mut lost: BTreeSet<_> = inside
        .iter()
        .filter(|(_, at)| *at >= cut)
        .map(|(viewer, _)| *viewer)
        .collect();
    assert!(lost.len() > 10);
    lost.insert(hit);
    // And of the last one nothing makes sense any more: it is garbage from its first byte.
    let last = files.last().context("files")?;
    let bytes = std::fs::read(last)?;
    lost.extend(viewers_in(&bytes).into_iter().map(|(viewer, _)| viewer));
    std::fs::write(last, vec![0xA5; bytes.len()])?;

    hooks.up().await?;
    let server = serve(&hooks, store.path()).await?;
    let line = server.wait_for_log("was damaged", SOON).await;
    assert!(line.contains("ERROR"), "{line}");
    assert!(
        line.contains(&*store.path().join("own").to_string_lossy()),
        "{line}"
    );
    server
        .poll("everything has come", SOON, async |server| {
            (waiting(server).await == 0).then_some(())
        })
        .await;
    let came: BTreeSet<_> = hooks.all().iter().filter_map(viewer).collect();
    let sound: BTreeSet<_> = (0..VIEWERS).filter(|viewer| !lost.contains(viewer)).collect();
    assert_eq!(came, sound);
    let damaged = "hook_dropped_total{endpoint=\"own\",reason=\"damaged\"}";
    assert!(metric(&server, damaged).await >= 2);

    // The server works, and what was found was mended.
    let _publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp(&url)).await?;
    online(&server, "live", name).await;
    assert_eq!(crowd(&server, &[name], VIEWERS..VIEWERS + 5).await, 5);
    all_came(&hooks, VIEWERS..VIEWERS + 5).await;
    drop(server);
    let server = tidegate().toml(toml).start().await?;
    assert!(!server.log().iter().any(|line| line.contains("was damaged")));
    Ok(())
}
