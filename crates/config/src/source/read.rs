//! Reading one `[[source]]` table.

use super::pattern::Pattern;
use super::template::Template;
use super::{Options, Problem, SourceRule, Via};
use crate::keys::RtspTransport;
use crate::nearest;
use crate::secret::{Secret, mask_credentials};
use std::time::Duration;

/// One field of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub name: String,
    pub value: FieldValue,
}

/// The value of a field.
#[derive(Clone, Debug)]
pub(crate) enum FieldValue {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Another list, a table or a date.
    Other,
}

/// All fields of a rule.
pub(crate) const FIELDS: [&str; 10] = [
    "pattern",
    "url",
    "on_demand",
    "close_after",
    "transport",
    "username",
    "password",
    "timeout_sec",
    "retry_count",
    "ffmpeg_cmd_key",
];

/// Makes a rule of its fields, or says what is wrong with which of them.
pub(crate) fn read(fields: &[Field]) -> Result<SourceRule, Vec<(String, Problem)>> {
    let mut draft = Draft::default();
    let mut problems = Vec::new();
    for field in fields {
        if let Err(problem) = draft.take(&field.name, &field.value) {
            problems.push((field.name.clone(), problem));
        }
    }
    let given = |name: &str| fields.iter().any(|field| field.name == name);
    for name in ["pattern", "url"] {
        if !given(name) {
            problems.push((name.to_owned(), Problem::Missing));
        }
    }
    let mut report = |name: &str, problem| problems.push((name.to_owned(), problem));

    let pattern = draft.pattern.and_then(|text| {
        Pattern::new(&text)
            .map_err(|problem| report("pattern", problem))
            .ok()
    });
    let template = pattern.as_ref().zip(draft.url).and_then(|(pattern, text)| {
        Template::new(&text, pattern)
            .map_err(|problem| report("url", problem))
            .ok()
    });
    let options = draft.options;
    if let Some(pattern) = &pattern
        && !options.on_demand
        && pattern.literal().is_none()
    {
        report("pattern", Problem::NotLiteral);
    }
    if options.close_after.is_some() && !options.on_demand {
        report("close_after", Problem::NoEffect("with on_demand = false"));
    }
    if options.username.is_empty() && !options.password.is_empty() {
        report("password", Problem::NoUsername);
    }
    if let Some(template) = &template {
        if !options.username.is_empty() && template.has_credentials() {
            report("username", Problem::CredentialsTwice);
        }
        if !options.username.is_empty() && !template.has_host() {
            report("username", Problem::NoEffect("on a file"));
        }
        if !options.ffmpeg_cmd_key.is_empty() && template.via == Via::Pull {
            report(
                "ffmpeg_cmd_key",
                Problem::NoEffect("without ffmpeg:// in the url"),
            );
        }
    }
    match (pattern, template) {
        (Some(pattern), Some(template)) if problems.is_empty() => Ok(SourceRule {
            pattern,
            template,
            options,
        }),
        _ => Err(problems),
    }
}

#[derive(Default)]
struct Draft {
    pattern: Option<String>,
    url: Option<String>,
    options: Options,
}

impl Draft {
    fn take(&mut self, name: &str, value: &FieldValue) -> Result<(), Problem> {
        let options = &mut self.options;
        match name {
            "pattern" => self.pattern = Some(text(value)?),
            "url" => self.url = Some(text(value)?),
            "on_demand" => options.on_demand = switch(value)?,
            "close_after" => options.close_after = Some(duration(value, 0.0)?),
            "transport" => options.transport = transport(value)?,
            "username" => options.username = text(value)?,
            "password" => options.password = Secret::new(text(value).map_err(hide)?),
            "timeout_sec" => options.timeout = Some(duration(value, MIN_TIMEOUT_S)?),
            "retry_count" => options.retry_count = retries(value)?,
            "ffmpeg_cmd_key" => options.ffmpeg_cmd_key = text(value)?,
            _ => {
                return Err(Problem::UnknownField {
                    nearest: nearest::among(name, FIELDS.into_iter()),
                });
            }
        }
        Ok(())
    }
}

