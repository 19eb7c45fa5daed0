//! What a receiver reports about a source (RFC 3550, section 6.4 and appendix A).
