//! An event on its way to a receiver: what is the same in all attempts, and what differs.

use crate::hook::Hook;
use crate::own::OwnEvent;
use bytes::Bytes;
use hyper::header::HeaderValue;
use media::{Schema, StreamKey};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Crockford's alphabet for base 32: in order of its byte values, so ids sort by time as text.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The name of an event, in one of its two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventName {
    /// ZLM's.
    Zlm(Hook),
    /// Tidegate's own.
    Own(OwnEvent),
}

impl EventName {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zlm(hook) => hook.name(),
            Self::Own(event) => event.name(),
        }
    }

    /// The event of a name.
    pub fn parse(name: &str) -> Option<Self> {
        let zlm = Hook::ALL.into_iter().map(Self::Zlm);
        let own = OwnEvent::ALL.into_iter().map(Self::Own);
        zlm.chain(own).find(|event| event.as_str() == name)
    }
}

impl From<Hook> for EventName {
    fn from(hook: Hook) -> Self {
        Self::Zlm(hook)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event with its body. The id stays the same over all attempts, receivers and replays.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub name: EventName,
    /// `evt_` and 26 characters: 48 bits of Unix milliseconds, 80 random bits.
    pub id: HeaderValue,
    pub trace: u128,
    /// The stream it is about, if it is about one.
    pub stream: Option<StreamKey>,
    /// `X-VHOST`.
    pub vhost: Option<HeaderValue>,
    /// When it happened.
    pub born: Instant,
    /// The same in milliseconds since 1970.
    pub born_unix_ms: u64,
    /// A JSON object; one of ZLM's is without the members that belong to an attempt.
    pub body: Bytes,
    /// What it says the newest about: a later event of the same stream with the same value makes it pointless.
    pub state: Option<State>,
    /// It is sent again by hand.
    pub replay: bool,
}

/// What of a stream an event tells the state of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Whether it has this form.
    Form(Schema),
    /// Whether it is online.
    Online,
}

impl Outgoing {
    /// `vhost` is the member of the body; it becomes a header unless it is empty or no header can hold it.
    pub(crate) fn new(name: impl Into<EventName>, vhost: &str, body: Bytes) -> Self {
        let now = SystemTime::now();
        Self {
            name: name.into(),
            id: ascii(&new_id(now, rand::random())),
            // All zeros is not a valid trace id (W3C Trace Context, section 3.2.2.3).
            trace: rand::random::<u128>().max(1),
            stream: None,
            vhost: Some(vhost)
                .filter(|vhost| !vhost.is_empty())
                .and_then(|vhost| HeaderValue::from_str(vhost).ok()),
            born: Instant::now(),
            born_unix_ms: unix_ms(now),
            body,
            state: None,
            replay: false,
        }
    }

    /// The same, about a stream.
    pub(crate) fn of(self, stream: &StreamKey) -> Self {
        Self {
            stream: Some(stream.clone()),
            ..self
        }
    }

    /// One that was kept on disk. `None` if its id is none.
    pub(crate) fn restored(
        name: EventName,
        id: &str,
        trace: u128,
        vhost: &str,
        born_unix_ms: u64,
        body: Bytes,
    ) -> Option<Self> {
        let age = unix_ms(SystemTime::now()).saturating_sub(born_unix_ms);
        let now = Instant::now();
        Some(Self {
            name,
            id: HeaderValue::from_str(id).ok()?,
            trace: trace.max(1),
            stream: None,
            vhost: Some(vhost)
                .filter(|vhost| !vhost.is_empty())
                .and_then(|vhost| HeaderValue::from_str(vhost).ok()),
            // The clock may begin with the machine.
            born: now.checked_sub(Duration::from_millis(age)).unwrap_or(now),
            born_unix_ms,
            body,
            state: None,
            replay: false,
        })
    }

    /// How long ago it happened.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let by_clock = unix_ms(SystemTime::now()).saturating_sub(self.born_unix_ms);
        // The monotonic clock may be younger than an event that was kept on disk.
        now.saturating_duration_since(self.born)
            .max(Duration::from_millis(by_clock))
    }

    /// Bytes it occupies while it waits.
    pub(crate) const fn size(&self) -> usize {
        self.body.len() + size_of::<Self>()
    }

    /// The id as text.
    pub(crate) fn id(&self) -> &str {
        // It was made of letters and digits.
        self.id.to_str().unwrap_or_default()
    }

    /// The body of one attempt.
    pub(crate) fn body(&self, hook_index: u64, media_server_id: &str) -> Bytes {
        match self.name {
            EventName::Own(_) => return self.body.clone(),
            EventName::Zlm(_) => {}
        }
        let id = serde_json::Value::from(media_server_id);
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

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn new_id(now: SystemTime, random: u128) -> String {
    let millis = u128::from(unix_ms(now));
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
        let body = |text: &'static str| {
            let outgoing = Outgoing::new(Hook::Play, "", Bytes::from_static(text.as_bytes()));
            String::from_utf8(outgoing.body(7, "a \"b\"").to_vec()).unwrap()
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
