//! AAC in LATM (RFC 6416, section 6; `MP4A-LATM`), received only. The multiplex itself is of ISO/IEC 14496-3, 1.7.3.
//!
//! A packet carries one `AudioMuxElement` or a fragment of it; the marker stands on the last (RFC 6416, 6.1). The element holds
//! `numSubFrames + 1` access units, each behind its length, and none of them need begin at a byte. How it is built is told by a
//! `StreamMuxConfig`, in the session description (`cpresent=0`) or in the elements (`cpresent=1`, the default).
//!
//! What is read is what is sent: one program, one layer, lengths given per access unit. Anything else is refused by name.

use super::aac::bitstream;
use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Unit};
use bytes::{Bytes, BytesMut};
use media::codec::aac::Config;

/// How audio is multiplexed (ISO/IEC 14496-3, 1.7.3.1), read as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMuxConfig {
    /// The AudioSpecificConfig, from its first bit; unused bits of its last byte are 0.
    pub audio_config: Bytes,
    /// What it says.
    pub config: Config,
    /// Access units in an element, 1 to 64.
    pub units_per_element: u8,
    /// Bits of other data behind the access units.
    pub other_data_bits: u32,
}

impl StreamMuxConfig {
    /// Reads the configuration of a session description: `config` of the `fmtp` line, from hexadecimal. Unused bits behind it are
    /// let pass.
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        Self::read(&mut Cursor::new(&Bytes::copy_from_slice(config)))
    }

    /// Reads what begins at the next bit.
    fn read(bits: &mut Cursor<'_>) -> Result<Self, Error> {
        let version = bits.u(1)? == 1;
        if version {
            bits.expect(
                "audioMuxVersionA",
                1,
                0,
                "0: others are reserved (ISO/IEC 14496-3, 1.7.3.1)",
            )?;
            bits.latm_value()?; // taraBufferFullness
        }
        bits.expect("allStreamsSameTimeFraming", 1, 1, "1: others are not supported")?;
        let sub_frames = bits.u(6)? as u8;
        bits.expect("numProgram", 4, 0, "0: one program is supported")?;
        bits.expect("numLayer", 3, 0, "0: one layer is supported")?;
        let (audio_config, config) = if version {
            let len = bits.latm_value()? as usize;
            if len > MAX_CONFIG_BITS {
                return Err(Error::TooBig {
                    what: "bits of the AudioSpecificConfig",
                    got: len,
                    max: MAX_CONFIG_BITS,
                });
            }
            let audio_config = bits.take(len)?;
            let config = Config::parse(&audio_config).map_err(bitstream)?;
            (audio_config, config)
        } else {
            let rest = bits.peek(MAX_CONFIG_BITS);
            let (config, len) = Config::parse_prefix(&rest).map_err(|error| match error {
                media::codec::Error::Missing { .. } => Error::Value {
                    what: "object type or epConfig in LATM",
                    got: Config::parse(&rest).map_or(0, |config| config.object_type.into()),
                    allowed: "AAC with epConfig 0 or 1, where audioMuxVersion is 0 and nothing tells the length",
                },
                error => bitstream(error),
            })?;
            (bits.take(len)?, config)
        };
        let allowed = "0: lengths per access unit; those of fixed length, CELP and HVXC are not supported";
        bits.expect("frameLengthType", 3, 0, allowed)?;
        bits.u(8)?; // latmBufferFullness
        let mut other_data_bits = 0;
        if bits.u(1)? == 1 {
            other_data_bits = if version {
                bits.latm_value()?
            } else {
                bits.escaped_len()?
            };
        }
        if bits.u(1)? == 1 {
            bits.u(8)?; // crcCheckSum
        }
        Ok(Self {
            audio_config,
            config,
            units_per_element: sub_frames + 1,
            other_data_bits,
        })
    }
}

/// Packets to raw access units, with the AudioSpecificConfig they need.
#[derive(Debug)]
pub struct Unpacker {
    /// Elements begin with `useSameStreamMux`, and a configuration where it is 0.
    in_band: bool,
    mux: Option<StreamMuxConfig>,
    /// `mux` came in band and was not taken.
    changed: bool,
    clock_rate: u32,
    /// The element that is being put together.
    partial: Option<Partial>,
    /// The sender splits elements. Fragments do not tell that they are some, so after a gap a packet may be the rest of an
    /// element.
    splits: bool,
    /// After such a gap: packets of this time are left out, up to the marker.
    skipped: Option<i64>,
}

