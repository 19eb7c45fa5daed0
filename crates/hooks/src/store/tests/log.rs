//! The log, case by case.

use super::disk::Faulty;
use super::*;
use std::os::unix::fs::{FileExt, PermissionsExt};

fn is_send<T: Send>() {}

#[test]
fn a_thread_can_own_it() {
    is_send::<Log>();
    is_send::<DeadLetters>();
}

#[test]
fn what_is_not_done_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("made/on the way");
    let (mut log, recovered) = open(&folder, Limits::default());
    assert_eq!(recovered, Recovered::default());
    let events = [
        event(1, 100, false),
        event(2, MAX_BODY, true),
        event(7, 0, false),
        Event {
            id: "a".repeat(MAX_TEXT),
            event: "ö".repeat(MAX_TEXT / 2),
            lane: String::new(),
            vhost: "\u{0}\n".into(),
            trace: u128::MAX,
            expires_unix_ms: u64::MAX,
            ..event(8, 3, false)
        },
    ];
    for event in &events {
        append(&mut log, event);
    }
    log.done(1).expect("done");
    log.sync().expect("syncs");
    drop(log);
    let (mut log, recovered) = open(&folder, Limits::default());
    assert_eq!((recovered.open, recovered.last_seq), (3, 8));
    let read = log.read_open(0, 10, usize::MAX).expect("reads");
    assert_eq!(read, events[1..]);
    assert_eq!(log.oldest_open_unix_ms().expect("reads"), Some(1_002));
}

#[test]
fn only_the_owner_may_read_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("endpoint");
    let (mut log, _) = open(&folder, Limits::default());
    append(&mut log, &event(1, 1, false));
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&files(&folder)[0]), 0o600);
}

#[test]
fn a_folder_has_one_user() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, _) = open(dir.path(), SMALL);
    let error = Log::<Event>::open(dir.path(), SMALL).err().expect("is taken");
    assert!(matches!(error, Error::Locked { .. }));
    assert!(
        error.to_string().contains(&*dir.path().to_string_lossy()),
        "{error}"
    );
    drop(log);
    open(dir.path(), SMALL);
}

#[test]
fn what_is_out_of_bounds_is_refused_and_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), Limits::default());
    append(&mut log, &event(5, 1, false));
    let mut check = |event: Event, expected: &str| {
        let error = log.append(&event, &mut Vec::new()).expect_err("is refused");
        assert_eq!(error.to_string(), expected);
    };
    let long = "x".repeat(MAX_TEXT + 1);
    let text = |field: &str| format!("{field} of 8193 bytes: at most 8192 are stored");
    check(
        event(6, MAX_BODY + 1, false),
        "the body of 1048577 bytes: at most 1048576 are stored",
    );
    check(
        Event {
            id: long.clone(),
            ..event(6, 1, false)
        },
        &text("webhook-id"),
    );
    check(
        Event {
            event: long.clone(),
            ..event(6, 1, false)
        },
        &text("the event's name"),
    );
    check(
        Event {
            lane: long.clone(),
            ..event(6, 1, false)
        },
        &text("the lane"),
    );
    check(
        Event {
            vhost: long,
            ..event(6, 1, false)
        },
        &text("the virtual host"),
    );
    check(event(5, 1, false), "event number 5 after 5: numbers must rise");
    check(
        Event {
            seq: u64::MAX,
            ..event(6, 1, false)
        },
        &format!("event number {} after 5: numbers must rise", u64::MAX),
    );
    append(&mut log, &event(6, 1, false));

    let small = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(small.path(), SMALL);
    append(&mut log, &event(1, 1, false));
    let error = log
        .append(&event(2, 20_000, true), &mut Vec::new())
        .expect_err("is refused");
    assert!(matches!(error, Error::NoRoom { max: 16_384, .. }), "{error}");
    assert_eq!(open_seqs(&mut log), [1], "nothing had to go for it");
}

#[test]
fn another_version_is_named_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), SMALL);
    append(&mut log, &event(1, 1, false));
    drop(log);
    let path = files(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).expect("writes");
    let error = Log::<Event>::open(dir.path(), SMALL)
        .err()
        .expect("is not understood");
    let expected = format!(
        "{}: version 2 of the hook store; this server reads version 1",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read(&path).expect("reads"), bytes);
}

