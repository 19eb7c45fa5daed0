//! The checksum of sections: CRC-32/MPEG-2 (ISO/IEC 13818-1, annex A).

/// Over all of `data`. Over a whole section with its checksum it is 0.
pub(super) fn crc32(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc >> 24) as u8 ^ byte;
        crc << 8 ^ TABLE[usize::from(index)]
    })
}

/// Remainders of single bytes.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut rest = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 0x8000_0000 == 0 {
                rest << 1
            } else {
                rest << 1 ^ POLYNOMIAL
            };
            bit += 1;
        }
        table[index] = rest;
        index += 1;
    }
    table
};

/// Most significant bit first, without its x^32.
const POLYNOMIAL: u32 = 0x04c1_1db7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_check_value_and_a_section_of_ffmpeg() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
        let pat = [
            0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 4, 0xb2,
        ];
        assert_eq!(crc32(&pat), 0);
    }
}
