//! Receivers on loopback, with and without TLS, and their certificates.

use super::script::{Receiver, play, settings};
use crate::client::tls::TlsSettings;
use crate::failure::Class;
use crate::{Answered, Hook, Hooks, Settings};
use lifecycle::Outcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Serves a receiver over TCP, with TLS if it is configured.
pub async fn listen(receiver: &Receiver, tls: Option<ServerConfig>) -> SocketAddr {
    let receiver = receiver.clone();
    match tls {
        Some(config) => {
            listen_tls(config, move |tls| {
                let receiver = receiver.clone();
                async move { receiver.serve(tls).await }
            })
            .await
        }
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    tokio::spawn(receiver.clone().serve(tcp));
                }
            });
            address
        }
    }
}

/// Serves connections over TLS.
pub async fn listen_tls<F>(
    config: ServerConfig,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (serve, acceptor) = (serve.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    serve(tls).await;
                }
            });
        }
    });
    address
}

/// One `on_play`, without further attempts.
pub fn settings_for(url: &str) -> Settings {
    let mut settings = Settings {
        retry: 0,
        ..settings(&[])
    };
    settings.set_url(Hook::Play, url);
    settings
}

/// [`settings_for`] with TLS settings.
pub fn settings_with(url: &str, tls: &TlsSettings) -> Settings {
    let mut settings = settings_for(url);
    settings.set_tls(tls.clone());
    settings
}

pub async fn ask(settings: Settings) -> Answered {
    Hooks::new(settings, "Tidegate(test)").0.ask(&play(), None).await
}

#[track_caller]
pub fn assert_failed(got: &Answered, class: Class, text: &str, detail: &str) {
    assert_eq!(got.outcome, Outcome::Play(Err(text.to_owned())), "{got:?}");
    assert_eq!(got.class(), Some(class), "{got:?}");
    assert!(got.failure.as_ref().unwrap().detail.contains(detail), "{got:?}");
}

/// A private authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name, changed as wanted.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    /// A server that asks its clients for a certificate of this authority.
    pub fn demand(
        &self,
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap())
            .unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .unwrap();
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![identity.certificate.clone()], identity.private())
            .unwrap()
    }
}

impl Identity {
    /// What `openssl req -x509` makes: a certificate that is its own authority.
    pub fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// A server with this certificate.
    pub fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.private())
            .unwrap()
    }

    /// The same, offering HTTP/2.
    pub fn http2_server(&self) -> ServerConfig {
        let mut config = self.server();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

pub fn file_with(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Every certificate is accepted.
pub fn insecure() -> TlsSettings {
    TlsSettings {
        insecure: true,
        ..TlsSettings::default()
    }
}

/// Certificates of a file are accepted.
pub fn trusting(file: &tempfile::NamedTempFile) -> TlsSettings {
    TlsSettings {
        ca_file: Some(file.path().to_owned()),
        ..TlsSettings::default()
    }
}
