//! The answer of `on_publish`: overrides of the protocol options (hooks.md, section 7), and one member of our own.

use super::Answer;
use config::{Applied, HookValue, ProtocolOverrides};
use lifecycle::hook::PublishAnswer;
use media::ProtocolOptions;
use serde_json::Value;

/// Member of our own: `"takeover"` replaces a publisher that has the name, `"reject"` refuses the new one; anything else, and
/// absence, leaves it to the configuration. ZLM ignores members it does not know, so a service may send it to both.
pub const DUPLICATE_PUBLISH: &str = "duplicate_publish";

/// An accepted publisher: `defaults` with the overrides of the answer. The second value names the members that are known but
/// have a value the option cannot have; they were left as configured.
pub fn publish(answer: &Answer, defaults: &ProtocolOptions) -> (PublishAnswer, Vec<String>) {
    let mut options = defaults.clone();
    let mut takeover = None;
    let mut ignored = Vec::new();
    for (name, value) in answer.members() {
        let taken = if name == DUPLICATE_PUBLISH {
            takeover = read_takeover(value);
            takeover.is_some() || value.is_null()
        } else {
            match options.apply_hook(name, hook_value(value)) {
                Applied::Set | Applied::Kept | Applied::UnknownName => true,
                Applied::WrongKind | Applied::OutOfRange => false,
            }
        };
        if !taken {
            ignored.push(name.clone());
        }
    }
    (PublishAnswer { options, takeover }, ignored)
}

fn read_takeover(value: &Value) -> Option<bool> {
    match value.as_str() {
        Some("takeover") => Some(true),
        Some("reject") => Some(false),
        Some(_) | None => None,
    }
}

fn hook_value(value: &Value) -> HookValue<'_> {
    match value {
        Value::Null => HookValue::Null,
        Value::Bool(flag) => HookValue::Bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => HookValue::Int(number),
            None => HookValue::Float(number.as_f64().unwrap_or(0.0)),
        },
        Value::String(text) => HookValue::Text(text),
        Value::Array(_) | Value::Object(_) => HookValue::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::judge;

    fn read(members: &str) -> (PublishAnswer, Vec<String>) {
        let answer = judge(
            200,
            format!("{{\"code\":0,\"msg\":\"success\",{members}}}").as_bytes(),
        )
        .expect(members);
        publish(&answer, &ProtocolOptions::default())
    }

    #[test]
    fn switches_are_read_as_the_reference_reads_them() {
        for on in [
            "true", "\"true\"", "\"TRUE\"", "1", "\"1\"", "\" 1\"", "1.0", "1.5",
        ] {
            assert!(read(&format!("\"enable_mp4\":{on}")).0.options.enable_mp4, "{on}");
        }
        for off in [
            "false",
            "\"false\"",
            "0",
            "\"0\"",
            "0.0",
            "\"\"",
            "\"no\"",
            "\"yes\"",
            "2",
            "\"2\"",
        ] {
            assert!(
                !read(&format!("\"enable_audio\":{off}")).0.options.enable_audio,
                "{off}"
            );
        }
    }

    #[test]
    fn null_and_what_cannot_be_read_keep_the_default() {
        let (answer, ignored) = read(
            r#""enable_audio":null,"enable_mp4":[1],"stream_replace":{"a":1},"modify_stamp":7,"unheard_of":1"#,
        );
        assert_eq!(answer.options, ProtocolOptions::default());
        assert_eq!(ignored, ["enable_mp4", "modify_stamp", "stream_replace"]);
    }

    #[test]
    fn the_answer_of_a_known_service_is_understood() {
        let (answer, ignored) = read(
            r#""enable_audio":true,"enable_mp4":true,"mp4_max_second":60,"mp4_save_path":null,"stream_replace":"b","modify_stamp":"0""#,
        );
        let expected = ProtocolOptions {
            enable_mp4: true,
            mp4_max: std::time::Duration::from_secs(60),
            stream_replace: Some("b".to_owned()),
            modify_stamp: 0,
            ..ProtocolOptions::default()
        };
        assert_eq!(
            answer,
            PublishAnswer {
                options: expected,
                takeover: None
            }
        );
        assert!(ignored.is_empty(), "{ignored:?}");
    }

    #[test]
    fn a_service_may_decide_about_duplicate_publishers() {
        assert_eq!(read(r#""duplicate_publish":"takeover""#).0.takeover, Some(true));
        assert_eq!(read(r#""duplicate_publish":"reject""#).0.takeover, Some(false));
        assert_eq!(read(r#""duplicate_publish":null"#), (read(r#""x":0"#).0, vec![]));
        assert_eq!(
            read(r#""duplicate_publish":true"#),
            (read(r#""x":0"#).0, vec!["duplicate_publish".to_owned()])
        );
    }
}
