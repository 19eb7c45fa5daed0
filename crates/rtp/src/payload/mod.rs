//! Payload formats: how frames of a codec are cut into packets, and put together again. One module each, both directions side by
//! side, so that they round-trip.
//!
//! **Unpacking.** An [`Unpacker`] takes the packets of one source in order and gives [`Unit`]s in the canonical form of
//! [`media::Frame`]. It decides where a unit ends: at the marker, or when the timestamp changes. After a gap the unit that lost
//! packets is dropped whole; the next one is taken, whatever it needs. A malformed packet is an error that costs its unit, and
//! nothing else. What an unpacker holds is bounded by [`MAX_UNIT_LEN`] and [`MAX_UNIT_PARTS`].
//!
//! **Packing.** A [`Packer`] takes frames in canonical form and hands payloads to a [`Sink`], which puts headers before them.

pub mod aac;
pub mod av1;
pub mod h264;
pub mod h265;
pub mod latm;
pub mod mpa;
mod nal;
pub mod opaque;
pub mod simple;
pub mod vp8;
pub mod vp9;

#[cfg(test)]
mod testing;

use crate::format::Format;
use bytes::Bytes;
use media::codec::aac as aac_codec;
use media::{CodecId, Frame, Track};

/// Longest frame that is put together, in bytes. The largest known key frames of 8K cameras are below 8 MiB.
pub const MAX_UNIT_LEN: usize = 16 << 20;

/// Most pieces (NAL units, OBUs, fragments) of one frame.
pub const MAX_UNIT_PARTS: usize = 4096;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The payload ends inside a structure.
    #[error("{what}: {need} bytes needed, {got} there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        got: usize,
    },
    /// A field has a value that the format does not define, or that is not supported.
    #[error("{what} is {got}: {allowed}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The rule, with its clause.
        allowed: &'static str,
    },
    /// A fragment that continues nothing: the one that begins the unit was lost.
    #[error("a fragment without its beginning")]
    Orphan,
    /// A frame that is longer, or has more parts, than any sender needs.
    #[error("{what} of a frame: {got}, at most {max} are put together")]
    TooBig {
        /// Bytes or parts.
        what: &'static str,
        /// So many.
        got: usize,
        /// The bound.
        max: usize,
    },
}

/// The next packet of a source, as an unpacker sees it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The payload.
    pub payload: &'a Bytes,
    /// The marker bit.
    pub marker: bool,
    /// Presentation time in ticks of the format's clock, extended to 64 bits.
    pub timestamp: i64,
    /// Packets directly before this one are missing for good.
    pub gap: bool,
}

/// A complete access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Presentation time in ticks of the format's clock.
    pub timestamp: i64,
    /// In the canonical form of [`media::Frame::data`].
    pub data: Bytes,
}

/// Where the payloads of one frame go.
pub trait Sink {
    /// Most bytes of one payload. At least 100.
    fn max_payload(&self) -> usize;

    /// Ends a packet. Its payload is `parts`, one after another; its time is that of the frame plus `offset` ticks.
    fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]);
}

/// What came before the next packet of a format whose units are cut in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The end of a unit, or nothing.
    #[default]
    Between,
    /// A part of a unit of which everything is there so far.
    Taking,
    /// A part of a unit of which something is missing.
    Skipping,
}

/// Checks that what is put together stays within its bound.
fn bound(what: &'static str, got: usize, max: usize) -> Result<(), Error> {
    if got > max {
        return Err(Error::TooBig { what, got, max });
    }
    Ok(())
}

/// An unpacker for whatever a media section describes.
#[derive(Debug)]
pub enum Unpacker {
    /// H.264.
    H264(h264::Unpacker),
    /// H.265.
    H265(h265::Unpacker),
    /// AV1.
    Av1(av1::Unpacker),
    /// VP8.
    Vp8(vp8::Unpacker),
    /// VP9.
    Vp9(vp9::Unpacker),
    /// AAC, RFC 3640.
    Aac(aac::Unpacker),
    /// AAC in LATM.
    Latm(latm::Unpacker),
    /// MPEG audio.
    Mpa(mpa::Unpacker),
    /// Opus, G.711, L16.
    Simple(simple::Unpacker),
    /// Motion JPEG and what is not known.
    Opaque(opaque::Unpacker),
}

