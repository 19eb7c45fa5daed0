//! Tidegate as the client: pulling from cameras, pushing to servers.

use super::*;
use serde_json::json;
use testkit::hook::{Answer, HookServer};

async fn pulled(rtp_type: &str) -> Result<()> {
    let (camera, _publisher) = camera("").await?;
    let server = serve("").await?;
    let source = camera.url_rtsp("live/source");
    let mut parameters = proxy("live", "cam", &source);
    parameters.push(("rtp_type", rtp_type));
    let answer = server.api("addStreamProxy", &parameters).await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&server, "live", "cam").await;
    assert_eq!(
        codecs(Over::Tcp, &server.url_rtsp("live/cam")).await?,
        ["h264", "aac"]
    );
    let mut viewer = FlvViewer::ask(server.address("http"), "live/cam").await?.await?;
    assert!(viewer.picture().await?.key);
    for _ in 0..30 {
        viewer.picture().await?;
    }
    let list = server.api("getMediaList", &[("schema", "rtsp")]).await;
    let media = &list["data"][0];
    assert_eq!(
        (&media["originTypeStr"], &media["originUrl"]),
        (&json!("pull"), &json!(source))
    );
    Ok(())
}

#[tokio::test]
async fn pulls_over_tcp() -> Result<()> {
    pulled("0").await
}

#[tokio::test]
async fn pulls_over_udp() -> Result<()> {
    pulled("1").await
}

#[tokio::test]
async fn pulls_from_a_group() -> Result<()> {
    pulled("2").await
}

#[tokio::test]
async fn pulls_with_the_credentials_of_the_url() -> Result<()> {
    let hooks = HookServer::start(|request| match request.hook.as_str() {
        "on_rtsp_realm" => Answer::Json(json!({"code": 0, "realm": "camera"})),
        "on_rtsp_auth" => Answer::Json(json!({"code": 0, "passwd": "p@ss:w!rd"})),
        _ => Answer::ok(),
    })
    .await?;
    let (camera, _publisher) = camera(&hooks.ini(&["on_rtsp_realm", "on_rtsp_auth"])).await?;
    let server = serve("").await?;
    let url = |password: &str| {
        camera
            .url_rtsp("live/source")
            .replace("//", &format!("//admin:{password}@"))
    };
    let right = url("p@ss:w!rd");
    let answer = server.api("addStreamProxy", &proxy("live", "cam", &right)).await;
    assert_eq!(answer["code"], 0, "{answer}");
    let wrong = url("guess");
    let answer = server
        .api("addStreamProxy", &proxy("live", "other", &wrong))
        .await;
    assert_eq!(answer["code"], -1, "{answer}");
    assert!(
        answer["msg"].as_str().is_some_and(|text| text.contains("401")),
        "{answer}"
    );
    assert!(
        server
            .log()
            .iter()
            .all(|line| !line.contains("p@ss") && !line.contains("guess"))
    );
    Ok(())
}

#[tokio::test]
async fn failures_are_told_at_once_and_in_words() -> Result<()> {
    let camera = serve("[general]\nmaxStreamWaitMS=200\n").await?;
    let server = serve("").await?;
    let missing = camera.url_rtsp("live/nothing");
    let answer = server.api("addStreamProxy", &proxy("live", "a", &missing)).await;
    assert!(
        answer["msg"].as_str().is_some_and(|text| text.contains("404")),
        "{answer}"
    );
    let refused = "rtsp://127.0.0.1:9/live/cam";
    let answer = server.api("addStreamProxy", &proxy("live", "b", refused)).await;
    assert_eq!(answer, json!({"code": -1, "msg": "connection refused"}));
    Ok(())
}

async fn pushed(rtp_type: &str) -> Result<()> {
    let (server, last) = (serve("").await?, serve("").await?);
    let _publisher = publish_live(&server, "live/cam").await?;
    let destination = last.url_rtsp("far/cam");
    let push = [
        ("schema", "rtsp"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "cam"),
        ("dst_url", destination.as_str()),
        ("rtp_type", rtp_type),
    ];
    let answer = server.api("addStreamPusherProxy", &push).await;
    assert_eq!(answer["code"], 0, "{answer}");
    online(&last, "far", "cam").await;
    let mut viewer = FlvViewer::ask(last.address("http"), "far/cam").await?.await?;
    assert!(viewer.picture().await?.key);
    for _ in 0..30 {
        viewer.picture().await?;
    }
    // The name is taken for a second one.
    let other = publish_live(&server, "live/other").await?;
    let push = [
        ("schema", "rtsp"),
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", "other"),
        ("dst_url", destination.as_str()),
    ];
    let answer = server.api("addStreamPusherProxy", &push).await;
    assert_eq!(answer["code"], -1, "{answer}");
    assert!(
        answer["msg"]
            .as_str()
            .is_some_and(|text| text.contains("ANNOUNCE:406")),
        "{answer}"
    );
    drop(other);
    let key = format!("rtsp/__defaultVhost__/live/cam/{}", md5_hex(&destination));
    let answer = server.api("delStreamPusherProxy", &[("key", &key)]).await;
    assert_eq!(answer, json!({"code": 0, "data": {"flag": true}}));
    offline(&last, "far", "cam").await;
    Ok(())
}

#[tokio::test]
async fn pushes_over_tcp() -> Result<()> {
    pushed("0").await
}

#[tokio::test]
async fn pushes_over_udp() -> Result<()> {
    pushed("1").await
}
