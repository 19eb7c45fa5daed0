//! The server against requests as players and publishers send them (urls.md, section 4).

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use tidegate_rtsp::message::{Limits, Message, Parser, Response};
use tidegate_rtsp::server::{
    Allowed, Config, Description, Event, Output, PlayAnswer, Refusal, ServerSession, SetupAnswer,
    SetupRefused, SetupRequest, TimeoutReason, TrackStart, Ways,
};
use tidegate_rtsp::tunnel::Half;

/// What a session did.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Response(Response),
    Event(Event),
    Close,
}

struct Bench {
    session: ServerSession,
    start: Instant,
    now: Instant,
    input: BytesMut,
    cseq: u32,
}

impl Bench {
    fn new() -> Self {
        Self::allowing(Allowed::Any)
    }

    fn allowing(allowed: Allowed) -> Self {
        let start = Instant::now();
        Self {
            session: ServerSession::new(config(allowed), 0xABCD, start),
            start,
            now: start,
            input: BytesMut::new(),
            cseq: 0,
        }
    }

    /// A player that may set up two tracks.
    fn described() -> Self {
        let mut bench = Self::new();
        bench.describe();
        bench
    }

    /// A player that has set up the first track with this transport.
    fn set_up(transport: &str) -> Self {
        let mut bench = Self::described();
        bench.setup("rtsp://h/live/a/trackID=0", transport);
        bench
    }

    /// A player that plays the first track.
    fn playing(transport: &str) -> Self {
        let mut bench = Self::set_up(transport);
        assert_eq!(bench.ask("PLAY rtsp://h/live/a/").event(), Event::Play);
        bench.session.play(bench.now, Ok(PlayAnswer::default()));
        assert_eq!(bench.response().status, 200);
        bench
    }

    /// A publisher of two tracks.
    fn announced() -> Self {
        let mut bench = Self::new();
        bench.announce("rtsp://h/live/a", SDP);
        bench
    }

    /// A publisher of whose tracks the first is set up.
    fn publishing(transport: &str) -> Self {
        let mut bench = Self::announced();
        bench.setup("rtsp://h/live/a/streamid=0", transport);
        bench
    }

    /// A publisher that has begun.
    fn recording(transport: &str) -> Self {
        let mut bench = Self::publishing(transport);
        let did = bench.ask("RECORD rtsp://h/live/a").drain();
        assert!(
            matches!(&did[..], [Did::Response(_), Did::Event(Event::Record)]),
            "{did:?}"
        );
        bench
    }

    /// Sets the clock, in milliseconds from the start.
    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    /// Sets the clock and lets the session do what is due.
    fn tick(&mut self, ms: u64) {
        let now = self.at(ms).now;
        self.session.handle_timeout(now);
    }

    /// Sets the clock and says that the peer was heard over UDP.
    fn heard(&mut self, ms: u64) {
        let now = self.at(ms).now;
        self.session.heard(now);
    }

    fn due(&self) -> Option<(u128, TimeoutReason)> {
        self.session
            .poll_timeout()
            .map(|(at, reason)| (at.duration_since(self.start).as_millis(), reason))
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.input.extend_from_slice(bytes);
        self.session.handle_bytes(self.now, &mut self.input).unwrap();
        self
    }

    /// A request: method and URL, then fields, one a line.
    fn ask(&mut self, request: &str) -> &mut Self {
        self.ask_with(request, "")
    }

    fn ask_with(&mut self, request: &str, body: &str) -> &mut Self {
        self.cseq += 1;
        let text = text(request, self.cseq, body);
        self.bytes(text.as_bytes())
    }

    /// Takes all outputs, as a driver does.
    fn drain(&mut self) -> Vec<Did> {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            while let Some(output) = self.session.poll_output() {
                all.push(match output {
                    Output::Send(bytes) => Did::Response(read(&bytes)),
                    Output::Event(event) => Did::Event(event),
                    Output::Close => Did::Close,
                });
            }
            if all.len() == before {
                return all;
            }
            self.session.handle_bytes(self.now, &mut self.input).unwrap();
        }
    }

    /// The only thing done now: an answer to the last request.
    fn response(&mut self) -> Response {
        let did = self.drain();
        let [Did::Response(response)] = &did[..] else {
            panic!("an answer expected: {did:#?}");
        };
        assert_eq!(field(response, "CSeq"), self.cseq.to_string());
        response.clone()
    }

    /// An answer, and the end of the connection.
    fn last(&mut self) -> Response {
        let did = self.drain();
        let [Did::Response(response), Did::Close] = &did[..] else {
            panic!("an answer and the end expected: {did:#?}");
        };
        response.clone()
    }

    /// The only thing done now: an event.
    fn event(&mut self) -> Event {
        let did = self.drain();
        let [Did::Event(event)] = &did[..] else {
            panic!("an event expected: {did:#?}");
        };
        event.clone()
    }

    fn describe(&mut self) {
        let event = self.ask("DESCRIBE rtsp://h/live/a").event();
        assert!(matches!(event, Event::Describe(_)), "{event:?}");
        self.session.describe(self.now, Ok(description()));
        assert_eq!(self.response().status, 200);
    }

    fn announce(&mut self, url: &str, sdp: &str) {
        let event = self.ask_with(&format!("ANNOUNCE {url}"), sdp).event();
        assert!(matches!(event, Event::Announce(..)), "{event:?}");
        self.session.announce(self.now, Ok(()));
        let response = self.response();
        assert_eq!(
            (response.status, field(&response, "Session")),
            (200, SESSION.into())
        );
    }

    fn ask_setup(&mut self, url: &str, transport: &str) -> &mut Self {
        self.ask(&format!("SETUP {url}\nTransport: {transport}"))
    }

    /// Sets a track up as it is asked for. The Transport of the answer.
    fn setup(&mut self, url: &str, transport: &str) -> String {
        let event = self.ask_setup(url, transport).event();
        let Event::Setup(asked) = event else {
            panic!("{event:?}");
        };
        self.session.set_up(self.now, Ok(answer(asked.way)));
        let response = self.response();
        assert_eq!(response.status, 200, "{transport}");
        field(&response, "Transport")
    }
}

