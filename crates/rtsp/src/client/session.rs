//! The state of one connection to a server.

use crate::auth::{Authenticator, Password};
use crate::message::{self, Limits, Message, Parser, Request, Response};
use crate::transport::{self, Lower};
use crate::url::{self, Url};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What the client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// To receive.
    Play,
    /// To send what this description says. The `control` of its media sections is relative.
    Publish {
        /// The description.
        sdp: String,
    },
}

/// How media is to travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Interleaved.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// UDP to a group; for playing.
    Multicast,
}

/// A session to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to. Credentials in it are used.
    pub url: Url,
    /// What for.
    pub role: Role,
    /// How.
    pub transport: Transport,
    /// Until media flows.
    pub timeout: Duration,
    /// Without media; playing only.
    pub media_timeout: Duration,
    /// Pause between signs of life; never longer than two thirds of the server's time-out.
    pub keep_alive: Duration,
    /// Signs of life by requests. Without them receiver reports have to do.
    pub keep_alive_requests: bool,
    /// Name and password, before those of the URL.
    pub credentials: Option<(String, Password)>,
    /// `User-Agent`.
    pub user_agent: String,
    /// Further headers of each request.
    pub headers: Vec<(String, String)>,
    /// Bounds of messages.
    pub limits: Limits,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes for the server.
    Send(Bytes),
    /// Something happened.
    Event(Event),
    /// All is said: close the connection.
    Close,
}

/// What the driver has to know or to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The description is there: to be answered with [`ClientSession::choose`].
    Described(Bytes),
    /// A track is to be set up over UDP: to be answered with [`ClientSession::ports`].
    PortsNeeded {
        /// Number of the track among those chosen.
        track: usize,
    },
    /// A track is set up.
    SetUp(SetUp),
    /// The server does not send over UDP; the driver may begin again with TCP.
    TransportRefused,
    /// Media comes.
    Playing(Vec<Start>),
    /// Media may be sent.
    Recording,
    /// Interleaved data.
    Data {
        /// Number of the track among those chosen.
        track: usize,
        /// RTCP.
        control: bool,
        /// A packet.
        data: Bytes,
    },
    /// The stream is elsewhere.
    Redirected(String),
    /// It did not work, or works no more. [`Output::Close`] follows.
    Failed(Failure),
    /// The server ended the stream. [`Output::Close`] follows.
    Ended,
}

/// A track that is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// Number of the track among those chosen.
    pub track: usize,
    /// Channel of its RTP, that of RTCP is the next; `None` over UDP.
    pub channel: Option<u8>,
    /// The server's ports for RTP and RTCP.
    pub server_ports: Option<(u16, u16)>,
    /// Where packets come from, if not from the server's own address.
    pub source: Option<IpAddr>,
    /// The group and its ports, over multicast.
    pub group: Option<(IpAddr, (u16, u16))>,
}

/// Where a track starts (`RTP-Info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Number of the track among those chosen.
    pub track: usize,
    /// RTP time of the beginning.
    pub timestamp: u32,
}

/// A media section that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackChoice {
    /// Its `control`; empty if it has none.
    pub control: String,
}

/// Our own ports for RTP and RTCP.
pub type UdpPorts = (u16, u16);

/// Why it did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server refused a request.
    Status {
        /// The method.
        method: &'static str,
        /// Status code.
        status: u16,
        /// Reason phrase.
        reason: String,
    },
    /// It did not answer, or sent no media, in time.
    Timeout {
        /// Playing, or publishing.
        playing: bool,
    },
    /// It sent no media for this long.
    NoMedia(Duration),
    /// An answer that makes no sense.
    Protocol(String),
}

/// The texts that clients of ZLM's API know (api.md, sections 3.4 and 3.5).
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status {
                method,
                status,
                reason,
            } => write!(f, "{method}:{status} {reason}"),
            Self::Timeout { playing: true } => f.write_str("play rtsp timeout"),
            Self::Timeout { playing: false } => f.write_str("publish rtsp timeout"),
            Self::NoMedia(time) => write!(f, "no media for {} ms", time.as_millis()),
            Self::Protocol(what) => f.write_str(what),
        }
    }
}

/// What is done, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Options,
    Describe,
    Announce,
    /// The driver chooses tracks.
    Choosing,
    /// The driver opens sockets for this track.
    Opening(usize),
    Setup(usize),
    Play,
    Record,
    Flowing,
    /// A goodbye was said.
    Closing,
    Over,
}

