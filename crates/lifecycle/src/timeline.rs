//! What happened to a stream, and why: the last entries of each stream, kept for a while after it is gone.

use media::StreamKey;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What happened, a short fixed word such as `published` or `none_reader_asked`.
    pub event: &'static str,
    /// Who or why, in words for people; holds no credentials.
    pub detail: String,
}

/// Timelines by stream. Bounded twice: entries per stream, and streams that are gone.
#[derive(Debug)]
pub(crate) struct Timelines {
    per_stream: usize,
    gone_kept: usize,
    by_key: BTreeMap<StreamKey, Timeline>,
    /// Streams that are gone, oldest first; a stream that came back stands here until it is its turn and is then passed over.
    gone: VecDeque<(StreamKey, u64)>,
    epoch: u64,
}

#[derive(Debug, Default)]
struct Timeline {
    entries: VecDeque<Entry>,
    /// Entries that fell off the front.
    dropped: u64,
    /// The epoch at which the stream went; 0 while it is there.
    gone_at: u64,
}

impl Timelines {
    pub fn new(per_stream: usize, gone_kept: usize) -> Self {
        Self {
            per_stream: per_stream.max(1),
            gone_kept,
            by_key: BTreeMap::new(),
            gone: VecDeque::new(),
            epoch: 0,
        }
    }

    pub fn set_bounds(&mut self, per_stream: usize, gone_kept: usize) {
        self.per_stream = per_stream.max(1);
        self.gone_kept = gone_kept;
    }

    pub fn note(&mut self, at: Instant, key: &StreamKey, event: &'static str, detail: impl Into<String>) {
        let timeline = self.by_key.entry(key.clone()).or_default();
        timeline.gone_at = 0;
        while timeline.entries.len() >= self.per_stream {
            timeline.entries.pop_front();
            timeline.dropped += 1;
        }
        timeline.entries.push_back(Entry {
            at,
            event,
            detail: detail.into(),
        });
    }

    /// The stream has no state any more: its timeline may be forgotten when others need the room.
    pub fn retire(&mut self, key: &StreamKey) {
        let Some(timeline) = self.by_key.get_mut(key) else {
            return;
        };
        if timeline.gone_at != 0 {
            return;
        }
        self.epoch += 1;
        timeline.gone_at = self.epoch;
        self.gone.push_back((key.clone(), self.epoch));
        while self.gone.len() > self.gone_kept {
            let Some((oldest, epoch)) = self.gone.pop_front() else {
                break;
            };
            if self
                .by_key
                .get(&oldest)
                .is_some_and(|timeline| timeline.gone_at == epoch)
            {
                self.by_key.remove(&oldest);
            }
        }
    }

    pub fn get(&self, key: &StreamKey) -> Option<(Vec<Entry>, u64)> {
        self.by_key
            .get(key)
            .map(|timeline| (timeline.entries.iter().cloned().collect(), timeline.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> StreamKey {
        StreamKey::on_default_vhost("live", &n.to_string())
    }

    #[test]
    fn only_the_last_entries_of_a_stream_are_kept_and_the_rest_is_counted() {
        let mut timelines = Timelines::new(3, 10);
        let now = Instant::now();
        for n in 0..5 {
            timelines.note(now, &key(1), "tick", n.to_string());
        }
        let (entries, dropped) = timelines.get(&key(1)).expect("noted");
        assert_eq!(
            entries
                .iter()
                .map(|entry| entry.detail.as_str())
                .collect::<Vec<_>>(),
            ["2", "3", "4"]
        );
        assert_eq!(dropped, 2);
    }

    #[test]
    fn streams_that_are_gone_are_forgotten_oldest_first_but_not_if_they_came_back() {
        let mut timelines = Timelines::new(3, 2);
        let now = Instant::now();
        for n in 1..=3 {
            timelines.note(now, &key(n), "closed", "");
        }
        timelines.retire(&key(1));
        timelines.note(now, &key(1), "published", "");
        timelines.retire(&key(2));
        timelines.retire(&key(3));
        timelines.note(now, &key(4), "closed", "");
        timelines.retire(&key(4));
        assert!(timelines.get(&key(1)).is_some(), "it lives");
        assert!(timelines.get(&key(2)).is_none(), "oldest of three, two are kept");
        assert!(timelines.get(&key(3)).is_some());
        assert!(timelines.get(&key(4)).is_some());
    }
}
