//! Our client against our server: two ends, one clock, bytes cut anywhere.

use bytes::{Bytes, BytesMut};
use container::amf0::Value;
use container::flv::TagType;
use media::{Frame, MediaTime, Mux};
use proptest::prelude::*;
use rtmp::chunk::{Header, Limits, Reader, Writer};
use rtmp::client::{self, ClientSession, Failure, FailureReason, Role, Stage};
use rtmp::message::Command;
use rtmp::server::{self, PlayVerdict, PublishRefusal, PublishVerdict, ServerSession, Verdict};
use rtmp::{Muxer, Output, handshake, mux, url};
use std::time::{Duration, Instant};

use crate::peer::tag;

struct Pair {
    client: ClientSession,
    server: ServerSession,
    start: Instant,
    now: Instant,
    to_client: BytesMut,
    to_server: BytesMut,
    client_input: BytesMut,
    server_input: BytesMut,
    client_events: Vec<client::Event>,
    server_events: Vec<server::Event>,
    client_closed: bool,
    server_closed: bool,
    cuts: Vec<usize>,
    turn: usize,
}

impl Pair {
    fn new(role: Role, cuts: &[usize]) -> Self {
        let start = Instant::now();
        let url = url::parse("rtmp://user:pw@host/live/a/b?token=1").expect("a URL");
        Self {
            client: ClientSession::new(client::Config::new(url, role), [5; 32], start),
            server: ServerSession::new(server::Config::default(), [6; 32], start),
            start,
            now: start,
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            client_input: BytesMut::new(),
            server_input: BytesMut::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            client_closed: false,
            server_closed: false,
            cuts: cuts.to_vec(),
            turn: 0,
        }
    }

    fn cut(&mut self, len: usize) -> usize {
        self.turn += 1;
        self.cuts[self.turn % self.cuts.len()].clamp(1, len)
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(bytes) => self.to_server.extend_from_slice(&bytes),
                Output::Event(event) => self.client_events.push(event),
                Output::Close => self.client_closed = true,
            }
        }
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(bytes) => self.to_client.extend_from_slice(&bytes),
                Output::Event(event) => self.server_events.push(event),
                Output::Close => self.server_closed = true,
            }
        }
    }

    /// Moves bytes until nothing is under way.
    fn pump(&mut self) {
        self.drain();
        while !self.to_client.is_empty() || !self.to_server.is_empty() {
            if !self.to_server.is_empty() {
                let len = self.cut(self.to_server.len());
                self.server_input.extend_from_slice(&self.to_server.split_to(len));
                self.server
                    .handle_bytes(self.now, &mut self.server_input)
                    .expect("the client speaks RTMP");
                self.drain();
            }
            if !self.to_client.is_empty() {
                let len = self.cut(self.to_client.len());
                self.client_input.extend_from_slice(&self.to_client.split_to(len));
                self.client
                    .handle_bytes(self.now, &mut self.client_input)
                    .expect("the server speaks RTMP");
                self.drain();
            }
        }
    }

    fn decide(&mut self, verdict: Verdict) {
        self.server.decide(self.now, verdict).expect("a request is open");
        self.pump();
    }

    fn timeout_at(&mut self, millis: u64) {
        self.now = self.start + Duration::from_millis(millis);
        self.client.handle_timeout(self.now);
        self.pump();
    }

    fn failure(&self) -> &Failure {
        match self.client_events.last() {
            Some(client::Event::Failed(failure)) => failure,
            other => panic!("not failed: {other:?}"),
        }
    }
}

fn publishing(cuts: &[usize]) -> Pair {
    let mut pair = Pair::new(Role::Publish, cuts);
    pair.pump();
    pair.decide(Verdict::Publish(PublishVerdict::Accepted));
    pair
}

fn playing(cuts: &[usize]) -> Pair {
    let mut pair = Pair::new(Role::Play, cuts);
    pair.pump();
    pair.decide(Verdict::Play(PlayVerdict::Accepted));
    pair
}

