//! How codecs are named in a program map table, in both directions (ISO/IEC 13818-1, table 2-34, and the descriptors of
//! private streams).

use super::psi::descriptors;
use bytes::{BufMut, Bytes, BytesMut};
use media::codec::{aac, opus};
use media::track::AudioParams;
use media::{CodecId, MediaKind, Track};

/// How G.711 is carried, for which no standard has a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum G711 {
    /// As private data (0x06) with a registration descriptor of our own, `alaw` or `ulaw` with rate and channels: other players
    /// see a stream that they do not know and play the rest.
    #[default]
    Registered,
    /// As ZLM does: `stream_type` 0x90 (A-law) or 0x91 (mu-law), which players take for something else or probe for long.
    Private,
    /// Not at all.
    Omit,
}

/// Whether TS carries a codec, with the default of [`G711`].
pub const fn carries(codec: CodecId) -> bool {
    carries_with(codec, G711::Registered)
}

/// Whether TS carries a codec when G.711 is treated like this.
pub(super) const fn carries_with(codec: CodecId, g711: G711) -> bool {
    match codec {
        CodecId::H264 | CodecId::H265 | CodecId::Av1 | CodecId::Aac | CodecId::Opus | CodecId::Mp3 => true,
        CodecId::G711A | CodecId::G711U => !matches!(g711, G711::Omit),
        CodecId::Vp8 | CodecId::Vp9 | CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => false,
    }
}

/// How a stream is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub stream_type: u8,
    pub descriptors: Bytes,
}

impl Named {
    fn plain(stream_type: u8) -> Self {
        Self {
            stream_type,
            descriptors: Bytes::new(),
        }
    }

    fn private(descriptors: impl Into<Bytes>) -> Self {
        Self {
            stream_type: PRIVATE,
            descriptors: descriptors.into(),
        }
    }

    /// The name of a track; `None` if it cannot be carried.
    pub fn of(track: &Track, g711: G711) -> Option<Self> {
        if !carries_with(track.codec, g711) {
            return None;
        }
        Some(match track.codec {
            CodecId::H264 => Self::plain(H264),
            CodecId::H265 => Self::plain(H265),
            CodecId::Av1 => {
                let config = track.config.as_ref()?;
                Self::private(av1_descriptors(config.first_chunk()?))
            }
            CodecId::Aac => {
                let config = aac::Config::parse(track.config.as_ref()?).ok()?;
                // What ADTS cannot say is known before the first frame.
                aac::Adts::header(&config, 0)?;
                Self::plain(AAC)
            }
            CodecId::Mp3 => {
                // MPEG-2 and 2.5 halve and quarter the rates of MPEG-1.
                let rate = track.audio().map_or(0, |audio| audio.sample_rate);
                Self::plain(if (1..MPEG1_LOWEST_RATE).contains(&rate) {
                    MPEG2_AUDIO
                } else {
                    MPEG1_AUDIO
                })
            }
            CodecId::Opus => {
                let head = match &track.config {
                    Some(config) => opus::Head::parse(config).ok()?,
                    None => {
                        let channels = track.audio().map(|audio| audio.channels);
                        opus::Head::new(channels.filter(|channels| *channels > 0).unwrap_or(2))
                    }
                };
                let mut descriptors = registration(*b"Opus", &[]);
                descriptors.put_slice(&[EXTENSION, 2, OPUS_EXTENSION, channel_config_code(&head)?]);
                Self::private(descriptors)
            }
            CodecId::G711A | CodecId::G711U => {
                let a_law = track.codec == CodecId::G711A;
                if g711 == G711::Private {
                    return Some(Self::plain(if a_law { ZLM_A_LAW } else { ZLM_MU_LAW }));
                }
                let audio = track.audio().copied().unwrap_or_default();
                let [_, rate @ ..] = audio.sample_rate.to_be_bytes();
                let [r2, r1, r0] = rate;
                let id = if a_law { A_LAW } else { MU_LAW };
                Self::private(registration(id, &[r2, r1, r0, audio.channels]))
            }
            CodecId::Vp8 | CodecId::Vp9 | CodecId::L16 | CodecId::Jpeg | CodecId::Other(_) => return None,
        })
    }
}

