//! What a media section of an SDP means for a track, and back.

mod initial;

pub use initial::{Error, Initial};

use crate::sdp::{self, Kind, Media};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use media::codec::{CodecId, MediaKind, aac, av1, h264, h265, opus, vp9};
use media::track::Track;
use std::fmt::Write as _;

/// A payload format: what a payload type of a media section means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The codec. [`CodecId::Mp3`] is MPEG audio of a layer that only the frames tell.
    pub codec: CodecId,
    /// 0..=127.
    pub payload_type: u8,
    /// Ticks of the RTP timestamp per second; at least 1.
    pub clock_rate: u32,
    /// Channels; 0 for video, and for MPEG audio where it is not said.
    pub channels: u8,
    /// Name as in `rtpmap`, in the case the sender uses.
    pub encoding: String,
    /// Format parameters in order: name, and value or an empty string.
    pub fmtp: Vec<(String, String)>,
}

impl Format {
    /// The format of the first payload type of a section that is media: not comfort noise, tones, repair or retransmission.
    /// `None` if there is none, if the section is neither video nor audio, if it is not RTP, or if nothing tells the clock.
    pub fn of(media: &Media) -> Option<Self> {
        let kind = match media.kind {
            Kind::Video => MediaKind::Video,
            Kind::Audio => MediaKind::Audio,
            Kind::Application | Kind::Other => return None,
        };
        // TCP/RTP/AVP and others; MP2T/RTP of television providers too.
        if !media
            .protocol
            .to_ascii_uppercase()
            .split('/')
            .any(|part| part == "RTP")
        {
            return None;
        }
        media
            .payload_types
            .iter()
            .find_map(|payload_type| Self::of_payload_type(media, kind, *payload_type))
    }

