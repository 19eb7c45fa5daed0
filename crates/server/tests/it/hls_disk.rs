//! HLS on disk: recordings, files of the hour, files that somebody is told of, and disks that take nothing.

use crate::clients::*;
use anyhow::{Context, Result};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::fixture::Fixture;
use testkit::framehash::{self, Frame, Kind, MILLISECOND_ROUNDING, assert_run};
use testkit::hook::HookServer;
use testkit::server::TestServer;
use testkit::tool::{Running, Tool};

/// Publishes a file once, four times as fast as it plays.
async fn publisher(server: &TestServer, stream: &str) -> Result<Running> {
    let file = Fixture::H264Aac.path().await?;
    Tool::ffmpeg()
        .args(["-nostdin", "-v", "error", "-readrate", "4", "-i"])
        .arg(&file)
        .args(["-map", "0", "-c", "copy", "-f", "flv", &server.url_rtmp(stream)])
        .spawn()
}

/// How frames are made alike whose container repeats parameter sets or frames AAC in ADTS.
fn filter(kind: Kind, ts: bool) -> &'static str {
    match (kind, ts) {
        (Kind::Video, true) => "filter_units=remove_types=6-9",
        (Kind::Video, false) => "h264_mp4toannexb,filter_units=remove_types=6-9",
        (Kind::Audio, true) => "aac_adtstoasc",
        (Kind::Audio, false) => "null",
    }
}

/// The frames of what ffmpeg can open: a file, or a URL.
async fn frames(what: &Path, kind: Kind, ts: bool) -> Result<Vec<Frame>> {
    let frames = framehash::of_filtered_file(what, kind, filter(kind, ts)).await;
    frames.with_context(|| what.display().to_string())
}

