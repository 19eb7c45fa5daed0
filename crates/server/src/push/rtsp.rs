//! Pushing over RTSP and RTSPS.

use crate::app::App;
use crate::containers::{self, RTSP};
use crate::dial::{Dialed, dial};
use crate::egress::{say_goodbye, write_parts};
use crate::maybe::{at, some};
use crate::udp::{Endpoint, Endpoints, SEND_PATIENCE};
use bytes::{Bytes, BytesMut};
use hub::{Batch, Next, Reader, ReaderOptions, Stream};
use lifecycle::op::PushSpec;
use lifecycle::{Event, JobId};
use rtp::sdp;
use rtsp::client::{
    Carrier, ClientSession, Config, Event as RtspEvent, KeepAlive, KeepAliveBy, Output, Path, Role, Sockets,
};
use rtsp::url;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Pause between signs of life; servers count what is sent to them, too.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

pub(super) async fn push(
    app: &Arc<App>,
    job: JobId,
    spec: &PushSpec,
    stream: &Arc<Stream>,
    stop: &CancellationToken,
) -> Result<String, String> {
    let began = Instant::now();
    let url = url::parse(&spec.dst_url).map_err(|error| error.to_string())?;
    let option = |name: &str| spec.client_options.iter().find(|(key, _)| key == name);
    let udp = option("rtp_type").is_some_and(|(_, value)| value == "1");
    let config = app.config();
    let connecting = timeout(spec.timeout, dial(&config, job, &url.host, url.port, url.tls));
    let connected = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok("stopped".to_owned()),
        connected = connecting => connected.map_err(|_| "publish rtsp timeout")?,
    };
    let Dialed { mut io, sock } = connected.map_err(|error| error.to_string())?;
    drop(config);
    let style = app.rtp_style(stream);
    // What is described now is what players of the remote get: the same tracks, in the same channels, as ours.
    let mut media = rtp::mux::describe(&stream.tracks(), style.direct);
    let tracks = media.len();
    for (index, section) in media.iter_mut().enumerate() {
        // Names of our own, since a publisher's may not be told apart.
        section.attributes.retain(|(name, _)| name != "control");
        section
            .attributes
            .push(("control".to_owned(), Some(format!("streamid={index}"))));
    }
    let name = concat!("Tidegate/", env!("CARGO_PKG_VERSION"));
    let role = Role::Publish {
        sdp: sdp::Session::live(name, media).to_string(),
    };
    let session = Config {
        carrier: if udp { Carrier::Udp } else { Carrier::Tcp },
        timeout: spec.timeout.saturating_sub(began.elapsed()),
        keep_alive: KeepAlive {
            interval: KEEP_ALIVE,
            by: KeepAliveBy::Both,
        },
        user_agent: name.to_owned(),
        ..Config::new(url, role)
    };
    let mut session = ClientSession::new(session, rand::random(), Instant::now());
    let measured = app.measure(job);
    let mut pusher = Pusher {
        reader: None,
        channels: vec![None; tracks],
        endpoints: Endpoints::default(),
    };
    let mut batch = Batch::default();
    let mut buffer = BytesMut::new();
    loop {
        let mut pieces = Vec::new();
        let mut closed = false;
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => pieces.push(bytes),
                Output::Close => closed = true,
                Output::Event(RtspEvent::UdpNeeded { track, .. }) => {
                    let pair = app
                        .udp_pair(sock.local.ip())
                        .map_err(|error| format!("no ports for RTP: {error}"))?;
                    let (rtp, rtcp) = pair.ports();
                    pusher
                        .endpoints
                        .set(track, Endpoint::new(pair, sock.peer.ip(), (0, 0)));
                    let told = session.sockets(Instant::now(), track, Sockets::Ports(rtp, rtcp));
                    told.map_err(|error| error.to_string())?;
                }
                Output::Event(RtspEvent::SetUp { track, path, .. }) => match path {
                    Path::Interleaved { rtp, rtcp } => {
                        if let Some(channels) = pusher.channels.get_mut(track) {
                            *channels = Some((rtp, rtcp));
                        }
                    }
                    Path::Unicast { server, .. } => {
                        if let (Some(endpoint), Some(ports)) = (pusher.endpoints.get_mut(track), server) {
                            endpoint.talk_to(ports);
                        }
                    }
                    Path::Multicast(_) => {}
                },
                Output::Event(RtspEvent::Recording) => {
                    let options = ReaderOptions::player(spec.schema);
                    let attached = stream.reader(RTSP, options, || containers::rtsp(app, stream, style));
                    pusher.reader = Some(attached.map_err(|error| error.to_string())?);
                    app.link.raise(Event::PushStarted { job });
                }
                Output::Event(RtspEvent::Failed(failure)) => return Err(failure.to_string()),
                Output::Event(RtspEvent::Ended) => return Err("the remote ended the stream".to_owned()),
                Output::Event(RtspEvent::Redirected(_)) => {
                    return Err("redirected, which is not followed".to_owned());
                }
                Output::Event(RtspEvent::CarrierRefused { .. }) => {
                    return Err("the remote takes no UDP".to_owned());
                }
                Output::Event(
                    RtspEvent::Described { .. } | RtspEvent::Playing { .. } | RtspEvent::Data { .. },
                ) => {}
            }
        }
        if !pieces.is_empty() {
            let written = write_parts(&mut io, pieces, stop).await;
            measured.meter.add(written.map_err(|error| error.to_string())?);
        }
        if closed {
            return Ok("closed".to_owned());
        }
        let deadline = session.poll_timeout();
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                session.close(Instant::now());
                let words = std::iter::from_fn(|| session.poll_output()).filter_map(Output::into_bytes);
                say_goodbye(&mut io, words).await;
                return Ok("stopped".to_owned());
            }
            next = some(pusher.reader.as_mut().map(|reader| reader.next_batch(&mut batch))) => match next {
                Next::Packets | Next::Lagged { .. } => {
                    let (pieces, sent) = pusher.pieces(&batch).await;
                    batch.clear();
                    measured.meter.add(sent);
                    if !pieces.is_empty() {
                        let written = write_parts(&mut io, pieces, stop).await;
                        measured.meter.add(written.map_err(|error| error.to_string())?);
                    }
                }
                Next::Ended(_) => session.close(Instant::now()),
            },
            // Receiver reports: of no use here, but a socket that is not read fills up.
            datagram = pusher.endpoints.recv() => drop(datagram.map_err(|error| error.to_string())?),
            count = io.read_buf(&mut buffer) => match count.map_err(|error| error.to_string())? {
                0 => session.connection_closed(Instant::now()),
                _ => session.handle_bytes(Instant::now(), &mut buffer).map_err(|error| error.to_string())?,
            },
            () = at(deadline) => session.handle_timeout(Instant::now()),
        }
    }
}

