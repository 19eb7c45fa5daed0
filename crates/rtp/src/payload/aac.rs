//! AAC in the form of RFC 3640.
