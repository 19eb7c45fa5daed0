//! Tag bodies, which are RTMP message payloads too: sequence headers, and the few bytes before the payload of a frame.

use super::fourcc::{classic_id, fourcc_of, is_enhanced};
use bytes::Bytes;
use media::track::AudioParams;
use media::{CodecId, Frame, MediaKind, MediaTime, Track};
use std::ops::Deref;

/// Longest head: enhanced header byte, FourCC, 24 bits of composition time.
pub const MAX_HEAD_LEN: usize = 8;

/// The bytes of a tag body before the payload of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; MAX_HEAD_LEN],
    len: u8,
}

impl Head {
    const fn new() -> Self {
        Self {
            bytes: [0; MAX_HEAD_LEN],
            len: 0,
        }
    }

    /// Heads are put together from at most `MAX_HEAD_LEN` bytes below, so this cannot run over.
    fn with(mut self, part: &[u8]) -> Self {
        let at = usize::from(self.len);
        self.bytes[at..at + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
        self
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Whether FLV and RTMP can carry the track. G.711 has no rate bits, so it is 8000 Hz mono or nothing (codecs.md, section 4);
/// a track whose configuration is still missing cannot be announced yet.
pub fn carries(track: &Track) -> bool {
    match track.codec {
        CodecId::G711A | CodecId::G711U => track
            .audio()
            .is_some_and(|audio| audio.sample_rate == 8000 && audio.channels == 1),
        CodecId::H264
        | CodecId::H265
        | CodecId::Av1
        | CodecId::Vp8
        | CodecId::Vp9
        | CodecId::Aac
        | CodecId::Opus
        | CodecId::Mp3 => track.ready(),
        CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => false,
    }
}

/// The body that announces a track's decoder configuration; `None` if the codec has none in this form. `enhanced` is
/// `rtmp.enhanced`: FourCC signalling for H.265, AV1, VP8, VP9 and Opus instead of domestic ids.
pub fn sequence_header(track: &Track, enhanced: bool) -> Option<Bytes> {
    let config = track.config.as_ref()?;
    let enhanced = enhanced && is_enhanced(track.codec);
    let head = match track.codec {
        CodecId::H264 | CodecId::H265 | CodecId::Av1 | CodecId::Vp9 if !enhanced => {
            Head::new().with(&[0x10 | classic_id(track.codec), 0, 0, 0, 0])
        }
        CodecId::H264 | CodecId::H265 | CodecId::Av1 | CodecId::Vp9 => Head::new()
            .with(&[EX_VIDEO | 0x10 | SEQUENCE_START])
            .with(&fourcc(track.codec)),
        CodecId::Aac => Head::new().with(&[AAC_AUDIO, 0]),
        CodecId::Opus if enhanced => Head::new()
            .with(&[EX_AUDIO | SEQUENCE_START])
            .with(&fourcc(track.codec)),
        CodecId::Vp8
        | CodecId::Opus
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::Mp3
        | CodecId::L16
        | CodecId::Jpeg
        | CodecId::Other(_) => return None,
    };
    Some([&head[..], config].concat().into())
}

/// The bytes before `frame.data` in the body of its tag. `track` is the frame's track, one that [`carries`] accepts.
///
/// Composition time is kept to the millisecond and clamped to its signed 24 bits (2 h 19 min). AV1, VP8 and VP9 in enhanced
/// form have no field for it: they never reorder.
pub fn frame_head(frame: &Frame, track: &Track, enhanced: bool) -> Head {
    let enhanced = enhanced && is_enhanced(track.codec);
    match track.codec {
        CodecId::H264 | CodecId::H265 | CodecId::Av1 | CodecId::Vp8 | CodecId::Vp9 => {
            let frame_type = if frame.key { 0x10 } else { 0x20 };
            if !enhanced {
                let head = Head::new().with(&[frame_type | classic_id(track.codec), 1]);
                return head.with(&composition_time(frame));
            }
            let head = |packet_type| {
                Head::new()
                    .with(&[EX_VIDEO | frame_type | packet_type])
                    .with(&fourcc(track.codec))
            };
            if track.codec == CodecId::H265 {
                head(CODED_FRAMES).with(&composition_time(frame))
            } else {
                head(CODED_FRAMES_X)
            }
        }
        CodecId::Aac => Head::new().with(&[AAC_AUDIO, 1]),
        CodecId::Opus if enhanced => Head::new()
            .with(&[EX_AUDIO | CODED_FRAMES])
            .with(&fourcc(track.codec)),
        CodecId::Opus
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::Mp3
        | CodecId::L16
        | CodecId::Jpeg
        | CodecId::Other(_) => Head::new().with(&[sound_byte(
            track.codec,
            track.audio().copied().unwrap_or_default(),
        )]),
    }
}

/// The time field of a frame's tag or RTMP message: DTS in milliseconds, from 0, modulo 2^32.
pub fn timestamp(frame: &Frame) -> u32 {
    dts_ms(frame.dts) as u32
}

/// FLV's clock starts at 0: players take a time below it for one above 2^31.
fn dts_ms(dts: MediaTime) -> i64 {
    dts.as_millis().max(0)
}

/// Both times are rounded before they are subtracted, so that a reader's sum is the rounded PTS.
fn composition_time(frame: &Frame) -> [u8; 3] {
    let offset = frame.pts.as_millis().saturating_sub(dts_ms(frame.dts));
    // In range of 24 bits after the clamp.
    let [_, high, mid, low] = (offset.clamp(-0x80_0000, 0x7F_FFFF) as i32).to_be_bytes();
    [high, mid, low]
}

/// The first byte of a classic audio tag (annex E.4.2.1): format, rate, size, channels. Rates beyond the four of FLV are
/// written as 0, as ZLM does; players take the rate from the bit stream.
fn sound_byte(codec: CodecId, audio: AudioParams) -> u8 {
    let size = 0x02;
    let rate = match audio.sample_rate {
        11_025 => 1,
        22_050 => 2,
        44_100 => 3,
        _ => 0,
    };
    let stereo = u8::from(audio.channels > 1);
    match codec {
        // codecs.md, section 4: `df`.
        CodecId::Opus => 0xdf,
        CodecId::Mp3 if audio.sample_rate == 8000 => MP3_8K << 4 | size | stereo,
        CodecId::Aac => AAC_AUDIO,
        CodecId::Mp3
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::H264
        | CodecId::H265
        | CodecId::Av1
        | CodecId::Vp8
        | CodecId::Vp9
        | CodecId::L16
        | CodecId::Jpeg
        | CodecId::Other(_) => classic_id(codec) << 4 | rate << 2 | size | stereo,
    }
}

/// The number that `onMetaData` gives for the codec: the FourCC when frames are written with it, else the classic id.
pub(super) fn declared_id(codec: CodecId, enhanced: bool) -> f64 {
    if enhanced && is_enhanced(codec) {
        f64::from(u32::from_be_bytes(fourcc(codec)))
    } else {
        f64::from(classic_id(codec))
    }
}

/// Callers ask for codecs of [`is_enhanced`] only, and all of those have a FourCC.
fn fourcc(codec: CodecId) -> [u8; 4] {
    fourcc_of(codec).unwrap_or_default()
}

/// The tag type for a track.
pub const fn tag_type(kind: MediaKind) -> super::TagType {
    match kind {
        MediaKind::Video => super::TagType::Video,
        MediaKind::Audio => super::TagType::Audio,
    }
}

/// IsExHeader of a video tag.
const EX_VIDEO: u8 = 0x80;
/// SoundFormat 9, ExHeader, of an audio tag.
const EX_AUDIO: u8 = 0x90;
/// AAC: always 44 kHz, 16 bit, stereo in the tag; the truth is in the AudioSpecificConfig (annex E.4.2.1).
const AAC_AUDIO: u8 = 0xaf;
/// SoundFormat of MP3 at 8 kHz.
const MP3_8K: u8 = 14;
/// PacketType values of Enhanced RTMP, equal for audio and video where both have them.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const CODED_FRAMES_X: u8 = 3;
