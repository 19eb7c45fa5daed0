//! The client against answers as cameras and servers give them.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use tidegate_rtsp::auth::{Challenge, Credentials, Scheme, Secret};
use tidegate_rtsp::client::{
    Carrier, ClientSession, Config, Error, Event, KeepAliveBy, Login, Multicast, Output, Path, Role, RtpInfo,
    Sockets, TrackChoice, Tracks,
};
use tidegate_rtsp::message::{Limits, Message, Parser, Request};

/// What a session did.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Request(Request),
    /// Answers to the server and interleaved data.
    Other(Message),
    Event(Event),
    Close,
}

struct Bench {
    session: ClientSession,
    start: Instant,
    now: Instant,
    /// `CSeq` of the last request.
    cseq: String,
}

impl Bench {
    fn new(config: Config) -> Self {
        let start = Instant::now();
        Self {
            session: ClientSession::new(config, 7, start),
            start,
            now: start,
            cseq: String::new(),
        }
    }

    /// Sets the clock, in milliseconds from the start.
    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    fn due(&self) -> Option<u128> {
        self.session
            .poll_timeout()
            .map(|at| at.duration_since(self.start).as_millis())
    }

    /// Takes all outputs.
    fn drain(&mut self) -> Vec<Did> {
        let mut parser = Parser::new(Limits::default());
        let mut all = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let mut bytes = BytesMut::from(&bytes[..]);
                    while let Some(message) = parser.next(&mut bytes).unwrap() {
                        all.push(match message {
                            Message::Request(request) => {
                                self.cseq = request.headers.get("CSeq").unwrap().to_owned();
                                Did::Request(request)
                            }
                            other => Did::Other(other),
                        });
                    }
                    assert!(bytes.is_empty(), "half a message was sent: {bytes:?}");
                }
                Output::Event(event) => all.push(Did::Event(event)),
                Output::Close => all.push(Did::Close),
            }
        }
        all
    }

    /// The only request that is sent now.
    fn request(&mut self) -> Request {
        match &self.drain()[..] {
            [Did::Request(request)] => request.clone(),
            other => panic!("one request expected: {other:#?}"),
        }
    }

    /// The only event now.
    fn event(&mut self) -> Event {
        match &self.drain()[..] {
            [Did::Event(event)] => event.clone(),
            other => panic!("one event expected: {other:#?}"),
        }
    }

    /// The event with which the session closes; what is sent besides does not matter.
    fn end(&mut self) -> Event {
        let all = self.drain();
        match &all[..] {
            [.., Did::Event(event), Did::Close] => event.clone(),
            other => panic!("an end expected: {other:#?}"),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let mut input = BytesMut::from(bytes);
        self.session.handle_bytes(self.now, &mut input).unwrap();
        assert!(input.is_empty(), "left: {input:?}");
        self
    }

    /// An answer to the last request. `head`: status line and fields without CSeq, one a line.
    fn answer(&mut self, head: &str, body: &str) -> &mut Self {
        let mut lines = head.lines();
        let mut text = format!("RTSP/1.0 {}\r\nCSeq: {}\r\n", lines.next().unwrap(), self.cseq);
        for line in lines {
            text.push_str(&format!("{}\r\n", line.trim_start()));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str(&format!("\r\n{body}"));
        self.bytes(text.as_bytes())
    }

    fn choose(&mut self, tracks: &[(usize, &str)]) -> &mut Self {
        let tracks: Vec<_> = tracks
            .iter()
            .map(|&(index, control)| TrackChoice {
                index,
                control: control.to_owned(),
            })
            .collect();
        self.session.choose(self.now, &tracks).unwrap();
        self
    }

    /// OPTIONS and DESCRIBE are over; the session asks which tracks.
    fn described(&mut self) -> &mut Self {
        assert_eq!(self.request().method, "OPTIONS");
        let request = self
            .answer("200 OK\nPublic: OPTIONS, DESCRIBE, PLAY, GET_PARAMETER", "")
            .request();
        assert_eq!(request.method, "DESCRIBE");
        let event = self.answer(DESCRIBE_OK, SDP).event();
        assert!(matches!(event, Event::Described { .. }), "{event:?}");
        self
    }

    /// One track plays over TCP, since the time that is set.
    fn playing(&mut self) -> &mut Self {
        self.described().choose(&[(0, "trackID=0")]).request();
        self.answer(SETUP_OK, "").drain();
        let event = self.answer("200 OK", "").event();
        assert!(matches!(event, Event::Playing { .. }), "{event:?}");
        self
    }
}

fn config(url: &str) -> Config {
    Config::new(tidegate_rtsp::url::parse(url).unwrap(), Role::Play)
}

fn publishing(url: &str) -> Config {
    let url = tidegate_rtsp::url::parse(url).unwrap();
    Config::new(url, Role::Publish { sdp: SDP.to_owned() })
}

fn field<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name)
}

