//! The state of one connection: requests in, answers and events out.
//!
//! One stream at a time: after `TEARDOWN` a connection may begin again with another. Requests that come while one is being
//! decided wait in the caller's buffer, so pipelined requests are answered in their order.

use super::request::{Allowed, Refusal, Request};
use crate::message::{self, Headers, Limits, Message, Parser, Response};
use crate::transport::{self, Lower, Transport};
use crate::tunnel;
use crate::url;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How a connection is served.
#[derive(Clone, Debug)]
pub struct Config {
    /// The `Server` header.
    pub server: String,
    /// How long a client may take from one request to the next until media flows (`rtsp.handshakeSecond`).
    pub handshake: Duration,
    /// How long a publisher, or a player that is not served over TCP, may stay silent (`rtsp.keepAliveSecond`).
    pub keep_alive: Duration,
    /// Transports for players and publishers.
    pub allowed: Allowed,
    /// Bounds of messages.
    pub limits: Limits,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes for the peer.
    Send(Bytes),
    /// Something happened.
    Event(Event),
    /// All is said: close the connection.
    Close,
}

/// What the driver has to know or to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `DESCRIBE`: to be decided with [`ServerSession::describe`].
    Describe(Request),
    /// `ANNOUNCE` with this description: to be decided with [`ServerSession::announce`].
    Announce(Request, Bytes),
    /// `SETUP` of a track: to be decided with [`ServerSession::set_up`].
    Setup(SetupRequest),
    /// `PLAY`: to be decided with [`ServerSession::play`].
    Play,
    /// `PAUSE`: no media until the next `PLAY`.
    Pause,
    /// `RECORD`: media will come.
    Record,
    /// Interleaved data.
    Data {
        /// The track.
        track: usize,
        /// RTCP instead of RTP.
        control: bool,
        /// A packet.
        data: Bytes,
    },
    /// `TEARDOWN`: the stream is let go of. The connection may begin again.
    Teardown,
    /// The connection is the half of a tunnel; it is not RTSP (yet). Nothing more comes out of this session.
    Tunnel(tunnel::Half),
    /// A deadline was missed; the connection closes.
    TimedOut(TimeoutReason),
}

/// One track of a `SETUP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupRequest {
    /// Its number in the description.
    pub track: usize,
    /// The transport, allowed and possible.
    pub way: Ways,
    /// The client will send.
    pub record: bool,
}

/// How the media of a track travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Interleaved, on channels `2 * track` and the one after.
    Tcp,
    /// UDP: the client's ports for RTP and RTCP.
    Udp(u16, u16),
    /// UDP to a group.
    Multicast,
}

/// What the answer to a `SETUP` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupAnswer {
    /// Interleaved.
    Tcp {
        /// Source of our packets.
        ssrc: Option<u32>,
    },
    /// UDP.
    Udp {
        /// Source of our packets.
        ssrc: Option<u32>,
        /// Our ports for RTP and RTCP.
        ports: (u16, u16),
    },
    /// A group.
    Multicast {
        /// Source of our packets.
        ssrc: Option<u32>,
        /// Its address.
        group: IpAddr,
        /// Its ports for RTP and RTCP.
        ports: (u16, u16),
        /// Hops.
        ttl: u8,
    },
}

/// Why a track is not set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupRefused {
    /// `461`: this transport is not there for this stream.
    Transport,
    /// `503`: no ports are left.
    NoPorts,
}

/// What a player is told before it asks for tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The description.
    pub sdp: String,
    /// The `control` of each media section.
    pub controls: Vec<String>,
}

/// What the answer to `PLAY` says about the first packet of each track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayAnswer {
    /// Empty if nothing was sent yet.
    pub tracks: Vec<TrackStart>,
}

/// Where a track starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackStart {
    /// Its number in the description.
    pub track: usize,
    /// Sequence number of its first packet, if it is known.
    pub sequence: Option<u16>,
    /// Its RTP time at the beginning of the range; the same moment for all tracks.
    pub timestamp: u32,
}

/// Which deadline was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReason {
    /// The client did not get as far as playing or publishing.
    Handshake,
    /// Nothing came from a client that has to speak.
    Silence,
}

/// What the connection is about.
#[derive(Debug)]
enum Stage {
    /// Nothing yet, or not any more.
    Idle,
    /// Granted to a player or a publisher.
    Granted(Granted),
}

#[derive(Debug)]
struct Granted {
    /// The request's URL, which the tracks' URLs begin with.
    base: String,
    controls: Vec<String>,
    /// How each track travels, once it is set up.
    ways: Vec<Option<Ways>>,
    publishes: bool,
    flow: Flow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Before `PLAY` or `RECORD`.
    Stopped,
    Running,
    Paused,
}

