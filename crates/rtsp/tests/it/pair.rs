//! Client and server against each other, over two pipes that cut the bytes anywhere, with one clock.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use tidegate_rtsp::auth::{Challenge, Scheme, Secret};
use tidegate_rtsp::client::{
    self, Carrier, ClientSession, KeepAliveBy, Login, Path, Role, RtpInfo, Sockets, TrackChoice,
};
use tidegate_rtsp::message::{Limits, Request as Message, interleave};
use tidegate_rtsp::server::{
    self, Allowed, Description, PlayAnswer, Refusal, Request, ServerSession, SetupAnswer, SetupRefused,
    TimeoutReason, TrackStart, Ways,
};

/// What the two are to do.
#[derive(Clone, Debug)]
struct Plan {
    path: &'static str,
    publish: bool,
    carrier: Carrier,
    tracks: usize,
    /// Digest is asked for.
    digest: bool,
    password: &'static str,
    allowed: Allowed,
    /// The server has no UDP for this track.
    no_udp: Option<usize>,
    refusal: Option<Refusal>,
    keep_alive: client::KeepAlive,
    /// Media flow, one packet a second.
    media: bool,
    /// Lengths of the pieces in which bytes arrive, over and over.
    cuts: Vec<usize>,
}

impl Plan {
    fn new(publish: bool, carrier: Carrier) -> Self {
        Self {
            path: "/live/a",
            publish,
            carrier,
            tracks: 2,
            digest: false,
            password: PASSWORD,
            allowed: Allowed::Any,
            no_udp: None,
            refusal: None,
            keep_alive: client::KeepAlive {
                interval: Duration::from_secs(5),
                by: KeepAliveBy::Both,
            },
            media: true,
            cuts: vec![usize::MAX],
        }
    }

    fn sdp(&self) -> String {
        let section = |track| format!("m=video 0 RTP/AVP 96\r\na=control:trackID={track}\r\n");
        let sections: String = (0..self.tracks).map(section).collect();
        format!("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=control:*\r\n{sections}")
    }
}

/// One direction of the connection.
#[derive(Default)]
struct Pipe {
    flight: BytesMut,
    arrived: BytesMut,
}

struct Pair {
    plan: Plan,
    start: Instant,
    now: Instant,
    client: ClientSession,
    server: ServerSession,
    up: Pipe,
    down: Pipe,
    cut: usize,
    next_media: u64,
    client_events: Vec<client::Event>,
    server_events: Vec<server::Event>,
    client_closed: bool,
    server_closed: bool,
}

impl Pair {
    fn new(plan: Plan) -> Self {
        let start = Instant::now();
        let role = match plan.publish {
            true => Role::Publish { sdp: plan.sdp() },
            false => Role::Play,
        };
        let url = tidegate_rtsp::url::parse(&format!("rtsp://h:8554{}", plan.path)).unwrap();
        let client = client::Config {
            carrier: plan.carrier,
            keep_alive: plan.keep_alive,
            login: plan.digest.then(|| Login::Password {
                user: "me".to_owned(),
                password: plan.password.to_owned(),
            }),
            ..client::Config::new(url, role)
        };
        let server = server::Config {
            server: "Tidegate".to_owned(),
            handshake: Duration::from_secs(15),
            keep_alive: Duration::from_secs(15),
            allowed: plan.allowed,
            limits: Limits::default(),
        };
        Self {
            client: ClientSession::new(client, 7, start),
            server: ServerSession::new(server, 9, start),
            plan,
            start,
            now: start,
            up: Pipe::default(),
            down: Pipe::default(),
            cut: 0,
            next_media: 0,
            client_events: Vec::new(),
            server_events: Vec::new(),
            client_closed: false,
            server_closed: false,
        }
    }

