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
