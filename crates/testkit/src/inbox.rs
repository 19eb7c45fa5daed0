//! A growing list that others can wait on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Items in order of arrival, none of which is ever taken away.
pub(crate) struct Inbox<T> {
    items: Mutex<Vec<T>>,
    /// Counts changes, so that a waiter cannot miss one between looking and waiting.
    changes: watch::Sender<u64>,
}

impl<T: Clone> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn push(&self, item: T) {
        self.lock().push(item);
        self.touch();
    }

    /// Wakes the waiters without a new item, because something else that they look at has changed.
    pub(crate) fn touch(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().clone()
    }

    /// Waits until `look` finds in the items what it wants; `None` when `deadline` has passed without.
    pub(crate) async fn wait_for<R>(
        &self,
        deadline: Duration,
        mut look: impl FnMut(&[T]) -> Option<R>,
    ) -> Option<R> {
        let end = Instant::now() + deadline;
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = look(&self.lock()) {
                return Some(found);
            }
            match timeout_at(end, changes.changed()).await {
                Ok(Ok(())) => {}
                // `self` holds the sender, so the channel cannot be closed here: this is the deadline.
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // A panic while holding the lock leaves a whole list behind; the other tests' output is still wanted.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
