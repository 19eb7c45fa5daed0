//! NAL units of H.264 and H.265: with length fields (ISO/IEC 14496-15), with start codes (Annex B), and from one to the other.

use super::Error;
use bytes::{BufMut, Bytes, BytesMut};

/// Iterates over NAL units with length fields of `length_size` bytes. Ends after the first error. Empty units are left out, and
/// so are a few zero bytes at the end, which some encoders pad with.
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    data: &'a [u8],
    at: usize,
    length_size: usize,
}

impl<'a> LengthPrefixed<'a> {
    /// `length_size` is 1, 2, 3 or 4; other values count as 4.
    pub fn new(data: &'a [u8], length_size: u8) -> Self {
        let length_size = if (1..=4).contains(&length_size) {
            usize::from(length_size)
        } else {
            4
        };
        Self {
            data,
            at: 0,
            length_size,
        }
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // `at` never exceeds the length: it moves by what was found there.
            let rest = &self.data[self.at..];
            if rest.is_empty() {
                return None;
            }
            let Some((field, rest)) = rest.split_at_checked(self.length_size) else {
                let at = std::mem::replace(&mut self.at, self.data.len());
                if rest.iter().all(|byte| *byte == 0) {
                    return None;
                }
                return Some(Err(Error::Truncated {
                    what: "NAL unit length",
                    at,
                    need: self.length_size,
                    got: rest.len(),
                }));
            };
            let len = field.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            let Some(unit) = rest.get(..len) else {
                let at = std::mem::replace(&mut self.at, self.data.len());
                return Some(Err(Error::Truncated {
                    what: "NAL unit",
                    at,
                    need: len,
                    got: rest.len(),
                }));
            };
            self.at += self.length_size + len;
            if !unit.is_empty() {
                return Some(Ok(unit));
            }
        }
    }
}

/// Iterates over the NAL units of an Annex B byte stream, between start codes of 3 or 4 bytes. Bytes before the first start
/// code and zero bytes after a unit belong to none.
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    /// What follows the last start code found.
    rest: Option<&'a [u8]>,
}

impl<'a> AnnexB<'a> {
    /// Over the whole of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            rest: start_code(data).map(|at| &data[at + START_CODE.len()..]),
        }
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let unit = match start_code(rest) {
                Some(at) => {
                    self.rest = Some(&rest[at + START_CODE.len()..]);
                    &rest[..at]
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            // trailing_zero_8bits, and the first byte of a 4-byte start code. A NAL unit never ends with a zero byte (7.4.1).
            let end = unit
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            if end > 0 {
                return Some(&unit[..end]);
            }
        }
    }
}

/// Where `00 00 01` begins for the first time.
pub fn start_code(data: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        // The byte after two zeros decides; look for it three at a time.
        let at = from + 2;
        match data.get(at)? {
            0 => from += 1,
            1 if data[from..at] == [0, 0] => return Some(from),
            _ => from += 3,
        }
    }
}

/// Annex B to NAL units with 4-byte lengths. Copies.
pub fn from_annex_b(data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 16);
    for unit in AnnexB::new(data) {
        put(unit, &mut out);
    }
    out.freeze()
}

/// NAL units with lengths of `length_size` bytes to Annex B with 4-byte start codes, appended to `out`. On error `out` holds
/// the units before it.
pub fn to_annex_b(data: &[u8], length_size: u8, out: &mut BytesMut) -> Result<(), Error> {
    for unit in LengthPrefixed::new(data, length_size) {
        out.put_slice(&[0, 0, 0, 1]);
        out.put_slice(unit?);
    }
    Ok(())
}

/// NAL units with lengths of `length_size` bytes to lengths of 4 bytes. Copies, unless they have 4 already.
pub fn with_four_byte_lengths(data: &Bytes, length_size: u8) -> Result<Bytes, Error> {
    if length_size == 4 {
        return Ok(data.clone());
    }
    let mut out = BytesMut::with_capacity(data.len().saturating_add(64));
    for unit in LengthPrefixed::new(data, length_size) {
        put(unit?, &mut out);
    }
    Ok(out.freeze())
}

/// Appends one unit with a 4-byte length. Units come from one message or datagram, far below 4 GiB.
pub fn put(unit: &[u8], out: &mut BytesMut) {
    out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
    out.put_slice(unit);
}

const START_CODE: [u8; 3] = [0, 0, 1];

/// Puts `new` in place of the parameter set in `sets` that has the same number, or behind all if it is the first with it. Returns
/// whether anything changed. `number` reads a set's number. Sets that no configuration record could hold are ignored.
pub(super) fn replace_set(
    sets: &mut Vec<Bytes>,
    new: &[u8],
    max_sets: usize,
    number: impl Fn(&[u8]) -> Option<u32>,
) -> bool {
    if sets.iter().any(|set| set[..] == *new) || new.len() > usize::from(u16::MAX) {
        return false;
    }
    let Some(id) = number(new) else { return false };
    let new = Bytes::copy_from_slice(new);
    match sets.iter().position(|set| number(set) == Some(id)) {
        Some(at) => sets[at] = new,
        None if sets.len() < max_sets => sets.push(new),
        None => return false,
    }
    true
}

