//! Scripts for the server's end: each status of urls.md, sections 3 and 14, and what leads to it.

use crate::peer::{Peer, Seen, status, tag};
use container::amf0::Value;
use container::flv::TagType;
use rtmp::message::{Command, Message, UserControl};
use rtmp::server::{
    Config, Counters, Event, PlayRequest, PlayVerdict, PublishRefusal, PublishVerdict, Request,
    TimeoutReason, Verdict,
};
use std::time::Duration;

const ACCEPT_PUBLISH: Verdict = Verdict::Publish(PublishVerdict::Accepted);
const ACCEPT_PLAY: Verdict = Verdict::Play(PlayVerdict::Accepted);

fn request(stream: &str, params: &str) -> Request {
    Request {
        app: "live".into(),
        stream: stream.into(),
        params: params.into(),
        vhost_host: "host".into(),
        tc_url: "rtmp://host:1935/live".into(),
    }
}

fn control(event: UserControl) -> Seen {
    Seen::Message(Message::UserControl(event))
}

fn publish_started() -> Seen {
    status(&[
        ("level", "status"),
        ("code", "NetStream.Publish.Start"),
        ("description", "Started publishing stream."),
        ("clientid", "0"),
    ])
}

fn unpublished() -> Seen {
    status(&[
        ("level", "status"),
        ("code", "NetStream.Unpublish.Success"),
        ("description", "Stop publishing."),
        ("clientid", "0"),
    ])
}

fn play_status<'a>(level: &'a str, code: &'a str, description: &'a str) -> Seen {
    status(&[
        ("level", level),
        ("code", code),
        ("description", description),
        ("details", "cam"),
        ("clientid", "0"),
    ])
}

fn refused(code: &str, description: &str) -> Vec<Seen> {
    let status = status(&[
        ("level", "error"),
        ("code", code),
        ("description", description),
        ("clientid", "0"),
    ]);
    vec![status, Seen::Close]
}

fn result(transaction: f64, args: Vec<Value>) -> Seen {
    Seen::Message(Message::Command(Command {
        name: "_result".into(),
        transaction,
        stream_id: 0,
        args,
    }))
}

fn publisher() -> Peer {
    let mut peer = Peer::connected(Config::default());
    peer.publish("cam");
    peer.decide(ACCEPT_PUBLISH);
    peer
}

fn player() -> Peer {
    let mut peer = Peer::connected(Config::default());
    peer.play("cam");
    peer.decide(ACCEPT_PLAY);
    peer
}

#[test]
fn connect_is_answered_with_zlms_constants() {
    let mut peer = Peer::new(Config::default());
    let seen = peer.connect("live", "rtmp://host/live");
    let version = Value::object([("fmsVer", "FMS/3,0,1,123".into()), ("capabilities", 31.0.into())]);
    let information = Value::object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", 0.0.into()),
    ]);
    let done = Command {
        name: "onBWDone".into(),
        transaction: 0.0,
        stream_id: 0,
        args: vec![Value::Null],
    };
    assert_eq!(
        seen,
        [
            Seen::Message(Message::WindowAckSize(5_000_000)),
            Seen::Message(Message::PeerBandwidth(5_000_000)),
            result(1.0, vec![version, information]),
            Seen::Message(Message::Command(done)),
        ]
    );
    // Set Chunk Size 60000, which the reader obeys silently; peer bandwidth of type 2.
    assert_eq!(
        peer.raw[..16],
        [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xEA, 0x60]
    );
    let bandwidth = [2, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0x4C, 0x4B, 0x40, 2];
    assert!(
        peer.raw
            .windows(bandwidth.len())
            .any(|window| window == bandwidth)
    );

    let seen = peer.command("createStream", 2.0, [Value::Null]);
    assert_eq!(seen, [result(2.0, vec![Value::Null, 1.0.into()])]);
}

#[test]
fn object_encoding_is_echoed_and_amf3_envelopes_are_read() {
    let mut peer = Peer::new(Config::default());
    let object = Value::object([("app", "live".into()), ("objectEncoding", 3.0.into())]);
    let connect = Command {
        name: "connect".into(),
        transaction: 1.0,
        stream_id: 0,
        args: vec![object],
    };
    let seen = peer.message(17, 0, &[&[0], &connect.encode()[..]].concat());
    let Some(Seen::Message(Message::Command(answer))) = seen.get(2) else {
        panic!("{seen:?}")
    };
    assert_eq!(
        answer
            .arg(0)
            .and_then(|info| info.get("objectEncoding")?.as_f64()),
        Some(3.0)
    );
    let seen = peer.publish("cam");
    let [Seen::Event(Event::PublishRequested(request))] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (&*request.app, &*request.stream, &*request.vhost_host),
        ("live", "cam", "")
    );
}

