//! RTSP inside HTTP: two connections, one for each direction, the client's in base64.
//!
//! The client opens a GET, whose reply never ends and carries what the server sends, unchanged; and a POST, whose body never
//! ends and carries what the client sends, in base64. Both have the same `x-sessioncookie`. There is no standard: QuickTime
//! began it, and ffmpeg, GStreamer, live555 and cameras follow it.

use crate::message::Request;
use bytes::{BufMut, BytesMut};

/// Which connection of a tunnel a request opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Half {
    /// From the server to the client. To be answered with [`GET_REPLY`].
    Get {
        /// `x-sessioncookie`, at most [`MAX_COOKIE`] bytes.
        cookie: String,
    },
    /// From the client to the server. Not to be answered: its body has no end.
    Post {
        /// `x-sessioncookie`, at most [`MAX_COOKIE`] bytes.
        cookie: String,
    },
}

/// Which half of a tunnel `request` opens. `None`: it is no HTTP request, has another method, or has no usable cookie.
pub fn half(request: &Request) -> Option<Half> {
    if !request.version.starts_with("HTTP/") {
        return None;
    }
    let cookie = request.headers.get("x-sessioncookie")?;
    if cookie.is_empty() || cookie.len() > MAX_COOKIE {
        return None;
    }
    let cookie = cookie.to_owned();
    match request.method.as_str() {
        "GET" => Some(Half::Get { cookie }),
        "POST" => Some(Half::Post { cookie }),
        _ => None,
    }
}

/// What a POST is answered with whose tunnel is not there. Otherwise it gets no answer.
pub const NO_TUNNEL_REPLY: &str = "HTTP/1.0 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// What the server says before its RTSP. Without Content-Length: the reply lasts as long as the connection.
pub const GET_REPLY: &str = "HTTP/1.0 200 OK\r\n\
    Content-Type: application/x-rtsp-tunnelled\r\n\
    Cache-Control: no-store\r\n\
    Pragma: no-cache\r\n\
    Connection: close\r\n\
    \r\n";

/// Longest `x-sessioncookie`, bytes. Clients send 16 to 24.
pub const MAX_COOKIE: usize = 128;

/// Decodes base64 that comes in parts of any size (RFC 4648, section 4). Holds at most 3 characters.
///
/// White space counts for nothing. Padding may stand in the middle: clients encode each request by itself.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The bits of the characters that are not decoded yet, 6 each.
    bits: u32,
    /// How many characters that are.
    held: u8,
    /// `=` that may still come for the group that is complete.
    padding: u8,
    /// Characters read so far, all kinds.
    at: u64,
}

/// What cannot be base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another character than those of base64.
    #[error("byte {got:#04x} at {at} of the tunnel's body is not base64")]
    Character {
        /// Position in the body.
        at: u64,
        /// The byte.
        got: u8,
    },
    /// `=` where a group has less than two characters.
    #[error("padding at {at} of the tunnel's body, with too few characters before it")]
    Padding {
        /// Position in the body.
        at: u64,
    },
}

impl Decoder {
    /// A decoder at the beginning of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes `input` and appends the bytes to `out`: at most three for four. After an error the tunnel cannot be read on.
    pub fn push(&mut self, input: &[u8], out: &mut BytesMut) -> Result<(), Error> {
        out.reserve(input.len() / 4 * 3 + 3);
        for &byte in input {
            let at = self.at;
            self.at += 1;
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'=' => {
                    self.pad(at, out)?;
                    continue;
                }
                _ => return Err(Error::Character { at, got: byte }),
            };
            self.padding = 0;
            self.bits = self.bits << 6 | u32::from(value);
            self.held += 1;
            if self.held == 4 {
                let [_, first, second, third] = self.bits.to_be_bytes();
                out.put_slice(&[first, second, third]);
                (self.bits, self.held) = (0, 0);
            }
        }
        Ok(())
    }

    fn pad(&mut self, at: u64, out: &mut BytesMut) -> Result<(), Error> {
        match self.held {
            2 => {
                out.put_u8((self.bits >> 4) as u8);
                self.padding = 1;
            }
            3 => {
                out.put_u16((self.bits >> 2) as u16);
                self.padding = 0;
            }
            _ if self.padding > 0 => self.padding -= 1,
            _ => return Err(Error::Padding { at }),
        }
        (self.bits, self.held) = (0, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn decode(parts: &[&[u8]]) -> Result<BytesMut, Error> {
        let mut decoder = Decoder::new();
        let mut out = BytesMut::new();
        for part in parts {
            decoder.push(part, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn padding_in_the_middle_and_white_space_are_read() {
        // "a", "bc" and "def", each encoded by itself.
        assert_eq!(decode(&[b"YQ==YmM=ZGVm"]).unwrap(), "abcdef");
        assert_eq!(
            decode(&[b"YQ=", b"=\r\nY", b" mM", b"=", b"ZGVm"]).unwrap(),
            "abcdef"
        );
        // A single `=` where two belong: the next group begins anyway.
        assert_eq!(decode(&[b"YQ=YmM="]).unwrap(), "abc");
    }

    #[test]
    fn what_is_not_base64_is_refused_with_its_place() {
        assert_eq!(
            decode(&[b"YWJj", b"O*"]),
            Err(Error::Character { at: 5, got: b'*' })
        );
        assert_eq!(decode(&[b"YWJj="]), Err(Error::Padding { at: 4 }));
        assert_eq!(decode(&[b"Y="]), Err(Error::Padding { at: 1 }));
    }

    #[test]
    fn both_halves_are_known_by_their_cookie() {
        let get = |method: &str, version: &str, cookie: &str| {
            let mut request = Request::new(method, "/live/a").with("X-SessionCookie", cookie);
            request.version = version.to_owned();
            half(&request)
        };
        let cookie = "abc".to_owned();
        assert_eq!(
            get("GET", "HTTP/1.1", "abc"),
            Some(Half::Get {
                cookie: cookie.clone()
            })
        );
        assert_eq!(get("POST", "HTTP/1.0", "abc"), Some(Half::Post { cookie }));
        assert_eq!(get("GET", "RTSP/1.0", "abc"), None);
        assert_eq!(get("PUT", "HTTP/1.0", "abc"), None);
        assert_eq!(get("GET", "HTTP/1.0", &"x".repeat(MAX_COOKIE + 1)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_come_through_however_they_are_encoded_and_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..6),
            cut in 1_usize..20,
        ) {
            let text: String = messages.iter().map(|message| STANDARD.encode(message)).collect();
            let parts: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            prop_assert_eq!(decode(&parts).unwrap(), messages.concat());
        }

        #[test]
        fn hostile_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = BytesMut::new();
            let _ = Decoder::new().push(&bytes, &mut out);
            prop_assert!(out.len() <= bytes.len());
        }
    }
}
