//! Streams that are closed some time after nobody watches them.
//!
//! A media server asks once, when the last viewer has left, and a question cannot stay open for minutes. So the answer is "stay",
//! and when the time is over the API is asked to close the stream, without force: a stream that has viewers stays.

use crate::open::StreamId;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Most streams that wait for their end.
pub const MAX_WAITING: usize = 100_000;

/// Attempts to close a stream whose server does not answer, and the pause between them.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);

/// Calls under way at once.
const AT_ONCE: usize = 16;

/// The streams that wait.
#[derive(Default)]
pub struct Closings {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    by_stream: HashMap<StreamId, (Instant, u32)>,
    by_time: BTreeSet<(Instant, StreamId)>,
}

impl Closings {
    /// Closes a stream after this time, counted from now even if it was waiting already. False if too many wait.
    pub fn add(&self, id: StreamId, after: Duration) -> bool {
        self.put(id, after, 1)
    }

    fn put(&self, id: StreamId, after: Duration, attempt: u32) -> bool {
        {
            let mut waiting = self.waiting.lock();
            waiting.remove(&id);
            if waiting.by_stream.len() >= MAX_WAITING {
                return false;
            }
            let at = Instant::now() + after;
            waiting.by_time.insert((at, id.clone()));
            waiting.by_stream.insert(id, (at, attempt));
        }
        self.changed.notify_one();
        true
    }

    /// A viewer came: a new time begins when the last one leaves.
    pub fn cancel(&self, id: &StreamId) {
        self.waiting.lock().remove(id);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().by_stream.len()
    }

    /// Closes streams when their time has come, by `close`, which tells whether the server has answered. Never ends.
    pub async fn run<F: Future<Output = bool>>(&self, close: impl Fn(StreamId) -> F) {
        loop {
            let next = self.waiting.lock().by_time.first().map(|(at, _)| *at);
            match next {
                None => self.changed.notified().await,
                Some(at) if at > Instant::now() => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                Some(_) => {
                    let due = self.waiting.lock().take(Instant::now(), AT_ONCE);
                    let each = due.into_iter().map(|(id, attempt)| {
                        let closing = close(id.clone());
                        async move {
                            if !closing.await && attempt < ATTEMPTS {
                                self.put(id, PAUSE, attempt + 1);
                            }
                        }
                    });
                    futures_util::future::join_all(each).await;
                }
            }
        }
    }
}

impl Waiting {
    fn remove(&mut self, id: &StreamId) {
        if let Some((at, _)) = self.by_stream.remove(id) {
            self.by_time.remove(&(at, id.clone()));
        }
    }

    fn take(&mut self, now: Instant, most: usize) -> Vec<(StreamId, u32)> {
        let mut due = Vec::new();
        while due.len() < most {
            match self.by_time.first() {
                Some((at, _)) if *at <= now => {}
                Some(_) | None => break,
            }
            let Some((_, id)) = self.by_time.pop_first() else {
                break;
            };
            let attempt = self.by_stream.remove(&id).map_or(1, |(_, attempt)| attempt);
            due.push((id, attempt));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::{sleep, timeout};

    fn id(stream: &str) -> StreamId {
        StreamId {
            server: "s".to_owned(),
            vhost: "v".to_owned(),
            app: "live".to_owned(),
            stream: stream.to_owned(),
        }
    }

    /// What is closed, and after how many seconds.
    async fn closed(
        closings: &Closings,
        answers: bool,
        script: impl Future<Output = ()>,
    ) -> Vec<(String, u64)> {
        let began = Instant::now();
        let closed = RefCell::new(Vec::new());
        let close = |id: StreamId| {
            closed.borrow_mut().push((id.stream, began.elapsed().as_secs()));
            async move { answers }
        };
        let script = async {
            script.await;
            sleep(Duration::from_secs(1000)).await;
        };
        tokio::select! {
            () = closings.run(close) => {}
            () = script => {}
        }
        closed.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_closed_in_the_order_of_their_times() {
        let closings = Closings::default();
        let script = async {
            assert!(closings.add(id("late"), Duration::from_secs(30)));
            assert!(closings.add(id("early"), Duration::from_secs(10)));
            assert!(closings.add(id("watched"), Duration::from_secs(10)));
            sleep(Duration::from_secs(5)).await;
            closings.cancel(&id("watched"));
            assert!(closings.add(id("again"), Duration::from_secs(10)));
            sleep(Duration::from_secs(5)).await;
            assert!(closings.add(id("again"), Duration::from_secs(10)));
        };
        let closed = closed(&closings, true, script).await;
        let expected = [("early", 10), ("again", 20), ("late", 30)];
        assert_eq!(closed, expected.map(|(name, at)| (name.to_owned(), at)));
        assert_eq!(closings.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_asked_some_times() {
        let closings = Closings::default();
        let script = async { assert!(closings.add(id("a"), Duration::from_secs(10))) };
        let closed = closed(&closings, false, script).await;
        let times: Vec<u64> = closed.into_iter().map(|(_, at)| at).collect();
        assert_eq!(times, [10, 15, 20, 25, 30]);
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let closings = Closings::default();
        let hour = Duration::from_secs(3600);
        for number in 0..MAX_WAITING {
            assert!(closings.add(id(&number.to_string()), hour));
        }
        assert!(!closings.add(id("one more"), hour));
        assert!(closings.add(id("0"), hour), "who waits already may wait again");
        let nothing = timeout(Duration::from_millis(1), closings.run(|_| async { true })).await;
        assert!(nothing.is_err(), "none is due");
    }
}
