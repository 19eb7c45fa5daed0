//! Playlists that have ended: what comes out is what went in, frame by frame, at its pace.

use super::*;
use aws_lc_rs::cipher::{AES_128, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use std::time::Instant;

const BOTH: [Kind; 2] = [Kind::Video, Kind::Audio];

/// Playing takes as long as the media: the last frame is due a frame before the end.
const SHORTEST: Duration = Duration::from_millis(LENGTH as u64 * 1000 - 200);

/// Packages a file, pulls it, and compares.
async fn through(fixture: Fixture, format: &[&str], entry: &str) -> Result<Site> {
    let site = Site::new().await?;
    site.package(fixture, format).await?;
    let server = serve("").await?;
    let began = Instant::now();
    let played = pulled(&server, &site.origin.url(entry), &[]).await?;
    let took = began.elapsed();
    compare(fixture, &played, &BOTH).await?;
    assert!(took >= SHORTEST, "{LENGTH} s of media were over in {took:?}");
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

const KEY: [u8; 16] = [0x5A; 16];

/// Pulls `list.m3u8` and compares; then with a key that is wrong, which is told, and nothing is published.
async fn decrypted(site: &Site) -> Result<()> {
    let url = site.origin.url("list.m3u8");
    let server = serve("").await?;
    let played = pulled(&server, &url, &[]).await?;
    compare(Fixture::H264Aac, &played, &BOTH).await?;
    let server = serve("").await?;
    std::fs::write(site.path("secret.key"), [0x5B; 16])?;
    let answer = server.api("addStreamProxy", &once(&url, &[])).await;
    assert_eq!(answer["code"], -1, "{answer}");
    let reason = answer["msg"].as_str().unwrap_or_default();
    assert!(reason.contains("is the key wrong?"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn aes_128_with_an_initialization_vector() -> Result<()> {
    let site = Site::new().await?;
    std::fs::write(site.path("secret.key"), KEY)?;
    let key = site.path("secret.key");
    let info = format!(
        "secret.key\n{}\n000102030405060708090a0b0c0d0e0f\n",
        key.display()
    );
    std::fs::write(site.path("key.info"), info)?;
    let format = [&TS[..], &["-hls_key_info_file", "key.info", "list.m3u8"]].concat();
    site.package(Fixture::H264Aac, &format).await?;
    let text = std::fs::read_to_string(site.path("list.m3u8"))?;
    assert!(
        text.contains("METHOD=AES-128") && text.contains("IV=0x0001"),
        "{text}"
    );
    decrypted(&site).await
}

/// ffmpeg always writes one, so it is left to the segment's number here.
#[tokio::test]
async fn aes_128_with_the_number_of_the_segment() -> Result<()> {
    let site = Site::new().await?;
    std::fs::write(site.path("secret.key"), KEY)?;
    let format = [&TS[..], &["-start_number", "7", "list.m3u8"]].concat();
    site.package(Fixture::H264Aac, &format).await?;
    let text = std::fs::read_to_string(site.path("list.m3u8"))?;
    let names = text.lines().filter(|line| line.ends_with(".ts"));
    for (name, number) in names.zip(7u128..) {
        let mut data = std::fs::read(site.path(name))?;
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, &KEY)?)?;
        let iv = FixedLength::from(number.to_be_bytes());
        key.less_safe_encrypt(&mut data, EncryptionContext::Iv128(iv))?;
        std::fs::write(site.path(name), data)?;
    }
    let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"secret.key\"\n#EXTINF";
    std::fs::write(site.path("list.m3u8"), text.replacen("#EXTINF", key, 1))?;
    decrypted(&site).await
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

/// A file of MPEG-TS comes at once, and goes on at its pace.
#[tokio::test]
async fn http_ts_is_what_the_schema_says() -> Result<()> {
    let site = Site::new().await?;
    site.package(Fixture::H264Aac, &["-f", "mpegts", "clip.bin"])
        .await?;
    let server = serve("").await?;
    let began = Instant::now();
    let played = pulled(&server, &site.origin.url("clip.bin"), &[("schema", "ts")]).await?;
    assert!(began.elapsed() >= SHORTEST, "over in {:?}", began.elapsed());
    compare(Fixture::H264Aac, &played, &BOTH).await
}
