//! Notifications that outlive the server: killed in the middle, nothing that was kept is lost.

mod faults;

use crate::clients::{online, publish, tidegate};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer, Request};
use testkit::server::TestServer;
use testkit::tool::Tool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(30);

/// Viewers of the whole test; each ends with one event.
const VIEWERS: usize = 10_000;

/// Viewers at once.
const CROWD: usize = 50;

async fn serve(hooks: &HookServer, store: &Path) -> Result<TestServer> {
    tidegate().toml(config(hooks, store, "")).start().await
}

/// A durable endpoint `own`, and further lines of `[hook]`.
fn config(hooks: &HookServer, store: &Path, more: &str) -> String {
    format!(
        "[general]\nflowThreshold = 0\n[hook]\nstore_dir = \"{}\"\n{more}[[hook_endpoint]]\nname = \"own\"\nurl = \"{}\"\nevents = [\"session.ended\"]\ndurable = true\n",
        store.display(),
        hooks.url("own"),
    )
}

/// Comes, sees something, and goes. False if the server is gone.
async fn watch(server: std::net::SocketAddr, stream: &str, number: usize) -> bool {
    let visit = async {
        let mut tcp = TcpStream::connect(server).await?;
        let request = format!("GET /live/{stream}.live.flv?n={number} HTTP/1.1\r\nHost: h\r\n\r\n");
        tcp.write_all(request.as_bytes()).await?;
        let mut some = [0; 512];
        let read = tcp.read(&mut some).await?;
        anyhow::ensure!(some[..read].starts_with(b"HTTP/1.1 200"), "no picture");
        anyhow::Ok(())
    };
    visit.await.is_ok()
}

