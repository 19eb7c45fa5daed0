//! Sources with faults, and what is sent to them.

use super::*;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use testkit::origin::Answer;

/// A site with a playlist of fMP4 segments of two seconds.
async fn site() -> Result<Site> {
    let site = Site::new().await?;
    let format = [
        "-f",
        "hls",
        "-hls_time",
        "2",
        "-hls_playlist_type",
        "vod",
        "-hls_segment_type",
        "fmp4",
        "list.m3u8",
    ];
    site.package(Fixture::H264Aac, &format).await?;
    Ok(site)
}

/// Why a source cannot be pulled.
async fn refusal(server: &TestServer, url: &str, more: &[(&'static str, &str)]) -> String {
    let answer = server.api("addStreamProxy", &once(url, more)).await;
    assert_eq!(answer["code"], -1, "{answer}");
    answer["msg"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn headers_and_redirects_reach_every_request() -> Result<()> {
    let (site, elsewhere) = (site().await?, site().await?);
    let moved = elsewhere.origin.url("list.m3u8");
    site.origin.set_script(move |_| Answer::Redirect(moved.clone()));
    let server = serve("").await?;
    let more = [("custom_header", "X-Token=abc&Cookie=secret")];
    let url = site.origin.url("start.m3u8").replace("//", "//user:pw@");
    let played = pulled(&server, &url, &more).await?;
    compare(Fixture::H264Aac, &played, &[Kind::Video, Kind::Audio]).await?;
    let first = site.origin.all().remove(0);
    assert_eq!(first.headers.get("x-token"), Some("abc"));
    assert_eq!(first.headers.get("cookie"), Some("secret"));
    assert_eq!(first.headers.get("authorization"), Some("Basic dXNlcjpwdw=="));
    let others = elsewhere.origin.all();
    assert!(
        others.len() >= 4,
        "playlist, initialization, two segments: {others:?}"
    );
    for request in others {
        assert_eq!(request.headers.get("x-token"), Some("abc"), "{}", request.target);
        assert_eq!(request.headers.get("cookie"), None, "{}", request.target);
        assert_eq!(request.headers.get("authorization"), None, "{}", request.target);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer() -> Result<()> {
    let site = site().await?;
    site.origin.set_script(|_| Answer::Last);
    let server = serve("").await?;
    let played = pulled(&server, &site.origin.url("list.m3u8"), &[]).await?;
    compare(Fixture::H264Aac, &played, &[Kind::Video, Kind::Audio]).await?;
    let connections: Vec<_> = site
        .origin
        .all()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert!(
        connections.len() >= 4 && connections.is_sorted_by(|a, b| a < b),
        "{connections:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_resets_a_connection_when_it_is_used_again() -> Result<()> {
    let site = site().await?;
    let seen = Mutex::new(HashSet::new());
    site.origin.set_script(move |request| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(request.connection) {
            Answer::File
        } else {
            Answer::Reset
        }
    });
    let server = serve("").await?;
    let played = pulled(&server, &site.origin.url("list.m3u8"), &[]).await?;
    compare(Fixture::H264Aac, &played, &[Kind::Video, Kind::Audio]).await?;
    Ok(())
}

#[tokio::test]
async fn a_segment_that_is_missing_is_left_out() -> Result<()> {
    let site = site().await?;
    site.origin.set_script(|request| match request.path() {
        "list0.m4s" => Answer::Status(404),
        _ => Answer::File,
    });
    let server = serve("").await?;
    let played = pulled(&server, &site.origin.url("list.m3u8"), &[]).await?;
    let before = frames(&Fixture::H264Aac.path().await?, Kind::Video).await?;
    let after = frames(&played, Kind::Video).await?;
    assert_eq!(
        assert_run(&before, &after, nearly(Kind::Video, LENGTH - 2), ROUNDING),
        50
    );
    server.wait_for_log("a segment was left out", SOON).await;
    let metrics = server.get("/metrics").await?.text();
    let segments = std::fs::read_to_string(site.path("list.m3u8"))?
        .matches("#EXTINF")
        .count();
    for line in [
        format!("tidegate_hls_pull_segments_total {}\n", segments - 1),
        "tidegate_hls_pull_segments_lost_total 1\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn a_segment_that_is_cut_off_does_not_spoil_the_next() -> Result<()> {
    let site = site().await?;
    let whole = std::fs::read(site.path("list0.m4s"))?;
    let half = whole[..whole.len() / 2].to_vec();
    site.origin.set_script(move |request| match request.path() {
        "list0.m4s" => Answer::Stuck(half.clone()),
        _ => Answer::File,
    });
    let server = serve("").await?;
    let more = [("media_timeout_ms", "500")];
    let played = pulled(&server, &site.origin.url("list.m3u8"), &more).await?;
    let after = frames(&played, Kind::Video).await?;
    let before = frames(&Fixture::H264Aac.path().await?, Kind::Video).await?;
    assert_eq!(
        assert_run(&before, &after, nearly(Kind::Video, LENGTH - 2), ROUNDING),
        50
    );
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_played_is_told_at_once() -> Result<()> {
    let site = site().await?;
    let server = serve("").await?;
    let list = |body: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{body}#EXT-X-ENDLIST\n").into_bytes();
    let bodies = [
        ("html", b"<html></html>".to_vec(), "not an HLS playlist"),
        (
            "scheme",
            list("#EXTINF:2,\nfile:///etc/passwd\n"),
            "not an http or https URL",
        ),
        (
            "drm",
            list("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:2,\na.ts\n"),
            "SAMPLE-AES",
        ),
        ("audio", list("#EXTINF:2,\npacked\n"), "packed audio"),
        ("empty", list(""), "no media"),
        (
            "codecs",
            b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"ac-4\"\nx\n".to_vec(),
            "ac-4",
        ),
        (
            "nested",
            b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nnested\n".to_vec(),
            "a master playlist stands",
        ),
        ("packed", b"ID3\x04 and so on".to_vec(), "not an HLS playlist"),
        (
            "metadata",
            list("#EXTINF:2,\nhttp://169.254.169.254/x.ts\n"),
            "link-local",
        ),
        (
            "lost",
            list("#EXTINF:2,\na\n#EXTINF:2,\nb\n#EXTINF:2,\nc\n"),
            "3 segments in a row could not be used",
        ),
    ];
    let answers = bodies.clone();
    site.origin.set_script(move |request| {
        let found = answers.iter().find(|(name, ..)| request.path() == *name);
        found.map_or(Answer::File, |(_, body, _)| Answer::Body(body.clone()))
    });
    for (name, _, reason) in bodies {
        let told = refusal(&server, &site.origin.url(name), &[("schema", "hls")]).await;
        assert!(told.contains(reason), "{name}: {told}");
    }
    let told = refusal(&server, &site.origin.url("none.m3u8"), &[]).await;
    assert!(told.contains("404"), "{told}");
    Ok(())
}

#[tokio::test]
async fn answers_without_end_and_without_haste_have_bounds() -> Result<()> {
    let site = site().await?;
    let server = serve("").await?;
    site.origin.set_script(|request| match request.path() {
        "endless.m3u8" => Answer::Endless("#EXTM3U is repeated\n"),
        "slow.m3u8" => Answer::Stuck(b"#EXTM3U\n".to_vec()),
        "loop.m3u8" => Answer::Redirect("/loop.m3u8".into()),
        _ => Answer::Endless("\0\0\0\x08free"),
    });
    let told = refusal(&server, &site.origin.url("endless.m3u8"), &[]).await;
    assert!(told.contains("longer than allowed (1048576 bytes)"), "{told}");
    let told = refusal(&server, &site.origin.url("loop.m3u8"), &[]).await;
    assert!(told.contains("more than 5 redirects"), "{told}");
    let mut parameters = once("", &[]);
    parameters.retain(|(name, _)| !["timeout_sec", "url"].contains(name));
    let url = site.origin.url("slow.m3u8");
    parameters.extend([("timeout_sec", "1"), ("url", url.as_str())]);
    let answer = server.api("addStreamProxy", &parameters).await;
    assert_eq!(
        (&answer["code"], &answer["msg"]),
        (&(-1).into(), &"play hls timeout".into()),
        "{answer}"
    );
    Ok(())
}
