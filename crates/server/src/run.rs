//! Assembling the server, and driving it from the first port to the last goodbye.

use crate::app::{App, Ports};
use crate::cli::RunArgs;
use crate::control::Control;
use crate::egress::{WRITE_TIMEOUT, merge};
use crate::link::Link;
use crate::listen::{self, Port, Service};
use crate::store::{self, ConfigStore};
use anyhow::{Context, bail};
use config::{Config, Loaded};
use hooks::notify::Driver;
use hooks::{Event, Hooks};
use process::{GuardProgram, POLITE, Supervisor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How often the configuration file and the certificate are looked at.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// How long it may take to put on the medium what is kept on disk.
const STORED: Duration = Duration::from_secs(2);

/// How long the last notifications may take (webhooks-best-practice.md, section 4).
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A server with open ports, not serving yet.
pub struct Assembled {
    /// Shared state.
    pub app: Arc<App>,
    ports: Vec<Port>,
    inbox: mpsc::UnboundedReceiver<crate::link::Message>,
    notifications: Driver,
    /// Writes notifications that are kept on disk, if there are any.
    hook_store: Option<std::thread::JoinHandle<()>>,
    /// Each ends with a thread that writes to players.
    writers: JoinSet<()>,
}

/// Opens everything that can fail.
///
/// # Errors
///
/// A port, the certificate or the process guard; the text says what to do.
pub async fn assemble(
    loaded: Loaded,
    overrides: Vec<(String, String)>,
    free_ports: bool,
) -> anyhow::Result<Assembled> {
    let store = ConfigStore::new(loaded, overrides)?;
    let config = store.config();
    raise_descriptor_limit(u64::from(config.general.max_sessions));
    let (link, inbox) = Link::new();
    let user_agent = hooks::user_agent(env!("CARGO_PKG_VERSION"), "", "release", "");
    let (hooks, mut notifications) = Hooks::new(hooks::Settings::from_config(&config), &user_agent);
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let hook_store = match notifications.take_store() {
        None => None,
        Some((writer, flusher)) => {
            thread("hook-flush").spawn(move || flusher.run())?;
            Some(thread("hook-store").spawn(move || writer.run())?)
        }
    };
    let processes = Supervisor::new(process::Settings {
        max_processes: config.ffmpeg.max_processes as usize,
        guard: GuardProgram::this_executable(),
    })?;
    let (egress, writers) = start_egress(&config)?;
    let app = Arc::new(App::new(store, link, hooks, processes, egress));
    // Told before the ports are open, as ZLM does (hooks.md, section 6).
    let flat = config
        .flat()
        // A receiver knows its secret; whoever listens on the way must not.
        .filter(|(key, _)| *key != "hook.signing_secret")
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    app.hooks.notify(&Event::ServerStarted { config: flat });
    let ports = open_ports(&app, free_ports)?;
    Ok(Assembled {
        app,
        ports,
        inbox,
        notifications,
        hook_store,
        writers,
    })
}

/// Starts the threads that write to players. Whoever keeps the other ends learns when one of them ends.
fn start_egress(config: &Config) -> anyhow::Result<(egress::Room, JoinSet<()>)> {
    let general = &config.general;
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let settings = egress::Settings {
        threads: match general.egress_threads {
            0 => cores(),
            threads => threads as usize,
        },
        io_uring: general.io_uring,
        patience: WRITE_TIMEOUT,
        merge: merge(config),
    };
    let (room, workers) = egress::Room::new(settings).context("descriptors for the threads that write")?;
    let mut writers = JoinSet::new();
    for (number, worker) in workers.into_iter().enumerate() {
        let (running, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(format!("egress-{number}"))
            .spawn(move || {
                let _running = running;
                if let Err(error) = worker.run() {
                    error!(%error, "a thread that writes to players cannot go on");
                }
            })?;
        writers.spawn(async move {
            let _ = ended.await;
        });
    }
    Ok((room, writers))
}

/// A connection is a descriptor, and the usual soft limit of 1,024 is there for programs that use `select`. The hard limit is
/// the operator's word.
fn raise_descriptor_limit(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "the limit of open files could not be raised");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if now < wanted {
        warn!(
            limit = now,
            wanted,
            "fewer open files are allowed than general.max_sessions: raise the hard limit (ulimit -Hn)"
        );
    }
}

fn open_ports(app: &App, free: bool) -> anyhow::Result<Vec<Port>> {
    let config = app.config();
    let ip = config.general.listen_ip.0;
    let certificate = app.store.certificate();
    let mut ports = Vec::new();
    let mut open = Ports::default();
    let rows = [
        (
            Service::Rtmp,
            config.rtmp.port,
            "rtmp.port",
            false,
            &mut open.rtmp,
        ),
        (
            Service::Rtmp,
            config.rtmp.ssl_port,
            "rtmp.sslport",
            true,
            &mut open.rtmps,
        ),
        (
            Service::Rtsp,
            config.rtsp.port,
            "rtsp.port",
            false,
            &mut open.rtsp,
        ),
        (
            Service::Rtsp,
            config.rtsp.ssl_port,
            "rtsp.sslport",
            true,
            &mut open.rtsps,
        ),
        (
            Service::Http,
            config.http.port,
            "http.port",
            false,
            &mut open.http,
        ),
        (
            Service::Http,
            config.http.ssl_port,
            "http.sslport",
            true,
            &mut open.https,
        ),
    ];
    for (service, port, key, tls, bound) in rows {
        if port == 0 {
            continue;
        }
        let tls = match (tls, certificate) {
            (false, _) => None,
            (true, Some(certificate)) => Some(certificate.acceptor(&[])?),
            // No certificate, no TLS port: the key's description says so, and the start lists what is open.
            (true, None) => continue,
        };
        let listener = listen::open(ip, if free { 0 } else { port }, key)?;
        *bound = local_port(&listener)?;
        ports.push(Port {
            service,
            tls,
            listener,
        });
    }
    if ports.is_empty() {
        bail!("no port is open: set at least one of rtmp.port, rtsp.port, http.port and their sslport");
    }
    // The first to write it, and the only one.
    let _ = app.ports.set(open);
    Ok(ports)
}

fn local_port(listener: &TcpListener) -> anyhow::Result<u16> {
    Ok(listener
        .local_addr()
        .context("an open port has an address")?
        .port())
}

/// Runs the server of the command line until it is told to stop.
///
/// # Errors
///
/// It could not be started, or a part of it that must run has ended.
pub async fn run(args: &RunArgs, loaded: Loaded) -> anyhow::Result<()> {
    let signals = Signals::new()?;
    let assembled = assemble(loaded, args.overrides()?, args.free_ports).await?;
    if let Some(path) = &args.ready_file {
        write_ready_file(path, &assembled.app)?;
    }
    greet(&assembled.app);
    drive(assembled, signals).await
}

/// The signals that the server listens to, caught from the start so that none comes too early.
pub struct Signals {
    /// SIGTERM.
    pub terminate: Signal,
    /// SIGINT.
    pub interrupt: Signal,
    /// SIGHUP.
    pub hang_up: Signal,
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Serves until a signal, a restart request, or a part that ended by itself.
///
/// # Errors
///
/// A part that must run has ended.
pub async fn drive(assembled: Assembled, mut signals: Signals) -> anyhow::Result<()> {
    let Assembled {
        app,
        ports,
        inbox,
        notifications,
        hook_store,
        mut writers,
    } = assembled;
    let stop = CancellationToken::new();
    let grace = app.config().general.grace;
    let mut services: JoinSet<&'static str> = JoinSet::new();
    for port in ports {
        let (app, stop) = (app.clone(), stop.clone());
        services.spawn(async move {
            listen::serve(app, port, stop).await;
            "a listener"
        });
    }
    let control = Control::new(app.clone(), inbox);
    let control_stop = stop.clone();
    let mut control = tokio::spawn(control.run(control_stop, grace));
    let told = CancellationToken::new();
    let told_wait = told.clone();
    let mut notifier = tokio::spawn(notifications.run(async move { told_wait.cancelled().await }));
    let keepalive = tokio::spawn(keepalive(app.clone()));

    let mut look = interval(FILE_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut broken = None;
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => info!("SIGTERM: stopping"),
            _ = signals.interrupt.recv() => info!("SIGINT: stopping"),
            () = app.restart.notified() => info!("stopping, as the API asked"),
            _ = signals.hang_up.recv() => {
                info!("SIGHUP: reading the configuration again");
                app.reload();
                continue;
            }
            _ = look.tick() => {
                if app.store.file_has_changed() {
                    info!("the configuration file has changed");
                    app.reload();
                } else {
                    app.refresh_certificate();
                }
                continue;
            }
            Some(ended) = services.join_next() => broken = Some(format!("{ended:?} ended by itself")),
            Some(_) = writers.join_next() => broken = Some("a thread that writes to players ended by itself".to_owned()),
            ended = &mut control => broken = Some(format!("the control task ended by itself: {ended:?}")),
            ended = &mut notifier => broken = Some(format!("the notifier ended by itself: {ended:?}")),
        }
        break;
    }
    keepalive.abort();
    stop.cancel();
    if broken.is_none()
        && timeout(grace + Duration::from_secs(1), &mut control)
            .await
            .is_err()
    {
        warn!("the control task did not end in time");
        control.abort();
    }
    app.stop.cancel();
    if timeout(Duration::from_secs(1), async {
        while services.join_next().await.is_some() {}
    })
    .await
    .is_err()
    {
        services.shutdown().await;
    }
    app.egress.stop();
    // Each of them ends with the token or with its stream; recordings still write their last segment.
    app.tasks.close();
    let patience = grace.max(Duration::from_secs(1));
    if timeout(patience, app.tasks.wait()).await.is_err() {
        warn!(left = app.tasks.len(), "tasks that did not end in time");
    }
    app.processes.shutdown(POLITE).await;
    // The end of the streams is told before the end of the server, unless the service is too slow for that.
    let patience = LAST_WORDS.min(grace.max(Duration::from_secs(1))) / 2;
    app.hooks.drain(Instant::now() + patience).await;
    app.hooks.notify(&Event::ServerExited);
    let left = app.hooks.drain(Instant::now() + patience).await;
    if left > 0 {
        warn!(left, "notifications that could not be delivered before the end");
    }
    told.cancel();
    // The store ends after the notifier, with everything on the medium.
    let stored = async {
        if !notifier.is_finished() {
            let _ = (&mut notifier).await;
        }
        if let Some(thread) = hook_store {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    };
    if timeout(STORED, stored).await.is_err() {
        warn!("the store of notifications did not end in time");
    }
    match broken {
        None => {
            info!("stopped");
            Ok(())
        }
        Some(reason) => {
            error!(reason, "stopping because of a defect");
            bail!(reason)
        }
    }
}

/// `on_server_keepalive`, started, stopped and re-timed as the configuration says at each moment.
async fn keepalive(app: Arc<App>) {
    let mut last = Instant::now();
    loop {
        app.hooks.keepalive_due(last).await;
        last = Instant::now();
        app.hooks.notify(&Event::Keepalive(app.statistic()));
    }
}

/// What a supervisor or a test needs to know of a server that is ready.
#[derive(Serialize)]
struct Ready<'a> {
    pid: u32,
    rtmp: u16,
    rtmps: u16,
    rtsp: u16,
    rtsps: u16,
    http: u16,
    https: u16,
    api_secret: &'a str,
}

/// Written whole or not at all, so that whoever waits for it never reads half of it.
pub fn write_ready_file(path: &Path, app: &App) -> anyhow::Result<()> {
    let config = app.config();
    let ports = app.ports.get().copied().unwrap_or_default();
    let ready = Ready {
        pid: std::process::id(),
        rtmp: ports.rtmp,
        rtmps: ports.rtmps,
        rtsp: ports.rtsp,
        rtsps: ports.rtsps,
        http: ports.http,
        https: ports.https,
        api_secret: config.api.secret.expose(),
    };
    let draft = path.with_extension("tmp");
    let text = serde_json::to_vec(&ready)?;
    write_private(&draft, &text)
        .and_then(|()| std::fs::rename(&draft, path))
        .with_context(|| format!("cannot write the ready file {}", path.display()))
}

/// A new file that only its owner can read, since it holds the secret of the API.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)
}

