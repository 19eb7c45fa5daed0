//! How a client answers.

use super::digest::{Algorithm, Hash, Inputs};
use super::{Error, syntax};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// User and password of a client, and the challenge that it answers at present.
///
/// For each response call [`Self::challenge`] if it is a 401 and [`Self::accepted`] if not. One request at a time: the 401 of
/// a request that was sent before the last challenge is not to be passed on; repeat that request.
pub struct Authenticator {
    user: String,
    secret: Secret,
    seed: u64,
    active: Option<Active>,
    /// Challenges since the server last accepted an answer.
    open: u32,
}

enum Secret {
    Plain(String),
    Ha1Md5(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Active {
    Basic,
    Digest {
        realm: String,
        nonce: String,
        opaque: Option<String>,
        algorithm: Algorithm,
        /// As sent; echoed.
        algorithm_name: Option<String>,
        /// `qop=auth` is offered.
        qop: bool,
        /// Requests with this nonce so far.
        count: u32,
    },
}

impl Authenticator {
    /// Answers with a password. `seed` makes the cnonces: random in use, fixed in tests.
    pub fn new(user: impl Into<String>, password: impl Into<String>, seed: u64) -> Self {
        Self::with_secret(user.into(), Secret::Plain(password.into()), seed)
    }

    /// Answers with the MD5 over `user:realm:password` in hexadecimal digits, as ZLM's `rtsp_pwd_md5` gives it. Good for Digest
    /// with MD5 only.
    pub fn with_ha1_md5(user: impl Into<String>, ha1: impl Into<String>, seed: u64) -> Self {
        let ha1 = ha1.into().to_ascii_lowercase();
        Self::with_secret(user.into(), Secret::Ha1Md5(ha1), seed)
    }

    fn with_secret(user: String, secret: Secret, seed: u64) -> Self {
        Self {
            user,
            secret,
            seed,
            active: None,
            open: 0,
        }
    }

    /// Takes a 401 with the values of all its `WWW-Authenticate`. The best challenge is chosen: Digest with SHA-256 before
    /// Digest with MD5 before Basic; what is not known is passed over.
    ///
    /// `Ok`: repeat the request with what [`Self::authorize`] gives. Errors: nothing can be answered; or the answer to the
    /// last challenge was refused and not because its nonce was stale.
    pub fn challenge<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let items: Vec<_> = values.into_iter().flat_map(syntax::parse).collect();
        let best = items
            .iter()
            .filter_map(|item| {
                let (rank, active) = self.read(item)?;
                Some((rank, active, item.get("stale")))
            })
            // The first of the best.
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        let Some((_, active, stale)) = best else {
            let offered: Vec<_> = items.iter().map(|item| item.scheme.as_str()).collect();
            return Err(Error::NoChallenge(offered.join(", ").chars().take(80).collect()));
        };
        let stale = stale.is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        if self.open > 0 && (!stale || self.open >= MAX_OPEN) {
            return Err(Error::Refused);
        }
        self.active = Some(active);
        self.open += 1;
        Ok(())
    }

    /// Takes note that a response was no 401: a later one is a new challenge, not a refusal.
    pub fn accepted(&mut self) {
        self.open = 0;
    }

    /// The value of `Authorization` for a request. `None`: the server has not asked.
    pub fn authorize(&mut self, method: &str, uri: &str) -> Option<String> {
        let active = self.active.as_mut()?;
        let (realm, nonce, opaque, algorithm, name, count) = match active {
            Active::Basic => {
                let Secret::Plain(password) = &self.secret else {
                    return None;
                };
                let pair = STANDARD.encode(format!("{}:{password}", self.user));
                return Some(format!("Basic {pair}"));
            }
            Active::Digest {
                realm,
                nonce,
                opaque,
                algorithm,
                algorithm_name,
                qop,
                count,
            } => {
                *count = count.wrapping_add(1);
                (
                    realm,
                    nonce,
                    opaque,
                    *algorithm,
                    algorithm_name,
                    qop.then_some(*count),
                )
            }
        };
        let ha1 = match &self.secret {
            Secret::Plain(password) => algorithm.hash.of(&[&self.user, realm, password]),
            Secret::Ha1Md5(ha1) => ha1.clone(),
        };
        let count = count.map(|count| format!("{count:08x}"));
        let cnonce = match count.is_some() || algorithm.session {
            true => format!("{:016x}", next_random(&mut self.seed)),
            false => String::new(),
        };
        let inputs = Inputs {
            algorithm,
            nonce,
            method,
            uri,
            cnonce: &cnonce,
            nonce_count: count.as_deref(),
        };
        let mut header = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"",
            syntax::quote(&self.user),
            syntax::quote(realm),
            syntax::quote(nonce),
            syntax::quote(uri),
            inputs.response(&ha1),
        );
        if let Some(opaque) = opaque {
            header.push_str(&format!(", opaque={}", syntax::quote(opaque)));
        }
        // Only if the server named it: old cameras know nothing of it.
        if let Some(name) = name {
            header.push_str(&format!(", algorithm={name}"));
        }
        if let Some(count) = &count {
            header.push_str(&format!(", qop=auth, nc={count}"));
        }
        if !cnonce.is_empty() {
            header.push_str(&format!(", cnonce=\"{cnonce}\""));
        }
        Some(header)
    }

