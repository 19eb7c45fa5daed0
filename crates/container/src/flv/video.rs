//! Video tag bodies (FLV 10.1, annex E.4.3; Enhanced RTMP v2, "Enhanced Video").

use super::Error;
use super::fourcc::video_of_classic_id;
use super::packet::{Content, Cursor, Packet, WireCodec};
use bytes::Bytes;
use media::{CodecId, MediaKind};

/// Reads a video tag body and gives its packets to `sink`. An error of one track's packet goes there too; the returned one
/// ends the body.
pub(super) fn parse(body: &Bytes, sink: &mut impl FnMut(Result<Packet, Error>)) -> Result<(), Error> {
    let mut cursor = Cursor::new(body);
    let first = cursor.u8("video tag header")?;
    let frame_type = first >> 4 & 7;
    let key = frame_type == KEY_FRAME;
    if first & EX_HEADER == 0 {
        if frame_type != COMMAND_FRAME {
            let (codec, content) = classic(first & 0x0f, key, &mut cursor)?;
            sink(Ok(Packet {
                kind: MediaKind::Video,
                wire_track: 0,
                codec,
                content,
            }));
        }
        return Ok(());
    }
    let packet_type = cursor.skip_mod_ex(first & 0x0f)?;
    if frame_type == COMMAND_FRAME && packet_type != METADATA {
        return Ok(());
    }
    let content = |packet_type, codec, part: &mut Cursor<'_>| enhanced(packet_type, codec, key, part);
    cursor.enhanced_packets(MediaKind::Video, packet_type, MULTITRACK, content, sink)
}

/// CodecID and AVCPacketType; the domestic codecs have the layout of H.264.
fn classic(id: u8, key: bool, cursor: &mut Cursor<'_>) -> Result<(WireCodec, Content), Error> {
    let Some(codec) = video_of_classic_id(id) else {
        return Ok((WireCodec::Id(id), Content::Nothing));
    };
    let packet_type = cursor.u8("video packet type")?;
    let composition_ms = cursor.composition_time()?;
    let content = match packet_type {
        0 => Content::Config(cursor.rest()),
        1 => Content::Frame {
            data: cursor.rest(),
            key,
            composition_ms,
            stereo: false,
        },
        2 => Content::Nothing,
        got => {
            let allowed = "0 header, 1 frame, 2 end (FLV 10.1, annex E.4.3.1)";
            return Err(Error::Field {
                what: "video packet type",
                got: got.into(),
                allowed,
            });
        }
    };
    Ok((WireCodec::Known(codec), content))
}

/// A packet behind its FourCC.
fn enhanced(packet_type: u8, codec: WireCodec, key: bool, part: &mut Cursor<'_>) -> Result<Content, Error> {
    let timed = matches!(codec, WireCodec::Known(CodecId::H264 | CodecId::H265));
    Ok(match packet_type {
        SEQUENCE_START => Content::Config(part.rest()),
        CODED_FRAMES | CODED_FRAMES_X => {
            let composition_ms = if timed && packet_type == CODED_FRAMES {
                part.composition_time()?
            } else {
                0
            };
            Content::Frame {
                data: part.rest(),
                key,
                composition_ms,
                stereo: false,
            }
        }
        SEQUENCE_END | METADATA => Content::Nothing,
        MPEG2TS_SEQUENCE_START => Content::Unsupported("MPEG-2 TS sequence start"),
        got => {
            let allowed = "0 to 7 (Enhanced RTMP v2, VideoPacketType)";
            return Err(Error::Field {
                what: "video packet type",
                got: got.into(),
                allowed,
            });
        }
    })
}

/// IsExHeader.
const EX_HEADER: u8 = 0x80;
/// Frame types (annex E.4.3.1).
const KEY_FRAME: u8 = 1;
const COMMAND_FRAME: u8 = 5;
/// VideoPacketType.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MPEG2TS_SEQUENCE_START: u8 = 5;
const MULTITRACK: u8 = 6;