/// A registration descriptor (2.6.8).
fn registration(format_identifier: [u8; 4], more: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(16);
    out.put_slice(&[REGISTRATION, (format_identifier.len() + more.len()) as u8]);
    out.put_slice(&format_identifier);
    out.put_slice(more);
    out
}

/// Registration and AV1 video descriptor (Carriage of AV1 in MPEG-2 TS, 2.1 and 2.2), from the first bytes of `av1C`.
fn av1_descriptors(config: &[u8; 4]) -> BytesMut {
    let mut out = registration(*b"AV01", &[]);
    let [marker, profile, format, delay] = *config;
    // hdr_wcg_idc, which av1C has not: 3, nothing is said.
    out.put_slice(&[AV1_VIDEO, 4, marker, profile, format, 0xc0 | delay & 0x1f]);
    out
}

/// `channel_config_code` of Xiph's mapping of Opus to MPEG-TS: mono and stereo, and the layouts of mapping family 1.
fn channel_config_code(head: &opus::Head) -> Option<u8> {
    match (head.family, head.channels) {
        (0, channels @ 1..=2) => Some(channels),
        (1, channels) => surround(channels)
            .filter(|mapping| head.mapping == mapping[..])
            .map(|_| channels),
        _ => None,
    }
}

/// Stream count, coupled count and channel mapping of an encoder's usual stream in family 1 (RFC 7845, 5.1.1.2).
fn surround(channels: u8) -> Option<Bytes> {
    Some(Bytes::from_static(match channels {
        1 => &[1, 0, 0],
        2 => &[1, 1, 0, 1],
        3 => &[2, 1, 0, 2, 1],
        4 => &[2, 2, 0, 1, 2, 3],
        5 => &[3, 2, 0, 4, 1, 2, 3],
        6 => &[4, 2, 0, 4, 1, 2, 3, 5],
        7 => &[4, 3, 0, 4, 1, 2, 3, 5, 6],
        8 => &[5, 3, 0, 6, 1, 2, 3, 4, 5, 7],
        _ => return None,
    }))
}

/// What a stream of a program map table is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Identified {
    /// A codec, with what the descriptors say about it.
    Known {
        codec: CodecId,
        /// A decoder configuration record.
        config: Option<Bytes>,
        audio: Option<AudioParams>,
    },
    /// Something that Tidegate does not carry, in words for a log line.
    Unknown(String),
    /// No sound or picture: tables, subtitles, padding.
    NoMedia,
}

/// Names a stream. `hdmv`: the program is registered as that of a Blu-ray disc, where 0x80 and above mean other things.
pub(super) fn identify(stream_type: u8, list: &[u8], hdmv: bool) -> Identified {
    let known = |codec| Identified::Known {
        codec,
        config: None,
        audio: None,
    };
    let unknown = |name: &str| Identified::Unknown(format!("{name} (stream type 0x{stream_type:02x})"));
    match stream_type {
        H264 => known(CodecId::H264),
        H265 => known(CodecId::H265),
        AAC => known(CodecId::Aac),
        MPEG1_AUDIO | MPEG2_AUDIO => known(CodecId::Mp3),
        ZLM_A_LAW if !hdmv => known(CodecId::G711A),
        ZLM_MU_LAW if !hdmv => known(CodecId::G711U),
        PRIVATE => identify_private(list),
        0x01 | 0x02 => unknown("MPEG-1 or MPEG-2 video"),
        0x10 => unknown("MPEG-4 video"),
        LATM => unknown("AAC in LATM"),
        0x33 => unknown("H.266"),
        0x42 => unknown("AVS video"),
        0x81 => unknown("AC-3"),
        0x87 => unknown("E-AC-3"),
        0xea => unknown("VC-1"),
        // Private sections, DSM-CC, metadata, SCTE 35.
        0x05 | 0x07..=0x0e | 0x12..=0x1a | 0x86 => Identified::NoMedia,
        _ => unknown("a codec that is not known here"),
    }
}

