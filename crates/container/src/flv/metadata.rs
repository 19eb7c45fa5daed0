//! `onMetaData`: what a sender says about its tracks before they come.

use super::body::declared_id;
use super::fourcc::{audio_of_classic_id, codec_of_fourcc, video_of_classic_id};
use super::mux::Carried;
use crate::amf0::{self, Value};
use bytes::Bytes;
use media::{CodecId, MediaKind};

/// A codec as metadata names it.
#[derive(Clone, Debug, PartialEq)]
pub enum DeclaredCodec {
    /// One that Tidegate understands.
    Known(CodecId),
    /// Another, as text (`fLaC`, `4`).
    Other(String),
}

/// `onMetaData` of a sender. All fields are claims; the bit stream decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// `videocodecid`.
    pub video_codec: Option<DeclaredCodec>,
    /// `audiocodecid`.
    pub audio_codec: Option<DeclaredCodec>,
    /// `width` in pixels.
    pub width: Option<u32>,
    /// `height` in pixels.
    pub height: Option<u32>,
    /// `framerate` per second.
    pub fps: Option<f32>,
    /// `audiosamplerate` in hertz.
    pub sample_rate: Option<u32>,
    /// `audiosamplesize` in bits.
    pub sample_bits: Option<u8>,
    /// `audiochannels`, else 1 or 2 from `stereo`.
    pub channels: Option<u8>,
    /// `duration` in seconds, above 0 for files only.
    pub duration_s: Option<f64>,
    /// All members as sent.
    pub members: Vec<(String, Value)>,
}

impl Metadata {
    /// Whether video is to be expected; `None` when the metadata does not tell.
    pub fn declares_video(&self) -> Option<bool> {
        self.declares("hasVideo", self.video_codec.is_some())
    }

    /// Whether audio is to be expected; `None` when the metadata does not tell.
    pub fn declares_audio(&self) -> Option<bool> {
        self.declares("hasAudio", self.audio_codec.is_some())
    }

    fn declares(&self, flag: &str, named: bool) -> Option<bool> {
        if named {
            return Some(true);
        }
        let flagged = self.member(flag).and_then(Value::as_bool);
        // A sender that names one codec has named all of them.
        flagged.or_else(|| (self.video_codec.is_some() || self.audio_codec.is_some()).then_some(false))
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value)
    }
}

/// Reads the body of a script tag: `Ok(None)` if it is some other event than `onMetaData`. RTMP's `@setDataFrame` around it is
/// taken off.
pub fn parse(body: &[u8]) -> Result<Option<Metadata>, amf0::Error> {
    let mut input = body;
    let mut name = amf0::decode(&mut input)?;
    if name.as_str() == Some("@setDataFrame") {
        name = amf0::decode(&mut input)?;
    }
    if name.as_str() != Some("onMetaData") {
        return Ok(None);
    }
    let members = match amf0::decode(&mut input)? {
        Value::Object(members) | Value::EcmaArray(members) | Value::TypedObject { members, .. } => members,
        Value::Number(_)
        | Value::Boolean(_)
        | Value::String(_)
        | Value::Null
        | Value::Undefined
        | Value::Reference(_)
        | Value::StrictArray(_)
        | Value::Date { .. }
        | Value::Xml(_) => Vec::new(),
    };
    let mut metadata = Metadata {
        members,
        ..Metadata::default()
    };
    let number = |name| metadata.member(name).and_then(Value::as_f64);
    let above_zero = |name, max: f64| number(name).filter(|value| *value > 0.0 && *value <= max);
    let channels = above_zero("audiochannels", 255.0).map(|count| count as u8);
    let stereo = metadata
        .member("stereo")
        .and_then(Value::as_bool)
        .map(|stereo| if stereo { 2 } else { 1 });
    metadata = Metadata {
        video_codec: metadata
            .member("videocodecid")
            .and_then(|value| declared(value, MediaKind::Video)),
        audio_codec: metadata
            .member("audiocodecid")
            .and_then(|value| declared(value, MediaKind::Audio)),
        width: above_zero("width", MAX_SIDE).map(|pixels| pixels as u32),
        height: above_zero("height", MAX_SIDE).map(|pixels| pixels as u32),
        fps: above_zero("framerate", MAX_FPS)
            .or_else(|| above_zero("fps", MAX_FPS))
            .map(|fps| fps as f32),
        sample_rate: above_zero("audiosamplerate", MAX_SAMPLE_RATE).map(|rate| rate as u32),
        sample_bits: above_zero("audiosamplesize", 64.0).map(|bits| bits as u8),
        channels: channels.or(stereo),
        duration_s: number("duration").filter(|duration| duration.is_finite() && *duration > 0.0),
        members: metadata.members,
    };
    Ok(Some(metadata))
}