fn failure(event: Event) -> String {
    match event {
        Event::Failed(failure) => failure.to_string(),
        other => panic!("a failure expected: {other:?}"),
    }
}

/// A camera with video, audio and what else it likes to send.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=Media Presentation\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n\
    m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:trackID=1\r\n";

const DESCRIBE_OK: &str = "200 OK\nContent-Type: application/sdp\nContent-Base: rtsp://10.0.0.9:554/live/";

const SETUP_OK: &str =
    "200 OK\nSession: 708345999;timeout=60\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1";

#[test]
fn a_camera_with_digest_plays_over_tcp() {
    let mut bench = Bench::new(config("rtsp://admin:p%40ss@10.0.0.9/live?x=y"));
    let request = bench.request();
    assert_eq!(
        (request.method.as_str(), request.uri.as_str()),
        ("OPTIONS", "rtsp://10.0.0.9/live?x=y")
    );
    assert_eq!(field(&request, "User-Agent"), Some("Tidegate"));
    assert_eq!(field(&request, "Authorization"), None);

    let request = bench
        .answer(
            "200 OK\nPublic: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, GET_PARAMETER",
            "",
        )
        .request();
    assert_eq!(request.method, "DESCRIBE");
    assert_eq!(field(&request, "Accept"), Some("application/sdp"));

    let challenge = Challenge {
        realm: "IP Camera(12345)".to_owned(),
        nonce: "a1b2".to_owned(),
        scheme: Scheme::Digest,
        sha256: false,
    };
    let check = |request: &Request| {
        let header = field(request, "Authorization").expect("no credentials");
        let credentials = Credentials::parse(header).unwrap();
        assert_eq!(credentials.user(), "admin");
        let secret = Secret::Plain("p@ss".to_owned());
        assert!(
            challenge.verify(&credentials, &request.method, &secret),
            "{header}"
        );
    };
    let unauthorized = format!(
        "401 Unauthorized\nWWW-Authenticate: {}\nWWW-Authenticate: Basic realm=\"IP Camera(12345)\"",
        challenge.headers(false)[0]
    );
    let first = request.headers.get("CSeq").unwrap().to_owned();
    let request = bench.answer(&unauthorized, "").request();
    assert_eq!(request.method, "DESCRIBE");
    assert_ne!(
        field(&request, "CSeq"),
        Some(first.as_str()),
        "a repeated request has a number of its own"
    );
    check(&request);

    let event = bench.answer(DESCRIBE_OK, SDP).event();
    assert_eq!(
        event,
        Event::Described {
            sdp: SDP.to_owned(),
            base: "rtsp://10.0.0.9:554/live/".to_owned()
        }
    );
    let request = bench.choose(&[(0, "trackID=0"), (1, "trackID=1")]).request();
    assert_eq!(request.uri, "rtsp://10.0.0.9:554/live/trackID=0");
    assert_eq!(
        field(&request, "Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1")
    );
    assert_eq!(field(&request, "Session"), None);
    check(&request);

    let all = bench
        .answer(
            "200 OK\nSession:        708345999;timeout=60\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=4cacc3d1;mode=\"play\"",
            "",
        )
        .drain();
    let [Did::Event(event), Did::Request(request)] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        *event,
        Event::SetUp {
            track: 0,
            path: Path::Interleaved { rtp: 0, rtcp: 1 },
            ssrc: Some(0x4cac_c3d1)
        }
    );
    assert_eq!(request.uri, "rtsp://10.0.0.9:554/live/trackID=1");
    assert_eq!(
        field(request, "Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=2-3")
    );
    assert_eq!(field(request, "Session"), Some("708345999"));

    // The session changes, as some cameras have it: the first counts.
    let all = bench
        .answer(
            "200 OK\nSession: 9\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3",
            "",
        )
        .drain();
    let [Did::Event(Event::SetUp { track: 1, .. }), Did::Request(request)] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        (request.method.as_str(), request.uri.as_str()),
        ("PLAY", "rtsp://10.0.0.9:554/live/")
    );
    assert_eq!(field(request, "Range"), Some("npt=0.000-"));
    assert_eq!(field(request, "Session"), Some("708345999"));
    check(request);

    let event = bench
        .answer(
            "200 OK\nRange: npt=0.000-\nRTP-Info: url=trackID=0;seq=16852;rtptime=1070938629,url=trackID=1;seq=1;rtptime=5",
            "",
        )
        .event();
    let info = |track, seq, rtptime| RtpInfo {
        track,
        seq,
        rtptime: Some(rtptime),
    };
    assert_eq!(
        event,
        Event::Playing {
            rtp_info: vec![info(0, Some(16852), 1_070_938_629), info(1, None, 5)],
            range: Some("npt=0.000-".to_owned())
        }
    );
    assert_eq!(
        bench.bytes(b"$\x02\x00\x03abc").event(),
        Event::Data {
            channel: 2,
            data: Bytes::from_static(b"abc")
        }
    );
    bench.session.close(bench.now);
    let all = bench.drain();
    let [Did::Request(request), Did::Close] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        (request.method.as_str(), field(request, "Session")),
        ("TEARDOWN", Some("708345999"))
    );
    assert_eq!(bench.due(), None);
}