    /// A challenge with its rank, if it can be answered.
    fn read(&self, item: &syntax::Item) -> Option<(u8, Active)> {
        let plain = matches!(self.secret, Secret::Plain(_));
        if item.scheme.eq_ignore_ascii_case("Basic") {
            return plain.then_some((0, Active::Basic));
        }
        if !item.scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let algorithm = Algorithm::parse(item.get("algorithm")).ok()?;
        let rank = match algorithm.hash {
            Hash::Md5 => 1,
            Hash::Sha256 if plain => 2,
            Hash::Sha256 => return None,
        };
        let qop = match item.get("qop").unwrap_or_default() {
            "" => false,
            // `auth-int` alone would need a hash over the body.
            list => match list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) {
                true => true,
                false => return None,
            },
        };
        let active = Active::Digest {
            realm: item.get("realm").unwrap_or_default().to_owned(),
            nonce: item.get("nonce")?.to_owned(),
            opaque: item.get("opaque").map(str::to_owned),
            algorithm,
            algorithm_name: item
                .get("algorithm")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            qop,
            count: 0,
        };
        Some((rank, active))
    }
}

/// Does not show the password.
impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("user", &self.user)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// SplitMix64. A cnonce need only differ each time.
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut value = *seed;
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Challenges in a row, all but the first with a stale nonce, before the server is taken to refuse.
const MAX_OPEN: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Challenge, Credentials, Scheme, Secret as Known};
    use proptest::prelude::*;

    #[test]
    fn a_camera_with_md5_of_rfc_2069() {
        // As Longse cameras ask.
        let mut client = Authenticator::new("admin", "12345", 1);
        assert_eq!(client.authorize("DESCRIBE", "rtsp://cam/1"), None);
        client
            .challenge([r#"Digest realm="Surveillance Server", nonce="98481030""#])
            .unwrap();
        let response = {
            let ha1 = Hash::Md5.of(&["admin", "Surveillance Server", "12345"]);
            Hash::Md5.of(&[&ha1, "98481030", &Hash::Md5.of(&["DESCRIBE", "rtsp://cam/1"])])
        };
        assert_eq!(
            client.authorize("DESCRIBE", "rtsp://cam/1").unwrap(),
            format!(
                r#"Digest username="admin", realm="Surveillance Server", nonce="98481030", uri="rtsp://cam/1", response="{response}""#
            )
        );
    }

    #[test]
    fn the_best_challenge_is_chosen() {
        let offers = [
            r#"Basic realm="r", Digest realm="r", nonce="n1", algorithm=SHA-512-256, qop="auth""#,
            r#"Digest realm="r", nonce="n2", qop="auth-int,auth""#,
            r#"Digest realm="r", nonce="n3", algorithm=SHA-256, qop="auth""#,
        ];
        let mut client = Authenticator::new("u", "p", 1);
        client.challenge(offers).unwrap();
        let first = client.authorize("PLAY", "*").unwrap();
        assert!(
            first.contains("nonce=\"n3\"") && first.contains("nc=00000001"),
            "{first}"
        );
        let second = client.authorize("PLAY", "*").unwrap();
        assert!(second.contains("nc=00000002"), "{second}");

        let mut client = Authenticator::with_ha1_md5("u", "00112233445566778899AABBCCDDEEFF", 1);
        client.challenge(offers).unwrap();
        assert!(client.authorize("PLAY", "*").unwrap().contains("nonce=\"n2\""));
        assert!(matches!(
            client.challenge(["Basic realm=\"r\""]),
            Err(Error::NoChallenge(_))
        ));
        let only_int = r#"Digest realm="r", nonce="n", qop="auth-int""#;
        assert!(matches!(client.challenge([only_int]), Err(Error::NoChallenge(_))));
    }

    #[test]
    fn a_refusal_is_final_and_a_stale_nonce_is_not() {
        let offer = r#"Digest realm="r", nonce="1""#;
        let stale = r#"Digest realm="r", nonce="2", stale=TRUE"#;
        let mut client = Authenticator::new("u", "p", 1);
        client.challenge([offer]).unwrap();
        client.authorize("PLAY", "*");
        client.challenge([stale]).unwrap();
        assert!(client.authorize("PLAY", "*").unwrap().contains("nonce=\"2\""));
        // Accepted; then the nonce is too old and the camera does not say so.
        client.accepted();
        client.authorize("GET_PARAMETER", "*");
        client.challenge([offer]).unwrap();
        client.authorize("GET_PARAMETER", "*");
        assert_eq!(client.challenge([offer]), Err(Error::Refused));
        // A server that finds every nonce stale.
        for _ in 0..2 {
            client.challenge([stale]).unwrap();
            client.authorize("PLAY", "*");
        }
        assert_eq!(client.challenge([stale]), Err(Error::Refused));
    }

    proptest! {
        #[test]
        fn our_server_accepts_our_client(
            user in "[^\\p{Cc}:]{1,10}",
            password in ".{0,10}",
            realm in "[^\\p{Cc}]{1,10}",
            nonce in "[!-~]{1,20}",
            digest in any::<bool>(),
            sha256 in any::<bool>(),
            suffix in prop_oneof![Just(""), Just(", algorithm=MD5-sess"), Just(", qop=\"auth\"")],
            seed in any::<u64>(),
        ) {
            let scheme = if digest { Scheme::Digest } else { Scheme::Basic };
            let challenge = Challenge { realm, nonce, scheme, sha256 };
            let mut headers = challenge.headers(false);
            if !sha256 {
                headers[0].push_str(suffix);
            }
            let mut client = Authenticator::new(user.as_str(), password.as_str(), seed);
            client.challenge(headers.iter().map(String::as_str)).unwrap();
            let header = client.authorize("SETUP", "rtsp://h/a/trackID=0").unwrap();
            let credentials = Credentials::parse(&header).unwrap();
            prop_assert_eq!(credentials.user(), user.as_str());
            prop_assert!(challenge.verify(&credentials, "SETUP", &Known::Plain(password.clone())));
            let wrong = Known::Plain(format!("{password}x"));
            prop_assert!(!challenge.verify(&credentials, "SETUP", &wrong));
        }

        #[test]
        fn hostile_challenges_do_no_harm(text in ".{0,200}") {
            let mut client = Authenticator::new("u", "p", 1);
            let _ = client.challenge([text.as_str(), &format!("Digest nonce={text}")]);
            let _ = client.authorize("PLAY", "*");
        }
    }
}
