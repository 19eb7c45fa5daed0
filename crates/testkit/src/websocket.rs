//! A WebSocket client for streams: it mostly listens, and sees the server's binary messages as one run of bytes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::certificate::Authority;

/// More than any test's stream has: a stop for a runaway server.
const MAX_BYTES: usize = 256 << 20;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An open connection. Closed, without a farewell, when dropped.
pub struct Client {
    socket: WebSocketStream<Box<dyn Stream>>,
    received: Vec<u8>,
}

impl Client {
    /// Sends a binary message.
    pub async fn send(&mut self, message: Vec<u8>, deadline: Duration) -> Result<()> {
        let sent = timeout(deadline, self.socket.send(Message::Binary(message.into()))).await;
        sent.context("not sent in time")?.context("not sent")
    }

    /// Sends a ping and waits for its answer. What else comes meanwhile is dropped.
    pub async fn ping(&mut self, deadline: Duration) -> Result<()> {
        let answered = async {
            self.socket.send(Message::Ping("still there".into())).await?;
            while let Some(message) = self.socket.next().await {
                if matches!(message?, Message::Pong(echo) if &echo[..] == b"still there") {
                    return Ok(());
                }
            }
            bail!("the server closed the connection instead of answering a ping")
        };
        timeout(deadline, answered).await.context("no answer to a ping")?
    }

    /// Opens `ws://..`, or `wss://..` if an authority is given that the server's certificate must be from. An answer that is
    /// not the switch of protocols is an error that tells its status.
    pub async fn connect(url: &str, authority: Option<&Authority>, deadline: Duration) -> Result<Self> {
        let open = async {
            let request = url.into_client_request().context("URL")?;
            let host = request.uri().host().context("URL without a host")?.to_owned();
            let secure = request.uri().scheme_str() == Some("wss");
            let port = request.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
            let tcp = TcpStream::connect((host.as_str(), port))
                .await
                .context("connect")?;
            let stream: Box<dyn Stream> = match (secure, authority) {
                (false, _) => Box::new(tcp),
                (true, Some(authority)) => {
                    let tls = TlsConnector::from(authority.client_config()?);
                    let name = ServerName::try_from(host).context("host name")?;
                    Box::new(tls.connect(name, tcp).await.context("TLS")?)
                }
                (true, None) => bail!("wss needs an authority to trust"),
            };
            let (socket, _) = client_async(request, stream).await.context("handshake")?;
            Ok(Self {
                socket,
                received: Vec::new(),
            })
        };
        timeout(deadline, open)
            .await
            .unwrap_or_else(|_| bail!("not open within {deadline:?}"))
            .with_context(|| url.to_owned())
    }

    /// What has come so far.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Reads on until there are at least `bytes` in all.
    pub async fn read_until(&mut self, bytes: usize, deadline: Duration) -> Result<&[u8]> {
        let read = async {
            while self.received.len() < bytes {
                if !self.read_message().await? {
                    bail!("closed after {} of {bytes} bytes", self.received.len());
                }
            }
            Ok(())
        };
        match timeout(deadline, read).await {
            Ok(result) => result?,
            Err(_) => bail!("{} of {bytes} bytes within {deadline:?}", self.received.len()),
        }
        Ok(&self.received)
    }

    /// Reads on until the server closes, in order or not, and returns everything.
    pub async fn read_to_end(mut self, deadline: Duration) -> Result<Vec<u8>> {
        let read = async {
            while self.read_message().await? {}
            Ok(())
        };
        match timeout(deadline, read).await {
            Ok(result) => result.map(|()| self.received),
            Err(_) => bail!(
                "not closed within {deadline:?}, after {} bytes",
                self.received.len()
            ),
        }
    }

    /// False at the end. A text message is an error: streams are binary.
    async fn read_message(&mut self) -> Result<bool> {
        match self.socket.next().await {
            Some(Ok(Message::Binary(data))) => {
                self.received.extend_from_slice(&data);
                if self.received.len() > MAX_BYTES {
                    bail!("more than {MAX_BYTES} bytes");
                }
                Ok(true)
            }
            // Reading on is what sends the answer to a ping.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(true),
            Some(Ok(Message::Text(text))) => bail!("a text message: {text}"),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Answer, HookServer};
    use futures_util::SinkExt;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_tungstenite::accept_async;

    const SOON: Duration = Duration::from_secs(10);

    async fn send_two(stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut socket = accept_async(stream).await.unwrap();
        socket.send(Message::binary(vec![1, 2])).await.unwrap();
        socket.send(Message::Ping(Vec::new().into())).await.unwrap();
        socket.send(Message::binary(vec![3])).await.unwrap();
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
    }

    #[tokio::test]
    async fn messages_are_one_run_of_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/live/a.live.flv", listener.local_addr().unwrap());
        let server = async { send_two(listener.accept().await.unwrap().0).await };
        let client = async {
            let mut client = Client::connect(&url, None, SOON).await.unwrap();
            assert!(client.read_until(1, SOON).await.unwrap().starts_with(&[1, 2]));
            client.read_to_end(SOON).await.unwrap()
        };
        assert_eq!(tokio::join!(server, client).1, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_secure_server_is_verified() {
        let authority = Authority::new().unwrap();
        let tls = TlsAcceptor::from(authority.issue(&["localhost"]).unwrap().server_config().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
        let server = async {
            let stranger = listener.accept().await.unwrap().0;
            assert!(tls.accept(stranger).await.is_err());
            send_two(tls.accept(listener.accept().await.unwrap().0).await.unwrap()).await;
        };
        let client = async {
            let other = Authority::new().unwrap();
            let error = Client::connect(&url, Some(&other), SOON).await.err().unwrap();
            assert!(format!("{error:#}").contains("TLS"), "{error:#}");
            Client::connect(&url, Some(&authority), SOON)
                .await
                .unwrap()
                .read_to_end(SOON)
                .await
                .unwrap()
        };
        assert_eq!(tokio::join!(server, client).1, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_refusal_tells_its_status() {
        let server = HookServer::start(|_| Answer::Status(404)).await.unwrap();
        let error = Client::connect(&format!("ws://{}/x", server.address()), None, SOON)
            .await
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("404"), "{error:#}");
    }
}
