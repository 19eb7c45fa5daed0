//! Section `multicast`.

use crate::key::{
    Key, Kind,
    Reload::{Hot, New},
};
use std::net::Ipv4Addr;

/// RTSP players that share one stream of UDP packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// Lowest group address; a multicast one.
    pub first: Ipv4Addr,
    /// Highest group address; a multicast one, not below `first`.
    pub last: Ipv4Addr,
    /// Time to live: how many routers a packet may pass.
    pub ttl: u8,
}

impl Default for Multicast {
    fn default() -> Self {
        Self {
            first: Ipv4Addr::UNSPECIFIED,
            last: Ipv4Addr::UNSPECIFIED,
            ttl: 0,
        }
    }
}

pub(super) const KEYS: &[Key] = &[
    Key::zlm(
        "multicast.addrMin",
        "239.0.0.0",
        New,
        Kind::Group(Some(|c| &mut c.multicast.first)),
        "First group address of RTSP multicast, IPv4.",
    ),
    Key::zlm(
        "multicast.addrMax",
        "239.255.255.255",
        New,
        Kind::Group(Some(|c| &mut c.multicast.last)),
        "Last group address of RTSP multicast, IPv4, not below `addrMin`.",
    ),
    Key::zlm(
        "multicast.udpTTL",
        "64",
        Hot,
        Kind::Small {
            min: 0,
            max: 255,
            place: Some(|c| &mut c.multicast.ttl),
        },
        "Time to live of RTSP multicast packets.",
    ),
];
