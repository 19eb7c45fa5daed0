//! WebSocket (RFC 6455), the server's side of a connection that only receives media: handshake, frames, closing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use media::{Frame, Mux, Packet, Track};
use sha1::{Digest, Sha1};

/// What is hashed with the client's key to show that the server speaks WebSocket (RFC 6455, section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Final fragment, binary (RFC 6455, section 5.2).
const BINARY: u8 = 0x82;
/// Final fragment, pong.
const PONG: u8 = 0x8A;
/// Final fragment, close.
const CLOSE: u8 = 0x88;

/// Longest payload of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL: usize = 125;

/// Longest message that a viewer may send. What it says is not used.
const MAX_MESSAGE: u64 = 64 * 1024;

/// `Sec-WebSocket-Accept` for `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(MAGIC);
    STANDARD.encode(hash.finalize())
}

/// Puts each packet of another muxer into one binary message. The frame's head is made once for all viewers too.
pub struct Framed<M> {
    inner: M,
    scratch: Vec<Packet>,
    arena: BytesMut,
}

impl<M: Mux> Framed<M> {
    /// Wraps a muxer.
    pub fn new(inner: M) -> Self {
        Self {
            inner,
            scratch: Vec::new(),
            arena: BytesMut::new(),
        }
    }

    fn take(&mut self, out: &mut Vec<Packet>) {
        for mut packet in self.scratch.drain(..) {
            // 4 KiB at a time, so that a frame costs no allocation.
            self.arena.reserve(10.max(4096 - self.arena.len().min(4096)));
            put_head(&mut self.arena, BINARY, packet.len());
            packet.parts.insert(0, self.arena.split().freeze());
            out.push(packet);
        }
    }
}

impl<M: Mux> Mux for Framed<M> {
    fn set_tracks(&mut self, tracks: &[Track], out: &mut Vec<Packet>) {
        self.inner.set_tracks(tracks, &mut self.scratch);
        self.take(out);
    }

    fn preamble(&self) -> Vec<Packet> {
        let mut packets = self.inner.preamble();
        for packet in &mut packets {
            let mut head = BytesMut::with_capacity(10);
            put_head(&mut head, BINARY, packet.len());
            packet.parts.insert(0, head.freeze());
        }
        packets
    }

    fn write(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        self.inner.write(frame, &mut self.scratch);
        self.take(out);
    }
}

fn put_head(out: &mut BytesMut, first: u8, length: usize) {
    out.put_u8(first);
    if length < 126 {
        out.put_u8(length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.put_u8(126);
        out.put_u16(length);
    } else {
        out.put_u8(127);
        out.put_u64(length as u64);
    }
}

/// A close frame with a status of RFC 6455, section 7.4, and a reason that is cut to fit.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = BytesMut::with_capacity(4 + end);
    put_head(&mut out, CLOSE, 2 + end);
    out.put_u16(code);
    out.put_slice(&reason.as_bytes()[..end]);
    out.freeze()
}

/// What the viewer sent that needs something done.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Answer with these bytes.
    Reply(Bytes),
    /// It closes; answer with these bytes and end.
    Close(Bytes),
}

/// A viewer that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Clients mask what they send (section 5.1).
    #[error("a WebSocket frame of a client must be masked (RFC 6455, section 5.1)")]
    NotMasked,
    /// Reserved bits or unknown kinds (section 5.2).
    #[error("a WebSocket frame begins with {0:#04x} (RFC 6455, section 5.2)")]
    Unknown(u8),
    /// A control frame that is long or in fragments (section 5.5).
    #[error("a WebSocket control frame is longer than 125 bytes or fragmented (RFC 6455, section 5.5)")]
    Control,
    /// A message that is too long for a viewer.
    #[error("a WebSocket frame of {0} bytes; at most {MAX_MESSAGE} are allowed")]
    TooLong(u64),
}

/// Takes the next whole frame from the front of `input`; `None` while there is none. Messages are dropped, since viewers have
/// nothing to say.
pub fn next_frame(input: &mut BytesMut) -> Result<Option<Incoming>, Error> {
    loop {
        let &[first, second, ..] = &input[..] else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(Error::NotMasked);
        }
        let (length, head) = match second & 0x7F {
            126 => match input.get(2..4) {
                Some(bytes) => (u64::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
                None => return Ok(None),
            },
            127 => match input.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => (u64::from_be_bytes(bytes), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if length > MAX_MESSAGE {
            return Err(Error::TooLong(length));
        }
        let control = first & 0x08 != 0;
        if control && (length > MAX_CONTROL as u64 || first & 0x80 == 0) {
            return Err(Error::Control);
        }
        let length = length as usize;
        if input.len() < head + 4 + length {
            return Ok(None);
        }
        let mut frame = input.split_to(head + 4 + length).split_off(head);
        let mask = frame.split_to(4);
        for (at, byte) in frame.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        let mut reply = BytesMut::with_capacity(2 + frame.len());
        match first & 0x7F {
            0x0..=0x2 | 0xA => {}
            0x8 => {
                let echo = &frame[..frame.len().min(2)];
                put_head(&mut reply, CLOSE, echo.len());
                reply.put_slice(echo);
                return Ok(Some(Incoming::Close(reply.freeze())));
            }
            0x9 => {
                put_head(&mut reply, PONG, frame.len());
                reply.put_slice(&frame);
                return Ok(Some(Incoming::Reply(reply.freeze())));
            }
            _ => return Err(Error::Unknown(first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(first: u8, payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        put_head(&mut out, first, payload.len());
        out[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        out.put_slice(&mask);
        out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        out
    }

    #[test]
    fn the_accept_key_is_that_of_the_standards_example() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn pings_are_answered_messages_dropped_and_closing_is_echoed() {
        let mut input = client(0x81, b"hello");
        input.extend_from_slice(&client(0x89, b"now"));
        input.extend_from_slice(&client(0x88, &[0x03, 0xE8, b'x']));
        assert_eq!(
            next_frame(&mut input),
            Ok(Some(Incoming::Reply(Bytes::from_static(b"\x8A\x03now"))))
        );
        assert_eq!(
            next_frame(&mut input),
            Ok(Some(Incoming::Close(Bytes::from_static(b"\x88\x02\x03\xE8"))))
        );
    }

    #[test]
    fn frames_may_come_in_pieces() {
        let whole = client(0x89, &[7; 125]);
        for cut in 0..whole.len() {
            assert_eq!(next_frame(&mut BytesMut::from(&whole[..cut])), Ok(None), "{cut}");
        }
    }

    #[test]
    fn viewers_that_break_the_protocol_are_told_apart() {
        assert_eq!(
            next_frame(&mut BytesMut::from(&[0x81, 0x01, b'a'][..])),
            Err(Error::NotMasked)
        );
        assert_eq!(next_frame(&mut client(0x83, b"")), Err(Error::Unknown(0x83)));
        assert_eq!(next_frame(&mut client(0x09, b"")), Err(Error::Control));
        let mut long = BytesMut::from(&[0x82, 0xFF][..]);
        long.put_u64(u64::MAX);
        assert_eq!(next_frame(&mut long), Err(Error::TooLong(u64::MAX)));
    }

    #[test]
    fn heads_have_the_shortest_form() {
        for (length, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = BytesMut::new();
            put_head(&mut out, BINARY, length);
            assert_eq!(out.len(), head, "{length}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let frame = close_frame(1008, &"ü".repeat(100));
        assert_eq!(frame[1], 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
