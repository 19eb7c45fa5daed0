//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1), ADTS headers (1.A.3.2), and silence.

use super::Error;
use super::bits::BitReader;
use crate::track::AudioParams;
use bytes::Bytes;

/// An AudioSpecificConfig, read as a whole; the bytes themselves stay with the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Audio object type of the core coder: 2 is AAC LC (table 1.17).
    pub object_type: u8,
    /// Sample rate of the core coder in hertz.
    pub sample_rate: u32,
    /// `channelConfiguration`; 0 means that a program config element tells.
    pub channel_config: u8,
    /// Channels of the core coder; 0 if not known.
    pub channels: u8,
    /// Samples per channel that the core coder makes of an access unit: 1024 or 960, 512 or 480 for low delay.
    pub frame_len: u32,
    /// Rate after spectral band replication (HE-AAC), if it is signalled.
    pub sbr_rate: Option<u32>,
    /// Parametric stereo (HE-AAC v2) is signalled.
    pub parametric_stereo: bool,
}

impl Config {
    /// Reads an AudioSpecificConfig, with explicit signalling of SBR and PS in either form (1.6.5).
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(config, "AudioSpecificConfig");
        let mut parsed = Self::general(&mut bits)?;
        // What follows refines the picture; senders that cut it off exist, and what stands before it is enough to decode.
        if parsed.specific(&mut bits).is_ok() && parsed.sbr_rate.is_none() {
            let _ = parsed.sync_extension(&mut bits);
        }
        Ok(parsed)
    }

    /// Reads an AudioSpecificConfig at the start of longer data, and tells its length in bits. This is for LATM, where nothing
    /// else tells (1.7.3.1). One that is cut off or of a kind whose end is not known here (ELD, `epConfig` 2 and 3, other coders
    /// than AAC) is an error. `syncExtensionType` is known by its value, which would be a reserved `frameLengthType` in LATM.
    pub fn parse_prefix(data: &[u8]) -> Result<(Self, usize), Error> {
        let mut bits = BitReader::new(data, "AudioSpecificConfig");
        let mut parsed = Self::general(&mut bits)?;
        parsed.specific(&mut bits)?;
        let signals_sbr = bits.clone().u(11).is_ok_and(|bits| bits == SYNC_EXTENSION);
        if parsed.sbr_rate.is_none() && signals_sbr {
            parsed.sync_extension(&mut bits)?;
        }
        Ok((parsed, bits.position()))
    }

    /// The part that does not depend on the coder.
    fn general(bits: &mut BitReader<'_>) -> Result<Self, Error> {
        let mut object_type = object_type(bits)?;
        let sample_rate = sample_rate(bits)?;
        let channel_config = bits.u8(4)?;
        let (mut sbr_rate, mut parametric_stereo) = (None, false);
        if matches!(object_type, SBR | PS) {
            // Hierarchical signalling.
            parametric_stereo = object_type == PS;
            sbr_rate = Some(self::sample_rate(bits)?);
            object_type = self::object_type(bits)?;
            if object_type == ER_BSAC {
                bits.skip(4)?; // extensionChannelConfiguration
            }
        }
        Ok(Self {
            object_type,
            sample_rate,
            channel_config,
            channels: channels(channel_config),
            frame_len: 1024,
            sbr_rate,
            parametric_stereo,
        })
    }

    /// GASpecificConfig (4.4.1) or the frame length of ELD; then the error protection of ER types.
    fn specific(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        match self.object_type {
            1..=4 | 6 | 7 | 17 | 19..=23 => {
                let short = bits.bit()?;
                self.frame_len = match (self.object_type, short) {
                    (ER_LD, false) => 512,
                    (ER_LD, true) => 480,
                    (_, false) => 1024,
                    (_, true) => 960,
                };
                if bits.bit()? {
                    bits.skip(14)?; // coreCoderDelay
                }
                let extension = bits.bit()?;
                if self.channel_config == 0 {
                    self.channels = program_config_channels(bits)?;
                }
                if matches!(self.object_type, 6 | 20) {
                    bits.skip(3)?; // layerNr
                }
                if extension {
                    match self.object_type {
                        ER_BSAC => bits.skip(5 + 11)?,
                        17 | 19 | 20 | 23 => bits.skip(3)?,
                        _ => {}
                    }
                    bits.skip(1)?; // extensionFlag3
                }
            }
            ELD => {
                self.frame_len = if bits.bit()? { 480 } else { 512 };
                // ELDSpecificConfig has further parts, and no backward-compatible SBR signalling behind it.
                return Err(Error::Missing {
                    what: "SBR signalling",
                });
            }
            _ => {
                return Err(Error::Missing {
                    what: "SBR signalling",
                });
            }
        }
        if matches!(self.object_type, 17 | 19..=27 | 39) {
            let protection = bits.u(2)?; // epConfig
            if protection > 1 {
                return Err(Error::Missing {
                    what: "SBR signalling",
                });
            }
        }
        Ok(())
    }

    /// Backward-compatible explicit signalling: `syncExtensionType` behind the rest.
    fn sync_extension(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        if bits.u(11)? != SYNC_EXTENSION || object_type(bits)? != SBR || !bits.bit()? {
            return Ok(());
        }
        self.sbr_rate = Some(sample_rate(bits)?);
        let mut extension = bits.clone();
        if extension.u(11).is_ok_and(|bits| bits == PS_EXTENSION) {
            self.parametric_stereo = extension.bit()?;
            *bits = extension;
        }
        Ok(())
    }

    /// The shortest configuration: type, rate and channels, 2 bytes (5 for a rate outside of the table).
    pub fn build(&self) -> Bytes {
        let mut bits = BitWriter::default();
        if let Some(rate) = self.sbr_rate {
            bits.object_type(if self.parametric_stereo { PS } else { SBR });
            bits.sample_rate(self.sample_rate);
            bits.put(self.channel_config.into(), 4);
            bits.sample_rate(rate);
        }
        bits.object_type(self.object_type);
        if self.sbr_rate.is_none() {
            bits.sample_rate(self.sample_rate);
            bits.put(self.channel_config.into(), 4);
        }
        bits.put(u32::from(matches!(self.frame_len, 960 | 480)), 1); // frameLengthFlag
        bits.put(0, 2); // dependsOnCoreCoder, extensionFlag
        bits.bytes.into()
    }

    /// The sound parameters after decoding with everything that is signalled.
    pub fn params(&self) -> AudioParams {
        AudioParams {
            sample_rate: self.sbr_rate.unwrap_or(self.sample_rate),
            channels: if self.parametric_stereo && self.channels == 1 {
                2
            } else {
                self.channels
            },
            sample_bits: 16,
        }
    }
}

