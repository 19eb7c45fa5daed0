//! UDP sockets for media: pairs of ports, RTP on the even one and RTCP on the next (RFC 3550, section 11).

use crate::metrics::{Counters, RtpCounters};
use crate::sessions::plain;
use bytes::{Bytes, BytesMut};
use config::PortRange;
use rand::Rng;
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

/// Blocks that datagrams are read into; packets are slices of them. The first is small: players send no more than reports.
const BLOCK: usize = 128 * 1024;
const FIRST_BLOCK: usize = 2 * ROOM;

/// Bytes that the kernel may keep of what is sent to one peer: a key frame of a few hundred packets.
const SEND_BUFFER: usize = 1024 * 1024;

/// How long a batch may wait for room in that, before what does not fit is dropped.
pub const SEND_PATIENCE: Duration = Duration::from_millis(50);

/// Pairs of ports that are tried at most. In a range this full the next client had better come later.
const MAX_TRIES: usize = 256;

/// Room for the next datagram: an Ethernet jumbo frame. Longer ones are cut, and so dropped by whoever reads them.
const ROOM: usize = 9 * 1024;

/// Two sockets on neighbouring ports.
#[derive(Debug)]
pub struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    ports: (u16, u16),
    counters: Arc<RtpCounters>,
}

impl Pair {
    /// Opens a pair on free ports of `range`, an even one and the next. `buffer`: bytes the kernel may keep of what arrives.
    ///
    /// # Errors
    ///
    /// No pair of the range is free, or sockets cannot be opened.
    pub fn open(
        ip: IpAddr,
        range: PortRange,
        buffer: usize,
        counters: &Arc<RtpCounters>,
    ) -> io::Result<Self> {
        let (before, after) = (range.pairs(), range.pairs());
        // From anywhere, so that a port is not given to the next client while packets for the last one still arrive.
        let start = rand::rng().random_range(0..range.pairs().len().max(1));
        for ports in after.skip(start).chain(before.take(start)).take(MAX_TRIES) {
            let opened = socket(SocketAddr::new(ip, ports.0), buffer)
                .and_then(|rtp| Ok((rtp, socket(SocketAddr::new(ip, ports.1), buffer)?)));
            match opened {
                Ok((rtp, rtcp)) => {
                    return Ok(Self {
                        rtp,
                        rtcp,
                        ports,
                        counters: counters.clone(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "no pair of the range is free",
        ))
    }

    /// A pair that listens to a multicast group on these ports.
    ///
    /// # Errors
    ///
    /// The group cannot be joined.
    pub fn join(
        group: IpAddr,
        interface: IpAddr,
        ports: (u16, u16),
        buffer: usize,
        counters: &Arc<RtpCounters>,
    ) -> io::Result<Self> {
        let open = |port| -> io::Result<UdpSocket> {
            let address = SocketAddr::new(group, port);
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            let _ = socket.set_recv_buffer_size(buffer);
            socket.bind(&address.into())?;
            match (group, interface) {
                (IpAddr::V4(group), IpAddr::V4(interface)) => socket.join_multicast_v4(&group, &interface)?,
                (IpAddr::V4(group), IpAddr::V6(_)) => {
                    socket.join_multicast_v4(&group, &std::net::Ipv4Addr::UNSPECIFIED)?
                }
                (IpAddr::V6(group), _) => socket.join_multicast_v6(&group, 0)?,
            }
            UdpSocket::from_std(socket.into())
        };
        Ok(Self {
            rtp: open(ports.0)?,
            rtcp: open(ports.1)?,
            ports,
            counters: counters.clone(),
        })
    }

    /// Its ports, RTP first.
    pub fn ports(&self) -> (u16, u16) {
        self.ports
    }
}

fn socket(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The system may allow less; then it is less.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// The sockets of one track, and its peer.
#[derive(Debug)]
pub struct Endpoint {
    pair: Pair,
    /// Only this address is heard.
    ip: IpAddr,
    rtp: Peer,
    rtcp: Peer,
}

/// Where one kind of packets goes to.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    /// A valid packet came from there, so that no other port is the peer's.
    is_certain: bool,
}

impl Peer {
    const fn new(ip: IpAddr, port: u16) -> Self {
        Self {
            address: SocketAddr::new(ip, port),
            is_certain: false,
        }
    }

    /// Behind address translation the peer's port is not the one it announced: it is learned from what comes. Some clients send no
    /// more than a few bytes to open the way.
    fn learn(&mut self, from: SocketAddr, packet: &[u8]) -> bool {
        if self.is_certain {
            return self.address.port() == from.port();
        }
        self.address.set_port(from.port());
        // Version 2 and a whole head (RFC 3550, sections 5.1 and 6.4.2).
        self.is_certain = packet.len() >= 8 && packet[0] >> 6 == 2;
        true
    }
}

impl Endpoint {
    /// Talks to `ip` on its two ports.
    pub fn new(pair: Pair, ip: IpAddr, ports: (u16, u16)) -> Self {
        let ip = plain(SocketAddr::new(ip, 0)).ip();
        Self {
            pair,
            ip,
            rtp: Peer::new(ip, ports.0),
            rtcp: Peer::new(ip, ports.1),
        }
    }

    /// Talks to these ports of its peer.
    pub fn talk_to(&mut self, ports: (u16, u16)) {
        self.rtp = Peer::new(self.ip, ports.0);
        self.rtcp = Peer::new(self.ip, ports.1);
    }

    fn to(&self, control: bool) -> (&UdpSocket, SocketAddr) {
        if control {
            (&self.pair.rtcp, self.rtcp.address)
        } else {
            (&self.pair.rtp, self.rtp.address)
        }
    }

    /// Sends a datagram at once or not at all. Returns its length, or 0.
    pub fn send_now(&self, control: bool, packet: &[u8]) -> usize {
        let (socket, to) = self.to(control);
        socket.try_send_to(packet, to).unwrap_or_else(|_| self.unsent())
    }

    /// Sends a datagram when there is room for it, until a time.
    async fn send(&self, control: bool, packet: &[u8], until: Instant) -> usize {
        let (socket, to) = self.to(control);
        loop {
            match socket.try_send_to(packet, to) {
                Ok(count) => return count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if timeout_at(until.into(), socket.writable()).await.is_err() {
                        return self.unsent();
                    }
                }
                // "Nobody listens there", about something sent before, is told here as well: this one was not sent.
                Err(_) => return self.unsent(),
            }
        }
    }

    fn unsent(&self) -> usize {
        Counters::count(&self.pair.counters.unsent);
        0
    }

    /// Opens the way through the peer's firewall or address translation, as RTSP clients do before they play.
    pub fn punch(&self) {
        // The smallest valid packets: RTP without payload and an empty receiver report.
        self.send_now(false, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.send_now(true, &[0x80, 0xc9, 0, 1, 0, 0, 0, 0]);
    }

    fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        grown: &mut bool,
        control: bool,
    ) -> Poll<io::Result<Bytes>> {
        let socket = if control { &self.pair.rtcp } else { &self.pair.rtp };
        loop {
            ready!(socket.poll_recv_ready(context))?;
            if buffer.capacity() - buffer.len() < ROOM {
                buffer.reserve(if *grown { BLOCK } else { FIRST_BLOCK });
                *grown = true;
            }
            let from = match socket.try_recv_buf_from(buffer) {
                Ok((_, from)) => plain(from),
                // Not ready after all: asked again above, which also leaves word for a wake-up.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            };
            let datagram = buffer.split().freeze();
            let known = if control { &mut self.rtcp } else { &mut self.rtp };
            if from.ip() == self.ip && known.learn(from, &datagram) {
                return Poll::Ready(Ok(datagram));
            }
        }
    }
}

/// The sockets of a session, by track.
#[derive(Debug, Default)]
pub struct Endpoints {
    tracks: Vec<Option<Endpoint>>,
    buffer: BytesMut,
    /// A block was needed.
    grown: bool,
    /// Whose turn it is.
    next: usize,
}

/// A datagram of a track.
#[derive(Debug)]
pub struct Datagram {
    /// The track.
    pub track: usize,
    /// RTCP.
    pub control: bool,
    /// The packet.
    pub data: Bytes,
}

impl Endpoints {
    /// Sets the sockets of a track.
    pub fn set(&mut self, track: usize, endpoint: Endpoint) {
        if self.tracks.len() <= track {
            self.tracks.resize_with(track + 1, || None);
        }
        self.tracks[track] = Some(endpoint);
    }

    /// Closes the sockets of a track.
    pub fn remove(&mut self, track: usize) {
        if let Some(place) = self.tracks.get_mut(track) {
            *place = None;
        }
    }

    /// The sockets of a track.
    pub fn get_mut(&mut self, track: usize) -> Option<&mut Endpoint> {
        self.tracks.get_mut(track).and_then(Option::as_mut)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tracks.iter().all(Option::is_none)
    }

    /// Sends a packet of an interleaved channel to its track's peer when there is room for it, until a time; returns its length, or
    /// 0 if it could not be sent.
    pub async fn send(&self, channel: u8, packet: &[u8], until: Instant) -> usize {
        match self.track(channel) {
            Some(endpoint) => endpoint.send(channel % 2 == 1, packet, until).await,
            None => 0,
        }
    }

    /// The same, at once or not at all.
    pub fn send_now(&self, channel: u8, packet: &[u8]) -> usize {
        self.track(channel)
            .map_or(0, |endpoint| endpoint.send_now(channel % 2 == 1, packet))
    }

    fn track(&self, channel: u8) -> Option<&Endpoint> {
        self.tracks.get(usize::from(channel / 2))?.as_ref()
    }

    /// The next datagram. Never, if there are no sockets. Cancel-safe.
    ///
    /// # Errors
    ///
    /// A socket is broken. A peer that does not listen is no error: its word of that is passed over.
    pub async fn recv(&mut self) -> io::Result<Datagram> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Datagram>> {
        let count = self.tracks.len();
        // Reports first: they say how the tracks lie to each other, and must not wait behind media that was sent after them. Then
        // one packet of each track in turn: when several wait, nothing tells which came first.
        let reports = (0..count).map(|track| (track, true));
        let media = (0..count).map(|turn| ((self.next + turn) % count, false));
        for (track, control) in reports.chain(media) {
            let Some(endpoint) = &mut self.tracks[track] else {
                continue;
            };
            loop {
                match endpoint.poll_recv(context, &mut self.buffer, &mut self.grown, control) {
                    Poll::Ready(Ok(data)) => {
                        if !control {
                            self.next = (track + 1) % count;
                        }
                        return Poll::Ready(Ok(Datagram { track, control, data }));
                    }
                    // "Nobody listens there", about something we sent.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Pairs that no other test of this process takes: found by asking the system for a free port.
    async fn range() -> PortRange {
        loop {
            let probe = UdpSocket::bind((LOCAL, 0)).await.expect("a port");
            let first = probe.local_addr().expect("bound").port() & !1;
            if let Some(last) = first.checked_add(PortRange::MIN_LEN - 1) {
                return PortRange { first, last };
            }
        }
    }

    #[tokio::test]
    async fn a_pair_is_even_and_odd_and_the_range_is_a_bound() {
        let range = range().await;
        let mut open = Vec::new();
        while let Ok(pair) = Pair::open(LOCAL, range, 64 * 1024, &Arc::default()) {
            let (rtp, rtcp) = pair.ports();
            assert!(rtp % 2 == 0 && rtcp == rtp + 1 && range.first <= rtp && rtcp <= range.last);
            open.push(pair);
        }
        assert!(open.len() <= usize::from(PortRange::MIN_LEN / 2));
        let error = Pair::open(LOCAL, range, 0, &Arc::default()).expect_err("none is left");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(open);
        Pair::open(LOCAL, range, 0, &Arc::default()).expect("free again");
    }

    #[tokio::test]
    async fn only_the_peer_is_heard_and_its_port_is_learned() {
        let pair = Pair::open(LOCAL, range().await, 64 * 1024, &Arc::default()).expect("a pair");
        let ports = pair.ports();
        let mut endpoints = Endpoints::default();
        endpoints.set(0, Endpoint::new(pair, LOCAL, (9, 9)));
        let peer = UdpSocket::bind((LOCAL, 0)).await.expect("a port");
        peer.send_to(b"from elsewhere", (LOCAL, ports.0))
            .await
            .expect("sent");
        let datagram = endpoints.recv().await.expect("heard");
        assert!((datagram.track, datagram.control) == (0, false) && datagram.data == "from elsewhere");
        assert_eq!(endpoints.send_now(0, b"answer"), 6);
        let mut answer = [0; 16];
        let count = peer.recv(&mut answer).await.expect("answered");
        assert_eq!(&answer[..count], b"answer");
        // What opened the way was no RTP. Once that has come, it is settled who the peer is.
        let (rtp, other) = ([0x80; 12], UdpSocket::bind((LOCAL, 0)).await.expect("a port"));
        peer.send_to(&rtp, (LOCAL, ports.0)).await.expect("sent");
        assert_eq!(endpoints.recv().await.expect("heard").data, rtp[..]);
        other
            .send_to(b"an impostor's", (LOCAL, ports.0))
            .await
            .expect("sent");
        peer.send_to(b"the last", (LOCAL, ports.0)).await.expect("sent");
        assert_eq!(endpoints.recv().await.expect("heard").data, "the last");
        let until = Instant::now() + SEND_PATIENCE;
        assert_eq!(endpoints.send(0, b"answer", until).await, 6);
        assert_eq!(peer.recv(&mut answer).await.expect("answered"), 6);
    }
}
