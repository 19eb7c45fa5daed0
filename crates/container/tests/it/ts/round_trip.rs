//! Mux and demux: the same frames at the same times.

use crate::round_trip::track;
use bytes::{Bytes, BytesMut};
use container::ts::{Demuxer, Event, MAX_TRACKS, Muxer, Options};
use media::codec::av1::{OBU_SEQUENCE_HEADER, Obus};
use media::codec::nal::{self, LengthPrefixed};
use media::codec::{h264, h265};
use media::{CodecId, Frame, MediaTime, Mux, Packet, Track, TrackId, TrackParams};
use proptest::prelude::*;

/// Ticks are what TS carries.
fn ticks(time: MediaTime) -> i64 {
    time.as_ticks(90_000)
}

/// A frame of a codec around noise. What video is made of obeys the rules of its codec.
fn payload(codec: CodecId, key: bool, noise: &[u8]) -> Bytes {
    let unit = |header: &[u8]| {
        let mut unit = header.to_vec();
        for byte in noise {
            if unit.ends_with(&[0, 0]) && *byte <= 3 {
                unit.push(3);
            }
            unit.push(*byte);
        }
        unit.push(0x80);
        let mut out = BytesMut::new();
        nal::put(&unit, &mut out);
        out.to_vec()
    };
    match (codec, key) {
        (CodecId::H264, true) => unit(&[0x65, 0x88]),
        (CodecId::H264, false) => unit(&[0x41, 0x9a]),
        (CodecId::H265, true) => unit(&[0x26, 1, 0xaf]),
        (CodecId::H265, false) => unit(&[0x02, 1, 0xd0]),
        (CodecId::Av1, _) => {
            let mut out = BytesMut::from(&[0x32][..]);
            media::codec::av1::put_leb128(noise.len() as u32 + 1, &mut out);
            out.extend_from_slice(&[if key { 0x10 } else { 0x30 }]);
            out.extend_from_slice(noise);
            out.to_vec()
        }
        (CodecId::Opus, _) => [&[0xfc], noise].concat(),
        (CodecId::Mp3, _) => {
            let mut frame = [&[0xff, 0xfb, 0x90, 0x64], noise].concat();
            frame.resize(417, 0x55);
            frame
        }
        _ => [&[0x21], noise].concat(),
    }
    .into()
}

/// A frame without what the muxer adds to key frames.
fn bare(codec: CodecId, data: &Bytes) -> Bytes {
    let mut out = BytesMut::new();
    let units = || LengthPrefixed::new(data, 4).map(Result::unwrap);
    match codec {
        CodecId::H264 => units()
            .filter(|unit| !matches!(h264::nal_type(unit), h264::NAL_SPS | h264::NAL_PPS))
            .for_each(|unit| nal::put(unit, &mut out)),
        CodecId::H265 => units()
            .filter(|unit| !(h265::NAL_VPS..=h265::NAL_PPS).contains(&h265::nal_type(unit)))
            .for_each(|unit| nal::put(unit, &mut out)),
        CodecId::Av1 => Obus::new(data)
            .map(Result::unwrap)
            .filter(|obu| obu.kind != OBU_SEQUENCE_HEADER)
            .for_each(|obu| out.extend_from_slice(obu.whole)),
        _ => return data.clone(),
    }
    out.freeze()
}

