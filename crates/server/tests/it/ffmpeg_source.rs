//! ffmpeg sources: started, supervised, restarted, ended, and never left behind.

use crate::clients::*;
use anyhow::{Context, Result};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::fixture::Fixture;
use testkit::hook::{Answer, HookServer};
use testkit::server::TestServer;
use tokio::net::TcpListener;

const COPY: &str = "[ffmpeg]\ncmd=%s -nostdin -hide_banner -re -stream_loop -1 -i %s -c copy -f flv %s\n";

/// Processes that have `word` in their command line, zombies included.
fn processes(word: &str) -> Vec<u32> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
        .collect()
}

/// Children of a process that ended and were not reaped.
fn zombies_of(parent: u32) -> usize {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let stats = all
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&parent.to_string().as_str())
        })
        .count()
}

async fn none_left(word: &str) {
    let gone = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while !processes(word).is_empty() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(SOON, gone)
        .await
        .unwrap_or_else(|_| panic!("left: {:?}", processes(word)));
}

async fn add(server: &TestServer, source: &str, stream: &str, timeout_ms: &str) -> serde_json::Value {
    let destination = server.url_rtmp(stream);
    server
        .api(
            "addFFmpegSource",
            &[
                ("src_url", source),
                ("dst_url", &destination),
                ("timeout_ms", timeout_ms),
            ],
        )
        .await
}

async fn file() -> Result<String> {
    Ok(Fixture::H264Aac
        .path()
        .await?
        .to_str()
        .context("a path")?
        .to_owned())
}

#[tokio::test]
async fn on_demand_by_hook_and_closed_with_its_process() -> Result<()> {
    let hooks = HookServer::start(|call| match call.hook.as_str() {
        "on_stream_none_reader" => Answer::Json(json!({"code": 0, "close": true})),
        _ => Answer::ok(),
    })
    .await?;
    let server = serve_hooked(&hooks, COPY).await?;
    let opening = FlvViewer::ask(server.address("http"), "live/ff").await?;
    hooks.wait_for_call("on_stream_not_found", |_| true, SOON).await;
    let answer = add(&server, &file().await?, "live/ff", "15000").await;
    assert_eq!(answer["code"], 0, "{answer}");
    let mut viewer = opening.await?;
    assert!(viewer.picture().await?.key);
    let parameters = [
        ("schema", "rtmp"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "ff"),
    ];
    let info = server.api("getMediaInfo", &parameters).await;
    assert_eq!(
        (&info["originType"], &info["originTypeStr"]),
        (&json!(5), &json!("ffmpeg_pull")),
        "{info}"
    );
    let destination = server.url_rtmp("live/ff");
    assert_eq!(processes(&destination).len(), 1);
    assert_eq!(
        hooks.received("on_publish").len(),
        1,
        "its push is asked about like any other"
    );
    let again = add(&server, "another", "live/ff", "15000").await;
    assert_eq!(
        (&again["code"], &again["data"]["key"]),
        (&json!(0), &answer["data"]["key"])
    );
    drop(viewer);
    offline(&server, "live", "ff").await;
    none_left(&destination).await;
    assert_eq!(server.api("listFFmpegSource", &[]).await, json!({"code": 0}));
    assert_eq!(zombies_of(server.pid()), 0);
    Ok(())
}

#[tokio::test]
async fn a_killed_ffmpeg_is_restarted_and_its_viewers_stay() -> Result<()> {
    let server = serve(COPY).await?;
    assert_eq!(add(&server, &file().await?, "live/ff", "15000").await["code"], 0);
    let mut viewer = FlvViewer::open(&server, "live/ff").await?;
    viewer.picture().await?;
    let destination = server.url_rtmp("live/ff");
    let old = processes(&destination);
    rustix_kill(old[0]);
    server.wait_for_log("is kept for it", SOON).await;
    server.wait_for_log("the publisher is back", SOON).await;
    for _ in 0..200 {
        viewer.picture().await?;
    }
    let new = processes(&destination);
    assert_eq!(new.len(), 1);
    assert_ne!(old, new);
    assert_eq!(zombies_of(server.pid()), 0);
    Ok(())
}

fn rustix_kill(pid: u32) {
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
}