fn identify_private(list: &[u8]) -> Identified {
    let find = |tag| {
        descriptors(list)
            .find(|descriptor| descriptor.0 == tag)
            .map(|descriptor| descriptor.1)
    };
    let Some((id, more)) = find(REGISTRATION).and_then(<[u8]>::split_first_chunk::<4>) else {
        return match () {
            // ETSI EN 300 468, annex D; teletext and subtitles are no media for us.
            () if find(0x6a).is_some() => Identified::Unknown("AC-3 (DVB)".to_owned()),
            () if find(0x7a).is_some() => Identified::Unknown("E-AC-3 (DVB)".to_owned()),
            () if find(0x7b).is_some() => Identified::Unknown("DTS (DVB)".to_owned()),
            () if find(0x56).or(find(0x59)).is_some() => Identified::NoMedia,
            () => Identified::Unknown("private data without registration".to_owned()),
        };
    };
    let known = |codec, config, audio| Identified::Known { codec, config, audio };
    let g711 = |codec| match *more {
        [r2, r1, r0, channels] if [r2, r1, r0] != [0; 3] && channels > 0 => known(
            codec,
            None,
            Some(AudioParams {
                sample_rate: u32::from_be_bytes([0, r2, r1, r0]),
                channels,
                sample_bits: 16,
            }),
        ),
        _ => known(codec, None, None),
    };
    match id {
        b"Opus" => {
            let code = descriptors(list).find_map(|descriptor| match descriptor {
                (EXTENSION, [OPUS_EXTENSION, code, ..]) => Some(*code),
                _ => None,
            });
            match code {
                None => known(CodecId::Opus, None, None),
                Some(channels @ 1..=2) => known(CodecId::Opus, Some(opus::Head::new(channels).build()), None),
                Some(channels @ 3..=8) => {
                    let head = opus::Head {
                        channels,
                        family: 1,
                        mapping: surround(channels).unwrap_or_default(),
                        ..opus::Head::new(2)
                    };
                    known(CodecId::Opus, Some(head.build()), None)
                }
                Some(code) => Identified::Unknown(format!("Opus with channel configuration 0x{code:02x}")),
            }
        }
        b"AV01" => known(CodecId::Av1, None, None),
        b"HEVC" => known(CodecId::H265, None, None),
        &A_LAW => g711(CodecId::G711A),
        &MU_LAW => g711(CodecId::G711U),
        b"KLVA" | b"CUEI" => Identified::NoMedia,
        other => Identified::Unknown(format!("private data {}", other.escape_ascii())),
    }
}

/// Whether a program's descriptors say that it is of a Blu-ray disc.
pub(super) fn is_hdmv(list: &[u8]) -> bool {
    descriptors(list).any(|descriptor| descriptor == (REGISTRATION, b"HDMV"))
}

/// `stream_id` of a track's PES packets (table 2-22). `nth` counts the tracks of its kind; there are numbers for 16 of video and
/// 32 of audio.
pub(super) fn stream_id(named: &Named, kind: MediaKind, nth: u8) -> u8 {
    match kind {
        _ if named.stream_type == PRIVATE => 0xbd,
        MediaKind::Video => 0xe0 | nth & 0xf,
        MediaKind::Audio => 0xc0 | nth & 0x1f,
    }
}

const MPEG1_AUDIO: u8 = 0x03;
const MPEG2_AUDIO: u8 = 0x04;
/// PES packets with private data.
const PRIVATE: u8 = 0x06;
const AAC: u8 = 0x0f;
const LATM: u8 = 0x11;
const H264: u8 = 0x1b;
const H265: u8 = 0x24;
const ZLM_A_LAW: u8 = 0x90;
const ZLM_MU_LAW: u8 = 0x91;