const WHOLE: &[usize] = &[usize::MAX];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_pushed_arrives_whatever_the_cuts(
        cuts in prop::collection::vec(1usize..5000, 1..8),
        media in prop::collection::vec((any::<bool>(), 0u32..=u32::MAX, 0usize..130_000), 0..6),
    ) {
        let mut pair = publishing(&cuts);
        prop_assert_eq!(&pair.client_events, &[client::Event::Connected, client::Event::PublishStarted]);
        let server::Event::PublishRequested(request) = &pair.server_events[0] else { panic!("no request") };
        prop_assert_eq!(
            (&*request.app, &*request.stream, &*request.params, &*request.vhost_host, &*request.tc_url),
            ("live", "a/b", "token=1", "host", "rtmp://host/live")
        );
        pair.server_events.clear();

        let metadata = b"\x02\x00\x0aonMetaData\x05";
        prop_assert!(pair.client.send_media(TagType::Script, 0, &[Bytes::from_static(metadata)]));
        let mut expected = vec![server::Event::Metadata(tag(TagType::Script, 0, metadata))];
        for &(is_video, timestamp, len) in &media {
            let tag_type = if is_video { TagType::Video } else { TagType::Audio };
            let body = vec![0x27; len];
            let parts = [Bytes::copy_from_slice(&body[..len / 4]), Bytes::copy_from_slice(&body[len / 4..])];
            prop_assert!(pair.client.send_media(tag_type, timestamp, &parts));
            expected.push(server::Event::Media(tag(tag_type, i64::from(timestamp), &body)));
        }
        pair.pump();
        // How times are extended is the chunk reader's matter; here the 32 bits count.
        for event in pair.server_events.iter_mut().chain(&mut expected) {
            if let server::Event::Media(tag) = event {
                tag.timestamp_ms &= 0xFFFF_FFFF;
            }
        }
        prop_assert_eq!(&pair.server_events, &expected);

        pair.client.close(pair.now);
        pair.pump();
        prop_assert!(pair.client_closed);
        prop_assert_eq!(pair.server_events.last(), Some(&server::Event::Unpublished { clean: true }));
    }

    #[test]
    fn bytes_of_strangers_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..4000),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cuts in prop::collection::vec(1usize..500, 1..4),
    ) {
        let now = Instant::now();
        let mut capture = include_bytes!("../../testdata/ffmpeg-5.1-publish.bin").to_vec();
        for (index, value) in &flips {
            let at = index.index(capture.len());
            capture[at] = *value;
        }
        for bytes in [bytes, capture] {
            let mut server = ServerSession::new(server::Config::default(), [0; 32], now);
            let url = url::parse("rtmp://host/live/cam").expect("a URL");
            let mut client = ClientSession::new(client::Config::new(url, Role::Play), [0; 32], now);
            let (mut server_input, mut client_input) = (BytesMut::new(), BytesMut::new());
            let mut lengths = cuts.iter().cycle();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*lengths.next().expect("cuts")).min(rest.len()));
                rest = after;
                server_input.extend_from_slice(piece);
                client_input.extend_from_slice(piece);
                let server_end = server.handle_bytes(now, &mut server_input);
                let client_end = client.handle_bytes(now, &mut client_input);
                while let Some(output) = server.poll_output() {
                    if let Output::Event(server::Event::PublishRequested(_)) = output {
                        server.decide(now, Verdict::Publish(PublishVerdict::Accepted)).expect("pending");
                    }
                }
                while client.poll_output().is_some() {}
                if server_end.is_err() && client_end.is_err() {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_pull_starts_and_ends_with_the_stream() {
    for cuts in [WHOLE, &[1, 7, 300]] {
        let mut pair = playing(cuts);
        assert_eq!(
            pair.client_events,
            [client::Event::Connected, client::Event::PlayStarted]
        );
        let server::Event::PlayRequested(play) = &pair.server_events[0] else {
            panic!("no request")
        };
        assert_eq!(
            (&*play.request.stream, &*play.request.params, play.start),
            ("a/b", "token=1", -2000.0)
        );
        pair.server.end_of_stream(pair.now);
        pair.pump();
        assert_eq!(pair.client_events.last(), Some(&client::Event::Ended));
        assert!(pair.client_closed && pair.server_closed);
    }
}

#[test]
fn refusals_reach_the_client_in_zlms_words() {
    let mut pair = Pair::new(Role::Publish, &[3, 500]);
    pair.pump();
    let text = "Already publishing.".to_owned();
    pair.decide(Verdict::Publish(PublishVerdict::Refused {
        code: PublishRefusal::BadName,
        text,
    }));
    assert_eq!(pair.failure().to_string(), "error NetStream.Publish.BadName");
    assert_eq!(pair.failure().stage, Stage::Start);
    assert!(pair.client_closed && pair.server_closed);

    let mut pair = Pair::new(Role::Play, WHOLE);
    pair.pump();
    pair.decide(Verdict::Play(PlayVerdict::Denied("no".into())));
    assert_eq!(pair.failure().to_string(), "error NetStream.Play.BadAuth");
    let FailureReason::Status { description, .. } = &pair.failure().reason else {
        panic!("a status")
    };
    assert_eq!(description, "no");
}

#[test]
fn a_silent_server_fails_the_start_in_time() {
    for (role, text) in [
        (Role::Play, "play rtmp timeout"),
        (Role::Publish, "publish rtmp timeout"),
    ] {
        let mut pair = Pair::new(role, WHOLE);
        pair.pump();
        assert_eq!(
            pair.client.poll_timeout(),
            Some(pair.start + Duration::from_secs(10))
        );
        pair.timeout_at(9_999);
        assert!(!pair.client_closed);
        pair.timeout_at(10_000);
        assert_eq!(pair.failure().to_string(), text);
        assert!(pair.client_closed);
    }
}

#[test]
fn a_pull_without_media_fails_and_a_push_does_not() {
    let mut pair = playing(WHOLE);
    assert_eq!(
        pair.client.poll_timeout(),
        Some(pair.start + Duration::from_secs(5))
    );
    pair.timeout_at(5_000);
    assert_eq!(pair.failure().to_string(), "receive rtmp media timeout");
    assert_eq!(publishing(WHOLE).client.poll_timeout(), None);
}

#[test]
fn nothing_is_sent_unless_publishing() {
    let body = [Bytes::from_static(b"\xaf\x01")];
    assert!(!playing(WHOLE).client.send_media(TagType::Audio, 0, &body));
    let mut waiting = Pair::new(Role::Publish, WHOLE);
    waiting.pump();
    assert!(!waiting.client.send_media(TagType::Audio, 0, &body));
    let mut closed = publishing(WHOLE);
    closed.client.close(closed.now);
    assert!(!closed.client.send_media(TagType::Audio, 0, &body));
}

#[test]
fn a_player_that_leaves_says_so() {
    let mut pair = playing(WHOLE);
    pair.client.close(pair.now);
    pair.pump();
    assert_eq!(
        pair.server_events.last(),
        Some(&server::Event::Stopped { clean: true })
    );
}

/// A server that gives message stream 7: the client's bytes after the handshake, read as messages.
fn publishing_to_stream_7() -> (ClientSession, BytesMut) {
    let now = Instant::now();
    let url = url::parse("rtmp://host/live/cam").expect("a URL");
    let mut client = ClientSession::new(client::Config::new(url, Role::Publish), [5; 32], now);
    let Some(Output::Send(c0_c1)) = client.poll_output() else {
        panic!("no C0 C1")
    };
    let mut server = handshake::Server::new([6; 32]);
    let answer = server
        .handle(&mut BytesMut::from(&c0_c1[..]))
        .expect("valid")
        .expect("S0 S1 S2");
    let mut input = BytesMut::from(&answer[..]);
    let writer = Writer::default();
    let header = Header {
        csid: 3,
        type_id: 20,
        stream_id: 0,
        timestamp: 0,
    };
    let started = Value::object([
        ("level", "status".into()),
        ("code", "NetStream.Publish.Start".into()),
    ]);
    for (name, transaction, value) in [
        ("_result", 1.0, Value::Null),
        ("_result", 4.0, 7.0.into()),
        ("onStatus", 0.0, started),
    ] {
        let args = vec![Value::Null, value];
        let command = Command {
            name: name.into(),
            transaction,
            stream_id: 0,
            args,
        };
        writer.write(&header, &command.encode(), &mut input);
    }
    client.handle_bytes(now, &mut input).expect("valid");
    let mut sent = take(&mut client);
    let _c2 = sent.split_to(handshake::BLOCK_LEN);
    (client, sent)
}

fn take(client: &mut ClientSession) -> BytesMut {
    let mut sent = BytesMut::new();
    while let Some(output) = client.poll_output() {
        if let Output::Send(bytes) = output {
            sent.extend_from_slice(&bytes);
        }
    }
    sent
}

#[test]
fn packets_of_the_muxer_are_pushed_to_the_servers_stream_with_wrapped_metadata() {
    let (mut client, mut sent) = publishing_to_stream_7();
    assert_eq!(client.stage(), Stage::Started);
    let track = media::Track {
        id: media::TrackId(0),
        codec: media::CodecId::H264,
        config: Some(Bytes::from_static(b"avcC record")),
        params: media::TrackParams::Video(media::track::VideoParams::default()),
        wire: None,
    };
    let mut muxer = Muxer::new(mux::Options::default());
    let mut packets = Vec::new();
    muxer.set_tracks(std::slice::from_ref(&track), &mut packets);
    packets.extend(muxer.preamble());
    let data = Bytes::from(vec![9; 130_000]);
    let times = [MediaTime::from_millis(40), MediaTime::from_millis(0x0200_0000)];
    for dts in times {
        let frame = Frame {
            track: track.id,
            dts,
            pts: dts,
            key: true,
            data: data.clone(),
            wire: None,
        };
        muxer.write(&frame, &mut packets);
    }
    for packet in &packets {
        assert!(client.send_packet(packet));
    }
    sent.extend_from_slice(&take(&mut client));

    let mut reader = Reader::new(Limits::default());
    let mut messages = Vec::new();
    while let Some(message) = reader.next(&mut sent).expect("valid") {
        messages.push(message);
    }
    let commands: Vec<_> = messages.iter().filter(|message| message.type_id == 20).collect();
    assert_eq!(
        commands.len(),
        5,
        "connect, releaseStream, FCPublish, createStream, publish"
    );
    assert_eq!(commands[4].stream_id, 7);
    let media: Vec<_> = messages.iter().filter(|message| message.type_id != 20).collect();
    assert!(media.iter().all(|message| message.stream_id == 7));
    let summary: Vec<_> = media
        .iter()
        .map(|message| (message.type_id, message.timestamp_ms, message.body.len()))
        .collect();
    assert_eq!(
        summary[1..],
        [(9, 0, 16), (9, 40, 130_005), (9, 0x0200_0000, 130_005)]
    );
    assert!(
        media[0]
            .body
            .starts_with(b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData")
    );
}
