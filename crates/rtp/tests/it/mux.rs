//! Frames to packets and back, and the packets of publishers passed on.

use crate::stream::{
    AUDIO, EPOCH, Got, OPTIONS, RECEIVE, Sent, VIDEO, frames, muxer, patched, publish, receive, renumbered,
    rtp, send, send_one, sets, stream, track,
};
use bytes::Bytes;
use media::{CodecId, Frame, MediaKind, MediaTime, Mux, Track, TrackId};
use std::collections::HashMap;
use tidegate_rtp::demux::Demuxer;
use tidegate_rtp::format::Format;
use tidegate_rtp::mux::{Options, describe, ssrc};
use tidegate_rtp::rtcp::{Rtcp, SenderReport};
use tidegate_rtp::sdp::Media;

const DIRECT: Options = Options {
    direct: true,
    ..OPTIONS
};

fn of(frames: &[Frame], id: u8) -> Vec<&Frame> {
    frames.iter().filter(|frame| frame.track == TrackId(id)).collect()
}

/// What came out is what went in, one time for all tracks apart.
#[track_caller]
fn check(what: &str, sent: &[Frame], got: &Got) {
    assert_eq!(got.bad, [], "{what}");
    let origin = sent[0].pts;
    for id in 0..2 {
        let (sent, got) = (of(sent, id), of(&got.frames, id));
        assert_eq!(sent.len(), got.len(), "{what}, track {id}");
        for (number, (sent, got)) in sent.iter().zip(&got).enumerate() {
            assert!(sent.data == got.data, "{what}, track {id}, frame {number}");
            assert_eq!(sent.key, got.key, "{what}, track {id}, frame {number}");
            let off = (got.pts - (sent.pts - origin)).as_micros();
            // A tick of each of the two clocks.
            assert!(off.abs() <= 2 * 125, "{what}, track {id}, frame {number}: {off}");
            assert!(got.dts <= got.pts, "{what}, track {id}, frame {number}");
        }
        let in_order = got.windows(2).all(|pair| pair[0].dts < pair[1].dts);
        assert!(in_order, "{what}, track {id}");
    }
}

fn pairs() -> impl Iterator<Item = [Track; 2]> {
    let video = VIDEO.map(|codec| [track(0, codec), track(1, CodecId::Aac)]);
    let audio = AUDIO.map(|codec| [track(0, CodecId::H264), track(1, codec)]);
    video.into_iter().chain(audio)
}

#[test]
fn frames_come_back_from_our_own_packets() {
    for tracks in pairs() {
        let frames = stream(&tracks, 3);
        for (video_mtu, audio_mtu, stap_a) in [
            (200, 1000, true),
            (576, 1000, false),
            (1400, 1400, true),
            (9000, 4000, false),
        ] {
            let options = Options {
                video_mtu,
                audio_mtu,
                stap_a,
                ..OPTIONS
            };
            let (sections, sent) = publish(&tracks, &frames, options);
            let longest = |even: u8| {
                let packets = sent.iter().flatten().filter(|(channel, _)| *channel == even);
                packets.map(|(_, packet)| packet.len()).max()
            };
            assert!(longest(0) <= Some(video_mtu) && longest(2) <= Some(audio_mtu));
            let got = receive(&sections, sent.iter().flatten(), RECEIVE);
            let what = format!("{:?} and {:?} at {video_mtu}", tracks[0].codec, tracks[1].codec);
            check(&what, &frames, &got);
            assert_eq!(got.tracks.len(), 2, "{what}");
        }
    }
}

