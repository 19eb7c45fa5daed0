//! Viewers over loopback, each test with io_uring and with epoll.

extern crate tidegate_egress as egress;

mod kit;

use egress::delivery::MAX_SAYING;
use egress::{Landed, Merge, Outcome, TooMuch};
use hub::{Batch, EndReason, Next};
use kit::{Bench, Got, Running, SOON, block_on, words};
use std::io::{ErrorKind, Read};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const AT_ONCE: Merge = Merge::Fixed(Duration::ZERO);

/// Both ways to the kernel must do the same.
fn with_both(test: impl Fn(bool)) {
    test(true);
    test(false);
}

#[test]
fn io_uring_is_used_where_it_can_be() {
    for (wanted, expected) in [(true, &["io_uring", "epoll"][..]), (false, &["epoll"])] {
        let running = Running::new(wanted, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.viewer(bench.reader());
        bench.publish(1, 10);
        viewer.expect_packets(0..1);
        let backends: Vec<_> = running.room().views().iter().map(|view| view.backend).collect();
        assert!(
            backends.iter().any(|backend| expected.contains(backend)),
            "{backends:?}"
        );
        drop(viewer);
        running.stop();
    }
}

#[test]
fn many_viewers_get_every_packet_in_order() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewers: Vec<_> = (0..300).map(|_| running.viewer(bench.reader())).collect();
        // Small and large ones: several in one write, and one in many.
        for length in [4, 1000, 60_000, 10] {
            bench.publish(25, length);
        }
        for viewer in &mut viewers {
            viewer.expect_packets(0..bench.published());
        }
        let views = running.room().views();
        assert_eq!(views.iter().map(|view| view.viewers).sum::<usize>(), 300);
        assert!(
            views.iter().all(|view| view.viewers == 150),
            "spread evenly: {views:?}"
        );
        let bytes: u64 = viewers.iter_mut().map(|viewer| viewer.delivery().bytes()).sum();
        assert_eq!(bytes, 300 * 25 * (4 + 1000 + 60_000 + 10 + 4 * 5));
        assert_eq!(views.iter().map(|view| view.bytes).sum::<u64>(), bytes);
        drop(viewers);
        running.stop();
    });
}

#[test]
fn small_buffers_cut_writes_anywhere_and_nothing_is_lost() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.small_viewer(bench.reader());
        let reading = std::thread::spawn(move || {
            viewer.expect_packets(0..60);
            viewer
        });
        for length in 0..60_usize {
            bench.publish(1, 1 + length * 61);
        }
        let viewer = reading.join().expect("all arrived");
        let blocked: u64 = running.room().views().iter().map(|view| view.blocked).sum();
        assert!(blocked > 0, "the buffers were not small enough to test anything");
        drop(viewer);
        running.stop();
    });
}

#[test]
fn who_takes_nothing_is_given_up_and_holds_up_nobody() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, Duration::from_millis(600), AT_ONCE);
        let mut bench = Bench::new();
        let mut dead: Vec<_> = (0..10).map(|_| running.small_viewer(bench.reader())).collect();
        let mut viewer = running.viewer(bench.reader());
        bench.publish(50, 20_000);
        viewer.expect_packets(0..50);
        for dead in &mut dead {
            let outcome = block_on(dead.delivery().ended());
            assert!(
                matches!(&outcome, Outcome::Failed(error) if error.kind() == ErrorKind::TimedOut),
                "{outcome:?}"
            );
        }
        bench.publish(1, 10);
        viewer.expect_packets(50..51);
        let stalled: u64 = running.room().views().iter().map(|view| view.stalled).sum();
        assert_eq!(stalled, 10);
        drop((dead, viewer));
        running.stop();
    });
}

#[test]
fn words_come_between_packets() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.small_viewer(bench.reader());
        // Before any packet, without one, and while packets wait for room.
        viewer.delivery().say(words("first")).expect("room");
        assert_eq!(viewer.next(), Got::Words("first".to_owned()));
        bench.publish(20, 9_000);
        for number in 0..5 {
            viewer.delivery().say(words(&number.to_string())).expect("room");
        }
        let said = viewer.expect_packets(0..20);
        assert_eq!(said, ["0", "1", "2", "3", "4"]);
        running_stop(running, viewer);
    });
}

fn running_stop(running: Running, viewer: kit::Viewer) {
    drop(viewer);
    running.stop();
}

#[test]
fn words_are_bounded() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.small_viewer(bench.reader());
        bench.publish(50, 100_000);
        let begin = Instant::now();
        // The socket is full sooner or later, and then words wait.
        let refused = loop {
            match viewer.delivery().say(words(&"x".repeat(1000))) {
                Ok(()) => assert!(begin.elapsed() < SOON, "words without end"),
                Err(TooMuch) => break true,
            }
        };
        assert!(refused);
        let long = words(&"x".repeat(MAX_SAYING));
        assert_eq!(viewer.delivery().say(long), Err(TooMuch));
        running_stop(running, viewer);
    });
}

