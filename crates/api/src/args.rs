//! The parameters of a request (api.md, section 1.3): query string, then body, then request headers.

use crate::describe::About;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use config::lenient;
use std::borrow::Cow;

/// The parameter that every endpoint reads.
pub(crate) const SECRET: &str = "secret";

/// Most parameters taken from the query string, and from the body. `setServerConfig` may name every configuration key at
/// once, about 250; further parameters are ignored.
const MAX_PARAMS: usize = 1000;

/// The parameters of one request.
///
/// Names are compared without case. Within the query string, and within the body, the last of several wins. A parameter that
/// is empty counts as missing, so the next source is asked.
#[derive(Default)]
pub struct Args {
    query: Vec<(String, String)>,
    body: Vec<(String, String)>,
    headers: HeaderMap,
    /// The endpoint that reads them.
    about: Option<&'static About>,
}

impl Args {
    /// Reads the parameters of a request. Never fails: what cannot be read is no parameter.
    pub fn read(query: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        Self {
            query: form(query.as_bytes()),
            body: from_body(headers, body),
            headers: headers.clone(),
            about: None,
        }
    }

    /// The same for an endpoint that reads no other parameters than those it describes, which is checked in builds with debug
    /// assertions.
    pub fn described_by(mut self, about: &'static About) -> Self {
        self.about = Some(about);
        self
    }

    /// The text of a parameter; `None` if it is missing or empty.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        debug_assert!(
            name == SECRET || self.about.is_none_or(|about| about.describes(name)),
            "the parameter \"{name}\" is read and not described"
        );
        last(&self.query, name)
            .or_else(|| last(&self.body, name))
            .map(Cow::Borrowed)
            .or_else(|| self.header(name))
    }

    /// The text of a parameter; empty if it is missing.
    pub fn text(&self, name: &str) -> Cow<'_, str> {
        self.get(name).unwrap_or(Cow::Borrowed(""))
    }

    /// A switch; `None` if it is missing.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.get(name).map(|text| lenient::boolean(&text))
    }

    /// A switch that is off unless it is given.
    pub fn flag(&self, name: &str) -> bool {
        self.bool(name).unwrap_or(false)
    }

    /// A whole number; `None` if it is missing.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name).map(|text| lenient::int(&text))
    }

    /// A number; `None` if it is missing.
    pub fn float(&self, name: &str) -> Option<f64> {
        self.get(name).map(|text| lenient::float(&text))
    }

    /// The value of the parameter with exactly this name, case included, which may be empty. Only for configuration keys:
    /// there an empty value is a value. Header names arrive without their case, so a header matches in any case.
    pub fn exact(&self, name: &str) -> Option<Cow<'_, str>> {
        let in_source = |source: &'_ [(String, String)]| source.iter().rposition(|(known, _)| known == name);
        if let Some(index) = in_source(&self.query) {
            return Some(Cow::Borrowed(&self.query[index].1));
        }
        if let Some(index) = in_source(&self.body) {
            return Some(Cow::Borrowed(&self.body[index].1));
        }
        self.header(name)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = String::from_utf8_lossy(self.headers.get(name)?.as_bytes());
        (!value.is_empty()).then_some(value)
    }
}

fn last<'a>(source: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = source
        .iter()
        .rfind(|(known, _)| known.eq_ignore_ascii_case(name))?;
    (!value.is_empty()).then_some(value)
}

fn from_body(headers: &HeaderMap, body: &[u8]) -> Vec<(String, String)> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    let is = |prefix: &str| {
        content_type
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    if is("application/x-www-form-urlencoded") {
        form(body)
    } else if is("application/json") {
        json(body)
    } else {
        Vec::new()
    }
}

/// `a=1&b=2`. Values are percent-decoded and `+` is a space; names are taken as they are.
fn form(text: &[u8]) -> Vec<(String, String)> {
    text.split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .take(MAX_PARAMS)
        .map(|pair| {
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            (String::from_utf8_lossy(name).into_owned(), decode(value, true))
        })
        .collect()
}

/// Percent-decoding; bytes that are no UTF-8 become U+FFFD, and a `%` without two hexadecimal digits stays.
pub(crate) fn decode(text: &[u8], plus_is_space: bool) -> String {
    let hex = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits fit a byte.
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _, _) if plus_is_space => bytes.push(b' '),
            (byte, _, _) => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The members of the top-level object as text, in byte order of their names, up to the first nested one.
