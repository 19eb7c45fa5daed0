//! Chunks to messages.

use super::clock::Clock;
use super::{DEFAULT_CHUNK_SIZE, EXTENDED, Error, MAX_CHUNK_SIZE, MAX_MESSAGE_LEN, Message};
use crate::message::type_id;
use bytes::{Buf, Bytes, BytesMut};

/// What one peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes, `rtmp.max_message_bytes`. The format allows [`MAX_MESSAGE_LEN`].
    pub max_message_bytes: usize,
    /// Most chunk streams that were ever used: each costs a few dozen bytes. Senders use 3 to 6.
    pub max_chunk_streams: usize,
    /// Most bytes of messages that have begun and not ended. Senders interleave audio with one video message.
    pub max_buffered_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: MAX_MESSAGE_LEN,
            max_chunk_streams: 64,
            max_buffered_bytes: 2 * MAX_MESSAGE_LEN,
        }
    }
}

/// Reassembles messages. Set Chunk Size and Abort are obeyed and not shown.
///
/// A message that lies in one chunk is cut from the read buffer; others are copied once, into a buffer of their own.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// The chunk whose payload is being taken.
    open: Option<OpenChunk>,
    /// Bytes in all unfinished messages.
    buffered: usize,
    /// Bytes taken since the handshake.
    position: u64,
    clock: Clock,
}

#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    /// Index in `streams`.
    stream: usize,
    /// Payload bytes of this chunk that have not come yet.
    left: usize,
}

#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    last: Last,
    /// The unfinished message.
    partial: Option<Vec<u8>>,
}

/// The newest message of a chunk stream: what later headers refer to.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    type_id: u8,
    stream_id: u32,
    length: usize,
    timestamp: u32,
    /// What a type 3 header that starts a message adds to `timestamp`.
    delta: u32,
    /// The extended timestamp field of the last header that had a timestamp, if it needed one.
    extended: Option<u32>,
    /// The last timestamp field was absolute (type 0).
    absolute: bool,
}

/// A header as it stands on the wire.
struct Head {
    fmt: u8,
    csid: u32,
    /// Length in bytes with the basic header and the extended timestamp.
    len: usize,
    /// The effective timestamp field.
    field: Option<u32>,
    extended: Option<u32>,
    length: Option<usize>,
    type_id: Option<u8>,
    stream_id: Option<u32>,
}

