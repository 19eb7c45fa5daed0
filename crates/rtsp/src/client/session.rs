//! The states of a client's session.

use super::answer::{self, Asked};
use super::description::{Description, MAX_SECTIONS};
use super::exchange::{Answered, Exchange, Purpose};
use super::{
    Carrier, Config, Error, Event, Failure, KeepAliveBy, Multicast, Output, Path, Role, Sockets, TrackChoice,
    Tracks,
};
use crate::message::channels::Channels;
use crate::message::{Message, Parser, Request, Response, data_head};
use crate::transport::{Lower, Mode, Transport};
use crate::url::join;
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};

/// Plays from a server, or publishes to it, over a connection that the driver has opened.
///
/// Playing: OPTIONS, DESCRIBE, [`Event::Described`], [`Self::choose`], a SETUP for each track, PLAY, [`Event::Playing`].
/// Publishing: OPTIONS, ANNOUNCE, a SETUP for each media section, RECORD, [`Event::Recording`].
/// Over UDP [`Event::UdpNeeded`] comes for each track and is answered with [`Self::sockets`].
#[derive(Debug)]
pub struct ClientSession {
    config: Config,
    parser: Parser,
    pub(super) exchange: Exchange,
    step: Step,
    /// The newest time that was heard of.
    now: Instant,
    /// Without credentials.
    url: String,
    base: String,
    /// What PLAY, RECORD, keep-alives and TEARDOWN go to.
    aggregate: String,
    sections: Description,
    carrier: Carrier,
    tracks: Vec<Track>,
    /// Channels of the tracks.
    channels: Channels,
    session_timeout: Duration,
    /// The server has GET_PARAMETER.
    get_parameter: bool,
    start_by: Option<Instant>,
    media_by: Option<Instant>,
    keep_alive_at: Option<Instant>,
    dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A request is on its way.
    Waiting,
    /// The driver is to choose tracks.
    Choosing,
    /// The driver is to bind ports for the track at this place.
    Binding(usize),
    /// The driver is to join the group of the track at this place.
    Joining(usize),
    /// The driver is to say whether TCP will do.
    Refused,
    /// PLAY is on its way; media may come.
    Starting,
    /// Media flow.
    Started,
    Closed,
}

#[derive(Clone, Debug)]
struct Track {
    index: usize,
    url: String,
    ports: Option<(u16, u16)>,
}