impl Unpacker {
    /// `in_band` is `cpresent`; `mux` is `config`, needed if `in_band` is false and good for the start if it is true.
    /// `clock_rate` is that of the session description, in ticks per second: it times all but the first access unit of
    /// an element.
    pub fn new(in_band: bool, mux: Option<StreamMuxConfig>, clock_rate: u32) -> Self {
        Self {
            in_band,
            mux,
            changed: false,
            clock_rate,
            partial: None,
            splits: false,
            skipped: None,
        }
    }

    /// The AudioSpecificConfig of the units to come, once it is known.
    pub fn config(&self) -> Option<&Bytes> {
        self.mux.as_ref().map(|mux| &mux.audio_config)
    }

    /// The AudioSpecificConfig, if elements brought a new one since the last call. It is that of the units which came out of the
    /// same `push`, so ask after each.
    pub fn take_config(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.changed)
            .then(|| self.config().cloned())
            .flatten()
    }

    /// Takes the next packet. Units may come out even if it is an error.
    ///
    /// After a gap the first element is dropped if the sender is known to split elements, as it may have lost its beginning and
    /// nothing in it would tell. If it is not, the element is taken if its lengths fit to the byte.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if input.gap {
            self.partial = None;
            self.skipped = self.splits.then_some(input.timestamp);
        }
        if self.skipped == Some(input.timestamp) {
            if input.marker {
                self.skipped = None;
            }
            return Ok(());
        }
        self.skipped = None;
        let partial = self
            .partial
            .take()
            .filter(|partial| partial.timestamp == input.timestamp);
        if partial.is_none() && input.marker {
            return self.read_element(input.payload, input.timestamp, input.gap, out);
        }
        self.splits = true;
        if input.gap {
            self.skipped = Some(input.timestamp);
            return Ok(());
        }
        let mut partial = partial.unwrap_or(Partial {
            timestamp: input.timestamp,
            parts: 0,
            data: BytesMut::new(),
        });
        partial.parts += 1;
        let len = partial.data.len() + input.payload.len();
        if len > MAX_UNIT_LEN || partial.parts > MAX_UNIT_PARTS {
            self.skipped = (!input.marker).then_some(input.timestamp);
            let bytes = len > MAX_UNIT_LEN;
            return Err(Error::TooBig {
                what: if bytes { "bytes" } else { "fragments" },
                got: if bytes { len } else { partial.parts },
                max: if bytes { MAX_UNIT_LEN } else { MAX_UNIT_PARTS },
            });
        }
        partial.data.extend_from_slice(input.payload);
        if input.marker {
            return self.read_element(&partial.data.freeze(), input.timestamp, false, out);
        }
        self.partial = Some(partial);
        Ok(())
    }

    /// The source ends: what is not complete is dropped.
    pub fn flush(&mut self, _out: &mut Vec<Unit>) {
        self.partial = None;
        self.skipped = None;
    }

    /// Reads an element. Its units come whole or not at all.
    fn read_element(
        &mut self,
        element: &Bytes,
        timestamp: i64,
        exact: bool,
        out: &mut Vec<Unit>,
    ) -> Result<(), Error> {
        let before = out.len();
        let result = self.read_units(element, timestamp, exact, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    /// `AudioMuxElement` (ISO/IEC 14496-3, 1.7.3.1). Bytes behind the element are let pass, unless it has to be `exact`.
    fn read_units(
        &mut self,
        element: &Bytes,
        timestamp: i64,
        exact: bool,
        out: &mut Vec<Unit>,
    ) -> Result<(), Error> {
        if element.is_empty() {
            return Ok(());
        }
        let mut bits = Cursor::new(element);
        let brought = match self.in_band && bits.u(1)? == 0 {
            true => Some(StreamMuxConfig::read(&mut bits)?),
            false => None,
        };
        let Some(mux) = brought.as_ref().or(self.mux.as_ref()) else {
            return Err(Error::Value {
                what: "useSameStreamMux",
                got: 1,
                allowed: "0 at first: no StreamMuxConfig has come yet",
            });
        };
        let unit_ticks =
            i64::from(mux.config.frame_len) * i64::from(self.clock_rate) / i64::from(mux.config.sample_rate);
        for nth in 0..mux.units_per_element {
            // PayloadLengthInfo: the sum of bytes up to the first below 255.
            let mut len = 0usize;
            loop {
                let part = bits.u(8)?;
                len += part as usize;
                if part != 255 {
                    break;
                }
            }
            let data = bits.take(len * 8)?;
            if !data.is_empty() {
                out.push(Unit {
                    timestamp: timestamp.saturating_add(i64::from(nth).saturating_mul(unit_ticks)),
                    data,
                });
            }
        }
        if exact && (bits.left().saturating_sub(mux.other_data_bits as usize)) / 8 > 0 {
            return Err(Error::Orphan);
        }
        if let Some(mux) = brought {
            self.changed |= self.config() != Some(&mux.audio_config);
            self.mux = Some(mux);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Partial {
    timestamp: i64,
    parts: usize,
    data: BytesMut,
}

/// Reads bits, most significant first, and takes runs of them as bytes.
#[derive(Clone, Debug)]
struct Cursor<'a> {
    data: &'a Bytes,
    /// The next bit.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(data: &'a Bytes) -> Self {
        Self { data, at: 0 }
    }

    /// Bits left.
    fn left(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.at)
    }

    /// A number of `count` bits, at most 32.
    fn u(&mut self, count: u32) -> Result<u32, Error> {
        let mut value = 0;
        for _ in 0..count {
            let Some(byte) = self.data.get(self.at / 8) else {
                return Err(Error::Truncated {
                    what: "AudioMuxElement",
                    need: self.data.len() + 1,
                    got: self.data.len(),
                });
            };
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    /// A field that has only one supported value.
    fn expect(
        &mut self,
        what: &'static str,
        count: u32,
        value: u32,
        allowed: &'static str,
    ) -> Result<(), Error> {
        let got = self.u(count)?;
        if got != value {
            return Err(Error::Value {
                what,
                got: got.into(),
                allowed,
            });
        }
        Ok(())
    }

    /// `LatmGetValue()`: 1 to 4 bytes.
    fn latm_value(&mut self) -> Result<u32, Error> {
        let bytes = self.u(2)? + 1;
        self.u(8 * bytes)
    }

    /// `otherDataLenBits` of audioMuxVersion 0: bytes while the bit before them is 1.
    fn escaped_len(&mut self) -> Result<u32, Error> {
        let mut len = 0u32;
        loop {
            let more = self.u(1)? == 1;
            let part = self.u(8)?;
            let Some(shifted) = len.checked_mul(256) else {
                return Err(Error::Value {
                    what: "otherDataLenBits",
                    got: u64::from(len) * 256,
                    allowed: "below 2^32",
                });
            };
            len = shifted | part;
            if !more {
                return Ok(len);
            }
        }
    }

    /// The next `len` bits, padded with zeros to a byte. Shared, not copied, if they begin at a byte and fill bytes.
    fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        if len > self.left() {
            return Err(Error::Truncated {
                what: "AudioMuxElement",
                need: (self.at + len).div_ceil(8),
                got: self.data.len(),
            });
        }
        let taken = if self.at.is_multiple_of(8) && len.is_multiple_of(8) {
            self.data.slice(self.at / 8..(self.at + len) / 8)
        } else {
            self.peek(len).into()
        };
        self.at += len;
        Ok(taken)
    }

    /// A copy of the next bits, at most `len` of them.
    fn peek(&self, len: usize) -> Vec<u8> {
        let len = len.min(self.left());
        let (byte, shift) = (self.at / 8, self.at % 8);
        let at = |index: usize| self.data.get(byte + index).copied().unwrap_or(0);
        let mut copy: Vec<u8> = (0..len.div_ceil(8))
            .map(|index| (u16::from_be_bytes([at(index), at(index + 1)]) >> (8 - shift)) as u8)
            .collect();
        if let Some(last) = copy.last_mut()
            && !len.is_multiple_of(8)
        {
            *last &= 0xff << (8 - len % 8);
        }
        copy
    }
}

/// Longest AudioSpecificConfig, in bits. Its longest part is a program config element with 255 bytes of comment.
const MAX_CONFIG_BITS: usize = 512 * 8;