    fn of_payload_type(media: &Media, kind: MediaKind, payload_type: u8) -> Option<Self> {
        let fmtp: Vec<_> = sdp::for_payload_type(&media.attributes, "fmtp", payload_type)
            .flat_map(parameters)
            .collect();
        // A map wins over the static meaning: Anpviz sends AAC as type 0, GW sends PCMU as type 8.
        let (encoding, clock_rate, channels) = match media.rtpmap(payload_type) {
            Some(map) => (map.encoding, map.clock_rate, map.channels.unwrap_or(0)),
            None => static_type(payload_type, kind).or_else(|| guess(&fmtp, kind, payload_type))?,
        };
        if AUXILIARY.iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
            return None;
        }
        let codec = codec_of(encoding, kind, &fmtp);
        Some(Self {
            codec,
            payload_type,
            clock_rate: Some(clock_rate)
                .filter(|rate| *rate > 0)
                .or_else(|| usual_clock(codec))?,
            channels: match (kind, codec) {
                (MediaKind::Video, _) => 0,
                (MediaKind::Audio, CodecId::Mp3) => channels,
                // One, if it is not said (RFC 8866, section 6.6).
                (MediaKind::Audio, _) => channels.max(1),
            },
            encoding: encoding.to_owned(),
            fmtp,
        })
    }

    /// How Tidegate sends a track that came without RTP. `payload_type`, 96 to 127, is used where the codec has no static one or
    /// its parameters do not fit the static one. `None` if there is no payload format for the track here, or too little is known.
    pub fn for_track(track: &Track, payload_type: u8) -> Option<Self> {
        let config = track.config.as_ref();
        let audio = track.audio().copied().unwrap_or_default();
        let channels = audio.channels.max(1);
        let mut fmtp = Fmtp::default();
        let (encoding, clock_rate, channels, fixed) = match track.codec {
            CodecId::H264 => {
                fmtp.add("packetization-mode", "1");
                config
                    .and_then(|record| h264::Config::parse(record).ok())
                    .inspect(|config| fmtp.h264(config));
                ("H264", VIDEO_CLOCK, 0, None)
            }
            CodecId::H265 => {
                config
                    .and_then(|record| h265::Config::parse(record).ok())
                    .inspect(|config| fmtp.h265(config));
                ("H265", VIDEO_CLOCK, 0, None)
            }
            CodecId::Av1 => {
                config
                    .filter(|record| av1::Config::parse(record).is_ok())
                    .inspect(|record| fmtp.av1(record));
                ("AV1", VIDEO_CLOCK, 0, None)
            }
            CodecId::Vp8 => ("VP8", VIDEO_CLOCK, 0, None),
            CodecId::Vp9 => {
                config
                    .and_then(|record| vp9::Config::parse(record).ok())
                    .inspect(|config| fmtp.add("profile-id", config.profile));
                ("VP9", VIDEO_CLOCK, 0, None)
            }
            CodecId::Aac => {
                let record = config?;
                let params = aac::Config::parse(record).ok()?.params();
                fmtp.aac(record);
                let channels = if params.channels > 0 {
                    params.channels
                } else {
                    audio.channels
                };
                ("mpeg4-generic", params.sample_rate, channels, None)
            }
            CodecId::Opus => {
                let said = config
                    .and_then(|record| opus::Head::parse(record).ok())
                    .map_or(audio.channels, |head| head.channels);
                match said {
                    0 | 1 => {}
                    2 => fmtp.add("sprop-stereo", "1"),
                    // RFC 7587 has mono and stereo.
                    _ => return None,
                }
                // Always 48000 and 2 (RFC 7587, section 7).
                ("opus", opus::SAMPLE_RATE, 2, None)
            }
            CodecId::G711A | CodecId::G711U => {
                let (name, fixed) = match track.codec {
                    CodecId::G711A => ("PCMA", 8),
                    _ => ("PCMU", 0),
                };
                let rate = if audio.sample_rate > 0 {
                    audio.sample_rate
                } else {
                    8000
                };
                (
                    name,
                    rate,
                    channels,
                    (rate == 8000 && channels == 1).then_some(fixed),
                )
            }
            CodecId::L16 => match (audio.sample_rate, channels) {
                (44_100, 2) => ("L16", 44_100, 2, Some(10)),
                (44_100, 1) => ("L16", 44_100, 1, Some(11)),
                (rate, channels) => ("L16", rate, channels, None),
            },
            CodecId::Mp3 => ("MPA", 90_000, 0, Some(14)),
            CodecId::Jpeg | CodecId::Other(_) => return None,
        };
        Some(Self {
            codec: track.codec,
            payload_type: fixed.unwrap_or(payload_type & 0x7f),
            clock_rate: Some(clock_rate).filter(|rate| *rate > 0)?,
            channels,
            encoding: encoding.to_owned(),
            fmtp: fmtp.0,
        })
    }

    /// The media section that announces the format. `control` is the name of the section for SETUP, as `trackID=0`.
    pub fn media(&self, control: &str, bandwidth_kbps: Option<u32>) -> Media {
        let mut map = format!("{} {}/{}", self.payload_type, self.encoding, self.clock_rate);
        // One channel need not be said (RFC 8866, section 6.6). ZLM and FFmpeg say it of AAC; for MPEG audio it is news.
        let said = if matches!(self.codec, CodecId::Aac | CodecId::Mp3) {
            1
        } else {
            2
        };
        if self.channels >= said {
            let _ = write!(map, "/{}", self.channels);
        }
        let mut attributes = vec![("rtpmap".to_owned(), Some(map))];
        if !self.fmtp.is_empty() {
            let parameter = |(name, value): &(String, String)| match &**value {
                "" => name.clone(),
                value => format!("{name}={value}"),
            };
            let parameters: Vec<_> = self.fmtp.iter().map(parameter).collect();
            let value = format!("{} {}", self.payload_type, parameters.join(";"));
            attributes.push(("fmtp".to_owned(), Some(value)));
        }
        attributes.push(("control".to_owned(), Some(control.to_owned())));
        Media {
            kind: match self.codec.kind() {
                MediaKind::Video => Kind::Video,
                MediaKind::Audio => Kind::Audio,
            },
            port: 0,
            protocol: "RTP/AVP".to_owned(),
            payload_types: vec![self.payload_type],
            connection: None,
            bandwidth_kbps,
            attributes,
        }
    }

    /// Value of a format parameter; empty if it has none. Names are compared without case: Ubiquiti sends `SizeLength`.
    pub fn param(&self, name: &str) -> Option<&str> {
        param(&self.fmtp, name)
    }

    /// AAC in the form of RFC 6416, section 4, not in that of RFC 3640.
    pub fn is_latm(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("MP4A-LATM")
    }
}

/// Format parameters as Tidegate writes them.
#[derive(Default)]
struct Fmtp(Vec<(String, String)>);

