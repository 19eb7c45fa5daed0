//! A whole Tidegate, started from its binary with a configuration of the test's, on ports that the system chose.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::disk::SmallDisk;
use crate::http::{self, Response};
use crate::inbox::Inbox;
use crate::tool;

/// How long a start may take; on a machine with two busy cores it takes well under a second.
const START: Duration = Duration::from_secs(20);
/// How often the ready file is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How long an API call may take: longer than any wait that the API itself allows in a test.
const API_CALL: Duration = Duration::from_secs(30);

/// A server to be started.
pub struct Builder {
    binary: PathBuf,
    config: String,
    config_name: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<TempDir>,
    /// What the command line begins with.
    prefix: Vec<String>,
}

impl Builder {
    /// The text of the configuration file, in the form of `config.ini`.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self.config_name = "config.ini".into();
        self
    }

    /// The text of the configuration file, as TOML.
    pub fn toml(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self.config_name = "tidegate.toml".into();
        self
    }

    /// One more command line argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.arguments.push(arg.into());
        self
    }

    /// One more environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs in this folder, for example one that the test has put files in, instead of in a new one.
    pub fn folder(mut self, folder: TempDir) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Runs with this disk.
    pub fn small_disk(mut self, disk: &SmallDisk) -> Self {
        self.prefix = disk.prefix();
        self
    }

    /// Starts the server and waits until all its ports are open.
    pub async fn start(self) -> Result<TestServer> {
        let folder = match self.folder {
            Some(folder) => folder,
            None => tempfile::tempdir().context("folder for a server")?,
        };
        let config_file = folder.path().join(&self.config_name);
        std::fs::write(&config_file, &self.config).context("write the configuration")?;
        let ready_file = folder.path().join("ready.json");

        // Each word of the prefix becomes the next one, so the process stays the same.
        let mut words = self
            .prefix
            .into_iter()
            .map(OsString::from)
            .chain([self.binary.clone().into()]);
        let mut command = Command::new(words.next().context("a program")?);
        command
            .args(words)
            .arg("-c")
            .arg(&config_file)
            .arg("--ready-file")
            .arg(&ready_file)
            .arg("--free-ports")
            .args(&self.arguments)
            .envs(self.environment)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("start {}", self.binary.display()))?;
        let pid = child
            .id()
            .context("a server that has just been started has a process id")?;
        let log = Arc::new(Inbox::new());
        let stdout = child.stdout.take().context("standard output is piped")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        tokio::spawn(tool::read_lines(stdout, log.clone()));
        tokio::spawn(tool::read_lines(stderr, log.clone()));

        let mut server = TestServer {
            child,
            pid,
            log,
            ready: Value::Null,
            config_file,
            folder,
        };
        server.ready = server.wait_until_ready(&ready_file).await?;
        Ok(server)
    }
}

/// A running server. Killed when dropped; when the test is failing, its log is printed.
pub struct TestServer {
    child: Child,
    pid: u32,
    log: Arc<Inbox<String>>,
    /// What the server wrote into its ready file.
    ready: Value,
    config_file: PathBuf,
    folder: TempDir,
}

impl TestServer {
    /// A server from this binary; in its crate's tests that is `env!("CARGO_BIN_EXE_tidegate")`.
    pub fn builder(binary: impl Into<PathBuf>) -> Builder {
        Builder {
            binary: binary.into(),
            config: String::new(),
            config_name: "config.ini".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            prefix: Vec::new(),
        }
    }