#[test]
fn a_refused_password_is_not_tried_again() {
    let unauthorized = "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\"";
    for (url, tries) in [("rtsp://u:wrong@cam/a", 2), ("rtsp://cam/a", 1)] {
        let mut bench = Bench::new(config(url));
        bench.request();
        bench.answer("200 OK", "");
        for _ in 0..tries {
            assert_eq!(bench.request().method, "DESCRIBE", "{url}");
            bench.answer(unauthorized, "");
        }
        assert_eq!(failure(bench.end()), "DESCRIBE:401 Unauthorized", "{url}");
    }
}

#[test]
fn a_password_may_be_given_as_hash_and_overrides_the_url() {
    let mut bench = Bench::new(Config {
        login: Some(Login::Ha1Md5 {
            user: "admin".to_owned(),
            // MD5 of admin:r:secret.
            ha1: "87754f89410aed45598c5959738933bf".to_owned(),
        }),
        ..config("rtsp://u:wrong@cam/a")
    });
    bench.request();
    let request = bench
        .answer(
            "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\"",
            "",
        )
        .request();
    let credentials = Credentials::parse(field(&request, "Authorization").unwrap()).unwrap();
    let challenge = Challenge {
        realm: "r".to_owned(),
        nonce: "1".to_owned(),
        scheme: Scheme::Digest,
        sha256: false,
    };
    assert_eq!(credentials.user(), "admin");
    let ha1 = Secret::Ha1Md5("87754f89410aed45598c5959738933bf".to_owned());
    assert!(challenge.verify(&credentials, "OPTIONS", &ha1));
}

#[test]
fn an_old_nonce_is_replaced_while_playing() {
    let mut bench = Bench::new(config("rtsp://u:p@cam/a"));
    bench.request();
    bench
        .answer(
            "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\"",
            "",
        )
        .playing();
    bench.at(5_000);
    bench.session.handle_timeout(bench.now);
    let request = bench.drain();
    // The media timeout runs out at the same time: media are late here.
    assert!(matches!(
        &request[..],
        [Did::Request(_), Did::Event(Event::Failed(_)), Did::Close]
    ));

    let mut bench = Bench::new(Config {
        media_timeout: Duration::from_secs(60),
        ..config("rtsp://u:p@cam/a")
    });
    bench.request();
    bench
        .answer(
            "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\"",
            "",
        )
        .playing();
    bench.at(5_000);
    bench.session.handle_timeout(bench.now);
    assert!(
        field(&bench.request(), "Authorization")
            .unwrap()
            .contains("nonce=\"1\"")
    );
    let request = bench
        .answer(
            "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"2\"",
            "",
        )
        .request();
    assert_eq!(request.method, "GET_PARAMETER");
    assert!(field(&request, "Authorization").unwrap().contains("nonce=\"2\""));
    assert_eq!(bench.answer("200 OK", "").drain(), []);
}

#[test]
fn a_refusal_of_an_older_challenge_is_none() {
    let mut bench = Bench::new(Config {
        media_timeout: Duration::from_secs(60),
        ..config("rtsp://u:p@cam/a")
    });
    bench.request();
    bench
        .answer(
            "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"1\"",
            "",
        )
        .playing();
    // Two keep-alives are on their way when the nonce is replaced.
    let mut numbers = Vec::new();
    for ms in [5_000, 10_000] {
        bench.at(ms);
        bench.session.handle_timeout(bench.now);
        numbers.push(field(&bench.request(), "CSeq").unwrap().to_owned());
    }
    for number in numbers {
        bench.cseq = number;
        let request = bench
            .answer(
                "401 Unauthorized\nWWW-Authenticate: Digest realm=\"r\", nonce=\"2\"",
                "",
            )
            .request();
        assert!(field(&request, "Authorization").unwrap().contains("nonce=\"2\""));
    }
}

