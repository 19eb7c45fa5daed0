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
