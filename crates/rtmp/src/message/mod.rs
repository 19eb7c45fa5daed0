//! Messages: what a type id means and how its payload is laid out (RTMP 1.0, sections 5.4, 6.2 and 7.1).

mod aggregate;
mod command;
mod user_control;

pub use aggregate::{Aggregate, split_aggregate};
pub use command::{Command, MAX_COMMAND_LEN};
pub use user_control::UserControl;

use crate::chunk;
use bytes::{Buf, Bytes};
use container::amf0;
use container::flv::{Tag, TagType};

/// Message type ids (RTMP 1.0, sections 5.4, 6.2 and 7.1).
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3.
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0.
    pub const DATA_AMF0: u8 = 18;
    /// Command in AMF0.
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate.
    pub const AGGREGATE: u8 = 22;
}

/// Limit type of Set Peer Bandwidth that means "hard, if the last one was hard" (RTMP 1.0, section 5.4.5).
pub const BANDWIDTH_DYNAMIC: u8 = 2;

/// A message by meaning. Set Chunk Size and Abort are not here: [`chunk::Reader`] obeys them.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The peer has this many bytes, modulo 2^32.
    Acknowledgement(u32),
    /// User control event.
    UserControl(UserControl),
    /// The peer wants an acknowledgement each so many bytes.
    WindowAckSize(u32),
    /// The peer limits what we send unacknowledged, in bytes.
    PeerBandwidth(u32),
    /// Audio or video.
    Media(Tag),
    /// `onMetaData`, as the body of a script tag: without `@setDataFrame`.
    Metadata(Tag),
    /// Several audio, video and data messages in one.
    Aggregate(chunk::Message),
    /// A command.
    Command(Command),
    /// Something that Tidegate has no use for: shared objects, other data messages, unknown types and events.
    Other {
        /// Its type id.
        type_id: u8,
    },
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A control message that is too short.
    #[error("message of type {type_id} has {got} bytes, needs {need} (RTMP 1.0, section {clause})")]
    Length {
        /// Message type id.
        type_id: u8,
        /// Its length.
        got: usize,
        /// What it needs.
        need: usize,
        /// Section of the standard.
        clause: &'static str,
    },
    /// A command that is far longer than any command.
    #[error("command of {got} bytes: {MAX_COMMAND_LEN} are allowed")]
    CommandLength {
        /// Its length.
        got: usize,
    },
    /// A command whose values cannot be read.
    #[error("command cannot be read (RTMP 1.0, section 7.2): {0}")]
    Amf(#[from] amf0::Error),
    /// A command that does not begin with a name.
    #[error("command does not begin with a name (RTMP 1.0, section 7.2.1)")]
    NoName,
    /// A part of an aggregate message that is longer than what is left of it.
    #[error("part of {need} bytes in an aggregate message of which {got} are left (RTMP 1.0, section 7.1.6)")]
    Aggregate {
        /// Bytes of the part with its header and back pointer.
        need: usize,
        /// Bytes left.
        got: usize,
    },
}

