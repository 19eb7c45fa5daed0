//! Random writes and reads against the rule: a reader sees consecutive packets, except for announced gaps, which end at a key
//! packet, have the announced length and begin only when the ring really was too short.

use crate::kit::*;
use hub::RingLimits;
use proptest::prelude::*;

const MAX_ENTRIES: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Write { key: bool },
    Read { reader: usize },
    Join { max_packets: usize },
    Leave { reader: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::bool::weighted(0.2).prop_map(|key| Step::Write { key }),
        6 => (0..4_usize).prop_map(|reader| Step::Read { reader }),
        1 => (1..6_usize).prop_map(|max_packets| Step::Join { max_packets }),
        1 => (0..4_usize).prop_map(|reader| Step::Leave { reader }),
    ]
}

struct Viewer {
    tap: Tap,
    greeted: bool,
    /// Number of the packet it must see next; `None` before the first.
    next: Option<usize>,
    waiting: bool,
}

impl Viewer {
    fn join(bench: &Bench, max_packets: usize) -> Self {
        let tap = bench.tap_with(A, small_batches(max_packets));
        Self {
            tap,
            greeted: false,
            next: None,
            waiting: false,
        }
    }

    /// `keys`: for each frame written whether it was a key frame.
    fn read(&mut self, keys: &[bool]) {
        let newest_key = keys.iter().rposition(|key| *key);
        let (skipped, texts) = match self.tap.poll() {
            Got::Pending => {
                self.waiting = true;
                if let Some(next) = self.next {
                    let lost = keys.len() - next > MAX_ENTRIES;
                    let hopeless = newest_key.is_none_or(|key| keys.len() - key > MAX_ENTRIES);
                    assert!(
                        next == keys.len() || (lost && hopeless),
                        "packet {next} of {} is there",
                        keys.len()
                    );
                } else {
                    assert!(
                        newest_key.is_none_or(|key| keys.len() - key > MAX_ENTRIES),
                        "a key packet is there"
                    );
                }
                return;
            }
            Got::Packets(texts) => (None, texts),
            Got::Lagged(skipped, texts) => (Some(skipped as usize), texts),
            Got::Ended(reason) => panic!("ended: {reason}"),
        };
        self.waiting = false;
        let mut texts = texts.split_whitespace();
        if !std::mem::replace(&mut self.greeted, true) {
            assert_eq!((texts.next(), texts.next()), (Some("H"), Some("C0:v1")));
        }
        let numbers: Vec<usize> = texts.map(|text| text[1..].parse().unwrap()).collect();
        let Some(&first) = numbers.first() else {
            // The preamble filled the batch. Where it begins is settled, if there is a key packet.
            self.next = newest_key.filter(|key| keys.len() - key <= MAX_ENTRIES);
            return;
        };
        match (self.next, skipped) {
            (None, None) => assert_eq!(Some(first), newest_key),
            (Some(next), None) => assert_eq!(first, next),
            (Some(next), Some(skipped)) => {
                assert_eq!(first, next + skipped);
                assert_eq!(Some(first), newest_key);
                assert!(
                    keys.len() - next > MAX_ENTRIES,
                    "thrown off with {} packets to go",
                    keys.len() - next
                );
            }
            (None, Some(_)) => panic!("a gap before the first packet"),
        }
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{numbers:?}"
        );
        self.next = numbers.last().map(|last| last + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn readers_see_consecutive_packets_or_are_told(steps in prop::collection::vec(step(), 1..300)) {
        let mut bench = Bench::video_only(RingLimits { max_entries: MAX_ENTRIES, ..RingLimits::default() });
        // The first frame is a key frame, since frames before it are dropped.
        let mut keys = vec![true];
        bench.write("k0");
        let mut viewers: Vec<Viewer> = Vec::new();
        for step in steps {
            match step {
                Step::Write { key } => {
                    bench.write(&format!("{}{}", if key { 'k' } else { 'p' }, keys.len()));
                    keys.push(key);
                    for viewer in &mut viewers {
                        let wakes = viewer.tap.wakes();
                        prop_assert!(wakes <= 1);
                        prop_assert!(viewer.waiting || wakes == 0, "woken without asking");
                        if viewer.waiting && (key || viewer.next == Some(keys.len() - 1)) {
                            prop_assert_eq!(wakes, 1, "not woken");
                        }
                        viewer.waiting &= wakes == 0;
                    }
                }
                Step::Read { reader } => {
                    if let Some(viewer) = viewers.get_mut(reader) {
                        viewer.read(&keys);
                    }
                }
                Step::Join { max_packets } if viewers.len() < 4 => viewers.push(Viewer::join(&bench, max_packets)),
                Step::Join { .. } => {}
                Step::Leave { reader } => {
                    if reader < viewers.len() {
                        viewers.swap_remove(reader);
                    }
                }
            }
        }
        for viewer in &mut viewers {
            while !viewer.waiting {
                viewer.read(&keys);
            }
        }
    }
}
