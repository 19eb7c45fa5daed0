//! Certificates for HTTPS, WSS and RTMPS, reloaded without a restart.

use anyhow::{Context, ensure};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

/// Most certificates of a chain; real ones have two to four.
const MAX_CHAIN: usize = 16;

/// The certificate in force and where it came from.
#[derive(Debug)]
pub struct Certificate {
    files: ArcSwap<Files>,
    current: Arc<Current>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// When they were changed last, as far as the file system tells.
    changed: [Option<SystemTime>; 2],
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificate {
    /// Reads certificate chain and key from PEM files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or certificate and key do not belong together; the text names file and configuration key.
    pub fn load(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let files = Files::stat(certificate, key);
        let current = read(certificate, key)?;
        Ok(Self {
            files: ArcSwap::from_pointee(files),
            current: Arc::new(Current(ArcSwap::from_pointee(current))),
        })
    }

    /// Accepts TLS connections with the certificate that is in force at the time of each.
    ///
    /// # Errors
    ///
    /// rustls refuses its own defaults, which does not happen.
    pub fn acceptor(&self, protocols: &[&[u8]]) -> anyhow::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again if they, or their names, have changed. A certificate that cannot be used leaves the old one in
    /// force and is reported once.
    pub fn refresh(&self, certificate: &Path, key: &Path) {
        let files = Files::stat(certificate, key);
        if **self.files.load() == files {
            return;
        }
        self.files.store(Arc::new(files));
        match read(certificate, key) {
            Ok(new) => {
                self.current.0.store(Arc::new(new));
                info!(file = %certificate.display(), "the TLS certificate was reloaded");
            }
            Err(error) => error!(
                error = format!("{error:#}"),
                "the new TLS certificate is not used; the old one stays"
            ),
        }
    }
}

impl Files {
    fn stat(certificate: &Path, key: &Path) -> Self {
        let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            changed: [changed(certificate), changed(key)],
        }
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let named = |what: &str, path: &Path| format!("{what} {}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.take(MAX_CHAIN + 1).collect::<Result<Vec<_>, _>>())
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .with_context(|| named("http.cert_file", certificate))?;
    ensure!(
        !chain.is_empty(),
        "{} holds no certificate",
        named("http.cert_file", certificate)
    );
    ensure!(
        chain.len() <= MAX_CHAIN,
        "{} holds more than {MAX_CHAIN} certificates",
        named("http.cert_file", certificate)
    );
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| anyhow::anyhow!("{error:?}"))
        .with_context(|| named("http.key_file", key))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).with_context(|| {
        format!(
            "{} does not belong to {}",
            named("http.key_file", key),
            named("http.cert_file", certificate)
        )
    })
}