#[test]
fn frames_come_back_from_packets_that_were_passed_on() {
    for tracks in pairs() {
        let frames = stream(&tracks, 3);
        let what = format!("{:?} and {:?}", tracks[0].codec, tracks[1].codec);
        let (sections, sent) = publish(&tracks, &frames, OPTIONS);
        let received = receive(&sections, sent.iter().flatten(), RECEIVE);
        let mut passing = muxer(&received.tracks, DIRECT);
        let passed = send(&mut passing, &received.frames);
        check(
            &what,
            &received.frames,
            &receive(
                &describe(&received.tracks, true),
                passed.iter().flatten(),
                RECEIVE,
            ),
        );

        // Nothing but the numbers is ours.
        for channel in [0, 2] {
            let on = |sent: &[Sent]| {
                let sent = sent.iter().flatten().filter(|(other, _)| *other == channel);
                rtp(&sent.cloned().collect::<Vec<_>>())
            };
            let (theirs, ours) = (on(&sent), on(&passed));
            assert_eq!(theirs.len(), ours.len(), "{what}");
            for (theirs, ours) in theirs.iter().zip(&ours) {
                assert_eq!(theirs.payload(), ours.payload(), "{what}");
                assert_eq!(theirs.bytes()[..2], ours.bytes()[..2], "{what}");
                assert_eq!(ours.header().ssrc, ssrc(DIRECT.seed, usize::from(channel / 2)));
            }
        }
        // And from frames without packets, our own are made.
        let repacked = muxer(
            &received.tracks,
            Options {
                direct: false,
                ..OPTIONS
            },
        );
        let mut repacked = repacked;
        let repacked = send(&mut repacked, &received.frames);
        check(
            &what,
            &received.frames,
            &receive(
                &describe(&received.tracks, false),
                repacked.iter().flatten(),
                RECEIVE,
            ),
        );
    }
}

/// All packets of a channel follow each other, and the times are those of the frames.
#[track_caller]
fn check_numbers(what: &str, frames: &[Frame], sent: &[Sent], rates: [u32; 2]) {
    for id in 0..2u8 {
        let (mut next, mut origin) = (None, None);
        for (frame, sent) in frames.iter().zip(sent).filter(|(frame, _)| frame.track.0 == id) {
            for packet in rtp(sent) {
                let header = packet.header();
                assert_eq!(header.ssrc, ssrc(OPTIONS.seed, id.into()), "{what}");
                assert_eq!(
                    next.unwrap_or(header.sequence),
                    header.sequence,
                    "{what}, track {id}"
                );
                next = Some(header.sequence.wrapping_add(1));
                let ticks = frame.pts.as_ticks(rates[usize::from(id)]) as u32;
                let off = header.timestamp.wrapping_sub(ticks);
                let off = off.wrapping_sub(*origin.get_or_insert(off)) as i32;
                assert!(off.abs() <= 2, "{what}, track {id}: {off} at {:?}", frame.pts);
            }
        }
    }
}

fn later(frames: &[Frame], by: MediaTime) -> Vec<Frame> {
    let later = |frame: &Frame| Frame {
        dts: frame.dts + by,
        pts: frame.pts + by,
        ..frame.clone()
    };
    frames.iter().map(later).collect()
}

#[test]
fn numbers_go_on_when_another_publisher_does() {
    let tracks = [track(0, CodecId::H264), track(1, CodecId::Aac)];
    let frames = stream(&tracks, 3);
    let seeds = [7, 99, 99];
    let mut runs: Vec<Got> = Vec::new();
    for (run, seed) in seeds.into_iter().enumerate() {
        let (sections, sent) = publish(&tracks, &frames, Options { seed, ..OPTIONS });
        // The third has the source of the second and other numbers, as cameras do that start again.
        let sent = if run == 2 {
            renumbered(&sent, 30_000, 1 << 30)
        } else {
            sent
        };
        runs.push(receive(&sections, sent.iter().flatten(), RECEIVE));
    }
    for packed in [None, Some(0), Some(1)] {
        let (mut muxer, mut all, mut sent) = (muxer(&[], DIRECT), Vec::new(), Vec::new());
        for (run, got) in runs.iter().enumerate() {
            let by = MediaTime::from_millis(3_100 * run as i64);
            let mut frames = later(&got.frames, by);
            let mut tracks = got.tracks.clone();
            if packed == Some(run) {
                // A publisher of another protocol.
                tracks.iter_mut().for_each(|track| track.wire = None);
                frames.iter_mut().for_each(|frame| frame.wire = None);
            }
            muxer.set_tracks(&tracks, &mut Vec::new());
            sent.extend(send(&mut muxer, &frames));
            all.extend(frames);
        }
        check_numbers(&format!("packed {packed:?}"), &all, &sent, [90_000, 44_100]);
    }
}

