//! TLS as a client: verified by default, against the system's roots and a configured file. Hook receivers are reached with it,
//! and the sources of pulls; [`TlsSettings::keys`] is whose configuration keys the texts name.

mod explain;
mod store;
mod verify;

pub use explain::explain;
pub(crate) use explain::{Peer, not_a_name};
#[cfg(test)]
pub(crate) use store::CHECK_PERIOD;
pub(crate) use store::Store;

use config::Fingerprint;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most certificates read from a file. A system bundle has about 150.
const MAX_CERTIFICATES: usize = 10_000;

/// Which servers are trusted, and who Tidegate is to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// What the other fields are called in the configuration, without the last part: `hook` or `proxy`. Error texts name keys.
    pub keys: Cow<'static, str>,
    /// Key `ca_file`: PEM file of further certificates to trust. A CA in it vouches for servers under their name; a server
    /// whose very certificate stands in it is accepted as it is, whatever name it bears, because self-signed certificates
    /// seldom bear a useful one.
    pub ca_file: Option<PathBuf>,
    /// Key `cert_file`: PEM file with the certificate, and its chain, for servers that ask for one.
    pub cert_file: Option<PathBuf>,
    /// Key `key_file`: PEM file with the private key of `cert_file`; none if it is in the same file.
    pub key_file: Option<PathBuf>,
    /// Key `pin_sha256`: the one certificate that the server may have. Its name, validity and issuer do not matter then, nor
    /// does `insecure`.
    pub pin_sha256: Option<Fingerprint>,
    /// Key `insecure`: accept every certificate, as ZLM does.
    pub insecure: bool,
    /// Key `http2`: hook receivers may choose HTTP/2.
    pub http2: bool,
}

impl Default for TlsSettings {
    /// Section `hook`, and what the system trusts.
    fn default() -> Self {
        Self {
            keys: Cow::Borrowed("hook"),
            ca_file: None,
            cert_file: None,
            key_file: None,
            pin_sha256: None,
            insecure: false,
            http2: true,
        }
    }
}

impl TlsSettings {
    /// The files it is made from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.ca_file, &self.cert_file, &self.key_file]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    fn file_error(&self, key: &'static str, path: &Path, reason: impl ToString) -> SetupError {
        SetupError::File {
            keys: self.keys.clone(),
            key,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Why TLS cannot be set up. Texts name the key.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read or does not hold what it should.
    #[error("{keys}.{key} {path}: {reason}")]
    File {
        /// [`TlsSettings::keys`].
        keys: Cow<'static, str>,
        /// Which file.
        key: &'static str,
        /// Its name.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A private key without a certificate.
    #[error("{keys}.key_file is set, but {keys}.cert_file, whose key it would be, is not")]
    KeyWithoutCertificate {
        /// [`TlsSettings::keys`].
        keys: Cow<'static, str>,
    },
    /// The system has no trusted roots, and the configuration names none.
    #[error(
        "this system has no trusted root certificates; install them (package ca-certificates) or set {keys}.ca_file"
    )]
    NoRoots {
        /// [`TlsSettings::keys`].
        keys: Cow<'static, str>,
    },
    /// rustls refused the configuration.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier refused the roots.
    #[error("TLS cannot be set up: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Builds the configuration for all servers under one set of settings: TLS 1.2 or newer, no protocol names. Reads files.
///
/// # Errors
///
/// A file that cannot be used, or a system without roots.
pub fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, SetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier(settings, &provider)?);
    let mut config = match client_certificate(settings)? {
        None => builder.with_no_client_auth(),
        Some((path, chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| settings.file_error("cert_file", path, error))?,
    };
    // A full handshake looks at the certificate each time. Connections are kept, so it is seldom made.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, SetupError> {
    if settings.pin_sha256.is_some() || settings.insecure {
        return Ok(Arc::new(verify::WithoutChain::new(
            settings.pin_sha256,
            provider.clone(),
        )));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let named = match &settings.ca_file {
        Some(path) => read_certificates(settings, "ca_file", path)?,
        None => Vec::new(),
    };
    roots.add_parsable_certificates(named.iter().cloned());
    if roots.is_empty() {
        return Err(SetupError::NoRoots {
            keys: settings.keys.clone(),
        });
    }
    Ok(Arc::new(verify::RootsAndNamed::new(roots, named, provider)?))
}

type Certificate<'a> = (&'a Path, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(settings: &TlsSettings) -> Result<Option<Certificate<'_>>, SetupError> {
    let Some(path) = &settings.cert_file else {
        return match settings.key_file {
            None => Ok(None),
            Some(_) => Err(SetupError::KeyWithoutCertificate {
                keys: settings.keys.clone(),
            }),
        };
    };
    let chain = read_certificates(settings, "cert_file", path)?;
    let (key, key_path) = match &settings.key_file {
        Some(key_path) => ("key_file", key_path),
        None => ("cert_file", path),
    };
    let private = PrivateKeyDer::from_pem_file(key_path).map_err(|error| {
        let reason = match error {
            rustls::pki_types::pem::Error::NoItemsFound => "holds no private key in PEM form".to_owned(),
            error => error.to_string(),
        };
        settings.file_error(key, key_path, reason)
    })?;
    Ok(Some((path, chain, private)))
}

fn read_certificates(
    settings: &TlsSettings,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| settings.file_error(key, path, error))?
        .take(MAX_CERTIFICATES)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| settings.file_error(key, path, error))?;
    if certificates.is_empty() {
        return Err(settings.file_error(key, path, "holds no certificate in PEM form"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_keys_of_their_section() {
        for keys in ["hook", "proxy"] {
            let settings = TlsSettings {
                keys: keys.into(),
                ca_file: Some("/nonexistent/ca.pem".into()),
                ..TlsSettings::default()
            };
            let text = client_config(&settings).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("{keys}.ca_file /nonexistent/ca.pem: ")),
                "{text}"
            );
            let text = SetupError::NoRoots { keys: keys.into() }.to_string();
            assert!(text.ends_with(&format!("or set {keys}.ca_file")), "{text}");
        }
    }

    #[test]
    fn a_key_needs_its_certificate() {
        let settings = TlsSettings {
            key_file: Some("/nonexistent/key.pem".into()),
            insecure: true,
            ..TlsSettings::default()
        };
        let text = client_config(&settings).unwrap_err().to_string();
        assert!(text.contains("hook.cert_file"), "{text}");
    }
}