fn config(allowed: Allowed) -> Config {
    Config {
        server: "Tidegate".to_owned(),
        handshake: Duration::from_secs(15),
        keep_alive: Duration::from_secs(20),
        allowed,
        limits: Limits::default(),
    }
}

fn text(request: &str, cseq: u32, body: &str) -> String {
    let mut lines = request.lines();
    let mut text = format!("{} RTSP/1.0\r\nCSeq: {cseq}\r\n", lines.next().unwrap());
    for line in lines {
        text.push_str(&format!("{line}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}")
}

fn read(bytes: &[u8]) -> Response {
    let mut bytes = BytesMut::from(bytes);
    let message = Parser::new(Limits::default()).next(&mut bytes).unwrap();
    assert!(bytes.is_empty(), "more than a message: {bytes:?}");
    match message {
        Some(Message::Response(response)) => response,
        other => panic!("an answer expected: {other:?}"),
    }
}

fn field(response: &Response, name: &str) -> String {
    response.headers.get(name).unwrap_or_default().to_owned()
}

fn description() -> Description {
    Description {
        sdp: "v=0\r\n".to_owned(),
        controls: vec!["trackID=0".to_owned(), "trackID=1".to_owned()],
    }
}

fn answer(way: Ways) -> SetupAnswer {
    match way {
        Ways::Tcp => SetupAnswer::Tcp { ssrc: None },
        Ways::Udp(..) => SetupAnswer::Udp {
            ssrc: None,
            ports: (7000, 7001),
        },
        Ways::Multicast => SetupAnswer::Multicast {
            ssrc: None,
            group: [239, 1, 2, 3].into(),
            ports: (8000, 8001),
            ttl: 64,
        },
    }
}

const SESSION: &str = "000000000000ABCD;timeout=20";

const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";

const UDP: &str = "RTP/AVP;unicast;client_port=5000-5001";

const MULTICAST: &str = "RTP/AVP;multicast";

/// As ffmpeg announces.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=control:streamid=1\r\n";

#[test]
fn options_names_the_methods_of_zlm() {
    let response = Bench::new().ask("OPTIONS *").response();
    assert_eq!(
        field(&response, "Public"),
        "OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE, ANNOUNCE, RECORD, SET_PARAMETER, GET_PARAMETER"
    );
    assert_eq!(field(&response, "Server"), "Tidegate");
}

#[test]
fn a_player_is_told_everything_it_needs() {
    let mut bench = Bench::new();
    let event = bench
        .ask("DESCRIBE rtsp://h:8554/live/a/b/?token=x\nAccept: application/sdp")
        .event();
    let Event::Describe(request) = event else {
        panic!("{event:?}");
    };
    assert_eq!(request.url, "rtsp://h:8554/live/a/b");
    assert_eq!((&*request.host, &*request.app), ("h", "live"));
    assert_eq!((&*request.stream, &*request.params), ("a/b", "token=x"));
    assert_eq!(request.credentials, None);

    bench.session.describe(bench.now, Ok(description()));
    let response = bench.response();
    assert_eq!((response.status, &*response.reason), (200, "OK"));
    for (name, value) in [
        ("Content-Base", "rtsp://h:8554/live/a/b/"),
        ("Content-Type", "application/sdp"),
        ("Session", SESSION),
        ("x-Accept-Dynamic-Rate", "1"),
        ("x-Accept-Retransmit", "our-retransmit"),
    ] {
        assert_eq!(field(&response, name), value);
    }
    assert_eq!(response.body, "v=0\r\n");

    // Other channels than ours are asked for.
    let event = bench
        .ask_setup(
            "rtsp://h:8554/live/a/b/trackID=1",
            "RTP/AVP/TCP;unicast;interleaved=10-11",
        )
        .event();
    let expected = SetupRequest {
        track: 1,
        way: Ways::Tcp,
        record: false,
    };
    assert_eq!(event, Event::Setup(expected));
    bench
        .session
        .set_up(bench.now, Ok(SetupAnswer::Tcp { ssrc: Some(2) }));
    let response = bench.response();
    for (name, value) in [
        ("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=00000002"),
        ("x-Transport-Options", "late-tolerance=1.400000"),
        ("x-Dynamic-Rate", "1"),
        ("Session", SESSION),
    ] {
        assert_eq!(field(&response, name), value);
    }

    let ask = "PLAY rtsp://h:8554/live/a/b/\nSession: 000000000000ABCD\nRange: npt=0.000-";
    assert_eq!(bench.ask(ask).event(), Event::Play);
    let start = |track, sequence| TrackStart {
        track,
        sequence,
        timestamp: 90_000,
    };
    let tracks = vec![start(0, None), start(1, Some(7)), start(2, Some(8))];
    bench.session.play(bench.now, Ok(PlayAnswer { tracks }));
    let response = bench.response();
    assert_eq!(field(&response, "Range"), "npt=0.00-");
    assert_eq!(field(&response, "Session"), SESSION);
    assert_eq!(
        field(&response, "RTP-Info"),
        "url=rtsp://h:8554/live/a/b/trackID=0;rtptime=90000,url=rtsp://h:8554/live/a/b/trackID=1;seq=7;rtptime=90000"
    );
    // Once more, as a sign of life.
    let response = bench.ask("PLAY rtsp://h:8554/live/a/b/").response();
    assert_eq!((response.status, field(&response, "RTP-Info")), (200, "".into()));

    let did = bench.ask("PAUSE rtsp://h:8554/live/a/b/").drain();
    let [Did::Event(Event::Pause), Did::Response(response)] = &did[..] else {
        panic!("{did:?}");
    };
    assert_eq!(field(response, "Session"), SESSION);
    assert_eq!(bench.ask("PLAY rtsp://h:8554/live/a/b/").event(), Event::Play);
    bench.session.play(bench.now, Ok(PlayAnswer::default()));
    assert_eq!(field(&bench.response(), "RTP-Info"), "");

    for method in ["GET_PARAMETER", "SET_PARAMETER", "OPTIONS"] {
        let response = bench.ask(&format!("{method} rtsp://h:8554/live/a/b/")).response();
        assert_eq!(response.status, 200, "{method}");
    }
    let did = bench.ask("TEARDOWN rtsp://h:8554/live/a/b/").drain();
    assert!(
        matches!(&did[..], [Did::Event(Event::Teardown), Did::Response(response)] if response.status == 200),
        "{did:?}"
    );
}

#[test]
fn a_publisher_is_heard() {
    let mut bench = Bench::new();
    let event = bench.ask_with("ANNOUNCE rtsp://h/live/a?key=1", SDP).event();
    let Event::Announce(request, sdp) = event else {
        panic!("{event:?}");
    };
    assert_eq!((&*request.stream, &*request.params), ("a", "key=1"));
    assert_eq!(sdp, SDP);
    bench.session.announce(bench.now, Ok(()));
    assert_eq!(field(&bench.response(), "Session"), SESSION);

    let transport = bench.setup(
        "rtsp://h/live/a?key=1/streamid=1",
        "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record",
    );
    assert_eq!(transport, "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record");
    let did = bench
        .ask("RECORD rtsp://h/live/a?key=1\nRange: npt=0.000-")
        .drain();
    let [Did::Response(response), Did::Event(Event::Record)] = &did[..] else {
        panic!("{did:?}");
    };
    assert_eq!(field(response, "Session"), SESSION);
    assert_eq!(
        bench.bytes(b"$\x03\x00\x02ab").event(),
        Event::Data {
            track: 1,
            control: true,
            data: Bytes::from_static(b"ab")
        }
    );
}

#[test]
fn the_transport_of_each_way() {
    let url = "rtsp://h/live/a/trackID=1";
    let check = |offer: &str, answer: SetupAnswer, expected: &str| {
        let mut bench = Bench::described();
        bench.ask_setup(url, offer).event();
        bench.session.set_up(bench.now, Ok(answer));
        assert_eq!(field(&bench.response(), "Transport"), expected);
    };
    let ssrc = Some(0xA);
    check(
        UDP,
        SetupAnswer::Udp {
            ssrc,
            ports: (7000, 7001),
        },
        "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=7000-7001;ssrc=0000000A",
    );
    check(
        MULTICAST,
        SetupAnswer::Multicast {
            ssrc,
            group: [239, 0, 0, 1].into(),
            ports: (8000, 8001),
            ttl: 16,
        },
        "RTP/AVP;multicast;destination=239.0.0.1;port=8000-8001;ttl=16;ssrc=0000000A",
    );
    let mut bench = Bench::announced();
    assert_eq!(
        bench.setup(
            "rtsp://h/live/a/streamid=0",
            "RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record"
        ),
        "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=7000-7001;mode=record"
    );
}

#[test]
fn transports_are_those_that_are_allowed() {
    let url = "rtsp://h/live/a/trackID=0";
    let check = |allowed: Allowed, offers: &str, expected: Option<Ways>| {
        let mut bench = Bench::allowing(allowed);
        bench.describe();
        let did = bench.ask_setup(url, offers).drain();
        match (&did[..], expected) {
            ([Did::Event(Event::Setup(request))], Some(way)) => assert_eq!(request.way, way, "{offers}"),
            ([Did::Response(response)], None) => assert_eq!(
                (response.status, &*response.reason),
                (461, "Unsupported transport"),
                "{offers}"
            ),
            _ => panic!("{allowed:?} {offers}: {did:?}"),
        }
    };
    let udp = Some(Ways::Udp(5000, 5001));
    for (allowed, tcp, udp, multicast) in [
        (Allowed::Any, Some(Ways::Tcp), udp, Some(Ways::Multicast)),
        (Allowed::Tcp, Some(Ways::Tcp), None, None),
        (Allowed::Udp, None, udp, None),
        (Allowed::Multicast, None, None, Some(Ways::Multicast)),
    ] {
        check(allowed, TCP, tcp);
        check(allowed, UDP, udp);
        check(allowed, MULTICAST, multicast);
        // The first that will do.
        check(
            allowed,
            &format!("{UDP},{TCP},{MULTICAST}"),
            udp.or(tcp).or(multicast),
        );
    }
    check(Allowed::Any, "", None);
    check(Allowed::Any, "RTP/AVP;unicast", None);
    check(Allowed::Any, "RTP/AVP;unicast;client_port=0-1", None);
    check(Allowed::Any, "RAW/RAW/UDP;unicast;client_port=5000-5001", None);
    check(Allowed::Any, "RTP/SAVP/TCP;unicast;interleaved=0-1", None);
    check(Allowed::Any, "MP2T/H2221/UDP;unicast;client_port=5000-5001", None);
    check(
        Allowed::Any,
        "RTP/AVPF/TCP;unicast;interleaved=0-1",
        Some(Ways::Tcp),
    );
    check(
        Allowed::Any,
        &format!("RTP/SAVP;unicast;client_port=5000-5001,{TCP}"),
        Some(Ways::Tcp),
    );
    // Nobody publishes to a group of ours.
    let mut bench = Bench::announced();
    let response = bench
        .ask_setup("rtsp://h/live/a/streamid=0", MULTICAST)
        .response();
    assert_eq!(response.status, 461);
}

#[test]
fn a_transport_that_cannot_be_had_leaves_the_others_of_the_list() {
    let mut bench = Bench::described();
    let way = |bench: &mut Bench| match bench.event() {
        Event::Setup(request) => request.way,
        other => panic!("{other:?}"),
    };
    bench.ask_setup("rtsp://h/live/a/trackID=0", &format!("{MULTICAST},{UDP},{TCP}"));
    assert_eq!(way(&mut bench), Ways::Multicast);
    bench.session.set_up(bench.now, Err(SetupRefused::Transport));
    assert!(bench.session.is_waiting());
    assert_eq!(way(&mut bench), Ways::Udp(5000, 5001));
    bench.session.set_up(bench.now, Err(SetupRefused::NoPorts));
    assert_eq!(way(&mut bench), Ways::Tcp);
    bench.session.set_up(bench.now, Err(SetupRefused::Transport));
    assert_eq!(bench.response().status, 461);
    assert!(!bench.session.is_waiting());

    bench.ask_setup("rtsp://h/live/a/trackID=0", UDP).event();
    bench.session.set_up(bench.now, Err(SetupRefused::NoPorts));
    assert_eq!(bench.response().status, 503);
    // A refused track is not set up.
    assert_eq!(bench.ask("PLAY rtsp://h/live/a/").response().status, 455);
}

#[test]
fn all_tracks_travel_alike_but_one_may_be_set_up_again() {
    let mut bench = Bench::set_up(UDP);
    let other = bench.ask_setup("rtsp://h/live/a/trackID=1", TCP).response();
    assert_eq!(other.status, 461);
    // The client falls back with all its tracks.
    assert_eq!(
        bench.setup("rtsp://h/live/a/trackID=0", TCP),
        "RTP/AVP/TCP;unicast;interleaved=0-1"
    );
    assert_eq!(
        bench.setup("rtsp://h/live/a/trackID=1", TCP),
        "RTP/AVP/TCP;unicast;interleaved=2-3"
    );
}

#[test]
fn tracks_are_known_by_any_url_that_names_them() {
    let check = |base: &str, controls: &[&str], uri: &str, expected: Option<usize>| {
        let mut bench = Bench::new();
        bench.ask(&format!("DESCRIBE {base}")).event();
        let controls = controls.iter().map(|&control| control.to_owned()).collect();
        let sdp = "v=0\r\n".to_owned();
        bench
            .session
            .describe(bench.now, Ok(Description { sdp, controls }));
        bench.response();
        let did = bench.ask_setup(uri, TCP).drain();
        match (&did[..], expected) {
            ([Did::Event(Event::Setup(request))], Some(track)) => assert_eq!(request.track, track, "{uri}"),
            ([Did::Response(response)], None) => assert_eq!(
                (response.status, &*response.reason),
                (404, "Track Not Found"),
                "{uri}"
            ),
            _ => panic!("{uri}: {did:?}"),
        }
    };
    let two = ["trackID=0", "trackID=1"];
    let base = "rtsp://h:554/live/a?key=x/y";
    for uri in [
        "rtsp://h:554/live/a/trackID=1",
        "rtsp://10.0.0.1/live/a/trackID=1",
        "/live/a/trackID=1",
        "rtsp://h:554/live/a?key=x/y/trackID=1",
        "rtsp://h:554/live/a/trackID=1?key=x/y",
        "rtsp://h:554/live/a/?key=x/y/trackID=1",
    ] {
        check(base, &two, uri, Some(1));
    }
    check(base, &two, "rtsp://h:554/live/a/trackID=2", None);
    check(base, &two, "rtsp://h:554/live/b/trackID=1", None);
    check(base, &two, "rtsp://h:554/live/a", None);
    check(base, &two, "*", None);
    check(base, &two, "trackID=1", None);
    // A single track by the URL of the whole (RFC 2326, section C.3).
    for uri in [
        "rtsp://h:554/live/a",
        "rtsp://h:554/live/a/",
        "rtsp://h:554/live/a?key=x/y",
    ] {
        check(base, &[""], uri, Some(0));
        check(base, &["*"], uri, Some(0));
        check(base, &["trackID=0"], uri, Some(0));
    }
    // Controls of publishers whose description is passed on.
    let foreign = ["rtsp://h/live/a/v", "/live/a/w", "/x"];
    check("rtsp://h/live/a", &foreign, "rtsp://h/live/a/v", Some(0));
    check("rtsp://h/live/a", &foreign, "rtsp://h/live/a/w", Some(1));
    check("rtsp://h/live/a", &foreign, "rtsp://h/live/a/x", Some(2));
    // Without a control of its own a track among others cannot be named.
    check("rtsp://h/live/a", &["", ""], "rtsp://h/live/a", None);
    check("rtsp://h/live/a", &[], "rtsp://h/live/a", None);
}

#[test]
fn a_publisher_may_name_a_description_file() {
    let mut bench = Bench::new();
    let event = bench.ask_with("ANNOUNCE rtsp://h/live/a.sdp?key=1", SDP).event();
    let Event::Announce(request, _) = event else {
        panic!("{event:?}");
    };
    assert_eq!((&*request.app, &*request.stream), ("live", "a"));
    assert_eq!(request.url, "rtsp://h/live/a");
    bench.session.announce(bench.now, Ok(()));
    bench.response();
    // The URLs of its tracks begin with that of the file.
    bench.setup("rtsp://h/live/a.sdp?key=1/streamid=0", TCP);
    bench.setup("rtsp://h/live/a.sdp/streamid=1", TCP);
    // A player means what it says.
    let event = Bench::new().ask("DESCRIBE rtsp://h/live/a.sdp").event();
    assert!(
        matches!(&event, Event::Describe(request) if request.stream == "a.sdp"),
        "{event:?}"
    );
}

#[test]
fn paths_of_publishers_have_two_segments() {
    for url in [
        "rtsp://h/live",
        "rtsp://h/live/",
        "rtsp://h/live/.sdp",
        "rtsp://h",
        "*",
    ] {
        let response = Bench::new().ask_with(&format!("ANNOUNCE {url}"), SDP).last();
        assert_eq!(response.status, 403, "{url}");
    }
}

#[test]
fn descriptions_that_cannot_be_read_are_for_the_driver_to_judge() {
    // The name is looked at before the description is.
    for sdp in ["", "nonsense", "v=0\r\n"] {
        let mut bench = Bench::new();
        bench.announce("rtsp://h/live/a", sdp);
        let response = bench.ask_setup("rtsp://h/live/a/streamid=0", TCP).response();
        assert_eq!(response.status, 404);
        assert_eq!(bench.ask("RECORD rtsp://h/live/a").response().status, 455);
    }
}

#[test]
fn refusals_are_those_of_zlm() {
    let challenges = vec!["Digest realm=\"r\", nonce=\"n\"".to_owned(), "Basic".to_owned()];
    let unauthorized = |last| Refusal::Unauthorized {
        challenges: challenges.clone(),
        last,
    };
    let denied = Refusal::Denied("go away".to_owned());
    for (refusal, status, reason, body, last) in [
        (denied, 401, "Unauthorized", "go away", true),
        (unauthorized(false), 401, "Unauthorized", "", false),
        (unauthorized(true), 401, "Unauthorized", "", true),
        (Refusal::NotFound, 404, "Stream Not Found", "", true),
        (Refusal::Taken, 406, "Not Acceptable", "Already publishing.", true),
        (
            Refusal::Unusable("no track".to_owned()),
            403,
            "Forbidden",
            "no track",
            true,
        ),
        (
            Refusal::Overload("full".to_owned()),
            503,
            "Service Unavailable",
            "full",
            true,
        ),
    ] {
        for publishes in [false, true] {
            let mut bench = Bench::new();
            if publishes {
                bench.ask_with("ANNOUNCE rtsp://h/live/a", SDP).event();
                bench.session.announce(bench.now, Err(refusal.clone()));
            } else {
                bench.ask("DESCRIBE rtsp://h/live/a").event();
                bench.session.describe(bench.now, Err(refusal.clone()));
            }
            let response = if last { bench.last() } else { bench.response() };
            assert_eq!((response.status, &*response.reason), (status, reason));
            assert_eq!(response.body, body);
            if !body.is_empty() {
                assert_eq!(field(&response, "Content-Type"), "text/plain");
            }
            if refusal == Refusal::NotFound {
                assert_eq!(field(&response, "Connection"), "Close");
            }
            if matches!(refusal, Refusal::Unauthorized { .. }) {
                let got: Vec<_> = response.headers.get_all("WWW-Authenticate").collect();
                assert_eq!(got, challenges);
            }
            if !last {
                // The client may try again, and has no stream until then.
                assert_eq!(bench.ask("PLAY rtsp://h/live/a").response().status, 454);
                bench.describe();
            }
        }
    }
}

#[test]
fn a_refused_stream_leaves_none_of_the_one_before() {
    let mut bench = Bench::described();
    bench.ask("DESCRIBE rtsp://h/live/b").event();
    let refusal = Refusal::Unauthorized {
        challenges: vec!["Basic realm=\"r\"".to_owned()],
        last: false,
    };
    bench.session.describe(bench.now, Err(refusal));
    assert_eq!(bench.response().status, 401);
    let response = bench.ask_setup("rtsp://h/live/a/trackID=0", TCP).response();
    assert_eq!(response.status, 454);
}

#[test]
fn credentials_reach_the_driver() {
    let mut bench = Bench::new();
    let event = bench
        .ask("DESCRIBE rtsp://h/live/a\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        .event();
    let Event::Describe(request) = event else {
        panic!("{event:?}");
    };
    assert_eq!(request.credentials.unwrap().user(), "Aladdin");
    let event = Bench::new()
        .ask("DESCRIBE rtsp://h/live/a\nAuthorization: Bearer x")
        .event();
    assert!(
        matches!(&event, Event::Describe(request) if request.credentials.is_none()),
        "{event:?}"
    );
}

#[test]
fn methods_that_do_not_fit_the_state_are_refused() {
    let requests = [
        "DESCRIBE rtsp://h/live/a",
        "ANNOUNCE rtsp://h/live/a",
        "SETUP rtsp://h/live/a/trackID=0\nTransport: RTP/AVP/TCP",
        "PLAY rtsp://h/live/a",
        "PAUSE rtsp://h/live/a",
        "RECORD rtsp://h/live/a",
        "TEARDOWN rtsp://h/live/a",
    ];
    let paused = || {
        let mut bench = Bench::playing(TCP);
        bench.ask("PAUSE rtsp://h/live/a").drain();
        bench
    };
    // 0 stands for what is not refused.
    for (name, bench, expected) in [
        (
            "idle",
            &(Bench::new as fn() -> Bench),
            [0, 0, 454, 454, 454, 454, 454],
        ),
        (
            "described",
            &(Bench::described as fn() -> Bench),
            [0, 455, 0, 455, 455, 455, 0],
        ),
        (
            "set up",
            &((|| Bench::set_up(TCP)) as fn() -> Bench),
            [0, 455, 0, 0, 455, 455, 0],
        ),
        (
            "playing",
            &((|| Bench::playing(TCP)) as fn() -> Bench),
            [455, 455, 455, 0, 0, 455, 0],
        ),
        ("paused", &(paused as fn() -> Bench), [455, 455, 0, 0, 0, 455, 0]),
        (
            "announced",
            &(Bench::announced as fn() -> Bench),
            [455, 455, 404, 455, 455, 455, 0],
        ),
        (
            "set up to publish",
            &((|| Bench::publishing(TCP)) as fn() -> Bench),
            [455, 455, 404, 455, 455, 0, 0],
        ),
        (
            "recording",
            &((|| Bench::recording(TCP)) as fn() -> Bench),
            [455, 455, 455, 455, 455, 0, 0],
        ),
    ] {
        for (request, status) in requests.iter().zip(expected) {
            let did = bench().ask(request).drain();
            let got = did.iter().find_map(|did| match did {
                Did::Response(response) if response.status != 200 => Some(response.status),
                _ => None,
            });
            assert_eq!(got.unwrap_or(0), status, "{name}: {request}: {did:?}");
            assert!(!did.contains(&Did::Close), "{name}: {request}");
        }
    }
}

#[test]
fn recording_twice_is_recording() {
    let mut bench = Bench::recording(TCP);
    assert_eq!(bench.ask("RECORD rtsp://h/live/a").response().status, 200);
}

#[test]
fn unknown_methods_end_the_connection() {
    for method in ["REDIRECT", "play", "FLY"] {
        let response = Bench::playing(TCP)
            .ask(&format!("{method} rtsp://h/live/a"))
            .last();
        assert_eq!((response.status, &*response.reason), (403, "Forbidden"));
    }
}

#[test]
fn sessions_of_others_are_unknown() {
    let mut bench = Bench::playing(TCP);
    for method in ["OPTIONS", "PLAY", "TEARDOWN", "GET_PARAMETER"] {
        let response = bench
            .ask(&format!("{method} rtsp://h/live/a\nSession: 1"))
            .response();
        assert_eq!(
            (response.status, &*response.reason),
            (454, "Session Not Found"),
            "{method}"
        );
    }
    for session in ["000000000000ABCD", " 000000000000ABCD ;timeout=20", ""] {
        let response = bench
            .ask(&format!("GET_PARAMETER rtsp://h/live/a\nSession: {session}"))
            .response();
        assert_eq!(response.status, 200, "{session}");
    }
}

#[test]
fn a_request_without_a_number_is_answered_without_one() {
    let mut bench = Bench::new();
    let did = bench.bytes(b"OPTIONS * RTSP/1.0\r\n\r\n").drain();
    let [Did::Response(response)] = &did[..] else {
        panic!("{did:?}");
    };
    assert_eq!((response.status, response.headers.get("CSeq")), (200, None));
    bench.bytes(b"DESCRIBE rtsp://h/live/a RTSP/1.0\r\n\r\n").event();
    bench.session.describe(bench.now, Ok(description()));
    let did = bench.drain();
    assert!(
        matches!(&did[..], [Did::Response(response)] if response.headers.get("CSeq").is_none()),
        "{did:?}"
    );
}

#[test]
fn pipelined_requests_wait_for_decisions() {
    let mut bench = Bench::new();
    let requests = [
        "OPTIONS *",
        "DESCRIBE rtsp://h/live/a",
        "SETUP rtsp://h/live/a/trackID=0\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1",
        "PLAY rtsp://h/live/a/",
        "TEARDOWN rtsp://h/live/a/",
        "DESCRIBE rtsp://h/live/b",
    ];
    let all: String = (1..)
        .zip(requests)
        .map(|(cseq, request)| text(request, cseq, ""))
        .collect();
    let status = |did: &Did| match did {
        Did::Response(response) => (field(response, "CSeq"), response.status),
        other => panic!("{other:?}"),
    };
    let did = bench.bytes(all.as_bytes()).drain();
    assert_eq!(status(&did[0]), ("1".into(), 200));
    assert!(matches!(&did[1..], [Did::Event(Event::Describe(_))]), "{did:?}");
    assert!(bench.session.is_waiting());
    let left = bench.input.len();
    assert_eq!(bench.bytes(b"").drain(), []);
    assert_eq!(
        bench.input.len(),
        left,
        "nothing is taken while a request is decided"
    );
    // A decision about something else changes nothing.
    bench.session.play(bench.now, Ok(PlayAnswer::default()));
    bench.session.announce(bench.now, Ok(()));
    assert!(bench.session.is_waiting());
    assert_eq!(bench.drain(), []);

    bench.session.describe(bench.now, Ok(description()));
    let did = bench.drain();
    assert_eq!(status(&did[0]), ("2".into(), 200));
    assert!(matches!(&did[1..], [Did::Event(Event::Setup(_))]), "{did:?}");
    bench
        .session
        .set_up(bench.now, Ok(SetupAnswer::Tcp { ssrc: None }));
    let did = bench.drain();
    assert_eq!(status(&did[0]), ("3".into(), 200));
    assert_eq!(did[1..], [Did::Event(Event::Play)]);
    bench.session.play(bench.now, Ok(PlayAnswer::default()));
    let did = bench.drain();
    assert_eq!(status(&did[0]), ("4".into(), 200));
    assert_eq!(did[1], Did::Event(Event::Teardown));
    assert_eq!(status(&did[2]), ("5".into(), 200));
    assert!(
        matches!(&did[3..], [Did::Event(Event::Describe(request))] if request.stream == "b"),
        "{did:?}"
    );
    assert!(bench.input.is_empty());
}

#[test]
fn a_connection_begins_again_after_teardown() {
    let mut bench = Bench::playing(UDP);
    bench.ask("TEARDOWN rtsp://h/live/a/").drain();
    assert_eq!(bench.ask("PLAY rtsp://h/live/a/").response().status, 454);
    // Packets that were on their way are of no stream.
    assert_eq!(bench.bytes(b"$\x00\x00\x01a").drain(), []);
    // Another role, another transport.
    bench.announce("rtsp://h/live/b", SDP);
    bench.setup("rtsp://h/live/b/streamid=0", TCP);
    let did = bench.ask("RECORD rtsp://h/live/b").drain();
    assert!(
        matches!(&did[..], [Did::Response(_), Did::Event(Event::Record)]),
        "{did:?}"
    );
}

#[test]
fn halves_of_tunnels_are_told() {
    for method in ["GET", "POST"] {
        let mut bench = Bench::new();
        let head =
            format!("{method} /live/a HTTP/1.0\r\nx-sessioncookie: abc\r\nContent-Length: 32767\r\n\r\n");
        let event = bench.bytes(format!("{head}T1BUSU9OUw==").as_bytes()).event();
        let cookie = "abc".to_owned();
        let half = match method {
            "GET" => Half::Get { cookie },
            _ => Half::Post { cookie },
        };
        assert_eq!(event, Event::Tunnel(half));
        assert_eq!(bench.input, "T1BUSU9OUw==", "what follows is the tunnel's");
        assert_eq!(bench.due(), None);
        bench.session.close();
        assert_eq!(bench.bytes(b"").drain(), []);
    }
    let response = Bench::new().bytes(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").last();
    assert_eq!(response.status, 400);
    // Who has a stream already does not begin a tunnel.
    let response = Bench::recording(TCP)
        .bytes(b"GET / HTTP/1.0\r\nx-sessioncookie: abc\r\n\r\n")
        .last();
    assert_eq!(response.status, 400);
}

#[test]
fn who_does_not_get_on_is_timed_out() {
    let handshake = TimeoutReason::Handshake;
    let mut bench = Bench::new();
    assert_eq!(bench.due(), Some((15_000, handshake)));
    bench.at(5_000).bytes(b"OPTIONS * RT");
    assert_eq!(
        bench.due(),
        Some((15_000, handshake)),
        "half a request is no request"
    );
    bench.at(6_000).bytes(b"SP/1.0\r\n\r\n").drain();
    assert_eq!(bench.due(), Some((21_000, handshake)));
    bench.at(7_000).ask("DESCRIBE rtsp://h/live/a").event();
    assert_eq!(bench.due(), None, "now it is we who are waited for");
    bench.tick(100_000);
    assert_eq!(bench.drain(), []);
    bench.session.describe(bench.now, Ok(description()));
    assert_eq!(bench.response().status, 200);
    assert_eq!(bench.due(), Some((115_000, handshake)));
    bench.setup("rtsp://h/live/a/trackID=0", TCP);
    bench.tick(114_999);
    assert_eq!(bench.drain(), []);
    bench.tick(115_000);
    assert_eq!(
        bench.drain(),
        [Did::Event(Event::TimedOut(handshake)), Did::Close]
    );
    assert_eq!(bench.due(), None);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.bytes(b"OPTIONS * RTSP/1.0\r\n\r\n").drain(), []);
}

#[test]
fn silence_ends_publishers_and_players_over_udp() {
    let silence = TimeoutReason::Silence;
    for mut bench in [
        Bench::recording(TCP),
        Bench::recording(UDP),
        Bench::playing(UDP),
        Bench::playing(MULTICAST),
    ] {
        assert_eq!(bench.due(), Some((20_000, silence)));
        bench.at(5_000).bytes(b"$\x00\x00\x01a").drain();
        assert_eq!(bench.due(), Some((25_000, silence)));
        bench.heard(6_000);
        assert_eq!(bench.due(), Some((26_000, silence)));
        bench.at(7_000).ask("GET_PARAMETER rtsp://h/live/a").drain();
        assert_eq!(bench.due(), Some((27_000, silence)));
        // The clock of another thread is a little behind.
        bench.heard(6_500);
        assert_eq!(bench.due(), Some((27_000, silence)));
        bench.tick(27_000);
        assert_eq!(bench.drain(), [Did::Event(Event::TimedOut(silence)), Did::Close]);
    }
    let mut bench = Bench::playing(TCP);
    assert_eq!(bench.due(), None);
    bench.tick(1_000_000);
    assert_eq!(bench.drain(), []);
    // Paused, it reads nothing.
    bench.ask("PAUSE rtsp://h/live/a").drain();
    assert_eq!(bench.due(), Some((1_020_000, silence)));
}

#[test]
fn limits_without_end_are_none() {
    let start = Instant::now();
    let config = Config {
        handshake: Duration::MAX,
        ..config(Allowed::Any)
    };
    assert_eq!(ServerSession::new(config, 0, start).poll_timeout(), None);
}

#[test]
fn data_counts_on_channels_that_are_set_up() {
    let mut bench = Bench::recording(TCP);
    let data = |track, control| Event::Data {
        track,
        control,
        data: Bytes::from_static(b"a"),
    };
    assert_eq!(bench.bytes(b"$\x00\x00\x01a").event(), data(0, false));
    assert_eq!(bench.bytes(b"$\x01\x00\x01a").event(), data(0, true));
    for channel in [2, 3, 4, 254, 255] {
        assert_eq!(bench.bytes(&[b'$', channel, 0, 1, b'a']).drain(), [], "{channel}");
    }
    assert_eq!(Bench::recording(UDP).bytes(b"$\x00\x00\x01a").drain(), []);
    assert_eq!(Bench::announced().bytes(b"$\x00\x00\x01a").drain(), []);
    assert_eq!(Bench::new().bytes(b"$\x00\x00\x01a").drain(), []);
}

#[test]
fn after_the_end_nothing_is_said() {
    let mut bench = Bench::new();
    bench.ask("DESCRIBE rtsp://h/live/a").event();
    bench.session.close();
    assert!(!bench.session.is_waiting());
    bench.session.describe(bench.now, Ok(description()));
    bench.session.close();
    assert_eq!(bench.drain(), [Did::Close]);
}

#[test]
fn outputs_are_bounded() {
    let mut session = ServerSession::new(config(Allowed::Any), 0, Instant::now());
    let mut input = BytesMut::from("OPTIONS * RTSP/1.0\n\n".repeat(3_000).as_str());
    let (mut answers, mut most) = (0, 0);
    loop {
        session.handle_bytes(Instant::now(), &mut input).unwrap();
        let outputs = std::iter::from_fn(|| session.poll_output()).count();
        if outputs == 0 {
            break;
        }
        answers += outputs;
        most = most.max(outputs);
    }
    assert_eq!((answers, input.len()), (3_000, 0));
    assert!(most <= 256, "{most} outputs at once");
}

#[test]
fn what_is_no_rtsp_is_an_error() {
    let mut bench = Bench::new();
    bench.input.extend_from_slice(b"\x16\x03\x01\x02\x00\x01\x00\n\n");
    assert!(bench.session.handle_bytes(bench.now, &mut bench.input).is_err());
}

/// Answers whatever is asked.
fn decide(session: &mut ServerSession, now: Instant, event: &Event, kind: u8) {
    let refusal = match kind {
        0 => Some(Refusal::Unauthorized {
            challenges: Vec::new(),
            last: false,
        }),
        1 => Some(Refusal::NotFound),
        _ => None,
    };
    match event {
        Event::Describe(_) => session.describe(now, refusal.map_or_else(|| Ok(description()), Err)),
        Event::Announce(..) => session.announce(now, refusal.map_or(Ok(()), Err)),
        Event::Setup(request) if kind == 2 => {
            session.set_up(now, Err(SetupRefused::Transport));
            let _ = request;
        }
        Event::Setup(request) => session.set_up(now, Ok(answer(request.way))),
        Event::Play => {
            let start = TrackStart {
                track: usize::from(kind),
                sequence: None,
                timestamp: 0,
            };
            let answer = PlayAnswer { tracks: vec![start] };
            session.play(now, refusal.map_or(Ok(answer), Err));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn each_request_is_answered_once_and_in_order(
        steps in proptest::collection::vec((0_usize..16, 0_u8..12), 1..40),
        cut in 1_usize..200,
    ) {
        let requests = [
            "OPTIONS *", "DESCRIBE rtsp://h/live/a", "DESCRIBE rtsp://h/live/b?x=/y", "ANNOUNCE rtsp://h/live/a",
            "SETUP rtsp://h/live/a/trackID=0\nTransport: RTP/AVP/TCP",
            "SETUP rtsp://h/live/a/trackID=1\nTransport: RTP/AVP/TCP",
            "SETUP rtsp://h/live/a/trackID=1\nTransport: RTP/AVP;client_port=5000, RTP/AVP/TCP",
            "SETUP rtsp://h/live/a/streamid=0\nTransport: RTP/AVP/TCP",
            "SETUP rtsp://h/live/a/streamid=9\nTransport: RTP/AVP/TCP",
            "PLAY rtsp://h/live/a", "PAUSE rtsp://h/live/a", "RECORD rtsp://h/live/a", "TEARDOWN rtsp://h/live/a",
            "GET_PARAMETER rtsp://h/live/a\nSession: 5", "SET_PARAMETER rtsp://h/live/a", "PLAY *",
        ];
        let mut stream = String::new();
        for (cseq, (which, _)) in (0..).zip(&steps) {
            let request = requests[*which];
            let body = if request.starts_with("ANNOUNCE") { SDP } else { "" };
            stream.push_str(&text(request, cseq, body));
            stream.push_str("$\0\0\u{1}a$\u{3}\0\u{1}b");
        }
        let now = Instant::now();
        let mut session = ServerSession::new(config(Allowed::Any), 0, now);
        let mut input = BytesMut::new();
        let mut kinds = steps.iter().map(|(_, kind)| *kind).cycle();
        let (mut answered, mut closed) = (0, false);
        for part in stream.as_bytes().chunks(cut) {
            input.extend_from_slice(part);
            loop {
                session.handle_bytes(now, &mut input).unwrap();
                let outputs: Vec<_> = std::iter::from_fn(|| session.poll_output()).collect();
                if outputs.is_empty() {
                    break;
                }
                for output in outputs {
                    prop_assert!(!closed, "{output:?} behind the end");
                    match output {
                        Output::Send(bytes) => {
                            prop_assert_eq!(field(&read(&bytes), "CSeq"), answered.to_string());
                            answered += 1;
                        }
                        Output::Event(event) => decide(&mut session, now, &event, kinds.next().unwrap()),
                        Output::Close => closed = true,
                    }
                }
            }
        }
        prop_assert!(closed || answered == steps.len(), "{} of {} answered", answered, steps.len());
    }

    #[test]
    fn hostile_bytes_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        method in "(DESCRIBE|ANNOUNCE|SETUP|PLAY|RECORD|TEARDOWN|GET|[A-Z]{1,5})",
        uri in "(rtsp://h)?(/live/a|/trackID=[0-9]|\\?|\\.sdp|[a-z@:*\\[%]){1,6}",
        transport in "[RTP/AVUDC,;=\"0-9 -]{0,60}",
        granted in 0..3,
    ) {
        let mut bench = match granted {
            0 => Bench::new(),
            1 => Bench::described(),
            _ => Bench::recording(TCP),
        };
        let version = if method == "GET" { "HTTP/1.0" } else { "RTSP/1.0" };
        bench.input.extend_from_slice(
            format!("{method} {uri} {version}\r\nTransport: {transport}\r\n\r\n").as_bytes(),
        );
        bench.input.extend_from_slice(&bytes);
        for kind in 3_u8.. {
            if bench.session.handle_bytes(bench.now, &mut bench.input).is_err() {
                break;
            }
            let Some(output) = bench.session.poll_output() else {
                break;
            };
            if let Output::Event(event) = output {
                decide(&mut bench.session, bench.now, &event, kind);
            }
        }
    }
}