/// Why there is no unpacker for a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The parameters of AAC.
    #[error(transparent)]
    Aac(#[from] aac::ModeError),
    /// The configuration of LATM.
    #[error("MP4A-LATM: {0}")]
    Latm(Error),
}

impl Unpacker {
    /// An unpacker for one source.
    ///
    /// # Errors
    ///
    /// The description asks for something that is not supported.
    pub fn new(format: &Format) -> Result<Self, Unsupported> {
        Ok(match format.codec {
            CodecId::H264 => Self::H264(h264::Unpacker::new()),
            CodecId::H265 => Self::H265(h265::Unpacker::new()),
            CodecId::Av1 => Self::Av1(av1::Unpacker::new()),
            CodecId::Vp8 => Self::Vp8(vp8::Unpacker::new()),
            CodecId::Vp9 => Self::Vp9(vp9::Unpacker::new()),
            CodecId::Aac if format.is_latm() => {
                let in_band = format.param("cpresent").is_none_or(|value| value.trim() != "0");
                let config = format.param("config").and_then(from_hex);
                let config = config.map(|bytes| latm::StreamMuxConfig::parse(&bytes));
                let config = config.transpose().map_err(Unsupported::Latm)?;
                Self::Latm(latm::Unpacker::new(in_band, config, format.clock_rate))
            }
            CodecId::Aac => {
                let parameters = format
                    .fmtp
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                let mode = aac::Mode::parse(parameters)?;
                Self::Aac(aac::Unpacker::new(mode, aac_frame_ticks(format)))
            }
            CodecId::Mp3 => Self::Mpa(mpa::Unpacker::new(
                if format.encoding.eq_ignore_ascii_case("MP3") {
                    mpa::Style::Bare {
                        clock_rate: format.clock_rate,
                    }
                } else {
                    mpa::Style::Rfc2250
                },
            )),
            CodecId::Opus | CodecId::G711A | CodecId::G711U | CodecId::L16 => {
                Self::Simple(simple::Unpacker::new())
            }
            CodecId::Jpeg | CodecId::Other(_) => Self::Opaque(opaque::Unpacker::new(format.codec.kind())),
        })
    }

    /// Takes the next packet; complete units are appended to `out`.
    ///
    /// # Errors
    ///
    /// The packet is malformed. It costs its unit, and nothing else.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        match self {
            Self::H264(unpacker) => unpacker.push(input, out),
            Self::H265(unpacker) => unpacker.push(input, out),
            Self::Av1(unpacker) => unpacker.push(input, out),
            Self::Vp8(unpacker) => unpacker.push(input, out),
            Self::Vp9(unpacker) => unpacker.push(input, out),
            Self::Aac(unpacker) => unpacker.push(input, out),
            Self::Latm(unpacker) => unpacker.push(input, out),
            Self::Mpa(unpacker) => unpacker.push(input, out),
            Self::Simple(unpacker) => unpacker.push(input, out),
            Self::Opaque(unpacker) => unpacker.push(input, out),
        }
    }

    /// Whether the last packet was thrown away, and with it the unit it belongs to.
    pub(crate) fn dropped(&self) -> bool {
        match self {
            Self::H264(unpacker) => unpacker.dropped(),
            Self::H265(unpacker) => unpacker.dropped(),
            Self::Av1(unpacker) => unpacker.is_idle(),
            Self::Vp8(unpacker) => unpacker.is_idle(),
            Self::Vp9(unpacker) => unpacker.is_idle(),
            Self::Aac(_) | Self::Latm(_) | Self::Mpa(_) | Self::Simple(_) | Self::Opaque(_) => false,
        }
    }

    /// If the last packet ended a unit by its time: how many packets directly before it belong to the next unit nevertheless.
    pub(crate) fn held_back(&self) -> usize {
        match self {
            Self::H264(unpacker) => unpacker.held_back(),
            Self::H265(unpacker) => unpacker.held_back(),
            Self::Av1(_)
            | Self::Vp8(_)
            | Self::Vp9(_)
            | Self::Aac(_)
            | Self::Latm(_)
            | Self::Mpa(_)
            | Self::Simple(_)
            | Self::Opaque(_) => 0,
        }
    }

    /// A decoder configuration that came in band since the last call, where it does not stand in the units themselves.
    pub fn take_config(&mut self) -> Option<Bytes> {
        match self {
            Self::Latm(unpacker) => unpacker.take_config(),
            Self::H264(_)
            | Self::H265(_)
            | Self::Av1(_)
            | Self::Vp8(_)
            | Self::Vp9(_)
            | Self::Aac(_)
            | Self::Mpa(_)
            | Self::Simple(_)
            | Self::Opaque(_) => None,
        }
    }

    /// A decoder configuration that the description gave and only the unpacker can read.
    pub fn config(&self) -> Option<&Bytes> {
        match self {
            Self::Latm(unpacker) => unpacker.config(),
            Self::H264(_)
            | Self::H265(_)
            | Self::Av1(_)
            | Self::Vp8(_)
            | Self::Vp9(_)
            | Self::Aac(_)
            | Self::Mpa(_)
            | Self::Simple(_)
            | Self::Opaque(_) => None,
        }
    }
}