struct Pusher {
    reader: Option<Reader>,
    /// The channels of each track's RTP and RTCP, over TCP.
    channels: Vec<Option<(u8, u8)>>,
    endpoints: Endpoints,
}

impl Pusher {
    /// What to write, and how many bytes were sent over UDP. Packets are already framed for channels `2n`; they are framed anew if
    /// the remote wants others.
    async fn pieces(&mut self, batch: &Batch) -> (Vec<Bytes>, u64) {
        let usual = |(track, channels): (usize, &Option<(u8, u8)>)| {
            let channel = u8::try_from(track * 2).ok();
            *channels == channel.map(|channel| (channel, channel + 1))
        };
        let parts = batch.packets().iter().flat_map(|packet| &packet.parts);
        if self.endpoints.is_empty() && self.channels.iter().enumerate().all(usual) {
            return (parts.cloned().collect(), 0);
        }
        let (mut pieces, mut sent) = (Vec::new(), 0);
        let until = Instant::now() + SEND_PATIENCE;
        for (channel, packet) in parts.cloned().flat_map(rtp::mux::frames) {
            match self.channels.get(usize::from(channel / 2)).copied().flatten() {
                Some((rtp, rtcp)) => {
                    let mut framed = BytesMut::with_capacity(packet.len() + ::rtp::mux::FRAME_HEAD);
                    let to = if channel % 2 == 0 { rtp } else { rtcp };
                    rtsp::message::interleave(to, &packet, &mut framed);
                    pieces.push(framed.freeze());
                }
                None => sent += self.endpoints.send(channel, &packet, until).await as u64,
            }
        }
        (pieces, sent)
    }
}