impl Fmtp {
    fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    /// RFC 6184, section 8.1.
    fn h264(&mut self, config: &h264::Config) {
        let profile_level = [config.profile, config.compatibility, config.level];
        self.add("profile-level-id", upper_hex(&profile_level));
        self.add(
            "sprop-parameter-sets",
            base64_list(config.sps.iter().chain(&config.pps)),
        );
    }

    /// RFC 7798, section 7.1.
    fn h265(&mut self, config: &h265::Config) {
        let sps = config.sps.first().and_then(|sps| h265::Sps::parse(sps).ok());
        if let Some(h265::Sps {
            profile_tier_level: [profile, .., level],
            ..
        }) = sps
        {
            self.add("level-id", level);
            self.add("profile-id", profile & 0x1f);
            self.add("tier-flag", profile >> 5 & 1);
        }
        let sets = [
            ("sprop-vps", &config.vps),
            ("sprop-sps", &config.sps),
            ("sprop-pps", &config.pps),
        ];
        for (name, sets) in sets.into_iter().filter(|(_, sets)| !sets.is_empty()) {
            self.add(name, base64_list(sets.iter()));
        }
    }

    /// AV1 RTP payload specification, section 7.2; the record is ISOBMFF binding of AV1, section 2.3.
    fn av1(&mut self, record: &[u8]) {
        if let [_, profile_level, tier, ..] = record {
            self.add("profile", profile_level >> 5);
            self.add("level-idx", profile_level & 0x1f);
            self.add("tier", tier >> 7);
        }
    }

    /// RFC 3640, sections 3.3.6 and 4.1. The profile is what ZLM and FFmpeg write whatever the stream has.
    fn aac(&mut self, record: &[u8]) {
        self.add("streamtype", "5");
        self.add("profile-level-id", "1");
        self.add("mode", "AAC-hbr");
        self.add("sizelength", "13");
        self.add("indexlength", "3");
        self.add("indexdeltalength", "3");
        self.add("config", upper_hex(record));
    }
}

/// The parameters in the value of an `fmtp`.
fn parameters(value: &str) -> impl Iterator<Item = (String, String)> {
    value.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
    })
}

fn param<'a>(fmtp: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fmtp.iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| &**value)
}

fn codec_of(encoding: &str, kind: MediaKind, fmtp: &[(String, String)]) -> CodecId {
    let codec = match &*encoding.to_ascii_lowercase() {
        "h264" => CodecId::H264,
        "h265" | "hevc" => CodecId::H265,
        "av1" => CodecId::Av1,
        "vp8" => CodecId::Vp8,
        "vp9" => CodecId::Vp9,
        "jpeg" => CodecId::Jpeg,
        "mpeg4-generic" if is_aac(fmtp) => CodecId::Aac,
        "mp4a-latm" => CodecId::Aac,
        "opus" => CodecId::Opus,
        "pcma" => CodecId::G711A,
        "pcmu" => CodecId::G711U,
        "l16" => CodecId::L16,
        // MP3 is ZLM's name. Layers I and II are known by `layer` (RFC 4856, section 2.1.9) only.
        "mpa" | "mp3" if !matches!(param(fmtp, "layer"), Some("1" | "2")) => CodecId::Mp3,
        _ => CodecId::Other(kind),
    };
    if codec.kind() == kind {
        codec
    } else {
        CodecId::Other(kind)
    }
}

/// RFC 3640 carries more than AAC (section 3.3). Anpviz and others leave the mode out.
fn is_aac(fmtp: &[(String, String)]) -> bool {
    let mode = param(fmtp, "mode").map(unquoted).unwrap_or("AAC-hbr");
    let audio = matches!(param(fmtp, "streamtype"), None | Some("" | "5"));
    audio
        && ["AAC-hbr", "AAC-lbr"]
            .iter()
            .any(|aac| mode.eq_ignore_ascii_case(aac))
}

