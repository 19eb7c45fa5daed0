//! What a server asks and how it judges the answer.

use super::digest::{Algorithm, Hash, Inputs};
use super::{Error, Scheme, syntax};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use subtle::ConstantTimeEq;

/// What a server asks for. One nonce serves both hashes of Digest.
///
/// How old a nonce may become and how often it may be used is up to the caller: answer with a new nonce and
/// `stale = true` to make a client repeat its request without asking its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Shown to users; goes into the hash. Better without `"` and `\`: ffmpeg sends them back unescaped (observed), which cannot
    /// be read.
    pub realm: String,
    /// Fresh for each connection. Not used by Basic.
    pub nonce: String,
    /// Basic or Digest.
    pub scheme: Scheme,
    /// Offer SHA-256 besides MD5. A client that takes it cannot be judged by a [`Secret::Ha1Md5`]; see
    /// [`Credentials::need_password`].
    pub sha256: bool,
}

impl Challenge {
    /// Values for one `WWW-Authenticate` each, in order.
    ///
    /// MD5 comes last and without `qop`: ffmpeg, GStreamer's rtspsrc and live555 (VLC) take the last Digest they read (in their
    /// sources), and ffmpeg 5.1 knows MD5 only: with SHA-256 last it gives up (observed). Those that take the first and do
    /// not look at `algorithm` answer with MD5, which is as good, since realm and nonce are the same.
    pub fn headers(&self, stale: bool) -> Vec<String> {
        let realm = syntax::quote(&self.realm);
        if self.scheme == Scheme::Basic {
            return vec![format!("Basic realm={realm}")];
        }
        // Realm, then nonce: live555 reads them in this order only.
        let mut base = format!("Digest realm={realm}, nonce={}", syntax::quote(&self.nonce));
        if stale {
            base.push_str(", stale=true");
        }
        match self.sha256 {
            // RFC 7616, section 3.3, demands qop with it; who knows SHA-256 knows qop.
            true => vec![format!("{base}, algorithm=SHA-256, qop=\"auth\""), base],
            false => vec![base],
        }
    }

    /// Whether `credentials` answer this challenge, for a request with `method`. Compares in constant time.
    ///
    /// The `uri` of the credentials need not be that of the request: clients behind proxies and some cameras send another.
    pub fn verify(&self, credentials: &Credentials, method: &str, secret: &Secret) -> bool {
        match (self.scheme, &credentials.0) {
            (Scheme::Basic, Kind::Basic { user, password }) => match secret {
                Secret::Plain(own) => equal(own, password),
                Secret::Ha1Md5(own) => equal(
                    &own.to_ascii_lowercase(),
                    &Hash::Md5.of(&[user, &self.realm, password]),
                ),
            },
            (Scheme::Digest, Kind::Digest(digest)) => {
                let known = equal(&self.realm, &digest.realm) & equal(&self.nonce, &digest.nonce);
                let hash = digest.algorithm.hash;
                let ha1 = match secret {
                    Secret::Plain(password) => hash.of(&[&digest.user, &self.realm, password]),
                    Secret::Ha1Md5(ha1) if hash == Hash::Md5 => ha1.to_ascii_lowercase(),
                    Secret::Ha1Md5(_) => return false,
                };
                let inputs = Inputs {
                    algorithm: digest.algorithm,
                    nonce: &self.nonce,
                    method,
                    uri: &digest.uri,
                    cnonce: &digest.cnonce,
                    nonce_count: digest.nonce_count.as_deref(),
                };
                known & equal(&inputs.response(&ha1), &digest.response)
            }
            (Scheme::Basic, Kind::Digest(_)) | (Scheme::Digest, Kind::Basic { .. }) => false,
        }
    }
}

/// What the server knows of a user's password.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password.
    Plain(String),
    /// MD5 over `user:realm:password`, 32 hexadecimal digits of either case. Answers with SHA-256 fail with it.
    Ha1Md5(String),
}

/// Does not show the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Ha1Md5(_) => "Ha1Md5(..)",
        })
    }
}

/// An `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Basic { user: String, password: String },
    Digest(Box<DigestCredentials>),
}

#[derive(Clone, PartialEq, Eq)]
struct DigestCredentials {
    user: String,
    realm: String,
    nonce: String,
    uri: String,
    /// In lower case.
    response: String,
    algorithm: Algorithm,
    cnonce: String,
    /// As sent, if `qop=auth`.
    nonce_count: Option<String>,
}

impl Credentials {
    /// Whether only [`Secret::Plain`] can judge them: a Digest by another hash than MD5. Where no more than [`Secret::Ha1Md5`] is
    /// known, the client is to be asked again, for MD5 alone.
    pub fn need_password(&self) -> bool {
        matches!(&self.0, Kind::Digest(digest) if digest.algorithm.hash != Hash::Md5)
    }

