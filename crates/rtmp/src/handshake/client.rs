//! The client's half.

use super::digest::End;
use super::random::Random;
use super::{BLOCK_LEN, Error, Scheme, VERSION, check_version};
use bytes::{Buf, Bytes, BytesMut};

/// Version in C1: Flash Player 9.0.124.2, which ffmpeg sends too. Servers that insist on a digest look for it from 9 on.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

/// Sends C0, C1 and C2, takes S0, S1 and S2.
pub struct Client {
    random: Random,
    state: State,
}

enum State {
    AwaitS0S1,
    AwaitS2,
    Done,
}

impl Client {
    /// `seed` fills C1 and C2 and should differ between connections. The second value is C0 and C1, to be sent first.
    pub fn new(seed: [u8; 32]) -> (Self, Bytes) {
        let mut random = Random::new(seed);
        let mut c1 = [0; BLOCK_LEN];
        c1[4..8].copy_from_slice(&CLIENT_VERSION);
        random.fill(&mut c1[8..]);
        End::Client.imprint(&mut c1, Scheme::DigestFirst);
        let mut out = BytesMut::with_capacity(1 + BLOCK_LEN);
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(&c1);
        (
            Self {
                random,
                state: State::AwaitS0S1,
            },
            out.freeze(),
        )
    }

    /// Takes what it can use from the front of `input`; returns C2 when S1 has come. Bytes behind S2 stay in `input`.
    pub fn handle(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        let mut answer = None;
        if let State::AwaitS0S1 = self.state {
            let Some(&version) = input.first() else {
                return Ok(None);
            };
            check_version(version)?;
            let Some(s1) = input
                .get(1..1 + BLOCK_LEN)
                .and_then(|block| block.try_into().ok())
            else {
                return Ok(None);
            };
            answer = Some(self.answer(s1));
            input.advance(1 + BLOCK_LEN);
            self.state = State::AwaitS2;
        }
        if let State::AwaitS2 = self.state
            && input.len() >= BLOCK_LEN
        {
            // S2 proves nothing that a client needs, and servers differ in it: not checked.
            input.advance(BLOCK_LEN);
            self.state = State::Done;
        }
        Ok(answer)
    }

    /// Whether S2 has been taken; what follows are chunks.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// C2: signed if S1 carries a digest, else S1 echoed.
    fn answer(&mut self, s1: &[u8; BLOCK_LEN]) -> Bytes {
        let mut c2 = *s1;
        if let Some((_, digest)) = End::Server.find(s1) {
            self.random.fill(&mut c2);
            End::Client.sign(&mut c2, &digest);
        }
        Bytes::copy_from_slice(&c2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Server;
    use super::super::digest::End;
    use super::*;

    #[test]
    fn client_and_server_agree_on_digests_and_on_the_signature_of_c2() {
        let (mut client, c0_c1) = Client::new([2; 32]);
        let mut server = Server::new([3; 32]);
        let answer = server
            .handle(&mut BytesMut::from(&c0_c1[..]))
            .expect("valid")
            .expect("S0 S1 S2");
        assert_eq!(server.scheme(), Some(Scheme::DigestFirst));

        let c2 = client
            .handle(&mut BytesMut::from(&answer[..]))
            .expect("valid")
            .expect("C2");
        assert!(client.is_done());
        let s1: &[u8; BLOCK_LEN] = answer[1..1 + BLOCK_LEN].try_into().expect("S1");
        let (_, server_digest) = End::Server.find(s1).expect("a digest in S1");
        assert!(End::Client.signed(c2[..].try_into().expect("C2"), &server_digest));

        assert_eq!(server.handle(&mut BytesMut::from(&c2[..])), Ok(None));
        assert!(server.is_done());
    }

    #[test]
    fn a_server_without_digest_gets_its_s1_back() {
        let (mut client, _) = Client::new([2; 32]);
        let mut sent = vec![VERSION];
        sent.extend_from_slice(&[5; BLOCK_LEN]);
        let c2 = client
            .handle(&mut BytesMut::from(&sent[..]))
            .expect("valid")
            .expect("C2");
        assert_eq!(c2[..], [5; BLOCK_LEN]);
        assert!(!client.is_done());
        assert_eq!(
            client.handle(&mut BytesMut::from(&[0; BLOCK_LEN + 3][..])),
            Ok(None)
        );
        assert!(client.is_done());
    }

    #[test]
    fn an_encrypting_server_is_refused() {
        let (mut client, _) = Client::new([2; 32]);
        assert_eq!(
            client.handle(&mut BytesMut::from(&[6][..])),
            Err(Error::Encrypted { got: 6 })
        );
    }
}