#[test]
fn the_session_is_kept_alive_by_what_the_server_has() {
    let mut bench = Bench::new(Config {
        media_timeout: Duration::from_secs(600),
        ..config("rtsp://cam/a")
    });
    bench.described().choose(&[(0, "trackID=0")]).request();
    bench
        .answer("200 OK\nSession: 1; timeout=6\nTransport: RTP/AVP/TCP", "")
        .drain();
    bench.at(1_000).answer("200 OK", "").drain();
    assert_eq!(bench.due(), Some(5_000), "two thirds of six seconds");
    bench.at(5_000);
    bench.session.handle_timeout(bench.now);
    let request = bench.request();
    assert_eq!(
        (
            request.method.as_str(),
            request.uri.as_str(),
            field(&request, "Session")
        ),
        ("GET_PARAMETER", "rtsp://10.0.0.9:554/live/", Some("1"))
    );
    assert_eq!(bench.due(), Some(9_000));
    assert_eq!(bench.answer("501 Not Implemented", "").drain(), []);
    bench.at(9_000);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.request().method, "OPTIONS");
    assert_eq!(
        failure(bench.answer("454 Session Not Found", "").end()),
        "OPTIONS:454 Session Not Found"
    );

    let mut config = config("rtsp://cam/a");
    config.keep_alive.by = KeepAliveBy::Rtcp;
    config.media_timeout = Duration::from_secs(600);
    let mut bench = Bench::new(config);
    bench.playing();
    assert_eq!(bench.due(), Some(600_000), "only media are waited for");
}

#[test]
fn silence_fails_in_time() {
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench.described();
    assert_eq!(bench.due(), Some(10_000));
    bench.at(9_999);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.drain(), []);
    bench.at(10_000);
    bench.session.handle_timeout(bench.now);
    assert_eq!(failure(bench.end()), "play rtsp timeout");

    let mut bench = Bench::new(publishing("rtsp://h/a/b"));
    bench.drain();
    bench.at(10_000);
    bench.session.handle_timeout(bench.now);
    assert_eq!(failure(bench.end()), "publish rtsp timeout");

    let mut config = config("rtsp://cam/a");
    config.keep_alive.by = KeepAliveBy::Rtcp;
    let mut bench = Bench::new(config);
    bench.playing();
    assert_eq!(bench.due(), Some(5_000));
    bench.at(3_000).bytes(b"$\x00\x00\x01a").drain();
    assert_eq!(bench.due(), Some(8_000));
    bench.at(7_000);
    bench.session.media_arrived(bench.now);
    bench.at(11_999);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.drain(), []);
    bench.at(12_000);
    bench.session.handle_timeout(bench.now);
    let all = bench.drain();
    let [Did::Request(teardown), Did::Event(event), Did::Close] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(teardown.method, "TEARDOWN");
    assert_eq!(failure(event.clone()), "receive rtp timeout");
}

#[test]
fn media_over_udp() {
    let mut bench = Bench::new(Config {
        carrier: Carrier::Udp,
        ..config("rtsp://cam/a")
    });
    let needed = Event::UdpNeeded {
        track: 1,
        multicast: None,
    };
    assert_eq!(bench.described().choose(&[(1, "trackID=1")]).event(), needed);
    let wrong = bench.session.sockets(bench.now, 0, Sockets::Ports(6000, 6001));
    assert_eq!(wrong, Err(Error::NotAsked("sockets")));
    bench
        .session
        .sockets(bench.now, 1, Sockets::Ports(6000, 6001))
        .unwrap();
    let request = bench.request();
    assert_eq!(
        field(&request, "Transport"),
        Some("RTP/AVP;unicast;client_port=6000-6001")
    );
    let all = bench
        .answer(
            "200 OK\nSession: 1\nTransport: RTP/AVP;unicast;client_port=6000-6001;server_port=7000-7001;source=10.0.0.8;ssrc=0000000A",
            "",
        )
        .drain();
    let [Did::Event(event), Did::Request(request)] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        *event,
        Event::SetUp {
            track: 1,
            path: Path::Unicast {
                server: Some((7000, 7001)),
                source: Some([10, 0, 0, 8].into())
            },
            ssrc: Some(10)
        }
    );
    assert_eq!(request.method, "PLAY");
}

