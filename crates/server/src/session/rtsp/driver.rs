//! The driver of one RTSP connection: it holds what the session's decisions are about.

use super::auth::{self, Checked, Gate};
use super::player::Player;
use crate::app::App;
use crate::egress::{Pace, WRITE_TIMEOUT, deliver, land, write_all, write_batch, write_parts};
use crate::link::{Answer, Granted, Pending};
use crate::maybe::{at, some};
use crate::session::ingest::rtp::Ingest;
use crate::session::{Io, MEDIA_BLOCK, TALK_BLOCK, WORD_BLOCK, make_room, shrink};
use crate::sessions::{Registration, plain};
use crate::udp::{Datagram, Endpoint, Endpoints};
use bytes::{Bytes, BytesMut};
use egress::{Delivery, Outcome};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hub::{Batch, EndReason, Next, Stream};
use lifecycle::{Access, Client, Protocol, Refusal as EngineRefusal};
use media::info::OriginType;
use media::{Schema, StreamKey};
use rtp::sdp;
use rtsp::message::{Limits, interleave};
use rtsp::server::{
    Allowed, Config, Event, Output, PlayAnswer, Refusal, Request, ServerSession, SetupAnswer, SetupRefused,
    SetupRequest, Ways,
};
use rtsp::tunnel::Half;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tracing::{debug, info};

/// Bytes of requests that may wait while one is being decided. More stay in the kernel, and so with the peer.
const MAX_PIPELINED: usize = 64 * 1024;

/// How the driver's work ended.
pub enum End {
    /// All is said; the peer may read it and close.
    Closing,
    /// The connection is gone.
    Gone,
    /// It is half of a tunnel.
    Tunnel(Half),
}

/// One connection.
pub struct Driver {
    app: Arc<App>,
    registration: Registration,
    tls: bool,
    session: ServerSession,
    /// Before `role`: its reader leaves before the end is told.
    delivery: Option<Delivery>,
    role: Role,
    /// What is known of the authentication for one stream: another may have another realm, or other passwords.
    gate: Option<(Wanted, Gate)>,
    /// What this player was allowed to see: it is not asked about again (hooks.md, section 6).
    allowed: Option<Wanted>,
    endpoints: Endpoints,
    buffer: BytesMut,
    batch: Batch,
    pace: Pace,
    /// Bytes read and written that no request has been charged with yet.
    uncharged: u64,
    /// A request of this connection had a number of its own with the engine already.
    used: bool,
}

/// A stream and the parameters it was asked for with.
type Wanted = (StreamKey, String);

/// What the connection does.
enum Role {
    Nothing,
    /// The player's right is being looked at, first by RTSP authentication.
    Checking {
        check: BoxFuture<'static, (Gate, Checked)>,
        access: Box<Access>,
        url: String,
    },
    Asking {
        pending: Pending,
        what: Asked,
    },
    Player(Box<Player>),
    Publisher(Box<Publisher>),
    /// Refused, and kept until the connection ends, so that its end is reported once and last.
    Refused(Pending),
}

enum Asked {
    /// The URL, without query.
    Play(String),
    /// The description.
    Publish(Bytes),
}

struct Publisher {
    stream: Arc<Stream>,
    media: Vec<sdp::Media>,
    ingest: Ingest,
    pending: Pending,
    ways: Vec<Option<Ways>>,
    recording: bool,
}

impl Driver {
    /// A connection that was accepted.
    pub fn new(app: Arc<App>, registration: Registration, tls: bool) -> Self {
        let config = app.config();
        let session = ServerSession::new(
            Config {
                server: concat!("Tidegate/", env!("CARGO_PKG_VERSION")).to_owned(),
                handshake: config.rtsp.handshake,
                keep_alive: config.rtsp.keep_alive,
                allowed: match config.rtsp.transport {
                    config::RtspTransport::Any => Allowed::Any,
                    config::RtspTransport::Tcp => Allowed::Tcp,
                    config::RtspTransport::Udp => Allowed::Udp,
                    config::RtspTransport::Multicast => Allowed::Multicast,
                },
                limits: Limits {
                    max_data: usize::try_from(config.rtp.max_bytes).unwrap_or(usize::MAX),
                    ..Limits::default()
                },
            },
            rand::random(),
            Instant::now(),
        );
        let pace = Pace::new(config.general.merge_write);
        drop(config);
        Self {
            app,
            registration,
            tls,
            session,
            delivery: None,
            role: Role::Nothing,
            gate: None,
            allowed: None,
            endpoints: Endpoints::default(),
            buffer: BytesMut::new(),
            batch: Batch::default(),
            pace,
            uncharged: 0,
            used: false,
        }
    }

