//! The client's end: playing (pull) and publishing (push).
//!
//! The crate retina was weighed for this. It is good at cameras, and its fixtures taught this code their habits; but it is bound to
//! a runtime, has no RTSPS, no multicast, no publishing, no reorder buffer and no receiver reports, and does not hand out the
//! packets themselves, which `rtsp.directProxy` passes on.

mod session;

pub use session::{
    ClientSession, Config, Event, Failure, Output, Role, SetUp, Start, TrackChoice, Transport, UdpPorts,
};
