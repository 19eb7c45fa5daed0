//! Reading the parts of a box.

use super::Error;
use bytes::Bytes;

/// Reads fields from the front of a box or a structure in it.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// `what` names the box in errors.
    pub(super) fn new(data: &'a [u8], what: &'static str) -> Self {
        Self { rest: data, what }
    }

    /// Of a `FullBox`: its version, its flags, and what follows.
    pub(super) fn full(data: &'a [u8], what: &'static str) -> Result<(u8, u32, Self), Error> {
        let mut fields = Self::new(data, what);
        let word = fields.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff, fields))
    }

    pub(super) fn bytes(&mut self, need: usize) -> Result<&'a [u8], Error> {
        let Some((bytes, rest)) = self.rest.split_at_checked(need) else {
            return Err(Error::Truncated {
                what: self.what,
                need,
                got: self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.bytes(count).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A field that has 32 bits in version 0 of its box and 64 bits in version 1.
    pub(super) fn u32_or_u64(&mut self, version: u8) -> Result<u64, Error> {
        if version == 0 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    /// A field that is there if its flag is.
    pub(super) fn u32_if(&mut self, there: bool) -> Result<Option<u32>, Error> {
        there.then(|| self.u32()).transpose()
    }

    /// A descriptor (14496-1, 8.3.3): its tag and its body.
    pub(super) fn descriptor(&mut self) -> Result<(u8, Self), Error> {
        let tag = self.u8()?;
        let mut len = 0usize;
        for _ in 0..4 {
            let byte = self.u8()?;
            len = len << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = Self::new(self.bytes(len)?, self.what);
        Ok((tag, body))
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A copy of what is left, which does not keep the box alive.
    pub(super) fn copy(&self) -> Bytes {
        Bytes::copy_from_slice(self.rest)
    }
}

/// Iterates over the boxes in a box: type and body. Ends after the first error, and where less than a header is left, since old
/// QuickTime writers end lists with four zero bytes.
#[derive(Clone, Debug)]
pub(super) struct Boxes<'a>(&'a [u8]);

impl<'a> Boxes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The body of the first box of this type.
    pub(super) fn find(data: &'a [u8], wanted: &[u8; 4]) -> Result<Option<&'a [u8]>, Error> {
        for child in Self::new(data) {
            let (kind, body) = child?;
            if kind == *wanted {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    /// The body of the first box of this type, which must be there.
    pub(super) fn require(data: &'a [u8], wanted: &[u8; 4], what: &'static str) -> Result<&'a [u8], Error> {
        Self::find(data, wanted)?.ok_or(Error::Missing { what })
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<([u8; 4], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = match Header::parse(self.0) {
            Some(header) => header,
            None => {
                self.0 = &[];
                return None;
            }
        };
        let Header { kind, header_len, .. } = header;
        let len = match header.len {
            // To the end.
            0 => self.0.len(),
            len => usize::try_from(len).unwrap_or(usize::MAX),
        };
        let body = self.0.get(header_len..len);
        self.0 = self.0.get(len..).unwrap_or_default();
        Some(body.map(|body| (kind, body)).ok_or_else(|| {
            self.0 = &[];
            Error::BoxSize {
                kind,
                got: header.len,
                allowed: "at least its header, and not more than is there",
            }
        }))
    }
}

/// The beginning of a box (14496-12, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Type.
    pub(super) kind: [u8; 4],
    /// Bytes of the whole box as it says; 0: to the end.
    pub(super) len: u64,
    /// Bytes of this header.
    pub(super) header_len: usize,
}

impl Header {
    /// `None` if more bytes are needed.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let (head, rest) = data.split_first_chunk::<8>()?;
        let [s0, s1, s2, s3, kind @ ..] = *head;
        let size = u32::from_be_bytes([s0, s1, s2, s3]);
        if size != 1 {
            return Some(Self {
                kind,
                len: size.into(),
                header_len: 8,
            });
        }
        let large = rest.first_chunk::<8>()?;
        Some(Self {
            kind,
            // A large size of 0 is too small, not "to the end".
            len: u64::from_be_bytes(*large).max(1),
            header_len: 16,
        })
    }
}