    /// Both talk until they have nothing to say.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            while let Some(output) = self.client.poll_output() {
                busy = true;
                match output {
                    client::Output::Send(bytes) => self.up.flight.extend_from_slice(&bytes),
                    client::Output::Event(event) => self.client_event(event),
                    client::Output::Close => self.client_closed = true,
                }
            }
            while let Some(output) = self.server.poll_output() {
                busy = true;
                match output {
                    server::Output::Send(bytes) => self.down.flight.extend_from_slice(&bytes),
                    server::Output::Event(event) => self.server_event(event),
                    server::Output::Close => self.server_closed = true,
                }
            }
            let cut = self.cut();
            busy |= arrive(&mut self.up, cut);
            self.server.handle_bytes(self.now, &mut self.up.arrived).unwrap();
            let cut = self.cut();
            busy |= arrive(&mut self.down, cut);
            self.client
                .handle_bytes(self.now, &mut self.down.arrived)
                .unwrap();
            if !busy {
                if self.server_closed {
                    self.client.connection_closed(self.now);
                    self.server_closed = false;
                    continue;
                }
                return;
            }
        }
    }

    fn cut(&mut self) -> usize {
        self.cut += 1;
        self.plan.cuts[self.cut % self.plan.cuts.len()]
    }

    /// Lets the clock run, in milliseconds from the start. Media flow once a second.
    fn run(&mut self, until: u64) -> &mut Self {
        self.settle();
        let until = self.start + Duration::from_millis(until);
        loop {
            let media = self.start + Duration::from_millis(self.next_media);
            let server = self.server.poll_timeout().map(|(at, _)| at);
            let next = [self.client.poll_timeout(), server, Some(media), Some(until)]
                .into_iter()
                .flatten()
                .min()
                .unwrap();
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            if media <= self.now {
                self.next_media += 1_000;
                if self.plan.media && self.flows() {
                    self.send_media();
                }
            }
            self.settle();
            if next >= until {
                return self;
            }
        }
    }

    /// Client and server both say so.
    fn flows(&self) -> bool {
        let client = self
            .client_events
            .iter()
            .any(|event| matches!(event, client::Event::Playing { .. } | client::Event::Recording));
        let server = self
            .server_events
            .iter()
            .any(|event| matches!(event, server::Event::Play | server::Event::Record));
        client && server && !self.client_closed
    }

    fn send_media(&mut self) {
        let tcp = self.ways().contains(&Ways::Tcp);
        match (self.plan.publish, tcp) {
            (false, true) => interleave(0, b"media", &mut self.down.flight),
            (true, true) => self.client.send_data(0, b"media"),
            (false, false) => self.client.media_arrived(self.now),
            (true, false) => self.server.heard(self.now),
        }
    }

    fn client_event(&mut self, event: client::Event) {
        let now = self.now;
        match &event {
            client::Event::Described { .. } => {
                let tracks: Vec<_> = (0..self.plan.tracks)
                    .map(|index| TrackChoice {
                        index,
                        control: format!("trackID={index}"),
                    })
                    .collect();
                self.client.choose(now, &tracks).unwrap();
            }
            client::Event::UdpNeeded { track, multicast } => {
                let rtp = 6000 + 2 * *track as u16;
                let sockets = match multicast {
                    Some(_) => Sockets::Joined,
                    None => Sockets::Ports(rtp, rtp + 1),
                };
                self.client.sockets(now, *track, sockets).unwrap();
            }
            client::Event::CarrierRefused { .. } => self.client.fall_back(now).unwrap(),
            _ => {}
        }
        self.client_events.push(event);
    }

    fn server_event(&mut self, event: server::Event) {
        let now = self.now;
        match &event {
            server::Event::Describe(request) => {
                let description = Description {
                    sdp: self.plan.sdp(),
                    controls: (0..self.plan.tracks)
                        .map(|track| format!("trackID={track}"))
                        .collect(),
                };
                let verdict = self.judge(request, "DESCRIBE").map(|()| description);
                self.server.describe(now, verdict);
            }
            server::Event::Announce(request, sdp) => {
                assert_eq!(*sdp, self.plan.sdp());
                let verdict = self.judge(request, "ANNOUNCE");
                self.server.announce(now, verdict);
            }
            server::Event::Setup(request) => {
                assert_eq!(request.record, self.plan.publish);
                let track = request.track as u16;
                let ssrc = (!self.plan.publish).then_some(u32::from(track) + 0xA0);
                let verdict = match request.way {
                    Ways::Tcp => Ok(SetupAnswer::Tcp { ssrc }),
                    Ways::Udp(..) if self.plan.no_udp == Some(request.track) => Err(SetupRefused::Transport),
                    Ways::Udp(rtp, rtcp) => {
                        assert_eq!((rtp, rtcp), (6000 + 2 * track, 6001 + 2 * track));
                        let ports = (7000 + 2 * track, 7001 + 2 * track);
                        Ok(SetupAnswer::Udp { ssrc, ports })
                    }
                    Ways::Multicast => Ok(SetupAnswer::Multicast {
                        ssrc,
                        group: [239, 1, 1, 1].into(),
                        ports: (8000 + 2 * track, 8001 + 2 * track),
                        ttl: 4,
                    }),
                };
                self.server.set_up(now, verdict);
            }
            server::Event::Play => {
                let tracks = (0..self.plan.tracks)
                    .map(|track| TrackStart {
                        track,
                        sequence: Some(100 + track as u16),
                        timestamp: 9000 + track as u32,
                    })
                    .collect();
                self.server.play(now, Ok(PlayAnswer { tracks }));
            }
            _ => {}
        }
        self.server_events.push(event);
    }

    fn judge(&self, request: &Request, method: &str) -> Result<(), Refusal> {
        assert_eq!((&*request.app, &*request.stream), ("live", "a"));
        if self.plan.digest {
            let challenge = Challenge {
                realm: "Tidegate".to_owned(),
                nonce: "abc".to_owned(),
                scheme: Scheme::Digest,
                sha256: true,
            };
            let secret = Secret::Plain(PASSWORD.to_owned());
            let knows = request
                .credentials
                .as_ref()
                .is_some_and(|credentials| challenge.verify(credentials, method, &secret));
            if !knows {
                return Err(Refusal::Unauthorized {
                    challenges: challenge.headers(false),
                    last: request.credentials.is_some(),
                });
            }
        }
        self.plan.refusal.clone().map_or(Ok(()), Err)
    }

    /// How the tracks travel that are set up, the last word of each.
    fn ways(&self) -> Vec<Ways> {
        let mut ways = vec![None; self.plan.tracks];
        for event in &self.server_events {
            if let server::Event::Setup(request) = event {
                ways[request.track] = Some(request.way);
            }
        }
        ways.into_iter().flatten().collect()
    }

    /// The packets that arrived.
    fn data(&self) -> usize {
        let data = Bytes::from_static(b"media");
        match self.plan.publish {
            true => count(
                &self.server_events,
                &server::Event::Data {
                    track: 0,
                    control: false,
                    data,
                },
            ),
            false => count(&self.client_events, &client::Event::Data { channel: 0, data }),
        }
    }

    fn failure(&self) -> String {
        assert!(self.client_closed);
        match self.client_events.last() {
            Some(client::Event::Failed(failure)) => failure.to_string(),
            other => panic!("a failure expected: {other:?}"),
        }
    }

    fn close(&mut self) {
        self.client.close(self.now);
        self.settle();
    }
}