/// Descriptor tags.
const REGISTRATION: u8 = 0x05;
const EXTENSION: u8 = 0x7f;
const AV1_VIDEO: u8 = 0x80;
/// `descriptor_tag_extension` of Opus.
const OPUS_EXTENSION: u8 = 0x80;
/// Our own format identifiers: the names that QuickTime and MP4 have for the same samples.
const A_LAW: [u8; 4] = *b"alaw";
const MU_LAW: [u8; 4] = *b"ulaw";
/// The lowest sampling rate of MPEG-1 audio.
const MPEG1_LOWEST_RATE: u32 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;
    use media::track::VideoParams;
    use media::{TrackId, TrackParams};

    fn audio(codec: CodecId, config: Option<Bytes>, sample_rate: u32, channels: u8) -> Track {
        Track {
            id: TrackId(0),
            codec,
            config,
            params: TrackParams::Audio(AudioParams {
                sample_rate,
                channels,
                sample_bits: 16,
            }),
            wire: None,
        }
    }

    fn named(track: &Track, g711: G711) -> (u8, Vec<u8>) {
        let named = Named::of(track, g711).unwrap();
        (named.stream_type, named.descriptors.to_vec())
    }

    #[test]
    fn opus_has_a_registration_and_a_channel_configuration() {
        let track = |head: opus::Head| audio(CodecId::Opus, Some(head.build()), 48_000, head.channels);
        let stereo = b"\x05\x04Opus\x7f\x02\x80\x02";
        assert_eq!(
            named(&track(opus::Head::new(2)), G711::Omit),
            (6, stereo.to_vec())
        );
        let surround = opus::Head {
            channels: 6,
            family: 1,
            mapping: surround(6).unwrap(),
            ..opus::Head::new(2)
        };
        let six = b"\x05\x04Opus\x7f\x02\x80\x06";
        assert_eq!(named(&track(surround.clone()), G711::Omit), (6, six.to_vec()));
        let expected = Identified::Known {
            codec: CodecId::Opus,
            config: Some(surround.build()),
            audio: None,
        };
        assert_eq!(identify(6, six, false), expected);
        let odd = opus::Head {
            mapping: Bytes::from_static(&[6, 0, 0, 1, 2, 3, 4, 5]),
            ..surround
        };
        assert_eq!(Named::of(&track(odd), G711::Omit), None);
    }

    #[test]
    fn g711_is_named_as_the_option_says() {
        let track = audio(CodecId::G711U, None, 16_000, 2);
        let registered = b"\x05\x08ulaw\x00\x3e\x80\x02";
        assert_eq!(named(&track, G711::Registered), (6, registered.to_vec()));
        let expected = Identified::Known {
            codec: CodecId::G711U,
            config: None,
            audio: Some(AudioParams {
                sample_rate: 16_000,
                channels: 2,
                sample_bits: 16,
            }),
        };
        assert_eq!(identify(6, registered, false), expected);
        assert_eq!(named(&track, G711::Private), (0x91, vec![]));
        assert_eq!(Named::of(&track, G711::Omit), None);
        assert!(matches!(
            identify(0x91, &[], false),
            Identified::Known {
                codec: CodecId::G711U,
                ..
            }
        ));
        assert!(matches!(identify(0x91, &[], true), Identified::Unknown(_)));
    }

    #[test]
    fn mpeg_audio_is_named_by_its_rate() {
        let stream_type = |rate| named(&audio(CodecId::Mp3, None, rate, 2), G711::Omit).0;
        assert_eq!(
            (stream_type(44_100), stream_type(32_000), stream_type(0)),
            (3, 3, 3)
        );
        assert_eq!((stream_type(24_000), stream_type(8_000)), (4, 4));
    }

    #[test]
    fn av1_has_its_configuration_in_a_descriptor() {
        let track = Track {
            id: TrackId(0),
            codec: CodecId::Av1,
            config: Some(Bytes::from_static(&[0x81, 0x08, 0x0c, 0x00, 0x0a])),
            params: TrackParams::Video(VideoParams::default()),
            wire: None,
        };
        let expected = b"\x05\x04AV01\x80\x04\x81\x08\x0c\xc0";
        assert_eq!(named(&track, G711::Omit), (6, expected.to_vec()));
        assert!(matches!(
            identify(6, expected, false),
            Identified::Known {
                codec: CodecId::Av1,
                ..
            }
        ));
    }

    #[test]
    fn what_adts_cannot_say_is_not_carried() {
        let track = |config| audio(CodecId::Aac, config, 48_000, 2);
        assert_eq!(
            named(&track(Some(Bytes::from_static(&[0x11, 0x90]))), G711::Omit),
            (0x0f, vec![])
        );
        // Object type 39, AAC ELD.
        let eld = Bytes::from_static(&[0xf8, 0xe6, 0x40, 0x00]);
        assert_eq!(Named::of(&track(Some(eld)), G711::Omit), None);
        assert_eq!(Named::of(&track(None), G711::Omit), None);
    }
}
