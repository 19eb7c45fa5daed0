//! What an address is for. The one place that knows the ranges, for everybody who connects to what others named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for, by the registries of special addresses (RFC 6890) and by use. An IPv6 address that stands for an
/// IPv4 address is what that one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// Link-local: 169.254.0.0/16, fe80::/10. The metadata services of most clouds are there.
    LinkLocal,
    /// A metadata service of a cloud outside the link-local range.
    Metadata,
    /// This machine: 127.0.0.0/8, ::1.
    Loopback,
    /// Private: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, fec0::/10.
    Private,
    /// Behind the NAT of a carrier: 100.64.0.0/10.
    CarrierNat,
    /// Multicast and broadcast.
    Multicast,
    /// For documentation and measurements.
    Documentation,
    /// 0.0.0.0/8 and ::, which lead to this machine on many systems.
    Unspecified,
    /// Reserved by the IETF.
    Reserved,
    /// Anything else: an address of the Internet.
    Public,
}

/// Metadata services of clouds that are no link-local addresses: Alibaba, Oracle, Azure's wire server.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// Of Amazon: fd00:ec2::/32, inside the private range.
const METADATA_V6: [u16; 2] = [0xfd00, 0x0ec2];

impl AddressKind {
    /// The kind of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// Link-local or a metadata service: nothing that Tidegate may be sent to is there.
    pub const fn is_never_meant(self) -> bool {
        match self {
            Self::LinkLocal | Self::Metadata => true,
            Self::Loopback
            | Self::Private
            | Self::CarrierNat
            | Self::Multicast
            | Self::Documentation
            | Self::Unspecified
            | Self::Reserved
            | Self::Public => false,
        }
    }

    /// In words, with an article.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "the metadata service of a cloud",
            Self::Loopback => "an address of this machine",
            Self::Private => "a private address",
            Self::CarrierNat => "an address behind carrier NAT",
            Self::Multicast => "a multicast or broadcast address",
            Self::Documentation => "an address for documentation or measurements",
            Self::Unspecified => "no address of a machine",
            Self::Reserved => "a reserved address",
            Self::Public => "a public address",
        }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressKind {
    if METADATA_V4.contains(&address) {
        return AddressKind::Metadata;
    }
    match address.octets() {
        [0, ..] => AddressKind::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressKind::Private,
        [100, 64..=127, ..] => AddressKind::CarrierNat,
        [127, ..] => AddressKind::Loopback,
        [169, 254, ..] => AddressKind::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => {
            AddressKind::Documentation
        }
        [192, 0, 0, _] => AddressKind::Reserved,
        [224..=239, ..] | [255, 255, 255, 255] => AddressKind::Multicast,
        [240..=255, ..] => AddressKind::Reserved,
        _ => AddressKind::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressKind {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressKind::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressKind::Loopback,
        // An IPv4 address inside: mapped (::ffff:0:0/96), translated by the stack (::ffff:0:0:0/96), compatible (::/96), NAT64
        // (64:ff9b::/96) and 6to4 (2002::/16).
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => of_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        // NAT64 of one network (RFC 8215): where the IPv4 address stands in it is that network's choice.
        [0x64, 0xff9b, 1, ..] => AddressKind::Private,
        [first, second, ..] if [first, second] == METADATA_V6 => AddressKind::Metadata,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressKind::Private,
        [0xfe80..=0xfebf, ..] => AddressKind::LinkLocal,
        [0xff00..=0xffff, ..] => AddressKind::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x2001, 2, 0, ..] => AddressKind::Documentation,
        [0x100, 0, 0, 0, ..] => AddressKind::Reserved,
        _ => AddressKind::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_has_its_kind_up_to_its_ends() {
        use AddressKind::*;
        for (address, kind) in [
            ("169.254.0.0", LinkLocal),
            ("169.254.169.254", LinkLocal),
            ("169.254.255.255", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf:ffff::1", LinkLocal),
            ("100.100.100.200", Metadata),
            ("fd00:ec2::254", Metadata),
            ("192.0.0.192", Metadata),
            ("127.0.0.1", Loopback),
            ("127.255.255.255", Loopback),
            ("::1", Loopback),
            ("10.0.0.1", Private),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("192.168.1.64", Private),
            ("fd12::1", Private),
            ("fec0::1", Private),
            ("100.64.0.0", CarrierNat),
            ("100.127.255.255", CarrierNat),
            ("224.0.0.1", Multicast),
            ("255.255.255.255", Multicast),
            ("ff02::1", Multicast),
            ("192.0.2.1", Documentation),
            ("198.19.0.1", Documentation),
            ("2001:db8::1", Documentation),
            ("0.0.0.0", Unspecified),
            ("::", Unspecified),
            ("240.0.0.1", Reserved),
            ("168.254.0.1", Public),
            ("169.253.255.255", Public),
            ("100.63.255.255", Public),
            ("172.32.0.0", Public),
            ("192.169.0.1", Public),
            ("8.8.8.8", Public),
            ("2606:4700::1", Public),
        ] {
            assert_eq!(AddressKind::of(address.parse().unwrap()), kind, "{address}");
        }
    }

    #[test]
    fn an_ipv4_address_keeps_its_kind_in_every_spelling() {
        for address in [
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(
                AddressKind::of(address.parse().unwrap()).is_never_meant(),
                "{address}"
            );
        }
        let mapped = AddressKind::of("::ffff:127.0.0.1".parse().unwrap());
        assert_eq!(mapped, AddressKind::Loopback);
        assert_eq!(
            AddressKind::of("64:ff9b::8.8.8.8".parse().unwrap()),
            AddressKind::Public
        );
    }
}