/// Checks that playlists, one after the other, have every frame that was published.
async fn assert_complete(playlists: &[PathBuf], ts: bool) -> Result<()> {
    let published = Fixture::H264Aac.path().await?;
    for kind in [Kind::Video, Kind::Audio] {
        let before = frames(&published, kind, false).await?;
        let mut played = Vec::new();
        for playlist in playlists {
            played.extend(frames(playlist, kind, ts).await?);
        }
        // The last frames of a file may leave ffmpeg after its goodbye.
        let start = assert_run(&before, &played, before.len() - 3, MILLISECOND_ROUNDING);
        assert!(start <= 1, "{kind:?} of {playlists:?} starts at frame {start}");
    }
    Ok(())
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Waits until a playlist on disk is complete.
async fn ended(server: &TestServer, playlist: &Path) -> String {
    server
        .poll("the playlist ends", SOON, async |_| {
            let text = std::fs::read_to_string(playlist).ok()?;
            text.ends_with("#EXT-X-ENDLIST\n").then_some(text)
        })
        .await
}

/// The media playlist that a new viewer of a stream is led to, and its URL.
async fn playlist(server: &TestServer, path: &str) -> Result<(String, String)> {
    let master = server.get(path).await?;
    assert_eq!(master.status, 200, "{}", master.text());
    let master = master.text();
    let line = master.lines().find(|line| line.starts_with("session-"));
    let folder = path.rsplit_once('/').context("a folder")?.0;
    let own = format!("{folder}/{}", line.context("a playlist of one's own")?);
    let answer = server.get(&own).await?;
    assert_eq!(answer.status, 200, "{own}: {}", answer.text());
    Ok((answer.text(), own))
}

/// Waits until a stream is registered in a schema.
async fn registered(server: &TestServer, schema: &str, app: &str, stream: &str) {
    let parameters = [
        ("schema", schema),
        ("vhost", "__defaultVhost__"),
        ("app", app),
        ("stream", stream),
    ];
    server
        .poll("the schema is registered", SOON, async |server| {
            let answer = server.api("isMediaOnline", &parameters).await;
            (answer["online"] == true).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_recording_has_every_frame_on_disk_and_over_http() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    // What is made on demand otherwise is made from the beginning. Players ask every 2 s, and must be known until the last time.
    let more = "maxStreamWaitMS=300\n[hls]\nsegNum=0\ndeleteDelaySec=5\n[protocol]\nenable_hls_fmp4=1\nhls_demand=1\n";
    let server = serve_hooked(&hooks, more).await?;
    let publisher = publisher(&server, "live/cam").await?;
    online(&server, "live", "cam").await;
    let forms = [("hls.m3u8", true), ("hls.fmp4.m3u8", false)];
    let mut players = Vec::new();
    for (name, ts) in forms {
        let copy = server.folder().join(if ts { "played.ts" } else { "played.mp4" });
        let player = Tool::ffmpeg()
            .args([
                "-nostdin",
                "-v",
                "error",
                "-copyts",
                "-live_start_index",
                "0",
                "-i",
            ])
            .arg(server.url_http(&format!("live/cam/{name}")))
            .args(["-map", "0", "-c", "copy"])
            .arg(&copy)
            .spawn()?;
        players.push((player, copy, ts));
    }
    // While it runs.
    let (text, own) = playlist(&server, "/live/cam/hls.m3u8").await?;
    assert!(text.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n"), "{text}");
    assert!(
        text.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && !text.contains("ENDLIST"),
        "{text}"
    );
    let first = text
        .lines()
        .find(|line| line.ends_with("_0.ts"))
        .context("the first segment")?;
    let url = format!("{}/{first}", own.rsplit_once('/').context("a folder")?.0);
    let segment = server.get(&url).await?;
    assert_eq!(segment.status, 200);
    assert_eq!(
        segment.headers.get("content-type"),
        Some("video/mp2t; charset=utf-8")
    );
    let folder = server.folder().join("www/live/cam");
    assert_eq!(segment.body, std::fs::read(folder.join(first))?);
    let stranger = server.get(&url.replace("session-", "session-0")).await?;
    assert_eq!(stranger.status, 404);
    assert!(publisher.wait(SOON).await?.status.success());
    // After it.
    for (name, ts) in forms {
        ended(&server, &folder.join(name)).await;
        assert_complete(&[folder.join(name)], ts).await?;
    }
    for (player, copy, ts) in players {
        let output = player.wait(SOON).await?;
        assert!(output.status.success(), "{output:?}");
        assert_complete(&[copy], ts).await?;
    }
    let hidden = files(&folder)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|ext| ext == "part"));
    assert_eq!(hidden.count(), 0);
    // When its viewers are forgotten, the stream is missing like any other.
    let before = hooks.received("on_stream_not_found").len();
    server
        .poll("the stream is missing", SOON, async |server| {
            server.get("/live/cam/hls.m3u8").await.ok()?;
            (hooks.received("on_stream_not_found").len() > before).then_some(())
        })
        .await;
    Ok(())
}

/// Without playlists of their own, viewers ask for the files where they are.
#[tokio::test]
async fn viewers_of_a_recording_are_known_by_their_cookie_too() -> Result<()> {
    let server =
        serve("[hls]\nsegNum=0\nsegDur=1\nsessionPlaylist=0\n[protocol]\nhls_save_path=./elsewhere\n")
            .await?;
    let _publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/cam")).await?;
    registered(&server, "hls", "live", "cam").await;
    let answer = server.get("/live/cam/hls.m3u8").await?;
    let text = answer.text();
    assert!(text.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n"), "{text}");
    let first = text
        .lines()
        .find(|line| line.ends_with("_0.ts"))
        .context("the first segment")?;
    let cookie = answer.headers.get("set-cookie").context("a cookie")?;
    let cookie = cookie.split(';').next().unwrap_or_default();
    let url = format!("/live/cam/{first}");
    let get = async |cookie: &str| {
        let to = server.address("http");
        testkit::http::request(to, "GET", &url, &[("Cookie", cookie)], &[], SOON).await
    };
    let segment = get(cookie).await?;
    assert_eq!(segment.status, 200);
    assert_eq!(
        segment.body,
        std::fs::read(server.folder().join("elsewhere/live/cam").join(first))?
    );
    // The token of nobody.
    let stranger = get(&format!("ZLM_HTTP_COOKIE={}", "0".repeat(32))).await?;
    assert_eq!(stranger.status, 404);
    Ok(())
}

#[tokio::test]
async fn a_recording_that_a_crash_left_is_not_a_live_stream() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let server = serve_hooked(&hooks, "maxStreamWaitMS=300\n[hls]\nsegNum=0\n").await?;
    let folder = server.folder().join("www/live/cam");
    std::fs::create_dir_all(&folder)?;
    let text = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n";
    std::fs::write(folder.join("hls.m3u8"), text)?;
    let answer = server.get("/live/cam/hls.m3u8").await?;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(hooks.received("on_stream_not_found").len(), 1);
    assert_eq!(std::fs::read_to_string(folder.join("hls.m3u8"))?, text);
    Ok(())
}

#[tokio::test]
async fn the_files_of_each_hour_are_kept_beside_the_live_playlist() -> Result<()> {
    let server = serve("[hls]\nsegKeep=1\nsegRetain=0\n[protocol]\nenable_hls_fmp4=1\n").await?;
    let publisher = publisher(&server, "live/cam").await?;
    registered(&server, "hls", "live", "cam").await;
    let (text, _) = playlist(&server, "/live/cam/hls.m3u8").await?;
    assert!(!text.contains("EVENT") && !text.contains('_'), "{text}");
    assert!(publisher.wait(SOON).await?.status.success());
    offline(&server, "live", "cam").await;
    let folder = server.folder().join("www/live/cam");
    for (name, ts) in [("vod.m3u8", true), ("vod.fmp4.m3u8", false)] {
        // Two, if the test runs when an hour begins.
        let playlists: Vec<PathBuf> = files(&folder)
            .into_iter()
            .filter(|file| file.ends_with(name))
            .collect();
        let last = playlists.last().context("a playlist")?;
        ended(&server, last).await;
        assert_complete(&playlists, ts).await?;
    }
    assert!(!folder.join("hls.m3u8").exists());
    Ok(())
}

#[tokio::test]
async fn each_file_is_told_of_and_removed_later() -> Result<()> {
    let hooks = HookServer::start_consenting().await?;
    let config = format!(
        "{}[general]\nmediaServerId=test\n[hls]\nsegDur=1\nsegNum=1\nsegRetain=0\ndeleteDelaySec=1\n[protocol]\nenable_hls_fmp4=1\n",
        hooks.ini(&["on_record_ts"])
    );
    let server = serve(&config).await?;
    let url = format!("{}?k=v", server.url_rtmp("live/rec1"));
    let publisher = publish(Fixture::H264AacShortGop, &url).await?;
    registered(&server, "hls", "live", "rec1").await;
    let folder = server.folder().join("www/live/rec1");
    assert!(!server.folder().join("www").exists(), "nothing is to be kept");
    let set = server
        .api("setServerConfig", &[("hls.broadcastRecordTs", "1")])
        .await;
    assert_eq!(set["changed"], 1, "{set}");
    for (case, suffix) in [("on_record_ts.ts", ".ts"), ("on_record_ts.fmp4", ".mp4")] {
        let is_of_form = |name: &str| name.ends_with(suffix);
        let call = hooks
            .wait_for_call(
                "on_record_ts",
                |call| call.body["file_name"].as_str().is_some_and(is_of_form),
                SOON,
            )
            .await;
        let changing = [
            "file_name",
            "file_path",
            "file_size",
            "folder",
            "hook_index",
            "mediaServerId",
            "start_time",
            "time_len",
            "url",
        ];
        call.assert_like_golden(case, &changing);
        let text = |name: &str| {
            call.body[name]
                .as_str()
                .map(str::to_owned)
                .context(name.to_owned())
        };
        let name = text("file_name")?;
        // Links on the way to temporary folders are nobody's business here.
        assert_eq!(
            std::fs::canonicalize(text("folder")?)?,
            std::fs::canonicalize(&folder)?
        );
        assert_eq!(text("file_path")?, format!("{}/{name}", text("folder")?));
        assert_eq!(text("url")?, format!("live/rec1/{name}"));
        let length = call.body["time_len"].as_f64().context("a length")?;
        assert!((0.3..3.0).contains(&length), "{length}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let start = call.body["start_time"].as_u64().context("a time")?;
        assert!((now - 60..=now).contains(&start), "{start} at {now}");
    }
    // The newest one is there to be fetched.
    let newest = server
        .poll("a file is there", SOON, async |_| {
            let call = hooks.received("on_record_ts").pop()?;
            let size = std::fs::metadata(call.body["file_path"].as_str()?).ok()?.len();
            (call.body["file_size"] == size).then_some(call)
        })
        .await;
    let newest = PathBuf::from(newest.body["file_path"].as_str().context("a path")?);
    server
        .poll("it is removed while the stream goes on", SOON, async |_| {
            (!newest.exists()).then_some(())
        })
        .await;
    assert!(!files(&folder).is_empty());
    assert!(!folder.join("hls.m3u8").exists());
    publisher.terminate(SOON).await?;
    server
        .poll("everything is removed", SOON, async |server| {
            let www = server.folder().join("www");
            (std::fs::read_dir(www).ok()?.count() == 0).then_some(())
        })
        .await;
    Ok(())
}

#[tokio::test]
async fn a_disk_that_takes_nothing_leaves_the_stream_playing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Not even a superuser can make a folder in a file.
    std::fs::write(folder.path().join("full"), "")?;
    let config = "[hls]\nsegNum=0\n[protocol]\nhls_save_path=./full\n";
    let server = tidegate().folder(folder).config(config).start().await?;
    let publisher = publish_live(&server, "live/cam").await?;
    let line = server.wait_for_log("HLS cannot be written to disk", SOON).await;
    assert!(
        line.contains("full/live/cam/") && line.contains("Not a directory"),
        "{line}"
    );
    // From memory instead.
    let (text, own) = playlist(&server, "/live/cam/hls.m3u8").await?;
    assert!(!text.contains("EVENT"), "{text}");
    let name = text
        .lines()
        .find(|line| line.ends_with(".ts"))
        .context("a segment")?;
    let url = format!("{}/{name}", own.rsplit_once('/').context("a folder")?.0);
    assert_eq!(server.get(&url).await?.status, 200);
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    let metrics = server.get("/metrics").await?.text();
    let errors = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tidegate_hls_file_errors_total "));
    assert!(errors.is_some_and(|count| count != "0"), "{errors:?}");
    let told = server
        .log()
        .into_iter()
        .filter(|line| line.contains("HLS cannot be written"));
    assert_eq!(told.count(), 1);
    drop(publisher);
    Ok(())
}

/// A server that records a stream four times as fast as it plays, on a disk that does not answer: the files that it writes first are
/// pipes that nobody reads.
async fn stalled() -> Result<(TestServer, Running, Vec<PathBuf>)> {
    let config = "[general]\ngrace_sec=1\n[hls]\nsegNum=0\nsegRetain=0\n";
    let server = tidegate().env("TZ", "UTC").config(config).start().await?;
    let folder = server.folder().join("www/live/cam");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut pipes = Vec::new();
    // One of these will be the time of the first segment.
    for unix in now.saturating_sub(5)..now + 90 {
        let moment = jiff::Timestamp::from_second(unix.try_into()?)?;
        let path = folder.join(moment.strftime("%Y-%m-%d/%H/.%M-%S_0.ts.part").to_string());
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        pipes.push(path);
    }
    let made = Tool::new("mkfifo").args(&pipes).run(SOON).await?;
    assert!(made.status.success(), "{made:?}");
    let file = Fixture::H264Aac.path().await?;
    let publisher = Tool::ffmpeg()
        .args([
            "-nostdin",
            "-v",
            "error",
            "-readrate",
            "4",
            "-stream_loop",
            "-1",
            "-i",
        ])
        .arg(&file)
        .args(["-c", "copy", "-f", "flv", &server.url_rtmp("live/cam")])
        .spawn()?;
    registered(&server, "hls", "live", "cam").await;
    Ok((server, publisher, pipes))
}

#[tokio::test]
async fn a_disk_that_does_not_answer_costs_segments_and_nothing_else() -> Result<()> {
    let (mut server, publisher, pipes) = stalled().await?;
    let folder = server.folder().join("www/live/cam");
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    // Far beyond what is retained.
    for _ in 0..25 * 30 {
        viewer.picture().await?;
    }
    assert!(!folder.join("hls.m3u8").exists());
    // Viewers of HLS do not wait for it either, and stay with what they were given.
    let (text, own) = playlist(&server, "/live/cam/hls.m3u8").await?;
    assert!(!text.contains("EVENT"), "{text}");
    let open = |pipe: &PathBuf| {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK).open(pipe)
    };
    let mut readers = pipes.iter().map(open).collect::<std::io::Result<Vec<_>>>()?;
    let text = server
        .poll("the recording goes on", SOON, async |_| {
            let mut bytes = vec![0; 1 << 20];
            for reader in &mut readers {
                let _ = reader.read(&mut bytes);
            }
            let text = std::fs::read_to_string(folder.join("hls.m3u8")).ok()?;
            (text.matches("#EXTINF").count() > 3).then_some(text)
        })
        .await;
    let (first, rest) = text.split_once("_0.ts\n").context("the first segment")?;
    assert_eq!(first.matches("#EXTINF").count(), 1, "{text}");
    assert!(rest.starts_with("#EXT-X-DISCONTINUITY\n"), "{text}");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY").count(), 1, "{text}");
    let line = server.wait_for_log("the disk is too slow", SOON).await;
    assert!(line.contains("www/live/cam"), "{line}");
    let metrics = server.get("/metrics").await?.text();
    let missed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tidegate_hls_files_missed_total "));
    assert!(missed.context("a count")?.parse::<u64>()? > 5, "{missed:?}");
    let text = server.get(&own).await?.text();
    assert!(text.starts_with("#EXTM3U") && !text.contains("EVENT"), "{text}");
    viewer.picture().await?;
    drop(publisher);
    assert!(server.stop(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn a_disk_that_does_not_answer_does_not_keep_the_server() -> Result<()> {
    let (mut server, publisher, _pipes) = stalled().await?;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    viewer.picture().await?;
    assert!(server.stop(Duration::from_secs(20)).await?.success());
    server.wait_for_log("tasks that did not end in time", SOON).await;
    drop(publisher);
    Ok(())
}

#[tokio::test]
async fn names_do_not_leave_the_folder() -> Result<()> {
    let server = serve("[hls]\nsegNum=0\n[protocol]\nhls_save_path=./www/below\n").await?;
    let publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/../../../evil")).await?;
    server
        .wait_for_log("\"..\" cannot be the name of a folder", SOON)
        .await;
    online(&server, "live", "../../../evil").await;
    // It is a stream like any other but for that.
    let viewer = FlvViewer::open(&server, "live/%2e%2e/%2e%2e/%2e%2e/evil").await?;
    assert_eq!(viewer.status(), 200, "{}", viewer.head);
    assert_eq!(files(&server.folder().join("www")), Vec::<PathBuf>::new());
    assert!(!server.folder().join("evil").exists());
    drop(publisher);
    Ok(())
}

/// What the last segment of a stopped server was is on disk, and its playlist is complete.
#[tokio::test]
async fn a_stopped_server_ends_its_recordings() -> Result<()> {
    let mut server = serve("[hls]\nsegNum=0\nsegDur=1\n").await?;
    let publisher = publish(Fixture::H264AacShortGop, &server.url_rtmp("live/cam")).await?;
    registered(&server, "hls", "live", "cam").await;
    assert!(server.stop(Duration::from_secs(20)).await?.success());
    let text = std::fs::read_to_string(server.folder().join("www/live/cam/hls.m3u8"))?;
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    drop(publisher);
    Ok(())
}