    async fn wait_until_ready(&mut self, file: &Path) -> Result<Value> {
        let end = Instant::now() + START;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(status) = self.child.try_wait().context("look after the server")? {
                // Its last words may still be in the pipe.
                let _: Option<()> = self.log.wait_for(LOOK * 10, |_| None).await;
                bail!(
                    "the server ended with {status} before it was ready; its log:\n{}",
                    self.log_text()
                );
            }
            // Half written is not ready: the next look finds it whole.
            if let Ok(text) = std::fs::read(file)
                && let Ok(ready) = serde_json::from_slice(&text)
            {
                return Ok(ready);
            }
            if Instant::now() >= end {
                bail!(
                    "the server is not ready after {START:?}; its log:\n{}",
                    self.log_text()
                );
            }
            look.tick().await;
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The folder that the server runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file, for tests that change it.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// The port of a listener (`rtmp`, `rtmps`, `rtsp`, `rtsps`, `http`, `https`). Panics when the server has not opened it.
    #[track_caller]
    pub fn port(&self, listener: &str) -> u16 {
        let port = self.ready[listener]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .filter(|&port| port != 0);
        port.unwrap_or_else(|| panic!("no listener {listener:?} among {}", self.ready))
    }

    /// Address of a listener on the loopback interface.
    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(listener)).into()
    }

    /// The API secret in force.
    pub fn secret(&self) -> &str {
        self.ready["api_secret"].as_str().unwrap_or_default()
    }

    /// `rtmp://127.0.0.1:PORT/live/cam1` for `live/cam1`; a query may follow.
    #[track_caller]
    pub fn url_rtmp(&self, stream: &str) -> String {
        format!("rtmp://127.0.0.1:{}/{stream}", self.port("rtmp"))
    }

    /// `rtmps://localhost:PORT/live/cam1`.
    #[track_caller]
    pub fn url_rtmps(&self, stream: &str) -> String {
        format!("rtmps://localhost:{}/{stream}", self.port("rtmps"))
    }

    /// `rtsp://127.0.0.1:PORT/live/cam1` for `live/cam1`; a query may follow.
    #[track_caller]
    pub fn url_rtsp(&self, stream: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{stream}", self.port("rtsp"))
    }

    /// `rtsps://localhost:PORT/live/cam1`.
    #[track_caller]
    pub fn url_rtsps(&self, stream: &str) -> String {
        format!("rtsps://localhost:{}/{stream}", self.port("rtsps"))
    }

    /// `http://127.0.0.1:PORT/live/cam1.live.flv`; a query in `stream` (`live/cam1?token=x`) stays at the end.
    #[track_caller]
    pub fn url_flv(&self, stream: &str) -> String {
        self.url("http", "127.0.0.1", "http", &with_suffix(stream, ".live.flv"))
    }

    /// `https://localhost:PORT/live/cam1.live.flv`.
    #[track_caller]
    pub fn url_https_flv(&self, stream: &str) -> String {
        self.url("https", "localhost", "https", &with_suffix(stream, ".live.flv"))
    }

    /// `ws://127.0.0.1:PORT/live/cam1.live.flv`.
    #[track_caller]
    pub fn url_ws_flv(&self, stream: &str) -> String {
        self.url("ws", "127.0.0.1", "http", &with_suffix(stream, ".live.flv"))
    }

    /// `wss://localhost:PORT/live/cam1.live.flv`.
    #[track_caller]
    pub fn url_wss_flv(&self, stream: &str) -> String {
        self.url("wss", "localhost", "https", &with_suffix(stream, ".live.flv"))
    }

    /// `http://127.0.0.1:PORT/` with this path and query.
    #[track_caller]
    pub fn url_http(&self, target: &str) -> String {
        self.url("http", "127.0.0.1", "http", target.trim_start_matches('/'))
    }

    #[track_caller]
    fn url(&self, scheme: &str, host: &str, listener: &str, rest: &str) -> String {
        format!("{scheme}://{host}:{}/{rest}", self.port(listener))
    }

    /// Calls `/index/api/NAME` as a form, with the secret, and returns the JSON answer. Panics when there is none.
    pub async fn api(&self, name: &str, parameters: &[(&str, &str)]) -> Value {
        let mut pairs = vec![("secret", self.secret())];
        pairs.extend(parameters);
        let body = http::form(&pairs);
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let target = format!("/index/api/{name}");
        let answer = http::request(
            self.address("http"),
            "POST",
            &target,
            &headers,
            body.as_bytes(),
            API_CALL,
        )
        .await;
        match answer.and_then(|answer| answer.json()) {
            Ok(json) => json,
            Err(error) => panic!("API call {name}: {error:#}"),
        }
    }

    /// Sends a plain GET for this path and query and returns the whole answer. Not for live streams, which have no end.
    pub async fn get(&self, target: &str) -> Result<Response> {
        http::request(self.address("http"), "GET", target, &[], &[], API_CALL).await
    }

    /// The log so far: standard output and error, line by line.
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    fn log_text(&self) -> String {
        self.log().iter().map(|line| format!("  {line}\n")).collect()
    }

    /// Waits for a log line with `pattern` in it. Panics with the log when `deadline` has passed.
    pub async fn wait_for_log(&self, pattern: &str, deadline: Duration) -> String {
        let look = |lines: &[String]| lines.iter().find(|line| line.contains(pattern)).cloned();
        match self.log.wait_for(deadline, look).await {
            Some(line) => line,
            None => panic!("no log line with {pattern:?} within {deadline:?}"),
        }
    }

    /// Calls `look` again and again until it finds something. Panics when `deadline` has passed. For what the server shows
    /// only on request; prefer hooks and the log, which come by themselves.
    pub async fn poll<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> T {
        let repeat = async {
            let mut tick = interval(Duration::from_millis(20));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if let Some(found) = look(self).await {
                    return found;
                }
            }
        };
        match timeout(deadline, repeat).await {
            Ok(found) => found,
            Err(_) => panic!("{what}: not within {deadline:?}"),
        }
    }

    /// Reloads the configuration: sends SIGHUP.
    pub fn reload(&self) -> Result<()> {
        tool::signal(self.pid, Signal::HUP)
    }

    /// Asks the server to end (SIGTERM) and waits for it.
    pub async fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        tool::signal(self.pid, Signal::TERM)?;
        self.wait(deadline).await
    }

    /// Kills the server (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.child.start_kill().context("kill the server")?;
        self.child.wait().await.context("wait for the killed server")
    }

    /// Waits for the server to end by itself.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => status.context("wait for the server"),
            Err(_) => bail!("the server still runs after {deadline:?}"),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The child is killed by `kill_on_drop`.
        if std::thread::panicking() {
            eprintln!("log of the server (process {}):\n{}", self.pid, self.log_text());
        }
    }
}

