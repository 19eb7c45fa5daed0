//! Random use against a map.

use super::disk::Faulty;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Leaves out so many numbers.
    Append {
        size: usize,
        record: bool,
        gap: u64,
    },
    /// Marks the open event at this share of 256.
    Done(u8),
    /// Marks all but the first so many.
    DoneBut(u8),
    Sync,
    Reopen,
    /// Cuts so many bytes off the last file, and opens.
    Cut(u16),
    /// Turns a bit over, and opens.
    Flip {
        file: u8,
        at: u16,
        bit: u8,
    },
    /// Reads in windows.
    Read {
        events: usize,
        bytes: usize,
    },
    /// Of 256 calls to the disk, so many fail from now on.
    Fail(u64),
}

fn whole_acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (prop_oneof![0usize..400, 0usize..3000], prop::bool::weighted(0.3), 0u64..3)
            .prop_map(|(size, record, gap)| Act::Append { size, record, gap }),
        6 => any::<u8>().prop_map(Act::Done),
        1 => (0u8..4).prop_map(Act::DoneBut),
        1 => Just(Act::Sync),
        1 => Just(Act::Reopen),
        1 => (1usize..6, 0usize..2000).prop_map(|(events, bytes)| Act::Read { events, bytes }),
    ]
}

fn damaging_acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => whole_acts(),
        1 => any::<u16>().prop_map(Act::Cut),
        1 => any::<(u8, u16, u8)>().prop_map(|(file, at, bit)| Act::Flip { file, at, bit }),
    ]
}

fn failing_acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => whole_acts(),
        1 => prop_oneof![Just(0u64), 1u64..30, Just(128), Just(256)].prop_map(Act::Fail),
    ]
}

struct Bench {
    dir: tempfile::TempDir,
    limits: Limits,
    disk: Faulty,
    /// `None` between two openings only.
    log: Option<Log>,
    /// What is not done.
    open: BTreeMap<u64, Event>,
    /// What was done; some may be on disk yet.
    done: BTreeMap<u64, Event>,
    /// Of these, the mark may not be on disk: the call that told it failed.
    unsure: BTreeSet<u64>,
}

impl Bench {
    fn new(limits: Limits, seed: u64) -> Self {
        let mut bench = Self {
            dir: tempfile::tempdir().expect("a folder"),
            limits,
            disk: Faulty::new(seed),
            log: None,
            open: BTreeMap::new(),
            done: BTreeMap::new(),
            unsure: BTreeSet::new(),
        };
        assert_eq!(bench.reopen(), Recovered::default());
        bench
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open")
    }

