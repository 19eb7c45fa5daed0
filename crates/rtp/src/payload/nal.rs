//! What the formats of H.264 and H.265 have in common: access units made of NAL units, which travel alone, in aggregates or in
//! fragments.
//!
//! Where a unit ends, with what real senders do to it:
//!
//! - At the marker, if a slice came; no packet is waited for. Cameras set it on parameter sets and SEI too: there it ends nothing.
//! - When the timestamp changes, if a slice came. Without one, as with cameras that send parameter sets with the time of the
//!   picture before, what came belongs to the next picture.
//! - What stands behind the last slice but belongs before one (parameter sets, SEI: H.264, 7.4.1.2.3; H.265, 7.4.2.4.4) is kept
//!   for the next unit.
//! - A slice that continues the picture which a marker has ended proves that the sender sets markers on every slice. From then on
//!   its markers mean nothing. The rest of this first picture is a unit of its own with the same time.
//!
//! A fragmented NAL unit without its end is taken as complete if no packet is missing before the next NAL unit or marker: some
//! cameras leave the end bit out. NAL units with the forbidden bit set are left out, and so are access unit delimiters and filler.
//! Start codes inside a NAL unit cut it: some cameras send what their encoder gave, several NAL units of a byte stream, as one.

use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Sink, Unit};
use bytes::{BufMut, BytesMut};
use media::codec::nal::AnnexB;
use smallvec::SmallVec;
use std::marker::PhantomData;

/// How one of the two codecs writes things.
pub(super) trait Syntax {
    /// Bytes of a NAL unit header, and of a payload header.
    const HEADER_LEN: usize;

    /// What a payload is.
    fn shape(payload: &[u8]) -> Result<Shape<'_>, Error>;

    /// The part a NAL unit of at least `HEADER_LEN` bytes has in its access unit.
    fn role(unit: &[u8]) -> Result<Role, Error>;

    /// The payload header of an aggregate of `units`.
    fn aggregate(units: &[&[u8]]) -> [u8; 2];

    /// Payload header and fragment header for a fragment of `unit`, `HEADER_LEN` + 1 bytes.
    fn fragment(unit: &[u8], start: bool, end: bool) -> [u8; 3];
}

/// What a payload is.
pub(super) enum Shape<'a> {
    /// One NAL unit.
    Single,
    /// NAL units with 16-bit lengths.
    Aggregate(&'a [u8]),
    /// A part of one.
    Fragment {
        start: bool,
        end: bool,
        /// Header of the NAL unit, of which `HEADER_LEN` bytes count.
        header: [u8; 2],
        data: &'a [u8],
    },
}

/// What a NAL unit does in an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A delimiter: an access unit begins. Not passed on.
    Delimiter,
    /// Not passed on.
    Drop,
    /// Stands before the slices of a picture.
    Lead,
    /// Stands behind them.
    Trail,
    /// A slice. `first`: the first of its picture, where that can be read.
    Slice { first: Option<bool> },
}

/// Puts access units together.
#[derive(Debug)]
pub(super) struct Assembler<S> {
    /// NAL units with 4-byte lengths.
    data: BytesMut,
    /// NAL units in `data`, and those of them behind `tail`.
    parts: usize,
    parts_behind: usize,
    /// A slice is in `data`.
    has_slice: bool,
    /// Where the last slice, and what goes with it, ends in `data`.
    tail: usize,
    /// Where the length field of the fragmented NAL unit stands that is not complete.
    fragment: Option<usize>,
    /// Of the last packet.
    timestamp: Option<i64>,
    /// Packets are thrown away until the unit ends.
    skipping: bool,
    /// Packets before the unit may be missing: its first slice must be the first of a picture.
    doubt: bool,
    /// A packet that said nothing else had a gap before it.
    gap: bool,
    /// Time of the unit that a marker ended last.
    marked: Option<i64>,
    /// Markers stand on every slice.
    markers_lie: bool,
    /// A unit without a marker ended when the time changed, and nothing was missing.
    unmarked: bool,
    /// The last packet was thrown away.
    dropped: bool,
    /// Packets since the last one that the unit at hand ends with, and those that the unit which ended last by time left behind.
    packets_behind: usize,
    held_back: usize,
    syntax: PhantomData<S>,
}

impl<S: Syntax> Assembler<S> {
    pub(super) fn new() -> Self {
        Self {
            data: BytesMut::new(),
            parts: 0,
            parts_behind: 0,
            has_slice: false,
            tail: 0,
            fragment: None,
            timestamp: None,
            skipping: false,
            doubt: true,
            gap: false,
            marked: None,
            markers_lie: false,
            unmarked: false,
            dropped: false,
            packets_behind: 0,
            held_back: 0,
            syntax: PhantomData,
        }
    }