impl Message {
    /// Reads a message by its type.
    pub fn parse(message: chunk::Message) -> Result<Self, Error> {
        let chunk::Message {
            type_id,
            timestamp_ms,
            ref body,
            ..
        } = message;
        let number = |clause| be32(type_id, body, clause);
        Ok(match type_id {
            type_id::ACKNOWLEDGEMENT => Self::Acknowledgement(number("5.4.3")?),
            type_id::USER_CONTROL => match UserControl::decode(body)? {
                Some(event) => Self::UserControl(event),
                None => Self::Other { type_id },
            },
            type_id::WINDOW_ACK_SIZE => Self::WindowAckSize(number("5.4.4")?),
            type_id::SET_PEER_BANDWIDTH => Self::PeerBandwidth(number("5.4.5")?),
            type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0 | type_id::DATA_AMF3 => {
                Self::tag(type_id, timestamp_ms, message.body).unwrap_or(Self::Other { type_id })
            }
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                Self::Command(Command::decode(type_id, message.stream_id, body)?)
            }
            type_id::AGGREGATE => Self::Aggregate(message),
            _ => Self::Other { type_id },
        })
    }

    /// Audio, video or `onMetaData`.
    fn tag(type_id: u8, timestamp_ms: i64, mut body: Bytes) -> Option<Self> {
        let media = |tag_type, body| {
            Self::Media(Tag {
                tag_type,
                timestamp_ms,
                body,
            })
        };
        match type_id {
            type_id::AUDIO => return Some(media(TagType::Audio, body)),
            type_id::VIDEO => return Some(media(TagType::Video, body)),
            // A format byte of 0 says that AMF0 follows, as in commands; senders that leave it out exist.
            type_id::DATA_AMF3 if body.first() == Some(&0) => body.advance(1),
            _ => {}
        }
        if body.starts_with(SET_DATA_FRAME) {
            body.advance(SET_DATA_FRAME.len());
        }
        let is_metadata = body.starts_with(ON_META_DATA);
        is_metadata.then_some(Self::Metadata(Tag {
            tag_type: TagType::Script,
            timestamp_ms,
            body,
        }))
    }
}

/// `@setDataFrame` as an AMF0 string.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// `onMetaData` as an AMF0 string.
const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";

fn be32(type_id: u8, body: &[u8], clause: &'static str) -> Result<u32, Error> {
    match body.first_chunk::<4>() {
        Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
        None => Err(Error::Length {
            type_id,
            got: body.len(),
            need: 4,
            clause,
        }),
    }
}

/// The body of a data message that sets metadata at a server: `@setDataFrame` before the body of a script tag.
pub fn set_data_frame(script: &[u8]) -> Bytes {
    [SET_DATA_FRAME, script].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(type_id: u8, body: &'static [u8]) -> Result<Message, Error> {
        let body = Bytes::from_static(body);
        Message::parse(chunk::Message {
            csid: 3,
            type_id,
            stream_id: 1,
            timestamp_ms: 7,
            body,
        })
    }

    #[test]
    fn metadata_is_found_under_its_wrappers() {
        let bare = parse(18, b"\x02\x00\x0aonMetaData\x05").expect("valid");
        let Message::Metadata(tag) = &bare else {
            panic!("{bare:?}")
        };
        assert_eq!(tag.body, &b"\x02\x00\x0aonMetaData\x05"[..]);
        assert_eq!(tag.timestamp_ms, 7);
        for (type_id, body) in [
            (18, &b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05"[..]),
            (15, b"\x00\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05"),
            (15, b"\x02\x00\x0aonMetaData\x05"),
        ] {
            assert_eq!(parse(type_id, body).expect("valid"), bare);
        }
        let wrapped = set_data_frame(b"\x02\x00\x0aonMetaData\x05");
        assert_eq!(
            parse(18, Box::leak(wrapped.to_vec().into_boxed_slice())).expect("valid"),
            bare
        );
    }

    #[test]
    fn other_data_and_unknown_types_are_named_and_left_alone() {
        assert_eq!(
            parse(18, b"\x02\x00\x0aonTextData\x05"),
            Ok(Message::Other { type_id: 18 })
        );
        assert_eq!(parse(18, b""), Ok(Message::Other { type_id: 18 }));
        assert_eq!(parse(19, b"anything"), Ok(Message::Other { type_id: 19 }));
        assert_eq!(parse(200, b""), Ok(Message::Other { type_id: 200 }));
    }

    #[test]
    fn a_short_control_message_is_an_error_with_its_clause() {
        let error = parse(5, &[0, 0, 1]).expect_err("short");
        assert_eq!(
            error.to_string(),
            "message of type 5 has 3 bytes, needs 4 (RTMP 1.0, section 5.4.4)"
        );
        assert_eq!(
            parse(6, &[0, 76, 75, 64, 2]),
            Ok(Message::PeerBandwidth(5_000_000))
        );
    }
}
