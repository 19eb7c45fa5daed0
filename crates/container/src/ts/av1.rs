//! OBUs with start codes (Carriage of AV1 in MPEG-2 TS, 3.2): `00 00 01` before each, and inside a 3 after two zeros that are
//! followed by a byte below 4.

use super::packet::Sink;
use bytes::{BufMut, Bytes, BytesMut};
use media::codec::av1::{OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, Obus, put_leb128};
use media::codec::nal::start_code;

const START_CODE: [u8; 3] = [0, 0, 1];
/// `emulation_prevention_three_byte`.
const PREVENTION: u8 = 3;

/// Writes the OBUs of `unit`, in the low-overhead format, without temporal delimiters. Returns whether there were any.
pub(super) fn put(unit: &[u8], sink: &mut impl Sink) -> bool {
    let mut any = false;
    for obu in Obus::new(unit).map_while(Result::ok) {
        if obu.kind != OBU_TEMPORAL_DELIMITER {
            sink.put(&START_CODE);
            escape(obu.whole, sink);
            any = true;
        }
    }
    any
}

/// Whether a temporal unit has a sequence header.
pub(super) fn has_sequence_header(unit: &[u8]) -> bool {
    Obus::new(unit)
        .map_while(Result::ok)
        .any(|obu| obu.kind == OBU_SEQUENCE_HEADER)
}

fn escape(bytes: &[u8], sink: &mut impl Sink) {
    // `bytes[from..at]` is not written yet.
    let (mut from, mut zeros) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        if zeros >= 2 && *byte <= PREVENTION {
            sink.put(&bytes[from..at]);
            sink.put(&[PREVENTION]);
            (from, zeros) = (at, 0);
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
    }
    sink.put(&bytes[from..]);
}

/// Start-coded OBUs to the low-overhead format without temporal delimiters, each with its size.
pub(super) fn read(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 16);
    for coded in split(data) {
        let whole = unescape(coded);
        // One without a size takes everything.
        let Some(Ok(obu)) = Obus::new(&whole).next() else {
            continue;
        };
        if obu.kind == OBU_TEMPORAL_DELIMITER {
            continue;
        }
        let header = obu.whole.len() - obu.payload.len();
        let has_size = whole[0] & 2 != 0;
        if has_size {
            out.put_slice(obu.whole);
        } else if let Ok(len) = u32::try_from(obu.payload.len()) {
            out.put_u8(whole[0] | 2);
            out.put_slice(&whole[1..header]);
            put_leb128(len, &mut out);
            out.put_slice(obu.payload);
        }
    }
    out.freeze()
}

/// What stands between start codes. Unlike NAL units, OBUs may end with zero bytes.
fn split(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(data).and_then(|at| data.get(at + START_CODE.len()..));
    std::iter::from_fn(move || {
        let all = rest?;
        let end = start_code(all);
        rest = end.and_then(|at| all.get(at + START_CODE.len()..));
        Some(&all[..end.unwrap_or(all.len())])
    })
}

fn unescape(coded: &[u8]) -> Vec<u8> {
    let (mut out, mut zeros) = (Vec::with_capacity(coded.len()), 0);
    for byte in coded {
        if zeros >= 2 && *byte == PREVENTION {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::packet::Counter;
    use super::*;
    use proptest::prelude::*;

    struct Collect(Vec<u8>);

    impl Sink for Collect {
        fn put(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    fn coded(unit: &[u8]) -> Vec<u8> {
        let mut out = Collect(Vec::new());
        put(unit, &mut out);
        out.0
    }

    #[test]
    fn forbidden_sequences_are_broken_up() {
        // A delimiter, a frame with zeros.
        let unit = [0x12, 0, 0x32, 8, 0x10, 0, 0, 1, 0, 0, 3, 0];
        let expected = [0, 0, 1, 0x32, 8, 0x10, 0, 0, 3, 1, 0, 0, 3, 3, 0];
        assert_eq!(coded(&unit), expected);
        assert_eq!(read(&expected), unit[2..]);
        let zeros = [0x32, 6, 0x10, 0, 0, 0, 0, 0];
        assert_eq!(coded(&zeros), [0, 0, 1, 0x32, 6, 0x10, 0, 0, 3, 0, 0, 3, 0]);
    }

    #[test]
    fn a_size_is_added_where_it_is_missing() {
        let two = [0, 0, 1, 0x0c, 0x20, 7, 0, 0, 1, 0x30, 0x10, 1];
        assert_eq!(read(&two)[..], [0x0e, 0x20, 1, 7, 0x32, 2, 0x10, 1]);
        assert!(read(&[0, 0, 1]).is_empty() && read(&[1, 2]).is_empty());
    }

    fn obu() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..5, 1 => any::<u8>()], 0..60)
            .prop_map(|payload| [&[0x32, payload.len() as u8], &payload[..]].concat())
    }

    proptest! {
        #[test]
        fn what_is_coded_is_read(obus in proptest::collection::vec(obu(), 1..5)) {
            let unit = obus.concat();
            let coded = coded(&unit);
            let mut counter = Counter::default();
            put(&unit, &mut counter);
            prop_assert_eq!(counter.0, coded.len());
            for whole in split(&coded) {
                prop_assert!(!whole.windows(3).any(|three| three[..2] == [0, 0] && three[2] < 3), "{:?}", whole);
            }
            prop_assert_eq!(read(&coded), unit);
        }

        #[test]
        fn any_bytes_can_be_read(data in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..4, any::<u8>()], 0..200)) {
            let read = read(&data);
            prop_assert!(Obus::new(&read).all(|obu| obu.is_ok()));
        }
    }
}
