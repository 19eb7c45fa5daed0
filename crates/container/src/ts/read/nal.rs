//! H.264 and H.265 in Annex B: access units, however they are spread over PES packets.

use super::super::{CLOCK, MAX_PES_LEN};
use super::{Pes, Times, Unit};
use bytes::{BufMut, BytesMut};
use media::MediaTime;
use media::codec::nal::start_code;
use media::codec::{h264, h265};

/// Cuts a byte stream into access units with 4-byte lengths.
///
/// Senders put one access unit into a PES packet as a rule, so the end of a packet is taken for the end of the unit and nobody waits
/// for the next one. Once a packet turns out to go on with the unit before it, or is so long that it may, units end where the next
/// one begins. Where the sender writes delimiters only those count, as the two fields of a picture are one frame here; else what
/// follows from ITU-T H.264, 7.4.1.2.3, and H.265, 7.4.2.4.4.
#[derive(Debug)]
pub(in super::super) struct AccessUnits {
    codec: Codec,
    /// Bytes behind the last start code, or up to two bytes that one may begin with.
    raw: BytesMut,
    /// `raw` belongs to a NAL unit, which began in the packet with these times.
    unit: Option<Stamp>,
    /// Where to go on looking for a start code in `raw`.
    scanned: usize,
    picture: Picture,
    /// Units may go on in the next packet.
    split: bool,
    /// The sender writes delimiters.
    delimited: bool,
    /// Number of the packet in which the last NAL unit began.
    opened: u64,
    /// Of the packet that is read, and of the one before.
    stamp: Stamp,
    before: Stamp,
    /// Bytes of `raw` that came before the packet that is read.
    older: usize,
    /// Number of the packet whose times were used.
    used: u64,
    last: Option<Times>,
    /// Between the decoding times of the last two pictures.
    step: i64,
}

/// The access unit that is put together.
#[derive(Debug, Default)]
struct Picture {
    data: BytesMut,
    times: Option<Times>,
    random_access: bool,
    /// Its first NAL unit was seen.
    begun: bool,
    /// There is a slice in it.
    coded: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    /// Number of the packet, from 1.
    number: u64,
    times: Option<Times>,
    random_access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    H264,
    H265,
}

/// What a NAL unit is to the borders of access units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Delimiter,
    /// Stands before the first slice.
    Before,
    FirstSlice,
    Slice,
    /// Stands anywhere, or behind.
    Other,
}

impl Codec {
    fn role(self, unit: &[u8]) -> Role {
        match self {
            Self::H264 => match h264::nal_type(unit) {
                h264::NAL_AUD => Role::Delimiter,
                h264::NAL_SPS | h264::NAL_PPS | h264::NAL_SEI | 14..=18 => Role::Before,
                // first_mb_in_slice is 0 if its first bit is 1.
                h264::NAL_SLICE | 2 | h264::NAL_IDR => match unit.get(1) {
                    Some(byte) if byte & 0x80 != 0 => Role::FirstSlice,
                    _ => Role::Slice,
                },
                3 | 4 => Role::Slice,
                _ => Role::Other,
            },
            Self::H265 => match h265::nal_type(unit) {
                h265::NAL_AUD => Role::Delimiter,
                h265::NAL_VPS | h265::NAL_SPS | h265::NAL_PPS | h265::NAL_PREFIX_SEI | 41..=44 | 48..=55 => {
                    Role::Before
                }
                0..=31 => match unit {
                    // nuh_layer_id 0 and first_slice_segment_in_pic_flag.
                    [h0, h1, first, ..] if h0 & 1 == 0 && h1 >> 3 == 0 && first & 0x80 != 0 => {
                        Role::FirstSlice
                    }
                    _ => Role::Slice,
                },
                _ => Role::Other,
            },
        }
    }
}

impl AccessUnits {
    pub fn h264() -> Self {
        Self::new(Codec::H264)
    }

    pub fn h265() -> Self {
        Self::new(Codec::H265)
    }

