//! AV1 (RTP Payload Format For AV1, version 1.0, of the Alliance for Open Media).
//!
//! A packet holds an aggregation header and OBU elements: whole OBUs, except that the first may be the rest of one and the last the
//! beginning of one (4.4).
//!
//! ```text
//!      0 1 2 3 4 5 6 7
//!     +-+-+-+-+-+-+-+-+
//!     |Z|Y| W |N|-|-|-|  Z: continues, Y: will be continued, N: begins a coded video sequence
//!     +-+-+-+-+-+-+-+-+  W: number of elements, of which the last has no length; 0: any number, all with lengths
//! ```

use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Sink, State, Unit, bound};
use bytes::Bytes;
use media::codec::av1::{
    OBU_FRAME, OBU_FRAME_HEADER, OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, Obu, Obus,
};
use smallvec::SmallVec;

/// Puts temporal units together, in the low-overhead format without temporal delimiters.
#[derive(Debug, Default)]
pub struct Unpacker {
    state: State,
    /// Of the packet before.
    timestamp: i64,
    /// The whole OBUs of the unit so far, with sizes.
    unit: Vec<u8>,
    /// How many they are. At most [`MAX_UNIT_PARTS`].
    obus: usize,
    /// The OBU that will be continued, if Y was set. Together with `unit` at most [`MAX_UNIT_LEN`].
    fragment: Option<Vec<u8>>,
}

impl Unpacker {
    /// Before the first packet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet. Units that end with it, or ended before it, are appended to `out`.
    ///
    /// After a gap a packet begins a unit if N is set, or if it starts with an OBU that can be the first of one. A unit of several
    /// frames that lost the first of them whole can look like that; no field of the format would tell.
    ///
    /// # Errors
    ///
    /// The packet is malformed, makes the unit larger than [`MAX_UNIT_LEN`] or [`MAX_UNIT_PARTS`], or is the first of a unit that
    /// lacks its beginning. The unit it belongs to is dropped.
    pub fn push(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        let mut result = self.take(input, out);
        if input.marker && result.is_ok() && self.fragment.is_some() {
            result = Err(Error::Value {
                what: "Y of the last packet of a temporal unit",
                got: 1,
                allowed: "must be 0, a packet has OBUs of one temporal unit (5)",
            });
        }
        if result.is_err() {
            self.skip();
        }
        if input.marker {
            self.flush(out);
        }
        result
    }

    /// Ends the unit at hand, for nothing follows. Not to be called if packets are missing after the last one: a unit without its
    /// end may look like one from a sender that sets no marker.
    pub fn flush(&mut self, out: &mut Vec<Unit>) {
        if self.state == State::Taking && self.fragment.is_none() && !self.unit.is_empty() {
            out.push(Unit {
                timestamp: self.timestamp,
                data: Bytes::copy_from_slice(&self.unit),
            });
        }
        self.clear();
        self.state = State::Between;
    }

    /// Nothing is held, or what comes is thrown away until the next one begins.
    pub(super) fn is_idle(&self) -> bool {
        self.state != State::Taking
    }

    fn take(&mut self, input: Input<'_>, out: &mut Vec<Unit>) -> Result<(), Error> {
        if input.gap && self.state == State::Taking {
            // What is missing may be its end.
            self.skip();
        }
        if input.timestamp != self.timestamp {
            self.flush(out);
            self.timestamp = input.timestamp;
        } else if input.gap && self.state == State::Between {
            // After the end of a unit comes another time, so this is no beginning.
            self.state = State::Skipping;
        }
        if self.state == State::Skipping {
            return Ok(());
        }
        let packet = Aggregate::parse(input.payload)?;
        if self.state == State::Between {
            if packet.continues || input.gap && !packet.begins_unit() {
                return Err(Error::Orphan);
            }
            self.state = State::Taking;
        }
        self.elements(&packet)
    }

