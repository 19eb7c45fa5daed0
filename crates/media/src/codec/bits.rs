//! Reading bits, with the codes that the video standards use.

use super::Error;

/// Reads bits from the front of a slice, most significant first. Never reads beyond the end.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    /// Byte that comes next.
    at: usize,
    /// Bits of `data[at]` already used, 0..8.
    used: u8,
    /// Leave out the emulation prevention bytes of H.264 (7.4.1.1) and H.265 (7.4.2.1).
    escaped: bool,
    /// Zero bytes directly before `at`.
    zeros: u8,
    what: &'static str,
}

impl<'a> BitReader<'a> {
    /// Reads `data` as it is. `what` names the structure in errors.
    pub fn new(data: &'a [u8], what: &'static str) -> Self {
        Self {
            data,
            at: 0,
            used: 0,
            escaped: false,
            zeros: 0,
            what,
        }
    }

    /// Reads the payload of a NAL unit, leaving out emulation prevention bytes.
    pub fn rbsp(data: &'a [u8], what: &'static str) -> Self {
        Self {
            escaped: true,
            ..Self::new(data, what)
        }
    }

    /// One bit.
    pub fn bit(&mut self) -> Result<bool, Error> {
        if self.used == 0 && self.escaped && self.zeros >= 2 && self.data.get(self.at) == Some(&3) {
            self.at += 1;
            self.zeros = 0;
        }
        let Some(&byte) = self.data.get(self.at) else {
            return Err(Error::Truncated {
                what: self.what,
                at: self.at,
                need: 1,
                got: 0,
            });
        };
        let bit = byte >> (7 - self.used) & 1 != 0;
        self.used += 1;
        if self.used == 8 {
            self.used = 0;
            self.at += 1;
            self.zeros = if byte == 0 {
                self.zeros.saturating_add(1)
            } else {
                0
            };
        }
        Ok(bit)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub fn u(&mut self, count: u32) -> Result<u32, Error> {
        debug_assert!(count <= 32);
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Ok(value)
    }

    /// An unsigned number of at most 8 bits.
    pub fn u8(&mut self, count: u32) -> Result<u8, Error> {
        debug_assert!(count <= 8);
        Ok(self.u(count)? as u8)
    }

    /// Leaves out `count` bits.
    pub fn skip(&mut self, count: u32) -> Result<(), Error> {
        for _ in 0..count {
            self.bit()?;
        }
        Ok(())
    }

    /// An unsigned Exp-Golomb code, `ue(v)` (H.264, 9.1).
    pub fn ue(&mut self) -> Result<u32, Error> {
        let zeros = self.leading_zeros()?;
        // 32 leading zeros would make a code above 2^32 - 2.
        let base = (1u64 << zeros) - 1;
        Ok((base + u64::from(self.u(zeros)?)) as u32)
    }

    /// A signed Exp-Golomb code, `se(v)` (H.264, 9.1.1).
    pub fn se(&mut self) -> Result<i32, Error> {
        let code = i64::from(self.ue()?);
        Ok(if code & 1 == 1 {
            (code + 1) / 2
        } else {
            -(code / 2)
        } as i32)
    }

    /// `uvlc()` of AV1 (4.10.3): as `ue(v)`, but 32 zeros and more mean 2^32 - 1.
    pub fn uvlc(&mut self) -> Result<u32, Error> {
        let mut zeros = 0u32;
        while !self.bit()? {
            zeros += 1;
        }
        if zeros >= 32 {
            return Ok(u32::MAX);
        }
        Ok(((1u64 << zeros) - 1 + u64::from(self.u(zeros)?)) as u32)
    }

    /// Where the next bit is, in bits from the start.
    pub fn position(&self) -> usize {
        self.at * 8 + usize::from(self.used)
    }

    fn leading_zeros(&mut self) -> Result<u32, Error> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Error::Value {
                    what: self.what,
                    got: u64::from(zeros),
                    allowed: "an Exp-Golomb code has at most 31 leading zeros (H.264, 9.1)",
                });
            }
        }
        Ok(zeros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_those_of_the_standards_table() {
        // 1, 010, 011, 00100, 00101: 0, 1, 2, 3, 4.
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000], "table");
        assert_eq!(
            (0..5).map(|_| bits.ue().unwrap()).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000], "table");
        assert_eq!(
            (0..5).map(|_| bits.se().unwrap()).collect::<Vec<_>>(),
            [0, 1, -1, 2, -2]
        );
    }

    #[test]
    fn the_longest_code_fits_and_a_longer_one_is_refused() {
        let mut longest = BitReader::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe], "code");
        assert_eq!(longest.ue(), Ok(u32::MAX - 1));
        assert!(BitReader::new(&[0; 40], "code").ue().is_err());
        assert!(BitReader::new(&[0; 3], "code").ue().is_err());
    }

    #[test]
    fn emulation_prevention_bytes_are_left_out_only_where_they_stand() {
        let mut bits = BitReader::rbsp(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3], "payload");
        let bytes: Vec<u8> = (0..8).map(|_| bits.u8(8).unwrap()).collect();
        assert_eq!(bytes, [0, 0, 1, 0, 0, 0, 0, 3]);
        assert!(bits.bit().is_err());
    }
}