impl Reader {
    /// A reader behind the handshake.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE as usize,
            streams: Vec::new(),
            open: None,
            buffered: 0,
            position: 0,
            clock: Clock::default(),
        }
    }

    /// Bytes taken so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next message. `None` means that more bytes are needed; up to [`WAIT_IN_PLACE`] bytes and a header may stay in
    /// `input`. After an error the reader must not be used.
    #[allow(clippy::should_implement_trait)] // Not an iterator: it takes the input.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            let done = match self.open {
                Some(open) => self.take_payload(open, input),
                None => self.start_chunk(input)?,
            };
            let message = match done {
                Step::Message(message) => message,
                Step::Continue => continue,
                Step::NeedMore => return Ok(None),
            };
            match message.type_id {
                type_id::SET_CHUNK_SIZE => self.set_chunk_size(&message)?,
                type_id::ABORT => self.abort(&message)?,
                _ => return Ok(Some(message)),
            }
        }
    }

    fn start_chunk(&mut self, input: &mut BytesMut) -> Result<Step, Error> {
        let Some((fmt, csid, basic_len)) = basic_header(input) else {
            return Ok(Step::NeedMore);
        };
        let index = self.streams.iter().position(|stream| stream.csid == csid);
        let known = index.map(|index| &self.streams[index]);
        let Some(head) = read_head(fmt, csid, basic_len, known, input) else {
            return Ok(Step::NeedMore);
        };
        let got = known.and_then(|stream| stream.partial.as_ref()).map(Vec::len);
        let last = self.apply(&head, known)?;

        if got.is_none() && last.length <= self.chunk_size {
            let have = input.len() - head.len;
            if have >= last.length {
                let index = self.commit(index, csid, last);
                self.consume(head.len, input);
                self.position += last.length as u64;
                let body = input.split_to(last.length).freeze();
                return Ok(Step::Message(self.message(index, body)));
            }
            if last.length <= WAIT_IN_PLACE {
                return Ok(Step::NeedMore);
            }
        }

        let left = (last.length - got.unwrap_or(0)).min(self.chunk_size);
        let (at, buffered, allowed) = (
            self.position,
            self.buffered + left,
            self.limits.max_buffered_bytes,
        );
        if buffered > allowed {
            return Err(Error::Buffered {
                at,
                got: buffered,
                allowed,
            });
        }
        let index = self.commit(index, csid, last);
        self.streams[index].partial.get_or_insert_default();
        self.consume(head.len, input);
        self.open = Some(OpenChunk { stream: index, left });
        Ok(Step::Continue)
    }

    /// What the chunk stream's newest message is after this header.
    fn apply(&self, head: &Head, known: Option<&ChunkStream>) -> Result<Last, Error> {
        let (at, csid, fmt) = (self.position, head.csid, head.fmt);
        let mut last = match known {
            Some(ChunkStream {
                partial: Some(_),
                last,
                ..
            }) if fmt == 3 => return Ok(*last),
            Some(ChunkStream {
                partial: Some(partial),
                last,
                ..
            }) => {
                return Err(Error::InsideMessage {
                    at,
                    csid,
                    fmt,
                    got: partial.len(),
                    length: last.length,
                });
            }
            Some(stream) => stream.last,
            // librtmp (OBS) opens chunk stream 2 with type 1; nothing lacks then but the stream id, which is 0.
            None if fmt >= 2 => return Err(Error::NothingToRepeat { at, csid, fmt }),
            None => {
                let (got, allowed) = (self.streams.len() + 1, self.limits.max_chunk_streams);
                if got > allowed {
                    return Err(Error::ChunkStreams {
                        at,
                        csid,
                        got,
                        allowed,
                    });
                }
                Last::default()
            }
        };
        last.type_id = head.type_id.unwrap_or(last.type_id);
        last.stream_id = head.stream_id.unwrap_or(last.stream_id);
        last.length = head.length.unwrap_or(last.length);
        if last.length > self.limits.max_message_bytes {
            let (got, allowed) = (last.length, self.limits.max_message_bytes);
            return Err(Error::MessageLength {
                at,
                csid,
                got,
                allowed,
            });
        }
        match (head.field, head.extended) {
            (Some(field), extended) => {
                last.absolute = fmt == 0;
                last.extended = extended;
                last.timestamp = if last.absolute {
                    field
                } else {
                    last.timestamp.wrapping_add(field)
                };
                // After type 0 the timestamp itself is the delta (section 5.3.1.2.4); ffmpeg counts on it.
                last.delta = field;
            }
            // Doubling an absolute time beyond 4.6 hours is never meant: the field is the time itself.
            (None, Some(extended)) if last.absolute => last.timestamp = extended,
            (None, Some(extended)) => last.timestamp = last.timestamp.wrapping_add(extended),
            (None, None) => last.timestamp = last.timestamp.wrapping_add(last.delta),
        }
        Ok(last)
    }

    fn commit(&mut self, index: Option<usize>, csid: u32, last: Last) -> usize {
        match index {
            Some(index) => {
                self.streams[index].last = last;
                index
            }
            None => {
                self.streams.push(ChunkStream {
                    csid,
                    last,
                    partial: None,
                });
                self.streams.len() - 1
            }
        }
    }

    fn take_payload(&mut self, open: OpenChunk, input: &mut BytesMut) -> Step {
        let count = open.left.min(input.len());
        let stream = &mut self.streams[open.stream];
        let length = stream.last.length;
        let partial = stream.partial.get_or_insert_default();
        grow(partial, count, length);
        partial.extend_from_slice(&input[..count]);
        let is_complete = partial.len() == length;
        self.buffered += count;
        self.consume(count, input);
        if count < open.left {
            self.open = Some(OpenChunk {
                left: open.left - count,
                ..open
            });
            return Step::NeedMore;
        }
        self.open = None;
        if !is_complete {
            return Step::Continue;
        }
        let body = self.streams[open.stream].partial.take().unwrap_or_default();
        self.buffered -= body.len();
        Step::Message(self.message(open.stream, body.into()))
    }

    fn message(&mut self, index: usize, body: Bytes) -> Message {
        let ChunkStream {
            csid,
            last:
                Last {
                    type_id,
                    stream_id,
                    timestamp,
                    ..
                },
            ..
        } = self.streams[index];
        let is_media = matches!(type_id, type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE);
        Message {
            csid,
            type_id,
            stream_id,
            timestamp_ms: self.clock.extend(timestamp, is_media),
            body,
        }
    }

    /// RTMP 1.0, section 5.4.1.
    fn set_chunk_size(&mut self, message: &Message) -> Result<(), Error> {
        let got = self.control_value(message)?;
        if got == 0 || got > 0x7FFF_FFFF {
            return Err(Error::ChunkSize {
                at: self.position,
                got,
            });
        }
        self.chunk_size = got.min(MAX_CHUNK_SIZE) as usize;
        Ok(())
    }

    /// RTMP 1.0, section 5.4.2.
    fn abort(&mut self, message: &Message) -> Result<(), Error> {
        let csid = self.control_value(message)?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.csid == csid)
            && let Some(partial) = stream.partial.take()
        {
            self.buffered -= partial.len();
        }
        Ok(())
    }

    fn control_value(&self, message: &Message) -> Result<u32, Error> {
        match message.body.first_chunk::<4>() {
            Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
            None => Err(Error::ControlLength {
                at: self.position,
                type_id: message.type_id,
                got: message.body.len(),
            }),
        }
    }

    fn consume(&mut self, count: usize, input: &mut BytesMut) {
        input.advance(count);
        self.position += count as u64;
    }
}

enum Step {
    Message(Message),
    Continue,
    NeedMore,
}