fn json(body: &[u8]) -> Vec<(String, String)> {
    use serde_json::Value;
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let mut members: Vec<(String, Value)> = members.into_iter().collect();
    members.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
    members
        .into_iter()
        .take(MAX_PARAMS)
        .map_while(|(name, value)| {
            let text = match value {
                Value::Null => String::new(),
                Value::Bool(switch) => switch.to_string(),
                Value::Number(number) => number.to_string(),
                Value::String(text) => text,
                Value::Array(_) | Value::Object(_) => return None,
            };
            Some((name, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json;charset=UTF-8";

    fn with_body(query: &str, content_type: &str, body: &str) -> Args {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).expect("header"));
        Args::read(query, &headers, body.as_bytes())
    }

    #[track_caller]
    fn check(args: &Args, name: &str, expected: &str) {
        assert_eq!(
            args.text(name),
            expected,
            "{name} of {:?} and {:?}",
            args.query,
            args.body
        );
    }

    #[test]
    fn the_query_wins_over_the_body_and_the_body_over_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        for (name, value) in [("a", "header"), ("b", "header"), ("c", "header")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let args = Args::read("a=query", &headers, b"a=body&b=body");
        check(&args, "a", "query");
        check(&args, "b", "body");
        check(&args, "c", "header");
        check(&args, "d", "");
    }

    #[test]
    fn names_have_no_case_and_the_last_of_several_wins() {
        let args = with_body("Stream=1&STREAM=2", FORM, "");
        check(&args, "stream", "2");
        check(&args, "sTREAM", "2");
    }

    #[test]
    fn values_are_decoded_and_names_are_not() {
        for args in [
            with_body("a=te+st%2F%C3%A9&str%65am=x", FORM, ""),
            with_body("", FORM, "a=te+st%2F%C3%A9&str%65am=x"),
        ] {
            check(&args, "a", "te st/é");
            check(&args, "stream", "");
        }
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        check(&with_body("a=100%&b=%4&c=%zz&d=%ff", FORM, ""), "a", "100%");
        check(&with_body("b=%4", FORM, ""), "b", "%4");
        check(&with_body("c=%zz", FORM, ""), "c", "%zz");
        check(&with_body("d=%ff", FORM, ""), "d", "\u{fffd}");
    }

    #[test]
    fn an_empty_parameter_is_a_missing_one_so_the_next_source_is_asked() {
        let args = with_body("a=&b&c=1&c=", FORM, "a=body");
        check(&args, "a", "body");
        assert_eq!(args.get("b"), None);
        assert_eq!(args.get("c"), None, "the last one wins, and it is empty");
        assert_eq!(args.exact("c").as_deref(), Some(""));
        assert_eq!(args.exact("d"), None);
        assert_eq!(args.exact("A"), None, "case counts here");
    }

    #[test]
    fn scalar_members_of_a_json_object_become_text() {
        let args = with_body(
            "",
            JSON,
            r#"{"i":1,"n":-7,"r":2.5,"t":true,"f":false,"z":null,"s":"x y","big":18446744073709551615}"#,
        );
        for (name, text) in [
            ("i", "1"),
            ("n", "-7"),
            ("r", "2.5"),
            ("t", "true"),
            ("f", "false"),
            ("z", ""),
            ("s", "x y"),
        ] {
            check(&args, name, text);
        }
        check(&args, "big", "18446744073709551615");
    }

    #[test]
    fn a_nested_member_ends_the_json_object_in_byte_order_of_names() {
        let args = with_body(
            "",
            JSON,
            r#"{"z":"lost","b":{"x":1},"a":"kept","Z":"kept too","c":"lost"}"#,
        );
        check(&args, "a", "kept");
        // `Z` sorts before `a`; without case `z` would find it.
        assert_eq!(args.exact("Z").as_deref(), Some("kept too"));
        assert_eq!(args.exact("z"), None);
        assert_eq!(args.get("c"), None);
        check(
            &with_body("", JSON, r#"{"a":[1],"b":"lost","A":"kept"}"#),
            "a",
            "kept",
        );
    }

    #[test]
    fn a_body_that_is_no_json_object_or_of_another_type_counts_as_no_parameters() {
        for body in ["", "{", "[1]", "\"a\"", "1", "{\"a\":1} trailing", "\u{feff}{}"] {
            assert_eq!(with_body("", JSON, body).get("a"), None, "{body}");
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(20_000), "}".repeat(20_000));
        assert_eq!(with_body("", JSON, &deep).get("a"), None);
        assert_eq!(with_body("", "text/plain", "a=1").get("a"), None);
        assert_eq!(Args::read("", &HeaderMap::new(), b"a=1").get("a"), None);
    }

    #[test]
    fn more_parameters_than_the_bound_are_ignored() {
        let many: String = (0..2 * MAX_PARAMS).map(|n| format!("p{n}=1&")).collect();
        let args = with_body(&many, FORM, "");
        check(&args, &format!("p{}", MAX_PARAMS - 1), "1");
        assert_eq!(args.get(&format!("p{MAX_PARAMS}")), None);
    }

    #[test]
    fn values_are_read_leniently_and_a_missing_one_is_told_from_zero() {
        let args = with_body("n=12abc&f=1.5x&on=TRUE&off=yes&zero=x", FORM, "");
        assert_eq!(args.int("n"), Some(12));
        assert_eq!(args.int("zero"), Some(0));
        assert_eq!(args.int("none"), None);
        assert_eq!(args.float("f"), Some(1.5));
        assert!(args.flag("on") && !args.flag("off") && !args.flag("none"));
        assert_eq!((args.bool("off"), args.bool("none")), (Some(false), None));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "\"app\" is read and not described")]
    fn an_endpoint_that_reads_what_it_does_not_describe_is_a_defect() {
        static ABOUT: About = crate::handlers::sessions::KICK;
        let args = with_body("secret=x&id=1&app=a", FORM, "").described_by(&ABOUT);
        assert_eq!((args.text("secret"), args.text("ID")), ("x".into(), "1".into()));
        args.text("app");
    }

    proptest! {
        #[test]
        fn no_input_panics(query in ".*", body in proptest::collection::vec(any::<u8>(), 0..200), json in any::<bool>()) {
            let args = Args::read(&query, &{
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(if json { JSON } else { FORM }));
                headers
            }, &body);
            let _ = (args.int("a"), args.float("a"), args.flag("a"));
        }

        #[test]
        fn what_a_form_encodes_is_read_back(value in "\\PC{0,30}") {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let args = with_body(&format!("a={encoded}"), FORM, "");
            prop_assert_eq!(args.text("a"), value);
        }
    }
}
