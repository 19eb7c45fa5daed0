//! The session's side of a viewer that a worker serves.

use crate::worker::Tag;
use bytes::Bytes;
use hub::{EndReason, Reader};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// Most bytes that wait to be said. A viewer's words are answered in some dozens; one that makes us say more takes nothing.
pub const MAX_SAYING: usize = 64 * 1024;

/// Why a delivery ended by itself.
#[derive(Debug)]
pub enum Outcome {
    /// The stream ended, and everything was written.
    Ended(EndReason),
    /// The connection is lost, or its peer takes nothing ([`io::ErrorKind::TimedOut`]).
    Failed(io::Error),
}

/// [`MAX_SAYING`] is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl From<TooMuch> for io::Error {
    fn from(TooMuch: TooMuch) -> Self {
        Self::new(io::ErrorKind::TimedOut, "the peer takes no answers")
    }
}

/// A delivery that was ended between two packets.
pub struct Landed {
    /// The reader, at the first packet that was not written. `None` if the connection failed.
    pub reader: Option<Reader>,
    /// What happened before it could land, unless [`Delivery::ended`] has told it.
    pub outcome: Option<Outcome>,
}

/// What session and worker share of one viewer.
pub(crate) struct Flight {
    pub state: Mutex<State>,
    bytes: AtomicU64,
}

pub(crate) struct State {
    /// Taken out by the session when it leaves.
    pub reader: Option<Reader>,
    /// To be said between two packets.
    pub words: VecDeque<Bytes>,
    saying: usize,
    pub wish: Wish,
    /// The worker has let go of it: nothing is written any more.
    released: bool,
    outcome: Option<Outcome>,
    session: Option<Waker>,
}

/// What the session wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Packets, and words in between.
    Fly,
    /// The words that wait, and then the end.
    Land,
    /// The end, now.
    Leave,
}

impl Flight {
    pub fn new(reader: Reader) -> Self {
        Self {
            state: Mutex::new(State {
                reader: Some(reader),
                words: VecDeque::new(),
                saying: 0,
                wish: Wish::Fly,
                released: false,
                outcome: None,
                session: None,
            }),
            bytes: AtomicU64::new(0),
        }
    }

    pub fn wrote(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The worker lets go of it.
    pub fn release(&self, outcome: Option<Outcome>) {
        let mut state = self.state.lock();
        state.released = true;
        state.outcome = outcome;
        let (session, failed) = (
            state.session.take(),
            matches!(state.outcome, Some(Outcome::Failed(_))),
        );
        // A reader behind a dead connection would only keep packets alive.
        let reader = if failed { state.reader.take() } else { None };
        drop(state);
        drop(reader);
        if let Some(session) = session {
            session.wake();
        }
    }
}

impl State {
    /// The words that wait.
    pub fn take_words(&mut self) -> impl Iterator<Item = Bytes> {
        self.saying = 0;
        std::mem::take(&mut self.words).into_iter()
    }

    fn poll_released(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.released {
            return Poll::Ready(());
        }
        match &mut self.session {
            Some(known) => known.clone_from(context.waker()),
            none @ None => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// A viewer that is being served by a worker, until dropped. Its session must write to the socket by itself no more, and may again
/// when the delivery has [ended](Self::ended) or [landed](Self::land).
pub struct Delivery {
    flight: Arc<Flight>,
    tag: Arc<Tag>,
}

impl Delivery {
    pub(crate) fn new(flight: Arc<Flight>, tag: Arc<Tag>) -> Self {
        Self { flight, tag }
    }

    /// Bytes that the socket took so far.
    pub fn bytes(&self) -> u64 {
        self.flight.bytes.load(Ordering::Relaxed)
    }

    /// Says something to the viewer, between two packets.
    ///
    /// # Errors
    ///
    /// Too much waits to be said already. What was to be said is not.
    pub fn say(&self, words: Bytes) -> Result<(), TooMuch> {
        if words.is_empty() {
            return Ok(());
        }
        let mut state = self.flight.state.lock();
        if state.saying + words.len() > MAX_SAYING {
            return Err(TooMuch);
        }
        state.saying += words.len();
        state.words.push_back(words);
        drop(state);
        self.tag.wake_worker();
        Ok(())
    }

    /// Waits until it ends by itself. Cancel-safe.
    pub async fn ended(&mut self) -> Outcome {
        self.released().await;
        let outcome = self.flight.state.lock().outcome.take();
        // Only `land` makes it end without one, and takes the delivery with it.
        outcome.unwrap_or_else(|| Outcome::Failed(io::ErrorKind::NotConnected.into()))
    }

    async fn released(&self) {
        poll_fn(|context| self.flight.state.lock().poll_released(context)).await;
    }

    /// Ends it after the packet that is being written and the words that wait; at once if it has ended already. Cancel-safe: whoever
    /// does not want to wait for a peer that takes nothing drops the delivery, and the connection with it, which may be in the
    /// middle of a packet.
    pub async fn land(&mut self) -> Landed {
        self.flight.state.lock().wish = Wish::Land;
        self.tag.wake_worker();
        self.released().await;
        let mut state = self.flight.state.lock();
        Landed {
            reader: state.reader.take(),
            outcome: state.outcome.take(),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut state = self.flight.state.lock();
        state.wish = Wish::Leave;
        let reader = state.reader.take();
        state.session = None;
        let released = state.released;
        drop(state);
        drop(reader);
        if !released {
            self.tag.wake_worker();
        }
    }
}
