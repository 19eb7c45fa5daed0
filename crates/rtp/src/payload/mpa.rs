//! MPEG audio (RFC 2250, section 3.5).
