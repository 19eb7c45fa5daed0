//! HLS: what was cut of each stream, and who watches it.
//!
//! The cutting is a muxer in the hub (`hls::Packager`), so it runs in the publisher's task. Requests of viewers find its results
//! here, by the stream's incarnation; a viewer is a session of its own, since its connections come and go ([`viewers`]).

pub mod disk;
pub mod viewers;

use crate::app::App;
use crate::containers;
use config::Config;
use disk::{Disk, Folders, Keeping, Target};
use hls::{Change, Live, Packager};
use hub::Stream;
use lifecycle::Event;
use media::{MediaTime, ProtocolOptions, Schema};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use viewers::Viewers;

/// The streams that are offered as HLS, and their viewers.
#[derive(Default)]
pub struct Hls {
    streams: Mutex<HashMap<u64, Entry>>,
    /// Who watches.
    pub viewers: Viewers,
    /// Where files are being written.
    pub folders: Folders,
}

/// One stream.
struct Entry {
    stream: Weak<Stream>,
    /// What is kept of it on disk, whatever the configuration says by now.
    keeping: Option<Keeping>,
    /// Where.
    target: Target,
    /// Made only while somebody watches.
    on_demand: bool,
    options: hls::Options,
    /// Schemas it is offered in.
    schemas: Vec<Schema>,
    /// What is cut; `None` while nobody watches.
    broadcast: Option<Arc<Broadcast>>,
    /// Viewers that need it.
    users: usize,
}

/// What is cut of one stream, and the news of it.
pub struct Broadcast {
    /// Segments and playlists.
    pub live: Arc<Live>,
    changes: watch::Sender<u64>,
    /// Cancelled when nothing will come any more. Apart from the changes, so that viewers are not woken for each of them.
    pub ended: CancellationToken,
    disk: OnceLock<Arc<Disk>>,
}

impl Broadcast {
    /// To wait for the next change with. What changed before this call is not told.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Its files, if there are any.
    pub fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.get()
    }

    /// The recording that viewers are served from.
    pub fn recording(&self) -> Option<&Arc<Disk>> {
        self.disk().filter(|disk| disk.keeping == Keeping::All)
    }

    /// Wakes everyone who waits for a change.
    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// The right to rely on a stream's segments being cut, until dropped.
pub struct Use {
    app: Arc<App>,
    stream: Arc<Stream>,
    /// What is cut.
    pub broadcast: Arc<Broadcast>,
}

impl Hls {
    /// A stream was opened. It is cut from now on, unless that is to be done on demand.
    pub fn open(&self, app: &Arc<App>, stream: &Arc<Stream>, schemas: &[Schema], protocol: &ProtocolOptions) {
        let schemas: Vec<Schema> = schemas.iter().copied().filter(|schema| is_hls(*schema)).collect();
        if schemas.is_empty() {
            return;
        }
        stream.set_recording_hls(schemas.contains(&Schema::Hls));
        let config = app.config();
        let suffix = fmp4_suffix(&config);
        let keeping = Keeping::of(&config);
        let mut entry = Entry {
            stream: Arc::downgrade(stream),
            keeping: keeping.filter(|keeping| *keeping != Keeping::Window),
            target: Target::new(&config, stream.key(), &schemas, &protocol.hls_save_path, suffix),
            // A recording has no gaps while nobody watches.
            on_demand: protocol.on_demand(Schema::Hls) && keeping != Some(Keeping::All),
            options: options(&config),
            schemas,
            broadcast: None,
            users: 0,
        };
        if !entry.on_demand {
            entry.begin(app, stream);
        }
        self.streams.lock().insert(stream.incarnation(), entry);
    }

    /// The configuration changed: segments may have to be written that nobody wanted before.
    pub fn reconfigure(&self, app: &Arc<App>) {
        for entry in self.streams.lock().values() {
            if let (Some(stream), Some(broadcast)) = (entry.stream.upgrade(), &entry.broadcast) {
                let next = broadcast.live.newest().map(|newest| newest.sequence + 1);
                entry.record(app, &stream, broadcast, next);
            }
        }
    }

    /// A stream is gone. Its viewers keep what was cut.
    pub fn close(&self, incarnation: u64) {
        self.streams.lock().remove(&incarnation);
    }

