//! PES packets from the packets of one PID.

use super::MAX_PES_LEN;
use super::packet::Packet;
use super::pes::{self, Parsed, Received};
use bytes::{Bytes, BytesMut};
use media::MediaKind;

/// Follows the `continuity_counter` of a PID (ISO/IEC 13818-1, 2.4.3.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Continuity(Option<u8>);

/// How a packet follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Next,
    /// The same packet again, as senders may.
    Repeat,
    /// Something is missing.
    Gap,
    /// The counter starts anew, and the sender says so.
    Restart,
}

impl Continuity {
    pub fn step(&mut self, packet: &Packet<'_>) -> Step {
        // Packets without payload do not count.
        if packet.payload.is_none() {
            return Step::Next;
        }
        let Some(last) = self.0.replace(packet.counter) else {
            return Step::Next;
        };
        if packet.counter == (last + 1) & 0xf {
            Step::Next
        } else if packet.discontinuity {
            Step::Restart
        } else if packet.counter == last {
            Step::Repeat
        } else {
            Step::Gap
        }
    }

    /// The next packet may have any counter.
    pub fn reset(&mut self) {
        self.0 = None;
    }
}

/// A whole PES packet.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub head: Received,
    pub payload: Bytes,
    pub random_access: bool,
}

/// Puts PES packets together. Holds at most [`MAX_PES_LEN`] bytes, far less for sound.
#[derive(Debug)]
pub(super) struct Assembly {
    max_len: usize,
    data: BytesMut,
    /// What is in `data` is the start of a packet, of which nothing is missing.
    begun: bool,
    head: Option<Received>,
    random_access: bool,
}

/// What became of a packet.
pub(super) enum Outcome {
    More,
    Whole(Whole),
    /// The PES packet is broken, scrambled or too long, and is left out.
    Bad,
    Scrambled,
}

impl Assembly {
    pub fn new(kind: MediaKind) -> Self {
        Self {
            max_len: match kind {
                MediaKind::Video => MAX_PES_LEN,
                MediaKind::Audio => MAX_SOUND_LEN,
            },
            data: BytesMut::new(),
            begun: false,
            head: None,
            random_access: false,
        }
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.data.len()
    }

    /// Leaves out what was begun. Returns whether anything was.
    pub fn reset(&mut self) -> bool {
        self.data.clear();
        self.head = None;
        std::mem::take(&mut self.begun)
    }

    /// A PES packet of unknown length ends where the next one begins, or the stream. One of a known length that is not complete by
    /// then never will be.
    pub fn end(&mut self) -> Outcome {
        match self.head.take() {
            Some(head) if self.begun && head.payload_len.is_none() => {
                self.begun = false;
                let payload = self.data.split().freeze().split_off(head.len);
                Outcome::Whole(Whole {
                    head,
                    payload,
                    random_access: self.random_access,
                })
            }
            Some(_) | None => match self.reset() {
                true => Outcome::Bad,
                false => Outcome::More,
            },
        }
    }

    /// Begins a PES packet. What was begun before has to be ended.
    pub fn begin(&mut self, packet: &Packet<'_>) {
        self.reset();
        self.begun = true;
        self.random_access = packet.random_access;
    }

    /// Takes the payload of a packet.
    pub fn push(&mut self, payload: &[u8]) -> Outcome {
        if !self.begun {
            return Outcome::More;
        }
        self.data.extend_from_slice(payload);
        let head = match self.head {
            Some(head) => head,
            None => match pes::parse(&self.data) {
                Parsed::Head(head) if head.scrambled => {
                    self.reset();
                    return Outcome::Scrambled;
                }
                Parsed::Head(head) => *self.head.insert(head),
                Parsed::Incomplete => return Outcome::More,
                Parsed::No => {
                    self.reset();
                    return Outcome::Bad;
                }
            },
        };
        let have = self.data.len() - head.len;
        match head.payload_len {
            Some(len) if have >= len => {
                let mut payload = self.data.split().freeze().split_off(head.len);
                payload.truncate(len);
                self.reset();
                Outcome::Whole(Whole {
                    head,
                    payload,
                    random_access: self.random_access,
                })
            }
            Some(_) => Outcome::More,
            None if have > self.max_len => {
                self.reset();
                Outcome::Bad
            }
            None => Outcome::More,
        }
    }
}