    pub(super) fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        self.gap |= input.gap;
        // Empty packets keep a path open; they belong to no unit.
        self.held_back = 0;
        if input.payload.is_empty() {
            return Ok(());
        }
        let before = self.turn_to(input.timestamp, out);
        let result = if self.skipping {
            Ok(())
        } else {
            self.take(input.payload)
        };
        let result = match result {
            Ok(()) if input.marker && !self.skipping => self.end_fragment(),
            other => other,
        };
        if result.is_err() {
            self.drop_unit();
            self.skipping = true;
        }
        self.dropped = self.skipping;
        self.packets_behind = if self.parts_behind > 0 {
            self.packets_behind + 1
        } else {
            0
        };
        if input.marker && !self.markers_lie {
            if self.skipping {
                self.skipping = false;
                self.doubt = true;
            } else if self.has_slice {
                self.end_unit(input.timestamp, out);
                self.marked = Some(input.timestamp);
            }
        }
        before.and(result)
    }

    /// The last packet was thrown away, and with it the unit it belongs to.
    pub(super) const fn dropped(&self) -> bool {
        self.dropped
    }

    /// Packets before the last one that a unit which it ended by its time left to the next unit.
    pub(super) const fn held_back(&self) -> usize {
        self.held_back
    }

    pub(super) fn flush(&mut self, out: &mut Vec<Unit>) {
        // A sender that marks its units, or may do so, has not ended this one.
        let complete = self.markers_lie || self.unmarked && self.marked.is_none();
        if let Some(timestamp) = self.timestamp
            && complete
            && self.has_slice
            && self.fragment.is_none()
        {
            self.end_unit(timestamp, out);
        }
        *self = Self {
            markers_lie: self.markers_lie,
            ..Self::new()
        };
    }

    /// Ends or drops what came before, as far as the time of the next packet and a gap before it say so.
    fn turn_to(&mut self, timestamp: i64, out: &mut Vec<Unit>) -> Result<(), Error> {
        let gap = std::mem::take(&mut self.gap);
        let previous = self.timestamp.replace(timestamp);
        let same = previous == Some(timestamp);
        let mut result = Ok(());
        if gap {
            let lost_part = !self.data.is_empty() && same;
            self.drop_unit();
            self.skipping = lost_part || self.skipping && same;
            self.doubt = true;
        } else if let Some(previous) = previous.filter(|_| !same) {
            self.skipping = false;
            result = self.end_fragment();
            if result.is_err() {
                self.drop_unit();
            } else if self.has_slice {
                self.end_unit(previous, out);
                self.held_back = self.packets_behind;
                self.unmarked = true;
            }
            self.doubt &= !self.data.is_empty();
        }
        result
    }

    /// Takes one payload.
    fn take(&mut self, payload: &[u8]) -> Result<(), Error> {
        // A byte stream that is sent as it is. No header begins so: it would be of a type that is not used.
        if payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]) {
            self.end_fragment()?;
            return self.split(payload);
        }
        match S::shape(payload)? {
            Shape::Single => {
                self.end_fragment()?;
                self.add(payload)
            }
            Shape::Aggregate(mut rest) => {
                self.end_fragment()?;
                while !rest.is_empty() && !self.skipping {
                    let (unit, behind) = aggregated(rest)?;
                    self.add(unit)?;
                    rest = behind;
                }
                Ok(())
            }
            Shape::Fragment {
                start,
                end,
                header,
                data,
            } => {
                self.add_fragment(start, header, data)?;
                if end { self.end_fragment() } else { Ok(()) }
            }
        }
    }

    fn add(&mut self, unit: &[u8]) -> Result<(), Error> {
        // What came before may have ended the interest in this unit.
        if self.skipping {
            return Ok(());
        }
        let at = self.begin(unit.len())?;
        self.data.put_slice(unit);
        self.end(at)
    }

    fn add_fragment(&mut self, start: bool, header: [u8; 2], data: &[u8]) -> Result<(), Error> {
        let begun = if start {
            self.end_fragment()?;
            if self.skipping {
                return Ok(());
            }
            let at = self.begin(S::HEADER_LEN)?;
            self.data.put_slice(&header[..S::HEADER_LEN]);
            self.fragment = Some(at);
            at
        } else if let Some(at) = self.fragment {
            at
        } else if self.doubt {
            self.drop_unit();
            self.skipping = true;
            return Ok(());
        } else {
            return Err(Error::Orphan);
        };
        // One damaged fragment damages the whole.
        if let Some(first) = self.data.get_mut(begun + LENGTH_LEN) {
            *first |= header[0] & FORBIDDEN;
        }
        self.check_len(data.len())?;
        self.data.put_slice(data);
        Ok(())
    }

    /// Makes room for a NAL unit, of which `len` bytes are known, and returns where it begins.
    fn begin(&mut self, len: usize) -> Result<usize, Error> {
        if self.parts >= MAX_UNIT_PARTS {
            return Err(Error::TooBig {
                what: "NAL units",
                got: self.parts + 1,
                max: MAX_UNIT_PARTS,
            });
        }
        self.check_len(LENGTH_LEN + len)?;
        let at = self.data.len();
        self.data.put_u32(0);
        Ok(at)
    }

    fn check_len(&self, more: usize) -> Result<(), Error> {
        let got = self.data.len().saturating_add(more);
        if got > MAX_UNIT_LEN {
            return Err(Error::TooBig {
                what: "bytes",
                got,
                max: MAX_UNIT_LEN,
            });
        }
        Ok(())
    }

    /// Ends the NAL unit that is being put together, if one is.
    fn end_fragment(&mut self) -> Result<(), Error> {
        self.fragment.take().map_or(Ok(()), |at| self.end(at))
    }

    /// Ends the NAL unit that begins at `at` and goes to the end of `data`.
    fn end(&mut self, at: usize) -> Result<(), Error> {
        let unit = &self.data[at + LENGTH_LEN..];
        if AnnexB::new(unit).next().is_none() {
            return self.place(at);
        }
        let stream = [&[0, 0, 1], unit].concat();
        self.data.truncate(at);
        self.split(&stream)
    }

    /// Takes the NAL units of a byte stream.
    fn split(&mut self, stream: &[u8]) -> Result<(), Error> {
        for unit in AnnexB::new(stream).filter(|unit| unit.len() >= S::HEADER_LEN) {
            if self.skipping {
                break;
            }
            let at = self.begin(unit.len())?;
            self.data.put_slice(unit);
            self.place(at)?;
        }
        Ok(())
    }

    /// Gives the last NAL unit, which begins at `at`, its length and its place in the access unit.
    fn place(&mut self, at: usize) -> Result<(), Error> {
        let (length, unit) = self.data[at..].split_at_mut(LENGTH_LEN);
        if unit.len() < S::HEADER_LEN {
            return Err(Error::Truncated {
                what: "NAL unit header",
                need: S::HEADER_LEN,
                got: unit.len(),
            });
        }
        // At most MAX_UNIT_LEN.
        length.copy_from_slice(&(unit.len() as u32).to_be_bytes());
        let role = if unit[0] & FORBIDDEN != 0 {
            Role::Drop
        } else {
            S::role(unit)?
        };
        match role {
            Role::Drop => self.data.truncate(at),
            Role::Delimiter => {
                self.data.truncate(at);
                self.doubt &= at > 0;
            }
            Role::Lead => self.count(false),
            // Its picture is missing; the next one must not get it.
            Role::Trail if !self.has_slice => self.data.truncate(at),
            Role::Trail => self.count(true),
            Role::Slice { first } => {
                if !self.has_slice && first == Some(false) {
                    if self.doubt {
                        self.drop_unit();
                        self.skipping = true;
                        return Ok(());
                    }
                    self.markers_lie |= self.marked.is_some() && self.marked == self.timestamp;
                }
                self.has_slice = true;
                self.count(true);
            }
        }
        Ok(())
    }

    fn count(&mut self, ends_here: bool) {
        self.parts += 1;
        self.parts_behind += 1;
        if ends_here {
            self.tail = self.data.len();
            self.parts_behind = 0;
        }
    }

    fn end_unit(&mut self, timestamp: i64, out: &mut Vec<Unit>) {
        let data = self.data.split_to(self.tail).freeze();
        out.push(Unit { timestamp, data });
        self.tail = 0;
        self.parts = self.parts_behind;
        self.has_slice = false;
        self.doubt = false;
    }

    fn drop_unit(&mut self) {
        // Not cleared: it may have grown large for nothing.
        self.data = BytesMut::new();
        self.fragment = None;
        self.tail = 0;
        (self.parts, self.parts_behind) = (0, 0);
        self.has_slice = false;
    }
}

