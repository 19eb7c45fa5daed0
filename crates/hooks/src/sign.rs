//! Signatures of calls (Standard Webhooks 1.0.0, "Signature scheme": HMAC-SHA256, prefix `v1`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::HeaderValue;
use sha2::Sha256;
use std::fmt;

/// Bytes of a secret that is made here.
const MADE_BYTES: usize = 32;

/// Signs with every secret in force.
#[derive(Clone, Default)]
pub(crate) struct Signer {
    /// The newest first.
    keys: Vec<Vec<u8>>,
    /// When all but the newest end, in Unix seconds.
    old_until: Option<u64>,
}

impl Signer {
    /// `secrets` as the configuration has checked them: `whsec_` and base64.
    pub(crate) fn new(secrets: &[Secret], old_until: Option<u64>) -> Self {
        let key = |secret: &Secret| {
            let encoded = secret.expose().strip_prefix("whsec_")?;
            BASE64_STANDARD.decode(encoded).ok()
        };
        Self {
            keys: secrets.iter().filter_map(key).collect(),
            old_until,
        }
    }

    /// How many secrets there are.
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// The value of `webhook-signature`, or `None` without a secret. `unix` is the time of the attempt, in seconds.
    pub(crate) fn sign(&self, id: &str, unix: u64, body: &[u8]) -> Option<HeaderValue> {
        let old = self.old_until.is_none_or(|until| unix < until);
        let keys = if old { &*self.keys } else { self.keys.get(..1)? };
        let signatures: Vec<String> = keys
            .iter()
            .filter_map(|key| {
                // HMAC takes keys of every length.
                let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
                mac.update(format!("{id}.{unix}.").as_bytes());
                mac.update(body);
                Some(format!(
                    "v1,{}",
                    BASE64_STANDARD.encode(mac.finalize().into_bytes())
                ))
            })
            .collect();
        let mut value = HeaderValue::from_str(&signatures.join(" ")).ok()?;
        value.set_sensitive(true);
        (!signatures.is_empty()).then_some(value)
    }
}

/// Never shows a key.
impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({} keys)", self.keys.len())
    }
}

/// A new secret: `whsec_` and 32 random bytes in base64.
pub fn new_secret() -> Secret {
    let bytes: [u8; MADE_BYTES] = rand::random();
    Secret::new(format!("whsec_{}", BASE64_STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks text.
    #[test]
    fn the_example_of_the_standard_comes_out() {
        let signer = Signer::new(&[Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")], None);
        let signature = signer
            .sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
            )
            .unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs_until_the_old_ones_end() {
        let (new, old) = (new_secret(), new_secret());
        assert_ne!(new, old);
        let alone = Signer::new(std::slice::from_ref(&new), None)
            .sign("id", 5, b"x")
            .unwrap();
        let both = Signer::new(&[new.clone(), old.clone()], None);
        let text = both.sign("id", 5, b"x").unwrap().to_str().unwrap().to_owned();
        assert_eq!(text.split(' ').count(), 2);
        assert!(text.starts_with(alone.to_str().unwrap()));
        let rotating = Signer::new(&[new, old], Some(100));
        assert_eq!(
            rotating
                .sign("id", 99, b"x")
                .unwrap()
                .to_str()
                .unwrap()
                .split(' ')
                .count(),
            2
        );
        assert_eq!(
            rotating
                .sign("id", 100, b"x")
                .unwrap()
                .to_str()
                .unwrap()
                .split(' ')
                .count(),
            1
        );
        assert!(Signer::default().sign("id", 5, b"x").is_none());
    }
}
