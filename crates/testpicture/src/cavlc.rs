//! Residual blocks in CAVLC (ITU-T H.264, 9.2), as far as needed: blocks whose neighbours have no coefficients.

use crate::bits::Writer;

/// Which table coeff_token is taken from (9.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 16 luma coefficients, 0 <= nC < 2.
    Luma,
    /// 4 chroma DC coefficients, nC = -1.
    ChromaDc,
}

/// Writes one residual block; `levels` in scan order, 16 of them for `Luma` and 4 for `ChromaDc`. Levels are within +-2000,
/// so that level_prefix stays within 15, as Baseline demands.
pub(crate) fn residual_block(bits: &mut Writer, kind: Kind, levels: &[i32]) {
    // (level, zeros before it), highest frequency first
    let mut coded: Vec<(i32, usize)> = Vec::with_capacity(levels.len());
    let mut zeros = 0;
    for level in levels {
        if *level == 0 {
            zeros += 1;
        } else {
            coded.insert(0, (*level, std::mem::take(&mut zeros)));
        }
    }
    let total = coded.len();
    let ones = coded
        .iter()
        .take(3)
        .take_while(|(level, _)| level.abs() == 1)
        .count();
    let (length, code) = match kind {
        Kind::Luma => COEFF_TOKEN[total][ones],
        Kind::ChromaDc => CHROMA_DC_COEFF_TOKEN[total][ones],
    };
    bits.u(length.into(), code.into());
    if total == 0 {
        return;
    }

    for (level, _) in &coded[..ones] {
        bits.flag(*level < 0);
    }
    let mut suffix_length = u32::from(total > 10 && ones < 3);
    for (index, (level, _)) in coded.iter().enumerate().skip(ones) {
        let mut code = if *level > 0 {
            2 * *level - 2
        } else {
            -2 * *level - 1
        } as u32;
        if index == ones && ones < 3 {
            code -= 2;
        }
        level_code(bits, suffix_length, code);
        suffix_length = suffix_length.max(1);
        if level.unsigned_abs() > 3 << (suffix_length - 1) && suffix_length < 6 {
            suffix_length += 1;
        }
    }

    let mut zeros_left: usize = coded.iter().map(|(_, zeros)| zeros).sum();
    if total < levels.len() {
        let (length, code) = match kind {
            Kind::Luma => (
                TOTAL_ZEROS_LENGTH[total - 1][zeros_left],
                TOTAL_ZEROS_CODE[total - 1][zeros_left],
            ),
            Kind::ChromaDc => CHROMA_DC_TOTAL_ZEROS[total - 1][zeros_left],
        };
        bits.u(length.into(), code.into());
    }
    for (_, run) in &coded[..total - 1] {
        if zeros_left == 0 {
            break;
        }
        let (length, code) = run_before(zeros_left, *run);
        bits.u(length, code);
        zeros_left -= run;
    }
}

/// level_prefix and level_suffix, the inverse of 9.2.2.1.
fn level_code(bits: &mut Writer, suffix_length: u32, code: u32) {
    let (prefix, size, suffix) = match suffix_length {
        0 if code < 14 => (code, 0, 0),
        0 if code < 30 => (14, 4, code - 14),
        0 => (15, 12, code - 30),
        n if code < 15 << n => (code >> n, n, code & ((1 << n) - 1)),
        n => (15, 12, code - (15 << n)),
    };
    bits.u(prefix, 0);
    bits.flag(true);
    bits.u(size, suffix);
}

/// Table 9-10: length and code.
fn run_before(zeros_left: usize, run: usize) -> (u32, u32) {
    const SHORT: [&[(u32, u32)]; 6] = [
        &[(1, 1), (1, 0)],
        &[(1, 1), (2, 1), (2, 0)],
        &[(2, 3), (2, 2), (2, 1), (2, 0)],
        &[(2, 3), (2, 2), (2, 1), (3, 1), (3, 0)],
        &[(2, 3), (2, 2), (3, 3), (3, 2), (3, 1), (3, 0)],
        &[(2, 3), (3, 0), (3, 1), (3, 3), (3, 2), (3, 5), (3, 4)],
    ];
    match SHORT.get(zeros_left - 1) {
        Some(row) => row[run],
        None if run < 7 => (3, 7 - run as u32),
        None => (run as u32 - 3, 1),
    }
}

/// Table 9-5, 0 <= nC < 2: (length, code) by TotalCoeff and TrailingOnes.
#[rustfmt::skip]
const COEFF_TOKEN: [[(u8, u8); 4]; 17] = [
    [(1, 1), (0, 0), (0, 0), (0, 0)],
    [(6, 5), (2, 1), (0, 0), (0, 0)],
    [(8, 7), (6, 4), (3, 1), (0, 0)],
    [(9, 7), (8, 6), (7, 5), (5, 3)],
    [(10, 7), (9, 6), (8, 5), (6, 3)],
    [(11, 7), (10, 6), (9, 5), (7, 4)],
    [(13, 15), (11, 6), (10, 5), (8, 4)],
    [(13, 11), (13, 14), (11, 5), (9, 4)],
    [(13, 8), (13, 10), (13, 13), (10, 4)],
    [(14, 15), (14, 14), (13, 9), (11, 4)],
    [(14, 11), (14, 10), (14, 13), (13, 12)],
    [(15, 15), (15, 14), (14, 9), (14, 12)],
    [(15, 11), (15, 10), (15, 13), (14, 8)],
    [(16, 15), (15, 1), (15, 9), (15, 12)],
    [(16, 11), (16, 14), (16, 13), (15, 8)],
    [(16, 7), (16, 10), (16, 9), (16, 12)],
    [(16, 4), (16, 6), (16, 5), (16, 8)],
];

