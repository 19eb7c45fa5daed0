//! Program specific information: sections, the program association table and program map tables (ISO/IEC 13818-1, 2.4.4).

use super::crc::crc32;
use super::packet::{Adaptation, BODY_LEN, PACKET_LEN, Sink, Writer};
use bytes::{BufMut, Bytes, BytesMut};

/// PID of the program association table.
pub(super) const PAT_PID: u16 = 0;
/// Longest section of these tables: 3 bytes and a `section_length` of at most 1021 (2.4.4.5).
pub(super) const MAX_SECTION_LEN: usize = 3 + 1021;

const PAT_ID: u8 = 0;
const PMT_ID: u8 = 2;
/// Bytes behind `section_length`, up to `last_section_number`.
const LONG_HEADER_LEN: usize = 5;
const CRC_LEN: usize = 4;
/// The upper bits of 13-bit PIDs and 12-bit lengths.
const RESERVED_3: u16 = 0xe000;
const RESERVED_4: u16 = 0xf000;

/// What a section says, once it is known to be whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Programs with the PID of their map; the network's PID (program 0) is left out.
    Association {
        version: u8,
        /// `section_number` and `last_section_number`.
        section: (u8, u8),
        programs: Vec<(u16, u16)>,
    },
    Map(Map),
}

/// A program map table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub program: u16,
    pub version: u8,
    pub pcr_pid: u16,
    /// Descriptors of the program.
    pub descriptors: Bytes,
    pub streams: Vec<Stream>,
}

/// One elementary stream of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Table 2-34.
    pub stream_type: u8,
    pub pid: u16,
    pub descriptors: Bytes,
}

/// A section that is to be written.
pub(super) fn section(table_id: u8, extension: u16, version: u8, content: &[u8]) -> Bytes {
    let len = LONG_HEADER_LEN + content.len() + CRC_LEN;
    debug_assert!(3 + len <= MAX_SECTION_LEN);
    let mut out = BytesMut::with_capacity(3 + len);
    out.put_u8(table_id);
    // section_syntax_indicator 1, then a 0, and two reserved bits.
    out.put_u16(0xb000 | len as u16);
    out.put_u16(extension);
    // current_next_indicator: in force now.
    out.put_u8(0xc1 | version << 1);
    out.put_slice(&[0, 0]);
    out.put_slice(content);
    let checksum = crc32(&out);
    out.put_u32(checksum);
    out.freeze()
}

/// The association table of one program, in version 0. Its transport stream has the number 1.
pub(super) fn association(program: u16, map_pid: u16) -> Bytes {
    let [p1, p0] = program.to_be_bytes();
    let [m1, m0] = (RESERVED_3 | map_pid).to_be_bytes();
    section(PAT_ID, 1, 0, &[p1, p0, m1, m0])
}

impl Map {
    /// The table as a section. The streams with their descriptors have to fit ([`MAX_SECTION_LEN`]).
    pub fn build(&self) -> Bytes {
        let mut content = BytesMut::new();
        content.put_u16(RESERVED_3 | self.pcr_pid);
        content.put_u16(RESERVED_4 | self.descriptors.len() as u16);
        content.put_slice(&self.descriptors);
        for stream in &self.streams {
            content.put_u8(stream.stream_type);
            content.put_u16(RESERVED_3 | stream.pid);
            content.put_u16(RESERVED_4 | stream.descriptors.len() as u16);
            content.put_slice(&stream.descriptors);
        }
        section(PMT_ID, self.program, self.version, &content)
    }

    fn parse(program: u16, version: u8, content: &Bytes) -> Option<Self> {
        let mut rest = content.clone();
        let pcr_pid = take_u16(&mut rest)? & 0x1fff;
        let descriptors = take_with_length(&mut rest)?;
        let mut streams = Vec::new();
        while !rest.is_empty() {
            let stream_type = take(&mut rest, 1)?[0];
            let pid = take_u16(&mut rest)? & 0x1fff;
            let descriptors = take_with_length(&mut rest)?;
            streams.push(Stream {
                stream_type,
                pid,
                descriptors,
            });
        }
        Some(Self {
            program,
            version,
            pcr_pid,
            descriptors,
            streams,
        })
    }
}

fn take(rest: &mut Bytes, len: usize) -> Option<Bytes> {
    (rest.len() >= len).then(|| rest.split_to(len))
}