#[test]
fn udp_that_is_refused_falls_back_to_tcp() {
    for carrier in [Carrier::Udp, Carrier::Multicast] {
        let mut bench = Bench::new(Config {
            carrier,
            ..config("rtsp://cam/a")
        });
        bench
            .described()
            .choose(&[(0, "trackID=0"), (1, "trackID=1")])
            .drain();
        if carrier == Carrier::Udp {
            bench
                .session
                .sockets(bench.now, 0, Sockets::Ports(6000, 6001))
                .unwrap();
            bench.request();
        }
        let event = bench.answer("461 Unsupported transport", "").event();
        assert_eq!(event, Event::CarrierRefused { track: 0 });
        bench.session.fall_back(bench.now).unwrap();
        let request = bench.request();
        assert_eq!(
            field(&request, "Transport"),
            Some("RTP/AVP/TCP;unicast;interleaved=0-1")
        );
        assert_eq!(
            bench.session.fall_back(bench.now),
            Err(Error::NotAsked("fall_back"))
        );
        // Refused over TCP too: nothing is left.
        let event = bench.answer("461 Unsupported transport", "").end();
        assert_eq!(failure(event), "SETUP:461 Unsupported transport");
    }
}

#[test]
fn media_of_a_group() {
    let mut bench = Bench::new(Config {
        carrier: Carrier::Multicast,
        ..config("rtsp://cam/a")
    });
    let request = bench.described().choose(&[(0, "trackID=0")]).request();
    assert_eq!(field(&request, "Transport"), Some("RTP/AVP;multicast"));
    let group = Multicast {
        group: [239, 0, 0, 5].into(),
        rtp: 8000,
        rtcp: 8001,
        ttl: Some(16),
        source: Some([10, 0, 0, 9].into()),
    };
    let all = bench
        .answer(
            "200 OK\nSession: 1\nTransport: RTP/AVP;multicast;destination=239.0.0.5;source=10.0.0.9;port=8000-8001;ttl=16",
            "",
        )
        .drain();
    assert_eq!(
        all,
        [
            Did::Event(Event::SetUp {
                track: 0,
                path: Path::Multicast(group.clone()),
                ssrc: None
            }),
            Did::Event(Event::UdpNeeded {
                track: 0,
                multicast: Some(group)
            })
        ]
    );
    let wrong = bench.session.sockets(bench.now, 0, Sockets::Ports(1, 2));
    assert_eq!(wrong, Err(Error::NotAsked("sockets")));
    bench.session.sockets(bench.now, 0, Sockets::Joined).unwrap();
    assert_eq!(bench.request().method, "PLAY");
}

