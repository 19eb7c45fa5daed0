//! Opening connections: names, TCP, TLS.

use super::target::Origin;
use super::tls::{self, Trust};
use crate::failure::{Class, Failure, NetworkCode};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// Limit for the TCP connection, inside the limit of the attempt: a receiver in reach answers within milliseconds, and a
/// lost SYN is sent again after one second.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most addresses tried for one name.
const MAX_ADDRESSES: usize = 8;

/// A connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A boxed connection.
pub(crate) type BoxStream = Box<dyn Stream>;

/// A connection being opened.
pub(crate) type Dialing<'a> = Pin<Box<dyn Future<Output = Result<BoxStream, Failure>> + Send + 'a>>;

/// What opens connections: the network, or a script in tests.
pub(crate) trait Dial: Send + Sync {
    /// Opens a connection to a receiver.
    fn dial<'a>(&'a self, origin: &'a Origin) -> Dialing<'a>;

    /// From now on, other receivers are trusted.
    fn trust(&self, trust: &Trust);
}

/// The network.
pub(crate) struct Network {
    trust: Mutex<Trust>,
    /// Built at the first use: reading the system's roots takes milliseconds that a server without HTTPS hooks can save.
    tls: Mutex<Option<Arc<ClientConfig>>>,
}

impl Network {
    pub(crate) fn new(trust: Trust) -> Self {
        Self {
            trust: Mutex::new(trust),
            tls: Mutex::new(None),
        }
    }

    fn tls_config(&self) -> Result<Arc<ClientConfig>, Failure> {
        let mut built = self.tls.lock();
        if let Some(config) = &*built {
            return Ok(config.clone());
        }
        let config = tls::client_config(&self.trust.lock())
            .map_err(|error| Failure::network(Class::Tls, NetworkCode::Other, error.to_string()))?;
        *built = Some(config.clone());
        Ok(config)
    }

    fn tls_failure(&self, error: &io::Error) -> Failure {
        let code = match error.kind() {
            io::ErrorKind::UnexpectedEof => NetworkCode::Eof,
            io::ErrorKind::ConnectionReset => NetworkCode::Reset,
            _ => NetworkCode::Other,
        };
        Failure::network(Class::Tls, code, tls::explain(error, &self.trust.lock()))
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, origin: &'a Origin) -> Dialing<'a> {
        Box::pin(async move {
            let tcp = connect(origin).await?;
            if !origin.tls {
                return Ok(Box::new(tcp) as BoxStream);
            }
            let name = ServerName::try_from(origin.host.to_string()).map_err(|_| {
                Failure::network(
                    Class::Tls,
                    NetworkCode::Other,
                    "the host is no name a certificate can bear",
                )
            })?;
            let stream = TlsConnector::from(self.tls_config()?)
                .connect(name, tcp)
                .await
                .map_err(|error| self.tls_failure(&error))?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn trust(&self, trust: &Trust) {
        *self.trust.lock() = trust.clone();
        // The file may have new contents under the same name.
        *self.tls.lock() = None;
    }
}

async fn connect(origin: &Origin) -> Result<TcpStream, Failure> {
    let addresses = resolve(origin).await?;
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        // An address that does not answer must leave time for the others.
        let left = addresses.len() - tried;
        let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // A hook is one small write that somebody waits for. Failing only costs latency.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = Some((*address, error)),
            Err(_) => last = Some((*address, io::ErrorKind::TimedOut.into())),
        }
    }
    Err(match last {
        Some((address, error)) => connect_failure(address, &error),
        None => Failure::network(Class::Dns, NetworkCode::Dns, "the name has no address"),
    })
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = origin.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, origin.port)]);
    }
    match tokio::net::lookup_host((&*origin.host, origin.port)).await {
        Ok(addresses) => Ok(addresses.take(MAX_ADDRESSES).collect()),
        Err(error) => {
            let detail = format!("name \"{}\" cannot be resolved: {error}", origin.host);
            Err(Failure::network(Class::Dns, NetworkCode::Dns, detail))
        }
    }
}

fn connect_failure(address: SocketAddr, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::ConnectionRefused => NetworkCode::Refused,
        io::ErrorKind::TimedOut => NetworkCode::Timeout,
        io::ErrorKind::ConnectionReset => NetworkCode::Reset,
        _ => NetworkCode::Other,
    };
    Failure::network(
        Class::Connect,
        code,
        format!("no connection to {address}: {error}"),
    )
}
