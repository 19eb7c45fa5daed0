//! `tidegate hook-server`: sockets, signals and the rules file of the hook service in crate `hook-server`.

use crate::cli::HookServerArgs;
use crate::run::Signals;
use anyhow::{Context, bail};
use axum::Router;
use hook_server::{Behaviour, Counted, Peer, Rules, Service};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;
use tracing::{debug, error, info, warn};

/// How often the rules file is looked at.
const FILE_LOOK: Duration = Duration::from_millis(500);

/// How long a connection may be idle, and how long the head of a request may take. Longer than the 90 s for which Tidegate keeps
/// idle connections, so that it is never the receiver who closes one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Largest head of a request in bytes, and most header lines.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// How long calls under way may take at the end.
const GRACE: Duration = Duration::from_secs(3);

/// Pause after a failed accept: no descriptors are left, for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Says what a rules file holds.
///
/// # Errors
///
/// It cannot be read, or is wrong.
pub fn check(path: &Path) -> anyhow::Result<String> {
    Ok(format!("{}: {}", path.display(), load(path)?.summary()))
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// The rules are wrong, or the port cannot be opened.
pub async fn run(args: &HookServerArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // Before it is read: a change in between is then seen.
    let seen = Stamp::of(&args.config);
    let rules = load(&args.config)?;
    let address = args.listen.unwrap_or(rules.listen);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("an open port has an address")?;
    info!(rules = rules.summary(), "the rules were loaded");
    let behaviour = Behaviour {
        max_in_flight: args.max_calls as usize,
        answer_delay: Duration::from_millis(args.answer_delay_ms),
        black_hole: args.black_hole,
    };
    let mut watch = Watch {
        path: &args.config,
        listen: rules.listen,
        seen,
    };
    let (service, background) = Service::new(rules, behaviour);
    let _background = AbortOnDropHandle::new(tokio::spawn(background));
    let stop = CancellationToken::new();
    let mut accepting = tokio::spawn(accept(
        listener,
        service.clone(),
        args.max_connections as usize,
        stop.clone(),
    ));
    // For people and for programs that started this one with port 0.
    println!("tidegate hook-server listens on http://{address}");

    let mut look = interval(FILE_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hang_up.recv() => watch.reload(&service),
            _ = look.tick() => watch.look(&service),
            ended = &mut accepting => bail!("the listener ended: {ended:?}"),
        }
    }
    info!("stopping");
    stop.cancel();
    if timeout(GRACE, &mut accepting).await.is_err() {
        warn!("calls under way did not end in time");
        accepting.abort();
    }
    Ok(())
}

/// Accepts connections until `stop`, then waits for those that are open.
async fn accept(listener: TcpListener, service: Service, max: usize, stop: CancellationToken) {
    let router = service.router();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => noticed(&ended),
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= max => service.metrics().refused("connections"),
                Ok((socket, peer)) => {
                    let counted = Counted::new(&service.metrics().connections);
                    let connection = serve(socket, peer, router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(counted);
                    });
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    service.metrics().refused("accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        noticed(&ended);
    }
}

fn noticed(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
        error!(error = %failure, "a connection panicked: a defect");
    }
}

async fn serve(socket: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Failing only costs latency.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended");
    }
}

/// The rules file, and which of its versions is in force.
struct Watch<'a> {
    path: &'a Path,
    listen: SocketAddr,
    seen: Option<Stamp>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    len: u64,
    inode: u64,
}

impl Stamp {
    /// `None`: there is no such file just now.
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            modified: metadata.modified().ok()?,
            len: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

impl Watch<'_> {
    /// Reads the file again if it has changed. One that has vanished is waited for: editors replace files.
    fn look(&mut self, service: &Service) {
        let now = Stamp::of(self.path);
        if now.is_some() && now != self.seen {
            self.reload(service);
        }
    }

    fn reload(&mut self, service: &Service) {
        self.seen = Stamp::of(self.path);
        match load(self.path) {
            Ok(rules) => {
                if rules.listen != self.listen {
                    warn!(listen = %rules.listen, "another address takes a restart");
                }
                let summary = rules.summary();
                service.replace(rules);
                // Said when it is true: others wait for this line.
                info!(rules = summary, "the rules were reloaded");
                service.metrics().reload("ok");
            }
            Err(error) => {
                error!("the new rules are not used, the old ones stay: {error:#}");
                service.metrics().reload("failed");
            }
        }
    }
}

fn load(path: &Path) -> anyhow::Result<Rules> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    // One byte more tells a file that is too long.
    file.take(hook_server::rules::MAX_FILE as u64 + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Rules::parse(&text).with_context(|| path.display().to_string())
}
