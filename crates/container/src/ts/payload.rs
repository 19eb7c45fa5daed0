//! Frames to what PES packets carry.

use super::packet::Sink;
use super::{av1, opus};
use bytes::{Bytes, BytesMut};
use media::codec::aac;
use media::codec::nal::LengthPrefixed;
use media::codec::{h264, h265};
use media::{CodecId, Frame, Track};

/// How the frames of a track are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    H264 {
        /// Parameter sets in Annex B.
        sets: Bytes,
    },
    H265 {
        /// Parameter sets in Annex B, and the messages for the whole stream.
        sets: Bytes,
    },
    Av1 {
        /// The OBUs of the configuration record, with start codes.
        header: Bytes,
    },
    Adts(aac::Config),
    Opus,
    Plain,
}

impl Form {
    /// The form of a carried track.
    pub fn of(track: &Track) -> Option<Self> {
        let config = track.config.as_ref();
        Some(match track.codec {
            CodecId::H264 => {
                let config = config.and_then(|config| h264::Config::parse(config).ok());
                let sets = config.map(|config| annex_b(config.sps.iter().chain(&config.pps)));
                Self::H264 {
                    sets: sets.unwrap_or_default(),
                }
            }
            CodecId::H265 => {
                let config = config.and_then(|config| h265::Config::parse(config).ok());
                let sets = config.map(|config| {
                    let sets = config.vps.iter().chain(&config.sps).chain(&config.pps);
                    annex_b(sets.chain(config.prefix_sei()))
                });
                Self::H265 {
                    sets: sets.unwrap_or_default(),
                }
            }
            CodecId::Av1 => {
                let mut header = Buffer::default();
                av1::put(config?.get(4..)?, &mut header);
                Self::Av1 {
                    header: header.0.freeze(),
                }
            }
            CodecId::Aac => Self::Adts(aac::Config::parse(config?).ok()?),
            CodecId::Opus => Self::Opus,
            CodecId::Mp3 | CodecId::G711A | CodecId::G711U => Self::Plain,
            CodecId::Vp8 | CodecId::Vp9 | CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => return None,
        })
    }

    /// Writes a frame. Returns whether there was anything in it that can be written; if not, what went to `sink` is worth nothing.
    pub fn put(&self, frame: &Frame, sink: &mut impl Sink) -> bool {
        let data = &frame.data[..];
        match self {
            Self::H264 { sets } => {
                sink.put(&H264_DELIMITER);
                if frame.key && !holds(data, &[h264::NAL_SPS, h264::NAL_PPS], h264::nal_type) {
                    sink.put(sets);
                }
                put_units(data, |unit| h264::nal_type(unit) == h264::NAL_AUD, sink)
            }
            Self::H265 { sets } => {
                sink.put(&H265_DELIMITER);
                if frame.key
                    && !holds(
                        data,
                        &[h265::NAL_VPS, h265::NAL_SPS, h265::NAL_PPS],
                        h265::nal_type,
                    )
                {
                    sink.put(sets);
                }
                put_units(data, |unit| h265::nal_type(unit) == h265::NAL_AUD, sink)
            }
            Self::Av1 { header } => {
                if frame.key && !av1::has_sequence_header(data) {
                    sink.put(header);
                }
                av1::put(data, sink)
            }
            Self::Adts(config) => {
                let Some(header) = aac::Adts::header(config, data.len()) else {
                    return false;
                };
                sink.put(&header);
                sink.put(data);
                !data.is_empty()
            }
            Self::Opus => {
                opus::put_header(data.len(), sink);
                sink.put(data);
                !data.is_empty()
            }
            Self::Plain => {
                sink.put(data);
                !data.is_empty()
            }
        }
    }
}

/// Collects.
#[derive(Default)]
struct Buffer(BytesMut);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

fn annex_b<'a>(units: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut out = BytesMut::new();
    for unit in units {
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
    }
    out.freeze()
}

/// Whether NAL units of all these types are in a frame.
fn holds(frame: &[u8], types: &[u8], nal_type: fn(&[u8]) -> u8) -> bool {
    let mut found = 0u8;
    for unit in LengthPrefixed::new(frame, 4).map_while(Result::ok) {
        if let Some(at) = types.iter().position(|wanted| *wanted == nal_type(unit)) {
            found |= 1 << at;
        }
    }
    found.count_ones() as usize == types.len()
}

