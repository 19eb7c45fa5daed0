//! What a format tells of its track before the first packet: decoder configuration and parameters, from `fmtp`.

use super::{BASE64, Format, VIDEO_CLOCK, unquoted};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use media::codec::{self, CodecId, MediaKind, aac, h264, h265, nal, opus};
use media::track::{AudioParams, TrackParams, VideoParams};

/// What is known of a track before its first packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Initial {
    /// For [`media::Track::config`].
    pub config: Option<Bytes>,
    /// For [`media::Track::params`].
    pub params: TrackParams,
    /// Parameters that were left out.
    pub errors: Vec<Error>,
}

/// What is wrong with a format parameter. It is left out; the stream itself has to tell then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not base64.
    #[error("fmtp parameter {name} has {len} characters that are not base64 (RFC 4648, section 4)")]
    Base64 {
        /// The parameter.
        name: &'static str,
        /// Characters of the value.
        len: usize,
    },
    /// Not hexadecimal.
    #[error("fmtp parameter {name} has {len} characters: must be pairs of hexadecimal digits")]
    Hex {
        /// The parameter.
        name: &'static str,
        /// Characters of the value.
        len: usize,
    },
    /// Parameter sets are missing.
    #[error("fmtp parameter {name} without {missing}: left to the stream")]
    Sets {
        /// The parameter, or what its names have in common.
        name: &'static str,
        /// What would be needed.
        missing: &'static str,
    },
    /// Its content is not what the codec's standard allows.
    #[error("fmtp parameter {name}: {source}")]
    Content {
        /// The parameter.
        name: &'static str,
        /// What is wrong.
        source: codec::Error,
    },
}

impl Format {
    /// The decoder configuration and the parameters that the section tells. Never fails: what is broken is named and left out.
    pub fn initial(&self) -> Initial {
        let mut errors = Vec::new();
        let (config, params) = match self.codec {
            CodecId::H264 => self.h264(&mut errors),
            CodecId::H265 => self.h265(&mut errors),
            CodecId::Aac if !self.is_latm() => self.aac(&mut errors),
            CodecId::Aac => {
                // RFC 6416 recommends the sample rate as clock, and has 90000 as default. The rest is in the StreamMuxConfig.
                let rate = if self.clock_rate == VIDEO_CLOCK {
                    0
                } else {
                    self.clock_rate
                };
                (None, self.audio(rate, self.channels, 16))
            }
            CodecId::Opus => {
                // `opus/48000/2` says nothing; stereo is announced, and not assumed without (RFC 7587, section 6.1).
                let channels = match (self.channels, self.param("sprop-stereo")) {
                    (2, Some("1")) => 2,
                    (2, _) => 1,
                    (channels, _) => channels,
                };
                let head = opus::Head::new(channels);
                (Some(head.build()), TrackParams::Audio(head.params()))
            }
            CodecId::G711A | CodecId::G711U | CodecId::L16 => {
                (None, self.audio(self.clock_rate, self.channels, 16))
            }
            CodecId::Mp3 => {
                // The clock of MPA is 90 kHz whatever the sample rate (RFC 3551, section 4.5.13); that of ZLM's MP3 is the sample
                // rate. `samplerate` is RFC 4856, section 2.1.9.
                let said = self.param("samplerate").and_then(|rate| rate.parse().ok());
                let clock = Some(self.clock_rate).filter(|rate| *rate != VIDEO_CLOCK);
                (None, self.audio(said.or(clock).unwrap_or(0), self.channels, 16))
            }
            CodecId::Other(MediaKind::Audio) => (None, self.audio(self.clock_rate, self.channels, 0)),
            CodecId::Av1 | CodecId::Vp8 | CodecId::Vp9 | CodecId::Jpeg | CodecId::Other(MediaKind::Video) => {
                (None, TrackParams::Video(VideoParams::default()))
            }
        };
        Initial {
            config,
            params,
            errors,
        }
    }

    fn audio(&self, sample_rate: u32, channels: u8, sample_bits: u8) -> TrackParams {
        TrackParams::Audio(AudioParams {
            sample_rate,
            channels,
            sample_bits,
        })
    }