/// A request that waits for the driver.
#[derive(Debug)]
struct Awaited {
    cseq: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Describe(String),
    Announce(String, Vec<String>),
    Setup(usize, Ways),
    Play,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct ServerSession {
    config: Config,
    parser: Parser,
    id: String,
    stage: Stage,
    awaited: Option<Awaited>,
    outputs: VecDeque<Output>,
    /// The last sign of life.
    heard: Instant,
    over: bool,
}

impl ServerSession {
    /// A connection that has just been accepted. `seed` makes its session id, which is a secret of its client.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        Self {
            parser: Parser::new(config.limits),
            config,
            id: format!("{seed:016X}"),
            stage: Stage::Idle,
            awaited: None,
            outputs: VecDeque::new(),
            heard: now,
            over: false,
        }
    }

    /// Takes what it can use from the front of `input`; the rest stays there. While a request is being decided that is nothing.
    ///
    /// # Errors
    ///
    /// The peer does not speak RTSP, or a message is longer than allowed. The connection is to be closed.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), message::Error> {
        while self.awaited.is_none() && !self.over {
            let Some(message) = self.parser.next(input)? else {
                break;
            };
            self.heard = self.heard.max(now);
            match message {
                Message::Request(request) => self.request(request),
                Message::Data { channel, data } => self.data(channel, data),
                // Answers to our own requests; we make none that wait for one.
                Message::Response(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a request is being decided, so that no more bytes are taken.
    pub fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Says that the peer was heard elsewhere: over UDP.
    pub fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// What to do next; `None` means drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        if self.awaited.is_some() || self.over {
            return None;
        }
        let handshake = || Some((self.heard + self.config.handshake, TimeoutReason::Handshake));
        let Stage::Granted(granted) = &self.stage else {
            return handshake();
        };
        match granted.flow {
            Flow::Stopped => handshake(),
            // Who reads over TCP shows it by reading; who does not is found by the writes.
            Flow::Running if !granted.publishes && granted.over_tcp() => None,
            Flow::Running | Flow::Paused => {
                Some((self.heard + self.config.keep_alive, TimeoutReason::Silence))
            }
        }
    }

    /// A deadline is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((at, reason)) = self.poll_timeout() else {
            return;
        };
        if now >= at {
            self.outputs.push_back(Output::Event(Event::TimedOut(reason)));
            self.close();
        }
    }

    /// Ends the connection: the stream ended, or the server wants it so.
    pub fn close(&mut self) {
        if !self.over {
            self.over = true;
            self.outputs.push_back(Output::Close);
        }
    }

    /// Decides [`Event::Describe`].
    pub fn describe(&mut self, now: Instant, verdict: Result<Description, Refusal>) {
        let Some((cseq, What::Describe(base))) = self.decided(now) else {
            return;
        };
        let description = match verdict {
            Ok(description) => description,
            Err(refusal) => return self.refuse(cseq, refusal),
        };
        let response = Response::new(200, "OK")
            .with("Content-Base", format!("{base}/"))
            .with("Session", self.session())
            .with("x-Accept-Dynamic-Rate", "1")
            .with("x-Accept-Retransmit", "our-retransmit")
            .with_body("application/sdp", description.sdp);
        self.grant(base, description.controls, false);
        self.answer(cseq, response);
    }

    /// Decides [`Event::Announce`].
    pub fn announce(&mut self, now: Instant, verdict: Result<(), Refusal>) {
        let Some((cseq, What::Announce(base, controls))) = self.decided(now) else {
            return;
        };
        match verdict {
            Ok(()) => {
                self.grant(base, controls, true);
                let response = Response::new(200, "OK").with("Session", self.session());
                self.answer(cseq, response);
            }
            Err(refusal) => self.refuse(cseq, refusal),
        }
    }

    /// Decides [`Event::Setup`].
    pub fn set_up(&mut self, now: Instant, verdict: Result<SetupAnswer, SetupRefused>) {
        let Some((cseq, What::Setup(track, way))) = self.decided(now) else {
            return;
        };
        let answer = match verdict {
            Ok(answer) => answer,
            Err(SetupRefused::Transport) => return self.unsupported_transport(cseq),
            Err(SetupRefused::NoPorts) => {
                return self.answer(cseq, Response::new(503, "Service Unavailable"));
            }
        };
        let Stage::Granted(granted) = &mut self.stage else {
            return;
        };
        granted.ways[track] = Some(way);
        let record = granted.publishes;
        let (mut transport, ssrc) = match answer {
            SetupAnswer::Tcp { ssrc } => {
                let channel = channel(track);
                (
                    format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel + 1),
                    ssrc,
                )
            }
            SetupAnswer::Udp {
                ssrc,
                ports: (rtp, rtcp),
            } => {
                let client = match way {
                    Ways::Udp(rtp, rtcp) => format!(";client_port={rtp}-{rtcp}"),
                    Ways::Tcp | Ways::Multicast => String::new(),
                };
                (
                    format!("RTP/AVP/UDP;unicast{client};server_port={rtp}-{rtcp}"),
                    ssrc,
                )
            }
            SetupAnswer::Multicast {
                ssrc,
                group,
                ports: (rtp, rtcp),
                ttl,
            } => (
                format!("RTP/AVP;multicast;destination={group};port={rtp}-{rtcp};ttl={ttl}"),
                ssrc,
            ),
        };
        if let Some(ssrc) = ssrc {
            transport.push_str(&format!(";ssrc={ssrc:08X}"));
        }
        if record {
            transport.push_str(";mode=record");
        }
        let response = Response::new(200, "OK")
            .with("Transport", transport)
            .with("x-Transport-Options", "late-tolerance=1.400000")
            .with("x-Dynamic-Rate", "1")
            .with("Session", self.session());
        self.answer(cseq, response);
    }

    /// Decides [`Event::Play`]: media may follow from now on.
    pub fn play(&mut self, now: Instant, verdict: Result<PlayAnswer, Refusal>) {
        let Some((cseq, What::Play)) = self.decided(now) else {
            return;
        };
        let answer = match verdict {
            Ok(answer) => answer,
            Err(refusal) => return self.refuse(cseq, refusal),
        };
        let Stage::Granted(granted) = &mut self.stage else {
            return;
        };
        granted.flow = Flow::Running;
        let mut response = Response::new(200, "OK")
            .with("Range", "npt=0.00-")
            .with("Session", session(&self.id, self.config.keep_alive));
        let starts: Vec<String> = answer
            .tracks
            .iter()
            .filter_map(|start| {
                let control = granted.controls.get(start.track)?;
                let url = url::join(&format!("{}/", granted.base), control);
                let sequence = start
                    .sequence
                    .map_or_else(String::new, |sequence| format!(";seq={sequence}"));
                Some(format!("url={url}{sequence};rtptime={}", start.timestamp))
            })
            .collect();
        if !starts.is_empty() {
            response = response.with("RTP-Info", starts.join(","));
        }
        self.answer(cseq, response);
    }

    /// What waited, if the decision still has a place.
    fn decided(&mut self, now: Instant) -> Option<(Option<String>, What)> {
        self.heard = self.heard.max(now);
        let awaited = self.awaited.take()?;
        Some((awaited.cseq, awaited.what))
    }

    fn request(&mut self, request: message::Request) {
        let cseq = request.headers.get("CSeq").map(str::to_owned);
        if request.version.starts_with("HTTP/") {
            match tunnel::half(&request) {
                Some(half) => {
                    self.over = true;
                    self.outputs.push_back(Output::Event(Event::Tunnel(half)));
                }
                None => self.answer_last(cseq, Response::new(400, "Bad Request")),
            }
            return;
        }
        if let Some(session) = request.headers.get("Session") {
            let id = session.split(';').next().unwrap_or_default().trim();
            if !id.is_empty() && id != self.id {
                return self.answer(cseq, Response::new(454, "Session Not Found"));
            }
        }
        match request.method.as_str() {
            "OPTIONS" => {
                let response = Response::new(200, "OK").with("Public", METHODS);
                self.answer(cseq, response);
            }
            "DESCRIBE" => self.describe_requested(cseq, &request),
            "ANNOUNCE" => self.announce_requested(cseq, request),
            "SETUP" => self.setup_requested(cseq, &request),
            "PLAY" => self.play_requested(cseq),
            "PAUSE" => self.pause_requested(cseq),
            "RECORD" => self.record_requested(cseq),
            "TEARDOWN" => self.teardown_requested(cseq),
            "GET_PARAMETER" | "SET_PARAMETER" => {
                let response = Response::new(200, "OK").with("Session", self.session());
                self.answer(cseq, response);
            }
            // What ZLM answers to methods it does not know (urls.md, section 4).
            _ => self.answer_last(cseq, Response::new(403, "Forbidden")),
        }
    }

    fn describe_requested(&mut self, cseq: Option<String>, request: &message::Request) {
        if let Stage::Granted(granted) = &self.stage
            && (granted.publishes || granted.flow != Flow::Stopped)
        {
            return self.wrong_state(cseq);
        }
        let asked = Request::of(&request.uri, &request.headers, false);
        self.awaited = Some(Awaited {
            cseq,
            what: What::Describe(asked.url.clone()),
        });
        self.outputs.push_back(Output::Event(Event::Describe(asked)));
    }

    fn announce_requested(&mut self, cseq: Option<String>, request: message::Request) {
        if matches!(self.stage, Stage::Granted(_)) {
            return self.wrong_state(cseq);
        }
        let asked = Request::of(&request.uri, &request.headers, true);
        if asked.app.is_empty() || asked.stream.is_empty() {
            let text = "the path of a stream to publish is /app/stream";
            return self.refuse(cseq, Refusal::Unusable(text.to_owned()));
        }
        let controls = match rtp::sdp::Session::parse(&request.body) {
            Ok(session) => session
                .media
                .iter()
                .map(|media| media.control().unwrap_or_default().to_owned())
                .collect(),
            // The driver looks at the name first, and will find no track.
            Err(_) => Vec::new(),
        };
        self.awaited = Some(Awaited {
            cseq,
            what: What::Announce(asked.url.clone(), controls),
        });
        self.outputs
            .push_back(Output::Event(Event::Announce(asked, request.body)));
    }

    fn setup_requested(&mut self, cseq: Option<String>, request: &message::Request) {
        let Stage::Granted(granted) = &self.stage else {
            return self.answer(cseq, Response::new(454, "Session Not Found"));
        };
        if granted.flow == Flow::Running {
            return self.wrong_state(cseq);
        }
        let Some(track) = granted.track_of(&request.uri) else {
            return self.answer(cseq, Response::new(404, "Track Not Found"));
        };
        let offers = request
            .headers
            .get("Transport")
            .map(transport::parse)
            .unwrap_or_default();
        let allowed = self.config.allowed;
        let publishes = granted.publishes;
        // All tracks of a session travel alike, except that each has its own ports.
        let settled = granted.ways.iter().flatten().next().copied();
        let way = offers.iter().find_map(|offer| {
            way_of(offer, allowed, publishes).filter(|way| settled.is_none_or(|settled| alike(settled, *way)))
        });
        let Some(way) = way else {
            return self.unsupported_transport(cseq);
        };
        self.awaited = Some(Awaited {
            cseq,
            what: What::Setup(track, way),
        });
        self.outputs.push_back(Output::Event(Event::Setup(SetupRequest {
            track,
            way,
            record: publishes,
        })));
    }

    fn play_requested(&mut self, cseq: Option<String>) {
        match &mut self.stage {
            Stage::Granted(granted) if !granted.publishes && granted.is_set_up() => {
                // Sent as a sign of life by some clients: nothing changes.
                if granted.flow == Flow::Running {
                    let response = Response::new(200, "OK")
                        .with("Range", "npt=0.00-")
                        .with("Session", session(&self.id, self.config.keep_alive));
                    return self.answer(cseq, response);
                }
                self.awaited = Some(Awaited {
                    cseq,
                    what: What::Play,
                });
                self.outputs.push_back(Output::Event(Event::Play));
            }
            Stage::Granted(_) => self.wrong_state(cseq),
            Stage::Idle => self.answer(cseq, Response::new(454, "Session Not Found")),
        }
    }

    fn pause_requested(&mut self, cseq: Option<String>) {
        match &mut self.stage {
            Stage::Granted(granted) if !granted.publishes && granted.flow != Flow::Stopped => {
                granted.flow = Flow::Paused;
                let response = Response::new(200, "OK").with("Session", self.session());
                self.outputs.push_back(Output::Event(Event::Pause));
                self.answer(cseq, response);
            }
            Stage::Granted(_) => self.wrong_state(cseq),
            Stage::Idle => self.answer(cseq, Response::new(454, "Session Not Found")),
        }
    }

    fn record_requested(&mut self, cseq: Option<String>) {
        match &mut self.stage {
            Stage::Granted(granted) if granted.publishes && granted.is_set_up() => {
                granted.flow = Flow::Running;
                let response = Response::new(200, "OK").with("Session", self.session());
                self.answer(cseq, response);
                self.outputs.push_back(Output::Event(Event::Record));
            }
            Stage::Granted(_) => self.wrong_state(cseq),
            Stage::Idle => self.answer(cseq, Response::new(454, "Session Not Found")),
        }
    }

    fn teardown_requested(&mut self, cseq: Option<String>) {
        let response = Response::new(200, "OK").with("Session", self.session());
        if matches!(self.stage, Stage::Idle) {
            return self.answer(cseq, Response::new(454, "Session Not Found"));
        }
        self.stage = Stage::Idle;
        self.outputs.push_back(Output::Event(Event::Teardown));
        self.answer(cseq, response);
    }

    fn data(&mut self, channel: u8, data: Bytes) {
        let track = usize::from(channel / 2);
        let Stage::Granted(granted) = &self.stage else {
            return;
        };
        if granted.ways.get(track).copied().flatten() == Some(Ways::Tcp) {
            let control = channel % 2 == 1;
            self.outputs
                .push_back(Output::Event(Event::Data { track, control, data }));
        }
    }

    fn grant(&mut self, base: String, controls: Vec<String>, publishes: bool) {
        self.stage = Stage::Granted(Granted {
            base,
            ways: vec![None; controls.len()],
            controls,
            publishes,
            flow: Flow::Stopped,
        });
    }

    fn refuse(&mut self, cseq: Option<String>, refusal: Refusal) {
        let (response, last) = refusal.response();
        if last {
            self.answer_last(cseq, response);
        } else {
            self.answer(cseq, response);
        }
    }

    fn unsupported_transport(&mut self, cseq: Option<String>) {
        self.answer(cseq, Response::new(461, "Unsupported transport"));
    }

    fn wrong_state(&mut self, cseq: Option<String>) {
        self.answer(cseq, Response::new(455, "Method Not Valid In This State"));
    }

    fn answer_last(&mut self, cseq: Option<String>, response: Response) {
        self.answer(cseq, response);
        self.close();
    }

    fn answer(&mut self, cseq: Option<String>, response: Response) {
        let mut headers = Headers::new();
        if let Some(cseq) = cseq {
            headers.push("CSeq", cseq);
        }
        headers.push("Server", self.config.server.as_str());
        for (name, value) in response.headers.iter() {
            headers.push(name, value);
        }
        let mut out = BytesMut::with_capacity(512 + response.body.len());
        Response { headers, ..response }.write(&mut out);
        self.outputs.push_back(Output::Send(out.freeze()));
    }

    fn session(&self) -> String {
        session(&self.id, self.config.keep_alive)
    }
}

