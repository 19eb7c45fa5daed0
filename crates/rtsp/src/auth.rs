//! Basic and Digest authentication (RFC 7617, RFC 7616, RFC 2069), both sides.
//!
//! Own code instead of a crate: both sides share one formula, the server's side exists in no crate, and ZLM's
//! `rtsp_pwd_md5` needs the client's to start from a hash.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Longest header that is read, and most parameters of it.
const MAX_HEADER: usize = 4096;
const MAX_PARAMETERS: usize = 32;

/// A hash of Digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// What everybody speaks.
    Md5,
    /// RFC 7616.
    Sha256,
}

impl Algorithm {
    /// By its name; nothing said means MD5. `None`: not known here.
    fn of(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("") => Some(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("MD5") => Some(Self::Md5),
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Some(Self::Sha256),
            Some(_) => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// In lower-case hexadecimal.
    fn hash(self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// What a server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What the user is told.
    pub realm: String,
    /// `None` for Basic.
    nonce: Option<String>,
}

/// What a server knows about a user.
#[derive(Clone, Copy)]
pub enum Secret<'a> {
    /// The password.
    Plain(&'a str),
    /// MD5 of `user:realm:password`, in hexadecimal. Good for MD5 and Basic.
    Ha1Md5(&'a str),
}

impl Challenge {
    /// Basic: the password comes as it is.
    pub fn basic(realm: String) -> Self {
        Self { realm, nonce: None }
    }

    /// Digest, with a nonce that nobody can guess.
    pub fn digest(realm: String, nonce: String) -> Self {
        Self {
            realm,
            nonce: Some(nonce),
        }
    }

    /// Whether it is Basic.
    pub const fn is_basic(&self) -> bool {
        self.nonce.is_none()
    }

    /// The `WWW-Authenticate` headers. MD5 stands last: of several Digest challenges ffmpeg, GStreamer and live555 (VLC) take the
    /// last one, and know MD5 only. Without qop, as cameras do and all clients understand.
    pub fn headers(&self) -> Vec<String> {
        let realm = quoted(&self.realm);
        match &self.nonce {
            None => vec![format!("Basic realm={realm}")],
            Some(nonce) => [Algorithm::Sha256, Algorithm::Md5]
                .iter()
                .map(|algorithm| {
                    let algorithm = match algorithm {
                        // Understood without a name since RFC 2069.
                        Algorithm::Md5 => String::new(),
                        Algorithm::Sha256 => format!(", algorithm={}", algorithm.name()),
                    };
                    format!("Digest realm={realm}, nonce=\"{nonce}\"{algorithm}")
                })
                .collect(),
        }
    }

    /// Whether credentials answer this challenge and not another one.
    pub fn is_answered_by(&self, credentials: &Credentials) -> bool {
        match (&self.nonce, &credentials.kind) {
            (None, Kind::Basic { .. }) => true,
            (Some(nonce), Kind::Digest(digest)) => digest.nonce == *nonce && digest.realm == self.realm,
            (None, Kind::Digest(_)) | (Some(_), Kind::Basic { .. }) => false,
        }
    }

    /// Whether the credentials show that the client knows the secret. In constant time.
    pub fn verify(&self, credentials: &Credentials, method: &str, secret: Secret<'_>) -> bool {
        if !self.is_answered_by(credentials) {
            return false;
        }
        let (shown, expected) = match (&credentials.kind, secret) {
            (Kind::Basic { password }, Secret::Plain(secret)) => (password.clone(), secret.to_owned()),
            (Kind::Basic { password }, Secret::Ha1Md5(ha1)) => {
                let shown = Algorithm::Md5.hash(&format!("{}:{}:{password}", credentials.user, self.realm));
                (shown, ha1.to_ascii_lowercase())
            }
            (Kind::Digest(digest), secret) => {
                let ha1 = match secret {
                    Secret::Plain(password) => {
                        let text = format!("{}:{}:{password}", credentials.user, self.realm);
                        digest.algorithm.hash(&text)
                    }
                    Secret::Ha1Md5(ha1) if digest.algorithm == Algorithm::Md5 => ha1.to_ascii_lowercase(),
                    Secret::Ha1Md5(_) => return false,
                };
                (
                    digest.response.to_ascii_lowercase(),
                    digest.expected(&ha1, method),
                )
            }
        };
        shown.as_bytes().ct_eq(expected.as_bytes()).into()
    }
}

/// What a client shows: the value of an `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Basic { password: String },
    Digest(Box<DigestAnswer>),
}

#[derive(Clone, PartialEq, Eq)]
struct DigestAnswer {
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    /// `qop=auth` with its counter and the client's nonce (RFC 7616, section 3.4).
    qop: Option<(String, String)>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

/// Why credentials cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not Basic and not Digest.
    #[error("the authentication scheme must be Basic or Digest")]
    Scheme,
    /// Basic, but not `user:password` in base64.
    #[error("Basic needs user:password in base64")]
    Basic,
    /// A parameter of Digest is missing.
    #[error("Digest needs the parameter {0}")]
    Missing(&'static str),
    /// A hash or a quality of protection that is not known here.
    #[error("of Digest, only MD5 and SHA-256 are supported, without qop or with qop=auth")]
    Unsupported,
    /// Longer than any real one.
    #[error("a header of more than {MAX_HEADER} bytes")]
    Long,
}

impl Credentials {
    /// Reads the value of an `Authorization` header.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(header: &str) -> Result<Self, Error> {
        if header.len() > MAX_HEADER {
            return Err(Error::Long);
        }
        let (scheme, rest) = header.trim().split_once(' ').ok_or(Error::Scheme)?;
        if scheme.eq_ignore_ascii_case("Basic") {
            let decoded = STANDARD.decode(rest.trim()).map_err(|_| Error::Basic)?;
            let text = String::from_utf8(decoded).map_err(|_| Error::Basic)?;
            let (user, password) = text.split_once(':').ok_or(Error::Basic)?;
            return Ok(Self {
                user: user.to_owned(),
                kind: Kind::Basic {
                    password: password.to_owned(),
                },
            });
        }
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(Error::Scheme);
        }
        let parameters = parameters(rest);
        let get = |name: &'static str| {
            find(&parameters, name)
                .ok_or(Error::Missing(name))
                .map(str::to_owned)
        };
        let qop = match find(&parameters, "qop") {
            None | Some("") => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some((get("nc")?, get("cnonce")?)),
            Some(_) => return Err(Error::Unsupported),
        };
        let algorithm = Algorithm::of(find(&parameters, "algorithm")).ok_or(Error::Unsupported)?;
        Ok(Self {
            user: get("username")?,
            kind: Kind::Digest(Box::new(DigestAnswer {
                realm: get("realm")?,
                nonce: get("nonce")?,
                uri: get("uri")?,
                response: get("response")?,
                algorithm,
                qop,
            })),
        })
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl DigestAnswer {
    /// The response that is right (RFC 7616, section 3.4.1; RFC 2069 without qop).
    fn expected(&self, ha1: &str, method: &str) -> String {
        let ha2 = self.algorithm.hash(&format!("{method}:{}", self.uri));
        let middle = match &self.qop {
            None => self.nonce.clone(),
            Some((count, cnonce)) => format!("{}:{count}:{cnonce}:auth", self.nonce),
        };
        self.algorithm.hash(&format!("{ha1}:{middle}:{ha2}"))
    }
}

/// Answers the challenges of a server.
#[derive(Clone)]
pub struct Authenticator {
    user: String,
    password: Password,
    scheme: Option<Scheme>,
    /// Requests answered with the present nonce.
    count: u32,
    /// Makes the client's nonces.
    seed: u64,
}

/// What a client knows.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password.
    Plain(String),
    /// MD5 of `user:realm:password`, in hexadecimal.
    Ha1Md5(String),
}

#[derive(Clone)]
enum Scheme {
    Basic,
    Digest {
        realm: String,
        nonce: String,
        opaque: Option<String>,
        algorithm: Algorithm,
        qop: bool,
    },
}

impl Authenticator {
    /// A client with this name and password. `seed` makes its nonces.
    pub fn new(user: String, password: Password, seed: u64) -> Self {
        Self {
            user,
            password,
            scheme: None,
            count: 0,
            seed,
        }
    }

    /// Takes the `WWW-Authenticate` headers of a 401 and chooses the strongest that can be answered. Returns whether trying again
    /// makes sense: the first time, or when only the nonce was stale.
    pub fn challenge<'a>(&mut self, headers: impl Iterator<Item = &'a str>) -> bool {
        let mut best: Option<(u8, Scheme, bool)> = None;
        for header in headers
            .take(MAX_PARAMETERS)
            .filter(|header| header.len() <= MAX_HEADER)
        {
            let Some((rank, scheme, stale)) = self.read(header) else {
                continue;
            };
            if best.as_ref().is_none_or(|(found, ..)| rank > *found) {
                best = Some((rank, scheme, stale));
            }
        }
        let Some((_, scheme, stale)) = best else {
            return false;
        };
        let again = self.scheme.is_none() || stale;
        self.scheme = Some(scheme);
        self.count = 0;
        again
    }

    fn read(&self, header: &str) -> Option<(u8, Scheme, bool)> {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("Basic") {
            // A hash is no password.
            return matches!(self.password, Password::Plain(_)).then_some((0, Scheme::Basic, false));
        }
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let parameters = parameters(rest);
        let algorithm = Algorithm::of(find(&parameters, "algorithm"))?;
        if algorithm != Algorithm::Md5 && matches!(self.password, Password::Ha1Md5(_)) {
            return None;
        }
        let qop = match find(&parameters, "qop") {
            None | Some("") => false,
            Some(list) if list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        let stale = find(&parameters, "stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let rank = match algorithm {
            Algorithm::Md5 => 1,
            Algorithm::Sha256 => 2,
        };
        let scheme = Scheme::Digest {
            realm: find(&parameters, "realm").unwrap_or_default().to_owned(),
            nonce: find(&parameters, "nonce")?.to_owned(),
            opaque: find(&parameters, "opaque").map(str::to_owned),
            algorithm,
            qop,
        };
        Some((rank, scheme, stale))
    }

    /// The `Authorization` header of the next request; `None` before a challenge.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        match self.scheme.as_ref()? {
            Scheme::Basic => {
                let Password::Plain(password) = &self.password else {
                    return None;
                };
                Some(format!(
                    "Basic {}",
                    STANDARD.encode(format!("{}:{password}", self.user))
                ))
            }
            Scheme::Digest {
                realm,
                nonce,
                opaque,
                algorithm,
                qop,
            } => {
                self.count += 1;
                let ha1 = match &self.password {
                    Password::Plain(password) => algorithm.hash(&format!("{}:{realm}:{password}", self.user)),
                    Password::Ha1Md5(ha1) => ha1.to_ascii_lowercase(),
                };
                let cnonce = algorithm.hash(&format!("{}:{}:{nonce}", self.seed, self.count));
                let counted = qop.then(|| (format!("{:08x}", self.count), cnonce[..16].to_owned()));
                let answer = DigestAnswer {
                    realm: realm.clone(),
                    nonce: nonce.clone(),
                    uri: uri.to_owned(),
                    response: String::new(),
                    algorithm: *algorithm,
                    qop: counted,
                };
                let response = answer.expected(&ha1, method);
                let mut header = format!(
                    "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
                    quoted(&self.user),
                    quoted(realm),
                    quoted(nonce),
                    quoted(uri),
                );
                if *algorithm != Algorithm::Md5 || *qop {
                    header.push_str(&format!(", algorithm={}", algorithm.name()));
                }
                if let Some((count, cnonce)) = &answer.qop {
                    header.push_str(&format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\""));
                }
                if let Some(opaque) = opaque {
                    header.push_str(&format!(", opaque={}", quoted(opaque)));
                }
                Some(header)
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|char| !char.is_control()).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `name=value` pairs with commas between them; values may be quoted.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && parameters.len() < MAX_PARAMETERS {
        let Some((name, tail)) = rest.split_once('=') else {
            break;
        };
        let tail = tail.trim_start();
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = tail.find(',').unwrap_or(tail.len());
                (tail[..end].trim_end().to_owned(), &tail[end..])
            }
        };
        parameters.push((name.trim().to_ascii_lowercase(), value));
        rest = tail.trim_start().trim_start_matches(',').trim_start();
    }
    parameters
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            char => value.push(char),
        }
    }
    (value, "")
}