/// Table 9-5, nC = -1.
const CHROMA_DC_COEFF_TOKEN: [[(u8, u8); 4]; 5] = [
    [(2, 1), (0, 0), (0, 0), (0, 0)],
    [(6, 7), (1, 1), (0, 0), (0, 0)],
    [(6, 4), (6, 6), (3, 1), (0, 0)],
    [(6, 3), (7, 3), (7, 2), (6, 5)],
    [(6, 2), (8, 3), (8, 2), (7, 0)],
];

/// Tables 9-7 and 9-8: length of total_zeros by TotalCoeff - 1.
const TOTAL_ZEROS_LENGTH: [&[u8]; 15] = [
    &[1, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9],
    &[3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6, 6],
    &[4, 3, 3, 3, 4, 4, 3, 3, 4, 5, 5, 6, 5, 6],
    &[5, 3, 4, 4, 3, 3, 3, 4, 3, 4, 5, 5, 5],
    &[4, 4, 4, 3, 3, 3, 3, 3, 4, 5, 4, 5],
    &[6, 5, 3, 3, 3, 3, 3, 3, 4, 3, 6],
    &[6, 5, 3, 3, 3, 2, 3, 4, 3, 6],
    &[6, 4, 5, 3, 2, 2, 3, 3, 6],
    &[6, 6, 4, 2, 2, 3, 2, 5],
    &[5, 5, 3, 2, 2, 2, 4],
    &[4, 4, 3, 3, 1, 3],
    &[4, 4, 2, 1, 3],
    &[3, 3, 1, 2],
    &[2, 2, 1],
    &[1, 1],
];

/// The codes to these lengths.
const TOTAL_ZEROS_CODE: [&[u8]; 15] = [
    &[1, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 1],
    &[7, 6, 5, 4, 3, 5, 4, 3, 2, 3, 2, 3, 2, 1, 0],
    &[5, 7, 6, 5, 4, 3, 4, 3, 2, 3, 2, 1, 1, 0],
    &[3, 7, 5, 4, 6, 5, 4, 3, 3, 2, 2, 1, 0],
    &[5, 4, 3, 7, 6, 5, 4, 3, 2, 1, 1, 0],
    &[1, 1, 7, 6, 5, 4, 3, 2, 1, 1, 0],
    &[1, 1, 5, 4, 3, 3, 2, 1, 1, 0],
    &[1, 1, 1, 3, 3, 2, 2, 1, 0],
    &[1, 0, 1, 3, 2, 1, 1, 1],
    &[1, 0, 1, 3, 2, 1, 1],
    &[0, 1, 1, 2, 1, 3],
    &[0, 1, 1, 1, 1],
    &[0, 1, 1, 1],
    &[0, 1, 1],
    &[0, 1],
];

/// Table 9-9(a): (length, code) by TotalCoeff - 1.
const CHROMA_DC_TOTAL_ZEROS: [&[(u8, u8)]; 3] = [
    &[(1, 1), (2, 1), (3, 1), (3, 0)],
    &[(1, 1), (2, 1), (2, 0)],
    &[(1, 1), (1, 0)],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// No code may be the beginning of another, and together they must use up the code space (some tables leave a gap).
    fn check(codes: impl Iterator<Item = (u32, u32)>, expected_gap: f64) {
        let codes: Vec<_> = codes.filter(|(length, _)| *length > 0).collect();
        for (i, (length, code)) in codes.iter().enumerate() {
            assert!(*code < 1 << length);
            for (other_length, other) in &codes[i + 1..] {
                let shorter = *length.min(other_length);
                assert_ne!(
                    code >> (length - shorter),
                    other >> (other_length - shorter),
                    "{codes:?}"
                );
            }
        }
        let gap = 1.0
            - codes
                .iter()
                .map(|(length, _)| 0.5f64.powi(*length as i32))
                .sum::<f64>();
        assert_eq!(gap, expected_gap, "{codes:?}");
    }

    #[test]
    fn tables_are_prefix_codes() {
        let pair = |(length, code): &(u8, u8)| (u32::from(*length), u32::from(*code));
        let gap = |bits: i32| 0.5f64.powi(bits);
        check(COEFF_TOKEN.iter().flatten().map(pair), gap(15));
        check(CHROMA_DC_COEFF_TOKEN.iter().flatten().map(pair), 0.0);
        for (lengths, codes) in TOTAL_ZEROS_LENGTH.iter().zip(TOTAL_ZEROS_CODE) {
            let pairs = lengths
                .iter()
                .zip(codes)
                .map(|(length, code)| (u32::from(*length), u32::from(*code)));
            check(pairs, if lengths.len() == 16 { gap(9) } else { 0.0 });
        }
        for row in CHROMA_DC_TOTAL_ZEROS {
            check(row.iter().map(pair), 0.0);
        }
        for zeros_left in 1..=6 {
            check((0..=zeros_left).map(|run| run_before(zeros_left, run)), 0.0);
        }
        check((0..=14).map(|run| run_before(14, run)), gap(11));
    }

    #[test]
    fn worked_example() {
        // 0, 3, 0, 1, -1, -1, 0, 1, 0..: coeff_token 0000100, signs 0 1 1, level 1 as 1, level 3 as 0010, zeros 111, runs 10 1 1 01
        let mut bits = Writer::default();
        residual_block(
            &mut bits,
            Kind::Luma,
            &[0, 3, 0, 1, -1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!(bits.into_bytes(), [0b0000_1000, 0b1110_0101, 0b1110_1101]);
    }
}