    /// The entry in the registry and what was read but not used. The stream is let go of.
    pub fn into_parts(self) -> (Registration, BytesMut) {
        (self.registration, self.buffer)
    }

    /// Serves the connection.
    pub async fn run(&mut self, io: &mut Box<dyn Io>) -> End {
        match self.serve(io).await {
            Ok(end) => {
                if !matches!(end, End::Tunnel(_)) {
                    self.release();
                }
                end
            }
            Err(error) => {
                debug!(session = %self.registration.sock.identifier, %error, "RTSP connection ended");
                self.ends(false, error.to_string());
                self.release();
                End::Gone
            }
        }
    }

    fn release(&mut self) {
        self.ground();
        self.role = Role::Nothing;
        self.endpoints = Endpoints::default();
        self.registration.idle();
    }

    async fn serve(&mut self, io: &mut Box<dyn Io>) -> io::Result<End> {
        let stop = self.registration.stop.clone();
        loop {
            if let Some(end) = self.settle(io).await? {
                return Ok(end);
            }
            self.take_off(io.as_ref());
            let block = match self.role {
                Role::Publisher(_) => MEDIA_BLOCK,
                Role::Player(_) if self.delivery.is_some() => WORD_BLOCK,
                _ => TALK_BLOCK,
            };
            make_room(&mut self.buffer, block);
            let deadline = self.deadline();
            let reading = !self.session.is_waiting() || self.buffer.len() < MAX_PIPELINED;
            let (mut checking, mut asking, mut reader, mut ended) = (None, None, None, None);
            match &mut self.role {
                Role::Checking { check, .. } => checking = Some(check),
                Role::Asking { pending, .. } => asking = Some(pending),
                // The delivery tells of the end.
                Role::Player(_) if self.delivery.is_some() => {}
                Role::Player(player) => (reader, ended) = player.waits(),
                _ => {}
            }
            let delivery = self.delivery.as_mut();
            // In no order, so that nothing that comes without end keeps the rest waiting.
            tokio::select! {
                () = stop.cancelled() => {
                    self.ends(true, "closed by the server");
                    self.goodbye(io).await;
                    self.session.close();
                }
                (gate, checked) = some(checking) => self.checked(gate, checked),
                answer = some(asking.map(Pending::answer)) => self.decide(answer),
                next = some(reader.map(|reader| self.pace.next_batch(reader, &mut self.batch))) => match next {
                    Next::Packets | Next::Lagged { .. } => self.send_batch(io).await?,
                    Next::Ended(reason) => self.stream_ended(io, reason).await,
                },
                reason = some(ended) => self.stream_ended(io, reason).await,
                outcome = some(delivery.map(Delivery::ended)) => match outcome {
                    Outcome::Ended(reason) => self.stream_ended(io, reason).await,
                    Outcome::Failed(error) => return Err(error),
                },
                datagram = self.endpoints.recv() => self.datagram(datagram?),
                count = io.read_buf(&mut self.buffer), if reading => match count? {
                    0 => {
                        self.ends(false, "the peer closed the connection");
                        return Ok(End::Gone);
                    }
                    count => {
                        self.charge(count as u64);
                        self.session.handle_bytes(Instant::now(), &mut self.buffer).map_err(io::Error::other)?;
                    }
                },
                () = at(deadline) => self.timed_out(io).await?,
            }
        }
    }