#[test]
fn a_torn_tail_is_cut_and_the_rest_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    append(&mut log, &event(1, 200, false));
    append(&mut log, &event(2, 200, false));
    drop(log);
    let path = files(dir.path()).remove(0);
    let whole = fs::read(&path).expect("reads");
    let record = (whole.len() - 16) / 2;
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).expect("writes");
        let (mut log, recovered) = open(dir.path(), ROOMY);
        let events = len.saturating_sub(16) / record;
        assert_eq!(open_seqs(&mut log).len(), events, "{len} bytes");
        let torn = if len < 16 { len } else { len - 16 - events * record };
        assert_eq!(
            (recovered.torn_bytes, recovered.damaged),
            (torn as u64, 0),
            "{len} bytes"
        );
        // And it can be written to.
        append(&mut log, &event(3, 1, false));
        drop(log);
        let (mut log, recovered) = open(dir.path(), ROOMY);
        assert_eq!((recovered.torn_bytes, recovered.damaged), (0, 0));
        assert_eq!(open_seqs(&mut log).last(), Some(&3));
    }
}

/// A file system may have the length of a file on the medium, but not its bytes.
#[test]
fn a_tail_of_zeros_is_cut() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    append(&mut log, &event(1, 200, false));
    drop(log);
    let path = files(dir.path()).remove(0);
    let whole = fs::read(&path).expect("reads");
    fs::write(&path, [&whole[..], &[0; 5000]].concat()).expect("writes");
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!(
        (recovered.torn_bytes, recovered.damaged, recovered.open),
        (5000, 0, 1)
    );
    assert_eq!(open_seqs(&mut log), [1]);
    drop(log);
    assert_eq!(fs::read(&path).expect("reads"), whole);
}

#[test]
fn numbers_go_on_after_everything_is_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    for seq in 1..=40 {
        append(&mut log, &event(seq, 500, false));
    }
    assert!(log.usage().segments > 5);
    for seq in (1..=40).rev() {
        log.done(seq).expect("done");
    }
    assert_eq!((log.usage().open, log.usage().segments), (0, 1));
    drop(log);
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered.open, recovered.last_seq), (0, 40));
    assert_eq!(log.oldest_open_unix_ms().expect("reads"), None);
    append(&mut log, &event(41, 500, false));
    assert_eq!(open_seqs(&mut log), [41]);
}

#[test]
fn a_reader_goes_on_where_it_stopped_while_the_log_grows() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    let mut after = 0;
    for seq in 1..=200 {
        append(&mut log, &event(seq, 100, false));
        if seq % 7 == 0 {
            let read = log.read_open(after, 3, usize::MAX).expect("reads");
            let seqs: Vec<_> = read.iter().map(|event| event.seq).collect();
            assert_eq!(seqs, [after + 1, after + 2, after + 3]);
            after += 3;
            log.done(after).expect("done");
        }
    }
    assert_eq!(log.read_open(200, 3, usize::MAX).expect("reads"), []);
    assert_eq!(log.read_open(u64::MAX, 3, usize::MAX).expect("reads"), []);
    assert_eq!(log.read_open(0, 0, usize::MAX).expect("reads"), []);
}

#[test]
fn where_there_is_no_room_records_go_last() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), SMALL);
    let mut dropped = Vec::new();
    // Every third is a record. 200 events of some 280 bytes: the store has room for about 58.
    for seq in 1..=200 {
        log.append(&event(seq, 150, seq % 3 == 0), &mut dropped)
            .expect("appends");
        assert!(log.usage().bytes <= SMALL.max_bytes);
    }
    let spare_gone = dropped
        .iter()
        .take_while(|gone| gone.event == "on_stream_changed")
        .count();
    assert!(spare_gone > 50, "{spare_gone}");
    assert!(dropped[..spare_gone].is_sorted_by(|a, b| a.seq < b.seq));
    assert_eq!(
        dropped
            .iter()
            .find(|gone| gone.event == "on_record_mp4")
            .map(|gone| gone.seq),
        Some(3)
    );
    // Each event is in one place.
    let mut all: Vec<_> = dropped.iter().map(|gone| gone.seq).collect();
    all.extend(open_seqs(&mut log));
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=200));
    let left = open_seqs(&mut log);
    drop(log);
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!(recovered.damaged, 0);
    assert_eq!(open_seqs(&mut log), left);
}

