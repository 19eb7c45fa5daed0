//! Real media tools as clients: each has a deadline and ends with the test.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::inbox::Inbox;

/// What is kept of a program's standard output. A program that writes more fails the test.
const MAX_STDOUT: usize = 256 << 20;
/// What is kept of its messages; ffmpeg writes one progress line per half second.
const MAX_LINES: usize = 100_000;

/// A program and its arguments, to be run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    shown: String,
}

impl Tool {
    /// Any program from `PATH`, or by its path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self {
            command,
            shown: program.to_string_lossy().into_owned(),
        }
    }

    /// The system's ffmpeg (5.1 on Debian 12), without banner and without asking anything.
    pub fn ffmpeg() -> Self {
        Self::new("ffmpeg").args(["-hide_banner", "-nostdin", "-nostats", "-y"])
    }

    /// A recent ffmpeg, which speaks enhanced RTMP; see [`ffmpeg_new_path`].
    pub fn ffmpeg_new() -> Result<Self> {
        Ok(Self::new(ffmpeg_new_path()?).args(["-hide_banner", "-nostdin", "-nostats", "-y"]))
    }

    /// The system's ffprobe, without banner.
    pub fn ffprobe() -> Self {
        Self::new("ffprobe").arg("-hide_banner")
    }

    /// curl, without the user's configuration.
    pub fn curl() -> Self {
        Self::new("curl").arg("-q")
    }

    /// schemathesis, which `scripts/setup.sh` has put below `.tools/`.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn schemathesis() -> Result<Self> {
        let script = "from schemathesis.cli import schemathesis; schemathesis()";
        Self::python("schemathesis", script)
    }

    /// A Python script that uses a package which `scripts/setup.sh` has put below `.tools/`.
    ///
    /// # Errors
    ///
    /// The package is not there.
    pub fn python(package: &str, script: &str) -> Result<Self> {
        let python = installed("python", package)?;
        Ok(Self::new("python3")
            .args(["-c", script])
            .env("PYTHONPATH", python)
            // Tests run side by side.
            .env("PYTHONDONTWRITEBYTECODE", "1"))
    }

    /// The same for a script of Node.
    ///
    /// # Errors
    ///
    /// The package is not there.
    pub fn node(package: &str, script: &str) -> Result<Self> {
        let modules = installed("node_modules", package)?;
        Ok(Self::new("node")
            .args(["-e", script, "--"])
            .env("NODE_PATH", modules))
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, |tool, arg| tool.arg(arg))
    }

    /// Sets an environment variable for the program.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts the program in this folder.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts the program.
    pub fn spawn(mut self) -> Result<Running> {
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        let pid = child
            .id()
            .context("a program that has just been started has a process id")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let lines = Arc::new(Inbox::new());
        let collected = Arc::new(Mutex::new(Vec::new()));
        Ok(Running {
            stdout: tokio::spawn(collect(stdout, collected.clone(), lines.clone())),
            stderr: tokio::spawn(read_lines(stderr, lines.clone())),
            collected,
            lines,
            child,
            pid,
            shown: self.shown,
        })
    }

    /// Runs the program to its end. Fails when it takes longer than `deadline` or ends without success.
    pub async fn run(self, deadline: Duration) -> Result<Output> {
        let output = self.spawn()?.wait(deadline).await?;
        if !output.status.success() {
            bail!("{output:?}");
        }
        Ok(output)
    }
}

