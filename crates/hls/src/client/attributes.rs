//! Attribute lists of tags (RFC 8216bis, section 4.2).

/// `NAME=value,NAME="quoted, value"`. Blanks around commas are passed over, which several packagers write.
pub(super) struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Attributes<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The value of an attribute, without quotes. The first one counts if there are several.
    pub fn get(text: &'a str, name: &str) -> Option<&'a str> {
        Self::new(text)
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.rest.trim_start_matches([',', ' ', '\t']).split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            // Without its second quotation mark the value goes on to the end of the line.
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (value, rest) = rest.split_at(end);
                (value.trim_end(), rest)
            }
        };
        self.rest = rest;
        Some((name.trim_end(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        assert_eq!(Attributes::new(text).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn commas_inside_quotes_belong_to_the_value() {
        check(
            r#"BANDWIDTH=1280000, CODECS="avc1.4d401f,mp4a.40.2" ,AUDIO="a=b",X="#,
            &[
                ("BANDWIDTH", "1280000"),
                ("CODECS", "avc1.4d401f,mp4a.40.2"),
                ("AUDIO", "a=b"),
                ("X", ""),
            ],
        );
    }

    #[test]
    fn rubbish_ends_the_list() {
        check("", &[]);
        check("A=1,rubbish", &[("A", "1")]);
        check("A=\"open,B=2", &[("A", "open,B=2")]);
        check("A=\"x\"rubbish,B=2", &[("A", "x"), ("rubbish,B", "2")]);
    }
}