/// An ADTS header: what MPEG-TS and raw AAC files have before each access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adts {
    /// Bytes of the header: 7, or 9 with a checksum.
    pub header_len: usize,
    /// Bytes of header and access unit.
    pub frame_len: usize,
    /// What it says about the coder. Its `frame_len` is 1024.
    pub config: Config,
}

impl Adts {
    /// Reads the header at the start of `data`; the access unit behind it need not be there.
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        let Some(header) = data.first_chunk::<7>() else {
            return Err(Error::Truncated {
                what: "ADTS header",
                at: 0,
                need: 7,
                got: data.len(),
            });
        };
        let [b0, b1, b2, b3, b4, b5, b6] = *header;
        if b0 != 0xff || b1 & 0xf6 != 0xf0 {
            let got = u64::from(u16::from_be_bytes([b0, b1]));
            return Err(Error::Value {
                what: "ADTS syncword",
                got,
                allowed: "0xfff and layer 0 (1.A.3.2.1)",
            });
        }
        let header_len = if b1 & 1 == 0 { 9 } else { 7 };
        let frame_len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5) >> 5;
        if frame_len < header_len {
            return Err(Error::Value {
                what: "aac_frame_length",
                got: frame_len as u64,
                allowed: "at least the header's",
            });
        }
        if b6 & 3 != 0 {
            // Tidegate wants one access unit per frame; nobody is known to send more.
            return Err(Error::Value {
                what: "number_of_raw_data_blocks",
                got: (b6 & 3).into(),
                allowed: "0, one block",
            });
        }
        let rate = usize::from(b2 >> 2 & 0xf);
        let Some(&sample_rate) = SAMPLE_RATES.get(rate) else {
            return Err(Error::Value {
                what: "ADTS sampling_frequency_index",
                got: rate as u64,
                allowed: "0 to 12",
            });
        };
        let channel_config = (b2 & 1) << 2 | b3 >> 6;
        let config = Config {
            object_type: (b2 >> 6) + 1,
            sample_rate,
            channel_config,
            channels: channels(channel_config),
            frame_len: 1024,
            sbr_rate: None,
            parametric_stereo: false,
        };
        Ok(Self {
            header_len,
            frame_len,
            config,
        })
    }

    /// The 7 bytes before an access unit of `unit_len` bytes; `None` for what ADTS cannot say (object types above 4, rates
    /// outside of its table, more than 7 in `channelConfiguration`, units of 8 KiB and more).
    pub fn header(config: &Config, unit_len: usize) -> Option<[u8; 7]> {
        let profile = config.object_type.checked_sub(1).filter(|profile| *profile < 4)?;
        let rate = SAMPLE_RATES.iter().position(|rate| *rate == config.sample_rate)? as u8;
        let channels = Some(config.channel_config).filter(|channels| *channels < 8)?;
        let len = unit_len.checked_add(7).filter(|len| *len < 1 << 13)?;
        Some([
            0xff,
            0xf1,
            profile << 6 | rate << 2 | channels >> 2,
            channels << 6 | (len >> 11) as u8,
            (len >> 3) as u8,
            (len << 5) as u8 | 0x1f, // upper bits of the buffer fullness: variable rate
            0xfc,
        ])
    }
}