    fn new(codec: Codec) -> Self {
        Self {
            codec,
            raw: BytesMut::new(),
            unit: None,
            scanned: 0,
            picture: Picture::default(),
            split: false,
            delimited: false,
            opened: 0,
            stamp: Stamp::default(),
            before: Stamp::default(),
            older: 0,
            used: 0,
            last: None,
            step: DEFAULT_STEP,
        }
    }

    pub fn push(&mut self, pes: &Pes, out: &mut Vec<Unit>) -> u64 {
        self.before = self.stamp;
        self.stamp = Stamp {
            number: self.stamp.number.saturating_add(1),
            times: pes.times,
            random_access: pes.random_access,
        };
        let limit = out.len() + MAX_UNITS;
        let mut bad = 0;
        if self.unit.is_none() && !self.begins(&pes.data) {
            // The rest of something that was given away already.
            self.split = true;
            bad += 1;
        }
        self.older = self.raw.len();
        self.raw.extend_from_slice(&pes.data);
        bad += self.scan(limit, out);
        if self.held() > MAX_PES_LEN {
            self.split = false;
            return bad + self.reset();
        }
        let goes_on = self.split || pes.bounded && pes.data.len() >= LARGE;
        if !goes_on {
            bad += self.end_unit(limit, out);
            if self.picture.coded {
                bad += self.end_picture(limit, out);
            } else {
                // Parameter sets alone belong to the next packet.
                self.picture.begun = false;
            }
        }
        bad
    }

    pub fn held(&self) -> usize {
        self.raw.len() + self.picture.data.len()
    }

    pub fn reset(&mut self) -> u64 {
        let lost = self.unit.is_some() || !self.picture.data.is_empty();
        self.raw.clear();
        (self.unit, self.scanned) = (None, 0);
        self.picture = Picture::default();
        self.delimited = false;
        u64::from(lost)
    }

    pub fn flush(&mut self, out: &mut Vec<Unit>) -> u64 {
        let limit = out.len() + MAX_UNITS;
        let bad = self.end_unit(limit, out);
        bad + self.end_picture(limit, out)
    }

    /// Whether a packet begins with a start code, after zeros. The bytes before it are nobody's otherwise.
    fn begins(&self, data: &[u8]) -> bool {
        let held = &self.raw[..];
        let Some(at) = held.iter().chain(data).position(|byte| *byte != 0) else {
            return true;
        };
        at >= 2 && held.iter().chain(data).nth(at) == Some(&1)
    }

    /// Takes NAL units that are complete from `raw`.
    fn scan(&mut self, limit: usize, out: &mut Vec<Unit>) -> u64 {
        let mut bad = 0;
        while let Some(at) = self.raw.get(self.scanned..).and_then(start_code) {
            let end = self.scanned + at;
            let unit = self.raw.split_to(end);
            let _start_code = self.raw.split_to(3);
            self.scanned = 0;
            // A start code begins with its fourth byte, if it has one.
            let begin = end - usize::from(unit.ends_with(&[0]));
            let stamp = if begin < self.older {
                self.before
            } else {
                self.stamp
            };
            self.older = self.older.saturating_sub(end + 3);
            if let Some(stamp) = self.unit.replace(stamp) {
                bad += self.nal(&unit, stamp, limit, out);
            }
        }
        // Two zeros may be the start of a start code.
        self.scanned = self.raw.len().saturating_sub(2);
        if self.unit.is_none() {
            let _nobodys = self.raw.split_to(self.scanned);
            self.scanned = 0;
        }
        bad
    }

    /// What was read of a NAL unit is all of it.
    fn end_unit(&mut self, limit: usize, out: &mut Vec<Unit>) -> u64 {
        self.scanned = 0;
        let unit = self.raw.split();
        match self.unit.take() {
            Some(stamp) => self.nal(&unit, stamp, limit, out),
            None => 0,
        }
    }

