//! A client of the REST API: few calls to few servers, over connections that are kept.

use crate::metrics::Metrics;
use crate::rules::server::MediaServer;
use bytes::Bytes;
use hooks::client::tls::{client_config, explain};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Limit for the TCP connection and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most calls to one server under way; further ones wait as long as they may take at all.
const MAX_IN_FLIGHT: usize = 64;

/// Most idle connections to one server.
const MAX_IDLE: usize = 8;

/// How long an idle connection is kept: less than the 15 s after which ZLM closes it.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Largest answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Everything but unreserved characters (RFC 3986, section 2.3).
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One server's API.
pub struct Api {
    /// The server.
    pub server: MediaServer,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    tls: OnceCell<Arc<ClientConfig>>,
    metrics: Metrics,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reply {
    /// 0: done.
    pub code: i64,
    /// Why not.
    #[serde(default)]
    pub msg: String,
}

impl Reply {
    /// The name is taken: by a source that another call has opened, or by a publisher. Either way there is a stream.
    pub fn is_already_there(&self) -> bool {
        self.code != 0 && self.msg.to_ascii_lowercase().contains("already exist")
    }
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, String),
    /// The connection broke.
    #[error("the connection to {0} broke: {1}")]
    Broken(String, String),
    /// It took too long.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// No 200.
    #[error("{0} answered with status {1}")]
    Status(String, u16),
    /// No JSON with a code.
    #[error("{0} did not answer with JSON that has a code: {1}")]
    BadAnswer(String, String),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Driver = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// A connection, driven by the call that uses it: dropping the call closes it.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<Driver>>>,
    last_used: Instant,
}

impl Api {
    /// The API of a server.
    pub fn new(server: MediaServer, metrics: Metrics) -> Self {
        Self {
            server,
            permits: Semaphore::new(MAX_IN_FLIGHT),
            idle: Mutex::default(),
            tls: OnceCell::new(),
            metrics,
        }
    }

    /// Calls `/index/api/NAME` with these parameters, as a form.
    ///
    /// # Errors
    ///
    /// There was no answer within `limit`, or it was no answer of the API.
    pub async fn call(
        &self,
        name: &'static str,
        params: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Reply, ApiError> {
        let shown = || self.server.shown();
        let exchange = async {
            let _permit = (self.permits.acquire().await)
                .map_err(|closed| ApiError::Broken(shown(), closed.to_string()))?;
            self.exchange(name, &form(self.server.secret.expose(), params))
                .await
        };
        let answer = timeout(limit, exchange)
            .await
            .unwrap_or_else(|_| Err(ApiError::Timeout(shown())));
        let reply = answer.and_then(|body| {
            serde_json::from_slice::<Reply>(&body)
                .map_err(|error| ApiError::BadAnswer(shown(), error.to_string()))
        });
        self.metrics.api_call(
            name,
            match &reply {
                Ok(Reply { code: 0, .. }) => "ok",
                Ok(_) => "refused",
                Err(_) => "failed",
            },
        );
        reply
    }

    async fn exchange(&self, name: &str, body: &str) -> Result<Bytes, ApiError> {
        let kept = self.take_idle();
        if let Some(mut connection) = kept {
            // A kept connection can have been closed meanwhile. All calls made here may be repeated: what is opened twice is "already
            // there", what is closed twice is gone.
            match self.on(&mut connection, name, body).await {
                Err(ApiError::Broken(..)) => {}
                answer => {
                    self.keep(connection);
                    return answer;
                }
            }
        }
        let mut connection = self.connect().await?;
        let body = self.on(&mut connection, name, body).await?;
        self.keep(connection);
        Ok(body)
    }

    async fn on(&self, connection: &mut Connection, name: &str, body: &str) -> Result<Bytes, ApiError> {
        let api = &self.server.api;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/index/api/{name}", api.path))
            .header("Host", &api.host_header)
            .header("Content-Type", "application/x-www-form-urlencoded");
        if let Some(authorization) = &api.authorization {
            request = request.header("Authorization", authorization);
        }
        let broken = |error: &dyn std::fmt::Display| ApiError::Broken(self.server.shown(), error.to_string());
        let request = request
            .body(Full::from(body.to_owned()))
            .map_err(|error| broken(&error))?;
        let Connection { sender, driver, .. } = connection;
        let mut answered = pin!(async {
            sender.ready().await.map_err(|error| broken(&error))?;
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| broken(&error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| broken(&error))?.to_bytes();
            match status {
                200 => Ok(body),
                status => Err(ApiError::Status(self.server.shown(), status)),
            }
        });
        if let Some(running) = driver {
            tokio::select! {
                biased;
                answered = &mut answered => return answered,
                _ended = running => {}
            }
            // What was sent or would be is told only when it is dropped.
            *driver = None;
        }
        answered.await
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.retain(|connection| connection.last_used.elapsed() < IDLE_LIMIT);
        idle.pop()
    }

    fn keep(&self, mut connection: Connection) {
        connection.last_used = Instant::now();
        let mut idle = self.idle.lock();
        if connection.driver.is_some() && !connection.sender.is_closed() && idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    async fn connect(&self) -> Result<Connection, ApiError> {
        let failed = |why: String| ApiError::Connect(self.server.shown(), why);
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let within = |connecting| within(deadline, connecting);
        let origin = &self.server.api.origin;
        let tcp = within(TcpStream::connect((&*origin.host, origin.port)))
            .await
            .map_err(failed)?;
        // Failing only costs latency.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = if origin.tls {
            let config = self
                .tls
                .get_or_try_init(|| self.tls_config())
                .await
                .map_err(failed)?;
            let name =
                ServerName::try_from(origin.host.to_string()).map_err(|error| failed(error.to_string()))?;
            let connecting = TlsConnector::from(config.clone()).connect(name, tcp);
            let shaken = timeout_at(deadline, connecting).await;
            Box::new(
                shaken
                    .map_err(|_| failed("TLS took too long".to_owned()))?
                    .map_err(|error| failed(explain(&error, &self.server.tls)))?,
            )
        } else {
            Box::new(tcp)
        };
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Connection {
            sender,
            driver: Some(Box::pin(driver)),
            last_used: Instant::now(),
        })
    }

