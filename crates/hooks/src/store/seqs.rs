//! What is known in memory of each event on disk: three bits.
//!
//! A gigabyte of small events is some millions of them, so they are kept as bits, 64 events a word. Words are made for events
//! that are there, never for a range that a file claims.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Copy, Default)]
struct Word {
    /// It is in a file.
    present: u64,
    /// It is not done. Only with `present`.
    open: u64,
    /// It is dear, see [`super::Entry::dear`]. Only with `present`.
    dear: u64,
}

/// The events of a log by their numbers.
#[derive(Default)]
pub(super) struct Seqs {
    words: BTreeMap<u64, Word>,
}

impl Seqs {
    /// A new event, open.
    pub fn insert(&mut self, seq: u64, dear: bool) {
        let (at, bit) = place(seq);
        let word = self.words.entry(at).or_default();
        word.present |= bit;
        word.open |= bit;
        if dear {
            word.dear |= bit;
        } else {
            word.dear &= !bit;
        }
    }

    pub fn is_present(&self, seq: u64) -> bool {
        self.word(seq).present & place(seq).1 != 0
    }

    pub fn is_open(&self, seq: u64) -> bool {
        self.word(seq).open & place(seq).1 != 0
    }

    pub fn is_dear(&self, seq: u64) -> bool {
        self.word(seq).dear & place(seq).1 != 0
    }

    /// It is done. False if it was not open.
    pub fn close(&mut self, seq: u64) -> bool {
        let (at, bit) = place(seq);
        let Some(word) = self.words.get_mut(&at).filter(|word| word.open & bit != 0) else {
            return false;
        };
        word.open &= !bit;
        true
    }

    /// These are in no file any more.
    pub fn forget(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let words = range.start / 64..=(range.end - 1) / 64;
        let mut empty = Vec::new();
        for (&at, word) in self.words.range_mut(words) {
            let gone = mask(at, &range);
            word.present &= !gone;
            word.open &= !gone;
            word.dear &= !gone;
            if word.present == 0 {
                empty.push(at);
            }
        }
        for at in empty {
            self.words.remove(&at);
        }
    }

    /// The first open event of a range.
    pub fn next_open(&self, range: Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        let words = range.start / 64..=(range.end - 1) / 64;
        self.words.range(words).find_map(|(&at, word)| {
            let open = word.open & mask(at, &range);
            (open != 0).then(|| at * 64 + u64::from(open.trailing_zeros()))
        })
    }

    /// Events of a range: all, those that are open, and those of them that are dear.
    pub fn count(&self, range: Range<u64>) -> (u64, u64, u64) {
        if range.is_empty() {
            return (0, 0, 0);
        }
        let words = range.start / 64..=(range.end - 1) / 64;
        let mut counts = (0, 0, 0);
        for (&at, word) in self.words.range(words) {
            let mask = mask(at, &range);
            counts.0 += u64::from((word.present & mask).count_ones());
            counts.1 += u64::from((word.open & mask).count_ones());
            counts.2 += u64::from((word.open & word.dear & mask).count_ones());
        }
        counts
    }

    fn word(&self, seq: u64) -> Word {
        self.words.get(&(seq / 64)).copied().unwrap_or_default()
    }
}

const fn place(seq: u64) -> (u64, u64) {
    (seq / 64, 1 << (seq % 64))
}

/// The bits of word `at` that are in the range.
fn mask(at: u64, range: &Range<u64>) -> u64 {
    let first = at * 64;
    let from = range.start.saturating_sub(first).min(64);
    let to = range.end.saturating_sub(first).min(64);
    let below = |bits: u64| if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    below(to) & !below(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap as Model;

    proptest! {
        #[test]
        fn bits_behave_as_a_map(acts in prop::collection::vec((0u8..3, 0u64..300, 0u64..300, any::<bool>()), 0..200)) {
            let mut seqs = Seqs::default();
            let mut model: Model<u64, (bool, bool)> = Model::new();
            for (act, a, b, dear) in acts {
                let range = a.min(b)..a.max(b);
                match act {
                    0 => {
                        seqs.insert(a, dear);
                        model.insert(a, (true, dear));
                    }
                    1 => {
                        let was_open = model.get_mut(&a).is_some_and(|event| std::mem::replace(&mut event.0, false));
                        prop_assert_eq!(seqs.close(a), was_open);
                    }
                    _ => {
                        seqs.forget(range.clone());
                        model.retain(|seq, _| !range.contains(seq));
                    }
                }
                let open: Vec<_> = model.range(range.clone()).filter(|(_, event)| event.0).collect();
                prop_assert_eq!(seqs.next_open(range.clone()), open.first().map(|(seq, _)| **seq));
                let expected = (
                    model.range(range.clone()).count() as u64,
                    open.len() as u64,
                    open.iter().filter(|(_, event)| event.1).count() as u64,
                );
                prop_assert_eq!(seqs.count(range), expected);
                prop_assert_eq!(seqs.is_present(a), model.contains_key(&a));
                prop_assert_eq!(seqs.is_open(a), model.get(&a).is_some_and(|event| event.0));
                prop_assert_eq!(seqs.is_dear(a), model.get(&a).is_some_and(|event| event.1));
            }
            let all = seqs.count(0..u64::MAX).0;
            prop_assert_eq!(all, model.len() as u64);
            seqs.forget(0..u64::MAX);
            prop_assert!(seqs.words.is_empty());
        }
    }
}
