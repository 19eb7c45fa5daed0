//! Bytes that came and were not read yet.

use bytes::{Buf, Bytes, BytesMut};

/// What was pushed, in one piece, copied only where a box came in several.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// One piece as it was pushed; if it is empty, what there is stands in `joined`.
    whole: Bytes,
    /// Several pieces.
    joined: BytesMut,
}

impl Buffer {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.whole = bytes;
            return;
        }
        if !self.whole.is_empty() {
            let whole = std::mem::take(&mut self.whole);
            self.joined = whole
                .try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        }
        self.joined.extend_from_slice(&bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if self.whole.is_empty() {
            &self.joined
        } else {
            &self.whole
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first bytes, at most `count`.
    pub(super) fn take(&mut self, count: usize) -> Bytes {
        let count = count.min(self.len());
        if self.whole.is_empty() {
            self.joined.split_to(count).freeze()
        } else {
            self.whole.split_to(count)
        }
    }

    /// Drops the first bytes, at most `count`.
    pub(super) fn skip(&mut self, count: usize) {
        let count = count.min(self.len());
        if self.whole.is_empty() {
            self.joined.advance(count);
        } else {
            self.whole.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_alone_is_shared_and_several_are_joined() {
        let mut buffer = Buffer::default();
        let piece = Bytes::from_static(b"abcdef");
        buffer.push(piece.clone());
        buffer.skip(1);
        assert_eq!(buffer.take(2).as_ptr(), piece[1..].as_ptr());
        buffer.push(Bytes::from_static(b"gh"));
        assert_eq!(buffer.bytes(), b"defgh");
        assert_eq!(buffer.take(4), "defg");
        buffer.push(Bytes::from_static(b"i"));
        assert_eq!(buffer.take(9), "hi");
        buffer.push(piece.clone());
        assert_eq!(buffer.take(6).as_ptr(), piece.as_ptr());
    }
}
