//! Round trips, hostile input and bad networks through the public doors.

mod h26x;
mod netem;
