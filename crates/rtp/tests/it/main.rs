//! Round trips, hostile input and bad networks through the public doors.

mod demux;
mod h26x;
mod mux;
mod netem;
mod stream;
