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
//! else in audio (3.3). The clock runs at 90 kHz whatever the sample rate is (3.3).

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
#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::testing::{Packets, Sent, capture, deliver, frame};
    use proptest::prelude::*;

    fn unpack(style: Style, packets: &[Sent], lost: &[usize]) -> (Vec<Unit>, Vec<Error>) {
        let (mut unpacker, mut out, mut errors) = (Unpacker::new(style), Vec::new(), Vec::new());
        deliver(packets, lost, |input| {
            errors.extend(unpacker.push(input, &mut out).err())
        });
        unpacker.flush(&mut out);
        (out, errors)
    }

    fn unit(timestamp: i64, data: &[u8]) -> Unit {
        Unit {
            timestamp,
            data: Bytes::copy_from_slice(data),
        }
    }

    fn sent(timestamp: i64, payload: &[&[u8]]) -> Sent {
        Sent {
            timestamp,
            marker: false,
            payload: payload.concat().into(),
        }
    }

    /// A frame of layer III, 44.1 kHz, 32 kbit/s: 104 bytes.
    fn mp3_frame(filling: u8) -> Vec<u8> {
        let mut frame = vec![filling; 104];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x10, 0x64]);
        frame
    }

    const BARE: Style = Style::Bare { clock_rate: 44_100 };

    #[test]
    fn frames_of_ffmpeg_are_cut_and_timed() {
        let packets = capture(MP3_OF_FFMPEG);
        let (units, errors) = unpack(Style::Rfc2250, &packets, &[]);
        assert_eq!(errors, []);
        // MPEG-2, layer III: 576 samples of 16 kHz are 3240 ticks.
        let first = packets[0].timestamp;
        let times: Vec<i64> = units.iter().map(|unit| unit.timestamp - first).collect();
        assert_eq!(
            times,
            [0, 3240, 6480, 9720, 12960, 16200, 19440, 22680, 25920, 29160]
        );
        assert_eq!(packets[1].timestamp - first, 16200);
        assert!(
            units
                .iter()
                .all(|unit| unit.data.len() == 36 && unit.data[..2] == [0xff, 0xf3])
        );
    }

    #[test]
    fn fragments_have_offsets() {
        let mut packets = Packets::new(100);
        packets.timestamp = 9;
        Packer::new().pack(&frame(&mp3_frame(5)), &mut packets);
        let starts: Vec<&[u8]> = packets.sent.iter().map(|sent| &sent.payload[..4]).collect();
        assert_eq!(starts, [[0, 0, 0, 0], [0, 0, 0, 96]]);
        assert!(
            packets
                .sent
                .iter()
                .all(|sent| !sent.marker && sent.timestamp == 9)
        );
        assert_eq!(
            unpack(Style::Rfc2250, &packets.sent, &[]).0,
            [unit(9, &mp3_frame(5))]
        );
        let (units, errors) = unpack(Style::Rfc2250, &packets.sent[1..], &[]);
        assert_eq!((units, errors), (vec![], vec![Error::Orphan]));
    }

    #[test]
    fn frames_without_the_four_bytes_are_read_in_the_style_of_zlm() {
        let (one, two) = (mp3_frame(1), mp3_frame(2));
        // Two frames in a packet, then one in two packets of the same time.
        let packets = [
            sent(0, &[&one, &two]),
            sent(2304, &[&one[..60]]),
            sent(2304, &[&one[60..]]),
            sent(3456, &[&two]),
        ];
        let (units, errors) = unpack(BARE, &packets, &[]);
        assert_eq!(errors, []);
        assert_eq!(
            units,
            [
                unit(0, &one),
                unit(1152, &two),
                unit(2304, &one),
                unit(3456, &two)
            ]
        );
    }

    #[test]
    fn a_fragment_belongs_by_time_and_offset() {
        let frame = mp3_frame(5);
        let first = sent(9, &[&[0; 4], &frame[..60]]);
        for (time, offset) in [(9, 59), (9, 61), (8, 60)] {
            let second = sent(time, &[&[0, 0, 0, offset], &frame[60..]]);
            let (units, errors) = unpack(Style::Rfc2250, &[first.clone(), second], &[]);
            assert_eq!((units, errors), (vec![], vec![Error::Orphan]), "{time} {offset}");
        }
    }

    #[test]
    fn a_bare_fragment_that_looks_like_a_frame_is_none() {
        // 417 bytes of layer III, which hold a whole frame of 104 bytes.
        let mut frame = [vec![0; 100], mp3_frame(1), vec![0; 213]].concat();
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
        let packets = [0, 1152]
            .map(|time| [sent(time, &[&frame[..100]]), sent(time, &[&frame[100..]])])
            .concat();
        assert_eq!(
            unpack(BARE, &packets, &[]).0,
            [unit(0, &frame), unit(1152, &frame)]
        );
        // The first frame shows that there are fragments; of the second the beginning is lost.
        assert_eq!(unpack(BARE, &packets, &[2]), (vec![unit(0, &frame)], vec![]));
    }

    #[test]
    fn a_frame_without_length_or_sync_is_an_error() {
        let free = sent(0, &[&[0; 4], &[0xff, 0xfb, 0x00, 0x64, 1, 2, 3]]);
        let (units, errors) = unpack(Style::Rfc2250, &[free], &[]);
        assert_eq!(units, []);
        assert!(errors[0].to_string().contains("free format"));
        let junk = sent(0, &[&[0; 4], &mp3_frame(1), b"TAG junk"]);
        let (units, errors) = unpack(Style::Rfc2250, &[junk], &[]);
        assert_eq!((units.len(), errors.len()), (1, 1));
        assert_eq!(unpack(Style::Rfc2250, &[sent(0, &[&[0; 3]])], &[]).1.len(), 1);
    }

    /// Some frame of any version, layer and bit rate whose length is known. It is full of headers, so that a fragment can pass for
    /// a frame.
    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let version = proptest::sample::select(&[0u8, 2, 3][..]);
        (version, 1u8..4, 1u8..15, 0u8..3, any::<bool>(), any::<u8>()).prop_map(
            |(version, layer, kbits, rate, padding, last)| {
                let start = [
                    0xff,
                    0xe1 | version << 3 | layer << 1,
                    kbits << 4 | rate << 2 | u8::from(padding) << 1,
                    last,
                ];
                let len = Header::parse(&start).unwrap().frame_len.unwrap();
                start.into_iter().cycle().take(len).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn frames_survive_packing_and_loss_costs_only_whole_ones(
            frames in proptest::collection::vec(any_frame(), 1..10),
            max_payload in 100usize..600,
            lost in proptest::collection::vec(0usize..30, 0..4),
        ) {
            let mut packets = Packets::new(max_payload);
            for data in &frames {
                Packer::new().pack(&frame(data), &mut packets);
                packets.timestamp += 3000;
            }
            let all: Vec<Unit> = frames.iter().enumerate().map(|(n, data)| unit(n as i64 * 3000, data)).collect();
            prop_assert!(packets.sent.iter().all(|sent| sent.payload.len() <= max_payload));
            let (whole, errors) = unpack(Style::Rfc2250, &packets.sent, &[]);
            prop_assert_eq!(&whole, &all);
            prop_assert_eq!(errors, []);
            let (rest, _) = unpack(Style::Rfc2250, &packets.sent, &lost);
            let hurt = |unit: &&Unit| {
                packets.sent.iter().enumerate().any(|(n, sent)| sent.timestamp == unit.timestamp && lost.contains(&n))
            };
            let unhurt: Vec<Unit> = all.iter().filter(|unit| !hurt(unit)).cloned().collect();
            prop_assert_eq!(rest, unhurt);
        }

        #[test]
        fn bare_frames_survive_loss_once_they_are_known_to_be_split(
            frames in proptest::collection::vec(any_frame(), 1..10),
            room in 5usize..150,
            lost in proptest::collection::vec(37usize..60, 0..4),
        ) {
            // The first frame of 2881 bytes shows that frames are split.
            let mut long = vec![0; 2881];
            long[..4].copy_from_slice(&[0xff, 0xe5, 0xea, 0xc4]);
            let frames: Vec<Vec<u8>> = std::iter::once(long).chain(frames).collect();
            let mut packets = Vec::new();
            let mut all = Vec::new();
            for (n, data) in frames.iter().enumerate() {
                let time = n as i64 * 3000;
                let parts = if n == 0 { 80 } else { 4 * room };
                packets.extend(data.chunks(parts).map(|part| sent(time, &[part])));
                all.push(unit(time, data));
            }
            prop_assert_eq!(unpack(BARE, &packets, &[]), (all.clone(), vec![]));
            let (rest, _) = unpack(BARE, &packets, &lost);
            prop_assert!(rest.iter().all(|unit| all.contains(unit)));
            prop_assert!(rest.len() + 2 * lost.len() >= all.len());
        }

        #[test]
        fn no_payload_breaks_it(
            bare in any::<bool>(),
            packets in proptest::collection::vec(
                (0i64..3, any::<bool>(), 0u8..120, proptest::collection::vec(any_frame(), 0..3), any::<[u8; 6]>()), 0..20),
        ) {
            let style = if bare { BARE } else { Style::Rfc2250 };
            let (mut unpacker, mut out, mut bytes) = (Unpacker::new(style), Vec::new(), 0);
            for (timestamp, gap, offset, frames, junk) in &packets {
                let data = frames.concat();
                let payload = &Bytes::from([&[0, 0, 0, *offset], &data[..], junk].concat());
                let payload = if bare { &payload.slice(usize::from(*offset).min(payload.len())..) } else { payload };
                bytes += payload.len();
                let _ = unpacker.push(Input { payload, marker: false, timestamp: *timestamp, gap: *gap }, &mut out);
            }
            prop_assert!(out.iter().map(|unit| unit.data.len()).sum::<usize>() <= bytes);
        }
    }

    /// FFmpeg 5.1, `-f rtp -pkt_size 200`, libmp3lame, 16 kHz: five frames in each packet.
    const MP3_OF_FFMPEG: [&str; 2] = [
        "800e04365c1cc6f0c6615d7500000000fff318c40005805ab06146000001cd7777777771110e78380c99020840\
         219707c0fc104cfff318c40005b86ac001913001492f2f18d7446341b682d00d8921c0af168c89de237814fff3\
         18c40005a85e8801d40000ffd22915872407090384080fe8a0010018942f88fb2ab0fff318c400057062700001\
         b824fe64e13012f911850c65ca34788972c58baaedc8acf530fff318c40005885a7000007821d6ea4adf45a614\
         091907706a81116dd7783004e548c480",
        "800e04375c1d0638c6615d7500000000fff318c40005a85e6800027825aba9387e10c5c782006a909c10303e95\
         640224fea1b950fff318c40005a062700001b824ef546834459105822643d99ab83eb1a32150038115b5c0fff3\
         18c4000580627000007820deaecc406bc04217319744d12272e42ec2e1bbb20bfc4cfff318c40005805a6c0001\
         b825ecf8b1903b340e059a38d60b4d860513906436b6662a4cfff318c40005905a700001b825ed32702c34c042\
         a0e328648d921a561890580ed2e2c2c0",
    ];
}