/// One request under way.
#[derive(Debug)]
struct Sent {
    method: &'static str,
    request: Request,
}

/// The client's end of one connection.
#[derive(Debug)]
pub struct ClientSession {
    config: Config,
    parser: Parser,
    outputs: VecDeque<Output>,
    step: Step,
    sent: Option<Sent>,
    cseq: u32,
    authenticator: Option<Authenticator>,
    /// Ours, without credentials.
    url: String,
    /// What tracks' URLs begin with.
    base: String,
    session: Option<String>,
    session_timeout: Duration,
    knows_get_parameter: bool,
    /// The control of the whole session, if it has one.
    aggregate: Option<String>,
    tracks: Vec<Track>,
    deadline: Instant,
    next_sign: Option<Instant>,
    /// The last media.
    heard: Instant,
}

#[derive(Debug)]
struct Track {
    url: String,
    channel: u8,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

impl ClientSession {
    /// A session over a connection that has just been opened. `seed` makes the nonces of authentication.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let credentials = config.credentials.clone().or_else(|| {
            let (user, password) = config.url.credentials.clone()?;
            Some((user, Password::Plain(password)))
        });
        let url = config.url.without_credentials();
        let mut session = Self {
            parser: Parser::new(config.limits),
            outputs: VecDeque::new(),
            step: Step::Options,
            sent: None,
            cseq: 0,
            authenticator: credentials.map(|(user, password)| Authenticator::new(user, password, seed)),
            base: url.clone(),
            url,
            session: None,
            session_timeout: DEFAULT_SESSION_TIMEOUT,
            knows_get_parameter: false,
            aggregate: None,
            tracks: Vec::new(),
            deadline: now + config.timeout,
            next_sign: None,
            heard: now,
            config,
        };
        let url = session.url.clone();
        session.ask("OPTIONS", Request::new("OPTIONS", &url));
        session
    }

    /// Takes what it can use from the front of `input`; the rest stays there.
    ///
    /// # Errors
    ///
    /// The server does not speak RTSP. The connection is to be closed.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), message::Error> {
        while self.step != Step::Over {
            let Some(message) = self.parser.next(input)? else {
                break;
            };
            match message {
                Message::Data { channel, data } => self.data(now, channel, data),
                Message::Response(response) => self.response(now, response),
                Message::Request(request) => self.request(&request),
            }
        }
        Ok(())
    }

    /// What to do next; `None` means drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Over => None,
            Step::Flowing => [self.next_sign, self.media_deadline()]
                .into_iter()
                .flatten()
                .min(),
            _ => Some(self.deadline),
        }
    }

    /// A deadline is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.step {
            Step::Over => {}
            Step::Closing if now >= self.deadline => self.over(),
            Step::Flowing => {
                if self.media_deadline().is_some_and(|deadline| now >= deadline) {
                    return self.fail(Failure::NoMedia(self.config.media_timeout));
                }
                if self.next_sign.is_some_and(|at| now >= at) {
                    self.sign_of_life(now);
                }
            }
            _ if now >= self.deadline => {
                let playing = self.config.role == Role::Play;
                self.fail(Failure::Timeout { playing });
            }
            _ => {}
        }
    }

    /// Says that media came over UDP.
    pub fn media_arrived(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Answers [`Event::Described`]: the media sections to set up, in the order in which they will be named. `aggregate`: the
    /// `control` of the session.
    pub fn choose(&mut self, tracks: Vec<TrackChoice>, aggregate: Option<String>) {
        if self.step != Step::Choosing {
            return;
        }
        if tracks.is_empty() {
            return self.fail(Failure::Protocol(
                "the description has no track that can be used".to_owned(),
            ));
        }
        self.aggregate = aggregate;
        self.name_tracks(tracks.into_iter().map(|track| track.control));
        self.set_up(0);
    }

    /// Answers [`Event::PortsNeeded`].
    pub fn ports(&mut self, ports: UdpPorts) {
        if let Step::Opening(track) = self.step {
            self.ask_setup(track, Some(ports));
        }
    }

    /// Says goodbye. [`Output::Close`] follows when the server has answered, or soon.
    pub fn close(&mut self, now: Instant) {
        if matches!(self.step, Step::Over | Step::Closing) {
            return;
        }
        if self.session.is_none() {
            return self.over();
        }
        self.step = Step::Closing;
        self.deadline = now + GOODBYE;
        let url = self.aggregate_url();
        self.ask("TEARDOWN", Request::new("TEARDOWN", &url));
    }

    fn media_deadline(&self) -> Option<Instant> {
        (self.config.role == Role::Play).then(|| self.heard + self.config.media_timeout)
    }

    fn name_tracks(&mut self, controls: impl Iterator<Item = String>) {
        let base = &self.base;
        self.tracks = controls
            .zip((0u8..).step_by(2))
            .map(|(control, channel)| Track {
                url: url::join(base, &control),
                channel,
            })
            .collect();
    }

    fn data(&mut self, now: Instant, channel: u8, data: Bytes) {
        self.heard = self.heard.max(now);
        let find = |track: &Track| track.channel == channel || track.channel.wrapping_add(1) == channel;
        // Data on channels that nobody set up is passed over: some cameras send it for tracks that were left out.
        if let Some(track) = self.tracks.iter().position(find) {
            let control = self.tracks[track].channel != channel;
            self.outputs
                .push_back(Output::Event(Event::Data { track, control, data }));
        }
    }

    /// The server asks. Servers ask for little, and all of it is fine.
    fn request(&mut self, request: &Request) {
        let known = matches!(
            request.method.as_str(),
            "OPTIONS" | "ANNOUNCE" | "SET_PARAMETER" | "GET_PARAMETER" | "TEARDOWN" | "REDIRECT"
        );
        let mut response = if known {
            Response::new(200, "OK")
        } else {
            Response::new(501, "Not Implemented")
        };
        if let Some(cseq) = request.headers.get("CSeq") {
            response = response.with("CSeq", cseq);
        }
        let mut out = BytesMut::new();
        response.write(&mut out);
        self.outputs.push_back(Output::Send(out.freeze()));
        match request.method.as_str() {
            "TEARDOWN" => {
                self.outputs.push_back(Output::Event(Event::Ended));
                self.over();
            }
            "REDIRECT" => self.redirect(request.headers.get("Location")),
            _ => {}
        }
    }

    fn response(&mut self, now: Instant, response: Response) {
        // Answers come in the order of the requests, and there is one request at a time; CSeq is wrong in some cameras.
        let Some(sent) = self.sent.take() else { return };
        if self.step == Step::Closing {
            return self.over();
        }
        match response.status {
            401 => return self.unauthorized(sent, &response),
            300..=399 => return self.redirect(response.headers.get("Location")),
            _ => {}
        }
        if let Some(session) = response.headers.get("Session") {
            self.keep_session(session);
        }
        let ok = (200..300).contains(&response.status);
        match self.step.clone() {
            // A server that does not know OPTIONS may know the rest.
            Step::Options => {
                let public = response.headers.get("Public").unwrap_or_default();
                self.knows_get_parameter = public
                    .split(',')
                    .any(|method| method.trim().eq_ignore_ascii_case("GET_PARAMETER"));
                self.begin();
            }
            // A sign of life that fails says nothing about media.
            Step::Flowing => {}
            _ if !ok => self.refused(&sent, response),
            Step::Describe => self.described(&response),
            Step::Announce => self.announced(&response),
            Step::Setup(track) => self.was_set_up(track, &response),
            Step::Play => {
                self.flows(now);
                let starts = self.starts(response.headers.get("RTP-Info").unwrap_or_default());
                self.outputs.push_back(Output::Event(Event::Playing(starts)));
            }
            Step::Record => {
                self.flows(now);
                self.outputs.push_back(Output::Event(Event::Recording));
            }
            Step::Choosing | Step::Opening(_) | Step::Closing | Step::Over => {}
        }
    }

    fn begin(&mut self) {
        let url = self.url.clone();
        match &self.config.role {
            Role::Play => {
                self.step = Step::Describe;
                let request = Request::new("DESCRIBE", &url).with("Accept", "application/sdp");
                self.ask("DESCRIBE", request);
            }
            Role::Publish { sdp } => {
                self.step = Step::Announce;
                let request = Request::new("ANNOUNCE", &url).with_body("application/sdp", sdp.clone().into());
                self.ask("ANNOUNCE", request);
            }
        }
    }

    fn refused(&mut self, sent: &Sent, response: Response) {
        if response.status == 461 && self.config.transport != Transport::Tcp {
            self.outputs.push_back(Output::Event(Event::TransportRefused));
            return self.over();
        }
        self.fail(Failure::Status {
            method: sent.method,
            status: response.status,
            reason: response.reason,
        });
    }

    /// Asks once more, with credentials.
    fn unauthorized(&mut self, sent: Sent, response: &Response) {
        let again = self.authenticator.as_mut().is_some_and(|authenticator| {
            authenticator.challenge(response.headers.get_all("WWW-Authenticate"))
        });
        if again {
            self.ask(sent.method, sent.request);
        } else if self.step == Step::Options {
            // Without credentials OPTIONS is of no use, and DESCRIBE will tell.
            self.begin();
        } else {
            self.fail(Failure::Status {
                method: sent.method,
                status: 401,
                reason: response.reason.clone(),
            });
        }
    }

    fn redirect(&mut self, location: Option<&str>) {
        match location {
            Some(location) => {
                self.outputs
                    .push_back(Output::Event(Event::Redirected(location.to_owned())));
                self.over();
            }
            None => self.fail(Failure::Protocol("a redirection without Location".to_owned())),
        }
    }

    fn keep_session(&mut self, header: &str) {
        let mut parts = header.split(';').map(str::trim);
        let Some(id) = parts.next().filter(|id| !id.is_empty()) else {
            return;
        };
        self.session = Some(id.to_owned());
        for part in parts {
            if let Some((name, value)) = part.split_once('=')
                && name.trim().eq_ignore_ascii_case("timeout")
                && let Ok(seconds) = value.trim().parse::<u32>()
                && seconds > 0
            {
                self.session_timeout = Duration::from_secs(seconds.into());
            }
        }
    }

    fn described(&mut self, response: &Response) {
        if response.body.is_empty() {
            return self.fail(Failure::Protocol(
                "DESCRIBE was answered without a description".to_owned(),
            ));
        }
        let base = ["Content-Base", "Content-Location"]
            .iter()
            .find_map(|name| response.headers.get(name))
            .map(str::trim)
            .filter(|base| base.contains("://"));
        if let Some(base) = base {
            self.base = base.to_owned();
        }
        self.step = Step::Choosing;
        self.outputs
            .push_back(Output::Event(Event::Described(response.body.clone())));
    }

    fn announced(&mut self, response: &Response) {
        if let Some(base) = response.headers.get("Content-Base") {
            self.base = base.trim().to_owned();
        }
        let Role::Publish { sdp } = &self.config.role else {
            return;
        };
        match rtp::sdp::Session::parse(sdp.as_bytes()) {
            Ok(session) => {
                let controls: Vec<String> = session
                    .media
                    .iter()
                    .map(|media| media.control().unwrap_or_default().to_owned())
                    .collect();
                self.name_tracks(controls.into_iter());
                self.set_up(0);
            }
            Err(error) => self.fail(Failure::Protocol(error.to_string())),
        }
    }

    fn set_up(&mut self, track: usize) {
        if track < self.tracks.len() {
            if self.config.transport == Transport::Udp {
                self.step = Step::Opening(track);
                self.outputs
                    .push_back(Output::Event(Event::PortsNeeded { track }));
            } else {
                self.ask_setup(track, None);
            }
            return;
        }
        let url = self.aggregate_url();
        match self.config.role {
            Role::Play => {
                self.step = Step::Play;
                self.ask("PLAY", Request::new("PLAY", &url).with("Range", "npt=0.000-"));
            }
            Role::Publish { .. } => {
                self.step = Step::Record;
                self.ask("RECORD", Request::new("RECORD", &url).with("Range", "npt=0.000-"));
            }
        }
    }

    fn ask_setup(&mut self, track: usize, ports: Option<UdpPorts>) {
        let mode = match self.config.role {
            Role::Play => "",
            Role::Publish { .. } => ";mode=record",
        };
        let transport = match (self.config.transport, ports) {
            (Transport::Tcp, _) | (Transport::Udp, None) => {
                let channel = self.tracks[track].channel;
                format!(
                    "RTP/AVP/TCP;unicast;interleaved={channel}-{}{mode}",
                    channel.saturating_add(1)
                )
            }
            (Transport::Udp, Some((rtp, rtcp))) => format!("RTP/AVP;unicast;client_port={rtp}-{rtcp}{mode}"),
            (Transport::Multicast, _) => "RTP/AVP;multicast".to_owned(),
        };
        self.step = Step::Setup(track);
        let request = Request::new("SETUP", &self.tracks[track].url).with("Transport", &transport);
        self.ask("SETUP", request);
    }

    fn was_set_up(&mut self, track: usize, response: &Response) {
        let header = response.headers.get("Transport").unwrap_or_default();
        let answer = transport::parse(header).into_iter().next().unwrap_or_default();
        let mut set_up = SetUp {
            track,
            channel: None,
            server_ports: answer.server_port,
            source: answer.source,
            group: None,
        };
        match self.config.transport {
            Transport::Tcp => {
                if answer.lower != Lower::Tcp && answer.server_port.is_some() {
                    return self.fail(Failure::Protocol(
                        "TCP was asked for and UDP was set up".to_owned(),
                    ));
                }
                // Some cameras do not name the channels: then they are those that were asked for.
                if let Some((channel, _)) = answer.interleaved {
                    self.tracks[track].channel = channel;
                }
                set_up.channel = Some(self.tracks[track].channel);
            }
            Transport::Udp => {}
            Transport::Multicast => {
                let ports = answer.port.or(answer.server_port).or(answer.client_port);
                let Some((group, ports)) = answer.destination.zip(ports) else {
                    return self.fail(Failure::Protocol("the answer to SETUP names no group".to_owned()));
                };
                set_up.group = Some((group, ports));
            }
        }
        self.outputs.push_back(Output::Event(Event::SetUp(set_up)));
        self.set_up(track + 1);
    }

    fn flows(&mut self, now: Instant) {
        self.step = Step::Flowing;
        self.heard = self.heard.max(now);
        self.next_sign = self.config.keep_alive_requests.then(|| now + self.pause());
    }

    /// Between two signs of life.
    fn pause(&self) -> Duration {
        self.config
            .keep_alive
            .min(self.session_timeout * 2 / 3)
            .max(SHORTEST_PAUSE)
    }

    fn sign_of_life(&mut self, now: Instant) {
        self.next_sign = Some(now + self.pause());
        // One at a time: a server that is slow with an answer is not asked more.
        if self.sent.is_some() {
            return;
        }
        let url = self.aggregate_url();
        if self.knows_get_parameter {
            self.ask("GET_PARAMETER", Request::new("GET_PARAMETER", &url));
        } else {
            self.ask("OPTIONS", Request::new("OPTIONS", &url));
        }
    }

    /// RTP-Info; what cannot be read is left out. Cameras write absolute URLs, relative ones and wrong ones: if none can be
    /// found, the order decides.
    fn starts(&self, header: &str) -> Vec<Start> {
        let entries: Vec<&str> = header.split(',').take(self.tracks.len()).collect();
        let named = |entry: &&str| {
            entry
                .split(';')
                .find_map(|part| part.trim().strip_prefix("url="))
                .and_then(|url| {
                    let url = url.trim_matches('"').trim_end_matches('/');
                    self.tracks.iter().position(|track| {
                        let full = track.url.trim_end_matches('/');
                        full == url || full.ends_with(&format!("/{}", url.trim_start_matches('/')))
                    })
                })
        };
        let by_name = entries.iter().all(|entry| named(entry).is_some());
        entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let time = entry
                    .split(';')
                    .find_map(|part| part.trim().strip_prefix("rtptime="))?;
                Some(Start {
                    track: if by_name { named(entry)? } else { index },
                    timestamp: time.trim().parse().ok()?,
                })
            })
            .collect()
    }

    /// The URL of the whole session.
    fn aggregate_url(&self) -> String {
        match &self.aggregate {
            Some(control) => url::join(&self.base, control),
            None => self.base.clone(),
        }
    }

    fn ask(&mut self, method: &'static str, mut request: Request) {
        self.cseq += 1;
        request.headers.set("CSeq", &self.cseq.to_string());
        request.headers.set("User-Agent", &self.config.user_agent);
        if let Some(session) = &self.session {
            request.headers.set("Session", session);
        }
        for (name, value) in &self.config.headers {
            request.headers.set(name, value);
        }
        let authorization = self
            .authenticator
            .as_mut()
            .and_then(|authenticator| authenticator.authorize(method, &request.uri));
        if let Some(authorization) = authorization {
            request.headers.set("Authorization", &authorization);
        }
        let mut out = BytesMut::new();
        request.write(&mut out);
        self.outputs.push_back(Output::Send(out.freeze()));
        self.sent = Some(Sent { method, request });
    }

    fn fail(&mut self, failure: Failure) {
        self.outputs.push_back(Output::Event(Event::Failed(failure)));
        self.over();
    }

    fn over(&mut self) {
        if self.step != Step::Over {
            self.step = Step::Over;
            self.outputs.push_back(Output::Close);
        }
    }
}

/// If the server does not name one (RFC 2326, section 12.37).
const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// Servers that name a time-out of a second or two are not asked more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// How long the answer to a goodbye is waited for.
const GOODBYE: Duration = Duration::from_secs(1);
