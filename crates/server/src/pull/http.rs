//! What pulls over HTTP and HTTPS have in common: requests, redirects, credentials, connections that are used again.

use super::Attempt;
use crate::app::App;
use crate::control::SockSlot;
use crate::dial::{DialError, Dialed, dial};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION, RANGE,
    USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lifecycle::JobId;
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use tokio::task::JoinSet;
use url::{Host, Position, Url};

/// Most redirects that are followed; a source behind two load balancers needs two.
const MAX_REDIRECTS: usize = 5;

/// Connections that are kept for further requests: playlists, segments and keys may have a server each.
const MAX_IDLE: usize = 4;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the URL is not valid: {0}")]
    Url(url::ParseError),
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    #[error("the URL has no host")]
    NoHost,
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("bad http status code:{}", .0.as_u16())]
    Status(StatusCode),
    #[error("redirect without Location")]
    NoLocation,
    #[error("redirect to an invalid URL: {0}")]
    Location(url::ParseError),
    #[error("more than {MAX_REDIRECTS} redirects")]
    Redirects,
    #[error("the server does not send parts of files (byte ranges)")]
    NoRanges,
    #[error("no answer in time")]
    NoAnswer,
    #[error("the answer is longer than allowed ({max} bytes)")]
    TooLong { max: u64 },
    #[error("the answer is longer or shorter than what was asked for ({asked} bytes)")]
    NotTheRange { asked: u64 },
    #[error("a header of the request cannot be written")]
    Header,
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl Error {
    /// Whether asking again may help at once: the connection was lost, or the server had trouble.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Dial(DialError::Io(_)) | Self::Http(_) => true,
            Self::Status(status) => status.is_server_error(),
            Self::Url(_)
            | Self::Scheme
            | Self::NoHost
            | Self::Dial(_)
            | Self::NoLocation
            | Self::Location(_)
            | Self::Redirects
            | Self::NoRanges
            | Self::NoAnswer
            | Self::TooLong { .. }
            | Self::NotTheRange { .. }
            | Self::Header => false,
        }
    }
}

/// Asks for the resources of one source, one at a time: an answer is read or dropped before the next request.
pub(super) struct Client {
    app: Arc<App>,
    job: JobId,
    sock: SockSlot,
    /// What was asked to be pulled: credentials are meant for its server.
    source: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    idle: Vec<(Server, SendRequest<Empty<Bytes>>)>,
    /// The connections' own work, which ends with the client.
    drivers: JoinSet<()>,
}

/// Where a URL leads, without its path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    tls: bool,
    host: String,
    port: u16,
}

/// An answer of success.
pub(super) struct Answer {
    /// Where it came from, after redirects.
    pub url: Url,
    response: Response<Incoming>,
    /// How many bytes it must have, if a part was asked for.
    asked: Option<u64>,
    read: u64,
    max: u64,
}

impl Client {
    pub fn new(attempt: &Attempt) -> Result<Self, Error> {
        let header = |(name, value): (String, String)| Some((name.parse().ok()?, value.parse().ok()?));
        let source = Url::parse(&attempt.spec.url).map_err(Error::Url)?;
        Server::of(&source)?;
        Ok(Self {
            app: attempt.app.clone(),
            job: attempt.job,
            sock: attempt.sock.clone(),
            source,
            // What is no header is left out.
            headers: attempt.custom_headers().into_iter().filter_map(header).collect(),
            idle: Vec::new(),
            drivers: JoinSet::new(),
        })
    }

    /// Another one with connections of its own.
    pub fn sibling(&self) -> Self {
        Self {
            app: self.app.clone(),
            job: self.job,
            sock: self.sock.clone(),
            source: self.source.clone(),
            headers: self.headers.clone(),
            idle: Vec::new(),
            drivers: JoinSet::new(),
        }
    }

    /// What was asked to be pulled.
    pub fn source(&self) -> &Url {
        &self.source
    }