/// Type, chunk stream id and length of the basic header (RTMP 1.0, section 5.3.1.1).
fn basic_header(input: &[u8]) -> Option<(u8, u32, usize)> {
    let first = *input.first()?;
    let byte = |index: usize| input.get(index).copied().map(u32::from);
    let (csid, len) = match first & 0x3F {
        0 => (64 + byte(1)?, 2),
        1 => (64 + byte(1)? + (byte(2)? << 8), 3),
        csid => (u32::from(csid), 1),
    };
    Some((first >> 6, csid, len))
}

/// The message header and the extended timestamp; `None` if it is not complete.
fn read_head(
    fmt: u8,
    csid: u32,
    basic_len: usize,
    known: Option<&ChunkStream>,
    input: &[u8],
) -> Option<Head> {
    let header_len = basic_len + [11, 7, 3, 0][usize::from(fmt & 3)];
    let header = input.get(basic_len..header_len)?;
    let be24 = |bytes: &[u8]| u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
    let mut head = Head {
        fmt,
        csid,
        len: header_len,
        field: None,
        extended: None,
        length: None,
        type_id: None,
        stream_id: None,
    };
    if fmt <= 2 {
        head.field = Some(be24(header));
    }
    if fmt <= 1 {
        head.length = Some(be24(&header[3..]) as usize);
        head.type_id = Some(header[6]);
    }
    if fmt == 0 {
        head.stream_id = Some(u32::from_le_bytes(header[7..].try_into().ok()?));
    }
    let has_extended = match head.field {
        Some(field) => field == EXTENDED,
        None => repeats_extended(known, &input[header_len..])?,
    };
    if has_extended {
        let bytes = input.get(header_len..header_len + 4)?;
        head.extended = Some(u32::from_be_bytes(bytes.try_into().ok()?));
        head.len += 4;
        head.field = head.field.and(head.extended);
    }
    Some(head)
}

/// Whether an extended timestamp follows a type 3 header; `None` if more bytes are needed to tell.
///
/// Section 5.3.1.3 asks for it. Old ffmpeg and several camera firmwares leave it out inside a message, so there it is one only
/// if its bytes equal the field of the message's first chunk. As soon as one byte differs, it is payload.
fn repeats_extended(known: Option<&ChunkStream>, rest: &[u8]) -> Option<bool> {
    let Some((stream, extended)) = known.and_then(|stream| Some((stream, stream.last.extended?))) else {
        return Some(false);
    };
    if stream.partial.is_none() {
        return Some(true);
    }
    let expected = extended.to_be_bytes();
    let have = rest.len().min(4);
    if rest[..have] != expected[..have] {
        return Some(false);
    }
    (have == 4).then_some(true)
}

/// Makes room for `count` more bytes: exactly the message if it is short, else by doubling, so that a peer must send what it
/// makes us hold.
fn grow(partial: &mut Vec<u8>, count: usize, length: usize) {
    let needed = partial.len() + count;
    if needed > partial.capacity() {
        let wanted = needed.max(2 * partial.capacity()).max(FIRST_CAPACITY).min(length);
        partial.reserve_exact(wanted - partial.len());
    }
}

/// A message in one chunk of at most this many bytes is waited for in the read buffer and then cut from it. Longer ones are
/// copied as they come, which bounds what the caller must hold.
pub const WAIT_IN_PLACE: usize = 64 << 10;

/// Memory that a message may take on the word of its header: enough for most pictures.
const FIRST_CAPACITY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_must_send_what_it_makes_us_hold() {
        // Chunk size 0x7FFFFFFF, then 16 MiB - 1 announced on chunk stream 4.
        let mut input = BytesMut::from(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF][..]);
        input.extend_from_slice(&[4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0]);
        let mut reader = Reader::new(Limits::default());
        let mut held = |sent: usize, reader: &mut Reader| {
            input.extend_from_slice(&vec![0; sent]);
            assert_eq!(reader.next(&mut input), Ok(None));
            assert!(input.is_empty(), "taken as it comes");
            let stream = reader
                .streams
                .iter()
                .find(|stream| stream.csid == 4)
                .expect("it is open");
            stream.partial.as_ref().expect("unfinished").capacity()
        };
        assert_eq!(held(1, &mut reader), FIRST_CAPACITY);
        assert_eq!(held(FIRST_CAPACITY, &mut reader), 2 * FIRST_CAPACITY);
        assert_eq!(held(200_000, &mut reader), FIRST_CAPACITY + 200_001);
    }

    #[test]
    fn a_message_of_common_size_takes_one_buffer_of_its_length() {
        let mut input = BytesMut::from(&[4, 0, 0, 0, 0, 0x4E, 0x20, 9, 1, 0, 0, 0][..]);
        input.extend_from_slice(&[0; 128]);
        let mut reader = Reader::new(Limits::default());
        assert_eq!(reader.next(&mut input), Ok(None));
        assert_eq!(
            reader.streams[0].partial.as_ref().expect("unfinished").capacity(),
            20_000
        );
    }
}