/// Name, clock and channels of a static payload type (RFC 3551, section 6), if it is of that kind.
fn static_type(payload_type: u8, kind: MediaKind) -> Option<(&'static str, u32, u8)> {
    let (of, format) = match payload_type {
        0 => (MediaKind::Audio, ("PCMU", 8000, 1)),
        3 => (MediaKind::Audio, ("GSM", 8000, 1)),
        4 => (MediaKind::Audio, ("G723", 8000, 1)),
        5 => (MediaKind::Audio, ("DVI4", 8000, 1)),
        6 => (MediaKind::Audio, ("DVI4", 16_000, 1)),
        7 => (MediaKind::Audio, ("LPC", 8000, 1)),
        8 => (MediaKind::Audio, ("PCMA", 8000, 1)),
        9 => (MediaKind::Audio, ("G722", 8000, 1)),
        10 => (MediaKind::Audio, ("L16", 44_100, 2)),
        11 => (MediaKind::Audio, ("L16", 44_100, 1)),
        12 => (MediaKind::Audio, ("QCELP", 8000, 1)),
        13 => (MediaKind::Audio, ("CN", 8000, 1)),
        14 => (MediaKind::Audio, ("MPA", 90_000, 0)),
        15 => (MediaKind::Audio, ("G728", 8000, 1)),
        16 => (MediaKind::Audio, ("DVI4", 11_025, 1)),
        17 => (MediaKind::Audio, ("DVI4", 22_050, 1)),
        18 => (MediaKind::Audio, ("G729", 8000, 1)),
        25 => (MediaKind::Video, ("CelB", VIDEO_CLOCK, 0)),
        26 => (MediaKind::Video, ("JPEG", VIDEO_CLOCK, 0)),
        28 => (MediaKind::Video, ("nv", VIDEO_CLOCK, 0)),
        31 => (MediaKind::Video, ("H261", VIDEO_CLOCK, 0)),
        32 => (MediaKind::Video, ("MPV", VIDEO_CLOCK, 0)),
        33 => (MediaKind::Video, ("MP2T", VIDEO_CLOCK, 0)),
        34 => (MediaKind::Video, ("H263", VIDEO_CLOCK, 0)),
        _ => return None,
    };
    (of == kind).then_some(format)
}

/// What a dynamic payload type without `rtpmap` is, by parameters that only one format has. Other video is passed on; other audio
/// is not, because its clock is not known.
fn guess(fmtp: &[(String, String)], kind: MediaKind, payload_type: u8) -> Option<(&'static str, u32, u8)> {
    if kind == MediaKind::Audio || payload_type < 96 {
        return None;
    }
    let has = |names: &[&str]| names.iter().any(|name| param(fmtp, name).is_some());
    let name = if has(&["sprop-vps", "sprop-sps", "sprop-pps"]) {
        "H265"
    } else if has(&["packetization-mode", "sprop-parameter-sets"]) {
        "H264"
    } else {
        "unknown"
    };
    Some((name, VIDEO_CLOCK, 0))
}

/// The clock of a map that does not say it, where the payload format leaves no choice or nearly all senders agree.
fn usual_clock(codec: CodecId) -> Option<u32> {
    match codec {
        CodecId::Opus => Some(opus::SAMPLE_RATE),
        CodecId::G711A | CodecId::G711U => Some(8000),
        CodecId::Aac | CodecId::L16 | CodecId::Mp3 | CodecId::Other(MediaKind::Audio) => None,
        CodecId::H264
        | CodecId::H265
        | CodecId::Av1
        | CodecId::Vp8
        | CodecId::Vp9
        | CodecId::Jpeg
        | CodecId::Other(MediaKind::Video) => Some(VIDEO_CLOCK),
    }
}

fn unquoted(value: &str) -> &str {
    value.trim_matches(|c: char| c == '"' || c.is_whitespace())
}

fn upper_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02X}"); // writing to a string cannot fail
    }
    text
}

fn base64_list<'a>(sets: impl Iterator<Item = &'a Bytes>) -> String {
    let sets: Vec<_> = sets.map(|set| BASE64.encode(set)).collect();
    sets.join(",")
}

/// With padding when written; with or without it, and with any last bits, when read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Clock of all video formats, and of MPEG audio (RFC 3551, section 5).
const VIDEO_CLOCK: u32 = 90_000;

/// Formats that accompany others (RFC 3389, 4733, 4588, 2198, 5109, 8627).
const AUXILIARY: [&str; 7] = [
    "CN",
    "telephone-event",
    "rtx",
    "red",
    "ulpfec",
    "flexfec",
    "parityfec",
];

#[cfg(test)]
mod tests;
