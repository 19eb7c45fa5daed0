//! Compares JSON with what the reference server sends and answers (`contract/golden`).
//!
//! Two values are alike when they have the same members, of the same JSON types, and equal values where the test asks
//! for that. `25` and `25.0` are different types, integer and real: clients in typed languages tell them apart. The
//! order of members never matters, and the elements of a list are matched in whatever order fits best.
//!
//! A *place* names members: `originSock.peer_port`, `tracks[].fps`. It covers everything below it, too. `*.fps` covers each
//! `fps` at any depth.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where values, and not just types, must be equal.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// At these places only.
    Only(&'a [&'a str]),
    /// Everywhere but at these places.
    Except(&'a [&'a str]),
}

/// One place at which a value is not like its golden counterpart.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Path from the root with list positions, such as `tracks[1].fps`; positions are those of the golden value.
    pub at: String,
    /// What the golden value has there, as JSON text or in words.
    pub golden: String,
    /// What the compared value has there.
    pub actual: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { "(root)" } else { &self.at };
        write!(f, "{at}: golden has {}, got {}", self.golden, self.actual)
    }
}

/// The folder with the captures, `contract/golden`.
pub fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contract/golden")).to_path_buf()
}

/// A whole capture, such as `hooks/on_play.http_flv.json`. Panics, with the file's name, when it cannot be read.
pub fn load(file: &str) -> Value {
    let path = folder().join(file);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()))
}

/// The body of a captured hook call: `hook("on_play.http_flv")`.
pub fn hook(case: &str) -> Value {
    load(&format!("hooks/{case}.json"))["body"].take()
}

/// The JSON answer of a captured API call: `api("getMediaList.all")`.
pub fn api(case: &str) -> Value {
    load(&format!("api/{case}.json"))["response"]["json"].take()
}

/// Panics with a list of the differences when `actual` is not like `golden`.
#[track_caller]
pub fn assert_like(golden: &Value, actual: &Value, values: Values<'_>) {
    let found = differences(golden, actual, values);
    if !found.is_empty() {
        let list: Vec<_> = found
            .iter()
            .map(|difference| format!("  {difference}\n"))
            .collect();
        panic!(
            "{} difference(s) to the golden value:\n{}whole value: {actual:#}",
            found.len(),
            list.concat()
        );
    }
}

/// All places at which `actual` is not like `golden`, in the order of the golden value's members.
pub fn differences(golden: &Value, actual: &Value, values: Values<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(golden, actual, &mut Trail::default(), values, &mut found);
    found
}

/// Where we are: `shown` with list positions for people, `place` without them for [`Values`].
#[derive(Clone, Default)]
struct Trail {
    shown: String,
    place: String,
}

impl Trail {
    fn member(&self, name: &str) -> Self {
        let dot = if self.shown.is_empty() { "" } else { "." };
        Self {
            shown: format!("{}{dot}{name}", self.shown),
            place: format!("{}{dot}{name}", self.place),
        }
    }

    fn element(&self, index: usize) -> Self {
        Self {
            shown: format!("{}[{index}]", self.shown),
            place: format!("{}[]", self.place),
        }
    }

    fn difference(&self, golden: impl Into<String>, actual: impl Into<String>) -> Difference {
        Difference {
            at: self.shown.clone(),
            golden: golden.into(),
            actual: actual.into(),
        }
    }

    fn is_covered_by(&self, patterns: &[&str]) -> bool {
        patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(name) => self
                .place
                .split('.')
                .any(|part| part.trim_end_matches("[]") == name),
            None => self
                .place
                .strip_prefix(pattern)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')),
        })
    }

    fn wants_equal_values(&self, values: Values<'_>) -> bool {
        match values {
            Values::Only(places) => self.is_covered_by(places),
            Values::Except(places) => !self.is_covered_by(places),
        }
    }
}

fn compare(
    golden: &Value,
    actual: &Value,
    trail: &mut Trail,
    values: Values<'_>,
    found: &mut Vec<Difference>,
) {
    if kind(golden) != kind(actual) {
        found.push(trail.difference(described(golden), described(actual)));
        return;
    }
    match (golden, actual) {
        (Value::Object(golden), Value::Object(actual)) => {
            for (name, value) in golden {
                let mut below = trail.member(name);
                match actual.get(name) {
                    Some(other) => compare(value, other, &mut below, values, found),
                    None => found.push(below.difference(described(value), "no such member")),
                }
            }
            for (name, value) in actual.iter().filter(|(name, _)| !golden.contains_key(*name)) {
                found.push(trail.member(name).difference("no such member", described(value)));
            }
        }
        (Value::Array(golden), Value::Array(actual)) => compare_lists(golden, actual, trail, values, found),
        _ => {
            if golden != actual && trail.wants_equal_values(values) {
                found.push(trail.difference(golden.to_string(), actual.to_string()));
            }
        }
    }
}