    /// Asks for a resource, or for `length` bytes of it from `offset` on, following redirects, until an answer of success has begun.
    /// No more than `max` bytes will be read.
    pub async fn get(&mut self, url: &Url, range: Option<(u64, u64)>, max: u64) -> Result<Answer, Error> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request = self.request(&url, range)?;
            let response = self.send(&Server::of(&url)?, request).await?;
            let status = response.status();
            if status.is_success() {
                if range.is_some() && status != StatusCode::PARTIAL_CONTENT {
                    return Err(Error::NoRanges);
                }
                return Ok(Answer {
                    url,
                    response,
                    asked: range.map(|(_, length)| length),
                    read: 0,
                    max,
                });
            }
            if !status.is_redirection() {
                return Err(Error::Status(status));
            }
            let location = response.headers().get(LOCATION);
            let location = location
                .and_then(|value| value.to_str().ok())
                .ok_or(Error::NoLocation)?;
            url = url.join(location).map_err(Error::Location)?;
        }
        Err(Error::Redirects)
    }

    /// Sends a request over a connection that is still there, or over a new one.
    async fn send(
        &mut self,
        server: &Server,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        while let Some(at) = self.idle.iter().position(|(known, _)| known == server) {
            let (_, mut sender) = self.idle.swap_remove(at);
            // It is ready when the answer before was read; if that was dropped, its connection is closed.
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.send_request(request.clone()).await {
                Ok(response) => {
                    self.keep(server, sender);
                    return Ok(response);
                }
                // The server may close a connection that rests just when we ask, which shows as its end, as a reset or as a pipe that
                // is broken, as the packets fall. Asking again is safe (RFC 9110, 9.2.2), and the connections that rest come to an end.
                Err(error) if error.is_parse() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let config = self.app.config();
        let Dialed { io, sock } = dial(&config, self.job, &server.host, server.port, server.tls).await?;
        *self.sock.lock() = Some(sock);
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        while self.drivers.try_join_next().is_some() {}
        self.drivers.spawn(async move {
            // Its error reaches the body as well.
            let _ = connection.await;
        });
        let response = sender.send_request(request).await?;
        self.keep(server, sender);
        Ok(response)
    }

    fn keep(&mut self, server: &Server, sender: SendRequest<Empty<Bytes>>) {
        if self.idle.len() == MAX_IDLE {
            self.idle.remove(0);
        }
        self.idle.push((server.clone(), sender));
    }

    fn request(&self, url: &Url, range: Option<(u64, u64)>) -> Result<Request<Empty<Bytes>>, Error> {
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let mut request = Request::get(if path.is_empty() { "/" } else { path })
            .body(Empty::<Bytes>::new())
            .map_err(|_| Error::Header)?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        headers.insert(HOST, host.map_err(|_| Error::Header)?);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(crate::session::http::SERVER_NAME),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(value) = authorization(credentials(&self.source, url))? {
            headers.insert(AUTHORIZATION, value);
        }
        let custom = self
            .headers
            .iter()
            .filter(|(name, _)| may_go(name, &self.source, url));
        for (name, value) in custom {
            headers.insert(name, value.clone());
        }
        if let Some((offset, length)) = range {
            let last = offset.saturating_add(length).saturating_sub(1);
            let range = HeaderValue::from_str(&format!("bytes={offset}-{last}"));
            headers.insert(RANGE, range.map_err(|_| Error::Header)?);
        }
        Ok(request)
    }
}

impl Answer {
    /// How long it is, if that is told.
    pub fn length(&self) -> Option<u64> {
        self.response.body().size_hint().exact()
    }

    /// The next bytes; `None` at the end. Cancel-safe.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(frame) = self.response.body_mut().frame().await else {
                return match self.asked.filter(|asked| *asked != self.read) {
                    Some(asked) => Err(Error::NotTheRange { asked }),
                    None => Ok(None),
                };
            };
            let Ok(data) = frame?.into_data() else { continue };
            self.read = self.read.saturating_add(data.len() as u64);
            if self.read > self.max {
                return Err(Error::TooLong { max: self.max });
            }
            match self.asked.filter(|asked| self.read > *asked) {
                Some(asked) => return Err(Error::NotTheRange { asked }),
                None if data.is_empty() => {}
                None => return Ok(Some(data)),
            }
        }
    }

    /// All of it.
    pub async fn whole(mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(data) = self.data().await? {
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }
}

impl Server {
    fn of(url: &Url) -> Result<Self, Error> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(Error::Scheme),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(Error::NoHost),
        };
        Ok(Self {
            tls,
            host,
            port: url.port().unwrap_or(if tls { 443 } else { 80 }),
        })
    }
}

/// The URL whose user and password go with a request for `url`: its own, else those of the source if it is on the same server, since
/// playlists and redirects name its files without them.
fn credentials<'a>(source: &'a Url, url: &'a Url) -> &'a Url {
    let has_none = url.username().is_empty() && url.password().is_none();
    if has_none && is_same_server(source, url) {
        source
    } else {
        url
    }
}

fn authorization(url: &Url) -> Result<Option<HeaderValue>, Error> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let plain = |text| percent_decode_str(text).decode_utf8_lossy();
    let (user, password) = (plain(url.username()), plain(url.password().unwrap_or_default()));
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::from_str(&value).map_err(|_| Error::Header)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Whether a header that was meant for `source` may be sent to `url`: credentials stay with the server that they are for, as
/// with curl, and are not sent in the clear if they were meant for TLS.
fn may_go(name: &HeaderName, source: &Url, url: &Url) -> bool {
    let is_credential = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
    !is_credential || is_same_server(source, url)
}

fn is_same_server(source: &Url, url: &Url) -> bool {
    source.origin() == url.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn credentials_stay_with_their_server() {
        let source = url("https://a.example/live/cam.flv");
        for elsewhere in [
            "https://b.example/x",
            "http://a.example/x",
            "https://a.example:444/x",
        ] {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                assert!(!may_go(&name, &source, &url(elsewhere)), "{name} to {elsewhere}");
            }
            assert!(may_go(&ACCEPT, &source, &url(elsewhere)));
        }
        assert!(may_go(
            &AUTHORIZATION,
            &source,
            &url("https://a.example:443/other.flv")
        ));
    }

    #[test]
    fn user_and_password_of_the_source_go_with_all_requests_to_its_server_and_no_other() {
        let source = url("http://us%65r:p%40ss@a.example:81/live/cam.m3u8");
        let sent = |to: &str| {
            let to = url(to);
            let value = authorization(credentials(&source, &to)).expect("a header");
            value.map(|value| value.to_str().map(str::to_owned).unwrap_or_default())
        };
        let basic = |text: &str| Some(format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(sent(source.as_str()), basic("user:p@ss"));
        assert_eq!(sent("http://a.example:81/seg.ts"), basic("user:p@ss"));
        assert_eq!(sent("http://other:x@a.example:81/seg.ts"), basic("other:x"));
        assert_eq!(sent("http://b.example:81/seg.ts"), None);
        assert_eq!(sent("https://a.example:81/seg.ts"), None);
        assert_eq!(sent(source.join("//b.example/x").expect("a URL").as_str()), None);
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let server = Server::of(&url("HTTPS://[::1]/x")).expect("a server");
        assert_eq!(
            (server.tls, server.host.as_str(), server.port),
            (true, "::1", 443)
        );
        assert!(matches!(Server::of(&url("rtsp://h/x")), Err(Error::Scheme)));
    }
}