/// The first NAL unit of an aggregate, and what is behind it (RFC 6184, 5.7.1; RFC 7798, 4.4.2).
fn aggregated(data: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let truncated = |what, need, got| Error::Truncated { what, need, got };
    let (length, rest) =
        data.split_first_chunk()
            .ok_or(truncated("length in an aggregation packet", 2, data.len()))?;
    let len = usize::from(u16::from_be_bytes(*length));
    rest.split_at_checked(len)
        .ok_or(truncated("NAL unit in an aggregation packet", len, rest.len()))
}

/// Hands the NAL units of one frame to `sink`: together where several fit into a packet and `aggregate` allows it, alone where they
/// fit, else in fragments.
pub(super) fn pack<S: Syntax>(units: &[&[u8]], aggregate: bool, sink: &mut impl Sink) {
    let max = sink.max_payload().max(MIN_PAYLOAD);
    let mut rest = units;
    while let Some((first, behind)) = rest.split_first() {
        if first.len() > max {
            fragment::<S>(first, max, behind.is_empty(), sink);
            rest = behind;
            continue;
        }
        let count = if aggregate { fitting::<S>(rest, max) } else { 1 };
        let (now, behind) = rest.split_at(count.clamp(1, rest.len()));
        let last = behind.is_empty();
        if now.len() == 1 {
            sink.packet(last, 0, now);
        } else {
            let header = S::aggregate(now);
            // Aggregated units are shorter than their length field allows, by `fitting`.
            let lengths: SmallVec<[[u8; 2]; 8]> =
                now.iter().map(|unit| (unit.len() as u16).to_be_bytes()).collect();
            let mut parts: SmallVec<[&[u8]; 17]> = SmallVec::new();
            parts.push(&header[..S::HEADER_LEN]);
            for (length, unit) in lengths.iter().zip(now) {
                parts.extend_from_slice(&[length, unit]);
            }
            sink.packet(last, 0, &parts);
        }
        rest = behind;
    }
}

/// How many of the first units fit into one aggregate.
fn fitting<S: Syntax>(units: &[&[u8]], max: usize) -> usize {
    let mut room = max.min(usize::from(u16::MAX)) - S::HEADER_LEN;
    units
        .iter()
        .take_while(|unit| {
            let left = room.checked_sub(2 + unit.len());
            room = left.unwrap_or(room);
            left.is_some()
        })
        .count()
}

