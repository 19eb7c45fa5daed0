//! Pulling over RTSP and RTSPS.

use super::Attempt;
use crate::deadline::at;
use crate::dial::{Dialed, dial};
use crate::egress::{WRITE_TIMEOUT, write_all};
use crate::link::Granted;
use crate::session::ingest::rtp::Ingest;
use crate::session::{MEDIA_BLOCK, make_room};
use crate::udp::{Datagram, Endpoint, Endpoints, Pair};
use bytes::{Bytes, BytesMut};
use media::MediaKind;
use rtp::sdp::{self, Media};
use rtsp::auth::Password;
use rtsp::client::{ClientSession, Config, Event, Output, Role, SetUp, Start, TrackChoice, Transport};
use rtsp::message::{Limits, interleave};
use rtsp::url::Url;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tracing::info;

/// Redirections that are followed.
const MAX_REDIRECTS: usize = 5;

/// Pause between signs of life unless the request says otherwise (`beat_interval_ms`).
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Media that may come before the stream is granted: data of a camera that does not wait for its own answer.
const MAX_EARLY: usize = 4096;

pub(super) async fn run(mut attempt: Attempt) -> String {
    let home = match Url::parse(&attempt.spec.url) {
        Ok(url) => url,
        Err(error) => return error.to_string(),
    };
    let mut url = home.clone();
    let mut transport = match attempt.option("rtp_type") {
        Some("1") => Transport::Udp,
        Some("2") => Transport::Multicast,
        _ => Transport::Tcp,
    };
    let began = Instant::now();
    let mut redirects = 0;
    loop {
        // What was given for one server is not shown to another, nor in the clear if it was meant for TLS.
        let trusted = url.host == home.host && url.port == home.port && (url.tls || !home.tls);
        let session = attempt.session(&url, transport, trusted);
        match pull(&mut attempt, began, session).await {
            Ok(Next::TryTcp) => {
                info!(stream = %attempt.spec.key, "the source does not send over UDP: asking for TCP");
                transport = Transport::Tcp;
            }
            Ok(Next::Redirected(location)) if redirects < MAX_REDIRECTS => {
                redirects += 1;
                url = match Url::parse(&location) {
                    Ok(next) => next,
                    Err(error) => return format!("redirected to an address that cannot be used: {error}"),
                };
                if url.host == home.host && (url.tls || !home.tls) && url.credentials.is_none() {
                    url.credentials = home.credentials.clone();
                }
            }
            Ok(Next::Redirected(_)) => return format!("redirected more than {MAX_REDIRECTS} times"),
            Err(reason) => return reason,
        }
    }
}

/// How one connection can end without being a failure.
enum Next {
    TryTcp,
    Redirected(String),
}

async fn pull(attempt: &mut Attempt, began: Instant, session: Config) -> Result<Next, String> {
    let config = attempt.app.config();
    let (url, transport) = (&session.url, session.transport);
    let connecting = dial(&config, attempt.job, &url.host, url.port, url.tls);
    let connecting = async { connecting.await.map_err(|error| error.to_string()) };
    let Dialed { mut io, sock } = attempt.within(began, "rtsp", connecting).await?;
    let (local, peer) = (sock.local, sock.peer);
    *attempt.sock.lock() = Some(sock);
    let session = Config {
        timeout: attempt.spec.timeout.saturating_sub(began.elapsed()),
        limits: Limits {
            max_data: usize::try_from(config.rtp.max_bytes).unwrap_or(usize::MAX),
            ..Limits::default()
        },
        ..session
    };
    drop(config);
    let mut puller = Puller {
        session: ClientSession::new(session, rand::random(), Instant::now()),
        media: Vec::new(),
        channels: Vec::new(),
        endpoints: Endpoints::default(),
        ingest: None,
        early: Vec::new(),
        starts: Vec::new(),
        local,
        peer,
        transport,
    };
    let measured = attempt.app.measure(attempt.job);
    let mut buffer = BytesMut::new();
    loop {
        if let Some(next) = puller.settle(attempt, &mut io).await? {
            return Ok(next);
        }
        make_room(&mut buffer, MEDIA_BLOCK);
        let deadline = puller.deadline();
        tokio::select! {
            biased;
            datagram = puller.endpoints.recv() => {
                let datagram = datagram.map_err(|error| error.to_string())?;
                measured.meter.add(datagram.data.len() as u64);
                puller.datagram(datagram);
            }
            count = io.read_buf(&mut buffer) => match count.map_err(|error| error.to_string())? {
                0 => return Err("end of file".to_owned()),
                count => {
                    measured.meter.add(count as u64);
                    puller.session.handle_bytes(Instant::now(), &mut buffer).map_err(|error| error.to_string())?;
                }
            },
            () = at(deadline) => puller.timed_out(&mut io).await?,
        }
    }
}