#[test]
fn an_encoder_is_not_told_that_it_started_before_the_verdict() {
    let mut peer = Peer::connected(Config::default());
    let nothing = || vec![Value::Null, Value::Undefined];
    assert_eq!(
        peer.command("releaseStream", 2.0, [Value::Null, "cam".into()]),
        [result(2.0, nothing())]
    );
    assert_eq!(
        peer.command("FCPublish", 3.0, [Value::Null, "cam".into()]),
        [result(3.0, nothing())]
    );
    assert_eq!(
        peer.publish("cam?token=abc"),
        [Seen::Event(Event::PublishRequested(request("cam", "token=abc")))]
    );
    assert_eq!(peer.session.poll_timeout(), None, "who decides has a deadline");

    let seen = peer.decide(ACCEPT_PUBLISH);
    let fc = Value::object([
        ("code", "NetStream.Publish.Start".into()),
        ("description", "cam".into()),
    ]);
    let fc = Command {
        name: "onFCPublish".into(),
        transaction: 0.0,
        stream_id: 0,
        args: vec![Value::Null, fc],
    };
    assert_eq!(seen, [Seen::Message(Message::Command(fc)), publish_started()]);
}

#[test]
fn media_before_the_verdict_are_dropped_but_not_the_configuration() {
    let mut peer = Peer::connected(Config::default());
    assert_eq!(peer.message(9, 0, b"\x27\x01\0\0\0early"), [], "before publish");
    peer.publish("cam");
    let metadata = b"\x02\x00\x0aonMetaData\x05";
    assert_eq!(
        peer.message(18, 0, &[b"\x02\x00\x0d@setDataFrame", &metadata[..]].concat()),
        []
    );
    assert_eq!(peer.message(8, 0, b"\xaf\x00\x12\x08"), []);
    assert_eq!(peer.message(9, 0, b"\x17\x00\0\0\0avcC"), []);
    assert_eq!(peer.message(9, 40, b"\x17\x01\0\0\0picture"), []);
    assert_eq!(
        peer.decide(ACCEPT_PUBLISH),
        [
            publish_started(),
            Seen::Event(Event::Metadata(tag(TagType::Script, 0, metadata))),
            Seen::Event(Event::Media(tag(TagType::Video, 0, b"\x17\x00\0\0\0avcC"))),
            Seen::Event(Event::Media(tag(TagType::Audio, 0, b"\xaf\x00\x12\x08"))),
        ]
    );
    let frame = tag(TagType::Video, 80, b"\x27\x01\0\0\0picture");
    assert_eq!(
        peer.message(9, 80, &frame.body),
        [Seen::Event(Event::Media(frame.clone()))]
    );
    assert_eq!(
        peer.session.counters(),
        Counters {
            unwanted_media: 2,
            ignored: 0,
            bad_aggregates: 0
        }
    );
}

#[test]
fn a_name_in_use_and_a_denied_publisher_hear_why_and_are_closed() {
    for (code, name, text) in [
        (
            PublishRefusal::BadName,
            "NetStream.Publish.BadName",
            "Already publishing.",
        ),
        (
            PublishRefusal::BadAuth,
            "NetStream.Publish.BadAuth",
            "[auth failed]: code:-1 msg:\"no\"",
        ),
    ] {
        let mut peer = Peer::connected(Config::default());
        peer.publish("cam");
        let seen = peer.decide(Verdict::Publish(PublishVerdict::Refused {
            code,
            text: text.into(),
        }));
        assert_eq!(seen, refused(name, text));
        assert_eq!(peer.session.poll_timeout(), None);
        assert_eq!(peer.message(9, 0, b"\x17\x01\0\0\0late"), []);
    }
}

#[test]
fn a_url_without_stream_cannot_be_published() {
    let mut peer = Peer::connected(Config::default());
    let text = "The publish URL needs an app and a stream of at most 1024 bytes: rtmp://host/app/stream";
    assert_eq!(
        peer.publish("?token=1"),
        refused("NetStream.Publish.BadAuth", text)
    );
    let mut peer = Peer::connected(Config::default());
    assert_eq!(
        peer.publish(&"x".repeat(1025)),
        refused("NetStream.Publish.BadAuth", text)
    );
}

