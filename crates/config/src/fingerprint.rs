//! Fingerprints of certificates.

use std::fmt;

/// The SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// 64 hexadecimal digits, with or without colons between the bytes, as `openssl x509 -fingerprint -sha256` prints them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let mut digits = text.chars();
        for (at, byte) in bytes.iter_mut().enumerate() {
            let mut next = digits.next()?;
            if at > 0 && next == ':' {
                next = digits.next()?;
            }
            let (high, low) = (next.to_digit(16)?, digits.next()?.to_digit(16)?);
            *byte = (high * 16 + low) as u8;
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at > 0 { ":" } else { "" };
            write!(out, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_digits_with_or_without_colons() {
        let plain = "00ff".repeat(16);
        let colons = format!("{}00:FF", "00:fF:".repeat(15));
        let parsed = Fingerprint::parse(&plain).unwrap();
        assert_eq!(Fingerprint::parse(&colons), Some(parsed));
        assert_eq!(parsed.to_string(), colons.to_uppercase());
        assert_eq!(Fingerprint::parse(&parsed.to_string()), Some(parsed));
        for bad in [
            "",
            "00",
            &plain[1..],
            &format!("{plain}0"),
            &format!(":{plain}"),
            &format!("{plain}:"),
            &"zz".repeat(32),
        ] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }
}
