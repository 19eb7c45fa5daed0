//! Multitrack and ModEx of Enhanced RTMP v2.

use super::{AVCC, HVCC, hex, read, tracks_and_frames};
use container::flv::{Demuxer, Error, Event, MAX_TRACKS, TagType};
use media::{CodecId, TrackId};

/// A sized part of a multitrack body.
fn part(track: u8, content: &str) -> String {
    let len = hex(content).len();
    format!("{track:02x} {len:06x} {content} ")
}

#[test]
fn one_track_has_an_id_of_its_own() {
    let mut demuxer = Demuxer::new();
    let mut events = read(
        &mut demuxer,
        TagType::Video,
        0,
        &hex(&format!("90 61766331 {AVCC}")),
    )
    .unwrap();
    events.extend(
        read(
            &mut demuxer,
            TagType::Video,
            0,
            &hex(&format!("96 00 68766331 05 {HVCC}")),
        )
        .unwrap(),
    );
    events.extend(
        read(
            &mut demuxer,
            TagType::Video,
            7,
            &hex("96 01 68766331 05 000028 00000003 2601af"),
        )
        .unwrap(),
    );
    let (tracks, frames) = tracks_and_frames(events);
    let announced: Vec<_> = tracks.iter().map(|track| (track.id.0, track.codec)).collect();
    assert_eq!(announced, [(0, CodecId::H264), (1, CodecId::H265)]);
    assert_eq!(
        (frames[0].track, frames[0].pts.as_millis(), frames[0].key),
        (TrackId(1), 47, true)
    );
}

#[test]
fn many_tracks_of_one_and_of_many_codecs() {
    let mut demuxer = Demuxer::new();
    let headers = format!("96 10 61766331 {} {}", part(0, AVCC), part(1, AVCC));
    let mut events = read(&mut demuxer, TagType::Video, 0, &hex(&headers)).unwrap();
    let many_codecs = format!(
        "96 21 61766331 {} 61766331 {}",
        part(0, "000000 00000002 6588"),
        part(1, "000000 00000002 6599")
    );
    events.extend(read(&mut demuxer, TagType::Video, 40, &hex(&many_codecs)).unwrap());
    let audio = format!("95 10 6d703461 {} {}", part(0, "1208"), part(1, "1190"));
    events.extend(read(&mut demuxer, TagType::Audio, 40, &hex(&audio)).unwrap());
    let audio = format!("95 21 6d703461 {} 4f707573 {}", part(1, "2100"), part(2, "fc12"));
    events.extend(read(&mut demuxer, TagType::Audio, 41, &hex(&audio)).unwrap());
    let (tracks, frames) = tracks_and_frames(events);
    let announced: Vec<_> = tracks.iter().map(|track| (track.id.0, track.codec)).collect();
    let expected = [
        CodecId::H264,
        CodecId::H264,
        CodecId::Aac,
        CodecId::Aac,
        CodecId::Opus,
    ];
    assert_eq!(announced, (0..).zip(expected).collect::<Vec<_>>());
    assert_eq!(
        frames.iter().map(|frame| frame.track.0).collect::<Vec<_>>(),
        [0, 1, 3, 4]
    );
    assert_eq!(&frames[1].data[..], hex("00000002 6599"));
}

#[test]
fn a_bad_track_does_not_cost_the_others() {
    let mut demuxer = Demuxer::new();
    let body = format!("96 10 61766331 {} {}", part(0, "01"), part(1, AVCC));
    demuxer.tag(TagType::Video, 0, hex(&body).into()).unwrap_err();
    assert!(matches!(demuxer.poll(), Some(Event::Track(_))));
    assert_eq!(demuxer.counters().bad, 1);
}

#[test]
fn the_number_of_tracks_is_bounded() {
    let mut demuxer = Demuxer::new();
    for track in 0..MAX_TRACKS as u8 {
        let body = hex(&format!("95 00 6d703461 {track:02x} 1208"));
        assert_eq!(read(&mut demuxer, TagType::Audio, 0, &body).unwrap().len(), 1);
    }
    let one_more = hex("95 00 6d703461 63 1208");
    let expected = Error::TooManyTracks {
        got: 0x63,
        max: MAX_TRACKS,
    };
    assert_eq!(read(&mut demuxer, TagType::Audio, 0, &one_more), Err(expected));
}

#[test]
fn mod_ex_is_passed_over() {
    let mut demuxer = Demuxer::new();
    // A nanosecond offset of 3 bytes, then an unknown modifier of 300 bytes.
    let nano = "97 02 0003e8";
    let unknown = format!("17 ff 012b {}", "00".repeat(300));
    let body = hex(&format!("{nano} {unknown} 10 61766331 {AVCC}").replace("17 ff", "07 ff"));
    assert_eq!(read(&mut demuxer, TagType::Video, 0, &body).unwrap().len(), 1);
    let audio = hex("97 02 0003e8 00 6d703461 1208");
    assert_eq!(read(&mut demuxer, TagType::Audio, 0, &audio).unwrap().len(), 1);
    assert!(read(&mut demuxer, TagType::Audio, 0, &hex("97 ff ffff 00")).is_err());
}
