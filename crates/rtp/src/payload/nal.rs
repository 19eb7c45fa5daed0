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

use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Sink, Unit, bound};
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
        bound("bytes", self.data.len() + data.len(), MAX_UNIT_LEN)?;
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
        bound("bytes", self.data.len() + LENGTH_LEN + len, MAX_UNIT_LEN)?;
        let at = self.data.len();
        self.data.put_u32(0);
        Ok(at)
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
mod tests;
