//! User control events (RTMP 1.0, section 7.1.7).

use super::{Error, type_id};
use bytes::{BufMut, BytesMut};

/// An event. Message stream ids are those of the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// 0: the stream can be used.
    StreamBegin(u32),
    /// 1: the stream has ended.
    StreamEof(u32),
    /// 2: no more data for the moment.
    StreamDry(u32),
    /// 3: how much the client buffers.
    SetBufferLength {
        /// Message stream.
        stream_id: u32,
        /// Milliseconds.
        buffer_ms: u32,
    },
    /// 4: the stream is a recording.
    StreamIsRecorded(u32),
    /// 6: answer with the same time.
    PingRequest(u32),
    /// 7: the answer.
    PingResponse(u32),
    /// 31 (not in the standard; sent by Adobe's servers): the client's buffer is empty.
    BufferEmpty(u32),
    /// 32 (not in the standard): the client's buffer is filled.
    BufferReady(u32),
}

impl UserControl {
    /// Reads a body; `None` for events that nobody described.
    pub(super) fn decode(body: &[u8]) -> Result<Option<Self>, Error> {
        let field = |at: usize| {
            let bytes = body.get(at..).and_then(|rest| rest.first_chunk::<4>());
            let error = Error::Length {
                type_id: type_id::USER_CONTROL,
                got: body.len(),
                need: at + 4,
                clause: "7.1.7",
            };
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(error)
        };
        let Some(kind) = body.first_chunk::<2>() else {
            return Err(Error::Length {
                type_id: type_id::USER_CONTROL,
                got: body.len(),
                need: 2,
                clause: "7.1.7",
            });
        };
        Ok(Some(match u16::from_be_bytes(*kind) {
            0 => Self::StreamBegin(field(2)?),
            1 => Self::StreamEof(field(2)?),
            2 => Self::StreamDry(field(2)?),
            3 => Self::SetBufferLength {
                stream_id: field(2)?,
                buffer_ms: field(6)?,
            },
            4 => Self::StreamIsRecorded(field(2)?),
            6 => Self::PingRequest(field(2)?),
            7 => Self::PingResponse(field(2)?),
            31 => Self::BufferEmpty(field(2)?),
            32 => Self::BufferReady(field(2)?),
            _ => return Ok(None),
        }))
    }

    /// Appends the body.
    pub fn encode(self, out: &mut BytesMut) {
        let (kind, first, second) = match self {
            Self::StreamBegin(id) => (0, id, None),
            Self::StreamEof(id) => (1, id, None),
            Self::StreamDry(id) => (2, id, None),
            Self::SetBufferLength { stream_id, buffer_ms } => (3, stream_id, Some(buffer_ms)),
            Self::StreamIsRecorded(id) => (4, id, None),
            Self::PingRequest(time) => (6, time, None),
            Self::PingResponse(time) => (7, time, None),
            Self::BufferEmpty(id) => (31, id, None),
            Self::BufferReady(id) => (32, id, None),
        };
        out.put_u16(kind);
        out.put_u32(first);
        if let Some(second) = second {
            out.put_u32(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_round_trip() {
        for event in [
            UserControl::StreamBegin(1),
            UserControl::StreamEof(1),
            UserControl::StreamDry(2),
            UserControl::SetBufferLength {
                stream_id: 1,
                buffer_ms: 3000,
            },
            UserControl::StreamIsRecorded(1),
            UserControl::PingRequest(0xFFFF_FFFF),
            UserControl::PingResponse(5),
            UserControl::BufferEmpty(1),
            UserControl::BufferReady(1),
        ] {
            let mut body = BytesMut::new();
            event.encode(&mut body);
            assert_eq!(UserControl::decode(&body), Ok(Some(event)));
            assert!(UserControl::decode(&body[..body.len() - 1]).is_err());
        }
    }

    #[test]
    fn unknown_events_are_none_and_stream_eof_is_as_zlm_sends_it() {
        assert_eq!(UserControl::decode(&[0, 0x1A, 1]), Ok(None));
        let mut body = BytesMut::new();
        UserControl::StreamEof(1).encode(&mut body);
        assert_eq!(body, &[0, 1, 0, 0, 0, 1][..]);
    }
}