/// A codec id as number, FourCC as number, or text. 0 is "none" with the senders that write it.
fn declared(value: &Value, kind: MediaKind) -> Option<DeclaredCodec> {
    let known = |codec: Option<CodecId>, text: String| match codec.filter(|codec| codec.kind() == kind) {
        Some(codec) => DeclaredCodec::Known(codec),
        None => DeclaredCodec::Other(text),
    };
    if let Some(text) = value.as_str() {
        if text.is_empty() {
            return None;
        }
        let codec = <[u8; 4]>::try_from(text.as_bytes())
            .ok()
            .and_then(codec_of_fourcc);
        return Some(known(codec, text.chars().take(MAX_CODEC_NAME_LEN).collect()));
    }
    let number = value
        .as_f64()
        .filter(|number| *number >= 1.0 && *number <= f64::from(u32::MAX))? as u32;
    if let Ok(id) = u8::try_from(number) {
        let codec = match kind {
            MediaKind::Video => video_of_classic_id(id),
            MediaKind::Audio => audio_of_classic_id(id),
        };
        return Some(known(codec, number.to_string()));
    }
    let fourcc = number.to_be_bytes();
    Some(known(codec_of_fourcc(fourcc), fourcc.escape_ascii().to_string()))
}

/// The body of the script tag that announces `carried`: `onMetaData` and an associative array. For RTMP too.
pub fn body(carried: &Carried, enhanced: bool, server: &str) -> Bytes {
    let mut members = vec![("duration", Value::Number(0.0))];
    if let Some(track) = &carried.video {
        if let Some(video) = track.video() {
            for (name, value) in [
                ("width", f64::from(video.width)),
                ("height", f64::from(video.height)),
            ] {
                if value > 0.0 {
                    members.push((name, value.into()));
                }
            }
            if video.fps > 0.0 {
                members.push(("framerate", f64::from(video.fps).into()));
            }
        }
        members.push(("videocodecid", declared_id(track.codec, enhanced).into()));
    }
    if let Some(track) = &carried.audio {
        members.push(("audiocodecid", declared_id(track.codec, enhanced).into()));
        if let Some(audio) = track.audio() {
            if audio.sample_rate > 0 {
                members.push(("audiosamplerate", f64::from(audio.sample_rate).into()));
            }
            if audio.sample_bits > 0 {
                members.push(("audiosamplesize", f64::from(audio.sample_bits).into()));
            }
            if audio.channels > 0 {
                members.push(("audiochannels", f64::from(audio.channels).into()));
                members.push(("stereo", (audio.channels > 1).into()));
            }
        }
    }
    members.push(("server", server.into()));
    let mut body = Vec::with_capacity(256);
    amf0::encode(&"onMetaData".into(), &mut body);
    amf0::encode(&Value::ecma_array(members), &mut body);
    body.into()
}

/// Larger sides are nonsense: H.265 level 6.2 ends at 8192 x 4320, AV1's fields at 65,536.
const MAX_SIDE: f64 = 65_536.0;
/// Higher frame rates are nonsense (some senders write the time scale).
const MAX_FPS: f64 = 1_000.0;
/// Beyond any audio codec.
const MAX_SAMPLE_RATE: f64 = 1_000_000.0;
/// Names are echoed in logs.
const MAX_CODEC_NAME_LEN: usize = 16;
