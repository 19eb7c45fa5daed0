//! Basic and Digest authentication (RFC 7617, RFC 7616, RFC 2069), both sides.
