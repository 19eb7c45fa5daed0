//! Connections that Tidegate opens itself: to sources and to servers that it pushes to.

use crate::session::{Io, descriptor};
use crate::sessions::plain;
use config::{AddressKind, Config};
use hooks::client::tls::{TlsSettings, client_config, explain};
use lifecycle::JobId;
use media::info::SockInfo;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// An open connection.
pub struct Dialed {
    /// Its bytes.
    pub io: Box<dyn Io>,
    /// Its ends.
    pub sock: SockInfo,
}

/// Why a connection could not be opened. The texts of the first two are the reference's, which clients show.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// The name is not known.
    #[error("resource temporarily unavailable: the host name {0} could not be resolved")]
    Name(String),
    /// Link-local addresses hold the metadata services of clouds; no camera is there.
    #[error("{0} is {kind}, which is never connected to", kind = AddressKind::of(*.0).describe())]
    Forbidden(IpAddr),
    /// TLS failed.
    #[error("TLS to {host} failed: {reason}")]
    Tls {
        /// The server.
        host: String,
        /// Why.
        reason: String,
    },
    /// Something else.
    #[error("{0}")]
    Io(io::Error),
}

/// Connects to `host`, trying its addresses in turn. The addresses are judged after they were resolved, so a name cannot lead
/// where an address may not.
///
/// # Errors
///
/// The last address's.
pub async fn dial(
    config: &Config,
    job: JobId,
    host: &str,
    port: u16,
    tls: bool,
) -> Result<Dialed, DialError> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|_| DialError::Name(host.to_owned()))?;
    let mut last = DialError::Name(host.to_owned());
    for address in addresses {
        if AddressKind::of(address.ip()).is_never_meant() {
            last = DialError::Forbidden(address.ip());
            continue;
        }
        match connect(address).await {
            Ok(socket) => return finish(config, job, host, socket, tls).await,
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    let socket = TcpStream::connect(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => DialError::Refused,
            _ => DialError::Io(error),
        })?;
    socket.set_nodelay(true).map_err(DialError::Io)?;
    Ok(socket)
}

async fn finish(
    config: &Config,
    job: JobId,
    host: &str,
    socket: TcpStream,
    tls: bool,
) -> Result<Dialed, DialError> {
    let sock = SockInfo {
        identifier: format!("{}-{}", job.0, descriptor(&socket)),
        local: plain(socket.local_addr().map_err(DialError::Io)?),
        peer: plain(socket.peer_addr().map_err(DialError::Io)?),
    };
    if !tls {
        return Ok(Dialed {
            io: Box::new(socket),
            sock,
        });
    }
    let failed = |reason: String| DialError::Tls {
        host: host.to_owned(),
        reason,
    };
    let settings = TlsSettings {
        keys: "proxy".into(),
        ca_file: config.proxy.ca_file.clone(),
        insecure: config.proxy.insecure,
        ..TlsSettings::default()
    };
    // Without protocol names: RTMPS has none, and HTTP servers take HTTP/1.1 without one.
    let tls = client_config(&settings).map_err(|error| failed(error.to_string()))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
    let stream = TlsConnector::from(tls)
        .connect(name, socket)
        .await
        .map_err(|error| failed(explain(&error, &settings)))?;
    Ok(Dialed {
        io: Box::new(stream),
        sock,
    })
}
