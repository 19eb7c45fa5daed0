//! Packets of one source in order.
