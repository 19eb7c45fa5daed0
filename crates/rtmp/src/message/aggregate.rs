//! Aggregate messages (RTMP 1.0, section 7.1.6): FLV tags, one after the other, as FMLE sends them.

use super::{Error, Message};
use crate::chunk;
use bytes::{Buf, Bytes};

/// The parts of an aggregate message, in order. See [`split_aggregate`].
#[derive(Debug)]
pub struct Aggregate {
    body: Bytes,
    /// Time of the message, which its first part takes; the others keep their distance from it.
    timestamp_ms: i64,
    /// Time field of the first part.
    first: Option<u32>,
}

/// Header of a part: type(1) size(3) time(3) time's upper byte(1) stream id(3).
const PART_HEADER_LEN: usize = 11;

/// Length of the field behind a part that repeats its size.
const BACK_POINTER_LEN: usize = 4;

/// Splits an aggregate message. Parts share its memory.
pub fn split_aggregate(message: chunk::Message) -> Aggregate {
    Aggregate {
        body: message.body,
        timestamp_ms: message.timestamp_ms,
        first: None,
    }
}

impl Aggregate {
    fn part(&mut self) -> Result<Message, Error> {
        let got = self.body.len();
        let Some(header) = self.body.first_chunk::<PART_HEADER_LEN>() else {
            self.body.clear();
            return Err(Error::Aggregate {
                need: PART_HEADER_LEN,
                got,
            });
        };
        let [
            type_id,
            size2,
            size1,
            size0,
            time2,
            time1,
            time0,
            time3,
            _stream @ ..,
        ] = *header;
        let size = u32::from_be_bytes([0, size2, size1, size0]) as usize;
        let time = u32::from_be_bytes([time3, time2, time1, time0]);
        let need = PART_HEADER_LEN + size;
        if need > got {
            self.body.clear();
            return Err(Error::Aggregate { need, got });
        }
        self.body.advance(PART_HEADER_LEN);
        let body = self.body.split_to(size);
        // The last part may lack the back pointer.
        self.body.advance(BACK_POINTER_LEN.min(self.body.len()));
        // Parts are at most minutes apart, so the difference of the wrapping times reads as signed.
        let since_first = i64::from(time.wrapping_sub(*self.first.get_or_insert(time)) as i32);
        let timestamp_ms = self.timestamp_ms.saturating_add(since_first);
        Ok(Message::tag(type_id, timestamp_ms, body).unwrap_or(Message::Other { type_id }))
    }
}

impl Iterator for Aggregate {
    type Item = Result<Message, Error>;

    /// After an error the rest of the message is lost.
    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.part())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use container::flv::{Tag, TagType};

    fn aggregate(body: Vec<u8>) -> Aggregate {
        split_aggregate(chunk::Message {
            csid: 4,
            type_id: 22,
            stream_id: 1,
            timestamp_ms: 1000,
            body: body.into(),
        })
    }

    fn part(type_id: u8, time: u32, body: &[u8]) -> Vec<u8> {
        let [time3, time2, time1, time0] = time.to_be_bytes();
        let len = body.len() as u8;
        let mut bytes = vec![type_id, 0, 0, len, time2, time1, time0, time3, 0, 0, 0];
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&[0, 0, 0, len + 11]);
        bytes
    }

    #[test]
    fn parts_take_the_time_of_the_message_and_keep_their_distance() {
        let body = [part(9, 0xFFFF_FFF0, b"picture"), part(8, 0x10, b"sound")].concat();
        let parts: Vec<_> = aggregate(body).collect::<Result<_, _>>().expect("valid");
        let tag = |tag_type, timestamp_ms, body: &'static [u8]| {
            Message::Media(Tag {
                tag_type,
                timestamp_ms,
                body: Bytes::from_static(body),
            })
        };
        assert_eq!(
            parts,
            [
                tag(TagType::Video, 1000, b"picture"),
                tag(TagType::Audio, 1032, b"sound")
            ]
        );
    }

    #[test]
    fn an_aggregate_in_an_aggregate_is_not_opened_and_the_last_back_pointer_may_lack() {
        let mut body = part(22, 0, b"inner");
        body.truncate(body.len() - 4);
        let parts: Vec<_> = aggregate(body).collect();
        assert_eq!(parts, [Ok(Message::Other { type_id: 22 })]);
    }

    #[test]
    fn a_part_that_is_too_long_ends_the_message_with_an_error() {
        let mut body = part(8, 0, b"sound");
        body[3] = 200;
        let parts: Vec<_> = aggregate(body).collect();
        assert_eq!(parts, [Err(Error::Aggregate { need: 211, got: 20 })]);
    }
}