/// A program that runs. It is killed when this is dropped.
pub struct Running {
    child: Child,
    pid: u32,
    shown: String,
    stdout: JoinHandle<Result<()>>,
    stderr: JoinHandle<()>,
    collected: Arc<Mutex<Vec<u8>>>,
    lines: Arc<Inbox<String>>,
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The messages (lines of standard error) so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.all()
    }

    /// Bytes of standard output so far.
    pub fn stdout_len(&self) -> usize {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Waits for a line of standard error with `pattern` in it.
    pub async fn wait_for_line(&self, pattern: &str, deadline: Duration) -> Result<String> {
        let look = |lines: &[String]| lines.iter().find(|line| line.contains(pattern)).cloned();
        match self.lines.wait_for(deadline, look).await {
            Some(line) => Ok(line),
            None => bail!(
                "`{}` wrote no line with {pattern:?} within {deadline:?}; it wrote:\n{}",
                self.shown,
                tail(&self.lines())
            ),
        }
    }

    /// Waits until at least `bytes` have come on standard output: media is flowing.
    pub async fn wait_for_stdout(&self, bytes: usize, deadline: Duration) -> Result<()> {
        let look = |_: &[String]| (self.stdout_len() >= bytes).then_some(());
        match self.lines.wait_for(deadline, look).await {
            Some(()) => Ok(()),
            None => bail!(
                "`{}` wrote {} of {bytes} bytes within {deadline:?}; its messages:\n{}",
                self.shown,
                self.stdout_len(),
                tail(&self.lines())
            ),
        }
    }

    /// Waits for a whole line of standard output with `pattern` in it.
    pub async fn wait_for_output(&self, pattern: &str, deadline: Duration) -> Result<String> {
        let look = |_: &[String]| {
            let collected = self.collected.lock().unwrap_or_else(PoisonError::into_inner);
            let text = String::from_utf8_lossy(&collected);
            let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines
                .find(|line| line.contains(pattern))
                .map(|line| line.trim_end().to_owned())
        };
        match self.lines.wait_for(deadline, look).await {
            Some(line) => Ok(line),
            None => bail!(
                "`{}` printed no line with {pattern:?} within {deadline:?}; its messages:\n{}",
                self.shown,
                tail(&self.lines())
            ),
        }
    }

    /// Waits until there are at least `count` lines of standard error with `pattern` in them.
    pub async fn wait_for_lines(&self, pattern: &str, count: usize, deadline: Duration) -> Result<()> {
        let enough = |lines: &[String]| {
            let found = lines.iter().filter(|line| line.contains(pattern)).count();
            (found >= count).then_some(())
        };
        match self.lines.wait_for(deadline, enough).await {
            Some(()) => Ok(()),
            None => bail!(
                "`{}` wrote fewer than {count} lines with {pattern:?} within {deadline:?}; it wrote:\n{}",
                self.shown,
                tail(&self.lines())
            ),
        }
    }

    /// Waits for the end of the program, however it ends. After `deadline` it is killed, and that is an error.
    pub async fn wait(mut self, deadline: Duration) -> Result<Output> {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => self.output(status.context("wait for a program")?).await,
            Err(_) => {
                // Dropping `self` kills the program.
                bail!(
                    "`{}` still runs after {deadline:?}; its messages:\n{}",
                    self.shown,
                    tail(&self.lines())
                )
            }
        }
    }

    /// Kills the program (SIGKILL) and returns what it had said.
    pub async fn kill(mut self) -> Result<Output> {
        self.child.start_kill().context("kill a program")?;
        let status = self.child.wait().await.context("wait for a killed program")?;
        self.output(status).await
    }

    /// Asks the program to end (SIGTERM; ffmpeg then finishes its file) and waits for that.
    pub async fn terminate(self, deadline: Duration) -> Result<Output> {
        signal(self.pid, rustix::process::Signal::TERM)?;
        self.wait(deadline).await
    }

    async fn output(self, status: ExitStatus) -> Result<Output> {
        // The pipes end with the program. One that a child of it has inherited does not; there is no more to wait for.
        let Self {
            stdout,
            stderr,
            collected,
            lines,
            shown,
            ..
        } = self;
        let ends = async { (stdout.await, stderr.await) };
        if let Ok((stdout, stderr)) = timeout(PIPE_END, ends).await {
            stdout.context("read standard output")??;
            stderr.context("read standard error")?;
        }
        let stdout = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Output {
            command: shown,
            status,
            stdout,
            stderr: lines.all(),
        })
    }
}

/// How long a pipe may stay open after the program has ended.
const PIPE_END: Duration = Duration::from_secs(5);

/// How a program ended, and what it said.
pub struct Output {
    /// The command line, for people.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Everything from standard output.
    pub stdout: Vec<u8>,
    /// The lines of standard error.
    pub stderr: Vec<String>,
}

impl Output {
    /// Standard output as text, with anything that is not UTF-8 replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "`{command}` ended with {status}, {} bytes on standard output",
            stdout.len()
        )?;
        write!(f, "; its messages:\n{}", tail(stderr))
    }
}

/// The folder below `.tools/` that holds a package.
fn installed(folder: &str, package: &str) -> Result<PathBuf> {
    let tools = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools"));
    let folder = tools.join(folder).canonicalize().ok();
    let folder = folder.filter(|folder| folder.join(package).is_dir());
    folder.with_context(|| format!("no {package}: run `scripts/setup.sh test`"))
}

