//! TLS as a client: verified by default, against the system's roots and a configured file. Hook receivers are reached with it,
//! and the sources of pulls; [`Trust::keys`] is whose configuration keys the texts name.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    SignatureScheme,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most certificates read from a `ca_file`. A system bundle has about 150.
const MAX_CA_CERTIFICATES: usize = 10_000;

/// Which servers are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The section of the configuration that the two other fields come from, `hook` or `proxy`: error texts name its keys.
    pub keys: &'static str,
    /// Key `ca_file`: PEM file of further certificates to trust. A CA in it vouches for servers under their name; a server
    /// whose very certificate stands in it is accepted as it is, whatever name it bears (a pin), because self-signed
    /// certificates seldom bear a useful one.
    pub ca_file: Option<PathBuf>,
    /// Key `insecure`: accept every certificate, as ZLM does.
    pub insecure: bool,
}

impl Default for Trust {
    /// Section `hook`, and what the system trusts.
    fn default() -> Self {
        Self {
            keys: "hook",
            ca_file: None,
            insecure: false,
        }
    }
}

/// Why TLS cannot be set up. Texts name the key.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file cannot be read or holds no certificate.
    #[error("{keys}.ca_file {path}: {reason}")]
    CaFile {
        /// [`Trust::keys`].
        keys: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system has no trusted roots, and the configuration names none.
    #[error(
        "this system has no trusted root certificates; install them (package ca-certificates) or set {keys}.ca_file"
    )]
    NoRoots {
        /// [`Trust::keys`].
        keys: &'static str,
    },
    /// rustls refused the configuration.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier refused the roots.
    #[error("TLS cannot be set up: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Builds the configuration for all servers under one trust. Reads files, so hooks do it once per change of the settings, at the
/// first use.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, SetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if trust.insecure {
        Arc::new(AcceptAny {
            provider: provider.clone(),
        })
    } else {
        Arc::new(verifier(trust, &provider)?)
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<RootsAndPins, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let pins = match &trust.ca_file {
        Some(path) => read_ca_file(path, trust.keys)?,
        None => Vec::new(),
    };
    roots.add_parsable_certificates(pins.iter().cloned());
    if roots.is_empty() {
        return Err(SetupError::NoRoots { keys: trust.keys });
    }
    let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    Ok(RootsAndPins { roots, pins })
}

fn read_ca_file(path: &Path, keys: &'static str) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let fault = |reason: String| SetupError::CaFile {
        keys,
        path: path.to_owned(),
        reason,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(error.to_string()))?
        .take(MAX_CA_CERTIFICATES)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(error.to_string()))?;
    if certificates.is_empty() {
        return Err(fault("holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

/// Roots of the system and of the `ca_file`, and the certificates of that file as pins.
#[derive(Debug)]
struct RootsAndPins {
    roots: Arc<WebPkiServerVerifier>,
    pins: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for RootsAndPins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The usual self-signed certificate is a CA of its own, which the chain rules refuse as a server's certificate. The
        // operator named this very one, and the signature of the handshake proves that the receiver has its key.
        if self.pins.iter().any(|pin| pin == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.roots
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

/// `insecure=1`.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What went wrong in a handshake, and what the operator can do.
pub fn explain(error: &io::Error, trust: &Trust) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(tls) = tls else {
        return format!("TLS handshake: {error}");
    };
    match tls {
        Error::InvalidCertificate(problem) => {
            let what = match problem {
                CertificateError::UnknownIssuer => {
                    "is self-signed or signed by a CA that is not known here".to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "has expired".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "is not valid yet; is the clock right?".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("is for another name ({problem})")
                }
                CertificateError::Revoked => "is revoked".to_owned(),
                other => format!("cannot be verified ({other})"),
            };
            let keys = trust.keys;
            format!(
                "the server's certificate {what}; remedies: put its certificate or its CA into {keys}.ca_file, give it a \
                 certificate of a known CA, or set {keys}.insecure=1 to accept every certificate"
            )
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS on this port; is the URL meant to be one without TLS?".to_owned()
        }
        other => format!("TLS handshake: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_keys_of_their_section() {
        let path = PathBuf::from("/nonexistent/ca.pem");
        for keys in ["hook", "proxy"] {
            let trust = Trust {
                keys,
                ca_file: Some(path.clone()),
                insecure: false,
            };
            let text = client_config(&trust).unwrap_err().to_string();
            assert!(
                text.starts_with(&format!("{keys}.ca_file /nonexistent/ca.pem: ")),
                "{text}"
            );
            let text = SetupError::NoRoots { keys }.to_string();
            assert!(text.ends_with(&format!("or set {keys}.ca_file")), "{text}");
            let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
            let text = explain(&io::Error::new(io::ErrorKind::InvalidData, unknown), &trust);
            assert!(
                text.contains(&format!("{keys}.ca_file,")) && text.contains(&format!("{keys}.insecure=1")),
                "{text}"
            );
        }
    }
}
