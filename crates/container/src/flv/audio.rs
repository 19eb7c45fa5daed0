//! Audio tag bodies (FLV 10.1, annex E.4.2; Enhanced RTMP v2, "Enhanced Audio").

use super::Error;
use super::fourcc::audio_of_classic_id;
use super::packet::{Content, Cursor, Packet, WireCodec};
use bytes::Bytes;
use media::{CodecId, MediaKind};

/// Reads an audio tag body and gives its packets to `sink`. An error of one track's packet goes there too; the returned one
/// ends the body.
pub(super) fn parse(body: &Bytes, sink: &mut impl FnMut(Result<Packet, Error>)) -> Result<(), Error> {
    let mut cursor = Cursor::new(body);
    let first = cursor.u8("audio tag header")?;
    if first >> 4 != EX_HEADER {
        let (codec, content) = classic(first, &mut cursor)?;
        sink(Ok(Packet {
            kind: MediaKind::Audio,
            wire_track: 0,
            codec,
            content,
        }));
        return Ok(());
    }
    let packet_type = cursor.skip_mod_ex(first & 0x0f)?;
    cursor.enhanced_packets(MediaKind::Audio, packet_type, MULTITRACK, enhanced, sink)
}

fn classic(first: u8, cursor: &mut Cursor<'_>) -> Result<(WireCodec, Content), Error> {
    let id = first >> 4;
    let Some(codec) = audio_of_classic_id(id) else {
        return Ok((WireCodec::Id(id), Content::Nothing));
    };
    let stereo = first & 1 != 0;
    let frame = |cursor: &mut Cursor<'_>| Content::Frame {
        data: cursor.rest(),
        key: true,
        composition_ms: 0,
        stereo,
    };
    let content = match codec {
        CodecId::Aac => match cursor.u8("AAC packet type")? {
            0 => Content::Config(cursor.rest()),
            1 => frame(cursor),
            got => {
                let allowed = "0 header, 1 raw (FLV 10.1, annex E.4.2.2)";
                return Err(Error::Field {
                    what: "AAC packet type",
                    got: got.into(),
                    allowed,
                });
            }
        },
        CodecId::Opus
        | CodecId::G711A
        | CodecId::G711U
        | CodecId::Mp3
        | CodecId::H264
        | CodecId::H265
        | CodecId::Av1
        | CodecId::Vp8
        | CodecId::Vp9
        | CodecId::L16
        | CodecId::Jpeg
        | CodecId::Other(_) => frame(cursor),
    };
    Ok((WireCodec::Known(codec), content))
}

/// A packet behind its FourCC.
fn enhanced(packet_type: u8, _codec: WireCodec, part: &mut Cursor<'_>) -> Result<Content, Error> {
    Ok(match packet_type {
        SEQUENCE_START => Content::Config(part.rest()),
        CODED_FRAMES => Content::Frame {
            data: part.rest(),
            key: true,
            composition_ms: 0,
            stereo: false,
        },
        // The order of channels; decoders find it in the bit stream.
        SEQUENCE_END | MULTICHANNEL_CONFIG => Content::Nothing,
        got => {
            let allowed = "0 to 2, 4, 5, 7 (Enhanced RTMP v2, AudioPacketType)";
            return Err(Error::Field {
                what: "audio packet type",
                got: got.into(),
                allowed,
            });
        }
    })
}

/// SoundFormat of the enhanced header.
const EX_HEADER: u8 = 9;
/// AudioPacketType.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;
