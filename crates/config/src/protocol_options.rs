//! Overriding the options of one stream by name: parameters of an API call (api.md, section 2.4) and members of an
//! `on_publish` answer (hooks.md, section 7). The two read an empty value differently, so there is one reader for each.

use crate::lenient;
pub use media::ProtocolOptions;
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// The options that stand in section `protocol` of the configuration, as `protocol.<name>`.
pub const CONFIGURED: [&str; 22] = [
    "modify_stamp",
    "enable_audio",
    "add_mute_audio",
    "auto_close",
    "continue_push_ms",
    "paced_sender_ms",
    "enable_hls",
    "enable_hls_fmp4",
    "enable_mp4",
    "enable_rtsp",
    "enable_rtmp",
    "enable_ts",
    "enable_fmp4",
    "hls_demand",
    "rtsp_demand",
    "rtmp_demand",
    "ts_demand",
    "fmp4_demand",
    "mp4_as_player",
    "mp4_max_second",
    "mp4_save_path",
    "hls_save_path",
];

/// The options that can only be set per stream.
pub const PER_STREAM: [&str; 2] = ["stream_replace", "max_track"];

/// The value of one member of a JSON answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HookValue<'a> {
    /// `null`: the default stays.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string, also an empty one.
    Text(&'a str),
    /// An array or an object; it is ignored.
    Other,
}

/// What became of one override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The option has the given value now.
    Set,
    /// The value stands for "keep what is configured": `null`, an empty API parameter, `mp4_max_second` 0.
    Kept,
    /// No option has this name.
    UnknownName,
    /// An array or an object; nothing was changed. Worth a warning.
    WrongKind,
    /// A number that the option cannot have; nothing was changed. Worth a warning.
    OutOfRange,
}

/// Overriding single options by their name on the wire.
pub trait ProtocolOverrides {
    /// Applies an API parameter. An empty value is ignored; a switch is on for `1` and `true`.
    fn apply_api(&mut self, name: &str, value: &str) -> Applied;

    /// Applies a member of an `on_publish` answer. `null` keeps the default, an empty string means off, 0 or empty.
    fn apply_hook(&mut self, name: &str, value: HookValue<'_>) -> Applied;
}

impl ProtocolOverrides for ProtocolOptions {
    fn apply_api(&mut self, name: &str, value: &str) -> Applied {
        match slot(self, name) {
            None => Applied::UnknownName,
            Some(_) if value.is_empty() => Applied::Kept,
            Some(slot) => slot.set(value),
        }
    }

    fn apply_hook(&mut self, name: &str, value: HookValue<'_>) -> Applied {
        let Some(slot) = slot(self, name) else {
            return Applied::UnknownName;
        };
        let text: Cow<'_, str> = match value {
            HookValue::Null => return Applied::Kept,
            HookValue::Other => return Applied::WrongKind,
            HookValue::Bool(on) => Cow::Borrowed(if on { "true" } else { "false" }),
            HookValue::Int(number) => Cow::Owned(number.to_string()),
            // Whatever the fraction, only the whole part is ever used.
            HookValue::Float(number) => Cow::Owned(format!("{:.0}", number.trunc())),
            HookValue::Text(text) => Cow::Borrowed(text),
        };
        slot.set(&text)
    }
}

