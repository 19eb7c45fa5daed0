//! Playlists that are made as they are played.

use super::*;
use media::MediaKind;
use std::time::Instant;

/// An ffmpeg that packages a file in real time, again and again, with segments of a second.
async fn packager(site: &Site, more: &[&str]) -> Result<Running> {
    let file = Fixture::H264AacShortGop.path().await?;
    Tool::ffmpeg_new()?
        .args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(file)
        .args(["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "6"])
        .args(more)
        .current_dir(site.path(""))
        .spawn()
}

/// Frames come as evenly as the source makes them, not a segment at a time.
#[tokio::test]
async fn a_live_source_is_smooth() -> Result<()> {
    for segments in ["mpegts", "fmp4"] {
        let site = Site::new().await?;
        let _packager = packager(
            &site,
            &[
                "-hls_flags",
                "delete_segments",
                "-hls_segment_type",
                segments,
                "list.m3u8",
            ],
        )
        .await?;
        packaged(&site.path("list.m3u8"), 4).await?;
        let server = serve("").await?;
        let asked = Instant::now();
        let url = site.origin.url("list.m3u8");
        let answer = server.api("addStreamProxy", &once(&url, &[])).await;
        assert_eq!(answer["code"], 0, "{answer}");
        let opened = asked.elapsed();
        assert!(opened < Duration::from_secs(3), "opened after {opened:?}");
        let mut viewer = FlvViewer::open(&server, "live/cam").await?;
        // What a viewer gets at once to begin with is over after this.
        for _ in 0..25 {
            viewer.picture().await?;
        }
        let mut last: Option<(Instant, i64)> = None;
        let (mut began, mut worst) = (None, 0);
        for _ in 0..75 {
            let picture = viewer.picture().await?;
            let (now, time) = (Instant::now(), picture.dts.as_millis());
            let start = *began.get_or_insert((now, time));
            if let Some((before, sent)) = last {
                assert_eq!(time - sent, 40, "no picture is missing");
                worst = worst.max(now.duration_since(before).as_millis());
            }
            let drift = now.duration_since(start.0).as_millis() as i64 - (time - start.1);
            assert!(drift.abs() < 700, "{drift} ms off after {} ms", time - start.1);
            last = Some((now, time));
        }
        assert!(worst < 700, "nothing came for {worst} ms");
    }
    Ok(())
}

/// Two playlists, one stream: sound and picture are together.
#[tokio::test]
async fn a_live_source_with_sound_of_its_own() -> Result<()> {
    let site = Site::new().await?;
    let map = "v:0,agroup:sound a:0,agroup:sound,default:yes";
    let format = [
        "-map",
        "0",
        "-master_pl_name",
        "master.m3u8",
        "-var_stream_map",
        map,
        "list_%v.m3u8",
    ];
    let _packager = packager(&site, &format).await?;
    packaged(&site.path("list_0.m3u8"), 3).await?;
    packaged(&site.path("list_1.m3u8"), 3).await?;
    let server = serve("").await?;
    let url = site.origin.url("master.m3u8");
    let answer = server.api("addStreamProxy", &once(&url, &[])).await;
    assert_eq!(answer["code"], 0, "{answer}");
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    while pictures.len() < 100 {
        let frame = viewer.frame().await?;
        match viewer.kind(&frame) {
            Some(MediaKind::Video) => pictures.push(frame.dts.as_millis()),
            Some(MediaKind::Audio) => sounds.push(frame.dts.as_millis()),
            None => {}
        }
        // After a second both are there, and neither runs ahead.
        if pictures.len() > 25 {
            let (picture, sound) = (
                pictures.last().context("a picture")?,
                sounds.last().context("sound")?,
            );
            assert!(
                (picture - sound).abs() < 500,
                "picture at {picture}, sound at {sound}"
            );
        }
    }
    assert!(
        pictures.windows(2).all(|pair| pair[1] - pair[0] == 40),
        "{pictures:?}"
    );
    assert!(
        sounds
            .windows(2)
            .all(|pair| (23..=24).contains(&(pair[1] - pair[0]))),
        "{sounds:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_source_that_stops_and_returns() -> Result<()> {
    let site = Site::new().await?;
    let running = packager(
        &site,
        &["-hls_flags", "delete_segments+omit_endlist", "list.m3u8"],
    )
    .await?;
    packaged(&site.path("list.m3u8"), 3).await?;
    let server = serve("").await?;
    let url = site.origin.url("list.m3u8");
    let parameters = [&proxy("live", "cam", &url)[..], &[("media_timeout_ms", "1000")]].concat();
    let answer = server.api("addStreamProxy", &parameters).await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&server, "live", "cam").await;
    running.kill().await?;
    let reason = in_state(&server, "backing_off").await;
    assert!(reason.contains("receive hls media timeout"), "{reason}");
    let _running = packager(&site, &["-hls_flags", "delete_segments", "list.m3u8"]).await?;
    in_state(&server, "live").await;
    online(&server, "live", "cam").await;
    FlvViewer::open(&server, "live/cam").await?.picture().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back() -> Result<()> {
    let mut site = Site::new().await?;
    let _running = packager(&site, &["-hls_flags", "delete_segments", "list.m3u8"]).await?;
    packaged(&site.path("list.m3u8"), 3).await?;
    let server = serve("").await?;
    let url = site.origin.url("list.m3u8");
    let answer = server.api("addStreamProxy", &proxy("live", "cam", &url)).await;
    assert_eq!(answer["code"], 0, "{answer}");
    site.origin.down().await;
    let reason = in_state(&server, "backing_off").await;
    assert!(reason.contains("connection refused"), "{reason}");
    site.origin.up().await?;
    in_state(&server, "live").await;
    Ok(())
}

/// A packager that was started anew counts from 0 again: the same pull goes on.
#[tokio::test]
async fn a_packager_that_counts_anew() -> Result<()> {
    let site = Site::new().await?;
    let first = packager(
        &site,
        &[
            "-hls_flags",
            "delete_segments+omit_endlist",
            "-start_number",
            "500",
            "list.m3u8",
        ],
    )
    .await?;
    packaged(&site.path("list.m3u8"), 3).await?;
    let server = serve("").await?;
    let url = site.origin.url("list.m3u8");
    let parameters = once(&url, &[("media_timeout_ms", "20000")]);
    let answer = server.api("addStreamProxy", &parameters).await;
    assert_eq!(answer["code"], 0, "{answer}");
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    let mut last = viewer.picture().await?.dts;
    first.kill().await?;
    let _second = packager(&site, &["-hls_flags", "delete_segments", "list.m3u8"]).await?;
    // Beyond what the first one has made.
    site.origin
        .wait_for(
            "segment of the second",
            |request| request.path() == "list2.ts",
            SOON,
        )
        .await;
    for _ in 0..100 {
        let picture = viewer.picture().await?;
        assert!(picture.dts >= last, "time goes on");
        last = picture.dts;
    }
    let entry = entry(&server).await.context("the pull")?;
    assert_eq!(
        (&entry["state"], &entry["rePullCount"]),
        (&"live".into(), &0.into()),
        "{entry}"
    );
    Ok(())
}

#[tokio::test]
async fn http_ts_from_an_ffmpeg_that_listens() -> Result<()> {
    // ffmpeg tells no port that it chose: this one was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}/cam.ts");
    let _source = Tool::ffmpeg_new()?
        .args(["-nostdin", "-re", "-stream_loop", "-1", "-i"])
        .arg(Fixture::H264AacShortGop.path().await?)
        .args(["-c", "copy", "-f", "mpegts", "-listen", "1", &url])
        .spawn()?;
    let server = serve("").await?;
    // It is tried again until ffmpeg listens.
    let parameters = [&proxy("live", "cam", &url)[..], &[("force", "1")]].concat();
    let answer = server.api("addStreamProxy", &parameters).await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&server, "live", "cam").await;
    let mut viewer = FlvViewer::open(&server, "live/cam").await?;
    for _ in 0..25 {
        viewer.picture().await?;
    }
    Ok(())
}
