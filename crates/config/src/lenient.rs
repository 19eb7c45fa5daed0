//! How ZLM reads text that arrives over the network: API parameters (api.md, section 1.3) and members of hook answers
//! (hooks.md, section 7). Nothing is an error here. Values of the configuration file are read strictly instead, see
//! [`crate::key`].

/// Reads a switch: `1` (also `01`, `1.5`) and `true` in any case are on, everything else is off, also `2` and `yes`.
pub fn boolean(text: &str) -> bool {
    int(text) == 1 || text.trim().eq_ignore_ascii_case("true")
}

/// Reads the whole number that `text` starts with: `12abc` is 12, `1500.75` is 1500. Without one, or out of the range of
/// `i64`, it is 0.
pub fn int(text: &str) -> i64 {
    let text = text.trim_start();
    let digits_from = usize::from(text.starts_with(['+', '-']));
    let digits = text[digits_from..].bytes().take_while(u8::is_ascii_digit).count();
    text[..digits_from + digits].parse().unwrap_or(0)
}

/// Reads a whole number as [`int`] does; negative ones are 0.
pub fn uint(text: &str) -> u64 {
    u64::try_from(int(text)).unwrap_or(0)
}

/// Reads the decimal number that `text` starts with, without exponent: `1.5s` is 1.5. Without one it is 0.
pub fn float(text: &str) -> f64 {
    let text = text.trim_start();
    let mut end = usize::from(text.starts_with(['+', '-']));
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    end += digits(end);
    if text[end..].starts_with('.') {
        end += 1 + digits(end + 1);
    }
    text[..end]
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_as_zlm_reads_them() {
        for on in ["1", "01", "1.5", "true", "TRUE", "True", " 1", "+1"] {
            assert!(boolean(on), "{on:?}");
        }
        for off in ["0", "2", "yes", "on", "-1", "", "false", "11", "0.9", "truely"] {
            assert!(!boolean(off), "{off:?}");
        }
    }

    #[test]
    fn numbers_use_what_the_text_starts_with() {
        for (text, number) in [
            ("12abc", 12),
            ("1500.75", 1500),
            ("abc", 0),
            ("", 0),
            ("-3", -3),
            ("99999999999999999999", 0),
            ("-", 0),
            (" 7", 7),
            ("\u{661}", 0),
        ] {
            assert_eq!(int(text), number, "{text:?}");
        }
        assert_eq!(uint("-3"), 0);
        for (text, number) in [
            ("1.5s", 1.5),
            (".5", 0.5),
            ("2.", 2.0),
            ("x", 0.0),
            (".", 0.0),
            ("-0.25", -0.25),
        ] {
            assert!((float(text) - number).abs() < 1e-9, "{text:?}");
        }
        assert!(
            float(&"9".repeat(400)).abs() < 1e-9,
            "infinity is not a number of seconds"
        );
    }
}
