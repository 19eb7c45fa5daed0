//! Codecs whose packets are the payload: Opus (RFC 7587), G.711 and L16 (RFC 3551, 4.5.14 and 4.5.11).

use super::{Error, Input, Sink, Unit};

/// Payloads to units: each is one.
#[derive(Debug, Default)]
pub struct Unpacker(());

impl Unpacker {
    /// An unpacker; it has no state.
    pub fn new() -> Self {
        Self(())
    }

    /// Takes the next packet. An empty payload is no unit and no error: some senders keep a path open with them. Never fails.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if !input.payload.is_empty() {
            out.push(Unit {
                timestamp: input.timestamp,
                data: input.payload.clone(),
            });
        }
        Ok(())
    }

    /// The source ends. Nothing is ever held.
    pub fn flush(&mut self, _out: &mut Vec<Unit>) {}
}

/// What is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One Opus packet per frame.
    Opus,
    /// G.711, either law: a byte per sample, samples of the channels in turn.
    G711 {
        /// Channels; 0 counts as 1.
        channels: u8,
    },
    /// Two bytes per sample, samples of the channels in turn.
    L16 {
        /// Channels; 0 counts as 1.
        channels: u8,
    },
}

/// Frames to payloads.
#[derive(Debug)]
pub struct Packer {
    /// Bytes of one sample of all channels, which takes one tick; `None` for what cannot be split.
    sample_len: Option<usize>,
}

impl Packer {
    /// A packer for one track.
    pub fn new(kind: Kind) -> Self {
        Self {
            sample_len: match kind {
                Kind::Opus => None,
                Kind::G711 { channels } => Some(usize::from(channels.max(1))),
                Kind::L16 { channels } => Some(2 * usize::from(channels.max(1))),
            },
        }
    }

    /// Packs a frame. The marker, which is for the first packet after silence (RFC 3551, 4.1), is never set: where silence ends is
    /// not known here.
    ///
    /// An Opus packet cannot be split (RFC 7587, 4.2); a longer one than the sink has room for is handed over whole. A sample that
    /// is cut off at the end of a frame is left out.
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let data = &frame.data[..];
        let Some(sample_len) = self.sample_len else {
            if !data.is_empty() {
                sink.packet(false, 0, &[data]);
            }
            return;
        };
        let samples_per_packet = (sink.max_payload() / sample_len).max(1);
        let samples = data.len() / sample_len;
        let whole = data.get(..samples * sample_len).unwrap_or_default();
        let mut offset = 0u32;
        for chunk in whole.chunks(samples_per_packet * sample_len) {
            sink.packet(false, offset, &[chunk]);
            offset = offset.wrapping_add((chunk.len() / sample_len) as u32);
        }
    }
}
/// What the tests of the audio payloads share.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::testing::{Packets, Sent, capture, deliver, frame};
    use proptest::prelude::*;

    fn units(packets: &[Sent]) -> Vec<Unit> {
        let (mut unpacker, mut out) = (Unpacker::new(), Vec::new());
        deliver(packets, &[], |input| unpacker.push(input, &mut out).unwrap());
        unpacker.flush(&mut out);
        out
    }

    #[test]
    fn an_opus_packet_is_never_split() {
        let mut packets = Packets::new(100);
        Packer::new(Kind::Opus).pack(&frame(&[7; 250]), &mut packets);
        assert_eq!(packets.sent.len(), 1);
        assert_eq!(packets.sent[0].payload, vec![7; 250]);
        assert!(!packets.sent[0].marker);
        Packer::new(Kind::Opus).pack(&frame(&[]), &mut packets);
        assert_eq!(packets.sent.len(), 1);
    }

    #[test]
    fn samples_are_split_between_samples_and_timed_by_them() {
        let split = |kind, len: usize| {
            let mut packets = Packets::new(101);
            Packer::new(kind).pack(&frame(&vec![1; len]), &mut packets);
            packets
                .sent
                .iter()
                .map(|sent| (sent.timestamp, sent.payload.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(split(Kind::G711 { channels: 1 }, 160), [(0, 101), (101, 59)]);
        assert_eq!(split(Kind::G711 { channels: 2 }, 160), [(0, 100), (50, 60)]);
        // The last byte is half a sample.
        assert_eq!(split(Kind::L16 { channels: 1 }, 201), [(0, 100), (50, 100)]);
        assert_eq!(
            split(Kind::L16 { channels: 2 }, 204),
            [(0, 100), (25, 100), (50, 4)]
        );
        // A sample of 200 channels is longer than the payload, and still one.
        assert_eq!(split(Kind::L16 { channels: 200 }, 800), [(0, 400), (1, 400)]);
    }

    #[test]
    fn packets_of_ffmpeg_are_units() {
        let sent = capture([OPUS_OF_FFMPEG]);
        let units = units(&sent);
        assert_eq!(units[0].timestamp, 0x9923_3bf5);
        assert_eq!(units[0].data.len(), 3);
        let empty = [Sent {
            timestamp: 3,
            marker: false,
            payload: bytes::Bytes::new(),
        }];
        assert_eq!(super::tests::units(&empty), []);
    }

    proptest! {
        #[test]
        fn samples_come_out_as_they_went_in(
            samples in proptest::collection::vec(any::<[u8; 4]>(), 0..400),
            max_payload in 100usize..1500,
        ) {
            let data = samples.concat();
            let mut packets = Packets::new(max_payload);
            Packer::new(Kind::L16 { channels: 2 }).pack(&frame(&data), &mut packets);
            let units = units(&packets.sent);
            let mut at = 0;
            for unit in &units {
                prop_assert_eq!(unit.timestamp as usize * 4, at);
                prop_assert!(unit.data.len() <= max_payload);
                at += unit.data.len();
            }
            let joined: Vec<u8> = units.iter().flat_map(|unit| unit.data.to_vec()).collect();
            prop_assert_eq!(joined, data);
        }
    }

    /// FFmpeg 5.1, libopus, mono: a packet of digital silence.
    const OPUS_OF_FFMPEG: &str = "80e10dca99233bf53ea96efaf8fffe";
}