#[test]
fn numbers_go_on_when_the_configuration_changes() {
    for direct in [true, false] {
        let tracks = [track(0, CodecId::H264), track(1, CodecId::Aac)];
        let (sections, sent) = publish(&tracks, &stream(&tracks, 2), OPTIONS);
        let got = receive(&sections, sent.iter().flatten(), RECEIVE);
        let mut muxer = muxer(&got.tracks, Options { direct, ..OPTIONS });
        let (first, second) = got.frames.split_at(got.frames.len() / 2);
        let mut sent = send(&mut muxer, first);
        let mut tracks = got.tracks.clone();
        tracks[0].params = track(0, CodecId::Vp8).params;
        tracks[0].config = tracks[0].config.as_ref().map(|record| patched(record, 3, &[99]));
        muxer.set_tracks(&tracks, &mut Vec::new());
        sent.extend(send(&mut muxer, second));
        check_numbers("new configuration", &got.frames, &sent, [90_000, 44_100]);
    }
}

#[test]
fn a_frame_without_its_packets_does_not_break_the_numbers() {
    let tracks = [track(0, CodecId::H264), track(1, CodecId::Aac)];
    let (sections, sent) = publish(
        &tracks,
        &stream(&tracks, 2),
        Options {
            video_mtu: 300,
            ..OPTIONS
        },
    );
    let mut got = receive(&sections, sent.iter().flatten(), RECEIVE);
    got.frames[40].wire = None;
    got.frames[60].wire = None;
    let sent = send(&mut muxer(&got.tracks, DIRECT), &got.frames);
    check_numbers("without packets", &got.frames, &sent, [90_000, 44_100]);
}

/// How a sender ends its pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Marked,
    Unmarked,
    /// Without markers, and with the parameter sets at the time of the picture before.
    EarlySets,
}

