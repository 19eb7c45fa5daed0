//! `/metrics`: what happens inside, in Prometheus text.

use crate::app::App;
use lifecycle::op::Counts;
use lifecycle::{Op, OpReply};
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{Atomic, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the server itself counts, beside the hub, the engine and the hooks.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections refused because `general.max_sessions` was reached.
    pub refused: AtomicU64,
    /// Accepts that failed.
    pub accept_errors: AtomicU64,
    /// TLS handshakes that failed.
    pub tls_errors: AtomicU64,
    /// Sessions that ended in a panic: defects.
    pub panics: AtomicU64,
    /// HLS requests that waited for something new in vain.
    pub hls_timeouts: AtomicU64,
    /// HLS on disk.
    pub disk: crate::hls::disk::Counters,
    /// RTP, in and out.
    pub rtp: Arc<RtpCounters>,
    /// Segments of HLS sources.
    pub hls_pull: Arc<HlsPullCounters>,
    loads: Mutex<Loads>,
}

/// Packets of RTP sources, and datagrams to receivers.
#[derive(Debug, Default)]
pub struct RtpCounters {
    /// Packets of sources that were received.
    pub received: AtomicU64,
    /// Packets that were missing when their time was over.
    pub lost: AtomicU64,
    /// Packets that came after they had been given up.
    pub late: AtomicU64,
    /// Packets that came twice.
    pub duplicate: AtomicU64,
    /// Packets of other sources or payload types than those of the session.
    pub stray: AtomicU64,
    /// Datagrams that the system did not take.
    pub unsent: AtomicU64,
}

/// Segments of HLS sources.
#[derive(Debug, Default)]
pub struct HlsPullCounters {
    /// Segments that were fetched.
    pub fetched: AtomicU64,
    /// Segments that were not: gone from the playlist before their turn, marked as missing, or not to be had or used.
    pub lost: AtomicU64,
}

/// Busy times of the workers when they were looked at last.
#[derive(Debug, Default)]
struct Loads {
    at: Option<Instant>,
    busy: Vec<Duration>,
    percent: Vec<u32>,
}

impl Counters {
    /// Adds one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How busy each worker of the runtime was since the last look that is at least a second old, in percent.
    pub fn worker_loads(&self) -> Vec<u32> {
        let metrics = tokio::runtime::Handle::current().metrics();
        let busy: Vec<Duration> = (0..metrics.num_workers())
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .collect();
        let now = Instant::now();
        let mut loads = self.loads.lock();
        let passed = loads
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if loads.at.is_none() || loads.busy.len() != busy.len() {
            *loads = Loads {
                at: Some(now),
                percent: vec![0; busy.len()],
                busy,
            };
        } else if passed >= Duration::from_secs(1) {
            let share = |(now, before): (&Duration, &Duration)| {
                let share = now.saturating_sub(*before).as_secs_f64() / passed.as_secs_f64() * 100.0;
                share.clamp(0.0, 100.0) as u32
            };
            let percent = busy.iter().zip(&loads.busy).map(share).collect();
            *loads = Loads {
                at: Some(now),
                busy,
                percent,
            };
        }
        loads.percent.clone()
    }
}

