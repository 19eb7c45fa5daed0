//! The `Transport` header (RFC 2326, section 12.39).

use std::fmt;
use std::net::IpAddr;

/// How packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lower {
    /// In the RTSP connection.
    Tcp,
    /// Datagrams.
    #[default]
    Udp,
}

/// One transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Protocol and profile as written, without the lower transport: `RTP/AVP`.
    pub profile: String,
    /// TCP or UDP; UDP if nothing is said.
    pub lower: Lower,
    /// To a group. If nothing is said it is not: RFC 2326 has multicast as the default, and nobody follows that.
    pub multicast: bool,
    /// Channels for RTP and RTCP in the connection.
    pub interleaved: Option<(u8, u8)>,
    /// The client's ports for RTP and RTCP.
    pub client_port: Option<(u16, u16)>,
    /// The server's ports for RTP and RTCP.
    pub server_port: Option<(u16, u16)>,
    /// The ports of a group.
    pub port: Option<(u16, u16)>,
    /// Where packets are sent, if it is an address.
    pub destination: Option<IpAddr>,
    /// Where packets come from, if it is an address.
    pub source: Option<IpAddr>,
    /// Hops of packets to a group.
    pub ttl: Option<u8>,
    /// Source of the RTP packets.
    pub ssrc: Option<u32>,
    /// `play` or `record`, in lower case.
    pub mode: Option<String>,
}

/// Most transports of one header. Clients send one to three.
const MAX_TRANSPORTS: usize = 16;

/// Most parameters of one transport.
const MAX_PARAMETERS: usize = 32;

/// Reads a header: transports in the order of preference. What makes no sense is left out.
pub fn parse(header: &str) -> Vec<Transport> {
    header
        .split(',')
        .take(MAX_TRANSPORTS)
        .filter_map(|text| Transport::parse(text.trim()))
        .collect()
}

impl Transport {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').take(MAX_PARAMETERS).map(str::trim);
        let first = parts.next().filter(|first| !first.is_empty())?;
        let mut transport = Self::default();
        let mut words: Vec<&str> = first.split('/').collect();
        if words.len() == 3 {
            transport.lower = if words[2].eq_ignore_ascii_case("TCP") {
                Lower::Tcp
            } else {
                Lower::Udp
            };
            words.pop();
        }
        transport.profile = words.join("/");
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => transport.multicast = true,
                "unicast" => transport.multicast = false,
                "interleaved" => transport.interleaved = pair(value, |first: u8| first.checked_add(1)),
                "client_port" => transport.client_port = pair(value, |first: u16| first.checked_add(1)),
                "server_port" => transport.server_port = pair(value, |first: u16| first.checked_add(1)),
                "port" => transport.port = pair(value, |first: u16| first.checked_add(1)),
                "destination" => transport.destination = value.parse().ok(),
                "source" => transport.source = value.parse().ok(),
                "ttl" => transport.ttl = value.parse().ok(),
                // Hikvision puts a blank before the number (retina's fixture `hikvision_setup_ssrc_space`).
                "ssrc" => transport.ssrc = u32::from_str_radix(value.trim(), 16).ok(),
                "mode" => transport.mode = Some(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        Some(transport)
    }
}

/// `a-b`, or `a` alone, which means `a` and the next.
fn pair<T: std::str::FromStr + Copy>(text: &str, next: impl Fn(T) -> Option<T>) -> Option<(T, T)> {
    match text.split_once('-') {
        Some((first, second)) => Some((first.trim().parse().ok()?, second.trim().parse().ok()?)),
        None => {
            let first = text.trim().parse().ok()?;
            Some((first, next(first)?))
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.profile)?;
        if self.lower == Lower::Tcp {
            f.write_str("/TCP")?;
        }
        f.write_str(if self.multicast { ";multicast" } else { ";unicast" })?;
        let mut range = |name: &str, range: Option<(u16, u16)>| match range {
            Some((first, second)) => write!(f, ";{name}={first}-{second}"),
            None => Ok(()),
        };
        range("interleaved", self.interleaved.map(|(a, b)| (a.into(), b.into())))?;
        range("client_port", self.client_port)?;
        range("server_port", self.server_port)?;
        range("port", self.port)?;
        if let Some(address) = self.destination {
            write!(f, ";destination={address}")?;
        }
        if let Some(address) = self.source {
            write!(f, ";source={address}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, ";ttl={ttl}")?;
        }
        if let Some(ssrc) = self.ssrc {
            write!(f, ";ssrc={ssrc:08X}")?;
        }
        match &self.mode {
            Some(mode) => write!(f, ";mode={mode}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(header: &str) -> Transport {
        parse(header).remove(0)
    }

    #[test]
    fn what_cameras_and_clients_write() {
        let tcp = one("RTP/AVP/TCP;unicast;interleaved=0-1;ssrc= 4cacc3d1;mode=\"PLAY\"");
        assert_eq!(
            (tcp.lower, tcp.interleaved, tcp.ssrc),
            (Lower::Tcp, Some((0, 1)), Some(0x4cac_c3d1))
        );
        assert_eq!(tcp.mode.as_deref(), Some("play"));
        let udp = one("RTP/AVP;unicast; client_port=5000; server_port=6970-6971;source=10.0.0.7");
        assert_eq!(
            (udp.client_port, udp.server_port),
            (Some((5000, 5001)), Some((6970, 6971)))
        );
        assert_eq!(udp.source, Some("10.0.0.7".parse().unwrap()));
        let group = one("RTP/AVP;multicast;destination=239.1.2.3;port=3456-3457;ttl=16");
        assert!(group.multicast && group.ttl == Some(16) && group.port == Some((3456, 3457)));
        let list = parse("RTP/AVP/UDP;unicast;client_port=1-2,RTP/AVP/TCP;interleaved=0-1");
        assert_eq!((list[0].lower, list[1].lower), (Lower::Udp, Lower::Tcp));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            tcp: bool, multicast: bool, channels: Option<(u8, u8)>, ports: Option<(u16, u16)>, ssrc: Option<u32>, ttl: Option<u8>,
        ) {
            let transport = Transport {
                profile: "RTP/AVP".to_owned(),
                lower: if tcp { Lower::Tcp } else { Lower::Udp },
                multicast,
                interleaved: channels,
                client_port: ports,
                server_port: ports,
                ssrc,
                ttl,
                ..Transport::default()
            };
            prop_assert_eq!(one(&transport.to_string()), transport);
        }

        #[test]
        fn no_text_breaks_it(text: String) {
            prop_assert!(parse(&text).len() <= MAX_TRANSPORTS);
        }
    }
}