fn take_u16(rest: &mut Bytes) -> Option<u16> {
    let bytes = take(rest, 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// What stands behind a length of 12 bits.
fn take_with_length(rest: &mut Bytes) -> Option<Bytes> {
    let len = take_u16(rest)? & 0xfff;
    take(rest, len.into())
}

/// Tag and content of each descriptor (2.6.1), as far as they are whole.
pub(super) fn descriptors(list: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let (&[tag, len], next) = rest.split_first_chunk()?;
        let (content, next) = next.split_at_checked(len.into())?;
        rest = next;
        Some((tag, content))
    })
}

/// Packets that a section takes.
pub(super) const fn packets(section: &Bytes) -> usize {
    // pointer_field and section.
    (1 + section.len()).div_ceil(BODY_LEN)
}

/// Writes a section in packets of its own, filled up with 0xff (2.4.4.1).
pub(super) fn put(section: &Bytes, pid: u16, counter: &mut u8, out: &mut BytesMut) {
    let len = packets(section) * BODY_LEN;
    let mut writer = Writer::new(out, pid, counter, Adaptation::default(), len);
    writer.put(&[0]);
    writer.put(section);
    const FILL: [u8; BODY_LEN] = [0xff; BODY_LEN];
    writer.put(&FILL[..len - 1 - section.len()]);
    debug_assert!(out.len().is_multiple_of(PACKET_LEN));
}

/// Puts the sections of one PID together from packets.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The section that was begun, at most [`MAX_SECTION_LEN`] bytes.
    partial: BytesMut,
    begun: bool,
}

impl Assembler {
    /// Something was lost: what was begun is worth nothing.
    pub fn reset(&mut self) {
        self.partial.clear();
        self.begun = false;
    }

    /// Takes the payload of a packet and gives the sections that are complete with it, not checked yet.
    pub fn push(&mut self, payload: &[u8], starts: bool, mut found: impl FnMut(Bytes)) {
        if !starts {
            self.append(payload, &mut found);
            return;
        }
        let Some((pointer, rest)) = payload.split_first() else {
            return;
        };
        let Some((before, rest)) = rest.split_at_checked(usize::from(*pointer)) else {
            self.reset();
            return;
        };
        self.append(before, &mut found);
        self.reset();
        self.begun = true;
        self.append(rest, &mut found);
    }

    fn append(&mut self, bytes: &[u8], found: &mut impl FnMut(Bytes)) {
        if !self.begun {
            return;
        }
        self.partial.extend_from_slice(bytes);
        // A table_id of 0xff is stuffing up to the end of the packet.
        while let Some(&[table_id, high, low]) = self.partial.first_chunk()
            && table_id != 0xff
        {
            let len = 3 + (usize::from(high & 0xf) << 8 | usize::from(low));
            if self.partial.len() < len {
                // Sections of private tables may have 4096 bytes; none of them is of use here.
                if len > MAX_SECTION_LEN {
                    self.reset();
                }
                return;
            }
            found(self.partial.split_to(len).freeze());
        }
        if self.partial.first() == Some(&0xff) {
            self.reset();
        }
    }
}

/// Why a section is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not one of the two tables, or not in force yet: nothing is wrong with it.
    Other,
    /// Its checksum or a length in it is wrong.
    Bad,
}

/// Reads a whole section.
pub(super) fn parse(section: &Bytes) -> Result<Table, Refused> {
    let Some(&[table_id, flags, _]) = section.first_chunk() else {
        return Err(Refused::Bad);
    };
    if !matches!(table_id, PAT_ID | PMT_ID) {
        return Err(Refused::Other);
    }
    let content = (3 + LONG_HEADER_LEN)..section.len().saturating_sub(CRC_LEN);
    if flags & 0x80 == 0 || content.is_empty() || section.len() > MAX_SECTION_LEN || crc32(section) != 0 {
        // An association table without a program has no content, and none is of use.
        let empty = content.start == content.end && crc32(section) == 0;
        return Err(if empty { Refused::Other } else { Refused::Bad });
    }
    let Some(&[e1, e0, version, number, last]) = section[3..].first_chunk() else {
        return Err(Refused::Bad);
    };
    if version & 1 == 0 {
        return Err(Refused::Other);
    }
    let (extension, version) = (u16::from_be_bytes([e1, e0]), version >> 1 & 0x1f);
    let mut content = section.slice(content);
    if table_id == PMT_ID {
        let map = Map::parse(extension, version, &content).ok_or(Refused::Bad)?;
        return Ok(Table::Map(map));
    }
    let mut programs = Vec::new();
    while let (Some(program), Some(pid)) = (take_u16(&mut content), take_u16(&mut content)) {
        if program != 0 {
            programs.push((program, pid & 0x1fff));
        }
    }
    Ok(Table::Association {
        version,
        section: (number, last),
        programs,
    })
}

