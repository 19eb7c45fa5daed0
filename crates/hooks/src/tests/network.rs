//! Over loopback: what only sockets and TLS can show.

use super::script::{Receiver, Reply, play, response, settings, yes};
use crate::failure::Class;
use crate::{Answered, Hook, Hooks, Settings};
use lifecycle::Outcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves a receiver over TCP, with TLS if it is configured.
async fn listen(receiver: &Receiver, tls: Option<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = receiver.clone();
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (receiver, acceptor) = (receiver.clone(), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => receiver.serve(tcp).await,
                    Some(acceptor) => {
                        if let Ok(tls) = acceptor.accept(tcp).await {
                            receiver.serve(tls).await;
                        }
                    }
                }
            });
        }
    });
    address
}

fn settings_for(url: &str) -> Settings {
    let mut settings = Settings {
        retry: 0,
        ..settings(&[])
    };
    settings.set_url(Hook::Play, url);
    settings
}

async fn ask(settings: Settings) -> Answered {
    Hooks::new(settings, "Tidegate(test)").0.ask(&play(), None).await
}

#[track_caller]
fn assert_failed(got: &Answered, class: Class, text: &str, detail: &str) {
    assert_eq!(got.outcome, Outcome::Play(Err(text.to_owned())), "{got:?}");
    assert_eq!(got.class(), Some(class), "{got:?}");
    assert!(got.failure.as_ref().unwrap().detail.contains(detail), "{got:?}");
}

#[tokio::test]
async fn two_calls_over_tcp_share_a_connection() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let (hooks, _driver) = Hooks::new(settings_for(&format!("http://{address}/hook")), "Tidegate(test)");
    for _ in 0..2 {
        assert_eq!(hooks.ask(&play(), None).await.outcome, Outcome::Play(Ok(())));
    }
    assert_eq!((receiver.connections(), receiver.received().len()), (1, 2));
    assert_eq!(
        receiver.received()[0].header("host"),
        Some(address.to_string().as_str())
    );
}

/// The rows of the failure matrix (hooks.md, section 3) once more, where the bytes go through sockets. The times of the rows are
/// checked with a paused clock, see `decisions`.
#[tokio::test]
async fn the_failure_matrix_holds_over_tcp() {
    let raw = |text: &str| Reply::Send(text.as_bytes().to_vec());
    let close = |text: &str| Reply::Close(text.as_bytes().to_vec());
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":0}";
    let rows = [
        (yes(), Ok(()), 1),
        (
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"code\":0}\r\n0\r\n\r\n"),
            Ok(()),
            1,
        ),
        (close("HTTP/1.1 200 OK\r\n\r\n{\"code\":0,} x"), Ok(()), 1),
        (Reply::Hang, Err("[network err]:2(timeout)"), 2),
        (raw("HTTP/1.1 200 OK\r\n"), Err("[network err]:2(timeout)"), 2),
        (raw(half), Err("[network err]:2(timeout)"), 2),
        (close(""), Err("[network err]:1(end of file)"), 2),
        (close(half), Err("[network err]:1(end of file)"), 2),
        (response(500, ""), Err("[bad http status code]:500"), 2),
        (response(204, ""), Err("[bad http status code]:204"), 2),
        (
            raw("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
            Err("[bad http status code]:302"),
            2,
        ),
        (response(200, ""), Err("[parse json failed]:empty"), 2),
        (
            response(200, "[]"),
            Err("[parse json failed]:not an object but an array"),
            2,
        ),
        (response(200, "{}"), Err("[json code]:code not int:null"), 2),
        (
            response(200, r#"{"code":-1,"msg":"no"}"#),
            Err("[auth failed]: code:-1 msg:\"no\""),
            1,
        ),
    ];
    let asked = rows.map(|(reply, expected, attempts)| async move {
        let name = format!("{reply:?}");
        // Only the silent rows run into it; the others must not, however busy the machine is.
        let timeout = match expected {
            Err("[network err]:2(timeout)") => Duration::from_millis(20),
            Ok(()) | Err(_) => Duration::from_secs(60),
        };
        let receiver = Receiver::new(move |_| reply.clone());
        let address = listen(&receiver, None).await;
        let got = ask(Settings {
            timeout,
            retry: 1,
            retry_delay: Duration::from_millis(1),
            ..settings_for(&format!("http://{address}/hook"))
        })
        .await;
        let expected = Outcome::Play(expected.map_err(str::to_owned));
        assert_eq!((&got.outcome, got.attempts), (&expected, attempts), "{name}");
        let received = receiver.received();
        assert_eq!(received.len(), attempts as usize, "{name}");
        assert!(
            received
                .iter()
                .all(|request| request.line == "POST /hook HTTP/1.1"),
            "{name}: no redirect is followed"
        );
    });
    futures_util::future::join_all(asked).await;
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let got = ask(settings_for(&format!("http://{address}/"))).await;
    assert_failed(
        &got,
        Class::Connect,
        "[network err]:3(connection refused)",
        &address.to_string(),
    );
}

#[tokio::test]
async fn a_reset_connection_has_its_own_number() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut tcp).await.unwrap();
        // Closing with unread bytes and without lingering sends a reset.
        tcp.set_zero_linger().unwrap();
    });
    let got = ask(settings_for(&format!("http://{address}/"))).await;
    assert_failed(&got, Class::Reset, "[network err]:4(connection reset)", "");
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_failure() {
    // Longer than a label may be, so no name server is asked.
    let got = ask(settings_for(&format!("http://{}.invalid/", "x".repeat(64)))).await;
    assert_failed(&got, Class::Dns, "[network err]:5(dns failed)", ".invalid");
}