#[test]
fn a_player_hears_the_play_sequence() {
    let mut peer = Peer::connected(Config::default());
    let expected = PlayRequest {
        request: request("cam", "x=1"),
        start: -2000.0,
        duration: -1.0,
    };
    let seen = peer.command("play", 4.0, [Value::Null, "cam?x=1".into(), (-2000.0).into()]);
    assert_eq!(seen, [Seen::Event(Event::PlayRequested(expected))]);
    assert_eq!(
        peer.decide(ACCEPT_PLAY),
        [
            control(UserControl::StreamBegin(1)),
            play_status("status", "NetStream.Play.Reset", "Resetting and playing."),
            play_status("status", "NetStream.Play.Start", "Started playing."),
            play_status("status", "NetStream.Play.PublishNotify", "Now published."),
        ]
    );
}

#[test]
fn a_missing_stream_and_a_denied_player_hear_why_and_are_closed() {
    let denied = "[auth failed]: code:-1 msg:\"no\"";
    for (verdict, code, text) in [
        (
            PlayVerdict::NotFound,
            "NetStream.Play.StreamNotFound",
            "No such stream.",
        ),
        (
            PlayVerdict::Denied(denied.into()),
            "NetStream.Play.BadAuth",
            denied,
        ),
    ] {
        let mut peer = Peer::connected(Config::default());
        peer.play("cam");
        assert_eq!(
            peer.decide(Verdict::Play(verdict)),
            [play_status("error", code, text), Seen::Close]
        );
    }
}

#[test]
fn an_empty_stream_name_may_be_played_and_waits_like_any_missing_stream() {
    let mut peer = Peer::connected(Config::default());
    let expected = PlayRequest {
        request: request("", ""),
        start: -2.0,
        duration: -1.0,
    };
    assert_eq!(
        peer.command("play", 4.0, [Value::Null]),
        [Seen::Event(Event::PlayRequested(expected))]
    );
}

#[test]
fn a_player_hears_that_the_stream_ended() {
    let mut peer = player();
    peer.session.end_of_stream(peer.now);
    assert_eq!(
        peer.drain(),
        [
            play_status("status", "NetStream.Play.UnpublishNotify", "Stopped publishing."),
            control(UserControl::StreamEof(1)),
            Seen::Close,
        ]
    );
    assert!(
        peer.raw.ends_with(&[0, 1, 0, 0, 0, 1]),
        "user control 00 01 00000001 comes last"
    );
}

#[test]
fn a_publisher_that_is_kicked_hears_it() {
    let mut peer = publisher();
    peer.session.end_of_stream(peer.now);
    assert_eq!(peer.drain(), [unpublished(), Seen::Close]);
    peer.session.handle_eof(peer.now);
    assert_eq!(peer.drain(), [], "no second end");
}

#[test]
fn goodbyes_are_clean_answered_and_leave_the_closing_to_the_peer() {
    for goodbye in ["deleteStream", "FCUnpublish", "closeStream"] {
        let mut peer = publisher();
        let seen = peer.at(1_000).command(goodbye, 6.0, [Value::Null, 1.0.into()]);
        assert_eq!(
            seen,
            [unpublished(), Seen::Event(Event::Unpublished { clean: true })],
            "{goodbye}"
        );
        assert_eq!(peer.command("deleteStream", 7.0, [Value::Null]), []);
        let deadline = peer.start + Duration::from_millis(2_000);
        assert_eq!(
            peer.session.poll_timeout(),
            Some((deadline, TimeoutReason::Goodbye))
        );
        assert_eq!(peer.at(1_999).timeout(), []);
        assert_eq!(peer.at(2_000).timeout(), [Seen::Close]);
    }
    let mut peer = player();
    let seen = peer.command("deleteStream", 6.0, [Value::Null, 1.0.into()]);
    assert_eq!(seen, [unpublished(), Seen::Event(Event::Stopped { clean: true })]);
    peer.session.handle_eof(peer.now);
    assert_eq!(peer.drain(), [Seen::Close]);
}

#[test]
fn a_goodbye_while_waiting_ends_the_request_and_a_late_verdict_is_harmless() {
    let mut peer = Peer::connected(Config::default());
    peer.publish("cam");
    let seen = peer.command("deleteStream", 6.0, [Value::Null]);
    assert_eq!(
        seen,
        [unpublished(), Seen::Event(Event::Unpublished { clean: true })]
    );
    assert_eq!(peer.decide(ACCEPT_PUBLISH), []);
}