fn arrive(pipe: &mut Pipe, most: usize) -> bool {
    let part = pipe.flight.split_to(most.min(pipe.flight.len()));
    pipe.arrived.extend_from_slice(&part);
    !part.is_empty()
}

fn count<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().filter(|other| *other == one).count()
}

const PASSWORD: &str = "p@ss\"word";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn both_agree_however_the_bytes_arrive(
        publish in any::<bool>(),
        carrier in prop_oneof![Just(Carrier::Tcp), Just(Carrier::Udp), Just(Carrier::Multicast)],
        tracks in 1_usize..4,
        digest in any::<bool>(),
        file in any::<bool>(),
        query in any::<bool>(),
        cuts in proptest::collection::vec(1_usize..120, 1..20),
    ) {
        let path = match (publish && file, query) {
            (false, false) => "/live/a",
            (false, true) => "/live/a?key=x/y",
            (true, false) => "/live/a.sdp",
            (true, true) => "/live/a.sdp?key=x/y",
        };
        let mut pair = Pair::new(Plan { path, tracks, digest, cuts, ..Plan::new(publish, carrier) });
        pair.run(10_500);
        prop_assert!(!pair.client_closed, "{:?}", pair.client_events);

        let udp = |track: u16| Ways::Udp(6000 + 2 * track, 6001 + 2 * track);
        let expected: Vec<_> = (0..tracks as u16).map(|track| match carrier {
            Carrier::Tcp => Ways::Tcp,
            Carrier::Multicast if !publish => Ways::Multicast,
            Carrier::Udp | Carrier::Multicast => udp(track),
        }).collect();
        prop_assert_eq!(pair.ways(), expected);
        let packets = if carrier == Carrier::Tcp { 11 } else { 0 };
        prop_assert_eq!(pair.data(), packets);
        let set_up = pair.client_events.iter().filter_map(|event| match event {
            client::Event::SetUp { track, path, ssrc } => Some((*track, path, *ssrc)),
            _ => None,
        });
        for (at, (track, path, ssrc)) in set_up.enumerate() {
            prop_assert_eq!(track, at);
            prop_assert_eq!(ssrc, (!publish).then_some(0xA0 + at as u32));
            let (first, own) = (2 * at as u8, 7000 + 2 * at as u16);
            match path {
                Path::Interleaved { rtp, rtcp } => prop_assert_eq!((*rtp, *rtcp), (first, first + 1)),
                Path::Unicast { server, .. } => prop_assert_eq!(*server, Some((own, own + 1))),
                Path::Multicast(group) => prop_assert_eq!(group.rtp, own + 1000),
            }
        }
        if !publish {
            let rtp_info = (0..tracks).map(|track| RtpInfo {
                track,
                seq: Some(100 + track as u16),
                rtptime: Some(9000 + track as u32),
            }).collect();
            let range = Some("npt=0.00-".to_owned());
            prop_assert_eq!(count(&pair.client_events, &client::Event::Playing { rtp_info, range }), 1);
        }

        pair.close();
        prop_assert_eq!(pair.server_events.last(), Some(&server::Event::Teardown));
        prop_assert_eq!(pair.up.arrived.len(), 0);
        prop_assert!(matches!(pair.server.poll_timeout(), Some((_, TimeoutReason::Handshake))));
    }
}

