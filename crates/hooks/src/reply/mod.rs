//! How an answer is judged (hooks.md, section 2), and how its members are read.

pub mod json;
pub mod overrides;

use crate::failure::{Class, Failure};
use serde_json::{Map, Number, Value};
use std::time::Duration;

/// A successful answer: status 200, a JSON object, an integer `code` of 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    members: Map<String, Value>,
    /// How long the receiver lets its consent be served without asking ([`CACHE_SECONDS`]); zero is not at all.
    pub consent: Duration,
}

/// The header of an answer that lets the verdict be served to the same question for so many seconds. Tidegate's own addition.
pub const CACHE_SECONDS: &str = "tidegate-cache-seconds";

/// A member of an answer that has a type its reader cannot take; the whole answer then counts as failed, and is not asked for
/// again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("member \"{name}\" is {got}, wanted {wanted}")]
pub struct BadMember {
    /// Its name.
    pub name: &'static str,
    /// The type it has.
    pub got: &'static str,
    /// What its reader takes.
    pub wanted: &'static str,
}

/// Judges an answer; the first check that fails decides.
pub fn judge(status: u16, body: &[u8]) -> Result<Answer, Failure> {
    if status != 200 {
        return Err(Failure::status(status, "200"));
    }
    let bad_json = |error: json::Error| {
        Failure::new(
            Class::BadJson,
            format!("[parse json failed]:{error}"),
            format!("body is no JSON object: {error}"),
        )
    };
    let members = match json::parse(body).map_err(bad_json)? {
        Value::Object(members) => members,
        // ZLM takes `null` for an object without members.
        Value::Null => Map::new(),
        other => return Err(bad_json(json::Error::NotAnObject { got: kind(&other) })),
    };
    let code = members.get("code").unwrap_or(&Value::Null);
    match whole(code) {
        Some(0) => Ok(Answer {
            members,
            consent: Duration::ZERO,
        }),
        Some(code) => {
            let msg = members.get("msg").unwrap_or(&Value::Null);
            let text = format!("[auth failed]: code:{code} msg:{msg}");
            let detail = format!("the receiver said no: code {code}, msg {msg}");
            Err(Failure::new(Class::Denied, text, detail))
        }
        None => {
            let text = format!("[json code]:code not int:{code}");
            Err(Failure::new(
                Class::BadCode,
                text,
                format!("member \"code\" is {}, wanted an integer", kind(code)),
            ))
        }
    }
}

/// Judges an answer by its status alone, as receivers of Tidegate's own events expect it (Standard Webhooks 1.0.0).
pub fn judge_status(status: u16) -> Result<Answer, Failure> {
    if (200..300).contains(&status) {
        Ok(Answer::default())
    } else {
        Err(Failure::status(status, "200 to 299"))
    }
}

/// Adds to a verdict how long its receiver lets it be kept.
pub(crate) fn consented(judged: Result<Answer, Failure>, consent: Duration) -> Result<Answer, Failure> {
    match judged {
        Ok(answer) => Ok(Answer { consent, ..answer }),
        Err(failure) => Err(Failure { consent, ..failure }),
    }
}

impl Answer {
    /// A member read as a boolean: numbers are true unless zero; `null` or absent is false. Texts are not booleans: in ZLM
    /// `"close":"true"` does not close.
    pub fn boolean(&self, name: &'static str) -> Result<bool, BadMember> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Some(other @ (Value::String(_) | Value::Array(_) | Value::Object(_))) => Err(BadMember {
                name,
                got: kind(other),
                wanted: "true, false or a number",
            }),
        }
    }

    /// A member read as text: numbers and booleans are turned into text; `null` or absent is empty.
    pub fn text(&self, name: &'static str) -> Result<String, BadMember> {
        match self.members.get(name) {
            None => Ok(String::new()),
            Some(value) => to_text(value).ok_or(BadMember {
                name,
                got: kind(value),
                wanted: "text, a number or a boolean",
            }),
        }
    }

    /// A member read as an integer: fractions are cut off, `true` is 1; `null` or absent is 0.
    pub fn integer(&self, name: &'static str) -> Result<i64, BadMember> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(0),
            Some(Value::Bool(flag)) => Ok(i64::from(*flag)),
            Some(value @ Value::Number(number)) => {
                let bad = BadMember {
                    name,
                    got: "a number beyond 64 bit",
                    wanted: "an integer",
                };
                match (number.as_i64(), number.as_f64()) {
                    (Some(number), _) => Ok(number),
                    (None, Some(number)) => whole(&Value::from(number.trunc())).ok_or(bad),
                    (None, None) => Err(BadMember {
                        got: kind(value),
                        ..bad
                    }),
                }
            }
            Some(other @ (Value::String(_) | Value::Array(_) | Value::Object(_))) => Err(BadMember {
                name,
                got: kind(other),
                wanted: "a number or a boolean",
            }),
        }
    }

    /// All members.
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }
}

