//! What audio and video tag bodies have in common: the parts of Enhanced RTMP's headers.

use super::Error;
use super::fourcc::codec_of_fourcc;
use bytes::Bytes;
use media::{CodecId, MediaKind};

/// One packet of one track. Classic bodies hold one, multitrack bodies one for each track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Audio or video.
    pub kind: MediaKind,
    /// Track id on the wire; 0 for everything that is not multitrack.
    pub wire_track: u8,
    pub codec: WireCodec,
    pub content: Content,
}

/// A codec as the wire names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireCodec {
    Known(CodecId),
    Id(u8),
    FourCc([u8; 4]),
}

impl WireCodec {
    fn of_fourcc(fourcc: [u8; 4], kind: MediaKind) -> Self {
        match codec_of_fourcc(fourcc).filter(|codec| codec.kind() == kind) {
            Some(codec) => Self::Known(codec),
            None => Self::FourCc(fourcc),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A decoder configuration.
    Config(Bytes),
    /// A coded frame.
    Frame {
        data: Bytes,
        /// The tag calls it a key frame.
        key: bool,
        /// PTS minus DTS in milliseconds.
        composition_ms: i32,
        /// The stereo bit of a classic audio tag.
        stereo: bool,
    },
    /// Something of the standard that Tidegate does not use, by name.
    Unsupported(&'static str),
    /// Nothing to do: end of sequence, color information, channel layout.
    Nothing,
}

/// Reads the fields of a tag body.
pub(super) struct Cursor<'a> {
    body: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a Bytes) -> Self {
        Self { body, at: 0 }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let rest = &self.body[self.at..];
        let array = rest.first_chunk::<N>().ok_or(Error::Truncated {
            what,
            at: self.at,
            need: N,
            got: rest.len(),
        })?;
        self.at += N;
        Ok(*array)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    fn u24(&mut self, what: &'static str) -> Result<u32, Error> {
        let [high, mid, low] = self.array(what)?;
        Ok(u32::from_be_bytes([0, high, mid, low]))
    }

    /// A composition time: 24 bits, signed.
    pub(super) fn composition_time(&mut self) -> Result<i32, Error> {
        Ok((self.u24("composition time")? << 8) as i32 >> 8)
    }

    /// The next `need` bytes, shared.
    fn bytes(&mut self, need: usize, what: &'static str) -> Result<Bytes, Error> {
        let got = self.body.len() - self.at;
        if need > got {
            return Err(Error::Truncated {
                what,
                at: self.at,
                need,
                got,
            });
        }
        let bytes = self.body.slice(self.at..self.at + need);
        self.at += need;
        Ok(bytes)
    }

    /// Everything that is left, shared.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.body.slice(self.at..);
        self.at = self.body.len();
        rest
    }

    fn is_empty(&self) -> bool {
        self.at == self.body.len()
    }

    /// Passes over ModEx prefixes and returns the packet type behind them. The one kind defined so far, a nanosecond offset
    /// to the presentation time, is below the resolution of FLV's clock and goes unused.
    pub(super) fn skip_mod_ex(&mut self, mut packet_type: u8) -> Result<u8, Error> {
        // Each turn takes 3 bytes at least, so the body bounds the loop.
        while packet_type == MOD_EX {
            let mut len = usize::from(self.u8("ModEx size")?) + 1;
            if len == 256 {
                len = usize::from(self.u16("ModEx size")?) + 1;
            }
            self.bytes(len, "ModEx data")?;
            packet_type = self.u8("ModEx type and packet type")? & 0x0f;
        }
        Ok(packet_type)
    }

    /// Reads FourCC and packet, or all packets of a multitrack body. `content` reads the part of a packet behind its FourCC and
    /// track id from a cursor over just that part.
    pub(super) fn enhanced_packets(
        &mut self,
        kind: MediaKind,
        mut packet_type: u8,
        multitrack: u8,
        content: impl Fn(u8, WireCodec, &mut Cursor<'_>) -> Result<Content, Error>,
        sink: &mut impl FnMut(Result<Packet, Error>),
    ) -> Result<(), Error> {
        if packet_type != multitrack {
            let codec = WireCodec::of_fourcc(self.array("FourCC")?, kind);
            let content = content(packet_type, codec, self)?;
            sink(Ok(Packet {
                kind,
                wire_track: 0,
                codec,
                content,
            }));
            return Ok(());
        }
        let types = self.u8("multitrack type")?;
        let multitrack_type = types >> 4;
        packet_type = types & 0x0f;
        if multitrack_type > MANY_TRACKS_MANY_CODECS || packet_type == multitrack {
            let allowed = "types 0 to 2, and no multitrack inside (Enhanced RTMP v2)";
            return Err(Error::Field {
                what: "multitrack type",
                got: types.into(),
                allowed,
            });
        }
        let mut codec = match multitrack_type {
            MANY_TRACKS_MANY_CODECS => WireCodec::Id(0),
            _ => WireCodec::of_fourcc(self.array("FourCC")?, kind),
        };
        for count in 1.. {
            if multitrack_type == MANY_TRACKS_MANY_CODECS {
                codec = WireCodec::of_fourcc(self.array("FourCC")?, kind);
            }
            let wire_track = self.u8("track id")?;
            let part = match multitrack_type {
                ONE_TRACK => self.rest(),
                _ => {
                    let len = self.u24("size of track")? as usize;
                    self.bytes(len, "track")?
                }
            };
            let packet = content(packet_type, codec, &mut Cursor::new(&part));
            sink(packet.map(|content| Packet {
                kind,
                wire_track,
                codec,
                content,
            }));
            if self.is_empty() {
                break;
            }
            if count == MAX_PACKETS {
                let allowed = "more than one body needs";
                return Err(Error::Field {
                    what: "packets in a multitrack body",
                    got: count + 1,
                    allowed,
                });
            }
        }
        Ok(())
    }
}

/// PacketType ModEx, equal for audio and video.
const MOD_EX: u8 = 7;
/// AvMultitrackType.
const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;
/// Packets read from one body; a stream may have [`super::MAX_TRACKS`] tracks of both kinds together.
const MAX_PACKETS: u32 = 16;
