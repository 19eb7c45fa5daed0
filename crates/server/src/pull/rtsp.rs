//! Pulling over RTSP and RTSPS.

use super::Attempt;
use crate::dial::{Dialed, dial};
use crate::egress::{WRITE_TIMEOUT, say_goodbye, write_all};
use crate::link::Granted;
use crate::maybe::at;
use crate::session::ingest::rtp::Ingest;
use crate::session::{Io, MEDIA_BLOCK, make_room};
use crate::udp::{Datagram, Endpoint, Endpoints, Pair};
use bytes::{Bytes, BytesMut};
use rtp::sdp::{self, Media};
use rtsp::client::{
    Carrier, ClientSession, Config, Event, KeepAlive, KeepAliveBy, Login, Multicast, Output, Path, Role,
    RtpInfo, Sockets, TrackChoice, Tracks,
};
use rtsp::message::{Limits, interleave};
use rtsp::url::{self, RtspUrl};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tracing::info;

/// Redirections that are followed.
const MAX_REDIRECTS: usize = 5;

/// Pause between signs of life unless the request says otherwise (`beat_interval_ms`).
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Packets that may come before the stream is granted: of a camera that does not wait for its own answer.
const MAX_EARLY: usize = 4096;

pub(super) async fn run(mut attempt: Attempt) -> String {
    let home = match url::parse(&attempt.spec.url) {
        Ok(url) => url,
        Err(error) => return error.to_string(),
    };
    let mut url = home.clone();
    let began = Instant::now();
    let mut redirects = 0;
    loop {
        // What was given for one server is not shown to another, nor in the clear if it was meant for TLS.
        let trusted = url.host == home.host && (url.tls || !home.tls);
        if trusted && url.credentials.is_none() {
            url.credentials = home.credentials.clone();
        }
        let session = attempt.session(&url, trusted);
        match pull(&mut attempt, began, session).await {
            Ok(_) if redirects == MAX_REDIRECTS => {
                return format!("redirected more than {MAX_REDIRECTS} times");
            }
            Ok(Redirected(location)) => match url::parse(&location) {
                Ok(next) => {
                    url = next;
                    redirects += 1;
                }
                Err(error) => return format!("redirected to an address that cannot be used: {error}"),
            },
            Err(reason) => return reason,
        }
    }
}

/// The stream is elsewhere.
struct Redirected(String);

async fn pull(attempt: &mut Attempt, began: Instant, session: Config) -> Result<Redirected, String> {
    let config = attempt.app.config();
    let (url, carrier, by) = (&session.url, session.carrier, session.keep_alive.by);
    let connecting = dial(&config, attempt.job, &url.host, url.port, url.tls);
    let connecting = async { connecting.await.map_err(|error| error.to_string()) };
    let stop = attempt.stop.clone();
    let Dialed { mut io, sock } = tokio::select! {
        biased;
        () = stop.cancelled() => return Err("stopped".to_owned()),
        dialed = attempt.within(began, "rtsp", connecting) => dialed?,
    };
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
        is_set_up: Vec::new(),
        channels: Vec::new(),
        endpoints: Endpoints::default(),
        ingest: None,
        early: Vec::new(),
        starts: Vec::new(),
        local,
        peer,
        carrier,
        sends_reports: by != KeepAliveBy::Commands,
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        ended = puller.run(attempt, &mut io) => return ended,
    }
    // The stream is free at once; the camera is told, since many serve few sessions and keep lost ones for a minute.
    puller.ingest = None;
    puller.session.close(Instant::now());
    let words = std::iter::from_fn(|| puller.session.poll_output()).filter_map(Output::into_bytes);
    say_goodbye(&mut io, words).await;
    Err("stopped".to_owned())
}