/// A number without a fraction that fits 64 signed bits; `0.0` and `-0` are such.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    if let Some(number) = number.as_i64() {
        return Some(number);
    }
    if number.is_u64() {
        return None;
    }
    // 2^63 as a double; the largest double below it fits.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let number = number.as_f64()?;
    (number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

/// A scalar as text, `null` as empty text; arrays and objects have none.
fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(Number::to_string(number)),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null or absent",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::MAX_TEXT;

    fn answer(text: &str) -> Answer {
        judge(200, text.as_bytes()).unwrap_or_else(|failure| panic!("{text}: {failure:?}"))
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Result<(), (Class, &str)>) {
        let got = judge(status, body.as_bytes());
        let got = got
            .as_ref()
            .map(|_| ())
            .map_err(|failure| (failure.class, failure.text.as_str()));
        assert_eq!(got, expected, "{status} {body}");
    }

    #[test]
    fn the_first_failing_check_decides() {
        for status in [100, 201, 204, 301, 302, 307, 308, 403, 404, 500] {
            check(
                status,
                r#"{"code":0}"#,
                Err((Class::Status, &format!("[bad http status code]:{status}"))),
            );
        }
        check(200, "", Err((Class::BadJson, "[parse json failed]:empty")));
        for (body, got) in [
            ("[]", "an array"),
            ("0", "a number"),
            ("\"ok\"", "text"),
            ("true", "a boolean"),
        ] {
            check(
                200,
                body,
                Err((
                    Class::BadJson,
                    &format!("[parse json failed]:not an object but {got}"),
                )),
            );
        }
        for body in ["{}", "null", r#"{"Code":0}"#, r#"{"code":null}"#] {
            check(200, body, Err((Class::BadCode, "[json code]:code not int:null")));
        }
        for value in [
            "\"0\"",
            "true",
            "false",
            "0.5",
            "9223372036854775808",
            "[]",
            "{}",
            "1e30",
        ] {
            let value_back = json::parse(value.as_bytes()).unwrap();
            let text = format!("[json code]:code not int:{value_back}");
            check(
                200,
                &format!("{{\"code\":{value}}}"),
                Err((Class::BadCode, &text)),
            );
        }
        for (body, text) in [
            (
                r#"{"code":1,"msg":"denied"}"#,
                "[auth failed]: code:1 msg:\"denied\"",
            ),
            (r#"{"code":-1,"msg":42}"#, "[auth failed]: code:-1 msg:42"),
            (
                r#"{"code":-9223372036854775808}"#,
                "[auth failed]: code:-9223372036854775808 msg:null",
            ),
        ] {
            check(200, body, Err((Class::Denied, text)));
        }
        for body in [
            r#"{"code":0}"#,
            r#"{"code":0.0}"#,
            r#"{"code":-0}"#,
            r#"{"code":1,"code":0}"#,
        ] {
            check(200, body, Ok(()));
        }
    }

    #[test]
    fn a_receiver_cannot_make_the_text_long() {
        for body in [
            format!("{{\"code\":1,\"msg\":\"{}\"}}", "你".repeat(20_000)),
            format!("{{\"code\":\"{}\"}}", "\u{1}".repeat(60_000)),
        ] {
            let failure = judge(200, body.as_bytes()).unwrap_err();
            for text in [&failure.text, &failure.detail] {
                assert!(text.len() <= MAX_TEXT, "{}", text.len());
            }
            assert!(failure.text.len() > MAX_TEXT - 4, "cut at the limit");
        }
    }

    #[test]
    fn booleans_take_numbers_but_no_text() {
        for (value, expected) in [
            ("true", true),
            ("false", false),
            ("1", true),
            ("2", true),
            ("-1", true),
            ("1.0", true),
            ("0", false),
            ("0.0", false),
            ("null", false),
        ] {
            assert_eq!(
                answer(&format!("{{\"code\":0,\"close\":{value}}}")).boolean("close"),
                Ok(expected),
                "{value}"
            );
        }
        assert_eq!(answer(r#"{"code":0}"#).boolean("close"), Ok(false));
        for value in ["\"true\"", "[]", "{}"] {
            assert!(
                answer(&format!("{{\"code\":0,\"close\":{value}}}"))
                    .boolean("close")
                    .is_err(),
                "{value}"
            );
        }
    }

    #[test]
    fn texts_take_every_scalar() {
        for (value, expected) in [("\"no\"", "no"), ("false", "false"), ("42", "42"), ("null", "")] {
            assert_eq!(
                answer(&format!("{{\"code\":0,\"err\":{value}}}")).text("err"),
                Ok(expected.to_owned()),
                "{value}"
            );
        }
        assert_eq!(answer(r#"{"code":0}"#).text("err"), Ok(String::new()));
        assert!(answer(r#"{"code":0,"err":[]}"#).text("err").is_err());
    }

    #[test]
    fn integers_cut_fractions_and_refuse_text() {
        for (value, expected) in [
            ("60", 60),
            ("60.9", 60),
            ("-1.5", -1),
            ("true", 1),
            ("false", 0),
            ("null", 0),
        ] {
            assert_eq!(
                answer(&format!("{{\"code\":0,\"second\":{value}}}")).integer("second"),
                Ok(expected),
                "{value}"
            );
        }
        for value in ["\"60\"", "[]", "{}", "1e300"] {
            assert!(
                answer(&format!("{{\"code\":0,\"second\":{value}}}"))
                    .integer("second")
                    .is_err(),
                "{value}"
            );
        }
    }
}
