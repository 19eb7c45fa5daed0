//! Packets to frames: through a bad network, over wraps-around, and from senders that mean harm.

use crate::stream::{
    Got, OPTIONS, RECEIVE, Sent, frames, muxer, publish, receive, renumbered, rtp, send_one, sets, stream,
    track,
};
use bytes::{BufMut, Bytes, BytesMut};
use media::{CodecId, Frame, MediaTime, Track, TrackId};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use testkit::netem::{Config, Netem};
use tidegate_rtp::Header;
use tidegate_rtp::demux::{Demuxer, Event, Options};
use tidegate_rtp::reorder::Limits;
use tidegate_rtp::sdp::{Media, Session};

/// As the server receives over UDP.
const UDP: Options = Options {
    limits: Limits {
        max_packets: 1024,
        max_delay: Duration::from_millis(200),
    },
    ..RECEIVE
};

/// 90 kHz passes 2^32 in the middle of a minute, and so does the sequence.
fn turning(sent: &[Sent]) -> Vec<Sent> {
    let first = sent.iter().flat_map(|sent| rtp(sent)).next().unwrap();
    let sequence = 0u16.wrapping_sub(300).wrapping_sub(first.header().sequence);
    let timestamp = 0u32
        .wrapping_sub(30 * 90_000)
        .wrapping_sub(first.header().timestamp);
    renumbered(sent, sequence, timestamp)
}

struct Run {
    /// Frames, and when they came out.
    got: Vec<(Duration, Frame)>,
    /// For each channel, numbers of the packets that the network carried.
    carried: BTreeMap<u8, Vec<bool>>,
    losses: Vec<(TrackId, u64, u64)>,
    bad: usize,
}

/// Sends the packets of each frame at its time.
fn run(seed: u64, config: Config, sections: &[Media], frames: &[Frame], sent: &[Sent]) -> Run {
    let start = Instant::now();
    let mut schedule = frames
        .iter()
        .zip(sent)
        .flat_map(|(frame, sent)| sent.iter().map(|packet| (frame.dts.as_duration(), packet)))
        .peekable();
    let (mut netem, mut demuxer) = (Netem::new(seed, config), Demuxer::new(sections, UDP));
    let mut run = Run {
        got: Vec::new(),
        carried: BTreeMap::new(),
        losses: Vec::new(),
        bad: 0,
    };
    let mut now = start;
    loop {
        let next = schedule.peek().map(|(at, _)| start + *at);
        let Some(at) = [next, netem.next(), demuxer.deadline()]
            .into_iter()
            .flatten()
            .min()
        else {
            break;
        };
        now = now.max(at);
        if next.is_some_and(|at| at <= now)
            && let Some((_, (channel, packet))) = schedule.next()
        {
            let datagram: Bytes = [&[*channel], &packet[..]].concat().into();
            let carried = netem.send(now, datagram);
            run.carried.entry(*channel).or_default().push(carried);
        }
        while let Some(datagram) = netem.poll(now) {
            let (channel, section) = (datagram[0], usize::from(datagram[0] / 2));
            if channel % 2 == 0 {
                demuxer.rtp(now, section, datagram.slice(1..)).unwrap();
            } else {
                demuxer.rtcp(now, section, &datagram[1..]).unwrap();
            }
        }
        while let Some(event) = demuxer.poll(now) {
            match event {
                Event::Frame(frame) => run.got.push((now - start, frame)),
                Event::Bad(_) => run.bad += 1,
                Event::Track(_) => {}
                Event::Unsupported(what) => panic!("{what}"),
            }
        }
        assert!(
            demuxer.deadline().is_none_or(|deadline| deadline > now),
            "it stalls"
        );
    }
    run.losses = demuxer.losses().collect();
    run
}

