//! The page that calls the API, in a real browser.

use crate::chromium::Page;
use crate::clients::{publish_live, serve};
use anyhow::{Result, ensure};
use serde_json::json;

#[tokio::test]
async fn one_finds_an_endpoint_calls_it_and_sees_the_command_and_the_reply() -> Result<()> {
    let server = serve("").await?;
    let _publisher = publish_live(&server, "live/cam1").await?;
    let profile = tempfile::tempdir()?;
    let mut page = Page::open(&server.url_http("tidegate/api"), profile.path(), "en").await?;
    page.until_text("#endpoints", "getMediaList").await?;

    // Every endpoint has a form that opens with the keyboard.
    let names = api_names(&server).await?;
    let listed = "[...document.querySelectorAll('details.endpoint')].map((one) => one.id)";
    let listed = page.evaluate(listed).await?;
    for name in &names {
        ensure!(
            listed.as_array().is_some_and(|all| all.contains(&json!(name))),
            "{name} is not in {listed}"
        );
    }
    let opened = "[...document.querySelectorAll('details.endpoint')].every((one) => { one.open = true; return true; })";
    page.evaluate(opened).await?;
    page.until("document.querySelectorAll('details.endpoint > form').length === document.querySelectorAll('details.endpoint').length")
        .await?;
    page.evaluate("document.querySelectorAll('details.endpoint').forEach((one) => { one.open = false; })")
        .await?;

    // Who gives no secret gets the server's refusal.
    page.click("#filter").await?;
    page.type_text("getMediaList").await?;
    page.until("document.querySelectorAll('details.endpoint:not([hidden])').length === 1")
        .await?;
    page.click("#getMediaList summary").await?;
    page.click("#getMediaList button[type=submit]").await?;
    page.until_text("#getMediaList .reply", "Please login first")
        .await?;

    page.click("#secret").await?;
    page.type_text(server.secret()).await?;
    page.click("#getMediaList-3").await?;
    page.type_text("cam1").await?;
    page.press("Enter").await?;
    page.until_text("#getMediaList .reply", "\"createStamp\"").await?;
    page.until_text("#getMediaList .answer-state", "Status 200")
        .await?;
    let command = page
        .evaluate("document.querySelector('#getMediaList .curl').textContent")
        .await?;
    assert_eq!(
        command,
        json!(format!(
            "curl -H \"secret: $SECRET\" '{}?stream=cam1'",
            server.url_http("index/api/getMediaList")
        )),
        "the secret is not written down"
    );
    page.screenshot("api").await?;

    // The other ways of calling give the same reply.
    for (way, part) in [
        ("POST form", "--data-raw 'stream=cam1'"),
        ("POST JSON", "--data-raw '{\"stream\":\"cam1\"}'"),
    ] {
        page.evaluate(&format!(
            "(() => {{ const way = document.querySelector('#getMediaList select[aria-label]'); way.value = '{way}'; \
             way.dispatchEvent(new Event('input', {{ bubbles: true }})); \
             document.querySelector('#getMediaList .reply').textContent = ''; }})()"
        ))
        .await?;
        page.until_text("#getMediaList .curl", part).await?;
        page.click("#getMediaList button[type=submit]").await?;
        page.until_text("#getMediaList .reply", "\"createStamp\"").await?;
    }

    page.resize(390, 844).await?;
    page.screenshot("api-phone").await?;
    let wide = page
        .evaluate("document.documentElement.scrollWidth > innerWidth")
        .await?;
    assert_eq!(wide, false, "the page fits a phone");
    let ours = server.url_http("");
    for url in page.requests().await? {
        ensure!(url.starts_with(&ours) && !url.contains(server.secret()), "{url}");
    }
    assert_eq!(page.problems().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_link_opens_its_endpoint_and_configuration_keys_are_lines() -> Result<()> {
    let server = serve("").await?;
    let profile = tempfile::tempdir()?;
    let target = server.url_http("tidegate/api#setServerConfig");
    let mut page = Page::open(&target, profile.path(), "en").await?;
    page.until_text("#setServerConfig", "one key=value per line")
        .await?;
    page.click("#secret").await?;
    page.type_text(server.secret()).await?;
    page.click("#setServerConfig textarea").await?;
    page.type_text("general.flowThreshold=77").await?;
    page.click("#setServerConfig button[type=submit]").await?;
    page.until_text("#setServerConfig .reply", "\"changed\": 1")
        .await?;
    let config = server.api("getServerConfig", &[]).await;
    assert_eq!(config["data"][0]["general.flowThreshold"], "77");
    assert_eq!(page.problems().await?, [""; 0]);
    Ok(())
}

/// The endpoints, as the server lists them.
async fn api_names(server: &testkit::server::TestServer) -> Result<Vec<String>> {
    let list = server.api("getApiList", &[]).await;
    let paths = list["data"].as_array().cloned().unwrap_or_default();
    let names = paths
        .iter()
        .filter_map(|path| path.as_str()?.strip_prefix("/index/api/"));
    Ok(names.map(str::to_owned).collect())
}