    /// Reads the value of the header.
    pub fn parse(header: &str) -> Result<Self, Error> {
        let header = header.trim();
        let (scheme, rest) = header.split_once([' ', '\t']).unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("Basic") {
            let decoded = STANDARD.decode(rest.trim()).map_err(|_| Error::Basic)?;
            let text = String::from_utf8_lossy(&decoded);
            let (user, password) = text.split_once(':').ok_or(Error::Basic)?;
            return Ok(Self(Kind::Basic {
                user: user.to_owned(),
                password: password.to_owned(),
            }));
        }
        let items = syntax::parse(header);
        let item = match items.first() {
            Some(item) if item.scheme.eq_ignore_ascii_case("Digest") => item,
            _ => return Err(Error::Scheme(scheme.chars().take(40).collect())),
        };
        let need = |name: &'static str| item.get(name).map(str::to_owned).ok_or(Error::Missing(name));
        let nonce_count = match item.get("qop") {
            None | Some("") => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(need("nc")?),
            Some(qop) => {
                return Err(Error::Unknown {
                    name: "qop",
                    got: qop.chars().take(40).collect(),
                    allowed: "auth",
                });
            }
        };
        let algorithm = Algorithm::parse(item.get("algorithm"))?;
        let cnonce = match nonce_count.is_some() || algorithm.session {
            true => need("cnonce")?,
            false => String::new(),
        };
        Ok(Self(Kind::Digest(Box::new(DigestCredentials {
            user: need("username")?,
            realm: need("realm")?,
            nonce: need("nonce")?,
            uri: need("uri")?,
            response: need("response")?.to_ascii_lowercase(),
            algorithm,
            cnonce,
            nonce_count,
        }))))
    }

    /// Who it claims to be.
    pub fn user(&self) -> &str {
        match &self.0 {
            Kind::Basic { user, .. } => user,
            Kind::Digest(digest) => &digest.user,
        }
    }

    /// Basic or Digest.
    pub fn scheme(&self) -> Scheme {
        match &self.0 {
            Kind::Basic { .. } => Scheme::Basic,
            Kind::Digest(_) => Scheme::Digest,
        }
    }

    /// Realm that it answers to. Basic does not name it.
    pub fn realm(&self) -> Option<&str> {
        match &self.0 {
            Kind::Basic { .. } => None,
            Kind::Digest(digest) => Some(&digest.realm),
        }
    }

    /// Nonce that it answers to; another than that of the challenge may be an old one. Basic has none.
    pub fn nonce(&self) -> Option<&str> {
        match &self.0 {
            Kind::Basic { .. } => None,
            Kind::Digest(digest) => Some(&digest.nonce),
        }
    }
}

/// Does not show password and response.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.scheme(), self.user())
    }
}

fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn challenge(scheme: Scheme) -> Challenge {
        Challenge {
            realm: "testrealm@host.com".to_owned(),
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".to_owned(),
            scheme,
            sha256: true,
        }
    }

    fn plain(password: &str) -> Secret {
        Secret::Plain(password.to_owned())
    }

    #[test]
    fn the_example_of_rfc_2617_is_accepted() {
        let header = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, cnonce=\"0a4f113b\", response=\"6629FAE49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let credentials = Credentials::parse(header).unwrap();
        assert_eq!(credentials.user(), "Mufasa");
        let challenge = challenge(Scheme::Digest);
        let password = plain("Circle Of Life");
        assert!(challenge.verify(&credentials, "GET", &password));
        let ha1 = Secret::Ha1Md5("939E7578ED9E3C518A452ACEE763BCE9".to_owned());
        assert!(challenge.verify(&credentials, "GET", &ha1));

        assert!(!challenge.verify(&credentials, "PLAY", &password));
        // The hash does not depend on the realm that is claimed, so that is compared.
        let claimed = Credentials::parse(&header.replace("testrealm@", "other@")).unwrap();
        assert!(!challenge.verify(&claimed, "GET", &ha1));
        assert!(!challenge.verify(&credentials, "GET", &plain("circle of life")));
        let other = |change: fn(&mut Challenge)| {
            let mut other = challenge.clone();
            change(&mut other);
            other.verify(&credentials, "GET", &password)
        };
        assert!(!other(|challenge| challenge.nonce.push('0')));
        assert!(!other(|challenge| challenge.realm.push('0')));
        assert!(!other(|challenge| challenge.scheme = Scheme::Basic));
    }

    #[test]
    fn basic_is_accepted_with_password_and_hash() {
        // RFC 7617, section 2.
        let credentials = Credentials::parse("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(credentials.user(), "Aladdin");
        let challenge = challenge(Scheme::Basic);
        assert!(challenge.verify(&credentials, "DESCRIBE", &plain("open sesame")));
        assert!(!challenge.verify(&credentials, "DESCRIBE", &plain("open sesam")));
        let ha1 = Hash::Md5.of(&["Aladdin", "testrealm@host.com", "open sesame"]);
        assert!(challenge.verify(&credentials, "DESCRIBE", &Secret::Ha1Md5(ha1)));
        assert!(!format!("{credentials:?}").contains("sesame"));
    }

    #[test]
    fn md5_is_offered_last_and_without_qop() {
        assert_eq!(
            challenge(Scheme::Digest).headers(true),
            [
                "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", stale=true, algorithm=SHA-256, qop=\"auth\"",
                "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", stale=true",
            ]
        );
        assert_eq!(
            challenge(Scheme::Basic).headers(false),
            ["Basic realm=\"testrealm@host.com\""]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |header: &str, expected: Error| {
            assert_eq!(Credentials::parse(header).unwrap_err(), expected, "{header}");
        };
        check("Digest username=\"a\"", Error::Missing("realm"));
        check("Digest username=\"a\", qop=auth", Error::Missing("nc"));
        check("Bearer abc", Error::Scheme("Bearer".to_owned()));
        check("", Error::Scheme(String::new()));
        check("Basic ???", Error::Basic);
        check("Basic YWJj", Error::Basic);
    }

    proptest! {
        #[test]
        fn hostile_text_does_no_harm(text in ".{0,200}") {
            for scheme in ["", "Basic ", "Digest ", "Digest username=a,realm=a,nonce=a,uri=a,response="] {
                if let Ok(credentials) = Credentials::parse(&format!("{scheme}{text}")) {
                    prop_assert!(!challenge(Scheme::Digest).verify(&credentials, "PLAY", &plain("x")));
                }
            }
        }
    }
}
