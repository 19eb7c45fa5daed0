//! Playlists that have ended: what comes out is what went in, frame by frame, at its pace.

use super::*;
use std::time::Instant;

const BOTH: [Kind; 2] = [Kind::Video, Kind::Audio];

/// Packages a file, pulls it, and compares.
async fn through(fixture: Fixture, format: &[&str], entry: &str) -> Result<Site> {
    let site = Site::new().await?;
    site.package(fixture, format).await?;
    let server = serve("").await?;
    let began = Instant::now();
    let played = pulled(&server, &site.origin.url(entry), &[]).await?;
    let took = began.elapsed();
    compare(fixture, &played, &BOTH).await?;
    // The last frame is due a frame before the end.
    let shortest = Duration::from_millis(LENGTH as u64 * 1000 - 200);
    assert!(took >= shortest, "{LENGTH} s of media were over in {took:?}");
    Ok(site)
}

const TS: [&str; 6] = ["-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod"];

#[tokio::test]
async fn segments_of_mpeg_ts() -> Result<()> {
    let site = through(Fixture::H264Aac, &[&TS[..], &["list.m3u8"]].concat(), "list.m3u8").await?;
    // One connection carries it all.
    let requests = site.origin.all();
    assert!(requests.len() >= 3, "{requests:?}");
    assert!(
        requests.iter().all(|request| request.connection == 0),
        "{requests:?}"
    );
    Ok(())
}

#[tokio::test]
async fn segments_of_fmp4() -> Result<()> {
    let format = [&TS[..], &["-hls_segment_type", "fmp4", "list.m3u8"]].concat();
    through(Fixture::H264Aac, &format, "list.m3u8").await?;
    Ok(())
}

#[tokio::test]
async fn one_file_by_byte_ranges() -> Result<()> {
    let format = [&TS[..], &["-hls_flags", "single_file", "list.m3u8"]].concat();
    let site = through(Fixture::H264Aac, &format, "list.m3u8").await?;
    let parts = site.origin.all();
    let parts = parts.iter().filter(|request| request.path().ends_with(".ts"));
    assert!(parts.clone().count() >= 2 && parts.clone().all(|part| part.headers.get("range").is_some()));
    Ok(())
}

#[tokio::test]
async fn one_file_of_fmp4_by_byte_ranges() -> Result<()> {
    let flags = [
        "-hls_segment_type",
        "fmp4",
        "-hls_flags",
        "single_file",
        "list.m3u8",
    ];
    through(Fixture::H264Aac, &[&TS[..], &flags].concat(), "list.m3u8").await?;
    Ok(())
}

/// Writes a key and what ffmpeg wants to know of it, with or without an initialization vector.
fn key_info(site: &Site, iv: &str) -> Result<()> {
    std::fs::write(site.path("secret.key"), [0x5A; 16])?;
    let key = site.path("secret.key");
    std::fs::write(
        site.path("key.info"),
        format!("secret.key\n{}\n{iv}\n", key.display()),
    )?;
    Ok(())
}