#[test]
fn what_is_done_gives_way_before_what_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), SMALL);
    let stuck = |seq: u64| seq <= 40 && seq % 5 < 2;
    // Of the first forty, two of five stay; of the others, the last twenty. The files as they were written would not fit.
    for seq in 1..=300 {
        append(&mut log, &event(seq, 150, false));
        if seq <= 40 && !stuck(seq) {
            log.done(seq).expect("done");
        } else if seq > 60 {
            log.done(seq - 20).expect("done");
        }
    }
    let left: Vec<_> = (1..=300).filter(|seq| stuck(*seq) || *seq > 280).collect();
    assert_eq!(open_seqs(&mut log), left);
    drop(log);
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!((recovered.open, recovered.damaged), (left.len() as u64, 0));
    assert_eq!(open_seqs(&mut log), left);
}

#[test]
fn an_event_that_stays_does_not_hold_what_is_behind_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    append(&mut log, &event(1, 150, false));
    for seq in 2..=2000 {
        append(&mut log, &event(seq, 150, false));
        log.done(seq).expect("done");
        assert!(log.usage().segments <= 4, "{:?} at {seq}", log.usage());
    }
    drop(log);
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered.open, recovered.last_seq), (1, 2000));
    assert_eq!(open_seqs(&mut log), [1]);
}

/// The second segment holds the marks of the first, and is written anew before it.
#[test]
fn what_is_done_stays_done_when_its_mark_is_moved() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    // Some six events a segment.
    for seq in 1..=9 {
        append(&mut log, &event(seq, 150, false));
    }
    // Half of the first segment, too little to write it anew; all of the second.
    for seq in [1, 2, 3, 7, 8, 9] {
        log.done(seq).expect("done");
    }
    for seq in 10..=60 {
        append(&mut log, &event(seq, 150, false));
    }
    let left = open_seqs(&mut log);
    assert_eq!(left[..4], [4, 5, 6, 10]);
    drop(log);
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!(recovered.damaged, 0);
    assert_eq!(open_seqs(&mut log), left);
}

#[test]
fn what_was_being_written_anew_is_forgotten_and_other_files_stay() {
    let dir = tempfile::tempdir().expect("a folder");
    let half = dir.path().join("00000000000000000001.tmp");
    fs::write(&half, b"TIDEHOOK").expect("writes");
    for name in [
        "notes.log",
        "1.log",
        "00000000000000000002.txt",
        "-0000000000000000001.log",
    ] {
        fs::write(dir.path().join(name), b"mine").expect("writes");
    }
    fs::create_dir(dir.path().join("dead")).expect("makes");
    let (log, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered, log.usage()), (Recovered::default(), Usage::default()));
    assert!(!half.exists());
    assert_eq!(
        fs::read_dir(dir.path()).expect("lists").count(),
        6,
        "with the lock"
    );
}

#[test]
fn bytes_that_change_under_it_are_lost_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    for seq in 1..=5 {
        append(&mut log, &event(seq, 100, false));
    }
    let path = files(dir.path()).remove(0);
    let record = (fs::metadata(&path).expect("is there").len() - 16) / 5;
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opens");
    for index in [1, 4] {
        file.write_all_at(&[0xFF; 4], 16 + index * record + 60)
            .expect("writes");
    }
    assert_eq!(open_seqs(&mut log), [1, 3, 4]);
    assert_eq!((log.usage().open, log.usage().unreadable), (3, 2));
    assert_eq!(open_seqs(&mut log), [1, 3, 4]);
    assert_eq!(log.usage().unreadable, 2);
}

#[test]
fn a_file_that_cannot_be_read_can_be_given_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut log, _) = open(dir.path(), ROOMY);
    for seq in 1..=20 {
        append(&mut log, &event(seq, 150, false));
    }
    let path = files(dir.path()).remove(1);
    fs::remove_file(&path).expect("deletes");
    let first = log.read_open(0, 1, usize::MAX).expect("reads").remove(0);
    assert_eq!(first.seq, 1);
    let error = log
        .read_open(0, usize::MAX, usize::MAX)
        .expect_err("a file is missing");
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    let second: u64 = path
        .file_stem()
        .and_then(|stem| stem.to_str()?.parse().ok())
        .expect("a number");
    let given_up = log.give_up_file(second - 1);
    assert!(given_up > 1);
    let expected: Vec<_> = (1..second).chain(second + given_up..=20).collect();
    assert_eq!(open_seqs(&mut log), expected);
    assert_eq!(
        (log.usage().unreadable, log.usage().open),
        (given_up, expected.len() as u64)
    );
    for seq in expected {
        log.done(seq).expect("done");
    }
    assert_eq!((log.usage().segments, log.give_up_file(0)), (1, 0));
}

