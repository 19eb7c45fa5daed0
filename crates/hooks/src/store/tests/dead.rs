//! Dead letters.

use super::*;
use crate::store::disk::Os;

fn dead(number: u64) -> Dead {
    Dead {
        event: event(number, 50, number.is_multiple_of(2)),
        failed_unix_ms: 10_000 + number * 10,
        attempts: 9,
        class: "status".into(),
        status: 503,
        detail: format!("failure {number}"),
    }
}

fn open_dead(dir: &Path) -> DeadLetters {
    DeadLetters::open(dir).expect("opens").0
}

fn push(letters: &mut DeadLetters, dead: Dead) -> u64 {
    let mut dropped = Vec::new();
    let position = letters.push(dead, &mut dropped).expect("is stored");
    assert_eq!(dropped, []);
    position
}

fn positions(letters: &mut DeadLetters, filter: &Filter) -> Vec<u64> {
    let list = letters.list(0, usize::MAX, filter).expect("reads");
    list.into_iter().map(|(position, _)| position).collect()
}

#[test]
fn they_are_found_by_place_time_name_and_id() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut letters = open_dead(dir.path());
    for number in 1..=10 {
        assert_eq!(push(&mut letters, dead(number)), number);
    }
    letters.sync().expect("syncs");
    drop(letters);
    let mut letters = open_dead(dir.path());
    assert_eq!(letters.len(), 10);
    let first = letters.list(0, 4, &Filter::default()).expect("reads");
    assert_eq!(
        first,
        (1..=4).map(|number| (number, dead(number))).collect::<Vec<_>>()
    );
    let next = letters.list(4, 4, &Filter::default()).expect("reads");
    assert_eq!(
        next,
        (5..=8).map(|number| (number, dead(number))).collect::<Vec<_>>()
    );
    let time = Filter {
        from_unix_ms: Some(10_030),
        until_unix_ms: Some(10_070),
        event: None,
    };
    assert_eq!(positions(&mut letters, &time), [3, 4, 5, 6]);
    let named = Filter {
        event: Some("on_record_mp4".into()),
        ..time
    };
    assert_eq!(positions(&mut letters, &named), [4, 6]);
    assert_eq!(letters.get(&dead(7).event.id).expect("reads"), Some((7, dead(7))));
    assert_eq!(letters.get("evt_unknown").expect("reads"), None);
}

#[test]
fn they_are_removed_by_id_time_and_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut letters = open_dead(dir.path());
    for number in 1..=10 {
        push(&mut letters, dead(number));
    }
    let ids = [
        dead(9).event.id,
        dead(2).event.id,
        "evt_unknown".into(),
        dead(2).event.id,
    ];
    assert_eq!(
        letters.remove(ids.iter().map(String::as_str)).expect("removes"),
        2
    );
    let named = Filter {
        event: Some("on_record_mp4".into()),
        ..Filter::default()
    };
    assert_eq!(letters.purge(&named).expect("purges"), 4);
    let old = Filter {
        until_unix_ms: Some(10_050),
        ..Filter::default()
    };
    assert_eq!(letters.purge(&old).expect("purges"), 2);
    assert_eq!(positions(&mut letters, &Filter::default()), [5, 7]);
    drop(letters);
    let mut letters = open_dead(dir.path());
    assert_eq!(positions(&mut letters, &Filter::default()), [5, 7]);
    assert_eq!(push(&mut letters, dead(11)), 11);
    assert_eq!(letters.purge(&Filter::default()).expect("purges"), 3);
    assert!(letters.is_empty());
    assert_eq!(letters.usage().open, 0);
}

#[test]
fn an_event_given_up_twice_is_found_as_the_newest_and_removed_as_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut letters = open_dead(dir.path());
    push(&mut letters, dead(1));
    push(&mut letters, dead(2));
    let again = Dead {
        failed_unix_ms: 99_999,
        ..dead(1)
    };
    push(&mut letters, again.clone());
    let id = dead(1).event.id;
    assert_eq!(letters.get(&id).expect("reads"), Some((3, again)));
    assert_eq!(letters.remove([&*id]).expect("removes"), 2);
    assert_eq!(positions(&mut letters, &Filter::default()), [2]);
}

#[test]
fn a_long_failure_is_cut_between_two_characters() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut letters = open_dead(dir.path());
    let long = Dead {
        detail: format!("a{}", "ö".repeat(MAX_TEXT)),
        ..dead(1)
    };
    push(&mut letters, long);
    let (_, read) = letters.get(&dead(1).event.id).expect("reads").expect("is there");
    assert_eq!(read.detail.len(), MAX_TEXT - 1);
}

#[test]
fn beyond_the_count_the_oldest_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut letters = open_dead(dir.path());
    for number in 1..=MAX_DEAD as u64 {
        push(&mut letters, dead(number));
    }
    let mut dropped = Vec::new();
    letters.push(dead(20_001), &mut dropped).expect("is stored");
    letters.push(dead(20_002), &mut dropped).expect("is stored");
    let gone = |seq, event: &str| Dropped {
        seq,
        event: event.into(),
    };
    assert_eq!(dropped, [gone(1, "on_stream_changed"), gone(2, "on_record_mp4")]);
    assert_eq!(letters.len(), MAX_DEAD);
    drop(letters);
    assert_eq!(open_dead(dir.path()).len(), MAX_DEAD);
}

#[test]
fn beyond_the_bytes_the_oldest_segment_goes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut letters, _) = DeadLetters::open_with(dir.path(), SMALL, Box::new(Os)).expect("opens");
    let mut dropped = Vec::new();
    for number in 1..=200 {
        letters.push(dead(number), &mut dropped).expect("is stored");
        assert!(letters.usage().bytes <= SMALL.max_bytes);
        assert_eq!(letters.len() + dropped.len(), number as usize);
    }
    assert!(dropped.iter().map(|gone| gone.seq).eq(1..=dropped.len() as u64));
    let left: Vec<_> = (dropped.len() as u64 + 1..=200).collect();
    assert_eq!(positions(&mut letters, &Filter::default()), left);
}

#[test]
fn one_that_cannot_be_read_is_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut letters = open_dead(dir.path());
    for number in 1..=3 {
        push(&mut letters, dead(number));
    }
    let path = files(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).expect("writes");
    assert_eq!(positions(&mut letters, &Filter::default()), [1, 3]);
    assert_eq!((letters.len(), letters.usage().unreadable), (2, 1));
    assert_eq!(letters.get(&dead(2).event.id).expect("reads"), None);
}