fn find<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = parameters.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7616, section 3.9.1.
    #[test]
    fn the_vectors_of_the_standard() {
        let answer = |algorithm| DigestAnswer {
            realm: "http-auth@example.org".to_owned(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".to_owned(),
            uri: "/dir/index.html".to_owned(),
            response: String::new(),
            algorithm,
            qop: Some((
                "00000001".to_owned(),
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned(),
            )),
        };
        let ha1 = |algorithm: Algorithm| algorithm.hash("Mufasa:http-auth@example.org:Circle of Life");
        assert_eq!(
            answer(Algorithm::Md5).expected(&ha1(Algorithm::Md5), "GET"),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            answer(Algorithm::Sha256).expected(&ha1(Algorithm::Sha256), "GET"),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    fn shown(challenge: &Challenge, headers: &[String], password: Password) -> Option<Credentials> {
        let mut client = Authenticator::new("alice".to_owned(), password, 7);
        assert!(client.challenge(headers.iter().map(String::as_str)));
        let header = client.authorize("DESCRIBE", "rtsp://h/live/cam")?;
        let credentials = Credentials::parse(&header).expect("our own");
        assert!(challenge.is_answered_by(&credentials));
        Some(credentials)
    }

    #[test]
    fn both_sides_agree_in_every_scheme() {
        let ha1 = Algorithm::Md5.hash("alice:a \"realm\":secret");
        let digest = Challenge::digest("a \"realm\"".to_owned(), "n0nce".to_owned());
        let basic = Challenge::basic("a \"realm\"".to_owned());
        let plain = || Password::Plain("secret".to_owned());
        for challenge in [&digest, &basic] {
            for header in challenge.headers() {
                let credentials = shown(challenge, &[header], plain()).expect("an answer");
                assert!(challenge.verify(&credentials, "DESCRIBE", Secret::Plain("secret")));
                assert!(!challenge.verify(&credentials, "DESCRIBE", Secret::Plain("Secret")));
                assert_eq!(credentials.user(), "alice");
            }
        }
        // A hash in place of the password, at either end.
        let md5 = digest.headers().remove(1);
        let credentials = shown(&digest, &[md5], Password::Ha1Md5(ha1.clone())).expect("an answer");
        assert!(digest.verify(&credentials, "DESCRIBE", Secret::Plain("secret")));
        assert!(digest.verify(&credentials, "DESCRIBE", Secret::Ha1Md5(&ha1)));
        assert!(
            !digest.verify(&credentials, "PLAY", Secret::Ha1Md5(&ha1)),
            "another method"
        );
        let sha = shown(&digest, &digest.headers(), plain()).expect("an answer");
        assert!(
            !digest.verify(&sha, "DESCRIBE", Secret::Ha1Md5(&ha1)),
            "no hash of that kind"
        );
    }

    #[test]
    fn an_answer_to_another_challenge_is_none() {
        let old = Challenge::digest("r".to_owned(), "old".to_owned());
        let new = Challenge::digest("r".to_owned(), "new".to_owned());
        let credentials = shown(&old, &old.headers(), Password::Plain("p".to_owned())).expect("an answer");
        assert!(!new.is_answered_by(&credentials));
        assert!(!new.verify(&credentials, "DESCRIBE", Secret::Plain("p")));
    }

    #[test]
    fn the_strongest_scheme_is_taken_and_a_second_refusal_is_the_last() {
        let mut client = Authenticator::new("u".to_owned(), Password::Plain("p".to_owned()), 1);
        let offers = [
            "Basic realm=\"r\"",
            "Digest realm=\"r\", nonce=\"1\", algorithm=MD5, qop=\"auth,auth-int\"",
            "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256",
            "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-512-256",
            "NTLM",
        ];
        assert!(client.challenge(offers.into_iter()));
        let header = client.authorize("OPTIONS", "rtsp://h/").expect("an answer");
        assert!(
            header.contains("nonce=\"2\"") && header.contains("SHA-256"),
            "{header}"
        );
        assert!(!client.challenge(offers.into_iter()), "the password is wrong");
        let stale = ["Digest realm=\"r\", nonce=\"4\", stale=TRUE"];
        assert!(client.challenge(stale.into_iter()));
        assert!(!client.challenge(["NTLM"].into_iter()));
    }

    #[test]
    fn with_qop_requests_are_counted() {
        let mut client = Authenticator::new("u".to_owned(), Password::Plain("p".to_owned()), 1);
        client.challenge(["Digest realm=\"r\", nonce=\"1\", qop=\"auth\", opaque=\"o\""].into_iter());
        let first = client.authorize("OPTIONS", "*").expect("an answer");
        let second = client.authorize("OPTIONS", "*").expect("an answer");
        assert!(
            first.contains("nc=00000001") && second.contains("nc=00000002") && first.contains("opaque=\"o\"")
        );
        let challenge = Challenge::digest("r".to_owned(), "1".to_owned());
        for header in [first, second] {
            let credentials = Credentials::parse(&header).expect("our own");
            assert!(challenge.verify(&credentials, "OPTIONS", Secret::Plain("p")));
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(text: String) {
            let _ = Credentials::parse(&text);
            let _ = Credentials::parse(&format!("Digest {text}"));
            let mut client = Authenticator::new(text.clone(), Password::Plain(text.clone()), 1);
            client.challenge([text.as_str(), &format!("Digest {text}")].into_iter());
            let _ = client.authorize(&text, &text);
        }
    }
}