/// Lists whose values count have the same elements in any order; of others each element is like one of the golden ones.
fn compare_lists(
    golden: &[Value],
    actual: &[Value],
    trail: &Trail,
    values: Values<'_>,
    found: &mut Vec<Difference>,
) {
    let exact = trail.wants_equal_values(values);
    if exact && golden.len() != actual.len() {
        found.push(trail.difference(
            format!("{} elements", golden.len()),
            format!("{} elements", actual.len()),
        ));
        return;
    }
    if golden.is_empty() {
        return;
    }
    if actual.is_empty() {
        found.push(trail.difference(
            format!("{} elements", golden.len()),
            "an empty list, whose shape is unknown",
        ));
        return;
    }
    let mut free: Vec<usize> = (0..golden.len()).collect();
    for element in actual {
        let candidates: Vec<usize> = if exact {
            free.clone()
        } else {
            (0..golden.len()).collect()
        };
        let best = candidates
            .into_iter()
            .map(|index| {
                let mut here = Vec::new();
                compare(
                    &golden[index],
                    element,
                    &mut trail.element(index),
                    values,
                    &mut here,
                );
                (here.len(), index, here)
            })
            .min_by_key(|(count, index, _)| (*count, *index));
        if let Some((_, index, here)) = best {
            free.retain(|&other| other != index);
            found.extend(here);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Integer,
    Real,
    String,
    List,
    Object,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Number(number) if number.is_f64() => Kind::Real,
        Value::Number(_) => Kind::Integer,
        Value::String(_) => Kind::String,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
    }
}

fn described(value: &Value) -> String {
    match kind(value) {
        Kind::Null => "null".into(),
        Kind::Bool => format!("bool {value}"),
        Kind::Integer => format!("integer {value}"),
        Kind::Real => format!("real {value}"),
        Kind::String => format!("string {value}"),
        Kind::List => "a list".into(),
        Kind::Object => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(golden: Value, actual: Value, values: Values<'_>, expected: &[&str]) {
        let found: Vec<_> = differences(&golden, &actual, values)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn members_must_be_the_same_ones() {
        check(
            json!({"a": 1, "b": {"c": "x"}}),
            json!({"b": {"d": 1}, "a": 1}),
            Values::Except(&[]),
            &[
                r#"b.c: golden has string "x", got no such member"#,
                "b.d: golden has no such member, got integer 1",
            ],
        );
    }

    #[test]
    fn an_integer_is_not_a_real() {
        check(
            json!({"fps": 25.0}),
            json!({"fps": 25}),
            Values::Only(&[]),
            &["fps: golden has real 25.0, got integer 25"],
        );
        check(json!({"fps": 25.0}), json!({"fps": 30.5}), Values::Only(&[]), &[]);
    }

    #[test]
    fn a_number_in_a_string_is_not_a_number() {
        check(
            json!("1"),
            json!(1),
            Values::Only(&[]),
            &[r#"(root): golden has string "1", got integer 1"#],
        );
    }

    #[test]
    fn values_count_where_asked() {
        let golden = json!({"app": "live", "originSock": {"peer_port": 1, "peer_ip": "127.0.0.1"}});
        let actual = json!({"app": "other", "originSock": {"peer_port": 2, "peer_ip": "::1"}});
        check(golden.clone(), actual.clone(), Values::Only(&[]), &[]);
        check(
            golden.clone(),
            actual.clone(),
            Values::Only(&["app"]),
            &[r#"app: golden has "live", got "other""#],
        );
        check(
            golden.clone(),
            actual.clone(),
            Values::Except(&["app", "originSock"]),
            &[],
        );
        check(
            golden,
            actual,
            Values::Except(&["app", "*.peer_port"]),
            &[r#"originSock.peer_ip: golden has "127.0.0.1", got "::1""#],
        );
    }

    #[test]
    fn a_place_covers_whole_names_only() {
        check(
            json!({"app": 1, "apps": 1}),
            json!({"app": 2, "apps": 2}),
            Values::Except(&["app"]),
            &["apps: golden has 1, got 2"],
        );
    }

    #[test]
    fn list_elements_match_in_any_order() {
        let golden = json!({"tracks": [{"id": 2, "rate": 44100}, {"id": 0, "fps": 25.0}]});
        check(
            golden.clone(),
            json!({"tracks": [{"id": 0, "fps": 25.0}, {"id": 2, "rate": 44100}]}),
            Values::Except(&[]),
            &[],
        );
        check(
            golden.clone(),
            json!({"tracks": [{"id": 0, "fps": 25.0}]}),
            Values::Except(&[]),
            &["tracks: golden has 2 elements, got 1 elements"],
        );
        check(
            golden,
            json!({"tracks": [{"id": 7, "fps": 12.5}]}),
            Values::Only(&[]),
            &[],
        );
    }

    #[test]
    fn the_same_element_twice_is_not_two_elements() {
        check(
            json!(["a", "b"]),
            json!(["a", "a"]),
            Values::Except(&[]),
            &[r#"[1]: golden has "b", got "a""#],
        );
    }

    #[test]
    fn an_empty_list_proves_no_shape() {
        check(
            json!([{"a": 1}]),
            json!([]),
            Values::Only(&[]),
            &["(root): golden has 1 elements, got an empty list, whose shape is unknown"],
        );
    }

    #[test]
    fn a_real_capture_is_like_itself_and_unlike_another() {
        let play = hook("on_play.http_flv");
        assert_like(&play, &play, Values::Except(&[]));
        assert_ne!(
            differences(&play, &hook("on_publish.rtmp_params"), Values::Only(&[])),
            []
        );
        assert_eq!(api("getMediaInfo.ok_rtmp_h265")["code"], 0);
    }
}
