//! A sequence of packets from fuzz input, and what must hold for whatever an unpacker makes of them.

use bytes::Bytes;
use rtp::payload::{Error, Input, MAX_UNIT_LEN, Unit};

/// Calls `push` with packets cut from `data`: two bytes of length, one of flags (marker, gap, how far the time moves), the payload.
pub fn packets(data: &[u8], mut push: impl FnMut(Input<'_>, &mut Vec<Unit>) -> Result<(), Error>) {
    let (mut rest, mut timestamp, mut out) = (data, 0i64, Vec::new());
    while let [low, flags, tail @ ..] = rest {
        let len = (usize::from(*low) | usize::from(flags & 0x0c) << 6).min(tail.len());
        let (payload, next) = tail.split_at(len);
        timestamp += i64::from(flags >> 4) * 1000;
        let input = Input {
            payload: &Bytes::copy_from_slice(payload),
            marker: flags & 1 != 0,
            timestamp,
            gap: flags & 2 != 0,
        };
        let _ = push(input, &mut out);
        for unit in out.drain(..) {
            assert!(unit.data.len() <= MAX_UNIT_LEN, "a unit beyond the bound");
        }
        rest = next;
    }
}
