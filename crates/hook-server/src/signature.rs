//! Signatures of calls by Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`.

use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use config::Secret;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::Sha256;
use std::collections::{HashSet, VecDeque};

/// How far a timestamp may be from our clock, in seconds.
pub const TOLERANCE: u64 = 300;

/// Most messages remembered against replays: 1,600 a second over [`TOLERANCE`], in about 40 MB.
const MAX_REMEMBERED: usize = 500_000;

/// Longest `webhook-id` in bytes.
const MAX_ID: usize = 256;

/// Most signatures of one message; a sender has one for each secret in force.
const MAX_SIGNATURES: usize = 16;

/// Bytes of a secret (Standard Webhooks, "Signing scheme").
const SECRET_LEN: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret: `whsec_` and base64 of 24 to 64 bytes.
#[derive(Clone, PartialEq)]
pub struct SigningSecret(Vec<u8>);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SigningSecret(***)")
    }
}

impl SigningSecret {
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        SECRET_LEN.contains(&bytes.len()).then_some(Self(bytes))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

impl<'de> Deserialize<'de> for SigningSecret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Secret::new(String::deserialize(from)?);
        Self::parse(text.expose()).ok_or_else(|| {
            D::Error::custom("a signing secret must be whsec_ and the base64 of 24 to 64 bytes")
        })
    }
}

/// Why a call is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// A header is missing.
    #[error("the call is not signed: webhook-id, webhook-timestamp and webhook-signature are required")]
    Missing,
    /// A header is not what it should be.
    #[error("webhook-id must be 1 to {MAX_ID} bytes of text, webhook-timestamp must be UNIX seconds")]
    Malformed,
    /// Too old, or from the future.
    #[error("webhook-timestamp is more than {TOLERANCE} s from this clock")]
    Time,
    /// No signature is right.
    #[error("no signature in webhook-signature is right")]
    Wrong,
    /// This very message came before.
    #[error("the same signed message was received before")]
    Replay,
}

/// Checks signatures, and remembers what it has seen.
#[derive(Default)]
pub struct Verifier {
    seen: Mutex<Seen>,
}

/// The first half of each right signature, with the second at which its timestamp ends to count.
#[derive(Default)]
struct Seen {
    known: HashSet<[u8; 16]>,
    by_age: VecDeque<(u64, [u8; 16])>,
    forgotten_early: u64,
}

impl Verifier {
    /// Checks a call. `now` in UNIX seconds.
    ///
    /// A replay is a message that equals another one byte by byte: a sender that tries again keeps the `webhook-id` of its event,
    /// but signs a new timestamp and a new `hook_index`. To refuse by id alone would refuse honest repetitions.
    ///
    /// # Errors
    ///
    /// The call is not to be believed.
    pub fn check(
        &self,
        secrets: &[SigningSecret],
        headers: &HeaderMap,
        body: &[u8],
        now: u64,
    ) -> Result<(), Unsigned> {
        let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let (Some(id), Some(timestamp), Some(signatures)) = (
            header("webhook-id"),
            header("webhook-timestamp"),
            header("webhook-signature"),
        ) else {
            return Err(Unsigned::Missing);
        };
        let signed_at: u64 = timestamp.parse().map_err(|_| Unsigned::Malformed)?;
        if id.is_empty() || id.len() > MAX_ID {
            return Err(Unsigned::Malformed);
        }
        if signed_at.abs_diff(now) > TOLERANCE {
            return Err(Unsigned::Time);
        }
        let given: Vec<Vec<u8>> = signatures
            .split(' ')
            .filter_map(|signature| BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .take(MAX_SIGNATURES)
            .collect();
        let right = secrets.iter().find_map(|secret| {
            let mac = secret.mac(id, timestamp, body);
            let is_right = |given: &Vec<u8>| mac.clone().verify_slice(given).is_ok();
            given
                .iter()
                .any(is_right)
                .then(|| mac.clone().finalize().into_bytes())
        });
        let Some(right) = right else {
            return Err(Unsigned::Wrong);
        };
        let mut print = [0; 16];
        print.copy_from_slice(&right[..16]);
        self.seen.lock().remember(print, signed_at + TOLERANCE, now)
    }

    /// Messages that were forgotten while they could still have been replayed, because too many came.
    pub fn forgotten_early(&self) -> u64 {
        self.seen.lock().forgotten_early
    }
}

impl Seen {
    fn remember(&mut self, print: [u8; 16], until: u64, now: u64) -> Result<(), Unsigned> {
        // In order of arrival, which differs from that of the ends by the clocks of the senders: what ended behind one that has
        // not is kept a little longer.
        while let Some((end, old)) = self.by_age.front().copied() {
            if end >= now && self.by_age.len() < MAX_REMEMBERED {
                break;
            }
            if end >= now {
                self.forgotten_early += 1;
            }
            self.known.remove(&old);
            self.by_age.pop_front();
        }
        if !self.known.insert(print) {
            return Err(Unsigned::Replay);
        }
        self.by_age.push_back((until, print));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries: secret, id, time, body, signature.
    const EXAMPLE: [&str; 5] = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ];
    const SENT: u64 = 1_614_265_330;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse(text).unwrap()
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn check(signature: &str, id: &str, timestamp: &str, body: &str, now: u64) -> Result<(), Unsigned> {
        let secrets = [
            secret("whsec_b2xkZXIgc2VjcmV0IG9mIDI0IGJ5dGVz"),
            secret(EXAMPLE[0]),
        ];
        Verifier::default().check(&secrets, &headers(id, timestamp, signature), body.as_bytes(), now)
    }