    /// Makes sure that a stream is cut. `None`: it is not offered as HLS, or gone.
    pub fn join(&self, app: &Arc<App>, stream: &Arc<Stream>) -> Option<Use> {
        let mut streams = self.streams.lock();
        let entry = streams.get_mut(&stream.incarnation())?;
        if entry.broadcast.is_none() {
            entry.begin(app, stream);
        }
        let broadcast = entry.broadcast.clone()?;
        entry.users += 1;
        broadcast.live.set_watched(true);
        Some(Use {
            app: app.clone(),
            stream: stream.clone(),
            broadcast,
        })
    }

    /// How the names of fMP4 segments end that are cut from now on.
    pub fn fmp4_suffix(&self, app: &App) -> &'static str {
        fmp4_suffix(&app.config())
    }

    fn leave(&self, stream: &Stream) {
        let mut streams = self.streams.lock();
        let Some(entry) = streams.get_mut(&stream.incarnation()) else {
            return;
        };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0
            && let Some(broadcast) = &entry.broadcast
        {
            broadcast.live.set_watched(false);
        }
        if entry.users == 0 && entry.on_demand {
            entry.broadcast = None;
            // Under the lock, so that whoever joins now begins anew instead of finding what is about to end.
            stream.detach_eager(containers::HLS);
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.app.hls.leave(&self.stream);
    }
}

impl Entry {
    /// Attaches the packager. A failure means that the stream has just been closed: then nobody asks for it any more.
    fn begin(&mut self, app: &Arc<App>, stream: &Arc<Stream>) {
        let live = Live::new(self.options.clone());
        let broadcast = Arc::new(Broadcast {
            live: live.clone(),
            changes: watch::Sender::new(0),
            ended: CancellationToken::new(),
            disk: OnceLock::new(),
        });
        let (link, key, incarnation) = (app.link.clone(), stream.key().clone(), stream.incarnation());
        let (schemas, told) = (self.schemas.clone(), broadcast.clone());
        // Runs in the publisher's task under the stream's lock: it may send, and nothing else.
        let on_change = move |change| {
            told.live
                .observe(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
            told.changed();
            match change {
                Change::Segment { first: true } => {
                    for schema in &schemas {
                        link.raise(Event::SchemaReady {
                            key: key.clone(),
                            incarnation,
                            schema: *schema,
                        });
                    }
                }
                Change::Ended => told.ended.cancel(),
                Change::Part | Change::Segment { first: false } => {}
            }
        };
        let packager = || -> Box<dyn media::Mux> { Box::new(Packager::new(live, Box::new(on_change))) };
        if stream.attach_eager(containers::HLS, packager).is_ok() {
            // What the cached group of pictures gave is written, too.
            self.record(app, stream, &broadcast, None);
            self.broadcast = Some(broadcast);
        }
    }

    /// Begins to write files, if there are to be any and there are none yet: those from `next` on, or all.
    fn record(&self, app: &Arc<App>, stream: &Arc<Stream>, broadcast: &Arc<Broadcast>, next: Option<u64>) {
        let told = app.config().hls.broadcast_record_ts.then_some(Keeping::Window);
        let Some(keeping) = self.keeping.or(told) else {
            return;
        };
        if broadcast.disk.get().is_none()
            && let Some(disk) = self.target.begin(app, stream, broadcast, keeping, next)
        {
            let _ = broadcast.disk.set(disk);
        }
    }
}

/// Whether a schema is a form of HLS.
pub const fn is_hls(schema: Schema) -> bool {
    schema.takes_a_segment()
}

/// How streams are cut that are opened now.
fn options(config: &Config) -> hls::Options {
    let hls = &config.hls;
    let time = |duration: std::time::Duration| {
        MediaTime::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    };
    hls::Options {
        segment: time(hls.segment),
        // A recording lists whole segments.
        part: (!hls.part.is_zero() && hls.segments > 0).then(|| time(hls.part)),
        listed: if hls.segments > 0 {
            hls.segments as usize
        } else {
            LISTED_OF_RECORDING
        },
        retained: hls.retain as usize,
        delay: hls.delay as usize,
        first_gop: hls.fast_register,
        fmp4_suffix: fmp4_suffix(config).to_owned(),
        ts: container::ts::Options {
            g711: containers::g711(config.general.ts_g711),
        },
        max_segment_bytes: usize::try_from(config.general.ring_max_bytes).unwrap_or(usize::MAX),
    }
}

/// Segments in the playlist from memory that viewers of a recording get while the disk takes nothing; the reference's `hls.segNum`.
const LISTED_OF_RECORDING: usize = 3;

fn fmp4_suffix(config: &Config) -> &'static str {
    match config.hls.fmp4_suffix.as_str() {
        ".m4s" => ".m4s",
        _ => ".mp4",
    }
}