#[tokio::test]
async fn aes_128_with_an_iv_and_without() -> Result<()> {
    for iv in ["000102030405060708090a0b0c0d0e0f", ""] {
        let site = Site::new().await?;
        key_info(&site, iv)?;
        let format = [&TS[..], &["-hls_key_info_file", "key.info", "list.m3u8"]].concat();
        site.package(Fixture::H264Aac, &format).await?;
        let text = std::fs::read_to_string(site.path("list.m3u8"))?;
        assert_eq!(
            (text.contains("AES-128"), text.contains("IV=")),
            (true, !iv.is_empty()),
            "{text}"
        );
        let server = serve("").await?;
        let played = pulled(&server, &site.origin.url("list.m3u8"), &[]).await?;
        compare(Fixture::H264Aac, &played, &BOTH).await?;
        // A wrong key is told, and nothing is published.
        let server = serve("").await?;
        std::fs::write(site.path("secret.key"), [0x5B; 16])?;
        let answer = server
            .api("addStreamProxy", &once(&site.origin.url("list.m3u8"), &[]))
            .await;
        assert_eq!(answer["code"], -1, "{answer}");
        assert!(
            answer["msg"].as_str().unwrap_or_default().contains("key"),
            "{answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_master_playlist_with_sound_of_its_own() -> Result<()> {
    for segments in ["mpegts", "fmp4"] {
        let site = Site::new().await?;
        let format = [
            "-map",
            "0:v",
            "-map",
            "0:a",
            "-f",
            "hls",
            "-hls_time",
            "2",
            "-hls_playlist_type",
            "vod",
            "-hls_segment_type",
            segments,
            "-master_pl_name",
            "master.m3u8",
            "-var_stream_map",
            "v:0,agroup:sound a:0,agroup:sound,default:yes",
            "list_%v.m3u8",
        ];
        site.package(Fixture::H264Aac, &format).await?;
        let text = std::fs::read_to_string(site.path("master.m3u8"))?;
        assert!(text.contains("EXT-X-MEDIA"), "{text}");
        let server = serve("").await?;
        let played = pulled(&server, &site.origin.url("master.m3u8"), &[]).await?;
        compare(Fixture::H264Aac, &played, &BOTH).await?;
    }
    Ok(())
}

/// A second run of ffmpeg adds to the playlist of the first, with times from the beginning again.
#[tokio::test]
async fn time_goes_on_over_a_discontinuity() -> Result<()> {
    for segments in ["mpegts", "fmp4"] {
        let site = Site::new().await?;
        let format = |flags| {
            [
                "-f",
                "hls",
                "-hls_time",
                "2",
                "-hls_list_size",
                "0",
                "-hls_segment_type",
                segments,
                "-hls_flags",
                flags,
                "list.m3u8",
            ]
        };
        site.package(Fixture::H264Aac, &format("omit_endlist")).await?;
        site.package(Fixture::H264Aac, &format("append_list+discont_start"))
            .await?;
        let text = std::fs::read_to_string(site.path("list.m3u8"))?;
        assert!(text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");
        let server = serve("").await?;
        let played = pulled(&server, &site.origin.url("list.m3u8"), &[]).await?;
        let after = frames(&played, Kind::Video).await?;
        assert!(
            after.len() >= nearly(Kind::Video, 2 * LENGTH),
            "{} frames",
            after.len()
        );
        let half = after.len() / 2;
        compare_half(&after[..half]).await?;
        compare_half(&after[half..]).await?;
        let steps = after.windows(2).map(|pair| pair[1].dts_us - pair[0].dts_us);
        let (shortest, longest) = (steps.clone().min(), steps.max());
        assert!(
            shortest >= Some(35_000) && longest <= Some(65_000),
            "{shortest:?} to {longest:?}: the picture waits for the sound at most a frame of it"
        );
    }
    Ok(())
}

async fn compare_half(after: &[Frame]) -> Result<()> {
    let before = frames(&Fixture::H264Aac.path().await?, Kind::Video).await?;
    assert_eq!(
        assert_run(&before, after, nearly(Kind::Video, LENGTH), ROUNDING),
        0
    );
    Ok(())
}

#[tokio::test]
async fn http_ts_from_ffmpeg_and_from_a_file() -> Result<()> {
    let site = Site::new().await?;
    site.package(Fixture::H264Aac, &["-f", "mpegts", "clip.bin"])
        .await?;
    let clip = site.path("clip.bin");
    site.origin.set_script(move |_| Answer::Stream(clip.clone()));
    let server = serve("").await?;
    let played = pulled(&server, &site.origin.url("clip"), &[("schema", "ts")]).await?;
    compare(Fixture::H264Aac, &played, &BOTH).await
}
use testkit::origin::Answer;
