//! What PES packets carry, to frames: one reader for each way in which codecs are put into them.

mod audio;
mod nal;

use super::{CLOCK, av1, opus};
use audio::Framed;
use bytes::Bytes;
use media::{CodecId, MediaTime};
use nal::AccessUnits;

/// The payload of a PES packet with its times, in ticks on an endless line.
#[derive(Clone, Debug)]
pub(super) struct Pes {
    pub data: Bytes,
    pub times: Option<Times>,
    /// Its length was told, and it may be one of several for one access unit, if it is near the largest.
    pub bounded: bool,
    /// The sender says that decoding can start here.
    pub random_access: bool,
}

/// When something is decoded and shown, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub dts: i64,
    pub pts: i64,
}

/// One frame as it was sent, without what the container put before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub dts: MediaTime,
    pub pts: MediaTime,
    pub data: Bytes,
    pub random_access: bool,
    /// The decoder configuration from here on, where it stands before the frames.
    pub config: Option<Bytes>,
}

impl Unit {
    fn sound(time: MediaTime, data: Bytes) -> Self {
        Self {
            dts: time,
            pts: time,
            data,
            random_access: true,
            config: None,
        }
    }
}

/// Takes the PES packets of one stream in order.
#[derive(Debug)]
pub(super) enum Reader {
    AccessUnits(AccessUnits),
    Framed(Framed),
    Opus,
    Av1,
    /// A PES packet is a frame.
    Whole,
}

impl Reader {
    pub fn new(codec: CodecId) -> Self {
        match codec {
            CodecId::H264 => Self::AccessUnits(AccessUnits::h264()),
            CodecId::H265 => Self::AccessUnits(AccessUnits::h265()),
            CodecId::Aac => Self::Framed(Framed::adts()),
            CodecId::Mp3 => Self::Framed(Framed::mpeg_audio()),
            CodecId::Opus => Self::Opus,
            CodecId::Av1 => Self::Av1,
            CodecId::G711A
            | CodecId::G711U
            | CodecId::Vp8
            | CodecId::Vp9
            | CodecId::L16
            | CodecId::Jpeg
            | CodecId::Other(_) => Self::Whole,
        }
    }

    /// Takes a PES packet. Returns how many things in it were not usable.
    pub fn push(&mut self, pes: Pes, out: &mut Vec<Unit>) -> u64 {
        let time = |times: Times| MediaTime::from_ticks(times.pts, CLOCK);
        match (self, pes.times) {
            (Self::AccessUnits(reader), _) => reader.push(&pes, out),
            (Self::Framed(reader), _) => reader.push(&pes, out),
            (Self::Opus | Self::Av1 | Self::Whole, None) => 1,
            (Self::Opus, Some(times)) => read_opus(time(times), &pes.data, out),
            (Self::Av1, Some(times)) => {
                let data = av1::read(&pes.data);
                if data.is_empty() {
                    return 1;
                }
                out.push(Unit {
                    dts: MediaTime::from_ticks(times.dts, CLOCK),
                    pts: time(times),
                    data,
                    random_access: pes.random_access,
                    config: None,
                });
                0
            }
            (Self::Whole, Some(times)) => {
                out.push(Unit::sound(time(times), pes.data));
                0
            }
        }
    }

    /// Bytes that are held for what is still to come.
    pub fn held(&self) -> usize {
        match self {
            Self::AccessUnits(reader) => reader.held(),
            // Less than one frame of a few KiB.
            Self::Framed(_) | Self::Opus | Self::Av1 | Self::Whole => 0,
        }
    }

    /// Something was lost: what was begun is worth nothing. Returns how many things that costs.
    pub fn reset(&mut self) -> u64 {
        match self {
            Self::AccessUnits(reader) => reader.reset(),
            Self::Framed(reader) => reader.reset(),
            Self::Opus | Self::Av1 | Self::Whole => 0,
        }
    }

    /// Nothing follows: gives what was held back.
    pub fn flush(&mut self, out: &mut Vec<Unit>) -> u64 {
        match self {
            Self::AccessUnits(reader) => reader.flush(out),
            Self::Framed(reader) => reader.reset(),
            Self::Opus | Self::Av1 | Self::Whole => 0,
        }
    }
}

/// Packets behind control headers; each begins where the one before it ends.
fn read_opus(start: MediaTime, data: &Bytes, out: &mut Vec<Unit>) -> u64 {
    let (mut at, mut time) = (0, start);
    while at < data.len() {
        let Some((head, len)) = data.get(at..).and_then(opus::read_header) else {
            return 1;
        };
        at += head;
        let Some(end) = at.checked_add(len).filter(|end| *end <= data.len()) else {
            return 1;
        };
        let packet = data.slice(at..end);
        at = end;
        let length = media::codec::opus::duration(&packet).unwrap_or_default();
        if !packet.is_empty() {
            out.push(Unit::sound(time, packet));
        }
        // At most 120 ms.
        time = time + MediaTime::from_micros(length.as_micros() as i64);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pes(ticks: Option<i64>, data: &[u8]) -> Pes {
        Pes {
            data: Bytes::copy_from_slice(data),
            times: ticks.map(|ticks| Times {
                dts: ticks,
                pts: ticks,
            }),
            bounded: true,
            random_access: false,
        }
    }

    #[test]
    fn several_opus_packets_follow_one_another() {
        // 20 ms, 2.5 ms, and one that is cut off.
        let data = [
            0x7f, 0xe0, 2, 0xf8, 1, 0x7f, 0xf0, 1, 0, 9, 0x80, 0x7f, 0xe0, 9, 0xf8,
        ];
        let (mut reader, mut out) = (Reader::new(CodecId::Opus), Vec::new());
        assert_eq!(reader.push(pes(Some(90_000), &data), &mut out), 1);
        let expected = [
            Unit::sound(MediaTime::from_millis(1_000), Bytes::from_static(&[0xf8, 1])),
            Unit::sound(MediaTime::from_millis(1_020), Bytes::from_static(&[0x80])),
        ];
        assert_eq!(out, expected);
        assert_eq!(reader.push(pes(None, &data), &mut out), 1);
        assert_eq!(reader.push(pes(Some(0), &[1, 2, 3]), &mut out), 1);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn a_packet_of_g711_is_a_frame() {
        let (mut reader, mut out) = (Reader::new(CodecId::G711A), Vec::new());
        assert_eq!(reader.push(pes(Some(9), &[7; 160]), &mut out), 0);
        assert_eq!(
            out,
            [Unit::sound(
                MediaTime::from_ticks(9, 90_000),
                Bytes::from_static(&[7; 160])
            )]
        );
    }

    #[test]
    fn av1_needs_start_codes() {
        let (mut reader, mut out) = (Reader::new(CodecId::Av1), Vec::new());
        assert_eq!(reader.push(pes(Some(9), &[0x12, 0, 0x32, 1, 0x10]), &mut out), 1);
        assert_eq!(reader.push(pes(Some(9), &[0, 0, 1, 0x32, 1, 0x10]), &mut out), 0);
        assert_eq!(out[0].data[..], [0x32, 1, 0x10]);
    }
}