#[test]
fn a_socket_that_just_closes_is_not_clean() {
    let mut peer = publisher();
    peer.session.handle_eof(peer.now);
    assert_eq!(
        peer.drain(),
        [Seen::Event(Event::Unpublished { clean: false }), Seen::Close]
    );
    let mut peer = player();
    peer.session.handle_eof(peer.now);
    assert_eq!(
        peer.drain(),
        [Seen::Event(Event::Stopped { clean: false }), Seen::Close]
    );
    let mut peer = Peer::connected(Config::default());
    peer.session.handle_eof(peer.now);
    assert_eq!(peer.drain(), [Seen::Close]);
}

#[test]
fn a_second_request_is_refused_and_the_first_goes_on() {
    let second = |code| {
        status(&[
            ("level", "error"),
            ("code", code),
            (
                "description",
                "A connection publishes or plays one stream; open another connection.",
            ),
            ("clientid", "0"),
        ])
    };
    let mut peer = publisher();
    assert_eq!(peer.publish("other"), [second("NetStream.Publish.BadName")]);
    assert_eq!(peer.play("other"), [second("NetStream.Play.Failed")]);
    let frame = tag(TagType::Audio, 5, b"\xaf\x01sound");
    assert_eq!(
        peer.message(8, 5, &frame.body),
        [Seen::Event(Event::Media(frame.clone()))]
    );
    let mut peer = player();
    assert_eq!(
        peer.command("play2", 9.0, [Value::Null]),
        [second("NetStream.Play.Failed")]
    );
}

#[test]
fn a_verdict_without_a_question_is_the_callers_mistake() {
    let mut peer = Peer::connected(Config::default());
    let error = peer
        .session
        .decide(peer.now, ACCEPT_PLAY)
        .expect_err("nothing was asked");
    assert_eq!(error.to_string(), "a verdict on play while the session is idle");
    peer.play("cam");
    assert!(peer.session.decide(peer.now, ACCEPT_PUBLISH).is_err());
}

#[test]
fn who_asks_for_nothing_is_closed_after_the_handshake_time() {
    let mut peer = Peer::connected(Config::default());
    let deadline = peer.start + Duration::from_secs(15);
    assert_eq!(
        peer.session.poll_timeout(),
        Some((deadline, TimeoutReason::Handshake))
    );
    assert_eq!(peer.at(14_999).timeout(), []);
    let expected = [
        Seen::Event(Event::TimedOut(TimeoutReason::Handshake)),
        Seen::Close,
    ];
    assert_eq!(peer.at(15_000).timeout(), expected);
}

#[test]
fn a_silent_publisher_is_gone_after_the_keepalive_time_which_starts_anew_with_the_verdict() {
    let mut peer = Peer::connected(Config::default());
    peer.publish("cam");
    peer.at(14_000).decide(ACCEPT_PUBLISH);
    assert_eq!(peer.at(28_999).timeout(), []);
    peer.at(28_999).message(8, 0, b"\xaf\x01sound");
    assert_eq!(peer.at(43_998).timeout(), []);
    assert_eq!(
        peer.at(43_999).timeout(),
        [
            Seen::Event(Event::TimedOut(TimeoutReason::Keepalive)),
            Seen::Event(Event::Unpublished { clean: false }),
            Seen::Close,
        ]
    );
}

#[test]
fn a_silent_player_is_pinged_and_not_closed() {
    let mut peer = player();
    for time in [15_000, 30_000, 45_000] {
        let deadline = (peer.start + Duration::from_millis(time), TimeoutReason::Ping);
        assert_eq!(peer.session.poll_timeout(), Some(deadline));
        assert_eq!(
            peer.at(time).timeout(),
            [control(UserControl::PingRequest(time as u32))]
        );
    }
    assert_eq!(peer.at(46_000).message(4, 0, &[0, 7, 0, 0, 0xAF, 0xC8]), []);
    assert_eq!(peer.at(60_999).timeout(), []);
}

#[test]
fn time_does_not_go_backwards() {
    let mut peer = publisher();
    peer.at(10_000).message(8, 0, b"\xaf\x01sound");
    peer.at(5_000).message(8, 0, b"\xaf\x01sound");
    let deadline = peer.start + Duration::from_secs(25);
    assert_eq!(
        peer.session.poll_timeout(),
        Some((deadline, TimeoutReason::Keepalive))
    );
}

