//! Addresses, address ranges and port ranges of the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// Highest port; at least `first + MIN_LEN - 1`.
    pub last: u16,
}

impl PortRange {
    /// Fewest ports of a range, as in ZLM (config.md, `rtp_proxy.port_range`).
    pub const MIN_LEN: u16 = 36;

    /// The pairs of ports in it for RTP and RTCP: an even one and the odd one above it (RFC 3550, section 11).
    pub fn pairs(self) -> impl DoubleEndedIterator<Item = (u16, u16)> + ExactSizeIterator {
        let first = self.first.div_ceil(2);
        // Rounds up without overflow: the pair of an even `last` is outside.
        let end = self.last / 2 + self.last % 2;
        (first..end.max(first)).map(|half| (half * 2, half * 2 + 1))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        );
        (first > 0 && last >= first.checked_add(Self::MIN_LEN - 1)?).then_some(Self { first, last })
    }
}

/// A list of addresses, such as `http.allow_ip_range` (api.md, section 1.4): single ones, `first-last`, or `address/prefix`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpRanges(Vec<(IpAddr, IpAddr)>);

/// Most ranges of one list. Each request is compared with all of them.
const MAX_RANGES: usize = 1024;

/// The part of a list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRange {
    /// It is no address.
    NotAnAddress(String),
    /// From an address of one kind to one of the other.
    TwoKinds(String),
    /// The last address is before the first.
    Backwards(String),
    /// What stands behind `/` is no length of a prefix.
    Prefix(String),
    /// The list is too long.
    TooMany,
}

impl std::error::Error for BadRange {}

impl fmt::Display for BadRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRange::NotAnAddress(part) => write!(out, "`{part}` is not an address"),
            BadRange::TwoKinds(part) => write!(out, "`{part}` mixes IPv4 and IPv6"),
            BadRange::Backwards(part) => write!(out, "`{part}` ends before it begins"),
            BadRange::Prefix(part) => {
                write!(
                    out,
                    "the prefix of `{part}` is not 0 to 32 (IPv4) or 0 to 128 (IPv6)"
                )
            }
            BadRange::TooMany => write!(out, "there are more than {MAX_RANGES} ranges"),
        }
    }
}

impl IpRanges {
    /// Reads a list, separated by commas.
    ///
    /// # Errors
    ///
    /// A part cannot be read, or there are more than 1024.
    pub fn parse(text: &str) -> Result<Self, BadRange> {
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if ranges.len() == MAX_RANGES {
                return Err(BadRange::TooMany);
            }
            if let Some((address, prefix)) = part.split_once('/') {
                let address = address
                    .trim()
                    .parse()
                    .map_err(|_| BadRange::NotAnAddress(part.to_owned()))?;
                let prefix = prefix.trim().parse().ok();
                let network = prefix.and_then(|prefix| network(address, prefix));
                ranges.push(network.ok_or_else(|| BadRange::Prefix(part.to_owned()))?);
                continue;
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
        self.0.is_empty() || self.lists(address)
    }

    /// Whether the list names `address`; an empty list names none.
    pub fn lists(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        let inside = |(first, last): &(IpAddr, IpAddr)| {
            first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address)
        };
        self.0.iter().any(inside)
    }
}

/// The first and the last address of `address/prefix` (RFC 4632, section 3.1); bits beyond the prefix do not matter.
fn network(address: IpAddr, prefix: u8) -> Option<(IpAddr, IpAddr)> {
    let (first, last): (IpAddr, IpAddr) = match address {
        IpAddr::V4(v4) => {
            let rest = 32_u8.checked_sub(prefix)?;
            let hosts = u32::MAX.checked_shr((32 - rest).into()).unwrap_or(0);
            let first = v4.to_bits() & !hosts;
            (
                Ipv4Addr::from_bits(first).into(),
                Ipv4Addr::from_bits(first | hosts).into(),
            )
        }
        IpAddr::V6(v6) => {
            let rest = 128_u8.checked_sub(prefix)?;
            let hosts = u128::MAX.checked_shr((128 - rest).into()).unwrap_or(0);
            let first = v6.to_bits() & !hosts;
            (
                Ipv6Addr::from_bits(first).into(),
                Ipv6Addr::from_bits(first | hosts).into(),
            )
        }
    };
    // `::ffff:10.0.0.0/104` is `10.0.0.0/8`; a wider network of this kind stays IPv6.
    let both = (canonical(first), canonical(last));
    Some(if both.0.is_ipv4() == both.1.is_ipv4() {
        both
    } else {
        (first, last)
    })
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
    fn a_network_is_written_with_its_prefix() {
        let ranges =
            IpRanges::parse("10.1.2.3/8, 2001:db8::/32, ::ffff:172.16.0.0/108, 127.0.0.1/32").unwrap();
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "2001:db8:ffff::1",
            "172.31.0.1",
            "127.0.0.1",
        ] {
            assert!(ranges.lists(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "11.0.0.0",
            "9.255.255.255",
            "2001:db9::",
            "172.32.0.0",
            "127.0.0.2",
        ] {
            assert!(!ranges.lists(outside.parse().unwrap()), "{outside}");
        }
        let every = IpRanges::parse("0.0.0.0/0").unwrap();
        assert!(every.lists("255.255.255.255".parse().unwrap()));
        assert!(!every.lists("::1".parse().unwrap()));
        assert!(!IpRanges::default().lists("127.0.0.1".parse().unwrap()));
        for bad in ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(
                IpRanges::parse(bad),
                Err(BadRange::Prefix(bad.to_owned())),
                "{bad}"
            );
        }
        assert_eq!(
            IpRanges::parse("h/8"),
            Err(BadRange::NotAnAddress("h/8".to_owned()))
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
            PortRange::parse("30000-30035"),
            Some(PortRange {
                first: 30_000,
                last: 30_035
            })
        );
        for text in [
            "30000-30034",
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

    #[test]
    fn ports_come_in_pairs_of_an_even_one_and_the_next() {
        let ends = |text| {
            let pairs = PortRange::parse(text).unwrap().pairs();
            let (len, all) = (pairs.len(), pairs.collect::<Vec<_>>());
            assert_eq!(len, all.len());
            (all[0], all[len - 1], len)
        };
        assert_eq!(ends("30000-30035"), ((30_000, 30_001), (30_034, 30_035), 18));
        assert_eq!(ends("30001-30036"), ((30_002, 30_003), (30_034, 30_035), 17));
        assert_eq!(ends("65500-65535"), ((65_500, 65_501), (65_534, 65_535), 18));
        assert_eq!(ends("1-36"), ((2, 3), (34, 35), 17));
        let none = PortRange::default();
        assert_eq!(none.pairs().len(), 0, "a blank range has no port");
    }
}
