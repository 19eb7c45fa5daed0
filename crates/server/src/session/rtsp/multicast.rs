//! Streams sent to multicast groups: one sender for all players of a stream (`[multicast]`).

use crate::app::App;
use crate::containers::{self, RTSP};
use crate::link::Granted;
use hub::{Batch, Next, ReadError, Reader, ReaderOptions, Stream};
use media::Schema;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info};

/// The groups that streams are sent to.
#[derive(Debug, Default)]
pub struct Groups(Mutex<HashMap<Network, Weak<Group>>>);

/// A stream's number, and our address in the network that it is sent to.
type Network = (u64, IpAddr);

/// One stream's group. Its sender ends with the last player that holds it.
#[derive(Debug)]
pub struct Group {
    address: Ipv4Addr,
    /// The RTP port of the first track; each track has this and the next, and the tracks follow each other.
    base: u16,
    ttl: u8,
    local: IpAddr,
    started: Mutex<bool>,
    stop: CancellationToken,
    _end: DropGuard,
}

/// Tracks of one group at most: as many as the shortest port range has pairs.
const MAX_TRACKS: u16 = config::PortRange::MIN_LEN / 2 - 1;

impl Groups {
    /// The group of a stream, made if need be. `local`: our address, which decides the network it is sent to. `None`: no address
    /// is left.
    pub fn join(&self, app: &App, granted: &Granted, local: IpAddr) -> Option<Arc<Group>> {
        let mut groups = self.0.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        if let Some(group) = groups.get(&(granted.incarnation, local)).and_then(Weak::upgrade) {
            return Some(group);
        }
        let config = app.config();
        let live: Vec<Arc<Group>> = groups.values().filter_map(Weak::upgrade).collect();
        let taken: HashSet<Ipv4Addr> = live.iter().map(|group| group.address).collect();
        let (first, last) = (config.multicast.first, config.multicast.last);
        let span = u32::from(last).checked_sub(u32::from(first))?;
        // From the stream's number on, so that a group is not used again at once.
        let start = (granted.incarnation % (u64::from(span) + 1)) as u32;
        let address = (0..=span)
            .take(taken.len() + 1)
            .map(|turn| Ipv4Addr::from(u32::from(first) + (start + turn) % (span + 1)))
            .find(|address| !taken.contains(address))?;
        // The ports of a group are bound by its receivers, so they need not be free here. Each group has its own as long as the range
        // lasts: receivers that do not bind to the group's address hear all groups of their host on a port.
        let bases = || {
            let pairs = config.rtp_proxy.port_range.pairs();
            pairs.step_by(usize::from(MAX_TRACKS)).map(|(rtp, _)| rtp)
        };
        let fits = |base: &u16| {
            u32::from(*base) + u32::from(MAX_TRACKS) * 2 - 1 <= u32::from(config.rtp_proxy.port_range.last)
        };
        let free = |base: &u16| live.iter().all(|group| group.base != *base);
        let base = bases().filter(fits).find(free).or_else(|| bases().next())?;
        let stop = CancellationToken::new();
        let group = Arc::new(Group {
            address,
            base,
            ttl: config.multicast.ttl,
            local,
            started: Mutex::new(false),
            _end: stop.clone().drop_guard(),
            stop,
        });
        groups.insert((granted.incarnation, local), Arc::downgrade(&group));
        Some(group)
    }
}

impl Group {
    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// The ports of a track, RTP first. `None`: a stream has fewer tracks.
    pub fn ports(&self, track: usize) -> Option<(u16, u16)> {
        let track = u16::try_from(track).ok().filter(|track| *track < MAX_TRACKS)?;
        let rtp = self.base.checked_add(track * 2)?;
        Some((rtp, rtp.checked_add(1)?))
    }

    /// Hops that its packets may take.
    pub fn ttl(&self) -> u8 {
        self.ttl
    }

    /// Starts to send, if nobody has yet.
    ///
    /// # Errors
    ///
    /// The stream has ended, or the network takes no multicast.
    pub fn start(self: &Arc<Self>, app: &Arc<App>, stream: &Arc<Stream>) -> Result<(), Error> {
        let mut started = self.started.lock();
        if *started {
            return Ok(());
        }
        let (style, options) = (app.rtp_style(stream), ReaderOptions::player(Schema::Rtsp));
        let reader = stream.reader(RTSP, options, || containers::rtsp(app, stream, style))?;
        let sender = Sender {
            address: self.address,
            base: self.base,
            socket: self.socket()?,
            reader,
        };
        *started = true;
        info!(stream = %stream.key(), group = %self.address, port = self.base, "sending to a multicast group");
        let (stream, stop, end) = (stream.clone(), self.stop.clone(), app.stop.clone());
        app.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = end.cancelled() => {}
                () = sender.run() => {}
            }
            debug!(stream = %stream.key(), "multicast ended");
        });
        Ok(())
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

/// Why nothing is sent to a group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream cannot be read.
    #[error(transparent)]
    Stream(#[from] ReadError),
    /// The socket cannot be opened.
    #[error(transparent)]
    Network(#[from] io::Error),
}

struct Sender {
    address: Ipv4Addr,
    base: u16,
    socket: UdpSocket,
    reader: Reader,
}

impl Sender {
    async fn run(mut self) {
        let mut batch = Batch::default();
        while !matches!(self.reader.next_batch(&mut batch).await, Next::Ended(_)) {
            for part in batch.packets().iter().flat_map(|packet| &packet.parts) {
                for (channel, packet) in rtp::mux::frames(part.clone()) {
                    let to = (self.address, self.base + u16::from(channel));
                    // A packet that the network cannot take now is lost, as any other may be.
                    let _ = self.socket.send_to(&packet, to).await;
                }
            }
            batch.clear();
        }
    }
}
