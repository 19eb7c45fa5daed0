//! A page of a headless Chromium, spoken to by its DevTools protocol.

use crate::clients::SOON;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use testkit::http;
use testkit::tool::{Running, Tool};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Most events that are kept; a test that makes more is broken.
const MAX_EVENTS: usize = 50_000;

/// One page in a browser of its own.
pub struct Page {
    _browser: Running,
    socket: WebSocketStream<TcpStream>,
    calls: u64,
    events: Vec<Value>,
}

impl Page {
    /// Starts a browser whose language is `language`, and opens `url`.
    pub async fn open(url: &str, profile: &Path, language: &str) -> Result<Self> {
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--remote-debugging-port=0",
        ];
        let blank = "about:blank";
        let browser = Tool::new("chromium")
            .args(flags)
            .arg(format!("--accept-lang={language}"))
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(blank)
            .spawn()?;
        let line = browser.wait_for_line("DevTools listening on ws://", SOON).await?;
        let address = line
            .split("ws://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .context("an address")?;
        let address: SocketAddr = address.parse()?;
        let target = Self::target(address, blank).await?;
        let (socket, _) = client_async(target, TcpStream::connect(address).await?).await?;
        let mut page = Self {
            _browser: browser,
            socket,
            calls: 0,
            events: Vec::new(),
        };
        // On before the page is there, so that nothing is missed.
        for domain in ["Network", "Log", "Runtime", "Page"] {
            page.call(&format!("{domain}.enable"), json!({})).await?;
        }
        page.go(url).await?;
        Ok(page)
    }

    /// The blank page's own address, once it exists.
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
                .find(|page| page["url"] == url);
            if let Some(target) = page.and_then(|page| page["webSocketDebuggerUrl"].as_str()) {
                return Ok(target.to_owned());
            }
        }
        bail!("the browser did not open {url}")
    }

    /// Opens an address and waits until the player page has started.
    pub async fn go(&mut self, url: &str) -> Result<()> {
        // Marks the page that will be gone.
        self.evaluate("document.documentElement.dataset.left = ''")
            .await?;
        self.call("Page.navigate", json!({"url": url})).await?;
        let data = "document.documentElement.dataset";
        self.until(&format!("!('left' in {data}) && 'ready' in {data}"))
            .await
    }

    /// Calls a method of the protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let call = json!({"id": id, "method": method, "params": params});
        self.socket.send(Message::text(call.to_string())).await?;
        loop {
            let message = timeout(SOON, self.socket.next())
                .await
                .context("the browser is silent")?
                .context("the browser is gone")??;
            let Message::Text(text) = message else { continue };
            let reply: Value = serde_json::from_str(text.as_str())?;
            if reply["id"] == id {
                ensure!(reply["error"].is_null(), "{method}: {}", reply["error"]);
                return Ok(reply["result"].clone());
            }
            ensure!(self.events.len() < MAX_EVENTS, "too many events");
            self.events.push(reply);
        }
    }

    /// The value of an expression, waited for if it is a promise.
    pub async fn evaluate(&mut self, script: &str) -> Result<Value> {
        let params = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", params).await?;
        ensure!(
            result["exceptionDetails"].is_null(),
            "{script}: {}",
            result["exceptionDetails"]
        );
        Ok(result["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, script: &str) -> Result<()> {
        let end = Instant::now() + SOON;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        while Instant::now() < end {
            tick.tick().await;
            // A page that is just being replaced has nothing to evaluate in.
            if self.evaluate(script).await.is_ok_and(|value| value == true) {
                return Ok(());
            }
        }
        let page = self.evaluate("document.body.innerText").await?;
        bail!("{script}: not within {SOON:?}; the page says {page}")
    }

    /// Waits until an element's text has `part` in it.
    pub async fn until_text(&mut self, selector: &str, part: &str) -> Result<()> {
        self.until(&format!(
            "document.querySelector({})?.innerText.includes({}) ?? false",
            json!(selector),
            json!(part)
        ))
        .await
    }

    /// Clicks with the mouse in the middle of an element that can be seen.
    pub async fn click(&mut self, selector: &str) -> Result<()> {
        let find = format!(
            "(() => {{ const element = document.querySelector({}); if (!element || element.disabled) return null; \
             element.scrollIntoView({{ block: 'center' }}); const box = element.getBoundingClientRect(); \
             return box.width > 0 ? [box.x + box.width / 2, box.y + box.height / 2] : null; }})()",
            json!(selector)
        );
        self.until(&format!("{find} !== null")).await?;
        let place = self.evaluate(&find).await?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Types into whatever has the focus.
    pub async fn type_text(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({"text": text})).await?;
        Ok(())
    }

    /// Presses a key: `Enter` or `Tab`.
    pub async fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (9, "") };
        let down =
            json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", down).await?;
        let up = json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up).await?;
        Ok(())
    }

    /// Waits until the picture moves: time goes on, and frames are decoded.
    pub async fn until_playing(&mut self) -> Result<()> {
        self.until("document.querySelector('video').currentTime > 1")
            .await?;
        self.until("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 20")
            .await
    }

    /// What was asked for over the network so far, what is inside the browser (`blob:`, `data:`) left out.
    pub async fn requests(&mut self) -> Result<Vec<String>> {
        self.evaluate("0").await?; // Reads the events that have come.
        let http = self
            .of("Network.requestWillBeSent")
            .map(|event| &event["request"]["url"]);
        let sockets = self.of("Network.webSocketCreated").map(|event| &event["url"]);
        let urls = http.chain(sockets).filter_map(Value::as_str);
        Ok(urls
            .filter(|url| {
                !["blob:", "data:", "about:"]
                    .iter()
                    .any(|inside| url.starts_with(inside))
            })
            .map(str::to_owned)
            .collect())
    }

    /// The headers of the answer to `url`, in lower case.
    pub async fn answer_headers(&mut self, url: &str) -> Result<Value> {
        self.evaluate("0").await?;
        let answer = self
            .of("Network.responseReceived")
            .map(|event| &event["response"])
            .find(|response| response["url"] == url)
            .with_context(|| format!("no answer for {url}"))?;
        let headers = answer["headers"].as_object().context("headers")?;
        Ok(headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect())
    }

    /// Errors that the page or the browser has reported, breaches of the page's policy among them.
    pub async fn problems(&mut self) -> Result<Vec<String>> {
        self.evaluate("0").await?;
        let thrown = self
            .of("Runtime.exceptionThrown")
            .map(|event| event["exceptionDetails"].to_string());
        // An answer with an error status is not an error of the page.
        let logged = self
            .of("Log.entryAdded")
            .map(|event| &event["entry"])
            .filter(|entry| entry["level"] == "error" && entry["source"] != "network")
            .map(|entry| entry["text"].to_string());
        Ok(thrown.chain(logged).collect())
    }

    fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["method"] == method)
            .map(|event| &event["params"])
    }

    /// Makes the window this large, in CSS pixels.
    pub async fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        Ok(())
    }

    /// Writes a picture of the page into the folder that `SCREENSHOTS` names, if it is set.
    pub async fn screenshot(&mut self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os("SCREENSHOTS") else {
            return Ok(());
        };
        let picture = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await?;
        let data = STANDARD.decode(picture["data"].as_str().context("a picture")?)?;
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), data)?;
        Ok(())
    }
}
