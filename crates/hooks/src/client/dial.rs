//! Opening connections: names, TCP, TLS.

use super::address::AddressRules;
use super::target::Origin;
use super::tls::{self, Peer};
use super::{Route, UrlSource};
use crate::failure::{Class, Failure, NetworkCode};
use config::AddressKind;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use std::collections::HashSet;
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

/// Limit for finding the addresses of a name, inside the limit of the attempt: what resolvers wait for one name server.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit for the TLS handshake, inside the limit of the attempt. Calls may wait for one handshake together, so without it those
/// that come later could wait for one that is never answered.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most receivers that the log warns about for being reached without TLS.
const MAX_EXPOSED: usize = 1024;

/// Most addresses tried for one name.
const MAX_ADDRESSES: usize = 8;

/// A connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A boxed connection.
pub(crate) type BoxStream = Box<dyn Stream>;

/// A connection that was opened.
pub(crate) struct Dialed {
    pub(crate) stream: BoxStream,
    /// The receiver chose HTTP/2.
    pub(crate) http2: bool,
    /// With TLS.
    pub(crate) peer: Option<Peer>,
    /// How long name and TCP took.
    pub(crate) connect: Duration,
    /// How long the handshake took.
    pub(crate) tls: Option<Duration>,
}

/// A connection being opened.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = Result<Dialed, Failure>> + Send>>;

/// What opens connections: the network, or a script in tests.
pub(crate) trait Dial: Send + Sync {
    /// Opens a connection to a receiver.
    fn dial(&self, route: &Route) -> Dialing;

    /// From now on, these rules hold, and files are read again.
    fn apply(&self, rules: &AddressRules);
}

/// The addresses of a name.
pub(crate) type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// What finds the addresses of names: the system, or a script in tests.
pub(crate) trait Resolve: Send + Sync {
    /// The addresses of a name, best first.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The system's resolver.
struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// The network.
pub(crate) struct Network(Arc<Inner>);

struct Inner {
    /// Receivers that the log warned about.
    exposed: Mutex<HashSet<Origin>>,
    rules: Mutex<AddressRules>,
    resolver: Box<dyn Resolve>,
    tls: tls::Store,
}

impl Network {
    pub(crate) fn new(rules: AddressRules) -> Self {
        Self::with_resolver(rules, Box::new(System))
    }

    pub(crate) fn with_resolver(rules: AddressRules, resolver: Box<dyn Resolve>) -> Self {
        Self(Arc::new(Inner {
            exposed: Mutex::default(),
            rules: Mutex::new(rules),
            resolver,
            tls: tls::Store::default(),
        }))
    }
}

impl Dial for Network {
    fn dial(&self, route: &Route) -> Dialing {
        let (inner, route) = (self.0.clone(), route.clone());
        Box::pin(async move { inner.dial(&route).await })
    }

    fn apply(&self, rules: &AddressRules) {
        *self.0.rules.lock() = rules.clone();
        self.0.tls.forget();
    }
}

impl Inner {
    async fn dial(&self, route: &Route) -> Result<Dialed, Failure> {
        let started = Instant::now();
        let tcp = self.connect(&route.origin, route.source).await?;
        let connect = started.elapsed();
        if !route.origin.tls {
            return Ok(Dialed {
                stream: Box::new(tcp),
                http2: false,
                peer: None,
                connect,
                tls: None,
            });
        }
        let started = Instant::now();
        let (stream, peer) = match timeout(HANDSHAKE_TIMEOUT, self.secure(route, tcp)).await {
            Ok(done) => done?,
            Err(_) => {
                let detail = format!("no TLS handshake within {HANDSHAKE_TIMEOUT:.0?}");
                return Err(Failure::network(Class::Timeout, NetworkCode::Timeout, detail));
            }
        };
        Ok(Dialed {
            http2: stream.get_ref().1.alpn_protocol() == Some(b"h2"),
            stream: Box::new(stream),
            peer: Some(peer),
            connect,
            tls: Some(started.elapsed()),
        })
    }

    async fn secure(
        &self,
        route: &Route,
        tcp: TcpStream,
    ) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, Peer), Failure> {
        // An address stands in the certificate like a name. It is not sent as server name: RFC 6066, section 3, forbids it.
        let name = ServerName::try_from(route.origin.host.to_string()).map_err(|_| tls::not_a_name())?;
        let config = self
            .tls
            .config(&route.tls)
            .map_err(|error| Failure::network(Class::Tls, NetworkCode::Other, error.to_string()))?;
        let mut config = (*config).clone();
        let offered: &[&[u8]] = if route.tls.http2 {
            &[b"h2", b"http/1.1"]
        } else {
            &[b"http/1.1"]
        };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let peer = Peer::new(route.tls.clone(), &mut config);
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(|error| peer.handshake_failed(&error))?;
        Ok((stream, peer))
    }

    async fn connect(&self, origin: &Origin, source: UrlSource) -> Result<TcpStream, Failure> {
        let addresses = self.resolve(origin).await?;
        let rules = self.rules.lock().clone();
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let mut failure = None;
        for (tried, address) in addresses.iter().enumerate() {
            if let Err(refused) = rules.check(source, address.ip()) {
                let detail = refused.to_string();
                failure.get_or_insert(Failure::network(Class::Forbidden, NetworkCode::Other, detail));
                continue;
            }
            // An address that does not answer must leave time for the others.
            let left = addresses.len() - tried;
            let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(1);
            let error = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // A hook is one small write that somebody waits for. Failing only costs latency.
                    let _ = tcp.set_nodelay(true);
                    if self.is_newly_exposed(origin, address.ip()) {
                        tracing::warn!(
                            host = &*origin.host,
                            "hooks go to a public address without TLS: what they carry, such as the configuration with \
                             api.secret in on_server_started, can be read on the way; use https"
                        );
                    }
                    return Ok(tcp);
                }
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            failure = Some(connect_failure(*address, &error));
        }
        Err(failure
            .unwrap_or_else(|| Failure::network(Class::Dns, NetworkCode::Dns, "the name has no address")))
    }

    /// Whether a receiver is reached over the Internet without TLS, the first time only.
    fn is_newly_exposed(&self, origin: &Origin, address: IpAddr) -> bool {
        if origin.tls || AddressKind::of(address) != AddressKind::Public {
            return false;
        }
        let mut exposed = self.exposed.lock();
        exposed.len() < MAX_EXPOSED && exposed.insert(origin.clone())
    }

    async fn resolve(&self, origin: &Origin) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = origin.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, origin.port)]);
        }
        let error = match timeout(RESOLVE_TIMEOUT, self.resolver.resolve(&origin.host, origin.port)).await {
            Ok(Ok(mut addresses)) => {
                addresses.truncate(MAX_ADDRESSES);
                return Ok(addresses);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {RESOLVE_TIMEOUT:.0?}"),
        };
        let detail = format!("name \"{}\" cannot be resolved: {error}", origin.host);
        Err(Failure::network(Class::Dns, NetworkCode::Dns, detail))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Target;

    #[test]
    fn hooks_without_tls_over_the_internet_are_warned_about_once() {
        let network = Network::new(AddressRules::default());
        let exposed = |url: &str, address: &str| {
            let origin = Target::parse(url).unwrap().origin;
            network.0.is_newly_exposed(&origin, address.parse().unwrap())
        };
        assert!(!exposed("http://h/", "10.0.0.1"));
        assert!(!exposed("https://h/", "8.8.8.8"));
        assert!(exposed("http://h/", "8.8.8.8"));
        assert!(!exposed("http://h/x", "8.8.8.8"));
        assert!(exposed("http://other/", "8.8.8.8"));
    }
}
