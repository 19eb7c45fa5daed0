//! A certificate authority for one test, so that TLS is verified for real and nothing outside the test trusts it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// Issues certificates that only its own [`Authority::pem`] vouches for.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    folder: TempDir,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The private key in PEM (PKCS #8).
    pub key_pem: String,
    /// File with the certificate and, behind it, the key, as servers that take one file want it. Lives as long as the
    /// authority.
    pub combined_file: PathBuf,
    /// File with the certificate alone.
    pub certificate_file: PathBuf,
    /// File with the key alone.
    pub key_file: PathBuf,
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Tidegate test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("authority's key")?;
        let pem = params.self_signed(&key).context("authority's certificate")?.pem();
        let folder = tempfile::tempdir().context("folder for certificates")?;
        std::fs::write(folder.path().join("authority.pem"), &pem).context("write authority.pem")?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            folder,
        })
    }

    /// The authority's certificate in PEM, for a client to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// File with [`Authority::pem`]; removed with the authority.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// For a client of the test's own that trusts this authority and no other.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).context("authority")?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    /// A certificate for these names; IP addresses are understood as such.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let first = names.first().context("a certificate needs a name")?.clone();
        let mut params = CertificateParams::new(names).context("certificate's names")?;
        params.distinguished_name.push(DnType::CommonName, first);
        let key = KeyPair::generate().context("certificate's key")?;
        let certificate_pem = params
            .signed_by(&key, &self.issuer)
            .context("sign certificate")?
            .pem();
        let key_pem = key.serialize_pem();

        let folder = tempfile::tempdir_in(self.folder.path())
            .context("folder for a certificate")?
            .keep();
        let identity = Identity {
            combined_file: folder.join("combined.pem"),
            certificate_file: folder.join("certificate.pem"),
            key_file: folder.join("key.pem"),
            certificate_pem,
            key_pem,
        };
        std::fs::write(
            &identity.combined_file,
            format!("{}{}", identity.certificate_pem, identity.key_pem),
        )?;
        std::fs::write(&identity.certificate_file, &identity.certificate_pem)?;
        std::fs::write(&identity.key_file, &identity.key_pem)?;
        Ok(identity)
    }
}

impl Identity {
    /// For a server of the test's own that shows this certificate.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let certificate =
            CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).context("certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).context("key")?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }
}
