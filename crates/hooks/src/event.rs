//! An event on its way to a receiver: what is the same in all attempts, and what differs.

use crate::hook::Hook;
use crate::settings::Settings;
use bytes::Bytes;
use hyper::header::HeaderValue;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Crockford's alphabet for base 32: in order of its byte values, so ids sort by time as text.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// An event with its body. The id stays the same over all attempts.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub hook: Hook,
    /// `evt_` and 26 characters: 48 bits of Unix milliseconds, 80 random bits.
    pub id: HeaderValue,
    trace: u128,
    /// `X-VHOST`.
    pub vhost: Option<HeaderValue>,
    /// A JSON object, without the members that belong to an attempt.
    body: Bytes,
}

impl Outgoing {
    /// `vhost` is the member of the body; it becomes a header unless it is empty or no header can hold it.
    pub(crate) fn new(hook: Hook, vhost: &str, body: Bytes) -> Self {
        Self {
            hook,
            id: ascii(&new_id(SystemTime::now(), rand::random())),
            // All zeros is not a valid trace id (W3C Trace Context, section 3.2.2.3).
            trace: rand::random::<u128>().max(1),
            vhost: Some(vhost)
                .filter(|vhost| !vhost.is_empty())
                .and_then(|vhost| HeaderValue::from_str(vhost).ok()),
            body,
        }
    }

    /// Bytes it occupies while it waits.
    pub(crate) const fn size(&self) -> usize {
        self.body.len() + size_of::<Self>()
    }

    /// The body of one attempt.
    pub(crate) fn body(&self, hook_index: u64, settings: &Settings) -> Bytes {
        let id = serde_json::Value::from(settings.media_server_id.as_str());
        let members = self.body.strip_suffix(b"}").unwrap_or(&self.body);
        let comma = if members.len() > 1 { "," } else { "" };
        let mut body = Vec::with_capacity(self.body.len() + 64);
        body.extend_from_slice(members);
        body.extend_from_slice(
            format!("{comma}\"hook_index\":{hook_index},\"mediaServerId\":{id}}}").as_bytes(),
        );
        Bytes::from(body)
    }

    /// `traceparent` of one attempt: the trace of the event, a span of its own. Nothing is recorded here, so the flags are 0.
    pub(crate) fn traceparent(&self) -> HeaderValue {
        ascii(&format!(
            "00-{:032x}-{:016x}-00",
            self.trace,
            rand::random::<u64>().max(1)
        ))
    }
}

/// A header value of digits and letters.
pub(crate) fn ascii(text: &str) -> HeaderValue {
    // Callers pass visible ASCII that this crate made itself.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn new_id(now: SystemTime, random: u128) -> String {
    let millis = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_millis();
    let bits = millis << 80 | random & ((1 << 80) - 1);
    let digits = (0..26)
        .rev()
        .map(|place| char::from(ALPHABET[(bits >> (place * 5) & 31) as usize]));
    "evt_".chars().chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_have_no_full_stop() {
        let at = |millis| new_id(UNIX_EPOCH + Duration::from_millis(millis), u128::MAX);
        assert_eq!(at(0), "evt_0000000000ZZZZZZZZZZZZZZZZ");
        assert_eq!(
            new_id(UNIX_EPOCH + Duration::from_millis(1_469_918_176_385), 0),
            "evt_01ARYZ6S410000000000000000"
        );
        assert!(at(1_000) < at(1_001));
        assert!(at(1_796_000_000_000) < at(1_796_000_000_032));
    }

    #[test]
    fn each_attempt_gets_its_number_and_the_server_its_name() {
        let settings = Settings {
            media_server_id: "a \"b\"".to_owned(),
            ..Settings::default()
        };
        let body = |text: &'static str| {
            let outgoing = Outgoing::new(Hook::Play, "", Bytes::from_static(text.as_bytes()));
            String::from_utf8(outgoing.body(7, &settings).to_vec()).unwrap()
        };
        assert_eq!(body("{}"), r#"{"hook_index":7,"mediaServerId":"a \"b\""}"#);
        assert_eq!(
            body(r#"{"a":{}}"#),
            r#"{"a":{},"hook_index":7,"mediaServerId":"a \"b\""}"#
        );
    }

    #[test]
    fn a_vhost_that_no_header_can_hold_is_left_out() {
        let header = |vhost| Outgoing::new(Hook::Play, vhost, Bytes::new()).vhost;
        assert_eq!(header(""), None);
        assert_eq!(header("a\r\nb"), None);
        assert_eq!(
            header("__defaultVhost__"),
            Some(HeaderValue::from_static("__defaultVhost__"))
        );
    }
}