    /// RFC 6184, section 8.1.
    fn h264(&self, errors: &mut Vec<Error>) -> (Option<Bytes>, TrackParams) {
        const NAME: &str = "sprop-parameter-sets";
        let units = self.parameter_sets(&[NAME], errors);
        let config = units.and_then(|units| {
            let config = h264::Config::from_frame(&units).ok_or(Error::Sets {
                name: NAME,
                missing: "an SPS and a PPS",
            });
            let checked = config.and_then(|config| {
                match config
                    .sps
                    .iter()
                    .try_for_each(|sps| h264::Sps::parse(sps).map(drop))
                {
                    Ok(()) => Ok(config),
                    Err(source) => Err(Error::Content { name: NAME, source }),
                }
            });
            checked.map_err(|error| errors.push(error)).ok()
        });
        let params = config.as_ref().map(h264::Config::params).unwrap_or_default();
        (config.map(|config| config.build()), TrackParams::Video(params))
    }

    /// RFC 7798, section 7.1.
    fn h265(&self, errors: &mut Vec<Error>) -> (Option<Bytes>, TrackParams) {
        let units = self.parameter_sets(&["sprop-vps", "sprop-sps", "sprop-pps"], errors);
        let config = units.and_then(|units| {
            let config = h265::Config::from_frame(&units);
            if config.is_none() {
                errors.push(Error::Sets {
                    name: "sprop-*",
                    missing: "a VPS, a PPS and an SPS that can be read",
                });
            }
            config
        });
        let params = config.as_ref().map(h265::Config::params).unwrap_or_default();
        (config.map(|config| config.build()), TrackParams::Video(params))
    }

    /// The NAL units of the parameters with these names, with 4-byte lengths; `None` if there are none of them.
    fn parameter_sets(&self, names: &[&'static str], errors: &mut Vec<Error>) -> Option<Bytes> {
        let mut stream = BytesMut::new();
        for &name in names {
            // A comma at the end is common.
            let sets = self.param(name).unwrap_or_default().split(',').map(unquoted);
            for set in sets.filter(|set| !set.is_empty()) {
                match BASE64.decode(set.trim_end_matches('=')) {
                    Ok(unit) => {
                        // Read as a byte stream: GW cameras leave the next start code at the end of a set.
                        stream.extend_from_slice(&[0, 0, 0, 1]);
                        stream.extend_from_slice(&unit);
                    }
                    Err(_) => errors.push(Error::Base64 { name, len: set.len() }),
                }
            }
        }
        (!stream.is_empty()).then(|| nal::from_annex_b(&stream))
    }

    /// RFC 3640, section 4.1.
    fn aac(&self, errors: &mut Vec<Error>) -> (Option<Bytes>, TrackParams) {
        const NAME: &str = "config";
        let said = self.param(NAME).map(unquoted).filter(|value| !value.is_empty());
        let read = said.and_then(|value| {
            let record = hex(value).ok_or(Error::Hex {
                name: NAME,
                len: value.len(),
            });
            let read = record.and_then(|record| {
                let config =
                    aac::Config::parse(&record).map_err(|source| Error::Content { name: NAME, source })?;
                match (config.object_type, config.sample_rate) {
                    (0, _) | (_, 0) => Err(Error::Sets {
                        name: NAME,
                        missing: "an audio object type and a sample rate",
                    }),
                    _ => Ok((record, config)),
                }
            });
            read.map_err(|error| errors.push(error)).ok()
        });
        let (record, config) = read.unwrap_or_else(|| {
            // Nothing said: what nearly all senders mean is AAC LC.
            let channels = self.channels.max(1);
            let config = aac::Config {
                object_type: 2,
                sample_rate: self.clock_rate & 0xff_ffff,
                // ISO/IEC 14496-3, table 1.19.
                channel_config: match channels {
                    1..=6 => channels,
                    8 => 7,
                    _ => 0,
                },
                channels,
                frame_len: 1024,
                sbr_rate: None,
                parametric_stereo: false,
            };
            (config.build(), config)
        });
        let mut params = config.params();
        if params.channels == 0 {
            params.channels = self.channels;
        }
        (Some(record), TrackParams::Audio(params))
    }
}

fn hex(value: &str) -> Option<Bytes> {
    let digits: Option<Vec<u32>> = value.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect(),
    )
}
