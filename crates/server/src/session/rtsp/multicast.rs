//! Streams sent to multicast groups: one sender for all players of a stream (`[multicast]`).

use crate::app::App;
use crate::containers::{self, RTSP};
use crate::link::Granted;
use hub::{Batch, Next, ReaderOptions, Stream};
use media::Schema;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

/// The groups that streams are sent to.
#[derive(Debug, Default)]
pub struct Groups(Mutex<HashMap<u64, Weak<Group>>>);

/// One stream's group. Its sender ends with the last player that holds it.
#[derive(Debug)]
pub struct Group {
    address: Ipv4Addr,
    /// The RTP port of the first track; each track has this and the next, and the tracks follow each other.
    base: u16,
    ttl: u8,
    local: IpAddr,
    started: AtomicBool,
    stop: CancellationToken,
    _end: DropGuard,
}

/// Tracks of one group at most: as many as the shortest port range has pairs.
const MAX_TRACKS: u16 = config::PortRange::MIN_LEN / 2 - 1;

impl Groups {
    /// The group of a stream, made if need be. `local`: our address, which decides the network it is sent to. `None`: no address
    /// is left, or multicast is not possible there.
    pub fn join(&self, app: &App, granted: &Granted, local: IpAddr) -> Option<Arc<Group>> {
        let mut groups = self.0.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        if let Some(group) = groups.get(&granted.incarnation).and_then(Weak::upgrade) {
            return Some(group);
        }
        let config = app.config();
        let taken: HashSet<Ipv4Addr> = groups
            .values()
            .filter_map(Weak::upgrade)
            .map(|group| group.address)
            .collect();
        let (first, last) = (config.multicast.first, config.multicast.last);
        let span = u32::from(last).checked_sub(u32::from(first))?;
        // From the stream's number on, so that a group is not used again at once.
        let start = (granted.incarnation % (u64::from(span) + 1)) as u32;
        let address = (0..=span)
            .take(taken.len() + 1)
            .map(|turn| Ipv4Addr::from(u32::from(first) + (start + turn) % (span + 1)))
            .find(|address| !taken.contains(address))?;
        // The ports of a group are bound by its receivers, so they need not be free here.
        let (base, _) = config.rtp_proxy.port_range.pairs().next()?;
        let stop = CancellationToken::new();
        let group = Arc::new(Group {
            address,
            base,
            ttl: config.multicast.ttl,
            local,
            started: AtomicBool::new(false),
            _end: stop.clone().drop_guard(),
            stop,
        });
        groups.insert(granted.incarnation, Arc::downgrade(&group));
        Some(group)
    }
}

impl Group {
    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// The ports of a track, RTP first.
    pub fn ports(&self, track: usize) -> (u16, u16) {
        let track = u16::try_from(track).unwrap_or(MAX_TRACKS).min(MAX_TRACKS - 1);
        let rtp = self.base + track * 2;
        (rtp, rtp + 1)
    }

    /// Hops that its packets may take.
    pub fn ttl(&self) -> u8 {
        self.ttl
    }

    /// Starts to send, if nobody has yet.
    pub fn start(self: &Arc<Self>, app: &Arc<App>, granted: &Granted) {
        if self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let (app, stream, stop) = (app.clone(), granted.stream.clone(), self.stop.clone());
        let sender = Sender {
            address: self.address,
            base: self.base,
        };
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(error) => {
                warn!(group = %self.address, %error, "multicast is not possible here");
                return;
            }
        };
        info!(stream = %stream.key(), group = %self.address, port = self.base, "sending to a multicast group");
        let tasks = app.tasks.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = app.stop.cancelled() => {}
                ended = sender.run(&app, &stream, &socket) => debug!(stream = %stream.key(), ?ended, "multicast ended"),
            }
        });
    }

    fn socket(&self) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_multicast_ttl_v4(self.ttl.into())?;
        if let IpAddr::V4(local) = self.local {
            socket.set_multicast_if_v4(&local)?;
        }
        socket.bind(&SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0).into())?;
        UdpSocket::from_std(socket.into())
    }
}

struct Sender {
    address: Ipv4Addr,
    base: u16,
}

impl Sender {
    async fn run(&self, app: &Arc<App>, stream: &Arc<Stream>, socket: &UdpSocket) -> io::Result<()> {
        let style = app.rtp_style();
        let options = ReaderOptions::player(Schema::Rtsp);
        let mut reader = stream
            .reader(RTSP, options, || containers::rtsp(app, stream, style))
            .map_err(io::Error::other)?;
        let mut batch = Batch::default();
        while !matches!(reader.next_batch(&mut batch).await, Next::Ended(_)) {
            for part in batch.packets().iter().flat_map(|packet| &packet.parts) {
                for (channel, packet) in rtp::mux::frames(part.clone()) {
                    let to = (self.address, self.base + u16::from(channel));
                    // A packet that the network cannot take now is lost, as any other may be.
                    let _ = socket.send_to(&packet, to).await;
                }
            }
            batch.clear();
        }
        Ok(())
    }
}
