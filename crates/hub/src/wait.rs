//! Who wants to be woken.

use std::task::Waker;

/// Wakers registered since the last drain. A reader that is polled again before the drain replaces its waker instead of
/// adding one, and takes it back when it leaves, so the list never holds more than one entry per reader.
#[derive(Default)]
pub(crate) struct WaitList {
    /// Number of drains so far; tells a ticket of this round from an old one.
    round: u64,
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A place in a [`WaitList`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    round: u64,
    index: usize,
}

impl WaitList {
    /// Registers `waker`, in the place of `ticket` if that is still valid.
    pub fn register(&mut self, ticket: Option<Ticket>, waker: &Waker) -> Ticket {
        if let Some(ticket) = ticket.filter(|ticket| ticket.round == self.round) {
            match &mut self.wakers[ticket.index] {
                Some(present) => present.clone_from(waker),
                empty @ None => *empty = Some(waker.clone()),
            }
            return ticket;
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.wakers[index] = Some(waker.clone());
                index
            }
            None => {
                self.wakers.push(Some(waker.clone()));
                self.wakers.len() - 1
            }
        };
        Ticket {
            round: self.round,
            index,
        }
    }

    /// Takes a registration back. Returns the waker so that it is dropped outside the lock.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<Waker> {
        if ticket.round != self.round {
            return None;
        }
        let waker = self.wakers[ticket.index].take();
        if waker.is_some() {
            self.free.push(ticket.index);
        }
        waker
    }

    /// Moves all wakers to `out`, to be woken outside the lock.
    pub fn drain_into(&mut self, out: &mut Vec<Waker>) {
        if self.wakers.is_empty() {
            return;
        }
        self.round += 1;
        self.free.clear();
        out.extend(self.wakers.drain(..).flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn drain(list: &mut WaitList) -> usize {
        let mut out = Vec::new();
        list.drain_into(&mut out);
        let count = out.len();
        out.into_iter().for_each(Waker::wake);
        count
    }

    #[test]
    fn a_second_registration_replaces_the_first() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut list = WaitList::default();
        let ticket = list.register(None, &first.clone().into());
        list.register(Some(ticket), &second.clone().into());
        assert_eq!(drain(&mut list), 1);
        assert_eq!(
            (first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)),
            (0, 1)
        );
    }

    #[test]
    fn an_old_ticket_neither_replaces_nor_cancels_anything() {
        let waker: Waker = Arc::new(Count::default()).into();
        let mut list = WaitList::default();
        let old = list.register(None, &waker);
        drain(&mut list);
        list.register(None, &waker);
        assert!(list.cancel(old).is_none());
        list.register(Some(old), &waker);
        assert_eq!(drain(&mut list), 2);
    }

    #[test]
    fn places_of_those_who_left_are_used_again() {
        let waker: Waker = Arc::new(Count::default()).into();
        let mut list = WaitList::default();
        for _ in 0..100 {
            let ticket = list.register(None, &waker);
            assert!(list.cancel(ticket).is_some());
            assert!(list.cancel(ticket).is_none());
        }
        assert_eq!(list.wakers.len(), 1);
        assert_eq!(drain(&mut list), 0);
    }
}