/// Sends viewers until told to stop; how many were there.
async fn crowd(server: &TestServer, streams: &[&'static str], numbers: std::ops::Range<usize>) -> usize {
    let address = server.address("http");
    let mut visits = JoinSet::new();
    let mut there = 0;
    for number in numbers {
        if visits.len() == CROWD {
            there += usize::from(visits.join_next().await.is_some_and(|seen| seen.unwrap_or(false)));
        }
        let stream = streams[number % streams.len()];
        visits.spawn(async move { watch(address, stream, number).await });
    }
    while let Some(seen) = visits.join_next().await {
        there += usize::from(seen.unwrap_or(false));
    }
    there
}

async fn waiting(server: &TestServer) -> u64 {
    count(server, "waiting").await
}

/// Those that are on disk.
async fn stored(server: &TestServer) -> u64 {
    count(server, "stored").await
}

async fn count(server: &TestServer, what: &str) -> u64 {
    count_of(server, "own", what).await
}

async fn count_of(server: &TestServer, name: &str, what: &str) -> u64 {
    let listed = server.api("listHookEndpoints", &[]).await;
    let endpoints = listed["data"].as_array().into_iter().flatten();
    let endpoint = endpoints.into_iter().find(|endpoint| endpoint["name"] == name);
    endpoint.map_or(0, |endpoint| endpoint[what].as_u64().unwrap_or(0))
}

fn seq(request: &Request) -> u64 {
    let seq = request.headers.get("tidegate-seq").expect("a number");
    seq.parse().expect("a number")
}

#[tokio::test]
async fn a_server_that_is_killed_among_ten_thousand_events_loses_none_of_them() -> Result<()> {
    let mut hooks = HookServer::start(|_| Answer::ok()).await?;
    let store = tempfile::tempdir()?;
    hooks.down().await;
    let mut server = serve(&hooks, store.path()).await?;
    let streams = ["a", "b", "c", "d"];
    let mut publishers = Vec::new();
    for stream in streams {
        publishers.push(
            publish(
                Fixture::H264AacShortGop,
                &server.url_rtmp(&format!("live/{stream}")),
            )
            .await?,
        );
    }
    // Half of them are told while the receiver is down.
    let first = crowd(&server, &streams, 0..VIEWERS / 2).await;
    assert_eq!(first, VIEWERS / 2);
    server
        .poll("all are gone", SOON, async |server| {
            (waiting(server).await >= first as u64).then_some(())
        })
        .await;
    // The other half comes, and in the middle of it the server is killed.
    let known = {
        let rest = crowd(&server, &streams, VIEWERS / 2..VIEWERS);
        let killed = async {
            server
                .poll("the second half is coming", SOON, async |server| {
                    let stored = stored(server).await;
                    (stored >= first as u64 + 500).then_some(stored)
                })
                .await
        };
        tokio::pin!(rest);
        tokio::select! {
            known = killed => known,
            _ = &mut rest => stored(&server).await,
        }
    };
    server.kill().await?;
    drop(publishers);

    hooks.up().await?;
    let server = serve(&hooks, store.path()).await?;
    server
        .poll("everything has come", Duration::from_secs(60), async |server| {
            (waiting(server).await == 0).then_some(())
        })
        .await;
    let calls = hooks.all();

    let mut seqs: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut last_of: BTreeMap<String, u64> = BTreeMap::new();
    let mut viewers = BTreeSet::new();
    for call in &calls {
        let id = call.headers.get("webhook-id").context("an id")?.to_owned();
        let number = seq(call);
        let again = seqs.contains_key(&number);
        seqs.entry(number).or_default().insert(id);
        let stream = call.body["data"]["stream"]
            .as_str()
            .context("a stream")?
            .to_owned();
        let last = last_of.entry(stream).or_default();
        assert!(
            again || number > *last,
            "in order for each stream: {number} after {last}"
        );
        *last = number.max(*last);
        viewers.insert(
            call.body["data"]["params"]
                .as_str()
                .context("parameters")?
                .to_owned(),
        );
    }
    let last = *seqs.keys().last().context("events")?;
    assert_eq!(seqs.len() as u64, last, "no number is missing");
    assert!(
        last >= known,
        "{last} of {known} that were on disk when it was killed"
    );
    assert!(
        seqs.values().all(|ids| ids.len() == 1),
        "one that comes twice has the same id"
    );
    assert_eq!(viewers.len() as u64, last);
    Ok(())
}

/// The receivers of the keys: what tells of streams and of recordings comes after a kill, in order and without a gap.
#[tokio::test]
async fn recordings_and_streams_are_told_after_a_kill() -> Result<()> {
    let mut hooks = HookServer::start_consenting().await?;
    hooks.down().await;
    let store = tempfile::tempdir()?;
    let config = format!(
        "{}durable=1\nstore_dir={}\n[hls]\nsegDur=1\nsegNum=0\nbroadcastRecordTs=1\n",
        hooks.ini(&["on_record_ts", "on_stream_changed"]),
        store.path().display(),
    );
    let mut server = tidegate().config(config.clone()).start().await?;
    let publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/a")).await?;
    let www = server.folder().join("www");
    let segments = || {
        let told = |path: &Path| path.extension().is_some_and(|extension| extension == "ts");
        files_below(&www).filter(|path| told(path)).count()
    };
    server
        .poll("segments are on disk", SOON, async |_| {
            (segments() >= 4).then_some(())
        })
        .await;
    // The newest may not have been told yet.
    let recorded = segments() - 1;
    let known = count_of(&server, "zlm", "stored").await;
    server.kill().await?;
    drop(publisher);

    hooks.up().await?;
    let server = tidegate().config(config).start().await?;
    server
        .poll("everything has come", SOON, async |server| {
            (count_of(server, "zlm", "waiting").await == 0).then_some(())
        })
        .await;
    let calls = hooks.all();
    let mut numbers: Vec<_> = calls.iter().map(seq).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    numbers.dedup();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() as u64 >= known, "{} of {known}", numbers.len());
    let of = |hook: &str| calls.iter().filter(|call| call.hook == hook).count();
    assert!(
        of("on_record_ts") >= recorded,
        "{} of {recorded}",
        of("on_record_ts")
    );
    assert!(
        of("on_stream_changed") >= 3,
        "RTMP, RTSP and HLS at least: {}",
        of("on_stream_changed")
    );
    Ok(())
}