/// Where a recent ffmpeg (6.1 or later) is: what `TIDEGATE_FFMPEG_NEW` names, else what `scripts/setup.sh` has put below
/// `.tools/`, else the one in the Python package `imageio_ffmpeg`. Looked up once per process.
pub fn ffmpeg_new_path() -> Result<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("TIDEGATE_FFMPEG_NEW") {
                return Some(path.into());
            }
            let ours = Path::new(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../.tools/bin/ffmpeg-new"
            ));
            if ours.exists() {
                return Some(ours.to_path_buf());
            }
            let python = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe(), end='')";
            let output = std::process::Command::new("python3")
                .args(["-c", python])
                .output()
                .ok()?;
            output.status.success().then(|| {
                let path: OsString = String::from_utf8_lossy(&output.stdout).into_owned().into();
                path.into()
            })
        })
        .as_deref()
        .context("no recent ffmpeg: run `scripts/setup.sh test`, or name one in TIDEGATE_FFMPEG_NEW")
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) -> Result<()> {
    let raw = i32::try_from(pid).context("process id")?;
    let pid = rustix::process::Pid::from_raw(raw).context("process id 0")?;
    rustix::process::kill_process(pid, signal).with_context(|| format!("send {signal:?} to {raw}"))
}

async fn collect(
    mut from: impl AsyncRead + Unpin,
    to: Arc<Mutex<Vec<u8>>>,
    waiters: Arc<Inbox<String>>,
) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            if to.len() + count > MAX_STDOUT {
                bail!("more than {MAX_STDOUT} bytes on standard output");
            }
            to.extend_from_slice(&buffer[..count]);
        }
        waiters.touch();
    }
}

/// Reads lines into `to`; beyond [`MAX_LINES`] they are read, so that the program goes on, and dropped.
pub(crate) async fn read_lines(from: impl AsyncRead + Unpin, to: Arc<Inbox<String>>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    for number in 0.. {
        line.clear();
        match from.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) if number >= MAX_LINES => {}
            Ok(_) => to.push(String::from_utf8_lossy(&line).trim_end().to_owned()),
        }
    }
}

fn tail(lines: &[String]) -> String {
    let from = lines.len().saturating_sub(30);
    lines[from..].iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn output_and_status_come_back() {
        let output = Tool::new("sh")
            .args(["-c", "printf out; echo err >&2; exit 3"])
            .spawn()
            .unwrap();
        let output = output.wait(SOON).await.unwrap();
        assert_eq!(
            (output.status.code(), output.stdout_text().as_str()),
            (Some(3), "out")
        );
        assert_eq!(output.stderr, ["err"]);
    }

    #[tokio::test]
    async fn a_failure_is_told_with_the_messages() {
        let error = Tool::new("sh")
            .args(["-c", "echo broken >&2; exit 1"])
            .run(SOON)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[tokio::test]
    async fn a_program_past_its_deadline_is_killed() {
        let running = Tool::new("sleep").arg("60").spawn().unwrap();
        let pid = running.pid();
        let error = running.wait(Duration::from_millis(1)).await.unwrap_err();
        assert!(
            error.to_string().contains("`sleep 60` still runs after 1ms"),
            "{error}"
        );
        // The runtime reaps killed children as it goes; a zombie is dead, too.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(!status.contains("State:\tS"), "still sleeping:\n{status}");
    }

    #[tokio::test]
    async fn lines_and_bytes_are_waited_for() {
        let program = "echo ready >&2; head -c 100000 /dev/zero; exec sleep 60";
        let running = Tool::new("sh").args(["-c", program]).spawn().unwrap();
        assert_eq!(running.wait_for_line("ead", SOON).await.unwrap(), "ready");
        running.wait_for_stdout(100_000, SOON).await.unwrap();
        let error = running
            .wait_for_line("never", Duration::from_millis(1))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("ready"), "{error}");
        assert_eq!(running.kill().await.unwrap().stdout.len(), 100_000);
    }

    #[tokio::test]
    async fn terminating_lets_the_program_finish() {
        let program = "trap 'echo bye >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.01; done";
        let running = Tool::new("sh").args(["-c", program]).spawn().unwrap();
        running.wait_for_line("ready", SOON).await.unwrap();
        let output = running.terminate(SOON).await.unwrap();
        assert!(output.status.success());
        assert_eq!(output.stderr, ["ready", "bye"]);
    }

    #[tokio::test]
    async fn the_recent_ffmpeg_is_recent() {
        let output = Tool::ffmpeg_new()
            .unwrap()
            .arg("-version")
            .run(SOON)
            .await
            .unwrap();
        let text = output.stdout_text();
        let version = text.split_whitespace().nth(2).unwrap_or_default();
        let major: u32 = version
            .trim_start_matches('n')
            .split('.')
            .next()
            .unwrap_or_default()
            .parse()
            .unwrap();
        assert!(major >= 7, "{text}");
    }
}
