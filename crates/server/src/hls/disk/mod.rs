//! HLS on disk (urls.md, section 6).
//!
//! Streams are served from memory. Files are written beside that, by a task for each stream, if something is to be kept
//! ([`Keeping`]). It takes the segments that the stream retains one by one. If the disk is too slow for that, segments are gone when
//! their turn comes: they are missing on disk, and the playlists say so. The stream does not notice.

mod list;
mod place;
mod writer;

pub use list::Listing;

use super::Broadcast;
use crate::app::App;
use config::Config;
use hls::record::END;
use hls::{Form, Turn};
use hooks::{Event, RecordedFile};
use hub::Stream;
use media::{Schema, StreamKey};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info, warn};
use writer::{Failed, Incoming, Plan, Writer, Written};

/// What is kept on disk of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Everything, in one playlist that viewers get, too (`hls.segNum=0`).
    All,
    /// Everything, with a playlist for each hour; viewers get the live one (`hls.segKeep=1`).
    Hours,
    /// What viewers could fetch, for those who are told of it (`hls.broadcastRecordTs=1` alone).
    Window,
}

impl Keeping {
    /// What the configuration says for streams that begin now.
    pub fn of(config: &Config) -> Option<Self> {
        let hls = &config.hls;
        if hls.segments == 0 {
            Some(Self::All)
        } else if hls.keep {
            Some(Self::Hours)
        } else {
            hls.broadcast_record_ts.then_some(Self::Window)
        }
    }
}

/// What the disk did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Segments that were written, in each form.
    pub written: AtomicU64,
    /// Bytes of them.
    pub bytes: AtomicU64,
    /// Segments that were gone before their turn came.
    pub missed: AtomicU64,
    /// Files that could not be written.
    pub errors: AtomicU64,
}

/// Most streams that write at one moment, and most viewers that read. Each takes a thread for as long as the disk needs, and a disk
/// that does not answer at all must not take them all.
const MAX_AT_ONCE: usize = 64;

/// How long a viewer waits for each piece of a file.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long viewers of a recording wait for a disk that takes its first segment; then they get what is in memory.
const PATIENCE: Duration = Duration::from_secs(3);

/// Folders that are written to and read from.
#[derive(Debug)]
pub struct Folders {
    /// Two lives of one stream write one after the other.
    turns: Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
    writing: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            turns: Mutex::default(),
            writing: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            reading: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }
}

