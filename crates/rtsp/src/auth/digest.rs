//! The arithmetic of Digest (RFC 7616, section 3.4).

use super::Error;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha256,
}

impl Hash {
    /// The hash over `parts` with colons between them, in hexadecimal digits of lower case.
    pub(super) fn of(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// `algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Algorithm {
    pub(super) hash: Hash,
    /// `-sess`: the password's hash is hashed again with nonce and cnonce.
    pub(super) session: bool,
}

impl Algorithm {
    /// Reads the parameter; absent or empty means MD5.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Error> {
        let text = text.unwrap_or_default();
        let (hash, session) = match text.to_ascii_uppercase().as_str() {
            "" | "MD5" => (Hash::Md5, false),
            "MD5-SESS" => (Hash::Md5, true),
            "SHA-256" => (Hash::Sha256, false),
            "SHA-256-SESS" => (Hash::Sha256, true),
            _ => {
                return Err(Error::Unknown {
                    name: "algorithm",
                    got: text.chars().take(40).collect(),
                    allowed: "MD5, SHA-256, and both with -sess",
                });
            }
        };
        Ok(Self { hash, session })
    }
}

/// What goes into a response besides the password.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) nonce: &'a str,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    /// Empty if there is none.
    pub(super) cnonce: &'a str,
    /// `nc`, if `qop=auth`; without it the response is that of RFC 2069.
    pub(super) nonce_count: Option<&'a str>,
}

impl Inputs<'_> {
    /// `response`. `ha1` is the hash of user, realm and password.
    pub(super) fn response(&self, ha1: &str) -> String {
        let hash = self.algorithm.hash;
        let ha1 = match self.algorithm.session {
            true => hash.of(&[ha1, self.nonce, self.cnonce]),
            false => ha1.to_owned(),
        };
        let ha2 = hash.of(&[self.method, self.uri]);
        match self.nonce_count {
            Some(count) => hash.of(&[&ha1, self.nonce, count, self.cnonce, "auth", &ha2]),
            None => hash.of(&[&ha1, self.nonce, &ha2]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfcs() {
        let check = |algorithm: &str, realm: &str, password: &str, inputs: Inputs<'_>, response: &str| {
            let algorithm = Algorithm::parse(Some(algorithm)).unwrap();
            let ha1 = algorithm.hash.of(&["Mufasa", realm, password]);
            assert_eq!(Inputs { algorithm, ..inputs }.response(&ha1), response);
        };
        let inputs = Inputs {
            algorithm: Algorithm::parse(None).unwrap(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            method: "GET",
            uri: "/dir/index.html",
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            nonce_count: Some("00000001"),
        };
        // RFC 7616, section 3.9.1.
        let realm = "http-auth@example.org";
        check(
            "MD5",
            realm,
            "Circle of Life",
            inputs,
            "8ca523f5e9506fed4657c9700eebdbec",
        );
        check(
            "SHA-256",
            realm,
            "Circle of Life",
            inputs,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        );
        // RFC 2617, section 3.5.
        let inputs = Inputs {
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            cnonce: "0a4f113b",
            ..inputs
        };
        check(
            "",
            "testrealm@host.com",
            "Circle Of Life",
            inputs,
            "6629fae49393a05397450978507c4ef1",
        );
    }

    #[test]
    fn unknown_algorithms_are_named() {
        let error = Algorithm::parse(Some("SHA-512-256")).unwrap_err();
        assert!(error.to_string().contains("SHA-512-256"), "{error}");
    }
}
