//! Round trips and hostile input through the public doors.

mod netem;
