//! The last attempts of each receiver, for operators. Of durable receivers they are on disk as well.

use crate::event::EventName;
use crate::spool::Spool;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Attempts that are kept of one receiver.
pub const KEPT: usize = 1000;

/// Most of an answer that is kept, in bytes.
pub const MAX_ANSWER: usize = 4096;

/// [`Delivery::result`] of an attempt that did what it was to do.
pub const OK: &str = "ok";

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// Name of the event.
    #[serde(serialize_with = "name")]
    pub event: EventName,
    /// The stream, as `vhost/app/stream`, or empty.
    pub stream: String,
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
    /// [`OK`], or the class of the failure.
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
#[derive(Default)]
pub(crate) struct Deliveries {
    kept: Mutex<Kept>,
    /// Where they are kept as well, and under which name.
    disk: Mutex<Option<(Spool, Arc<str>)>>,
}

#[derive(Debug, Default)]
struct Kept {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Delivery {
    /// Bytes of its texts.
    pub(crate) const fn bytes(&self) -> usize {
        self.id.len() + self.stream.len() + self.detail.len() + self.answer.len()
    }

    /// Whether somebody was asked.
    fn was_made(&self) -> bool {
        use crate::failure::Class;
        ![Class::Overload.name(), Class::BreakerOpen.name()].contains(&self.result)
    }
}

impl Kept {
    fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.bytes();
        self.deliveries.push_back(delivery);
        while self.deliveries.len() > KEPT || self.bytes > MAX_BYTES {
            let Some(oldest) = self.deliveries.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
        }
    }
}

impl Deliveries {
    /// False if it is not on disk although it should be, because the disk is too slow.
    pub(crate) fn push(&self, delivery: Delivery) -> bool {
        let on_disk = self
            .disk
            .lock()
            .as_ref()
            .is_none_or(|(spool, name)| spool.delivered(name, &delivery));
        self.kept.lock().push(delivery);
        on_disk
    }

    /// From now on they are kept on disk as well; `older` are those that are there.
    pub(crate) fn keep_on_disk(&self, spool: Spool, name: Arc<str>, older: Vec<Delivery>) {
        *self.disk.lock() = Some((spool, name));
        let mut kept = self.kept.lock();
        let newer = std::mem::take(&mut *kept).deliveries;
        // Some are in both if they were kept on disk before, but not all the time.
        let place = |delivery: &Delivery| (delivery.id.clone(), delivery.attempt, delivery.started_unix_ms);
        let known: HashSet<_> = newer.iter().map(place).collect();
        let older = older
            .into_iter()
            .filter(|delivery| !known.contains(&place(delivery)));
        for delivery in older.collect::<Vec<_>>().into_iter().chain(newer) {
            kept.push(delivery);
        }
    }

    /// From now on they are not.
    pub(crate) fn keep_in_memory(&self) {
        *self.disk.lock() = None;
    }

    /// The newest first, at most `max`, those that `filter` lets through.
    pub(crate) fn list(&self, max: usize, filter: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let kept = self.kept.lock();
        kept.deliveries
            .iter()
            .rev()
            .filter(|delivery| filter(delivery))
            .take(max)
            .cloned()
            .collect()
    }

    /// How many attempts were made for each event, by its id, as far as is known.
    pub(crate) fn attempts(&self) -> HashMap<String, u32> {
        let kept = self.kept.lock();
        let mut attempts = HashMap::new();
        for delivery in kept.deliveries.iter().filter(|delivery| delivery.was_made()) {
            // A replay begins anew.
            attempts.insert(delivery.id.clone(), delivery.attempt);
        }
        attempts
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
                stream: String::new(),
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
                result: OK,
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
