//! Messages to chunks.

use super::{CONTROL_CSID, CSID_RANGE, DEFAULT_CHUNK_SIZE, EXTENDED, MAX_MESSAGE_LEN};
use crate::message::type_id;
use bytes::{BufMut, Bytes, BytesMut};
use media::mux::Parts;

/// What stands before a message. Always written as type 0, so a viewer can begin at any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chunk stream id, 2 to 65599.
    pub csid: u32,
    /// Message type id.
    pub type_id: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
}

/// Longest type 0 header: basic header 3, message header 11, extended timestamp 4.
pub(crate) const MAX_HEADER_LEN: usize = 18;

impl Header {
    /// The type 0 header of the first chunk.
    fn put_first(&self, length: usize, out: &mut BytesMut) {
        self.put_basic(0, out);
        out.put_uint(u64::from(self.timestamp.min(EXTENDED)), 3);
        out.put_uint(length as u64, 3);
        out.put_u8(self.type_id);
        out.put_u32_le(self.stream_id);
        self.put_extended(out);
    }

    /// The type 3 header of the other chunks, with the extended timestamp again (RTMP 1.0, section 5.3.1.3).
    fn put_next(&self, out: &mut BytesMut) {
        self.put_basic(3, out);
        self.put_extended(out);
    }

    fn put_basic(&self, fmt: u8, out: &mut BytesMut) {
        debug_assert!(
            CSID_RANGE.contains(&self.csid),
            "chunk stream id {} is not in {CSID_RANGE:?}",
            self.csid
        );
        // The casts keep the bits that the form has room for.
        match self.csid {
            ..64 => out.put_u8(fmt << 6 | self.csid as u8),
            64..320 => out.put_slice(&[fmt << 6, (self.csid - 64) as u8]),
            _ => {
                out.put_u8(fmt << 6 | 1);
                out.put_u16_le((self.csid - 64) as u16);
            }
        }
    }

    fn put_extended(&self, out: &mut BytesMut) {
        if self.timestamp >= EXTENDED {
            out.put_u32(self.timestamp);
        }
    }
}

/// Cuts a message into chunks without copying `payload`. `head` are the first bytes of the message, which are copied beside
/// the chunk header. Headers are cut from `arena`. Returns `false`, and writes nothing, if the message is longer than
/// [`MAX_MESSAGE_LEN`].
///
/// `chunk_size` is at least 1, and `head` fits into the first chunk together with at least one byte of a longer message.
pub fn split(
    header: &Header,
    chunk_size: u32,
    head: &[u8],
    payload: &[Bytes],
    arena: &mut BytesMut,
    out: &mut Parts,
) -> bool {
    let chunk_size = chunk_size as usize;
    debug_assert!(
        head.len() < chunk_size,
        "a head of {} bytes in chunks of {chunk_size}",
        head.len()
    );
    let length = head.len() + payload.iter().map(Bytes::len).sum::<usize>();
    if length > MAX_MESSAGE_LEN {
        return false;
    }
    header.put_first(length, arena);
    arena.put_slice(head);
    out.push(arena.split().freeze());
    let mut next = None;
    let mut room = chunk_size - head.len().min(chunk_size);
    for part in payload {
        let mut part = part.clone();
        while !part.is_empty() {
            if room == 0 {
                // One for all chunks of the message.
                let header = next.get_or_insert_with(|| {
                    header.put_next(arena);
                    arena.split().freeze()
                });
                out.push(header.clone());
                room = chunk_size;
            }
            let piece = part.split_to(part.len().min(room));
            room -= piece.len();
            out.push(piece);
        }
    }
    true
}

/// Writes whole messages into one buffer, for control messages and commands.
#[derive(Debug)]
pub struct Writer {
    chunk_size: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE,
        }
    }
}

impl Writer {
    /// The chunk size in force, bytes.
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Appends Set Chunk Size and uses it from then on (RTMP 1.0, section 5.4.1). `size` is at least 1 and at most 0x7FFFFFFF.
    pub fn set_chunk_size(&mut self, size: u32, out: &mut BytesMut) {
        self.write(
            &Header {
                csid: CONTROL_CSID,
                type_id: type_id::SET_CHUNK_SIZE,
                stream_id: 0,
                timestamp: 0,
            },
            &size.to_be_bytes(),
            out,
        );
        self.chunk_size = size;
    }

    /// Appends a message. `body` is at most [`MAX_MESSAGE_LEN`] bytes long.
    pub fn write(&self, header: &Header, body: &[u8], out: &mut BytesMut) {
        debug_assert!(body.len() <= MAX_MESSAGE_LEN, "a message of {} bytes", body.len());
        header.put_first(body.len(), out);
        for (index, piece) in body.chunks(self.chunk_size as usize).enumerate() {
            if index > 0 {
                header.put_next(out);
            }
            out.put_slice(piece);
        }
    }
}