#[test]
fn what_a_bad_network_leaves_comes_out_whole() {
    let pairs = [
        [track(0, CodecId::H264), track(1, CodecId::Aac)],
        [track(0, CodecId::H265), track(1, CodecId::G711A)],
        [track(0, CodecId::Vp8), track(1, CodecId::Opus)],
        [track(0, CodecId::Vp9), track(1, CodecId::L16)],
        [track(0, CodecId::Av1), track(1, CodecId::Mp3)],
    ];
    for tracks in pairs {
        let frames = stream(&tracks, 60);
        let (sections, sent) = publish(&tracks, &frames, OPTIONS);
        let sent = turning(&sent);
        for (seed, loss) in [(1, 0.0), (2, 0.01), (3, 0.05), (4, 0.1)] {
            let config = Config {
                loss,
                duplicate: 0.03,
                delay: Duration::from_millis(40),
                jitter: Duration::from_millis(30),
                reorder: 0.05,
            };
            let what = format!("{:?} and {:?}, loss {loss}", tracks[0].codec, tracks[1].codec);
            let run = run(seed, config, &sections, &frames, &sent);
            check(&what, &frames, &sent, &run);
            if loss == 0.0 {
                assert_eq!((run.got.len(), run.bad), (frames.len(), 0), "{what}");
            }
        }
    }
}

#[track_caller]
fn check(what: &str, frames: &[Frame], sent: &[Sent], run: &Run) {
    // By track and content.
    let index: HashMap<(TrackId, &[u8]), usize> = frames
        .iter()
        .enumerate()
        .map(|(at, frame)| ((frame.track, &frame.data[..]), at))
        .collect();
    assert_eq!(index.len(), frames.len(), "{what}: frames can be told apart");
    for id in [TrackId(0), TrackId(1)] {
        let got: Vec<_> = run.got.iter().filter(|(_, frame)| frame.track == id).collect();
        let at = |frame: &Frame| {
            // A key frame is taken without its parameter sets if their packet, the first, was lost.
            let whole = |codec| [&sets(codec), &frame.data[..]].concat();
            let at = index.get(&(id, &frame.data[..])).copied();
            let at = at.map(|at| (at, 0)).or_else(|| {
                let bare = [CodecId::H264, CodecId::H265].map(whole);
                let at = bare.iter().find_map(|data| index.get(&(id, &data[..])))?;
                Some((*at, 1))
            });
            at.unwrap_or_else(|| panic!("{what}: a frame that was not sent"))
        };
        let origin = got[0].1.pts - frames[at(&got[0].1).0].pts;
        for (_, frame) in &got {
            let (number, missing) = at(frame);
            let original = &frames[number];
            assert_eq!(frame.key, original.key, "{what}");
            let off = (frame.pts - original.pts - origin).as_micros().abs();
            // Audio that began by arrival is moved once.
            let tolerance = if id == TrackId(0) { 300 } else { 100_000 };
            assert!(off <= tolerance, "{what}, {id:?}: {off}");
            let wire: Vec<Bytes> = rtp(&sent[number])
                .iter()
                .skip(missing)
                .map(|packet| packet.bytes().clone())
                .collect();
            assert!(
                frame.wire.as_deref() == Some(&wire[..]),
                "{what}, {id:?}: the packets of a frame"
            );
        }
        assert!(
            got.windows(2).all(|pair| at(&pair[0].1).0 < at(&pair[1].1).0),
            "{what}"
        );
        let ordered = got
            .windows(2)
            .filter(|pair| pair[0].1.dts > pair[1].1.dts)
            .count();
        assert_eq!(ordered, 0, "{what}, {id:?}");

        // From the first that came out on, which is a key frame where no description tells the configuration, nothing that arrived
        // whole is left out.
        let mut numbers = run.carried[&(id.0 * 2)].iter();
        let begun = at(&got[0].1).0;
        let whole = frames
            .iter()
            .zip(sent)
            .enumerate()
            .filter(|(number, (frame, sent))| {
                // All of its numbers are to be taken, so this counts.
                let mut lost = || {
                    let came = numbers.by_ref().take(rtp(sent).len());
                    came.filter(|came| !**came).count()
                };
                frame.track == id && lost() == 0 && *number >= begun
            });
        let whole = whole.count();
        assert!(got.len() >= whole, "{what}, {id:?}: {} of {whole}", got.len());
        // And no pause is longer than what was lost in a row, and waited for.
        let pause = got.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!(pause < Duration::from_millis(900), "{what}, {id:?}: {pause:?}");

        // What was lost is counted, but for the ends.
        let carried = &run.carried[&(id.0 * 2)];
        let first = carried.iter().position(|came| *came).unwrap();
        let last = carried.iter().rposition(|came| *came).unwrap();
        let lost = carried[first..last].iter().filter(|came| !**came).count() as u64;
        let (_, counted, expected) = run.losses[usize::from(id.0)];
        assert!(
            counted.abs_diff(lost) <= 2,
            "{what}, {id:?}: {counted} for {lost}"
        );
        assert!(expected >= (last - first) as u64, "{what}");
    }
}