    fn elements(&mut self, packet: &Aggregate<'_>) -> Result<(), Error> {
        let last = packet.elements.len().saturating_sub(1);
        for (index, element) in packet.elements.iter().enumerate() {
            let continued = packet.continued && index == last;
            let continues = packet.continues && index == 0;
            match (self.fragment.take(), continues) {
                (Some(mut fragment), true) => {
                    bound(
                        "bytes",
                        self.unit.len() + fragment.len() + element.len(),
                        MAX_UNIT_LEN,
                    )?;
                    fragment.extend_from_slice(element);
                    if continued {
                        self.fragment = Some(fragment);
                    } else {
                        self.add(&fragment)?;
                    }
                }
                (None, true) => return Err(Error::Orphan),
                (Some(_), false) => {
                    return Err(Error::Value {
                        what: "Z after a packet with Y",
                        got: 0,
                        allowed: "must be 1, the OBU is continued (4.4)",
                    });
                }
                (None, false) if continued => {
                    bound("bytes", self.unit.len() + element.len(), MAX_UNIT_LEN)?;
                    self.fragment = Some(element.to_vec());
                }
                (None, false) => self.add(element)?,
            }
        }
        Ok(())
    }

    /// Adds a whole element: an OBU. One with a size field (which it should not have) may be followed by others.
    fn add(&mut self, element: &[u8]) -> Result<(), Error> {
        for obu in Obus::new(element) {
            let obu = obu.map_err(|_| Error::Value {
                what: "OBU header",
                got: element.first().copied().unwrap_or_default().into(),
                allowed: "the forbidden bit is 0 and the OBU as long as obu_size says (AV1, 5.3)",
            })?;
            if !is_sent(obu.kind) {
                continue;
            }
            if self.obus == MAX_UNIT_PARTS {
                return Err(Error::TooBig {
                    what: "OBUs",
                    got: self.obus + 1,
                    max: MAX_UNIT_PARTS,
                });
            }
            bound(
                "bytes",
                self.unit.len() + obu.whole.len() + MAX_SIZE_LEN,
                MAX_UNIT_LEN,
            )?;
            self.obus += 1;
            let head = Head::of(&obu);
            let (size, size_len) = leb128(obu.payload.len());
            self.unit.push(head.bytes[0] | HAS_SIZE);
            self.unit.extend_from_slice(&head.bytes[1..head.len]);
            self.unit.extend_from_slice(&size[..size_len]);
            self.unit.extend_from_slice(obu.payload);
        }
        Ok(())
    }

    fn skip(&mut self) {
        self.clear();
        self.state = State::Skipping;
    }

    fn clear(&mut self) {
        self.unit.clear();
        self.obus = 0;
        self.fragment = None;
    }
}

/// A packet, taken apart.
#[derive(Debug)]
struct Aggregate<'a> {
    /// Z.
    continues: bool,
    /// Y.
    continued: bool,
    /// N.
    new_sequence: bool,
    elements: SmallVec<[&'a [u8]; 8]>,
}