#[test]
fn channels_are_those_of_the_server() {
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench
        .described()
        .choose(&[(0, "trackID=0"), (1, "trackID=1")])
        .request();
    let path = |did: &[Did]| match did {
        [Did::Event(Event::SetUp { path, .. }), Did::Request(_)] => path.clone(),
        other => panic!("{other:#?}"),
    };
    // Luckfox: other order, no unicast. Here with other channels than asked for.
    let all = bench
        .answer(
            "200 OK\nSession: 1\nTransport: RTP/AVP/TCP;ssrc=22345684;interleaved=4-5",
            "",
        )
        .drain();
    assert_eq!(path(&all), Path::Interleaved { rtp: 4, rtcp: 5 });
    bench.bytes(b"$\x04\x00\x01a");
    let all = bench.answer("200 OK\nSession: 1", "").drain();
    assert_eq!(path(&all), Path::Interleaved { rtp: 2, rtcp: 3 });
    // Media overtake the answer to PLAY; a channel of no track; a packet before PLAY was sent was dropped above.
    bench.bytes(b"$\x04\x00\x01b$\x00\x00\x01c\r\n$\x03\x00\x01d");
    let channels: Vec<_> = bench
        .answer("200 OK", "")
        .drain()
        .into_iter()
        .map(|did| match did {
            Did::Event(Event::Data { channel, .. }) => u16::from(channel),
            Did::Event(Event::Playing { .. }) => 1000,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(channels, [4, 3, 1000]);
    assert_eq!(bench.session.dropped(), (2, 0));

    bench.session.send_data(3, b"report");
    bench.session.send_data(9, b"nobody's");
    let report = Message::Data {
        channel: 3,
        data: Bytes::from_static(b"report"),
    };
    assert_eq!(bench.drain(), [Did::Other(report)]);
}

#[test]
fn urls_follow_base_and_control() {
    let check = |head: &str, sdp_control: &str, control: &str, setup: &str, play: &str| {
        let mut bench = Bench::new(config("rtsp://cam:554/live?x=y"));
        bench.request();
        bench.answer("404 Not Found", "").request();
        let sdp = format!("v=0\r\n{sdp_control}m=video 0 RTP/AVP 96\r\na=control:{control}\r\n");
        bench.answer(head, &sdp).event();
        assert_eq!(bench.choose(&[(0, control)]).request().uri, setup);
        let all = bench.answer(SETUP_OK, "").drain();
        let Some(Did::Request(request)) = all.last() else {
            panic!("{all:#?}");
        };
        assert_eq!(request.uri, play);
    };
    check(
        "200 OK",
        "",
        "trackID=0",
        "rtsp://cam/live?x=y/trackID=0",
        "rtsp://cam/live?x=y",
    );
    check(
        "200 OK\nContent-Type: application/sdp\nContent-Base: 10.0.0.9:554/stream0/",
        "a=control:*\r\n",
        "track1",
        "rtsp://10.0.0.9:554/stream0/track1",
        "rtsp://10.0.0.9:554/stream0/",
    );
    check(
        DESCRIBE_OK,
        "a=control:rtsp://10.0.0.9/all\r\n",
        "rtsp://10.0.0.9/video",
        "rtsp://10.0.0.9/video",
        "rtsp://10.0.0.9/all",
    );
    check(
        "200 OK\nContent-Type: text/plain",
        "",
        "",
        "rtsp://cam/live?x=y",
        "rtsp://cam/live?x=y",
    );
}

#[test]
fn what_cannot_be_described_fails() {
    let check = |head: &str, body: &str, expected: &str| {
        let mut bench = Bench::new(config("rtsp://cam/a"));
        bench.request();
        bench.answer("200 OK", "").request();
        assert_eq!(failure(bench.answer(head, body).end()), expected);
    };
    check("404 Stream Not Found", "", "DESCRIBE:404 Stream Not Found");
    check(
        "200 OK\nContent-Type: text/html",
        "<html>",
        "DESCRIBE was answered with \"text/html\", not with a session description",
    );
    check(
        "200 OK",
        "",
        "DESCRIBE was answered with \"\", not with a session description",
    );

    let mut bench = Bench::new(Config {
        tracks: Tracks::Audio,
        ..config("rtsp://cam/a")
    });
    assert_eq!(
        failure(bench.described().choose(&[(0, "trackID=0")]).end()),
        "no track to set up"
    );
    let again = bench.session.choose(bench.now, &[]);
    assert_eq!(again, Err(Error::NotAsked("choose")));
}

#[test]
fn only_tracks_of_the_wanted_kind_are_set_up() {
    for (tracks, uri) in [
        (Tracks::Audio, "rtsp://10.0.0.9:554/live/trackID=1"),
        (Tracks::Video, "rtsp://10.0.0.9:554/live/trackID=0"),
    ] {
        let mut bench = Bench::new(Config {
            tracks,
            ..config("rtsp://cam/a")
        });
        bench.described().choose(&[(0, "trackID=0"), (1, "trackID=1")]);
        assert_eq!(bench.request().uri, uri);
        let all = bench.answer(SETUP_OK, "").drain();
        assert!(
            matches!(&all[..], [_, Did::Request(request)] if request.method == "PLAY"),
            "{all:#?}"
        );
    }
}

#[test]
fn redirections_end_the_session() {
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench.request();
    bench.answer("200 OK", "").request();
    let event = bench
        .answer("302 Moved Temporarily\nLocation: rtsp://other/b", "")
        .end();
    assert_eq!(event, Event::Redirected("rtsp://other/b".to_owned()));

    let mut bench = Bench::new(config("rtsp://cam/a"));
    let event = bench
        .playing()
        .bytes(b"REDIRECT rtsp://cam/a RTSP/1.0\r\nCSeq: 732\r\nLocation: rtsp://bigserver.com:8001\r\n\r\n")
        .end();
    assert_eq!(event, Event::Redirected("rtsp://bigserver.com:8001".to_owned()));
}

#[test]
fn requests_of_the_server_are_answered() {
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench.playing();
    for (method, status) in [
        ("OPTIONS", 200),
        ("SET_PARAMETER", 200),
        ("ANNOUNCE", 200),
        ("SETUP", 501),
    ] {
        let all = bench
            .bytes(format!("{method} * RTSP/1.0\r\nCSeq: 77\r\n\r\n").as_bytes())
            .drain();
        let [Did::Other(Message::Response(response))] = &all[..] else {
            panic!("{all:#?}");
        };
        assert_eq!(
            (response.status, response.headers.get("CSeq")),
            (status, Some("77"))
        );
    }
    let over =
        b"ANNOUNCE rtsp://cam/a RTSP/1.0\r\nCSeq: 78\r\nX-Notice: 2101 \"End-of-Stream Reached\"\r\n\r\n";
    assert_eq!(bench.bytes(over).end(), Event::Ended);

    let mut bench = Bench::new(config("rtsp://cam/a"));
    let end = bench
        .playing()
        .bytes(b"TEARDOWN rtsp://cam/a RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        .end();
    assert_eq!(end, Event::Ended);
}

#[test]
fn answers_with_a_wrong_number_are_taken_in_order() {
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench.request();
    assert_eq!(
        bench
            .bytes(b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n")
            .request()
            .method,
        "DESCRIBE"
    );
    let text = format!("RTSP/1.0 200 OK\r\nContent-length: {}\r\n\r\n{SDP}", SDP.len());
    assert!(matches!(
        bench.bytes(text.as_bytes()).event(),
        Event::Described { .. }
    ));
    // Nobody waits now.
    assert_eq!(
        bench.bytes(b"RTSP/1.0 404 Not Found\r\nCSeq: 2\r\n\r\n").drain(),
        []
    );
    // Continue is no answer.
    bench.choose(&[(0, "trackID=0")]).request();
    assert_eq!(bench.answer("100 Continue", "").drain(), []);
    assert_eq!(bench.answer(SETUP_OK, "").drain().len(), 2);
}

#[test]
fn a_lost_connection_is_an_end_or_a_failure() {
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench.described();
    bench.session.connection_closed(bench.now);
    assert_eq!(failure(bench.end()), "connection closed by the server");
    let mut bench = Bench::new(config("rtsp://cam/a"));
    bench.playing();
    bench.session.connection_closed(bench.now);
    assert_eq!(bench.end(), Event::Ended);
    bench.session.connection_closed(bench.now);
    bench.session.close(bench.now);
    assert_eq!(bench.bytes(b"RTSP/1.0 200 OK\r\n\r\n").drain(), []);
}

#[test]
fn publishing_over_tcp() {
    let mut bench = Bench::new(Config {
        headers: vec![("X-Key".to_owned(), "1\r\nX-Evil: 2".to_owned())],
        ..publishing("rtsp://h:8554/live/a?key=1")
    });
    assert_eq!(field(&bench.request(), "X-Key"), Some("1  X-Evil: 2"));
    let request = bench.answer("200 OK", "").request();
    assert_eq!(
        (request.method.as_str(), request.uri.as_str()),
        ("ANNOUNCE", "rtsp://h:8554/live/a?key=1")
    );
    assert_eq!(field(&request, "Content-Type"), Some("application/sdp"));
    assert_eq!(request.body, SDP);
    let request = bench.answer("200 OK", "").request();
    assert_eq!(request.uri, "rtsp://h:8554/live/a?key=1/trackID=0");
    assert_eq!(
        field(&request, "Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
    );
    bench.answer(SETUP_OK, "").drain();
    let all = bench
        .answer(
            "200 OK\nSession: 708345999\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3",
            "",
        )
        .drain();
    let [Did::Event(Event::SetUp { track: 1, .. }), Did::Request(request)] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        (request.method.as_str(), request.uri.as_str()),
        ("RECORD", "rtsp://h:8554/live/a?key=1")
    );
    assert_eq!(bench.answer("200 OK", "").event(), Event::Recording);
    assert_eq!(
        bench.due(),
        Some(5_000),
        "keep-alive only: no media are waited for"
    );
    bench.session.send_data(2, b"rtp");
    let packet = Message::Data {
        channel: 2,
        data: Bytes::from_static(b"rtp"),
    };
    assert_eq!(bench.drain(), [Did::Other(packet)]);
}

#[test]
fn publishing_to_a_name_in_use_fails_as_zlm_words_it() {
    let mut bench = Bench::new(publishing("rtsp://h/live/a"));
    bench.request();
    bench.answer("200 OK", "").request();
    let event = bench
        .answer(
            "406 Not Acceptable\nContent-Type: text/plain",
            "Already publishing.",
        )
        .end();
    assert_eq!(failure(event), "ANNOUNCE:406 Not Acceptable");
}

#[test]
fn publishing_over_udp_needs_to_know_where_to() {
    for (server, good) in [(";server_port=7000-7001", true), ("", false)] {
        let mut bench = Bench::new(Config {
            carrier: Carrier::Multicast,
            ..publishing("rtsp://h/live/a")
        });
        bench.request();
        bench.answer("200 OK", "").request();
        bench.answer("200 OK", "").event();
        bench
            .session
            .sockets(bench.now, 0, Sockets::Ports(6000, 6001))
            .unwrap();
        assert_eq!(
            field(&bench.request(), "Transport"),
            Some("RTP/AVP;unicast;client_port=6000-6001;mode=record")
        );
        bench.answer(
            &format!("200 OK\nSession: 1\nTransport: RTP/AVP;unicast{server}"),
            "",
        );
        match good {
            true => assert!(matches!(
                &bench.drain()[..],
                [
                    Did::Event(Event::SetUp { track: 0, .. }),
                    Did::Event(Event::UdpNeeded { track: 1, .. })
                ]
            )),
            false => assert!(failure(bench.end()).starts_with("SETUP was answered with the transport")),
        }
    }
}

/// Drives a session with whatever the server says, as a driver that agrees to everything.
fn drive(config: Config, bytes: &[u8], cut: usize) -> Vec<Event> {
    let now = Instant::now();
    let mut session = ClientSession::new(config, 1, now);
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for part in bytes.chunks(cut) {
        input.extend_from_slice(part);
        let result = session.handle_bytes(now, &mut input);
        while let Some(output) = session.poll_output() {
            let Output::Event(event) = output else {
                continue;
            };
            match &event {
                Event::Described { .. } => {
                    let choice = |index| TrackChoice {
                        index,
                        control: format!("trackID={index}"),
                    };
                    session.choose(now, &[choice(0), choice(1)]).unwrap();
                }
                Event::UdpNeeded { track, multicast } => {
                    let sockets = match multicast {
                        Some(_) => Sockets::Joined,
                        None => Sockets::Ports(6000, 6001),
                    };
                    session.sockets(now, *track, sockets).unwrap();
                }
                Event::CarrierRefused { .. } => session.fall_back(now).unwrap(),
                _ => {}
            }
            events.push(event);
        }
        if result.is_err() {
            return events;
        }
    }
    session.handle_timeout(now + Duration::from_secs(5));
    session.close(now);
    while session.poll_output().is_some() {}
    assert_eq!(session.poll_timeout(), None);
    events
}

fn script() -> Vec<u8> {
    let body = format!("Content-Length: {}\r\n\r\n{SDP}", SDP.len());
    let parts = [
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: 2\r\n",
        &body,
        "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: 4\r\nTransport: RTP/AVP/TCP;interleaved=2-3\r\n\r\n",
        "$\x02\0\x03abc",
        "RTSP/1.0 200 OK\r\nCSeq: 5\r\nRTP-Info: url=trackID=0;seq=5\r\n\r\n",
        "$\0\0\0$\x01\0\x01x",
        "TEARDOWN * RTSP/1.0\r\n\r\n",
    ];
    parts.concat().into_bytes()
}

proptest! {
    #[test]
    fn answers_mean_the_same_however_they_are_cut(cut in 1_usize..200) {
        let bytes = script();
        // The driver answers between parts; a whole script at once would be ahead of it.
        let expected = drive(config("rtsp://u:p@cam/a"), &bytes, 1);
        prop_assert_eq!(expected.last(), Some(&Event::Ended));
        prop_assert_eq!(expected.len(), 8);
        if cut < 20 {
            prop_assert_eq!(drive(config("rtsp://u:p@cam/a"), &bytes, cut), expected);
        } else {
            drive(config("rtsp://u:p@cam/a"), &bytes, cut);
        }
    }

    #[test]
    fn hostile_servers_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        lines in proptest::collection::vec(prop_oneof![
            Just("RTSP/1.0 200 OK\r\n\r\n".to_owned()),
            Just("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest nonce=1, stale=true\r\n\r\n".to_owned()),
            Just("RTSP/1.0 461 Unsupported\r\n\r\n".to_owned()),
            Just(format!("RTSP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len())),
            Just("RTSP/1.0 200 OK\r\nTransport: RTP/AVP;multicast;destination=239.1.1.1;port=1-2\r\n\r\n".to_owned()),
            Just("RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;interleaved=255-255\r\nSession: 1;timeout=1\r\n\r\n".to_owned()),
            "[ -~]{0,30}\r\n\r\n",
        ], 0..20),
        carrier in prop_oneof![Just(Carrier::Tcp), Just(Carrier::Udp), Just(Carrier::Multicast)],
        publish in any::<bool>(),
    ) {
        let mut changed = script();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        let base = match publish {
            true => publishing("rtsp://u:p@cam/a"),
            false => config("rtsp://u:p@cam/a"),
        };
        let config = Config { carrier, ..base };
        drive(config.clone(), &changed, 7);
        for line in &lines {
            drive(config.clone(), line.as_bytes(), 3);
        }
        drive(config, lines.concat().as_bytes(), 10);
    }
}
