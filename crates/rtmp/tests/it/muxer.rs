//! Frames through the muxer and back.

use bytes::{Bytes, BytesMut};
use container::flv::{Carried, body, metadata};
use media::track::{AudioParams, VideoParams};
use media::{CodecId, Frame, MediaTime, Mux, Packet, Track, TrackId, TrackParams};
use proptest::prelude::*;
use rtmp::chunk::{Limits, Message, Reader};
use rtmp::mux::{Muxer, Options};

fn video() -> Track {
    Track {
        id: TrackId(0),
        codec: CodecId::H265,
        config: Some(Bytes::from_static(b"hvcC record")),
        params: TrackParams::Video(VideoParams {
            width: 640,
            height: 360,
            fps: 25.0,
        }),
        wire: None,
    }
}

fn audio() -> Track {
    Track {
        id: TrackId(1),
        codec: CodecId::Aac,
        config: Some(Bytes::from_static(&[0x12, 0x08])),
        params: TrackParams::Audio(AudioParams {
            sample_rate: 44_100,
            channels: 1,
            sample_bits: 16,
        }),
        wire: None,
    }
}

fn frame(track: u8, millis: i64, key: bool, len: usize) -> Frame {
    let data = Bytes::from(vec![0x5A; len]);
    let dts = MediaTime::from_millis(millis);
    Frame {
        track: TrackId(track),
        dts,
        pts: dts + MediaTime::from_millis(80),
        key,
        data,
        wire: None,
    }
}

fn muxer(options: Options) -> Muxer {
    let mut muxer = Muxer::new(options);
    let mut out = Vec::new();
    muxer.set_tracks(&[video(), audio()], &mut out);
    assert!(out.is_empty(), "the preamble has it");
    muxer
}

/// Reads packets as a player does that was told the chunk size.
fn read(chunk_size: u32, packets: &[Packet]) -> Vec<Message> {
    let mut bytes = BytesMut::from(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..]);
    bytes.extend_from_slice(&chunk_size.to_be_bytes());
    for part in packets.iter().flat_map(|packet| &packet.parts) {
        bytes.extend_from_slice(part);
    }
    let mut reader = Reader::new(Limits::default());
    let messages = std::iter::from_fn(|| reader.next(&mut bytes).expect("valid")).collect();
    assert!(bytes.is_empty());
    messages
}

proptest! {
    #[test]
    fn a_player_gets_the_tag_bodies_of_flv_with_full_times(
        chunk_size in prop_oneof![Just(1u32), Just(128), 128u32..2000, Just(60_000)],
        enhanced: bool,
        frames in prop::collection::vec(
            (any::<bool>(), prop_oneof![0i64..100_000, 0xFF_FFFF - 50..0xFF_FFFF + 50i64], any::<bool>(), 0usize..3000),
            1..20,
        ),
    ) {
        let options = Options { enhanced, chunk_size, ..Options::default() };
        let mut muxer = muxer(options);
        let mut packets = Vec::new();
        let mut expected = Vec::new();
        for (is_video, millis, key, len) in frames {
            let frame = frame(u8::from(!is_video), millis, key || !is_video, len);
            muxer.write(&frame, &mut packets);
            let track = if is_video { video() } else { audio() };
            let bytes = [&body::frame_head(&frame, &track, enhanced)[..], &frame.data].concat();
            expected.push((if is_video { 9 } else { 8 }, millis, bytes));
            let packet = packets.last().expect("a packet");
            prop_assert_eq!((packet.key, packet.config, packet.dts), (is_video && key, false, frame.dts));
        }
        // Smaller than the protocol's default is taken as the default.
        let got = read(chunk_size.max(128), &packets);
        let got: Vec<_> = got.iter().map(|message| (message.type_id, message.timestamp_ms, message.body.to_vec())).collect();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn payloads_are_shared_and_a_packet_of_one_chunk_has_two_parts() {
    let mut muxer = muxer(Options::default());
    let mut out = Vec::new();
    let frame = frame(0, 40, true, 50_000);
    muxer.write(&frame, &mut out);
    assert_eq!(out[0].parts.len(), 2);
    assert_eq!(out[0].parts[1].as_ptr(), frame.data.as_ptr());
    assert_eq!(out[0].parts[0][0], 7, "type 0 on chunk stream 7");
}

#[test]
fn continuation_chunks_repeat_the_extended_timestamp() {
    let mut muxer = muxer(Options {
        chunk_size: 128,
        ..Options::default()
    });
    let mut out = Vec::new();
    muxer.write(&frame(0, 0x0100_0000, true, 300), &mut out);
    assert_eq!(out[0].parts[0][..4], [7, 0xFF, 0xFF, 0xFF]);
    assert_eq!(out[0].parts[0][12..16], [1, 0, 0, 0]);
    assert_eq!(out[0].parts[2], &[0xC7, 1, 0, 0, 0][..]);
}

#[test]
fn the_preamble_is_metadata_and_configurations_as_in_flv() {
    let muxer = muxer(Options {
        server: "test".into(),
        ..Options::default()
    });
    let packets = muxer.preamble();
    assert!(packets.iter().all(|packet| packet.config && !packet.key));
    let got: Vec<_> = read(60_000, &packets)
        .into_iter()
        .map(|message| {
            (
                message.type_id,
                message.stream_id,
                message.timestamp_ms,
                message.body,
            )
        })
        .collect();
    let metadata = metadata::body(&Carried::of(&[video(), audio()]), true, "test");
    let header = |track| body::sequence_header(track, true).expect("it has one");
    assert_eq!(
        got,
        [
            (18, 1, 0, metadata),
            (9, 1, 0, header(&video())),
            (8, 1, 0, header(&audio()))
        ]
    );
}

#[test]
fn a_changed_configuration_reaches_players_that_are_there() {
    let mut muxer = muxer(Options::default());
    let mut out = Vec::new();
    muxer.write(&frame(0, 1_000, true, 10), &mut out);
    out.clear();
    let changed = Track {
        config: Some(Bytes::from_static(b"another record")),
        ..video()
    };
    muxer.set_tracks(&[changed.clone(), audio()], &mut out);
    let got: Vec<_> = read(60_000, &out)
        .iter()
        .map(|message| (message.type_id, message.timestamp_ms, message.body.clone()))
        .collect();
    assert_eq!(got.len(), 2, "metadata and video; audio is as it was");
    assert_eq!(
        got[1],
        (
            9,
            1_000,
            body::sequence_header(&changed, true).expect("it has one")
        )
    );
    out.clear();
    muxer.set_tracks(&[changed, audio()], &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_stream_without_video_starts_at_any_audio() {
    let mut muxer = Muxer::new(Options::default());
    let mut out = Vec::new();
    muxer.set_tracks(&[audio()], &mut out);
    muxer.write(&frame(1, 0, true, 10), &mut out);
    muxer.write(&frame(0, 0, true, 10), &mut out);
    assert_eq!(out.len(), 1, "the unknown track is left out");
    assert!(out[0].key);
}
