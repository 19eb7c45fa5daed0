//! TLS to receivers, over loopback.

use super::loopback::{
    Authority, Identity, ask, assert_failed, file_with, insecure, listen, listen_tls, settings_for,
    settings_with, trusting,
};
use super::script::{Receiver, play, publish, yes};
use crate::client::tls::{CHECK_PERIOD, TlsSettings};
use crate::failure::Class;
use crate::{Hook, Hooks};
use config::Fingerprint;
use lifecycle::Outcome;
use parking_lot::Mutex;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const OTHER: &str = "[network err]:255(other error)";

fn url(address: SocketAddr) -> String {
    format!("https://{address}/")
}

fn fingerprint(identity: &Identity) -> Fingerprint {
    Fingerprint(Sha256::digest(&identity.certificate).into())
}

/// Whatever roots this system has, or has not.
fn unrelated() -> tempfile::NamedTempFile {
    file_with(&Identity::self_signed("unrelated.example").pem)
}

#[tokio::test]
async fn a_self_signed_receiver_is_refused_unless_it_is_named_or_anything_goes() {
    let identity = Identity::self_signed("another.example");
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, Some(identity.server())).await;
    let unrelated = unrelated();
    let got = ask(settings_with(&url(address), &trusting(&unrelated))).await;
    for remedy in ["self-signed", "hook.ca_file", "hook.insecure=1", "a known CA"] {
        assert_failed(&got, Class::Tls, OTHER, remedy);
    }
    assert!(receiver.received().is_empty());

    let file = file_with(&identity.pem);
    for tls in [trusting(&file), insecure()] {
        let got = ask(settings_with(&url(address), &tls)).await;
        assert_eq!(got.outcome, Outcome::Play(Ok(())), "{tls:?}: {got:?}");
    }
}

#[tokio::test]
async fn a_private_ca_vouches_for_the_name_only() {
    let authority = Authority::new("ours");
    let file = file_with(&authority.pem());
    for (name, expected) in [("127.0.0.1", true), ("other.example", false)] {
        let identity = authority.issue(name, |_| {});
        let address = listen(&Receiver::new(|_| yes()), Some(identity.server())).await;
        let got = ask(settings_with(&url(address), &trusting(&file))).await;
        if expected {
            assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
        } else {
            assert_failed(&got, Class::Tls, OTHER, "for another name");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_now_is_told_from_others() {
    let authority = Authority::new("ours");
    let file = file_with(&authority.pem());
    let past = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2400, 1, 1);
        params.not_after = date_time_ymd(2401, 1, 1);
    };
    for (identity, words) in [
        (authority.issue("127.0.0.1", past), "has expired"),
        (authority.issue("127.0.0.1", future), "not valid yet"),
    ] {
        let address = listen(&Receiver::new(|_| yes()), Some(identity.server())).await;
        let got = ask(settings_with(&url(address), &trusting(&file))).await;
        assert_failed(&got, Class::Tls, OTHER, words);
    }
}

#[tokio::test]
async fn names_are_sent_as_server_name_and_addresses_are_verified_without() {
    let authority = Authority::new("ours");
    let file = file_with(&authority.pem());
    let identity = authority.issue("localhost", |params| {
        params
            .subject_alt_names
            .push(rcgen::SanType::IpAddress([127, 0, 0, 1].into()));
    });
    let receiver = Receiver::new(|_| yes());
    let names = Arc::new(Mutex::new(Vec::new()));
    let address = listen_tls(identity.server(), {
        let (receiver, names) = (receiver.clone(), names.clone());
        move |tls| {
            names
                .lock()
                .push(tls.get_ref().1.server_name().map(str::to_owned));
            receiver.clone().serve(tls)
        }
    })
    .await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/", address.port());
        let got = ask(settings_with(&url, &trusting(&file))).await;
        assert_eq!(got.outcome, Outcome::Play(Ok(())), "{host}: {got:?}");
    }
    assert_eq!(*names.lock(), [Some("localhost".to_owned()), None]);
}