    /// Made at the first use: reading the system's roots takes milliseconds.
    async fn tls_config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut config = client_config(&self.server.tls).map_err(|error| error.to_string())?;
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

async fn within<T>(
    deadline: Instant,
    connecting: impl Future<Output = std::io::Result<T>>,
) -> Result<T, String> {
    match timeout_at(deadline, connecting).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("not within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

fn form(secret: &str, params: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, NOT_UNRESERVED);
    let mut form = format!("secret={}", encode(secret));
    for (name, value) in params {
        form.push_str(&format!("&{}={}", encode(name), encode(value)));
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(20);

    async fn listen() -> (TcpListener, Api) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let text = format!("api = \"http://a:b@{address}/zlm\"\nsecret = \"s&\"");
        let server = toml_edit::de::from_str(&text).unwrap();
        (listener, Api::new(server, Metrics::default()))
    }

    /// The next request, up to `end`.
    async fn request(socket: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut bytes = [0; 1024];
            let count = socket.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        text
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn calls_share_a_connection_and_one_that_was_closed_is_replaced() {
        let (listener, api) = listen().await;
        let calls = async {
            for number in 0..4 {
                let number = number.to_string();
                let reply = api.call("addStreamProxy", &[("n", &number)], SOON).await;
                assert_eq!(reply.map(|reply| reply.msg), Ok(number));
            }
        };
        let served = async {
            for of_connection in [0..3, 3..4] {
                let (mut socket, _) = listener.accept().await.unwrap();
                for number in of_connection {
                    let text = request(&mut socket, &format!("secret=s%26&n={number}")).await;
                    assert!(
                        text.starts_with("POST /zlm/index/api/addStreamProxy HTTP/1.1\r\n"),
                        "{text}"
                    );
                    assert!(
                        text.to_ascii_lowercase()
                            .contains("authorization: basic ytpi\r\n"),
                        "{text}"
                    );
                    let body = format!("{{\"code\":0,\"msg\":\"{number}\"}}");
                    socket
                        .write_all(answer("200 OK", &body).as_bytes())
                        .await
                        .unwrap();
                }
            }
        };
        tokio::join!(calls, served);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_named() {
        let (listener, api) = listen().await;
        let shown = api.server.shown();
        let large = format!("{{\"code\":0,\"msg\":\"{}\"}}", "x".repeat(MAX_ANSWER));
        for (sent, expected) in [
            (
                answer("404 Not Found", "{}"),
                format!("{shown} answered with status 404"),
            ),
            (
                answer("200 OK", "[]"),
                format!("{shown} did not answer with JSON that has a code"),
            ),
            (
                answer("200 OK", "{\"code\":\"0\"}"),
                format!("{shown} did not answer with JSON"),
            ),
            (
                answer("200 OK", &large),
                format!("the connection to {shown} broke: length limit exceeded"),
            ),
            (
                "nonsense\r\n\r\n".to_owned(),
                format!("the connection to {shown} broke"),
            ),
            (String::new(), format!("the connection to {shown} broke")),
        ] {
            api.idle.lock().clear();
            let served = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                request(&mut socket, "secret=s%26").await;
                // A client that has seen enough may close first.
                let _ = socket.write_all(sent.as_bytes()).await;
                let _ = socket.shutdown().await;
                socket
            };
            let (answered, _socket) = tokio::join!(api.call("close_streams", &[], SOON), served);
            let error = answered.unwrap_err().to_string();
            assert!(error.contains(&expected), "{error}");
        }
        drop(listener);
        api.idle.lock().clear();
        let error = api.call("close_streams", &[], SOON).await.unwrap_err();
        assert!(matches!(&error, ApiError::Connect(..)), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_costs_its_limit() {
        let (listener, api) = listen().await;
        let reply = api.call("close_streams", &[], Duration::from_millis(50)).await;
        assert_eq!(reply, Err(ApiError::Timeout(api.server.shown())));
        drop(listener);
    }

    #[test]
    fn forms_escape_what_would_be_misread() {
        assert_eq!(
            form(
                "a+b",
                &[("url", "rtsp://u:p@h/1?x=1&y"), ("vhost", "__defaultVhost__")]
            ),
            "secret=a%2Bb&url=rtsp%3A%2F%2Fu%3Ap%40h%2F1%3Fx%3D1%26y&vhost=__defaultVhost__"
        );
    }

    #[test]
    fn a_taken_name_is_no_failure() {
        let reply = |code, msg: &str| Reply {
            code,
            msg: msg.to_owned(),
        };
        assert!(reply(-1, "This stream already exists").is_already_there());
        assert!(!reply(-1, "connection refused").is_already_there());
        assert!(!reply(0, "success").is_already_there());
    }
}