#[test]
fn playback_is_paused_and_wound_in_zlms_words() {
    let good = |code, text| {
        status(&[
            ("level", "status"),
            ("code", code),
            ("description", text),
            ("clientid", "0"),
        ])
    };
    let mut peer = player();
    assert_eq!(
        peer.command("pause", 0.0, [Value::Null, true.into(), 0.0.into()]),
        [
            good("NetStream.Pause.Notify", "Paused stream."),
            control(UserControl::StreamEof(1)),
            Seen::Event(Event::Paused(true)),
        ]
    );
    assert_eq!(
        peer.command("pause", 0.0, [Value::Null, false.into(), 0.0.into()]),
        [
            good("NetStream.Unpause.Notify", "Unpaused stream."),
            control(UserControl::StreamBegin(1)),
            Seen::Event(Event::Paused(false)),
        ]
    );
    assert_eq!(
        peer.command("seek", 0.0, [Value::Null, 1500.0.into()]),
        [
            good("NetStream.Seek.Notify", "Seeking."),
            Seen::Event(Event::SeekRequested { position_ms: 1500.0 }),
        ]
    );
    assert_eq!(
        peer.command(
            "onPlayCtrl",
            0.0,
            [Value::Null, Value::object([("speed", 2.0.into())])]
        ),
        [
            good("NetStream.Speed.Notify", "Speeding"),
            Seen::Event(Event::SpeedRequested(2.0))
        ]
    );
}

#[test]
fn unknown_commands_are_ignored_and_counted() {
    let mut peer = player();
    for name in [
        "getStreamLength",
        "_checkbw",
        "receiveAudio",
        "receiveVideo",
        "FCSubscribe",
        "noSuch",
    ] {
        assert_eq!(peer.command(name, 9.0, [Value::Null, true.into()]), [], "{name}");
    }
    assert_eq!(peer.message(19, 0, b"a shared object"), []);
    assert_eq!(peer.session.counters().ignored, 7);
}

#[test]
fn a_command_that_cannot_be_read_ends_the_session_with_its_position() {
    let mut peer = Peer::new(Config::default());
    let error = peer.try_message(20, 0, &[5]).expect_err("no name");
    let expected =
        "RTMP message that ends at byte 13: command does not begin with a name (RTMP 1.0, section 7.2.1)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn pings_are_answered() {
    let mut peer = Peer::new(Config::default());
    let seen = peer.message(4, 0, &[0, 6, 1, 2, 3, 4]);
    assert_eq!(seen, [control(UserControl::PingResponse(0x0102_0304))]);
}

#[test]
fn received_bytes_are_acknowledged_by_the_window_of_the_peer() {
    let mut peer = publisher();
    let before = peer.message(5, 0, &10_000u32.to_be_bytes());
    assert_eq!(before, []);
    let mut acknowledged = Vec::new();
    for time in 0..40 {
        let seen = peer.message(8, time, &[0xaf; 1000]);
        acknowledged.extend(seen.into_iter().filter_map(|seen| match seen {
            Seen::Message(Message::Acknowledgement(bytes)) => Some(bytes),
            _ => None,
        }));
    }
    // The server's answers show as Message::Acknowledgement; about 1019 bytes a message.
    assert_eq!(acknowledged.len(), 4);
    for pair in acknowledged.windows(2) {
        assert!(
            (10_000..11_100).contains(&(pair[1] - pair[0])),
            "{acknowledged:?}"
        );
    }
}

#[test]
fn aggregates_are_split_and_broken_ones_counted() {
    let mut peer = publisher();
    let part = |type_id, time: u8, body: &[u8]| {
        let header = [type_id, 0, 0, body.len() as u8, 0, 0, time, 0, 0, 0, 0];
        [&header[..], body, &[0, 0, 0, 11 + body.len() as u8]].concat()
    };
    let body = [
        part(9, 10, b"\x27\x01\0\0\0p"),
        part(8, 15, b"\xaf\x01s"),
        part(18, 15, b"\x02\0\x01x"),
    ]
    .concat();
    assert_eq!(
        peer.message(22, 1_000, &body),
        [
            Seen::Event(Event::Media(tag(TagType::Video, 1_000, b"\x27\x01\0\0\0p"))),
            Seen::Event(Event::Media(tag(TagType::Audio, 1_005, b"\xaf\x01s"))),
        ]
    );
    assert_eq!(peer.message(22, 1_000, &body[..8]), []);
    assert_eq!(
        peer.session.counters(),
        Counters {
            unwanted_media: 0,
            ignored: 1,
            bad_aggregates: 1
        }
    );
}
