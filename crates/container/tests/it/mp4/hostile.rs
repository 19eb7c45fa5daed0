//! Bytes of an enemy, and of writers that do things their own way.

use super::super::round_trip::{payload, track};
use super::{live, segments};
use bytes::Bytes;
use container::mp4::{self, Demuxer, Error, Event, MAX_SAMPLES, MAX_TRACKS};
use media::{CodecId, Frame, MediaKind, MediaTime, Track, TrackId};
use proptest::prelude::*;

fn stream() -> (Vec<u8>, Vec<u8>) {
    let tracks = [track(CodecId::H264), track(CodecId::Opus)];
    let frame = |index: i64| {
        let track = &tracks[usize::from(index % 3 == 1)];
        Frame {
            track: track.id,
            dts: MediaTime::from_millis(index * 20),
            pts: MediaTime::from_millis(index * 20 + index % 2 * 40),
            key: index % 6 == 0 || track.kind() == MediaKind::Audio,
            data: payload(track.codec, index % 6 == 0, &[index as u8; 9]).into(),
            wire: None,
        }
    };
    let frames: Vec<_> = (0..18).map(frame).collect();
    (live(&tracks, &frames), segments(&tracks, &frames, 5).concat())
}

/// Reads to the end or to the first error, whatever comes. Returns how many events there were.
fn read_all(stream: &[u8], chunk: usize) -> usize {
    let (mut demuxer, mut events) = (Demuxer::new(), 0);
    for chunk in stream.chunks(chunk) {
        demuxer.push(Bytes::copy_from_slice(chunk));
        while let Ok(Some(_)) = demuxer.poll() {
            events += 1;
        }
        assert!(demuxer.tracks().count() <= MAX_TRACKS);
    }
    events
}

proptest! {
    #[test]
    fn broken_streams_can_be_read(
        segmented: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()]), 1..12),
        cut in any::<prop::sample::Index>(),
        chunk in 1usize..2_000,
    ) {
        let (live, segments) = stream();
        let mut stream = if segmented { segments } else { live };
        for (at, value) in changes {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        stream.truncate(cut.index(stream.len()) + 1);
        let len = stream.len();
        prop_assert!(read_all(&stream, chunk) <= len);
    }

    #[test]
    fn any_bytes_can_be_pushed(
        kind in prop::sample::select(vec![b"ftyp", b"moov", b"moof", b"mdat", b"free"]),
        body in proptest::collection::vec(prop_oneof![2 => Just(0u8), 1 => 0u8..32, 1 => any::<u8>()], 0..200),
        chunk in 1usize..50,
    ) {
        let stream = boxed(kind, &[&body]);
        prop_assert!(read_all(&stream, chunk) <= stream.len());
    }
}

pub fn boxed(kind: &[u8; 4], body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], &body].concat()
}

pub fn full(kind: &[u8; 4], version: u8, flags: u32, words: &[u32]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    boxed(kind, &[&head, &words])
}

/// G.711: a sample is a byte, so decoding times and contents are easy to see.
fn g711(id: u8) -> Track {
    Track {
        id: TrackId(id),
        ..track(CodecId::G711A)
    }
}

fn init(tracks: &[Track]) -> Vec<u8> {
    mp4::init(tracks).unwrap().to_vec()
}

/// Events of a whole stream, and how it ended.
fn events(stream: &[u8]) -> (Vec<Event>, Option<Error>) {
    let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
    demuxer.push(Bytes::copy_from_slice(stream));
    loop {
        match demuxer.poll() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(error) => {
                assert_eq!(demuxer.poll(), Err(error.clone()), "an error that does not stay");
                return (events, Some(error));
            }
        }
    }
}

/// Decoding time in milliseconds, track and content of the frames, and what was broken.
fn frames(stream: &[u8]) -> (Vec<(i64, u8, Bytes)>, Vec<Error>) {
    let (events, end) = events(stream);
    assert_eq!(end, None);
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Frame(frame) => frames.push((frame.dts.as_millis(), frame.track.0, frame.data)),
            Event::Bad(error) => errors.push(error),
            _ => {}
        }
    }
    (frames, errors)
}