impl Folders {
    /// Writes, when it is its turn. `None`: a defect, which was reported where it happened.
    async fn write<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        block(&self.writing, act).await
    }

    /// Reads for a viewer, when it is its turn.
    ///
    /// # Errors
    ///
    /// That of `act`; [`io::ErrorKind::TimedOut`] when there is no answer from the disk for [`READ_TIMEOUT`].
    pub async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let read = timeout(READ_TIMEOUT, block(&self.reading, act)).await;
        let silent = || io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer");
        read.map_err(|_| silent())?
            .ok_or_else(|| io::Error::other("reading failed by a defect"))?
    }

    fn turn(&self, folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut folders = self.turns.lock();
        if let Some(turn) = folders.get(folder).and_then(Weak::upgrade) {
            return turn;
        }
        folders.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        folders.insert(folder.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// Does something that blocks, in a slot that is free again when it is done, whether somebody still waits for it or not.
async fn block<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    // It is never closed.
    let slot = slots.clone().acquire_owned().await.ok()?;
    let act = move || {
        let done = act();
        drop(slot);
        done
    };
    spawn_blocking(act).await.ok()
}

/// The files of a stream, for those who read them.
#[derive(Debug)]
pub struct Disk {
    /// What is kept.
    pub keeping: Keeping,
    folder: PathBuf,
    lists: Mutex<HashMap<Form, Listing>>,
    /// The last attempt to write failed.
    failing: AtomicBool,
    /// Since when the disk is waited for.
    busy: Mutex<Option<Instant>>,
    /// A viewer was given the playlist from memory. Its numbers are other ones, so it stays with that.
    memory: AtomicBool,
    /// Nothing more will be written.
    ended: AtomicBool,
}

impl Disk {
    /// The file with this path below the stream's folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// The playlist of everything, for a viewer. `None`: the disk takes nothing, so what is in memory is all there is.
    pub fn listing(&self, form: Form) -> Turn<Option<Listing>> {
        let ended = self.ended.load(Ordering::Acquire);
        if self.memory.load(Ordering::Acquire) {
            return Turn::Ready(None);
        }
        if let Some(listing) = self.lists.lock().get(&form) {
            return Turn::Ready(Some(listing.clone()));
        }
        let slow = self.busy.lock().is_some_and(|since| since.elapsed() > PATIENCE);
        if ended || slow || self.failing.load(Ordering::Acquire) {
            self.memory.store(true, Ordering::Release);
            Turn::Ready(None)
        } else {
            Turn::Wait
        }
    }

    fn busy(&self, busy: bool) {
        *self.busy.lock() = busy.then(Instant::now);
    }
}

/// Where and in which forms the files of a stream are written, once something is to be kept.
#[derive(Debug)]
pub struct Target {
    root: PathBuf,
    folder: io::Result<PathBuf>,
    forms: Vec<Form>,
    fmp4_suffix: &'static str,
    query: String,
}

impl Target {
    /// For a stream that begins now.
    pub fn new(
        config: &Config,
        key: &StreamKey,
        schemas: &[Schema],
        root: &Path,
        fmp4_suffix: &'static str,
    ) -> Self {
        let hosts = config.general.enable_vhost;
        let query = if hosts {
            format!("?vhost={}", utf8_percent_encode(key.vhost(), NON_ALPHANUMERIC))
        } else {
            String::new()
        };
        let form = |schema: &Schema| match schema {
            Schema::Hls => Some(Form::Ts),
            Schema::HlsFmp4 => Some(Form::Fmp4),
            Schema::Rtmp | Schema::Rtsp | Schema::Ts | Schema::Fmp4 => None,
        };
        Self {
            // Without it the folder is an error, too.
            root: std::path::absolute(root).unwrap_or_default(),
            folder: place::folder(root, key, hosts),
            forms: schemas.iter().filter_map(form).collect(),
            fmp4_suffix,
            query,
        }
    }

    /// Begins to write what `broadcast` is given, from this segment on or from the first one. `None`: there is no place for it.
    pub fn begin(
        &self,
        app: &Arc<App>,
        stream: &Arc<Stream>,
        broadcast: &Arc<Broadcast>,
        keeping: Keeping,
        next: Option<u64>,
    ) -> Option<Arc<Disk>> {
        let folder = match &self.folder {
            Ok(folder) => folder.clone(),
            Err(error) => {
                app.counters.disk.errors.fetch_add(1, Ordering::Relaxed);
                error!(stream = %stream.key(), root = %self.root.display(), %error, "HLS cannot be written to disk");
                return None;
            }
        };
        let disk = Arc::new(Disk {
            keeping,
            folder: folder.clone(),
            lists: Mutex::default(),
            failing: AtomicBool::new(false),
            busy: Mutex::default(),
            memory: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let plan = Plan {
            folder,
            root: self.root.clone(),
            keeping,
            forms: self.forms.clone(),
            fmp4_suffix: self.fmp4_suffix,
            query: self.query.clone(),
            target: broadcast.live.options().segment,
            local: crate::local_time::local,
        };
        let task = Task {
            app: app.clone(),
            key: stream.key().clone(),
            params: params(stream),
            stream: Arc::downgrade(stream),
            broadcast: broadcast.clone(),
            disk: disk.clone(),
            next,
            told_missed: false,
        };
        app.tasks.spawn(task.run(Writer::new(plan)));
        Some(disk)
    }
}

/// Whether the folder of a stream that is gone has a recording of everything that was ended properly. One that was not would look
/// like a live stream to players, which would ask for it again and again.
pub async fn finished_on_disk(app: &App, key: &StreamKey, form: Form) -> bool {
    let config = app.config();
    let root = config.protocol.defaults().hls_save_path;
    let Ok(folder) = place::folder(&root, key, config.general.enable_vhost) else {
        return false;
    };
    let look = move || -> io::Result<bool> {
        let file = File::open(folder.join(writer::playlist_name(form)))?;
        let mut end = [0; END.len()];
        let length = file.metadata()?.len();
        file.read_exact_at(&mut end, length.saturating_sub(END.len() as u64))?;
        Ok(end == END.as_bytes())
    };
    app.hls.folders.read(look).await.unwrap_or(false)
}

/// The parameters of the publisher, which are the same in every schema.
fn params(stream: &Stream) -> String {
    stream.info(Schema::Hls, Instant::now()).params
}

/// The task that writes the files of one stream.
struct Task {
    app: Arc<App>,
    key: StreamKey,
    stream: Weak<Stream>,
    params: String,
    broadcast: Arc<Broadcast>,
    disk: Arc<Disk>,
    /// The segment that is written next; `None` is whichever comes first.
    next: Option<u64>,
    told_missed: bool,
}

impl Task {
    async fn run(mut self, writer: Writer) {
        let turn = self.app.hls.folders.turn(&self.disk.folder);
        self.disk.busy(true);
        let held = turn.lock().await;
        self.disk.busy(false);
        let writer = self.write(writer).await;
        self.disk.ended.store(true, Ordering::Release);
        self.broadcast.changed();
        drop(held);
        drop(turn);
        if let Some(mut writer) = writer
            && self.disk.keeping == Keeping::Window
        {
            let delay = self.app.config().hls.delete_delay;
            tokio::select! {
                () = self.app.stop.cancelled() => {}
                () = tokio::time::sleep(delay) => {}
            }
            self.app.hls.folders.write(move || writer.forget()).await;
        }
    }

    /// Writes until the stream ends. `None`: a defect, which was reported where it happened.
    async fn write(&mut self, mut writer: Writer) -> Option<Writer> {
        let live = self.broadcast.live.clone();
        let mut changes = self.broadcast.changes();
        loop {
            changes.borrow_and_update();
            let ended = live.ended();
            while let Some(segment) = live.next(self.next.unwrap_or(0)) {
                let gap = self.missed(segment.sequence);
                self.next = Some(segment.sequence + 1);
                // Switched off meanwhile: nobody is told of it, so nobody would miss it.
                if self.disk.keeping == Keeping::Window && !self.app.config().hls.broadcast_record_ts {
                    continue;
                }
                let oldest = live.oldest().unwrap_or(0);
                let began = segment.began();
                let began =
                    began.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
                self.disk.busy(true);
                let done = self.app.hls.folders.write(move || {
                    let incoming = Incoming {
                        segment: &segment,
                        began,
                        gap,
                    };
                    let results = writer.write(incoming);
                    writer.forget_before(oldest);
                    (writer, results)
                });
                let results;
                (writer, results) = done.await?;
                self.disk.busy(false);
                self.take(&writer, results);
            }
            if ended {
                break;
            }
            // The sender is in `self`.
            let _ = changes.changed().await;
        }
        let ended = self.app.hls.folders.write(move || {
            let failed = writer.end();
            (writer, failed)
        });
        let (writer, failed) = ended.await?;
        failed.iter().for_each(|failed| self.failed(failed));
        self.publish(&writer);
        Some(writer)
    }

    /// Whether segments before this one are gone.
    fn missed(&mut self, sequence: u64) -> bool {
        let missed = self.next.map_or(0, |next| sequence.saturating_sub(next));
        if missed == 0 {
            return false;
        }
        self.app.counters.disk.missed.fetch_add(missed, Ordering::Relaxed);
        if !self.told_missed {
            self.told_missed = true;
            warn!(stream = %self.key, missed, folder = %self.disk.folder.display(), "the disk is too slow: segments are missing in the recording; further ones are counted in /metrics");
        }
        true
    }

    /// Looks at what was written.
    fn take(&mut self, writer: &Writer, results: Vec<Result<Written, Failed>>) {
        let mut failing = false;
        for result in results {
            match result {
                Ok(written) => self.written(&written),
                Err(failed) => {
                    failing = true;
                    self.failed(&failed);
                }
            }
        }
        if self.disk.failing.swap(failing, Ordering::AcqRel) && !failing {
            info!(stream = %self.key, folder = %self.disk.folder.display(), "HLS is written to disk again");
        }
        self.publish(writer);
    }

    fn failed(&self, failed: &Failed) {
        self.app.counters.disk.errors.fetch_add(1, Ordering::Relaxed);
        // Once until something can be written again.
        if !self.disk.failing.swap(true, Ordering::AcqRel) {
            error!(stream = %self.key, path = %failed.path.display(), error = %failed.error, "HLS cannot be written to disk; the stream goes on");
        }
    }

    /// Shows readers how far the playlists are.
    fn publish(&self, writer: &Writer) {
        if self.disk.keeping == Keeping::All {
            let mut lists = self.disk.lists.lock();
            for form in [Form::Ts, Form::Fmp4] {
                if let Some(listing) = writer.listing(form) {
                    lists.insert(form, listing);
                }
            }
        }
        self.broadcast.changed();
    }

    fn written(&mut self, written: &Written) {
        let counters = &self.app.counters.disk;
        counters.written.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(written.size, Ordering::Relaxed);
        if !self.app.config().hls.broadcast_record_ts {
            return;
        }
        if let Some(stream) = self.stream.upgrade() {
            self.params = params(&stream);
        }
        self.app.hooks.notify(&Event::RecordTs {
            key: self.key.clone(),
            params: self.params.clone(),
            file: Box::new(RecordedFile {
                name: written.name.clone(),
                folder: self.disk.folder.clone(),
                size: written.size,
                start: written.began,
                length: Duration::from_micros(u64::try_from(written.duration.as_micros()).unwrap_or(0)),
            }),
        });
    }
}
