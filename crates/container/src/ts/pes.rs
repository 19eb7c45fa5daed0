//! Heads of PES packets (ISO/IEC 13818-1, 2.4.3.6 and 2.4.3.7).

use super::packet::wrap;

/// A head as it is written: start code, `stream_id`, length, flags, times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    bytes: [u8; MAX_HEAD_LEN],
    len: usize,
}

impl Head {
    /// The head before `payload_len` bytes. Times are ticks of 90 kHz on an endless line; 33 bits of them are carried. `None` if the
    /// payload is too long for a length field and the stream is not video, which alone may go without (2.4.3.7).
    pub fn new(stream_id: u8, video: bool, pts: i64, dts: i64, payload_len: usize) -> Option<Self> {
        let both = wrap(pts) != wrap(dts);
        let (flags, times_len) = if both { (0xc0, 10) } else { (0x80, 5) };
        let length = match u16::try_from(3 + times_len + payload_len) {
            Ok(length) => length,
            Err(_) if video => 0,
            Err(_) => return None,
        };
        let [l1, l0] = length.to_be_bytes();
        let mut bytes = [0; MAX_HEAD_LEN];
        // Two bits 10, data_alignment_indicator; which times there are; their length.
        let fixed = [0, 0, 1, stream_id, l1, l0, 0x84, flags, times_len as u8];
        bytes[..FIXED_LEN].copy_from_slice(&fixed);
        bytes[9..14].copy_from_slice(&timestamp(if both { 3 } else { 2 }, pts));
        if both {
            bytes[14..].copy_from_slice(&timestamp(1, dts));
        }
        Some(Self {
            bytes,
            len: FIXED_LEN + times_len,
        })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A time in 5 bytes: 4 bits before it, and a 1 behind 3, 15 and 15 bits.
fn timestamp(prefix: u64, ticks: i64) -> [u8; 5] {
    let ticks = wrap(ticks);
    let field = prefix << 36
        | (ticks >> 30 & 7) << 33
        | 1 << 32
        | (ticks >> 15 & 0x7fff) << 17
        | 1 << 16
        | (ticks & 0x7fff) << 1
        | 1;
    let [_, _, _, bytes @ ..] = field.to_be_bytes();
    bytes
}

fn read_timestamp(bytes: [u8; 5]) -> u64 {
    let [b0, b1, b2, b3, b4] = bytes.map(u64::from);
    (b0 >> 1 & 7) << 30 | b1 << 22 | (b2 >> 1) << 15 | b3 << 7 | b4 >> 1
}

/// A head that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes before the payload.
    pub len: usize,
    /// Bytes of the payload, if that is told.
    pub payload_len: Option<usize>,
    /// `PES_scrambling_control` is not 0.
    pub scrambled: bool,
    /// Presentation time, 33 bits.
    pub pts: Option<u64>,
    /// Decoding time if it is told apart, 33 bits.
    pub dts: Option<u64>,
}

/// What the first bytes of a PES packet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Head(Received),
    /// More bytes are needed.
    Incomplete,
    /// No PES packet, or one of a stream without times (padding, maps).
    No,
}

/// Reads the head at the start of `data`.
pub(super) fn parse(data: &[u8]) -> Parsed {
    let Some((&[z0, z1, one, stream_id, l1, l0], rest)) = data.split_first_chunk() else {
        return Parsed::Incomplete;
    };
    // Streams of table 2-22 whose packets have no flags behind the length.
    let bare = matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff);
    if [z0, z1, one] != [0, 0, 1] || bare {
        return Parsed::No;
    }
    let Some((&[marker, flags, header_len], rest)) = rest.split_first_chunk() else {
        return Parsed::Incomplete;
    };
    if marker & 0xc0 != 0x80 {
        return Parsed::No;
    }
    let header_len = usize::from(header_len);
    let Some(header) = rest.get(..header_len) else {
        return Parsed::Incomplete;
    };
    let payload_len = match u16::from_be_bytes([l1, l0]) {
        0 => None,
        length => match usize::from(length).checked_sub(3 + header_len) {
            Some(len) => Some(len),
            None => return Parsed::No,
        },
    };
    let at = |at: usize| {
        header
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .map(read_timestamp)
    };
    let (pts, dts) = match flags >> 6 {
        2 => (at(0), None),
        3 => (at(0), at(5)),
        _ => (None, None),
    };
    Parsed::Head(Received {
        len: FIXED_LEN + header_len,
        payload_len,
        scrambled: marker & 0x30 != 0,
        pts,
        dts,
    })
}

/// Start code, `stream_id`, length, flags, length of what follows.
const FIXED_LEN: usize = 9;
const MAX_HEAD_LEN: usize = FIXED_LEN + 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_byte_by_byte() {
        // As ffmpeg writes 1.4 s.
        let head = Head::new(0xc0, false, 126_000, 126_000, 100).unwrap();
        let expected = [0, 0, 1, 0xc0, 0, 108, 0x84, 0x80, 5, 0x21, 0, 0x07, 0xd8, 0x61];
        assert_eq!(head.as_slice(), expected);
        let head = Head::new(0xe0, true, 129_600, 126_000, 100_000).unwrap();
        let expected = [
            &[0, 0, 1, 0xe0, 0, 0, 0x84, 0xc0, 10][..],
            &[0x31, 0, 0x07, 0xf4, 0x81, 0x11, 0, 0x07, 0xd8, 0x61],
        ]
        .concat();
        assert_eq!(head.as_slice(), expected);
        assert_eq!(Head::new(0xbd, false, 0, 0, 65_528), None);
        assert!(Head::new(0xbd, false, 0, 0, 65_527).is_some());
    }

    #[test]
    fn what_is_no_head_is_told_from_what_is_short() {
        assert_eq!(parse(&[0, 0, 1, 0xe0, 0]), Parsed::Incomplete);
        assert_eq!(
            parse(&[0, 0, 1, 0xe0, 0, 0, 0x84, 0x80, 5, 0x21]),
            Parsed::Incomplete
        );
        assert_eq!(parse(&[0, 0, 2, 0xe0, 0, 0]), Parsed::No);
        assert_eq!(parse(&[0, 0, 1, 0xbe, 0, 9]), Parsed::No);
        assert_eq!(
            parse(&[0, 0, 1, 0xe0, 0, 7, 0x84, 0x80, 5, 0x21, 0, 1, 0, 1]),
            Parsed::No
        );
    }

    proptest! {
        #[test]
        fn heads_round_trip(video: bool, pts: i64, dts: i64, len in 0usize..70_000) {
            let Some(head) = Head::new(0xe0, video, pts, dts, len) else {
                prop_assert!(!video && len > 65_000);
                return Ok(());
            };
            let Parsed::Head(read) = parse(head.as_slice()) else { panic!("not read") };
            prop_assert_eq!(read.len, head.as_slice().len());
            prop_assert_eq!(read.payload_len, Some(len).filter(|len| len + read.len - 6 < 65_536));
            prop_assert_eq!(read.pts, Some(wrap(pts)));
            prop_assert_eq!(read.dts.unwrap_or(wrap(pts)), wrap(dts));
        }

        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&data);
            let _ = parse(&[&[0, 0, 1, 0xe0], &data[..]].concat());
        }
    }
}
