//! A hook service in small: prints each call, opens `demo/hook` when a viewer waits for it, and closes what nobody watches.

use crate::link::Link;
use lifecycle::Op;
use lifecycle::op::PullSpec;
use media::{ProtocolOptions, StreamKey};
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Largest call: `on_server_started` carries the whole configuration.
const MAX_CALL: usize = 256 * 1024;

/// Idle connections are closed after this.
const IDLE: Duration = Duration::from_secs(120);

/// What the service may do.
#[derive(Clone)]
pub struct Opener {
    /// The way to the server; a service of one's own would call the REST API.
    pub link: Link,
    /// Where the synthetic camera is.
    pub camera_port: u16,
    /// Options of the streams it opens.
    pub options: ProtocolOptions,
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, opener: Opener) {
    let opener = Arc::new(opener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    let opener = opener.clone();
                    connections.spawn(async move {
                        if let Err(error) = calls(socket, &opener).await {
                            tracing::debug!(%error, "a connection of the demo's hook service ended");
                        }
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn calls(mut socket: TcpStream, opener: &Opener) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some((hook, body)) = timeout(IDLE, next_call(&mut socket, &mut buffer)).await?? else {
            return Ok(());
        };
        let answer = answer(&hook, &body, opener).await;
        println!("  {hook:<24} {}  →  {answer}", words(&body));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        socket.write_all(format!("{head}{answer}").as_bytes()).await?;
    }
}

/// The next request: the last part of its path, and its body.
async fn next_call(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<(String, Value)>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(buffer).map_err(io::Error::other)?;
        if let httparse::Status::Complete(head) = parsed {
            let length = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length = length
                .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok())
                .unwrap_or(0);
            if length > MAX_CALL {
                return Err(io::Error::other("the call is too long"));
            }
            if buffer.len() >= head + length {
                let hook = request
                    .path
                    .unwrap_or_default()
                    .trim_start_matches('/')
                    .to_owned();
                let body = serde_json::from_slice(&buffer[head..head + length]).unwrap_or(Value::Null);
                buffer.drain(..head + length);
                return Ok(Some((hook, body)));
            }
        }
        if buffer.len() > MAX_CALL * 2 {
            return Err(io::Error::other("the call is too long"));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(hook: &str, body: &Value, opener: &Opener) -> &'static str {
    match hook {
        "on_stream_not_found" if body["app"] == "demo" && body["stream"] == "hook" => {
            let spec = PullSpec {
                key: StreamKey::on_default_vhost("demo", "hook"),
                url: format!("http://127.0.0.1:{}/camera.flv", opener.camera_port),
                alternatives: Vec::new(),
                options: opener.options.clone(),
                retry_count: None,
                force: false,
                timeout: Duration::from_secs(10),
                client_options: Vec::new(),
                rule: None,
            };
            println!("  (the hook service calls addStreamProxy)");
            let opened = opener.link.operate(Op::AddPull(spec)).await;
            if opened.is_ok() {
                r#"{"code":0}"#
            } else {
                r#"{"code":0,"close":true}"#
            }
        }
        "on_stream_not_found" => r#"{"code":0,"close":true}"#,
        "on_stream_none_reader" => r#"{"code":0,"close":true}"#,
        _ => r#"{"code":0}"#,
    }
}

/// The part of a call that a person wants to see.
fn words(body: &Value) -> String {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let mut out = format!("{}/{}", text("app"), text("stream"));
    if out == "/" {
        out.clear();
    }
    for name in ["schema", "protocol", "ip"] {
        if !text(name).is_empty() {
            out += &format!(" {name}={}", text(name));
        }
    }
    for name in ["regist", "player", "duration", "totalBytes"] {
        if !body[name].is_null() {
            out += &format!(" {name}={}", body[name]);
        }
    }
    out
}