/// One connection to a source.
struct Puller {
    session: ClientSession,
    /// The media sections that are pulled, as the session numbers them.
    media: Vec<Media>,
    /// The RTP channel of each track, over TCP.
    channels: Vec<Option<u8>>,
    endpoints: Endpoints,
    ingest: Option<Ingest>,
    /// Packets that came before the stream was granted.
    early: Vec<(usize, bool, Bytes)>,
    starts: Vec<Start>,
    local: SocketAddr,
    peer: SocketAddr,
    transport: Transport,
}

impl Puller {
    /// Does what the session wants done.
    async fn settle<W>(&mut self, attempt: &mut Attempt, io: &mut W) -> Result<Option<Next>, String>
    where
        W: tokio::io::AsyncWrite + Unpin,
    {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    write_all(io, &bytes, WRITE_TIMEOUT)
                        .await
                        .map_err(|error| error.to_string())?;
                }
                Output::Close => return Err("end of file".to_owned()),
                Output::Event(event) => {
                    if let Some(next) = self.handle(attempt, event).await? {
                        return Ok(Some(next));
                    }
                }
            }
        }
        if let Some(ingest) = &mut self.ingest {
            ingest
                .flush(Instant::now())
                .map_err(|closed| closed.to_string())?;
        }
        Ok(None)
    }

    async fn handle(&mut self, attempt: &mut Attempt, event: Event) -> Result<Option<Next>, String> {
        match event {
            Event::Described(description) => self.described(attempt, &description)?,
            Event::PortsNeeded { track } => {
                let pair = attempt
                    .app
                    .udp_pair(self.local.ip())
                    .map_err(|error| format!("no ports for RTP: {error}"))?;
                let ports = pair.ports();
                self.endpoints
                    .set(track, Endpoint::new(pair, self.peer.ip(), (0, 0)));
                self.session.ports(ports);
            }
            Event::SetUp(set_up) => self.set_up(attempt, &set_up)?,
            Event::TransportRefused => return Ok(Some(Next::TryTcp)),
            Event::Redirected(location) => return Ok(Some(Next::Redirected(location))),
            Event::Playing(starts) => {
                self.starts = starts;
                let granted = attempt.granted().await?;
                self.feed(attempt, &granted).await?;
            }
            Event::Data { track, control, data } => self.packet(track, control, data),
            Event::Failed(failure) => return Err(failure.to_string()),
            Event::Ended => return Err("the source ended the stream".to_owned()),
            Event::Recording => {}
        }
        Ok(None)
    }

    fn described(&mut self, attempt: &Attempt, description: &[u8]) -> Result<(), String> {
        let description = sdp::Session::parse(description).map_err(|error| error.to_string())?;
        let wanted = match attempt.option("play_track") {
            Some("1") => Some(MediaKind::Video),
            Some("2") => Some(MediaKind::Audio),
            _ => None,
        };
        // Of what the source offers: sound and pictures that come this way. The back channel of an ONVIF camera is marked as
        // one that it does not send.
        let plays =
            |media: &&Media| media.kind == sdp::Kind::Audio && media.direction() != sdp::Direction::SendOnly;
        let has_other_audio = description.media.iter().any(|media| plays(&media));
        let usable = |media: &&Media| {
            let kind = match media.kind {
                sdp::Kind::Video => MediaKind::Video,
                sdp::Kind::Audio => MediaKind::Audio,
                sdp::Kind::Application | sdp::Kind::Other => return false,
            };
            let sent = match media.direction() {
                sdp::Direction::SendRecv | sdp::Direction::RecvOnly => true,
                sdp::Direction::SendOnly => !(kind == MediaKind::Audio && has_other_audio),
                sdp::Direction::Inactive => false,
            };
            wanted.is_none_or(|wanted| wanted == kind) && sent && rtp::format::Format::of(media).is_some()
        };
        self.media = description.media.iter().filter(usable).cloned().collect();
        self.channels = vec![None; self.media.len()];
        let choices = self
            .media
            .iter()
            .map(|media| TrackChoice {
                control: media.control().unwrap_or_default().to_owned(),
            })
            .collect();
        self.session.choose(choices, description.control.clone());
        Ok(())
    }

    fn set_up(&mut self, attempt: &Attempt, set_up: &SetUp) -> Result<(), String> {
        self.channels[set_up.track] = set_up.channel;
        let buffer = usize::try_from(attempt.app.config().rtp_proxy.udp_recv_buffer).unwrap_or(usize::MAX);
        match self.transport {
            Transport::Tcp => {}
            Transport::Udp => {
                if let Some(endpoint) = self.endpoints.get_mut(set_up.track) {
                    // Cameras behind address translation name the address of their own network as the source, so it is no help.
                    if let Some(ports) = set_up.server_ports {
                        endpoint.talk_to(ports);
                        endpoint.punch();
                    }
                }
            }
            Transport::Multicast => {
                let Some((group, ports)) = set_up.group.filter(|(group, _)| group.is_multicast()) else {
                    return Err("the source names no multicast group".to_owned());
                };
                let pair = Pair::join(group, self.local.ip(), ports, buffer)
                    .map_err(|error| format!("cannot join the group {group}: {error}"))?;
                let endpoint = Endpoint::new(pair, set_up.source.unwrap_or(self.peer.ip()), (0, 0));
                self.endpoints.set(set_up.track, endpoint);
            }
        }
        Ok(())
    }

    /// The stream is granted: what came meanwhile, and what will come, is for it.
    async fn feed(&mut self, attempt: &mut Attempt, granted: &Granted) -> Result<(), String> {
        let options = attempt.app.receive_options(self.transport == Transport::Tcp);
        let link = attempt.app.link.clone();
        let media = &self.media;
        let ingest = attempt
            .leased(|| Ingest::new(Instant::now(), granted, link.clone(), media, options))
            .await?;
        let ingest = self.ingest.insert(ingest);
        for start in std::mem::take(&mut self.starts) {
            ingest.anchor(start.track, start.timestamp);
        }
        for (track, control, data) in std::mem::take(&mut self.early) {
            self.packet(track, control, data);
        }
        Ok(())
    }

    fn packet(&mut self, track: usize, control: bool, data: Bytes) {
        let now = Instant::now();
        match &mut self.ingest {
            Some(ingest) if control => {
                // The end of the stream is told by the connection or by silence: cameras say goodbye to tracks at odd times.
                ingest.rtcp(now, track, &data);
            }
            Some(ingest) => ingest.rtp(now, track, data),
            None if self.early.len() < MAX_EARLY => self.early.push((track, control, data)),
            None => {}
        }
    }

    fn datagram(&mut self, datagram: Datagram) {
        let Datagram { track, control, data } = datagram;
        self.session.media_arrived(Instant::now());
        self.packet(track, control, data);
    }

    async fn timed_out<W>(&mut self, io: &mut W) -> Result<(), String>
    where
        W: tokio::io::AsyncWrite + Unpin,
    {
        let now = Instant::now();
        self.session.handle_timeout(now);
        let Some(ingest) = &mut self.ingest else {
            return Ok(());
        };
        ingest.poll(now).map_err(|closed| closed.to_string())?;
        let mut out = BytesMut::new();
        for (track, report) in ingest.reports(now) {
            match self.channels.get(track).copied().flatten() {
                Some(channel) => interleave(channel.wrapping_add(1), &report, &mut out),
                None => {
                    if let Some(endpoint) = self.endpoints.get_mut(track) {
                        endpoint.send(true, &report);
                    }
                }
            }
        }
        if !out.is_empty() {
            write_all(io, &out, WRITE_TIMEOUT)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let ingest = self.ingest.as_ref().map(Ingest::deadline);
        [self.session.poll_timeout(), ingest].into_iter().flatten().min()
    }
}

