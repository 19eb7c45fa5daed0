//! Real threads: no wake-up is lost, order is kept, and leaving at any moment leaves nothing behind.

use crate::kit::*;
use hub::{Batch, EndReason, Next, Reader, ReaderOptions, RingLimits};
use media::Schema;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Far longer than a frame may take, far shorter than a hang: a lost wake-up fails the test instead of stopping it.
const PATIENCE: Duration = Duration::from_secs(20);

fn block_on_batch(reader: &mut Reader, batch: &mut Batch) -> Next {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(reader.next_batch(batch));
    loop {
        if let Poll::Ready(next) = future.as_mut().poll(&mut context) {
            return next;
        }
        let before = std::time::Instant::now();
        thread::park_timeout(PATIENCE);
        assert!(before.elapsed() < PATIENCE, "no wake-up");
    }
}

fn number(batch: &Batch, index: usize) -> Option<u64> {
    std::str::from_utf8(&batch.packets()[index].parts[1])
        .ok()?
        .strip_prefix(['k', 'p'])?
        .parse()
        .ok()
}

#[test]
fn readers_that_come_and_go_on_threads_miss_nothing() {
    const FRAMES: u64 = 4_000;
    const READERS: u64 = 6;
    let mut bench = Bench::video_only(RingLimits {
        max_entries: 400,
        ..RingLimits::default()
    });
    bench.write("k0");
    let (stream, hub) = (bench.stream.clone(), &bench.hub);
    let publisher = bench.publisher.as_mut().unwrap();
    let now = bench.start;
    thread::scope(|scope| {
        for id in 0..READERS {
            let stream = stream.clone();
            scope.spawn(move || {
                let mut batch = Batch::default();
                let mut rounds = 0_u64;
                'join: loop {
                    let mux = if id % 2 == 0 { A } else { B };
                    let options = ReaderOptions::player(Schema::Rtmp);
                    let Ok(mut reader) = stream.reader(mux, options, || TestMux::boxed("x")) else {
                        return;
                    };
                    rounds += 1;
                    let mut last: Option<u64> = None;
                    // Each stays for another number of batches, and the last one that it joins until the end.
                    for _ in 0..(7 * id + 13 * rounds) % 97 + 1 {
                        batch.clear();
                        match block_on_batch(&mut reader, &mut batch) {
                            Next::Packets => {}
                            Next::Lagged { skipped } => last = last.map(|last| last + skipped),
                            Next::Ended(reason) => {
                                assert_eq!(reason, EndReason::Unpublished);
                                assert!(last.is_none_or(|last| last == FRAMES), "ended after {last:?}");
                                return;
                            }
                        }
                        for number in (0..batch.packets().len()).filter_map(|index| number(&batch, index)) {
                            assert!(
                                last.is_none_or(|last| number == last + 1),
                                "{number} after {last:?}"
                            );
                            last = Some(number);
                        }
                    }
                    continue 'join;
                }
            });
        }
        for index in 1..=FRAMES {
            let kind = if index % 50 == 0 { 'k' } else { 'p' };
            publisher
                .write(now, frame(&format!("{kind}{index}"), index as i64 * 40))
                .unwrap();
            if index % 8 == 0 {
                thread::yield_now();
            }
        }
        hub.remove(stream.key(), stream.incarnation(), EndReason::Unpublished);
    });
    let totals = bench.hub.totals();
    assert_eq!(
        (totals.readers, totals.muxers, totals.frames_in),
        (0, 0, FRAMES + 1)
    );
    assert_eq!(bench.stream.total_readers(), 0);
}