/// Whether an SEI payload (behind the NAL unit header) has a recovery point message: payload type 6 in H.264 (D.1.8) and in
/// H.265 (D.2.8). Decoding may start there although no IDR picture does (open GOP, intra refresh).
pub(super) fn has_recovery_point(sei: &[u8]) -> bool {
    const RECOVERY_POINT: u64 = 6;
    let mut rest = sei;
    // Each message takes two bytes at least; what is left at the end are the trailing bits.
    while rest.len() > 2 {
        let Some(kind) = sei_number(&mut rest) else {
            return false;
        };
        let Some(len) = sei_number(&mut rest) else {
            return false;
        };
        if kind == RECOVERY_POINT {
            return true;
        }
        let Some(next) = usize::try_from(len).ok().and_then(|len| rest.get(len..)) else {
            return false;
        };
        rest = next;
    }
    false
}

/// `ff_byte`s and a last byte (H.264, 7.3.2.3.1).
fn sei_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    loop {
        let (byte, next) = rest.split_first()?;
        *rest = next;
        number += u64::from(*byte);
        if *byte != 0xff {
            return Some(number);
        }
    }
}

/// Reads the parts of a configuration record.
pub(super) struct RecordReader<'a> {
    data: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(data: &'a [u8], what: &'static str) -> Self {
        Self { data, at: 0, what }
    }

    pub(super) fn bytes(&mut self, need: usize) -> Result<&'a [u8], Error> {
        let rest = self.rest();
        let bytes = rest.get(..need).ok_or(Error::Truncated {
            what: self.what,
            at: self.at,
            need,
            got: rest.len(),
        })?;
        self.at += need;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
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

    /// A NAL unit behind a 16-bit length.
    pub(super) fn unit(&mut self) -> Result<Bytes, Error> {
        let len = self.u16()?;
        Ok(Bytes::copy_from_slice(self.bytes(usize::from(len))?))
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }
}

/// Appends a NAL unit behind a 16-bit length. Record types keep longer ones out.
pub(super) fn put_unit(unit: &[u8], out: &mut BytesMut) {
    debug_assert!(unit.len() <= usize::from(u16::MAX));
    out.put_u16(unit.len() as u16);
    out.put_slice(unit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn start_codes_of_three_and_four_bytes_are_found() {
        let stream = [
            9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 0, 1, 0x65, 3, 0, 0,
        ];
        let units: Vec<_> = AnnexB::new(&stream).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(
            &from_annex_b(&stream)[..],
            [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x68, 2, 0, 0, 0, 2, 0x65, 3]
        );
        assert_eq!(AnnexB::new(&[0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn lengths_beyond_the_end_are_errors_and_padding_is_not() {
        let units = |data: &'static [u8]| LengthPrefixed::new(data, 4).collect::<Vec<_>>();
        assert_eq!(units(&[0, 0, 0, 1, 9, 0, 0, 0]), [Ok(&[9][..])]);
        assert_eq!(units(&[0, 0, 0, 0, 0, 0, 0, 1, 9]), [Ok(&[9][..])]);
        assert_eq!(
            units(&[0xff, 0xff, 0xff, 0xff, 9]),
            [Err(Error::Truncated {
                what: "NAL unit",
                at: 0,
                need: 0xffff_ffff,
                got: 1
            })]
        );
        assert_eq!(
            units(&[0, 1, 2]),
            [Err(Error::Truncated {
                what: "NAL unit length",
                at: 0,
                need: 4,
                got: 3
            })]
        );
    }

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        assert!(has_recovery_point(&[5, 2, 0xaa, 0xbb, 6, 1, 0xc4, 0x80]));
        assert!(!has_recovery_point(&[5, 2, 6, 6, 1, 1, 0xc4, 0x80]));
        assert!(!has_recovery_point(&[0xff; 30]));
    }

    /// What a NAL unit can be: no start code inside, no zero byte at the end.
    fn unit() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(
            prop_oneof![2 => Just(0u8), 1 => Just(1u8), 2 => any::<u8>()],
            0..40,
        )
        .prop_map(|raw| {
            let mut unit = vec![0x65];
            for byte in raw {
                if unit.ends_with(&[0, 0]) && byte <= 3 {
                    unit.push(3);
                }
                unit.push(byte);
            }
            unit.push(0x80);
            unit
        })
    }

    proptest! {
        #[test]
        fn units_survive_every_form(units in proptest::collection::vec(unit(), 0..6), size in 1u8..=4) {
            let mut prefixed = BytesMut::new();
            for unit in &units {
                prefixed.put_slice(&(unit.len() as u32).to_be_bytes()[4 - usize::from(size)..]);
                prefixed.put_slice(unit);
            }
            let prefixed = prefixed.freeze();
            let four = with_four_byte_lengths(&prefixed, size).unwrap();
            let mut annex_b = BytesMut::new();
            to_annex_b(&prefixed, size, &mut annex_b).unwrap();
            prop_assert_eq!(AnnexB::new(&annex_b).collect::<Vec<_>>(), units.clone());
            prop_assert_eq!(from_annex_b(&annex_b), four.clone());
            let back: Vec<_> = LengthPrefixed::new(&four, 4).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(back, units);
        }

        #[test]
        fn any_bytes_can_be_iterated(data in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200), size in 0u8..6) {
            let units = LengthPrefixed::new(&data, size).count();
            prop_assert!(units <= data.len());
            let annex_b: usize = AnnexB::new(&data).map(<[u8]>::len).sum();
            prop_assert!(annex_b <= data.len());
            has_recovery_point(&data);
        }
    }
}
