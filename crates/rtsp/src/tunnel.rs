//! RTSP inside HTTP: two connections, one for each direction, the client's in base64 (Apple's QuickTime; ONVIF Streaming
//! Specification, section 5.1.1.4 has it too).

use crate::message::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};

/// Which half of a tunnel a connection is. The cookie names the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Half {
    /// The server's bytes travel on it, as they are.
    Get {
        /// `x-sessioncookie`.
        cookie: String,
    },
    /// The client's bytes travel on it, in base64.
    Post {
        /// `x-sessioncookie`.
        cookie: String,
    },
}

/// Longest cookie. QuickTime's has 22 characters.
const MAX_COOKIE: usize = 256;

impl Half {
    /// The half that an HTTP request opens; `None` if it has nothing to do with a tunnel.
    pub fn of(request: &Request) -> Option<Self> {
        let cookie = request.headers.get("x-sessioncookie")?.trim().to_owned();
        if cookie.is_empty() || cookie.len() > MAX_COOKIE {
            return None;
        }
        match request.method.as_str() {
            "GET" => Some(Self::Get { cookie }),
            "POST" => Some(Self::Post { cookie }),
            _ => None,
        }
    }
}

/// What the GET is answered with. The POST gets no answer.
pub const GET_REPLY: &str = "HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nPragma: no-cache\r\n\
    Content-Type: application/x-rtsp-tunnelled\r\n\r\n";

/// What a POST is answered with whose tunnel is not there.
pub const NO_TUNNEL_REPLY: &str = "HTTP/1.0 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The client's bytes are not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {byte:#04x} at {at} of the tunnel is not base64")]
pub struct Error {
    /// The byte.
    pub byte: u8,
    /// Where in the connection.
    pub at: u64,
}

/// Decodes the client's direction. Messages may be encoded one by one, so padding may stand anywhere.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    group: [u8; 4],
    len: usize,
    seen: u64,
}

impl Decoder {
    /// Decodes what has come; an incomplete group waits for the next call.
    ///
    /// # Errors
    ///
    /// A byte that does not belong there.
    pub fn push(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<(), Error> {
        for &byte in bytes {
            let at = self.seen;
            self.seen += 1;
            if byte.is_ascii_whitespace() {
                continue;
            }
            self.group[self.len] = byte;
            self.len += 1;
            if self.len < self.group.len() {
                continue;
            }
            self.len = 0;
            let mut decoded = [0; 3];
            match STANDARD.decode_slice(self.group, &mut decoded) {
                Ok(count) => out.put_slice(&decoded[..count]),
                Err(_) => return Err(Error { byte, at }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_encoded_one_by_one_come_out_whole(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..6), step in 1usize..16,
        ) {
            let wire: String = messages.iter().map(|message| STANDARD.encode(message)).collect();
            let (mut decoder, mut out) = (Decoder::default(), BytesMut::new());
            for chunk in wire.as_bytes().chunks(step) {
                decoder.push(chunk, &mut out).unwrap();
            }
            prop_assert_eq!(&out[..], &messages.concat()[..]);
        }
    }

    #[test]
    fn what_is_not_base64_is_told_with_its_place() {
        let mut decoder = Decoder::default();
        let error = decoder.push(b"QUJD\r\nQU*D", &mut BytesMut::new()).unwrap_err();
        assert_eq!(error.at, 9);
    }

    #[test]
    fn halves_are_told_apart_by_their_method() {
        let request = |method: &str| Request::new(method, "/live").with("X-SessionCookie", "abc");
        let cookie = "abc".to_owned();
        assert_eq!(
            Half::of(&request("GET")),
            Some(Half::Get {
                cookie: cookie.clone()
            })
        );
        assert_eq!(Half::of(&request("POST")), Some(Half::Post { cookie }));
        assert_eq!(Half::of(&request("PUT")), None);
        assert_eq!(Half::of(&Request::new("GET", "/")), None);
    }
}
