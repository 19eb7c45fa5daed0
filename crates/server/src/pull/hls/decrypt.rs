//! AES-128 in CBC mode with PKCS7 padding (RFC 8216bis, section 4.4.4.4), as the bytes come.

use aws_lc_rs::cipher::{AES_128, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use bytes::Bytes;
use hls::client::{Decryption, KEY_LEN};

/// Decrypts one resource.
pub(super) struct Decryptor(StreamingDecryptingKey);

/// The bytes were not encrypted with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decryption failed: a wrong key, or a segment that is cut off")]
pub(super) struct Wrong;

impl From<Unspecified> for Wrong {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl Decryptor {
    pub fn new(decryption: &Decryption) -> Result<Self, Wrong> {
        let key = UnboundCipherKey::new(&AES_128, &decryption.key)?;
        let context = DecryptionContext::Iv128(FixedLength::from(decryption.iv));
        StreamingDecryptingKey::cbc_pkcs7(key, context)
            .map(Self)
            .map_err(Wrong::from)
    }

    /// Decrypts the next bytes. Up to one block (16 bytes) is held back.
    pub fn update(&mut self, bytes: &[u8]) -> Result<Bytes, Wrong> {
        let mut plain = vec![0; bytes.len() + KEY_LEN];
        let length = self.0.update(bytes, &mut plain)?.written().len();
        plain.truncate(length);
        Ok(plain.into())
    }

    /// The last bytes, without the padding.
    pub fn finish(self) -> Result<Bytes, Wrong> {
        let mut plain = vec![0; KEY_LEN];
        let update = self.0.finish(&mut plain)?;
        let length = update.written().len();
        plain.truncate(length);
        Ok(plain.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::cipher::{EncryptionContext, PaddedBlockEncryptingKey};

    const KEY: [u8; KEY_LEN] = [7; KEY_LEN];
    const IV: [u8; KEY_LEN] = [9; KEY_LEN];

    fn encrypted(plain: &[u8]) -> Vec<u8> {
        let key = UnboundCipherKey::new(&AES_128, &KEY).expect("a key");
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).expect("a mode");
        let mut data = plain.to_vec();
        let context = EncryptionContext::Iv128(FixedLength::from(IV));
        key.less_safe_encrypt(&mut data, context).expect("encryption");
        data
    }

    fn decrypted(key: [u8; KEY_LEN], data: &[u8], piece: usize) -> Result<Vec<u8>, Wrong> {
        let mut decryptor = Decryptor::new(&Decryption { key, iv: IV })?;
        let mut plain = Vec::new();
        for piece in data.chunks(piece) {
            plain.extend(decryptor.update(piece)?);
        }
        plain.extend(decryptor.finish()?);
        Ok(plain)
    }

    #[test]
    fn pieces_of_any_size_give_the_whole() {
        for length in [0, 1, 15, 16, 17, 188 * 3] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for piece in [1, 5, 16, 4096] {
                assert_eq!(
                    decrypted(KEY, &encrypted(&plain), piece),
                    Ok(plain.clone()),
                    "{length} by {piece}"
                );
            }
        }
    }

    #[test]
    fn a_wrong_key_and_a_missing_end_are_told() {
        let data = encrypted(&[0x47; 188]);
        assert_eq!(decrypted(KEY, &data[..data.len() - 1], 64), Err(Wrong));
        assert_eq!(decrypted(KEY, &data[..data.len() - 16], 64), Err(Wrong));
        assert_eq!(decrypted([8; KEY_LEN], &data, 64), Err(Wrong));
    }
}
