//! An HTTP server with the files of a folder, for sources that are pulled. What it answers can be changed request by request.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::http::{self, Headers};
use crate::inbox::Inbox;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query.
    pub target: String,
    /// Header fields as sent.
    pub headers: Headers,
    /// Counts the connections from 0: equal numbers mean a reused connection.
    pub connection: u64,
}

impl Request {
    /// The path, without the leading `/`.
    pub fn path(&self) -> &str {
        self.target
            .split('?')
            .next()
            .unwrap_or_default()
            .trim_start_matches('/')
    }
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The file of the folder that the path names, or the part of it that is asked for; 404 if it is not there.
    File,
    /// The same, and then the connection is closed without a word about it before.
    Last,
    /// None: the connection is reset.
    Reset,
    /// Status 200 with this body.
    Body(Vec<u8>),
    /// This status, no body.
    Status(u16),
    /// Status 302 to this URL.
    Redirect(String),
    /// Status 200 and this text again and again, until the client goes.
    Endless(&'static str),
    /// Status 200, a length, these bytes, and no more; the connection stays open.
    Stuck(Vec<u8>),
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

struct Shared {
    folder: PathBuf,
    script: Mutex<Arc<Script>>,
    received: Inbox<Request>,
    connections: AtomicU64,
}

/// The server, on a free port of 127.0.0.1. Ends when dropped.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Accepts and owns all connections; `None` while [`Origin::down`].
    task: Option<JoinHandle<()>>,
}

impl Origin {
    /// Serves the files of this folder.
    pub async fn start(folder: impl Into<PathBuf>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind an origin")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            folder: folder.into(),
            script: Mutex::new(Arc::new(|_: &Request| Answer::File)),
            received: Inbox::new(),
            connections: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self {
            address,
            shared,
            task: Some(task),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a file.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Answers by a script from the next request on.
    pub fn set_script(&self, script: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// Closes the port and all connections.
    pub async fn down(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Only after this is the port really closed. The error is the cancellation we asked for.
            let _ = task.await;
        }
    }

    /// Listens on the same port again after [`Origin::down`].
    pub async fn up(&mut self) -> Result<()> {
        if self.task.is_none() {
            let listener = TcpListener::bind(self.address)
                .await
                .context("bind an origin again")?;
            self.task = Some(tokio::spawn(accept(listener, self.shared.clone())));
        }
        Ok(())
    }

    /// Everything that was asked for so far, in order.
    pub fn all(&self) -> Vec<Request> {
        self.shared.received.all()
    }

    /// Waits until a request is there that `wanted` is true for. Panics with what was received when `deadline` has passed.
    pub async fn wait_for(
        &self,
        what: &str,
        wanted: impl Fn(&Request) -> bool,
        deadline: Duration,
    ) -> Request {
        let look = |all: &[Request]| all.iter().find(|request| wanted(request)).cloned();
        match self.shared.received.wait_for(deadline, look).await {
            Some(found) => found,
            None => {
                let targets: Vec<_> = self.all().into_iter().map(|request| request.target).collect();
                panic!("origin: no {what} within {deadline:?}; received {targets:?}")
            }
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = shared.clone();
                connections.spawn(async move { serve(stream, number, &shared).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, connection: u64, shared: &Shared) {
    let mut buffer = Vec::new();
    // A request that cannot be read ends the connection, as it would with a real server.
    while let Ok(Some(raw)) = http::read_request(&mut stream, &mut buffer).await {
        let request = Request {
            target: raw.target,
            headers: raw.headers,
            connection,
        };
        let script = shared
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let answer = script(&request);
        let is_last = matches!(answer, Answer::Last);
        shared.received.push(request.clone());
        if matches!(answer, Answer::Reset) {
            // Closing without lingering sends a reset.
            let _ = stream.set_zero_linger();
            return;
        }
        if write(&mut stream, answer, &request, shared).await.is_err() || is_last {
            return;
        }
    }
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: Answer,
    request: &Request,
    shared: &Shared,
) -> Result<()> {
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} Origin\r\n{more}\r\n");
    let sized = |length: usize| format!("Content-Length: {length}\r\n");
    match answer {
        Answer::File | Answer::Last => {
            let path = Path::new(request.path());
            let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
            let file = is_inside
                .then(|| std::fs::read(shared.folder.join(path)).ok())
                .flatten();
            let range = request.headers.get("range").and_then(range);
            let (status, body) = match (file, range) {
                (None, _) => (404, Vec::new()),
                (Some(file), None) => (200, file),
                (Some(file), Some((from, to))) => match file.get(from..(to + 1).min(file.len())) {
                    Some(part) => (206, part.to_vec()),
                    None => (416, Vec::new()),
                },
            };
            stream
                .write_all(head(status, &sized(body.len())).as_bytes())
                .await?;
            stream.write_all(&body).await?;
        }
        Answer::Body(body) => {
            stream.write_all(head(200, &sized(body.len())).as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Answer::Status(status) => stream.write_all(head(status, &sized(0)).as_bytes()).await?,
        Answer::Redirect(to) => {
            let more = format!("Location: {to}\r\n{}", sized(0));
            stream.write_all(head(302, &more).as_bytes()).await?;
        }
        Answer::Reset => {}
        Answer::Endless(text) => {
            stream.write_all(head(200, "").as_bytes()).await?;
            loop {
                stream.write_all(text.as_bytes()).await?;
            }
        }
        Answer::Stuck(body) => {
            stream
                .write_all(head(200, &sized(body.len() + 1)).as_bytes())
                .await?;
            stream.write_all(&body).await?;
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

/// `bytes=from-to`.
fn range(value: &str) -> Option<(usize, usize)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn get(origin: &Origin, target: &str, headers: &[(&str, &str)]) -> http::Response {
        http::request(origin.address(), "GET", target, headers, &[], SOON)
            .await
            .expect("an answer")
    }

    #[tokio::test]
    async fn files_parts_of_them_and_what_the_script_says() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.txt"), "0123456789").expect("a file");
        let origin = Origin::start(folder.path()).await.expect("an origin");
        assert_eq!(get(&origin, "/a.txt?x", &[]).await.text(), "0123456789");
        let part = get(&origin, "/a.txt", &[("Range", "bytes=2-4")]).await;
        assert_eq!((part.status, part.text().as_str()), (206, "234"));
        assert_eq!(get(&origin, "/b.txt", &[]).await.status, 404);
        assert_eq!(get(&origin, "/../a.txt", &[]).await.status, 404);
        origin.set_script(|request| match request.path() {
            "moved" => Answer::Redirect("/a.txt".into()),
            _ => Answer::File,
        });
        let moved = get(&origin, "/moved", &[]).await;
        assert_eq!(
            (moved.status, moved.headers.get("location")),
            (302, Some("/a.txt"))
        );
        origin
            .wait_for("request", |request| request.path() == "moved", SOON)
            .await;
    }
}
