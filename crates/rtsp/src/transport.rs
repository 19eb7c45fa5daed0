//! The Transport header (RFC 2326, section 12.39).