/// `live/cam1?token=x` and `.live.flv` give `live/cam1.live.flv?token=x`.
fn with_suffix(stream: &str, suffix: &str) -> String {
    match stream.split_once('?') {
        Some((path, query)) => format!("{path}{suffix}?{query}"),
        None => format!("{stream}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SOON: Duration = Duration::from_secs(20);

    /// A stand-in for the binary: a shell script that is called as the server is.
    fn stand_in(script: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (folder, path)
    }

    #[tokio::test]
    async fn a_started_server_tells_its_ports_and_stops_when_asked() {
        // Called as: -c FILE --ready-file FILE --free-ports ARGUMENTS
        let (_folder, path) = stand_in(
            "trap 'echo bye; exit 7' TERM\ncat \"$2\"; echo \"extra $6 $GREETING\" >&2\n\
             echo '{\"rtmp\": 1935, \"http\": 8080, \"https\": 0, \"api_secret\": \"s\"}' >\"$4\"\n\
             while :; do sleep 0.01; done",
        );
        let builder = TestServer::builder(&path)
            .config("[rtmp]\nport=0\n")
            .arg("--more")
            .env("GREETING", "hello");
        let mut server = builder.start().await.unwrap();
        assert_eq!(server.url_rtmp("live/a?k=v"), "rtmp://127.0.0.1:1935/live/a?k=v");
        assert_eq!(
            server.url_ws_flv("live/a?k=v"),
            "ws://127.0.0.1:8080/live/a.live.flv?k=v"
        );
        assert_eq!(server.secret(), "s");
        server.wait_for_log("port=0", SOON).await;
        assert_eq!(server.wait_for_log("extra", SOON).await, "extra --more hello");
        assert_eq!(server.stop(SOON).await.unwrap().code(), Some(7));
        server.wait_for_log("bye", SOON).await;
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_reported_with_its_log() {
        let (_folder, path) = stand_in("echo 'port 80 is taken' >&2; exit 1");
        let error = TestServer::builder(&path)
            .start()
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("exit status: 1") && error.contains("port 80 is taken"),
            "{error}"
        );
    }

    #[tokio::test]
    #[should_panic(expected = "no listener \"https\"")]
    async fn a_port_that_is_not_open_has_no_url() {
        let (_folder, path) = stand_in("echo '{\"https\": 0}' >\"$4\"; exec sleep 60");
        TestServer::builder(&path)
            .start()
            .await
            .unwrap()
            .url_https_flv("live/a");
    }

    #[tokio::test]
    async fn killing_ends_it() {
        let (_folder, path) = stand_in("echo '{}' >\"$4\"; exec sleep 60");
        let mut server = TestServer::builder(&path).start().await.unwrap();
        let status = server.kill().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
