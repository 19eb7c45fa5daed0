//! RTP packets (RFC 3550, section 5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                          CSRC list, if CC > 0                 |
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a header without sources and extension.
pub const HEADER_LEN: usize = 12;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends too early.
    #[error("an RTP packet of {got} bytes: {what} ends at byte {need}")]
    Short {
        /// What is cut off.
        what: &'static str,
        /// Where it would end.
        need: usize,
        /// Bytes there.
        got: usize,
    },
    /// Not version 2.
    #[error("RTP version {0}: must be 2 (RFC 3550, section 5.1)")]
    Version(u8),
    /// More padding than payload.
    #[error("padding of {got} bytes in {left}: must be 1 to that many (RFC 3550, section 5.1)")]
    Padding {
        /// Declared bytes.
        got: usize,
        /// Bytes behind the header.
        left: usize,
    },
}

/// The fixed fields of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it marks is up to the payload format: for video the last packet of a picture.
    pub marker: bool,
    /// 0..=127.
    pub payload_type: u8,
    /// Counts packets, modulo 2^16.
    pub sequence: u16,
    /// Time of the first byte of the payload in ticks of the format's clock, modulo 2^32.
    pub timestamp: u32,
    /// Source.
    pub ssrc: u32,
}

impl Header {
    /// Appends the 12 bytes of a header without padding, extension and contributing sources.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u8(0x80);
        out.put_u8(u8::from(self.marker) << 7 | (self.payload_type & 0x7f));
        out.put_u16(self.sequence);
        out.put_u32(self.timestamp);
        out.put_u32(self.ssrc);
    }
}

/// A valid packet. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    bytes: Bytes,
    header: Header,
    payload: Bytes,
}

impl Packet {
    /// Checks a packet.
    ///
    /// # Errors
    ///
    /// It is not one.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        let short = |what, need| Error::Short {
            what,
            need,
            got: bytes.len(),
        };
        let Some(&[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]) = bytes
            .get(..HEADER_LEN)
            .and_then(|head| head.first_chunk::<HEADER_LEN>())
        else {
            return Err(short("the header", HEADER_LEN));
        };
        if first >> 6 != 2 {
            return Err(Error::Version(first >> 6));
        }
        let mut at = HEADER_LEN + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            let Some(&[_, _, l0, l1]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Err(short("the header extension", at + 4));
            };
            at += 4 + usize::from(u16::from_be_bytes([l0, l1])) * 4;
        }
        let Some(left) = bytes.len().checked_sub(at) else {
            return Err(short("the header", at));
        };
        let padding = if first & 0x20 != 0 {
            let got = usize::from(*bytes.last().unwrap_or(&0));
            if got == 0 || got > left {
                return Err(Error::Padding { got, left });
            }
            got
        } else {
            0
        };
        let payload = bytes.slice(at..bytes.len() - padding);
        Ok(Self {
            header: Header {
                marker: second & 0x80 != 0,
                payload_type: second & 0x7f,
                sequence: u16::from_be_bytes([s0, s1]),
                timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
                ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            },
            payload,
            bytes,
        })
    }

    /// The fixed fields.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What the payload format reads: without header, extension and padding. May be empty.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The packet as it came.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let mut out = BytesMut::new();
            header.write(&mut out);
            out.extend_from_slice(&payload);
            let packet = Packet::parse(out.freeze()).unwrap();
            prop_assert_eq!(packet.header(), &header);
            prop_assert_eq!(packet.payload(), &payload);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::parse(bytes.clone().into()) {
                prop_assert!(packet.payload().len() + HEADER_LEN <= bytes.len());
            }
        }
    }

    #[test]
    fn sources_extension_and_padding_are_no_payload() {
        let packet = [
            &[0xb1, 0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3][..],
            &[9; 4],
            &[0xbe, 0xde, 0, 1, 5, 5, 5, 5],
            b"payload",
            &[0, 0, 3],
        ]
        .concat();
        let packet = Packet::parse(packet.into()).unwrap();
        assert_eq!(packet.payload(), "payload");
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let check = |bytes: &[u8], expected: &str| {
            let error = Packet::parse(Bytes::copy_from_slice(bytes)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            &[0x80; 11],
            "an RTP packet of 11 bytes: the header ends at byte 12",
        );
        check(&[0x40; 12], "RTP version 1: must be 2 (RFC 3550, section 5.1)");
        check(
            &[0x81; 12],
            "an RTP packet of 12 bytes: the header ends at byte 16",
        );
        check(
            &[0x90; 12],
            "an RTP packet of 12 bytes: the header extension ends at byte 16",
        );
        check(
            &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            "padding of 9 bytes in 1: must be 1 to that many (RFC 3550, section 5.1)",
        );
    }
}