/// addStreamProxy ignores shorter limits too (api.md, section 3).
const MIN_TIMEOUT_S: f64 = 0.1;

fn text(value: &FieldValue) -> Result<String, Problem> {
    match value {
        FieldValue::Text(text) => Ok(text.clone()),
        FieldValue::Bool(_)
        | FieldValue::Int(_)
        | FieldValue::Float(_)
        | FieldValue::List(_)
        | FieldValue::Other => Err(refuse(value, "a string")),
    }
}

fn switch(value: &FieldValue) -> Result<bool, Problem> {
    match value {
        FieldValue::Bool(on) => Ok(*on),
        FieldValue::Int(0) => Ok(false),
        FieldValue::Int(1) => Ok(true),
        FieldValue::Int(_)
        | FieldValue::Float(_)
        | FieldValue::Text(_)
        | FieldValue::List(_)
        | FieldValue::Other => Err(refuse(value, "true or false")),
    }
}

fn transport(value: &FieldValue) -> Result<RtspTransport, Problem> {
    let word = text(value).unwrap_or_default();
    match word.as_str() {
        "any" => Ok(RtspTransport::Any),
        "tcp" => Ok(RtspTransport::Tcp),
        "udp" => Ok(RtspTransport::Udp),
        "multicast" => Ok(RtspTransport::Multicast),
        _ => Err(refuse(value, "one of \"any\", \"tcp\", \"udp\", \"multicast\"")),
    }
}

/// -1 and the absent field are "for ever", as in addStreamProxy.
fn retries(value: &FieldValue) -> Result<Option<u32>, Problem> {
    let refused = || refuse(value, "a whole number, or -1 for ever");
    match value {
        FieldValue::Int(-1) => Ok(None),
        FieldValue::Int(count) => u32::try_from(*count).map(Some).map_err(|_| refused()),
        FieldValue::Bool(_)
        | FieldValue::Float(_)
        | FieldValue::Text(_)
        | FieldValue::List(_)
        | FieldValue::Other => Err(refused()),
    }
}

/// Seconds as a number, or text with a unit.
fn duration(value: &FieldValue, min: f64) -> Result<Duration, Problem> {
    let seconds = match value {
        FieldValue::Int(seconds) => Some(*seconds as f64),
        FieldValue::Float(seconds) => Some(*seconds),
        FieldValue::Text(text) => {
            let at = text
                .find(|char: char| char.is_ascii_alphabetic())
                .unwrap_or(text.len());
            let unit = match text[at..].trim() {
                "ms" => Some(0.001),
                "" | "s" => Some(1.0),
                "m" => Some(60.0),
                "h" => Some(3600.0),
                _ => None,
            };
            crate::key::decimal(text[..at].trim())
                .zip(unit)
                .map(|(number, unit)| number * unit)
        }
        FieldValue::Bool(_) | FieldValue::List(_) | FieldValue::Other => None,
    };
    seconds
        .filter(|seconds| (min..=crate::keys::YEAR_S).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            refuse(
                value,
                "a time: seconds as a number, or a string such as \"20s\", \"500ms\", \"2m\"",
            )
        })
}

fn refuse(value: &FieldValue, allowed: &'static str) -> Problem {
    let value = match value {
        FieldValue::Bool(on) => on.to_string(),
        FieldValue::Int(number) => number.to_string(),
        FieldValue::Float(number) => number.to_string(),
        FieldValue::Text(text) => mask_credentials(text).into_owned(),
        FieldValue::List(_) | FieldValue::Other => "a list, a table or a date".to_owned(),
    };
    Problem::Value { value, allowed }
}

/// Passwords must not show, not even wrong ones.
fn hide(problem: Problem) -> Problem {
    if let Problem::Value { allowed, .. } = problem {
        return Problem::Value {
            value: "***".to_owned(),
            allowed,
        };
    }
    problem
}