/// Silence for `protocol.add_mute_audio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// AudioSpecificConfig.
    pub config: &'static [u8],
    /// One access unit.
    pub unit: &'static [u8],
    /// How long one access unit sounds, in milliseconds.
    pub duration_ms: u32,
    /// The sound parameters.
    pub params: AudioParams,
}

/// AAC LC, 8000 Hz, mono, one access unit per 128 ms (1024 samples): what ZLM adds (codecs.md, section 10).
///
/// The unit is one single channel element without any scale factor band, so all its coefficients are zero: `id_syn_ele` 0,
/// tag 0, `global_gain` 140, one long window, `max_sfb` 0, no prediction, pulse, TNS or gain control, then `ID_END`.
pub const fn silence_8k_mono() -> Silence {
    Silence {
        config: &[0x15, 0x88],
        unit: &[0x01, 0x18, 0x20, 0x07],
        duration_ms: 128,
        params: AudioParams {
            sample_rate: 8000,
            channels: 1,
            sample_bits: 16,
        },
    }
}

/// `GetAudioObjectType()` (1.6.2.1).
fn object_type(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    Ok(match bits.u8(5)? {
        31 => 32 + bits.u8(6)?,
        short => short,
    })
}

/// `samplingFrequencyIndex` and, where it says so, the rate itself.
fn sample_rate(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let index = bits.u(4)?;
    let rate = if index == EXPLICIT_RATE {
        bits.u(24)?
    } else {
        *SAMPLE_RATES.get(index as usize).unwrap_or(&0)
    };
    if rate == 0 {
        let allowed = "0 to 12, or 15 and a rate above 0 (table 1.18)";
        return Err(Error::Value {
            what: "samplingFrequencyIndex",
            got: index.into(),
            allowed,
        });
    }
    Ok(rate)
}