#[test]
fn an_append_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Faulty::new(0);
    let (mut log, _) = Log::open_with(dir.path(), ROOMY, Box::new(disk.clone())).expect("opens");
    append(&mut log, &event(1, 500, false));
    disk.fail(256);
    // The write fails half-way, and so does the cut after it.
    for _ in 0..3 {
        let error = log
            .append(&event(2, 500, false), &mut Vec::new())
            .expect_err("no room");
        let path = files(dir.path()).remove(0);
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
    assert!(log.sync().is_err());
    assert_eq!(open_seqs(&mut log), [1]);
    disk.fail(0);
    // Shorter than what was left behind.
    append(&mut log, &event(2, 10, false));
    log.sync().expect("syncs");
    drop(log);
    let (mut log, recovered) = open(dir.path(), ROOMY);
    assert_eq!((recovered.torn_bytes, recovered.damaged), (0, 0));
    let read = log.read_open(0, 9, usize::MAX).expect("reads");
    assert_eq!(read, [event(1, 500, false), event(2, 10, false)]);
}

/// After a failed fsync the kernel takes the pages for clean, so the same call again would prove nothing.
#[test]
fn after_a_failed_sync_everything_is_written_again() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Faulty::new(0);
    let (mut log, _) = Log::open_with(dir.path(), ROOMY, Box::new(disk.clone())).expect("opens");
    append(&mut log, &event(1, 50, false));
    append(&mut log, &event(2, 50, false));
    log.done(1).expect("done");
    disk.fail(256);
    assert!(log.sync().is_err());
    assert!(log.needs_sync());
    disk.fail(0);
    let inode = || fs::metadata(&files(dir.path())[0]).expect("is there").ino();
    let before = inode();
    log.sync().expect("syncs");
    assert_ne!(inode(), before);
    assert!(!log.needs_sync());
    append(&mut log, &event(3, 50, false));
    log.done(2).expect("done");
    drop(log);
    let (mut log, _) = open(dir.path(), ROOMY);
    assert_eq!(open_seqs(&mut log), [3]);
}

#[test]
fn a_mark_that_could_not_be_written_is_written_later() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Faulty::new(0);
    let (mut log, _) = Log::open_with(dir.path(), ROOMY, Box::new(disk.clone())).expect("opens");
    for seq in 1..=3 {
        append(&mut log, &event(seq, 50, false));
    }
    disk.fail(256);
    log.done(2).expect_err("no room");
    log.done(2).expect("it is done for this process");
    assert_eq!(open_seqs(&mut log), [1, 3]);
    disk.fail(0);
    log.done(3).expect("done");
    drop(log);
    let (mut log, _) = open(dir.path(), ROOMY);
    assert_eq!(open_seqs(&mut log), [1]);
}

/// A store that has filled the disk by itself must get out of it by itself, once its events are done.
#[test]
fn what_filled_the_disk_makes_room_when_it_is_done() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Faulty::new(0);
    let (mut log, _) = Log::open_with(dir.path(), Limits::default(), Box::new(disk.clone())).expect("opens");
    for seq in 1..=50 {
        append(&mut log, &event(seq, 500, false));
    }
    disk.fill(true);
    for seq in 1..50 {
        log.done(seq).expect_err("no room for the mark");
    }
    log.append(&event(51, 500, false), &mut Vec::new())
        .expect_err("no room");
    assert_eq!(open_seqs(&mut log), [50]);
    log.done(50)
        .expect("nothing is left, so nothing has to be marked");
    assert!(bytes_of(dir.path()) < 100);
    assert_eq!(log.usage().bytes, bytes_of(dir.path()));
    disk.fill(false);
    append(&mut log, &event(51, 500, false));
    log.sync().expect("syncs");
    drop(log);
    let (mut log, recovered) = open(dir.path(), Limits::default());
    let sound = Recovered {
        open: 1,
        last_seq: 51,
        ..Recovered::default()
    };
    assert_eq!(recovered, sound);
    assert_eq!(open_seqs(&mut log), [51]);
    log.done(51).expect("done");
    drop(log);
    let (log, _) = open(dir.path(), Limits::default());
    assert_eq!(log.last_seq(), 51);
}
