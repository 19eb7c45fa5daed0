//! What comes in a stream right now, frame by frame.

use crate::describe::Shape::{Bool, Int, Object, Text, Word};
use crate::describe::parameters::{APP, STREAM, VHOST};
use crate::describe::{About, Kind, Member, Parameter, Returns, data};
use crate::describe::{fixed, list};
use crate::dispatch::Call;
use crate::outside::{MAX_PROBED, ProbedFrame};
use crate::reply::{Answer, Failure, Reply};
use hooks::object;
use media::MediaKind;
use serde::Serialize;
use std::time::Duration;

/// Longest probe, in milliseconds. The caller's connection waits that long, and so does the reply in memory.
const MAX_MS: u32 = 60_000;

pub const ADD: About = About::new(
    "Watches a stream and lists the frames that came. Answers when the time is over, or after 20000 frames. -500 if it is not there.",
    Returns::Members(fixed![data(
        list!(Object(fixed![
            Member::new("codec", Text, "Name of the codec, as in `codec_id_name`."),
            Member::new("track_type", Word(&["video", "audio"]), "Kind of track."),
            Member::new("index", Int, "Number of the track, in order of appearance."),
            Member::new("dts", Int, "Decoding time, milliseconds."),
            Member::new("pts", Int, "Presentation time, milliseconds."),
            Member::new("recv_stamp", Int, "When it came, milliseconds since the start of the probe."),
            Member::new("frame_size", Int, "Length in bytes."),
            Member::new("key_frame", Bool, "Video: decoding can start here."),
            Member::new(
                "config_frame",
                Bool,
                "Always false: decoder configuration is kept with the track, not among its frames.",
            ),
        ])),
        "In the order in which they came; absent when none did.",
    )
    .optional()]),
)
.takes(fixed![
    VHOST,
    APP,
    STREAM,
    Parameter::new(
        "probe_ms",
        Kind::Int(0, MAX_MS as i64),
        "How long to watch, in milliseconds.",
    )
    .required(),
]);

#[derive(Serialize)]
struct Frame {
    codec: &'static str,
    track_type: &'static str,
    index: u8,
    dts: i64,
    pts: i64,
    recv_stamp: u64,
    frame_size: usize,
    key_frame: bool,
    config_frame: bool,
}

impl From<ProbedFrame> for Frame {
    fn from(frame: ProbedFrame) -> Self {
        let (track_type, is_video) = match frame.codec.kind() {
            MediaKind::Video => ("video", true),
            MediaKind::Audio => ("audio", false),
        };
        Self {
            codec: object::codec_name(frame.codec),
            track_type,
            index: frame.track.0,
            dts: frame.dts.as_millis(),
            pts: frame.pts.as_millis(),
            recv_stamp: u64::try_from(frame.at.as_millis()).unwrap_or(u64::MAX),
            frame_size: frame.size,
            key_frame: is_video && frame.key,
            config_frame: false,
        }
    }
}

pub async fn add(call: Call) -> Answer {
    let given = call.args.int("probe_ms").unwrap_or(0);
    let time = u32::try_from(given).ok().filter(|ms| *ms <= MAX_MS);
    let time = time.ok_or_else(|| {
        Failure::InvalidArgs(format!("\"probe_ms\" is {given}, it must be from 0 to {MAX_MS}"))
    })?;
    let time = Duration::from_millis(time.into());
    let frames = call.server.probe(&call.key(), time).await;
    let mut frames = frames.ok_or(Failure::NotFound("can not find the stream"))?;
    frames.truncate(MAX_PROBED);
    Ok(Reply::list(
        &frames.into_iter().map(Frame::from).collect::<Vec<_>>(),
    ))
}