impl Attempt {
    /// `trusted`: the server is the one that credentials and headers of the request were given for.
    fn session(&self, url: &Url, transport: Transport, trusted: bool) -> Config {
        let milliseconds = |name| {
            self.option(name)
                .and_then(|value| value.parse().ok())
                .map(Duration::from_millis)
        };
        let hashed = self
            .option("rtsp_pwd_md5")
            .is_some_and(|value| value != "0" && value != "false");
        let user = self
            .option("rtsp_user")
            .filter(|user| trusted && !user.is_empty());
        let credentials = user.map(|user| {
            let password = self.option("rtsp_pwd").unwrap_or_default().to_owned();
            let password = if hashed {
                Password::Ha1Md5(password)
            } else {
                Password::Plain(password)
            };
            (user.to_owned(), password)
        });
        Config {
            url: url.clone(),
            role: Role::Play,
            transport,
            timeout: self.spec.timeout,
            media_timeout: self.media_timeout,
            keep_alive: milliseconds("beat_interval_ms").unwrap_or(KEEP_ALIVE),
            keep_alive_requests: self.option("rtsp_beat_type") != Some("1"),
            credentials,
            user_agent: concat!("Tidegate/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: if trusted {
                self.custom_headers()
            } else {
                Vec::new()
            },
            limits: Limits::default(),
        }
    }
}
