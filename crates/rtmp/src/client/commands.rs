//! Commands that a client sends.

use super::{Config, Role};
use crate::message::Command;
use container::amf0::Value;

/// Codecs that we handle beyond the classic ones, for `fourCcList` (Enhanced RTMP, "Enhancing onMetaData and connect").
const FOURCCS: [&str; 5] = ["hvc1", "av01", "vp09", "vp08", "Opus"];

/// `SUPPORT_SND_*` of RTMP 1.0, section 7.2.1.1: every codec but the unused bits.
const AUDIO_CODECS: f64 = 0x0FFF as f64;

/// `SUPPORT_VID_*`: Sorenson H.263 to H.264, as players send it.
const VIDEO_CODECS: f64 = 252.0;

pub(super) fn connect(config: &Config, transaction: f64) -> Command {
    let mut members: Vec<(&str, Value)> = vec![("app", config.url.app.as_str().into())];
    if config.role == Role::Publish {
        members.push(("type", "nonprivate".into()));
    }
    members.extend([
        ("flashVer", config.flash_version.as_str().into()),
        ("tcUrl", config.url.tc_url().as_str().into()),
        ("fpad", false.into()),
        ("capabilities", 15.0.into()),
        ("audioCodecs", AUDIO_CODECS.into()),
        ("videoCodecs", VIDEO_CODECS.into()),
        ("videoFunction", 1.0.into()),
        ("objectEncoding", 0.0.into()),
        ("fourCcList", Value::StrictArray(FOURCCS.map(Value::from).into())),
        // No reconnect requests, multitrack, ModEx or nanosecond offsets.
        ("capsEx", 0.0.into()),
    ]);
    Command {
        name: "connect".into(),
        transaction,
        stream_id: 0,
        args: vec![Value::object(members)],
    }
}

/// A command without command object.
pub(super) fn plain(
    name: &str,
    transaction: f64,
    stream_id: u32,
    args: impl IntoIterator<Item = Value>,
) -> Command {
    let args = std::iter::once(Value::Null).chain(args).collect();
    Command {
        name: name.into(),
        transaction,
        stream_id,
        args,
    }
}