    fn reopen(&mut self) -> Recovered {
        self.log = None;
        self.disk.fail(0);
        let (log, recovered) =
            Log::open_with(self.dir.path(), self.limits, Box::new(self.disk.clone())).expect("opens");
        self.log = Some(log);
        recovered
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Append { size, record, gap } => self.append(size, record, gap),
            Act::Done(share) => {
                let index = usize::from(share) * self.open.len() / 256;
                if let Some(seq) = self.open.keys().nth(index).copied() {
                    self.done(seq);
                }
            }
            Act::DoneBut(count) => {
                let seqs: Vec<_> = self.open.keys().skip(count.into()).copied().collect();
                for seq in seqs {
                    self.done(seq);
                }
            }
            Act::Sync => {
                if self.log().sync().is_ok() {
                    self.unsure.clear();
                    assert!(!self.log().needs_sync());
                }
            }
            Act::Reopen => {
                let last = self.log().last_seq();
                let recovered = self.reopen();
                // A segment that was begun and not finished may be there.
                assert!(recovered.last_seq == last || recovered.last_seq > last && self.disk.failed() > 0);
                // Where nothing was open, a file may have been left half emptied.
                let half_emptied = self.open.is_empty() && self.disk.failed() > 0;
                self.take_back_unsure();
                assert_eq!(recovered.open, self.open.len() as u64);
                let fine = (recovered.damaged, recovered.damaged_bytes);
                assert!(fine == (0, 0) || half_emptied, "{fine:?}");
                assert!(recovered.torn_bytes == 0 || self.disk.failed() > 0);
            }
            Act::Cut(bytes) => self.cut(bytes),
            Act::Flip { file, at, bit } => self.flip(file, at, bit),
            Act::Read { events, bytes } => {
                let (mut after, mut got) = (0, Vec::new());
                loop {
                    let read = self.log().read_open(after, events, bytes).expect("reads");
                    let Some(last) = read.last() else { break };
                    assert!(read.len() <= events);
                    let size: usize = read.iter().map(Entry::size).sum();
                    assert!(size <= bytes || read.len() == 1);
                    after = last.seq;
                    got.extend(read);
                }
                assert!(got.iter().eq(self.open.values()));
            }
            Act::Fail(share) => self.disk.fail(share),
        }
        self.check();
    }

    fn append(&mut self, size: usize, record: bool, gap: u64) {
        let seq = self.log().last_seq() + 1 + gap;
        let event = event(seq, size, record);
        let mut dropped = Vec::new();
        let result = self.log().append(&event, &mut dropped);
        let mut dear_gone = false;
        for gone in &dropped {
            let known = self.open.remove(&gone.seq).expect("only open ones are dropped");
            assert_eq!(known.event, gone.event);
            dear_gone |= known.record;
        }
        if dear_gone {
            assert!(self.open.values().all(|event| event.record));
        }
        match result {
            Ok(()) => {
                self.unsure.clear();
                self.open.insert(seq, event);
                let bytes = self.log().usage().bytes;
                assert!(bytes <= self.limits.max_bytes, "{bytes} bytes");
            }
            Err(error) => assert!(self.disk.failed() > 0, "{error}"),
        }
    }

    fn done(&mut self, seq: u64) {
        let result = self.log().done(seq);
        let event = self.open.remove(&seq).expect("chosen from there");
        self.done.insert(seq, event);
        match result {
            Ok(()) => self.unsure.clear(),
            Err(error) => {
                assert!(self.disk.failed() > 0, "{error}");
                self.unsure.insert(seq);
            }
        }
    }

    fn read_all(&mut self) -> BTreeMap<u64, Event> {
        let read = self.log().read_open(0, usize::MAX, usize::MAX).expect("reads");
        assert!(read.is_sorted_by(|a, b| a.seq < b.seq));
        read.into_iter().map(|event| (event.seq, event)).collect()
    }

    fn take_back_unsure(&mut self) {
        let read = self.read_all();
        for seq in std::mem::take(&mut self.unsure) {
            if let (Some(event), true) = (self.done.remove(&seq), read.contains_key(&seq)) {
                self.open.insert(seq, event);
            }
        }
    }

    fn cut(&mut self, bytes: u16) {
        self.log = None;
        let path = files(self.dir.path()).pop();
        if let Some(path) = path {
            let file = OpenOptions::new().write(true).open(path).expect("opens");
            let len = file.metadata().expect("is there").len();
            file.set_len(len.saturating_sub(u64::from(bytes) % (len + 1)))
                .expect("cuts");
        }
        let recovered = self.reopen();
        assert_eq!(recovered.damaged, 0);
        let read = self.read_all();
        let lost = self.open.keys().find(|seq| !read.contains_key(seq)).copied();
        for seq in read.keys() {
            assert!(lost.is_none_or(|lost| *seq < lost), "{seq} is behind {lost:?}");
        }
        self.accept(read);
    }

    fn flip(&mut self, file: u8, at: u16, bit: u8) {
        self.log = None;
        let paths = files(self.dir.path());
        if !paths.is_empty() {
            let path = &paths[usize::from(file) % paths.len()];
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .expect("opens");
            let at = u64::from(at) % file.metadata().expect("is there").len();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("reads");
            byte[0] ^= 1 << (bit % 8);
            file.write_all_at(&byte, at).expect("writes");
        }
        let recovered = self.reopen();
        let read = self.read_all();
        let lost = self.open.keys().filter(|seq| !read.contains_key(seq)).count();
        let back = read.keys().filter(|seq| !self.open.contains_key(seq)).count();
        // It hit one record: an event or a mark.
        assert!(lost + back <= 1, "{lost} lost, {back} back");
        assert!(paths.is_empty() || recovered.damaged + recovered.torn_bytes > 0);
        self.accept(read);
        // What was found was mended.
        self.act(Act::Reopen);
    }

    /// After damage: nothing but what was appended came back, and from here on this is what there is.
    fn accept(&mut self, read: BTreeMap<u64, Event>) {
        for (seq, event) in &read {
            assert_eq!(self.open.get(seq).or(self.done.get(seq)), Some(event));
        }
        self.done.append(&mut self.open);
        self.open = read;
        for seq in self.open.keys() {
            self.done.remove(seq);
        }
    }

    fn check(&mut self) {
        let read = self.read_all();
        assert!(
            read == self.open,
            "{:?} instead of {:?}",
            read.keys(),
            self.open.keys()
        );
        let usage = self.log().usage();
        assert_eq!((usage.open, usage.unreadable), (self.open.len() as u64, 0));
        let oldest = self.log().oldest_open_unix_ms().expect("reads");
        let expected = self.open.values().next().map(|event| event.created_unix_ms);
        assert_eq!(oldest, expected);
        if self.disk.failed() == 0 {
            assert_eq!(usage.bytes, bytes_of(self.dir.path()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_behaves_as_a_map(small: bool, acts in prop::collection::vec(whole_acts(), 1..150)) {
        let mut bench = Bench::new(if small { SMALL } else { ROOMY }, 0);
        for act in acts {
            bench.act(act);
        }
        bench.act(Act::Reopen);
    }

    #[test]
    fn damage_costs_what_it_hits_and_is_reported(acts in prop::collection::vec(damaging_acts(), 1..150)) {
        let mut bench = Bench::new(ROOMY, 0);
        for act in acts {
            bench.act(act);
        }
        bench.act(Act::Reopen);
    }

    #[test]
    fn a_failing_disk_costs_only_what_it_refused(
        small: bool,
        seed: u64,
        acts in prop::collection::vec(failing_acts(), 1..150),
    ) {
        let mut bench = Bench::new(if small { SMALL } else { ROOMY }, seed);
        for act in acts {
            bench.act(act);
        }
        bench.act(Act::Reopen);
        bench.act(Act::Sync);
        prop_assert!(bench.unsure.is_empty());
        bench.act(Act::Append { size: 10, record: false, gap: 0 });
        prop_assert!(!bench.open.is_empty());
        bench.act(Act::Reopen);
    }
}