/// Reads a stream that arrives in pieces of these sizes, over and over.
fn demux(stream: &[u8], sizes: &[usize]) -> (Vec<Track>, Vec<Frame>) {
    let (mut demuxer, mut tracks, mut frames) = (Demuxer::new(), Vec::<Track>::new(), Vec::new());
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    loop {
        let (now, next) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        rest = next;
        demuxer.push(now);
        if rest.is_empty() {
            demuxer.flush();
        }
        while let Some(event) = demuxer.poll() {
            match event {
                Event::Track(track) => tracks.push(track),
                Event::Frame(frame) => frames.push(frame),
                Event::TracksDeclared { .. } => {}
                Event::Unsupported(unsupported) => panic!("unexpected {unsupported:?}"),
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    let counters = demuxer.counters();
    assert_eq!(
        (
            counters.bad_frames,
            counters.bad_pes,
            counters.gaps,
            counters.skipped_bytes
        ),
        (0, 0, 0, 0)
    );
    (tracks, frames)
}

/// One frame: of which track, step and composition time in ticks, key, content.
type Recipe = (usize, i64, i64, bool, Vec<u8>);

fn recipes() -> impl Strategy<Value = Vec<Recipe>> {
    let byte = || prop_oneof![3 => Just(0u8), 1 => 0u8..4, 3 => any::<u8>()];
    let noise = prop_oneof![
        20 => proptest::collection::vec(byte(), 0..700),
        1 => (byte(), 60_000usize..70_000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let step = prop_oneof![5 => 1i64..9_000, 1 => 0i64..300_000_000];
    proptest::collection::vec((0usize..4, step, 0i64..90_000, any::<bool>(), noise), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_muxed_is_demuxed(
        codecs in proptest::sample::subsequence(
            vec![CodecId::H264, CodecId::H265, CodecId::Av1, CodecId::Aac, CodecId::Opus, CodecId::Mp3, CodecId::G711A, CodecId::G711U],
            1..5,
        ),
        start in prop_oneof![Just(0i64), -100_000i64..100_000, Just((1 << 33) - 130_000), 0i64..1 << 40],
        recipes in recipes(),
        sizes in proptest::collection::vec(prop_oneof![1usize..400, 400usize..20_000], 1..5),
    ) {
        let tracks: Vec<Track> = codecs
            .iter()
            .enumerate()
            .map(|(nth, codec)| {
                let mut track = Track { id: TrackId(nth as u8), ..track(*codec) };
                // This stream's rate is not in its header.
                if let (CodecId::Av1, TrackParams::Video(video)) = (track.codec, &mut track.params) {
                    video.fps = 0.0;
                }
                track
            })
            .collect();
        let (mut muxer, mut packets, mut sent, mut now) = (Muxer::new(Options::default()), Vec::<Packet>::new(), Vec::new(), start);
        muxer.set_tracks(&tracks, &mut packets);
        for (nth, step, composition, key, noise) in recipes {
            let track = &tracks[nth % tracks.len()];
            // Longer ones have no place: an ADTS frame has 13 bits of length, what is no video 16.
            let noise = match track.codec {
                CodecId::Aac | CodecId::Mp3 => &noise[..noise.len().min(400)],
                CodecId::H264 | CodecId::H265 | CodecId::Av1 => &noise[..],
                _ => &noise[..noise.len().min(60_000)],
            };
            let video = track.video().is_some();
            let first = !sent.iter().any(|frame: &Frame| frame.track == track.id);
            let key = key || first || !video;
            now += step;
            let frame = Frame {
                track: track.id,
                dts: MediaTime::from_ticks(now, 90_000),
                pts: MediaTime::from_ticks(now + if video { composition } else { 0 }, 90_000),
                key,
                data: payload(track.codec, key, noise),
                wire: None,
            };
            muxer.write(&frame, &mut packets);
            sent.push(frame);
        }
        prop_assert_eq!(muxer.dropped(), 0);
        prop_assert!(packets.iter().all(|packet| packet.parts.len() == 1 && packet.len() % 188 == 0));
        let stream: Vec<u8> = packets.iter().flat_map(|packet| packet.parts[0].to_vec()).collect();
        let (read_tracks, read) = demux(&stream, &sizes);
        prop_assert_eq!(read.len(), sent.len());
        // Which round of the 33 bits a stream began in cannot be seen.
        let shift = (ticks(sent[0].dts) + 126_000).div_euclid(1 << 33) << 33;
        for read_track in &read_tracks {
            let original = tracks.iter().find(|track| track.codec == read_track.codec).unwrap();
            match original.codec {
                // Made anew of the parameter sets; what else the encoder said is gone.
                CodecId::H265 => {
                    let sets = |track: &Track| {
                        let config = h265::Config::parse(track.config.as_ref().unwrap()).unwrap();
                        (config.vps, config.sps, config.pps)
                    };
                    prop_assert_eq!(sets(read_track), sets(original));
                    prop_assert_eq!(read_track.params, original.params);
                }
                _ => prop_assert_eq!(&Track { id: original.id, ..read_track.clone() }, original),
            }
            let of = |frames: &[Frame], id: TrackId, shift: i64| -> Vec<_> {
                let frames = frames.iter().filter(|frame| frame.track == id);
                frames
                    .map(|frame| (ticks(frame.dts) + shift, ticks(frame.pts) + shift, frame.key, bare(original.codec, &frame.data)))
                    .collect()
            };
            prop_assert_eq!(of(&read, read_track.id, shift), of(&sent, original.id, 126_000));
        }
    }

    /// Bytes that begin like every part of the format: no panic, and no more than comes in.
    #[test]
    fn any_bytes_can_be_read(
        packets in proptest::collection::vec(
            (0usize..4, 0u8..16, prop_oneof![Just(0u8), any::<u8>()], 0usize..8, proptest::collection::vec(prop_oneof![3 => Just(0u8), 2 => 0u8..16, 1 => any::<u8>()], 184)),
            0..40,
        ),
        codec in prop::sample::select(vec![CodecId::H264, CodecId::H265, CodecId::Av1, CodecId::Aac, CodecId::Opus, CodecId::Mp3, CodecId::G711U]),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let mut muxer = Muxer::new(Options::default());
        muxer.carry(&[track(codec)]);
        let mut stream = BytesMut::new();
        muxer.tables(&mut stream);
        let pid = if track(codec).video().is_some() { 0x101u16 } else { 0x102 };
        let starts: [&[u8]; 8] = [
            b"",
            b"\x00\x00\x01\xe0\x00\x00\x84\x80\x05\x21\x00\x01\x00\x01\x00\x00\x01\x67",
            b"\x00\x00\x01\xe0\x00\x60\x84\x80\x05\x21\x00\x01\x00\x01\x00\x00\x00\x01\x65\x80",
            b"\x00\x00\x01\xc0\x00\x40\x84\x80\x05\x21\x00\x01\x00\x01\xff\xf1\x4c\x80\x02\x1f\xfc",
            b"\x00\x00\x01\xbd\x00\x40\x84\xc0\x0a\x31\x00\x01\x00\x01\x11\x00\x01\x00\x01\x7f\xe0",
            b"\x00\x00\x01\xc0\x00\x00\x80\x80\x05\x21\x00\x01\x00\x01\xff\xfb\x90\x64",
            b"\x00\x02\xb0\x1d\x00\x01\xc3\x00\x00\xe1\x01\xf0\x00\x1b",
            b"\xff\x00\x00\x01\x00",
        ];
        for (place, counter, adaptation, start, noise) in packets {
            let pid = [pid, pid, 0x100, 0][place];
            let mut packet = vec![0x47, (pid >> 8) as u8 | if start > 0 { 0x40 } else { 0 }, pid as u8, 0x10 | counter];
            if adaptation % 3 == 0 {
                packet[3] |= 0x20;
                packet.extend([adaptation, counter << 4]);
            }
            packet.extend(starts[start]);
            packet.extend(noise);
            packet.truncate(188);
            stream.extend_from_slice(&packet);
        }
        for (at, value) in damage {
            let at = at % stream.len();
            stream[at] = value;
        }
        let mut demuxer = Demuxer::new();
        let mut events = 0;
        for chunk in stream.chunks(1_000) {
            demuxer.push(chunk);
            events += std::iter::from_fn(|| demuxer.poll()).count();
        }
        demuxer.flush();
        events += std::iter::from_fn(|| demuxer.poll()).count();
        prop_assert!(events <= stream.len());
        prop_assert!(demuxer.tracks().count() <= MAX_TRACKS);
    }
}