    #[test]
    fn the_published_example_is_right_and_any_change_is_wrong() {
        let [_, id, time, body, signature] = EXAMPLE;
        assert_eq!(check(signature, id, time, body, SENT), Ok(()));
        assert_eq!(check(signature, id, time, body, SENT + TOLERANCE), Ok(()));
        assert_eq!(check(signature, id, time, body, SENT - TOLERANCE), Ok(()));
        let rotated = format!("v1a,AAAA v1,bm90IHRoaXMgb25l {signature}");
        assert_eq!(check(&rotated, id, time, body, SENT), Ok(()));

        use Unsigned::{Malformed, Time, Wrong};
        let late = SENT + TOLERANCE + 1;
        for (signature, id, time, body, now, why) in [
            (signature, "msg_other", time, body, SENT, Wrong),
            (signature, id, "1614265331", body, SENT, Wrong),
            (signature, id, time, r#"{"test": 2432232315}"#, SENT, Wrong),
            (&signature[3..], id, time, body, SENT, Wrong),
            ("v1,", id, time, body, SENT, Wrong),
            ("", id, time, body, SENT, Wrong),
            (signature, id, time, body, late, Time),
            (signature, id, time, body, SENT - TOLERANCE - 1, Time),
            (signature, id, "soon", body, SENT, Malformed),
            (signature, "", time, body, SENT, Malformed),
        ] {
            assert_eq!(
                check(signature, id, time, body, now),
                Err(why),
                "{signature} {id} {time} {body}"
            );
        }
        let none = Verifier::default().check(&[secret(EXAMPLE[0])], &HeaderMap::new(), b"", SENT);
        assert_eq!(none, Err(Unsigned::Missing));
    }

    #[test]
    fn a_message_counts_once_and_a_repetition_with_a_new_time_counts_again() {
        let secrets = [secret(EXAMPLE[0])];
        let verifier = Verifier::default();
        let sign = |time: u64, body: &[u8]| {
            let mac = secrets[0].mac("evt_1", &time.to_string(), body);
            let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
            headers("evt_1", &time.to_string(), &format!("v1,{signature}"))
        };
        let check = |time, body, now| verifier.check(&secrets, &sign(time, body), body, now);
        assert_eq!(check(1000, b"{}", 1000), Ok(()));
        assert_eq!(check(1000, b"{}", 1299), Err(Unsigned::Replay));
        assert_eq!(
            check(1000, b"{ }", 1000),
            Ok(()),
            "the same event, tried again within a second"
        );
        assert_eq!(check(1003, b"{}", 1003), Ok(()), "the same event, tried again");
        assert_eq!(check(1000, b"{}", 1301), Err(Unsigned::Time));
        assert_eq!(check(1301, b"{}", 1301), Ok(()));
        assert_eq!(
            verifier.seen.lock().by_age.len(),
            2,
            "what cannot be replayed is forgotten"
        );
    }

    #[test]
    fn the_memory_has_an_end_and_reaching_it_is_counted() {
        let mut seen = Seen::default();
        let print = |number: usize| (number as u128).to_be_bytes();
        for number in 0..MAX_REMEMBERED + 2 {
            assert_eq!(seen.remember(print(number), 100, 50), Ok(()));
        }
        assert_eq!(
            (seen.by_age.len(), seen.known.len()),
            (MAX_REMEMBERED, MAX_REMEMBERED)
        );
        assert_eq!(seen.forgotten_early, 2);
        assert_eq!(seen.remember(print(5), 100, 50), Err(Unsigned::Replay));
    }

    #[test]
    fn secrets_are_of_the_standard_form() {
        for wrong in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_c2hvcnQ=",
            "whsec_%%%",
            &format!("whsec_{}", BASE64_STANDARD.encode([0; 65])),
        ] {
            assert_eq!(SigningSecret::parse(wrong), None, "{wrong}");
        }
    }
}