/// One connection to a source.
struct Puller {
    session: ClientSession,
    /// All media sections, as the description has them; the session names them by their places.
    media: Vec<Media>,
    /// Which of them will come. As long as `media`.
    is_set_up: Vec<bool>,
    /// The channels of each section's RTP and RTCP, over TCP.
    channels: Vec<Option<(u8, u8)>>,
    endpoints: Endpoints,
    ingest: Option<Ingest>,
    /// Packets that came before the stream was granted: section, RTCP, packet.
    early: Vec<(usize, bool, Bytes)>,
    starts: Vec<RtpInfo>,
    local: SocketAddr,
    peer: SocketAddr,
    carrier: Carrier,
    /// Receiver reports are signs of life, which may be told to be requests only.
    sends_reports: bool,
}

impl Puller {
    /// Until the source ends or fails.
    async fn run(&mut self, attempt: &mut Attempt, io: &mut Box<dyn Io>) -> Result<Redirected, String> {
        let measured = attempt.app.measure(attempt.job);
        let mut buffer = BytesMut::new();
        loop {
            if let Some(redirected) = self.settle(attempt, io).await? {
                return Ok(redirected);
            }
            make_room(&mut buffer, MEDIA_BLOCK);
            let deadline = self.deadline();
            // In no order: neither media nor answers may keep the other waiting.
            tokio::select! {
                datagram = self.endpoints.recv() => {
                    let datagram = datagram.map_err(|error| error.to_string())?;
                    measured.meter.add(datagram.data.len() as u64);
                    self.datagram(datagram);
                }
                count = io.read_buf(&mut buffer) => match count.map_err(|error| error.to_string())? {
                    0 => self.session.connection_closed(Instant::now()),
                    count => {
                        measured.meter.add(count as u64);
                        let taken = self.session.handle_bytes(Instant::now(), &mut buffer);
                        taken.map_err(|error| error.to_string())?;
                    }
                },
                () = at(deadline) => self.timed_out(io).await?,
            }
        }
    }