#[test]
fn landing_is_between_two_packets_and_the_reader_goes_on() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.small_viewer(bench.reader());
        // More than one batch, of which the socket takes a part.
        bench.publish(300, 3_000);
        let mut delivery = viewer.delivery.take().expect("served");
        delivery.say(words("last")).expect("room");
        let mut landing = Box::pin(delivery.land());
        let first = landing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(first.is_pending(), "the socket takes no more than a part");
        let mut packets = 0;
        loop {
            match viewer.next() {
                Got::Packet(number) => {
                    assert_eq!(number, packets);
                    packets += 1;
                }
                Got::Words(text) => {
                    assert_eq!(text, "last");
                    break;
                }
                Got::End(error) => panic!("{error}"),
            }
        }
        let Landed { reader, outcome } = block_on(landing);
        assert!(outcome.is_none(), "{outcome:?}");
        assert_eq!(
            delivery.bytes(),
            u64::from(packets) * 3005 + words("last").len() as u64
        );
        let mut reader = reader.expect("the connection is whole");
        let mut batch = Batch::default();
        let mut rest = 0;
        while let Poll::Ready(next) = reader.poll_batch(&mut Context::from_waker(Waker::noop()), &mut batch) {
            assert_eq!(next, Next::Packets);
            rest += batch.packets().len() as u32;
            batch.clear();
        }
        assert_eq!(packets + rest, 300, "no packet twice, none left out");
        // Nothing more is written, and a new delivery goes on.
        bench.publish(1, 10);
        viewer.theirs.set_nonblocking(true).expect("a socket");
        let more = viewer.theirs.read(&mut [0; 16]).expect_err("nothing more");
        assert_eq!(more.kind(), ErrorKind::WouldBlock);
        viewer.theirs.set_nonblocking(false).expect("a socket");
        let again = running
            .room()
            .deliver(std::os::fd::AsFd::as_fd(&viewer.ours), reader);
        viewer.delivery = Some(again.map_err(|(_, error)| error).expect("room"));
        viewer.expect_packets(300..301);
        running_stop(running, viewer);
    });
}

#[test]
fn the_end_of_the_stream_comes_after_its_last_packet() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.viewer(bench.reader());
        bench.publish(10, 50_000);
        bench.close();
        viewer.expect_packets(0..10);
        let outcome = block_on(viewer.delivery().ended());
        assert!(
            matches!(outcome, Outcome::Ended(EndReason::Closed)),
            "{outcome:?}"
        );
        running_stop(running, viewer);
    });
}

#[test]
fn a_lost_connection_is_told() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        let mut viewer = running.viewer(bench.reader());
        bench.publish(1, 10);
        viewer.expect_packets(0..1);
        viewer.theirs.shutdown(std::net::Shutdown::Both).expect("open");
        viewer.ours.shutdown(std::net::Shutdown::Write).expect("open");
        bench.publish(1, 10);
        let outcome = block_on(viewer.delivery().ended());
        assert!(
            matches!(&outcome, Outcome::Failed(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind())),
            "{outcome:?}"
        );
        assert_eq!(bench.stream.total_readers(), 0, "its reader is gone with it");
        running_stop(running, viewer);
    });
}

#[test]
fn a_reader_leaves_with_its_session_and_its_socket_soon_after() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        // One that rests, and one that waits for room.
        let mut resting = running.viewer(bench.reader());
        let mut full = running.small_viewer(bench.reader());
        bench.publish(50, 50_000);
        resting.expect_packets(0..50);
        assert_eq!(bench.stream.total_readers(), 2);
        for viewer in [&mut resting, &mut full] {
            viewer.delivery = None;
        }
        assert_eq!(bench.stream.total_readers(), 0);
        // Nobody holds the connection any more: its end reaches the peer.
        for viewer in [resting, full] {
            let kit::Viewer { ours, mut theirs, .. } = viewer;
            drop(ours);
            let mut sink = Vec::new();
            theirs
                .read_to_end(&mut sink)
                .expect("an end within the read timeout");
        }
        running.stop();
    });
}

#[test]
fn held_back_packets_cost_one_write() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, Merge::Fixed(SOON * 10));
        let mut bench = Bench::new();
        let mut viewer = running.viewer(bench.reader());
        bench.publish(1, 10);
        viewer.expect_packets(0..1);
        bench.publish(9, 10);
        // Words are never held back.
        viewer.delivery().say(words("now")).expect("room");
        assert_eq!(viewer.next(), Got::Words("now".to_owned()));
        let writes = |running: &Running| running.room().views().iter().map(|view| view.writes).sum::<u64>();
        assert_eq!(writes(&running), 2);
        running.room().set_merge(AT_ONCE);
        viewer.expect_packets(1..10);
        assert_eq!(writes(&running), 3);
        running_stop(running, viewer);
    });
}

#[test]
fn a_room_that_is_closed_tells_its_viewers() {
    with_both(|io_uring| {
        let mut running = Running::new(io_uring, SOON, AT_ONCE);
        let bench = Bench::new();
        let mut viewer = running.viewer(bench.reader());
        running.room = None;
        let outcome = block_on(viewer.delivery().ended());
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        running_stop(running, viewer);
    });
}

#[test]
fn viewers_that_come_and_go_leave_nothing_behind() {
    with_both(|io_uring| {
        let running = Running::new(io_uring, SOON, AT_ONCE);
        let mut bench = Bench::new();
        bench.publish(1, 10);
        for round in 0..200 {
            let mut viewer = running.viewer(bench.reader());
            if round % 2 == 0 {
                viewer.expect_packets(0..1);
            }
        }
        let deadline = Instant::now() + SOON;
        while running.room().views().iter().any(|view| view.viewers > 0) {
            assert!(Instant::now() < deadline, "viewers that left are still there");
            std::thread::yield_now();
        }
        assert_eq!(bench.stream.total_readers(), 0);
        running.stop();
    });
}