    /// Does what the session wants done, until it wants nothing and has used what it can of the input.
    async fn settle(&mut self, io: &mut Box<dyn Io>) -> io::Result<Option<End>> {
        loop {
            let mut busy = false;
            while let Some(output) = self.session.poll_output() {
                busy = true;
                match output {
                    // Between two packets; counted with them.
                    Output::Send(bytes) if let Some(delivery) = &self.delivery => delivery.say(bytes)?,
                    Output::Send(bytes) => {
                        write_all(io, &bytes, WRITE_TIMEOUT).await?;
                        self.charge(bytes.len() as u64);
                        // What was fetched to tell a player where it starts.
                        if !self.batch.is_empty() {
                            self.send_batch(io).await?;
                        }
                    }
                    Output::Event(Event::Tunnel(half)) => return Ok(Some(End::Tunnel(half))),
                    // A player's reports, which change nothing.
                    Output::Event(event @ Event::Data { .. }) => self.handle(event),
                    Output::Event(event) => {
                        self.land().await?;
                        self.handle(event);
                    }
                    Output::Close => {
                        self.land().await?;
                        return Ok(Some(End::Closing));
                    }
                }
            }
            if let Role::Publisher(publisher) = &mut self.role {
                // A closed stream ends the session through its stop token, with a goodbye.
                let _ = publisher.ingest.flush(Instant::now());
            }
            if !busy {
                return Ok(None);
            }
            self.session
                .handle_bytes(Instant::now(), &mut self.buffer)
                .map_err(io::Error::other)?;
        }
    }

    /// Gives a player to the threads that write, if all it gets goes over the connection and they take it.
    fn take_off(&mut self, io: &dyn Io) {
        if let Role::Player(player) = &mut self.role
            && self.delivery.is_none()
            && self.batch.is_empty()
            && io.socket().is_some()
            && let Some(reader) = player.leave()
        {
            match deliver(&self.app.egress, io, reader) {
                Ok(delivery) => {
                    self.delivery = Some(delivery);
                    shrink(&mut self.buffer);
                    self.session.rest();
                    self.batch = Batch::default();
                }
                Err(reader) => player.come_back(reader),
            }
        }
    }

    /// Takes a player back.
    async fn land(&mut self) -> io::Result<()> {
        let Some(delivery) = &mut self.delivery else {
            return Ok(());
        };
        let landed = land(delivery, &self.registration.stop).await;
        self.ground();
        if let (Role::Player(player), Some(reader)) = (&mut self.role, landed?) {
            player.come_back(reader);
        }
        Ok(())
    }

