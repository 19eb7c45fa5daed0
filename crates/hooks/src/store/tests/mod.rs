//! The store, on real files in a temporary folder.

mod dead;
mod deliveries;
mod disk;
mod hostile;
mod log;
mod model;

use super::*;
use bytes::Bytes;
use std::fs;

/// Small, so that a few events fill segments and the whole.
const SMALL: Limits = Limits {
    max_bytes: 16 * 1024,
    segment_bytes: 2 * 1024,
};

/// Never full.
const ROOMY: Limits = Limits {
    max_bytes: 1 << 30,
    segment_bytes: 2 * 1024,
};

fn event(seq: u64, size: usize, record: bool) -> Event {
    Event {
        seq,
        created_unix_ms: 1_000 + seq,
        expires_unix_ms: 9_000 + seq,
        record,
        id: format!("evt_{seq:026}"),
        event: if record {
            "on_record_mp4"
        } else {
            "on_stream_changed"
        }
        .into(),
        lane: format!("lane {}", seq % 3),
        vhost: "__defaultVhost__".into(),
        trace: u128::from(seq) << 70 | 5,
        body: Bytes::from(vec![b'a' + (seq % 26) as u8; size]),
    }
}

fn open(dir: &Path, limits: Limits) -> (Log, Recovered) {
    Log::open(dir, limits).expect("opens")
}

/// Appends, and nothing must give way.
fn append(log: &mut Log, event: &Event) {
    let mut dropped = Vec::new();
    log.append(event, &mut dropped).expect("appends");
    assert_eq!(dropped, []);
}

/// Numbers of all open events.
fn open_seqs(log: &mut Log) -> Vec<u64> {
    let events = log.read_open(0, usize::MAX, usize::MAX).expect("reads");
    events.iter().map(|event| event.seq).collect()
}

/// The segment files, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .expect("lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    paths.sort();
    paths
}

fn bytes_of(dir: &Path) -> u64 {
    let len = |path: &PathBuf| fs::metadata(path).expect("is there").len();
    files(dir).iter().map(len).sum()
}
