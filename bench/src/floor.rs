//! The floor: the least that any server must do. One thread writes each frame to each socket with one call, nothing else.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::child::{self, Usage};
use crate::clip::Clip;
use crate::rows::Plan;

/// Arguments of the program.
#[derive(Debug, clap::Args)]
pub struct FloorArgs {
    /// The clip whose frames are imitated.
    #[arg(long)]
    clip: PathBuf,
    /// Viewers to wait for.
    #[arg(long)]
    viewers: u32,
    /// When to end at the latest, seconds.
    #[arg(long)]
    seconds: u64,
}

/// How long a viewer may take nothing at all.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Is the floor until the viewers are gone or the time is over.
pub fn run(args: &FloorArgs) -> Result<()> {
    let clip = Clip::read(&args.clip)?;
    let longest = clip.frames.iter().map(|frame| frame.len).max().unwrap_or(0);
    let bytes = vec![0_u8; longest];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("open a port")?;
    println!("{}", listener.local_addr().context("the open port")?.port());
    let mut viewers: Vec<TcpStream> = Vec::new();
    for _ in 0..args.viewers {
        let (viewer, _) = listener.accept().context("accept a viewer")?;
        viewer.set_nodelay(true)?;
        viewer.set_write_timeout(Some(WRITE_TIMEOUT))?;
        viewers.push(viewer);
    }

    let begin = Instant::now();
    let end = begin + Duration::from_secs(args.seconds);
    for turn in 0.. {
        for frame in &clip.frames {
            let due = begin + Duration::from_millis(turn * clip.length_ms() + frame.time_ms);
            if due >= end || viewers.is_empty() {
                return Ok(());
            }
            #[allow(clippy::disallowed_methods)] // Waits for a time, not for an event.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            viewers.retain_mut(|viewer| viewer.write_all(&bytes[..frame.len]).is_ok());
        }
    }
    Ok(())
}

/// Longest that a start may take.
const START: Duration = Duration::from_secs(20);

/// The floor as a process of its own. Ends with the value.
pub struct Floor {
    process: Child,
    /// Where viewers connect to.
    pub port: u16,
}

impl Floor {
    /// Starts it; it waits for `viewers` and ends by itself after `life`.
    pub async fn start(plan: &Plan, clip: &Clip, viewers: u32, life: Duration) -> Result<Self> {
        let mut command = child::command(
            &plan.cores.server,
            std::env::current_exe().context("our own program")?,
        )?;
        command.arg("floor").arg("--clip").arg(&clip.file);
        command.args([
            "--viewers",
            &viewers.to_string(),
            "--seconds",
            &life.as_secs().to_string(),
        ]);
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .context("start the floor")?;
        let stdout = process.stdout.take().context("standard output is piped")?;
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let reading = timeout(START, stdout.read_line(&mut line));
        reading
            .await
            .context("the floor does not start")?
            .context("read the floor's port")?;
        ensure!(!line.is_empty(), "the floor ended before it had a port");
        let port = line
            .trim()
            .parse()
            .with_context(|| format!("the floor's port: {line:?}"))?;
        Ok(Self { process, port })
    }

    /// What it has used.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(&self.process)
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<()> {
        self.process.kill().await.context("end the floor")
    }
}
