//! Listeners: opening ports, accepting connections, one task each.

use crate::app::App;
use crate::metrics::Counters;
use crate::session::{Accepted, descriptor, http, rtmp, rtsp};
use anyhow::{Context, bail};
use api::SessionKind;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// Connections that the kernel keeps until they are accepted. A crowd of viewers arrives at once.
const BACKLOG: i32 = 4096;

/// How long a TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause after a failed accept (no descriptors left, for instance); it begins with a hundredth of it.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// RTMP.
    Rtmp,
    /// RTSP.
    Rtsp,
    /// HTTP and WebSocket.
    Http,
}

/// A port to be opened.
pub struct Port {
    /// What is spoken.
    pub service: Service,
    /// Over TLS with this.
    pub tls: Option<TlsAcceptor>,
    /// The open socket.
    pub listener: TcpListener,
}

/// Opens a port. `::` means all addresses of both kinds, or all IPv4 addresses where there is no IPv6.
///
/// # Errors
///
/// The text names port, configuration key and, as far as the system tells, who holds the port.
pub fn open(ip: IpAddr, port: u16, key: &str) -> anyhow::Result<TcpListener> {
    match bind(SocketAddr::new(ip, port)) {
        Ok(listener) => Ok(listener),
        Err(error)
            if ip.is_ipv6() && ip.is_unspecified() && error.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
                .with_context(|| format!("cannot open port {port} ({key})"))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = holder(port).map_or_else(String::new, |holder| format!(" by {holder}"));
            bail!(
                "port {port} ({key}) is in use{holder}; stop that program, or set {key} to another port or to 0 (off)"
            )
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!(
                "port {port} ({key}) may not be opened by this user; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
            )
        }
        Err(error) => Err(error).with_context(|| format!("cannot open port {port} ({key}) on {ip}")),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until `stop`, then waits for the sessions to end.
pub async fn serve(app: Arc<App>, port: Port, stop: CancellationToken) {
    let mut sessions = JoinSet::new();
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = sessions.join_next() => noticed(&app, &ended),
            accepted = port.listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    pause = Duration::ZERO;
                    accept(&app, &port, socket, peer, &mut sessions);
                }
                Err(error) => {
                    Counters::count(&app.counters.accept_errors);
                    pause = (pause * 2).clamp(MAX_PAUSE / 100, MAX_PAUSE);
                    warn!(%error, ?pause, "a connection could not be accepted");
                    sleep(pause).await;
                }
            },
        }
    }
    drop(port.listener);
    while let Some(ended) = sessions.join_next().await {
        noticed(&app, &ended);
    }
}

fn accept(app: &Arc<App>, port: &Port, socket: TcpStream, peer: SocketAddr, sessions: &mut JoinSet<()>) {
    Counters::count(&app.counters.accepted);
    let limit = app.config().general.max_sessions as usize;
    if app.sessions.len() >= limit {
        Counters::count(&app.counters.refused);
        debug!(%peer, limit, "refused: general.max_sessions is reached");
        return;
    }
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "the connection is gone already");
        return;
    }
    let Ok(local) = socket.local_addr() else { return };
    let kind = match port.service {
        Service::Rtmp => SessionKind::Rtmp,
        Service::Rtsp => SessionKind::Rtsp,
        Service::Http => SessionKind::Http,
    };
    let registration = app
        .sessions
        .register(kind, peer, local, descriptor(&socket), &app.stop);
    let (app, service) = (app.clone(), port.service);
    match port.tls.clone() {
        // Each service is spawned by itself: a task that could be either would be as large as the larger one.
        None => {
            let accepted = Accepted {
                io: socket,
                registration,
                tls: false,
            };
            match service {
                Service::Rtmp => sessions.spawn(rtmp::serve(app, accepted)),
                Service::Rtsp => sessions.spawn(rtsp::serve(app, accepted)),
                Service::Http => sessions.spawn(http::serve(app, accepted)),
            };
        }
        Some(acceptor) => {
            sessions.spawn(async move {
                match timeout(TLS_TIMEOUT, acceptor.accept(socket)).await {
                    Ok(Ok(io)) => {
                        let accepted = Accepted {
                            io,
                            registration,
                            tls: true,
                        };
                        match service {
                            Service::Rtmp => Box::pin(rtmp::serve(app, accepted)).await,
                            Service::Rtsp => Box::pin(rtsp::serve(app, accepted)).await,
                            Service::Http => Box::pin(http::serve(app, accepted)).await,
                        }
                    }
                    Ok(Err(error)) => {
                        Counters::count(&app.counters.tls_errors);
                        debug!(%peer, %error, "TLS handshake failed");
                    }
                    Err(_) => {
                        Counters::count(&app.counters.tls_errors);
                        debug!(%peer, "TLS handshake did not end in time");
                    }
                }
            });
        }
    }
}

/// A panic ends one session, never the server, and is never silent.
fn noticed(app: &App, ended: &Result<(), JoinError>) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
        Counters::count(&app.counters.panics);
        error!(error = %failure, "a session panicked: a defect");
    }
}

/// The program that listens on a port, as far as this user may know: `nginx (pid 123)`.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| wanted.iter().any(|wanted| target.as_os_str() == wanted.as_str()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// Inodes of sockets that listen on `port`, from a table of `/proc/net/tcp` form: local address in column 2, state 0A in
/// column 4, inode in column 10.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let listens = columns.get(1)?.ends_with(&suffix) && *columns.get(3)? == "0A";
        listens
            .then(|| columns.get(9).map(|inode| (*inode).to_owned()))
            .flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_reported_with_its_key_and_its_holder() {
        let first = open(Ipv4Addr::LOCALHOST.into(), 0, "rtmp.port").expect("any free port");
        let port = first.local_addr().expect("bound").port();
        let error = open(Ipv4Addr::LOCALHOST.into(), port, "rtmp.port")
            .expect_err("taken")
            .to_string();
        assert!(
            error.contains(&format!("port {port} (rtmp.port) is in use")),
            "{error}"
        );
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:078F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
             1: 0100007F:078F 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n\
             2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n";
        assert_eq!(listening_inodes(table, 1935), ["111"]);
    }
}