impl<'a> Aggregate<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, Error> {
        let Some((&header, mut rest)) = payload.split_first() else {
            return Err(Error::Truncated {
                what: "AV1 aggregation header",
                need: 1,
                got: 0,
            });
        };
        let mut packet = Self {
            continues: header & Z != 0,
            continued: header & Y != 0,
            new_sequence: header & N != 0,
            elements: SmallVec::new(),
        };
        if packet.continues && packet.new_sequence {
            return Err(Error::Value {
                what: "AV1 aggregation header",
                got: header.into(),
                allowed: "with N the first OBU cannot be a fragment that continues (4.4)",
            });
        }
        let count = usize::from(header >> W_SHIFT & 3);
        while !rest.is_empty() || packet.elements.len() < count {
            if packet.elements.len() == MAX_UNIT_PARTS {
                return Err(Error::TooBig {
                    what: "OBU elements",
                    got: packet.elements.len() + 1,
                    max: MAX_UNIT_PARTS,
                });
            }
            if packet.elements.len() + 1 == count {
                packet.elements.push(rest);
                break;
            }
            let (len, len_len) = read_leb128(rest).ok_or(Error::Truncated {
                what: "length of an OBU element",
                need: rest.len() + 1,
                got: rest.len(),
            })?;
            let (_, behind) = rest.split_at(len_len);
            let (element, behind) = behind.split_at_checked(len).ok_or(Error::Truncated {
                what: "OBU element",
                need: len,
                got: behind.len(),
            })?;
            packet.elements.push(element);
            rest = behind;
        }
        Ok(packet)
    }

    /// Whether a packet that does not continue an OBU is the first of its unit, judged by itself.
    fn begins_unit(&self) -> bool {
        if self.new_sequence {
            return true;
        }
        // Everything of the base layer precedes the upper layers.
        if self.elements.iter().any(|element| spatial_layer(element) > 0) {
            return false;
        }
        let Some((header, mut behind)) = self.elements.first().and_then(|element| element.split_first())
        else {
            return false;
        };
        // Not by `Obus`: a fragment is shorter than its size field says.
        if header & HAS_EXTENSION != 0 {
            behind = behind.get(1..).unwrap_or_default();
        }
        if header & HAS_SIZE != 0 {
            let size_len = read_leb128(behind).map_or(0, |(_, len)| len);
            behind = &behind[size_len..];
        }
        match header >> 3 & 0xf {
            // A sequence header and so N belong before a shown key frame: the first 4 bits of its header are 0001 (AV1, 5.9.2).
            OBU_FRAME | OBU_FRAME_HEADER => behind.first().is_some_and(|byte| byte >> 4 != 1),
            OBU_TILE_GROUP | OBU_REDUNDANT_FRAME_HEADER | OBU_TILE_LIST => false,
            _ => true,
        }
    }
}

/// `spatial_id` of an OBU; 0 without extension (AV1, 5.3.3).
fn spatial_layer(obu: &[u8]) -> u8 {
    match obu {
        [header, extension, ..] if header & HAS_EXTENSION != 0 => extension >> 3 & 3,
        _ => 0,
    }
}

/// Whether OBUs of a type are carried (5). Padding may be, but says nothing.
fn is_sent(kind: u8) -> bool {
    !matches!(kind, OBU_TEMPORAL_DELIMITER | OBU_TILE_LIST | OBU_PADDING)
}

/// Cuts temporal units into packets. OBUs go without size field. All packets of a unit are full but the last. None but the first
/// starts with a whole OBU, so that the first is known by its Z; where the spatial layer changes, which packets may not share, and
/// at a sequence header it cannot be helped.
#[derive(Debug, Default)]
pub struct Packer {
    /// `configOBUs`.
    config: Bytes,
}

impl Packer {
    /// Without configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an `av1C`. Its OBUs are sent before key frames without sequence header.
    pub fn set_config(&mut self, record: &[u8]) {
        self.config = Bytes::copy_from_slice(record.get(CONFIG_HEAD_LEN..).unwrap_or_default());
    }

    /// Hands the packets of a temporal unit to `sink`. None, if there are no OBUs in it, or none as long as their sizes say.
    pub fn pack(&mut self, frame: &media::Frame, sink: &mut impl Sink) {
        let mut obus: SmallVec<[Obu<'_>; 16]> = SmallVec::new();
        for obu in Obus::new(&frame.data) {
            match obu {
                Ok(obu) if is_sent(obu.kind) => obus.push(obu),
                Ok(_) => {}
                Err(_) => return,
            }
        }
        if obus.is_empty() {
            return;
        }
        if frame.key && obus.iter().all(|obu| obu.kind != OBU_SEQUENCE_HEADER) {
            let config = Obus::new(&self.config).map_while(Result::ok);
            obus.insert_many(0, config.filter(|obu| is_sent(obu.kind)));
        }
        let mut packet = Packet::new(frame.key, sink);
        for (index, obu) in obus.iter().enumerate() {
            packet.add(obu, obus.get(index + 1));
        }
        packet.end(true);
    }
}

/// A packet that is being filled, and those after it.
struct Packet<'a, 's, S> {
    sink: &'s mut S,
    pieces: SmallVec<[Piece<'a>; 8]>,
    /// Bytes of a payload without aggregation header.
    room: usize,
    /// Bytes of `pieces` if each has a length before it.
    used: usize,
    /// Extension byte of the OBUs that have one.
    layer: Option<u8>,
    /// Z.
    continues: bool,
    /// Y.
    continued: bool,
    /// N.
    new_sequence: bool,
}

impl<'a, 's, S: Sink> Packet<'a, 's, S> {
    fn new(new_sequence: bool, sink: &'s mut S) -> Self {
        Self {
            room: sink.max_payload().saturating_sub(1).max(MIN_ROOM),
            sink,
            pieces: SmallVec::new(),
            used: 0,
            layer: None,
            continues: false,
            continued: false,
            new_sequence,
        }
    }

