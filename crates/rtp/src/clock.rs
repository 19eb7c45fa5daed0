//! Time of a source: extension of the 32-bit timestamp, and its place on the sender's wall clock by sender reports.
