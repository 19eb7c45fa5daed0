//! Lists of challenges and parameters (RFC 9110, section 11).

/// A scheme with its parameters. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// As sent.
    pub(super) scheme: String,
    params: Vec<(String, String)>,
}

impl Item {
    /// The first parameter of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a header: one or more schemes, each with parameters; at most 16 schemes with 32 parameters each. Reads what it can:
/// quotes may be missing around values, and at the end.
pub(super) fn parse(header: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return items;
        }
        let word;
        (word, rest) = rest.split_at(rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len()));
        match rest.trim_start().strip_prefix('=') {
            Some(behind) => {
                let value;
                (value, rest) = take_value(behind.trim_start());
                if let Some(item) = items.last_mut()
                    && item.params.len() < MAX_PARAMS
                {
                    item.params.push((word.to_ascii_lowercase(), value));
                }
            }
            None if items.len() == MAX_ITEMS => return items,
            None => items.push(Item {
                scheme: word.to_owned(),
                params: Vec::new(),
            }),
        }
    }
}

/// A value, and what follows it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
        return (value.trim_end().to_owned(), rest);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

/// `text` in quotes. Control characters become spaces.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Schemes of one header.
const MAX_ITEMS: usize = 16;

/// Parameters of one scheme. Digest has about twelve.
const MAX_PARAMS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_challenges_in_one_header() {
        let items = parse(
            r#"Digest realm="a, \"b\"",nonce = "c=", algorithm=MD5 , stale=FALSE, Basic realm="d", Negotiate"#,
        );
        let schemes: Vec<_> = items.iter().map(|item| item.scheme.as_str()).collect();
        assert_eq!(schemes, ["Digest", "Basic", "Negotiate"]);
        assert_eq!(items[0].get("realm"), Some("a, \"b\""));
        assert_eq!(items[0].get("nonce"), Some("c="));
        assert_eq!(items[0].get("algorithm"), Some("MD5"));
        assert_eq!(items[0].get("stale"), Some("FALSE"));
        assert_eq!(items[1].get("realm"), Some("d"));
    }

    #[test]
    fn quotes_may_be_missing() {
        let items = parse(r#"Digest realm=IP Camera(12345), nonce="abc"#);
        assert_eq!(items[0].get("realm"), Some("IP Camera(12345)"));
        assert_eq!(items[0].get("nonce"), Some("abc"));
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_read_back(text in "[ -~äö]{0,20}") {
            let items = parse(&format!("X a={}, b=1", quote(&text)));
            prop_assert_eq!(items[0].get("a"), Some(text.as_str()));
            prop_assert_eq!(items[0].get("b"), Some("1"));
        }

        #[test]
        fn hostile_text_does_no_harm(text in ".{0,200}", more in "[a=\", \\\\]{0,100}") {
            prop_assert!(parse(&text).len() <= MAX_ITEMS);
            prop_assert!(parse(&more).len() <= MAX_ITEMS);
        }
    }
}
