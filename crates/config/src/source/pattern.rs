//! Patterns of names: regular expressions that must match the whole name.

use super::Problem;
use regex::{Regex, RegexBuilder};

/// Longest pattern in bytes.
const MAX_PATTERN: usize = 1024;

/// Most bytes that one compiled pattern may take. Nested counts such as `(a{100}){100}` need more.
const MAX_COMPILED: usize = 1 << 20;

/// Longest `app/stream` that is compared, in bytes.
const MAX_NAME: usize = 1024;

/// A compiled pattern: at most 1024 bytes, compared with names of at most 1024 bytes.
#[derive(Clone, Debug)]
pub struct Pattern {
    written: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// Matches this name only. Cheap, as large configurations list their cameras one by one.
    Literal(String),
    Expression(Regex),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Pattern {
    /// A pattern of `app/stream`.
    ///
    /// # Errors
    ///
    /// It is no regular expression, it is too large, or it is one name without a `/` inside.
    pub fn new(written: &str) -> Result<Self, Problem> {
        let pattern = Self::of_path(written)?;
        match &pattern.matcher {
            Matcher::Literal(name) => {
                let (app, stream) = name.split_once('/').ok_or(Problem::NoSlash)?;
                if app.is_empty() || stream.is_empty() {
                    return Err(Problem::NoSlash);
                }
            }
            Matcher::Expression(_) => {}
        }
        Ok(pattern)
    }

    /// A pattern of any text, such as the path of a URL.
    ///
    /// # Errors
    ///
    /// It is no regular expression, or it is too large.
    pub fn of_path(written: &str) -> Result<Self, Problem> {
        if written.len() > MAX_PATTERN {
            return Err(Problem::Pattern {
                reason: format!("it is longer than {MAX_PATTERN} bytes"),
            });
        }
        let matcher = match literal(written) {
            Some(name) => Matcher::Literal(name),
            None => Matcher::Expression(compile(written)?),
        };
        Ok(Self {
            written: written.to_owned(),
            matcher,
        })
    }

    /// As it was written.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The only name that matches.
    pub fn literal(&self) -> Option<&str> {
        match &self.matcher {
            Matcher::Literal(name) => Some(name),
            Matcher::Expression(_) => None,
        }
    }

    /// The number of the group `name`, which can be a number itself.
    pub fn group(&self, name: &str) -> Option<usize> {
        match (&self.matcher, name.parse::<usize>()) {
            (_, Ok(0)) => Some(0),
            (Matcher::Literal(_), _) => None,
            (Matcher::Expression(expression), Ok(number)) => {
                (number < expression.captures_len()).then_some(number)
            }
            (Matcher::Expression(expression), Err(_)) => {
                expression.capture_names().position(|group| group == Some(name))
            }
        }
    }

    /// Whether the whole name matches.
    pub fn is_match(&self, name: &str) -> bool {
        if name.len() > MAX_NAME {
            return false;
        }
        match &self.matcher {
            Matcher::Literal(literal) => literal == name,
            Matcher::Expression(expression) => expression.is_match(name),
        }
    }

    /// The text of all groups, the whole name first, if the whole name matches. A group that took no part is empty.
    pub fn captures(&self, name: &str) -> Option<Vec<String>> {
        if name.len() > MAX_NAME {
            return None;
        }
        match &self.matcher {
            Matcher::Literal(literal) => (literal == name).then(|| vec![name.to_owned()]),
            Matcher::Expression(expression) => {
                let captures = expression.captures(name)?;
                let text = |group: Option<regex::Match<'_>>| {
                    group.map_or_else(String::new, |m| m.as_str().to_owned())
                };
                Some(captures.iter().map(text).collect())
            }
        }
    }
}

fn compile(written: &str) -> Result<Regex, Problem> {
    // Compiled alone first: `a)|(b` would become valid, and mean something else, inside the anchors.
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .build()
    };
    build(written)
        .and_then(|_| build(&format!("^(?:{written})$")))
        .map_err(|error| Problem::Pattern {
            // The parser draws the place below the text; the last line says what is wrong.
            reason: error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim()
                .trim_start_matches("error: ")
                .to_owned(),
        })
}

/// The one name that a pattern without wildcards matches. `\` before punctuation takes its meaning away.
fn literal(written: &str) -> Option<String> {
    let mut name = String::with_capacity(written.len());
    let mut chars = written.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => name.push(chars.next().filter(char::is_ascii_punctuation)?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            char => name.push(char),
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_name_only() {
        let pattern = Pattern::new("live/cam[0-9]+|test/a").unwrap();
        assert!(pattern.captures("live/cam12").is_some());
        assert!(pattern.captures("test/a").is_some());
        for other in [
            "live/cam",
            "live/cam1x",
            "xlive/cam1",
            "test/ab",
            "live/cam1\n",
            "live/cam1\nlive/cam1",
        ] {
            assert!(pattern.captures(other).is_none(), "{other:?}");
        }
        assert!(
            pattern
                .captures(&format!("live/cam{}", "1".repeat(2000)))
                .is_none()
        );
    }

    #[test]
    fn a_pattern_of_a_path_needs_no_app() {
        let pattern = Pattern::of_path("/record/.*").unwrap();
        assert!(pattern.is_match("/record/a.mp4") && !pattern.is_match("/x/record/a.mp4"));
        assert!(
            Pattern::of_path("/favicon\\.ico")
                .unwrap()
                .is_match("/favicon.ico")
        );
        assert!(!pattern.is_match(&format!("/record/{}", "x".repeat(2000))));
    }

    #[test]
    fn a_pattern_without_wildcards_is_one_name() {
        assert_eq!(Pattern::new("live/cam1").unwrap().literal(), Some("live/cam1"));
        assert_eq!(
            Pattern::new(r"live/cam\.1").unwrap().literal(),
            Some("live/cam.1")
        );
        assert_eq!(Pattern::new("live/cam.1").unwrap().literal(), None);
        assert_eq!(Pattern::new(r"live/cam\d").unwrap().literal(), None);
        assert_eq!(Pattern::new("live"), Err(Problem::NoSlash));
        assert_eq!(Pattern::new("live/"), Err(Problem::NoSlash));
    }

    #[test]
    fn expressions_that_are_wrong_or_too_large_are_refused_in_one_line() {
        for wrong in ["live/(", "a)|(b", "live/((a{100}){100}){100}", &"x".repeat(2000)] {
            let Err(Problem::Pattern { reason }) = Pattern::new(wrong) else {
                panic!("{wrong}")
            };
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
        }
    }
}
