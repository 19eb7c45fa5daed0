//! What a session tells its driver.

use super::Request;
use crate::tunnel;
use bytes::Bytes;

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes for the peer.
    Send(Bytes),
    /// Something happened.
    Event(Event),
    /// All is said: close the connection.
    Close,
}

/// What the driver has to know or to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `DESCRIBE`: to be decided with [`ServerSession::describe`](super::ServerSession::describe).
    Describe(Request),
    /// `ANNOUNCE` with this description: to be decided with [`ServerSession::announce`](super::ServerSession::announce).
    Announce(Request, Bytes),
    /// `SETUP` of a track: to be decided with [`ServerSession::set_up`](super::ServerSession::set_up). After a refusal it comes again if the client offers another
    /// transport.
    Setup(SetupRequest),
    /// `PLAY`: to be decided with [`ServerSession::play`](super::ServerSession::play).
    Play,
    /// `PAUSE`: no media until the next `PLAY`.
    Pause,
    /// `RECORD`: media will come.
    Record,
    /// Interleaved data.
    Data {
        /// The track.
        track: usize,
        /// RTCP instead of RTP.
        control: bool,
        /// A packet.
        data: Bytes,
    },
    /// `TEARDOWN`: the stream is let go of. The connection may begin again.
    Teardown,
    /// The connection is the half of a tunnel; it is not RTSP (yet). Nothing more comes out of this session.
    Tunnel(tunnel::Half),
    /// A deadline was missed; the connection closes.
    TimedOut(TimeoutReason),
}

/// One track of a `SETUP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupRequest {
    /// Its number in the description.
    pub track: usize,
    /// The transport, allowed and possible.
    pub way: Ways,
    /// The client will send.
    pub record: bool,
}

/// How the media of a track travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Interleaved, on channels `2 * track` and the one after.
    Tcp,
    /// UDP: the client's ports for RTP and RTCP.
    Udp(u16, u16),
    /// UDP to a group.
    Multicast,
}

impl Ways {
    /// Makes it the way of a track. The tracks of a session travel alike: those that were to travel otherwise have to be set up
    /// again. A track that is not there is passed over.
    pub fn choose(self, track: usize, ways: &mut [Option<Self>]) {
        for way in ways.iter_mut() {
            *way = way.filter(|way| way.is_like(self));
        }
        if let Some(place) = ways.get_mut(track) {
            *place = Some(self);
        }
    }

    pub(super) fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// Which deadline was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReason {
    /// The client did not get as far as playing or publishing.
    Handshake,
    /// Nothing came from a client that has to speak.
    Silence,
}
