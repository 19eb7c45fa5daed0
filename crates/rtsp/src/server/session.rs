//! The state of one connection: requests in, answers and events out.
//!
//! One stream at a time: after `TEARDOWN` a connection may begin again with another. Requests that come while one is being
//! decided wait in the caller's buffer, so pipelined requests are answered in their order.

use super::granted::{Flow, Granted, Urls};
use super::{
    Allowed, Description, Event, Output, PlayAnswer, Refusal, Request, SetupAnswer, SetupRefused,
    SetupRequest, TimeoutReason, Ways,
};
use crate::message::{self, Headers, Limits, Message, Parser, Response};
use crate::tunnel;
use crate::url;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
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

/// What the connection is about.
#[derive(Debug)]
enum Stage {
    /// Nothing yet, or not any more.
    Idle,
    /// Granted to a player or a publisher.
    Granted(Granted),
}

/// A request that waits for the driver.
#[derive(Debug)]
struct Awaited {
    cseq: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Describe(Urls),
    Announce(Urls, Vec<String>),
    Setup {
        track: usize,
        way: Ways,
        /// What the client would take instead.
        others: VecDeque<Ways>,
    },
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
    /// It is not all either while many outputs wait: call again when they are drained, until nothing comes out.
    ///
    /// # Errors
    ///
    /// The peer does not speak RTSP, or a message is longer than allowed. The connection is to be closed.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), message::Error> {
        while self.awaited.is_none() && !self.over && self.outputs.len() < MAX_OUTPUTS {
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

    /// Gives back memory that a conversation needs, and a session that says little does not. For players, of whom there may be thousands.
    pub fn rest(&mut self) {
        self.outputs.shrink_to_fit();
    }

    /// What to do next; `None` means drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called; `None`: nothing is due, or not within the time that can be told.
    pub fn poll_timeout(&self) -> Option<(Instant, TimeoutReason)> {
        if self.awaited.is_some() || self.over {
            return None;
        }
        let deadline = |limit, reason| Some((self.heard.checked_add(limit)?, reason));
        let handshake = || deadline(self.config.handshake, TimeoutReason::Handshake);
        let Stage::Granted(granted) = &self.stage else {
            return handshake();
        };
        match granted.flow {
            Flow::Stopped => handshake(),
            // Who reads over TCP shows it by reading; who does not is found by the writes.
            Flow::Running if !granted.publishes && granted.over_tcp() => None,
            Flow::Running | Flow::Paused => deadline(self.config.keep_alive, TimeoutReason::Silence),
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

    /// Ends the connection: the stream ended, or the server wants it so. A request that is being decided gets no answer.
    pub fn close(&mut self) {
        if !self.over {
            self.over = true;
            // Nobody is left to be told.
            self.awaited = None;
            self.outputs.push_back(Output::Close);
        }
    }

    /// Decides [`Event::Describe`].
    pub fn describe(&mut self, now: Instant, verdict: Result<Description, Refusal>) {
        let Some((cseq, What::Describe(urls))) = self.decided(now, |what| matches!(what, What::Describe(..)))
        else {
            return;
        };
        let description = match verdict {
            Ok(description) => description,
            Err(refusal) => {
                // What was granted before is let go of by asking for something else.
                self.stage = Stage::Idle;
                return self.refuse(cseq, refusal);
            }
        };
        let response = Response::new(200, "OK")
            .with("Content-Base", format!("{}/", urls.base))
            .with("Session", self.session())
            .with("x-Accept-Dynamic-Rate", "1")
            .with("x-Accept-Retransmit", "our-retransmit")
            .with_body("application/sdp", description.sdp);
        self.stage = Stage::Granted(Granted::new(urls, description.controls, false));
        self.answer(cseq, response);
    }

    /// Decides [`Event::Announce`].
    pub fn announce(&mut self, now: Instant, verdict: Result<(), Refusal>) {
        let Some((cseq, What::Announce(urls, controls))) =
            self.decided(now, |what| matches!(what, What::Announce(..)))
        else {
            return;
        };
        match verdict {
            Ok(()) => {
                self.stage = Stage::Granted(Granted::new(urls, controls, true));
                let response = Response::new(200, "OK").with("Session", self.session());
                self.answer(cseq, response);
            }
            Err(refusal) => self.refuse(cseq, refusal),
        }
    }

    /// Decides [`Event::Setup`].
    pub fn set_up(&mut self, now: Instant, verdict: Result<SetupAnswer, SetupRefused>) {
        let Some((cseq, What::Setup { track, way, others })) =
            self.decided(now, |what| matches!(what, What::Setup { .. }))
        else {
            return;
        };
        let answer = match verdict {
            Ok(answer) => answer,
            Err(refused) => return self.ask_way(cseq, track, others, refused),
        };
        let Stage::Granted(granted) = &mut self.stage else {
            return;
        };
        way.choose(track, &mut granted.ways);
        let transport = answer.transport(track, way, granted.publishes);
        let response = Response::new(200, "OK")
            .with("Transport", transport)
            .with("x-Transport-Options", "late-tolerance=1.400000")
            .with("x-Dynamic-Rate", "1")
            .with("Session", self.session());
        self.answer(cseq, response);
    }

    /// Decides [`Event::Play`]: media may follow from now on.
    pub fn play(&mut self, now: Instant, verdict: Result<PlayAnswer, Refusal>) {
        let Some((cseq, What::Play)) = self.decided(now, |what| matches!(what, What::Play)) else {
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
                let url = url::join(&format!("{}/", granted.urls.base), control);
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

    /// What waited, if that is what was decided.
    fn decided(&mut self, now: Instant, this: impl Fn(&What) -> bool) -> Option<(Option<String>, What)> {
        let awaited = self.awaited.take_if(|awaited| this(&awaited.what))?;
        // The client's time begins when it has its answer.
        self.heard = self.heard.max(now);
        Some((awaited.cseq, awaited.what))
    }

    fn request(&mut self, request: message::Request) {
        let cseq = request.headers.get("CSeq").map(str::to_owned);
        if request.version.starts_with("HTTP/") {
            // Who has a stream speaks RTSP already.
            let half = tunnel::half(&request).filter(|_| matches!(self.stage, Stage::Idle));
            match half {
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
        let urls = Urls {
            base: asked.url.clone(),
            asked: request.uri.clone(),
        };
        self.awaited = Some(Awaited {
            cseq,
            what: What::Describe(urls),
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
        let urls = Urls {
            base: asked.url.clone(),
            asked: request.uri,
        };
        self.awaited = Some(Awaited {
            cseq,
            what: What::Announce(urls, controls),
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
        let offers = request.headers.get("Transport").unwrap_or_default();
        let ways = granted.ways_of(track, offers, self.config.allowed);
        self.ask_way(cseq, track, ways, SetupRefused::Transport);
    }

    /// Asks the driver for the first of `ways`; if there is none, it was `refused`.
    fn ask_way(
        &mut self,
        cseq: Option<String>,
        track: usize,
        mut ways: VecDeque<Ways>,
        refused: SetupRefused,
    ) {
        let Some(way) = ways.pop_front() else {
            let response = match refused {
                SetupRefused::Transport => Response::new(461, "Unsupported transport"),
                SetupRefused::NoPorts => Response::new(503, "Service Unavailable"),
            };
            return self.answer(cseq, response);
        };
        let record = matches!(&self.stage, Stage::Granted(granted) if granted.publishes);
        self.awaited = Some(Awaited {
            cseq,
            what: What::Setup {
                track,
                way,
                others: ways,
            },
        });
        self.outputs
            .push_back(Output::Event(Event::Setup(SetupRequest { track, way, record })));
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
                let runs = std::mem::replace(&mut granted.flow, Flow::Running) == Flow::Running;
                let response = Response::new(200, "OK").with("Session", self.session());
                self.answer(cseq, response);
                if !runs {
                    self.outputs.push_back(Output::Event(Event::Record));
                }
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

    fn refuse(&mut self, cseq: Option<String>, refusal: Refusal) {
        let (response, last) = refusal.response();
        if last {
            self.answer_last(cseq, response);
        } else {
            self.answer(cseq, response);
        }
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

/// Outputs that may wait. The answers to many short requests are longer than these.
const MAX_OUTPUTS: usize = 128;

/// The methods of [`ServerSession`], in the order of ZLM's answer (urls.md, section 4).
const METHODS: &str =
    "OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY, PAUSE, ANNOUNCE, RECORD, SET_PARAMETER, GET_PARAMETER";

/// The `Session` header. The time-out makes clients speak often enough (RFC 2326, section 12.37: the default is 60 s, which is
/// longer than ours).
fn session(id: &str, keep_alive: Duration) -> String {
    format!("{id};timeout={}", keep_alive.as_secs().max(1))
}