    /// Does what the session wants done.
    async fn settle<W: AsyncWrite + Unpin>(
        &mut self,
        attempt: &mut Attempt,
        io: &mut W,
    ) -> Result<Option<Redirected>, String> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    write_all(io, &bytes, WRITE_TIMEOUT)
                        .await
                        .map_err(|error| error.to_string())?;
                }
                Output::Close => return Err("end of file".to_owned()),
                Output::Event(event) => {
                    if let Some(redirected) = self.handle(attempt, event).await? {
                        return Ok(Some(redirected));
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

    async fn handle(&mut self, attempt: &mut Attempt, event: Event) -> Result<Option<Redirected>, String> {
        let now = Instant::now();
        match event {
            Event::Described { sdp, .. } => self.described(now, &sdp)?,
            Event::UdpNeeded { track, multicast } => {
                let sockets = self.open(attempt, track, multicast.as_ref())?;
                self.session
                    .sockets(now, track, sockets)
                    .map_err(|error| error.to_string())?;
            }
            Event::CarrierRefused { .. } => {
                info!(stream = %attempt.spec.key, "the source does not send over UDP: asking for TCP");
                self.carrier = Carrier::Tcp;
                self.endpoints = Endpoints::default();
                self.session.fall_back(now).map_err(|error| error.to_string())?;
            }
            Event::SetUp { track, path, .. } => self.set_up(track, &path),
            Event::Redirected(location) => return Ok(Some(Redirected(location))),
            Event::Playing { rtp_info, .. } => {
                self.starts = rtp_info;
                let granted = attempt.granted().await?;
                self.feed(attempt, &granted).await?;
            }
            Event::Data { channel, data } => {
                let of = |channels: &Option<(u8, u8)>| {
                    channels.is_some_and(|(rtp, rtcp)| channel == rtp || channel == rtcp)
                };
                if let Some(section) = self.channels.iter().position(of) {
                    let control = self.channels[section].is_some_and(|(rtp, _)| channel != rtp);
                    self.packet(section, control, data);
                }
            }
            Event::Failed(failure) => return Err(failure.to_string()),
            Event::Ended => return Err("the source ended the stream".to_owned()),
            Event::Recording => {}
        }
        Ok(None)
    }

    fn described(&mut self, now: Instant, description: &str) -> Result<(), String> {
        let description = sdp::Session::parse(description.as_bytes()).map_err(|error| error.to_string())?;
        self.media = description.media;
        self.channels = vec![None; self.media.len()];
        self.is_set_up = vec![false; self.media.len()];
        // The back channel of an ONVIF camera is sound that the camera receives, beside sound that it sends.
        let plays =
            |media: &Media| media.kind == sdp::Kind::Audio && media.direction() != sdp::Direction::SendOnly;
        let has_other_audio = self.media.iter().any(plays);
        let usable = |media: &Media| {
            let comes = match media.direction() {
                sdp::Direction::SendRecv | sdp::Direction::RecvOnly => true,
                sdp::Direction::SendOnly => media.kind != sdp::Kind::Audio || !has_other_audio,
                sdp::Direction::Inactive => false,
            };
            comes && rtp::format::Format::of(media).is_some()
        };
        let choices: Vec<TrackChoice> = self
            .media
            .iter()
            .enumerate()
            .filter(|(_, media)| usable(media))
            .map(|(index, media)| TrackChoice {
                index,
                control: media.control().unwrap_or_default().to_owned(),
            })
            .collect();
        self.session
            .choose(now, &choices)
            .map_err(|error| error.to_string())
    }

    fn open(
        &mut self,
        attempt: &Attempt,
        section: usize,
        group: Option<&Multicast>,
    ) -> Result<Sockets, String> {
        let Some(group) = group else {
            let pair = attempt
                .app
                .udp_pair(self.local.ip())
                .map_err(|error| format!("no ports for RTP: {error}"))?;
            let (rtp, rtcp) = pair.ports();
            // Cameras behind address translation name the address of their own network as the source, so it is no help.
            self.endpoints
                .set(section, Endpoint::new(pair, self.peer.ip(), (0, 0)));
            return Ok(Sockets::Ports(rtp, rtcp));
        };
        if !group.group.is_multicast() {
            return Err(format!("{} is no multicast group", group.group));
        }
        let buffer = usize::try_from(attempt.app.config().rtp_proxy.udp_recv_buffer).unwrap_or(usize::MAX);
        let (counters, ports) = (&attempt.app.counters.rtp, (group.rtp, group.rtcp));
        let pair = Pair::join(group.group, self.local.ip(), ports, buffer, counters)
            .map_err(|error| format!("cannot join the group {}: {error}", group.group))?;
        let source = group.source.unwrap_or(self.peer.ip());
        self.endpoints.set(section, Endpoint::new(pair, source, (0, 0)));
        Ok(Sockets::Joined)
    }

    fn set_up(&mut self, section: usize, path: &Path) {
        let (Some(is_set_up), Some(channels)) =
            (self.is_set_up.get_mut(section), self.channels.get_mut(section))
        else {
            return;
        };
        *is_set_up = true;
        match path {
            Path::Interleaved { rtp, rtcp } => *channels = Some((*rtp, *rtcp)),
            Path::Unicast { server, .. } => {
                if let (Some(ports), Some(endpoint)) = (server, self.endpoints.get_mut(section)) {
                    endpoint.talk_to(*ports);
                    endpoint.punch();
                }
            }
            Path::Multicast(_) => {}
        }
    }

    /// The stream is granted: what came meanwhile, and what will come, is for it.
    async fn feed(&mut self, attempt: &mut Attempt, granted: &Granted) -> Result<(), String> {
        let ordered = self.carrier == Carrier::Tcp;
        let options = attempt.app.receive_options(&granted.stream, ordered);
        let (app, media, is_set_up) = (&attempt.app, &self.media, &self.is_set_up);
        let chosen = |section: usize| is_set_up.get(section).is_some_and(|set_up| *set_up);
        let ingest = attempt
            .leased(|| Ingest::new(Instant::now(), granted, app, media, chosen, options))
            .await?;
        let ingest = self.ingest.insert(ingest);
        for start in std::mem::take(&mut self.starts) {
            if let Some(timestamp) = start.rtptime {
                ingest.anchor(start.track, timestamp);
            }
        }
        for (section, control, data) in std::mem::take(&mut self.early) {
            self.packet(section, control, data);
        }
        Ok(())
    }

    fn packet(&mut self, section: usize, control: bool, data: Bytes) {
        let now = Instant::now();
        match &mut self.ingest {
            Some(ingest) if control => {
                // The end of the stream is told by the connection or by silence: cameras say goodbye to tracks at odd times.
                ingest.rtcp(now, section, &data);
            }
            Some(ingest) => ingest.rtp(now, section, data),
            None if self.early.len() < MAX_EARLY => self.early.push((section, control, data)),
            None => {}
        }
    }

    fn datagram(&mut self, datagram: Datagram) {
        let Datagram { track, control, data } = datagram;
        self.session.media_arrived(Instant::now());
        self.packet(track, control, data);
    }

    async fn timed_out<W: AsyncWrite + Unpin>(&mut self, io: &mut W) -> Result<(), String> {
        let now = Instant::now();
        self.session.handle_timeout(now);
        let Some(ingest) = &mut self.ingest else {
            return Ok(());
        };
        ingest.poll(now).map_err(|closed| closed.to_string())?;
        let mut out = BytesMut::new();
        let reports = ingest.reports(now);
        for (section, report) in reports.into_iter().filter(|_| self.sends_reports) {
            match self.channels.get(section).copied().flatten() {
                Some((_, channel)) => interleave(channel, &report, &mut out),
                None => {
                    if let Some(endpoint) = self.endpoints.get_mut(section) {
                        endpoint.send_now(true, &report);
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
    fn session(&self, url: &RtspUrl, trusted: bool) -> Config {
        let user = self
            .option("rtsp_user")
            .filter(|user| trusted && !user.is_empty());
        let login = user.map(|user| {
            let user = user.to_owned();
            let secret = self.option("rtsp_pwd").unwrap_or_default().to_owned();
            match self.option("rtsp_pwd_md5") {
                Some(flag) if !matches!(flag, "" | "0" | "false") => Login::Ha1Md5 { user, ha1: secret },
                Some(_) | None => Login::Password {
                    user,
                    password: secret,
                },
            }
        });
        let interval = self
            .option("beat_interval_ms")
            .and_then(|value| value.parse().ok());
        Config {
            carrier: match self.option("rtp_type") {
                Some("1") => Carrier::Udp,
                Some("2") => Carrier::Multicast,
                Some(_) | None => Carrier::Tcp,
            },
            timeout: self.spec.timeout,
            media_timeout: self.media_timeout,
            keep_alive: KeepAlive {
                interval: interval.map_or(KEEP_ALIVE, Duration::from_millis),
                by: match self.option("rtsp_beat_type") {
                    Some("1") => KeepAliveBy::Rtcp,
                    Some("2") => KeepAliveBy::Commands,
                    Some(_) | None => KeepAliveBy::Both,
                },
            },
            user_agent: concat!("Tidegate/", env!("CARGO_PKG_VERSION")).to_owned(),
            login,
            tracks: match self.option("play_track") {
                Some("1") => Tracks::Video,
                Some("2") => Tracks::Audio,
                Some(_) | None => Tracks::All,
            },
            scale: self.option("rtsp_speed").and_then(|value| value.parse().ok()),
            headers: if trusted {
                self.custom_headers()
            } else {
                Vec::new()
            },
            ..Config::new(url.clone(), Role::Play)
        }
    }
}
