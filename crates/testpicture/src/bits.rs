//! Bits of a NAL unit: u(n), ue(v), se(v) (ITU-T H.264, 7.2 and 9.1).

/// Collects bits, most significant first.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Bits used in the last byte; 0 = it is full (or there is none).
    used: u32,
}

impl Writer {
    /// u(n): the low `n` bits (at most 32) of `value`.
    pub(crate) fn u(&mut self, n: u32, value: u32) {
        for bit in (0..n).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            // A byte was pushed when there was none, so there is a last one.
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// u(1)
    pub(crate) fn flag(&mut self, value: bool) {
        self.u(1, value.into());
    }

    /// ue(v), 9.1
    pub(crate) fn ue(&mut self, value: u32) {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        self.u(length - 1, 0);
        self.u(length, code);
    }

    /// se(v), 9.1.1
    pub(crate) fn se(&mut self, value: i32) {
        self.ue(if value > 0 {
            value.unsigned_abs() * 2 - 1
        } else {
            value.unsigned_abs() * 2
        });
    }

    /// Fills the last byte with zeros.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds rbsp_trailing_bits (7.3.2.11), emulation prevention (7.4.1) and the header byte.
    pub(crate) fn into_nal(mut self, ref_idc: u8, unit_type: u8) -> Vec<u8> {
        self.flag(true);
        let mut nal = Vec::with_capacity(self.bytes.len() + 16);
        nal.push(ref_idc << 5 | unit_type);
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros >= 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            nal.push(byte);
            zeros = if byte == 0 { zeros + 1 } else { 0 };
        }
        nal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes() {
        let mut bits = Writer::default();
        (0..5).for_each(|value| bits.ue(value)); // 1 010 011 00100 00101
        [0, 1, -1, 2].into_iter().for_each(|value| bits.se(value)); // 1 010 011 00100
        assert_eq!(
            bits.into_bytes(),
            [0b1010_0110, 0b0100_0010, 0b1101_0011, 0b0010_0000]
        );
    }

    #[test]
    fn emulation_prevention() {
        let mut bits = Writer::default();
        [0, 0, 0, 0, 0, 1, 0, 0, 4]
            .into_iter()
            .for_each(|byte| bits.u(8, byte));
        assert_eq!(bits.into_nal(3, 5), [0x65, 0, 0, 3, 0, 0, 3, 0, 1, 0, 0, 4, 0x80]);
    }
}
