//! A lenient reader of JSON: what ZLM's parser accepts from existing hook services, with bounds.
//!
//! Beyond RFC 8259 it takes a byte order mark, `/* */` and `//` comments, trailing commas, anything after the value, raw control
//! characters and bytes that are not UTF-8 inside strings (older services answer in GBK). Of duplicate members the last wins.

use serde_json::{Map, Number, Value};

/// Deepest nesting. Answers have two levels; the bound keeps the recursion small.
pub const MAX_DEPTH: usize = 64;

/// Why a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing but blanks and comments.
    #[error("empty")]
    Empty,
    /// A byte that cannot stand here.
    #[error("unexpected byte 0x{got:02x} at {at}, wanted {wanted}")]
    Unexpected {
        /// Offset in bytes.
        at: usize,
        /// The byte.
        got: u8,
        /// What could stand there.
        wanted: &'static str,
    },
    /// The text ends inside a value.
    #[error("ends at {at}, wanted {wanted}")]
    Truncated {
        /// Offset in bytes.
        at: usize,
        /// What could stand there.
        wanted: &'static str,
    },
    /// A number that is none, or too large for a double.
    #[error("bad number at {at}")]
    BadNumber {
        /// Offset in bytes.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} at {at}")]
    TooDeep {
        /// Offset in bytes.
        at: usize,
    },
    /// A hook answer must be an object.
    #[error("not an object but {got}")]
    NotAnObject {
        /// The kind of value.
        got: &'static str,
    },
}

/// Reads the first value of `text`; what follows it is not looked at.
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut reader = Reader { text, at: 0 };
    reader.skip_blanks()?;
    if reader.at == text.len() {
        return Err(Error::Empty);
    }
    reader.value(0)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn wanted(&self, wanted: &'static str) -> Error {
        match self.peek() {
            Some(got) => Error::Unexpected {
                at: self.at,
                got,
                wanted,
            },
            None => Error::Truncated { at: self.at, wanted },
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn skip_blanks(&mut self) -> Result<(), Error> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'/') => self.skip_comment()?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        let len = match rest.get(1) {
            Some(b'*') => rest[2..]
                .windows(2)
                .position(|pair| pair == b"*/")
                .map(|end| end + 4),
            Some(b'/') => Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())),
            Some(_) | None => return Err(self.wanted("a value")),
        };
        self.at += len.ok_or(Error::Truncated {
            at: self.text.len(),
            wanted: "the end of a comment",
        })?;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { at: self.at });
        }
        self.skip_blanks()?;
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) | None => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        self.at += 1;
        let mut members = Map::new();
        loop {
            self.skip_blanks()?;
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if self.peek() != Some(b'"') {
                return Err(self.wanted("a member name or }"));
            }
            let name = self.string()?;
            self.skip_blanks()?;
            if !self.take(b':') {
                return Err(self.wanted(":"));
            }
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            self.skip_blanks()?;
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(self.wanted(", or }"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Error> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.take(b']') {
                return Ok(Value::Array(elements));
            }
            elements.push(self.value(depth + 1)?);
            self.skip_blanks()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return Err(self.wanted(", or ]"));
            }
        }
    }

    fn string(&mut self) -> Result<String, Error> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match String::from_utf8(bytes) {
                        Ok(text) => text,
                        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
                    });
                }
                Some(b'\\') => {
                    self.at += 1;
                    let character = self.escape()?;
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(byte) => {
                    self.at += 1;
                    bytes.push(byte);
                }
                None => return Err(self.wanted("\"")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            Some(_) | None => return Err(self.wanted("an escape character")),
        };
        self.at += 1;
        Ok(character)
    }

    /// After `\u`. A surrogate without its partner becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, Error> {
        let first = self.four_hex_digits()?;
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.four_hex_digits()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn four_hex_digits(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.wanted("a hexadecimal digit"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, Error> {
        let start = self.at;
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let len = self.text[start..].iter().take_while(|byte| is_part(byte)).count();
        self.at += len;
        // Only ASCII was taken.
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        let number = if let Ok(number) = text.parse::<i64>() {
            Some(Number::from(number))
        } else if let Ok(number) = text.parse::<u64>() {
            Some(Number::from(number))
        } else {
            text.parse::<f64>().ok().and_then(Number::from_f64)
        };
        number.map(Value::Number).ok_or(Error::BadNumber { at: start })
    }

    fn literal(&mut self) -> Result<Value, Error> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        for (word, value) in words {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wanted("a value"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &[u8], expected: Result<Value, Error>) {
        assert_eq!(parse(text), expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn what_zlm_tolerates_is_read() {
        let expected = json!({"code": 0, "a": [1, "x"]});
        for text in [
            r#"{"code":0,"a":[1,"x"]}"#,
            "\u{feff}{\"code\":0,\"a\":[1,\"x\"]}",
            "/* hi */ {\"code\": /* zero */ 0, // rest of the line\n \"a\":[1,\"x\"]}",
            r#"{"code":0,"a":[1,"x",],}"#,
            r#"{"code":0,"a":[1,"x"]} and more"#,
            r#"{"code":7,"code":0,"a":[1,"x"]}"#,
        ] {
            check(text.as_bytes(), Ok(expected.clone()));
        }
        check(b"0.0", Ok(json!(0.0)));
        check(b"-0", Ok(json!(0)));
        check(b"9223372036854775808", Ok(json!(9_223_372_036_854_775_808_u64)));
        check(b"\"\\u4f60\\ud83d\\ude00\\n\xff\"", Ok(json!("你😀\n\u{fffd}")));
        check(br#""\ud800x""#, Ok(json!("\u{fffd}x")));
    }

    #[test]
    fn what_is_no_json_is_refused_with_the_place() {
        check(b"", Err(Error::Empty));
        check(b" /* only a comment */ ", Err(Error::Empty));
        check(
            b"ok",
            Err(Error::Unexpected {
                at: 0,
                got: b'o',
                wanted: "a value",
            }),
        );
        check(
            b"{'code':0}",
            Err(Error::Unexpected {
                at: 1,
                got: b'\'',
                wanted: "a member name or }",
            }),
        );
        check(
            br#"{"code":0"#,
            Err(Error::Truncated {
                at: 9,
                wanted: ", or }",
            }),
        );
        check(
            b"/* open",
            Err(Error::Truncated {
                at: 7,
                wanted: "the end of a comment",
            }),
        );
        check(b"1e999", Err(Error::BadNumber { at: 0 }));
        check(b"1-2", Err(Error::BadNumber { at: 0 }));
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        check(deep.as_bytes(), Err(Error::TooDeep { at: MAX_DEPTH + 1 }));
        let allowed = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(allowed.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text);
        }

        #[test]
        fn whatever_serde_writes_is_read_back(names in prop::collection::vec(".{0,8}", 0..6), number in any::<i64>()) {
            let value = json!({"names": names, "number": number, "half": 0.5, "none": null});
            prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value.clone()));
            prop_assert_eq!(parse(serde_json::to_string_pretty(&value).unwrap().as_bytes()), Ok(value));
        }
    }
}
