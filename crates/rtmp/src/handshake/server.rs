//! The server's half.

use super::digest::End;
use super::random::Random;
use super::{BLOCK_LEN, Error, Scheme, VERSION, check_version};
use bytes::{Buf, Bytes, BytesMut};

/// Version in S1: a Flash Media Server 3.0.1, as in `fmsVer`. ffmpeg checks S1's digest only from major version 3 on.
const SERVER_VERSION: [u8; 4] = [3, 0, 1, 123];

/// Takes C0, C1 and C2, answers S0, S1 and S2.
pub struct Server {
    random: Random,
    state: State,
    scheme: Option<Scheme>,
}

enum State {
    AwaitC0C1,
    AwaitC2,
    Done,
}

impl Server {
    /// `seed` fills S1 and S2 and should differ between connections.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            random: Random::new(seed),
            state: State::AwaitC0C1,
            scheme: None,
        }
    }

    /// Takes what it can use from the front of `input`; returns what to send, if anything. Call it until
    /// [`Self::is_done`]; bytes behind C2 stay in `input`.
    pub fn handle(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        let mut answer = None;
        if let State::AwaitC0C1 = self.state {
            // Refuse a wrong protocol at its first byte, before the rest arrives.
            let Some(&version) = input.first() else {
                return Ok(None);
            };
            check_version(version)?;
            let Some(c1) = input
                .get(1..1 + BLOCK_LEN)
                .and_then(|block| block.try_into().ok())
            else {
                return Ok(None);
            };
            answer = Some(self.answer(c1));
            input.advance(1 + BLOCK_LEN);
            self.state = State::AwaitC2;
        }
        if let State::AwaitC2 = self.state
            && input.len() >= BLOCK_LEN
        {
            // C2 is not checked: ffmpeg signs it only when it plays, others send anything.
            input.advance(BLOCK_LEN);
            self.state = State::Done;
        }
        Ok(answer)
    }

    /// Whether C2 has been taken; what follows are chunks.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The digest scheme that the client used; `None` before C1 and for the simple form.
    pub const fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    fn answer(&mut self, c1: &[u8; BLOCK_LEN]) -> Bytes {
        let mut s1 = [0; BLOCK_LEN];
        self.random.fill(&mut s1[8..]);
        let mut s2 = *c1;
        // A version of 0 means the simple form; its C1 cannot carry a digest.
        let digest = if c1[4..8] == [0; 4] {
            None
        } else {
            End::Client.find(c1)
        };
        if let Some((scheme, digest)) = digest {
            self.scheme = Some(scheme);
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            End::Server.imprint(&mut s1, scheme);
            self.random.fill(&mut s2);
            End::Server.sign(&mut s2, &digest);
        }
        let mut out = BytesMut::with_capacity(1 + 2 * BLOCK_LEN);
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(&s1);
        out.extend_from_slice(&s2);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::End;
    use super::*;

    fn c0_c1(scheme: Option<Scheme>) -> [u8; 1 + BLOCK_LEN] {
        let mut c1 = [0; BLOCK_LEN];
        Random::new([7; 32]).fill(&mut c1[8..]);
        if let Some(scheme) = scheme {
            c1[4..8].copy_from_slice(&[9, 0, 124, 2]);
            End::Client.imprint(&mut c1, scheme);
        }
        let mut bytes = [VERSION; 1 + BLOCK_LEN];
        bytes[1..].copy_from_slice(&c1);
        bytes
    }

    fn block(bytes: &[u8]) -> &[u8; BLOCK_LEN] {
        bytes.try_into().expect("a block")
    }

    #[test]
    fn the_simple_form_is_answered_with_an_echo() {
        let mut server = Server::new([1; 32]);
        let sent = c0_c1(None);
        let mut input = BytesMut::from(&sent[..]);
        let answer = server.handle(&mut input).expect("valid").expect("an answer");
        assert_eq!(answer.len(), 1 + 2 * BLOCK_LEN);
        assert_eq!(answer[0], VERSION);
        assert_eq!(answer[5..9], [0; 4]);
        assert_eq!(answer[1 + BLOCK_LEN..], sent[1..]);
        assert_eq!(server.scheme(), None);
    }

    #[test]
    fn a_digest_is_answered_in_its_own_scheme_and_signed() {
        for scheme in Scheme::ALL {
            let mut server = Server::new([1; 32]);
            let sent = c0_c1(Some(scheme));
            let answer = server
                .handle(&mut BytesMut::from(&sent[..]))
                .expect("valid")
                .expect("an answer");
            let (s1, s2) = (block(&answer[1..1 + BLOCK_LEN]), block(&answer[1 + BLOCK_LEN..]));
            assert_eq!(End::Server.find(s1).expect("a digest in S1").0, scheme);
            let (_, client_digest) = End::Client.find(block(&sent[1..])).expect("a digest in C1");
            assert!(End::Server.signed(s2, &client_digest));
            assert_eq!(server.scheme(), Some(scheme));
        }
    }

    #[test]
    fn a_version_without_a_digest_falls_back_to_the_simple_form() {
        let mut sent = c0_c1(Some(Scheme::DigestFirst));
        sent[1000] ^= 1;
        let mut server = Server::new([1; 32]);
        let answer = server
            .handle(&mut BytesMut::from(&sent[..]))
            .expect("valid")
            .expect("an answer");
        assert_eq!(answer[1 + BLOCK_LEN..], sent[1..]);
    }

    #[test]
    fn bytes_may_come_one_by_one_and_what_follows_c2_is_left() {
        let mut all = c0_c1(Some(Scheme::KeyFirst)).to_vec();
        all.extend_from_slice(&[0; BLOCK_LEN]);
        all.extend_from_slice(b"chunk");
        let (mut server, mut input, mut answers) = (Server::new([1; 32]), BytesMut::new(), 0);
        for &byte in &all {
            input.extend_from_slice(&[byte]);
            answers += usize::from(server.handle(&mut input).expect("valid").is_some());
        }
        assert_eq!(answers, 1);
        assert!(server.is_done());
        assert_eq!(input, &b"chunk"[..]);
    }

    #[test]
    fn encryption_and_other_protocols_are_refused_at_the_first_byte() {
        let refuse = |byte| {
            Server::new([0; 32])
                .handle(&mut BytesMut::from(&[byte][..]))
                .expect_err("refused")
        };
        assert_eq!(refuse(6), Error::Encrypted { got: 6 });
        assert_eq!(refuse(b'G'), Error::NotRtmp { got: b'G' });
        assert_eq!(
            Server::new([0; 32]).handle(&mut BytesMut::from(&[1][..])),
            Ok(None)
        );
    }

    #[test]
    fn a_captured_player_accepted_our_digest_and_signed_with_it() {
        let capture = include_bytes!("../../testdata/ffmpeg-5.1-play.bin");
        let mut server = Server::new([2; 32]);
        let mut input = BytesMut::from(&capture[..]);
        let answer = server.handle(&mut input).expect("valid").expect("an answer");
        assert_eq!(server.scheme(), Some(Scheme::DigestFirst));
        assert!(server.is_done());
        let (_, digest) = End::Server
            .find(block(&answer[1..1 + BLOCK_LEN]))
            .expect("a digest in S1");
        assert!(End::Client.signed(block(&capture[1 + BLOCK_LEN..1 + 2 * BLOCK_LEN]), &digest));
    }
}
