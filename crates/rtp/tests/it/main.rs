//! Round trips and hostile input through the public doors.

mod h26x;
