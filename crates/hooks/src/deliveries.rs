//! The last attempts of each receiver, for operators.

use crate::event::EventName;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;

/// Attempts that are kept of one receiver.
pub const KEPT: usize = 1000;

/// Most of an answer that is kept, in bytes.
pub const MAX_ANSWER: usize = 4096;

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// Name of the event.
    #[serde(serialize_with = "name")]
    pub event: EventName,
    /// Which attempt of this event, from 1.
    pub attempt: u32,
    /// It was sent again by hand.
    pub replay: bool,
    /// When it began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How long the event had waited by then, in milliseconds.
    pub queued_ms: u64,
    /// Resolving the name and connecting, in milliseconds; none on a connection that was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// The TLS handshake, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u64>,
    /// From the start to the head of the answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// On a connection that was there already.
    pub reused: bool,
    /// Status of the answer; 0 if there was none.
    pub status: u16,
    /// `ok`, or the class of the failure.
    pub result: &'static str,
    /// What went wrong, with the remedy if there is one.
    pub detail: String,
    /// The beginning of the answer.
    pub answer: String,
}

fn name<S: serde::Serializer>(event: &EventName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(event.as_str())
}

/// Most bytes of texts that are kept of one receiver: there may be a hundred receivers that answer with pages of errors.
const MAX_BYTES: usize = 1024 * 1024;

/// The last [`KEPT`] attempts, or as many as fit into [`MAX_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Delivery {
    fn bytes(&self) -> usize {
        self.id.len() + self.detail.len() + self.answer.len()
    }
}

impl Deliveries {
    pub(crate) fn push(&self, delivery: Delivery) {
        let mut kept = self.0.lock();
        kept.bytes += delivery.bytes();
        kept.deliveries.push_back(delivery);
        while kept.deliveries.len() > KEPT || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.deliveries.pop_front() else {
                break;
            };
            kept.bytes -= oldest.bytes();
        }
    }

    /// The newest first, at most `max`, those that `filter` lets through.
    pub(crate) fn list(&self, max: usize, filter: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let kept = self.0.lock();
        kept.deliveries
            .iter()
            .rev()
            .filter(|delivery| filter(delivery))
            .take(max)
            .cloned()
            .collect()
    }
}

/// The beginning of an answer as text.
pub(crate) fn beginning(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(MAX_ANSWER)]);
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;

    #[test]
    fn the_oldest_go_and_the_newest_come_first() {
        let log = Deliveries::default();
        for attempt in 0..KEPT as u32 + 5 {
            log.push(Delivery {
                id: String::new(),
                event: Hook::Play.into(),
                attempt,
                replay: false,
                started_unix_ms: 0,
                queued_ms: 0,
                connect_ms: None,
                tls_ms: None,
                first_byte_ms: None,
                took_ms: 0,
                reused: false,
                status: 200,
                result: "ok",
                detail: String::new(),
                answer: String::new(),
            });
        }
        let all = log.list(usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].attempt), (KEPT, KEPT as u32 + 4));
        let odd = log.list(2, |delivery| delivery.attempt % 2 == 1);
        assert_eq!((odd[0].attempt, odd[1].attempt), (1003, 1001));
        assert_eq!(beginning(&[b'x'; 5000]).len(), MAX_ANSWER);
        for _ in 0..KEPT {
            log.push(Delivery {
                answer: "x".repeat(MAX_ANSWER),
                ..all[0].clone()
            });
        }
        assert_eq!(log.list(usize::MAX, |_| true).len(), MAX_BYTES / MAX_ANSWER);
    }
}
