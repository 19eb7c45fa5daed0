//! Packets to sockets: the last step of every viewer over TCP without TLS, with the fewest system calls that it can be done with.
//!
//! A viewer's session hands its socket and its [`hub::Reader`] to the [`Room`] and gets a [`Delivery`]. From then on one thread writes
//! to it and to all the other viewers that this thread has:
//!
//! ```text
//! publisher's task    wakes its readers: each wake is a number in a worker's list, and one wake-up of the worker for all
//! worker's thread     fetches each reader's packets, hands all writes to the kernel at once (io_uring), or one by one (epoll)
//! session's task      sleeps; reads what the viewer says, and says things to it through `Delivery::say`
//! ```
//!
//! - [`delivery`]: the session's side.
//! - [`worker`]: the thread's loop. The crate starts no thread: [`Room::new`] gives the workers to whoever does.
//! - [`pace`]: when writes are merged, and for how long. Pure.
//! - [`position`]: where in a batch the unwritten rest begins. Pure.
//! - `backend`: the system calls; the only unsafe code of the crate is in its io_uring half.
//!
//! # Rules
//!
//! - **A viewer never waits for another**: sockets are non-blocking, and one that takes nothing is not asked again before the kernel
//!   says that it would.
//! - **The reader leaves with its session**: dropping a [`Delivery`] drops the reader then and there, not when the worker gets to it.
//! - **A packet is never cut in the middle by us** while the session lives: [`Delivery::land`] ends between two packets.
//! - Memory of a viewer is its place in the worker's table; arrays for system calls belong to the worker.

pub mod delivery;
pub mod pace;
pub mod position;
pub mod worker;

mod backend;
mod room;

pub use delivery::{Delivery, Landed, Outcome, TooMuch};
pub use pace::Merge;
pub use position::Position;
pub use room::{Room, Settings, WorkerView};
pub use worker::Worker;