#[cfg(test)]
mod tests {
    use super::super::packet::Packet;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_association_table_byte_by_byte() {
        let section = association(1, 0x100);
        assert_eq!(section[..12], [0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xe1, 0]);
        assert_eq!((section.len(), crc32(&section)), (16, 0));
        let expected = Table::Association {
            version: 0,
            section: (0, 0),
            programs: vec![(1, 0x100)],
        };
        assert_eq!(parse(&section), Ok(expected));
    }

    #[test]
    fn the_map_table_byte_by_byte() {
        let map = Map {
            program: 1,
            version: 3,
            pcr_pid: 0x101,
            descriptors: Bytes::new(),
            streams: vec![
                Stream {
                    stream_type: 0x1b,
                    pid: 0x101,
                    descriptors: Bytes::new(),
                },
                Stream {
                    stream_type: 6,
                    pid: 0x102,
                    descriptors: Bytes::from_static(b"\x05\x04Opus"),
                },
            ],
        };
        let section = map.build();
        let expected = [
            &[2, 0xb0, 29, 0, 1, 0xc7, 0, 0, 0xe1, 1, 0xf0, 0][..],
            &[0x1b, 0xe1, 1, 0xf0, 0],
            &[6, 0xe1, 2, 0xf0, 6, 5, 4, b'O', b'p', b'u', b's'],
        ]
        .concat();
        assert_eq!(section[..section.len() - 4], expected);
        assert_eq!(parse(&section), Ok(Table::Map(map)));
        let mut damaged = section.to_vec();
        damaged[10] ^= 1;
        assert_eq!(parse(&damaged.into()), Err(Refused::Bad));
    }

    fn read(out: &[u8]) -> Vec<Bytes> {
        let (mut assembler, mut found) = (Assembler::default(), Vec::new());
        for packet in out.chunks(PACKET_LEN) {
            let packet = Packet::parse(packet).unwrap();
            assembler.push(packet.payload.unwrap(), packet.starts, |section| {
                found.push(section)
            });
        }
        found
    }

    #[test]
    fn several_sections_in_a_packet_and_one_over_several() {
        let (mut out, mut counter) = (BytesMut::new(), 0);
        let section = association(7, 0x123);
        let both = [&section[..], &section].concat();
        put(&both.into(), 0, &mut counter, &mut out);
        assert_eq!(read(&out), [&section[..], &section]);
        // The end of one and the start of the next in one packet.
        let long = self::section(0x42, 1, 0, &[7; 300]);
        let bytes = [&[0][..], &long[..], &section].concat();
        let (mut assembler, mut found) = (Assembler::default(), Vec::new());
        let mut push =
            |payload: &[u8], starts| assembler.push(payload, starts, |section| found.push(section));
        push(&bytes[..184], true);
        push(&[&[129], &bytes[184..]].concat(), true);
        assert_eq!(found, [&long[..], &section]);
        assert_eq!(parse(&found[0]), Err(Refused::Other));
    }

    proptest! {
        #[test]
        fn maps_round_trip(streams in proptest::collection::vec((any::<u8>(), 0u16..0x2000, proptest::collection::vec(any::<u8>(), 0..40)), 0..16)) {
            let map = Map {
                program: 1,
                version: 31,
                pcr_pid: NULL,
                descriptors: Bytes::new(),
                streams: streams.into_iter().map(|(stream_type, pid, descriptors)| Stream { stream_type, pid, descriptors: descriptors.into() }).collect(),
            };
            let (mut out, mut counter) = (BytesMut::new(), 0);
            let section = map.build();
            put(&section, 0x100, &mut counter, &mut out);
            prop_assert_eq!(out.len(), packets(&section) * PACKET_LEN);
            let found = read(&out);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(parse(&found[0]), Ok(Table::Map(map)));
        }

        #[test]
        fn any_bytes_can_be_pushed(payloads in proptest::collection::vec((any::<bool>(), proptest::collection::vec(prop_oneof![Just(0u8), Just(2), any::<u8>()], 0..200)), 0..20)) {
            let mut assembler = Assembler::default();
            for (starts, payload) in payloads {
                assembler.push(&payload, starts, |section| { let _ = parse(&section); });
                prop_assert!(assembler.partial.len() <= MAX_SECTION_LEN + BODY_LEN);
            }
        }
    }

    const NULL: u16 = super::super::packet::NULL_PID;
}
