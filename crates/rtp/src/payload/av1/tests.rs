use super::*;
use crate::payload::testing::{self, Sent, captured, hostile_packets, losses, without_lost};
use proptest::prelude::*;

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

/// The packets of units that are 3000 ticks apart.
fn pack(packer: &mut Packer, units: &[TemporalUnit], max: usize) -> Vec<Sent> {
    let units = units.iter().map(|(key, data)| (*key, &data[..]));
    testing::pack(units, max, |frame, sink| packer.pack(frame, sink))
}

fn unpack(packets: &[Sent], lost: impl Fn(usize) -> bool) -> Vec<Unit> {
    let mut unpacker = Unpacker::new();
    let (mut units, whole) = testing::unpack(packets, lost, |input, out| unpacker.push(input, out));
    if whole {
        unpacker.flush(&mut units);
    }
    units
}

fn units(units: &[TemporalUnit]) -> Vec<Unit> {
    testing::units(units.iter().map(|(_, data)| &data[..]))
}

fn push(
    unpacker: &mut Unpacker,
    payload: &[u8],
    marker: bool,
    timestamp: i64,
    gap: bool,
) -> Result<Vec<Unit>, Error> {
    testing::one(payload, marker, timestamp, gap, |input, out| {
        unpacker.push(input, out)
    })
}

/// Payloads of FFmpeg 9.0 (`libaom-av1`, 16x16, `pkt_size=112`): a sequence header and key frame in three packets, an inter
/// frame in one.
const CAPTURE: [(bool, i64, &[u8]); 4] = [
    (
        false,
        0,
        &[
            0x68, 0x0d, 0x08, 0x20, 0x00, 0x00, 0x01, 0x9f, 0xf9, 0xb5, 0xf2, 0x40, 0x43, 0x40, 0x08, 0x30,
            0x10, 0x00, 0xe6, 0x00, 0x79, 0xe0, 0x00, 0x2c, 0xba, 0xe8, 0xc4, 0x5f, 0xd4, 0x80, 0xbe, 0xf2,
            0xfb, 0x66, 0x9e, 0x7f, 0xae, 0xe5, 0x3b, 0x41, 0x83, 0xf8, 0x88, 0xfd, 0x72, 0x23, 0x7c, 0xd9,
            0x27, 0x07, 0xef, 0x1f, 0xcd, 0x7d, 0xa0, 0x9a, 0xa2, 0x0e, 0x6a, 0x2e, 0x05, 0x55, 0x4d, 0x45,
            0xda, 0xf8, 0xf0, 0x84, 0x2a, 0x1b, 0x40, 0x48, 0x2d, 0x46, 0xd0, 0x12, 0x67, 0x86, 0xed, 0x4c,
            0xf5, 0x99, 0xbe, 0x72, 0xbf, 0xd5, 0x4e, 0xc5, 0xdb, 0x59, 0x05, 0x2d, 0xe1, 0x9c, 0x90, 0x3d,
            0x1f, 0xe6, 0x9c, 0xff,
        ],
    ),
    (
        false,
        0,
        &[
            0xd0, 0xcc, 0x74, 0xd6, 0x9b, 0xff, 0xed, 0x3e, 0x48, 0xe2, 0x30, 0x5d, 0x35, 0xfb, 0x2e, 0x88,
            0xb8, 0xc2, 0x06, 0xc0, 0x84, 0x91, 0x8b, 0xd8, 0x5b, 0x0c, 0x75, 0x6b, 0x8e, 0xd2, 0xbf, 0x40,
            0x27, 0xc5, 0x00, 0x68, 0xe1, 0xae, 0x6e, 0x42, 0xeb, 0x81, 0xa0, 0xcb, 0x6c, 0x1f, 0xd4, 0xbe,
            0xb1, 0x5e, 0x21, 0xef, 0x28, 0x88, 0xcd, 0x0c, 0x41, 0x9f, 0xdb, 0xa0, 0x31, 0x5d, 0x90, 0xdc,
            0xa9, 0x08, 0xb7, 0xe2, 0x65, 0x6b, 0x2b, 0x8a, 0xa2, 0xbf, 0xdc, 0x89, 0x7e, 0x4a, 0xe1, 0xca,
            0x83, 0x4e, 0x01, 0xf8, 0x16, 0x89, 0xf8, 0x33, 0x25, 0x3b, 0xe9, 0xec, 0x82, 0xf9, 0x0f, 0x93,
            0x4c, 0x4c, 0xb2, 0x61,
        ],
    ),
    (
        true,
        0,
        &[
            0x90, 0xdd, 0xf0, 0xd6, 0xcf, 0xc1, 0x57, 0xb2, 0x0f, 0xad, 0x6e, 0x71, 0xf4, 0x59, 0xeb, 0x98,
            0x32, 0xe2,
        ],
    ),
    (
        true,
        3600,
        &[
            0x10, 0x30, 0x30, 0x03, 0xc0, 0x80, 0x00, 0x00, 0x06, 0xee, 0x00, 0x00, 0x02, 0xc0, 0x00, 0x20,
            0x00, 0x76, 0x90,
        ],
    ),
];

#[test]
fn packets_of_ffmpeg_are_put_together() {
    let packets = captured(&CAPTURE);
    let units = unpack(&packets, |_| false);
    let contents = media::codec::av1::Contents::of(&units[0].data).unwrap();
    let header = media::codec::av1::SequenceHeader::parse(contents.sequence_header.unwrap().payload).unwrap();
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
    assert_eq!(packets[0].payload, &[0x20, 3, 0x08, 1, 2, 0x30, 3, 4][..]);
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
    let taken =
        |packet: &[u8]| push(&mut Unpacker::new(), packet, true, 1, true).is_ok_and(|units| units.len() == 1);
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
    let payloads: Vec<&[u8]> = packets.iter().map(|sent| &sent.payload[..]).collect();
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
    assert_eq!(packets[0].payload[0], 0x08);
    assert_eq!(packets[1].payload[..5], [0x30, 3, 0x2c, 0x08, 5]);
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

proptest! {
    #[test]
    fn what_was_packed_is_unpacked(temporal_units in temporal_units(), max in 100usize..1500) {
        let packets = pack(&mut Packer::new(), &temporal_units, max);
        prop_assert_eq!(unpack(&packets, |_| false), units(&temporal_units));
        // Only the first of a unit starts with a whole OBU, and all but the last are full up to a length that W makes needless.
        for (index, Sent { timestamp, payload, .. }) in packets.iter().enumerate() {
            let first = index == 0 || packets[index - 1].timestamp != *timestamp;
            let last = packets.get(index + 1).is_none_or(|next| next.timestamp != *timestamp);
            prop_assert_eq!(payload[0] & Z == 0, first);
            prop_assert_eq!(payload[0] & N != 0, first && temporal_units[*timestamp as usize / 3000].0);
            prop_assert!(last || payload.len() + 4 >= max);
        }
    }

    #[test]
    fn loss_leaves_whole_units_only(temporal_units in temporal_units(), max in 100usize..1500, lost in losses()) {
        let packets = pack(&mut Packer::new(), &temporal_units, max);
        let lost: Vec<_> = lost.iter().map(|index| index.index(packets.len())).collect();
        let expected = without_lost(units(&temporal_units), &packets, &lost);
        prop_assert_eq!(unpack(&packets, |index| lost.contains(&index)), expected);
    }

    #[test]
    fn any_packets_can_be_unpacked(packets in hostile_packets(prop_oneof![any::<u8>(), 0u8..4], 12), lost in any::<u16>()) {
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
