//! Events as lines of JSON, in a file of bounded size with older ones beside it, or on standard output.

use crate::call::Hook;
use crate::rules::field::OneOrMany;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

/// Most events that wait to be written.
const MAX_WAITING: usize = 4096;

/// Most events that are written in one go.
const BATCH: usize = 256;

/// Where events are written, and which.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The file; `-` for standard output.
    pub file: PathBuf,
    /// A file that reaches this size is moved aside.
    #[serde(default = "max_mib")]
    max_mib: MaxMib,
    /// How many older files are kept: `file.1` is the youngest.
    #[serde(default = "keep")]
    keep: Keep,
    /// Names of hooks; empty: all that bring news.
    #[serde(default)]
    events: OneOrMany<Event>,
}

/// 1 to 65,536 MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MaxMib(u64);

/// 0 to 1000 files.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Keep(u32);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Event(Hook);

const fn max_mib() -> MaxMib {
    MaxMib(64)
}

const fn keep() -> Keep {
    Keep(4)
}

impl<'de> Deserialize<'de> for MaxMib {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mib = u64::deserialize(from)?;
        let refused = || serde::de::Error::custom(format!("max_mib = {mib}: must be 1 to 65536"));
        (1..=65_536)
            .contains(&mib)
            .then_some(Self(mib))
            .ok_or_else(refused)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let files = u32::deserialize(from)?;
        let refused = || serde::de::Error::custom(format!("keep = {files}: must be 0 to 1000"));
        (files <= 1000).then_some(Self(files)).ok_or_else(refused)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let refused = || serde::de::Error::custom(format!("`{name}` is no hook"));
        Hook::of_name(&name).map(Self).ok_or_else(refused)
    }
}

impl Journal {
    /// Whether calls of a hook are written.
    pub fn wants(&self, hook: Hook) -> bool {
        if self.events.0.is_empty() {
            return matches!(hook, Hook::News(_) | Hook::Event);
        }
        self.events.0.iter().any(|event| event.0 == hook)
    }
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    time_ms: u128,
    hook: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    body: Value,
}

/// An event as a line. `time_ms`: UNIX milliseconds. `id`: the `webhook-id`, by which a repetition is known.
///
/// # Errors
///
/// The body is no JSON.
pub fn line(hook: Hook, id: Option<&str>, body: &[u8], time_ms: u128) -> serde_json::Result<String> {
    let mut body: Value = serde_json::from_slice(body)?;
    // The whole configuration stands in it, the API secret included.
    if hook == Hook::News("on_server_started")
        && let Some(members) = body.as_object_mut()
    {
        members.retain(|name, _| !name.contains('.'));
    }
    let mut line = serde_json::to_string(&Line {
        time_ms,
        hook: hook.name(),
        id,
        body,
    })?;
    line.push('\n');
    Ok(line)
}

/// Why an event was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// More events than the disk takes.
    #[error("too many events wait to be written")]
    Full,
    /// The file cannot be written; the log says why.
    #[error("the journal cannot be written")]
    Failed,
}

struct Entry {
    journal: Arc<Journal>,
    line: String,
    written: oneshot::Sender<bool>,
}

/// The way to the journal.
#[derive(Clone)]
pub struct Sender(mpsc::Sender<Entry>);

/// Writes the journal, when driven.
pub struct Writer {
    entries: mpsc::Receiver<Entry>,
    open: Option<Open>,
}

struct Open {
    journal: Arc<Journal>,
    file: Option<File>,
    size: u64,
}

/// A journal's two ends.
pub fn channel() -> (Sender, Writer) {
    let (sender, entries) = mpsc::channel(MAX_WAITING);
    (Sender(sender), Writer { entries, open: None })
}

impl Sender {
    /// Writes a line, and returns when the system has it.
    ///
    /// # Errors
    ///
    /// It was not written.
    pub async fn write(&self, journal: &Arc<Journal>, line: String) -> Result<(), NotWritten> {
        let (written, outcome) = oneshot::channel();
        let entry = Entry {
            journal: journal.clone(),
            line,
            written,
        };
        self.0.try_send(entry).map_err(|_| NotWritten::Full)?;
        match outcome.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(NotWritten::Failed),
        }
    }
}

