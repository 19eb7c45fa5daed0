//! Addresses, address ranges and port ranges of the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An address to listen on. The default is `::`, all addresses of both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl Default for Address {
    fn default() -> Self {
        Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port; at least 1.
    pub first: u16,
    /// Highest port; at least `first + MIN_LEN`.
    pub last: u16,
}

impl PortRange {
    /// ZLM refuses a range whose ends are closer than this (config.md, `rtp_proxy.port_range`).
    pub const MIN_LEN: u16 = 36;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        );
        (first > 0 && last >= first.checked_add(Self::MIN_LEN)?).then_some(Self { first, last })
    }
}

/// The addresses of `http.allow_ip_range` (api.md, section 1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpRanges(Vec<(IpAddr, IpAddr)>);

/// Most ranges of one list. Each request is compared with all of them.
const MAX_RANGES: usize = 1024;

/// The part of a list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadRange {
    NotAnAddress(String),
    TwoKinds(String),
    Backwards(String),
    TooMany,
}

impl fmt::Display for BadRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRange::NotAnAddress(part) => write!(out, "`{part}` is not an address"),
            BadRange::TwoKinds(part) => write!(out, "`{part}` mixes IPv4 and IPv6"),
            BadRange::Backwards(part) => write!(out, "`{part}` ends before it begins"),
            BadRange::TooMany => write!(out, "there are more than {MAX_RANGES} ranges"),
        }
    }
}

impl IpRanges {
    pub(crate) fn parse(text: &str) -> Result<Self, BadRange> {
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if ranges.len() == MAX_RANGES {
                return Err(BadRange::TooMany);
            }
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let address = |text: &str| {
                text.trim()
                    .parse()
                    .map(canonical)
                    .map_err(|_| BadRange::NotAnAddress(part.to_owned()))
            };
            let (first, last) = (address(first)?, address(last)?);
            if first.is_ipv4() != last.is_ipv4() {
                return Err(BadRange::TwoKinds(part.to_owned()));
            }
            if last < first {
                return Err(BadRange::Backwards(part.to_owned()));
            }
            ranges.push((first, last));
        }
        Ok(Self(ranges))
    }

    /// Whether `address` is inside. An empty list holds every address. An IPv4 address that arrived on a dual-stack socket
    /// (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        let inside = |(first, last): &(IpAddr, IpAddr)| {
            first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address)
        };
        self.0.is_empty() || self.0.iter().any(inside)
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_range_of_zlm_lets_local_networks_in_only() {
        let ranges = IpRanges::parse(
            "::1,127.0.0.1,172.16.0.0-172.31.255.255,192.168.0.0-192.168.255.255,10.0.0.0-10.255.255.255",
        )
        .unwrap();
        for inside in [
            "::1",
            "127.0.0.1",
            "172.16.0.0",
            "172.31.255.255",
            "::ffff:10.1.2.3",
            "192.168.7.1",
        ] {
            assert!(ranges.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "::2",
            "127.0.0.2",
            "172.32.0.0",
            "8.8.8.8",
            "::ffff:8.8.8.8",
            "fe80::1",
            "::",
        ] {
            assert!(!ranges.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_empty_list_lets_everybody_in() {
        assert!(IpRanges::parse("").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(
            IpRanges::parse(" , ")
                .unwrap()
                .contains("2001:db8::1".parse().unwrap())
        );
    }

    #[test]
    fn ranges_that_cannot_be_meant_are_refused() {
        assert_eq!(
            IpRanges::parse("10.0.0.1-::1"),
            Err(BadRange::TwoKinds("10.0.0.1-::1".to_owned()))
        );
        assert_eq!(
            IpRanges::parse("10.0.0.9-10.0.0.1"),
            Err(BadRange::Backwards("10.0.0.9-10.0.0.1".to_owned()))
        );
        assert_eq!(
            IpRanges::parse("::1, 10.0.0"),
            Err(BadRange::NotAnAddress("10.0.0".to_owned()))
        );
        assert_eq!(IpRanges::parse(&"::1,".repeat(1025)), Err(BadRange::TooMany));
    }

    #[test]
    fn a_port_range_needs_room() {
        assert_eq!(
            PortRange::parse("30000-35000"),
            Some(PortRange {
                first: 30_000,
                last: 35_000
            })
        );
        assert_eq!(
            PortRange::parse("30000-30036"),
            Some(PortRange {
                first: 30_000,
                last: 30_036
            })
        );
        for text in [
            "30000-30035",
            "35000-30000",
            "0-100",
            "65535-65535",
            "30000",
            "1-70000",
            "",
        ] {
            assert_eq!(PortRange::parse(text), None, "{text:?}");
        }
    }
}