#[test]
fn a_client_falls_back_to_tcp() {
    for publish in [false, true] {
        for (allowed, no_udp) in [
            (Allowed::Tcp, None),
            (Allowed::Any, Some(0)),
            // One track had been given over UDP when the other was refused.
            (Allowed::Any, Some(1)),
        ] {
            let mut pair = Pair::new(Plan {
                allowed,
                no_udp,
                cuts: vec![7],
                ..Plan::new(publish, Carrier::Udp)
            });
            pair.run(3_500);
            assert!(!pair.client_closed, "{:?}", pair.client_events);
            assert_eq!(pair.ways(), [Ways::Tcp, Ways::Tcp], "{allowed:?} {no_udp:?}");
            assert_eq!(pair.data(), 4);
        }
    }
    // Nothing is left for a client over TCP where UDP is demanded.
    let mut pair = Pair::new(Plan {
        allowed: Allowed::Udp,
        ..Plan::new(false, Carrier::Tcp)
    });
    assert_eq!(pair.run(1_000).failure(), "SETUP:461 Unsupported transport");
}

#[test]
fn clients_are_told_why_they_are_refused() {
    let failure = |publish, refusal: Option<Refusal>, password| {
        let mut pair = Pair::new(Plan {
            refusal,
            password,
            digest: true,
            cuts: vec![5, 3],
            ..Plan::new(publish, Carrier::Tcp)
        });
        pair.run(1_000).failure()
    };
    assert_eq!(failure(false, None, "wrong"), "DESCRIBE:401 Unauthorized");
    assert_eq!(failure(true, None, "wrong"), "ANNOUNCE:401 Unauthorized");
    assert_eq!(
        failure(false, Some(Refusal::NotFound), PASSWORD),
        "DESCRIBE:404 Stream Not Found"
    );
    assert_eq!(
        failure(true, Some(Refusal::Taken), PASSWORD),
        "ANNOUNCE:406 Not Acceptable"
    );
    assert_eq!(
        failure(true, Some(Refusal::Unusable("no".to_owned())), PASSWORD),
        "ANNOUNCE:403 Forbidden"
    );
}

