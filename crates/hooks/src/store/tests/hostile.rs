//! Files that we did not write.

use super::*;
use crate::store::frame;
use proptest::prelude::*;

/// Whatever is in the files, the log opens, reads, and can be used.
fn check(contents: &[(u64, Vec<u8>)]) {
    let dir = tempfile::tempdir().expect("a folder");
    for (first, bytes) in contents {
        fs::write(dir.path().join(format!("{first:020}.log")), bytes).expect("writes");
    }
    let (mut log, recovered) = match Log::<Event>::open(dir.path(), ROOMY) {
        Err(Error::Version { .. }) => return,
        result => result.expect("opens"),
    };
    assert_eq!(log.usage().open, recovered.open);
    let found = open_seqs(&mut log);
    assert_eq!(log.usage().open, found.len() as u64);
    assert_eq!(found.len() as u64 + log.usage().unreadable, recovered.open);
    assert!(found.is_sorted_by(|a, b| a < b));
    let seq = log.last_seq().saturating_add(1);
    if seq == u64::MAX {
        return;
    }
    append(&mut log, &event(seq, 10, false));
    if let Some(first) = found.first() {
        log.done(*first).expect("done");
    }
    log.sync().expect("syncs");
    let left = open_seqs(&mut log);
    assert_eq!(left.last(), Some(&seq));
    drop(log);
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered.torn_bytes, recovered.damaged), (0, 0), "it was mended");
    assert_eq!(open_seqs(&mut log), left);
}

/// A piece of a file: noise, or something that begins well.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let seq = prop_oneof![0u64..20, any::<u64>()];
    let record = (
        seq,
        prop_oneof![Just(frame::DONE), 2u8..5],
        0usize..80,
        any::<u8>(),
    )
        .prop_map(|(seq, kind, len, fill)| {
            let mut buf = Vec::new();
            frame::put(&mut buf, kind, |buf| {
                buf.extend_from_slice(&seq.to_le_bytes());
                buf.resize(buf.len() + len, fill);
            });
            buf
        });
    let sound = (0u64..20, 0usize..100, any::<bool>()).prop_map(|(seq, size, record)| {
        let mut buf = Vec::new();
        let event = event(seq, size, record);
        frame::put(&mut buf, Event::KIND, |buf| {
            crate::store::entry::encode(&event, buf)
        });
        buf
    });
    let long = any::<u32>().prop_map(|len| [&b"\xFFT\xFEG"[..], &len.to_le_bytes(), &[0; 5]].concat());
    let noise = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        noise,
        sound.clone(),
        sound,
        record,
        long,
        Just(frame::file_head().to_vec())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_can_be_a_file(
        files in prop::collection::btree_map(prop_oneof![0u64..30, any::<u64>()], prop::collection::vec(any::<u8>(), 0..500), 1..4),
    ) {
        check(&files.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_records_can_be_in_a_file(
        files in prop::collection::btree_map(0u64..30, prop::collection::vec(piece(), 0..12), 1..4),
    ) {
        let content = |pieces: Vec<Vec<u8>>| [&frame::file_head()[..], &pieces.concat()].concat();
        check(&files.into_iter().map(|(first, pieces)| (first, content(pieces))).collect::<Vec<_>>());
    }
}

/// Every place looks like the beginning of a long record: the checksum of each would be some terabytes of work.
#[test]
fn a_file_of_nothing_but_beginnings_is_given_up_early() {
    let mut bytes = frame::file_head().to_vec();
    while bytes.len() < 3 * 1024 * 1024 {
        bytes.extend_from_slice(b"\xFFT\xFEG\0\0\x0F\0");
    }
    // Too far behind to be found.
    frame::put_done(&mut bytes, 3);
    let mut last = frame::file_head().to_vec();
    frame::put_done(&mut last, 5);
    let len = bytes.len() as u64;
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(format!("{:020}.log", 1)), &bytes).expect("writes");
    fs::write(dir.path().join(format!("{:020}.log", 9)), &last).expect("writes");
    let (log, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered.damaged, recovered.damaged_bytes), (1, len - 16));
    assert_eq!(recovered.last_seq, 8);
    assert_eq!(log.usage().segments, 1);
    drop(log);
    check(&[(1, bytes)]);
}

/// A peer chooses parts of the bodies. If the record around it is damaged, it must not come alive.
#[test]
fn a_record_within_a_body_is_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut inner = Vec::new();
    frame::put_done(&mut inner, 1);
    let (mut log, _) = open(dir.path(), ROOMY);
    append(&mut log, &event(1, 10, false));
    // As JSON would carry it: text, so every byte from 0x80 on becomes two or more.
    let text =
        serde_json::to_string(&inner.iter().map(|byte| char::from(*byte)).collect::<String>()).expect("text");
    append(
        &mut log,
        &Event {
            body: Bytes::from(text.into_bytes()),
            ..event(2, 0, false)
        },
    );
    append(&mut log, &event(3, 10, false));
    drop(log);
    let path = files(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("reads");
    let second = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, window)| window == b"\xFFT\xFEG")
        .nth(1);
    let second = second.expect("two records").0;
    bytes[second + 5] ^= 1;
    fs::write(&path, bytes).expect("writes");
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!(recovered.damaged, 1);
    assert_eq!(open_seqs(&mut log), [1, 3]);
}
