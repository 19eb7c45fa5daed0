//! Digests of the Flash Player 9 handshake: where they stand, how they are made.

use super::BLOCK_LEN;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of a digest and of a signature, bytes.
pub(super) const DIGEST_LEN: usize = 32;

/// Where the signature of C2 and S2 begins.
const SIGNATURE_AT: usize = BLOCK_LEN - DIGEST_LEN;

/// A digest may begin at 728 places in its block: 764 - 4 (offset bytes) - 32 (digest).
const OFFSETS: usize = 728;

/// The second half of both published Adobe keys.
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Which end made a block: each signs with a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    /// The text that is the first half of the key, and alone the key of C1 or S1.
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Client => b"Genuine Adobe Flash Player 001",
            Self::Server => b"Genuine Adobe Flash Media Server 001",
        }
    }

    /// Digest of a C1 or S1: over all bytes but the place of the digest itself.
    fn digest(self, block: &[u8; BLOCK_LEN], at: usize) -> [u8; DIGEST_LEN] {
        hmac(self.name(), &[&block[..at], &block[at + DIGEST_LEN..]])
    }

    /// Writes the digest of a C1 or S1 into its place.
    pub(super) fn imprint(self, block: &mut [u8; BLOCK_LEN], scheme: Scheme) {
        let at = scheme.digest_at(block);
        let digest = self.digest(block, at);
        block[at..at + DIGEST_LEN].copy_from_slice(&digest);
    }

    /// Finds the digest of a C1 or S1 made by this end, whichever scheme it used.
    pub(super) fn find(self, block: &[u8; BLOCK_LEN]) -> Option<(Scheme, [u8; DIGEST_LEN])> {
        Scheme::ALL.into_iter().find_map(|scheme| {
            let at = scheme.digest_at(block);
            let digest = self.digest(block, at);
            (block[at..at + DIGEST_LEN] == digest).then_some((scheme, digest))
        })
    }

    /// Signs a C2 or S2 that this end sends to the peer whose C1 or S1 carried `peer_digest`.
    pub(super) fn sign(self, block: &mut [u8; BLOCK_LEN], peer_digest: &[u8; DIGEST_LEN]) {
        let signature = self.signature(block, peer_digest);
        block[SIGNATURE_AT..].copy_from_slice(&signature);
    }

    fn signature(self, block: &[u8; BLOCK_LEN], peer_digest: &[u8; DIGEST_LEN]) -> [u8; DIGEST_LEN] {
        let full_key = [self.name(), &KEY_TAIL].concat();
        hmac(&hmac(&full_key, &[peer_digest]), &[&block[..SIGNATURE_AT]])
    }

    /// Whether a C2 or S2 carries this end's signature.
    #[cfg(test)]
    pub(super) fn signed(self, block: &[u8; BLOCK_LEN], peer_digest: &[u8; DIGEST_LEN]) -> bool {
        block[SIGNATURE_AT..] == self.signature(block, peer_digest)
    }
}

/// Order of the two 764-byte blocks in C1 and S1, behind the 8 bytes of time and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Scheme 0: the digest's block comes first, its offset bytes are 8 to 11. ffmpeg and librtmp send this one.
    DigestFirst,
    /// Scheme 1: the key's block comes first, the digest's offset bytes are 772 to 775.
    KeyFirst,
}

impl Scheme {
    pub(super) const ALL: [Self; 2] = [Self::DigestFirst, Self::KeyFirst];

    /// Where the digest begins: the sum of four offset bytes, modulo the number of places.
    fn digest_at(self, block: &[u8; BLOCK_LEN]) -> usize {
        let base = match self {
            Self::DigestFirst => 8,
            Self::KeyFirst => 772,
        };
        let sum: usize = block[base..base + 4].iter().map(|&byte| usize::from(byte)).sum();
        base + 4 + sum % OFFSETS
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    // HMAC takes keys of any length, so this cannot fail (RFC 2104, section 2).
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