#[test]
fn keep_alives_are_in_time() {
    let ten_minutes = 600_500;
    for publish in [false, true] {
        for carrier in [Carrier::Tcp, Carrier::Udp] {
            // The server's time-out of 15 s counts for more than the wish of the client.
            for interval in [5, 3_600].map(Duration::from_secs) {
                let mut plan = Plan::new(publish, carrier);
                plan.keep_alive.interval = interval;
                // A publisher need not send media to stay.
                plan.media = !publish;
                let mut pair = Pair::new(plan);
                pair.run(ten_minutes);
                assert!(!pair.client_closed, "{:?}", pair.client_events.last());
                assert!(
                    !pair
                        .server_events
                        .iter()
                        .any(|event| matches!(event, server::Event::TimedOut(_) | server::Event::Teardown))
                );
            }
        }
    }
}

#[test]
fn who_keeps_silent_is_let_go_of() {
    let run = |publish, carrier, media| {
        let mut plan = Plan::new(publish, carrier);
        plan.keep_alive.by = KeepAliveBy::Rtcp;
        plan.media = media;
        let mut pair = Pair::new(plan);
        pair.run(14_900);
        let silence = server::Event::TimedOut(TimeoutReason::Silence);
        let early = count(&pair.server_events, &silence);
        pair.run(120_500);
        assert_eq!(early, 0);
        let silent = count(&pair.server_events, &silence) == 1;
        assert_eq!(count(&pair.client_events, &client::Event::Ended) == 1, silent);
        silent
    };
    assert!(run(false, Carrier::Udp, true), "a player without reports");
    assert!(run(true, Carrier::Udp, false), "a publisher without media");
    assert!(run(true, Carrier::Tcp, false), "a publisher without media");
    assert!(
        !run(false, Carrier::Tcp, true),
        "a player over TCP shows itself by reading"
    );
    assert!(!run(true, Carrier::Udp, true), "media are a sign of life");
    assert!(!run(true, Carrier::Tcp, true), "media are a sign of life");
}

#[test]
fn the_server_takes_the_answers_to_requests_of_ours() {
    // A client that is sent away: we send no REDIRECT, but a proxy between may.
    let mut pair = Pair::new(Plan::new(false, Carrier::Tcp));
    pair.run(1_500);
    Message::new("REDIRECT", "rtsp://h:8554/live/a")
        .with("CSeq", "1")
        .with("Location", "rtsp://other/live/a")
        .write(&mut pair.down.flight);
    pair.settle();
    let to = "rtsp://other/live/a".to_owned();
    assert_eq!(pair.client_events.last(), Some(&client::Event::Redirected(to)));
    assert_eq!(pair.server_events.last(), Some(&server::Event::Teardown));
}
