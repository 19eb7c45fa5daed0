//! What ffprobe and ffmpeg make of every URL, and how answers begin.

use super::*;
use std::time::Duration;
use testkit::certificate::Authority;
use testkit::fixture::Fixture;
use testkit::http::Response;
use testkit::tool::Running;
use testkit::websocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATHS: [&str; 5] = [
    ".live.flv",
    ".live.ts",
    ".live.mp4",
    "/hls.m3u8",
    "/hls.fmp4.m3u8",
];

async fn publish_on(tool: Tool, fixture: Fixture, format: &[&str], url: &str) -> Result<Running> {
    tool.args(["-re", "-stream_loop", "-1", "-i"])
        .arg(fixture.path().await?)
        .args(["-c", "copy", "-strict", "experimental"])
        .args(format)
        .arg(url)
        .spawn()
}

/// Codec names as Debian's ffprobe tells them.
async fn probed(url: &str) -> Result<Vec<String>> {
    let probe = [
        "-v",
        "error",
        "-tls_verify",
        "0",
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
    ];
    // The option is one of HTTPS only.
    let skip = if url.starts_with("https") { 0 } else { 2 };
    let probe = probe
        .iter()
        .enumerate()
        .filter(|(at, _)| *at < 2 || *at >= 2 + skip);
    let output = Tool::ffprobe()
        .args(probe.map(|(_, arg)| arg))
        .arg(url)
        .run(SOON)
        .await?;
    let text = output.stdout_text();
    let mut names: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// A recent ffmpeg decodes half a second; the names of the codecs it saw.
async fn decoded(url: &str) -> Result<Vec<String>> {
    let output = Tool::ffmpeg_new()?
        .args(["-xerror", "-i", url, "-t", "0.5", "-f", "null", "-"])
        .run(SOON)
        .await?;
    let input = output
        .stderr
        .iter()
        .take_while(|line| !line.starts_with("Stream mapping"));
    let kinds = ["Video: ", "Audio: "];
    let mut names: Vec<_> = input
        .filter(|line| line.contains("Stream #0:"))
        .filter_map(|line| kinds.iter().find_map(|kind| line.split(kind).nth(1)))
        .filter_map(|rest| rest.split([' ', ',']).next().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[tokio::test]
async fn ffprobe_knows_every_url_over_http_and_https() -> Result<()> {
    let authority = Authority::new()?;
    let identity = authority.issue(&["localhost", "127.0.0.1"])?;
    let (certificate, key) = (identity.certificate_file.display(), identity.key_file.display());
    let server = serve(&format!(
        "{BOTH}[hls]\nsegDur=1\n[http]\ncert_file={certificate}\nkey_file={key}\nsslport=8443\n"
    ))
    .await?;
    let _rtmp = publish(Fixture::H264Aac, &server.url_rtmp("live/rtmp")).await?;
    let rtsp = server.url_rtsp("live/rtsp");
    let _rtsp = publish_on(
        Tool::ffmpeg(),
        Fixture::H264Aac,
        &["-f", "rtsp", "-rtsp_transport", "tcp"],
        &rtsp,
    )
    .await?;
    online(&server, "live", "rtmp").await;
    online(&server, "live", "rtsp").await;
    let secure = format!("https://localhost:{}", server.port("https"));
    let plain = format!("http://127.0.0.1:{}", server.port("http"));
    for (base, stream) in [(&plain, "rtmp"), (&plain, "rtsp"), (&secure, "rtmp")] {
        for path in PATHS {
            let url = format!("{base}/live/{stream}{path}");
            assert_eq!(probed(&url).await?, ["aac", "h264"], "{url}");
        }
    }
    for (suffix, begin) in [("ts", &[0x47][..]), ("mp4", &[0, 0, 0])] {
        let url = format!("wss://localhost:{}/live/rtsp.live.{suffix}", server.port("https"));
        let mut client = websocket::Client::connect(&url, Some(&authority), SOON).await?;
        assert!(client.read_until(10_000, SOON).await?.starts_with(begin), "{url}");
    }
    Ok(())
}

#[tokio::test]
async fn newer_codecs_play_where_a_form_carries_them() -> Result<()> {
    let server = serve(&format!("{BOTH}[hls]\nsegDur=1\n")).await?;
    let rtsp: &[&str] = &["-f", "rtsp", "-rtsp_transport", "tcp"];
    let mut running = Vec::new();
    for (fixture, name) in [
        (Fixture::H265Aac, "h265"),
        (Fixture::Av1Opus, "av1"),
        (Fixture::H264, "h264"),
        (Fixture::Aac, "aac"),
    ] {
        let stream = format!("live/{name}-rtmp");
        running.push(
            publish_on(
                Tool::ffmpeg_new()?,
                fixture,
                &["-f", "flv"],
                &server.url_rtmp(&stream),
            )
            .await?,
        );
        let stream = format!("live/{name}-rtsp");
        running.push(publish_on(Tool::ffmpeg_new()?, fixture, rtsp, &server.url_rtsp(&stream)).await?);
    }
    let streams = [
        ("h265", &["aac", "hevc"][..]),
        ("av1", &["av1", "opus"]),
        // A video without sound gets the silent track.
        ("h264", &["aac", "h264"]),
        ("aac", &["aac"]),
    ];
    let server = &server;
    let probes = streams.iter().map(async |(name, expected)| {
        for from in ["rtmp", "rtsp"] {
            online(server, "live", &format!("{name}-{from}")).await;
            for path in PATHS {
                let url = server.url_http(&format!("live/{name}-{from}{path}"));
                if *name == "av1" && (path == ".live.ts" || path == "/hls.m3u8") {
                    continue; // ffmpeg does not know AV1 in MPEG-TS, and looks at it for a long time
                }
                assert_eq!(decoded(&url).await?, *expected, "{url}");
            }
        }
        anyhow::Ok(())
    });
    futures_util::future::try_join_all(probes).await?;
    Ok(())
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers.get(name).unwrap_or_default()
}

#[tokio::test]
async fn hls_answers_have_the_references_types_and_cookie() -> Result<()> {
    let server = serve(&format!("{BOTH}[hls]\nsegDur=1\n")).await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    let http = server.address("http");
    for (form, media) in [(Form::Ts, "video/mp2t"), (Form::Fmp4, "video/mp4")] {
        let target = form.path("live/cam");
        let origin = [("Origin", "http://a.example")];
        let master = client::get(http, &target, &origin).await?;
        let playlist_type = "application/vnd.apple.mpegurl; charset=utf-8";
        assert_eq!(header(&master, "content-type"), playlist_type);
        assert_eq!(header(&master, "access-control-allow-origin"), "http://a.example");
        let cookie = header(&master, "set-cookie");
        let value = cookie.strip_prefix("ZLM_HTTP_COOKIE=").unwrap_or_default();
        let token = value.split(';').next().unwrap_or_default();
        assert!(
            token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{cookie}"
        );
        assert!(cookie.contains("path=/live/cam/"), "{cookie}");
        let player = Player::open(&server, "live/cam", form).await?;
        let plain = player.ask("", &[]).await?;
        assert_eq!(header(&plain, "content-type"), playlist_type);
        assert_eq!(header(&plain, "content-length"), plain.body.len().to_string());
        let playlist = player.playlist("").await?;
        let newest = &playlist.segments[playlist.segments.len() - 1];
        let segment = player.ask_for(&newest.uri).await?;
        assert_eq!(
            header(&segment, "content-type"),
            format!("{media}; charset=utf-8")
        );
        assert_eq!(header(&segment, "content-length"), segment.body.len().to_string());
        let head = testkit::http::request(http, "HEAD", &target, &[], &[], SOON).await?;
        assert_eq!((head.status, header(&head, "content-type")), (200, playlist_type));
    }
    Ok(())
}

/// What a live answer begins with, its head apart.
async fn begins(server: &TestServer, path: &str, bytes: usize) -> Result<(String, Vec<u8>)> {
    let mut socket = TcpStream::connect(server.address("http")).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let mut body = vec![0; bytes];
        socket.read_exact(&mut body).await?;
        anyhow::Ok(body)
    };
    let body = timeout(SOON, read).await??;
    Ok((String::from_utf8(head)?.to_ascii_lowercase(), body))
}

#[tokio::test]
async fn live_answers_have_the_references_heads_and_begin_with_a_key_frame() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    for (path, kind) in [
        ("/live/cam.live.ts", "video/mp2t"),
        ("/live/cam.live.mp4", "video/mp4"),
        ("/live/cam?schema=ts", "video/mp2t"),
        ("/live/cam?schema=fmp4", "video/mp4"),
    ] {
        let (head, body) = begins(&server, path, 60_000).await?;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(
            head.contains(&format!("content-type: {kind}; charset=utf-8\r\n")),
            "{head}"
        );
        assert!(
            !head.contains("content-length") && !head.contains("transfer-encoding"),
            "{head}"
        );
        let file = server.folder().join("begin");
        std::fs::write(&file, &body)?;
        let probe = Tool::ffprobe()
            .args([
                "-v",
                "quiet",
                "-select_streams",
                "v",
                "-show_entries",
                "packet=flags",
                "-of",
                "csv=p=0",
            ])
            .arg(&file)
            .run(SOON)
            .await?;
        let text = probe.stdout_text();
        assert!(text.starts_with('K'), "{path}: {text}");
    }
    Ok(())
}

/// ffmpeg reads a playlist as other players do: it finds the variant, takes segments as they come, and decodes them without a complaint.
#[tokio::test]
async fn ffmpeg_plays_hls_without_a_complaint() -> Result<()> {
    let server = serve(&format!("{BOTH}[hls]\nsegDur=1\n")).await?;
    let _publisher = publish_on(
        Tool::ffmpeg(),
        Fixture::H264AacShortGop,
        &["-f", "flv"],
        &server.url_rtmp("live/cam"),
    )
    .await?;
    online(&server, "live", "cam").await;
    for form in [Form::Ts, Form::Fmp4] {
        let url = server.url_http(&form.path("live/cam"));
        let output = Tool::ffmpeg()
            .args([
                "-v", "warning", "-xerror", "-i", &url, "-t", "4", "-f", "null", "-",
            ])
            .run(Duration::from_secs(40))
            .await?;
        // After each reload it takes the initialization once more, and says so.
        let mut complaints = output.stderr.iter().filter(|line| {
            let again = line.contains("Found duplicated MOOV Atom") || line.contains("Last message repeated");
            !(line.is_empty() || form == Form::Fmp4 && again)
        });
        assert!(complaints.next().is_none(), "{output:?}");
    }
    Ok(())
}
