//! What real publishers send. See `testdata/README.md`.

use bytes::BytesMut;
use container::flv::{Reader, Tag, TagType};
use rtmp::Output;
use rtmp::server::{
    Config, Counters, Event, PlayRequest, PlayVerdict, PublishVerdict, Request, ServerSession, Verdict,
};
use std::time::Instant;

/// Feeds a capture in pieces of `cut` bytes, but byte by byte until the request, since the client then waited for the answer.
/// Accepts at once.
fn run(capture: &[u8], cut: usize) -> (Vec<Event>, Counters) {
    let now = Instant::now();
    let mut session = ServerSession::new(Config::default(), [3; 32], now);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    let mut rest = capture;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(if events.is_empty() { 1 } else { cut.min(rest.len()) });
        rest = after;
        input.extend_from_slice(piece);
        session.handle_bytes(now, &mut input).expect("a real client");
        while let Some(output) = session.poll_output() {
            let Output::Event(event) = output else { continue };
            let verdict = match event {
                Event::PublishRequested(_) => Some(Verdict::Publish(PublishVerdict::Accepted)),
                Event::PlayRequested(_) => Some(Verdict::Play(PlayVerdict::Accepted)),
                _ => None,
            };
            if let Some(verdict) = verdict {
                session.decide(now, verdict).expect("it was asked");
            }
            events.push(event);
        }
    }
    (events, session.counters())
}

fn media(events: &[Event]) -> Vec<Tag> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Media(tag) => Some(tag.clone()),
            _ => None,
        })
        .collect()
}

fn source() -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(include_bytes!("../../testdata/source.flv")[..].into());
    std::iter::from_fn(|| reader.next().expect("valid")).collect()
}

#[test]
fn what_ffmpeg_publishes_is_what_its_file_holds() {
    let capture = include_bytes!("../../testdata/ffmpeg-5.1-publish.bin");
    let (whole, _) = run(capture, usize::MAX);
    for cut in [1, 127, 1460, usize::MAX] {
        let (events, counters) = run(capture, cut);
        assert!(events == whole, "in pieces of {cut}");
        // `_checkbw`.
        assert_eq!(
            counters,
            Counters {
                unwanted_media: 0,
                ignored: 1,
                bad_aggregates: 0
            }
        );
    }
    let Event::PublishRequested(request) = &whole[0] else {
        panic!("{:?}", whole[0])
    };
    assert_eq!(
        (&*request.app, &*request.stream, &*request.params),
        ("live", "cam", "token=abc")
    );
    assert!(matches!(&whole[1], Event::Metadata(tag) if tag.tag_type == TagType::Script));
    assert_eq!(whole.last(), Some(&Event::Unpublished { clean: true }));

    let mut expected: Vec<Tag> = source()
        .into_iter()
        .filter(|tag| tag.tag_type != TagType::Script)
        .collect();
    let mut got = media(&whole);
    // Both have the order in which ffmpeg interleaved them; between tracks that may differ.
    for tags in [&mut expected, &mut got] {
        tags.retain(|tag| tag.body.len() > 5);
        tags.sort_by_key(|tag| (tag.tag_type.id(), tag.timestamp_ms));
    }
    assert_eq!(got.len(), expected.len());
    assert!(got == expected);
}

#[test]
fn what_gstreamer_publishes_is_read_to_its_goodbye() {
    let capture = include_bytes!("../../testdata/gstreamer-1.22-rtmp2sink-publish.bin");
    for cut in [1, usize::MAX] {
        let (events, counters) = run(capture, cut);
        assert_eq!(counters, Counters::default());
        assert_eq!(events.last(), Some(&Event::Unpublished { clean: true }));
        let frames = source()
            .iter()
            .filter(|tag| tag.tag_type == TagType::Video)
            .count();
        let got = media(&events);
        assert!(got.iter().all(|tag| tag.tag_type == TagType::Video));
        assert_eq!(
            got.iter().filter(|tag| tag.body[1] == 1).count() + 2,
            frames,
            "and two configurations"
        );
    }
}

#[test]
fn ffmpeg_plays_and_says_goodbye() {
    let capture = include_bytes!("../../testdata/ffmpeg-5.1-play.bin");
    for cut in [1, usize::MAX] {
        let (events, counters) = run(capture, cut);
        let request = Request {
            app: "live".into(),
            stream: "cam".into(),
            params: "user=1".into(),
            vhost_host: "127.0.0.1".into(),
            tc_url: "rtmp://127.0.0.1:21960/live".into(),
        };
        let play = PlayRequest {
            request,
            start: -2000.0,
            duration: -1.0,
        };
        assert_eq!(
            events,
            [Event::PlayRequested(play), Event::Stopped { clean: true }]
        );
        // `_checkbw` and `getStreamLength`.
        assert_eq!(
            counters,
            Counters {
                unwanted_media: 0,
                ignored: 2,
                bad_aggregates: 0
            }
        );
    }
}
