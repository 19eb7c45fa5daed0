//! AAC in LATM (RFC 6416), received only.