#[track_caller]
fn check_frames(parts: &[Vec<u8>], expected: &[(i64, u8, &'static [u8])]) {
    let stream = [&init(&[g711(0), g711(1)])[..], &parts.concat()].concat();
    let expected: Vec<_> = expected
        .iter()
        .map(|(time, track, data)| (*time, *track, Bytes::from_static(data)))
        .collect();
    assert_eq!(frames(&stream), (expected, vec![]));
}

/// A `moof` with these `traf`s, which are given its length, to say where the data behind it is.
pub fn moof(trafs: impl Fn(u32) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mfhd = full(b"mfhd", 0, 0, &[1]);
    let of_len = |len| boxed(b"moof", &[&mfhd, &trafs(len).concat()]);
    of_len(of_len(0).len() as u32)
}

pub fn traf(parts: &[Vec<u8>]) -> Vec<u8> {
    boxed(b"traf", &[&parts.concat()])
}

pub fn mdat(data: &[u8]) -> Vec<u8> {
    boxed(b"mdat", &[data])
}

/// A fragment of track 1: `count` samples of `size` bytes and a millisecond each, in an `mdat` that follows after `gap` bytes.
fn simple(count: u32, size: u32, gap: u32) -> Vec<u8> {
    moof(|len| {
        let tfhd = full(b"tfhd", 0, 0x02_0018, &[1, 8, size]);
        vec![traf(&[tfhd, full(b"trun", 0, 1, &[count, len + gap + 8])])]
    })
}

#[test]
fn offsets_count_from_where_the_fragment_says() {
    // From the start of the moof; durations and sizes by sample; times of 32 bits.
    let from_moof = moof(|len| {
        let tfdt = full(b"tfdt", 0, 0, &[8]);
        let trun = full(b"trun", 0, 0x301, &[2, len + 8, 16, 3, 8, 2]);
        vec![traf(&[full(b"tfhd", 0, 0x02_0000, &[1]), tfdt, trun])]
    });
    check_frames(&[from_moof, mdat(b"abcde")], &[(1, 0, b"abc"), (3, 0, b"de")]);

    // From the start of the stream. The second run follows the first, and the time goes on; a duration and a size for all.
    let start = init(&[g711(0), g711(1)]).len() as u32;
    let from_start = moof(|len| {
        let tfhd = full(b"tfhd", 0, 0x19, &[2, 0, start + len + 8, 8, 2]);
        vec![traf(&[
            tfhd,
            full(b"trun", 0, 1, &[1, 1]),
            full(b"trun", 0, 0, &[1]),
        ])]
    });
    check_frames(&[from_start, mdat(b"-abcd")], &[(0, 1, b"ab"), (1, 1, b"cd")]);

    // Neither: from the start of the moof for the first track, from the end of its data for the second.
    let from_before = moof(|len| {
        let tfhd = |number| full(b"tfhd", 0, 0x18, &[number, 8, 2]);
        vec![
            traf(&[tfhd(1), full(b"trun", 0, 1, &[1, len + 8])]),
            traf(&[tfhd(2), full(b"trun", 0, 0, &[2])]),
        ]
    });
    let expected: [(i64, u8, &[u8]); 3] = [(0, 0, b"ab"), (0, 1, b"cd"), (1, 1, b"ef")];
    check_frames(&[from_before, mdat(b"abcdef")], &expected);
}

#[test]
fn the_time_goes_on_where_a_fragment_says_nothing() {
    let parts = [simple(2, 1, 0), mdat(b"ab"), simple(1, 1, 0), mdat(b"c")];
    check_frames(&parts, &[(0, 0, b"a"), (1, 0, b"b"), (2, 0, b"c")]);
}

#[test]
fn samples_of_one_fragment_may_be_in_two_mdat() {
    let split = moof(|len| {
        let tfhd = full(b"tfhd", 0, 0x02_0018, &[1, 8, 2]);
        let second = full(b"trun", 0, 1, &[1, len + 10 + 8]);
        vec![traf(&[tfhd, full(b"trun", 0, 1, &[1, len + 8]), second])]
    });
    check_frames(
        &[split, mdat(b"ab"), mdat(b"cd")],
        &[(0, 0, b"ab"), (1, 0, b"cd")],
    );
}

#[test]
fn other_boxes_are_skipped_and_mdat_without_samples_too() {
    let parts = [
        boxed(b"styp", &[b"msdh\0\0\0\0"]),
        boxed(b"sidx", &[&[0; 40]]),
        boxed(b"emsg", &[&[0; 100]]),
        mdat(b"of nobody"),
        // A size of 64 bits.
        [&1u32.to_be_bytes(), &b"uuid"[..], &32u64.to_be_bytes(), &[7; 16]].concat(),
        simple(2, 1, 12),
        boxed(b"free", &[&[0; 4]]),
        mdat(b"ab"),
    ];
    check_frames(&parts, &[(0, 0, b"a"), (1, 0, b"b")]);
}

#[test]
fn an_edit_list_moves_the_start() {
    let moved = |words: &[u32]| {
        let mut stream = init(&[g711(0)]);
        let elst = boxed(b"edts", &[&full(b"elst", 0, 0, words)]);
        // Behind `tkhd`, and the boxes around grow.
        let find =
            |stream: &[u8], kind: &[u8]| stream.windows(4).position(|window| window == kind).unwrap() - 4;
        let at = find(&stream, b"mdia");
        for outer in [b"moov", b"trak"] {
            let at = find(&stream, outer);
            let len = u32::from_be_bytes(stream[at..at + 4].try_into().unwrap()) + elst.len() as u32;
            stream[at..at + 4].copy_from_slice(&len.to_be_bytes());
        }
        stream.splice(at..at, elst);
        let (frames, errors) = frames(&[stream, simple(2, 1, 0), mdat(b"ab")].concat());
        assert_eq!(errors, []);
        frames.iter().map(|(time, ..)| *time).collect::<Vec<_>>()
    };
    const EMPTY: u32 = u32::MAX;
    // From 8 ticks of 8 kHz on.
    assert_eq!(moved(&[1, 0, 8, 0x10000]), [-1, 0]);
    // After 500 thousandths of a second of nothing.
    assert_eq!(moved(&[2, 500, EMPTY, 0x10000, 0, 8, 0x10000]), [499, 500]);
    // Pieces are not rearranged.
    assert_eq!(moved(&[2, 10, 8, 0x10000, 10, 0, 0x10000]), [0, 1]);
    assert_eq!(moved(&[1, 500, EMPTY, 0x10000]), [0, 1]);
    assert_eq!(moved(&[0]), [0, 1]);
}

#[test]
fn what_cannot_be_used_is_told_and_left_out() {
    let check = |parts: &[Vec<u8>], expected: Error| {
        let good = [simple(1, 1, 0), mdat(b"z")].concat();
        let stream = [&init(&[g711(0)])[..], &parts.concat(), &good].concat();
        let (frames, errors) = frames(&stream);
        assert_eq!(errors, [expected]);
        // What follows is read.
        assert_eq!(
            frames.last().map(|frame| frame.2.clone()),
            Some(Bytes::from_static(b"z"))
        );
    };
    let outside = |count, what| Error::Outside { count, what };
    check(
        &[simple(2, 3, 0), mdat(b"abc")],
        outside(1, "lie outside of its mdat"),
    );
    check(&[simple(2, 3, 0)], outside(2, "lie outside of its mdat"));
    let too_many = Error::TooManySamples {
        got: u32::MAX.into(),
        max: MAX_SAMPLES,
    };
    check(&[simple(u32::MAX, 0, 0)], too_many);
    let large = simple(1, 0x4000_0000, 0);
    let too_large = Error::TooLarge {
        at: (init(&[g711(0)]).len() + large.len() + 8) as u64,
        kind: *b"mdat",
        got: 0x4000_0000,
        max: 32 << 20,
    };
    check(&[large], too_large);
    let unknown = moof(|_| vec![traf(&[full(b"tfhd", 0, 0, &[9])])]);
    check(&[unknown], Error::UnknownTrack { got: 9 });
    let headless = moof(|_| vec![traf(&[])]);
    check(&[headless], Error::Missing { what: "tfhd in traf" });
    let before = moof(|_| {
        let trun = full(b"trun", 0, 1, &[1, -4_000_i32 as u32]);
        vec![traf(&[full(b"tfhd", 0, 0x02_0000, &[1]), trun])]
    });
    let field = Error::Field {
        what: "data_offset in trun",
        got: -4_000,
        allowed: "within the stream",
    };
    check(&[before], field);
    let cut = moof(|_| {
        vec![traf(&[
            full(b"tfhd", 0, 0, &[1]),
            full(b"trun", 0, 0x100, &[2, 5]),
        ])]
    });
    let truncated = Error::Truncated {
        what: "trun",
        need: 4,
        got: 0,
    };
    check(&[cut], truncated);
    // Two runs that name the same byte.
    let twice = moof(|len| {
        let trun = full(b"trun", 0, 1, &[1, len + 8]);
        vec![traf(&[
            full(b"tfhd", 0, 0x02_0018, &[1, 8, 1]),
            trun.clone(),
            trun,
        ])]
    });
    check(&[twice, mdat(b"a")], outside(2, "lie on one another"));
}

#[track_caller]
fn check_error(stream: &[u8], expected: Error) {
    assert_eq!(events(stream).1, Some(expected));
}

#[test]
fn what_ends_a_stream() {
    check_error(b"<html><body>", Error::NotMp4 { got: *b"l><b" });
    let too_large = |kind, got, max| Error::TooLarge {
        at: 0,
        kind,
        got,
        max,
    };
    check_error(b"\0\x20\0\0moov", too_large(*b"moov", 0x20_0000, 1 << 20));
    check_error(
        b"\0\0\0\x01moof\xff\0\0\0\0\0\0\0",
        too_large(*b"moof", 0xff << 56, 1 << 20),
    );
    let size = |kind, got| {
        let allowed = "at least its header, and not \"to the end\" in a stream that has none";
        Error::BoxSize { kind, got, allowed }
    };
    check_error(b"\0\0\0\0mdat", size(*b"mdat", 0));
    check_error(b"\0\0\0\x07free", size(*b"free", 7));
    check_error(b"\0\0\0\x01free\0\0\0\0\0\0\0\x08", size(*b"free", 8));

    let start = init(&[g711(0)]);
    let mdat = Error::TooLarge {
        at: (start.len() + simple(1, 1, 0).len()) as u64,
        kind: *b"mdat",
        got: 0x0400_0001,
        max: 64 << 20,
    };
    check_error(
        &[&start[..], &simple(1, 1, 0), b"\x04\0\0\x01mdat"].concat(),
        mdat,
    );

    let tracks: Vec<_> = (0..=MAX_TRACKS as u8).map(g711).collect();
    let too_many = Error::TooManyTracks {
        got: 17,
        max: MAX_TRACKS,
    };
    check_error(&init(&tracks), too_many.clone());
    // One after the other: two codecs by turns under new numbers.
    let moovs: Vec<_> = tracks
        .iter()
        .map(|track| init(std::slice::from_ref(track)))
        .collect();
    check_error(&moovs.concat(), too_many);
}

#[test]
fn a_moov_that_cannot_be_read_ends_the_stream() {
    let replaced = |from: &[u8; 4], to: &[u8; 4]| {
        let mut stream = init(&[track(CodecId::H264)]);
        let at = stream.windows(4).position(|window| window == from).unwrap();
        stream[at..at + 4].copy_from_slice(to);
        stream
    };
    let missing = |what| Error::Missing { what };
    check_error(
        &replaced(b"mvex", b"free"),
        missing("mvex in moov, which says that fragments follow (14496-12, 8.8.1),"),
    );
    check_error(&replaced(b"hdlr", b"free"), missing("hdlr in mdia"));
    check_error(&replaced(b"avcC", b"free"), missing("avcC in avc1 or avc3"));
    // Not of picture or sound: nothing to read, but no error.
    let declared = Event::TracksDeclared {
        video: false,
        audio: false,
    };
    assert_eq!(events(&replaced(b"vide", b"meta")), (vec![declared], None));
}

#[test]
fn other_codecs_and_encryption_are_reported_once() {
    let mut stream = init(&[track(CodecId::H264), track(CodecId::G711A)]);
    for (from, to) in [(b"avc1", b"encv"), (b"alaw", b"fLaC")] {
        let at = stream.windows(4).position(|window| window == from).unwrap();
        stream[at..at + 4].copy_from_slice(to);
    }
    let (first, end) = events(&stream);
    let kinds: Vec<_> = first
        .into_iter()
        .map(|event| match event {
            Event::Unsupported(unsupported) => (unsupported.kind, unsupported.what),
            Event::TracksDeclared { video, audio } => (MediaKind::Video, format!("{video} {audio}")),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    let expected = [
        (MediaKind::Video, "false false".to_owned()),
        (MediaKind::Video, "encrypted track (encv)".to_owned()),
        (MediaKind::Audio, "sample entry fLaC".to_owned()),
    ];
    assert_eq!((kinds, end), (expected.to_vec(), None));
    // Again, with a fragment: counted only.
    let mut demuxer = Demuxer::new();
    let again = [&stream[..], &stream, &simple(2, 1, 0), &mdat(b"ab")].concat();
    demuxer.push(again.into());
    let mut events = Vec::new();
    while let Some(event) = demuxer.poll().unwrap() {
        events.push(event);
    }
    let reports = events
        .iter()
        .filter(|event| matches!(event, Event::Unsupported(_)))
        .count();
    assert_eq!(
        (reports, demuxer.counters().unsupported, demuxer.counters().bad),
        (2, 2, 0)
    );
}