    /// Takes a NAL unit that began in the packet `stamp`.
    fn nal(&mut self, unit: &[u8], stamp: Stamp, limit: usize, out: &mut Vec<Unit>) -> u64 {
        // trailing_zero_8bits and the first byte of a 4-byte start code.
        let end = unit
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let unit = &unit[..end];
        if unit.is_empty() {
            return 0;
        }
        let role = self.codec.role(unit);
        let mut bad = 0;
        let opens = std::mem::replace(&mut self.opened, stamp.number) != stamp.number;
        match role {
            Role::Delimiter => self.delimited = true,
            // A picture of its own without a delimiter: the sender writes them before some only.
            Role::Before | Role::FirstSlice if opens && stamp.times.is_some() => self.delimited = false,
            Role::Before | Role::FirstSlice | Role::Slice | Role::Other => {}
        }
        let next = match role {
            Role::Delimiter => true,
            Role::Before | Role::FirstSlice => !self.delimited,
            Role::Slice | Role::Other => false,
        };
        if next && self.picture.coded {
            bad += self.end_picture(limit, out);
        }
        if role == Role::Delimiter {
            // Here the access unit begins; frames have none.
            self.picture.begun = false;
            self.stamp_picture(stamp);
            return bad;
        }
        let empty = self.picture.data.is_empty();
        if empty && role == Role::Slice && !self.picture.begun {
            // The rest of a picture that was given away already.
            self.split = true;
            return bad + 1;
        }
        if empty && role == Role::Other {
            return bad;
        }
        self.stamp_picture(stamp);
        self.picture.coded |= matches!(role, Role::FirstSlice | Role::Slice);
        self.picture
            .data
            .put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        self.picture.data.put_slice(unit);
        bad
    }

    /// Gives the times of the packet in which a picture begins to it, if it is the first one that does.
    fn stamp_picture(&mut self, stamp: Stamp) {
        if !std::mem::replace(&mut self.picture.begun, true) && stamp.number > self.used {
            self.used = stamp.number;
            self.picture.times = stamp.times.or(self.picture.times);
            self.picture.random_access |= stamp.random_access;
        }
    }

    /// Gives the picture away.
    fn end_picture(&mut self, limit: usize, out: &mut Vec<Unit>) -> u64 {
        let picture = std::mem::take(&mut self.picture);
        if picture.data.is_empty() {
            return 0;
        }
        let times = match (picture.times, self.last) {
            (Some(times), last) => {
                if let Some(step) = last.map(|last| times.dts.saturating_sub(last.dts))
                    && (1..=MAX_STEP).contains(&step)
                {
                    self.step = step;
                }
                times
            }
            (None, Some(last)) => Times {
                dts: last.dts.saturating_add(self.step),
                pts: last.pts.saturating_add(self.step),
            },
            (None, None) => return 1,
        };
        self.last = Some(times);
        if !picture.coded || out.len() >= limit {
            return 1;
        }
        out.push(Unit {
            dts: MediaTime::from_ticks(times.dts, CLOCK),
            pts: MediaTime::from_ticks(times.pts, CLOCK),
            data: picture.data.freeze(),
            random_access: picture.random_access,
            config: None,
        });
        0
    }
}