/// Fragments of a unit that is longer than `max`, so at least two.
fn fragment<S: Syntax>(unit: &[u8], max: usize, last: bool, sink: &mut impl Sink) {
    let body = &unit[S::HEADER_LEN..];
    let mut chunks = body.chunks(max - S::HEADER_LEN - 1).peekable();
    let mut start = true;
    while let Some(chunk) = chunks.next() {
        let end = chunks.peek().is_none();
        let header = S::fragment(unit, start, end);
        sink.packet(last && end, 0, &[&header[..=S::HEADER_LEN], chunk]);
        start = false;
    }
}

/// Bytes of the length before each NAL unit.
const LENGTH_LEN: usize = 4;
/// `forbidden_zero_bit` of both codecs: set where a network element found damage (RFC 6184, 1.3).
const FORBIDDEN: u8 = 0x80;
/// Payloads of fewer bytes are not made, whatever a sink says; it promises at least 100.
const MIN_PAYLOAD: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{h264, h265};
    use bytes::Bytes;
    use media::codec::nal::{LengthPrefixed, put};
    use media::{Frame, MediaTime, TrackId};
    use proptest::prelude::*;

    /// The two codecs behind one door.
    #[derive(Clone, Copy, Debug)]
    enum Codec {
        H264,
        H265,
    }

    impl Codec {
        fn header(self, kind: Kind) -> &'static [u8] {
            match (self, kind) {
                (Self::H264, Kind::Sps) => &[0x67],
                (Self::H264, Kind::Pps) => &[0x68],
                (Self::H264, Kind::Sei) => &[0x06],
                (Self::H264, Kind::Key) => &[0x65],
                (Self::H264, Kind::Slice) => &[0x41],
                (Self::H264, Kind::Trail) => &[0x0a],
                (Self::H265, Kind::Sps) => &[0x42, 1],
                (Self::H265, Kind::Pps) => &[0x44, 1],
                (Self::H265, Kind::Sei) => &[0x4e, 1],
                (Self::H265, Kind::Key) => &[0x26, 1],
                (Self::H265, Kind::Slice) => &[0x02, 2],
                (Self::H265, Kind::Trail) => &[0x50, 1],
            }
        }

        /// A NAL unit with `len` bytes behind its header; none of them is 0, and the first tells whether a slice is the first.
        fn unit(self, kind: Kind, len: usize, first: bool, seed: u8) -> Vec<u8> {
            let mut unit = self.header(kind).to_vec();
            unit.extend((0..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed) | 1));
            if let Some(byte) = unit.get_mut(self.header(kind).len()) {
                *byte = if first { *byte | 0x80 } else { *byte & 0x7f };
            }
            unit
        }

        fn pack(self, options: Packing, frames: &[Frame], max: usize) -> Vec<Sent> {
            let mut sink = Wire {
                max,
                timestamp: 0,
                sent: Vec::new(),
            };
            let (mut avc, mut hevc) = (
                h264::Packer::new(h264::Options {
                    stap_a: options.aggregate,
                }),
                h265::Packer::new(h265::Options {
                    aggregate: options.aggregate,
                }),
            );
            if options.config {
                avc.set_config(&config(Self::H264));
                hevc.set_config(&config(Self::H265));
            }
            for frame in frames {
                sink.timestamp = frame.pts.as_ticks(90_000);
                match self {
                    Self::H264 => avc.pack(frame, &mut sink),
                    Self::H265 => hevc.pack(frame, &mut sink),
                }
            }
            sink.sent
        }
    }

    /// A record with parameter sets that no generated frame has.
    fn config(codec: Codec) -> Bytes {
        match codec {
            Codec::H264 => Bytes::from_static(&[1, 66, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 2, 1, 0, 2, 0x68, 2]),
            Codec::H265 => {
                let mut record = vec![1; 21];
                record.extend([3, 3]);
                for header in [0x40, 0x42, 0x44] {
                    record.extend([header >> 1, 0, 1, 0, 3, header, 1, 2]);
                }
                record.into()
            }
        }
    }

    fn config_sets(codec: Codec) -> Vec<Vec<u8>> {
        match codec {
            Codec::H264 => vec![vec![0x67, 2], vec![0x68, 2]],
            Codec::H265 => vec![vec![0x40, 1, 2], vec![0x42, 1, 2], vec![0x44, 1, 2]],
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Sps,
        Pps,
        Sei,
        Key,
        Slice,
        Trail,
    }

    #[derive(Clone, Copy, Debug)]
    struct Packing {
        aggregate: bool,
        config: bool,
    }

    #[derive(Clone, Debug)]
    struct Sent {
        marker: bool,
        timestamp: i64,
        payload: Bytes,
    }

    struct Wire {
        max: usize,
        timestamp: i64,
        sent: Vec<Sent>,
    }

    impl Sink for Wire {
        fn max_payload(&self) -> usize {
            self.max
        }

        fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]) {
            assert_eq!(offset, 0);
            let (timestamp, payload) = (self.timestamp, parts.concat().into());
            self.sent.push(Sent {
                marker,
                timestamp,
                payload,
            });
        }
    }

    #[derive(Debug)]
    enum Unpacker {
        H264(h264::Unpacker),
        H265(h265::Unpacker),
    }

    impl Unpacker {
        fn new(codec: Codec) -> Self {
            match codec {
                Codec::H264 => Self::H264(h264::Unpacker::new()),
                Codec::H265 => Self::H265(h265::Unpacker::new()),
            }
        }

        fn push(&mut self, sent: &Sent, gap: bool, out: &mut Vec<Unit>) -> Result<(), Error> {
            let Sent {
                marker,
                timestamp,
                ref payload,
            } = *sent;
            let input = Input {
                payload,
                marker,
                timestamp,
                gap,
            };
            match self {
                Self::H264(unpacker) => unpacker.push(input, out),
                Self::H265(unpacker) => unpacker.push(input, out),
            }
        }

        fn flush(&mut self, out: &mut Vec<Unit>) {
            match self {
                Self::H264(unpacker) => unpacker.flush(out),
                Self::H265(unpacker) => unpacker.flush(out),
            }
        }
    }

    /// Sends what `frames` consist of without loss.
    fn unpack(codec: Codec, sent: &[Sent]) -> Vec<Unit> {
        let mut unpacker = Unpacker::new(codec);
        let mut out = Vec::new();
        for packet in sent {
            unpacker.push(packet, false, &mut out).unwrap();
        }
        unpacker.flush(&mut out);
        out
    }

    fn packet(timestamp: i64, marker: bool, payload: &[u8]) -> Sent {
        Sent {
            marker,
            timestamp,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn framed<U: AsRef<[u8]>>(units: &[U]) -> Bytes {
        let mut data = BytesMut::new();
        units.iter().for_each(|unit| put(unit.as_ref(), &mut data));
        data.freeze()
    }

    fn unit<U: AsRef<[u8]>>(timestamp: i64, units: &[U]) -> Unit {
        Unit {
            timestamp,
            data: framed(units),
        }
    }

    fn frame(number: usize, key: bool, units: &[Vec<u8>]) -> Frame {
        let time = MediaTime::from_ticks(number as i64 * 3_600, 90_000);
        let data = framed(units);
        Frame {
            track: TrackId(0),
            dts: time,
            pts: time,
            key,
            data,
            wire: None,
        }
    }

    const SPS: &[u8] = &[0x67, 1, 1];
    const PPS: &[u8] = &[0x68, 1];
    const SEI: &[u8] = &[6, 5, 1, 1];
    const IDR: &[u8] = &[0x65, 0x88, 1];
    const FIRST: &[u8] = &[0x41, 0x9a, 1];
    const SECOND: &[u8] = &[0x41, 0x1a, 2];

    #[test]
    fn a_unit_ends_at_the_marker_without_waiting() {
        let mut unpacker = Unpacker::new(Codec::H264);
        let mut out = Vec::new();
        unpacker.push(&packet(0, false, SPS), false, &mut out).unwrap();
        assert_eq!(out, []);
        unpacker.push(&packet(0, true, IDR), false, &mut out).unwrap();
        assert_eq!(out, [unit(0, &[SPS, IDR])]);
    }

    #[test]
    fn a_marker_on_parameter_sets_ends_nothing() {
        let sent = [packet(0, true, SPS), packet(0, true, PPS), packet(0, true, IDR)];
        assert_eq!(unpack(Codec::H264, &sent), [unit(0, &[SPS, PPS, IDR])]);
    }

    #[test]
    fn parameter_sets_with_the_time_before_belong_to_the_next_picture() {
        // With the marker of the picture before, and without markers.
        for marker in [true, false] {
            let sent = [
                packet(0, marker, FIRST),
                packet(0, false, SPS),
                packet(0, marker, PPS),
                packet(0, false, SEI),
                packet(3_600, marker, IDR),
                packet(7_200, marker, FIRST),
            ];
            assert_eq!(
                unpack(Codec::H264, &sent),
                [
                    unit(0, &[FIRST]),
                    unit(3_600, &[SPS, PPS, SEI, IDR]),
                    unit(7_200, &[FIRST])
                ]
            );
        }
    }

    #[test]
    fn markers_on_every_slice_are_ignored_once_they_are_known() {
        let picture = |time| {
            [
                packet(time, true, FIRST),
                packet(time, true, SECOND),
                packet(time, true, SECOND),
            ]
        };
        let sent = [picture(0), picture(3_600), picture(7_200)].concat();
        assert_eq!(
            unpack(Codec::H264, &sent),
            [
                unit(0, &[FIRST]),
                unit(0, &[SECOND, SECOND]),
                unit(3_600, &[FIRST, SECOND, SECOND]),
                unit(7_200, &[FIRST, SECOND, SECOND]),
            ]
        );
    }

    #[test]
    fn two_pictures_with_one_time_stay_two_units() {
        let sent = [
            packet(0, true, FIRST),
            packet(0, true, FIRST),
            packet(0, true, FIRST),
        ];
        assert_eq!(unpack(Codec::H264, &sent).len(), 3);
    }

    #[test]
    fn fragments_without_an_end_bit_are_complete_when_the_next_unit_follows() {
        let sent = [
            packet(0, false, &[0x7c, 0x85, 0x88, 1]),
            packet(0, false, &[0x7c, 0x05, 2]),
            packet(0, false, &[0x7c, 0x85, 0x08]),
            packet(0, true, &[0x7c, 0x05, 3]),
            packet(3_600, true, FIRST),
        ];
        assert_eq!(
            unpack(Codec::H264, &sent),
            [
                unit(0, &[&[0x65, 0x88, 1, 2][..], &[0x65, 0x08, 3]]),
                unit(3_600, &[FIRST])
            ]
        );
        // Start and end in one fragment.
        assert_eq!(
            unpack(Codec::H264, &[packet(0, true, &[0x7c, 0xc5, 0x88, 1])]),
            [unit(0, &[IDR])]
        );
    }

    #[test]
    fn start_codes_cut_a_unit() {
        let whole = [SPS, &[0, 0, 0, 1], PPS, &[0, 0, 1], IDR, &[0]].concat();
        let expected = [unit(0, &[SPS, PPS, IDR])];
        assert_eq!(unpack(Codec::H264, &[packet(0, true, &whole)]), expected);
        let with_first = [&[0, 0, 0, 1], &whole[..]].concat();
        assert_eq!(unpack(Codec::H264, &[packet(0, true, &with_first)]), expected);
        // A start code that lies in two fragments.
        let sent = [
            packet(0, false, &[&[0x7c, 0x87], &SPS[1..], &[0, 0]].concat()),
            packet(0, true, &[&[0x7c, 0x47, 0, 1], PPS, &[0, 0, 1], IDR].concat()),
        ];
        assert_eq!(unpack(Codec::H264, &sent), expected);
    }

    #[test]
    fn delimiters_filler_and_damaged_units_are_left_out() {
        let sent = [
            packet(0, false, &[9, 0xf0]),
            packet(0, false, &[0x86, 1, 1]),
            packet(0, false, IDR),
            packet(0, true, &[12, 0xff, 0x80]),
        ];
        assert_eq!(unpack(Codec::H264, &sent), [unit(0, &[IDR])]);
    }

    #[test]
    fn examples_of_aggregates_and_fragments_of_h265() {
        let sent = [
            packet(
                0,
                false,
                &[0x60, 1, 0, 3, 0x40, 1, 2, 0, 3, 0x42, 1, 2, 0, 3, 0x44, 1, 2],
            ),
            packet(0, false, &[0x62, 1, 0x93, 0xaf, 1]),
            packet(0, true, &[0x62, 1, 0x53, 2]),
        ];
        let expected: [&[u8]; 4] = [
            &[0x40, 1, 2],
            &[0x42, 1, 2],
            &[0x44, 1, 2],
            &[0x26, 1, 0xaf, 1, 2],
        ];
        assert_eq!(unpack(Codec::H265, &sent), [unit(0, &expected)]);
    }

    #[test]
    fn what_is_not_supported_costs_its_unit_only() {
        let nested = [24, 0, 3, 24, 0, 1];
        for (codec, bad) in [
            (Codec::H264, &[25, 0, 0, 0, 2, 0x65, 0x88][..]),
            (Codec::H264, &[26, 0, 0, 0, 2, 0x65, 0x88]),
            (Codec::H264, &[29, 0x85, 0, 0, 1]),
            (Codec::H264, &nested),
            (Codec::H264, &[28]),
            (Codec::H264, &[24, 0, 9, 0x65]),
            (Codec::H264, &[0, 1, 2]),
            (Codec::H265, &[100, 1, 0, 0, 1]),
            (Codec::H265, &[0x60, 1, 0, 3, 0x60, 1, 0]),
            (Codec::H265, &[0x62, 1]),
            (Codec::H265, &[0x26]),
        ] {
            let slice = codec.unit(Kind::Key, 10, true, 3);
            let mut unpacker = Unpacker::new(codec);
            let mut out = Vec::new();
            let mut push = |sent: Sent| unpacker.push(&sent, false, &mut out);
            push(packet(0, true, &slice)).unwrap();
            assert!(push(packet(1, false, bad)).is_err(), "{bad:?}");
            push(packet(1, true, &slice)).unwrap();
            push(packet(2, true, &slice)).unwrap();
            assert_eq!(out, [unit(0, &[&slice]), unit(2, &[&slice])]);
        }
    }

    #[test]
    fn a_fragment_that_continues_nothing_is_an_error_only_where_nothing_is_missing() {
        let mut unpacker = Unpacker::new(Codec::H264);
        let mut out = Vec::new();
        let middle = [0x7c, 0x05, 2];
        assert_eq!(unpacker.push(&packet(0, true, &middle), false, &mut out), Ok(()));
        assert_eq!(unpacker.push(&packet(1, true, IDR), false, &mut out), Ok(()));
        assert_eq!(unpacker.push(&packet(2, true, &middle), true, &mut out), Ok(()));
        assert_eq!(
            unpacker.push(&packet(3, true, &middle), false, &mut out),
            Err(Error::Orphan)
        );
        assert_eq!(out, [unit(1, &[IDR])]);
    }

    #[test]
    fn a_gap_between_units_costs_no_unit() {
        let mut unpacker = Unpacker::new(Codec::H264);
        let mut out = Vec::new();
        unpacker.push(&packet(0, true, IDR), false, &mut out).unwrap();
        unpacker.push(&packet(2, true, FIRST), true, &mut out).unwrap();
        // The beginning of the next picture is missing.
        unpacker.push(&packet(4, false, SECOND), true, &mut out).unwrap();
        unpacker.push(&packet(4, true, SECOND), false, &mut out).unwrap();
        unpacker.push(&packet(5, true, FIRST), false, &mut out).unwrap();
        assert_eq!(out, [unit(0, &[IDR]), unit(2, &[FIRST]), unit(5, &[FIRST])]);
    }

    #[test]
    fn the_end_of_a_source_ends_a_unit_only_where_markers_are_not_used() {
        let unmarked = [packet(0, false, FIRST), packet(1, false, FIRST)];
        assert_eq!(
            unpack(Codec::H264, &unmarked),
            [unit(0, &[FIRST]), unit(1, &[FIRST])]
        );
        let cut = [packet(0, true, FIRST), packet(1, false, FIRST)];
        assert_eq!(unpack(Codec::H264, &cut), [unit(0, &[FIRST])]);
        assert_eq!(unpack(Codec::H264, &unmarked[..1]), []);
        let fragment = [&unmarked[..], &[packet(2, false, &[0x7c, 0x85, 0x88, 1])]].concat();
        assert_eq!(unpack(Codec::H264, &fragment).len(), 2);
    }

    #[test]
    fn what_stood_behind_a_lost_picture_does_not_move_to_the_next() {
        let mut unpacker = Unpacker::new(Codec::H264);
        let mut out = Vec::new();
        unpacker.push(&packet(0, true, &[10]), true, &mut out).unwrap();
        unpacker.push(&packet(1, true, IDR), false, &mut out).unwrap();
        assert_eq!(out, [unit(1, &[IDR])]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut unpacker = Unpacker::new(Codec::H264);
        let mut out = Vec::new();
        let mut fragment = vec![1; 60_000];
        fragment[..3].copy_from_slice(&[0x7c, 0x85, 0x88]);
        let mut result = unpacker.push(&packet(0, false, &fragment), false, &mut out);
        fragment[1] = 0x05;
        for _ in 0..MAX_UNIT_LEN / 60_000 {
            result = result.and(unpacker.push(&packet(0, false, &fragment), false, &mut out));
        }
        assert!(
            matches!(result, Err(Error::TooBig { what: "bytes", .. })),
            "{result:?}"
        );

        let many = [&[24][..], &[0, 2, 6, 5].repeat(MAX_UNIT_PARTS + 1)].concat();
        let result = unpacker.push(&packet(1, false, &many), false, &mut out);
        assert!(
            matches!(
                result,
                Err(Error::TooBig {
                    what: "NAL units",
                    ..
                })
            ),
            "{result:?}"
        );
        assert_eq!(out, []);
    }

    #[test]
    fn headers_of_aggregates_and_fragments_are_those_of_the_rfcs() {
        let big = [&[0x65, 0x88][..], &[1; 150]].concat();
        let units = [vec![0x67, 1], vec![0x06, 5, 1], big];
        let options = Packing {
            aggregate: true,
            config: false,
        };
        let sent = Codec::H264.pack(options, &[frame(0, true, &units)], 100);
        assert_eq!(sent[0].payload, [0x78, 0, 2, 0x67, 1, 0, 3, 0x06, 5, 1][..]);
        assert_eq!(
            (sent[1].payload[..3].to_vec(), sent[1].payload.len()),
            (vec![0x7c, 0x85, 0x88], 100)
        );
        assert_eq!(sent[2].payload[..3], [0x7c, 0x45, 1]);
        assert_eq!(
            sent.iter().map(|sent| sent.marker).collect::<Vec<_>>(),
            [false, false, true]
        );

        let big = [&[0x26, 1, 0xaf][..], &[1; 150]].concat();
        let units = [vec![0x42, 2, 1], vec![0x4e, 1, 5], big];
        let sent = Codec::H265.pack(options, &[frame(0, true, &units)], 100);
        assert_eq!(sent[0].payload, [0x60, 1, 0, 3, 0x42, 2, 1, 0, 3, 0x4e, 1, 5][..]);
        assert_eq!(sent[1].payload[..4], [0x62, 1, 0x93, 0xaf]);
        assert_eq!(sent[2].payload[..4], [0x62, 1, 0x53, 1]);
    }

    prop_compose! {
        /// NAL units of a frame: parameter sets or SEI, slices, and sometimes what stands behind them. `least` bytes behind headers.
        fn units(codec: Codec, least: usize)(
            key: bool,
            sets: bool,
            sei in prop::collection::vec(least..200usize, 0..3),
            slices in prop::collection::vec(prop_oneof![least..120usize, least..20_000usize], 1..4),
            trail: bool,
            seed: u8,
        ) -> (bool, Vec<Vec<u8>>) {
            let mut units = Vec::new();
            if sets && key {
                units.push(codec.unit(Kind::Sps, 20, false, seed));
                units.push(codec.unit(Kind::Pps, 5, false, seed));
            }
            units.extend(sei.iter().map(|len| codec.unit(Kind::Sei, *len, false, seed)));
            let kind = if key { Kind::Key } else { Kind::Slice };
            for (at, len) in slices.iter().enumerate() {
                units.push(codec.unit(kind, *len, at == 0, seed.wrapping_add(at as u8)));
            }
            if trail {
                units.push(codec.unit(Kind::Trail, 2, false, seed));
            }
            (key, units)
        }
    }

    /// Frames: whether each is a key frame, and its NAL units.
    type Spec = Vec<(bool, Vec<Vec<u8>>)>;

    fn stream(codec: Codec, least: usize) -> impl Strategy<Value = (Codec, Spec)> {
        prop::collection::vec(units(codec, least), 1..6).prop_map(move |frames| (codec, frames))
    }

    fn any_stream(least: usize) -> impl Strategy<Value = (Codec, Spec)> {
        prop_oneof![stream(Codec::H264, least), stream(Codec::H265, least)]
    }

    fn frames(spec: &[(bool, Vec<Vec<u8>>)]) -> Vec<Frame> {
        spec.iter()
            .enumerate()
            .map(|(number, (key, units))| frame(number, *key, units))
            .collect()
    }

    fn list(data: &[u8]) -> Vec<&[u8]> {
        LengthPrefixed::new(data, 4).map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_packed_is_unpacked(
            (codec, spec) in any_stream(0), max in prop_oneof![100usize..300, 1_000usize..70_000],
            aggregate: bool, config: bool,
        ) {
            let sent = codec.pack(Packing { aggregate, config }, &frames(&spec), max);
            prop_assert!(sent.iter().all(|sent| sent.payload.len() <= max));
            let units = unpack(codec, &sent);
            prop_assert_eq!(units.len(), spec.len());
            prop_assert_eq!(sent.iter().filter(|sent| sent.marker).count(), spec.len());
            for (number, (got, (key, expected))) in units.iter().zip(&spec).enumerate() {
                let mut expected = expected.clone();
                // The generated frames of H.265 have no VPS, so they never carry all sets.
                let carried = matches!(codec, Codec::H264) && expected[0][0] == 0x67;
                if config && *key && !carried {
                    expected.splice(0..0, config_sets(codec));
                }
                prop_assert_eq!(got.timestamp, number as i64 * 3_600);
                prop_assert_eq!(list(&got.data), expected);
            }
        }

        #[test]
        fn loss_never_gives_a_damaged_picture(
            (codec, spec) in any_stream(1), max in prop_oneof![100usize..300, 1_000usize..2_000],
            aggregate: bool, lost in prop::collection::vec(0u8..8, 1..300),
        ) {
            let sent = codec.pack(Packing { aggregate, config: false }, &frames(&spec), max);
            let mut unpacker = Unpacker::new(codec);
            let mut out = Vec::new();
            let mut gap = false;
            let mut intact = vec![true; spec.len()];
            for (sent, lost) in sent.iter().zip(lost.iter().cycle()) {
                if *lost == 0 {
                    gap = true;
                    intact[(sent.timestamp / 3_600) as usize] = false;
                } else {
                    prop_assert_eq!(unpacker.push(sent, std::mem::take(&mut gap), &mut out), Ok(()));
                }
            }
            unpacker.flush(&mut out);
            let mut expected = spec.iter().enumerate();
            for unit in &out {
                let got = list(&unit.data);
                let (_, (_, original)) = expected
                    .find(|(number, _)| *number as i64 * 3_600 == unit.timestamp)
                    .expect("units come in order, each once");
                // What is missing stood before the first slice.
                let lead = original.len() - got.len();
                prop_assert_eq!(&got, &original[lead..]);
                let roles = |unit: &Vec<u8>| match codec {
                    Codec::H264 => matches!(unit[0] & 0x1f, 1 | 5),
                    Codec::H265 => unit[0] >> 1 < 32,
                };
                prop_assert!(!original[..lead].iter().any(roles));
            }
            // A unit that lost nothing comes.
            for (number, _) in intact.iter().enumerate().filter(|(_, intact)| **intact) {
                let time = number as i64 * 3_600;
                let whole = unit(time, &spec[number].1);
                prop_assert!(out.contains(&whole), "unit {} lost nothing", number);
            }
        }

        #[test]
        fn no_payloads_break_it(
            hevc: bool,
            packets in prop::collection::vec(
                (
                    prop::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..40),
                    prop_oneof![Just(None), (0u8..4).prop_map(Some)],
                    any::<bool>(), 0i64..4, any::<bool>(),
                ),
                0..60,
            ),
        ) {
            let codec = if hevc { Codec::H265 } else { Codec::H264 };
            let mut unpacker = Unpacker::new(codec);
            let mut out = Vec::new();
            for (mut payload, kind, marker, timestamp, gap) in packets {
                // Types that get far.
                if let (Some(first), Some(kind)) = (payload.first_mut(), kind) {
                    let (avc, hevc) = ([24, 28, 65, 28][kind as usize], [96, 98, 2, 98][kind as usize]);
                    *first = if matches!(codec, Codec::H265) { hevc } else { avc };
                }
                let _ = unpacker.push(&packet(timestamp, marker, &payload), gap, &mut out);
            }
            unpacker.flush(&mut out);
            for unit in &out {
                prop_assert!(!unit.data.is_empty());
                prop_assert!(LengthPrefixed::new(&unit.data, 4).all(|unit| unit.is_ok()));
            }
        }

        #[test]
        fn any_frame_can_be_packed(data in prop::collection::vec(any::<u8>(), 0..300), key: bool, hevc: bool) {
            let codec = if hevc { Codec::H265 } else { Codec::H264 };
            let mut frame = frame(0, key, &[]);
            frame.data = data.into();
            let sent = codec.pack(Packing { aggregate: true, config: true }, &[frame], 100);
            prop_assert!(sent.iter().all(|sent| sent.payload.len() <= 100));
        }
    }
}