#[tokio::test]
async fn localhost_is_found_by_name() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let got = ask(settings_for(&format!("http://localhost:{}/", address.port()))).await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
}

struct Tls {
    server: ServerConfig,
    certificate: String,
}

fn server_config(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// What `openssl req -x509` makes: a certificate that is its own CA.
fn self_signed(name: &str) -> Tls {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Tls {
        server: server_config(vec![certificate.der().clone()], &key),
        certificate: certificate.pem(),
    }
}

/// A certificate of a private CA; `certificate` is that of the CA.
fn signed_by_ca(name: &str) -> Tls {
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca_params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    Tls {
        server: server_config(vec![leaf.der().clone()], &key),
        certificate: ca.pem(),
    }
}

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn a_self_signed_receiver_is_refused_unless_it_is_named_or_anything_goes() {
    let tls = self_signed("another.example");
    let file = file_with(&tls.certificate);
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, Some(tls.server)).await;
    let mut settings = settings_for(&format!("https://{address}/"));
    // Whatever roots this system has, or has not.
    let unrelated = file_with(&self_signed("unrelated.example").certificate);
    settings.trust.ca_file = Some(unrelated.path().to_owned());
    let got = ask(settings.clone()).await;
    assert_failed(&got, Class::Tls, "[network err]:255(other error)", "hook.ca_file");
    assert_failed(
        &got,
        Class::Tls,
        "[network err]:255(other error)",
        "hook.insecure=1",
    );
    assert!(receiver.received().is_empty());

    let mut trusting = settings.clone();
    trusting.trust.ca_file = Some(file.path().to_owned());
    assert_eq!(ask(trusting).await.outcome, Outcome::Play(Ok(())));

    settings.trust.ca_file = None;
    settings.trust.insecure = true;
    assert_eq!(ask(settings).await.outcome, Outcome::Play(Ok(())));
}

#[tokio::test]
async fn a_private_ca_vouches_for_the_name_only() {
    let receiver = Receiver::new(|_| yes());
    for (name, expected) in [("127.0.0.1", true), ("other.example", false)] {
        let tls = signed_by_ca(name);
        let file = file_with(&tls.certificate);
        let address = listen(&receiver, Some(tls.server)).await;
        let mut settings = settings_for(&format!("https://{address}/"));
        settings.trust.ca_file = Some(file.path().to_owned());
        let got = ask(settings).await;
        if expected {
            assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
        } else {
            assert_failed(
                &got,
                Class::Tls,
                "[network err]:255(other error)",
                "for another name",
            );
        }
    }
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_named() {
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, None).await;
    let empty = file_with("no certificate here");
    for path in ["/nonexistent/ca.pem".into(), empty.path().to_owned()] {
        let mut settings = settings_for(&format!("https://{address}/"));
        settings.trust.ca_file = Some(path.clone());
        let got = ask(settings).await;
        assert_failed(
            &got,
            Class::Tls,
            "[network err]:255(other error)",
            &format!("hook.ca_file {}", path.display()),
        );
    }
}

#[tokio::test]
async fn https_to_a_port_without_tls_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut rest).await;
    });
    let mut settings = settings_for(&format!("https://{address}/"));
    settings.trust.insecure = true;
    assert_failed(
        &ask(settings).await,
        Class::Tls,
        "[network err]:255(other error)",
        "does not speak TLS",
    );
}

#[tokio::test]
async fn trust_can_be_changed_while_connections_are_kept() {
    let tls = self_signed("another.example");
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, Some(tls.server)).await;
    let mut open = settings_for(&format!("https://{address}/"));
    open.trust.insecure = true;
    let mut strict = open.clone();
    strict.trust.insecure = false;
    let unrelated = file_with(&self_signed("unrelated.example").certificate);
    strict.trust.ca_file = Some(unrelated.path().to_owned());
    let (hooks, _driver) = Hooks::new(open, "Tidegate(test)");
    assert_eq!(hooks.ask(&play(), None).await.outcome, Outcome::Play(Ok(())));
    hooks.apply(strict);
    assert_eq!(hooks.ask(&play(), None).await.class(), Some(Class::Tls));
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_ends_with_the_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = settings_for(&format!("https://{address}/"));
    settings.trust.insecure = true;
    settings.timeout = Duration::from_millis(30);
    // The kernel accepts the connection; nobody answers the handshake.
    assert_failed(
        &ask(settings).await,
        Class::Timeout,
        "[network err]:2(timeout)",
        "30ms",
    );
}
