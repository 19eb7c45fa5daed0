//! The demo as a person meets it: its page in a real browser.

use crate::clients::SOON;
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::http;
use testkit::tool::{Running, Tool};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A page of a headless Chromium, spoken to by its DevTools protocol.
struct Page {
    _browser: Running,
    socket: WebSocketStream<TcpStream>,
    calls: u64,
}

impl Page {
    async fn open(url: &str, profile: &std::path::Path) -> Result<Self> {
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-port=0",
        ];
        let profile = format!("--user-data-dir={}", profile.display());
        let browser = Tool::new("chromium").args(flags).arg(profile).arg(url).spawn()?;
        let line = browser.wait_for_line("DevTools listening on ws://", SOON).await?;
        let address = line
            .split("ws://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .context("an address")?;
        let address: SocketAddr = address.parse()?;
        let target = Self::target(address, url).await?;
        let (socket, _) = client_async(target, TcpStream::connect(address).await?).await?;
        Ok(Self {
            _browser: browser,
            socket,
            calls: 0,
        })
    }

    /// The page's own address, once it exists.
    async fn target(address: SocketAddr, url: &str) -> Result<String> {
        let end = Instant::now() + SOON;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while Instant::now() < end {
            tick.tick().await;
            let list = http::request(address, "GET", "/json/list", &[], &[], SOON)
                .await?
                .json()?;
            let pages = list.as_array().into_iter().flatten();
            let page = pages
                .filter(|page| page["type"] == "page")
                .find(|page| page["url"].as_str().is_some_and(|at| at.starts_with(url)));
            if let Some(target) = page.and_then(|page| page["webSocketDebuggerUrl"].as_str()) {
                return Ok(target.to_owned());
            }
        }
        bail!("the browser did not open {url}")
    }

    async fn evaluate(&mut self, script: &str) -> Result<Value> {
        self.calls += 1;
        let call = json!({"id": self.calls, "method": "Runtime.evaluate", "params": {"expression": script, "returnByValue": true}});
        self.socket.send(Message::text(call.to_string())).await?;
        loop {
            let message = timeout(SOON, self.socket.next())
                .await
                .context("the browser is silent")?
                .context("the browser is gone")??;
            let Message::Text(text) = message else { continue };
            let reply: Value = serde_json::from_str(text.as_str())?;
            if reply["id"] == self.calls {
                return Ok(reply["result"]["result"]["value"].clone());
            }
        }
    }

    async fn until(&mut self, script: &str) -> Result<()> {
        let end = Instant::now() + SOON;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        while Instant::now() < end {
            tick.tick().await;
            if self.evaluate(script).await? == true {
                return Ok(());
            }
        }
        let state = self.evaluate("document.getElementById('state') ? document.getElementById('state').textContent : document.title").await?;
        bail!("{script}: not within {SOON:?}; the page says {state}")
    }
}

#[tokio::test]
async fn the_demos_page_plays_a_stream_that_opens_because_one_clicks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ready = folder.path().join("ready.json");
    let demo = Tool::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["demo", "--free-ports", "--ready-file"])
        .arg(&ready)
        .spawn()?;
    demo.wait_for_stdout("Hook calls, as they come".len(), SOON)
        .await?;
    let ports: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
    let url = format!("http://127.0.0.1:{}/", ports["http"]);
    let mut page = Page::open(&url, &folder.path().join("profile")).await?;
    for stream in ["demo/rule", "demo/hook"] {
        let button = format!("document.querySelector('button[data-stream=\"{stream}\"]')");
        // The button works once the page's script has run.
        page.until(&format!("{button} !== null && {button}.onclick !== null"))
            .await?;
        page.evaluate(&format!("{button}.click()")).await?;
        page.until("document.getElementById('video').currentTime > 1")
            .await?;
        page.until("document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames > 20")
            .await?;
        page.until(&format!(
            "document.getElementById('state').textContent.startsWith('{stream}: first picture after')"
        ))
        .await?;
        page.evaluate("document.getElementById('stop').click()").await?;
    }
    drop(page);
    demo.terminate(SOON).await?;
    Ok(())
}