/// All files in a folder and those below it.
fn files_below(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    Box::new(entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path)
        } else {
            Box::new(std::iter::once(path))
        }
    }))
}

#[tokio::test]
async fn attempts_are_remembered_over_a_kill_and_counted_on() -> Result<()> {
    let hooks = HookServer::start(|_| Answer::Status(503)).await?;
    let store = tempfile::tempdir()?;
    let mut server = serve(&hooks, store.path()).await?;
    let publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/a")).await?;
    online(&server, "live", "a").await;
    assert_eq!(crowd(&server, &["a"], 0..1).await, 1);
    let deliveries = async |server: &TestServer| {
        let listed = server.api("getHookDeliveries", &[("name", "own")]).await;
        listed["data"].as_array().cloned().unwrap_or_default()
    };
    // The first attempt, and the one of 5 s later.
    server
        .poll("two attempts", SOON, async |server| {
            (deliveries(server).await.len() >= 2).then_some(())
        })
        .await;
    let before = deliveries(&server).await;
    assert_eq!(
        (&before[0]["attempt"], &before[0]["status"]),
        (&2.into(), &503.into())
    );
    assert_eq!(before[0]["stream"], "__defaultVhost__/live/a");
    // Everybody sees the same: the API, and who looks at the file.
    server
        .poll("they are on disk", SOON, async |_| {
            let path = store.path().join("own/deliveries/00000000000000000001.log");
            let bytes = std::fs::read(path).unwrap_or_default();
            let id = before[0]["id"].as_str().unwrap_or("none").as_bytes();
            (bytes.windows(id.len()).filter(|window| *window == id).count() == 2).then_some(())
        })
        .await;
    server.kill().await?;
    drop(publisher);
    hooks.set_script(|_| Answer::ok());
    let server = serve(&hooks, store.path()).await?;
    let calls = hooks.wait_for(|calls| calls.len() >= 3, SOON).await;
    assert_eq!(calls[2].headers.get("tidegate-attempt"), Some("3"));
    let after = server
        .poll("the third attempt is in the log", SOON, async |server| {
            Some(deliveries(server).await).filter(|after| after.len() >= 3)
        })
        .await;
    assert_eq!(after[after.len() - 2..], before);
    assert_eq!(after[0]["id"], before[0]["id"]);
    let text = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([
            "hooks",
            "log",
            "own",
            "--result",
            "status",
            "--url",
            &server.url_http(""),
        ])
        .env("TIDEGATE_API__SECRET", server.secret())
        .run(SOON)
        .await?
        .stdout_text();
    let failed = text
        .lines()
        .filter(|line| line.contains(" 503 ") && line.contains("/live/a"));
    assert_eq!(failed.count(), 2, "{text}");
    Ok(())
}

#[tokio::test]
async fn an_orderly_stop_keeps_what_could_not_be_told() -> Result<()> {
    let mut hooks = HookServer::start(|_| Answer::ok()).await?;
    let store = tempfile::tempdir()?;
    hooks.down().await;
    let mut server = serve(&hooks, store.path()).await?;
    let publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/a")).await?;
    online(&server, "live", "a").await;
    assert_eq!(crowd(&server, &["a"], 0..20).await, 20);
    server
        .poll("all are gone", SOON, async |server| {
            (waiting(server).await >= 20).then_some(())
        })
        .await;
    server.stop(SOON).await?;
    drop(publisher);
    hooks.up().await?;
    let server = serve(&hooks, store.path()).await?;
    // The publisher's end is one more.
    let calls = hooks.wait_for(|calls| calls.len() >= 21, SOON).await;
    let mut numbers: Vec<_> = calls.iter().map(seq).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=21).collect::<Vec<_>>());
    drop(server);
    Ok(())
}