/// Channels of a `channelConfiguration` (table 1.19); 0 where it does not tell.
fn channels(config: u8) -> u8 {
    match config {
        1..=6 => config,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => 0,
    }
}

/// Channels of a `program_config_element()` (4.4.1.1).
fn program_config_channels(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    bits.skip(4 + 2 + 4)?; // tag, object type, rate
    let (front, side, back, lfe) = (bits.u(4)?, bits.u(4)?, bits.u(4)?, bits.u(2)?);
    let (data, coupling) = (bits.u(3)?, bits.u(4)?);
    for mixdown_bits in [4, 4, 3] {
        let present = bits.bit()?;
        bits.skip(if present { mixdown_bits } else { 0 })?;
    }
    let mut channels = lfe;
    for _ in 0..front + side + back {
        channels += if bits.bit()? { 2 } else { 1 };
        bits.skip(4)?;
    }
    bits.skip(4 * lfe + 4 * data + 5 * coupling)?;
    let unaligned = bits.position() % 8;
    bits.skip(if unaligned == 0 { 0 } else { 8 - unaligned as u32 })?;
    let comment_len = bits.u(8)?;
    bits.skip(8 * comment_len)?;
    Ok(channels as u8)
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) << (7 - self.used)) as u8;
            }
            self.used = (self.used + 1) % 8;
        }
    }

    fn object_type(&mut self, object_type: u8) {
        if object_type < 31 {
            self.put(object_type.into(), 5);
        } else {
            self.put(31, 5);
            self.put((u32::from(object_type) - 32) & 0x3f, 6);
        }
    }

    fn sample_rate(&mut self, rate: u32) {
        match SAMPLE_RATES.iter().position(|known| *known == rate) {
            Some(index) => self.put(index as u32, 4),
            None => {
                self.put(EXPLICIT_RATE, 4);
                self.put(rate, 24);
            }
        }
    }
}