#[tokio::test]
async fn a_source_that_cannot_be_opened_is_reported_at_once_with_its_reason() -> Result<()> {
    let server = serve(COPY).await?;
    let began = Instant::now();
    let answer = add(&server, "/nowhere/cam.mp4", "live/ff", "60000").await;
    assert_eq!(answer["code"], -1, "{answer}");
    let text = answer["msg"].as_str().unwrap_or_default();
    assert!(text.starts_with("ffmpeg已经退出,exit code = 1"), "{text}");
    assert!(text.contains("No such file or directory"), "{text}");
    assert!(began.elapsed() < SOON);
    none_left(&server.url_rtmp("live/ff")).await;
    Ok(())
}

#[tokio::test]
async fn a_source_that_hangs_is_reported_within_its_timeout_and_leaves_no_process() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let server = serve(COPY).await?;
    let source = format!("rtmp://127.0.0.1:{}/live/none", silent.local_addr()?.port());
    let began = Instant::now();
    let answer = add(&server, &source, "live/ff", "1500").await;
    assert_eq!(
        (&answer["code"], &answer["msg"]),
        (&json!(-1), &json!("等待超时")),
        "{answer}"
    );
    assert!(began.elapsed() >= Duration::from_millis(1500));
    none_left(&server.url_rtmp("live/ff")).await;
    assert_eq!(server.api("listFFmpegSource", &[]).await, json!({"code": 0}));
    Ok(())
}

fn wrapper(folder: &Path) -> Result<String> {
    let path = folder.join("wrapper.sh");
    std::fs::write(&path, "#!/bin/sh\nffmpeg \"$@\"\n")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path.to_str().context("a path")?.to_owned())
}

#[tokio::test]
async fn a_server_killed_with_sigkill_leaves_no_process_not_even_behind_a_wrapper() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bin = wrapper(folder.path())?;
    let mut server = serve(&format!("{COPY}bin={bin}\n")).await?;
    let answer = add(&server, &file().await?, "live/ff", "15000").await;
    assert_eq!(answer["code"], 0, "{answer}");
    let destination = server.url_rtmp("live/ff");
    assert_eq!(processes(&destination).len(), 2, "the wrapper and its ffmpeg");
    server.kill().await?;
    none_left(&destination).await;
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_ends_its_processes() -> Result<()> {
    let mut server = serve(COPY).await?;
    assert_eq!(add(&server, &file().await?, "live/ff", "15000").await["code"], 0);
    let destination = server.url_rtmp("live/ff");
    assert!(server.stop(SOON).await?.success());
    assert!(processes(&destination).is_empty(), "ended before the server did");
    Ok(())
}

#[tokio::test]
async fn sources_can_be_added_and_removed_quickly() -> Result<()> {
    let server = serve(COPY).await?;
    let source = file().await?;
    for round in 0..5 {
        let added = add(&server, &source, "live/ff", "15000").await;
        assert_eq!(added["code"], 0, "round {round}: {added}");
        let key = added["data"]["key"].as_str().context("a key")?.to_owned();
        // WVP removes ffmpeg sources by delStreamProxy as well.
        let remove = if round % 2 == 0 {
            "delFFmpegSource"
        } else {
            "delStreamProxy"
        };
        let removed = server.api(remove, &[("key", &key)]).await;
        assert_eq!(
            (&removed["code"], &removed["data"]["flag"]),
            (&json!(0), &json!(true)),
            "{removed}"
        );
        offline(&server, "live", "ff").await;
    }
    none_left(&server.url_rtmp("live/ff")).await;
    assert_eq!(zombies_of(server.pid()), 0);
    Ok(())
}

#[tokio::test]
async fn a_rule_with_ffmpeg_needs_no_hook_service() -> Result<()> {
    let source = file().await?;
    let rule = format!(
        "[ffmpeg]\ncmd = \"%s -nostdin -re -stream_loop -1 -i %s -c copy -f flv %s\"\n\
         [[source]]\npattern = \"cam/file\"\nurl = \"ffmpeg://{source}\"\nclose_after = \"300ms\"\n"
    );
    let server = tidegate().toml(rule).start().await?;
    let mut viewer = FlvViewer::open(&server, "cam/file").await?;
    assert_eq!(viewer.status(), 200, "{}", viewer.head);
    viewer.picture().await?;
    drop(viewer);
    offline(&server, "cam", "file").await;
    none_left(&server.url_rtmp("cam/file")).await;
    Ok(())
}