/// Ticks of one access unit: 1024 samples of the core coder, which with spectral band replication runs at half the clock.
fn aac_frame_ticks(format: &Format) -> u32 {
    let config = format.initial().config;
    let config = config.and_then(|config| aac_codec::Config::parse(&config).ok());
    config.map_or(1024, |config| {
        let ticks =
            u64::from(config.frame_len) * u64::from(format.clock_rate) / u64::from(config.sample_rate.max(1));
        u32::try_from(ticks)
            .ok()
            .filter(|ticks| (1..=8192).contains(ticks))
            .unwrap_or(1024)
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// A packer for one track.
#[derive(Debug)]
pub enum Packer {
    /// H.264.
    H264(h264::Packer),
    /// H.265.
    H265(h265::Packer),
    /// AV1.
    Av1(av1::Packer),
    /// VP8.
    Vp8(vp8::Packer),
    /// VP9.
    Vp9(vp9::Packer),
    /// AAC, RFC 3640.
    Aac(aac::Packer),
    /// MPEG audio, RFC 2250.
    Mpa(mpa::Packer),
    /// Opus, G.711, L16.
    Simple(simple::Packer),
}

impl Packer {
    /// A packer for a track; `None` for codecs whose packets can only be passed on. `stap_a`: parameter sets of H.264 in one
    /// packet. `salt` makes the first picture numbers.
    pub fn new(track: &Track, stap_a: bool, salt: u16) -> Option<Self> {
        let channels = track.audio().map_or(1, |audio| audio.channels);
        Some(match track.codec {
            CodecId::H264 => {
                let mut packer = h264::Packer::new(h264::Options { stap_a });
                if let Some(config) = &track.config {
                    packer.set_config(config);
                }
                Self::H264(packer)
            }
            CodecId::H265 => {
                let mut packer = h265::Packer::new(h265::Options { aggregate: true });
                if let Some(config) = &track.config {
                    packer.set_config(config);
                }
                Self::H265(packer)
            }
            CodecId::Av1 => {
                let mut packer = av1::Packer::new();
                if let Some(config) = &track.config {
                    packer.set_config(config);
                }
                Self::Av1(packer)
            }
            CodecId::Vp8 => Self::Vp8(vp8::Packer::new(salt)),
            CodecId::Vp9 => Self::Vp9(vp9::Packer::new(salt)),
            CodecId::Aac => Self::Aac(aac::Packer::new()),
            CodecId::Mp3 => Self::Mpa(mpa::Packer::new()),
            CodecId::Opus => Self::Simple(simple::Packer::new(simple::Kind::Opus)),
            CodecId::G711A | CodecId::G711U => {
                Self::Simple(simple::Packer::new(simple::Kind::G711 { channels }))
            }
            CodecId::L16 => Self::Simple(simple::Packer::new(simple::Kind::L16 { channels })),
            CodecId::Jpeg | CodecId::Other(_) => return None,
        })
    }

    /// Cuts a frame into payloads.
    pub fn pack(&mut self, frame: &Frame, sink: &mut impl Sink) {
        match self {
            Self::H264(packer) => packer.pack(frame, sink),
            Self::H265(packer) => packer.pack(frame, sink),
            Self::Av1(packer) => packer.pack(frame, sink),
            Self::Vp8(packer) => packer.pack(frame, sink),
            Self::Vp9(packer) => packer.pack(frame, sink),
            Self::Aac(packer) => packer.pack(frame, sink),
            Self::Mpa(packer) => packer.pack(frame, sink),
            Self::Simple(packer) => packer.pack(frame, sink),
        }
    }
}