/// Where an option lives, and with that how its text is read.
enum Slot<'a> {
    Switch(&'a mut bool),
    Stamp(&'a mut u8),
    Tracks(&'a mut u8),
    Millis(&'a mut Duration),
    /// Seconds; 0 keeps the configured value.
    Seconds(&'a mut Duration),
    Folder(&'a mut PathBuf),
    Name(&'a mut Option<String>),
}

impl Slot<'_> {
    fn set(self, text: &str) -> Applied {
        match self {
            Slot::Switch(slot) => *slot = lenient::boolean(text),
            Slot::Stamp(slot) => match lenient::int(text) {
                mode @ 0..=2 => *slot = mode as u8,
                _ => return Applied::OutOfRange,
            },
            Slot::Tracks(slot) => match u8::try_from(lenient::uint(text)) {
                Ok(tracks) => *slot = tracks,
                Err(_) => return Applied::OutOfRange,
            },
            Slot::Millis(slot) => match u32::try_from(lenient::uint(text)) {
                Ok(millis) => *slot = Duration::from_millis(millis.into()),
                Err(_) => return Applied::OutOfRange,
            },
            Slot::Seconds(slot) => match u32::try_from(lenient::uint(text)) {
                Ok(0) => return Applied::Kept,
                Ok(seconds) => *slot = Duration::from_secs(seconds.into()),
                Err(_) => return Applied::OutOfRange,
            },
            Slot::Folder(slot) => *slot = PathBuf::from(text),
            Slot::Name(slot) => *slot = (!text.is_empty()).then(|| text.to_owned()),
        }
        Applied::Set
    }
}

fn slot<'a>(options: &'a mut ProtocolOptions, name: &str) -> Option<Slot<'a>> {
    Some(match name {
        "modify_stamp" => Slot::Stamp(&mut options.modify_stamp),
        "enable_audio" => Slot::Switch(&mut options.enable_audio),
        "add_mute_audio" => Slot::Switch(&mut options.add_mute_audio),
        "auto_close" => Slot::Switch(&mut options.auto_close),
        "continue_push_ms" => Slot::Millis(&mut options.continue_push),
        "paced_sender_ms" => Slot::Millis(&mut options.paced_sender),
        "enable_hls" => Slot::Switch(&mut options.enable_hls),
        "enable_hls_fmp4" => Slot::Switch(&mut options.enable_hls_fmp4),
        "enable_mp4" => Slot::Switch(&mut options.enable_mp4),
        "enable_rtsp" => Slot::Switch(&mut options.enable_rtsp),
        "enable_rtmp" => Slot::Switch(&mut options.enable_rtmp),
        "enable_ts" => Slot::Switch(&mut options.enable_ts),
        "enable_fmp4" => Slot::Switch(&mut options.enable_fmp4),
        "hls_demand" => Slot::Switch(&mut options.hls_demand),
        "rtsp_demand" => Slot::Switch(&mut options.rtsp_demand),
        "rtmp_demand" => Slot::Switch(&mut options.rtmp_demand),
        "ts_demand" => Slot::Switch(&mut options.ts_demand),
        "fmp4_demand" => Slot::Switch(&mut options.fmp4_demand),
        "mp4_as_player" => Slot::Switch(&mut options.mp4_as_player),
        "mp4_max_second" => Slot::Seconds(&mut options.mp4_max),
        "mp4_save_path" => Slot::Folder(&mut options.mp4_save_path),
        "hls_save_path" => Slot::Folder(&mut options.hls_save_path),
        "stream_replace" => Slot::Name(&mut options.stream_replace),
        "max_track" => Slot::Tracks(&mut options.max_track),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_answer_is_read_as_a_switch_as_the_reference_reads_it() {
        use HookValue::{Bool, Float, Int, Text};
        // The list of hooks.md, section 7.
        let on = [
            Bool(true),
            Text("true"),
            Text("TRUE"),
            Int(1),
            Text("1"),
            Text(" 1"),
            Float(1.0),
            Float(1.5),
        ];
        let off = [
            Bool(false),
            Text("false"),
            Int(0),
            Text("0"),
            Float(0.0),
            Text(""),
            Text("no"),
            Text("yes"),
            Int(2),
            Text("2"),
            Float(-0.5),
            Float(f64::NAN),
            Float(f64::INFINITY),
        ];
        for value in on {
            let mut options = ProtocolOptions {
                enable_mp4: false,
                ..ProtocolOptions::default()
            };
            assert_eq!(options.apply_hook("enable_mp4", value), Applied::Set);
            assert!(options.enable_mp4, "{value:?}");
        }
        for value in off {
            let mut options = ProtocolOptions {
                enable_mp4: true,
                ..ProtocolOptions::default()
            };
            assert_eq!(options.apply_hook("enable_mp4", value), Applied::Set);
            assert!(!options.enable_mp4, "{value:?}");
        }
    }

    #[test]
    fn null_keeps_arrays_are_reported_and_unknown_names_are_ignored() {
        let mut options = ProtocolOptions::default();
        for name in CONFIGURED.into_iter().chain(PER_STREAM) {
            assert_eq!(options.apply_hook(name, HookValue::Null), Applied::Kept, "{name}");
            assert_eq!(
                options.apply_hook(name, HookValue::Other),
                Applied::WrongKind,
                "{name}"
            );
            assert_eq!(options.apply_api(name, ""), Applied::Kept, "{name}");
        }
        assert_eq!(
            options.apply_hook("enable_h265", HookValue::Bool(true)),
            Applied::UnknownName
        );
        assert_eq!(options.apply_api("enable_h265", ""), Applied::UnknownName);
        assert_eq!(options, ProtocolOptions::default());
    }

    #[test]
    fn an_empty_string_means_off_in_a_hook_answer_and_nothing_in_an_api_call() {
        let mut options = ProtocolOptions::default();
        assert_eq!(
            options.apply_hook("enable_audio", HookValue::Text("")),
            Applied::Set
        );
        assert_eq!(
            options.apply_hook("continue_push_ms", HookValue::Text("")),
            Applied::Set
        );
        assert_eq!(
            options.apply_hook("mp4_save_path", HookValue::Text("")),
            Applied::Set
        );
        assert!(!options.enable_audio);
        assert_eq!(options.continue_push, Duration::ZERO);
        assert_eq!(options.mp4_save_path, PathBuf::new());
    }

    #[test]
    fn numbers_use_what_the_text_starts_with_and_stay_in_range() {
        let mut options = ProtocolOptions::default();
        let check = |options: &mut ProtocolOptions, name, value, applied| {
            assert_eq!(options.apply_hook(name, value), applied, "{name} {value:?}");
        };
        check(
            &mut options,
            "continue_push_ms",
            HookValue::Text("1500.75"),
            Applied::Set,
        );
        assert_eq!(options.continue_push, Duration::from_millis(1500));
        check(
            &mut options,
            "continue_push_ms",
            HookValue::Float(3000.9),
            Applied::Set,
        );
        assert_eq!(options.continue_push, Duration::from_millis(3000));
        check(&mut options, "continue_push_ms", HookValue::Int(-5), Applied::Set);
        assert_eq!(options.continue_push, Duration::ZERO);
        // A JSON `true` where a number is wanted is 0 (api.md, section 1.3).
        check(&mut options, "modify_stamp", HookValue::Bool(true), Applied::Set);
        assert_eq!(options.modify_stamp, 0);
        check(
            &mut options,
            "modify_stamp",
            HookValue::Int(9),
            Applied::OutOfRange,
        );
        assert_eq!(options.modify_stamp, 0);
        check(&mut options, "mp4_max_second", HookValue::Int(0), Applied::Kept);
        assert_eq!(options.mp4_max, Duration::from_secs(3600));
        check(
            &mut options,
            "mp4_max_second",
            HookValue::Int(i64::MAX),
            Applied::OutOfRange,
        );
        check(&mut options, "max_track", HookValue::Text("16"), Applied::Set);
        assert_eq!(options.max_track, 16);
        check(
            &mut options,
            "max_track",
            HookValue::Int(300),
            Applied::OutOfRange,
        );
    }

    #[test]
    fn every_listed_option_can_be_changed_and_only_its_own_field_changes() {
        for name in CONFIGURED.into_iter().chain(PER_STREAM) {
            let changed = ["1", "0"].into_iter().any(|value| {
                let mut options = ProtocolOptions::default();
                options.apply_api(name, value);
                options != ProtocolOptions::default()
            });
            assert!(changed, "{name}");
        }
    }

    #[test]
    fn the_answer_wvp_sends_is_understood() {
        let mut options = ProtocolOptions::default();
        for (name, value) in [
            ("enable_audio", HookValue::Bool(true)),
            ("enable_mp4", HookValue::Bool(true)),
            ("mp4_max_second", HookValue::Int(60)),
            ("mp4_save_path", HookValue::Text("/data/record")),
            ("stream_replace", HookValue::Text("34020000001320000001")),
            ("modify_stamp", HookValue::Null),
        ] {
            options.apply_hook(name, value);
        }
        let wanted = ProtocolOptions {
            enable_mp4: true,
            mp4_max: Duration::from_secs(60),
            mp4_save_path: PathBuf::from("/data/record"),
            stream_replace: Some("34020000001320000001".to_owned()),
            ..ProtocolOptions::default()
        };
        assert_eq!(options, wanted);
    }
}