#[test]
fn a_key_packet_begins_with_reports_and_with_the_key_frame() {
    for codec in VIDEO {
        let tracks = [track(0, codec), track(1, CodecId::Aac)];
        let options = Options {
            video_mtu: 500,
            stap_a: false,
            ..OPTIONS
        };
        let frames = stream(&tracks, 4);
        let (sections, sent) = publish(&tracks, &frames, options);
        // The second key frame, and the picture before it, made long.
        let key = (0..frames.len()).filter(|at| frames[*at].track.0 == 0 && frames[*at].key);
        let key = key.collect::<Vec<_>>()[2];
        let before = (0..key).rev().find(|at| frames[*at].track.0 == 0).unwrap();
        let count = rtp(&sent[before]).len();
        assert!(count > 2, "{codec:?}: {count}");
        for ends in [Ends::Marked, Ends::Unmarked, Ends::EarlySets] {
            let early = ends == Ends::EarlySets;
            if early && codec != CodecId::H264 {
                continue;
            }
            for lost in [None, Some(0), Some(1), Some(count - 1)] {
                // Early sets are lost with the picture whose time they have.
                if early && lost.is_some() {
                    continue;
                }
                let mut sent = sent.clone();
                if ends != Ends::Marked {
                    for (_, packet) in sent.iter_mut().flatten().filter(|(channel, _)| *channel == 0) {
                        *packet = patched(packet, 1, &[packet[1] & 0x7f]);
                    }
                }
                let before_time = rtp(&sent[before])[0].header().timestamp;
                if early {
                    for (_, packet) in sent[key].iter_mut().filter(|(channel, _)| *channel == 0).take(2) {
                        assert!(matches!(packet[12] & 0x1f, 7 | 8));
                        *packet = patched(packet, 4, &before_time.to_be_bytes());
                    }
                }
                if let Some(lost) = lost {
                    let at = sent[before].len() - count + lost;
                    sent[before].remove(at);
                }
                let what = format!("{codec:?}, {ends:?}, lost {lost:?}");
                let got = receive(&sections, sent.iter().flatten(), RECEIVE);
                let expected = rtp(&sent[key]);
                let frame = got
                    .frames
                    .iter()
                    .find(|frame| frame.data == frames[key].data)
                    .unwrap_or_else(|| panic!("{what}: the key frame came"));
                assert!(frame.key, "{what}");
                let wire = frame.wire.as_deref().unwrap();
                let expected: Vec<Bytes> = expected.iter().map(|packet| packet.bytes().clone()).collect();
                assert_eq!(wire.len(), expected.len(), "{what}");
                assert!(wire == expected, "{what}");

                // Every frame has its packets and no others.
                for frame in of(&got.frames, 0) {
                    let at = (0..frames.len()).find(|at| frames[*at].data == frame.data);
                    let at =
                        at.unwrap_or_else(|| panic!("{what}: a frame that was not sent at {:?}", frame.pts));
                    let theirs = rtp(&sent[at]);
                    assert_eq!(
                        frame.wire.as_ref().map(|wire| wire.len()),
                        Some(theirs.len()),
                        "{what}, {at}"
                    );
                }

                let mut muxer = muxer(&got.tracks, DIRECT);
                for frame in &got.frames {
                    let (is_key, out) = send_one(&mut muxer, frame);
                    assert_eq!(is_key, frame.key && frame.track.0 == 0, "{what}");
                    if is_key {
                        let order: Vec<u8> = out.iter().map(|(channel, _)| *channel).take(3).collect();
                        // At the very first one nothing is known of the other track.
                        assert!(
                            order == [1, 3, 0] || frame.pts == MediaTime::ZERO,
                            "{what}: {order:?}"
                        );
                        let first = rtp(&out)[0].payload().clone();
                        let theirs = frame.wire.as_deref().unwrap()[0].slice(12..);
                        assert_eq!(first, theirs, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_understood_is_passed_on() {
    let text = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:v\r\n\
        m=audio 0 RTP/AVP 97\r\na=rtpmap:97 speex/16000\r\na=control:a\r\n";
    let sections = tidegate_rtp::sdp::Session::parse(text.as_bytes()).unwrap().media;
    let packet = |kind: u8, marker: bool, sequence: u16, timestamp: u32, body: &[u8]| {
        let mut out = bytes::BytesMut::new();
        tidegate_rtp::Header {
            marker,
            payload_type: kind,
            sequence,
            timestamp,
            ssrc: 5,
        }
        .write(&mut out);
        out.extend_from_slice(body);
        out.freeze()
    };
    let mut sent = Vec::new();
    for picture in 0..50u32 {
        for part in 0..3u32 {
            let number = (picture * 3 + part) as u16;
            // Every other picture has no marker.
            let marker = part == 2 && picture % 2 == 0;
            sent.push((
                0,
                packet(26, marker, number, picture * 3600, &number.to_be_bytes()),
            ));
        }
        for part in 0..2 {
            let number = (picture * 2 + part) as u16;
            sent.push((
                2,
                packet(97, false, number, u32::from(number) * 320, &number.to_be_bytes()),
            ));
        }
    }
    for direct in [true, false] {
        let got = receive(
            &sections,
            &sent,
            tidegate_rtp::demux::Options { direct, ..RECEIVE },
        );
        assert_eq!(got.tracks[0].codec, CodecId::Jpeg);
        assert_eq!(got.tracks[1].codec, CodecId::Other(MediaKind::Audio));
        assert_eq!(of(&got.frames, 0).len(), 49, "the last one has no end");
        assert_eq!(of(&got.frames, 1).len(), 100);
        assert!(got.frames.iter().all(|frame| frame.key));
        let options = Options { direct, ..OPTIONS };
        let described = describe(&got.tracks, direct);
        let types: Vec<_> = described.iter().map(|section| section.payload_types[0]).collect();
        assert_eq!(types, [26, 97]);
        let mut muxer = muxer(&got.tracks, options);
        let mut out = Vec::new();
        for frame in &got.frames {
            let (key, packets) = send_one(&mut muxer, frame);
            assert_eq!(key, frame.track.0 == 0);
            assert_eq!(rtp(&packets).len(), if key { 3 } else { 1 });
            out.extend(packets);
        }
        let again = receive(
            &described,
            &out,
            tidegate_rtp::demux::Options { direct, ..RECEIVE },
        );
        assert_eq!(of(&again.frames, 0).len(), 49, "the last one has a marker");
    }
}

fn reports(packet: &[u8]) -> Option<SenderReport> {
    Rtcp::parse(packet).find_map(|report| match report {
        Ok(Rtcp::SenderReport(report)) => Some(report),
        _ => None,
    })
}

/// Every packet's time is what the newest report of its track says. Returns when there were reports of each track.
#[track_caller]
fn check_reports(
    what: &str,
    tracks: &[Track],
    frames: &[Frame],
    muxer: &mut impl Mux,
    rates: &[u32],
) -> Vec<Vec<MediaTime>> {
    let mut newest: HashMap<usize, SenderReport> = HashMap::new();
    let mut times = vec![Vec::new(); tracks.len()];
    for frame in frames {
        let mut out = Vec::new();
        muxer.write(frame, &mut out);
        let pieces = out.iter().flat_map(|packet| &packet.parts);
        for (channel, packet) in pieces.flat_map(|piece| tidegate_rtp::mux::frames(piece.clone())) {
            let track = usize::from(channel / 2);
            if channel % 2 == 1 {
                newest.insert(track, reports(&packet).unwrap());
                times[track].push(frame.dts);
                continue;
            }
            let report = newest
                .get(&track)
                .unwrap_or_else(|| panic!("{what}: a packet of track {track} before a report"));
            let packet = tidegate_rtp::Packet::parse(packet).unwrap();
            assert_eq!(packet.header().ssrc, report.ssrc, "{what}");
            let span = frame.pts - MediaTime::from_micros(report.ntp.micros_since(EPOCH));
            let expected = report.rtp.wrapping_add(span.as_ticks(rates[track]) as u32);
            let off = packet.header().timestamp.wrapping_sub(expected) as i32;
            assert!(
                off.abs() <= 1,
                "{what}, track {track}: {off} ticks at {:?}",
                frame.pts
            );
        }
    }
    times
}

fn longest(times: &[MediaTime]) -> MediaTime {
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    steps.max().unwrap()
}

#[test]
fn sender_reports_put_all_tracks_on_one_time_line() {
    for direct in [false, true] {
        for tracks in pairs() {
            let what = format!("{:?} and {:?}, direct {direct}", tracks[0].codec, tracks[1].codec);
            let (sections, sent) = publish(&tracks, &stream(&tracks, 5), OPTIONS);
            let got = receive(&sections, sent.iter().flatten(), RECEIVE);
            let sections = describe(&got.tracks, direct);
            let rates: Vec<u32> = sections
                .iter()
                .map(|section| Format::of(section).unwrap().clock_rate)
                .collect();
            let mut muxer = muxer(&got.tracks, Options { direct, ..OPTIONS });
            let times = check_reports(&what, &got.tracks, &got.frames, &mut muxer, &rates);
            for frame in of(&got.frames, 0) {
                assert_eq!(times[0].contains(&frame.dts), frame.key, "{what}");
            }
            assert!(longest(&times[1]) <= MediaTime::from_millis(1_100), "{what}");
        }
    }
}

#[test]
fn sender_reports_come_without_key_frames_and_without_video() {
    let tracks = [track(0, CodecId::H264), track(1, CodecId::Aac)];
    let seconds = MediaTime::from_millis;
    // One key frame alone.
    let mut all = stream(&tracks, 20);
    all.retain(|frame| frame.track.0 == 1 || !frame.key || frame.dts == MediaTime::ZERO);
    let rates = [90_000, 44_100];
    let times = check_reports(
        "one key frame",
        &tracks,
        &all,
        &mut muxer(&tracks, OPTIONS),
        &rates,
    );
    for times in &times {
        assert!(longest(times) <= seconds(5_050));
        assert!(times.len() < 10, "{times:?}");
    }
    // The picture freezes after two seconds.
    all.retain(|frame| frame.track.0 == 1 || frame.dts < seconds(2_000));
    let times = check_reports("frozen", &tracks, &all, &mut muxer(&tracks, OPTIONS), &rates);
    assert!(longest(&times[1]) <= seconds(5_050));
    assert!(*times[1].last().unwrap() >= seconds(14_900));

    let tracks = [track(0, CodecId::Aac)];
    let frames = frames(&tracks[0], 20);
    let times = check_reports("audio", &tracks, &frames, &mut muxer(&tracks, OPTIONS), &[44_100]);
    assert!(longest(&times[0]) <= seconds(1_050));
    assert!(times[0].len() <= 21);
    let (key, _) = send_one(&mut muxer(&tracks, OPTIONS), &frames[0]);
    assert!(key);
}

#[test]
fn a_track_that_comes_later_has_a_report_before_its_first_packet() {
    for direct in [false, true] {
        let tracks = [track(0, CodecId::H264), track(1, CodecId::Aac)];
        let (sections, sent) = publish(&tracks, &stream(&tracks, 3), OPTIONS);
        let got = receive(&sections, sent.iter().flatten(), RECEIVE);
        let mut muxer = muxer(&got.tracks[..1], Options { direct, ..OPTIONS });
        let at = got.frames.len() / 2 - 3;
        send(&mut muxer, &got.frames[..at]);
        muxer.set_tracks(&got.tracks, &mut Vec::new());
        let audio = got.frames[at..].iter().find(|frame| frame.track.0 == 1).unwrap();
        let (_, sent) = send_one(&mut muxer, audio);
        let channels: Vec<u8> = sent.iter().map(|(channel, _)| *channel).collect();
        assert_eq!(channels, [3, 2]);
    }
}

/// A track that was described so.
fn described(id: u8, codec: CodecId, text: &str) -> Track {
    Track {
        wire: Some(text.into()),
        ..track(id, codec)
    }
}

fn controls(sections: &[Media]) -> Vec<&str> {
    sections
        .iter()
        .map(|section| section.control().unwrap())
        .collect()
}

#[test]
fn descriptions_are_in_the_order_of_the_channels() {
    let mut tracks = [
        track(0, CodecId::Aac),
        track(1, CodecId::Jpeg),
        track(2, CodecId::Other(MediaKind::Audio)),
        track(3, CodecId::H264),
        track(4, CodecId::G711A),
    ];
    tracks[4].wire = Some("m=audio 0 RTP/AVP 8\r\na=control:audio\r\na=ssrc:1 cname:x\r\n".into());
    for direct in [true, false] {
        let sections = describe(&tracks, direct);
        let types: Vec<_> = sections.iter().map(|section| section.payload_types[0]).collect();
        assert_eq!(types, [96, 97, 8]);
        let last = if direct { "audio" } else { "trackID=2" };
        assert_eq!(controls(&sections), ["trackID=0", "trackID=1", last]);
        // The source is ours.
        assert_eq!(sections[2].attribute("ssrc"), None);
        let mut muxer = muxer(&tracks, Options { direct, ..OPTIONS });
        for (id, channel) in [(0, 0), (3, 2), (4, 4)] {
            let frame = &frames(&tracks[id], 1)[0];
            let sent = send_one(&mut muxer, frame).1;
            assert_eq!(sent.last().unwrap().0, channel);
            let format = Format::of(&sections[usize::from(channel / 2)]).unwrap();
            let packets = rtp(&sent);
            assert!(
                packets
                    .iter()
                    .all(|packet| packet.header().payload_type == format.payload_type)
            );
        }
        let none = Frame {
            track: TrackId(1),
            ..frames(&tracks[0], 1)[0].clone()
        };
        assert!(send_one(&mut muxer, &none).1.is_empty());
    }
}

#[test]
fn every_section_has_a_control_of_its_own() {
    let check = |theirs: &[&str], ours: &[&str]| {
        let text = |control: &&str| {
            let control = if *control == "-" {
                String::new()
            } else {
                format!("a=control:{control}\r\n")
            };
            format!("m=audio 0 RTP/AVP 8\r\n{control}")
        };
        let tracks: Vec<Track> = theirs
            .iter()
            .enumerate()
            .map(|(id, control)| described(id as u8, CodecId::G711A, &text(control)))
            .collect();
        assert_eq!(controls(&describe(&tracks, true)), ours, "{theirs:?}");
    };
    check(&["streamid=0", "streamid=1"], &["streamid=0", "streamid=1"]);
    check(&["-", "-"], &["trackID=0", "trackID=1"]);
    check(&["rtsp://camera/live/track1", "*"], &["trackID=0", "trackID=1"]);
    check(&["a", "a", "a"], &["a", "trackID=1", "trackID=2"]);
    // The names of others are not taken.
    check(&["trackID=1", "-"], &["trackID=1", "trackID=2"]);
    check(&["-", "trackID=0"], &["trackID=1", "trackID=0"]);
    // What would end an entry of RTP-Info.
    check(&["a;b", "a,b"], &["trackID=0", "trackID=1"]);
}

#[test]
fn parameter_sets_of_the_configuration_precede_key_frames_without() {
    let tracks = [track(0, CodecId::H264)];
    let whole = &frames(&tracks[0], 1)[0];
    let bare = Frame {
        data: whole.data.slice(sets(CodecId::H264).len()..),
        ..whole.clone()
    };
    let (sections, sent) = publish(&tracks, &[bare], OPTIONS);
    let got = receive(&sections, sent.iter().flatten(), RECEIVE);
    assert!(got.frames[0].data == whole.data);
}

#[test]
fn a_packet_length_that_fits_nothing_is_not_taken_at_its_word() {
    let tracks = [track(0, CodecId::H264), track(1, CodecId::L16)];
    let frames = stream(&tracks, 1);
    for mtu in [0, 1, 70_000, usize::MAX] {
        let options = Options {
            video_mtu: mtu,
            audio_mtu: mtu,
            ..OPTIONS
        };
        let long = Frame {
            data: Bytes::from(vec![1; 200_000]),
            ..frames.iter().find(|frame| frame.track.0 == 1).unwrap().clone()
        };
        let sent = publish(&tracks, &[long], options).1;
        let bytes: usize = rtp(&sent[0]).iter().map(|packet| packet.payload().len()).sum();
        assert_eq!(bytes, 200_000, "{mtu}");
        let (sections, sent) = publish(&tracks, &frames, options);
        let mut demuxer = Demuxer::new(&sections, RECEIVE);
        let now = std::time::Instant::now();
        for (_, packet) in sent.iter().flatten().filter(|(channel, _)| *channel == 0) {
            demuxer.rtp(now, 0, packet.clone()).unwrap();
        }
    }
}