/// NAL units with start codes. Delimiters of the frame's own are left out: ours stands before them.
fn put_units(frame: &[u8], is_delimiter: impl Fn(&[u8]) -> bool, sink: &mut impl Sink) -> bool {
    let mut any = false;
    for unit in LengthPrefixed::new(frame, 4).map_while(Result::ok) {
        if !is_delimiter(unit) {
            sink.put(&START_CODE);
            sink.put(unit);
            any = true;
        }
    }
    any
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Access unit delimiters, with which every access unit in a transport stream begins (2.14.1, 2.17.1), for slices of any type.
const H264_DELIMITER: [u8; 6] = [0, 0, 0, 1, h264::NAL_AUD, 0xf0];
const H265_DELIMITER: [u8; 7] = [0, 0, 0, 1, h265::NAL_AUD << 1, 1, 0x50];

#[cfg(test)]
mod tests {
    use super::*;
    use media::track::{AudioParams, VideoParams};
    use media::{MediaTime, TrackId, TrackParams};

    fn written(form: &Form, data: &[u8], key: bool) -> Option<Vec<u8>> {
        let frame = Frame {
            track: TrackId(0),
            dts: MediaTime::ZERO,
            pts: MediaTime::ZERO,
            key,
            data: Bytes::copy_from_slice(data),
            wire: None,
        };
        let mut out = Buffer::default();
        form.put(&frame, &mut out).then(|| out.0.to_vec())
    }

    #[test]
    fn h264_begins_with_a_delimiter_and_key_frames_with_parameter_sets() {
        let form = Form::H264 {
            sets: Bytes::from_static(&[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2]),
        };
        let slice = [0, 0, 0, 2, 0x65, 9];
        let expected = [
            0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 9,
        ];
        assert_eq!(written(&form, &slice, true), Some(expected.to_vec()));
        // With a delimiter and sets of its own.
        let whole = [
            0, 0, 0, 2, 9, 0x10, 0, 0, 0, 1, 0x67, 0, 0, 0, 1, 0x68, 0, 0, 0, 2, 0x65, 9,
        ];
        let expected = [
            0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 9,
        ];
        assert_eq!(written(&form, &whole, true), Some(expected.to_vec()));
        let other = [0, 0, 0, 2, 0x41, 9];
        assert_eq!(
            written(&form, &other, false),
            Some(vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x41, 9])
        );
        // Nothing but a delimiter, and nothing at all.
        assert_eq!(written(&form, &[0, 0, 0, 2, 9, 0x10], false), None);
        assert_eq!(written(&form, &[], false), None);
    }

    #[test]
    fn h265_begins_with_a_delimiter() {
        let form = Form::H265 { sets: Bytes::new() };
        let expected = [0, 0, 0, 1, 0x46, 1, 0x50, 0, 0, 0, 1, 2, 1, 7];
        assert_eq!(
            written(&form, &[0, 0, 0, 3, 2, 1, 7], false),
            Some(expected.to_vec())
        );
    }

    #[test]
    fn aac_has_an_adts_header_and_what_is_too_long_for_it_is_refused() {
        let form = Form::Adts(aac::Config::parse(&[0x12, 0x10]).unwrap());
        let expected = [0xff, 0xf1, 0x50, 0x80, 1, 0x3f, 0xfc, 7, 8];
        assert_eq!(written(&form, &[7, 8], true), Some(expected.to_vec()));
        assert_eq!(written(&form, &[7; 8185], true), None);
        assert_eq!(written(&form, &[], true), None);
    }

    #[test]
    fn opus_has_a_control_header() {
        let expected = [&[0x7f, 0xe0, 2], &[0xfc, 8][..]].concat();
        assert_eq!(written(&Form::Opus, &[0xfc, 8], true), Some(expected));
    }

    #[test]
    fn forms_follow_from_tracks() {
        let audio = TrackParams::Audio(AudioParams::default());
        let video = TrackParams::Video(VideoParams::default());
        let form = |codec, params, config: Option<&'static [u8]>| {
            Form::of(&Track {
                id: TrackId(0),
                codec,
                config: config.map(Bytes::from_static),
                params,
                wire: None,
            })
        };
        assert_eq!(form(CodecId::Mp3, audio, None), Some(Form::Plain));
        assert_eq!(form(CodecId::Aac, audio, None), None);
        assert_eq!(form(CodecId::Vp8, video, None), None);
        let av1 = form(CodecId::Av1, video, Some(&[0x81, 0, 0, 0, 0x0a, 1, 0x20]));
        let header = Bytes::from_static(&[0, 0, 1, 0x0a, 1, 0x20]);
        assert_eq!(av1, Some(Form::Av1 { header }));
    }
}
