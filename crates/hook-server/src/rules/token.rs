//! Proofs in the query string: fixed tokens, and signatures with an end.

use super::field::{OneOrMany, SecretText};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sha2::Sha256;
use std::borrow::Cow;
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// A fixed token.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The parameter that holds it.
    #[serde(default = "token_param")]
    pub param: String,
    /// Any of these is right.
    pub values: OneOrMany<SecretText>,
}

/// A signature over the name of the stream and the time at which it ends:
/// `sign = hex(HMAC-SHA256(key, "app/stream-expires"))`, with `expires` in UNIX seconds as it stands in the URL.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The parameter with the signature.
    #[serde(default = "sign_param")]
    pub param: String,
    /// The parameter with the end.
    #[serde(default = "expires_param")]
    pub expires_param: String,
    /// Any of these keys is right, so that one can be replaced by another.
    pub keys: OneOrMany<SecretText>,
}

fn token_param() -> String {
    "token".to_owned()
}

fn sign_param() -> String {
    "sign".to_owned()
}

fn expires_param() -> String {
    "expires".to_owned()
}

/// Why a proof is none. The client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The token is missing.
    #[error("token missing")]
    NoToken,
    /// The token is another one.
    #[error("token wrong")]
    WrongToken,
    /// A parameter of the signature is missing.
    #[error("signature missing")]
    NoSignature,
    /// The end is no number.
    #[error("signature's end is not in UNIX seconds")]
    BadEnd,
    /// It was valid once.
    #[error("signature expired")]
    Expired,
    /// It was made with another key, or for something else.
    #[error("signature wrong")]
    WrongSignature,
}

impl Token {
    /// Looks for the token in a query string.
    ///
    /// # Errors
    ///
    /// It is not there, or another.
    pub fn check(&self, params: &str) -> Result<(), Unproven> {
        let given = param(params, &self.param).ok_or(Unproven::NoToken)?;
        // All are compared: how long it takes must not tell which one was nearly right.
        let is_one = self.values.0.iter().fold(false, |found, value| {
            found | bool::from(value.expose().as_bytes().ct_eq(given.as_bytes()))
        });
        if is_one { Ok(()) } else { Err(Unproven::WrongToken) }
    }
}

impl Signed {
    /// Looks for a valid signature of `name` (`app/stream`) in a query string. `now` in UNIX seconds.
    ///
    /// # Errors
    ///
    /// It is not there, ended, or wrong.
    pub fn check(&self, name: &str, params: &str, now: u64) -> Result<(), Unproven> {
        let sign = param(params, &self.param).ok_or(Unproven::NoSignature)?;
        let expires = param(params, &self.expires_param).ok_or(Unproven::NoSignature)?;
        let sign = from_hex(&sign).ok_or(Unproven::WrongSignature)?;
        let is_right = |key: &SecretText| mac(key.expose(), name, &expires).verify_slice(&sign).is_ok();
        // The signature first: what nobody signed deserves no hint about its end.
        if !self.keys.0.iter().any(is_right) {
            return Err(Unproven::WrongSignature);
        }
        let end: u64 = expires.parse().map_err(|_| Unproven::BadEnd)?;
        if now <= end {
            Ok(())
        } else {
            Err(Unproven::Expired)
        }
    }
}

/// The signature of a stream's name for this key and end.
pub fn sign(key: &str, name: &str, expires: &str) -> String {
    let mut hex = String::new();
    for byte in mac(key, name, expires).finalize().into_bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn mac(key: &str, name: &str, expires: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(name.as_bytes());
    mac.update(b"-");
    mac.update(expires.as_bytes());
    mac
}

/// The first parameter of that name in a raw query string, decoded.
fn param<'a>(params: &'a str, name: &str) -> Option<Cow<'a, str>> {
    params.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (percent_decode_str(key).decode_utf8_lossy() == name)
            .then(|| percent_decode_str(value).decode_utf8_lossy())
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let pairs = bytes.chunks_exact(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Secret;
    use proptest::prelude::*;

    fn secrets(texts: &[&str]) -> OneOrMany<SecretText> {
        OneOrMany(texts.iter().map(|text| SecretText(Secret::new(*text))).collect())
    }

    fn signed(keys: &[&str]) -> Signed {
        Signed {
            param: sign_param(),
            expires_param: expires_param(),
            keys: secrets(keys),
        }
    }

    #[test]
    fn the_formula_is_the_one_in_the_manual() {
        // printf %s live/cam1-1800000000 | openssl dgst -sha256 -hmac secret
        assert_eq!(
            sign("secret", "live/cam1", "1800000000"),
            "38797fefbbc8c5259a5bc3fc5def8122526806eeda8ac7134918f743efc3113d"
        );
    }

    #[test]
    fn any_of_the_tokens_opens() {
        let token = Token {
            param: token_param(),
            values: secrets(&["a b", "second"]),
        };
        for right in ["token=a%20b", "x=1&token=second&y", "token=second&token=other"] {
            assert_eq!(token.check(right), Ok(()), "{right}");
        }
        for (wrong, why) in [
            ("", Unproven::NoToken),
            ("token", Unproven::NoToken),
            ("Token=second", Unproven::NoToken),
            ("token=", Unproven::WrongToken),
            ("token=secon", Unproven::WrongToken),
            ("token=second2", Unproven::WrongToken),
            ("token=other&token=second", Unproven::WrongToken),
        ] {
            assert_eq!(token.check(wrong), Err(why), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_types_opens_nothing_by_chance(params in "\\PC{0,80}|((sign|expires|token)=[0-9a-f%&]{0,70}&?){0,4}") {
            let token = Token { param: token_param(), values: secrets(&["a value that is long enough"]) };
            prop_assert!(token.check(&params).is_err());
            prop_assert!(signed(&["key"]).check("live/a", &params, 0).is_err());
        }
    }

    #[test]
    fn a_signature_holds_for_its_stream_and_until_its_end() {
        let signed = signed(&["new", "old"]);
        let params = |key: &str, name: &str, expires: &str| {
            format!("sign={}&expires={expires}", sign(key, name, expires))
        };
        for key in ["new", "old"] {
            assert_eq!(signed.check("live/a", &params(key, "live/a", "100"), 100), Ok(()));
        }
        for (given, why) in [
            (params("new", "live/b", "100"), Unproven::WrongSignature),
            (params("other", "live/a", "100"), Unproven::WrongSignature),
            (params("new", "live/a", "99"), Unproven::Expired),
            (params("new", "live/a", "soon"), Unproven::BadEnd),
            (
                params("new", "live/a", "100").replace("=100", "=1000"),
                Unproven::WrongSignature,
            ),
            ("sign=ab".to_owned(), Unproven::NoSignature),
            ("sign=zz&expires=100".to_owned(), Unproven::WrongSignature),
            ("sign=a&expires=100".to_owned(), Unproven::WrongSignature),
            ("sign=é&expires=100".to_owned(), Unproven::WrongSignature),
            ("sign=&expires=100".to_owned(), Unproven::WrongSignature),
        ] {
            assert_eq!(signed.check("live/a", &given, 100), Err(why), "{given}");
        }
    }
}
