//! MPEG audio, layers I to III (RFC 2250, 3.5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |             MBZ               |   fragment offset (bytes)     |
//! +-------------------------------+-------------------------------+
//! ```
//!
//! Behind it stand whole frames, or a fragment of one. Where a frame ends is told by its own header, as the marker says something
//! else in audio (3.3). The clock runs at 90 kHz whatever the sample rate is (section 2).

use super::{Error, Input, Sink, Unit, aac};
use bytes::{Buf, Bytes, BytesMut};
use media::codec::mp3::Header;

/// What stands in the payloads of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// RFC 2250: payload type 14, or `MPA/90000`.
    Rfc2250,
    /// Frames without the 4 bytes before them: `MP3/44100` of ZLMediaKit (observed), which continues a long frame in packets of
    /// the same time.
    Bare {
        /// Ticks per second: what the session description says.
        clock_rate: u32,
    },
}

/// Packets to units of one MPEG audio frame each.
#[derive(Debug)]
pub struct Unpacker {
    style: Style,
    /// The frame that is being put together.
    partial: Option<Partial>,
    /// The sender splits frames, so after a gap in [`Style::Bare`] nothing tells a fragment from a frame.
    splits: bool,
    /// After such a gap: packets of this time are left out.
    skipped: Option<i64>,
}

impl Unpacker {
    /// An unpacker for one source.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            partial: None,
            splits: false,
            skipped: None,
        }
    }

    /// Takes the next packet. Units may come out even if it is an error.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        let mut partial = self.partial.take();
        if input.gap {
            let lost = partial.take();
            self.splits |= lost.is_some_and(|partial| partial.packet_time == input.timestamp);
            let bare = self.style != Style::Rfc2250;
            self.skipped = (bare && self.splits).then_some(input.timestamp);
        }
        if self.skipped == Some(input.timestamp) {
            return Ok(());
        }
        self.skipped = None;
        let mut data = input.payload.clone();
        match self.style {
            Style::Rfc2250 => {
                if data.len() < HEADER_LEN {
                    return Err(Error::Truncated {
                        what: "MPEG audio-specific header",
                        need: HEADER_LEN,
                        got: data.len(),
                    });
                }
                // Must be zero, and must be ignored if it is not.
                data.advance(2);
                let offset = usize::from(data.get_u16());
                if offset == 0 {
                    partial = None;
                } else if !partial
                    .as_ref()
                    .is_some_and(|partial| partial.continues(input, offset))
                {
                    return Err(Error::Orphan);
                }
            }
            Style::Bare { .. } => partial = partial.filter(|partial| partial.packet_time == input.timestamp),
        }
        let mut samples = 0;
        if let Some(mut partial) = partial {
            self.splits = true;
            let missing = partial.frame_len().saturating_sub(partial.data.len());
            partial
                .data
                .extend_from_slice(&data.split_to(missing.min(data.len())));
            if partial.data.len() < partial.frame_len() {
                self.partial = Some(partial);
                return Ok(());
            }
            // Frames behind the last fragment are timed from the beginning of the one that it ends.
            samples = partial.samples_before.saturating_add(partial.header.samples);
            out.push(Unit {
                timestamp: partial.timestamp,
                data: partial.data.freeze(),
            });
        }
        self.push_frames(data, samples, input, out)
    }

    /// The source ends: what is not complete is dropped.
    pub fn flush(&mut self, _out: &mut Vec<Unit>) {
        self.partial = None;
        self.skipped = None;
    }

    /// Cuts `data` into frames. The first is `samples` behind the time of the packet. The last may be a fragment.
    fn push_frames(
        &mut self,
        mut data: Bytes,
        mut samples: u32,
        input: Input<'_>,
        out: &mut Vec<Unit>,
    ) -> Result<(), Error> {
        while !data.is_empty() {
            let header = Header::parse(&data).map_err(aac::bitstream)?;
            let Some(len) = header.frame_len else {
                return Err(Error::Value {
                    what: "MPEG audio bit rate index",
                    got: 0,
                    allowed: "1 to 14: free format does not tell the length of a frame",
                });
            };
            let ticks = u64::from(samples) * u64::from(self.clock_rate()) / u64::from(header.sample_rate);
            let timestamp = input.timestamp.saturating_add_unsigned(ticks);
            if data.len() < len {
                self.partial = Some(Partial {
                    packet_time: input.timestamp,
                    timestamp,
                    samples_before: samples,
                    header,
                    data: BytesMut::from(&data[..]),
                });
                return Ok(());
            }
            out.push(Unit {
                timestamp,
                data: data.split_to(len),
            });
            // At most 64 KiB of frames of 24 bytes and 1152 samples are in a packet.
            samples = samples.saturating_add(header.samples);
        }
        Ok(())
    }

    fn clock_rate(&self) -> u32 {
        match self.style {
            Style::Rfc2250 => CLOCK_RATE,
            Style::Bare { clock_rate } => clock_rate,
        }
    }
}

/// MPEG audio frames to packets of RFC 2250, one frame per packet or in fragments. The clock is [`CLOCK_RATE`].
#[derive(Debug, Default)]
pub struct Packer(());

impl Packer {
    /// A packer; it has no state.
    pub fn new() -> Self {
        Self(())
    }

    /// Packs one MPEG audio frame. The marker, which is for the first packet after silence (3.3), is never set. Nothing comes of
    /// an empty frame and of one of 64 KiB and more, whose fragments would have no offset; MPEG audio ends at 2881 bytes.
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let data = &frame.data[..];
        if data.len() > usize::from(u16::MAX) {
            return;
        }
        let room = sink.max_payload().saturating_sub(HEADER_LEN).max(1);
        let mut offset = 0u16;
        for fragment in data.chunks(room) {
            let [high, low] = offset.to_be_bytes();
            sink.packet(false, 0, &[&[0, 0, high, low], fragment]);
            offset = offset.wrapping_add(fragment.len() as u16);
        }
    }
}

/// Of payload type 14 and `MPA` (RFC 3551, 4.5.13).
pub const CLOCK_RATE: u32 = 90_000;

#[derive(Debug)]
struct Partial {
    /// Time of the packet that the frame began in. Those with the other fragments have the same (RFC 2250, 3.5).
    packet_time: i64,
    timestamp: i64,
    /// Samples of frames before this one in the packet.
    samples_before: u32,
    header: Header,
    /// Shorter than the frame, so below 2881 bytes.
    data: BytesMut,
}

impl Partial {
    fn continues(&self, input: Input<'_>, offset: usize) -> bool {
        self.packet_time == input.timestamp && self.data.len() == offset
    }

    fn frame_len(&self) -> usize {
        self.header.frame_len.unwrap_or(0)
    }
}

/// MBZ and fragment offset.
const HEADER_LEN: usize = 4;