/// All metrics, as text.
pub async fn text(app: &App) -> String {
    let counts = match app.link.operate(Op::Counts).await {
        Ok(OpReply::Counts(counts)) => counts,
        Ok(_) | Err(_) => Counts::default(),
    };
    let mut registry = Registry::with_prefix("tidegate");
    engine(&mut registry, &counts);
    hub(&mut registry, &app.hub.totals(), app.hub.len());
    server(&mut registry, app);
    egress(&mut registry, app);
    states(&mut registry, app).await;
    app.hooks.metrics().register(&mut registry);
    let mut out = String::new();
    if let Err(error) = encode(&mut out, &registry) {
        tracing::error!(%error, "the metrics could not be written");
    }
    out
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn bytes(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    Atomic::inc_by(counter.inner(), value);
    registry.register_with_unit(name, help, Unit::Bytes, counter);
}

/// The threads that write to players.
fn egress(registry: &mut Registry, app: &App) {
    type Thread = [(&'static str, String); 2];
    let viewers: Family<Thread, Gauge> = Family::default();
    let busy: Family<Thread, Gauge<f64, AtomicU64>> = Family::default();
    let hold: Family<Thread, Gauge<f64, AtomicU64>> = Family::default();
    let (mut writes, mut blocked, mut written, mut stalled) = (0, 0, 0, 0);
    for (number, view) in app.egress.views().into_iter().enumerate() {
        let thread = [
            ("thread", number.to_string()),
            ("backend", view.backend.to_owned()),
        ];
        let count = i64::try_from(view.viewers).unwrap_or(i64::MAX);
        viewers.get_or_create(&thread).set(count);
        busy.get_or_create(&thread).set(view.busy);
        hold.get_or_create(&thread).set(view.hold.as_secs_f64());
        writes += view.writes;
        blocked += view.blocked;
        written += view.bytes;
        stalled += view.stalled;
    }
    registry.register("egress_players", "Players that a thread writes to", viewers);
    registry.register(
        "egress_busy_ratio",
        "Share of its time that a thread is busy, of late",
        busy,
    );
    registry.register_with_unit(
        "egress_merge",
        "How long writes to a player are held back now",
        Unit::Seconds,
        hold,
    );
    counter(registry, "egress_writes", "Writes to players", writes);
    counter(
        registry,
        "egress_writes_blocked",
        "Writes of which the connection took a part or nothing",
        blocked,
    );
    bytes(
        registry,
        "egress_written",
        "What players' connections took",
        written,
    );
    counter(
        registry,
        "egress_stalled",
        "Players given up because they took nothing",
        stalled,
    );
}

fn engine(registry: &mut Registry, counts: &Counts) {
    gauge(
        registry,
        "streams_fed",
        "Streams with an origin, starting ones included",
        counts.streams as u64,
    );
    gauge(
        registry,
        "streams_orphaned",
        "Streams kept for a lost publisher or source",
        counts.orphans as u64,
    );
    gauge(
        registry,
        "players_waiting",
        "Players that wait for a missing stream",
        counts.waiting as u64,
    );
    gauge(
        registry,
        "players",
        "Readers of all streams, pushers included",
        counts.playing as u64,
    );
    gauge(
        registry,
        "pulls",
        "Pulls, whatever their state",
        counts.pulls as u64,
    );
    gauge(
        registry,
        "ffmpeg_sources",
        "ffmpeg sources, whatever their state",
        counts.ffmpegs as u64,
    );
    gauge(
        registry,
        "pushers",
        "Pushers, whatever their state",
        counts.pushes as u64,
    );
    gauge(
        registry,
        "open_questions",
        "Hook questions without an answer yet",
        counts.open_questions as u64,
    );
    counter(
        registry,
        "refused_at_limit",
        "Requests refused because a bound was reached",
        counts.refused_at_limit,
    );
    let coalesced: Family<[(&str, &str); 1], Counter> = Family::default();
    coalesced
        .get_or_create(&[("event", "on_stream_not_found")])
        .inc_by(counts.not_found_coalesced);
    registry.register(
        "hook_coalesced",
        "Players that shared a hook call with another one, by event",
        coalesced,
    );
}

fn hub(registry: &mut Registry, totals: &hub::Totals, streams: usize) {
    gauge(registry, "streams", "Streams in the hub", streams as u64);
    gauge(
        registry,
        "readers",
        "Readers attached to a container",
        totals.readers,
    );
    gauge(registry, "muxers", "Containers being made", totals.muxers);
    counter(registry, "frames_in", "Frames published", totals.frames_in);
    bytes(registry, "media_in", "Payload published", totals.bytes_in);
    counter(
        registry,
        "frames_dropped",
        "Frames of publishers that were not taken",
        totals.frames_dropped,
    );
    counter(
        registry,
        "reader_lags",
        "Times a reader fell off its ring and went on at a key packet",
        totals.lags,
    );
    counter(
        registry,
        "packets_lagged",
        "Packets that readers missed through that",
        totals.packets_lagged,
    );
    bytes(
        registry,
        "ring_evicted",
        "Bytes dropped from rings because of their bounds",
        totals.bytes_evicted,
    );
}

fn server(registry: &mut Registry, app: &App) {
    let counters = &app.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    gauge(
        registry,
        "sessions",
        "Accepted connections",
        app.sessions.len() as u64,
    );
    gauge(
        registry,
        "ffmpeg_processes",
        "ffmpeg processes running",
        app.processes.running() as u64,
    );
    counter(
        registry,
        "connections_accepted",
        "Connections accepted",
        read(&counters.accepted),
    );
    counter(
        registry,
        "connections_refused",
        "Connections refused at general.max_sessions",
        read(&counters.refused),
    );
    counter(
        registry,
        "accept_errors",
        "Accepts that failed",
        read(&counters.accept_errors),
    );
    counter(
        registry,
        "tls_errors",
        "TLS handshakes of clients that failed",
        read(&counters.tls_errors),
    );
    counter(
        registry,
        "session_panics",
        "Sessions that ended in a panic: defects",
        read(&counters.panics),
    );
    gauge(
        registry,
        "hls_viewers",
        "Viewers of HLS, those of streams that have just ended included",
        app.hls.viewers.count() as u64,
    );
    counter(
        registry,
        "hls_timeouts",
        "HLS requests that waited in vain for something new",
        read(&counters.hls_timeouts),
    );
    let disk = &counters.disk;
    counter(
        registry,
        "hls_files_written",
        "Segments of HLS written to disk",
        read(&disk.written),
    );
    bytes(
        registry,
        "hls_files",
        "Segments of HLS written to disk",
        read(&disk.bytes),
    );
    counter(
        registry,
        "hls_files_missed",
        "Segments of HLS that were gone before the disk took them",
        read(&disk.missed),
    );
    counter(
        registry,
        "hls_file_errors",
        "Files of HLS that could not be written",
        read(&disk.errors),
    );
    let rtp = &counters.rtp;
    let names: [(&str, &str, &AtomicU64); 6] = [
        (
            "rtp_packets_received",
            "RTP packets of publishers and sources",
            &rtp.received,
        ),
        (
            "rtp_packets_lost",
            "RTP packets that never came, or too late",
            &rtp.lost,
        ),
        (
            "rtp_packets_late",
            "RTP packets that came when they had been given up",
            &rtp.late,
        ),
        (
            "rtp_packets_duplicate",
            "RTP packets that came twice",
            &rtp.duplicate,
        ),
        (
            "rtp_packets_stray",
            "RTP packets that belong to no track of their session",
            &rtp.stray,
        ),
        (
            "rtp_datagrams_unsent",
            "Datagrams that the system did not take",
            &rtp.unsent,
        ),
    ];
    for (name, help, value) in names {
        counter(registry, name, help, read(value));
    }
    files(registry, app);
    counter(
        registry,
        "hls_pull_segments",
        "Segments fetched from HLS sources",
        read(&counters.hls_pull.fetched),
    );
    counter(
        registry,
        "hls_pull_segments_lost",
        "Segments of HLS sources that were left out",
        read(&counters.hls_pull.lost),
    );
    gauge(
        registry,
        "uptime_seconds",
        "Seconds since the start",
        app.started.0.elapsed().as_secs(),
    );
}

/// The file server.
fn files(registry: &mut Registry, app: &App) {
    let counters = &app.files.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    counter(
        registry,
        "files_served",
        "Files and folders that were answered with",
        read(&counters.served),
    );
    bytes(
        registry,
        "files_sent",
        "Contents of files handed to connections",
        read(&counters.bytes),
    );
    gauge(
        registry,
        "files_open",
        "Files and folders being sent",
        app.files.open() as u64,
    );
    let refused: Family<Vec<(String, String)>, Counter> = Family::default();
    for (reason, count) in counters.refused() {
        let labels = vec![("reason".to_owned(), reason.to_owned())];
        refused.get_or_create(&labels).inc_by(count);
    }
    registry.register("files_refused", "Requests for files that were refused", refused);
    let (kept, evicted) = app.files.decisions.counts();
    gauge(
        registry,
        "file_decisions",
        "Decisions of on_http_access that are kept",
        kept as u64,
    );
    counter(
        registry,
        "file_decisions_evicted",
        "Decisions of on_http_access that went before their time",
        evicted,
    );
}

/// Sources and pushers by state.
async fn states(registry: &mut Registry, app: &App) {
    let family: Family<Vec<(String, String)>, Gauge> = Family::default();
    let add = |kind: &str, state: &str| {
        family
            .get_or_create(&vec![
                ("kind".to_owned(), kind.to_owned()),
                ("state".to_owned(), state.to_owned()),
            ])
            .inc();
    };
    if let Ok(OpReply::Pulls(pulls)) = app.link.operate(Op::ListPulls).await {
        pulls.iter().for_each(|pull| add("pull", pull.state.name()));
    }
    if let Ok(OpReply::Ffmpegs(sources)) = app.link.operate(Op::ListFfmpegs).await {
        sources
            .iter()
            .for_each(|source| add("ffmpeg", source.state.name()));
    }
    if let Ok(OpReply::Pushes(pushers)) = app.link.operate(Op::ListPushes).await {
        pushers
            .iter()
            .for_each(|pusher| add("pusher", pusher.state.name()));
    }
    registry.register("jobs", "Sources and pushers by state", family);
}