/// Longest PES packet of sound whose length is not told; the standard wants it told (2.4.3.7), which allows 64 KiB.
const MAX_SOUND_LEN: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::super::packet::PACKET_LEN;
    use super::*;

    fn packet(bytes: &[u8; PACKET_LEN]) -> Packet<'_> {
        Packet::parse(bytes).unwrap()
    }

    #[test]
    fn counters_repeat_skip_and_restart() {
        let mut bytes = [0xff; PACKET_LEN];
        let mut continuity = Continuity::default();
        let mut step = |control: u8, discontinuity: bool| {
            bytes[..6].copy_from_slice(&[0x47, 1, 1, control, 1, u8::from(discontinuity) << 7]);
            continuity.step(&packet(&bytes))
        };
        assert_eq!(step(0x3e, false), Step::Next);
        assert_eq!(step(0x3f, false), Step::Next);
        assert_eq!(step(0x30, false), Step::Next);
        assert_eq!(step(0x30, false), Step::Repeat);
        // Without payload.
        assert_eq!(step(0x20, false), Step::Next);
        assert_eq!(step(0x31, false), Step::Next);
        assert_eq!(step(0x33, false), Step::Gap);
        assert_eq!(step(0x39, true), Step::Restart);
    }

    fn begun(kind: MediaKind) -> Assembly {
        let mut bytes = [0; PACKET_LEN];
        bytes[..4].copy_from_slice(&[0x47, 0x41, 1, 0x10]);
        let mut assembly = Assembly::new(kind);
        assembly.begin(&packet(&bytes));
        assembly
    }

    #[test]
    fn a_known_length_ends_a_packet_and_an_unknown_one_does_not() {
        let mut assembly = begun(MediaKind::Audio);
        assert!(matches!(
            assembly.push(&[0, 0, 1, 0xc0, 0, 10, 0x84]),
            Outcome::More
        ));
        assert!(matches!(
            assembly.push(&[0x80, 5, 0x21, 0, 1, 0, 1, 7]),
            Outcome::More
        ));
        let Outcome::Whole(whole) = assembly.push(&[8, 9, 9]) else {
            panic!()
        };
        assert_eq!((&whole.payload[..], whole.head.pts), (&[7, 8][..], Some(0)));
        assert!(matches!(assembly.end(), Outcome::More));
        let mut assembly = begun(MediaKind::Video);
        assembly.push(&[0, 0, 1, 0xe0, 0, 0, 0x84, 0, 0, 7]);
        let Outcome::Whole(whole) = assembly.end() else {
            panic!()
        };
        assert_eq!(whole.payload[..], [7]);
    }

    #[test]
    fn broken_scrambled_and_endless_packets_are_left_out() {
        let mut assembly = begun(MediaKind::Audio);
        assert!(matches!(assembly.push(&[0, 0, 2, 0xc0, 0, 10]), Outcome::Bad));
        assert!(matches!(assembly.push(&[1, 2, 3]), Outcome::More));
        let mut assembly = begun(MediaKind::Audio);
        assert!(matches!(
            assembly.push(&[0, 0, 1, 0xc0, 0, 10, 0x90, 0, 0]),
            Outcome::Scrambled
        ));
        let mut assembly = begun(MediaKind::Audio);
        assembly.push(&[0, 0, 1, 0xc0, 0, 10, 0x84, 0, 0]);
        assert!(matches!(assembly.end(), Outcome::Bad));
        let mut assembly = begun(MediaKind::Audio);
        assembly.push(&[0, 0, 1, 0xc0, 0, 0, 0x84, 0, 0]);
        let pushes = (0..)
            .take_while(|_| matches!(assembly.push(&[0; 184]), Outcome::More))
            .count();
        assert_eq!(pushes, MAX_SOUND_LEN / 184);
        assert!(assembly.data.is_empty());
    }
}