    /// Lets go of a delivery, wherever it is, and charges the player with what it carried.
    fn ground(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            self.charge(delivery.bytes());
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Describe(request) => self.describe(request),
            Event::Announce(request, description) => self.announce(&request, description),
            Event::Setup(request) => {
                let verdict = self.set_up(&request);
                self.session.set_up(now, verdict);
            }
            Event::Play => {
                let verdict = self.play();
                self.session.play(now, verdict);
            }
            Event::Pause => {
                if let Role::Player(player) = &mut self.role {
                    player.paused = true;
                }
            }
            Event::Record => {
                if let Role::Publisher(publisher) = &mut self.role {
                    publisher.recording = true;
                    let options = self
                        .app
                        .receive_options(&publisher.stream, self.endpoints.is_empty());
                    let chosen = |track: usize| publisher.ways.get(track).is_some_and(Option::is_some);
                    publisher.ingest.receive(now, &publisher.media, chosen, options);
                    info!(session = %self.registration.sock.identifier, "recording over {}", self.protocol());
                }
            }
            Event::Data { track, control, data } => self.media(now, track, control, data),
            Event::Teardown => {
                self.ends(true, "ended by the peer");
                self.release();
            }
            Event::TimedOut(reason) => self.ends(false, format!("timed out: {reason:?}")),
            // Taken by `settle`.
            Event::Tunnel(_) => {}
        }
    }

    fn describe(&mut self, request: Request) {
        let access = self.access(&request);
        if let Role::Player(player) = &mut self.role {
            let same = player.granted.key == access.key && player.url == request.url;
            if same && let Ok(description) = player.describe(&self.app) {
                self.endpoints = Endpoints::default();
                return self.session.describe(Instant::now(), Ok(description));
            }
            self.ends(true, "another stream was asked for");
            self.release();
        }
        self.begin();
        let mut access = Access {
            client: self.client(),
            ..access
        };
        let known = (access.key.clone(), access.params.clone());
        if self.allowed.as_ref() == Some(&known) {
            access.authenticated = true;
            return self.ask_play(access, request.url);
        }
        debug!(stream = %access.key, session = %access.client.id, "play requested over {}", access.protocol);
        let gate = match self.gate.take() {
            Some((of, gate)) if of == known => gate,
            Some(_) | None => Gate::Unknown,
        };
        let check = auth::check(
            self.app.clone(),
            gate,
            access.clone(),
            request.credentials,
            "DESCRIBE",
            rand::random(),
        );
        self.role = Role::Checking {
            check: check.boxed(),
            access: Box::new(access),
            url: request.url,
        };
    }

    fn checked(&mut self, gate: Gate, checked: Checked) {
        let Role::Checking { access, url, .. } = std::mem::replace(&mut self.role, Role::Nothing) else {
            return;
        };
        self.gate = Some(((access.key.clone(), access.params.clone()), gate));
        match checked {
            Checked::Open => self.ask_play(*access, url),
            Checked::Authenticated => {
                let access = Access {
                    authenticated: true,
                    ..*access
                };
                self.ask_play(access, url);
            }
            Checked::Challenged { challenges, last } => {
                let refusal = Refusal::Unauthorized { challenges, last };
                self.session.describe(Instant::now(), Err(refusal));
            }
        }
    }

    fn ask_play(&mut self, access: Access, url: String) {
        self.used = true;
        self.allowed = Some((access.key.clone(), access.params.clone()));
        let rule = self.app.rule_for(&access.key, &access.params);
        let pending = self.app.link.ask_play(access, rule);
        self.role = Role::Asking {
            pending: self.charged(pending),
            what: Asked::Play(url),
        };
    }

    fn announce(&mut self, request: &Request, description: Bytes) {
        self.begin();
        let access = Access {
            client: self.client(),
            ..self.access(request)
        };
        info!(stream = %access.key, session = %access.client.id, "publish requested over {}", access.protocol);
        self.registration.comes_from(request.url.clone(), &request.params);
        self.used = true;
        let pending = self.app.link.ask_publish(access, OriginType::RtspPush);
        self.role = Role::Asking {
            pending: self.charged(pending),
            what: Asked::Publish(description),
        };
    }

    fn decide(&mut self, answer: Answer) {
        let Role::Asking { pending, what } = std::mem::replace(&mut self.role, Role::Nothing) else {
            return;
        };
        let now = Instant::now();
        match (answer, what) {
            (Answer::Play(granted), Asked::Play(url)) => {
                let mut player = Box::new(Player::new(granted, url, pending));
                let description = player.describe(&self.app);
                self.role = if description.is_ok() {
                    Role::Player(player)
                } else {
                    failed(player.pending, "the stream has no track that can be sent")
                };
                self.session.describe(now, description);
            }
            (Answer::Publish(granted), Asked::Publish(description)) => {
                match self.publisher(now, &granted, &description) {
                    Ok((ingest, media)) => {
                        self.role = Role::Publisher(Box::new(Publisher {
                            stream: granted.stream,
                            ways: vec![None; media.len()],
                            media,
                            ingest,
                            pending,
                            recording: false,
                        }));
                        self.session.announce(now, Ok(()));
                    }
                    Err(refusal) => {
                        self.role = failed(pending, "what was announced cannot be received");
                        self.session.announce(now, Err(refusal));
                    }
                }
            }
            (Answer::Refused(refusal), Asked::Play(_)) => {
                self.allowed = None;
                self.refused(pending);
                self.session.describe(now, Err(of_engine(refusal)));
            }
            (Answer::Refused(refusal), Asked::Publish(_)) => {
                self.refused(pending);
                self.session.announce(now, Err(of_engine(refusal)));
            }
            // The engine answers what was asked.
            (Answer::Play(_), Asked::Publish(_)) | (Answer::Publish(_), Asked::Play(_)) => {
                self.session.close()
            }
        }
    }

    fn refused(&mut self, mut pending: Pending) {
        pending.guard.ends(true, "refused");
        self.role = Role::Refused(pending);
    }

    fn publisher(
        &self,
        now: Instant,
        granted: &Granted,
        description: &[u8],
    ) -> Result<(Ingest, Vec<sdp::Media>), Refusal> {
        let unusable = |reason: &dyn ToString| Refusal::Unusable(reason.to_string());
        let description = sdp::Session::parse(description).map_err(|error| unusable(&error))?;
        if description.media.is_empty() {
            return Err(unusable(&"the description has no media section"));
        }
        let options = self.app.receive_options(&granted.stream, true);
        let ingest = Ingest::new(now, granted, &self.app, &description.media, |_| true, options);
        let ingest = ingest.map_err(|error| {
            debug!(stream = %granted.key, %error, "the granted stream cannot be written");
            Refusal::Taken
        })?;
        Ok((ingest, description.media))
    }

    fn set_up(&mut self, request: &SetupRequest) -> Result<SetupAnswer, SetupRefused> {
        let (track, way) = (request.track, request.way);
        let (app, local) = (&self.app, plain(self.registration.sock.local).ip());
        let ssrc = match &self.role {
            Role::Player(player) => Some(player.ssrc(app, track)),
            Role::Publisher(_) => None,
            // What was granted is gone.
            _ => return Err(SetupRefused::Transport),
        };
        let answer = match way {
            Ways::Tcp => SetupAnswer::Tcp { ssrc },
            Ways::Udp(rtp, rtcp) => {
                let pair = app.udp_pair(self.registration.sock.local.ip()).map_err(|error| {
                    debug!(session = %self.registration.sock.identifier, %error, "no ports for RTP");
                    SetupRefused::NoPorts
                })?;
                let ports = pair.ports();
                let peer = self.registration.sock.peer.ip();
                self.endpoints.set(track, Endpoint::new(pair, peer, (rtp, rtcp)));
                SetupAnswer::Udp { ssrc, ports }
            }
            Ways::Multicast => {
                let Role::Player(player) = &mut self.role else {
                    return Err(SetupRefused::Transport);
                };
                let group = player.join(app, local).ok_or(SetupRefused::NoPorts)?;
                SetupAnswer::Multicast {
                    ssrc,
                    group: group.address(),
                    ports: group.ports(track).ok_or(SetupRefused::NoPorts)?,
                    ttl: group.ttl(),
                }
            }
        };
        let ways = match &mut self.role {
            Role::Player(player) => player.set_up(track, way),
            Role::Publisher(publisher) => {
                way.choose(track, &mut publisher.ways);
                &publisher.ways
            }
            _ => &[],
        };
        // Tracks that were to travel over UDP before.
        for (track, way) in ways.iter().enumerate() {
            if !matches!(way, Some(Ways::Udp(..))) {
                self.endpoints.remove(track);
            }
        }
        Ok(answer)
    }

    fn play(&mut self) -> Result<PlayAnswer, Refusal> {
        let Role::Player(player) = &mut self.role else {
            return Err(Refusal::NotFound);
        };
        let answer = player.play(&self.app, &mut self.batch, |reader, batch| {
            let _ = reader.next_batch(batch).now_or_never();
        })?;
        self.registration.plays(&player.granted.key, Schema::Rtsp);
        Ok(answer)
    }

    /// Sends what was fetched, the way the tracks were set up.
    async fn send_batch(&mut self, io: &mut Box<dyn Io>) -> io::Result<()> {
        let Role::Player(player) = &mut self.role else {
            self.batch.clear();
            return Ok(());
        };
        let stop = &self.registration.stop;
        let written = if player.takes_all() {
            write_batch(io, &self.batch, stop).await
        } else {
            let (pieces, sent) = player.pieces(&self.batch, &self.endpoints).await;
            if pieces.is_empty() {
                Ok(sent)
            } else {
                write_parts(io, pieces, stop).await.map(|written| written + sent)
            }
        };
        self.batch.clear();
        self.pace.written();
        self.charge(written?);
        Ok(())
    }

    async fn stream_ended(&mut self, io: &mut Box<dyn Io>, reason: EndReason) {
        self.ends(true, format!("the stream ended: {reason}"));
        self.goodbye(io).await;
        self.session.close();
    }

    async fn goodbye(&mut self, io: &mut Box<dyn Io>) {
        if self.land().await.is_err() {
            return;
        }
        if let Role::Player(player) = &self.role
            && let Some(goodbye) = player.goodbye(&self.app, &self.endpoints)
        {
            let _ = write_parts(io, vec![goodbye], &self.registration.stop).await;
        }
    }

    fn datagram(&mut self, datagram: Datagram) {
        let now = Instant::now();
        self.session.heard(now);
        self.charge(datagram.data.len() as u64);
        self.media(now, datagram.track, datagram.control, datagram.data);
    }

    fn media(&mut self, now: Instant, track: usize, control: bool, data: Bytes) {
        let Role::Publisher(publisher) = &mut self.role else {
            return;
        };
        if control {
            publisher.ingest.rtcp(now, track, &data);
        } else if publisher.recording {
            publisher.ingest.rtp(now, track, data);
        }
    }

    async fn timed_out(&mut self, io: &mut Box<dyn Io>) -> io::Result<()> {
        let now = Instant::now();
        if let Role::Publisher(publisher) = &mut self.role {
            if let Err(closed) = publisher.ingest.poll(now) {
                self.ends(true, closed.to_string());
                self.session.close();
                return Ok(());
            }
            let mut out = BytesMut::new();
            for (track, report) in publisher.ingest.reports(now) {
                let Ok(channel) = u8::try_from(track * 2 + 1) else {
                    continue;
                };
                match publisher.ways.get(track).copied().flatten() {
                    Some(Ways::Tcp) => interleave(channel, &report, &mut out),
                    Some(Ways::Udp(..)) => {
                        self.endpoints.send_now(channel, &report);
                    }
                    Some(Ways::Multicast) | None => {}
                }
            }
            if !out.is_empty() {
                let written = write_parts(io, vec![out.freeze()], &self.registration.stop).await?;
                self.charge(written);
            }
        }
        self.session.handle_timeout(now);
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.session.poll_timeout().map(|(at, _)| at);
        let ingest = match &self.role {
            Role::Publisher(publisher) => Some(publisher.ingest.deadline()),
            _ => None,
        };
        [session, ingest].into_iter().flatten().min()
    }

    /// Makes the connection a new session for the engine if it was one already: a session asks for one thing in its life.
    fn begin(&mut self) {
        if std::mem::take(&mut self.used) {
            self.registration.renew();
        }
    }

    fn pending(&mut self) -> Option<&mut Pending> {
        match &mut self.role {
            Role::Nothing | Role::Checking { .. } => None,
            Role::Asking { pending, .. } | Role::Refused(pending) => Some(pending),
            Role::Player(player) => Some(&mut player.pending),
            Role::Publisher(publisher) => Some(&mut publisher.pending),
        }
    }

    fn charge(&mut self, bytes: u64) {
        match self.pending() {
            Some(pending) => pending.guard.add_bytes(bytes),
            None => self.uncharged += bytes,
        }
    }

    /// Charges a new request with what the connection carried before it.
    fn charged(&mut self, mut pending: Pending) -> Pending {
        pending.guard.add_bytes(std::mem::take(&mut self.uncharged));
        pending
    }

    fn ends(&mut self, clean: bool, reason: impl Into<String>) {
        if let Some(pending) = self.pending() {
            pending.guard.ends(clean, reason);
        }
    }

    const fn protocol(&self) -> Protocol {
        if self.tls { Protocol::Rtsps } else { Protocol::Rtsp }
    }

    fn client(&self) -> Client {
        Client {
            session: self.registration.id,
            id: self.registration.sock.identifier.clone(),
            addr: self.registration.sock.peer,
        }
    }

    fn access(&self, request: &Request) -> Access {
        let vhost = self.app.vhost(&request.host, &request.params);
        Access {
            key: StreamKey::new(&vhost, &request.app, &request.stream),
            schema: Schema::Rtsp,
            protocol: self.protocol(),
            params: request.params.clone(),
            client: self.client(),
            authenticated: false,
        }
    }
}

fn of_engine(refusal: EngineRefusal) -> Refusal {
    match refusal {
        EngineRefusal::Denied(text) => Refusal::Denied(text),
        EngineRefusal::NotFound(_) => Refusal::NotFound,
        EngineRefusal::Taken => Refusal::Taken,
        EngineRefusal::Overload(text) => Refusal::Overload(text),
    }
}

/// A request that was granted and could not be served.
fn failed(mut pending: Pending, reason: &str) -> Role {
    pending.guard.ends(false, reason);
    Role::Refused(pending)
}