impl Writer {
    /// Writes what comes. Ends when nothing can come any more.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        let mut failing = false;
        while self.entries.recv_many(&mut batch, BATCH).await > 0 {
            let mut left = batch.drain(..).peekable();
            while let Some(first) = left.next() {
                let mut text = first.line;
                let mut waiting = vec![first.written];
                while let Some(next) = left.next_if(|next| next.journal == first.journal) {
                    text.push_str(&next.line);
                    waiting.push(next.written);
                }
                let outcome = self.write(&first.journal, text.as_bytes()).await;
                let path = first.journal.file.display();
                match &outcome {
                    Ok(()) if failing => info!(file = %path, "the journal is written again"),
                    Err(error) if !failing => error!(file = %path, %error, "the journal cannot be written"),
                    Ok(()) | Err(_) => {}
                }
                failing = outcome.is_err();
                for written in waiting {
                    // Who asked may have left.
                    let _ = written.send(!failing);
                }
            }
        }
    }

    async fn write(&mut self, journal: &Arc<Journal>, bytes: &[u8]) -> io::Result<()> {
        let result = self.try_write(journal, bytes).await;
        if result.is_err() {
            // The next attempt begins anew.
            self.open = None;
        }
        result
    }

    async fn try_write(&mut self, journal: &Arc<Journal>, bytes: &[u8]) -> io::Result<()> {
        let is_open = self.open.as_ref().is_some_and(|open| open.journal == *journal);
        if !is_open {
            self.open = Some(Open::new(journal).await?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let Some(file) = &mut open.file else {
            let mut out = tokio::io::stdout();
            out.write_all(bytes).await?;
            return out.flush().await;
        };
        let max = journal.max_mib.0 << 20;
        if open.size > 0 && open.size + bytes.len() as u64 > max {
            rotate(&journal.file, journal.keep.0).await?;
            *file = append(&journal.file).await?;
            open.size = 0;
        }
        file.write_all(bytes).await?;
        file.flush().await?;
        open.size += bytes.len() as u64;
        Ok(())
    }
}

impl Open {
    async fn new(journal: &Arc<Journal>) -> io::Result<Self> {
        let (file, size) = if journal.file == Path::new("-") {
            (None, 0)
        } else {
            let file = append(&journal.file).await?;
            let size = file.metadata().await?.len();
            (Some(file), size)
        };
        Ok(Self {
            journal: journal.clone(),
            file,
            size,
        })
    }
}

async fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).await
}

/// `file` becomes `file.1`, that becomes `file.2`, and so on; what would become one too many is overwritten or removed.
async fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let older = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return fs::remove_file(path).await;
    }
    for number in (1..keep).rev() {
        match fs::rename(older(number), older(number + 1)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, older(1)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(file: &Path, keep: u32) -> Arc<Journal> {
        Arc::new(Journal {
            file: file.to_owned(),
            max_mib: MaxMib(1),
            keep: Keep(keep),
            events: OneOrMany::default(),
        })
    }

    #[test]
    fn a_line_is_one_line_and_holds_no_secret() {
        let body = b"{\n\t\"mediaServerId\" : \"a\",\n\t\"api.secret\" : \"s3cret\"\n}";
        let started = line(Hook::News("on_server_started"), Some("evt_1"), body, 5).unwrap();
        assert_eq!(
            started,
            "{\"time_ms\":5,\"hook\":\"on_server_started\",\"id\":\"evt_1\",\"body\":{\"mediaServerId\":\"a\"}}\n"
        );
        assert!(line(Hook::Event, None, b"{", 5).is_err());
    }

    #[tokio::test]
    async fn files_are_moved_aside_when_they_are_full_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let (sender, writer) = channel();
        let journal = journal(&path, 2);
        // Three lines of this kind do not fit into one file.
        let line = |number: usize| format!("{number}{}\n", "x".repeat(400 * 1024));
        let script = async {
            for number in 0..7 {
                sender.write(&journal, line(number)).await.unwrap();
            }
            drop(sender);
        };
        tokio::join!(script, writer.run());
        let firsts = |name: &str| {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            text.lines().map(|line| line[..1].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(firsts("events.jsonl"), ["6"]);
        assert_eq!(firsts("events.jsonl.1"), ["4", "5"]);
        assert_eq!(firsts("events.jsonl.2"), ["2", "3"]);
        assert!(!folder.path().join("events.jsonl.3").exists());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_said_and_tried_again_with_the_next_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/events.jsonl");
        let (sender, writer) = channel();
        let journal = journal(&path, 2);
        let script = async {
            assert_eq!(
                sender.write(&journal, "a\n".to_owned()).await,
                Err(NotWritten::Failed)
            );
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            assert_eq!(sender.write(&journal, "b\n".to_owned()).await, Ok(()));
            drop(sender);
        };
        tokio::join!(script, writer.run());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\n");
    }

    #[tokio::test]
    async fn no_more_events_wait_than_may() {
        let (sender, _writer) = channel();
        let journal = journal(Path::new("/dev/null"), 1);
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let mut write = Box::pin(sender.write(&journal, "a\n".to_owned()));
            assert!(futures_util::poll!(&mut write).is_pending());
            waiting.push(write);
        }
        assert_eq!(
            sender.write(&journal, "b\n".to_owned()).await,
            Err(NotWritten::Full)
        );
    }
}
