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

use super::{Error, Input, MAX_UNIT_LEN, MAX_UNIT_PARTS, Sink, Unit};
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

/// What came before the next packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The end of a unit, or nothing.
    #[default]
    Between,
    /// A part of a unit of which everything is there so far.
    Taking,
    /// A part of a unit of which something is missing.
    Skipping,
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
                    self.check_len(fragment.len() + element.len())?;
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
                    self.check_len(element.len())?;
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
            self.check_len(obu.whole.len() + MAX_SIZE_LEN)?;
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

    fn check_len(&self, more: usize) -> Result<(), Error> {
        let got = self.unit.len() + more;
        if got > MAX_UNIT_LEN {
            return Err(Error::TooBig {
                what: "bytes",
                got,
                max: MAX_UNIT_LEN,
            });
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
mod tests {
    use super::*;
    use media::{Frame, MediaTime, TrackId};
    use proptest::prelude::*;

    struct Packets {
        max: usize,
        all: Vec<(bool, Bytes)>,
    }

    impl Sink for Packets {
        fn max_payload(&self) -> usize {
            self.max
        }

        fn packet(&mut self, marker: bool, offset: u32, parts: &[&[u8]]) {
            assert_eq!(offset, 0);
            let payload = parts.concat();
            assert!(payload.len() <= self.max);
            self.all.push((marker, payload.into()));
        }
    }

    /// A temporal unit, and whether it is a key frame.
    type TemporalUnit = (bool, Vec<u8>);

    /// An OBU in the low-overhead format. `header` has no flags.
    fn obu(header: u8, payload: &[u8]) -> Vec<u8> {
        let (size, len) = leb128(payload.len());
        [&[header | HAS_SIZE], &size[..len], payload].concat()
    }

    /// Of a spatial layer.
    fn layer_obu(header: u8, spatial: u8, payload: &[u8]) -> Vec<u8> {
        let (size, len) = leb128(payload.len());
        [
            &[header | HAS_EXTENSION | HAS_SIZE, spatial << 3],
            &size[..len],
            payload,
        ]
        .concat()
    }

    fn frame(key: bool, data: &[u8]) -> Frame {
        Frame {
            track: TrackId(0),
            dts: MediaTime::ZERO,
            pts: MediaTime::ZERO,
            key,
            data: Bytes::copy_from_slice(data),
            wire: None,
        }
    }

    /// The packets of units that are 3000 ticks apart: marker, time, payload.
    fn pack(packer: &mut Packer, units: &[TemporalUnit], max: usize) -> Vec<(bool, i64, Bytes)> {
        let mut packets = Vec::new();
        for (index, (key, data)) in units.iter().enumerate() {
            let mut sink = Packets { max, all: Vec::new() };
            packer.pack(&frame(*key, data), &mut sink);
            let time = index as i64 * 3000;
            packets.extend(
                sink.all
                    .into_iter()
                    .map(|(marker, payload)| (marker, time, payload)),
            );
        }
        packets
    }

    /// Unpacks those packets that `lost` does not name; errors are none of the caller's business.
    fn unpack(packets: &[(bool, i64, Bytes)], lost: impl Fn(usize) -> bool) -> Vec<Unit> {
        let (mut unpacker, mut out, mut gap) = (Unpacker::new(), Vec::new(), false);
        for (index, (marker, timestamp, payload)) in packets.iter().enumerate() {
            if lost(index) {
                gap = true;
                continue;
            }
            let input = Input {
                payload,
                marker: *marker,
                timestamp: *timestamp,
                gap: std::mem::take(&mut gap),
            };
            let _ = unpacker.push(input, &mut out);
        }
        if !gap {
            unpacker.flush(&mut out);
        }
        out
    }

    fn units(units: &[TemporalUnit]) -> Vec<Unit> {
        let unit = |(index, (_, data)): (usize, &TemporalUnit)| Unit {
            timestamp: index as i64 * 3000,
            data: Bytes::copy_from_slice(data),
        };
        units.iter().enumerate().map(unit).collect()
    }

    fn push(
        unpacker: &mut Unpacker,
        payload: &[u8],
        marker: bool,
        timestamp: i64,
        gap: bool,
    ) -> Result<Vec<Unit>, Error> {
        let (mut out, payload) = (Vec::new(), Bytes::copy_from_slice(payload));
        let input = Input {
            payload: &payload,
            marker,
            timestamp,
            gap,
        };
        unpacker.push(input, &mut out).map(|()| out)
    }

    /// Payloads of FFmpeg 9.0 (`libaom-av1`, 16x16, `pkt_size=112`): a sequence header and key frame in three packets, an inter
    /// frame in one.
    const CAPTURE: [(bool, i64, &[u8]); 4] = [
        (
            false,
            0,
            &[
                0x68, 0x0d, 0x08, 0x20, 0x00, 0x00, 0x01, 0x9f, 0xf9, 0xb5, 0xf2, 0x40, 0x43, 0x40, 0x08,
                0x30, 0x10, 0x00, 0xe6, 0x00, 0x79, 0xe0, 0x00, 0x2c, 0xba, 0xe8, 0xc4, 0x5f, 0xd4, 0x80,
                0xbe, 0xf2, 0xfb, 0x66, 0x9e, 0x7f, 0xae, 0xe5, 0x3b, 0x41, 0x83, 0xf8, 0x88, 0xfd, 0x72,
                0x23, 0x7c, 0xd9, 0x27, 0x07, 0xef, 0x1f, 0xcd, 0x7d, 0xa0, 0x9a, 0xa2, 0x0e, 0x6a, 0x2e,
                0x05, 0x55, 0x4d, 0x45, 0xda, 0xf8, 0xf0, 0x84, 0x2a, 0x1b, 0x40, 0x48, 0x2d, 0x46, 0xd0,
                0x12, 0x67, 0x86, 0xed, 0x4c, 0xf5, 0x99, 0xbe, 0x72, 0xbf, 0xd5, 0x4e, 0xc5, 0xdb, 0x59,
                0x05, 0x2d, 0xe1, 0x9c, 0x90, 0x3d, 0x1f, 0xe6, 0x9c, 0xff,
            ],
        ),
        (
            false,
            0,
            &[
                0xd0, 0xcc, 0x74, 0xd6, 0x9b, 0xff, 0xed, 0x3e, 0x48, 0xe2, 0x30, 0x5d, 0x35, 0xfb, 0x2e,
                0x88, 0xb8, 0xc2, 0x06, 0xc0, 0x84, 0x91, 0x8b, 0xd8, 0x5b, 0x0c, 0x75, 0x6b, 0x8e, 0xd2,
                0xbf, 0x40, 0x27, 0xc5, 0x00, 0x68, 0xe1, 0xae, 0x6e, 0x42, 0xeb, 0x81, 0xa0, 0xcb, 0x6c,
                0x1f, 0xd4, 0xbe, 0xb1, 0x5e, 0x21, 0xef, 0x28, 0x88, 0xcd, 0x0c, 0x41, 0x9f, 0xdb, 0xa0,
                0x31, 0x5d, 0x90, 0xdc, 0xa9, 0x08, 0xb7, 0xe2, 0x65, 0x6b, 0x2b, 0x8a, 0xa2, 0xbf, 0xdc,
                0x89, 0x7e, 0x4a, 0xe1, 0xca, 0x83, 0x4e, 0x01, 0xf8, 0x16, 0x89, 0xf8, 0x33, 0x25, 0x3b,
                0xe9, 0xec, 0x82, 0xf9, 0x0f, 0x93, 0x4c, 0x4c, 0xb2, 0x61,
            ],
        ),
        (
            true,
            0,
            &[
                0x90, 0xdd, 0xf0, 0xd6, 0xcf, 0xc1, 0x57, 0xb2, 0x0f, 0xad, 0x6e, 0x71, 0xf4, 0x59, 0xeb,
                0x98, 0x32, 0xe2,
            ],
        ),
        (
            true,
            3600,
            &[
                0x10, 0x30, 0x30, 0x03, 0xc0, 0x80, 0x00, 0x00, 0x06, 0xee, 0x00, 0x00, 0x02, 0xc0, 0x00,
                0x20, 0x00, 0x76, 0x90,
            ],
        ),
    ];

    #[test]
    fn packets_of_ffmpeg_are_put_together() {
        let packets = CAPTURE.map(|(marker, time, payload)| (marker, time, Bytes::from_static(payload)));
        let units = unpack(&packets, |_| false);
        let contents = media::codec::av1::Contents::of(&units[0].data).unwrap();
        let header =
            media::codec::av1::SequenceHeader::parse(contents.sequence_header.unwrap().payload).unwrap();
        assert_eq!((header.width, header.height, contents.key), (16, 16, true));
        // The sequence header is the first of two elements, 13 bytes long.
        let sequence_header = obu(0x08, &CAPTURE[0].2[3..15]);
        let key = [&CAPTURE[0].2[16..], &CAPTURE[1].2[1..], &CAPTURE[2].2[1..]].concat();
        assert_eq!(units[0].data, [sequence_header, obu(0x30, &key)].concat());
        assert_eq!(
            (units[1].timestamp, &units[1].data[..]),
            (3600, &obu(0x30, &CAPTURE[3].2[2..])[..])
        );
        assert_eq!(units.len(), 2);
    }

    #[test]
    fn elements_with_and_without_lengths_are_read() {
        // The example of 4.5: 303 bytes, of which 2 are the length of the first element.
        let (first, second) = (
            [&[0x28][..], &[1; 199]].concat(),
            [&[0x30][..], &[2; 99]].concat(),
        );
        let expected = [obu(0x28, &first[1..]), obu(0x30, &second[1..])].concat();
        let two = [&[0x20, 0xc8, 0x01], &first[..], &second].concat();
        assert_eq!(two.len(), 303);
        let all = [&[0x00, 0xc8, 0x01], &first[..], &[100], &second].concat();
        for packet in [two, all] {
            let units = push(&mut Unpacker::new(), &packet, true, 1, false).unwrap();
            assert_eq!(units[0].data, expected);
        }
    }

    #[test]
    fn size_fields_are_accepted_and_delimiters_dropped() {
        let unit = [obu(0x08, &[1, 2]), obu(0x30, &[3, 4])].concat();
        let delimited = [&[0x12, 0][..], &unit, &obu(0x78, &[0; 3]), &obu(0x40, &[0; 3])].concat();
        // One element with everything, and as W = 0 one by one.
        let one = [&[0x10][..], &delimited].concat();
        let each = [
            &[0x00, 2][..],
            &delimited[..2],
            &[4],
            &delimited[2..6],
            &[4],
            &delimited[6..10],
        ]
        .concat();
        for packet in [one, each] {
            assert_eq!(
                push(&mut Unpacker::new(), &packet, true, 1, false).unwrap()[0].data,
                unit
            );
        }
        let packets = pack(&mut Packer::new(), &[(false, delimited)], 100);
        assert_eq!(packets[0].2, &[0x20, 3, 0x08, 1, 2, 0x30, 3, 4][..]);
    }

    #[test]
    fn malformed_packets_are_errors_and_cost_their_unit() {
        for packet in [
            &[][..],
            &[0x88, 0x30],       // Z and N
            &[0x00, 2, 0x30],    // an element that is longer than the packet
            &[0x00, 0x80],       // a length without end
            &[0x20],             // two elements promised
            &[0x10, 0xb0, 0],    // forbidden bit
            &[0x10, 0x32, 9, 0], // obu_size
            &[0x50, 0x30, 0],    // continued after the marker
            &[0x90, 0x30, 0],    // continues nothing
        ] {
            let mut unpacker = Unpacker::new();
            assert!(
                push(&mut unpacker, packet, true, 1, false).is_err(),
                "{packet:02x?}"
            );
            assert_eq!(
                push(&mut unpacker, &[0x10, 0x30, 7], true, 2, false)
                    .unwrap()
                    .len(),
                1
            );
        }
        let mut unpacker = Unpacker::new();
        push(&mut unpacker, &[0x50, 0x30, 7], false, 1, false).unwrap();
        assert!(push(&mut unpacker, &[0x10, 0x30, 7], false, 1, false).is_err());
        assert_eq!(push(&mut unpacker, &[0x10, 0x30, 7], true, 1, false), Ok(vec![]));
    }

    #[test]
    fn after_a_gap_a_unit_is_taken_if_it_begins_there() {
        let taken = |packet: &[u8]| {
            push(&mut Unpacker::new(), packet, true, 1, true).is_ok_and(|units| units.len() == 1)
        };
        assert!(taken(&[0x18, 0x30, 0x10])); // N
        assert!(taken(&[0x10, 0x08, 0])); // sequence header
        assert!(taken(&[0x10, 0x30, 0x30])); // inter frame
        assert!(taken(&[0x10, 0x32, 1, 0x30])); // with size
        assert!(!taken(&[0x10, 0x30, 0x10])); // key frame
        assert!(!taken(&[0x10, 0x32, 1, 0x10]));
        assert!(!taken(&[0x10, 0x20, 0x30])); // tile group
        assert!(!taken(&[0x10, 0x34, 0x08, 0x30])); // spatial layer 1
        // What follows the end of a unit at the same time is no other unit.
        let mut unpacker = Unpacker::new();
        push(&mut unpacker, &[0x10, 0x30, 0x30], true, 1, false).unwrap();
        assert_eq!(
            push(&mut unpacker, &[0x10, 0x30, 0x30], true, 1, true),
            Ok(vec![])
        );
    }

    #[test]
    fn a_unit_without_marker_ends_with_its_timestamp() {
        let mut unpacker = Unpacker::new();
        assert_eq!(push(&mut unpacker, &[0x10, 0x30, 7], false, 1, false), Ok(vec![]));
        let units = push(&mut unpacker, &[0x10, 0x30, 8], false, 2, false).unwrap();
        assert_eq!(
            (units[0].timestamp, &units[0].data[..]),
            (1, &obu(0x30, &[7])[..])
        );
        // After a gap the end of the unit may be missing.
        assert_eq!(
            push(&mut unpacker, &[0x10, 0x30, 0x39], false, 3, true),
            Ok(vec![])
        );
    }

    #[test]
    fn units_without_end_are_dropped() {
        let mut unpacker = Unpacker::new();
        let piece = vec![0x30; 1 << 20];
        push(&mut unpacker, &[&[0x50], &piece[..]].concat(), false, 1, false).unwrap();
        let more = [&[0xd0], &piece[..]].concat();
        let errors = (0..40).filter(|_| push(&mut unpacker, &more, false, 1, false).is_err());
        assert_eq!(errors.count(), 1);
        assert!(unpacker.unit.is_empty() && unpacker.fragment.is_none());
        let errors = (0..5000).filter(|_| push(&mut unpacker, &[0x10, 0x28], false, 2, false).is_err());
        assert_eq!(errors.count(), 1);
        let many = [&[0][..], &[1, 0x28].repeat(5000)].concat();
        assert!(matches!(
            push(&mut unpacker, &many, false, 3, false),
            Err(Error::TooBig { got: 4097, .. })
        ));
    }

    #[test]
    fn key_frames_without_sequence_header_get_that_of_the_record() {
        let mut packer = Packer::new();
        packer.set_config(&[&[0x81, 0, 0, 0][..], &obu(0x08, &[1, 2])].concat());
        let (key, inter) = (obu(0x30, &[0x10]), obu(0x30, &[0x30]));
        let with_header = [obu(0x08, &[3]), key.clone()].concat();
        let packets = pack(
            &mut packer,
            &[(true, key), (true, with_header), (false, inter)],
            100,
        );
        let payloads: Vec<&[u8]> = packets.iter().map(|(.., payload)| &payload[..]).collect();
        assert_eq!(
            payloads,
            [
                &[0x28, 3, 0x08, 1, 2, 0x30, 0x10][..],
                &[0x28, 2, 0x08, 3, 0x30, 0x10],
                &[0x10, 0x30, 0x30]
            ]
        );
        // Neither a short record nor a broken unit is one for the other side to see.
        packer.set_config(&[0x81]);
        assert_eq!(
            pack(
                &mut packer,
                &[(true, obu(0x30, &[0x10])), (true, vec![0x32, 9])],
                100
            )
            .len(),
            1
        );
    }

    #[test]
    fn spatial_layers_do_not_share_packets() {
        // The example of 5.1: SH MD MD(0,0) FH(0,0) TG(0,0) MD(0,1) FH(0,1) TG(0,1).
        let base = [
            obu(0x08, &[1]),
            obu(0x28, &[2]),
            layer_obu(0x28, 0, &[3]),
            layer_obu(0x18, 0, &[0x10]),
            layer_obu(0x20, 0, &[4]),
        ];
        let upper = [
            layer_obu(0x28, 1, &[5]),
            layer_obu(0x18, 1, &[0x10]),
            layer_obu(0x20, 1, &[6]),
        ];
        let unit = (true, [base.concat(), upper.concat()].concat());
        let packets = pack(&mut Packer::new(), std::slice::from_ref(&unit), 1000);
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0].2[0], 0x08);
        assert_eq!(packets[1].2[..5], [0x30, 3, 0x2c, 0x08, 5]);
        assert_eq!(unpack(&packets, |_| false), units(&[unit]));
        assert_eq!(unpack(&packets, |index| index == 0), []);
    }

    /// Temporal units: key frames with sequence header, inter frames, with metadata, hidden frames and tile groups.
    fn temporal_units() -> impl Strategy<Value = Vec<TemporalUnit>> {
        let payload = |first: u8| {
            let len = prop_oneof![1usize..8, 60usize..140, 1usize..20_000];
            (len, any::<u8>()).prop_map(move |(len, seed)| {
                let mut payload: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
                payload[0] = first;
                payload
            })
        };
        let small =
            |header| proptest::collection::vec(any::<u8>(), 1..20).prop_map(move |data| obu(header, &data));
        let frame = move |first| payload(first).prop_map(|data| obu(0x30, &data));
        let inter = (
            proptest::collection::vec(small(0x28), 0..3),
            proptest::collection::vec(frame(0x20), 0..3),
            frame(0x30),
            proptest::collection::vec(payload(0).prop_map(|data| obu(0x20, &data)), 0..6),
        )
            .prop_map(|(metadata, hidden, shown, tiles)| {
                (
                    false,
                    [metadata.concat(), hidden.concat(), shown, tiles.concat()].concat(),
                )
            });
        let key = (
            small(0x08),
            proptest::collection::vec(small(0x28), 0..3),
            frame(0x10),
        )
            .prop_map(|(header, metadata, shown)| (true, [header, metadata.concat(), shown].concat()));
        proptest::collection::vec(prop_oneof![key, inter], 1..5)
    }

    fn losses() -> impl Strategy<Value = Vec<prop::sample::Index>> {
        proptest::collection::vec(any::<prop::sample::Index>(), 1..4)
    }

    fn hostile_packets() -> impl Strategy<Value = Vec<(bool, i64, Bytes)>> {
        let payload =
            proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..12).prop_map(Bytes::from);
        proptest::collection::vec((any::<bool>(), 0i64..3, payload), 0..12)
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(temporal_units in temporal_units(), max in 100usize..1500) {
            let packets = pack(&mut Packer::new(), &temporal_units, max);
            prop_assert_eq!(unpack(&packets, |_| false), units(&temporal_units));
            // Only the first of a unit starts with a whole OBU, and all but the last are full up to a length that W makes needless.
            for (index, (_, time, payload)) in packets.iter().enumerate() {
                let first = index == 0 || packets[index - 1].1 != *time;
                let last = packets.get(index + 1).is_none_or(|next| next.1 != *time);
                prop_assert_eq!(payload[0] & Z == 0, first);
                prop_assert_eq!(payload[0] & N != 0, first && temporal_units[*time as usize / 3000].0);
                prop_assert!(last || payload.len() + 4 >= max);
            }
        }

        #[test]
        fn loss_leaves_whole_units_only(temporal_units in temporal_units(), max in 100usize..1500, lost in losses()) {
            let packets = pack(&mut Packer::new(), &temporal_units, max);
            let lost: Vec<_> = lost.iter().map(|index| index.index(packets.len())).collect();
            let mut expected = units(&temporal_units);
            expected.retain(|unit| lost.iter().all(|&index| packets[index].1 != unit.timestamp));
            prop_assert_eq!(unpack(&packets, |index| lost.contains(&index)), expected);
        }

        #[test]
        fn any_packets_can_be_unpacked(packets in hostile_packets(), lost in any::<u16>()) {
            for unit in unpack(&packets, |index| lost >> index & 1 != 0) {
                let contents = media::codec::av1::Contents::of(&unit.data);
                prop_assert_eq!(contents.map(|contents| contents.delimiters).ok(), Some(0));
            }
        }

        #[test]
        fn any_frame_can_be_packed(
            data in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..400),
            key in any::<bool>(),
        ) {
            let packets = pack(&mut Packer::new(), &[(key, data)], 100);
            prop_assert!(unpack(&packets, |_| false).len() <= 1);
        }
    }
}