    /// Adds an OBU. `next` is the one that follows.
    fn add(&mut self, obu: &Obu<'a>, next: Option<&Obu<'a>>) {
        if !self.pieces.is_empty() && self.must_be_alone(obu) {
            self.end(false);
        }
        let shared = next.is_some_and(|next| {
            next.kind != OBU_SEQUENCE_HEADER && !is_other_layer(extension(obu), extension(next))
        });
        let mut rest = Piece::whole(obu);
        let mut at_start = true;
        while rest.len() > 0 {
            let room = self.room_for_piece();
            if room == 0 {
                self.end(false);
                continue;
            }
            let mut take = rest.len().min(room);
            if take == rest.len() && shared && take > 1 && !self.has_room_after(take) {
                // The next OBU would start a packet. The last byte of this one goes before it.
                take -= 1;
            }
            let (piece, behind) = rest.split_at(take);
            if self.pieces.is_empty() {
                self.continues = !at_start;
            }
            self.used += piece.len() + leb128(piece.len()).1;
            self.layer = self.layer.or(extension(obu));
            self.pieces.push(piece);
            rest = behind;
            at_start = false;
            if rest.len() > 0 {
                self.continued = true;
                self.end(false);
            }
        }
    }

    /// Whether an OBU cannot go into this packet: OBUs of different layers may not share one, and a sequence header should be the
    /// first (5).
    fn must_be_alone(&self, obu: &Obu<'_>) -> bool {
        obu.kind == OBU_SEQUENCE_HEADER || is_other_layer(self.layer, extension(obu))
    }

    /// Most bytes of another piece. The last of up to three needs no length.
    fn room_for_piece(&self) -> usize {
        let left = self.room.saturating_sub(self.used);
        if self.pieces.len() < MAX_COUNTED {
            left
        } else {
            left.saturating_sub(leb128(left).1)
        }
    }

    /// Whether a byte of another piece fits behind one of `len` bytes.
    fn has_room_after(&self, len: usize) -> bool {
        let length = usize::from(self.pieces.len() + 1 >= MAX_COUNTED);
        self.used + len + leb128(len).1 + length < self.room
    }

    fn end(&mut self, marker: bool) {
        let counted = self.pieces.len() <= MAX_COUNTED;
        let flag = |set, bit| if set { bit } else { 0 };
        let header = flag(self.continues, Z)
            | flag(self.continued, Y)
            | flag(self.new_sequence, N)
            | if counted {
                (self.pieces.len() as u8) << W_SHIFT
            } else {
                0
            };
        let header = [header];
        let last = self.pieces.len().saturating_sub(1);
        // Length and OBU header of each piece.
        let mut heads: SmallVec<[([u8; MAX_SIZE_LEN + 2], usize); 8]> = SmallVec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let (mut head, mut len) = ([0; MAX_SIZE_LEN + 2], 0);
            if !(counted && index == last) {
                let (size, size_len) = leb128(piece.len());
                head[..size_len].copy_from_slice(&size[..size_len]);
                len = size_len;
            }
            for byte in &piece.head.bytes[..piece.head.len] {
                head[len] = *byte;
                len += 1;
            }
            heads.push((head, len));
        }
        let mut parts: SmallVec<[&[u8]; 17]> = SmallVec::new();
        parts.push(&header);
        for ((head, len), piece) in heads.iter().zip(&self.pieces) {
            parts.push(&head[..*len]);
            parts.push(piece.data);
        }
        self.sink.packet(marker, 0, &parts);
        self.pieces.clear();
        (self.used, self.layer) = (0, None);
        (self.continues, self.continued, self.new_sequence) = (false, false, false);
    }
}

/// A part of an OBU.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    head: Head,
    data: &'a [u8],
}

