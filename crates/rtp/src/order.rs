//! Decoding times from presentation times.