#[tokio::test]
async fn a_pinned_certificate_needs_no_chain_and_another_one_is_shown() {
    // Expired, for another name and of an unknown authority: with the pin none of it matters.
    let identity = Authority::new("ours").issue("another.example", |params| {
        params.not_after = date_time_ymd(2002, 1, 1);
        params.not_before = date_time_ymd(2001, 1, 1);
    });
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, Some(identity.server())).await;
    let pinned = |pin| TlsSettings {
        pin_sha256: Some(pin),
        ..TlsSettings::default()
    };
    let right = fingerprint(&identity);
    let got = ask(settings_with(&url(address), &pinned(right))).await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");

    let wrong = Fingerprint([7; 32]);
    for insecure in [false, true] {
        let tls = TlsSettings {
            insecure,
            ..pinned(wrong)
        };
        let got = ask(settings_with(&url(address), &tls)).await;
        assert_failed(&got, Class::Tls, OTHER, &format!("its SHA-256 is {right}"));
        assert_failed(&got, Class::Tls, OTHER, &format!("hook.pin_sha256 is {wrong}"));
    }
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_worth_nothing() {
    let identity = Identity::self_signed("receiver.example");
    let thief = Identity::self_signed("receiver.example");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    for version in [&TLS12, &TLS13] {
        let key = provider.key_provider.load_private_key(thief.private()).unwrap();
        let stolen = CertifiedKey::new(vec![identity.certificate.clone()], key);
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(stolen)));
        let receiver = Receiver::new(|_| yes());
        let address = listen(&receiver, Some(config)).await;
        for pin_sha256 in [Some(fingerprint(&identity)), None] {
            let tls = TlsSettings {
                pin_sha256,
                ..insecure()
            };
            let got = ask(settings_with(&url(address), &tls)).await;
            assert_failed(&got, Class::Tls, OTHER, "signature");
        }
        assert!(receiver.received().is_empty());
    }
}

/// The client's certificate and key in files.
struct ClientFiles {
    certificate: tempfile::NamedTempFile,
    key: tempfile::NamedTempFile,
}

impl ClientFiles {
    fn of(identity: &Identity) -> Self {
        Self {
            certificate: file_with(&identity.pem),
            key: file_with(&identity.key.serialize_pem()),
        }
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            cert_file: Some(self.certificate.path().to_owned()),
            key_file: Some(self.key.path().to_owned()),
            ..insecure()
        }
    }
}

#[tokio::test]
async fn a_receiver_that_demands_a_certificate_gets_the_configured_one() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let identity = authority.issue("127.0.0.1", |_| {});
    let client = authority.issue("tidegate", |_| {});
    let separate = ClientFiles::of(&client);
    let together = file_with(&format!("{}{}", client.key.serialize_pem(), client.pem));
    let wrong = ClientFiles::of(&stranger.issue("tidegate", |_| {}));
    for version in [&TLS12, &TLS13] {
        let receiver = Receiver::new(|_| yes());
        let address = listen(&receiver, Some(authority.demand(&identity, &[version]))).await;
        let one_file = TlsSettings {
            cert_file: Some(together.path().to_owned()),
            ..insecure()
        };
        for tls in [separate.settings(), one_file] {
            let got = ask(settings_with(&url(address), &tls)).await;
            assert_eq!(got.outcome, Outcome::Play(Ok(())), "{version:?}: {got:?}");
        }
        for (tls, words) in [
            (
                insecure(),
                "demands a client certificate, and none is configured; set hook.cert_file",
            ),
            (wrong.settings(), "refused the client certificate hook.cert_file"),
        ] {
            let got = ask(settings_with(&url(address), &tls)).await;
            assert_eq!(got.class(), Some(Class::Tls), "{version:?}: {got:?}");
            let detail = got.failure.unwrap().detail;
            assert!(detail.contains(words), "{version:?}: {detail}");
        }
        assert_eq!(receiver.received().len(), 2);
    }
}

#[tokio::test]
async fn files_that_hold_something_else_are_named() {
    let address = listen(&Receiver::new(|_| yes()), None).await;
    let (client, other) = (Identity::self_signed("a"), Identity::self_signed("b"));
    let (files, others) = (ClientFiles::of(&client), ClientFiles::of(&other));
    let empty = file_with("nothing here");
    let missing: std::path::PathBuf = "/nonexistent/ca.pem".into();
    let ca = |path: &std::path::Path| TlsSettings {
        ca_file: Some(path.to_owned()),
        ..TlsSettings::default()
    };
    let certificate = files.certificate.path().display().to_string();
    for (tls, words) in [
        (ca(&missing), "hook.ca_file /nonexistent/ca.pem: ".to_owned()),
        (
            ca(empty.path()),
            format!("hook.ca_file {}: holds no certificate", empty.path().display()),
        ),
        (
            TlsSettings {
                cert_file: Some(empty.path().to_owned()),
                ..files.settings()
            },
            format!("hook.cert_file {}: holds no certificate", empty.path().display()),
        ),
        (
            TlsSettings {
                key_file: Some(empty.path().to_owned()),
                ..files.settings()
            },
            format!("hook.key_file {}: holds no private key", empty.path().display()),
        ),
        (
            TlsSettings {
                key_file: None,
                ..files.settings()
            },
            format!("hook.cert_file {certificate}: holds no private key"),
        ),
        (
            TlsSettings {
                key_file: Some(others.key.path().to_owned()),
                ..files.settings()
            },
            format!("hook.cert_file {certificate}: "),
        ),
    ] {
        let got = ask(settings_with(&url(address), &tls)).await;
        assert_failed(&got, Class::Tls, OTHER, &words);
    }
}