impl<'a> Piece<'a> {
    fn whole(obu: &Obu<'a>) -> Self {
        Self {
            head: Head::of(obu),
            data: obu.payload,
        }
    }

    fn len(&self) -> usize {
        self.head.len + self.data.len()
    }

    /// `at` is at most the length.
    fn split_at(self, at: usize) -> (Self, Self) {
        let (head, head_behind) = self.head.split_at(at.min(self.head.len));
        let (data, data_behind) = self.data.split_at(at - head.len);
        let piece = |head, data| Self { head, data };
        (piece(head, data), piece(head_behind, data_behind))
    }
}

/// The header of an OBU or a part of it: with extension, but without size field.
#[derive(Clone, Copy, Debug)]
struct Head {
    bytes: [u8; 2],
    len: usize,
}

impl Head {
    fn of(obu: &Obu<'_>) -> Self {
        match (obu.whole, extension(obu)) {
            ([first, ..], Some(extension)) => Self {
                bytes: [first & !HAS_SIZE, extension],
                len: 2,
            },
            (whole, _) => Self {
                bytes: [whole.first().copied().unwrap_or_default() & !HAS_SIZE, 0],
                len: 1,
            },
        }
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let behind = Self {
            bytes: if at == 0 { self.bytes } else { [self.bytes[1], 0] },
            len: self.len - at,
        };
        (Self { len: at, ..self }, behind)
    }
}

/// The extension byte of an OBU: `temporal_id` and `spatial_id`.
fn extension(obu: &Obu<'_>) -> Option<u8> {
    match obu.whole {
        [header, extension, ..] if header & HAS_EXTENSION != 0 => Some(*extension),
        _ => None,
    }
}

fn is_other_layer(one: Option<u8>, other: Option<u8>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// A `leb128()` of the fewest bytes, and how many they are. Values from 2^28 on do not occur.
fn leb128(mut value: usize) -> ([u8; MAX_SIZE_LEN], usize) {
    let (mut bytes, mut len) = ([0; MAX_SIZE_LEN], 0);
    for byte in &mut bytes {
        *byte = value as u8 & 0x7f;
        value >>= 7;
        len += 1;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, len)
}

/// Value and length of a `leb128()` (AV1, 4.10.5).
fn read_leb128(data: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (index * 7);
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok().map(|value| (value, index + 1));
        }
    }
    None
}

const Z: u8 = 0x80;
const Y: u8 = 0x40;
const W_SHIFT: u8 = 4;
const N: u8 = 0x08;
/// Most elements that W counts.
const MAX_COUNTED: usize = 3;

/// `obu_has_size_field`.
const HAS_SIZE: u8 = 2;
/// `obu_extension_flag`.
const HAS_EXTENSION: u8 = 4;
const OBU_TILE_GROUP: u8 = 4;
const OBU_REDUNDANT_FRAME_HEADER: u8 = 7;
const OBU_TILE_LIST: u8 = 8;
const OBU_PADDING: u8 = 15;

/// Bytes of a size or length: enough for [`MAX_UNIT_LEN`].
const MAX_SIZE_LEN: usize = 4;
/// A packet takes at least so much, whatever the sink says.
const MIN_ROOM: usize = 8;
/// Bytes of an `av1C` before `configOBUs`.
const CONFIG_HEAD_LEN: usize = 4;

#[cfg(test)]
mod tests;
