//! AAC in LATM (RFC 6416, section 6; `MP4A-LATM`), received only. The multiplex itself is of ISO/IEC 14496-3, 1.7.3.
//!
//! A packet carries one `AudioMuxElement` or a fragment of it; the marker stands on the last (RFC 6416, 6.2). The element holds
//! `numSubFrames + 1` access units, each behind its length, and none of them need begin at a byte. How it is built is told by a
//! `StreamMuxConfig`, in the session description (`cpresent=0`) or in the elements (`cpresent=1`, the default).
//!
//! What is read is what is sent: one program, one layer, lengths given per access unit. Anything else is refused by name.

use super::aac::bitstream;
use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Unit, bound};
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
    /// `audioMuxVersion` is 1.
    version: bool,
}

impl StreamMuxConfig {
    /// Reads the configuration of a session description: `config` of the `fmtp` line, from hexadecimal. Unused bits behind it are
    /// let pass. One that ends early behind the AudioSpecificConfig is taken for one without other data: GStreamer's
    /// `rtpmp4apay` sends such.
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        let config = Bytes::copy_from_slice(config);
        let mut bits = Cursor::new(&config);
        let mut mux = Self::read_audio(&mut bits)?;
        match mux.read_rest(&mut bits) {
            Ok(()) | Err(Error::Truncated { .. }) => Ok(mux),
            Err(error) => Err(error),
        }
    }

    /// Reads what begins at the next bit of an element.
    fn read(bits: &mut Cursor<'_>) -> Result<Self, Error> {
        let mut mux = Self::read_audio(bits)?;
        mux.read_rest(bits)?;
        Ok(mux)
    }

    /// Up to the AudioSpecificConfig.
    fn read_audio(bits: &mut Cursor<'_>) -> Result<Self, Error> {
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
            bound("bits of the AudioSpecificConfig", len, MAX_CONFIG_BITS)?;
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
        Ok(Self {
            audio_config,
            config,
            units_per_element: sub_frames + 1,
            other_data_bits: 0,
            version,
        })
    }

    /// What is behind the AudioSpecificConfig.
    fn read_rest(&mut self, bits: &mut Cursor<'_>) -> Result<(), Error> {
        let allowed = "0: lengths per access unit; those of fixed length, CELP and HVXC are not supported";
        bits.expect("frameLengthType", 3, 0, allowed)?;
        bits.u(8)?; // latmBufferFullness
        if bits.u(1)? == 1 {
            self.other_data_bits = if self.version {
                bits.latm_value()?
            } else {
                bits.escaped_len()?
            };
        }
        if bits.u(1)? == 1 {
            bits.u(8)?; // crcCheckSum
        }
        Ok(())
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
#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::testing::{Sent, capture, deliver, hex};
    use proptest::prelude::*;

    fn unpack(mut unpacker: Unpacker, packets: &[Sent], lost: &[usize]) -> (Vec<Unit>, Vec<Error>) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        deliver(packets, lost, |input| {
            errors.extend(unpacker.push(input, &mut out).err())
        });
        unpacker.flush(&mut out);
        (out, errors)
    }

    fn out_of_band(config: &str) -> Unpacker {
        Unpacker::new(false, Some(StreamMuxConfig::parse(&hex(config)).unwrap()), 16_000)
    }

    fn unit(timestamp: i64, data: &[u8]) -> Unit {
        Unit {
            timestamp,
            data: Bytes::copy_from_slice(data),
        }
    }

    fn sent(timestamp: i64, marker: bool, payload: &[u8]) -> Sent {
        Sent {
            timestamp,
            marker,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    /// Bits, most significant first, as bytes; blanks are for the eye.
    fn bits(text: &str) -> Vec<u8> {
        let bits: Vec<u8> = text
            .bytes()
            .filter(|bit| *bit != b' ')
            .map(|bit| bit - b'0')
            .collect();
        bits.chunks(8)
            .map(|byte| {
                byte.iter()
                    .enumerate()
                    .fold(0, |sum, (at, bit)| sum | bit << (7 - at))
            })
            .collect()
    }

    /// An element with a length before each unit.
    fn element(units: &[&[u8]]) -> Vec<u8> {
        let mut element = Vec::new();
        for unit in units {
            element.extend(std::iter::repeat_n(255, unit.len() / 255));
            element.push((unit.len() % 255) as u8);
            element.extend_from_slice(unit);
        }
        element
    }

    #[test]
    fn configurations_of_real_senders_are_read() {
        let read = |config: &str| {
            let mux = StreamMuxConfig::parse(&hex(config)).unwrap();
            let params = mux.config.params();
            (mux.audio_config.to_vec(), params.sample_rate, params.channels)
        };
        // FFmpeg for 16 kHz, VLC for 44.1 kHz.
        assert_eq!(read("400028103fc0"), (vec![0x14, 0x08], 16_000, 1));
        assert_eq!(read("400024203fc0"), (vec![0x12, 0x10], 44_100, 2));
        // SBR signalled in hierarchy: a core of 24 kHz.
        assert_eq!(read("40005623101fe0"), (vec![0x2b, 0x11, 0x88, 0x00], 48_000, 2));
        // GStreamer, which cuts the end off: as it is, and with "no SBR" behind the AudioSpecificConfig.
        assert_eq!(read("40002420"), (vec![0x12, 0x10], 44_100, 2));
        assert_eq!(
            read("40002410adca00"),
            (vec![0x12, 0x08, 0x56, 0xe5, 0x00], 44_100, 1)
        );
        assert_eq!(read("40002b10"), (vec![0x15, 0x88], 8_000, 1));
        // audioMuxVersion 1: one byte of buffer fullness, three sub-frames, 16 bits of AudioSpecificConfig.
        let version1 =
            bits("1 0 00 11111111 1 000010 0000 000 00 00010000 0001001000010000 000 11111111 0 0");
        let mux = StreamMuxConfig::parse(&version1).unwrap();
        assert_eq!(
            (&mux.audio_config[..], mux.units_per_element),
            (&[0x12, 0x10][..], 3)
        );
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let refused = |text: &str| StreamMuxConfig::parse(&bits(text)).unwrap_err().to_string();
        assert!(refused("1 1 00").contains("audioMuxVersionA is 1"));
        assert!(refused("0 0 000000").contains("allStreamsSameTimeFraming is 0"));
        assert!(refused("0 1 000000 0001 000").contains("numProgram is 1"));
        assert!(refused("0 1 000000 0000 001").contains("numLayer is 1"));
        assert!(refused("0 1 000000 0000 000 0001001000010000 001 000").contains("frameLengthType is 1"));
        // ELD: nothing tells where its configuration ends.
        assert!(refused("0 1 000000 0000 000 11111 000111 0100 0001 0000000000000").contains("is 39"));
        assert!(refused("0 1 000000 0000").contains("needed"));
    }

    #[test]
    fn units_of_ffmpeg_are_read_with_the_configuration_in_the_sdp() {
        let packets = capture(OUT_OF_BAND_OF_FFMPEG);
        let (units, errors) = unpack(out_of_band("400028103fc0"), &packets, &[]);
        let first = packets[0].timestamp;
        assert_eq!(errors, []);
        assert_eq!(
            units,
            [unit(first, &hex(UNITS[0])), unit(first + 1024, &hex(UNITS[1]))]
        );
        assert_eq!(out_of_band("400028103fc0").config().unwrap(), &hex("1408"));
    }

    #[test]
    fn units_of_ffmpeg_are_read_with_the_configuration_in_band() {
        let packets: Vec<Sent> = IN_BAND_OF_FFMPEG
            .iter()
            .enumerate()
            .map(|(n, text)| sent(n as i64, true, &hex(text)))
            .collect();
        let mut unpacker = Unpacker::new(true, None, 16_000);
        let mut out = Vec::new();
        deliver(&packets, &[], |input| unpacker.push(input, &mut out).unwrap());
        assert_eq!(unpacker.take_config().unwrap(), hex("1408"));
        assert_eq!(unpacker.take_config(), None);
        let data: Vec<&Bytes> = out.iter().map(|unit| &unit.data).collect();
        assert_eq!(data, [&hex(IN_BAND_UNITS[0]), &hex(IN_BAND_UNITS[1])]);
        // The element without a configuration alone cannot be read.
        let (units, errors) = unpack(Unpacker::new(true, None, 16_000), &packets[1..], &[]);
        assert_eq!(units, []);
        assert!(errors[0].to_string().contains("no StreamMuxConfig"));
    }

    #[test]
    fn sub_frames_are_a_frame_apart_in_ticks_of_the_clock() {
        let config = bits("0 1 000010 0000 000 0001010000001000 000 11111111 0 0");
        let mux = StreamMuxConfig::parse(&config).unwrap();
        // 16 kHz with a clock of 32 kHz.
        let packet = sent(7, true, &element(&[&[1], &[2; 255], &[3]]));
        let (units, errors) = unpack(Unpacker::new(false, Some(mux), 32_000), &[packet], &[]);
        assert_eq!(errors, []);
        assert_eq!(
            units,
            [unit(7, &[1]), unit(7 + 2048, &[2; 255]), unit(7 + 4096, &[3])]
        );
    }

    #[test]
    fn an_element_that_ends_early_gives_nothing() {
        let packet = sent(0, true, &[4, 1, 2, 3]);
        let (units, errors) = unpack(out_of_band("400028103fc0"), &[packet], &[]);
        assert_eq!(units, []);
        assert_eq!(errors.len(), 1);
    }

    proptest! {
        #[test]
        fn elements_in_fragments_survive_and_loss_costs_only_whole_ones(
            units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..600), 2..10),
            room in 20usize..200,
            lost in proptest::collection::vec(1usize..30, 0..4),
        ) {
            // The first element is in fragments, so the unpacker knows that there are some.
            let units: Vec<Vec<u8>> = std::iter::once(vec![1; 400]).chain(units).collect();
            let mut packets = Vec::new();
            for (n, unit) in units.iter().enumerate() {
                let element = element(&[unit]);
                let count = element.chunks(room).count();
                packets.extend(element.chunks(room).enumerate().map(|(at, part)| sent(n as i64, at + 1 == count, part)));
            }
            let all: Vec<Unit> = units.iter().enumerate().map(|(n, data)| unit(n as i64, data)).collect();
            let (whole, errors) = unpack(out_of_band("400028103fc0"), &packets, &[]);
            prop_assert_eq!(&whole, &all);
            prop_assert_eq!(errors, []);
            let (rest, _) = unpack(out_of_band("400028103fc0"), &packets, &lost);
            prop_assert!(rest.iter().all(|unit| all.contains(unit)));
            prop_assert!(rest.len() + 2 * lost.len() >= all.len());
        }

        #[test]
        fn no_payload_breaks_it(
            in_band in any::<bool>(),
            packets in proptest::collection::vec(
                (0i64..3, any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..20),
        ) {
            let mux = StreamMuxConfig::parse(&hex("400028103fc0")).unwrap();
            let (mut unpacker, mut out) = (Unpacker::new(in_band, Some(mux), 16_000), Vec::new());
            for (timestamp, marker, gap, payload) in &packets {
                let _ = StreamMuxConfig::parse(payload);
                let payload = &Bytes::copy_from_slice(payload);
                let _ = unpacker.push(Input { payload, marker: *marker, timestamp: *timestamp, gap: *gap }, &mut out);
            }
            let bytes: usize = packets.iter().map(|packet| packet.3.len()).sum();
            prop_assert!(out.iter().map(|unit| unit.data.len()).sum::<usize>() <= bytes);
        }
    }

    /// FFmpeg 5.1, `-f rtp -rtpflags latm`, AAC LC of 16 kHz, mono.
    const OUT_OF_BAND_OF_FFMPEG: [&str; 2] = [
        "80e1069184826bec4ce425705a00f42f18ce2620c9c19ebffefe7fff7d35bf3caa4df5ae7c71c78eb5d86767a6\
         bc469c31c1abebeec7bbafb99d84bf73f220ebc297a6ba5d9d899d9c0926bb91704a291819cd89022b1158ba87\
         b1482c45230b11148e09458f80",
        "80e1069284826fec4ce425705c00f02f18ce3429c1715dfffdcffe9fffd6f8a9d788a95d6b7e245dd06767679a\
         b9a49a4c64d1ab8f6fabdb455409b3d86c1cfcdb767f98f75534d364b817366b4544f03318963dd4c271513c4c\
         e4132a41eb265c8329548da4e2f6bc",
    ];

    /// The units in them.
    const UNITS: [&str; 2] = [
        "00f42f18ce2620c9c19ebffefe7fff7d35bf3caa4df5ae7c71c78eb5d86767a6bc469c31c1abebeec7bbafb99d\
         84bf73f220ebc297a6ba5d9d899d9c0926bb91704a291819cd89022b1158ba87b1482c45230b11148e09458f80",
        "00f02f18ce3429c1715dfffdcffe9fffd6f8a9d788a95d6b7e245dd06767679ab9a49a4c64d1ab8f6fabdb4554\
         09b3d86c1cfcdb767f98f75534d364b817366b4544f03318963dd4c271513c4ce4132a41eb265c8329548da4e2\
         f6bc",
    ];

    /// FFmpeg 5.1, `-f latm`: elements of the same stream, taken out of LOAS. Only the first has a configuration.
    const IN_BAND_OF_FFMPEG: [&str; 2] = [
        "200014081fe4700912794c61a3d52b3c7cd7df504dc49111220eb5d57ab755dab8cf1ee33d8bacf62f81eade8b\
         d6bca786e53d0bb0cf56725a0a6baf41db3fdf9fc1aff5fe3d0d34ecf46c952c93eb652a94aa32bb09b0c64c64\
         691a46926799e60606440c0c6cd9b95122965366cdcb2cb2cb2cb2cb2cb2cb2cb2cb2cb2cb2cb2cb2cb2cb2cb2\
         cb2cb2cb2cb2cb2cb2cb2cb2cbc0",
        "ad007a178c67131064e0cf5fff7f3fffbe9adf9e5526fad73e38e3c75aec33b3d35e234e18e0d5f5f763ddd7dc\
         cec25fb9f91075e14bd35d2ecec4cece04935dc8b825148c0ce6c4811588ac5d43d8a416229185888a4704a2c7\
         c000",
    ];

    /// The units in them.
    const IN_BAND_UNITS: [&str; 2] = [
        "01224f298c347aa5678f9afbea09b892222441d6baaf56eabb5719e3dc67b1759ec5f03d5bd17ad794f0dca7a1\
         7619eace4b414d75e83b67fbf3f835febfc7a1a69d9e8d92a5927d6ca552954657613618c98c8d2348d24cf33c\
         c0c0c881818d9b372a2452ca6cd9b9659659659659659659659659659659659659659659659659659659659659\
         65965965965978",
        "00f42f18ce2620c9c19ebffefe7fff7d35bf3caa4df5ae7c71c78eb5d86767a6bc469c31c1abebeec7bbafb99d\
         84bf73f220ebc297a6ba5d9d899d9c0926bb91704a291819cd89022b1158ba87b1482c45230b11148e09458f80",
    ];
}