/// Makes the files be looked at again.
async fn later() {
    tokio::time::pause();
    tokio::time::advance(CHECK_PERIOD).await;
    tokio::time::resume();
}

#[tokio::test]
async fn certificates_are_renewed_in_place() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let receiver = Receiver::new(|_| {
        super::script::Reply::Close(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{\"code\":0}".to_vec(),
        )
    });
    // The receiver has a certificate of the new authority and demands one of it.
    let demanding = new.demand(&new.issue("127.0.0.1", |_| {}), &[&TLS13]);
    let address = listen(&receiver, Some(demanding)).await;
    let ca = file_with(&old.pem());
    let client = ClientFiles::of(&old.issue("tidegate", |_| {}));
    let tls = TlsSettings {
        ca_file: Some(ca.path().to_owned()),
        insecure: false,
        ..client.settings()
    };
    let (hooks, _driver) = Hooks::new(settings_with(&url(address), &tls), "Tidegate(test)");
    let play = play();
    let ask = || hooks.ask(&play, None);
    assert_failed(&ask().await, Class::Tls, OTHER, "a CA that is not known");

    std::fs::write(ca.path(), new.pem()).unwrap();
    later().await;
    let got = ask().await;
    assert_eq!(got.class(), Some(Class::Tls));
    assert!(
        got.failure
            .unwrap()
            .detail
            .contains("refused the client certificate")
    );

    // Half of a renewal is no pair; the old pair stays in force.
    let renewed = new.issue("tidegate", |_| {});
    std::fs::write(client.certificate.path(), &renewed.pem).unwrap();
    later().await;
    let got = ask().await;
    assert!(
        got.failure
            .unwrap()
            .detail
            .contains("refused the client certificate")
    );

    std::fs::write(client.key.path(), renewed.key.serialize_pem()).unwrap();
    later().await;
    let got = ask().await;
    assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");

    // A file that went bad does no harm until the settings are put in force again.
    std::fs::write(ca.path(), "").unwrap();
    later().await;
    assert_eq!(ask().await.outcome, Outcome::Play(Ok(())));
    hooks.apply(settings_with(&url(address), &tls));
    assert_failed(&ask().await, Class::Tls, OTHER, "holds no certificate");
}

#[tokio::test]
async fn endpoints_of_one_receiver_with_other_settings_share_nothing() {
    let identity = Identity::self_signed("receiver.example");
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, Some(identity.server())).await;
    let unrelated = unrelated();
    let mut settings = settings_with(&url(address), &insecure());
    settings.tls = Arc::new(trusting(&unrelated));
    settings.set_url(Hook::Publish, &url(address));
    let (hooks, _driver) = Hooks::new(settings, "Tidegate(test)");
    assert_eq!(hooks.ask(&play(), None).await.outcome, Outcome::Play(Ok(())));
    // The connection that is kept was not verified as this endpoint wants it.
    assert_eq!(hooks.ask(&publish(), None).await.class(), Some(Class::Tls));
    assert_eq!(hooks.ask(&play(), None).await.outcome, Outcome::Play(Ok(())));
    assert_eq!((receiver.connections(), receiver.received().len()), (1, 2));
}

#[tokio::test]
async fn trust_can_be_changed_while_connections_are_kept() {
    let identity = Identity::self_signed("another.example");
    let address = listen(&Receiver::new(|_| yes()), Some(identity.server())).await;
    let unrelated = unrelated();
    let (hooks, _driver) = Hooks::new(settings_with(&url(address), &insecure()), "Tidegate(test)");
    assert_eq!(hooks.ask(&play(), None).await.outcome, Outcome::Play(Ok(())));
    hooks.apply(settings_with(&url(address), &trusting(&unrelated)));
    assert_eq!(hooks.ask(&play(), None).await.class(), Some(Class::Tls));
}

#[tokio::test]
async fn calls_that_begin_together_each_get_a_connection_of_http1() {
    let identity = Identity::self_signed("receiver.example");
    let receiver = Receiver::new(|_| yes());
    let address = listen(&receiver, Some(identity.server())).await;
    let (hooks, _driver) = Hooks::new(settings_with(&url(address), &insecure()), "Tidegate(test)");
    let play = play();
    let asked = (0..10).map(|_| hooks.ask(&play, None));
    for got in futures_util::future::join_all(asked).await {
        assert_eq!(got.outcome, Outcome::Play(Ok(())), "{got:?}");
    }
    assert_eq!(receiver.received().len(), 10);
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
    let got = ask(settings_with(&url(address), &insecure())).await;
    assert_failed(&got, Class::Tls, OTHER, "does not speak TLS");
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_ends_with_the_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = settings_for(&url(address));
    settings.set_tls(insecure());
    settings.timeout = Duration::from_millis(30);
    // The kernel accepts the connection; nobody answers the handshake.
    assert_failed(
        &ask(settings).await,
        Class::Timeout,
        "[network err]:2(timeout)",
        "30ms",
    );
}
