//! Attempts.

use super::disk::Faulty;
use super::*;
use crate::deliveries::{Delivery, KEPT, OK};
use crate::failure::Class;
use crate::hook::Hook;
use crate::store::disk::Unsynced;

/// One of all kinds: with and without times, failed and not.
fn delivery(number: u64) -> Delivery {
    let odd = number % 2 == 1;
    let failed = Class::ALL[number as usize % Class::ALL.len()].name();
    Delivery {
        id: format!("evt_{number:026}"),
        event: if odd {
            Hook::Play.into()
        } else {
            crate::EventName::Own(crate::own::OwnEvent::StreamOnline)
        },
        stream: format!("__defaultVhost__/live/{number}"),
        attempt: number as u32,
        replay: number.is_multiple_of(3),
        started_unix_ms: 1_796_000_000_000 + number,
        queued_ms: number,
        connect_ms: odd.then_some(0),
        tls_ms: (!odd).then_some(7),
        first_byte_ms: None,
        took_ms: 12,
        reused: !odd,
        status: 200,
        result: if number.is_multiple_of(5) { OK } else { failed },
        detail: "no connection to 127.0.0.1:9".to_owned(),
        answer: "{\"code\": 0}".to_owned(),
    }
}

fn open_log(dir: &Path) -> DeliveryLog {
    DeliveryLog::open(dir).expect("opens").0
}

#[test]
fn they_are_as_they_were() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = open_log(dir.path());
    assert_eq!(log.last().expect("reads"), []);
    let made: Vec<_> = (1..=40).map(delivery).collect();
    for delivery in &made {
        log.push(delivery.clone()).expect("is stored");
    }
    assert_eq!(log.last().expect("reads"), made);
    drop(log);
    let mut log = open_log(dir.path());
    log.push(delivery(41)).expect("is stored");
    assert_eq!(
        log.last().expect("reads")[1..],
        (2..=41).map(delivery).collect::<Vec<_>>()
    );
}

#[test]
fn the_oldest_give_way_and_the_disk_stays_within_its_bounds() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = open_log(dir.path());
    for number in 1..=20_000 {
        log.push(delivery(number)).expect("is stored");
    }
    assert!(bytes_of(dir.path()) <= DELIVERY_LIMITS.max_bytes);
    let last: Vec<_> = (20_001 - KEPT as u64..=20_000).map(delivery).collect();
    assert_eq!(log.last().expect("reads"), last);
    // Large ones: fewer of them.
    let long = Delivery {
        answer: "\u{fffd}".repeat(4096),
        ..delivery(1)
    };
    for _ in 0..500 {
        log.push(long.clone()).expect("is stored");
    }
    assert!(bytes_of(dir.path()) <= DELIVERY_LIMITS.max_bytes);
    let last = log.last().expect("reads");
    assert!(last.len() > 100 && last.iter().all(|delivery| delivery.answer.len() < MAX_TEXT));
    drop(log);
    assert_eq!(open_log(dir.path()).last().expect("reads"), last);
}

#[test]
fn damage_costs_what_it_hits() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = open_log(dir.path());
    for number in 1..=20 {
        log.push(delivery(number)).expect("is stored");
    }
    drop(log);
    let path = files(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    // The last one was not written to its end.
    bytes.truncate(bytes.len() - 3);
    fs::write(&path, bytes).expect("writes");
    let (mut log, recovered) = DeliveryLog::open(dir.path()).expect("opens");
    assert_eq!(recovered.damaged, 1);
    assert!(recovered.torn_bytes > 0);
    assert_eq!(log.last().expect("reads").len(), 18);
}

#[test]
fn a_full_disk_refuses_them_until_there_is_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Faulty::new(0);
    let on = Box::new(Unsynced(disk.clone()));
    let (mut log, _) = DeliveryLog::open_with(dir.path(), on).expect("opens");
    log.push(delivery(1)).expect("is stored");
    disk.fill(true);
    log.push(delivery(2)).expect_err("no room");
    disk.fill(false);
    log.push(delivery(3)).expect("is stored");
    assert_eq!(log.last().expect("reads"), [delivery(1), delivery(3)]);
}
