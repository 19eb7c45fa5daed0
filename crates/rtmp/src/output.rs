//! What a session wants of its driver.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<E> {
    /// Write these bytes.
    Send(Bytes),
    /// Something happened.
    Event(E),
    /// Flush and close. The last output.
    Close,
}

impl<E> Output<E> {
    /// The bytes to write, if it is that: of a session that was closed nothing else is of interest.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Send(bytes) => Some(bytes),
            Self::Event(_) | Self::Close => None,
        }
    }
}

/// Outputs that were not taken yet. Bounded by what one input can cause, since the driver drains after each.
#[derive(Debug)]
pub(crate) struct Outbox<E> {
    queue: VecDeque<Output<E>>,
    /// Bytes behind the last output in `queue`; small messages are written here together.
    bytes: BytesMut,
    closed: bool,
}

impl<E> Outbox<E> {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: BytesMut::new(),
            closed: false,
        }
    }

    /// Where to write bytes to be sent. What is written after [`Self::close`] is lost.
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(crate) fn send(&mut self, bytes: Bytes) {
        self.push(Output::Send(bytes));
    }

    pub(crate) fn event(&mut self, event: E) {
        self.push(Output::Event(event));
    }

    pub(crate) fn close(&mut self) {
        self.push(Output::Close);
        self.closed = true;
    }

    pub(crate) fn poll(&mut self) -> Option<Output<E>> {
        self.queue.pop_front().or_else(|| self.pending())
    }

    /// Gives back memory that is not used now.
    pub(crate) fn rest(&mut self) {
        self.queue.shrink_to_fit();
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    fn push(&mut self, output: Output<E>) {
        if self.closed {
            return;
        }
        let pending = self.pending();
        self.queue.extend(pending);
        self.queue.push_back(output);
    }

    fn pending(&mut self) -> Option<Output<E>> {
        if self.closed {
            self.bytes.clear();
        }
        (!self.bytes.is_empty()).then(|| Output::Send(self.bytes.split().freeze()))
    }
}