/// Time between pictures where nothing tells it: 40 ms.
const DEFAULT_STEP: i64 = CLOCK as i64 / 25;
/// Longer pauses say nothing about the rate of pictures.
const MAX_STEP: i64 = CLOCK as i64;
/// Most access units that one packet can bring. Some senders put those of a second into one.
const MAX_UNITS: usize = 256;
/// PES packets of this length may be parts of what does not fit into one, whose length has 16 bits.
const LARGE: usize = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const AUD: &[u8] = &[0, 0, 0, 1, 9, 0xf0];
    const SETS: &[u8] = &[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2];
    const SEI: &[u8] = &[0, 0, 1, 6, 5, 1, 0x80];

    /// A slice, the first of its picture or another, which cannot be taken for another one.
    fn slice(first: bool, mark: u8) -> Vec<u8> {
        vec![0, 0, 1, 0x41, if first { 0x80 } else { 0x40 }, mark, 0x80]
    }

    fn canonical(annex_b: &[u8]) -> Bytes {
        media::codec::nal::from_annex_b(annex_b)
    }

    fn pes(times: Option<(i64, i64)>, data: &[u8]) -> Pes {
        Pes {
            data: Bytes::copy_from_slice(data),
            times: times.map(|(dts, pts)| Times { dts, pts }),
            bounded: true,
            random_access: false,
        }
    }

    /// Decoding time, presentation time, content.
    fn units(out: &[Unit]) -> Vec<(i64, i64, Bytes)> {
        out.iter()
            .map(|unit| {
                (
                    unit.dts.as_ticks(CLOCK),
                    unit.pts.as_ticks(CLOCK),
                    unit.data.clone(),
                )
            })
            .collect()
    }

    #[test]
    fn a_packet_is_a_picture_at_once_and_delimiters_go() {
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        let data = [AUD, SETS, SEI, &slice(true, 1), &slice(false, 2)].concat();
        assert_eq!(reader.push(&pes(Some((0, 7_200)), &data), &mut out), 0);
        assert_eq!(units(&out), [(0, 7_200, canonical(&data[AUD.len()..]))]);
    }

    #[test]
    fn several_pictures_in_a_packet_go_on_at_the_pace_before() {
        for delimiter in [AUD, &[]] {
            let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
            reader.push(
                &pes(Some((0, 3_000)), &[delimiter, &slice(true, 1)].concat()),
                &mut out,
            );
            let three = [
                [delimiter, SETS, &slice(true, 2), &slice(false, 3)].concat(),
                [delimiter, &slice(true, 4)].concat(),
                [delimiter, SEI, &slice(true, 5)].concat(),
            ];
            assert_eq!(
                reader.push(&pes(Some((3_000, 6_000)), &three.concat()), &mut out),
                0
            );
            let expected: Vec<_> = three
                .iter()
                .zip([3_000, 6_000, 9_000])
                .map(|(picture, dts)| (dts, dts + 3_000, canonical(&picture[delimiter.len()..])))
                .collect();
            assert_eq!(units(&out)[1..], expected);
        }
    }

    #[test]
    fn two_fields_between_delimiters_are_one_frame() {
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        let data = [AUD, SEI, &slice(true, 1), SEI, &slice(true, 2)].concat();
        assert_eq!(reader.push(&pes(Some((0, 0)), &data), &mut out), 0);
        assert_eq!(units(&out), [(0, 0, canonical(&data[AUD.len()..]))]);
    }

    #[test]
    fn a_picture_over_several_packets_is_whole_once_the_sender_is_known_to_do_so() {
        let pictures: Vec<_> = (0..4)
            .map(|nth| [AUD, SETS, &slice(true, nth), &slice(false, 9), &slice(false, 8)].concat())
            .collect();
        let cut = AUD.len() + SETS.len();
        for cut in 1..pictures[0].len() - cut {
            let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
            let mut bad = 0;
            for (nth, picture) in pictures.iter().enumerate() {
                let (front, back) = picture.split_at(picture.len() - cut);
                bad += reader.push(
                    &pes(Some((3_000 * nth as i64, 3_000 * nth as i64)), front),
                    &mut out,
                );
                bad += reader.push(&pes(None, back), &mut out);
            }
            bad += reader.flush(&mut out);
            let expected: Vec<_> = (0..4)
                .map(|nth| {
                    (
                        3_000 * nth as i64,
                        3_000 * nth as i64,
                        canonical(&pictures[nth]).slice(6..),
                    )
                })
                .collect();
            // The first one was given away before it was whole.
            assert_eq!(units(&out)[out.len() - 3..], expected[1..], "{cut}");
            assert!(bad <= 3, "{cut}: {bad}");
        }
    }

    #[test]
    fn delimiters_before_some_pictures_only() {
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        reader.split = true;
        let pictures = [[AUD, &slice(true, 1)].concat(), slice(true, 2), slice(true, 3)];
        for (picture, time) in pictures.iter().zip([0, 3_000, 6_000]) {
            reader.push(&pes(Some((time, time)), picture), &mut out);
        }
        reader.flush(&mut out);
        let expected: Vec<_> = (1..4)
            .map(|mark| (3_000 * (i64::from(mark) - 1), canonical(&slice(true, mark))))
            .map(|(time, data)| (time, time, data))
            .collect();
        assert_eq!(units(&out), expected);
    }

    #[test]
    fn a_large_packet_waits_for_what_follows() {
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        let mut large = [AUD, SETS, &slice(true, 1)].concat();
        large.resize(LARGE, 0x55);
        assert_eq!(reader.push(&pes(Some((0, 0)), &large), &mut out), 0);
        assert_eq!(reader.push(&pes(None, &[0x66; 100]), &mut out), 0);
        let whole = [&large[AUD.len()..], &[0x66; 100]].concat();
        let next = [AUD, &slice(true, 2)].concat();
        assert_eq!(reader.push(&pes(Some((3_000, 3_000)), &next), &mut out), 0);
        assert_eq!(units(&out)[0], (0, 0, canonical(&whole)));
    }

    #[test]
    fn packets_need_not_begin_with_a_picture() {
        // Cut anywhere, with the time of the first picture that begins in each.
        let pictures: Vec<_> = (0..20)
            .map(|nth| [AUD, &slice(true, nth), &slice(false, 9)].concat())
            .collect();
        let stream = pictures.concat();
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        (reader.split, reader.step) = (true, 3_000);
        let len = pictures[0].len();
        for (nth, piece) in stream.chunks(33).enumerate() {
            let first = (33 * nth).div_ceil(len);
            let times = (first * len < 33 * (nth + 1)).then_some(3_000 * first as i64);
            assert_eq!(
                reader.push(&pes(times.map(|time| (time, time)), piece), &mut out),
                0
            );
        }
        assert_eq!(reader.flush(&mut out), 0);
        let expected: Vec<_> = (0..20)
            .map(|nth| (3_000 * nth as i64, 3_000 * nth as i64, canonical(&pictures[nth])))
            .map(|(dts, pts, data)| (dts, pts, data.slice(6..)))
            .collect();
        assert_eq!(units(&out), expected);
    }

    #[test]
    fn parameter_sets_in_a_packet_of_their_own_go_with_the_next() {
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        assert_eq!(reader.push(&pes(Some((0, 0)), SETS), &mut out), 0);
        assert_eq!(
            reader.push(&pes(Some((3_000, 3_000)), &slice(true, 1)), &mut out),
            0
        );
        assert_eq!(
            units(&out),
            [(3_000, 3_000, canonical(&[SETS, &slice(true, 1)].concat()))]
        );
    }

    #[test]
    fn h265_pictures_begin_with_their_first_slice_segment() {
        let (mut reader, mut out) = (AccessUnits::h265(), Vec::new());
        let slice = |first: u8, mark: u8| vec![0, 0, 1, 2, 1, first, mark, 0x80];
        let prefix = [0, 0, 1, 0x4e, 1, 5, 0x80];
        let suffix = [0, 0, 1, 0x50, 1, 5, 0x80];
        let first = [&slice(0x80, 1)[..], &slice(0, 2), &suffix].concat();
        let second = [&prefix[..], &slice(0x80, 3)].concat();
        assert_eq!(
            reader.push(&pes(Some((0, 0)), &[&first[..], &second].concat()), &mut out),
            0
        );
        assert_eq!(
            units(&out),
            [(0, 0, canonical(&first)), (3_600, 3_600, canonical(&second))]
        );
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (mut reader, mut out) = (AccessUnits::h264(), Vec::new());
        reader.split = true;
        reader.push(&pes(Some((0, 0)), &slice(true, 1)), &mut out);
        let mut bad = 0;
        for _ in 0..MAX_PES_LEN / 60_000 + 1 {
            bad += reader.push(&pes(None, &[0x55; 60_000]), &mut out);
        }
        assert_eq!((bad, out.len()), (1, 0));
        assert!(reader.raw.len() <= 60_000 && reader.picture.data.is_empty());
    }
}