fn greet(app: &App) {
    let ports = app.ports.get().copied().unwrap_or_default();
    let shown = |port: u16| {
        if port == 0 {
            "off".to_owned()
        } else {
            port.to_string()
        }
    };
    info!(
        rtmp = shown(ports.rtmp),
        rtmps = shown(ports.rtmps),
        rtsp = shown(ports.rtsp),
        rtsps = shown(ports.rtsps),
        http = shown(ports.http),
        https = shown(ports.https),
        "Tidegate {} is listening",
        env!("CARGO_PKG_VERSION")
    );
    if ports.rtmp != 0 && ports.http != 0 {
        let (rtmp, http) = (ports.rtmp, ports.http);
        let rtsp = match ports.rtsp {
            0 => String::new(),
            port => format!(", rtsp://127.0.0.1:{port}/live/test"),
        };
        eprintln!(
            "\nTry it:\n  publish  ffmpeg -re -i FILE -c copy -f flv rtmp://127.0.0.1:{rtmp}/live/test\n  \
             play     ffplay http://127.0.0.1:{http}/live/test.live.flv   (or rtmp://127.0.0.1:{rtmp}/live/test{rtsp})\n  \
             browser  http://127.0.0.1:{http}/   (HLS: http://127.0.0.1:{http}/live/test/hls.m3u8)\n  \
             look     curl 'http://127.0.0.1:{http}/index/api/getMediaList?secret=SECRET'   metrics: http://127.0.0.1:{http}/metrics\n  \
             tour     tidegate demo   (a synthetic camera that opens on demand; no ffmpeg needed)\n"
        );
    }
}

/// Reads the configuration, or says what is wrong with it.
///
/// # Errors
///
/// All that is wrong, one line each.
pub fn load(args: &RunArgs) -> anyhow::Result<Loaded> {
    let overrides = args.overrides()?;
    store::load(args.config.as_deref(), &overrides).map_err(|errors| anyhow::anyhow!("{errors}"))
}