#[test]
fn timestamps_and_numbers_turn_without_a_step() {
    let tracks = [track(0, CodecId::H264), track(1, CodecId::Opus)];
    let frames = stream(&tracks, 60);
    let (sections, sent) = publish(&tracks, &frames, OPTIONS);
    let sent = turning(&sent);
    let numbers: Vec<_> = sent
        .iter()
        .flat_map(|sent| rtp(sent))
        .map(|packet| (packet.header().sequence, packet.header().timestamp))
        .collect();
    assert!(numbers.iter().any(|(sequence, _)| *sequence == u16::MAX));
    assert!(numbers.iter().any(|(_, timestamp)| *timestamp > u32::MAX - 3600));
    let got = receive(&sections, sent.iter().flatten(), RECEIVE);
    assert_eq!(got.frames.len(), frames.len());
    for (sent, got) in frames.iter().zip(&got.frames) {
        assert_eq!(got.track, sent.track);
        let off = (got.pts - (sent.pts - frames[0].pts)).as_micros();
        assert!(off.abs() < 100, "{off} at {:?}", sent.pts);
    }
}

fn packet(header: Header, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    header.write(&mut out);
    out.put_slice(payload);
    out.freeze()
}

fn jpeg() -> Vec<Media> {
    Session::parse(b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n")
        .unwrap()
        .media
}

#[test]
fn another_source_begins_a_time_line_of_its_own() {
    let mut sent = Vec::new();
    // Without markers: the last picture of the first source ends when the second one begins.
    for (ssrc, first) in [(1, 1000u32), (2, 0x4000_0000)] {
        for picture in 0..20u32 {
            let header = Header {
                marker: false,
                payload_type: 26,
                sequence: picture as u16,
                timestamp: first + picture * 3600,
                ssrc,
            };
            sent.push((0, packet(header, &[1; 30])));
        }
    }
    let got = receive(&jpeg(), &sent, RECEIVE);
    assert_eq!(got.frames.len(), 39);
    for pair in got.frames.windows(2) {
        let step = (pair[1].pts - pair[0].pts).as_millis();
        assert!((0..=40).contains(&step), "{step}");
    }
    assert!(
        got.frames
            .iter()
            .all(|frame| frame.wire.as_ref().unwrap().len() == 1)
    );
}

#[test]
fn a_frame_of_too_many_packets_goes_without_them() {
    for (count, len) in [(600u32, 60_000), (20_000, 10)] {
        let mut sent = Vec::new();
        for number in 0..count + 3 {
            let header = Header {
                marker: false,
                payload_type: 26,
                sequence: number as u16,
                timestamp: u32::from(number >= count) + u32::from(number > count),
                ssrc: 1,
            };
            sent.push((0, packet(header, &vec![1; len])));
        }
        let got = receive(&jpeg(), &sent, RECEIVE);
        assert_eq!(got.frames.len(), 2);
        assert_eq!(got.frames[0].wire, None);
        assert_eq!(got.frames[1].wire.as_ref().unwrap().len(), 1);
        let mut muxer = muxer(&got.tracks, OPTIONS);
        assert!(rtp(&send_one(&mut muxer, &got.frames[0]).1).is_empty());
        assert_eq!(rtp(&send_one(&mut muxer, &got.frames[1]).1).len(), 1);
    }
}

#[test]
fn a_damaged_packet_costs_its_frame_and_its_packets() {
    let tracks = [track(0, CodecId::H264)];
    let sent_frames = frames(&tracks[0], 2);
    let options = tidegate_rtp::mux::Options {
        video_mtu: 500,
        ..OPTIONS
    };
    let (sections, mut sent) = publish(&tracks, &sent_frames, options);
    let at = (10..24).find(|at| rtp(&sent[*at]).len() > 2).unwrap();
    // An interleaved packet, which is not supported.
    let damaged = sent[at][1].1.clone();
    sent[at][1].1 = crate::stream::patched(&damaged, 12, &[0x79]);
    let got = receive(&sections, sent.iter().flatten(), RECEIVE);
    assert_eq!(got.bad.len(), 1);
    assert_eq!(got.frames.len(), sent_frames.len() - 1);
    for frame in &got.frames {
        let at = sent_frames
            .iter()
            .position(|sent| sent.data == frame.data)
            .unwrap();
        assert_eq!(
            frame.wire.as_ref().unwrap().len(),
            rtp(&sent[at]).len(),
            "frame {at}"
        );
    }
}

const SECTIONS: [&str; 14] = [
    "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000",
    "m=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000",
    "m=video 0 RTP/AVP 96\na=rtpmap:96 AV1/90000",
    "m=video 0 RTP/AVP 96\na=rtpmap:96 VP8/90000",
    "m=video 0 RTP/AVP 96\na=rtpmap:96 VP9/90000",
    "m=video 0 RTP/AVP 96\na=rtpmap:96 JPEG/90000",
    "m=video 0 RTP/AVP 96\na=rtpmap:96 x/1",
    "m=audio 0 RTP/AVP 96\na=rtpmap:96 mpeg4-generic/4294967295/2\na=fmtp:96 mode=AAC-hbr;config=1210;sizelength=13;indexlength=3",
    "m=audio 0 RTP/AVP 96\na=rtpmap:96 MP4A-LATM/44100",
    "m=audio 0 RTP/AVP 96\na=rtpmap:96 opus/48000/2",
    "m=audio 0 RTP/AVP 96\na=rtpmap:96 MPA/90000",
    "m=audio 0 RTP/AVP 96\na=rtpmap:96 L16/44100/2",
    "m=audio 0 RTP/AVP 96\na=rtpmap:96 y/4294967295",
    "m=application 0 RTP/AVP 96",
];

#[derive(Clone, Debug)]
enum Step {
    Rtp {
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
    },
    Rtcp(Vec<u8>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let timestamp = prop_oneof![3 => 0u32..4, 1 => any::<u32>(), 1 => (0u32..10).prop_map(|n| u32::MAX - n)];
    let sequence = prop_oneof![4 => 0u16..12, 1 => any::<u16>()];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        // What begins like something.
        (
            prop::sample::select(vec![
                vec![0x67, 0x64, 0, 13],
                vec![0x68, 0xee],
                vec![0x65, 0x88],
                vec![0x7c, 0x85],
                vec![0x7c, 0x45],
                vec![0x26, 1, 0x80],
                vec![0x10, 0x50, 0x42, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0x40],
                vec![0x08, 0xa2, 0x49, 0x83, 0x42],
                vec![0, 16, 0, 8],
                vec![0, 32, 0, 8, 0, 9],
                vec![0, 0, 0, 0, 0xff, 0xfb, 0x90, 0],
            ]),
            prop::collection::vec(any::<u8>(), 0..40),
        )
            .prop_map(|(head, tail)| [head, tail].concat()),
    ];
    let rtp = (0u32..3, sequence, timestamp, any::<bool>(), payload).prop_map(
        |(ssrc, sequence, timestamp, marker, payload)| Step::Rtp {
            ssrc,
            sequence,
            timestamp,
            marker,
            payload,
        },
    );
    let rtcp = (198u8..206, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(kind, body)| {
        let words = (body.len() / 4) as u8;
        Step::Rtcp([&[0x81, kind, 0, words], &body[..usize::from(words) * 4]].concat())
    });
    prop_oneof![8 => rtp, 1 => rtcp, 1 => prop_oneof![0u64..300, any::<u32>().prop_map(u64::from)].prop_map(Step::Wait)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_sender_breaks_it(
        chosen in prop::collection::vec(prop::sample::select(SECTIONS.to_vec()), 1..4),
        steps in prop::collection::vec((0usize..4, step()), 0..60),
        ordered: bool, direct: bool, pass: bool,
    ) {
        let sections: Vec<Media> = chosen.iter().map(|text| Media::parse_section(text).unwrap()).collect();
        let limits = if ordered { Limits::in_order() } else { UDP.limits };
        let mut demuxer = Demuxer::new(&sections, Options { direct, limits, ..RECEIVE });
        let options = tidegate_rtp::mux::Options { direct: pass, ..OPTIONS };
        let (mut muxer, mut tracks, mut now) = (muxer(&[], options), Vec::<Track>::new(), Instant::now());
        let (mut packets, mut kept, mut out) = (0, 0, 0);
        for (section, step) in steps {
            match step {
                Step::Rtp { ssrc, sequence, timestamp, marker, payload } => {
                    packets += 1;
                    let header = Header { marker, payload_type: 96, sequence, timestamp, ssrc };
                    let _ = demuxer.rtp(now, section, packet(header, &payload));
                }
                Step::Rtcp(bytes) => {
                    let _ = demuxer.rtcp(now, section, &bytes);
                    demuxer.anchor(section, bytes.len() as u32);
                }
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            while let Some(event) = demuxer.poll(now) {
                match event {
                    Event::Track(track) => {
                        tracks.retain(|other| other.id != track.id);
                        tracks.push(track);
                        media::Mux::set_tracks(&mut muxer, &tracks, &mut Vec::new());
                        prop_assert!(tidegate_rtp::mux::describe(&tracks, pass).len() <= tracks.len());
                    }
                    Event::Frame(frame) => {
                        prop_assert!(tracks.iter().any(|track| track.id == frame.track));
                        kept += frame.wire.as_ref().map_or(0, |wire| wire.len());
                        out += rtp(&send_one(&mut muxer, &frame).1).len();
                    }
                    Event::Bad(_) | Event::Unsupported(_) => {}
                }
            }
            demuxer.reports(now);
        }
        // Each packet is in one frame at most.
        prop_assert!(kept <= packets, "{kept} of {packets}");
        prop_assert!(!direct || !pass || out <= packets, "{out} of {packets}");
    }
}

/// The description of one track has no influence on another's time.
#[test]
fn what_is_not_carried_leaves_the_others_alone() {
    let tracks = [track(0, CodecId::H264), track(1, CodecId::Aac)];
    let (mut sections, sent) = publish(&tracks, &stream(&tracks, 1), OPTIONS);
    sections.insert(0, Media::parse_section("m=application 0 RTP/AVP 98").unwrap());
    let (mut demuxer, now, mut got) = (Demuxer::new(&sections, RECEIVE), Instant::now(), Got::default());
    assert!(matches!(demuxer.poll(now), Some(Event::Unsupported(_))));
    demuxer.rtp(now, 0, rtp(&sent[0])[0].bytes().clone()).unwrap_err();
    demuxer.rtp(now, 9, rtp(&sent[0])[0].bytes().clone()).unwrap_err();
    for (channel, packet) in sent.iter().flatten().filter(|(channel, _)| channel % 2 == 0) {
        demuxer
            .rtp(now, 1 + usize::from(channel / 2), packet.clone())
            .unwrap();
        while let Some(event) = demuxer.poll(now) {
            got.take(event);
        }
    }
    assert_eq!(
        got.tracks.iter().map(|track| track.id.0).collect::<Vec<_>>(),
        [0, 1]
    );
    assert_eq!(got.frames[0].pts, MediaTime::ZERO);
    assert_eq!(got.frames.len(), sent.len());
}
