//! What a driver decides.

use super::Ways;
use std::net::IpAddr;

/// What the answer to a `SETUP` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupAnswer {
    /// Interleaved.
    Tcp {
        /// Source of our packets.
        ssrc: Option<u32>,
    },
    /// UDP.
    Udp {
        /// Source of our packets.
        ssrc: Option<u32>,
        /// Our ports for RTP and RTCP.
        ports: (u16, u16),
    },
    /// A group.
    Multicast {
        /// Source of our packets.
        ssrc: Option<u32>,
        /// Its address.
        group: IpAddr,
        /// Its ports for RTP and RTCP.
        ports: (u16, u16),
        /// Hops.
        ttl: u8,
    },
}

/// Why a track is not set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupRefused {
    /// `461`: this transport is not there for this stream.
    Transport,
    /// `503`: no ports are left.
    NoPorts,
}

/// What a player is told before it asks for tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The description.
    pub sdp: String,
    /// The `control` of each media section.
    pub controls: Vec<String>,
}

/// What the answer to `PLAY` says about the first packet of each track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayAnswer {
    /// Empty if nothing was sent yet.
    pub tracks: Vec<TrackStart>,
}

/// Where a track starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackStart {
    /// Its number in the description.
    pub track: usize,
    /// Sequence number of its first packet, if it is known.
    pub sequence: Option<u16>,
    /// Its RTP time at the beginning of the range; the same moment for all tracks.
    pub timestamp: u32,
}

impl SetupAnswer {
    /// The `Transport` header. `way`: what the client asked for; `record`: it will send.
    pub(super) fn transport(&self, track: usize, way: Ways, record: bool) -> String {
        let (mut transport, ssrc) = match *self {
            Self::Tcp { ssrc } => {
                let channel = channel(track);
                (
                    format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel + 1),
                    ssrc,
                )
            }
            Self::Udp {
                ssrc,
                ports: (rtp, rtcp),
            } => {
                let client = match way {
                    Ways::Udp(rtp, rtcp) => format!(";client_port={rtp}-{rtcp}"),
                    Ways::Tcp | Ways::Multicast => String::new(),
                };
                (
                    format!("RTP/AVP/UDP;unicast{client};server_port={rtp}-{rtcp}"),
                    ssrc,
                )
            }
            Self::Multicast {
                ssrc,
                group,
                ports: (rtp, rtcp),
                ttl,
            } => (
                format!("RTP/AVP;multicast;destination={group};port={rtp}-{rtcp};ttl={ttl}"),
                ssrc,
            ),
        };
        if let Some(ssrc) = ssrc {
            transport.push_str(&format!(";ssrc={ssrc:08X}"));
        }
        if record {
            transport.push_str(";mode=record");
        }
        transport
    }
}

/// The interleaved channel of a track's RTP. The client's wish is not heard, as in ZLM (urls.md, section 4): so the bytes are
/// the same for all players. Descriptions have few tracks, so this stays below 256.
fn channel(track: usize) -> u8 {
    u8::try_from(track * 2).unwrap_or(u8::MAX - 1)
}