impl ClientSession {
    /// A session over a connection that stands since `now`. `seed` makes the cnonces of Digest: random in use, fixed in tests.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let url = config.url.without_credentials();
        let carrier = match (&config.role, config.carrier) {
            (Role::Publish { .. }, Carrier::Multicast) => Carrier::Udp,
            (_, carrier) => carrier,
        };
        let mut session = Self {
            parser: Parser::new(config.limits),
            exchange: Exchange::new(&config, seed),
            step: Step::Waiting,
            now,
            base: url.clone(),
            aggregate: url.clone(),
            sections: Description::default(),
            carrier,
            tracks: Vec::new(),
            channels: Channels::default(),
            session_timeout: answer::DEFAULT_SESSION_TIMEOUT,
            get_parameter: false,
            start_by: now.checked_add(config.timeout),
            media_by: None,
            keep_alive_at: None,
            dropped: 0,
            url,
            config,
        };
        // Tells whether GET_PARAMETER can keep the session alive: rtsp-simple-server 0.19.3 drops who sends what it does not know
        // (retina, 0.4.1).
        let options = Request::new("OPTIONS", session.url.as_str());
        session.exchange.send(options, Purpose::Options);
        session
    }

    /// Takes the messages off the front of `input`. Bytes of an incomplete one stay there.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        self.advance(now);
        while self.step != Step::Closed {
            match self.parser.next(input)? {
                None => return Ok(()),
                Some(Message::Data { channel, data }) => self.data(channel, data),
                Some(Message::Response(response)) => self.response(&response),
                Some(Message::Request(request)) => self.request(&request),
            }
        }
        // Nobody reads what comes behind the end.
        input.clear();
        Ok(())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.step == Step::Closed {
            return;
        }
        if self.start_by.is_some_and(|at| at <= self.now) {
            let publish = matches!(self.config.role, Role::Publish { .. });
            self.teardown();
            return self.fail(Failure::Timeout { publish });
        }
        if self.media_by.is_some_and(|at| at <= self.now) {
            self.teardown();
            return self.fail(Failure::MediaTimeout);
        }
        if self.keep_alive_at.is_some_and(|at| at <= self.now) {
            self.keep_alive();
        }
    }

    /// When [`Self::handle_timeout`] is to be called. `None`: never.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.start_by, self.media_by, self.keep_alive_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do. `None` means drained: nothing more until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.exchange.poll()
    }

    /// Answers [`Event::Described`]: which media sections to set up, in order; at most 64. Of these, [`Config::tracks`] leaves
    /// those of the right kind. None left: the session fails.
    pub fn choose(&mut self, now: Instant, tracks: &[TrackChoice]) -> Result<(), Error> {
        self.advance(now);
        if self.step != Step::Choosing {
            return Err(Error::NotAsked("choose"));
        }
        let wanted = match self.config.tracks {
            Tracks::All => None,
            Tracks::Video => Some("video"),
            Tracks::Audio => Some("audio"),
        };
        let kind = |index: usize| {
            self.sections
                .sections
                .get(index)
                .map(|section| section.media.as_str())
        };
        self.tracks = tracks
            .iter()
            .filter(|track| wanted.is_none() || kind(track.index) == wanted)
            .take(MAX_SECTIONS)
            .map(|track| Track {
                index: track.index,
                // Without a control of its own a single track has that of the whole.
                url: match track.control.as_str() {
                    "" => self.aggregate.clone(),
                    control => join(&self.base, control),
                },
                ports: None,
            })
            .collect();
        self.set_up(0);
        Ok(())
    }

    /// Answers [`Event::UdpNeeded`]: ports are bound, or the group is joined. If that failed, close the session instead.
    pub fn sockets(&mut self, now: Instant, track: usize, sockets: Sockets) -> Result<(), Error> {
        self.advance(now);
        let (Step::Binding(at) | Step::Joining(at)) = self.step else {
            return Err(Error::NotAsked("sockets"));
        };
        let asked = self.tracks.get_mut(at).filter(|asked| asked.index == track);
        match (self.step, asked, sockets) {
            (Step::Binding(_), Some(asked), Sockets::Ports(rtp, rtcp)) => {
                asked.ports = Some((rtp, rtcp));
                self.send_setup(at);
            }
            (Step::Joining(_), Some(_), Sockets::Joined) => self.set_up(at + 1),
            _ => return Err(Error::NotAsked("sockets")),
        }
        Ok(())
    }

    /// Answers [`Event::CarrierRefused`]: sets up all tracks over TCP instead, on the same connection. [`Event::SetUp`] comes for
    /// each again.
    pub fn fall_back(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now);
        if self.step != Step::Refused {
            return Err(Error::NotAsked("fall_back"));
        }
        self.carrier = Carrier::Tcp;
        self.channels = Channels::default();
        self.set_up(0);
        Ok(())
    }

    /// The driver heard media outside of this connection: over UDP, or the first packets of a group.
    pub fn media_arrived(&mut self, now: Instant) {
        self.advance(now);
        if self.media_by.is_some() {
            self.media_by = self.now.checked_add(self.config.media_timeout);
        }
    }

    /// Sends a packet on an interleaved channel: media when publishing, reports when playing. Lost before [`Event::SetUp`] named
    /// the channel, and if it is longer than 65,535 bytes.
    ///
    /// Copies the packet. A driver that sends much writes `data_head` and packet itself, after all of [`Output::Send`].
    pub fn send_data(&mut self, channel: u8, packet: &[u8]) {
        if self.step == Step::Closed || !self.channels.contains(channel) {
            return;
        }
        if let Ok(len) = u16::try_from(packet.len()) {
            let bytes = self.exchange.bytes();
            bytes.extend_from_slice(&data_head(channel, len));
            bytes.extend_from_slice(packet);
        }
    }

    /// Ends the session: TEARDOWN, then close.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        self.teardown();
        self.end();
    }

    /// The server has closed the connection.
    pub fn connection_closed(&mut self, now: Instant) {
        self.advance(now);
        match self.step {
            Step::Closed => {}
            Step::Started => self.finish(Event::Ended),
            _ => self.fail(Failure::Closed),
        }
    }

    /// Packets that were dropped because they came before PLAY or on a channel of no track, and stray bytes between messages.
    pub fn dropped(&self) -> (u64, u64) {
        (self.dropped, self.parser.skipped())
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn data(&mut self, channel: u8, data: Bytes) {
        // Before PLAY they are of an older session (live555 kept file descriptors of such, says retina). From PLAY on they may
        // overtake the answer (v4l2rtspserver) and are the beginning of the stream.
        let flowing = matches!(self.step, Step::Starting | Step::Started);
        if !flowing || !self.channels.contains(channel) {
            self.dropped += 1;
            return;
        }
        if self.media_by.is_some() {
            self.media_by = self.now.checked_add(self.config.media_timeout);
        }
        self.event(Event::Data { channel, data });
    }

    fn response(&mut self, response: &Response) {
        let Answered::Final(waiting) = self.exchange.answered(response) else {
            return;
        };
        if (300..400).contains(&response.status)
            && let Some(location) = response.headers.get("Location")
        {
            let location = location.trim().to_owned();
            return self.finish(Event::Redirected(location));
        }
        let ok = (200..300).contains(&response.status);
        match waiting.purpose {
            Purpose::Options => {
                // Whether it was refused or not: some servers do not know OPTIONS, and the next request tells more.
                self.get_parameter = ok && answer::offers(response, "GET_PARAMETER");
                self.describe_or_announce();
            }
            Purpose::KeepAlive => self.kept_alive(&waiting.request, response),
            Purpose::Teardown => {}
            Purpose::Setup(at) if response.status == 461 && self.carrier != Carrier::Tcp => {
                self.step = Step::Refused;
                let track = self.tracks.get(at).map_or(at, |track| track.index);
                self.event(Event::CarrierRefused { track });
            }
            _ if !ok => self.refused(&waiting.request, response),
            Purpose::Describe => self.described(response),
            Purpose::Announce => self.announced(),
            Purpose::Setup(at) => self.was_set_up(at, response),
            Purpose::Start => self.started(response),
        }
    }

    fn describe_or_announce(&mut self) {
        let url = self.url.as_str();
        match &self.config.role {
            Role::Play => {
                let request = Request::new("DESCRIBE", url).with("Accept", SDP);
                self.exchange.send(request, Purpose::Describe);
            }
            Role::Publish { sdp } => {
                let request = Request::new("ANNOUNCE", url).with_body(SDP, sdp.clone());
                self.exchange.send(request, Purpose::Announce);
            }
        }
    }

    fn described(&mut self, response: &Response) {
        let content_type = response.headers.get("Content-Type").unwrap_or_default();
        // Some servers have no Content-Type (retina, 0.4.7), others the wrong one.
        let named = content_type.is_empty() || content_type.to_ascii_lowercase().contains("sdp");
        if response.body.is_empty() || !(named || response.body.starts_with(b"v=")) {
            let content_type = content_type.chars().take(MAX_TEXT).collect();
            return self.fail(Failure::NoDescription { content_type });
        }
        let sdp = String::from_utf8_lossy(&response.body).into_owned();
        self.base = answer::base(response, &self.config.url);
        self.sections = Description::parse(&sdp);
        self.aggregate = join(&self.base, self.sections.control.as_deref().unwrap_or("*"));
        self.step = Step::Choosing;
        let base = self.base.clone();
        self.event(Event::Described { sdp, base });
    }

    fn announced(&mut self) {
        let Role::Publish { sdp } = &self.config.role else {
            return;
        };
        self.sections = Description::parse(sdp);
        let single = self.sections.sections.len() == 1;
        self.tracks = self
            .sections
            .sections
            .iter()
            .enumerate()
            .map(|(index, section)| Track {
                index,
                url: match &section.control {
                    Some(control) => join(&self.url, control),
                    None if single => self.url.clone(),
                    None => join(&self.url, &format!("trackID={index}")),
                },
                ports: None,
            })
            .collect();
        self.set_up(0);
    }

    /// Begins to set up the track at this place, or the media if all are set up.
    fn set_up(&mut self, at: usize) {
        match (self.tracks.get(at), self.carrier) {
            (None, _) if at == 0 => {
                self.teardown();
                self.fail(Failure::NoTracks);
            }
            (None, _) => self.start(),
            (Some(track), Carrier::Udp) => {
                let track = track.index;
                self.step = Step::Binding(at);
                self.event(Event::UdpNeeded {
                    track,
                    multicast: None,
                });
            }
            (Some(_), Carrier::Tcp | Carrier::Multicast) => self.send_setup(at),
        }
    }

    fn send_setup(&mut self, at: usize) {
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        let mut transport = Transport::new(Lower::Udp);
        match self.carrier {
            Carrier::Tcp => {
                transport.lower = Lower::Tcp;
                transport.interleaved = Some(channels_at(at));
            }
            Carrier::Udp => transport.client_port = track.ports,
            Carrier::Multicast => transport.multicast = true,
        }
        // Not for playing, as ffmpeg does: it is the default, and old servers do not know it.
        if matches!(self.config.role, Role::Publish { .. }) {
            transport.mode = Some(Mode::Record);
        }
        let request = Request::new("SETUP", track.url.as_str()).with("Transport", transport.to_string());
        self.step = Step::Waiting;
        self.exchange.send(request, Purpose::Setup(at));
    }

    fn was_set_up(&mut self, at: usize, response: &Response) {
        // The first counts: some cameras change it from SETUP to SETUP (retina, 0.4.6).
        if !self.exchange.has_session()
            && let Some((id, timeout)) = answer::session(response)
        {
            self.exchange.set_session(id);
            self.session_timeout = timeout;
        }
        let asked = Asked {
            carrier: self.carrier,
            channels: channels_at(at),
            publish: matches!(self.config.role, Role::Publish { .. }),
        };
        let (path, ssrc) = match answer::path(response, asked, |channel| self.channels.contains(channel)) {
            Ok(answered) => answered,
            Err(failure) => {
                self.teardown();
                return self.fail(failure);
            }
        };
        let Some(track) = self.tracks.get(at).map(|track| track.index) else {
            return;
        };
        let group = match &path {
            Path::Interleaved { rtp, rtcp } => {
                self.channels.insert(*rtp);
                self.channels.insert(*rtcp);
                None
            }
            Path::Unicast { .. } => None,
            Path::Multicast(group) => Some(group.clone()),
        };
        self.event(Event::SetUp { track, path, ssrc });
        match group {
            Some(group) => self.join_group(at, track, group),
            None => self.set_up(at + 1),
        }
    }

    fn join_group(&mut self, at: usize, track: usize, group: Multicast) {
        self.step = Step::Joining(at);
        self.event(Event::UdpNeeded {
            track,
            multicast: Some(group),
        });
    }

    fn start(&mut self) {
        let method = match self.config.role {
            Role::Play => "PLAY",
            Role::Publish { .. } => "RECORD",
        };
        let mut request = Request::new(method, self.aggregate.as_str()).with("Range", "npt=0.000-");
        if let Some(scale) = self.config.scale.filter(|_| method == "PLAY") {
            request.headers.push("Scale", format!("{scale:.3}"));
        }
        self.step = Step::Starting;
        self.exchange.send(request, Purpose::Start);
    }

    fn started(&mut self, response: &Response) {
        self.step = Step::Started;
        self.start_by = None;
        if self.config.keep_alive.by != KeepAliveBy::Rtcp {
            self.schedule_keep_alive();
        }
        let Role::Play = self.config.role else {
            return self.event(Event::Recording);
        };
        self.media_by = self.now.checked_add(self.config.media_timeout);
        let tracks: Vec<_> = self
            .tracks
            .iter()
            .map(|track| (track.index, track.url.as_str()))
            .collect();
        let rtp_info = answer::rtp_info(response, &self.base, &tracks);
        let range = response.headers.get("Range").map(str::to_owned);
        self.event(Event::Playing { rtp_info, range });
    }

    fn keep_alive(&mut self) {
        let method = match self.get_parameter {
            true => "GET_PARAMETER",
            false => "OPTIONS",
        };
        let request = Request::new(method, self.aggregate.as_str());
        self.exchange.send(request, Purpose::KeepAlive);
        self.schedule_keep_alive();
    }

    fn schedule_keep_alive(&mut self) {
        let most = self.session_timeout.saturating_mul(2) / 3;
        let interval = self.config.keep_alive.interval.min(most).max(MIN_KEEP_ALIVE);
        self.keep_alive_at = self.now.checked_add(interval);
    }

    fn kept_alive(&mut self, request: &Request, response: &Response) {
        match response.status {
            // The session is gone; or we are no longer let in.
            401 | 454 => self.refused(request, response),
            400.. => self.get_parameter = false,
            _ => {}
        }
    }

    fn refused(&mut self, request: &Request, response: &Response) {
        self.teardown();
        self.fail(Failure::Status {
            method: request.method.clone(),
            status: response.status,
            reason: response.reason.chars().take(MAX_TEXT).collect(),
        });
    }

    /// Sends TEARDOWN if there is a session. Its answer is not waited for.
    pub(super) fn teardown(&mut self) {
        if self.step != Step::Closed && self.exchange.has_session() {
            let request = Request::new("TEARDOWN", self.aggregate.as_str());
            self.exchange.send(request, Purpose::Teardown);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.finish(Event::Failed(failure));
    }

    pub(super) fn finish(&mut self, event: Event) {
        self.event(event);
        self.end();
    }

    fn end(&mut self) {
        self.exchange.push(Output::Close);
        self.step = Step::Closed;
        (self.start_by, self.media_by, self.keep_alive_at) = (None, None, None);
    }

    fn event(&mut self, event: Event) {
        self.exchange.push(Output::Event(event));
    }
}

/// Channels that are asked for the track at this place; less than [`MAX_SECTIONS`].
fn channels_at(at: usize) -> (u8, u8) {
    let rtp = u8::try_from(at * 2).unwrap_or(u8::MAX - 1);
    (rtp, rtp + 1)
}

const SDP: &str = "application/sdp";

/// A server may say that its session lasts one second, and a caller that it wants none at all.
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(500);

/// Characters of foreign text in a failure.
const MAX_TEXT: usize = 200;