impl Granted {
    /// The track that a SETUP's URL names.
    fn track_of(&self, uri: &str) -> Option<usize> {
        let asked = url::track(&self.base, uri)?;
        // A publisher's control may be an absolute URL, or a path.
        let means = |control: &String| {
            !control.is_empty() && (control == asked || url::track(&self.base, control) == Some(asked))
        };
        if let Some(track) = self.controls.iter().position(means) {
            return Some(track);
        }
        // A single track may be set up by the stream's own URL (RFC 2326, appendix C.3).
        (self.controls.len() == 1 && asked.is_empty()).then_some(0)
    }

    fn is_set_up(&self) -> bool {
        self.ways.iter().any(Option::is_some)
    }

    fn over_tcp(&self) -> bool {
        self.ways.iter().flatten().all(|way| *way == Ways::Tcp)
    }
}

/// The methods of [`ServerSession`], in the order of ZLM's answer (urls.md, section 4).
const METHODS: &str =
    "OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE, ANNOUNCE, RECORD, SET_PARAMETER, GET_PARAMETER";

/// The `Session` header. The time-out makes clients speak often enough (RFC 2326, section 12.37: the default is 60 s, which is
/// longer than ours).
fn session(id: &str, keep_alive: Duration) -> String {
    format!("{id};timeout={}", keep_alive.as_secs().max(1))
}

/// The interleaved channel of a track's RTP. The client's wish is not heard, as in ZLM (urls.md, section 4): so the bytes are
/// the same for all players. Descriptions have few tracks, so this stays below 256.
fn channel(track: usize) -> u8 {
    u8::try_from(track * 2).unwrap_or(u8::MAX - 1)
}

fn way_of(offer: &Transport, allowed: Allowed, publishes: bool) -> Option<Ways> {
    let way = match offer.lower {
        Lower::Tcp => Ways::Tcp,
        Lower::Udp if offer.multicast => Ways::Multicast,
        Lower::Udp => {
            let (rtp, rtcp) = offer.client_port?;
            Ways::Udp(rtp, rtcp)
        }
    };
    let fits = match (way, allowed) {
        (Ways::Multicast, _) if publishes => false,
        (_, Allowed::Any)
        | (Ways::Tcp, Allowed::Tcp)
        | (Ways::Udp(..), Allowed::Udp)
        | (Ways::Multicast, Allowed::Multicast) => true,
        (Ways::Tcp | Ways::Udp(..) | Ways::Multicast, Allowed::Tcp | Allowed::Udp | Allowed::Multicast) => {
            false
        }
    };
    fits.then_some(way)
}

fn alike(one: Ways, other: Ways) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}