/// Table 1.18.
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];
/// The index before an explicit rate.
const EXPLICIT_RATE: u32 = 15;
/// Audio object types (table 1.17).
const SBR: u8 = 5;
const ER_BSAC: u8 = 22;
const ER_LD: u8 = 23;
const PS: u8 = 29;
const ELD: u8 = 39;
/// `syncExtensionType` values (1.6.2.1).
const SYNC_EXTENSION: u32 = 0x2b7;
const PS_EXTENSION: u32 = 0x548;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(config: &[u8]) -> (u8, u32, u8, Option<u32>, bool) {
        let config = Config::parse(config).unwrap();
        (
            config.object_type,
            config.sample_rate,
            config.channels,
            config.sbr_rate,
            config.parametric_stereo,
        )
    }

    #[test]
    fn the_length_of_a_prefix_is_that_of_its_syntax() {
        let len = |data: &[u8]| Config::parse_prefix(data).map(|(config, bits)| (config.sample_rate, bits));
        assert_eq!(len(&[0x12, 0x10, 0xff, 0xff]), Ok((44_100, 16)));
        assert_eq!(len(&[0x2b, 0x11, 0x88, 0x00, 0xff]), Ok((24_000, 25)));
        // With "no SBR", and with SBR of 48 kHz behind it.
        assert_eq!(len(&[0x12, 0x08, 0x56, 0xe5, 0x00, 0xff]), Ok((44_100, 33)));
        assert_eq!(len(&[0x13, 0x10, 0x56, 0xe5, 0x98, 0xff]), Ok((24_000, 37)));
        assert!(len(&[0x12]).is_err());
        assert!(len(&[0xf8, 0xe8, 0x50, 0x00]).is_err()); // ELD
    }

    #[test]
    fn signalling_of_every_kind_is_read() {
        assert_eq!(read(&[0x12, 0x10]), (2, 44_100, 2, None, false));
        assert_eq!(read(&[0x12, 0x08]), (2, 44_100, 1, None, false));
        // FFmpeg's, with an SBR extension that says "absent".
        assert_eq!(read(&[0x12, 0x10, 0x56, 0xe5, 0x00]), (2, 44_100, 2, None, false));
        // HE-AAC, hierarchical: 24 kHz core, 48 kHz output.
        assert_eq!(
            read(&[0x2b, 0x11, 0x88, 0x00]),
            (2, 24_000, 2, Some(48_000), false)
        );
        // HE-AAC v2, hierarchical: mono core, stereo output.
        assert_eq!(
            read(&[0xeb, 0x09, 0x88, 0x00]),
            (2, 24_000, 1, Some(48_000), true)
        );
        assert_eq!(
            Config::parse(&[0xeb, 0x09, 0x88, 0x00])
                .unwrap()
                .params()
                .channels,
            2
        );
        // HE-AAC, backward compatible: 22.05 kHz core, extension with 44.1 kHz, then PS.
        assert_eq!(
            read(&[0x13, 0x90, 0x56, 0xe5, 0xa5, 0x48, 0x80]),
            (2, 22_050, 2, Some(44_100), true)
        );
        // 13 bits are enough.
        assert_eq!(read(&[0x15, 0x88]), (2, 8_000, 1, None, false));
        // An explicit rate of 44,056 Hz.
        let explicit = Config {
            sample_rate: 44_056,
            ..Config::parse(&[0x12, 0x10]).unwrap()
        };
        assert_eq!(read(&explicit.build()), (2, 44_056, 2, None, false));
    }

    #[test]
    fn reserved_rates_and_short_configurations_are_refused() {
        assert!(Config::parse(&[]).is_err());
        assert!(Config::parse(&[0x12]).is_err());
        assert!(Config::parse(&[0x16, 0x90]).is_err());
    }

    #[test]
    fn adts_headers_round_trip() {
        let config = Config::parse(&[0x11, 0x90]).unwrap();
        let header = Adts::header(&config, 500).unwrap();
        let adts = Adts::parse(&header).unwrap();
        assert_eq!((adts.header_len, adts.frame_len, adts.config), (7, 507, config));
        assert!(Adts::header(&config, 8185).is_none());
        assert!(Adts::parse(&[0xff, 0xf1, 0x4c, 0x80, 0, 0, 0xfc]).is_err());
        assert!(Adts::parse(&[0xff, 0xfb, 0x90, 0x64, 0, 0, 0]).is_err());
    }

    #[test]
    fn silence_is_what_its_configuration_says() {
        let silence = silence_8k_mono();
        let config = Config::parse(silence.config).unwrap();
        assert_eq!(config.params(), silence.params);
        assert_eq!(config.frame_len * 1000, silence.duration_ms * config.sample_rate);
        assert_eq!(config.build(), silence.config);
        let mut bits = BitReader::new(silence.unit, "raw_data_block");
        assert_eq!((bits.u(3), bits.u(4), bits.u(8)), (Ok(0), Ok(0), Ok(140)));
        assert_eq!(
            (bits.u(1), bits.u(2), bits.u(1), bits.u(6), bits.u(1)),
            (Ok(0), Ok(0), Ok(1), Ok(0), Ok(0))
        );
        assert_eq!((bits.u(3), bits.u(3), bits.position()), (Ok(0), Ok(7), 32));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Config::parse(&data);
            if let Ok(adts) = Adts::parse(&data) {
                prop_assert!(adts.frame_len >= adts.header_len);
            }
        }

        #[test]
        fn short_configurations_round_trip(kind in 1u8..5, rate in 0usize..13, channel_config in 1u8..8, sbr: bool, ps: bool, short: bool) {
            let config = Config {
                object_type: kind,
                sample_rate: SAMPLE_RATES[rate],
                channel_config,
                channels: channels(channel_config),
                frame_len: if short { 960 } else { 1024 },
                sbr_rate: sbr.then_some(48_000),
                parametric_stereo: sbr && ps,
            };
            prop_assert_eq!(Config::parse(&config.build()), Ok(config));
        }
    }
}
