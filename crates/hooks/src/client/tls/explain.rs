//! What went wrong with TLS, in words, and what the operator can do.

use super::TlsSettings;
use super::verify::OtherCertificate;
use crate::failure::{Class, Failure, NetworkCode};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, SignatureScheme};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DAY_SECS: u64 = 24 * 3600;

/// What went wrong in a handshake, and what the operator can do.
pub fn explain(error: &io::Error, settings: &TlsSettings) -> String {
    let Some(tls) = tls_error(error) else {
        return format!("TLS handshake: {error}");
    };
    match tls {
        Error::InvalidCertificate(problem) => certificate(problem, settings),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS on this port; is the URL meant to be one without TLS?".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server demands a client certificate".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks no version of TLS that is safe; wanted is TLS 1.2 or 1.3".to_owned()
        }
        other => format!("TLS handshake: {other}"),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

fn certificate(problem: &CertificateError, settings: &TlsSettings) -> String {
    let keys = &settings.keys;
    if let CertificateError::Other(other) = problem
        && let Some(OtherCertificate { got, pinned }) = other.0.downcast_ref()
    {
        return format!(
            "the server's certificate is not the pinned one: its SHA-256 is {got}, {keys}.pin_sha256 is {pinned}; if it was \
             changed on purpose, set the key to the new one"
        );
    }
    if matches!(problem, CertificateError::BadSignature) {
        return format!(
            "a signature of the server's certificate or of the handshake is wrong: the server does not have the certificate's \
             key, or its CA has a new key that {keys}.ca_file does not hold"
        );
    }
    let what = match problem {
        CertificateError::UnknownIssuer => UNKNOWN_ISSUER.to_owned(),
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs()) / DAY_SECS;
            format!("has expired {ago} days ago")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is the clock right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is for another name ({problem})")
        }
        CertificateError::Revoked => "is revoked".to_owned(),
        // What the verifier says of a self-signed certificate that is its own CA. It has no variant for it.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            UNKNOWN_ISSUER.to_owned()
        }
        other => format!("cannot be verified ({other})"),
    };
    format!(
        "the server's certificate {what}; remedies: put its certificate or its CA into {keys}.ca_file, give it a \
         certificate of a known CA, or set {keys}.insecure=1 to accept every certificate"
    )
}

const UNKNOWN_ISSUER: &str = "is self-signed or signed by a CA that is not known here";

/// The host cannot stand in a certificate.
pub(crate) fn not_a_name() -> Failure {
    Failure::network(
        Class::Tls,
        NetworkCode::Other,
        "the host is no name a certificate can bear",
    )
}

/// The other end of one connection, to explain what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    settings: Arc<TlsSettings>,
    /// It asked for a certificate of ours.
    asked: Arc<AtomicBool>,
}

impl Peer {
    /// The peer of a connection that is to be made with `config`.
    pub(crate) fn new(settings: Arc<TlsSettings>, config: &mut ClientConfig) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let certificates = config.client_auth_cert_resolver.clone();
        config.client_auth_cert_resolver = Arc::new(Noting {
            certificates,
            asked: asked.clone(),
        });
        Self { settings, asked }
    }

    /// A handshake that failed.
    pub(crate) fn handshake_failed(&self, error: &io::Error) -> Failure {
        let code = match error.kind() {
            io::ErrorKind::UnexpectedEof => NetworkCode::Eof,
            io::ErrorKind::ConnectionReset => NetworkCode::Reset,
            _ => NetworkCode::Other,
        };
        Failure::network(Class::Tls, code, self.explain(error))
    }

    /// If TLS itself failed later: in TLS 1.3 the server judges the client's certificate after the client's handshake.
    pub(crate) fn failed(&self, error: &io::Error) -> Option<Failure> {
        tls_error(error)?;
        Some(self.handshake_failed(error))
    }

    /// A connection that died without a word: perhaps for want of a certificate.
    pub(crate) fn died(&self, mut failure: Failure) -> Failure {
        if failure.class == Class::Reset && self.wants_certificate() {
            let keys = &self.settings.keys;
            failure.detail = format!(
                "{}; the receiver asked for a client certificate, and none is configured ({keys}.cert_file)",
                failure.detail
            );
        }
        failure
    }

    fn wants_certificate(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.settings.cert_file.is_none()
    }

    fn explain(&self, error: &io::Error) -> String {
        let text = explain(error, &self.settings);
        let Some(Error::AlertReceived(alert)) = tls_error(error) else {
            return text;
        };
        let about_certificates = matches!(
            alert,
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure
                | AlertDescription::DecryptError
        );
        if !about_certificates || !self.asked.load(Ordering::Relaxed) {
            return text;
        }
        let keys = &self.settings.keys;
        match &self.settings.cert_file {
            None => format!(
                "the receiver demands a client certificate, and none is configured; set {keys}.cert_file and {keys}.key_file"
            ),
            Some(path) => format!(
                "the receiver refused the client certificate {keys}.cert_file {} ({alert:?}); is it of a CA that the receiver \
                 trusts, and valid?",
                path.display()
            ),
        }
    }
}

/// The configured certificate, if there is one, and a note that it was asked for.
#[derive(Debug)]
struct Noting {
    certificates: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certificates.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.certificates.has_certs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(alert: AlertDescription) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert))
    }

    #[test]
    fn remedies_name_the_keys_of_their_section() {
        for keys in ["hook", "proxy"] {
            let settings = TlsSettings {
                keys: keys.into(),
                ..TlsSettings::default()
            };
            let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
            let text = explain(&io::Error::new(io::ErrorKind::InvalidData, unknown), &settings);
            assert!(
                text.contains(&format!("{keys}.ca_file,")) && text.contains(&format!("{keys}.insecure=1")),
                "{text}"
            );
        }
    }

    #[test]
    fn an_alert_is_about_our_certificate_only_if_it_was_asked_for() {
        let mut settings = TlsSettings::default();
        let peer = |settings: &TlsSettings, asked| Peer {
            settings: Arc::new(settings.clone()),
            asked: Arc::new(AtomicBool::new(asked)),
        };
        let refused = received(AlertDescription::UnknownCA);
        let text = peer(&settings, false).explain(&refused);
        assert!(!text.contains("cert_file"), "{text}");
        let text = peer(&settings, true).explain(&refused);
        assert!(text.contains("set hook.cert_file and hook.key_file"), "{text}");
        settings.cert_file = Some("/etc/client.pem".into());
        let text = peer(&settings, true).explain(&refused);
        assert!(
            text.contains("refused the client certificate hook.cert_file /etc/client.pem"),
            "{text}"
        );
        let text = peer(&settings, true).explain(&received(AlertDescription::ProtocolVersion));
        assert!(text.contains("TLS 1.2"), "{text}");
    }
}
