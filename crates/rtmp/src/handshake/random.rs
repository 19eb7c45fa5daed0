//! Filler bytes for the handshake, from a seed that the caller draws.

use sha2::{Digest, Sha256};

/// A stream of bytes: SHA-256 over the seed and a counter. The handshake only asks for bytes that differ between
/// connections (RTMP 1.0, section 5.2.3); this needs no generator from outside and repeats exactly in tests.
pub(super) struct Random {
    seed: [u8; 32],
    counter: u64,
}

impl Random {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// Fills `out` with the next bytes; whole blocks are drawn, the rest of the last one is lost.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed)
                .chain_update(self.counter.to_be_bytes())
                .finalize();
            self.counter += 1;
            piece.copy_from_slice(&block[..piece.len()]);
        }
    }
}
