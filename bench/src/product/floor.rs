//! The floor: the least that any server must do. One thread writes each frame, or the frames of some milliseconds, to each socket
//! with one call, nothing else.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::clip::{Clip, FRAME};

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
    /// Frames of so many milliseconds are written with one call, when that time is over; 0: each at once.
    #[arg(long, default_value_t = 0)]
    merge_ms: u64,
}

impl FloorArgs {
    /// What to start it with.
    pub fn list(clip: &Clip, viewers: u32, life: Duration, merge_ms: u64) -> Result<Vec<String>> {
        let file = clip.file.to_str().context("a clip whose name is no text")?;
        let numbers = [u64::from(viewers), life.as_secs(), merge_ms].map(|number| number.to_string());
        let [viewers, seconds, merge_ms] = &numbers;
        let arguments = [
            "--clip",
            file,
            "--viewers",
            viewers,
            "--seconds",
            seconds,
            "--merge-ms",
            merge_ms,
        ];
        Ok(arguments.map(str::to_owned).into())
    }
}

/// How long a viewer may take nothing at all.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Is the floor until the viewers are gone or the time is over.
pub fn run(args: &FloorArgs) -> Result<()> {
    let clip = Clip::read(&args.clip)?;
    let writes = schedule(&clip, Duration::from_millis(args.merge_ms));
    let longest = writes.iter().map(|write| write.len).max().unwrap_or(0);
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
    for turn in 0_u32.. {
        for write in &writes {
            let due = begin + turn * clip.length() + write.at;
            if due >= end || viewers.is_empty() {
                return Ok(());
            }
            #[allow(clippy::disallowed_methods)] // Waits for a time, not for an event.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            viewers.retain_mut(|viewer| viewer.write_all(&bytes[..write.len]).is_ok());
        }
    }
    Ok(())
}

/// One call for each viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Write {
    /// From the beginning of the clip.
    at: Duration,
    len: usize,
}

/// The writes of one turn through the clip: a frame opens a time of `merge`, and all frames within are written at its end.
fn schedule(clip: &Clip, merge: Duration) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
    for (number, frame) in (0_u32..).zip(&clip.frames) {
        let time = FRAME * number;
        match writes.last_mut() {
            Some(write) if time < write.at => write.len += frame.len(),
            _ => writes.push(Write {
                at: time + merge,
                len: frame.len(),
            }),
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn frames_of_one_merge_time_are_one_write() {
        let frame = |len| crate::clip::Frame {
            body: Bytes::from(vec![0; len]),
        };
        let clip = Clip {
            file: PathBuf::new(),
            metadata: None,
            sequence_header: Bytes::new(),
            frames: (1..=6).map(frame).collect(),
        };
        let writes = |merge_ms| -> Vec<(u128, usize)> {
            let writes = schedule(&clip, Duration::from_millis(merge_ms));
            writes
                .iter()
                .map(|write| (write.at.as_millis(), write.len))
                .collect()
        };
        let each: Vec<_> = (0..6).map(|number| (number as u128 * 40, number + 16)).collect();
        assert_eq!(writes(0), each);
        // No other frame comes within 40 ms, but each waits for so long.
        assert_eq!(writes(40).len(), 6);
        assert_eq!(writes(100), [(100, 16 + 17 + 18), (220, 19 + 20 + 21)]);
        assert_eq!(writes(300), [(300, 16 + 17 + 18 + 19 + 20 + 21)]);
    }
}
