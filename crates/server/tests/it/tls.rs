//! HTTPS, WSS and RTMPS, and connections to others over TLS.

use crate::clients::*;
use anyhow::Result;
use serde_json::json;
use testkit::certificate::{Authority, Identity};
use testkit::fixture::Fixture;
use testkit::server::TestServer;
use testkit::tool::Tool;
use testkit::websocket;

async fn secure(identity: &Identity) -> Result<TestServer> {
    let (certificate, key) = (identity.certificate_file.display(), identity.key_file.display());
    serve(&format!(
        "[http]\ncert_file={certificate}\nkey_file={key}\nsslport=8443\n[rtmp]\nsslport=19350\n"
    ))
    .await
}

#[tokio::test]
async fn rtmps_publishes_and_https_and_wss_play() -> Result<()> {
    let authority = Authority::new()?;
    let server = secure(&authority.issue(&["localhost", "127.0.0.1"])?).await?;
    let _publisher = publish(Fixture::H264Aac, &server.url_rtmps("live/cam")).await?;
    online(&server, "live", "cam").await;
    let probe = [
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
    ];
    for url in [server.url_rtmps("live/cam"), server.url_https_flv("live/cam")] {
        let output = Tool::ffprobe().args(probe).arg(&url).run(SOON).await?;
        assert_eq!(
            output.stdout_text().split_whitespace().collect::<Vec<_>>(),
            ["h264", "aac"],
            "{url}"
        );
    }
    let mut wss = websocket::Client::connect(&server.url_wss_flv("live/cam"), Some(&authority), SOON).await?;
    assert_eq!(&wss.read_until(10_000, SOON).await?[..3], b"FLV");
    let protocol = |body: &serde_json::Value| body["data"].as_array().map_or(0, Vec::len);
    let sessions = server
        .api(
            "getAllSession",
            &[("local_port", &server.port("rtmps").to_string())],
        )
        .await;
    assert_eq!(protocol(&sessions), 1, "{sessions}");
    Ok(())
}

/// What curl says of the server's certificate when it trusts this authority only.
async fn trusted(server: &TestServer, authority: &Authority) -> Result<bool> {
    let ca = authority.file();
    let url = format!("https://localhost:{}/metrics", server.port("https"));
    let curl = Tool::curl()
        .args(["-s", "-o", "/dev/null", "--cacert"])
        .arg(ca)
        .arg(url)
        .spawn()?;
    Ok(curl.wait(SOON).await?.status.success())
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart_and_a_broken_one_is_not_used() -> Result<()> {
    let (first, second) = (Authority::new()?, Authority::new()?);
    let identity = first.issue(&["localhost"])?;
    let server = secure(&identity).await?;
    let _publisher = publish_live(&server, "live/cam").await?;
    assert!(trusted(&server, &first).await?);
    let mut old = websocket::Client::connect(&server.url_wss_flv("live/cam"), Some(&first), SOON).await?;
    old.read_until(1000, SOON).await?;

    let renewed = second.issue(&["localhost"])?;
    std::fs::write(&identity.key_file, &renewed.key_pem)?;
    std::fs::write(&identity.certificate_file, &renewed.certificate_pem)?;
    server
        .poll("the new certificate is in force", SOON, async |server| {
            trusted(server, &second).await.ok()?.then_some(())
        })
        .await;
    assert!(!trusted(&server, &first).await?);
    let before = old.received().len();
    old.read_until(before + 10_000, SOON).await?;

    std::fs::write(&identity.certificate_file, "no certificate")?;
    server
        .wait_for_log("the new TLS certificate is not used", SOON)
        .await;
    assert!(trusted(&server, &second).await?);
    Ok(())
}

#[tokio::test]
async fn certificates_of_sources_are_verified() -> Result<()> {
    let authority = Authority::new()?;
    let origin = secure(&authority.issue(&["localhost"])?).await?;
    let _publisher = publish_live(&origin, "live/source").await?;
    let server = serve("").await?;
    let source = format!("{}?x=.flv", origin.url_https_flv("live/source"));
    let refused = server.api("addStreamProxy", &proxy("live", "a", &source)).await;
    assert_eq!(refused["code"], -1, "{refused}");
    let text = refused["msg"].as_str().unwrap_or_default();
    assert!(
        text.contains("proxy.ca_file") && text.contains("proxy.insecure"),
        "{text}"
    );

    let ca = authority.file();
    let trust = [("proxy.ca_file", ca.to_str().unwrap_or_default())];
    assert_eq!(server.api("setServerConfig", &trust).await["changed"], 1);
    assert_eq!(
        server.api("addStreamProxy", &proxy("live", "b", &source)).await["code"],
        0
    );
    let rtmps = origin.url_rtmps("live/source");
    let answer = server.api("addStreamProxy", &proxy("live", "c", &rtmps)).await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&server, "live", "c").await;
    let trust = [("proxy.ca_file", ""), ("proxy.insecure", "1")];
    assert_eq!(
        server.api("setServerConfig", &trust).await,
        json!({"code": 0, "changed": 2})
    );
    assert_eq!(
        server.api("addStreamProxy", &proxy("live", "d", &source)).await["code"],
        0
    );
    Ok(())
}
